/* build/terminal.h - pseudo terminals, and a command of the sandbox with somebody in front of it:
 * its standard streams are ours, or a terminal of its own that ours is connected to. */
#ifndef STRAKE_BUILD_TERMINAL_H
#define STRAKE_BUILD_TERMINAL_H

#include "sandbox/sandbox.h"

struct terminal; /* a pty, and our own terminal in raw mode while it lives */
/* terminal_open - in the devpts of the container with this root; -1: in our own. attach: it is as
 * large as our own; input: which is raw meanwhile, if we have one. The master does not block. */
int terminal_open(
        int root, bool attach, bool input, struct terminal **ret, struct error *err) must_check;
void terminal_free(struct terminal *t); /* restores; NULL is fine */
int terminal_slave(const struct terminal *t);
void terminal_close_slave(struct terminal *t);
int terminal_master(const struct terminal *t);
void terminal_resize(struct terminal *t); /* as large as our own is now */

/* Keys that the program has not read yet wait in t. terminal_wants_keys - there is room for more.
 * terminal_take_keys - read(2) from standard input, its result. terminal_events - what to poll the
 * master for; POLLOUT: terminal_type_keys. */
bool terminal_wants_keys(const struct terminal *t);
ssize_t terminal_take_keys(struct terminal *t);
void terminal_add_key(struct terminal *t, char key);
short terminal_events(const struct terminal *t);
void terminal_type_keys(struct terminal *t);

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
