/* dockerfile/text.c - see text.h. */
#include "dockerfile/text.h"

uint32_t text_decode(const char *p, const char *end, size_t *ret_width)
{
	const unsigned char *s = (const unsigned char *)p;
	size_t n = (size_t)(end - p);
	uint32_t c = s[0], min;
	size_t width;

	*ret_width = 1;
	if (c < 0x80)
		return c;
	if (c >= 0xc2 && c <= 0xdf) {
		width = 2;
		c &= 0x1f;
		min = 0x80;
	} else if (c >= 0xe0 && c <= 0xef) {
		width = 3;
		c &= 0x0f;
		min = 0x800;
	} else if (c >= 0xf0 && c <= 0xf4) {
		width = 4;
		c &= 0x07;
		min = 0x10000;
	} else {
		return RUNE_ERROR;
	}
	if (n < width)
		return RUNE_ERROR;
	for (size_t i = 1; i < width; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return RUNE_ERROR;
		c = c << 6 | (s[i] & 0x3f);
	}
	if (c < min || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return RUNE_ERROR;
	*ret_width = width;
	return c;
}

uint32_t text_decode_last(const char *p, const char *end, size_t *ret_width)
{
	for (size_t back = 1; back <= 4 && back <= (size_t)(end - p); back++) {
		if (((unsigned char)end[-(ptrdiff_t)back] & 0xc0) == 0x80)
			continue;
		size_t width;
		uint32_t c = text_decode(end - back, end, &width);
		if (width == back) {
			*ret_width = width;
			return c;
		}
		break;
	}
	*ret_width = 1;
	return RUNE_ERROR;
}

void text_put(struct strbuf *sb, uint32_t c)
{
	char b[4];

	if (c < 0x80) {
		strbuf_addch(sb, (char)c);
		return;
	}
	if (c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		c = RUNE_ERROR;
	if (c < 0x800) {
		b[0] = (char)(0xc0 | c >> 6);
		b[1] = (char)(0x80 | (c & 0x3f));
		strbuf_add(sb, b, 2);
	} else if (c < 0x10000) {
		b[0] = (char)(0xe0 | c >> 12);
		b[1] = (char)(0x80 | (c >> 6 & 0x3f));
		b[2] = (char)(0x80 | (c & 0x3f));
		strbuf_add(sb, b, 3);
	} else {
		b[0] = (char)(0xf0 | c >> 18);
		b[1] = (char)(0x80 | (c >> 12 & 0x3f));
		b[2] = (char)(0x80 | (c >> 6 & 0x3f));
		b[3] = (char)(0x80 | (c & 0x3f));
		strbuf_add(sb, b, 4);
	}
}

bool text_is_space(uint32_t c)
{
	if (c < 0x100)
		return text_is_space_byte((unsigned char)c);
	return c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
	       c == 0x202f || c == 0x205f || c == 0x3000;
}

void text_trim_left(const char **p, const char *end)
{
	while (*p < end) {
		size_t width;
		if (!text_is_space(text_decode(*p, end, &width)))
			break;
		*p += width;
	}
}

void text_trim(const char **p, const char **end)
{
	text_trim_left(p, *end);
	while (*p < *end) {
		size_t width;
		if (!text_is_space(text_decode_last(*p, *end, &width)))
			break;
		*end -= width;
	}
}

static bool printable(uint32_t c)
{
	if (c < 0x80)
		return c >= 0x20 && c < 0x7f;
	if (c < 0xa1 || c == 0xad || c == RUNE_EOF)
		return false;
	/* Spaces, format characters, private use and surrogates are shown by number. */
	return !text_is_space(c) && !(c >= 0x200b && c <= 0x200f) &&
	       !(c >= 0x202a && c <= 0x202e) && !(c >= 0x2060 && c <= 0x206f) && c != 0xfeff &&
	       !(c >= 0xd800 && c <= 0xf8ff) && c < 0xe0000;
}

void text_quote(struct strbuf *sb, const char *s, size_t n)
{
	static const char names[] = "abtnvfr"; /* 0x07 to 0x0d */
	const char *end = s + n;

	strbuf_addch(sb, '"');
	while (s < end) {
		size_t width;
		uint32_t c = text_decode(s, end, &width);
		if (c == '"' || c == '\\') {
			strbuf_addch(sb, '\\');
			strbuf_addch(sb, (char)c);
		} else if (c == RUNE_ERROR && width == 1) {
			strbuf_addf(sb, "\\x%02x", (unsigned char)*s);
		} else if (printable(c)) {
			strbuf_add(sb, s, width);
		} else if (c >= 7 && c <= 13) {
			strbuf_addch(sb, '\\');
			strbuf_addch(sb, names[c - 7]);
		} else if (c < 0x20 || c == 0x7f) {
			strbuf_addf(sb, "\\x%02x", c);
		} else if (c < 0x10000) {
			strbuf_addf(sb, "\\u%04x", c);
		} else {
			strbuf_addf(sb, "\\U%08x", c);
		}
		s += width;
	}
	strbuf_addch(sb, '"');
}
