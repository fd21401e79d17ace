/* build/derive.h - images that no Dockerfile made: commit of a container, import of a tar. */
#ifndef STRAKE_BUILD_DERIVE_H
#define STRAKE_BUILD_DERIVE_H

#include "build/image_rootfs.h"
#include "oci/oci.h"
#include "tree/tree.h"

/* image_change - apply Dockerfile instructions that only change the configuration (CMD, ENV, LABEL,
 * USER, WORKDIR, ...) to im. ERR_USAGE names one that does more. */
int image_change(struct oci_image *im, const struct strv *changes, struct error *err) must_check;

/* image_add_layer - the staging directory `name` of r's lease, whose sub-directory "tree" (treefd)
 * holds t, becomes a layer of im. Without entries nothing is added. */
int image_add_layer(const struct image_rootfs *r, struct store *s, struct oci_image *im,
        const char *name, const struct tree *t, int treefd, struct error *err) must_check;

/* image_keep - store im, tagged `name` (as people write it) or, NULL, without a name. */
int image_keep(const struct image_rootfs *r, struct store *s, const struct oci_image *im,
        const char *name, struct digest *ret_id, struct error *err) must_check;

struct image_import_options {
	const char *source; /* file, "-" or http(s) URL */
	const char *name;   /* or NULL */
	const char *message, *platform;
	struct strv changes;
	const volatile bool *interrupted;
};
/* image_import - a tar of a root file system, compressed or not, as an image of one layer. */
int image_import(struct store *s, const struct image_import_options *o, struct digest *ret_id,
        struct error *err) must_check;

#endif
