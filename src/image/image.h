/* image/image.h - results of a build -> config, manifest, index. May use oci. Pure.
 *
 * Equal results have equal bytes: a build whose steps all came from the cache gives the same image
 * id as the build that ran them, because times come from the steps' records, not from the clock. */
#ifndef STRAKE_IMAGE_IMAGE_H
#define STRAKE_IMAGE_IMAGE_H

#include "oci/oci.h"

struct image_layer {
	struct digest diff_id;
	bool from_base;
};
struct image_step { /* history above the base, in order */
	const char *created_by, *comment;
	bool empty_layer;
	/* When the step ran (from its record if cached). 0/0: not known (metadata-only steps): it
	 * takes the time of the nearest earlier step, else of the next one, else of the base. */
	int64_t created_sec, created_nsec;
};
struct image_options {
	bool has_epoch; /* SOURCE_DATE_EPOCH */
	int64_t epoch;
	int64_t now_sec, now_nsec; /* used only where neither a step nor the base has a time */
	bool squash; /* the new layers became one: the last step that had a layer gets it */
};
/* image_is_dated - false: `now` will be its time. */
bool image_is_dated(const struct oci_image *templ, const struct image_step *steps, size_t n_steps,
        const struct image_options *o) must_check;
/* image_finish_config - base (config template from the graph: base history and diff ids) + layers
 * + history -> complete config.
 *
 * layers: either all layers of the image, those of the base first and marked from_base (they must
 * be the template's diff ids), or only the new ones (none marked): then they follow the template's.
 * `created` is the time of the last step, or epoch if that is set; new history times are clamped to
 * epoch. ERR_INTERNAL if layers and non-empty steps do not match in number. ret is
 * initialised here and is the caller's to release; untouched on failure. */
int image_finish_config(const struct oci_image *templ, const struct image_layer *layers,
        size_t n_layers, const struct image_step *steps, size_t n_steps,
        const struct image_options *o, struct oci_image *ret, struct error *err) must_check;

/* image_media_type - the OCI (docker=false) or docker name of a manifest, index, config or layer
 * media type in either family; others are returned as they are. Returns mt or static storage. */
const char *image_media_type(const char *mt, bool docker);
/* image_layer_media_type - of a tar compressed as "gzip" or "zstd"; any other name: not at all. */
const char *image_layer_media_type(const char *compression, bool docker);
/* image_manifest - JSON of a manifest over the given descriptors, whose media types are brought to
 * one family. docker=true: docker media types. annotations (borrowed, may be NULL) are an OCI
 * notion: with docker=true they are refused by the caller, not here. */
char *image_manifest(const struct oci_descriptor *config, const struct oci_descriptor *layers,
        size_t n, bool docker, json_t *annotations) must_check;
/* image_index - JSON of an index (docker: manifest list) over manifests. */
char *image_index(const struct oci_descriptor *manifests, size_t n, bool docker,
        json_t *annotations) must_check;

#endif
