/* sandbox/spare.c - see spare.h. */
#include "sandbox/spare.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define READY_TIMEOUT_MS 2000

unsigned long spare_namespaces(uint32_t network)
{
	return CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS |
	       (network == SANDBOX_NET_NONE ? CLONE_NEWNET : 0);
}

pid_t spare_fork(unsigned long namespaces)
{
#if defined(__s390x__)
	return (pid_t)syscall(SYS_clone, NULL, namespaces | SIGCHLD, NULL, NULL, NULL);
#else
	return (pid_t)syscall(SYS_clone, namespaces | SIGCHLD, NULL, NULL, NULL, NULL);
#endif
}

void spare_make(struct spare *s, uint32_t network,
        void (*become)(void *ctx, uint32_t network, int ctl), void *ctx)
{
	int sv[2];
	if (s->pid || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return;
	pid_t pid = spare_fork(spare_namespaces(network));
	if (pid == 0) {
		close(sv[0]);
		become(ctx, network, sv[1]);
		_exit(1);
	}
	close(sv[1]);
	if (pid < 0)
		close(sv[0]);
	else
		*s = (struct spare){pid, sv[0], network};
}

int spare_wait(int ctl, struct wire_order_msg *ret)
{
	int sock;
	if (wire_send(ctl, "r", 1, NULL, 0) < 0 ||
	        wire_recv(ctl, ret, sizeof(*ret), &sock, 1) <= 0 || sock < 0)
		_exit(1); /* the keeper has no use for us, or is gone */
	close(ctl);
	return sock;
}

static bool is_ready(const struct spare *s)
{
	char c;
	struct pollfd p = {s->ctl, POLLIN, 0};
	return poll(&p, 1, READY_TIMEOUT_MS) > 0 && wire_recv(s->ctl, &c, 1, NULL, 0) > 0;
}

pid_t spare_use(struct spare *s, const struct wire_order_msg *m, int sock)
{
	pid_t pid = s->pid;
	if (!pid || s->network != m->network)
		return 0;
	if (!is_ready(s) || wire_send(s->ctl, m, sizeof(*m), &sock, 1) < 0) {
		kill(pid, SIGKILL);
		pid = 0;
	}
	close(s->ctl);
	*s = (struct spare){0};
	return pid;
}

void spare_ended(struct spare *s, pid_t pid)
{
	if (pid != s->pid)
		return;
	close(s->ctl);
	*s = (struct spare){0};
}
