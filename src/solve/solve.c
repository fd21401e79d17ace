/* solve/solve.c - the scheduler; see solve.h for the model.
 *
 * Ids are in topological order, so one sweep from high to low spreads demand and one from low to
 * high starts what can start. A sweep is linear in the nodes and happens once an event: events are
 * processes and file copies, so it never shows. */
#include "solve/solve.h"
#include "base/pool.h"

#include <pthread.h>
#include <time.h>

enum demand { DEMAND_NONE, DEMAND_KEY, DEMAND_FULL };

enum state {
	ST_NEW,     /* nothing known */
	ST_PROBING, /* a worker looks for it */
	ST_MISSED,  /* not on record: must execute */
	ST_KNOWN,   /* on record; whether the layer is there has not mattered yet */
	ST_RUNNING,
	ST_DONE, /* there in full */
};

struct node_state {
	enum state st;
	enum demand demand;
	bool announced; /* SOLVE_CACHED was sent */
	bool redo;      /* an input was made anew while this was being probed */
	bool checked_present, present;
};

struct job {
	struct solver *s;
	const struct graph_node *node;
	bool probe;
	struct solve_output *inputs;
	struct solve_output out;
	bool cached;
	int rc;
	struct error err;
	struct job *next;
};

struct solver {
	const struct graph *g;
	const struct solve_ports *p;
	struct node_state *ns;
	struct solve_output *out;
	struct solve_stats stats;
	bool threaded; /* prepare() was called */
	bool stopping;
	unsigned jobs, running;
	struct error *err; /* first failure */
	pthread_mutex_t lock;
	pthread_cond_t cond;
	struct job *finished; /* under lock, as is all below */
	struct job *queue;    /* for the workers */
	pthread_cond_t work;
	unsigned idle;
	bool quit;
	pthread_t *workers;
	size_t n_workers, cap_workers;
};

static bool is_rootfs_op(const struct graph_node *n)
{
	return n->op == GRAPH_RUN || n->op == GRAPH_COPY || n->op == GRAPH_WORKDIR;
}

static bool is_known(const struct solver *s, uint32_t id)
{
	return s->ns[id].st == ST_KNOWN || s->ns[id].st == ST_DONE;
}

static bool inputs_known(const struct solver *s, const struct graph_node *n)
{
	for (size_t i = 0; i < n->n_inputs; i++)
		if (n->inputs[i] != GRAPH_NONE && !is_known(s, n->inputs[i]))
			return false;
	return true;
}

static bool check_present(struct solver *s, const struct graph_node *n)
{
	struct node_state *st = &s->ns[n->id];
	if (!st->checked_present) {
		st->present = s->p->present(s->p->ctx, n, &s->out[n->id]);
		st->checked_present = true;
	}
	return st->present;
}

/* base_full - the chain below n is there (each link of it was demanded in full). */
static bool base_full(const struct solver *s, const struct graph_node *n)
{
	if (!is_rootfs_op(n) || n->n_inputs == 0 || n->inputs[0] == GRAPH_NONE)
		return true;
	return s->ns[n->inputs[0]].st == ST_DONE;
}

static bool inputs_full(const struct solver *s, const struct graph_node *n)
{
	for (size_t i = 0; i < n->n_inputs; i++)
		if (n->inputs[i] != GRAPH_NONE && s->ns[n->inputs[i]].st != ST_DONE)
			return false;
	return true;
}

static void raise_demand(struct solver *s, uint32_t id, enum demand d)
{
	if (id != GRAPH_NONE && s->ns[id].demand < d)
		s->ns[id].demand = d;
}

/* must_execute - given what is known now, is there no way around running n? */
static bool must_execute(struct solver *s, const struct graph_node *n)
{
	struct node_state *st = &s->ns[n->id];
	if (st->st == ST_MISSED)
		return true;
	return st->st == ST_KNOWN && st->demand == DEMAND_FULL && !check_present(s, n);
}

static void spread_demand(struct solver *s)
{
	for (size_t k = s->g->n_nodes; k-- > 0;) {
		const struct graph_node *n = s->g->nodes[k];
		struct node_state *st = &s->ns[k];
		if (st->demand == DEMAND_NONE || st->st == ST_DONE)
			continue;
		if (st->demand == DEMAND_FULL && is_rootfs_op(n) && n->n_inputs)
			raise_demand(s, n->inputs[0], DEMAND_FULL);
		enum demand d = st->st == ST_NEW     ? DEMAND_KEY
		                : must_execute(s, n) ? DEMAND_FULL
		                                     : DEMAND_NONE;
		for (size_t i = 0; i < n->n_inputs; i++)
			raise_demand(s, n->inputs[i], d);
	}
}

static struct solve_output *gather_inputs(const struct solver *s, const struct graph_node *n)
{
	struct solve_output *in = new0(struct solve_output, n->n_inputs);
	for (size_t i = 0; i < n->n_inputs; i++)
		if (n->inputs[i] != GRAPH_NONE)
			in[i] = s->out[n->inputs[i]];
	return in;
}

static void announce_cached(struct solver *s, const struct graph_node *n)
{
	if (s->ns[n->id].announced)
		return;
	s->ns[n->id].announced = true;
	s->stats.cached++;
	s->p->event(s->p->ctx, n, SOLVE_CACHED, NULL);
}

static void fail(struct solver *s, const struct graph_node *n, struct error *err)
{
	bool first = !s->stopping;
	if (first && n)
		s->p->event(s->p->ctx, n, SOLVE_FAILED, err);
	else if (n)
		s->p->event(s->p->ctx, n, SOLVE_CANCELLED, NULL);
	if (first) {
		s->stopping = true;
		error_move(s->err, err);
		if (s->running)
			s->p->cancel(s->p->ctx);
	}
	error_release(err);
}

static void job_run(struct job *j)
{
	struct solver *s = j->s;
	if (j->probe)
		j->rc = s->p->probe(s->p->ctx, j->node, j->inputs, &j->out, &j->err);
	else
		j->rc = s->p->execute(s->p->ctx, j->node, j->inputs, &j->out, &j->cached, &j->err);
	pthread_mutex_lock(&s->lock);
	j->next = s->finished;
	s->finished = j;
	pthread_cond_signal(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

static void *worker_main(void *arg)
{
	struct solver *s = arg;
	pthread_mutex_lock(&s->lock);
	for (;;) {
		struct job *j = s->queue;
		if (j) {
			s->queue = j->next;
			pthread_mutex_unlock(&s->lock);
			job_run(j);
			pthread_mutex_lock(&s->lock);
		} else if (s->quit) {
			break;
		} else {
			s->idle++;
			pthread_cond_wait(&s->work, &s->lock);
			s->idle--;
		}
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static bool add_worker(struct solver *s)
{
	vec_grow(&s->workers, &s->cap_workers, s->n_workers + 1);
	bool made = thread_start(&s->workers[s->n_workers], worker_main, s);
	s->n_workers += made;
	return made;
}

static void end_workers(struct solver *s)
{
	pthread_mutex_lock(&s->lock);
	s->quit = true;
	pthread_cond_broadcast(&s->work);
	pthread_mutex_unlock(&s->lock);
	for (size_t i = 0; i < s->n_workers; i++)
		pthread_join(s->workers[i], NULL);
	free(s->workers);
}

/* hand_over - to a worker: a thread a running operation, as these are long and block in the kernel.
 * False: there is no thread to be had. */
static bool hand_over(struct solver *s, struct job *j)
{
	pthread_mutex_lock(&s->lock);
	size_t waiting = 0;
	for (const struct job *q = s->queue; q; q = q->next)
		waiting++;
	bool taken = s->idle > waiting || add_worker(s);
	if (taken) {
		j->next = s->queue;
		s->queue = j;
		pthread_cond_signal(&s->work);
	}
	pthread_mutex_unlock(&s->lock);
	return taken;
}

static int start_job(struct solver *s, const struct graph_node *n, bool probe)
{
	struct error err = ERROR_INIT;
	if (!s->threaded) {
		if (s->p->prepare(s->p->ctx, &err) < 0) {
			fail(s, NULL, &err);
			return -1;
		}
		s->threaded = true;
	}
	struct job *j = new0(struct job, 1);
	*j = (struct job){.s = s, .node = n, .probe = probe, .inputs = gather_inputs(s, n)};
	s->ns[n->id].st = probe ? ST_PROBING : ST_RUNNING;
	if (!probe)
		s->p->event(s->p->ctx, n, SOLVE_STARTED, NULL);
	s->running++;
	if (!hand_over(s, j)) /* the loop does it itself */
		job_run(j);
	return 0;
}

static void probed(struct solver *s, const struct graph_node *n, int rc,
        const struct solve_output *out, struct error *err)
{
	struct node_state *st = &s->ns[n->id];
	if (rc < 0) {
		fail(s, n, err);
	} else if (rc == 0) {
		st->st = ST_MISSED;
	} else {
		st->st = ST_KNOWN;
		s->out[n->id] = *out;
	}
}

/* advance - start or settle what can be. Returns true if a state changed without a job. */
static bool advance(struct solver *s)
{
	bool changed = false;
	for (size_t k = 0; k < s->g->n_nodes && !s->stopping; k++) {
		const struct graph_node *n = s->g->nodes[k];
		struct node_state *st = &s->ns[k];
		if (st->demand == DEMAND_NONE)
			continue;
		if (st->st == ST_NEW && inputs_known(s, n)) {
			if (s->threaded) {
				if (s->running < s->jobs && start_job(s, n, true) < 0)
					return false;
				continue;
			}
			struct error err = ERROR_INIT;
			struct solve_output out = {0};
			_cleanup_free_ struct solve_output *in = gather_inputs(s, n);
			int rc = s->p->probe(s->p->ctx, n, in, &out, &err);
			probed(s, n, rc, &out, &err);
			changed = true;
		}
		if (st->st == ST_KNOWN && st->demand == DEMAND_FULL && base_full(s, n) &&
		        check_present(s, n)) {
			st->st = ST_DONE;
			announce_cached(s, n);
			changed = true;
		}
	}
	return changed;
}

/* start_executions - apart from advance(), so that everything that can be known without running
 * anything is known first: the number of steps, the errors in COPY sources. */
static void start_executions(struct solver *s)
{
	for (size_t k = 0; k < s->g->n_nodes && !s->stopping && s->running < s->jobs; k++) {
		const struct graph_node *n = s->g->nodes[k];
		if (s->ns[k].demand != DEMAND_NONE && must_execute(s, n) && inputs_full(s, n))
			if (start_job(s, n, false) < 0)
				return;
	}
}

/* forget_dependents - n was made anew although it had been on record (its layer was lost): what was
 * found on top of the old result may not fit the new one. What stands in full stays: it is made of
 * the old one. */
static void forget_dependents(struct solver *s, uint32_t id)
{
	_cleanup_free_ bool *dirty = new0(bool, s->g->n_nodes);
	dirty[id] = true;
	for (size_t k = id + 1; k < s->g->n_nodes; k++) {
		const struct graph_node *n = s->g->nodes[k];
		struct node_state *st = &s->ns[k];
		for (size_t i = 0; i < n->n_inputs && !dirty[k]; i++)
			dirty[k] = n->inputs[i] != GRAPH_NONE && dirty[n->inputs[i]];
		if (!dirty[k])
			continue;
		if (st->st == ST_KNOWN) {
			st->st = ST_NEW;
			st->checked_present = false;
		} else if (st->st == ST_PROBING) {
			st->redo = true;
		} else if (st->st != ST_NEW && st->st != ST_MISSED) {
			dirty[k] = false;
		}
	}
}

static void finish_job(struct solver *s, struct job *j)
{
	const struct graph_node *n = j->node;
	s->running--;
	if (j->probe && s->ns[n->id].redo) {
		s->ns[n->id].redo = false;
		s->ns[n->id].st = ST_NEW;
	} else if (j->probe) {
		probed(s, n, j->rc, &j->out, &j->err);
	} else if (j->rc < 0) {
		fail(s, n, &j->err);
	} else {
		s->ns[n->id].st = ST_DONE;
		s->out[n->id] = j->out;
		forget_dependents(s, n->id);
		if (j->cached) {
			announce_cached(s, n);
		} else {
			s->stats.executed++;
			s->p->event(s->p->ctx, n, SOLVE_DONE, NULL);
		}
	}
	error_release(&j->err);
	free(j->inputs);
	free(j);
}

/* wait_jobs - at least one finished job is taken in, or 100 ms passed (to look at interrupts). */
static void wait_jobs(struct solver *s)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += 100 * 1000 * 1000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	pthread_mutex_lock(&s->lock);
	if (!s->finished)
		pthread_cond_timedwait(&s->cond, &s->lock, &until);
	struct job *j = s->finished;
	s->finished = NULL;
	pthread_mutex_unlock(&s->lock);
	while (j) {
		struct job *next = j->next;
		finish_job(s, j);
		j = next;
	}
	if (!s->stopping && s->p->interrupted && s->p->interrupted(s->p->ctx)) {
		struct error err = ERROR_INIT;
		(void)err_set(&err, ERR_CANCELLED, "interrupted");
		fail(s, NULL, &err);
	}
}

static bool targets_done(const struct solver *s, const uint32_t *targets, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (targets[i] != GRAPH_NONE && s->ns[targets[i]].st != ST_DONE)
			return false;
	return true;
}

/* settle - all that can be known without executing anything. */
static void settle(struct solver *s)
{
	do {
		spread_demand(s);
	} while (advance(s));
}

static void plan(struct solver *s)
{
	settle(s);
	for (size_t k = 0; k < s->g->n_nodes && !s->stopping; k++) {
		const struct graph_node *n = s->g->nodes[k];
		if (s->ns[k].demand == DEMAND_NONE)
			continue;
		if (s->ns[k].st == ST_NEW)
			s->p->event(s->p->ctx, n, SOLVE_DEPENDS, NULL);
		else if (must_execute(s, n))
			s->p->event(s->p->ctx, n, SOLVE_WOULD_RUN, NULL);
		else
			announce_cached(s, n);
	}
}

static void loop(struct solver *s, const uint32_t *targets, size_t n)
{
	while (!s->stopping && !targets_done(s, targets, n)) {
		settle(s);
		if (s->stopping || targets_done(s, targets, n))
			break;
		if (!s->running || s->threaded)
			start_executions(s);
		if (!s->running && !s->stopping) {
			/* Nothing runs and nothing can start: a hole in the rules above. */
			struct error err = ERROR_INIT;
			(void)err_set(&err, ERR_INTERNAL, "the scheduler came to a halt");
			fail(s, NULL, &err);
		}
		if (s->running)
			wait_jobs(s);
	}
	while (s->running)
		wait_jobs(s);
	/* What was known and used, but never needed in full, was cached as well. */
	for (size_t k = 0; k < s->g->n_nodes; k++)
		if (s->ns[k].st == ST_KNOWN && !s->stopping)
			announce_cached(s, s->g->nodes[k]);
}

int solve_run(const struct graph *g, const uint32_t *targets, size_t n_targets,
        const struct solve_options *o, const struct solve_ports *p,
        struct solve_output **ret_outputs, struct solve_stats *ret_stats, struct error *err)
{
	struct error first = ERROR_INIT;
	struct solver s = {.g = g, .p = p, .jobs = o->jobs, .err = &first};
	if (!s.jobs) {
		long cores = sysconf(_SC_NPROCESSORS_ONLN);
		s.jobs = (unsigned)MAX(cores * 2, 4);
	}
	s.ns = new0(struct node_state, g->n_nodes);
	s.out = new0(struct solve_output, g->n_nodes);
	pthread_mutex_init(&s.lock, NULL);
	pthread_cond_init(&s.cond, NULL);
	pthread_cond_init(&s.work, NULL);
	for (size_t i = 0; i < n_targets; i++)
		raise_demand(&s, targets[i], DEMAND_FULL);
	if (o->plan_only)
		plan(&s);
	else
		loop(&s, targets, n_targets);
	end_workers(&s);
	pthread_mutex_destroy(&s.lock);
	pthread_cond_destroy(&s.cond);
	pthread_cond_destroy(&s.work);
	free(s.ns);
	if (ret_stats)
		*ret_stats = s.stats;
	if (error_is_set(&first)) {
		free(s.out);
		error_move(err, &first);
		return -1;
	}
	*ret_outputs = s.out;
	return 0;
}
