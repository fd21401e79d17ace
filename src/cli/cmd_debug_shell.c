/* cli/cmd_debug_shell.c - strake debug shell: where a RUN step failed, later. */
#include "cli/cli.h"

#include <stdio.h>

#include "base/human.h"
#include "build/build.h"
#include "codec/json.h"

static const json_t *failed_step(const json_t *b)
{
	const json_t *steps = json_get_array(b, "steps");
	for (size_t i = 0; i < json_array_size(steps); i++)
		if (json_get_obj(json_array_get(steps, i), "debug"))
			return json_array_get(steps, i);
	return NULL;
}

/* find - the build asked for, or the last one that has a step to look into. */
static int find(struct store *store, const char *id, json_t **ret, struct error *err)
{
	if (id && !str_eq(id, "latest"))
		return cli_find_build(store, id, ret, err);
	_cleanup_strv_ struct strv lines = STRV_INIT;
	if (store_builds(store, &lines, err) < 0)
		return -1;
	for (size_t i = lines.n; i-- > 0;) {
		_cleanup_error_ struct error e = ERROR_INIT;
		_cleanup_json_ json_t *j =
		        json_parse(lines.v[i], strlen(lines.v[i]), (size_t)64 << 20, "history", &e);
		if (failed_step(j)) {
			*ret = json_incref(j);
			return 0;
		}
	}
	return err_set(err, ERR_NOT_FOUND, "no build on record has a RUN step that failed");
}

static void say(const json_t *b, const json_t *step)
{
	const json_t *debug = json_get_obj(step, "debug");
	const char *name = str_or_empty(json_get_str(step, "name"));
	_cleanup_free_ char *safe = human_escape(name, strlen(name), false);
	fprintf(stderr, "build %s, before %s\n", str_or_empty(json_get_str(b, "id")), safe);
	const json_t *mounts = json_get_array(debug, "mounts");
	for (size_t i = 0; i < json_array_size(mounts); i++) {
		const json_t *m = json_array_get(mounts, i);
		const char *type = str_or_empty(json_get_str(m, "type"));
		const char *id = str_or_empty(json_get_str(m, "id"));
		_cleanup_free_ char *safe_id = human_escape(id, strlen(id), false);
		if (str_eq(type, "secret") || str_eq(type, "ssh"))
			fprintf(stderr, "not there: %s %s (build with --on-error=shell has it)\n",
			        type, safe_id);
	}
}

int cmd_debug_shell(int argc, char **argv)
{
	static const struct cli_option options[] = {{0}};
	struct debug_shell_options o = {.interrupted = &cli_interrupted, .signal = &cli_signal};
	struct error err = ERROR_INIT;
	_cleanup_strv_ struct strv words = STRV_INIT;
	_cleanup_json_ json_t *b = NULL;
	_cleanup_(cli_store_close) struct store *store = NULL;
	int code = 0;
	int rc = cli_parse(argc, argv, options, true, &words, &err);
	if (rc > 0) {
		cli_help("debug shell", "[BUILD [COMMAND ARG...]]",
		        "Open a shell, or run a command, in the state that a failed RUN step "
		        "started "
		        "from.",
		        options,
		        "BUILD is an id of strake history builds; default: the last that failed.\n"
		        "Environment, user, directory, network, bind, cache and tmpfs mounts are "
		        "the "
		        "step's;\nsecrets and ssh agents are not kept. Changes are thrown away, "
		        "but "
		        "for those in cache\nmounts.\n\n"
		        "To see what the failed step left behind: strake build --on-error=shell "
		        "...\n");
		return EXIT_OK;
	}
	if (rc < 0)
		return cli_usage_error("debug shell", &err);
	for (size_t i = 1; i < words.n; i++)
		strv_add(&o.command, words.v[i]);
	cli_signals();
	rc = cli_store(&store, &err);
	if (rc >= 0)
		rc = find(store, words.n ? words.v[0] : NULL, &b, &err);
	const json_t *step = rc >= 0 ? failed_step(b) : NULL;
	if (rc >= 0 && !step)
		rc = err_set(&err, ERR_NOT_FOUND, "build %s has no RUN step that failed",
		        str_or_empty(json_get_str(b, "id")));
	if (rc >= 0) {
		say(b, step);
		rc = build_debug_shell(store, json_get_obj(step, "debug"), &o, &code, &err);
	}
	strv_release(&o.command);
	return rc < 0 ? cli_report(&err) : code;
}
