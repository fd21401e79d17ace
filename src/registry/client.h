/* registry/client.h - inside registry/ only: endpoints, authorised requests, error texts.
 *
 * An endpoint is one server that may answer for a registry: a mirror or the registry itself. It
 * learns as it goes: whether it speaks TLS, how it wants to be authorised, whether it is down. */
#ifndef STRAKE_REGISTRY_CLIENT_H
#define STRAKE_REGISTRY_CLIENT_H

#include <pthread.h>
#include "registry/challenge.h"
#include "registry/creds.h"
#include "registry/http.h"
#include "registry/registry.h"

#define MANIFEST_MAX (4 << 20)

struct endpoint {
	char *registry;  /* "docker.io": whose images it serves */
	char *name;      /* "mirror:5000", "docker.io": for credentials and messages */
	char *authority; /* host[:port] to connect to */
	char *prefix;    /* of repositories: "" or "dockerhub/" */
	bool mirror;
	bool https;         /* current belief */
	bool may_fall_back; /* to http, while nothing answered yet */
	bool down;          /* a mirror that could not be reached: skipped from then on */
	enum url_zone zone;
	struct challenge challenge; /* CHALLENGE_NONE until it was heard */
	struct creds creds;
	bool creds_loaded;
	struct token *tokens;
};

struct registry_client {
	pthread_mutex_t lock; /* endpoints, their learned state, credentials */
	struct registry_config config;
	struct registry_options opt;
	struct creds_file creds;
	bool creds_loaded;
	struct http *http;
	struct endpoint **endpoints; /* never removed: pointers stay valid */
	size_t n_endpoints, cap_endpoints;
};

/* client_endpoints - in the order to try; push: the registry itself only. ret is a malloc'ed array
 * of borrowed pointers, at least one. */
int client_endpoints(struct registry_client *c, const char *domain, bool push,
        struct endpoint ***ret, size_t *ret_n, struct error *err) must_check;

/* client_url - https://authority/v2/<prefix><path>/<rest>. */
char *client_url(struct registry_client *c, struct endpoint *ep, const char *path,
        const char *rest) must_check;
/* client_scope - "repository:<prefix><path>:<actions>". */
char *client_scope(const struct endpoint *ep, const char *path, const char *actions) must_check;

struct client_call {
	struct endpoint *ep;
	const char *scope;       /* space-separated token scopes; NULL: no authorisation at all */
	const char *path, *rest; /* of client_url; or an absolute url: */
	const char *url;
	struct http_request rq; /* url and secret are filled in here */
	/* before each try; sets headers for a resume. May be NULL. */
	int (*prepare)(void *ctx, struct http_request *rq, struct error *err);
	const uint64_t
	        *progress; /* bytes that stay got; growth resets the count of tries. May be NULL */
	bool once;         /* the caller tries again by itself (uploads) */
};
/* client_call - tries, authorises, waits and tries again. 0: an answer of whatever status. */
int client_call(struct registry_client *c, struct client_call *call, struct http_response *resp,
        struct error *err) must_check;
/* client_exchange - the part without authorisation: http_exchange with retries. */
int client_exchange(struct registry_client *c, struct client_call *call, struct http_response *resp,
        struct error *err) must_check;

/* client_refused - err from an answer that is not a success: "docker.io: manifest 1.0 of
 * library/x: HTTP 404: MANIFEST_UNKNOWN: ...". Returns -1. */
int client_refused(const struct endpoint *ep, const char *what, const struct http_response *resp,
        struct error *err);
/* client_body_text - what a server said, shortened and safe for a terminal; "" if nothing. */
char *client_body_text(const struct http_response *resp) must_check;

/* auth.c. client_authorize - the Authorization value for scope, or *ret NULL where none is known
 * to be needed. client_challenged - learn from a 401 (to a request that was authorized or not);
 * 1: worth another try, 0: not. */
int client_authorize(struct registry_client *c, struct endpoint *ep, const char *scope, char **ret,
        struct error *err) must_check;
int client_challenged(struct registry_client *c, struct endpoint *ep, const char *scope,
        bool authorized, const struct http_response *resp, struct error *err) must_check;
void client_headers(struct registry_client *c, struct strv *ret);
void tokens_free(struct token *t);

/* discover.c: the target of rel="next" in a Link header; NULL: none. */
char *registry_next_page(const char *link) must_check;

/* fetch.c: the file name of a Content-Disposition, reduced to a safe base name, or NULL. */
char *registry_disposition_name(const char *value) must_check;

#endif
