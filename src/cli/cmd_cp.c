/* cli/cmd_cp.c - cp: files between a container and this machine. */
#include "cli/cli.h"

#include <stdio.h>

#include "container/container.h"

/* split - "CONTAINER:PATH" as docker reads it: an absolute or dotted path is one of this machine.
 */
static const char *split(const char *arg, char **ret_container)
{
	const char *colon = strchr(arg, ':');
	if (!colon || colon == arg || *arg == '/' || *arg == '.')
		return arg;
	*ret_container = xstrndup(arg, (size_t)(colon - arg));
	return colon + 1;
}

int cmd_cp(int argc, char **argv)
{
	struct container_copy_options o = {0};
	bool quiet = false;
	const struct cli_option options[] = {
	        {"archive", 'a', CLI_BOOL, &o.archive, NULL, "keep owners"},
	        {"follow-link", 'L', CLI_BOOL, &o.follow_link, NULL,
	                "copy what a link in the source leads to"},
	        {"quiet", 'q', CLI_BOOL, &quiet, NULL, "always so"},
	        {0},
	};
	struct error err = ERROR_INIT;
	_cleanup_(cli_store_close) struct store *store = NULL;
	_cleanup_strv_ struct strv words = STRV_INIT;
	_cleanup_free_ char *from = NULL, *to = NULL;
	const char *source = NULL, *dest = NULL;
	int rc = cli_parse(argc, argv, options, false, &words, &err);
	if (rc > 0) {
		cli_help("cp", "[OPTIONS] CONTAINER:PATH DEST|-  or  SOURCE|- CONTAINER:PATH",
		        "Copy files between a container and this machine.", options,
		        "- is a tar on standard output or input. DIR/. is what is in DIR. The "
		        "rules "
		        "of\nwhat goes where are docker cp's.\n");
		return EXIT_OK;
	}
	if (rc >= 0 && words.n != 2)
		rc = err_set(&err, ERR_USAGE, "a source and a destination are expected");
	if (rc >= 0) {
		source = split(words.v[0], &from);
		dest = split(words.v[1], &to);
		if (from && to)
			rc = err_set(
			        &err, ERR_USAGE, "copying between containers is not supported");
		else if (!from && !to)
			rc = err_set(&err, ERR_USAGE, "one of the two must be CONTAINER:PATH");
		else if (!*source || !*dest)
			rc = err_set(&err, ERR_USAGE, "a path is empty");
	}
	if (rc < 0)
		return cli_usage_error("cp", &err);
	rc = cli_store(&store, &err);
	if (rc >= 0)
		rc = from ? container_copy_out(store, from, source, dest, &o, &err)
		          : container_copy_in(store, to, source, dest, &o, &err);
	return rc < 0 ? cli_report(&err) : EXIT_OK;
}
