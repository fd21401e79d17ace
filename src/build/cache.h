/* build/cache.h - remote caches: --cache-from and --cache-to.
 *
 * A cache is a list of step records and the layers that they name (docs/formats/remote-cache.md).
 * Importing reads the list when the first step is not on record here, and a layer when its files
 * are needed. Nothing about a cache can fail a build: whatever is wrong with one, it is said in one
 * line, the cache is dropped, and what depended on it is built. */
#ifndef STRAKE_BUILD_CACHE_H
#define STRAKE_BUILD_CACHE_H

#include "build/internal.h"
#include "export/export.h"
#include "image/cache_doc.h"

enum cache_type { CACHE_REGISTRY, CACHE_LOCAL, CACHE_INLINE };

struct cache_spec {
	enum cache_type type;
	char *shown;              /* as the user gave it, for messages */
	char *ref;                /* REGISTRY: as given */
	char *dir, *tag, *digest; /* LOCAL */
	/* cache-to: */
	bool max, ignore_error, oci_types, image_manifest, force;
	enum compression compression;
	int level;
	bool insecure;
};

/* One list of records with the layers it has; a multi-platform inline cache has several. */
struct cache_list {
	struct cache_doc doc;
	struct oci_descriptor *blobs; /* parallel to diff_ids */
	struct digest *diff_ids;
	size_t n;
	bool *used; /* parallel to doc.records */
};
struct cache_source {
	struct cache_spec spec;
	struct oci_ref ref; /* REGISTRY */
	struct cache_list *lists;
	size_t n_lists, cap_lists;
	bool loaded, dead;
};

/* cache_spec.c */
int cache_spec_parse(
        const char *text, bool to, struct cache_spec *ret, struct error *err) must_check;
void cache_spec_release(struct cache_spec *s);
/* build_parse_caches - of the build's options; while single-threaded. */
int build_parse_caches(struct build *b, struct error *err) must_check;
void build_free_caches(struct build *b);

/* cache_import.c; any thread. */
/* cache_lookup - a record of a cache. Loads the lists, or else asks those that are loaded. */
bool cache_lookup(struct build *b, const struct digest *key, bool load, struct step_record *ret);
/* cache_offers - can the layer be fetched? Loads the lists, too. */
bool cache_offers(struct build *b, const struct digest *diff_id);
/* cache_descriptor - where it is: 1 in a registry (ret, ret_ref borrowed), 0. */
int cache_descriptor(struct build *b, const struct digest *diff_id, struct oci_descriptor *ret,
        const struct oci_ref **ret_ref);
/* cache_fetch_chain - those layers of the chain that are missing and offered, unpacked. What fails
 * drops its cache; the caller sees that the layers are still missing. -1: interrupted. */
int cache_fetch_chain(struct build *b, const struct rootfs *chain, struct error *err) must_check;
/* cache_fetch_blob - only the bytes, for a push. ERR_NOT_FOUND if nobody has them. */
int cache_fetch_blob(struct build *b, const struct digest *diff_id, struct error *err) must_check;

/* cache_keep - the build went well: what it took from caches goes on record here. */
int cache_keep(struct build *b, struct error *err) must_check;

/* cache_export.c */
/* cache_note_used - this build looked the record up, or made it. */
void cache_note_used(struct build *b, const struct digest *key, const struct step_record *r);
/* build_inline_cache - into the config of an image; harmless if none was asked for. */
void build_inline_cache(
        struct build *b, const struct solve_output *outputs, struct oci_image *config);
/* build_export_caches - after the outputs. */
int build_export_caches(
        struct build *b, const struct solve_output *outputs, struct error *err) must_check;

#endif
