/* graph/stage.c - the stage table: global ARGs, FROM lines, names, named contexts, the target.
 *
 * FROM looks its text up among the names of the stages above it, at the moment it is read; --from
 * sees all stages (SEMANTICS 23, 24). So FROM may reuse a name that it is about to redefine. */
#include <ctype.h>
#include <errno.h>

#include "base/human.h"
#include "base/strbuf.h"
#include "graph/plan.h"

int at_line(struct plan *p, int line, struct error *err)
{
	err_at(err, p->f->name, line, 0);
	return -1;
}

int at_word(struct plan *p, const struct df_instr *in, const char *word, struct error *err)
{
	int line = in->line, column = 0;
	if (!df_find_word(p->f, in->line, in->text_end_line, word, &line, &column))
		line = in->line;
	err_at(err, p->f->name, line, column);
	return -1;
}

static char *lower(const char *s)
{
	char *r = xstrdup(s);
	for (char *c = r; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	return r;
}

struct stage *stage_by_name(struct plan *p, const char *name)
{
	_cleanup_free_ char *low = lower(name);
	return map_get(&p->by_name, low);
}

const char *stage_nearest(struct plan *p, const char *name)
{
	_cleanup_free_ const char **names = new0(const char *, p->n_registered + 1);
	size_t n = 0;
	for (size_t i = 0; i < p->n_registered; i++)
		if (p->stages[i]->name)
			names[n++] = p->stages[i]->name;
	return human_nearest(name, names, n);
}

void stage_hint(struct plan *p, const char *name, struct error *err)
{
	const char *near = stage_nearest(p, name);
	if (near) {
		err_hint(err, "did you mean %s?", near);
		return;
	}
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	size_t n = 0;
	for (size_t i = 0; i < p->n_registered; i++)
		if (p->stages[i]->name)
			strbuf_addf(&sb, "%s%s", n++ ? ", " : "", p->stages[i]->name);
	if (n && n <= 20)
		err_hint(err, "the stages are: %s", sb.buf);
}

struct stage *stage_new(struct plan *p)
{
	struct stage *s = arena_new(p->a, struct stage, 1);
	vec_grow(&p->stages, &p->cap_stages, p->n_stages + 1);
	s->index = p->n_stages;
	s->node = GRAPH_NONE;
	p->stages[p->n_stages++] = s;
	return s;
}

/* --- named contexts -------------------------------------------------------------------------- */

/* context_key - "alpine", "docker.io/library/alpine" and "alpine:latest" are one name. */
static char *context_key(const char *name)
{
	_cleanup_error_ struct error ignored = ERROR_INIT;
	struct oci_ref ref = {0};
	char *key;
	if (oci_ref_parse(name, &ref, &ignored) < 0) {
		key = lower(name);
	} else {
		key = oci_ref_familiar(&ref);
		size_t n = strlen(key);
		if (str_ends(key, ":latest"))
			key[n - strlen(":latest")] = '\0';
	}
	oci_ref_release(&ref);
	return key;
}

/* platform_key - the context's key for one platform alone. */
static char *platform_key(const char *key, const struct oci_platform *platform)
{
	char buf[160];
	struct oci_platform pl = *platform;
	oci_platform_normalize(&pl);
	return xasprintf("%s::%s", key, oci_platform_string(&pl, buf, sizeof(buf)));
}

const struct graph_context *context_find(
        struct plan *p, const char *name, const struct oci_platform *platform)
{
	if (p->contexts.n == 0 || strcasecmp(name, "context") == 0 ||
	        strcasecmp(name, "scratch") == 0)
		return NULL;
	_cleanup_free_ char *key = context_key(name), *exact = platform_key(key, platform);
	const struct graph_context *c = map_get(&p->contexts, exact);
	return c ? c : map_get(&p->contexts, key);
}

enum ctx_kind context_kind(const char *value)
{
	if (str_starts(value, "docker-image://") || str_starts(value, "oci-layout://"))
		return CTX_IMAGE;
	_cleanup_error_ struct error ignored = ERROR_INIT;
	struct git_ref git = {0};
	int is_git = git_ref_parse(value, &git, &ignored);
	git_ref_release(&git);
	if (is_git)
		return CTX_GIT;
	return is_http_url(value) ? CTX_HTTP : CTX_LOCAL;
}

/* put_context - under its name, or, of "NAME::PLATFORM", under that for the platform. */
static int put_context(struct plan *p, const struct graph_context *c, struct error *err)
{
	const char *colons = strstr(c->name, "::");
	_cleanup_free_ char *name =
	        xstrndup(c->name, colons ? (size_t)(colons - c->name) : strlen(c->name));
	_cleanup_free_ char *key = context_key(name), *exact = NULL;
	struct oci_platform platform;
	if (colons) {
		if (oci_platform_parse(colons + 2, &platform, err) < 0)
			return err_wrap(err, "--build-context %s=%s", c->name, c->value);
		exact = platform_key(key, &platform);
	}
	map_put(&p->contexts, exact ? exact : key, (void *)c);
	return 0;
}

int plan_contexts(struct plan *p, struct error *err)
{
	for (size_t i = 0; i < p->o->n_contexts; i++) {
		const struct graph_context *c = &p->o->contexts[i];
		if (strcasecmp(c->name, "context") == 0 || strcasecmp(c->name, "scratch") == 0) {
			err_set(err, ERR_USAGE,
			        "the name of a build context cannot be \"%s\": it is reserved",
			        c->name);
			return err_hint(err, "choose another name in --build-context %s=%s",
			        c->name, c->value);
		}
		if (put_context(p, c, err) < 0)
			return -1;
	}
	return 0;
}

/* --- global ARGs ----------------------------------------------------------------------------- */

static void global_default(struct plan *p, const char *key, const char *value)
{
	const char *given = map_get(&p->build_args, key);
	svec_env_set(p->a, &p->global, key, given ? given : value);
}

static void global_defaults(struct plan *p, const char *target)
{
	char buf[160];
	const struct oci_platform *b = &p->o->build_platform, *t = &p->target;
	p->global = (struct svec){0};
	global_default(p, "BUILDPLATFORM", oci_platform_string(b, buf, sizeof(buf)));
	global_default(p, "BUILDOS", b->os);
	global_default(p, "BUILDOSVERSION", b->os_version);
	global_default(p, "BUILDARCH", b->arch);
	global_default(p, "BUILDVARIANT", b->variant);
	global_default(p, "TARGETPLATFORM", oci_platform_string(t, buf, sizeof(buf)));
	global_default(p, "TARGETOS", t->os);
	global_default(p, "TARGETOSVERSION", t->os_version);
	global_default(p, "TARGETARCH", t->arch);
	global_default(p, "TARGETVARIANT", t->variant);
	global_default(p, "TARGETSTAGE", target && *target ? target : "default");
}

/* split_arg - "NAME=value" or "NAME" (value NULL). */
static const char *split_arg(struct plan *p, const char *word, const char **value)
{
	const char *eq = strchr(word, '=');
	*value = eq ? eq + 1 : NULL;
	return eq ? arena_strndup(p->a, word, (size_t)(eq - word)) : word;
}

/* global_arg - one pair of an ARG before the first FROM. */
static int global_arg(struct plan *p, struct svec *scope, const struct df_instr *in,
        const char *word, bool use_build_args, struct error *err)
{
	const char *value, *name = split_arg(p, word, &value);
	const char *given = use_build_args ? map_get(&p->build_args, name) : NULL;
	struct svec *deps = arena_new(p->a, struct svec, 1);
	if (given) {
		value = given;
	} else if (value) {
		_cleanup_strv_ struct strv used = STRV_INIT;
		struct df_vars vars = plan_vars(p, scope);
		char *out = NULL;
		if (df_expand_word(value, p->f->escape, &vars, &out, NULL, &used, err) < 0)
			return at_line(p, in->line, err);
		value = arena_take(p->a, out);
		for (size_t i = 0; i < used.n; i++)
			if (!str_eq(used.v[i], name))
				svec_push(p->a, deps, arena_strdup(p->a, used.v[i]));
	}
	if (value)
		svec_env_set(p->a, scope, name, value);
	if (!use_build_args)
		return 0;
	vec_grow(&p->global_args, &p->cap_global_args, p->n_global_args + 1);
	p->global_args[p->n_global_args++] = (struct outline_arg){
	        .name = name,
	        .value = value,
	        .description = in->comment,
	        .line = in->line,
	        .end_line = in->end_line,
	        .deps = deps,
	};
	return 0;
}

static size_t first_from(const struct df_file *f)
{
	size_t i = 0;
	while (i < f->n_instrs && f->instrs[i]->kind != DF_FROM)
		i++;
	return i;
}

static int global_scope(struct plan *p, struct svec *scope, bool use_build_args, struct error *err)
{
	size_t end = first_from(p->f);
	for (size_t i = 0; i < end; i++)
		for (size_t j = 0; j < p->f->instrs[i]->n_args; j++)
			if (global_arg(p, scope, p->f->instrs[i], p->f->instrs[i]->args[j],
			            use_build_args, err) < 0)
				return -1;
	return 0;
}

/* lint_default_args - InvalidDefaultArgInFrom: base names with nothing but the defaults. */
static void lint_default_args(struct plan *p)
{
	_cleanup_error_ struct error ignored = ERROR_INIT;
	struct svec scope = svec_fork(&p->global);
	if (!p->w || global_scope(p, &scope, false, &ignored) < 0)
		return;
	struct df_vars vars = plan_vars(p, &scope);
	for (size_t i = 0; i < p->f->n_instrs; i++) {
		const struct df_instr *in = p->f->instrs[i];
		if (in->kind != DF_FROM || !strchr(in->args[0], '$'))
			continue;
		_cleanup_error_ struct error e = ERROR_INIT;
		_cleanup_free_ char *out = NULL;
		struct oci_ref ref = {0};
		if (df_expand_word(in->args[0], p->f->escape, &vars, &out, NULL, NULL, &e) < 0)
			return;
		if (oci_ref_parse(out, &ref, &e) < 0)
			df_warn(p->w, "InvalidDefaultArgInFrom", in->line, in->end_line,
			        "Default value for ARG %s results in empty or invalid base image "
			        "name",
			        in->args[0]);
		oci_ref_release(&ref);
	}
}

/* --- FROM ------------------------------------------------------------------------------------ */

static bool name_declared(const struct plan *p, const char *name)
{
	if (svec_env_get(&p->global, name))
		return true;
	for (size_t i = 0; i < p->n_global_args; i++)
		if (str_eq(p->global_args[i].name, name))
			return true;
	return false;
}

static const char *nearest_global(const struct plan *p, const char *name)
{
	size_t n = 0;
	/* Declared, but without a value: no typo. */
	if (name_declared(p, name) || strlen(name) < 3)
		return NULL;
	_cleanup_free_ const char **keys = new0(const char *, p->global.n + p->n_global_args + 1);
	for (size_t i = 0; i < p->n_global_args; i++)
		keys[n++] = p->global_args[i].name;
	for (size_t i = 0; i < p->global.n; i++) {
		const char *eq = strchr(p->global.v[i], '=');
		keys[n++] = arena_strndup(p->a, p->global.v[i], (size_t)(eq - p->global.v[i]));
	}
	return human_nearest(name, keys, n);
}

static int expand_global(struct plan *p, struct stage *s, const char *word, const char **ret,
        struct strv *unset, struct strv *used, struct error *err)
{
	char *out = NULL;
	struct df_vars vars = plan_vars(p, &p->global);
	int r = df_expand_word(word, p->f->escape, &vars, &out, unset, used, err);
	for (size_t i = 0; p->w && i < unset->n; i++) {
		if (name_declared(p, unset->v[i]))
			continue;
		const char *near = nearest_global(p, unset->v[i]);
		s->near_arg = near;
		df_warn(p->w, "UndefinedArgInFrom", s->line, s->end_line,
		        near ? "FROM argument '%s' is not declared (did you mean %s?)"
		             : "FROM argument '%s' is not declared",
		        unset->v[i], near);
	}
	for (size_t i = 0; i < used->n; i++)
		svec_push(p->a, &s->used_global, arena_strdup(p->a, used->v[i]));
	if (r < 0)
		return at_line(p, s->line, err);
	*ret = arena_take(p->a, out);
	return 0;
}

static int from_base(struct plan *p, struct stage *s, struct error *err)
{
	_cleanup_strv_ struct strv unset = STRV_INIT, used = STRV_INIT;
	const char *word = s->from->args[0];
	if (expand_global(p, s, word, &s->base_name, &unset, &used, err) < 0)
		return -1;
	if (*s->base_name)
		return 0;
	err_set(err, ERR_SYNTAX, "base name (%s) should not be blank", word);
	const char *near = unset.n ? nearest_global(p, unset.v[0]) : NULL;
	if (near)
		err_hint(err, "did you mean ${%s}?", near);
	else
		err_hint(err, "give the ARG a default before the first FROM, or pass --build-arg");
	return at_word(p, s->from, word, err);
}

static int bad_platform(const char *word, struct error *err)
{
	err->class = ERR_SYNTAX; /* it came out of the Dockerfile */
	return err_wrap(err, "failed to parse platform %s", word);
}

static int from_platform(struct plan *p, struct stage *s, struct error *err)
{
	const char *word = flag_value(s->from, "platform");
	if (!word || !*word)
		return 0;
	_cleanup_strv_ struct strv unset = STRV_INIT, used = STRV_INIT;
	const char *text = NULL;
	if (expand_global(p, s, word, &text, &unset, &used, err) < 0)
		return -1;
	const char *tp = svec_env_get(&p->global, "TARGETPLATFORM");
	if (p->w && unset.n == 0 && used.n == 1 && str_eq(used.v[0], "TARGETPLATFORM") &&
	        str_eq(text, tp))
		df_warn(p->w, "RedundantTargetPlatform", s->line, s->end_line,
		        "Setting platform to predefined %s in FROM is redundant as this is the "
		        "default behavior",
		        word);
	int r = 0;
	if (!*text)
		r = err_set(err, ERR_SYNTAX, "empty platform value from expression %s", word);
	else if (oci_platform_parse(text, &s->platform, err) < 0)
		r = bad_platform(word, err);
	if (r < 0) {
		const char *near = unset.n ? nearest_global(p, unset.v[0]) : NULL;
		if (near)
			err_hint(err, "did you mean $%s?", near);
		return at_word(p, s->from, "--platform", err);
	}
	s->has_platform = true;
	return 0;
}

/* count_steps - the n of "[i/n]": FROM counts where it takes an image, and each instruction that
 * makes a layer. */
static size_t count_steps(const struct stage *s)
{
	size_t n = !s->base && !str_eq(s->base_name, "scratch");
	for (size_t i = 0; i < s->n_cmds; i++) {
		enum df_kind k = s->cmds[i].in->kind;
		n += k == DF_ADD || k == DF_COPY || k == DF_RUN || k == DF_WORKDIR;
	}
	return n;
}

static bool is_no_cache(const struct plan *p, const struct stage *s)
{
	if (p->o->no_cache)
		return true;
	for (size_t i = 0; p->o->no_cache_filter && i < p->o->no_cache_filter->n; i++)
		if (s->name && strcasecmp(p->o->no_cache_filter->v[i], s->name) == 0)
			return true;
	return false;
}

static void stage_add_cmd(struct plan *p, struct stage *s, const struct df_instr *in)
{
	if (s->n_cmds == s->cap_cmds) {
		size_t cap = s->cap_cmds ? s->cap_cmds * 2 : 8;
		struct cmd *v = arena_new(p->a, struct cmd, cap);
		if (s->n_cmds)
			memcpy(v, s->cmds, s->n_cmds * sizeof(*v));
		s->cmds = v;
		s->cap_cmds = cap;
	}
	s->cmds[s->n_cmds++] = (struct cmd){.in = in, .line = in->line, .end_line = in->end_line};
}

static int add_stage(struct plan *p, size_t i, size_t *ret_next, struct error *err)
{
	const struct df_instr *in = p->f->instrs[i];
	struct stage *s = stage_new(p);
	s->from = in;
	s->line = in->line;
	s->end_line = in->end_line;
	_cleanup_free_ char *name = in->n_args == 3 ? lower(in->args[2]) : NULL;
	s->name = name ? arena_strdup(p->a, name) : NULL;
	s->label = name ? s->name : arena_printf(p->a, "stage-%zu", s->index);
	s->shown_name = s->label;
	if (from_base(p, s, err) < 0 || from_platform(p, s, err) < 0)
		return -1;

	const struct oci_platform *platform = s->has_platform ? &s->platform : &p->target;
	s->ctx = s->name ? context_find(p, s->name, platform) : NULL;
	/* Case matters here: names were lowered, the text of FROM was not (SEMANTICS 24, 82). */
	s->base = s->ctx ? NULL : map_get(&p->by_name, s->base_name);
	if (s->name)
		map_put(&p->by_name, s->name, s);
	s->no_cache = is_no_cache(p, s);

	size_t j = i + 1;
	for (; j < p->f->n_instrs && p->f->instrs[j]->kind != DF_FROM; j++)
		stage_add_cmd(p, s, p->f->instrs[j]);
	*ret_next = j;
	/* A stage that a named context replaces has no instructions of its own left. */
	if (s->ctx)
		s->n_cmds = 0;
	s->cmd_total = s->ctx ? 0 : count_steps(s);
	return 0;
}

int plan_stages(struct plan *p, struct error *err)
{
	const struct df_instr *last = NULL;
	for (size_t i = 0; i < p->f->n_instrs; i++)
		if (p->f->instrs[i]->kind == DF_FROM)
			last = p->f->instrs[i];
	if (!last) {
		err_set(err, ERR_SYNTAX, "dockerfile contains no stages to build");
		err_hint(err, "a Dockerfile needs at least one FROM instruction");
		return at_line(p, 0, err);
	}
	_cleanup_free_ char *last_name = last->n_args == 3 ? lower(last->args[2]) : NULL;
	global_defaults(p, p->o->target && *p->o->target ? p->o->target : last_name);
	lint_default_args(p);
	p->n_global_args = 0;
	if (global_scope(p, &p->global, true, err) < 0)
		return -1;
	for (size_t i = first_from(p->f); i < p->f->n_instrs;)
		if (add_stage(p, i, &i, err) < 0)
			return -1;
	p->n_registered = p->n_stages;
	p->several_states = p->n_stages > 1;
	return 0;
}

struct stage *plan_target(struct plan *p, struct error *err)
{
	const char *t = p->o->target;
	if (!t || !*t)
		return p->stages[p->n_registered - 1];
	struct stage *s = stage_by_name(p, t);
	if (s)
		return s;
	char *end;
	errno = 0;
	unsigned long i = strtoul(t, &end, 10);
	if (isdigit((unsigned char)*t) && !*end && errno == 0 && i < p->n_registered)
		return p->stages[i];
	err_set(err, ERR_NOT_FOUND, "target stage \"%s\" could not be found", t);
	stage_hint(p, t, err);
	err_at(err, p->f->name, 0, 0);
	return NULL;
}
