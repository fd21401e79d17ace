/* codec/gzip.c - gzip as independent members of at most 1 MiB input: docs/formats/gzip.md.
 *
 * Invariants: where members begin depends on the input alone, and each is compressed by itself, so
 * that the bytes are the same for every number of threads. Memory is a ring of blocks, each with an
 * input and an output buffer. The thread that writes fills blocks, hands them to the workers, and
 * passes finished ones on in order; when it would have to wait it compresses a block itself. Small
 * inputs never start a thread. */
#include "codec/gzip.h"

#include <libdeflate.h>
#include <pthread.h>

#include "base/pool.h"

#define BLOCK_SIZE ((size_t)1024 * 1024)

enum block_state { BLOCK_FREE, BLOCK_QUEUED, BLOCK_RUNNING, BLOCK_DONE };

struct block {
	enum block_state state;
	unsigned char *in, *out;
	size_t n_in, n_out;
};

/* What a thread compresses with: the level asked for, and none at all. */
struct packer {
	struct libdeflate_compressor *level, *store;
};

struct gzip_sink {
	struct sink base;
	struct sink *next;
	int level;
	size_t bound;
	struct packer own; /* of the writing thread */

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

/* compress_block - the block is one member; stretches that cannot be compressed are members of
 * their own, stored as they are. */
static void compress_block(struct gzip_sink *z, const struct packer *k, struct block *b)
{
	size_t at = 0;
	b->n_out = 0;
	do {
		bool noise =
		        z->level > 0 && gzip_is_noise(b->in + at, MIN(b->n_in - at, GZIP_SEGMENT));
		size_t end = MIN(b->n_in, at + GZIP_SEGMENT);
		while (end < b->n_in && z->level > 0 &&
		        noise == gzip_is_noise(b->in + end, MIN(b->n_in - end, GZIP_SEGMENT)))
			end = MIN(b->n_in, end + GZIP_SEGMENT);
		if (z->level == 0)
			end = b->n_in;
		size_t n = libdeflate_gzip_compress(noise ? k->store : k->level, b->in + at,
		        end - at, b->out + b->n_out, z->bound - b->n_out);
		/* The bound is a promise of the library: 0 would be its bug, found by the writer.
		 */
		b->n_out = n ? b->n_out + n : 0;
		at = n ? end : b->n_in;
	} while (at < b->n_in);
}

static struct libdeflate_compressor *new_compressor(int level)
{
	struct libdeflate_compressor *c = libdeflate_alloc_compressor(level);
	if (!c)
		abort(); /* out of memory: a megabyte */
	return c;
}

static struct packer new_packer(int level)
{
	return (struct packer){new_compressor(level), new_compressor(0)};
}

static void free_packer(struct packer *k)
{
	libdeflate_free_compressor(k->level);
	libdeflate_free_compressor(k->store);
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
	struct packer k = new_packer(z->level);
	pthread_mutex_lock(&z->lock);
	while (!z->quit) {
		struct block *b = take_job(z);
		if (!b) {
			pthread_cond_wait(&z->work, &z->lock);
			continue;
		}
		pthread_mutex_unlock(&z->lock);
		compress_block(z, &k, b);
		pthread_mutex_lock(&z->lock);
		b->state = BLOCK_DONE;
		pthread_cond_signal(&z->done);
	}
	pthread_mutex_unlock(&z->lock);
	free_packer(&k);
	return NULL;
}

/* No thread to be had is fine: the writer compresses by itself. */
static void start_worker(struct gzip_sink *z)
{
	if (thread_start(&z->threads[z->n_started], worker, z))
		z->n_started++;
	else
		z->n_threads = z->n_started + 1;
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
			compress_block(z, &z->own, mine);
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
	free_packer(&z->own);
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
	z->own = new_packer(z->level);
	/* Members of all lengths: no division of a block needs more than the finest. */
	z->bound = libdeflate_gzip_compress_bound(z->own.level, GZIP_SEGMENT) *
	           (BLOCK_SIZE / GZIP_SEGMENT);
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
