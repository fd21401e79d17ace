/* dockerfile/text.h - runes, blanks and quoting as the Dockerfile language counts them.
 *
 * The language was defined by a Go program: text is UTF-8, a byte that is not part of valid UTF-8
 * counts as one U+FFFD, and "space" means Unicode's White_Space. Private to dockerfile/. */
#ifndef STRAKE_DOCKERFILE_TEXT_H
#define STRAKE_DOCKERFILE_TEXT_H

#include "base/base.h"
#include "base/strbuf.h"

#define RUNE_ERROR 0xfffdu
#define RUNE_EOF UINT32_MAX

/* text_decode - the rune at p (p < end) and its width in bytes (1 for an invalid byte). */
uint32_t text_decode(const char *p, const char *end, size_t *ret_width);
/* text_decode_last - the rune that ends at end (p < end). */
uint32_t text_decode_last(const char *p, const char *end, size_t *ret_width);
void text_put(struct strbuf *sb, uint32_t rune);

bool text_is_space(uint32_t rune);
bool text_is_letter(uint32_t rune);
bool text_is_digit(uint32_t rune);
/* text_is_space_byte - a single byte taken as a Latin-1 character: what flag splitting does. */
static inline bool text_is_space_byte(unsigned char c)
{
	return (c >= '\t' && c <= '\r') || c == ' ' || c == 0x85 || c == 0xa0;
}
/* text_is_blank - what separates plain words: tab, vertical tab, form feed, CR, space. */
static inline bool text_is_blank(char c)
{
	return c == '\t' || c == '\v' || c == '\f' || c == '\r' || c == ' ';
}

/* text_trim_left / text_trim - move *p and *end inwards over white space. */
void text_trim_left(const char **p, const char *end);
void text_trim(const char **p, const char **end);
/* text_quote - append s in double quotes with escapes, as error messages show words. */
void text_quote(struct strbuf *sb, const char *s, size_t n);

#endif
