/* build/rootfs.c - chains of layers: making links, keys, and opening the merged view. */
#include "build/cache.h"

#include <errno.h>

const struct rootfs *rootfs_new(
        struct build *b, const struct rootfs *parent, const struct digest *diff_id)
{
	pthread_mutex_lock(&b->lock);
	struct rootfs *r = arena_new(&b->arena, struct rootfs, 1);
	pthread_mutex_unlock(&b->lock);
	r->parent = parent;
	r->diff_id = *diff_id;
	r->depth = parent ? parent->depth + 1 : 1;
	return r;
}

const struct rootfs *rootfs_from_image(struct build *b, struct build_image *im)
{
	const struct rootfs *chain = NULL;
	for (size_t i = 0; i < im->config.n_diff_ids; i++) {
		struct rootfs *r = (struct rootfs *)rootfs_new(b, chain, &im->config.diff_ids[i]);
		r->image = im;
		r->from_base = true;
		chain = r;
	}
	return chain;
}

void rootfs_key(const struct digest *parent_key, const struct digest *tree, struct digest *ret)
{
	struct sha256 h;
	sha256_init(&h);
	sha256_str(&h, "rootfs");
	sha256_bytes(&h, parent_key->b, sizeof(parent_key->b));
	sha256_bytes(&h, tree->b, sizeof(tree->b));
	sha256_final(&h, ret);
}

void build_view_release(struct build_view *v)
{
	free(v->trees);
	free(v->fds);
	free(v->lowers);
	*v = (struct build_view){0};
}

static void pick_lowers(struct build_view *v)
{
	v->lowers = new0(int, v->n + 1);
	for (size_t i = 0; i < v->n; i++) {
		bool again = false;
		for (size_t k = i + 1; k < v->n && !again; k++)
			again = v->trees[k] == v->trees[i];
		bool empty = v->trees[i]->n == 0;
		if (!again && !empty)
			v->lowers[v->n_lowers++] = v->fds[i];
	}
}

/* link_layer - the store is asked once a link: a chain is opened again for each step on top of it,
 * and the lease keeps what was opened. */
static int link_layer(
        struct build *b, struct rootfs *r, const struct store_layer **ret, struct error *err)
{
	pthread_mutex_lock(&b->lock);
	*ret = r->layer;
	pthread_mutex_unlock(&b->lock);
	if (*ret && (*ret)->fd >= 0) /* store_reattach() may have closed it */
		return 1;
	int rc = store_layer_get(
	        b->store, b->lease, &r->diff_id, STORE_LAYER_FD | STORE_LAYER_TREE, ret, err);
	if (rc > 0) {
		pthread_mutex_lock(&b->lock);
		r->layer = *ret;
		pthread_mutex_unlock(&b->lock);
	}
	return rc;
}

/* open_layers - 1 all open, 0 one is not there, -1 error. */
static int open_layers(
        struct build *b, const struct rootfs *chain, struct build_view *ret, struct error *err)
{
	struct build_view v = {.n = chain ? chain->depth : 0};
	v.trees = new0(const struct tree *, v.n);
	v.fds = new0(int, v.n);
	for (const struct rootfs *r = chain; r; r = r->parent) {
		const struct store_layer *l;
		int rc = link_layer(b, (struct rootfs *)r, &l, err);
		if (rc <= 0) {
			build_view_release(&v);
			return rc;
		}
		v.trees[r->depth - 1] = l->tree;
		v.fds[r->depth - 1] = l->fd;
	}
	v.v = (struct treeview){v.trees, v.n};
	pick_lowers(&v);
	*ret = v;
	return 1;
}

int build_view_try(
        struct build *b, const struct rootfs *chain, struct build_view *ret, struct error *err)
{
	return open_layers(b, chain, ret, err);
}

int build_view_open(
        struct build *b, const struct rootfs *chain, struct build_view *ret, struct error *err)
{
	int rc = open_layers(b, chain, ret, err);
	if (rc != 0)
		return rc < 0 ? -1 : 0;
	/* What an earlier build only packed. */
	if (pack_open(b, chain, err) < 0)
		return -1;
	/* Base images and remote caches may have layers that are not here yet. */
	struct build_image *last = NULL;
	for (const struct rootfs *r = chain; r; r = r->parent) {
		if (!r->image || r->image == last)
			continue;
		last = r->image;
		uint64_t ui_id = UI_METADATA;
		for (size_t i = 0; b->graph && i < b->graph->n_nodes; i++) {
			const struct graph_node *n = b->graph->nodes[i];
			if (n->op == GRAPH_IMAGE && str_eq(n->image.ref, last->asked) &&
			        oci_platform_equal(&n->image.platform, &last->platform))
				ui_id = UI_NODE_ID(n);
		}
		if (build_image_ensure(b, last, ui_id, err) < 0)
			return -1;
	}
	if (cache_fetch_chain(b, chain, err) < 0)
		return -1;
	rc = open_layers(b, chain, ret, err);
	if (rc == 0) {
		pthread_mutex_lock(&b->lock);
		b->lost = true;
		pthread_mutex_unlock(&b->lock);
		(void)err_set(err, ERR_INTEGRITY,
		        "a layer that this build made or used is gone from the store");
		return err_hint(err, "run the build again; `strake fsck` tells what happened");
	}
	return rc < 0 ? -1 : 0;
}

void rootfs_blame(struct build *b, const struct rootfs *chain, const struct error *err)
{
	if (!store_layer_suspect(err))
		return;
	for (struct rootfs *r = (struct rootfs *)chain; r; r = (struct rootfs *)r->parent) {
		_cleanup_error_ struct error e = ERROR_INIT;
		const struct store_layer *l;
		pthread_mutex_lock(&b->lock);
		bool verified = r->verified;
		r->verified = true;
		pthread_mutex_unlock(&b->lock);
		if (verified || store_layer_get(b->store, b->lease, &r->diff_id, 0, &l, &e) <= 0 ||
		        store_layer_verify(b->store, &r->diff_id, &e) != 0)
			continue;
		pthread_mutex_lock(&b->lock);
		b->lost = true;
		pthread_mutex_unlock(&b->lock);
	}
}
