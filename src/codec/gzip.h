/* codec/gzip.h, private to codec/: the compressing sinks behind sink_compress(). */
#ifndef STRAKE_CODEC_GZIP_H
#define STRAKE_CODEC_GZIP_H

#include "codec/stream.h"

#define CODEC_THREADS_MAX 16U

struct sink *gzip_sink_new(struct sink *next, int level, unsigned n_threads);
struct sink *zstd_sink_new(struct sink *next, int level, unsigned n_threads);

#endif
