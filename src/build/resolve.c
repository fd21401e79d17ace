/* build/resolve.c - base images: name -> config and layer descriptors (while planning), and
 * later, when a step needs the files, the layers themselves. */
#include "build/internal.h"

#include "base/log.h"
#include "build/push.h"
#include "codec/json.h"
#include "export/export.h"

#define LAYOUT "oci-layout://"
#define MANIFEST_MAX ((size_t)4 << 20)
#define CONFIG_MAX ((size_t)8 << 20)

void build_image_free(struct build_image *im)
{
	if (!im)
		return;
	for (size_t i = 0; i < im->n_layers; i++)
		oci_descriptor_release(&im->layers[i]);
	free(im->layers);
	free(im->asked);
	free(im->digest);
	oci_image_release(&im->config);
	oci_ref_release(&im->ref);
	oci_descriptor_release(&im->attests);
	pthread_mutex_destroy(&im->lock);
	free(im);
}

struct build_image *build_find_image(struct build *b, const char *ref, const struct oci_platform *p)
{
	for (size_t i = 0; i < b->n_images; i++)
		if (str_eq(b->images[i]->asked, ref) &&
		        oci_platform_equal(&b->images[i]->platform, p))
			return b->images[i];
	return NULL;
}

/* An image that is pushed unchanged keeps its digest. */
static void remember_manifest(
        struct build *b, const struct oci_manifest *m, const char *type, const char *text, size_t n)
{
	if (m->media_type)
		type = m->media_type;
	push_remember_manifest(b->store, &m->config.digest, type ? type : OCI_MT_MANIFEST, text, n);
}

/* note_attestations - where statements about the chosen manifest are; fetched by a pull alone. */
static void note_attestations(
        struct build_image *im, const struct oci_index *idx, const char *manifest)
{
	for (size_t i = 0; i < idx->n_manifests; i++) {
		const json_t *a = idx->manifests[i].annotations;
		if (!im->attests.media_type &&
		        str_eq(str_or_empty(json_get_str(a, "vnd.docker.reference.type")),
		                "attestation-manifest") &&
		        str_eq(str_or_empty(json_get_str(a, "vnd.docker.reference.digest")),
		                manifest))
			oci_descriptor_copy(&im->attests, &idx->manifests[i]);
	}
}

/* fetch_manifest - the image manifest for the wanted platform behind im->ref. */
static int fetch_manifest(struct build *b, struct build_image *im, struct oci_manifest *ret,
        struct digest *ret_digest, struct error *err)
{
	struct registry_client *c = build_registry(b, err);
	if (!c)
		return -1;
	_cleanup_free_ char *text = NULL, *type = NULL;
	size_t n;
	if (registry_get_manifest(c, &im->ref, &text, &n, &type, ret_digest, err) < 0)
		return -1;
	enum oci_doc kind;
	struct oci_index idx = {0};
	if (oci_doc_parse(text, n, type, im->asked, &kind, ret, &idx, err) < 0)
		return -1;
	if (kind == OCI_DOC_MANIFEST) {
		remember_manifest(b, ret, type, text, n);
		return 0;
	}
	size_t i;
	if (oci_index_select(&idx, &im->platform, im->asked, &i, err) < 0) {
		oci_index_release(&idx);
		return -1;
	}
	struct oci_ref byd = {.domain = im->ref.domain, .path = im->ref.path};
	char dstr[DIGEST_STR_MAX];
	byd.digest = digest_str(&idx.manifests[i].digest, dstr);
	note_attestations(im, &idx, dstr);
	oci_index_release(&idx);
	free_ptr(&text);
	free_ptr(&type);
	text = type = NULL;
	struct digest ignored;
	if (registry_get_manifest(c, &byd, &text, &n, &type, &ignored, err) < 0 ||
	        oci_doc_parse(text, n, type, im->asked, &kind, ret, &idx, err) < 0)
		return -1;
	if (kind != OCI_DOC_MANIFEST) {
		oci_index_release(&idx);
		return err_set(err, ERR_INTEGRITY, "%s: an index inside an index", im->asked);
	}
	remember_manifest(b, ret, type, text, n);
	return 0;
}

static int take_layers(
        struct build *b, struct build_image *im, struct oci_manifest *m, struct error *err)
{
	if (m->n_layers != im->config.n_diff_ids)
		return err_set(err, ERR_INTEGRITY,
		        "%s: the manifest has %zu layers but the config names %zu", im->asked,
		        m->n_layers, im->config.n_diff_ids);
	for (size_t i = 0; i < im->n_layers; i++)
		oci_descriptor_release(&im->layers[i]);
	free(im->layers);
	im->layers = take_ptr(m->layers);
	im->n_layers = m->n_layers;
	m->n_layers = 0;
	for (size_t i = 0; i < im->n_layers; i++)
		if (store_layer_set_blob(b->store, &im->config.diff_ids[i], &im->layers[i], err) <
		        0)
			return -1;
	return 0;
}

/* What a reference meant when the registry was asked last. It is not a tag: the image's layers may
 * never have been fetched. */
static void ref_key(const struct build_image *im, struct digest *ret)
{
	struct sha256 h;
	char plat[128];
	_cleanup_free_ char *name = oci_ref_string(&im->ref);
	sha256_init(&h);
	sha256_str(&h, name);
	sha256_str(&h, oci_platform_string(&im->platform, plat, sizeof(plat)));
	sha256_final(&h, ret);
}

static int remember_ref(struct build *b, const struct build_image *im, const struct digest *config,
        struct error *err)
{
	struct digest key;
	char c[DIGEST_STR_MAX];
	ref_key(im, &key);
	_cleanup_free_ char *text = xasprintf(
	        "{\"config\":\"%s\",\"manifest\":\"%s\"}", digest_str(config, c), im->digest);
	return store_record_put(b->store, "ref", &key, text, err);
}

/* recall_ref - 1: config and digest of im are filled; 0: not known, or its config is gone. */
static int recall_ref(struct build *b, struct build_image *im, struct error *err)
{
	struct digest key, config;
	ref_key(im, &key);
	_cleanup_free_ char *text = NULL;
	int rc = store_record_get(b->store, "ref", &key, &text, err);
	if (rc <= 0)
		return rc;
	struct error ignored = ERROR_INIT;
	_cleanup_json_ json_t *j =
	        json_parse(text, strlen(text), 1 << 16, "reference record", &ignored);
	const char *c = json_get_str(j, "config"), *m = json_get_str(j, "manifest");
	rc = c && m && digest_parse(c, &config) &&
	     store_image_config(b->store, &config, &im->config, &ignored) >= 0;
	if (rc)
		im->digest = xstrdup(m);
	error_release(&ignored);
	return rc;
}

/* fetch_config - the config blob into the store, and parsed. */
static int fetch_config(
        struct build *b, struct build_image *im, const struct oci_descriptor *d, struct error *err)
{
	if (d->size > (int64_t)CONFIG_MAX)
		return err_set(err, ERR_INTEGRITY, "%s: a config of %lld bytes is refused",
		        im->asked, (long long)d->size);
	struct digest got;
	uint64_t size;
	_cleanup_sink_ struct sink *to =
	        store_blob_sink(b->store, b->lease, &d->digest, &got, &size);
	if (registry_get_blob(b->registry, &im->ref, d, to, err) < 0 || sink_finish(to, err) < 0)
		return -1;
	return store_image_config(b->store, &d->digest, &im->config, err);
}

static int resolve_registry(struct build *b, struct build_image *im, struct error *err)
{
	struct oci_manifest m = {0};
	struct digest digest;
	char dstr[DIGEST_STR_MAX];
	if (fetch_manifest(b, im, &m, &digest, err) < 0)
		return -1;
	struct digest config = m.config.digest;
	int rc = fetch_config(b, im, &m.config, err);
	if (rc >= 0)
		rc = take_layers(b, im, &m, err);
	oci_manifest_release(&m);
	if (rc < 0)
		return -1;
	im->digest = xstrdup(digest_str(&digest, dstr));
	im->config_digest = config;
	return remember_ref(b, im, &config, err);
}

static int resolve_layout(
        struct build *b, struct build_image *im, const char *path, struct error *err)
{
	struct digest config;
	if (export_import_layout(
	            b->store, b->lease, path, &im->platform, &config, &im->digest, err) < 0)
		return -1;
	return store_image_config(b->store, &config, &im->config, err);
}

/* resolve_local - 1 found in the store, 0 not. */
static int resolve_local(struct build *b, struct build_image *im, struct error *err)
{
	struct store_image si = {0};
	_cleanup_free_ char *name = oci_ref_string(&im->ref);
	int rc = store_image_find(b->store, name, &im->platform, &si, err);
	if (rc > 0 && store_image_config(b->store, &si.id, &im->config, err) < 0) {
		/* The blob is damaged or gone: fetch the image again. */
		log_debug("%s: config not readable: %s", im->asked, err->msg);
		error_release(err);
		rc = 0;
	} else if (rc > 0) {
		im->digest = si.manifest_digest ? xstrdup(si.manifest_digest) : NULL;
	}
	store_image_release(&si);
	return rc == 0 ? recall_ref(b, im, err) : rc;
}

int build_resolve_image(struct build *b, const struct graph_needed *need, struct error *err)
{
	struct build_image *im = new0(struct build_image, 1);
	im->asked = xstrdup(need->ref);
	im->platform = need->platform;
	pthread_mutex_init(&im->lock, NULL);
	oci_image_init(&im->config);
	vec_grow(&b->images, &b->cap_images, b->n_images + 1);
	b->images[b->n_images] = im;
	uint64_t ui_id = UI_METADATA + b->n_images++;

	_cleanup_free_ char *shown = xasprintf("[internal] load metadata for %s", im->asked);
	ui_step_start(b->ui, ui_id, shown);
	int rc;
	if (str_starts(im->asked, LAYOUT)) {
		rc = resolve_layout(b, im, im->asked + strlen(LAYOUT), err);
	} else {
		rc = oci_ref_parse(im->asked, &im->ref, err);
		if (rc >= 0) {
			rc = b->o->pull ? 0 : resolve_local(b, im, err);
			if (rc == 0 && b->o->pull_never)
				rc = err_set(
				        err, ERR_NOT_FOUND, "not in the store, and --pull=never");
			else if (rc == 0)
				rc = resolve_registry(b, im, err);
		}
	}
	if (rc < 0) {
		ui_step_error(b->ui, ui_id, err->msg);
		err_wrap(err, "%s", im->asked);
		if (err->class == ERR_NOT_FOUND && im->ref.domain)
			err_hint(err,
			        "check the name; a local image is made with `strake build -t`, an "
			        "OCI layout is given with --build-context NAME=oci-layout://PATH");
		return b->file ? err_at(err, b->file->name, need->line, 0) : -1;
	}
	ui_step_done(b->ui, ui_id);
	return 0;
}

/* --- layers ---------------------------------------------------------------------------------- */

struct fetch {
	struct build *b;
	struct build_image *im;
	uint64_t ui_id;
	size_t *missing, n_missing;
	pthread_mutex_t lock;
	struct error err; /* the first */
};

/* blob_here - a known blob of the layer whose bytes are in the store. */
static bool blob_here(struct build *b, const struct digest *diff_id, struct oci_descriptor *ret)
{
	struct oci_descriptor *v = NULL;
	size_t n = 0;
	struct error err = ERROR_INIT;
	bool found = false;
	if (store_layer_blobs(b->store, diff_id, &v, &n, &err) >= 0)
		for (size_t i = 0; i < n && !found; i++)
			if (store_blob_has(b->store, &v[i].digest, NULL)) {
				oci_descriptor_copy(ret, &v[i]);
				found = true;
			}
	for (size_t i = 0; i < n; i++)
		oci_descriptor_release(&v[i]);
	free(v);
	error_release(&err);
	return found;
}

/* download - the layer's own blob, as the image's manifest names it. */
static int download(
        struct build *b, struct build_image *im, size_t i, uint64_t ui_id, struct error *err)
{
	char hex[DIGEST_STR_MAX];
	if (i >= im->n_layers)
		return err_set(err, ERR_NOT_FOUND, "layer %s is not in the store",
		        digest_str(&im->config.diff_ids[i], hex));
	const struct oci_descriptor *d = &im->layers[i];
	if (!build_registry(b, err))
		return -1;
	struct digest got;
	uint64_t size;
	_cleanup_sink_ struct sink *to =
	        store_blob_sink(b->store, b->lease, &d->digest, &got, &size);
	ui_step_note(
	        b->ui, ui_id, "%s %lld bytes", digest_str(&d->digest, hex), (long long)d->size);
	if (registry_get_blob(b->registry, &im->ref, d, to, err) < 0 || sink_finish(to, err) < 0)
		return -1;
	export_remember_origin(b->store, &d->digest, &im->ref);
	return 0;
}

static int unpack(struct fetch *f, size_t i, const struct oci_descriptor *d, struct error *err)
{
	const struct store_layer *l;
	char hex[DIGEST_STR_MAX];
	ui_step_note(f->b->ui, f->ui_id, "extracting %s", digest_str(&d->digest, hex));
	return export_unpack_layer(
	        f->b->store, f->b->lease, &f->im->config.diff_ids[i], d, &l, err);
}

static int fetch_layer(struct fetch *f, size_t i, struct error *err)
{
	struct build *b = f->b;
	struct build_image *im = f->im;
	struct oci_descriptor d = {0};
	if (blob_here(b, &im->config.diff_ids[i], &d)) {
		int rc = unpack(f, i, &d, err);
		bool other = i < im->n_layers && !digest_eq(&d.digest, &im->layers[i].digest);
		oci_descriptor_release(&d);
		/* Some other image claimed that this blob is the layer, or it is damaged: the
		 * image's own blob is what counts. */
		if (rc >= 0 || err->class != ERR_INTEGRITY || i >= im->n_layers)
			return rc;
		log_debug("%s: %s", im->asked, err->msg);
		error_release(err);
		if (other && store_blob_has(b->store, &im->layers[i].digest, NULL))
			return unpack(f, i, &im->layers[i], err);
	}
	const struct store_layer *l;
	char hex[DIGEST_STR_MAX];
	if (i >= im->n_layers)
		return err_set(err, ERR_NOT_FOUND, "layer %s is not in the store",
		        digest_str(&im->config.diff_ids[i], hex));
	ui_step_note(b->ui, f->ui_id, "%s %lld bytes", digest_str(&im->layers[i].digest, hex),
	        (long long)im->layers[i].size);
	ui_step_note(b->ui, f->ui_id, "extracting %s", hex);
	return stream_layer(b, &im->ref, &im->layers[i], &im->config.diff_ids[i], &l, err);
}

static void fetch_one(void *ctx, size_t k)
{
	struct fetch *f = ctx;
	struct error err = ERROR_INIT;
	pthread_mutex_lock(&f->lock);
	bool failed = error_is_set(&f->err);
	pthread_mutex_unlock(&f->lock);
	if (failed || fetch_layer(f, f->missing[k], &err) >= 0)
		return;
	pthread_mutex_lock(&f->lock);
	if (!error_is_set(&f->err))
		error_move(&f->err, &err);
	pthread_mutex_unlock(&f->lock);
	error_release(&err);
}

/* built_here - then a registry that knows the name has somebody else's image under it. */
static bool built_here(struct build *b, const struct build_image *im)
{
	char id[DIGEST_STR_MAX];
	_cleanup_error_ struct error e = ERROR_INIT;
	struct store_image si = {0};
	bool here =
	        !digest_is_zero(&im->config_digest) && !im->digest &&
	        store_image_find(b->store, digest_str(&im->config_digest, id), NULL, &si, &e) > 0 &&
	        !si.manifest_digest;
	store_image_release(&si);
	return here;
}

static int lost_layers(struct build *b, const struct build_image *im, struct error *err)
{
	char id[DIGEST_STR_MAX];
	_cleanup_free_ char *again = history_command(b->store, digest_str(&im->config_digest, id));
	(void)err_set(err, ERR_NOT_FOUND,
	        "layers of %s are damaged or gone, and no registry has them: it was built here",
	        im->asked);
	return err_hint(err, "build it again: %s", again ? again : "strake build -t NAME CONTEXT");
}

/* need_descriptors - before a download: where are the bytes? */
static int need_descriptors(struct build *b, struct build_image *im, struct error *err)
{
	if (im->layers)
		return 0;
	if (built_here(b, im))
		return lost_layers(b, im, err);
	if (!im->ref.domain) {
		(void)err_set(err, ERR_NOT_FOUND, "layers of %s are not in the store", im->asked);
		return -1;
	}
	struct oci_manifest m = {0};
	struct digest digest;
	/* By digest if it is known, so that a moved tag cannot mix two images. */
	struct oci_ref saved = im->ref;
	if (im->digest) {
		im->ref.tag = NULL;
		im->ref.digest = im->digest;
	}
	int rc = fetch_manifest(b, im, &m, &digest, err);
	im->ref = saved;
	if (rc >= 0)
		rc = take_layers(b, im, &m, err);
	else
		(void)err_wrap(err, "layers of %s are missing in the store and cannot be fetched",
		        im->asked);
	oci_manifest_release(&m);
	return rc;
}

int build_image_fetch(
        struct build *b, struct build_image *im, size_t i, uint64_t ui_id, struct error *err)
{
	pthread_mutex_lock(&im->lock);
	int rc = need_descriptors(b, im, err);
	pthread_mutex_unlock(&im->lock);
	return rc < 0 ? -1 : download(b, im, i, ui_id, err);
}

bool build_image_has_bytes(struct build *b, const struct build_image *im)
{
	for (size_t i = 0; i < im->config.n_diff_ids; i++) {
		const struct store_layer *l;
		struct error ignored = ERROR_INIT;
		struct oci_descriptor d = {0};
		bool yes = store_layer_get(b->store, b->lease, &im->config.diff_ids[i], 0, &l,
		                   &ignored) > 0 ||
		           blob_here(b, &im->config.diff_ids[i], &d);
		oci_descriptor_release(&d);
		error_release(&ignored);
		if (!yes)
			return false;
	}
	return true;
}

bool build_image_here(struct build *b, const struct build_image *im)
{
	for (size_t i = 0; i < im->config.n_diff_ids; i++) {
		const struct store_layer *l;
		struct error ignored = ERROR_INIT;
		int rc = store_layer_get(
		        b->store, b->lease, &im->config.diff_ids[i], 0, &l, &ignored);
		error_release(&ignored);
		if (rc <= 0)
			return false;
	}
	return true;
}

static int fetch_missing(struct build *b, struct build_image *im, uint64_t ui_id, struct error *err)
{
	struct fetch f = {.b = b, .im = im, .ui_id = ui_id};
	_cleanup_free_ size_t *missing = new0(size_t, im->config.n_diff_ids);
	bool download = false;
	f.missing = missing;
	for (size_t i = 0; i < im->config.n_diff_ids; i++) {
		const struct store_layer *l;
		int rc = store_layer_get(b->store, b->lease, &im->config.diff_ids[i], 0, &l, err);
		if (rc < 0)
			return -1;
		if (rc > 0)
			continue;
		missing[f.n_missing++] = i;
		struct oci_descriptor d = {0};
		download |= !blob_here(b, &im->config.diff_ids[i], &d);
		oci_descriptor_release(&d);
	}
	if (f.n_missing == 0)
		return 0;
	if (download && (need_descriptors(b, im, err) < 0 || !build_registry(b, err)))
		return -1;
	pthread_mutex_init(&f.lock, NULL);
	pool_run(build_net(b), f.n_missing, fetch_one, &f);
	pthread_mutex_destroy(&f.lock);
	if (error_is_set(&f.err)) {
		error_move(err, &f.err);
		return err_wrap(err, "%s", im->asked);
	}
	return 1;
}

/* ensure_locked - what turns out damaged only while it is unpacked is set aside then: once more,
 * from where the image came. */
static int ensure_locked(struct build *b, struct build_image *im, uint64_t ui_id, struct error *err)
{
	int rc = fetch_missing(b, im, ui_id, err);
	if (rc >= 0 || err->class != ERR_INTEGRITY)
		return rc;
	log_debug("%s: %s", im->asked, err->msg);
	error_release(err);
	if (str_starts(im->asked, LAYOUT)) {
		struct digest config;
		_cleanup_free_ char *digest = NULL;
		if (export_import_layout(b->store, b->lease, im->asked + strlen(LAYOUT),
		            &im->platform, &config, &digest, err) < 0)
			return err_wrap(err, "%s", im->asked);
	}
	return fetch_missing(b, im, ui_id, err);
}

int build_image_ensure(struct build *b, struct build_image *im, uint64_t ui_id, struct error *err)
{
	pthread_mutex_lock(&im->lock);
	int rc = 0;
	if (!im->ensured) {
		const struct graph_node *from = NULL;
		for (size_t i = 0; b->graph && i < b->graph->n_nodes; i++)
			if (UI_NODE_ID(b->graph->nodes[i]) == ui_id)
				from = b->graph->nodes[i];
		if (!build_image_here(b, im))
			ui_step_start(b->ui, ui_id, from ? from->shown : im->asked);
		rc = ensure_locked(b, im, ui_id, err);
		if (rc < 0)
			ui_step_error(b->ui, ui_id, err->msg);
		else if (rc > 0)
			ui_step_done(b->ui, ui_id);
		if (rc < 0 && from && b->file)
			(void)err_at(err, b->file->name, from->line, 0);
		im->ensured = rc >= 0;
	}
	pthread_mutex_unlock(&im->lock);
	return rc < 0 ? -1 : 0;
}
