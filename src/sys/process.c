/* sys/process.c - starts children with clone(CLONE_VM|CLONE_VFORK|CLONE_PIDFD); see process.h.
 *
 * The child shares our memory until it execs: it makes system calls only, touches nothing but its
 * own stack and the plan prepared for it, and all signals are blocked meanwhile, so that none of
 * our handlers runs in it. */
#include "sys/process.h"
#include "sys/path.h"

#include "base/strbuf.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#define CHILD_STACK (64 * 1024)
/* ThreadSanitizer takes every clone for a fork, and makes of a child in our memory a parent whose
 * locks it no longer sees. */
#ifdef __SANITIZE_THREAD__
#define SPAWN_CLONE CLONE_VFORK
#define SPAWN_MAP MAP_SHARED
#else
#define SPAWN_CLONE (CLONE_VM | CLONE_VFORK)
#define SPAWN_MAP MAP_PRIVATE
#endif

struct plan {
	const struct sys_spawn *s;
	char *const *env;
	pid_t parent;
	int *error;  /* written by the child; shared with it */
	int *copies; /* n_keep + 3 slots: descriptors moved out of the way */
};

/* place_fds - first every source moves above the targets, then down to its place: no order of
 * overlaps can hurt. */
static int place_fds(struct plan *p)
{
	const struct sys_spawn *s = p->s;
	int n = (int)s->n_keep + 3;
	for (int i = 0; i < n; i++) {
		int fd = i == 0   ? s->stdin_fd
		         : i == 1 ? s->stdout_fd
		         : i == 2 ? s->stderr_fd
		                  : s->keep_fds[i - 3];
		if (fd < 0 && i >= 3)
			return -EBADF;
		int src = fd >= 0 ? fd : open("/dev/null", (i ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
		if (src < 0)
			return -errno;
		p->copies[i] = fcntl(src, F_DUPFD_CLOEXEC, n);
		if (p->copies[i] < 0)
			return -errno;
	}
	for (int i = 0; i < n; i++)
		if (dup2(p->copies[i], i) < 0)
			return -errno;
	if (syscall(SYS_close_range, n, ~0U, 0) < 0)
		return -errno;
	return 0;
}

static int child_setup(struct plan *p)
{
	const struct sys_spawn *s = p->s;
	if (s->death_signal) {
		if (prctl(PR_SET_PDEATHSIG, s->death_signal) < 0)
			return -errno;
		/* In a new pid namespace the parent is invisible (0). */
		if (getppid() != p->parent && !(s->namespaces & CLONE_NEWPID))
			return -ESRCH; /* it died before the prctl */
	}
	if (s->new_session && setsid() < 0)
		return -errno;
	if (s->cwd_fd >= 0 && fchdir(s->cwd_fd) < 0)
		return -errno;
	int r = place_fds(p);
	if (r < 0)
		return r;
	/* exec keeps ignored signals ignored: a child must not inherit our SIGPIPE. By number,
	 * because libc does not let its own two signals be touched, which our parent may have
	 * ignored. */
	static const unsigned long dfl[8]; /* the kernel's struct sigaction: SIG_DFL, no flags */
	for (long i = 1; i <= 64; i++)
		(void)!syscall(SYS_rt_sigaction, i, dfl, NULL, 8L);
	static const sigset_t none; /* static: all zero, and nothing on the stack we share */
	sigprocmask(SIG_SETMASK, &none, NULL);
	return 0;
}

static int child_main(void *arg)
{
	struct plan *p = arg;
	int r = child_setup(p);
	if (r >= 0) {
		execve(p->s->path, (char *const *)p->s->argv, p->env);
		r = -errno;
	}
	*p->error = r;
	return 127; /* clone() turns it into the exit status */
}

int sys_spawn(const struct sys_spawn *s, pid_t *ret_pid, int *ret_pidfd)
{
	static char path_env[] =
	        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	static char *const minimal_env[] = {path_env, NULL};
	if (s->n_keep > 4096)
		return -EINVAL;
	_cleanup_free_ int *copies = new0(int, s->n_keep + 3);
	/* A page of its own rather than our stack: the vfork child must not scribble over frames.
	 */
	char *stack = mmap(NULL, CHILD_STACK, PROT_READ | PROT_WRITE,
	        SPAWN_MAP | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (stack == MAP_FAILED)
		return -errno;
	int *error = (int *)(void *)stack; /* its far end */
	struct plan p = {s, s->env ? (char *const *)s->env : minimal_env, getpid(), error, copies};
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int pidfd = -1;
	int pid = clone(child_main, stack + CHILD_STACK,
	        SPAWN_CLONE | CLONE_PIDFD | SIGCHLD | s->namespaces, &p, &pidfd);
	int r = pid < 0 ? -errno : *error;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	munmap(stack, CHILD_STACK);
	if (pid >= 0 && r < 0) {
		int status;
		int w = sys_wait_pidfd(pidfd, &status);
		(void)w;
		close(pidfd);
	}
	if (r < 0)
		return r;
	if (ret_pid)
		*ret_pid = pid;
	*ret_pidfd = pidfd;
	return 0;
}

int sys_wait_pidfd(int pidfd, int *ret_status)
{
	siginfo_t si;
	do {
		si = (siginfo_t){0};
		if (waitid((idtype_t)3 /* P_PIDFD */, (id_t)pidfd, &si, WEXITED) == 0)
			break;
		if (errno != EINTR)
			return -errno;
	} while (true);
	if (si.si_code == CLD_EXITED)
		*ret_status = (si.si_status & 0xff) << 8;
	else
		*ret_status = si.si_status | (si.si_code == CLD_DUMPED ? 0x80 : 0);
	return 0;
}

static int64_t now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* pump - reads once; false at end of file. Beyond max the bytes are dropped and *over is set. */
static bool pump(int fd, struct strbuf *sb, size_t max, bool *over)
{
	char buf[16384];
	ssize_t n = read(fd, buf, sizeof(buf));
	if (n < 0)
		return errno == EINTR || errno == EAGAIN;
	size_t room = max - MIN(max, sb->len);
	strbuf_add(sb, buf, MIN((size_t)n, room));
	if ((size_t)n > room)
		*over = true;
	return n > 0;
}

struct capture {
	struct strbuf out, err;
	bool out_over, err_over, timed_out;
};

static void collect(int out_fd, int err_fd, size_t max_out, int timeout_ms, struct capture *c)
{
	int64_t end = now_ms() + timeout_ms;
	struct pollfd p[2] = {{out_fd, POLLIN, 0}, {err_fd, POLLIN, 0}};
	while (p[0].fd >= 0 || p[1].fd >= 0) {
		int64_t left = timeout_ms > 0 ? end - now_ms() : -1;
		if (timeout_ms > 0 && left <= 0) {
			c->timed_out = true;
			return;
		}
		if (poll(p, 2, (int)left) <= 0)
			continue;
		if (p[0].revents && !pump(out_fd, &c->out, max_out, &c->out_over))
			p[0].fd = -1;
		if (p[1].revents && !pump(err_fd, &c->err, 16384, &c->err_over))
			p[1].fd = -1;
		if (c->out_over)
			return;
	}
}

static const char *base_name(const char *path)
{
	const char *s = strrchr(path, '/');
	return s ? s + 1 : path;
}

static int judge(const char *name, int status, struct capture *c, size_t max_out, struct error *err)
{
	while (c->err.len && strchr("\n\r ", c->err.buf[c->err.len - 1]))
		strbuf_truncate(&c->err, c->err.len - 1);
	if (c->timed_out)
		return err_set(err, ERR_SYSTEM, "%s did not finish in time and was killed", name);
	if (c->out_over)
		return err_set(err, ERR_SYSTEM, "%s wrote more than %zu bytes", name, max_out);
	if (WIFSIGNALED(status))
		return err_set(
		        err, ERR_SYSTEM, "%s was killed by signal %d", name, WTERMSIG(status));
	if (WEXITSTATUS(status))
		return err_set(err, ERR_SYSTEM, "%s failed with exit code %d%s%s", name,
		        WEXITSTATUS(status), c->err.len ? ": " : "", c->err.buf);
	return 0;
}

int sys_run_program(const struct sys_spawn *s, size_t max_out, int timeout_ms, char **ret_stdout,
        size_t *ret_n, struct error *err)
{
	int out[2], er[2];
	if (pipe2(out, O_CLOEXEC) < 0)
		return err_sys(err, errno, "pipe");
	_cleanup_close_ int out_r = out[0], out_w = out[1];
	if (pipe2(er, O_CLOEXEC) < 0)
		return err_sys(err, errno, "pipe");
	_cleanup_close_ int err_r = er[0], err_w = er[1];
	struct sys_spawn t = *s;
	t.stdout_fd = out_w;
	t.stderr_fd = err_w;
	_cleanup_close_ int pidfd = -1;
	int r = sys_spawn(&t, NULL, &pidfd);
	if (r < 0)
		return err_sys(err, r, "cannot run %s", s->path);
	close_ptr(&out_w);
	close_ptr(&err_w);
	struct capture c = {.out = STRBUF_INIT, .err = STRBUF_INIT};
	collect(out_r, err_r, max_out, timeout_ms, &c);
	if (c.timed_out || c.out_over)
		syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
	int status = 0;
	r = sys_wait_pidfd(pidfd, &status);
	r = r < 0 ? err_sys(err, r, "wait for %s", s->path)
	          : judge(s->name ? s->name : base_name(s->path), status, &c, max_out, err);
	if (r >= 0 && ret_n)
		*ret_n = c.out.len;
	if (r >= 0 && ret_stdout)
		*ret_stdout = strbuf_detach(&c.out);
	strbuf_release(&c.out);
	strbuf_release(&c.err);
	return r;
}
