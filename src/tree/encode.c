/* tree/encode.c - the manifest on disk: docs/formats/tree-manifest.md.
 *
 * Decoding copies the whole text once into the tree's arena and points into it: a manifest is read
 * at every cached build, so there is no allocation for each entry. Everything is checked before it
 * is believed: checksum, bounds, path form, order. */
#include "tree/tree.h"

#include <endian.h>

#include "base/strbuf.h"
#include "codec/checksum.h"

static const char magic[8] = {'S', 'T', 'R', 'A', 'K', 'T', 'R', '2'};

#define HEAD_SIZE 16  /* magic, number of entries */
#define SUM_SIZE 8    /* checksum64 of all before it */
#define FIXED_SIZE 32 /* of an entry, before its variable part */

enum { F_OPAQUE = 1, F_DIGEST = 2, F_LINK = 4, F_DEVICE = 8, F_XATTRS = 16, F_ALL = 31 };

/* --- encode ---------------------------------------------------------------------------------- */

static unsigned char *put32(unsigned char *p, uint32_t v)
{
	v = htole32(v);
	return mempcpy(p, &v, 4);
}

static unsigned char *put64(unsigned char *p, uint64_t v)
{
	v = htole64(v);
	return mempcpy(p, &v, 8);
}

static void add32(struct strbuf *sb, uint32_t v)
{
	v = htole32(v);
	strbuf_add(sb, &v, 4);
}

static void encode_entry(struct strbuf *sb, const struct tree_entry *e)
{
	unsigned flags = (e->opaque ? F_OPAQUE : 0U) | (e->has_digest ? F_DIGEST : 0U) |
	                 (e->link ? F_LINK : 0U) | (e->n_xattrs ? F_XATTRS : 0U) |
	                 (e->dev_major || e->dev_minor ? F_DEVICE : 0U);
	unsigned char fixed[FIXED_SIZE], *p = fixed;
	p = put32(p, (uint32_t)e->type | flags << 8 | (e->mode & 07777) << 16);
	p = put32(p, e->uid);
	p = put32(p, e->gid);
	p = put32(p, e->mtime_nsec);
	p = put64(p, (uint64_t)e->mtime_sec);
	put64(p, e->size);
	strbuf_add(sb, fixed, sizeof(fixed));
	strbuf_add(sb, e->path, strlen(e->path) + 1);
	if (flags & F_LINK)
		strbuf_add(sb, e->link, strlen(e->link) + 1);
	if (flags & F_DIGEST)
		strbuf_add(sb, e->sha256.b, sizeof(e->sha256.b));
	if (flags & F_DEVICE) {
		add32(sb, e->dev_major);
		add32(sb, e->dev_minor);
	}
	if (flags & F_XATTRS) {
		add32(sb, e->n_xattrs);
		for (uint32_t i = 0; i < e->n_xattrs; i++) {
			strbuf_add(sb, e->xattrs[i].name, strlen(e->xattrs[i].name) + 1);
			add32(sb, e->xattrs[i].len);
			strbuf_add(sb, e->xattrs[i].value, e->xattrs[i].len);
		}
	}
}

void tree_encode(const struct tree *t, void **ret_buf, size_t *ret_n)
{
	struct strbuf sb = STRBUF_INIT;
	unsigned char number[8];
	put64(number, t->n);
	strbuf_grow(&sb, HEAD_SIZE + t->n * (FIXED_SIZE + 80) + SUM_SIZE);
	strbuf_add(&sb, magic, sizeof(magic));
	strbuf_add(&sb, number, sizeof(number));
	for (size_t i = 0; i < t->n; i++)
		encode_entry(&sb, &t->entries[i]);
	put64(number, checksum64(sb.buf, sb.len));
	strbuf_add(&sb, number, sizeof(number));
	*ret_n = sb.len;
	*ret_buf = strbuf_detach(&sb);
}

/* --- decode ---------------------------------------------------------------------------------- */

struct cursor {
	const unsigned char *p, *end;
	bool bad;
};

static const unsigned char *take(struct cursor *c, size_t n)
{
	if (c->bad || (size_t)(c->end - c->p) < n) {
		c->bad = true;
		return NULL;
	}
	const unsigned char *p = c->p;
	c->p += n;
	return p;
}

static uint32_t take32(struct cursor *c)
{
	const unsigned char *p = take(c, 4);
	uint32_t v = 0;
	if (p)
		memcpy(&v, p, 4);
	return le32toh(v);
}

static uint64_t take64(struct cursor *c)
{
	const unsigned char *p = take(c, 8);
	uint64_t v = 0;
	if (p)
		memcpy(&v, p, 8);
	return le64toh(v);
}

static const char *take_str(struct cursor *c)
{
	const unsigned char *nul = c->bad ? NULL : memchr(c->p, 0, (size_t)(c->end - c->p));
	if (!nul) {
		c->bad = true;
		return "";
	}
	const char *s = (const char *)c->p;
	c->p = nul + 1;
	return s;
}

static void take_xattrs(struct cursor *c, struct arena *a, struct tree_entry *e)
{
	uint32_t n = take32(c);
	/* Each takes at least 5 bytes, which bounds the allocation by the text's own size. */
	if (c->bad || n == 0 || n > (size_t)(c->end - c->p) / 5) {
		c->bad = true;
		return;
	}
	e->xattrs = arena_new(a, struct tree_xattr, n);
	e->n_xattrs = n;
	for (uint32_t i = 0; i < n && !c->bad; i++) {
		struct tree_xattr *x = &e->xattrs[i];
		x->name = take_str(c);
		x->len = take32(c);
		x->value = take(c, x->len);
		if (i > 0 && !c->bad && strcmp(e->xattrs[i - 1].name, x->name) >= 0)
			c->bad = true;
	}
}

static bool path_ok(const char *p)
{
	if (*p == '\0')
		return true; /* the root */
	for (;;) {
		size_t n = (size_t)(strchrnul(p, '/') - p);
		if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
			return false;
		if (p[n] == '\0')
			return true;
		p += n + 1;
	}
}

/* path_follows - is the path well formed and behind prev in tree order? prev is known to be well
 * formed, and neighbours share most of their bytes: those are skipped by words, and only what is
 * new is looked at. Both lengths are without the NUL; all of prev and path may be read. */
static bool path_follows(const char *prev, size_t prev_len, const char *path, size_t len)
{
	size_t i = 0, min = MIN(prev_len, len);
	uint64_t a, b;
	for (; i + sizeof(a) <= min; i += sizeof(a)) {
		memcpy(&a, prev + i, sizeof(a));
		memcpy(&b, path + i, sizeof(b));
		if (a != b)
			break;
	}
	while (i < min && prev[i] == path[i])
		i++;
	if (tree_path_cmp(prev + i, path + i) >= 0)
		return false;
	while (i > 0 && path[i - 1] != '/')
		i--;
	return path_ok(path + i) && path[i] != '\0';
}

static bool entry_ok(const struct tree_entry *e)
{
	if (e->type < TREE_REG || e->type > TREE_WHITEOUT)
		return false;
	if (e->mtime_nsec > 999999999 || (e->type != TREE_REG && (e->size || e->has_digest)))
		return false;
	switch (e->type) {
	case TREE_SYMLINK:
		return e->link != NULL;
	case TREE_HARDLINK:
		return e->link && *e->link && path_ok(e->link) && *e->path;
	case TREE_DIR:
		return !e->link;
	default:
		return !e->link && !e->opaque && *e->path;
	}
}

/* take_entry - returns the length of its path. */
static size_t take_entry(struct cursor *c, struct arena *a, struct tree_entry *e)
{
	uint32_t head = take32(c);
	unsigned flags = head >> 8 & 0xff;
	e->type = (enum tree_type)(head & 0xff);
	e->mode = head >> 16;
	e->uid = take32(c);
	e->gid = take32(c);
	e->mtime_nsec = take32(c);
	e->mtime_sec = (int64_t)take64(c);
	e->size = take64(c);
	e->path = take_str(c);
	size_t len = c->bad ? 0 : (size_t)((const char *)c->p - 1 - e->path);
	e->opaque = flags & F_OPAQUE;
	if (flags & F_LINK)
		e->link = take_str(c);
	if (flags & F_DIGEST) {
		const unsigned char *p = take(c, sizeof(e->sha256.b));
		e->has_digest = true;
		if (p)
			memcpy(e->sha256.b, p, sizeof(e->sha256.b));
	}
	if (flags & F_DEVICE) {
		e->dev_major = take32(c);
		e->dev_minor = take32(c);
		c->bad |= !e->dev_major && !e->dev_minor; /* one tree has one encoding */
	}
	if (flags & F_XATTRS)
		take_xattrs(c, a, e);
	if (flags & ~(unsigned)F_ALL || e->mode > 07777 || (!c->bad && !entry_ok(e)))
		c->bad = true;
	return len;
}

int tree_decode(const void *p, size_t n, const char *what, struct tree *ret, struct error *err)
{
	if (n < HEAD_SIZE + SUM_SIZE || memcmp(p, magic, sizeof(magic)) != 0)
		return err_set(err, ERR_INTEGRITY, "%s: not a tree manifest", what);
	size_t body = n - SUM_SIZE, last_len = 0;
	struct cursor sum = {
	        .p = (const unsigned char *)p + body, .end = (const unsigned char *)p + n};
	if (take64(&sum) != checksum64(p, body))
		return err_set(err, ERR_INTEGRITY, "%s: tree manifest is damaged (checksum)", what);

	_cleanup_tree_ struct tree t = TREE_INIT;
	const unsigned char *text = arena_memdup(&t.arena, p, body);
	struct cursor c = {.p = text + sizeof(magic), .end = text + body};
	uint64_t count = take64(&c);
	if (count > (uint64_t)(c.end - c.p) / (FIXED_SIZE + 1))
		return err_set(err, ERR_INTEGRITY, "%s: tree manifest is malformed (count)", what);
	t.entries = new0(struct tree_entry, count);
	t.cap = count;
	for (; t.n < count; t.n++) {
		struct tree_entry *e = &t.entries[t.n];
		size_t len = take_entry(&c, &t.arena, e);
		bool fine = !c.bad && (t.n ? path_follows(e[-1].path, last_len, e->path, len)
		                           : path_ok(e->path));
		last_len = len;
		if (!fine)
			return err_set(err, ERR_INTEGRITY,
			        "%s: tree manifest is malformed (entry %zu)", what, t.n);
	}
	if (c.p != c.end)
		return err_set(
		        err, ERR_INTEGRITY, "%s: tree manifest has bytes after its end", what);
	*ret = t;
	t = TREE_INIT;
	return 0;
}
