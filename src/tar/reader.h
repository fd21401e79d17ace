/* tar/reader.h - reads ustar, pax and GNU tar as hostile input.
 *
 * Limits: pax header 1 MiB, path 4096 + components checked by the caller, sparse maps 1M entries;
 * negative or overflowing numbers, size mismatches, a link with a body, duplicate pax keys with
 * different values, and anything ambiguous between tar readers are ERR_INTEGRITY. Memory is
 * bounded whatever comes. Source: POSIX.1-2017 pax, GNU tar manual "Tar Internals". */
#ifndef STRAKE_TAR_READER_H
#define STRAKE_TAR_READER_H

#include "codec/stream.h"
#include "tree/tree.h"

struct tar_reader;

/* tar_reader_new - borrows in. `what` names the archive in errors. */
struct tar_reader *tar_reader_new(struct reader *in, const char *what);
void tar_reader_free(struct tar_reader *r);
static inline void tar_reader_freep(struct tar_reader **r)
{
	tar_reader_free(*r);
}

/* tar_reader_next - 1: *ret filled (valid until the next call); 0: end. ret->path is the raw name
 * cleaned of leading "./" and trailing "/"; it may still be hostile ("..", absolute): the caller
 * decides (layer/apply refuses or clamps). type is never TREE_WHITEOUT: names are left as they are.
 * Unread content of the previous entry is skipped. */
int tar_reader_next(struct tar_reader *r, struct tree_entry *ret, struct error *err) must_check;
/* tar_reader_read - content of the current entry (sparse files expanded). */
ssize_t tar_reader_read(struct tar_reader *r, void *p, size_t n, struct error *err) must_check;

#endif
