/* cli/cmd_container.c - ps, rm, stop, kill, wait, logs: what is done to containers that are there.
 */
#include "cli/cli.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "base/human.h"
#include "cli/template.h"
#include "container/container.h"

/* --- ps -------------------------------------------------------------------------------------- */

struct ps_args {
	bool all, quiet, no_trunc, latest;
	unsigned last;
	struct strv filters;
	const char *format;
};

static char *command_of(const struct container *c, bool full)
{
	_cleanup_strv_ struct strv words = STRV_INIT;
	strv_add(&words, str_or_empty(json_get_str(c->config, "Path")));
	(void)json_get_strv(c->config, "Args", &words);
	_cleanup_free_ char *text = strv_join(&words, " ");
	if (!full && strlen(text) > 20)
		return xasprintf("\"%.19s\xe2\x80\xa6\"", text);
	return xasprintf("\"%s\"", text);
}

/* duration - "3 minutes", without the "ago" of cli_ago. */
static char *duration(int64_t from, int64_t to)
{
	char buf[64];
	char *s = xstrdup(cli_ago((int64_t)time(NULL) - MAX(to - from, 1), buf, sizeof(buf)));
	if (str_ends(s, " ago"))
		s[strlen(s) - 4] = '\0';
	return s;
}

static char *status_of(const struct container *c)
{
	char ago[64];
	if (c->status == CONTAINER_CREATED)
		return xstrdup("Created");
	if (c->status == CONTAINER_EXITED)
		return xasprintf("Exited (%d) %s", c->exit_code,
		        cli_ago(MIN(c->finished, (int64_t)time(NULL) - 1), ago, sizeof(ago)));
	_cleanup_free_ char *up = duration(c->started, (int64_t)time(NULL));
	return xasprintf("Up %s", up);
}

static char *ports_of(const struct container *c)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	json_t *config = json_get_obj(c->config, "Config");
	json_t *bound = c->ports;
	const char *key;
	json_t *value;
	if (c->status != CONTAINER_RUNNING)
		return xstrdup("");
	json_object_foreach(json_get_obj(config, "ExposedPorts"), key, value)
	{
		json_t *list = json_get_array(bound, key), *one;
		size_t i;
		if (!json_array_size(list))
			strbuf_addf(&b, "%s%s", b.len ? ", " : "", key);
		json_array_foreach(list, i, one)
		{
			const char *ip = str_or_empty(json_get_str(one, "HostIp"));
			strbuf_addf(&b, "%s%s:%s->%s", b.len ? ", " : "", *ip ? ip : "0.0.0.0",
			        str_or_empty(json_get_str(one, "HostPort")), key);
		}
	}
	return strbuf_detach(&b);
}

static bool label_matches(const json_t *labels, const char *want)
{
	const char *eq = strchr(want, '=');
	_cleanup_free_ char *key = eq ? xstrndup(want, (size_t)(eq - want)) : xstrdup(want);
	const char *have = json_get_str(labels, key);
	return have && (!eq || str_eq(have, eq + 1));
}

/* ancestor_matches - the image as it was named, or its id. */
static bool ancestor_matches(const struct container *c, const char *want)
{
	const char *name = str_or_empty(json_get_str(json_get_obj(c->config, "Config"), "Image"));
	const char *id = str_or_empty(json_get_str(c->config, "Image"));
	_cleanup_free_ char *a = cli_canonical(name), *b = cli_canonical(want);
	return str_eq(a, b) || str_eq(id, want) ||
	       (strlen(want) >= 4 && str_starts(id + strlen("sha256:"), want));
}

static bool one_filter(const struct container *c, const char *key, const char *value)
{
	if (str_eq(key, "name"))
		return strstr(c->name, value) != NULL;
	if (str_eq(key, "id"))
		return str_starts(c->id, value);
	if (str_eq(key, "status"))
		return str_eq(container_status_name(c->status), value);
	if (str_eq(key, "exited"))
		return c->status == CONTAINER_EXITED && c->exit_code == atoi(value);
	if (str_eq(key, "label"))
		return label_matches(
		        json_get_obj(json_get_obj(c->config, "Config"), "Labels"), value);
	return ancestor_matches(c, value);
}

/* shown - values of one key are alternatives, keys are conditions; labels must all be there. */
static bool shown(const struct container *c, const struct strv *filters)
{
	for (size_t i = 0; i < filters->n; i++) {
		size_t n = strcspn(filters->v[i], "=");
		_cleanup_free_ char *key = xstrndup(filters->v[i], n);
		bool any = one_filter(c, key, filters->v[i] + n + 1);
		for (size_t k = 0; k < filters->n && !any && !str_eq(key, "label"); k++)
			any = strncmp(filters->v[k], filters->v[i], n + 1) == 0 &&
			      one_filter(c, key, filters->v[k] + n + 1);
		if (!any)
			return false;
	}
	return true;
}

static int check_filters(const struct strv *filters, bool *ret_all, struct error *err)
{
	static const char *const known[] = {
	        "name=", "id=", "status=", "exited=", "label=", "ancestor="};
	for (size_t i = 0; i < filters->n; i++) {
		bool good = false;
		for (size_t k = 0; k < ARRAY_SIZE(known); k++)
			good |= str_starts(filters->v[i], known[k]);
		if (!good)
			return err_set(err, ERR_USAGE,
			        "--filter %s: name, id, status, exited, label or ancestor is "
			        "expected",
			        filters->v[i]);
		*ret_all |= str_starts(filters->v[i], "status=") ||
		            str_starts(filters->v[i], "exited=");
	}
	return 0;
}

static char *labels_of(const json_t *labels)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	const char *key;
	json_t *v;
	json_object_foreach((json_t *)labels, key, v)
	{
		strbuf_addf(
		        &b, "%s%s=%s", b.len ? "," : "", key, str_or_empty(json_string_value(v)));
	}
	return strbuf_detach(&b);
}

static char *mounts_of(const struct container *c)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	size_t i;
	json_t *m;
	json_array_foreach(json_get_array(c->config, "Mounts"), i, m)
	{
		const char *name = json_get_str(m, "Name");
		strbuf_addf(&b, "%s%s", b.len ? "," : "",
		        name ? name : str_or_empty(json_get_str(m, "Source")));
	}
	return strbuf_detach(&b);
}

static json_t *row_of(const struct container *c, bool full)
{
	char ago[64], at[64];
	time_t t = (time_t)c->created;
	struct tm tm;
	json_t *config = json_get_obj(c->config, "Config"), *j = json_object();
	_cleanup_free_ char *id = full ? xstrdup(c->id) : xstrndup(c->id, 12);
	_cleanup_free_ char *command = command_of(c, full), *status = status_of(c);
	_cleanup_free_ char *ports = ports_of(c), *mounts = mounts_of(c);
	_cleanup_free_ char *labels = labels_of(json_get_obj(config, "Labels"));
	const char *net =
	        str_or_empty(json_get_str(json_get_obj(c->config, "HostConfig"), "NetworkMode"));
	gmtime_r(&t, &tm);
	strftime(at, sizeof(at), "%Y-%m-%d %H:%M:%S +0000 UTC", &tm);
	cli_ago(MIN(c->created, (int64_t)time(NULL) - 1), ago, sizeof(ago));
	json_object_set_new(j, "Command", json_str(command));
	json_object_set_new(j, "CreatedAt", json_string(at));
	json_object_set_new(j, "ID", json_str(id));
	json_object_set_new(j, "Image", json_str(str_or_empty(json_get_str(config, "Image"))));
	json_object_set(j, "Label", json_get_obj(config, "Labels"));
	json_object_set_new(j, "Labels", json_str(labels));
	json_object_set_new(j, "LocalVolumes",
	        json_integer((json_int_t)json_array_size(json_get_array(c->config, "Mounts"))));
	json_object_set_new(j, "Mounts", json_str(mounts));
	json_object_set_new(j, "Names", json_str(c->name));
	json_object_set_new(j, "Networks", json_str(net));
	json_object_set_new(j, "Ports", json_str(ports));
	json_object_set_new(j, "RunningFor", json_string(ago));
	json_object_set_new(j, "State", json_string(container_status_name(c->status)));
	json_object_set_new(j, "Status", json_str(status));
	return j;
}

static int print_ps(struct container **v, size_t n, const struct ps_args *a, struct error *err)
{
	static const struct template_column heads[] = {{"ID", "CONTAINER ID"}, {"Image", "IMAGE"},
	        {"Command", "COMMAND"}, {"RunningFor", "CREATED"}, {"CreatedAt", "CREATED AT"},
	        {"Status", "STATUS"}, {"Ports", "PORTS"}, {"Names", "NAMES"}};
	_cleanup_json_ json_t *rows = json_array();
	for (size_t i = 0; i < n; i++) {
		json_t *row = row_of(v[i], a->no_trunc);
		json_array_append_new(rows, row);
		if (a->quiet && !a->format)
			printf("%s\n", json_get_str(row, "ID"));
	}
	if (a->quiet && !a->format)
		return 0;
	const char *format = a->format;
	if (!format || str_eq(format, "table"))
		format = "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t"
		         "{{.Ports}}\t{{.Names}}";
	return template_list(format, rows, heads, ARRAY_SIZE(heads), err);
}

int cmd_ps(int argc, char **argv)
{
	struct ps_args a = {0};
	const struct cli_option options[] = {
	        {"all", 'a', CLI_BOOL, &a.all, NULL, "also those that do not run"},
	        {"quiet", 'q', CLI_BOOL, &a.quiet, NULL, "ids only"},
	        {"no-trunc", 0, CLI_BOOL, &a.no_trunc, NULL, "whole ids and commands"},
	        {"filter", 'f', CLI_LIST, &a.filters, "F",
	                "name, id, status, exited, label, ancestor =VALUE"},
	        {"format", 0, CLI_STR, &a.format, "F",
	                "json, table TEMPLATE, or a template: {{.Names}}: {{.Status}}"},
	        {"last", 'n', CLI_UINT, &a.last, "N", "the N newest, running or not"},
	        {"latest", 'l', CLI_BOOL, &a.latest, NULL, "the newest, running or not"},
	        {"size", 's', CLI_ABSENT, NULL, NULL, "strake du shows what containers take"},
	        {0},
	};
	struct error err = ERROR_INIT;
	_cleanup_(cli_store_close) struct store *store = NULL;
	_cleanup_strv_ struct strv words = STRV_INIT;
	struct container **v = NULL;
	size_t n = 0, kept = 0;
	int rc = cli_parse(argc, argv, options, false, &words, &err);
	if (rc > 0) {
		cli_help("ps", "[OPTIONS]", "List containers.", options, NULL);
		strv_release(&a.filters);
		return EXIT_OK;
	}
	if (rc >= 0 && words.n)
		rc = err_set(&err, ERR_USAGE, "ps takes no arguments");
	if (rc >= 0)
		rc = check_filters(&a.filters, &a.all, &err);
	if (rc < 0) {
		strv_release(&a.filters);
		return cli_usage_error("ps", &err);
	}
	a.last = a.latest ? 1 : a.last;
	rc = cli_store(&store, &err);
	if (rc >= 0)
		rc = container_list(store, &v, &n, &err);
	for (size_t i = 0; i < n; i++) {
		bool want = (a.all || a.last || v[i]->status == CONTAINER_RUNNING) &&
		            shown(v[i], &a.filters) && (!a.last || kept < a.last);
		if (want)
			v[kept++] = v[i];
		else
			container_free(v[i]);
	}
	if (rc >= 0)
		rc = print_ps(v, kept, &a, &err);
	containers_free(v, kept);
	strv_release(&a.filters);
	return rc < 0 ? cli_report(&err) : EXIT_OK;
}

/* --- each of several ------------------------------------------------------------------------- */

/* for_each - fn for every word; what it prints is its own; the exit code says whether all went
 * well.
 */
static int for_each(const struct strv *words, bool enter,
        int (*fn)(struct store *, const char *, void *, struct error *), void *ctx)
{
	_cleanup_(cli_store_close) struct store *store = NULL;
	struct error err = ERROR_INIT;
	int code = EXIT_OK;
	if (cli_store(&store, &err) < 0 || (enter && cli_enter(store, &err) < 0))
		return cli_report(&err);
	for (size_t i = 0; i < words->n; i++)
		if (fn(store, words->v[i], ctx, &err) < 0)
			code = cli_report(&err);
	return code == EXIT_USAGE ? EXIT_FAILED : code;
}

struct rm_args {
	bool force, volumes;
};

static int rm_one(struct store *s, const char *name, void *ctx, struct error *err)
{
	const struct rm_args *a = ctx;
	if (container_remove(s, name, a->force, NULL, err) < 0) {
		if (!a->force || err->class != ERR_NOT_FOUND)
			return -1;
		error_release(err);
		return 0;
	}
	printf("%s\n", name);
	return 0;
}

int cmd_rm(int argc, char **argv)
{
	struct rm_args a = {0};
	const struct cli_option options[] = {
	        {"force", 'f', CLI_BOOL, &a.force, NULL, "kill it if it runs"},
	        {"volumes", 'v', CLI_BOOL, &a.volumes, NULL,
	                "always so: volumes without a name go with their container"},
	        {"link", 'l', CLI_ABSENT, NULL, NULL, "there are no links"},
	        {0},
	};
	static const struct cli_usage usage = {.command = "rm",
	        .usage = "[OPTIONS] CONTAINER...",
	        .summary = "Remove containers.",
	        .expected = "a container is",
	        .min = 1,
	        .max = SIZE_MAX};
	_cleanup_strv_ struct strv words = STRV_INIT;
	int code;
	return cli_begin(&usage, options, argc, argv, &words, &code)
	               ? for_each(&words, true, rm_one, &a)
	               : code;
}

static int stop_one(struct store *s, const char *name, void *ctx, struct error *err)
{
	_cleanup_(container_freep) struct container *c = NULL;
	if (container_find(s, name, &c, err) < 0 || container_stop(c, *(const int *)ctx, err) < 0)
		return -1;
	printf("%s\n", name);
	return 0;
}

int cmd_stop(int argc, char **argv)
{
	const char *text = NULL;
	const struct cli_option options[] = {
	        {"time", 't', CLI_STR, &text, "SEC", "until it is killed (10; -1: never)"},
	        {"timeout", 0, CLI_STR, &text, "SEC", "the same"},
	        {0},
	};
	static const struct cli_usage usage = {.command = "stop",
	        .usage = "[OPTIONS] CONTAINER...",
	        .summary = "Ask containers to end, and kill them if they do not.",
	        .expected = "a container is",
	        .min = 1,
	        .max = SIZE_MAX};
	struct error err = ERROR_INIT;
	_cleanup_strv_ struct strv words = STRV_INIT;
	int code, seconds;
	if (!cli_begin(&usage, options, argc, argv, &words, &code))
		return code;
	if (cli_stop_seconds(text, &seconds, &err) < 0)
		return cli_usage_error("stop", &err);
	return for_each(&words, false, stop_one, &seconds);
}

static int kill_one(struct store *s, const char *name, void *ctx, struct error *err)
{
	_cleanup_(container_freep) struct container *c = NULL;
	int sig = *(const int *)ctx, code;
	if (container_find(s, name, &c, err) < 0 || container_signal(c, sig, err) < 0)
		return -1;
	/* KILL cannot be refused: say it when it is true. */
	if (sig == SIGKILL && container_wait(c, -1, &code, err) < 0)
		return -1;
	printf("%s\n", name);
	return 0;
}

int cmd_kill(int argc, char **argv)
{
	const char *name = "KILL";
	const struct cli_option options[] = {
	        {"signal", 's', CLI_STR, &name, "SIG", "KILL, or this one"},
	        {0},
	};
	static const struct cli_usage usage = {.command = "kill",
	        .usage = "[OPTIONS] CONTAINER...",
	        .summary = "Send running containers a signal.",
	        .expected = "a container is",
	        .min = 1,
	        .max = SIZE_MAX};
	struct error err = ERROR_INIT;
	_cleanup_strv_ struct strv words = STRV_INIT;
	int code;
	if (!cli_begin(&usage, options, argc, argv, &words, &code))
		return code;
	int sig = container_signal_number(name);
	if (!sig) {
		(void)err_set(&err, ERR_USAGE, "-s %s: no such signal", name);
		return cli_usage_error("kill", &err);
	}
	return for_each(&words, false, kill_one, &sig);
}

static int wait_one(struct store *s, const char *name, void *ctx, struct error *err)
{
	(void)ctx;
	_cleanup_(container_freep) struct container *c = NULL;
	int code;
	if (container_find(s, name, &c, err) < 0 || container_wait(c, -1, &code, err) < 0)
		return -1;
	printf("%d\n", code);
	return 0;
}

int cmd_wait(int argc, char **argv)
{
	static const struct cli_option options[] = {{0}};
	static const struct cli_usage usage = {.command = "wait",
	        .usage = "CONTAINER...",
	        .summary = "Wait until containers have ended; print their exit codes.",
	        .expected = "a container is",
	        .min = 1,
	        .max = SIZE_MAX};
	_cleanup_strv_ struct strv words = STRV_INIT;
	int code;
	return cli_begin(&usage, options, argc, argv, &words, &code)
	               ? for_each(&words, false, wait_one, NULL)
	               : code;
}

/* --- logs ------------------------------------------------------------------------------------ */

struct logs_args {
	bool follow, timestamps;
	const char *tail;
};

/* print_record - one line of the log to the stream it came from. */
static void print_record(const char *line, size_t n, const struct logs_args *a)
{
	_cleanup_error_ struct error ignored = ERROR_INIT;
	_cleanup_json_ json_t *j = json_parse(line, n, 1 << 20, "log", &ignored);
	const char *text = json_get_str(j, "log"), *stream = json_get_str(j, "stream");
	if (!text) /* cut short by a full disk */
		return;
	FILE *to = stream && str_eq(stream, "stderr") ? stderr : stdout;
	if (a->timestamps)
		fprintf(to, "%s ", str_or_empty(json_get_str(j, "time")));
	fputs(text, to);
}

/* tail_from - where the last `lines` lines of the text begin. */
static size_t tail_from(const char *p, size_t n, unsigned long lines)
{
	size_t at = n;
	while (at > 0) {
		if (p[at - 1] == '\n' && at < n && lines-- <= 1)
			break;
		at--;
	}
	return at;
}

static void print_new(const char *p, size_t *at, size_t n, const struct logs_args *a)
{
	for (const char *nl; (nl = memchr(p + *at, '\n', n - *at));) {
		size_t end = (size_t)(nl - p);
		print_record(p + *at, end - *at, a);
		*at = end + 1;
	}
	(void)fflush(stdout);
}

/* show_log - what is there, and with follow what comes until the container has ended. */
static int show_log(struct store *s, const char *name, const struct logs_args *a, struct error *err)
{
	_cleanup_(container_freep) struct container *c = NULL;
	if (container_find(s, name, &c, err) < 0)
		return -1;
	if (c->status == CONTAINER_CREATED)
		return 0; /* it has not printed anything yet */
	_cleanup_close_ int fd = container_log_fd(c, err);
	if (fd < 0)
		return -1;
	char *end = NULL;
	unsigned long lines = a->tail ? strtoul(a->tail, &end, 10) : ULONG_MAX;
	if (a->tail && (str_eq(a->tail, "all") || *end))
		lines = ULONG_MAX;
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	size_t at = 0;
	bool first = true, over = !a->follow;
	for (;;) {
		char buf[64 << 10];
		ssize_t n;
		/* Asked before the rest is read: what was printed last is not missed. */
		int code, ended = over ? 1 : container_wait(c, 0, &code, err);
		if (ended < 0)
			return -1;
		while ((n = read(fd, buf, sizeof(buf))) > 0) {
			strbuf_add(&b, buf, (size_t)n);
			if (first && a->tail)
				continue;
			print_new(b.buf, &at, b.len, a);
			memmove(b.buf, b.buf + at, b.len - at);
			strbuf_truncate(&b, b.len - at);
			at = 0;
		}
		if (first && a->tail)
			at = lines == 0 ? b.len : tail_from(b.buf, b.len, lines);
		first = false;
		print_new(b.buf, &at, b.len, a);
		if (ended || cli_interrupted)
			return 0;
		/* Woken by its end, else to look for more. */
		if (container_wait(c, 100, &code, err) < 0)
			return -1;
	}
}

int cmd_logs(int argc, char **argv)
{
	struct logs_args a = {0};
	const struct cli_option options[] = {
	        {"follow", 'f', CLI_BOOL, &a.follow, NULL, "go on until the container has ended"},
	        {"tail", 'n', CLI_STR, &a.tail, "N", "only the last N lines"},
	        {"timestamps", 't', CLI_BOOL, &a.timestamps, NULL, "when each line was printed"},
	        {"since", 0, CLI_ABSENT, NULL, NULL, "use -t and select"},
	        {"until", 0, CLI_ABSENT, NULL, NULL, "use -t and select"},
	        {0},
	};
	static const struct cli_usage usage = {.command = "logs",
	        .usage = "[OPTIONS] CONTAINER",
	        .summary = "Show what a container has printed.",
	        .expected = "one container is",
	        .min = 1,
	        .max = 1};
	struct error err = ERROR_INIT;
	_cleanup_(cli_store_close) struct store *store = NULL;
	_cleanup_strv_ struct strv words = STRV_INIT;
	int code;
	if (!cli_begin(&usage, options, argc, argv, &words, &code))
		return code;
	cli_signals();
	if (cli_store(&store, &err) < 0 || show_log(store, words.v[0], &a, &err) < 0)
		return cli_report(&err);
	return EXIT_OK;
}
