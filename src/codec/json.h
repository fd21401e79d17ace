/* codec/json.h - glue over jansson for hostile and for canonical JSON.
 *
 * Getters never fail loudly: they return NULL/default where a key is absent or of another type. */
#ifndef STRAKE_CODEC_JSON_H
#define STRAKE_CODEC_JSON_H

#include <jansson.h>
#include "base/error.h"
#include "base/strv.h"

/* json_decrefp is jansson's own */
#define _cleanup_json_ _cleanup_(json_decrefp)

/* json_parse - untrusted text: at most max_bytes, depth <= 64 (jansson's own limit is 2048),
 * duplicate keys rejected. ERR_INTEGRITY "<what>: ..." with line and column in the message. */
json_t *json_parse(
        const char *p, size_t n, size_t max_bytes, const char *what, struct error *err) must_check;
/* json_compact - compact text, keys in the order they were set (Go's field order is ours to set);
 * '<', '>', '&' are left as they are. */
char *json_compact(const json_t *j) must_check;
char *json_pretty(const json_t *j) must_check; /* 2-space indent */

const char *json_get_str(const json_t *obj, const char *key); /* NULL: absent or not a string */
int64_t json_get_int(const json_t *obj, const char *key, int64_t def);
bool json_get_bool(const json_t *obj, const char *key, bool def);
json_t *json_get_obj(const json_t *obj, const char *key);   /* borrowed; NULL unless object */
json_t *json_get_array(const json_t *obj, const char *key); /* borrowed; NULL unless array */
/* json_get_strv - append an array of strings; false if the key is there but is not one. */
bool json_get_strv(const json_t *obj, const char *key, struct strv *out);
json_t *json_from_strv(const struct strv *sv) must_check; /* array */
/* json_str - a JSON string of any bytes: invalid UTF-8 becomes U+FFFD (as Go's encoder does). */
json_t *json_str(const char *s) must_check;

#endif
