/* graph/instr_env.c - ENV, ARG, LABEL, MAINTAINER: names and values.
 *
 * Two environments are kept: the config's (ENV only) and the build's (ENV and ARG, the later in
 * file order wins; SEMANTICS 19). */
#include "base/strbuf.h"
#include "graph/plan.h"

/* expand_pairs - all keys and values with the environment from before the instruction. */
static int expand_pairs(struct plan *p, struct stage *s, const struct cmd *c, struct svec *out,
        const char **created_by, struct error *err)
{
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	strbuf_addstr(&sb, df_kind_name(c->in->kind));
	for (size_t i = 0; i + 2 < c->in->n_args; i += 3) {
		const char *key, *value;
		if (expand(p, s, c, c->in->args[i], &key, err) < 0 ||
		        expand(p, s, c, c->in->args[i + 1], &value, err) < 0)
			return -1;
		svec_push(p->a, out, key);
		svec_push(p->a, out, value);
		strbuf_addf(&sb, " %s=%s", key, value);
	}
	*created_by = arena_strdup(p->a, sb.buf);
	return 0;
}

int do_env(struct plan *p, struct stage *s, const struct cmd *c, struct error *err)
{
	struct svec kv = {0};
	const char *created_by;
	if (expand_pairs(p, s, c, &kv, &created_by, err) < 0)
		return -1;
	for (size_t i = 0; i < kv.n; i += 2) {
		svec_env_set(p->a, &s->env, kv.v[i], kv.v[i + 1]);
		svec_env_set(p->a, &s->img.env, kv.v[i], kv.v[i + 1]);
	}
	img_add_history(p, s, created_by, true, GRAPH_NONE);
	return 0;
}

int do_label(struct plan *p, struct stage *s, const struct cmd *c, struct error *err)
{
	struct svec kv = {0};
	const char *created_by;
	if (expand_pairs(p, s, c, &kv, &created_by, err) < 0)
		return -1;
	for (size_t i = 0; i < kv.n; i += 2)
		img_add_label(p, &s->img, kv.v[i], kv.v[i + 1]);
	img_add_history(p, s, created_by, true, GRAPH_NONE);
	return 0;
}

int do_maintainer(struct plan *p, struct stage *s, const struct cmd *c, struct error *err)
{
	s->img.author = c->in->args[0];
	img_add_history(
	        p, s, arena_printf(p->a, "MAINTAINER %s", c->in->args[0]), true, GRAPH_NONE);
	return 0;
}

/* arg_value - what NAME[=default] is worth here: --build-arg, else the default, else the global
 * ARG of that name (SEMANTICS 17). *ret stays NULL where it has no value. */
static int arg_value(struct plan *p, struct stage *s, const struct cmd *c, const char *name,
        const char *def, const char **ret, struct error *err)
{
	const char *given = map_get(&p->build_args, name);
	*ret = NULL;
	if (given)
		*ret = given;
	else if (def)
		return expand(p, s, c, def, ret, err);
	else
		*ret = svec_env_get(&p->global, name);
	return 0;
}

static void record_arg(struct plan *p, struct stage *s, const struct cmd *c, const char *name,
        const char *value, bool own)
{
	if (s->n_o_args == s->cap_o_args) {
		size_t cap = s->cap_o_args ? s->cap_o_args * 2 : 4;
		struct outline_arg *v = arena_new(p->a, struct outline_arg, cap);
		if (s->n_o_args)
			memcpy(v, s->o_args, s->n_o_args * sizeof(*v));
		s->o_args = v;
		s->cap_o_args = cap;
	}
	s->o_args[s->n_o_args++] = (struct outline_arg){.name = name,
	        .value = value,
	        .description = c->in->comment,
	        .line = c->line,
	        .end_line = c->end_line,
	        .used = own};
}

int do_arg(struct plan *p, struct stage *s, const struct cmd *c, struct error *err)
{
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	strbuf_addstr(&sb, "ARG");
	for (size_t i = 0; i < c->in->n_args; i++) {
		const char *word = c->in->args[i], *eq = strchr(word, '=');
		const char *name = eq ? arena_strndup(p->a, word, (size_t)(eq - word)) : word;
		const char *value;
		if (arg_value(p, s, c, name, eq ? eq + 1 : NULL, &value, err) < 0)
			return -1;
		/* These two steer the SBOM scanner and are not for the steps. */
		if (value && !str_eq(name, "BUILDKIT_SBOM_SCAN_CONTEXT") &&
		        !str_eq(name, "BUILDKIT_SBOM_SCAN_STAGE"))
			svec_env_set(p->a, &s->env, name, value);
		bool inherited = !eq && !map_get(&p->build_args, name) && value;
		record_arg(p, s, c, name, value, !inherited);
		const char *shown = value ? arena_printf(p->a, "%s=%s", name, value) : name;
		svec_push(p->a, &s->build_args, shown);
		strbuf_addf(&sb, " %s", shown);
	}
	img_add_history(p, s, arena_strdup(p->a, sb.buf), true, GRAPH_NONE);
	return 0;
}
