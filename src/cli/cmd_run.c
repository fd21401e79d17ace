/* cli/cmd_run.c - strake run. */
#include "cli/cli.h"

#include <stdio.h>

#include "build/container.h"

int cmd_run(int argc, char **argv)
{
	struct container_options o = {0};
	bool rm = false;
	const struct cli_option options[] = {
	        {"env", 'e', CLI_LIST, &o.env, "K[=V]", "environment variable; bare: from here"},
	        {"workdir", 'w', CLI_STR, &o.workdir, "DIR", "working directory"},
	        {"user", 'u', CLI_STR, &o.user, "USER", "user[:group], by name or number"},
	        {"volume", 'v', CLI_LIST, &o.volumes, "S:D[:ro]",
	                "bind a file or directory of this machine"},
	        {"entrypoint", 0, CLI_STR, &o.entrypoint, "CMD",
	                "instead of the image's; \"\" for none"},
	        {"network", 0, CLI_STR, &o.network, "MODE", "default, none, host"},
	        {"add-host", 0, CLI_LIST, &o.add_hosts, "H:IP", "line in /etc/hosts"},
	        {"hostname", 'h', CLI_STR, &o.hostname, "NAME", "host name inside"},
	        {"platform", 0, CLI_STR, &o.platform, "P", "platform of a multi-platform image"},
	        {"tty", 't', CLI_BOOL, &o.tty, NULL, "give it a terminal"},
	        {"interactive", 'i', CLI_BOOL, &o.interactive, NULL, "connect standard input"},
	        {"read-only", 0, CLI_BOOL, &o.read_only, NULL, "read-only root file system"},
	        {"rm", 0, CLI_BOOL, &rm, NULL, "always so: nothing is kept when the command ends"},
	        {"publish", 'p', CLI_ABSENT, NULL, NULL, "use --network=host"},
	        {"detach", 'd', CLI_ABSENT, NULL, NULL,
	                "strake runs in the foreground; use & or systemd-run"},
	        {"name", 0, CLI_ABSENT, NULL, NULL, "nothing is kept, so there is nothing to name"},
	        {0},
	};
	struct strv words = STRV_INIT;
	struct error err = ERROR_INIT;
	_cleanup_(cli_store_close) struct store *store = NULL;
	int code = EXIT_FAILED;
	int rc = cli_parse(argc, argv, options, true, &words, &err);
	if (rc > 0) {
		cli_help("run", "[OPTIONS] IMAGE [COMMAND ARG...]",
		        "Run a command in an image, in the sandbox of RUN.", options,
		        "The exit code is the command's. Changes are thrown away when it ends.\n");
		code = EXIT_OK;
		goto out;
	}
	if (rc >= 0 && words.n == 0)
		rc = err_set(&err, ERR_USAGE, "an image is expected");
	if (rc >= 0 && o.network && !str_eq(o.network, "default") && !str_eq(o.network, "none") &&
	        !str_eq(o.network, "host"))
		rc = err_set(&err, ERR_USAGE, "--network %s: default, none or host is expected",
		        o.network);
	if (rc >= 0 && o.tty && !isatty(STDIN_FILENO) && o.interactive)
		rc = err_set(&err, ERR_USAGE, "-t: standard input is not a terminal");
	if (rc < 0) {
		code = cli_usage_error("run", &err);
		goto out;
	}
	o.image = words.v[0];
	for (size_t i = 1; i < words.n; i++)
		strv_add(&o.command, words.v[i]);
	cli_signals();
	o.interrupted = &cli_interrupted;
	o.signal = &cli_signal;
	int exit_code = 0;
	if (cli_store(&store, &err) < 0 || container_run(store, &o, &exit_code, &err) < 0) {
		code = cli_report(&err);
		/* docker's: 125 is the tool's own failure, 126 and 127 a command that cannot run.
		 */
		if (exit_code == 126 || exit_code == 127)
			code = exit_code;
		else if (code == EXIT_FAILED || code == EXIT_USAGE)
			code = 125;
	} else {
		code = exit_code;
	}
out:
	strv_release(&words);
	strv_release(&o.command);
	strv_release(&o.env);
	strv_release(&o.volumes);
	strv_release(&o.add_hosts);
	return code;
}
