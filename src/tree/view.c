/* tree/view.c - the merged view of a stack of trees. See view.h.
 *
 * What hides: in layer j, an entry at P that is no directory, or is an opaque one, hides all that
 * layers below j have under P; a whiteout hides P too. */
#include "tree/view.h"

#include "base/strbuf.h"

#define LINKS_MAX 40 /* as Linux: MAXSYMLINKS */

static const struct tree_entry synthetic_root = {
        .path = "",
        .type = TREE_DIR,
        .mode = 0755,
};

static bool hides_below(const struct tree_entry *e)
{
	return e->type != TREE_DIR || e->opaque;
}

/* --- look-up --------------------------------------------------------------------------------- */

/* What one layer says of a path that it does not hold itself, judged by the path's ancestors. */
enum cover { COVER_OPEN, COVER_OPAQUE, COVER_GONE };

/* starts_dir - is `dir` (len bytes) the path p itself or an ancestor of it? */
static bool starts_dir(const char *p, const char *dir, size_t len)
{
	return strncmp(p, dir, len) == 0 && (p[len] == '\0' || p[len] == '/');
}

static enum cover layer_cover(const struct tree *t, const char *path, struct strbuf *tmp)
{
	enum cover c = COVER_OPEN;
	if (t->n && *t->entries[0].path == '\0' && t->entries[0].opaque)
		c = COVER_OPAQUE;
	for (const char *s = strchr(path, '/'); s; s = strchr(s + 1, '/')) {
		strbuf_reset(tmp);
		strbuf_add(tmp, path, (size_t)(s - path));
		size_t i = tree_lower_bound(t, tmp->buf);
		if (i == t->n || !starts_dir(t->entries[i].path, tmp->buf, tmp->len))
			break; /* nothing of this directory here, nor deeper */
		const struct tree_entry *e = &t->entries[i];
		if (e->path[tmp->len] != '\0')
			continue; /* known only through what is below it */
		if (e->type != TREE_DIR)
			return COVER_GONE;
		if (e->opaque)
			c = COVER_OPAQUE;
	}
	return c;
}

bool view_lookup(const struct treeview *v, const char *path, struct view_hit *ret)
{
	_cleanup_strbuf_ struct strbuf tmp = STRBUF_INIT;
	for (size_t i = v->n; i-- > 0;) {
		const struct tree_entry *e = tree_find(v->layers[i], path);
		if (e) {
			if (e->type == TREE_WHITEOUT)
				return false;
			*ret = (struct view_hit){.entry = e, .layer = i};
			return true;
		}
		if (layer_cover(v->layers[i], path, &tmp) != COVER_OPEN)
			break;
	}
	if (*path)
		return false;
	*ret = (struct view_hit){.entry = &synthetic_root, .layer = 0};
	return true;
}

const struct tree_entry *view_content(const struct treeview *v, const struct view_hit *hit)
{
	const struct tree_entry *e = hit->entry;
	if (e->type != TREE_HARDLINK)
		return e;
	e = tree_find(v->layers[hit->layer], e->link);
	return e && e->type != TREE_HARDLINK ? e : NULL;
}

/* --- resolve --------------------------------------------------------------------------------- */

static void pop_component(struct strbuf *path)
{
	const char *slash = strrchr(path->buf, '/');
	strbuf_truncate(path, slash ? (size_t)(slash - path->buf) : 0);
}

static void push_component(struct strbuf *path, const char *name, size_t n)
{
	if (path->len)
		strbuf_addch(path, '/');
	strbuf_add(path, name, n);
}

struct walk {
	const struct treeview *v;
	struct strbuf done; /* physical prefix, links resolved */
	char *rest;         /* malloc'ed; not yet walked */
	const char *at;     /* position in rest */
	bool missing;       /* done does not exist: the rest is only cleaned */
	struct view_hit hit;
	unsigned links;
};

static void walk_release(struct walk *w)
{
	strbuf_release(&w->done);
	free(w->rest);
}

/* follow - put the link's target in front of what is left. */
static void follow(struct walk *w, const char *target, size_t keep)
{
	char *rest = xasprintf("%s/%s", target, w->at);
	free(w->rest);
	w->rest = rest;
	w->at = rest;
	strbuf_truncate(&w->done, *target == '/' ? 0 : keep);
}

/* step - one component; n > 0 bytes at w->at - n. */
static int step(struct walk *w, const char *name, size_t n, bool follow_last, struct error *err)
{
	size_t keep = w->done.len;
	const struct tree_entry *e;

	push_component(&w->done, name, n);
	if (w->missing)
		return 0;
	if (!view_lookup(w->v, w->done.buf, &w->hit)) {
		w->missing = true;
		return 0;
	}
	e = view_content(w->v, &w->hit);
	if (!e)
		return err_set(err, ERR_INTEGRITY,
		        "/%s: hard link to a file that is not in its layer", w->done.buf);
	bool last = w->at[strspn(w->at, "/")] == '\0';
	if (e->type == TREE_SYMLINK && (!last || follow_last)) {
		if (++w->links > LINKS_MAX)
			return err_set(err, ERR_BUILD, "/%s: too many levels of symbolic links",
			        w->done.buf);
		follow(w, e->link, keep);
		return 0;
	}
	if (e->type != TREE_DIR && !last)
		return err_set(err, ERR_BUILD, "/%s is not a directory", w->done.buf);
	return 0;
}

int view_resolve(const struct treeview *v, const char *path, bool follow_last, char **ret_path,
        struct view_hit *ret_hit, struct error *err)
{
	_cleanup_(walk_release) struct walk w = {.v = v, .done = STRBUF_INIT};
	w.rest = xstrdup(path);
	w.at = w.rest;
	for (;;) {
		w.at += strspn(w.at, "/");
		size_t n = strcspn(w.at, "/");
		const char *name = w.at;
		if (n == 0)
			break;
		w.at += n;
		if (n == 1 && name[0] == '.')
			continue;
		if (n == 2 && name[0] == '.' && name[1] == '.') {
			/* A ".." that leaves the missing part brings back ground that exists;
			 * whether it does is decided once more at the end. */
			pop_component(&w.done);
			w.missing = false;
			continue;
		}
		if (step(&w, name, n, follow_last, err) < 0)
			return -1;
	}
	bool found = view_lookup(v, w.done.buf, &w.hit);
	if (found && ret_hit)
		*ret_hit = w.hit;
	*ret_path = strbuf_detach(&w.done);
	return found ? 1 : 0;
}

/* --- list ------------------------------------------------------------------------------------ */

struct cursor {
	size_t at, to; /* into the layer's entries */
};

/* A mask: layers below `layer` show nothing under `path`. Masks nest as paths do. */
struct mask {
	const char *path;
	size_t layer;
};

struct merge {
	const struct treeview *v;
	struct cursor *cur;
	size_t *heap; /* layer numbers; the least path, then the highest layer, on top */
	size_t n_heap;
	struct mask *masks;
	size_t n_masks, cap_masks;
};

static void merge_release(struct merge *m)
{
	free(m->cur);
	free(m->heap);
	free(m->masks);
}

static const struct tree_entry *head(const struct merge *m, size_t layer)
{
	return &m->v->layers[layer]->entries[m->cur[layer].at];
}

static bool heap_less(const struct merge *m, size_t a, size_t b)
{
	int c = tree_path_cmp(head(m, a)->path, head(m, b)->path);
	return c ? c < 0 : a > b;
}

static void sift_down(struct merge *m, size_t i)
{
	for (;;) {
		size_t best = i, l = 2 * i + 1;
		if (l < m->n_heap && heap_less(m, m->heap[l], m->heap[best]))
			best = l;
		if (l + 1 < m->n_heap && heap_less(m, m->heap[l + 1], m->heap[best]))
			best = l + 1;
		if (best == i)
			return;
		size_t t = m->heap[i];
		m->heap[i] = m->heap[best];
		m->heap[best] = t;
		i = best;
	}
}

/* advance - the top layer moves on to entry `to`. */
static void advance(struct merge *m, size_t to)
{
	size_t layer = m->heap[0];
	m->cur[layer].at = to;
	if (to >= m->cur[layer].to)
		m->heap[0] = m->heap[--m->n_heap];
	sift_down(m, 0);
}

/* merge_init - the layers that have a say below dir, highest first, until one covers the rest. */
static void merge_init(struct merge *m, const char *dir)
{
	const struct treeview *v = m->v;
	_cleanup_strbuf_ struct strbuf tmp = STRBUF_INIT;
	m->cur = new0(struct cursor, v->n);
	m->heap = new0(size_t, v->n);
	for (size_t i = v->n; i-- > 0;) {
		const struct tree *t = v->layers[i];
		const struct tree_entry *e = tree_find(t, dir);
		if (e && e->type != TREE_DIR)
			break;
		enum cover c = layer_cover(t, dir, &tmp);
		if (c == COVER_GONE)
			break;
		tree_subtree(t, dir, &m->cur[i].at, &m->cur[i].to);
		if (m->cur[i].at < m->cur[i].to)
			m->heap[m->n_heap++] = i;
		if (c == COVER_OPAQUE || (e && e->opaque))
			break;
	}
	for (size_t i = m->n_heap; i-- > 0;)
		sift_down(m, i);
}

/* outer_mask - the innermost mask that holds at `path`; those of finished directories go. */
static const struct mask *outer_mask(struct merge *m, const char *path)
{
	while (m->n_masks && !tree_path_below(path, m->masks[m->n_masks - 1].path))
		m->n_masks--;
	return m->n_masks ? &m->masks[m->n_masks - 1] : NULL;
}

/* subtree_end - first entry of the layer behind all that is below `path`. */
static size_t subtree_end(const struct tree *t, const char *path)
{
	size_t from, to;
	tree_subtree(t, path, &from, &to);
	return to;
}

/* next_path - take every layer's entry at the least path; the highest visible one is *ret. False
 * at the end. A path that is hidden altogether gives *ret->entry == NULL. */
static bool next_path(struct merge *m, struct view_hit *ret)
{
	*ret = (struct view_hit){0};
	if (!m->n_heap)
		return false;
	const char *path = head(m, m->heap[0])->path;
	const struct mask *outer = outer_mask(m, path);
	size_t floor = outer ? outer->layer : 0; /* layers below it have no say here */
	const char *hidden = outer ? outer->path : NULL;
	bool covered = false;
	while (m->n_heap && str_eq(head(m, m->heap[0])->path, path)) {
		size_t layer = m->heap[0];
		const struct tree_entry *e = head(m, layer);
		if (layer < floor && hidden && !covered) {
			advance(m, subtree_end(m->v->layers[layer], hidden));
			continue;
		}
		advance(m, m->cur[layer].at + 1);
		if (covered)
			continue;
		if (!ret->entry && e->type != TREE_WHITEOUT)
			*ret = (struct view_hit){.entry = e, .layer = layer};
		if (hides_below(e)) {
			covered = true;
			if (layer > floor) {
				vec_grow(&m->masks, &m->cap_masks, m->n_masks + 1);
				m->masks[m->n_masks++] =
				        (struct mask){.path = path, .layer = layer};
			}
		}
	}
	return true;
}

/* direct_child - does path have just one component more than dir? */
static bool direct_child(const char *path, size_t dirlen)
{
	return strchr(path + (dirlen ? dirlen + 1 : 0), '/') == NULL;
}

int view_list(const struct treeview *v, const char *dir, bool recursive,
        int (*fn)(void *ctx, const struct view_hit *hit), void *ctx)
{
	_cleanup_(merge_release) struct merge m = {.v = v};
	_cleanup_strbuf_ struct strbuf child = STRBUF_INIT;
	size_t dirlen = strlen(dir);
	struct view_hit hit;

	merge_init(&m, dir);
	for (;;) {
		/* Not recursive: jump over what is below a direct child. */
		if (!recursive && m.n_heap && !direct_child(head(&m, m.heap[0])->path, dirlen)) {
			const char *p = head(&m, m.heap[0])->path;
			size_t from = dirlen ? dirlen + 1 : 0;
			strbuf_reset(&child);
			strbuf_add(&child, p, from + strcspn(p + from, "/"));
			advance(&m, subtree_end(v->layers[m.heap[0]], child.buf));
			continue;
		}
		if (!next_path(&m, &hit))
			return 0;
		if (!hit.entry)
			continue;
		int r = fn(ctx, &hit);
		if (r)
			return r;
	}
}
