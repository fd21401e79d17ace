/* sandbox/supervise.c - the supervisor's loop; see notify.h and supervise.h.
 *
 * What a step says here is hostile text. Nothing it can say makes the supervisor do more than the
 * step could do itself: same user, same mount namespace, same root; it opens nothing for reading,
 * and what it makes is a new file, directory or link by a name that was free. */
#include "sandbox/supervise.h"
#include "sandbox/notify.h"
#include "sandbox/wire.h"
#include "sys/mount.h"
#include "sys/path.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#define IDENTITIES_MAX 65536

/* Linux 6.6: caller and supervisor take turns on one CPU, at half the cost. */
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS _IOW('!', 4, uint64_t)
#endif
#define SYNC_WAKE_UP 1UL

bool call_alive(const struct call *c)
{
	return ioctl(c->s->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &c->req->id) == 0;
}

ssize_t call_read(const struct call *c, uint64_t addr, void *p, size_t n)
{
	struct iovec to = {p, n}, from = {(void *)(uintptr_t)addr, n};
	ssize_t r = process_vm_readv((pid_t)c->req->pid, &to, 1, &from, 1, 0);
	return r < 0 ? -errno : r;
}

int call_write(const struct call *c, uint64_t addr, const void *p, size_t n)
{
	struct iovec from = {(void *)p, n}, to = {(void *)(uintptr_t)addr, n};
	/* The pid may be another's by now. */
	if (!call_alive(c))
		return -ESRCH;
	ssize_t r = process_vm_writev((pid_t)c->req->pid, &from, 1, &to, 1, 0);
	return r < 0 ? -errno : (size_t)r < n ? -EFAULT : 0;
}

int call_path(const struct call *c, uint64_t addr, char path[PATH_MAX])
{
	size_t n = 0;
	while (n < PATH_MAX) {
		/* To the end of the page: the next one may not be there. */
		size_t want = MIN(4096 - ((addr + n) & 4095), (uint64_t)(PATH_MAX - n));
		/* Most paths are short. */
		if (n == 0)
			want = MIN(want, (size_t)256);
		ssize_t r = call_read(c, addr + n, path + n, want);
		if (r <= 0)
			return r < 0 ? (int)r : -EFAULT;
		const char *end = memchr(path + n, '\0', (size_t)r);
		if (end)
			return (int)(end - path);
		n += (size_t)r;
	}
	return -ENAMETOOLONG;
}

static uint32_t intern(struct supervisor *s, const struct identity *i)
{
	for (size_t k = 0; k < s->n_identities; k++)
		if (identity_equal(&s->identities[k], i))
			return (uint32_t)k;
	if (s->n_identities >= IDENTITIES_MAX)
		return UINT32_MAX;
	vec_grow(&s->identities, &s->cap_identities, s->n_identities + 1);
	s->identities[s->n_identities] = *i;
	return (uint32_t)s->n_identities++;
}

void call_become(struct call *c, const struct identity *i)
{
	struct rlimit l;
	uint32_t k = intern(c->s, i);
	if (k == c->identity)
		return;
	pid_t pid = (pid_t)c->req->pid;
	if (k == UINT32_MAX) {
		c->value = -EAGAIN;
	} else if (prlimit(pid, NOTIFY_IDENTITY_RLIMIT, NULL, &l) == 0 && call_alive(c)) {
		l.rlim_cur = k;
		if (prlimit(pid, NOTIFY_IDENTITY_RLIMIT, &l, NULL) < 0)
			c->value = -EPERM;
	}
}

static uint32_t identity_of(const struct supervisor *s, pid_t pid)
{
	struct rlimit l;
	if (prlimit(pid, NOTIFY_IDENTITY_RLIMIT, NULL, &l) < 0 || l.rlim_cur >= s->n_identities)
		return 0;
	return (uint32_t)l.rlim_cur;
}

static void answer(struct supervisor *s, const struct seccomp_notif *req)
{
	struct call c = {.s = s, .req = req, .identity = identity_of(s, (pid_t)req->pid)};
	if (!answer_ids(&c) && !answer_files(&c))
		c.go_on = true;
	if (c.sent)
		return;
	struct seccomp_notif_resp resp = {.id = req->id};
	if (c.go_on)
		resp.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	else if (c.value < 0)
		resp.error = (int32_t)c.value;
	else
		resp.val = c.value;
	/* ENOENT: killed meanwhile. */
	(void)ioctl(s->listener, SECCOMP_IOCTL_NOTIF_SEND, &resp);
}

/* enter - into the step's mount namespace, whose root is the step's. */
static int enter(struct supervisor *s, int ns, bool shared_proc)
{
	struct stat st;
	/* Of our pid namespace; before we leave our mount namespace. */
	s->proc = shared_proc ? sys_open_dir(AT_FDCWD, "/proc") : sys_proc_mount();
	if (s->proc < 0)
		return s->proc;
	if (setns(ns, CLONE_NEWNS) < 0)
		return -errno;
	/* trusted-path: the root that setns just gave us */
	s->root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (s->root < 0 || fstat(s->root, &st) < 0 || fchdir(s->proc) < 0)
		return -errno;
	s->root_dev = st.st_dev;
	umask(0);
	return 0;
}

static void first_identity(struct supervisor *s, const struct notify_user *u)
{
	struct identity i = {
	        .uid = {u->uid, u->uid, u->uid, u->uid}, .gid = {u->gid, u->gid, u->gid, u->gid}};
	i.n_groups = (uint32_t)MIN(u->n_groups, (uint32_t)IDENTITY_GROUPS_MAX);
	memcpy(i.groups, u->groups, i.n_groups * sizeof(*i.groups));
	(void)intern(s, &i);
}

noreturn_ void supervise_main(int sock, bool shared_proc)
{
	struct supervisor s = {.listener = -1, .proc = -1, .root = -1, .upper = -1, .owners = -1};
	struct notify_hello hello;
	struct notify_user user = {0};
	int fds[NOTIFY_HELLO_FDS];
	prctl(PR_SET_NAME, "strake-owners", 0, 0, 0);
	if (wire_recv(sock, &hello, sizeof(hello), fds, NOTIFY_HELLO_FDS) <= 0)
		_exit(0); /* the step failed before; it has said why */
	if (hello.has_upper)
		s.upper = fds[1];
	if (hello.has_owners)
		s.owners = fds[hello.has_upper ? 2 : 1];
	int r = fds[0] < 0 ? -EBADF : enter(&s, fds[0], shared_proc);
	close_ptr(&fds[0]);
	if (r >= 0 && s.owners >= 0)
		r = owner_log_follow(s.owners, OWNER_MERGED, &s.log_at, &s.table);
	s.shared = hello.shared && s.owners >= 0;
	if (r < 0 || wire_recv(sock, &user, sizeof(user), &s.listener, 1) <= 0 || s.listener < 0)
		_exit(1);
	first_identity(&s, &user);
	(void)ioctl(s.listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SYNC_WAKE_UP);
	if (wire_send(sock, "y", 1, NULL, 0) < 0)
		_exit(1);
	close(sock);
	static union {
		struct seccomp_notif n;
		char room[512]; /* of a kernel that knows more */
	} req;
	for (;;) {
		memset(&req, 0, sizeof(req));
		if (ioctl(s.listener, SECCOMP_IOCTL_NOTIF_RECV, &req) == 0)
			answer(&s, &req.n);
		else if (errno != EINTR && errno != ENOENT)
			_exit(1);
	}
}
