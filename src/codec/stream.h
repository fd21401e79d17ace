/* codec/stream.h - byte streams: sinks are pushed into, readers are pulled from.
 *
 * Both are small vtables; a chain such as tar -> sha256 -> gzip -> sha256 -> file is built by
 * giving each sink the next one. Nothing here buffers without a bound. */
#ifndef STRAKE_CODEC_STREAM_H
#define STRAKE_CODEC_STREAM_H

#include "base/error.h"
#include "base/strbuf.h"
#include "codec/sha256.h"

/* --- sinks ------------------------------------------------------------------------------- */

struct sink {
	/* write - all n bytes or an error. */
	int (*write)(struct sink *s, const void *p, size_t n, struct error *err);
	/* finish - flush; passes finish() on to the next sink. Call once; nothing follows. */
	int (*finish)(struct sink *s, struct error *err);
	/* free - release this sink and (if it owns it) the next; safe after an error. */
	void (*free)(struct sink *s);
};

static inline int must_check sink_write(struct sink *s, const void *p, size_t n, struct error *err)
{
	return s->write(s, p, n, err);
}
static inline int must_check sink_finish(struct sink *s, struct error *err)
{
	return s->finish(s, err);
}
void sink_free(struct sink *s); /* NULL is fine; frees the whole owned chain */
static inline void sink_freep(struct sink **s)
{
	sink_free(*s);
}
#define _cleanup_sink_ _cleanup_(sink_freep)

/* All constructors below own `next` (freed with the sink) unless it is NULL where allowed. */

/* sink_fd - writes to fd (not owned), handling short writes. `what` names it in errors. */
struct sink *sink_fd(int fd, const char *what);
/* sink_file - the same for a file that may be large (base/large_file.h). Some of it may be written
 * by finish() only. */
struct sink *sink_file(int fd, const char *what);
/* sink_null - discards. */
struct sink *sink_null(void);
/* sink_hash - hashes and counts what passes; results are stored at finish(). next may be NULL. */
struct sink *sink_hash(struct sink *next, struct digest *ret_digest, uint64_t *ret_size);
/* sink_strbuf - appends to sb (not owned); more than max bytes in all is ERR_INTEGRITY. */
struct sink *sink_strbuf(struct strbuf *sb, size_t max, const char *what);
/* sink_behind - a thread of its own writes to next, at most `size` bytes behind; its errors come
 * with a later write, or with finish(), which waits for all of it. */
struct sink *sink_behind(struct sink *next, size_t size);
/* sink_tee - writes to both. */
struct sink *sink_tee(struct sink *a, struct sink *b);

enum compression { COMPRESS_NONE, COMPRESS_GZIP, COMPRESS_ZSTD };
const char *compression_name(enum compression c);
/* sink_compress - level < 0 means the default (gzip 6, zstd 3). gzip output is a sequence of
 * independent members of 1 MiB input each, zstd one frame of 4 MiB jobs (docs/formats/gzip.md),
 * compressed by up to n_threads threads (at most 16); the bytes depend neither on n_threads nor on
 * how the input is cut into writes. COMPRESS_NONE returns next itself. */
struct sink *sink_compress(struct sink *next, enum compression c, int level, unsigned n_threads);

/* --- readers ----------------------------------------------------------------------------- */

struct reader {
	/* read - 1..n bytes, 0 at end, -1 on error. */
	ssize_t (*read)(struct reader *r, void *p, size_t n, struct error *err);
	void (*free)(struct reader *r);
};

static inline ssize_t must_check reader_read(struct reader *r, void *p, size_t n, struct error *err)
{
	return r->read(r, p, n, err);
}
/* reader_file - reads fd (not owned) through once (base/large_file.h). */
struct reader *reader_file(int fd, const char *what);
void reader_free(struct reader *r); /* NULL is fine; frees the owned chain */
static inline void reader_freep(struct reader **r)
{
	reader_free(*r);
}
#define _cleanup_reader_ _cleanup_(reader_freep)
/* reader_read_full - exactly n bytes; ERR_INTEGRITY "unexpected end of <what>" otherwise. */
int reader_read_full(
        struct reader *r, void *p, size_t n, const char *what, struct error *err) must_check;

struct reader *reader_fd(int fd, const char *what); /* fd not owned */
struct reader *reader_mem(const void *p, size_t n); /* memory not owned */
/* reader_hash - hashes what passes; after end of stream ret_digest and ret_size are set. Owns next.
 */
struct reader *reader_hash(struct reader *next, struct digest *ret_digest, uint64_t *ret_size);
/* reader_limit - error (ERR_INTEGRITY, naming what) once more than max bytes come. Owns next. */
struct reader *reader_limit(struct reader *next, uint64_t max, const char *what);
/* reader_decompress - decides by magic bytes: gzip (many members, checksums verified), zstd (many
 * frames, window capped at 128 MiB), else passes through. A cut or damaged stream, garbage behind
 * the last member (zero padding is fine), more than max_out bytes out, or a flood of tiny gzip
 * members (over 65,536 of less than 512 bytes on average) is ERR_INTEGRITY. There is no cap on the
 * ratio: a zero-filled file compresses 1:30000 with zstd and is nobody's attack. Owns next, also
 * when it fails. ret_kind may be NULL. */
int reader_decompress(struct reader *next, uint64_t max_out, enum compression *ret_kind,
        struct reader **ret, struct error *err) must_check;
/* stream_pipe - what one thread writes into the sink another reads, with at most `size` bytes
 * between them. A sink that is freed without finish() is an error for the reader; after the reader
 * is freed, writes are dropped. */
void stream_pipe(size_t size, struct sink **ret_in, struct reader **ret_out);
/* reader_ahead - a thread of its own reads next, at most `size` bytes ahead. Owns next. What next
 * stores at its end (reader_hash) is there when this reader has come to its own. */
struct reader *reader_ahead(struct reader *next, size_t size);
/* stream_copy - everything from r into s (no finish). */
int stream_copy(struct reader *r, struct sink *s, struct error *err) must_check;

#endif
