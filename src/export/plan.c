/* export/plan.c - everything about a layout that must be known before its first byte is written:
 * digests and sizes of all blobs, manifests, the index.
 *
 * Compressed layers become blobs of the store first, because a tar header needs the size ahead of
 * the bytes; they stay there, so that the next export or push of the layer costs no compression.
 * Plain layers need no staging: their digest is the diff id and their size is recorded, so their
 * tar is written straight from the tree. */
#include "export/internal.h"
#include "export/registry.h"
#include "image/image.h"

void export_plan_release(struct plan *p)
{
	for (size_t i = 0; i < p->n_images; i++) {
		struct plan_image *im = &p->images[i];
		oci_image_release(&im->config);
		oci_descriptor_release(&im->config_desc);
		oci_descriptor_release(&im->manifest);
		for (size_t k = 0; k < im->n_layers; k++)
			oci_descriptor_release(&im->layers[k]);
		free(im->layers);
		for (size_t k = 0; k < im->n_parts; k++)
			oci_descriptor_release(&im->parts[k]);
		free(im->parts);
		for (size_t k = 0; k < im->n_attests; k++)
			oci_descriptor_release(&im->attests[k]);
		free(im->attests);
	}
	free(p->images);
	free(p->blobs);
	oci_descriptor_release(&p->top);
	*p = (struct plan){0};
}

static void add_blob(struct plan *p, const struct digest *d, uint64_t size, bool layer_tar)
{
	for (size_t i = 0; i < p->n_blobs; i++)
		if (digest_eq(&p->blobs[i].digest, d))
			return;
	vec_grow(&p->blobs, &p->cap_blobs, p->n_blobs + 1);
	p->blobs[p->n_blobs++] = (struct plan_blob){*d, size, layer_tar};
}

static int blob_cmp(const void *a, const void *b)
{
	const struct plan_blob *x = a, *y = b;
	return memcmp(x->digest.b, y->digest.b, sizeof(x->digest.b));
}

int plan_add_text(struct plan *p, struct store *s, struct store_lease *l, const char *text,
        const char *media_type, struct oci_descriptor *ret, struct error *err)
{
	struct digest d;
	if (store_blob_put(s, l, text, strlen(text), &d, err) < 0)
		return -1;
	*ret = (struct oci_descriptor){
	        .media_type = xstrdup(media_type),
	        .digest = d,
	        .size = (int64_t)strlen(text),
	};
	add_blob(p, &d, strlen(text), false);
	return 0;
}

/* --- layers ---------------------------------------------------------------------------------- */

struct layer_job {
	struct store *s;
	struct store_lease *l;
	const struct export_options *o;
	enum compression c;
	bool plain;     /* new layers as plain tars */
	bool keep_base; /* layers of the base as they came */
	bool docker;
	unsigned n_threads;
	struct plan_image *im;
	bool *straight;          /* layer i is written from its tree */
	struct digest *diff_ids; /* may change by rewriting */
	int *result;
	struct error *errs;
};

static bool has_newer(const struct tree *t, int64_t epoch)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->entries[i].type != TREE_WHITEOUT && t->entries[i].mtime_sec > epoch)
			return true;
	return false;
}

/* The layer with its newer times clamped, as a blob. Its diff id comes out of it. */
static int clamped_blob(
        struct layer_job *j, const struct store_layer *layer, size_t i, struct error *err)
{
	struct digest diff = {0}, digest = {0};
	uint64_t size = 0, tar_size = 0;
	struct tar_write_options opt = {.clamp_mtime = true, .mtime_max = j->o->epoch};
	/* Its digest is new: nothing else would tell what was damaged. */
	if (store_layer_verify(j->s, &layer->diff_id, err) <= 0)
		return -1;
	_cleanup_sink_ struct sink *chain =
	        sink_hash(sink_compress(store_blob_sink(j->s, j->l, NULL, &digest, &size), j->c,
	                          j->o->level, j->n_threads),
	                &diff, &tar_size);
	if (tar_write_tree(layer->tree, layer->fd, &opt, chain, err) < 0 ||
	        sink_finish(chain, err) < 0)
		return -1;
	const char *name = compression_name(j->c);
	j->diff_ids[i] = diff;
	j->im->layers[i] = (struct oci_descriptor){
	        .media_type = xstrdup(image_layer_media_type(name, j->docker)),
	        .digest = digest,
	        .size = (int64_t)size,
	};
	return export_remember_blob(j->s, &diff, &j->im->layers[i], err);
}

/* 1: clamped; 0: nothing to clamp, or a layer of the base. */
static int try_clamp(struct layer_job *j, size_t i, struct error *err)
{
	const struct store_layer *layer = NULL;
	if (!j->o->rewrite_timestamp)
		return 0;
	int r = store_layer_get(
	        j->s, j->l, &j->diff_ids[i], STORE_LAYER_FD | STORE_LAYER_TREE, &layer, err);
	if (r == 0 && (r = export_packed_open(j->s, j->l, &j->diff_ids[i], &layer, err)) > 0)
		r = store_layer_get(j->s, j->l, &j->diff_ids[i], STORE_LAYER_FD | STORE_LAYER_TREE,
		        &layer, err);
	if (r <= 0 || !layer->canonical || !has_newer(layer->tree, j->o->epoch))
		return r < 0 ? -1 : 0;
	return clamped_blob(j, layer, i, err) < 0 ? -1 : 1;
}

static int push_layer(struct layer_job *j, size_t i, struct error *err)
{
	const struct export_push_layer p = {
	        .diff_id = &j->diff_ids[i],
	        .compression = j->c,
	        .level = j->o->level,
	        .force = j->o->force_compression,
	        .docker_types = j->docker,
	        .n_threads = j->n_threads,
	};
	return export_push_layer(j->s, j->l, j->o->registry, &p, &j->im->layers[i], err);
}

static int plan_layer(struct layer_job *j, size_t i, struct error *err)
{
	int r = try_clamp(j, i, err);
	if (r == 1 && j->o->registry)
		return export_push_blob(j->s, j->o->registry, &j->im->layers[i], err);
	if (r != 0)
		return r < 0 ? -1 : 0;
	if (j->o->registry)
		return push_layer(j, i, err);
	bool straight = j->plain;
	if (straight && j->keep_base) {
		const struct store_layer *layer = NULL;
		r = store_layer_get(j->s, j->l, &j->diff_ids[i], 0, &layer, err);
		if (r < 0)
			return -1;
		struct export_packed packed;
		straight = r == 1 ? layer->canonical
		                  : export_packed_get(j->s, &j->diff_ids[i], &packed, err) > 0;
	}
	if (!straight)
		return export_layer_blob(j->s, j->l, &j->diff_ids[i], j->c, j->o->level,
		        j->o->force_compression, j->n_threads, j->docker, &j->im->layers[i], err);
	uint64_t size = 0;
	if (export_layer_tar_size(j->s, j->l, &j->diff_ids[i], &size, err) < 0)
		return -1;
	j->straight[i] = true;
	j->im->layers[i] = (struct oci_descriptor){
	        .media_type = xstrdup(image_layer_media_type("", j->docker)),
	        .digest = j->diff_ids[i],
	        .size = (int64_t)size,
	};
	return 0;
}

static void run_layer(void *ctx, size_t i)
{
	struct layer_job *j = ctx;
	j->result[i] = plan_layer(j, i, &j->errs[i]);
}

static int plan_layers(
        struct plan *p, struct layer_job *j, struct pool *pool, size_t n, struct error *err)
{
	int r = 0;
	unsigned side_by_side = (unsigned)MIN(n, (size_t)pool_size(pool));
	j->n_threads = MAX(1u, j->o->n_threads / MAX(1u, side_by_side));
	j->result = new0(int, n + 1);
	j->errs = new0(struct error, n + 1);
	j->straight = new0(bool, n + 1);
	pool_run(pool, n, run_layer, j);
	for (size_t i = 0; i < n; i++) {
		if (j->result[i] < 0 && r == 0) {
			error_move(err, &j->errs[i]);
			r = -1;
		}
		error_release(&j->errs[i]);
		if (r == 0)
			if (i >= j->o->skip_layers)
				add_blob(p, &j->im->layers[i].digest,
				        (uint64_t)j->im->layers[i].size, j->straight[i]);
	}
	free(j->result);
	free(j->errs);
	free(j->straight);
	return r;
}

/* --- images ---------------------------------------------------------------------------------- */

static int plan_config(struct plan *p, struct store *s, struct store_lease *l,
        struct plan_image *im, const struct digest *diff_ids, bool docker, struct error *err)
{
	bool changed = false;
	for (size_t i = 0; i < im->n_layers; i++) {
		changed |= !digest_eq(&im->config.diff_ids[i], &diff_ids[i]);
		im->config.diff_ids[i] = diff_ids[i];
	}
	_cleanup_free_ char *text = changed || !im->image->config_json
	                                    ? oci_image_encode(&im->config)
	                                    : xstrdup(im->image->config_json);
	const char *mt = docker ? DOCKER_MT_CONFIG : OCI_MT_CONFIG;
	return plan_add_text(p, s, l, text, mt, &im->config_desc, err);
}

static int plan_image(struct plan *p, struct store *s, struct store_lease *l,
        const struct export_options *o, bool plain, struct pool *pool, struct plan_image *im,
        struct error *err)
{
	const struct export_image *image = im->image;
	size_t n = image->config->n_diff_ids;
	bool docker = !o->oci_mediatypes;
	oci_image_copy(&im->config, image->config);
	im->layers = new0(struct oci_descriptor, n + 1);
	im->n_layers = n;
	_cleanup_free_ struct digest *diff_ids = new0(struct digest, n + 1);
	for (size_t i = 0; i < n; i++)
		diff_ids[i] = image->config->diff_ids[i];
	struct layer_job j = {
	        .s = s,
	        .l = l,
	        .o = o,
	        .c = plain ? COMPRESS_NONE : o->compression,
	        .plain = plain,
	        .keep_base = o->type == EXPORT_OCI && !o->force_compression,
	        .docker = docker,
	        .im = im,
	        .diff_ids = diff_ids,
	};
	if (plan_layers(p, &j, pool, n, err) < 0 ||
	        plan_config(p, s, l, im, diff_ids, docker, err) < 0)
		return -1;
	const struct oci_platform *platform = &im->config.platform;
	_cleanup_json_ json_t *notes = export_annotations(o, EXPORT_ON_MANIFEST, platform);
	_cleanup_free_ char *manifest =
	        image_manifest(&im->config_desc, im->layers, n, docker, notes);
	const char *mt = docker ? DOCKER_MT_MANIFEST : OCI_MT_MANIFEST;
	if (plan_add_text(p, s, l, manifest, mt, &im->manifest, err) < 0)
		return -1;
	im->manifest.has_platform = true;
	im->manifest.platform = im->config.platform;
	plan_annotate(
	        &im->manifest, export_annotations(o, EXPORT_ON_MANIFEST_DESCRIPTOR, platform));
	return o->type == EXPORT_DOCKER ? 0 : plan_attestations(p, s, l, o, im, err);
}

static int plan_top(struct plan *p, struct store *s, struct store_lease *l,
        const struct export_options *o, struct error *err)
{
	bool docker = !o->oci_mediatypes;
	size_t n = 0;
	p->referrers = o->attest_referrers;
	p->indexed = p->n_images > 1 || o->index;
	for (size_t i = 0; i < p->n_images; i++) {
		p->indexed |= p->images[i].n_attests && !p->referrers;
		n += 1 + p->images[i].n_attests;
	}
	if (!p->indexed) {
		oci_descriptor_copy(&p->top, &p->images[0].manifest);
		return 0;
	}
	/* The attestations after all images: some readers take the first manifest. */
	_cleanup_free_ struct oci_descriptor *v = new0(struct oci_descriptor, n);
	n = 0;
	for (size_t i = 0; i < p->n_images; i++)
		v[n++] = p->images[i].manifest; /* borrowed */
	for (size_t i = 0; i < p->n_images && !p->referrers; i++)
		for (size_t k = 0; k < p->images[i].n_attests; k++)
			v[n++] = p->images[i].attests[k];
	_cleanup_json_ json_t *notes = export_annotations(o, EXPORT_ON_INDEX, NULL);
	_cleanup_free_ char *text = image_index(v, n, docker, notes);
	const char *mt = docker ? DOCKER_MT_INDEX : OCI_MT_INDEX;
	if (plan_add_text(p, s, l, text, mt, &p->top, err) < 0)
		return -1;
	plan_annotate(&p->top, export_annotations(o, EXPORT_ON_INDEX_DESCRIPTOR, NULL));
	return 0;
}

int plan_make(struct plan *p, struct store *s, struct store_lease *l,
        const struct export_image *images, size_t n, const struct export_options *o, bool plain,
        struct pool *pool, struct error *err)
{
	*p = (struct plan){0};
	p->images = new0(struct plan_image, n);
	p->n_images = n;
	for (size_t i = 0; i < n; i++) {
		p->images[i].image = &images[i];
		oci_image_init(&p->images[i].config);
	}
	for (size_t i = 0; i < n; i++)
		if (plan_image(p, s, l, o, plain, pool, &p->images[i], err) < 0)
			return -1;
	if (plan_top(p, s, l, o, err) < 0)
		return -1;
	qsort(p->blobs, p->n_blobs, sizeof(*p->blobs), blob_cmp);
	return 0;
}
