/* codec/gzip.h, private to codec/: the compressing sinks behind sink_compress(). */
#ifndef STRAKE_CODEC_GZIP_H
#define STRAKE_CODEC_GZIP_H

#include "codec/stream.h"

#define CODEC_THREADS_MAX 16U

#define GZIP_SEGMENT ((size_t)64 * 1024)
/* gzip_is_noise - would deflate gain nothing on these GZIP_SEGMENT bytes? */
bool gzip_is_noise(const unsigned char *p, size_t n);

struct sink *gzip_sink_new(struct sink *next, int level, unsigned n_threads);
struct sink *zstd_sink_new(struct sink *next, int level, unsigned n_threads);

#endif
