/* tar/pax.c - pax extended header records (POSIX.1-2017 pax, "pax Extended Header"; GNU tar manual,
 * "Sparse Formats"; libarchive's and star's keys for extended attributes).
 *
 * Invariant: a key that matters occurs once, or always with the same value; readers differ on
 * which of several wins. */
#include "tar/parse.h"

#include <inttypes.h>

void tar_pax_release(struct tar_pax *x)
{
	strbuf_release(&x->text);
	free(x->sparse.v);
	free(x->xattrs);
	*x = TAR_PAX_INIT;
}

void tar_pax_reset(struct tar_pax *x)
{
	struct tar_pax keep = *x;
	strbuf_reset(&keep.text);
	*x = (struct tar_pax){
	        .text = keep.text,
	        .sparse = {keep.sparse.v, 0, keep.sparse.cap},
	        .xattrs = keep.xattrs,
	        .cap_xattrs = keep.cap_xattrs,
	};
}

static int bad_value(const char *key, struct error *err)
{
	return err_set(err, ERR_INTEGRITY, "malformed pax record %s", key);
}

static int twice(const char *key, struct error *err)
{
	return err_set(
	        err, ERR_INTEGRITY, "pax record %s is given twice with different values", key);
}

/* --- values ---------------------------------------------------------------------------------- */

static int set_u64(struct tar_pax *x, unsigned bit, uint64_t *to, const char *key, const char *v,
        size_t n, uint64_t max, struct error *err)
{
	uint64_t u;
	if (!tar_decimal(v, n, max, &u))
		return bad_value(key, err);
	if ((x->set & bit) && *to != u)
		return twice(key, err);
	x->set |= bit;
	*to = u;
	return 0;
}

static int set_str(struct tar_pax *x, unsigned bit, const char **to, const char *key, const char *v,
        size_t n, struct error *err)
{
	if (memchr(v, '\0', n) || n > TAR_PATH_MAX)
		return bad_value(key, err);
	if ((x->set & bit) && !str_eq(*to, v))
		return twice(key, err);
	x->set |= bit;
	*to = v;
	return 0;
}

/* set_mtime - "[-]digits[.digits]"; the fraction of a negative time counts towards the past. */
static int set_mtime(struct tar_pax *x, const char *key, const char *v, size_t n, struct error *err)
{
	bool negative = n && *v == '-';
	const char *p = v + negative;
	size_t left = n - negative, whole = strspn(p, "0123456789");
	uint64_t sec;
	uint32_t nsec = 0, unit = 100000000;
	if (!tar_decimal(p, MIN(whole, left), INT64_MAX / 2, &sec))
		return bad_value(key, err);
	if (left > whole) {
		if (p[whole] != '.')
			return bad_value(key, err);
		for (size_t i = whole + 1; i < left; i++, unit /= 10) {
			if (p[i] < '0' || p[i] > '9')
				return bad_value(key, err);
			nsec += (uint32_t)(p[i] - '0') * unit; /* beyond 9 digits unit is 0 */
		}
	}
	int64_t s = negative ? -(int64_t)sec : (int64_t)sec;
	if (negative && nsec) {
		s--;
		nsec = 1000000000 - nsec;
	}
	if ((x->set & PAX_MTIME) && (x->mtime_sec != s || x->mtime_nsec != nsec))
		return twice(key, err);
	x->set |= PAX_MTIME;
	x->mtime_sec = s;
	x->mtime_nsec = nsec;
	return 0;
}

/* --- extended attributes --------------------------------------------------------------------- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* percent_decode - in place. gnu: only %3D and %25, which is all that GNU tar (and our writer)
 * encodes; else every %XX, as libarchive's names have. */
static void percent_decode(char *s, bool gnu)
{
	char *o = s;
	while (*s) {
		if (s[0] == '%' && hex_digit(s[1]) >= 0 && hex_digit(s[2]) >= 0) {
			int c = hex_digit(s[1]) << 4 | hex_digit(s[2]);
			if (c && (!gnu || c == '=' || c == '%')) {
				*o++ = (char)c;
				s += 3;
				continue;
			}
		}
		*o++ = *s++;
	}
	*o = '\0';
}

static int base64_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* base64_decode - in place, padding optional (libarchive writes none). */
static bool base64_decode(char *p, size_t n, size_t *ret)
{
	uint32_t acc = 0;
	size_t bits = 0, out = 0;
	while (n && p[n - 1] == '=')
		n--;
	for (size_t i = 0; i < n; i++) {
		int d = base64_digit(p[i]);
		if (d < 0)
			return false;
		acc = acc << 6 | (uint32_t)d;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			p[out++] = (char)(acc >> bits & 0xff);
		}
	}
	*ret = out;
	return bits < 6;
}

static void add_xattr(struct tar_pax *x, const char *name, const char *v, size_t n)
{
	vec_grow(&x->xattrs, &x->cap_xattrs, x->n_xattrs + 1);
	x->xattrs[x->n_xattrs++] = (struct tree_xattr){name, (const uint8_t *)v, (uint32_t)n};
}

static int record_xattr(struct tar_pax *x, char *key, char *v, size_t n, struct error *err)
{
	if (str_starts(key, "SCHILY.xattr.")) {
		char *name = key + strlen("SCHILY.xattr.");
		percent_decode(name, true);
		if (!*name)
			return bad_value(key, err);
		add_xattr(x, name, v, n);
	} else {
		char *name = key + strlen("LIBARCHIVE.xattr.");
		percent_decode(name, false);
		if (!*name || !base64_decode(v, n, &n))
			return bad_value(key, err);
		add_xattr(x, name, v, n);
	}
	return 0;
}

static int cmp_xattr(const void *a, const void *b)
{
	return strcmp(((const struct tree_xattr *)a)->name, ((const struct tree_xattr *)b)->name);
}

/* sort_xattrs - and drop those given twice (libarchive writes both forms of each). */
static int sort_xattrs(struct tar_pax *x, struct error *err)
{
	size_t n = 0;
	if (x->n_xattrs > 1)
		qsort(x->xattrs, x->n_xattrs, sizeof(*x->xattrs), cmp_xattr);
	for (size_t i = 0; i < x->n_xattrs; i++) {
		struct tree_xattr *a = &x->xattrs[i], *b = n ? &x->xattrs[n - 1] : NULL;
		if (!b || !str_eq(a->name, b->name)) {
			x->xattrs[n++] = *a;
			continue;
		}
		if (a->len != b->len || memcmp(a->value, b->value, a->len) != 0)
			return twice(a->name, err);
	}
	x->n_xattrs = n;
	return 0;
}

/* --- GNU.sparse.* ---------------------------------------------------------------------------- */

enum { SEEN_MAJOR = 1, SEEN_MINOR = 2, SEEN_BLOCKS = 4, SEEN_PIECES = 8, SEEN_MAP = 16 };

/* sparse_map - 0.1: "offset,len,offset,len...". */
static int sparse_map(struct tar_pax *x, const char *v, size_t n, struct error *err)
{
	const char *end = v + n;
	while (v < end) {
		uint64_t num[2];
		for (int i = 0; i < 2; i++) {
			const char *comma = memchr(v, ',', (size_t)(end - v));
			const char *stop = comma ? comma : end;
			if (!tar_decimal(v, (size_t)(stop - v), INT64_MAX, &num[i]))
				return bad_value("GNU.sparse.map", err);
			v = comma ? comma + 1 : end;
			if (comma && v == end)
				return bad_value("GNU.sparse.map", err);
		}
		if (tar_sparse_add(&x->sparse, num[0], num[1], err) < 0)
			return -1;
	}
	return 0;
}

static int see_once(struct tar_pax *x, unsigned what, uint64_t *to, const char *key, const char *v,
        size_t n, uint64_t max, struct error *err)
{
	if (x->sparse_seen & what)
		return twice(key, err);
	x->sparse_seen |= what;
	return tar_decimal(v, n, max, to) ? 0 : bad_value(key, err);
}

static int record_sparse(
        struct tar_pax *x, const char *key, const char *v, size_t n, struct error *err)
{
	const char *k = key + strlen("GNU.sparse.");
	uint64_t u;
	if (str_eq(k, "name"))
		return set_str(x, PAX_SPARSE_NAME, &x->sparse_name, key, v, n, err);
	if (str_eq(k, "size") || str_eq(k, "realsize"))
		return set_u64(
		        x, PAX_SPARSE_REALSIZE, &x->sparse_realsize, key, v, n, INT64_MAX, err);
	if (str_eq(k, "major"))
		return see_once(x, SEEN_MAJOR, &x->sparse_major, key, v, n, 9, err);
	if (str_eq(k, "minor"))
		return see_once(x, SEEN_MINOR, &x->sparse_minor, key, v, n, 9, err);
	if (str_eq(k, "numblocks"))
		return see_once(x, SEEN_BLOCKS, &x->sparse_blocks, key, v, n, TAR_SPARSE_MAX, err);
	if (str_eq(k, "map")) {
		if (x->sparse_seen & (SEEN_MAP | SEEN_PIECES))
			return twice(key, err);
		x->sparse_seen |= SEEN_MAP;
		return sparse_map(x, v, n, err);
	}
	if (str_eq(k, "offset") || str_eq(k, "numbytes")) {
		bool offset = *k == 'o';
		if (x->sparse_seen & SEEN_MAP)
			return twice(key, err);
		x->sparse_seen |= SEEN_PIECES;
		if (!tar_decimal(v, n, INT64_MAX, &u) || x->sparse_offset_open == offset)
			return bad_value(key, err);
		x->sparse_offset_open = offset;
		if (!offset)
			return tar_sparse_add(&x->sparse, x->sparse_offset, u, err);
		x->sparse_offset = u;
		return 0;
	}
	return bad_value(key, err); /* a version that is not known: its body would be misread */
}

/* finish_sparse - which of the three versions it is, and whether it is complete. */
static int finish_sparse(struct tar_pax *x, struct error *err)
{
	unsigned seen = x->sparse_seen;
	if (!seen && !(x->set & (PAX_SPARSE_NAME | PAX_SPARSE_REALSIZE)))
		return 0;
	bool v1 = (seen & SEEN_MAJOR) && x->sparse_major == 1;
	bool known = seen & SEEN_MAJOR ? (seen & SEEN_MINOR) &&
	                                         (v1 ? x->sparse_minor == 0 : x->sparse_major == 0)
	                               : true;
	if (!known || !(x->set & PAX_SPARSE_REALSIZE) || x->sparse_offset_open)
		return bad_value("GNU.sparse", err);
	if (v1) {
		if (seen & ~(unsigned)(SEEN_MAJOR | SEEN_MINOR))
			return bad_value("GNU.sparse", err);
		x->set |= PAX_SPARSE_1;
		return 0;
	}
	if (!(seen & (SEEN_MAP | SEEN_PIECES)) && !((seen & SEEN_BLOCKS) && x->sparse_blocks == 0))
		return bad_value("GNU.sparse", err);
	if ((seen & SEEN_BLOCKS) && x->sparse_blocks != x->sparse.n)
		return bad_value("GNU.sparse.numblocks", err);
	x->set |= PAX_SPARSE_MAP;
	return 0;
}

/* --- records --------------------------------------------------------------------------------- */

static int refuse_global(const char *key, struct error *err)
{
	return err_set(err, ERR_INTEGRITY, "global pax header sets %s for all entries", key);
}

static int record(struct tar_pax *x, char *key, char *v, size_t n, bool global, struct error *err)
{
	bool names = str_eq(key, "path") || str_eq(key, "linkpath") || str_eq(key, "size");
	bool xattr = str_starts(key, "SCHILY.xattr.") || str_starts(key, "LIBARCHIVE.xattr.");
	bool sparse = str_starts(key, "GNU.sparse.");

	/* Their bodies are stored in ways that are not read here. */
	if (str_starts(key, "SCHILY.realsize") || str_eq(key, "SUN.holesdata"))
		return err_set(err, ERR_INTEGRITY, "unsupported kind of sparse file (%s)", key);
	if (global && (names || xattr || sparse))
		return refuse_global(key, err);
	if (xattr)
		return record_xattr(x, key, v, n, err);
	if (sparse)
		return record_sparse(x, key, v, n, err);
	if (n == 0) /* POSIX: as if the record were not there */
		return 0;
	if (str_eq(key, "path"))
		return set_str(x, PAX_PATH, &x->path, key, v, n, err);
	if (str_eq(key, "linkpath"))
		return set_str(x, PAX_LINKPATH, &x->linkpath, key, v, n, err);
	if (str_eq(key, "size"))
		return set_u64(x, PAX_SIZE, &x->size, key, v, n, INT64_MAX, err);
	if (str_eq(key, "uid"))
		return set_u64(x, PAX_UID, &x->uid, key, v, n, UINT32_MAX - 1U, err);
	if (str_eq(key, "gid"))
		return set_u64(x, PAX_GID, &x->gid, key, v, n, UINT32_MAX - 1U, err);
	if (str_eq(key, "mtime"))
		return set_mtime(x, key, v, n, err);
	if (str_eq(key, "SCHILY.devmajor"))
		return set_u64(x, PAX_DEVMAJOR, &x->devmajor, key, v, n, UINT32_MAX, err);
	if (str_eq(key, "SCHILY.devminor"))
		return set_u64(x, PAX_DEVMINOR, &x->devminor, key, v, n, UINT32_MAX, err);
	return 0; /* atime, ctime, uname, gname, comment, hdrcharset, vendors' own */
}

int tar_pax_parse(struct tar_pax *x, bool global, struct error *err)
{
	char *p = x->text.buf, *end = p + x->text.len;
	while (p < end) {
		uint64_t len;
		char *space = memchr(p, ' ', MIN((size_t)(end - p), 8U));
		if (!space || !tar_decimal(p, (size_t)(space - p), (uint64_t)(end - p), &len))
			return err_set(err, ERR_INTEGRITY, "malformed pax record length");
		char *next = p + len, *key = space + 1;
		char *eq = next > key ? memchr(key, '=', (size_t)(next - key)) : NULL;
		if (!eq || eq == key || next - eq < 2 || next[-1] != '\n')
			return err_set(err, ERR_INTEGRITY, "malformed pax record");
		*eq = '\0';
		next[-1] = '\0';
		if (strlen(key) != (size_t)(eq - key))
			return err_set(err, ERR_INTEGRITY, "malformed pax record key");
		if (record(x, key, eq + 1, (size_t)(next - eq - 2), global, err) < 0)
			return -1;
		p = next;
	}
	if (finish_sparse(x, err) < 0)
		return -1;
	return sort_xattrs(x, err);
}
