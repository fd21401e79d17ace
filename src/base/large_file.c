/* base/large_file.c - see large_file.h. */
#include "base/large_file.h"

#include <errno.h>
#include <pthread.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#ifndef RWF_DONTCACHE
#define RWF_DONTCACHE 0x80
#endif

#define MIB ((uint64_t)1 << 20)
/* Less is not worth the looking at clocks. */
#define PIECE ((size_t)128 << 10)
/* Bytes before a speed counts, and from which on the past counts half. */
#define ENOUGH (8 * MIB)
#define WINDOW (16 * MIB)
/* A page cache that takes this much holds nobody up. Bytes in a microsecond. */
#define FAST 1500

struct speed {
	uint64_t bytes, ns;
};

struct choice {
	struct speed cache, past; /* through the cache, around it */
	bool around;              /* what is chosen now */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct choice writing, reading;

/* What the page cache costs is the processor's time, around it there is the disk to wait for. */
static int64_t now_ns(bool around)
{
	struct timespec ts;
	clock_gettime(around ? CLOCK_MONOTONIC : CLOCK_THREAD_CPUTIME_ID, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Bytes in a microsecond; 0: not known. */
static uint64_t rate(const struct speed *s)
{
	return s->bytes < ENOUGH ? 0 : s->bytes * 1000 / (s->ns + 1);
}

static void took(struct choice *c, bool around, size_t n, int64_t ns)
{
	pthread_mutex_lock(&lock);
	struct speed *s = around ? &c->past : &c->cache;
	s->bytes += n;
	s->ns += (uint64_t)MAX(ns, 0);
	if (s->bytes > WINDOW) {
		s->bytes /= 2;
		s->ns /= 2;
	}
	uint64_t cache = rate(&c->cache), past = rate(&c->past);
	/* A disk that is half as fast still leaves more of the processor to others. */
	bool slow = cache && cache < FAST;
	__atomic_store_n(&c->around, slow && (!past || past > cache / 2), __ATOMIC_RELAXED);
	pthread_mutex_unlock(&lock);
}

static bool not_known(int e)
{
	return e == EOPNOTSUPP || e == EINVAL || e == ENOSYS;
}

static ssize_t transfer_once(struct choice *c, int fd, const struct iovec *io,
        ssize_t (*usual)(int, const struct iovec *, int),
        ssize_t (*special)(int, const struct iovec *, int, off_t, int))
{
	if (io->iov_len < PIECE)
		return usual(fd, io, 1);
	bool around = __atomic_load_n(&c->around, __ATOMIC_RELAXED);
	int64_t from = now_ns(around);
	ssize_t r = around ? special(fd, io, 1, -1, RWF_DONTCACHE) : usual(fd, io, 1);
	/* This file is on a file system that can't, or is no file. */
	if (around && r < 0 && not_known(errno))
		return usual(fd, io, 1);
	if (r > 0)
		took(c, around, (size_t)r, now_ns(around) - from);
	return r;
}

static ssize_t transfer(struct choice *c, int fd, const void *p, size_t n,
        ssize_t (*usual)(int, const struct iovec *, int),
        ssize_t (*special)(int, const struct iovec *, int, off_t, int))
{
	struct iovec io = {(void *)p, n};
	ssize_t r;
	do
		r = transfer_once(c, fd, &io, usual, special);
	while (r < 0 && errno == EINTR);
	return r;
}

ssize_t write_large(int fd, const void *p, size_t n)
{
	return transfer(&writing, fd, p, n, writev, pwritev2);
}

ssize_t read_large(int fd, void *p, size_t n)
{
	return transfer(&reading, fd, p, n, readv, preadv2);
}
