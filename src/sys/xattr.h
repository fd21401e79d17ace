/* sys/xattr.h - extended attributes by descriptor or by (dirfd, name) without following links. */
#ifndef STRAKE_SYS_XATTR_H
#define STRAKE_SYS_XATTR_H

/* -I src makes <sys/xattr.h> mean this file: let it bring the system's along. */
#include_next <sys/xattr.h>
#include "base/base.h"

struct sys_xattr {
	char *name;
	void *value;
	size_t len;
};
struct sys_xattrs {
	struct sys_xattr *v;
	size_t n;
};
void sys_xattrs_release(struct sys_xattrs *x);
/* sys_xattrs_read - all attributes of dirfd/name (single component or "" with AT_EMPTY_PATH),
 * sorted by name; symlinks are not followed. A file system without xattrs gives none. A
 * security.capability v3 that was set inside a user namespace is returned as v2 (rootid dropped),
 * the form layers carry. */
int sys_xattrs_read(int dirfd, const char *name, struct sys_xattrs *ret) must_check;
int sys_xattr_set(
        int dirfd, const char *name, const char *attr, const void *p, size_t n) must_check;
/* sys_xattr_get - -ENODATA if absent. */
int sys_xattr_get(int dirfd, const char *name, const char *attr, void *buf, size_t n) must_check;

#endif
