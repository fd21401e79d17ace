/* dockerfile/expand.c - see expand.h and shell_lex.h.
 *
 * A recursive walk over the text: the outer level and each ${v:-word} run the same loop with
 * another stop character. Depth, result size and total work are bounded, so that text which doubles
 * itself or nests without end is an error and not a dead machine. */
#include "dockerfile/shell_lex.h"

#include "dockerfile/text.h"

#define DEPTH_MAX 200
#define BYTES_MAX ((size_t)4 << 20)
#define STEPS_MAX ((size_t)1 << 23)

/* The words a text splits into: white space ends a word unless it is quoted or escaped; an empty
 * word never comes out, quoted or not. */
struct words {
	struct strbuf cur;
	bool in_word;
	struct strv *out;
};

static void words_flush(struct words *w)
{
	if (w->cur.len == 0)
		return;
	strv_add(w->out, w->cur.buf);
	strbuf_reset(&w->cur);
	w->in_word = false;
}

static void words_add_raw(struct words *w, const char *s, size_t n)
{
	if (!w)
		return;
	strbuf_add(&w->cur, s, n);
	w->in_word = true;
}

static void words_add_rune(struct words *w, uint32_t c, bool quoted)
{
	if (!w)
		return;
	if (quoted || !text_is_space(c)) {
		text_put(&w->cur, c);
		w->in_word = true;
	} else if (w->in_word) {
		words_flush(w);
	}
}

static void words_add_split(struct words *w, const char *s, size_t n)
{
	const char *end = s + n;
	while (w && s < end) {
		size_t width;
		uint32_t c = text_decode(s, end, &width);
		words_add_rune(w, c, false);
		s += width;
	}
}

static uint32_t peek(const struct shell_lex *lex)
{
	size_t width;
	return lex->p < lex->end ? text_decode(lex->p, lex->end, &width) : RUNE_EOF;
}

static uint32_t next(struct shell_lex *lex)
{
	size_t width;
	if (lex->p >= lex->end)
		return RUNE_EOF;
	uint32_t c = text_decode(lex->p, lex->end, &width);
	lex->p += width;
	return c;
}

static int fail(struct error *err, const char *msg)
{
	return err_set(err, ERR_SYNTAX, "%s", msg);
}

/* append - all text from variables passes here, so that its total is bounded. */
static int append(
        struct shell_lex *lex, struct strbuf *out, const char *s, size_t n, struct error *err)
{
	if (n > lex->bytes_left)
		return fail(err, "expansion gives more than 4 MiB of text");
	lex->bytes_left -= n;
	strbuf_add(out, s, n);
	return 0;
}

static const char *get_var(struct shell_lex *lex, const char *name)
{
	const char *v = lex->vars ? lex->vars->lookup(lex->vars->ctx, name) : NULL;
	struct strv *list = v ? lex->used : lex->unset;
	if (list && map_put(v ? &lex->seen_used : &lex->seen_unset, name, NULL))
		strv_add(list, name);
	return v;
}

static void read_name(struct shell_lex *lex, struct strbuf *name)
{
	uint32_t c = peek(lex);
	if (c != RUNE_EOF && text_is_digit(c)) {
		while ((c = peek(lex)) != RUNE_EOF && text_is_digit(c))
			text_put(name, next(lex));
		return;
	}
	if (c != 0 && c < 0x80 && strchr("@*#?-$!", (int)c)) {
		text_put(name, next(lex));
		return;
	}
	while ((c = peek(lex)) != RUNE_EOF && (text_is_letter(c) || text_is_digit(c) || c == '_'))
		text_put(name, next(lex));
}

static int stop_on(struct shell_lex *lex, uint32_t stop, bool raw_escapes, struct strbuf *out,
        struct words *w, struct error *err) must_check;
static int dollar(struct shell_lex *lex, struct strbuf *out, struct error *err) must_check;

/* operand - the text of an operator up to `stop`; running out of text has its own message. */
static int operand(struct shell_lex *lex, uint32_t stop, bool raw_escapes, struct strbuf *out,
        struct error *err)
{
	if (stop_on(lex, stop, raw_escapes, out, NULL, err) == 0)
		return 0;
	if (lex->p < lex->end)
		return -1;
	return fail(err,
	        stop == '/' ? "syntax error: missing '/' in ${}" : "syntax error: missing '}'");
}

static int unsupported(struct error *err, uint32_t a, uint32_t b)
{
	_cleanup_strbuf_ struct strbuf mod = STRBUF_INIT;
	text_put(&mod, a);
	if (b)
		text_put(&mod, b);
	err_set(err, ERR_SYNTAX, "unsupported modifier (%s) in substitution", mod.buf);
	return err_hint(err, "known are :- - :+ + :? ? # ## %% %%%% / //");
}

static int required(
        struct error *err, const char *name, const struct strbuf *word, const char *otherwise)
{
	return err_set(err, ERR_SYNTAX, "%s: %s", name, word->len ? word->buf : otherwise);
}

/* with_word - ${name<op>word}, op one of - + ? # %; colon: an empty value counts as unset. */
static int with_word(struct shell_lex *lex, const char *name, bool colon, uint32_t op,
        struct strbuf *out, struct error *err)
{
	_cleanup_strbuf_ struct strbuf word = STRBUF_INIT;
	bool trims = op == '#' || op == '%';

	if (colon && trims)
		return unsupported(err, ':', op);
	if (operand(lex, '}', trims, &word, err) < 0)
		return -1;
	const char *value = get_var(lex, name);
	if (!value && lex->skip_unset) {
		strbuf_addf(out, "${%s%s", name, colon ? ":" : "");
		text_put(out, op);
		strbuf_addch(&word, '}');
		return append(lex, out, word.buf, word.len, err);
	}
	bool absent = !value || (colon && !*value);
	switch (op) {
	case '-':
		return absent ? append(lex, out, word.buf, word.len, err)
		              : append(lex, out, value, strlen(value), err);
	case '+':
		return absent ? 0 : append(lex, out, word.buf, word.len, err);
	case '?':
		if (!value)
			return required(err, name, &word, "is not allowed to be unset");
		if (absent)
			return required(err, name, &word, "is not allowed to be empty");
		return append(lex, out, value, strlen(value), err);
	case '#':
	case '%': {
		_cleanup_strbuf_ struct strbuf trimmed = STRBUF_INIT;
		bool longest = word.len && (unsigned char)word.buf[0] == op;
		if (longest) {
			memmove(word.buf, word.buf + 1, word.len);
			word.len--;
		}
		if (shell_trim(&word, str_or_empty(value), op == '%', longest, &trimmed,
		            &lex->steps_left, err) < 0)
			return -1;
		return append(lex, out, trimmed.buf, trimmed.len, err);
	}
	default:
		return colon ? unsupported(err, ':', op) : unsupported(err, op, 0);
	}
}

static int replace(struct shell_lex *lex, const char *name, struct strbuf *out, struct error *err)
{
	_cleanup_strbuf_ struct strbuf pattern = STRBUF_INIT, by = STRBUF_INIT, done = STRBUF_INIT;
	bool all = peek(lex) == '/';

	if (all)
		next(lex);
	if (operand(lex, '/', true, &pattern, err) < 0 || operand(lex, '}', true, &by, err) < 0)
		return -1;
	const char *value = get_var(lex, name);
	if (!value && lex->skip_unset) {
		strbuf_addf(&done, "${%s/%s/%s}", name, pattern.buf, by.buf);
		return append(lex, out, done.buf, done.len, err);
	}
	if (shell_replace(&pattern, str_or_empty(value), &by, all, &done, &lex->steps_left, err) <
	        0)
		return -1;
	return append(lex, out, done.buf, done.len, err);
}

static int braces(struct shell_lex *lex, struct strbuf *out, struct error *err)
{
	_cleanup_strbuf_ struct strbuf name = STRBUF_INIT;
	uint32_t c = peek(lex);

	if (c == RUNE_EOF)
		return fail(err, "syntax error: missing '}'");
	if (c == '{' || c == '}' || c == ':')
		return fail(err, "syntax error: bad substitution");
	read_name(lex, &name);
	c = next(lex);
	switch (c) {
	case RUNE_EOF:
		return fail(err, "syntax error: missing '}'");
	case '}': {
		const char *value = get_var(lex, name.buf);
		if (!value && lex->skip_unset) {
			strbuf_addf(out, "${%s}", name.buf);
			return 0;
		}
		return append(lex, out, str_or_empty(value), strlen(str_or_empty(value)), err);
	}
	case ':':
		return with_word(lex, name.buf, true, next(lex), out, err);
	case '+':
	case '-':
	case '?':
	case '#':
	case '%':
		return with_word(lex, name.buf, false, c, out, err);
	case '/':
		return replace(lex, name.buf, out, err);
	default:
		return unsupported(err, c, 0);
	}
}

static int dollar(struct shell_lex *lex, struct strbuf *out, struct error *err)
{
	next(lex); /* the dollar sign */
	if (peek(lex) == '{') {
		next(lex);
		if (lex->depth >= DEPTH_MAX)
			return fail(
			        err, "substitutions are nested too deeply (more than 200 levels)");
		lex->depth++;
		int r = braces(lex, out, err);
		lex->depth--;
		return r;
	}
	_cleanup_strbuf_ struct strbuf name = STRBUF_INIT;
	read_name(lex, &name);
	if (name.len == 0) {
		strbuf_addch(out, '$');
		return 0;
	}
	const char *value = get_var(lex, name.buf);
	if (!value && lex->skip_unset) {
		strbuf_addch(out, '$');
		strbuf_add(out, name.buf, name.len);
		return 0;
	}
	return append(lex, out, str_or_empty(value), strlen(str_or_empty(value)), err);
}

static int single_quoted(struct shell_lex *lex, struct strbuf *out, struct error *err)
{
	uint32_t c = next(lex);
	if (lex->raw_quotes)
		text_put(out, c);
	while ((c = next(lex)) != '\'') {
		if (c == RUNE_EOF)
			return fail(err, "unexpected end of statement while looking for matching "
			                 "single-quote");
		text_put(out, c);
	}
	if (lex->raw_quotes)
		text_put(out, c);
	return 0;
}

static int double_quoted(struct shell_lex *lex, struct strbuf *out, struct error *err)
{
	uint32_t c = next(lex);
	if (lex->raw_quotes)
		text_put(out, c);
	while ((c = peek(lex)) != '"') {
		if (c == RUNE_EOF)
			return fail(err, "unexpected end of statement while looking for matching "
			                 "double-quote");
		if (c == '$') {
			if (dollar(lex, out, err) < 0)
				return -1;
			continue;
		}
		next(lex);
		if (c == lex->escape) {
			if (lex->raw_escapes)
				text_put(out, c);
			uint32_t after = peek(lex);
			if (after == RUNE_EOF)
				continue;
			/* Before anything else the escape character is an ordinary one. */
			if (after == '"' || after == '$' || after == lex->escape)
				c = next(lex);
		}
		text_put(out, c);
	}
	next(lex);
	if (lex->raw_quotes)
		text_put(out, c);
	return 0;
}

/* angle - "<<" and the blanks behind it belong to one word, so that "<< EOF" names a heredoc. */
static void angle(struct shell_lex *lex, struct strbuf *out)
{
	uint32_t c;
	text_put(out, next(lex));
	if (peek(lex) != '<')
		return;
	text_put(out, next(lex));
	while ((c = peek(lex)) == ' ' || c == '\t' || c == '\r')
		text_put(out, next(lex));
}

/* special - handle the construct that starts at c; *ret_split: its text splits into words. */
static int special(
        struct shell_lex *lex, uint32_t c, struct strbuf *out, bool *ret_split, struct error *err)
{
	*ret_split = c == '$';
	if (c == '$')
		return dollar(lex, out, err);
	if (c == '\'')
		return single_quoted(lex, out, err);
	if (c == '"')
		return double_quoted(lex, out, err);
	angle(lex, out);
	return 0;
}

static int walk(struct shell_lex *lex, uint32_t stop, struct strbuf *out, struct words *w,
        struct error *err)
{
	uint32_t c;

	while ((c = peek(lex)) != RUNE_EOF) {
		if (c == stop) {
			next(lex);
			return 0;
		}
		if (c == '$' || c == '<' || (!lex->skip_quotes && (c == '\'' || c == '"'))) {
			size_t before = out->len;
			bool split;
			if (special(lex, c, out, &split, err) < 0)
				return -1;
			if (split)
				words_add_split(w, out->buf + before, out->len - before);
			else
				words_add_raw(w, out->buf + before, out->len - before);
			continue;
		}
		next(lex);
		if (c != lex->escape) {
			words_add_rune(w, c, false);
			text_put(out, c);
			continue;
		}
		if (lex->raw_escapes) {
			words_add_rune(w, c, true);
			text_put(out, c);
		}
		c = next(lex);
		if (c == RUNE_EOF)
			break;
		words_add_rune(w, c, true);
		text_put(out, c);
	}
	if (stop != RUNE_EOF)
		return err_set(err, ERR_SYNTAX,
		        "unexpected end of statement while looking for matching %c", (int)stop);
	return 0;
}

static int stop_on(struct shell_lex *lex, uint32_t stop, bool raw_escapes, struct strbuf *out,
        struct words *w, struct error *err)
{
	bool before = lex->raw_escapes;
	lex->raw_escapes = raw_escapes;
	int r = walk(lex, stop, out, w, err);
	lex->raw_escapes = before;
	return r;
}

/* charge - what this run cost, against the budget of its file. */
static int charge(const struct shell_lex *lex, size_t n, struct error *err)
{
	size_t *left = lex->vars ? lex->vars->work_left : NULL;
	size_t cost = n + (BYTES_MAX - lex->bytes_left) + (STEPS_MAX - lex->steps_left);
	if (!left)
		return 0;
	if (cost > *left) {
		*left = 0;
		return err_set(err, ERR_SYNTAX,
		        "expanding the variables of this file takes too much work");
	}
	*left -= cost;
	return 0;
}

int shell_lex_run(struct shell_lex *lex, const char *text, size_t n, struct strbuf *ret_word,
        struct strv *ret_words, struct error *err)
{
	_cleanup_strbuf_ struct strbuf word = STRBUF_INIT;
	_cleanup_strv_ struct strv split = STRV_INIT;
	struct words w = {.cur = STRBUF_INIT, .out = &split};

	lex->p = text;
	lex->end = text + n;
	lex->bytes_left = BYTES_MAX;
	lex->steps_left = STEPS_MAX;
	/* A byte order mark in front of a word is skipped, as the original scanner does. */
	if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		lex->p += 3;
	int r = charge(lex, n, err); /* an empty budget ends it before the work is done */
	if (r == 0)
		r = stop_on(lex, RUNE_EOF, lex->raw_escapes, &word, ret_words ? &w : NULL, err);
	if (r == 0)
		r = charge(lex, 0, err);
	if (r == 0 && ret_words) {
		words_flush(&w);
		for (size_t i = 0; i < split.n; i++)
			strv_add_take(ret_words, take_ptr(split.v[i]));
		split.n = 0;
	}
	if (r == 0 && ret_word) {
		strbuf_release(ret_word);
		*ret_word = word;
		word = STRBUF_INIT;
	}
	strbuf_release(&w.cur);
	map_release(&lex->seen_unset);
	map_release(&lex->seen_used);
	if (r < 0) {
		/* A whole script in the message would hide the cause. */
		_cleanup_strbuf_ struct strbuf shown = STRBUF_INIT;
		text_quote(&shown, text, MIN(n, (size_t)4096));
		err_wrap(err, "failed to process %s", shown.buf);
	}
	return r;
}

static const char *lookup_env(void *ctx, const char *name)
{
	return env_get(ctx, name);
}

struct df_vars df_env_vars(const struct strv *env)
{
	return (struct df_vars){.lookup = lookup_env, .ctx = (void *)(uintptr_t)env};
}

int df_expand_word(const char *word, char escape, const struct df_vars *vars, char **ret,
        struct strv *ret_unset, struct strv *ret_used, struct error *err)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct shell_lex lex = {.escape = (unsigned char)escape,
	        .vars = vars,
	        .unset = ret_unset,
	        .used = ret_used};
	if (shell_lex_run(&lex, word, strlen(word), &out, NULL, err) < 0)
		return -1;
	*ret = strbuf_detach(&out);
	return 0;
}

int df_expand_words(const char *word, char escape, const struct df_vars *vars, struct strv *ret,
        struct strv *ret_unset, struct strv *ret_used, struct error *err)
{
	struct shell_lex lex = {.escape = (unsigned char)escape,
	        .vars = vars,
	        .unset = ret_unset,
	        .used = ret_used};
	return shell_lex_run(&lex, word, strlen(word), NULL, ret, err);
}

int df_expand_raw(const char *text, size_t n, char escape, const struct df_vars *vars, char **ret,
        size_t *ret_n, struct error *err)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct shell_lex lex = {.escape = (unsigned char)escape, .vars = vars, .skip_quotes = true};
	if (shell_lex_run(&lex, text, n, &out, NULL, err) < 0)
		return -1;
	if (ret_n)
		*ret_n = out.len;
	*ret = strbuf_detach(&out);
	return 0;
}
