/* tar/reader.h - reads ustar, pax, GNU tar and v7 archives as hostile input.
 *
 * Limits: pax header 1 MiB, names 64 KiB, sparse maps 1M pieces. Negative or overflowing numbers, a
 * pax size that contradicts the header, anything but a file with a body, names on which pax and GNU
 * headers disagree, keys given twice with different values, entries behind a zero block: whatever
 * tar readers are known to read differently is ERR_INTEGRITY. Memory is bounded whatever comes.
 * Understood: GNU long names and links, base-256 numbers, volume labels, sparse files (old GNU, pax
 * 0.0, 0.1, 1.0), xattrs (SCHILY.xattr.*, LIBARCHIVE.xattr.*), global pax headers (times and
 * owners). Source: POSIX.1-2017 pax, GNU tar manual "Tar Internals". */
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
 * without "." and empty components and trailing "/" ("" or "/": the root directory); it may still
 * be hostile ("..", absolute), and so may the target of a TREE_HARDLINK, which is cleaned the same
 * way: the caller decides (layer/apply refuses or clamps). type is never TREE_WHITEOUT: names are
 * left as they are. Xattrs are sorted by name, each once. Unread content of the previous entry is
 * skipped. At the end, input behind the archive is left unread in `in` but for what was buffered: a
 * caller that hashes `in` drains it. After an error, only free. */
int tar_reader_next(struct tar_reader *r, struct tree_entry *ret, struct error *err) must_check;
/* tar_reader_read - content of the current entry (sparse files expanded): 1..n bytes, 0 at its end.
 */
ssize_t tar_reader_read(struct tar_reader *r, void *p, size_t n, struct error *err) must_check;

#endif
