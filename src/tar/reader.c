/* tar/reader.c - reads an archive entry by entry. See reader.h for the limits.
 *
 * Invariants: memory is the input buffer, one pax header, two long names and one sparse map,
 * whatever comes; an entry's bytes are those that every careful reader would see, or an error:
 * where readers are known to disagree (on sizes, names, order of extension headers), this one
 * refuses. */
#include "tar/reader.h"

#include <inttypes.h>

#include "base/human.h"
#include "base/strbuf.h"
#include "tar/format.h"
#include "tar/parse.h"

#define BUF_SIZE ((size_t)256 * 1024)
#define GNU_SPARSE_OFFSET 386 /* old GNU sparse header: 4 pieces, "more follows", real size */

struct tar_reader {
	struct reader *in;
	char *what;
	unsigned char *buf;
	size_t pos, len; /* unread input is buf[pos..len) */
	bool eof;
	bool ended; /* end of archive seen, or an error: nothing more comes */

	/* Of the current entry's body: bytes stored in the archive, not read yet. */
	uint64_t stored_left;
	size_t padding;
	/* Its content as a file. */
	bool is_file, is_sparse;
	uint64_t real_size, offset;
	const struct tar_sparse *map;
	size_t piece;

	/* Extension headers before the current entry. */
	struct tar_pax pax, global_pax;
	bool have_pax, have_name, have_link;
	struct strbuf long_name, long_link;
	struct tar_sparse gnu_map;
	/* What global pax headers said so far: bits and values of the numeric fields. */
	struct tar_pax global;

	struct strbuf path, link; /* as given to the caller */
};

struct tar_reader *tar_reader_new(struct reader *in, const char *what)
{
	struct tar_reader *r = new0(struct tar_reader, 1);
	r->in = in;
	r->what = xstrdup(what);
	r->buf = xmalloc(BUF_SIZE);
	r->pax = r->global_pax = r->global = TAR_PAX_INIT;
	r->long_name = r->long_link = r->path = r->link = STRBUF_INIT;
	return r;
}

void tar_reader_free(struct tar_reader *r)
{
	if (!r)
		return;
	tar_pax_release(&r->pax);
	tar_pax_release(&r->global_pax);
	strbuf_release(&r->long_name);
	strbuf_release(&r->long_link);
	strbuf_release(&r->path);
	strbuf_release(&r->link);
	free(r->gnu_map.v);
	free(r->what);
	free(r->buf);
	free(r);
}

/* --- input ----------------------------------------------------------------------------------- */

/* fill - at least `want` contiguous unread bytes (<= BUF_SIZE), or what there is up to the end. */
static int fill(struct tar_reader *r, size_t want, struct error *err)
{
	if (r->len - r->pos >= want)
		return 0;
	memmove(r->buf, r->buf + r->pos, r->len - r->pos);
	r->len -= r->pos;
	r->pos = 0;
	while (!r->eof && r->len < want) {
		ssize_t n = reader_read(r->in, r->buf + r->len, BUF_SIZE - r->len, err);
		if (n < 0)
			return -1;
		r->eof = n == 0;
		r->len += (size_t)n;
	}
	return 0;
}

static int cut_short(struct error *err)
{
	return err_set(err, ERR_INTEGRITY, "unexpected end of archive");
}

/* next_block - 1: *ret is a block (valid until the next input); 0: the input is at its end. */
static int next_block(struct tar_reader *r, const unsigned char **ret, struct error *err)
{
	if (fill(r, TAR_BLOCK, err) < 0)
		return -1;
	if (r->len == r->pos)
		return 0;
	if (r->len - r->pos < TAR_BLOCK)
		return cut_short(err);
	*ret = r->buf + r->pos;
	r->pos += TAR_BLOCK;
	return 1;
}

/* read_stored - 1..n bytes of the body as stored; n <= stored_left, n > 0. */
static ssize_t read_stored(struct tar_reader *r, void *p, size_t n, struct error *err)
{
	ssize_t got;
	if (r->len > r->pos) {
		got = (ssize_t)MIN(n, r->len - r->pos);
		memcpy(p, r->buf + r->pos, (size_t)got);
		r->pos += (size_t)got;
	} else if (r->eof) {
		got = 0;
	} else if (n >= BUF_SIZE / 4) {
		got = reader_read(r->in, p, n, err); /* large: past the buffer */
	} else {
		if (fill(r, 1, err) < 0)
			return -1;
		return r->len > r->pos ? read_stored(r, p, n, err) : cut_short(err);
	}
	if (got < 0)
		return -1;
	if (got == 0)
		return cut_short(err);
	r->stored_left -= (uint64_t)got;
	return got;
}

/* skip_body - what is left of the current entry, and its padding. */
static int skip_body(struct tar_reader *r, struct error *err)
{
	while (r->stored_left || r->padding) {
		if (fill(r, 1, err) < 0)
			return -1;
		size_t have = r->len - r->pos;
		if (have == 0)
			return cut_short(err);
		size_t k = (size_t)MIN(r->stored_left, (uint64_t)have);
		size_t pad = MIN(r->padding, have - k);
		r->stored_left -= k;
		r->padding -= pad;
		r->pos += k + pad;
	}
	return 0;
}

static void set_body(struct tar_reader *r, uint64_t size)
{
	r->stored_left = size;
	r->padding = tar_padding(size);
}

/* --- headers --------------------------------------------------------------------------------- */

static bool is_zero(const unsigned char *p)
{
	return p[0] == 0 && memcmp(p, p + 1, TAR_BLOCK - 1) == 0;
}

static bool is_gnu(const struct tar_header *h)
{
	return memcmp(h->magic, "ustar ", 6) == 0 && memcmp(h->version, " ", 2) == 0;
}

static bool is_ustar(const struct tar_header *h)
{
	return memcmp(h->magic, "ustar", 6) == 0;
}

/* Some old writers summed signed characters. */
static int check_sum(const struct tar_header *h, struct error *err)
{
	uint64_t want;
	if (tar_number(h->chksum, sizeof(h->chksum), UINT32_MAX, "checksum", &want, err) < 0)
		return err_hint(err, "is this a tar archive?");
	unsigned sum = tar_checksum(h);
	if (want == sum)
		return 0;
	int64_t as_signed = sum;
	const signed char *p = (const signed char *)h;
	for (size_t i = 0; i < sizeof(*h); i++)
		if (p[i] < 0 && !(i >= offsetof(struct tar_header, chksum) &&
		                        i < offsetof(struct tar_header, typeflag)))
			as_signed -= 256;
	if ((int64_t)want == as_signed)
		return 0;
	err_set(err, ERR_INTEGRITY, "header checksum is wrong");
	return err_hint(err, "is this a tar archive?");
}

/* next_header - 1: *ret; 0: end of archive. */
static int next_header(struct tar_reader *r, struct tar_header *ret, struct error *err)
{
	const unsigned char *p;
	int n = next_block(r, &p, err);
	if (n <= 0)
		return n;
	if (is_zero(p)) {
		n = next_block(r, &p, err);
		if (n <= 0)
			return n; /* one zero block, then nothing: some writers stop there */
		if (!is_zero(p))
			return err_set(err, ERR_INTEGRITY,
			        "entries after a zero block: readers differ on where this ends");
		return 0;
	}
	memcpy(ret, p, sizeof(*ret));
	return check_sum(ret, err) < 0 ? -1 : 1;
}

static int read_body(struct tar_reader *r, const struct tar_header *h, size_t max, const char *name,
        struct strbuf *to, struct error *err)
{
	uint64_t size;
	if (tar_number(h->size, sizeof(h->size), INT64_MAX, "size", &size, err) < 0)
		return -1;
	if (size > max)
		return err_set(err, ERR_INTEGRITY, "%s of %" PRIu64 " bytes (at most %zu are read)",
		        name, size, max);
	set_body(r, size);
	strbuf_reset(to);
	while (r->stored_left) {
		/* Grows with what has really come, not with what the header promises. */
		char chunk[4096];
		ssize_t n = read_stored(
		        r, chunk, (size_t)MIN(r->stored_left, (uint64_t)sizeof(chunk)), err);
		if (n < 0)
			return -1;
		strbuf_add(to, chunk, (size_t)n);
	}
	return skip_body(r, err);
}

static int read_pax(struct tar_reader *r, const struct tar_header *h, struct error *err)
{
	if (r->have_pax)
		return err_set(err, ERR_INTEGRITY, "two pax headers before one entry");
	tar_pax_reset(&r->pax);
	if (read_body(r, h, TAR_PAX_MAX, "pax header", &r->pax.text, err) < 0)
		return -1;
	r->have_pax = true;
	return tar_pax_parse(&r->pax, false, err);
}

#define GLOBAL_FIELDS(F)                                                                           \
	F(PAX_UID, uid) F(PAX_GID, gid) F(PAX_DEVMAJOR, devmajor) F(PAX_DEVMINOR, devminor)

static int read_global(struct tar_reader *r, const struct tar_header *h, struct error *err)
{
	struct tar_pax *x = &r->global_pax, *g = &r->global;
	tar_pax_reset(x);
	if (read_body(r, h, TAR_PAX_MAX, "global pax header", &x->text, err) < 0 ||
	        tar_pax_parse(x, true, err) < 0)
		return -1;
#define TAKE(bit, field)                                                                           \
	if (x->set & (bit))                                                                        \
		g->field = x->field;
	GLOBAL_FIELDS(TAKE)
#undef TAKE
	if (x->set & PAX_MTIME) {
		g->mtime_sec = x->mtime_sec;
		g->mtime_nsec = x->mtime_nsec;
	}
	g->set |= x->set;
	return 0;
}

/* merge_global - what the entry's own header leaves open. */
static void merge_global(struct tar_reader *r)
{
	struct tar_pax *x = &r->pax, *g = &r->global;
	if (!r->have_pax)
		tar_pax_reset(x);
	unsigned take = g->set & ~x->set;
#define TAKE(bit, field)                                                                           \
	if (take & (bit))                                                                          \
		x->field = g->field;
	GLOBAL_FIELDS(TAKE)
#undef TAKE
	if (take & PAX_MTIME) {
		x->mtime_sec = g->mtime_sec;
		x->mtime_nsec = g->mtime_nsec;
	}
	x->set |= take;
}

static int read_long(struct tar_reader *r, const struct tar_header *h, const char *name, bool *have,
        struct strbuf *to, struct error *err)
{
	if (*have)
		return err_set(err, ERR_INTEGRITY, "two %ss before one entry", name);
	/* A size record would hold for this header in one reader, for the next in another. */
	if (r->have_pax && (r->pax.set & PAX_SIZE))
		return err_set(err, ERR_INTEGRITY, "a pax size before a %s", name);
	if (read_body(r, h, TAR_PATH_MAX, name, to, err) < 0)
		return -1;
	strbuf_truncate(to, strlen(to->buf));
	if (to->len == 0)
		return err_set(err, ERR_INTEGRITY, "an empty %s", name);
	*have = true;
	return 0;
}

/* read_extensions - headers up to the one of a real entry. 1, 0 at the end. */
static int read_extensions(struct tar_reader *r, struct tar_header *h, struct error *err)
{
	r->have_pax = r->have_name = r->have_link = false;
	for (;;) {
		int n = next_header(r, h, err);
		if (n < 0)
			return -1;
		if (n == 0) {
			if (r->have_pax || r->have_name || r->have_link)
				return cut_short(err);
			return 0;
		}
		switch (h->typeflag) {
		case 'x':
		case 'X': /* Solaris' letter for the same */
			n = read_pax(r, h, err);
			break;
		case 'g':
			n = read_global(r, h, err);
			break;
		case 'L':
			n = read_long(r, h, "GNU long name", &r->have_name, &r->long_name, err);
			break;
		case 'K':
			n = read_long(r, h, "GNU long link", &r->have_link, &r->long_link, err);
			break;
		case 'V': /* a volume label */
			set_body(r, 0);
			n = 0;
			break;
		default:
			return 1;
		}
		if (n < 0)
			return -1;
	}
}

/* --- names ----------------------------------------------------------------------------------- */

/* choose_name - pax, GNU and plain header in this order; pax and GNU must agree. */
static int choose_name(struct strbuf *out, const char *pax, bool have_long,
        const struct strbuf *long_name, const char *prefix, size_t prefix_size, const char *name,
        size_t name_size, struct error *err)
{
	strbuf_reset(out);
	if (pax && have_long && !str_eq(pax, long_name->buf))
		return err_set(err, ERR_INTEGRITY, "pax and GNU long name disagree on a name");
	if (pax) {
		strbuf_addstr(out, pax);
	} else if (have_long) {
		strbuf_add(out, long_name->buf, long_name->len);
	} else {
		size_t n = strnlen(prefix, prefix_size);
		strbuf_add(out, prefix, n);
		if (n)
			strbuf_addch(out, '/');
		strbuf_add(out, name, strnlen(name, name_size));
	}
	return 0;
}

/* clean - drop "." and empty components and trailing slashes in place; ".." and a leading '/' stay
 * for the caller to judge. */
static void clean(struct strbuf *sb)
{
	size_t o = 0;
	const char *p = sb->buf;
	char *b = sb->buf;
	if (sb->len == 0)
		return;
	if (*p == '/')
		b[o++] = '/';
	size_t start = o;
	while (*p) {
		p += strspn(p, "/");
		size_t n = strcspn(p, "/");
		if (n && !(n == 1 && *p == '.')) {
			if (o > start)
				b[o++] = '/';
			memmove(b + o, p, n);
			o += n;
		}
		p += n;
	}
	strbuf_truncate(sb, o);
}

static int entry_names(
        struct tar_reader *r, const struct tar_header *h, bool *ret_slash, struct error *err)
{
	const struct tar_pax *x = &r->pax;
	const char *path = x->set & PAX_PATH ? x->path : NULL;
	const char *link = x->set & PAX_LINKPATH ? x->linkpath : NULL;
	/* star's own layout: a shorter prefix, marked at the end of the block. */
	size_t prefix_size = memcmp(h->pad + 8, "tar", 4) == 0 ? 131 : sizeof(h->prefix);

	if (x->set & PAX_SPARSE_NAME)
		path = x->sparse_name;
	if (choose_name(&r->path, path, r->have_name, &r->long_name, h->prefix,
	            is_ustar(h) ? prefix_size : 0, h->name, sizeof(h->name), err) < 0)
		return -1;
	if (r->path.len == 0)
		return err_set(err, ERR_INTEGRITY, "an entry without a name");
	*ret_slash = r->path.buf[r->path.len - 1] == '/';
	clean(&r->path);
	if (choose_name(&r->link, link, r->have_link, &r->long_link, "", 0, h->linkname,
	            sizeof(h->linkname), err) < 0)
		return -1;
	return 0;
}

/* --- type, numbers, size --------------------------------------------------------------------- */

static int entry_type(char flag, enum tree_type *ret, struct error *err)
{
	switch (flag) {
	case '\0':
	case '0':
	case '7': /* contiguous: a file like any other today */
	case 'S':
		*ret = TREE_REG;
		return 0;
	case '1':
		*ret = TREE_HARDLINK;
		return 0;
	case '2':
		*ret = TREE_SYMLINK;
		return 0;
	case '3':
		*ret = TREE_CHR;
		return 0;
	case '4':
		*ret = TREE_BLK;
		return 0;
	case '5':
		*ret = TREE_DIR;
		return 0;
	case '6':
		*ret = TREE_FIFO;
		return 0;
	default:
		return err_set(err, ERR_INTEGRITY, "unsupported entry type '%c' (0x%02x)",
		        flag > ' ' && flag < 127 ? flag : '?', (unsigned char)flag);
	}
}

static int entry_numbers(const struct tar_reader *r, const struct tar_header *h,
        struct tree_entry *e, struct error *err)
{
	const struct tar_pax *x = &r->pax;
	uint64_t mode, uid, gid, major = 0, minor = 0;
	int64_t mtime;
	if (tar_number(h->mode, sizeof(h->mode), INT64_MAX, "mode", &mode, err) < 0 ||
	        tar_number(h->uid, sizeof(h->uid), UINT32_MAX - 1U, "uid", &uid, err) < 0 ||
	        tar_number(h->gid, sizeof(h->gid), UINT32_MAX - 1U, "gid", &gid, err) < 0 ||
	        tar_number_signed(h->mtime, sizeof(h->mtime), "mtime", &mtime, err) < 0)
		return -1;
	if ((e->type == TREE_CHR || e->type == TREE_BLK) &&
	        (tar_number(h->devmajor, sizeof(h->devmajor), UINT32_MAX, "device", &major, err) <
	                        0 ||
	                tar_number(h->devminor, sizeof(h->devminor), UINT32_MAX, "device", &minor,
	                        err) < 0))
		return -1;
	e->mode = (uint32_t)mode & 07777; /* some writers put the file type there too */
	e->uid = (uint32_t)(x->set & PAX_UID ? x->uid : uid);
	e->gid = (uint32_t)(x->set & PAX_GID ? x->gid : gid);
	e->mtime_sec = mtime;
	if (x->set & PAX_MTIME) {
		e->mtime_sec = x->mtime_sec;
		e->mtime_nsec = x->mtime_nsec;
	}
	if (e->type == TREE_CHR || e->type == TREE_BLK) {
		e->dev_major = (uint32_t)(x->set & PAX_DEVMAJOR ? x->devmajor : major);
		e->dev_minor = (uint32_t)(x->set & PAX_DEVMINOR ? x->devminor : minor);
	}
	return 0;
}

/* entry_size - bytes stored in the archive. A pax size is only right where the header's field
 * could not hold it: any other difference makes two readers see two archives. */
static int entry_size(
        const struct tar_reader *r, const struct tar_header *h, uint64_t *ret, struct error *err)
{
	const struct tar_pax *x = &r->pax;
	uint64_t size;
	if (tar_number(h->size, sizeof(h->size), INT64_MAX, "size", &size, err) < 0)
		return -1;
	if ((x->set & PAX_SIZE) && x->size != size) {
		if (x->size <= TAR_MAX11 || (size != 0 && size != TAR_MAX11))
			return err_set(err, ERR_INTEGRITY,
			        "size %" PRIu64 " in the pax header, %" PRIu64 " in the header",
			        x->size, size);
		size = x->size;
	}
	*ret = size;
	return 0;
}

/* --- sparse files ---------------------------------------------------------------------------- */

static int gnu_piece(struct tar_reader *r, const unsigned char *p, struct error *err)
{
	uint64_t offset, len;
	const char *s = (const char *)p;
	if (p[0] == 0 && p[12] == 0) /* an unused slot */
		return 0;
	if (tar_number(s, 12, INT64_MAX, "sparse offset", &offset, err) < 0 ||
	        tar_number(s + 12, 12, INT64_MAX, "sparse length", &len, err) < 0)
		return -1;
	return tar_sparse_add(&r->gnu_map, offset, len, err);
}

/* gnu_sparse - the old GNU form: pieces in the header and in the blocks behind it. */
static int gnu_sparse(struct tar_reader *r, const struct tar_header *h, struct error *err)
{
	const unsigned char *p = (const unsigned char *)h;
	if (!is_gnu(h))
		return err_set(err, ERR_INTEGRITY, "a GNU sparse file without GNU's header");
	r->gnu_map.n = 0;
	for (size_t i = 0; i < 4; i++)
		if (gnu_piece(r, p + GNU_SPARSE_OFFSET + 24 * i, err) < 0)
			return -1;
	bool more = p[482] != 0;
	if (tar_number((const char *)p + 483, 12, INT64_MAX, "sparse size", &r->real_size, err) < 0)
		return -1;
	while (more) {
		int n = next_block(r, &p, err);
		if (n <= 0)
			return n < 0 ? -1 : cut_short(err);
		for (size_t i = 0; i < 21; i++)
			if (gnu_piece(r, p + 24 * i, err) < 0)
				return -1;
		more = p[504] != 0;
	}
	r->map = &r->gnu_map;
	return 0;
}

/* A line of digits in the map at the head of a 1.0 body. *left: unread bytes of its last block. */
static int map_number(
        struct tar_reader *r, char *block, size_t *left, uint64_t *ret, struct error *err)
{
	char digits[24];
	for (size_t n = 0; n < sizeof(digits); n++) {
		if (*left == 0) {
			if (r->stored_left < TAR_BLOCK)
				break;
			for (size_t got = 0; got < TAR_BLOCK;) {
				ssize_t k = read_stored(r, block + got, TAR_BLOCK - got, err);
				if (k < 0)
					return -1;
				got += (size_t)k;
			}
			*left = TAR_BLOCK;
		}
		digits[n] = block[TAR_BLOCK - (*left)--];
		if (digits[n] == '\n') {
			if (!tar_decimal(digits, n, INT64_MAX, ret))
				break;
			return 0;
		}
	}
	return err_set(err, ERR_INTEGRITY, "malformed sparse map");
}

static int pax_sparse_1(struct tar_reader *r, struct error *err)
{
	char block[TAR_BLOCK];
	size_t left = 0;
	uint64_t n, offset, len;
	if (map_number(r, block, &left, &n, err) < 0)
		return -1;
	if (n > TAR_SPARSE_MAX)
		return err_set(err, ERR_INTEGRITY, "sparse map of %" PRIu64 " pieces", n);
	for (uint64_t i = 0; i < n; i++) {
		if (map_number(r, block, &left, &offset, err) < 0 ||
		        map_number(r, block, &left, &len, err) < 0 ||
		        tar_sparse_add(&r->pax.sparse, offset, len, err) < 0)
			return -1;
	}
	return 0;
}

/* entry_sparse - find the map, if the file has one; set real_size. */
static int entry_sparse(struct tar_reader *r, const struct tar_header *h, enum tree_type type,
        uint64_t stored, struct error *err)
{
	const struct tar_pax *x = &r->pax;
	bool pax = x->set & (PAX_SPARSE_MAP | PAX_SPARSE_1);
	r->is_sparse = false;
	r->real_size = stored;
	if (h->typeflag != 'S' && !pax) {
		set_body(r, stored);
		return 0;
	}
	if (type != TREE_REG || (h->typeflag == 'S' && pax))
		return err_set(err, ERR_INTEGRITY, "a sparse map on what is no plain file");
	if (h->typeflag == 'S' && gnu_sparse(r, h, err) < 0)
		return -1;
	set_body(r, stored);
	if (pax) {
		r->map = &x->sparse;
		r->real_size = x->sparse_realsize;
		if ((x->set & PAX_SPARSE_1) && pax_sparse_1(r, err) < 0)
			return -1;
	}
	r->is_sparse = true;
	return tar_sparse_check(r->map, r->real_size, r->stored_left, err);
}

/* --- entries --------------------------------------------------------------------------------- */

/* check_shape - what type and name and size allow together. */
static int check_shape(struct tar_reader *r, const struct tar_header *h, struct tree_entry *e,
        bool slash, uint64_t stored, struct error *err)
{
	/* Old archives have no directory type: a trailing slash says it. */
	if (e->type == TREE_REG && slash && h->typeflag != 'S') {
		if (stored)
			return err_set(err, ERR_INTEGRITY, "a directory with a body");
		e->type = TREE_DIR;
	}
	if (e->type != TREE_REG && stored)
		return err_set(err, ERR_INTEGRITY,
		        "an entry of type '%c' with a body of %" PRIu64 " bytes", h->typeflag,
		        stored);
	bool root = r->path.len == 0 || str_eq(r->path.buf, "/");
	if (root && e->type != TREE_DIR)
		return err_set(err, ERR_INTEGRITY, "the root is not a directory");
	if (e->type == TREE_HARDLINK)
		clean(&r->link);
	if ((e->type == TREE_HARDLINK || e->type == TREE_SYMLINK) && r->link.len == 0)
		return err_set(err, ERR_INTEGRITY, "a link without a target");
	return 0;
}

static int next_entry(struct tar_reader *r, struct tree_entry *ret, struct error *err)
{
	struct tar_header h;
	struct tree_entry e = {0};
	uint64_t stored;
	bool slash;

	if (skip_body(r, err) < 0)
		return -1;
	r->is_file = false;
	strbuf_reset(&r->path);
	int n = read_extensions(r, &h, err);
	if (n <= 0)
		return n;
	merge_global(r);
	if (entry_names(r, &h, &slash, err) < 0 || entry_type(h.typeflag, &e.type, err) < 0 ||
	        entry_numbers(r, &h, &e, err) < 0 || entry_size(r, &h, &stored, err) < 0 ||
	        check_shape(r, &h, &e, slash, stored, err) < 0 ||
	        entry_sparse(r, &h, e.type, stored, err) < 0)
		return -1;
	r->is_file = e.type == TREE_REG;
	r->offset = 0;
	r->piece = 0;
	e.path = r->path.buf;
	if (e.type == TREE_REG)
		e.size = r->real_size;
	if (e.type == TREE_HARDLINK || e.type == TREE_SYMLINK)
		e.link = r->link.buf;
	if (r->have_pax && e.type != TREE_HARDLINK) {
		e.xattrs = r->pax.xattrs;
		e.n_xattrs = (uint32_t)r->pax.n_xattrs;
	}
	*ret = e;
	return 1;
}

/* in_context - the archive's name and the entry's in front of an error. */
static int in_context(struct tar_reader *r, struct error *err)
{
	r->ended = true;
	if (err->class != ERR_INTEGRITY)
		return -1;
	if (r->path.len) {
		_cleanup_free_ char *path =
		        human_escape(r->path.buf, MIN(r->path.len, 200U), false);
		return err_wrap(err, "%s: %s", r->what, path);
	}
	return err_wrap(err, "%s", r->what);
}

int tar_reader_next(struct tar_reader *r, struct tree_entry *ret, struct error *err)
{
	if (r->ended)
		return 0;
	int n = next_entry(r, ret, err);
	if (n < 0)
		return in_context(r, err);
	r->ended = n == 0;
	return n;
}

/* --- content --------------------------------------------------------------------------------- */

static ssize_t read_sparse(struct tar_reader *r, void *p, size_t n, struct error *err)
{
	const struct tar_extent *x = NULL;
	for (; r->piece < r->map->n; r->piece++) {
		x = &r->map->v[r->piece];
		if (r->offset < x->offset + x->len)
			break;
		x = NULL;
	}
	if (x && r->offset >= x->offset)
		return read_stored(
		        r, p, (size_t)MIN((uint64_t)n, x->offset + x->len - r->offset), err);
	uint64_t hole = (x ? x->offset : r->real_size) - r->offset;
	n = (size_t)MIN((uint64_t)n, hole);
	memset(p, 0, n);
	return (ssize_t)n;
}

ssize_t tar_reader_read(struct tar_reader *r, void *p, size_t n, struct error *err)
{
	if (!r->is_file || r->ended || n == 0 || r->offset == r->real_size)
		return 0;
	n = (size_t)MIN((uint64_t)n, r->real_size - r->offset);
	ssize_t got = r->is_sparse ? read_sparse(r, p, n, err) : read_stored(r, p, n, err);
	if (got < 0)
		return in_context(r, err);
	r->offset += (uint64_t)got;
	return got;
}
