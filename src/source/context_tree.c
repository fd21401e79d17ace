/* source/context_tree.c - listing the context, a level at a time on the pool. See context_tree.h.
 *
 * A directory is opened by its path below the root with openat2 (no links), listed, each name that
 * is not ignored lstat'ed, and closed again: depth and width cost no descriptors. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "source/context_tree.h"
#include "sys/path.h"
#include "sys/xattr.h"

#define ENTRIES_MAX (32u << 20)

static int fail(const struct source_context *c, int errnum, const char *what, const char *path,
        struct error *err)
{
	err_sys(err, errnum, "cannot %s %s of the %s", what, *path ? path : "the root", c->name);
	if (errnum == EACCES || errnum == -EACCES)
		err_hint(err, "make it readable, or exclude it in .dockerignore");
	return -1;
}

/* --- one node -------------------------------------------------------------------------------- */

static void fill(struct cnode *n, const struct stat *st)
{
	struct tree_entry *e = &n->e;
	e->type = tree_type_of(st->st_mode);
	e->mode = e->type == TREE_SYMLINK ? 0777 : st->st_mode & 07777;
	e->size = e->type == TREE_REG ? (uint64_t)st->st_size : 0;
	e->mtime_sec = st->st_mtim.tv_sec;
	e->mtime_nsec = (uint32_t)st->st_mtim.tv_nsec;
	if (e->type == TREE_CHR || e->type == TREE_BLK) {
		e->dev_major = major(st->st_rdev);
		e->dev_minor = minor(st->st_rdev);
	}
	n->key = stat_key_of(st);
	n->linked = e->type == TREE_REG && st->st_nlink > 1;
}

static bool is_ignored(const struct source_context *c, const char *path)
{
	return c->ignore && df_ignore_match(c->ignore, path, NULL);
}

/* --- xattrs, as the cache file keeps them ---------------------------------------------------- */

static void encode_xattrs(const struct sys_xattrs *x, struct strbuf *out)
{
	for (size_t i = 0; i < x->n; i++) {
		const struct sys_xattr *a = &x->v[i];
		if (!layer_xattr_allowed(a->name))
			continue;
		uint32_t len = (uint32_t)a->len;
		strbuf_add(out, a->name, strlen(a->name) + 1);
		strbuf_add(out, &len, sizeof(len));
		strbuf_add(out, a->value, a->len);
	}
}

/* False for bytes that encode_xattrs did not make. */
static bool decode_xattrs(struct source_context *c, const void *buf, size_t n, struct tree_entry *e)
{
	const char *p = buf, *end = p + n;
	size_t cap = 0;
	struct tree_xattr *v = NULL;
	uint32_t count = 0;
	bool good = true;
	if (!n)
		return true;
	pthread_mutex_lock(&c->arena_lock);
	while (p < end && good) {
		const char *nul = memchr(p, '\0', (size_t)(end - p));
		uint32_t len;
		good = nul && (size_t)(end - nul - 1) >= sizeof(len);
		if (!good)
			break;
		memcpy(&len, nul + 1, sizeof(len));
		const char *value = nul + 1 + sizeof(len);
		good = len <= (size_t)(end - value);
		if (!good)
			break;
		vec_grow(&v, &cap, count + 1);
		v[count].name = arena_strdup(&c->arena, p);
		v[count].value = arena_memdup(&c->arena, value, len);
		v[count++].len = len;
		p = value + len;
	}
	if (good && count) {
		e->xattrs = arena_memdup(&c->arena, v, count * sizeof(*v));
		e->n_xattrs = count;
	}
	pthread_mutex_unlock(&c->arena_lock);
	free(v);
	return good;
}

static int read_xattrs(int fd, struct strbuf *out)
{
	_cleanup_(sys_xattrs_release) struct sys_xattrs x = {0};
	/* one cheap call for the usual answer, none */
	ssize_t n = flistxattr(fd, NULL, 0);
	if (n <= 0)
		return 0;
	int r = sys_xattrs_read(fd, "", &x);
	if (r == 0)
		encode_xattrs(&x, out);
	return r;
}

/* --- listing one directory ------------------------------------------------------------------- */

struct names {
	struct strbuf text; /* "path\0path\0..." */
	struct {
		size_t at, link_at; /* in text; SIZE_MAX: no link */
		struct stat st;
		bool ignored;
	} * v;
	size_t n, cap;
};

static int take_name(struct source_context *c, int fd, const struct cnode *dir,
        const struct dirent *de, struct strbuf *path, struct names *out)
{
	struct stat st;
	bool ignored = is_ignored(c, path->buf);
	if (ignored) {
		/* only a directory can have something to bring back; the type alone tells */
		if (de->d_type != DT_DIR && de->d_type != DT_UNKNOWN)
			return 0;
		if (!df_ignore_may_reinclude(c->ignore, path->buf))
			return 0;
	}
	if (fstatat(fd, de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno; /* removed meanwhile */
	if (ignored && !S_ISDIR(st.st_mode))
		return 0;
	vec_grow(&out->v, &out->cap, out->n + 1);
	out->v[out->n].link_at = SIZE_MAX;
	if (S_ISLNK(st.st_mode)) {
		char target[PATH_MAX];
		ssize_t n = readlinkat(fd, de->d_name, target, sizeof(target) - 1);
		if (n < 0)
			return -errno;
		target[n] = '\0';
		out->v[out->n].link_at = out->text.len;
		strbuf_add(&out->text, target, (size_t)n + 1);
	}
	out->v[out->n].at = out->text.len;
	out->v[out->n].st = st;
	out->v[out->n].ignored = ignored;
	out->n++;
	strbuf_add(&out->text, path->buf, path->len + 1);
	return 0;
}

static int cmp_node(const void *a, const void *b)
{
	return tree_path_cmp(((const struct cnode *)a)->e.path, ((const struct cnode *)b)->e.path);
}

static struct cblock *block_of(struct cnode *dir)
{
	if (!dir->block)
		dir->block = new0(struct cblock, 1);
	return dir->block;
}

static void make_block(struct cnode *dir, struct names *names)
{
	struct cblock *b = block_of(dir);
	b->strings = strbuf_detach(&names->text);
	b->nodes = new0(struct cnode, names->n + 1);
	b->n = names->n;
	for (size_t i = 0; i < b->n; i++) {
		struct cnode *n = &b->nodes[i];
		n->e.path = b->strings + names->v[i].at;
		if (names->v[i].link_at != SIZE_MAX)
			n->e.link = b->strings + names->v[i].link_at;
		n->ignored = names->v[i].ignored;
		fill(n, &names->v[i].st);
	}
	qsort(b->nodes, b->n, sizeof(*b->nodes), cmp_node);
	/* What a look-up found before keeps its listing: it is not read twice. */
	for (size_t i = 0; i < b->n_loose; i++) {
		struct cnode *l = b->loose[i];
		struct cnode *n = bsearch(l, b->nodes, b->n, sizeof(*b->nodes), cmp_node);
		if (n && n->e.type == TREE_DIR && l->e.type == TREE_DIR) {
			n->loaded = l->loaded;
			n->whole = l->whole;
			n->visible = l->visible;
			n->block = l->block;
			n->e.xattrs = l->e.xattrs;
			n->e.n_xattrs = l->e.n_xattrs;
		}
	}
	dir->loaded = true;
}

static int open_dir(const struct source_context *c, const char *path)
{
	return sys_open_beneath(c->fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
}

static int list_dir(struct source_context *c, struct cnode *dir, struct error *err)
{
	struct names names = {.text = STRBUF_INIT};
	_cleanup_strbuf_ struct strbuf path = STRBUF_INIT, xattrs = STRBUF_INIT;
	int fd = open_dir(c, dir->e.path), r = 0;
	if (fd < 0)
		return fail(c, fd, "open directory", dir->e.path, err);
	DIR *d = fdopendir(fd);
	if (!d) {
		r = -errno;
		close(fd);
		return fail(c, r, "list directory", dir->e.path, err);
	}
	if (read_xattrs(fd, &xattrs) == 0)
		(void)decode_xattrs(c, xattrs.buf, xattrs.len, &dir->e);
	if (*dir->e.path)
		strbuf_addf(&path, "%s/", dir->e.path);
	size_t base = path.len;
	struct dirent *de;
	while (r == 0 && (errno = 0, de = readdir(d))) {
		if (str_eq(de->d_name, ".") || str_eq(de->d_name, ".."))
			continue;
		strbuf_truncate(&path, base);
		strbuf_addstr(&path, de->d_name);
		r = take_name(c, fd, dir, de, &path, &names);
	}
	if (r == 0 && errno)
		r = -errno;
	closedir(d);
	if (r < 0)
		fail(c, r, "list directory", dir->e.path, err);
	else
		make_block(dir, &names);
	strbuf_release(&names.text);
	free(names.v);
	return r < 0 ? -1 : 0;
}

/* --- listing a subtree ----------------------------------------------------------------------- */

struct load {
	struct source_context *c;
	struct cnode **v; /* directories, level by level */
	size_t n, cap, from;
	bool failed;
	struct error err;
};

static void load_job(void *ctx, size_t i)
{
	struct load *l = ctx;
	struct cnode *dir = l->v[l->from + i];
	struct error err = ERROR_INIT;
	if (dir->loaded || list_dir(l->c, dir, &err) == 0)
		return;
	pthread_mutex_lock(&l->c->arena_lock);
	if (!l->failed)
		error_move(&l->err, &err);
	l->failed = true;
	pthread_mutex_unlock(&l->c->arena_lock);
	error_release(&err);
}

static void push(struct load *l, struct cnode *dir)
{
	vec_grow(&l->v, &l->cap, l->n + 1);
	l->v[l->n++] = dir;
}

static void mark_visible(struct cnode *dir)
{
	dir->visible = !dir->ignored;
	for (size_t i = 0; i < dir->block->n && !dir->visible; i++) {
		const struct cnode *n = &dir->block->nodes[i];
		dir->visible = !n->ignored || n->visible;
	}
}

int context_load(struct source_context *c, struct cnode *dir, bool whole, struct pool *pool,
        struct error *err)
{
	if (whole ? dir->whole : dir->loaded)
		return 0;
	struct load l = {.c = c};
	size_t total = 0;
	push(&l, dir);
	while (l.from < l.n && !l.failed && total < ENTRIES_MAX) {
		size_t to = l.n;
		pool_run(pool, to - l.from, load_job, &l);
		for (size_t i = l.from; i < to && !l.failed; i++) {
			struct cblock *b = l.v[i]->block;
			total += b->n;
			for (size_t j = 0; j < b->n; j++) {
				struct cnode *n = &b->nodes[j];
				/* what an ignored directory shows is known from its inside only */
				if (n->e.type == TREE_DIR && !n->whole && (whole || n->ignored))
					push(&l, n);
			}
		}
		l.from = to;
	}
	/* children stand behind their parents in v */
	for (size_t i = l.n; i-- > 0 && !l.failed;) {
		mark_visible(l.v[i]);
		l.v[i]->whole = whole;
	}
	free(l.v);
	if (l.failed) {
		error_move(err, &l.err);
		return -1;
	}
	if (total >= ENTRIES_MAX)
		return err_set(
		        err, ERR_BUILD, "the %s has more than %u files", c->name, ENTRIES_MAX);
	return 0;
}

/* --- single look-ups ------------------------------------------------------------------------- */

int context_child(struct source_context *c, struct cnode *dir, const char *name, struct cnode **ret,
        struct error *err)
{
	*ret = NULL;
	if (dir->e.type != TREE_DIR)
		return 0;
	struct cblock *b = block_of(dir);
	_cleanup_free_ char *path = xasprintf("%s%s%s", dir->e.path, *dir->e.path ? "/" : "", name);
	struct cnode key = {.e.path = path};
	if (dir->loaded)
		*ret = bsearch(&key, b->nodes, b->n, sizeof(*b->nodes), cmp_node);
	for (size_t i = 0; i < b->n_loose && !*ret; i++)
		if (str_eq(b->loose[i]->e.path, path))
			*ret = b->loose[i];
	if (*ret)
		return 0;
	struct stat st;
	int r = sys_stat_beneath(c->fd, path, &st);
	if (r == -ENOENT || r == -ENOTDIR || r == -ELOOP || r == -ENAMETOOLONG)
		return 0;
	if (r < 0)
		return fail(c, r, "look at", path, err);
	struct cnode *n = new0(struct cnode, 1);
	n->e.path = take_ptr(path);
	n->loose = true;
	n->ignored = is_ignored(c, n->e.path);
	fill(n, &st);
	vec_grow(&b->loose, &b->cap_loose, b->n_loose + 1);
	b->loose[b->n_loose++] = n;
	*ret = n;
	return 0;
}

int context_readlink(struct source_context *c, struct cnode *n, struct error *err)
{
	if (n->e.link)
		return 0;
	_cleanup_free_ char *target = NULL;
	int r = sys_readlink(c->fd, n->e.path, &target);
	if (r == -EINVAL || r == -ENOENT)
		return err_set(err, ERR_INTEGRITY, "%s of the %s changed while being read",
		        n->e.path, c->name);
	if (r < 0)
		return fail(c, r, "read link", n->e.path, err);
	pthread_mutex_lock(&c->arena_lock);
	n->e.link = arena_strdup(&c->arena, target);
	pthread_mutex_unlock(&c->arena_lock);
	return 0;
}

/* --- digests --------------------------------------------------------------------------------- */

struct hashing {
	struct source_context *c;
	struct cnode **v;
	size_t n;
	bool failed;
	struct error err;
};

/* 1: hashed; 0: the file changed under our hands, try again. */
static int hash_once(struct source_context *c, struct cnode *n, struct error *err)
{
	int64_t now = stat_cache_now();
	_cleanup_close_ int fd = sys_open_beneath(
	        c->fd, n->e.path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
	struct stat st, after;
	_cleanup_strbuf_ struct strbuf xattrs = STRBUF_INIT;
	uint64_t size;
	if (fd < 0)
		return fail(c, fd, "open", n->e.path, err);
	if (fstat(fd, &st) < 0)
		return fail(c, errno, "read", n->e.path, err);
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_INTEGRITY, "%s of the %s changed while being read",
		        n->e.path, c->name);
	int r = layer_hash_fd(fd, &n->e.sha256, &size);
	if (r < 0)
		return fail(c, r, "read", n->e.path, err);
	r = read_xattrs(fd, &xattrs);
	if (r < 0)
		return fail(c, r, "read the attributes of", n->e.path, err);
	if (fstat(fd, &after) < 0)
		return fail(c, errno, "read", n->e.path, err);
	struct stat_key before_key = stat_key_of(&st), after_key = stat_key_of(&after);
	if (!stat_key_eq(&before_key, &after_key) || size != before_key.size)
		return 0;
	fill(n, &st);
	n->e.has_digest = true;
	(void)decode_xattrs(c, xattrs.buf, xattrs.len, &n->e);
	stat_cache_put(c->cache, &n->key, now, &n->e.sha256, xattrs.buf, xattrs.len);
	return 1;
}

static bool digest_cached(struct source_context *c, struct cnode *n)
{
	const void *xattrs;
	size_t len;
	struct digest d;
	if (n->e.has_digest)
		return true;
	if (!stat_cache_get(c->cache, &n->key, &d, &xattrs, &len) ||
	        !decode_xattrs(c, xattrs, len, &n->e))
		return false;
	n->e.sha256 = d;
	n->e.has_digest = true;
	return true;
}

/* Taking an index from the pool costs a lock; an unchanged file costs little more. */
#define CHUNK 32

static void look_up_job(void *ctx, size_t i)
{
	struct hashing *h = ctx;
	for (size_t j = i * CHUNK; j < MIN((i + 1) * CHUNK, h->n); j++)
		(void)digest_cached(h->c, h->v[j]);
}

static int hash_node(struct source_context *c, struct cnode *n, struct error *err)
{
	for (int tries = 0; tries < 3; tries++) {
		int r = hash_once(c, n, err);
		if (r)
			return r < 0 ? -1 : 0;
	}
	err_set(err, ERR_INTEGRITY, "%s of the %s changed while being read", n->e.path, c->name);
	return err_hint(err, "build again when nothing writes to it");
}

static void hash_job(void *ctx, size_t i)
{
	struct hashing *h = ctx;
	struct error err = ERROR_INIT;
	if (__atomic_load_n(&h->failed, __ATOMIC_RELAXED) || hash_node(h->c, h->v[i], &err) == 0)
		return;
	pthread_mutex_lock(&h->c->arena_lock);
	if (!h->failed)
		error_move(&h->err, &err);
	__atomic_store_n(&h->failed, true, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&h->c->arena_lock);
	error_release(&err);
}

/* More than this to read is worth threads, however few files hold it. */
#define READ_ALONE (4u << 20)

int context_digests(struct source_context *c, struct cnode **nodes, size_t n, struct pool *pool,
        struct error *err)
{
	if (!n)
		return 0;
	if (!c->cache)
		c->cache = stat_cache_open(c->cache_dirfd, c->fd);
	struct hashing h = {.c = c, .v = nodes, .n = n};
	pool_run(pool, (n + CHUNK - 1) / CHUNK, look_up_job, &h);
	_cleanup_free_ struct cnode **missing = new0(struct cnode *, n);
	uint64_t bytes = 0;
	h = (struct hashing){.c = c, .v = missing};
	for (size_t i = 0; i < n; i++)
		if (!nodes[i]->e.has_digest) {
			missing[h.n++] = nodes[i];
			bytes += nodes[i]->key.size;
		}
	if (bytes > READ_ALONE)
		pool_start(pool);
	pool_run(pool, h.n, hash_job, &h);
	if (!h.failed)
		return 0;
	error_move(err, &h.err);
	return -1;
}

/* --- the end --------------------------------------------------------------------------------- */

/* Iterative, since a context may be thousands of levels deep. A loose node's block may live on in
 * a listed node: blocks are collected first, each once. */
void context_tree_release(struct source_context *c)
{
	struct cblock **v = NULL;
	size_t n = 0, cap = 0;
	struct cnode *start = &c->root;
	if (start->block) {
		vec_grow(&v, &cap, 1);
		v[n++] = start->block;
	}
	for (size_t i = 0; i < n; i++) {
		struct cblock *b = v[i];
		for (size_t j = 0; j < b->n + b->n_loose; j++) {
			struct cnode *d = j < b->n ? &b->nodes[j] : b->loose[j - b->n];
			bool shared = false;
			/* taken over by the listed node of the same name */
			for (size_t k = 0; j >= b->n && d->block && k < b->n && !shared; k++)
				shared = b->nodes[k].block == d->block;
			if (d->block && !shared) {
				vec_grow(&v, &cap, n + 1);
				v[n++] = d->block;
			}
		}
	}
	while (n-- > 0) {
		struct cblock *b = v[n];
		for (size_t j = 0; j < b->n_loose; j++) {
			free((char *)b->loose[j]->e.path);
			free(b->loose[j]);
		}
		free(b->loose);
		free(b->nodes);
		free(b->strings);
		free(b);
	}
	free(v);
}
