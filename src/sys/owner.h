/* sys/owner.h - the owner a file should have, where only one id exists to give it to.
 *
 * In single-id mode every file on disk belongs to the one mapped user. The owner it is meant to
 * have stands in an attribute of regular files and directories, which overlayfs carries along when
 * it copies a file up: "uid:gid" in decimal. No attribute means 0:0. Links, devices and pipes
 * cannot have it: theirs is kept in manifests and, during a step, in a table (sys/owner_table.h).
 * It is never taken from a layer, an archive or a context. */
#ifndef STRAKE_SYS_OWNER_H
#define STRAKE_SYS_OWNER_H

#include "base/base.h"

#define SYS_OWNER_XATTR "user.strake.owner"
#define SYS_OWNER_TEXT_MAX 24

struct sys_owner {
	uint32_t uid, gid;
};

/* sys_owner_parse - n bytes of an attribute; false if it is not one of ours. */
bool sys_owner_parse(const void *p, size_t n, struct sys_owner *ret);
size_t sys_owner_format(char buf[SYS_OWNER_TEXT_MAX], struct sys_owner o); /* length */

/* dirfd/name as in sys/xattr.h ("" means dirfd itself). get: 1 found, 0 none (or a kind of file
 * that has none), -errno. set: -EPERM for links, devices and pipes. */
int sys_owner_get(int dirfd, const char *name, struct sys_owner *ret) must_check;
int sys_owner_set(int dirfd, const char *name, struct sys_owner o) must_check;
/* sys_owner_copy - from's owner to the new directory to; from may have none. */
int sys_owner_copy(int from, int to) must_check;

#endif
