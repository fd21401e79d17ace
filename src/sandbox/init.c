/* sandbox/init.c - `run --init`: pid 1 of a container that passes signals on to the command and
 * reaps what it leaves behind. It runs after all rights are dropped, has no descriptors but 0 to 2
 * and touches no file of the container. */
#include "sandbox/step.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* reap - everything that ended; exits when the command was among it. */
static void reap(pid_t command)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == command)
			_exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
	if (pid < 0 && errno == ECHILD)
		_exit(1);
}

void step_init(bool tty)
{
	sigset_t all, old;
	/* Blocked, so that they reach us at all: pid 1 ignores what it has no handler for. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	pid_t pid = fork();
	if (pid < 0)
		_exit(125);
	if (pid == 0) {
		if (tty) {
			/* The terminal's signals go to the command, not to init. */
			setpgid(0, 0);
			(void)tcsetpgrp(0, getpid());
		}
		sigprocmask(SIG_SETMASK, &old, NULL);
		return;
	}
	syscall(SYS_close_range, 3, ~0U, 0);
	for (;;) {
		siginfo_t si;
		int sig = sigwaitinfo(&all, &si);
		if (sig == SIGCHLD)
			reap(pid);
		else if (sig > 0)
			kill(pid, sig);
	}
}
