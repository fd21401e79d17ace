/* build/pack.c - layers that nothing of this build opens.
 *
 * The last COPY of an image that only leaves as an archive or over the network is the common case:
 * its files go from the context into the compressed blob and are never files in between. The store
 * keeps the blob; whoever wants the files later (a step on top, `strake run`) unpacks it first. */
#include "build/internal.h"

#include "export/export.h"
#include "image/image.h"

#define WRITE_BEHIND ((size_t)2 << 20)

/* opened - does another operation look into what n makes? */
static bool opened(const struct build *b, const struct graph_node *n)
{
	for (size_t k = n->id + 1; k < b->graph->n_nodes; k++)
		for (size_t i = 0; i < b->graph->nodes[k]->n_inputs; i++)
			if (b->graph->nodes[k]->inputs[i] == n->id)
				return true;
	return false;
}

bool pack_wanted(const struct build *b, const struct graph_node *n, const struct copy_item *items,
        size_t n_items, enum compression *ret)
{
	if (!build_packs(b, ret) || opened(b, n))
		return false;
	for (size_t i = 0; i < n_items; i++)
		if (items[i].archive)
			return false;
	return true;
}

int pack_copy(struct build *b, const struct copy_request *rq, enum compression c,
        struct step_record *ret, struct error *err)
{
	struct export_packed p = {0};
	_cleanup_tree_ struct tree t = TREE_INIT;
	uint64_t size = 0;
	/* zstd's workers come on top of this thread, which hashes all the time; gzip's help it. */
	unsigned n_threads = pool_size(b->pool) - (c == COMPRESS_ZSTD && pool_size(b->pool) > 1);
	_cleanup_sink_ struct sink *out =
	        sink_compress(sink_behind(store_blob_sink(b->store, b->lease, NULL, &p.blob, &size),
	                              WRITE_BEHIND),
	                c, -1, n_threads);
	if (layer_copy_tar(rq, out, &t, &ret->diff_id, &p.tar_size, err) < 0 ||
	        sink_finish(out, err) < 0)
		return -1;
	tree_digest(&t, &ret->tree);
	p.tree = ret->tree;
	p.size = tree_total_size(&t);
	struct oci_descriptor blob = {
	        .media_type = xstrdup(image_layer_media_type(compression_name(c), false)),
	        .digest = p.blob,
	        .size = (int64_t)size,
	};
	int rc = export_packed_put(b->store, &ret->diff_id, &blob, &p, err);
	oci_descriptor_release(&blob);
	return rc;
}

int pack_open(struct build *b, const struct rootfs *chain, struct error *err)
{
	int rc = 0;
	/* Two steps that want the same layer: the second finds it there. */
	pthread_mutex_lock(&b->cache_fetch_lock);
	for (const struct rootfs *r = chain; r && rc >= 0; r = r->parent) {
		const struct store_layer *l;
		if (r->image)
			continue;
		rc = store_layer_get(b->store, b->lease, &r->diff_id, 0, &l, err);
		if (rc == 0)
			rc = export_packed_open(b->store, b->lease, &r->diff_id, &l, err);
	}
	pthread_mutex_unlock(&b->cache_fetch_lock);
	return rc < 0 ? -1 : 0;
}
