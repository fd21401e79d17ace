/* tests/unit/dockerfile/debug_main.c - `strake debug` alone, and lint, for the golden suite. */
#include <stdio.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/strbuf.h"
#include "cli/debug.h"
#include "dockerfile/lint.h"

/* lint - the file on standard input: "LINE RULE: MESSAGE" a warning. */
static int lint(void)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_error_ struct error err = ERROR_INIT;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct df_file *f;
	struct df_warnings w;
	char buf[4096];
	size_t n;

	while ((n = fread(buf, 1, sizeof(buf), stdin)) > 0)
		strbuf_add(&text, buf, n);
	if (df_parse(&a, text.buf, text.len, "Dockerfile", &f, &err) < 0) {
		printf("%s\n", err.msg);
		return 1;
	}
	df_warnings_init(&w, f);
	df_lint(f, &w);
	for (size_t i = 0; i < w.n; i++)
		printf("%d %s: %s\n", w.v[i].line, w.v[i].rule, w.v[i].message);
	if (df_warnings_status(&w, &err) < 0)
		printf("error: %s\n", err.msg);
	df_warnings_release(&w);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && str_eq(argv[1], "lint"))
		return lint();
	return cmd_debug(argc, argv);
}
