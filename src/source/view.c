/* source/view.c - the merged layers of a stage or an image as the source of COPY --from. Digests
 * come from the manifests: no byte is read. */
#include "base/strbuf.h"
#include "source/select.h"

struct view_fs {
	struct select_fs fs;
	const struct treeview *v;
	const int *fds;
};

static bool to_hit(const struct view_fs *x, const struct view_hit *h, struct select_hit *ret)
{
	const struct tree_entry *body = view_content(x->v, h);
	if (!body)
		return false;
	*ret = (struct select_hit){
	        .e = h->entry,
	        .body = body,
	        .dirfd = x->fds[h->layer],
	};
	/* Only a hard link's own entry says that there is another name; the first name is found by
	 * its place in the layer. */
	if (body->type != TREE_DIR) {
		ret->group[0] = h->layer + 1;
		ret->group[1] = (uintptr_t)body;
	}
	return true;
}

static int fs_find(struct select_fs *fs, const char *path, bool follow, struct select_hit *ret,
        int *ret_line, struct error *err)
{
	struct view_fs *x = (struct view_fs *)fs;
	struct view_hit h;
	*ret_line = 0;
	if (!follow)
		return view_lookup(x->v, path, &h) && to_hit(x, &h, ret);
	_cleanup_free_ char *phys = NULL;
	int r = view_resolve(x->v, path, true, &phys, &h, err);
	if (r < 0 && err->class == ERR_BUILD) {
		/* a file in the middle of the path is a missing path, as in a context */
		error_release(err);
		return 0;
	}
	return r == 1 ? to_hit(x, &h, ret) : r;
}

struct listing {
	struct view_fs *x;
	int (*fn)(void *, const struct select_hit *);
	void *ctx;
};

static int list_hit(void *ctx, const struct view_hit *h)
{
	struct listing *l = ctx;
	struct select_hit hit;
	return to_hit(l->x, h, &hit) ? l->fn(l->ctx, &hit) : 0;
}

static int fs_list(struct select_fs *fs, const struct select_hit *dir, bool recursive,
        int (*fn)(void *, const struct select_hit *), void *ctx, struct error *err)
{
	struct listing l = {(struct view_fs *)fs, fn, ctx};
	return view_list(l.x->v, dir->e->path, recursive, list_hit, &l);
}

static int fs_digests(
        struct select_fs *fs, const struct select_hit *const *hits, size_t n, struct error *err)
{
	for (size_t i = 0; i < n; i++)
		if (!hits[i]->body->has_digest)
			return err_set(err, ERR_INTERNAL,
			        "%s has no digest in its layer's manifest", hits[i]->body->path);
	return 0;
}

int source_view_select(const struct treeview *v, const int *fds, const struct source_select *what,
        struct source_selection *ret, struct error *err)
{
	struct view_fs x = {
	        .fs = {.what = "source stage",
	                .immutable = true,
	                .find = fs_find,
	                .list = fs_list,
	                .digests = fs_digests},
	        .v = v,
	        .fds = fds,
	};
	return select_run(&x.fs, what, ret, err);
}
