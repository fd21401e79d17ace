/* image/cache_doc.h - the records of a remote cache as JSON (docs/formats/remote-cache.md). Pure.
 *
 * Invariants of a parsed document: records are sorted by key, each key once; layers name no diff id
 * twice. Anything else is refused as a whole: it is hostile input. */
#ifndef STRAKE_IMAGE_CACHE_DOC_H
#define STRAKE_IMAGE_CACHE_DOC_H

#include "oci/oci.h"

#define CACHE_MT_CONFIG "application/vnd.strake.cache.config.v1+json"
#define CACHE_INLINE_KEY "dev.strake.cache.v1" /* of an image config: an inline cache */
#define CACHE_DOC_MAX ((size_t)16 << 20)

struct cache_record {
	struct digest key, diff_id, tree;
	int64_t created_sec, created_nsec;
	uint64_t cost_ms;
};
struct cache_doc {
	struct cache_record *records;
	size_t n_records, cap_records;
	struct digest *layers; /* diff ids, in the order of the manifest's layers; inline: none */
	size_t n_layers, cap_layers;
};
void cache_doc_release(struct cache_doc *d);
void cache_doc_add_record(struct cache_doc *d, const struct cache_record *r);
void cache_doc_add_layer(struct cache_doc *d, const struct digest *diff_id);
/* cache_doc_sort - by key; of equal keys the last added stays. */
void cache_doc_sort(struct cache_doc *d);
const struct cache_record *cache_doc_find(const struct cache_doc *d, const struct digest *key);

/* cache_doc_json - costs: with the time each step took, which differs from run to run. */
json_t *cache_doc_json(const struct cache_doc *d, bool costs) must_check;
/* cache_doc_parse - ERR_INTEGRITY says what is wrong. ret is untouched on failure. */
int cache_doc_parse(
        const json_t *j, const char *what, struct cache_doc *ret, struct error *err) must_check;

#endif
