/* cli/debug.c - see debug.h.
 *
 * ast FILE: one JSON object an instruction. expand: a JSON object a line in, one out. ignore
 * PATTERNFILE: paths in, "1 path" (ignored) or "0 path" out. FILE "-" is standard input. Results
 * go to stdout, errors to stderr. */
#include "cli/debug.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/human.h"
#include "base/strbuf.h"
#include "codec/json.h"
#include "dockerfile/dockerfile.h"
#include "dockerfile/expand.h"
#include "dockerfile/ignore.h"

/* A little more than any reader accepts, so that the reader gives the error. */
#define INPUT_MAX (((size_t)16 << 20) + 1)

static int report(const struct error *err)
{
	_cleanup_free_ char *msg = human_escape(err->msg, strlen(err->msg), true);
	fputs("ERROR: ", stderr);
	if (err->file && err->line && err->column)
		fprintf(stderr, "%s:%d:%d: ", err->file, err->line, err->column);
	else if (err->file && err->line)
		fprintf(stderr, "%s:%d: ", err->file, err->line);
	else if (err->file)
		fprintf(stderr, "%s: ", err->file);
	fprintf(stderr, "%s\n", msg);
	if (err->hint) {
		_cleanup_free_ char *hint = human_escape(err->hint, strlen(err->hint), true);
		fprintf(stderr, "  %s\n", hint);
	}
	return 1;
}

static int read_fd(int fd, const char *path, struct strbuf *out, struct error *err)
{
	char buf[65536];
	ssize_t n;

	do {
		n = read(fd, buf, sizeof(buf));
		if (n > 0)
			strbuf_add(out, buf, (size_t)n);
	} while ((n > 0 && out->len < INPUT_MAX) || (n < 0 && errno == EINTR));
	return n < 0 ? err_sys(err, errno, "cannot read %s", path) : 0;
}

static int read_file(const char *path, struct strbuf *out, struct error *err)
{
	if (str_eq(path, "-"))
		return read_fd(STDIN_FILENO, "standard input", out, err);
	_cleanup_close_ int fd =
	        open(path, O_RDONLY | O_CLOEXEC); /* trusted-path: the user's own */
	if (fd < 0)
		return err_sys(err, errno, "cannot open %s", path);
	return read_fd(fd, path, out, err);
}

/* read_line - the next line of standard input without its newline; false at the end. */
static bool read_line(struct strbuf *line)
{
	int c;

	strbuf_reset(line);
	while ((c = getc_unlocked(stdin)) != EOF && c != '\n')
		if (line->len < INPUT_MAX)
			strbuf_addch(line, (char)c);
	return c != EOF || line->len;
}

/* ---- ast ---- */

static json_t *strings(const char *const *v, size_t n)
{
	json_t *a = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(a, json_str(v[i]));
	return a;
}

static json_t *heredocs(const struct df_instr *in)
{
	json_t *a = json_array();
	for (size_t i = 0; i < in->n_heredocs; i++) {
		const struct df_heredoc *h = &in->heredocs[i];
		json_t *o = json_object();
		json_object_set_new(o, "name", json_str(h->name));
		json_object_set_new(o, "fd", json_integer(h->fd));
		json_object_set_new(o, "expand", json_boolean(h->expand));
		json_object_set_new(o, "chomp", json_boolean(h->chomp));
		json_object_set_new(o, "content", json_str(h->raw));
		json_array_append_new(a, o);
	}
	return a;
}

static json_t *instruction(const struct df_instr *in, bool is_child)
{
	static const char *const nothing[] = {""};
	json_t *o = json_object(), *flags = json_array();
	/* Of an unknown instruction the arguments are not read: one empty word stands for them. */
	bool unknown = in->kind == DF_UNKNOWN;

	for (size_t i = 0; i < in->n_flags; i++)
		json_array_append_new(flags, json_str(in->flags[i].raw));
	json_object_set_new(o, "line", json_integer(in->line));
	json_object_set_new(o, "end_line", json_integer(in->end_line));
	json_object_set_new(o, "instruction", json_str(in->name));
	json_object_set_new(o, "flags", flags);
	json_object_set_new(
	        o, "args", unknown ? strings(nothing, 1) : strings(in->args, in->n_args));
	json_object_set_new(o, "json", json_boolean(in->json));
	json_object_set_new(o, "original", json_str(in->original));
	/* The heredocs of a trigger stand at the ONBUILD. */
	json_object_set_new(o, "heredocs", is_child ? json_array() : heredocs(in));
	if (in->child)
		json_object_set_new(o, "child", instruction(in->child, true));
	return o;
}

static int debug_ast(const char *path, struct error *err)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct df_file *f;

	if (read_file(path, &text, err) < 0 || df_parse(&a, text.buf, text.len, path, &f, err) < 0)
		return -1;
	for (size_t i = 0; i < f->n_instrs; i++) {
		_cleanup_json_ json_t *o = instruction(f->instrs[i], false);
		_cleanup_free_ char *s = json_compact(o);
		puts(s);
	}
	return 0;
}

/* ---- expand ---- */

struct question {
	const char *word;
	bool words;
	char escape;
	struct strv env;
};

static int read_question(const json_t *in, struct question *q, struct error *err)
{
	const char *mode = json_get_str(in, "mode"), *escape = json_get_str(in, "escape"), *name;
	json_t *env = json_get_obj(in, "env"), *value;

	q->word = json_get_str(in, "word");
	if (!q->word)
		return err_set(err, ERR_USAGE, "\"word\" is missing");
	if (mode && !str_eq(mode, "word") && !str_eq(mode, "words"))
		return err_set(err, ERR_USAGE, "\"mode\" must be \"word\" or \"words\"");
	if (escape && strlen(escape) != 1)
		return err_set(err, ERR_USAGE, "\"escape\" must be one character");
	q->words = mode && str_eq(mode, "words");
	q->escape = escape ? *escape : '\\';
	json_object_foreach(env, name, value)
	{
		if (!json_is_string(value))
			return err_set(err, ERR_USAGE, "a value in \"env\" is not a string");
		env_set(&q->env, name, json_string_value(value));
	}
	return 0;
}

static json_t *answer(const json_t *in, struct error *err)
{
	struct question q = {0};
	_cleanup_strv_ struct strv words = STRV_INIT;
	_cleanup_free_ char *word = NULL;
	json_t *out = NULL;

	if (read_question(in, &q, err) == 0) {
		struct df_vars vars = df_env_vars(&q.env);
		if (q.words &&
		        df_expand_words(q.word, q.escape, &vars, &words, NULL, NULL, err) == 0)
			out = json_pack("{s:o}", "words", json_from_strv(&words));
		else if (!q.words &&
		         df_expand_word(q.word, q.escape, &vars, &word, NULL, NULL, err) == 0)
			out = json_pack("{s:o}", "result", json_str(word));
	}
	strv_release(&q.env);
	return out;
}

static int debug_expand(void)
{
	_cleanup_strbuf_ struct strbuf line = STRBUF_INIT;

	while (read_line(&line)) {
		_cleanup_error_ struct error err = ERROR_INIT;
		_cleanup_json_ json_t *in =
		        json_parse(line.buf, line.len, INPUT_MAX, "question", &err);
		_cleanup_json_ json_t *out = in ? answer(in, &err) : NULL;
		if (!out)
			out = json_pack("{s:o}", "error", json_str(err.msg));
		_cleanup_free_ char *s = json_compact(out);
		puts(s);
	}
	return 0;
}

/* ---- ignore ---- */

static void free_ignore(struct df_ignore **ig)
{
	df_ignore_free(*ig);
}

static int debug_ignore(const char *path, struct error *err)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT, line = STRBUF_INIT;
	_cleanup_(free_ignore) struct df_ignore *ig = NULL;

	if (read_file(path, &text, err) < 0 ||
	        df_ignore_parse(text.buf, text.len, path, &ig, err) < 0)
		return -1;
	while (read_line(&line)) {
		_cleanup_free_ char *clean = df_clean_path(line.buf);
		/* The context itself is never ignored. */
		bool hit = !str_eq(clean, ".") && df_ignore_match(ig, clean, NULL);
		printf("%d ", hit);
		fwrite(line.buf, 1, line.len, stdout);
		putchar('\n');
	}
	return 0;
}

static int usage(void)
{
	fputs("usage: strake debug shell [BUILD]     in the state before a step that failed\n"
	      "       strake debug ast FILE\n"
	      "       strake debug expand          JSON questions on standard input\n"
	      "       strake debug ignore FILE     paths on standard input\n",
	        stderr);
	return 2;
}

int cmd_debug(int argc, char **argv)
{
	_cleanup_error_ struct error err = ERROR_INIT;
	int r;

	if (argc == 3 && str_eq(argv[1], "ast"))
		r = debug_ast(argv[2], &err);
	else if (argc == 2 && str_eq(argv[1], "expand"))
		r = debug_expand();
	else if (argc == 3 && str_eq(argv[1], "ignore"))
		r = debug_ignore(argv[2], &err);
	else
		return usage();
	if (r < 0)
		return report(&err);
	if (fflush(stdout) != 0) {
		err_sys(&err, errno, "cannot write the answer");
		return report(&err);
	}
	return 0;
}
