/* container/volume.c - volumes: directories that outlive what is mounted over them.
 *
 *     volumes/<name>/data           a named one; lock
 *     containers/<id>/volumes/N/data  one without a name; goes with its container
 *
 * A new volume takes what the image has at the place where it is mounted first, owner and mode of
 * the directory included. It is filled beside and renamed, so that a killed process leaves no half
 * one. */
#include "container/internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "sys/lock.h"
#include "sys/owner.h"
#include "sys/path.h"

static int take_attributes(int from, int to, bool recorded)
{
	struct stat st;
	if (fstat(from, &st) < 0)
		return -errno;
	if (fchown(to, st.st_uid, st.st_gid) < 0 || fchmod(to, st.st_mode & 07777) < 0)
		return -errno;
	return recorded ? sys_owner_copy(from, to) : 0;
}

/* fill - data.new from the image's directory at target. */
static int fill(const struct image_rootfs *r, const struct container_files *f, const char *target,
        int dir, int fresh, struct error *err)
{
	_cleanup_(container_mount_release) struct container_mount image = CONTAINER_MOUNT_NONE;
	if (!r->n_lowers)
		return 0;
	if (container_image_mount(r, f, &image, err) < 0)
		return -1;
	_cleanup_close_ int src = sys_open_in_root(image.fd, target, O_RDONLY | O_DIRECTORY, 0);
	if (src < 0) /* the image has nothing there, or no directory */
		return 0;
	struct copy_options o = {
	        .keep_owner = true, .keep_special = true, .recorded = r->single_id};
	if (copy_tree(src, ".", dir, "data.new", true, &o, err) < 0)
		return -1;
	int e = take_attributes(src, fresh, r->single_id);
	return e < 0 ? err_sys(err, e, "cannot set the owner of the volume on %s", target) : 0;
}

static int make(const struct image_rootfs *r, const struct container_files *f, const char *target,
        int dir, struct error *err)
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
	if (fill(r, f, target, dir, fresh, err) < 0)
		return -1;
	if (renameat(dir, "data.new", dir, "data") < 0)
		return err_sys(err, errno, "cannot make the volume on %s", target);
	return 0;
}

int container_volume_open(struct store *s, const struct container *c, const struct image_rootfs *r,
        const struct container_files *f, const json_t *m, struct error *err)
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
		if (make(r, f, target, dir, err) < 0)
			return -1;
		fd = sys_open_beneath(dir, "data", O_RDONLY | O_DIRECTORY, 0);
	}
	return fd < 0 ? err_sys(err, fd, "cannot open the volume on %s", target) : fd;
}

/* --- by name --------------------------------------------------------------------------------- */

void container_volumes_free(struct container_volume *v, size_t n)
{
	for (size_t i = 0; v && i < n; i++) {
		free(v[i].name);
		free(v[i].path);
	}
	free(v);
}

static bool names(const struct container *c, const char *volume)
{
	size_t i;
	json_t *m;
	json_array_foreach(json_get_array(c->config, "Mounts"), i, m)
	{
		if (str_eq(str_or_empty(json_get_str(m, "Type")), "volume") &&
		        str_eq(str_or_empty(json_get_str(m, "Name")), volume))
			return true;
	}
	return false;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct container_volume *)a)->name,
	        ((const struct container_volume *)b)->name);
}

static int list(struct store *s, struct container *const *c, size_t n_c,
        struct container_volume **ret, size_t *ret_n, struct error *err)
{
	struct container_volume *v = NULL;
	size_t n = 0, cap = 0;
	int fd = sys_open_dir(store_dirfd(s), "volumes");
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d && fd != -ENOENT) {
		int e = fd < 0 ? fd : errno;
		close_ptr(&fd);
		return err_sys(err, e, "cannot read %s/volumes", store_path(s));
	}
	for (struct dirent *e; d && (e = readdir(d));) {
		struct stat st;
		if (!container_volume_name_valid(e->d_name) ||
		        fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		vec_grow(&v, &cap, n + 1);
		v[n] = (struct container_volume){.name = xstrdup(e->d_name),
		        .path = xasprintf("%s/volumes/%s/data", store_path(s), e->d_name),
		        .created = st.st_ctim.tv_sec};
		for (size_t i = 0; i < n_c && !v[n].in_use; i++)
			v[n].in_use = names(c[i], e->d_name);
		n++;
	}
	if (d)
		closedir(d);
	if (n)
		qsort(v, n, sizeof(*v), by_name);
	*ret = v;
	*ret_n = n;
	return 0;
}

int container_volumes(
        struct store *s, struct container_volume **ret, size_t *ret_n, struct error *err)
{
	struct container **c;
	size_t n;
	if (container_list(s, &c, &n, err) < 0)
		return -1;
	int rc = list(s, c, n, ret, ret_n, err);
	containers_free(c, n);
	return rc;
}

int container_volume_create(struct store *s, const char *name, struct error *err)
{
	if (!container_volume_name_valid(name)) {
		(void)err_set(err, ERR_USAGE, "%s is not a volume's name", name);
		return err_hint(err, "letters, digits, _ . - are allowed, "
		                     "a letter or digit first");
	}
	_cleanup_free_ char *path = xasprintf("volumes/%s", name);
	int e = sys_mkdir_p(store_dirfd(s), path, 0700);
	return e < 0 ? err_sys(err, e, "cannot make the volume %s", name) : 0;
}

int container_volume_remove(struct store *s, const char *name, struct error *err)
{
	/* No container can come to name it meanwhile. */
	_cleanup_close_ int lock = sys_lock_file(store_dirfd(s), "containers.lock", true, true);
	if (lock < 0)
		return err_sys(err, lock, "cannot lock the containers of %s", store_path(s));
	struct container_volume *v;
	size_t n;
	if (container_volumes(s, &v, &n, err) < 0)
		return -1;
	int rc = err_set(err, ERR_NOT_FOUND, "no such volume: %s", name);
	for (size_t i = 0; i < n; i++) {
		if (!str_eq(v[i].name, name))
			continue;
		error_release(err);
		rc = 0;
		if (v[i].in_use) {
			(void)err_set(err, ERR_USAGE, "volume %s is used by a container", name);
			rc = err_hint(err, "strake ps -a shows them; remove that one first");
		}
	}
	container_volumes_free(v, n);
	struct store_lease *l;
	if (rc < 0 || store_lease_new(s, &l, err) < 0)
		return -1;
	_cleanup_free_ char *from = xasprintf("volumes/%s", name);
	int dir = store_lease_dirfd(l);
	int e = dir < 0 ? dir : 0;
	if (e == 0 && renameat(store_dirfd(s), from, dir, "volume") < 0)
		e = -errno;
	if (e == 0)
		e = sys_remove_tree(dir, "volume");
	store_lease_free(l);
	return e < 0 ? err_sys(err, e, "cannot remove the volume %s", name) : 0;
}
