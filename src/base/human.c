/* base/human.c - see human.h. */
#include "base/human.h"
#include "base/utf8.h"
#include "base/strbuf.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

char *human_size(char *buf, size_t n, uint64_t bytes)
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
	double v = (double)bytes;
	size_t u = 0;
	while (v >= 1000 && u + 1 < ARRAY_SIZE(units)) {
		v /= 1000;
		u++;
	}
	/* docker prints three significant digits */
	snprintf(buf, n, "%.*f%s", u == 0 || v >= 100 ? 0 : v >= 10 ? 1 : 2, v, units[u]);
	return buf;
}

bool human_parse_size(const char *s, uint64_t *ret_bytes)
{
	if (!isdigit((unsigned char)*s))
		return false;
	char *end;
	double v = strtod(s, &end);
	while (*end == ' ')
		end++;
	static const char units[] = "bkmgtp";
	double mul = 1;
	if (*end) {
		const char *u = strchr(units, tolower((unsigned char)*end));
		if (!u || !*u)
			return false;
		for (long i = u - units; i > 0; i--)
			mul *= 1024;
		end++;
		if (u != units) {
			if (*end == 'i' || *end == 'I')
				end++;
			if (*end == 'b' || *end == 'B')
				end++;
		}
		if (*end)
			return false;
	}
	v *= mul;
	if (!(v >= 0) || v >= 9.2e18)
		return false;
	*ret_bytes = (uint64_t)v;
	return true;
}

static size_t edit_distance(const char *a, const char *b, size_t max)
{
	size_t n = strlen(a), m = strlen(b);
	enum { CAP = 64 };
	size_t row[CAP + 1];
	if (n > CAP || m > CAP || (n > m ? n - m : m - n) > max)
		return max + 1;
	for (size_t j = 0; j <= m; j++)
		row[j] = j;
	for (size_t i = 1; i <= n; i++) {
		size_t diag = row[0];
		row[0] = i;
		for (size_t j = 1; j <= m; j++) {
			size_t up = row[j];
			bool same = tolower((unsigned char)a[i - 1]) ==
			            tolower((unsigned char)b[j - 1]);
			row[j] = MIN(MIN(row[j] + 1, row[j - 1] + 1), diag + !same);
			diag = up;
		}
	}
	return row[m];
}

const char *human_nearest(const char *word, const char *const *candidates, size_t n)
{
	size_t len = strlen(word);
	size_t best = len <= 3 ? 1 : len <= 6 ? 2 : 3;
	const char *found = NULL;
	for (size_t i = 0; i < n; i++) {
		size_t d = edit_distance(word, candidates[i], best);
		if (d <= best && (!found || d < best)) {
			best = d;
			found = candidates[i];
		}
	}
	return found;
}

char *human_escape(const char *str, size_t n, bool keep_space)
{
	const unsigned char *s = (const unsigned char *)str;
	struct strbuf sb = STRBUF_INIT;
	for (size_t i = 0; i < n;) {
		uint32_t cp = 0;
		size_t len = utf8_decode(s + i, n - i, &cp);
		if (!len) {
			strbuf_addf(&sb, "\\x%02x", s[i++]);
			continue;
		}
		bool space = cp == '\n' || cp == '\t';
		bool bidi = (cp >= 0x202a && cp <= 0x202e) || (cp >= 0x2066 && cp <= 0x2069) ||
		            cp == 0x200e || cp == 0x200f || cp == 0x2028 || cp == 0x2029;
		if (space && keep_space)
			strbuf_addch(&sb, (char)cp);
		else if (cp < 0x20 || cp == 0x7f)
			strbuf_addf(&sb, "\\x%02x", cp);
		else if ((cp >= 0x80 && cp < 0xa0) || bidi)
			strbuf_addf(&sb, "\\u{%04x}", cp);
		else
			strbuf_add(&sb, s + i, len);
		i += len;
	}
	return strbuf_detach(&sb);
}
