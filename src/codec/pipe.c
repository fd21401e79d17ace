/* codec/pipe.c - a sink at one end, a reader at the other, a bounded buffer between two threads. */
#include <pthread.h>

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
		memcpy(p->buf + at, from, k);
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
	memcpy(to, p->buf + p->head, k);
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
