/* registry/pull.c - manifests and blobs, from mirrors or the registry. What is returned was checked
 * against its digest; a header that claims a digest is never believed. */
#include "base/human.h"
#include "base/log.h"
#include "registry/client.h"

#include <inttypes.h>
#include <time.h>

/* Should the next server be asked after this error? Not when the fault is on our side. */
static bool next_server(const struct error *err, const struct http_response *resp)
{
	return err->class != ERR_CANCELLED && err->class != ERR_SYSTEM && !resp->local;
}

static void passed_over(const struct endpoint *ep, struct strbuf *before, struct error *err)
{
	log_debug("%s: passed over: %s", ep->name, str_or_empty(err->msg));
	if (before->len < 1000)
		strbuf_addf(before, "%s%s", before->len ? "; " : "", str_or_empty(err->msg));
	error_release(err);
}

/* The last server's error counts; its reader wants to know what the mirrors said. */
static int none_left(const struct strbuf *before, struct error *err)
{
	if (before->len == 0)
		return -1;
	char *msg = xasprintf(
	        "%s\n(mirrors were asked first: %s)", str_or_empty(err->msg), before->buf);
	free(err->msg);
	err->msg = msg;
	return -1;
}

/* --- manifests ------------------------------------------------------------------------------- */

static int check_reference(
        const struct oci_ref *ref, struct digest *ret, bool *ret_by_digest, struct error *err)
{
	*ret_by_digest = ref->digest != NULL;
	/* Before any request: a digest becomes part of a URL and of paths. */
	if (ref->digest && !digest_parse(ref->digest, ret))
		return err_set(err, ERR_USAGE,
		        "\"%s\" is not a digest strake can check: expected sha256: and 64 hex "
		        "digits",
		        ref->digest);
	if (!ref->digest && (!ref->tag || !*ref->tag))
		return err_set(
		        err, ERR_USAGE, "%s/%s has neither tag nor digest", ref->domain, ref->path);
	return 0;
}

static int manifest_from(struct registry_client *c, struct endpoint *ep, const struct oci_ref *ref,
        const char *rest, struct http_response *resp, struct error *err)
{
	_cleanup_free_ char *scope = client_scope(ep, ref->path, "pull");
	struct client_call call = {.ep = ep, .scope = scope, .path = ref->path, .rest = rest};
	call.rq.method = "GET";
	call.rq.max_body = MANIFEST_MAX;
	strv_add(&call.rq.headers, "Accept: " OCI_MT_INDEX ", " DOCKER_MT_INDEX ", " OCI_MT_MANIFEST
	                           ", " DOCKER_MT_MANIFEST);
	int r = client_call(c, &call, resp, err);
	http_request_release(&call.rq);
	if (r < 0)
		return -1;
	if (resp->status == 200)
		return 0;
	_cleanup_free_ char *what = xasprintf(
	        "manifest %s of %s%s", ref->digest ? ref->digest : ref->tag, ep->prefix, ref->path);
	return client_refused(ep, what, resp, err);
}

/* "application/json; charset=utf-8" -> "application/json"; NULL if not given. */
static char *content_type(const struct http_response *resp)
{
	const char *v = http_header(resp, "content-type");
	return v && *v ? xstrndup(v, strcspn(v, "; \t")) : NULL;
}

int registry_get_manifest(struct registry_client *c, const struct oci_ref *ref, char **ret,
        size_t *ret_n, char **ret_content_type, struct digest *ret_digest, struct error *err)
{
	struct digest want, got;
	bool by_digest = false;
	if (check_reference(ref, &want, &by_digest, err) < 0)
		return -1;
	_cleanup_strbuf_ struct strbuf rest = STRBUF_INIT;
	strbuf_addstr(&rest, "manifests/");
	url_add_escaped(&rest, by_digest ? ref->digest : ref->tag, ":");

	_cleanup_strbuf_ struct strbuf before = STRBUF_INIT;
	_cleanup_free_ struct endpoint **eps = NULL;
	size_t n = 0;
	if (client_endpoints(c, ref->domain, false, &eps, &n, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		_cleanup_http_response_ struct http_response resp = HTTP_RESPONSE_INIT;
		int r = manifest_from(c, eps[i], ref, rest.buf, &resp, err);
		if (r == 0) {
			sha256_buf(resp.body.buf, resp.body.len, &got);
			char hex[DIGEST_STR_MAX];
			if (by_digest && !digest_eq(&want, &got))
				r = err_set(err, ERR_INTEGRITY,
				        "%s: manifest %s of %s: the registry sent other content "
				        "(%s)",
				        eps[i]->name, ref->digest, ref->path,
				        digest_str(&got, hex));
		}
		if (r < 0) {
			if (i + 1 == n || !next_server(err, &resp))
				return none_left(&before, err);
			passed_over(eps[i], &before, err);
			continue;
		}
		*ret_content_type = content_type(&resp);
		*ret_digest = got;
		*ret_n = resp.body.len;
		*ret = strbuf_detach(&resp.body);
		return 0;
	}
	return err_set(err, ERR_NETWORK, "%s: no server to ask", ref->domain);
}

/* --- blobs ----------------------------------------------------------------------------------- */

/* A download over several tries and servers: `done` bytes are in the sink for good. */
struct download {
	struct registry_client *c;
	struct sink *to;
	struct sha256 hash;
	uint64_t done, size;
	uint64_t skip; /* of this answer, when the server ignores Range */
	bool begun;    /* this answer's first bytes were looked at */
	char what[DIGEST_STR_MAX];
	struct timespec shown;
};

static int blob_prepare(void *ctx, struct http_request *rq, struct error *err)
{
	struct download *d = ctx;
	(void)err;
	strv_release(&rq->headers);
	d->begun = false;
	d->skip = 0;
	/* A compressed transfer of a compressed blob helps nobody and breaks Range. */
	strv_add(&rq->headers, "Accept-Encoding: identity");
	if (d->done > 0)
		strv_addf(&rq->headers, "Range: bytes=%" PRIu64 "-", d->done);
	return 0;
}

/* Does a 206 begin where we stopped? */
static int check_range(struct download *d, const struct http_response *r, struct error *err)
{
	const char *v = http_header(r, "content-range");
	if (!http_range_starts(r, d->done))
		return err_set(err, ERR_NETWORK,
		        "asked to go on at byte %" PRIu64 ", the server answered with \"%.80s\"",
		        d->done, v ? v : "no Content-Range");
	return 0;
}

static void show_progress(struct download *d)
{
	struct timespec now;
	if (!d->c->opt.progress)
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	int64_t ms =
	        (now.tv_sec - d->shown.tv_sec) * 1000 + (now.tv_nsec - d->shown.tv_nsec) / 1000000;
	if (ms < 100 && d->done != d->size)
		return;
	d->shown = now;
	d->c->opt.progress(d->c->opt.ctx, d->what, d->done, d->size);
}

static int blob_write(
        void *ctx, const struct http_response *r, const void *p, size_t n, struct error *err)
{
	struct download *d = ctx;
	if (!d->begun) {
		d->begun = true;
		if (r->status == 206 && check_range(d, r, err) < 0)
			return -1;
		d->skip = r->status == 206 ? 0 : d->done;
	}
	size_t skip = (size_t)MIN(d->skip, (uint64_t)n);
	d->skip -= skip;
	p = (const char *)p + skip;
	n -= skip;
	if (n > d->size - d->done)
		return err_set(err, ERR_INTEGRITY,
		        "blob %s is longer than the %" PRIu64 " bytes its manifest says", d->what,
		        d->size);
	if (n == 0)
		return 0;
	if (sink_write(d->to, p, n, err) < 0)
		return -1;
	sha256_update(&d->hash, p, n);
	d->done += n;
	show_progress(d);
	return 0;
}

static int blob_from(struct registry_client *c, struct endpoint *ep, const struct oci_ref *ref,
        struct download *d, bool *ret_local, struct error *err)
{
	_cleanup_free_ char *scope = client_scope(ep, ref->path, "pull");
	_cleanup_free_ char *rest = xasprintf("blobs/%s", d->what);
	_cleanup_http_response_ struct http_response resp = HTTP_RESPONSE_INIT;
	struct client_call call = {
	        .ep = ep,
	        .scope = scope,
	        .path = ref->path,
	        .rest = rest,
	        .prepare = blob_prepare,
	        .progress = &d->done,
	        .rq = {.method = "GET", .on_body = blob_write, .ctx = d},
	};
	int r = 0;
	/* An answer that ends early without a broken connection is asked to go on, too. */
	while (r == 0 && d->done < d->size) {
		uint64_t before = d->done;
		r = client_call(c, &call, &resp, err);
		if (r == 0 && resp.status != 200 && resp.status != 206) {
			_cleanup_free_ char *what =
			        xasprintf("blob %s of %s%s", d->what, ep->prefix, ref->path);
			r = client_refused(ep, what, &resp, err);
		} else if (r == 0 && d->done == before) {
			r = err_set(err, ERR_NETWORK,
			        "%s: blob %s ended after %" PRIu64 " of %" PRIu64 " bytes",
			        ep->name, d->what, d->done, d->size);
		}
	}
	http_request_release(&call.rq);
	*ret_local = r < 0 && resp.local;
	return r;
}

int registry_get_blob(struct registry_client *c, const struct oci_ref *ref,
        const struct oci_descriptor *desc, struct sink *to, struct error *err)
{
	if (desc->size < 0)
		return err_set(err, ERR_INTEGRITY, "a blob of %s has no size", ref->path);
	struct download d = {.c = c, .to = to, .size = (uint64_t)desc->size};
	digest_str(&desc->digest, d.what);
	sha256_init(&d.hash);
	_cleanup_strbuf_ struct strbuf before = STRBUF_INIT;
	_cleanup_free_ struct endpoint **eps = NULL;
	size_t n = 0;
	if (client_endpoints(c, ref->domain, false, &eps, &n, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		bool local = false;
		int r = blob_from(c, eps[i], ref, &d, &local, err);
		if (r == 0)
			break;
		/* A wrong Content-Range comes from blob_write too, but is the server's fault. */
		bool ours = local && err->class != ERR_NETWORK;
		if (i + 1 == n || ours || err->class == ERR_CANCELLED)
			return none_left(&before, err);
		passed_over(eps[i], &before, err);
	}
	struct digest got;
	sha256_final(&d.hash, &got);
	if (!digest_eq(&got, &desc->digest)) {
		char hex[DIGEST_STR_MAX];
		(void)err_set(err, ERR_INTEGRITY, "blob %s of %s/%s: what came has the digest %s",
		        d.what, ref->domain, ref->path, digest_str(&got, hex));
		return err_hint(err, "the registry or something on the way damaged it: try again");
	}
	return 0;
}
