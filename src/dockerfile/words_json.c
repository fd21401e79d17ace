/* dockerfile/words_json.c - the JSON (exec) form of an instruction.
 *
 * A reader of its own, since the rule is peculiar: whatever is not valid JSON is shell form, what
 * is valid but not an array of strings is an error. Strings keep Go's leniency: invalid UTF-8 and
 * lone surrogates become U+FFFD. */
#include "dockerfile/words.h"

#include <math.h>

#include "dockerfile/text.h"

#define NESTING_MAX 10000

struct json {
	const char *p, *end;
	bool has_nul;
};

static void skip_space(struct json *j)
{
	while (j->p < j->end && strchr(" \t\r\n", *j->p))
		j->p++;
}

static int hex4(const char *p)
{
	int v = 0;
	for (int i = 0; i < 4; i++) {
		char c = p[i];
		if (c >= '0' && c <= '9')
			v = v << 4 | (c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			v = v << 4 | ((c | 0x20) - 'a' + 10);
		else
			return -1;
	}
	return v;
}

/* unicode_escape - behind "\u"; a surrogate pair counts as one. */
static bool unicode_escape(struct json *j, struct strbuf *out)
{
	int hi = j->end - j->p >= 4 ? hex4(j->p) : -1;
	if (hi < 0)
		return false;
	j->p += 4;
	if (hi >= 0xd800 && hi < 0xdc00 && j->end - j->p >= 6 && j->p[0] == '\\' &&
	        j->p[1] == 'u') {
		int lo = hex4(j->p + 2);
		if (lo >= 0xdc00 && lo < 0xe000) {
			j->p += 6;
			text_put(out, 0x10000u + ((uint32_t)(hi - 0xd800) << 10) +
			                      (uint32_t)(lo - 0xdc00));
			return true;
		}
	}
	j->has_nul |= hi == 0;
	text_put(out, (uint32_t)hi);
	return true;
}

static bool escape_sequence(struct json *j, struct strbuf *out)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	if (j->p == j->end)
		return false;
	char c = *j->p++;
	if (c == 'u')
		return unicode_escape(j, out);
	const char *at = strchr(from, c);
	if (!c || !at)
		return false;
	strbuf_addch(out, to[at - from]);
	return true;
}

/* string - from the opening quote on. */
static bool string(struct json *j, struct strbuf *out)
{
	j->p++;
	while (j->p < j->end) {
		unsigned char c = (unsigned char)*j->p;
		if (c == '"') {
			j->p++;
			return true;
		}
		if (c < 0x20)
			return false;
		if (c == '\\') {
			j->p++;
			if (!escape_sequence(j, out))
				return false;
			continue;
		}
		size_t width;
		text_put(out, text_decode(j->p, j->end, &width));
		j->p += width;
	}
	return false;
}

static bool digits(struct json *j)
{
	const char *start = j->p;
	while (j->p < j->end && *j->p >= '0' && *j->p <= '9')
		j->p++;
	return j->p > start;
}

static bool number(struct json *j)
{
	const char *start = j->p;
	if (*j->p == '-')
		j->p++;
	if (j->p < j->end && *j->p == '0')
		j->p++;
	else if (!digits(j))
		return false;
	if (j->p < j->end && *j->p == '.') {
		j->p++;
		if (!digits(j))
			return false;
	}
	if (j->p < j->end && (*j->p | 0x20) == 'e') {
		j->p++;
		if (j->p < j->end && (*j->p == '+' || *j->p == '-'))
			j->p++;
		if (!digits(j))
			return false;
	}
	/* A number that no double can hold makes the text as good as malformed. */
	return !isinf(strtod(start, NULL));
}

static bool literal(struct json *j, const char *word)
{
	size_t n = strlen(word);
	if ((size_t)(j->end - j->p) < n || memcmp(j->p, word, n) != 0)
		return false;
	j->p += n;
	return true;
}

static bool scalar(struct json *j, struct strbuf *scratch)
{
	switch (*j->p) {
	case '"':
		strbuf_reset(scratch);
		return string(j, scratch);
	case 't':
		return literal(j, "true");
	case 'f':
		return literal(j, "false");
	case 'n':
		return literal(j, "null");
	default:
		return (*j->p == '-' || (*j->p >= '0' && *j->p <= '9')) && number(j);
	}
}

/* object_key - "name" ':' of an object member. */
static bool object_key(struct json *j, struct strbuf *scratch)
{
	skip_space(j);
	strbuf_reset(scratch);
	if (j->p == j->end || *j->p != '"' || !string(j, scratch))
		return false;
	skip_space(j);
	if (j->p == j->end || *j->p != ':')
		return false;
	j->p++;
	return true;
}

/* skip_nested - check a nested array or object, without recursion: `open` holds what to close. */
static bool skip_nested(struct json *j)
{
	_cleanup_strbuf_ struct strbuf open = STRBUF_INIT, scratch = STRBUF_INIT;

	for (;;) {
		skip_space(j);
		if (j->p == j->end)
			return false;
		bool closed = false;
		if (*j->p == '[' || *j->p == '{') {
			char close = *j->p == '[' ? ']' : '}';
			j->p++;
			if (open.len >= NESTING_MAX - 1)
				return false;
			strbuf_addch(&open, close);
			skip_space(j);
			if (j->p == j->end)
				return false;
			if (*j->p != close) {
				if (close == '}' && !object_key(j, &scratch))
					return false;
				continue;
			}
			j->p++;
			closed = true;
		} else if (!scalar(j, &scratch)) {
			return false;
		}
		/* Behind a value: close as many as close here, then go on to the next. */
		if (closed)
			strbuf_truncate(&open, open.len - 1);
		for (;;) {
			if (open.len == 0)
				return true;
			skip_space(j);
			if (j->p == j->end)
				return false;
			char c = *j->p++;
			if (c == open.buf[open.len - 1]) {
				strbuf_truncate(&open, open.len - 1);
				continue;
			}
			if (c != ',')
				return false;
			break;
		}
		if (open.buf[open.len - 1] == '}' && !object_key(j, &scratch))
			return false;
	}
}

enum words_json words_json(struct arena *a, const char *p, const char *end, struct word_list *out)
{
	_cleanup_strbuf_ struct strbuf s = STRBUF_INIT;
	bool only_strings = true;

	text_trim_left(&p, end);
	if (p == end || *p != '[')
		return WORDS_JSON_NO;
	struct json j = {.p = p + 1, .end = end};
	skip_space(&j);
	if (j.p < end && *j.p == ']') {
		j.p++;
	} else {
		for (;;) {
			skip_space(&j);
			if (j.p == end)
				return WORDS_JSON_NO;
			strbuf_reset(&s);
			if (*j.p == '"') {
				if (!string(&j, &s))
					return WORDS_JSON_NO;
				words_add(out, arena_strndup(a, s.buf, s.len));
			} else {
				only_strings = false;
				bool nested = *j.p == '[' || *j.p == '{';
				if (nested ? !skip_nested(&j) : !scalar(&j, &s))
					return WORDS_JSON_NO;
			}
			skip_space(&j);
			if (j.p == end)
				return WORDS_JSON_NO;
			char c = *j.p++;
			if (c == ']')
				break;
			if (c != ',')
				return WORDS_JSON_NO;
		}
	}
	skip_space(&j);
	if (j.p != end)
		return WORDS_JSON_NO;
	if (!only_strings)
		return WORDS_JSON_NOT_STRINGS;
	return j.has_nul ? WORDS_JSON_NUL : WORDS_JSON_YES;
}

const char *words_json_member(struct arena *a, const char *p, const char *end, const char *key)
{
	_cleanup_strbuf_ struct strbuf s = STRBUF_INIT;
	const char *value = NULL;
	struct json j = {.p = p, .end = end};

	skip_space(&j);
	if (j.p == end || *j.p++ != '{')
		return NULL;
	skip_space(&j);
	if (j.p < end && *j.p == '}')
		return NULL;
	for (;;) {
		if (!object_key(&j, &s))
			return NULL;
		bool wanted = str_eq(s.buf, key);
		skip_space(&j);
		if (j.p == end)
			return NULL;
		bool is_string = *j.p == '"', nested = *j.p == '[' || *j.p == '{';
		if (nested ? !skip_nested(&j) : !scalar(&j, &s))
			return NULL;
		if (wanted)
			value = is_string ? arena_strndup(a, s.buf, s.len) : NULL;
		skip_space(&j);
		if (j.p == end)
			return NULL;
		char c = *j.p++;
		if (c == '}')
			break;
		if (c != ',')
			return NULL;
	}
	skip_space(&j);
	return j.p == end ? value : NULL;
}
