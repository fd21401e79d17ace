/* sandbox/keeper.c - helper mode: the one process a context that starts and ends all its steps.
 *
 * It is pid 1 of a pid namespace in which all steps (each in a namespace of its own), network
 * programs and proxies live: when it ends, for whatever reason, the kernel ends them all. It ends
 * when the builder closes the socket, which a killed builder does too. It shares the builder's
 * mount namespace, because layers can only be mounted where their descriptors were opened. */
#include "sandbox/cgroup.h"
#include "sandbox/emulator.h"
#include "sandbox/freeze.h"
#include "sandbox/notify.h"
#include "sandbox/proxy.h"
#include "sandbox/spare.h"
#include "sandbox/step.h"
#include "sandbox/wire.h"
#include "sys/mount.h"
#include "sys/path.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* Descriptors the builder passes, in this order. */
enum { KEEPER_SOCKET = 3, KEEPER_STAGING = 4, KEEPER_EXE = 5 };

struct running {
	uint32_t id;
	pid_t pid; /* of the step, or of the proxy */
	int sock;  /* -1: a proxy or supervisor */
	struct cgroup cgroup;
	struct frozen frozen;
};

/* An order to start a step that has to wait for its turn. */
struct waiting {
	struct wire_order_msg m;
	int sock;
};

struct keeper {
	struct running *v;
	size_t n, cap;
	struct waiting *queue; /* only with shared_proc */
	size_t n_queue, cap_queue;
	struct spare spare;
	struct network net;
	struct seccomp_filter filter, compat_filter;
	struct emulator emulator;
	bool cgroup_v2;
	bool shared_proc; /* in the builder's pid namespace, see context.c */
};

/* How the programs of a step run. */
struct machine {
	enum emulator_way way;
	struct error why_not; /* set: foreign ones will not; those of this machine do */
};

static void scratch_name(char *buf, size_t n, uint32_t id)
{
	snprintf(buf, n, "step-%u", id);
}

static void send_exit(int sock, int status, bool oom, uint64_t peak)
{
	struct wire_report_msg m = {
	        .report = WIRE_EXIT, .status = status, .oom = oom, .peak = peak};
	(void)!wire_send(sock, &m, sizeof(m), NULL, 0); /* a builder that gave up reads no more */
}

static void send_failure(int sock, const struct error *err)
{
	struct wire_report_msg m = {
	        .report = WIRE_ERROR, .status = 1, .class = err->class, .errnum = err->errnum};
	size_t n = MIN(strlen(err->msg), (size_t)2000);
	memcpy(m.text, err->msg, n);
	snprintf(m.text + n + 1, sizeof(m.text) - n - 1, "%s", str_or_empty(err->hint));
	(void)!wire_send(sock, &m, sizeof(m), NULL, 0);
	send_exit(sock, 1, false, 0);
}

/* step_of - a running step; NULL: it has ended. */
static const struct running *step_of(const struct keeper *k, uint32_t id)
{
	for (size_t i = 0; i < k->n; i++)
		if (k->v[i].id == id && k->v[i].sock >= 0)
			return &k->v[i];
	return NULL;
}

static struct step new_step(
        struct keeper *k, int cgroup, int supervisor, const struct machine *machine)
{
	bool compat = machine->way == EMULATOR_COMPAT;
	return (struct step){.staging_fd = KEEPER_STAGING,
	        .scratch_fd = -1,
	        .net = &k->net,
	        .filter = compat ? &k->compat_filter : &k->filter,
	        .compat = compat,
	        .userns_fd = machine->way == EMULATOR_OURS_IN ? k->emulator.userns_fd : -1,
	        .why_not_foreign = &machine->why_not,
	        .cgroup_v2 = k->cgroup_v2,
	        .cgroup_fd = cgroup,
	        .shared_proc = k->shared_proc,
	        .proc_bind = -1,
	        .supervisor = supervisor,
	        .files_fd = -1,
	        .resolv_fd = -1,
	        .root_mount = -1,
	        .root_fd = -1,
	        .sys_bind = -1,
	        .console = -1,
	        .kit_fd = -1,
	        .own_ns = -1,
	        .own_root = -1,
	        .outer_ns = -1,
	        .outer_root = -1};
}

static noreturn_ void become_step(struct keeper *k, const struct wire_order_msg *m, int sock,
        int cgroup, int supervisor, const struct machine *machine)
{
	struct step s = new_step(k, cgroup, supervisor, machine);
	scratch_name(s.scratch_name, sizeof(s.scratch_name), m->id);
	if (m->join) {
		const struct running *r = step_of(k, m->join);
		s.cgroup_fd = r->cgroup.fd; /* what the container may use is for all in it */
		step_join_main(&s, r->pid, sock);
	}
	step_main(&s, sock);
}

static int prepare_start(struct keeper *k, const struct wire_order_msg *m, struct cgroup *cg,
        struct machine *machine, struct error *err)
{
	if (!k->filter.n) {
		seccomp_build(&k->filter, false);
		k->cgroup_v2 = cgroup_is_v2();
	}
	/* No emulator is no failure yet: an image may say one platform and hold the programs of
	 * another. The step tells if its command turns out to be foreign. */
	if (emulator_prepare(&k->emulator, m->arch, m->own_userns, m->single_id, &machine->way,
	            &machine->why_not) < 0)
		machine->way = EMULATOR_NONE;
	if (machine->way == EMULATOR_COMPAT && !k->compat_filter.n)
		seccomp_build(&k->compat_filter, true);
	if (m->join && !step_of(k, m->join))
		return err_set(err, ERR_USAGE, "the container has ended");
	if (m->join)
		return 0;
	if (m->network == SANDBOX_NET_PRIVATE && network_begin(&k->net, err) < 0)
		return -1;
	const struct cgroup_limits *l = &m->limits;
	return cgroup_limits_any(l) ? cgroup_make(l, cg, err) : 0;
}

static void add_running(struct keeper *k, struct running r)
{
	vec_grow(&k->v, &k->cap, k->n + 1);
	k->v[k->n++] = r;
}

/* start_supervisor - the step's end of its socket, or -1. */
static int start_supervisor(struct keeper *k, uint32_t id, struct error *err)
{
	int sv[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return err_sys(err, errno, "cannot make a socket pair");
	pid_t pid = fork();
	if (pid == 0) {
		/* It needs nothing of the keeper's. */
		if (dup3(sv[0], 3, O_CLOEXEC) < 0 || syscall(SYS_close_range, 4, ~0U, 0) < 0)
			_exit(1);
		supervise_main(3, k->shared_proc);
	}
	close(sv[0]);
	if (pid < 0) {
		close(sv[1]);
		return err_sys(err, errno, "cannot start the supervisor of a step");
	}
	add_running(k, (struct running){id, pid, -1, {.fd = -1, .parent_fd = -1}, {0}});
	return sv[1];
}

static noreturn_ void become_spare(void *ctx, uint32_t network, int ctl)
{
	struct keeper *k = ctx;
	struct error ignored = ERROR_INIT;
	struct machine machine = {EMULATOR_NONE, ERROR_INIT};
	struct wire_order_msg m;
	/* Nothing of the builder's or of other steps: only the number stays taken. */
	for (size_t i = 0; i < k->n; i++)
		close_ptr(&k->v[i].sock);
	if (dup3(KEEPER_STAGING, KEEPER_SOCKET, O_CLOEXEC) < 0)
		_exit(1);
	struct step s = new_step(k, -1, -1, &machine);
	s.spec.network = network;
	if (step_prepare_ahead(&s, &ignored) < 0)
		_exit(1);
	int sock = spare_wait(ctl, &m);
	scratch_name(s.scratch_name, sizeof(s.scratch_name), m.id);
	step_main(&s, sock);
}

static void start_step(struct keeper *k, const struct wire_order_msg *m, int sock)
{
	_cleanup_error_ struct error err = ERROR_INIT;
	struct cgroup cg = {.fd = -1, .parent_fd = -1};
	struct machine machine = {.why_not = ERROR_INIT};
	pid_t pid = -1;
	_cleanup_close_ int supervisor = -1;
	if (prepare_start(k, m, &cg, &machine, &err) >= 0 &&
	        (!m->single_id || (supervisor = start_supervisor(k, m->id, &err)) >= 0)) {
		bool native = machine.way == EMULATOR_NONE && !error_is_set(&machine.why_not);
		pid = m->plain && native ? spare_use(&k->spare, m, sock) : 0;
		if (pid == 0)
			pid = spare_fork(m->join ? 0 : spare_namespaces(m->network));
		if (pid == 0)
			become_step(k, m, sock, cg.fd, supervisor, &machine);
		if (pid < 0)
			err_sys(&err, errno, "cannot start a process in new namespaces");
	}
	error_release(&machine.why_not);
	if (pid < 0) {
		send_failure(sock, &err);
		close(sock);
		uint64_t peak;
		(void)cgroup_end(&cg, &peak);
		return;
	}
	add_running(k, (struct running){m->id, pid, sock, cg, {0}});
	if (m->more && m->plain && !k->shared_proc)
		spare_make(&k->spare, m->network, become_spare, k);
}

static void start_proxy(struct keeper *k, const struct wire_order_msg *m, const int *fds)
{
	pid_t pid = fork();
	if (pid == 0)
		proxy_main(fds[0], fds[1]);
	if (pid > 0)
		add_running(k, (struct running){m->id, pid, -1, {.fd = -1, .parent_fd = -1}, {0}});
	close(fds[0]);
	close(fds[1]);
}

static int pause_step(struct keeper *k, uint32_t id)
{
	_cleanup_close_ int proc =
	        k->shared_proc ? sys_open_dir(AT_FDCWD, "/proc") : sys_proc_mount();
	if (proc < 0)
		return proc;
	for (size_t i = 0; i < k->n; i++)
		if (k->v[i].id == id && k->v[i].sock >= 0)
			return freeze_step(proc, k->v[i].pid, &k->v[i].frozen);
	return -ESRCH;
}

static void resume_step(struct keeper *k, uint32_t id)
{
	for (size_t i = 0; i < k->n; i++)
		if (k->v[i].id == id)
			frozen_thaw(&k->v[i].frozen);
}

static bool step_runs(const struct keeper *k)
{
	for (size_t i = 0; i < k->n; i++)
		if (k->v[i].sock >= 0)
			return true;
	return false;
}

/* start_or_queue - steps that see a common /proc run one after the other: each has the user and
 * the rights of the others, and could look into them and write into their memory through it. */
static void start_or_queue(struct keeper *k, const struct wire_order_msg *m, int sock)
{
	if (!k->shared_proc || m->join || !step_runs(k)) {
		start_step(k, m, sock);
		return;
	}
	vec_grow(&k->queue, &k->cap_queue, k->n_queue + 1);
	k->queue[k->n_queue++] = (struct waiting){*m, sock};
}

static struct waiting take_waiting(struct keeper *k, size_t i)
{
	struct waiting w = k->queue[i];
	memmove(&k->queue[i], &k->queue[i + 1], (--k->n_queue - i) * sizeof(w));
	return w;
}

static void start_next(struct keeper *k)
{
	while (k->n_queue && !step_runs(k)) {
		struct waiting w = take_waiting(k, 0);
		start_step(k, &w.m, w.sock);
	}
}

/* end_helpers - the proxies and the supervisor of a step. The supervisor holds the step's mounts:
 * they must be gone before anybody hears that the step is over. */
static void end_helpers(struct keeper *k, uint32_t id)
{
	for (size_t j = k->n; j-- > 0;) {
		if (k->v[j].id != id)
			continue;
		kill(k->v[j].pid, SIGKILL);
		while (waitpid(k->v[j].pid, NULL, 0) < 0 && errno == EINTR)
			;
		k->v[j] = k->v[--k->n];
	}
}

static void kill_step(struct keeper *k, uint32_t id, int sig)
{
	for (size_t i = 0; i < k->n; i++)
		if (k->v[i].id == id && k->v[i].sock >= 0)
			kill(k->v[i].pid, sig);
	for (size_t i = 0; i < k->n_queue; i++)
		if (k->queue[i].m.id == id) {
			struct waiting w = take_waiting(k, i);
			end_helpers(k, id);
			send_exit(w.sock, 128 + sig, false, 0);
			close(w.sock);
			break;
		}
}

/* obey - one order; false when the builder is gone. */
static bool obey(struct keeper *k)
{
	struct wire_order_msg m;
	_cleanup_error_ struct error err = ERROR_INIT;
	int fds[2];
	int32_t status;
	int r = wire_recv(KEEPER_SOCKET, &m, sizeof(m), fds, 2);
	if (r <= 0)
		return r == -EMFILE;
	switch (m.order) {
	case WIRE_START:
		m.arch[sizeof(m.arch) - 1] = '\0';
		if (fds[0] >= 0)
			start_or_queue(k, &m, fds[0]);
		fds[0] = -1;
		break;
	case WIRE_PROXY:
		if (fds[0] >= 0 && fds[1] >= 0) {
			start_proxy(k, &m, fds);
			fds[0] = fds[1] = -1;
		}
		break;
	case WIRE_KILL:
		kill_step(k, m.id, m.signal);
		break;
	case WIRE_PAUSE:
		status = pause_step(k, m.id);
		(void)!wire_send(fds[0], &status, sizeof(status), NULL, 0);
		break;
	case WIRE_RESUME:
		resume_step(k, m.id);
		break;
	case WIRE_WARM:
		/* A failure shows when a step asks for the network. */
		(void)!network_begin(&k->net, &err);
		break;
	}
	close_ptr(&fds[0]);
	close_ptr(&fds[1]);
	return true;
}

/* finished - the step's pid namespace is dead and its mounts are gone: the kernel lets us reap its
 * first process only then. */
static void finished(struct keeper *k, size_t i, int wstatus)
{
	struct running r = k->v[i];
	k->v[i] = k->v[--k->n];
	if (r.sock < 0)
		return;
	end_helpers(k, r.id);
	free(r.frozen.v);
	char name[24];
	scratch_name(name, sizeof(name), r.id);
	uint64_t peak;
	bool oom = cgroup_end(&r.cgroup, &peak);
	send_exit(r.sock, WIFSIGNALED(wstatus) ? 128 + WTERMSIG(wstatus) : WEXITSTATUS(wstatus),
	        oom, peak);
	close(r.sock);
	/* After the answer: the builder goes on meanwhile. What fails here goes with the staging
	 * directory. */
	(void)!sys_remove_tree(KEEPER_STAGING, name);
}

static void reap(struct keeper *k)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		spare_ended(&k->spare, pid);
		for (size_t i = 0; i < k->n; i++)
			if (k->v[i].pid == pid) {
				finished(k, i, status);
				break;
			}
	}
	start_next(k);
}

/* end_all - where no pid namespace does it: everything we started, and what of it was orphaned. */
static void end_all(const struct keeper *k)
{
	for (size_t i = 0; i < k->n; i++)
		kill(k->v[i].pid, SIGKILL);
	char list[4096];
	for (int round = 0; round < 1000; round++) {
		_cleanup_close_ int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
		ssize_t n = fd < 0 ? -1 : read(fd, list, sizeof(list) - 1);
		if (n <= 0)
			return;
		list[n] = '\0';
		char *end, *p = list;
		for (long pid; (pid = strtol(p, &end, 10)) > 0 && *end; p = end)
			kill((pid_t)pid, SIGKILL);
		while (waitpid(-1, NULL, 0) > 0)
			;
	}
}

int sandbox_helper_main(int argc, char **argv)
{
	/* The image of this process came through a read-only mount of its own, see context.c. */
	close(KEEPER_EXE);
	prctl(PR_SET_NAME, SANDBOX_HELPER_ARGV0, 0, 0, 0);
	struct keeper k = {0};
	network_init(&k.net);
	k.net.ports = argv + 1;
	k.net.n_ports = (size_t)MAX(argc - 1, 0);
	emulator_init(&k.emulator);
	k.shared_proc = getenv(KEEPER_SHARED_PROC) != NULL;
	if (k.shared_proc)
		prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	sigset_t chld;
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, NULL);
	int sig = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
	if (sig < 0)
		return 1;
	struct pollfd p[2] = {{KEEPER_SOCKET, POLLIN, 0}, {sig, POLLIN, 0}};
	for (;;) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return 1;
		struct signalfd_siginfo si;
		if (p[1].revents & POLLIN) {
			while (read(sig, &si, sizeof(si)) == (ssize_t)sizeof(si))
				;
			reap(&k);
		}
		if (p[0].revents && !obey(&k)) {
			if (k.shared_proc)
				end_all(&k);
			_exit(0);
		}
	}
}
