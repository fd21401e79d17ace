/* tests/fuzz/fuzz_expand.c - first byte: the escape character; lines "K=V" up to an empty one are
 * the environment; the rest is the word. */
#include <stdint.h>
#include <stdlib.h>

#include "base/error.h"
#include "dockerfile/expand.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
	if (!condition)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_error_ struct error err = ERROR_INIT;
	_cleanup_strv_ struct strv env = STRV_INIT, words = STRV_INIT, unset = STRV_INIT,
	                           used = STRV_INIT;
	_cleanup_free_ char *text = xstrndup((const char *)data, size), *word = NULL, *raw = NULL;
	char escape = size && data[0] == '`' ? '`' : '\\', *p = text, *nl;
	size_t n = 0;

	if (*p)
		p++;
	while ((nl = strchr(p, '\n')) && nl > p) {
		*nl = '\0';
		char *eq = strchr(p, '=');
		if (eq) {
			*eq = '\0';
			env_set(&env, p, eq + 1);
		}
		p = nl + 1;
	}
	if (*p == '\n')
		p++;
	struct df_vars vars = df_env_vars(&env);
	int one = df_expand_word(p, escape, &vars, &word, &unset, &used, &err);
	require(one == 0 || (err.class == ERR_SYNTAX && err.msg));
	error_release(&err);
	int many = df_expand_words(p, escape, &vars, &words, NULL, NULL, &err);
	require(one == many);
	size_t total = 0;
	strv_foreach (w, &words) {
		require(*w);
		total += strlen(w);
	}
	/* Splitting only leaves white space out (an invalid byte becomes a character of three). */
	require(many < 0 || total <= 3 * strlen(word));
	strv_foreach (name, &unset)
		require(!strv_contains(&used, name) && !env_get(&env, name));
	error_release(&err);
	if (df_expand_raw(p, strlen(p), '\\', &vars, &raw, &n, &err) == 0)
		require(strlen(raw) == n);
	return 0;
}
