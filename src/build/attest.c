/* build/attest.c - attestations made, kept in the store, and found there again. */
#include "build/attest.h"

#include "base/log.h"
#include "build/internal.h"
#include "sbom/sbom.h"

#define RECORD "attest"        /* config digest -> [{"type", "predicate"}] */
#define RECORD_MAX (64u << 20) /* bytes */
#define STATEMENT_MAX (16 << 20)

json_t *attest_sbom(struct build *b, const struct rootfs *top, const struct oci_image *config,
        const char *name, struct error *err)
{
	struct build_view v;
	struct sbom s;
	json_t *j = NULL;
	if (build_view_open(b, top, &v, err) < 0)
		return NULL;
	if (sbom_scan(&v.v, v.fds, &s, err) >= 0) {
		j = sbom_spdx(&s, name, config->created ? config->created : "1970-01-01T00:00:00Z");
		sbom_release(&s);
	}
	build_view_release(&v);
	return j;
}

int attest_make(struct build *b, const struct graph_target *t, const struct rootfs *top,
        const struct oci_image *config, struct image_attestation *ret, struct error *err)
{
	const struct build_attest *a = &b->o->attest;
	int n = 0;
	if (a->provenance)
		ret[n++] = (struct image_attestation){
		        ATTEST_PROVENANCE, attest_provenance(b, t, a->provenance_max)};
	if (a->sbom) {
		const char *name = b->o->tags.n ? b->o->tags.v[0] : "image";
		json_t *j = build_enter(b, err) < 0 ? NULL : attest_sbom(b, top, config, name, err);
		if (!j) {
			attest_release(ret, (size_t)n);
			return err_wrap(err, "listing the packages of the image");
		}
		ret[n++] = (struct image_attestation){ATTEST_SPDX, j};
	}
	return n;
}

void attest_release(struct image_attestation *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		json_decref((json_t *)(uintptr_t)v[i].predicate);
}

/* --- in the store ---------------------------------------------------------------------------- */

int attest_keep(struct store *s, const struct digest *config, const struct image_attestation *v,
        size_t n, struct error *err)
{
	_cleanup_json_ json_t *list = json_array();
	_cleanup_free_ char *old = NULL;
	/* Statements of an earlier build, with more in them perhaps, do not stay by themselves. */
	int rc = n ? 1 : store_record_get(s, RECORD, config, &old, err);
	if (rc <= 0)
		return rc;
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_pack("{s:s,s:O}", "type", v[i].type, "predicate",
		                                    (json_t *)(uintptr_t)v[i].predicate));
	_cleanup_free_ char *text = json_compact(list);
	return store_record_put(s, RECORD, config, text, err);
}

/* known_type - the types are few, and outlive the JSON they came in. */
static const char *known_type(const char *type)
{
	static const char *const types[] = {
	        ATTEST_PROVENANCE, ATTEST_SPDX, "https://slsa.dev/provenance/v0.2"};
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (type && str_eq(type, types[i]))
			return types[i];
	return NULL;
}

int attest_kept(struct store *s, const struct digest *config, struct image_attestation *ret,
        size_t max, size_t *ret_n, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	*ret_n = 0;
	int rc = store_record_get(s, RECORD, config, &text, err);
	if (rc <= 0)
		return rc;
	struct error ignored = ERROR_INIT;
	_cleanup_json_ json_t *list =
	        json_parse(text, strlen(text), RECORD_MAX, "attestations", &ignored);
	error_release(&ignored); /* one that does not read is not there */
	for (size_t i = 0; i < json_array_size(list) && *ret_n < max; i++) {
		const json_t *a = json_array_get(list, i);
		json_t *predicate = json_get_obj(a, "predicate");
		const char *type = known_type(json_get_str(a, "type"));
		if (type && predicate)
			ret[(*ret_n)++] = (struct image_attestation){type, json_incref(predicate)};
	}
	return 0;
}

/* --- from a registry ------------------------------------------------------------------------- */

/* fetch_statement - a blob as JSON whose subject is the manifest. NULL: not that. */
static json_t *fetch_statement(struct build *b, const struct build_image *im,
        const struct oci_descriptor *d, const char *manifest_hex, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t n = 0;
	struct digest got;
	uint64_t size;
	if (d->size > STATEMENT_MAX || !str_eq(d->media_type, ATTEST_MT_STATEMENT))
		return NULL;
	_cleanup_sink_ struct sink *to =
	        store_blob_sink(b->store, b->lease, &d->digest, &got, &size);
	if (registry_get_blob(b->registry, &im->ref, d, to, err) < 0 || sink_finish(to, err) < 0 ||
	        store_blob_read_all(b->store, &d->digest, STATEMENT_MAX, &text, &n, err) < 0)
		return NULL;
	_cleanup_json_ json_t *j = json_parse(text, n, STATEMENT_MAX, "statement", err);
	const json_t *subjects = json_get_array(j, "subject");
	for (size_t i = 0; i < json_array_size(subjects); i++) {
		const json_t *digests = json_get_obj(json_array_get(subjects, i), "digest");
		if (str_eq(str_or_empty(json_get_str(digests, "sha256")), manifest_hex))
			return json_incref(j);
	}
	return NULL;
}

static int fetch_statements(struct build *b, const struct build_image *im,
        const struct oci_manifest *m, struct error *err)
{
	struct image_attestation v[ATTEST_MAX] = {{0}};
	size_t n = 0;
	const char *digest = json_get_str(im->attests.annotations, "vnd.docker.reference.digest");
	for (size_t i = 0; i < m->n_layers && n < ATTEST_MAX; i++) {
		_cleanup_json_ json_t *j =
		        fetch_statement(b, im, &m->layers[i], strchr(digest, ':') + 1, err);
		const char *type = known_type(json_get_str(j, "predicateType"));
		json_t *predicate = json_get_obj(j, "predicate");
		if (type && predicate)
			v[n++] = (struct image_attestation){type, json_incref(predicate)};
	}
	int rc = error_is_set(err) ? -1 : attest_keep(b->store, &im->config_digest, v, n, err);
	attest_release(v, n);
	return rc;
}

void attest_fetch(struct build *b, const struct build_image *im)
{
	struct error err = ERROR_INIT;
	char d[DIGEST_STR_MAX];
	if (!im->attests.media_type || !b->registry)
		return;
	digest_str(&im->attests.digest, d);
	struct oci_ref ref = {.domain = im->ref.domain, .path = im->ref.path, .digest = d};
	_cleanup_free_ char *text = NULL, *type = NULL;
	size_t n;
	struct digest got;
	enum oci_doc kind;
	struct oci_manifest m = {0};
	struct oci_index idx = {0};
	if (registry_get_manifest(b->registry, &ref, &text, &n, &type, &got, &err) >= 0 &&
	        oci_doc_parse(text, n, type, "attestations", &kind, &m, &idx, &err) >= 0 &&
	        kind == OCI_DOC_MANIFEST)
		(void)!fetch_statements(b, im, &m, &err);
	if (error_is_set(&err))
		log_debug("attestations of %s: %s", im->asked, err.msg);
	oci_manifest_release(&m);
	oci_index_release(&idx);
	error_release(&err);
}

/* --- of an image ----------------------------------------------------------------------------- */

static int find_image(struct build *b, const char *name, const char *platform,
        struct build_image **ret, struct error *err)
{
	struct oci_platform p;
	struct store_image si = {0};
	oci_platform_host(&p);
	if (platform && oci_platform_parse(platform, &p, err) < 0)
		return -1;
	int rc = store_image_find(b->store, name, &p, &si, err);
	if (rc == 0) {
		struct oci_ref ref = {0};
		struct error ignored = ERROR_INIT;
		if (oci_ref_parse(name, &ref, &ignored) >= 0) {
			_cleanup_free_ char *full = oci_ref_string(&ref);
			rc = store_image_find(b->store, full, &p, &si, err);
		}
		error_release(&ignored);
		oci_ref_release(&ref);
	}
	if (rc == 0) {
		(void)err_set(err, ERR_NOT_FOUND, "no such image: %s", name);
		rc = err_hint(err, "strake images lists what is here; strake pull fetches one");
	}
	if (rc > 0) {
		struct build_image *im = new0(struct build_image, 1);
		im->asked = xstrdup(name);
		im->platform = p;
		pthread_mutex_init(&im->lock, NULL);
		oci_image_init(&im->config);
		vec_grow(&b->images, &b->cap_images, b->n_images + 1);
		b->images[b->n_images++] = im;
		*ret = im;
		rc = store_image_config(b->store, &si.id, &im->config, err);
	}
	store_image_release(&si);
	return rc < 0 ? -1 : 0;
}

int attest_image_sbom(
        struct store *s, const char *image, const char *platform, json_t **ret, struct error *err)
{
	static const struct build_options none;
	struct build b = {.o = &none, .store = s};
	struct ui_options uo = {.mode = UI_QUIET, .fd = STDERR_FILENO};
	struct build_image *im = NULL;
	pthread_mutex_init(&b.lock, NULL);
	b.ui = ui_new(&uo);
	int rc = store_lease_new(s, &b.lease, err);
	if (rc >= 0)
		rc = find_image(&b, image, platform, &im, err);
	if (rc >= 0)
		rc = build_enter(&b, err);
	if (rc >= 0) {
		*ret = attest_sbom(&b, rootfs_from_image(&b, im), &im->config, image, err);
		rc = *ret ? 0 : -1;
	}
	ui_free(b.ui);
	sandbox_context_free(b.sandbox);
	registry_client_free(b.registry);
	pool_free(b.pool);
	for (size_t i = 0; i < b.n_images; i++)
		build_image_free(b.images[i]);
	free(b.images);
	store_lease_free(b.lease);
	arena_release(&b.arena);
	pthread_mutex_destroy(&b.lock);
	return rc < 0 ? -1 : 0;
}
