/* dockerfile/rules.c - the list of warnings, which rules are on, and what each is about. */
#include "dockerfile/lint.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/human.h"
#include "base/strbuf.h"
#include "base/strv.h"
#include "dockerfile/text.h"

static const struct rule {
	const char *name, *description;
	bool experimental;
} rules[] = {
        {"StageNameCasing", "Stage names should be lowercase", false},
        {"FromAsCasing", "The 'as' keyword should match the case of the 'from' keyword", false},
        {"NoEmptyContinuation", "Empty continuation lines will become errors in a future release",
                false},
        {"ConsistentInstructionCasing",
                "All commands within the Dockerfile should use the same casing (either upper or "
                "lower)",
                false},
        {"DuplicateStageName", "Stage names should be unique", false},
        {"ReservedStageName", "Reserved words should not be used as stage names", false},
        {"JSONArgsRecommended",
                "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior "
                "related to OS "
                "signals",
                false},
        {"MaintainerDeprecated",
                "The MAINTAINER instruction is deprecated, use a label instead to define an image "
                "author",
                false},
        {"UndefinedArgInFrom", "FROM command must use declared ARGs", false},
        {"WorkdirRelativePath",
                "Relative workdir without an absolute workdir declared within the build can have "
                "unexpected "
                "results if the base image changes",
                false},
        {"UndefinedVar", "Variables should be defined before their use", false},
        {"MultipleInstructionsDisallowed",
                "Multiple instructions of the same type should not be used in the same stage",
                false},
        {"LegacyKeyValueFormat",
                "Legacy key/value format with whitespace separator should not be used", false},
        {"InvalidBaseImagePlatform", "Base image platform does not match expected target platform",
                false},
        {"RedundantTargetPlatform",
                "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is "
                "the default "
                "behavior",
                false},
        {"SecretsUsedInArgOrEnv", "Sensitive data should not be used in the ARG or ENV commands",
                false},
        {"InvalidDefaultArgInFrom",
                "Default value for global ARG results in an empty or invalid base image name",
                false},
        {"FromPlatformFlagConstDisallowed", "FROM --platform flag should not use a constant value",
                false},
        {"CopyIgnoredFile", "Attempting to Copy file that is excluded by .dockerignore", true},
        {"InvalidDefinitionDescription",
                "Comment for build stage or argument should follow the format: `# <arg/stage name> "
                "<description>`. If this is not intended to be a description comment, add an empty "
                "line or "
                "comment between the instruction and the comment.",
                true},
        {"ExposeProtoCasing", "Protocol in EXPOSE instruction should be lowercase", false},
        {"ExposeInvalidFormat",
                "IP address and host-port mapping should not be used in EXPOSE instruction. This "
                "will become an "
                "error in a future release",
                false},
};

static const struct rule *find_rule(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		if (str_eq(rules[i].name, name))
			return &rules[i];
	return NULL;
}

const char *df_rule_describe(const char *name)
{
	const struct rule *r = find_rule(name);
	return r ? r->description : NULL;
}

/* df_rule_url - the page is named after the rule: JSONArgsRecommended, json-args-recommended. */
char *df_rule_url(const char *name)
{
	_cleanup_strbuf_ struct strbuf url = STRBUF_INIT;

	if (!find_rule(name))
		return NULL;
	strbuf_addstr(&url, "https://docs.docker.com/go/dockerfile/rule/");
	for (size_t i = 0; name[i]; i++) {
		bool starts = i && isupper((unsigned char)name[i]) &&
		              (islower((unsigned char)name[i - 1]) ||
		                      islower((unsigned char)name[i + 1]));
		if (starts)
			strbuf_addch(&url, '-');
		strbuf_addch(&url, (char)tolower((unsigned char)name[i]));
	}
	strbuf_addch(&url, '/');
	return strbuf_detach(&url);
}

/* ---- configuration ---- */

static char *trimmed(const char *s)
{
	const char *end = s + strlen(s);
	text_trim(&s, &end);
	return xstrndup(s, (size_t)(end - s));
}

static void free_names(char ***v, size_t *n)
{
	for (size_t i = 0; i < *n; i++)
		free((*v)[i]);
	free(*v);
	*v = NULL;
	*n = 0;
}

static void read_names(const char *value, bool *all, char ***v, size_t *n)
{
	_cleanup_strv_ struct strv parts = STRV_INIT;

	free_names(v, n);
	*all = str_eq(value, "all");
	if (*all)
		return;
	strv_split(&parts, value, ",");
	*v = new0(char *, parts.n + 1);
	for (size_t i = 0; i < parts.n; i++)
		(*v)[(*n)++] = trimmed(parts.v[i]);
}

static int read_bool(const char *s, bool *ret)
{
	static const char *const yes[] = {"1", "t", "T", "TRUE", "true", "True"};
	static const char *const no[] = {"0", "f", "F", "FALSE", "false", "False"};
	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		if (str_eq(s, yes[i]) || str_eq(s, no[i])) {
			*ret = str_eq(s, yes[i]);
			return 0;
		}
	}
	return -1;
}

static int bad_option(struct error *err, const char *text)
{
	_cleanup_strbuf_ struct strbuf q = STRBUF_INIT;
	text_quote(&q, text, strlen(text));
	err_set(err, ERR_SYNTAX, "invalid check option %s", q.buf);
	return err_hint(err,
	        "write skip=RULE,RULE or skip=all, error=true, experimental=RULE,RULE, "
	        "with ';' between");
}

static int read_option(struct df_warnings *w, char *text, struct error *err)
{
	char *eq = strchr(text, '=');
	if (!eq)
		return bad_option(err, text);
	_cleanup_free_ char *value = trimmed(eq + 1);
	_cleanup_free_ char *whole = xstrdup(text);
	*eq = '\0';
	_cleanup_free_ char *key = trimmed(text);
	if (str_eq(key, "skip"))
		read_names(value, &w->skip_all, &w->skip, &w->n_skip);
	else if (str_eq(key, "experimental"))
		read_names(value, &w->experimental_all, &w->experimental, &w->n_experimental);
	else if (!str_eq(key, "error"))
		return bad_option(err, key);
	else if (read_bool(value, &w->error) < 0)
		return bad_option(err, whole);
	return 0;
}

static void reset(struct df_warnings *w)
{
	free_names(&w->skip, &w->n_skip);
	free_names(&w->experimental, &w->n_experimental);
	w->skip_all = w->error = w->experimental_all = false;
	error_release(&w->bad_check);
}

int df_warnings_configure(struct df_warnings *w, const char *check, struct error *err)
{
	_cleanup_strv_ struct strv parts = STRV_INIT;
	_cleanup_free_ char *text = trimmed(check);

	reset(w);
	if (!*text)
		return 0;
	strv_split(&parts, text, ";");
	for (size_t i = 0; i < parts.n; i++)
		if (read_option(w, parts.v[i], err) < 0)
			return -1;
	return 0;
}

void df_warnings_init(struct df_warnings *w, const struct df_file *f)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_error_ struct error err = ERROR_INIT;
	int line = 0;

	*w = (struct df_warnings){.file = f, .seen = MAP_INIT(NULL)};
	const char *check = df_directive(&a, f->text, f->text_len, "check", &line);
	if (check && df_warnings_configure(w, check, &err) < 0) {
		err_at(&err, f->name, line, 1);
		error_move(&w->bad_check, &err);
	}
}

void df_warnings_release(struct df_warnings *w)
{
	for (size_t i = 0; i < w->n; i++)
		free(w->v[i].message);
	free(w->v);
	map_release(&w->seen);
	reset(w);
	*w = (struct df_warnings){0};
}

int df_warnings_status(const struct df_warnings *w, struct error *err)
{
	_cleanup_strv_ struct strv names = STRV_INIT;

	if (error_is_set(&w->bad_check)) {
		err_set(err, w->bad_check.class, "%s", w->bad_check.msg);
		err_hint(err, "%s", str_or_empty(w->bad_check.hint));
		return err_at(err, w->bad_check.file, w->bad_check.line, w->bad_check.column);
	}
	if (!w->error || !w->n)
		return 0;
	for (size_t i = 0; i < w->n; i++)
		if (!strv_contains(&names, w->v[i].rule))
			strv_add(&names, w->v[i].rule);
	_cleanup_free_ char *list = strv_join(&names, ", ");
	return err_set(err, ERR_SYNTAX, "lint violation found for rules: %s", list);
}

/* ---- the list ---- */

static bool listed(char *const *v, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(v[i], name))
			return true;
	return false;
}

static bool enabled(const struct df_warnings *w, const char *name)
{
	const struct rule *r = find_rule(name);
	if (r && r->experimental)
		return w->experimental_all || listed(w->experimental, w->n_experimental, name);
	return !w->skip_all && !listed(w->skip, w->n_skip, name);
}

void df_warn(struct df_warnings *w, const char *rule, int line, int end_line, const char *fmt, ...)
{
	struct strbuf msg = STRBUF_INIT;
	va_list ap;

	if (!enabled(w, rule))
		return;
	va_start(ap, fmt);
	strbuf_vaddf(&msg, fmt, ap);
	va_end(ap);
	_cleanup_free_ char *key = xasprintf("%s %d %s", rule, line, msg.buf);
	if (!map_put(&w->seen, key, NULL)) {
		strbuf_release(&msg);
		return;
	}
	vec_grow(&w->v, &w->cap, w->n + 1);
	w->v[w->n++] = (struct df_warning){rule, strbuf_detach(&msg), line, end_line};
}
