/* codec/zstd.c - zstd through the library's own worker threads: docs/formats/gzip.md.
 *
 * Invariant: the bytes depend on the input and the level alone. With at least one worker zstd cuts
 * the input into jobs of a fixed size, whatever the number of workers and of writes; without a
 * worker it would write other bytes. Hence always a worker, and the job size is set by us. */
#include "codec/gzip.h"

#include <zstd.h>

#define JOB_SIZE (4 * 1024 * 1024)

struct zstd_sink {
	struct sink base;
	struct sink *next;
	ZSTD_CCtx *c;
	bool usable; /* all parameters were taken */
	unsigned char *out;
	size_t out_size;
};

static int zstd_push(
        struct zstd_sink *z, const void *p, size_t n, ZSTD_EndDirective how, struct error *err)
{
	ZSTD_inBuffer in = {p, n, 0};
	if (!z->usable)
		return err_set(err, ERR_SYSTEM,
		        "this libzstd has no support for threads; zstd output needs it");
	for (;;) {
		ZSTD_outBuffer out = {z->out, z->out_size, 0};
		size_t left = ZSTD_compressStream2(z->c, &out, &in, how);
		if (ZSTD_isError(left))
			return err_set(err, ERR_INTERNAL, "zstd: %s", ZSTD_getErrorName(left));
		if (out.pos && sink_write(z->next, z->out, out.pos, err) < 0)
			return -1;
		if (how == ZSTD_e_end ? left == 0 : in.pos == in.size)
			return 0;
	}
}

static int zstd_write(struct sink *s, const void *p, size_t n, struct error *err)
{
	return n ? zstd_push((struct zstd_sink *)s, p, n, ZSTD_e_continue, err) : 0;
}

static int zstd_finish(struct sink *s, struct error *err)
{
	struct zstd_sink *z = (struct zstd_sink *)s;
	if (zstd_push(z, NULL, 0, ZSTD_e_end, err) < 0)
		return -1;
	return sink_finish(z->next, err);
}

static void zstd_free(struct sink *s)
{
	struct zstd_sink *z = (struct zstd_sink *)s;
	ZSTD_freeCCtx(z->c);
	free(z->out);
	sink_free(z->next);
	free(z);
}

struct sink *zstd_sink_new(struct sink *next, int level, unsigned n_threads)
{
	struct zstd_sink *z = new0(struct zstd_sink, 1);
	z->base = (struct sink){zstd_write, zstd_finish, zstd_free};
	z->next = next;
	z->c = ZSTD_createCCtx();
	if (!z->c)
		abort();
	z->out_size = ZSTD_CStreamOutSize();
	z->out = xmalloc(z->out_size);
	int workers = (int)MIN(MAX(n_threads, 1U), CODEC_THREADS_MAX);
	const struct {
		ZSTD_cParameter p;
		int v;
	} set[] = {
	        {ZSTD_c_compressionLevel, level < 0 ? 3 : MIN(level, 19)},
	        {ZSTD_c_nbWorkers, workers},
	        {ZSTD_c_jobSize, JOB_SIZE},
	        {ZSTD_c_checksumFlag, 1},
	};
	z->usable = true;
	for (size_t i = 0; i < ARRAY_SIZE(set); i++)
		z->usable &= !ZSTD_isError(ZSTD_CCtx_setParameter(z->c, set[i].p, set[i].v));
	return &z->base;
}

const char *compression_name(enum compression c)
{
	static const char *const names[] = {"none", "gzip", "zstd"};
	return names[c];
}

struct sink *sink_compress(struct sink *next, enum compression c, int level, unsigned n_threads)
{
	switch (c) {
	case COMPRESS_GZIP:
		return gzip_sink_new(next, level, n_threads);
	case COMPRESS_ZSTD:
		return zstd_sink_new(next, level, n_threads);
	case COMPRESS_NONE:
		break;
	}
	return next;
}
