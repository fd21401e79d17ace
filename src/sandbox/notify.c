/* sandbox/notify.c - see notify.h. */
#include "sandbox/notify.h"
#include "sandbox/seccomp.h"
#include "sandbox/wire.h"
#include "sys/path.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif
#ifndef SYS_listxattrat
#define SYS_setxattrat 463
#define SYS_getxattrat 464
#define SYS_listxattrat 465
#define SYS_removexattrat 466
#endif
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

/* Calls that always ask. */
static const uint16_t asked[] = {
        SYS_fchown,
        SYS_fchownat,
        SYS_fstat,
        SYS_newfstatat,
        SYS_statx,
        SYS_openat2,
        SYS_mkdirat,
        SYS_symlinkat,
        SYS_mknodat,
        SYS_renameat2,
        SYS_linkat,
        SYS_listxattr,
        SYS_llistxattr,
        SYS_flistxattr,
        SYS_listxattrat,
        SYS_setxattr,
        SYS_lsetxattr,
        SYS_fsetxattr,
        SYS_setxattrat,
        SYS_getxattr,
        SYS_lgetxattr,
        SYS_fgetxattr,
        SYS_getxattrat,
        SYS_removexattr,
        SYS_lremovexattr,
        SYS_fremovexattr,
        SYS_removexattrat,
        SYS_bind,
        SYS_execve,
        SYS_execveat,
        SYS_chroot,
        SYS_getuid,
        SYS_geteuid,
        SYS_getgid,
        SYS_getegid,
        SYS_getresuid,
        SYS_getresgid,
        SYS_getgroups,
        SYS_setuid,
        SYS_setgid,
        SYS_setreuid,
        SYS_setregid,
        SYS_setresuid,
        SYS_setresgid,
        SYS_setfsuid,
        SYS_setfsgid,
        SYS_setgroups,
#ifdef SYS_chown
        SYS_chown,
        SYS_lchown,
#endif
#ifdef SYS_stat
        SYS_stat,
        SYS_lstat,
#endif
#ifdef SYS_creat
        SYS_creat,
#endif
#ifdef SYS_renameat
        SYS_renameat,
#endif
#ifdef SYS_mkdir
        SYS_rename,
        SYS_link,
        SYS_mkdir,
        SYS_symlink,
        SYS_mknod,
#endif
};

#define MAX_INSNS 256
struct program {
	struct sock_filter v[MAX_INSNS];
	unsigned short n;
};

static void emit(struct program *p, uint16_t code, uint8_t jt, uint8_t jf, uint32_t k)
{
	if (p->n >= MAX_INSNS)
		abort(); /* the table is ours */
	p->v[p->n++] = (struct sock_filter){code, jt, jf, k};
}

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ARG_LOW(i) (offsetof(struct seccomp_data, args) + (i)*8)
#else
#define ARG_LOW(i) (offsetof(struct seccomp_data, args) + (i)*8 + 4)
#endif

/* ask_if_creating - an open asks only where it may make a file. */
static void ask_if_creating(struct program *p, uint32_t nr, unsigned flags_arg)
{
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 4, nr);
	emit(p, BPF_LD | BPF_W | BPF_ABS, 0, 0, ARG_LOW(flags_arg));
	/* O_TMPFILE without the O_DIRECTORY in it */
	emit(p, BPF_JMP | BPF_JSET | BPF_K, 0, 1, O_CREAT | (O_TMPFILE & ~O_DIRECTORY));
	emit(p, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_USER_NOTIF);
	emit(p, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW);
}

/* keep_limit - the limit that holds the identity does not change; the call succeeds. */
static void keep_limit(struct program *p, uint32_t nr, unsigned which_arg, bool has_new)
{
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, 0, has_new ? 6 : 4, nr);
	emit(p, BPF_LD | BPF_W | BPF_ABS, 0, 0, ARG_LOW(which_arg));
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, 0, has_new ? 3 : 1, NOTIFY_IDENTITY_RLIMIT);
	if (has_new) {
		/* NULL only reads. (A pointer whose low half is 0 is as good as impossible, and
		 * would only let a step confuse itself.) */
		emit(p, BPF_LD | BPF_W | BPF_ABS, 0, 0, ARG_LOW(which_arg + 1));
		emit(p, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 0);
	}
	emit(p, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | 0);
	emit(p, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW);
}

static void build(struct program *p)
{
	p->n = 0;
	/* The numbers below are the native ones. 32-bit programs get along without us. */
	emit(p, BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, arch));
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, SECCOMP_NATIVE_ARCH);
	emit(p, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW);
	emit(p, BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr));
	ask_if_creating(p, SYS_openat, 2);
#ifdef SYS_open
	ask_if_creating(p, SYS_open, 1);
#endif
	keep_limit(p, SYS_prlimit64, 1, true);
#ifdef SYS_setrlimit
	keep_limit(p, SYS_setrlimit, 0, false);
#endif
	for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
		emit(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, asked[i]);
		emit(p, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_USER_NOTIF);
	}
	emit(p, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW);
}

/* listener - a signal must not interrupt a call that the supervisor has begun to carry out: the
 * second try would find its own file. Kernels before 5.19 lack that. */
static int listener(void)
{
	struct program p;
	build(&p);
	struct sock_fprog prog = {p.n, p.v};
	unsigned flags = SECCOMP_FILTER_FLAG_NEW_LISTENER;
	long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
	        flags | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &prog);
	if (fd < 0 && errno == EINVAL)
		fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
	return fd < 0 ? -errno : (int)fd;
}

int notify_send_hello(int sock, int upper_fd, int owners_fd, bool shared)
{
	/* trusted-path: the step's own /proc, just mounted */
	_cleanup_close_ int ns = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	if (ns < 0)
		return -errno;
	struct notify_hello h = {upper_fd >= 0, owners_fd >= 0, shared};
	int fds[NOTIFY_HELLO_FDS] = {ns};
	size_t n = 1;
	if (h.has_upper)
		fds[n++] = upper_fd;
	if (h.has_owners)
		fds[n++] = owners_fd;
	return wire_send(sock, &h, sizeof(h), fds, n);
}

int notify_begin(int sock, const struct sandbox_user *u)
{
	struct rlimit locks = {0, 0};
	char ok = 0;
	if (getrlimit(NOTIFY_IDENTITY_RLIMIT, &locks) < 0)
		return -errno;
	locks.rlim_cur = 0; /* identity 0: the step's user */
	if (setrlimit(NOTIFY_IDENTITY_RLIMIT, &locks) < 0)
		return -errno;
	struct notify_user who = {.uid = u->uid, .gid = u->gid};
	who.n_groups = (uint32_t)MIN(u->n_groups, ARRAY_SIZE(who.groups));
	for (uint32_t i = 0; i < who.n_groups; i++)
		who.groups[i] = u->groups[i];
	int fd = listener();
	if (fd < 0)
		return fd;
	int r = wire_send(sock, &who, sizeof(who), &fd, 1);
	close(fd);
	if (r >= 0)
		r = wire_recv(sock, &ok, 1, NULL, 0);
	close(sock);
	return r < 0 ? r : r == 0 || !ok ? -EPIPE : 0;
}
