/* registry/client.c - see client.h: which servers to ask, when to try again, what to say when it
 * fails. */
#include "registry/client.h"
#include "base/human.h"
#include "base/log.h"
#include "codec/json.h"
#include "registry/curl_dl.h"

#include <stdio.h>
#include <sys/random.h>

#define BACKOFF_MAX_MS 15000u
#define RETRY_AFTER_MAX 60

/* --- client ---------------------------------------------------------------------------------- */

int registry_client_new(
        const struct registry_options *o, struct registry_client **ret, struct error *err)
{
	struct registry_client *c = new0(struct registry_client, 1);
	pthread_mutex_init(&c->lock, NULL);
	if (o)
		c->opt = *o;
	/* This path is needed later: credentials are read when a server asks for them. */
	c->opt.docker_config = o && o->docker_config ? xstrdup(o->docker_config) : NULL;
	c->opt.config_path = NULL;
	registry_config_init(&c->config);
	if (registry_config_load(&c->config, o ? o->config_path : NULL, err) < 0) {
		registry_client_free(c);
		return -1;
	}
	c->http = http_new(&c->config, c->opt.cancelled);
	*ret = c;
	return 0;
}

static void endpoint_free(struct endpoint *ep)
{
	free(ep->registry);
	free(ep->name);
	free(ep->authority);
	free(ep->prefix);
	challenge_release(&ep->challenge);
	creds_release(&ep->creds);
	tokens_free(ep->tokens);
	free(ep);
}

void registry_client_free(struct registry_client *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n_endpoints; i++)
		endpoint_free(c->endpoints[i]);
	free(c->endpoints);
	http_free(c->http);
	creds_file_release(&c->creds);
	registry_config_release(&c->config);
	free((char *)(uintptr_t)c->opt.docker_config);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

void registry_client_insecure(struct registry_client *c, const char *domain)
{
	struct registry_config *cfg = &c->config;
	for (size_t i = 0; i < cfg->n; i++)
		if (str_eq(cfg->hosts[i].name, domain)) {
			cfg->hosts[i].insecure = true;
			return;
		}
	vec_grow(&cfg->hosts, &cfg->cap, cfg->n + 1);
	cfg->hosts[cfg->n++] = (struct registry_host){.name = xstrdup(domain), .insecure = true};
}

/* --- endpoints ------------------------------------------------------------------------------- */

static struct endpoint *add_endpoint(struct registry_client *c, const char *registry,
        const char *name, const char *authority, const char *prefix)
{
	struct endpoint *ep = new0(struct endpoint, 1);
	ep->registry = xstrdup(registry);
	ep->name = xstrdup(name);
	ep->authority = xstrdup(authority);
	ep->prefix = xstrdup(prefix);
	ep->zone = URL_ZONE_PUBLIC;
	vec_grow(&c->endpoints, &c->cap_endpoints, c->n_endpoints + 1);
	c->endpoints[c->n_endpoints++] = ep;
	return ep;
}

static int add_mirror(
        struct registry_client *c, const char *registry, const char *text, struct error *err)
{
	_cleanup_url_ struct url u = {0};
	if (url_parse(text, &u, err) < 0)
		return err_wrap(err, "mirror %s", text);
	_cleanup_free_ char *authority = url_authority(&u);
	const char *path = u.target + strspn(u.target, "/");
	if (str_starts(path, "v2/"))
		path += 3;
	size_t n = strlen(path);
	while (n > 0 && path[n - 1] == '/')
		n--;
	_cleanup_free_ char *prefix = n ? xasprintf("%.*s/", (int)n, path) : xstrdup("");
	struct endpoint *ep = add_endpoint(c, registry, authority, authority, prefix);
	ep->mirror = true;
	ep->https = u.https;
	return 0;
}

static void add_upstream(struct registry_client *c, const char *domain)
{
	/* The Hub's API lives under another name than its images. */
	const char *authority = str_eq(domain, "docker.io") ? "registry-1.docker.io" : domain;
	const struct registry_host *h = registry_config_host(&c->config, domain);
	struct endpoint *ep = add_endpoint(c, domain, domain, authority, "");
	_cleanup_free_ char *host = xstrndup(domain, strlen(domain));
	char *colon = strrchr(host, ':');
	if (colon && !strchr(colon, ']'))
		*colon = '\0';
	ep->https = !(h && h->plain_http);
	ep->may_fall_back =
	        ep->https && ((h && h->insecure) || url_zone_of_host(host) == URL_ZONE_LOOPBACK);
}

int client_endpoints(struct registry_client *c, const char *domain, bool push,
        struct endpoint ***ret, size_t *ret_n, struct error *err)
{
	int r = 0;
	pthread_mutex_lock(&c->lock);
	bool known = false;
	for (size_t i = 0; i < c->n_endpoints && !known; i++)
		known = str_eq(c->endpoints[i]->registry, domain);
	if (!known) {
		const struct registry_host *h = registry_config_host(&c->config, domain);
		for (size_t i = 0; h && i < h->mirrors.n && r == 0; i++)
			r = add_mirror(c, domain, h->mirrors.v[i], err);
		if (r == 0)
			add_upstream(c, domain);
	}
	struct endpoint **v = new0(struct endpoint *, c->n_endpoints + 1);
	size_t n = 0;
	for (size_t i = 0; i < c->n_endpoints; i++) {
		struct endpoint *ep = c->endpoints[i];
		if (str_eq(ep->registry, domain) && !ep->down && !(push && ep->mirror))
			v[n++] = ep;
	}
	pthread_mutex_unlock(&c->lock);
	if (r < 0) {
		free(v);
		return -1;
	}
	*ret = v;
	*ret_n = n;
	return 0;
}

static char *endpoint_base(struct registry_client *c, struct endpoint *ep)
{
	pthread_mutex_lock(&c->lock);
	char *s = xasprintf("%s://%s", ep->https ? "https" : "http", ep->authority);
	pthread_mutex_unlock(&c->lock);
	return s;
}

char *client_url(struct registry_client *c, struct endpoint *ep, const char *path, const char *rest)
{
	_cleanup_free_ char *base = endpoint_base(c, ep);
	struct strbuf sb = STRBUF_INIT;
	strbuf_addf(&sb, "%s/v2/", base);
	if (!*path) /* the base itself */
		return strbuf_detach(&sb);
	url_add_escaped(&sb, ep->prefix, "/");
	url_add_escaped(&sb, path, "/");
	strbuf_addf(&sb, "/%s", rest);
	return strbuf_detach(&sb);
}

char *client_scope(const struct endpoint *ep, const char *path, const char *actions)
{
	return xasprintf("repository:%s%s:%s", ep->prefix, path, actions);
}

/* --- trying again ---------------------------------------------------------------------------- */

static bool status_may_pass(long status)
{
	return status == 408 || status == 425 || status == 429 || status == 500 || status == 502 ||
	       status == 503 || status == 504;
}

/* sees_no_blob - a registry of several machines, or one to which another build pushes the same blob
 * at this moment, may not see yet what it has taken. */
static bool sees_no_blob(const struct http_response *resp)
{
	return (resp->status == 400 || resp->status == 404) && resp->body.len &&
	       memmem(resp->body.buf, resp->body.len, "MANIFEST_BLOB_UNKNOWN", 21);
}

static unsigned backoff_ms(unsigned first, unsigned attempt)
{
	unsigned ms = first << MIN(attempt, 5u), jitter = 0;
	if (getrandom(&jitter, sizeof(jitter), GRND_NONBLOCK) != sizeof(jitter))
		jitter = 0;
	ms = MIN(ms, BACKOFF_MAX_MS);
	return ms - ms / 4 + jitter % (ms / 2 + 1);
}

/* How long to wait before the next try; false: there is no point in one. */
static bool worth_waiting(const struct registry_config *cfg, int r,
        const struct http_response *resp, unsigned attempt, unsigned max_attempts, unsigned *ret_ms)
{
	if (attempt >= max_attempts)
		return false;
	*ret_ms = backoff_ms(cfg->retry_pause, attempt);
	if (r < 0) {
		/* Nobody listens: one more try for a server that is just restarting. */
		return resp->retryable && !resp->local && !(resp->refused && attempt >= 1);
	}
	if (!status_may_pass(resp->status) && !(sees_no_blob(resp) && attempt < 2))
		return false;
	if (resp->retry_after > RETRY_AFTER_MAX)
		return false;
	if (resp->retry_after > 0)
		*ret_ms = (unsigned)resp->retry_after * 1000;
	return true;
}

/* A server of this machine, or one declared insecure, that does not speak TLS. */
static bool fall_back_to_http(struct registry_client *c, struct endpoint *ep, const char *tried)
{
	pthread_mutex_lock(&c->lock);
	bool yes = ep->may_fall_back && ep->https;
	if (yes)
		ep->https = ep->may_fall_back = false;
	else /* another thread fell back while we tried */
		yes = !ep->https && str_starts(tried, "https:");
	pthread_mutex_unlock(&c->lock);
	return yes;
}

static void learn_endpoint(
        struct registry_client *c, struct endpoint *ep, const struct http_response *resp)
{
	pthread_mutex_lock(&c->lock);
	ep->may_fall_back = false;
	ep->zone = resp->zone;
	pthread_mutex_unlock(&c->lock);
}

/* A mirror that is not there is not asked again in this process. */
static void mark_down(struct registry_client *c, struct endpoint *ep)
{
	if (!ep || !ep->mirror)
		return;
	pthread_mutex_lock(&c->lock);
	ep->down = true;
	pthread_mutex_unlock(&c->lock);
}

int client_exchange(struct registry_client *c, struct client_call *call, struct http_response *resp,
        struct error *err)
{
	unsigned max_attempts = call->once ? 0 : c->config.retries;
	if (call->ep && call->ep->mirror)
		max_attempts = MIN(max_attempts, 1u); /* the next server is the better second try */
	for (unsigned attempt = 0;; attempt++) {
		_cleanup_free_ char *url =
		        call->url ? xstrdup(call->url)
		                  : client_url(c, call->ep, call->path, call->rest);
		call->rq.url = url;
		if (call->prepare && call->prepare(call->rq.ctx, &call->rq, err) < 0) {
			resp->local = true;
			return -1;
		}
		error_release(err);
		uint64_t before = call->progress ? *call->progress : 0;
		int r = http_exchange(c->http, &call->rq, resp, err);
		call->rq.url = NULL;
		log_debug("%s %.*s: %ld%s%s", call->rq.method, (int)strcspn(url, "?"), url,
		        resp->status, r < 0 ? " " : "", r < 0 ? err->msg : "");
		if (r < 0 && resp->no_tls && call->ep && !call->url &&
		        fall_back_to_http(c, call->ep, url)) {
			attempt--;
			continue;
		}
		if (r == 0 && call->ep && !call->url)
			learn_endpoint(c, call->ep, resp);
		/* A transfer that moved forward has earned all its tries again. */
		bool moved = r < 0 && call->progress && *call->progress > before;
		unsigned ms = 0;
		if (!worth_waiting(&c->config, r, resp, moved ? 0 : attempt, max_attempts, &ms)) {
			if (r < 0 && resp->refused)
				mark_down(c, call->ep);
			return r;
		}
		if (moved) {
			attempt = UINT_MAX; /* counts from 0 again */
			ms = 10;
		}
		struct error pause_err = ERROR_INIT;
		if (http_pause(c->http, ms, &pause_err) < 0) {
			error_move(err, &pause_err);
			resp->local = true;
			return -1;
		}
	}
}

int client_call(struct registry_client *c, struct client_call *call, struct http_response *resp,
        struct error *err)
{
	for (unsigned round = 0;; round++) {
		_cleanup_free_ char *auth = NULL;
		if (client_authorize(c, call->ep, call->scope, &auth, err) < 0)
			return -1;
		strv_release(&call->rq.secret);
		client_headers(c, &call->rq.secret);
		if (auth)
			strv_addf(&call->rq.secret, "Authorization: %s", auth);
		int r = client_exchange(c, call, resp, err);
		if (auth)
			explicit_bzero(auth, strlen(auth));
		/* Only the registry itself may ask for credentials: a 401 of a server that it
		 * redirected us to says nothing about its own token service. */
		if (r < 0 || resp->status != 401 || !resp->at_origin || round >= 2)
			return r;
		r = client_challenged(c, call->ep, call->scope, auth != NULL, resp, err);
		if (r <= 0)
			return r;
	}
}

/* --- what the server said -------------------------------------------------------------------- */

static void add_error_item(struct strbuf *sb, const json_t *item)
{
	const char *code = json_get_str(item, "code"), *msg = json_get_str(item, "message");
	if (sb->len)
		strbuf_addstr(sb, "; ");
	strbuf_addf(sb, "%s%s%s", str_or_empty(code), code && msg ? ": " : "", str_or_empty(msg));
	json_t *detail = json_object_get(item, "detail");
	if (json_is_string(detail) && *json_string_value(detail))
		strbuf_addf(sb, " (%s)", json_string_value(detail));
}

char *client_body_text(const struct http_response *resp)
{
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	struct error ignored = ERROR_INIT;
	_cleanup_json_ json_t *j = NULL;
	if (resp->body.len && resp->body.buf[0] == '{')
		j = json_parse(resp->body.buf, resp->body.len, 64 * 1024, "answer", &ignored);
	error_release(&ignored);
	json_t *errors = j ? json_get_array(j, "errors") : NULL;
	for (size_t i = 0; errors && i < json_array_size(errors) && i < 4; i++)
		add_error_item(&sb, json_array_get(errors, i));
	if (sb.len == 0 && j) {
		const char *keys[] = {"details", "message", "error_description", "error"};
		for (size_t i = 0; i < ARRAY_SIZE(keys) && sb.len == 0; i++)
			strbuf_addstr(&sb, str_or_empty(json_get_str(j, keys[i])));
	}
	if (sb.len == 0)
		strbuf_add(&sb, resp->body.buf, resp->body.len);
	while (sb.len > 0 && (sb.buf[sb.len - 1] == '\n' || sb.buf[sb.len - 1] == ' '))
		strbuf_truncate(&sb, sb.len - 1);
	bool cut = sb.len > 400;
	_cleanup_free_ char *safe = human_escape(sb.buf, MIN(sb.len, (size_t)400), false);
	return xasprintf("%s%s", safe, cut ? "..." : "");
}

int client_refused(const struct endpoint *ep, const char *what, const struct http_response *resp,
        struct error *err)
{
	_cleanup_free_ char *said = client_body_text(resp);
	enum err_class class = ERR_NETWORK;
	if (resp->status == 401 || resp->status == 403)
		class = ERR_AUTH;
	else if (resp->status == 404)
		class = ERR_NOT_FOUND;
	const char *who = resp->at_origin ? ep->name : resp->url.host;
	(void)err_set(err, class, "%s: %s: HTTP %ld%s%s", who, what, resp->status,
	        *said ? ": " : "", said);
	if (resp->status == 401 && resp->at_origin)
		return err_hint(err,
		        "the repository does not exist, or it wants a login: `strake login %s`",
		        ep->name);
	if (resp->status == 403 && resp->at_origin)
		return err_hint(err, "your login at %s lacks the right for this", ep->name);
	if (resp->status == 429)
		return err_hint(err,
		        "too many requests: wait%s, log in, or set a mirror for %s in "
		        "registries.conf",
		        resp->retry_after ? " as long as it says" : "", ep->registry);
	return -1;
}
