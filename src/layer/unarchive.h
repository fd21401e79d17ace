/* layer/unarchive.h - tar archives, plain or compressed, as a byte stream of the tar inside. gzip
 * and zstd by codec/, bzip2 and xz by libarchive's own filters (loaded on demand, never a program).
 * Private to src/layer. */
#ifndef STRAKE_LAYER_UNARCHIVE_H
#define STRAKE_LAYER_UNARCHIVE_H

#include "codec/stream.h"

/* archive_open - the decompressed stream of `in` (owned from here on, also on failure). `head` are
 * the first bytes of the file, to tell the compression by. */
int archive_open(struct reader *in, const unsigned char *head, size_t n_head, const char *what,
        uint64_t max_bytes, struct reader **ret, struct error *err) must_check;

#endif
