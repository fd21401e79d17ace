/* graph/dispatch.c - walk the needed stages in file order: start each from its base, then hand
 * every instruction to its do_* function. */
#include <stdarg.h>
#include <stdio.h>

#include "base/human.h"
#include "base/strbuf.h"
#include "graph/plan.h"

/* --- errors and expansion -------------------------------------------------------------------- */

int cmd_place(struct plan *p, const struct cmd *c, struct error *err)
{
	if (c->onbuild && !err->file)
		err_wrap(err, "ONBUILD %s", df_kind_name(c->in->kind));
	return at_line(p, c->line, err);
}

int instr_fail(struct plan *p, const struct cmd *c, struct error *err, const char *fmt, ...)
{
	va_list ap;
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	va_start(ap, fmt);
	strbuf_vaddf(&sb, fmt, ap);
	va_end(ap);
	err_set(err, ERR_SYNTAX, "%s", sb.buf);
	return cmd_place(p, c, err);
}

static bool is_build_arg(const struct stage *s, const char *name)
{
	size_t n = strlen(name);
	for (size_t i = 0; i < s->build_args.n; i++)
		if (strncmp(s->build_args.v[i], name, n) == 0 &&
		        (s->build_args.v[i][n] == '=' || !s->build_args.v[i][n]))
			return true;
	return false;
}

void report_unset(struct plan *p, struct stage *s, const struct cmd *c, const struct strv *unset)
{
	/* Where the base image is not at hand, nobody knows what it sets. */
	if (!p->w || s->base_unknown)
		return;
	for (size_t i = 0; i < unset->n; i++) {
		const char *name = unset->v[i];
		if (is_build_arg(s, name) || str_eq(name, "BUILDKIT_SBOM_SCAN_CONTEXT") ||
		        str_eq(name, "BUILDKIT_SBOM_SCAN_STAGE"))
			continue;
		_cleanup_strv_ struct strv keys = STRV_INIT;
		for (size_t j = 0; j < s->env.n; j++)
			strv_addf(&keys, "%.*s", (int)strcspn(s->env.v[j], "="), s->env.v[j]);
		/* Any name is near to one of a letter or two: that would be noise. */
		const char *near =
		        keys.n && strlen(name) >= 3
		                ? human_nearest(name, (const char *const *)keys.v, keys.n)
		                : NULL;
		df_warn(p->w, "UndefinedVar", c->line, c->end_line,
		        near ? "Usage of undefined variable '$%s' (did you mean $%s?)"
		             : "Usage of undefined variable '$%s'",
		        name, near);
	}
}

/* PLAN_BYTES_MAX - what one graph may take. A few lines of ENV that double each other could ask for
 * any amount; real Dockerfiles stay below a hundredth of this. */
#define PLAN_BYTES_MAX ((size_t)512 << 20)

static int check_budget(struct plan *p, const struct cmd *c, struct error *err)
{
	if (p->a->used_total <= PLAN_BYTES_MAX)
		return 0;
	return instr_fail(p, c, err, "planning this Dockerfile takes more than %zu MiB of memory",
	        PLAN_BYTES_MAX >> 20);
}

/* expand_place - the word that could not be expanded. */
static int expand_place(struct plan *p, const struct cmd *c, const char *word, struct error *err)
{
	return c->onbuild ? cmd_place(p, c, err) : at_word(p, c->in, word, err);
}

int expand(struct plan *p, struct stage *s, const struct cmd *c, const char *word, const char **ret,
        struct error *err)
{
	_cleanup_strv_ struct strv unset = STRV_INIT;
	struct df_vars vars = plan_vars(p, &s->env);
	char *out = NULL;
	int r = df_expand_word(word, p->f->escape, &vars, &out, &unset, NULL, err);
	report_unset(p, s, c, &unset);
	if (r < 0)
		return expand_place(p, c, word, err);
	*ret = arena_take(p->a, out);
	return check_budget(p, c, err);
}

int expand_list(struct plan *p, struct stage *s, const struct cmd *c, const char *word,
        struct svec *out, struct error *err)
{
	_cleanup_strv_ struct strv unset = STRV_INIT, words = STRV_INIT;
	struct df_vars vars = plan_vars(p, &s->env);
	int r = df_expand_words(word, p->f->escape, &vars, &words, &unset, NULL, err);
	report_unset(p, s, c, &unset);
	if (r < 0)
		return expand_place(p, c, word, err);
	for (size_t i = 0; i < words.n; i++)
		svec_push(p->a, out, arena_strdup(p->a, words.v[i]));
	return 0;
}

/* --- roots ----------------------------------------------------------------------------------- */

uint32_t main_context(struct plan *p)
{
	struct graph_node *n = node_new(p, GRAPH_LOCAL);
	n->local.name = "context";
	n->shown = "[internal] load build context";
	return node_add(p, n);
}

static int context_git_node(
        struct plan *p, const struct graph_context *c, uint32_t *ret, struct error *err)
{
	struct git_ref git = {0};
	if (git_ref_parse(c->value, &git, err) < 0) {
		git_ref_release(&git);
		err->class = ERR_USAGE;
		return err_wrap(err, "--build-context %s=%s", c->name, c->value);
	}
	struct graph_node *n = node_new(p, GRAPH_GIT);
	n->git = (struct graph_git){.url = arena_strdup(p->a, git.url),
	        .ref = git.ref ? arena_strdup(p->a, git.ref) : NULL,
	        .subdir = git.subdir ? arena_strdup(p->a, git.subdir) : NULL,
	        .checksum = git.checksum ? arena_strdup(p->a, git.checksum) : NULL,
	        .keep_git_dir = git.keep_git_dir == 1,
	        .submodules = git.submodules != 0};
	n->shown = arena_printf(p->a, "[context %s] %s", c->name, redact_urls(p->a, c->value));
	git_ref_release(&git);
	*ret = node_add(p, n);
	return 0;
}

/* context_node - LOCAL, GIT or HTTP node of a named context. */
static int context_node(
        struct plan *p, const struct graph_context *c, uint32_t *ret, struct error *err)
{
	enum ctx_kind kind = context_kind(c->value);
	if (kind == CTX_GIT)
		return context_git_node(p, c, ret, err);
	struct graph_node *n = node_new(p, kind == CTX_HTTP ? GRAPH_HTTP : GRAPH_LOCAL);
	if (kind == CTX_HTTP) {
		n->http.url = c->value;
		n->http.filename = arena_take(p->a, url_filename(c->value));
		n->shown =
		        arena_printf(p->a, "[context %s] %s", c->name, redact_urls(p->a, c->value));
	} else {
		n->local.name = c->name;
		n->local.path = c->value;
		n->shown = arena_printf(p->a, "[context %s] load from client", c->name);
	}
	*ret = node_add(p, n);
	return 0;
}

/* context_rootfs - a directory-like context as a root file system: its root copied onto scratch. */
static int context_rootfs(struct plan *p, struct stage *s, const struct graph_context *c,
        uint32_t *ret, struct error *err)
{
	uint32_t input;
	if (context_node(p, c, &input, err) < 0)
		return -1;
	struct graph_node *n = node_new(p, GRAPH_COPY);
	node_input(p, n, GRAPH_NONE);
	node_input(p, n, input);
	struct graph_copy_source *src = arena_new(p->a, struct graph_copy_source, 1);
	*src = (struct graph_copy_source){.kind = GRAPH_SRC_INPUT,
	        .input = input,
	        .pattern = p->g->nodes[input]->op == GRAPH_LOCAL ? "/" : ""};
	n->copy = (struct graph_copy){.unpack = -1, .sources = src, .n_sources = 1, .dest = "/"};
	n->platform = s->platform;
	n->stage = s->name ? s->name : arena_printf(p->a, "%zu", s->index);
	n->shown = arena_printf(p->a, "[context %s] copy to the root", c->name);
	n->line = s->line;
	n->end_line = s->end_line;
	*ret = node_add(p, n);
	return 0;
}

/* image_is_empty - no layers at all: the same as scratch. */
static bool image_is_empty(const struct oci_image *im)
{
	if (im->n_diff_ids)
		return false;
	for (size_t i = 0; i < im->n_history; i++)
		if (!im->history[i].empty_layer)
			return false;
	return true;
}

static uint32_t image_node(struct plan *p, struct stage *s)
{
	if (s->found && image_is_empty(s->found->config))
		return GRAPH_NONE;
	const struct graph_context *c = s->ctx ? s->ctx : s->base_ctx;
	const char *digest = s->found ? s->found->digest : NULL;
	/* The canonical form carries the digest once: refs by digest have it already. */
	const char *full = digest && !strchr(s->ref, '@')
	                           ? arena_printf(p->a, "%s@%s", s->ref, digest)
	                           : s->ref;
	struct graph_node *n = node_new(p, GRAPH_IMAGE);
	n->image.ref = s->ref;
	n->image.platform = s->platform;
	if (s->found) {
		n->image.diff_ids = s->found->config->diff_ids;
		n->image.n_diff_ids = s->found->config->n_diff_ids;
	}
	n->platform = s->platform;
	n->stage = s->name ? s->name : arena_printf(p->a, "%zu", s->index);
	n->line = s->line;
	n->end_line = s->end_line;
	if (c)
		n->shown = arena_printf(p->a, "[context %s] %s", c->name, full);
	else
		n->shown =
		        shown_name(p, s, &s->platform, NULL, arena_printf(p->a, "FROM %s", full));
	return node_add(p, n);
}

/* make_root - the root file system a stage starts from, once. */
static int make_root(struct plan *p, struct stage *s, struct error *err)
{
	if (s->node_made)
		return 0;
	s->node_made = true;
	const struct graph_context *c = s->ctx ? s->ctx : s->base_ctx;
	if (s->base)
		s->node = s->base->node;
	else if (s->ref && (s->found || s->base_unknown))
		s->node = image_node(p, s);
	else if (c)
		return context_rootfs(p, s, c, &s->node, err);
	return 0;
}

int stage_rootfs(struct plan *p, struct stage *s, uint32_t *ret, struct error *err)
{
	if (make_root(p, s, err) < 0)
		return -1;
	*ret = s->node;
	return 0;
}

int stage_source(
        struct plan *p, struct stage *s, uint32_t *ret, bool *ret_keep_owner, struct error *err)
{
	const struct graph_context *c = s->ctx ? s->ctx : s->from ? NULL : s->base_ctx;
	*ret_keep_owner = true;
	if (c && context_kind(c->value) != CTX_IMAGE) {
		*ret_keep_owner = false;
		return context_node(p, c, ret, err);
	}
	return stage_rootfs(p, s, ret, err);
}

/* --- stages ---------------------------------------------------------------------------------- */

/* inherit - a stage FROM another: file system, config, ARGs, history. ONBUILD stays behind. */
static void inherit(struct plan *p, struct stage *s)
{
	const struct stage *b = s->base;
	s->platform = b->platform;
	s->img = img_fork(&b->img);
	s->img.onbuild = (struct svec){0};
	s->env = svec_fork(&b->env);
	s->build_args = svec_fork(&b->build_args);
	s->hist = b->hist;
	s->workdir_set = b->workdir_set;
	s->base_unknown = b->base_unknown;
	s->ref = b->ref;
	s->found = b->found;
}

static void start_config(struct plan *p, struct stage *s)
{
	if (s->base)
		inherit(p, s);
	else if (s->found)
		img_from_image(p, &s->img, s->found->config);
	else if (!s->ctx)
		img_empty(p, &s->img, &s->platform);
	else
		s->img = (struct img){.platform = s->platform};
	/* The platform of a replaced stage is what its image says. */
	if (s->ctx && s->found && *s->found->config->platform.os &&
	        *s->found->config->platform.arch)
		s->platform = s->found->config->platform;

	s->img.onbuild = (struct svec){0};
	if (s->ctx)
		return;
	if (!svec_env_get(&s->img.env, "PATH") && !str_eq(s->platform.os, "windows"))
		svec_push(p->a, &s->img.env,
		        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	/* The config's ENV beats inherited ARGs of the same name. */
	for (size_t i = 0; i < s->img.env.n; i++) {
		const char *e = s->img.env.v[i], *eq = strchr(e, '=');
		if (eq)
			svec_env_set(
			        p->a, &s->env, arena_strndup(p->a, e, (size_t)(eq - e)), eq + 1);
	}
}

static void lint_platform(struct plan *p, const struct stage *s)
{
	if (!p->w || s->base || s->ctx || s->base_ctx || !s->found || !s->from)
		return;
	const struct oci_platform *have = &s->found->config->platform, *want = &s->platform;
	if (str_eq(have->os, want->os) && str_eq(have->arch, want->arch))
		return;
	char a[160], b[160];
	struct oci_platform h = *have, w = *want;
	oci_platform_normalize(&h);
	oci_platform_normalize(&w);
	df_warn(p->w, "InvalidBaseImagePlatform", s->line, s->end_line,
	        "Base image %s was pulled with platform \"%s\", expected \"%s\" for current build",
	        s->base_name, oci_platform_string(&h, a, sizeof(a)),
	        oci_platform_string(&w, b, sizeof(b)));
}

typedef int (*do_fn)(struct plan *, struct stage *, const struct cmd *, struct error *);

static int dispatch_cmd(struct plan *p, struct stage *s, const struct cmd *c, struct error *err)
{
	static const do_fn table[] = {
	        [DF_ADD] = do_copy,
	        [DF_ARG] = do_arg,
	        [DF_CMD] = do_cmd,
	        [DF_COPY] = do_copy,
	        [DF_ENTRYPOINT] = do_entrypoint,
	        [DF_ENV] = do_env,
	        [DF_EXPOSE] = do_expose,
	        [DF_HEALTHCHECK] = do_healthcheck,
	        [DF_LABEL] = do_label,
	        [DF_MAINTAINER] = do_maintainer,
	        [DF_ONBUILD] = do_onbuild,
	        [DF_RUN] = do_run,
	        [DF_SHELL] = do_shell,
	        [DF_STOPSIGNAL] = do_stopsignal,
	        [DF_USER] = do_user,
	        [DF_VOLUME] = do_volume,
	        [DF_WORKDIR] = do_workdir,
	};
	s->cmd_is_onbuild = c->onbuild;
	return table[c->in->kind](p, s, c, err);
}

static int dispatch_stage(struct plan *p, struct stage *s, struct error *err)
{
	s->dispatched = true;
	start_config(p, s);
	lint_platform(p, s);
	if (make_root(p, s, err) < 0)
		return at_line(p, s->line, err);
	for (size_t i = 0; i < s->n_cmds; i++)
		if (dispatch_cmd(p, s, &s->cmds[i], err) < 0 ||
		        check_budget(p, &s->cmds[i], err) < 0)
			return -1;
	return 0;
}

int plan_dispatch(struct plan *p, struct error *err)
{
	/* Images named by --from have no instructions: they are ready. */
	for (size_t i = p->n_registered; i < p->n_stages; i++)
		p->stages[i]->dispatched = true;
	for (size_t i = 0; i < p->n_registered; i++)
		if (p->stages[i]->reachable && dispatch_stage(p, p->stages[i], err) < 0)
			return -1;
	return 0;
}
