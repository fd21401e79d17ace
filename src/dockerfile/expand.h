/* dockerfile/expand.h - variable expansion in words. Pure. SEMANTICS.md 13-16. */
#ifndef STRAKE_DOCKERFILE_EXPAND_H
#define STRAKE_DOCKERFILE_EXPAND_H

#include "base/error.h"
#include "base/strv.h"

struct df_vars {
	/* lookup - value or NULL (unset). */
	const char *(*lookup)(void *ctx, const char *name);
	void *ctx;
	/* What all expansions of one file may still cost together, in bytes read, written and
	 * compared; NULL: only each one is bounded. Many words that each grow to their own bound
	 * would take hours. */
	size_t *work_left;
};
#define DF_EXPAND_WORK ((size_t)1 << 28)
/* df_env_vars - over a list of "K=V". */
struct df_vars df_env_vars(const struct strv *env);

/* df_expand_word - quotes removed, variables replaced; one result. ret_unset (may be NULL)
 * collects names that were used and unset (lint UndefinedVar); ret_used those that were used. */
int df_expand_word(const char *word, char escape, const struct df_vars *vars, char **ret,
        struct strv *ret_unset, struct strv *ret_used, struct error *err) must_check;
/* df_expand_words - the same, then split at unquoted blanks (EXPOSE, VOLUME-like). */
int df_expand_words(const char *word, char escape, const struct df_vars *vars, struct strv *ret,
        struct strv *ret_unset, struct strv *ret_used, struct error *err) must_check;
/* df_expand_raw - variables replaced, escapes processed, quotes ordinary characters (heredoc bodies
 * of COPY and ADD; escape is always a backslash there). */
int df_expand_raw(const char *text, size_t n, char escape, const struct df_vars *vars, char **ret,
        size_t *ret_n, struct error *err) must_check;

#endif
