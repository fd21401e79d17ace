/* dockerfile/ignore.c - see ignore.h: lists of patterns, the last match wins. */
#include "dockerfile/ignore.h"

#include "dockerfile/ignore_pattern.h"
#include "dockerfile/text.h"

#define TEXT_MAX ((size_t)16 << 20)
#define PATTERNS_MAX 100000

struct entry {
	struct ignore_pattern pattern;
	bool negated; /* '!': brings back */
	int line;
	char *shown; /* as in the file */
};

struct df_ignore {
	char *name;
	struct entry *v;
	size_t n, cap;
	bool has_negated;
};

void df_ignore_free(struct df_ignore *ig)
{
	if (!ig)
		return;
	for (size_t i = 0; i < ig->n; i++) {
		ignore_pattern_release(&ig->v[i].pattern);
		free(ig->v[i].shown);
	}
	free(ig->v);
	free(ig->name);
	free(ig);
}

static void free_ignore(struct df_ignore **ig)
{
	df_ignore_free(*ig);
}

static struct df_ignore *ignore_alloc(const char *name)
{
	struct df_ignore *ig = new0(struct df_ignore, 1);
	ig->name = xstrdup(name);
	return ig;
}

static char *trimmed(const char *p, const char *end)
{
	text_trim(&p, &end);
	return xstrndup(p, (size_t)(end - p));
}

/* add - one pattern as the original matcher takes it: trimmed, cleaned ('!' included), split. */
static int add(
        struct df_ignore *ig, const char *text, const char *shown, int line, struct error *err)
{
	_cleanup_free_ char *plain = trimmed(text, text + strlen(text));
	if (!*plain)
		return 0;
	_cleanup_free_ char *clean = df_clean_path(plain);
	struct entry e = {.line = line, .negated = clean[0] == '!'};

	if (e.negated && !clean[1]) {
		err_set(err, ERR_SYNTAX, "illegal exclusion pattern: \"!\"");
		err_hint(err, "a path must follow the '!'");
		return err_at(err, ig->name, line, 1);
	}
	if (ig->n >= PATTERNS_MAX || !ignore_pattern_compile(&e.pattern, clean + e.negated)) {
		_cleanup_strbuf_ struct strbuf q = STRBUF_INIT;
		text_quote(&q, shown, strnlen(shown, 200));
		if (ig->n >= PATTERNS_MAX)
			err_set(err, ERR_SYNTAX, "too many patterns: %d is the limit",
			        PATTERNS_MAX);
		else
			err_set(err, ERR_SYNTAX, "syntax error in pattern %s", q.buf);
		err_hint(err, "a '[' opens a class that ']' must close; '\\' escapes it");
		return err_at(err, ig->name, line, 1);
	}
	e.shown = xstrdup(shown);
	ig->has_negated |= e.negated;
	vec_grow(&ig->v, &ig->cap, ig->n + 1);
	ig->v[ig->n++] = e;
	return 0;
}

/* add_line - a line of an ignore file: comments begin in column 0, a leading slash means the root
 * of the context. */
static int add_line(
        struct df_ignore *ig, const char *p, const char *end, int line, struct error *err)
{
	if (p < end && *p == '#')
		return 0;
	_cleanup_free_ char *shown = trimmed(p, end);
	if (!*shown)
		return 0;
	bool negated = *shown == '!';
	_cleanup_free_ char *path = trimmed(shown + negated, shown + strlen(shown));
	_cleanup_free_ char *clean = *path ? df_clean_path(path) : xstrdup("");
	bool rooted = clean[0] == '/' && clean[1];
	_cleanup_free_ char *text = xasprintf("%s%s", negated ? "!" : "", clean + rooted);
	return add(ig, text, shown, line, err);
}

int df_ignore_parse(
        const char *text, size_t n, const char *name, struct df_ignore **ret, struct error *err)
{
	_cleanup_(free_ignore) struct df_ignore *ig = ignore_alloc(name);
	const char *p = text, *end = text + n;
	int line = 0;

	if (n > TEXT_MAX) {
		err_set(err, ERR_SYNTAX, "the file is too large: more than 16 MiB");
		return err_at(err, name, 0, 0);
	}
	if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		p += 3;
	while (p < end) {
		const char *nl = memchr(p, '\n', (size_t)(end - p)), *stop = nl ? nl : end;
		line++;
		if (memchr(p, '\0', (size_t)(stop - p))) {
			err_set(err, ERR_SYNTAX, "the line holds a NUL byte: no path can have one");
			return err_at(err, name, line, 0);
		}
		if (add_line(ig, p, stop, line, err) < 0)
			return -1;
		p = nl ? nl + 1 : end;
	}
	*ret = take_ptr(ig);
	return 0;
}

int df_ignore_new(
        const struct strv *patterns, const char *name, struct df_ignore **ret, struct error *err)
{
	_cleanup_(free_ignore) struct df_ignore *ig = ignore_alloc(name);
	for (size_t i = 0; i < patterns->n; i++)
		if (add(ig, patterns->v[i], patterns->v[i], (int)i + 1, err) < 0)
			return -1;
	*ret = take_ptr(ig);
	return 0;
}

bool df_ignore_is_empty(const struct df_ignore *ig)
{
	return !ig || ig->n == 0;
}

const char *df_ignore_name(const struct df_ignore *ig)
{
	return ig->name;
}

const char *df_ignore_pattern(const struct df_ignore *ig, int line)
{
	for (size_t i = 0; ig && i < ig->n; i++)
		if (ig->v[i].line == line)
			return ig->v[i].shown;
	return NULL;
}

/* match_or_parent - the path itself or any directory above it; ends: the lengths of those. */
static bool match_or_parent(
        const struct ignore_pattern *p, const char *path, const uint32_t *ends, size_t n_ends)
{
	for (size_t i = 0; i < n_ends; i++) {
		if (p->end && ends[i] && path[ends[i] - 1] != p->end)
			continue;
		if (ignore_pattern_match(p, path, ends[i]))
			return true;
	}
	return false;
}

bool df_ignore_match(const struct df_ignore *ig, const char *path, int *ret_line)
{
	bool matched = false;
	int line = 0;
	size_t n = strlen(path), depth = 1;
	uint32_t few[32];
	_cleanup_free_ uint32_t *many = NULL;

	if (ret_line)
		*ret_line = 0;
	if (df_ignore_is_empty(ig))
		return false;
	for (size_t i = 0; i < n; i++)
		depth += path[i] == '/';
	uint32_t *ends = depth <= ARRAY_SIZE(few) ? few : (many = new0(uint32_t, depth));
	ends[0] = (uint32_t)n;
	for (size_t i = 0, k = 1; i < n; i++)
		if (path[i] == '/')
			ends[k++] = (uint32_t)i;

	for (size_t i = 0; i < ig->n; i++) {
		const struct entry *e = &ig->v[i];
		/* It could not change the answer. */
		if (e->negated != matched)
			continue;
		if (match_or_parent(&e->pattern, path, ends, depth)) {
			matched = !e->negated;
			line = e->line;
		}
	}
	if (ret_line)
		*ret_line = line;
	return matched;
}

static size_t count_slashes(const char *s)
{
	size_t n = 0;
	for (; *s; s++)
		n += *s == '/';
	return n;
}

/* plain_prefix - how much of a pattern stands for itself: up to a wildcard, or to a byte that is no
 * UTF-8, which stands for any such byte. */
static size_t plain_prefix(const char *text)
{
	const char *p = text, *end = text + strlen(text);
	while (p < end && !strchr("*?[\\^", *p)) {
		size_t width;
		if (text_decode(p, end, &width) == RUNE_ERROR)
			break;
		p += width;
	}
	return (size_t)(p - text);
}

/* may_match_below - could the pattern match a path below dir? False only if it surely cannot. */
static bool may_match_below(const char *text, const char *dir, size_t dir_len)
{
	size_t plain = plain_prefix(text);
	if (plain > dir_len)
		return text[dir_len] == '/' && memcmp(text, dir, dir_len) == 0;
	if (!text[plain] || memcmp(text, dir, plain) != 0)
		return false;
	/* Single stars stay within one component: such a pattern has a fixed depth. */
	bool fixed_depth = !strstr(text, "**") && !strpbrk(text, "[\\^");
	return !fixed_depth || count_slashes(text) > count_slashes(dir);
}

bool df_ignore_may_reinclude(const struct df_ignore *ig, const char *dir)
{
	size_t dir_len = strlen(dir);

	for (size_t i = 0; ig && ig->has_negated && i < ig->n; i++)
		if (ig->v[i].negated && may_match_below(ig->v[i].pattern.text, dir, dir_len))
			return true;
	return false;
}

int df_match_double_star(const char *pattern, const char *path)
{
	struct ignore_pattern p;
	_cleanup_free_ char *clean = df_clean_path(pattern);
	if (!ignore_pattern_compile(&p, clean))
		return -1;
	int r = ignore_pattern_match(&p, path, strlen(path));
	ignore_pattern_release(&p);
	return r;
}
