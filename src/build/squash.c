/* build/squash.c - see squash.h. What the merged new layers show, plus a whiteout for each path of
 * the base that is gone, is by construction the same file system in one layer. */
#include "build/squash.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "layer/layer.h"
#include "sys/path.h"

struct squash {
	const struct build_view *full;
	size_t n_base;
	struct copy_entry *entries;
	size_t n, cap;
	struct strv gone;
	const struct treeview *all, *base;
};

static int take_new(void *ctx, const struct view_hit *hit)
{
	struct squash *s = ctx;
	if (hit->layer < s->n_base || hit->entry->path[0] == '\0')
		return 0;
	vec_grow(&s->entries, &s->cap, s->n + 1);
	s->entries[s->n++] = (struct copy_entry){.e = hit->entry,
	        .rel = hit->entry->path,
	        .dirfd = s->full->fds[hit->layer],
	        .src = hit->entry->path};
	return 0;
}

static int take_gone(void *ctx, const struct view_hit *hit)
{
	struct squash *s = ctx;
	struct view_hit now;
	const char *path = hit->entry->path;
	if (path[0] == '\0' || view_lookup(s->all, path, &now))
		return 0;
	/* Only the topmost: below a removed or replaced directory nothing needs hiding. */
	const char *slash = strrchr(path, '/');
	if (slash) {
		_cleanup_free_ char *parent = xstrndup(path, (size_t)(slash - path));
		if (!view_lookup(s->all, parent, &now) || now.entry->type != TREE_DIR)
			return 0;
	}
	strv_add(&s->gone, path);
	return 0;
}

/* add_whiteouts - in the directory and in the tree; parents that the layer does not have yet are
 * taken over from the base with their attributes by the tree (a layer's parents are implied). */
static int add_whiteouts(const struct strv *gone, int fd, struct tree *t, struct error *err)
{
	for (size_t i = 0; i < gone->n; i++) {
		const char *path = gone->v[i], *name;
		const char *slash = strrchr(path, '/');
		if (slash) {
			_cleanup_free_ char *dir = xstrndup(path, (size_t)(slash - path));
			int r = sys_mkdir_p(fd, dir, 0755);
			if (r < 0)
				return err_sys(err, r, "squash: making %s", dir);
		}
		_cleanup_close_ int parent = sys_open_parent(fd, path, &name);
		if (parent < 0)
			return err_sys(err, parent, "squash: opening the directory of %s", path);
		if (mknodat(parent, name, S_IFCHR, makedev(0, 0)) < 0)
			return err_sys(err, errno, "squash: hiding %s", path);
		struct tree_entry e = {.path = path, .type = TREE_WHITEOUT};
		tree_add(t, &e);
	}
	return 0;
}

/* parents_of_gone - directories of the base above a whiteout become entries, so that overlayfs
 * shows them with their own attributes. */
static void parents_of_gone(struct squash *s)
{
	for (size_t i = 0; i < s->gone.n; i++) {
		_cleanup_free_ char *p = xstrdup(s->gone.v[i]);
		for (char *slash; (slash = strrchr(p, '/'));) {
			*slash = '\0';
			struct view_hit hit;
			if (!view_lookup(s->all, p, &hit) || hit.layer >= s->n_base)
				continue;
			bool have = false;
			for (size_t k = 0; k < s->n && !have; k++)
				have = str_eq(s->entries[k].rel, p);
			if (have)
				continue;
			vec_grow(&s->entries, &s->cap, s->n + 1);
			s->entries[s->n++] = (struct copy_entry){.e = hit.entry,
			        .rel = hit.entry->path,
			        .dirfd = s->full->fds[hit.layer],
			        .src = hit.entry->path};
		}
	}
}

static int compare_entries(const void *a, const void *b)
{
	return tree_path_cmp(
	        ((const struct copy_entry *)a)->rel, ((const struct copy_entry *)b)->rel);
}

int build_squash(struct build *b, const struct rootfs **top, struct error *err)
{
	const struct rootfs *base = *top;
	while (base && !base->from_base)
		base = base->parent;
	if (base == *top)
		return 0;
	if (build_enter(b, err) < 0)
		return -1;
	struct build_view full = {0};
	struct layer_dir dir = {.fd = -1, .tree_fd = -1};
	_cleanup_tree_ struct tree t = TREE_INIT;
	int rc = build_view_open(b, *top, &full, err);
	if (rc < 0)
		return -1;
	struct treeview below = {full.v.layers, base ? base->depth : 0};
	struct squash s = {.full = &full, .n_base = below.n, .all = &full.v, .base = &below};
	(void)view_list(&full.v, "", true, take_new, &s);
	(void)view_list(&below, "", true, take_gone, &s);
	parents_of_gone(&s);
	qsort(s.entries, s.n, sizeof(*s.entries), compare_entries);
	struct copy_item item = {
	        .name = "", .shown = "/", .is_dir = true, .entries = s.entries, .n = s.n};
	static const struct treeview empty;
	struct copy_request rq = {.items = &item,
	        .n_items = 1,
	        .dest = "/",
	        .keep_owner = true,
	        .single_id = b->single_id,
	        .lower = &empty};
	rc = layer_dir_new(b, &dir, err);
	if (rc >= 0)
		rc = layer_copy(&rq, b->pool, dir.tree_fd, &t, err);
	if (rc >= 0)
		rc = add_whiteouts(&s.gone, dir.tree_fd, &t, err);
	if (rc >= 0) {
		tree_sort(&t);
		struct digest diff_id;
		uint64_t size;
		const struct store_layer *l;
		rc = layer_diff_id(&t, dir.tree_fd, &diff_id, &size, err);
		if (rc >= 0)
			rc = store_layer_publish(
			        b->store, b->lease, dir.name, &t, &diff_id, size, true, &l, err);
		if (rc >= 0) {
			struct rootfs *link = (struct rootfs *)rootfs_new(b, base, &diff_id);
			link->created_sec = (*top)->created_sec;
			link->created_nsec = (*top)->created_nsec;
			*top = link;
		}
	}
	free(s.entries);
	strv_release(&s.gone);
	layer_dir_release(&dir);
	build_view_release(&full);
	return rc < 0 ? -1 : 0;
}
