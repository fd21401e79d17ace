/* oci/descriptor.c - descriptors, manifests and indexes, as hostile input and as we write them.
 *
 * Invariants: a digest or size that is not well formed never leaves the parser; one document is
 * read as one kind, by its fields and its mediaType alike (CVE-2021-41190); `urls` and `data` are
 * never followed. Keys are written in the order of the OCI image spec's Go structs. */
#include "oci/oci.h"

#include <stdio.h>

#include "base/human.h"
#include "base/strbuf.h"

#define DOC_MAX ((size_t)4 * 1024 * 1024)

/* --- platform -------------------------------------------------------------------------------- */

static bool copy_field(char *to, size_t n, const json_t *j, const char *key)
{
	const char *s = str_or_empty(json_get_str(j, key));
	return snprintf(to, n, "%s", s) < (int)n;
}

static bool platform_from_json(const json_t *j, struct oci_platform *p)
{
	return copy_field(p->os, sizeof(p->os), j, "os") &&
	       copy_field(p->arch, sizeof(p->arch), j, "architecture") &&
	       copy_field(p->variant, sizeof(p->variant), j, "variant") &&
	       copy_field(p->os_version, sizeof(p->os_version), j, "os.version");
}

static json_t *platform_to_json(const struct oci_platform *p)
{
	json_t *j = json_object();
	json_object_set_new(j, "architecture", json_str(p->arch));
	json_object_set_new(j, "os", json_str(p->os));
	if (*p->os_version)
		json_object_set_new(j, "os.version", json_str(p->os_version));
	if (*p->variant)
		json_object_set_new(j, "variant", json_str(p->variant));
	return j;
}

/* --- descriptor ------------------------------------------------------------------------------ */

void oci_descriptor_release(struct oci_descriptor *d)
{
	free(d->media_type);
	free(d->artifact_type);
	json_decref(d->annotations);
	*d = (struct oci_descriptor){0};
}

static char *copy_str(const char *s)
{
	return s ? xstrdup(s) : NULL;
}

void oci_descriptor_copy(struct oci_descriptor *dst, const struct oci_descriptor *src)
{
	*dst = *src;
	dst->media_type = copy_str(src->media_type);
	dst->artifact_type = copy_str(src->artifact_type);
	dst->annotations = json_deep_copy(src->annotations);
}

/* annotations_from_json - NULL and true if absent; false if it is no object of strings. */
static bool annotations_from_json(const json_t *j, json_t **ret)
{
	json_t *a = json_object_get(j, "annotations"), *v;
	const char *key;
	*ret = NULL;
	if (!a || json_is_null(a))
		return true;
	if (!json_is_object(a))
		return false;
	json_object_foreach(a, key, v) if (!json_is_string(v)) return false;
	*ret = json_deep_copy(a);
	return true;
}

int oci_descriptor_from_json(
        const json_t *j, const char *what, struct oci_descriptor *ret, struct error *err)
{
	_cleanup_(oci_descriptor_release) struct oci_descriptor d = {0};
	const char *digest = json_get_str(j, "digest"), *type = json_get_str(j, "mediaType");
	const json_t *platform = json_get_obj(j, "platform");
	if (!json_is_object(j))
		return err_set(err, ERR_INTEGRITY, "%s: a descriptor is missing", what);
	if (!digest || !digest_parse(digest, &d.digest)) {
		_cleanup_free_ char *shown = human_escape(
		        str_or_empty(digest), strnlen(str_or_empty(digest), 100), false);
		return err_set(
		        err, ERR_INTEGRITY, "%s: \"%s\" is not a sha256 digest", what, shown);
	}
	d.size = json_get_int(j, "size", -1);
	if (d.size < 0)
		return err_set(err, ERR_INTEGRITY, "%s: a descriptor without a valid size", what);
	if (!type || !*type)
		return err_set(err, ERR_INTEGRITY, "%s: a descriptor without a mediaType", what);
	d.media_type = xstrdup(type);
	d.artifact_type = copy_str(json_get_str(j, "artifactType"));
	if (!annotations_from_json(j, &d.annotations))
		return err_set(err, ERR_INTEGRITY, "%s: malformed annotations", what);
	if (platform) {
		d.has_platform = true;
		if (!platform_from_json(platform, &d.platform))
			return err_set(err, ERR_INTEGRITY, "%s: malformed platform", what);
	}
	*ret = d;
	d = (struct oci_descriptor){0};
	return 0;
}

static int cmp_key(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* set_sorted - a copy of the object with its keys sorted, as Go writes maps. Empty: nothing. */
static void set_annotations(json_t *to, json_t *a)
{
	size_t n = json_object_size(a), i = 0;
	if (!n)
		return;
	_cleanup_free_ const char **keys = new0(const char *, n);
	json_t *sorted = json_object(), *v;
	const char *key;
	json_object_foreach(a, key, v) keys[i++] = key;
	qsort(keys, n, sizeof(const char *), cmp_key);
	for (i = 0; i < n; i++)
		json_object_set(sorted, keys[i], json_object_get(a, keys[i]));
	json_object_set_new(to, "annotations", sorted);
}

json_t *oci_descriptor_to_json(const struct oci_descriptor *d)
{
	char buf[DIGEST_STR_MAX];
	json_t *j = json_object();
	json_object_set_new(j, "mediaType", json_str(str_or_empty(d->media_type)));
	json_object_set_new(j, "digest", json_str(digest_str(&d->digest, buf)));
	json_object_set_new(j, "size", json_integer(d->size));
	set_annotations(j, d->annotations);
	if (d->has_platform)
		json_object_set_new(j, "platform", platform_to_json(&d->platform));
	if (d->artifact_type)
		json_object_set_new(j, "artifactType", json_str(d->artifact_type));
	return j;
}

/* --- manifest and index ---------------------------------------------------------------------- */

static void release_descriptors(struct oci_descriptor *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		oci_descriptor_release(&v[i]);
	free(v);
}

void oci_manifest_release(struct oci_manifest *m)
{
	free(m->media_type);
	free(m->artifact_type);
	oci_descriptor_release(&m->config);
	release_descriptors(m->layers, m->n_layers);
	json_decref(m->annotations);
	if (m->subject)
		oci_descriptor_release(m->subject);
	free(m->subject);
	*m = (struct oci_manifest){0};
}

void oci_index_release(struct oci_index *i)
{
	free(i->media_type);
	release_descriptors(i->manifests, i->n_manifests);
	json_decref(i->annotations);
	*i = (struct oci_index){0};
}

static int descriptors_from_json(
        const json_t *a, const char *what, struct oci_descriptor **v, size_t *n, struct error *err)
{
	size_t i;
	const json_t *it;
	*v = new0(struct oci_descriptor, json_array_size(a));
	json_array_foreach(a, i, it)
	{
		if (oci_descriptor_from_json(it, what, &(*v)[i], err) < 0)
			return -1;
		*n = i + 1;
	}
	return 0;
}

static int parse_manifest(
        const json_t *j, const char *what, struct oci_manifest *ret, struct error *err)
{
	_cleanup_(oci_manifest_release) struct oci_manifest m = {0};
	const json_t *layers = json_get_array(j, "layers"), *subject = json_get_obj(j, "subject");
	m.media_type = copy_str(json_get_str(j, "mediaType"));
	m.artifact_type = copy_str(json_get_str(j, "artifactType"));
	if (!layers)
		return err_set(err, ERR_INTEGRITY, "%s: a manifest without layers", what);
	if (oci_descriptor_from_json(json_object_get(j, "config"), what, &m.config, err) < 0 ||
	        descriptors_from_json(layers, what, &m.layers, &m.n_layers, err) < 0)
		return -1;
	if (!annotations_from_json(j, &m.annotations))
		return err_set(err, ERR_INTEGRITY, "%s: malformed annotations", what);
	if (subject) {
		m.subject = new0(struct oci_descriptor, 1);
		if (oci_descriptor_from_json(subject, what, m.subject, err) < 0)
			return -1;
	}
	*ret = m;
	m = (struct oci_manifest){0};
	return 0;
}

static int parse_index(const json_t *j, const char *what, struct oci_index *ret, struct error *err)
{
	_cleanup_(oci_index_release) struct oci_index x = {0};
	const json_t *manifests = json_get_array(j, "manifests");
	x.media_type = copy_str(json_get_str(j, "mediaType"));
	if (!manifests)
		return err_set(err, ERR_INTEGRITY, "%s: an index without manifests", what);
	if (descriptors_from_json(manifests, what, &x.manifests, &x.n_manifests, err) < 0)
		return -1;
	if (!annotations_from_json(j, &x.annotations))
		return err_set(err, ERR_INTEGRITY, "%s: malformed annotations", what);
	*ret = x;
	x = (struct oci_index){0};
	return 0;
}

/* --- which kind a document is ---------------------------------------------------------------- */

enum kind { KIND_UNKNOWN, KIND_MANIFEST, KIND_INDEX };

static enum kind kind_of(const char *media_type)
{
	if (str_eq(media_type, OCI_MT_MANIFEST) || str_eq(media_type, DOCKER_MT_MANIFEST))
		return KIND_MANIFEST;
	if (str_eq(media_type, OCI_MT_INDEX) || str_eq(media_type, DOCKER_MT_INDEX))
		return KIND_INDEX;
	return KIND_UNKNOWN;
}

/* check_types - mediaType in the document and the Content-Type it came with must not contradict
 * each other. A Content-Type that names no manifest ("application/json") says nothing. */
static int check_types(const char *media_type, const char *content_type, const char *what,
        enum kind *ret, struct error *err)
{
	enum kind by_type = KIND_UNKNOWN;
	if (media_type) {
		by_type = kind_of(media_type);
		if (by_type == KIND_UNKNOWN) {
			_cleanup_free_ char *shown =
			        human_escape(media_type, strnlen(media_type, 100), false);
			return err_set(err, ERR_INTEGRITY, "%s: unsupported mediaType \"%s\"", what,
			        shown);
		}
	}
	if (content_type) {
		_cleanup_free_ char *bare = xstrndup(content_type, strcspn(content_type, "; \t"));
		enum kind k = kind_of(bare);
		if (k != KIND_UNKNOWN && media_type && !str_eq(bare, media_type))
			return err_set(err, ERR_INTEGRITY, "%s: sent as %s, but says it is %s",
			        what, bare, media_type);
		if (k != KIND_UNKNOWN)
			by_type = k;
	}
	*ret = by_type;
	return 0;
}

static int decide_kind(const json_t *j, const char *content_type, const char *what, enum kind *ret,
        struct error *err)
{
	bool manifests = json_object_get(j, "manifests"),
	     layers = json_object_get(j, "layers") || json_object_get(j, "config");
	const json_t *mt = json_object_get(j, "mediaType");
	enum kind by_type;
	if (json_object_get(j, "fsLayers") || json_get_int(j, "schemaVersion", 2) == 1) {
		err_set(err, ERR_INTEGRITY, "%s: a manifest of docker's old schema 1", what);
		return err_hint(err, "push the image again with a client from after 2016");
	}
	if (mt && !json_is_string(mt))
		return err_set(err, ERR_INTEGRITY, "%s: malformed mediaType", what);
	if (json_get_int(j, "schemaVersion", -1) != 2)
		return err_set(err, ERR_INTEGRITY, "%s: schemaVersion is not 2", what);
	if (manifests && layers)
		return err_set(err, ERR_INTEGRITY,
		        "%s: is a manifest and an index at once; refused as ambiguous", what);
	if (!manifests && !layers)
		return err_set(err, ERR_INTEGRITY, "%s: neither a manifest nor an index", what);
	if (check_types(json_string_value(mt), content_type, what, &by_type, err) < 0)
		return -1;
	*ret = manifests ? KIND_INDEX : KIND_MANIFEST;
	if (by_type != KIND_UNKNOWN && by_type != *ret)
		return err_set(err, ERR_INTEGRITY,
		        "%s: its media type is that of %s, its content "
		        "that of %s",
		        what, by_type == KIND_INDEX ? "an index" : "a manifest",
		        by_type == KIND_INDEX ? "a manifest" : "an index");
	return 0;
}

int oci_doc_parse(const char *p, size_t n, const char *content_type, const char *what,
        enum oci_doc *ret_kind, struct oci_manifest *ret_m, struct oci_index *ret_i,
        struct error *err)
{
	_cleanup_json_ json_t *j = json_parse(p, n, DOC_MAX, what, err);
	enum kind kind;
	if (!j)
		return -1;
	if (!json_is_object(j))
		return err_set(err, ERR_INTEGRITY, "%s: neither a manifest nor an index", what);
	if (decide_kind(j, content_type, what, &kind, err) < 0)
		return -1;
	*ret_kind = kind == KIND_INDEX ? OCI_DOC_INDEX : OCI_DOC_MANIFEST;
	return kind == KIND_INDEX ? parse_index(j, what, ret_i, err)
	                          : parse_manifest(j, what, ret_m, err);
}

/* --- encode ---------------------------------------------------------------------------------- */

static json_t *descriptors_to_json(const struct oci_descriptor *v, size_t n)
{
	json_t *a = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(a, oci_descriptor_to_json(&v[i]));
	return a;
}

char *oci_manifest_encode(const struct oci_manifest *m)
{
	_cleanup_json_ json_t *j = json_object();
	json_object_set_new(j, "schemaVersion", json_integer(2));
	if (m->media_type)
		json_object_set_new(j, "mediaType", json_str(m->media_type));
	if (m->artifact_type)
		json_object_set_new(j, "artifactType", json_str(m->artifact_type));
	json_object_set_new(j, "config", oci_descriptor_to_json(&m->config));
	json_object_set_new(j, "layers", descriptors_to_json(m->layers, m->n_layers));
	if (m->subject)
		json_object_set_new(j, "subject", oci_descriptor_to_json(m->subject));
	set_annotations(j, m->annotations);
	return json_compact(j);
}

char *oci_index_encode(const struct oci_index *i)
{
	_cleanup_json_ json_t *j = json_object();
	json_object_set_new(j, "schemaVersion", json_integer(2));
	if (i->media_type)
		json_object_set_new(j, "mediaType", json_str(i->media_type));
	json_object_set_new(j, "manifests", descriptors_to_json(i->manifests, i->n_manifests));
	set_annotations(j, i->annotations);
	return json_compact(j);
}

/* --- select ---------------------------------------------------------------------------------- */

/* is_image - attestations sit in indexes as manifests for the platform unknown/unknown. */
static bool is_image(const struct oci_descriptor *d)
{
	const char *type = json_get_str(d->annotations, "vnd.docker.reference.type");
	if (kind_of(d->media_type) == KIND_UNKNOWN)
		return false;
	if (type && str_eq(type, "attestation-manifest"))
		return false;
	return !d->has_platform || !str_eq(d->platform.os, "unknown");
}

static int not_found(const struct oci_index *i, const struct oci_platform *want, const char *what,
        struct error *err)
{
	_cleanup_strv_ struct strv have = STRV_INIT;
	char buf[128];
	for (size_t k = 0; k < i->n_manifests; k++) {
		const struct oci_descriptor *d = &i->manifests[k];
		if (!is_image(d) || !d->has_platform)
			continue;
		oci_platform_string(&d->platform, buf, sizeof(buf));
		_cleanup_free_ char *shown = human_escape(buf, strlen(buf), false);
		if (!strv_contains(&have, shown) && have.n < 40)
			strv_add(&have, shown);
	}
	_cleanup_free_ char *list = strv_join(&have, ", ");
	err_set(err, ERR_NOT_FOUND, "%s: no image for %s", what,
	        oci_platform_string(want, buf, sizeof(buf)));
	if (have.n)
		return err_hint(err, "it is there for %s; choose one with --platform", list);
	return err_hint(err, "the index holds no image at all");
}

int oci_index_select(const struct oci_index *i, const struct oci_platform *want, const char *what,
        size_t *ret, struct error *err)
{
	int best = 0;
	size_t at = 0;
	for (size_t k = 0; k < i->n_manifests; k++) {
		const struct oci_descriptor *d = &i->manifests[k];
		if (!is_image(d))
			continue;
		/* Without a platform it may be anything: the last choice. */
		int rank = d->has_platform ? oci_platform_match(want, &d->platform) : 1;
		if (rank > best) {
			best = rank;
			at = k;
		}
	}
	if (!best)
		return not_found(i, want, what, err);
	*ret = at;
	return 0;
}
