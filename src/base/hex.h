/* base/hex.h - lower-case hexadecimal. */
#ifndef STRAKE_BASE_HEX_H
#define STRAKE_BASE_HEX_H

#include "base/base.h"

/* hex_encode - out gets 2*n characters and a NUL. */
void hex_encode(char *out, const void *p, size_t n);
/* hex_decode - exactly 2*n lower-case digits; false for anything else. */
bool hex_decode(void *out, size_t n, const char *s, size_t len) must_check;

#endif
