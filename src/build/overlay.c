/* build/overlay.c - see overlay.h.
 *
 * Where the store is on a file system that can carry the kernel's overlay nothing is tried: that is
 * every build on an ordinary disk. Else one mount tells. */
#include "build/overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "layer/layer.h"
#include "sys/mount.h"
#include "sys/path.h"
#include "sys/process.h"

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

static bool known_good(int fd)
{
	struct statfs s;
	if (fstatfs(fd, &s) < 0)
		return false;
	switch ((unsigned long)s.f_type) {
	case EXT4_SUPER_MAGIC:
	case XFS_SUPER_MAGIC:
	case BTRFS_SUPER_MAGIC:
	case TMPFS_MAGIC:
	case F2FS_SUPER_MAGIC:
		return true;
	}
	return false;
}

/* kernel_serves - can an upper directory stand where our layers do? */
static bool kernel_serves(struct build *b, struct error *err)
{
	struct layer_dir d = {.fd = -1, .tree_fd = -1};
	if (known_good(store_lease_dirfd(b->lease)))
		return true;
	if (layer_dir_new(b, &d, err) < 0)
		return false;
	bool yes = false;
	if (mkdirat(d.fd, "upper", 0755) == 0 && mkdirat(d.fd, "work", 0755) == 0) {
		_cleanup_close_ int up = sys_open_dir(d.fd, "upper"),
		                    work = sys_open_dir(d.fd, "work");
		_cleanup_close_ int m =
		        up < 0 || work < 0 ? -1 : sys_overlay_mount(&d.tree_fd, 1, up, work, false);
		yes = m >= 0;
	}
	build_trash(b, d.name);
	layer_dir_release(&d);
	return yes;
}

/* has_whiteouts - fuse-overlayfs would leave files named .wh. where the disk has none. */
static bool has_whiteouts(struct build *b, struct error *err)
{
	struct layer_dir d = {.fd = -1, .tree_fd = -1};
	if (layer_dir_new(b, &d, err) < 0)
		return false;
	bool yes = mknodat(d.tree_fd, "w", S_IFCHR, 0) == 0;
	build_trash(b, d.name);
	layer_dir_release(&d);
	return yes;
}

static bool fuse_serves(void)
{
	_cleanup_free_ char *prog = sys_find_program("fuse-overlayfs");
	/* trusted-path: a device of the host */
	_cleanup_close_ int dev = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	return prog && dev >= 0;
}

static int decide(struct build *b, struct error *err)
{
	const char *f = getenv("STRAKE_OVERLAY");
	if (f && *f) {
		if (str_eq(f, "kernel"))
			return OVERLAY_KERNEL;
		if (str_eq(f, "copy"))
			return OVERLAY_COPY;
		if (!str_eq(f, "fuse"))
			return err_set(err, ERR_USAGE,
			        "STRAKE_OVERLAY=%s: expected kernel, fuse or copy", f);
		if (fuse_serves())
			return OVERLAY_FUSE;
		(void)err_set(err, ERR_SYSTEM,
		        "STRAKE_OVERLAY=fuse: fuse-overlayfs or /dev/fuse is not there");
		return err_hint(err, "sudo apt-get install fuse-overlayfs, or STRAKE_OVERLAY=copy");
	}
	if (kernel_serves(b, err))
		return OVERLAY_KERNEL;
	if (error_is_set(err))
		return -1;
	if (!fuse_serves() || !has_whiteouts(b, err))
		return error_is_set(err) ? -1 : OVERLAY_COPY;
	return OVERLAY_FUSE;
}

int build_overlay(struct build *b, struct error *err)
{
	pthread_mutex_lock(&b->lock);
	int kind = b->overlay;
	pthread_mutex_unlock(&b->lock);
	if (kind != OVERLAY_UNKNOWN)
		return kind;
	kind = decide(b, err);
	if (kind < 0)
		return -1;
	pthread_mutex_lock(&b->lock);
	bool first = b->overlay == OVERLAY_UNKNOWN;
	b->overlay = kind;
	pthread_mutex_unlock(&b->lock);
	if (first && kind != OVERLAY_KERNEL)
		ui_step_note(b->ui, UI_DEFINITION,
		        "no overlay of the kernel's here: steps run in %s",
		        kind == OVERLAY_FUSE
		                ? "fuse-overlayfs"
		                : "a copy of their root file system each, which is slow");
	return kind;
}

int overlay_copy(
        struct build *b, const struct build_view *v, struct layer_dir *d, struct error *err)
{
	if (layer_dir_new(b, d, err) < 0)
		return -1;
	return layer_plain_root(&v->v, v->fds, d->tree_fd, b->single_id, err);
}

/* --- fuse-overlayfs -------------------------------------------------------------------------- */

struct fuse {
	struct layer_dir d; /* the mount point is its tree */
	int pidfd, root;
};

/* fuse_stop - unmounting makes it write what it has and end. */
static void fuse_stop(struct build *b, struct fuse *f)
{
	char at[64];
	int status;
	close_ptr(&f->root);
	if (f->pidfd >= 0) {
		snprintf(at, sizeof(at), "/proc/self/fd/%d/tree", f->d.fd);
		/* trusted-path: our own staging */
		(void)!umount2(at, MNT_DETACH | UMOUNT_NOFOLLOW);
		struct pollfd p = {f->pidfd, POLLIN, 0};
		if (poll(&p, 1, 10000) <= 0)
			syscall(SYS_pidfd_send_signal, f->pidfd, SIGKILL, NULL, 0);
		(void)!sys_wait_pidfd(f->pidfd, &status);
		close_ptr(&f->pidfd);
	}
	if (f->d.name)
		build_trash(b, f->d.name);
	layer_dir_release(&f->d);
}

static bool is_fuse(int fd)
{
	struct statfs s;
	return fstatfs(fd, &s) == 0 && (unsigned long)s.f_type == FUSE_SUPER_MAGIC;
}

/* fuse_start - layers, upper directory, work directory and mount point are handed over as
 * descriptors: /dev/fd/N is a name that no ':' or ',' can be in. */
static int fuse_start(struct build *b, struct run_state *st, struct layer_dir *work, struct fuse *f,
        struct error *err)
{
	if (layer_dir_new(b, &f->d, err) < 0)
		return -1;
	_cleanup_free_ char *prog = sys_find_program("fuse-overlayfs");
	size_t n = st->lower.n_lowers;
	_cleanup_free_ int *keep = new0(int, n + 3);
	_cleanup_strbuf_ struct strbuf o = STRBUF_INIT;
	for (size_t i = 0; i < n; i++) {
		keep[i] = st->lower.lowers[i];
		strbuf_addf(&o, "%s/proc/self/fd/%zu", i ? ":" : "lowerdir=", 3 + n - 1 - i);
	}
	if (!n)
		strbuf_addf(&o, "lowerdir=/proc/self/fd/%zu", 3 + n + 2);
	keep[n] = st->dir.tree_fd;
	keep[n + 1] = work->tree_fd;
	keep[n + 2] = f->d.tree_fd;
	strbuf_addf(&o, ",upperdir=/proc/self/fd/%zu,workdir=/proc/self/fd/%zu", 3 + n, 3 + n + 1);
	_cleanup_free_ char *at = xasprintf("/proc/self/fd/%zu", 3 + n + 2);
	const char *argv[] = {prog, "-f", "-o", o.buf, at, NULL};
	_cleanup_close_ int log = memfd_create("fuse-log", MFD_CLOEXEC);
	struct sys_spawn s = {.path = prog,
	        .argv = argv,
	        .stdin_fd = -1,
	        .stdout_fd = log,
	        .stderr_fd = log,
	        .keep_fds = keep,
	        .n_keep = n + 3,
	        .cwd_fd = -1,
	        .new_session = true,
	        /* Its mount would keep our mount namespace. This thread waits for it. */
	        .death_signal = SIGKILL};
	int r = sys_spawn(&s, NULL, &f->pidfd);
	if (r < 0)
		return err_sys(err, r, "cannot run %s", prog);
	/* It says nothing when it is ready. */
	struct pollfd p = {f->pidfd, POLLIN, 0};
	for (int i = 0; i < 2000; i++) {
		f->root = sys_open_dir(f->d.fd, "tree");
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

/* --- the step -------------------------------------------------------------------------------- */

static int scan(
        struct build *b, struct run_state *st, int copy_root, struct tree *t, struct error *err)
{
	_cleanup_(owner_table_release) struct owner_table recorded = {0};
	const struct owner_table *owners = b->single_id ? &recorded : NULL;
	int r = owners ? owner_log_load(st->owners, OWNER_UPPER, &recorded) : 0;
	if (r < 0)
		return err_sys(err, r, "cannot read which owners the step gave its files");
	if (copy_root >= 0)
		return layer_plain_diff(copy_root, &st->lower.v, st->lower.fds, owners, b->pool,
		        st->dir.tree_fd, t, err);
	if (layer_plain_fuse(st->dir.tree_fd, &st->lower.v, err) < 0)
		return -1;
	return layer_scan_upper(st->dir.tree_fd, &st->lower.v, owners, b->pool, t, err);
}

static int run_in(struct build *b, struct run_state *st, int root,
        int (*run)(struct build *, struct run_state *, struct sandbox_spec *, struct error *),
        int upper, struct error *err)
{
	_cleanup_close_ int made = memfd_create("strake-made", MFD_CLOEXEC);
	if (made < 0)
		return err_sys(err, errno, "cannot make a file in memory");
	struct sandbox_spec spec;
	run_fill_spec(b, st, &spec);
	spec.has_ready_root = true;
	spec.ready_root_fd = root;
	spec.made_fd = made;
	/* For the supervisor, to tell inodes by. */
	spec.upper_fd = spec.work_fd = upper;
	int rc = run(b, st, &spec, err);
	return rc < 0 ? -1 : sandbox_unmake(root, made, err);
}

static int run_copy(struct build *b, struct run_state *st,
        int (*run)(struct build *, struct run_state *, struct sandbox_spec *, struct error *),
        struct tree *t, struct error *err)
{
	struct layer_dir d = {.fd = -1, .tree_fd = -1};
	int rc = overlay_copy(b, &st->lower, &d, err);
	if (rc >= 0 && b->single_id) {
		close_ptr(&st->owners);
		rc = st->owners = layer_plain_owner_log(&st->lower.v, d.tree_fd, err);
	}
	if (rc >= 0)
		rc = run_in(b, st, d.tree_fd, run, d.tree_fd, err);
	if (rc >= 0)
		rc = scan(b, st, d.tree_fd, t, err);
	if (d.name)
		build_trash(b, d.name);
	layer_dir_release(&d);
	return rc < 0 ? -1 : 0;
}

static int run_fuse(struct build *b, struct run_state *st,
        int (*run)(struct build *, struct run_state *, struct sandbox_spec *, struct error *),
        struct tree *t, struct error *err)
{
	struct layer_dir work = {.fd = -1, .tree_fd = -1};
	struct fuse f = {.d = {.fd = -1, .tree_fd = -1}, .pidfd = -1, .root = -1};
	int rc = layer_dir_new(b, &work, err);
	if (rc >= 0)
		rc = layer_prepare_upper(st->dir.tree_fd, &st->lower.v, b->single_id, err);
	if (rc >= 0)
		rc = fuse_start(b, st, &work, &f, err);
	if (rc >= 0)
		rc = run_in(b, st, f.root, run, st->dir.tree_fd, err);
	fuse_stop(b, &f);
	if (work.name)
		build_trash(b, work.name);
	layer_dir_release(&work);
	return rc < 0 ? -1 : scan(b, st, -1, t, err);
}

int overlay_run(struct build *b, struct run_state *st, enum build_overlay kind,
        int (*run)(struct build *b, struct run_state *st, struct sandbox_spec *spec,
                struct error *err),
        struct tree *t, struct error *err)
{
	return kind == OVERLAY_FUSE ? run_fuse(b, st, run, t, err) : run_copy(b, st, run, t, err);
}
