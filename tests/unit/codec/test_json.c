/* JSON glue: the caps on hostile text (RELIABILITY T12) and the text we write. */
#include "codec/json.h"
#include "../tap.h"

static json_t *parse(const char *s, struct error *err)
{
	return json_parse(s, strlen(s), 1 << 20, "doc", err);
}

static void refused(const char *s, const char *part, const char *what)
{
	_cleanup_error_ struct error err = ERROR_INIT;
	_cleanup_json_ json_t *j = parse(s, &err);
	ok(!j && err.class == ERR_INTEGRITY && strstr(err.msg, part), what);
	if (err.msg && !strstr(err.msg, part))
		printf("#   %s\n", err.msg);
}

static char *nested(size_t depth)
{
	char *s = xmalloc(2 * depth + 1);
	memset(s, '[', depth);
	memset(s + depth, ']', depth);
	s[2 * depth] = '\0';
	return s;
}

static void caps(void)
{
	refused("{\"a\":1,\"a\":2}", "duplicate object key", "duplicate keys");
	refused("{\"a\":", "line 1", "truncated text has a place");
	refused("{\"a\":\"\\u0000\"}", "doc: not valid JSON", "NUL in a string");
	refused("{} x", "end of file expected", "garbage behind the document");
	_cleanup_free_ char *ok64 = nested(64), *bad65 = nested(65), *bad10k = nested(10000);
	_cleanup_error_ struct error err = ERROR_INIT;
	_cleanup_json_ json_t *j = parse(ok64, &err);
	ok(j != NULL, "64 levels are fine");
	refused(bad65, "nested 65 deep", "65 are not");
	refused(bad10k, "nested 10000 deep", "10,000 are not");
	_cleanup_json_ json_t *k = parse("{\"a\":\"[[[[\\\"[[\"}", &err);
	ok(k != NULL, "brackets in strings do not count");
	_cleanup_json_ json_t *big = json_parse("[      ]", 8, 7, "doc", &err);
	ok(!big && strstr(err.msg, "over the limit of 7"), "size cap");
}

static void getters(void)
{
	_cleanup_error_ struct error err = ERROR_INIT;
	_cleanup_json_ json_t *j = parse("{\"s\":\"x\",\"i\":5,\"b\":true,\"o\":{},\"a\":[\"p\","
	                                 "\"q\"],\"m\":[\"p\",1],\"n\":null}",
	        &err);
	is_str(json_get_str(j, "s"), "x", "string");
	ok(!json_get_str(j, "i") && !json_get_str(j, "none") && !json_get_str(NULL, "s"),
	        "not a string");
	is_int(json_get_int(j, "i", 1), 5, "integer");
	is_int(json_get_int(j, "s", -1), -1, "not an integer");
	ok(json_get_bool(j, "b", false) && json_get_bool(j, "none", true), "booleans");
	ok(json_get_obj(j, "o") && !json_get_obj(j, "a") && json_get_array(j, "a"), "containers");
	_cleanup_strv_ struct strv sv = STRV_INIT;
	ok(json_get_strv(j, "a", &sv) && sv.n == 2 && str_eq(sv.v[1], "q"), "list of strings");
	ok(!json_get_strv(j, "m", &sv) && sv.n == 2, "a mixed list adds nothing");
	ok(json_get_strv(j, "none", &sv) && json_get_strv(j, "n", &sv) && sv.n == 2,
	        "absent or null");
	ok(!json_get_strv(j, "s", &sv), "a string is no list");
}

static void writing(void)
{
	_cleanup_json_ json_t *o = json_object();
	json_object_set_new(o, "z", json_str("a<b>&/\xc3\xa9"));
	json_object_set_new(o, "a",
	        json_str("\xff"
	                 "x\xe2\x82"));
	_cleanup_strv_ struct strv sv = STRV_INIT;
	strv_add(&sv, "p");
	json_object_set_new(o, "v", json_from_strv(&sv));
	_cleanup_free_ char *s = json_compact(o);
	is_str(s,
	        "{\"z\":\"a<b>&/"
	        "\xc3\xa9\",\"a\":\"\xef\xbf\xbdx\xef\xbf\xbd\xef\xbf\xbd\",\"v\":[\"p\"]}",
	        "order of setting, nothing escaped needlessly, bad UTF-8 replaced");
	_cleanup_free_ char *p = json_pretty(json_object_get(o, "v"));
	is_str(p, "[\n  \"p\"\n]", "two spaces");
}

int main(void)
{
	caps();
	getters();
	writing();
	return tap_done();
}
