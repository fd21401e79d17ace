/* base/utf8.c - see utf8.h. */
#include "base/utf8.h"

size_t utf8_decode(const unsigned char *s, size_t n, uint32_t *cp)
{
	size_t need = s[0] < 0x80   ? 1
	              : s[0] < 0xc2 ? 0
	              : s[0] < 0xe0 ? 2
	              : s[0] < 0xf0 ? 3
	              : s[0] < 0xf5 ? 4
	                            : 0;
	static const unsigned char first_mask[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
	if (!need || need > n)
		return 0;
	uint32_t v = s[0] & first_mask[need];
	for (size_t i = 1; i < need; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		v = v << 6 | (s[i] & 0x3f);
	}
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	if (v < least[need] || v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
		return 0;
	*cp = v;
	return need;
}
