/* export/registry.h - a repository of a registry as the place where images go.
 *
 * Order: blobs, then configs, manifests, and the tag last, so that a reader never sees a tag whose
 * parts are missing. What the repository has is not sent; what another repository of the same
 * registry is known to have is mounted from there; the rest goes up, while it is compressed where
 * that must still happen. Thread-safe. */
#ifndef STRAKE_EXPORT_REGISTRY_H
#define STRAKE_EXPORT_REGISTRY_H

#include "codec/stream.h"
#include "oci/oci.h"
#include "registry/registry.h"
#include "store/store.h"

struct export_registry {
	struct registry_client *client;
	const struct oci_ref *ref; /* domain, path, tag */
	bool by_digest;            /* no tag is set */
	/* origin - of a layer that came with an image: its descriptor there, though its bytes may
	 * not be here. 1, 0. May be NULL. */
	int (*origin)(void *ctx, const struct digest *diff_id, struct oci_descriptor *ret);
	/* fetch - get the bytes of such a layer into the store. May be NULL. */
	int (*fetch)(void *ctx, const struct digest *diff_id, struct error *err);
	void (*note)(void *ctx, const char *line); /* for the progress display. May be NULL */
	void *ctx;
};

/* export_remember_origin - the repository has this blob: other repositories of the registry can
 * mount it. Failure to remember is no failure. */
void export_remember_origin(
        struct store *s, const struct digest *blob, const struct oci_ref *where);

/* export_push_offer - is the blob there, or can it be mounted? 1 yes, 0 no. */
int export_push_offer(struct store *s, const struct export_registry *r,
        const struct oci_descriptor *d, struct error *err) must_check;
/* export_push_blob - a blob of the store. */
int export_push_blob(struct store *s, const struct export_registry *r,
        const struct oci_descriptor *d, struct error *err) must_check;
/* export_push_manifest - under the tag, or by its digest alone. 1: listed as a referrer. */
int export_push_manifest(const struct export_registry *r, const char *text, size_t n,
        const char *media_type, bool tag, struct error *err) must_check;

struct export_push_layer {
	const struct digest *diff_id;
	enum compression compression;
	int level;
	bool force, docker_types;
	unsigned n_threads;
};
/* export_push_layer - a layer in the form asked for (base layers as they came, unless force).
 * ERR_NOT_FOUND if its bytes are nowhere. */
int export_push_layer(struct store *s, struct store_lease *l, const struct export_registry *r,
        const struct export_push_layer *p, struct oci_descriptor *ret,
        struct error *err) must_check;

#endif
