/* cli/cli.h - what the commands share: error reports, exit codes, signals, the store. */
#ifndef STRAKE_CLI_CLI_H
#define STRAKE_CLI_CLI_H

#include "base/error.h"
#include "cli/options.h"
#include "store/store.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* cli_report - print the error and its hint to stderr, release it, return the exit code. */
int cli_report(struct error *err);
/* cli_usage_error - the same, with a pointer to --help. */
int cli_usage_error(const char *command, struct error *err);
/* cli_begin - what most commands begin with: options, --help, how many words there may be (max
 * SIZE_MAX: as many as there are; `expected` says what they are: "one container is"). False: all is
 * said, *ret_code is the exit code. */
struct cli_usage {
	const char *command, *usage, *summary, *epilogue;
	const char *expected;
	size_t min, max;
};
bool cli_begin(const struct cli_usage *u, const struct cli_option *options, int argc, char **argv,
        struct strv *words, int *ret_code) must_check;
/* cli_stop_seconds - the value of stop's -t: -1 where it was not given; "-1", for ever, is a long
 * time. */
int cli_stop_seconds(const char *text, int *ret, struct error *err) must_check;
/* cli_signals - INT, TERM and HUP set the flag below; a second one ends the process at once. */
void cli_signals(void);
extern volatile bool cli_interrupted;
extern volatile int cli_signal; /* which; 0: none */
/* cli_store - open the store of --root/STRAKE_STORE; its warnings are printed by cli_store_close.
 */
int cli_store(struct store **ret, struct error *err) must_check;
void cli_store_close(struct store **s);
extern const char *cli_store_root; /* --store */
/* cli_limit - bytes that builds keep the store below: STRAKE_KEEP, or the default; 0: no limit. */
int cli_limit(const struct store *s, uint64_t *ret, struct error *err) must_check;
/* cli_collect - after a build that ran something: prune the store to its limit. */
void cli_collect(struct store *s, uint64_t limit, bool quiet);
/* cli_enter - take the rights for changing trees in the store (removal, running). */
int cli_enter(struct store *s, struct error *err) must_check;
/* cli_canonical - "debian" -> "docker.io/library/debian:latest"; text that is no reference as is.
 */
char *cli_canonical(const char *name) must_check;
/* cli_find_image - by name, else by id. 1, or -1 with a cure if there is none. */
int cli_find_image(
        struct store *s, const char *name, struct store_image *ret, struct error *err) must_check;
/* cli_find_build - a row of the history by the beginning of its id; NULL, "latest": the last. */
int cli_find_build(
        struct store *s, const char *id, struct json_t **ret, struct error *err) must_check;
int cli_no_such_image(const char *name, struct error *err);
/* cli_child_code - reap a child of ours: its exit code. */
int cli_child_code(pid_t pid);
/* cli_ago - "3 minutes ago", as docker writes it. */
char *cli_ago(int64_t then, char *buf, size_t n);

int cmd_build(int argc, char **argv);
int cmd_builds(int argc, char **argv);
int cmd_debug_shell(int argc, char **argv);
int cmd_explain(int argc, char **argv);
int cmd_images(int argc, char **argv);
int cmd_rmi(int argc, char **argv);
int cmd_tag(int argc, char **argv);
int cmd_pull(int argc, char **argv);
int cmd_push(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_create(int argc, char **argv);
int cmd_start(int argc, char **argv);
int cmd_restart(int argc, char **argv);
int cmd_ps(int argc, char **argv);
int cmd_rm(int argc, char **argv);
int cmd_stop(int argc, char **argv);
int cmd_kill(int argc, char **argv);
int cmd_wait(int argc, char **argv);
int cmd_logs(int argc, char **argv);
int cmd_commit(int argc, char **argv);
int cmd_export(int argc, char **argv);
int cmd_import(int argc, char **argv);
int cmd_diff(int argc, char **argv);
int cmd_exec(int argc, char **argv);
int cmd_port(int argc, char **argv);
int cmd_container_prune(int argc, char **argv);
int cmd_image_prune(int argc, char **argv);
int cmd_volume(int argc, char **argv);
int cmd_cp(int argc, char **argv);
int cmd_prune(int argc, char **argv);
int cmd_du(int argc, char **argv);
int cmd_fsck(int argc, char **argv);
int cmd_history(int argc, char **argv);
int cmd_inspect(int argc, char **argv);
int cmd_sbom(int argc, char **argv);
int cmd_load(int argc, char **argv);
int cmd_login(int argc, char **argv);
int cmd_registry(int argc, char **argv);
int cmd_logout(int argc, char **argv);
int cmd_save(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_version(int argc, char **argv);
int cmd_debug(int argc, char **argv);

#endif
