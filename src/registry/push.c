/* registry/push.c - blobs and manifests into a registry.
 *
 * A blob goes up as one PUT where that works, which every registry takes. A large one that breaks
 * off is continued where the registry says it stopped; one that is refused for its size (413) is
 * cut into chunks. The upload location comes from the server: it is resolved like a redirect, and
 * credentials only go with it to the registry's own origin (RELIABILITY T14). */
#include "base/log.h"
#include "base/pool.h"
#include "registry/client.h"

#include <inttypes.h>

#define CHUNK (8u << 20)
#define CHUNK_MIN (256u << 10)
#define RESUME_MIN (1u << 20) /* smaller blobs start over */

static int push_endpoint(struct registry_client *c, const struct oci_ref *ref,
        struct endpoint **ret, struct error *err)
{
	_cleanup_free_ struct endpoint **eps = NULL;
	size_t n = 0;
	if (client_endpoints(c, ref->domain, true, &eps, &n, err) < 0)
		return -1;
	if (n == 0)
		return err_set(err, ERR_INTERNAL, "%s has no server to push to", ref->domain);
	*ret = eps[0];
	return 0;
}

int registry_has_blob(struct registry_client *c, const struct oci_ref *ref, const struct digest *d,
        bool *ret, struct error *err)
{
	struct endpoint *ep = NULL;
	char hex[DIGEST_STR_MAX];
	if (push_endpoint(c, ref, &ep, err) < 0)
		return -1;
	_cleanup_free_ char *scope = client_scope(ep, ref->path, "pull,push");
	_cleanup_free_ char *rest = xasprintf("blobs/%s", digest_str(d, hex));
	_cleanup_http_response_ struct http_response resp = HTTP_RESPONSE_INIT;
	struct client_call call = {
	        .ep = ep, .scope = scope, .path = ref->path, .rest = rest, .rq.method = "HEAD"};
	int r = client_call(c, &call, &resp, err);
	http_request_release(&call.rq);
	if (r < 0)
		return -1;
	if (resp.status != 200 && resp.status != 404) {
		_cleanup_free_ char *what = xasprintf("blob %s of %s", hex, ref->path);
		return client_refused(ep, what, &resp, err);
	}
	*ret = resp.status == 200;
	return 0;
}

/* --- an upload ------------------------------------------------------------------------------- */

struct upload {
	struct registry_client *c;
	struct endpoint *ep;
	const char *path;
	char *scope;
	struct url at;   /* where the next piece goes */
	uint64_t offset; /* bytes the registry has */
	bool open;
	/* progress */
	uint64_t total;
	char what[DIGEST_STR_MAX];
};

static void upload_release(struct upload *u)
{
	url_release(&u->at);
	free(u->scope);
	*u = (struct upload){0};
}

static int upload_init(
        struct upload *u, struct registry_client *c, const struct oci_ref *ref, struct error *err)
{
	*u = (struct upload){.c = c, .path = ref->path};
	if (push_endpoint(c, ref, &u->ep, err) < 0)
		return -1;
	u->scope = client_scope(u->ep, ref->path, "pull,push");
	return 0;
}

static int upload_refused(const struct upload *u, const char *doing,
        const struct http_response *resp, struct error *err)
{
	_cleanup_free_ char *what = xasprintf("%s to %s", doing, u->path);
	return client_refused(u->ep, what, resp, err);
}

/* Remember the location of the next piece. */
static int follow_location(struct upload *u, const struct http_response *resp, struct error *err)
{
	const char *location = http_header(resp, "location");
	_cleanup_url_ struct url to = {0};
	if (!location)
		return err_set(err, ERR_NETWORK, "%s: upload to %s: no Location in the answer",
		        u->ep->name, u->path);
	if (url_resolve(&resp->url, location, &to, err) < 0)
		return -1;
	if (resp->url.https && !to.https) {
		(void)err_set(err, ERR_NETWORK,
		        "%s wants the upload sent without TLS to http://%s, which is refused",
		        u->ep->name, to.host);
		return err_hint(err, "the registry is probably told the wrong external URL");
	}
	url_release(&u->at);
	u->at = to;
	to = (struct url){0};
	u->open = true;
	return 0;
}

static int upload_start(struct upload *u, struct error *err)
{
	_cleanup_http_response_ struct http_response resp = HTTP_RESPONSE_INIT;
	struct client_call call = {.ep = u->ep,
	        .scope = u->scope,
	        .path = u->path,
	        .rest = "blobs/uploads/",
	        .rq.method = "POST"};
	u->open = false;
	u->offset = 0;
	int r = client_call(u->c, &call, &resp, err);
	http_request_release(&call.rq);
	if (r < 0)
		return -1;
	if (resp.status != 202)
		return upload_refused(u, "starting an upload", &resp, err);
	return follow_location(u, &resp, err);
}

/* A request to the upload's location. Only the registry's own origin is authorised. */
static int upload_call(struct upload *u, struct client_call *call, const char *query,
        struct http_response *resp, struct error *err)
{
	_cleanup_free_ char *at = url_string(&u->at);
	_cleanup_free_ char *url =
	        query ? xasprintf("%s%c%s", at, strchr(at, '?') ? '&' : '?', query) : xstrdup(at);
	_cleanup_free_ char *own = client_url(u->c, u->ep, u->path, "");
	_cleanup_url_ struct url origin = {0};
	if (url_parse(own, &origin, err) < 0)
		return -1;
	bool ours = url_same_origin(&origin, &u->at);
	pthread_mutex_lock(&u->c->lock);
	call->rq.zones = URL_ZONE_PUBLIC | (unsigned)u->ep->zone;
	pthread_mutex_unlock(&u->c->lock);
	call->url = url;
	call->ep = u->ep;
	call->scope = ours ? u->scope : NULL;
	call->once = true;
	int r = ours ? client_call(u->c, call, resp, err) : client_exchange(u->c, call, resp, err);
	http_request_release(&call->rq);
	call->url = NULL;
	return r;
}

static void upload_cancel(struct upload *u)
{
	_cleanup_http_response_ struct http_response resp = HTTP_RESPONSE_INIT;
	struct error err = ERROR_INIT;
	struct client_call call = {.rq.method = "DELETE"};
	if (!u->open)
		return;
	/* Courtesy: registries drop abandoned uploads by themselves. */
	if (upload_call(u, &call, NULL, &resp, &err) < 0)
		log_debug("cancel upload: %s", err.msg);
	error_release(&err);
	u->open = false;
}

/* How much does the registry have? false: it does not say, start over. */
static bool upload_ask_offset(struct upload *u, uint64_t max)
{
	_cleanup_http_response_ struct http_response resp = HTTP_RESPONSE_INIT;
	struct error err = ERROR_INIT;
	struct client_call call = {.rq = {.method = "GET", .max_body = 4096}};
	uint64_t first = 0, last = 0;
	bool good = false;
	if (u->open && upload_call(u, &call, NULL, &resp, &err) == 0 &&
	        (resp.status == 204 || resp.status == 202)) {
		const char *range = http_header(&resp, "range");
		if (range && str_starts(range, "bytes="))
			range += 6;
		/* "0-0" is how an empty upload is written, too: start over then. */
		const char *end = range ? http_number(range, &first) : NULL;
		good = end && *end == '-' && http_number(end + 1, &last) && first == 0 &&
		       last > 0 && last < max;
		if (good && http_header(&resp, "location"))
			good = follow_location(u, &resp, &err) == 0;
	}
	error_release(&err);
	if (good)
		u->offset = last + 1;
	return good;
}

/* --- pieces ---------------------------------------------------------------------------------- */

struct piece {
	struct upload *u;
	int (*reopen)(void *ctx, uint64_t offset, struct reader **ret, struct error *err);
	void *ctx;
	uint64_t offset;
};

static int piece_open(void *ctx, struct reader **ret, struct error *err)
{
	struct piece *p = ctx;
	return p->reopen(p->ctx, p->offset, ret, err);
}

static void piece_sent(void *ctx, uint64_t now)
{
	const struct piece *p = ctx;
	const struct registry_options *o = &p->u->c->opt;
	if (o->progress)
		o->progress(o->ctx, p->u->what, MIN(p->offset + now, p->u->total), p->u->total);
}

static void octets(struct http_request *rq, struct piece *p, uint64_t n)
{
	strv_add(&rq->headers, "Content-Type: application/octet-stream");
	rq->body_size = n;
	rq->ctx = p;
	if (n > 0) {
		rq->open = piece_open;
		rq->sent = piece_sent;
	}
}

/* PUT the rest (n bytes, may be 0) and commit. Returns the status. */
static int put_rest(struct upload *u, struct piece *p, uint64_t n, const struct digest *d,
        struct http_response *resp, struct error *err)
{
	_cleanup_strbuf_ struct strbuf query = STRBUF_INIT;
	char hex[DIGEST_STR_MAX];
	strbuf_addstr(&query, "digest=");
	url_add_escaped(&query, digest_str(d, hex), "");
	struct client_call call = {.rq.method = "PUT"};
	octets(&call.rq, p, n);
	return upload_call(u, &call, query.buf, resp, err);
}

static int patch(struct upload *u, struct http_request *rq, uint64_t n, struct http_response *resp,
        struct error *err)
{
	struct client_call call = {.rq = *rq};
	call.rq.method = "PATCH";
	*rq = (struct http_request){0};
	strv_addf(&call.rq.headers, "Content-Range: %" PRIu64 "-%" PRIu64, u->offset,
	        u->offset + n - 1);
	if (upload_call(u, &call, NULL, resp, err) < 0)
		return -1;
	if (resp->status != 202)
		return 0;
	if (follow_location(u, resp, err) < 0)
		return -1;
	u->offset += n;
	return 0;
}

static int commit(struct upload *u, const struct digest *d, struct error *err)
{
	_cleanup_http_response_ struct http_response resp = HTTP_RESPONSE_INIT;
	struct piece none = {.u = u};
	if (put_rest(u, &none, 0, d, &resp, err) < 0)
		return -1;
	if (resp.status != 201 && resp.status != 204)
		return upload_refused(u, "committing a blob", &resp, err);
	u->open = false;
	return 0;
}

static bool may_pass(long status)
{
	return status == 408 || status == 429 || status == 416 || status == 404 ||
	       status / 100 == 5;
}

/* --- a blob of known digest ------------------------------------------------------------------ */

struct put {
	struct upload u;
	struct piece piece;
	const struct digest *digest;
	uint64_t size;
	uint64_t chunk; /* 0: all in one PUT */
};

/* One attempt, from wherever the upload stands. 1: done; 0: resp says why not. */
static int put_attempt(struct put *p, struct http_response *resp, struct error *err)
{
	if (!p->u.open && upload_start(&p->u, err) < 0)
		return -1;
	while (p->chunk && p->u.offset < p->size) {
		uint64_t n = MIN(p->chunk, p->size - p->u.offset);
		struct http_request rq = {0};
		p->piece.offset = p->u.offset;
		octets(&rq, &p->piece, n);
		if (patch(&p->u, &rq, n, resp, err) < 0)
			return -1;
		if (resp->status != 202)
			return 0;
	}
	p->piece.offset = p->u.offset;
	if (put_rest(&p->u, &p->piece, p->size - p->u.offset, p->digest, resp, err) < 0)
		return -1;
	return resp->status == 201 || resp->status == 204 ? 1 : 0;
}

/* After a failure: adapt. false: give up. */
static bool put_recover(struct put *p, int r, const struct http_response *resp)
{
	if (r == 0 && resp->status == 413) {
		/* Too much at once: something in front of the registry limits request bodies. */
		if (p->chunk && p->chunk <= CHUNK_MIN)
			return false;
		p->chunk = p->chunk ? p->chunk / 4 : MIN((uint64_t)CHUNK, p->size / 2 + 1);
		upload_cancel(&p->u);
		return true;
	}
	if (r == 0 && !may_pass(resp->status))
		return false;
	if (r < 0 && (resp->local || !resp->retryable))
		return false;
	if (p->size < RESUME_MIN || !upload_ask_offset(&p->u, p->size))
		p->u.open = false; /* a fresh upload */
	return true;
}

int registry_put_blob(struct registry_client *c, const struct oci_ref *ref, const struct digest *d,
        uint64_t size,
        int (*reopen)(void *ctx, uint64_t offset, struct reader **ret, struct error *err),
        void *ctx, struct error *err)
{
	struct put p = {.digest = d, .size = size};
	if (upload_init(&p.u, c, ref, err) < 0)
		return -1;
	p.u.total = size;
	digest_str(d, p.u.what);
	p.piece = (struct piece){.u = &p.u, .reopen = reopen, .ctx = ctx};
	int r = 0;
	uint64_t best = 0;
	for (unsigned attempt = 0;; attempt++) {
		_cleanup_http_response_ struct http_response resp = HTTP_RESPONSE_INIT;
		error_release(err);
		r = put_attempt(&p, &resp, err);
		if (r == 1)
			break;
		bool was_413 = r == 0 && resp.status == 413;
		unsigned wait = was_413 ? 0 : c->config.retry_pause << MIN(attempt, 5u);
		if (resp.retry_after > 0 && resp.retry_after <= 60)
			wait = (unsigned)resp.retry_after * 1000;
		struct error pause_err = ERROR_INIT;
		if (attempt >= c->config.retries || resp.retry_after > 60 ||
		        !put_recover(&p, r, &resp)) {
			if (r == 0)
				r = upload_refused(&p.u, "uploading a blob", &resp, err);
			break;
		}
		if (http_pause(c->http, wait, &pause_err) < 0) {
			error_move(err, &pause_err);
			r = -1;
			break;
		}
		if (was_413 || p.u.offset > best)
			attempt = UINT32_MAX; /* it moves: all tries again */
		best = MAX(best, p.u.offset);
	}
	upload_release(&p.u);
	return r < 0 ? -1 : 0;
}

int registry_mount_blob(struct registry_client *c, const struct oci_ref *ref,
        const struct digest *d, const char *from_repo, bool *ret, struct error *err)
{
	struct upload u;
	char hex[DIGEST_STR_MAX];
	if (upload_init(&u, c, ref, err) < 0)
		return -1;
	_cleanup_strbuf_ struct strbuf rest = STRBUF_INIT;
	strbuf_addstr(&rest, "blobs/uploads/?mount=");
	url_add_escaped(&rest, digest_str(d, hex), "");
	strbuf_addstr(&rest, "&from=");
	url_add_escaped(&rest, from_repo, "");
	/* The token must let us read the other repository. */
	_cleanup_free_ char *from_scope = client_scope(u.ep, from_repo, "pull");
	_cleanup_free_ char *scope = xasprintf("%s %s", u.scope, from_scope);
	_cleanup_http_response_ struct http_response resp = HTTP_RESPONSE_INIT;
	struct client_call call = {.ep = u.ep,
	        .scope = scope,
	        .path = ref->path,
	        .rest = rest.buf,
	        .rq.method = "POST"};
	int r = client_call(c, &call, &resp, err);
	http_request_release(&call.rq);
	if (r == 0 && resp.status == 201) {
		*ret = true;
	} else if (r == 0) {
		/* 202: the registry offers an ordinary upload instead; anything else is a "no" that
		 * the ordinary upload will explain if it matters. */
		*ret = false;
		if (resp.status == 202 && follow_location(&u, &resp, err) == 0)
			upload_cancel(&u);
		error_release(err);
	}
	upload_release(&u);
	return r;
}

/* --- a blob whose digest is known at the end ------------------------------------------------- */

/* Pieces go up on a thread of their own while the next one is filled: whoever writes into the sink
 * compresses meanwhile. At most one piece is under way, so its order is the blob's. */
struct upload_sink {
	struct sink sink;
	struct upload u;
	struct strbuf chunk; /* being filled */
	struct strbuf sent;  /* under way, with `end` of the blob's bytes when it is through */
	uint64_t end;
	pthread_t thread;
	bool flying;
	int flown; /* the thread's result; its error: */
	struct error err;
	struct sha256 hash;
	uint64_t size;
	struct digest *ret_digest;
	uint64_t *ret_size;
	uint64_t piece; /* largest request body; shrinks when the registry refuses it */
	struct oci_ref ref;
	bool ready;
};

static int sent_reader(void *ctx, uint64_t offset, struct reader **ret, struct error *err)
{
	struct upload_sink *s = ctx;
	uint64_t base = s->end - s->sent.len; /* of this chunk in the blob */
	(void)err;
	*ret = reader_mem(s->sent.buf + (offset - base), s->sent.len - (size_t)(offset - base));
	return 0;
}

static int chunk_reader(void *ctx, uint64_t offset, struct reader **ret, struct error *err)
{
	struct upload_sink *s = ctx;
	(void)err;
	*ret = reader_mem(s->chunk.buf + offset, s->chunk.len - (size_t)offset);
	return 0;
}

/* Send the chunk, again if need be: it is in memory. */
static int send_chunk(struct upload_sink *s, struct error *err)
{
	uint64_t begin = s->end - s->sent.len;
	if (!s->u.open && begin == 0 && upload_start(&s->u, err) < 0)
		return -1;
	for (unsigned attempt = 0; s->u.offset < s->end; attempt++) {
		_cleanup_http_response_ struct http_response resp = HTTP_RESPONSE_INIT;
		struct piece p = {
		        .u = &s->u, .reopen = sent_reader, .ctx = s, .offset = s->u.offset};
		struct http_request rq = {0};
		uint64_t n = MIN(s->piece, s->end - s->u.offset);
		octets(&rq, &p, n);
		/* Asking first costs a round trip, and a second where nobody answers. */
		strv_add(&rq.headers, "Expect:");
		error_release(err);
		int r = patch(&s->u, &rq, n, &resp, err);
		if (r == 0 && resp.status == 202)
			continue;
		if (r == 0 && resp.status == 413 && s->piece > CHUNK_MIN) {
			s->piece /= 4;
			continue;
		}
		bool again = attempt < s->u.c->config.retries &&
		             (r == 0 ? may_pass(resp.status) : resp.retryable && !resp.local);
		uint64_t sent = s->u.offset;
		if (again && upload_ask_offset(&s->u, s->end))
			again = s->u.offset >= begin; /* earlier bytes are gone */
		else
			s->u.offset = sent; /* it does not say: nothing arrived */
		if (!again)
			return r < 0 ? -1 : upload_refused(&s->u, "uploading a chunk", &resp, err);
		struct error pause_err = ERROR_INIT;
		if (http_pause(s->u.c->http, s->u.c->config.retry_pause << MIN(attempt, 5u),
		            &pause_err) < 0) {
			error_move(err, &pause_err);
			return -1;
		}
	}
	return 0;
}

static void *fly(void *arg)
{
	struct upload_sink *s = arg;
	s->flown = send_chunk(s, &s->err);
	return NULL;
}

/* Wait for the piece under way. */
static int land(struct upload_sink *s, struct error *err)
{
	if (s->flying)
		pthread_join(s->thread, NULL);
	s->flying = false;
	if (s->flown == 0)
		return 0;
	if (error_is_set(&s->err))
		error_move(err, &s->err);
	else if (!error_is_set(err))
		(void)err_set(err, ERR_NETWORK, "the upload was given up");
	return -1;
}

static int flush_chunk(struct upload_sink *s, struct error *err)
{
	if (land(s, err) < 0)
		return -1;
	struct strbuf empty = s->sent;
	s->sent = s->chunk;
	s->chunk = empty;
	strbuf_reset(&s->chunk);
	s->end = s->size;
	s->u.total = s->size;
	s->flying = thread_start(&s->thread, fly, s);
	if (!s->flying) /* no thread to be had */
		fly(s);
	return 0;
}

static int upload_sink_write(struct sink *sink, const void *p, size_t n, struct error *err)
{
	struct upload_sink *s = (struct upload_sink *)sink;
	if (!s->ready) {
		if (upload_init(&s->u, s->u.c, &s->ref, err) < 0)
			return -1;
		s->ready = true;
	}
	sha256_update(&s->hash, p, n);
	while (n > 0) {
		size_t k = MIN(n, (size_t)CHUNK - s->chunk.len);
		strbuf_add(&s->chunk, p, k);
		s->size += k;
		p = (const char *)p + k;
		n -= k;
		if (s->chunk.len == CHUNK && flush_chunk(s, err) < 0)
			return -1;
	}
	return 0;
}

static int upload_sink_finish(struct sink *sink, struct error *err)
{
	struct upload_sink *s = (struct upload_sink *)sink;
	struct digest d;
	if (upload_sink_write(sink, "", 0, err) < 0)
		return -1;
	sha256_final(&s->hash, &d);
	if (s->size == s->chunk.len) {
		/* All of it is here: the ordinary way, with its retries. */
		if (registry_put_blob(s->u.c, &s->ref, &d, s->size, chunk_reader, s, err) < 0)
			return -1;
	} else {
		if (flush_chunk(s, err) < 0 || land(s, err) < 0)
			return -1;
		digest_str(&d, s->u.what);
		if (commit(&s->u, &d, err) < 0)
			return -1;
	}
	*s->ret_digest = d;
	*s->ret_size = s->size;
	return 0;
}

static void upload_sink_free(struct sink *sink)
{
	struct upload_sink *s = (struct upload_sink *)sink;
	struct error ignored = ERROR_INIT;
	if (land(s, &ignored) < 0)
		log_debug("upload: %s", ignored.msg);
	error_release(&ignored);
	if (s->ready) {
		upload_cancel(&s->u);
		upload_release(&s->u);
	}
	strbuf_release(&s->chunk);
	strbuf_release(&s->sent);
	oci_ref_release(&s->ref);
	free(s);
}

struct sink *registry_upload_sink(struct registry_client *c, const struct oci_ref *ref,
        struct digest *ret_digest, uint64_t *ret_size)
{
	struct upload_sink *s = new0(struct upload_sink, 1);
	s->sink = (struct sink){upload_sink_write, upload_sink_finish, upload_sink_free};
	s->u.c = c;
	s->piece = CHUNK;
	s->chunk = s->sent = STRBUF_INIT;
	s->ret_digest = ret_digest;
	s->ret_size = ret_size;
	s->ref.domain = xstrdup(ref->domain);
	s->ref.path = xstrdup(ref->path);
	sha256_init(&s->hash);
	return &s->sink;
}

/* --- manifests ------------------------------------------------------------------------------- */

int registry_put_manifest(struct registry_client *c, const struct oci_ref *ref, const char *p,
        size_t n, const char *media_type, struct digest *ret_digest, struct error *err)
{
	struct endpoint *ep = NULL;
	struct digest d, want;
	char hex[DIGEST_STR_MAX];
	if (push_endpoint(c, ref, &ep, err) < 0)
		return -1;
	sha256_buf(p, n, &d);
	digest_str(&d, hex);
	if (!ref->tag && ref->digest &&
	        (!digest_parse(ref->digest, &want) || !digest_eq(&want, &d)))
		return err_set(err, ERR_INTEGRITY, "the manifest to push has the digest %s, not %s",
		        hex, ref->digest);
	const char *name = ref->tag ? ref->tag : hex;
	_cleanup_strbuf_ struct strbuf rest = STRBUF_INIT;
	strbuf_addstr(&rest, "manifests/");
	url_add_escaped(&rest, name, ":");
	_cleanup_free_ char *scope = client_scope(ep, ref->path, "pull,push");
	_cleanup_http_response_ struct http_response resp = HTTP_RESPONSE_INIT;
	struct client_call call = {.ep = ep,
	        .scope = scope,
	        .path = ref->path,
	        .rest = rest.buf,
	        .rq = {.method = "PUT", .data = p, .body_size = n}};
	strv_addf(&call.rq.headers, "Content-Type: %s", media_type);
	int r = client_call(c, &call, &resp, err);
	http_request_release(&call.rq);
	if (r < 0)
		return -1;
	if (resp.status / 100 != 2) {
		_cleanup_free_ char *what = xasprintf("pushing manifest %s of %s", name, ref->path);
		return client_refused(ep, what, &resp, err);
	}
	*ret_digest = d;
	return http_header(&resp, "oci-subject") != NULL;
}
