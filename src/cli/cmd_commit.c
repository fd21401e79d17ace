/* cli/cmd_commit.c - commit, export, import: between containers, tars and images. */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "build/derive.h"
#include "container/container.h"
#include "sys/path.h"

static int print_id(const struct digest *id)
{
	char d[DIGEST_STR_MAX];
	printf("%s\n", digest_str(id, d));
	return EXIT_OK;
}

/* CHANGE_OPTIONS - what commit and import have in common. */
#define CHANGE_OPTIONS(o)                                                                          \
	{"change", 'c', CLI_LIST, &(o).changes, "INSTR",                                           \
	        "a Dockerfile instruction such as CMD, ENV, LABEL, USER"},                         \
	{                                                                                          \
		"message", 'm', CLI_STR, &(o).message, "TEXT", "for its history"                   \
	}

int cmd_commit(int argc, char **argv)
{
	struct container_commit_options o = {.pause = true};
	const struct cli_option options[] = {
	        {"author", 'a', CLI_STR, &o.author, "NAME", "of the image"},
	        CHANGE_OPTIONS(o),
	        {"pause", 'p', CLI_BOOL, &o.pause, NULL,
	                "stop a running container while its files are copied (default; "
	                "--pause=false)"},
	        {0},
	};
	static const struct cli_usage usage = {.command = "commit",
	        .usage = "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
	        .summary = "Make an image of a container: its image and what it changed, without "
	                   "volumes.",
	        .epilogue = "A Dockerfile is the better record of how an image came to be.\n",
	        .expected = "a container and at most one name are",
	        .min = 1,
	        .max = 2};
	struct error err = ERROR_INIT;
	_cleanup_(cli_store_close) struct store *store = NULL;
	_cleanup_strv_ struct strv words = STRV_INIT;
	struct digest id;
	int code;
	if (cli_begin(&usage, options, argc, argv, &words, &code)) {
		o.name = words.n > 1 ? words.v[1] : NULL;
		int rc = cli_store(&store, &err);
		if (rc >= 0)
			rc = container_commit(store, words.v[0], &o, &id, &err);
		code = rc < 0 ? cli_report(&err) : print_id(&id);
	}
	strv_release(&o.changes);
	return code;
}

int cmd_import(int argc, char **argv)
{
	struct image_import_options o = {.interrupted = &cli_interrupted};
	const struct cli_option options[] = {
	        CHANGE_OPTIONS(o),
	        {"platform", 0, CLI_STR, &o.platform, "P", "what its programs run on"},
	        {0},
	};
	static const struct cli_usage usage = {.command = "import",
	        .usage = "[OPTIONS] FILE|URL|- [REPOSITORY[:TAG]]",
	        .summary = "Make an image of the tar of a root file system, compressed or not.",
	        .epilogue = "strake export writes such a tar; strake load reads images.\n",
	        .expected = "a tar and at most one name are",
	        .min = 1,
	        .max = 2};
	struct error err = ERROR_INIT;
	_cleanup_(cli_store_close) struct store *store = NULL;
	_cleanup_strv_ struct strv words = STRV_INIT;
	struct digest id;
	int code;
	if (cli_begin(&usage, options, argc, argv, &words, &code)) {
		o.source = words.v[0];
		o.name = words.n > 1 ? words.v[1] : NULL;
		cli_signals();
		int rc = cli_store(&store, &err);
		if (rc >= 0)
			rc = image_import(store, &o, &id, &err);
		code = rc < 0 ? cli_report(&err) : print_id(&id);
	}
	strv_release(&o.changes);
	return code;
}

int cmd_export(int argc, char **argv)
{
	const char *output = "-";
	const struct cli_option options[] = {
	        {"output", 'o', CLI_STR, &output, "FILE", "write there (default: standard output)"},
	        {0},
	};
	static const struct cli_usage usage = {.command = "export",
	        .usage = "[OPTIONS] CONTAINER",
	        .summary = "Write a container's file system as a tar, without volumes.",
	        .expected = "one container is",
	        .min = 1,
	        .max = 1};
	struct error err = ERROR_INIT;
	_cleanup_(cli_store_close) struct store *store = NULL;
	_cleanup_strv_ struct strv words = STRV_INIT;
	_cleanup_close_ int file = -1;
	int code, rc = 0;
	if (!cli_begin(&usage, options, argc, argv, &words, &code))
		return code;
	if (str_eq(output, "-") && isatty(STDOUT_FILENO)) {
		(void)err_set(&err, ERR_USAGE, "standard output is a terminal");
		(void)err_hint(&err, "write to a file with -o, or into a pipe");
		return cli_usage_error("export", &err);
	}
	int fd = STDOUT_FILENO;
	if (!str_eq(output, "-")) {
		/* trusted-path: -o */
		fd = file = open(output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
		if (fd < 0)
			rc = err_sys(&err, errno, "%s", output);
	}
	if (rc >= 0)
		rc = cli_store(&store, &err);
	if (rc >= 0)
		rc = container_export(store, words.v[0], fd, &err);
	return rc < 0 ? cli_report(&err) : EXIT_OK;
}
