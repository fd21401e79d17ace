/* build/build.c - the course of one build: read, resolve, plan, solve, put out. */
#include "build/internal.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h>

#include "base/human.h"
#include "build/cache.h"
#include "build/exec_run.h"
#include "codec/json.h"
#include "layer/leak.h"

void build_result_release(struct build_result *r)
{
	free(r->image_id);
	free(r->excerpt);
	df_warnings_release(&r->warnings);
	strv_release(&r->unused_build_args);
	free(r->build_id);
	json_decref(r->steps);
	*r = (struct build_result){0};
}

bool build_interrupted(struct build *b)
{
	return b->o->interrupted && *b->o->interrupted;
}

struct registry_client *build_registry(struct build *b, struct error *err)
{
	pthread_mutex_lock(&b->lock);
	if (!b->registry) {
		struct registry_options ro = {.cancelled = b->o->interrupted};
		if (registry_client_new(&ro, &b->registry, err) < 0)
			b->registry = NULL;
	}
	struct registry_client *c = b->registry;
	pthread_mutex_unlock(&b->lock);
	return c;
}

struct pool *build_net(struct build *b)
{
	pthread_mutex_lock(&b->lock);
	if (!b->net && b->entered)
		b->net = pool_new(6);
	struct pool *p = b->net;
	pthread_mutex_unlock(&b->lock);
	return p;
}

/* build_enter - take the rights that writing trees and running steps needs. From here on the
 * process may have threads; before, it has those of its pool at most. */
int build_enter(struct build *b, struct error *err)
{
	if (b->entered)
		return 0;
	struct sys_privilege_info info = {0};
	if (sys_privilege_probe(&info, err) < 0)
		return -1;
	int rc = 0;
	/* unshare(CLONE_NEWUSER) wants a single-threaded process; a large context was walked and
	 * hashed by threads. */
	pool_free(b->pool);
	b->pool = NULL;
	if (info.mode == SYS_PRIV_NONE) {
		/* Layers can be written; a step that must run will say what is missing. */
		rc = store_check_owners(b->store, err);
	} else {
		rc = sys_privilege_enter(&info, err);
		if (rc >= 0)
			rc = store_reattach(b->store, err);
	}
	b->single_id = !sys_privilege_can_chown();
	sys_privilege_info_release(&info);
	if (rc < 0)
		return -1;
	b->entered = true;
	/* A deep image takes a descriptor a layer, here and in the step's own process. */
	struct rlimit nofile;
	if (getrlimit(RLIMIT_NOFILE, &nofile) == 0) {
		nofile.rlim_cur = nofile.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &nofile);
	}
	if (!b->pool)
		b->pool = pool_new((unsigned)MAX(sysconf(_SC_NPROCESSORS_ONLN), 1));
	b->sandbox = sandbox_context_new(store_lease_dirfd(b->lease));
	ui_live(b->ui);
	return 0;
}

/* open_leaks - the values that must not be in what this build makes. */
static void open_leaks(struct build *b)
{
	if (!b->o->n_secrets)
		return;
	b->leaks = leak_values_new();
	for (size_t i = 0; i < b->o->n_secrets; i++)
		if (b->o->secrets[i].data)
			leak_values_add(b->leaks, b->o->secrets[i].id, b->o->secrets[i].data,
			        b->o->secrets[i].len);
	leak_values_ready(b->leaks);
}

/* --- solve ports ----------------------------------------------------------------------------- */

static int port_probe(void *ctx, const struct graph_node *n, const struct solve_output *in,
        struct solve_output *ret, struct error *err)
{
	struct build *b = ctx;
	int rc = 0;
	switch (n->op) {
	case GRAPH_IMAGE: {
		struct build_image *im = build_find_image(b, n->image.ref, &n->image.platform);
		if (!im)
			return err_set(
			        err, ERR_INTERNAL, "image %s was not resolved", n->image.ref);
		ret->value = (void *)rootfs_from_image(b, im);
		struct sha256 h;
		sha256_init(&h);
		sha256_str(&h, "image");
		for (size_t i = 0; i < im->config.n_diff_ids; i++)
			sha256_bytes(&h, im->config.diff_ids[i].b, sizeof(struct digest));
		sha256_final(&h, &ret->key);
		return 1;
	}
	case GRAPH_LOCAL:
		return 1; /* nothing is asked of a directory until a step selects from it */
	case GRAPH_GIT:
	case GRAPH_HTTP:
		rc = remote_probe(b, n, ret, err);
		break;
	case GRAPH_RUN:
		rc = run_probe(b, n, in, ret, err);
		break;
	case GRAPH_COPY:
		rc = copy_probe(b, n, in, ret, err);
		break;
	case GRAPH_WORKDIR:
		rc = workdir_probe(b, n, in, ret, err);
		break;
	}
	return rc < 0 ? err_at(err, b->file->name, n->line, 0) : rc;
}

static bool port_present(void *ctx, const struct graph_node *n, const struct solve_output *out)
{
	struct build *b = ctx;
	const struct rootfs *r = out->value;
	/* Base images are fetched when a step opens them; directories are just there. */
	if (n->op == GRAPH_IMAGE || n->op == GRAPH_LOCAL)
		return true;
	if (!r)
		return false;
	return step_layer_there(b, &r->diff_id);
}

static int port_prepare(void *ctx, struct error *err)
{
	struct build *b = ctx;
	if (build_enter(b, err) < 0)
		return -1;
	/* The private network takes longest to come up: it starts before the step that must run has
	 * looked for its layers. Where that fails, the step tells. */
	_cleanup_error_ struct error ignored = ERROR_INIT;
	if (b->network_wanted)
		(void)!sandbox_context_warm(b->sandbox, &ignored);
	return 0;
}

static int port_execute(void *ctx, const struct graph_node *n, const struct solve_output *in,
        struct solve_output *ret, bool *ret_cached, struct error *err)
{
	struct build *b = ctx;
	int rc;
	switch (n->op) {
	case GRAPH_RUN:
		rc = run_execute(b, n, in, ret, ret_cached, err);
		break;
	case GRAPH_COPY:
		rc = copy_execute(b, n, in, ret, ret_cached, err);
		break;
	case GRAPH_WORKDIR:
		rc = workdir_execute(b, n, in, ret, ret_cached, err);
		break;
	case GRAPH_GIT:
	case GRAPH_HTTP:
		rc = remote_execute(b, n, ret, ret_cached, err);
		break;
	default:
		rc = err_set(err, ERR_INTERNAL, "%s cannot be executed", n->shown);
		break;
	}
	return rc < 0 ? err_at(err, b->file->name, n->line, 0) : 0;
}

static void port_cancel(void *ctx)
{
	struct build *b = ctx;
	pthread_mutex_lock(&b->lock);
	b->cancelled = true;
	for (size_t i = 0; i < b->graph->n_nodes; i++)
		if (b->running[i])
			sandbox_kill(b->running[i], SIGKILL);
	pthread_mutex_unlock(&b->lock);
}

static bool port_interrupted(void *ctx)
{
	return build_interrupted(ctx);
}

static void note_verdict(struct build *b, const struct graph_node *n, enum solve_event ev)
{
	static const enum step_verdict verdicts[] = {[SOLVE_CACHED] = STEP_CACHED,
	        [SOLVE_STARTED] = STEP_RUNNING,
	        [SOLVE_DONE] = STEP_DONE,
	        [SOLVE_FAILED] = STEP_FAILED,
	        [SOLVE_CANCELLED] = STEP_CANCELLED,
	        [SOLVE_WOULD_RUN] = STEP_RUNNING,
	        [SOLVE_DEPENDS] = STEP_MAYBE};
	struct step_state *s = &b->steps[n->id];
	s->verdict = verdicts[ev];
	if (ev == SOLVE_STARTED)
		s->started_ms = s->ended_ms = now_ms();
	else if (s->started_ms)
		s->ended_ms = now_ms();
}

static void port_event(
        void *ctx, const struct graph_node *n, enum solve_event ev, const struct error *err)
{
	struct build *b = ctx;
	if (n->op == GRAPH_LOCAL)
		return;
	note_verdict(b, n, ev);
	/* An image whose layers are yet to be fetched reports for itself when that happens. */
	if (n->op == GRAPH_IMAGE &&
	        (ev != SOLVE_CACHED || !build_image_here(b, build_find_image(b, n->image.ref,
	                                                            &n->image.platform))))
		return;
	switch (ev) {
	case SOLVE_CACHED:
		ui_step_cached(b->ui, UI_NODE_ID(n), n->shown);
		break;
	case SOLVE_STARTED:
		ui_step_start(b->ui, UI_NODE_ID(n), n->shown);
		break;
	case SOLVE_DONE:
		ui_step_done(b->ui, UI_NODE_ID(n));
		break;
	case SOLVE_FAILED:
		if (b->lost) {
			ui_step_cancelled(b->ui, UI_NODE_ID(n));
			break;
		}
		if (n->op == GRAPH_COPY || n->op == GRAPH_WORKDIR)
			ui_step_start(b->ui, UI_NODE_ID(n), n->shown);
		ui_step_error(b->ui, UI_NODE_ID(n), err->msg);
		break;
	case SOLVE_CANCELLED:
		ui_step_cancelled(b->ui, UI_NODE_ID(n));
		break;
	case SOLVE_WOULD_RUN:
	case SOLVE_DEPENDS:
		break; /* build_result.steps tells it */
	}
}

/* --- the course of a build ------------------------------------------------------------------- */

int build_resolve_platforms(
        const struct strv *specs, struct oci_platform **ret, size_t *ret_n, struct error *err)
{
	struct strv words = STRV_INIT;
	for (size_t i = 0; i < specs->n; i++)
		strv_split(&words, specs->v[i], ",");
	struct oci_platform *v = new0(struct oci_platform, words.n + 1);
	size_t n = 0;
	int rc = 0;
	for (size_t i = 0; i < words.n && rc >= 0; i++) {
		rc = str_eq(words.v[i], "local") ? (oci_platform_host(&v[n]), 0)
		                                 : oci_platform_parse(words.v[i], &v[n], err);
		n++;
	}
	if (words.n == 0)
		oci_platform_host(&v[n++]);
	strv_release(&words);
	if (rc < 0) {
		free(v);
		return err_wrap(err, "--platform");
	}
	*ret = v;
	*ret_n = n;
	return 0;
}

static const char *build_arg(const struct build_options *o, const char *name)
{
	return env_get(&o->build_args, name);
}

struct plan_options {
	struct graph_options g;
	struct oci_platform *platforms;
	struct graph_context *contexts;
	struct strv labels;
};

static void plan_options_release(struct plan_options *p)
{
	free(p->platforms);
	free(p->contexts);
}

static int plan_options_init(
        const struct build_options *o, struct plan_options *p, struct error *err)
{
	*p = (struct plan_options){0};
	struct graph_options *g = &p->g;
	if (build_resolve_platforms(&o->platforms, &p->platforms, &g->n_platforms, err) < 0)
		return -1;
	g->platforms = p->platforms;
	g->platform_implicit = o->platforms.n == 0;
	oci_platform_host(&g->build_platform);
	p->contexts = new0(struct graph_context, o->contexts.n);
	for (size_t i = 0; i < o->contexts.n; i++) {
		char *eq = strchr(o->contexts.v[i], '=');
		*eq = '\0'; /* cli/ checked that it is there; the halves are used as they stand */
		p->contexts[i] = (struct graph_context){o->contexts.v[i], eq + 1};
	}
	g->contexts = p->contexts;
	g->n_contexts = o->contexts.n;
	g->build_args = &o->build_args;
	g->target = o->target;
	g->labels = &o->labels;
	g->add_hosts = &o->add_hosts;
	g->ulimits = &o->ulimits;
	g->network = o->network ? o->network : "default";
	g->hostname = build_arg(o, "BUILDKIT_SANDBOX_HOSTNAME");
	g->cache_mount_ns = build_arg(o, "BUILDKIT_CACHE_MOUNT_NS");
	g->shm_size = o->shm_size;
	g->epoch = (struct graph_time){o->has_epoch, o->epoch};
	g->no_cache = o->no_cache;
	g->no_cache_filter = &o->no_cache_filter;
	g->allow_insecure = strv_contains(&o->allow, "security.insecure");
	/* docker build gives RUN --network=host without asking; the person at the command line is
	 * trusted, the Dockerfile is not. */
	g->allow_network_host =
	        strv_contains(&o->allow, "network.host") || str_eq(g->network, "host");
	return 0;
}

static int plan(struct build *b, const struct plan_options *p, struct error *err)
{
	for (;;) {
		_cleanup_free_ struct graph_base *bases = new0(struct graph_base, b->n_images);
		for (size_t i = 0; i < b->n_images; i++)
			bases[i] = (struct graph_base){b->images[i]->asked, b->images[i]->platform,
			        &b->images[i]->config, b->images[i]->digest};
		struct graph_needed *need = NULL;
		size_t n_need = 0;
		int rc = graph_build(b->file, &p->g, bases, b->n_images, &b->result->warnings,
		        &b->graph, &need, &n_need, err);
		if (rc <= 0)
			return rc;
		rc = 0;
		for (size_t i = 0; i < n_need && rc >= 0; i++)
			rc = build_resolve_image(b, &need[i], err);
		graph_needed_free(need, n_need);
		if (rc < 0)
			return -1;
		if (build_interrupted(b))
			return err_set(err, ERR_CANCELLED, "interrupted");
	}
}

static int solve_once(struct build *b, const uint32_t *targets, struct error *err)
{
	struct solve_options so = {.jobs = b->o->jobs, .plan_only = b->o->dry_run};
	struct solve_ports ports = {.ctx = b,
	        .probe = port_probe,
	        .present = port_present,
	        .prepare = port_prepare,
	        .execute = port_execute,
	        .cancel = port_cancel,
	        .interrupted = port_interrupted,
	        .event = port_event};
	struct solve_output *outputs;
	struct solve_stats stats;
	if (solve_run(b->graph, targets, b->graph->n_targets, &so, &ports, &outputs, &stats, err) <
	        0)
		return -1;
	/* It takes its time to end, network program and all: beside the output, not after it. */
	sandbox_context_retire(b->sandbox);
	int rc = 0;
	if (b->o->dry_run)
		build_plan_reasons(b, outputs);
	else if ((rc = build_outputs(b, outputs, err)) >= 0)
		rc = cache_keep(b, err);
	if (rc >= 0 && !b->o->dry_run)
		rc = build_export_caches(b, outputs, err);
	free(outputs);
	return rc;
}

static int solve(struct build *b, struct error *err)
{
	const struct graph *g = b->graph;
	b->running = new0(struct sandbox_process *, g->n_nodes);
	b->steps = new0(struct step_state, g->n_nodes);
	_cleanup_free_ uint32_t *targets = new0(uint32_t, g->n_targets);
	for (size_t i = 0; i < g->n_targets; i++)
		targets[i] = g->targets[i].node;
	ui_total(b->ui, (unsigned)g->n_nodes);
	/* A recorded layer is read only when it is needed, and may turn out damaged then. It has
	 * been set aside, so that solving again finds it missing and makes it anew. Each round sets
	 * at least one layer aside; a disk that damages faster than that is not to be outrun. */
	int rc = solve_once(b, targets, err);
	for (int round = 0; rc < 0 && b->lost && round < 64; round++) {
		b->lost = b->cancelled = false;
		for (size_t i = 0; i < b->n_images; i++)
			b->images[i]->ensured = false;
		error_release(err);
		rc = solve_once(b, targets, err);
	}
	return rc;
}

/* note_unused_args - each with the ARG it may have been meant for. */
static void note_unused_args(struct build *b)
{
	const char *names[256];
	size_t n = 0;
	for (size_t i = 0; i < b->file->n_instrs; i++) {
		const struct df_instr *in = b->file->instrs[i];
		for (size_t k = 0; in->kind == DF_ARG && k < in->n_args && n < ARRAY_SIZE(names);
		        k++) {
			pthread_mutex_lock(&b->lock);
			names[n++] =
			        arena_strndup(&b->arena, in->args[k], strcspn(in->args[k], "="));
			pthread_mutex_unlock(&b->lock);
		}
	}
	for (size_t i = 0; i < b->graph->unused_build_args.n; i++) {
		const char *arg = b->graph->unused_build_args.v[i];
		const char *near = human_nearest(arg, names, n);
		strv_addf(&b->result->unused_build_args, "%s%s%s%s", arg,
		        near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
	}
}

static int run_stages(struct build *b, struct error *err)
{
	struct plan_options p;
	if (plan_options_init(b->o, &p, err) < 0) {
		plan_options_release(&p);
		return -1;
	}
	int rc = build_parse_caches(b, err);
	if (rc >= 0)
		rc = build_parse_outputs(b, err);
	if (rc >= 0)
		rc = build_load_definition(b, err);
	p.g.main_context_is_git = b->context_chain != NULL;
	if (rc >= 0) {
		df_warnings_init(&b->result->warnings, b->file);
		const char *check = build_arg(b->o, "BUILDKIT_DOCKERFILE_CHECK");
		if (check)
			rc = df_warnings_configure(&b->result->warnings, check, err);
		else if (error_is_set(&b->result->warnings.bad_check))
			rc = df_warnings_status(&b->result->warnings, err);
		df_lint(b->file, &b->result->warnings);
	}
	if (rc >= 0)
		rc = plan(b, &p, err);
	if (rc >= 0) {
		graph_lint_ignored(b->graph, b->ignore, &b->result->warnings);
		rc = df_warnings_status(&b->result->warnings, err);
		if (rc < 0)
			(void)err_at(err, b->file->name, b->result->warnings.v[0].line, 0);
	}
	if (rc >= 0)
		rc = solve(b, err);
	if (rc >= 0)
		note_unused_args(b);
	plan_options_release(&p);
	return rc;
}

/* place_excerpt - the lines that the error is about, for cli/ to print. */
static void place_excerpt(struct build *b, const struct error *err)
{
	if (!b->file || err->line <= 0 || !err->file || !str_eq(err->file, b->file->name))
		return;
	int end = err->line;
	for (size_t i = 0; i < b->file->n_instrs; i++)
		if (b->file->instrs[i]->line == err->line)
			end = b->file->instrs[i]->end_line;
	b->result->excerpt = df_excerpt(b->file, err->line, end);
}

/* start_clock - and an id short enough to be typed. */
static void start_clock(struct build *b)
{
	struct timespec ts;
	struct sha256 h;
	struct digest d;
	char hex[DIGEST_HEX_MAX];
	clock_gettime(CLOCK_REALTIME, &ts);
	sha256_init(&h);
	sha256_u64(&h, (uint64_t)ts.tv_sec);
	sha256_u64(&h, (uint64_t)ts.tv_nsec);
	sha256_u64(&h, (uint64_t)getpid());
	sha256_final(&h, &d);
	b->id = xasprintf("%.12s", digest_hex(&d, hex));
	b->started_wall = (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
	b->started_ms = now_ms();
}

static void steps_free(struct build *b)
{
	for (size_t i = 0; b->steps && i < b->graph->n_nodes; i++) {
		json_decref(b->steps[i].why);
		json_decref(b->steps[i].debug);
	}
	free(b->steps);
}

int build_run(struct store *store, const struct build_options *o, struct build_result *ret,
        struct error *err)
{
	struct build b = {.o = o, .store = store, .result = ret};
	start_clock(&b);
	pthread_mutex_init(&b.lock, NULL);
	struct ui_options uo = {
	        .mode = o->progress, .fd = STDERR_FILENO, .no_color = getenv("NO_COLOR") != NULL};
	b.ui = ui_new(&uo);
	b.pool = pool_new_lazy((unsigned)MAX(sysconf(_SC_NPROCESSORS_ONLN), 1));
	open_leaks(&b);
	int rc = store_lease_new(store, &b.lease, err);
	if (rc >= 0)
		rc = run_stages(&b, err);
	if (rc < 0)
		place_excerpt(&b, err);
	if (o->explain || o->dry_run)
		ret->steps = build_steps_json(&b);
	if (!o->dry_run)
		history_write(&b, rc, err);
	if (b.failed && !build_interrupted(&b))
		ui_message(b.ui,
		        "a shell in the step that failed, as it left things; when it ends, the "
		        "build does");
	ui_free(b.ui);
	if (b.failed && !build_interrupted(&b)) {
		_cleanup_error_ struct error e = ERROR_INIT;
		if (debug_failed_shell(&b, &e) < 0)
			(void)err_hint(err, "no shell could be opened in it: %s", e.msg);
	}
	run_state_free(&b, b.failed);
	sandbox_context_free(b.sandbox);
	build_contexts_free(&b);
	build_free_outputs(&b);
	build_free_caches(&b);
	registry_client_free(b.registry);
	pool_free(b.pool);
	leak_values_free(b.leaks);
	steps_free(&b);
	graph_free(b.graph);
	for (size_t i = 0; i < b.n_images; i++)
		build_image_free(b.images[i]);
	free(b.images);
	free(b.running);
	free(b.context_dir);
	strv_release(&b.materials);
	df_ignore_free(b.ignore);
	build_trash_end(&b);
	store_lease_free(b.lease);
	arena_release(&b.arena);
	pthread_mutex_destroy(&b.lock);
	free(b.id);
	return rc;
}
