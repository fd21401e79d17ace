/* sandbox/supervise_files.c - whose file is it: chown and stat, and hiding the record itself.
 *
 * All path calls here start at the step's own root, or at a directory or descriptor of the caller:
 * that is what every "trusted-path" below means. */
#include "sandbox/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#ifndef SYS_listxattrat
#define SYS_setxattrat 463
#define SYS_getxattrat 464
#define SYS_listxattrat 465
#define SYS_removexattrat 466
#endif
#define KEEP UINT32_MAX

/* --- where a path leads ---------------------------------------------------------------------- */

static int enter_chroot(struct call *c, struct place *p)
{
	char root[32];
	if (!c->s->chrooted)
		return 0;
	snprintf(root, sizeof(root), "%u/root", c->req->pid);
	p->in_chroot = chroot(root) == 0; /* trusted-path: the caller's root */
	return p->in_chroot ? 0 : -errno;
}

void place_leave(struct call *c, const struct place *p)
{
	if (!p->in_chroot)
		return;
	/* trusted-path: back to the step's root; without it nothing would be right any more */
	if (fchdir(c->s->root) < 0 || chroot(".") < 0 || fchdir(c->s->proc) < 0)
		_exit(1);
}

int place_find(struct call *c, int dirfd, uint64_t addr, bool empty, struct place *ret)
{
	char path[PATH_MAX] = "";
	int n = addr || !empty ? call_path(c, addr, path) : 0;
	return n < 0 ? n : !n && !empty ? -ENOENT : place_of(c, dirfd, path, ret);
}

int place_of(struct call *c, int dirfd, const char *path, struct place *ret)
{
	struct place *p = ret;
	unsigned pid = c->req->pid;
	size_t n = strlen(path);
	p->follow = p->in_chroot = false;
	if (!call_alive(c))
		return -ESRCH;
	if (path[0] == '/') {
		memcpy(p->name, path, n + 1);
	} else {
		char base[48];
		if (dirfd == AT_FDCWD)
			snprintf(base, sizeof(base), "%u/cwd", pid);
		else
			snprintf(base, sizeof(base), "%u/fd/%d", pid, dirfd);
		p->follow = n == 0;
		snprintf(p->name, sizeof(p->name), "%s%s%s", base, n ? "/" : "", path);
	}
	return enter_chroot(c, p);
}

/* --- the record ------------------------------------------------------------------------------ */

void table_sync(struct supervisor *s)
{
	if (s->shared)
		(void)!owner_log_follow(s->owners, OWNER_MERGED, &s->log_at, &s->table);
}

/* table_owner - links, devices, pipes and sockets of the root file system. */
static int table_owner(const struct supervisor *s, const struct stat *st, struct sys_owner *ret)
{
	if (S_ISREG(st->st_mode) || S_ISDIR(st->st_mode) || st->st_dev != s->root_dev)
		return 0;
	const struct owner_record *r = owner_table_find(&s->table, OWNER_MERGED, st->st_ino);
	if (!r)
		return 0;
	*ret = (struct sys_owner){r->uid, r->gid};
	return 1;
}

int place_owner(struct call *c, const struct place *p, bool follow, struct sys_owner *ret)
{
	char buf[SYS_OWNER_TEXT_MAX];
	struct stat st;
	follow |= p->follow;
	ssize_t n;
	if (follow)
		n = getxattr(p->name, SYS_OWNER_XATTR, buf, sizeof(buf)); /* trusted-path: above */
	else
		n = lgetxattr(p->name, SYS_OWNER_XATTR, buf, sizeof(buf)); /* trusted-path: above */
	if (n >= 0)
		return sys_owner_parse(buf, (size_t)n, ret);
	table_sync(c->s);
	if (!c->s->table.n || fstatat(AT_FDCWD, p->name, &st, follow ? 0 : AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	return table_owner(c->s, &st, ret);
}

/* own_fd - a descriptor of ours as a path. /proc is the step's, where we are not. */
static void own_fd(char buf[32], int fd)
{
	snprintf(buf, 32, "self/fd/%d", fd);
}

int fd_owner(const struct supervisor *s, int fd, struct sys_owner *ret)
{
	char name[32], buf[SYS_OWNER_TEXT_MAX];
	struct stat st;
	own_fd(name, fd);
	ssize_t n = getxattr(name, SYS_OWNER_XATTR, buf, sizeof(buf)); /* trusted-path: own_fd */
	if (n >= 0)
		return sys_owner_parse(buf, (size_t)n, ret);
	return fstat(fd, &st) < 0 ? -errno : table_owner(s, &st, ret);
}

/* upper_inode - of a file in the step's root, as the upper directory has it. */
static int upper_inode(const struct supervisor *s, int fd, uint64_t *ret)
{
	char link[32], path[PATH_MAX];
	struct stat st;
	own_fd(link, fd);
	ssize_t n = readlinkat(s->proc, link, path, sizeof(path) - 1);
	if (n <= 1)
		return n < 0 ? -errno : -EINVAL;
	path[n] = '\0';
	if (fstatat(s->upper, path + 1, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	*ret = st.st_ino;
	return 0;
}

static int table_put(struct supervisor *s, enum owner_where where, uint64_t ino, struct sys_owner o)
{
	struct owner_record r = {.ino = ino, .uid = o.uid, .gid = o.gid, .where = OWNER_MERGED};
	/* Once the kernel forgets where a file was copied up from, it shows the upper inode. */
	owner_table_put(&s->table, &r);
	return s->owners < 0 ? 0 : owner_log_append(s->owners, where, ino, o.uid, o.gid);
}

int owner_record(struct supervisor *s, int fd, struct sys_owner o)
{
	char name[32], text[SYS_OWNER_TEXT_MAX];
	struct stat st;
	uint64_t ino;
	own_fd(name, fd);
	/* trusted-path: own_fd */
	int r = setxattr(name, SYS_OWNER_XATTR, text, sys_owner_format(text, o), 0) < 0 ? -errno
	                                                                                : 0;
	if (r != -EPERM && r != -EOPNOTSUPP)
		return r;
	if (fstat(fd, &st) < 0)
		return -errno;
	/* Elsewhere than in the root file system it matters to nobody afterwards. */
	if (st.st_dev != s->root_dev)
		return 0;
	r = table_put(s, OWNER_MERGED, st.st_ino, o);
	if (r < 0 || s->upper < 0 || upper_inode(s, fd, &ino) < 0)
		return r;
	r = table_put(s, OWNER_UPPER, ino, o);
	/* The others learn both numbers. */
	return r >= 0 && s->shared && ino != st.st_ino ? table_put(s, OWNER_MERGED, ino, o) : r;
}

/* --- chown ----------------------------------------------------------------------------------- */

static int64_t chown_fd(struct call *c, int fd, uint32_t uid, uint32_t gid)
{
	struct sys_owner old = {0, 0};
	table_sync(c->s);
	int r = fd_owner(c->s, fd, &old);
	if (r < 0)
		return r;
	if (!identity_may_chown(caller(c), old.uid, old.gid, uid, gid))
		return -EPERM;
	/* The kernel's own part: copying up, clearing set-id bits and capabilities. */
	if (fchownat(fd, "", 0, 0, AT_EMPTY_PATH) < 0)
		return -errno;
	struct sys_owner new = {uid == KEEP ? old.uid : uid, gid == KEEP ? old.gid : gid};
	return owner_record(c->s, fd, new);
}

static void do_chown(
        struct call *c, int dirfd, uint64_t addr, uint32_t uid, uint32_t gid, int flags)
{
	struct place p;
	bool follow = !(flags & AT_SYMLINK_NOFOLLOW);
	if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) {
		c->value = -EINVAL;
		return;
	}
	c->value = place_find(c, dirfd, addr, flags & AT_EMPTY_PATH, &p);
	if (c->value < 0)
		return;
	int flags_at = O_PATH | O_CLOEXEC | (follow || p.follow ? 0 : O_NOFOLLOW);
	_cleanup_close_ int fd = open(p.name, flags_at); /* trusted-path: see above */
	int e = errno;
	place_leave(c, &p);
	if (fd >= 0)
		c->value = chown_fd(c, fd, uid, gid);
	else
		c->value = -e;
	/* /dev/stdout is a link into the caller's own /proc, where only the caller gets: whose it
	 * is matters to nobody. */
	if (fd < 0 && e == ENOENT && (str_starts(p.name, "/dev/") || str_starts(p.name, "/proc/")))
		c->value = 0;
}

static void do_fchown(struct call *c, int target, uint32_t uid, uint32_t gid)
{
	char name[32];
	snprintf(name, sizeof(name), "%u/fd/%d", c->req->pid, target);
	_cleanup_close_ int fd = openat(c->s->proc, name, O_PATH | O_CLOEXEC);
	if (fd < 0)
		c->value = errno == ENOENT ? -EBADF : -errno;
	else
		c->value = chown_fd(c, fd, uid, gid);
}

/* do_move - before a link or pipe of a lower layer gets another name: it will be copied up, and be
 * another inode in the upper directory. */
static void do_move(struct call *c, int dirfd, uint64_t addr)
{
	struct place p;
	struct stat st;
	struct sys_owner o;
	c->go_on = true;
	table_sync(c->s);
	if (!c->s->table.n || place_find(c, dirfd, addr, false, &p) < 0)
		return;
	/* trusted-path: see above */
	_cleanup_close_ int fd = open(p.name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	place_leave(c, &p);
	if (fd >= 0 && fstat(fd, &st) == 0 && table_owner(c->s, &st, &o) > 0 &&
	        fchownat(fd, "", 0, 0, AT_EMPTY_PATH) == 0)
		(void)!owner_record(c->s, fd, o);
}

/* --- stat ------------------------------------------------------------------------------------ */

static void do_stat(struct call *c, int dirfd, uint64_t addr, uint64_t out, int flags)
{
	struct place p;
	struct stat st;
	struct sys_owner o;
	bool follow = !(flags & AT_SYMLINK_NOFOLLOW);
	c->go_on = true; /* whatever fails here fails there, with the right error */
	if (place_find(c, dirfd, addr, flags & AT_EMPTY_PATH, &p) < 0)
		return;
	bool known =
	        place_owner(c, &p, follow, &o) > 0 &&
	        fstatat(AT_FDCWD, p.name, &st, follow || p.follow ? 0 : AT_SYMLINK_NOFOLLOW) == 0;
	place_leave(c, &p);
	if (!known)
		return;
	st.st_uid = o.uid;
	st.st_gid = o.gid;
	/* The C library's struct stat is the kernel's on 64-bit machines. */
	c->value = call_write(c, out, &st, sizeof(st));
	c->go_on = false;
}

static void do_statx(struct call *c)
{
	const uint64_t *a = (const uint64_t *)c->req->data.args;
	struct place p;
	struct statx x;
	struct sys_owner o;
	int flags = (int)a[2];
	c->go_on = true;
	if (place_find(c, (int)a[0], a[1], flags & AT_EMPTY_PATH, &p) < 0)
		return;
	int mine = flags & ~AT_EMPTY_PATH;
	if (p.follow)
		mine &= ~AT_SYMLINK_NOFOLLOW;
	bool known = place_owner(c, &p, !(flags & AT_SYMLINK_NOFOLLOW), &o) > 0 &&
	             statx(AT_FDCWD, p.name, mine, (unsigned)a[3], &x) == 0;
	place_leave(c, &p);
	if (!known)
		return;
	x.stx_uid = o.uid;
	x.stx_gid = o.gid;
	c->value = call_write(c, a[4], &x, sizeof(x));
	c->go_on = false;
}

static void do_fstat(struct call *c)
{
	/* fstatat(fd, "", AT_EMPTY_PATH) by another name */
	do_stat(c, (int)c->req->data.args[0], 0, c->req->data.args[1], AT_EMPTY_PATH);
}

/* --- the record itself is not the step's business -------------------------------------------- */

/* guard_name - what a call says about the attribute that is ours; any other is the kernel's. A step
 * that changes the name meanwhile in another thread gets at the record, as it can change the owner
 * of all its files anyway. */
static void guard_name(struct call *c, uint64_t addr, int answer)
{
	char name[PATH_MAX];
	c->go_on = true;
	if (call_path(c, addr, name) < 0 || !str_eq(name, SYS_OWNER_XATTR))
		return;
	c->go_on = false;
	c->value = answer;
}

static bool answer_attributes(struct call *c)
{
	const uint64_t *a = (const uint64_t *)c->req->data.args;
	switch (c->req->data.nr) {
	case SYS_setxattr:
	case SYS_lsetxattr:
	case SYS_fsetxattr:
		guard_name(c, a[1], -EPERM);
		return true;
	case SYS_getxattr:
	case SYS_lgetxattr:
	case SYS_fgetxattr:
	case SYS_removexattr:
	case SYS_lremovexattr:
	case SYS_fremovexattr:
		guard_name(c, a[1], -ENODATA);
		return true;
	case SYS_setxattrat:
		guard_name(c, a[3], -EPERM);
		return true;
	case SYS_getxattrat:
	case SYS_removexattrat:
		guard_name(c, a[3], -ENODATA);
		return true;
	}
	return false;
}

static void give_list(struct call *c, uint64_t out, uint64_t size, char *list, size_t n)
{
	size_t kept = 0;
	for (size_t i = 0; i < n;) {
		size_t len = strnlen(list + i, n - i) + 1;
		if (!str_eq(list + i, SYS_OWNER_XATTR)) {
			memmove(list + kept, list + i, len);
			kept += len;
		}
		i += len;
	}
	c->go_on = kept == n;
	c->value = (int64_t)kept;
	if (c->go_on || !size)
		return;
	int r = size < kept ? -ERANGE : kept ? call_write(c, out, list, kept) : 0;
	if (r < 0)
		c->value = r;
}

static void do_list(struct call *c, int dirfd, uint64_t addr, bool empty, bool follow, uint64_t out,
        uint64_t size)
{
	static char list[XATTR_LIST_MAX + 1];
	struct place p;
	c->go_on = true;
	if (place_find(c, dirfd, addr, empty, &p) < 0)
		return;
	ssize_t n;
	if (follow || p.follow)
		n = listxattr(p.name, list, XATTR_LIST_MAX); /* trusted-path: see above */
	else
		n = llistxattr(p.name, list, XATTR_LIST_MAX); /* trusted-path: see above */
	place_leave(c, &p);
	if (n <= 0)
		return;
	list[n] = '\0';
	give_list(c, out, size, list, (size_t)n);
}

static bool answer_lists(struct call *c)
{
	const uint64_t *a = (const uint64_t *)c->req->data.args;
	switch (c->req->data.nr) {
	case SYS_listxattr:
		do_list(c, AT_FDCWD, a[0], false, true, a[1], a[2]);
		return true;
	case SYS_llistxattr:
		do_list(c, AT_FDCWD, a[0], false, false, a[1], a[2]);
		return true;
	case SYS_flistxattr:
		do_list(c, (int)a[0], 0, true, true, a[1], a[2]);
		return true;
	case SYS_listxattrat:
		do_list(c, (int)a[0], a[1], a[2] & AT_EMPTY_PATH, !(a[2] & AT_SYMLINK_NOFOLLOW),
		        a[3], a[4]);
		return true;
	}
	return false;
}

bool answer_files(struct call *c)
{
	const uint64_t *a = (const uint64_t *)c->req->data.args;
	switch (c->req->data.nr) {
#ifdef SYS_chown
	case SYS_chown:
		do_chown(c, AT_FDCWD, a[0], (uint32_t)a[1], (uint32_t)a[2], 0);
		return true;
	case SYS_lchown:
		do_chown(c, AT_FDCWD, a[0], (uint32_t)a[1], (uint32_t)a[2], AT_SYMLINK_NOFOLLOW);
		return true;
#endif
	case SYS_fchownat:
		do_chown(c, (int)a[0], a[1], (uint32_t)a[2], (uint32_t)a[3], (int)a[4]);
		return true;
	case SYS_fchown:
		do_fchown(c, (int)a[0], (uint32_t)a[1], (uint32_t)a[2]);
		return true;
#ifdef SYS_stat
	case SYS_stat:
		do_stat(c, AT_FDCWD, a[0], a[1], 0);
		return true;
	case SYS_lstat:
		do_stat(c, AT_FDCWD, a[0], a[1], AT_SYMLINK_NOFOLLOW);
		return true;
#endif
	case SYS_newfstatat:
		do_stat(c, (int)a[0], a[1], a[2], (int)a[3]);
		return true;
	case SYS_fstat:
		do_fstat(c);
		return true;
	case SYS_statx:
		do_statx(c);
		return true;
#ifdef SYS_rename
	case SYS_rename:
	case SYS_link:
		do_move(c, AT_FDCWD, a[0]);
		return true;
#endif
#ifdef SYS_renameat
	case SYS_renameat:
#endif
	case SYS_renameat2:
	case SYS_linkat:
		do_move(c, (int)a[0], a[1]);
		return true;
	case SYS_chroot:
		c->s->chrooted = true;
		c->go_on = true;
		return true;
	}
	return answer_lists(c) || answer_attributes(c) || answer_creation(c);
}
