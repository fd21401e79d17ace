/* tests/fuzz/fuzz_ignore.c - an ignore file, a line "===", then paths, one a line. */
#include <stdint.h>
#include <stdlib.h>

#include "base/error.h"
#include "dockerfile/ignore.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
	if (!condition)
		abort();
}

static void check_path(const struct df_ignore *ig, const char *raw)
{
	_cleanup_free_ char *path = df_clean_path(raw);
	_cleanup_free_ char *again = df_clean_path(path);
	int line;

	require(str_eq(path, again));
	bool hit = df_ignore_match(ig, path, &line);
	require(!hit || (line > 0 && df_ignore_pattern(ig, line)));
	/* What the walk skips must be ignored throughout. */
	for (char *slash = path; (slash = strchr(slash + (slash == path), '/')); slash++) {
		*slash = '\0';
		bool skipped = *path && df_ignore_match(ig, path, NULL) &&
		               !df_ignore_may_reinclude(ig, path);
		*slash = '/';
		require(!skipped || hit);
		if (!slash[1])
			break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_error_ struct error err = ERROR_INIT;
	_cleanup_free_ char *text = xmalloc(size + 1);
	struct df_ignore *ig = NULL;

	if (size)
		memcpy(text, data, size);
	text[size] = '\0';
	char *cut = memmem(text, size, "\n===\n", 5);
	size_t n = cut ? (size_t)(cut - text) : size;
	if (df_ignore_parse(text, n, ".dockerignore", &ig, &err) < 0) {
		require(err.class == ERR_SYNTAX && err.msg);
		return 0;
	}
	for (char *p = cut ? cut + 5 : NULL, *next; p && *p; p = next) {
		next = strchr(p, '\n');
		if (next)
			*next++ = '\0';
		check_path(ig, p);
		/* The first line as a pattern for each path. */
		text[n] = '\0';
		int m = df_match(text, p), d = df_match_double_star(text, p);
		require(m >= -1 && m <= 1 && d >= -1 && d <= 1);
	}
	df_ignore_free(ig);
	return 0;
}
