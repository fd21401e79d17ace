/* sys/mount.h - the new mount API with fallbacks; no path strings inside untrusted trees.
 *
 * All return >= 0 or -errno. Only called in our private mount namespace. */
#ifndef STRAKE_SYS_MOUNT_H
#define STRAKE_SYS_MOUNT_H

/* -I src makes <sys/mount.h> mean this file: let it bring the system's along. */
#include_next <sys/mount.h>
#include "base/base.h"

/* Absent from C libraries older than the calls themselves (glibc before 2.36). */
#ifndef MOUNT_ATTR_RDONLY
#define MOUNT_ATTR_RDONLY 0x1
#define MOUNT_ATTR_NOSUID 0x2
#define MOUNT_ATTR_NODEV 0x4
#define MOUNT_ATTR_NOEXEC 0x8
#endif

/* sys_overlay_mount - a detached overlay mount (fsmount fd). lowers: directory fds, lowest first,
 * at least one; upper < 0: read-only. Uses fsconfig lowerdir+ (6.5), else the classic way below;
 * userxattr always. More than 500 lowers: -E2BIG (the caller merges).
 * With an upper directory the mount is `volatile`: neither fsync inside nor unmounting writes
 * anything to disk; whoever publishes the upper directory syncs it. Such a work directory serves
 * one mount only. */
int sys_overlay_mount(const int *lowers, size_t n, int upper, int work, bool read_only) must_check;
/* sys_overlay_mount_classic - the same before Linux 6.5, public for its test: one lowerdir option
 * while that is short, else mount(2) in passing and a clone of that. Safe beside other threads and
 * processes. */
int sys_overlay_mount_classic(
        const int *lowers, size_t n, int upper, int work, bool read_only) must_check;
int sys_tmpfs_mount(const char *options) must_check; /* "size=64m,mode=1777"; detached fd */
int sys_proc_mount(void) must_check;
int sys_binfmt_mount(void) must_check; /* of the current user namespace: Linux 6.7 */
int sys_sysfs_mount(void) must_check;
int sys_devpts_mount(void) must_check; /* newinstance,ptmxmode=0666,mode=0620,gid=5 */
int sys_mqueue_mount(void) must_check;
int sys_cgroup2_mount(void) must_check; /* read-only, of the current cgroup namespace */
int sys_bind_clone(int dirfd, const char *path, bool recursive) must_check; /* open_tree fd */
/* sys_mount_attr - MOUNT_ATTR_* set on a detached or attached mount. */
int sys_mount_attr(int mountfd, bool recursive, uint64_t set, uint64_t clear) must_check;
/* sys_mount_attach - move_mount onto the open (O_PATH) target. */
int sys_mount_attach(int mountfd, int target_fd) must_check;

/* For sys_features_probe: can a file system of this type be made here; does overlay take
 * lowerdir+. */
bool sys_fs_can_create(const char *type);
bool sys_overlay_takes_lowerdir_plus(void);

#endif
