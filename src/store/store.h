/* store/store.h - everything that outlives a build: blobs, layers, tags, step records, leases.
 *
 * On disk: docs/formats/store.md. Things are written in staging, renamed into place and then put
 * on record by one database transaction; kill -9 anywhere leaves garbage in staging only. One
 * syncfs comes before a tag is written, so that an acknowledged tag survives a power loss; what a
 * power loss catches unsynced is verified before it is used again. A missing or damaged layer or
 * blob is "not there" (and set aside), never an error of the build. Thread-safe unless said
 * otherwise. One process may hold the store open many times; many processes too. After fork() the
 * child must not use the parent's handle. */
#ifndef STRAKE_STORE_STORE_H
#define STRAKE_STORE_STORE_H

#include "base/error.h"
#include "base/strv.h"
#include "codec/stream.h"
#include "oci/oci.h"
#include "tree/tree.h"

struct store;

/* store_default_path - $STRAKE_STORE, else /var/lib/strake for root, else $XDG_DATA_HOME/strake,
 * else ~/.local/share/strake. ERR_USAGE if HOME is unset too. */
char *store_default_path(struct error *err) must_check;
/* store_open - creates what is missing (0700). Cheap: opens directories; the database is opened at
 * the first use. A database that is garbage is set aside and rebuilt, with *a warning text* in
 * store_warnings(). */
int store_open(const char *path, struct store **ret, struct error *err) must_check;
void store_free(struct store *s);
static inline void store_freep(struct store **s)
{
	store_free(*s);
}
/* store_reattach - after the process moved to a mount namespace of its own (sys_privilege_enter): a
 * descriptor belongs to the mounts it was opened through, and neither overlay lowers nor renames
 * may mix two namespaces. Descriptors keep their numbers. */
int store_reattach(struct store *s, struct error *err) must_check;
/* store_check_owners - are the store's files written with rights like ours? Part of store_reattach;
 * for those who write without entering anything. */
int store_check_owners(struct store *s, struct error *err) must_check;
const char *store_path(const struct store *s);
int store_dirfd(const struct store *s);
int store_cache_dirfd(struct store *s); /* <store>/cache: stat cache files; created on demand */
/* store_warnings - one-line texts collected since the last call ("layer ... damaged, set aside").
 */
void store_warnings(struct store *s, struct strv *ret);

/* --- leases and staging ------------------------------------------------------------------- */

/* A lease is a directory staging/<id> with a lock that dies with its process. Layers and blobs
 * looked up or published under a lease are pinned until it ends: prune leaves them alone. Blobs
 * and images that are looked up without naming a lease are pinned by the handle's oldest one. */
struct store_lease;
int store_lease_new(struct store *s, struct store_lease **ret, struct error *err) must_check;
void store_lease_free(struct store_lease *l); /* removes the staging directory */
/* store_lease_dirfd - made at the first call; -1 if that fails. */
int store_lease_dirfd(const struct store_lease *l);
/* store_staging_dir - a fresh empty directory in the lease; *ret_name (malloc'ed) relative to the
 * lease's directory. */
int store_staging_dir(
        struct store_lease *l, char **ret_name, int *ret_fd, struct error *err) must_check;

/* --- blobs --------------------------------------------------------------------------------- */

bool store_blob_has(struct store *s, const struct digest *d, uint64_t *ret_size);
/* store_blob_open - O_RDONLY fd; the bytes are verified as they are read through
 * store_blob_reader; plain fd users verify themselves. ERR_NOT_FOUND if absent. */
int store_blob_open(struct store *s, const struct digest *d, int *ret_fd, uint64_t *ret_size,
        struct error *err) must_check;
/* store_blob_reader - verifies at the end: a wrong digest is ERR_INTEGRITY and quarantines it. */
int store_blob_reader(
        struct store *s, const struct digest *d, struct reader **ret, struct error *err) must_check;
int store_blob_read_all(struct store *s, const struct digest *d, size_t max, char **ret,
        size_t *ret_n, struct error *err) must_check;
/* store_blob_put - small blobs (config, manifest) in one go. */
int store_blob_put(struct store *s, struct store_lease *l, const void *p, size_t n,
        struct digest *ret, struct error *err) must_check;
/* store_blob_sink - stream into staging; finish() publishes under the computed digest, which is
 * stored to *ret with the size; expect != NULL: anything else is ERR_INTEGRITY, nothing kept. */
struct sink *store_blob_sink(struct store *s, struct store_lease *l, const struct digest *expect,
        struct digest *ret, uint64_t *ret_size);

/* store_blob_is_fresh - did this handle write it, and so hash every byte, just now? */
bool store_blob_is_fresh(struct store *s, const struct digest *d);

/* --- layers -------------------------------------------------------------------------------- */

struct store_layer {
	struct digest diff_id;
	struct digest tree_digest;
	uint64_t size;     /* bytes of regular files */
	uint64_t tar_size; /* of the canonical tar, or of the tar that was pulled */
	bool canonical;    /* our canonical tar of the tree has this diff id (false: pulled) */
	int fd;            /* directory of the tree, usable as overlay lower; -1 until opened */
	struct tree *tree; /* manifest; NULL until loaded; owned by the store's cache */
};
/* store_layer_get - 1 found (pinned by the lease), 0 absent or damaged (set aside). What: bits of
 * STORE_LAYER_FD, STORE_LAYER_TREE. The pointer stays valid until the store is freed. */
#define STORE_LAYER_FD 1
#define STORE_LAYER_TREE 2
int store_layer_get(struct store *s, struct store_lease *l, const struct digest *diff_id, int what,
        const struct store_layer **ret, struct error *err) must_check;
/* store_layer_suspect - could a damaged layer be what this error is about? Then it is worth the
 * reading of all of it. */
bool store_layer_suspect(const struct error *err);
/* store_layer_verify - reads every byte. 1: it is what its manifest says; 0: it was damaged, and is
 * set aside; *err says how (ERR_INTEGRITY). -1: it cannot be told. */
int store_layer_verify(struct store *s, const struct digest *diff_id, struct error *err) must_check;
/* store_damages - how much was set aside through this handle. */
unsigned store_damages(struct store *s);
/* store_layer_publish - move the staging directory `name` (its tree in sub-directory "tree") into
 * place with its manifest. 1: the layer was there already; the staging directory stays the caller's
 * to remove, and goes with the lease otherwise. */
int store_layer_publish(struct store *s, struct store_lease *l, const char *name,
        const struct tree *t, const struct digest *diff_id, uint64_t tar_size, bool canonical,
        const struct store_layer **ret, struct error *err) must_check;
/* A layer that was pulled (or pushed) is known as a compressed blob too. */
int store_layer_set_blob(struct store *s, const struct digest *diff_id,
        const struct oci_descriptor *blob, struct error *err) must_check;
/* store_layer_blobs - the known descriptors of a layer, those whose bytes are here first. */
int store_layer_blobs(struct store *s, const struct digest *diff_id, struct oci_descriptor **ret,
        size_t *ret_n, struct error *err) must_check;

/* --- step records ---------------------------------------------------------------------------- */

/* key -> small JSON text chosen by the caller; used to find the result of a step again. */
int store_record_get(struct store *s, const char *kind, const struct digest *key, char **ret,
        struct error *err) must_check; /* 1 found, 0 absent */
int store_record_put(struct store *s, const char *kind, const struct digest *key, const char *text,
        struct error *err) must_check;
/* store_begin/commit - group several calls into one transaction: reads see one snapshot, puts are
 * committed together. The thread owns the handle until the end, other threads wait, and so does
 * the collector: keep it short, and never run a step or wait for a lock in between. abort drops
 * the group's puts (after an error); both are harmless without a group. */
int store_begin(struct store *s, struct error *err) must_check;
int store_commit(struct store *s, struct error *err) must_check;
void store_abort(struct store *s);
/* store_touch - mark as used now, for the collector (cheap; batched at store_free). */
void store_touch_layer(struct store *s, const struct digest *diff_id);
void store_touch_record(struct store *s, const char *kind, const struct digest *key);

/* store_step_lock - two builds that want the same step: the second waits on a kernel lock.
 * Returns the fd that holds it (close to release). wait=false: -EWOULDBLOCK. */
int store_step_lock(struct store *s, const struct digest *key, bool wait) must_check;

/* --- images ---------------------------------------------------------------------------------- */

struct store_image {
	char *name;            /* canonical reference with tag; "" for untagged */
	struct digest id;      /* digest of the config blob */
	char *manifest_digest; /* "sha256:..." of the manifest or index it was pulled as, or NULL */
	struct oci_platform platform;
	int64_t created; /* seconds, from the config; for sorting and display */
	int64_t tagged_at;
	uint64_t size; /* sum of the layers' sizes */
};
void store_image_release(struct store_image *im);
void store_images_free(struct store_image *v, size_t n);
/* store_image_put - the config must be a blob here and every layer known (layer or blob). Several
 * platforms of one name may be put; the tag then holds them all. When it returns 0 the tag and all
 * it stands on survive a power loss. An image that loses its last name stays as an untagged one
 * until it is pruned. Putting what is there already writes nothing. */
int store_image_put(struct store *s, const char *name, const struct digest *config,
        const struct oci_platform *p, const char *manifest_digest, uint64_t size, int64_t created,
        bool add_platform, struct error *err) must_check;
/* store_image_find - by name, or by id prefix (>= 4 hex digits, with or without sha256:); platform
 * NULL: the host's, else the only one. 1 found, 0 not. Ambiguous prefix: ERR_USAGE. */
int store_image_find(struct store *s, const char *name_or_id, const struct oci_platform *p,
        struct store_image *ret, struct error *err) must_check;
int store_image_list(
        struct store *s, struct store_image **ret, size_t *ret_n, struct error *err) must_check;
/* store_image_delete - a name (in any form), or all names of an id. Frees no space: prune does. */
int store_image_delete(struct store *s, const char *name, struct error *err) must_check;
/* store_image_config - read and parse the config blob. */
int store_image_config(struct store *s, const struct digest *id, struct oci_image *ret,
        struct error *err) must_check;

/* --- cache mounts ---------------------------------------------------------------------------- */

/* store_cache_mount - directory for RUN --mount=type=cache. The name on disk is a hash of id.
 * sharing: "shared" (with other sharers), "locked" (waits until it is alone), "private" (another
 * one if this is in use). Hold *ret_lock until the step has ended: it keeps others and the
 * collector off. *ret_new says that the directory (0755, owned by us) was created just now. */
int store_cache_mount(struct store *s, const char *id, const char *sharing, int *ret_fd,
        int *ret_lock, bool *ret_new, struct error *err) must_check;

/* --- containers ------------------------------------------------------------------------------ */

/* Folders containers/<id> (64 hex digits); their content is src/container's but for the file
 * `keeps`: what the collector must leave, a line each: "I<hex>" image, "B<hex>" blob, "L<hex>"
 * layer. */
bool store_container_id_valid(const char *id);
/* store_container_publish - the lease's staging directory `name` becomes the container's folder.
 * The lease must hold all that `keeps` names. */
int store_container_publish(struct store *s, struct store_lease *l, const char *name,
        const char *id, struct error *err) must_check;
/* store_container_open - descriptor of the folder; ERR_NOT_FOUND. */
int store_container_open(struct store *s, const char *id, struct error *err) must_check;
int store_container_list(struct store *s, struct strv *ret_ids, struct error *err) must_check;
/* store_container_discard - gone at once by a rename into the lease, then removed. */
int store_container_discard(
        struct store *s, struct store_lease *l, const char *id, struct error *err) must_check;

/* --- builds ---------------------------------------------------------------------------------- */

/* store_log_open - logs/<build id>/<step>.log for writing; store_log_read: ERR_NOT_FOUND if the
 * step printed nothing, or its log is gone. */
int store_log_open(struct store *s, const char *build_id, const char *step, int *ret_fd,
        struct error *err) must_check;
int store_log_read(struct store *s, const char *build_id, const char *step, int *ret_fd,
        struct error *err) must_check;
/* store_build_put - append an ended build to the history: an object with "id", which names its
 * logs, and "started" in ms since 1970. `ran`: it is no cached build, whose microseconds count, so
 * look whether older ones are to be dropped. */
#define STORE_BUILDS_KEPT 200
int store_build_put(struct store *s, const char *json, bool ran, struct error *err) must_check;
/* store_builds - the history, oldest first; lines that cannot be read are the caller's to skip. */
int store_builds(struct store *s, struct strv *ret, struct error *err) must_check;
/* store_builds_trim - drop all but the last `keep`, and of those what is older than so many
 * seconds (0: nothing), with their logs. */
int store_builds_trim(struct store *s, size_t keep, int64_t older_than, unsigned *ret_dropped,
        struct error *err) must_check;

/* --- collection ------------------------------------------------------------------------------ */

/* What always goes: untagged images, layers and blobs that no tagged image needs, the records that
 * name a removed layer, what was set aside as damaged. What a lease holds always stays. */
enum store_kind { /* bits */
	STORE_KIND_IMAGE = 1,
	STORE_KIND_LAYER = 2,
	STORE_KIND_BLOB = 4,
	STORE_KIND_CACHE = 8,      /* cache mounts */
	STORE_KIND_INDEX = 16,     /* stat caches, lists of files */
	STORE_KIND_SET_ASIDE = 32, /* damaged things in quarantine */
};
struct store_prune_options {
	bool dry_run;
	unsigned kinds;       /* only these; 0: all. Naming cache mounts or indexes asks for them */
	bool all;             /* also cache mounts, stat caches, records that name no kept layer */
	bool images;          /* tagged images as well */
	int64_t older_than;   /* only what was not used for so many seconds; 0: any */
	uint64_t keep_bytes;  /* only until the store is not larger, longest unused first, cache
	                         mounts included; 0: all */
	const char *cache_id; /* only this cache mount (or the one of this path); in use: ERR_USAGE,
	                         absent: ERR_NOT_FOUND */
	/* called for each thing that goes (or would go): kind "image", "layer", "blob", "cache",
	 * "quarantine", "stat cache", "file list" */
	void (*report)(
	        void *ctx, const char *kind, const char *id, uint64_t bytes, const char *why);
	void *ctx;
};
/* store_prune - one collector at a time; running builds' leases are honoured. Files of other ids
 * (subuids) can only be removed after sys_privilege_enter(); without it the rows are gone, the
 * error says so, and the bytes are removed by the next lease that may. */
int store_prune(struct store *s, const struct store_prune_options *o, uint64_t *ret_freed,
        struct error *err) must_check;

/* store_collect - after a build: if the store is (by estimate) larger than limit bytes, prune it to
 * that. Cheap if it is not. A store that cannot be made so small, because its tagged images are
 * larger, is looked at once an hour. *ret_freed 0: nothing was done. */
int store_collect(
        struct store *s, uint64_t limit, uint64_t *ret_freed, struct error *err) must_check;
/* store_default_limit - half of the file system that the store is on. */
uint64_t store_default_limit(const struct store *s);

struct store_item {
	const char *kind, *id; /* as prune reports them */
	uint64_t unique;       /* bytes that come free if only this goes */
	uint64_t shared;       /* bytes that others hold as well */
	int64_t used;          /* last use, seconds */
	bool in_use;           /* a tagged image, a container or a running build needs it */
	const char *what;      /* the step or image that it is of, or NULL */
};
/* store_list - everything that prune could ever remove, but for images; walks everything. */
int store_list(struct store *s, void (*fn)(void *ctx, const struct store_item *it), void *ctx,
        struct error *err) must_check;

struct store_usage {
	uint64_t layers, blobs, caches, containers, volumes, other,
	        total; /* real blocks in bytes */
	uint64_t n_layers, n_blobs, n_caches, n_containers, n_volumes;
};
/* store_usage - walks everything; a file with several names (layers share files) counts once. */
int store_usage(struct store *s, struct store_usage *ret, struct error *err) must_check;
/* store_estimate - bytes in layers and blobs as the database knows them: one query, no walk; files
 * that layers share count more than once. To decide after a build whether to call store_prune. */
int store_estimate(struct store *s, uint64_t *ret_bytes, struct error *err) must_check;

/* store_fsck - the database's integrity, every blob's digest, every layer's files against its
 * manifest (quick: sizes and manifests only), every tag's parts, no residue; repair sets damaged
 * things aside. What killed processes left is swept or adopted, and is no problem. Problems are
 * reported one by one; returns their number or -1. Reading all files needs
 * sys_privilege_enter() where they belong to subuids. */
int store_fsck(struct store *s, bool repair, bool quick,
        void (*report)(void *ctx, const char *what, const char *problem), void *ctx,
        struct error *err) must_check;

#endif
