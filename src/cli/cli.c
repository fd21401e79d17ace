/* cli/cli.c - see cli.h. */
#include "cli/cli.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>

#include "base/human.h"
#include "sys/privilege.h"

volatile bool cli_interrupted;
volatile int cli_signal;
const char *cli_store_root;

int cli_report(struct error *err)
{
	_cleanup_free_ char *msg =
	        human_escape(str_or_empty(err->msg), strlen(str_or_empty(err->msg)), true);
	if (err->file && err->line > 0 && err->column > 0)
		fprintf(stderr, "ERROR: %s:%d:%d: %s\n", err->file, err->line, err->column, msg);
	else if (err->file && err->line > 0)
		fprintf(stderr, "ERROR: %s:%d: %s\n", err->file, err->line, msg);
	else
		fprintf(stderr, "ERROR: %s\n", msg);
	if (err->hint) {
		_cleanup_free_ char *hint = human_escape(err->hint, strlen(err->hint), true);
		fprintf(stderr, "hint: %s\n", hint);
	}
	int code = err->class == ERR_USAGE ? EXIT_USAGE : EXIT_FAILED;
	if (err->class == ERR_CANCELLED && cli_signal)
		code = 128 + cli_signal;
	error_release(err);
	return code;
}

int cli_usage_error(const char *command, struct error *err)
{
	(void)err_hint(err, "see strake %s --help", command);
	return cli_report(err);
}

bool cli_begin(const struct cli_usage *u, const struct cli_option *options, int argc, char **argv,
        struct strv *words, int *ret_code)
{
	_cleanup_error_ struct error err = ERROR_INIT;
	int rc = cli_parse(argc, argv, options, false, words, &err);
	if (rc > 0) {
		cli_help(u->command, u->usage, u->summary, options, u->epilogue);
		*ret_code = EXIT_OK;
		return false;
	}
	if (rc >= 0 && (words->n < u->min || words->n > u->max))
		rc = err_set(&err, ERR_USAGE, "%s expected", u->expected);
	if (rc < 0)
		*ret_code = cli_usage_error(u->command, &err);
	return rc >= 0;
}

#define LONG_TIME 1000000

int cli_stop_seconds(const char *text, int *ret, struct error *err)
{
	char *end = NULL;
	long n = text ? strtol(text, &end, 10) : -1;
	if (text && (*end || end == text || n < -1 || n > LONG_TIME))
		return err_set(err, ERR_USAGE, "-t %s: seconds are expected", text);
	*ret = text && n < 0 ? LONG_TIME : (int)n;
	return 0;
}

static void on_signal(int sig)
{
	if (cli_interrupted)
		_exit(128 + sig); /* steps die with us (PDEATHSIG), staging is swept at the next
		                     start */
	cli_signal = sig;
	cli_interrupted = true;
}

void cli_signals(void)
{
	struct sigaction sa = {.sa_handler = on_signal};
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
}

int cli_store(struct store **ret, struct error *err)
{
	_cleanup_free_ char *def = NULL;
	if (!cli_store_root) {
		def = store_default_path(err);
		if (!def)
			return -1;
	}
	return store_open(cli_store_root ? cli_store_root : def, ret, err);
}

void cli_store_close(struct store **s)
{
	if (!*s)
		return;
	struct strv w = STRV_INIT;
	store_warnings(*s, &w);
	for (size_t i = 0; i < w.n; i++)
		fprintf(stderr, "WARNING: %s\n", w.v[i]);
	strv_release(&w);
	store_free(*s);
	*s = NULL;
}

int cli_enter(struct store *s, struct error *err)
{
	struct sys_privilege_info info = {0};
	if (sys_privilege_entered())
		return 0;
	if (sys_privilege_probe(&info, err) < 0)
		return -1;
	int rc;
	if (info.mode == SYS_PRIV_NONE) {
		rc = store_check_owners(s, err);
	} else {
		rc = sys_privilege_enter(&info, err);
		if (rc >= 0)
			rc = store_reattach(s, err);
	}
	sys_privilege_info_release(&info);
	return rc;
}

int cli_child_code(pid_t pid)
{
	int status = 0;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

char *cli_ago(int64_t then, char *buf, size_t n)
{
	static const struct {
		int64_t limit, unit;
		const char *name;
	} steps[] = {{60, 1, "second"}, {3600, 60, "minute"}, {48 * 3600, 3600, "hour"},
	        {14 * 86400, 86400, "day"}, {60LL * 86400, 7 * 86400, "week"},
	        {730LL * 86400, 30 * 86400, "month"}, {INT64_MAX, 365 * 86400, "year"}};
	int64_t d = (int64_t)time(NULL) - then;
	if (then <= 0)
		return snprintf(buf, n, "N/A"), buf;
	if (d < 1)
		return snprintf(buf, n, "Less than a second ago"), buf;
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		if (d >= steps[i].limit)
			continue;
		int64_t k = d / steps[i].unit;
		if (k == 1 && steps[i].unit == 60)
			return snprintf(buf, n, "About a minute ago"), buf;
		if (k == 1 && steps[i].unit == 3600)
			return snprintf(buf, n, "About an hour ago"), buf;
		snprintf(buf, n, "%lld %s%s ago", (long long)k, steps[i].name, k == 1 ? "" : "s");
		return buf;
	}
	return buf;
}

int cli_no_such_image(const char *name, struct error *err)
{
	(void)err_set(err, ERR_NOT_FOUND, "no such image: %s", name);
	return err_hint(err, "strake images lists what is here");
}

char *cli_canonical(const char *name)
{
	struct oci_ref ref = {0};
	struct error err = ERROR_INIT;
	char *s = oci_ref_parse(name, &ref, &err) >= 0 ? oci_ref_string(&ref) : xstrdup(name);
	oci_ref_release(&ref);
	error_release(&err);
	return s;
}

int cli_find_image(struct store *s, const char *name, struct store_image *ret, struct error *err)
{
	_cleanup_free_ char *full = cli_canonical(name);
	int rc = store_image_find(s, full, NULL, ret, err);
	if (rc == 0)
		rc = store_image_find(s, name, NULL, ret, err);
	return rc == 0 ? cli_no_such_image(name, err) : rc;
}
