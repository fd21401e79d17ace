/* codec/sink.c - the plain sinks: descriptor, nothing, memory, hash, tee. See stream.h. */
#include "codec/stream.h"

#include <errno.h>

void sink_free(struct sink *s)
{
	if (s)
		s->free(s);
}

/* --- fd -------------------------------------------------------------------------------------- */

struct fd_sink {
	struct sink base;
	int fd;
	char *what;
};

static int fd_write(struct sink *s, const void *p, size_t n, struct error *err)
{
	struct fd_sink *f = (struct fd_sink *)s;
	const char *b = p;
	while (n) {
		ssize_t w = write(f->fd, b, n);
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return err_sys(err, errno, "cannot write %s", f->what);
		b += w;
		n -= (size_t)w;
	}
	return 0;
}

static int fd_finish(struct sink *s, struct error *err)
{
	return 0;
}

static void fd_free(struct sink *s)
{
	free(((struct fd_sink *)s)->what);
	free(s);
}

struct sink *sink_fd(int fd, const char *what)
{
	struct fd_sink *f = new0(struct fd_sink, 1);
	f->base = (struct sink){fd_write, fd_finish, fd_free};
	f->fd = fd;
	f->what = xstrdup(what);
	return &f->base;
}

/* --- null ------------------------------------------------------------------------------------ */

static int null_write(struct sink *s, const void *p, size_t n, struct error *err)
{
	return 0;
}

static void plain_free(struct sink *s)
{
	free(s);
}

struct sink *sink_null(void)
{
	struct sink *s = new0(struct sink, 1);
	*s = (struct sink){null_write, fd_finish, plain_free};
	return s;
}

/* --- strbuf ---------------------------------------------------------------------------------- */

struct strbuf_sink {
	struct sink base;
	struct strbuf *sb;
	size_t left, max;
	char *what;
};

static int strbuf_sink_write(struct sink *s, const void *p, size_t n, struct error *err)
{
	struct strbuf_sink *m = (struct strbuf_sink *)s;
	if (n > m->left)
		return err_set(err, ERR_INTEGRITY, "%s is larger than the %zu bytes allowed",
		        m->what, m->max);
	m->left -= n;
	strbuf_add(m->sb, p, n);
	return 0;
}

static void strbuf_sink_free(struct sink *s)
{
	free(((struct strbuf_sink *)s)->what);
	free(s);
}

struct sink *sink_strbuf(struct strbuf *sb, size_t max, const char *what)
{
	struct strbuf_sink *m = new0(struct strbuf_sink, 1);
	m->base = (struct sink){strbuf_sink_write, fd_finish, strbuf_sink_free};
	m->sb = sb;
	m->left = m->max = max;
	m->what = xstrdup(what);
	return &m->base;
}

/* --- hash ------------------------------------------------------------------------------------ */

struct hash_sink {
	struct sink base;
	struct sink *next; /* may be NULL */
	struct sha256 h;
	uint64_t size;
	struct digest *ret_digest;
	uint64_t *ret_size;
};

static int hash_write(struct sink *s, const void *p, size_t n, struct error *err)
{
	struct hash_sink *h = (struct hash_sink *)s;
	sha256_update(&h->h, p, n);
	h->size += n;
	return h->next ? sink_write(h->next, p, n, err) : 0;
}

static int hash_finish(struct sink *s, struct error *err)
{
	struct hash_sink *h = (struct hash_sink *)s;
	struct digest d;
	sha256_final(&h->h, &d);
	if (h->ret_digest)
		*h->ret_digest = d;
	if (h->ret_size)
		*h->ret_size = h->size;
	return h->next ? sink_finish(h->next, err) : 0;
}

static void hash_free(struct sink *s)
{
	sink_free(((struct hash_sink *)s)->next);
	free(s);
}

struct sink *sink_hash(struct sink *next, struct digest *ret_digest, uint64_t *ret_size)
{
	struct hash_sink *h = new0(struct hash_sink, 1);
	h->base = (struct sink){hash_write, hash_finish, hash_free};
	h->next = next;
	h->ret_digest = ret_digest;
	h->ret_size = ret_size;
	sha256_init(&h->h);
	return &h->base;
}

/* --- tee ------------------------------------------------------------------------------------- */

struct tee_sink {
	struct sink base;
	struct sink *a, *b;
};

static int tee_write(struct sink *s, const void *p, size_t n, struct error *err)
{
	struct tee_sink *t = (struct tee_sink *)s;
	if (sink_write(t->a, p, n, err) < 0)
		return -1;
	return sink_write(t->b, p, n, err);
}

static int tee_finish(struct sink *s, struct error *err)
{
	struct tee_sink *t = (struct tee_sink *)s;
	if (sink_finish(t->a, err) < 0)
		return -1;
	return sink_finish(t->b, err);
}

static void tee_free(struct sink *s)
{
	struct tee_sink *t = (struct tee_sink *)s;
	sink_free(t->a);
	sink_free(t->b);
	free(s);
}

struct sink *sink_tee(struct sink *a, struct sink *b)
{
	struct tee_sink *t = new0(struct tee_sink, 1);
	t->base = (struct sink){tee_write, tee_finish, tee_free};
	t->a = a;
	t->b = b;
	return &t->base;
}
