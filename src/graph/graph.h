/* graph/graph.h - AST + options -> immutable graph of operations. Pure.
 *
 * Node ids index `nodes`; inputs always have smaller ids, so array order is a valid build order.
 * Nodes never change after graph_build; build state lives in arrays indexed by id elsewhere.
 * Only what the targets need is in the graph. Equal nodes (same op_digest, same inputs) are one
 * node, so that two platforms share their BUILDPLATFORM stages. All memory is the graph's arena. */
#ifndef STRAKE_GRAPH_GRAPH_H
#define STRAKE_GRAPH_GRAPH_H

#include "base/arena.h"
#include "base/map.h"
#include "base/strv.h"
#include "dockerfile/dockerfile.h"
#include "dockerfile/ignore.h"
#include "dockerfile/lint.h"
#include "oci/oci.h"

#define GRAPH_NONE UINT32_MAX /* no node: scratch */

enum graph_op {
	GRAPH_IMAGE,   /* layers of a base image */
	GRAPH_LOCAL,   /* a local directory context (the main one is named "context") */
	GRAPH_GIT,     /* a git checkout (context or ADD git URL) */
	GRAPH_HTTP,    /* a remote file (ADD URL) */
	GRAPH_RUN,     /* inputs[0] = base or GRAPH_NONE; mounts refer to further inputs */
	GRAPH_COPY,    /* COPY and ADD; inputs[0] = base; sources refer to further inputs */
	GRAPH_WORKDIR, /* inputs[0] = base */
};

struct graph_image {
	const char *ref; /* canonical reference, or oci-layout://path[:tag|@digest] */
	struct oci_platform platform;
	const struct digest *diff_ids; /* from the resolved config */
	size_t n_diff_ids;
};
struct graph_local {
	const char *name; /* "context" or the --build-context name */
	const char *path; /* from the options; NULL for the main context (the caller knows) */
};
struct graph_git {
	const char *url;                     /* without fragment */
	const char *ref, *subdir, *checksum; /* NULL: default */
	bool keep_git_dir, submodules;
};
struct graph_http {
	const char *url, *checksum, *filename; /* filename: safe base name from the URL path */
};

enum graph_copy_source_kind { GRAPH_SRC_INPUT, GRAPH_SRC_INLINE };
struct graph_copy_source {
	enum graph_copy_source_kind kind;
	uint32_t input; /* node id: LOCAL, GIT, HTTP, IMAGE, or any rootfs node; GRAPH_NONE: scratch
	                 */
	const char *pattern; /* expanded source word ("" = root for GIT/HTTP) */
	const char *name;    /* INLINE: file name */
	const char *data;    /* INLINE: content, already expanded */
	size_t data_len;
};
/* SOURCE_DATE_EPOCH: what a step makes carries this time. */
struct graph_time {
	bool set;
	int64_t sec;
};

struct graph_copy {
	bool is_add, link, parents, keep_git_dir;
	bool from_stage; /* the source is a stage or image: entries keep their owners */
	int unpack;      /* -1 default, 0, 1 */
	struct graph_copy_source *sources;
	size_t n_sources;
	const char *dest; /* absolute; trailing '/' kept where it means directory */
	const char *chown, *chmod, *checksum;
	struct strv excludes;
	struct graph_time time; /* of all that is copied, but for the entries of archives */
};

enum graph_mount_type {
	GRAPH_MOUNT_BIND,
	GRAPH_MOUNT_CACHE,
	GRAPH_MOUNT_TMPFS,
	GRAPH_MOUNT_SECRET,
	GRAPH_MOUNT_SSH
};
struct graph_mount {
	enum graph_mount_type type;
	const char *target; /* absolute, cleaned; for secret/ssh may be NULL with env set */
	const char *source; /* sub path in `input`, cleaned, "" = root */
	uint32_t input;     /* BIND, CACHE from=: node id; GRAPH_NONE: scratch/none */
	bool read_only, required, has_mode, has_uid, has_gid;
	const char *id;      /* cache id, secret id, ssh id */
	const char *sharing; /* "shared" "private" "locked" */
	uint32_t mode, uid, gid;
	uint64_t size;   /* tmpfs */
	const char *env; /* SECRET: give it as this variable; SSH: variable that gets the
	                    socket's path ("SSH_AUTH_SOCK" on the first one), or NULL */
};
struct graph_run_file { /* heredoc script under /dev/pipes */
	const char *path, *data;
	size_t len;
};
struct graph_run {
	struct strv argv;      /* complete: shell included */
	struct strv env;       /* image env + build args, without proxies */
	struct strv proxy_env; /* proxy args: given to the process, not part of the key */
	const char *cwd, *user, *hostname;
	const char *network; /* "default" "none" "host" */
	bool insecure;
	const char *shown; /* text for: process "..." did not complete successfully */
	struct graph_mount *mounts;
	size_t n_mounts;
	struct graph_run_file *files;
	size_t n_files;
	struct strv add_hosts, ulimits;
	struct strv devices; /* CDI names; "name,required" where the step cannot do without */
	uint64_t shm_size;
};
struct graph_workdir {
	const char *path; /* absolute, cleaned */
	const char *user;
	struct graph_time time; /* of the directories that are made */
};

struct graph_node {
	uint32_t id;
	enum graph_op op;
	const uint32_t *inputs; /* inputs[0] is the base rootfs for RUN, COPY, WORKDIR */
	size_t n_inputs;
	union {
		struct graph_image image;
		struct graph_local local;
		struct graph_git git;
		struct graph_http http;
		struct graph_run run;
		struct graph_copy copy;
		struct graph_workdir workdir;
	};
	struct oci_platform platform;
	/* op_digest - everything of the operation itself, not of its inputs (docs/formats/
	 * cache-keys.md): what a key is made of together with the inputs' keys. */
	struct digest op_digest;
	bool no_cache; /* --no-cache or --no-cache-filter names its stage */
	/* for people */
	const char *stage;      /* stage name or its number as text */
	const char *shown;      /* "[builder 2/4] RUN go build" ; "[internal] load build context" */
	const char *created_by; /* history text */
	int line, end_line;     /* in the Dockerfile; 0: none */
};

struct graph_history {
	const char *created_by, *comment;
	bool empty_layer;
	uint32_t node; /* the node whose layer it is; GRAPH_NONE if empty_layer or from the base */
};
struct graph_target {
	struct oci_platform platform;
	uint32_t node; /* final rootfs; GRAPH_NONE: scratch */
	/* Config with everything but rootfs and history of the new steps: base history included,
	 * base diff_ids included. `created` unset. */
	struct oci_image *config;
	struct graph_history *history; /* of the steps above the base, in order */
	size_t n_history;
	const char *stage; /* name of the target stage */
	const char *base_ref,
	        *base_digest; /* of the final stage's base image, for annotations; or NULL */
};

struct graph {
	struct arena arena;
	struct graph_node **nodes;
	size_t n_nodes;
	struct graph_target *targets; /* one a platform */
	size_t n_targets;
	struct strv unused_build_args; /* --build-arg that nothing declared */
	struct oci_image **configs;    /* owned, released with the graph */
	size_t n_configs;
};
void graph_free(struct graph *g); /* NULL is fine */

struct graph_context {
	const char *name, *value; /* --build-context name=value */
};
struct graph_options {
	const struct strv *build_args;        /* "K=V" in order */
	const char *target;                   /* NULL: last stage */
	const struct oci_platform *platforms; /* at least one */
	size_t n_platforms;
	bool platform_implicit; /* nobody asked for a platform: a base image pinned to another
	                           one (FROM --platform=...) keeps its own in the config */
	struct oci_platform build_platform;
	const struct graph_context *contexts;
	size_t n_contexts;
	const struct strv *labels;              /* --label "K=V" */
	const struct strv *add_hosts, *ulimits; /* may be NULL */
	const char *network;                    /* default for RUN: "default" "none" "host" */
	const char *hostname;                   /* BUILDKIT_SANDBOX_HOSTNAME; NULL: default */
	uint64_t shm_size;
	struct graph_time epoch; /* SOURCE_DATE_EPOCH */
	bool no_cache;
	const struct strv *no_cache_filter; /* stage names; may be NULL */
	bool allow_insecure, allow_network_host;
	const char *cache_mount_ns; /* BUILDKIT_CACHE_MOUNT_NS */
	bool main_context_is_git;   /* the main context is a git checkout or tar: "context" still
	                               LOCAL */
	bool check_only; /* --check/--call: plan all stages, report, need no images found */
};

/* Base images are resolved by the caller between calls. */
struct graph_base {
	const char *ref; /* exactly as asked for in graph_needed */
	struct oci_platform platform;
	const struct oci_image *config; /* borrowed; must outlive the graph */
	const char *digest;             /* manifest digest, or NULL */
};
struct graph_needed {
	char *ref; /* canonical reference or oci-layout://... */
	struct oci_platform platform;
	int line; /* of the first use */
};
/* graph_build - 0: *ret_graph is made; 1: images in *ret_needed (malloc'ed array; free with
 * graph_needed_free) must be added to `bases` first, then call again; -1: error with place.
 * Warnings are added on every call (df_warn drops duplicates). */
int graph_build(const struct df_file *f, const struct graph_options *o,
        const struct graph_base *bases, size_t n_bases, struct df_warnings *w,
        struct graph **ret_graph, struct graph_needed **ret_needed, size_t *ret_n_needed,
        struct error *err) must_check;
void graph_needed_free(struct graph_needed *v, size_t n);

/* graph_lint_ignored - CopyIgnoredFile (experimental) for sources in the main context; `ig` is its
 * ignore file. */
void graph_lint_ignored(const struct graph *g, const struct df_ignore *ig, struct df_warnings *w);

/* For --call=outline and --call=targets: JSON as docker buildx prints it. */
int graph_outline(const struct df_file *f, const struct graph_options *o, json_t **ret,
        struct error *err) must_check;
int graph_list_targets(const struct df_file *f, const struct graph_options *o, json_t **ret,
        struct error *err) must_check;

#endif
