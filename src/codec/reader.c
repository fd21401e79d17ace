/* codec/reader.c - the plain readers: descriptor, memory, hash, limit; and the pump. */
#include "codec/stream.h"

#include <errno.h>
#include <inttypes.h>

#include "base/large_file.h"

#define COPY_SIZE ((size_t)256 * 1024)

void reader_free(struct reader *r)
{
	if (r)
		r->free(r);
}

int reader_read_full(struct reader *r, void *p, size_t n, const char *what, struct error *err)
{
	char *b = p;
	while (n) {
		ssize_t got = reader_read(r, b, n, err);
		if (got < 0)
			return -1;
		if (got == 0)
			return err_set(err, ERR_INTEGRITY, "unexpected end of %s", what);
		b += got;
		n -= (size_t)got;
	}
	return 0;
}

int stream_copy(struct reader *r, struct sink *s, struct error *err)
{
	_cleanup_free_ char *buf = xmalloc(COPY_SIZE);
	for (;;) {
		ssize_t n = reader_read(r, buf, COPY_SIZE, err);
		if (n <= 0)
			return (int)n;
		if (sink_write(s, buf, (size_t)n, err) < 0)
			return -1;
	}
}

/* --- fd -------------------------------------------------------------------------------------- */

struct fd_reader {
	struct reader base;
	int fd;
	bool large;
	char *what;
};

static ssize_t fd_read(struct reader *r, void *p, size_t n, struct error *err)
{
	struct fd_reader *f = (struct fd_reader *)r;
	for (;;) {
		ssize_t got = f->large ? read_large(f->fd, p, n) : read(f->fd, p, n);
		if (got >= 0)
			return got;
		if (errno != EINTR)
			return err_sys(err, errno, "cannot read %s", f->what);
	}
}

static void fd_free(struct reader *r)
{
	free(((struct fd_reader *)r)->what);
	free(r);
}

static struct reader *new_fd_reader(int fd, const char *what, bool large)
{
	struct fd_reader *f = new0(struct fd_reader, 1);
	f->base = (struct reader){fd_read, fd_free};
	f->fd = fd;
	f->what = xstrdup(what);
	f->large = large;
	return &f->base;
}

struct reader *reader_fd(int fd, const char *what)
{
	return new_fd_reader(fd, what, false);
}

struct reader *reader_file(int fd, const char *what)
{
	return new_fd_reader(fd, what, true);
}

/* --- memory ---------------------------------------------------------------------------------- */

struct mem_reader {
	struct reader base;
	const char *p;
	size_t n;
};

static ssize_t mem_read(struct reader *r, void *p, size_t n, struct error *err)
{
	struct mem_reader *m = (struct mem_reader *)r;
	n = MIN(n, m->n);
	if (n)
		memcpy(p, m->p, n);
	m->p += n;
	m->n -= n;
	return (ssize_t)n;
}

static void mem_free(struct reader *r)
{
	free(r);
}

struct reader *reader_mem(const void *p, size_t n)
{
	struct mem_reader *m = new0(struct mem_reader, 1);
	m->base = (struct reader){mem_read, mem_free};
	m->p = p;
	m->n = n;
	return &m->base;
}

/* --- hash ------------------------------------------------------------------------------------ */

struct hash_reader {
	struct reader base;
	struct reader *next;
	struct sha256 h;
	uint64_t size;
	bool done;
	struct digest *ret_digest;
	uint64_t *ret_size;
};

static ssize_t hash_read(struct reader *r, void *p, size_t n, struct error *err)
{
	struct hash_reader *h = (struct hash_reader *)r;
	if (h->done || n == 0)
		return 0;
	ssize_t got = reader_read(h->next, p, n, err);
	if (got > 0) {
		sha256_update(&h->h, p, (size_t)got);
		h->size += (uint64_t)got;
	} else if (got == 0) {
		struct digest d;
		h->done = true;
		sha256_final(&h->h, &d);
		if (h->ret_digest)
			*h->ret_digest = d;
		if (h->ret_size)
			*h->ret_size = h->size;
	}
	return got;
}

static void hash_free(struct reader *r)
{
	reader_free(((struct hash_reader *)r)->next);
	free(r);
}

struct reader *reader_hash(struct reader *next, struct digest *ret_digest, uint64_t *ret_size)
{
	struct hash_reader *h = new0(struct hash_reader, 1);
	h->base = (struct reader){hash_read, hash_free};
	h->next = next;
	h->ret_digest = ret_digest;
	h->ret_size = ret_size;
	sha256_init(&h->h);
	return &h->base;
}

/* --- limit ----------------------------------------------------------------------------------- */

struct limit_reader {
	struct reader base;
	struct reader *next;
	uint64_t left, max;
	char *what;
};

static ssize_t limit_read(struct reader *r, void *p, size_t n, struct error *err)
{
	struct limit_reader *l = (struct limit_reader *)r;
	ssize_t got = reader_read(l->next, p, n, err);
	if (got < 0)
		return -1;
	if ((uint64_t)got > l->left)
		return err_set(err, ERR_INTEGRITY,
		        "%s is larger than the %" PRIu64 " bytes allowed", l->what, l->max);
	l->left -= (uint64_t)got;
	return got;
}

static void limit_free(struct reader *r)
{
	struct limit_reader *l = (struct limit_reader *)r;
	reader_free(l->next);
	free(l->what);
	free(r);
}

struct reader *reader_limit(struct reader *next, uint64_t max, const char *what)
{
	struct limit_reader *l = new0(struct limit_reader, 1);
	l->base = (struct reader){limit_read, limit_free};
	l->next = next;
	l->left = l->max = max;
	l->what = xstrdup(what);
	return &l->base;
}
