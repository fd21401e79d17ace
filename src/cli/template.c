/* cli/template.c - see template.h. The text is interpreted as it is read: a loop's body is read
 * once a round, a branch not taken is read without effect. */
#include "cli/template.h"

#include <ctype.h>
#include <stdio.h>

#include "base/human.h"
#include "cli/table.h"

#define DEPTH_MAX 64

struct variable {
	char *name;
	json_t *value;
};

struct run {
	const char *p; /* next character of the template */
	json_t *root;
	struct strbuf *out;
	struct variable *vars;
	size_t n_vars, cap_vars;
	int depth;
	struct error *err;
};

/* One action's text, without braces. */
struct expr {
	const char *p, *end;
};

#define syntax(r, ...) err_set((r)->err, ERR_USAGE, __VA_ARGS__)

/* --- values ---------------------------------------------------------------------------------- */

static int compare_keys(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* show - a value as Go's fmt prints it. */
static void show(struct strbuf *b, const json_t *v)
{
	size_t i;
	json_t *e;
	if (!v) {
		strbuf_addstr(b, "<no value>");
		return;
	}
	switch (json_typeof(v)) {
	case JSON_STRING:
		strbuf_addstr(b, json_string_value(v));
		break;
	case JSON_INTEGER:
		strbuf_addf(b, "%lld", (long long)json_integer_value(v));
		break;
	case JSON_REAL:
		strbuf_addf(b, "%g", json_real_value(v));
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		strbuf_addstr(b, json_is_true(v) ? "true" : "false");
		break;
	case JSON_NULL:
		strbuf_addstr(b, "<nil>");
		break;
	case JSON_ARRAY:
		strbuf_addch(b, '[');
		json_array_foreach(v, i, e)
		{
			strbuf_addstr(b, i ? " " : "");
			show(b, e);
		}
		strbuf_addch(b, ']');
		break;
	case JSON_OBJECT: {
		size_t n = 0;
		const char *key;
		_cleanup_free_ const char **keys = new0(const char *, json_object_size(v) + 1);
		json_object_foreach((json_t *)v, key, e)
		{
			keys[n++] = key;
		}
		qsort(keys, n, sizeof(*keys), compare_keys);
		strbuf_addstr(b, "map[");
		for (i = 0; i < n; i++) {
			strbuf_addf(b, "%s%s:", i ? " " : "", keys[i]);
			show(b, json_object_get(v, keys[i]));
		}
		strbuf_addch(b, ']');
		break;
	}
	}
}

static char *text_of(const json_t *v)
{
	struct strbuf b = STRBUF_INIT;
	show(&b, v);
	return strbuf_detach(&b);
}

static bool truth(const json_t *v)
{
	if (!v)
		return false;
	switch (json_typeof(v)) {
	case JSON_STRING:
		return *json_string_value(v) != '\0';
	case JSON_INTEGER:
		return json_integer_value(v) != 0;
	case JSON_REAL:
		return json_real_value(v) != 0;
	case JSON_TRUE:
		return true;
	case JSON_ARRAY:
		return json_array_size(v) > 0;
	case JSON_OBJECT:
		return json_object_size(v) > 0;
	default:
		return false;
	}
}

static json_int_t length(const json_t *v)
{
	if (json_is_string(v))
		return (json_int_t)strlen(json_string_value(v));
	return (json_int_t)(json_is_object(v) ? json_object_size(v) : json_array_size(v));
}

/* --- functions ------------------------------------------------------------------------------- */

struct args {
	json_t **v; /* elements may be NULL: no value */
	size_t n, cap;
};

static void args_release(struct args *a)
{
	for (size_t i = 0; i < a->n; i++)
		json_decref(a->v[i]);
	free(a->v);
}

static void args_add(struct args *a, json_t *v)
{
	vec_grow(&a->v, &a->cap, a->n + 1);
	a->v[a->n++] = v;
}

static json_t *index_of(const struct args *a)
{
	json_t *v = a->v[0];
	for (size_t i = 1; i < a->n && v; i++) {
		if (json_is_object(v) && json_is_string(a->v[i]))
			v = json_object_get(v, json_string_value(a->v[i]));
		else if (json_is_array(v) && json_is_integer(a->v[i]) &&
		         json_integer_value(a->v[i]) >= 0)
			v = json_array_get(v, (size_t)json_integer_value(a->v[i]));
		else
			v = NULL;
	}
	return json_incref(v);
}

static json_t *join(const struct args *a, bool with_space)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	for (size_t i = 0; i < a->n; i++) {
		/* Go's Print puts spaces between operands when neither is a string. */
		if (i && (with_space || (!json_is_string(a->v[i]) && !json_is_string(a->v[i - 1]))))
			strbuf_addch(&b, ' ');
		show(&b, a->v[i]);
	}
	return json_str(b.buf);
}

/* format - printf with %s %v %d %q %t %x, widths and %%. */
static json_t *format(const struct args *a)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	size_t next = 1;
	for (const char *p = json_is_string(a->v[0]) ? json_string_value(a->v[0]) : ""; *p;) {
		if (*p != '%') {
			strbuf_addch(&b, *p++);
			continue;
		}
		const char *verb = p + 1 + strspn(p + 1, "-+# 0123456789.");
		int width = atoi(p + 1 + strspn(p + 1, "-+# 0"));
		bool left = p[1] == '-';
		if (*verb == '%') {
			strbuf_addch(&b, '%');
		} else if (*verb) {
			_cleanup_free_ char *t =
			        next < a->n ? text_of(a->v[next]) : xstrdup("%!(MISSING)");
			next++;
			int pad = MIN(MAX(width - (int)strlen(t), 0), 4096);
			const char *quote = *verb == 'q' ? "\"" : "";
			strbuf_addf(&b, "%*s%s%s%s%*s", left ? 0 : pad, "", quote, t, quote,
			        left ? pad : 0, "");
		}
		p = *verb ? verb + 1 : verb;
	}
	return json_str(b.buf);
}

static json_t *change_case(const json_t *v, const char *how)
{
	_cleanup_free_ char *t = text_of(v);
	bool start = true;
	for (char *p = t; *p; p++) {
		unsigned char c = (unsigned char)*p;
		if (*how == 'l')
			*p = (char)tolower(c);
		else if (*how == 'u' || start)
			*p = (char)toupper(c);
		start = c == ' ';
	}
	return json_str(t);
}

static json_t *split_text(const struct args *a)
{
	_cleanup_free_ char *text = text_of(a->v[0]), *sep = text_of(a->v[1]);
	json_t *list = json_array();
	const char *p = text;
	for (const char *hit; *sep && (hit = strstr(p, sep)); p = hit + strlen(sep)) {
		_cleanup_free_ char *part = xstrndup(p, (size_t)(hit - p));
		json_array_append_new(list, json_str(part));
	}
	json_array_append_new(list, json_str(p));
	return list;
}

static json_t *join_list(const struct args *a)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	_cleanup_free_ char *sep = text_of(a->v[1]);
	size_t i;
	json_t *e;
	json_array_foreach(a->v[0], i, e)
	{
		strbuf_addstr(&b, i ? sep : "");
		show(&b, e);
	}
	return json_str(b.buf);
}

static json_t *slice(const struct args *a)
{
	json_int_t n = length(a->v[0]);
	json_int_t from = a->n > 1 ? json_integer_value(a->v[1]) : 0;
	json_int_t to = a->n > 2 ? json_integer_value(a->v[2]) : n;
	from = MIN(MAX(from, 0), n);
	to = MIN(MAX(to, from), n);
	if (json_is_string(a->v[0])) {
		_cleanup_free_ char *s =
		        xstrndup(json_string_value(a->v[0]) + from, (size_t)(to - from));
		return json_str(s);
	}
	json_t *list = json_array();
	for (json_int_t i = from; i < to; i++)
		json_array_append(list, json_array_get(a->v[0], (size_t)i));
	return list;
}

static int order(const json_t *a, const json_t *b)
{
	if (json_is_number(a) && json_is_number(b)) {
		double x = json_number_value(a), y = json_number_value(b);
		return x < y ? -1 : x > y;
	}
	_cleanup_free_ char *s = text_of(a), *t = text_of(b);
	int c = strcmp(s, t);
	return c < 0 ? -1 : c > 0;
}

static json_t *compare(const char *op, const struct args *a)
{
	int c = order(a->v[0], a->v[1]);
	bool yes = c == 0;
	for (size_t i = 2; str_eq(op, "eq") && i < a->n && !yes; i++)
		yes = order(a->v[0], a->v[i]) == 0;
	if (str_eq(op, "ne"))
		yes = c != 0;
	else if (str_eq(op, "lt"))
		yes = c < 0;
	else if (str_eq(op, "le"))
		yes = c <= 0;
	else if (str_eq(op, "gt"))
		yes = c > 0;
	else if (str_eq(op, "ge"))
		yes = c >= 0;
	return json_boolean(yes);
}

static json_t *pick_operand(bool all, const struct args *a)
{
	size_t i = 0;
	while (i + 1 < a->n && truth(a->v[i]) == all)
		i++;
	return json_incref(a->v[i]);
}

static const struct {
	const char *name;
	size_t min;
} functions[] = {{"json", 1}, {"len", 1}, {"index", 1}, {"slice", 1}, {"print", 0}, {"println", 0},
        {"printf", 1}, {"lower", 1}, {"upper", 1}, {"title", 1}, {"split", 2}, {"join", 2},
        {"truncate", 2}, {"pad", 3}, {"eq", 2}, {"ne", 2}, {"lt", 2}, {"le", 2}, {"gt", 2},
        {"ge", 2}, {"and", 1}, {"or", 1}, {"not", 1}};

static json_t *apply(const char *f, const struct args *a)
{
	if (str_eq(f, "json")) {
		_cleanup_free_ char *t = a->v[0] ? json_compact(a->v[0]) : xstrdup("null");
		return json_str(t);
	}
	if (str_eq(f, "len"))
		return json_integer(length(a->v[0]));
	if (str_eq(f, "index"))
		return index_of(a);
	if (str_eq(f, "slice"))
		return slice(a);
	if (str_eq(f, "print"))
		return join(a, false);
	if (str_eq(f, "println")) {
		_cleanup_json_ json_t *t = join(a, true);
		_cleanup_free_ char *line = xasprintf("%s\n", json_string_value(t));
		return json_str(line);
	}
	if (str_eq(f, "printf"))
		return format(a);
	if (str_eq(f, "lower") || str_eq(f, "upper") || str_eq(f, "title"))
		return change_case(a->v[0], f);
	if (str_eq(f, "split"))
		return split_text(a);
	if (str_eq(f, "join"))
		return join_list(a);
	if (str_eq(f, "truncate")) {
		_cleanup_free_ char *t = text_of(a->v[0]);
		size_t n = (size_t)MAX(json_integer_value(a->v[1]), 0);
		if (strlen(t) > n)
			t[n] = '\0';
		return json_str(t);
	}
	if (str_eq(f, "pad")) {
		_cleanup_free_ char *t = text_of(a->v[0]);
		int before = (int)MIN(MAX(json_integer_value(a->v[1]), 0), 4096);
		int after = (int)MIN(MAX(json_integer_value(a->v[2]), 0), 4096);
		_cleanup_free_ char *p = xasprintf("%*s%s%*s", before, "", t, after, "");
		return json_str(*t ? p : t);
	}
	if (str_eq(f, "and") || str_eq(f, "or"))
		return pick_operand(str_eq(f, "and"), a);
	if (str_eq(f, "not"))
		return json_boolean(!truth(a->v[0]));
	return compare(f, a);
}

static int call(struct run *r, const char *name, const struct args *a, json_t **ret)
{
	const char *names[ARRAY_SIZE(functions)];
	for (size_t i = 0; i < ARRAY_SIZE(functions); i++) {
		names[i] = functions[i].name;
		if (!str_eq(name, names[i]))
			continue;
		if (a->n < functions[i].min)
			return syntax(r, "--format: %s has too few arguments", name);
		*ret = apply(name, a);
		return 0;
	}
	(void)syntax(r, "--format: no function %s", name);
	const char *near = human_nearest(name, names, ARRAY_SIZE(names));
	return near ? err_hint(r->err, "did you mean %s?", near)
	            : err_hint(r->err, "a field begins with a dot: {{.%s}}", name);
}

/* --- expressions ----------------------------------------------------------------------------- */

static int pipeline(struct run *r, struct expr *e, json_t *dot, json_t **ret);

static void skip_space(struct expr *e)
{
	while (e->p < e->end && isspace((unsigned char)*e->p))
		e->p++;
}

static size_t name_length(const struct expr *e)
{
	size_t n = 0;
	while (e->p + n < e->end && (isalnum((unsigned char)e->p[n]) || e->p[n] == '_'))
		n++;
	return n;
}

static int no_field(struct run *r, const char *name)
{
	const char *keys[256], *key;
	json_t *v;
	size_t n = 0;
	json_object_foreach(r->root, key, v)
	{
		if (n < ARRAY_SIZE(keys))
			keys[n++] = key;
	}
	(void)syntax(r, "--format: there is no field .%s", name);
	const char *near = human_nearest(name, keys, n);
	return near ? err_hint(r->err, "did you mean .%s?", near)
	            : err_hint(r->err, "{{json .}} shows what there is");
}

/* fields - ".A.B" from v (stolen). */
static int fields(struct run *r, struct expr *e, json_t *v, json_t **ret)
{
	_cleanup_json_ json_t *cur = v;
	while (e->p < e->end && *e->p == '.') {
		e->p++;
		size_t n = name_length(e);
		if (!n)
			break;
		_cleanup_free_ char *name = xstrndup(e->p, n);
		e->p += n;
		json_t *next = json_object_get(cur, name);
		if (!next && cur == r->root)
			return no_field(r, name);
		json_incref(next);
		json_decref(cur);
		cur = next;
	}
	*ret = json_incref(cur);
	return 0;
}

static int string_literal(struct run *r, struct expr *e, json_t **ret)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	char quote = *e->p++;
	while (e->p < e->end && *e->p != quote) {
		char c = *e->p++;
		if (c == '\\' && quote == '"' && e->p < e->end) {
			c = *e->p++;
			c = c == 'n' ? '\n' : c == 't' ? '\t' : c;
		}
		strbuf_addch(&b, c);
	}
	if (e->p >= e->end)
		return syntax(r, "--format: %s", "a quoted text has no end");
	e->p++;
	*ret = json_str(b.buf);
	return 0;
}

static struct variable *find_variable(struct run *r, const char *name)
{
	for (size_t i = r->n_vars; i-- > 0;)
		if (str_eq(r->vars[i].name, name))
			return &r->vars[i];
	return NULL;
}

static int variable_value(struct run *r, struct expr *e, json_t **ret)
{
	e->p++;
	size_t n = name_length(e);
	_cleanup_free_ char *name = xstrndup(e->p, n);
	e->p += n;
	if (!n) {
		*ret = json_incref(r->root);
		return 0;
	}
	struct variable *v = find_variable(r, name);
	if (!v)
		return syntax(r, "--format: no variable $%s", name);
	*ret = json_incref(v->value);
	return 0;
}

/* operand - one value; *ret_name is set instead for a bare word. */
static int operand(struct run *r, struct expr *e, json_t *dot, json_t **ret, char **ret_name)
{
	json_t *v = NULL;
	int rc = 0;
	if (*e->p == '.') {
		v = json_incref(dot);
	} else if (*e->p == '$') {
		rc = variable_value(r, e, &v);
	} else if (*e->p == '"' || *e->p == '`') {
		return string_literal(r, e, ret);
	} else if (*e->p == '(') {
		e->p++;
		if (++r->depth > DEPTH_MAX)
			return syntax(r, "--format: %s", "nested too deep");
		rc = pipeline(r, e, dot, &v);
		r->depth--;
		if (rc == 0 && (e->p >= e->end || *e->p++ != ')')) {
			json_decref(v);
			return syntax(r, "--format: %s", ") is missing");
		}
	} else if (isdigit((unsigned char)*e->p) || *e->p == '-') {
		char *end;
		*ret = json_integer(strtoll(e->p, &end, 10));
		if (end == e->p) {
			json_decref(*ret);
			return syntax(r, "--format: unexpected %.10s", e->p);
		}
		e->p = end;
		return 0;
	} else {
		size_t n = name_length(e);
		if (!n)
			return syntax(r, "--format: unexpected %.10s", e->p);
		_cleanup_free_ char *name = xstrndup(e->p, n);
		e->p += n;
		if (str_eq(name, "true") || str_eq(name, "false"))
			*ret = json_boolean(*name == 't');
		else if (str_eq(name, "nil"))
			*ret = json_null();
		else
			*ret_name = take_ptr(name);
		return 0;
	}
	return rc < 0 ? -1 : fields(r, e, v, ret);
}

/* command - a value, or a function or method with its arguments; `piped` (stolen) comes last. */
static int command(struct run *r, struct expr *e, json_t *dot, json_t *piped, json_t **ret)
{
	_cleanup_(args_release) struct args a = {0};
	_cleanup_free_ char *name = NULL;
	_cleanup_json_ json_t *first = NULL;
	bool have_first = false;
	for (;;) {
		skip_space(e);
		if (e->p >= e->end || *e->p == '|' || *e->p == ')')
			break;
		json_t *v = NULL;
		char *word = NULL;
		if (operand(r, e, dot, &v, &word) < 0) {
			json_decref(piped);
			return -1;
		}
		if (!have_first) {
			first = v;
			name = word;
		} else if (word) {
			_cleanup_free_ char *w = word;
			struct args none = {0};
			if (call(r, w, &none, &v) < 0) {
				json_decref(piped);
				return -1;
			}
			args_add(&a, v);
		} else {
			args_add(&a, v);
		}
		have_first = true;
	}
	if (piped)
		args_add(&a, piped);
	if (!have_first)
		return syntax(r, "--format: %s", "{{}} is empty");
	if (name)
		return call(r, name, &a, ret);
	/* {{.Label "k"}} */
	if (a.n == 1 && json_is_object(first) && json_is_string(a.v[0])) {
		*ret = json_incref(json_object_get(first, json_string_value(a.v[0])));
		if (!*ret)
			*ret = json_string("");
		return 0;
	}
	if (a.n)
		return syntax(r, "--format: %s", "arguments after something that is no function");
	*ret = json_incref(first);
	return 0;
}

static int pipeline(struct run *r, struct expr *e, json_t *dot, json_t **ret)
{
	json_t *v = NULL;
	if (command(r, e, dot, NULL, &v) < 0)
		return -1;
	for (;;) {
		skip_space(e);
		if (e->p >= e->end || *e->p != '|')
			break;
		e->p++;
		json_t *next = NULL;
		if (command(r, e, dot, v ? v : json_null(), &next) < 0)
			return -1;
		v = next;
	}
	*ret = v;
	return 0;
}

static int whole(struct run *r, struct expr *e, json_t *dot, json_t **ret)
{
	if (pipeline(r, e, dot, ret) < 0)
		return -1;
	if (e->p < e->end) {
		json_decref(*ret);
		return syntax(r, "--format: unexpected %.10s", e->p);
	}
	return 0;
}

/* --- actions --------------------------------------------------------------------------------- */

static void set_variable(struct run *r, const char *name, json_t *value, bool declare)
{
	struct variable *v = declare ? NULL : find_variable(r, name);
	if (v) {
		json_decref(v->value);
		v->value = json_incref(value);
		return;
	}
	vec_grow(&r->vars, &r->cap_vars, r->n_vars + 1);
	r->vars[r->n_vars++] = (struct variable){xstrdup(name), json_incref(value)};
}

static void drop_variables(struct run *r, size_t n)
{
	while (r->n_vars > n) {
		struct variable *v = &r->vars[--r->n_vars];
		free(v->name);
		json_decref(v->value);
	}
}

/* next_action - text up to the next action goes out; 1: *ret is its text; 0: the template ends. */
static int next_action(struct run *r, bool live, struct expr *ret)
{
	const char *open = strstr(r->p, "{{");
	size_t n = open ? (size_t)(open - r->p) : strlen(r->p);
	bool trim = open && open[2] == '-' && (open[3] == ' ' || open[3] == '\n');
	size_t shown = n;
	while (trim && shown && isspace((unsigned char)r->p[shown - 1]))
		shown--;
	if (live)
		strbuf_add(r->out, r->p, shown);
	r->p += n;
	if (!open)
		return 0;
	const char *p = open + (trim ? 3 : 2), *q = p;
	char quote = 0;
	bool comment = str_starts(p + strspn(p, " "), "/*");
	for (; *q; q++) {
		if (!quote && q[0] == '}' && q[1] == '}')
			break;
		if (comment)
			continue;
		if (quote == '"' && *q == '\\' && q[1])
			q++;
		else if (quote ? *q == quote : *q == '"' || *q == '`')
			quote = quote ? 0 : *q;
	}
	if (!*q)
		return syntax(r, "--format: %s", "{{ without }}");
	r->p = q + 2;
	bool trim_after = q > p && q[-1] == '-' && (q - 1 == p || isspace((unsigned char)q[-2]));
	while (trim_after && isspace((unsigned char)*r->p))
		r->p++;
	*ret = (struct expr){p, trim_after ? q - 1 : q};
	skip_space(ret);
	while (ret->end > ret->p && isspace((unsigned char)ret->end[-1]))
		ret->end--;
	return 1;
}

static bool take_word(struct expr *e, const char *word)
{
	size_t n = strlen(word);
	if ((size_t)(e->end - e->p) < n || strncmp(e->p, word, n) != 0 ||
	        (e->p + n < e->end && (isalnum((unsigned char)e->p[n]) || e->p[n] == '_')))
		return false;
	e->p += n;
	skip_space(e);
	return true;
}

enum stop { STOP_END, STOP_ELSE, STOP_EOF };

static int block(struct run *r, json_t *dot, bool live, struct expr *ret_else);

/* need_end - a branch: what follows until its end, else or else if. */
static int branch(struct run *r, json_t *dot, bool live, struct expr *ret_else)
{
	size_t vars = r->n_vars;
	if (++r->depth > DEPTH_MAX)
		return syntax(r, "--format: %s", "nested too deep");
	int stop = block(r, dot, live, ret_else);
	r->depth--;
	drop_variables(r, vars);
	if (stop == STOP_EOF)
		return syntax(r, "--format: %s", "{{end}} is missing");
	return stop;
}

/* declaration - "$x :=" or "$i, $x :=" in front. */
static void declaration(struct expr *e, char **ret_first, char **ret_second, bool *ret_new)
{
	struct expr t = *e;
	char *names[2] = {NULL, NULL};
	*ret_new = true;
	for (int i = 0; i < 2 && t.p < t.end && *t.p == '$'; i++) {
		t.p++;
		size_t n = name_length(&t);
		names[i] = xstrndup(t.p, n);
		t.p += n;
		skip_space(&t);
		if (i == 0 && t.p < t.end && *t.p == ',') {
			t.p++;
			skip_space(&t);
		}
	}
	bool assign = t.end - t.p >= 1 && t.p[0] == '=' && t.p[1] != '=';
	bool declare = t.end - t.p >= 2 && t.p[0] == ':' && t.p[1] == '=';
	if (names[0] && (assign || declare)) {
		t.p += declare ? 2 : 1;
		skip_space(&t);
		*e = t;
		*ret_first = names[0];
		*ret_second = names[1];
		*ret_new = declare;
		return;
	}
	free(names[0]);
	free(names[1]);
}

static int do_if(struct run *r, struct expr e, json_t *dot, bool live, bool with)
{
	bool taken = false;
	for (;;) {
		_cleanup_json_ json_t *v = NULL;
		_cleanup_free_ char *name = NULL, *other = NULL;
		bool is_new, was_else = e.p >= e.end; /* a plain {{else}} */
		bool now = live && !taken;
		size_t vars = r->n_vars;
		declaration(&e, &name, &other, &is_new);
		if (now && !was_else && whole(r, &e, dot, &v) < 0)
			return -1;
		if (name && now)
			set_variable(r, name, v, is_new);
		bool go = now && (was_else || truth(v));
		taken |= go;
		struct expr next = {0};
		int stop = branch(r, with && go && !was_else ? v : dot, go, &next);
		drop_variables(r, vars);
		if (stop != STOP_ELSE)
			return stop < 0 ? -1 : 0;
		e = next;
		(void)(take_word(&e, "if") || take_word(&e, "with"));
	}
}

/* one_round - of a range; the body begins at r->p. */
static int one_round(struct run *r, json_t *key, json_t *value, const char *a, const char *b,
        bool live, struct expr *ret_else)
{
	size_t vars = r->n_vars;
	if (a && b)
		set_variable(r, a, key, true);
	if (a)
		set_variable(r, b ? b : a, value, true);
	int stop = branch(r, value, live, ret_else);
	drop_variables(r, vars);
	return stop;
}

static int do_range(struct run *r, struct expr e, json_t *dot, bool live)
{
	_cleanup_json_ json_t *v = NULL;
	_cleanup_free_ char *a = NULL, *b = NULL;
	bool is_new, any = false;
	declaration(&e, &a, &b, &is_new);
	if (live && whole(r, &e, dot, &v) < 0)
		return -1;
	const char *body = r->p;
	struct expr next = {0};
	int stop = STOP_END;
	size_t n = json_is_object(v) ? json_object_size(v) : json_array_size(v);
	_cleanup_free_ const char **keys = new0(const char *, n + 1);
	size_t k = 0;
	const char *key;
	json_t *value;
	if (json_is_object(v)) {
		json_object_foreach(v, key, value)
		{
			keys[k++] = key;
		}
		qsort(keys, k, sizeof(*keys), compare_keys);
	}
	for (size_t i = 0; i < n; i++) {
		_cleanup_json_ json_t *name = k ? json_str(keys[i]) : json_integer((json_int_t)i);
		r->p = body;
		any = true;
		stop = one_round(r, name, k ? json_object_get(v, keys[i]) : json_array_get(v, i), a,
		        b, true, &next);
		if (stop < 0)
			return -1;
	}
	if (!any)
		stop = branch(r, dot, false, &next);
	if (stop == STOP_ELSE)
		stop = branch(r, dot, live && !any, &next);
	return stop < 0 ? -1 : 0;
}

static int do_action(struct run *r, struct expr e, json_t *dot, bool live)
{
	if (e.p < e.end && *e.p == '/')
		return 0; /* a comment */
	if (take_word(&e, "if"))
		return do_if(r, e, dot, live, false);
	if (take_word(&e, "with"))
		return do_if(r, e, dot, live, true);
	if (take_word(&e, "range"))
		return do_range(r, e, dot, live);
	if (!live)
		return 0;
	_cleanup_free_ char *name = NULL, *other = NULL;
	_cleanup_json_ json_t *v = NULL;
	bool is_new;
	declaration(&e, &name, &other, &is_new);
	if (whole(r, &e, dot, &v) < 0)
		return -1;
	if (name)
		set_variable(r, name, v, is_new);
	else
		show(r->out, v);
	return 0;
}

/* block - until {{end}}, {{else ...}} (its rest in *ret_else) or the end of the template. */
static int block(struct run *r, json_t *dot, bool live, struct expr *ret_else)
{
	struct expr e;
	int rc;
	while ((rc = next_action(r, live, &e)) > 0) {
		if (take_word(&e, "end"))
			return STOP_END;
		if (take_word(&e, "else")) {
			*ret_else = e;
			return STOP_ELSE;
		}
		if (do_action(r, e, dot, live) < 0)
			return -1;
	}
	return rc < 0 ? -1 : STOP_EOF;
}

int template_run(const char *fmt, json_t *root, struct strbuf *out, struct error *err)
{
	struct run r = {.p = fmt, .root = root, .out = out, .err = err};
	struct expr rest;
	int stop = block(&r, root, true, &rest);
	if (stop >= 0 && stop != STOP_EOF)
		stop = syntax(&r, "--format: %s", "{{end}} or {{else}} without a beginning");
	drop_variables(&r, 0);
	free(r.vars);
	return stop < 0 ? -1 : 0;
}

/* --- lists ----------------------------------------------------------------------------------- */

char *template_unescape(const char *fmt)
{
	struct strbuf b = STRBUF_INIT;
	for (const char *p = fmt; *p; p++) {
		if (p[0] == '\\' && (p[1] == 't' || p[1] == 'n')) {
			strbuf_addch(&b, p[1] == 't' ? '\t' : '\n');
			p++;
		} else {
			strbuf_addch(&b, *p);
		}
	}
	return strbuf_detach(&b);
}

/* add_line - cells between tabs; the widest line decides how many there are. */
static void add_line(struct table *t, const char *line)
{
	_cleanup_strv_ struct strv cells = STRV_INIT;
	strv_split(&cells, line, "\t");
	if (!t->columns)
		t->columns = cells.n;
	while (cells.n < t->columns)
		strv_add(&cells, "");
	table_row(t, (const char *const *)cells.v);
}

static int print_table(const char *fmt, json_t *rows, const struct template_column *columns,
        size_t n, struct error *err)
{
	_cleanup_json_ json_t *head = json_object();
	_cleanup_strbuf_ struct strbuf line = STRBUF_INIT;
	struct table t = {0};
	for (size_t i = 0; i < n; i++)
		json_object_set_new(head, columns[i].key, json_string(columns[i].head));
	/* The heads of fields that have none are their own names. */
	const char *key;
	json_t *v, *row;
	json_object_foreach(json_array_get(rows, 0), key, v)
	{
		_cleanup_free_ char *upper = xstrdup(key);
		for (char *p = upper; *p; p++)
			*p = (char)toupper((unsigned char)*p);
		if (!json_object_get(head, key))
			json_object_set_new(head, key, json_string(upper));
	}
	int rc = template_run(fmt, head, &line, err);
	if (rc == 0)
		add_line(&t, line.buf);
	size_t i;
	json_array_foreach(rows, i, row)
	{
		strbuf_reset(&line);
		if (rc == 0 && (rc = template_run(fmt, row, &line, err)) == 0)
			add_line(&t, line.buf);
	}
	if (rc == 0)
		table_print(&t);
	table_release(&t);
	return rc;
}

int template_list(const char *given, json_t *rows, const struct template_column *columns, size_t n,
        struct error *err)
{
	_cleanup_free_ char *fmt = template_unescape(given);
	size_t i;
	json_t *row;
	if (str_starts(fmt, "table ") || str_eq(fmt, "table"))
		return print_table(fmt + (fmt[5] ? 6 : 5), rows, columns, n, err);
	json_array_foreach(rows, i, row)
	{
		_cleanup_strbuf_ struct strbuf line = STRBUF_INIT;
		if (str_eq(fmt, "json") || str_eq(fmt, "{{json .}}")) {
			_cleanup_json_ json_t *shown = json_copy(row);
			json_object_del(shown, "Label"); /* it serves {{.Label "k"}} only */
			_cleanup_free_ char *text = json_compact(shown);
			printf("%s\n", text);
			continue;
		}
		if (template_run(fmt, row, &line, err) < 0)
			return -1;
		printf("%s\n", line.buf);
	}
	return 0;
}
