/* image/cache_doc.c - see cache_doc.h. */
#include "image/cache_doc.h"

#define VERSION 1
#define RECORDS_MAX 200000
#define LAYERS_MAX 20000

void cache_doc_release(struct cache_doc *d)
{
	free(d->records);
	free(d->layers);
	*d = (struct cache_doc){0};
}

void cache_doc_add_record(struct cache_doc *d, const struct cache_record *r)
{
	vec_grow(&d->records, &d->cap_records, d->n_records + 1);
	d->records[d->n_records++] = *r;
}

void cache_doc_add_layer(struct cache_doc *d, const struct digest *diff_id)
{
	vec_grow(&d->layers, &d->cap_layers, d->n_layers + 1);
	d->layers[d->n_layers++] = *diff_id;
}

static int digest_cmp(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct digest)); /* also of records: the key comes first */
}

void cache_doc_sort(struct cache_doc *d)
{
	size_t n = 0;
	/* glibc's qsort merges, so equal keys keep their order where memory allows; which of two
	 * results of one step stays does not matter. */
	if (d->n_records)
		qsort(d->records, d->n_records, sizeof(*d->records), digest_cmp);
	for (size_t i = 0; i < d->n_records; i++) {
		if (n > 0 && digest_eq(&d->records[n - 1].key, &d->records[i].key))
			n--;
		d->records[n++] = d->records[i];
	}
	d->n_records = n;
}

const struct cache_record *cache_doc_find(const struct cache_doc *d, const struct digest *key)
{
	return d->n_records
	               ? bsearch(key, d->records, d->n_records, sizeof(*d->records), digest_cmp)
	               : NULL;
}

/* --- JSON --------------------------------------------------------------------------------------
 */

static void set_digest(json_t *j, const char *key, const struct digest *d)
{
	char s[DIGEST_STR_MAX];
	json_object_set_new(j, key, json_str(digest_str(d, s)));
}

json_t *cache_doc_json(const struct cache_doc *d, bool costs)
{
	json_t *j = json_object(), *layers = json_array(), *records = json_array();
	char s[DIGEST_STR_MAX];
	json_object_set_new(j, "version", json_integer(VERSION));
	for (size_t i = 0; i < d->n_layers; i++)
		json_array_append_new(layers, json_str(digest_str(&d->layers[i], s)));
	for (size_t i = 0; i < d->n_records; i++) {
		const struct cache_record *r = &d->records[i];
		json_t *e = json_object();
		set_digest(e, "key", &r->key);
		set_digest(e, "diff_id", &r->diff_id);
		set_digest(e, "tree", &r->tree);
		json_object_set_new(e, "created", json_integer(r->created_sec));
		json_object_set_new(e, "created_ns", json_integer(r->created_nsec));
		if (costs)
			json_object_set_new(e, "cost_ms", json_integer((json_int_t)r->cost_ms));
		json_array_append_new(records, e);
	}
	if (d->n_layers)
		json_object_set_new(j, "layers", layers);
	else
		json_decref(layers);
	json_object_set_new(j, "records", records);
	return j;
}

static bool get_digest(const json_t *j, const char *key, struct digest *ret)
{
	const char *s = json_get_str(j, key);
	return s && digest_parse(s, ret);
}

static int bad(const char *what, const char *why, size_t i, struct error *err)
{
	return err_set(err, ERR_INTEGRITY, "%s: %s (number %zu)", what, why, i);
}

static int parse_records(
        const json_t *list, const char *what, struct cache_doc *d, struct error *err)
{
	size_t n = json_array_size(list);
	if (n > RECORDS_MAX)
		return bad(what, "too many records", n, err);
	for (size_t i = 0; i < n; i++) {
		const json_t *e = json_array_get(list, i);
		struct cache_record r = {0};
		if (!get_digest(e, "key", &r.key) || !get_digest(e, "diff_id", &r.diff_id) ||
		        !get_digest(e, "tree", &r.tree))
			return bad(what, "a record without its digests", i, err);
		r.created_sec = json_get_int(e, "created", 0);
		r.created_nsec = json_get_int(e, "created_ns", 0);
		int64_t cost = json_get_int(e, "cost_ms", 0);
		r.cost_ms = cost > 0 ? (uint64_t)cost : 0;
		/* Years 1 to 9999: what RFC 3339 can say. */
		if (r.created_sec < -62135596800 || r.created_sec > 253402300799 ||
		        r.created_nsec < 0 || r.created_nsec > 999999999)
			return bad(what, "a record of an impossible time", i, err);
		cache_doc_add_record(d, &r);
	}
	cache_doc_sort(d);
	return 0;
}

static int parse_layers(
        const json_t *list, const char *what, struct cache_doc *d, struct error *err)
{
	size_t n = list ? json_array_size(list) : 0;
	if (n > LAYERS_MAX)
		return bad(what, "too many layers", n, err);
	for (size_t i = 0; i < n; i++) {
		struct digest diff;
		const char *s = json_string_value(json_array_get(list, i));
		if (!s || !digest_parse(s, &diff))
			return bad(what, "a layer without a digest", i, err);
		cache_doc_add_layer(d, &diff);
	}
	_cleanup_free_ struct digest *sorted = new0(struct digest, n + 1);
	if (n)
		memcpy(sorted, d->layers, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), digest_cmp);
	for (size_t i = 1; i < n; i++)
		if (digest_eq(&sorted[i - 1], &sorted[i]))
			return bad(what, "a layer is there twice", i, err);
	return 0;
}

int cache_doc_parse(const json_t *j, const char *what, struct cache_doc *ret, struct error *err)
{
	struct cache_doc d = {0};
	const json_t *records = json_get_array(j, "records");
	if (json_get_int(j, "version", 0) != VERSION)
		return err_set(err, ERR_INTEGRITY, "%s: not a cache of version %d", what, VERSION);
	if (!records)
		return err_set(err, ERR_INTEGRITY, "%s: no records", what);
	if (parse_records(records, what, &d, err) < 0 ||
	        parse_layers(json_get_array(j, "layers"), what, &d, err) < 0) {
		cache_doc_release(&d);
		return -1;
	}
	*ret = d;
	return 0;
}
