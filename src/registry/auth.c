/* registry/auth.c - docker's token protocol and basic authentication.
 *
 * Source: distribution spec's auth/token.md and auth/oauth.md. A token is kept for its scope until
 * shortly before it expires. The realm comes from the server, so it is hostile input: it must be
 * https (http only where the registry itself is plain), and may lie on this machine or a
 * link-local address only if the registry does (RELIABILITY T13). */
#include "base/log.h"
#include "codec/json.h"
#include "registry/client.h"

#include <strings.h>
#include <time.h>

#define TOKEN_ANSWER_MAX (1 << 20)
#define TOKEN_LIFE_DEFAULT 60
#define TOKENS_MAX 64

struct token {
	char *scope, *value;
	int64_t until; /* monotonic seconds */
	struct token *next;
};

static int64_t now_s(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static void token_free(struct token *t)
{
	explicit_bzero(t->value, strlen(t->value));
	free(t->value);
	free(t->scope);
	free(t);
}

void tokens_free(struct token *t)
{
	while (t) {
		struct token *next = t->next;
		token_free(t);
		t = next;
	}
}

/* The caller holds the lock. */
static char *find_token(struct endpoint *ep, const char *scope)
{
	for (struct token *t = ep->tokens; t; t = t->next)
		if (str_eq(t->scope, scope) && now_s() < t->until)
			return xstrdup(t->value);
	return NULL;
}

static void drop_token(struct endpoint *ep, const char *scope)
{
	for (struct token **p = &ep->tokens; *p;) {
		struct token *t = *p;
		if (str_eq(t->scope, scope)) {
			*p = t->next;
			token_free(t);
		} else {
			p = &t->next;
		}
	}
}

static void keep_token(struct endpoint *ep, const char *scope, const char *value, int64_t life)
{
	drop_token(ep, scope);
	struct token *t = new0(struct token, 1);
	t->scope = xstrdup(scope);
	t->value = xstrdup(value);
	/* Renew early: clocks differ, and a request takes time. */
	t->until = now_s() + life - MIN(life / 4, 30);
	t->next = ep->tokens;
	ep->tokens = t;
	unsigned n = 0;
	for (struct token *p = t; p; p = p->next)
		if (++n == TOKENS_MAX) {
			tokens_free(p->next);
			p->next = NULL;
		}
}

/* --- credentials ----------------------------------------------------------------------------- */

static int load_creds_file(struct registry_client *c, struct error *err)
{
	if (c->creds_loaded)
		return 0;
	if (creds_file_load(&c->creds, c->opt.docker_config, err) < 0)
		return -1;
	c->creds_loaded = true;
	return 0;
}

/* The caller holds the lock: a helper may ask its user something, once. */
static int load_creds(
        struct registry_client *c, struct endpoint *ep, const char *repo, struct error *err)
{
	if (load_creds_file(c, err) < 0)
		return -1;
	if (ep->creds_loaded)
		return 0;
	if (creds_lookup(&c->creds, ep->name, repo, &ep->creds, err) < 0)
		return -1;
	ep->creds_loaded = true;
	return 0;
}

void client_headers(struct registry_client *c, struct strv *ret)
{
	struct error err = ERROR_INIT;
	pthread_mutex_lock(&c->lock);
	if (load_creds_file(c, &err) < 0) {
		/* Anonymous requests work without it; who needs credentials gets the error. */
		log_debug("%s", err.msg);
		error_release(&err);
	} else {
		creds_http_headers(&c->creds, ret);
	}
	pthread_mutex_unlock(&c->lock);
}

static char *basic_value(const struct creds *cr)
{
	_cleanup_free_ char *plain = xasprintf("%s:%s", cr->user, str_or_empty(cr->password));
	_cleanup_free_ char *b64 = base64_encode(plain, strlen(plain));
	explicit_bzero(plain, strlen(plain));
	char *s = xasprintf("Basic %s", b64);
	explicit_bzero(b64, strlen(b64));
	return s;
}

/* "repository:org/app:pull,push ..." -> "org/app", for namespace entries of auth.json. */
static char *scope_repo(const char *scope)
{
	const char *p = str_starts(scope, "repository:") ? scope + strlen("repository:") : "";
	return xstrndup(p, strcspn(p, ": "));
}

/* --- fetching a token ------------------------------------------------------------------------ */

static int check_realm(const struct endpoint *ep, bool https, const char *realm, struct url *ret,
        struct error *err)
{
	if (url_parse(realm, ret, err) < 0) {
		err->class = ERR_AUTH;
		return err_wrap(err, "%s names a bad token service", ep->name);
	}
	if (https && !ret->https)
		return err_set(err, ERR_AUTH,
		        "%s names a token service without TLS (http://%s), which is refused",
		        ep->name, ret->host);
	return 0;
}

static void add_form(struct strbuf *sb, const char *key, const char *value)
{
	if (sb->len)
		strbuf_addch(sb, '&');
	strbuf_addf(sb, "%s=", key);
	url_add_escaped(sb, value, "");
}

/* One scope parameter for each. */
static void add_scopes(struct strbuf *sb, const char *scopes)
{
	_cleanup_strv_ struct strv v = STRV_INIT;
	strv_split(&v, scopes, " ");
	for (size_t i = 0; i < v.n; i++)
		if (*v.v[i])
			add_form(sb, "scope", v.v[i]);
}

static void token_request(struct client_call *call, const struct creds *cr,
        const struct challenge *ch, const struct url *realm, const char *scope, struct strbuf *url,
        struct strbuf *form)
{
	_cleanup_free_ char *base = url_string(realm);
	strbuf_addstr(url, base);
	call->rq.max_body = TOKEN_ANSWER_MAX;
	if (cr->identity_token) {
		call->rq.method = "POST";
		add_form(form, "grant_type", "refresh_token");
		add_form(form, "refresh_token", cr->identity_token);
		add_form(form, "client_id", "strake");
		if (ch->service)
			add_form(form, "service", ch->service);
		/* OAuth2 takes one parameter with blanks between. */
		add_form(form, "scope", scope);
		call->rq.data = form->buf;
		call->rq.body_size = form->len;
		/* The refresh token is in the body: it must not travel on. */
		call->rq.no_redirects = true;
		strv_add(&call->rq.headers, "Content-Type: application/x-www-form-urlencoded");
		return;
	}
	call->rq.method = "GET";
	_cleanup_strbuf_ struct strbuf query = STRBUF_INIT;
	if (ch->service)
		add_form(&query, "service", ch->service);
	add_scopes(&query, scope);
	strbuf_addf(url, "%c%s", strchr(base, '?') ? '&' : '?', query.buf);
	if (cr->user) {
		_cleanup_free_ char *basic = basic_value(cr);
		strv_addf(&call->rq.secret, "Authorization: %s", basic);
	}
}

static int read_token(struct endpoint *ep, const char *host, const struct http_response *resp,
        char **ret, int64_t *ret_life, struct error *err)
{
	_cleanup_json_ json_t *j =
	        json_parse(resp->body.buf, resp->body.len, TOKEN_ANSWER_MAX, "token answer", err);
	if (!j) {
		err->class = ERR_AUTH;
		return err_wrap(err, "%s: token service %s", ep->name, host);
	}
	const char *t = json_get_str(j, "token");
	if (!t || !*t)
		t = json_get_str(j, "access_token");
	if (!t || !*t || strpbrk(t, "\r\n"))
		return err_set(err, ERR_AUTH, "%s: token service %s gave no token", ep->name, host);
	int64_t life = json_get_int(j, "expires_in", TOKEN_LIFE_DEFAULT);
	*ret_life = life < TOKEN_LIFE_DEFAULT ? TOKEN_LIFE_DEFAULT : MIN(life, 86400);
	*ret = xstrdup(t);
	return 0;
}

static int fetch_token(struct registry_client *c, struct endpoint *ep, const struct creds *cr,
        const struct challenge *ch, const char *scope, char **ret, int64_t *ret_life,
        struct error *err)
{
	_cleanup_url_ struct url realm = {0};
	pthread_mutex_lock(&c->lock);
	bool https = ep->https;
	unsigned zones = URL_ZONE_PUBLIC | (unsigned)ep->zone;
	pthread_mutex_unlock(&c->lock);
	if (check_realm(ep, https, ch->realm, &realm, err) < 0)
		return -1;
	_cleanup_strbuf_ struct strbuf url = STRBUF_INIT;
	_cleanup_strbuf_ struct strbuf form = STRBUF_INIT;
	struct client_call call = {.rq.zones = zones};
	token_request(&call, cr, ch, &realm, scope, &url, &form);
	call.url = url.buf;
	_cleanup_http_response_ struct http_response resp = HTTP_RESPONSE_INIT;
	int r = client_exchange(c, &call, &resp, err);
	http_request_release(&call.rq);
	explicit_bzero(form.buf, form.len);
	if (r < 0) {
		if (err->class != ERR_CANCELLED)
			(void)err_wrap(err, "%s: token service", ep->name);
		return -1;
	}
	if (resp.status == 200)
		return read_token(ep, realm.host, &resp, ret, ret_life, err);
	_cleanup_free_ char *said = client_body_text(&resp);
	bool denied = resp.status / 100 == 4 && resp.status != 429;
	(void)err_set(err, denied ? ERR_AUTH : ERR_NETWORK, "%s: token service %s: HTTP %ld%s%s",
	        ep->name, realm.host, resp.status, *said ? ": " : "", said);
	if (denied && creds_any(cr))
		return err_hint(err, "the stored login for %s was refused: log in again", ep->name);
	return denied ? err_hint(err, "log in: `strake login %s`", ep->name) : -1;
}

/* --- deciding -------------------------------------------------------------------------------- */

static void challenge_copy(struct challenge *dst, const struct challenge *src)
{
	*dst = (struct challenge){.kind = src->kind};
	dst->realm = src->realm ? xstrdup(src->realm) : NULL;
	dst->service = src->service ? xstrdup(src->service) : NULL;
}

static void creds_copy(struct creds *dst, const struct creds *src)
{
	*dst = (struct creds){
	        .user = src->user ? xstrdup(src->user) : NULL,
	        .password = src->password ? xstrdup(src->password) : NULL,
	        .identity_token = src->identity_token ? xstrdup(src->identity_token) : NULL,
	};
}

int client_authorize(struct registry_client *c, struct endpoint *ep, const char *scope, char **ret,
        struct error *err)
{
	_cleanup_challenge_ struct challenge ch = {0};
	_cleanup_creds_ struct creds cr = {0};
	_cleanup_free_ char *token = NULL, *repo = NULL;
	*ret = NULL;
	if (!scope)
		return 0;
	repo = scope_repo(scope);
	pthread_mutex_lock(&c->lock);
	int r = 0;
	if (ep->challenge.kind != CHALLENGE_NONE) {
		r = load_creds(c, ep, repo, err);
		challenge_copy(&ch, &ep->challenge);
	}
	if (r == 0 && ch.kind == CHALLENGE_BASIC && ep->creds.user) {
		*ret = basic_value(&ep->creds);
	} else if (r == 0 && ch.kind == CHALLENGE_BEARER) {
		if (ep->creds.registry_token)
			*ret = xasprintf("Bearer %s", ep->creds.registry_token);
		else
			token = find_token(ep, scope);
		creds_copy(&cr, &ep->creds);
	}
	pthread_mutex_unlock(&c->lock);
	if (r < 0 || *ret || ch.kind != CHALLENGE_BEARER)
		return r;
	if (!token) {
		/* Outside the lock: other endpoints go on. Two threads may ask for the same
		 * token at once; both answers are good. */
		int64_t life = 0;
		if (fetch_token(c, ep, &cr, &ch, scope, &token, &life, err) < 0)
			return -1;
		pthread_mutex_lock(&c->lock);
		keep_token(ep, scope, token, life);
		pthread_mutex_unlock(&c->lock);
	}
	*ret = xasprintf("Bearer %s", token);
	explicit_bzero(token, strlen(token));
	return 0;
}

int client_challenged(struct registry_client *c, struct endpoint *ep, const char *scope,
        bool authorized, const struct http_response *resp, struct error *err)
{
	_cleanup_challenge_ struct challenge best = {0};
	if (!scope)
		return 0;
	for (size_t i = 0; i < resp->headers.n; i++) {
		const char *h = resp->headers.v[i];
		if (strncasecmp(h, "www-authenticate:", 17) != 0)
			continue;
		struct challenge ch;
		challenge_parse(h + 17, &ch);
		if (ch.kind > best.kind) {
			challenge_release(&best);
			best = ch;
		} else {
			challenge_release(&ch);
		}
	}
	if (best.kind == CHALLENGE_NONE)
		return 0;
	_cleanup_free_ char *repo = scope_repo(scope);
	pthread_mutex_lock(&c->lock);
	int r = load_creds(c, ep, repo, err);
	if (r == 0) {
		bool same = ep->challenge.kind == best.kind;
		drop_token(ep, scope);
		challenge_release(&ep->challenge);
		ep->challenge = best;
		best = (struct challenge){0};
		if (ep->challenge.kind == CHALLENGE_BASIC)
			/* The same password again will not be better. */
			r = ep->creds.user && !(same && authorized) ? 1 : 0;
		else
			r = !(authorized && ep->creds.registry_token);
	}
	pthread_mutex_unlock(&c->lock);
	return r;
}

/* --- logging in ------------------------------------------------------------------------------ */

static int try_login(struct registry_client *c, struct endpoint *ep, struct error *err)
{
	_cleanup_http_response_ struct http_response resp = HTTP_RESPONSE_INIT;
	struct client_call call = {.ep = ep,
	        .scope = "",
	        .path = "",
	        .rest = "",
	        .rq = {.method = "GET", .max_body = 64 * 1024}};
	int r = client_call(c, &call, &resp, err);
	http_request_release(&call.rq);
	if (r < 0)
		return -1;
	if (resp.status == 401 || resp.status == 403) {
		_cleanup_free_ char *said = client_body_text(&resp);
		return err_set(err, ERR_AUTH,
		        "%s refuses this user name and password: HTTP %ld%s%s", ep->name,
		        resp.status, *said ? ": " : "", said);
	}
	if (resp.status != 200)
		return client_refused(ep, "checking the login", &resp, err);
	return 0;
}

int registry_login(struct registry_client *c, const char *host, const char *user,
        const char *password, struct error *err)
{
	_cleanup_free_ struct endpoint **eps = NULL;
	size_t n = 0;
	if (client_endpoints(c, host, true, &eps, &n, err) < 0)
		return -1;
	if (n == 0)
		return err_set(err, ERR_INTERNAL, "%s has no server", host);
	struct endpoint *ep = eps[0];
	pthread_mutex_lock(&c->lock);
	int r = 0;
	if (user) {
		creds_release(&ep->creds);
		ep->creds = (struct creds){.user = xstrdup(user), .password = xstrdup(password)};
		ep->creds_loaded = true;
	} else {
		r = load_creds(c, ep, "", err);
		if (r == 0 && !creds_any(&ep->creds))
			r = err_set(err, ERR_NOT_FOUND, "no login for %s is stored", host);
	}
	pthread_mutex_unlock(&c->lock);
	if (r < 0 || try_login(c, ep, err) >= 0)
		return r;
	return err->class == ERR_AUTH && user ? err_hint(err, "check user name and password") : -1;
}
