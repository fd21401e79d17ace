/* build/image_rootfs.c - see image_rootfs.h: the image and privilege helpers of a build, without a
 * graph. */
#include "build/image_rootfs.h"

#include "build/internal.h"
#include "build/overlay.h"
#include "build/transfer.h"

struct image_rootfs_private {
	struct build b;
	struct build_options bo;
	struct build_view view;
};

void image_rootfs_end(struct image_rootfs *r)
{
	struct image_rootfs_private *p = r->private;
	sandbox_context_free(p->b.sandbox);
	p->b.sandbox = r->sandbox = NULL;
}

void image_rootfs_free(struct image_rootfs *r)
{
	if (!r)
		return;
	struct image_rootfs_private *p = r->private;
	build_view_release(&p->view);
	image_rootfs_end(r);
	registry_client_free(p->b.registry);
	pool_free(p->b.pool);
	for (size_t i = 0; i < p->b.n_images; i++)
		build_image_free(p->b.images[i]);
	free(p->b.images);
	build_trash_end(&p->b);
	store_lease_free(p->b.lease);
	ui_free(p->b.ui);
	arena_release(&p->b.arena);
	pthread_mutex_destroy(&p->b.lock);
	free(p);
	free(r);
}

static struct build_image *add_image(struct build *b, const struct digest *config, const char *name)
{
	struct build_image *im = new0(struct build_image, 1);
	struct error ignored = ERROR_INIT;
	im->asked = xstrdup(name);
	im->config_digest = *config;
	pthread_mutex_init(&im->lock, NULL);
	oci_image_init(&im->config);
	vec_grow(&b->images, &b->cap_images, 1);
	b->images[b->n_images++] = im;
	/* An id names no registry. */
	if (oci_ref_parse(name, &im->ref, &ignored) < 0)
		error_release(&ignored);
	return im;
}

static int open_rootfs(struct image_rootfs_private *p, const struct digest *config,
        const char *name, struct error *err)
{
	struct build *b = &p->b;
	if (store_lease_new(b->store, &b->lease, err) < 0)
		return -1;
	if (!config)
		return build_enter(b, err);
	struct build_image *im = add_image(b, config, name);
	if (store_image_config(b->store, config, &im->config, err) < 0)
		return err_wrap(err, "%s", name);
	im->platform = im->config.platform;
	if (build_enter(b, err) < 0)
		return -1;
	return build_view_open(b, rootfs_from_image(b, im), &p->view, err);
}

int image_rootfs_open(struct store *s, const struct digest *config, const char *name,
        const volatile bool *interrupted, struct image_rootfs **ret, struct error *err)
{
	struct image_rootfs *r = new0(struct image_rootfs, 1);
	struct image_rootfs_private *p = r->private = new0(struct image_rootfs_private, 1);
	p->bo.interrupted = interrupted;
	p->b.o = &p->bo;
	p->b.store = s;
	pthread_mutex_init(&p->b.lock, NULL);
	struct ui_options uo = {.mode = UI_NONE, .fd = STDERR_FILENO};
	p->b.ui = ui_new(&uo);
	if (open_rootfs(p, config, name, err) < 0) {
		image_rootfs_free(r);
		return -1;
	}
	r->lease = p->b.lease;
	r->view = p->view.v;
	r->fds = p->view.fds;
	r->lowers = p->view.lowers;
	r->n_lowers = p->view.n_lowers;
	r->single_id = p->b.single_id;
	r->pool = p->b.pool;
	r->sandbox = p->b.sandbox;
	*ret = r;
	return 0;
}

int image_rootfs_overlay(const struct image_rootfs *r, struct error *err)
{
	return build_overlay(&r->private->b, err);
}

int image_rootfs_fetch(
        const struct image_rootfs *r, const char *url, struct sink *to, struct error *err)
{
	struct registry_client *c = build_registry(&r->private->b, err);
	struct registry_http rq = {.url = url};
	int rc = c ? registry_http_get(c, &rq, to, err) : -1;
	registry_http_release(&rq);
	return rc;
}

/* --- by name --------------------------------------------------------------------------------- */

/* find_here - by name, then by id. */
static int find_here(struct store *s, const char *name, const struct oci_platform *p,
        struct store_image *ret, struct error *err)
{
	struct oci_ref ref = {0};
	_cleanup_error_ struct error ignored = ERROR_INIT;
	_cleanup_free_ char *full =
	        oci_ref_parse(name, &ref, &ignored) >= 0 ? oci_ref_string(&ref) : NULL;
	oci_ref_release(&ref);
	int rc = full ? store_image_find(s, full, p, ret, err) : 0;
	return rc != 0 ? rc : store_image_find(s, name, p, ret, err);
}

static int pin(
        struct store *s, struct store_lease *l, const struct store_image *im, struct error *err)
{
	struct oci_image config;
	oci_image_init(&config);
	int rc = store_image_config(s, &im->id, &config, err);
	const struct store_layer *layer;
	for (size_t i = 0; rc >= 0 && i < config.n_diff_ids; i++)
		rc = store_layer_get(s, l, &config.diff_ids[i], 0, &layer, err);
	oci_image_release(&config);
	return rc < 0 ? -1 : 0;
}

static int pull(
        struct store *s, const char *name, const struct image_find_options *o, struct error *err)
{
	_cleanup_strv_ struct strv platforms = STRV_INIT;
	if (o->platform)
		strv_add(&platforms, o->platform);
	struct transfer_options t = {.progress = o->quiet ? UI_NONE : UI_AUTO,
	        .platforms = &platforms,
	        .level = -1,
	        .interrupted = o->interrupted};
	_cleanup_free_ char *digest = NULL;
	return transfer_pull(s, name, &t, &digest, err);
}

int image_find(struct store *s, struct store_lease *l, const char *name,
        const struct image_find_options *o, struct store_image *ret, struct error *err)
{
	struct oci_platform p;
	if (o->platform && oci_platform_parse(o->platform, &p, err) < 0)
		return -1;
	const struct oci_platform *want = o->platform ? &p : NULL;
	bool always = o->pull && str_eq(o->pull, "always");
	int rc = always ? 0 : find_here(s, name, want, ret, err);
	if (rc == 0 && o->pull && str_eq(o->pull, "never")) {
		(void)err_set(err, ERR_NOT_FOUND, "no such image: %s", name);
		return err_hint(err, "--pull=never: strake images lists what is here");
	}
	if (rc == 0) {
		if (pull(s, name, o, err) < 0)
			return -1;
		rc = find_here(s, name, want, ret, err);
		if (rc == 0)
			return err_set(err, ERR_NOT_FOUND, "no such image: %s", name);
	}
	if (rc > 0 && l && pin(s, l, ret, err) < 0) {
		store_image_release(ret);
		return -1;
	}
	return rc < 0 ? -1 : 1;
}
