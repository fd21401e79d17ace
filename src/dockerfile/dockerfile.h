/* dockerfile/dockerfile.h - Dockerfile text -> AST. Pure: no files, no environment.
 *
 * Parsing keeps everything as written: no expansion, no check of instruction or flag names (the
 * graph does that), so that tools can read any file. Source: the Dockerfile reference and
 * SEMANTICS.md 1-12. All strings live in the arena given to df_parse. */
#ifndef STRAKE_DOCKERFILE_DOCKERFILE_H
#define STRAKE_DOCKERFILE_DOCKERFILE_H

#include "base/arena.h"
#include "base/error.h"

enum df_kind {
	DF_UNKNOWN = 0,
	DF_ADD,
	DF_ARG,
	DF_CMD,
	DF_COPY,
	DF_ENTRYPOINT,
	DF_ENV,
	DF_EXPOSE,
	DF_FROM,
	DF_HEALTHCHECK,
	DF_LABEL,
	DF_MAINTAINER,
	DF_ONBUILD,
	DF_RUN,
	DF_SHELL,
	DF_STOPSIGNAL,
	DF_USER,
	DF_VOLUME,
	DF_WORKDIR,
};
enum df_kind df_kind_from_name(const char *lower_name);
const char *df_kind_name(enum df_kind k); /* upper case, "RUN" */

struct df_flag {
	const char *name;  /* "from" of --from=x */
	const char *value; /* after '=', quotes and escapes processed; NULL for a bare flag */
	const char *raw;   /* "--from=x", quotes and escapes processed */
};

struct df_heredoc {
	const char *name;
	int64_t fd;          /* as written before <<; 0 if none */
	bool expand;         /* no quote in the word */
	bool chomp;          /* <<- */
	const char *content; /* with the last newline; leading tabs stripped if chomp */
	size_t content_len;
	const char *raw; /* as written: what is handed on to a shell behind the command's text */
	size_t raw_len;
};

struct df_instr {
	enum df_kind kind;
	const char *name;     /* lower case, as written otherwise ("copyy" for a typo) */
	const char *name_raw; /* as written */
	int line, end_line;   /* 1-based, of the first and last physical line, heredocs included */
	int text_end_line;    /* of the last line before the heredocs */
	const char *original; /* joined text after continuation handling, instruction word included,
	                         heredoc bodies not */
	const char *rest;     /* text after flags, trimmed: what shell form hands to the shell */
	struct df_flag *flags;
	size_t n_flags;
	/* args: JSON form: the strings; shell form of RUN/CMD/ENTRYPOINT/MAINTAINER and such: one
	 * element, the text; word lists (COPY, ADD, EXPOSE, VOLUME...): the words, raw;
	 * ENV/LABEL: triples name, raw value, "=" or ""; ARG: words "NAME" or "NAME=raw";
	 * HEALTHCHECK: type ("NONE", "CMD"), then the command (one text, or the JSON strings). */
	const char **args;
	size_t n_args;
	bool json;                   /* exec form */
	struct df_heredoc *heredocs; /* of ONBUILD: the same ones as its child's */
	size_t n_heredocs;
	struct df_instr *child; /* ONBUILD; NULL if nothing follows */
	const char *comment;    /* comment lines directly above, '\n'-joined, or NULL (outline) */
	/* Facts that lint wants: */
	bool empty_continuation; /* an empty line stood inside */
	int empty_continuation_line;
};

struct df_directive {
	const char *name, *value; /* name lower case */
	int line;
};

struct df_file {
	const char *name; /* for messages: as the user gave it */
	const char *text; /* whole source, for excerpts; NUL-terminated copy */
	size_t text_len;
	const char **lines; /* physical lines without line ends; line i+1 */
	size_t n_lines;
	char escape;
	struct df_directive *directives;
	size_t n_directives;
	struct df_instr **instrs;
	size_t n_instrs;
};

/* df_parse - caps: 16 MiB of text, 1 MiB a line. ERR_SYNTAX with place (file:line:column where it
 * can) and hint. */
int df_parse(struct arena *a, const char *text, size_t n, const char *name, struct df_file **ret,
        struct error *err) must_check;
/* df_lines - a file without instructions, for df_excerpt when df_parse failed; NULL if not even its
 * lines can be read (too large, NUL bytes). */
struct df_file *df_lines(struct arena *a, const char *text, size_t n, const char *name);
/* df_parse_instr - one instruction from text (an ONBUILD trigger out of an image config). */
int df_parse_instr(struct arena *a, const char *text, char escape, const char *name,
        struct df_instr **ret, struct error *err) must_check;
/* df_heredoc_word - is this text "[fd]<<[-]WORD"? True: *ret has all but the content. RUN: the
 * whole text (args[0]) is one, so the heredoc is the script; COPY and ADD: each source that is one
 * names the file, whose content is in instr.heredocs under that name. */
bool df_heredoc_word(struct arena *a, const char *word, struct df_heredoc *ret) must_check;
/* df_find_word - where `word` first stands in the physical lines [line, end_line] (1-based): at
 * the start of a word if it does anywhere. False: nowhere; outputs untouched. */
bool df_find_word(const struct df_file *f, int line, int end_line, const char *word, int *ret_line,
        int *ret_column);
/* df_kind_nearest - the instruction that a typo probably meant ("COPY"), or NULL. */
const char *df_kind_nearest(const char *name);
/* df_detect_frontend - the image named by `# syntax=` (or `// syntax=`, or a JSON body, a leading
 * #! line skipped), or NULL. */
const char *df_detect_frontend(struct arena *a, const char *text, size_t n, int *ret_line);
/* df_check_frontend - strake is the frontend: docker/dockerfile of any tag is accepted, anything
 * else is a clear error. `image` from df_detect_frontend or BUILDKIT_SYNTAX; NULL is fine. */
int df_check_frontend(const char *image, const char *file, int line, struct error *err) must_check;
/* df_directive - the value of a directive of the leading block (a #! line before it is allowed),
 * for `check`; NULL: absent. */
const char *df_directive(
        struct arena *a, const char *text, size_t n, const char *key, int *ret_line);
/* df_excerpt - the lines around [line, end_line] with "  12 | ..." and ">>>" at those lines, as
 * docker prints below a failure:
 *     Dockerfile:3
 *     --------------------
 *        1 |     FROM x
 *        2 |
 *        3 | >>> RUN false
 *     --------------------
 * malloc'ed; control characters escaped. */
char *df_excerpt(const struct df_file *f, int line, int end_line) must_check;

#endif
