/* codec/pipe.c - a sink at one end, a reader at the other, a bounded buffer between two threads.
 *
 * One thread writes and one reads, so each copies without the lock: the other only ever makes what
 * is its own larger. */
#include <pthread.h>

#include "base/pool.h"
#include "codec/stream.h"

struct pipe {
	pthread_mutex_t lock;
	pthread_cond_t moved;
	size_t cap, head, len;
	bool finished, broken; /* the writer is done, or gave up */
	bool unread;           /* the reader is gone: what is written is dropped */
	unsigned ends;         /* that still exist */
	unsigned char buf[];
};

struct pipe_sink {
	struct sink base;
	struct pipe *p;
};
struct pipe_reader {
	struct reader base;
	struct pipe *p;
};

/* The caller holds the lock and loses it. */
static void drop_end(struct pipe *p)
{
	bool last = --p->ends == 0;
	pthread_cond_broadcast(&p->moved);
	pthread_mutex_unlock(&p->lock);
	if (!last)
		return;
	pthread_cond_destroy(&p->moved);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

static int pipe_write(struct sink *s, const void *data, size_t n, struct error *err)
{
	struct pipe *p = ((struct pipe_sink *)s)->p;
	const unsigned char *from = data;
	(void)err;
	pthread_mutex_lock(&p->lock);
	while (n > 0 && !p->unread) {
		if (p->len == p->cap) {
			pthread_cond_wait(&p->moved, &p->lock);
			continue;
		}
		size_t at = (p->head + p->len) % p->cap;
		size_t k = MIN(n, MIN(p->cap - p->len, p->cap - at));
		pthread_mutex_unlock(&p->lock);
		memcpy(p->buf + at, from, k);
		pthread_mutex_lock(&p->lock);
		if (p->len == 0)
			pthread_cond_broadcast(&p->moved);
		p->len += k;
		from += k;
		n -= k;
	}
	pthread_mutex_unlock(&p->lock);
	return 0;
}

static int pipe_finish(struct sink *s, struct error *err)
{
	struct pipe *p = ((struct pipe_sink *)s)->p;
	(void)err;
	pthread_mutex_lock(&p->lock);
	p->finished = true;
	pthread_cond_broadcast(&p->moved);
	pthread_mutex_unlock(&p->lock);
	return 0;
}

static void pipe_sink_free(struct sink *s)
{
	struct pipe *p = ((struct pipe_sink *)s)->p;
	free(s);
	pthread_mutex_lock(&p->lock);
	p->broken = !p->finished;
	drop_end(p);
}

static ssize_t pipe_read(struct reader *r, void *to, size_t n, struct error *err)
{
	struct pipe *p = ((struct pipe_reader *)r)->p;
	pthread_mutex_lock(&p->lock);
	while (p->len == 0 && !p->finished && !p->broken)
		pthread_cond_wait(&p->moved, &p->lock);
	size_t k = MIN(n, MIN(p->len, p->cap - p->head));
	pthread_mutex_unlock(&p->lock);
	memcpy(to, p->buf + p->head, k);
	pthread_mutex_lock(&p->lock);
	p->head = (p->head + k) % p->cap;
	/* Wake the writer for a good piece, not for every byte. */
	bool was_full = p->len > p->cap / 2;
	p->len -= k;
	if (was_full && p->len <= p->cap / 2)
		pthread_cond_broadcast(&p->moved);
	bool broken = k == 0 && n > 0 && p->broken;
	pthread_mutex_unlock(&p->lock);
	return broken ? err_set(err, ERR_NETWORK, "the other end gave up") : (ssize_t)k;
}

static void pipe_reader_free(struct reader *r)
{
	struct pipe *p = ((struct pipe_reader *)r)->p;
	free(r);
	pthread_mutex_lock(&p->lock);
	p->unread = true;
	drop_end(p);
}

void stream_pipe(size_t size, struct sink **ret_in, struct reader **ret_out)
{
	struct pipe *p = xzalloc(sizeof(*p) + size);
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->moved, NULL);
	p->cap = size;
	p->ends = 2;
	struct pipe_sink *s = new0(struct pipe_sink, 1);
	*s = (struct pipe_sink){{pipe_write, pipe_finish, pipe_sink_free}, p};
	struct pipe_reader *r = new0(struct pipe_reader, 1);
	*r = (struct pipe_reader){{pipe_read, pipe_reader_free}, p};
	*ret_in = &s->base;
	*ret_out = &r->base;
}

/* --- a reader that reads ahead --------------------------------------------------------------- */

struct ahead {
	struct reader base;
	struct reader *next; /* the thread's until it is joined */
	struct sink *to;
	struct reader *from;
	pthread_t thread;
	bool running, stop;
	struct error err; /* of next */
};

#define AHEAD_CHUNK ((size_t)128 << 10)

static void *ahead_main(void *arg)
{
	struct ahead *a = arg;
	char *buf = xmalloc(AHEAD_CHUNK);
	ssize_t n;
	int rc = 0;
	while (rc == 0 && !__atomic_load_n(&a->stop, __ATOMIC_RELAXED) &&
	        (n = reader_read(a->next, buf, AHEAD_CHUNK, &a->err)) != 0)
		rc = n < 0 ? -1 : sink_write(a->to, buf, (size_t)n, &a->err);
	if (rc == 0)
		(void)!sink_finish(a->to, &a->err);
	sink_free(take_ptr(a->to));
	free(buf);
	return NULL;
}

static void ahead_join(struct ahead *a)
{
	if (a->running)
		pthread_join(a->thread, NULL);
	a->running = false;
}

static ssize_t ahead_read(struct reader *r, void *p, size_t n, struct error *err)
{
	struct ahead *a = (struct ahead *)r;
	ssize_t k = reader_read(a->from, p, n, err);
	if (k > 0)
		return k;
	ahead_join(a);
	if (!error_is_set(&a->err))
		return k;
	error_move(err, &a->err);
	return -1;
}

static void ahead_free(struct reader *r)
{
	struct ahead *a = (struct ahead *)r;
	__atomic_store_n(&a->stop, true, __ATOMIC_RELAXED);
	reader_free(a->from); /* what it is writing is dropped */
	ahead_join(a);
	reader_free(a->next);
	error_release(&a->err);
	free(a);
}

struct reader *reader_ahead(struct reader *next, size_t size)
{
	struct ahead *a = new0(struct ahead, 1);
	a->base = (struct reader){ahead_read, ahead_free};
	a->next = next;
	stream_pipe(size, &a->to, &a->from);
	a->running = thread_start(&a->thread, ahead_main, a);
	if (a->running)
		return &a->base;
	sink_free(a->to);
	reader_free(a->from);
	free(a);
	return next; /* no thread is to be had: one after the other, then */
}

/* --- a sink that writes behind --------------------------------------------------------------- */

struct behind {
	struct sink base;
	struct sink *next; /* the thread's until it is joined */
	struct sink *to;
	struct reader *from;
	pthread_t thread;
	bool running, given_up;
	struct error err; /* of next */
};

static void *behind_main(void *arg)
{
	struct behind *b = arg;
	char *buf = xmalloc(AHEAD_CHUNK);
	struct error broken = ERROR_INIT; /* the writer gave up: no news */
	ssize_t n;
	int rc = 0;
	while (rc == 0 && (n = reader_read(b->from, buf, AHEAD_CHUNK, &broken)) > 0)
		rc = sink_write(b->next, buf, (size_t)n, &b->err);
	if (rc == 0 && !error_is_set(&broken))
		rc = sink_finish(b->next, &b->err);
	if (rc < 0)
		__atomic_store_n(&b->given_up, true, __ATOMIC_RELAXED);
	reader_free(take_ptr(b->from));
	error_release(&broken);
	free(buf);
	return NULL;
}

static int behind_join(struct behind *b, struct error *err)
{
	if (b->running)
		pthread_join(b->thread, NULL);
	b->running = false;
	if (!error_is_set(&b->err))
		return 0;
	error_move(err, &b->err);
	return -1;
}

static int behind_write(struct sink *s, const void *p, size_t n, struct error *err)
{
	struct behind *b = (struct behind *)s;
	if (__atomic_load_n(&b->given_up, __ATOMIC_RELAXED) && behind_join(b, err) < 0)
		return -1;
	return sink_write(b->to, p, n, err);
}

static int behind_finish(struct sink *s, struct error *err)
{
	struct behind *b = (struct behind *)s;
	if (sink_finish(b->to, err) < 0)
		return -1;
	return behind_join(b, err);
}

static void behind_free(struct sink *s)
{
	struct behind *b = (struct behind *)s;
	struct error ignored = ERROR_INIT;
	sink_free(b->to);
	(void)!behind_join(b, &ignored);
	error_release(&ignored);
	sink_free(b->next);
	free(b);
}

struct sink *sink_behind(struct sink *next, size_t size)
{
	struct behind *b = new0(struct behind, 1);
	b->base = (struct sink){behind_write, behind_finish, behind_free};
	b->next = next;
	stream_pipe(size, &b->to, &b->from);
	b->running = thread_start(&b->thread, behind_main, b);
	if (b->running)
		return &b->base;
	sink_free(b->to);
	reader_free(b->from);
	free(b);
	return next; /* no thread is to be had: one after the other, then */
}
