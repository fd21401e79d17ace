/* store/history.c - the builds of this store: logs/builds.jsonl, a line of JSON each, and
 * logs/<build id>/<step>.log, what its steps printed.
 *
 * A build appends under a shared lock of the file; whoever trims holds it exclusively and replaces
 * the file, so an appender that locked a file without a name opens again. Each line starts with a
 * line end of its own: a torn line, after a power loss, spoils no other. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "base/strbuf.h"
#include "codec/json.h"
#include "store/internal.h"
#include "sys/path.h"

#define FILE_NAME "logs/builds.jsonl"
#define TEXT_MAX ((size_t)64 << 20)
#define TRIM_BYTES (8 << 20) /* by size whoever appends looks after the file too */
#define KEEP_BYTES (6 << 20) /* a build of thousands of steps has a line of megabytes */
#define STRAY_AGE (24 * 3600)

static bool plain_name(const char *s)
{
	return *s && *s != '.' && strlen(s) <= 200 && !strchr(s, '/');
}

int store_log_open(
        struct store *s, const char *build_id, const char *step, int *ret_fd, struct error *err)
{
	if (!plain_name(build_id) || !plain_name(step))
		return err_set(err, ERR_INTERNAL, "not a log name: %s/%s", build_id, step);
	_cleanup_free_ char *dir = xasprintf("logs/%s", build_id);
	_cleanup_free_ char *path = xasprintf("%s/%s.log", dir, step);
	int flags = O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW;
	int fd = openat(s->dirfd, path, flags, 0600);
	if (fd < 0 && errno == ENOENT) {
		if (mkdirat(s->dirfd, dir, 0700) < 0 && errno != EEXIST)
			return err_sys(err, errno, "cannot create %s/%s", s->path, dir);
		fd = openat(s->dirfd, path, flags, 0600);
	}
	if (fd < 0)
		return err_sys(err, errno, "cannot create %s/%s", s->path, path);
	*ret_fd = fd;
	return 0;
}

int store_log_read(
        struct store *s, const char *build_id, const char *step, int *ret_fd, struct error *err)
{
	if (!plain_name(build_id) || !plain_name(step))
		return err_set(err, ERR_USAGE, "not a log name: %s/%s", build_id, step);
	_cleanup_free_ char *path = xasprintf("logs/%s/%s.log", build_id, step);
	int fd = openat(s->dirfd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == ENOENT)
		return err_set(err, ERR_NOT_FOUND, "there is no log of step %s of build %s", step,
		        build_id);
	if (fd < 0)
		return err_sys(err, errno, "cannot open %s/%s", s->path, path);
	*ret_fd = fd;
	return 0;
}

/* --- the file -------------------------------------------------------------------------------- */

/* open_locked - the file that has the name at the moment of the lock. -errno. */
static int open_locked(struct store *s, int lock)
{
	for (;;) {
		int fd = openat(s->dirfd, FILE_NAME,
		        O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0)
			return -errno;
		int r;
		while ((r = flock(fd, lock)) < 0 && errno == EINTR)
			;
		struct stat st;
		if (r < 0 || fstat(fd, &st) < 0) {
			int e = errno;
			close(fd);
			return -e;
		}
		if (st.st_nlink)
			return fd;
		close(fd);
	}
}

/* drop_strays - logs of builds that left no line: they were killed. */
static void drop_strays(int logs, const struct map *kept)
{
	int fd = openat(logs, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		close_ptr(&fd);
		return;
	}
	for (struct dirent *e; (e = readdir(d));) {
		struct stat st;
		if (!plain_name(e->d_name) || map_has(kept, e->d_name) ||
		        fstatat(logs, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		        !S_ISDIR(st.st_mode) || store_now() - st.st_mtime < STRAY_AGE)
			continue;
		(void)!sys_remove_tree(logs, e->d_name);
	}
	closedir(d);
}

static int replace_file(struct store *s, const struct strbuf *text)
{
	static const char tmp[] = FILE_NAME ".tmp";
	_cleanup_close_ int fd =
	        openat(s->dirfd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	int r = sys_write_all(fd, text->buf, text->len);
	if (r >= 0 && renameat(s->dirfd, tmp, s->dirfd, FILE_NAME) < 0)
		r = -errno;
	if (r < 0)
		(void)unlinkat(s->dirfd, tmp, 0);
	return r;
}

/* trim_locked - keep the last `keep` lines that are younger than `oldest`. */
static int trim_locked(struct store *s, int fd, size_t keep, int64_t oldest, unsigned *ret_dropped)
{
	_cleanup_free_ char *text = NULL;
	size_t n, lines = 0, at = 0, dropped = 0;
	int r = lseek(fd, 0, SEEK_SET) < 0 ? -errno : sys_read_fd(fd, TEXT_MAX, &text, &n);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		lines += text[i] == '\n' && i && text[i - 1] != '\n';
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	_cleanup_map_ struct map kept = MAP_INIT(NULL);
	_cleanup_close_ int logs = sys_open_dir(s->dirfd, "logs");
	for (char *p = text, *end; p < text + n; p = end + 1) {
		end = memchr(p, '\n', (size_t)(text + n - p));
		if (!end)
			break;
		if (end == p)
			continue;
		size_t len = (size_t)(end - p);
		_cleanup_error_ struct error e = ERROR_INIT;
		_cleanup_json_ json_t *j = json_parse(p, len, TEXT_MAX, "history", &e);
		const char *id = json_get_str(j, "id");
		if (id && !plain_name(id))
			id = NULL;
		bool last = end + 1 == text + n;
		bool goes = lines - at++ > keep || !id || (!last && text + n - p > KEEP_BYTES) ||
		            (oldest && json_get_int(j, "started", 0) / 1000 <= oldest);
		if (goes && id && logs >= 0)
			(void)!sys_remove_tree(logs, id);
		dropped += goes;
		if (!goes) {
			strbuf_addch(&out, '\n');
			strbuf_add(&out, p, len + 1);
			map_put(&kept, id, NULL);
		}
	}
	if (logs >= 0)
		drop_strays(logs, &kept);
	if (ret_dropped)
		*ret_dropped = (unsigned)dropped;
	return dropped ? replace_file(s, &out) : 0;
}

static size_t count_lines(int fd, size_t most)
{
	_cleanup_free_ char *text = NULL;
	size_t n, lines = 0;
	if (lseek(fd, 0, SEEK_SET) < 0 || sys_read_fd(fd, most, &text, &n) < 0)
		return SIZE_MAX;
	for (size_t i = 0; i < n; i++)
		lines += text[i] == '\n';
	return lines / 2; /* each has one before and one behind */
}

int store_build_put(struct store *s, const char *json, bool ran, struct error *err)
{
	_cleanup_free_ char *line = xasprintf("\n%s\n", json);
	int fd = open_locked(s, LOCK_SH);
	if (fd < 0)
		return err_sys(err, fd, "cannot open %s/" FILE_NAME, s->path);
	int r = sys_write_all(fd, line, strlen(line));
	struct stat st;
	bool full = r >= 0 && fstat(fd, &st) == 0 && st.st_size > TRIM_BYTES;
	if (r >= 0 && !full && ran)
		full = count_lines(fd, TRIM_BYTES) > STORE_BUILDS_KEPT * 3 / 2;
	close(fd);
	if (r < 0)
		return err_sys(err, r, "cannot write %s/" FILE_NAME, s->path);
	_cleanup_error_ struct error ignored = ERROR_INIT; /* the next build tries again */
	if (full)
		(void)!store_builds_trim(s, STORE_BUILDS_KEPT, 0, NULL, &ignored);
	return 0;
}

int store_builds_trim(
        struct store *s, size_t keep, int64_t older_than, unsigned *ret_dropped, struct error *err)
{
	_cleanup_close_ int fd = open_locked(s, LOCK_EX);
	int r = fd < 0 ? fd
	               : trim_locked(s, fd, keep, older_than ? store_now() - older_than : 0,
	                         ret_dropped);
	return r < 0 ? err_sys(err, r, "cannot trim %s/" FILE_NAME, s->path) : 0;
}

int store_builds(struct store *s, struct strv *ret, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t n;
	int r = sys_read_file(s->dirfd, FILE_NAME, TEXT_MAX, &text, &n);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return err_sys(err, r, "cannot read %s/" FILE_NAME, s->path);
	for (char *p = text, *end; p < text + n; p = end + 1) {
		end = memchr(p, '\n', (size_t)(text + n - p));
		if (!end)
			break;
		if (end > p)
			strv_add_take(ret, xstrndup(p, (size_t)(end - p)));
	}
	return 0;
}
