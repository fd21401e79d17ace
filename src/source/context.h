/* source/context.h - inputs of COPY and ADD: local directories with ignore rules and stat cache.
 *
 * A context is a directory descriptor; nothing of it is read until something asks. The walk is
 * parallel; lstat only, and only what a COPY names. File digests come from the stat cache (keyed by
 * device, inode, size, mtime_ns, ctime_ns; a file whose times are not safely older than the moment
 * it was hashed is "racy" and hashed again next time, as git does) or are computed on the pool. An
 * ignored file is never opened. See docs/formats/stat-cache.md. */
#ifndef STRAKE_SOURCE_CONTEXT_H
#define STRAKE_SOURCE_CONTEXT_H

#include "base/pool.h"
#include "base/strv.h"
#include "dockerfile/ignore.h"
#include "layer/layer.h"
#include "tree/view.h"

struct source_context;

struct source_context_options {
	const char *name;               /* for errors: "context", or the named context */
	const struct df_ignore *ignore; /* NULL: none; borrowed */
	int cache_dirfd;                /* where stat cache files live; -1: no cache */
};
/* source_context_open - path is trusted (command line). */
int source_context_open(const char *path, const struct source_context_options *opt,
        struct source_context **ret, struct error *err) must_check;
void source_context_free(struct source_context *c); /* writes the stat cache back if it changed */
int source_context_fd(const struct source_context *c);

/* What to take: the selection rules of COPY sources (SEMANTICS 30-34, 46, 80). */
struct source_select {
	const struct strv *patterns; /* expanded source words */
	const struct strv *excludes; /* --exclude; may be NULL */
	bool parents;                /* --parents */
	bool is_add;                 /* ADD: archives are detected by content */
	int unpack;                  /* -1 default, 0 no, 1 yes */
	bool want_digests;           /* compute e->sha256 of regular files now; without, no key */
};
/* The result: items for layer_copy, and the content key (SEMANTICS 70, 71). Items borrow from the
 * selection and from the context/view. */
struct source_selection {
	struct arena arena;
	struct copy_item *items;
	size_t n_items;
	bool dest_is_dir;  /* several sources */
	struct digest key; /* over what is selected: names as they will land, entry hashes */
	uint64_t total_bytes, total_files;
};
void source_selection_release(struct source_selection *s);
/* source_selection_files - every selected file with its path in the context or view, for explain.
 * Made only when asked for: it is as large as the selection. */
void source_selection_files(const struct source_selection *s, struct tree *ret);

/* A missing literal is ERR_BUILD naming the path and, if one hid it, the ignore file's line. A
 * wildcard that matches nothing is success, with 0 items (SEMANTICS 33). A directory that the
 * ignore file hides wholly is an empty directory (81). Entries belong to 0:0. Thread-safe. */
int source_context_select(struct source_context *c, const struct source_select *what,
        struct pool *pool, struct source_selection *ret, struct error *err) must_check;
/* source_view_select - the same over the merged layers of a stage or image; fds: the layers'
 * directories. Digests come from the manifests: no bytes are read. Owners are the stage's. */
int source_view_select(const struct treeview *v, const int *fds, const struct source_select *what,
        struct source_selection *ret, struct error *err) must_check;

#endif
