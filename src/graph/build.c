/* graph/build.c - graph_build: one plan over all target platforms. */
#include "graph/plan.h"

void graph_free(struct graph *g)
{
	if (!g)
		return;
	for (size_t i = 0; i < g->n_configs; i++) {
		oci_image_release(g->configs[i]);
		free(g->configs[i]);
	}
	free(g->configs);
	free(g->nodes);
	free(g->targets);
	strv_release(&g->unused_build_args);
	arena_release(&g->arena);
	free(g);
}

void graph_needed_free(struct graph_needed *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(v[i].ref);
	free(v);
}

/* --- build arguments ------------------------------------------------------------------------- */

static const char *const proxies[][2] = {{"HTTP_PROXY", "http_proxy"},
        {"HTTPS_PROXY", "https_proxy"}, {"FTP_PROXY", "ftp_proxy"}, {"NO_PROXY", "no_proxy"},
        {"ALL_PROXY", "all_proxy"}};

static void add_proxies(struct plan *p)
{
	for (size_t i = 0; i < ARRAY_SIZE(proxies); i++) {
		const char *v = NULL;
		/* Either case sets both; where both are given, the lower-case one wins. */
		for (size_t j = 0; j < p->o->build_args->n; j++) {
			const char *a = p->o->build_args->v[j];
			size_t n = strlen(proxies[i][0]);
			if (strncasecmp(a, proxies[i][0], n) == 0 && a[n] == '=' &&
			        (!v || strncmp(a, proxies[i][1], n) == 0))
				v = a + n + 1;
		}
		if (!v || !*v)
			continue;
		svec_env_set(p->a, &p->proxy_env, proxies[i][0], v);
		svec_env_set(p->a, &p->proxy_env, proxies[i][1], v);
	}
}

static int take_build_args(struct plan *p, struct error *err)
{
	if (!p->o->build_args)
		return 0;
	for (size_t i = 0; i < p->o->build_args->n; i++) {
		const char *a = p->o->build_args->v[i], *eq = strchr(a, '=');
		if (!eq)
			continue; /* bare, and not in the caller's environment: not given */
		if (eq == a)
			return err_set(err, ERR_USAGE, "--build-arg \"%s\": the name is empty", a);
		_cleanup_free_ char *name = xstrndup(a, (size_t)(eq - a));
		map_put(&p->build_args, name, (void *)(eq + 1));
	}
	add_proxies(p);
	return 0;
}

/* is_predefined - arguments that mean something without an ARG. */
static bool is_predefined(const char *name)
{
	static const char *const known[] = {"SOURCE_DATE_EPOCH", "BUILDPLATFORM", "BUILDOS",
	        "BUILDOSVERSION", "BUILDARCH", "BUILDVARIANT", "TARGETPLATFORM", "TARGETOS",
	        "TARGETOSVERSION", "TARGETARCH", "TARGETVARIANT", "TARGETSTAGE"};
	for (size_t i = 0; i < ARRAY_SIZE(proxies); i++)
		if (strcasecmp(name, proxies[i][0]) == 0)
			return true;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (str_eq(name, known[i]))
			return true;
	return str_starts(name, "BUILDKIT_");
}

static void declare(struct map *declared, const struct df_instr *in)
{
	for (size_t i = 0; i < in->n_args; i++) {
		_cleanup_free_ char *name = xstrndup(in->args[i], strcspn(in->args[i], "="));
		map_put(declared, name, declared);
	}
}

static void find_unused(struct plan *p)
{
	_cleanup_map_ struct map declared = MAP_INIT(NULL);
	if (p->build_args.n == 0)
		return;
	for (size_t i = 0; i < p->f->n_instrs; i++) {
		const struct df_instr *in = p->f->instrs[i];
		if (in->kind == DF_ARG)
			declare(&declared, in);
		else if (in->kind == DF_ONBUILD && in->child && in->child->kind == DF_ARG)
			declare(&declared, in->child);
	}
	/* Triggers of base images declare too. */
	for (size_t i = 0; i < p->n_stages; i++)
		for (size_t j = 0; j < p->stages[i]->n_cmds; j++)
			if (p->stages[i]->cmds[j].onbuild &&
			        p->stages[i]->cmds[j].in->kind == DF_ARG)
				declare(&declared, p->stages[i]->cmds[j].in);
	map_foreach (it, &p->build_args)
		if (!map_has(&declared, it->key) && !is_predefined(it->key) &&
		        !strv_contains(&p->g->unused_build_args, it->key))
			strv_add(&p->g->unused_build_args, it->key);
}

/* --- the whole file -------------------------------------------------------------------------- */

static int check_file(struct plan *p, struct error *err)
{
	bool in_stage = false;
	for (size_t i = 0; i < p->f->n_instrs; i++) {
		const struct df_instr *in = p->f->instrs[i];
		if (check_instr(p, in, err) < 0)
			return -1;
		in_stage |= in->kind == DF_FROM;
		if (!in_stage && in->kind != DF_ARG) {
			err_set(err, ERR_SYNTAX, "no build stage in current context");
			err_hint(err, "%s stands before the first FROM; only ARG may",
			        df_kind_name(in->kind));
			return at_line(p, in->line, err);
		}
	}
	return 0;
}

static void plan_reset(struct plan *p)
{
	free(p->stages);
	p->stages = NULL;
	p->n_stages = p->cap_stages = 0;
	free(p->global_args);
	p->global_args = NULL;
	p->n_global_args = p->cap_global_args = 0;
	map_release(&p->by_name);
	p->by_name = MAP_INIT(NULL);
	p->several_states = false;
}

void plan_release(struct plan *p)
{
	plan_reset(p);
	map_release(&p->base_index);
	map_release(&p->contexts);
	map_release(&p->build_args);
	map_release(&p->node_index);
	map_release(&p->needed_index);
	graph_needed_free(p->needed, p->n_needed);
	graph_free(p->g);
	*p = (struct plan){0};
}

int plan_init(struct plan *p, const struct df_file *f, const struct graph_options *o,
        const struct graph_base *bases, size_t n_bases, struct df_warnings *w, struct error *err)
{
	*p = (struct plan){.f = f,
	        .o = o,
	        .bases = bases,
	        .n_bases = n_bases,
	        .w = w,
	        .expand_left = DF_EXPAND_WORK};
	p->g = new0(struct graph, 1);
	p->a = &p->g->arena;
	plan_index_bases(p);
	if (take_build_args(p, err) < 0 || plan_contexts(p, err) < 0)
		return -1;
	return check_file(p, err);
}

int plan_platform(
        struct plan *p, const struct oci_platform *pl, struct stage **ret_target, struct error *err)
{
	plan_reset(p);
	p->target = *pl;
	oci_platform_normalize(&p->target);
	if (plan_stages(p, err) < 0)
		return -1;
	struct stage *target = plan_target(p, err);
	if (!target || plan_deps(p, err) < 0 || plan_resolve(p, target, err) < 0)
		return -1;
	*ret_target = target;
	/* Nothing more can be said before all images are here; the next platform may need others.
	 */
	if (p->n_needed)
		return 0;
	return plan_dispatch(p, err);
}

static int all_platforms(struct plan *p, struct error *err)
{
	p->g->targets = new0(struct graph_target, p->o->n_platforms);
	for (size_t i = 0; i < p->o->n_platforms; i++) {
		struct stage *target = NULL;
		if (plan_platform(p, &p->o->platforms[i], &target, err) < 0)
			return -1;
		find_unused(p);
		if (p->n_needed)
			continue;
		if (img_finish(p, target, &p->g->targets[p->g->n_targets], err) < 0)
			return -1;
		p->g->n_targets++;
	}
	return 0;
}

int graph_build(const struct df_file *f, const struct graph_options *o,
        const struct graph_base *bases, size_t n_bases, struct df_warnings *w,
        struct graph **ret_graph, struct graph_needed **ret_needed, size_t *ret_n_needed,
        struct error *err)
{
	_cleanup_(plan_release) struct plan p = {0};
	if (plan_init(&p, f, o, bases, n_bases, w, err) < 0 || all_platforms(&p, err) < 0)
		return -1;
	if (p.n_needed) {
		*ret_needed = take_ptr(p.needed);
		*ret_n_needed = p.n_needed;
		p.n_needed = 0;
		return 1;
	}
	*ret_graph = take_ptr(p.g);
	return 0;
}
