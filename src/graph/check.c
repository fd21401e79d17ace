/* graph/check.c - what can be said of an instruction on its own: its name, its flags, how many
 * arguments it takes. Every instruction of the file is checked, needed or not. */
#include <ctype.h>
#include <errno.h>
#include <limits.h>

#include "base/human.h"
#include "graph/plan.h"

static int unknown_instruction(const struct df_instr *in, struct error *err)
{
	err_set(err, ERR_SYNTAX, "unknown instruction: %s", in->name_raw);
	const char *near = df_kind_nearest(in->name_raw);
	if (near)
		return err_hint(err, "did you mean %s?", near);
	return err_hint(err, "a line that goes on needs a \\ at the end of the line before it");
}

static int exactly_one(const struct df_instr *in, struct error *err)
{
	if (in->n_args == 1 && *in->args[0])
		return 0;
	return err_set(err, ERR_SYNTAX, "%s requires exactly one argument", df_kind_name(in->kind));
}

static int at_least_one(const struct df_instr *in, struct error *err)
{
	if (in->n_args >= 1)
		return 0;
	return err_set(
	        err, ERR_SYNTAX, "%s requires at least one argument", df_kind_name(in->kind));
}

static bool valid_stage_name(const char *s)
{
	if (!isalpha((unsigned char)*s))
		return false;
	for (; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr("-_.", *s))
			return false;
	return true;
}

static int check_from(const struct df_instr *in, struct error *err)
{
	if (in->n_args == 3 && strcasecmp(in->args[1], "as") == 0) {
		if (valid_stage_name(in->args[2]))
			return 0;
		return err_set(err, ERR_SYNTAX,
		        "invalid name for build stage: \"%s\", name can't start with a number or "
		        "contain symbols",
		        in->args[2]);
	}
	if (in->n_args == 1)
		return 0;
	err_set(err, ERR_SYNTAX, "FROM requires either one or three arguments");
	return err_hint(err, "write FROM image, or FROM image AS name");
}

static int check_arg(const struct df_instr *in, struct error *err)
{
	if (at_least_one(in, err) < 0)
		return -1;
	for (size_t i = 0; i < in->n_args; i++)
		if (!*in->args[i] || in->args[i][0] == '=')
			return err_set(err, ERR_SYNTAX, "ARG names can not be blank");
	return 0;
}

static int check_pairs(const struct df_instr *in, struct error *err)
{
	if (at_least_one(in, err) < 0)
		return -1;
	for (size_t i = 0; i < in->n_args; i += 3)
		if (!*in->args[i])
			return err_set(err, ERR_SYNTAX, "%s names can not be blank",
			        df_kind_name(in->kind));
	return 0;
}

static int check_copy(struct plan *p, const struct df_instr *in, struct error *err)
{
	const char *name = df_kind_name(in->kind);
	if (in->n_args < 2) {
		err_set(err, ERR_SYNTAX,
		        "%s requires at least two arguments, but %s provided. Destination could "
		        "not be "
		        "determined",
		        name, in->n_args ? "only one was" : "none were");
		return err_hint(err, "write %s SOURCE... DESTINATION", name);
	}
	struct df_heredoc word;
	if (!in->json && in->n_heredocs && df_heredoc_word(p->a, in->args[in->n_args - 1], &word))
		return err_set(
		        err, ERR_SYNTAX, "%s cannot accept a heredoc as a destination", name);
	return 0;
}

static int check_onbuild(const struct df_instr *in, struct error *err)
{
	if (!in->child)
		return err_set(err, ERR_SYNTAX, "ONBUILD requires at least one argument");
	switch (in->child->kind) {
	case DF_ONBUILD:
		return err_set(
		        err, ERR_SYNTAX, "chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
	case DF_FROM:
	case DF_MAINTAINER:
		return err_set(err, ERR_SYNTAX, "%s isn't allowed as an ONBUILD trigger",
		        df_kind_name(in->child->kind));
	default:
		return 0;
	}
}

static int check_shell(const struct df_instr *in, struct error *err)
{
	if (!in->json) {
		err_set(err, ERR_SYNTAX, "SHELL requires the arguments to be in JSON form");
		return err_hint(err, "for example: SHELL [\"/bin/bash\", \"-c\"]");
	}
	return at_least_one(in, err);
}

static int check_volume(const struct df_instr *in, struct error *err)
{
	if (at_least_one(in, err) < 0)
		return -1;
	for (size_t i = 0; i < in->n_args; i++)
		if (!in->args[i][strspn(in->args[i], " \t")])
			return err_set(
			        err, ERR_SYNTAX, "VOLUME specified can not be an empty string");
	return 0;
}

static int check_run(struct plan *p, const struct df_instr *in, struct error *err)
{
	for (size_t i = 0; i < in->n_flags; i++) {
		const struct df_flag *fl = &in->flags[i];
		const char *from;
		if (str_eq(fl->name, "mount") && mount_from(p->a, fl->value, &from, err) < 0)
			return -1;
	}
	static const char *const networks[] = {"default", "none", "host"};
	static const char *const securities[] = {"sandbox", "insecure"};
	const char *v = flag_value(in, "network");
	if (v && !str_eq(v, "default") && !str_eq(v, "none") && !str_eq(v, "host")) {
		err_set(err, ERR_SYNTAX, "invalid network mode \"%s\" in --network", v);
		const char *near = human_nearest(v, networks, 3);
		return near ? err_hint(err, "did you mean %s?", near)
		            : err_hint(err, "it is one of default, none, host");
	}
	v = flag_value(in, "security");
	if (v && !str_eq(v, "sandbox") && !str_eq(v, "insecure")) {
		err_set(err, ERR_SYNTAX, "security mode \"%s\" is not valid in --security", v);
		const char *near = human_nearest(v, securities, 2);
		return near ? err_hint(err, "did you mean %s?", near)
		            : err_hint(err, "it is one of sandbox, insecure");
	}
	return 0;
}

static int optional_interval(
        const struct df_instr *in, const char *flag, int64_t *ret, struct error *err)
{
	const char *v = flag_value(in, flag);
	*ret = 0;
	if (!v || !*v)
		return 0;
	if (!go_parse_duration(v, ret)) {
		err_set(err, ERR_SYNTAX, "invalid duration \"%s\" in --%s", v, flag);
		return err_hint(err, "write a number with a unit: 500ms, 30s, 1m30s");
	}
	if (*ret != 0 && *ret < 1000000)
		return err_set(
		        err, ERR_SYNTAX, "interval --%s=%s cannot be less than 1ms", flag, v);
	return 0;
}

static int retries(const struct df_instr *in, int64_t *ret, struct error *err)
{
	const char *v = flag_value(in, "retries");
	*ret = 0;
	if (!v || !*v)
		return 0;
	char *end;
	errno = 0;
	long n = strtol(v, &end, 10);
	if (*end || isspace((unsigned char)*v) || errno || n > INT32_MAX || n < INT32_MIN)
		return err_set(err, ERR_SYNTAX, "invalid number \"%s\" in --retries", v);
	if (n < 0)
		return err_set(err, ERR_SYNTAX, "--retries cannot be negative (%ld)", n);
	*ret = n;
	return 0;
}

int parse_healthcheck(
        struct arena *a, const struct df_instr *in, struct oci_healthcheck *ret, struct error *err)
{
	struct svec test = {0};
	*ret = (struct oci_healthcheck){0};
	if (in->n_args == 0)
		return at_least_one(in, err);
	const char *type = in->args[0];
	if (strcasecmp(type, "NONE") == 0) {
		if (in->n_args > 1 && *in->args[1])
			return err_set(err, ERR_SYNTAX, "HEALTHCHECK NONE takes no arguments");
		svec_push(a, &test, "NONE");
		svec_to_strv(&test, a, &ret->test);
		return 0;
	}
	if (strcasecmp(type, "CMD") != 0) {
		err_set(err, ERR_SYNTAX, "unknown type \"%s\" in HEALTHCHECK (try CMD)", type);
		return err_hint(err, "write HEALTHCHECK CMD command, or HEALTHCHECK NONE");
	}
	if (in->n_args < 2 || (!in->json && !*in->args[1]))
		return err_set(err, ERR_SYNTAX, "missing command after HEALTHCHECK CMD");
	svec_push(a, &test, in->json ? "CMD" : "CMD-SHELL");
	for (size_t i = 1; i < in->n_args; i++)
		svec_push(a, &test, in->args[i]);
	svec_to_strv(&test, a, &ret->test);
	if (optional_interval(in, "interval", &ret->interval, err) < 0 ||
	        optional_interval(in, "timeout", &ret->timeout, err) < 0 ||
	        optional_interval(in, "start-period", &ret->start_period, err) < 0 ||
	        optional_interval(in, "start-interval", &ret->start_interval, err) < 0)
		return -1;
	return retries(in, &ret->retries, err);
}

static int check_kind(struct plan *p, const struct df_instr *in, struct error *err)
{
	struct oci_healthcheck hc;
	switch (in->kind) {
	case DF_UNKNOWN:
		return unknown_instruction(in, err);
	case DF_FROM:
		return check_from(in, err);
	case DF_ARG:
		return check_arg(in, err);
	case DF_ENV:
	case DF_LABEL:
		return check_pairs(in, err);
	case DF_ADD:
	case DF_COPY:
		return check_copy(p, in, err);
	case DF_RUN:
		return check_run(p, in, err);
	case DF_ONBUILD:
		return check_onbuild(in, err);
	case DF_SHELL:
		return check_shell(in, err);
	case DF_EXPOSE:
		return at_least_one(in, err);
	case DF_VOLUME:
		return check_volume(in, err);
	case DF_HEALTHCHECK:
		return parse_healthcheck(p->a, in, &hc, err);
	case DF_MAINTAINER:
	case DF_STOPSIGNAL:
	case DF_USER:
	case DF_WORKDIR:
		return exactly_one(in, err);
	case DF_CMD:
	case DF_ENTRYPOINT:
		return 0;
	}
	return 0;
}

int check_instr(struct plan *p, const struct df_instr *in, struct error *err)
{
	const char *flag = NULL;
	if (in->kind != DF_UNKNOWN && flags_check(in, &flag, err) < 0) {
		_cleanup_free_ char *word = xasprintf("--%s", flag);
		return at_word(p, in, word, err);
	}
	if (check_kind(p, in, err) < 0)
		return in->kind == DF_UNKNOWN ? at_word(p, in, in->name_raw, err)
		                              : at_line(p, in->line, err);
	return 0;
}
