/* tests/unit/graph/dump.h - a graph as text that people can read and diff.
 *
 * Defaults are left out; the default PATH is written PATH alone. */
#ifndef STRAKE_TESTS_GRAPH_DUMP_H
#define STRAKE_TESTS_GRAPH_DUMP_H

#include <stdio.h>

#include "base/strbuf.h"
#include "graph/graph.h"

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static inline void dump_quoted(struct strbuf *sb, const char *s, size_t n)
{
	strbuf_addch(sb, '"');
	for (size_t i = 0; i < n; i++) {
		if (s[i] == '\n')
			strbuf_addstr(sb, "\\n");
		else if (s[i] == '\t')
			strbuf_addstr(sb, "\\t");
		else if (s[i] == '"' || s[i] == '\\')
			strbuf_addf(sb, "\\%c", s[i]);
		else
			strbuf_addch(sb, s[i]);
	}
	strbuf_addch(sb, '"');
}

static inline void dump_list(struct strbuf *sb, const char *name, const struct strv *v)
{
	if (!v->n)
		return;
	strbuf_addf(sb, "    %s", name);
	for (size_t i = 0; i < v->n; i++) {
		strbuf_addch(sb, ' ');
		if (strcmp(v->v[i], DEFAULT_PATH) == 0)
			strbuf_addstr(sb, "PATH");
		else
			dump_quoted(sb, v->v[i], strlen(v->v[i]));
	}
	strbuf_addch(sb, '\n');
}

static inline const char *dump_platform(const struct oci_platform *p)
{
	static char buf[160];
	return oci_platform_string(p, buf, sizeof(buf));
}

static inline void dump_id(struct strbuf *sb, uint32_t id)
{
	if (id == GRAPH_NONE)
		strbuf_addch(sb, '-');
	else
		strbuf_addf(sb, "%u", id);
}

static inline void dump_mount(struct strbuf *sb, const struct graph_mount *m)
{
	static const char *const types[] = {"bind", "cache", "tmpfs", "secret", "ssh"};
	strbuf_addf(sb, "    mount %s", types[m->type]);
	if (m->target)
		strbuf_addf(sb, " target=%s", m->target);
	if (m->input != GRAPH_NONE)
		strbuf_addf(sb, " from=%u", m->input);
	if (m->source && *m->source)
		strbuf_addf(sb, " source=%s", m->source);
	if (m->id)
		strbuf_addf(sb, " id=%s", m->id);
	if (m->sharing)
		strbuf_addf(sb, " sharing=%s", m->sharing);
	if (m->env)
		strbuf_addf(sb, " env=%s", m->env);
	if (m->mode)
		strbuf_addf(sb, " mode=%s%o", m->has_mode ? "" : "default:", m->mode);
	if (m->has_uid)
		strbuf_addf(sb, " uid=%u", m->uid);
	if (m->has_gid)
		strbuf_addf(sb, " gid=%u", m->gid);
	if (m->size)
		strbuf_addf(sb, " size=%llu", (unsigned long long)m->size);
	strbuf_addf(sb, "%s%s\n", m->read_only ? " ro" : " rw", m->required ? " required" : "");
}

static inline void dump_run(struct strbuf *sb, const struct graph_run *r)
{
	dump_list(sb, "argv", &r->argv);
	dump_list(sb, "env", &r->env);
	dump_list(sb, "proxy", &r->proxy_env);
	if (strcmp(r->cwd, "/") != 0)
		strbuf_addf(sb, "    cwd %s\n", r->cwd);
	if (*r->user)
		strbuf_addf(sb, "    user %s\n", r->user);
	if (r->hostname)
		strbuf_addf(sb, "    hostname %s\n", r->hostname);
	if (strcmp(r->network, "default") != 0)
		strbuf_addf(sb, "    network %s\n", r->network);
	if (r->insecure)
		strbuf_addstr(sb, "    insecure\n");
	for (size_t i = 0; i < r->n_mounts; i++)
		dump_mount(sb, &r->mounts[i]);
	for (size_t i = 0; i < r->n_files; i++) {
		strbuf_addf(sb, "    file %s ", r->files[i].path);
		dump_quoted(sb, r->files[i].data, r->files[i].len);
		strbuf_addch(sb, '\n');
	}
	dump_list(sb, "hosts", &r->add_hosts);
	dump_list(sb, "ulimits", &r->ulimits);
	dump_list(sb, "devices", &r->devices);
	if (r->shm_size)
		strbuf_addf(sb, "    shm %llu\n", (unsigned long long)r->shm_size);
}

static inline void dump_copy(struct strbuf *sb, const struct graph_copy *c)
{
	for (size_t i = 0; i < c->n_sources; i++) {
		const struct graph_copy_source *s = &c->sources[i];
		if (s->kind == GRAPH_SRC_INPUT) {
			strbuf_addstr(sb, "    src ");
			dump_id(sb, s->input);
			strbuf_addf(sb, ":%s\n", s->pattern);
		} else {
			strbuf_addf(sb, "    inline %s ", s->name);
			dump_quoted(sb, s->data, s->data_len);
			strbuf_addch(sb, '\n');
		}
	}
	strbuf_addf(sb, "    dest %s\n", c->dest);
	const struct {
		const char *name;
		bool on;
	} flags[] = {{"link", c->link}, {"parents", c->parents}, {"keep-git-dir", c->keep_git_dir},
	        {"from-stage", c->from_stage}, {"unpack", c->unpack == 1},
	        {"no-unpack", c->unpack == 0}};
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		if (flags[i].on)
			strbuf_addf(sb, "    %s\n", flags[i].name);
	if (c->chown)
		strbuf_addf(sb, "    chown %s\n", c->chown);
	if (c->chmod)
		strbuf_addf(sb, "    chmod %s\n", c->chmod);
	if (c->checksum)
		strbuf_addf(sb, "    checksum %s\n", c->checksum);
	dump_list(sb, "exclude", &c->excludes);
}

static inline void dump_git(struct strbuf *sb, const struct graph_git *g)
{
	strbuf_addf(sb, " %s", g->url);
	if (g->ref)
		strbuf_addf(sb, " ref=%s", g->ref);
	if (g->subdir)
		strbuf_addf(sb, " subdir=%s", g->subdir);
	if (g->checksum)
		strbuf_addf(sb, " checksum=%s", g->checksum);
	strbuf_addf(sb, "%s%s", g->keep_git_dir ? " keep-git-dir" : "",
	        g->submodules ? "" : " no-submodules");
}

static inline void dump_node(struct strbuf *sb, const struct graph_node *n)
{
	static const char *const ops[] = {
	        "image", "local", "git", "http", "run", "copy", "workdir"};
	bool add = n->op == GRAPH_COPY && n->copy.is_add;
	strbuf_addf(sb, "%u %s", n->id, add ? "add" : ops[n->op]);
	for (size_t i = 0; i < n->n_inputs; i++) {
		strbuf_addstr(sb, i ? "," : " in=");
		dump_id(sb, n->inputs[i]);
	}
	if (n->op == GRAPH_IMAGE)
		strbuf_addf(sb, " %s %s layers=%zu", n->image.ref,
		        dump_platform(&n->image.platform), n->image.n_diff_ids);
	if (n->op == GRAPH_LOCAL)
		strbuf_addf(sb, " %s%s%s", n->local.name, n->local.path ? "=" : "",
		        str_or_empty(n->local.path));
	if (n->op == GRAPH_GIT)
		dump_git(sb, &n->git);
	if (n->op == GRAPH_HTTP)
		strbuf_addf(sb, " %s as %s%s%s", n->http.url, n->http.filename,
		        n->http.checksum ? " checksum=" : "", str_or_empty(n->http.checksum));
	if (n->op == GRAPH_WORKDIR)
		strbuf_addf(sb, " %s%s%s", n->workdir.path, *n->workdir.user ? " user=" : "",
		        n->workdir.user);
	strbuf_addf(sb, "%s | %s\n", n->no_cache ? " no-cache" : "", n->shown);
	if (n->op == GRAPH_RUN)
		dump_run(sb, &n->run);
	if (n->op == GRAPH_COPY)
		dump_copy(sb, &n->copy);
}

static int dump_compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static inline void dump_map(struct strbuf *sb, const char *name, const struct map *m, bool values)
{
	struct strv v = STRV_INIT;
	map_foreach (it, m)
		strv_addf(
		        &v, "%s%s%s", it->key, values ? "=" : "", values ? (char *)it->value : "");
	if (v.n)
		qsort(v.v, v.n, sizeof(*v.v), dump_compare);
	dump_list(sb, name, &v);
	strv_release(&v);
}

static inline void dump_config(struct strbuf *sb, const struct oci_image *im)
{
	strbuf_addf(sb, "    platform %s\n", dump_platform(&im->platform));
	if (im->author)
		strbuf_addf(sb, "    author %s\n", im->author);
	if (im->user && *im->user)
		strbuf_addf(sb, "    user %s\n", im->user);
	if (im->working_dir && *im->working_dir && strcmp(im->working_dir, "/") != 0)
		strbuf_addf(sb, "    workdir %s\n", im->working_dir);
	dump_list(sb, "env", &im->env);
	dump_list(sb, "entrypoint", &im->entrypoint);
	if (im->cmd_set && !im->cmd.n)
		strbuf_addstr(sb, "    cmd (empty)\n");
	dump_list(sb, "cmd", &im->cmd);
	dump_list(sb, "shell", &im->shell);
	dump_list(sb, "onbuild", &im->onbuild);
	dump_map(sb, "ports", &im->exposed_ports, false);
	dump_map(sb, "volumes", &im->volumes, false);
	dump_map(sb, "labels", &im->labels, true);
	if (im->stop_signal && *im->stop_signal)
		strbuf_addf(sb, "    stop-signal %s\n", im->stop_signal);
	if (im->has_healthcheck) {
		const struct oci_healthcheck *h = &im->healthcheck;
		dump_list(sb, "health", &h->test);
		strbuf_addf(sb, "    health-times %lld %lld %lld %lld retries=%lld\n",
		        (long long)h->interval, (long long)h->timeout, (long long)h->start_period,
		        (long long)h->start_interval, (long long)h->retries);
	}
}

static inline void dump_graph(struct strbuf *sb, const struct graph *g)
{
	for (size_t i = 0; i < g->n_nodes; i++)
		dump_node(sb, g->nodes[i]);
	for (size_t i = 0; i < g->n_targets; i++) {
		const struct graph_target *t = &g->targets[i];
		strbuf_addf(sb, "target %s stage=%s node=", dump_platform(&t->platform), t->stage);
		dump_id(sb, t->node);
		if (t->base_ref)
			strbuf_addf(sb, " base=%s", t->base_ref);
		if (t->base_digest)
			strbuf_addf(sb, "@%s", t->base_digest);
		strbuf_addch(sb, '\n');
		dump_config(sb, t->config);
		for (size_t j = 0; j < t->config->n_history; j++)
			strbuf_addf(sb, "    base-history %s\n", t->config->history[j].created_by);
		for (size_t j = 0; j < t->n_history; j++) {
			const struct graph_history *h = &t->history[j];
			strbuf_addstr(sb, "    # ");
			dump_id(sb, h->node);
			strbuf_addch(sb, ' ');
			/* One line an entry, whatever a heredoc holds. */
			for (const char *c = h->created_by; *c; c++) {
				if (*c == '\n')
					strbuf_addstr(sb, "\\n");
				else
					strbuf_addch(sb, *c);
			}
			strbuf_addch(sb, '\n');
			if (strcmp(h->comment, "buildkit.dockerfile.v0") != 0)
				strbuf_addf(sb, "      comment %s\n", h->comment);
			if (h->empty_layer != (h->node == GRAPH_NONE))
				strbuf_addstr(sb, "      empty_layer and node disagree\n");
		}
	}
	for (size_t i = 0; i < g->unused_build_args.n; i++)
		strbuf_addf(sb, "unused %s\n", g->unused_build_args.v[i]);
}

static inline void dump_error(struct strbuf *sb, const struct error *e)
{
	strbuf_addf(sb, "error %s", err_class_name(e->class));
	if (e->file)
		strbuf_addf(sb, " %s", e->file);
	if (e->line)
		strbuf_addf(sb, ":%d", e->line);
	if (e->column)
		strbuf_addf(sb, ":%d", e->column);
	strbuf_addf(sb, "\n    %s\n", e->msg);
	if (e->hint)
		strbuf_addf(sb, "    hint: %s\n", e->hint);
}

#endif
