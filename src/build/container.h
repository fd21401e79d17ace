/* build/container.h - run a command in an image: the sandbox of RUN over a throw-away upper layer.
 */
#ifndef STRAKE_BUILD_CONTAINER_H
#define STRAKE_BUILD_CONTAINER_H

#include "base/strv.h"
#include "store/store.h"

struct container_options {
	const char *image;
	struct strv command; /* empty: the image's */
	struct strv env;     /* "K=V"; bare names come from our environment */
	struct strv volumes; /* "SRC:DST[:ro]" */
	struct strv add_hosts;
	const char *workdir, *user, *hostname, *network;
	const char *entrypoint; /* NULL: the image's; "": none */
	const char *platform;
	bool tty, interactive, read_only;
	const volatile bool *interrupted;
	const volatile int *signal;
};

/* container_run - *ret_exit: the command's exit code (128+n for a signal). */
int container_run(struct store *s, const struct container_options *o, int *ret_exit,
        struct error *err) must_check;

#endif
