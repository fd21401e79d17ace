/* sys/process.h - children by pidfd. */
#ifndef STRAKE_SYS_PROCESS_H
#define STRAKE_SYS_PROCESS_H

#include "base/error.h"
#include "base/strv.h"

struct sys_spawn {
	const char *path;                   /* absolute */
	const char *name;                   /* in errors; NULL: the last part of path */
	const char *const *argv;            /* NULL-terminated */
	const char *const *env;             /* NULL-terminated; NULL: a minimal PATH only */
	int stdin_fd, stdout_fd, stderr_fd; /* -1: /dev/null */
	const int *keep_fds;                /* keep_fds[i] becomes descriptor 3 + i of the child */
	size_t n_keep;
	int cwd_fd; /* -1: inherit (0 means descriptor 0: always set it) */
	bool new_session;
	/* PR_SET_PDEATHSIG; 0: none. The kernel sends it when the calling *thread* ends: a thread
	 * that spawns with it must outlive the child. */
	int death_signal;
	int namespaces; /* CLONE_NEWPID and the like; 0: none */
};
/* sys_spawn - vfork-like start; no other descriptor leaks; ignored and blocked signals are reset.
 * Exec failure is reported as -errno here. ret_pid may be NULL. Thread-safe. */
int sys_spawn(const struct sys_spawn *s, pid_t *ret_pid, int *ret_pidfd) must_check;
/* sys_wait_pidfd - reaps. *ret_status as waitpid gives it. */
int sys_wait_pidfd(int pidfd, int *ret_status) must_check;
/* sys_run_program - run to completion with stdout captured (capped), stderr into the error text
 * (s->stdout_fd and s->stderr_fd are ignored). ret_stdout, ret_n may be NULL.
 * ERR_SYSTEM with the program's stderr when it exits non-zero; timeout_ms 0: none. */
int sys_run_program(const struct sys_spawn *s, size_t max_out, int timeout_ms, char **ret_stdout,
        size_t *ret_n, struct error *err) must_check;

#endif
