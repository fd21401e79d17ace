/* container/cp.c - docker cp's rules of what goes where. Paths of the container are resolved in its
 * root; the path of this machine is the caller's own and followed as any program would. */
#include "container/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "sandbox/step.h"
#include "sys/path.h"

/* Where something is or is to be: name in the directory dir. */
struct place {
	int dir;
	char *name; /* "." for the directory itself */
	char *base; /* the name it goes by where it is copied into a directory */
	bool exists, is_dir;
	mode_t mode;
	bool contents; /* the path ended in "/." */
	bool slash;    /* it ended in "/" */
};

static void place_release(struct place *p)
{
	close_ptr(&p->dir);
	free(p->name);
	free(p->base);
}

/* read_ends - what the end of the path says; the path without it. */
static char *read_ends(const char *path, struct place *p)
{
	size_t n = strlen(path);
	p->contents = str_eq(path, ".") || str_ends(path, "/.");
	if (p->contents)
		n -= n > 1 ? 2 : 0;
	p->slash = n > 0 && path[n - 1] == '/';
	while (n > 1 && path[n - 1] == '/')
		n--;
	char *s = xstrndup(path, n);
	if (!*s) {
		free(s);
		s = xstrdup("/");
	}
	const char *slash = strrchr(s, '/');
	p->base = xstrdup(slash ? slash + 1 : s);
	return s;
}

/* name_after - "a/b/.." goes by the name of what it leads to. */
static void name_after(struct place *p, const char *resolved)
{
	const char *slash = strrchr(resolved, '/');
	if (!str_eq(p->base, ".."))
		return;
	free(p->base);
	p->base = xstrdup(slash ? slash + 1 : resolved);
}

/* split - dir and name of a link-free relative path. */
static int split(int root, const char *path, struct place *p)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *parent = slash ? xstrndup(path, (size_t)(slash - path)) : xstrdup(".");
	p->name = xstrdup(*path ? (slash ? slash + 1 : path) : ".");
	p->dir = sys_open_beneath(root, *path ? parent : ".", O_RDONLY | O_DIRECTORY, 0);
	return p->dir < 0 ? p->dir : 0;
}

static int stat_place(struct place *p)
{
	struct stat st;
	p->exists = fstatat(p->dir, p->name, &st, AT_SYMLINK_NOFOLLOW) == 0;
	if (!p->exists)
		return errno == ENOENT ? 0 : -errno;
	p->mode = st.st_mode;
	p->is_dir = S_ISDIR(st.st_mode);
	return 0;
}

/* --- in the container ------------------------------------------------------------------------ */

static int not_found(const char *path, const struct container *c, struct error *err)
{
	return err_set(err, ERR_NOT_FOUND, "could not find %s in container %s", path, c->name);
}

/* find_inside - follow: the last component too. A source must be there; of a destination the last
 * component may be missing. */
static int find_inside(const struct container *c, int root, const char *path, bool follow,
        bool must_exist, struct place *p, struct error *err)
{
	_cleanup_free_ char *bare = read_ends(path, p);
	_cleanup_(resolved_release) struct resolved at = {0};
	follow |= p->contents || p->slash || str_eq(p->base, "..") || str_eq(bare, "/");
	const char *slash = strrchr(bare, '/');
	_cleanup_free_ char *walk =
	        follow ? xstrdup(bare) : xstrndup(bare, slash ? (size_t)(slash - bare) : 0);
	int r = resolve_in_root(root, walk, &at);
	if (r == -ENOTDIR || r == -ENOENT)
		return not_found(path, c, err);
	if (r < 0)
		return err_sys(err, r, "%s:%s", c->name, path);
	if (!follow) {
		if (!at.mode)
			return not_found(path, c, err);
		char *whole = xasprintf("%s%s%s", at.path, *at.path ? "/" : "", p->base);
		free(at.path);
		at.path = whole;
	} else if (!at.mode && strchr(at.path + at.existing + (at.existing > 0), '/')) {
		return not_found(path, c, err);
	}
	name_after(p, at.path);
	r = split(root, at.path, p);
	if (r >= 0)
		r = stat_place(p);
	if (r < 0 || (must_exist && !p->exists))
		return r < 0 && r != -ENOENT && r != -ENOTDIR
		               ? err_sys(err, r, "%s:%s", c->name, path)
		               : not_found(path, c, err);
	if (p->exists && !p->is_dir && (p->contents || p->slash))
		return err_set(err, ERR_USAGE, "%s:%s is not a directory", c->name, path);
	return 0;
}

/* --- on this machine ------------------------------------------------------------------------- */

static int open_parent(const char *path, struct place *p)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *parent = !slash          ? xstrdup(".")
	                              : slash == path ? xstrdup("/")
	                                              : xstrndup(path, (size_t)(slash - path));
	p->name = xstrdup(slash ? slash + 1 : path);
	if (!*p->name || str_eq(p->name, "..")) {
		free(p->name);
		p->name = xstrdup(".");
		p->dir = sys_open_dir(AT_FDCWD, path);
	} else {
		p->dir = sys_open_dir(AT_FDCWD, parent);
	}
	return p->dir < 0 ? p->dir : 0;
}

static int find_here(
        const char *path, bool follow, bool must_exist, struct place *p, struct error *err)
{
	_cleanup_free_ char *bare = read_ends(path, p);
	_cleanup_free_ char *real = NULL;
	follow |= p->contents || p->slash;
	if (str_eq(bare, ".") || str_eq(bare, "..") || str_ends(bare, "/.."))
		follow = true;
	/* trusted-path: named on the command line */
	if (follow && !(real = realpath(bare, NULL)) && must_exist)
		return err_sys(err, errno, "%s", path);
	if (real) {
		free(bare);
		bare = xstrdup(real);
		name_after(p, real);
	}
	int r = open_parent(bare, p);
	if (r >= 0)
		r = stat_place(p);
	if (r < 0)
		return err_sys(err, r, "%s", path);
	if (must_exist && !p->exists)
		return err_sys(err, ENOENT, "%s", path);
	if (p->exists && !p->is_dir && (p->contents || p->slash))
		return err_set(err, ERR_USAGE, "%s is not a directory", path);
	return 0;
}

/* --- what goes where ------------------------------------------------------------------------- */

/* transfer - docker's table: source is a file or a directory, destination is missing, a file or a
 * directory. */
static int transfer(const struct place *from, const struct place *to, const char *to_shown,
        const struct copy_options *o, struct error *err)
{
	bool root = !*from->base || str_eq(from->base, ".") || str_eq(from->base, "..");
	if (!from->is_dir) {
		if (!to->exists && (to->slash || to->contents))
			return err_set(err, ERR_USAGE, "the destination directory %s must exist",
			        to_shown);
		if (to->exists && to->is_dir) {
			_cleanup_close_ int dir =
			        sys_open_beneath(to->dir, to->name, O_RDONLY | O_DIRECTORY, 0);
			return dir < 0 ? err_sys(err, dir, "%s", to_shown)
			               : copy_tree(from->dir, from->name, dir, from->base, false, o,
			                         err);
		}
		if (to->exists && !S_ISREG(to->mode) && !S_ISLNK(to->mode)) {
			(void)err_set(err, ERR_USAGE, "%s is not a regular file", to_shown);
			return err_hint(err, "- as the destination writes a tar to stdout");
		}
		return copy_tree(from->dir, from->name, to->dir, to->name, false, o, err);
	}
	if (to->exists && !to->is_dir)
		return err_set(err, ERR_USAGE, "cannot copy a directory to the file %s", to_shown);
	if (!to->exists)
		return copy_tree(from->dir, from->name, to->dir, to->name, false, o, err);
	if (from->contents || root)
		return copy_tree(from->dir, from->name, to->dir, to->name, true, o, err);
	_cleanup_close_ int dir = sys_open_beneath(to->dir, to->name, O_RDONLY | O_DIRECTORY, 0);
	return dir < 0 ? err_sys(err, dir, "%s", to_shown)
	               : copy_tree(from->dir, from->name, dir, from->base, false, o, err);
}

/* options_in - of what comes from or goes into the container. */
static struct copy_options options_in(const struct container_root *root)
{
	return (struct copy_options){.keep_owner = true,
	        .keep_special = true,
	        .recorded = root->single_id,
	        .owners = &root->owners,
	        .owner_log = root->owner_log};
}

static int copy_out(struct container *c, const struct container_root *root, const char *path,
        const char *dest, const struct container_copy_options *o, bool real_root, struct error *err)
{
	_cleanup_(place_release) struct place from = {.dir = -1}, to = {.dir = -1};
	if (find_inside(c, root->fd, path, o->follow_link, true, &from, err) < 0)
		return -1;
	const struct copy_options in = options_in(root);
	if (str_eq(dest, "-"))
		return tar_from_tree(from.dir, from.name, from.base,
		        from.is_dir && (from.contents || !*from.base), &in, STDOUT_FILENO, err);
	struct copy_options co = {.uid = geteuid(), .gid = getegid()};
	/* Only real root can give files away; in a user namespace they would belong to ids that
	 * the user cannot touch afterwards. */
	co.keep_owner = co.keep_special = o->archive && real_root;
	if (find_here(dest, true, false, &to, err) < 0)
		return -1;
	return transfer(&from, &to, dest, &co, err);
}

static int copy_in(struct container *c, const struct container_root *root, const char *source,
        const char *path, const struct container_copy_options *o, struct error *err)
{
	_cleanup_(place_release) struct place from = {.dir = -1}, to = {.dir = -1};
	_cleanup_free_ char *shown = xasprintf("%s:%s", c->name, path);
	if (find_inside(c, root->fd, path, true, false, &to, err) < 0)
		return -1;
	struct copy_options co = options_in(root);
	if (str_eq(source, "-")) {
		if (!to.exists || !to.is_dir)
			return err_set(err, ERR_USAGE,
			        "the destination %s must be a directory that exists", shown);
		return tar_into_root(root->fd, path, &co, STDIN_FILENO, err);
	}
	if (find_here(source, o->follow_link, true, &from, err) < 0)
		return -1;
	co.keep_owner = o->archive;
	co.owners = NULL; /* inodes of this machine are no inodes of the container */
	return transfer(&from, &to, shown, &co, err);
}

int container_copy_out(struct store *s, const char *name, const char *path, const char *dest,
        const struct container_copy_options *o, struct error *err)
{
	_cleanup_(container_freep) struct container *c = NULL;
	struct container_root root = CONTAINER_ROOT_NONE;
	bool real_root = geteuid() == 0; /* before a user namespace makes everybody root */
	if (container_find(s, name, &c, err) < 0 ||
	        container_root_open(s, c, false, &root, err) < 0)
		return -1;
	int rc = copy_out(c, &root, path, dest, o, real_root, err);
	container_root_release(c, &root);
	return rc;
}

int container_copy_in(struct store *s, const char *name, const char *source, const char *path,
        const struct container_copy_options *o, struct error *err)
{
	_cleanup_(container_freep) struct container *c = NULL;
	struct container_root root = CONTAINER_ROOT_NONE;
	if (container_find(s, name, &c, err) < 0)
		return -1;
	if (json_get_bool(container_host_config(c), "ReadonlyRootfs", false))
		return err_set(
		        err, ERR_USAGE, "container %s has a read-only root file system", c->name);
	if (container_root_open(s, c, true, &root, err) < 0)
		return -1;
	int rc = copy_in(c, &root, source, path, o, err);
	container_root_release(c, &root);
	return rc;
}
