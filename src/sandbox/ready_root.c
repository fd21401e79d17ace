/* sandbox/ready_root.c - mount points made in a root that is no overlay, and taken away again.
 *
 * Notes are records in a file: the path that is made, the time of the directory it is made in, and
 * what that time is afterwards (filled in by the reader's rule: unchanged but for us). */
#include "sandbox/step.h"
#include "sys/path.h"

#include <errno.h>
#include <fcntl.h>

#define NOTES_MAX (1u << 20)

struct note {
	int64_t sec;
	uint32_t nsec, len; /* of the path that follows; NUL not included */
};

static int note_one(const struct step *s, int root, const char *path, size_t len)
{
	size_t parent = len;
	while (parent && path[parent - 1] != '/')
		parent--;
	_cleanup_free_ char *dir = xstrndup(path, parent ? parent - 1 : 0);
	struct stat st = {0};
	struct note n = {.len = (uint32_t)len};
	int r = *dir ? sys_stat_beneath(root, dir, &st) : fstat(root, &st) < 0 ? -errno : 0;
	if (r < 0 && r != -ENOENT)
		return r;
	n.sec = st.st_mtim.tv_sec;
	n.nsec = (uint32_t)st.st_mtim.tv_nsec;
	r = sys_write_all(s->spec.made_fd, &n, sizeof(n));
	return r < 0 ? r : sys_write_all(s->spec.made_fd, path, len);
}

int ready_root_note(struct step *s, int root, const struct resolved *r)
{
	size_t n = strlen(r->path), at = r->existing;
	while (at < n) {
		at += r->path[at] == '/';
		at += strcspn(r->path + at, "/");
		int e = note_one(s, root, r->path, at);
		if (e < 0)
			return e;
	}
	return 0;
}

/* unmake_one - an empty file or directory, by its own name and through no link. */
static int unmake_one(int root, const char *path, const struct note *n)
{
	const char *name;
	struct stat st;
	_cleanup_close_ int dir = sys_open_parent(root, path, &name);
	if (dir < 0)
		return dir == -ENOENT || dir == -ENOTDIR || dir == -ELOOP ? 0 : dir;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISDIR(st.st_mode) && (!S_ISREG(st.st_mode) || st.st_size))
		return 0; /* the step's own by now */
	if (unlinkat(dir, name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0) < 0)
		return errno == ENOTEMPTY || errno == ENOENT ? 0 : -errno;
	struct timespec ts[2] = {{.tv_nsec = UTIME_OMIT}, {n->sec, n->nsec}};
	return n->sec && utimensat(dir, "", ts, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

int sandbox_unmake(int root_fd, int made_fd, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t n = 0;
	if (lseek(made_fd, 0, SEEK_SET) < 0)
		return err_sys(err, errno, "cannot read which mount points were made");
	int r = sys_read_fd(made_fd, NOTES_MAX, &text, &n);
	if (r < 0)
		return err_sys(err, r, "cannot read which mount points were made");
	/* Last made, first removed: collect where the records begin. */
	_cleanup_free_ size_t *at = new0(size_t, n / sizeof(struct note) + 1);
	size_t k = 0;
	struct note note;
	for (size_t i = 0; i + sizeof(note) <= n; i += sizeof(note) + note.len) {
		memcpy(&note, text + i, sizeof(note));
		if (note.len > n - i - sizeof(note))
			break;
		at[k++] = i;
	}
	while (k-- > 0) {
		memcpy(&note, text + at[k], sizeof(note));
		_cleanup_free_ char *path = xstrndup(text + at[k] + sizeof(note), note.len);
		r = unmake_one(root_fd, path, &note);
		if (r < 0)
			return err_sys(err, r, "cannot remove the mount point /%s", path);
	}
	return 0;
}
