/* cli/cmd_builds.c - strake history builds: the builds of this store, their steps, reasons, logs.
 */
#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "base/human.h"
#include "cli/explain.h"
#include "codec/json.h"
#include "sys/path.h"

#define ROW_MAX ((size_t)64 << 20)

struct builds {
	json_t **v; /* oldest first */
	size_t n;
};

static void builds_release(struct builds *b)
{
	for (size_t i = 0; i < b->n; i++)
		json_decref(b->v[i]);
	free(b->v);
}

static const char *field(const json_t *j, const char *key)
{
	return str_or_empty(json_get_str(j, key));
}

/* load - rows that do not read were torn by a crash, and are passed over. */
static int load(struct store *s, struct builds *ret, struct error *err)
{
	_cleanup_strv_ struct strv lines = STRV_INIT;
	if (store_builds(s, &lines, err) < 0)
		return -1;
	*ret = (struct builds){.v = new0(json_t *, lines.n + 1)};
	strv_foreach (l, &lines) {
		_cleanup_error_ struct error e = ERROR_INIT;
		json_t *j = json_parse(l, strlen(l), ROW_MAX, "history", &e);
		if (*field(j, "id"))
			ret->v[ret->n++] = j;
		else
			json_decref(j);
	}
	return 0;
}

int cli_find_build(struct store *s, const char *id, json_t **ret, struct error *err)
{
	struct builds b = {0};
	if (load(s, &b, err) < 0)
		return -1;
	json_t *found = NULL;
	size_t n = 0;
	bool latest = !id || str_eq(id, "latest") || str_eq(id, "last");
	for (size_t i = b.n; i-- > 0 && !(latest && found);)
		if (latest || str_starts(field(b.v[i], "id"), id)) {
			found = found ? found : b.v[i];
			n++;
		}
	int rc = 0;
	if (n > 1)
		rc = err_set(err, ERR_USAGE, "%s is the beginning of %zu builds' ids", id, n);
	else if (!found && latest)
		rc = err_set(err, ERR_NOT_FOUND, "no build is on record in %s", store_path(s));
	else if (!found)
		rc = err_set(err, ERR_NOT_FOUND, "no such build: %s", id);
	if (rc < 0 && !latest)
		(void)err_hint(err, "strake history builds lists them");
	if (rc == 0)
		*ret = json_incref(found);
	builds_release(&b);
	return rc;
}

/* --- printing -------------------------------------------------------------------------------- */

static const char *duration(int64_t ms, char *buf, size_t n)
{
	if (ms < 1000)
		snprintf(buf, n, "%lldms", (long long)ms);
	else if (ms < 60000)
		snprintf(buf, n, "%.1fs", (double)ms / 1000);
	else
		snprintf(buf, n, "%lldm%02llds", (long long)(ms / 60000),
		        (long long)(ms / 1000 % 60));
	return buf;
}

/* what - a name for the build: its tag, else its target, else its Dockerfile. */
static char *what(const json_t *b)
{
	const char *tag = json_string_value(json_array_get(json_get_array(b, "tags"), 0));
	const char *target = json_get_str(b, "target");
	const char *s = tag ? tag : field(b, "dockerfile");
	_cleanup_free_ char *safe = human_escape(s, strlen(s), false);
	_cleanup_free_ char *t = target ? human_escape(target, strlen(target), false) : NULL;
	return xasprintf("%s%s%s%s", safe, t ? " (" : "", t ? t : "", t ? ")" : "");
}

static void print_list(const struct builds *b, bool quiet)
{
	if (!quiet)
		printf("%-14s %-22s %8s  %-9s %6s %5s  %s\n", "BUILD", "STARTED", "TIME", "OUTCOME",
		        "CACHED", "RAN", "WHAT");
	for (size_t i = b->n; i-- > 0;) {
		const json_t *j = b->v[i];
		char ago[64], time[32];
		_cleanup_free_ char *w = what(j);
		if (quiet)
			printf("%s\n", field(j, "id"));
		else
			printf("%-14s %-22s %8s  %-9s %6lld %5lld  %s\n", field(j, "id"),
			        cli_ago(json_get_int(j, "started", 0) / 1000, ago, sizeof(ago)),
			        duration(json_get_int(j, "ms", 0), time, sizeof(time)),
			        field(j, "outcome"), (long long)json_get_int(j, "cached", 0),
			        (long long)json_get_int(j, "ran", 0), w);
	}
}

static void line(const char *label, const char *value)
{
	_cleanup_free_ char *safe = value ? human_escape(value, strlen(value), false) : NULL;
	if (safe && *safe)
		printf("%-12s %s\n", label, safe);
}

static void print_build(const json_t *b)
{
	char time[32], when[64] = "";
	struct tm tm;
	time_t t = (time_t)(json_get_int(b, "started", 0) / 1000);
	if (localtime_r(&t, &tm))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
	_cleanup_strv_ struct strv tags = STRV_INIT;
	(void)json_get_strv(b, "tags", &tags);
	_cleanup_free_ char *names = strv_join(&tags, " ");
	line("build", field(b, "id"));
	line("started", when);
	line("time", duration(json_get_int(b, "ms", 0), time, sizeof(time)));
	line("outcome", field(b, "outcome"));
	line("context", json_get_str(b, "context"));
	line("dockerfile", field(b, "dockerfile"));
	line("target", json_get_str(b, "target"));
	line("tags", names);
	line("image", json_get_str(b, "image"));
	line("error", json_get_str(b, "error"));
	printf("\n%4s %8s  %-9s %s\n", "STEP", "TIME", "VERDICT", "");
	const json_t *steps = json_get_array(b, "steps");
	for (size_t i = 0; i < json_array_size(steps); i++) {
		const json_t *s = json_array_get(steps, i);
		const char *name = field(s, "name"), *v = field(s, "verdict");
		_cleanup_free_ char *safe = human_escape(name, strlen(name), false);
		bool timed = json_get_int(s, "ms", -1) >= 0;
		printf("%4zu %8s  %-9s %s%s\n", i + 1,
		        timed ? duration(json_get_int(s, "ms", 0), time, sizeof(time)) : "",
		        str_eq(v, "done") ? "ran" : v, safe,
		        json_get_bool(s, "log", false) ? "  [log]" : "");
		explain_reasons(stdout, s, "                          ");
	}
}

/* print_log - what the step printed, byte for byte. */
static int print_log(struct store *store, const json_t *b, const char *step, struct error *err)
{
	const json_t *steps = json_get_array(b, "steps");
	char *end;
	errno = 0;
	long n = strtol(step, &end, 10);
	if (*end || errno || n < 1 || (size_t)n > json_array_size(steps)) {
		(void)err_set(err, ERR_USAGE,
		        "--log %s: the number of a step is expected, 1 to %zu", step,
		        json_array_size(steps));
		return err_hint(err, "strake history builds %s lists them", field(b, "id"));
	}
	const json_t *s = json_array_get(steps, (size_t)n - 1);
	if (!json_get_bool(s, "log", false))
		return err_set(err, ERR_NOT_FOUND, "step %s printed nothing: %s", step,
		        str_eq(field(s, "verdict"), "cached") ? "it was cached"
		                                              : field(s, "verdict"));
	char id[32];
	snprintf(id, sizeof(id), "%lld", (long long)json_get_int(s, "id", -1));
	_cleanup_close_ int fd = -1;
	if (store_log_read(store, field(b, "id"), id, &fd, err) < 0)
		return -1;
	char buf[32 << 10];
	ssize_t r;
	while ((r = read(fd, buf, sizeof(buf))) > 0)
		fwrite(buf, 1, (size_t)r, stdout);
	return r < 0 ? err_sys(err, errno, "reading the log of step %s", step) : 0;
}

static void print_json(const json_t *j)
{
	_cleanup_free_ char *text = json_pretty(j);
	printf("%s\n", text);
}

struct builds_args {
	const char *log, *format;
	bool quiet;
};

static int show(struct store *store, const struct builds_args *a, const struct strv *words,
        struct error *err)
{
	bool json = a->format && str_eq(a->format, "json");
	if (words->n || a->log) {
		_cleanup_json_ json_t *b = NULL;
		if (cli_find_build(store, words->n ? words->v[0] : NULL, &b, err) < 0)
			return -1;
		if (a->log)
			return print_log(store, b, a->log, err);
		if (json)
			print_json(b);
		else
			print_build(b);
		return 0;
	}
	struct builds b;
	if (load(store, &b, err) < 0)
		return -1;
	if (json) {
		_cleanup_json_ json_t *all = json_array();
		for (size_t i = b.n; i-- > 0;)
			json_array_append(all, b.v[i]);
		print_json(all);
	} else {
		print_list(&b, a->quiet);
	}
	builds_release(&b);
	return 0;
}

int cmd_builds(int argc, char **argv)
{
	struct builds_args a = {0};
	const struct cli_option options[] = {
	        {"log", 0, CLI_STR, &a.log, "STEP", "print all that the step printed"},
	        {"format", 0, CLI_STR, &a.format, "FMT", "text or json"},
	        {"quiet", 'q', CLI_BOOL, &a.quiet, NULL, "ids only"},
	        {0},
	};
	struct error err = ERROR_INIT;
	_cleanup_strv_ struct strv words = STRV_INIT;
	_cleanup_(cli_store_close) struct store *store = NULL;
	int rc = cli_parse(argc, argv, options, false, &words, &err);
	if (rc > 0) {
		cli_help("history builds", "[OPTIONS] [BUILD]",
		        "List the last builds; of one, show each step's time, whether it was "
		        "cached, "
		        "and why\nit ran.",
		        options,
		        "BUILD is an id, the beginning of one, or `latest`.\n\n"
		        "Examples:\n"
		        "  strake history builds\n"
		        "  strake history builds latest\n"
		        "  strake history builds latest --log 4\n");
		return EXIT_OK;
	}
	if (rc >= 0 && words.n > 1)
		rc = err_set(&err, ERR_USAGE, "one build is expected, %zu given", words.n);
	if (rc >= 0 && a.format && !str_eq(a.format, "json") && !str_eq(a.format, "text"))
		rc = err_set(&err, ERR_USAGE, "--format %s: text or json is expected", a.format);
	if (rc < 0)
		return cli_usage_error("history builds", &err);
	if (cli_store(&store, &err) < 0 || show(store, &a, &words, &err) < 0)
		return cli_report(&err);
	return EXIT_OK;
}
