/* dockerfile/ignore_pattern.c - see ignore_pattern.h.
 *
 * The pattern is first translated to the text of a regular expression, then that text is compiled.
 * Two steps, because the translation looks at single characters and knows no classes: inside
 * brackets a '*' or '?' therefore means something odd, and people's files rely on what is matched,
 * not on what is sensible. Matching follows all ways at once: time is path times pattern. */
#include "dockerfile/ignore_pattern.h"

#include "base/strbuf.h"
#include "dockerfile/ignore.h"
#include "dockerfile/text.h"

#define PATTERN_MAX 16384

enum op { OP_RUNE, OP_ANY, OP_CLASS, OP_BEGIN, OP_END, OP_EDGE, OP_NO_EDGE, OP_SPLIT, OP_MATCH };

struct rune_range {
	uint32_t lo, hi;
};

struct ignore_inst {
	enum op op;
	uint32_t rune;
	bool negated;
	size_t to, other; /* OP_SPLIT: both ways; else `to` is the next instruction */
	struct rune_range *ranges;
	size_t n_ranges, cap_ranges;
};

/* ---- translation ---- */

/* translate - the regular expression, or one of the shortcuts. */
static enum ignore_kind translate(const char *text, struct strbuf *re)
{
	enum ignore_kind kind = IGNORE_EXACT;
	const char *p = text, *end = text + strlen(text);

	strbuf_addch(re, '^');
	for (bool first = true; p < end; first = false) {
		size_t width;
		uint32_t c = text_decode(p, end, &width);
		p += width;
		if (c == '*' && p < end && *p == '*') {
			p++;
			if (p < end && *p == '/')
				p++;
			if (p < end) {
				strbuf_addstr(re, "(.*/)?");
				kind = IGNORE_REGEX;
			} else if (kind == IGNORE_EXACT) {
				kind = IGNORE_PREFIX;
			} else {
				strbuf_addstr(re, ".*");
				kind = IGNORE_REGEX;
			}
			if (first)
				kind = IGNORE_SUFFIX;
		} else if (c == '*' || c == '?') {
			strbuf_addstr(re, c == '*' ? "[^/]*" : "[^/]");
			kind = IGNORE_REGEX;
		} else if (c < 0x80 && strchr(".+()|{}$", (int)c)) {
			strbuf_addch(re, '\\');
			strbuf_addch(re, (char)c);
		} else if (c == '\\' && p < end) {
			strbuf_addch(re, '\\');
			text_put(re, text_decode(p, end, &width));
			p += width;
			kind = IGNORE_REGEX;
		} else {
			text_put(re, c);
			if (c == '[' || c == ']')
				kind = IGNORE_REGEX;
		}
	}
	strbuf_addch(re, '$');
	return kind;
}

/* ---- compilation ---- */

struct compiler {
	const char *p, *end;
	struct ignore_inst *prog;
	size_t n, cap;
};

static struct ignore_inst *emit(struct compiler *c, enum op op)
{
	vec_grow(&c->prog, &c->cap, c->n + 1);
	struct ignore_inst *in = &c->prog[c->n++];
	*in = (struct ignore_inst){.op = op, .to = c->n};
	return in;
}

static void add_range(struct ignore_inst *in, uint32_t lo, uint32_t hi)
{
	vec_grow(&in->ranges, &in->cap_ranges, in->n_ranges + 1);
	in->ranges[in->n_ranges++] = (struct rune_range){lo, hi};
}

/* add_set - pairs of characters in `spec`, or the gaps between them. */
static void add_set(struct ignore_inst *in, const char *spec, bool negated)
{
	uint32_t from = 0;
	for (; *spec; spec += 2) {
		uint32_t lo = (unsigned char)spec[0], hi = (unsigned char)spec[1];
		if (!negated)
			add_range(in, lo, hi);
		else if (lo > from)
			add_range(in, from, lo - 1);
		from = hi + 1;
	}
	if (negated)
		add_range(in, from, 0x10ffff);
}

/* perl_set - \d \s \w and their opposites. */
static const char *perl_set(char c)
{
	switch (c | 0x20) {
	case 'd':
		return "09";
	case 's':
		return "\t\n\f\r  ";
	case 'w':
		return "09AZ__az";
	default:
		return NULL;
	}
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
		return (c | 0x20) - 'a' + 10;
	return -1;
}

/* hex_escape - behind "\x": two digits, or any number in braces. */
static bool hex_escape(struct compiler *c, uint32_t *ret)
{
	uint32_t v = 0;
	if (c->p < c->end && *c->p == '{') {
		const char *start = ++c->p;
		for (; c->p < c->end && hex_value(*c->p) >= 0 && v <= 0x10ffff; c->p++)
			v = v << 4 | (uint32_t)hex_value(*c->p);
		if (c->p == start || c->p == c->end || *c->p != '}' || v > 0x10ffff)
			return false;
		c->p++;
	} else {
		for (int i = 0; i < 2; i++, c->p++) {
			if (c->p == c->end || hex_value(*c->p) < 0)
				return false;
			v = v << 4 | (uint32_t)hex_value(*c->p);
		}
	}
	*ret = v;
	return true;
}

/* escape - behind a backslash: the character it stands for. */
static bool escape(struct compiler *c, uint32_t *ret)
{
	static const char from[] = "afnrtv", to[] = "\a\f\n\r\t\v";
	if (c->p == c->end)
		return false;
	char ch = *c->p++;
	const char *named = strchr(from, ch);
	if (ch == 'x')
		return hex_escape(c, ret);
	if (named) {
		*ret = (unsigned char)to[named - from];
		return true;
	}
	if (ch >= '0' && ch <= '7') {
		/* Octal; \1 to \7 alone would be a back reference. */
		bool more = c->p < c->end && *c->p >= '0' && *c->p <= '7';
		if (ch != '0' && !more)
			return false;
		*ret = (uint32_t)(ch - '0');
		for (int i = 0; i < 2 && c->p < c->end && *c->p >= '0' && *c->p <= '7'; i++)
			*ret = *ret * 8 + (uint32_t)(*c->p++ - '0');
		return true;
	}
	bool alnum = (ch >= '0' && ch <= '9') || ((ch | 0x20) >= 'a' && (ch | 0x20) <= 'z');
	*ret = (unsigned char)ch;
	return *ret < 0x80 && !alnum;
}

/* named_class - [:alpha:] within a class. 1: added; 0: not one; -1: unknown name. */
static int named_class(struct compiler *c, struct ignore_inst *in)
{
	static const struct {
		const char *name, *set;
	} known[] = {
	        {"alnum", "09AZaz"},
	        {"alpha", "AZaz"},
	        {"blank", "\t\t  "},
	        {"digit", "09"},
	        {"graph", "!~"},
	        {"lower", "az"},
	        {"print", " ~"},
	        {"punct", "!/:@[`{~"},
	        {"space", "\t\r  "},
	        {"upper", "AZ"},
	        {"word", "09AZ__az"},
	        {"xdigit", "09AFaf"},
	};
	const char *name = c->p + 2, *stop = memmem(name, (size_t)(c->end - name), ":]", 2);
	if (!stop)
		return 0;
	bool negated = name < stop && *name == '^';
	name += negated;
	size_t n = (size_t)(stop - name);
	c->p = stop + 2;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strlen(known[i].name) == n && memcmp(known[i].name, name, n) == 0) {
			add_set(in, known[i].set, negated);
			return 1;
		}
	bool ascii = n == 5 && memcmp(name, "ascii", 5) == 0;
	bool cntrl = n == 5 && memcmp(name, "cntrl", 5) == 0;
	if (!ascii && !cntrl)
		return -1;
	uint32_t last = ascii ? 0x7f : 0x1f;
	add_range(in, negated ? last + 1 : 0, negated ? 0x10ffff : last);
	if (cntrl && !negated)
		add_range(in, 0x7f, 0x7f);
	if (cntrl && negated) {
		in->ranges[in->n_ranges - 1].hi = 0x7e;
		add_range(in, 0x80, 0x10ffff);
	}
	return 1;
}

static bool class_char(struct compiler *c, uint32_t *ret)
{
	size_t width;
	if (c->p == c->end)
		return false;
	if (*c->p == '\\') {
		c->p++;
		return escape(c, ret);
	}
	*ret = text_decode(c->p, c->end, &width);
	c->p += width;
	return true;
}

/* class - behind '['. */
static bool class(struct compiler *c)
{
	struct ignore_inst *in = emit(c, OP_CLASS);
	if (c->p < c->end && *c->p == '^') {
		in->negated = true;
		c->p++;
	}
	for (bool first = true; c->p == c->end || *c->p != ']' || first; first = false) {
		if (c->end - c->p > 2 && c->p[0] == '[' && c->p[1] == ':') {
			int r = named_class(c, in);
			if (r < 0)
				return false;
			if (r)
				continue;
		}
		const char *set = c->end - c->p >= 2 && *c->p == '\\' ? perl_set(c->p[1]) : NULL;
		if (set) {
			add_set(in, set, c->p[1] < 'a');
			c->p += 2;
			continue;
		}
		uint32_t lo, hi;
		if (!class_char(c, &lo))
			return false;
		hi = lo;
		if (c->end - c->p >= 2 && c->p[0] == '-' && c->p[1] != ']') {
			c->p++;
			if (!class_char(c, &hi) || hi < lo)
				return false;
		}
		add_range(in, lo, hi);
	}
	c->p++;
	return true;
}

/* backslash - an escape outside of a class. */
static bool backslash(struct compiler *c)
{
	uint32_t rune;
	char ch = c->p < c->end ? *c->p : 0;
	const char *set = perl_set(ch);

	if (set) {
		c->p++;
		add_set(emit(c, OP_CLASS), set, ch < 'a');
		return true;
	}
	if (ch == 'A' || ch == 'z' || ch == 'b' || ch == 'B') {
		c->p++;
		emit(c, ch == 'A'   ? OP_BEGIN
		        : ch == 'z' ? OP_END
		        : ch == 'b' ? OP_EDGE
		                    : OP_NO_EDGE);
		return true;
	}
	if (!escape(c, &rune))
		return false;
	emit(c, OP_RUNE)->rune = rune;
	return true;
}

/* star - make the last instruction repeat: a way in and a way back. */
static void star(struct compiler *c)
{
	struct ignore_inst *split = emit(c, OP_SPLIT);
	struct ignore_inst body = c->prog[c->n - 2];
	size_t at = c->n - 2;
	*split = body;
	split->to = at;
	c->prog[at] = (struct ignore_inst){.op = OP_SPLIT, .to = at + 1, .other = at + 2};
}

/* directories - "(.*" + "/)?": nothing, or any text up to a slash. */
static void directories(struct compiler *c)
{
	size_t at = c->n;
	emit(c, OP_SPLIT)->other = at + 4;
	emit(c, OP_ANY);
	star(c);
	emit(c, OP_RUNE)->rune = '/';
}

static bool compile_atom(struct compiler *c)
{
	size_t width;
	uint32_t rune = text_decode(c->p, c->end, &width);

	if ((size_t)(c->end - c->p) >= 6 && memcmp(c->p, "(.*/)?", 6) == 0) {
		c->p += 6;
		directories(c);
		return true;
	}
	c->p += width;
	switch (rune) {
	case '^':
		emit(c, OP_BEGIN);
		break;
	case '$':
		emit(c, OP_END);
		break;
	case '.':
		emit(c, OP_ANY);
		break;
	case '[':
		if (!class(c))
			return false;
		break;
	case '\\':
		if (!backslash(c))
			return false;
		break;
	default:
		emit(c, OP_RUNE)->rune = rune;
	}
	if (c->p < c->end && *c->p == '*') {
		c->p++;
		star(c);
	}
	return true;
}

static void prog_free(struct ignore_inst *prog, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(prog[i].ranges);
	free(prog);
}

/* plain_ends - the plain characters at both ends: most paths are told apart by them alone. */
static void plain_ends(struct ignore_pattern *p)
{
	_cleanup_strbuf_ struct strbuf head = STRBUF_INIT, tail = STRBUF_INIT;
	/* prog: BEGIN ... END MATCH */
	for (size_t i = 1; i < p->n && p->prog[i].op == OP_RUNE && p->prog[i].rune != RUNE_ERROR &&
	                   p->prog[i].to == i + 1;
	        i++)
		text_put(&head, p->prog[i].rune);
	/* Going back, stop where a way around joins: what stands before it is optional. */
	size_t from = p->n - 2, join = 1;
	for (size_t i = 0; i < p->n; i++)
		if (p->prog[i].op == OP_SPLIT)
			join = MAX(join, p->prog[i].other);
	while (from > join && p->prog[from - 1].op == OP_RUNE &&
	        p->prog[from - 1].rune != RUNE_ERROR)
		from--;
	for (size_t i = from; i < p->n - 2; i++)
		text_put(&tail, p->prog[i].rune);
	p->first_len = head.len;
	p->first = strbuf_detach(&head);
	p->last_len = tail.len;
	p->last = strbuf_detach(&tail);
}

bool ignore_pattern_compile(struct ignore_pattern *p, const char *text)
{
	_cleanup_strbuf_ struct strbuf re = STRBUF_INIT;

	*p = (struct ignore_pattern){0};
	if (strlen(text) > PATTERN_MAX || df_match(text, ".") < 0)
		return false;
	p->kind = translate(text, &re);
	if (p->kind == IGNORE_REGEX) {
		struct compiler c = {.p = re.buf, .end = re.buf + re.len};
		while (c.p < c.end)
			if (!compile_atom(&c)) {
				prog_free(c.prog, c.n);
				return false;
			}
		emit(&c, OP_MATCH);
		p->prog = c.prog;
		p->n = c.n;
		plain_ends(p);
	}
	p->text = xstrdup(text);
	p->len = strlen(text);
	if (p->kind == IGNORE_EXACT || (p->kind == IGNORE_SUFFIX && p->len > 2))
		p->end = p->text[p->len - 1];
	else if (p->kind == IGNORE_REGEX && p->last_len)
		p->end = p->last[p->last_len - 1];
	return true;
}

void ignore_pattern_release(struct ignore_pattern *p)
{
	prog_free(p->prog, p->n);
	free(p->text);
	free(p->first);
	free(p->last);
	*p = (struct ignore_pattern){0};
}

/* ---- matching ---- */

struct states {
	uint32_t *v;
	size_t n;
	uint32_t *mark;
	uint32_t generation;
	uint32_t *stack;
};

static bool word_rune(uint32_t c)
{
	return c < 0x80 &&
	       (c == '_' || (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z'));
}

/* follow - add what is reached from `at` without reading, given the characters around. */
static void follow(const struct ignore_pattern *p, struct states *s, uint32_t at, uint32_t before,
        uint32_t after)
{
	size_t depth = 0;
	s->stack[depth++] = at;
	while (depth) {
		at = s->stack[--depth];
		if (s->mark[at] == s->generation)
			continue;
		s->mark[at] = s->generation;
		const struct ignore_inst *in = &p->prog[at];
		bool edge = word_rune(before) != word_rune(after), pass;
		switch (in->op) {
		case OP_SPLIT:
			s->stack[depth++] = (uint32_t)in->other;
			s->stack[depth++] = (uint32_t)in->to;
			continue;
		case OP_BEGIN:
			pass = before == RUNE_EOF;
			break;
		case OP_END:
			pass = after == RUNE_EOF;
			break;
		case OP_EDGE:
			pass = edge;
			break;
		case OP_NO_EDGE:
			pass = !edge;
			break;
		default:
			s->v[s->n++] = at;
			continue;
		}
		if (pass)
			s->stack[depth++] = (uint32_t)in->to;
	}
}

static bool takes(const struct ignore_inst *in, uint32_t c)
{
	if (in->op == OP_RUNE)
		return in->rune == c;
	if (in->op == OP_ANY)
		return c != '\n';
	if (in->op != OP_CLASS)
		return false;
	for (size_t i = 0; i < in->n_ranges; i++)
		if (c >= in->ranges[i].lo && c <= in->ranges[i].hi)
			return !in->negated;
	return in->negated;
}

static bool run(const struct ignore_pattern *p, const char *path, const char *end, uint32_t *memory)
{
	struct states now = {memory, 0, memory + p->n, 1, memory + 2 * p->n};
	struct states next = {memory + 4 * p->n, 0, memory + 5 * p->n, 1, now.stack};
	uint32_t before = RUNE_EOF, c = RUNE_EOF;
	size_t width = 0;

	memset(now.mark, 0, p->n * sizeof(*now.mark));
	memset(next.mark, 0, p->n * sizeof(*next.mark));
	if (path < end)
		c = text_decode(path, end, &width);
	follow(p, &now, 0, before, c);
	while (path < end && now.n) {
		path += width;
		uint32_t after = path < end ? text_decode(path, end, &width) : RUNE_EOF;
		next.n = 0;
		next.generation++;
		for (size_t i = 0; i < now.n; i++)
			if (takes(&p->prog[now.v[i]], c))
				follow(p, &next, (uint32_t)p->prog[now.v[i]].to, c, after);
		struct states swap = now;
		now = next;
		next = swap;
		c = after;
	}
	for (size_t i = 0; i < now.n && path == end; i++)
		if (p->prog[now.v[i]].op == OP_MATCH)
			return true;
	return false;
}

static bool match_regex(const struct ignore_pattern *p, const char *path, size_t n)
{
	if (n < p->first_len || n < p->last_len || memcmp(path, p->first, p->first_len) != 0 ||
	        memcmp(path + n - p->last_len, p->last, p->last_len) != 0)
		return false;
	uint32_t small[6 * 128];
	if (p->n <= 128)
		return run(p, path, path + n, small);
	_cleanup_free_ uint32_t *memory = new0(uint32_t, 6 * p->n);
	return run(p, path, path + n, memory);
}

bool ignore_pattern_match(const struct ignore_pattern *p, const char *path, size_t n)
{
	if (p->end && (n == 0 || path[n - 1] != p->end))
		return false;
	switch (p->kind) {
	case IGNORE_EXACT:
		return n == p->len && memcmp(path, p->text, n) == 0;
	case IGNORE_PREFIX:
		return n >= p->len - 2 && memcmp(path, p->text, p->len - 2) == 0;
	case IGNORE_SUFFIX: {
		const char *suffix = p->text + 2;
		size_t len = p->len - 2;
		if (n >= len && memcmp(path + n - len, suffix, len) == 0)
			return true;
		/* two stars and "/foo" also match "foo" itself */
		return *suffix == '/' && n == len - 1 && memcmp(path, suffix + 1, n) == 0;
	}
	case IGNORE_REGEX:
		return match_regex(p, path, n);
	}
	return false;
}
