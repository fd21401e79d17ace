/* sandbox/context.c - the builder's side: starts the keeper at the first step, sends it steps,
 * reads how they ended. Thread-safe: the keeper's socket keeps message boundaries, each step has a
 * socket of its own. */
#include "sandbox/cgroup.h"
#include "sandbox/reaper.h"
#include "sandbox/sandbox.h"
#include "sandbox/wire.h"
#include "sys/mount.h"
#include "sys/path.h"
#include "sys/privilege.h"
#include "sys/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

struct sandbox_context {
	pthread_mutex_t lock;
	int staging_fd;
	int sock; /* to the keeper; -1: not started */
	int pidfd;
	int retired; /* pidfd of a keeper that was told to end; -1: none */
	int retired_sock;
	uint32_t next_id;
	struct strv ports; /* published, as the keeper's arguments */
};

struct sandbox_context *sandbox_context_new(int staging_fd)
{
	struct sandbox_context *c = new0(struct sandbox_context, 1);
	pthread_mutex_init(&c->lock, NULL);
	c->staging_fd = fcntl(staging_fd, F_DUPFD_CLOEXEC, 3);
	c->sock = c->pidfd = c->retired = c->retired_sock = -1;
	c->next_id = 1;
	return c;
}

void sandbox_context_publish(struct sandbox_context *c, const struct strv *ports)
{
	strv_copy(&c->ports, ports);
}

static bool left_to_others(void)
{
	_cleanup_close_ int proc = sys_open_dir(AT_FDCWD, "/proc");
	return proc >= 0 && orphans_are_reaped(proc, SANDBOX_HELPER_ARGV0);
}

/* await_keeper - it ends by itself, once it has cleared away the last step's scratch; but one that
 * was stopped would never know. Its network program takes some 15 ms to die, killed as it is (the
 * kernel takes a network device apart): that is waited for only where it holds ports that the next
 * one may want, or where nobody else would. */
static void await_keeper(struct sandbox_context *c)
{
	if (c->retired < 0)
		return;
	int status;
	struct pollfd p = {c->retired_sock, POLLIN, 0};
	if (poll(&p, 1, 500) <= 0 || c->ports.n || !left_to_others()) {
		p = (struct pollfd){c->retired, POLLIN, 0};
		(void)!poll(&p, 1, 500);
		syscall(SYS_pidfd_send_signal, c->retired, SIGKILL, NULL, 0);
		(void)!sys_wait_pidfd(c->retired, &status);
	}
	close_ptr(&c->retired);
	close_ptr(&c->retired_sock);
}

void sandbox_context_retire(struct sandbox_context *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	if (c->sock >= 0) {
		await_keeper(c);
		(void)shutdown(c->sock, SHUT_WR);
		c->retired = take_fd(&c->pidfd);
		c->retired_sock = take_fd(&c->sock);
	}
	pthread_mutex_unlock(&c->lock);
}

void sandbox_context_free(struct sandbox_context *c)
{
	if (!c)
		return;
	sandbox_context_retire(c);
	await_keeper(c);
	close_ptr(&c->staging_fd);
	strv_release(&c->ports);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

/* sealed_copy - our program in memory that nobody can write to. */
static int sealed_copy(void)
{
	_cleanup_close_ int exe = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int mem = memfd_create("strake", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct stat st;
	if (exe < 0 || mem < 0 || fstat(exe, &st) < 0)
		return -errno;
	for (off_t at = 0; at < st.st_size;) {
		ssize_t n = sendfile(mem, exe, &at, (size_t)(st.st_size - at));
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
	}
	if (fcntl(mem, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		return -errno;
	return take_fd(&mem);
}

/* own_program - our program through a read-only mount that is attached nowhere: a step that gets
 * hold of /proc/self/exe ("#!/proc/self/exe" as /bin/sh) can open it, never write to it. */
static int own_program(void)
{
	char path[4096];
	struct stat exe, st;
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	if (n < 0 || stat("/proc/self/exe", &exe) < 0)
		return -errno;
	path[n] = '\0';
	/* trusted-path: our own program, verified below */
	_cleanup_close_ int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_dev != exe.st_dev || st.st_ino != exe.st_ino)
		return sealed_copy(); /* replaced on disk since we started */
	_cleanup_close_ int m = sys_bind_clone(fd, "", false);
	if (m < 0 || sys_mount_attr(m, false, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID, 0) < 0)
		return sealed_copy();
	return take_fd(&m);
}

static int proc_child(void *arg)
{
	int *ret = arg;
	*ret = sys_proc_mount();
	return 0;
}

/* proc_is_shared - no procfs of our own can be mounted: parts of /proc are covered, as in a
 * container, and a user namespace may not uncover them. Steps then see this one, which shows the
 * processes of our pid namespace, so that is the one the keeper stays in. */
static bool proc_is_shared(void)
{
	_cleanup_close_ int fd = sys_proc_mount();
	if (fd != -EPERM)
		return false;
	/* Of a pid namespace that belongs to our user namespace; shares our memory, not our
	 * descriptors. */
	char stack[16384] __attribute__((aligned(16)));
	int got = 0;
	int pid = clone(proc_child, stack + sizeof(stack),
	        CLONE_NEWPID | CLONE_VM | CLONE_VFORK | SIGCHLD, &got);
	if (pid < 0)
		return false; /* the keeper will say why */
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return got == -EPERM;
}

/* no_rights - the builder goes on without namespaces (sys/privilege.h), a step cannot. */
static int no_rights(struct error *err)
{
	struct sys_privilege_info i = {0};
	if (sys_privilege_probe(&i, err) < 0)
		return -1;
	err_set(err, ERR_SYSTEM, "RUN needs root or a user namespace: %s",
	        i.why ? i.why : "none was made");
	if (i.cure)
		(void)err_hint(err, "%s", i.cure);
	sys_privilege_info_release(&i);
	return -1;
}

static int start_keeper(struct sandbox_context *c, struct error *err)
{
	int sv[2];
	if (c->staging_fd < 0)
		return err_set(err, ERR_INTERNAL, "the sandbox has no staging directory");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return err_sys(err, errno, "cannot make a socket pair");
	_cleanup_close_ int ours = sv[0], theirs = sv[1];
	if (!sys_privilege_entered())
		return no_rights(err);
	_cleanup_close_ int exe = own_program();
	if (exe < 0)
		return err_sys(err, exe, "cannot open strake's own program");
	_cleanup_free_ const char **argv = new0(const char *, c->ports.n + 2);
	argv[0] = SANDBOX_HELPER_ARGV0;
	for (size_t i = 0; i < c->ports.n; i++)
		argv[i + 1] = c->ports.v[i];
	/* The host's PATH, to find pasta; steps never see this environment. */
	_cleanup_free_ char *path = xasprintf("PATH=%s", str_or_empty(getenv("PATH")));
	bool shared = proc_is_shared();
	const char *env[] = {path, shared ? KEEPER_SHARED_PROC "=1" : NULL, NULL};
	int keep[] = {theirs, c->staging_fd, exe}; /* become 3, 4, 5: keeper.c */
	struct sys_spawn s = {.path = "/proc/self/fd/5",
	        .argv = argv,
	        .env = env,
	        .stdin_fd = -1,
	        .stdout_fd = -1,
	        .stderr_fd = -1,
	        .keep_fds = keep,
	        .n_keep = 3,
	        .cwd_fd = -1,
	        .new_session = true,
	        .namespaces = shared ? 0 : CLONE_NEWPID};
	int r = sys_spawn(&s, NULL, &c->pidfd);
	if (r < 0)
		return err_sys(err, r, "cannot start the sandbox");
	c->sock = take_fd(&ours);
	return 0;
}

/* ready - the keeper's socket and a new step id. */
static int ready(struct sandbox_context *c, uint32_t *ret_id, struct error *err)
{
	pthread_mutex_lock(&c->lock);
	int r = c->sock >= 0 ? 0 : start_keeper(c, err);
	*ret_id = c->next_id++;
	pthread_mutex_unlock(&c->lock);
	return r;
}

static int keeper_gone(int r, struct error *err)
{
	if (r == -EPIPE || r == -ECONNRESET || r == 0)
		return err_set(err, ERR_SYSTEM, "the sandbox's keeper process was killed");
	return err_sys(err, r, "cannot talk to the sandbox");
}

int sandbox_context_warm(struct sandbox_context *c, struct error *err)
{
	uint32_t id;
	if (ready(c, &id, err) < 0)
		return -1;
	struct wire_order_msg m = {.order = WIRE_WARM};
	int r = wire_send(c->sock, &m, sizeof(m), NULL, 0);
	return r < 0 ? keeper_gone(r, err) : 0;
}

/* step_socket - a listening socket file in the step's scratch directory with the owner and mode
 * that the mount asks for, and a proxy behind it. Returns an O_PATH descriptor of the file. */
static int step_socket(struct sandbox_context *c, uint32_t id, size_t i, bool single_id,
        const struct sandbox_mount *m, struct error *err)
{
	char dir[24], name[32];
	struct stat st;
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	if (fstat(m->source_fd, &st) < 0 || !S_ISSOCK(st.st_mode))
		return err_set(
		        err, ERR_BUILD, "the source of the mount on %s is not a socket", m->target);
	snprintf(dir, sizeof(dir), "step-%u", id);
	snprintf(name, sizeof(name), "socket%zu", i);
	if (mkdirat(c->staging_fd, dir, 0700) < 0 && errno != EEXIST)
		return err_sys(err, errno, "cannot make a directory for a socket");
	_cleanup_close_ int d = sys_open_beneath(c->staging_fd, dir, O_RDONLY | O_DIRECTORY, 0);
	if (d < 0)
		return err_sys(err, d, "cannot open the directory for a socket");
	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/%s", d, name);
	_cleanup_close_ int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s < 0 || bind(s, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(s, 16) < 0)
		return err_sys(err, errno, "cannot make the socket for %s", m->target);
	/* With one id it is everybody's socket to the kernel, and nobody else's. */
	if ((!single_id && fchownat(d, name, m->uid, m->gid, AT_SYMLINK_NOFOLLOW) < 0) ||
	        fchmodat(d, name, m->mode & 0777, 0) < 0) {
		err_sys(err, errno, "cannot give the socket on %s to %u:%u", m->target, m->uid,
		        m->gid);
		return errno == EINVAL
		               ? err_hint(err, "`strake info` says how to get subordinate ids")
		               : -1;
	}
	int fds[2] = {s, m->source_fd};
	struct wire_order_msg o = {.order = WIRE_PROXY, .id = id};
	int r = wire_send(c->sock, &o, sizeof(o), fds, 2);
	if (r < 0)
		return keeper_gone(r, err);
	r = sys_open_beneath(d, name, O_PATH | O_NOFOLLOW, 0);
	return r < 0 ? err_sys(err, r, "cannot open the socket for %s", m->target) : r;
}

struct sockets {
	int *v;
	size_t n;
};

static void sockets_release(struct sockets *s)
{
	for (size_t i = 0; i < s->n; i++)
		close(s->v[i]);
	free(s->v);
}

/* with_proxies - the mounts, SOCKET ones pointing to their proxies. */
static int with_proxies(struct sandbox_context *c, uint32_t id, const struct sandbox_spec *spec,
        struct sandbox_mount *mounts, struct sockets *opened, struct error *err)
{
	opened->v = new0(int, spec->n_mounts);
	for (size_t i = 0; i < spec->n_mounts; i++) {
		mounts[i] = spec->mounts[i];
		if (mounts[i].type != SANDBOX_MOUNT_SOCKET)
			continue;
		int fd = step_socket(c, id, i, spec->single_id, &mounts[i], err);
		if (fd < 0)
			return -1;
		opened->v[opened->n++] = fd;
		mounts[i].source_fd = fd;
		mounts[i].source = NULL;
	}
	return 0;
}

static int check(const struct sandbox_spec *s, struct error *err)
{
	if (!s->argv || !s->argv->n)
		return err_set(err, ERR_BUILD, "there is no command to run");
	if (s->network > SANDBOX_NET_NONE)
		return err_set(err, ERR_INTERNAL, "unknown network mode %d", s->network);
	if (s->upper_fd >= 0 && s->work_fd < 0)
		return err_set(err, ERR_INTERNAL, "a writable root needs a work directory");
	for (size_t i = 0; i < s->n_mounts; i++)
		if (!s->mounts[i].target || !*s->mounts[i].target)
			return err_set(err, ERR_BUILD, "a mount has no target");
	return 0;
}

static struct cgroup_limits limits_of(const struct sandbox_spec *s)
{
	return (struct cgroup_limits){
	        s->memory_max, s->pids_max, s->cpus > 0 ? (uint64_t)(s->cpus * 100000 + 0.5) : 0};
}

/* may_limit - nothing for a step without limits. */
static int may_limit(struct sandbox_context *c, const struct cgroup_limits *l, struct error *err)
{
	if (!cgroup_limits_any(l))
		return 0;
	pthread_mutex_lock(&c->lock);
	int r = cgroup_prepare(l, err);
	pthread_mutex_unlock(&c->lock);
	return r;
}

int sandbox_start(struct sandbox_context *c, const struct sandbox_spec *spec,
        struct sandbox_process *ret, struct error *err)
{
	int sv[2];
	uint32_t id;
	struct cgroup_limits limits = limits_of(spec);
	if (check(spec, err) < 0 || ready(c, &id, err) < 0 || may_limit(c, &limits, err) < 0)
		return -1;
	_cleanup_free_ struct sandbox_mount *mounts = new0(struct sandbox_mount, spec->n_mounts);
	_cleanup_(sockets_release) struct sockets opened = {0};
	if (with_proxies(c, id, spec, mounts, &opened, err) < 0) {
		char dir[24];
		snprintf(dir, sizeof(dir), "step-%u", id);
		(void)!sys_remove_tree(c->staging_fd, dir); /* no step will run to clear it away */
		return -1;
	}
	struct sandbox_spec s = *spec;
	s.mounts = mounts;
	if (!s.single_id)
		s.owners_fd = -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return err_sys(err, errno, "cannot make a socket pair");
	_cleanup_close_ int ours = sv[0], theirs = sv[1];
	struct wire_order_msg m = {.order = WIRE_START,
	        .id = id,
	        .network = s.network,
	        .single_id = s.single_id,
	        .join = s.join,
	        .plain = !s.insecure && !s.single_id && !s.join && !s.has_ready_root &&
	                 !cgroup_limits_any(&limits),
	        .more = s.more,
	        .limits = limits,
	        .own_userns = sys_privilege_own_userns()};
	snprintf(m.arch, sizeof(m.arch), "%s", str_or_empty(s.arch));
	int r = wire_send(c->sock, &m, sizeof(m), &theirs, 1);
	if (r < 0)
		return keeper_gone(r, err);
	close_ptr(&theirs);
	r = wire_send_spec(ours, &s);
	/* EPIPE: it failed before it read all; the reason waits in the socket for sandbox_wait. */
	if (r < 0 && r != -EPIPE && r != -ECONNRESET)
		return err_sys(err, r, "cannot send the step to the sandbox");
	int dup = fcntl(ours, F_DUPFD_CLOEXEC, 3);
	if (dup < 0)
		return err_sys(err, errno, "cannot duplicate a descriptor");
	*ret = (struct sandbox_process){
	        .pidfd = dup, .status_fd = take_fd(&ours), .context = c, .id = id};
	return 0;
}

static int take_report(const struct wire_report_msg *m, struct error *err)
{
	char text[sizeof(m->text) + 2] = {0};
	memcpy(text, m->text, sizeof(m->text));
	err_set(err, (enum err_class)m->class, "%s", text);
	err->errnum = m->errnum;
	const char *hint = text + strlen(text) + 1;
	return *hint ? err_hint(err, "%s", hint) : -1;
}

int sandbox_wait(struct sandbox_process *p, int *ret_exit, struct error *err)
{
	struct wire_report_msg m;
	int result = 0;
	bool reset = false;
	for (;;) {
		int r = wire_recv(p->status_fd, &m, sizeof(m), NULL, 0);
		/* A step that failed before it read its whole spec: what it said is still there. */
		if (r == -ECONNRESET && !reset) {
			reset = true;
			continue;
		}
		if (r <= 0) {
			if (!error_is_set(err))
				keeper_gone(r, err);
			result = -1;
			break;
		}
		if (m.report == WIRE_ERROR) {
			result = take_report(&m, err);
			continue;
		}
		*ret_exit = m.status;
		p->oom_killed = m.oom;
		p->memory_peak = m.peak;
		break;
	}
	close_ptr(&p->status_fd);
	close_ptr(&p->pidfd);
	return result;
}

void sandbox_kill(struct sandbox_process *p, int sig)
{
	struct wire_order_msg m = {.order = WIRE_KILL, .id = p->id, .signal = sig};
	(void)!wire_send(p->context->sock, &m, sizeof(m), NULL, 0); /* gone: so are its steps */
}

int sandbox_pause(struct sandbox_process *p, struct error *err)
{
	int sv[2];
	int32_t status;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return err_sys(err, errno, "cannot make a socket pair");
	_cleanup_close_ int ours = sv[0], theirs = sv[1];
	struct wire_order_msg m = {.order = WIRE_PAUSE, .id = p->id};
	int r = wire_send(p->context->sock, &m, sizeof(m), &theirs, 1);
	close_ptr(&theirs);
	if (r >= 0)
		r = wire_recv(ours, &status, sizeof(status), NULL, 0);
	if (r <= 0)
		return keeper_gone(r, err);
	return status < 0 ? err_sys(err, status, "cannot stop all of its processes") : 0;
}

void sandbox_resume(struct sandbox_process *p)
{
	struct wire_order_msg m = {.order = WIRE_RESUME, .id = p->id};
	(void)!wire_send(p->context->sock, &m, sizeof(m), NULL, 0); /* as above */
}
