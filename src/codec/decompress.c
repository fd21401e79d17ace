/* codec/decompress.c - gzip through ISA-L, zstd through libzstd, as hostile input.
 *
 * Invariant: output is handed out only up to max_out, and the end of the stream is reported only
 * when the last member (or frame) is complete and its checksum right. */
#include "codec/stream.h"

#include <inttypes.h>
#include <isa-l/igzip_lib.h>
#include <zstd.h>

#define IN_SIZE ((size_t)256 * 1024)
#define WINDOW_LOG_MAX 27 /* 128 MiB */
/* More members than this must hold MEMBER_AVERAGE bytes each on average. */
#define MEMBERS_FREE 65536
#define MEMBER_AVERAGE 512

struct decompressor {
	struct reader base;
	struct reader *next;
	enum compression kind;
	unsigned char *in;
	size_t pos, len; /* unread input is in[pos..len) */
	bool eof;        /* next has no more */
	bool done;       /* the stream is complete */
	uint64_t out, max_out;
	/* gzip */
	struct inflate_state *gz;
	uint64_t members;
	/* zstd */
	ZSTD_DCtx *zd;
	bool in_frame;
};

/* refill - more input behind what is left. Returns the bytes there are. */
static ssize_t refill(struct decompressor *d, struct error *err)
{
	if (d->pos == d->len)
		d->pos = d->len = 0;
	if (d->pos) {
		memmove(d->in, d->in + d->pos, d->len - d->pos);
		d->len -= d->pos;
		d->pos = 0;
	}
	if (!d->eof && d->len < IN_SIZE) {
		ssize_t n = reader_read(d->next, d->in + d->len, IN_SIZE - d->len, err);
		if (n < 0)
			return -1;
		d->eof = n == 0;
		d->len += (size_t)n;
	}
	return (ssize_t)(d->len - d->pos);
}

/* --- plain ----------------------------------------------------------------------------------- */

static ssize_t plain_read(struct decompressor *d, void *p, size_t n, struct error *err)
{
	size_t have = d->len - d->pos;
	if (have == 0)
		return d->eof ? 0 : reader_read(d->next, p, n, err);
	n = MIN(n, have);
	memcpy(p, d->in + d->pos, n);
	d->pos += n;
	return (ssize_t)n;
}

/* --- gzip ------------------------------------------------------------------------------------ */

static const char *gzip_error(int code)
{
	switch (code) {
	case ISAL_INVALID_BLOCK:
	case ISAL_INVALID_SYMBOL:
	case ISAL_INVALID_LOOKBACK:
		return "its deflate data is malformed";
	case ISAL_INCORRECT_CHECKSUM:
		return "its checksum is wrong";
	default:
		return "it is malformed";
	}
}

/* next_byte - -2: the input is at its end; -1: error. */
static int next_byte(struct decompressor *d, struct error *err)
{
	if (d->pos == d->len) {
		if (!d->eof && refill(d, err) < 0)
			return -1;
		if (d->pos == d->len)
			return -2;
	}
	return d->in[d->pos++];
}

enum { GZ_HCRC = 2, GZ_EXTRA = 4, GZ_NAME = 8, GZ_COMMENT = 16, GZ_RESERVED = 0xe0 };

static int header_cut(int c, struct error *err)
{
	return c == -1 ? -1 : err_set(err, ERR_INTEGRITY, "unexpected end of gzip stream");
}

static int skip_bytes(struct decompressor *d, size_t n, struct error *err)
{
	for (; n; n--) {
		int c = next_byte(d, err);
		if (c < 0)
			return header_cut(c, err);
	}
	return 0;
}

static int skip_text(struct decompressor *d, struct error *err)
{
	int c;
	while ((c = next_byte(d, err)) > 0)
		;
	return c < 0 ? header_cut(c, err) : 0;
}

/* gzip_header - RFC 1952, 2.3; the magic bytes are known to be there. Read here, byte by byte:
 * ISA-L 2.30 forgets the header's flags when its input ends inside the header. */
static int gzip_header(struct decompressor *d, struct error *err)
{
	int h[10];
	for (size_t i = 0; i < ARRAY_SIZE(h); i++) {
		h[i] = next_byte(d, err);
		if (h[i] < 0)
			return header_cut(h[i], err);
	}
	int flags = h[3];
	if (h[2] != 8 || (flags & GZ_RESERVED))
		return err_set(
		        err, ERR_INTEGRITY, "gzip stream is damaged: its header is malformed");
	if (flags & GZ_EXTRA) {
		int lo = next_byte(d, err), hi = lo < 0 ? lo : next_byte(d, err);
		if (hi < 0)
			return header_cut(hi, err);
		if (skip_bytes(d, (size_t)lo | (size_t)hi << 8, err) < 0)
			return -1;
	}
	if ((flags & GZ_NAME) && skip_text(d, err) < 0)
		return -1;
	if ((flags & GZ_COMMENT) && skip_text(d, err) < 0)
		return -1;
	if ((flags & GZ_HCRC) && skip_bytes(d, 2, err) < 0)
		return -1;
	isal_inflate_reset(d->gz);
	d->gz->crc_flag = ISAL_GZIP_NO_HDR_VER;
	return 1;
}

/* next_member - at a member boundary: 1 another one begins, 0 the end, -1 garbage. */
static int next_member(struct decompressor *d, struct error *err)
{
	/* Zero bytes up to the end are padding (tapes, and some writers' block sizes). */
	bool padding = false;
	for (;;) {
		while (d->pos < d->len && d->in[d->pos] == 0) {
			padding = true;
			d->pos++;
		}
		if (d->len - d->pos >= 2 || d->eof)
			break;
		if (refill(d, err) < 0)
			return -1;
	}
	if (d->pos == d->len)
		return 0;
	if (padding || d->len - d->pos < 2 || d->in[d->pos] != 0x1f || d->in[d->pos + 1] != 0x8b)
		return err_set(err, ERR_INTEGRITY, "gzip stream has garbage after its end");
	if (++d->members > MEMBERS_FREE && d->out / MEMBER_AVERAGE < d->members)
		return err_set(err, ERR_INTEGRITY,
		        "gzip stream of %" PRIu64 " members that hold next to nothing: refused",
		        d->members);
	return gzip_header(d, err);
}

static ssize_t gzip_read(struct decompressor *d, void *p, size_t n, struct error *err)
{
	struct inflate_state *gz = d->gz;
	n = MIN(n, (size_t)1 << 30); /* the library counts in 32 bits */
	for (;;) {
		if (gz->block_state == ISAL_BLOCK_FINISH) {
			int r = next_member(d, err);
			if (r <= 0)
				return r;
		}
		if (d->pos == d->len && !d->eof && refill(d, err) < 0)
			return -1;
		size_t avail = d->len - d->pos;
		gz->next_in = d->in + d->pos;
		gz->avail_in = (uint32_t)avail;
		gz->next_out = p;
		gz->avail_out = (uint32_t)n;
		int r = isal_inflate(gz);
		d->pos = d->len - gz->avail_in;
		size_t got = n - gz->avail_out;
		if (r != ISAL_DECOMP_OK && r != ISAL_END_INPUT && r != ISAL_OUT_OVERFLOW)
			return err_set(
			        err, ERR_INTEGRITY, "gzip stream is damaged: %s", gzip_error(r));
		if (got)
			return (ssize_t)got;
		if (gz->block_state != ISAL_BLOCK_FINISH && d->eof && gz->avail_in == avail)
			return err_set(err, ERR_INTEGRITY, "unexpected end of gzip stream");
	}
}

/* --- zstd ------------------------------------------------------------------------------------ */

static ssize_t zstd_read(struct decompressor *d, void *p, size_t n, struct error *err)
{
	for (;;) {
		if (d->pos == d->len && !d->eof && refill(d, err) < 0)
			return -1;
		if (d->pos == d->len && !d->in_frame)
			return 0;
		ZSTD_inBuffer in = {d->in, d->len, d->pos};
		ZSTD_outBuffer out = {p, n, 0};
		size_t r = ZSTD_decompressStream(d->zd, &out, &in);
		if (ZSTD_isError(r)) {
			err_set(err, ERR_INTEGRITY, "zstd stream is damaged: %s",
			        ZSTD_getErrorName(r));
			return -1;
		}
		bool moved = in.pos != d->pos;
		d->pos = in.pos;
		d->in_frame = r != 0;
		if (out.pos)
			return (ssize_t)out.pos;
		if (d->in_frame && d->eof && !moved)
			return err_set(err, ERR_INTEGRITY, "unexpected end of zstd stream");
	}
}

/* --- common ---------------------------------------------------------------------------------- */

static ssize_t decompress_read(struct reader *r, void *p, size_t n, struct error *err)
{
	struct decompressor *d = (struct decompressor *)r;
	ssize_t got;
	if (d->done || n == 0)
		return 0;
	switch (d->kind) {
	case COMPRESS_GZIP:
		got = gzip_read(d, p, n, err);
		break;
	case COMPRESS_ZSTD:
		got = zstd_read(d, p, n, err);
		break;
	default:
		got = plain_read(d, p, n, err);
		break;
	}
	if (got <= 0) {
		d->done = got == 0;
		return got;
	}
	d->out += (uint64_t)got;
	if (d->out > d->max_out)
		return err_set(err, ERR_INTEGRITY,
		        "unpacks to more than the %" PRIu64 " bytes allowed", d->max_out);
	return got;
}

static void decompress_free(struct reader *r)
{
	struct decompressor *d = (struct decompressor *)r;
	if (!d)
		return;
	reader_free(d->next);
	free(d->in);
	free(d->gz);
	ZSTD_freeDCtx(d->zd);
	free(d);
}

static void decompressor_freep(struct decompressor **d)
{
	decompress_free((struct reader *)*d);
}

static enum compression detect(const unsigned char *p, size_t n)
{
	if (n >= 2 && p[0] == 0x1f && p[1] == 0x8b)
		return COMPRESS_GZIP;
	if (n >= 4 && memcmp(p, "\x28\xb5\x2f\xfd", 4) == 0)
		return COMPRESS_ZSTD;
	if (n >= 4 && (p[0] & 0xf0) == 0x50 && memcmp(p + 1, "\x2a\x4d\x18", 3) == 0)
		return COMPRESS_ZSTD; /* a skippable frame first, as pzstd writes */
	return COMPRESS_NONE;
}

int reader_decompress(struct reader *next, uint64_t max_out, enum compression *ret_kind,
        struct reader **ret, struct error *err)
{
	_cleanup_(decompressor_freep) struct decompressor *d = new0(struct decompressor, 1);
	d->base = (struct reader){decompress_read, decompress_free};
	d->next = next;
	d->max_out = max_out;
	d->in = xmalloc(IN_SIZE);
	while (d->len < 4 && !d->eof)
		if (refill(d, err) < 0)
			return -1;
	d->kind = detect(d->in, d->len);
	if (d->kind == COMPRESS_GZIP) {
		d->gz = xzalloc(sizeof(*d->gz));
		isal_inflate_init(d->gz);
		d->gz->block_state = ISAL_BLOCK_FINISH; /* the first read opens the first member */
	} else if (d->kind == COMPRESS_ZSTD) {
		d->zd = ZSTD_createDCtx();
		if (!d->zd)
			abort();
		ZSTD_DCtx_setParameter(d->zd, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
	}
	if (ret_kind)
		*ret_kind = d->kind;
	*ret = &take_ptr(d)->base;
	return 0;
}
