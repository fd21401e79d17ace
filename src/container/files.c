/* container/files.c - what a container has of its own on disk, and putting its root together.
 *
 *     upper/   the upper directory of an overlay, the kernel's or fuse-overlayfs'
 *     root/    where neither served when it was first needed: a copy of the whole root, for good
 *     fuse     empty: upper/ is as fuse-overlayfs left it (layer_plain_fuse)
 *     made     mount points made in a root that is no overlay of the kernel's (sandbox_unmake)
 *     owners   single-id mode: a log of owners that no attribute can hold (sys/owner_table.h)
 *
 * `fuse` and `made` are there while the container runs, or when its supervisor was killed. */
#include "container/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

#include "layer/layer.h"
#include "sys/mount.h"
#include "sys/owner.h"
#include "sys/path.h"

static bool there(const struct container *c, const char *name)
{
	struct stat st;
	return fstatat(c->dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* --- owners in single-id mode ---------------------------------------------------------------- */

static int open_owners(const struct container *c, int flags)
{
	int fd = openat(c->dirfd, "owners", flags | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : fd;
}

/* put_both - an inode of the upper directory shows by its number in the merged root too. */
static void put_both(struct owner_table *to, const struct owner_table *from)
{
	for (size_t i = 0; i < from->cap; i++) {
		struct owner_record r = from->v[i];
		if (!r.where)
			continue;
		owner_table_put(to, &r);
		r.where = OWNER_MERGED;
		owner_table_put(to, &r);
	}
}

int container_owners_load(const struct container *c, const struct image_rootfs *r,
        const struct container_files *f, struct owner_table *ret, struct error *err)
{
	_cleanup_close_ int file = open_owners(c, O_RDONLY);
	int e = 0;
	if (r && f->kind != OVERLAY_COPY) {
		/* The layers' inodes are others once they were fetched again. */
		_cleanup_close_ int log = layer_owner_log(&r->view, r->fds, err);
		_cleanup_(owner_table_release) struct owner_table own = {0};
		if (log < 0)
			return -1;
		e = owner_log_load(log, OWNER_MERGED, ret);
		if (e >= 0 && file >= 0)
			e = owner_log_load(file, OWNER_UPPER, &own);
		put_both(ret, &own);
	} else if (file >= 0) {
		e = owner_log_load(file, 0, ret);
	}
	if (e >= 0 && file < 0 && file != -ENOENT)
		e = file;
	return e < 0 ? err_sys(err, e, "cannot read the owners of files in %s", c->name) : 0;
}

static int write_owners(
        const struct container *c, const struct owner_table *t, const char *name, int flags)
{
	_cleanup_close_ int fd =
	        openat(c->dirfd, name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC | flags, 0600);
	int e = fd < 0 ? -errno : 0;
	for (size_t i = 0; e >= 0 && i < t->cap; i++)
		if (t->v[i].where)
			e = sys_write_all(fd, &t->v[i], sizeof(t->v[i]));
	return e;
}

/* begin_owners - the log as a supervisor takes it: with the layers' links in it. */
static int begin_owners(const struct container *c, const struct image_rootfs *r,
        struct container_files *f, struct error *err)
{
	_cleanup_(owner_table_release) struct owner_table t = {0};
	int e = 0;
	if (f->kind != OVERLAY_COPY) {
		if (container_owners_load(c, r, f, &t, err) < 0)
			return -1;
		e = write_owners(c, &t, "owners.new", O_TRUNC);
		if (e >= 0 && renameat(c->dirfd, "owners.new", c->dirfd, "owners") < 0)
			e = -errno;
	}
	if (e >= 0)
		e = f->owners = open_owners(c, O_RDWR | O_CREAT);
	return e < 0 ? err_sys(err, e, "cannot write the owners of files in %s", c->name) : 0;
}

/* --- the copy of a root ---------------------------------------------------------------------- */

/* A directory of r's lease with an empty `tree` in it. */
struct staging {
	char *name;
	int fd, tree;
	struct owner_table shared; /* inodes that are the container's own */
};
#define STAGING_NONE                                                                               \
	{                                                                                          \
		.fd = -1, .tree = -1                                                               \
	}

static void staging_release(struct staging *s)
{
	close_ptr(&s->tree);
	close_ptr(&s->fd);
	owner_table_release(&s->shared);
	free(take_ptr(s->name));
}

static int staging_new(const struct image_rootfs *r, struct staging *ret, struct error *err)
{
	if (store_staging_dir(r->lease, &ret->name, &ret->fd, err) < 0)
		return -1;
	int e = sys_mkdir_p(ret->fd, "tree", 0755);
	ret->tree = e < 0 ? e : sys_open_beneath(ret->fd, "tree", O_RDONLY | O_DIRECTORY, 0);
	return ret->tree < 0 ? err_sys(err, ret->tree, "cannot make a staging directory") : 0;
}

/* copy_own - the container's own directory into s->tree. *ret_log: the owners of what was made, as
 * a log; -1 where they are on the files. */
static int copy_own(const struct container *c, const struct image_rootfs *r,
        const struct container_files *f, struct staging *s, int *ret_log, struct error *err)
{
	_cleanup_(owner_table_release) struct owner_table t = {0};
	struct stat st;
	_cleanup_close_ int log = r->single_id ? owner_log_new() : -1;
	if (r->single_id && log < 0)
		return err_sys(err, log, "cannot make a file in memory");
	if (r->single_id && container_owners_load(c, r, f, &t, err) < 0)
		return -1;
	const struct copy_options all = {.keep_owner = true,
	        .keep_special = true,
	        .keep_overlay = true,
	        .recorded = r->single_id,
	        .owners = &t,
	        .owner_log = log,
	        .same_as = f->kind == OVERLAY_COPY ? &r->view : NULL,
	        .shared = &s->shared};
	if (copy_tree(f->fd, ".", s->fd, "tree", true, &all, err) < 0)
		return -1;
	int e = fstat(f->fd, &st) < 0 || fchown(s->tree, st.st_uid, st.st_gid) < 0 ||
	                        fchmod(s->tree, st.st_mode & 07777) < 0
	                ? -errno
	                : 0;
	if (e >= 0 && r->single_id)
		e = sys_owner_copy(f->fd, s->tree);
	struct timespec ts[2] = {st.st_atim, st.st_mtim};
	if (e >= 0 && futimens(s->tree, ts) < 0)
		e = -errno;
	if (e < 0)
		return err_sys(err, e, "cannot copy the container's root directory");
	*ret_log = take_fd(&log);
	return 0;
}

/* Mount points that a run left in dir; after what fuse-overlayfs left in them. */
static int unmake(const struct container *c, int dir, struct error *err)
{
	_cleanup_close_ int made = sys_open_beneath(c->dirfd, "made", O_RDONLY, 0);
	return made < 0 ? 0 : sandbox_unmake(dir, made, err);
}

/* copy_settled - copy_own without mount points, an upper directory in the kernel's form. */
static int copy_settled(const struct container *c, const struct image_rootfs *r,
        const struct container_files *f, bool pause, struct staging *s, int *ret_log,
        struct error *err)
{
	if (staging_new(r, s, err) < 0)
		return -1;
	_cleanup_close_ int hold = pause ? control_hold(c, err) : -1;
	if (hold < -1 || copy_own(c, r, f, s, ret_log, err) < 0)
		return -1;
	close_ptr(&hold);
	if ((f->kind == OVERLAY_FUSE || there(c, "fuse")) &&
	        layer_plain_fuse(s->tree, &r->view, err) < 0)
		return -1;
	return unmake(c, s->tree, err);
}

/* scan_own - s->tree as a layer above the image. */
static int scan_own(const struct container *c, const struct image_rootfs *r,
        const struct staging *s, int log, struct tree *ret, struct error *err)
{
	_cleanup_(owner_table_release) struct owner_table t = {0};
	int e = log >= 0 ? owner_log_load(log, OWNER_UPPER, &t) : 0;
	if (e < 0)
		return err_sys(err, e, "cannot read the owners of files in %s", c->name);
	return layer_scan_upper(s->tree, &r->view, r->single_id ? &t : NULL, r->pool, ret, err);
}

/* none_shared - a file of the new layer that the container can still write to: it was written to
 * while the copy was made. */
static int none_shared(
        int root, const struct tree *t, const struct owner_table *shared, struct error *err)
{
	struct stat st;
	for (size_t i = 0; i < t->n; i++) {
		const struct tree_entry *e = &t->entries[i];
		if (e->type == TREE_REG && sys_stat_beneath(root, e->path, &st) >= 0 &&
		        owner_table_find(shared, OWNER_UPPER, st.st_ino)) {
			(void)err_set(err, ERR_SYSTEM, "/%s changed while being read", e->path);
			return err_hint(err, "try again");
		}
	}
	return 0;
}

int container_changes(const struct container *c, const struct image_rootfs *r,
        const struct container_files *f, bool pause, struct container_changes *ret,
        struct error *err)
{
	_cleanup_(staging_release) struct staging s = STAGING_NONE, moved = STAGING_NONE;
	_cleanup_(owner_table_release) struct owner_table t = {0};
	_cleanup_close_ int log = -1;
	_cleanup_tree_ struct tree tree = TREE_INIT;
	struct staging *result = &s;
	if (copy_settled(c, r, f, pause, &s, &log, err) < 0)
		return -1;
	if (f->kind == OVERLAY_COPY) {
		int e = log >= 0 ? owner_log_load(log, OWNER_UPPER, &t) : 0;
		if (e < 0)
			return err_sys(err, e, "cannot read the owners of files in %s", c->name);
		result = &moved;
		if (staging_new(r, &moved, err) < 0 ||
		        layer_plain_diff(s.tree, &r->view, r->fds, r->single_id ? &t : NULL,
		                r->pool, moved.tree, &tree, err) < 0 ||
		        none_shared(moved.tree, &tree, &s.shared, err) < 0)
			return -1;
	} else if (scan_own(c, r, &s, log, &tree, err) < 0) {
		return -1;
	}
	ret->name = take_ptr(result->name);
	ret->fd = take_fd(&result->tree);
	ret->tree = tree;
	tree = (struct tree)TREE_INIT;
	return 0;
}

void container_changes_release(struct container_changes *x)
{
	free(x->name);
	close_ptr(&x->fd);
	tree_release(&x->tree);
}

/* plain_root - the image's files in s->tree, with what the container has in upper/ above them:
 * there was an overlay once. */
static int plain_root(const struct container *c, const struct image_rootfs *r, struct staging *s,
        int *ret_log, struct error *err)
{
	_cleanup_(staging_release) struct staging own = STAGING_NONE;
	_cleanup_tree_ struct tree t = TREE_INIT;
	_cleanup_close_ int log = -1;
	size_t n = r->view.n;
	_cleanup_free_ const struct tree **layers = new0(const struct tree *, n + 1);
	_cleanup_free_ int *fds = new0(int, n + 1);
	struct container_files f = {.kind = OVERLAY_KERNEL, .fd = -1, .owners = -1};
	if (n) {
		memcpy(layers, r->view.layers, n * sizeof(*layers));
		memcpy(fds, r->fds, n * sizeof(int));
	}
	_cleanup_close_ int upper = sys_open_beneath(c->dirfd, "upper", O_RDONLY | O_DIRECTORY, 0);
	if (upper < 0 && upper != -ENOENT)
		return err_sys(err, upper, "cannot open the upper directory of %s", c->name);
	if (upper >= 0) {
		f.fd = upper;
		if (copy_settled(c, r, &f, false, &own, &log, err) < 0 ||
		        scan_own(c, r, &own, log, &t, err) < 0)
			return -1;
		layers[n] = &t;
		fds[n++] = own.tree;
	}
	const struct treeview v = {layers, n};
	if (staging_new(r, s, err) < 0 || layer_plain_root(&v, fds, s->tree, r->single_id, err) < 0)
		return -1;
	*ret_log = r->single_id ? layer_plain_owner_log(&v, s->tree, err) : -1;
	return r->single_id && *ret_log < 0 ? -1 : 0;
}

static int make_root(const struct container *c, const struct image_rootfs *r, struct error *err)
{
	_cleanup_(staging_release) struct staging s = STAGING_NONE;
	_cleanup_(owner_table_release) struct owner_table t = {0};
	_cleanup_close_ int log = -1;
	if (plain_root(c, r, &s, &log, err) < 0)
		return -1;
	int e = log >= 0 ? owner_log_load(log, 0, &t) : 0;
	/* Of two that make it at once the first one counts. */
	if (e >= 0 && r->single_id && !there(c, "root"))
		e = write_owners(c, &t, "owners", O_TRUNC);
	if (e >= 0 && renameat2(s.fd, "tree", c->dirfd, "root", RENAME_NOREPLACE) < 0 &&
	        errno != EEXIST)
		e = -errno;
	if (e < 0)
		return err_sys(err, e, "cannot make the root directory of %s", c->name);
	static const char *const old[] = {"upper", "fuse", "made"};
	for (size_t i = 0; e >= 0 && i < ARRAY_SIZE(old); i++)
		e = there(c, old[i]) ? sys_remove_tree(c->dirfd, old[i]) : 0;
	return e < 0 ? err_sys(err, e, "cannot remove the upper directory of %s", c->name) : 0;
}

/* --- opening --------------------------------------------------------------------------------- */

void container_files_release(struct container_files *f)
{
	close_ptr(&f->fd);
	close_ptr(&f->owners);
}

static int open_upper(const struct container *c, const struct image_rootfs *r, struct error *err)
{
	bool fresh = mkdirat(c->dirfd, "upper", 0755) == 0;
	if (!fresh && errno != EEXIST)
		return err_sys(err, errno, "cannot make the upper directory of %s", c->name);
	_cleanup_close_ int fd = sys_open_beneath(c->dirfd, "upper", O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return err_sys(err, fd, "cannot open the upper directory of %s", c->name);
	if (fresh && layer_prepare_upper(fd, &r->view, r->single_id, err) < 0)
		return -1;
	return take_fd(&fd);
}

static int open_kind(const struct container *c, const struct image_rootfs *r, int kind,
        struct container_files *ret, struct error *err)
{
	int fd = kind == OVERLAY_COPY
	                 ? sys_open_beneath(c->dirfd, "root", O_RDONLY | O_DIRECTORY, 0)
	                 : open_upper(c, r, err);
	if (fd < 0)
		return error_is_set(err)
		               ? -1
		               : err_sys(err, fd, "cannot open the root directory of %s", c->name);
	*ret = (struct container_files){.kind = kind, .fd = fd, .owners = -1};
	return 0;
}

/* What is there says more than what would be made now: it may be in use. */
int container_files_open(const struct container *c, const struct image_rootfs *r,
        struct container_files *ret, struct error *err)
{
	int kind = there(c, "root")   ? OVERLAY_COPY
	           : there(c, "fuse") ? OVERLAY_FUSE
	                              : image_rootfs_overlay(r, err);
	if (kind < 0)
		return -1;
	if (kind == OVERLAY_COPY && there(c, "upper"))
		kind = OVERLAY_KERNEL;
	else if (kind == OVERLAY_COPY && !there(c, "root") && make_root(c, r, err) < 0)
		return -1;
	return open_kind(c, r, kind, ret, err);
}

bool container_files_are_plain(const struct container *c, const struct container_files *f)
{
	return f->kind == OVERLAY_KERNEL && !there(c, "fuse") && !there(c, "made");
}

/* Mount points go from the upper directory itself: through its mount fuse-overlayfs would leave
 * whiteouts, which would hide those that the kernel's overlay gets from below. */
int container_files_settle(const struct container *c, const struct image_rootfs *r,
        const struct container_files *f, struct error *err)
{
	if (there(c, "fuse") && layer_plain_fuse(f->fd, &r->view, err) < 0)
		return -1;
	(void)unlinkat(c->dirfd, "fuse", 0);
	if (unmake(c, f->fd, err) < 0)
		return -1;
	(void)unlinkat(c->dirfd, "made", 0);
	return 0;
}

int container_files_begin(const struct container *c, const struct image_rootfs *r,
        struct container_files *ret, struct error *err)
{
	struct container_files f;
	int kind = there(c, "root") ? OVERLAY_COPY : image_rootfs_overlay(r, err);
	if (kind < 0)
		return -1;
	if (kind == OVERLAY_COPY && !there(c, "root") && make_root(c, r, err) < 0)
		return -1;
	if (open_kind(c, r, kind, &f, err) < 0)
		return -1;
	if (container_files_settle(c, r, &f, err) < 0 ||
	        (r->single_id && begin_owners(c, r, &f, err) < 0)) {
		container_files_release(&f);
		return -1;
	}
	*ret = f;
	return 0;
}

int container_made_open(const struct container *c, struct error *err)
{
	int fd =
	        openat(c->dirfd, "made", O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	return fd < 0 ? err_sys(err, errno, "cannot make a file in the folder of %s", c->name) : fd;
}

/* --- mounting -------------------------------------------------------------------------------- */

void container_mount_release(struct container_mount *m)
{
	close_ptr(&m->fd);
	close_ptr(&m->log);
	fuse_overlay_stop(&m->fuse);
}

static int mount_fuse(const struct image_rootfs *r, const int *lowers, size_t n, int upper,
        struct container_mount *ret, struct error *err)
{
	_cleanup_(staging_release) struct staging at = STAGING_NONE, work = STAGING_NONE;
	if (staging_new(r, &at, err) < 0 || staging_new(r, &work, err) < 0 ||
	        fuse_overlay_start(lowers, n, upper, work.tree, at.fd, &ret->fuse, err) < 0)
		return -1;
	ret->fd = fcntl(ret->fuse.root, F_DUPFD_CLOEXEC, 3);
	ret->attached = true;
	return ret->fd < 0 ? err_sys(err, errno, "cannot open a root directory") : 0;
}

/* mark_fuse - before fuse-overlayfs writes to the upper directory. */
static int mark_fuse(const struct container *c, struct error *err)
{
	_cleanup_close_ int fd =
	        openat(c->dirfd, "fuse", O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	return fd < 0 ? err_sys(err, errno, "cannot make a file in the folder of %s", c->name) : 0;
}

static int mount_kernel(
        const struct image_rootfs *r, const int *lowers, size_t n, int upper, struct error *err)
{
	_cleanup_free_ char *name = NULL;
	_cleanup_close_ int work = -1;
	if (upper >= 0 && store_staging_dir(r->lease, &name, &work, err) < 0)
		return -1;
	return sys_overlay_mount(lowers, n, upper, work, upper < 0);
}

static int mount_files(const struct container *c, const struct image_rootfs *r,
        const struct container_files *f, bool write, struct container_mount *m, struct error *err)
{
	_cleanup_free_ int *lowers = new0(int, r->n_lowers + 1);
	size_t n = r->n_lowers;
	if (n)
		memcpy(lowers, r->lowers, n * sizeof(int));
	if (f->kind == OVERLAY_COPY || (f->kind == OVERLAY_KERNEL && !n)) {
		/* scratch, or a copy: what the container has is all there is. */
		m->fd = sys_bind_clone(f->fd, "", false);
	} else {
		if (!write)
			lowers[n++] = f->fd;
		if (f->kind == OVERLAY_FUSE && write && mark_fuse(c, err) < 0)
			return -1;
		if (f->kind == OVERLAY_FUSE)
			return mount_fuse(r, lowers, n, write ? f->fd : -1, m, err);
		m->fd = mount_kernel(r, lowers, n, write ? f->fd : -1, err);
	}
	if (m->fd >= 0)
		return 0;
	return error_is_set(err)
	               ? -1
	               : err_sys(err, m->fd, "cannot mount the root of container %s", c->name);
}

/* mount_copy - of files that are in use, without what only the running container is to see. */
static int mount_copy(const struct container *c, const struct image_rootfs *r,
        const struct container_files *f, struct container_mount *m, struct error *err)
{
	_cleanup_(staging_release) struct staging s = STAGING_NONE;
	if (copy_settled(c, r, f, false, &s, &m->log, err) < 0)
		return -1;
	const struct container_files copy = {.kind = f->kind, .fd = s.tree, .owners = -1};
	return mount_files(c, r, &copy, false, m, err);
}

int container_files_mount(const struct container *c, const struct image_rootfs *r,
        const struct container_files *f, bool write, struct container_mount *ret, struct error *err)
{
	struct container_mount m = CONTAINER_MOUNT_NONE;
	_cleanup_(staging_release) struct staging s = STAGING_NONE;
	int rc = 0;
	if (f->kind == OVERLAY_KERNEL && !write && image_rootfs_overlay(r, err) == OVERLAY_COPY) {
		rc = plain_root(c, r, &s, &m.log, err);
		m.fd = take_fd(&s.tree);
	} else if (!write && there(c, "made")) {
		rc = mount_copy(c, r, f, &m, err);
	} else {
		rc = mount_files(c, r, f, write, &m, err);
	}
	if (rc < 0)
		container_mount_release(&m);
	else
		*ret = m;
	return rc < 0 ? -1 : 0;
}

int container_image_mount(const struct image_rootfs *r, const struct container_files *f,
        struct container_mount *ret, struct error *err)
{
	struct container_mount m = CONTAINER_MOUNT_NONE;
	int rc = 0;
	if (f->kind == OVERLAY_FUSE)
		rc = mount_fuse(r, r->lowers, r->n_lowers, -1, &m, err);
	else if (f->kind == OVERLAY_COPY)
		m.fd = sys_bind_clone(f->fd, "", false);
	else
		m.fd = mount_kernel(r, r->lowers, r->n_lowers, -1, err);
	if (rc >= 0 && m.fd < 0)
		rc = error_is_set(err) ? -1 : err_sys(err, m.fd, "cannot mount the image");
	if (rc < 0)
		container_mount_release(&m);
	else
		*ret = m;
	return rc;
}
