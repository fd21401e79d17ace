/* sys/path.h - all access to untrusted trees (rootfs, context, store) goes through here:
 * (dirfd, relative path), openat2(2), never a joined path string.
 *
 * IN_ROOT calls resolve symlinks as if dirfd were "/" (RESOLVE_IN_ROOT|NO_MAGICLINKS); BENEATH
 * calls refuse symlinks altogether (RESOLVE_BENEATH|NO_SYMLINKS|NO_MAGICLINKS). A leading '/' in
 * an IN_ROOT path means dirfd itself. EAGAIN of openat2 (a racing rename) is retried a bounded
 * number of times. All return >= 0 or -errno; all descriptors are O_CLOEXEC.
 * Of a path longer than PATH_MAX the front part is walked in pieces, without links. */
#ifndef STRAKE_SYS_PATH_H
#define STRAKE_SYS_PATH_H

#include <sys/stat.h>
#include "base/base.h"

int sys_open_in_root(int dirfd, const char *path, int flags, mode_t mode) must_check;
int sys_open_beneath(int dirfd, const char *path, int flags, mode_t mode) must_check;
/* sys_open_dir - an ordinary trusted path ("--build-context", store root): O_DIRECTORY|O_RDONLY. */
int sys_open_dir(int dirfd, const char *path) must_check;
/* sys_open_parent - O_PATH descriptor of the directory that holds path (beneath, no links), and
 * the last component (points into path; no slash). -EINVAL for "", ".", ".." or a trailing '/'. */
int sys_open_parent(int dirfd, const char *path, const char **ret_name) must_check;
int sys_stat_beneath(int dirfd, const char *path, struct stat *ret) must_check; /* lstat */
/* sys_mkdir_p - each missing component with mode; existing ones are left alone; no links. */
int sys_mkdir_p(int dirfd, const char *path, mode_t mode) must_check;
/* sys_remove_tree - name (a single component of dirfd) and all below; never follows a link, never
 * crosses into a mount; directories without permission are chmod'ed first; depth is not limited
 * by the stack. -ENOENT is success. */
int sys_remove_tree(int dirfd, const char *name) must_check;
int sys_remove_tree_at_fd(int fd) must_check; /* everything below fd, not fd itself */
int sys_readlink(int dirfd, const char *path, char **ret) must_check; /* beneath */

/* sys_read_file - whole regular file, at most max bytes (-EFBIG beyond; -EINVAL if not a regular
 * file: no FIFO or device is ever opened for reading). NUL-terminated for convenience. */
int sys_read_file(int dirfd, const char *path, size_t max, char **ret, size_t *ret_n) must_check;
/* sys_read_file_in_root - the same through IN_ROOT. */
int sys_read_file_in_root(
        int dirfd, const char *path, size_t max, char **ret, size_t *ret_n) must_check;
int sys_read_fd(int fd, size_t max, char **ret, size_t *ret_n) must_check;
int sys_write_all(int fd, const void *p, size_t n) must_check;
/* sys_write_file_atomic - temp file in the same directory, fsync, rename, fsync directory. */
int sys_write_file_atomic(
        int dirfd, const char *name, const void *p, size_t n, mode_t mode) must_check;
int sys_fsync_dir(int dirfd) must_check;

#endif
