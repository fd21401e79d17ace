/* ui/escape.c - see escape.h. A terminal's columns are counted with a short table of wide and
 * zero-width ranges rather than wcwidth(), which would depend on the locale. */
#include "ui/escape.h"
#include "base/human.h"

#include <stdio.h>

enum { TAB = 8, SGR_MAX = 32 };

struct range {
	uint32_t lo, hi;
};

static const struct range wide[] = {
        {0x1100, 0x115f},
        {0x2e80, 0x303e},
        {0x3041, 0xa4cf},
        {0xa960, 0xa97c},
        {0xac00, 0xd7a3},
        {0xf900, 0xfaff},
        {0xfe30, 0xfe6f},
        {0xff00, 0xff60},
        {0xffe0, 0xffe6},
        {0x1f300, 0x1f64f},
        {0x1f680, 0x1f6ff},
        {0x1f900, 0x1f9ff},
        {0x20000, 0x3fffd},
};
static const struct range zero[] = {
        {0x0300, 0x036f},
        {0x1ab0, 0x1aff},
        {0x1dc0, 0x1dff},
        {0x200b, 0x200d},
        {0x20d0, 0x20ff},
        {0xfe00, 0xfe0f},
        {0xfe20, 0xfe2f},
};

static bool in_ranges(uint32_t cp, const struct range *r, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (cp >= r[i].lo && cp <= r[i].hi)
			return true;
	return false;
}

static size_t columns_of(uint32_t cp)
{
	if (cp < 0x300)
		return 1;
	return in_ranges(cp, zero, ARRAY_SIZE(zero))   ? 0
	       : in_ranges(cp, wide, ARRAY_SIZE(wide)) ? 2
	                                               : 1;
}

/* sgr_param - the next number of a `;` list, or -1 when it has none left. */
static int sgr_param(const char **p, const char *end)
{
	if (*p >= end)
		return -1;
	int v = 0;
	for (; *p < end && **p != ';'; (*p)++)
		if (v < 1000)
			v = v * 10 + (**p - '0');
	if (*p < end)
		(*p)++;
	return v;
}

/* sgr_harmless - colours and weight; not 8 (conceal), which hides text from the reader. */
static bool sgr_harmless(const char *p, const char *end)
{
	for (int v; (v = sgr_param(&p, end)) >= 0;) {
		if (v == 38 || v == 48 || v == 58) { /* extended colour: 5;n or 2;r;g;b */
			int kind = sgr_param(&p, end);
			int skip = kind == 5 ? 1 : kind == 2 ? 3 : -1;
			if (skip < 0)
				return false;
			while (skip-- > 0)
				if (sgr_param(&p, end) < 0)
					return false;
		} else if (v == 8) {
			return false;
		}
	}
	return true;
}

/* sgr_len - length of a well-formed ESC [ digits-and-semicolons m at s, or 0. */
static size_t sgr_len(const char *s, size_t n)
{
	if (n < 3 || s[0] != '\033' || s[1] != '[')
		return 0;
	for (size_t i = 2; i < n && i < SGR_MAX; i++) {
		if (s[i] == 'm')
			return i + 1;
		if (s[i] != ';' && (s[i] < '0' || s[i] > '9'))
			return 0;
	}
	return 0;
}

/* char_len - bytes of the character at s by its first byte; the escaper judges whether it is
 * valid. */
static size_t char_len(const unsigned char *s, size_t n)
{
	size_t want = s[0] < 0xc2 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 1;
	if (want > n)
		return 1;
	for (size_t i = 1; i < want; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 1;
	return want;
}

static uint32_t code_point(const unsigned char *s, size_t len)
{
	static const unsigned char mask[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
	uint32_t v = s[0] & mask[len];
	for (size_t i = 1; i < len; i++)
		v = v << 6 | (s[i] & 0x3f);
	return v;
}

/* add_char - one character, escaped where needed; returns its columns, or -1 if it exceeds max. */
static int add_char(struct strbuf *out, const char *s, size_t len, size_t room)
{
	unsigned char c = (unsigned char)s[0];
	if (len == 1 && c >= 0x20 && c < 0x7f) {
		if (!room)
			return -1;
		strbuf_addch(out, (char)c);
		return 1;
	}
	_cleanup_free_ char *esc = human_escape(s, len, false);
	size_t esc_len = strlen(esc);
	bool same = esc_len == len && memcmp(esc, s, len) == 0;
	size_t cols = same ? columns_of(code_point((const unsigned char *)s, len)) : esc_len;
	if (cols > room)
		return -1;
	strbuf_add(out, esc, esc_len);
	return (int)cols;
}

size_t ui_escape_line(struct strbuf *out, const char *s, size_t n, bool keep_sgr, size_t max_cols)
{
	size_t limit = max_cols ? max_cols : SIZE_MAX, cols = 0;
	bool coloured = false;
	for (size_t i = 0; i < n;) {
		size_t len = sgr_len(s + i, n - i);
		if (len) {
			if (keep_sgr && sgr_harmless(s + i + 2, s + i + len - 1)) {
				strbuf_add(out, s + i, len);
				coloured = true;
			}
			i += len;
			continue;
		}
		if (s[i] == '\t') {
			size_t to = MIN((cols / TAB + 1) * TAB, limit);
			while (cols < to) {
				strbuf_addch(out, ' ');
				cols++;
			}
			i++;
			continue;
		}
		len = char_len((const unsigned char *)s + i, n - i);
		int c = add_char(out, s + i, len, limit - cols);
		if (c < 0)
			break;
		cols += (size_t)c;
		i += len;
	}
	if (coloured)
		strbuf_addstr(out, "\033[0m");
	return cols;
}
