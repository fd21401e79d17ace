/* graph/reach.c - which stages are needed: sources of COPY --from and mounts, cycles, base images,
 * and the ONBUILD triggers that those images bring along (which may need more stages).
 *
 * Walks use explicit stacks: a chain of ten thousand stages is a legal Dockerfile. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#include "base/strbuf.h"
#include "graph/plan.h"

/* --- sources --------------------------------------------------------------------------------- */

static void add_dep(struct plan *p, struct stage *s, struct stage *on, const struct cmd *c)
{
	if (s->n_deps == s->cap_deps) {
		size_t cap = s->cap_deps ? s->cap_deps * 2 : 4;
		struct dep *v = arena_new(p->a, struct dep, cap);
		if (s->n_deps)
			memcpy(v, s->deps, s->n_deps * sizeof(*v));
		s->deps = v;
		s->cap_deps = cap;
	}
	s->deps[s->n_deps++] = (struct dep){.stage = on, .cmd = c};
}

/* image_source - an image (or named context) that --from names and no stage has. */
static struct stage *image_source(struct plan *p, const char *name, const struct cmd *c)
{
	struct stage *s = stage_new(p);
	s->base_name = name;
	s->label = name;
	s->shown_name = "";
	s->line = c->line;
	s->end_line = c->end_line;
	return s;
}

/* reject_variables - SEMANTICS 21: --from is fixed before any ARG has a value. */
static int reject_variables(
        struct plan *p, const struct cmd *c, const char *from, struct error *err)
{
	struct svec none = {0};
	struct df_vars vars = plan_vars(p, &none);
	_cleanup_free_ char *out = NULL;
	if (df_expand_word(from, p->f->escape, &vars, &out, NULL, NULL, err) < 0)
		return cmd_place(p, c, err);
	if (str_eq(out, from))
		return 0;
	err_set(err, ERR_SYNTAX,
	        "variable expansion is not supported for --from, define a new stage with FROM "
	        "using "
	        "ARG from global scope as a workaround");
	err_hint(err, "for example: FROM %s AS source, then %s --from=source", from,
	        df_kind_name(c->in->kind));
	return cmd_place(p, c, err);
}

static bool is_index(const char *s)
{
	if (*s == '+' || *s == '-')
		s++;
	if (!*s)
		return false;
	for (; *s; s++)
		if (!isdigit((unsigned char)*s))
			return false;
	return true;
}

static int copy_source(struct plan *p, struct cmd *c, struct error *err)
{
	const char *from = flag_value(c->in, "from");
	if (c->in->kind != DF_COPY || !from || !*from)
		return 0;
	if (reject_variables(p, c, from, err) < 0)
		return -1;
	c->src = arena_new(p->a, struct stage *, 1);
	c->n_src = 1;
	if (is_index(from)) {
		errno = 0;
		long i = strtol(from, NULL, 10);
		if (errno || i < 0 || (size_t)i >= p->n_registered) {
			err_set(err, ERR_SYNTAX, "invalid stage index %s", from);
			err_hint(err, "this Dockerfile has stages 0 to %zu", p->n_registered - 1);
			return cmd_place(p, c, err);
		}
		c->src[0] = p->stages[i];
		return 0;
	}
	c->src[0] = stage_by_name(p, from);
	if (!c->src[0])
		c->src[0] = image_source(p, from, c);
	return 0;
}

static int mount_sources(struct plan *p, struct cmd *c, struct error *err)
{
	size_t n = 0;
	for (size_t i = 0; i < c->in->n_flags; i++)
		n += str_eq(c->in->flags[i].name, "mount");
	if (c->in->kind != DF_RUN || !n)
		return 0;
	/* BuildKit counts a source for every mount, named or not; unnamed stages then have names.
	 */
	p->several_states = true;
	c->src = arena_new(p->a, struct stage *, n);
	for (size_t i = 0; i < c->in->n_flags; i++) {
		if (!str_eq(c->in->flags[i].name, "mount"))
			continue;
		const char *from = NULL;
		if (mount_from(p->a, c->in->flags[i].value, &from, err) < 0)
			return cmd_place(p, c, err);
		struct stage *s = from && *from ? stage_by_name(p, from) : NULL;
		if (!s && from && *from)
			s = image_source(p, from, c);
		c->src[c->n_src++] = s;
	}
	return 0;
}

static int cmd_sources(struct plan *p, struct stage *s, struct cmd *c, struct error *err)
{
	if (copy_source(p, c, err) < 0 || mount_sources(p, c, err) < 0)
		return -1;
	for (size_t i = 0; i < c->n_src; i++)
		if (c->src[i])
			add_dep(p, s, c->src[i], c);
	return 0;
}

/* --- cycles ---------------------------------------------------------------------------------- */

struct frame {
	struct stage *s;
	size_t next;
};

/* circular - the cycle is on the stack, from the stage that d leads back to. */
static int circular(struct plan *p, const struct frame *stack, size_t depth, const struct dep *d,
        struct error *err)
{
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	size_t i = depth - 1;
	while (stack[i].s != d->stage)
		i--;
	for (; i < depth; i++)
		strbuf_addf(&sb, "%s needs ", stack[i].s->label);
	err_set(err, ERR_SYNTAX, "circular dependency detected on stage: %s", d->stage->label);
	err_hint(err, "%s%s", sb.buf, d->stage->label);
	return cmd_place(p, d->cmd, err);
}

static int check_cycles(struct plan *p, struct error *err)
{
	enum { NEW, OPEN, DONE };
	_cleanup_free_ unsigned char *state = new0(unsigned char, p->n_stages);
	_cleanup_free_ struct frame *stack = new0(struct frame, p->n_stages);
	for (size_t i = 0; i < p->n_stages; i++) {
		if (state[i] != NEW)
			continue;
		size_t depth = 0;
		stack[depth++] = (struct frame){.s = p->stages[i]};
		state[i] = OPEN;
		while (depth) {
			struct frame *fr = &stack[depth - 1];
			if (fr->next == fr->s->n_deps) {
				state[fr->s->index] = DONE;
				depth--;
				continue;
			}
			const struct dep *d = &fr->s->deps[fr->next++];
			if (state[d->stage->index] == OPEN)
				return circular(p, stack, depth, d, err);
			if (state[d->stage->index] == NEW) {
				state[d->stage->index] = OPEN;
				stack[depth++] = (struct frame){.s = d->stage};
			}
		}
	}
	return 0;
}

int plan_deps(struct plan *p, struct error *err)
{
	for (size_t i = 0; i < p->n_registered; i++)
		for (size_t j = 0; j < p->stages[i]->n_cmds; j++)
			if (cmd_sources(p, p->stages[i], &p->stages[i]->cmds[j], err) < 0)
				return -1;
	p->several_states |= p->n_stages > 1;
	if (check_cycles(p, err) < 0)
		return -1;
	/* A lone stage needs no name in "[1/3]". */
	if (!p->several_states)
		p->stages[0]->shown_name = "";
	return 0;
}

/* --- reachability ---------------------------------------------------------------------------- */

static void mark_reachable(struct plan *p, struct stage *target)
{
	_cleanup_free_ struct stage **todo = new0(struct stage *, p->n_stages + 1);
	size_t n = 0;
	if (!target->reachable) {
		target->reachable = true;
		todo[n++] = target;
	} else {
		/* Triggers may have given a reachable stage new sources: look at all again. */
		for (size_t i = 0; i < p->n_stages; i++)
			if (p->stages[i]->reachable)
				todo[n++] = p->stages[i];
	}
	while (n) {
		struct stage *s = todo[--n];
		if (s->base && !s->base->reachable) {
			s->base->reachable = true;
			todo[n++] = s->base;
		}
		for (size_t i = 0; i < s->n_deps; i++)
			if (!s->deps[i].stage->reachable) {
				s->deps[i].stage->reachable = true;
				todo[n++] = s->deps[i].stage;
			}
	}
}

/* --- base images ----------------------------------------------------------------------------- */

static char *image_key(const char *ref, const struct oci_platform *pl)
{
	char buf[160];
	return xasprintf(
	        "%s|%s|%s", ref, oci_platform_string(pl, buf, sizeof(buf)), pl->os_version);
}

void plan_index_bases(struct plan *p)
{
	for (size_t i = 0; i < p->n_bases; i++) {
		_cleanup_free_ char *key = image_key(p->bases[i].ref, &p->bases[i].platform);
		map_put(&p->base_index, key, (void *)&p->bases[i]);
	}
}

static void need_image(
        struct plan *p, const char *key, const char *ref, const struct oci_platform *pl, int line)
{
	if (!map_put(&p->needed_index, key, p))
		return;
	vec_grow(&p->needed, &p->cap_needed, p->n_needed + 1);
	p->needed[p->n_needed++] =
	        (struct graph_needed){.ref = xstrdup(ref), .platform = *pl, .line = line};
}

/* canonical - "debian" -> "docker.io/library/debian:latest". */
static int canonical(struct plan *p, const char *name, const char **ret, struct error *err)
{
	struct oci_ref ref = {0};
	int r = oci_ref_parse(name, &ref, err);
	if (r >= 0)
		*ret = arena_take(p->a, oci_ref_string(&ref));
	oci_ref_release(&ref);
	return r < 0 ? -1 : 0;
}

static int bad_base_name(struct plan *p, struct stage *s, struct error *err)
{
	err->class = ERR_SYNTAX;
	err_wrap(err, "failed to parse stage name \"%s\"", s->base_name);
	struct stage *other = s->from ? stage_by_name(p, s->base_name) : NULL;
	const char *near = stage_nearest(p, s->base_name);
	/* What the reference's grammar suggests is of less use than a name that is there. */
	if (other || near || s->near_arg) {
		free(err->hint);
		err->hint = NULL;
	}
	if (other && other->index < s->index)
		err_hint(err, "stage names are lower case: write FROM %s", other->name);
	else if (near)
		err_hint(err, "did you mean %s?", near);
	else if (s->near_arg)
		err_hint(err, "did you mean $%s?", s->near_arg);
	return s->from ? at_word(p, s->from, s->from->args[0], err) : at_line(p, s->line, err);
}

/* context_ref - the image reference that a docker-image:// or oci-layout:// context stands for. */
static int context_ref(
        struct plan *p, const struct graph_context *c, const char **ret, struct error *err)
{
	if (str_starts(c->value, "oci-layout://")) {
		*ret = c->value;
		return 0;
	}
	if (canonical(p, c->value + strlen("docker-image://"), ret, err) < 0) {
		err->class = ERR_USAGE;
		return err_wrap(err, "--build-context %s=%s", c->name, c->value);
	}
	return 0;
}

static bool is_scratch(const struct stage *s)
{
	return !s->ctx && str_eq(s->base_name, "scratch");
}

/* resolve_base - find the image of a stage that takes one, or ask for it. */
static int resolve_base(struct plan *p, struct stage *s, struct error *err)
{
	if (!s->has_platform || is_scratch(s))
		s->platform = p->target;
	if (is_scratch(s))
		return 0;
	if (!s->ctx) {
		if (canonical(p, s->base_name, &s->ref, err) < 0)
			return bad_base_name(p, s, err);
		s->base_ctx = context_find(p, s->ref, &s->platform);
	}
	if (!s->reachable)
		return 0;
	s->resolved = true;
	const struct graph_context *c = s->ctx ? s->ctx : s->base_ctx;
	if (c && context_kind(c->value) != CTX_IMAGE) {
		s->ref = NULL;
		return 0;
	}
	if (c && context_ref(p, c, &s->ref, err) < 0)
		return -1;
	_cleanup_free_ char *key = image_key(s->ref, &s->platform);
	s->found = map_get(&p->base_index, key);
	if (s->found && !s->found->config)
		s->found = NULL;
	if (s->found)
		return 0;
	if (p->o->check_only)
		s->base_unknown = true;
	else
		need_image(p, key, s->ref, &s->platform, s->line);
	s->missing = !p->o->check_only;
	return 0;
}

/* --- ONBUILD --------------------------------------------------------------------------------- */

static int trigger_error(struct plan *p, struct stage *s, const char *text, struct error *err)
{
	err_wrap(err, "ONBUILD trigger \"%s\" of %s", text,
	        s->base ? s->base->label : str_or_empty(s->base_name));
	free(err->file);
	err->file = NULL;
	err->line = err->column = 0;
	return at_line(p, s->line, err);
}

static int add_trigger(
        struct plan *p, struct stage *s, const char *text, struct cmd *ret, struct error *err)
{
	struct df_instr *in = NULL;
	if (df_parse_instr(p->a, text, '\\', p->f->name, &in, err) < 0 ||
	        check_instr(p, in, err) < 0)
		return trigger_error(p, s, text, err);
	if (in->kind == DF_FROM || in->kind == DF_MAINTAINER || in->kind == DF_ONBUILD) {
		err_set(err, ERR_SYNTAX, "%s isn't allowed as an ONBUILD trigger",
		        df_kind_name(in->kind));
		return trigger_error(p, s, text, err);
	}
	/* Errors and progress point at the FROM that brought the trigger. */
	in->line = s->line;
	in->end_line = s->end_line;
	*ret = (struct cmd){.in = in, .onbuild = true, .line = s->line, .end_line = s->end_line};
	return 0;
}

/* init_triggers - put the base's triggers before the stage's own instructions. */
static int init_triggers(struct plan *p, struct stage *s, bool *new_deps, struct error *err)
{
	struct svec texts = {0};
	if (s->found && !s->base && !s->ctx)
		for (size_t i = 0; i < s->found->config->onbuild.n; i++)
			svec_push(p->a, &texts, s->found->config->onbuild.v[i]);
	for (size_t i = 0; s->base && i < s->base->n_cmds; i++)
		if (s->base->cmds[i].in->kind == DF_ONBUILD)
			svec_push(p->a, &texts, onbuild_expression(p->a, s->base->cmds[i].in));
	s->onbuild_done = true;
	if (!texts.n || !s->from)
		return 0;
	struct cmd *cmds = arena_new(p->a, struct cmd, texts.n + s->n_cmds);
	for (size_t i = 0; i < texts.n; i++)
		if (add_trigger(p, s, texts.v[i], &cmds[i], err) < 0)
			return -1;
	if (s->n_cmds)
		memcpy(cmds + texts.n, s->cmds, s->n_cmds * sizeof(*cmds));
	s->cmds = cmds;
	s->n_cmds += texts.n;
	s->cap_cmds = s->n_cmds;
	s->cmd_total += texts.n;
	for (size_t i = 0; i < texts.n; i++) {
		if (cmd_sources(p, s, &cmds[i], err) < 0)
			return -1;
		*new_deps |= cmds[i].n_src > 0;
	}
	return 0;
}

int plan_resolve(struct plan *p, struct stage *target, struct error *err)
{
	bool all = p->o->check_only && !p->target_only && !(p->o->target && *p->o->target);
	bool again = true;
	while (again) {
		again = false;
		mark_reachable(p, target);
		for (size_t i = 0; i < p->n_stages; i++) {
			struct stage *s = p->stages[i];
			s->reachable |= all;
			if (!s->base && !s->resolved && resolve_base(p, s, err) < 0)
				return -1;
		}
		/* p->n_stages grows when triggers name images. */
		size_t n = p->n_stages;
		for (size_t i = 0; i < n; i++) {
			struct stage *s = p->stages[i];
			if (s->reachable && !s->onbuild_done && !s->missing &&
			        init_triggers(p, s, &again, err) < 0)
				return -1;
		}
	}
	return check_cycles(p, err);
}
