/* export/write_registry.c - see registry.h. */
#include "export/registry.h"
#include "base/human.h"
#include "base/log.h"
#include "export/internal.h"
#include "image/image.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

/* A piece on its way does not hold up the compressor, and a compressor more than there are
 * processors works where reading and sending wait for the other side: a fifth of the time. */
#define UPLOAD_BEHIND ((size_t)4 << 20)
#define COMPRESSORS(n_threads) ((n_threads) + 1)

#define RECORD_ORIGIN "origin" /* blob digest -> "domain/path" of a repository that had it */
#define TEE_MIN (8u << 20)     /* smaller layers are compressed before they are sent */

static void note(const struct export_registry *r, const char *fmt, ...) printf_like(2, 3);
static void note(const struct export_registry *r, const char *fmt, ...)
{
	char line[512];
	va_list ap;
	if (!r->note)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	r->note(r->ctx, line);
}

/* --- what is there already -------------------------------------------------------------------- */

void export_remember_origin(struct store *s, const struct digest *blob, const struct oci_ref *where)
{
	struct error ignored = ERROR_INIT;
	_cleanup_free_ char *text = xasprintf("%s/%s", where->domain, where->path), *old = NULL;
	int r = store_record_get(s, RECORD_ORIGIN, blob, &old, &ignored);
	if (r == 0 || (r == 1 && !str_eq(old, text)))
		r = store_record_put(s, RECORD_ORIGIN, blob, text, &ignored);
	if (r < 0)
		log_debug("origin: %s", str_or_empty(ignored.msg));
	error_release(&ignored);
}

/* The repository of the same registry that a blob is known to be in, or NULL. */
static char *mount_source(
        struct store *s, const struct export_registry *r, const struct digest *blob)
{
	struct error ignored = ERROR_INIT;
	_cleanup_free_ char *text = NULL;
	char *repo = NULL;
	size_t n = strlen(r->ref->domain);
	if (store_record_get(s, RECORD_ORIGIN, blob, &text, &ignored) == 1 &&
	        strncmp(text, r->ref->domain, n) == 0 && text[n] == '/' &&
	        !str_eq(text + n + 1, r->ref->path))
		repo = xstrdup(text + n + 1);
	error_release(&ignored);
	return repo;
}

int export_push_offer(struct store *s, const struct export_registry *r,
        const struct oci_descriptor *d, struct error *err)
{
	bool have = false;
	char hex[DIGEST_STR_MAX];
	if (registry_has_blob(r->client, r->ref, &d->digest, &have, err) < 0)
		return -1;
	digest_str(&d->digest, hex);
	if (have) {
		note(r, "%s is there already", hex);
	} else {
		_cleanup_free_ char *from = mount_source(s, r, &d->digest);
		struct error ignored = ERROR_INIT;
		/* Whatever speaks against a mount, the ordinary upload will tell or will not. */
		if (from && registry_mount_blob(
		                    r->client, r->ref, &d->digest, from, &have, &ignored) < 0) {
			if (ignored.class == ERR_CANCELLED) {
				error_move(err, &ignored);
				return -1;
			}
			log_debug("mount from %s: %s", from, str_or_empty(ignored.msg));
			have = false;
		}
		error_release(&ignored);
		if (have)
			note(r, "%s mounted from %s", hex, from);
	}
	if (have)
		export_remember_origin(s, &d->digest, r->ref);
	return have;
}

/* --- blobs ------------------------------------------------------------------------------------ */

struct blob_source {
	struct store *store;
	const struct digest *digest;
};

struct blob_reader {
	struct reader base;
	struct reader *from;
	int fd;
};

static ssize_t blob_read(struct reader *r, void *p, size_t n, struct error *err)
{
	return reader_read(((struct blob_reader *)r)->from, p, n, err);
}

static void blob_free(struct reader *r)
{
	struct blob_reader *b = (struct blob_reader *)r;
	reader_free(b->from);
	close_ptr(&b->fd);
	free(b);
}

/* Not verified on the way: the registry does that before it accepts the blob; see damaged(). */
static int blob_reopen(void *ctx, uint64_t offset, struct reader **ret, struct error *err)
{
	const struct blob_source *src = ctx;
	_cleanup_close_ int fd = -1;
	uint64_t size;
	if (store_blob_open(src->store, src->digest, &fd, &size, err) < 0)
		return -1;
	if (lseek(fd, (off_t)offset, SEEK_SET) < 0)
		return err_sys(err, errno, "reading a blob of the store");
	struct blob_reader *r = new0(struct blob_reader, 1);
	r->base = (struct reader){blob_read, blob_free};
	r->fd = take_fd(&fd);
	r->from = reader_fd(r->fd, "a blob of the store");
	*ret = &r->base;
	return 0;
}

/* After a refusal: was it our copy? Reading it through tells, and sets it aside, so that the next
 * try makes it anew. */
static bool damaged(struct store *s, const struct digest *d, struct error *ret)
{
	_cleanup_reader_ struct reader *in = NULL;
	_cleanup_sink_ struct sink *out = sink_null();
	if (store_blob_reader(s, d, &in, ret) >= 0 && stream_copy(in, out, ret) >= 0)
		return false;
	return ret->class == ERR_INTEGRITY;
}

static int send_blob(struct store *s, const struct export_registry *r,
        const struct oci_descriptor *d, struct error *err)
{
	char hex[DIGEST_STR_MAX], size[32];
	struct blob_source src = {s, &d->digest};
	note(r, "pushing %s %s", digest_str(&d->digest, hex),
	        human_size(size, sizeof(size), (uint64_t)d->size));
	if (registry_put_blob(
	            r->client, r->ref, &d->digest, (uint64_t)d->size, blob_reopen, &src, err) < 0) {
		_cleanup_error_ struct error ours = ERROR_INIT;
		if (err->class != ERR_CANCELLED && damaged(s, &d->digest, &ours))
			error_move(err, &ours);
		return -1;
	}
	export_remember_origin(s, &d->digest, r->ref);
	return 0;
}

int export_push_blob(struct store *s, const struct export_registry *r,
        const struct oci_descriptor *d, struct error *err)
{
	int there = export_push_offer(s, r, d, err);
	return there != 0 ? MIN(there, 0) : send_blob(s, r, d, err);
}

int export_push_manifest(const struct export_registry *r, const char *text, size_t n,
        const char *media_type, bool tag, struct error *err)
{
	struct digest d;
	char hex[DIGEST_STR_MAX];
	sha256_buf(text, n, &d);
	digest_str(&d, hex);
	bool tagged = tag && !r->by_digest;
	struct oci_ref ref = {.domain = r->ref->domain,
	        .path = r->ref->path,
	        .tag = tagged ? r->ref->tag : NULL,
	        .digest = tagged ? NULL : hex};
	int listed = registry_put_manifest(r->client, &ref, text, n, media_type, &d, err);
	if (listed < 0)
		return -1;
	if (tag)
		note(r, "pushing manifest for %s/%s%s%s@%s done", ref.domain, ref.path,
		        tagged ? ":" : "", tagged ? ref.tag : "", hex);
	return listed;
}

/* --- layers ----------------------------------------------------------------------------------- */

/* Layers of a base, and layers that were pushed before: no byte of them may be needed. 1: it is
 * there, and ret says as what. */
static int layer_elsewhere(struct store *s, struct store_lease *l, const struct export_registry *r,
        const struct export_push_layer *p, struct oci_descriptor *ret, struct error *err)
{
	struct oci_descriptor d = {0};
	const struct store_layer *layer = NULL;
	if (p->force || p->level >= 0)
		return 0;
	int have = store_layer_get(s, l, p->diff_id, 0, &layer, err);
	if (have < 0)
		return -1;
	bool ours = have == 1 && layer->canonical;
	if (!ours && r->origin && r->origin(r->ctx, p->diff_id, &d) == 1)
		have = 1;
	else
		have = export_known_blob(s, p->diff_id, p->compression, &d, err);
	if (have == 1)
		have = export_push_offer(s, r, &d, err);
	if (have == 1)
		*ret = (struct oci_descriptor){
		        .media_type = xstrdup(image_media_type(d.media_type, p->docker_types)),
		        .digest = d.digest,
		        .size = d.size};
	oci_descriptor_release(&d);
	return have;
}

static bool is_large(struct store *s, struct store_lease *l, const struct digest *diff_id)
{
	const struct store_layer *layer = NULL;
	struct error ignored = ERROR_INIT;
	int r = store_layer_get(s, l, diff_id, 0, &layer, &ignored);
	error_release(&ignored);
	return r == 1 && layer->tar_size >= TEE_MIN;
}

/* push_on_the_way - compressed straight into the registry; the store keeps no copy, as it has the
 * files. 1 sent. 0: not the way for this layer, or it went wrong: the ordinary way has retries, and
 * says what the matter is. */
static int push_on_the_way(struct store *s, struct store_lease *l, const struct export_registry *r,
        const struct export_push_layer *p, struct oci_descriptor *ret, struct error *err)
{
	struct digest digest;
	uint64_t size;
	if (!is_large(s, l, p->diff_id))
		return 0;
	if (export_layer_stream(s, l, p->diff_id, p->compression, p->level,
	            COMPRESSORS(p->n_threads),
	            sink_behind(
	                    registry_upload_sink(r->client, r->ref, &digest, &size), UPLOAD_BEHIND),
	            err) < 0) {
		if (err->class == ERR_CANCELLED)
			return -1;
		log_debug("upload while compressing: %s", str_or_empty(err->msg));
		error_release(err);
		return 0;
	}
	struct oci_descriptor d = {.media_type = xstrdup(image_layer_media_type(
	                                   compression_name(p->compression), false)),
	        .digest = digest,
	        .size = (int64_t)size};
	export_remember_origin(s, &digest, r->ref);
	int rc = export_remember_blob(s, p->diff_id, &d, err);
	*ret = (struct oci_descriptor){
	        .media_type = xstrdup(image_media_type(d.media_type, p->docker_types)),
	        .digest = digest,
	        .size = d.size};
	oci_descriptor_release(&d);
	if (rc < 0)
		return -1;
	return 1;
}

static int blob_for(struct store *s, struct store_lease *l, const struct export_push_layer *p,
        struct oci_descriptor *ret, struct error *err)
{
	return export_layer_blob(s, l, p->diff_id, p->compression, p->level, p->force, p->n_threads,
	        p->docker_types, ret, err);
}

int export_push_layer(struct store *s, struct store_lease *l, const struct export_registry *r,
        const struct export_push_layer *p, struct oci_descriptor *ret, struct error *err)
{
	struct oci_descriptor d = {0};
	int rc = layer_elsewhere(s, l, r, p, ret, err);
	if (rc == 0) {
		rc = export_layer_blob_here(
		        s, l, p->diff_id, p->compression, p->level, p->force, &d, err);
		oci_descriptor_release(&d);
		d = (struct oci_descriptor){0};
		if (rc == 0)
			rc = push_on_the_way(s, l, r, p, ret, err);
		else if (rc > 0)
			rc = 0;
	}
	if (rc != 0)
		return MIN(rc, 0);
	rc = blob_for(s, l, p, &d, err);
	if (rc < 0 && err->class == ERR_NOT_FOUND && r->fetch) {
		error_release(err);
		rc = r->fetch(r->ctx, p->diff_id, err);
		if (rc >= 0)
			rc = blob_for(s, l, p, &d, err);
	}
	if (rc >= 0)
		rc = export_push_blob(s, r, &d, err);
	if (rc < 0) {
		oci_descriptor_release(&d);
		return -1;
	}
	*ret = d;
	return 0;
}

/* --- an image --------------------------------------------------------------------------------- */

static int push_text(struct store *s, const struct export_registry *r,
        const struct oci_descriptor *d, bool tag, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t n = 0;
	if (store_blob_read_all(s, &d->digest, EXPORT_MANIFEST_MAX, &text, &n, err) < 0)
		return -1;
	return export_push_manifest(r, text, n, d->media_type, tag, err);
}

int write_registry(
        struct store *s, const struct plan *p, const struct export_options *o, struct error *err)
{
	const struct export_registry *r = o->registry;
	bool one = !p->indexed;
	for (size_t i = 0; i < p->n_images; i++)
		if (export_push_blob(s, r, &p->images[i].config_desc, err) < 0 ||
		        push_text(s, r, &p->images[i].manifest, one, err) < 0 ||
		        plan_push_attestations(s, &p->images[i], o, err) < 0)
			return -1;
	return one ? 0 : push_text(s, r, &p->top, true, err);
}
