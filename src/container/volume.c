/* container/volume.c - volumes: directories that outlive what is mounted over them.
 *
 *     volumes/<name>/data           a named one; lock
 *     containers/<id>/volumes/N/data  one without a name; goes with its container
 *
 * A new volume takes what the image has at the place where it is mounted first, owner and mode of
 * the directory included. It is filled beside and renamed, so that a killed process leaves no half
 * one. */
#include "container/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "sys/lock.h"
#include "sys/mount.h"
#include "sys/path.h"

static int take_attributes(int from, int to)
{
	struct stat st;
	if (fstat(from, &st) < 0)
		return -errno;
	if (fchown(to, st.st_uid, st.st_gid) < 0 || fchmod(to, st.st_mode & 07777) < 0)
		return -errno;
	return 0;
}

/* fill - data.new from the image's directory at target. */
static int fill(
        const struct image_rootfs *r, const char *target, int dir, int fresh, struct error *err)
{
	if (!r->n_lowers)
		return 0;
	_cleanup_close_ int image = sys_overlay_mount(r->lowers, r->n_lowers, -1, -1, true);
	if (image < 0)
		return err_sys(err, image, "cannot mount the image");
	_cleanup_close_ int src = sys_open_in_root(image, target, O_RDONLY | O_DIRECTORY, 0);
	if (src < 0) /* the image has nothing there, or no directory */
		return 0;
	struct copy_options o = {.keep_owner = true, .keep_special = true};
	if (copy_tree(src, ".", dir, "data.new", true, &o, err) < 0)
		return -1;
	int e = take_attributes(src, fresh);
	return e < 0 ? err_sys(err, e, "cannot set the owner of the volume on %s", target) : 0;
}

static int make(const struct image_rootfs *r, const char *target, int dir, struct error *err)
{
	int e = sys_remove_tree(dir, "data.new");
	if (e >= 0 && mkdirat(dir, "data.new", 0755) < 0)
		e = -errno;
	_cleanup_close_ int fresh =
	        e < 0 ? e : sys_open_beneath(dir, "data.new", O_RDONLY | O_DIRECTORY, 0);
	if (fresh < 0)
		return err_sys(err, fresh, "cannot make the volume on %s", target);
	if (fchmod(fresh, 0755) < 0)
		return err_sys(err, errno, "cannot make the volume on %s", target);
	if (fill(r, target, dir, fresh, err) < 0)
		return -1;
	if (renameat(dir, "data.new", dir, "data") < 0)
		return err_sys(err, errno, "cannot make the volume on %s", target);
	return 0;
}

int container_volume_open(struct store *s, const struct container *c, const struct image_rootfs *r,
        const json_t *m, struct error *err)
{
	const char *target = str_or_empty(json_get_str(m, "Destination"));
	const char *name = str_or_empty(json_get_str(m, "Name"));
	int64_t anonymous = json_get_int(m, "Anonymous", 0);
	char path[320];
	if (anonymous)
		snprintf(path, sizeof(path), "containers/%s/volumes/%lld", c->id,
		        (long long)anonymous);
	else
		snprintf(path, sizeof(path), "volumes/%s", name);
	int e = sys_mkdir_p(store_dirfd(s), path, 0700);
	_cleanup_close_ int dir =
	        e < 0 ? e : sys_open_beneath(store_dirfd(s), path, O_RDONLY | O_DIRECTORY, 0);
	if (dir < 0)
		return err_sys(err, dir, "cannot make the volume on %s", target);
	_cleanup_close_ int lock = sys_lock_file(dir, "lock", true, true);
	if (lock < 0)
		return err_sys(err, lock, "cannot lock the volume on %s", target);
	int fd = sys_open_beneath(dir, "data", O_RDONLY | O_DIRECTORY, 0);
	if (fd == -ENOENT) {
		if (make(r, target, dir, err) < 0)
			return -1;
		fd = sys_open_beneath(dir, "data", O_RDONLY | O_DIRECTORY, 0);
	}
	return fd < 0 ? err_sys(err, fd, "cannot open the volume on %s", target) : fd;
}
