/* cli/cmd_run.c - run, create and start: containers from the command line. */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "container/container.h"
#include "sys/path.h"

/* --- detaching ------------------------------------------------------------------------------- */

/* The supervisor of a detached container is a child of ours, forked before anything else is done;
 * we wait until it says that the command runs, or ends. */
struct detach {
	int ready;      /* the child's end */
	const char *id; /* printed when the command runs */
};

/* detach_fork - 0 in the child; in the parent the exit code + 1. */
static int detach_fork(struct detach *d, struct error *err)
{
	int p[2];
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(err, errno, "pipe");
	pid_t pid = fork();
	if (pid < 0)
		return err_sys(err, errno, "fork");
	if (pid == 0) {
		close(p[0]);
		d->ready = p[1];
		return 0;
	}
	close(p[1]);
	char c;
	ssize_t n;
	do
		n = read(p[0], &c, 1);
	while (n < 0 && errno == EINTR);
	close(p[0]);
	return n == 1 ? EXIT_OK + 1 : cli_child_code(pid) + 1;
}

/* detach_now - the command runs: say so and let go of the terminal. */
static void detach_now(void *ctx)
{
	struct detach *d = ctx;
	if (d->id)
		printf("%s\n", d->id);
	(void)fflush(stdout);
	/* Up to here ^C of the terminal has reached us. */
	(void)setsid();
	/* The directory it was started in may be unmounted meanwhile. */
	(void)!chdir("/");
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 0; null >= 0 && fd <= 2; fd++)
		(void)dup2(null, fd);
	close_ptr(&null);
	(void)!write(d->ready, "1", 1);
	close_ptr(&d->ready);
}

/* --- run and create -------------------------------------------------------------------------- */

struct run_args {
	struct container_spec spec;
	bool detach, sig_proxy, help;
	const char *cidfile;
};

static int parse_run(
        const char *command, int argc, char **argv, struct run_args *a, struct error *err)
{
	struct container_spec *s = &a->spec;
	bool no_healthcheck = false;
	const struct cli_option options[] = {
	        {"name", 0, CLI_STR, &s->name, "NAME", "how the container is called"},
	        {"rm", 0, CLI_BOOL, &s->auto_remove, NULL, "remove it when it ends"},
	        {"detach", 'd', CLI_BOOL, &a->detach, NULL,
	                "run in the background and print the id"},
	        {"interactive", 'i', CLI_BOOL, &s->interactive, NULL, "connect standard input"},
	        {"tty", 't', CLI_BOOL, &s->tty, NULL, "give it a terminal"},
	        {"env", 'e', CLI_LIST, &s->env, "K[=V]", "environment variable; bare: from here"},
	        {"env-file", 0, CLI_LIST, &s->env_files, "FILE", "lines K=V"},
	        {"workdir", 'w', CLI_STR, &s->workdir, "DIR", "working directory"},
	        {"user", 'u', CLI_STR, &s->user, "USER", "user[:group], by name or number"},
	        {"entrypoint", 0, CLI_STR, &s->entrypoint, "CMD",
	                "instead of the image's; \"\" for none"},
	        {"label", 'l', CLI_LIST, &s->labels, "K=V", "label of the container"},
	        {"label-file", 0, CLI_LIST, &s->label_files, "FILE", "lines K=V"},
	        {"Files", 0, CLI_HEADING, NULL, NULL, NULL},
	        {"volume", 'v', CLI_LIST, &s->volumes, "S:D[:ro]",
	                "S: a path of this machine or a volume's name"},
	        {"mount", 0, CLI_LIST, &s->mounts, "SPEC",
	                "type=bind|volume|tmpfs,source=...,target=...[,readonly]"},
	        {"tmpfs", 0, CLI_LIST, &s->tmpfs, "D[:OPT]", "an empty tmpfs; size=64m, mode=1777"},
	        {"read-only", 0, CLI_BOOL, &s->read_only, NULL, "read-only root file system"},
	        {"Network", 0, CLI_HEADING, NULL, NULL, NULL},
	        {"network", 0, CLI_STR, &s->network, "MODE", "default, none, host"},
	        {"net", 0, CLI_STR, &s->network, "MODE", "the same"},
	        {"publish", 'p', CLI_LIST, &s->publish, "[IP:]H:C",
	                "port H of this machine leads to C of the container"},
	        {"publish-all", 'P', CLI_BOOL, &s->publish_all, NULL,
	                "all exposed ports, to free ones here"},
	        {"expose", 0, CLI_LIST, &s->expose, "PORT", "note an open port"},
	        {"add-host", 0, CLI_LIST, &s->add_hosts, "H:IP", "line in /etc/hosts"},
	        {"hostname", 'h', CLI_STR, &s->hostname, "NAME", "host name inside"},
	        {"Limits", 0, CLI_HEADING, NULL, NULL, NULL},
	        {"memory", 'm', CLI_SIZE, &s->memory, "SIZE",
	                "memory, where cgroups are delegated"},
	        {"cpus", 0, CLI_STR, &s->cpus, "N", "processors, such as 1.5"},
	        {"pids-limit", 0, CLI_UINT, &s->pids_limit, "N", "processes"},
	        {"shm-size", 0, CLI_SIZE, &s->shm_size, "SIZE", "of /dev/shm (64m)"},
	        {"ulimit", 0, CLI_LIST, &s->ulimits, "L", "nofile=1024:2048"},
	        {"privileged", 0, CLI_BOOL, &s->privileged, NULL,
	                "all capabilities, no filter of system calls"},
	        {"Other", 0, CLI_HEADING, NULL, NULL, NULL},
	        {"init", 0, CLI_BOOL, &s->init, NULL,
	                "an init as pid 1 that reaps and passes signals on"},
	        {"stop-signal", 0, CLI_STR, &s->stop_signal, "SIG", "of strake stop (TERM)"},
	        {"stop-timeout", 0, CLI_UINT, &s->stop_timeout, "SEC", "until stop kills it (10)"},
	        {"sig-proxy", 0, CLI_BOOL, &a->sig_proxy, NULL,
	                "pass signals on (default; --sig-proxy=false)"},
	        {"cidfile", 0, CLI_STR, &a->cidfile, "FILE", "write the id there"},
	        {"platform", 0, CLI_STR, &s->platform, "P", "platform of a multi-platform image"},
	        {"pull", 0, CLI_STR, &s->pull, "WHEN", "missing (default), always, never"},
	        {"quiet", 'q', CLI_BOOL, &s->quiet, NULL, "no progress of a pull"},
	        {"no-healthcheck", 0, CLI_BOOL, &no_healthcheck, NULL,
	                "always so: health checks are not run"},
	        {"restart", 0, CLI_ABSENT, NULL, NULL,
	                "nothing runs in the background to restart it: a systemd unit with "
	                "Restart= can"},
	        {"cap-add", 0, CLI_ABSENT, NULL, NULL, "a container has docker's default set"},
	        {"cap-drop", 0, CLI_ABSENT, NULL, NULL, "a container has docker's default set"},
	        {"security-opt", 0, CLI_ABSENT, NULL, NULL, "docker's default profile applies"},
	        {"device", 0, CLI_ABSENT, NULL, NULL, NULL},
	        {"link", 0, CLI_ABSENT, NULL, NULL, "publish a port with -p instead"},
	        {"network-alias", 0, CLI_ABSENT, NULL, NULL, "containers share no network"},
	        {"ip", 0, CLI_ABSENT, NULL, NULL, "containers have no addresses of their own"},
	        {"dns", 0, CLI_ABSENT, NULL, NULL, "the host's resolver is used"},
	        {"pid", 0, CLI_ABSENT, NULL, NULL, NULL},
	        {"ipc", 0, CLI_ABSENT, NULL, NULL, NULL},
	        {"userns", 0, CLI_ABSENT, NULL, NULL, NULL},
	        {"group-add", 0, CLI_ABSENT, NULL, NULL, "use -u USER:GROUP"},
	        {"gpus", 0, CLI_ABSENT, NULL, NULL, NULL},
	        {"volumes-from", 0, CLI_ABSENT, NULL, NULL, "name the volume: -v NAME:/DIR"},
	        {"detach-keys", 0, CLI_ABSENT, NULL, NULL,
	                "a container that was started with a terminal ends with it"},
	        {"log-driver", 0, CLI_ABSENT, NULL, NULL, "the log is a JSON file"},
	        {0},
	};
	_cleanup_strv_ struct strv words = STRV_INIT;
	a->sig_proxy = true;
	int rc = cli_parse(argc, argv, options, true, &words, err);
	if (rc > 0) {
		bool run = str_eq(command, "run");
		cli_help(command, "[OPTIONS] IMAGE [COMMAND ARG...]",
		        run ? "Run a command in a new container."
		            : "Make a container, to be started or copied from later; print its id.",
		        options,
		        run ? "The exit code is the command's; 125: strake failed, 126 and 127: "
		              "the "
		              "command\ncannot be executed or was not found.\n"
		            : NULL);
		a->help = true;
		return 0;
	}
	if (rc >= 0 && words.n == 0)
		rc = err_set(err, ERR_USAGE, "an image is expected");
	if (rc >= 0 && s->pull && !str_eq(s->pull, "missing") && !str_eq(s->pull, "always") &&
	        !str_eq(s->pull, "never"))
		rc = err_set(
		        err, ERR_USAGE, "--pull %s: missing, always or never is expected", s->pull);
	if (rc >= 0 && s->stop_signal && !container_signal_number(s->stop_signal))
		rc = err_set(err, ERR_USAGE, "--stop-signal %s: no such signal", s->stop_signal);
	if (rc < 0)
		return -1;
	/* argv outlives all this; the words do not. */
	s->image = argv[argc - (int)words.n];
	for (size_t i = 1; i < words.n; i++)
		strv_add(&s->command, words.v[i]);
	return 0;
}

static int write_cidfile(const char *path, const char *id, struct error *err)
{
	/* trusted-path: --cidfile */
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	int r = fd < 0 ? -errno : sys_write_all(fd, id, strlen(id));
	return r < 0 ? err_sys(err, r, "--cidfile %s", path) : 0;
}

static int create(struct store *store, struct run_args *a, char **ret_id, struct error *err)
{
	a->spec.interrupted = &cli_interrupted;
	/* Before an image is fetched for nothing. */
	if (a->cidfile && faccessat(AT_FDCWD, a->cidfile, F_OK, 0) == 0)
		return err_set(err, ERR_USAGE, "--cidfile %s: the file exists", a->cidfile);
	if (container_create(store, &a->spec, ret_id, err) < 0)
		return -1;
	return a->cidfile ? write_cidfile(a->cidfile, *ret_id, err) : 0;
}

int cmd_create(int argc, char **argv)
{
	struct run_args a = {0};
	struct error err = ERROR_INIT;
	_cleanup_(cli_store_close) struct store *store = NULL;
	_cleanup_free_ char *id = NULL;
	int code = EXIT_OK;
	int rc = parse_run("create", argc, argv, &a, &err);
	if (rc >= 0 && !a.help && a.detach)
		rc = err_set(&err, ERR_USAGE, "-d: create starts nothing");
	if (rc < 0) {
		code = cli_usage_error("create", &err);
	} else if (!a.help) {
		cli_signals();
		if (cli_store(&store, &err) < 0 || create(store, &a, &id, &err) < 0)
			code = cli_report(&err);
		else
			printf("%s\n", id);
	}
	container_spec_release(&a.spec);
	return code;
}

/* failed - docker's: 125 is the tool's own failure, 126 and 127 a command that cannot run. */
static int failed(struct error *err, int exit_code)
{
	int code = cli_report(err);
	if (exit_code == 126 || exit_code == 127)
		return exit_code;
	return code == EXIT_FAILED || code == EXIT_USAGE ? 125 : code;
}

static int run(struct store *store, struct run_args *a, struct detach *d, struct error *err)
{
	_cleanup_free_ char *id = NULL;
	int exit_code = 0;
	if (create(store, a, &id, err) < 0)
		return failed(err, 125);
	d->id = id;
	struct container_run_options o = {.attach = !a->detach,
	        .interactive = !a->detach && a->spec.interactive,
	        .sig_proxy = a->sig_proxy,
	        .started = a->detach ? detach_now : NULL,
	        .ctx = d,
	        .interrupted = &cli_interrupted};
	int code = container_start(store, id, &o, &exit_code, err) < 0 ? failed(err, exit_code)
	                                                               : exit_code;
	if (a->spec.auto_remove) {
		/* It does so itself, unless it never came so far. */
		_cleanup_error_ struct error ignored = ERROR_INIT;
		(void)!container_remove(store, id, true, NULL, &ignored);
	}
	return code;
}

int cmd_run(int argc, char **argv)
{
	struct run_args a = {0};
	struct detach d = {.ready = -1};
	struct error err = ERROR_INIT;
	_cleanup_(cli_store_close) struct store *store = NULL;
	int rc = parse_run("run", argc, argv, &a, &err);
	int code = EXIT_OK;
	if (a.help)
		goto out;
	if (rc >= 0 && a.spec.tty && a.spec.interactive && !a.detach && !isatty(STDIN_FILENO)) {
		rc = err_set(&err, ERR_USAGE, "-t: standard input is not a terminal");
		(void)err_hint(&err, "leave -t away where no terminal is");
	}
	if (rc < 0) {
		code = cli_usage_error("run", &err);
		goto out;
	}
	if (a.detach) {
		rc = detach_fork(&d, &err);
		if (rc != 0) {
			code = rc < 0 ? failed(&err, 125) : rc - 1;
			goto out;
		}
	}
	cli_signals();
	code = cli_store(&store, &err) < 0 ? failed(&err, 125) : run(store, &a, &d, &err);
out:
	close_ptr(&d.ready);
	container_spec_release(&a.spec);
	return code;
}

/* --- start ----------------------------------------------------------------------------------- */

struct start_args {
	bool attach, interactive, sig_proxy;
};

static int start_one(const char *name, const struct start_args *a, struct error *err)
{
	_cleanup_(cli_store_close) struct store *store = NULL;
	_cleanup_(container_freep) struct container *c = NULL;
	struct detach d = {.ready = -1, .id = name};
	bool attach = a->attach || a->interactive;
	if (!attach) {
		int rc = detach_fork(&d, err);
		if (rc != 0)
			return rc < 0 ? cli_report(err) : rc - 1;
	}
	int exit_code = 0;
	cli_signals();
	int code = EXIT_FAILED;
	if (cli_store(&store, err) < 0 || container_find(store, name, &c, err) < 0) {
		code = cli_report(err);
	} else if (c->status == CONTAINER_RUNNING && !attach) {
		printf("%s\n", name); /* as docker: starting what runs is fine */
		code = EXIT_OK;
	} else {
		struct container_run_options o = {.attach = attach,
		        .interactive = a->interactive,
		        .sig_proxy = a->sig_proxy,
		        .started = attach ? NULL : detach_now,
		        .ctx = &d,
		        .interrupted = &cli_interrupted};
		code = container_start(store, c->id, &o, &exit_code, err) < 0
		               ? failed(err, exit_code)
		               : exit_code;
		if (!attach && code > 125)
			code = EXIT_FAILED;
	}
	if (!attach) {
		/* The child: its exit code is the parent's answer. */
		cli_store_close(&store);
		(void)fflush(stdout);
		_exit(code);
	}
	return code;
}

int cmd_start(int argc, char **argv)
{
	struct start_args a = {.sig_proxy = true};
	const struct cli_option options[] = {
	        {"attach", 'a', CLI_BOOL, &a.attach, NULL,
	                "stay until it ends; its output and exit code are ours"},
	        {"interactive", 'i', CLI_BOOL, &a.interactive, NULL,
	                "connect standard input too (implies -a)"},
	        {"sig-proxy", 0, CLI_BOOL, &a.sig_proxy, NULL, "pass signals on (default)"},
	        {0},
	};
	struct error err = ERROR_INIT;
	_cleanup_strv_ struct strv words = STRV_INIT;
	static const struct cli_usage usage = {.command = "start",
	        .usage = "[OPTIONS] CONTAINER...",
	        .summary = "Start containers.",
	        .expected = "a container is",
	        .min = 1,
	        .max = SIZE_MAX};
	int code;
	if (!cli_begin(&usage, options, argc, argv, &words, &code))
		return code;
	if (words.n > 1 && (a.attach || a.interactive)) {
		(void)err_set(&err, ERR_USAGE, "one container at a time can be attached to");
		return cli_usage_error("start", &err);
	}
	code = EXIT_OK;
	for (size_t i = 0; i < words.n; i++) {
		int one = start_one(words.v[i], &a, &err);
		code = one ? one : code;
	}
	return code;
}

/* stop_for_restart - in a process of its own store handle, as start_one forks. */
static int stop_for_restart(const char *name, int seconds, struct error *err)
{
	_cleanup_(cli_store_close) struct store *store = NULL;
	_cleanup_(container_freep) struct container *c = NULL;
	if (cli_store(&store, err) < 0 || container_find(store, name, &c, err) < 0)
		return -1;
	return c->status == CONTAINER_RUNNING ? container_stop(c, seconds, err) : 0;
}

int cmd_restart(int argc, char **argv)
{
	static const struct start_args a = {.sig_proxy = true};
	const char *text = NULL;
	const struct cli_option options[] = {
	        {"time", 't', CLI_STR, &text, "SEC", "until it is killed (10; -1: never)"},
	        {"timeout", 0, CLI_STR, &text, "SEC", "the same"},
	        {0},
	};
	static const struct cli_usage usage = {.command = "restart",
	        .usage = "[OPTIONS] CONTAINER...",
	        .summary = "Stop containers and start them again, in the background.",
	        .expected = "a container is",
	        .min = 1,
	        .max = SIZE_MAX};
	struct error err = ERROR_INIT;
	_cleanup_strv_ struct strv words = STRV_INIT;
	int code, seconds;
	if (!cli_begin(&usage, options, argc, argv, &words, &code))
		return code;
	if (cli_stop_seconds(text, &seconds, &err) < 0)
		return cli_usage_error("restart", &err);
	code = EXIT_OK;
	for (size_t i = 0; i < words.n; i++) {
		int one = stop_for_restart(words.v[i], seconds, &err) < 0
		                  ? cli_report(&err)
		                  : start_one(words.v[i], &a, &err);
		code = one ? one : code;
	}
	return code;
}
