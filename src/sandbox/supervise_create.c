/* sandbox/supervise_create.c - new files of users other than root. The supervisor makes them, so
 * that they have their owner from the start; what exists already is the kernel's business.
 *
 * What root makes belongs to root without a record. (In a set-group-id directory of another group
 * the scan of the layer gives it that group.) Path calls: see supervise_files.c. */
#include "sandbox/supervise.h"
#include "sys/path.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* umask_of - of the caller; 022 where it cannot be read. */
static uint32_t umask_of(const struct call *c)
{
	char name[32], buf[512];
	snprintf(name, sizeof(name), "%u/status", c->req->pid);
	_cleanup_close_ int fd = openat(c->s->proc, name, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);
	if (n <= 0)
		return 022;
	buf[n] = '\0';
	const char *p = strstr(buf, "\nUmask:");
	return p ? (uint32_t)strtoul(p + 7, NULL, 8) & 0777 : 022;
}

/* group_for - of a new file: its directory's where that is set-group-id. in: p is the directory
 * itself (O_TMPFILE). */
static uint32_t group_for(struct call *c, const struct place *p, bool in)
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
	if (fstatat(AT_FDCWD, dir.name, &st, 0) == 0 && (st.st_mode & S_ISGID)) {
		(void)!place_owner(c, &dir, true, &o);
		return o.gid;
	}
	return caller(c)->gid.fs;
}

static int64_t record_new(struct call *c, const struct place *p, int fd, bool in)
{
	struct sys_owner o = {caller(c)->uid.fs, group_for(c, p, in)};
	return owner_record(c->s, fd, o);
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
	bool tmp = (flags & O_TMPFILE) == O_TMPFILE;
	c->go_on = true;
	/* O_PATH makes nothing, and takes what exists in spite of O_EXCL. */
	if ((flags & O_PATH) || place_find(c, dirfd, addr, false, &p) < 0)
		return;
	/* A name that ends in '/' or exists is the kernel's to judge. */
	int mine = (flags & ~(O_TRUNC | O_CLOEXEC)) | O_CLOEXEC | O_NOCTTY | (tmp ? 0 : O_EXCL);
	/* trusted-path: a new file inside the step's root */
	_cleanup_close_ int fd = open(p.name, mine | O_CLOEXEC, mode & 07777 & ~umask_of(c));
	if (fd >= 0) {
		c->go_on = false;
		c->value = record_new(c, &p, fd, tmp);
	}
	place_leave(c, &p);
	if (fd >= 0 && c->value >= 0)
		hand_over(c, fd, flags & O_CLOEXEC);
}

static void do_openat2(struct call *c)
{
	struct open_how how;
	const uint64_t *a = (const uint64_t *)c->req->data.args;
	c->go_on = true;
	if (a[3] != sizeof(how) || call_read(c, a[2], &how, sizeof(how)) != sizeof(how))
		return;
	/* With rules for the path the kernel alone can tell; its owner is then the step's root. */
	if ((how.flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY))) && !how.resolve)
		do_open(c, (int)a[0], a[1], (int)how.flags, (uint32_t)how.mode);
}

/* --- the others ------------------------------------------------------------------------------ */

/* made - the new thing gets its owner. */
static void made(struct call *c, const struct place *p, int r)
{
	c->go_on = false;
	if (r < 0) {
		c->value = -errno;
		return;
	}
	/* trusted-path: just made */
	_cleanup_close_ int fd = open(p->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	c->value = fd < 0 ? 0 : record_new(c, p, fd, false);
}

static void do_mkdir(struct call *c, int dirfd, uint64_t addr, uint32_t mode)
{
	struct place p;
	c->go_on = true;
	if (place_find(c, dirfd, addr, false, &p) < 0)
		return;
	made(c, &p, mkdirat(AT_FDCWD, p.name, mode & 07777 & ~umask_of(c)));
	place_leave(c, &p);
}

static void do_symlink(struct call *c, uint64_t target, int dirfd, uint64_t addr)
{
	struct place p;
	char text[PATH_MAX];
	c->go_on = true;
	if (call_path(c, target, text) < 0 || place_find(c, dirfd, addr, false, &p) < 0)
		return;
	made(c, &p, symlinkat(text, AT_FDCWD, p.name));
	place_leave(c, &p);
}

static void do_mknod(struct call *c, int dirfd, uint64_t addr, uint32_t mode, uint64_t dev)
{
	struct place p;
	c->go_on = true;
	if (S_ISCHR(mode) || S_ISBLK(mode) || place_find(c, dirfd, addr, false, &p) < 0)
		return;
	mode_t m = (mode & S_IFMT) | (mode & 07777 & ~umask_of(c));
	made(c, &p, mknodat(AT_FDCWD, p.name, m, (dev_t)dev));
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
		return true;
	}
	return false;
}

bool answer_creation(struct call *c)
{
	const uint64_t *a = (const uint64_t *)c->req->data.args;
	if (!is_creation(c->req->data.nr))
		return false;
	if (caller(c)->uid.fs == 0 && caller(c)->gid.fs == 0) {
		c->go_on = true;
		return true;
	}
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
	}
	return true;
}
