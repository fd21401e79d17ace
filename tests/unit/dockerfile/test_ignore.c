/* tests/unit/dockerfile/test_ignore.c - the parts of ignore.h that files do not show. */
#include "../tap.h"
#include "dockerfile/ignore.h"

static struct df_ignore *parse(const char *text)
{
	_cleanup_error_ struct error err = ERROR_INIT;
	struct df_ignore *ig = NULL;
	if (df_ignore_parse(text, strlen(text), ".dockerignore", &ig, &err) < 0)
		printf("# %s\n", err.msg);
	return ig;
}

static void test_lines(void)
{
	struct df_ignore *ig = parse("# comment\n\n*.md\n!README.md\n  /x/  \n");
	int line = -1;
	ok(df_ignore_match(ig, "a.md", &line), "ignored");
	is_int(line, 3, "by line 3");
	ok(!df_ignore_match(ig, "README.md", &line), "brought back");
	is_int(line, 4, "by line 4");
	ok(!df_ignore_match(ig, "y", &line), "not concerned");
	is_int(line, 0, "by none");
	is_str(df_ignore_pattern(ig, 5), "/x/", "pattern as written");
	ok(!df_ignore_pattern(ig, 1), "a comment is none");
	is_str(df_ignore_name(ig), ".dockerignore", "name");
	ok(!df_ignore_is_empty(ig), "not empty");
	df_ignore_free(ig);
	ok(df_ignore_is_empty(NULL), "NULL is empty");
	ok(!df_ignore_match(NULL, "x", NULL), "NULL ignores nothing");
}

static void test_reinclude(void)
{
	struct df_ignore *ig = parse("*\n!a/b/c\n!d/*/e\n!*.md\n");
	ok(df_ignore_may_reinclude(ig, "a"), "a/b/c is below a");
	ok(df_ignore_may_reinclude(ig, "a/b"), "and below a/b");
	ok(!df_ignore_may_reinclude(ig, "a/b/c"), "nothing below itself");
	ok(!df_ignore_may_reinclude(ig, "ab"), "ab is another");
	ok(df_ignore_may_reinclude(ig, "d/x"), "d/x/e may be");
	ok(!df_ignore_may_reinclude(ig, "d/x/y"), "too deep");
	ok(!df_ignore_may_reinclude(ig, "z"), "*.md stays at the root");
	df_ignore_free(ig);
	ig = parse("*\n!**/keep\n");
	ok(df_ignore_may_reinclude(ig, "x/y/z"), "two stars reach everywhere");
	df_ignore_free(ig);
	ig = parse("*\n!\xf1*/a\n");
	ok(!df_ignore_match(ig, "\xf2x/a", NULL), "a byte that is no UTF-8 matches any other");
	ok(df_ignore_may_reinclude(ig, "\xf2x"), "so the walk must look there");
	df_ignore_free(ig);
	ig = parse("*\n");
	ok(!df_ignore_may_reinclude(ig, "x"), "no exception at all");
	df_ignore_free(ig);
}

static void test_list(void)
{
	_cleanup_error_ struct error err = ERROR_INIT;
	_cleanup_strv_ struct strv v = STRV_INIT;
	struct df_ignore *ig = NULL;
	strv_add(&v, " *.txt ");
	strv_add(&v, "#x");
	strv_add(&v, "!a.txt");
	is_int(df_ignore_new(&v, "--exclude", &ig, &err), 0, "from a list");
	ok(df_ignore_match(ig, "b.txt", NULL), "trimmed");
	ok(df_ignore_match(ig, "#x", NULL), "no comments in a list");
	ok(!df_ignore_match(ig, "a.txt", NULL), "exception");
	df_ignore_free(ig);
	strv_add(&v, "[");
	is_int(df_ignore_new(&v, "--exclude", &ig, &err), -1, "malformed");
	is_int(err.line, 4, "its place in the list");
}

static void check_match(const char *pattern, const char *path, int want)
{
	char what[200];
	snprintf(what, sizeof(what), "match %s %s", pattern, path);
	is_int(df_match(pattern, path), want, what);
}

static void test_match(void)
{
	check_match("*", "", 1);
	check_match("*", "a", 1);
	check_match("*", "a/b", 0);
	check_match("a*", "abc", 1);
	check_match("a*/b", "abc/b", 1);
	check_match("a*/b", "a/c/b", 0);
	check_match("k*l*m*/n", "kilolamp/n", 1);
	check_match("k*l*m*/n", "kilolamp/o/n", 0);
	check_match("s*t?r*d", "stxutordtorstord", 1);
	check_match("ab[c]", "abc", 1);
	check_match("ab[^b-d]", "abe", 1);
	check_match("ab[^b-d]", "abc", 0);
	check_match("[\\]a]", "]", 1);
	check_match("[\\-x]", "-", 1);
	check_match("a\\*b", "a*b", 1);
	check_match("a\\*b", "ab", 0);
	check_match("x???y", "xäöüy", 1);
	check_match("a[^a][^a]b", "a/xb", 1);
	check_match("a?b", "a/b", 0);
	check_match("[", "a", -1);
	check_match("[a", "ab", -1);
	check_match("[^", "a", -1);
	check_match("[-]", "-", -1);
	check_match("[x-]", "x", -1);
	check_match("a[", "b", -1);
	check_match("*x[", "b", -1);
	check_match("a\\", "a", -1);
	check_match("**", "ab", 1);
	check_match("", "", 1);
	check_match("", "a", 0);
	ok(df_has_wildcard("a*"), "star");
	ok(df_has_wildcard("a[b]"), "class");
	ok(!df_has_wildcard("a\\*"), "escaped");
	is_int(df_match_double_star("a/**/b", "a/x/y/b"), 1, "two stars");
	is_int(df_match_double_star("a/*/b", "a/x/y/b"), 0, "one star");
	is_int(df_match_double_star("[", "a"), -1, "malformed");
}

static void check_clean(const char *path, const char *want)
{
	char *got = df_clean_path(path);
	is_str(got, want, path);
	free(got);
}

static void test_clean(void)
{
	check_clean("", ".");
	check_clean("abc", "abc");
	check_clean("a/b/c", "a/b/c");
	check_clean(".", ".");
	check_clean("..", "..");
	check_clean("../..", "../..");
	check_clean("/", "/");
	check_clean("//a//", "/a");
	check_clean("a/", "a");
	check_clean("./a/./b/.", "a/b");
	check_clean("a/../b", "b");
	check_clean("a/..", ".");
	check_clean("a/b/../../..", "..");
	check_clean("/..", "/");
	check_clean("/../a", "/a");
	check_clean("a/../../b/../c", "../c");
	check_clean("/a/b/../..", "/");
	check_clean("a/b/..", "a");
	check_clean("../../a/..", "../..");
}

int main(void)
{
	test_lines();
	test_reinclude();
	test_list();
	test_match();
	test_clean();
	return tap_done();
}
