/* codec/json.c - see json.h.
 *
 * jansson does the parsing; this file adds the caps that hostile input needs (size, depth,
 * duplicate keys) and the few differences from what Go programs write. */
#include "codec/json.h"

#define JSON_DEPTH_MAX 64

/* depth_of - the deepest nesting of arrays and objects, read without recursion: the parser's
 * recursion must be bounded before it starts. Wrong on malformed text, which the parser refuses
 * anyway. */
static size_t depth_of(const char *p, size_t n)
{
	size_t depth = 0, max = 0;
	for (size_t i = 0; i < n; i++) {
		switch (p[i]) {
		case '"':
			for (i++; i < n && p[i] != '"'; i++)
				if (p[i] == '\\')
					i++;
			break;
		case '[':
		case '{':
			if (++depth > max)
				max = depth;
			break;
		case ']':
		case '}':
			if (depth)
				depth--;
			break;
		default:
			break;
		}
	}
	return max;
}

json_t *json_parse(const char *p, size_t n, size_t max_bytes, const char *what, struct error *err)
{
	if (n > max_bytes) {
		err_set(err, ERR_INTEGRITY, "%s: JSON text of %zu bytes is over the limit of %zu",
		        what, n, max_bytes);
		return NULL;
	}
	size_t depth = depth_of(p, n);
	if (depth > JSON_DEPTH_MAX) {
		err_set(err, ERR_INTEGRITY, "%s: JSON nested %zu deep; at most %d is accepted",
		        what, depth, JSON_DEPTH_MAX);
		return NULL;
	}
	json_error_t je;
	json_t *j = json_loadb(p, n, JSON_REJECT_DUPLICATES, &je);
	if (!j)
		err_set(err, ERR_INTEGRITY, "%s: not valid JSON: line %d, column %d: %s", what,
		        je.line, je.column, je.text);
	return j;
}

/* Dumping fails only for lack of memory: json_t values are always well formed. */
static char *dump(const json_t *j, size_t flags)
{
	char *s = json_dumps(j, flags | JSON_ENCODE_ANY);
	if (!s)
		abort();
	return s;
}

char *json_compact(const json_t *j)
{
	return dump(j, JSON_COMPACT);
}

char *json_pretty(const json_t *j)
{
	return dump(j, JSON_INDENT(2));
}

const char *json_get_str(const json_t *obj, const char *key)
{
	return json_string_value(json_object_get(obj, key));
}

int64_t json_get_int(const json_t *obj, const char *key, int64_t def)
{
	const json_t *v = json_object_get(obj, key);
	return json_is_integer(v) ? (int64_t)json_integer_value(v) : def;
}

bool json_get_bool(const json_t *obj, const char *key, bool def)
{
	const json_t *v = json_object_get(obj, key);
	return json_is_boolean(v) ? json_is_true(v) : def;
}

json_t *json_get_obj(const json_t *obj, const char *key)
{
	json_t *v = json_object_get(obj, key);
	return json_is_object(v) ? v : NULL;
}

json_t *json_get_array(const json_t *obj, const char *key)
{
	json_t *v = json_object_get(obj, key);
	return json_is_array(v) ? v : NULL;
}

bool json_get_strv(const json_t *obj, const char *key, struct strv *out)
{
	const json_t *v = json_object_get(obj, key), *it;
	size_t i;
	if (!v || json_is_null(v))
		return true;
	if (!json_is_array(v))
		return false;
	json_array_foreach(v, i, it) if (!json_is_string(it)) return false;
	json_array_foreach(v, i, it) strv_add(out, json_string_value(it));
	return true;
}

json_t *json_from_strv(const struct strv *sv)
{
	json_t *a = json_array();
	for (size_t i = 0; i < sv->n; i++)
		json_array_append_new(a, json_str(sv->v[i]));
	return a;
}

/* utf8_len - length of the valid sequence at p (n bytes left), 0 if invalid: the table of
 * Unicode 15, 3-7 (no overlong forms, no surrogates, nothing over U+10FFFF). */
static size_t utf8_len(const unsigned char *p, size_t n)
{
	unsigned lo = 0x80, hi = 0xbf;
	size_t len;
	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf) {
		len = 2;
	} else if (p[0] >= 0xe0 && p[0] <= 0xef) {
		len = 3;
		lo = p[0] == 0xe0 ? 0xa0 : 0x80;
		hi = p[0] == 0xed ? 0x9f : 0xbf;
	} else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
		len = 4;
		lo = p[0] == 0xf0 ? 0x90 : 0x80;
		hi = p[0] == 0xf4 ? 0x8f : 0xbf;
	} else {
		return 0;
	}
	if (n < len || p[1] < lo || p[1] > hi)
		return 0;
	for (size_t i = 2; i < len; i++)
		if (p[i] < 0x80 || p[i] > 0xbf)
			return 0;
	return len;
}

json_t *json_str(const char *s)
{
	json_t *j = json_string(s);
	if (j)
		return j;
	char *out = xmalloc(strlen(s) * 3 + 1), *o = out;
	for (size_t n = strlen(s); n;) {
		size_t len = utf8_len((const unsigned char *)s, n);
		if (len) {
			o = mempcpy(o, s, len);
		} else {
			o = mempcpy(o, "\xef\xbf\xbd", 3);
			len = 1;
		}
		s += len;
		n -= len;
	}
	*o = '\0';
	j = json_string(out);
	free(out);
	if (!j)
		abort();
	return j;
}
