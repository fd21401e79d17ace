/* store/mounts.c - what running steps hold: step locks, cache mounts.
 *
 * Step locks are byte ranges of one file (OFD locks, a byte a key), so no lock file piles up. A
 * cache mount is mounts/<sha256 of id>/ with `id` (its name as text), and data directories 0, 1, …
 * each with a lock file beside it; only "private" ever makes another than 0. The lock's inode is
 * compared after it is taken: the collector removes the whole directory under that lock. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>

#include "store/internal.h"
#include "sys/lock.h"
#include "sys/path.h"

#define PRIVATE_MAX 1000

int store_step_lock(struct store *s, const struct digest *key, bool wait)
{
	_cleanup_close_ int fd =
	        openat(s->dirfd, "locks", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	uint64_t at;
	memcpy(&at, key->b, sizeof(at));
	struct flock fl = {.l_type = F_WRLCK,
	        .l_whence = SEEK_SET,
	        .l_len = 1,
	        .l_start = (off_t)(at & INT64_MAX)};
	/* The last byte that a lock may cover. */
	if (fl.l_start == INT64_MAX)
		fl.l_start--;
	int r;
	do {
		r = fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &fl);
	} while (r < 0 && errno == EINTR && wait);
	if (r < 0)
		return errno == EAGAIN || errno == EACCES ? -EWOULDBLOCK : -errno;
	return take_fd(&fd);
}

/* --- cache mounts --------------------------------------------------------------------------- */

/* still_linked - the lock we hold is the one that the next user will take. */
static bool still_linked(int dir, const char *name, int lock)
{
	struct stat a, b;
	return fstat(lock, &a) == 0 && fstatat(dir, name, &b, AT_SYMLINK_NOFOLLOW) == 0 &&
	       a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

/* open_dir - mounts/<hex> with its id file. Not under the store lock: waiting for a cache mount
 * must not stop the collector. */
static int open_dir(struct store *s, const char *path, const char *id)
{
	if (mkdirat(s->dirfd, path, 0700) < 0 && errno != EEXIST)
		return -errno;
	_cleanup_close_ int dir = sys_open_dir(s->dirfd, path);
	if (dir < 0)
		return dir;
	if (faccessat(dir, "id", F_OK, AT_SYMLINK_NOFOLLOW) < 0) {
		int fd = openat(dir, "id", O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		int r = fd < 0 ? -errno : sys_write_all(fd, id, strlen(id));
		close_ptr(&fd);
		if (r < 0)
			return r;
	}
	return take_fd(&dir);
}

enum sharing { SHARED, LOCKED, PRIVATE };

static int parse_sharing(const char *text, enum sharing *ret)
{
	static const char *const names[] = {"shared", "locked", "private"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (!str_eq(text, names[i]))
			continue;
		*ret = (enum sharing)i;
		return 0;
	}
	return -EINVAL;
}

/* take - the n-th data directory. -EWOULDBLOCK: in use; -ESTALE: removed under us. */
static int take(
        int dir, unsigned n, enum sharing sharing, int *ret_fd, int *ret_lock, bool *ret_new)
{
	char name[16], lock_name[24];
	snprintf(name, sizeof(name), "%u", n);
	snprintf(lock_name, sizeof(lock_name), "%u.lock", n);
	_cleanup_close_ int lock =
	        sys_lock_file(dir, lock_name, sharing != SHARED, sharing != PRIVATE);
	if (lock < 0)
		return lock == -ENOENT ? -ESTALE : lock;
	if (!still_linked(dir, lock_name, lock))
		return -ESTALE;
	bool made = mkdirat(dir, name, 0755) == 0;
	if (!made && errno != EEXIST)
		return errno == ENOENT ? -ESTALE : -errno;
	if (made && fchmodat(dir, name, 0755, 0) < 0) /* whatever the umask is */
		return -errno;
	int fd = sys_open_dir(dir, name);
	if (fd < 0)
		return fd;
	*ret_fd = fd;
	*ret_lock = take_fd(&lock);
	*ret_new = made;
	return 0;
}

static int try_mount(struct store *s, const char *path, const char *id, enum sharing sharing,
        int *ret_fd, int *ret_lock, bool *ret_new)
{
	_cleanup_close_ int dir = open_dir(s, path, id);
	if (dir < 0)
		return dir == -ENOENT ? -ESTALE : dir;
	int r = -EWOULDBLOCK;
	for (unsigned n = 0; n < PRIVATE_MAX && r == -EWOULDBLOCK; n++)
		r = take(dir, n, sharing, ret_fd, ret_lock, ret_new);
	if (r < 0)
		return r;
	/* The collector renames the whole directory away; the lock file goes with it. */
	if (still_linked(s->dirfd, path, dir))
		return 0;
	close_ptr(ret_fd);
	close_ptr(ret_lock);
	return -ESTALE;
}

int store_cache_mount(struct store *s, const char *id, const char *sharing, int *ret_fd,
        int *ret_lock, bool *ret_new, struct error *err)
{
	enum sharing how;
	if (parse_sharing(sharing, &how) < 0)
		return err_set(
		        err, ERR_USAGE, "sharing=%s: it is shared, locked or private", sharing);
	struct digest d;
	char hex[DIGEST_HEX_MAX], path[STORE_PATH_MAX];
	sha256_buf(id, strlen(id), &d);
	snprintf(path, sizeof(path), "mounts/%s", digest_hex(&d, hex));
	int fd = -1, lock = -1, r = -ESTALE;
	bool made = false;
	for (int i = 0; i < 100 && r == -ESTALE; i++)
		r = try_mount(s, path, id, how, &fd, &lock, &made);
	if (r < 0)
		return err_sys(
		        err, r, "cannot open the cache mount %s in %s/%s", id, s->path, path);
	/* Its age, for the collector. */
	(void)!utimensat(s->dirfd, path, NULL, 0);
	*ret_fd = fd;
	*ret_lock = lock;
	*ret_new = made;
	return 0;
}
