/* source/stat_cache.c - see stat_cache.h and docs/formats/stat-cache.md.
 *
 * The file is mapped as one block: an open-addressing table of fixed slots, then the
 * xattr bytes. Nothing of it is believed: sizes are checked against the file's, each slot carries
 * a sum of its own. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <time.h>
#include <unistd.h>

#include "source/stat_cache.h"
#include "sys/path.h"

#define MAGIC "STRKSTC2"
#define FILE_MAX (1u << 30)
#define AGE_MAX 8 /* written this often without being asked for: forgotten */
#define XATTRS_MAX (64u << 10)

/* Times of a local file system come from the kernel's tick (at most 10 ms apart). */
#define MARGIN_LOCAL 50000000ll
#define MARGIN_OTHER 3000000000ll

struct header {
	char magic[8];
	uint64_t n_slots;
	uint64_t n_used;
	uint64_t blob_size;
	uint64_t reserved[4];
};

struct slot {
	struct stat_key key;
	struct digest sha256;
	uint32_t xattr_at, xattr_len; /* in the blob */
	uint32_t age;
	uint32_t sum;
};
_Static_assert(sizeof(struct header) == 64 && sizeof(struct slot) == 88, "on-disk layout");

struct fresh {
	struct slot slot;
	void *xattrs;
};

struct stat_cache {
	int dirfd;
	char name[64];
	int64_t margin;
	char *file; /* the file, mapped; NULL: empty */
	size_t file_size;
	const struct slot *slots;
	size_t n_slots;
	const char *blob;
	size_t blob_size;
	uint8_t *used;        /* per slot: asked for in this run */
	pthread_mutex_t lock; /* for what follows */
	struct fresh *fresh;
	size_t n_fresh, cap_fresh;
};

static int64_t to_ns(const struct timespec *ts)
{
	return (int64_t)ts->tv_sec * 1000000000 + ts->tv_nsec;
}

struct stat_key stat_key_of(const struct stat *st)
{
	return (struct stat_key){
	        .dev = st->st_dev,
	        .ino = st->st_ino,
	        .size = (uint64_t)st->st_size,
	        .mtime_ns = to_ns(&st->st_mtim),
	        .ctime_ns = to_ns(&st->st_ctim),
	};
}

int64_t stat_cache_now(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	return to_ns(&ts);
}

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0xff51afd7ed558ccdu;
	return h ^ (h >> 32);
}

static size_t home(const struct stat_key *k, size_t n_slots)
{
	uint64_t h = mix(mix(0x9e3779b97f4a7c15u, k->dev), k->ino);
	return (size_t)((h & UINT32_MAX) * n_slots >> 32);
}

/* Over all of the slot but the age (which changes) and the sum; never 0, which marks free slots. */
static uint32_t slot_sum(const struct slot *s, const void *xattrs)
{
	uint64_t w[9], h = 0x5374726b53746331u;
	memcpy(w, s, sizeof(w));
	for (size_t i = 0; i < ARRAY_SIZE(w); i++)
		h = mix(h, w[i]);
	h = mix(h, (uint64_t)s->xattr_at << 32 | s->xattr_len);
	for (uint32_t i = 0; i < s->xattr_len; i++)
		h = mix(h, ((const uint8_t *)xattrs)[i]);
	return (uint32_t)(h >> 32) | 1;
}

/* --- loading --------------------------------------------------------------------------------- */

static int64_t clock_margin(int rootfd)
{
	static const unsigned local[] = {
	        0xef53,     /* ext2, ext3, ext4 */
	        0x58465342, /* xfs */
	        0x9123683e, /* btrfs */
	        0x01021994, /* tmpfs */
	        0x2fc12fc1, /* zfs */
	        0xf2f52010, /* f2fs */
	        0xca451a4e, /* bcachefs */
	};
	struct statfs fs;
	if (fstatfs(rootfd, &fs) == 0)
		for (size_t i = 0; i < ARRAY_SIZE(local); i++)
			if ((unsigned)fs.f_type == local[i])
				return MARGIN_LOCAL;
	return MARGIN_OTHER;
}

/* The file is ours and only ever replaced, never written in place: it can be mapped. Reading it
 * would cost a page of memory for each of its pages, most of the time of asking. */
static char *map_file(int dirfd, const char *name, size_t *ret_n)
{
	struct stat st;
	_cleanup_close_ int fd =
	        openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size <= 0 ||
	        st.st_size > FILE_MAX)
		return NULL;
	*ret_n = (size_t)st.st_size;
	char *p = mmap(NULL, *ret_n, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	return p == MAP_FAILED ? NULL : p;
}

static void load(struct stat_cache *c)
{
	size_t n;
	char *p = c->dirfd < 0 ? NULL : map_file(c->dirfd, c->name, &n);
	if (!p)
		return;
	struct header h;
	if (n >= sizeof(h)) {
		memcpy(&h, p, sizeof(h));
		uint64_t rest = n - sizeof(h);
		if (memcmp(h.magic, MAGIC, sizeof(h.magic)) == 0 && h.n_slots &&
		        h.n_slots <= rest / sizeof(struct slot) && h.n_used < h.n_slots &&
		        h.blob_size == rest - h.n_slots * sizeof(struct slot)) {
			c->file = p;
			c->file_size = n;
			c->slots = (const struct slot *)(p + sizeof(h));
			c->n_slots = h.n_slots;
			c->blob = p + sizeof(h) + h.n_slots * sizeof(struct slot);
			c->blob_size = h.blob_size;
			c->used = new0(uint8_t, h.n_slots);
			return;
		}
	}
	munmap(p, n);
}

struct stat_cache *stat_cache_open(int dirfd, int rootfd)
{
	struct stat_cache *c = new0(struct stat_cache, 1);
	struct stat st = {0};
	pthread_mutex_init(&c->lock, NULL);
	c->dirfd = fstat(rootfd, &st) < 0 ? -1 : dirfd;
	c->margin = clock_margin(rootfd);
	snprintf(c->name, sizeof(c->name), "stat-%llx-%llx", (unsigned long long)st.st_dev,
	        (unsigned long long)st.st_ino);
	load(c);
	return c;
}

/* --- asking ---------------------------------------------------------------------------------- */

static const void *xattrs_of(const struct stat_cache *c, const struct slot *s)
{
	if (s->xattr_len > c->blob_size || s->xattr_at > c->blob_size - s->xattr_len)
		return NULL;
	return c->blob + s->xattr_at;
}

static bool slot_valid(const struct stat_cache *c, const struct slot *s)
{
	const void *x = xattrs_of(c, s);
	return x && s->sum == slot_sum(s, x);
}

bool stat_cache_get(struct stat_cache *c, const struct stat_key *k, struct digest *ret,
        const void **ret_xattrs, size_t *ret_n)
{
	if (!c->n_slots)
		return false;
	size_t i = home(k, c->n_slots);
	/* a damaged file may have no free slot */
	for (size_t tries = 0; tries < c->n_slots; tries++, i = i + 1 == c->n_slots ? 0 : i + 1) {
		const struct slot *s = &c->slots[i];
		if (!s->sum)
			return false;
		if (s->key.ino != k->ino || s->key.dev != k->dev)
			continue;
		if (!stat_key_eq(&s->key, k) || !slot_valid(c, s))
			return false;
		__atomic_store_n(&c->used[i], 1, __ATOMIC_RELAXED);
		*ret = s->sha256;
		*ret_xattrs = xattrs_of(c, s);
		*ret_n = s->xattr_len;
		return true;
	}
	return false;
}

void stat_cache_put(struct stat_cache *c, const struct stat_key *k, int64_t hashed_at,
        const struct digest *d, const void *xattrs, size_t n_xattrs)
{
	int64_t changed = MAX(k->mtime_ns, k->ctime_ns);
	if (c->dirfd < 0 || n_xattrs > XATTRS_MAX || changed > hashed_at - c->margin)
		return;
	struct fresh f = {
	        .slot = {.key = *k, .sha256 = *d, .xattr_len = (uint32_t)n_xattrs},
	        .xattrs = n_xattrs ? xmemdup(xattrs, n_xattrs) : NULL,
	};
	pthread_mutex_lock(&c->lock);
	vec_grow(&c->fresh, &c->cap_fresh, c->n_fresh + 1);
	c->fresh[c->n_fresh++] = f;
	pthread_mutex_unlock(&c->lock);
}

/* --- writing back ---------------------------------------------------------------------------- */

struct out {
	char *buf;
	struct header *h;
	struct slot *slots;
	char *blob;
};

/* A later entry of the same inode does not replace an earlier one: the fresh ones come first. */
static void out_add(struct out *o, const struct slot *src, const void *xattrs, uint32_t age)
{
	size_t n = o->h->n_slots, i = home(&src->key, n);
	for (; o->slots[i].sum; i = i + 1 == n ? 0 : i + 1)
		if (o->slots[i].key.ino == src->key.ino && o->slots[i].key.dev == src->key.dev)
			return;
	struct slot *s = &o->slots[i];
	*s = *src;
	s->age = age;
	s->xattr_at = (uint32_t)o->h->blob_size;
	if (s->xattr_len)
		memcpy(o->blob + o->h->blob_size, xattrs, s->xattr_len);
	o->h->blob_size += s->xattr_len;
	o->h->n_used++;
	s->sum = slot_sum(s, xattrs);
}

static void write_out(const struct stat_cache *c, const void *p, size_t n)
{
	/* No fsync: a cache that a power cut mangled is ignored, one that is waited for costs
	 * more than it saves. The rename keeps readers from half a file. */
	char tmp[96];
	snprintf(tmp, sizeof(tmp), "%s.%d.tmp", c->name, (int)getpid());
	_cleanup_close_ int fd =
	        openat(c->dirfd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	if (sys_write_all(fd, p, n) < 0 || renameat(c->dirfd, tmp, c->dirfd, c->name) < 0)
		(void)unlinkat(c->dirfd, tmp, 0);
}

static void save(struct stat_cache *c)
{
	size_t most = c->n_fresh, blob = 0;
	for (size_t i = 0; i < c->n_fresh; i++)
		blob += c->fresh[i].slot.xattr_len;
	for (size_t i = 0; i < c->n_slots; i++)
		most += c->slots[i].sum != 0;
	/* A quarter free: pages cost more to touch than slots to look through. */
	size_t n_slots = most + most / 3 + 64;
	size_t max = sizeof(struct header) + n_slots * sizeof(struct slot) + blob + c->blob_size;
	if (max > FILE_MAX)
		return;
	struct out o = {.buf = new0(char, max)};
	o.h = (struct header *)o.buf;
	o.slots = (struct slot *)(o.buf + sizeof(struct header));
	o.blob = (char *)(o.slots + n_slots);
	memcpy(o.h->magic, MAGIC, sizeof(o.h->magic));
	o.h->n_slots = n_slots;
	for (size_t i = c->n_fresh; i-- > 0;) /* the newest of one inode counts */
		out_add(&o, &c->fresh[i].slot, c->fresh[i].xattrs, 0);
	for (size_t i = 0; i < c->n_slots; i++) {
		const struct slot *s = &c->slots[i];
		uint32_t age = c->used[i] ? 0 : s->age + 1;
		/* two old slots may share bytes of the blob in a damaged file only */
		if (s->sum && slot_valid(c, s) && age <= AGE_MAX &&
		        o.h->blob_size + s->xattr_len <= blob + c->blob_size)
			out_add(&o, s, xattrs_of(c, s), age);
	}
	write_out(c, o.buf, (size_t)(o.blob - o.buf) + o.h->blob_size);
	free(o.buf);
}

void stat_cache_close(struct stat_cache *c)
{
	if (!c)
		return;
	if (c->n_fresh && c->dirfd >= 0)
		save(c);
	for (size_t i = 0; i < c->n_fresh; i++)
		free(c->fresh[i].xattrs);
	free(c->fresh);
	free(c->used);
	if (c->file)
		munmap(c->file, c->file_size);
	pthread_mutex_destroy(&c->lock);
	free(c);
}
