/* export/output.c - see internal.h: one output file, whole or not at all. */
#include "export/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

static int open_parent(struct output *o, const char *path, struct error *err)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *dir = slash ? xstrndup(path, (size_t)(slash - path)) : xstrdup(".");
	o->name = xstrdup(slash ? slash + 1 : path);
	if (*o->name == '\0')
		return err_set(err, ERR_USAGE, "%s: a file name is needed, not a directory", path);
	/* trusted-path: the user's dest= */
	o->dirfd = open(*dir ? dir : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (o->dirfd < 0) {
		int e = errno;
		(void)err_sys(err, e, "write %s: open its directory %s", path, *dir ? dir : "/");
		return e == ENOENT ? err_hint(err, "create the directory first") : -1;
	}
	return 0;
}

int output_open(struct output *o, const char *path, struct error *err)
{
	*o = (struct output){.fd = -1, .dirfd = -1, .shown = path};
	struct stat st;
	if (str_eq(path, "-")) {
		if (isatty(STDOUT_FILENO)) {
			(void)err_set(err, ERR_USAGE, "will not write an archive to a terminal");
			return err_hint(err, "redirect standard output, or give dest=FILE");
		}
		o->shown = "standard output";
		o->fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	} else if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode)) { /* trusted-path: see below */
		/* Devices and FIFOs, and links (as /dev/stdout is one): never replaced by a
		 * file, always written through. */
		if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) /* trusted-path: see below */
			return err_set(err, ERR_USAGE, "%s is a directory; a file is needed", path);
		/* trusted-path: the user's dest= */
		o->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	} else {
		if (open_parent(o, path, err) < 0)
			return -1;
		/* Ours alone by its pid: two exports to one name do not meet. */
		o->temp = xasprintf(".%.200s.%ld.tmp", o->name, (long)getpid());
		o->fd = openat(o->dirfd, o->temp,
		        O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	}
	if (o->fd < 0) {
		int e = errno;
		free(take_ptr(o->temp));
		return err_sys(err, e, "write %s", o->shown);
	}
	o->sink = sink_file(o->fd, o->shown);
	return 0;
}

bool output_is_replaced(const char *path)
{
	struct stat st;
	if (str_eq(path, "-"))
		return false;
	return lstat(path, &st) < 0 || S_ISREG(st.st_mode); /* trusted-path: the user's dest= */
}

int output_commit(struct output *o, struct error *err)
{
	if (sink_finish(o->sink, err) < 0)
		return -1;
	if (!o->temp)
		return 0;
	if (renameat(o->dirfd, o->temp, o->dirfd, o->name) < 0)
		return err_sys(err, errno, "rename to %s", o->shown);
	free(take_ptr(o->temp));
	return 0;
}

void output_release(struct output *o)
{
	sink_free(o->sink);
	if (o->temp)
		(void)unlinkat(o->dirfd, o->temp, 0);
	free(o->temp);
	free(o->name);
	close_ptr(&o->fd);
	close_ptr(&o->dirfd);
	*o = (struct output){.fd = -1, .dirfd = -1};
}
