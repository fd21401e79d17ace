/* build/image_layers.c - see image_layers.h. */
#include "build/image_layers.h"

#include "base/map.h"

/* try_open - 1 all layers are unpacked, 0 one is not. */
static int try_open(struct store *s, struct image_layers *l, struct error *err)
{
	size_t n = l->config.n_diff_ids;
	l->trees = new0(const struct tree *, n + 1);
	for (size_t i = 0; i < n; i++) {
		const struct store_layer *layer;
		int rc = store_layer_get(
		        s, l->lease, &l->config.diff_ids[i], STORE_LAYER_TREE, &layer, err);
		if (rc <= 0)
			return rc;
		l->trees[i] = layer->tree;
	}
	l->view = (struct treeview){l->trees, n};
	return 1;
}

int image_layers_open(
        struct store *s, const struct store_image *im, struct image_layers *ret, struct error *err)
{
	struct image_layers l = {0};
	oci_image_init(&l.config);
	int rc = store_image_config(s, &im->id, &l.config, err);
	if (rc >= 0)
		rc = store_lease_new(s, &l.lease, err);
	if (rc >= 0)
		rc = try_open(s, &l, err);
	if (rc == 0) {
		rc = image_rootfs_open(s, &im->id, im->name, NULL, &l.rootfs, err);
		if (rc >= 0)
			l.view = l.rootfs->view;
	}
	if (rc < 0) {
		image_layers_release(&l);
		return -1;
	}
	*ret = l;
	return 0;
}

void image_layers_release(struct image_layers *l)
{
	oci_image_release(&l->config);
	free(l->trees);
	store_lease_free(l->lease);
	image_rootfs_free(l->rootfs);
	*l = (struct image_layers){0};
}

/* --- one image ------------------------------------------------------------------------------- */

static int count_file(void *ctx, const struct view_hit *hit)
{
	*(uint64_t *)ctx += hit->entry->type != TREE_DIR;
	return 0;
}

/* gone_below - files that `lower` has at and below path. */
static uint64_t gone_below(const struct treeview *lower, const char *path)
{
	uint64_t n = 0;
	struct view_hit hit;
	if (!view_lookup(lower, path, &hit))
		return 0;
	if (hit.entry->type != TREE_DIR)
		return 1;
	(void)view_list(lower, path, true, count_file, &n);
	return n;
}

struct opaque {
	const struct tree *t;
	uint64_t n;
};

static int count_hidden(void *ctx, const struct view_hit *hit)
{
	struct opaque *o = ctx;
	o->n += hit->entry->type != TREE_DIR && !tree_find(o->t, hit->entry->path);
	return 0;
}

static void count_changes(
        const struct treeview *lower, const struct tree *t, struct layer_report *r)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct tree_entry *e = &t->entries[i];
		struct view_hit hit;
		bool below = view_lookup(lower, e->path, &hit);
		if (e->type == TREE_WHITEOUT) {
			r->removed += gone_below(lower, e->path);
		} else if (e->type == TREE_DIR) {
			struct opaque o = {t, 0};
			if (below && hit.entry->type != TREE_DIR)
				r->removed++;
			else if (below && e->opaque)
				(void)view_list(lower, e->path, true, count_hidden, &o);
			r->removed += o.n;
		} else if (below && hit.entry->type == TREE_DIR) {
			r->removed += gone_below(lower, e->path);
			r->added++;
		} else if (below) {
			r->changed++;
		} else {
			r->added++;
		}
	}
}

/* visible - is this layer's entry what the whole image shows at its path? */
static bool visible(const struct treeview *v, size_t layer, const char *path)
{
	struct view_hit hit;
	return view_lookup(v, path, &hit) && hit.layer == layer;
}

struct waste {
	struct map paths; /* path -> struct wasted_path */
};

static void note_waste(struct waste *w, const struct tree_entry *e)
{
	struct wasted_path *p = map_get(&w->paths, e->path);
	if (!p) {
		p = new0(struct wasted_path, 1);
		p->path = e->path;
		map_put(&w->paths, e->path, p);
	}
	p->bytes += e->size;
	p->copies++;
}

/* count_waste - bytes of a layer that no path of the image leads to: a hard link that is still seen
 * keeps the bytes in use. */
static void count_waste(
        const struct treeview *v, size_t layer, struct layer_report *r, struct waste *w)
{
	const struct tree *t = v->layers[layer];
	struct map linked = MAP_INIT(NULL);
	for (size_t i = 0; i < t->n; i++)
		if (t->entries[i].type == TREE_HARDLINK && visible(v, layer, t->entries[i].path))
			map_put(&linked, t->entries[i].link, NULL);
	for (size_t i = 0; i < t->n; i++) {
		const struct tree_entry *e = &t->entries[i];
		if (e->type != TREE_REG || !e->size || visible(v, layer, e->path) ||
		        map_has(&linked, e->path))
			continue;
		r->wasted += e->size;
		note_waste(w, e);
	}
	map_release(&linked);
}

static int most_first(const void *a, const void *b)
{
	const struct wasted_path *x = a, *y = b;
	if (x->bytes != y->bytes)
		return x->bytes > y->bytes ? -1 : 1;
	return strcmp(x->path, y->path);
}

void image_layers_report(const struct image_layers *l, struct layers_report *ret)
{
	struct layers_report r = {.n = l->view.n};
	struct waste w = {.paths = MAP_INIT(free)};
	size_t h = 0;
	r.v = new0(struct layer_report, r.n + 1);
	for (size_t i = 0; i < r.n; i++) {
		struct layer_report *one = &r.v[i];
		const struct treeview lower = {l->view.layers, i};
		while (h < l->config.n_history && l->config.history[h].empty_layer)
			h++;
		one->created_by = h < l->config.n_history
		                          ? str_or_empty(l->config.history[h++].created_by)
		                          : "";
		one->diff_id = l->config.diff_ids[i];
		one->size = tree_total_size(l->view.layers[i]);
		count_changes(&lower, l->view.layers[i], one);
		count_waste(&l->view, i, one, &w);
		r.total += one->size;
		r.wasted += one->wasted;
	}
	r.paths = new0(struct wasted_path, w.paths.n + 1);
	map_foreach (it, &w.paths)
		r.paths[r.n_paths++] = *(struct wasted_path *)it->value;
	qsort(r.paths, r.n_paths, sizeof(*r.paths), most_first);
	map_release(&w.paths);
	*ret = r;
}

void layers_report_release(struct layers_report *r)
{
	free(r->v);
	free(r->paths);
	*r = (struct layers_report){0};
}

/* --- two images ------------------------------------------------------------------------------ */

struct hits {
	struct view_hit *v;
	size_t n, cap;
};

static int collect(void *ctx, const struct view_hit *hit)
{
	struct hits *h = ctx;
	vec_grow(&h->v, &h->cap, h->n + 1);
	h->v[h->n++] = *hit;
	return 0;
}

/* same - a hard link equals a file with the same content: which name of a file came first is
 * nobody's business. */
static bool same(const struct tree_entry *a, const struct tree_entry *b)
{
	if (a->type != b->type || a->mode != b->mode || a->uid != b->uid || a->gid != b->gid ||
	        a->size != b->size || a->dev_major != b->dev_major ||
	        a->dev_minor != b->dev_minor || !tree_same_xattrs(a, b))
		return false;
	if (a->type == TREE_SYMLINK)
		return str_eq(str_or_empty(a->link), str_or_empty(b->link));
	return a->type != TREE_REG || digest_eq(&a->sha256, &b->sha256);
}

static const struct tree_entry *content(const struct treeview *v, const struct view_hit *h)
{
	const struct tree_entry *e = view_content(v, h);
	return e ? e : h->entry;
}

int image_layers_compare(const struct image_layers *a, const struct image_layers *b,
        int (*fn)(void *ctx, const struct path_change *c), void *ctx)
{
	struct hits x = {0}, y = {0};
	(void)view_list(&a->view, "", true, collect, &x);
	(void)view_list(&b->view, "", true, collect, &y);
	int rc = 0;
	for (size_t i = 0, k = 0; rc == 0 && (i < x.n || k < y.n);) {
		int c = i >= x.n   ? 1
		        : k >= y.n ? -1
		                   : tree_path_cmp(x.v[i].entry->path, y.v[k].entry->path);
		struct path_change p = {0};
		if (c <= 0) {
			p.a = x.v[i].entry;
			p.ca = content(&a->view, &x.v[i]);
			i++;
		}
		if (c >= 0) {
			p.b = y.v[k].entry;
			p.cb = content(&b->view, &y.v[k]);
			k++;
		}
		p.kind = c < 0 ? 'D' : c > 0 ? 'A' : 'C';
		p.path = p.a ? p.a->path : p.b->path;
		if (c != 0 || !same(p.ca, p.cb))
			rc = fn(ctx, &p);
	}
	free(x.v);
	free(y.v);
	return rc;
}
