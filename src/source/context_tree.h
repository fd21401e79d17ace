/* source/context_tree.h - the part of a context directory that was looked at so far.
 *
 * Nodes are made when something asks for them and stay until the context is freed, so that
 * selections can borrow their entries. Ignored files have no node; an ignored directory has one
 * only where a `!` pattern may bring back something below it. Private to src/source. */
#ifndef STRAKE_SOURCE_CONTEXT_TREE_H
#define STRAKE_SOURCE_CONTEXT_TREE_H

#include <pthread.h>

#include "source/context.h"
#include "source/stat_cache.h"

struct cnode {
	struct tree_entry e; /* path from the root; owner 0:0, as COPY has it */
	struct stat_key key;
	bool linked;  /* a file with more than one name */
	bool loaded;  /* a directory whose children are known */
	bool whole;   /* and all below them */
	bool ignored; /* a directory that is there for what `!` brings back */
	bool visible; /* after loading: not ignored, or something below is not */
	bool loose;   /* made by a look-up of its own, not by a listing */
	struct cblock *block;
};

/* The children of a directory: one allocation for nodes, one for all their names. */
struct cblock {
	struct cnode *nodes; /* in tree order */
	size_t n;
	char *strings;
	struct cnode **loose; /* looked up before the directory was listed */
	size_t n_loose, cap_loose;
};

struct source_context {
	int fd;
	char *name;
	char *path;
	const struct df_ignore *ignore;
	int cache_dirfd;
	struct stat_cache *cache; /* opened at the first digest */
	struct cnode root;
	struct arena arena; /* xattrs of the files; under arena_lock */
	pthread_mutex_t arena_lock;
	pthread_mutex_t lock; /* one selection at a time */
};

/* context_child - the node of name in dir, by a listing that is there or by one lstat; *ret is NULL
 * if there is none. Ignored ones are found too, with `ignored` set. */
int context_child(struct source_context *c, struct cnode *dir, const char *name, struct cnode **ret,
        struct error *err) must_check;
/* context_load - list dir, and if `whole` all directories below it, on the pool. */
int context_load(struct source_context *c, struct cnode *dir, bool whole, struct pool *pool,
        struct error *err) must_check;
/* context_readlink - the target of a link node goes into its entry. */
int context_readlink(struct source_context *c, struct cnode *n, struct error *err) must_check;
/* context_digests - the sha256 and the xattrs of these regular files, by the cache or by reading.
 */
int context_digests(struct source_context *c, struct cnode **nodes, size_t n, struct pool *pool,
        struct error *err) must_check;
void context_tree_release(struct source_context *c);

#endif
