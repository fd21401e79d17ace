/* tar/number.c - numbers in headers and sparse maps. See parse.h.
 *
 * Where tar readers disagree on a field (digits behind a NUL, a sign, letters), it is an error:
 * what one reader takes for a size another must not take for something else. */
#include "tar/parse.h"

#include <inttypes.h>

static int bad(const char *name, struct error *err)
{
	return err_set(err, ERR_INTEGRITY, "malformed %s field", name);
}

/* base256 - big-endian two's complement, bit 7 of the first byte being the marker. */
static int base256(
        const unsigned char *p, size_t n, const char *name, int64_t *ret, struct error *err)
{
	bool negative = p[0] & 0x40;
	uint64_t v = negative ? UINT64_MAX : 0;
	uint64_t top = negative ? 0xff : 0;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = p[i];
		if (i == 0)
			c = negative ? c | 0x80 : c & 0x7f;
		/* What leaves at the top must be sign only. */
		if (v >> 56 != top)
			return bad(name, err);
		v = v << 8 | c;
	}
	if (negative != (v >> 63 != 0))
		return bad(name, err);
	*ret = (int64_t)v;
	return 0;
}

static int octal(const char *p, size_t n, const char *name, uint64_t *ret, struct error *err)
{
	uint64_t v = 0;
	size_t i = 0;
	while (i < n && p[i] == ' ')
		i++;
	for (; i < n && p[i] >= '0' && p[i] <= '7'; i++)
		v = v << 3 | (unsigned)(p[i] - '0'); /* 12 digits at most: no overflow */
	for (; i < n; i++)
		if (p[i] != '\0' && p[i] != ' ')
			return bad(name, err);
	*ret = v;
	return 0;
}

int tar_number_signed(
        const char *field, size_t n, const char *name, int64_t *ret, struct error *err)
{
	uint64_t v;
	if ((unsigned char)field[0] & 0x80)
		return base256((const unsigned char *)field, n, name, ret, err);
	if (octal(field, n, name, &v, err) < 0)
		return -1;
	*ret = (int64_t)v;
	return 0;
}

int tar_number(const char *field, size_t n, uint64_t max, const char *name, uint64_t *ret,
        struct error *err)
{
	int64_t v;
	if (tar_number_signed(field, n, name, &v, err) < 0)
		return -1;
	if (v < 0)
		return err_set(err, ERR_INTEGRITY, "negative %s", name);
	if ((uint64_t)v > max)
		return err_set(err, ERR_INTEGRITY, "%s %" PRId64 " is out of range", name, v);
	*ret = (uint64_t)v;
	return 0;
}

bool tar_decimal(const char *p, size_t n, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;
	if (n == 0 || n > 20)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (p[i] < '0' || p[i] > '9')
			return false;
		if (__builtin_mul_overflow(v, 10U, &v) ||
		        __builtin_add_overflow(v, (unsigned)(p[i] - '0'), &v))
			return false;
	}
	if (v > max)
		return false;
	*ret = v;
	return true;
}

int tar_sparse_add(struct tar_sparse *m, uint64_t offset, uint64_t len, struct error *err)
{
	if (m->n >= TAR_SPARSE_MAX)
		return err_set(
		        err, ERR_INTEGRITY, "sparse map of more than %zu pieces", TAR_SPARSE_MAX);
	vec_grow(&m->v, &m->cap, m->n + 1);
	m->v[m->n++] = (struct tar_extent){offset, len};
	return 0;
}

int tar_sparse_check(
        const struct tar_sparse *m, uint64_t real_size, uint64_t stored, struct error *err)
{
	uint64_t end = 0, sum = 0;
	for (size_t i = 0; i < m->n; i++) {
		const struct tar_extent *x = &m->v[i];
		if (x->offset < end || __builtin_add_overflow(x->offset, x->len, &end) ||
		        end > real_size)
			return err_set(err, ERR_INTEGRITY,
			        "sparse map is out of order or beyond the file's end");
		sum += x->len; /* <= real_size: the pieces do not overlap */
	}
	if (sum != stored)
		return err_set(err, ERR_INTEGRITY,
		        "sparse map holds %" PRIu64 " bytes, the archive %" PRIu64, sum, stored);
	return 0;
}
