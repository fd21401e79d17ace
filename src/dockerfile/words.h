/* dockerfile/words.h - cutting the text of an instruction into words. Private to dockerfile/. */
#ifndef STRAKE_DOCKERFILE_WORDS_H
#define STRAKE_DOCKERFILE_WORDS_H

#include "dockerfile/dockerfile.h"

/* A list of strings that ends up in the arena. */
struct word_list {
	const char **v;
	size_t n, cap;
};
#define _cleanup_words_ _cleanup_(words_release)
void words_release(struct word_list *w);
void words_add(struct word_list *w, const char *s); /* s outlives the list */
/* words_detach - the array, copied into the arena. */
const char **words_detach(struct word_list *w, struct arena *a, size_t *ret_n);

/* words_plain - split at runs of tab, vertical tab, form feed, CR and space. */
void words_plain(struct arena *a, const char *p, const char *end, struct word_list *out);
/* words_quoted - split at white space outside quotes; quotes and escapes stay (ENV, LABEL, ARG). */
void words_quoted(
        struct arena *a, const char *p, const char *end, char escape, struct word_list *out);
/* words_flags - take the leading "--x" words off; they lose quotes and backslashes. *p moves to
 * what follows. */
void words_flags(struct arena *a, const char **p, const char *end, struct word_list *out);

enum words_json { WORDS_JSON_NO, WORDS_JSON_YES, WORDS_JSON_NOT_STRINGS, WORDS_JSON_NUL };
/* words_json - a JSON array of strings that is the whole text. NO: not JSON, so shell form;
 * NOT_STRINGS: an array that holds something else; NUL: a string with a NUL character. */
enum words_json words_json(struct arena *a, const char *p, const char *end, struct word_list *out);
/* words_json_member - the text is one JSON object with this member, a string: its value; else
 * NULL. */
const char *words_json_member(struct arena *a, const char *p, const char *end, const char *key);

#endif
