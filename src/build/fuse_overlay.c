/* build/fuse_overlay.c - see fuse_overlay.h. */
#include "build/fuse_overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "base/strbuf.h"
#include "sys/mount.h"
#include "sys/path.h"
#include "sys/privilege.h"
#include "sys/process.h"

bool fuse_overlay_there(void)
{
	_cleanup_free_ char *prog = sys_find_program("fuse-overlayfs");
	/* trusted-path: a device of the host */
	_cleanup_close_ int dev = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	return prog && dev >= 0;
}

void fuse_overlay_stop(struct fuse_overlay *f)
{
	char at[64];
	int status;
	/* Whoever else still looks at the mount keeps it from ending, and its pages from being
	 * written. */
	if (f->root >= 0)
		(void)syncfs(f->root);
	close_ptr(&f->root);
	if (f->pidfd >= 0) {
		/* Unmounting makes it write what it has and end. */
		snprintf(at, sizeof(at), "/proc/self/fd/%d/tree", f->dir);
		/* trusted-path: our own staging */
		(void)!umount2(at, MNT_DETACH | UMOUNT_NOFOLLOW);
		struct pollfd p = {f->pidfd, POLLIN, 0};
		if (poll(&p, 1, 10000) <= 0)
			syscall(SYS_pidfd_send_signal, f->pidfd, SIGKILL, NULL, 0);
		(void)!sys_wait_pidfd(f->pidfd, &status);
		close_ptr(&f->pidfd);
	}
	close_ptr(&f->dir);
}

static bool is_fuse(int fd)
{
	struct statfs s;
	return fstatfs(fd, &s) == 0 && (unsigned long)s.f_type == FUSE_SUPER_MAGIC;
}

/* wait_ready - it says nothing when it is. */
static int wait_ready(struct fuse_overlay *f, int log, struct error *err)
{
	struct pollfd p = {f->pidfd, POLLIN, 0};
	for (int i = 0; i < 2000; i++) {
		f->root = sys_open_dir(f->dir, "tree");
		if (f->root >= 0 && is_fuse(f->root))
			return 0;
		close_ptr(&f->root);
		if (poll(&p, 1, 5) != 0)
			break;
	}
	_cleanup_free_ char *text = NULL;
	if (lseek(log, 0, SEEK_SET) < 0 || sys_read_fd(log, 4096, &text, NULL) < 0)
		text = xstrdup("");
	(void)err_set(err, ERR_SYSTEM, "fuse-overlayfs does not start: %.*s",
	        (int)strcspn(text, "\n"), text);
	return err_hint(err, "STRAKE_OVERLAY=copy does without it");
}

/* start - layers, upper directory, work directory and mount point are handed over as descriptors:
 * /proc/self/fd/N is a name that no ':' or ',' can be in. */
static int start(struct fuse_overlay *f, const int *lowers, size_t n, int upper, int work, int tree,
        struct error *err)
{
	_cleanup_free_ char *prog = sys_find_program("fuse-overlayfs");
	if (!prog)
		return err_set(err, ERR_SYSTEM, "fuse-overlayfs is not there any more");
	_cleanup_free_ int *keep = new0(int, n + 3);
	_cleanup_strbuf_ struct strbuf o = STRBUF_INIT;
	size_t n_keep = 0, at = n;
	for (size_t i = 0; i < n; i++) {
		keep[n_keep++] = lowers[i];
		strbuf_addf(&o, "%s/proc/self/fd/%zu", i ? ":" : "lowerdir=", 3 + n - 1 - i);
	}
	/* It wants one; the mount point is empty. */
	if (!n)
		strbuf_addf(&o, "lowerdir=/proc/self/fd/%zu", 3 + at);
	keep[n_keep++] = tree;
	if (upper >= 0) {
		keep[n_keep++] = upper;
		keep[n_keep++] = work;
		strbuf_addf(&o, ",upperdir=/proc/self/fd/%zu,workdir=/proc/self/fd/%zu", 4 + at,
		        5 + at);
	}
	_cleanup_free_ char *target = xasprintf("/proc/self/fd/%zu", 3 + at);
	const char *argv[] = {prog, "-f", "-o", o.buf, target, NULL};
	_cleanup_close_ int log = memfd_create("fuse-log", MFD_CLOEXEC);
	struct sys_spawn s = {.path = prog,
	        .argv = argv,
	        .stdin_fd = -1,
	        .stdout_fd = log,
	        .stderr_fd = log,
	        .keep_fds = keep,
	        .n_keep = n_keep,
	        .cwd_fd = -1,
	        .new_session = true,
	        /* Its mount would keep our mount namespace. */
	        .death_signal = SIGKILL};
	int r = sys_spawn(&s, NULL, &f->pidfd);
	return r < 0 ? err_sys(err, r, "cannot run %s", prog) : wait_ready(f, log, err);
}

int fuse_overlay_start(const int *lowers, size_t n, int upper, int work, int dir,
        struct fuse_overlay *ret, struct error *err)
{
	struct fuse_overlay f = FUSE_OVERLAY_NONE;
	_cleanup_close_ int tree = sys_open_dir(dir, "tree");
	f.dir = fcntl(dir, F_DUPFD_CLOEXEC, 3);
	int rc = tree < 0 || f.dir < 0
	                 ? err_sys(err, tree < 0 ? tree : errno, "cannot open a mount point")
	                 : start(&f, lowers, n, upper, work, tree, err);
	if (rc < 0) {
		fuse_overlay_stop(&f);
		return -1;
	}
	*ret = f;
	return 0;
}
