/* graph/names.c - what people see of a node: "[linux/arm64 builder 2/4] RUN make". Numbers and
 * names are counted as BuildKit counts them, so that logs compare line by line. */
#include <ctype.h>
#include <stdio.h>

#include "base/strbuf.h"
#include "graph/plan.h"

/* platform_from_env - the platform that TARGET* variables of a step speak of, for cross builds. */
static bool platform_from_env(
        const struct svec *env, const struct oci_platform *base, struct oci_platform *ret)
{
	_cleanup_error_ struct error ignored = ERROR_INIT;
	const char *v = svec_env_get(env, "TARGETPLATFORM");
	if (v && *v && oci_platform_parse(v, ret, &ignored) >= 0)
		return true;
	const char *os = svec_env_get(env, "TARGETOS"), *arch = svec_env_get(env, "TARGETARCH");
	const char *variant = svec_env_get(env, "TARGETVARIANT");
	if (!os && !arch && !variant)
		return false;
	*ret = (struct oci_platform){0};
	snprintf(ret->os, sizeof(ret->os), "%s", os && *os ? os : base->os);
	snprintf(ret->arch, sizeof(ret->arch), "%s", arch && *arch ? arch : base->arch);
	snprintf(ret->variant, sizeof(ret->variant), "%s", str_or_empty(variant));
	return true;
}

static void add_cross_target(
        struct strbuf *sb, const struct oci_platform *base, const struct svec *env)
{
	struct oci_platform t;
	char buf[160];
	if (!env || !platform_from_env(env, base, &t))
		return;
	oci_platform_normalize(&t);
	if (!str_eq(t.os, base->os))
		strbuf_addf(sb, "->%s", oci_platform_string(&t, buf, sizeof(buf)));
	else if (!str_eq(t.arch, base->arch))
		strbuf_addf(sb, "->%s%s%s", t.arch, *t.variant ? "/" : "", t.variant);
}

const char *shown_name(struct plan *p, struct stage *s, const struct oci_platform *pl,
        const struct svec *env, const char *text)
{
	if (s->cmd_total == 0)
		return text;
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	char buf[160];
	strbuf_addch(&sb, '[');
	if (p->o->n_platforms > 1) {
		strbuf_addstr(&sb, oci_platform_string(pl, buf, sizeof(buf)));
		add_cross_target(&sb, pl, env);
		strbuf_addch(&sb, ' ');
	}
	if (*s->shown_name)
		strbuf_addf(&sb, "%s ", s->shown_name);
	int width = snprintf(NULL, 0, "%zu", s->cmd_total);
	strbuf_addf(&sb, "%*zu/%zu] ", width, ++s->cmd_index, s->cmd_total);
	if (s->cmd_is_onbuild)
		strbuf_addstr(&sb, "ONBUILD ");
	strbuf_addstr(&sb, text);
	return arena_strdup(p->a, sb.buf);
}

/* --- the instruction's text ------------------------------------------------------------------ */

/* dollar_end - end of the "$name" or "${...}" that starts at s; NULL if it is a lone dollar. */
static const char *dollar_end(const char *s)
{
	if (s[1] != '{') {
		const char *e = s + 1;
		while (isalnum((unsigned char)*e) || *e == '_')
			e++;
		return e == s + 1 ? NULL : e;
	}
	int depth = 0;
	for (const char *e = s + 1; *e; e++) {
		if (*e == '{')
			depth++;
		else if (*e == '}' && --depth == 0)
			return e + 1;
	}
	return NULL;
}

/* show_variable - the value of the variable in [s, e), or its own text where it is unset: what the
 * shell of the step will set itself must stay readable. False if it cannot be expanded. */
static bool show_variable(struct plan *p, const struct svec *env, const struct svec *masked,
        const char *s, const char *e, struct strbuf *out)
{
	const char *name = s[1] == '{' ? s + 2 : s + 1, *end = name;
	while (isalnum((unsigned char)*end) || *end == '_')
		end++;
	const char *key = arena_strndup(p->a, name, (size_t)(end - name));
	for (size_t i = 0; masked && i < masked->n; i++)
		if (str_eq(masked->v[i], key)) {
			strbuf_addstr(out, "****");
			return true;
		}
	bool simple = s[1] != '{' || *end == '}';
	const char *v = svec_env_get(env, key);
	if (simple || !v) {
		if (v)
			strbuf_addstr(out, v);
		else
			strbuf_add(out, s, (size_t)(e - s));
		return true;
	}
	_cleanup_error_ struct error ignored = ERROR_INIT;
	_cleanup_free_ char *word = xstrndup(s, (size_t)(e - s)), *value = NULL;
	struct df_vars vars = plan_vars(p, env);
	if (df_expand_word(word, p->f->escape, &vars, &value, NULL, NULL, &ignored) < 0)
		return false;
	strbuf_addstr(out, value);
	return true;
}

/* show_run - variables replaced, quotes and escapes kept, nothing inside single quotes touched. */
static bool show_run(struct plan *p, const struct svec *env, const struct svec *masked,
        const char *text, struct strbuf *out)
{
	bool single = false, quoted = false;
	for (const char *s = text; *s;) {
		if (*s == '\'' && !quoted) {
			single = !single;
		} else if (*s == '"' && !single) {
			quoted = !quoted;
		} else if (*s == p->f->escape && !single && s[1]) {
			strbuf_addch(out, *s++);
		} else if (*s == '$' && !single) {
			const char *e = dollar_end(s);
			if (e) {
				if (!show_variable(p, env, masked, s, e, out))
					return false;
				s = e;
				continue;
			}
		}
		strbuf_addch(out, *s++);
	}
	return true;
}

const char *shown_text(struct plan *p, struct stage *s, const struct df_instr *in,
        const char *suffix, bool is_run, const struct svec *masked)
{
	_cleanup_error_ struct error ignored = ERROR_INIT;
	_cleanup_strbuf_ struct strbuf raw = STRBUF_INIT, out = STRBUF_INIT;
	const char *t = in->original + strspn(in->original, " \t\n");
	strbuf_addstr(&raw, t);
	while (raw.len && strchr(" \t\r\n", raw.buf[raw.len - 1]))
		strbuf_truncate(&raw, raw.len - 1);
	if (suffix)
		strbuf_addf(&raw, " (%s)", suffix);
	if (is_run) {
		if (!show_run(p, &s->env, masked, raw.buf, &out)) {
			strbuf_reset(&out);
			strbuf_addstr(&out, raw.buf);
		}
	} else {
		struct df_vars vars = plan_vars(p, &s->env);
		_cleanup_free_ char *v = NULL;
		int r = df_expand_word(raw.buf, p->f->escape, &vars, &v, NULL, NULL, &ignored);
		strbuf_addstr(&out, r < 0 ? raw.buf : v);
	}
	for (char *c = out.buf; out.len && *c && *c != ' '; c++)
		*c = (char)toupper((unsigned char)*c);
	return arena_strdup(p->a, out.buf);
}
