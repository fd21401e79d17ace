/* build/cache_import.c - remote caches as a source of records and layers; see cache.h.
 *
 * Every byte is checked: documents and blobs against their digests, a layer's tar against its diff
 * id, its files against the tree digest that the records claim. What cannot be checked is whether a
 * step really makes that layer: whoever may write a cache decides what is in the image. */
#include "build/cache.h"

#include "base/log.h"
#include "build/push.h"
#include "codec/json.h"

#define CONFIG_MAX ((size_t)8 << 20)

static struct registry_client *client(struct build *b, struct error *err)
{
	return build_registry(b, err);
}

/* --- reading the list --------------------------------------------------------------------------
 */

static int too_large(const char *shown, const struct oci_descriptor *d, struct error *err)
{
	return err_set(err, ERR_INTEGRITY, "%s: a document of %lld bytes is refused", shown,
	        (long long)d->size);
}

/* A document by its descriptor: verified, at most max bytes. */
static int get_text(struct build *b, struct cache_source *s, const struct oci_descriptor *d,
        size_t max, char **ret, size_t *ret_n, struct error *err)
{
	if (d->size < 0 || (uint64_t)d->size > max)
		return too_large(s->spec.shown, d, err);
	if (s->spec.type == CACHE_LOCAL) {
		if (export_layout_blob(b->store, b->lease, s->spec.dir, d, err) < 0)
			return -1;
		return store_blob_read_all(b->store, &d->digest, max, ret, ret_n, err);
	}
	struct registry_client *c = client(b, err);
	if (!c)
		return -1;
	struct strbuf sb = STRBUF_INIT;
	_cleanup_sink_ struct sink *to = sink_strbuf(&sb, max, "the cache's list");
	if (registry_get_blob(c, &s->ref, d, to, err) < 0) {
		strbuf_release(&sb);
		return -1;
	}
	*ret_n = sb.len;
	*ret = strbuf_detach(&sb);
	return 0;
}

/* The top document, or with `at` one that an index names. */
static int get_manifest(struct build *b, struct cache_source *s, const struct oci_descriptor *at,
        enum oci_doc *ret_kind, struct oci_manifest *ret_m, struct oci_index *ret_i,
        struct error *err)
{
	_cleanup_free_ char *text = NULL, *type = NULL;
	size_t n = 0;
	struct digest ignored;
	if (s->spec.type == CACHE_LOCAL) {
		struct oci_descriptor top = {0};
		int rc = 0;
		if (!at)
			rc = export_layout_find(b->store, b->lease, s->spec.dir, s->spec.tag,
			        s->spec.digest, &top, err);
		if (rc >= 0)
			rc = get_text(b, s, at ? at : &top, (size_t)4 << 20, &text, &n, err);
		oci_descriptor_release(&top);
		if (rc < 0)
			return -1;
	} else {
		struct registry_client *c = client(b, err);
		char dstr[DIGEST_STR_MAX];
		struct oci_ref ref = {.domain = s->ref.domain,
		        .path = s->ref.path,
		        .tag = at ? NULL : s->ref.tag,
		        .digest = at ? digest_str(&at->digest, dstr) : s->ref.digest};
		if (!c || registry_get_manifest(c, &ref, &text, &n, &type, &ignored, err) < 0)
			return -1;
	}
	return oci_doc_parse(text, n, type, s->spec.shown, ret_kind, ret_m, ret_i, err);
}

static int parse_doc(
        const char *text, size_t n, const char *what, struct cache_doc *ret, struct error *err)
{
	_cleanup_json_ json_t *j = json_parse(text, n, CACHE_DOC_MAX, what, err);
	return j ? cache_doc_parse(j, what, ret, err) : -1;
}

/* The list takes the blobs over. */
static int add_list(struct cache_source *s, struct cache_doc *doc, const struct digest *diff_ids,
        size_t n_diff_ids, const struct oci_descriptor *blobs, size_t n, struct error *err)
{
	if (n != n_diff_ids) {
		cache_doc_release(doc);
		return err_set(err, ERR_INTEGRITY, "%s: %zu blobs for %zu layers", s->spec.shown, n,
		        n_diff_ids);
	}
	struct cache_list l = {.doc = *doc, .n = n};
	l.blobs = new0(struct oci_descriptor, n + 1);
	l.diff_ids = new0(struct digest, n + 1);
	l.used = new0(bool, l.doc.n_records + 1);
	for (size_t i = 0; i < n; i++) {
		oci_descriptor_copy(&l.blobs[i], &blobs[i]);
		l.diff_ids[i] = diff_ids[i];
	}
	vec_grow(&s->lists, &s->cap_lists, s->n_lists + 1);
	s->lists[s->n_lists++] = l;
	return 0;
}

static int load_own(struct build *b, struct cache_source *s, const struct oci_descriptor *config,
        const struct oci_descriptor *blobs, size_t n, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	struct cache_doc doc;
	if (get_text(b, s, config, CACHE_DOC_MAX, &text, &len, err) < 0 ||
	        parse_doc(text, len, s->spec.shown, &doc, err) < 0)
		return -1;
	return add_list(s, &doc, doc.layers, doc.n_layers, blobs, n, err);
}

/* An image whose config holds the records. */
static int load_image(
        struct build *b, struct cache_source *s, const struct oci_manifest *m, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	struct oci_image im;
	struct cache_doc doc;
	if (get_text(b, s, &m->config, CONFIG_MAX, &text, &len, err) < 0)
		return -1;
	oci_image_init(&im);
	int rc = oci_image_parse(text, len, s->spec.shown, &im, err);
	const json_t *j = rc < 0 ? NULL : json_object_get(im.extra, CACHE_INLINE_KEY);
	if (rc >= 0 && !j)
		rc = err_set(err, ERR_NOT_FOUND, "%s: this image holds no cache%s", s->spec.shown,
		        json_object_get(im.extra, "moby.buildkit.cache.v0")
		                ? " that strake can read, only BuildKit's"
		                : "");
	if (rc >= 0)
		rc = cache_doc_parse(j, s->spec.shown, &doc, err);
	if (rc >= 0)
		rc = add_list(s, &doc, im.diff_ids, im.n_diff_ids, m->layers, m->n_layers, err);
	oci_image_release(&im);
	return rc;
}

static int load_manifest(
        struct build *b, struct cache_source *s, const struct oci_manifest *m, struct error *err)
{
	const char *type = str_or_empty(m->config.media_type);
	if (str_eq(type, CACHE_MT_CONFIG))
		return load_own(b, s, &m->config, m->layers, m->n_layers, err);
	if (str_eq(type, OCI_MT_CONFIG) || str_eq(type, DOCKER_MT_CONFIG))
		return load_image(b, s, m, err);
	return err_set(err, ERR_NOT_FOUND, "%s: %s is not strake's cache format", s->spec.shown,
	        *type ? type : "this");
}

static int load_platforms(
        struct build *b, struct cache_source *s, const struct oci_index *idx, struct error *err)
{
	for (size_t k = 0; k < b->graph->n_targets; k++) {
		size_t at;
		enum oci_doc kind;
		struct oci_manifest m = {0};
		struct oci_index inner = {0};
		if (oci_index_select(idx, &b->graph->targets[k].platform, s->spec.shown, &at, err) <
		                0 ||
		        get_manifest(b, s, &idx->manifests[at], &kind, &m, &inner, err) < 0)
			return -1;
		int rc = kind == OCI_DOC_MANIFEST
		                 ? load_manifest(b, s, &m, err)
		                 : err_set(err, ERR_INTEGRITY, "%s: an index inside an index",
		                           s->spec.shown);
		oci_manifest_release(&m);
		oci_index_release(&inner);
		if (rc < 0)
			return -1;
	}
	return 0;
}

/* image-manifest=false: an index that lists the layers and, last, the config. */
static int load_index(
        struct build *b, struct cache_source *s, const struct oci_index *idx, struct error *err)
{
	size_t n = idx->n_manifests;
	if (n > 0 && str_eq(str_or_empty(idx->manifests[n - 1].media_type), CACHE_MT_CONFIG))
		return load_own(b, s, &idx->manifests[n - 1], idx->manifests, n - 1, err);
	return load_platforms(b, s, idx, err);
}

static int load_list(struct build *b, struct cache_source *s, struct error *err)
{
	enum oci_doc kind;
	struct oci_manifest m = {0};
	struct oci_index idx = {0};
	if (get_manifest(b, s, NULL, &kind, &m, &idx, err) < 0)
		return -1;
	int rc = kind == OCI_DOC_MANIFEST ? load_manifest(b, s, &m, err)
	                                  : load_index(b, s, &idx, err);
	oci_manifest_release(&m);
	oci_index_release(&idx);
	return rc;
}

/* The caller holds cache_lock. */
static void load_shown(struct build *b, size_t i)
{
	struct cache_source *s = &b->cache_from[i];
	struct error err = ERROR_INIT;
	uint64_t id = UI_CACHE + i;
	const char *name = s->spec.ref ? s->spec.ref : s->spec.dir;
	_cleanup_free_ char *shown = xasprintf("importing cache manifest from %s", name);
	s->loaded = true;
	ui_step_start(b->ui, id, shown);
	if (load_list(b, s, &err) < 0) {
		ui_step_note(b->ui, id, "WARNING: cache not used: %s", err.msg);
		s->dead = true;
	}
	ui_step_done(b->ui, id);
	error_release(&err);
}

static void load_all(struct build *b)
{
	/* Which platforms are wanted is not known before; a remote context asks earlier. */
	if (!b->graph)
		return;
	for (size_t i = 0; i < b->n_cache_from; i++)
		if (!b->cache_from[i].loaded && !build_interrupted(b))
			load_shown(b, i);
}

/* --- asking ------------------------------------------------------------------------------------
 */

struct offer {
	struct cache_source *source;
	struct cache_list *list;
	size_t i;
};

/* The next living source that has the layer, after *at sources. The caller holds cache_lock. */
static bool find_offer(struct build *b, const struct digest *diff_id, size_t *at, struct offer *ret)
{
	for (; *at < b->n_cache_from; (*at)++) {
		struct cache_source *s = &b->cache_from[*at];
		for (size_t k = 0; k < s->n_lists && !s->dead; k++)
			for (size_t i = 0; i < s->lists[k].n; i++)
				if (digest_eq(&s->lists[k].diff_ids[i], diff_id)) {
					*ret = (struct offer){s, &s->lists[k], i};
					return true;
				}
	}
	return false;
}

static bool offered(struct build *b, const struct digest *diff_id)
{
	size_t at = 0;
	struct offer o;
	return find_offer(b, diff_id, &at, &o);
}

static void to_step(const struct cache_record *r, struct step_record *ret)
{
	*ret = (struct step_record){.diff_id = r->diff_id,
	        .tree = r->tree,
	        .created_sec = r->created_sec,
	        .created_nsec = r->created_nsec,
	        .cost_ms = r->cost_ms};
}

bool cache_lookup(struct build *b, const struct digest *key, bool load, struct step_record *ret)
{
	bool found = false, with_layer = false;
	pthread_mutex_lock(&b->cache_lock);
	if (load)
		load_all(b);
	for (size_t i = 0; i < b->n_cache_from && !with_layer; i++) {
		const struct cache_source *s = &b->cache_from[i];
		for (size_t k = 0; k < s->n_lists && !s->dead && !with_layer; k++) {
			const struct cache_record *r = cache_doc_find(&s->lists[k].doc, key);
			if (!r)
				continue;
			/* Of several, one whose layer can be had. */
			with_layer = offered(b, &r->diff_id);
			if (!found || with_layer) {
				to_step(r, ret);
				s->lists[k].used[r - s->lists[k].doc.records] = true;
			}
			found = true;
		}
	}
	pthread_mutex_unlock(&b->cache_lock);
	return found;
}

bool cache_offers(struct build *b, const struct digest *diff_id)
{
	if (!b->n_cache_from)
		return false;
	pthread_mutex_lock(&b->cache_lock);
	load_all(b);
	bool yes = offered(b, diff_id);
	pthread_mutex_unlock(&b->cache_lock);
	return yes;
}

int cache_descriptor(struct build *b, const struct digest *diff_id, struct oci_descriptor *ret,
        const struct oci_ref **ret_ref)
{
	size_t at = 0;
	struct offer o;
	int found = 0;
	if (!b->n_cache_from)
		return 0;
	pthread_mutex_lock(&b->cache_lock);
	for (; !found && find_offer(b, diff_id, &at, &o); at++)
		if (o.source->spec.type == CACHE_REGISTRY) {
			oci_descriptor_copy(ret, &o.list->blobs[o.i]);
			*ret_ref = &o.source->ref;
			found = 1;
		}
	pthread_mutex_unlock(&b->cache_lock);
	return found;
}

/* --- fetching ----------------------------------------------------------------------------------
 */

static void drop_source(struct build *b, struct cache_source *s, const struct error *err)
{
	pthread_mutex_lock(&b->cache_lock);
	bool first = !s->dead;
	s->dead = true;
	pthread_mutex_unlock(&b->cache_lock);
	if (first)
		ui_message(b->ui, "WARNING: cache %s is not used any more: %s", s->spec.shown,
		        str_or_empty(err->msg));
}

static int fetch_bytes(struct build *b, const struct offer *o, struct error *err)
{
	const struct oci_descriptor *d = &o->list->blobs[o->i];
	if (store_blob_has(b->store, &d->digest, NULL))
		return 0;
	if (o->source->spec.type == CACHE_LOCAL)
		return export_layout_blob(b->store, b->lease, o->source->spec.dir, d, err);
	struct registry_client *c = client(b, err);
	struct digest got;
	uint64_t size;
	_cleanup_sink_ struct sink *to =
	        store_blob_sink(b->store, b->lease, &d->digest, &got, &size);
	if (!c || registry_get_blob(c, &o->source->ref, d, to, err) < 0 || sink_finish(to, err) < 0)
		return -1;
	export_remember_origin(b->store, &d->digest, &o->source->ref);
	return 0;
}

/* The records that lead to this layer: checked against what it holds, then ours. */
static int take_records(
        struct build *b, const struct offer *o, const struct store_layer *l, struct error *err)
{
	const struct cache_doc *doc = &o->list->doc;
	char a[DIGEST_STR_MAX];
	for (size_t i = 0; i < doc->n_records; i++) {
		const struct cache_record *r = &doc->records[i];
		if (!digest_eq(&r->diff_id, &l->diff_id))
			continue;
		if (!digest_eq(&r->tree, &l->tree_digest))
			return err_set(err, ERR_INTEGRITY,
			        "layer %s does not hold what the record says",
			        digest_str(&l->diff_id, a));
		struct step_record step;
		to_step(r, &step);
		if (record_put(b, &r->key, &step, err) < 0)
			return -1;
	}
	return 0;
}

static int fetch_layer(struct build *b, const struct offer *o, struct error *err)
{
	const struct store_layer *l;
	const struct digest *diff_id = &o->list->diff_ids[o->i];
	const struct oci_descriptor *d = &o->list->blobs[o->i];
	int rc;
	if (o->source->spec.type == CACHE_REGISTRY && !store_blob_has(b->store, &d->digest, NULL))
		rc = stream_layer(b, &o->source->ref, d, diff_id, &l, err);
	else if ((rc = fetch_bytes(b, o, err)) >= 0)
		rc = export_unpack_layer(b->store, b->lease, diff_id, d, &l, err);
	if (rc < 0)
		return -1;
	return take_records(b, o, l, err);
}

struct fetch {
	struct build *b;
	const struct digest **missing;
	size_t n;
	bool cancelled;
	int (*one)(struct build *b, const struct offer *o, struct error *err);
};

/* fetch_one - from one source after the other. 1 got it, 0 nobody has it, -1 interrupted. */
static int fetch_one(struct fetch *f, const struct digest *diff_id)
{
	for (size_t at = 0;; at++) {
		struct offer o;
		struct error err = ERROR_INIT;
		pthread_mutex_lock(&f->b->cache_lock);
		bool found = find_offer(f->b, diff_id, &at, &o);
		pthread_mutex_unlock(&f->b->cache_lock);
		if (!found || build_interrupted(f->b))
			return found ? -1 : 0;
		if (f->one(f->b, &o, &err) >= 0)
			return 1;
		bool cancelled = err.class == ERR_CANCELLED;
		if (!cancelled)
			drop_source(f->b, o.source, &err);
		error_release(&err);
		if (cancelled)
			return -1;
	}
}

static void fetch_job(void *ctx, size_t i)
{
	struct fetch *f = ctx;
	if (fetch_one(f, f->missing[i]) < 0)
		f->cancelled = true;
}

static int fetch_missing(struct fetch *f, struct error *err)
{
	struct build *b = f->b;
	uint64_t id = UI_CACHE_FETCH + b->n_cache_fetches++;
	_cleanup_free_ char *shown =
	        xasprintf("fetching %zu layer%s from the cache", f->n, f->n == 1 ? "" : "s");
	ui_step_start(b->ui, id, shown);
	pool_run(build_net(b), f->n, fetch_job, f);
	if (f->cancelled) {
		ui_step_cancelled(b->ui, id);
		return err_set(err, ERR_CANCELLED, "interrupted");
	}
	ui_step_done(b->ui, id);
	return 0;
}

int cache_fetch_chain(struct build *b, const struct rootfs *chain, struct error *err)
{
	struct fetch f = {.b = b, .one = fetch_layer};
	if (!b->n_cache_from || !chain)
		return 0;
	_cleanup_free_ const struct digest **missing = new0(const struct digest *, chain->depth);
	f.missing = missing;
	/* Two steps that want the same layer: the second finds it there. */
	pthread_mutex_lock(&b->cache_fetch_lock);
	int rc = 0;
	for (const struct rootfs *r = chain; r && rc >= 0; r = r->parent) {
		const struct store_layer *l;
		if (r->image)
			continue;
		rc = store_layer_get(b->store, b->lease, &r->diff_id, 0, &l, err);
		if (rc == 0 && cache_offers(b, &r->diff_id))
			missing[f.n++] = &r->diff_id;
	}
	if (rc >= 0 && f.n)
		rc = fetch_missing(&f, err);
	pthread_mutex_unlock(&b->cache_fetch_lock);
	return rc < 0 ? -1 : 0;
}

/* Known to the exporter as the layer's blob; that it is the layer, it checks itself. */
static int fetch_blob(struct build *b, const struct offer *o, struct error *err)
{
	if (fetch_bytes(b, o, err) < 0)
		return -1;
	return store_layer_set_blob(b->store, &o->list->diff_ids[o->i], &o->list->blobs[o->i], err);
}

int cache_fetch_blob(struct build *b, const struct digest *diff_id, struct error *err)
{
	struct fetch f = {.b = b, .one = fetch_blob};
	char hex[DIGEST_STR_MAX];
	int rc = b->n_cache_from ? fetch_one(&f, diff_id) : 0;
	if (rc < 0)
		return err_set(err, ERR_CANCELLED, "interrupted");
	return rc > 0 ? 0
	              : err_set(err, ERR_NOT_FOUND, "layer %s is not in the store",
	                        digest_str(diff_id, hex));
}

/* --- keeping -----------------------------------------------------------------------------------
 */

static int keep_list(struct build *b, const struct cache_list *l, struct error *err)
{
	for (size_t i = 0; i < l->doc.n_records; i++) {
		struct step_record r;
		if (!l->used[i])
			continue;
		to_step(&l->doc.records[i], &r);
		if (record_put(b, &l->doc.records[i].key, &r, err) < 0)
			return -1;
	}
	return 0;
}

int cache_keep(struct build *b, struct error *err)
{
	bool any = false;
	for (size_t i = 0; i < b->n_cache_from; i++)
		any |= b->cache_from[i].n_lists && !b->cache_from[i].dead;
	if (!any)
		return 0;
	if (store_begin(b->store, err) < 0)
		return -1;
	int rc = 0;
	for (size_t i = 0; i < b->n_cache_from; i++) {
		const struct cache_source *s = &b->cache_from[i];
		for (size_t k = 0; k < s->n_lists && !s->dead && rc >= 0; k++)
			rc = keep_list(b, &s->lists[k], err);
	}
	if (rc >= 0)
		return store_commit(b->store, err);
	store_abort(b->store);
	return -1;
}
