/* sandbox/supervise_create.c - new files that do not belong to root. The supervisor makes them, so
 * that they have their owner from the start; what exists already is the kernel's business.
 *
 * What root makes belongs to root without a record, and the kernel makes it, but in a set-group-id
 * directory of another group. Path calls: see supervise_files.c. */
#include "sandbox/supervise.h"
#include "sys/path.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

/* status_of - a line of the caller's /proc/PID/status. */
static bool status_of(const struct call *c, const char *line, int base, uint32_t *ret)
{
	char name[32], buf[512];
	snprintf(name, sizeof(name), "%u/status", c->req->pid);
	_cleanup_close_ int fd = openat(c->s->proc, name, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);
	if (n <= 0)
		return false;
	buf[n] = '\0';
	const char *p = strstr(buf, line);
	if (p)
		*ret = (uint32_t)strtoul(p + strlen(line), NULL, base);
	return p != NULL;
}

/* umask_of - of the caller; 022 where it cannot be read. */
static uint32_t umask_of(const struct call *c)
{
	uint32_t mask = 022;
	(void)status_of(c, "\nUmask:", 8, &mask);
	return mask & 0777;
}

/* group_of_dir - does the directory give its group to what is made in it? in: p is the directory
 * itself (O_TMPFILE). */
static bool group_of_dir(struct call *c, const struct place *p, bool in, uint32_t *ret)
{
	struct place dir = {.follow = false};
	struct stat st;
	struct sys_owner o = {0, 0};
	size_t n = strlen(p->name);
	while (!in && n && p->name[n - 1] == '/')
		n--;
	while (!in && n && p->name[n - 1] != '/')
		n--;
	memcpy(dir.name, p->name, n);
	memcpy(dir.name + n, in ? "/." : ".", in ? 3 : 2);
	if (fstatat(AT_FDCWD, dir.name, &st, 0) < 0 || !(st.st_mode & S_ISGID))
		return false;
	(void)!place_owner(c, &dir, true, &o);
	*ret = o.gid;
	return true;
}

/* Whose a new thing will be. */
struct maker {
	struct sys_owner owner;
	bool special; /* its record is in the table, where its inode may have been another's */
};

static struct maker maker_of(const struct call *c, bool special)
{
	return (struct maker){{caller(c)->uid.fs, caller(c)->gid.fs}, special};
}

/* is_mine - false: root's, which the kernel makes as well. */
static bool is_mine(struct call *c, const struct maker *m)
{
	if (m->special)
		table_sync(c->s);
	return m->owner.uid || m->owner.gid || (m->special && c->s->table.n);
}

/* begin - where the new thing is to be, if that is for us to make. Undone by place_leave. */
static bool begin(
        struct call *c, int dirfd, uint64_t addr, bool in, struct maker *m, struct place *p)
{
	c->go_on = true;
	if (place_find(c, dirfd, addr, false, p) < 0)
		return false;
	(void)group_of_dir(c, p, in, &m->owner.gid);
	if (is_mine(c, m))
		return true;
	place_leave(c, p);
	return false;
}

static int64_t record_new(struct call *c, const struct maker *m, int fd)
{
	struct stat st;
	if (m->owner.uid || m->owner.gid)
		return owner_record(c->s, fd, m->owner);
	bool stale = fstat(fd, &st) == 0 &&
	             owner_table_find(&c->s->table, OWNER_MERGED, st.st_ino) != NULL;
	return stale ? owner_record(c->s, fd, m->owner) : 0;
}

/* --- open ------------------------------------------------------------------------------------ */

static void hand_over(struct call *c, int fd, bool cloexec)
{
	struct seccomp_notif_addfd a = {.id = c->req->id,
	        .flags = SECCOMP_ADDFD_FLAG_SEND,
	        .srcfd = (uint32_t)fd,
	        .newfd_flags = cloexec ? O_CLOEXEC : 0};
	c->sent = ioctl(c->s->listener, SECCOMP_IOCTL_NOTIF_ADDFD, &a) >= 0;
	if (c->sent || errno == ENOENT)
		return;
	if (errno != EINVAL) { /* EMFILE */
		c->value = -errno;
		return;
	}
	/* Linux before 5.14: in two steps. */
	a.flags = 0;
	int r = ioctl(c->s->listener, SECCOMP_IOCTL_NOTIF_ADDFD, &a);
	c->value = r < 0 ? -errno : r;
}

static void do_open(struct call *c, int dirfd, uint64_t addr, int flags, uint32_t mode)
{
	struct place p;
	struct maker m = maker_of(c, false);
	bool tmp = (flags & O_TMPFILE) == O_TMPFILE;
	c->go_on = true;
	/* O_PATH makes nothing, and takes what exists in spite of O_EXCL. */
	if ((flags & O_PATH) || !begin(c, dirfd, addr, tmp, &m, &p))
		return;
	/* A name that ends in '/' or exists is the kernel's to judge. */
	int mine = (flags & ~(O_TRUNC | O_CLOEXEC)) | O_CLOEXEC | O_NOCTTY | (tmp ? 0 : O_EXCL);
	/* trusted-path: a new file inside the step's root */
	_cleanup_close_ int fd = open(p.name, mine | O_CLOEXEC, mode & 07777 & ~umask_of(c));
	if (fd >= 0) {
		c->go_on = false;
		c->value = record_new(c, &m, fd);
	}
	place_leave(c, &p);
	if (fd >= 0 && c->value >= 0)
		hand_over(c, fd, flags & O_CLOEXEC);
}

static int open_by(int dirfd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve)
{
	struct open_how how = {.flags = flags, .mode = mode, .resolve = resolve};
	return (int)syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
}

/* group_by_rules - group_of_dir with openat2's rules for the way there. */
static void group_by_rules(
        struct call *c, int dirfd, const char *path, bool in, uint64_t resolve, uint32_t *ret)
{
	char dir[PATH_MAX + 2];
	struct stat st;
	struct sys_owner o = {0, 0};
	const char *slash = in ? path + strlen(path) : strrchr(path, '/');
	snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - path) + !in : 0, path);
	_cleanup_close_ int fd =
	        open_by(dirfd, *dir ? dir : ".", O_PATH | O_DIRECTORY | O_CLOEXEC, 0, resolve);
	if (fd >= 0 && fstat(fd, &st) == 0 && (st.st_mode & S_ISGID) && fd_owner(c->s, fd, &o) >= 0)
		*ret = o.gid;
}

/* do_open_by_rules - openat2 with rules for the path. */
static void do_open_by_rules(struct call *c, int dirfd, uint64_t addr, const struct open_how *how)
{
	char path[PATH_MAX];
	struct place base;
	struct maker m = maker_of(c, false);
	bool tmp = (how->flags & O_TMPFILE) == O_TMPFILE;
	if (call_path(c, addr, path) <= 0 || place_of(c, dirfd, "", &base) < 0)
		return;
	/* trusted-path: the caller's directory */
	_cleanup_close_ int at = open(base.name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int fd = -1;
	group_by_rules(c, at, path, tmp, how->resolve, &m.owner.gid);
	if (at >= 0 && is_mine(c, &m)) {
		uint64_t flags = (how->flags & ~(uint64_t)O_TRUNC) | O_CLOEXEC | O_NOCTTY |
		                 (tmp ? 0 : O_EXCL);
		fd = open_by(at, path, flags, how->mode & ~(uint64_t)umask_of(c), how->resolve);
	}
	if (fd >= 0) {
		c->go_on = false;
		c->value = record_new(c, &m, fd);
	}
	place_leave(c, &base);
	if (fd >= 0 && c->value >= 0)
		hand_over(c, fd, how->flags & O_CLOEXEC);
}

static void do_openat2(struct call *c)
{
	struct open_how how;
	const uint64_t *a = (const uint64_t *)c->req->data.args;
	c->go_on = true;
	if (a[3] != sizeof(how) || call_read(c, a[2], &how, sizeof(how)) != sizeof(how) ||
	        (how.flags & O_PATH) || !(how.flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY))))
		return;
	if (how.resolve)
		do_open_by_rules(c, (int)a[0], a[1], &how);
	else
		do_open(c, (int)a[0], a[1], (int)how.flags, (uint32_t)how.mode);
}

/* --- the others ------------------------------------------------------------------------------ */

/* made - the new thing gets its owner. */
static void made(struct call *c, const struct place *p, const struct maker *m, int r)
{
	c->go_on = false;
	if (r < 0) {
		c->value = -errno;
		return;
	}
	/* trusted-path: just made */
	_cleanup_close_ int fd = open(p->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	c->value = fd < 0 ? 0 : record_new(c, m, fd);
}

static void do_mkdir(struct call *c, int dirfd, uint64_t addr, uint32_t mode)
{
	struct place p;
	struct maker m = maker_of(c, false);
	if (!begin(c, dirfd, addr, false, &m, &p))
		return;
	made(c, &p, &m, mkdirat(AT_FDCWD, p.name, mode & 07777 & ~umask_of(c)));
	place_leave(c, &p);
}

static void do_symlink(struct call *c, uint64_t target, int dirfd, uint64_t addr)
{
	struct place p;
	struct maker m = maker_of(c, true);
	char text[PATH_MAX];
	c->go_on = true;
	if (call_path(c, target, text) < 0 || !begin(c, dirfd, addr, false, &m, &p))
		return;
	made(c, &p, &m, symlinkat(text, AT_FDCWD, p.name));
	place_leave(c, &p);
}

static void do_mknod(struct call *c, int dirfd, uint64_t addr, uint32_t mode, uint64_t dev)
{
	struct place p;
	struct maker m = maker_of(c, true);
	c->go_on = true;
	if (S_ISCHR(mode) || S_ISBLK(mode) || !begin(c, dirfd, addr, false, &m, &p))
		return;
	mode_t as = (mode & S_IFMT) | (mode & 07777 & ~umask_of(c));
	made(c, &p, &m, mknodat(AT_FDCWD, p.name, as, (dev_t)dev));
	place_leave(c, &p);
}

/* caller_fd - a copy of the caller's descriptor. It is the process's, of which the caller may be
 * any thread. */
static int caller_fd(const struct call *c, int fd)
{
	uint32_t process = c->req->pid;
	(void)status_of(c, "\nTgid:", 10, &process);
	_cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, process, 0);
	int copy = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	return copy < 0 ? -errno : call_alive(c) ? copy : (close(copy), -ESRCH);
}

/* bind_here - with the address as the caller wrote it, which others will read: from its own
 * directory. */
static int bind_here(struct call *c, int sock, const struct sockaddr_un *a, socklen_t len)
{
	char name[32];
	snprintf(name, sizeof(name), "%u/cwd", c->req->pid);
	_cleanup_close_ int cwd = openat(c->s->proc, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (cwd < 0 || fchdir(cwd) < 0)
		return -1;
	umask(umask_of(c));
	int r = bind(sock, (const struct sockaddr *)a, len), e = errno;
	umask(0);
	if (fchdir(c->s->proc) < 0)
		_exit(1);
	errno = e;
	return r;
}

static void do_bind(struct call *c, int fd, uint64_t addr, uint64_t len)
{
	struct sockaddr_un a;
	struct place p;
	struct maker m = maker_of(c, true);
	char path[sizeof(a.sun_path) + 1] = "";
	size_t head = offsetof(struct sockaddr_un, sun_path);
	c->go_on = true;
	if (len <= head || len > sizeof(a) || call_read(c, addr, &a, len) != (ssize_t)len)
		return;
	memcpy(path, a.sun_path, len - head);
	/* Without a path, or with an abstract name, there is no file. */
	if (a.sun_family != AF_UNIX || !*path || place_of(c, AT_FDCWD, path, &p) < 0)
		return;
	(void)group_of_dir(c, &p, false, &m.owner.gid);
	_cleanup_close_ int sock = is_mine(c, &m) ? caller_fd(c, fd) : -1;
	if (sock >= 0)
		made(c, &p, &m, bind_here(c, sock, &a, (socklen_t)len));
	place_leave(c, &p);
}

static bool is_creation(int nr)
{
	switch (nr) {
#ifdef SYS_open
	case SYS_open:
	case SYS_creat:
	case SYS_mkdir:
	case SYS_symlink:
	case SYS_mknod:
#endif
	case SYS_openat:
	case SYS_openat2:
	case SYS_mkdirat:
	case SYS_symlinkat:
	case SYS_mknodat:
	case SYS_bind:
		return true;
	}
	return false;
}

bool answer_creation(struct call *c)
{
	const uint64_t *a = (const uint64_t *)c->req->data.args;
	if (!is_creation(c->req->data.nr))
		return false;
	switch (c->req->data.nr) {
#ifdef SYS_open
	case SYS_open:
		do_open(c, AT_FDCWD, a[0], (int)a[1], (uint32_t)a[2]);
		break;
	case SYS_creat:
		do_open(c, AT_FDCWD, a[0], O_CREAT | O_WRONLY | O_TRUNC, (uint32_t)a[1]);
		break;
	case SYS_mkdir:
		do_mkdir(c, AT_FDCWD, a[0], (uint32_t)a[1]);
		break;
	case SYS_symlink:
		do_symlink(c, a[0], AT_FDCWD, a[1]);
		break;
	case SYS_mknod:
		do_mknod(c, AT_FDCWD, a[0], (uint32_t)a[1], a[2]);
		break;
#endif
	case SYS_openat:
		do_open(c, (int)a[0], a[1], (int)a[2], (uint32_t)a[3]);
		break;
	case SYS_openat2:
		do_openat2(c);
		break;
	case SYS_mkdirat:
		do_mkdir(c, (int)a[0], a[1], (uint32_t)a[2]);
		break;
	case SYS_symlinkat:
		do_symlink(c, a[0], (int)a[1], a[2]);
		break;
	case SYS_mknodat:
		do_mknod(c, (int)a[0], a[1], (uint32_t)a[2], a[3]);
		break;
	case SYS_bind:
		do_bind(c, (int)a[0], a[1], a[2] & UINT32_MAX);
		break;
	}
	return true;
}
