/* dockerfile/lexer.h - text -> physical lines -> logical lines. Private to dockerfile/.
 *
 * A logical line is what one instruction stands on: comments dropped, continuations joined. The
 * lexer also reads the parser directives, since `escape` changes how lines are joined. */
#ifndef STRAKE_DOCKERFILE_LEXER_H
#define STRAKE_DOCKERFILE_LEXER_H

#include "base/strbuf.h"
#include "dockerfile/dockerfile.h"

struct lexer {
	struct arena *a;
	struct df_file *f;
	const size_t
	        *off; /* off[i]: where physical line i (0-based) begins; off[n_lines]: the end */
	size_t at;    /* next physical line */
	bool directives_done;
	struct strbuf joined, comment;
};

struct logical_line {
	const char *text; /* NUL-terminated, in the arena */
	size_t len;
	int line, end_line;
	const char *comment;
	int empty_line; /* the first empty line inside a continuation; 0: none */
};

/* lexer_init - checks the caps, splits lines, strips a byte order mark. f->name is set. */
int lexer_init(struct lexer *lx, struct arena *a, struct df_file *f, const char *text, size_t n,
        struct error *err) must_check;
void lexer_release(struct lexer *lx);
/* lexer_next - 1: a line; 0: the end. */
int lexer_next(struct lexer *lx, struct logical_line *ret, struct error *err) must_check;
/* lexer_raw - the next physical line with its line end (heredoc bodies); false at the end. */
bool lexer_raw(struct lexer *lx, const char **ret, size_t *ret_n);

/* lexer_split_directive - "<mark> key = value"; mark is "#" or "//". */
bool lexer_split_directive(const char *p, const char *end, const char *mark, const char **key,
        size_t *key_n, const char **value, size_t *value_n);

#endif
