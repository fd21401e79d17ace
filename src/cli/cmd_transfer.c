/* cli/cmd_transfer.c - push and pull. */
#include "cli/cli.h"

#include <stdio.h>

#include "base/human.h"
#include "build/transfer.h"

struct transfer_args {
	struct transfer_options o;
	struct strv words, platforms;
	const char *progress, *compression;
	unsigned level;
	bool quiet;
};

static int take_compression(struct transfer_args *a, struct error *err)
{
	const char *c = a->compression;
	a->o.compression = COMPRESS_GZIP;
	a->o.force_compression = c != NULL;
	if (!c || str_eq(c, "gzip"))
		return 0;
	if (str_eq(c, "zstd"))
		a->o.compression = COMPRESS_ZSTD;
	else if (str_eq(c, "uncompressed"))
		a->o.compression = COMPRESS_NONE;
	else
		return err_set(err, ERR_USAGE,
		        "--compression %s: gzip, zstd or uncompressed is expected", c);
	return 0;
}

static int transfer_command(int argc, char **argv, bool push)
{
	struct transfer_args a = {.o = {.level = -1}};
	const char *command = push ? "push" : "pull";
	const struct cli_option options[] = {
	        {"quiet", 'q', CLI_BOOL, &a.quiet, NULL, "print the digest only"},
	        {"progress", 0, CLI_STR, &a.progress, "MODE", "auto, plain, tty, rawjson, quiet"},
	        {"platform", 0, CLI_LIST, &a.platforms, "P", "only this platform; may repeat"},
	        {push ? "compression" : NULL, 0, CLI_STR, &a.compression, "C",
	                "of the layers: gzip, zstd, uncompressed"},
	        {0},
	};
	struct error err = ERROR_INIT;
	_cleanup_(cli_store_close) struct store *store = NULL;
	_cleanup_free_ char *digest = NULL;
	int code = EXIT_OK;
	int rc = cli_parse(argc, argv, options, false, &a.words, &err);
	if (rc > 0) {
		cli_help(command, "[OPTIONS] NAME[:TAG]",
		        push ? "Send an image to the registry that its name says."
		             : "Fetch an image from its registry.",
		        options,
		        "Credentials are those of docker's config.json. Mirrors, plain HTTP and\n"
		        "own certificates: see strake-registries.conf(5).\n");
		goto out;
	}
	if (rc >= 0 && a.words.n != 1)
		rc = err_set(&err, ERR_USAGE, "one image is expected");
	if (rc >= 0)
		rc = take_compression(&a, &err);
	if (rc >= 0 && a.progress && !ui_mode_parse(a.progress, &a.o.progress))
		rc = err_set(&err, ERR_USAGE,
		        "--progress %s: auto, plain, tty, rawjson or quiet is expected",
		        a.progress);
	if (rc < 0) {
		code = cli_usage_error(command, &err);
		goto out;
	}
	if (a.quiet)
		a.o.progress = UI_QUIET;
	a.o.platforms = &a.platforms;
	a.o.interrupted = &cli_interrupted;
	cli_signals();
	rc = cli_store(&store, &err);
	if (rc >= 0)
		rc = push ? transfer_push(store, a.words.v[0], &a.o, &digest, &err)
		          : transfer_pull(store, a.words.v[0], &a.o, &digest, &err);
	if (rc < 0)
		code = cli_report(&err);
	else
		printf(a.quiet ? "%s\n" : "Digest: %s\n", digest);
out:
	strv_release(&a.words);
	strv_release(&a.platforms);
	return code;
}

int cmd_push(int argc, char **argv)
{
	return transfer_command(argc, argv, true);
}

int cmd_pull(int argc, char **argv)
{
	return transfer_command(argc, argv, false);
}
