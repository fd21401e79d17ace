/* cli/main.c - the commands by name. */
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/human.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "cli/cli.h"
#include "sandbox/sandbox.h"

static int cmd_image(int argc, char **argv);
static int cmd_debug_any(int argc, char **argv);
static int cmd_container(int argc, char **argv);

static const struct cli_command commands[] = {
        {"build", NULL, "Build an image from a Dockerfile", cmd_build},
        {"explain", NULL, "Say what a build would run, and why; run nothing", cmd_explain},
        {"images", NULL, "List images", cmd_images},
        {"run", NULL, "Run a command in a new container", cmd_run},
        {"create", NULL, "Make a container without starting it", cmd_create},
        {"start", NULL, "Start containers", cmd_start},
        {"ps", NULL, "List containers", cmd_ps},
        {"cp", NULL, "Copy files between a container and this machine", cmd_cp},
        {"logs", NULL, "Show what a container printed", cmd_logs},
        {"exec", NULL, "Run one more command in a running container", cmd_exec},
        {"port", NULL, "Show where published ports are", cmd_port},
        {"stop", NULL, "Ask containers to end", cmd_stop},
        {"restart", NULL, "Stop containers and start them again", cmd_restart},
        {"kill", NULL, "Send containers a signal", cmd_kill},
        {"wait", NULL, "Wait until containers have ended", cmd_wait},
        {"rm", NULL, "Remove containers", cmd_rm},
        {"diff", NULL, "What a container changed, or how two images differ", cmd_diff},
        {"commit", NULL, "Make an image of a container", cmd_commit},
        {"export", NULL, "Write a container's files as a tar", cmd_export},
        {"import", NULL, "Make an image of such a tar", cmd_import},
        {"pull", NULL, "Fetch an image from its registry", cmd_pull},
        {"push", NULL, "Send an image to its registry", cmd_push},
        {"login", NULL, "Log in to a registry", cmd_login},
        {"logout", NULL, "Forget the login to a registry", cmd_logout},
        {"registry", NULL, "What a registry holds: registry tags|referrers|rm", cmd_registry},
        {"save", NULL, "Write an image to a file", cmd_save},
        {"load", NULL, "Read images from a file", cmd_load},
        {"inspect", NULL, "Show an image's configuration", cmd_inspect},
        {"history", NULL, "Show the steps that made an image", cmd_history},
        {"sbom", NULL, "List the packages in an image, as SPDX", cmd_sbom},
        {"tag", NULL, "Give an image another name", cmd_tag},
        {"rmi", NULL, "Remove images", cmd_rmi},
        {"volume", NULL, "Named volumes: volume ls|create|rm|inspect|prune", cmd_volume},
        {"image", NULL, "docker's spelling: image ls|build|pull|push|save|load|...", cmd_image},
        {"container", NULL, "docker's spelling: container ls|run|cp|rm|...", cmd_container},
        {"du", NULL, "Show what the store takes on disk", cmd_du},
        {"prune", NULL, "Remove what is not in use from the store", cmd_prune},
        {"fsck", NULL, "Check every byte of the store", cmd_fsck},
        {"info", NULL, "Show what this machine offers and what is missing", cmd_info},
        {"debug", NULL, "shell: where a step failed; ast, expand, ignore: the parser",
                cmd_debug_any},
        {"version", NULL, "Show the version", cmd_version},
        /* Reached through image and container only. */
        {"image-inspect", NULL, NULL, cmd_inspect},
        {"container-inspect", NULL, NULL, cmd_inspect},
        {"image-prune", NULL, NULL, cmd_image_prune},
        {"container-prune", NULL, NULL, cmd_container_prune},
};

static void help(void)
{
	printf("Usage: strake COMMAND [OPTIONS]\n\n"
	       "Builds container images from Dockerfiles: no daemon, no root.\n\nCommands:\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands) && commands[i].summary; i++)
		printf("  %-9s %s\n", commands[i].name, commands[i].summary);
	printf("\nStart with:  strake build -t NAME .   then   strake run NAME\n"
	       "Each command explains itself: strake COMMAND --help\n\n"
	       "Environment:\n"
	       "  STRAKE_STORE   directory of the store (root: /var/lib/strake,\n"
	       "                 else ~/.local/share/strake)\n"
	       "  STRAKE_DEBUG   1: print what strake does\n");
}

/* Commands that docker has and strake has not, with the way round. */
static const struct {
	const char *name, *instead;
} absent[] = {
        {"attach", "strake logs -f shows what it prints; strake start -a attaches from the start"},
        {"pause", "strake kill -s STOP, if the command lets it"},
        {"unpause", "strake kill -s CONT"}, {"top", "strake exec CONTAINER ps"},
        {"stats", "systemd-cgtop shows processes by cgroup"},
        {"rename", "a container keeps its name: strake commit, or create it anew"},
        {"update", "limits are given when a container is made"},
        {"network", "containers share no network: publish ports with run -p, or use "
                    "--network=host"},
        {"compose", "strake runs single containers"},
        {"events", "strake ps shows what runs; strake wait waits for an end"},
        {"search", "the registry's web page can"}};

static int dispatch(int argc, char **argv)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (str_eq(commands[i].name, argv[0]))
			return commands[i].run(argc, argv);
	struct error err = ERROR_INIT;
	const char *names[ARRAY_SIZE(commands)];
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		names[i] = commands[i].name;
	for (size_t i = 0; i < ARRAY_SIZE(absent); i++)
		if (str_eq(absent[i].name, argv[0])) {
			(void)err_set(&err, ERR_USAGE, "strake has no command %s", argv[0]);
			(void)err_hint(&err, "%s", absent[i].instead);
			return cli_report(&err);
		}
	(void)err_set(&err, ERR_USAGE, "unknown command: %s", argv[0]);
	const char *near = human_nearest(argv[0], names, ARRAY_SIZE(names));
	if (near)
		(void)err_hint(&err, "did you mean strake %s?", near);
	else
		(void)err_hint(&err, "strake --help lists the commands");
	return cli_report(&err);
}

static int cmd_debug_any(int argc, char **argv)
{
	if (argc > 1 && str_eq(argv[1], "shell"))
		return cmd_debug_shell(argc - 1, argv + 1);
	return cmd_debug(argc, argv);
}

/* group - docker's two-word spelling: `image ls` is `images`. */
struct group_word {
	const char *sub, *command;
};

static int group(int argc, char **argv, const struct group_word *words, size_t n)
{
	for (size_t i = 0; argc > 1 && i < n; i++)
		if (str_eq(argv[1], words[i].sub)) {
			argv[1] = (char *)words[i].command;
			return dispatch(argc - 1, argv + 1);
		}
	struct error err = ERROR_INIT;
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	for (size_t i = 0; i < n; i++)
		strbuf_addf(&b, "%s%s", i ? ", " : "", words[i].sub);
	(void)err_set(&err, ERR_USAGE, "strake %s: one of %s is expected", argv[0], b.buf);
	return cli_report(&err);
}

static int cmd_image(int argc, char **argv)
{
	static const struct group_word words[] = {{"ls", "images"}, {"list", "images"},
	        {"build", "build"}, {"rm", "rmi"}, {"remove", "rmi"}, {"pull", "pull"},
	        {"push", "push"}, {"save", "save"}, {"load", "load"}, {"import", "import"},
	        {"inspect", "image-inspect"}, {"history", "history"}, {"tag", "tag"},
	        {"prune", "image-prune"}};
	return group(argc, argv, words, ARRAY_SIZE(words));
}

static int cmd_container(int argc, char **argv)
{
	static const struct group_word words[] = {{"ls", "ps"}, {"list", "ps"}, {"ps", "ps"},
	        {"run", "run"}, {"create", "create"}, {"start", "start"}, {"stop", "stop"},
	        {"restart", "restart"}, {"port", "port"}, {"kill", "kill"}, {"wait", "wait"},
	        {"logs", "logs"}, {"cp", "cp"}, {"rm", "rm"}, {"remove", "rm"}, {"exec", "exec"},
	        {"commit", "commit"}, {"export", "export"}, {"diff", "diff"},
	        {"inspect", "container-inspect"}, {"prune", "container-prune"}};
	return group(argc, argv, words, ARRAY_SIZE(words));
}

/* hold_std_fds - a closed descriptor 0-2 would be given to the next file we open, and that file to
 * whoever prints. */
static void hold_std_fds(void)
{
	for (int fd = 0; fd <= 2; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		/* Lower ones are taken by now, so this is the number we get. */
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (null >= 0)
			(void)fcntl(null, F_SETFD, 0);
	}
}

/* need_proc - files are reopened, mounted and labelled through /proc/self/fd; without it each of
 * them would fail for itself, as "no such file". */
static int need_proc(void)
{
	struct error err = ERROR_INIT;
	/* trusted-path: the kernel's own */
	if (access("/proc/self/fd", X_OK) == 0)
		return 0;
	(void)err_set(&err, ERR_SYSTEM, "/proc is not mounted here, and strake works through it");
	(void)err_hint(&err, "mount -t proc proc /proc (in a chroot: before chroot)");
	return cli_report(&err);
}

int main(int argc, char **argv)
{
	if (argc > 0 && str_eq(argv[0], SANDBOX_HELPER_ARGV0))
		return sandbox_helper_main(argc, argv);
	hold_std_fds();
	const char *debug = getenv("STRAKE_DEBUG");
	log_enabled = debug && *debug && !str_eq(debug, "0");
	signal(SIGPIPE, SIG_IGN);
#ifdef __GLIBC__
	/* Fixed: else each big array that is freed raises it, and the next ones live and grow in
	 * the heap, by copies, and stay there. A third less memory for a context of 50,000 files.
	 */
	(void)mallopt(M_MMAP_THRESHOLD, 128 << 10);
#endif
	int i = 1;
	for (; i < argc; i++) {
		if (str_eq(argv[i], "--store") && i + 1 < argc)
			cli_store_root = argv[++i];
		else if (str_starts(argv[i], "--store="))
			cli_store_root = argv[i] + strlen("--store=");
		else if (str_eq(argv[i], "--debug") || str_eq(argv[i], "-D"))
			log_enabled = true;
		else
			break;
	}
	if (i >= argc || str_eq(argv[i], "--help") || str_eq(argv[i], "-h") ||
	        str_eq(argv[i], "help")) {
		help();
		return i >= argc ? EXIT_USAGE : EXIT_OK;
	}
	if (str_eq(argv[i], "--version") || str_eq(argv[i], "-v"))
		return cmd_version(1, argv + i);
	/* `buildx build` and `builder prune` are what scripts have. */
	if (str_eq(argv[i], "buildx") && i + 1 < argc && str_eq(argv[i + 1], "build"))
		i++;
	int rc = need_proc();
	if (rc != 0)
		return rc;
	rc = dispatch(argc - i, argv + i);
	if (fflush(stdout) != 0 && rc == 0)
		rc = EXIT_FAILED;
	return rc;
}
