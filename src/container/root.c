/* container/root.c - the file system of a container, to look into it and copy.
 *
 * One that does not run is mounted in our own mount namespace, as it would be for its command:
 * image, upper layer, volumes. Of one that runs the supervisor hands out a descriptor of the root
 * as the command sees it, because overlayfs does not bear a second mount of one upper directory. */
#include "container/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>

#include "sys/mount.h"
#include "sys/path.h"
#include "sys/privilege.h"

/* attach_volume - on its target, made where it is missing. A target that leads nowhere sensible is
 * left alone: `start` would say so. */
static void attach_volume(int root, int volume, const json_t *m, bool write)
{
	const char *target = json_get_str(m, "Destination");
	_cleanup_close_ int at = sys_open_in_root(root, target, O_PATH | O_DIRECTORY, 0);
	if (at == -ENOENT && write && sys_mkdir_p(root, target + 1, 0755) >= 0)
		at = sys_open_in_root(root, target, O_PATH | O_DIRECTORY, 0);
	_cleanup_close_ int mnt = at < 0 ? -1 : sys_bind_clone(volume, "", false);
	if (mnt >= 0 && !json_get_bool(m, "RW", true))
		(void)!sys_mount_attr(mnt, false, MOUNT_ATTR_RDONLY, 0);
	if (mnt >= 0)
		(void)!sys_mount_attach(mnt, at);
}

/* attach_root - `mnt` in the container's folder is a place for it that nobody else sees. */
static int attach_root(const struct container *c, struct container_mount *m, struct error *err)
{
	if (m->attached)
		return 0;
	if (mkdirat(c->dirfd, "mnt", 0700) < 0 && errno != EEXIST)
		return err_sys(err, errno, "cannot make a mount point");
	_cleanup_close_ int at = sys_open_beneath(c->dirfd, "mnt", O_PATH | O_DIRECTORY, 0);
	int e = at < 0 ? at : sys_mount_attach(m->fd, at);
	if (e < 0)
		return err_sys(err, e, "cannot mount the root of container %s", c->name);
	m->attached = true;
	return 0;
}

/* attach_volumes - the root must stand in our mount tree for that. */
static int attach_volumes(struct store *s, const struct container *c, struct container_root *root,
        bool write, struct error *err)
{
	size_t i;
	json_t *m, *all = json_get_array(c->config, "Mounts");
	json_array_foreach(all, i, m)
	{
		const char *type = str_or_empty(json_get_str(m, "Type"));
		_cleanup_close_ int fd = -1;
		if (str_eq(type, "volume")) {
			fd = container_volume_open(s, c, root->rootfs, &root->files, m, err);
			if (fd < 0)
				return -1;
		} else if (str_eq(type, "bind")) {
			/* trusted-path: -v of the command line that made the container */
			fd = open(json_get_str(m, "Source"), O_PATH | O_DIRECTORY | O_CLOEXEC);
		}
		if (fd < 0)
			continue;
		if (attach_root(c, &root->mount, err) < 0)
			return -1;
		attach_volume(root->fd, fd, m, write);
	}
	return 0;
}

static int open_own(struct store *s, struct container *c, bool write, bool locked,
        struct container_root *ret, struct error *err)
{
	struct digest image;
	if (!container_image(c, &image))
		return err_set(err, ERR_INTEGRITY, "container %s names no image", c->name);
	const char *name = json_get_str(container_process_config(c), "Image");
	if (image_rootfs_open(s, &image, str_or_empty(name), NULL, &ret->rootfs, err) < 0)
		return -1;
	/* The folder was opened in the mount namespace that we have left. */
	close_ptr(&c->dirfd);
	c->dirfd = store_container_open(s, c->id, err);
	if (c->dirfd < 0)
		return -1;
	const struct image_rootfs *r = ret->rootfs;
	ret->single_id = r->single_id;
	int rc = (locked ? container_files_begin : container_files_open)(c, r, &ret->files, err);
	if (rc >= 0 && r->single_id)
		rc = container_owners_load(c, r, &ret->files, &ret->owners, err);
	if (rc < 0 || container_files_mount(c, r, &ret->files, write, &ret->mount, err) < 0)
		return -1;
	int e = ret->mount.log < 0 ? 0 : owner_log_load(ret->mount.log, 0, &ret->owners);
	if (e < 0)
		return err_sys(err, e, "cannot read the owners of files in %s", c->name);
	ret->owner_log = write ? ret->files.owners : -1;
	ret->fd = ret->mount.fd;
	return 0;
}

static int open_stopped(struct store *s, struct container *c, bool write,
        struct container_root *ret, struct error *err)
{
	if (open_own(s, c, write, true, ret, err) < 0)
		return -1;
	return attach_volumes(s, c, ret, write, err);
}

int container_root_snapshot(
        struct store *s, struct container *c, struct container_root *ret, struct error *err)
{
	struct container_root r = CONTAINER_ROOT_NONE;
	if (open_own(s, c, false, false, &r, err) < 0) {
		container_root_release(c, &r);
		return -1;
	}
	*ret = r;
	return 0;
}

/* enter - the rights to write files of all the container's ids: those of its supervisor, whose
 * mounts of fuse-overlayfs nobody else may look into. */
static int enter(
        struct store *s, struct container *c, struct container_root *ret, struct error *err)
{
	struct sys_privilege_info info = {0};
	int rc = 0;
	if (!sys_privilege_entered()) {
		rc = sys_privilege_join(control_pid(c->dirfd));
		if (rc < 0) {
			rc = sys_privilege_probe(&info, err);
			if (rc >= 0)
				rc = sys_privilege_enter(&info, err);
			sys_privilege_info_release(&info);
		}
		if (rc >= 0)
			rc = store_reattach(s, err);
	}
	if (rc < 0)
		return -1;
	ret->single_id = !sys_privilege_can_chown();
	if (!ret->single_id)
		return 0;
	if (container_owners_load(c, NULL, &ret->files, &ret->owners, err) < 0)
		return -1;
	ret->files.owners = openat(
	        c->dirfd, "owners", O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (ret->files.owners < 0)
		return err_sys(err, errno, "cannot write the owners of files in %s", c->name);
	ret->owner_log = ret->files.owners;
	return 0;
}

int container_root_open(struct store *s, struct container *c, bool write,
        struct container_root *ret, struct error *err)
{
	struct container_root r = CONTAINER_ROOT_NONE;
	r.lock = container_lock_open(c->dirfd, err);
	int got = r.lock < 0 ? -1 : container_lock_take(r.lock, CONTAINER_LOCK_USE, false);
	while (got == 0) {
		if (container_lock_held(r.lock, CONTAINER_LOCK_RUN) &&
		        control_ask(c->dirfd, CONTROL_ROOT, 0, NULL, 0, &r.fd) >= 0) {
			if (enter(s, c, &r, err) < 0) {
				close_ptr(&r.fd);
				container_root_release(c, &r);
				return -1;
			}
			*ret = r;
			return 0;
		}
		/* It ends, or is about to run; or another cp is at work. */
		(void)poll(NULL, 0, 20);
		got = container_lock_take(r.lock, CONTAINER_LOCK_USE, false);
	}
	int rc = r.lock < 0 ? -1 : got < 0 ? err_sys(err, got, "cannot lock %s", c->name) : 0;
	if (rc >= 0)
		rc = open_stopped(s, c, write, &r, err);
	if (rc < 0)
		container_root_release(c, &r);
	else
		*ret = r;
	return rc < 0 ? -1 : 0;
}

void container_root_release(const struct container *c, struct container_root *r)
{
	_cleanup_error_ struct error ignored = ERROR_INIT;
	if (!r->rootfs)
		close_ptr(&r->fd); /* else it is the mount's */
	container_mount_release(&r->mount);
	/* What fails here is made good when it is begun the next time. */
	if (r->rootfs && r->lock >= 0 && r->files.fd >= 0)
		(void)!container_files_settle(c, r->rootfs, &r->files, &ignored);
	container_files_release(&r->files);
	owner_table_release(&r->owners);
	image_rootfs_free(r->rootfs);
	close_ptr(&r->lock);
	*r = (struct container_root)CONTAINER_ROOT_NONE;
}
