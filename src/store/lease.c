/* store/lease.c - leases, their staging directories, their pins, and the sweep of dead ones.
 *
 * A lease is the file staging/<id>.lock, flock'ed by its process, which also lists its pins, one
 * "L<hex>" or "B<hex>" a line; the directory staging/<id> is made when somebody wants it. The
 * lock file is made first and removed last, so a directory without one is garbage. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>

#include "base/hex.h"
#include "store/internal.h"
#include "sys/lock.h"
#include "sys/path.h"
#include "sys/privilege.h"

/* try_lock_file - make staging/<id>.lock and take it. A sweeper may hold or have removed a lock
 * file in the instant between: 0 says try another id. */
static int try_lock_file(struct store *s, struct store_lease *l)
{
	uint64_t r = 0;
	if (getrandom(&r, sizeof(r), 0) != sizeof(r))
		return -errno;
	hex_encode(l->id, &r, sizeof(r));
	char name[64];
	snprintf(name, sizeof(name), "staging/%s.lock", l->id);
	_cleanup_close_ int fd = openat(s->dirfd, name,
	        O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return errno == EEXIST ? 0 : -errno;
	int rc = sys_lock_fd(fd, true, false);
	if (rc < 0)
		return rc == -EWOULDBLOCK ? 0 : rc;
	struct stat st;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_nlink == 0)
		return 0;
	l->lock_fd = take_fd(&fd);
	return 1;
}

/* sweep_and_remember - a dead build's trees may belong to subuids; then it is tried again when this
 * process has entered its user namespace. */
static void sweep_and_remember(struct store *s)
{
	_cleanup_strv_ struct strv left = STRV_INIT;
	store_sweep(s, &left);
	s->sweep_again = left.n > 0 && !sys_privilege_entered();
}

int store_lease_new(struct store *s, struct store_lease **ret, struct error *err)
{
	struct store_lease *l = new0(struct store_lease, 1);
	l->s = s;
	l->lock_fd = l->dir_fd = -1;
	l->pins = MAP_INIT(NULL);
	int rc = 0;
	for (int i = 0; i < 1000 && rc == 0; i++) {
		rc = try_lock_file(s, l);
		/* Somebody removed a directory of ours: the skeleton is only checked at open. */
		if (rc == -ENOENT && i == 0 && mkdirat(s->dirfd, "staging", 0700) == 0)
			rc = 0;
	}
	if (rc <= 0) {
		free(l);
		return err_sys(
		        err, rc ? rc : -EAGAIN, "cannot create a lease in %s/staging", s->path);
	}
	store_enter(s);
	struct store_lease **tail = &s->leases;
	while (*tail)
		tail = &(*tail)->next;
	*tail = l;
	bool sweep = !s->swept;
	s->swept = true;
	store_leave(s);
	if (sweep)
		sweep_and_remember(s);
	*ret = l;
	return 0;
}

void store_lease_free(struct store_lease *l)
{
	if (!l)
		return;
	struct store *s = l->s;
	store_enter(s);
	for (struct store_lease **p = &s->leases; *p; p = &(*p)->next) {
		if (*p == l) {
			*p = l->next;
			break;
		}
	}
	store_leave(s);
	int fd = sys_open_dir(s->dirfd, "staging");
	if (fd >= 0) {
		char name[32];
		snprintf(name, sizeof(name), "%s.lock", l->id);
		/* What cannot be removed now keeps its lock file for a later sweep. */
		if (l->dir_fd < 0 || sys_remove_tree(fd, l->id) >= 0)
			(void)unlinkat(fd, name, 0);
		close(fd);
	}
	close_ptr(&l->dir_fd);
	close_ptr(&l->lock_fd);
	map_release(&l->pins);
	free(l);
}

int store_lease_dir(struct store_lease *l, struct error *err)
{
	struct store *s = l->s;
	store_enter(s);
	int fd = l->dir_fd;
	if (fd < 0) {
		char name[64];
		snprintf(name, sizeof(name), "staging/%s", l->id);
		fd = mkdirat(s->dirfd, name, 0700) < 0 && errno != EEXIST
		             ? -errno
		             : sys_open_dir(s->dirfd, name);
		if (fd < 0)
			fd = err_sys(err, fd, "cannot create %s/%s", s->path, name);
		else
			l->dir_fd = fd;
	}
	store_leave(s);
	return fd;
}

int store_lease_dirfd(const struct store_lease *l)
{
	_cleanup_error_ struct error e = ERROR_INIT;
	return store_lease_dir((struct store_lease *)l, &e);
}

int store_staging_dir(struct store_lease *l, char **ret_name, int *ret_fd, struct error *err)
{
	int dir = store_lease_dir(l, err);
	if (dir < 0)
		return -1;
	store_enter(l->s);
	unsigned n = ++l->n_names;
	bool again = l->s->sweep_again && sys_privilege_entered();
	if (again)
		l->s->sweep_again = false;
	store_leave(l->s);
	if (again)
		store_sweep(l->s, NULL);
	_cleanup_free_ char *name = xasprintf("d%u", n);
	if (mkdirat(dir, name, 0700) < 0)
		return err_sys(err, errno, "cannot create a staging directory in %s", l->s->path);
	int fd = sys_open_dir(dir, name);
	if (fd < 0)
		return err_sys(err, fd, "cannot open a staging directory in %s", l->s->path);
	*ret_name = take_ptr(name);
	*ret_fd = fd;
	return 0;
}

/* --- pins ----------------------------------------------------------------------------------- */

int store_pin(struct store_lease *l, char kind, const struct digest *d, struct error *err)
{
	if (!l)
		return 0;
	char line[DIGEST_HEX_MAX + 2];
	line[0] = kind;
	digest_hex(d, line + 1);
	if (map_has(&l->pins, line))
		return 0;
	map_put(&l->pins, line, NULL);
	line[65] = '\n';
	int r = sys_write_all(l->lock_fd, line, 66);
	return r < 0 ? err_sys(err, r, "cannot write the lease in %s/staging", l->s->path) : 0;
}

static int read_pins(int fd, struct map *ret)
{
	char line[66];
	for (off_t at = 0;; at += sizeof(line)) {
		ssize_t n = pread(fd, line, sizeof(line), at);
		if (n < 0)
			return -errno;
		if (n < (ssize_t)sizeof(line)) /* a writer that was killed half-way */
			return 0;
		line[65] = '\0';
		map_put(ret, line, NULL);
	}
}

int store_pinned(struct store *s, struct map *ret, struct error *err)
{
	int fd = sys_open_dir(s->dirfd, "staging");
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		close_ptr(&fd);
		return err_sys(err, fd < 0 ? fd : errno, "cannot read %s/staging", s->path);
	}
	int rc = 0;
	for (struct dirent *e; rc == 0 && (e = readdir(d));) {
		if (!str_ends(e->d_name, ".lock"))
			continue;
		_cleanup_close_ int lock =
		        openat(dirfd(d), e->d_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (lock < 0 && errno == ENOENT)
			continue;
		/* A dead lease's pins count until it is swept: harmless, and no lock is taken that
		 * could make a new lease believe it was swept. */
		int r = lock < 0 ? -errno : read_pins(lock, ret);
		if (r < 0)
			rc = err_sys(err, r, "cannot read %s/staging/%s", s->path, e->d_name);
	}
	closedir(d);
	return rc;
}

/* --- sweeping ------------------------------------------------------------------------------- */

/* sweep_one - 0 alive or removed, -errno of what could not be removed. */
static int sweep_one(int dir, const char *name)
{
	if (!str_ends(name, ".lock")) {
		_cleanup_free_ char *lock = xasprintf("%s.lock", name);
		if (faccessat(dir, lock, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			return 0;
		return sys_remove_tree(dir, name);
	}
	_cleanup_close_ int fd = openat(dir, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	int r = sys_lock_fd(fd, true, false);
	if (r < 0)
		return r == -EWOULDBLOCK ? 0 : r;
	struct stat st;
	if (fstat(fd, &st) < 0 || st.st_nlink == 0)
		return 0;
	_cleanup_free_ char *id = xstrndup(name, strlen(name) - strlen(".lock"));
	r = sys_remove_tree(dir, id);
	if (r < 0)
		return r;
	return unlinkat(dir, name, 0) < 0 ? -errno : 0;
}

void store_sweep(struct store *s, struct strv *problems)
{
	int fd = sys_open_dir(s->dirfd, "staging");
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		close_ptr(&fd);
		return;
	}
	for (struct dirent *e; (e = readdir(d));) {
		if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
			continue;
		int r = sweep_one(dirfd(d), e->d_name);
		if (r < 0 && problems)
			strv_addf(problems, "staging/%s: cannot remove what a dead build left: %s",
			        e->d_name, strerror(-r));
	}
	closedir(d);
}
