/* image/attest.c - see attest.h. */
#include "image/attest.h"
#include "base/strbuf.h"

static void set(json_t *o, const char *key, const char *value)
{
	json_object_set_new(o, key, json_str(value));
}

static void add_escaped(struct strbuf *b, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];
		bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
		             (c >= 'A' && c <= 'Z') || strchr(".-_~/", c);
		if (plain)
			strbuf_addch(b, (char)c);
		else
			strbuf_addf(b, "%%%02X", c);
	}
}

/* image_purl - pkg:docker/NAME@TAG?platform=linux%2Famd64, as BuildKit names subjects. */
static char *subject_name(const char *name, const struct oci_platform *platform)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct oci_ref ref = {0};
	struct error ignored = ERROR_INIT;
	char plat[128];
	if (oci_ref_parse(name, &ref, &ignored) < 0) {
		error_release(&ignored);
		return xstrdup("_");
	}
	struct oci_ref bare = {.domain = ref.domain, .path = ref.path};
	_cleanup_free_ char *familiar = oci_ref_familiar(&bare);
	strbuf_addstr(&b, "pkg:docker/");
	add_escaped(&b, familiar, strlen(familiar));
	if (ref.tag) {
		strbuf_addch(&b, '@');
		add_escaped(&b, ref.tag, strlen(ref.tag));
	}
	oci_ref_release(&ref);
	oci_platform_string(platform, plat, sizeof(plat));
	strbuf_addstr(&b, "?platform=");
	for (const char *p = plat; *p; p++)
		if (*p == '/')
			strbuf_addstr(&b, "%2F");
		else
			strbuf_addch(&b, *p);
	return strbuf_detach(&b);
}

char *image_statement_about(const struct image_attestation *a, json_t *subjects)
{
	_cleanup_json_ json_t *o = json_object();
	set(o, "_type", "https://in-toto.io/Statement/v0.1");
	set(o, "predicateType", a->type);
	json_object_set_new(o, "subject", subjects);
	json_object_set_new(o, "predicate", json_deep_copy(a->predicate));
	return json_compact(o);
}

char *image_statement(const struct image_attestation *a, const struct strv *names,
        const struct oci_platform *platform, const struct digest *manifest)
{
	char hex[DIGEST_HEX_MAX];
	json_t *subjects = json_array();
	digest_hex(manifest, hex);
	for (size_t i = 0; i < MAX(names->n, (size_t)1); i++) {
		_cleanup_free_ char *name =
		        i < names->n ? subject_name(names->v[i], platform) : xstrdup("_");
		json_array_append_new(subjects, json_pack("{s:o,s:{s:s}}", "name", json_str(name),
		                                        "digest", "sha256", hex));
	}
	return image_statement_about(a, subjects);
}

const char *image_statement_file(const struct image_attestation *a)
{
	return str_eq(a->type, ATTEST_PROVENANCE) ? "provenance.json"
	       : str_eq(a->type, ATTEST_SPDX)     ? "sbom.spdx.json"
	                                          : "attestation.json";
}

static json_t *type_annotation(const char *type)
{
	json_t *o = json_object();
	set(o, ATTEST_KEY_TYPE, type);
	return o;
}

void image_statement_descriptor(
        const struct image_attestation *a, const char *text, struct oci_descriptor *ret)
{
	*ret = (struct oci_descriptor){.media_type = xstrdup(ATTEST_MT_STATEMENT),
	        .size = (int64_t)strlen(text),
	        .annotations = type_annotation(a->type)};
	sha256_buf(text, strlen(text), &ret->digest);
}

char *image_attest_config(const struct oci_descriptor *statements, size_t n)
{
	char d[DIGEST_STR_MAX];
	_cleanup_json_ json_t *o = json_object();
	json_t *ids = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(ids, json_str(digest_str(&statements[i].digest, d)));
	set(o, "architecture", "unknown");
	set(o, "os", "unknown");
	json_object_set_new(o, "config", json_object());
	json_object_set_new(o, "rootfs", json_pack("{s:s,s:o}", "type", "layers", "diff_ids", ids));
	return json_compact(o);
}

char *image_attest_manifest(const struct oci_descriptor *config,
        const struct oci_descriptor *statements, size_t n, const struct oci_descriptor *subject,
        const char *type)
{
	char mt[] = OCI_MT_MANIFEST, artifact[] = ATTEST_MT_STATEMENT;
	_cleanup_json_ json_t *annotations = subject ? type_annotation(type) : NULL;
	struct oci_descriptor bare = {0};
	struct oci_manifest m = {.media_type = mt,
	        .config = *config,
	        .layers = (struct oci_descriptor *)(uintptr_t)statements, /* only read */
	        .n_layers = n,
	        .annotations = annotations};
	if (subject) {
		bare = (struct oci_descriptor){.media_type = subject->media_type,
		        .digest = subject->digest,
		        .size = subject->size};
		m.subject = &bare;
		m.artifact_type = artifact;
	}
	return oci_manifest_encode(&m);
}

json_t *image_attest_annotations(const struct digest *manifest)
{
	char d[DIGEST_STR_MAX];
	json_t *o = json_object();
	set(o, "vnd.docker.reference.digest", digest_str(manifest, d));
	set(o, "vnd.docker.reference.type", "attestation-manifest");
	return o;
}
