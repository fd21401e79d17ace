/* sys/mount.c - fsopen/fsconfig/fsmount, open_tree, mount_setattr, move_mount; see mount.h.
 *
 * Layers are named to the kernel as /proc/self/fd/N: a store path may hold ':' or ',' and may be
 * longer than an option can be. */
#include "sys/mount.h"
#include "base/strbuf.h"
#include "sys/privilege.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* The calls themselves: glibc has wrappers since 2.36 only. Values are the kernel's ABI. */
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif
enum { FS_SET_FLAG = 0, FS_SET_STRING = 1, FS_CMD_CREATE = 6 };
enum { FS_CLOEXEC = 1, TREE_CLONE = 1, MOVE_F_EMPTY_PATH = 0x4, MOVE_T_EMPTY_PATH = 0x40 };
struct mount_attributes {
	uint64_t set, clear, propagation, userns_fd;
};

static int k_fsopen(const char *type)
{
	return (int)syscall(SYS_fsopen, type, FS_CLOEXEC);
}

static int k_fsconfig(int fs, unsigned cmd, const char *key, const void *value)
{
	return (int)syscall(SYS_fsconfig, fs, cmd, key, value, 0);
}

static int k_open_tree(int dirfd, const char *path, unsigned flags)
{
	return (int)syscall(SYS_open_tree, dirfd, path, flags | TREE_CLONE | O_CLOEXEC);
}

/* OVL_MAX_STACK of the kernel; the 501st lowerdir+ fails with EINVAL. */
#define MAX_LOWERS 500

static int fs_string(int fs, const char *key, const char *value)
{
	return k_fsconfig(fs, FS_SET_STRING, key, value) < 0 ? -errno : 0;
}

static int fs_fd_path(int fs, const char *key, int fd)
{
	char path[32];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return fs_string(fs, key, path);
}

static int fs_finish(int fs, unsigned attrs)
{
	if (k_fsconfig(fs, FS_CMD_CREATE, NULL, NULL) < 0)
		return -errno;
	int fd = (int)syscall(SYS_fsmount, fs, FS_CLOEXEC, attrs);
	return fd < 0 ? -errno : fd;
}

static int overlay_fsconfig(const int *lowers, size_t n, int upper, int work, bool read_only)
{
	_cleanup_close_ int fs = k_fsopen("overlay");
	if (fs < 0)
		return -errno;
	if (k_fsconfig(fs, FS_SET_FLAG, "userxattr", NULL) < 0)
		return -errno;
	/* Highest first. */
	for (size_t i = n; i-- > 0;) {
		int r = fs_fd_path(fs, "lowerdir+", lowers[i]);
		if (r < 0)
			return r;
	}
	if (upper >= 0) {
		int r = fs_fd_path(fs, "upperdir", upper);
		if (r >= 0)
			r = fs_fd_path(fs, "workdir", work);
		if (r < 0)
			return r;
		/* No fsync inside the step reaches the disk, nor does the unmount sync: a layer is
		 * made durable once, when it is published. Kernels before 5.10 do without. */
		(void)k_fsconfig(fs, FS_SET_FLAG, "volatile", NULL);
	}
	return fs_finish(fs, read_only ? MOUNT_ATTR_RDONLY : 0);
}

/* overlay_named - lowers: "N:N:N", highest first, descriptor numbers in the current directory. */
static int overlay_named(const char *lowers, int upper, int work, bool read_only)
{
	_cleanup_close_ int fs = k_fsopen("overlay");
	if (fs < 0 || k_fsconfig(fs, FS_SET_FLAG, "userxattr", NULL) < 0)
		return -errno;
	int r = fs_string(fs, "lowerdir", lowers);
	if (r >= 0 && upper >= 0) {
		r = fs_fd_path(fs, "upperdir", upper);
		if (r >= 0)
			r = fs_fd_path(fs, "workdir", work);
		(void)k_fsconfig(fs, FS_SET_FLAG, "volatile", NULL);
	}
	return r < 0 ? r : fs_finish(fs, read_only ? MOUNT_ATTR_RDONLY : 0);
}

/* overlay_long - with mount(2), which takes a page of options where fsconfig takes 255 bytes, and
 * knows no detached mounts: put it on a directory that nobody reads, clone it, take it away again.
 * Other processes of this mount namespace may do the same at the same time: one after the other. */
static int overlay_long(const char *lowers, int upper, int work, bool read_only)
{
	static const char where[] = "/proc/driver";
	_cleanup_strbuf_ struct strbuf o = STRBUF_INIT;
	strbuf_addf(&o, "userxattr,lowerdir=%s", lowers);
	if (upper >= 0)
		strbuf_addf(&o, ",upperdir=%d,workdir=%d,volatile", upper, work);
	if (o.len >= 4096)
		return -E2BIG;
	_cleanup_close_ int ns = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	int locked;
	while ((locked = ns < 0 ? -1 : flock(ns, LOCK_EX)) < 0 && errno == EINTR)
		;
	unsigned long flags = read_only ? MS_RDONLY : 0;
	if (locked < 0 || mount("overlay", where, "overlay", flags, o.buf) < 0)
		return -errno;
	int fd = k_open_tree(AT_FDCWD, where, 0);
	int r = fd < 0 ? -errno : fd;
	if (umount2(where, MNT_DETACH) < 0 && r >= 0) {
		r = -errno;
		close(fd);
	}
	return r;
}

int sys_overlay_mount_classic(const int *lowers, size_t n, int upper, int work, bool read_only)
{
	/* Bare numbers below /proc/self/fd keep 60 layers within an option of fsconfig, and 500
	 * within the one page of mount(2). */
	_cleanup_strbuf_ struct strbuf names = STRBUF_INIT;
	for (size_t i = n; i-- > 0;)
		strbuf_addf(&names, "%d%s", lowers[i], i ? ":" : "");
	_cleanup_close_ int cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	/* This thread's working directory alone. */
	if (cwd < 0 || unshare(CLONE_FS) < 0 || chdir("/proc/thread-self/fd") < 0)
		return -errno;
	int r = names.len < 256 ? overlay_named(names.buf, upper, work, read_only)
	                        : overlay_long(names.buf, upper, work, read_only);
	if (fchdir(cwd) < 0 && r >= 0) {
		close(r);
		return -errno;
	}
	return r;
}

int sys_overlay_mount(const int *lowers, size_t n, int upper, int work, bool read_only)
{
	if (n == 0)
		return -EINVAL;
	if (n > MAX_LOWERS)
		return -E2BIG;
	if (n == 1 && upper < 0) {
		/* The kernel's overlay wants two lower directories where there is no upper. */
		_cleanup_close_ int fd = sys_bind_clone(lowers[0], "", false);
		if (fd < 0)
			return fd;
		int r = sys_mount_attr(fd, false, MOUNT_ATTR_RDONLY, 0);
		return r < 0 ? r : take_fd(&fd);
	}
	/* An option that the kernel does not know would be noted in its log, each time. */
	return sys_kernel_at_least(6, 5)
	               ? overlay_fsconfig(lowers, n, upper, work, read_only)
	               : sys_overlay_mount_classic(lowers, n, upper, work, read_only);
}

/* fs_options - "k=v,flag" one by one. */
static int fs_options(int fs, const char *options)
{
	while (*options) {
		char opt[256];
		size_t n = strcspn(options, ",");
		if (n >= sizeof(opt))
			return -EINVAL;
		memcpy(opt, options, n);
		opt[n] = '\0';
		options += n + (options[n] == ',');
		char *eq = strchr(opt, '=');
		int r;
		if (eq) {
			*eq = '\0';
			r = k_fsconfig(fs, FS_SET_STRING, opt, eq + 1);
		} else {
			r = k_fsconfig(fs, FS_SET_FLAG, opt, NULL);
		}
		if (r < 0)
			return -errno;
	}
	return 0;
}

static int simple_mount(const char *type, const char *options, unsigned attrs)
{
	_cleanup_close_ int fs = k_fsopen(type);
	if (fs < 0)
		return -errno;
	int r = fs_options(fs, options);
	return r < 0 ? r : fs_finish(fs, attrs);
}

int sys_tmpfs_mount(const char *options)
{
	return simple_mount("tmpfs", options, 0);
}

int sys_binfmt_mount(void)
{
	return simple_mount(
	        "binfmt_misc", "", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
}

int sys_proc_mount(void)
{
	return simple_mount("proc", "", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
}

int sys_sysfs_mount(void)
{
	return simple_mount("sysfs", "",
	        MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
}

int sys_devpts_mount(void)
{
	int r = simple_mount("devpts", "newinstance,ptmxmode=0666,mode=0620,gid=5",
	        MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
	/* Group 5 (tty) has no meaning in a namespace with one id. */
	if (r == -EINVAL)
		r = simple_mount("devpts", "newinstance,ptmxmode=0666,mode=0620",
		        MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
	return r;
}

int sys_mqueue_mount(void)
{
	return simple_mount("mqueue", "", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
}

int sys_cgroup2_mount(void)
{
	return simple_mount("cgroup2", "",
	        MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
}

int sys_bind_clone(int dirfd, const char *path, bool recursive)
{
	int fd = k_open_tree(
	        dirfd, path, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | (recursive ? AT_RECURSIVE : 0));
	return fd < 0 ? -errno : fd;
}

int sys_mount_attr(int mountfd, bool recursive, uint64_t set, uint64_t clear)
{
	struct mount_attributes a = {.set = set, .clear = clear};
	long r = syscall(SYS_mount_setattr, mountfd, "",
	        AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &a, sizeof(a));
	return r < 0 ? -errno : 0;
}

int sys_mount_attach(int mountfd, int target_fd)
{
	long r = syscall(
	        SYS_move_mount, mountfd, "", target_fd, "", MOVE_F_EMPTY_PATH | MOVE_T_EMPTY_PATH);
	return r < 0 ? -errno : 0;
}

bool sys_fs_can_create(const char *type)
{
	_cleanup_close_ int fs = k_fsopen(type);
	return fs >= 0 && k_fsconfig(fs, FS_CMD_CREATE, NULL, NULL) == 0;
}

bool sys_overlay_takes_lowerdir_plus(void)
{
	_cleanup_close_ int fs = k_fsopen("overlay");
	/* Before 6.5 fsconfig takes every name, and the mount fails. */
	return fs >= 0 && k_fsconfig(fs, FS_SET_STRING, "strake", "/") < 0 &&
	       k_fsconfig(fs, FS_SET_STRING, "lowerdir+", "/") == 0;
}
