/* store/store.c - the handle: where the store is, its skeleton of directories, the store lock,
 * warnings.
 *
 * Invariant: lock_depth counts holders inside this process; the flock is taken by the first and
 * dropped by the last, always under mu. */
#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/file.h>
#include <time.h>

#include "base/log.h"
#include "store/internal.h"
#include "sys/lock.h"
#include "sys/path.h"

static const char *const skeleton[] = {"layers", "staging", "mounts", "logs", "quarantine", "cache",
        "containers", "volumes", "blobs", "blobs/sha256"};

char *store_default_path(struct error *err)
{
	const char *v = getenv("STRAKE_STORE");
	if (v && *v)
		return xstrdup(v);
	if (geteuid() == 0)
		return xstrdup("/var/lib/strake");
	v = getenv("XDG_DATA_HOME");
	/* The XDG specification says that a relative path is to be ignored. */
	if (v && *v == '/')
		return xasprintf("%s/strake", v);
	v = getenv("HOME");
	if (v && *v)
		return xasprintf("%s/.local/share/strake", v);
	(void)err_set(err, ERR_USAGE, "no place for the store: HOME is not set");
	(void)err_hint(err, "set STRAKE_STORE to a directory on a local disk");
	return NULL;
}

static int make_parents(const char *path, struct error *err)
{
	_cleanup_free_ char *p = xstrdup(path);
	for (char *q = p + 1; *q; q++) {
		if (*q != '/')
			continue;
		*q = '\0';
		if (mkdirat(AT_FDCWD, p, 0700) < 0 && errno != EEXIST && errno != EROFS &&
		        errno != EACCES)
			return err_sys(err, errno, "cannot create %s", p);
		*q = '/';
	}
	if (mkdirat(AT_FDCWD, p, 0700) < 0 && errno != EEXIST) {
		(void)err_sys(err, errno, "cannot create the store %s", path);
		return err_hint(err, "set STRAKE_STORE to a directory that you can write");
	}
	return 0;
}

/* is_ours - a directory with foreign things in it is most likely a mistyped STRAKE_STORE; filling
 * somebody's home with our folders would be rude, and prune would be dangerous. */
static int is_ours(const struct store *s, struct error *err)
{
	int fd = sys_open_dir(s->dirfd, ".");
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		if (fd >= 0)
			close(fd);
		return err_sys(err, fd < 0 ? -fd : errno, "cannot read the store %s", s->path);
	}
	char foreign[256] = "";
	bool known = false;
	for (struct dirent *e; (e = readdir(d));) {
		if (e->d_name[0] == '.' || str_eq(e->d_name, "lost+found"))
			continue;
		bool ours = str_starts(e->d_name, "meta.db") || str_eq(e->d_name, "lock") ||
		            str_eq(e->d_name, "gate") || str_eq(e->d_name, "locks") ||
		            str_eq(e->d_name, "prune.lock") ||
		            str_eq(e->d_name, "containers.lock") || str_eq(e->d_name, "reserve");
		for (size_t i = 0; i < ARRAY_SIZE(skeleton); i++)
			ours |= str_eq(e->d_name, skeleton[i]);
		if (ours)
			known = true;
		else
			snprintf(foreign, sizeof(foreign), "%s", e->d_name);
	}
	closedir(d);
	if (known || !foreign[0])
		return 0;
	(void)err_set(err, ERR_USAGE, "%s is not a strake store: it holds %s", s->path, foreign);
	return err_hint(err, "name an empty or new directory with STRAKE_STORE");
}

static int make_skeleton(struct store *s, struct error *err)
{
	/* The last entry is made last, so its presence tells that all are there. */
	if (faccessat(s->dirfd, skeleton[ARRAY_SIZE(skeleton) - 1], F_OK, 0) == 0)
		return 0;
	if (is_ours(s, err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(skeleton); i++)
		if (mkdirat(s->dirfd, skeleton[i], 0700) < 0 && errno != EEXIST)
			return err_sys(err, errno, "cannot create %s/%s", s->path, skeleton[i]);
	store_reserve(s);
	int r = sys_fsync_dir(s->dirfd);
	return r < 0 ? err_sys(err, r, "cannot write the store %s", s->path) : 0;
}

int store_open(const char *path, struct store **ret, struct error *err)
{
	struct store *s = new0(struct store, 1);
	s->dirfd = s->cache_fd = s->lock_fd = s->gate_fd = -1;
	s->busy_ms = 60 * 1000;
	s->layers = MAP_INIT(NULL);
	s->seen = MAP_INIT(NULL);
	pthread_mutexattr_t attr;
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&s->mu, &attr);
	pthread_mutexattr_destroy(&attr);

	int fd = sys_open_dir(AT_FDCWD, path);
	if (fd == -ENOENT) {
		if (make_parents(path, err) < 0)
			goto fail;
		fd = sys_open_dir(AT_FDCWD, path);
	}
	if (fd < 0) {
		(void)err_sys(err, fd, "cannot open the store %s", path);
		if (fd == -EACCES)
			(void)err_hint(err, "it belongs to another user: set STRAKE_STORE to a "
			                    "directory of yours");
		goto fail;
	}
	s->dirfd = fd;
	/* SQLite takes a path, and the working directory may change. */
	/* trusted-path: the store itself */
	s->path = realpath(path, NULL);
	if (!s->path) {
		(void)err_sys(err, errno, "cannot open the store %s", path);
		goto fail;
	}
	if (make_skeleton(s, err) < 0)
		goto fail;
	*ret = s;
	return 0;
fail:
	store_free(s);
	return -1;
}

void store_free(struct store *s)
{
	if (!s)
		return;
	while (s->leases)
		store_lease_free(s->leases);
	if (s->path) {
		store_flush_touches(s);
		db_close(s);
	}
	for (struct layer_entry *e = s->all_layers, *next; e; e = next) {
		next = e->next;
		close_ptr(&e->pub.fd);
		tree_release(&e->tree);
		free(e);
	}
	map_release(&s->layers);
	map_release(&s->fresh);
	map_release(&s->seen);
	for (size_t i = 0; i < s->n_touches; i++)
		free(s->touches[i].kind);
	free(s->touches);
	strv_release(&s->warnings);
	close_ptr(&s->cache_fd);
	close_ptr(&s->lock_fd);
	close_ptr(&s->gate_fd);
	close_ptr(&s->dirfd);
	pthread_mutex_destroy(&s->mu);
	free(s->path);
	free(s);
}

const char *store_path(const struct store *s)
{
	return s->path;
}

/* reattach - let *fd, a directory at `path` below dir, name the same directory through the mounts
 * of the present namespace; its number stays. */
static int reattach(int dir, const char *path, int fd)
{
	struct stat was, now;
	_cleanup_close_ int fresh = sys_open_dir(dir, path);
	if (fresh < 0)
		return fresh;
	if (fstat(fd, &was) < 0 || fstat(fresh, &now) < 0)
		return -errno;
	if (was.st_dev != now.st_dev || was.st_ino != now.st_ino)
		return -ESTALE;
	return dup3(fresh, fd, O_CLOEXEC) < 0 ? -errno : 0;
}

int store_reattach(struct store *s, struct error *err)
{
	char path[STORE_PATH_MAX];
	store_enter(s);
	int r = reattach(AT_FDCWD, s->path, s->dirfd);
	if (r >= 0 && s->cache_fd >= 0)
		r = reattach(s->dirfd, "cache", s->cache_fd);
	for (struct store_lease *l = s->leases; r >= 0 && l; l = l->next) {
		snprintf(path, sizeof(path), "staging/%s", l->id);
		if (l->dir_fd >= 0)
			r = reattach(s->dirfd, path, l->dir_fd);
	}
	for (struct layer_entry *e = s->all_layers; r >= 0 && e; e = e->next)
		if (e->pub.fd >= 0 &&
		        reattach(s->dirfd, store_layer_path(path, &e->pub.diff_id, "tree"),
		                e->pub.fd) < 0)
			close_ptr(&e->pub.fd); /* opened anew, or found missing, at the next use */
	store_leave(s);
	return r < 0 ? err_sys(err, r, "opening the store %s anew", s->path)
	             : store_check_owners(s, err);
}

int store_dirfd(const struct store *s)
{
	return s->dirfd;
}

int store_cache_dirfd(struct store *s)
{
	store_enter(s);
	if (s->cache_fd < 0) {
		(void)!mkdirat(s->dirfd, "cache", 0700);
		s->cache_fd = sys_open_dir(s->dirfd, "cache");
	}
	int fd = s->cache_fd;
	store_leave(s);
	return fd;
}

void store_warnings(struct store *s, struct strv *ret)
{
	store_enter(s);
	strv_foreach (w, &s->warnings)
		strv_add(ret, w);
	strv_release(&s->warnings);
	s->warnings = STRV_INIT;
	store_leave(s);
}

void store_warn(struct store *s, const char *fmt, ...)
{
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	va_list ap;
	va_start(ap, fmt);
	strbuf_vaddf(&sb, fmt, ap);
	va_end(ap);
	log_debug("store: %s", sb.buf);
	store_enter(s);
	if (!strv_contains(&s->warnings, sb.buf))
		strv_add(&s->warnings, sb.buf);
	store_leave(s);
}

void store_set_busy_timeout(struct store *s, unsigned ms)
{
	s->busy_ms = ms;
}

void store_enter(struct store *s)
{
	pthread_mutex_lock(&s->mu);
}

void store_leave(struct store *s)
{
	pthread_mutex_unlock(&s->mu);
}

static int open_lock(struct store *s, const char *name, int *fd)
{
	if (*fd >= 0)
		return 0;
	int r = openat(s->dirfd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (r < 0)
		return -errno;
	*fd = r;
	return 0;
}

/* take_flock - through the gate: a flock is not fair, and users of a busy store overlap so that an
 * exclusive waiter might starve. Who waits for the exclusive lock shuts the gate, so that no new
 * user gets in and those inside drain away. */
static int take_flock(struct store *s, bool exclusive)
{
	int r = open_lock(s, "lock", &s->lock_fd);
	if (r >= 0)
		r = open_lock(s, "gate", &s->gate_fd);
	if (r >= 0)
		r = sys_lock_fd(s->gate_fd, exclusive, true);
	if (r < 0)
		return r;
	r = sys_lock_fd(s->lock_fd, exclusive, true);
	(void)flock(s->gate_fd, LOCK_UN);
	return r;
}

int store_lock(struct store *s, bool exclusive, struct error *err)
{
	store_enter(s);
	if (s->lock_depth > 0) {
		s->lock_depth++;
		return 0;
	}
	int r = take_flock(s, exclusive);
	if (r < 0) {
		(void)err_sys(err, r, "cannot lock the store %s", s->path);
		if (r == -EACCES || r == -EPERM)
			(void)err_hint(err, "the store belongs to another user: set STRAKE_STORE "
			                    "to a directory of yours");
		store_leave(s);
		return -1;
	}
	s->lock_exclusive = exclusive;
	s->lock_depth = 1;
	return 0;
}

void store_unlock(struct store *s)
{
	if (--s->lock_depth == 0) {
		(void)flock(s->lock_fd, LOCK_UN);
		s->lock_exclusive = false;
	}
	store_leave(s);
}

int64_t store_now(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec;
}

char *store_layer_path(char *buf, const struct digest *d, const char *sub)
{
	char hex[DIGEST_HEX_MAX];
	snprintf(buf, STORE_PATH_MAX, "layers/%s%s%s", digest_hex(d, hex), sub ? "/" : "",
	        str_or_empty(sub));
	return buf;
}

char *store_blob_path(char *buf, const struct digest *d)
{
	char hex[DIGEST_HEX_MAX];
	snprintf(buf, STORE_PATH_MAX, "blobs/sha256/%s", digest_hex(d, hex));
	return buf;
}

int store_opendir(struct store *s, const char *dir, DIR **ret, struct error *err)
{
	int fd = sys_open_dir(s->dirfd, dir);
	if (fd == -ENOENT)
		return 0;
	*ret = fd < 0 ? NULL : fdopendir(fd);
	if (*ret)
		return 1;
	int e = fd < 0 ? -fd : errno;
	close_ptr(&fd);
	return err_sys(err, e, "cannot read %s/%s", s->path, dir);
}
