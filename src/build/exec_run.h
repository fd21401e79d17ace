/* build/exec_run.h - a RUN step with everything open, shared by the step itself and by the shell
 * that looks at it when it failed. */
#ifndef STRAKE_BUILD_EXEC_RUN_H
#define STRAKE_BUILD_EXEC_RUN_H

#include "build/internal.h"

struct run_mounts {
	struct sandbox_mount *v;
	size_t n, cap;
	struct build_view *views; /* one a mount at most */
	size_t n_views;
	int *fds; /* to close: cache directories, locks, sockets */
	size_t n_fds, cap_fds;
	struct strv env; /* the process environment with secrets and proxies */
};

struct run_state {
	const struct graph_node *n;
	struct run_mounts m;
	struct build_view lower;
	struct layer_dir dir;  /* its tree is the step's upper directory */
	struct layer_dir copy; /* without any overlay: its root; else nothing */
	int owners;            /* log of owners in single-id mode; else -1 */
	bool failed;           /* the process began, and did not end well */
};
void run_state_free(
        struct build *b, struct run_state *st); /* removes the directory; NULL is fine */
/* run_fill_spec - all but the upper directory and the streams. */
void run_fill_spec(struct build *b, const struct run_state *st, struct sandbox_spec *s);

/* debug_shell.c */

/* debug_spec - what `strake debug shell` needs to come back to the state before the step: no value
 * of a secret, no variable whose name says it is one. */
struct json_t *debug_spec(
        struct build *b, const struct graph_node *n, const struct solve_output *in) must_check;
/* debug_failed_shell - in b->failed, above what the step left. */
int debug_failed_shell(struct build *b, struct error *err) must_check;

#endif
