/* sys/lock.c - flock(2); see lock.h. */
#include "sys/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

int sys_lock_fd(int fd, bool exclusive, bool wait)
{
	int op = (exclusive ? LOCK_EX : LOCK_SH) | (wait ? 0 : LOCK_NB);
	return flock(fd, op) < 0 ? -errno : 0;
}

int sys_lock_file(int dirfd, const char *name, bool exclusive, bool wait)
{
	for (;;) {
		_cleanup_close_ int fd = openat(
		        dirfd, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, 0600);
		if (fd < 0)
			return -errno;
		int r = sys_lock_fd(fd, exclusive, wait);
		if (r < 0)
			return r;
		/* The former holder may have removed the file while we waited: a lock on an
		 * unlinked inode excludes nobody. */
		struct stat st;
		if (fstat(fd, &st) < 0)
			return -errno;
		if (st.st_nlink > 0)
			return take_fd(&fd);
	}
}
