/* base/pool.c - workers take the next index of the oldest unfinished job; see pool.h. */
#include "base/pool.h"

#include <pthread.h>
#include <signal.h>

/* So many calls are worth the start of the threads, whatever they do. */
#define LAZY_MIN 32

struct job {
	void (*fn)(void *, size_t);
	void *ctx;
	size_t n, next, done;
	struct job *link;
};

struct pool {
	pthread_mutex_t lock;
	pthread_cond_t work, finished;
	struct job *jobs; /* those with indices still to hand out */
	bool stop;
	unsigned n_workers, wanted; /* wanted: still to be started */
	pthread_t workers[];
};

static __thread bool in_worker;

static void unlink_job(struct pool *p, struct job *j)
{
	for (struct job **pp = &p->jobs; *pp; pp = &(*pp)->link)
		if (*pp == j) {
			*pp = j->link;
			return;
		}
}

/* run_one - called with the lock held; hands out one index of j and runs it unlocked. */
static void run_one(struct pool *p, struct job *j)
{
	size_t i = j->next++;
	if (j->next == j->n)
		unlink_job(p, j);
	pthread_mutex_unlock(&p->lock);
	j->fn(j->ctx, i);
	pthread_mutex_lock(&p->lock);
	if (++j->done == j->n)
		pthread_cond_broadcast(&p->finished);
}

static void *worker(void *arg)
{
	struct pool *p = arg;
	in_worker = true;
	pthread_mutex_lock(&p->lock);
	while (!p->stop) {
		if (p->jobs)
			run_one(p, p->jobs);
		else
			pthread_cond_wait(&p->work, &p->lock);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

struct pool *pool_new_lazy(unsigned n_threads)
{
	unsigned n = n_threads > 1 ? n_threads - 1 : 0;
	struct pool *p = xzalloc(sizeof(*p) + n * sizeof(pthread_t));
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->work, NULL);
	pthread_cond_init(&p->finished, NULL);
	p->wanted = n;
	return p;
}

void pool_start(struct pool *p)
{
	unsigned n = p ? p->wanted : 0;
	if (!n)
		return;
	p->wanted = 0;
	while (p->n_workers < n && thread_start(&p->workers[p->n_workers], worker, p))
		p->n_workers++; /* fewer threads (RLIMIT_NPROC) is slower, not wrong */
}

struct pool *pool_new(unsigned n_threads)
{
	struct pool *p = pool_new_lazy(n_threads);
	pool_start(p);
	return p;
}

void pool_free(struct pool *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->n_workers; i++)
		pthread_join(p->workers[i], NULL);
	pthread_cond_destroy(&p->work);
	pthread_cond_destroy(&p->finished);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

unsigned pool_size(const struct pool *p)
{
	return p ? p->n_workers + 1 : 1;
}

void pool_run(struct pool *p, size_t n, void (*fn)(void *ctx, size_t i), void *ctx)
{
	if (p && p->wanted && n >= LAZY_MIN)
		pool_start(p);
	if (!p || !p->n_workers || n < 2 || in_worker) {
		for (size_t i = 0; i < n; i++)
			fn(ctx, i);
		return;
	}
	struct job j = {fn, ctx, n, 0, 0, NULL};
	pthread_mutex_lock(&p->lock);
	struct job **tail = &p->jobs;
	while (*tail)
		tail = &(*tail)->link;
	*tail = &j;
	pthread_cond_broadcast(&p->work);
	while (j.next < j.n)
		run_one(p, &j);
	while (j.done < j.n)
		pthread_cond_wait(&p->finished, &p->lock);
	pthread_mutex_unlock(&p->lock);
}

bool thread_start(pthread_t *ret, void *(*fn)(void *arg), void *arg)
{
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	bool started = pthread_create(ret, NULL, fn, arg) == 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return started;
}
