/* build/overlay.h - how a step gets its root file system: the kernel's overlay, fuse-overlayfs, or
 * a plain copy, in that order; STRAKE_OVERLAY=kernel|fuse|copy forces one. */
#ifndef STRAKE_BUILD_OVERLAY_H
#define STRAKE_BUILD_OVERLAY_H

#include "build/exec_run.h"
#include "build/fuse_overlay.h"
#include "build/image_rootfs.h"

/* build_overlay - enum overlay_kind, decided at the first step of a build. -1: error. */
int build_overlay(struct build *b, struct error *err) must_check;
/* overlay_run - the step in a root of our own making (FUSE, COPY): its layer in st->dir. run:
 * starts the process with the spec and waits. Of a step that failed st keeps what it left. */
int overlay_run(struct build *b, struct run_state *st, enum overlay_kind kind,
        int (*run)(struct build *b, struct run_state *st, struct sandbox_spec *spec,
                struct error *err),
        struct tree *t, struct error *err) must_check;
/* overlay_copy - a view as a directory that may be written to and is thrown away with d. */
int overlay_copy(struct build *b, const struct build_view *v, struct layer_dir *d,
        struct error *err) must_check;

/* A root of kind FUSE or COPY to run in. tree: its upper directory (FUSE), or the copy itself. */
struct overlay_root {
	enum overlay_kind kind;
	int tree;
	struct layer_dir at, work; /* FUSE: mount point, work directory */
	struct fuse_overlay fuse;
	int made; /* notes of mount points */
};
/* overlay_tree_new - such a tree, as the view below has it. */
int overlay_tree_new(struct build *b, enum overlay_kind kind, const struct build_view *lower,
        struct layer_dir *d, struct error *err) must_check;
/* overlay_root_open - tree stays the caller's, and the one thing that is left after the close. */
int overlay_root_open(struct build *b, enum overlay_kind kind, const struct build_view *lower,
        int tree, struct overlay_root *ret, struct error *err) must_check;
void overlay_root_spec(const struct overlay_root *r, struct sandbox_spec *s);
void overlay_root_close(struct build *b, struct overlay_root *r);

#endif
