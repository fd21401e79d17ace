/* build/terminal.h - a command of the sandbox with somebody in front of it: its standard streams
 * are ours, or a terminal of its own that ours is connected to. */
#ifndef STRAKE_BUILD_TERMINAL_H
#define STRAKE_BUILD_TERMINAL_H

#include "sandbox/sandbox.h"

struct terminal_options {
	bool tty;         /* a pty; our terminal is raw meanwhile */
	bool interactive; /* connect standard input */
	int out_fd;       /* where a pty's output goes; without a pty, standard output */
	const volatile bool *interrupted;
	const volatile int *signal; /* the one to pass on; NULL or 0: SIGTERM */
};

/* terminal_run - fills the spec's stdin_fd, stdout_fd, stderr_fd and tty; *ret_exit as of
 * sandbox_wait. */
int terminal_run(struct sandbox_context *sb, struct sandbox_spec *spec,
        const struct terminal_options *o, int *ret_exit, struct error *err) must_check;

#endif
