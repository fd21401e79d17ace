/* registry/discover.c - what a repository holds: tags, referrers; and taking a manifest away.
 *
 * Lists come in pages; the next page's address is the server's word, so it must lie on the same
 * origin, and the number of pages and entries is bounded. */
#include "codec/json.h"
#include "registry/client.h"

#include <strings.h>

#define PAGE_MAX (4 << 20)
#define PAGES_MAX 1000
#define TAGS_MAX 1000000

static int upstream(struct registry_client *c, const struct oci_ref *ref, struct endpoint **ret,
        struct error *err)
{
	_cleanup_free_ struct endpoint **eps = NULL;
	size_t n = 0;
	if (client_endpoints(c, ref->domain, true, &eps, &n, err) < 0)
		return -1;
	if (n == 0)
		return err_set(err, ERR_INTERNAL, "%s has no server", ref->domain);
	*ret = eps[0];
	return 0;
}

/* registry_next_page - the target of rel="next" in a Link header; NULL: there is none. */
char *registry_next_page(const char *link)
{
	for (const char *p = link; (p = strchr(p, '<')); p++) {
		const char *end = strchr(p, '>');
		const char *stop = end ? strchr(end, ',') : NULL;
		size_t n = end ? stop ? (size_t)(stop - end) : strlen(end) : 0;
		_cleanup_free_ char *params = end ? xstrndup(end, n) : NULL;
		if (!params)
			return NULL;
		if (strcasestr(params, "rel=\"next\"") || strcasestr(params, "rel=next"))
			return xstrndup(p + 1, (size_t)(end - p - 1));
		p = end;
	}
	return NULL;
}

/* The URL of the next page, or NULL. */
static int next_url(const struct http_response *resp, char **ret, struct error *err)
{
	const char *link = http_header(resp, "link");
	_cleanup_free_ char *target = link ? registry_next_page(link) : NULL;
	_cleanup_url_ struct url to = {0};
	*ret = NULL;
	if (!target)
		return 0;
	if (url_resolve(&resp->url, target, &to, err) < 0)
		return -1;
	if (!url_same_origin(&resp->url, &to))
		return err_set(err, ERR_NETWORK, "%s continues its list at %s, which is refused",
		        resp->url.host, to.host);
	*ret = url_string(&to);
	return 0;
}

/* One page, by path or, with url, where the last one pointed. */
static int get_page(struct registry_client *c, struct endpoint *ep, const struct oci_ref *ref,
        const char *rest, const char *url, struct http_response *resp, struct error *err)
{
	_cleanup_free_ char *scope = client_scope(ep, ref->path, "pull");
	struct client_call call = {.ep = ep,
	        .scope = scope,
	        .path = ref->path,
	        .rest = rest,
	        .url = url,
	        .rq = {.method = "GET", .max_body = PAGE_MAX}};
	strv_add(&call.rq.headers, "Accept: " OCI_MT_INDEX ", application/json");
	int r = client_call(c, &call, resp, err);
	http_request_release(&call.rq);
	return r;
}

int registry_list_tags(
        struct registry_client *c, const struct oci_ref *ref, struct strv *ret, struct error *err)
{
	struct endpoint *ep = NULL;
	_cleanup_free_ char *url = NULL;
	if (upstream(c, ref, &ep, err) < 0)
		return -1;
	_cleanup_free_ char *what = xasprintf("tags of %s", ref->path);
	for (unsigned page = 0; page < PAGES_MAX && ret->n < TAGS_MAX; page++) {
		_cleanup_http_response_ struct http_response resp = HTTP_RESPONSE_INIT;
		if (get_page(c, ep, ref, "tags/list", url, &resp, err) < 0)
			return -1;
		if (resp.status != 200)
			return client_refused(ep, what, &resp, err);
		_cleanup_json_ json_t *j =
		        json_parse(resp.body.buf, resp.body.len, PAGE_MAX, what, err);
		if (!j)
			return -1;
		if (!json_get_strv(j, "tags", ret))
			return err_set(err, ERR_INTEGRITY, "%s: not a list of tags", what);
		char *next = NULL;
		if (next_url(&resp, &next, err) < 0)
			return -1;
		if (!next)
			return 0;
		bool again = url && str_eq(url, next);
		free(url);
		url = next;
		if (again)
			break;
	}
	return err_set(err, ERR_INTEGRITY, "%s: the list does not end", what);
}

/* --- referrers ---------------------------------------------------------------------------------
 */

static int take_index(const struct http_response *resp, const char *what, struct oci_index *ret,
        struct error *err)
{
	enum oci_doc kind;
	struct oci_manifest m = {0};
	if (oci_doc_parse(resp->body.buf, resp->body.len, OCI_MT_INDEX, what, &kind, &m, ret, err) <
	        0)
		return -1;
	if (kind == OCI_DOC_INDEX)
		return 0;
	oci_manifest_release(&m);
	return err_set(err, ERR_INTEGRITY, "%s: not an index", what);
}

int registry_referrers(struct registry_client *c, const struct oci_ref *ref,
        const struct digest *subject, struct oci_index *ret, struct error *err)
{
	struct endpoint *ep = NULL;
	char hex[DIGEST_STR_MAX];
	_cleanup_http_response_ struct http_response resp = HTTP_RESPONSE_INIT;
	if (upstream(c, ref, &ep, err) < 0)
		return -1;
	digest_str(subject, hex);
	_cleanup_free_ char *what = xasprintf("referrers of %s in %s", hex, ref->path);
	_cleanup_free_ char *rest = xasprintf("referrers/%s", hex);
	if (get_page(c, ep, ref, rest, NULL, &resp, err) < 0)
		return -1;
	if (resp.status == 200)
		return take_index(&resp, what, ret, err);
	if (resp.status != 404)
		return client_refused(ep, what, &resp, err);
	/* Registries from before 1.1: an index under a tag made of the digest. */
	_cleanup_free_ char *fallback = xasprintf("manifests/sha256-%s", hex + strlen("sha256:"));
	if (get_page(c, ep, ref, fallback, NULL, &resp, err) < 0)
		return -1;
	if (resp.status == 404) {
		*ret = (struct oci_index){0};
		return 0;
	}
	return resp.status == 200 ? take_index(&resp, what, ret, err)
	                          : client_refused(ep, what, &resp, err);
}

/* --- deletion ----------------------------------------------------------------------------------
 */

int registry_delete_manifest(
        struct registry_client *c, const struct oci_ref *ref, struct error *err)
{
	struct endpoint *ep = NULL;
	struct digest d;
	if (upstream(c, ref, &ep, err) < 0)
		return -1;
	if (ref->digest && !digest_parse(ref->digest, &d))
		return err_set(err, ERR_USAGE, "%s is no sha256 digest", ref->digest);
	const char *name = ref->digest ? ref->digest : ref->tag;
	_cleanup_free_ char *scope = client_scope(ep, ref->path, "pull,push,delete");
	_cleanup_free_ char *what = xasprintf("deleting %s of %s", name, ref->path);
	_cleanup_strbuf_ struct strbuf rest = STRBUF_INIT;
	strbuf_addstr(&rest, "manifests/");
	url_add_escaped(&rest, name, ":");
	_cleanup_http_response_ struct http_response resp = HTTP_RESPONSE_INIT;
	struct client_call call = {.ep = ep,
	        .scope = scope,
	        .path = ref->path,
	        .rest = rest.buf,
	        .rq = {.method = "DELETE"}};
	int r = client_call(c, &call, &resp, err);
	http_request_release(&call.rq);
	if (r < 0)
		return -1;
	if (resp.status / 100 == 2)
		return 0;
	(void)client_refused(ep, what, &resp, err);
	/* Digest references only, or no deletion at all: many registries. */
	if (!ref->digest && (resp.status == 400 || resp.status == 404 || resp.status == 405))
		return err_hint(err, "some registries delete by digest only, with all tags of the "
		                     "image: NAME@sha256:...");
	if (resp.status == 405)
		return err_hint(err, "this registry is set up to refuse deletion");
	return -1;
}
