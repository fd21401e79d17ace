/* source/context.c - a local directory as the source of COPY and ADD. See context.h.
 *
 * Nothing is read before something asks, and then only that. One selection at a time (a lock);
 * within it the pool lists, stats and hashes. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "source/context_tree.h"
#include "source/select.h"
#include "sys/path.h"

#define LINKS_MAX 40

int source_context_open(const char *path, const struct source_context_options *opt,
        struct source_context **ret, struct error *err)
{
	int fd = sys_open_dir(AT_FDCWD, path);
	if (fd == -ENOENT || fd == -ENOTDIR) {
		err_set(err, ERR_USAGE, "%s %s: %s", opt->name, path,
		        fd == -ENOENT ? "no such directory" : "not a directory");
		return -1;
	}
	if (fd < 0)
		return err_sys(err, fd, "cannot open %s %s", opt->name, path);
	struct stat st;
	if (fstat(fd, &st) < 0) {
		err_sys(err, errno, "cannot read %s %s", opt->name, path);
		close(fd);
		return -1;
	}
	struct source_context *c = new0(struct source_context, 1);
	c->fd = fd;
	c->name = xstrdup(opt->name);
	c->ignore = opt->ignore && !df_ignore_is_empty(opt->ignore) ? opt->ignore : NULL;
	c->cache_dirfd = opt->cache_dirfd;
	c->root.e = (struct tree_entry){.path = "",
	        .type = TREE_DIR,
	        .mode = st.st_mode & 07777,
	        .mtime_sec = st.st_mtim.tv_sec};
	pthread_mutex_init(&c->arena_lock, NULL);
	pthread_mutex_init(&c->lock, NULL);
	*ret = c;
	return 0;
}

void source_context_free(struct source_context *c)
{
	if (!c)
		return;
	stat_cache_close(c->cache);
	context_tree_release(c);
	arena_release(&c->arena);
	pthread_mutex_destroy(&c->arena_lock);
	pthread_mutex_destroy(&c->lock);
	close_ptr(&c->fd);
	free(c->name);
	free(c);
}

int source_context_fd(const struct source_context *c)
{
	return c->fd;
}

/* --- the context behind select.h ------------------------------------------------------------- */

struct context_fs {
	struct select_fs fs;
	struct source_context *c;
	struct pool *pool;
};

static void to_hit(const struct source_context *c, struct cnode *n, struct select_hit *ret)
{
	*ret = (struct select_hit){.e = &n->e, .body = &n->e, .node = n, .dirfd = c->fd};
	if (n->linked) {
		ret->group[0] = n->key.dev + 1; /* never zeros */
		ret->group[1] = n->key.ino;
	}
}

/* The nodes from the root to where the walk is, so that ".." needs no look-up. */
struct way {
	struct cnode **v;
	size_t n, cap;
};

static void way_push(struct way *w, struct cnode *n)
{
	vec_grow(&w->v, &w->cap, w->n + 1);
	w->v[w->n++] = n;
}

/* 1: *ret; 0: missing or hidden. */
static int walk(struct source_context *c, const char *path, bool follow, struct way *w,
        struct cnode **ret, int *ret_line, struct error *err)
{
	_cleanup_free_ char *todo = xstrdup(path);
	const char *p = todo;
	unsigned links = 0;
	way_push(w, &c->root);
	for (;;) {
		p += strspn(p, "/");
		if (!*p)
			break;
		size_t len = strcspn(p, "/");
		_cleanup_free_ char *name = xstrndup(p, len);
		p += len;
		if (str_eq(name, "."))
			continue;
		if (str_eq(name, "..")) {
			w->n -= w->n > 1;
			continue;
		}
		struct cnode *n;
		if (context_child(c, w->v[w->n - 1], name, &n, err) < 0)
			return -1;
		if (!n)
			return 0;
		if (n->ignored && n->e.type != TREE_DIR) {
			df_ignore_match(c->ignore, n->e.path, ret_line);
			return 0;
		}
		if (n->e.type != TREE_SYMLINK || !follow) {
			if (n->e.type == TREE_SYMLINK && context_readlink(c, n, err) < 0)
				return -1;
			way_push(w, n);
			continue;
		}
		if (context_readlink(c, n, err) < 0)
			return -1;
		if (++links > LINKS_MAX)
			return err_set(
			        err, ERR_BUILD, "%s: too many levels of symbolic links", n->e.path);
		if (n->e.link[0] == '/')
			w->n = 1;
		char *next = xasprintf("%s/%s", n->e.link, p);
		free(todo);
		p = todo = next;
	}
	*ret = w->v[w->n - 1];
	return 1;
}

static int fs_find(struct select_fs *fs, const char *path, bool follow, struct select_hit *ret,
        int *ret_line, struct error *err)
{
	struct context_fs *x = (struct context_fs *)fs;
	struct way w = {0};
	struct cnode *n;
	*ret_line = 0;
	int r = walk(x->c, path, follow, &w, &n, ret_line, err);
	free(w.v);
	if (r == 1)
		to_hit(x->c, n, ret);
	return r;
}

/* --- listing --------------------------------------------------------------------------------- */

struct cursor {
	struct cnode *dir;
	size_t next;
};

static int list_nodes(struct context_fs *x, struct cnode *dir, bool recursive,
        int (*fn)(void *, const struct select_hit *), void *ctx)
{
	struct cursor *stack = NULL;
	size_t n = 0, cap = 0;
	int r = 0;
	vec_grow(&stack, &cap, 1);
	stack[n++] = (struct cursor){dir, 0};
	while (n && r == 0) {
		struct cursor *top = &stack[n - 1];
		if (top->next == top->dir->block->n) {
			n--;
			continue;
		}
		struct cnode *child = &top->dir->block->nodes[top->next++];
		struct select_hit hit;
		if (child->ignored && !child->visible)
			continue;
		to_hit(x->c, child, &hit);
		r = fn(ctx, &hit);
		if (r == 0 && recursive && child->e.type == TREE_DIR) {
			vec_grow(&stack, &cap, n + 1);
			stack[n++] = (struct cursor){child, 0};
		}
	}
	free(stack);
	return r;
}

static int fs_list(struct select_fs *fs, const struct select_hit *dir, bool recursive,
        int (*fn)(void *, const struct select_hit *), void *ctx, struct error *err)
{
	struct context_fs *x = (struct context_fs *)fs;
	struct cnode *d = dir->node;
	/* An ignored directory is opened only if a `!` may show something of it. */
	if (d->ignored && !df_ignore_may_reinclude(x->c->ignore, d->e.path))
		return 0;
	if (context_load(x->c, d, recursive, x->pool, err) < 0)
		return -1;
	return list_nodes(x, d, recursive, fn, ctx);
}

static int fs_digests(
        struct select_fs *fs, const struct select_hit *const *hits, size_t n, struct error *err)
{
	struct context_fs *x = (struct context_fs *)fs;
	_cleanup_free_ struct cnode **v = new0(struct cnode *, n + 1);
	for (size_t i = 0; i < n; i++)
		v[i] = hits[i]->node;
	return context_digests(x->c, v, n, x->pool, err);
}

int source_context_select(struct source_context *c, const struct source_select *what,
        struct pool *pool, struct source_selection *ret, struct error *err)
{
	_cleanup_free_ char *shown =
	        str_eq(c->name, "context") ? xstrdup("build context") : xstrdup(c->name);
	struct context_fs x = {
	        .fs = {.what = shown,
	                .find = fs_find,
	                .list = fs_list,
	                .digests = fs_digests,
	                .ignore = c->ignore},
	        .c = c,
	        .pool = pool,
	};
	pthread_mutex_lock(&c->lock);
	int r = select_run(&x.fs, what, ret, err);
	pthread_mutex_unlock(&c->lock);
	return r;
}
