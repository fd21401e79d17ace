/* Unit tests of solve/: the scheduler against fakes, no file and no process in sight.
 *
 * A fake node has a record (is its result known?), a presence (is its layer there?) and a cost; the
 * test looks at which nodes were executed, in which order, and what was announced. */
#include "../tap.h"

#include <pthread.h>
#include <time.h>

#include "solve/solve.h"

enum { MAX_NODES = 32 };

struct fake {
	struct graph g;
	struct graph_node nodes[MAX_NODES];
	struct graph_node *ptrs[MAX_NODES];
	uint32_t inputs[MAX_NODES][4];
	bool recorded[MAX_NODES], present[MAX_NODES], fails[MAX_NODES], probe_fails[MAX_NODES];
	bool hit_after[MAX_NODES]; /* on record once its input was executed (early cut-off) */
	int sleep_ms[MAX_NODES];
	/* observed */
	pthread_mutex_t lock;
	int executed[MAX_NODES], probed[MAX_NODES], prepared, running, max_running, cancelled;
	bool inputs_missing; /* an execution began before an input was there */
	char events[1024];
	_Atomic bool stop;
};

static uint32_t add(struct fake *f, enum graph_op op, int n, const uint32_t *in)
{
	uint32_t id = (uint32_t)f->g.n_nodes++;
	for (int i = 0; i < n; i++)
		f->inputs[id][i] = in[i];
	f->nodes[id] = (struct graph_node){
	        .id = id, .op = op, .inputs = f->inputs[id], .n_inputs = (size_t)n};
	f->ptrs[id] = &f->nodes[id];
	return id;
}
#define ADD(f, op, ...)                                                                            \
	add(f, op, (int)(sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t)),                    \
	        (uint32_t[]){__VA_ARGS__})

static struct fake *fake_new(void)
{
	struct fake *f = xzalloc(sizeof(*f));
	f->g.nodes = f->ptrs;
	pthread_mutex_init(&f->lock, NULL);
	return f;
}

static int probe(void *ctx, const struct graph_node *n, const struct solve_output *in,
        struct solve_output *ret, struct error *err)
{
	struct fake *f = ctx;
	f->probed[n->id]++;
	if (f->probe_fails[n->id])
		return err_set(err, ERR_BUILD, "no such file");
	if (n->op == GRAPH_IMAGE || n->op == GRAPH_LOCAL || f->recorded[n->id] ||
	        f->hit_after[n->id]) {
		ret->key.b[0] = (uint8_t)(n->id + 1);
		return 1;
	}
	return 0;
}

static bool present(void *ctx, const struct graph_node *n, const struct solve_output *out)
{
	struct fake *f = ctx;
	return n->op == GRAPH_IMAGE || n->op == GRAPH_LOCAL || f->present[n->id];
}

static int prepare(void *ctx, struct error *err)
{
	((struct fake *)ctx)->prepared++;
	return 0;
}

static int execute(void *ctx, const struct graph_node *n, const struct solve_output *in,
        struct solve_output *ret, bool *ret_cached, struct error *err)
{
	struct fake *f = ctx;
	pthread_mutex_lock(&f->lock);
	for (size_t i = 0; i < n->n_inputs; i++)
		if (n->inputs[i] != GRAPH_NONE && in[i].key.b[0] != n->inputs[i] + 1)
			f->inputs_missing = true;
	f->executed[n->id]++;
	if (++f->running > f->max_running)
		f->max_running = f->running;
	pthread_mutex_unlock(&f->lock);
	for (int ms = 0; ms < f->sleep_ms[n->id] && !f->stop; ms += 5)
		nanosleep(&(struct timespec){.tv_nsec = 5 * 1000 * 1000}, NULL);
	pthread_mutex_lock(&f->lock);
	f->running--;
	f->present[n->id] = true;
	pthread_mutex_unlock(&f->lock);
	if (f->stop)
		return err_set(err, ERR_CANCELLED, "cancelled");
	if (f->fails[n->id])
		return err_set(err, ERR_BUILD, "exit code: 1");
	ret->key.b[0] = (uint8_t)(n->id + 1);
	return 0;
}

static void cancel(void *ctx)
{
	struct fake *f = ctx;
	f->cancelled++;
	f->stop = true;
}

static void event(
        void *ctx, const struct graph_node *n, enum solve_event ev, const struct error *err)
{
	struct fake *f = ctx;
	static const char letters[] = "CSDFXW?";
	size_t len = strlen(f->events);
	snprintf(f->events + len, sizeof(f->events) - len, "%s%c%u", len ? " " : "", letters[ev],
	        n->id);
}

static int run(struct fake *f, uint32_t target, unsigned jobs, struct error *err)
{
	struct solve_ports p = {f, probe, present, prepare, execute, cancel, NULL, event};
	struct solve_options o = {jobs};
	struct solve_output *out = NULL;
	struct solve_stats st;
	int rc = solve_run(&f->g, &target, 1, &o, &p, &out, &st, err);
	if (rc == 0)
		ok(out[target].key.b[0] == target + 1, "the target has an output");
	free(out);
	return rc;
}

static int executed(const struct fake *f)
{
	int n = 0;
	for (size_t i = 0; i < f->g.n_nodes; i++)
		n += f->executed[i];
	return n;
}

/* image 0 <- run 1 <- run 2 */
static struct fake *chain(void)
{
	struct fake *f = fake_new();
	ADD(f, GRAPH_IMAGE, GRAPH_NONE);
	f->nodes[0].n_inputs = 0;
	ADD(f, GRAPH_RUN, 0);
	ADD(f, GRAPH_RUN, 1);
	return f;
}

static void test_all_cached(void)
{
	struct error err = ERROR_INIT;
	struct fake *f = chain();
	f->recorded[1] = f->recorded[2] = f->present[1] = f->present[2] = true;
	is_int(run(f, 2, 2, &err), 0, "a cached chain succeeds");
	is_int(executed(f), 0, "nothing is executed");
	is_int(f->prepared, 0, "no rights are taken");
	is_str(f->events, "C0 C1 C2", "announced in order");
	free(f);
}

static void test_cold(void)
{
	struct error err = ERROR_INIT;
	struct fake *f = chain();
	is_int(run(f, 2, 2, &err), 0, "a cold chain succeeds");
	is_int(executed(f), 2, "both steps run");
	is_int(f->prepared, 1, "rights are taken once");
	ok(!f->inputs_missing, "each step had its input");
	is_str(f->events, "C0 S1 D1 S2 D2", "one after the other");
	free(f);
}

static void test_lost_layer(void)
{
	struct error err = ERROR_INIT;
	struct fake *f = chain();
	f->recorded[1] = f->recorded[2] = f->present[2] =
	        true; /* 1 is on record, its layer is gone */
	is_int(run(f, 2, 2, &err), 0, "a lost layer is made again");
	is_int(f->executed[1], 1, "the step whose layer is gone runs");
	is_int(f->executed[2], 0, "the step above stays cached");
	free(f);
}

/* stage A: image 0 <- run 1; final: image 2 <- copy 3 (from 1) */
static struct fake *two_stages(void)
{
	struct fake *f = fake_new();
	ADD(f, GRAPH_IMAGE, GRAPH_NONE);
	f->nodes[0].n_inputs = 0;
	ADD(f, GRAPH_RUN, 0);
	ADD(f, GRAPH_IMAGE, GRAPH_NONE);
	f->nodes[2].n_inputs = 0;
	ADD(f, GRAPH_COPY, 2, 1);
	return f;
}

static void test_intermediate_not_needed(void)
{
	struct error err = ERROR_INIT;
	struct fake *f = two_stages();
	f->recorded[1] = f->recorded[3] = f->present[3] = true;
	is_int(run(f, 3, 2, &err), 0, "a cached copy does not need its source");
	is_int(executed(f), 0, "the builder stage whose layer was pruned does not run");
	free(f);
	f = two_stages();
	f->recorded[1] = true; /* copy is a miss, its source is gone */
	is_int(run(f, 3, 2, &err), 0, "a missed copy brings its source back");
	is_int(f->executed[1], 1, "the source runs again");
	is_int(f->executed[3], 1, "then the copy");
	ok(!f->inputs_missing, "in that order");
	free(f);
}

static void test_cutoff(void)
{
	struct error err = ERROR_INIT;
	struct fake *f = two_stages();
	f->hit_after[3] = f->present[3] = true; /* run 1 must run, its output is as before */
	is_int(run(f, 3, 2, &err), 0, "equal output cuts off");
	is_int(f->executed[1], 1, "the changed step runs");
	is_int(f->executed[3], 0, "what follows is cached");
	free(f);
}

static void test_failure(void)
{
	struct error err = ERROR_INIT;
	struct fake *f = fake_new();
	ADD(f, GRAPH_RUN, GRAPH_NONE); /* 0 fails */
	ADD(f, GRAPH_RUN, GRAPH_NONE); /* 1 runs long */
	ADD(f, GRAPH_COPY, 0, 1);      /* 2 */
	f->fails[0] = true;
	f->sleep_ms[0] = 20;
	f->sleep_ms[1] = 60000;
	is_int(run(f, 2, 4, &err), -1, "a failing step fails the build");
	is_str(err.msg, "exit code: 1", "its error is the one reported");
	is_int(f->cancelled, 1, "what else runs is cancelled");
	is_int(f->executed[2], 0, "what depends on it does not start");
	ok(strstr(f->events, "F0") && strstr(f->events, "X1"),
	        "failed and cancelled are told apart");
	error_release(&err);
	free(f);
	f = two_stages();
	f->probe_fails[3] = f->recorded[1] = true;
	is_int(run(f, 3, 4, &err), -1, "a missing COPY source fails the build");
	is_int(executed(f), 0, "before anything ran");
	error_release(&err);
	free(f);
}

static void test_width(void)
{
	struct error err = ERROR_INIT;
	for (unsigned jobs = 1; jobs <= 4; jobs += 3) {
		struct fake *f = fake_new();
		for (int i = 0; i < 4; i++) {
			ADD(f, GRAPH_RUN, GRAPH_NONE);
			f->sleep_ms[i] = 100;
		}
		ADD(f, GRAPH_COPY, 0, 1, 2, 3);
		is_int(run(f, 4, jobs, &err), 0, "four stages side by side");
		is_int(f->max_running, jobs, "as wide as allowed");
		free(f);
	}
}

static void test_unneeded(void)
{
	struct error err = ERROR_INIT;
	struct fake *f = two_stages();
	is_int(run(f, 1, 2, &err), 0, "only the first stage is the target");
	is_int(f->executed[3] + f->probed[3] + f->probed[2], 0, "the rest is not even looked at");
	free(f);
}

/* A layer that was lost is made anew: what had been found on top of the old one is looked up again,
 * as the new one may be another, and carries another value in any case. */
static void test_remade_base(void)
{
	struct error err = ERROR_INIT;
	struct fake *f = fake_new();
	ADD(f, GRAPH_IMAGE);
	ADD(f, GRAPH_RUN, 0); /* on record, lost */
	ADD(f, GRAPH_RUN, 1); /* on record, there */
	ADD(f, GRAPH_RUN, 2);
	for (int i = 1; i <= 3; i++)
		f->recorded[i] = f->present[i] = true;
	f->present[1] = false;
	is_int(run(f, 3, 2, &err), 0, "a lost layer at the bottom");
	is_int(f->executed[1], 1, "it is made anew");
	is_int(f->executed[2] + f->executed[3], 0, "what is on top is not");
	is_int(f->probed[2], 2, "but it is looked up again");
	is_int(f->probed[3], 2, "all the way up");
	is_int(f->probed[1], 1, "what is below is not");
	is_str(f->events, "C0 S1 D1 C2 C3", "and is told once");
	free(f);
}

/* A plan: what is certain, what would run, what waits for that; nothing is touched. */
static void test_plan(void)
{
	struct error err = ERROR_INIT;
	struct fake *f = fake_new();
	ADD(f, GRAPH_IMAGE);
	ADD(f, GRAPH_RUN, 0);     /* on record and there */
	ADD(f, GRAPH_RUN, 1);     /* on record, its layer is gone, and it is needed below */
	ADD(f, GRAPH_RUN, 2);     /* not on record */
	ADD(f, GRAPH_RUN, 3);     /* depends */
	ADD(f, GRAPH_COPY, 1, 4); /* depends */
	f->recorded[1] = f->present[1] = f->recorded[2] = true;
	struct solve_ports p = {f, probe, present, prepare, execute, cancel, NULL, event};
	struct solve_options o = {.plan_only = true};
	struct solve_output *out = NULL;
	is_int(solve_run(&f->g, &(uint32_t){5}, 1, &o, &p, &out, NULL, &err), 0, "a plan");
	is_str(f->events, "C0 C1 W2 W3 ?4 ?5", "each node once, in order, with its verdict");
	is_int(executed(f) + f->prepared, 0, "nothing was run, nothing prepared");
	is_int(f->probed[4], 0, "what is not known is not looked up");
	ok(out[3].key.b[0] == 0 && out[2].key.b[0] == 3, "outputs of what is known");
	free(out);
	free(f);
	f = fake_new();
	p.ctx = f;
	ADD(f, GRAPH_LOCAL);
	ADD(f, GRAPH_COPY, GRAPH_NONE, 0);
	f->probe_fails[1] = true;
	is_int(solve_run(&f->g, &(uint32_t){1}, 1, &o, &p, &out, NULL, &err), -1,
	        "a missing source fails a plan too");
	error_release(&err);
	free(f);
}

int main(void)
{
	test_plan();
	test_remade_base();
	test_all_cached();
	test_cold();
	test_lost_layer();
	test_intermediate_not_needed();
	test_cutoff();
	test_failure();
	test_width();
	test_unneeded();
	return tap_done();
}
