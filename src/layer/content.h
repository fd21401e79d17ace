/* layer/content.h - the bytes of one regular file: copied and hashed in one pass, or hard-linked
 * where the source can never change. Thread-safe: works on descriptors and its arguments alone.
 * Private to src/layer. */
#ifndef STRAKE_LAYER_CONTENT_H
#define STRAKE_LAYER_CONTENT_H

#include "layer/upper.h"

struct content_source {
	int dirfd;        /* -1: data */
	const char *path; /* below dirfd; no links are followed */
	const void *data;
	const char *shown;          /* for errors */
	const struct tree_entry *e; /* what the source is said to be */
	bool stored;                /* in a layer of the store: nobody writes to it */
	bool may_link;              /* and the copy may share its inode */
};

/* content_place - make name in dirfd from src with the metadata of d; d's size and digest are set.
 * ERR_INTEGRITY "changed while being read" (or "damaged in the store") if size or digest are not
 * those of src->e. */
int content_place(const struct upper_ids *ids, const struct content_source *src, int dirfd,
        const char *name, struct tree_entry *d, struct error *err) must_check;

/* content_write - all of p at the file's position; blocks of zeros become holes (*hole is set: the
 * caller ends with ftruncate). -1 with errno. */
int content_write(int fd, const void *p, size_t n, bool *hole) must_check;

#endif
