/* layer/plain_diff.c - the layer that a step left in a plain copy of its root file system.
 *
 * Both sides are walked in tree order. What differs moves, by its descriptors and plain names, into
 * a layer that upper.c keeps the books of: so it comes out as an overlay upper directory would. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "layer/layer.h"
#include "layer/upper.h"
#include "sys/xattr.h"
#include "sys/path.h"

struct diff {
	struct upper u;
	const struct treeview *v;
	int rootfd;
	const struct tree *now;
	bool *changed;           /* per entry of now */
	struct view_hit *before; /* the view, in tree order */
	size_t n_before, cap_before;
	struct error *err;
};

static int collect(void *ctx, const struct view_hit *hit)
{
	struct diff *d = ctx;
	vec_grow(&d->before, &d->cap_before, d->n_before + 1);
	d->before[d->n_before++] = *hit;
	return 0;
}

static const struct tree_entry *content_of(const struct tree *t, const struct tree_entry *e)
{
	return e->type == TREE_HARDLINK ? tree_find(t, e->link) : e;
}

/* same - is what is on disk still what the view shows? */
static bool same(const struct diff *d, const struct tree_entry *now, const struct view_hit *hit)
{
	const struct tree_entry *a = content_of(d->now, now), *b = view_content(d->v, hit);
	if (!a || !b || a->type != b->type || a->mode != b->mode || a->uid != b->uid ||
	        a->gid != b->gid || a->mtime_sec != b->mtime_sec ||
	        a->mtime_nsec != b->mtime_nsec || !tree_same_xattrs(a, b))
		return false;
	switch (a->type) {
	case TREE_REG:
		return a->size == b->size && digest_eq(&a->sha256, &b->sha256);
	case TREE_SYMLINK:
		return str_eq(a->link, b->link);
	case TREE_CHR:
	case TREE_BLK:
		return a->dev_major == b->dev_major && a->dev_minor == b->dev_minor;
	default:
		return true;
	}
}

/* A file that changes under one name changes under all. */
static void mark_links(struct diff *d)
{
	for (size_t i = 0; i < d->now->n; i++) {
		const struct tree_entry *e = &d->now->entries[i];
		if (e->type != TREE_HARDLINK)
			continue;
		const struct tree_entry *first = tree_find(d->now, e->link);
		size_t k = first ? (size_t)(first - d->now->entries) : i;
		d->changed[k] = d->changed[i] = d->changed[k] || d->changed[i];
	}
	for (size_t i = 0; i < d->now->n; i++) {
		const struct tree_entry *e = &d->now->entries[i];
		const struct tree_entry *first =
		        e->type == TREE_HARDLINK ? tree_find(d->now, e->link) : NULL;
		if (first)
			d->changed[i] = d->changed[first - d->now->entries];
	}
}

static const char *split(const char *path, char **ret_dir)
{
	const char *slash = strrchr(path, '/');
	*ret_dir = xstrndup(path, slash ? (size_t)(slash - path) : 0);
	return slash ? slash + 1 : path;
}

/* parent_of - the node of the directory that path is in; as the step left it if that changed. */
static int parent_of(struct diff *d, const char *path, uint32_t *ret, const char **ret_name)
{
	static const struct tree_entry made = {.type = TREE_DIR, .mode = 0755};
	_cleanup_free_ char *dir = NULL;
	*ret_name = split(path, &dir);
	return upper_mkdirs(&d->u, dir, &made, ret, d->err);
}

static int move_over(struct diff *d, const struct tree_entry *e, uint32_t dir, const char *name)
{
	const char *old;
	_cleanup_close_ int from = sys_open_parent(d->rootfd, e->path, &old);
	int to = upper_dirfd(&d->u, dir, d->err);
	if (to < 0)
		return -1;
	if (from < 0 || renameat(from, old, to, name) < 0)
		return err_sys(d->err, from < 0 ? from : errno, "cannot take /%s over", e->path);
	return 0;
}

static int take(struct diff *d, const struct tree_entry *e)
{
	uint32_t dir, node, first;
	const char *name;
	if (parent_of(d, e->path, &dir, &name) < 0)
		return -1;
	if (e->type == TREE_HARDLINK) {
		const char *other_name;
		uint32_t other_dir;
		if (parent_of(d, e->link, &other_dir, &other_name) < 0)
			return -1;
		first = upper_child(&d->u, other_dir, other_name);
		if (first == UPPER_NONE)
			return err_set(d->err, ERR_INTERNAL, "/%s: a link to nothing", e->path);
		if (upper_link(&d->u, dir, name, first, &node, d->err) < 0)
			return -1;
	} else if (upper_put(&d->u, dir, name, e, &node, d->err) < 0) {
		return -1;
	}
	if (e->type == TREE_DIR)
		return 0;
	if (move_over(d, e, dir, name) < 0)
		return -1;
	upper_on_disk(&d->u, node);
	return 0;
}

static int hide(struct diff *d, const char *path)
{
	struct tree_entry w = {.path = path, .type = TREE_WHITEOUT};
	_cleanup_free_ char *up = NULL;
	uint32_t dir, node;
	const char *name;
	(void)split(path, &up);
	/* Below what is gone or no directory any more nothing is left to hide. */
	const struct tree_entry *parent = *up ? tree_find(d->now, up) : NULL;
	if (*up && (!parent || parent->type != TREE_DIR))
		return 0;
	return parent_of(d, path, &dir, &name) < 0 ? -1
	                                           : upper_put(&d->u, dir, name, &w, &node, d->err);
}

/* compare - which entries of now changed. */
static void compare(struct diff *d)
{
	for (size_t i = 0, k = 0; i < d->now->n; i++) {
		const struct tree_entry *e = &d->now->entries[i];
		while (k < d->n_before && tree_path_cmp(d->before[k].entry->path, e->path) < 0)
			k++;
		bool there = k < d->n_before && str_eq(d->before[k].entry->path, e->path);
		d->changed[i] = !there || !same(d, e, &d->before[k]);
	}
	mark_links(d);
}

static int build(struct diff *d)
{
	size_t k = 0;
	for (size_t i = 0; i <= d->now->n; i++) {
		const struct tree_entry *e = i < d->now->n ? &d->now->entries[i] : NULL;
		for (; k < d->n_before &&
		        (!e || tree_path_cmp(d->before[k].entry->path, e->path) <= 0);
		        k++)
			if ((!e || !str_eq(d->before[k].entry->path, e->path)) &&
			        hide(d, d->before[k].entry->path) < 0)
				return -1;
		/* The root: upper.c has it already, with what lies below. */
		if (e && d->changed[i] && *e->path && take(d, e) < 0)
			return -1;
	}
	return 0;
}

/* root_changed - chmod or chown of "/". */
static int take_root(struct diff *d, const struct tree *now)
{
	struct tree_entry *root = upper_entry(&d->u, UPPER_ROOT);
	static const struct tree_entry usual = {.type = TREE_DIR, .mode = 0755};
	const struct tree_entry *e = tree_find(now, "");
	/* The scan saw nothing below, and says only what is not the usual. */
	if (!e)
		e = &usual;
	if ((e->mode == root->mode && e->uid == root->uid && e->gid == root->gid))
		return 0;
	root->mode = e->mode;
	root->uid = e->uid;
	root->gid = e->gid;
	d->u.root_set = true;
	return 0;
}

int layer_plain_diff(int rootfd, const struct treeview *v, const int *fds,
        const struct owner_table *owners, struct pool *pool, int destfd, struct tree *ret,
        struct error *err)
{
	static const struct treeview nothing;
	struct tree now = TREE_INIT;
	struct diff d = {.v = v, .rootfd = rootfd, .now = &now, .err = err};
	if (layer_scan_upper(rootfd, &nothing, owners, pool, &now, err) < 0)
		return -1;
	int r = upper_init(&d.u, destfd, v, fds, owners != NULL, err);
	if (r >= 0) {
		d.changed = new0(bool, now.n + 1);
		(void)view_list(v, "", true, collect, &d);
		compare(&d);
		r = build(&d);
	}
	if (r >= 0)
		r = take_root(&d, &now);
	if (r >= 0)
		r = upper_finish(&d.u, ret, err);
	upper_release(&d.u);
	free(d.changed);
	free(d.before);
	tree_release(&now);
	return r < 0 ? -1 : 0;
}

/* --- fuse-overlayfs -------------------------------------------------------------------------- */

/* Its versions differ. */
static const char *const fuse_marks[] = {".wh..opq", ".wh..wh..opq"};

/* opaque_dir - the mark, by whichever of its two forms, with the directory's time as it is. */
static int opaque_dir(int fd)
{
	struct stat st;
	char mark;
	if (fstat(fd, &st) < 0)
		return -errno;
	bool opaque = sys_xattr_get(fd, "", "user.fuseoverlayfs.opaque", &mark, 1) == 1;
	for (size_t i = 0; i < ARRAY_SIZE(fuse_marks); i++)
		opaque |= unlinkat(fd, fuse_marks[i], 0) == 0;
	if (!opaque)
		return 0;
	int r = sys_xattr_set(fd, "", "user.overlay.opaque", "y", 1);
	struct timespec ts[2] = {{.tv_nsec = UTIME_OMIT}, st.st_mtim};
	return r < 0 ? r : futimens(fd, ts) < 0 ? -errno : 0;
}

static int keep_setgid(int fd, const char *path, const struct treeview *lower)
{
	struct stat st;
	struct view_hit hit;
	if (!view_lookup(lower, path, &hit) || hit.entry->type != TREE_DIR ||
	        !(hit.entry->mode & S_ISGID))
		return 0;
	if (fstat(fd, &st) < 0)
		return -errno;
	if ((st.st_mode & 07777) != (hit.entry->mode & ~(uint32_t)S_ISGID))
		return 0;
	return fchmod(fd, hit.entry->mode) < 0 ? -errno : 0;
}

static int fuse_dir(int top, const char *path, const struct treeview *lower, struct strv *todo)
{
	int fd = *path ? sys_open_beneath(top, path, O_RDONLY | O_DIRECTORY, 0)
	               : sys_open_dir(top, ".");
	int r = fd < 0 ? fd : opaque_dir(fd);
	if (r >= 0)
		r = keep_setgid(fd, path, lower);
	DIR *d = r < 0 ? NULL : fdopendir(fd);
	if (!d) {
		if (fd >= 0)
			close(fd);
		return r < 0 ? r : -errno;
	}
	for (struct dirent *e; (e = readdir(d));) {
		struct stat st;
		if (str_eq(e->d_name, ".") || str_eq(e->d_name, "..") ||
		        fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		        !S_ISDIR(st.st_mode))
			continue;
		strv_addf(todo, "%s%s%s", path, *path ? "/" : "", e->d_name);
	}
	closedir(d);
	return 0;
}

int layer_plain_fuse(int upperfd, const struct treeview *lower, struct error *err)
{
	_cleanup_strv_ struct strv todo = STRV_INIT;
	strv_add(&todo, "");
	for (size_t i = 0; i < todo.n; i++) {
		_cleanup_free_ char *path = xstrdup(todo.v[i]);
		int r = fuse_dir(upperfd, path, lower, &todo);
		if (r < 0)
			return err_sys(err, r, "cannot read /%s", path);
	}
	return 0;
}
