/* build/internal.h - the state of one build, shared by the files of this folder.
 *
 * Written while planning (one thread), read-only while steps run, but for what `lock` guards. */
#ifndef STRAKE_BUILD_INTERNAL_H
#define STRAKE_BUILD_INTERNAL_H

#include <pthread.h>

#include "base/pool.h"
#include "build/build.h"
#include "dockerfile/ignore.h"
#include "image/cache_doc.h"
#include "registry/registry.h"
#include "sandbox/sandbox.h"
#include "solve/solve.h"
#include "source/context.h"
#include "sys/privilege.h"

/* A base image as resolved: config and layer descriptors, no layer bytes yet. */
struct build_image {
	char *asked; /* as in graph_needed */
	struct oci_platform platform;
	struct oci_image config;
	struct digest config_digest;
	char *digest;                  /* manifest digest or NULL */
	struct oci_ref ref;            /* where bytes can be fetched; domain NULL: nowhere */
	struct oci_descriptor *layers; /* parallel to config.diff_ids; NULL: not fetched */
	size_t n_layers;
	struct oci_descriptor attests; /* its attestation manifest; media_type NULL: none */
	pthread_mutex_t lock;          /* one thread fetches */
	bool ensured;
};

/* One link of a root file system: its layer on top of parent. */
struct rootfs {
	const struct rootfs *parent;
	struct digest diff_id;
	int64_t created_sec, created_nsec;
	struct build_image *image; /* links of a base image; NULL for built layers */
	bool from_base;
	bool verified; /* by rootfs_blame; under the lock */
	size_t depth;
	const struct store_layer
	        *layer; /* once opened, loaded and pinned; under the build's lock */
};

/* The merged view of a chain, opened: lowest layer first. */
struct build_view {
	struct treeview v;
	const struct tree **trees;
	int *fds; /* borrowed from the store */
	size_t n;
	/* What overlayfs gets: empty layers left out, and of a layer that is there twice only the
	 * upper one (overlayfs refuses the same directory twice; the lower one changes nothing,
	 * because all that it has and hides the upper one has and hides again). */
	int *lowers;
	size_t n_lowers;
};

/* A context that is a local directory, opened when first asked for. */
struct build_context {
	const char *name, *path;
	struct source_context *ctx;
	struct df_ignore *ignore;
	const struct rootfs *chain; /* git, tar and HTTP contexts: a layer instead */
	struct build_context *next;
};

/* What became of a node, for the history and --explain. Written by the event loop, `why` by the
 * step's worker before it ends. */
enum step_verdict {
	STEP_UNSEEN,
	STEP_CACHED,
	STEP_RUNNING, /* in a plan: would run */
	STEP_MAYBE,   /* in a plan: known when `after` is */
	STEP_DONE,
	STEP_FAILED,
	STEP_CANCELLED,
};
struct step_state {
	enum step_verdict verdict;
	int64_t started_ms, ended_ms; /* monotonic */
	struct json_t *why;           /* reasons, or NULL */
	struct json_t *debug;         /* of a failed RUN: for `strake debug shell` */
	bool logged;                  /* its output is on disk */
};

struct build {
	const struct build_options *o;
	struct store *store;
	struct store_lease *lease;
	struct ui *ui;
	struct registry_client *registry; /* made when first needed */
	struct sandbox_context *sandbox;
	bool network_wanted; /* a RUN with a private network missed, before privileges were taken */
	struct pool *pool;
	struct leak_values *leaks; /* of the secrets that were given; NULL: none */
	bool entered;              /* privileges taken */
	bool single_id;
	int overlay;    /* enum overlay_kind; under lock */
	bool told_mode; /* the line about it was printed; under lock */

	struct arena arena;   /* AST, rootfs links */
	pthread_mutex_t lock; /* arena, registry, sandbox, contexts, running */
	struct df_file *file;
	struct graph *graph;
	struct build_image **images;
	size_t n_images, cap_images;
	struct build_context *contexts;
	char *context_dir;        /* trusted path of the main context; NULL: none */
	struct df_ignore *ignore; /* of the main context, until that is opened; or NULL */
	const struct rootfs *context_chain;

	struct sandbox_process **running; /* per node; under lock */
	struct step_state *steps;         /* per node */
	struct run_state *failed;         /* kept for --on-error=shell; under lock */
	bool cancelled;
	bool lost; /* a layer that was on record turned out damaged: solve once more; under lock */
	struct pool *net; /* threads that mostly wait for the network; see build_net() */

	struct cache_source *cache_from; /* see cache.h; their state under cache_lock */
	struct cache_spec *cache_to;
	size_t n_cache_from, n_cache_to, n_cache_fetches;
	bool inline_cache;
	struct cache_doc cache_used; /* records that this build looked up or made; cache_lock */
	pthread_mutex_t cache_lock, cache_fetch_lock;

	struct trash *trash;         /* trash.c */
	struct output_spec *outputs; /* parsed before anything is built */
	size_t n_outputs;
	struct build_result *result;
	char *id;              /* of this build, in the history and in the names of logs */
	int64_t started_wall;  /* ms since 1970 */
	int64_t started_ms;    /* monotonic */
	struct strv materials; /* attest.c; under lock */
};

/* ids of ui steps that are not graph nodes */
enum {
	UI_DEFINITION = 1,
	UI_IGNORE = 2,
	UI_CONTEXT = 3,
	UI_EXPORT = 4,
	UI_CACHE = 40,        /* + number of the --cache-from */
	UI_CACHE_EXPORT = 70, /* + number of the --cache-to */
	UI_METADATA = 100,
	UI_CACHE_FETCH = 90000,
	UI_NODE = 100000
};
#define UI_NODE_ID(n) ((uint64_t)UI_NODE + (n)->id)

/* build.c */
int build_enter(struct build *b, struct error *err) must_check;
struct registry_client *build_registry(struct build *b, struct error *err) must_check;
bool build_interrupted(struct build *b);
/* build_net - a pool for transfers; NULL before build_enter(). */
struct pool *build_net(struct build *b);

/* resolve.c */
int build_resolve_image(
        struct build *b, const struct graph_needed *need, struct error *err) must_check;
struct build_image *build_find_image(
        struct build *b, const char *ref, const struct oci_platform *p);
void build_image_free(struct build_image *im);
/* build_image_has_bytes - is each layer here, unpacked or as a blob? */
bool build_image_has_bytes(struct build *b, const struct build_image *im);
/* build_image_here - are all its layers unpacked already? */
bool build_image_here(struct build *b, const struct build_image *im);
/* build_image_ensure - all layers unpacked in the store; any thread. */
int build_image_ensure(
        struct build *b, struct build_image *im, uint64_t ui_id, struct error *err) must_check;

/* build_image_fetch - one layer's blob from the image's registry, not unpacked; any thread. */
int build_image_fetch(struct build *b, struct build_image *im, size_t i, uint64_t ui_id,
        struct error *err) must_check;

/* stream_layer.c */
int stream_layer(struct build *b, const struct oci_ref *ref, const struct oci_descriptor *d,
        const struct digest *diff_id, const struct store_layer **ret, struct error *err) must_check;

/* rootfs.c */
const struct rootfs *rootfs_new(
        struct build *b, const struct rootfs *parent, const struct digest *diff_id);
const struct rootfs *rootfs_from_image(struct build *b, struct build_image *im);
/* rootfs_key - the chain's key on top of parent_key with one more layer of tree digest t. */
void rootfs_key(const struct digest *parent_key, const struct digest *tree, struct digest *ret);
/* rootfs_blame - something failed on what it read of these layers: those that are damaged are set
 * aside, and solving again makes or fetches them anew. */
void rootfs_blame(struct build *b, const struct rootfs *chain, const struct error *err);
/* build_view_open - every layer there, unpacked and loaded; chain NULL: empty. */
int build_view_open(struct build *b, const struct rootfs *chain, struct build_view *ret,
        struct error *err) must_check;
void build_view_release(struct build_view *v);
/* build_view_try - as open, but never fetches or unpacks: 0 if something is not there. */
int build_view_try(struct build *b, const struct rootfs *chain, struct build_view *ret,
        struct error *err) must_check;

/* record.c: step records */
struct step_record {
	struct digest diff_id, tree;
	struct digest twin; /* the other key of the same result; zero: none */
	int64_t created_sec, created_nsec;
	uint64_t cost_ms;
};
int record_get(struct build *b, const struct digest *key, struct step_record *ret,
        struct error *err) must_check; /* 1, 0, -1 */
int record_put(struct build *b, const struct digest *key, const struct step_record *r,
        struct error *err) must_check;
/* record_output - what a record means on top of a base. */
/* step_layer_there - in the store, or to be had from a cache? */
bool step_layer_there(struct build *b, const struct digest *diff_id);
void record_output(struct build *b, const struct step_record *r, const struct solve_output *base,
        struct solve_output *ret);
/* publish_layer - staging directory `name` with its tree -> layer, record under the keys, output.
 * parts: what the key was made of, remembered with it; or NULL. */
struct step_parts {
	const struct graph_node *node;
	const struct json_t *json;
};
int publish_layer(struct build *b, const char *staging, const struct tree *t, int treefd,
        const struct digest *keys, size_t n_keys, const struct step_parts *parts,
        int64_t started_ms, const struct solve_output *base, struct solve_output *ret,
        struct error *err) must_check;
/* publish_records - the end of it, for a layer that is in the store already: r has its diff id,
 * tree and cost. */
int publish_records(struct build *b, struct step_record *r, const struct digest *keys,
        size_t n_keys, const struct step_parts *parts, const struct solve_output *base,
        struct solve_output *ret, struct error *err) must_check;
int64_t now_ms(void);
/* A fresh staging directory with an empty "tree" in it. */
struct layer_dir {
	char *name;
	int fd, tree_fd;
};
void layer_dir_release(struct layer_dir *d);
int layer_dir_new(struct build *b, struct layer_dir *ret, struct error *err) must_check;

/* trash.c: build_trash - remove this staging directory some time before the build ends; any thread,
 * once privileges are taken. build_trash_end - waits. */
void build_trash(struct build *b, const char *name);
void build_trash_end(struct build *b);

/* context.c */
int build_load_definition(struct build *b, struct error *err) must_check;
int build_context_get(struct build *b, const struct graph_local *l, struct build_context **ret,
        struct error *err) must_check;
void build_contexts_free(struct build *b);

/* remote_context.c */
bool build_context_is_remote(const char *context);
/* build_remote_context - make the context a layer (b->context_chain) or none; the Dockerfile's text
 * and name. */
int build_remote_context(struct build *b, char **ret_name, char **ret_text, size_t *ret_n,
        struct error *err) must_check;

/* exec_*.c: probe and execute by kind of operation */
int run_probe(struct build *b, const struct graph_node *n, const struct solve_output *in,
        struct solve_output *ret, struct error *err) must_check;
int run_execute(struct build *b, const struct graph_node *n, const struct solve_output *in,
        struct solve_output *ret, bool *ret_cached, struct error *err) must_check;
int copy_probe(struct build *b, const struct graph_node *n, const struct solve_output *in,
        struct solve_output *ret, struct error *err) must_check;
int copy_execute(struct build *b, const struct graph_node *n, const struct solve_output *in,
        struct solve_output *ret, bool *ret_cached, struct error *err) must_check;
int workdir_probe(struct build *b, const struct graph_node *n, const struct solve_output *in,
        struct solve_output *ret, struct error *err) must_check;
int workdir_execute(struct build *b, const struct graph_node *n, const struct solve_output *in,
        struct solve_output *ret, bool *ret_cached, struct error *err) must_check;
int remote_probe(struct build *b, const struct graph_node *n, struct solve_output *ret,
        struct error *err) must_check;
int remote_execute(struct build *b, const struct graph_node *n, struct solve_output *ret,
        bool *ret_cached, struct error *err) must_check;
/* copy_local_layer - part of a local context as a layer of its own, for bind mounts. */
int copy_local_layer(struct build *b, const struct graph_node *local, const char *path,
        const struct rootfs **ret, struct error *err) must_check;
/* local_select - a path in a local context: its files and their content key. */
int local_select(struct build *b, const struct graph_node *local, const char *path,
        struct source_selection *ret, struct error *err) must_check;
/* local_path_key - content key of a path in a local context. */
int local_path_key(struct build *b, const struct graph_node *local, const char *path,
        struct digest *ret, struct error *err) must_check;

/* run_mount_chain - which file system a bind mount's `from` is. *ret_whole: not the mount's path
 * alone. */
int run_mount_chain(struct build *b, const struct graph_node *n, const struct solve_output *in,
        const struct graph_mount *g, const struct rootfs **ret, bool *ret_whole,
        struct error *err) must_check;
int run_key(struct build *b, const struct graph_node *n, const struct solve_output *in,
        struct digest *ret, struct error *err) must_check;
void workdir_key(const struct graph_node *n, const struct solve_output *in, struct digest *ret);

/* report.c */
struct json_t *build_steps_json(const struct build *b) must_check;
/* build_plan_reasons - for each step that would run or may. */
void build_plan_reasons(struct build *b, const struct solve_output *outputs);

/* history.c: what is kept of a build when it has ended. */
void history_write(struct build *b, int rc, const struct error *err);
/* history_command - how the image was built, for a hint; malloc'ed; NULL: not on record. */
char *history_command(struct store *s, const char *image_id) must_check;

/* output.c. build_parse_outputs - while single-threaded: it may look for a docker to load into. */
int build_parse_outputs(struct build *b, struct error *err) must_check;
void build_free_outputs(struct build *b);
int build_outputs(
        struct build *b, const struct solve_output *outputs, struct error *err) must_check;
/* build_packs - do the outputs want nothing of a layer but this compressed form? */
bool build_packs(const struct build *b, enum compression *ret);

/* pack.c - layers that nothing of this build opens: a blob, no tree (export/packed.c). */
/* pack_wanted - may this COPY's layer be one, and in which compression? */
bool pack_wanted(const struct build *b, const struct graph_node *n, const struct copy_item *items,
        size_t n_items, enum compression *ret);
int pack_copy(struct build *b, const struct copy_request *rq, enum compression c,
        struct step_record *ret, struct error *err) must_check;
/* pack_open - unpack those of the chain that are packed, but not what they are beside that. */
int pack_open(struct build *b, const struct rootfs *chain, struct error *err) must_check;

#endif
