/* layer/scan.c - what a RUN changed: an overlay upper directory read into a tree.
 *
 * Directories are listed a level at a time on the pool, each opened by its path below the upper
 * directory, so neither depth nor width costs descriptors. The process tree of the step is dead:
 * nothing changes under our hands. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "layer/content.h"
#include "layer/layer.h"
#include "sys/owner.h"
#include "sys/path.h"
#include "sys/xattr.h"

#define ENTRIES_MAX (16u << 20)

struct found {
	struct tree_entry e; /* strings in the arena of the directory that listed it */
	dev_t dev;
	ino_t ino;
	bool shared; /* more than one name */
	bool opaque; /* as overlayfs has it; e.opaque stays false */
	bool dropped;
	bool owned;     /* single-id mode: its owner is on record */
	size_t same_as; /* hard link: index of the first name; SIZE_MAX: none */
};

struct listing {
	const char *path;
	struct found *v;
	size_t n, cap;
	struct arena arena;
};

struct scan {
	int upperfd;
	const struct treeview *lower;
	const struct owner_table *owners; /* single-id mode; else NULL */
	struct listing **dirs;            /* all of them; the current level is [from, to) */
	size_t n_dirs, cap_dirs, from;
	struct found **all; /* sorted */
	size_t n_all;
	size_t *work; /* indices into all, to be hashed */
	size_t n_work;
	pthread_mutex_t lock;
	struct error err; /* the first error of the pool */
	bool failed;
};

static void fail(struct scan *s, struct error *err)
{
	pthread_mutex_lock(&s->lock);
	if (!s->failed)
		error_move(&s->err, err);
	s->failed = true;
	pthread_mutex_unlock(&s->lock);
	error_release(err);
}

/* --- one entry ------------------------------------------------------------------------------- */

static enum tree_type type_of(const struct stat *st)
{
	bool whiteout = S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
	return whiteout ? TREE_WHITEOUT : tree_type_of(st->st_mode);
}

static void take_owner(struct found *f, const struct sys_xattr *a)
{
	struct sys_owner o;
	if (!sys_owner_parse(a->value, a->len, &o))
		return;
	f->e.uid = o.uid;
	f->e.gid = o.gid;
	f->owned = true;
}

static int take_xattrs(
        const struct scan *s, struct listing *l, int dirfd, const char *name, struct found *f)
{
	_cleanup_(sys_xattrs_release) struct sys_xattrs x = {0};
	int r = sys_xattrs_read(dirfd, name, &x);
	if (r < 0)
		return r;
	struct tree_xattr *v = x.n ? arena_new(&l->arena, struct tree_xattr, x.n) : NULL;
	for (size_t i = 0; i < x.n; i++) {
		const struct sys_xattr *a = &x.v[i];
		if (str_eq(a->name, "user.overlay.opaque") && a->len == 1 &&
		        *(const char *)a->value == 'y')
			f->opaque = true;
		if (s->owners && str_eq(a->name, SYS_OWNER_XATTR))
			take_owner(f, a);
		v[i].name = a->name;
		v[i].value = a->value;
		v[i].len = (uint32_t)a->len;
	}
	f->e.xattrs = v;
	f->e.n_xattrs = (uint32_t)x.n;
	upper_filter_xattrs(&l->arena, &f->e);
	return 0;
}

static int take_link(struct listing *l, int dirfd, const char *name, struct found *f)
{
	char buf[PATH_MAX];
	ssize_t n = readlinkat(dirfd, name, buf, sizeof(buf));
	if (n < 0)
		return -errno;
	f->e.link = arena_strndup(&l->arena, buf, (size_t)n);
	return 0;
}

/* take_ids - what the disk says; with a single id, root's until a record says otherwise. */
static void take_ids(const struct scan *s, const struct stat *st, struct found *f)
{
	f->e.uid = s->owners ? 0 : st->st_uid;
	f->e.gid = s->owners ? 0 : st->st_gid;
	const struct owner_record *r =
	        s->owners ? owner_table_find(s->owners, OWNER_UPPER, st->st_ino) : NULL;
	if (!r || S_ISREG(st->st_mode) || S_ISDIR(st->st_mode))
		return;
	f->e.uid = r->uid;
	f->e.gid = r->gid;
	f->owned = true;
}

static int take_entry(
        const struct scan *s, struct listing *l, int dirfd, const char *name, struct error *err)
{
	struct stat st;
	struct found f = {.same_as = SIZE_MAX};
	struct tree_entry *e = &f.e;
	e->path = arena_printf(&l->arena, "%s%s%s", l->path, *l->path ? "/" : "", name);
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, errno, "cannot read /%s", e->path);
	e->type = type_of(&st);
	if (str_starts(name, ".wh.")) {
		err_set(err, ERR_BUILD, "the step made /%s, which no layer can hold", e->path);
		return err_hint(err, "names that begin with .wh. mean removal in image layers; "
		                     "remove or rename it in the same RUN");
	}
	int r = 0;
	if (e->type != TREE_WHITEOUT && e->type != TREE_SOCK) {
		e->mode = e->type == TREE_SYMLINK ? 0777 : st.st_mode & 07777;
		take_ids(s, &st, &f);
		e->size = e->type == TREE_REG ? (uint64_t)st.st_size : 0;
		e->mtime_sec = st.st_mtim.tv_sec;
		e->mtime_nsec = (uint32_t)st.st_mtim.tv_nsec;
		if (e->type == TREE_CHR || e->type == TREE_BLK) {
			e->dev_major = major(st.st_rdev);
			e->dev_minor = minor(st.st_rdev);
		}
		f.dev = st.st_dev;
		f.ino = st.st_ino;
		f.shared = e->type != TREE_DIR && st.st_nlink > 1;
		if (e->type == TREE_SYMLINK)
			r = take_link(l, dirfd, name, &f);
		if (r == 0)
			r = take_xattrs(s, l, dirfd, name, &f);
		if (r < 0)
			return err_sys(err, r, "cannot read /%s", e->path);
	}
	vec_grow(&l->v, &l->cap, l->n + 1);
	l->v[l->n++] = f;
	return 0;
}

/* --- the walk -------------------------------------------------------------------------------- */

static int list_dir(struct scan *s, struct listing *l, struct error *err)
{
	int fd = *l->path ? sys_open_beneath(s->upperfd, l->path, O_RDONLY | O_DIRECTORY, 0)
	                  : openat(s->upperfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, *l->path ? fd : errno, "cannot list /%s", l->path);
	DIR *d = fdopendir(fd);
	if (!d) {
		int e = errno;
		close(fd);
		return err_sys(err, e, "cannot list /%s", l->path);
	}
	struct dirent *de;
	int r = 0;
	while (r == 0 && (errno = 0, de = readdir(d)))
		if (!str_eq(de->d_name, ".") && !str_eq(de->d_name, ".."))
			r = take_entry(s, l, fd, de->d_name, err);
	if (r == 0 && errno)
		r = err_sys(err, errno, "cannot list /%s", l->path);
	closedir(d);
	return r;
}

static void list_job(void *ctx, size_t i)
{
	struct scan *s = ctx;
	struct error err = ERROR_INIT;
	if (list_dir(s, s->dirs[s->from + i], &err) < 0)
		fail(s, &err);
}

static void add_dir(struct scan *s, const char *path)
{
	vec_grow(&s->dirs, &s->cap_dirs, s->n_dirs + 1);
	s->dirs[s->n_dirs] = new0(struct listing, 1);
	s->dirs[s->n_dirs++]->path = path;
}

static int cmp_found(const void *a, const void *b)
{
	return tree_path_cmp(
	        (*(struct found *const *)a)->e.path, (*(struct found *const *)b)->e.path);
}

static int walk(struct scan *s, struct pool *pool, struct error *err)
{
	add_dir(s, "");
	while (s->from < s->n_dirs) {
		size_t to = s->n_dirs;
		pool_run(pool, to - s->from, list_job, s);
		if (s->failed)
			break;
		for (size_t i = s->from; i < to; i++) {
			s->n_all += s->dirs[i]->n;
			for (size_t j = 0; j < s->dirs[i]->n; j++)
				if (s->dirs[i]->v[j].e.type == TREE_DIR)
					add_dir(s, s->dirs[i]->v[j].e.path);
		}
		s->from = to;
		if (s->n_all > ENTRIES_MAX)
			return err_set(
			        err, ERR_BUILD, "the step changed more than %u files", ENTRIES_MAX);
	}
	if (s->failed) {
		error_move(err, &s->err);
		return -1;
	}
	s->all = new0(struct found *, s->n_all + 1);
	size_t n = 0;
	for (size_t i = 0; i < s->n_dirs; i++)
		for (size_t j = 0; j < s->dirs[i]->n; j++)
			s->all[n++] = &s->dirs[i]->v[j];
	qsort(s->all, n, sizeof(*s->all), cmp_found);
	return 0;
}

/* --- owners that nobody recorded (single-id mode) -------------------------------------------- */

static struct found *find_path(const struct scan *s, const char *path)
{
	struct found key = {.e.path = path}, *k = &key;
	struct found **f = bsearch(&k, s->all, s->n_all, sizeof(*s->all), cmp_found);
	return f ? *f : NULL;
}

/* inherit_group - what root makes in a set-group-id directory has its group. */
static void inherit_group(const struct scan *s, struct found *f)
{
	const char *slash = strrchr(f->e.path, '/');
	_cleanup_free_ char *dir = xstrndup(f->e.path, slash ? (size_t)(slash - f->e.path) : 0);
	struct found *up = *dir ? find_path(s, dir) : NULL;
	struct view_hit hit;
	const struct tree_entry *e = up                                 ? &up->e
	                             : view_lookup(s->lower, dir, &hit) ? hit.entry
	                                                                : NULL;
	if (!e || !(e->mode & S_ISGID) || !e->gid)
		return;
	f->e.gid = e->gid;
	/* Later steps see it too. */
	if (f->e.type != TREE_REG && f->e.type != TREE_DIR)
		return;
	const char *name;
	_cleanup_close_ int at = sys_open_parent(s->upperfd, f->e.path, &name);
	if (at >= 0)
		(void)!sys_owner_set(at, name, (struct sys_owner){0, e->gid});
}

/* guess_owners - of what has no record: a link that was copied up as it was keeps its owner. */
static void guess_owners(const struct scan *s)
{
	for (size_t i = 0; s->owners && i < s->n_all; i++) {
		struct found *f = s->all[i];
		struct view_hit hit;
		if (f->owned || f->e.type == TREE_WHITEOUT || f->e.type == TREE_SOCK)
			continue;
		if (!view_lookup(s->lower, f->e.path, &hit)) {
			inherit_group(s, f);
			continue;
		}
		const struct tree_entry *e = view_content(s->lower, &hit);
		if (e && e->type == f->e.type && f->e.type == TREE_SYMLINK &&
		        str_eq(e->link, f->e.link) && e->mtime_sec == f->e.mtime_sec) {
			f->e.uid = e->uid;
			f->e.gid = e->gid;
		}
	}
}

/* --- what overlayfs left behind -------------------------------------------------------------- */

static bool same_as_lower(const struct scan *s, const struct found *f)
{
	struct view_hit hit;
	if (!view_lookup(s->lower, f->e.path, &hit) || hit.entry->type != TREE_DIR)
		return false;
	const struct tree_entry *a = &f->e, *b = hit.entry;
	if (a->mode != b->mode || a->uid != b->uid || a->gid != b->gid ||
	        a->mtime_sec != b->mtime_sec)
		return false;
	/* a layer tar has whole seconds */
	if (b->mtime_nsec && a->mtime_nsec != b->mtime_nsec)
		return false;
	return tree_same_xattrs(a, b);
}

/* Take `path` off the disk and give its directory the time back that it had. */
static int remove_leftover(struct scan *s, const char *path, bool is_dir, struct error *err)
{
	const char *name;
	struct stat st;
	_cleanup_close_ int dir = sys_open_parent(s->upperfd, path, &name);
	if (dir < 0)
		return err_sys(err, dir, "cannot clean up /%s", path);
	if (fstat(dir, &st) < 0 || unlinkat(dir, name, is_dir ? AT_REMOVEDIR : 0) < 0)
		return err_sys(err, errno, "cannot clean up /%s", path);
	struct timespec ts[2] = {st.st_atim, st.st_mtim};
	/* dir is O_PATH, on which futimens fails */
	if (utimensat(dir, "", ts, AT_EMPTY_PATH) < 0)
		return err_sys(err, errno, "cannot restore the time of /%s", path);
	return 0;
}

/* From the last entry to the first: a directory is looked at when all below it is decided. */
static int drop_leftovers(struct scan *s, struct error *err)
{
	const char *next = NULL; /* the entry behind that stays */
	for (size_t i = s->n_all; i-- > 0;) {
		struct found *f = s->all[i];
		struct view_hit hit;
		switch (f->e.type) {
		case TREE_SOCK:
			f->dropped = true;
			break;
		case TREE_WHITEOUT:
			f->dropped = !view_lookup(s->lower, f->e.path, &hit);
			break;
		case TREE_DIR:
			f->dropped = !(next && tree_path_below(next, f->e.path)) && !f->opaque &&
			             same_as_lower(s, f);
			break;
		default:
			break;
		}
		if (f->dropped && remove_leftover(s, f->e.path, f->e.type == TREE_DIR, err) < 0)
			return -1;
		if (!f->dropped)
			next = f->e.path;
	}
	return 0;
}

/* --- hard links and contents ----------------------------------------------------------------- */

struct shared {
	dev_t dev;
	ino_t ino;
	size_t at;
};

static int cmp_shared(const void *a, const void *b)
{
	const struct shared *x = a, *y = b;
	if (x->dev != y->dev)
		return x->dev < y->dev ? -1 : 1;
	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	return x->at < y->at ? -1 : x->at > y->at;
}

static void find_hardlinks(struct scan *s)
{
	struct shared *v = new0(struct shared, s->n_all + 1);
	size_t n = 0;
	for (size_t i = 0; i < s->n_all; i++)
		if (s->all[i]->shared && !s->all[i]->dropped)
			v[n++] = (struct shared){s->all[i]->dev, s->all[i]->ino, i};
	qsort(v, n, sizeof(*v), cmp_shared);
	for (size_t i = 1, first = 0; i < n; i++) {
		if (v[i].dev == v[first].dev && v[i].ino == v[first].ino)
			s->all[v[i].at]->same_as = v[first].at;
		else
			first = i;
	}
	free(v);
}

static void hash_job(void *ctx, size_t i)
{
	struct scan *s = ctx;
	struct found *f = s->all[s->work[i]];
	struct error err = ERROR_INIT;
	uint64_t size;
	int r;
	_cleanup_close_ int fd =
	        sys_open_beneath(s->upperfd, f->e.path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
	if (fd < 0)
		err_sys(&err, fd, "cannot open /%s", f->e.path);
	else if ((r = layer_hash_fd(fd, &f->e.sha256, &size)) < 0)
		err_sys(&err, r, "cannot read /%s", f->e.path);
	else if (size != f->e.size)
		err_set(&err, ERR_INTEGRITY, "/%s changed while being read", f->e.path);
	if (error_is_set(&err))
		fail(s, &err);
	else
		f->e.has_digest = true;
}

static int hash_contents(struct scan *s, struct pool *pool, struct error *err)
{
	s->work = new0(size_t, s->n_all + 1);
	for (size_t i = 0; i < s->n_all; i++)
		if (s->all[i]->e.type == TREE_REG && s->all[i]->same_as == SIZE_MAX)
			s->work[s->n_work++] = i;
	pool_run(pool, s->n_work, hash_job, s);
	if (!s->failed)
		return 0;
	error_move(err, &s->err);
	return -1;
}

/* --- opaque directories ---------------------------------------------------------------------- */

struct hide {
	const struct scan *s;
	const struct tree *t;
	struct tree *out;
};

static int hide_child(void *ctx, const struct view_hit *hit)
{
	struct hide *h = ctx;
	const struct tree_entry *e = tree_find(h->t, hit->entry->path);
	if (!e) {
		struct tree_entry w = {.path = hit->entry->path, .type = TREE_WHITEOUT};
		tree_add(h->out, &w);
		return 0;
	}
	/* Below an opaque directory all directories hide what is below them. */
	if (e->type == TREE_DIR && hit->entry->type == TREE_DIR)
		return view_list(h->s->lower, e->path, false, hide_child, h);
	return 0;
}

static int explicit_whiteouts(struct scan *s, struct tree *t)
{
	struct tree extra = TREE_INIT;
	struct hide h = {s, t, &extra};
	const char *done = NULL; /* an opaque directory covers those below it */
	for (size_t i = 0; i < s->n_all; i++) {
		const struct found *f = s->all[i];
		struct view_hit hit;
		if (!f->opaque || (done && tree_path_below(f->e.path, done)))
			continue;
		done = f->e.path;
		if (view_lookup(s->lower, f->e.path, &hit) && hit.entry->type == TREE_DIR)
			(void)view_list(s->lower, f->e.path, false, hide_child, &h);
	}
	for (size_t i = 0; i < extra.n; i++)
		tree_add(t, &extra.entries[i]);
	tree_release(&extra);
	tree_sort(t);
	return 0;
}

/* --- all of it ------------------------------------------------------------------------------- */

/* The root is in the tree only if the step changed it. */
static int add_root(struct scan *s, struct tree *t, struct error *err)
{
	struct stat st;
	struct view_hit hit;
	if (fstat(s->upperfd, &st) < 0)
		return err_sys(err, errno, "cannot read the root directory");
	struct sys_owner o = {st.st_uid, st.st_gid};
	int r = 0;
	if (s->owners) {
		o = (struct sys_owner){0, 0};
		r = sys_owner_get(s->upperfd, "", &o);
	}
	if (r < 0)
		return err_sys(err, r, "cannot read the owner of the root directory");
	struct tree_entry e = {
	        .path = "",
	        .type = TREE_DIR,
	        .mode = st.st_mode & 07777,
	        .uid = o.uid,
	        .gid = o.gid,
	        .mtime_sec = st.st_mtim.tv_sec,
	        .mtime_nsec = (uint32_t)st.st_mtim.tv_nsec,
	};
	if (!view_lookup(s->lower, "", &hit))
		return 0;
	if (hit.entry->mode != e.mode || hit.entry->uid != e.uid || hit.entry->gid != e.gid)
		tree_add(t, &e);
	return 0;
}

static int make_tree(struct scan *s, struct tree *ret, struct error *err)
{
	struct tree t = TREE_INIT;
	if (add_root(s, &t, err) < 0)
		return -1;
	for (size_t i = 0; i < s->n_all; i++) {
		struct found *f = s->all[i];
		if (f->dropped)
			continue;
		if (f->same_as != SIZE_MAX) {
			struct tree_entry e = f->e;
			e.type = TREE_HARDLINK;
			e.link = s->all[f->same_as]->e.path;
			e.size = 0;
			tree_add(&t, &e);
		} else {
			tree_add(&t, &f->e);
		}
	}
	tree_sort(&t);
	explicit_whiteouts(s, &t);
	*ret = t;
	return 0;
}

static void scan_release(struct scan *s)
{
	for (size_t i = 0; i < s->n_dirs; i++) {
		arena_release(&s->dirs[i]->arena);
		free(s->dirs[i]->v);
		free(s->dirs[i]);
	}
	free(s->dirs);
	free(s->all);
	free(s->work);
	error_release(&s->err);
	pthread_mutex_destroy(&s->lock);
}

int layer_scan_upper(int upperfd, const struct treeview *lower, const struct owner_table *owners,
        struct pool *pool, struct tree *ret, struct error *err)
{
	static const struct treeview nothing;
	struct scan s = {
	        .upperfd = upperfd,
	        .lower = lower ? lower : &nothing,
	        .owners = owners,
	        .lock = PTHREAD_MUTEX_INITIALIZER,
	};
	int r = walk(&s, pool, err);
	if (r == 0)
		guess_owners(&s);
	if (r == 0)
		r = drop_leftovers(&s, err);
	if (r == 0) {
		find_hardlinks(&s);
		r = hash_contents(&s, pool, err);
	}
	if (r == 0)
		r = make_tree(&s, ret, err);
	scan_release(&s);
	return r;
}

int layer_prepare_upper(
        int upperfd, const struct treeview *lower, bool single_id, struct error *err)
{
	struct tree_entry root = {.mode = 0755};
	struct view_hit hit;
	if (lower && view_lookup(lower, "", &hit))
		root = *hit.entry;
	int r = !single_id ? (fchown(upperfd, root.uid, root.gid) < 0 ? -errno : 0)
	        : root.uid || root.gid
	                ? sys_owner_set(upperfd, "", (struct sys_owner){root.uid, root.gid})
	                : 0;
	if (r < 0)
		return err_sys(err, r, "cannot set the owner of the upper directory");
	if (fchmod(upperfd, root.mode) < 0)
		return err_sys(err, errno, "cannot set the mode of the upper directory");
	return 0;
}
