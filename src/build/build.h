/* build/build.h - one `strake build`: options in, image and exports out.
 *
 * This folder implements solve_ports: it is where the graph's operations meet the store, the
 * sources, the sandbox and the registry. cli/ fills build_options from the command line and prints
 * what build_run returns. */
#ifndef STRAKE_BUILD_BUILD_H
#define STRAKE_BUILD_BUILD_H

#include "base/strv.h"
#include "dockerfile/ignore.h"
#include "dockerfile/lint.h"
#include "graph/graph.h"
#include "store/store.h"
#include "ui/ui.h"

struct build_secret {
	char *id;
	char *data; /* NULL: could not be read; `error` says why */
	size_t len;
};
struct build_ssh {
	char *id, *socket; /* host path of the agent's socket */
};

/* Statements about the image that go with it. */
struct build_attest {
	bool provenance, provenance_max, sbom;
	bool referrers;         /* as OCI referrers, not inside the index */
	const char *builder_id; /* URI; NULL: strake's own */
};

struct build_options {
	const char *context;    /* path, URL or "-" */
	const char *dockerfile; /* -f; NULL: default name; "-": stdin */
	struct strv tags;       /* as given */
	struct strv build_args; /* "K=V" */
	struct strv labels, annotations, contexts, add_hosts, ulimits, no_cache_filter, allow,
	        platforms;
	struct strv outputs;              /* -o specs as given */
	struct strv cache_from, cache_to; /* as given */
	bool inline_cache;                /* BUILDKIT_INLINE_CACHE=1 */
	struct build_secret *secrets;
	size_t n_secrets;
	struct build_ssh *ssh;
	size_t n_ssh;
	const char *target, *network;
	const char *iidfile, *metadata_file;
	const char *ignorefile; /* instead of the context's own; NULL: none given */
	uint64_t shm_size;
	uint64_t memory_max, pids_max; /* --resource */
	double cpus;
	struct build_attest attest;
	bool no_cache, pull, squash;
	bool multi_platform; /* BUILDKIT_MULTI_PLATFORM: also one platform makes an index */
	bool pull_never;     /* base images come from the store, or the build fails */
	bool explain;        /* show why each step runs, before it does */
	bool on_error_shell; /* a RUN that fails: a shell in what it left, before the build ends */
	bool dry_run; /* run nothing: only say in build_result.steps what would run, and why */
	unsigned jobs;
	enum ui_mode progress;
	bool has_epoch;
	int64_t epoch;
	const volatile bool *interrupted; /* set by a signal handler */
};

struct build_result {
	char *image_id; /* "sha256:..." of the (first) config; NULL if nothing was built */
	struct df_warnings warnings;
	struct strv unused_build_args;
	char *excerpt;  /* Dockerfile lines around a failure, or NULL */
	char *build_id; /* in the history; NULL: it got nowhere */
	/* Array, one object a step in the order of the Dockerfile: "name", "stage", "platform",
	 * "line", "verdict" ("cached", "run", "maybe", "done", "failed", "cancelled"), "why"
	 * (reasons), "after" (of maybe: the step it waits for), "ms", "log". NULL: not that far. */
	struct json_t *steps;
};
void build_result_release(struct build_result *r);

/* build_run - everything, including exports and tags. On failure ret->excerpt may be set. */
int build_run(struct store *store, const struct build_options *o, struct build_result *ret,
        struct error *err) must_check;

/* build_debug_shell - a shell in the state before a RUN step that failed earlier, by what its
 * build's history says of it ("debug" of the step). Cache and tmpfs mounts and bind mounts are
 * there; secrets and ssh agents are not. ERR_NOT_FOUND if its layers are gone. */
struct debug_shell_options {
	struct strv command; /* empty: the step's shell */
	const volatile bool *interrupted;
	const volatile int *signal;
};
int build_debug_shell(struct store *s, const struct json_t *debug,
        const struct debug_shell_options *o, int *ret_exit, struct error *err) must_check;

/* build_reason_lines - a reason of build_result.steps as lines for people: a sentence, then files.
 */
void build_reason_lines(const struct json_t *reason, struct strv *ret);

/* build_read_definition - only the Dockerfile of these options: --check and --call. On failure *ret
 * may be its lines alone, for an excerpt. */
int build_read_definition(const struct build_options *o, struct arena *a, struct df_file **ret,
        struct error *err) must_check;

/* build_read_ignore - the ignore file that counts for the main context; *ret NULL: there is none.
 */
int build_read_ignore(const struct build_options *o, const struct df_file *f,
        struct df_ignore **ret, struct error *err) must_check;

/* build_resolve_platforms - --platform values (commas allowed) or the host's. malloc'ed. */
int build_resolve_platforms(const struct strv *specs, struct oci_platform **ret, size_t *ret_n,
        struct error *err) must_check;

#endif
