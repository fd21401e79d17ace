/* dockerfile/heredoc.c - see heredoc.h. Source: Dockerfile reference, "Here-Documents". */
#include "dockerfile/heredoc.h"

#include "dockerfile/shell_lex.h"

/* The escape character is always a backslash here, whatever the escape directive says. */
static struct shell_lex keeping_lex(bool raw_quotes, bool raw_escapes)
{
	return (struct shell_lex){
	        .escape = '\\',
	        .raw_quotes = raw_quotes,
	        .raw_escapes = raw_escapes,
	        .skip_unset = true,
	};
}

static size_t count_quotes(const char *s)
{
	size_t n = 0;
	for (; *s; s++)
		n += *s == '\'' || *s == '"';
	return n;
}

/* split_operator - "[fd]<<[-]word" -> its parts; false if the word is none. */
static bool split_operator(const char *w, uint64_t *fd, bool *chomp, const char **name)
{
	*fd = 0;
	for (; *w >= '0' && *w <= '9'; w++) {
		unsigned digit = (unsigned)(*w - '0');
		*fd = *fd > (INT64_MAX - digit) / 10 ? INT64_MAX : *fd * 10 + digit;
	}
	if (w[0] != '<' || w[1] != '<')
		return false;
	w += 2;
	*chomp = *w == '-';
	w += *chomp;
	while (*w == ' ' || *w == '\t' || *w == '\f' || *w == '\r' || *w == '\n')
		w++;
	*name = w;
	return *w && !strchr(w, '<');
}

int heredoc_parse_word(struct arena *a, const char *word, struct df_heredoc *ret, struct error *err)
{
	_cleanup_strv_ struct strv plain = STRV_INIT, raw = STRV_INIT;
	const char *name;
	uint64_t fd;
	bool chomp;

	if (!split_operator(word, &fd, &chomp, &name))
		return 0;
	struct shell_lex lex = keeping_lex(false, false);
	if (shell_lex_run(&lex, name, strlen(name), NULL, &plain, err) < 0)
		return -1;
	if (plain.n != 1)
		return 0;
	lex = keeping_lex(true, false);
	if (shell_lex_run(&lex, name, strlen(name), NULL, &raw, err) < 0)
		return -1;
	/* A quote that vanished quoted something. Escaped quotes are in both. */
	bool quoted = raw.n != 1 || count_quotes(plain.v[0]) != count_quotes(raw.v[0]);
	*ret = (struct df_heredoc){
	        .name = arena_strdup(a, plain.v[0]),
	        .fd = (int64_t)fd,
	        .expand = !quoted,
	        .chomp = chomp,
	};
	return 1;
}

int heredoc_find(struct arena *a, const char *line, size_t n, struct df_heredoc **ret,
        size_t *ret_n, struct error *err)
{
	_cleanup_strv_ struct strv words = STRV_INIT;
	_cleanup_error_ struct error ignored = ERROR_INIT;
	struct shell_lex lex = keeping_lex(true, true);

	*ret = NULL;
	*ret_n = 0;
	if (!memmem(line, n, "<<", 2))
		return 0;
	if (shell_lex_run(&lex, line, n, NULL, &words, &ignored) < 0)
		return 0;
	*ret = arena_new(a, struct df_heredoc, words.n + 1);
	for (size_t i = 0; i < words.n; i++) {
		int r = heredoc_parse_word(a, words.v[i], &(*ret)[*ret_n], err);
		if (r < 0)
			return -1;
		*ret_n += (size_t)r;
	}
	return 0;
}
