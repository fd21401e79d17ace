/* cli/cmd_exec.c - exec and port: looking into containers that run. */
#include "cli/cli.h"

#include <stdio.h>

#include "container/container.h"

int cmd_exec(int argc, char **argv)
{
	struct container_exec x = {0};
	const struct cli_option options[] = {
	        {"interactive", 'i', CLI_BOOL, &x.interactive, NULL, "connect standard input"},
	        {"tty", 't', CLI_BOOL, &x.tty, NULL, "give it a terminal"},
	        {"detach", 'd', CLI_BOOL, &x.detach, NULL, "do not wait for its end"},
	        {"env", 'e', CLI_LIST, &x.env, "K[=V]", "environment variable; bare: from here"},
	        {"env-file", 0, CLI_LIST, &x.env_files, "FILE", "lines K=V"},
	        {"workdir", 'w', CLI_STR, &x.workdir, "DIR", "working directory"},
	        {"user", 'u', CLI_STR, &x.user, "USER", "user[:group], by name or number"},
	        {"privileged", 0, CLI_BOOL, &x.privileged, NULL,
	                "all capabilities, no filter of system calls"},
	        {"detach-keys", 0, CLI_ABSENT, NULL, NULL, NULL},
	        {0},
	};
	struct error err = ERROR_INIT;
	_cleanup_(cli_store_close) struct store *store = NULL;
	_cleanup_(container_freep) struct container *c = NULL;
	_cleanup_strv_ struct strv words = STRV_INIT;
	int code = 0, rc = cli_parse(argc, argv, options, true, &words, &err);
	if (rc > 0) {
		cli_help("exec", "[OPTIONS] CONTAINER COMMAND [ARG...]",
		        "Run one more command in a running container.", options,
		        "The exit code is the command's; 126 and 127: it cannot be executed or was "
		        "not\nfound.\n");
		goto out;
	}
	if (rc >= 0 && words.n < 2)
		rc = err_set(&err, ERR_USAGE, "a container and a command are expected");
	if (rc >= 0 && x.tty && x.interactive && !x.detach && !isatty(STDIN_FILENO)) {
		rc = err_set(&err, ERR_USAGE, "-t: standard input is not a terminal");
		(void)err_hint(&err, "leave -t away where no terminal is");
	}
	if (rc < 0) {
		code = cli_usage_error("exec", &err);
		goto out;
	}
	for (size_t i = 1; i < words.n; i++)
		strv_add(&x.command, words.v[i]);
	rc = cli_store(&store, &err);
	if (rc >= 0)
		rc = container_find(store, words.v[0], &c, &err);
	if (rc >= 0)
		rc = container_exec(c, &x, &code, &err);
	if (rc < 0) {
		int reported = cli_report(&err);
		code = code >= 126 ? code : reported == EXIT_USAGE ? EXIT_FAILED : reported;
	}
out:
	strv_release(&x.command);
	strv_release(&x.env);
	strv_release(&x.env_files);
	return code;
}

/* print_ports - docker's lines: 80/tcp -> 0.0.0.0:8080; for one port only what is behind ->. */
static bool print_ports(const struct container *c, const char *only)
{
	const char *key;
	json_t *list, *one;
	size_t i;
	bool any = false;
	_cleanup_free_ char *want = only && !strchr(only, '/') ? xasprintf("%s/tcp", only)
	                            : only                     ? xstrdup(only)
	                                                       : NULL;
	json_object_foreach(c->ports, key, list)
	{
		if (want && !str_eq(key, want))
			continue;
		json_array_foreach(list, i, one)
		{
			const char *ip = str_or_empty(json_get_str(one, "HostIp"));
			if (!want)
				printf("%s -> ", key);
			printf("%s:%s\n", *ip ? ip : "0.0.0.0",
			        str_or_empty(json_get_str(one, "HostPort")));
			any = true;
		}
	}
	return any;
}

int cmd_port(int argc, char **argv)
{
	static const struct cli_option options[] = {{0}};
	struct error err = ERROR_INIT;
	_cleanup_(cli_store_close) struct store *store = NULL;
	_cleanup_(container_freep) struct container *c = NULL;
	_cleanup_strv_ struct strv words = STRV_INIT;
	int rc = cli_parse(argc, argv, options, false, &words, &err);
	if (rc > 0) {
		cli_help("port", "CONTAINER [PORT[/udp]]", "Show where published ports are.",
		        options, NULL);
		return EXIT_OK;
	}
	if (rc >= 0 && (words.n == 0 || words.n > 2))
		rc = err_set(&err, ERR_USAGE, "a container and at most one port are expected");
	if (rc < 0)
		return cli_usage_error("port", &err);
	if (cli_store(&store, &err) < 0 || container_find(store, words.v[0], &c, &err) < 0)
		return cli_report(&err);
	if (!print_ports(c, words.n > 1 ? words.v[1] : NULL) && words.n > 1) {
		(void)err_set(&err, ERR_NOT_FOUND, "port %s of container %s is not published",
		        words.v[1], c->name);
		return cli_report(&err);
	}
	return EXIT_OK;
}
