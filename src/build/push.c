/* build/push.c - see push.h. The pushing itself is export/'s. */
#include "build/push.h"

#include "base/log.h"
#include "build/cache.h"

#define PUSH_THREADS 6
#define MANIFEST_KEPT (128u << 10)
#define RECORD_MANIFEST "manifest" /* config digest -> "<media type>\n<manifest>" */

/* --- what the exporter asks --------------------------------------------------------------------
 */

static struct build_image *image_with(struct build *b, const struct digest *diff_id, size_t *ret_i)
{
	for (size_t k = 0; k < b->n_images; k++)
		for (size_t i = 0; i < b->images[k]->config.n_diff_ids; i++)
			if (digest_eq(&b->images[k]->config.diff_ids[i], diff_id)) {
				*ret_i = i;
				return b->images[k];
			}
	return NULL;
}

static int origin(void *ctx, const struct digest *diff_id, struct oci_descriptor *ret)
{
	struct push_target *t = ctx;
	size_t i;
	const struct oci_ref *where;
	struct build_image *im = image_with(t->b, diff_id, &i);
	if (!im && cache_descriptor(t->b, diff_id, ret, &where) == 1) {
		export_remember_origin(t->b->store, &ret->digest, where);
		return 1;
	}
	if (!im || i >= im->n_layers)
		return 0;
	oci_descriptor_copy(ret, &im->layers[i]);
	if (im->ref.domain)
		export_remember_origin(t->b->store, &ret->digest, &im->ref);
	return 1;
}

static int fetch(void *ctx, const struct digest *diff_id, struct error *err)
{
	struct push_target *t = ctx;
	size_t i;
	struct build_image *im = image_with(t->b, diff_id, &i);
	if (!im)
		return cache_fetch_blob(t->b, diff_id, err);
	return build_image_fetch(t->b, im, i, t->ui_id, err);
}

static void note(void *ctx, const char *line)
{
	struct push_target *t = ctx;
	ui_step_note(t->b->ui, t->ui_id, "%s", line);
}

/* --- a target ----------------------------------------------------------------------------------
 */

int push_target_init(struct build *b, const char *name, bool by_digest, uint64_t ui_id,
        struct push_target *ret, struct error *err)
{
	*ret = (struct push_target){.b = b, .ui_id = ui_id};
	if (oci_ref_parse(name, &ret->ref, err) < 0)
		return -1;
	if (ret->ref.digest) {
		(void)err_set(err, ERR_USAGE, "%s: an image is pushed under a tag", name);
		return err_hint(err, "leave out @%s", ret->ref.digest);
	}
	struct registry_client *c = build_registry(b, err);
	if (!c)
		return -1;
	ret->r = (struct export_registry){.client = c,
	        .ref = &ret->ref,
	        .by_digest = by_digest,
	        .origin = origin,
	        .fetch = fetch,
	        .note = note,
	        .ctx = ret};
	ret->pool = pool_new(PUSH_THREADS);
	return 0;
}

void push_target_release(struct push_target *t)
{
	pool_free(t->pool);
	oci_ref_release(&t->ref);
	*t = (struct push_target){0};
}

int push_images(struct push_target *t, const struct export_image *images, size_t n,
        const struct export_options *o, struct oci_descriptor *ret, struct error *err)
{
	struct export_options opt = *o;
	opt.type = EXPORT_REGISTRY;
	opt.registry = &t->r;
	opt.n_threads = pool_size(t->b->pool);
	return export_write(t->b->store, t->b->lease, images, n, &opt, t->pool, ret, err);
}

/* --- unchanged ---------------------------------------------------------------------------------
 */

void push_remember_manifest(struct store *s, const struct digest *config, const char *media_type,
        const char *text, size_t n)
{
	struct error ignored = ERROR_INIT;
	_cleanup_free_ char *old = NULL;
	if (n > MANIFEST_KEPT || memchr(text, '\0', n))
		return;
	_cleanup_free_ char *record = xasprintf("%s\n%.*s", media_type, (int)n, text);
	int r = store_record_get(s, RECORD_MANIFEST, config, &old, &ignored);
	if (r == 0 || (r == 1 && !str_eq(old, record)))
		r = store_record_put(s, RECORD_MANIFEST, config, record, &ignored);
	if (r < 0)
		log_debug("manifest: %s", str_or_empty(ignored.msg));
	error_release(&ignored);
}

struct verbatim {
	struct push_target *t;
	struct oci_manifest m;
	int *result; /* 1 there, 0 nowhere, -1 */
	struct error *errs;
};

static void verbatim_layer(void *ctx, size_t i)
{
	struct verbatim *v = ctx;
	struct store *s = v->t->b->store;
	const struct oci_descriptor *d = &v->m.layers[i];
	if (store_blob_has(s, &d->digest, NULL))
		v->result[i] = export_push_blob(s, &v->t->r, d, &v->errs[i]) < 0 ? -1 : 1;
	else
		v->result[i] = export_push_offer(s, &v->t->r, d, &v->errs[i]);
}

static int verbatim_layers(struct verbatim *v, struct error *err)
{
	int rc = 1;
	v->result = new0(int, v->m.n_layers + 1);
	v->errs = new0(struct error, v->m.n_layers + 1);
	pool_run(v->t->pool, v->m.n_layers, verbatim_layer, v);
	for (size_t i = 0; i < v->m.n_layers; i++) {
		if (v->result[i] < 0 && rc >= 0)
			error_move(err, &v->errs[i]);
		error_release(&v->errs[i]);
		rc = MIN(rc, v->result[i]);
	}
	free(v->result);
	free(v->errs);
	return rc;
}

int push_verbatim(struct push_target *t, const struct digest *config, struct oci_descriptor *ret,
        struct error *err)
{
	struct store *s = t->b->store;
	_cleanup_free_ char *record = NULL;
	int rc = store_record_get(s, RECORD_MANIFEST, config, &record, err);
	char *nl = rc > 0 ? strchr(record, '\n') : NULL;
	if (!nl)
		return rc < 0 ? -1 : 0;
	*nl = '\0';
	const char *text = nl + 1, *type = record;
	struct verbatim v = {.t = t};
	struct oci_index idx = {0};
	enum oci_doc kind;
	struct error bad = ERROR_INIT;
	if (oci_doc_parse(text, strlen(text), type, "manifest", &kind, &v.m, &idx, &bad) < 0) {
		error_release(&bad);
		return 0;
	}
	if (kind != OCI_DOC_MANIFEST) {
		oci_index_release(&idx);
		return 0;
	}
	rc = digest_eq(&v.m.config.digest, config) ? verbatim_layers(&v, err) : 0;
	if (rc > 0 && (export_push_blob(s, &t->r, &v.m.config, err) < 0 ||
	                      export_push_manifest(&t->r, text, strlen(text), type, true, err) < 0))
		rc = -1;
	if (rc > 0) {
		*ret = (struct oci_descriptor){
		        .media_type = xstrdup(type), .size = (int64_t)strlen(text)};
		sha256_buf(text, strlen(text), &ret->digest);
	}
	oci_manifest_release(&v.m);
	return rc;
}
