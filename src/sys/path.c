/* sys/path.c - openat2(2) with its retries, and the few tree operations built on it; see path.h.
 *
 * Invariant: a name that came from an untrusted tree reaches the kernel either as a single
 * component with NOFOLLOW, or through openat2 with a RESOLVE_* scope. */
#include "sys/path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/syscall.h>

/* A rename anywhere on the system can make a scoped look-up fail with EAGAIN; a hostile step can
 * keep renaming, so the number of tries has an end. */
#define EAGAIN_TRIES 128

static int openat2_scoped(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve)
{
	struct open_how how = {.flags = (uint64_t)(unsigned)flags | O_CLOEXEC, .resolve = resolve};
	if (flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)))
		how.mode = mode & 07777;
	for (int i = 0; i < EAGAIN_TRIES; i++) {
		long fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
		if (fd >= 0)
			return (int)fd;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
	}
	return -EAGAIN;
}

/* split_long - how many bytes of a path (at least PATH_MAX long) to open first: whole components,
 * below PATH_MAX. 0: a component alone is too long. */
static size_t split_long(const char *path)
{
	size_t n = PATH_MAX - 1;
	while (n && path[n] != '/')
		n--;
	return n;
}

/* open_long - the front of the path is opened piece by piece, without links; the kernel takes at
 * most PATH_MAX bytes a call. */
static int open_long(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve)
{
	uint64_t strict = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
	_cleanup_close_ int cur = -1;
	char piece[PATH_MAX];
	while (strlen(path) >= PATH_MAX) {
		size_t n = split_long(path);
		if (!n)
			return -ENAMETOOLONG;
		memcpy(piece, path, n);
		piece[n] = '\0';
		int fd = openat2_scoped(
		        cur < 0 ? dirfd : cur, piece, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0, strict);
		if (fd < 0)
			return fd;
		close_ptr(&cur);
		cur = fd;
		path += n;
		while (*path == '/')
			path++;
	}
	return openat2_scoped(cur < 0 ? dirfd : cur, *path ? path : ".", flags, mode,
	        resolve & RESOLVE_IN_ROOT && cur >= 0 ? strict : resolve);
}

int sys_open_in_root(int dirfd, const char *path, int flags, mode_t mode)
{
	uint64_t resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
	if (strlen(path) < PATH_MAX)
		return openat2_scoped(dirfd, *path ? path : ".", flags, mode, resolve);
	while (*path == '/')
		path++;
	return open_long(dirfd, path, flags, mode, resolve);
}

int sys_open_beneath(int dirfd, const char *path, int flags, mode_t mode)
{
	uint64_t resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
	if (strlen(path) < PATH_MAX)
		return openat2_scoped(dirfd, *path ? path : ".", flags, mode, resolve);
	return open_long(dirfd, path, flags, mode, resolve);
}

int sys_open_dir(int dirfd, const char *path)
{
	int fd = openat(dirfd, path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int sys_open_parent(int dirfd, const char *path, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	if (!*name || str_eq(name, ".") || str_eq(name, ".."))
		return -EINVAL;
	int fd;
	if (!slash) {
		fd = openat2_scoped(dirfd, ".", O_PATH | O_DIRECTORY, 0, 0);
	} else if (slash == path) {
		return -EXDEV; /* absolute: not beneath */
	} else {
		_cleanup_free_ char *dir = xstrndup(path, (size_t)(slash - path));
		fd = sys_open_beneath(dirfd, dir, O_PATH | O_DIRECTORY, 0);
	}
	if (fd >= 0)
		*ret_name = name;
	return fd;
}

int sys_stat_beneath(int dirfd, const char *path, struct stat *ret)
{
	if (!strchr(path, '/') && !str_eq(path, "..")) {
		int r = fstatat(
		        dirfd, path, ret, AT_SYMLINK_NOFOLLOW | (*path ? 0 : AT_EMPTY_PATH));
		return r < 0 ? -errno : 0;
	}
	_cleanup_close_ int fd = sys_open_beneath(dirfd, path, O_PATH | O_NOFOLLOW, 0);
	if (fd < 0)
		return fd;
	return fstat(fd, ret) < 0 ? -errno : 0;
}

/* mkdir_one - ret: an O_PATH descriptor of the directory dirfd/name, made if it is missing. */
static int mkdir_one(int dirfd, const char *name, mode_t mode)
{
	bool made = mkdirat(dirfd, name, mode) == 0;
	if (!made && errno != EEXIST)
		return -errno;
	int fd = openat(
	        dirfd, name, (made ? O_RDONLY : O_PATH) | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ELOOP ? -ENOTDIR : -errno;
	/* The umask is the user's; directory modes of an image are not. */
	if (made && fchmod(fd, mode & 07777) < 0) {
		int r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

int sys_mkdir_p(int dirfd, const char *path, mode_t mode)
{
	_cleanup_close_ int cur = -1;
	if (*path == '/')
		return -EXDEV;
	while (*path) {
		char name[NAME_MAX + 1];
		size_t n = strcspn(path, "/");
		if (n > NAME_MAX)
			return -ENAMETOOLONG;
		memcpy(name, path, n);
		name[n] = '\0';
		path += n + (path[n] == '/');
		if (!n || str_eq(name, "."))
			continue;
		if (str_eq(name, ".."))
			return -EINVAL;
		int fd = mkdir_one(cur < 0 ? dirfd : cur, name, mode);
		if (fd < 0)
			return fd;
		close_ptr(&cur);
		cur = fd;
	}
	return 0;
}

int sys_readlink(int dirfd, const char *path, char **ret)
{
	_cleanup_close_ int fd = sys_open_beneath(dirfd, path, O_PATH | O_NOFOLLOW, 0);
	if (fd < 0)
		return fd;
	char buf[PATH_MAX + 1];
	ssize_t n = readlinkat(fd, "", buf, sizeof(buf));
	if (n < 0)
		return errno == ENOENT ? -EINVAL : -errno; /* ENOENT here: not a symlink */
	if ((size_t)n >= sizeof(buf))
		return -ENAMETOOLONG;
	*ret = xstrndup(buf, (size_t)n);
	return 0;
}

int sys_read_fd(int fd, size_t max, char **ret, size_t *ret_n)
{
	struct stat st;
	size_t cap = 4096, n = 0;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
		if ((uint64_t)st.st_size > max)
			return -EFBIG;
		cap = (size_t)st.st_size + 1;
	}
	_cleanup_free_ char *buf = xmalloc(cap + 1);
	for (;;) {
		if (n == cap) {
			cap *= 2;
			buf = xrealloc_array(buf, cap + 1, 1);
		}
		ssize_t r = read(fd, buf + n, cap - n);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			break;
		n += (size_t)r;
		if (n > max)
			return -EFBIG;
	}
	buf[n] = '\0';
	*ret = take_ptr(buf);
	if (ret_n)
		*ret_n = n;
	return 0;
}

/* read_regular - pfd is an O_PATH descriptor: the type is known before anything is opened, as the
 * open of a FIFO blocks and that of a device may act. */
static int read_regular(int pfd, size_t max, char **ret, size_t *ret_n)
{
	struct stat st;
	if (fstat(pfd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return S_ISLNK(st.st_mode) ? -ELOOP : -EINVAL;
	char link[32];
	snprintf(link, sizeof(link), "/proc/self/fd/%d", pfd);
	_cleanup_close_ int fd = open(link, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return -errno;
	return sys_read_fd(fd, max, ret, ret_n);
}

int sys_read_file(int dirfd, const char *path, size_t max, char **ret, size_t *ret_n)
{
	_cleanup_close_ int fd = sys_open_beneath(dirfd, path, O_PATH | O_NOFOLLOW, 0);
	return fd < 0 ? fd : read_regular(fd, max, ret, ret_n);
}

int sys_read_file_in_root(int dirfd, const char *path, size_t max, char **ret, size_t *ret_n)
{
	_cleanup_close_ int fd = sys_open_in_root(dirfd, path, O_PATH, 0);
	return fd < 0 ? fd : read_regular(fd, max, ret, ret_n);
}

int sys_write_all(int fd, const void *p, size_t n)
{
	const char *s = p;
	while (n) {
		ssize_t r = write(fd, s, n);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		s += r;
		n -= (size_t)r;
	}
	return 0;
}

int sys_fsync_dir(int dirfd)
{
	if (fsync(dirfd) == 0)
		return 0;
	if (errno != EBADF)
		return -errno;
	/* O_PATH descriptors cannot be synced; open the directory itself. */
	_cleanup_close_ int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return fsync(fd) < 0 ? -errno : 0;
}

int sys_write_file_atomic(int dirfd, const char *name, const void *p, size_t n, mode_t mode)
{
	uint64_t r64;
	if (getrandom(&r64, sizeof(r64), 0) != sizeof(r64))
		return -EIO;
	char tmp[64];
	snprintf(tmp, sizeof(tmp), ".tmp-%016llx", (unsigned long long)r64);
	_cleanup_close_ int fd =
	        openat(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	int r = sys_write_all(fd, p, n);
	if (r >= 0 && (fchmod(fd, mode & 07777) < 0 || fsync(fd) < 0))
		r = -errno;
	if (r >= 0 && renameat(dirfd, tmp, dirfd, name) < 0)
		r = -errno;
	if (r < 0) {
		unlinkat(dirfd, tmp, 0);
		return r;
	}
	return sys_fsync_dir(dirfd);
}
