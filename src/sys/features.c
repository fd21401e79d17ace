/* sys/features.c - what the kernel and the machine offer, tried for real; feeds `strake info`.
 *
 * The kernel part runs in one forked child, in its own user and mount namespace, so that a trial
 * leaves no trace; it reports through a byte array in a pipe. */
#include "sys/privilege.h"
#include "sys/mount.h"
#include "sys/path.h"
#include "base/strbuf.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>

enum trial {
	T_OPENAT2,
	T_OVERLAY,
	T_LOWERDIR_PLUS,
	T_MOUNT_API,
	T_SECCOMP,
	T_BINFMT,
	T_USERNS,
	T_N
};

static bool try_openat2(void)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT};
	long fd = syscall(SYS_openat2, AT_FDCWD, "/", &how, sizeof(how));
	if (fd >= 0)
		close((int)fd);
	return fd >= 0;
}

static bool try_overlay(void)
{
	int t = sys_tmpfs_mount("mode=700");
	if (t < 0 || mkdirat(t, "l", 0755) < 0 || mkdirat(t, "u", 0755) < 0 ||
	        mkdirat(t, "w", 0755) < 0)
		return false;
	/* Overlay refuses directories of a mount that is attached nowhere. */
	int where = open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (where < 0 || sys_mount_attach(t, where) < 0)
		return false;
	int l = openat(t, "l", O_PATH | O_CLOEXEC), u = openat(t, "u", O_PATH | O_CLOEXEC);
	int w = openat(t, "w", O_PATH | O_CLOEXEC);
	return sys_overlay_mount(&l, 1, u, w, false) >= 0;
}

static void write_proc(const char *path, const char *text)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t r = fd < 0 ? -1 : write(fd, text, strlen(text));
	(void)r; /* without a map the trials that create files say no */
}

/* map_self - an id of the new user namespace; nobody can create a file without one. */
static void map_self(unsigned uid, unsigned gid)
{
	_cleanup_free_ char *u = xasprintf("0 %u 1", uid), *g = xasprintf("0 %u 1", gid);
	write_proc("/proc/self/setgroups", "deny");
	write_proc("/proc/self/uid_map", u);
	write_proc("/proc/self/gid_map", g);
}

static void run_trials(char *yes)
{
	uint32_t action = SECCOMP_RET_ERRNO;
	unsigned uid = geteuid(), gid = getegid();
	yes[T_OPENAT2] = try_openat2();
	yes[T_SECCOMP] = syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
	yes[T_USERNS] = unshare(CLONE_NEWUSER) == 0;
	if (yes[T_USERNS])
		map_self(uid, gid);
	if (unshare(CLONE_NEWNS) < 0)
		return;
	(void)mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
	yes[T_MOUNT_API] = sys_fs_can_create("tmpfs");
	yes[T_LOWERDIR_PLUS] = sys_overlay_takes_lowerdir_plus();
	yes[T_OVERLAY] = try_overlay();
	yes[T_BINFMT] = sys_fs_can_create("binfmt_misc");
}

static void kernel_trials(char *yes)
{
	int p[2];
	if (pipe2(p, O_CLOEXEC) < 0)
		return;
	pid_t pid = fork();
	if (pid == 0) {
		char mine[T_N] = {0};
		run_trials(mine);
		_exit(sys_write_all(p[1], mine, sizeof(mine)) < 0);
	}
	close(p[1]);
	if (pid > 0) {
		if (read(p[0], yes, T_N) != T_N)
			memset(yes, 0, T_N);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	close(p[0]);
}

/* nearest_dir - the first existing directory on the way up from where the store is or will be. */
static int nearest_store_dir(void)
{
	const char *s = getenv("STRAKE_STORE"), *x = getenv("XDG_DATA_HOME"), *h = getenv("HOME");
	_cleanup_free_ char *path = NULL;
	if (s && *s)
		path = xstrdup(s);
	else if (geteuid() == 0)
		path = xstrdup("/var/lib/strake");
	else
		path = x && *x ? xstrdup(x) : xasprintf("%s/.local/share", h ? h : "");
	for (;;) {
		int fd = open(*path ? path : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd >= 0 || !*path)
			return fd;
		char *slash = strrchr(path, '/');
		*(slash ? slash : path) = '\0';
	}
}

static bool try_reflink(void)
{
	_cleanup_close_ int dir = nearest_store_dir();
	if (dir < 0)
		return false;
	_cleanup_close_ int a = openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	_cleanup_close_ int b = openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	char block[4096] = "x";
	return a >= 0 && b >= 0 && sys_write_all(a, block, sizeof(block)) >= 0 &&
	       ioctl(b, FICLONE, a) == 0;
}

/* own_cgroup - a path below /sys/fs/cgroup of this process in the unified hierarchy. */
static bool cgroup_is_delegated(void)
{
	_cleanup_close_ int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *text = NULL;
	if (fd < 0 || sys_read_fd(fd, 65536, &text, NULL) < 0 || !str_starts(text, "0::/"))
		return false;
	text[strcspn(text, "\n")] = '\0';
	_cleanup_free_ char *procs = xasprintf("/sys/fs/cgroup%s/cgroup.procs", text + 3);
	_cleanup_free_ char *ctl = xasprintf("/sys/fs/cgroup%s/cgroup.controllers", text + 3);
	_cleanup_close_ int c = open(ctl, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *list = NULL;
	return access(procs, W_OK) == 0 && c >= 0 && sys_read_fd(c, 65536, &list, NULL) >= 0 &&
	       strstr(list, "memory") && strstr(list, "pids");
}

void sys_features_probe(struct sys_features *ret)
{
	static char *pasta, *slirp, *newuidmap, *fuse, *git; /* found once, live as long as we do */
	char yes[T_N] = {0};
	struct statfs sfs;
	kernel_trials(yes);
	*ret = (struct sys_features){
	        .openat2 = yes[T_OPENAT2],
	        .overlay_userxattr = yes[T_OVERLAY],
	        .overlay_lowerdir_plus = yes[T_LOWERDIR_PLUS],
	        .userns = yes[T_USERNS],
	        .new_mount_api = yes[T_MOUNT_API],
	        .seccomp = yes[T_SECCOMP],
	        .binfmt_userns = yes[T_BINFMT],
	        .cgroup_v2 =
	                statfs("/sys/fs/cgroup", &sfs) == 0 && sfs.f_type == CGROUP2_SUPER_MAGIC,
	        .cgroup_delegated = cgroup_is_delegated(),
	        .reflink_store = try_reflink(),
	};
	if (!git) {
		pasta = sys_find_program("pasta");
		slirp = sys_find_program("slirp4netns");
		newuidmap = sys_find_program("newuidmap");
		fuse = sys_find_program("fuse-overlayfs");
		git = sys_find_program("git");
	}
	ret->pasta = pasta;
	ret->slirp4netns = slirp;
	ret->newuidmap = newuidmap;
	ret->fuse_overlayfs = fuse;
	ret->git = git;
}
