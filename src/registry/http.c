/* registry/http.c - see http.h. Easy handles are kept in a free list: a handle carries its open
 * connections, so layers pulled one after another share them. */
#include "registry/http.h"
#include "base/human.h"
#include "registry/curl_dl.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>

#define HEADERS_MAX (64 * 1024)
#define ERROR_BODY_MAX (64 * 1024)
#define MAX_REDIRECTS 10
#define STALL_BYTES 1024
#define COMMIT_TIMEOUT 600 /* a registry may take long to store what it was sent */
#define IDLE_HANDLES 16

struct http {
	pthread_mutex_t lock;
	CURL *idle[IDLE_HANDLES];
	size_t n_idle;
	const struct registry_config *cfg;
	const volatile bool *cancelled;
	bool proxied; /* some proxy is configured: the peer's address is then not the server's */
};

static bool any_proxy(void)
{
	static const char *const names[] = {
	        "http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *v = getenv(names[i]);
		if (v && *v)
			return true;
	}
	return false;
}

struct http *http_new(const struct registry_config *cfg, const volatile bool *cancelled)
{
	struct http *h = new0(struct http, 1);
	pthread_mutex_init(&h->lock, NULL);
	h->cfg = cfg;
	h->cancelled = cancelled;
	h->proxied = any_proxy();
	return h;
}

void http_free(struct http *h)
{
	if (!h)
		return;
	for (size_t i = 0; i < h->n_idle; i++)
		curl_dl.easy_cleanup(h->idle[i]);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

static CURL *take_handle(struct http *h)
{
	CURL *c = NULL;
	pthread_mutex_lock(&h->lock);
	if (h->n_idle > 0)
		c = h->idle[--h->n_idle];
	pthread_mutex_unlock(&h->lock);
	if (c)
		curl_dl.easy_reset(c); /* keeps connections, forgets options */
	else
		c = curl_dl.easy_init();
	return c;
}

static void give_handle(struct http *h, CURL *c)
{
	pthread_mutex_lock(&h->lock);
	bool kept = h->n_idle < IDLE_HANDLES;
	if (kept)
		h->idle[h->n_idle++] = c;
	pthread_mutex_unlock(&h->lock);
	if (!kept)
		curl_dl.easy_cleanup(c);
}

static bool is_cancelled(const struct http *h)
{
	return h->cancelled && *h->cancelled;
}

int http_pause(struct http *h, unsigned ms, struct error *err)
{
	while (ms > 0) {
		if (is_cancelled(h))
			return err_set(err, ERR_CANCELLED, "cancelled");
		unsigned slice = MIN(ms, 100u);
		struct timespec ts = {0, (long)slice * 1000000};
		nanosleep(&ts, NULL);
		ms -= slice;
	}
	return 0;
}

void http_response_release(struct http_response *r)
{
	strv_release(&r->headers);
	strbuf_release(&r->body);
	url_release(&r->url);
	*r = HTTP_RESPONSE_INIT;
}

void http_request_release(struct http_request *rq)
{
	strv_release(&rq->headers);
	for (size_t i = 0; i < rq->secret.n; i++)
		explicit_bzero(rq->secret.v[i], strlen(rq->secret.v[i]));
	strv_release(&rq->secret);
}

const char *http_header(const struct http_response *r, const char *name)
{
	size_t n = strlen(name);
	for (size_t i = 0; i < r->headers.n; i++) {
		const char *h = r->headers.v[i];
		if (strncasecmp(h, name, n) == 0 && h[n] == ':') {
			for (h += n + 1; *h == ' ' || *h == '\t';)
				h++;
			return h;
		}
	}
	return NULL;
}

const char *http_number(const char *s, uint64_t *ret)
{
	uint64_t n = 0;
	size_t digits = strspn(s, "0123456789");
	if (digits == 0 || digits > 18)
		return NULL;
	for (size_t i = 0; i < digits; i++)
		n = n * 10 + (uint64_t)(s[i] - '0');
	*ret = n;
	return s + digits;
}

bool http_range_starts(const struct http_response *r, uint64_t at)
{
	const char *v = http_header(r, "content-range");
	uint64_t first = 0;
	if (!v || strncasecmp(v, "bytes ", 6) != 0)
		return false;
	v = http_number(v + 6, &first);
	return v && *v == '-' && first == at;
}

/* --- one hop --------------------------------------------------------------------------------- */

struct hop {
	struct http *http;
	const struct http_request *rq;
	struct http_response *resp;
	struct reader *body; /* of the request */
	uint64_t body_left;
	size_t header_bytes;
	bool body_cut; /* enough of an error page was seen */
	bool cancelled, stalled, zone_refused;
	unsigned zones;
	struct error err; /* of the caller's own reader or sink, or a limit */
	bool local;
	/* stall watch: bytes seen at the begin of the current window */
	curl_off_t window_bytes;
	time_t window_start;
};

static time_t now_monotonic(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static size_t on_header(char *p, size_t size, size_t n, void *ctx)
{
	struct hop *hop = ctx;
	size_t total = size * n, len = total;
	while (len > 0 && (p[len - 1] == '\r' || p[len - 1] == '\n' || p[len - 1] == ' '))
		len--;
	hop->header_bytes += total;
	if (hop->header_bytes > HEADERS_MAX) {
		(void)err_set(&hop->err, ERR_NETWORK, "more than %d bytes of headers", HEADERS_MAX);
		return 0;
	}
	if (len >= 5 && memcmp(p, "HTTP/", 5) == 0) {
		/* The status line of the answer, or of one after "100 Continue". */
		strv_release(&hop->resp->headers);
		hop->resp->status = 0;
		const char *sp = memchr(p, ' ', len);
		for (size_t i = 1; sp && i <= 3 && sp + i < p + len; i++)
			if (sp[i] >= '0' && sp[i] <= '9')
				hop->resp->status = hop->resp->status * 10 + (sp[i] - '0');
	} else if (len > 0 && !memchr(p, '\0', len)) {
		strv_add_take(&hop->resp->headers, xstrndup(p, len));
	}
	return total;
}

static size_t on_body(char *p, size_t size, size_t n, void *ctx)
{
	struct hop *hop = ctx;
	struct http_response *r = hop->resp;
	size_t total = size * n;
	bool good = r->status == 200 || r->status == 206;

	if (total == 0)
		return 0;
	if (good && hop->rq->on_body) {
		if (hop->rq->on_body(hop->rq->ctx, r, p, total, &hop->err) < 0) {
			hop->local = true;
			return 0;
		}
		r->body_bytes += total;
		return total;
	}
	size_t max = r->status / 100 == 2 ? hop->rq->max_body : ERROR_BODY_MAX;
	size_t room = max - MIN(max, r->body.len);
	strbuf_add(&r->body, p, MIN(room, total));
	if (total <= room)
		return total;
	if (r->status / 100 == 2)
		(void)err_set(&hop->err, ERR_INTEGRITY, "the answer is larger than %zu bytes", max);
	else
		hop->body_cut = true;
	return 0;
}

static size_t on_read(char *p, size_t size, size_t n, void *ctx)
{
	struct hop *hop = ctx;
	size_t want = (size_t)MIN((uint64_t)size * n, hop->body_left);
	if (want == 0)
		return 0;
	ssize_t got = reader_read(hop->body, p, want, &hop->err);
	if (got == 0)
		(void)err_set(&hop->err, ERR_INTEGRITY, "the data to send ended %llu bytes early",
		        (unsigned long long)hop->body_left);
	if (got <= 0) {
		hop->local = true;
		return CURL_READFUNC_ABORT;
	}
	hop->body_left -= (uint64_t)got;
	return (size_t)got;
}

/* Called at least once a second whatever happens: cancellation and the stall watch live here. */
static int on_tick(
        void *ctx, curl_off_t dl_total, curl_off_t dl_now, curl_off_t ul_total, curl_off_t ul_now)
{
	struct hop *hop = ctx;
	if (is_cancelled(hop->http)) {
		hop->cancelled = true;
		return 1;
	}
	if (hop->rq->sent && ul_now > 0)
		hop->rq->sent(hop->rq->ctx, (uint64_t)ul_now);
	curl_off_t bytes = dl_now + ul_now + (curl_off_t)hop->header_bytes;
	time_t now = now_monotonic();
	if (bytes - hop->window_bytes >= STALL_BYTES) {
		hop->window_bytes = bytes;
		hop->window_start = now;
		return 0;
	}
	bool committing = hop->rq->body_size > 0 && ul_now >= (curl_off_t)hop->rq->body_size;
	unsigned limit = hop->http->cfg->stall_timeout;
	if (committing)
		limit = MAX(limit, (unsigned)COMMIT_TIMEOUT);
	if (now - hop->window_start > (time_t)limit) {
		hop->stalled = true;
		return 1;
	}
	return 0;
}

static curl_socket_t on_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *a)
{
	struct hop *hop = ctx;
	if (!hop->http->proxied && !(url_zone_of_address(&a->addr) & hop->zones)) {
		hop->zone_refused = true;
		return CURL_SOCKET_BAD;
	}
	return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

static void set_tls(const struct http *h, CURL *c, const struct url *u)
{
	_cleanup_free_ char *name = url_authority(u);
	const struct registry_host *host = registry_config_host(h->cfg, name);
	if (!host && str_eq(name, "registry-1.docker.io"))
		host = registry_config_host(h->cfg, "docker.io");
	const char *env = getenv("SSL_CERT_FILE");
	bool loopback = url_zone_of_host(u->host) == URL_ZONE_LOOPBACK;

	if (host && host->ca)
		curl_dl.easy_setopt(c, CURLOPT_CAINFO, host->ca);
	else if (env && *env)
		curl_dl.easy_setopt(c, CURLOPT_CAINFO, env);
	if (host && host->client_cert)
		curl_dl.easy_setopt(c, CURLOPT_SSLCERT, host->client_cert);
	if (host && host->client_key)
		curl_dl.easy_setopt(c, CURLOPT_SSLKEY, host->client_key);
	/* With a CA configured, even this machine is checked against it. */
	bool insecure = host ? host->insecure || (loopback && !host->ca) : loopback;
	curl_dl.easy_setopt(c, CURLOPT_SSL_VERIFYPEER, insecure ? 0L : 1L);
	curl_dl.easy_setopt(c, CURLOPT_SSL_VERIFYHOST, insecure ? 0L : 2L);
	curl_dl.easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
}

static struct curl_slist *header_list(const struct http_request *rq, bool with_secret)
{
	struct curl_slist *list = NULL;
	const struct strv *sets[] = {&rq->headers, with_secret ? &rq->secret : NULL};
	for (size_t s = 0; s < ARRAY_SIZE(sets); s++)
		for (size_t i = 0; sets[s] && i < sets[s]->n; i++)
			list = curl_dl.slist_append(list, sets[s]->v[i]);
	return list;
}

static void set_body(struct hop *hop, CURL *c)
{
	const struct http_request *rq = hop->rq;
	if (str_eq(rq->method, "HEAD")) {
		curl_dl.easy_setopt(c, CURLOPT_NOBODY, 1L);
		return;
	}
	if (hop->body) {
		curl_dl.easy_setopt(c, CURLOPT_UPLOAD, 1L);
		curl_dl.easy_setopt(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t)rq->body_size);
		curl_dl.easy_setopt(c, CURLOPT_READFUNCTION, on_read);
		curl_dl.easy_setopt(c, CURLOPT_READDATA, hop);
		curl_dl.easy_setopt(c, CURLOPT_UPLOAD_BUFFERSIZE, 256L * 1024);
	} else if (rq->data || !str_eq(rq->method, "GET")) {
		curl_dl.easy_setopt(c, CURLOPT_POST, 1L);
		curl_dl.easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)rq->body_size);
		curl_dl.easy_setopt(c, CURLOPT_POSTFIELDS, rq->data ? rq->data : "");
	}
	if (!str_eq(rq->method, "GET"))
		curl_dl.easy_setopt(c, CURLOPT_CUSTOMREQUEST, rq->method);
}

static int transport_error(
        struct hop *hop, CURLcode code, const char *detail, const struct url *u, struct error *err)
{
	struct http_response *r = hop->resp;
	_cleanup_free_ char *shown = url_shown(u);
	_cleanup_free_ char *said = human_escape(detail, strlen(detail), false);

	r->local = hop->local || hop->cancelled;
	if (hop->cancelled)
		return err_set(err, ERR_CANCELLED, "cancelled");
	if (hop->zone_refused)
		return err_set(err, ERR_NETWORK,
		        "%s leads to this machine or a link-local address, where a server may not "
		        "send us",
		        shown);
	if (error_is_set(&hop->err)) {
		error_move(err, &hop->err);
		return hop->local ? -1 : err_wrap(err, "%s", shown);
	}
	r->retryable = true;
	if (hop->stalled)
		return err_set(err, ERR_NETWORK, "%s: stalled: less than %d bytes in %u seconds",
		        shown, STALL_BYTES, hop->http->cfg->stall_timeout);
	switch (code) {
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
		r->refused = true;
		(void)err_set(err, ERR_NETWORK, "%s: %s", shown, said);
		return err_hint(err,
		        "check the name, DNS and the network; behind a proxy, set https_proxy");
	case CURLE_COULDNT_CONNECT:
		r->refused = r->no_tls = true;
		break;
	case CURLE_SSL_CONNECT_ERROR:
		r->no_tls = true;
		r->retryable = false;
		(void)err_set(err, ERR_NETWORK, "%s: %s", shown, said);
		return err_hint(err,
		        "if the registry speaks plain HTTP, say so in registries.conf: [registry "
		        "\"%s:%u\"] with plain-http = true",
		        u->host, u->port);
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
		r->retryable = false;
		(void)err_set(err, ERR_NETWORK, "%s: %s", shown, said);
		return err_hint(err,
		        "if its certificate is signed by an authority of your own, name that in "
		        "registries.conf: [registry \"%s\"] with ca = /path/to/ca.pem",
		        u->host);
	case CURLE_URL_MALFORMAT:
	case CURLE_UNSUPPORTED_PROTOCOL:
		r->retryable = false;
		break;
	default:
		break;
	}
	return err_set(err, ERR_NETWORK, "%s: %s", shown, said);
}

static void set_common(struct hop *hop, CURL *c, char *errbuf)
{
	curl_dl.easy_setopt(c, CURLOPT_ERRORBUFFER, errbuf);
	curl_dl.easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_dl.easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
	curl_dl.easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_tick);
	curl_dl.easy_setopt(c, CURLOPT_XFERINFODATA, hop);
	curl_dl.easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	curl_dl.easy_setopt(c, CURLOPT_HEADERDATA, hop);
	curl_dl.easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	curl_dl.easy_setopt(c, CURLOPT_WRITEDATA, hop);
	curl_dl.easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, on_socket);
	curl_dl.easy_setopt(c, CURLOPT_OPENSOCKETDATA, hop);
	curl_dl.easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)hop->http->cfg->connect_timeout);
	curl_dl.easy_setopt(c, CURLOPT_BUFFERSIZE, 256L * 1024);
	curl_dl.easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
	curl_dl.easy_setopt(c, CURLOPT_USERAGENT, "strake/" STRAKE_VERSION);
	/* What reaches libcurl was parsed by url.c, so these two are a second fence. */
	curl_dl.easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_dl.easy_setopt(c, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
}

static void learn_zone(struct hop *hop, CURL *c, const struct url *u)
{
	char *ip = NULL;
	hop->resp->zone = url_zone_of_host(u->host);
	if (!hop->http->proxied && curl_dl.easy_getinfo(c, CURLINFO_PRIMARY_IP, &ip) == CURLE_OK &&
	        ip && *ip)
		hop->resp->zone = url_zone_of_host(ip);
}

static int one_hop(
        struct hop *hop, const struct url *u, bool first, bool with_secret, struct error *err)
{
	const struct http_request *rq = hop->rq;
	_cleanup_free_ char *text = url_string(u);
	char errbuf[CURL_ERROR_SIZE] = "";

	if (!(url_zone_of_host(u->host) & hop->zones)) {
		hop->zone_refused = true;
		return transport_error(hop, CURLE_OK, "", u, err);
	}
	if (rq->open) {
		if (rq->open(rq->ctx, &hop->body, err) < 0) {
			hop->resp->local = true;
			return -1;
		}
		hop->body_left = rq->body_size;
	}
	CURL *c = take_handle(hop->http);
	if (!c)
		return err_set(err, ERR_SYSTEM, "libcurl gives no handle");
	struct curl_slist *list = header_list(rq, with_secret);
	if (url_zone_of_host(u->host) == URL_ZONE_LOOPBACK)
		curl_dl.easy_setopt(c, CURLOPT_NOPROXY, "*"); /* a proxy's localhost is another */
	set_common(hop, c, errbuf);
	set_tls(hop->http, c, u);
	curl_dl.easy_setopt(c, CURLOPT_URL, text);
	curl_dl.easy_setopt(c, CURLOPT_HTTPHEADER, list);
	set_body(hop, c);
	hop->window_start = now_monotonic();
	CURLcode code = curl_dl.easy_perform(c);
	if (first)
		learn_zone(hop, c, u);
	curl_off_t after = 0;
	if (curl_dl.easy_getinfo(c, CURLINFO_RETRY_AFTER, &after) == CURLE_OK)
		hop->resp->retry_after = (int64_t)after;
	curl_dl.slist_free_all(list);
	reader_free(take_ptr(hop->body));
	if (code == CURLE_OK || hop->body_cut) {
		give_handle(hop->http, c);
		return 0;
	}
	/* A connection that broke is not worth keeping. */
	curl_dl.easy_cleanup(c);
	return transport_error(hop, code, *errbuf ? errbuf : curl_dl.easy_strerror(code), u, err);
}

/* --- redirects ------------------------------------------------------------------------------- */

static bool is_redirect(const struct http_request *rq, long status)
{
	if (rq->no_redirects)
		return false;
	if (status == 307 || status == 308)
		return true;
	/* The others turn a POST into a GET, which no registry means. */
	return (status == 301 || status == 302 || status == 303) &&
	       (str_eq(rq->method, "GET") || str_eq(rq->method, "HEAD"));
}

static int next_hop(struct url *at, const struct http_response *r, struct error *err)
{
	const char *location = http_header(r, "location");
	_cleanup_url_ struct url to = {0};
	if (!location)
		return err_set(
		        err, ERR_NETWORK, "%s: HTTP %ld without a Location", at->host, r->status);
	if (url_resolve(at, location, &to, err) < 0)
		return -1;
	if (at->https && !to.https) {
		(void)err_set(err, ERR_NETWORK,
		        "%s redirects from https to http (%s), which is refused", at->host,
		        to.host);
		return err_hint(
		        err, "the server behind it is probably told the wrong external URL");
	}
	url_release(at);
	*at = to;
	to = (struct url){0};
	return 0;
}

int http_exchange(struct http *h, const struct http_request *rq, struct http_response *resp,
        struct error *err)
{
	_cleanup_url_ struct url at = {0};
	_cleanup_url_ struct url origin = {0};
	http_response_release(resp);
	if (curl_dl_load(err) < 0 || url_parse(rq->url, &at, err) < 0 ||
	        url_parse(rq->url, &origin, err) < 0)
		return -1;
	enum url_zone zone = URL_ZONE_PUBLIC;
	for (unsigned n = 0;; n++) {
		struct hop hop = {.http = h, .rq = rq, .resp = resp};
		bool first = n == 0, same = url_same_origin(&at, &origin);
		hop.zones = first ? rq->zones : URL_ZONE_PUBLIC | (unsigned)zone;
		if (hop.zones == 0)
			hop.zones = URL_ZONE_PUBLIC | URL_ZONE_LOOPBACK | URL_ZONE_LINK_LOCAL;
		resp->at_origin = same;
		int r = one_hop(&hop, &at, first, same, err);
		error_release(&hop.err);
		if (r < 0)
			return -1;
		if (first)
			zone = resp->zone;
		if (!is_redirect(rq, resp->status))
			break;
		if (n == MAX_REDIRECTS)
			return err_set(err, ERR_NETWORK, "%s: more than %d redirects", origin.host,
			        MAX_REDIRECTS);
		if (next_hop(&at, resp, err) < 0)
			return -1;
		strv_release(&resp->headers);
		strbuf_reset(&resp->body);
		resp->status = 0;
	}
	resp->zone = zone;
	resp->url = at;
	at = (struct url){0};
	return 0;
}
