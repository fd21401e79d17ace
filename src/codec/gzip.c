/* codec/gzip.c - gzip as independent members of 1 MiB input each: docs/formats/gzip.md.
 *
 * Invariants: where members begin depends on the input's length alone, and each is compressed by
 * itself, so that the bytes are the same for every number of threads. Memory is a ring of blocks,
 * each with an input and an output buffer. The thread that writes fills blocks, hands them to the
 * workers, and passes finished ones on in order; when it would have to wait it compresses a block
 * itself. Small inputs never start a thread. */
#include "codec/gzip.h"

#include <libdeflate.h>
#include <pthread.h>
#include <signal.h>

#define BLOCK_SIZE ((size_t)1024 * 1024)

enum block_state { BLOCK_FREE, BLOCK_QUEUED, BLOCK_RUNNING, BLOCK_DONE };

struct block {
	enum block_state state;
	unsigned char *in, *out;
	size_t n_in, n_out;
};

struct gzip_sink {
	struct sink base;
	struct sink *next;
	int level;
	size_t bound;
	struct libdeflate_compressor *own; /* of the writing thread */

	struct block *ring;
	size_t n_ring;
	/* Sequence numbers of blocks; ring[seq % n_ring]. head <= job <= tail <= head + n_ring:
	 * [head, job) are with somebody or done, [job, tail) wait, tail is being filled. */
	size_t head, job, tail;

	pthread_mutex_t lock;
	pthread_cond_t work, done;
	pthread_t *threads;
	unsigned n_threads, n_started;
	bool quit;
};

static struct block *at(struct gzip_sink *z, size_t seq)
{
	return &z->ring[seq % z->n_ring];
}

static void compress_block(struct gzip_sink *z, struct libdeflate_compressor *c, struct block *b)
{
	/* The bound is a promise of the library: 0 would be its bug, found by the writer. */
	b->n_out = libdeflate_gzip_compress(c, b->in, b->n_in, b->out, z->bound);
}

static struct libdeflate_compressor *new_compressor(int level)
{
	struct libdeflate_compressor *c = libdeflate_alloc_compressor(level);
	if (!c)
		abort(); /* out of memory: a megabyte */
	return c;
}

/* take_job - under the lock; NULL: nothing waits. */
static struct block *take_job(struct gzip_sink *z)
{
	if (z->job == z->tail)
		return NULL;
	struct block *b = at(z, z->job++);
	b->state = BLOCK_RUNNING;
	return b;
}

static void *worker(void *arg)
{
	struct gzip_sink *z = arg;
	struct libdeflate_compressor *c = new_compressor(z->level);
	pthread_mutex_lock(&z->lock);
	while (!z->quit) {
		struct block *b = take_job(z);
		if (!b) {
			pthread_cond_wait(&z->work, &z->lock);
			continue;
		}
		pthread_mutex_unlock(&z->lock);
		compress_block(z, c, b);
		pthread_mutex_lock(&z->lock);
		b->state = BLOCK_DONE;
		pthread_cond_signal(&z->done);
	}
	pthread_mutex_unlock(&z->lock);
	libdeflate_free_compressor(c);
	return NULL;
}

/* A worker must not take the signals that the main thread waits for. No thread to be had is fine:
 * the writer compresses by itself. */
static void start_worker(struct gzip_sink *z)
{
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (pthread_create(&z->threads[z->n_started], NULL, worker, z) == 0)
		z->n_started++;
	else
		z->n_threads = z->n_started + 1;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static int pass_on(struct gzip_sink *z, const unsigned char *p, size_t n, struct error *err)
{
	if (n == 0)
		return err_set(err, ERR_INTERNAL, "gzip: a block did not fit its bound");
	return sink_write(z->next, p, n, err);
}

/* drain - pass finished blocks on, in order, until at most `keep` are left; helping meanwhile. */
static int drain(struct gzip_sink *z, size_t keep, struct error *err)
{
	pthread_mutex_lock(&z->lock);
	while (z->head < z->tail) {
		struct block *b = at(z, z->head);
		if (b->state != BLOCK_DONE) {
			struct block *mine;
			if (z->tail - z->head <= keep)
				break;
			mine = take_job(z);
			if (!mine) {
				pthread_cond_wait(&z->done, &z->lock);
				continue;
			}
			pthread_mutex_unlock(&z->lock);
			compress_block(z, z->own, mine);
			pthread_mutex_lock(&z->lock);
			mine->state = BLOCK_DONE;
			continue;
		}
		z->head++;
		pthread_mutex_unlock(&z->lock);
		/* Nobody else touches a block between DONE and its reuse by this thread. */
		if (pass_on(z, b->out, b->n_out, err) < 0)
			return -1;
		b->state = BLOCK_FREE;
		b->n_in = 0;
		pthread_mutex_lock(&z->lock);
	}
	pthread_mutex_unlock(&z->lock);
	return 0;
}

/* submit - the block at tail is complete. */
static int submit(struct gzip_sink *z, struct error *err)
{
	pthread_mutex_lock(&z->lock);
	at(z, z->tail)->state = BLOCK_QUEUED;
	z->tail++;
	pthread_cond_signal(&z->work);
	pthread_mutex_unlock(&z->lock);
	/* The first block may be all there is; from the second on there is work to share. */
	if (z->tail > 1 && z->n_started + 1 < z->n_threads)
		start_worker(z);
	return drain(z, z->n_ring - 1, err);
}

static int gzip_write(struct sink *s, const void *p, size_t n, struct error *err)
{
	struct gzip_sink *z = (struct gzip_sink *)s;
	const unsigned char *from = p;
	while (n) {
		struct block *b = at(z, z->tail);
		if (!b->in) {
			b->in = xmalloc(BLOCK_SIZE);
			b->out = xmalloc(z->bound);
		}
		size_t k = MIN(n, BLOCK_SIZE - b->n_in);
		memcpy(b->in + b->n_in, from, k);
		b->n_in += k;
		from += k;
		n -= k;
		if (b->n_in == BLOCK_SIZE && submit(z, err) < 0)
			return -1;
	}
	return 0;
}

static int gzip_finish(struct sink *s, struct error *err)
{
	struct gzip_sink *z = (struct gzip_sink *)s;
	struct block *b = at(z, z->tail);
	/* Nothing at all is one empty member: zero bytes are no gzip file. */
	if (z->tail == 0 && !b->in) {
		b->in = xmalloc(1);
		b->out = xmalloc(z->bound);
	}
	if ((b->n_in || z->tail == 0) && submit(z, err) < 0)
		return -1;
	if (drain(z, 0, err) < 0)
		return -1;
	return sink_finish(z->next, err);
}

static void gzip_free(struct sink *s)
{
	struct gzip_sink *z = (struct gzip_sink *)s;
	pthread_mutex_lock(&z->lock);
	z->quit = true;
	pthread_cond_broadcast(&z->work);
	pthread_mutex_unlock(&z->lock);
	for (unsigned i = 0; i < z->n_started; i++)
		pthread_join(z->threads[i], NULL);
	for (size_t i = 0; i < z->n_ring; i++) {
		free(z->ring[i].in);
		free(z->ring[i].out);
	}
	free(z->ring);
	free(z->threads);
	libdeflate_free_compressor(z->own);
	pthread_cond_destroy(&z->work);
	pthread_cond_destroy(&z->done);
	pthread_mutex_destroy(&z->lock);
	sink_free(z->next);
	free(z);
}

struct sink *gzip_sink_new(struct sink *next, int level, unsigned n_threads)
{
	struct gzip_sink *z = new0(struct gzip_sink, 1);
	z->base = (struct sink){gzip_write, gzip_finish, gzip_free};
	z->next = next;
	z->level = level < 0 ? 6 : MIN(level, 12);
	z->own = new_compressor(z->level);
	z->bound = libdeflate_gzip_compress_bound(z->own, BLOCK_SIZE);
	z->n_threads = n_threads ? MIN(n_threads, CODEC_THREADS_MAX) : 1;
	/* One being filled, one for each thread, and as many ready or written. */
	z->n_ring = z->n_threads == 1 ? 1 : 2 * (size_t)z->n_threads;
	z->ring = new0(struct block, z->n_ring);
	z->threads = new0(pthread_t, z->n_threads);
	pthread_mutex_init(&z->lock, NULL);
	pthread_cond_init(&z->work, NULL);
	pthread_cond_init(&z->done, NULL);
	return &z->base;
}
