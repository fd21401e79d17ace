/* build/image_layers.h - what images are made of, from the manifests of their layers alone: no file
 * is read and, where the layers are unpacked, no privilege is taken. */
#ifndef STRAKE_BUILD_IMAGE_LAYERS_H
#define STRAKE_BUILD_IMAGE_LAYERS_H

#include "build/image_rootfs.h"
#include "oci/oci.h"

/* An image's layers as a merged view. */
struct image_layers {
	struct oci_image config;
	struct treeview view;
	const struct tree **trees;
	struct store_lease *lease;
	struct image_rootfs *rootfs; /* where a layer had to be unpacked; else NULL */
};
int image_layers_open(struct store *s, const struct store_image *im, struct image_layers *ret,
        struct error *err) must_check;
void image_layers_release(struct image_layers *l);

/* --- one image -------------------------------------------------------------------------------- */

struct layer_report {
	const char *created_by; /* of its history entry; "" */
	struct digest diff_id;
	uint64_t size;
	uint64_t added, changed, removed; /* files: everything but directories */
	uint64_t wasted;                  /* bytes that a later layer hides */
};
struct wasted_path {
	const char *path;
	uint64_t bytes; /* of all its hidden copies */
	unsigned copies;
};
struct layers_report {
	struct layer_report *v; /* one a layer, the lowest first */
	size_t n;
	uint64_t total, wasted;
	struct wasted_path *paths; /* the most wasteful first */
	size_t n_paths;
};
/* image_layers_report - borrows from l. */
void image_layers_report(const struct image_layers *l, struct layers_report *ret);
void layers_report_release(struct layers_report *r);

/* --- two images ------------------------------------------------------------------------------- */

struct path_change {
	char kind; /* 'A' only in b, 'D' only in a, 'C' different */
	const char *path;
	const struct tree_entry *a, *b;   /* or NULL */
	const struct tree_entry *ca, *cb; /* what holds the bytes: hard links followed */
};
/* image_layers_compare - every path that differs, in order; times are not compared. Non-zero from
 * fn stops and is returned. */
int image_layers_compare(const struct image_layers *a, const struct image_layers *b,
        int (*fn)(void *ctx, const struct path_change *c), void *ctx);

#endif
