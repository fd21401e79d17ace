/* dockerfile/shell_pattern.c - the wildcard patterns of ${v#p}, ${v%p} and ${v/p/r}.
 *
 * '?' is any one character and '*' any run of them, neither crossing a newline; there are no
 * bracket expressions. Matching walks all ways at once, in order of preference, so that the time
 * is at most value times pattern length whatever the text; `steps_left` bounds that product. */
#include "dockerfile/shell_lex.h"

#include "dockerfile/text.h"

#define VALUE_MAX ((size_t)1 << 20)

enum { EL_CHAR, EL_ANY, EL_STAR };

struct element {
	int kind;
	uint32_t rune;
};

struct runes {
	uint32_t *v;
	size_t *off; /* where in the source bytes each begins; off[n] is the end */
	size_t n;
};

static void runes_release(struct runes *r)
{
	free(r->v);
	free(r->off);
}

static void runes_decode(struct runes *r, const char *s, size_t n)
{
	const char *p = s, *end = s + n;
	r->v = new0(uint32_t, n + 1);
	r->off = new0(size_t, n + 1);
	while (p < end) {
		size_t width;
		r->off[r->n] = (size_t)(p - s);
		r->v[r->n++] = text_decode(p, end, &width);
		p += width;
	}
	r->off[r->n] = n;
}

static void runes_reverse(struct runes *r)
{
	for (size_t i = 0; i + i + 1 < r->n; i++) {
		uint32_t c = r->v[i];
		r->v[i] = r->v[r->n - 1 - i];
		r->v[r->n - 1 - i] = c;
	}
}

/* pattern_reverse - backwards, but a backslash stays before the character it escapes. */
static void pattern_reverse(struct runes *r)
{
	runes_reverse(r);
	for (size_t i = r->n; i-- > 1;) {
		if (r->v[i] != '\\')
			continue;
		r->v[i] = r->v[i - 1];
		r->v[--i] = '\\';
	}
}

struct pattern {
	struct element *el;
	size_t n;
};

static void pattern_release(struct pattern *p)
{
	free(p->el);
}

static int pattern_compile(
        struct pattern *p, const struct runes *src, const struct strbuf *shown, struct error *err)
{
	p->el = new0(struct element, src->n + 1);
	for (size_t i = 0; i < src->n; i++) {
		uint32_t c = src->v[i];
		struct element *e = &p->el[p->n];
		if (c == '*') {
			if (p->n && e[-1].kind == EL_STAR)
				continue;
			*e = (struct element){EL_STAR, 0};
		} else if (c == '?') {
			*e = (struct element){EL_ANY, 0};
		} else {
			*e = (struct element){EL_CHAR, c};
			if (c == '\\') {
				uint32_t next = i + 1 < src->n ? src->v[i + 1] : RUNE_EOF;
				/* '}' and '/' had to be escaped to get here. */
				if (next == '}' || next == '/')
					continue;
				if (next != '*' && next != '?' && next != '\\') {
					_cleanup_strbuf_ struct strbuf c8 = STRBUF_INIT;
					text_put(&c8, next);
					return err_set(err, ERR_SYNTAX,
					        "invalid pattern (%s) in substitution: invalid "
					        "escape '\\%s'",
					        shown->buf, c8.buf);
				}
				e->rune = next;
				i++;
			}
		}
		p->n++;
	}
	return 0;
}

struct thread {
	size_t at, start;
};
struct threads {
	struct thread *v;
	size_t n;
	size_t *mark; /* mark[at] == generation: already in the list */
};

struct matcher {
	const struct pattern *pat;
	const struct runes *text;
	bool longest;
	struct threads now, next;
	size_t generation;
	size_t *steps_left;
	bool exhausted;
};

static void matcher_init(struct matcher *m, const struct pattern *pat, const struct runes *text,
        bool longest, size_t *steps_left)
{
	*m = (struct matcher){
	        .pat = pat, .text = text, .longest = longest, .steps_left = steps_left};
	m->now.v = new0(struct thread, pat->n + 2);
	m->next.v = new0(struct thread, pat->n + 2);
	m->now.mark = new0(size_t, pat->n + 2);
	m->next.mark = new0(size_t, pat->n + 2);
}

static void matcher_release(struct matcher *m)
{
	free(m->now.v);
	free(m->next.v);
	free(m->now.mark);
	free(m->next.mark);
}

static void add_one(struct matcher *m, struct threads *t, size_t at, size_t start)
{
	if (t->mark[at] == m->generation)
		return;
	t->mark[at] = m->generation;
	t->v[t->n++] = (struct thread){at, start};
}

/* add - a star may be left at once or used again; which comes first is what "longest" means. */
static void add(struct matcher *m, struct threads *t, size_t at, size_t start)
{
	bool star = at < m->pat->n && m->pat->el[at].kind == EL_STAR;
	if (star && !m->longest)
		add_one(m, t, at + 1, start);
	add_one(m, t, at, start);
	if (star && m->longest)
		add_one(m, t, at + 1, start);
}

static bool consumes(const struct element *e, uint32_t c)
{
	return e->kind == EL_CHAR ? e->rune == c : c != '\n';
}

/* match - the leftmost match at or after `from` (only at `from` if anchored); of several that
 * start there, the preferred one. */
static bool match(struct matcher *m, size_t from, bool anchored, size_t *ret_start, size_t *ret_end)
{
	bool found = false;

	m->now.n = 0;
	m->generation++;
	for (size_t pos = from;; pos++) {
		if (!found && (pos == from || !anchored))
			add(m, &m->now, 0, pos);
		if (m->now.n == 0)
			break;
		if (*m->steps_left < m->now.n) {
			m->exhausted = true;
			return false;
		}
		*m->steps_left -= m->now.n;
		m->next.n = 0;
		m->generation++;
		for (size_t i = 0; i < m->now.n; i++) {
			struct thread t = m->now.v[i];
			if (t.at == m->pat->n) {
				*ret_start = t.start;
				*ret_end = pos;
				found = true;
				break; /* all that follow are less preferred */
			}
			const struct element *e = &m->pat->el[t.at];
			if (pos < m->text->n && consumes(e, m->text->v[pos]))
				add(m, &m->next, e->kind == EL_STAR ? t.at : t.at + 1, t.start);
		}
		struct threads swap = m->now;
		m->now = m->next;
		m->next = swap;
		if (pos >= m->text->n)
			break;
	}
	return found;
}

static void put_runes(struct strbuf *out, const struct runes *r, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		text_put(out, r->v[i]);
}

static void put_bytes(
        struct strbuf *out, const char *value, const struct runes *r, size_t from, size_t to)
{
	strbuf_add(out, value + r->off[from], r->off[to] - r->off[from]);
}

static int too_costly(struct error *err)
{
	return err_set(err, ERR_SYNTAX, "pattern in substitution is too costly to match");
}

static int check_value(const char *value, struct error *err)
{
	if (strlen(value) > VALUE_MAX)
		return err_set(err, ERR_SYNTAX,
		        "value is too long for a pattern substitution (more than 1 MiB)");
	return 0;
}

int shell_trim(const struct strbuf *pattern, const char *value, bool suffix, bool longest,
        struct strbuf *out, size_t *steps_left, struct error *err)
{
	_cleanup_(runes_release) struct runes src = {0}, text = {0};
	_cleanup_(pattern_release) struct pattern pat = {0};
	size_t start, end = 0;

	if (check_value(value, err) < 0)
		return -1;
	runes_decode(&src, pattern->buf, pattern->len);
	runes_decode(&text, value, strlen(value));
	/* The shortest match at the end is the shortest at the start of both reversed. */
	if (suffix) {
		pattern_reverse(&src);
		runes_reverse(&text);
	}
	if (pattern_compile(&pat, &src, pattern, err) < 0)
		return -1;
	_cleanup_(matcher_release) struct matcher m;
	matcher_init(&m, &pat, &text, longest, steps_left);
	bool found = match(&m, 0, true, &start, &end);
	if (m.exhausted)
		return too_costly(err);
	if (!found)
		end = 0;
	if (suffix) {
		runes_reverse(&text);
		put_runes(out, &text, 0, text.n - end);
	} else {
		strbuf_addstr(out, value + text.off[end]);
	}
	return 0;
}

/* reference - "$name", "${name}" or "$1" at p, as a replace-all template reads it; false: a plain
 * dollar sign. There are no groups, so that only 0, the whole match, has a value. */
static bool reference(const char *p, const char *end, const char **ret_next, bool *ret_whole)
{
	bool brace = p < end && *p == '{';
	const char *name = p + brace, *q = name;
	while (q < end) {
		size_t width;
		uint32_t c = text_decode(q, end, &width);
		if (!text_is_letter(c) && !text_is_digit(c) && c != '_')
			break;
		q += width;
	}
	if (q == name || (brace && (q == end || *q != '}')))
		return false;
	*ret_whole = q - name == 1 && *name == '0';
	*ret_next = q + brace;
	return true;
}

static void put_template(struct strbuf *out, const struct strbuf *tpl, const char *value,
        const struct runes *text, size_t start, size_t stop)
{
	const char *p = tpl->buf, *end = p + tpl->len;
	while (p < end) {
		const char *dollar = memchr(p, '$', (size_t)(end - p));
		if (!dollar)
			break;
		strbuf_add(out, p, (size_t)(dollar - p));
		p = dollar + 1;
		bool whole;
		if (p < end && *p == '$') {
			strbuf_addch(out, '$');
			p++;
		} else if (!reference(p, end, &p, &whole)) {
			strbuf_addch(out, '$');
		} else if (whole) {
			put_bytes(out, value, text, start, stop);
		}
	}
	strbuf_add(out, p, (size_t)(end - p));
}

int shell_replace(const struct strbuf *pattern, const char *value, const struct strbuf *replacement,
        bool all, struct strbuf *out, size_t *steps_left, struct error *err)
{
	_cleanup_(runes_release) struct runes src = {0}, text = {0};
	_cleanup_(pattern_release) struct pattern pat = {0};

	if (check_value(value, err) < 0)
		return -1;
	runes_decode(&src, pattern->buf, pattern->len);
	runes_decode(&text, value, strlen(value));
	if (pattern_compile(&pat, &src, pattern, err) < 0)
		return -1;
	_cleanup_(matcher_release) struct matcher m;
	matcher_init(&m, &pat, &text, true, steps_left);

	size_t done = 0, pos = 0, start = 0, end = 0;
	while (pos <= text.n && match(&m, pos, false, &start, &end)) {
		if (replacement->len > *steps_left)
			return too_costly(err);
		*steps_left -= replacement->len;
		put_bytes(out, value, &text, done, start);
		if (!all) {
			strbuf_add(out, replacement->buf, replacement->len);
			done = end;
			break;
		}
		/* No empty match right behind another match. */
		if (end > done || start == 0)
			put_template(out, replacement, value, &text, start, end);
		done = end;
		pos = end > pos ? end : pos + 1;
	}
	if (m.exhausted)
		return too_costly(err);
	put_bytes(out, value, &text, done, text.n);
	return 0;
}
