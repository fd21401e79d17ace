/* registry/creds.h - credentials from docker's config.json and its helpers.
 *
 * A host matches exactly, port included; nothing is guessed from prefixes or suffixes, and .netrc
 * is never read (RELIABILITY T16). Helpers are programs of the user's PATH, run with the host name
 * on standard input. Not thread-safe: the client locks. */
#ifndef STRAKE_REGISTRY_CREDS_H
#define STRAKE_REGISTRY_CREDS_H

#include <jansson.h>
#include "base/error.h"
#include "base/strv.h"

struct creds {
	char *user, *password; /* both or neither */
	char *identity_token;  /* OAuth2 refresh token */
	char *registry_token;  /* sent as the bearer token itself */
};
#define _cleanup_creds_ _cleanup_(creds_release)
void creds_release(struct creds *c);
static inline bool creds_any(const struct creds *c)
{
	return c->user || c->identity_token || c->registry_token;
}

struct creds_file {
	char *path;   /* NULL: none exists */
	json_t *root; /* NULL: none exists */
};
void creds_file_release(struct creds_file *f);
/* creds_file_load - path NULL: $REGISTRY_AUTH_FILE, $DOCKER_CONFIG/config.json,
 * ~/.docker/config.json, $XDG_RUNTIME_DIR/containers/auth.json: the first that exists. */
int creds_file_load(struct creds_file *f, const char *path, struct error *err) must_check;
/* creds_lookup - for a registry ("docker.io", "host:port") and a repository path (podman's
 * per-namespace entries: the longest that matches whole path components wins). Nothing found is
 * success with empty ret. ERR_AUTH if a helper fails or an entry is malformed. */
int creds_lookup(const struct creds_file *f, const char *host, const char *repo, struct creds *ret,
        struct error *err) must_check;
/* creds_save, creds_erase - into the file that REGISTRY_AUTH_FILE, DOCKER_CONFIG or HOME name, or
 * the credential helper that it names; what else is in the file stays. The file is replaced as a
 * whole, mode 0600, under a lock. *ret_where (malloc'ed): where it went; *ret_plain: readable
 * there. *ret_found: there was a login. */
int creds_save(const char *host, const char *user, const char *password, char **ret_where,
        bool *ret_plain, struct error *err) must_check;
int creds_erase(const char *host, bool *ret_found, struct error *err) must_check;
/* creds_http_headers - "Name: value" lines of HttpHeaders; unsafe ones are left out. */
void creds_http_headers(const struct creds_file *f, struct strv *ret);

/* base64, standard alphabet. decode: NULL if malformed; padding may be absent. */
char *base64_encode(const void *p, size_t n) must_check;
char *base64_decode(const char *s, size_t *ret_n) must_check;

#endif
