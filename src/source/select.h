/* source/select.h - the selection rules of COPY sources, over a context or over merged layers.
 * Private to src/source. */
#ifndef STRAKE_SOURCE_SELECT_H
#define STRAKE_SOURCE_SELECT_H

#include "source/context.h"

/* One thing that a source has. */
struct select_hit {
	const struct tree_entry *e;
	const struct tree_entry *body; /* where the content is: e, or what a hard link leads to */
	void *node;                    /* the source's own */
	int dirfd;                     /* holds the bytes, at body->path */
	uint64_t group[2];             /* equal for names of one file; zeros: it has no other */
};

struct select_fs {
	const char *what; /* "build context", for errors */
	bool immutable;
	/* find - a cleaned path, links followed as in a root of its own (or none followed). 1
	 * found; 0 missing, with *ret_line the line of the ignore file that hides it, or 0. */
	int (*find)(struct select_fs *fs, const char *path, bool follow, struct select_hit *ret,
	        int *ret_line, struct error *err);
	/* list - what is visible below the directory, in tree order, until fn returns non-zero. */
	int (*list)(struct select_fs *fs, const struct select_hit *dir, bool recursive,
	        int (*fn)(void *ctx, const struct select_hit *hit), void *ctx, struct error *err);
	/* digests - make e->sha256 of these regular files known. */
	int (*digests)(struct select_fs *fs, const struct select_hit *const *hits, size_t n,
	        struct error *err);
	const struct df_ignore *ignore; /* for messages; may be NULL */
};

int select_run(struct select_fs *fs, const struct source_select *what, struct source_selection *ret,
        struct error *err) must_check;

#endif
