/* sys/owner_table.c - see owner_table.h. */
#include "sys/owner_table.h"
#include "sys/path.h"

#include <errno.h>
#include <sys/mman.h>

int owner_log_new(void)
{
	int fd = memfd_create("strake-owners", MFD_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int owner_log_append(int fd, enum owner_where where, uint64_t ino, uint32_t uid, uint32_t gid)
{
	struct owner_record r = {.ino = ino, .uid = uid, .gid = gid, .where = where};
	/* The position is shared between the processes that hold the file: records follow. */
	return sys_write_all(fd, &r, sizeof(r));
}

void owner_table_release(struct owner_table *t)
{
	free(t->v);
	*t = (struct owner_table){0};
}

static struct owner_record *slot_of(const struct owner_table *t, uint32_t where, uint64_t ino)
{
	size_t i = (size_t)((ino ^ where) * 0x9e3779b97f4a7c15u >> 20);
	for (;; i++) {
		struct owner_record *r = &t->v[i & (t->cap - 1)];
		if (!r->where || (r->where == where && r->ino == ino))
			return r;
	}
}

void owner_table_put(struct owner_table *t, const struct owner_record *r)
{
	if ((t->n + 1) * 2 > t->cap) {
		struct owner_table big = {.cap = t->cap ? t->cap * 2 : 64};
		big.v = new0(struct owner_record, big.cap);
		for (size_t i = 0; i < t->cap; i++)
			if (t->v[i].where) {
				*slot_of(&big, t->v[i].where, t->v[i].ino) = t->v[i];
				big.n++;
			}
		free(t->v);
		*t = big;
	}
	struct owner_record *s = slot_of(t, r->where, r->ino);
	t->n += !s->where;
	*s = *r;
}

const struct owner_record *owner_table_find(
        const struct owner_table *t, enum owner_where where, uint64_t ino)
{
	if (!t->cap)
		return NULL;
	const struct owner_record *r = slot_of(t, where, ino);
	return r->where ? r : NULL;
}

int owner_log_follow(int fd, uint32_t where, int64_t *at, struct owner_table *ret)
{
	struct owner_record buf[256];
	for (;;) {
		ssize_t n = pread(fd, buf, sizeof(buf), *at);
		if (n < 0)
			return -errno;
		if (n < (ssize_t)sizeof(*buf))
			return 0;
		size_t k = (size_t)n / sizeof(*buf);
		for (size_t i = 0; i < k; i++)
			if (buf[i].where && (!where || buf[i].where == where))
				owner_table_put(ret, &buf[i]);
		*at += (int64_t)(k * sizeof(*buf));
	}
}

int owner_log_load(int fd, uint32_t where, struct owner_table *ret)
{
	int64_t at = 0;
	return owner_log_follow(fd, where, &at, ret);
}
