/* dockerfile/words.c - see words.h. */
#include "dockerfile/words.h"

#include "dockerfile/text.h"

void words_release(struct word_list *w)
{
	free(w->v);
	*w = (struct word_list){0};
}

void words_add(struct word_list *w, const char *s)
{
	vec_grow(&w->v, &w->cap, w->n + 1);
	w->v[w->n++] = s;
}

const char **words_detach(struct word_list *w, struct arena *a, size_t *ret_n)
{
	*ret_n = w->n;
	const char **v = arena_memdup(a, w->v, w->n * sizeof(*v));
	words_release(w);
	return v;
}

void words_plain(struct arena *a, const char *p, const char *end, struct word_list *out)
{
	if (p == end)
		return;
	for (;;) {
		const char *start = p;
		while (p < end && !text_is_blank(*p))
			p++;
		words_add(out, arena_strndup(a, start, (size_t)(p - start)));
		if (p == end)
			return;
		while (p < end && text_is_blank(*p))
			p++;
	}
}

/* put_rune - as decoded: an invalid byte becomes U+FFFD. */
static size_t put_rune(struct strbuf *word, const char *p, const char *end)
{
	size_t width;
	text_put(word, text_decode(p, end, &width));
	return width;
}

/* quoted_word - one word from p on; returns where it ends. A quote opened and never closed runs
 * to the end; an escape character at the very end is dropped. */
static const char *quoted_word(
        const char *p, const char *end, char escape, struct strbuf *word, bool *ret_had_quote)
{
	char quote = 0;

	*ret_had_quote = false;
	while (p < end) {
		size_t width;
		uint32_t c = text_decode(p, end, &width);
		if (!quote && text_is_space(c))
			break;
		if (quote && c == (unsigned char)quote) {
			quote = 0;
		} else if (!quote && (c == '\'' || c == '"')) {
			quote = (char)c;
			*ret_had_quote = true;
		} else if (c == (unsigned char)escape && quote != '\'') {
			p += width;
			if (p == end)
				break;
			text_put(word, c);
			p += put_rune(word, p, end);
			continue;
		}
		text_put(word, c);
		p += width;
	}
	return p;
}

void words_quoted(
        struct arena *a, const char *p, const char *end, char escape, struct word_list *out)
{
	_cleanup_strbuf_ struct strbuf word = STRBUF_INIT;

	for (;;) {
		bool had_quote;
		text_trim_left(&p, end);
		if (p == end)
			return;
		strbuf_reset(&word);
		p = quoted_word(p, end, escape, &word, &had_quote);
		if (word.len || had_quote)
			words_add(out, arena_strndup(a, word.buf, word.len));
	}
}

/* flag_word - one flag from p on, without quotes and backslashes; returns where it ends. Bytes
 * count as characters of their own here, and the backslash escapes whatever the escape directive
 * says: what flags have always meant. */
static const char *flag_word(const char *p, const char *end, struct strbuf *word)
{
	char quote = 0;

	for (; p < end; p++) {
		unsigned char c = (unsigned char)*p;
		if (quote ? c == (unsigned char)quote : c == '\'' || c == '"') {
			quote = quote ? 0 : (char)c;
			continue;
		}
		if (!quote && text_is_space_byte(c))
			break;
		if (c == '\\') {
			if (p + 1 == end)
				continue;
			c = (unsigned char)*++p;
		}
		text_put(word, c);
	}
	return p;
}

void words_flags(struct arena *a, const char **p, const char *end, struct word_list *out)
{
	_cleanup_strbuf_ struct strbuf word = STRBUF_INIT;

	for (;;) {
		while (*p < end && text_is_space_byte((unsigned char)**p))
			(*p)++;
		if (end - *p < 2 || (*p)[0] != '-' || (*p)[1] != '-')
			return;
		strbuf_reset(&word);
		*p = flag_word(*p, end, &word);
		if (str_eq(word.buf, "--"))
			return;
		words_add(out, arena_strndup(a, word.buf, word.len));
	}
}
