/* build/transfer.c - see transfer.h. A push sends layers first, then configs, manifests, and the
 * tag last: a reader never sees a tag whose parts are missing. */
#include "build/transfer.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "build/internal.h"
#include "export/export.h"
#include "image/image.h"

struct transfer {
	struct build b; /* for the image and privilege helpers; has no graph */
	struct build_options bo;
	const struct transfer_options *o;
	struct oci_ref ref;
	struct registry_client *client;
};

static int transfer_init(struct transfer *t, struct store *s, const char *name,
        const struct transfer_options *o, struct error *err)
{
	*t = (struct transfer){.o = o};
	t->bo.interrupted = o->interrupted;
	t->b.o = &t->bo;
	t->b.store = s;
	pthread_mutex_init(&t->b.lock, NULL);
	struct ui_options uo = {.mode = o->progress, .fd = STDERR_FILENO};
	t->b.ui = ui_new(&uo);
	if (oci_ref_parse(name, &t->ref, err) < 0 || store_lease_new(s, &t->b.lease, err) < 0)
		return -1;
	t->client = build_registry(&t->b, err);
	return t->client ? 0 : -1;
}

static void transfer_release(struct transfer *t)
{
	oci_ref_release(&t->ref);
	ui_free(t->b.ui);
	registry_client_free(t->b.registry);
	sandbox_context_free(t->b.sandbox);
	pool_free(t->b.pool);
	for (size_t i = 0; i < t->b.n_images; i++)
		build_image_free(t->b.images[i]);
	free(t->b.images);
	store_lease_free(t->b.lease);
	arena_release(&t->b.arena);
	pthread_mutex_destroy(&t->b.lock);
}

/* --- push ------------------------------------------------------------------------------------ */

struct blob_reader {
	struct reader base;
	int fd;
};

static ssize_t blob_read(struct reader *r, void *p, size_t n, struct error *err)
{
	ssize_t got = read(((struct blob_reader *)r)->fd, p, n);
	return got < 0 ? err_sys(err, errno, "reading a blob of the store") : got;
}

static void blob_free(struct reader *r)
{
	close_ptr(&((struct blob_reader *)r)->fd);
	free(r);
}

struct blob_source {
	struct store *store;
	const struct digest *digest;
};

static int blob_reopen(void *ctx, uint64_t offset, struct reader **ret, struct error *err)
{
	const struct blob_source *src = ctx;
	int fd;
	uint64_t size;
	if (store_blob_open(src->store, src->digest, &fd, &size, err) < 0)
		return -1;
	if (lseek(fd, (off_t)offset, SEEK_SET) < 0) {
		close(fd);
		return err_sys(err, errno, "reading a blob of the store");
	}
	struct blob_reader *r = new0(struct blob_reader, 1);
	*r = (struct blob_reader){{blob_read, blob_free}, fd};
	*ret = &r->base;
	return 0;
}

static int push_blob(
        struct transfer *t, const struct oci_descriptor *d, uint64_t ui_id, struct error *err)
{
	char hex[DIGEST_STR_MAX];
	bool have;
	digest_str(&d->digest, hex);
	if (registry_has_blob(t->client, &t->ref, &d->digest, &have, err) < 0)
		return -1;
	if (have) {
		ui_step_note(t->b.ui, ui_id, "%s already there", hex);
		return 0;
	}
	struct blob_source src = {t->b.store, &d->digest};
	ui_step_note(t->b.ui, ui_id, "pushing %s %lld bytes", hex, (long long)d->size);
	return registry_put_blob(
	        t->client, &t->ref, &d->digest, (uint64_t)d->size, blob_reopen, &src, err);
}

/* push_platform - one image: blobs, then the manifest (by tag, or by digest for an index). */
static int push_platform(struct transfer *t, const struct store_image *si, bool by_tag,
        uint64_t ui_id, struct oci_descriptor *ret, struct error *err)
{
	struct oci_image im;
	oci_image_init(&im);
	_cleanup_free_ char *config = NULL, *manifest = NULL;
	size_t n_config;
	if (store_image_config(t->b.store, &si->id, &im, err) < 0 ||
	        store_blob_read_all(t->b.store, &si->id, (size_t)8 << 20, &config, &n_config, err) <
	                0) {
		oci_image_release(&im);
		return -1;
	}
	size_t n = im.n_diff_ids;
	struct oci_descriptor *layers = new0(struct oci_descriptor, n);
	int rc = 0;
	for (size_t i = 0; i < n && rc >= 0; i++) {
		rc = export_layer_blob(t->b.store, t->b.lease, &im.diff_ids[i], t->o->compression,
		        t->o->level, t->o->force_compression, pool_size(t->b.pool), false,
		        &layers[i], err);
		if (rc >= 0)
			rc = push_blob(t, &layers[i], ui_id, err);
	}
	struct oci_descriptor cd = {
	        .media_type = (char *)OCI_MT_CONFIG, .digest = si->id, .size = (int64_t)n_config};
	if (rc >= 0)
		rc = push_blob(t, &cd, ui_id, err);
	if (rc >= 0) {
		manifest = image_manifest(&cd, layers, n, false, NULL);
		struct digest digest;
		char dstr[DIGEST_STR_MAX];
		sha256_buf(manifest, strlen(manifest), &digest);
		struct oci_ref ref = {.domain = t->ref.domain,
		        .path = t->ref.path,
		        .tag = by_tag ? t->ref.tag : NULL,
		        .digest = by_tag ? NULL : digest_str(&digest, dstr)};
		*ret = (struct oci_descriptor){.media_type = xstrdup(OCI_MT_MANIFEST),
		        .size = (int64_t)strlen(manifest),
		        .has_platform = true,
		        .platform = im.platform};
		rc = registry_put_manifest(t->client, &ref, manifest, strlen(manifest),
		        OCI_MT_MANIFEST, &ret->digest, err);
	}
	for (size_t i = 0; i < n; i++)
		oci_descriptor_release(&layers[i]);
	free(layers);
	oci_image_release(&im);
	return rc < 0 ? -1 : 0;
}

static bool platform_wanted(const struct transfer *t, const struct oci_platform *p)
{
	if (!t->o->platforms || !t->o->platforms->n)
		return true;
	for (size_t i = 0; i < t->o->platforms->n; i++) {
		struct oci_platform want;
		struct error err = ERROR_INIT;
		bool yes = oci_platform_parse(t->o->platforms->v[i], &want, &err) >= 0 &&
		           oci_platform_equal(&want, p);
		error_release(&err);
		if (yes)
			return true;
	}
	return false;
}

static int push_all(struct transfer *t, const struct store_image *v, size_t n, char **ret_digest,
        struct error *err)
{
	char dstr[DIGEST_STR_MAX];
	struct oci_index idx = {.media_type = (char *)OCI_MT_INDEX};
	idx.manifests = new0(struct oci_descriptor, n);
	int rc = 0;
	for (size_t i = 0; i < n && rc >= 0; i++) {
		char plat[128];
		_cleanup_free_ char *shown = xasprintf("pushing %s/%s for %s", t->ref.domain,
		        t->ref.path, oci_platform_string(&v[i].platform, plat, sizeof(plat)));
		ui_step_start(t->b.ui, i + 1, shown);
		rc = push_platform(t, &v[i], n == 1, i + 1, &idx.manifests[i], err);
		idx.n_manifests++;
		if (rc < 0)
			ui_step_error(t->b.ui, i + 1, err->msg);
		else
			ui_step_done(t->b.ui, i + 1);
	}
	struct digest digest = idx.manifests[0].digest;
	if (rc >= 0 && n > 1) {
		_cleanup_free_ char *text = oci_index_encode(&idx);
		rc = registry_put_manifest(
		        t->client, &t->ref, text, strlen(text), OCI_MT_INDEX, &digest, err);
	}
	if (rc >= 0)
		*ret_digest = xstrdup(digest_str(&digest, dstr));
	for (size_t i = 0; i < idx.n_manifests; i++)
		oci_descriptor_release(&idx.manifests[i]);
	free(idx.manifests);
	return rc;
}

int transfer_push(struct store *s, const char *name, const struct transfer_options *o,
        char **ret_digest, struct error *err)
{
	struct transfer t;
	struct store_image *all = NULL;
	size_t n_all = 0, n = 0;
	int rc = transfer_init(&t, s, name, o, err);
	_cleanup_free_ char *full = rc < 0 ? NULL : oci_ref_string(&t.ref);
	if (rc >= 0)
		rc = store_image_list(s, &all, &n_all, err);
	_cleanup_free_ struct store_image *mine = new0(struct store_image, n_all + 1);
	for (size_t i = 0; i < n_all; i++)
		if (rc >= 0 && str_eq(all[i].name, full) && platform_wanted(&t, &all[i].platform))
			mine[n++] = all[i];
	if (rc >= 0 && n == 0) {
		rc = err_set(err, ERR_NOT_FOUND, "no such image: %s", name);
		(void)err_hint(
		        err, "strake images lists what is here; strake tag gives another name");
	}
	/* Layers without a compressed form are read from their trees. */
	if (rc >= 0)
		rc = build_enter(&t.b, err);
	if (rc >= 0)
		rc = push_all(&t, mine, n, ret_digest, err);
	store_images_free(all, n_all);
	transfer_release(&t);
	return rc < 0 ? -1 : 0;
}

/* --- pull ------------------------------------------------------------------------------------ */

/* pull_one - the layers, then the tag. */
static int pull_one(
        struct transfer *t, struct build_image *im, const char *name, size_t i, struct error *err)
{
	if (build_image_ensure(&t->b, im, UI_NODE + i, err) < 0)
		return -1;
	uint64_t size = 0;
	for (size_t k = 0; k < im->config.n_diff_ids; k++) {
		const struct store_layer *l;
		if (store_layer_get(t->b.store, t->b.lease, &im->config.diff_ids[k], 0, &l, err) <
		        0)
			return -1;
		size += l->size;
	}
	struct tm tm = {0};
	int64_t created =
	        im->config.created && strptime(im->config.created, "%Y-%m-%dT%H:%M:%S", &tm)
	                ? timegm(&tm)
	                : 0;
	return store_image_put(t->b.store, name, &im->config_digest, &im->platform, im->digest,
	        size, created, i > 0, err);
}

int transfer_pull(struct store *s, const char *name, const struct transfer_options *o,
        char **ret_digest, struct error *err)
{
	struct transfer t;
	struct oci_platform *platforms = NULL;
	size_t n = 0;
	static const struct strv none;
	int rc = transfer_init(&t, s, name, o, err);
	t.bo.pull = true;
	_cleanup_free_ char *full = rc < 0 ? NULL : oci_ref_string(&t.ref);
	if (rc >= 0)
		rc = build_resolve_platforms(
		        o->platforms ? o->platforms : &none, &platforms, &n, err);
	for (size_t i = 0; i < n && rc >= 0; i++) {
		struct graph_needed need = {.ref = full, .platform = platforms[i]};
		rc = build_resolve_image(&t.b, &need, err);
	}
	if (rc >= 0)
		rc = build_enter(&t.b, err);
	for (size_t i = 0; i < t.b.n_images && rc >= 0; i++)
		rc = pull_one(&t, t.b.images[i], full, i, err);
	if (rc >= 0)
		*ret_digest = xstrdup(str_or_empty(t.b.images[0]->digest));
	free(platforms);
	transfer_release(&t);
	return rc < 0 ? -1 : 0;
}
