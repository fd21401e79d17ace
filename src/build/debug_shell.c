/* build/debug_shell.c - looking into a RUN step that failed: at once (--on-error=shell), in the
 * file system as the step left it, or later (strake debug shell), in the one it started from.
 *
 * What is kept for later is a few hundred bytes in the history, and no file: the layers the step
 * stood on are in the store anyway, and if they are collected meanwhile, that is said. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "build/overlay.h"
#include "build/terminal.h"
#include "codec/json.h"
#include "layer/layer.h"
#include "sys/owner.h"

/* shell_of - the shell that the step's shell form names; /bin/sh for an exec form. */
static void shell_of(const struct strv *argv, struct strv *ret)
{
	bool shell_form = argv->n >= 3 && argv->v[argv->n - 2][0] == '-';
	strv_add(ret, shell_form ? argv->v[0] : "/bin/sh");
}

static int open_terminal(struct build *b, struct sandbox_spec *s, const volatile int *sig,
        int *ret_exit, struct error *err)
{
	bool tty = isatty(STDIN_FILENO);
	struct terminal_options to = {.tty = tty,
	        .interactive = true,
	        /* The results of a build go to standard output; a conversation goes to the eyes. */
	        .out_fd = tty && !isatty(STDOUT_FILENO) ? STDERR_FILENO : STDOUT_FILENO,
	        .interrupted = b->o->interrupted,
	        .signal = sig};
	return terminal_run(b->sandbox, s, &to, ret_exit, err);
}

/* run_above - the spec with an upper directory of its own, thrown away. root_fd: whose mode and
 * owner the root gets. */
static int run_above(struct build *b, struct sandbox_spec *s, const struct build_view *lower,
        int root_fd, const volatile int *sig, int *ret_exit, struct error *err)
{
	struct layer_dir up = {.fd = -1, .tree_fd = -1}, work = up;
	_cleanup_close_ int owners = -1;
	int rc = layer_dir_new(b, &up, err);
	if (rc >= 0)
		rc = layer_dir_new(b, &work, err);
	struct stat st;
	if (rc >= 0 && root_fd < 0) {
		rc = layer_prepare_upper(up.tree_fd, &lower->v, b->single_id, err);
	} else if (rc >= 0 &&
	           (fstat(root_fd, &st) < 0 || fchown(up.tree_fd, st.st_uid, st.st_gid) < 0 ||
	                   fchmod(up.tree_fd, st.st_mode & 07777) < 0 ||
	                   (b->single_id && sys_owner_copy(root_fd, up.tree_fd) < 0))) {
		rc = err_sys(err, errno, "preparing the shell's root directory");
	}
	if (rc >= 0) {
		s->upper_fd = up.tree_fd;
		s->work_fd = work.tree_fd;
		s->single_id = b->single_id;
		if (b->single_id && s->owners_fd <= 0)
			rc = s->owners_fd = owners = layer_owner_log(&lower->v, lower->fds, err);
	}
	if (rc >= 0) {
		rc = open_terminal(b, s, sig, ret_exit, err);
	}
	layer_dir_release(&up);
	layer_dir_release(&work);
	return rc < 0 ? -1 : 0;
}

/* run_in - the same where the kernel's overlay does not serve. tree: what overlay_root_open()
 * takes. */
static int run_in(struct build *b, struct sandbox_spec *s, enum overlay_kind kind,
        const struct build_view *lower, int tree, const volatile int *sig, int *ret_exit,
        struct error *err)
{
	struct overlay_root r;
	_cleanup_close_ int owners = -1;
	s->single_id = b->single_id;
	if (b->single_id && s->owners_fd <= 0) {
		owners = kind == OVERLAY_COPY ? layer_plain_owner_log(&lower->v, tree, err)
		                              : layer_owner_log(&lower->v, lower->fds, err);
		if (owners < 0)
			return -1;
		s->owners_fd = owners;
	}
	if (overlay_root_open(b, kind, lower, tree, &r, err) < 0)
		return -1;
	overlay_root_spec(&r, s);
	int rc = open_terminal(b, s, sig, ret_exit, err);
	overlay_root_close(b, &r);
	return rc;
}

/* run_new - in a root as the layers make it, thrown away. */
static int run_new(struct build *b, struct sandbox_spec *s, const struct build_view *lower,
        const volatile int *sig, int *ret_exit, struct error *err)
{
	struct layer_dir d = {.fd = -1, .tree_fd = -1};
	int kind = build_overlay(b, err);
	if (kind < 0)
		return -1;
	if (kind == OVERLAY_KERNEL)
		return run_above(b, s, lower, -1, sig, ret_exit, err);
	int rc = overlay_tree_new(b, kind, lower, &d, err);
	if (rc >= 0)
		rc = run_in(b, s, kind, lower, d.tree_fd, sig, ret_exit, err);
	layer_dir_release(&d);
	return rc;
}

int debug_failed_shell(struct build *b, struct error *err)
{
	const struct run_state *st = b->failed;
	struct sandbox_spec s;
	int code, kind = build_overlay(b, err);
	_cleanup_strv_ struct strv argv = STRV_INIT;
	_cleanup_free_ int *lowers = new0(int, st->lower.n_lowers + 1);
	if (kind < 0)
		return -1;
	run_fill_spec(b, st, &s);
	shell_of(s.argv, &argv);
	s.argv = &argv;
	/* Nobody needs what the step left any more: the shell may have it. */
	if (kind != OVERLAY_KERNEL)
		return run_in(b, &s, kind, &st->lower,
		        kind == OVERLAY_COPY ? st->copy.tree_fd : st->dir.tree_fd, NULL, &code,
		        err);
	/* What the step left is a layer on top: it stays as it is, whatever the shell does. */
	for (size_t i = 0; i < st->lower.n_lowers; i++)
		lowers[i] = st->lower.lowers[i];
	lowers[st->lower.n_lowers] = st->dir.tree_fd;
	s.layer_fds = lowers;
	s.n_layers = st->lower.n_lowers + 1;
	return run_above(b, &s, &st->lower, st->dir.tree_fd, NULL, &code, err);
}

/* --- for later ------------------------------------------------------------------------------- */

static json_t *chain_json(const struct rootfs *r)
{
	json_t *list = json_array();
	for (; r; r = r->parent) {
		char d[DIGEST_STR_MAX];
		json_array_insert_new(list, 0, json_str(digest_str(&r->diff_id, d)));
	}
	return list;
}

static json_t *mount_json(struct build *b, const struct graph_node *n,
        const struct solve_output *in, const struct graph_mount *m)
{
	static const char *const types[] = {[GRAPH_MOUNT_BIND] = "bind",
	        [GRAPH_MOUNT_CACHE] = "cache",
	        [GRAPH_MOUNT_TMPFS] = "tmpfs",
	        [GRAPH_MOUNT_SECRET] = "secret",
	        [GRAPH_MOUNT_SSH] = "ssh"};
	json_t *j = json_object();
	json_object_set_new(j, "type", json_str(types[m->type]));
	if (m->target)
		json_object_set_new(j, "target", json_str(m->target));
	if (m->id)
		json_object_set_new(j, "id", json_str(m->id));
	if (m->sharing)
		json_object_set_new(j, "sharing", json_str(m->sharing));
	if (m->read_only)
		json_object_set_new(j, "readonly", json_true());
	if (m->size)
		json_object_set_new(j, "size", json_integer((json_int_t)m->size));
	if (m->type == GRAPH_MOUNT_BIND) {
		const struct rootfs *chain;
		bool whole;
		_cleanup_error_ struct error e = ERROR_INIT;
		if (m->source)
			json_object_set_new(j, "source", json_str(m->source));
		if (run_mount_chain(b, n, in, m, &chain, &whole, &e) >= 0)
			json_object_set_new(j, "layers", chain_json(chain));
	}
	return j;
}

json_t *debug_spec(struct build *b, const struct graph_node *n, const struct solve_output *in)
{
	const struct graph_run *r = &n->run;
	json_t *j = json_object(), *env = json_array(), *mounts = json_array();
	json_object_set_new(j, "layers", chain_json(in[0].value));
	json_object_set_new(j, "argv", json_from_strv(&r->argv));
	for (size_t i = 0; i < r->env.n; i++) {
		_cleanup_free_ char *name = xstrndup(r->env.v[i], strcspn(r->env.v[i], "="));
		if (!df_sensitive_name(name))
			json_array_append_new(env, json_str(r->env.v[i]));
	}
	json_object_set_new(j, "env", env);
	json_object_set_new(j, "cwd", json_str(str_or_empty(r->cwd)));
	json_object_set_new(j, "user", json_str(str_or_empty(r->user)));
	json_object_set_new(j, "network", json_str(r->network));
	if (r->hostname)
		json_object_set_new(j, "hostname", json_str(r->hostname));
	json_object_set_new(j, "arch", json_str(n->platform.arch));
	json_object_set_new(j, "hosts", json_from_strv(&r->add_hosts));
	for (size_t i = 0; i < r->n_mounts; i++)
		json_array_append_new(mounts, mount_json(b, n, in, &r->mounts[i]));
	json_object_set_new(j, "mounts", mounts);
	return j;
}

/* --- later ----------------------------------------------------------------------------------- */

struct shell {
	struct build b;
	struct build_options bo;
	const json_t *spec;
	struct build_view lower;
	struct sandbox_mount *mounts;
	struct build_view *views;
	int *fds;
	size_t n_mounts, n_views, n_fds;
	struct strv argv, env, hosts;
};

static void shell_release(struct shell *s)
{
	for (size_t i = 0; i < s->n_fds; i++)
		close_ptr(&s->fds[i]);
	for (size_t i = 0; i < s->n_views; i++)
		build_view_release(&s->views[i]);
	free(s->fds);
	free(s->views);
	free(s->mounts);
	strv_release(&s->argv);
	strv_release(&s->env);
	strv_release(&s->hosts);
	build_view_release(&s->lower);
	sandbox_context_free(s->b.sandbox);
	pool_free(s->b.pool);
	build_trash_end(&s->b);
	store_lease_free(s->b.lease);
	ui_free(s->b.ui);
	arena_release(&s->b.arena);
	pthread_mutex_destroy(&s->b.lock);
}

/* open_chain - 1, 0 if a layer is gone, -1. */
static int open_chain(
        struct shell *s, const json_t *layers, struct build_view *ret, struct error *err)
{
	const struct rootfs *chain = NULL;
	for (size_t i = 0; i < json_array_size(layers); i++) {
		struct digest d;
		const char *text = json_string_value(json_array_get(layers, i));
		if (!text || !digest_parse(text, &d))
			return err_set(err, ERR_INTEGRITY, "the history names no layer: %s",
			        str_or_empty(text));
		chain = rootfs_new(&s->b, chain, &d);
	}
	return build_view_try(&s->b, chain, ret, err);
}

/* add_copy - a bind mount without an overlay; the end of the lease throws it away. */
static int add_copy(
        struct shell *s, const struct build_view *v, struct sandbox_mount *to, struct error *err)
{
	struct layer_dir d = {.fd = -1, .tree_fd = -1};
	int rc = overlay_copy(&s->b, v, &d, err);
	if (rc >= 0) {
		s->fds[s->n_fds++] = to->source_fd = take_fd(&d.tree_fd);
		to->type = SANDBOX_MOUNT_BIND;
	}
	layer_dir_release(&d);
	return rc < 0 ? -1 : 0;
}

static int add_mount(struct shell *s, const json_t *m, struct error *err)
{
	const char *type = str_or_empty(json_get_str(m, "type"));
	const char *target = json_get_str(m, "target");
	struct sandbox_mount *to = &s->mounts[s->n_mounts];
	*to = (struct sandbox_mount){.target = target,
	        .source_fd = -1,
	        .read_only = json_get_bool(m, "readonly", false)};
	if (!target)
		return 0;
	if (str_eq(type, "tmpfs")) {
		to->type = SANDBOX_MOUNT_TMPFS;
		to->tmpfs_size = (uint64_t)json_get_int(m, "size", 0);
	} else if (str_eq(type, "cache")) {
		int fd, lock;
		bool is_new;
		if (store_cache_mount(s->b.store, str_or_empty(json_get_str(m, "id")),
		            str_or_empty(json_get_str(m, "sharing")), &fd, &lock, &is_new, err) < 0)
			return -1;
		s->fds[s->n_fds++] = fd;
		s->fds[s->n_fds++] = lock;
		to->type = SANDBOX_MOUNT_BIND;
		to->source_fd = fd;
	} else if (str_eq(type, "bind") && json_get_array(m, "layers")) {
		struct build_view *v = &s->views[s->n_views];
		int rc = open_chain(s, json_get_array(m, "layers"), v, err);
		if (rc <= 0)
			return rc; /* gone: the shell goes without */
		s->n_views++;
		int kind = build_overlay(&s->b, err);
		if (kind < 0 || (kind != OVERLAY_KERNEL && add_copy(s, v, to, err) < 0))
			return -1;
		to->source = json_get_str(m, "source");
		if (kind != OVERLAY_KERNEL) {
			s->n_mounts++;
			return 0;
		}
		to->type = SANDBOX_MOUNT_ROOTFS_BIND;
		to->layer_fds = v->lowers;
		to->n_layers = v->n_lowers;
		to->discard_writes = !to->read_only;
	} else {
		return 0; /* secrets and agents are not kept */
	}
	s->n_mounts++;
	return 0;
}

static int prepare(struct shell *s, const struct debug_shell_options *o, struct error *err)
{
	_cleanup_strv_ struct strv argv = STRV_INIT;
	if (!json_get_strv(s->spec, "argv", &argv) || !json_get_strv(s->spec, "env", &s->env) ||
	        !json_get_strv(s->spec, "hosts", &s->hosts))
		return err_set(err, ERR_INTEGRITY, "the history's record of the step is damaged");
	if (o->command.n)
		strv_copy(&s->argv, &o->command);
	else
		shell_of(&argv, &s->argv);
	int rc = build_enter(&s->b, err);
	if (rc >= 0)
		rc = open_chain(s, json_get_array(s->spec, "layers"), &s->lower, err);
	if (rc == 0) {
		(void)err_set(err, ERR_NOT_FOUND,
		        "the layers that the step started from are no longer in the store");
		return err_hint(err, "build again, with --on-error=shell");
	}
	const json_t *list = json_get_array(s->spec, "mounts");
	size_t n = json_array_size(list);
	s->mounts = new0(struct sandbox_mount, n + 1);
	s->views = new0(struct build_view, n + 1);
	s->fds = new0(int, 2 * n + 1);
	for (size_t i = 0; i < n && rc >= 0; i++)
		rc = add_mount(s, json_array_get(list, i), err);
	return rc < 0 ? -1 : 0;
}

int build_debug_shell(struct store *store, const json_t *debug, const struct debug_shell_options *o,
        int *ret_exit, struct error *err)
{
	struct shell s = {.spec = debug, .bo = {.interrupted = o->interrupted}};
	s.b.store = store;
	s.b.o = &s.bo;
	pthread_mutex_init(&s.b.lock, NULL);
	struct ui_options uo = {.mode = UI_NONE, .fd = STDERR_FILENO};
	s.b.ui = ui_new(&uo);
	int rc = store_lease_new(store, &s.b.lease, err);
	if (rc >= 0)
		rc = prepare(&s, o, err);
	if (rc >= 0) {
		const char *net = str_or_empty(json_get_str(debug, "network"));
		struct sandbox_spec spec = {.layer_fds = s.lower.lowers,
		        .n_layers = s.lower.n_lowers,
		        .argv = &s.argv,
		        .env = &s.env,
		        .cwd = str_or_empty(json_get_str(debug, "cwd")),
		        .user = str_or_empty(json_get_str(debug, "user")),
		        .hostname = json_get_str(debug, "hostname"),
		        .network = str_eq(net, "host")   ? SANDBOX_NET_HOST
		                   : str_eq(net, "none") ? SANDBOX_NET_NONE
		                                         : SANDBOX_NET_PRIVATE,
		        .extra_hosts = &s.hosts,
		        .arch = json_get_str(debug, "arch"),
		        .mounts = s.mounts,
		        .n_mounts = s.n_mounts};
		rc = run_new(&s.b, &spec, &s.lower, o->signal, ret_exit, err);
	}
	shell_release(&s);
	return rc < 0 ? -1 : 0;
}
