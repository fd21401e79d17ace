/* base/utf8.h - one character of UTF-8. */
#ifndef STRAKE_BASE_UTF8_H
#define STRAKE_BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* utf8_decode - bytes of the valid sequence at s (n >= 1 bytes there), its code point in *cp; 0 if
 * it is none: cut off, overlong, a surrogate, or beyond U+10FFFF. */
size_t utf8_decode(const unsigned char *s, size_t n, uint32_t *cp);

#endif
