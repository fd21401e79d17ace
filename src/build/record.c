/* build/record.c - step records: key -> layer; and publishing what a step made. */
#include "build/internal.h"

#include "layer/leak.h"

#include <fcntl.h>
#include <time.h>

#include "base/hex.h"
#include "build/cache.h"
#include "build/why.h"
#include "layer/layer.h"
#include "sys/path.h"

#define RECORD_KIND "step"

int64_t now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int local_get(
        struct build *b, const struct digest *key, struct step_record *ret, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	int rc = store_record_get(b->store, RECORD_KIND, key, &text, err);
	if (rc <= 0)
		return rc;
	struct error ignored = ERROR_INIT;
	_cleanup_json_ json_t *j = json_parse(text, strlen(text), 1 << 20, "step record", &ignored);
	error_release(&ignored);
	const char *d = json_get_str(j, "diff_id"), *t = json_get_str(j, "tree");
	/* A record that does not read is a miss, never an error. */
	struct step_record r = {0};
	if (!d || !t || !digest_parse(d, &r.diff_id) || !digest_parse(t, &r.tree))
		return 0;
	r.created_sec = json_get_int(j, "created", 0);
	r.created_nsec = json_get_int(j, "created_ns", 0);
	r.cost_ms = (uint64_t)json_get_int(j, "cost_ms", 0);
	store_touch_record(b->store, RECORD_KIND, key);
	store_touch_layer(b->store, &r.diff_id);
	const char *twin = json_get_str(j, "twin");
	if (twin && !digest_parse(twin, &r.twin))
		r.twin = (struct digest){0};
	*ret = r;
	return 1;
}

bool step_layer_there(struct build *b, const struct digest *diff_id)
{
	const struct store_layer *l;
	struct error ignored = ERROR_INIT;
	struct export_packed p;
	int rc = store_layer_get(b->store, b->lease, diff_id, 0, &l, &ignored);
	if (rc == 0)
		rc = export_packed_get(b->store, diff_id, &p, &ignored);
	error_release(&ignored);
	return rc > 0 || cache_offers(b, diff_id);
}

int record_get(
        struct build *b, const struct digest *key, struct step_record *ret, struct error *err)
{
	int rc = local_get(b, key, ret, err);
	struct step_record r;
	if (rc == 0 && b->n_cache_from && cache_lookup(b, key, true, &r)) {
		*ret = r;
		rc = 1;
	} else if (rc > 0 && b->n_cache_from) {
		/* Of two results of one step, that whose layer can be had. A layer that nobody
		 * needs is no reason to read a cache. */
		const struct store_layer *l;
		int here = store_layer_get(b->store, b->lease, &ret->diff_id, 0, &l, err);
		if (here < 0)
			return -1;
		if (here == 0 && cache_lookup(b, key, false, &r) && cache_offers(b, &r.diff_id))
			*ret = r;
	}
	if (rc > 0)
		cache_note_used(b, key, ret);
	return rc;
}

int record_put(
        struct build *b, const struct digest *key, const struct step_record *r, struct error *err)
{
	char d[DIGEST_STR_MAX], t[DIGEST_STR_MAX], w[DIGEST_STR_MAX];
	bool twin = !digest_is_zero(&r->twin);
	_cleanup_free_ char *text = xasprintf("{\"diff_id\":\"%s\",\"tree\":\"%s\",\"created\":%"
	                                      "lld,\"created_ns\":%lld,\"cost_ms\":%llu%s%s%s}",
	        digest_str(&r->diff_id, d), digest_str(&r->tree, t), (long long)r->created_sec,
	        (long long)r->created_nsec, (unsigned long long)r->cost_ms,
	        twin ? ",\"twin\":\"" : "", twin ? digest_str(&r->twin, w) : "", twin ? "\"" : "");
	return store_record_put(b->store, RECORD_KIND, key, text, err);
}

void record_output(struct build *b, const struct step_record *r, const struct solve_output *base,
        struct solve_output *ret)
{
	struct rootfs *link =
	        (struct rootfs *)rootfs_new(b, base ? base->value : NULL, &r->diff_id);
	link->created_sec = r->created_sec;
	link->created_nsec = r->created_nsec;
	static const struct digest none;
	rootfs_key(base ? &base->key : &none, &r->tree, &ret->key);
	ret->value = link;
}

void layer_dir_release(struct layer_dir *d)
{
	free(d->name);
	close_ptr(&d->fd);
	close_ptr(&d->tree_fd);
	*d = (struct layer_dir){.fd = -1, .tree_fd = -1};
}

int layer_dir_new(struct build *b, struct layer_dir *ret, struct error *err)
{
	struct layer_dir d = {.fd = -1, .tree_fd = -1};
	if (store_staging_dir(b->lease, &d.name, &d.fd, err) < 0)
		return -1;
	int r = sys_mkdir_p(d.fd, "tree", 0755);
	if (r >= 0)
		r = d.tree_fd = sys_open_beneath(d.fd, "tree", O_RDONLY | O_DIRECTORY, 0);
	if (r < 0) {
		layer_dir_release(&d);
		return err_sys(err, r, "making a staging directory in %s", store_path(b->store));
	}
	*ret = d;
	return 0;
}

int publish_layer(struct build *b, const char *staging, const struct tree *t, int treefd,
        const struct digest *keys, size_t n_keys, const struct step_parts *parts,
        int64_t started_ms, const struct solve_output *base, struct solve_output *ret,
        struct error *err)
{
	struct step_record r = {.cost_ms = (uint64_t)(now_ms() - started_ms)};
	uint64_t tar_size;
	if (leak_check_tree(b->leaks, t, treefd, b->pool, err) < 0)
		return -1;
	if (layer_diff_id(t, treefd, &r.diff_id, &tar_size, err) < 0)
		return -1;
	tree_digest(t, &r.tree);
	const struct store_layer *l;
	int rc = store_layer_publish(
	        b->store, b->lease, staging, t, &r.diff_id, tar_size, true, &l, err);
	if (rc < 0)
		return -1;
	if (rc > 0)
		build_trash(b, staging);
	return publish_records(b, &r, keys, n_keys, parts, base, ret, err);
}

int publish_records(struct build *b, struct step_record *r, const struct digest *keys,
        size_t n_keys, const struct step_parts *parts, const struct solve_output *base,
        struct solve_output *ret, struct error *err)
{
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	r->created_sec = ts.tv_sec;
	r->created_nsec = ts.tv_nsec;
	if (store_begin(b->store, err) < 0)
		return -1;
	int rc = parts ? why_put(b, parts->node, parts->json, err) : 0;
	for (size_t i = 0; rc >= 0 && i < n_keys; i++) {
		if (n_keys == 2)
			r->twin = keys[1 - i];
		rc = record_put(b, &keys[i], r, err);
	}
	if (rc < 0) {
		store_abort(b->store);
		return -1;
	}
	if (store_commit(b->store, err) < 0)
		return -1;
	cache_note_used(b, &keys[n_keys - 1], r); /* its twin is the other one */
	record_output(b, r, base, ret);
	return 0;
}
