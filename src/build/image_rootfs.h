/* build/image_rootfs.h - an image's root file system, opened for something that is no build:
 * containers, comparison of images. */
#ifndef STRAKE_BUILD_IMAGE_ROOTFS_H
#define STRAKE_BUILD_IMAGE_ROOTFS_H

#include "base/pool.h"
#include "sandbox/sandbox.h"
#include "store/store.h"
#include "tree/view.h"

/* How roots are put together here: by the kernel's overlay, by fuse-overlayfs, or as a copy. */
enum overlay_kind { OVERLAY_UNKNOWN, OVERLAY_KERNEL, OVERLAY_FUSE, OVERLAY_COPY };

struct image_rootfs {
	struct store_lease *lease; /* pins the layers; its staging is on their file system */
	struct treeview view;      /* the layers' manifests, lowest first */
	const int *fds;            /* and their directories */
	/* What overlayfs takes for the same content: no layer twice, no empty ones. */
	const int *lowers;
	size_t n_lowers;
	bool single_id;
	struct pool *pool;
	struct sandbox_context *sandbox;
	struct image_rootfs_private *private;
};

/* image_rootfs_open - every layer there, unpacked and loaded. Enters the process's privileges: it
 * must be single-threaded and has threads afterwards. Layers that are missing here are fetched if
 * the image's registry is known (name: what it was asked for as). config NULL: no image at all,
 * only the rights and a lease. */
int image_rootfs_open(struct store *s, const struct digest *config, const char *name,
        const volatile bool *interrupted, struct image_rootfs **ret, struct error *err) must_check;
/* image_rootfs_overlay - enum overlay_kind; -1: error. */
int image_rootfs_overlay(const struct image_rootfs *r, struct error *err) must_check;
/* image_rootfs_fetch - a file from a URL into a sink (not finished). */
struct sink;
int image_rootfs_fetch(const struct image_rootfs *r, const char *url, struct sink *to,
        struct error *err) must_check;
void image_rootfs_free(struct image_rootfs *r);
/* image_rootfs_end - no process runs in it any more: with its sandbox go the ports it held. */
void image_rootfs_end(struct image_rootfs *r);
static inline void image_rootfs_freep(struct image_rootfs **r)
{
	image_rootfs_free(*r);
}

/* image_find - a name or id in the store; a name that is not there is pulled (pull: "missing",
 * "always", "never"). 1, or -1. With a lease the image's parts are pinned by it from then on. */
struct image_find_options {
	const char *platform; /* NULL: the host's */
	const char *pull;     /* NULL: missing */
	bool quiet;           /* no progress */
	const volatile bool *interrupted;
};
int image_find(struct store *s, struct store_lease *l, const char *name,
        const struct image_find_options *o, struct store_image *ret, struct error *err) must_check;

#endif
