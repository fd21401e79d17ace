/* Manifests and indexes: round trip, and the confusions that must be refused (RELIABILITY T11,
 * T12). */
#include "oci/oci.h"
#include "base/strbuf.h"
#include "../tap.h"

#define A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define CONFIG "{\"mediaType\":\"" OCI_MT_CONFIG "\",\"digest\":\"" A "\",\"size\":10}"
#define LAYER "{\"mediaType\":\"" OCI_MT_LAYER_GZIP "\",\"digest\":\"" B "\",\"size\":20}"
#define MANIFEST                                                                                   \
	"{\"schemaVersion\":2,\"mediaType\":\"" OCI_MT_MANIFEST "\",\"config\":" CONFIG            \
	",\"layers\":[" LAYER "],\"annotations\":{\"a\":\"1\",\"b\":\"2\"}}"

struct doc {
	enum oci_doc kind;
	struct oci_manifest m;
	struct oci_index i;
	struct error err;
};

static void doc_release(struct doc *d)
{
	oci_manifest_release(&d->m);
	oci_index_release(&d->i);
	error_release(&d->err);
}

static int parse(const char *s, const char *type, struct doc *d)
{
	return oci_doc_parse(s, strlen(s), type, "x:latest", &d->kind, &d->m, &d->i, &d->err);
}

static void manifest(void)
{
	_cleanup_(doc_release) struct doc d = {0};
	ok(parse(MANIFEST, OCI_MT_MANIFEST "; charset=utf-8", &d) == 0 &&
	                d.kind == OCI_DOC_MANIFEST,
	        "a manifest");
	ok(d.m.n_layers == 1 && d.m.layers[0].size == 20 && d.m.layers[0].digest.b[0] == 0xbb &&
	                d.m.config.digest.b[0] == 0xaa,
	        "its parts");
	_cleanup_free_ char *s = oci_manifest_encode(&d.m);
	is_str(s, MANIFEST, "encodes to what it was");
	_cleanup_(doc_release) struct doc e = {0};
	ok(parse(MANIFEST, NULL, &e) == 0 && e.kind == OCI_DOC_MANIFEST, "no content type");
	_cleanup_(doc_release) struct doc f = {0};
	ok(parse(MANIFEST, "application/json", &f) == 0, "a content type that says nothing");
}

#define PLATFORM(os, arch, variant)                                                                \
	"\"platform\":{\"architecture\":\"" arch "\",\"os\":\"" os "\"" variant "}"
#define ENTRY(digest, platform)                                                                    \
	"{\"mediaType\":\"" OCI_MT_MANIFEST "\",\"digest\":\"" digest "\",\"size\":5," platform "}"
#define INDEX                                                                                      \
	"{\"schemaVersion\":2,\"mediaType\":\"" OCI_MT_INDEX                                       \
	"\",\"manifests\":[" ENTRY(A, PLATFORM("linux", "arm", ",\"variant\":\"v6\"")) "," ENTRY(  \
	        B, PLATFORM("linux", "arm", ",\"variant\":\"v7\"")) "," ENTRY(A,                   \
	        PLATFORM("unknown", "unknown", "")) "," ENTRY(B,                                   \
	        PLATFORM("linux", "amd64", "")) "]}"

static int select_(const struct oci_index *i, const char *want, struct error *err)
{
	struct oci_platform p;
	size_t at = 99;
	if (oci_platform_parse(want, &p, err) < 0)
		abort();
	return oci_index_select(i, &p, "x:latest", &at, err) < 0 ? -1 : (int)at;
}

static void index_(void)
{
	_cleanup_(doc_release) struct doc d = {0};
	_cleanup_error_ struct error err = ERROR_INIT;
	ok(parse(INDEX, OCI_MT_INDEX, &d) == 0 && d.kind == OCI_DOC_INDEX && d.i.n_manifests == 4,
	        "an index");
	_cleanup_free_ char *s = oci_index_encode(&d.i);
	is_str(s, INDEX, "encodes to what it was");
	is_int(select_(&d.i, "linux/arm/v7", &err), 1, "exact variant before older");
	is_int(select_(&d.i, "linux/arm/v8", &err), 1, "nearest variant");
	is_int(select_(&d.i, "linux/arm/v6", &err), 0, "v6");
	is_int(select_(&d.i, "linux/amd64", &err), 3, "amd64");
	is_int(select_(&d.i, "linux/arm64", &err), -1, "not there");
	ok(err.class == ERR_NOT_FOUND && str_eq(err.msg, "x:latest: no image for linux/arm64") &&
	                strstr(err.hint, "linux/arm/v6, linux/arm/v7, linux/amd64;"),
	        "and what is");
	error_release(&err);
	is_int(select_(&d.i, "unknown/unknown", &err), -1, "attestations are never chosen");
}

static void refused(const char *s, const char *type, const char *part)
{
	_cleanup_(doc_release) struct doc d = {0};
	if (!ok(parse(s, type, &d) < 0 && d.err.class == ERR_INTEGRITY && strstr(d.err.msg, part),
	            part))
		printf("#   %s\n", d.err.msg ? d.err.msg : "accepted");
}

static void confusion(void)
{
	refused("{\"schemaVersion\":2,\"manifests\":[],\"layers\":[]}", NULL, "at once");
	refused("{\"schemaVersion\":2,\"manifests\":[],\"config\":" CONFIG "}", NULL, "at once");
	refused("{\"schemaVersion\":2,\"mediaType\":\"" OCI_MT_INDEX "\",\"config\":" CONFIG
	        ",\"layers\":[]}",
	        NULL, "its media type is that of an index");
	refused(MANIFEST, OCI_MT_INDEX, "sent as " OCI_MT_INDEX);
	refused(MANIFEST, DOCKER_MT_MANIFEST, "sent as " DOCKER_MT_MANIFEST);
	refused("{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[]}", OCI_MT_INDEX,
	        "its media type is that of an index");
	refused("{\"schemaVersion\":2,\"mediaType\":\"text/html\",\"manifests\":[]}", NULL,
	        "unsupported mediaType");
	refused("{\"schemaVersion\":2,\"mediaType\":5,\"manifests\":[]}", NULL,
	        "malformed mediaType");
	refused("{\"schemaVersion\":1,\"fsLayers\":[]}", NULL, "schema 1");
	refused("{\"manifests\":[]}", NULL, "schemaVersion is not 2");
	refused("{\"schemaVersion\":2}", NULL, "neither a manifest nor an index");
	refused("[]", NULL, "neither a manifest nor an index");
	refused("{\"schemaVersion\":2,\"layers\":[],\"layers\":[]}", NULL, "duplicate object key");
	refused("{\"schemaVersion\":2,\"layers\":[]}", NULL, "a descriptor is missing");
	refused("{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":{}}", NULL,
	        "without layers");
	refused("{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[5]}", NULL, "descriptor");
	refused("{\"schemaVersion\":2,\"config\":" CONFIG
	        ",\"layers\":[],\"annotations\":{\"a\":1}}",
	        NULL, "malformed annotations");
}

static void descriptor(const char *digest, const char *size, const char *part)
{
	_cleanup_free_ char *s = xasprintf("{\"schemaVersion\":2,\"layers\":[],\"config\":{"
	                                   "\"mediaType\":\"a/b\",\"digest\":\"%s\","
	                                   "\"size\":%s}}",
	        digest, size);
	refused(s, NULL, part);
}

static void digests(void)
{
	descriptor("sha256:../../x", "1", "\"sha256:../../x\" is not a sha256 digest");
	descriptor("sha256:AAAAAAAAaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "1",
	        "is not a sha256 digest");
	descriptor("sha256:aa", "1", "is not a sha256 digest");
	descriptor("md5:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "1", "is not a sha256 digest");
	descriptor("\\u001b[31m", "1", "\"\\x1b[31m\" is not");
	descriptor(A, "-1", "without a valid size");
	descriptor(A, "1.5", "without a valid size");
	descriptor(A, "\"1\"", "without a valid size");
	descriptor(A, "99999999999999999999999", "not valid JSON");
}

static void sizes(void)
{
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	strbuf_addstr(&sb, "{\"x\":\"");
	while (sb.len < (size_t)4 * 1024 * 1024)
		strbuf_addch(&sb, 'x');
	strbuf_addstr(&sb, "\"}");
	refused(sb.buf, NULL, "over the limit of 4194304");
	strbuf_reset(&sb);
	for (int i = 0; i < 10000; i++)
		strbuf_addstr(&sb, "{\"a\":");
	refused(sb.buf, NULL, "nested 10000 deep");
}

int main(void)
{
	manifest();
	index_();
	confusion();
	digests();
	sizes();
	return tap_done();
}
