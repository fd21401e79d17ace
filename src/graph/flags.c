/* graph/flags.c - which --flags each instruction takes, and their values. An unknown flag is always
 * an error: a flag that is not understood must not be ignored. Source: the Dockerfile reference. */
#include "base/human.h"
#include "graph/plan.h"

enum flag_type { FLAG_STRING, FLAG_BOOL, FLAG_LIST };
struct flag_def {
	enum df_kind kind;
	const char *name;
	enum flag_type type;
};
static const struct flag_def defs[] = {
        {DF_FROM, "platform", FLAG_STRING},
        {DF_RUN, "mount", FLAG_LIST},
        {DF_RUN, "network", FLAG_STRING},
        {DF_RUN, "security", FLAG_STRING},
        {DF_RUN, "device", FLAG_LIST},
        {DF_COPY, "from", FLAG_STRING},
        {DF_COPY, "chown", FLAG_STRING},
        {DF_COPY, "chmod", FLAG_STRING},
        {DF_COPY, "link", FLAG_BOOL},
        {DF_COPY, "parents", FLAG_BOOL},
        {DF_COPY, "exclude", FLAG_LIST},
        {DF_ADD, "chown", FLAG_STRING},
        {DF_ADD, "chmod", FLAG_STRING},
        {DF_ADD, "link", FLAG_BOOL},
        {DF_ADD, "keep-git-dir", FLAG_BOOL},
        {DF_ADD, "checksum", FLAG_STRING},
        {DF_ADD, "exclude", FLAG_LIST},
        {DF_ADD, "unpack", FLAG_BOOL},
        {DF_HEALTHCHECK, "interval", FLAG_STRING},
        {DF_HEALTHCHECK, "timeout", FLAG_STRING},
        {DF_HEALTHCHECK, "start-period", FLAG_STRING},
        {DF_HEALTHCHECK, "start-interval", FLAG_STRING},
        {DF_HEALTHCHECK, "retries", FLAG_STRING},
};

static const struct flag_def *flag_def(enum df_kind kind, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(defs); i++)
		if (defs[i].kind == kind && str_eq(defs[i].name, name))
			return &defs[i];
	return NULL;
}

static int unknown_flag(const struct df_instr *in, const struct df_flag *fl, struct error *err)
{
	const char *names[ARRAY_SIZE(defs)];
	size_t n = 0;
	_cleanup_strv_ struct strv shown = STRV_INIT;
	for (size_t i = 0; i < ARRAY_SIZE(defs); i++)
		if (defs[i].kind == in->kind) {
			names[n++] = defs[i].name;
			strv_addf(&shown, "--%s", defs[i].name);
		}
	err_set(err, ERR_SYNTAX, "unknown flag: --%s for %s", fl->name, df_kind_name(in->kind));
	const char *near = human_nearest(fl->name, names, n);
	if (near)
		return err_hint(err, "did you mean --%s?", near);
	if (n == 0)
		return err_hint(err, "%s takes no flags", df_kind_name(in->kind));
	_cleanup_free_ char *all = strv_join(&shown, ", ");
	return err_hint(err, "%s takes %s", df_kind_name(in->kind), all);
}

int flags_check(const struct df_instr *in, const char **ret_flag, struct error *err)
{
	for (size_t i = 0; i < in->n_flags; i++) {
		const struct df_flag *fl = &in->flags[i];
		const struct flag_def *d = flag_def(in->kind, fl->name);
		*ret_flag = fl->name;
		if (!d)
			return unknown_flag(in, fl, err);
		if (d->type != FLAG_LIST)
			for (size_t j = 0; j < i; j++)
				if (str_eq(in->flags[j].name, fl->name))
					return err_set(err, ERR_SYNTAX,
					        "duplicate flag specified: --%s", fl->name);
		if (d->type == FLAG_BOOL) {
			if (fl->value && strcasecmp(fl->value, "true") != 0 &&
			        strcasecmp(fl->value, "false") != 0)
				return err_set(err, ERR_SYNTAX,
				        "expecting boolean value for flag --%s, not: %s", fl->name,
				        fl->value);
		} else if (!fl->value) {
			err_set(err, ERR_SYNTAX, "missing a value on flag: --%s", fl->name);
			return err_hint(err, "write --%s=VALUE", fl->name);
		}
	}
	return 0;
}

const char *flag_value(const struct df_instr *in, const char *name)
{
	for (size_t i = 0; i < in->n_flags; i++)
		if (str_eq(in->flags[i].name, name))
			return str_or_empty(in->flags[i].value);
	return NULL;
}

int flag_tristate(const struct df_instr *in, const char *name)
{
	for (size_t i = 0; i < in->n_flags; i++)
		if (str_eq(in->flags[i].name, name))
			return !in->flags[i].value || strcasecmp(in->flags[i].value, "true") == 0;
	return -1;
}

bool flag_bool(const struct df_instr *in, const char *name)
{
	return flag_tristate(in, name) == 1;
}
