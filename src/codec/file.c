/* codec/file.c - the sink of large files (base/large_file.h): in whole pages of the file, whatever
 * the pieces that come. */
#include <errno.h>
#include <unistd.h>

#include "base/large_file.h"
#include "codec/stream.h"

/* What is smaller may be read again soon, and costs little. */
#define SMALL ((uint64_t)1 << 20)
#define PIECE ((size_t)512 << 10)

struct file_sink {
	struct sink base;
	int fd;
	char *what;
	uint64_t at; /* in the file, before what waits in buf */
	char *buf;   /* PIECE bytes, once the file is large */
	size_t n;    /* in buf */
	bool is_pipe;
};

static int put(struct file_sink *f, const char *p, size_t n, struct error *err)
{
	while (n) {
		ssize_t w =
		        f->is_pipe || f->at < SMALL ? write(f->fd, p, n) : write_large(f->fd, p, n);
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
	if (f->n == 0 && (f->is_pipe || f->at + n <= SMALL))
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
	f->is_pipe = at < 0;
	f->at = at > 0 ? (uint64_t)at : 0;
	return &f->base;
}
