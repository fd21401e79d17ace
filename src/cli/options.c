/* cli/options.c - see options.h. */
#include "cli/options.h"

#include <stdio.h>

#include "base/human.h"

/* next_option - the entry after t, in the table that follows if this one goes on there. */
static const struct cli_option *next_option(const struct cli_option *t)
{
	t++;
	return t->type == CLI_MORE ? t->dest : t;
}

static const struct cli_option *find_long(const struct cli_option *t, const char *name, size_t n)
{
	for (; t->name; t = next_option(t))
		if (t->type != CLI_HEADING && strlen(t->name) == n && memcmp(t->name, name, n) == 0)
			return t;
	return NULL;
}

static const struct cli_option *find_short(const struct cli_option *t, char c)
{
	for (; t->name; t = next_option(t))
		if (t->type != CLI_HEADING && t->letter == c)
			return t;
	return NULL;
}

static int unknown_option(const struct cli_option *t, const char *arg, size_t n, struct error *err)
{
	const char *names[128];
	size_t k = 0;
	for (; t->name && k < ARRAY_SIZE(names); t = next_option(t))
		if (t->type != CLI_HEADING && t->type != CLI_ABSENT)
			names[k++] = t->name;
	_cleanup_free_ char *name = xstrndup(arg, n);
	(void)err_set(err, ERR_USAGE, "unknown flag: --%s", name);
	const char *near = human_nearest(name, names, k);
	return near ? err_hint(err, "did you mean --%s?", near)
	            : err_hint(err, "--help lists the flags");
}

static int set_value(
        const struct cli_option *o, const char *shown, const char *v, struct error *err)
{
	char *end;
	switch (o->type) {
	case CLI_BOOL:
		if (!v || str_eq(v, "true") || str_eq(v, "1")) {
			*(bool *)o->dest = true;
		} else if (str_eq(v, "false") || str_eq(v, "0")) {
			*(bool *)o->dest = false;
		} else {
			return err_set(
			        err, ERR_USAGE, "%s=%s: true or false is expected", shown, v);
		}
		return 0;
	case CLI_OPT_STR:
		*(const char **)o->dest = v ? v : "true";
		return 0;
	case CLI_STR:
		*(const char **)o->dest = v;
		return 0;
	case CLI_LIST:
		strv_add(o->dest, v);
		return 0;
	case CLI_UINT: {
		unsigned long n = strtoul(v, &end, 10);
		if (*end || end == v || *v == '-' || n > 1000000)
			return err_set(err, ERR_USAGE, "%s %s: a number is expected", shown, v);
		*(unsigned *)o->dest = (unsigned)n;
		return 0;
	}
	case CLI_SIZE:
		if (!human_parse_size(v, o->dest))
			return err_set(err, ERR_USAGE,
			        "%s %s: a size such as 64m or 1.5g is expected", shown, v);
		return 0;
	case CLI_ABSENT:
		(void)err_set(
		        err, ERR_USAGE, "%s is not supported by strake %s", shown, STRAKE_VERSION);
		return o->help ? err_hint(err, "%s", o->help) : -1;
	case CLI_HEADING:
	case CLI_MORE:
		break;
	}
	return err_set(err, ERR_INTERNAL, "option table: %s", shown);
}

/* parse_long - *used_next says that argv's next word was the value. */
static int parse_long(const char *arg, const char *next, const struct cli_option *t,
        bool *used_next, struct error *err)
{
	const char *eq = strchr(arg, '=');
	size_t n = eq ? (size_t)(eq - arg) : strlen(arg);
	const struct cli_option *o = find_long(t, arg, n);
	if (!o)
		return unknown_option(t, arg, n, err);
	_cleanup_free_ char *shown = xasprintf("--%s", o->name);
	const char *v = eq ? eq + 1 : NULL;
	if (!v && o->type != CLI_BOOL && o->type != CLI_OPT_STR && o->type != CLI_ABSENT) {
		if (!next)
			return err_set(err, ERR_USAGE, "%s needs a value: %s %s", shown, shown,
			        o->arg ? o->arg : "VALUE");
		v = next;
		*used_next = true;
	}
	return set_value(o, shown, v, err);
}

static int parse_short(const char *arg, const char *next, const struct cli_option *t,
        bool *used_next, struct error *err)
{
	for (const char *p = arg; *p; p++) {
		const struct cli_option *o = find_short(t, *p);
		char shown[3] = {'-', *p, '\0'};
		if (!o) {
			(void)err_set(err, ERR_USAGE, "unknown flag: %s", shown);
			return err_hint(err, "--help lists the flags");
		}
		if (o->type == CLI_BOOL || o->type == CLI_OPT_STR || o->type == CLI_ABSENT) {
			if (set_value(o, shown, NULL, err) < 0)
				return -1;
			continue;
		}
		const char *v = p + 1;
		if (*v == '=')
			v++;
		if (!*v) {
			if (!next)
				return err_set(err, ERR_USAGE, "%s needs a value: %s %s", shown,
				        shown, o->arg ? o->arg : "VALUE");
			v = next;
			*used_next = true;
		}
		return set_value(o, shown, v, err);
	}
	return 0;
}

int cli_parse(int argc, char **argv, const struct cli_option *options, bool stop_early,
        struct strv *positional, struct error *err)
{
	bool only_words = false;
	for (int i = 1; i < argc; i++) {
		const char *a = argv[i];
		if (only_words || a[0] != '-' || str_eq(a, "-")) {
			strv_add(positional, a);
			only_words |= stop_early;
			continue;
		}
		if (str_eq(a, "--")) {
			only_words = true;
			continue;
		}
		if (str_eq(a, "--help") || (str_eq(a, "-h") && !find_short(options, 'h')))
			return 1;
		bool used = false;
		const char *next = i + 1 < argc ? argv[i + 1] : NULL;
		int rc = a[1] == '-' ? parse_long(a + 2, next, options, &used, err)
		                     : parse_short(a + 1, next, options, &used, err);
		if (rc < 0)
			return -1;
		i += used;
	}
	return 0;
}

void cli_help(const char *command, const char *usage, const char *summary,
        const struct cli_option *options, const char *epilogue)
{
	printf("Usage: strake %s %s\n\n%s\n", command, usage, summary);
	if (options && options->name && options->type != CLI_HEADING)
		printf("\nOptions:\n");
	for (const struct cli_option *o = options; o && o->name; o = next_option(o)) {
		char left[64];
		if (o->type == CLI_ABSENT)
			continue;
		if (o->type == CLI_HEADING) {
			printf("\n%s:\n", o->name);
			continue;
		}
		bool opt = o->type == CLI_OPT_STR;
		snprintf(left, sizeof(left), "%c%c%c --%s%s%s%s", o->letter ? '-' : ' ',
		        o->letter ? o->letter : ' ', o->letter ? ',' : ' ', o->name,
		        opt      ? "[="
		        : o->arg ? " "
		                 : "",
		        o->arg ? o->arg : "", opt ? "]" : "");
		printf("  %-32s %s\n", left, o->help);
	}
	if (epilogue)
		printf("\n%s", epilogue);
}
