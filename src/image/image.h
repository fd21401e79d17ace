/* image/image.h - results of a build -> config, manifest, index. May use oci. */
#ifndef STRAKE_IMAGE_IMAGE_H
#define STRAKE_IMAGE_IMAGE_H

#include "oci/oci.h"

struct image_layer {
	struct digest diff_id;
	bool from_base;
};
struct image_step {       /* history above the base, in order */
	const char *created_by, *comment;
	bool empty_layer;
	int64_t created_sec, created_nsec;
};
struct image_options {
	bool has_epoch;        /* SOURCE_DATE_EPOCH */
	int64_t epoch;
	int64_t now_sec, now_nsec;
	bool squash;           /* the new layers became one */
};
/* image_finish_config - base (config template from the graph: base history and diff ids) + layers
 * + history -> complete config. `created` is now, or epoch; times of new history likewise. */
int image_finish_config(const struct oci_image *templ, const struct image_layer *layers,
	size_t n_layers, const struct image_step *steps, size_t n_steps,
	const struct image_options *o, struct oci_image *ret, struct error *err) must_check;
/* image_manifest - descriptors given. docker=true: docker media types. */
char *image_manifest(const struct oci_descriptor *config, const struct oci_descriptor *layers,
	size_t n, bool docker, json_t *annotations) must_check;

#endif
