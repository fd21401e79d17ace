/* layer/write_view.c - a merged view written out as plain files (type=local).
 *
 * The destination may be the user's own directory with things in it: each step opens the parent
 * without following links and works on one name. Nothing is hard-linked to the store, since the
 * user may write to the result. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "layer/content.h"
#include "sys/path.h"
#include "sys/xattr.h"

struct out {
	const struct treeview *v;
	const int *fds;
	int destfd;
	bool keep_owner;
	bool split_links; /* each name a file of its own, as overlayfs has it once one is written */
	struct upper_ids ids;
	struct error *err;
	char *dir; /* path of dirfd */
	int dirfd;
	struct view_hit *dirs; /* whose metadata is set at the end */
	size_t n_dirs, cap_dirs;
};

static int fail(struct out *o, int errnum, const struct tree_entry *e, const char *what)
{
	return err_sys(o->err, errnum, "cannot %s %s in the output directory", what, e->path);
}

static int open_dir_of(struct out *o, const struct tree_entry *e, const char **ret_name)
{
	const char *slash = strrchr(e->path, '/');
	size_t n = slash ? (size_t)(slash - e->path) : 0;
	*ret_name = slash ? slash + 1 : e->path;
	if (o->dir && strlen(o->dir) == n && memcmp(o->dir, e->path, n) == 0)
		return 0;
	free(o->dir);
	o->dir = xstrndup(e->path, n);
	close_ptr(&o->dirfd);
	o->dirfd = sys_open_beneath(o->destfd, o->dir, O_PATH | O_DIRECTORY, 0);
	if (o->dirfd >= 0)
		return 0;
	int r = o->dirfd;
	free(take_ptr(o->dir));
	return fail(o, r, e, "open the directory of");
}

static struct tree_entry effective(const struct out *o, const struct tree_entry *e)
{
	struct tree_entry d = *e;
	if (!o->keep_owner) {
		d.uid = o->ids.euid;
		d.gid = o->ids.egid;
	}
	return d;
}

/* Make room for a non-directory. */
static int clear_name(struct out *o, const struct tree_entry *e, const char *name)
{
	if (unlinkat(o->dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno == EISDIR || errno == EPERM)
		return err_set(o->err, ERR_BUILD,
		        "cannot write %s: the output directory has a directory of that name",
		        e->path);
	return fail(o, errno, e, "replace");
}

static int write_dir(struct out *o, const struct view_hit *hit, const char *name)
{
	struct stat st;
	if (mkdirat(o->dirfd, name, 0700) < 0) {
		if (errno != EEXIST)
			return fail(o, errno, hit->entry, "make directory");
		if (fstatat(o->dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return fail(o, errno, hit->entry, "read");
		if (!S_ISDIR(st.st_mode)) {
			if (clear_name(o, hit->entry, name) < 0)
				return -1;
			if (mkdirat(o->dirfd, name, 0700) < 0)
				return fail(o, errno, hit->entry, "make directory");
		}
	}
	vec_grow(&o->dirs, &o->cap_dirs, o->n_dirs + 1);
	o->dirs[o->n_dirs++] = *hit;
	return 0;
}

static int write_file(
        struct out *o, const struct view_hit *hit, const struct tree_entry *body, const char *name)
{
	struct tree_entry d = effective(o, body);
	struct content_source src = {
	        .dirfd = o->fds[hit->layer],
	        .path = body->path,
	        .shown = hit->entry->path,
	        .e = body,
	        .stored = true,
	};
	return content_place(&o->ids, &src, o->dirfd, name, &d, o->err);
}

static int write_special(struct out *o, const struct tree_entry *e, const char *name)
{
	struct tree_entry d = effective(o, e);
	int r;
	if (e->type == TREE_SYMLINK)
		r = symlinkat(e->link, o->dirfd, name);
	else if (e->type == TREE_FIFO)
		r = mknodat(o->dirfd, name, S_IFIFO | 0600, 0);
	else
		r = mknodat(o->dirfd, name, (e->type == TREE_CHR ? S_IFCHR : S_IFBLK) | 0600,
		        makedev(e->dev_major, e->dev_minor));
	if (r < 0 && errno == EPERM)
		return 0; /* no devices without the right to make them */
	if (r < 0)
		return fail(o, errno, e, "make");
	if (o->keep_owner && !o->ids.single_id &&
	        fchownat(o->dirfd, name, d.uid, d.gid, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(o, errno, e, "change the owner of");
	if (e->type != TREE_SYMLINK && fchmodat(o->dirfd, name, e->mode, 0) < 0)
		return fail(o, errno, e, "change the mode of");
	struct timespec ts[2] = {{.tv_nsec = UTIME_OMIT}, {e->mtime_sec, e->mtime_nsec}};
	if (utimensat(o->dirfd, name, ts, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(o, errno, e, "set the time of");
	return 0;
}

/* The other name is in the output already if the view shows it from the same layer: it stands
 * earlier in tree order. */
static bool link_to_earlier(struct out *o, const struct view_hit *hit, const char *name)
{
	struct view_hit other;
	const char *base;
	if (!view_lookup(o->v, hit->entry->link, &other) || other.layer != hit->layer)
		return false;
	_cleanup_close_ int from = sys_open_parent(o->destfd, hit->entry->link, &base);
	return from >= 0 && linkat(from, base, o->dirfd, name, 0) == 0;
}

static int write_hit(void *ctx, const struct view_hit *hit)
{
	struct out *o = ctx;
	const char *name;
	if (open_dir_of(o, hit->entry, &name) < 0)
		return -1;
	if (hit->entry->type == TREE_DIR)
		return write_dir(o, hit, name);
	if (clear_name(o, hit->entry, name) < 0)
		return -1;
	if (hit->entry->type == TREE_HARDLINK && !o->split_links && link_to_earlier(o, hit, name))
		return 0;
	const struct tree_entry *body = view_content(o->v, hit);
	if (!body)
		return err_set(o->err, ERR_INTEGRITY, "/%s is a hard link to a missing file",
		        hit->entry->path);
	if (body->type == TREE_REG)
		return write_file(o, hit, body, name);
	return write_special(o, body, name);
}

static int finish_dirs(struct out *o)
{
	for (size_t i = o->n_dirs; i-- > 0;) {
		const struct tree_entry *e = o->dirs[i].entry;
		struct tree_entry d = effective(o, e);
		_cleanup_close_ int fd =
		        sys_open_beneath(o->destfd, e->path, O_RDONLY | O_DIRECTORY, 0);
		if (fd < 0)
			return fail(o, fd, e, "open");
		if (fchmod(fd, e->mode) < 0)
			return fail(o, errno, e, "change the mode of");
		if (upper_meta_fd(&o->ids, fd, &d, e->mode | o->ids.umask, e->path, o->err) < 0)
			return -1;
	}
	return 0;
}

static int write_view(const struct treeview *v, const int *fds, int destfd, bool keep_owner,
        bool split_links, bool single_id, struct error *err)
{
	struct out o = {
	        .v = v,
	        .fds = fds,
	        .destfd = destfd,
	        .keep_owner = keep_owner,
	        .split_links = split_links,
	        .err = err,
	        .dirfd = -1,
	};
	upper_ids_init(&o.ids, single_id);
	int r = view_list(v, "", true, write_hit, &o);
	if (r == 0)
		r = finish_dirs(&o);
	free(o.dir);
	free(o.dirs);
	close_ptr(&o.dirfd);
	return r < 0 ? -1 : 0;
}

int layer_write_view(
        const struct treeview *v, const int *fds, int destfd, bool keep_owner, struct error *err)
{
	return write_view(v, fds, destfd, keep_owner, false, false, err);
}

int layer_plain_root(
        const struct treeview *v, const int *fds, int destfd, bool single_id, struct error *err)
{
	if (layer_prepare_upper(destfd, v, single_id, err) < 0)
		return -1;
	return write_view(v, fds, destfd, true, true, single_id, err);
}
