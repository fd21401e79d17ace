/* container/commit.c - what a container changed: diff, commit, export. All read its upper
 * directory; a container that runs goes on meanwhile, unless commit was told to pause it. */
#include "container/internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/sysmacros.h>
#include <time.h>

#include "build/derive.h"
#include "sys/owner.h"
#include "sys/path.h"
#include "sys/xattr.h"

/* open_files - image and own files; the folder is opened anew in our mount namespace. */
static int open_files(struct store *s, const char *name, struct container **ret,
        struct image_rootfs **ret_rootfs, struct container_files *ret_files, struct error *err)
{
	_cleanup_(container_freep) struct container *c = NULL;
	struct digest image;
	if (container_find(s, name, &c, err) < 0)
		return -1;
	if (!container_image(c, &image))
		return err_set(err, ERR_INTEGRITY, "container %s names no image", c->name);
	const char *asked = json_get_str(container_process_config(c), "Image");
	if (image_rootfs_open(s, &image, str_or_empty(asked), NULL, ret_rootfs, err) < 0)
		return -1;
	close_ptr(&c->dirfd);
	c->dirfd = store_container_open(s, c->id, err);
	if (c->dirfd < 0)
		return -1;
	if (container_files_open(c, *ret_rootfs, ret_files, err) < 0)
		return -1;
	*ret = take_ptr(c);
	return 0;
}

/* --- diff ------------------------------------------------------------------------------------ */

struct change {
	char *path; /* relative */
	char kind;
	bool is_dir, same; /* a directory that overlayfs only copied up */
};

struct diff {
	const struct treeview *lower;
	int upper;
	bool single_id;
	struct strv queue;
	struct change *v;
	size_t n, cap;
};

static void add_change(struct diff *d, const char *path, char kind, bool is_dir, bool same)
{
	vec_grow(&d->v, &d->cap, d->n + 1);
	d->v[d->n++] = (struct change){xstrdup(path), kind, is_dir, same};
}

static int hide_child(void *ctx, const struct view_hit *hit)
{
	struct diff *d = ctx;
	struct stat st;
	if (sys_stat_beneath(d->upper, hit->entry->path, &st) == -ENOENT)
		add_change(d, hit->entry->path, 'D', false, false);
	return 0;
}

static bool same_dir(const struct diff *d, int dir, const char *name, const struct stat *st,
        const struct tree_entry *e)
{
	struct sys_owner o = {st->st_uid, st->st_gid};
	if (d->single_id) {
		o = (struct sys_owner){0, 0};
		(void)!sys_owner_get(dir, name, &o);
	}
	return e->type == TREE_DIR && (st->st_mode & 07777) == e->mode && o.uid == e->uid &&
	       o.gid == e->gid && st->st_mtim.tv_sec == e->mtime_sec;
}

static int diff_one(struct diff *d, int dir, const char *name, const char *path, struct error *err)
{
	struct stat st;
	struct view_hit hit;
	char opaque[2];
	bool below = view_lookup(d->lower, path, &hit);
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(err, errno, "cannot read /%s", path);
	if (S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0)) {
		if (below)
			add_change(d, path, 'D', false, false);
		return 0;
	}
	bool is_dir = S_ISDIR(st.st_mode);
	add_change(d, path, below ? 'C' : 'A', is_dir,
	        is_dir && below && same_dir(d, dir, name, &st, hit.entry));
	if (!is_dir)
		return 0;
	strv_add(&d->queue, path);
	if (below && sys_xattr_get(dir, name, "user.overlay.opaque", opaque, 1) == 1)
		(void)view_list(d->lower, path, false, hide_child, d);
	return 0;
}

static int diff_dir(struct diff *d, const char *path, struct error *err)
{
	int fd = sys_open_beneath(d->upper, *path ? path : ".", O_RDONLY | O_DIRECTORY, 0);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		int e = fd < 0 ? fd : errno;
		close_ptr(&fd);
		return e == -ENOENT ? 0 : err_sys(err, e, "cannot list /%s", path);
	}
	int rc = 0;
	for (struct dirent *e; rc == 0 && (e = readdir(dir));) {
		if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
			continue;
		_cleanup_free_ char *sub =
		        *path ? xasprintf("%s/%s", path, e->d_name) : xstrdup(e->d_name);
		rc = diff_one(d, fd, e->d_name, sub, err);
	}
	closedir(dir);
	return rc;
}

static int by_path(const void *a, const void *b)
{
	return tree_path_cmp(((const struct change *)a)->path, ((const struct change *)b)->path);
}

static int diff_all(struct diff *d, void (*fn)(void *ctx, char kind, const char *path), void *ctx,
        struct error *err)
{
	int rc = diff_dir(d, "", err);
	for (size_t i = 0; rc == 0 && i < d->queue.n; i++) {
		_cleanup_free_ char *path = xstrdup(d->queue.v[i]);
		rc = diff_dir(d, path, err);
	}
	if (d->n)
		qsort(d->v, d->n, sizeof(*d->v), by_path);
	for (size_t i = 0; rc == 0 && i < d->n; i++) {
		const struct change *x = &d->v[i];
		/* Copied up for the sake of something that is gone again. */
		bool leaf = i + 1 == d->n || !tree_path_below(d->v[i + 1].path, x->path);
		if (!(x->same && leaf))
			fn(ctx, x->kind, x->path);
	}
	for (size_t i = 0; i < d->n; i++)
		free(d->v[i].path);
	free(d->v);
	strv_release(&d->queue);
	return rc;
}

int container_diff(struct store *s, const char *name,
        void (*fn)(void *ctx, char kind, const char *path), void *ctx, struct error *err)
{
	_cleanup_(container_freep) struct container *c = NULL;
	_cleanup_(image_rootfs_freep) struct image_rootfs *r = NULL;
	_cleanup_(container_files_release) struct container_files f = CONTAINER_FILES_NONE;
	_cleanup_(container_changes_release) struct container_changes x = CONTAINER_CHANGES_NONE;
	if (open_files(s, name, &c, &r, &f, err) < 0)
		return -1;
	bool as_is = container_files_are_plain(c, &f);
	if (!as_is && container_changes(c, r, &f, false, &x, err) < 0)
		return -1;
	struct diff d = {
	        .lower = &r->view, .upper = as_is ? f.fd : x.fd, .single_id = r->single_id};
	return diff_all(&d, fn, ctx, err);
}

/* --- commit ---------------------------------------------------------------------------------- */

/* take_layer - what the container changed as a layer of im: the container keeps its own, which goes
 * on changing. */
static int take_layer(const struct image_rootfs *r, struct store *s, const struct container *c,
        const struct container_files *f, bool pause, struct oci_image *im, struct error *err)
{
	_cleanup_(container_changes_release) struct container_changes x = CONTAINER_CHANGES_NONE;
	if (container_changes(c, r, f, pause, &x, err) < 0)
		return -1;
	return image_add_layer(r, s, im, x.name, &x.tree, x.fd, err);
}

static int commit(const struct image_rootfs *r, struct store *s, const struct container *c,
        const struct container_files *f, const struct container_commit_options *o,
        struct oci_image *im, struct digest *ret_id, struct error *err)
{
	const json_t *config = container_process_config(c);
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	_cleanup_free_ char *now = oci_time(ts.tv_sec, ts.tv_nsec);
	_cleanup_strv_ struct strv argv = STRV_INIT;
	/* The container's own settings are the image's, as docker does. */
	strv_release(&im->env);
	im->env = STRV_INIT;
	(void)json_get_strv(config, "Env", &im->env);
	strv_release(&im->cmd);
	im->cmd = STRV_INIT;
	im->cmd_set = json_get_strv(config, "Cmd", &im->cmd) && im->cmd.n;
	strv_release(&im->entrypoint);
	im->entrypoint = STRV_INIT;
	im->entrypoint_set =
	        json_get_strv(config, "Entrypoint", &im->entrypoint) && im->entrypoint.n;
	free(im->user);
	im->user = xstrdup(str_or_empty(json_get_str(config, "User")));
	free(im->working_dir);
	im->working_dir = xstrdup(str_or_empty(json_get_str(config, "WorkingDir")));
	const char *key;
	json_t *v;
	json_object_foreach(json_get_obj(config, "Labels"), key, v)
	{
		map_put(&im->labels, key, xstrdup(str_or_empty(json_string_value(v))));
	}
	if (image_change(im, &o->changes, err) < 0)
		return -1;
	int rc = take_layer(r, s, c, f, o->pause, im, err);
	if (rc < 0)
		return -1;
	(void)json_get_strv(config, "Entrypoint", &argv);
	(void)json_get_strv(config, "Cmd", &argv);
	_cleanup_free_ char *by = strv_join(&argv, " ");
	free(im->created);
	im->created = xstrdup(now);
	if (o->author) {
		free(im->author);
		im->author = xstrdup(o->author);
	}
	oci_image_add_history(im, now, by, str_or_empty(o->message), rc == 0);
	return image_keep(r, s, im, o->name, ret_id, err);
}

int container_commit(struct store *s, const char *name, const struct container_commit_options *o,
        struct digest *ret_id, struct error *err)
{
	_cleanup_(container_freep) struct container *c = NULL;
	_cleanup_(image_rootfs_freep) struct image_rootfs *r = NULL;
	_cleanup_(container_files_release) struct container_files f = CONTAINER_FILES_NONE;
	struct digest image;
	struct oci_image im;
	if (open_files(s, name, &c, &r, &f, err) < 0)
		return -1;
	oci_image_init(&im);
	int rc = container_image(c, &image) ? store_image_config(s, &image, &im, err) : -1;
	if (rc >= 0)
		rc = commit(r, s, c, &f, o, &im, ret_id, err);
	oci_image_release(&im);
	return rc;
}

int container_export(struct store *s, const char *name, int fd, struct error *err)
{
	_cleanup_(container_freep) struct container *c = NULL;
	struct container_root root = CONTAINER_ROOT_NONE;
	if (container_find(s, name, &c, err) < 0 || container_root_snapshot(s, c, &root, err) < 0)
		return -1;
	const struct copy_options o = {.keep_owner = true,
	        .keep_special = true,
	        .recorded = root.single_id,
	        .owners = &root.owners};
	int rc = tar_from_tree(root.fd, ".", "", true, &o, fd, err);
	container_root_release(c, &root);
	return rc;
}
