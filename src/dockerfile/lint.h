/* dockerfile/lint.h - BuildKit's build checks by name. The AST rules live here; rules that need
 * the plan (UndefinedVar, ...) are reported by graph/ through the same list.
 * Source: docs.docker.com/reference/build-checks. */
#ifndef STRAKE_DOCKERFILE_LINT_H
#define STRAKE_DOCKERFILE_LINT_H

#include "base/map.h"
#include "dockerfile/dockerfile.h"

struct df_warning {
	const char *rule; /* "StageNameCasing" */
	char *message;    /* one line */
	int line, end_line;
};
struct df_warnings {
	struct df_warning *v; /* in the order found: sort by line to show them */
	size_t n, cap;
	/* from `# check=skip=A,B;error=true;experimental=C`, "all" for every rule */
	const struct df_file *file;
	bool skip_all, error, experimental_all;
	char **skip;
	size_t n_skip;
	char **experimental;
	size_t n_experimental;
	struct error bad_check; /* the directive is malformed; see df_warnings_status */
	struct map seen;
};
void df_warnings_init(struct df_warnings *w, const struct df_file *f); /* reads `# check=` */
/* df_warnings_configure - the value of BUILDKIT_DOCKERFILE_CHECK beats the directive. */
int df_warnings_configure(struct df_warnings *w, const char *check, struct error *err) must_check;
/* df_warnings_status - -1 if the directive is malformed (and nothing was configured instead), or if
 * error=true and there are warnings ("lint violation found for rules: A, B"). */
int df_warnings_status(const struct df_warnings *w, struct error *err) must_check;
void df_warnings_release(struct df_warnings *w);
/* df_warn - add unless the rule is skipped (or experimental and not asked for); duplicates (rule,
 * line, message) are dropped. rule is a string that outlives the list. */
void df_warn(struct df_warnings *w, const char *rule, int line, int end_line, const char *fmt, ...)
        printf_like(5, 6);
/* df_rule_describe / df_rule_url - text about a rule; NULL for an unknown one. */
const char *df_rule_describe(const char *rule);
char *df_rule_url(const char *rule) must_check;
/* df_lint - all rules that need only the AST. */
void df_lint(const struct df_file *f, struct df_warnings *w);
/* df_sensitive_name - does one of the '_'-separated parts of a variable's name say that its value
 * is a secret (PASSWORD, API_KEY, ...)? */
bool df_sensitive_name(const char *name);

#endif
