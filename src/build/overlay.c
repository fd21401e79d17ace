/* build/overlay.c - see overlay.h.
 *
 * Where the store is on a file system that can carry the kernel's overlay nothing is tried: that is
 * every build on an ordinary disk. Else one mount tells. */
#include "build/overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "layer/layer.h"
#include "sys/mount.h"
#include "sys/path.h"

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
		if (fuse_overlay_there())
			return OVERLAY_FUSE;
		(void)err_set(err, ERR_SYSTEM,
		        "STRAKE_OVERLAY=fuse: fuse-overlayfs or /dev/fuse is not there");
		return err_hint(err, "sudo apt-get install fuse-overlayfs, or STRAKE_OVERLAY=copy");
	}
	if (kernel_serves(b, err))
		return OVERLAY_KERNEL;
	if (error_is_set(err))
		return -1;
	if (!fuse_overlay_there() || !has_whiteouts(b, err))
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

/* --- a root to run in ------------------------------------------------------------------------ */

int overlay_tree_new(struct build *b, enum overlay_kind kind, const struct build_view *lower,
        struct layer_dir *d, struct error *err)
{
	if (kind == OVERLAY_COPY)
		return overlay_copy(b, lower, d, err);
	if (layer_dir_new(b, d, err) < 0)
		return -1;
	return layer_prepare_upper(d->tree_fd, &lower->v, b->single_id, err);
}

static void discard(struct build *b, struct layer_dir *d)
{
	if (d->name)
		build_trash(b, d->name);
	layer_dir_release(d);
}

void overlay_root_close(struct build *b, struct overlay_root *r)
{
	fuse_overlay_stop(&r->fuse);
	discard(b, &r->at);
	discard(b, &r->work);
	close_ptr(&r->made);
}

int overlay_root_open(struct build *b, enum overlay_kind kind, const struct build_view *lower,
        int tree, struct overlay_root *ret, struct error *err)
{
	struct overlay_root r = {.kind = kind,
	        .tree = tree,
	        .at = {.fd = -1, .tree_fd = -1},
	        .work = {.fd = -1, .tree_fd = -1},
	        .fuse = FUSE_OVERLAY_NONE,
	        .made = memfd_create("strake-made", MFD_CLOEXEC)};
	int rc = r.made < 0 ? err_sys(err, errno, "cannot make a file in memory") : 0;
	if (rc >= 0 && kind == OVERLAY_FUSE) {
		rc = layer_dir_new(b, &r.at, err);
		if (rc >= 0)
			rc = layer_dir_new(b, &r.work, err);
		if (rc >= 0)
			rc = fuse_overlay_start(lower->lowers, lower->n_lowers, tree,
			        r.work.tree_fd, r.at.fd, &r.fuse, err);
	}
	if (rc < 0) {
		overlay_root_close(b, &r);
		return -1;
	}
	*ret = r;
	return 0;
}

static int root_fd(const struct overlay_root *r)
{
	return r->kind == OVERLAY_FUSE ? r->fuse.root : r->tree;
}

void overlay_root_spec(const struct overlay_root *r, struct sandbox_spec *s)
{
	s->has_ready_root = true;
	s->ready_root_fd = root_fd(r);
	s->made_fd = r->made;
	/* For the supervisor, to tell inodes by. */
	s->upper_fd = s->work_fd = r->tree;
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

static int run_in(struct build *b, struct run_state *st, enum overlay_kind kind, int tree,
        int (*run)(struct build *, struct run_state *, struct sandbox_spec *, struct error *),
        struct error *err)
{
	struct overlay_root r;
	struct sandbox_spec spec;
	if (overlay_root_open(b, kind, &st->lower, tree, &r, err) < 0)
		return -1;
	run_fill_spec(b, st, &spec);
	overlay_root_spec(&r, &spec);
	int rc = run(b, st, &spec, err);
	if (rc >= 0)
		rc = sandbox_unmake(root_fd(&r), r.made, err);
	overlay_root_close(b, &r);
	return rc < 0 ? -1 : 0;
}

static int run_copy(struct build *b, struct run_state *st,
        int (*run)(struct build *, struct run_state *, struct sandbox_spec *, struct error *),
        struct tree *t, struct error *err)
{
	int rc = overlay_copy(b, &st->lower, &st->copy, err);
	if (rc >= 0 && b->single_id) {
		close_ptr(&st->owners);
		rc = st->owners = layer_plain_owner_log(&st->lower.v, st->copy.tree_fd, err);
	}
	if (rc >= 0)
		rc = run_in(b, st, OVERLAY_COPY, st->copy.tree_fd, run, err);
	return rc < 0 ? -1 : scan(b, st, st->copy.tree_fd, t, err);
}

static int run_fuse(struct build *b, struct run_state *st,
        int (*run)(struct build *, struct run_state *, struct sandbox_spec *, struct error *),
        struct tree *t, struct error *err)
{
	int rc = layer_prepare_upper(st->dir.tree_fd, &st->lower.v, b->single_id, err);
	if (rc >= 0)
		rc = run_in(b, st, OVERLAY_FUSE, st->dir.tree_fd, run, err);
	return rc < 0 ? -1 : scan(b, st, -1, t, err);
}

int overlay_run(struct build *b, struct run_state *st, enum overlay_kind kind,
        int (*run)(struct build *b, struct run_state *st, struct sandbox_spec *spec,
                struct error *err),
        struct tree *t, struct error *err)
{
	return kind == OVERLAY_FUSE ? run_fuse(b, st, run, t, err) : run_copy(b, st, run, t, err);
}
