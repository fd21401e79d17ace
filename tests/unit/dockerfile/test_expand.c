/* tests/unit/dockerfile/test_expand.c - what the golden cases of expansion cannot show: names
 * used, heredoc bodies, bounds. */
#include "../tap.h"
#include "base/strbuf.h"
#include "dockerfile/expand.h"

static struct strv env;
static struct df_vars vars;

static void test_names(void)
{
	_cleanup_error_ struct error err = ERROR_INIT;
	_cleanup_strv_ struct strv unset = STRV_INIT, used = STRV_INIT;
	char *s = NULL;
	is_int(df_expand_word("$A $U ${U:-x} ${A%.*} $V", '\\', &vars, &s, &unset, &used, &err), 0,
	        "expands");
	is_str(s, "a.b  x a ", "result");
	is_int(unset.n, 2, "two names unset, each once");
	is_str(unset.v[0], "U", "first");
	is_str(unset.v[1], "V", "second");
	is_int(used.n, 1, "one used");
	is_str(used.v[0], "A", "its name");
	free(s);
}

static void test_raw(void)
{
	_cleanup_error_ struct error err = ERROR_INIT;
	const char *text = "say \"$A\" 'it's $A' \\$A \\\\ < << x\n";
	char *s = NULL;
	size_t n = 0;
	is_int(df_expand_raw(text, strlen(text), '\\', &vars, &s, &n, &err), 0, "expands");
	is_str(s, "say \"a.b\" 'it's a.b' $A \\ < << x\n", "quotes are plain, escapes work");
	is_int(n, strlen(s), "length");
	free(s);
}

static int expand(const struct strbuf *sb, struct error *err)
{
	char *s = NULL;
	int r = df_expand_word(sb->buf, '\\', &vars, &s, NULL, NULL, err);
	free(s);
	return r;
}

static void test_bounds(void)
{
	_cleanup_error_ struct error err = ERROR_INIT;
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;

	for (int i = 0; i < 200; i++)
		strbuf_addstr(&sb, "${U:-");
	for (int i = 0; i < 200; i++)
		strbuf_addch(&sb, '}');
	is_int(expand(&sb, &err), 0, "200 levels");
	strbuf_reset(&sb);
	for (int i = 0; i < 100000; i++)
		strbuf_addstr(&sb, "${U:-");
	is_int(expand(&sb, &err), -1, "no more");
	ok(strstr(err.msg, "nested too deeply"), "says so");
	error_release(&err);

	/* A value of 1 MiB, used 5 times. */
	char *big = malloc((1u << 20) + 1);
	memset(big, 'x', 1u << 20);
	big[1u << 20] = '\0';
	env_set(&env, "BIG", big);
	strbuf_reset(&sb);
	for (int i = 0; i < 5; i++)
		strbuf_addstr(&sb, "$BIG");
	is_int(expand(&sb, &err), -1, "too much text");
	ok(strstr(err.msg, "more than 4 MiB"), "says so");
	error_release(&err);

	/* Patterns that would take forever by trial and error. */
	strbuf_reset(&sb);
	strbuf_addstr(&sb, "${BIG##");
	for (int i = 0; i < 500; i++)
		strbuf_addstr(&sb, "*x");
	strbuf_addstr(&sb, "y}");
	is_int(expand(&sb, &err), -1, "too much work");
	ok(strstr(err.msg, "too costly"), "says so");
	env_unset(&env, "BIG");
	free(big);
}

/* Many words that are each within their bound share what their file may cost. */
static void test_budget(void)
{
	size_t left = 100;
	struct df_vars limited = vars;
	_cleanup_error_ struct error err = ERROR_INIT;
	char *out = NULL;
	limited.work_left = &left;
	ok(df_expand_word("x${A}y", '\\', &limited, &out, NULL, NULL, &err) == 0, "within");
	is_str(out, "xa.by", "as without a budget");
	free(out);
	is_int(left, 91, "six bytes read, and three of the value");
	ok(df_expand_word("${A//a/0123456789}${A//b/0123456789}", '\\', &limited, &out, NULL, NULL,
	           &err) < 0,
	        "beyond");
	ok(strstr(err.msg, "too much work") != NULL, "and said so");
	is_int(left, 0, "nothing is left");
	error_release(&err);
	ok(df_expand_word("x", '\\', &limited, &out, NULL, NULL, &err) < 0,
	        "not even for one byte");
}

int main(void)
{
	env_set(&env, "A", "a.b");
	vars = df_env_vars(&env);
	test_names();
	test_raw();
	test_bounds();
	test_budget();
	strv_release(&env);
	return tap_done();
}
