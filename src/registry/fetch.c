/* registry/fetch.c - plain GET for ADD URL and HTTP contexts: no credentials, no registry notions,
 * the same rules of http.h. */
#include "registry/client.h"

#include <ctype.h>
#include <inttypes.h>
#include <strings.h>

#define DEFAULT_MAX (16ull << 30)

void registry_http_release(struct registry_http *rq)
{
	free(rq->etag);
	free(rq->last_modified);
	free(rq->content_type);
	free(rq->filename);
	rq->etag = rq->last_modified = rq->content_type = rq->filename = NULL;
}

/* --- file names ------------------------------------------------------------------------------ */

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* filename="a b.tar" or filename*=UTF-8''a%20b.tar; the value at p. */
static char *parameter_value(const char *p, bool extended)
{
	struct strbuf sb = STRBUF_INIT;
	if (extended) {
		const char *q = strchr(p, '\'');
		q = q ? strchr(q + 1, '\'') : NULL;
		for (p = q ? q + 1 : p; *p && *p != ';' && *p != ' '; p++) {
			if (*p == '%' && hex_value(p[1]) >= 0 && hex_value(p[2]) >= 0) {
				strbuf_addch(&sb, (char)(hex_value(p[1]) * 16 + hex_value(p[2])));
				p += 2;
			} else {
				strbuf_addch(&sb, *p);
			}
		}
	} else if (*p == '"') {
		for (p++; *p && *p != '"'; p++) {
			if (*p == '\\' && p[1])
				p++;
			strbuf_addch(&sb, *p);
		}
	} else {
		strbuf_add(&sb, p, strcspn(p, "; \t"));
	}
	/* An embedded NUL would hide the rest from the checks below. */
	if (strlen(sb.buf) != sb.len)
		strbuf_reset(&sb);
	return strbuf_detach(&sb);
}

/* The last component, if it is a name one can have in a directory; else NULL (RELIABILITY B5). */
static char *safe_name(const char *s)
{
	const char *slash = strrchr(s, '/');
	const char *name = slash ? slash + 1 : s;
	if (*name == '\0' || str_eq(name, ".") || str_eq(name, "..") || strlen(name) > 255 ||
	        strchr(name, '\\'))
		return NULL;
	for (const char *p = name; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return NULL;
	return xstrdup(name);
}

char *registry_disposition_name(const char *value)
{
	char *best = NULL;
	const char *p = strchr(value, ';');
	while (p) {
		p++;
		while (*p == ' ' || *p == '\t')
			p++;
		bool extended = strncasecmp(p, "filename*=", 10) == 0;
		if (extended || strncasecmp(p, "filename=", 9) == 0) {
			const char *v = p + (extended ? 10 : 9);
			_cleanup_free_ char *raw = parameter_value(v, extended);
			char *name = safe_name(raw);
			if (name && (extended || !best)) { /* the extended form wins */
				free(best);
				best = name;
			} else {
				free(name);
			}
			if (!extended && *v == '"') /* a quoted ';' is not a separator */
				for (p = v + 1; *p && *p != '"'; p++)
					if (*p == '\\' && p[1])
						p++;
		}
		p = strchr(p, ';');
	}
	return best;
}

/* --- download -------------------------------------------------------------------------------- */

struct fetch {
	struct registry_client *c;
	const struct registry_http *rq;
	struct sink *to;
	uint64_t done, max, skip, total;
	char *validator; /* strong ETag or Last-Modified of the first answer */
	bool begun;
};

static char *validator_of(const struct http_response *r)
{
	const char *etag = http_header(r, "etag");
	if (etag && *etag == '"')
		return xstrdup(etag);
	const char *modified = http_header(r, "last-modified");
	return modified ? xstrdup(modified) : NULL;
}

static int fetch_prepare(void *ctx, struct http_request *rq, struct error *err)
{
	struct fetch *f = ctx;
	(void)err;
	strv_release(&rq->headers);
	f->begun = false;
	f->skip = 0;
	strv_add(&rq->headers, "Accept-Encoding: identity");
	if (f->rq->if_none_match && f->done == 0)
		strv_addf(&rq->headers, "If-None-Match: %s", f->rq->if_none_match);
	if (f->done > 0 && f->validator) {
		strv_addf(&rq->headers, "Range: bytes=%" PRIu64 "-", f->done);
		strv_addf(&rq->headers, "If-Range: %s", f->validator);
	}
	return 0;
}

/* The first bytes of an answer: is it the same thing as before the break? */
static int fetch_begin(struct fetch *f, const struct http_response *r, struct error *err)
{
	_cleanup_free_ char *v = validator_of(r);
	uint64_t length = 0;
	const char *n = http_header(r, "content-length");
	f->begun = true;
	if (n && http_number(n, &length))
		f->total = r->status == 206 ? f->done + length : length;
	if (f->done == 0 && r->status == 200) {
		free(f->validator);
		f->validator = take_ptr(v);
		return 0;
	}
	bool same = v && f->validator && str_eq(v, f->validator);
	if (r->status == 206) {
		if (!http_range_starts(r, f->done))
			return err_set(err, ERR_NETWORK,
			        "asked to go on at byte %" PRIu64
			        ", the server answered with another range",
			        f->done);
		return 0;
	}
	if (!same)
		return err_set(err, ERR_NETWORK,
		        "the connection broke after %" PRIu64
		        " bytes, and the file cannot be continued: it changed, or the server gives "
		        "no ETag or Last-Modified",
		        f->done);
	f->skip = f->done;
	return 0;
}

static int fetch_write(
        void *ctx, const struct http_response *r, const void *p, size_t n, struct error *err)
{
	struct fetch *f = ctx;
	if (!f->begun && fetch_begin(f, r, err) < 0)
		return -1;
	size_t skip = (size_t)MIN(f->skip, (uint64_t)n);
	f->skip -= skip;
	p = (const char *)p + skip;
	n -= skip;
	if (n > f->max - f->done)
		return err_set(
		        err, ERR_USAGE, "%s is larger than %" PRIu64 " bytes", f->rq->url, f->max);
	if (n > 0 && sink_write(f->to, p, n, err) < 0)
		return -1;
	f->done += n;
	if (f->c->opt.progress)
		f->c->opt.progress(f->c->opt.ctx, f->rq->url, f->done, f->total);
	return 0;
}

static char *dup_header(const struct http_response *r, const char *name)
{
	const char *v = http_header(r, name);
	return v && *v ? xstrdup(v) : NULL;
}

int registry_http_get(
        struct registry_client *c, struct registry_http *rq, struct sink *to, struct error *err)
{
	struct fetch f = {.c = c, .rq = rq, .to = to, .max = rq->max_bytes};
	if (f.max == 0)
		f.max = DEFAULT_MAX;
	_cleanup_url_ struct url u = {0};
	if (url_parse(rq->url, &u, err) < 0)
		return err_wrap(err, "URL");
	if (rq->if_none_match && strpbrk(rq->if_none_match, "\r\n"))
		return err_set(err, ERR_USAGE, "bad If-None-Match");
	struct client_call call = {
	        .url = rq->url,
	        .prepare = fetch_prepare,
	        .progress = &f.done,
	        .rq = {.method = "GET", .on_body = fetch_write, .ctx = &f},
	};
	_cleanup_http_response_ struct http_response resp = HTTP_RESPONSE_INIT;
	int r = client_exchange(c, &call, &resp, err);
	http_request_release(&call.rq);
	free(f.validator);
	if (r < 0)
		return -1;
	registry_http_release(rq);
	rq->status = resp.status;
	if (resp.status != 200 && resp.status != 206 && resp.status != 304) {
		_cleanup_free_ char *shown = url_shown(&u);
		_cleanup_free_ char *said = client_body_text(&resp);
		size_t n = MIN(strlen(said), (size_t)120); /* often a whole HTML page */
		return err_set(err, resp.status == 404 ? ERR_NOT_FOUND : ERR_NETWORK,
		        "%s: HTTP %ld%s%.*s", shown, resp.status, n ? ": " : "", (int)n, said);
	}
	rq->etag = dup_header(&resp, "etag");
	rq->last_modified = dup_header(&resp, "last-modified");
	_cleanup_free_ char *disposition = dup_header(&resp, "content-disposition");
	rq->filename = disposition ? registry_disposition_name(disposition) : NULL;
	rq->content_type = dup_header(&resp, "content-type");
	return 0;
}
