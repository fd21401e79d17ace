/* registry/http.h - one HTTP exchange by libcurl, redirects followed by hand.
 *
 * What holds for every exchange: http and https only; at most 10 redirects, none from https to
 * http; `secret` headers go to the first URL's origin alone; no server moves us from a public
 * address to this machine or a link-local one; connecting, stalling, header and error sizes are
 * bounded; cancellation is noticed within a second. No cookies, no .netrc, no content decoding. */
#ifndef STRAKE_REGISTRY_HTTP_H
#define STRAKE_REGISTRY_HTTP_H

#include "base/error.h"
#include "base/strbuf.h"
#include "base/strv.h"
#include "codec/stream.h"
#include "registry/config.h"
#include "registry/url.h"

struct http; /* connection reuse and settings; thread-safe */
struct http *http_new(const struct registry_config *cfg, const volatile bool *cancelled);
void http_free(struct http *h);
/* http_pause - sleep, in slices that notice cancellation. */
int http_pause(struct http *h, unsigned ms, struct error *err) must_check;

struct http_response {
	long status;
	struct strv headers; /* "name: value" of the last hop */
	struct strbuf body;  /* what was not given to on_body; of an error at most 64 KiB */
	struct url url;      /* of the last hop */
	bool at_origin;      /* the last hop has the first URL's origin */
	enum url_zone zone;  /* where the first hop's connection went */
	int64_t retry_after; /* seconds; 0: not said */
	uint64_t body_bytes; /* given to on_body */
	/* with a return of -1: */
	bool retryable; /* a break that another try may mend */
	bool no_tls;    /* the TLS handshake or the connection failed before anything was sent */
	bool refused;   /* nobody listens there, or the name is unknown */
	bool local;     /* the caller's own reader or sink failed, or was cancelled */
};
#define HTTP_RESPONSE_INIT ((struct http_response){.body = STRBUF_INIT})
#define _cleanup_http_response_ _cleanup_(http_response_release)
void http_response_release(struct http_response *r);
/* http_number - decimal digits at s; returns what follows them, NULL if there are none or too many.
 */
const char *http_number(const char *s, uint64_t *ret);
/* http_range_starts - does a Content-Range begin at `at`? */
bool http_range_starts(const struct http_response *r, uint64_t at);
/* http_header - first header of that name, or NULL. */
const char *http_header(const struct http_response *r, const char *name);

struct http_request {
	const char *method; /* GET HEAD POST PUT PATCH DELETE */
	const char *url;
	struct strv headers; /* "Name: value", to every hop */
	struct strv secret;  /* to the first origin only */
	/* request body: data, or opened anew for every try and hop; open == NULL && !data: none */
	const void *data;
	int (*open)(void *ctx, struct reader **ret, struct error *err);
	uint64_t body_size;
	/* response body of 200 and 206: streamed if set, else kept up to max_body (beyond:
	 * ERR_INTEGRITY) */
	int (*on_body)(void *ctx, const struct http_response *r, const void *p, size_t n,
	        struct error *err);
	void *ctx;
	size_t max_body;
	void (*sent)(void *ctx, uint64_t now); /* upload progress; may be NULL */
	unsigned zones;                        /* zones the first hop may connect to; 0: any */
	bool no_redirects;
};
void http_request_release(struct http_request *rq);

/* http_exchange - 0: an answer, whatever its status; -1: none (resp tells what kind). resp is
 * reset first. */
int http_exchange(struct http *h, const struct http_request *rq, struct http_response *resp,
        struct error *err) must_check;

#endif
