/* dockerfile/lexer.c - see lexer.h. */
#include "dockerfile/lexer.h"

#include "dockerfile/text.h"

#define TEXT_MAX ((size_t)16 << 20)
#define LINE_MAX_BYTES ((size_t)1 << 20)

static int fail_at(const struct lexer *lx, int line, int column, struct error *err)
{
	return err_at(err, lx->f->name, line, column);
}

static int check_bytes(struct lexer *lx, const char *text, size_t n, struct error *err)
{
	if (n > TEXT_MAX) {
		err_set(err, ERR_SYNTAX, "the Dockerfile is too large: more than 16 MiB");
		return fail_at(lx, 0, 0, err);
	}
	const char *nul = memchr(text, '\0', n);
	if (!nul)
		return 0;
	int line = 1;
	const char *start = text;
	for (const char *p; (p = memchr(start, '\n', (size_t)(nul - start)));) {
		start = p + 1;
		line++;
	}
	err_set(err, ERR_SYNTAX, "the Dockerfile holds a NUL byte: it must be plain text");
	err_hint(err, "save it as UTF-8 (UTF-16 files look like this)");
	return fail_at(lx, line, (int)(nul - start) + 1, err);
}

static int split_lines(struct lexer *lx, struct error *err)
{
	struct df_file *f = lx->f;
	const char *text = f->text, *end = text + f->text_len;
	size_t n = 0;

	for (const char *p = text; p < end; n++) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		p = nl ? nl + 1 : end;
	}
	size_t *off = arena_new(lx->a, size_t, n + 1);
	const char **lines = arena_new(lx->a, const char *, n + 1);
	char *copy = arena_strndup(lx->a, text, f->text_len);
	const char *p = text;
	for (size_t i = 0; i < n; i++) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		const char *stop = nl ? nl : end, *q = stop;
		if ((size_t)(stop - p) > LINE_MAX_BYTES) {
			err_set(err, ERR_SYNTAX,
			        "the line is too long: %zu bytes, 1 MiB is the limit",
			        (size_t)(stop - p));
			return fail_at(lx, (int)i + 1, (int)LINE_MAX_BYTES + 1, err);
		}
		while (q > p && q[-1] == '\r')
			q--;
		copy[q - text] = '\0';
		lines[i] = copy + (p - text);
		off[i] = (size_t)(p - text);
		p = nl ? nl + 1 : end;
	}
	off[n] = f->text_len;
	lx->off = off;
	f->lines = lines;
	f->n_lines = n;
	return 0;
}

int lexer_init(struct lexer *lx, struct arena *a, struct df_file *f, const char *text, size_t n,
        struct error *err)
{
	*lx = (struct lexer){.a = a, .f = f, .joined = STRBUF_INIT, .comment = STRBUF_INIT};
	f->escape = '\\';
	if (check_bytes(lx, text, n, err) < 0)
		return -1;
	if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
		text += 3;
		n -= 3;
	}
	f->text = arena_strndup(a, text, n);
	f->text_len = n;
	return split_lines(lx, err);
}

void lexer_release(struct lexer *lx)
{
	strbuf_release(&lx->joined);
	strbuf_release(&lx->comment);
}

bool lexer_raw(struct lexer *lx, const char **ret, size_t *ret_n)
{
	if (lx->at >= lx->f->n_lines)
		return false;
	*ret = lx->f->text + lx->off[lx->at];
	*ret_n = lx->off[lx->at + 1] - lx->off[lx->at];
	lx->at++;
	return true;
}

/* take_line - the next physical line without its line end. */
static bool take_line(struct lexer *lx, const char **ret, const char **ret_end)
{
	size_t n;
	if (!lexer_raw(lx, ret, &n))
		return false;
	while (n && ((*ret)[n - 1] == '\n' || (*ret)[n - 1] == '\r'))
		n--;
	*ret_end = *ret + n;
	return true;
}

static bool is_comment(const char *p, const char *end)
{
	text_trim_left(&p, end);
	return p < end && *p == '#';
}

/* continued - does the line end in an escape character (blanks may follow) that is not doubled?
 * If so, *end moves before it. */
static bool continued(const char *p, const char **end, char escape)
{
	const char *q = *end;
	while (q > p && (q[-1] == ' ' || q[-1] == '\t'))
		q--;
	if (q == p || q[-1] != escape || (q - p >= 2 && q[-2] == escape))
		return false;
	*end = q - 1;
	return true;
}

static bool is_space_class(char c)
{
	return c == ' ' || c == '\t' || c == '\f' || c == '\r' || c == '\n';
}

bool lexer_split_directive(const char *p, const char *end, const char *mark, const char **key,
        size_t *key_n, const char **value, size_t *value_n)
{
	size_t mark_n = strlen(mark);
	if ((size_t)(end - p) < mark_n || memcmp(p, mark, mark_n) != 0)
		return false;
	p += mark_n;
	text_trim_left(&p, end);
	const char *k = p;
	if (p == end || (*p | 0x20) < 'a' || (*p | 0x20) > 'z')
		return false;
	while (p < end && (((*p | 0x20) >= 'a' && (*p | 0x20) <= 'z') || (*p >= '0' && *p <= '9')))
		p++;
	*key = k;
	*key_n = (size_t)(p - k);
	while (p < end && is_space_class(*p))
		p++;
	if (p == end || *p != '=')
		return false;
	const char *v = ++p;
	while (v < end && is_space_class(*v))
		v++;
	if (v == end) {
		/* A value of blanks alone is its last blank, an empty one is no directive. */
		if (v == p)
			return false;
		v--;
	} else {
		while (is_space_class(end[-1]))
			end--;
	}
	*value = v;
	*value_n = (size_t)(end - v);
	return true;
}

static int add_directive(struct lexer *lx, char *key, char *value, int line, struct error *err)
{
	struct df_file *f = lx->f;
	for (size_t i = 0; i < f->n_directives; i++)
		if (str_eq(f->directives[i].name, key)) {
			err_set(err, ERR_SYNTAX, "only one %s parser directive can be used", key);
			err_hint(err, "the first one is on line %d", f->directives[i].line);
			return fail_at(lx, line, 1, err);
		}
	if (str_eq(key, "escape")) {
		if (!str_eq(value, "\\") && !str_eq(value, "`")) {
			err_set(err, ERR_SYNTAX, "invalid escape token '%s' does not match ` or \\",
			        value);
			return fail_at(lx, line, 1, err);
		}
		f->escape = value[0];
	}
	if (!f->directives) /* three names, each once */
		f->directives = arena_new(lx->a, struct df_directive, 3);
	f->directives[f->n_directives++] = (struct df_directive){key, value, line};
	return 1;
}

/* directive - 1: the line is one; 0: it is not, and none can follow. */
static int directive(struct lexer *lx, const char *p, const char *end, struct error *err)
{
	const char *key, *value;
	size_t key_n, value_n;

	if (lx->directives_done)
		return 0;
	if (lexer_split_directive(p, end, "#", &key, &key_n, &value, &value_n)) {
		char *name = arena_strndup(lx->a, key, key_n);
		for (char *c = name; *c; c++)
			if (*c >= 'A' && *c <= 'Z')
				*c |= 0x20;
		if (str_eq(name, "syntax") || str_eq(name, "escape") || str_eq(name, "check"))
			return add_directive(
			        lx, name, arena_strndup(lx->a, value, value_n), (int)lx->at, err);
	}
	lx->directives_done = true;
	return 0;
}

/* note_comment - collect what stands directly above an instruction; "#" alone and empty lines cut
 * it off. */
static void note_comment(struct lexer *lx, const char *p, const char *end)
{
	p++;
	text_trim(&p, &end);
	if (p == end) {
		strbuf_reset(&lx->comment);
		return;
	}
	if (lx->comment.len)
		strbuf_addch(&lx->comment, '\n');
	strbuf_add(&lx->comment, p, (size_t)(end - p));
}

/* join - append the lines that continue a line to lx->joined. */
static void join(struct lexer *lx, struct logical_line *ret)
{
	const char *p, *end;
	bool more = true;

	while (more && take_line(lx, &p, &end)) {
		const char *q = p;
		text_trim_left(&q, end);
		if (q < end && *q == '#')
			continue;
		if (q == end) {
			if (!ret->empty_line)
				ret->empty_line = (int)lx->at;
			continue;
		}
		more = continued(p, &end, lx->f->escape);
		strbuf_add(&lx->joined, p, (size_t)(end - p));
	}
}

int lexer_next(struct lexer *lx, struct logical_line *ret, struct error *err)
{
	const char *p, *end;

	while (take_line(lx, &p, &end)) {
		text_trim_left(&p, end);
		int is_directive = directive(lx, p, end, err);
		if (is_directive < 0)
			return -1;
		if (is_directive)
			continue;
		if (is_comment(p, end)) {
			note_comment(lx, p, end);
			continue;
		}
		bool more = continued(p, &end, lx->f->escape);
		if (!more && p == end) {
			strbuf_reset(&lx->comment);
			continue;
		}
		*ret = (struct logical_line){.line = (int)lx->at};
		strbuf_reset(&lx->joined);
		strbuf_add(&lx->joined, p, (size_t)(end - p));
		if (more)
			join(lx, ret);
		ret->end_line = (int)lx->at;
		ret->text = arena_strndup(lx->a, lx->joined.buf, lx->joined.len);
		ret->len = lx->joined.len;
		if (lx->comment.len)
			ret->comment = arena_strndup(lx->a, lx->comment.buf, lx->comment.len);
		strbuf_reset(&lx->comment);
		return 1;
	}
	return 0;
}
