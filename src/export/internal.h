/* export/internal.h - what export/'s own files share. */
#ifndef STRAKE_EXPORT_INTERNAL_H
#define STRAKE_EXPORT_INTERNAL_H

#include "export/export.h"
#include "tar/writer.h"

#define EXPORT_LAYER_MAX (1ull << 40) /* uncompressed bytes of one layer */
#define EXPORT_MANIFEST_MAX (4 << 20)
#define EXPORT_CONFIG_MAX (8 << 20)

/* --- layer_blob.c ---------------------------------------------------------------------------- */

/* export_verify_sink - passes everything on; finish() fails with ERR_INTEGRITY, before next is
 * finished (and so before it publishes), unless digest and size are as expected. expect NULL: who
 * reads has checked the digest; size UINT64_MAX: any. Owns next. */
struct sink *export_verify_sink(
        struct sink *next, const struct digest *expect, uint64_t size, const char *what);
/* export_blame_layer - after a tree gave no tar, or another one: if it is damaged it is set aside,
 * the error says so, and the next attempt makes or fetches another. Returns -1. */
int export_blame_layer(struct store *s, const struct digest *diff_id, struct error *err);
/* export_layer_tar - the uncompressed tar of a layer into out (not finished). The bytes are the
 * layer's own if they hash to diff_id; the caller puts an export_verify_sink in front. */
int export_layer_tar(struct store *s, struct store_lease *l, const struct digest *diff_id,
        struct sink *out, struct error *err) must_check;
/* export_layer_tar_size - its exact length, by reading it through if nobody knows. */
int export_layer_tar_size(struct store *s, struct store_lease *l, const struct digest *diff_id,
        uint64_t *ret, struct error *err) must_check;
enum compression export_media_compression(const char *media_type);
/* export_known_blob - a blob that was seen to hold the layer, whether its bytes are here or not.
 * 1, 0. */
int export_known_blob(struct store *s, const struct digest *diff_id, enum compression c,
        struct oci_descriptor *ret, struct error *err) must_check;
/* export_layer_blob_here - 1: the blob that export_layer_blob would give is in the store; 0. */
int export_layer_blob_here(struct store *s, struct store_lease *l, const struct digest *diff_id,
        enum compression c, int level, bool force, struct oci_descriptor *ret,
        struct error *err) must_check;
/* export_layer_stream - compressed into `to` (owned), which is finished only if what went in was
 * the layer. */
int export_layer_stream(struct store *s, struct store_lease *l, const struct digest *diff_id,
        enum compression c, int level, unsigned n_threads, struct sink *to,
        struct error *err) must_check;
/* export_blame_blob - err is about what a blob says: if its bytes are damaged, say that and set it
 * aside. */
void export_blame_blob(struct store *s, const struct digest *d, struct error *err);

/* --- register.c ------------------------------------------------------------------------------ */

/* export_register_layers - tell the store which blobs carry the layers of a config; ERR_INTEGRITY
 * if their numbers differ. */
int export_register_layers(struct store *s, const struct oci_image *config,
        const struct oci_descriptor *layers, size_t n, const char *what,
        struct error *err) must_check;
/* export_tag_image - one name (canonical reference or "") for a stored config. */
int export_tag_image(struct store *s, const char *name, const struct digest *config_digest,
        const struct oci_image *config, const char *manifest_digest, uint64_t size,
        bool add_platform, struct error *err) must_check;

/* --- plan.c ---------------------------------------------------------------------------------- */

/* One blob that goes into a layout. Either it is a blob of the store, or a layer's plain tar that
 * is written straight from its tree. */
struct plan_blob {
	struct digest digest;
	uint64_t size;
	bool layer_tar; /* digest is a diff id */
};
struct plan_image {
	struct oci_image config;
	struct oci_descriptor config_desc, manifest;
	struct oci_descriptor *layers;
	size_t n_layers;
	const struct export_image *image;
	/* what carries its attestations: blobs, and the manifests over them */
	struct oci_descriptor *parts, *attests;
	size_t n_parts, cap_parts, n_attests, cap_attests;
};
struct plan {
	struct plan_image *images;
	size_t n_images;
	struct plan_blob *blobs; /* each digest once, sorted */
	size_t n_blobs, cap_blobs;
	struct oci_descriptor top; /* manifest, or index of several */
	bool indexed;              /* top is an index */
	bool referrers;            /* attestations are beside top, not inside */
};
void export_plan_release(struct plan *p);
/* plan_make - compress what must be, write configs and manifests into the store as blobs. plain:
 * layers stay plain tars (docker archives). */
int plan_make(struct plan *p, struct store *s, struct store_lease *l,
        const struct export_image *images, size_t n, const struct export_options *o, bool plain,
        struct pool *pool, struct error *err) must_check;

/* plan_add_text - a small blob of the store that goes along. */
int plan_add_text(struct plan *p, struct store *s, struct store_lease *l, const char *text,
        const char *media_type, struct oci_descriptor *ret, struct error *err) must_check;

/* --- attest.c -------------------------------------------------------------------------------- */

/* export_annotations - those of a kind, for a platform (NULL: all); a new object or NULL. */
json_t *export_annotations(const struct export_options *o, enum export_annotation_kind kind,
        const struct oci_platform *platform) must_check;
void plan_annotate(struct oci_descriptor *d, json_t *add); /* add is taken; may be NULL */
/* plan_attestations - after the image's manifest is known. */
int plan_attestations(struct plan *p, struct store *s, struct store_lease *l,
        const struct export_options *o, struct plan_image *im, struct error *err) must_check;
int plan_push_attestations(struct store *s, const struct plan_image *im,
        const struct export_options *o, struct error *err) must_check;

/* --- output.c -------------------------------------------------------------------------------- */

/* A file that appears under its name only when it is complete. "-" is standard output; a device or
 * FIFO is written as it is. */
struct output {
	int fd, dirfd;
	char *name, *temp;
	const char *shown;
	struct sink *sink; /* of fd */
};
int output_open(struct output *o, const char *path, struct error *err) must_check;
/* output_is_replaced - will path appear whole or not at all (a plain file)? */
bool output_is_replaced(const char *path);
int output_commit(struct output *o, struct error *err) must_check;
void output_release(struct output *o); /* removes what was not committed */

/* --- write_layout.c, write_rootfs.c ------------------------------------------------------------
 */

int write_layout_tar(struct store *s, struct store_lease *l, const struct plan *p,
        const struct export_options *o, struct error *err) must_check;
int write_layout_dir(struct store *s, struct store_lease *l, const struct plan *p,
        const struct export_options *o, struct error *err) must_check;
/* write_registry - what is left after the layers, which the plan pushed. */
int write_registry(struct store *s, const struct plan *p, const struct export_options *o,
        struct error *err) must_check;
int write_rootfs(struct store *s, struct store_lease *l, const struct export_image *images,
        size_t n, const struct export_options *o, struct error *err) must_check;

#endif
