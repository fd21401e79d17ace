/* build/fuse_overlay.h - an overlay by fuse-overlayfs, where the kernel's does not serve.
 *
 * The program serves the mount as long as this process lives; its mount point is in our own mount
 * namespace. What it leaves in an upper directory: layer_plain_fuse(). */
#ifndef STRAKE_BUILD_FUSE_OVERLAY_H
#define STRAKE_BUILD_FUSE_OVERLAY_H

#include "base/error.h"

struct fuse_overlay {
	int root;       /* the mounted root directory */
	int dir, pidfd; /* private */
};
#define FUSE_OVERLAY_NONE                                                                          \
	{                                                                                          \
		.root = -1, .dir = -1, .pidfd = -1                                                 \
	}

/* fuse_overlay_there - are program and device on this machine? */
bool fuse_overlay_there(void);
/* fuse_overlay_start - lowers: lowest first, may be none. upper < 0: read-only. dir: a directory
 * with an empty one named `tree` in it, the mount point. The calling thread must not end before
 * fuse_overlay_stop(). */
int fuse_overlay_start(const int *lowers, size_t n, int upper, int work, int dir,
        struct fuse_overlay *ret, struct error *err) must_check;
/* fuse_overlay_stop - everything is written to the upper directory then; again is fine. */
void fuse_overlay_stop(struct fuse_overlay *f);

#endif
