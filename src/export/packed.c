/* export/packed.c - layers of ours that are only a compressed blob.
 *
 * What nothing of a build is going to open is written as the blob that the output wants, and not as
 * a tree as well. A record says what its manifest would; the tree is made when somebody asks. */
#include "export/internal.h"

#include "codec/json.h"

#define RECORD_PACKED "packed"

int export_packed_put(struct store *s, const struct digest *diff_id,
        const struct oci_descriptor *blob, const struct export_packed *p, struct error *err)
{
	char l[DIGEST_STR_MAX], t[DIGEST_STR_MAX], d[DIGEST_STR_MAX];
	/* The collector keeps records that name a kept layer. */
	_cleanup_free_ char *text = xasprintf("{\"layer\":\"%s\",\"tree\":\"%s\",\"blob\":\"%s\","
	                                      "\"size\":%llu,\"tar_size\":%llu}",
	        digest_str(diff_id, l), digest_str(&p->tree, t), digest_str(&blob->digest, d),
	        (unsigned long long)p->size, (unsigned long long)p->tar_size);
	if (export_remember_blob(s, diff_id, blob, err) < 0)
		return -1;
	return store_record_put(s, RECORD_PACKED, diff_id, text, err);
}

int export_packed_get(
        struct store *s, const struct digest *diff_id, struct export_packed *ret, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	int rc = store_record_get(s, RECORD_PACKED, diff_id, &text, err);
	if (rc <= 0)
		return rc;
	_cleanup_error_ struct error ignored = ERROR_INIT;
	_cleanup_json_ json_t *j = json_parse(text, strlen(text), 4096, RECORD_PACKED, &ignored);
	const char *t = json_get_str(j, "tree"), *d = json_get_str(j, "blob");
	struct export_packed p = {0};
	if (!t || !d || !digest_parse(t, &p.tree) || !digest_parse(d, &p.blob))
		return 0;
	p.size = (uint64_t)json_get_int(j, "size", 0);
	p.tar_size = (uint64_t)json_get_int(j, "tar_size", 0);
	if (!store_blob_has(s, &p.blob, NULL))
		return 0;
	store_touch_record(s, RECORD_PACKED, diff_id);
	*ret = p;
	return 1;
}

int export_packed_open(struct store *s, struct store_lease *l, const struct digest *diff_id,
        const struct store_layer **ret, struct error *err)
{
	struct export_packed p;
	struct reader *raw = NULL;
	int rc = export_packed_get(s, diff_id, &p, err);
	if (rc <= 0)
		return rc;
	rc = store_blob_reader(s, &p.blob, &raw, err);
	if (rc >= 0)
		rc = export_unpack_stream(s, l, diff_id, raw, true, ret, err);
	if (rc >= 0)
		return 1;
	if (err->class != ERR_INTEGRITY && err->class != ERR_NOT_FOUND)
		return -1;
	export_blame_blob(s, &p.blob, err);
	/* The bytes were damaged and are set aside now: as if there were none. */
	if (store_blob_has(s, &p.blob, NULL))
		return -1;
	error_release(err);
	return 0;
}

int export_layer_size(struct store *s, struct store_lease *l, const struct digest *diff_id,
        uint64_t *ret, struct error *err)
{
	const struct store_layer *layer;
	struct export_packed p;
	int rc = store_layer_get(s, l, diff_id, 0, &layer, err);
	if (rc > 0) {
		*ret = layer->size;
		return 1;
	}
	if (rc == 0)
		rc = export_packed_get(s, diff_id, &p, err);
	if (rc > 0)
		*ret = p.size;
	return rc;
}
