/* export/layer_blob.c - layers between their two forms: a tree in the store and a (compressed) tar
 * blob.
 *
 * A blob that the store knows for a layer came with somebody's manifest, and a hostile image could
 * claim any blob to be any layer. So a blob is trusted for a layer only after it was seen to
 * inflate to that diff id; that is remembered in a record ("layer-blob"), so each pays once. */
#include "export/internal.h"
#include "base/log.h"
#include "image/image.h"
#include "layer/layer.h"
#include "sys/path.h"
#include "sys/privilege.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define RECORD_VERIFIED "layer-blob"
#define INFLATE_AHEAD ((size_t)2 << 20)
#define BLAME_BUFFER ((size_t)256 << 10)

/* --- verifying sink -------------------------------------------------------------------------- */

struct verify_sink {
	struct sink base;
	struct sink *next;
	struct sha256 hash;
	struct digest expect;
	bool hashed;
	uint64_t size, n;
	char *what;
};

static int verify_write(struct sink *s, const void *p, size_t n, struct error *err)
{
	struct verify_sink *v = (struct verify_sink *)s;
	v->n += n;
	if (v->n > v->size)
		return err_set(err, ERR_INTEGRITY, "%s is longer than %llu bytes", v->what,
		        (unsigned long long)v->size);
	if (v->hashed)
		sha256_update(&v->hash, p, n);
	return sink_write(v->next, p, n, err);
}

static int verify_finish(struct sink *s, struct error *err)
{
	struct verify_sink *v = (struct verify_sink *)s;
	struct digest got;
	char a[DIGEST_STR_MAX], b[DIGEST_STR_MAX];
	sha256_final(&v->hash, &got);
	if (v->hashed && !digest_eq(&got, &v->expect))
		return err_set(err, ERR_INTEGRITY, "%s should have the digest %s, but it has %s",
		        v->what, digest_str(&v->expect, a), digest_str(&got, b));
	if (v->size != UINT64_MAX && v->n != v->size)
		return err_set(err, ERR_INTEGRITY, "%s has %llu bytes instead of %llu", v->what,
		        (unsigned long long)v->n, (unsigned long long)v->size);
	return sink_finish(v->next, err);
}

static void verify_free(struct sink *s)
{
	struct verify_sink *v = (struct verify_sink *)s;
	sink_free(v->next);
	free(v->what);
	free(v);
}

struct sink *export_verify_sink(
        struct sink *next, const struct digest *expect, uint64_t size, const char *what)
{
	struct verify_sink *v = new0(struct verify_sink, 1);
	v->base = (struct sink){verify_write, verify_finish, verify_free};
	v->next = next;
	v->hashed = expect != NULL;
	if (expect)
		v->expect = *expect;
	v->size = size;
	v->what = xstrdup(what);
	sha256_init(&v->hash);
	return &v->base;
}

/* --- which blobs can be trusted -------------------------------------------------------------- */

enum compression export_media_compression(const char *mt)
{
	if (str_ends(mt, "gzip"))
		return COMPRESS_GZIP;
	return str_ends(mt, "zstd") ? COMPRESS_ZSTD : COMPRESS_NONE;
}

static void verified_key(
        const struct digest *diff_id, const struct digest *blob, struct digest *ret)
{
	struct sha256 h;
	sha256_init(&h);
	sha256_str(&h, RECORD_VERIFIED);
	sha256_bytes(&h, diff_id->b, sizeof(diff_id->b));
	sha256_bytes(&h, blob->b, sizeof(blob->b));
	sha256_final(&h, ret);
}

int export_remember_blob(struct store *s, const struct digest *diff_id,
        const struct oci_descriptor *blob, struct error *err)
{
	struct digest key;
	verified_key(diff_id, &blob->digest, &key);
	if (store_layer_set_blob(s, diff_id, blob, err) < 0)
		return -1;
	return store_record_put(s, RECORD_VERIFIED, &key, "1", err);
}

/* The uncompressed bytes of a blob. */
static int blob_tar_reader(
        struct store *s, const struct digest *blob, struct reader **ret, struct error *err)
{
	struct reader *raw = NULL;
	if (store_blob_reader(s, blob, &raw, err) < 0)
		return -1;
	return reader_decompress(raw, EXPORT_LAYER_MAX, NULL, ret, err);
}

/* 1: the blob inflates to diff_id; 0: it does not (or is damaged), whatever anyone claimed. */
static int blob_is_layer(struct store *s, const struct digest *diff_id,
        const struct oci_descriptor *blob, struct error *err)
{
	struct digest key, got = {0};
	_cleanup_free_ char *text = NULL;
	_cleanup_reader_ struct reader *r = NULL;
	_cleanup_sink_ struct sink *hash = NULL; /* before any goto */
	verified_key(diff_id, &blob->digest, &key);
	int known = store_record_get(s, RECORD_VERIFIED, &key, &text, err);
	if (known != 0)
		return known;
	if (blob_tar_reader(s, &blob->digest, &r, err) < 0)
		goto not_it;
	hash = sink_hash(NULL, &got, NULL);
	if (stream_copy(r, hash, err) < 0 || sink_finish(hash, err) < 0)
		goto not_it;
	if (!digest_eq(&got, diff_id)) {
		char a[DIGEST_STR_MAX], b[DIGEST_STR_MAX];
		log_debug("blob %s is not layer %s", digest_str(&blob->digest, a),
		        digest_str(diff_id, b));
		return 0;
	}
	return store_record_put(s, RECORD_VERIFIED, &key, "1", err) < 0 ? -1 : 1;
not_it:
	if (err->class != ERR_INTEGRITY && err->class != ERR_NOT_FOUND)
		return -1;
	error_release(err);
	return 0;
}

/* pick_blob - the first blob of the layer that `is` one. want < 0: any compression. 1 found. */
static int pick_blob(struct store *s, const struct digest *diff_id, int want,
        int (*is)(struct store *, const struct digest *, const struct oci_descriptor *,
                struct error *),
        struct oci_descriptor *ret, struct error *err)
{
	struct oci_descriptor *v = NULL;
	size_t n = 0;
	if (store_layer_blobs(s, diff_id, &v, &n, err) < 0)
		return -1;
	int found = 0;
	for (size_t i = 0; i < n; i++) {
		bool fits = want < 0 || export_media_compression(v[i].media_type) == (unsigned)want;
		if (found == 0 && fits) {
			found = is(s, diff_id, &v[i], err);
			if (found == 1)
				oci_descriptor_copy(ret, &v[i]);
		}
		oci_descriptor_release(&v[i]);
	}
	free(v);
	return found;
}

static int here_and_right(struct store *s, const struct digest *diff_id,
        const struct oci_descriptor *blob, struct error *err)
{
	return store_blob_has(s, &blob->digest, NULL) ? blob_is_layer(s, diff_id, blob, err) : 0;
}

static int seen_before(struct store *s, const struct digest *diff_id,
        const struct oci_descriptor *blob, struct error *err)
{
	struct digest key;
	_cleanup_free_ char *text = NULL;
	verified_key(diff_id, &blob->digest, &key);
	return store_record_get(s, RECORD_VERIFIED, &key, &text, err);
}

/* A blob of the layer whose bytes are here and right. */
static int find_blob(struct store *s, const struct digest *diff_id, int want,
        struct oci_descriptor *ret, struct error *err)
{
	return pick_blob(s, diff_id, want, here_and_right, ret, err);
}

int export_known_blob(struct store *s, const struct digest *diff_id, enum compression c,
        struct oci_descriptor *ret, struct error *err)
{
	return pick_blob(s, diff_id, (int)c, seen_before, ret, err);
}

/* --- the tar of a layer ---------------------------------------------------------------------- */

static int layer_gone(const struct digest *diff_id, struct error *err)
{
	char d[DIGEST_STR_MAX];
	(void)err_set(err, ERR_NOT_FOUND, "layer %s is not in the store", digest_str(diff_id, d));
	return err_hint(err, "pull or build the image again");
}

int export_blame_layer(struct store *s, const struct digest *diff_id, struct error *err)
{
	_cleanup_error_ struct error e = ERROR_INIT;
	if (store_layer_suspect(err) && store_layer_verify(s, diff_id, &e) == 0)
		error_move(err, &e);
	return -1;
}

/* 1: written from the tree; 0: there is no tree that gives the layer's own bytes. */
static int tar_from_tree(struct store *s, struct store_lease *l, const struct digest *diff_id,
        struct sink *out, struct error *err)
{
	const struct store_layer *layer = NULL;
	int r = store_layer_get(s, l, diff_id, STORE_LAYER_FD | STORE_LAYER_TREE, &layer, err);
	if (r <= 0 || !layer->canonical)
		return r < 0 ? -1 : 0;
	return tar_write_tree(layer->tree, layer->fd, NULL, out, err) < 0
	               ? export_blame_layer(s, diff_id, err)
	               : 1;
}

int export_layer_tar(struct store *s, struct store_lease *l, const struct digest *diff_id,
        struct sink *out, struct error *err)
{
	int r = tar_from_tree(s, l, diff_id, out, err);
	if (r != 0)
		return r < 0 ? -1 : 0;
	struct oci_descriptor blob = {0};
	r = find_blob(s, diff_id, -1, &blob, err);
	if (r <= 0)
		return r < 0 ? -1 : layer_gone(diff_id, err);
	_cleanup_reader_ struct reader *in = NULL;
	r = blob_tar_reader(s, &blob.digest, &in, err);
	oci_descriptor_release(&blob);
	return r < 0 ? -1 : stream_copy(in, out, err);
}

int export_layer_tar_size(struct store *s, struct store_lease *l, const struct digest *diff_id,
        uint64_t *ret, struct error *err)
{
	const struct store_layer *layer = NULL;
	struct oci_descriptor blob = {0};
	int r = store_layer_get(s, l, diff_id, 0, &layer, err);
	if (r < 0)
		return -1;
	if (r == 1 && layer->tar_size > 0) {
		*ret = layer->tar_size;
		return 0;
	}
	struct export_packed packed;
	r = r == 0 ? export_packed_get(s, diff_id, &packed, err) : 0;
	if (r > 0)
		*ret = packed.tar_size;
	if (r != 0)
		return MIN(r, 0);
	r = find_blob(s, diff_id, COMPRESS_NONE, &blob, err);
	if (r == 1)
		*ret = (uint64_t)blob.size;
	oci_descriptor_release(&blob);
	if (r != 0)
		return r < 0 ? -1 : 0;
	/* Inflating twice is cheaper than writing the plain bytes to disk and reading them back. */
	uint64_t size = 0;
	_cleanup_sink_ struct sink *count = sink_hash(NULL, NULL, &size);
	if (export_layer_tar(s, l, diff_id, count, err) < 0 || sink_finish(count, err) < 0)
		return -1;
	*ret = size;
	return 0;
}

/* --- compressed blobs ------------------------------------------------------------------------ */

int export_layer_stream(struct store *s, struct store_lease *l, const struct digest *diff_id,
        enum compression c, int level, unsigned n_threads, struct sink *to, struct error *err)
{
	char hex[DIGEST_STR_MAX];
	_cleanup_free_ char *what = xasprintf("layer %s", digest_str(diff_id, hex));
	_cleanup_sink_ struct sink *chain = export_verify_sink(
	        sink_compress(to, c, level, n_threads), diff_id, UINT64_MAX, what);
	if (export_layer_tar(s, l, diff_id, chain, err) < 0)
		return -1;
	return sink_finish(chain, err) < 0 ? export_blame_layer(s, diff_id, err) : 0;
}

static int make_blob(struct store *s, struct store_lease *l, const struct digest *diff_id,
        enum compression c, int level, unsigned n_threads, struct oci_descriptor *ret,
        struct error *err)
{
	uint64_t size = 0;
	struct digest blob;
	if (export_layer_stream(s, l, diff_id, c, level, n_threads,
	            store_blob_sink(s, l, NULL, &blob, &size), err) < 0)
		return -1;
	*ret = (struct oci_descriptor){
	        .media_type = xstrdup(image_layer_media_type(compression_name(c), false)),
	        .digest = blob,
	        .size = (int64_t)size,
	};
	return export_remember_blob(s, diff_id, ret, err);
}

/* is_ours - made here, so that it is compressed as asked for; a base's stays as it came. */
static int is_ours(
        struct store *s, struct store_lease *l, const struct digest *diff_id, struct error *err)
{
	const struct store_layer *layer = NULL;
	struct export_packed packed;
	int r = store_layer_get(s, l, diff_id, 0, &layer, err);
	return r == 1 ? layer->canonical : r < 0 ? -1 : export_packed_get(s, diff_id, &packed, err);
}

int export_layer_blob_here(struct store *s, struct store_lease *l, const struct digest *diff_id,
        enum compression c, int level, bool force, struct oci_descriptor *ret, struct error *err)
{
	/* A level that was asked for cannot be seen in a blob that exists: make it anew. */
	int r = level < 0 ? find_blob(s, diff_id, (int)c, ret, err) : 0;
	if (r != 0 || force)
		return r;
	r = is_ours(s, l, diff_id, err);
	return r == 0 ? find_blob(s, diff_id, -1, ret, err) : MIN(r, 0);
}

int export_layer_blob(struct store *s, struct store_lease *l, const struct digest *diff_id,
        enum compression c, int level, bool force, unsigned n_threads, bool docker_types,
        struct oci_descriptor *ret, struct error *err)
{
	struct oci_descriptor d = {0};
	int r = export_layer_blob_here(s, l, diff_id, c, level, force, &d, err);
	if (r == 0)
		r = make_blob(s, l, diff_id, c, level, n_threads, &d, err);
	if (r < 0) {
		oci_descriptor_release(&d);
		return -1;
	}
	/* Annotations of whoever made the blob say nothing about this image. */
	*ret = (struct oci_descriptor){
	        .media_type = xstrdup(image_media_type(d.media_type, docker_types)),
	        .digest = d.digest,
	        .size = d.size,
	};
	oci_descriptor_release(&d);
	return 0;
}

/* --- unpacking ------------------------------------------------------------------------------- */

/* What layer_apply leaves unread (padding behind the end of the tar) is hashed as well. */
static int drain(struct reader *r, struct error *err)
{
	char buf[16384];
	ssize_t n;
	while ((n = reader_read(r, buf, sizeof(buf), err)) > 0)
		;
	return n < 0 ? -1 : 0;
}

static int unpack_into(
        struct reader *tar, const char *what, int dirfd, struct tree *ret, struct error *err)
{
	if (mkdirat(dirfd, "tree", 0755) < 0)
		return err_sys(err, errno, "create a staging directory");
	_cleanup_close_ int fd = openat(dirfd, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, "open a staging directory");
	struct layer_apply_options opt = {
	        .single_id = !sys_privilege_can_chown(), .max_bytes = EXPORT_LAYER_MAX};
	if (layer_apply(tar, what, fd, &opt, ret, err) < 0)
		return -1;
	return drain(tar, err);
}

int export_unpack_stream(struct store *s, struct store_lease *l, const struct digest *diff_id,
        struct reader *blob, bool canonical, const struct store_layer **ret, struct error *err)
{
	char hex[DIGEST_STR_MAX], got_hex[DIGEST_STR_MAX];
	_cleanup_free_ char *what = xasprintf("layer %s", digest_str(diff_id, hex));
	_cleanup_free_ char *name = NULL;
	_cleanup_close_ int fd = -1;
	_cleanup_tree_ struct tree tree = TREE_INIT;
	struct digest got = {0};
	uint64_t size = 0;
	struct reader *inflated = NULL;
	if (reader_decompress(blob, EXPORT_LAYER_MAX, NULL, &inflated, err) < 0)
		return err_wrap(err, "%s", what);
	/* Inflating and hashing take as long as writing files does: side by side. */
	_cleanup_reader_ struct reader *tar =
	        reader_ahead(reader_hash(inflated, &got, &size), INFLATE_AHEAD);
	if (store_staging_dir(l, &name, &fd, err) < 0)
		return -1;
	if (unpack_into(tar, what, fd, &tree, err) < 0)
		return err_wrap(err, "unpack %s", what);
	if (!digest_eq(&got, diff_id))
		return err_set(err, ERR_INTEGRITY,
		        "the image config says that a layer has the diff id %s, but it has %s", hex,
		        digest_str(&got, got_hex));
	return store_layer_publish(s, l, name, &tree, diff_id, size, canonical, ret, err);
}

/* Whoever unpacks damaged bytes stumbles before the end, where their digest would be
 * looked at: read on to it, so that the blob is set aside and the next attempt fetches another. */
void export_blame_blob(struct store *s, const struct digest *d, struct error *err)
{
	_cleanup_reader_ struct reader *raw = NULL;
	_cleanup_error_ struct error e = ERROR_INIT;
	_cleanup_free_ char *buf = xmalloc(BLAME_BUFFER);
	ssize_t n = store_blob_reader(s, d, &raw, &e);
	while (n >= 0 && (n = reader_read(raw, buf, BLAME_BUFFER, &e)) > 0)
		;
	if (n >= 0 || e.class != ERR_INTEGRITY)
		return; /* the bytes are what they were: the error is about what they say */
	(void)err_wrap(&e, "%s", err->msg);
	error_move(err, &e);
}

int export_unpack_layer(struct store *s, struct store_lease *l, const struct digest *diff_id,
        const struct oci_descriptor *blob, const struct store_layer **ret, struct error *err)
{
	struct reader *raw = NULL;
	if (store_blob_reader(s, &blob->digest, &raw, err) < 0)
		return -1;
	struct export_packed packed;
	int ours = export_packed_get(s, diff_id, &packed, err);
	if (ours < 0) {
		reader_free(raw);
		return -1;
	}
	if (export_unpack_stream(s, l, diff_id, raw, ours > 0, ret, err) < 0) {
		export_blame_blob(s, &blob->digest, err);
		return -1;
	}
	return export_remember_blob(s, diff_id, blob, err);
}
