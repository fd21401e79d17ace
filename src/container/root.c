/* container/root.c - the file system of a container, to look into it and copy.
 *
 * One that does not run is mounted in our own mount namespace, as it would be for its command:
 * image, upper layer, volumes. Of one that runs the supervisor hands out a descriptor of the root
 * as the command sees it, because overlayfs does not bear a second mount of one upper directory. */
#include "container/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>

#include "layer/layer.h"
#include "sys/mount.h"
#include "sys/path.h"
#include "sys/privilege.h"

int container_upper_open(const struct container *c, const struct image_rootfs *r, struct error *err)
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

static int mount_overlay(
        const struct container *c, const struct image_rootfs *r, bool write, struct error *err)
{
	_cleanup_close_ int upper = container_upper_open(c, r, err);
	if (upper < 0)
		return -1;
	_cleanup_free_ int *lowers = new0(int, r->n_lowers + 1);
	_cleanup_free_ char *name = NULL;
	_cleanup_close_ int work = -1;
	size_t n = r->n_lowers;
	if (n)
		memcpy(lowers, r->lowers, n * sizeof(int));
	int fd;
	if (write && n) {
		if (store_staging_dir(r->lease, &name, &work, err) < 0)
			return -1;
		fd = sys_overlay_mount(lowers, n, upper, work, false);
	} else if (n) {
		lowers[n++] = upper;
		fd = sys_overlay_mount(lowers, n, -1, -1, true);
	} else {
		/* scratch: what the container has is all there is. */
		fd = sys_bind_clone(upper, "", false);
	}
	return fd < 0 ? err_sys(err, fd, "cannot mount the root of container %s", c->name) : fd;
}

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

/* attach_volumes - the root must stand in our mount tree for that; `mnt` in the container's folder
 * is a place for it that nobody else sees. */
static int attach_volumes(struct store *s, const struct container *c, const struct image_rootfs *r,
        int root, bool write, struct error *err)
{
	size_t i;
	json_t *m, *all = json_get_array(c->config, "Mounts");
	bool attached = false;
	json_array_foreach(all, i, m)
	{
		const char *type = str_or_empty(json_get_str(m, "Type"));
		_cleanup_close_ int fd = -1;
		if (str_eq(type, "volume")) {
			fd = container_volume_open(s, c, r, m, err);
			if (fd < 0)
				return -1;
		} else if (str_eq(type, "bind")) {
			/* trusted-path: -v of the command line that made the container */
			fd = open(json_get_str(m, "Source"), O_PATH | O_DIRECTORY | O_CLOEXEC);
		}
		if (fd < 0)
			continue;
		if (!attached) {
			if (mkdirat(c->dirfd, "mnt", 0700) < 0 && errno != EEXIST)
				return err_sys(err, errno, "cannot make a mount point");
			_cleanup_close_ int at =
			        sys_open_beneath(c->dirfd, "mnt", O_PATH | O_DIRECTORY, 0);
			int e = at < 0 ? at : sys_mount_attach(root, at);
			if (e < 0)
				return err_sys(
				        err, e, "cannot mount the root of container %s", c->name);
			attached = true;
		}
		attach_volume(root, fd, m, write);
	}
	return 0;
}

static int open_own(struct store *s, struct container *c, bool write, struct container_root *ret,
        struct error *err)
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
	ret->fd = mount_overlay(c, ret->rootfs, write, err);
	return ret->fd < 0 ? -1 : 0;
}

static int open_stopped(struct store *s, struct container *c, bool write,
        struct container_root *ret, struct error *err)
{
	if (open_own(s, c, write, ret, err) < 0)
		return -1;
	return attach_volumes(s, c, ret->rootfs, ret->fd, write, err);
}

int container_root_snapshot(
        struct store *s, struct container *c, struct container_root *ret, struct error *err)
{
	struct container_root r = {.fd = -1, .lock = -1};
	if (open_own(s, c, false, &r, err) < 0) {
		container_root_release(&r);
		return -1;
	}
	*ret = r;
	return 0;
}

/* enter - the rights to write files of all the container's ids; open_stopped gets them with the
 * image. */
static int enter(struct store *s, struct error *err)
{
	struct sys_privilege_info info = {0};
	if (sys_privilege_entered())
		return 0;
	int rc = sys_privilege_probe(&info, err);
	if (rc >= 0)
		rc = sys_privilege_enter(&info, err);
	if (rc >= 0)
		rc = store_reattach(s, err);
	sys_privilege_info_release(&info);
	return rc;
}

int container_root_open(struct store *s, struct container *c, bool write,
        struct container_root *ret, struct error *err)
{
	struct container_root r = {.fd = -1, .lock = -1};
	r.lock = container_lock_open(c->dirfd, err);
	int got = r.lock < 0 ? -1 : container_lock_take(r.lock, CONTAINER_LOCK_USE, false);
	while (got == 0) {
		if (container_lock_held(r.lock, CONTAINER_LOCK_RUN) &&
		        control_ask(c->dirfd, CONTROL_ROOT, 0, NULL, 0, &r.fd) >= 0) {
			if (enter(s, err) < 0) {
				container_root_release(&r);
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
		container_root_release(&r);
	else
		*ret = r;
	return rc < 0 ? -1 : 0;
}

void container_root_release(struct container_root *r)
{
	close_ptr(&r->fd);
	image_rootfs_free(r->rootfs);
	close_ptr(&r->lock);
	r->rootfs = NULL;
}
