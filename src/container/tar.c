/* container/tar.c - `cp -`: a tree as a tar to a pipe, and a hostile tar into a container.
 *
 * Names of a tar are resolved in the container's root, as they would be by tar inside it: a link
 * there may lead elsewhere in the container, never out. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/arena.h"
#include "container/internal.h"
#include "sandbox/step.h"
#include "sys/path.h"
#include "tar/reader.h"
#include "tar/writer.h"

#define TAR_MAX (UINT64_C(1) << 40)

/* --- out ------------------------------------------------------------------------------------- */

struct out {
	struct sink *sink;
	const struct copy_options *o;
	int root;
	const char *prefix; /* of names in the tar; "" none */
	struct strv queue;
	struct map links;
};

static int write_bytes(struct out *o, int dir, const char *name, uint64_t size, struct error *err)
{
	char buf[64 << 10];
	_cleanup_close_ int fd = sys_open_beneath(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(err, fd, "cannot open %s", name);
	for (uint64_t left = size; left;) {
		ssize_t n = read(fd, buf, MIN(left, sizeof(buf)));
		if (n <= 0)
			return n < 0 ? err_sys(err, errno, "cannot read %s", name)
			             : err_set(err, ERR_SYSTEM, "%s changed while being read",
			                       name);
		if (tar_write_data(buf, (size_t)n, o->sink, err) < 0)
			return -1;
		left -= (uint64_t)n;
	}
	return tar_write_padding(size, o->sink, err);
}

static int write_one(struct out *o, int dir, const char *name, const char *rel, struct error *err)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	struct stat st;
	struct tree_entry e;
	if (copy_describe(dir, name, o->o, &a, &st, &e, err) < 0)
		return -1;
	if (e.type == TREE_SOCK)
		return 0;
	const char *sep = *o->prefix && *rel ? "/" : "";
	e.path = arena_printf(&a, "%s%s%s", o->prefix, sep, rel);
	if (e.type == TREE_DIR)
		strv_add(&o->queue, rel);
	if (!*e.path)
		return 0;
	if (st.st_nlink > 1 && e.type != TREE_DIR) {
		char key[64];
		snprintf(key, sizeof(key), "%llx:%llx", (unsigned long long)st.st_dev,
		        (unsigned long long)st.st_ino);
		const char *first = map_get(&o->links, key);
		if (first) {
			e.type = TREE_HARDLINK;
			e.link = first;
			e.size = 0;
		} else {
			map_put(&o->links, key, xstrdup(e.path));
		}
	}
	if (tar_write_entry(&e, o->sink, err) < 0)
		return -1;
	return e.type == TREE_REG ? write_bytes(o, dir, name, e.size, err) : 0;
}

static int write_dir(struct out *o, const char *rel, struct error *err)
{
	int fd = sys_open_beneath(o->root, *rel ? rel : ".", O_RDONLY | O_DIRECTORY, 0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		int e = fd < 0 ? fd : errno;
		close_ptr(&fd);
		return err_sys(err, e, "cannot list %s", rel);
	}
	int rc = 0;
	for (struct dirent *e; rc == 0 && (e = readdir(d));) {
		if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
			continue;
		_cleanup_free_ char *sub =
		        *rel ? xasprintf("%s/%s", rel, e->d_name) : xstrdup(e->d_name);
		rc = write_one(o, fd, e->d_name, sub, err);
	}
	closedir(d);
	return rc;
}

int tar_from_tree(int srcdir, const char *name, const char *as, bool contents,
        const struct copy_options *co, int fd, struct error *err)
{
	_cleanup_sink_ struct sink *sink = sink_fd(fd, "standard output");
	_cleanup_close_ int root = -1;
	struct out o = {.sink = sink,
	        .o = co,
	        .root = -1,
	        .prefix = contents ? "" : as,
	        .links = MAP_INIT(free)};
	int rc = write_one(&o, srcdir, name, "", err);
	if (rc == 0 && o.queue.n) {
		root = o.root = sys_open_beneath(srcdir, name, O_RDONLY | O_DIRECTORY, 0);
		if (root < 0)
			rc = err_sys(err, root, "cannot open the directory %s", name);
	}
	for (size_t i = 0; rc == 0 && i < o.queue.n; i++) {
		_cleanup_free_ char *rel = xstrdup(o.queue.v[i]);
		rc = write_dir(&o, rel, err);
	}
	if (rc == 0 && tar_write_end(sink, err) < 0)
		rc = -1;
	if (rc == 0 && sink_finish(sink, err) < 0)
		rc = -1;
	strv_release(&o.queue);
	map_release(&o.links);
	return rc;
}

/* --- in -------------------------------------------------------------------------------------- */

struct in {
	int root;
	const char *base;
	struct tar_reader *tar;
	struct copy_options o;
	struct strv dirs; /* made here; their times come last */
	struct tree_entry *attrs;
	size_t n, cap;
};

static int read_entry(void *ctx, int fd, struct error *err)
{
	struct in *in = ctx;
	char buf[64 << 10];
	ssize_t n;
	while ((n = tar_reader_read(in->tar, buf, sizeof(buf), err)) > 0) {
		int r = sys_write_all(fd, buf, (size_t)n);
		if (r < 0)
			return err_sys(err, r, "cannot write");
	}
	return n < 0 ? -1 : 0;
}

static bool climbs(const char *path)
{
	for (const char *p = path; *p;) {
		size_t n = strcspn(p, "/");
		if (n == 2 && p[0] == '.' && p[1] == '.')
			return true;
		p += n + (p[n] == '/');
	}
	return false;
}

/* open_in - the directory `path` below base as the container sees it, made where it is missing. */
static int open_in(struct in *in, const char *path, struct error *err)
{
	_cleanup_free_ char *full = xasprintf("%s/%s", in->base, path);
	_cleanup_(resolved_release) struct resolved at = {0};
	int r = resolve_in_root(in->root, full, &at);
	if (r >= 0 && at.mode && !S_ISDIR(at.mode))
		r = -ENOTDIR;
	_cleanup_close_ int fd = r < 0 ? r : resolve_make(in->root, &at, true);
	if (fd < 0)
		return err_sys(err, fd, "cannot make the directory %s", full);
	int d = sys_open_beneath(fd, ".", O_RDONLY | O_DIRECTORY, 0);
	return d < 0 ? err_sys(err, d, "cannot open the directory %s", full) : d;
}

static int hard_link(
        struct in *in, int dir, const char *name, const struct tree_entry *e, struct error *err)
{
	if (!e->link || climbs(e->link))
		return err_set(err, ERR_USAGE, "%s: its link leads out of the archive", e->path);
	const char *slash = strrchr(e->link, '/');
	_cleanup_free_ char *parent =
	        slash ? xstrndup(e->link, (size_t)(slash - e->link)) : xstrdup("");
	_cleanup_close_ int from = open_in(in, parent, err);
	if (from < 0)
		return -1;
	(void)unlinkat(dir, name, 0);
	if (linkat(from, slash ? slash + 1 : e->link, dir, name, 0) < 0)
		return err_sys(err, errno, "cannot link %s to %s", e->path, e->link);
	return 0;
}

static int take_entry(struct in *in, const struct tree_entry *given, struct error *err)
{
	struct tree_entry e = *given;
	while (*e.path == '/')
		e.path++;
	if (!*e.path)
		return 0;
	if (climbs(e.path))
		return err_set(err, ERR_USAGE, "%s: a name with .. in it", e.path);
	const char *slash = strrchr(e.path, '/'), *name = slash ? slash + 1 : e.path;
	_cleanup_free_ char *parent =
	        slash ? xstrndup(e.path, (size_t)(slash - e.path)) : xstrdup("");
	_cleanup_close_ int dir = open_in(in, parent, err);
	if (dir < 0)
		return -1;
	if (e.type == TREE_HARDLINK)
		return hard_link(in, dir, name, &e, err);
	struct copy_content c = {read_entry, in};
	int rc = copy_put(dir, name, &e, &c, &in->o, err);
	if (rc > 0) {
		vec_grow(&in->attrs, &in->cap, in->n + 1);
		strv_add(&in->dirs, e.path);
		in->attrs[in->n] = e;
		in->attrs[in->n].xattrs = NULL;
		in->attrs[in->n++].n_xattrs = 0;
	}
	return rc < 0 ? -1 : 0;
}

static int finish_dirs(struct in *in, struct error *err)
{
	for (size_t i = in->n; i-- > 0;) {
		struct tree_entry *e = &in->attrs[i];
		e->path = in->dirs.v[i];
		_cleanup_close_ int dir = open_in(in, e->path, err);
		if (dir < 0 || copy_finish_dir(dir, ".", e, &in->o, err) < 0)
			return -1;
	}
	return 0;
}

int tar_into_root(
        int root, const char *path, const struct copy_options *o, int fd, struct error *err)
{
	_cleanup_reader_ struct reader *r = NULL;
	if (reader_decompress(reader_fd(fd, "standard input"), TAR_MAX, NULL, &r, err) < 0)
		return -1;
	struct in in = {
	        .root = root, .base = path, .tar = tar_reader_new(r, "standard input"), .o = *o};
	struct tree_entry e;
	int rc;
	while ((rc = tar_reader_next(in.tar, &e, err)) > 0)
		if (take_entry(&in, &e, err) < 0) {
			rc = -1;
			break;
		}
	if (rc == 0)
		rc = finish_dirs(&in, err);
	tar_reader_free(in.tar);
	strv_release(&in.dirs);
	free(in.attrs);
	return rc < 0 ? -1 : 0;
}
