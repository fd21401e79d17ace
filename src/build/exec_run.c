/* build/exec_run.c - RUN: its key, its mounts, the process, and the layer it leaves. */
#include "build/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/human.h"
#include "build/exec_run.h"
#include "build/overlay.h"
#include "build/why.h"
#include "layer/layer.h"
#include "layer/leak.h"
#include "sys/owner.h"
#include "sys/path.h"

static const struct solve_output *input_of(
        const struct graph_node *n, const struct solve_output *in, uint32_t id)
{
	for (size_t i = 0; i < n->n_inputs; i++)
		if (n->inputs[i] == id)
			return &in[i];
	return NULL;
}

/* run_key - SEMANTICS 69: the operation, the root file system, and what the mounts show. */
int run_key(struct build *b, const struct graph_node *n, const struct solve_output *in,
        struct digest *ret, struct error *err)
{
	struct sha256 h;
	sha256_init(&h);
	sha256_str(&h, "run");
	sha256_bytes(&h, n->op_digest.b, sizeof(n->op_digest.b));
	sha256_bytes(&h, in[0].key.b, sizeof(in[0].key.b));
	for (size_t i = 0; i < n->run.n_mounts; i++) {
		const struct graph_mount *m = &n->run.mounts[i];
		/* What a cache mount holds is no part of the key, nor is what it started from. */
		if (m->type != GRAPH_MOUNT_BIND || m->input == GRAPH_NONE)
			continue;
		struct digest key;
		const struct graph_node *src = b->graph->nodes[m->input];
		if (src->op == GRAPH_LOCAL && !b->context_chain) {
			if (local_path_key(b, src, m->source, &key, err) < 0)
				return -1;
		} else {
			key = input_of(n, in, m->input)->key;
		}
		sha256_bytes(&h, key.b, sizeof(key.b));
	}
	sha256_final(&h, ret);
	return 0;
}

static enum sandbox_network network_of(const struct graph_run *run)
{
	return str_eq(run->network, "host")   ? SANDBOX_NET_HOST
	       : str_eq(run->network, "none") ? SANDBOX_NET_NONE
	                                      : SANDBOX_NET_PRIVATE;
}

static void note_miss(struct build *b, const struct graph_node *n)
{
	if (!b->entered && network_of(&n->run) == SANDBOX_NET_PRIVATE)
		b->network_wanted = true;
}

int run_probe(struct build *b, const struct graph_node *n, const struct solve_output *in,
        struct solve_output *ret, struct error *err)
{
	struct digest key;
	struct step_record r;
	int rc = 0;
	if (!n->no_cache) {
		if (run_key(b, n, in, &key, err) < 0)
			return -1;
		rc = record_get(b, &key, &r, err);
	}
	if (rc > 0)
		record_output(b, &r, &in[0], ret);
	if (rc == 0)
		note_miss(b, n);
	return rc;
}

json_t *run_parts(struct build *b, const struct graph_node *n, const struct solve_output *in,
        const struct digest *key)
{
	json_t *parts = parts_new(b, n, in, key);
	parts_add_run(b, n, in, parts);
	return parts;
}

/* --- mounts ---------------------------------------------------------------------------------- */

static void run_mounts_release(struct run_mounts *m)
{
	for (size_t i = 0; i < m->n_views; i++)
		build_view_release(&m->views[i]);
	for (size_t i = 0; i < m->n_fds; i++)
		close_ptr(&m->fds[i]);
	free(m->views);
	free(m->fds);
	free(m->v);
	/* Secrets may be among them. */
	for (size_t i = 0; i < m->env.n; i++)
		explicit_bzero(m->env.v[i], strlen(m->env.v[i]));
	strv_release(&m->env);
}

static struct sandbox_mount *mount_add(
        struct run_mounts *m, enum sandbox_mount_type type, const char *target)
{
	vec_grow(&m->v, &m->cap, m->n + 1);
	m->v[m->n] = (struct sandbox_mount){.type = type, .target = target, .source_fd = -1};
	return &m->v[m->n++];
}

static void own_fd(struct run_mounts *m, int fd)
{
	vec_grow(&m->fds, &m->cap_fds, m->n_fds + 1);
	m->fds[m->n_fds++] = fd;
}

int run_mount_chain(struct build *b, const struct graph_node *n, const struct solve_output *in,
        const struct graph_mount *g, const struct rootfs **ret, bool *ret_whole, struct error *err)
{
	*ret = NULL;
	*ret_whole = true;
	if (g->input == GRAPH_NONE)
		return 0;
	const struct graph_node *src = b->graph->nodes[g->input];
	if (src->op != GRAPH_LOCAL) {
		*ret = input_of(n, in, g->input)->value;
		return 0;
	}
	if (b->context_chain && !src->local.path) {
		*ret = b->context_chain;
		return 0;
	}
	*ret_whole = false;
	return copy_local_layer(b, src, g->source, ret, err);
}

/* add_copied_bind - where no overlay can be mounted: a copy, which the lease's end throws away. */
static int add_copied_bind(struct build *b, const struct build_view *v, const struct graph_mount *g,
        struct run_mounts *m, struct error *err)
{
	struct layer_dir d = {.fd = -1, .tree_fd = -1};
	int rc = overlay_copy(b, v, &d, err);
	if (rc >= 0) {
		int fd = take_fd(&d.tree_fd);
		own_fd(m, fd);
		struct sandbox_mount *s = mount_add(m, SANDBOX_MOUNT_BIND, g->target);
		s->source_fd = fd;
		s->source = g->source;
		s->read_only = g->read_only;
	}
	layer_dir_release(&d);
	return rc < 0 ? -1 : 0;
}

static int add_bind(struct build *b, const struct graph_node *n, const struct solve_output *in,
        const struct graph_mount *g, struct run_mounts *m, struct error *err)
{
	const struct rootfs *chain;
	bool whole;
	if (run_mount_chain(b, n, in, g, &chain, &whole, err) < 0)
		return -1;
	struct build_view *v = &m->views[m->n_views];
	if (build_view_open(b, chain, v, err) < 0)
		return -1;
	m->n_views++;
	int kind = build_overlay(b, err);
	if (kind != OVERLAY_KERNEL)
		return kind < 0 ? -1 : add_copied_bind(b, v, g, m, err);
	struct sandbox_mount *s = mount_add(m, SANDBOX_MOUNT_ROOTFS_BIND, g->target);
	s->layer_fds = v->lowers;
	s->n_layers = v->n_lowers;
	s->source = g->source;
	s->read_only = g->read_only;
	s->discard_writes = !g->read_only;
	return 0;
}

/* seed_cache - a new cache mount with from=: starts with that content. */
static int seed_cache(struct build *b, const struct graph_node *n, const struct solve_output *in,
        const struct graph_mount *g, int fd, struct error *err)
{
	const struct rootfs *chain;
	bool whole;
	if (run_mount_chain(b, n, in, g, &chain, &whole, err) < 0)
		return -1;
	struct build_view v;
	if (build_view_open(b, chain, &v, err) < 0)
		return -1;
	struct strv patterns = STRV_INIT;
	strv_add(&patterns, g->source && g->source[0] ? g->source : ".");
	struct source_select what = {.patterns = &patterns, .unpack = 0};
	struct source_selection sel = {0};
	int rc = source_view_select(&v.v, v.fds, &what, &sel, err);
	_cleanup_tree_ struct tree t = TREE_INIT;
	static const struct treeview empty;
	struct copy_request rq = {.items = sel.items,
	        .n_items = sel.n_items,
	        .dest = "/",
	        .keep_owner = true,
	        .lower = &empty,
	        .single_id = b->single_id};
	if (rc >= 0)
		rc = layer_copy(&rq, b->pool, fd, &t, err);
	source_selection_release(&sel);
	strv_release(&patterns);
	build_view_release(&v);
	return rc < 0 ? -1 : 0;
}

static int add_cache(struct build *b, const struct graph_node *n, const struct solve_output *in,
        const struct graph_mount *g, struct run_mounts *m, struct error *err)
{
	int fd, lock;
	bool is_new;
	if (store_cache_mount(b->store, g->id, g->sharing, &fd, &lock, &is_new, err) < 0)
		return -1;
	own_fd(m, fd);
	if (lock >= 0)
		own_fd(m, lock);
	if (is_new) {
		if (g->input != GRAPH_NONE && seed_cache(b, n, in, g, fd, err) < 0)
			return -1;
		int r = fchmod(fd, g->has_mode ? g->mode : 0755) < 0 ? -errno : 0;
		if (r >= 0 && (g->has_uid || g->has_gid))
			r = b->single_id ? sys_owner_set(fd, "", (struct sys_owner){g->uid, g->gid})
			    : fchown(fd, g->uid, g->gid) < 0 ? -errno
			                                     : 0;
		if (r < 0)
			return err_sys(
			        err, r, "setting mode and owner of the cache mount %s", g->target);
	}
	struct sandbox_mount *s = mount_add(m, SANDBOX_MOUNT_BIND, g->target);
	s->source_fd = fd;
	s->read_only = g->read_only;
	return 0;
}

static int add_secret(
        struct build *b, const struct graph_mount *g, struct run_mounts *m, struct error *err)
{
	const struct build_secret *sec = NULL;
	for (size_t i = 0; i < b->o->n_secrets; i++)
		if (str_eq(b->o->secrets[i].id, g->id))
			sec = &b->o->secrets[i];
	if (!sec || !sec->data) {
		if (!g->required)
			return 0;
		(void)err_set(err, ERR_BUILD, "secret %s: not found", g->id);
		return err_hint(err,
		        "give it with --secret id=%s,src=FILE or --secret id=%s,env=NAME", g->id,
		        g->id);
	}
	if (g->env)
		env_set(&m->env, g->env, sec->data);
	if (g->target) {
		struct sandbox_mount *s = mount_add(m, SANDBOX_MOUNT_FILE, g->target);
		s->data = sec->data;
		s->data_len = sec->len;
		s->mode = g->has_mode ? g->mode : 0400;
		s->uid = g->uid;
		s->gid = g->gid;
		s->read_only = true;
	}
	return 0;
}

static int add_ssh(struct build *b, const struct graph_mount *g, size_t index, struct run_mounts *m,
        struct error *err)
{
	const struct build_ssh *ssh = NULL;
	for (size_t i = 0; i < b->o->n_ssh; i++)
		if (str_eq(b->o->ssh[i].id, g->id))
			ssh = &b->o->ssh[i];
	if (!ssh) {
		if (!g->required)
			return 0;
		(void)err_set(err, ERR_BUILD, "ssh agent %s: not forwarded to this build", g->id);
		return err_hint(err, "start an agent and give --ssh %s", g->id);
	}
	/* trusted-path: --ssh, or SSH_AUTH_SOCK */
	int fd = open(ssh->socket, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, "ssh agent socket %s", ssh->socket);
	own_fd(m, fd);
	pthread_mutex_lock(&b->lock);
	const char *target =
	        g->target && g->target[0]
	                ? g->target
	                : arena_printf(&b->arena, "/run/buildkit/ssh_agent.%zu", index);
	pthread_mutex_unlock(&b->lock);
	struct sandbox_mount *s = mount_add(m, SANDBOX_MOUNT_SOCKET, target);
	s->source_fd = fd;
	s->mode = g->has_mode ? g->mode : 0600;
	s->uid = g->uid;
	s->gid = g->gid;
	if (!env_get(&m->env, "SSH_AUTH_SOCK"))
		env_set(&m->env, "SSH_AUTH_SOCK", target);
	return 0;
}

static int make_mounts(struct build *b, const struct graph_node *n, const struct solve_output *in,
        struct run_mounts *m, struct error *err)
{
	const struct graph_run *run = &n->run;
	strv_copy(&m->env, &run->env);
	for (size_t i = 0; i < run->proxy_env.n; i++)
		strv_add(&m->env, run->proxy_env.v[i]);
	m->views = new0(struct build_view, run->n_mounts);
	size_t n_ssh = 0;
	for (size_t i = 0; i < run->n_mounts; i++) {
		const struct graph_mount *g = &run->mounts[i];
		int rc = 0;
		switch (g->type) {
		case GRAPH_MOUNT_BIND:
			rc = add_bind(b, n, in, g, m, err);
			break;
		case GRAPH_MOUNT_CACHE:
			rc = add_cache(b, n, in, g, m, err);
			break;
		case GRAPH_MOUNT_TMPFS:
			mount_add(m, SANDBOX_MOUNT_TMPFS, g->target)->tmpfs_size = g->size;
			break;
		case GRAPH_MOUNT_SECRET:
			rc = add_secret(b, g, m, err);
			break;
		case GRAPH_MOUNT_SSH:
			rc = add_ssh(b, g, n_ssh++, m, err);
			break;
		}
		if (rc < 0)
			return -1;
	}
	for (size_t i = 0; i < run->n_files; i++) {
		struct sandbox_mount *s = mount_add(m, SANDBOX_MOUNT_FILE, run->files[i].path);
		s->data = run->files[i].data;
		s->data_len = run->files[i].len;
		s->mode = 0755;
		s->read_only = true;
	}
	return 0;
}

/* --- the process ----------------------------------------------------------------------------- */

struct run_log {
	struct build *b;
	const struct graph_node *n;
	int file;                 /* log on disk; opened at the first byte */
	struct leak_mask mask[2]; /* stdout, stderr: values of secrets are not shown */
};

static void drop_log(struct run_log *l)
{
	close_ptr(&l->file);
	l->file = -2; /* a build does not fail for want of a log */
}

static void log_plain(struct run_log *l, bool is_stderr, const char *p, size_t len)
{
	ui_step_log(l->b->ui, UI_NODE_ID(l->n), is_stderr, p, len);
	if (l->file == -1) {
		struct error err = ERROR_INIT;
		char step[32];
		snprintf(step, sizeof(step), "%u", l->n->id);
		if (store_log_open(l->b->store, l->b->id, step, &l->file, &err) < 0)
			drop_log(l);
		error_release(&err);
	}
	if (l->file >= 0 && sys_write_all(l->file, p, len) < 0)
		drop_log(l);
}

static void log_bytes(struct run_log *l, bool is_stderr, const char *p, size_t len, bool end)
{
	if (!leak_values_any(l->b->leaks)) {
		if (len)
			log_plain(l, is_stderr, p, len);
		return;
	}
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	leak_mask(l->b->leaks, &l->mask[is_stderr], p, len, end, &out);
	if (out.len)
		log_plain(l, is_stderr, out.buf, out.len);
}

static void log_end(struct run_log *l)
{
	for (int i = 0; i < 2; i++) {
		log_bytes(l, i == 1, "", 0, true);
		leak_mask_release(&l->mask[i]);
	}
	if (l->file >= 0)
		close(l->file);
}

/* pump - copy output until both pipes are closed: all processes of the step are gone. */
static void pump(struct run_log *l, int out, int errfd, int pidfd)
{
	static const size_t size = 64 << 10;
	_cleanup_free_ char *buf = xmalloc(size);
	struct pollfd p[3] = {{out, POLLIN, 0}, {errfd, POLLIN, 0}, {pidfd, POLLIN, 0}};
	while (p[0].fd >= 0 || p[1].fd >= 0) {
		/* Once the step is over nothing more can come than what is in the pipes. */
		if (poll(p, 3, p[2].fd < 0 ? 0 : -1) < 0 && errno != EINTR)
			return;
		bool any = false;
		for (int i = 0; i < 2; i++) {
			if (p[i].fd < 0 || !p[i].revents)
				continue;
			ssize_t r = read(p[i].fd, buf, size);
			if (r > 0) {
				log_bytes(l, i == 1, buf, (size_t)r, false);
				any = true;
			} else if (r == 0 || (errno != EINTR && errno != EAGAIN)) {
				p[i].fd = -1;
			}
		}
		if (p[2].fd < 0 && !any)
			return;
		if (p[2].fd >= 0 && p[2].revents)
			p[2].fd = -1;
	}
}

static void set_running(struct build *b, const struct graph_node *n, struct sandbox_process *p)
{
	pthread_mutex_lock(&b->lock);
	b->running[n->id] = p;
	bool cancelled = b->cancelled;
	pthread_mutex_unlock(&b->lock);
	if (p && cancelled)
		sandbox_kill(p, SIGKILL);
}

static void oom_hint(const struct build *b, const struct sandbox_process *p, struct error *err)
{
	char limit[16], peak[16];
	human_size(limit, sizeof(limit), b->o->memory_max);
	human_size(peak, sizeof(peak), p->memory_peak);
	(void)err_hint(err, "it was killed for using more memory than --resource allows (%s)%s%s%s",
	        limit, p->memory_peak ? ", at a peak of " : "", p->memory_peak ? peak : "",
	        "; raise memory=, or make the step use fewer processes at a time");
}

/* tell_mode - once a build, where the mode is one that steps can notice. */
static void tell_mode(struct build *b, const struct graph_node *n)
{
	if (!b->single_id)
		return;
	pthread_mutex_lock(&b->lock);
	bool told = b->told_mode;
	b->told_mode = true;
	pthread_mutex_unlock(&b->lock);
	if (!told)
		ui_step_note(b->ui, UI_NODE_ID(n),
		        "one user id only: owners are recorded, and users of a step are not kept "
		        "apart (see strake info)");
}

/* more_to_come - is there another RUN? Whether it runs or is cached is not known yet. */
static bool more_to_come(const struct build *b, const struct graph_node *n)
{
	for (size_t i = n->id + 1; i < b->graph->n_nodes; i++)
		if (b->graph->nodes[i]->op == GRAPH_RUN)
			return true;
	return false;
}

static int run_process(
        struct build *b, const struct graph_node *n, struct sandbox_spec *spec, struct error *err)
{
	int out[2], errp[2];
	if (pipe2(out, O_CLOEXEC) < 0)
		return err_sys(err, errno, "making a pipe");
	if (pipe2(errp, O_CLOEXEC) < 0) {
		int e = errno;
		close(out[0]);
		close(out[1]);
		return err_sys(err, e, "making a pipe");
	}
	spec->stdout_fd = out[1];
	spec->stderr_fd = errp[1];
	struct sandbox_process proc = {.pidfd = -1, .status_fd = -1};
	tell_mode(b, n);
	spec->more = more_to_come(b, n);
	int rc = sandbox_start(b->sandbox, spec, &proc, err);
	close(out[1]);
	close(errp[1]);
	struct run_log log = {.b = b, .n = n, .file = -1, .mask = {LEAK_MASK_INIT, LEAK_MASK_INIT}};
	int exit_code = 0;
	if (rc >= 0) {
		set_running(b, n, &proc);
		pump(&log, out[0], errp[0], proc.pidfd);
		set_running(b, n, NULL);
		rc = sandbox_wait(&proc, &exit_code, err);
	}
	close(out[0]);
	close(errp[0]);
	if (rc >= 0 && exit_code != 0) {
		rc = err_set(err, ERR_BUILD,
		        "process \"%s\" did not complete successfully: exit code: %d", n->run.shown,
		        exit_code);
		if (proc.oom_killed)
			oom_hint(b, &proc, err);
	}
	log_end(&log);
	b->steps[n->id].logged = log.file != -1;
	return rc < 0 ? -1 : 0;
}

void run_fill_spec(struct build *b, const struct run_state *st, struct sandbox_spec *s)
{
	const struct graph_node *n = st->n;
	const struct graph_run *run = &n->run;
	*s = (struct sandbox_spec){
	        .layer_fds = st->lower.lowers,
	        .n_layers = st->lower.n_lowers,
	        .argv = &run->argv,
	        .env = &st->m.env,
	        .cwd = run->cwd,
	        .user = run->user,
	        .hostname = run->hostname,
	        .stdin_fd = -1,
	        .insecure = run->insecure,
	        .network = network_of(run),
	        .extra_hosts = &run->add_hosts,
	        .shm_size = run->shm_size,
	        .ulimits = &run->ulimits,
	        .devices = &run->devices,
	        .mounts = st->m.v,
	        .n_mounts = st->m.n,
	        .memory_max = b->o->memory_max,
	        .pids_max = b->o->pids_max,
	        .cpus = b->o->cpus,
	        .arch = n->platform.arch,
	        .single_id = b->single_id,
	        .owners_fd = st->owners,
	};
}

/* run_and_scan - with everything open: the process, then its upper directory as a tree. */
static int run_step(
        struct build *b, struct run_state *st, struct sandbox_spec *spec, struct error *err)
{
	int rc = run_process(b, st->n, spec, err);
	st->failed = rc < 0 && err->class == ERR_BUILD;
	return rc;
}

static int run_and_scan(struct build *b, struct run_state *st, struct tree *t, struct error *err)
{
	struct layer_dir work;
	int kind = build_overlay(b, err);
	if (kind != OVERLAY_KERNEL)
		return kind < 0 ? -1 : overlay_run(b, st, kind, run_step, t, err);
	if (layer_dir_new(b, &work, err) < 0)
		return -1;
	struct sandbox_spec spec;
	run_fill_spec(b, st, &spec);
	spec.upper_fd = st->dir.tree_fd;
	spec.work_fd = work.tree_fd;
	/* overlayfs takes the root's own mode and owner from the upper directory */
	int rc = layer_prepare_upper(st->dir.tree_fd, &st->lower.v, b->single_id, err);
	if (rc >= 0)
		rc = run_step(b, st, &spec, err);
	build_trash(b, work.name);
	layer_dir_release(&work);
	if (rc < 0)
		return -1;
	_cleanup_(owner_table_release) struct owner_table recorded = {0};
	int r = b->single_id ? owner_log_load(st->owners, OWNER_UPPER, &recorded) : 0;
	if (r < 0)
		return err_sys(err, r, "cannot read which owners the step gave its files");
	return layer_scan_upper(
	        st->dir.tree_fd, &st->lower.v, b->single_id ? &recorded : NULL, b->pool, t, err);
}

void run_state_free(struct build *b, struct run_state *st)
{
	if (!st)
		return;
	if (st->dir.name)
		build_trash(b, st->dir.name);
	layer_dir_release(&st->dir);
	if (st->copy.name)
		build_trash(b, st->copy.name);
	layer_dir_release(&st->copy);
	close_ptr(&st->owners);
	build_view_release(&st->lower);
	run_mounts_release(&st->m);
	free(st);
}

/* keep_failed - for the shell that --on-error asked for; the first failure is the one. */
static bool keep_failed(struct build *b, struct run_state *st)
{
	bool keep = false;
	if (!b->o->on_error_shell || !st->failed)
		return false;
	pthread_mutex_lock(&b->lock);
	keep = !b->failed && !b->cancelled;
	if (keep)
		b->failed = st;
	pthread_mutex_unlock(&b->lock);
	return keep;
}

static int execute_locked(struct build *b, const struct graph_node *n,
        const struct solve_output *in, const struct digest *key, struct solve_output *ret,
        struct error *err)
{
	int64_t started = now_ms();
	_cleanup_json_ json_t *parts = run_parts(b, n, in, key);
	struct step_parts sp = {n, parts};
	why_note(b, n, parts);
	struct run_state *st = new0(struct run_state, 1);
	*st = (struct run_state){.n = n,
	        .dir = {.fd = -1, .tree_fd = -1},
	        .copy = {.fd = -1, .tree_fd = -1},
	        .owners = -1};
	_cleanup_tree_ struct tree t = TREE_INIT;
	int rc = build_view_open(b, in[0].value, &st->lower, err);
	if (rc >= 0 && b->single_id)
		rc = st->owners = layer_owner_log(&st->lower.v, st->lower.fds, err);
	if (rc >= 0)
		rc = make_mounts(b, n, in, &st->m, err);
	if (rc >= 0)
		rc = layer_dir_new(b, &st->dir, err);
	if (rc >= 0)
		rc = run_and_scan(b, st, &t, err);
	if (rc >= 0)
		rc = publish_layer(b, st->dir.name, &t, st->dir.tree_fd, key, 1, &sp, started,
		        &in[0], ret, err);
	if (rc >= 0)
		layer_dir_release(&st->dir); /* published */
	if (rc < 0 && st->failed)
		b->steps[n->id].debug = debug_spec(b, n, in);
	if (rc >= 0 || !keep_failed(b, st))
		run_state_free(b, st);
	return rc < 0 ? -1 : 0;
}

int run_execute(struct build *b, const struct graph_node *n, const struct solve_output *in,
        struct solve_output *ret, bool *ret_cached, struct error *err)
{
	struct digest key;
	if (run_key(b, n, in, &key, err) < 0)
		return -1;
	/* Two builds that want the same step: one runs it, the other takes the result. */
	_cleanup_close_ int lock = store_step_lock(b->store, &key, false);
	if (lock == -EWOULDBLOCK) {
		ui_step_note(
		        b->ui, UI_NODE_ID(n), "waiting for another build that runs the same step");
		lock = store_step_lock(b->store, &key, true);
	}
	if (!n->no_cache) {
		struct step_record r;
		const struct store_layer *l;
		int rc = record_get(b, &key, &r, err);
		if (rc > 0)
			rc = store_layer_get(b->store, b->lease, &r.diff_id, 0, &l, err);
		if (rc < 0)
			return -1;
		if (rc > 0) {
			record_output(b, &r, &in[0], ret);
			*ret_cached = true;
			return 0;
		}
	}
	return execute_locked(b, n, in, &key, ret, err);
}
