/* Compression both ways: the bytes do not depend on threads or on write sizes; damage, bombs and
 * cuts are errors (RELIABILITY T8, T11). */
#include "codec/stream.h"
#include "../tap.h"

#include <libdeflate.h>

#define MIB ((size_t)1024 * 1024)
#define MAX_OUT ((uint64_t)1 << 40)

/* Text-like and reproducible: words from a xorshift generator. */
static unsigned char *sample(size_t n)
{
	static const char *const words[] = {"layer ", "tree ", "blob\n", "digest ", "0123456789 "};
	unsigned char *p = xmalloc(n + 16);
	uint32_t x = 2463534242U;
	for (size_t i = 0; i < n;) {
		x ^= x << 13, x ^= x >> 17, x ^= x << 5;
		const char *w = words[x % 5];
		i += (size_t)(stpcpy((char *)p + i, w) - ((char *)p + i));
		p[i++] = (unsigned char)(x >> 24);
	}
	return p;
}

static void compress(const unsigned char *p, size_t n, enum compression c, int level,
        unsigned threads, size_t step, struct strbuf *out)
{
	_cleanup_error_ struct error err = ERROR_INIT;
	_cleanup_sink_ struct sink *s =
	        sink_compress(sink_strbuf(out, SIZE_MAX, "out"), c, level, threads);
	for (size_t i = 0; i < n; i += step)
		if (sink_write(s, p + i, MIN(step, n - i), &err) < 0)
			abort();
	if (sink_finish(s, &err) < 0)
		abort();
}

/* A reader that gives at most `step` bytes at a time. */
struct slow_reader {
	struct reader base;
	const char *p;
	size_t n, step;
};
static ssize_t slow_read(struct reader *r, void *p, size_t n, struct error *err)
{
	struct slow_reader *s = (struct slow_reader *)r;
	n = MIN(MIN(n, s->n), s->step);
	memcpy(p, s->p, n);
	s->p += n;
	s->n -= n;
	return (ssize_t)n;
}
static void slow_free(struct reader *r)
{
	free(r);
}
static struct reader *slow(const void *p, size_t n, size_t step)
{
	struct slow_reader *s = new0(struct slow_reader, 1);
	s->base = (struct reader){slow_read, slow_free};
	s->p = p;
	s->n = n;
	s->step = step;
	return &s->base;
}

static int decompress(const void *p, size_t n, size_t in_step, size_t out_step, uint64_t max,
        struct strbuf *out, struct error *err)
{
	_cleanup_reader_ struct reader *r = NULL;
	_cleanup_free_ char *buf = xmalloc(out_step);
	ssize_t got;
	if (reader_decompress(slow(p, n, in_step), max, NULL, &r, err) < 0)
		return -1;
	while ((got = reader_read(r, buf, out_step, err)) > 0)
		strbuf_add(out, buf, (size_t)got);
	return (int)got;
}

static bool same(const struct strbuf *a, const struct strbuf *b)
{
	return a->len == b->len && memcmp(a->buf, b->buf, a->len) == 0;
}

static void deterministic(enum compression c, const unsigned char *p, size_t n)
{
	_cleanup_strbuf_ struct strbuf one = STRBUF_INIT;
	static const unsigned threads[] = {0, 2, 3, 5, 16};
	static const size_t steps[] = {4097, 64 * MIB, 300000};
	char what[80];
	compress(p, n, c, -1, 1, MIB, &one);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		_cleanup_strbuf_ struct strbuf other = STRBUF_INIT, back = STRBUF_INIT;
		_cleanup_error_ struct error err = ERROR_INIT;
		compress(p, n, c, -1, threads[i], steps[i % ARRAY_SIZE(steps)], &other);
		snprintf(what, sizeof(what), "%s of %zu bytes: %u threads give the bytes of one",
		        compression_name(c), n, threads[i]);
		ok(same(&one, &other), what);
		if (i)
			continue;
		ok(decompress(one.buf, one.len, SIZE_MAX, 100000, n, &back, &err) == 0 &&
		                back.len == n && memcmp(back.buf, p, n) == 0,
		        "and they come back");
	}
}

/* Each member holds 1 MiB, by another implementation's reading. */
static void members(const unsigned char *p)
{
	_cleanup_strbuf_ struct strbuf z = STRBUF_INIT;
	size_t n = 2 * MIB + 5, at = 0, done = 0, count = 0;
	static const size_t want[] = {MIB, MIB, 5};
	_cleanup_free_ unsigned char *out = xmalloc(MIB);
	compress(p, n, COMPRESS_GZIP, -1, 2, 12345, &z);
	struct libdeflate_decompressor *d = libdeflate_alloc_decompressor();
	while (at < z.len && count < 4) {
		size_t in, got;
		if (libdeflate_gzip_decompress_ex(d, z.buf + at, z.len - at, out, MIB, &in, &got) !=
		        LIBDEFLATE_SUCCESS)
			break;
		ok(count < 3 && got == want[count] && memcmp(out, p + done, got) == 0, "a member");
		at += in;
		done += got;
		count++;
	}
	is_int(count, 3, "three members");
	is_int(at, z.len, "and nothing else");
	libdeflate_free_decompressor(d);
	static const unsigned char head[10] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff};
	ok(memcmp(z.buf, head, 10) == 0, "no name, no time, no operating system in the header");
}

static void fill_random(unsigned char *p, size_t n)
{
	uint64_t x = 88172645463325252u;
	for (size_t i = 0; i < n; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[i] = (unsigned char)(x >> 32);
	}
}

/* What cannot be compressed is stored, in members of its own; what only looks like it is not. */
static void noise(void)
{
	_cleanup_strbuf_ struct strbuf z = STRBUF_INIT, back = STRBUF_INIT, y = STRBUF_INIT;
	_cleanup_error_ struct error err = ERROR_INIT;
	_cleanup_free_ unsigned char *p = xzalloc(MIB);
	fill_random(p + 128 * 1024, 256 * 1024);
	compress(p, MIB, COMPRESS_GZIP, -1, 1, MIB, &z);
	size_t members = 0;
	for (size_t i = 0; i + 10 <= z.len; i++)
		members += memcmp(z.buf + i, "\x1f\x8b\x08\0\0\0\0\0", 8) == 0;
	is_int(members, 3, "zeros, noise, zeros");
	ok(z.len > 256 * 1024 && z.len < 256 * 1024 + 2000, "the noise is stored as it is");
	ok(memmem(z.buf, z.len, p + 128 * 1024, 60000) != NULL, "byte for byte");
	ok(decompress(z.buf, z.len, SIZE_MAX, 1000, MIB, &back, &err) == 0 && back.len == MIB &&
	                memcmp(back.buf, p, MIB) == 0,
	        "and comes back");
	for (size_t i = 8192; i < MIB; i++)
		p[i] = p[128 * 1024 + i % 8192];
	for (size_t i = 0; i < 8192; i++)
		p[i] = p[8192 + i];
	compress(p, MIB, COMPRESS_GZIP, -1, 1, MIB, &y);
	ok(y.len < 100 * 1024, "even byte counts that repeat are no noise");
}

static void empty(enum compression c)
{
	_cleanup_strbuf_ struct strbuf z = STRBUF_INIT, back = STRBUF_INIT;
	_cleanup_error_ struct error err = ERROR_INIT;
	compress(NULL, 0, c, -1, 2, 1, &z);
	ok(z.len > 0, "nothing compresses to something");
	ok(decompress(z.buf, z.len, 1, 10, 0, &back, &err) == 0 && back.len == 0, "and back");
}

static void small_steps(enum compression c, const unsigned char *p)
{
	_cleanup_strbuf_ struct strbuf z = STRBUF_INIT;
	/* Several members (frames), so that each boundary meets each buffer edge. */
	for (int i = 0; i < 5; i++)
		compress(p + 100 * i, 1000, c, i, 1, 1000, &z);
	size_t bad = 0;
	for (size_t in = 1; in <= 40; in++)
		for (size_t out = 1; out <= 64; out += 7) {
			_cleanup_strbuf_ struct strbuf back = STRBUF_INIT;
			_cleanup_error_ struct error err = ERROR_INIT;
			int r = decompress(z.buf, z.len, in, out, 5000, &back, &err);
			bool good = r == 0 && back.len == 5000;
			for (int i = 0; good && i < 5; i++)
				good = memcmp(back.buf + 1000 * i, p + 100 * i, 1000) == 0;
			bad += !good;
		}
	is_int(bad, 0, "any cutting of input and output gives the same");
}

static void damage(enum compression c, const unsigned char *p)
{
	_cleanup_strbuf_ struct strbuf z = STRBUF_INIT;
	compress(p, 700, c, -1, 1, 700, &z);
	size_t one = z.len;
	compress(p + 700, 300, c, -1, 1, 700, &z);
	size_t accepted = 0, wrong = 0;
	for (size_t n = 0; n < z.len; n++) {
		_cleanup_strbuf_ struct strbuf back = STRBUF_INIT;
		_cleanup_error_ struct error err = ERROR_INIT;
		/* Under 4 bytes it is not recognised and passes as it is. */
		if (n != one && n >= 4)
			accepted += decompress(z.buf, n, SIZE_MAX, 999, 1000, &back, &err) == 0;
	}
	is_int(accepted, 0, "every cut is noticed");
	for (size_t i = 4; i < z.len; i++)
		for (unsigned bit = 0; bit < 8; bit++) {
			_cleanup_strbuf_ struct strbuf back = STRBUF_INIT;
			_cleanup_error_ struct error err = ERROR_INIT;
			z.buf[i] = (char)(z.buf[i] ^ (1 << bit));
			int r = decompress(z.buf, z.len, SIZE_MAX, 999, 1 << 20, &back, &err);
			wrong += r == 0 && (back.len != 1000 || memcmp(back.buf, p, 1000) != 0);
			z.buf[i] = (char)(z.buf[i] ^ (1 << bit));
		}
	is_int(wrong, 0, "no flipped bit gives other bytes");
	_cleanup_strbuf_ struct strbuf back = STRBUF_INIT;
	_cleanup_error_ struct error err = ERROR_INIT;
	ok(decompress(z.buf, z.len, SIZE_MAX, 999, 999, &back, &err) < 0 &&
	                err.class == ERR_INTEGRITY && strstr(err.msg, "more than the 999 bytes"),
	        "the byte cap");
	error_release(&err);
	strbuf_addstr(&z, "garbage");
	ok(decompress(z.buf, z.len, SIZE_MAX, 999, 9999, &back, &err) < 0, "garbage at the end");
}

static void bombs(void)
{
	_cleanup_strbuf_ struct strbuf one = STRBUF_INIT, many = STRBUF_INIT, back = STRBUF_INIT;
	_cleanup_error_ struct error err = ERROR_INIT;
	compress(NULL, 0, COMPRESS_GZIP, -1, 1, 1, &one);
	for (int i = 0; i < 70000; i++)
		strbuf_add(&many, one.buf, one.len);
	ok(decompress(many.buf, many.len, SIZE_MAX, 4096, MAX_OUT, &back, &err) < 0 &&
	                strstr(err.msg, "65537 members"),
	        "a flood of empty members");

	_cleanup_free_ unsigned char *zeros = xcalloc(1, 64 * MIB);
	_cleanup_strbuf_ struct strbuf z = STRBUF_INIT;
	compress(zeros, 64 * MIB, COMPRESS_GZIP, -1, 2, MIB, &z);
	ok(z.len < 100000, "zeros compress well");
	error_release(&err);
	strbuf_reset(&back);
	ok(decompress(z.buf, z.len, SIZE_MAX, MIB, MIB, &back, &err) < 0 && back.len <= MIB,
	        "and stop at the cap");

	/* Frame header: no content size, no single segment; window 2^28. */
	static const unsigned char wide[] = {0x28, 0xb5, 0x2f, 0xfd, 0x00, 18 << 3, 1, 0, 0};
	error_release(&err);
	ok(decompress(wide, sizeof(wide), SIZE_MAX, 10, MAX_OUT, &back, &err) < 0 &&
	                strstr(err.msg, "too much memory"),
	        "a zstd window over 128 MiB");
	unsigned char fits[sizeof(wide)];
	memcpy(fits, wide, sizeof(wide));
	fits[5] = 17 << 3;
	error_release(&err);
	ok(decompress(fits, sizeof(fits), SIZE_MAX, 10, MAX_OUT, &back, &err) == 0,
	        "128 MiB is fine");
}

static void framing(const unsigned char *p)
{
	_cleanup_strbuf_ struct strbuf z = STRBUF_INIT, back = STRBUF_INIT;
	_cleanup_error_ struct error err = ERROR_INIT;
	compress(p, 10, COMPRESS_GZIP, -1, 1, 10, &z);
	static const char zeros[600];
	strbuf_add(&z, zeros, sizeof(zeros));
	ok(decompress(z.buf, z.len, 7, 999, 100, &back, &err) == 0 && back.len == 10,
	        "zero padding after gzip is ignored");
	strbuf_addch(&z, 'x');
	ok(decompress(z.buf, z.len, 7, 999, 100, &back, &err) < 0, "but nothing behind it");

	_cleanup_strbuf_ struct strbuf skip = STRBUF_INIT;
	strbuf_add(&skip, "\x53\x2a\x4d\x18\x03\0\0\0abc", 11);
	compress(p, 10, COMPRESS_ZSTD, -1, 1, 10, &skip);
	strbuf_reset(&back);
	error_release(&err);
	ok(decompress(skip.buf, skip.len, 1, 999, 100, &back, &err) == 0 && back.len == 10,
	        "a skippable zstd frame first");

	_cleanup_reader_ struct reader *r = NULL;
	enum compression kind = COMPRESS_ZSTD;
	char buf[10];
	error_release(&err);
	ok(reader_decompress(reader_mem("ab", 2), 2, &kind, &r, &err) == 0 && kind == COMPRESS_NONE,
	        "two bytes are plain");
	ok(reader_read(r, buf, 10, &err) == 2 && reader_read(r, buf, 10, &err) == 0, "and pass");
	/* FNAME, FEXTRA and FCOMMENT, as gzip(1) and pigz write them: "x" stored. */
	static const unsigned char named[] = {0x1f, 0x8b, 8, 0x1c, 1, 2, 3, 4, 2, 3, 2, 0, 'e', 'e',
	        'f', 0, 'c', 0, 1, 1, 0, 0xfe, 0xff, 'x', 0x83, 0x16, 0xdc, 0x8c, 1, 0, 0, 0};
	for (size_t step = 1; step <= sizeof(named); step++) {
		_cleanup_strbuf_ struct strbuf two = STRBUF_INIT, out = STRBUF_INIT;
		strbuf_add(&two, named, sizeof(named));
		strbuf_add(&two, named, sizeof(named));
		ok(decompress(two.buf, two.len, step, 1, 100, &out, &err) == 0 &&
		                str_eq(out.buf, "xx"),
		        "header fields of other writers, however they are cut");
	}
}

int main(void)
{
	_cleanup_free_ unsigned char *p = sample(12 * MIB);
	static const size_t sizes[] = {1, MIB - 1, MIB, MIB + 1, 9 * MIB + 77};
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		deterministic(COMPRESS_GZIP, p, sizes[i]);
		deterministic(COMPRESS_ZSTD, p, sizes[i]);
	}
	noise();
	members(p);
	empty(COMPRESS_GZIP);
	empty(COMPRESS_ZSTD);
	small_steps(COMPRESS_GZIP, p);
	small_steps(COMPRESS_ZSTD, p);
	damage(COMPRESS_GZIP, p);
	damage(COMPRESS_ZSTD, p);
	bombs();
	framing(p);
	return tap_done();
}
