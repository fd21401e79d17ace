/* graph/text.c - string vectors that stages share, and the Go text forms that history, paths and
 * durations must be written in so that images look as docker's do. */
#include <ctype.h>
#include <limits.h>

#include "base/utf8.h"
#include "base/strbuf.h"
#include "graph/plan.h"

/* --- svec ------------------------------------------------------------------------------------ */

static void svec_own(struct arena *a, struct svec *sv, size_t need)
{
	if (!sv->shared && need <= sv->cap)
		return;
	size_t cap = MAX(need, sv->n < 4 ? 8 : sv->n * 2);
	const char **v = arena_new(a, const char *, cap);
	if (sv->n)
		memcpy(v, sv->v, sv->n * sizeof(*v));
	sv->v = v;
	sv->cap = cap;
	sv->shared = false;
}

void svec_push(struct arena *a, struct svec *sv, const char *s)
{
	svec_own(a, sv, sv->n + 1);
	sv->v[sv->n++] = s;
}

void svec_set(struct arena *a, struct svec *sv, size_t i, const char *s)
{
	svec_own(a, sv, sv->n);
	sv->v[i] = s;
}

struct svec svec_fork(const struct svec *sv)
{
	struct svec r = *sv;
	r.shared = true;
	return r;
}

/* env_find - index of key's entry, or n. */
static size_t env_find(const struct svec *sv, const char *key, size_t len)
{
	for (size_t i = 0; i < sv->n; i++)
		if (strncmp(sv->v[i], key, len) == 0 && sv->v[i][len] == '=')
			return i;
	return sv->n;
}

const char *svec_env_get(const struct svec *sv, const char *key)
{
	size_t len = strlen(key);
	size_t i = env_find(sv, key, len);
	return i < sv->n ? sv->v[i] + len + 1 : NULL;
}

void svec_env_set(struct arena *a, struct svec *sv, const char *key, const char *value)
{
	const char *entry = arena_printf(a, "%s=%s", key, value);
	size_t i = env_find(sv, key, strlen(key));
	if (i < sv->n)
		svec_set(a, sv, i, entry);
	else
		svec_push(a, sv, entry);
}

void svec_to_strv(const struct svec *sv, struct arena *a, struct strv *out)
{
	/* The arena owns it: such a strv is never released. */
	out->v = arena_new(a, char *, sv->n + 1);
	for (size_t i = 0; i < sv->n; i++)
		out->v[i] = (char *)sv->v[i];
	out->n = sv->n;
	out->cap = sv->n + 1;
}

static const char *vars_lookup(void *ctx, const char *name)
{
	return svec_env_get(ctx, name);
}

struct df_vars plan_vars(struct plan *p, const struct svec *sv)
{
	return (struct df_vars){
	        .lookup = vars_lookup, .ctx = (void *)sv, .work_left = &p->expand_left};
}

const char *arena_take(struct arena *a, char *s)
{
	const char *r = s ? arena_strdup(a, s) : NULL;
	free(s);
	return r;
}

/* --- Go's %q and %v -------------------------------------------------------------------------- */

/* rune_printable - Go's strconv.IsPrint, near enough: controls, separators, format characters and
 * private use are not. */
static bool rune_printable(uint32_t c)
{
	if (c < 0xa1)
		return c >= 0x20 && c < 0x7f;
	return !(c == 0xad || (c >= 0x2000 && c <= 0x200f) || (c >= 0x2028 && c <= 0x202f) ||
	         (c >= 0x205f && c <= 0x206f) || c == 0x3000 || c == 0xfeff ||
	         (c >= 0xe000 && c <= 0xf8ff) || (c >= 0xfff0 && c <= 0xfffb) ||
	         (c & 0xfffe) == 0xfffe || c >= 0xe0000);
}

void go_quote(struct strbuf *sb, const char *str)
{
	static const char short_from[] = "\a\b\f\n\r\t\v\\\"", short_to[] = "abfnrtv\\\"";
	const unsigned char *s = (const unsigned char *)str;
	strbuf_addch(sb, '"');
	while (*s) {
		const char *e = strchr(short_from, *s);
		uint32_t cp = 0;
		size_t n = e ? 1 : utf8_decode(s, strlen((const char *)s), &cp);
		if (e) {
			strbuf_addch(sb, '\\');
			strbuf_addch(sb, short_to[e - short_from]);
		} else if (n == 0 || (cp < 0x80 && !rune_printable(cp))) {
			strbuf_addf(sb, "\\x%02x", *s);
			n = 1;
		} else if (rune_printable(cp)) {
			strbuf_add(sb, s, n);
		} else if (cp < 0x10000) {
			strbuf_addf(sb, "\\u%04x", cp);
		} else {
			strbuf_addf(sb, "\\U%08x", cp);
		}
		s += n;
	}
	strbuf_addch(sb, '"');
}

static void list_form(struct strbuf *sb, const struct svec *sv, bool quote)
{
	strbuf_addch(sb, '[');
	for (size_t i = 0; i < sv->n; i++) {
		if (i)
			strbuf_addch(sb, ' ');
		if (quote)
			go_quote(sb, sv->v[i]);
		else
			strbuf_addstr(sb, sv->v[i]);
	}
	strbuf_addch(sb, ']');
}

void go_quote_list(struct strbuf *sb, const struct svec *sv)
{
	list_form(sb, sv, true);
}

void go_list(struct strbuf *sb, const struct svec *sv)
{
	list_form(sb, sv, false);
}

/* --- durations and booleans ------------------------------------------------------------------ */

#define NS_US INT64_C(1000)
#define NS_MS (1000 * NS_US)
#define NS_S (1000 * NS_MS)

/* fraction - ns in units of `unit` without trailing zeros: 1500000 in ms is "1.5". */
static void fraction(struct strbuf *sb, uint64_t ns, uint64_t unit)
{
	strbuf_addf(sb, "%llu", (unsigned long long)(ns / unit));
	uint64_t rest = ns % unit;
	if (!rest)
		return;
	strbuf_addch(sb, '.');
	for (uint64_t d = unit / 10; rest; d /= 10) {
		strbuf_addch(sb, (char)('0' + rest / d));
		rest %= d;
	}
}

void go_duration(struct strbuf *sb, int64_t ns)
{
	uint64_t u = ns < 0 ? -(uint64_t)ns : (uint64_t)ns;
	if (ns < 0)
		strbuf_addch(sb, '-');
	if (u == 0) {
		strbuf_addstr(sb, "0s");
	} else if (u < (uint64_t)NS_S) {
		uint64_t unit = u < (uint64_t)NS_US ? 1 : u < (uint64_t)NS_MS ? NS_US : NS_MS;
		fraction(sb, u, unit);
		strbuf_addstr(sb, unit == 1 ? "ns" : unit == (uint64_t)NS_US ? "µs" : "ms");
	} else {
		uint64_t min = u / (60 * (uint64_t)NS_S);
		if (min >= 60)
			strbuf_addf(sb, "%lluh", (unsigned long long)(min / 60));
		if (min)
			strbuf_addf(sb, "%llum", (unsigned long long)(min % 60));
		fraction(sb, u % (60 * (uint64_t)NS_S), NS_S);
		strbuf_addch(sb, 's');
	}
}

/* duration_unit - nanoseconds of the unit at *s, which is moved past it; 0: none. */
static int64_t duration_unit(const char **s)
{
	static const struct {
		const char *name;
		int64_t ns;
	} units[] = {{"ns", 1}, {"us", NS_US}, {"µs", NS_US}, {"μs", NS_US}, {"ms", NS_MS},
	        {"s", NS_S}, {"m", 60 * NS_S}, {"h", 3600 * NS_S}};
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		size_t n = strlen(units[i].name);
		/* "m" must not eat the start of "ms": the table has "ms" first. */
		if (strncmp(*s, units[i].name, n) == 0) {
			*s += n;
			return units[i].ns;
		}
	}
	return 0;
}

bool go_parse_duration(const char *s, int64_t *ret)
{
	bool neg = *s == '-';
	if (*s == '-' || *s == '+')
		s++;
	if (str_eq(s, "0")) {
		*ret = 0;
		return true;
	}
	if (!*s)
		return false;
	long double total = 0;
	while (*s) {
		long double v = 0, scale = 1;
		bool digits = false;
		for (; isdigit((unsigned char)*s); s++, digits = true)
			v = v * 10 + (*s - '0');
		if (*s == '.')
			for (s++; isdigit((unsigned char)*s); s++, digits = true) {
				scale /= 10;
				v += scale * (*s - '0');
			}
		if (!digits)
			return false;
		int64_t unit = duration_unit(&s);
		if (!unit)
			return false;
		total += v * unit;
		if (total > (long double)INT64_MAX)
			return false;
	}
	/* Half a nanosecond up: 0.1s is not to become 99999999ns. */
	int64_t ns = total + 0.5L >= (long double)INT64_MAX ? INT64_MAX : (int64_t)(total + 0.5L);
	*ret = neg ? -ns : ns;
	return true;
}

bool go_parse_bool(const char *s, bool *ret)
{
	static const char *const yes[] = {"1", "t", "T", "true", "TRUE", "True"};
	static const char *const no[] = {"0", "f", "F", "false", "FALSE", "False"};
	for (size_t i = 0; i < ARRAY_SIZE(yes); i++)
		if (str_eq(s, yes[i]) || str_eq(s, no[i])) {
			*ret = str_eq(s, yes[i]);
			return true;
		}
	return false;
}

/* --- paths ----------------------------------------------------------------------------------- */

const char *path_join_clean(struct arena *a, const char *dir, const char *p)
{
	_cleanup_free_ char *joined = xasprintf("/%s/%s", dir, p);
	return arena_take(a, df_clean_path(joined));
}

const char *path_workdir(struct arena *a, const char *cur, const char *p)
{
	if (!*p)
		return *cur ? arena_strdup(a, cur) : "/";
	return *p == '/' ? arena_strdup(a, p) : path_join_clean(a, cur, p);
}

const char *path_dest(struct arena *a, const char *cwd, const char *p)
{
	/* "" and "." are the working directory: a directory, whatever it is now. */
	if (!*p || str_eq(p, "."))
		p = "./";
	const char *r = *p == '/' ? path_join_clean(a, "", p) : path_join_clean(a, cwd, p);
	bool dir = str_ends(p, "/") || str_ends(p, "/.");
	if (dir && !str_ends(r, "/"))
		r = arena_printf(a, "%s/", r);
	return r;
}

const char *path_base(struct arena *a, const char *p)
{
	size_t n = strlen(p);
	while (n > 1 && p[n - 1] == '/')
		n--;
	if (n == 0)
		return ".";
	if (n == 1 && p[0] == '/')
		return "/";
	size_t i = n;
	while (i && p[i - 1] != '/')
		i--;
	return arena_strndup(a, p + i, n - i);
}

/* --- CSV ------------------------------------------------------------------------------------- */

int csv_fields(const char *s, struct strv *ret, struct error *err)
{
	for (;;) {
		_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
		if (*s == '"') {
			for (s++;; s++) {
				if (!*s)
					return err_set(
					        err, ERR_SYNTAX, "a quote (\") is not closed");
				if (*s == '"' && s[1] != '"')
					break;
				if (*s == '"')
					s++;
				strbuf_addch(&sb, *s);
			}
			s++;
			if (*s && *s != ',')
				return err_set(err, ERR_SYNTAX,
				        "text after a closing quote (\"): expected a comma");
		} else {
			for (; *s && *s != ','; s++) {
				if (*s == '"')
					return err_set(err, ERR_SYNTAX,
					        "a quote (\") inside a field: quote the whole "
					        "field");
				strbuf_addch(&sb, *s);
			}
		}
		strv_add(ret, sb.buf);
		if (!*s)
			return 0;
		s++;
	}
}
