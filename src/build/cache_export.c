/* build/cache_export.c - what this build knows, for other machines; see cache.h.
 *
 * mode=min sends the layers of the result, mode=max those of all steps; the records of all steps go
 * with both, because the key of a late step is made of what the earlier ones left. */
#include "build/cache.h"

#include "build/push.h"
#include "codec/json.h"
#include "image/image.h"

/* --- what was used -----------------------------------------------------------------------------
 */

static void add_used(struct build *b, const struct digest *key, const struct step_record *r)
{
	cache_doc_add_record(&b->cache_used, &(struct cache_record){.key = *key,
	                                             .diff_id = r->diff_id,
	                                             .tree = r->tree,
	                                             .created_sec = r->created_sec,
	                                             .created_nsec = r->created_nsec,
	                                             .cost_ms = r->cost_ms});
}

void cache_note_used(struct build *b, const struct digest *key, const struct step_record *r)
{
	if (!b->n_cache_to && !b->inline_cache)
		return;
	pthread_mutex_lock(&b->cache_lock);
	add_used(b, key, r);
	if (!digest_is_zero(&r->twin))
		add_used(b, &r->twin, r);
	pthread_mutex_unlock(&b->cache_lock);
}

static int digest_cmp(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct digest));
}

static size_t unique(struct digest *v, size_t n)
{
	size_t k = 0;
	if (n)
		qsort(v, n, sizeof(*v), digest_cmp);
	for (size_t i = 0; i < n; i++)
		if (k == 0 || !digest_eq(&v[k - 1], &v[i]))
			v[k++] = v[i];
	return k;
}

/* The layers that the steps of this build made, in the order of their digests. */
static size_t step_layers(
        const struct build *b, const struct solve_output *outputs, struct digest **ret)
{
	struct digest *v = new0(struct digest, b->graph->n_nodes + 1);
	size_t n = 0;
	for (size_t i = 0; i < b->graph->n_nodes; i++) {
		const struct rootfs *r = outputs[i].value;
		if (r && !r->from_base && b->graph->nodes[i]->op != GRAPH_IMAGE)
			v[n++] = r->diff_id;
	}
	*ret = v;
	return unique(v, n);
}

static size_t result_layers(
        const struct build *b, const struct solve_output *outputs, struct digest **ret)
{
	struct digest *v = NULL;
	size_t n = 0, cap = 0;
	for (size_t k = 0; k < b->graph->n_targets; k++) {
		uint32_t node = b->graph->targets[k].node;
		const struct rootfs *r = node == GRAPH_NONE ? NULL : outputs[node].value;
		for (; r; r = r->parent) {
			if (r->from_base)
				continue;
			vec_grow(&v, &cap, n + 1);
			v[n++] = r->diff_id;
		}
	}
	*ret = v;
	return unique(v, n);
}

/* --- inline ------------------------------------------------------------------------------------
 */

void build_inline_cache(
        struct build *b, const struct solve_output *outputs, struct oci_image *config)
{
	/* A base's own records say nothing about this image. */
	if (config->extra)
		json_object_del(config->extra, CACHE_INLINE_KEY);
	if (!b->inline_cache)
		return;
	struct cache_doc doc = {0};
	_cleanup_free_ struct digest *layers = NULL;
	size_t n = step_layers(b, outputs, &layers);
	/* Only the steps': what is made on the way to run one is not there in a cached build, and
	 * the image must be the same. */
	for (size_t i = 0; i < b->cache_used.n_records; i++) {
		const struct cache_record *r = &b->cache_used.records[i];
		if (n && bsearch(&r->diff_id, layers, n, sizeof(*layers), digest_cmp))
			cache_doc_add_record(&doc, r);
	}
	cache_doc_sort(&doc);
	if (!config->extra)
		config->extra = json_object();
	json_object_set_new(config->extra, CACHE_INLINE_KEY, cache_doc_json(&doc, false));
	cache_doc_release(&doc);
}

/* --- registry and directory --------------------------------------------------------------------
 */

struct cache_export {
	struct build *b;
	const struct cache_spec *spec;
	uint64_t ui_id;
	struct push_target target; /* REGISTRY */
	struct digest *diff_ids;
	struct oci_descriptor *blobs; /* parallel; media_type NULL: its bytes are nowhere */
	size_t n;
	struct error *errs;
};

static int export_layer(struct cache_export *x, size_t i, struct error *err)
{
	struct build *b = x->b;
	const struct cache_spec *s = x->spec;
	const struct export_push_layer p = {.diff_id = &x->diff_ids[i],
	        .compression = s->compression,
	        .level = s->level,
	        .force = s->force,
	        .docker_types = !s->oci_types,
	        .n_threads = MAX(1u, pool_size(b->pool) / (unsigned)MAX(x->n, (size_t)1))};
	if (s->type == CACHE_REGISTRY)
		return export_push_layer(b->store, b->lease, &x->target.r, &p, &x->blobs[i], err);
	int rc = export_layer_blob(b->store, b->lease, p.diff_id, p.compression, p.level, p.force,
	        p.n_threads, p.docker_types, &x->blobs[i], err);
	if (rc >= 0 || err->class != ERR_NOT_FOUND)
		return rc;
	error_release(err);
	if (cache_fetch_blob(b, p.diff_id, err) < 0)
		return -1;
	return export_layer_blob(b->store, b->lease, p.diff_id, p.compression, p.level, p.force,
	        p.n_threads, p.docker_types, &x->blobs[i], err);
}

static void export_job(void *ctx, size_t i)
{
	struct cache_export *x = ctx;
	if (export_layer(x, i, &x->errs[i]) >= 0)
		return;
	/* A record without its layer is of use, too. */
	if (x->errs[i].class == ERR_NOT_FOUND)
		error_release(&x->errs[i]);
}

static int export_layers(struct cache_export *x, struct error *err)
{
	struct pool *pool = x->spec->type == CACHE_REGISTRY ? x->target.pool : x->b->pool;
	int rc = 0;
	x->blobs = new0(struct oci_descriptor, x->n + 1);
	x->errs = new0(struct error, x->n + 1);
	pool_run(pool, x->n, export_job, x);
	for (size_t i = 0; i < x->n; i++) {
		if (rc == 0 && error_is_set(&x->errs[i])) {
			error_move(err, &x->errs[i]);
			rc = -1;
		}
		error_release(&x->errs[i]);
	}
	free(x->errs);
	return rc;
}

static int put_config(struct cache_export *x, struct oci_descriptor *ret, struct error *err)
{
	struct cache_doc *doc = &x->b->cache_used;
	doc->n_layers = 0;
	for (size_t i = 0; i < x->n; i++)
		if (x->blobs[i].media_type)
			cache_doc_add_layer(doc, &x->diff_ids[i]);
	_cleanup_json_ json_t *j = cache_doc_json(doc, true);
	_cleanup_free_ char *text = json_compact(j);
	if (strlen(text) > CACHE_DOC_MAX)
		return err_set(
		        err, ERR_USAGE, "%zu steps are too many for a cache", doc->n_records);
	char mt[] = CACHE_MT_CONFIG;
	struct oci_descriptor d = {.media_type = mt, .size = (int64_t)strlen(text)};
	if (store_blob_put(x->b->store, x->b->lease, text, strlen(text), &d.digest, err) < 0)
		return -1;
	oci_descriptor_copy(ret, &d);
	return 0;
}

/* The manifest (or index) over config and layers, its parts first. */
static int put_manifest(struct cache_export *x, struct oci_descriptor *parts, size_t n,
        const struct oci_descriptor *config, struct error *err)
{
	const struct cache_spec *s = x->spec;
	struct build *b = x->b;
	parts[n] = *config;
	_cleanup_free_ char *text = s->image_manifest
	                                    ? image_manifest(config, parts, n, false, NULL)
	                                    : image_index(parts, n + 1, !s->oci_types, NULL);
	char *type = (char *)(s->image_manifest ? OCI_MT_MANIFEST
	                      : s->oci_types    ? OCI_MT_INDEX
	                                        : DOCKER_MT_INDEX);
	if (s->type == CACHE_REGISTRY) {
		if (export_push_blob(b->store, &x->target.r, config, err) < 0)
			return -1;
		return export_push_manifest(&x->target.r, text, strlen(text), type, true, err);
	}
	struct oci_descriptor top = {.media_type = type, .size = (int64_t)strlen(text)};
	if (store_blob_put(b->store, b->lease, text, strlen(text), &top.digest, err) < 0)
		return -1;
	return export_artifact_dir(
	        b->store, b->lease, s->dir, s->tag ? s->tag : "latest", &top, parts, n + 1, err);
}

static int export_all(struct cache_export *x, struct error *err)
{
	struct oci_descriptor config = {0};
	if (export_layers(x, err) < 0 || put_config(x, &config, err) < 0)
		return -1;
	_cleanup_free_ struct oci_descriptor *parts = new0(struct oci_descriptor, x->n + 1);
	size_t n = 0;
	for (size_t i = 0; i < x->n; i++)
		if (x->blobs[i].media_type)
			parts[n++] = x->blobs[i]; /* borrowed */
	int rc = put_manifest(x, parts, n, &config, err);
	if (rc >= 0)
		ui_step_note(x->b->ui, x->ui_id, "%zu records, %zu of %zu layers",
		        x->b->cache_used.n_records, n, x->n);
	oci_descriptor_release(&config);
	return rc;
}

static int export_one(struct build *b, const struct cache_spec *s, uint64_t id,
        const struct solve_output *outputs, struct error *err)
{
	struct cache_export x = {.b = b, .spec = s, .ui_id = id};
	/* Layers hold files of other ids. */
	if (build_enter(b, err) < 0)
		return -1;
	x.n = s->max ? step_layers(b, outputs, &x.diff_ids)
	             : result_layers(b, outputs, &x.diff_ids);
	int rc = s->type == CACHE_REGISTRY ? push_target_init(b, s->ref, false, id, &x.target, err)
	                                   : 0;
	if (rc >= 0)
		rc = export_all(&x, err);
	push_target_release(&x.target);
	for (size_t i = 0; x.blobs && i < x.n; i++)
		oci_descriptor_release(&x.blobs[i]);
	free(x.blobs);
	free(x.diff_ids);
	return rc;
}

int build_export_caches(struct build *b, const struct solve_output *outputs, struct error *err)
{
	cache_doc_sort(&b->cache_used);
	for (size_t i = 0; i < b->n_cache_to; i++) {
		const struct cache_spec *s = &b->cache_to[i];
		uint64_t id = UI_CACHE_EXPORT + i;
		if (s->type == CACHE_INLINE)
			continue;
		ui_step_start(b->ui, id,
		        s->type == CACHE_REGISTRY ? "exporting cache to registry"
		                                  : "exporting cache to client directory");
		int rc = export_one(b, s, id, outputs, err);
		if (rc < 0 && s->ignore_error && err->class != ERR_CANCELLED) {
			ui_step_note(b->ui, id, "WARNING: cache not exported: %s", err->msg);
			error_release(err);
			rc = 0;
		}
		if (rc < 0) {
			ui_step_error(b->ui, id, err->msg);
			return err_wrap(err, "exporting the cache to %s", s->ref ? s->ref : s->dir);
		}
		ui_step_done(b->ui, id);
	}
	return 0;
}
