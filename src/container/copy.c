/* container/copy.c - copies trees between two directories, either of which may be hostile and
 * changing: every name is one component below an open directory, no link is followed, and a tree is
 * walked by paths beneath its root, so that neither depth nor width costs descriptors or stack. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/sysmacros.h>

#include "base/arena.h"
#include "container/internal.h"
#include "layer/layer.h"
#include "sys/owner.h"
#include "sys/path.h"
#include "sys/xattr.h"

#define OPAQUE "user.overlay.opaque"

/* --- reading --------------------------------------------------------------------------------- */

static void read_xattrs(int dir, const char *name, struct arena *a, struct tree_entry *e)
{
	_cleanup_(sys_xattrs_release) struct sys_xattrs x = {0};
	/* What cannot be read is not worth a failed copy. */
	if (e->type == TREE_SYMLINK || sys_xattrs_read(dir, name, &x) < 0 || !x.n)
		return;
	e->xattrs = arena_new(a, struct tree_xattr, x.n);
	for (size_t i = 0; i < x.n; i++) {
		if (!layer_xattr_allowed(x.v[i].name) && !str_eq(x.v[i].name, OPAQUE))
			continue;
		struct tree_xattr *t = &e->xattrs[e->n_xattrs++];
		t->name = arena_strdup(a, x.v[i].name);
		t->value = arena_memdup(a, x.v[i].value, x.v[i].len);
		t->len = (uint32_t)x.v[i].len;
	}
}

static bool holds_record(const struct tree_entry *e)
{
	return e->type == TREE_REG || e->type == TREE_DIR;
}

/* take_record - the owner that the file itself or the table tells; else root's. */
static void take_record(int dir, const char *name, const struct stat *st,
        const struct copy_options *o, struct tree_entry *e)
{
	struct sys_owner owner = {0, 0};
	const struct owner_record *r = NULL;
	if (holds_record(e)) {
		(void)!sys_owner_get(dir, name, &owner);
	} else if (o->owners) {
		r = owner_table_find(o->owners, OWNER_MERGED, st->st_ino);
		r = r ? r : owner_table_find(o->owners, OWNER_UPPER, st->st_ino);
	}
	e->uid = r ? r->uid : owner.uid;
	e->gid = r ? r->gid : owner.gid;
}

int copy_describe(int dir, const char *name, const struct copy_options *o, struct arena *a,
        struct stat *ret_st, struct tree_entry *ret, struct error *err)
{
	struct stat st;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, errno, "cannot read %s", name);
	struct tree_entry e = {.path = name,
	        .type = tree_type_of(st.st_mode),
	        .mode = st.st_mode & 07777,
	        .uid = st.st_uid,
	        .gid = st.st_gid,
	        .size = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0,
	        .mtime_sec = st.st_mtim.tv_sec,
	        .mtime_nsec = (uint32_t)st.st_mtim.tv_nsec,
	        .dev_major = major(st.st_rdev),
	        .dev_minor = minor(st.st_rdev)};
	if (e.type == TREE_SYMLINK) {
		char buf[PATH_MAX];
		ssize_t n = readlinkat(dir, name, buf, sizeof(buf));
		if (n < 0)
			return err_sys(err, errno, "cannot read the link %s", name);
		e.link = arena_strndup(a, buf, (size_t)n);
	}
	read_xattrs(dir, name, a, &e);
	if (o->recorded)
		take_record(dir, name, &st, o, &e);
	*ret_st = st;
	*ret = e;
	return 0;
}

/* --- writing --------------------------------------------------------------------------------- */

static bool is_device(const struct tree_entry *e)
{
	return e->type == TREE_CHR || e->type == TREE_BLK;
}

static uint32_t mode_of(const struct tree_entry *e, const struct copy_options *o)
{
	return o->keep_special ? e->mode : e->mode & 01777;
}

/* log_owner - the inode may have been another's before. */
static int log_owner(
        int dir, const char *name, uint32_t uid, uint32_t gid, const struct copy_options *o)
{
	struct stat st;
	if (o->owner_log <= 0)
		return 0;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	int r = owner_log_append(o->owner_log, OWNER_MERGED, st.st_ino, uid, gid);
	return r < 0 ? r : owner_log_append(o->owner_log, OWNER_UPPER, st.st_ino, uid, gid);
}

/* set_owner - where only one id exists it goes on record. */
static int set_owner(
        int dir, const char *name, const struct tree_entry *e, const struct copy_options *o)
{
	uint32_t uid = o->keep_owner ? e->uid : o->uid, gid = o->keep_owner ? e->gid : o->gid;
	if (o->recorded && !holds_record(e))
		return log_owner(dir, name, uid, gid, o);
	if (fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW | (*name ? 0 : AT_EMPTY_PATH)) == 0)
		return 0;
	if (errno != EINVAL || !o->recorded)
		return -errno;
	return sys_owner_set(dir, name, (struct sys_owner){uid, gid});
}

static int set_time(int dir, const char *name, const struct tree_entry *e)
{
	struct timespec ts[2] = {{e->mtime_sec, e->mtime_nsec}, {e->mtime_sec, e->mtime_nsec}};
	return utimensat(dir, name, ts, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static void set_xattrs(
        int dir, const char *name, const struct tree_entry *e, const struct copy_options *o)
{
	for (uint32_t i = 0; i < e->n_xattrs; i++)
		if (str_eq(e->xattrs[i].name, OPAQUE)
		                ? o->keep_overlay
		                : o->keep_special || str_starts(e->xattrs[i].name, "user."))
			(void)!sys_xattr_set(
			        dir, name, e->xattrs[i].name, e->xattrs[i].value, e->xattrs[i].len);
}

/* make_file - the owner first: chown clears set-id bits. */
static int make_file(int dir, const char *name, const struct tree_entry *e,
        const struct copy_content *c, const struct copy_options *o, struct error *err)
{
	_cleanup_close_ int fd =
	        openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(err, errno, "cannot write %s", e->path);
	if (c->write(c->ctx, fd, err) < 0)
		return -1;
	int r = set_owner(fd, "", e, o);
	if (r == 0 && fchmod(fd, mode_of(e, o)) < 0)
		r = -errno;
	if (r == 0) {
		set_xattrs(dir, name, e, o);
		struct timespec ts[2] = {
		        {e->mtime_sec, e->mtime_nsec}, {e->mtime_sec, e->mtime_nsec}};
		r = futimens(fd, ts) < 0 ? -errno : 0;
	}
	return r < 0 ? err_sys(err, r, "cannot write %s", e->path) : 0;
}

static int make_other(int dir, const char *name, const struct tree_entry *e,
        const struct copy_options *o, struct error *err)
{
	int r;
	mode_t type = e->type == TREE_FIFO ? S_IFIFO : e->type == TREE_CHR ? S_IFCHR : S_IFBLK;
	if (e->type == TREE_SYMLINK)
		r = symlinkat(e->link, dir, name);
	else
		r = mknodat(dir, name, type | (mode_of(e, o) & 0777),
		        makedev(e->dev_major, e->dev_minor));
	r = r < 0 ? -errno : set_owner(dir, name, e, o);
	if (r == 0 && e->type != TREE_SYMLINK && fchmodat(dir, name, mode_of(e, o), 0) < 0)
		r = -errno;
	if (r == 0)
		r = set_time(dir, name, e);
	return r < 0 ? err_sys(err, r, "cannot make %s", e->path) : 0;
}

static int make_dir(int dir, const char *name, const struct tree_entry *e, struct error *err)
{
	struct stat st;
	if (mkdirat(dir, name, 0700) == 0)
		return 1;
	if (errno != EEXIST)
		return err_sys(err, errno, "cannot make the directory %s", e->path);
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
		return 0;
	return err_set(
	        err, ERR_USAGE, "cannot overwrite non-directory %s with a directory", e->path);
}

/* copy_put: 1 a new directory, 0 all else. */
int copy_put(int dir, const char *name, const struct tree_entry *e, const struct copy_content *c,
        const struct copy_options *o, struct error *err)
{
	if (e->type == TREE_DIR)
		return make_dir(dir, name, e, err);
	if (is_device(e) && !o->keep_special) {
		(void)err_set(err, ERR_USAGE, "%s is a device node", e->path);
		return err_hint(err, "device nodes are not copied to this machine; with - as the "
		                     "destination they are in the tar");
	}
	uint64_t random = 0;
	char tmp[40];
	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return err_sys(err, errno, "no random numbers");
	snprintf(tmp, sizeof(tmp), ".strake-cp-%016llx", (unsigned long long)random);
	int rc = e->type == TREE_REG ? make_file(dir, tmp, e, c, o, err)
	                             : make_other(dir, tmp, e, o, err);
	if (rc == 0 && renameat(dir, tmp, dir, name) < 0) {
		rc = errno == EISDIR || errno == ENOTEMPTY || errno == EEXIST
		             ? err_set(err, ERR_USAGE, "cannot overwrite directory %s with a file",
		                       e->path)
		             : err_sys(err, errno, "cannot write %s", e->path);
	}
	if (rc < 0)
		(void)unlinkat(dir, tmp, 0);
	return rc;
}

int copy_finish_dir(int dir, const char *name, const struct tree_entry *e,
        const struct copy_options *o, struct error *err)
{
	_cleanup_close_ int fd = sys_open_beneath(dir, name, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return err_sys(err, fd, "cannot open the directory %s", e->path);
	int r = set_owner(fd, "", e, o);
	if (r == 0 && fchmod(fd, mode_of(e, o)) < 0)
		r = -errno;
	struct timespec ts[2] = {{e->mtime_sec, e->mtime_nsec}, {e->mtime_sec, e->mtime_nsec}};
	if (r == 0 && futimens(fd, ts) < 0)
		r = -errno;
	return r < 0 ? err_sys(err, r, "cannot set the attributes of %s", e->path) : 0;
}

/* --- files ----------------------------------------------------------------------------------- */

struct source {
	int dir;
	const char *name, *shown;
};

static int write_file(void *ctx, int fd, struct error *err)
{
	const struct source *s = ctx;
	struct stat st;
	_cleanup_close_ int in =
	        sys_open_beneath(s->dir, s->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
	if (in < 0)
		return err_sys(err, in, "cannot open %s", s->shown);
	/* It may have been swapped since it was looked at. */
	if (fstat(in, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(err, ERR_SYSTEM, "%s changed while being read", s->shown);
	ssize_t n;
	bool any = false;
	while ((n = copy_file_range(in, NULL, fd, NULL, 1 << 30, 0)) > 0)
		any = true;
	if (n < 0 && !any &&
	        (errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP || errno == ENOSYS ||
	                errno == EPERM))
		while ((n = sendfile(fd, in, NULL, 1 << 30)) > 0)
			;
	return n < 0 ? err_sys(err, errno, "cannot copy %s", s->shown) : 0;
}

/* --- trees ----------------------------------------------------------------------------------- */

struct made { /* a directory whose attributes are still to be set */
	char *rel;
	struct tree_entry e;
};

struct walk {
	const struct copy_options *o;
	int src, dst;      /* roots of the two trees */
	struct strv queue; /* directories to be listed, relative to both */
	size_t next;
	struct made *made;
	size_t n_made, cap_made;
	struct map links;     /* "dev:ino" -> where it went, relative to dst */
	struct error skipped; /* the first thing that is not copied on purpose */
};

static void walk_release(struct walk *w)
{
	strv_release(&w->queue);
	for (size_t i = 0; i < w->n_made; i++)
		free(w->made[i].rel);
	free(w->made);
	map_release(&w->links);
	error_release(&w->skipped);
}

static void note_dir(struct walk *w, int dst, const char *as, const char *rel,
        const struct tree_entry *e, bool is_new)
{
	strv_add(&w->queue, rel);
	if (!is_new)
		return;
	vec_grow(&w->made, &w->cap_made, w->n_made + 1);
	struct made *m = &w->made[w->n_made++];
	m->rel = xstrdup(rel);
	m->e = *e;
	m->e.path = m->rel;
	m->e.xattrs = NULL; /* of the arena of one entry: set now */
	m->e.n_xattrs = 0;
	if (!e->n_xattrs)
		return;
	_cleanup_close_ int dir = sys_open_beneath(dst, as, O_RDONLY | O_DIRECTORY, 0);
	if (dir >= 0)
		set_xattrs(dir, "", e, w->o);
}

/* linked - 1 if dst/name became one more name of a file that was copied before. */
static int linked(struct walk *w, const struct stat *st, int dst, const char *name, const char *rel)
{
	char key[64];
	if (st->st_nlink < 2 || S_ISDIR(st->st_mode))
		return 0;
	snprintf(key, sizeof(key), "%llx:%llx", (unsigned long long)st->st_dev,
	        (unsigned long long)st->st_ino);
	const char *first = map_get(&w->links, key), *base;
	if (!first) {
		map_put(&w->links, key, xstrdup(rel));
		return 0;
	}
	_cleanup_close_ int dir = sys_open_parent(w->dst, first, &base);
	if (dir < 0)
		return 0;
	(void)unlinkat(dst, name, 0);
	return linkat(dir, base, dst, name, 0) == 0;
}

/* shared - the file is what the view shows, and has one more name now instead of a copy. */
static bool shared(const struct copy_options *o, int src, const char *name, int dst, const char *as,
        const char *rel, const struct stat *st)
{
	struct view_hit hit;
	struct digest now;
	uint64_t size;
	if (!S_ISREG(st->st_mode) || !view_lookup(o->same_as, rel, &hit))
		return false;
	const struct tree_entry *e = view_content(o->same_as, &hit);
	if (!e || e->type != TREE_REG || e->size != (uint64_t)st->st_size ||
	        e->mtime_sec != st->st_mtim.tv_sec ||
	        e->mtime_nsec != (uint32_t)st->st_mtim.tv_nsec)
		return false;
	_cleanup_close_ int fd = sys_open_beneath(src, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
	if (fd < 0 || layer_hash_fd(fd, &now, &size) < 0 || !digest_eq(&now, &e->sha256) ||
	        linkat(src, name, dst, as, 0) < 0)
		return false;
	const struct owner_record r = {.ino = st->st_ino, .where = OWNER_UPPER};
	owner_table_put(o->shared, &r);
	return true;
}

static int copy_one(struct walk *w, int src, const char *name, int dst, const char *as,
        const char *rel, struct error *err)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	struct stat st;
	struct tree_entry e;
	if (copy_describe(src, name, w->o, &a, &st, &e, err) < 0)
		return -1;
	e.path = *rel ? rel : name;
	if (e.type == TREE_SOCK || linked(w, &st, dst, as, rel) > 0)
		return 0;
	if (w->o->same_as && shared(w->o, src, name, dst, as, rel, &st))
		return 0;
	struct source s = {src, name, e.path};
	struct copy_content c = {write_file, &s};
	_cleanup_error_ struct error skip = ERROR_INIT;
	if (is_device(&e) && !w->o->keep_special) {
		if (copy_put(dst, as, &e, &c, w->o, &skip) < 0 && !error_is_set(&w->skipped))
			error_move(&w->skipped, &skip);
		return 0;
	}
	int rc = copy_put(dst, as, &e, &c, w->o, err);
	if (rc >= 0 && e.type == TREE_DIR)
		note_dir(w, dst, as, rel, &e, rc > 0);
	return rc < 0 ? -1 : 0;
}

static int copy_children(struct walk *w, const char *rel, struct error *err)
{
	int src = sys_open_beneath(w->src, *rel ? rel : ".", O_RDONLY | O_DIRECTORY, 0);
	if (src < 0)
		return err_sys(err, src, "cannot list %s", rel);
	DIR *d = fdopendir(src);
	if (!d) {
		close(src);
		return err_sys(err, ENOMEM, "cannot list %s", rel);
	}
	_cleanup_close_ int dst =
	        sys_open_beneath(w->dst, *rel ? rel : ".", O_RDONLY | O_DIRECTORY, 0);
	int rc = dst < 0 ? err_sys(err, dst, "cannot open the directory %s", rel) : 0;
	for (struct dirent *e; rc == 0 && (errno = 0, e = readdir(d));) {
		if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
			continue;
		_cleanup_free_ char *sub =
		        *rel ? xasprintf("%s/%s", rel, e->d_name) : xstrdup(e->d_name);
		rc = copy_one(w, src, e->d_name, dst, e->d_name, sub, err);
	}
	if (rc == 0 && errno)
		rc = err_sys(err, errno, "cannot list %s", rel);
	closedir(d);
	return rc;
}

/* copy_below - all of w->queue; then the directories' attributes, the deepest first. */
static int copy_below(struct walk *w, struct error *err)
{
	for (; w->next < w->queue.n; w->next++) {
		if (copy_children(w, w->queue.v[w->next], err) < 0)
			return -1;
		free(w->queue.v[w->next]);
		w->queue.v[w->next] = xstrdup("");
	}
	for (size_t i = w->n_made; i-- > 0;) {
		const struct made *m = &w->made[i];
		if (copy_finish_dir(w->dst, *m->rel ? m->rel : ".", &m->e, w->o, err) < 0)
			return -1;
	}
	if (!error_is_set(&w->skipped))
		return 0;
	error_move(err, &w->skipped);
	return -1;
}

int copy_tree(int srcdir, const char *name, int dstdir, const char *as, bool contents,
        const struct copy_options *o, struct error *err)
{
	_cleanup_(walk_release) struct walk w = {
	        .o = o, .src = -1, .dst = -1, .links = MAP_INIT(free)};
	_cleanup_close_ int src = -1, dst = -1;
	if (!contents && copy_one(&w, srcdir, name, dstdir, as, "", err) < 0)
		return -1;
	if (!contents && !w.queue.n) { /* a file: all is done, but for what was skipped */
		if (!error_is_set(&w.skipped))
			return 0;
		error_move(err, &w.skipped);
		return -1;
	}
	if (contents)
		strv_add(&w.queue, "");
	src = w.src = sys_open_beneath(srcdir, name, O_RDONLY | O_DIRECTORY, 0);
	if (src < 0)
		return err_sys(err, src, "cannot open the directory %s", name);
	dst = w.dst = sys_open_beneath(dstdir, as, O_RDONLY | O_DIRECTORY, 0);
	if (dst < 0)
		return err_sys(err, dst, "cannot open the directory %s", as);
	return copy_below(&w, err);
}
