/* sys/remove.c - sys_remove_tree: deletes a hostile tree with one open directory at a time.
 *
 * Neither the stack nor the descriptor limit bounds the depth: the way back up is "..", checked
 * against the device and inode that were seen on the way down. */
#include "sys/path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>

struct level {
	char *name; /* of the directory, in its parent */
	dev_t parent_dev;
	ino_t parent_ino;
};

struct walk {
	struct level *v;
	size_t n, cap;
	int fd; /* the directory being emptied; readable */
};

static void walk_release(struct walk *w)
{
	for (size_t i = 0; i < w->n; i++)
		free(w->v[i].name);
	free(w->v);
	close_ptr(&w->fd);
}

static int open_subdir(int dirfd, const char *name)
{
	struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
	        .resolve = RESOLVE_NO_XDEV | RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
	long fd = -1;
	for (int i = 0; i < 64; i++) {
		fd = syscall(SYS_openat2, dirfd, name, &how, sizeof(how));
		if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
			break;
	}
	return fd < 0 ? -errno : (int)fd;
}

/* descend - open name below w->fd and make it the current directory. */
static int descend(struct walk *w, const char *name)
{
	struct stat st;
	if (fstat(w->fd, &st) < 0)
		return -errno;
	int fd = open_subdir(w->fd, name);
	if (fd == -EACCES) {
		if (fchmodat(w->fd, name, 0700, AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
		fd = open_subdir(w->fd, name);
	}
	if (fd < 0)
		return fd;
	vec_grow(&w->v, &w->cap, w->n + 1);
	w->v[w->n++] = (struct level){xstrdup(name), st.st_dev, st.st_ino};
	close(w->fd);
	w->fd = fd;
	return 0;
}

/* ascend - back to the parent, then remove the directory just emptied. */
static int ascend(struct walk *w)
{
	struct level *l = &w->v[w->n - 1];
	struct stat st;
	_cleanup_close_ int up = openat(w->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (up < 0)
		return -errno;
	if (fstat(up, &st) < 0)
		return -errno;
	if (st.st_dev != l->parent_dev || st.st_ino != l->parent_ino)
		return -EXDEV; /* somebody moved it away while we were inside */
	if (unlinkat(up, l->name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return -errno;
	free(l->name);
	w->n--;
	close(w->fd);
	w->fd = take_fd(&up);
	return 0;
}

/* remove_entry - 0: gone; 1: a directory with contents; else -errno. */
static int remove_entry(int dirfd, const char *name, bool is_dir)
{
	for (int tries = 0; tries < 4; tries++) {
		if (unlinkat(dirfd, name, is_dir ? AT_REMOVEDIR : 0) == 0 || errno == ENOENT)
			return 0;
		if (is_dir && (errno == ENOTEMPTY || errno == EEXIST))
			return 1;
		if (errno == EISDIR)
			is_dir = true;
		else if (errno == ENOTDIR)
			is_dir = false;
		else if (errno == EACCES && tries < 2) {
			/* The directory that holds it lacks write or search permission. */
			if (fchmod(dirfd, 0700) < 0)
				return -errno;
		} else
			return -errno;
	}
	return -EBUSY;
}

static bool is_dot(const char *name)
{
	return str_eq(name, ".") || str_eq(name, "..");
}

static void closedir_ptr(DIR **d)
{
	if (*d)
		closedir(*d);
}

/* empty_one - removes entries of the current directory until one must be descended into (1) or
 * none is left (0). */
static int empty_one(struct walk *w)
{
	int fd = openat(w->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == EACCES) {
		/* Readable but not searchable: "." needs search permission. */
		if (fchmod(w->fd, 0700) < 0)
			return -errno;
		fd = openat(w->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (fd < 0)
		return -errno;
	_cleanup_(closedir_ptr) DIR *d = fdopendir(fd);
	if (!d) {
		int r = -errno;
		close(fd);
		return r;
	}
	for (;;) {
		errno = 0;
		struct dirent *e = readdir(d);
		if (!e)
			return errno ? -errno : 0;
		if (is_dot(e->d_name))
			continue;
		int r = remove_entry(w->fd, e->d_name, e->d_type == DT_DIR);
		if (r < 0)
			return r;
		if (r > 0) {
			r = descend(w, e->d_name);
			return r < 0 ? r : 1;
		}
	}
}

static int run(struct walk *w, size_t floor)
{
	for (;;) {
		int r = empty_one(w);
		if (r < 0)
			return r;
		if (r > 0)
			continue;
		if (w->n == floor)
			return 0;
		r = ascend(w);
		if (r < 0)
			return r;
	}
}

int sys_remove_tree_at_fd(int fd)
{
	_cleanup_(walk_release) struct walk w = {.fd = -1};
	w.fd = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return w.fd < 0 ? -errno : run(&w, 0);
}

int sys_remove_tree(int dirfd, const char *name)
{
	if (!*name || is_dot(name) || strchr(name, '/'))
		return -EINVAL;
	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR)
		return -errno;
	if (unlinkat(dirfd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	if (errno != ENOTEMPTY && errno != EEXIST)
		return -errno;
	_cleanup_(walk_release) struct walk w = {.fd = -1};
	w.fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (w.fd < 0)
		return -errno;
	int r = descend(&w, name);
	while (r >= 0 && w.n) {
		r = run(&w, 1);
		if (r >= 0)
			r = ascend(&w);
	}
	return r == -ENOENT ? 0 : r;
}
