/* build/overlay.h - how a step gets its root file system: the kernel's overlay, fuse-overlayfs, or
 * a plain copy, in that order; STRAKE_OVERLAY=kernel|fuse|copy forces one. */
#ifndef STRAKE_BUILD_OVERLAY_H
#define STRAKE_BUILD_OVERLAY_H

#include "build/exec_run.h"

enum build_overlay { OVERLAY_UNKNOWN, OVERLAY_KERNEL, OVERLAY_FUSE, OVERLAY_COPY };
/* build_overlay - decided at the first step of a build. -1: error. */
int build_overlay(struct build *b, struct error *err) must_check;
/* overlay_run - the step in a root of our own making (FUSE, COPY): its layer in st->dir. run:
 * starts the process with the spec and waits. */
int overlay_run(struct build *b, struct run_state *st, enum build_overlay kind,
        int (*run)(struct build *b, struct run_state *st, struct sandbox_spec *spec,
                struct error *err),
        struct tree *t, struct error *err) must_check;
/* overlay_copy - a view as a directory that may be written to and is thrown away with d. */
int overlay_copy(struct build *b, const struct build_view *v, struct layer_dir *d,
        struct error *err) must_check;

#endif
