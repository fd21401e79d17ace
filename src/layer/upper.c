/* layer/upper.c - the model of a layer directory that is being written. See upper.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "layer/upper.h"
#include "sys/owner.h"
#include "sys/path.h"
#include "sys/privilege.h"
#include "sys/xattr.h"

#define LINKS_MAX 40
#define NODES_MAX (16u << 20)

/* The umask as a number, without changing it: other threads may be creating files. */
static uint32_t read_umask(void)
{
	_cleanup_close_ int fd =
	        open("/proc/self/status", O_RDONLY | O_CLOEXEC); /* trusted-path: proc */
	char buf[1024];
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);
	if (n <= 0)
		return 07777; /* unknown: every mode is set by fchmod */
	buf[n] = '\0';
	const char *p = strstr(buf, "\nUmask:");
	return p ? (uint32_t)strtoul(p + 7, NULL, 8) : 07777;
}

static struct upper_inode *new_inode(struct upper *u, const struct tree_entry *e)
{
	struct upper_inode *ino = arena_new(&u->arena, struct upper_inode, 1);
	ino->e = *e;
	ino->e.path = NULL;
	ino->first = UPPER_NONE;
	if (e->link)
		ino->e.link = arena_strdup(&u->arena, e->link);
	return ino;
}

static uint32_t add_node(
        struct upper *u, uint32_t parent, const char *name, struct upper_inode *ino)
{
	vec_grow(&u->nodes, &u->cap, u->n + 1);
	u->nodes[u->n] = (struct upper_node){
	        .name = arena_strdup(&u->arena, name),
	        .ino = ino,
	        .parent = parent,
	        .chain = UPPER_NONE,
	};
	return (uint32_t)u->n++;
}

void upper_ids_init(struct upper_ids *ids, bool single_id)
{
	*ids = (struct upper_ids){
	        .single_id = single_id,
	        .widen = single_id && !sys_privilege_reads_all(),
	        .euid = geteuid(),
	        .egid = getegid(),
	        .umask = read_umask(),
	};
}

int upper_init(struct upper *u, int destfd, const struct treeview *lower, const int *lower_fds,
        bool single_id, struct error *err)
{
	*u = (struct upper){
	        .destfd = destfd,
	        .lower = lower,
	        .lower_fds = lower_fds,
	        .n_buckets = 1024,
	};
	upper_ids_init(&u->ids, single_id);
	/* Names come from hostile archives: without a seed they could be made to collide. */
	if (getrandom(&u->seed, sizeof(u->seed), 0) != sizeof(u->seed))
		u->seed = 0x9e3779b97f4a7c15u ^ (uintptr_t)u;
	u->buckets = xmalloc(u->n_buckets * sizeof(*u->buckets));
	memset(u->buckets, 0xff, u->n_buckets * sizeof(*u->buckets));
	for (size_t i = 0; i < UPPER_FDS; i++)
		u->fds[i].fd = -1;

	/* The top layer's root is the root that overlayfs shows, so it must look like the one
	 * below. A set-group-id staging directory must not leak its group into what we create. */
	struct tree_entry root = {.type = TREE_DIR, .mode = 0755};
	struct view_hit hit;
	if (lower && view_lookup(lower, "", &hit) && hit.entry)
		root = *hit.entry;
	struct upper_inode *ino = new_inode(u, &root);
	uint32_t node = add_node(u, UPPER_ROOT, "", ino);
	u->nodes[node].on_disk = true;
	u->nodes[node].lower_dir = lower != NULL;
	if (destfd < 0)
		return 0;
	if (!single_id && fchown(destfd, u->ids.euid, u->ids.egid) < 0)
		return err_sys(err, errno, "cannot change the owner of the staging directory");
	if (fchmod(destfd, 0755) < 0)
		return err_sys(err, errno, "cannot change the mode of the staging directory");
	return 0;
}

void upper_release(struct upper *u)
{
	for (size_t i = 0; i < UPPER_FDS; i++)
		if (u->buckets)
			close_ptr(&u->fds[i].fd);
	arena_release(&u->arena);
	free(u->nodes);
	free(u->buckets);
	*u = (struct upper){0};
}

/* --- the table of names ---------------------------------------------------------------------- */

static uint64_t name_hash(const struct upper *u, uint32_t dir, const char *name)
{
	uint64_t h = u->seed ^ ((uint64_t)dir * 0x9e3779b97f4a7c15u);
	for (const unsigned char *p = (const unsigned char *)name; *p; p++) {
		h = (h ^ *p) * 0xff51afd7ed558ccdu;
		h ^= h >> 32;
	}
	return h ^ (h >> 29);
}

static void table_insert(struct upper *u, uint32_t node)
{
	struct upper_node *nd = &u->nodes[node];
	uint32_t *b = &u->buckets[name_hash(u, nd->parent, nd->name) & (u->n_buckets - 1)];
	nd->chain = *b;
	*b = node;
}

static void table_grow(struct upper *u)
{
	if (u->n < u->n_buckets)
		return;
	u->n_buckets *= 4;
	u->buckets = xrealloc_array(u->buckets, u->n_buckets, sizeof(*u->buckets));
	memset(u->buckets, 0xff, u->n_buckets * sizeof(*u->buckets));
	for (uint32_t i = 1; i < u->n; i++)
		if (!u->nodes[i].dead)
			table_insert(u, i);
}

uint32_t upper_child(const struct upper *u, uint32_t dir, const char *name)
{
	uint32_t i = u->buckets[name_hash(u, dir, name) & (u->n_buckets - 1)];
	for (; i != UPPER_NONE; i = u->nodes[i].chain)
		if (u->nodes[i].parent == dir && str_eq(u->nodes[i].name, name))
			return i;
	return UPPER_NONE;
}

static void table_remove(struct upper *u, uint32_t node)
{
	struct upper_node *nd = &u->nodes[node];
	uint32_t *b = &u->buckets[name_hash(u, nd->parent, nd->name) & (u->n_buckets - 1)];
	while (*b != node)
		b = &u->nodes[*b].chain;
	*b = nd->chain;
}

void upper_path(const struct upper *u, uint32_t node, struct strbuf *out)
{
	size_t len = 0;
	for (uint32_t i = node; i != UPPER_ROOT; i = u->nodes[i].parent)
		len += strlen(u->nodes[i].name) + 1;
	if (len == 0)
		return;
	strbuf_grow(out, len);
	char *end = out->buf + out->len + len - 1;
	out->len += len - 1;
	*end = '\0';
	for (uint32_t i = node; i != UPPER_ROOT; i = u->nodes[i].parent) {
		size_t n = strlen(u->nodes[i].name);
		end -= n;
		memcpy(end, u->nodes[i].name, n);
		if (u->nodes[i].parent != UPPER_ROOT)
			*--end = '/';
	}
}

/* --- looking up ------------------------------------------------------------------------------ */

static bool lookup_lower(const struct upper *u, const char *path, struct upper_hit *ret)
{
	if (!u->lower || !view_lookup(u->lower, path, &ret->lower))
		return false;
	ret->node = UPPER_NONE;
	ret->e = ret->lower.entry;
	if (ret->e->type == TREE_HARDLINK)
		ret->e = view_content(u->lower, &ret->lower);
	return ret->e != NULL;
}

bool upper_lookup(const struct upper *u, uint32_t dir, const char *name, struct upper_hit *ret)
{
	uint32_t child = upper_child(u, dir, name);
	if (child != UPPER_NONE) {
		*ret = (struct upper_hit){.node = child, .e = &u->nodes[child].ino->e};
		return ret->e->type != TREE_WHITEOUT;
	}
	if (!u->nodes[dir].lower_dir)
		return false;
	_cleanup_strbuf_ struct strbuf path = STRBUF_INIT;
	upper_path(u, dir, &path);
	if (path.len)
		strbuf_addch(&path, '/');
	strbuf_addstr(&path, name);
	return lookup_lower(u, path.buf, ret);
}

/* One directory on the way of a resolution. */
struct frame {
	size_t len; /* of the path so far */
	uint32_t node;
	bool lower_ok, missing;
};
struct walk {
	struct frame *v;
	size_t n, cap;
	struct strbuf *path;
};

static void walk_push(struct walk *w, uint32_t node, bool lower_ok, bool missing)
{
	vec_grow(&w->v, &w->cap, w->n + 1);
	w->v[w->n++] = (struct frame){w->path->len, node, lower_ok, missing};
}

static void walk_pop(struct walk *w)
{
	if (w->n > 1)
		w->n--;
	strbuf_truncate(w->path, w->v[w->n - 1].len);
}

/* Look up the component that was just appended to the path. */
static bool walk_lookup(
        const struct upper *u, const struct walk *w, const char *name, struct upper_hit *ret)
{
	const struct frame *f = &w->v[w->n - 1];
	if (f->missing)
		return false;
	if (f->node != UPPER_NONE) {
		uint32_t child = upper_child(u, f->node, name);
		if (child != UPPER_NONE) {
			*ret = (struct upper_hit){.node = child, .e = &u->nodes[child].ino->e};
			return ret->e->type != TREE_WHITEOUT;
		}
	}
	return f->lower_ok && lookup_lower(u, w->path->buf, ret);
}

static bool has_more(const char *p)
{
	return p[strspn(p, "/")] != '\0';
}

int upper_resolve(struct upper *u, const char *base, const char *path, bool follow_last,
        struct strbuf *ret_path, struct upper_hit *ret_hit, struct error *err)
{
	_cleanup_free_ char *todo = xasprintf("%s/%s", base, path);
	_cleanup_free_ struct frame *frames = NULL;
	struct walk w = {.path = ret_path};
	struct upper_hit hit = {.node = UPPER_ROOT, .e = &u->nodes[UPPER_ROOT].ino->e};
	const char *p = todo;
	unsigned links = 0;

	strbuf_reset(ret_path);
	walk_push(&w, UPPER_ROOT, u->lower != NULL, false);
	frames = w.v;
	while (has_more(p)) {
		p += strspn(p, "/");
		size_t n = strcspn(p, "/");
		_cleanup_free_ char *name = xstrndup(p, n);
		p += n;
		if (str_eq(name, "."))
			continue;
		if (str_eq(name, "..")) {
			walk_pop(&w);
			continue;
		}
		size_t before = ret_path->len;
		if (before)
			strbuf_addch(ret_path, '/');
		strbuf_addstr(ret_path, name);
		bool found = walk_lookup(u, &w, name, &hit);
		if (found && hit.e->type == TREE_SYMLINK && (has_more(p) || follow_last)) {
			if (++links > LINKS_MAX)
				return err_set(err, ERR_BUILD,
				        "/%s: too many levels of symbolic links", ret_path->buf);
			char *next = xasprintf("%s/%s", hit.e->link, p);
			if (hit.e->link[0] == '/')
				w.n = 1;
			strbuf_truncate(ret_path, w.v[w.n - 1].len);
			free(todo);
			p = todo = next;
			continue;
		}
		if (found && hit.e->type != TREE_DIR && has_more(p))
			return err_set(err, ERR_BUILD, "/%s is not a directory", ret_path->buf);
		if (!found)
			walk_push(&w, UPPER_NONE, false, true);
		else if (hit.node != UPPER_NONE)
			walk_push(&w, hit.node, u->nodes[hit.node].lower_dir, false);
		else
			walk_push(&w, UPPER_NONE, hit.e->type == TREE_DIR, false);
		frames = w.v;
	}
	const struct frame *last = &w.v[w.n - 1];
	if (last->missing)
		return 0;
	/* ".." may have left hit behind */
	if (last->node != UPPER_NONE)
		*ret_hit =
		        (struct upper_hit){.node = last->node, .e = &u->nodes[last->node].ino->e};
	else if (!lookup_lower(u, ret_path->buf, ret_hit))
		return 0;
	return 1;
}

/* --- directories on disk --------------------------------------------------------------------- */

int upper_dirfd(struct upper *u, uint32_t node, struct error *err)
{
	if (node == UPPER_ROOT)
		return u->destfd;
	size_t victim = 0;
	for (size_t i = 0; i < UPPER_FDS; i++) {
		if (u->fds[i].fd >= 0 && u->fds[i].node == node) {
			u->fds[i].used = ++u->fd_clock;
			return u->fds[i].fd;
		}
		if (u->fds[i].used < u->fds[victim].used)
			victim = i;
	}
	int fd = -1;
	for (size_t i = 0; i < UPPER_FDS && fd < 0; i++)
		if (u->fds[i].fd >= 0 && u->fds[i].node == u->nodes[node].parent)
			fd = openat(u->fds[i].fd, u->nodes[node].name,
			        O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) {
		_cleanup_strbuf_ struct strbuf path = STRBUF_INIT;
		upper_path(u, node, &path);
		fd = sys_open_beneath(u->destfd, path.buf, O_PATH | O_DIRECTORY, 0);
		if (fd < 0)
			return err_sys(
			        err, fd, "cannot open directory /%s of the new layer", path.buf);
	}
	close_ptr(&u->fds[victim].fd);
	u->fds[victim].fd = fd;
	u->fds[victim].node = node;
	u->fds[victim].used = ++u->fd_clock;
	return fd;
}

static void drop_fds(struct upper *u)
{
	for (size_t i = 0; i < UPPER_FDS; i++) {
		close_ptr(&u->fds[i].fd);
		u->fds[i].fd = -1;
		u->fds[i].used = 0;
	}
}

static int disk_error(
        struct upper *u, uint32_t node, int errnum, const char *what, struct error *err)
{
	_cleanup_strbuf_ struct strbuf path = STRBUF_INIT;
	upper_path(u, node, &path);
	return err_sys(err, errnum, "cannot %s /%s in the new layer", what, path.buf);
}

int upper_remove(struct upper *u, uint32_t node, struct error *err)
{
	struct upper_node *nd = &u->nodes[node];
	if (nd->on_disk) {
		int fd = upper_dirfd(u, nd->parent, err);
		if (fd < 0)
			return -1;
		int r;
		if (nd->ino->e.type == TREE_DIR) {
			r = sys_remove_tree(fd, nd->name);
			drop_fds(u); /* descriptors of what is gone */
		} else {
			r = unlinkat(fd, nd->name, 0) < 0 ? -errno : 0;
		}
		if (r < 0)
			return disk_error(u, node, r, "replace", err);
	}
	table_remove(u, node);
	u->removals++;
	nd->dead = true;
	return 0;
}

static int make_dir(struct upper *u, uint32_t node, struct error *err)
{
	struct upper_node *nd = &u->nodes[node];
	if (u->destfd < 0)
		return 0;
	int fd = upper_dirfd(u, nd->parent, err);
	if (fd < 0)
		return -1;
	if (mkdirat(fd, nd->name, 0700) < 0)
		return disk_error(u, node, errno, "make directory", err);
	nd->on_disk = true;
	return 0;
}

static int make_whiteout(struct upper *u, uint32_t node, struct error *err)
{
	struct upper_node *nd = &u->nodes[node];
	if (u->destfd < 0)
		return 0;
	int fd = upper_dirfd(u, nd->parent, err);
	if (fd < 0)
		return -1;
	/* A store on an overlay may have no whiteouts. No overlay will be mounted over it either,
	 * so anything will do to hold the name: the manifest says what it is. */
	if (mknodat(fd, nd->name, S_IFCHR, makedev(0, 0)) < 0 &&
	        (errno != EPERM || mkfifoat(fd, nd->name, 0) < 0))
		return disk_error(u, node, errno, "mark the removal of", err);
	nd->on_disk = true;
	return 0;
}

/* --- placing --------------------------------------------------------------------------------- */

static int new_node(struct upper *u, uint32_t dir, const char *name, struct upper_inode *ino,
        uint32_t *ret, struct error *err)
{
	if (u->n >= NODES_MAX)
		return err_set(err, ERR_INTEGRITY, "more than %u files in one layer", NODES_MAX);
	table_grow(u);
	*ret = add_node(u, dir, name, ino);
	table_insert(u, *ret);
	return 0;
}

static void take_meta(struct upper *u, uint32_t node, const struct tree_entry *e)
{
	struct tree_entry *d = &u->nodes[node].ino->e;
	bool opaque = d->opaque || e->opaque;
	*d = *e;
	d->path = NULL;
	d->opaque = opaque;
}

int upper_put(struct upper *u, uint32_t dir, const char *name, const struct tree_entry *e,
        uint32_t *ret_node, struct error *err)
{
	uint32_t old = upper_child(u, dir, name);
	bool replaced = false, was_whiteout = false;
	if (old != UPPER_NONE) {
		if (e->type == TREE_DIR && u->nodes[old].ino->e.type == TREE_DIR) {
			take_meta(u, old, e);
			*ret_node = old;
			return 0;
		}
		was_whiteout = u->nodes[old].ino->e.type == TREE_WHITEOUT;
		if (upper_remove(u, old, err) < 0)
			return -1;
		replaced = true;
	}
	uint32_t node;
	if (new_node(u, dir, name, new_inode(u, e), &node, err) < 0)
		return -1;
	*ret_node = node;
	if (e->type == TREE_WHITEOUT)
		return make_whiteout(u, node, err);
	if (e->type != TREE_DIR)
		return 0;
	if (make_dir(u, node, err) < 0)
		return -1;
	struct tree_entry *d = upper_entry(u, node);
	/* What was removed must not shine through the directory that takes its place. Where the
	 * lower layers are unknown (apply) only a whiteout says that something is there. */
	if (was_whiteout)
		d->opaque = true;
	struct upper_hit hit;
	_cleanup_strbuf_ struct strbuf path = STRBUF_INIT;
	if (u->nodes[dir].lower_dir) {
		upper_path(u, node, &path);
		if (lookup_lower(u, path.buf, &hit) && hit.e->type == TREE_DIR) {
			if (replaced)
				d->opaque = true;
			u->nodes[node].lower_dir = !d->opaque;
		} else {
			d->opaque = false;
		}
	}
	return 0;
}

int upper_link(struct upper *u, uint32_t dir, const char *name, uint32_t node, uint32_t *ret_node,
        struct error *err)
{
	struct upper_inode *ino = u->nodes[node].ino;
	uint32_t old = upper_child(u, dir, name);
	if (old != UPPER_NONE && upper_remove(u, old, err) < 0)
		return -1;
	return new_node(u, dir, name, ino, ret_node, err);
}

int upper_mkdirs(struct upper *u, const char *path, const struct tree_entry *made,
        uint32_t *ret_node, struct error *err)
{
	uint32_t cur = UPPER_ROOT;
	const char *p = path;
	while (has_more(p)) {
		p += strspn(p, "/");
		size_t n = strcspn(p, "/");
		_cleanup_free_ char *name = xstrndup(p, n);
		p += n;
		struct upper_hit hit;
		bool found = upper_lookup(u, cur, name, &hit);
		if (found && hit.e->type != TREE_DIR)
			return err_set(
			        err, ERR_BUILD, "/%.*s is not a directory", (int)(p - path), path);
		if (found && hit.node != UPPER_NONE) {
			cur = hit.node;
			continue;
		}
		struct tree_entry e = found ? *hit.e : *made;
		if (!found && !e.mtime_sec && !e.mtime_nsec) {
			e.mtime_sec = upper_entry(u, cur)->mtime_sec;
			e.mtime_nsec = upper_entry(u, cur)->mtime_nsec;
		}
		e.type = TREE_DIR;
		e.opaque = false;
		if (upper_put(u, cur, name, &e, &cur, err) < 0)
			return -1;
	}
	*ret_node = cur;
	return 0;
}

/* --- metadata -------------------------------------------------------------------------------- */

bool layer_xattr_allowed(const char *name)
{
	if (str_eq(name, "security.capability"))
		return true;
	return str_starts(name, "user.") && !str_starts(name, "user.overlay.") &&
	       !str_starts(name, "user.strake.") && !str_starts(name, "user.fuseoverlayfs.");
}

/* VFS capabilities, linux/capability.h: magic's top byte is the revision; v3 is v2 and a rootid. */
static void cap_to_v2(struct arena *a, struct tree_xattr *x)
{
	if (!str_eq(x->name, "security.capability") || x->len != 24 || x->value[3] != 3)
		return;
	uint8_t *v2 = arena_memdup(a, x->value, 20);
	v2[3] = 2;
	x->value = v2;
	x->len = 20;
}

void upper_filter_xattrs(struct arena *a, struct tree_entry *e)
{
	uint32_t n = 0;
	struct tree_xattr *v = e->n_xattrs ? arena_new(a, struct tree_xattr, e->n_xattrs) : NULL;
	for (uint32_t i = 0; i < e->n_xattrs; i++) {
		if (!layer_xattr_allowed(e->xattrs[i].name))
			continue;
		v[n].name = arena_strdup(a, e->xattrs[i].name);
		v[n].len = e->xattrs[i].len;
		v[n].value = arena_memdup(a, e->xattrs[i].value, e->xattrs[i].len);
		cap_to_v2(a, &v[n++]);
	}
	e->xattrs = n ? v : NULL;
	e->n_xattrs = n;
}

/* File systems and kernels that do not take an attribute are no reason to fail: SEMANTICS 42. */
static bool xattr_refusal(int errnum)
{
	return errnum == EOPNOTSUPP || errnum == EPERM || errnum == EACCES || errnum == ENOSPC ||
	       errnum == E2BIG || errnum == EINVAL;
}

static struct timespec mtime_of(const struct tree_entry *e)
{
	return (struct timespec){.tv_sec = e->mtime_sec, .tv_nsec = e->mtime_nsec};
}

static bool must_chown(const struct upper_ids *ids, const struct tree_entry *e)
{
	return !ids->single_id && (e->uid != ids->euid || e->gid != ids->egid);
}

/* must_record - single-id mode: the owner is told to later steps by an attribute. */
static bool must_record(const struct upper_ids *ids, const struct tree_entry *e)
{
	return ids->single_id && (e->uid || e->gid);
}

/* disk_mode - the manifest has the true one. */
static uint32_t disk_mode(const struct upper_ids *ids, const struct tree_entry *e)
{
	uint32_t more = !ids->widen ? 0 : e->type == TREE_DIR ? 0700 : 0600;
	return e->mode | more;
}

int upper_meta_fd(const struct upper_ids *ids, int fd, const struct tree_entry *e,
        uint32_t created_mode, const char *shown, struct error *err)
{
	uint32_t mode = disk_mode(ids, e);
	bool chowned = must_chown(ids, e);
	if (chowned && fchown(fd, e->uid, e->gid) < 0)
		return err_sys(err, errno, "cannot give %s to %u:%u", shown, e->uid, e->gid);
	if (must_record(ids, e)) {
		int r = sys_owner_set(fd, "", (struct sys_owner){e->uid, e->gid});
		if (r < 0)
			return err_sys(err, r, "cannot record the owner of %s", shown);
	}
	/* chown clears set-id bits */
	bool special = mode & 06000;
	if ((special || (created_mode & ~ids->umask & 0777) != mode) && fchmod(fd, mode) < 0)
		return err_sys(err, errno, "cannot set the mode of %s", shown);
	for (uint32_t i = 0; i < e->n_xattrs; i++) {
		int r = sys_xattr_set(
		        fd, "", e->xattrs[i].name, e->xattrs[i].value, e->xattrs[i].len);
		if (r < 0 && !xattr_refusal(-r))
			return err_sys(
			        err, r, "cannot set attribute %s of %s", e->xattrs[i].name, shown);
	}
	struct timespec ts[2] = {{.tv_nsec = UTIME_OMIT}, mtime_of(e)};
	if (futimens(fd, ts) < 0)
		return err_sys(err, errno, "cannot set the time of %s", shown);
	return 0;
}

/* The same for what cannot be opened. `name` was made by us and is not a symlink unless e is. */
static int meta_at(struct upper *u, int dirfd, uint32_t node, struct error *err)
{
	const char *name = u->nodes[node].name;
	const struct tree_entry *e = upper_entry(u, node);
	if (must_chown(&u->ids, e) &&
	        fchownat(dirfd, name, e->uid, e->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return disk_error(u, node, errno, "change the owner of", err);
	if (must_record(&u->ids, e) && e->type == TREE_DIR) {
		int r = sys_owner_set(dirfd, name, (struct sys_owner){e->uid, e->gid});
		if (r < 0)
			return disk_error(u, node, r, "record the owner of", err);
	}
	if (e->type != TREE_SYMLINK && fchmodat(dirfd, name, disk_mode(&u->ids, e), 0) < 0)
		return disk_error(u, node, errno, "change the mode of", err);
	for (uint32_t i = 0; i < e->n_xattrs; i++) {
		int r = sys_xattr_set(
		        dirfd, name, e->xattrs[i].name, e->xattrs[i].value, e->xattrs[i].len);
		if (r < 0 && !xattr_refusal(-r))
			return disk_error(u, node, r, "set an attribute of", err);
	}
	struct timespec ts[2] = {{.tv_nsec = UTIME_OMIT}, mtime_of(e)};
	if (utimensat(dirfd, name, ts, AT_SYMLINK_NOFOLLOW) < 0)
		return disk_error(u, node, errno, "set the time of", err);
	return 0;
}

int upper_make_special(struct upper *u, uint32_t node, struct error *err)
{
	const struct tree_entry *e = upper_entry(u, node);
	const char *name = u->nodes[node].name;
	int fd = upper_dirfd(u, u->nodes[node].parent, err), r;
	if (fd < 0)
		return -1;
	switch (e->type) {
	case TREE_SYMLINK:
		r = symlinkat(e->link, fd, name);
		break;
	case TREE_FIFO:
		r = mknodat(fd, name, S_IFIFO | 0600, 0);
		break;
	case TREE_CHR:
	case TREE_BLK:
		r = mknodat(fd, name, (e->type == TREE_CHR ? S_IFCHR : S_IFBLK) | 0600,
		        makedev(e->dev_major, e->dev_minor));
		if (r < 0 && errno == EPERM)
			return make_whiteout(u, node, err);
		break;
	default:
		return err_set(err, ERR_INTERNAL, "upper_make_special: type %d", e->type);
	}
	if (r < 0)
		return disk_error(u, node, errno, "make", err);
	u->nodes[node].on_disk = true;
	return meta_at(u, fd, node, err);
}

static int finish_dirs(struct upper *u, struct error *err)
{
	for (size_t i = u->n; i-- > 1;) {
		struct upper_node *nd = &u->nodes[i];
		if (nd->dead || nd->ino->e.type != TREE_DIR || u->nodes[nd->parent].dead)
			continue;
		/* An orphan of a removed directory has no place on disk; its directory's own
		 * death is found by walking up only here, where it is cheap. */
		uint32_t up = nd->parent;
		while (up != UPPER_ROOT && !u->nodes[up].dead)
			up = u->nodes[up].parent;
		if (up != UPPER_ROOT)
			continue;
		int fd = upper_dirfd(u, nd->parent, err);
		if (fd < 0)
			return -1;
		int r = nd->ino->e.opaque
		                ? sys_xattr_set(fd, nd->name, "user.overlay.opaque", "y", 1)
		                : 0;
		if (r < 0)
			return disk_error(u, (uint32_t)i, r, "mark as opaque", err);
		if (meta_at(u, fd, (uint32_t)i, err) < 0)
			return -1;
	}
	const struct tree_entry *e = upper_entry(u, UPPER_ROOT);
	uint32_t mode = disk_mode(&u->ids, e);
	if (fchmod(u->destfd, mode) < 0)
		return err_sys(err, errno, "cannot set the mode of the root directory");
	return upper_meta_fd(&u->ids, u->destfd, e, mode | u->ids.umask, "the root directory", err);
}

/* --- the tree -------------------------------------------------------------------------------- */

struct named {
	const char *path;
	uint32_t node;
};

static int cmp_named(const void *a, const void *b)
{
	return tree_path_cmp(((const struct named *)a)->path, ((const struct named *)b)->path);
}

/* The live nodes with their paths, in tree order. */
static struct named *list_nodes(struct upper *u, struct arena *a, size_t *ret_n)
{
	struct named *v = new0(struct named, u->n + 1);
	size_t n = 0;
	bool sorted = true;
	_cleanup_strbuf_ struct strbuf path = STRBUF_INIT;
	for (uint32_t i = u->root_set ? 0 : 1; i < u->n; i++) {
		uint32_t up = i;
		while (up != UPPER_ROOT && !u->nodes[up].dead)
			up = u->nodes[up].parent;
		if (up != UPPER_ROOT)
			continue;
		strbuf_reset(&path);
		upper_path(u, i, &path);
		v[n] = (struct named){arena_strndup(a, path.buf, path.len), i};
		if (n && sorted && tree_path_cmp(v[n - 1].path, v[n].path) >= 0)
			sorted = false;
		u->nodes[i].ino->first = UPPER_NONE;
		n++;
	}
	if (!sorted)
		qsort(v, n, sizeof(*v), cmp_named);
	*ret_n = n;
	return v;
}

void upper_list(struct upper *u, struct tree *ret, const struct upper_inode ***ret_inodes)
{
	_cleanup_arena_ struct arena paths = ARENA_INIT;
	size_t n;
	_cleanup_free_ struct named *v = list_nodes(u, &paths, &n);
	struct tree t = TREE_INIT;
	if (ret_inodes)
		*ret_inodes = new0(const struct upper_inode *, n + 1);
	for (size_t i = 0; i < n; i++) {
		struct upper_inode *ino = u->nodes[v[i].node].ino;
		struct tree_entry e = ino->e;
		e.path = v[i].path;
		if (ret_inodes)
			(*ret_inodes)[i] = ino;
		if (ino->first == UPPER_NONE) {
			ino->first = (uint32_t)i;
		} else {
			e.type = TREE_HARDLINK;
			e.link = v[ino->first].path;
			e.size = 0;
			e.has_digest = false;
			memset(&e.sha256, 0, sizeof(e.sha256));
		}
		tree_add(&t, &e);
	}
	tree_sort(&t);
	*ret = t;
}

int upper_finish(struct upper *u, struct tree *ret, struct error *err)
{
	if (finish_dirs(u, err) < 0)
		return -1;
	upper_list(u, ret, NULL);
	return 0;
}
