/* export/attest.c - statements about the images of a plan, attached in one of two forms; and the
 * annotations of descriptors. See image/attest.h. */
#include "export/internal.h"
#include "export/registry.h"
#include "image/image.h"

json_t *export_annotations(const struct export_options *o, enum export_annotation_kind kind,
        const struct oci_platform *platform)
{
	json_t *ret = NULL;
	for (size_t i = 0; i < o->n_annotations; i++) {
		const struct export_annotation *a = &o->annotations[i];
		if (a->kind != kind || (a->has_platform && platform &&
		                               !oci_platform_equal(&a->platform, platform)))
			continue;
		if (!ret)
			ret = json_object();
		json_object_set_new(ret, a->key, json_str(a->value));
	}
	return ret;
}

void plan_annotate(struct oci_descriptor *d, json_t *add)
{
	if (!add)
		return;
	if (d->annotations)
		json_object_update(d->annotations, add);
	else
		d->annotations = json_incref(add);
	json_decref(add);
}

static struct oci_descriptor *add_part(struct plan_image *im)
{
	vec_grow(&im->parts, &im->cap_parts, im->n_parts + 1);
	im->parts[im->n_parts] = (struct oci_descriptor){0};
	return &im->parts[im->n_parts++];
}

static struct oci_descriptor *add_manifest(struct plan_image *im)
{
	vec_grow(&im->attests, &im->cap_attests, im->n_attests + 1);
	im->attests[im->n_attests] = (struct oci_descriptor){0};
	return &im->attests[im->n_attests++];
}

/* The statements as blobs: parts 0 to n - 1. */
static int add_statements(struct plan *p, struct store *s, struct store_lease *l,
        struct plan_image *im, struct error *err)
{
	for (size_t i = 0; i < im->image->n_attestations; i++) {
		const struct image_attestation *a = &im->image->attestations[i];
		_cleanup_free_ char *text = image_statement(
		        a, &im->image->names, &im->config.platform, &im->manifest.digest);
		struct oci_descriptor *d = add_part(im);
		if (plan_add_text(p, s, l, text, ATTEST_MT_STATEMENT, d, err) < 0)
			return -1;
		oci_descriptor_release(d);
		image_statement_descriptor(a, text, d);
	}
	return 0;
}

/* BuildKit's form: all statements in one manifest of the index. */
static int index_form(struct plan *p, struct store *s, struct store_lease *l, struct plan_image *im,
        struct error *err)
{
	size_t n = im->n_parts;
	_cleanup_free_ char *config = image_attest_config(im->parts, n);
	struct oci_descriptor *cd = add_part(im);
	if (plan_add_text(p, s, l, config, OCI_MT_CONFIG, cd, err) < 0)
		return -1;
	_cleanup_free_ char *text = image_attest_manifest(&im->parts[n], im->parts, n, NULL, NULL);
	struct oci_descriptor *m = add_manifest(im);
	if (plan_add_text(p, s, l, text, OCI_MT_MANIFEST, m, err) < 0)
		return -1;
	m->has_platform = true;
	m->platform = (struct oci_platform){.os = "unknown", .arch = "unknown"};
	m->annotations = image_attest_annotations(&im->manifest.digest);
	return 0;
}

/* OCI's form: a manifest each, whose subject is the image's. */
static int referrers_form(struct plan *p, struct store *s, struct store_lease *l,
        struct plan_image *im, struct error *err)
{
	size_t n = im->n_parts;
	struct oci_descriptor *cd = add_part(im);
	if (plan_add_text(p, s, l, IMAGE_EMPTY_CONFIG, OCI_MT_EMPTY, cd, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		const char *type = im->image->attestations[i].type;
		_cleanup_free_ char *text =
		        image_attest_manifest(&im->parts[n], &im->parts[i], 1, &im->manifest, type);
		struct oci_descriptor *m = add_manifest(im);
		if (plan_add_text(p, s, l, text, OCI_MT_MANIFEST, m, err) < 0)
			return -1;
		m->artifact_type = xstrdup(ATTEST_MT_STATEMENT);
		m->annotations = json_object();
		json_object_set_new(m->annotations, ATTEST_KEY_TYPE, json_str(type));
	}
	return 0;
}

int plan_attestations(struct plan *p, struct store *s, struct store_lease *l,
        const struct export_options *o, struct plan_image *im, struct error *err)
{
	if (!im->image->n_attestations)
		return 0;
	if (!o->oci_mediatypes)
		return err_set(err, ERR_USAGE,
		        "attestations need OCI's media types: leave out oci-mediatypes=false");
	if (add_statements(p, s, l, im, err) < 0)
		return -1;
	return o->attest_referrers ? referrers_form(p, s, l, im, err)
	                           : index_form(p, s, l, im, err);
}

/* --- into a registry ------------------------------------------------------------------------- */

/* The fallback of registries without the referrers API: an index under the tag "sha256-HEX". */
static int list_referrer(const struct export_registry *r, const struct plan_image *im,
        const struct oci_descriptor *m, struct error *err)
{
	char hex[DIGEST_HEX_MAX], mt[] = OCI_MT_INDEX;
	_cleanup_free_ char *tag = xasprintf("sha256-%s", digest_hex(&im->manifest.digest, hex));
	struct oci_ref ref = {.domain = r->ref->domain, .path = r->ref->path, .tag = tag};
	_cleanup_free_ char *old = NULL, *type = NULL;
	size_t n = 0;
	struct digest d;
	enum oci_doc kind = OCI_DOC_INDEX;
	struct oci_manifest not_one = {0};
	struct oci_index idx = {0};
	struct error missing = ERROR_INIT;
	int rc = registry_get_manifest(r->client, &ref, &old, &n, &type, &d, &missing);
	if (rc < 0 && missing.class != ERR_NOT_FOUND) {
		error_move(err, &missing);
		return -1;
	}
	error_release(&missing);
	if (rc >= 0 && oci_doc_parse(old, n, type, tag, &kind, &not_one, &idx, err) < 0)
		return -1;
	if (kind != OCI_DOC_INDEX) {
		oci_manifest_release(&not_one);
		return err_set(err, ERR_INTEGRITY, "%s: the tag of referrers is no index", tag);
	}
	bool there = false;
	for (size_t i = 0; i < idx.n_manifests; i++)
		there |= digest_eq(&idx.manifests[i].digest, &m->digest);
	if (!there) {
		idx.manifests =
		        xrealloc_array(idx.manifests, idx.n_manifests + 1, sizeof(*idx.manifests));
		oci_descriptor_copy(&idx.manifests[idx.n_manifests++], m);
		free(idx.media_type);
		idx.media_type = xstrdup(mt);
		_cleanup_free_ char *text = oci_index_encode(&idx);
		rc = registry_put_manifest(
		        r->client, &ref, text, strlen(text), OCI_MT_INDEX, &d, err);
	}
	oci_index_release(&idx);
	return rc < 0 && error_is_set(err) ? -1 : 0;
}

int plan_push_attestations(struct store *s, const struct plan_image *im,
        const struct export_options *o, struct error *err)
{
	const struct export_registry *r = o->registry;
	for (size_t i = 0; i < im->n_parts; i++)
		if (export_push_blob(s, r, &im->parts[i], err) < 0)
			return -1;
	for (size_t i = 0; i < im->n_attests; i++) {
		_cleanup_free_ char *text = NULL;
		size_t n = 0;
		const struct oci_descriptor *m = &im->attests[i];
		if (store_blob_read_all(s, &m->digest, EXPORT_MANIFEST_MAX, &text, &n, err) < 0)
			return -1;
		int rc = export_push_manifest(r, text, n, OCI_MT_MANIFEST, false, err);
		if (rc == 0 && o->attest_referrers)
			rc = list_referrer(r, im, m, err);
		if (rc < 0)
			return -1;
	}
	return 0;
}
