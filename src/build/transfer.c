/* build/transfer.c - see transfer.h. */
#include "build/transfer.h"

#include <time.h>
#include <unistd.h>

#include "build/attest.h"
#include "build/internal.h"
#include "build/push.h"

struct transfer {
	struct build b; /* for the image and privilege helpers; has no graph */
	struct build_options bo;
	const struct transfer_options *o;
	struct oci_ref ref;
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
	return build_registry(&t->b, err) ? 0 : -1;
}

static void transfer_release(struct transfer *t)
{
	oci_ref_release(&t->ref);
	ui_free(t->b.ui);
	registry_client_free(t->b.registry);
	sandbox_context_free(t->b.sandbox);
	pool_free(t->b.pool);
	pool_free(t->b.net);
	for (size_t i = 0; i < t->b.n_images; i++)
		build_image_free(t->b.images[i]);
	free(t->b.images);
	store_lease_free(t->b.lease);
	arena_release(&t->b.arena);
	pthread_mutex_destroy(&t->b.lock);
}

/* --- push ------------------------------------------------------------------------------------ */

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

struct push_image {
	struct oci_image config;
	char *json;
	struct image_attestation attests[ATTEST_MAX];
	size_t n_attests;
};

static int read_images(struct store *s, const struct store_image *v, size_t n,
        struct push_image *im, const struct strv *names, struct export_image *ret,
        struct error *err)
{
	for (size_t i = 0; i < n; i++) {
		size_t len;
		oci_image_init(&im[i].config);
		if (store_image_config(s, &v[i].id, &im[i].config, err) < 0 ||
		        store_blob_read_all(s, &v[i].id, (size_t)8 << 20, &im[i].json, &len, err) <
		                0 ||
		        attest_kept(s, &v[i].id, im[i].attests, ARRAY_SIZE(im[i].attests),
		                &im[i].n_attests, err) < 0)
			return -1;
		ret[i] = (struct export_image){
		        &im[i].config, im[i].json, *names, im[i].attests, im[i].n_attests};
	}
	return 0;
}

static int push_all(struct transfer *t, struct push_target *to, const struct store_image *v,
        size_t n, struct oci_descriptor *ret, struct error *err)
{
	/* As it came, so that whoever knows its digest finds it here, too. */
	if (n == 1 && !t->o->force_compression && t->o->level < 0) {
		int rc = push_verbatim(to, &v[0].id, ret, err);
		if (rc != 0)
			return MIN(rc, 0);
	}
	_cleanup_free_ struct push_image *im = new0(struct push_image, n);
	_cleanup_free_ struct export_image *images = new0(struct export_image, n);
	const struct export_options o = {.compression = t->o->compression,
	        .level = t->o->level,
	        .force_compression = t->o->force_compression,
	        .oci_mediatypes = true};
	struct strv names = STRV_INIT;
	strv_add_take(&names, oci_ref_string(&t->ref));
	int rc = read_images(t->b.store, v, n, im, &names, images, err);
	if (rc >= 0)
		rc = push_images(to, images, n, &o, ret, err);
	for (size_t i = 0; i < n; i++) {
		oci_image_release(&im[i].config);
		free(im[i].json);
		attest_release(im[i].attests, im[i].n_attests);
	}
	strv_release(&names);
	return rc;
}

static int push_shown(struct transfer *t, const char *name, const struct store_image *v, size_t n,
        char **ret_digest, struct error *err)
{
	struct push_target to;
	struct oci_descriptor d = {0};
	char dstr[DIGEST_STR_MAX];
	_cleanup_free_ char *shown = xasprintf("pushing %s", name);
	ui_step_start(t->b.ui, UI_EXPORT, shown);
	int rc = push_target_init(&t->b, name, false, UI_EXPORT, &to, err);
	if (rc >= 0)
		rc = push_all(t, &to, v, n, &d, err);
	push_target_release(&to);
	if (rc < 0)
		ui_step_error(t->b.ui, UI_EXPORT, err->msg);
	else
		ui_step_done(t->b.ui, UI_EXPORT);
	if (rc >= 0)
		*ret_digest = xstrdup(digest_str(&d.digest, dstr));
	oci_descriptor_release(&d);
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
		rc = push_shown(&t, full, mine, n, ret_digest, err);
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
	attest_fetch(&t->b, im);
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
