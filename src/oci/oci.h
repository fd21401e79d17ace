/* oci/oci.h - reference, platform, descriptor, manifest, index, image config. Pure.
 *
 * Source: OCI image spec v1.1, distribution spec v1.1, docker's image spec v1.2 and the reference
 * grammar of distribution/reference. */
#ifndef STRAKE_OCI_OCI_H
#define STRAKE_OCI_OCI_H

#include "base/error.h"
#include "base/map.h"
#include "base/strv.h"
#include "codec/json.h"
#include "codec/sha256.h"

#define OCI_MT_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define OCI_MT_INDEX "application/vnd.oci.image.index.v1+json"
#define OCI_MT_CONFIG "application/vnd.oci.image.config.v1+json"
#define OCI_MT_LAYER "application/vnd.oci.image.layer.v1.tar"
#define OCI_MT_LAYER_GZIP "application/vnd.oci.image.layer.v1.tar+gzip"
#define OCI_MT_LAYER_ZSTD "application/vnd.oci.image.layer.v1.tar+zstd"
#define OCI_MT_EMPTY "application/vnd.oci.empty.v1+json"
#define DOCKER_MT_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define DOCKER_MT_INDEX "application/vnd.docker.distribution.manifest.list.v2+json"
#define DOCKER_MT_CONFIG "application/vnd.docker.container.image.v1+json"
#define DOCKER_MT_LAYER "application/vnd.docker.image.rootfs.diff.tar"
#define DOCKER_MT_LAYER_GZIP "application/vnd.docker.image.rootfs.diff.tar.gzip"

/* --- reference ----------------------------------------------------------------------------- */

struct oci_ref {
	char *domain; /* "docker.io", "localhost:5000" */
	char *path;   /* "library/debian" */
	char *tag;    /* NULL if only a digest was given */
	char *digest; /* "sha256:..." or NULL */
};
void oci_ref_release(struct oci_ref *r);
/* oci_ref_parse - docker's normalisation: "debian" -> docker.io/library/debian:latest. Tag
 * defaults to latest unless a digest is there. ERR_USAGE names what is wrong with the text. */
int oci_ref_parse(const char *s, struct oci_ref *ret, struct error *err) must_check;
/* oci_ref_string - canonical: docker.io/library/debian:latest[@sha256:...] */
char *oci_ref_string(const struct oci_ref *r) must_check;
/* oci_ref_familiar - as people write it: "debian:latest". */
char *oci_ref_familiar(const struct oci_ref *r) must_check;

/* --- platform ------------------------------------------------------------------------------ */

struct oci_platform {
	char os[32], arch[32], variant[16], os_version[64];
};
/* oci_platform_parse - "linux/arm64/v8", "arm64", "linux"; normalised (SEMANTICS 28): missing parts
 * come from the host. */
int oci_platform_parse(const char *s, struct oci_platform *ret, struct error *err) must_check;
void oci_platform_normalize(struct oci_platform *p);
void oci_platform_host(struct oci_platform *ret); /* from uname's machine compiled in / uname(2) */
/* oci_platform_string - "linux/amd64", "linux/arm/v7". */
char *oci_platform_string(const struct oci_platform *p, char *buf, size_t n);
bool oci_platform_equal(const struct oci_platform *a, const struct oci_platform *b);
/* oci_platform_match - rank of `have` for someone who wants `want`: 0 no match, higher is better
 * (exact > compatible older arm variant; amd64 runs 386 is not offered). */
int oci_platform_match(const struct oci_platform *want, const struct oci_platform *have);

/* --- descriptor, manifest, index ----------------------------------------------------------- */

struct oci_descriptor {
	char *media_type;
	struct digest digest;
	int64_t size;
	bool has_platform;
	struct oci_platform platform;
	json_t *annotations; /* object or NULL */
	char *artifact_type; /* or NULL */
};
void oci_descriptor_release(struct oci_descriptor *d);
void oci_descriptor_copy(struct oci_descriptor *dst, const struct oci_descriptor *src);
int oci_descriptor_from_json(const json_t *j, const char *what, struct oci_descriptor *ret,
        struct error *err) must_check;
json_t *oci_descriptor_to_json(const struct oci_descriptor *d) must_check;

struct oci_manifest {
	char *media_type;
	struct oci_descriptor config;
	struct oci_descriptor *layers;
	size_t n_layers;
	json_t *annotations;
	char *artifact_type;
	struct oci_descriptor *subject; /* NULL: none */
};
struct oci_index {
	char *media_type;
	struct oci_descriptor *manifests;
	size_t n_manifests;
	json_t *annotations;
};
void oci_manifest_release(struct oci_manifest *m);
void oci_index_release(struct oci_index *m);

enum oci_doc { OCI_DOC_MANIFEST, OCI_DOC_INDEX };
/* oci_doc_parse - a manifest or an index, at most 4 MiB; refuses documents that have both
 * `manifests` and `layers`, or whose mediaType contradicts content_type (may be NULL)
 * (CVE-2021-41190). Only the struct that *ret_kind names is filled. */
int oci_doc_parse(const char *p, size_t n, const char *content_type, const char *what,
        enum oci_doc *ret_kind, struct oci_manifest *ret_m, struct oci_index *ret_i,
        struct error *err) must_check;
char *oci_manifest_encode(const struct oci_manifest *m) must_check; /* compact JSON, spec order */
char *oci_index_encode(const struct oci_index *i) must_check;
/* oci_index_select - best match for want, or -1 with ERR_NOT_FOUND that lists what is there.
 * Attestation manifests (platform unknown/unknown) are never chosen. */
int oci_index_select(const struct oci_index *i, const struct oci_platform *want, const char *what,
        size_t *ret, struct error *err) must_check;

/* --- image config -------------------------------------------------------------------------- */

struct oci_healthcheck {
	struct strv
	        test; /* {"NONE"}, {"CMD", ...} or {"CMD-SHELL", text}; n == 0: no healthcheck */
	int64_t interval, timeout, start_period, start_interval; /* ns */
	int64_t retries;
};

struct oci_history {
	char *created; /* RFC 3339 or NULL */
	char *created_by, *author, *comment;
	bool empty_layer;
};

struct oci_image {
	char *created, *author;
	struct oci_platform platform;
	/* config */
	char *user, *working_dir, *stop_signal;
	struct strv env, entrypoint, cmd, shell, onbuild;
	bool entrypoint_set, cmd_set;      /* null versus empty list */
	struct map exposed_ports, volumes; /* sets: values NULL */
	struct map labels;                 /* values char*, owned */
	bool has_healthcheck;
	struct oci_healthcheck healthcheck;
	bool args_escaped;
	/* rootfs */
	struct digest *diff_ids;
	size_t n_diff_ids;
	struct oci_history *history;
	size_t n_history;
	json_t *extra;        /* unknown top-level keys, kept as they were */
	json_t *extra_config; /* unknown keys of "config" */
};
void oci_image_init(struct oci_image *im); /* empty, maps ready */
void oci_image_release(struct oci_image *im);
void oci_image_copy(struct oci_image *dst, const struct oci_image *src);
/* oci_image_parse - at most 8 MiB; env entries without '=' are dropped; diff_ids checked;
 * the number of non-empty history entries may differ from diff_ids (old images). */
int oci_image_parse(const char *p, size_t n, const char *what, struct oci_image *ret,
        struct error *err) must_check;
/* oci_image_encode - compact JSON, keys as Go's encoder orders them (ExposedPorts, Volumes and
 * Labels sorted), so that equal configs have equal digests. */
char *oci_image_encode(const struct oci_image *im) must_check;
void oci_image_add_history(struct oci_image *im, const char *created, const char *created_by,
        const char *comment, bool empty_layer);
void oci_image_add_diff_id(struct oci_image *im, const struct digest *d);
/* oci_time - "2026-11-21T02:38:37.123456789Z" (nanoseconds trimmed of zeros as Go does). */
char *oci_time(int64_t sec, int64_t nsec) must_check;

#endif
