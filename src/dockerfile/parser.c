/* dockerfile/parser.c - logical lines -> instructions.
 *
 * Which way the text of an instruction splits depends on its kind alone; nothing is expanded and
 * no name is checked here. Time is linear in the text. */
#include "dockerfile/heredoc.h"
#include "dockerfile/lexer.h"
#include "dockerfile/text.h"
#include "dockerfile/words.h"

#define ONBUILD_DEPTH_MAX 8

struct parser {
	struct arena *a;
	struct df_file *f;
	struct lexer lx;
};

struct span {
	const char *p, *end;
};

static int fail_word(
        struct parser *ps, const struct df_instr *in, const char *word, struct error *err)
{
	int line = in->line, column = 1;
	if (word)
		df_find_word(ps->f, in->line, in->end_line, word, &line, &column);
	return err_at(err, ps->f->name, line, column);
}

static void set_args(struct parser *ps, struct df_instr *in, struct word_list *w)
{
	in->args = words_detach(w, ps->a, &in->n_args);
}

static void add_span(struct parser *ps, struct word_list *w, struct span s)
{
	words_add(w, arena_strndup(ps->a, s.p, (size_t)(s.end - s.p)));
}

/* try_json - 1: the exec form, its strings are in w; 0: not JSON. */
static int try_json(struct parser *ps, struct df_instr *in, struct span s, struct word_list *w,
        struct error *err)
{
	_cleanup_words_ struct word_list strings = {0};

	switch (words_json(ps->a, s.p, s.end, &strings)) {
	case WORDS_JSON_NO:
		return 0;
	case WORDS_JSON_YES:
		for (size_t i = 0; i < strings.n; i++)
			words_add(w, strings.v[i]);
		in->json = true;
		return 1;
	case WORDS_JSON_NOT_STRINGS:
		err_set(err, ERR_SYNTAX,
		        "when using JSON array syntax, arrays must be comprised of strings only");
		err_hint(err, "put every element of the array in double quotes");
		return fail_word(ps, in, "[", err);
	case WORDS_JSON_NUL:
		err_set(err, ERR_SYNTAX, "a string in the JSON form of %s holds a NUL character",
		        in->name_raw);
		return fail_word(ps, in, "[", err);
	}
	return 0;
}

static int args_json_or_text(struct parser *ps, struct df_instr *in, struct span s,
        struct word_list *w, struct error *err)
{
	if (s.p == s.end)
		return 0;
	int r = try_json(ps, in, s, w, err);
	if (r == 0)
		add_span(ps, w, s);
	return r;
}

static int args_json_or_words(struct parser *ps, struct df_instr *in, struct span s,
        struct word_list *w, struct error *err)
{
	int r = try_json(ps, in, s, w, err);
	if (r == 0)
		words_plain(ps->a, s.p, s.end, w);
	return r;
}

/* args_legacy - "NAME the rest is the value". */
static int args_legacy(struct parser *ps, struct df_instr *in, struct span s, struct word_list *w,
        struct error *err)
{
	const char *p = s.p;
	while (p < s.end && !text_is_blank(*p))
		p++;
	if (p == s.end) {
		err_set(err, ERR_SYNTAX, "%s must have two arguments",
		        in->kind == DF_ENV ? "ENV" : "LABEL");
		err_hint(err, "write %s NAME=value", in->name_raw);
		return fail_word(ps, in, in->rest, err);
	}
	add_span(ps, w, (struct span){s.p, p});
	while (p < s.end && text_is_blank(*p))
		p++;
	add_span(ps, w, (struct span){p, s.end});
	words_add(w, "");
	return 0;
}

static int args_pairs(struct parser *ps, struct df_instr *in, struct span s, struct word_list *w,
        struct error *err)
{
	_cleanup_words_ struct word_list words = {0};

	words_quoted(ps->a, s.p, s.end, ps->f->escape, &words);
	if (words.n == 0)
		return 0;
	if (!strchr(words.v[0], '='))
		return args_legacy(ps, in, s, w, err);
	for (size_t i = 0; i < words.n; i++) {
		const char *eq = strchr(words.v[i], '=');
		if (!eq) {
			_cleanup_strbuf_ struct strbuf q = STRBUF_INIT;
			text_quote(&q, words.v[i], strlen(words.v[i]));
			err_set(err, ERR_SYNTAX,
			        "Syntax error - can't find = in %s. Must be of the form: "
			        "name=value",
			        q.buf);
			err_hint(err, "quote a value that holds blanks: NAME=\"two words\"");
			return fail_word(ps, in, words.v[i], err);
		}
		add_span(ps, w, (struct span){words.v[i], eq});
		words_add(w, eq + 1);
		words_add(w, "=");
	}
	return 0;
}

static int args_healthcheck(struct parser *ps, struct df_instr *in, struct span s,
        struct word_list *w, struct error *err)
{
	const char *p = s.p;
	while (p < s.end && !text_is_space_byte((unsigned char)*p))
		p++;
	if (p == s.p)
		return 0;
	add_span(ps, w, (struct span){s.p, p});
	while (p < s.end && text_is_space_byte((unsigned char)*p))
		p++;
	return args_json_or_text(ps, in, (struct span){p, s.end}, w, err);
}

static int parse_line(struct parser *ps, struct span s, int line, int end_line, int depth,
        struct df_instr **ret, struct error *err) must_check;

static int args_onbuild(
        struct parser *ps, struct df_instr *in, struct span s, int depth, struct error *err)
{
	if (s.p == s.end)
		return 0;
	if (depth >= ONBUILD_DEPTH_MAX) {
		err_set(err, ERR_SYNTAX, "ONBUILD is nested too deeply");
		return fail_word(ps, in, NULL, err);
	}
	return parse_line(ps, s, in->line, in->end_line, depth + 1, &in->child, err);
}

static int parse_args(
        struct parser *ps, struct df_instr *in, struct span s, int depth, struct error *err)
{
	_cleanup_words_ struct word_list w = {0};
	int r = 0;

	switch (in->kind) {
	case DF_ADD:
	case DF_COPY:
	case DF_VOLUME:
		r = args_json_or_words(ps, in, s, &w, err);
		break;
	case DF_CMD:
	case DF_ENTRYPOINT:
	case DF_RUN:
	case DF_SHELL:
		r = args_json_or_text(ps, in, s, &w, err);
		break;
	case DF_ARG:
		words_quoted(ps->a, s.p, s.end, ps->f->escape, &w);
		break;
	case DF_ENV:
	case DF_LABEL:
		r = args_pairs(ps, in, s, &w, err);
		break;
	case DF_EXPOSE:
	case DF_FROM:
		words_plain(ps->a, s.p, s.end, &w);
		break;
	case DF_HEALTHCHECK:
		r = args_healthcheck(ps, in, s, &w, err);
		break;
	case DF_ONBUILD:
		r = args_onbuild(ps, in, s, depth, err);
		break;
	case DF_MAINTAINER:
	case DF_STOPSIGNAL:
	case DF_USER:
	case DF_WORKDIR:
		if (s.p < s.end)
			add_span(ps, &w, s);
		break;
	case DF_UNKNOWN:
		break;
	}
	set_args(ps, in, &w);
	return r < 0 ? -1 : 0;
}

static void parse_flags(struct parser *ps, struct df_instr *in, struct span *s)
{
	_cleanup_words_ struct word_list w = {0};

	words_flags(ps->a, &s->p, s->end, &w);
	in->n_flags = w.n;
	in->flags = arena_new(ps->a, struct df_flag, w.n);
	for (size_t i = 0; i < w.n; i++) {
		const char *name = w.v[i] + 2, *eq = strchr(name, '=');
		in->flags[i] = (struct df_flag){
		        .name = eq ? arena_strndup(ps->a, name, (size_t)(eq - name)) : name,
		        .value = eq ? eq + 1 : NULL,
		        .raw = w.v[i],
		};
	}
}

static int parse_line(struct parser *ps, struct span s, int line, int end_line, int depth,
        struct df_instr **ret, struct error *err)
{
	struct df_instr *in = arena_new(ps->a, struct df_instr, 1);
	in->line = line;
	in->end_line = end_line;
	in->original = arena_strndup(ps->a, s.p, (size_t)(s.end - s.p));

	text_trim(&s.p, &s.end);
	const char *p = s.p;
	while (p < s.end && !text_is_blank(*p))
		p++;
	in->name_raw = arena_strndup(ps->a, s.p, (size_t)(p - s.p));
	char *name = arena_strdup(ps->a, in->name_raw);
	for (char *c = name; *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c |= 0x20;
	in->name = name;
	in->kind = df_kind_from_name(name);
	s.p = p;
	parse_flags(ps, in, &s);
	text_trim(&s.p, &s.end);
	in->rest = arena_strndup(ps->a, s.p, (size_t)(s.end - s.p));
	if (parse_args(ps, in, s, depth, err) < 0)
		return -1;
	*ret = in;
	return 0;
}

/* heredoc_owner - the instruction whose heredocs these could be, or NULL. */
static struct df_instr *heredoc_owner(struct df_instr *in)
{
	if (in->kind == DF_ONBUILD && in->child)
		in = in->child;
	bool may = in->kind == DF_RUN || in->kind == DF_COPY || in->kind == DF_ADD;
	return may && !in->json ? in : NULL;
}

static const char *without_tabs(struct arena *a, const char *p, size_t n, size_t *ret_n)
{
	char *out = arena_alloc(a, n + 1);
	size_t len = 0;
	bool start = true;
	for (size_t i = 0; i < n; i++) {
		if (start && p[i] == '\t')
			continue;
		start = p[i] == '\n';
		out[len++] = p[i];
	}
	*ret_n = len;
	return out;
}

/* unterminated - say where the end marker nearly stands, which is the usual mistake. */
static int unterminated(
        struct parser *ps, const struct df_instr *in, const struct df_heredoc *h, struct error *err)
{
	err_set(err, ERR_SYNTAX, "unterminated heredoc: no line below is just \"%s\"", h->name);
	for (size_t i = (size_t)in->end_line; i < ps->f->n_lines; i++) {
		const char *p = ps->f->lines[i], *end = p + strlen(p);
		text_trim(&p, &end);
		if ((size_t)(end - p) == strlen(h->name) &&
		        memcmp(p, h->name, (size_t)(end - p)) == 0)
			err_hint(err,
			        "line %zu has it with blanks around it: the end marker must stand "
			        "alone%s",
			        i + 1, h->chomp ? ", behind nothing but tabs" : "");
	}
	return fail_word(ps, in, "<<", err);
}

static int read_heredoc(
        struct parser *ps, struct df_instr *in, struct df_heredoc *h, struct error *err)
{
	size_t name_len = strlen(h->name), n;
	const char *start = ps->f->text + ps->lx.off[ps->lx.at], *line;

	while (lexer_raw(&ps->lx, &line, &n)) {
		const char *p = line;
		while (n && (p[n - 1] == '\n' || p[n - 1] == '\r'))
			n--;
		while (h->chomp && n && *p == '\t') {
			p++;
			n--;
		}
		if (n != name_len || memcmp(p, h->name, n) != 0)
			continue;
		h->raw_len = (size_t)(line - start);
		h->raw = arena_strndup(ps->a, start, h->raw_len);
		h->content = h->raw;
		h->content_len = h->raw_len;
		if (h->chomp)
			h->content = without_tabs(ps->a, h->raw, h->raw_len, &h->content_len);
		return 0;
	}
	return unterminated(ps, in, h, err);
}

static int parse_heredocs(
        struct parser *ps, struct df_instr *in, const struct logical_line *l, struct error *err)
{
	struct df_instr *owner = heredoc_owner(in);
	if (!owner)
		return 0;
	if (heredoc_find(ps->a, l->text, l->len, &in->heredocs, &in->n_heredocs, err) < 0)
		return fail_word(ps, in, "<<", err);
	for (size_t i = 0; i < in->n_heredocs; i++)
		if (read_heredoc(ps, in, &in->heredocs[i], err) < 0)
			return -1;
	owner->heredocs = in->heredocs;
	owner->n_heredocs = in->n_heredocs;
	in->end_line = owner->end_line = (int)ps->lx.at;
	return 0;
}

static int parse_next(struct parser *ps, struct df_instr **ret, struct error *err)
{
	struct logical_line l;
	int r = lexer_next(&ps->lx, &l, err);
	if (r <= 0)
		return r;
	if (parse_line(ps, (struct span){l.text, l.text + l.len}, l.line, l.end_line, 0, ret, err) <
	        0)
		return -1;
	(*ret)->comment = l.comment;
	(*ret)->text_end_line = l.end_line;
	if (l.empty_line) {
		(*ret)->empty_continuation = true;
		(*ret)->empty_continuation_line = l.empty_line;
	}
	return parse_heredocs(ps, *ret, &l, err) < 0 ? -1 : 1;
}

static int parse_all(struct parser *ps, struct error *err)
{
	struct df_instr **v = NULL, *in;
	size_t n = 0, cap = 0;
	int r;

	while ((r = parse_next(ps, &in, err)) > 0) {
		vec_grow(&v, &cap, n + 1);
		v[n++] = in;
	}
	if (r == 0 && n == 0) {
		r = err_set(err, ERR_SYNTAX, "file with no instructions");
		err_hint(err,
		        "a Dockerfile begins with FROM, for example FROM debian:bookworm-slim");
		err_at(err, ps->f->name, (int)MAX(ps->f->n_lines, 1), 0);
	}
	ps->f->instrs = arena_memdup(ps->a, v, n * sizeof(*v));
	ps->f->n_instrs = n;
	free(v);
	return r;
}

int df_parse(struct arena *a, const char *text, size_t n, const char *name, struct df_file **ret,
        struct error *err)
{
	struct parser ps = {.a = a, .f = arena_new(a, struct df_file, 1)};
	ps.f->name = arena_strdup(a, name);
	int r = lexer_init(&ps.lx, a, ps.f, text, n, err);
	if (r == 0)
		r = parse_all(&ps, err);
	lexer_release(&ps.lx);
	if (r == 0)
		*ret = ps.f;
	return r;
}

struct df_file *df_lines(struct arena *a, const char *text, size_t n, const char *name)
{
	_cleanup_error_ struct error ignored = ERROR_INIT;
	struct df_file *f = arena_new(a, struct df_file, 1);
	struct lexer lx;

	f->name = arena_strdup(a, name);
	int r = lexer_init(&lx, a, f, text, n, &ignored);
	lexer_release(&lx);
	return r < 0 ? NULL : f;
}

int df_parse_instr(struct arena *a, const char *text, char escape, const char *name,
        struct df_instr **ret, struct error *err)
{
	struct parser ps = {.a = a, .f = arena_new(a, struct df_file, 1)};
	ps.f->name = arena_strdup(a, name);
	int r = lexer_init(&ps.lx, a, ps.f, text, strlen(text), err);
	ps.lx.directives_done = true;
	ps.f->escape = escape;
	if (r == 0)
		r = parse_all(&ps, err);
	lexer_release(&ps.lx);
	if (r == 0 && ps.f->n_instrs != 1) {
		r = err_set(err, ERR_SYNTAX, "an ONBUILD trigger should be a single instruction");
		err_at(err, ps.f->name, 0, 0);
	}
	if (r == 0)
		*ret = ps.f->instrs[0];
	return r;
}

bool df_heredoc_word(struct arena *a, const char *word, struct df_heredoc *ret)
{
	_cleanup_error_ struct error ignored = ERROR_INIT;
	return heredoc_parse_word(a, word, ret, &ignored) == 1;
}
