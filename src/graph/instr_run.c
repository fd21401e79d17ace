/* graph/instr_run.c - RUN: the process a step starts, its environment, mounts and limits. */
#include <ctype.h>
#include <stdio.h>

#include "base/strbuf.h"
#include "graph/plan.h"

/* summary - the first line of a heredoc, for the step's name. */
static const char *summary(struct plan *p, const struct df_heredoc *h)
{
	const char *s = h->content, *end = s + h->content_len;
	while (s < end && isspace((unsigned char)*s))
		s++;
	while (end > s && isspace((unsigned char)end[-1]))
		end--;
	const char *nl = memchr(s, '\n', (size_t)(end - s));
	size_t n = (size_t)((nl ? nl : end) - s);
	if (nl && n && s[n - 1] == '\r')
		n--;
	return arena_printf(p->a, "%.*s%s", (int)MIN(n, 4096), s, nl ? "..." : "");
}

static void add_shell(struct plan *p, const struct stage *s, struct svec *argv)
{
	for (size_t i = 0; i < s->img.shell.n; i++)
		svec_push(p->a, argv, s->img.shell.v[i]);
	if (!s->img.shell.n) {
		svec_push(p->a, argv, "/bin/sh");
		svec_push(p->a, argv, "-c");
	}
}

/* run_script - a lone heredoc: with #! a file to execute, else the text for the shell. */
static void run_script(struct plan *p, const struct stage *s, const struct df_heredoc *h,
        struct graph_run *run, struct svec *argv)
{
	add_shell(p, s, argv);
	if (h->content_len < 2 || memcmp(h->content, "#!", 2) != 0) {
		svec_push(p->a, argv, arena_strndup(p->a, h->content, h->content_len));
		return;
	}
	struct graph_run_file *f = arena_new(p->a, struct graph_run_file, 1);
	f->path = arena_printf(p->a, "/dev/pipes/%s", h->name);
	f->data = h->content;
	f->len = h->content_len;
	run->files = f;
	run->n_files = 1;
	svec_push(p->a, argv, f->path);
}

/* run_argv - the complete command line; *ret_suffix is what the step's name gets in brackets. */
static int run_argv(struct plan *p, const struct stage *s, const struct cmd *c,
        struct graph_run *run, struct svec *argv, const char **ret_suffix, struct error *err)
{
	const struct df_instr *in = c->in;
	*ret_suffix = NULL;
	if (in->json) {
		for (size_t i = 0; i < in->n_args; i++)
			svec_push(p->a, argv, in->args[i]);
		if (!argv->n)
			return instr_fail(p, c, err, "RUN requires at least one argument");
		return 0;
	}
	const char *text = in->n_args ? in->args[0] : "";
	if (!in->n_heredocs) {
		add_shell(p, s, argv);
		svec_push(p->a, argv, text);
		return 0;
	}
	struct df_heredoc word;
	if (df_heredoc_word(p->a, text, &word)) {
		*ret_suffix = summary(p, &in->heredocs[0]);
		run_script(p, s, &in->heredocs[0], run, argv);
		return 0;
	}
	/* Any other text: the shell reads the heredocs itself. */
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	strbuf_addstr(&sb, text);
	for (size_t i = 0; i < in->n_heredocs; i++) {
		strbuf_addch(&sb, '\n');
		strbuf_add(&sb, in->heredocs[i].raw, in->heredocs[i].raw_len);
		strbuf_addstr(&sb, in->heredocs[i].name);
	}
	add_shell(p, s, argv);
	svec_push(p->a, argv, arena_strndup(p->a, sb.buf, sb.len));
	return 0;
}

static const char *join(struct plan *p, const struct svec *v)
{
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	for (size_t i = 0; i < v->n; i++)
		strbuf_addf(&sb, "%s%s", i ? " " : "", v->v[i]);
	return arena_strdup(p->a, sb.buf);
}

/* created_by - "RUN |1 K=V /bin/sh -c cmd # buildkit": ARGs once each, with the value that the
 * step sees. */
static const char *created_by(struct plan *p, const struct stage *s, const struct svec *argv)
{
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT, args = STRBUF_INIT;
	_cleanup_map_ struct map seen = MAP_INIT(NULL);
	for (size_t i = 0; i < s->build_args.n; i++) {
		const char *a = s->build_args.v[i];
		size_t n = strcspn(a, "=");
		_cleanup_free_ char *name = xstrndup(a, n);
		if (map_has(&seen, name))
			continue;
		/* A later ARG of the same name without a value in the environment wins too. */
		const char *v = svec_env_get(&s->env, name);
		for (size_t j = s->build_args.n; !v && j-- > i;)
			if (strncmp(s->build_args.v[j], a, n) == 0 &&
			        strcspn(s->build_args.v[j], "=") == n)
				v = s->build_args.v[j][n] ? s->build_args.v[j] + n + 1 : "";
		map_put(&seen, name, p);
		strbuf_addf(&args, "%s=%s ", name, v);
	}
	strbuf_addstr(&sb, "RUN ");
	if (seen.n)
		strbuf_addf(&sb, "|%zu %s", seen.n, args.buf);
	for (size_t i = 0; i < argv->n; i++)
		strbuf_addf(&sb, "%s%s", i ? " " : "", argv->v[i]);
	strbuf_addstr(&sb, " # buildkit");
	return arena_strdup(p->a, sb.buf);
}

static int run_network(
        struct plan *p, const struct cmd *c, struct graph_run *run, struct error *err)
{
	const char *flag = flag_value(c->in, "network");
	run->network = p->o->network && *p->o->network ? p->o->network : "default";
	if (!flag || str_eq(flag, "default"))
		return 0;
	run->network = flag;
	if (str_eq(flag, "host") && !p->o->allow_network_host) {
		err_set(err, ERR_BUILD, "RUN --network=host is not allowed in this build");
		err_hint(err, "if you trust the Dockerfile, build with --allow network.host");
		return cmd_place(p, c, err);
	}
	return 0;
}

static int run_security(
        struct plan *p, const struct cmd *c, struct graph_run *run, struct error *err)
{
	const char *flag = flag_value(c->in, "security");
	run->insecure = flag && str_eq(flag, "insecure");
	if (run->insecure && !p->o->allow_insecure) {
		err_set(err, ERR_BUILD, "RUN --security=insecure is not allowed in this build");
		err_hint(err, "if you trust the Dockerfile, build with --allow security.insecure");
		return cmd_place(p, c, err);
	}
	return 0;
}

static int run_devices(
        struct plan *p, const struct cmd *c, struct graph_run *run, struct error *err)
{
	struct svec v = {0};
	for (size_t i = 0; i < c->in->n_flags; i++) {
		char *d = NULL;
		if (!str_eq(c->in->flags[i].name, "device"))
			continue;
		if (device_parse(c->in->flags[i].value, &d, err) < 0)
			return cmd_place(p, c, err);
		svec_push(p->a, &v, arena_take(p->a, d));
	}
	svec_to_strv(&v, p->a, &run->devices);
	return 0;
}

static void take_option_list(struct plan *p, const struct strv *from, struct strv *to)
{
	struct svec v = {0};
	for (size_t i = 0; from && i < from->n; i++)
		svec_push(p->a, &v, from->v[i]);
	svec_to_strv(&v, p->a, to);
}

/* run_proxies - proxy build arguments, unless the Dockerfile made them its own by ARG or ENV. */
static void run_proxies(struct plan *p, const struct stage *s, struct graph_run *run)
{
	struct svec v = {0};
	for (size_t i = 0; i < p->proxy_env.n; i++) {
		const char *e = p->proxy_env.v[i];
		_cleanup_free_ char *name = xstrndup(e, strcspn(e, "="));
		if (!svec_env_get(&s->env, name))
			svec_push(p->a, &v, e);
	}
	svec_to_strv(&v, p->a, &run->proxy_env);
}

int do_run(struct plan *p, struct stage *s, const struct cmd *c, struct error *err)
{
	struct graph_node *n = node_new(p, GRAPH_RUN);
	struct graph_run *run = &n->run;
	struct svec argv = {0}, secret_envs = {0};
	const char *suffix;
	if (run_argv(p, s, c, run, &argv, &suffix, err) < 0 ||
	        run_mounts(p, s, c, run, &secret_envs, err) < 0 ||
	        run_network(p, c, run, err) < 0 || run_security(p, c, run, err) < 0 ||
	        run_devices(p, c, run, err) < 0)
		return -1;
	node_input(p, n, s->node);
	for (size_t i = 0; i < run->n_mounts; i++)
		if (run->mounts[i].input != GRAPH_NONE)
			node_input(p, n, run->mounts[i].input);
	svec_to_strv(&argv, p->a, &run->argv);
	svec_to_strv(&s->env, p->a, &run->env);
	run_proxies(p, s, run);
	run->cwd = path_join_clean(p->a, "", str_or_empty(s->img.workdir));
	run->user = str_or_empty(s->img.user);
	run->hostname = p->o->hostname;
	run->shown = join(p, &argv);
	take_option_list(p, p->o->add_hosts, &run->add_hosts);
	take_option_list(p, p->o->ulimits, &run->ulimits);
	run->shm_size = p->o->shm_size;

	n->platform = s->platform;
	n->no_cache = s->no_cache;
	n->stage = s->name ? s->name : arena_printf(p->a, "%zu", s->index);
	n->shown = shown_name(
	        p, s, &s->platform, &s->env, shown_text(p, s, c->in, suffix, true, &secret_envs));
	n->created_by = created_by(p, s, &argv);
	n->line = c->line;
	n->end_line = c->end_line;
	s->node = node_add(p, n);
	img_add_history(p, s, n->created_by, false, s->node);
	return 0;
}
