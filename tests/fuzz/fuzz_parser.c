/* tests/fuzz/fuzz_parser.c - a Dockerfile through parser, lint, frontend detection and excerpt. */
#include <stdint.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/error.h"
#include "dockerfile/lint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
	if (!condition)
		abort();
}

static void check_instr(struct arena *a, const struct df_file *f, const struct df_instr *in)
{
	_cleanup_error_ struct error err = ERROR_INIT;
	struct df_instr *again;

	require(in->line >= 1 && in->line <= in->end_line);
	require((size_t)in->end_line <= f->n_lines);
	for (size_t i = 0; i < in->n_args; i++)
		require(in->args[i] != NULL);
	for (size_t i = 0; i < in->n_flags; i++)
		require(str_starts(in->flags[i].raw, "--"));
	require(!in->json || in->n_heredocs == 0);
	if (in->kind == DF_ENV || in->kind == DF_LABEL)
		require(in->n_args % 3 == 0);
	/* A trigger that was parsed once parses again from its text, heredocs aside (and a byte
	 * order mark, which only counts in the middle). */
	if (in->child && !in->n_heredocs && !str_starts(in->child->original, "\xef\xbb\xbf") &&
	        df_parse_instr(a, in->child->original, f->escape, "ONBUILD", &again, &err) == 0)
		require(again->kind == in->child->kind && again->n_args == in->child->n_args);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_error_ struct error err = ERROR_INIT, status = ERROR_INIT;
	const char *text = (const char *)data;
	struct df_file *f;
	struct df_warnings w;
	int line = 0, column = 0;

	const char *frontend = df_detect_frontend(&a, text, size, &line);
	if (df_check_frontend(frontend, "Dockerfile", line, &err) < 0)
		error_release(&err);
	if (df_parse(&a, text, size, "Dockerfile", &f, &err) < 0) {
		require(err.class == ERR_SYNTAX && err.msg && *err.msg);
		return 0;
	}
	require(f->n_instrs > 0);
	int last = 0;
	for (size_t i = 0; i < f->n_instrs; i++) {
		const struct df_instr *in = f->instrs[i];
		check_instr(&a, f, in);
		require(in->line > last);
		last = in->end_line;
		if (in->n_args &&
		        df_find_word(f, in->line, in->end_line, in->args[0], &line, &column))
			require(line >= in->line && line <= in->end_line && column >= 1);
	}
	df_warnings_init(&w, f);
	df_lint(f, &w);
	for (size_t i = 0; i < w.n; i++) {
		_cleanup_free_ char *excerpt = df_excerpt(f, w.v[i].line, w.v[i].end_line);
		require(*excerpt && df_rule_describe(w.v[i].rule));
	}
	if (df_warnings_status(&w, &status) < 0)
		require(status.msg != NULL);
	df_warnings_release(&w);
	return 0;
}
