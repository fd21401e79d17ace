/* The document of a remote cache on any bytes: what is taken is sorted, unique, and survives a
 * round through JSON. */
#include "image/cache_doc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct cache_doc *d)
{
	for (size_t i = 0; i < d->n_records; i++) {
		if (i && memcmp(&d->records[i - 1].key, &d->records[i].key,
		                 sizeof(struct digest)) >= 0)
			abort();
		if (cache_doc_find(d, &d->records[i].key) != &d->records[i])
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err = ERROR_INIT;
	struct cache_doc d = {0}, again = {0};
	_cleanup_json_ json_t *j =
	        json_parse((const char *)data, size, CACHE_DOC_MAX, "fuzz", &err);
	if (j && cache_doc_parse(j, "fuzz", &d, &err) == 0) {
		check(&d);
		_cleanup_json_ json_t *k = cache_doc_json(&d, true);
		if (cache_doc_parse(k, "fuzz", &again, &err) < 0 ||
		        again.n_records != d.n_records || again.n_layers != d.n_layers)
			abort();
	}
	cache_doc_release(&again);
	cache_doc_release(&d);
	error_release(&err);
	return 0;
}
