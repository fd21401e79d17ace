/* dockerfile/shell_lex.h - the language's shell-like lexer: quotes, escapes, variables, words.
 *
 * One engine serves expansion (expand.h) and the search for heredocs in a line (heredoc.c), which
 * keeps quotes, escapes and unset variables as they are. Private to dockerfile/. */
#ifndef STRAKE_DOCKERFILE_SHELL_LEX_H
#define STRAKE_DOCKERFILE_SHELL_LEX_H

#include "base/error.h"
#include "base/map.h"
#include "base/strbuf.h"
#include "dockerfile/expand.h"

struct shell_lex {
	uint32_t escape;
	bool raw_quotes;            /* keep the quotes in the result */
	bool raw_escapes;           /* keep the escape characters in the result */
	bool skip_quotes;           /* quotes are ordinary characters */
	bool skip_unset;            /* an unset variable stays as written */
	const struct df_vars *vars; /* NULL: every variable is unset */
	struct strv *unset, *used;  /* names, each once; may be NULL */
	/* state */
	const char *p, *end;
	int depth;
	size_t bytes_left, steps_left; /* work allowed, so that hostile text stays cheap */
	struct map seen_unset, seen_used;
};

/* shell_lex_run - ret_word and ret_words (either may be NULL) get the text as one word and split
 * at unquoted white space. The options above are set by the caller, the rest is zeroed. */
int shell_lex_run(struct shell_lex *lex, const char *text, size_t n, struct strbuf *ret_word,
        struct strv *ret_words, struct error *err) must_check;

/* shell_trim - ${v#pat} (suffix false) and ${v%pat}. */
int shell_trim(const struct strbuf *pattern, const char *value, bool suffix, bool longest,
        struct strbuf *out, size_t *steps_left, struct error *err) must_check;
/* shell_replace - ${v/pat/new} and ${v//pat/new}. */
int shell_replace(const struct strbuf *pattern, const char *value, const struct strbuf *replacement,
        bool all, struct strbuf *out, size_t *steps_left, struct error *err) must_check;

#endif
