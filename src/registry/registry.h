/* registry/registry.h - the distribution-spec client: resolve, pull, push. HTTP by libcurl, which
 * is loaded (dlopen) only when the first request is made: a build that needs no network does not
 * pay for it. Thread-safe: one client may serve several threads.
 *
 * Source: OCI distribution spec v1.1; docker's token authentication; config.json of docker.
 * RELIABILITY.md T11-T16, F8, F9 hold. */
#ifndef STRAKE_REGISTRY_REGISTRY_H
#define STRAKE_REGISTRY_REGISTRY_H

#include "base/error.h"
#include "base/strv.h"
#include "codec/stream.h"
#include "oci/oci.h"

struct registry_client;

struct registry_options {
	const char
	        *config_path; /* NULL: $STRAKE_CONFIG, else $XDG_CONFIG_HOME/strake/registries.conf,
	                         else /etc/strake/registries.conf */
	const char
	        *docker_config; /* NULL: REGISTRY_AUTH_FILE, DOCKER_CONFIG, ~/.docker/config.json */
	void (*progress)(void *ctx, const char *what, uint64_t now, uint64_t total);
	void *ctx;
	const volatile bool *cancelled; /* checked often; may be NULL */
};
int registry_client_new(const struct registry_options *o, struct registry_client **ret,
        struct error *err) must_check;
void registry_client_free(struct registry_client *c);
/* registry_client_insecure - as `insecure = true` for this host[:port]. Before its first use, and
 * while nobody else uses the client. */
void registry_client_insecure(struct registry_client *c, const char *domain);

/* registry_login - do these credentials work? user NULL: those that are stored (ERR_NOT_FOUND if
 * there are none). Nothing is stored. */
int registry_login(struct registry_client *c, const char *host, const char *user,
        const char *password, struct error *err) must_check;

/* registry_resolve - manifest bytes for a reference: HEAD is not used; GET by tag or digest
 * through the configured mirrors (in order), the upstream last. The digest is computed from the
 * bytes; a by-digest reference that gets other bytes is ERR_INTEGRITY. */
int registry_get_manifest(struct registry_client *c, const struct oci_ref *ref, char **ret,
        size_t *ret_n, char **ret_content_type, struct digest *ret_digest,
        struct error *err) must_check;
/* registry_get_blob - stream a blob into `to` (not finished). Verified: size and digest; resumed
 * with Range after a break. */
int registry_get_blob(struct registry_client *c, const struct oci_ref *ref,
        const struct oci_descriptor *d, struct sink *to, struct error *err) must_check;

/* --- push --- */
int registry_has_blob(struct registry_client *c, const struct oci_ref *ref, const struct digest *d,
        bool *ret, struct error *err) must_check;
/* registry_mount_blob - cross-repository mount; *ret false if the registry declined. */
int registry_mount_blob(struct registry_client *c, const struct oci_ref *ref,
        const struct digest *d, const char *from_repo, bool *ret, struct error *err) must_check;
/* registry_put_blob - reopen is called again with an offset for a resume. */
int registry_put_blob(struct registry_client *c, const struct oci_ref *ref, const struct digest *d,
        uint64_t size,
        int (*reopen)(void *ctx, uint64_t offset, struct reader **ret, struct error *err),
        void *ctx, struct error *err) must_check;
/* registry_upload_sink - a blob whose digest is known only at the end: chunked upload on a thread
 * of its own; finish() commits. */
struct sink *registry_upload_sink(struct registry_client *c, const struct oci_ref *ref,
        struct digest *ret_digest, uint64_t *ret_size);
/* registry_put_manifest - 1: the registry says that it lists the manifest as a referrer of its
 * subject; 0: it does not, and whoever wants that keeps the index of the fallback tag. */
int registry_put_manifest(struct registry_client *c, const struct oci_ref *ref, const char *p,
        size_t n, const char *media_type, struct digest *ret_digest, struct error *err) must_check;

/* --- what a repository holds --- */
/* registry_list_tags - appended, in the registry's order. Mirrors are not asked. */
int registry_list_tags(struct registry_client *c, const struct oci_ref *ref, struct strv *ret,
        struct error *err) must_check;
/* registry_referrers - manifests whose subject is this digest; older registries' tag is looked at,
 * too. None is an empty index. */
int registry_referrers(struct registry_client *c, const struct oci_ref *ref,
        const struct digest *subject, struct oci_index *ret, struct error *err) must_check;
/* registry_delete_manifest - by digest, or by tag where the registry has that. */
int registry_delete_manifest(
        struct registry_client *c, const struct oci_ref *ref, struct error *err) must_check;

/* registry_http_get - plain GET for ADD URL and HTTP contexts: redirects followed (https never to
 * http, at most 10), etag/last_modified in and out; *ret_status 304 means unchanged. */
struct registry_http {
	const char *url;
	const char *if_none_match; /* or NULL */
	uint64_t max_bytes;        /* 0: 16 GiB */
	/* out, malloc'ed or NULL: */
	char *etag, *last_modified, *content_type,
	        *filename; /* filename: Content-Disposition, safe */
	long status;
};
int registry_http_get(struct registry_client *c, struct registry_http *rq, struct sink *to,
        struct error *err) must_check;
void registry_http_release(struct registry_http *rq);

#endif
