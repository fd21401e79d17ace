/* build/exec_copy.c - COPY, ADD and WORKDIR: selection, keys, and the layer they make.
 *
 * A copy between stages has two keys. The quick one is made of the inputs' own keys: enough for a
 * rebuild where nothing changed. The content key is made of just the selected files, so that a
 * source that changed elsewhere still hits; it needs the source's manifests. Copies from a local
 * context only have the content key. */
#include "build/internal.h"

#include <errno.h>
#include <fcntl.h>

#include "build/why.h"
#include "layer/layer.h"
#include "sys/path.h"

static bool is_local(const struct build *b, uint32_t id)
{
	const struct graph_node *n = b->graph->nodes[id];
	return n->op == GRAPH_LOCAL && !(b->context_chain && !n->local.path);
}

static const struct rootfs *source_chain(const struct build *b, const struct graph_node *n,
        const struct solve_output *in, uint32_t id)
{
	if (id == GRAPH_NONE)
		return NULL;
	if (b->graph->nodes[id]->op == GRAPH_LOCAL)
		return b->context_chain;
	for (size_t i = 0; i < n->n_inputs; i++)
		if (n->inputs[i] == id)
			return in[i].value;
	return NULL;
}

static void start_key(struct sha256 *h, const char *kind, const struct graph_node *n,
        const struct solve_output *in)
{
	sha256_init(h);
	sha256_str(h, kind);
	sha256_bytes(h, n->op_digest.b, sizeof(n->op_digest.b));
	/* --link: the layer does not depend on what is below. */
	if (n->op != GRAPH_COPY || !n->copy.link)
		sha256_bytes(h, in[0].key.b, sizeof(in[0].key.b));
}

static void hash_inline(struct sha256 *h, const struct graph_copy_source *s)
{
	sha256_str(h, "inline");
	sha256_str(h, s->name);
	sha256_bytes(h, s->data, s->data_len);
}

/* quick_key - false if a local context is among the sources. */
static bool quick_key(struct build *b, const struct graph_node *n, const struct solve_output *in,
        struct digest *ret)
{
	struct sha256 h;
	start_key(&h, "copy-quick", n, in);
	for (size_t i = 0; i < n->copy.n_sources; i++) {
		const struct graph_copy_source *s = &n->copy.sources[i];
		if (s->kind == GRAPH_SRC_INLINE) {
			hash_inline(&h, s);
			continue;
		}
		sha256_str(&h, s->pattern);
		if (s->input == GRAPH_NONE)
			continue;
		if (is_local(b, s->input))
			return false;
		if (b->graph->nodes[s->input]->op == GRAPH_LOCAL) {
			sha256_bytes(&h, b->context_chain->diff_id.b, sizeof(struct digest));
			continue;
		}
		for (size_t k = 0; k < n->n_inputs; k++)
			if (n->inputs[k] == s->input)
				sha256_bytes(&h, in[k].key.b, sizeof(in[k].key.b));
	}
	sha256_final(&h, ret);
	return true;
}

/* --- selection ------------------------------------------------------------------------------- */

/* What one COPY takes: a selection for each run of sources with the same input. */
struct selected {
	struct source_selection *sel;
	size_t n_sel, cap_sel;
	struct build_view *views; /* parallel to sel; empty for contexts */
	struct copy_item *items;  /* of all selections and inline files, in order */
	size_t n_items, cap_items;
	struct arena arena;
	bool dest_is_dir;
	struct digest key;
	bool no_digests; /* only whether it is there is asked: no key */
};

static void selected_release(struct selected *s)
{
	for (size_t i = 0; i < s->n_sel; i++) {
		source_selection_release(&s->sel[i]);
		build_view_release(&s->views[i]);
	}
	free(s->sel);
	free(s->views);
	free(s->items);
	arena_release(&s->arena);
}

static void add_item(struct selected *s, const struct copy_item *it)
{
	vec_grow(&s->items, &s->cap_items, s->n_items + 1);
	s->items[s->n_items++] = *it;
}

static void select_inline(struct selected *s, const struct graph_copy_source *src, struct sha256 *h)
{
	struct tree_entry *e = arena_new(&s->arena, struct tree_entry, 1);
	*e = (struct tree_entry){
	        .path = src->name, .type = TREE_REG, .mode = 0644, .size = src->data_len};
	/* A file made from text has no date of its own; a fixed one keeps the layer reproducible.
	 */
	struct copy_entry *ce = arena_new(&s->arena, struct copy_entry, 1);
	*ce = (struct copy_entry){.e = e, .rel = "", .dirfd = -1, .data = src->data};
	struct copy_item it = {.name = src->name, .shown = src->name, .entries = ce, .n = 1};
	add_item(s, &it);
	hash_inline(h, src);
}

/* single_file - the pattern that means the one file of a download's layer. A name that reads as a
 * pattern itself cannot be written literally, but then "*" can only mean that file. */
static void single_file(const struct build_view *v, struct strv *patterns)
{
	const char *name = "*";
	for (size_t i = 0; i < v->trees[0]->n; i++) {
		const struct tree_entry *e = &v->trees[0]->entries[i];
		if (e->type == TREE_REG && !strpbrk(e->path, "*?[\\"))
			name = e->path;
	}
	strv_release(patterns);
	strv_add(patterns, name);
}

/* select_group - sources [from, to) share one input. 1 done; 0: its layers are not here and
 * `fetch` is not allowed. */
static int select_group(struct build *b, const struct graph_node *n, const struct solve_output *in,
        size_t from, size_t to, bool fetch, struct selected *s, struct error *err)
{
	const struct graph_copy *c = &n->copy;
	uint32_t input = c->sources[from].input;
	struct strv patterns = STRV_INIT;
	for (size_t i = from; i < to; i++)
		strv_add(&patterns, c->sources[i].pattern);
	enum graph_op op = input == GRAPH_NONE ? GRAPH_IMAGE : b->graph->nodes[input]->op;
	struct source_select what = {.patterns = &patterns,
	        .excludes = &c->excludes,
	        .parents = c->parents,
	        .unpack = c->unpack,
	        .want_digests = !s->no_digests,
	        /* What came from afar is unpacked only when asked (SEMANTICS 43). */
	        .is_add = c->is_add && ((op != GRAPH_HTTP && op != GRAPH_GIT) || c->unpack == 1)};
	struct build_view *v = &s->views[s->n_sel];
	struct source_selection *sel = &s->sel[s->n_sel];
	int rc;
	if (input != GRAPH_NONE && is_local(b, input)) {
		struct build_context *ctx;
		rc = build_context_get(b, &b->graph->nodes[input]->local, &ctx, err);
		if (rc >= 0)
			rc = source_context_select(ctx->ctx, &what, b->pool, sel, err);
	} else {
		const struct rootfs *chain = source_chain(b, n, in, input);
		rc = fetch ? build_view_open(b, chain, v, err) : build_view_try(b, chain, v, err);
		if (!fetch && rc == 0) {
			strv_release(&patterns);
			return 0;
		}
		if (rc >= 0 && op == GRAPH_HTTP)
			single_file(v, &patterns);
		if (rc >= 0)
			rc = source_view_select(&v->v, v->fds, &what, sel, err);
	}
	strv_release(&patterns);
	if (rc < 0) {
		build_view_release(v);
		return -1;
	}
	s->n_sel++;
	for (size_t i = 0; i < sel->n_items; i++)
		add_item(s, &sel->items[i]);
	s->dest_is_dir |= sel->dest_is_dir;
	return 1;
}

/* select_sources - 1, 0 as select_group, -1. */
static int select_sources(struct build *b, const struct graph_node *n,
        const struct solve_output *in, bool fetch, struct selected *s, struct error *err)
{
	const struct graph_copy *c = &n->copy;
	struct sha256 h;
	start_key(&h, "copy", n, in);
	s->sel = new0(struct source_selection, c->n_sources);
	s->views = new0(struct build_view, c->n_sources);
	for (size_t i = 0, j; i < c->n_sources; i = j) {
		j = i + 1;
		if (c->sources[i].kind == GRAPH_SRC_INLINE) {
			select_inline(s, &c->sources[i], &h);
			continue;
		}
		while (j < c->n_sources && c->sources[j].kind == GRAPH_SRC_INPUT &&
		        c->sources[j].input == c->sources[i].input)
			j++;
		int rc = select_group(b, n, in, i, j, fetch, s, err);
		if (rc <= 0)
			return rc;
		struct source_selection *sel = &s->sel[s->n_sel - 1];
		sha256_bytes(&h, sel->key.b, sizeof(sel->key.b));
	}
	if (c->n_sources > 1)
		s->dest_is_dir = true;
	sha256_u64(&h, s->dest_is_dir);
	sha256_final(&h, &s->key);
	return 1;
}

/* parts_of - s NULL: what is selected is not known yet. */
static json_t *parts_of(struct build *b, const struct graph_node *n, const struct solve_output *in,
        const struct selected *s, const struct digest *key)
{
	const struct graph_copy *c = &n->copy;
	json_t *parts = parts_new(b, n, in, key);
	parts_add_copy(n, parts);
	for (size_t i = 0, j, g = 0; i < c->n_sources; i = j) {
		j = i + 1;
		if (c->sources[i].kind == GRAPH_SRC_INLINE)
			continue;
		_cleanup_strv_ struct strv patterns = STRV_INIT;
		strv_add(&patterns, c->sources[i].pattern);
		for (; j < c->n_sources && c->sources[j].kind == GRAPH_SRC_INPUT &&
		        c->sources[j].input == c->sources[i].input;
		        j++)
			strv_add(&patterns, c->sources[j].pattern);
		parts_add_files(b, parts, parts_source_name(b, c->sources[i].input), &patterns,
		        s && g < s->n_sel ? &s->sel[g] : NULL);
		g++;
	}
	return parts;
}

json_t *copy_parts(
        struct build *b, const struct graph_node *n, const struct solve_output *in, bool base_known)
{
	struct selected s = {0};
	_cleanup_error_ struct error e = ERROR_INIT;
	int rc = select_sources(b, n, in, false, &s, &e);
	json_t *parts =
	        parts_of(b, n, in, rc > 0 ? &s : NULL, rc > 0 && base_known ? &s.key : NULL);
	selected_release(&s);
	return parts;
}

/* --- COPY ------------------------------------------------------------------------------------ */

int copy_probe(struct build *b, const struct graph_node *n, const struct solve_output *in,
        struct solve_output *ret, struct error *err)
{
	struct digest quick;
	struct step_record r;
	int rc;
	bool has_quick = quick_key(b, n, in, &quick);
	if (has_quick && !n->no_cache) {
		rc = record_get(b, &quick, &r, err);
		if (rc != 0) {
			if (rc > 0)
				record_output(b, &r, &in[0], ret);
			return rc;
		}
	}
	/* Also with --no-cache: a missing source is told before anything runs. */
	struct selected s = {.no_digests = n->no_cache};
	rc = select_sources(b, n, in, false, &s, err);
	if (rc > 0 && !n->no_cache) {
		rc = record_get(b, &s.key, &r, err);
		if (rc > 0) {
			record_output(b, &r, &in[0], ret);
			r.twin = s.key;
			if (has_quick && record_put(b, &quick, &r, err) < 0)
				rc = -1;
		}
	} else if (rc > 0) {
		rc = 0;
	}
	selected_release(&s);
	return rc;
}

static int make_copy(struct build *b, const struct graph_node *n, const struct solve_output *in,
        const struct selected *s, const struct digest *keys, size_t n_keys,
        struct solve_output *ret, struct error *err)
{
	int64_t started = now_ms();
	const struct graph_copy *c = &n->copy;
	_cleanup_json_ json_t *parts = parts_of(b, n, in, s, &keys[0]);
	why_note(b, n, parts);
	struct build_view lower = {0};
	struct layer_dir dir = {.fd = -1, .tree_fd = -1};
	_cleanup_tree_ struct tree t = TREE_INIT;
	int rc = -1;
	/* --chown by name looks into the root file system even with --link; else a linked layer
	 * needs nothing of what is below, which may never have been fetched. */
	bool named = c->chown && c->chown[strspn(c->chown, "0123456789:")];
	const struct rootfs *base = c->link && !named ? NULL : in[0].value;
	enum compression packing;
	struct step_parts sp = {n, parts};
	if (build_view_open(b, base, &lower, err) < 0)
		goto out;
	struct copy_request rq = {.items = s->items,
	        .n_items = s->n_items,
	        .dest = c->dest,
	        .dest_is_dir = s->dest_is_dir,
	        .chown = c->chown,
	        .chmod = c->chmod,
	        .keep_owner = c->from_stage,
	        .time = c->time.set ? &c->time.sec : NULL,
	        .link = c->link,
	        .single_id = b->single_id,
	        .lower = &lower.v,
	        .lower_fds = lower.fds};
	if (pack_wanted(b, n, s->items, s->n_items, &packing)) {
		struct step_record r = {0};
		rc = pack_copy(b, &rq, packing, &r, err);
		r.cost_ms = (uint64_t)(now_ms() - started);
		if (rc >= 0)
			rc = publish_records(b, &r, keys, n_keys, &sp, &in[0], ret, err);
		goto out;
	}
	if (layer_dir_new(b, &dir, err) < 0 || layer_copy(&rq, b->pool, dir.tree_fd, &t, err) < 0)
		goto out;
	rc = publish_layer(
	        b, dir.name, &t, dir.tree_fd, keys, n_keys, &sp, started, &in[0], ret, err);
out:
	for (size_t i = 0; rc < 0 && c->from_stage && i < n->n_inputs; i++)
		if (n->inputs[i] != GRAPH_NONE && b->graph->nodes[n->inputs[i]]->op != GRAPH_LOCAL)
			rootfs_blame(b, in[i].value, err);
	layer_dir_release(&dir);
	build_view_release(&lower);
	return rc;
}

int copy_execute(struct build *b, const struct graph_node *n, const struct solve_output *in,
        struct solve_output *ret, bool *ret_cached, struct error *err)
{
	struct digest keys[2];
	size_t n_keys = 1;
	struct selected s = {0};
	_cleanup_close_ int lock = -1;
	int rc = select_sources(b, n, in, true, &s, err);
	if (rc < 0)
		goto out;
	keys[0] = s.key;
	if (quick_key(b, n, in, &keys[1]))
		n_keys = 2;
	lock = store_step_lock(b->store, &s.key, true);
	struct step_record r;
	rc = n->no_cache ? 0 : record_get(b, &s.key, &r, err);
	if (rc > 0)
		rc = step_layer_there(b, &r.diff_id);
	if (rc > 0) {
		record_output(b, &r, &in[0], ret);
		*ret_cached = true;
		r.twin = s.key;
		rc = n_keys == 2 ? record_put(b, &keys[1], &r, err) : 0;
	} else if (rc == 0) {
		rc = make_copy(b, n, in, &s, keys, n_keys, ret, err);
	}
out:
	selected_release(&s);
	return rc < 0 ? -1 : 0;
}

/* --- parts of a local context as layers and keys (RUN --mount=type=bind) ---------------------- */

int local_select(struct build *b, const struct graph_node *local, const char *path,
        struct source_selection *ret, struct error *err)
{
	struct build_context *ctx;
	if (build_context_get(b, &local->local, &ctx, err) < 0)
		return -1;
	struct strv patterns = STRV_INIT;
	/* The path itself is kept, so that source= means the same in the layer as in the context.
	 */
	strv_add(&patterns, path && path[0] ? path : ".");
	struct source_select what = {
	        .patterns = &patterns, .parents = true, .unpack = 0, .want_digests = true};
	int rc = source_context_select(ctx->ctx, &what, b->pool, ret, err);
	strv_release(&patterns);
	return rc;
}

int local_path_key(struct build *b, const struct graph_node *local, const char *path,
        struct digest *ret, struct error *err)
{
	struct source_selection sel = {0};
	if (local_select(b, local, path, &sel, err) < 0)
		return -1;
	*ret = sel.key;
	source_selection_release(&sel);
	return 0;
}

int copy_local_layer(struct build *b, const struct graph_node *local, const char *path,
        const struct rootfs **ret, struct error *err)
{
	struct source_selection sel = {0};
	if (local_select(b, local, path, &sel, err) < 0)
		return -1;
	struct digest key;
	struct sha256 h;
	sha256_init(&h);
	sha256_str(&h, "local-layer");
	sha256_bytes(&h, sel.key.b, sizeof(sel.key.b));
	sha256_final(&h, &key);
	static const struct treeview empty;
	struct solve_output out = {0};
	struct step_record r;
	const struct store_layer *l;
	struct layer_dir dir = {.fd = -1, .tree_fd = -1};
	_cleanup_tree_ struct tree t = TREE_INIT;
	_cleanup_close_ unused_ int lock = store_step_lock(b->store, &key, true);
	int rc = record_get(b, &key, &r, err);
	if (rc > 0)
		rc = store_layer_get(b->store, b->lease, &r.diff_id, 0, &l, err);
	if (rc > 0) {
		record_output(b, &r, NULL, &out);
	} else if (rc == 0) {
		struct copy_request rq = {.items = sel.items,
		        .n_items = sel.n_items,
		        .dest = "/",
		        .dest_is_dir = true,
		        .lower = &empty,
		        .single_id = b->single_id};
		rc = layer_dir_new(b, &dir, err);
		if (rc >= 0)
			rc = layer_copy(&rq, b->pool, dir.tree_fd, &t, err);
		if (rc >= 0)
			rc = publish_layer(b, dir.name, &t, dir.tree_fd, &key, 1, NULL, now_ms(),
			        NULL, &out, err);
		layer_dir_release(&dir);
	}
	source_selection_release(&sel);
	*ret = out.value;
	return rc < 0 ? -1 : 0;
}

/* --- WORKDIR --------------------------------------------------------------------------------- */

void workdir_key(const struct graph_node *n, const struct solve_output *in, struct digest *ret)
{
	struct sha256 h;
	start_key(&h, "workdir", n, in);
	sha256_final(&h, ret);
}

int workdir_probe(struct build *b, const struct graph_node *n, const struct solve_output *in,
        struct solve_output *ret, struct error *err)
{
	struct digest key;
	struct step_record r;
	if (n->no_cache)
		return 0;
	workdir_key(n, in, &key);
	int rc = record_get(b, &key, &r, err);
	if (rc > 0)
		record_output(b, &r, &in[0], ret);
	return rc;
}

int workdir_execute(struct build *b, const struct graph_node *n, const struct solve_output *in,
        struct solve_output *ret, bool *ret_cached, struct error *err)
{
	int64_t started = now_ms();
	struct build_view lower = {0};
	struct layer_dir dir = {.fd = -1, .tree_fd = -1};
	_cleanup_tree_ struct tree t = TREE_INIT;
	struct digest key;
	int rc = -1;
	workdir_key(n, in, &key);
	*ret_cached = false;
	_cleanup_json_ json_t *parts = parts_new(b, n, in, &key);
	struct step_parts sp = {n, parts};
	why_note(b, n, parts);
	if (build_view_open(b, in[0].value, &lower, err) < 0 || layer_dir_new(b, &dir, err) < 0)
		goto out;
	if (layer_workdir(n->workdir.path, n->workdir.user,
	            n->workdir.time.set ? &n->workdir.time.sec : NULL, &lower.v, lower.fds,
	            b->single_id, dir.tree_fd, &t, err) < 0)
		goto out;
	rc = publish_layer(b, dir.name, &t, dir.tree_fd, &key, 1, &sp, started, &in[0], ret, err);
out:
	layer_dir_release(&dir);
	build_view_release(&lower);
	return rc;
}
