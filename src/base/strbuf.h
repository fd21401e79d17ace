/* base/strbuf.h - a growing byte buffer that is always NUL-terminated.
 *
 * Invariant: buf is never NULL after STRBUF_INIT; buf[len] == '\0'. Binary data is welcome.
 * Lifecycle: `struct strbuf sb = STRBUF_INIT` or `_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT`,
 * then strbuf_detach() for the string or strbuf_release(). */
#ifndef STRAKE_BASE_STRBUF_H
#define STRAKE_BASE_STRBUF_H

#include <stdarg.h>
#include "base/base.h"

struct strbuf {
	char *buf;
	size_t len, cap; /* cap 0: buf is the shared empty string */
};

extern char strbuf_empty[1];
#define STRBUF_INIT ((struct strbuf){.buf = strbuf_empty})
#define _cleanup_strbuf_ _cleanup_(strbuf_release)

void strbuf_release(struct strbuf *sb);
void strbuf_reset(struct strbuf *sb); /* empty, keep the memory */
void strbuf_grow(struct strbuf *sb, size_t extra);
void strbuf_add(struct strbuf *sb, const void *p, size_t n);
void strbuf_addstr(struct strbuf *sb, const char *s);
void strbuf_addch(struct strbuf *sb, char c);
void strbuf_addf(struct strbuf *sb, const char *fmt, ...) printf_like(2, 3);
void strbuf_vaddf(struct strbuf *sb, const char *fmt, va_list ap) printf_like(2, 0);
void strbuf_truncate(struct strbuf *sb, size_t len); /* len <= sb->len */
/* strbuf_detach - the malloc'ed string (never NULL); sb is empty afterwards. */
char *strbuf_detach(struct strbuf *sb) must_check;

#endif
