/* layer/copy.c - COPY and ADD: plan in the model, then move the bytes on the pool.
 *
 * Every item is first placed in the model of the new layer (destination links, parents, refusals,
 * replacements), so a file that a later item replaces is never copied. Then each inode's content
 * is written once, many at a time, and its further names are linked. SEMANTICS 30-46, 80-85. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "layer/content.h"
#include "layer/unpack.h"
#include "sys/path.h"
#include "tar/writer.h"

#define CHUNK 16
#define ARCHIVE_MAX_BYTES (64ull << 30)

struct copy {
	struct upper u;
	const struct copy_request *rq;
	struct pool *pool;
	uint32_t uid, gid;      /* of --chown */
	struct tree_entry made; /* directories that must be created */
};

/* --- metadata -------------------------------------------------------------------------------- */

static int target_entry(
        struct copy *c, const struct tree_entry *src, struct tree_entry *ret, struct error *err)
{
	const struct copy_request *rq = c->rq;
	*ret = *src;
	ret->path = NULL;
	ret->opaque = false;
	if (rq->chown || !rq->keep_owner) {
		ret->uid = c->uid;
		ret->gid = c->gid;
	}
	if (src->type == TREE_SYMLINK)
		ret->mode = 0777;
	else if (rq->chmod && layer_parse_chmod(rq->chmod, src->mode, src->type == TREE_DIR,
	                              &ret->mode, err) < 0)
		return -1;
	if (rq->time) {
		ret->mtime_sec = *rq->time;
		ret->mtime_nsec = 0;
	}
	upper_filter_xattrs(&c->u.arena, ret);
	return 0;
}

static int refuse(
        const struct copy *c, uint32_t dir, const char *name, const char *fmt, struct error *err)
{
	_cleanup_strbuf_ struct strbuf path = STRBUF_INIT;
	upper_path(&c->u, dir, &path);
	if (path.len)
		strbuf_addch(&path, '/');
	strbuf_addstr(&path, name);
	return err_set(err, ERR_BUILD, "cannot replace the %s /%s", fmt, path.buf);
}

/* Put one entry as name into the directory node; *ret is UPPER_NONE for what layers cannot hold. */
static int place(struct copy *c, uint32_t dir, const char *name, const struct copy_entry *ce,
        bool immutable, uint32_t *ret, struct error *err)
{
	const struct tree_entry *src = ce->e;
	struct upper_hit hit;
	struct tree_entry e;
	*ret = UPPER_NONE;
	if (src->type == TREE_SOCK || src->type == TREE_WHITEOUT)
		return 0;
	if (str_starts(name, ".wh.") ||
	        (src->type == TREE_CHR && src->dev_major == 0 && src->dev_minor == 0)) {
		err_set(err, ERR_BUILD, "no layer can hold a file like %s", name);
		return err_hint(err,
		        "names that begin with .wh., and devices 0:0, mean removal in "
		        "image layers; leave them out with --exclude or .dockerignore");
	}
	if (upper_lookup(&c->u, dir, name, &hit)) {
		if (hit.e->type == TREE_DIR && src->type != TREE_DIR)
			return refuse(c, dir, name,
			        src->type == TREE_SYMLINK ? "directory (by a link)"
			                                  : "directory (by a file)",
			        err);
		if (hit.e->type != TREE_DIR && src->type == TREE_DIR)
			return refuse(c, dir, name,
			        hit.e->type == TREE_SYMLINK ? "link (by a directory)"
			                                    : "file (by a directory)",
			        err);
	}
	if (target_entry(c, src, &e, err) < 0 || upper_put(&c->u, dir, name, &e, ret, err) < 0)
		return -1;
	if (src->type == TREE_REG) {
		c->u.nodes[*ret].ino->pending = ce;
		c->u.nodes[*ret].ino->immutable = immutable;
	}
	return 0;
}

/* --- moving the bytes ------------------------------------------------------------------------ */

struct flush {
	struct copy *c;
	const uint32_t *nodes; /* each with content to be written */
	size_t n;
	pthread_mutex_t lock;
	struct error err;
	bool failed;
};

static int write_node(struct flush *f, int dirfd, uint32_t node, struct error *err)
{
	struct upper_node *nd = &f->c->u.nodes[node];
	const struct copy_entry *ce = nd->ino->pending;
	const char *shown = ce->dirfd < 0 ? nd->name : ce->src;
	struct content_source src = {
	        .dirfd = ce->dirfd,
	        .path = ce->src,
	        .data = ce->data,
	        .shown = shown,
	        .e = ce->e,
	        .stored = nd->ino->immutable,
	        .may_link = nd->ino->immutable,
	};
	return content_place(&f->c->u.ids, &src, dirfd, nd->name, &nd->ino->e, err);
}

static void flush_job(void *ctx, size_t chunk)
{
	struct flush *f = ctx;
	struct error err = ERROR_INIT;
	_cleanup_close_ int dirfd = -1;
	uint32_t dir = UPPER_NONE;
	_cleanup_strbuf_ struct strbuf path = STRBUF_INIT;
	for (size_t i = chunk * CHUNK; i < MIN((chunk + 1) * CHUNK, f->n); i++) {
		uint32_t parent = f->c->u.nodes[f->nodes[i]].parent;
		if (__atomic_load_n(&f->failed, __ATOMIC_RELAXED))
			return;
		if (parent != dir) {
			close_ptr(&dirfd);
			strbuf_reset(&path);
			upper_path(&f->c->u, parent, &path);
			dirfd = sys_open_beneath(f->c->u.destfd, path.buf, O_PATH | O_DIRECTORY, 0);
			dir = parent;
			if (dirfd < 0)
				err_sys(&err, dirfd, "cannot open /%s of the new layer", path.buf);
		}
		if (dirfd >= 0 && write_node(f, dirfd, f->nodes[i], &err) == 0)
			continue;
		pthread_mutex_lock(&f->lock);
		if (!f->failed)
			error_move(&f->err, &err);
		__atomic_store_n(&f->failed, true, __ATOMIC_RELAXED);
		pthread_mutex_unlock(&f->lock);
		error_release(&err);
		return;
	}
}

static int link_node(struct upper *u, uint32_t node, struct error *err)
{
	struct upper_node *nd = &u->nodes[node], *first = &u->nodes[nd->ino->first];
	int from = upper_dirfd(u, first->parent, err);
	int to = from < 0 ? -1 : upper_dirfd(u, nd->parent, err);
	if (to < 0)
		return -1;
	if (linkat(from, first->name, to, nd->name, 0) < 0)
		return err_sys(
		        err, errno, "cannot link %s to %s in the new layer", nd->name, first->name);
	nd->on_disk = true;
	return 0;
}

/* Whatever of the model is not on disk yet: contents on the pool, then specials, then links. */
static int flush_pending(struct copy *c, struct error *err)
{
	struct upper *u = &c->u;
	_cleanup_free_ uint32_t *files = xcalloc(u->n, sizeof(uint32_t));
	_cleanup_free_ uint32_t *links = xcalloc(u->n, sizeof(uint32_t));
	size_t n_files = 0, n_links = 0;
	for (uint32_t i = 1; i < u->n; i++) {
		struct upper_node *nd = &u->nodes[i];
		uint32_t up = i;
		while (up != UPPER_ROOT && !u->nodes[up].dead)
			up = u->nodes[up].parent;
		if (up != UPPER_ROOT || nd->on_disk)
			continue;
		if (nd->ino->first != UPPER_NONE) {
			links[n_links++] = i;
			continue;
		}
		nd->ino->first = i;
		if (nd->ino->e.type == TREE_REG)
			files[n_files++] = i;
		else if (upper_make_special(u, i, err) < 0)
			return -1;
	}
	struct flush f = {
	        .c = c,
	        .nodes = files,
	        .n = n_files,
	        .lock = PTHREAD_MUTEX_INITIALIZER,
	};
	pool_run(c->pool, (n_files + CHUNK - 1) / CHUNK, flush_job, &f);
	pthread_mutex_destroy(&f.lock);
	if (f.failed) {
		error_move(err, &f.err);
		return -1;
	}
	for (size_t i = 0; i < n_files; i++)
		upper_on_disk(u, files[i]);
	for (size_t i = 0; i < n_links; i++)
		if (link_node(u, links[i], err) < 0)
			return -1;
	return 0;
}

/* --- where an item goes ---------------------------------------------------------------------- */

struct dest {
	uint32_t dir;
	char *name; /* NULL: the directory itself is the destination */
};

static int not_a_directory(const char *path, struct error *err)
{
	return err_set(
	        err, ERR_BUILD, "cannot copy into /%s: it exists and is not a directory", path);
}

static int find_dest(
        struct copy *c, const struct copy_item *it, struct dest *ret, struct error *err)
{
	_cleanup_strbuf_ struct strbuf path = STRBUF_INIT;
	const char *dest = c->rq->dest;
	bool contents = it->is_dir || it->archive;
	bool slash = str_ends(dest, "/") || str_ends(dest, "/.") || c->rq->dest_is_dir;
	struct upper_hit hit;
	int r = upper_resolve(&c->u, "", dest, true, &path, &hit, err);
	if (r < 0)
		return -1;
	bool is_dir = r == 1 && hit.e->type == TREE_DIR;
	if (r == 1 && !is_dir && (contents || slash))
		return not_a_directory(path.buf, err);
	if (is_dir || contents || slash) {
		if (!contents)
			ret->name = xstrdup(it->name);
		return upper_mkdirs(&c->u, path.buf, &c->made, &ret->dir, err);
	}
	char *last = strrchr(path.buf, '/');
	ret->name = xstrdup(last ? last + 1 : path.buf);
	if (last)
		*last = '\0';
	return upper_mkdirs(&c->u, last ? path.buf : "", &c->made, &ret->dir, err);
}

/* --- the three kinds of items ---------------------------------------------------------------- */

static int by_source_path(const void *a, const void *b)
{
	const struct copy_entry *x = *(const struct copy_entry *const *)a;
	const struct copy_entry *y = *(const struct copy_entry *const *)b;
	return tree_path_cmp(x->e->path, y->e->path);
}

/* The nodes of a directory item's entries, and the way from a source path to its entry. */
struct contents {
	const struct copy_item *it;
	uint32_t *nodes;
	const struct copy_entry **by_path; /* made when the first hard link comes */
};

static int place_hardlink(struct copy *c, struct contents *k, uint32_t dir, const char *name,
        size_t i, struct error *err)
{
	const struct copy_item *it = k->it;
	const struct tree_entry *e = it->entries[i].e;
	struct upper_hit hit;
	if (!k->by_path) {
		k->by_path = new0(const struct copy_entry *, it->n);
		for (size_t j = 0; j < it->n; j++)
			k->by_path[j] = &it->entries[j];
		qsort(k->by_path, it->n, sizeof(*k->by_path), by_source_path);
	}
	struct tree_entry want = {.path = e->link};
	struct copy_entry ke = {.e = &want};
	const struct copy_entry *key = &ke;
	const struct copy_entry **at =
	        bsearch(&key, k->by_path, it->n, sizeof(*k->by_path), by_source_path);
	uint32_t target = at ? k->nodes[*at - it->entries] : UPPER_NONE;
	if (target == UPPER_NONE)
		return err_set(err, ERR_INTERNAL, "%s: hard link to %s, which is not copied",
		        e->path, e->link);
	if (upper_lookup(&c->u, dir, name, &hit) && hit.e->type == TREE_DIR)
		return refuse(c, dir, name, "directory (by a file)", err);
	return upper_link(&c->u, dir, name, target, &k->nodes[i], err);
}

static int place_contents(
        struct copy *c, const struct copy_item *it, uint32_t base, struct error *err)
{
	_cleanup_free_ uint32_t *nodes = xcalloc(it->n + 1, sizeof(uint32_t));
	struct contents k = {.it = it, .nodes = nodes};
	_cleanup_strbuf_ struct strbuf base_path = STRBUF_INIT, path = STRBUF_INIT;
	const char *last_dir = NULL; /* rel of the directory that `dir` is, len bytes of it */
	size_t last_len = 0;
	uint32_t dir = base;
	int r = 0;
	upper_path(&c->u, base, &base_path);
	for (size_t i = 0; i < it->n && r == 0; i++) {
		const struct copy_entry *ce = &it->entries[i];
		nodes[i] = UPPER_NONE;
		if (!*ce->rel)
			continue; /* the destination directory keeps its own metadata */
		const char *slash = strrchr(ce->rel, '/');
		size_t len = slash ? (size_t)(slash - ce->rel) : 0;
		if (!last_dir || len != last_len || memcmp(last_dir, ce->rel, len) != 0) {
			strbuf_reset(&path);
			strbuf_addf(&path, "%s/%.*s", base_path.buf, (int)len, ce->rel);
			r = upper_mkdirs(&c->u, path.buf, &c->made, &dir, err);
			last_dir = ce->rel;
			last_len = len;
			if (r < 0)
				break;
		}
		const char *name = slash ? slash + 1 : ce->rel;
		r = ce->e->type == TREE_HARDLINK
		            ? place_hardlink(c, &k, dir, name, i, err)
		            : place(c, dir, name, ce, it->immutable, &nodes[i], err);
	}
	free(k.by_path);
	return r;
}

static int place_archive(
        struct copy *c, const struct copy_item *it, uint32_t base, struct error *err)
{
	const struct copy_entry *ce = &it->entries[0];
	if (flush_pending(c, err) < 0)
		return -1;
	_cleanup_close_ int fd =
	        sys_open_beneath(ce->dirfd, ce->src, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(err, fd, "cannot open %s", it->shown);
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_sys(err, errno, "cannot read %s", it->shown);
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != ce->e->size)
		return err_set(err, ERR_INTEGRITY, "%s changed while being read", it->shown);
	_cleanup_strbuf_ struct strbuf path = STRBUF_INIT;
	upper_path(&c->u, base, &path);
	struct unpack_options opt = {
	        .what = it->shown,
	        .base = path.buf,
	        .chown = c->rq->chown != NULL,
	        .uid = c->uid,
	        .gid = c->gid,
	        .max_bytes = ARCHIVE_MAX_BYTES,
	};
	return unpack_archive_fd(&c->u, fd, &opt, ce->e->has_digest ? &ce->e->sha256 : NULL, err);
}

static int copy_item(struct copy *c, const struct copy_item *it, struct error *err)
{
	struct dest d = {0};
	uint32_t node;
	int r = find_dest(c, it, &d, err);
	if (r == 0 && it->archive)
		r = place_archive(c, it, d.dir, err);
	else if (r == 0 && it->is_dir)
		r = place_contents(c, it, d.dir, err);
	else if (r == 0 && it->n)
		r = place(c, d.dir, d.name, &it->entries[0], it->immutable, &node, err);
	free(d.name);
	if (r < 0 && it->shown && err->class == ERR_BUILD)
		return err_wrap(err, "copying %s to %s", it->shown, c->rq->dest);
	return r;
}

/* --- all of it ------------------------------------------------------------------------------- */

/* Directories made on the way are as new as the newest thing copied, not as the clock: the same
 * input gives the same layer. */
static void newest(const struct copy_request *rq, struct tree_entry *made)
{
	if (rq->time)
		made->mtime_sec = *rq->time;
	for (size_t i = 0; i < rq->n_items && !rq->time; i++)
		for (size_t j = 0; j < rq->items[i].n; j++) {
			const struct tree_entry *e = rq->items[i].entries[j].e;
			if (e->mtime_sec > made->mtime_sec ||
			        (e->mtime_sec == made->mtime_sec &&
			                e->mtime_nsec > made->mtime_nsec)) {
				made->mtime_sec = e->mtime_sec;
				made->mtime_nsec = e->mtime_nsec;
			}
		}
}

static int prepare(struct copy *c, struct error *err)
{
	const struct copy_request *rq = c->rq;
	if (rq->chown &&
	        layer_lookup_user(rq->chown, rq->lower, rq->lower_fds, &c->uid, &c->gid, err) < 0)
		return err_wrap(err, "--chown=%s", rq->chown);
	c->made = (struct tree_entry){.type = TREE_DIR, .mode = 0755, .uid = c->uid, .gid = c->gid};
	if (rq->chmod && layer_parse_chmod(rq->chmod, 0755, true, &c->made.mode, err) < 0)
		return err_wrap(err, "--chmod");
	newest(rq, &c->made);
	return 0;
}

/* place_all - the model of the layer; only archives have touched the disk. */
static int place_all(struct copy *c, int destfd, struct error *err)
{
	static const struct treeview nothing;
	const struct copy_request *rq = c->rq;
	const struct treeview *lower = rq->link || !rq->lower ? &nothing : rq->lower;
	if (prepare(c, err) < 0)
		return -1;
	int r = upper_init(&c->u, destfd, lower, rq->lower_fds, rq->single_id, err);
	for (size_t i = 0; i < rq->n_items && r == 0; i++)
		r = copy_item(c, &rq->items[i], err);
	return r;
}

int layer_copy(const struct copy_request *rq, struct pool *pool, int destfd, struct tree *ret,
        struct error *err)
{
	struct copy c = {.rq = rq, .pool = pool};
	int r = place_all(&c, destfd, err);
	if (r == 0)
		r = flush_pending(&c, err);
	if (r == 0)
		r = upper_finish(&c.u, ret, err);
	upper_release(&c.u);
	return r;
}

/* content_of - where the bytes of an entry of the tree come from. Texts get their digests here. */
static int content_of(const struct upper_inode *ino, struct tree_entry *e, struct tar_content *ret,
        struct error *err)
{
	const struct copy_entry *ce = ino->pending;
	if (e->type != TREE_REG)
		return 0;
	if (ce && ce->dirfd < 0) {
		sha256_buf(ce->data, e->size, &e->sha256);
		e->has_digest = true;
	}
	if (!ce || !e->has_digest)
		return err_set(err, ERR_INTERNAL, "%s: its content is not known", e->path);
	*ret = (struct tar_content){ce->dirfd, ce->src, ce->data, ino->immutable};
	return 0;
}

int layer_copy_tar(const struct copy_request *rq, struct sink *out, struct tree *ret,
        struct digest *ret_diff_id, uint64_t *ret_tar_size, struct error *err)
{
	struct copy c = {.rq = rq};
	_cleanup_tree_ struct tree t = TREE_INIT;
	_cleanup_free_ const struct upper_inode **inodes = NULL;
	for (size_t i = 0; i < rq->n_items; i++)
		if (rq->items[i].archive)
			return err_set(err, ERR_INTERNAL, "an archive cannot be copied as a tar");
	int r = place_all(&c, -1, err);
	if (r == 0)
		upper_list(&c.u, &t, &inodes);
	_cleanup_free_ struct tar_content *content = new0(struct tar_content, t.n + 1);
	for (size_t i = 0; i < t.n && r == 0; i++)
		r = content_of(inodes[i], &t.entries[i], &content[i], err);
	/* The model is as large as the tree: not both while the bytes flow. */
	upper_release(&c.u);
	if (r < 0 || tar_write_contents(&t, content, out, ret_diff_id, ret_tar_size, err) < 0)
		return -1;
	*ret = t;
	t = TREE_INIT;
	return 0;
}
