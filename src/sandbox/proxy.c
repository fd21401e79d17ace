/* sandbox/proxy.c - see proxy.h. One process a connection; agents see few of them. */
#include "sandbox/proxy.h"
#include "sys/path.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>

static int connect_to(int target)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d", target);
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s >= 0 && connect(s, (struct sockaddr *)&a, sizeof(a)) < 0)
		close_ptr(&s);
	return s;
}

/* hand_on - what one side has to say; false when that side is done. */
static bool hand_on(int from, int to)
{
	char buf[16384];
	ssize_t n = read(from, buf, sizeof(buf));
	if (n < 0)
		return errno == EINTR;
	if (n > 0 && sys_write_all(to, buf, (size_t)n) >= 0)
		return true;
	shutdown(to, SHUT_WR);
	return false;
}

static noreturn_ void pump(int client, int target)
{
	int server = connect_to(target);
	struct pollfd p[2] = {{client, POLLIN, 0}, {server, POLLIN, 0}};
	while (server >= 0 && (p[0].fd >= 0 || p[1].fd >= 0)) {
		if (poll(p, 2, -1) < 0)
			continue;
		if (p[0].revents && !hand_on(client, server))
			p[0].fd = -1;
		if (p[1].revents && !hand_on(server, client))
			p[1].fd = -1;
	}
	_exit(0);
}

noreturn_ void proxy_main(int listener, int target)
{
	signal(SIGCHLD, SIG_IGN); /* no zombies */
	for (;;) {
		int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (client < 0) {
			if (errno == EINTR || errno == ECONNABORTED)
				continue;
			_exit(1);
		}
		pid_t pid = fork();
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL); /* the step's end kills the proxy */
			close(listener);
			pump(client, target);
		}
		close(client);
	}
}
