/* export/export.h - writing images out: OCI layout (directory or tar), docker archive, plain tar,
 * local directory; and back in: reading an OCI layout or docker archive into the store.
 * Everything streams; nothing is held in memory. */
#ifndef STRAKE_EXPORT_EXPORT_H
#define STRAKE_EXPORT_EXPORT_H

#include "base/pool.h"
#include "codec/stream.h"
#include "image/attest.h"
#include "oci/oci.h"
#include "store/store.h"

enum export_type { EXPORT_OCI, EXPORT_DOCKER, EXPORT_TAR, EXPORT_LOCAL, EXPORT_REGISTRY };

struct export_registry;

struct export_image {
	const struct oci_image *config;               /* complete */
	const char *config_json;                      /* exact bytes of the config blob */
	struct strv names;                            /* canonical references; may be empty */
	const struct image_attestation *attestations; /* in all outputs but DOCKER */
	size_t n_attestations;
};
enum export_annotation_kind {
	EXPORT_ON_MANIFEST,
	EXPORT_ON_MANIFEST_DESCRIPTOR,
	EXPORT_ON_INDEX,
	EXPORT_ON_INDEX_DESCRIPTOR, /* in index.json of a layout */
};
struct export_annotation {
	enum export_annotation_kind kind;
	bool has_platform; /* of manifests: only those for it */
	struct oci_platform platform;
	char *key, *value;
};

struct export_options {
	enum export_type type;
	const char *dest;             /* path; "-": stdout */
	bool tar;                     /* OCI/docker: tar file (default) or directory (tar=false) */
	enum compression compression; /* OCI; docker archives hold plain tars unless asked */
	int level;                    /* < 0: default */
	bool force_compression;       /* recompress base layers too */
	bool oci_mediatypes;          /* default true for EXPORT_OCI */
	bool rewrite_timestamp;
	int64_t epoch; /* with rewrite_timestamp */
	const struct export_annotation *annotations;
	size_t n_annotations;
	bool attest_referrers; /* attestations as OCI referrers instead of inside the index */
	unsigned n_threads;
	bool platform_split;                    /* LOCAL, TAR: a directory each for the platforms */
	bool index;                             /* OCI: an index even around a single manifest */
	const struct export_registry *registry; /* EXPORT_REGISTRY; see registry.h */
	/* DOCKER: the reader has this many of the lowest layers; their bytes are left out */
	size_t skip_layers;
};
/* export_write - all platforms of one build. rewrite_timestamp changes the new layers: the config
 * that comes out is then not the one given; ret_manifest is what was written (its digest names the
 * result). ret may be NULL. */
int export_write(struct store *s, struct store_lease *l, const struct export_image *images,
        size_t n, const struct export_options *o, struct pool *pool, struct oci_descriptor *ret,
        struct error *err) must_check;

/* export_layer_blob - the compressed form of a layer as a blob in the store (made if need be,
 * kept, and remembered with store_layer_set_blob); base layers keep the blob they came as. */
int export_layer_blob(struct store *s, struct store_lease *l, const struct digest *diff_id,
        enum compression c, int level, bool force, unsigned n_threads, bool docker_types,
        struct oci_descriptor *ret, struct error *err) must_check;

/* export_unpack_layer - a layer that is here only as a blob becomes a tree in the store. */
int export_unpack_layer(struct store *s, struct store_lease *l, const struct digest *diff_id,
        const struct oci_descriptor *blob, const struct store_layer **ret,
        struct error *err) must_check;

/* export_unpack_stream - the same from a stream of the blob's bytes (owned). Publishes if the tar
 * has the diff id, whatever the blob's digest is: that is the caller's to check, who then calls
 * export_remember_blob - blob was seen to hold the layer: known for later, and trusted. */
int export_unpack_stream(struct store *s, struct store_lease *l, const struct digest *diff_id,
        struct reader *blob, bool canonical, const struct store_layer **ret,
        struct error *err) must_check;
int export_remember_blob(struct store *s, const struct digest *diff_id,
        const struct oci_descriptor *blob, struct error *err) must_check;

/* A layer of ours that was written as a blob and not as a tree, because nothing was to open it. */
struct export_packed {
	struct digest tree, blob;
	uint64_t size, tar_size; /* as in struct store_layer */
};
/* export_packed_put - p->blob is not looked at: the descriptor says it. */
int export_packed_put(struct store *s, const struct digest *diff_id,
        const struct oci_descriptor *blob, const struct export_packed *p,
        struct error *err) must_check;
/* export_packed_get - 1: and its bytes are here; 0. */
int export_packed_get(struct store *s, const struct digest *diff_id, struct export_packed *ret,
        struct error *err) must_check;
/* export_packed_open - make its tree. 1; 0: it is no such layer, or its bytes are gone or damaged
 * (then set aside). */
int export_packed_open(struct store *s, struct store_lease *l, const struct digest *diff_id,
        const struct store_layer **ret, struct error *err) must_check;
/* export_layer_size - bytes of a layer's files, in whichever form it is here. 1, 0. */
int export_layer_size(struct store *s, struct store_lease *l, const struct digest *diff_id,
        uint64_t *ret, struct error *err) must_check;

/* export_import_layout - read the image for `want` out of an OCI layout directory
 * ("path", "path:tag", "path@sha256:..."): blobs are copied (verified) into the store and its
 * config digest returned. */
int export_import_layout(struct store *s, struct store_lease *l, const char *ref,
        const struct oci_platform *want, struct digest *ret_config, char **ret_manifest_digest,
        struct error *err) must_check;
/* export_layout_find - what a layout directory has under a digest or a tag (both NULL: "latest", or
 * its only entry). export_layout_blob - a blob of it into the store, checked. */
int export_layout_find(struct store *s, struct store_lease *l, const char *dir, const char *tag,
        const char *digest, struct oci_descriptor *ret, struct error *err) must_check;
int export_layout_blob(struct store *s, struct store_lease *l, const char *dir,
        const struct oci_descriptor *d, struct error *err) must_check;
/* export_artifact_dir - a document and its parts, all blobs of the store, into a layout directory
 * under a tag. */
int export_artifact_dir(struct store *s, struct store_lease *l, const char *dest, const char *tag,
        const struct oci_descriptor *top, const struct oci_descriptor *parts, size_t n,
        struct error *err) must_check;
/* export_load_archive - `docker save` archive or OCI layout tar, optionally compressed, from a
 * stream: every image is stored and tagged; names of what was loaded are appended. */
int export_load_archive(struct store *s, struct store_lease *l, struct reader *in,
        struct strv *ret_names, struct error *err) must_check;

#endif
