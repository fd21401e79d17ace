/* codec/file.c - large files that pass through the page cache instead of filling it.
 *
 * RWF_DONTCACHE (Linux 6.14, where the file system has it) starts to write pages at once and gives
 * them back as soon as they are on disk, so that a gigabyte needs a few megabytes of memory:
 * nothing else is pushed out of the cache, and no fresh memory is asked for, which costs more than
 * the disk in many virtual machines. A disk slower than memory would hold up the writer, who could
 * have gone on; so the speed is watched, and the rest of such a file is written as usual. */
#include <errno.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "codec/stream.h"

#ifndef RWF_DONTCACHE
#define RWF_DONTCACHE 0x80
#endif

#define MIB ((uint64_t)1 << 20)
/* What is smaller may be read again soon, and costs little. */
#define CACHED (8 * MIB)
/* Whole pages, or a page that was let go must be read again for its other half. */
#define PIECE ((size_t)512 << 10)
/* At least this many bytes in a millisecond, looked at after each WINDOW. */
#define FAST_ENOUGH (400 * 1000)
#define WINDOW (32 * MIB)

static bool not_known(int e)
{
	return e == EOPNOTSUPP || e == EINVAL || e == ENOSYS;
}

ssize_t read_uncached(int fd, void *p, size_t n)
{
	struct iovec io = {p, n};
	ssize_t r;
	do {
		r = preadv2(fd, &io, 1, -1, RWF_DONTCACHE);
		if (r < 0 && not_known(errno))
			r = read(fd, p, n);
	} while (r < 0 && errno == EINTR);
	return r;
}

struct file_reader {
	struct reader base;
	int fd;
	char *what;
};

static ssize_t file_read(struct reader *r, void *p, size_t n, struct error *err)
{
	struct file_reader *f = (struct file_reader *)r;
	ssize_t got = read_uncached(f->fd, p, n);
	return got < 0 ? err_sys(err, errno, "cannot read %s", f->what) : got;
}

static void reader_release(struct reader *r)
{
	free(((struct file_reader *)r)->what);
	free(r);
}

struct reader *reader_file(int fd, const char *what)
{
	struct file_reader *f = new0(struct file_reader, 1);
	f->base = (struct reader){file_read, reader_release};
	f->fd = fd;
	f->what = xstrdup(what);
	return &f->base;
}

struct file_sink {
	struct sink base;
	int fd;
	char *what;
	uint64_t at;   /* in the file, before what waits in buf */
	char *buf;     /* PIECE bytes, from the first piece that goes uncached */
	size_t n;      /* in buf */
	bool as_usual; /* for good */
	uint64_t window;
	int64_t ns; /* that its bytes took */
};

static int64_t now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static ssize_t write_some(struct file_sink *f, const void *p, size_t n)
{
	if (f->as_usual || f->at < CACHED)
		return write(f->fd, p, n);
	struct iovec io = {(void *)p, n};
	int64_t from = now_ns();
	ssize_t r = pwritev2(f->fd, &io, 1, -1, RWF_DONTCACHE);
	if (r < 0 && not_known(errno)) {
		f->as_usual = true;
		return write(f->fd, p, n);
	}
	f->ns += now_ns() - from;
	f->window += r > 0 ? (uint64_t)r : 0;
	if (f->window >= WINDOW) {
		f->as_usual = f->window < (uint64_t)f->ns / 1000000 * FAST_ENOUGH;
		f->window = 0;
		f->ns = 0;
	}
	return r;
}

static int put(struct file_sink *f, const char *p, size_t n, struct error *err)
{
	while (n) {
		ssize_t w = write_some(f, p, n);
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return err_sys(err, errno, "cannot write %s", f->what);
		p += w;
		n -= (size_t)w;
		f->at += (uint64_t)w;
	}
	return 0;
}

static int flush(struct file_sink *f, struct error *err)
{
	size_t n = f->n;
	f->n = 0;
	return put(f, f->buf, n, err);
}

static int file_write(struct sink *s, const void *data, size_t n, struct error *err)
{
	struct file_sink *f = (struct file_sink *)s;
	const char *p = data;
	if (f->n == 0 && (f->as_usual || f->at + n <= CACHED))
		return put(f, p, n, err);
	while (n) {
		/* up to where a page of the file begins */
		size_t room = PIECE - (size_t)(f->at % PIECE);
		if (f->n == 0 && n >= room) {
			size_t k = f->at % PIECE ? room : n - n % PIECE;
			if (put(f, p, k, err) < 0)
				return -1;
			p += k;
			n -= k;
			continue;
		}
		size_t k = MIN(n, room - f->n);
		if (!f->buf)
			f->buf = xmalloc(PIECE);
		memcpy(f->buf + f->n, p, k);
		f->n += k;
		p += k;
		n -= k;
		if (f->n == room && flush(f, err) < 0)
			return -1;
	}
	return 0;
}

static int file_finish(struct sink *s, struct error *err)
{
	return flush((struct file_sink *)s, err);
}

static void file_free(struct sink *s)
{
	struct file_sink *f = (struct file_sink *)s;
	free(f->what);
	free(f->buf);
	free(f);
}

struct sink *sink_file(int fd, const char *what)
{
	struct file_sink *f = new0(struct file_sink, 1);
	off_t at = lseek(fd, 0, SEEK_CUR);
	f->base = (struct sink){file_write, file_finish, file_free};
	f->fd = fd;
	f->what = xstrdup(what);
	f->as_usual = at < 0; /* a pipe */
	f->at = at > 0 ? (uint64_t)at : 0;
	return &f->base;
}
