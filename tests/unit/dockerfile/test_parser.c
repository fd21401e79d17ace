/* tests/unit/dockerfile/test_parser.c - the AST as other folders see it, and its errors. */
#include "base/error.h"
#include "base/strbuf.h"
#include "dockerfile/lint.h"
#include "../tap.h"

static struct df_file *parse(struct arena *a, const char *text, struct error *err)
{
	struct df_file *f = NULL;
	return df_parse(a, text, strlen(text), "Dockerfile", &f, err) == 0 ? f : NULL;
}

static void test_instruction(void)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_error_ struct error err = ERROR_INIT;
	struct df_file *f = parse(&a,
	        "# escape=`\n"
	        "FROM --platform=$P busybox AS one\n"
	        "# about run\n"
	        "run --mount=type=cache,target=/x `\n"
	        "  # inside\n"
	        "\n"
	        "  echo \"a\"\n",
	        &err);
	ok(f != NULL, "parses");
	is_int(f->escape, '`', "escape directive");
	is_int(f->n_instrs, 2, "two instructions");
	struct df_instr *from = f->instrs[0], *run = f->instrs[1];
	is_int(from->kind, DF_FROM, "FROM");
	is_int(from->n_args, 3, "FROM words");
	is_str(from->args[2], "one", "stage name");
	is_str(from->flags[0].name, "platform", "flag name");
	is_str(from->flags[0].value, "$P", "flag value");
	is_str(run->name, "run", "lower-case name");
	is_str(run->rest, "echo \"a\"", "text after flags");
	is_str(run->args[0], "echo \"a\"", "shell form is one text");
	is_str(run->comment, "about run", "comment above");
	is_int(run->line, 4, "first line");
	is_int(run->end_line, 7, "last line");
	ok(run->empty_continuation, "empty line inside");
	is_int(run->empty_continuation_line, 6, "its line");
	is_str(f->lines[1], "FROM --platform=$P busybox AS one", "physical line");
}

static void test_heredoc(void)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_error_ struct error err = ERROR_INIT;
	struct df_file *f =
	        parse(&a, "ONBUILD COPY <<-'A' 3<<B /d/\n\tx\n\t\ty\n\tA\n$z\nB\nRUN true", &err);
	ok(f != NULL, "parses");
	struct df_instr *in = f->instrs[0];
	is_int(in->n_heredocs, 2, "two heredocs");
	is_str(in->heredocs[0].content, "x\ny\n", "tabs stripped");
	is_str(in->heredocs[0].raw, "\tx\n\t\ty\n", "raw kept");
	ok(!in->heredocs[0].expand && in->heredocs[1].expand, "quotes switch expansion off");
	is_int(in->heredocs[1].fd, 3, "descriptor");
	is_int(in->child->n_heredocs, 2, "the trigger has them too");
	is_int(in->end_line, 6, "the end marker is the last line");
	is_int(in->text_end_line, 1, "the text ends before");
	is_int(f->instrs[1]->line, 7, "parsing goes on behind");
	struct df_heredoc h;
	ok(df_heredoc_word(&a, "<<EOF", &h), "<<EOF is a heredoc word");
	ok(!df_heredoc_word(&a, "cat <<EOF", &h), "cat <<EOF is not");
}

static void test_trigger(void)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_error_ struct error err = ERROR_INIT;
	struct df_instr *in;
	is_int(df_parse_instr(&a, "RUN <<EOF\nhi\nEOF", '\\', "ONBUILD", &in, &err), 0,
	        "with heredoc");
	is_str(in->heredocs[0].content, "hi\n", "its content");
	is_int(df_parse_instr(&a, "RUN a\nRUN b", '\\', "ONBUILD", &in, &err), -1,
	        "two are refused");
}

static void check_error(const char *text, const char *msg, int line, int column)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_error_ struct error err = ERROR_INIT;
	ok(!parse(&a, text, &err), "refused");
	is_str(err.msg, msg, "message");
	is_int(err.class, ERR_SYNTAX, "class");
	is_int(err.line, line, "line");
	is_int(err.column, column, "column");
	is_str(err.file, "Dockerfile", "file");
}

static void test_errors(void)
{
	check_error("", "file with no instructions", 1, 0);
	check_error("FROM x\nENV a\n", "ENV must have two arguments", 2, 5);
	check_error("FROM x\nLABEL a=b \\\n  c\n",
	        "Syntax error - can't find = in \"c\". Must be of the form: name=value", 3, 3);
	check_error("CMD [\"a\", 1]\n",
	        "when using JSON array syntax, arrays must be comprised of strings only", 1, 5);
	check_error("# escape=`\n#escape=\\\nFROM x\n",
	        "only one escape parser directive can be used", 2, 1);
	check_error(
	        "# escape=x\nFROM x\n", "invalid escape token 'x' does not match ` or \\", 1, 1);
	check_error("FROM x\nRUN <<EOF\n EOF\n",
	        "unterminated heredoc: no line below is just \"EOF\"", 2, 5);
}

static void test_limits(void)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_error_ struct error err = ERROR_INIT;
	struct df_file *f;
	size_t n = (1u << 20) + 5;
	char *big = malloc(n + 1);
	memset(big, 'x', n);
	memcpy(big, "RUN ", 4);
	is_int(df_parse(&a, big, 1u << 20, "D", &f, &err), 0, "a line of 1 MiB");
	is_int(df_parse(&a, big, n, "D", &f, &err), -1, "a longer one");
	is_str(err.msg, "the line is too long: 1048581 bytes, 1 MiB is the limit", "says so");
	error_release(&err);
	is_int(df_parse(&a, "FROM x\nRUN a\0b\n", 15, "D", &f, &err), -1, "NUL");
	is_int(err.line, 2, "its line");
	is_int(err.column, 6, "its column");
	free(big);
}

/* Many stages, long lines, many words: linear, so that this takes no time to speak of. */
static void test_scale(void)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_error_ struct error err = ERROR_INIT;
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	struct df_warnings w;

	for (int i = 0; i < 10000; i++)
		strbuf_addf(&sb, "FROM scratch AS s%d\nCOPY --from=s%d a b\n", i, i ? i - 1 : 0);
	struct df_file *f = parse(&a, sb.buf, &err);
	ok(f && f->n_instrs == 20000, "10,000 stages");
	df_warnings_init(&w, f);
	df_lint(f, &w);
	is_int(w.n, 0, "without a warning");
	df_warnings_release(&w);

	strbuf_reset(&sb);
	strbuf_addstr(&sb, "ENV");
	for (int i = 0; i < 100000; i++)
		strbuf_addf(&sb, " a%d=\\ %d", i, i);
	f = parse(&a, sb.buf, &err);
	ok(f == NULL && strstr(err.msg, "too long"), "one line of 1.9 MB is too long");
	error_release(&err);
	strbuf_reset(&sb);
	strbuf_addstr(&sb, "ENV");
	for (int i = 0; i < 100000; i++)
		strbuf_addf(&sb, " \\\n a%d=b", i);
	f = parse(&a, sb.buf, &err);
	ok(f && f->instrs[0]->n_args == 300000, "100,000 lines that continue are not");

	strbuf_reset(&sb);
	for (int i = 0; i < 100000; i++)
		strbuf_addstr(&sb, "ONBUILD ");
	f = parse(&a, sb.buf, &err);
	ok(f == NULL && strstr(err.msg, "nested too deeply"), "ONBUILD ONBUILD ...");
	error_release(&err);

	strbuf_reset(&sb);
	strbuf_addstr(&sb, "RUN");
	for (int i = 0; i < 5000; i++)
		strbuf_addf(&sb, " <<E%d", i);
	for (int i = 0; i < 5000; i++)
		strbuf_addf(&sb, "\nx\nE%d", i);
	f = parse(&a, sb.buf, &err);
	ok(f && f->instrs[0]->n_heredocs == 5000, "5,000 heredocs");
	is_int(f ? f->instrs[0]->end_line : 0, 10001, "each read once");
}

static void test_excerpt(void)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_error_ struct error err = ERROR_INIT;
	struct df_file *f = parse(&a, "FROM x\n\nRUN false\nRUN \033[31m\n", &err);
	_cleanup_free_ char *s = df_excerpt(f, 3, 3);
	is_str(s,
	        "Dockerfile:3\n"
	        "--------------------\n"
	        "   1 |     FROM x\n"
	        "   2 |     \n"
	        "   3 | >>> RUN false\n"
	        "   4 |     RUN \\x1b[31m\n"
	        "   5 |     \n"
	        "--------------------\n",
	        "as docker prints it, control characters escaped");
}

static void test_lines(void)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	struct df_file *f = df_lines(&a, "FROM x\nENV a\n", 13, "Dockerfile");
	ok(f && f->n_instrs == 0 && f->n_lines == 2, "the lines of what does not parse");
	_cleanup_free_ char *s = df_excerpt(f, 2, 2);
	ok(strstr(s, "   2 | >>> ENV a\n"), "for an excerpt");
	ok(!df_lines(&a, "a\0b", 3, "Dockerfile"), "but not of binary data");
}

static void test_frontend(void)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_error_ struct error err = ERROR_INIT;
	int line = 0;
	const char *t = "#!/bin/x\n# syntax=docker/dockerfile:1 arg\nFROM x\n";
	is_str(df_detect_frontend(&a, t, strlen(t), &line), "docker/dockerfile:1", "behind #!");
	is_int(line, 2, "its line");
	t = "// syntax=a/b\n";
	is_str(df_detect_frontend(&a, t, strlen(t), &line), "a/b", "slashes");
	t = "{\"x\":[{}],\"syntax\":\"c\"}";
	is_str(df_detect_frontend(&a, t, strlen(t), &line), "c", "JSON");
	t = "# nothing\n# syntax=a\nFROM x\n";
	ok(!df_detect_frontend(&a, t, strlen(t), &line), "too late");
	is_int(df_check_frontend("docker/dockerfile:1.7-labs", "D", 1, &err), 0, "ours");
	is_int(df_check_frontend("docker/dockerfile@sha256:00", "D", 1, &err), 0, "by digest");
	is_int(df_check_frontend(NULL, "D", 1, &err), 0, "none");
	is_int(df_check_frontend("ghcr.io/x/y", "D", 1, &err), -1, "another");
}

int main(void)
{
	test_instruction();
	test_heredoc();
	test_trigger();
	test_errors();
	test_limits();
	test_scale();
	test_excerpt();
	test_lines();
	test_frontend();
	return tap_done();
}
