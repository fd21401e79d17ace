/* sys/process.h - children by pidfd. */
#ifndef STRAKE_SYS_PROCESS_H
#define STRAKE_SYS_PROCESS_H

#include "base/error.h"
#include "base/strv.h"

struct sys_spawn {
	const char *path;        /* absolute */
	const char *const *argv; /* NULL-terminated */
	const char *const *env;  /* NULL-terminated; NULL: a minimal PATH only */
	int stdin_fd, stdout_fd, stderr_fd; /* -1: /dev/null */
	const int *keep_fds;     /* passed on under the same numbers from 3 up, in this order */
	size_t n_keep;
	int cwd_fd;              /* -1: inherit */
	bool new_session;
	int death_signal;        /* PR_SET_PDEATHSIG; 0: none */
};
/* sys_spawn - vfork-like start; no other descriptor leaks. Exec failure is reported as -errno
 * here. */
int sys_spawn(const struct sys_spawn *s, pid_t *ret_pid, int *ret_pidfd) must_check;
/* sys_wait_pidfd - reaps. *ret_status as waitpid gives it. */
int sys_wait_pidfd(int pidfd, int *ret_status) must_check;
/* sys_run_program - run to completion with stdout captured (capped), stderr into the error text.
 * ERR_SYSTEM with the program's stderr when it exits non-zero; timeout_ms 0: none. */
int sys_run_program(const struct sys_spawn *s, size_t max_out, int timeout_ms, char **ret_stdout,
	size_t *ret_n, struct error *err) must_check;

#endif
