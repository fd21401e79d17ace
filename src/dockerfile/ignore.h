/* dockerfile/ignore.h - .dockerignore patterns and Go's path matching. Pure.
 * SEMANTICS.md 32, 46-50; Go path/filepath.Match; moby patternmatcher. */
#ifndef STRAKE_DOCKERFILE_IGNORE_H
#define STRAKE_DOCKERFILE_IGNORE_H

#include "base/error.h"
#include "base/strv.h"

struct df_ignore;

/* df_ignore_parse - text of an ignore file; BOM and CRLF tolerated. A malformed pattern is
 * ERR_SYNTAX with file and line. */
int df_ignore_parse(const char *text, size_t n, const char *name, struct df_ignore **ret,
        struct error *err) must_check;
/* df_ignore_new - from a list of patterns (--exclude). */
int df_ignore_new(const struct strv *patterns, const char *name, struct df_ignore **ret,
        struct error *err) must_check;
void df_ignore_free(struct df_ignore *ig);           /* NULL is fine */
bool df_ignore_is_empty(const struct df_ignore *ig); /* NULL counts as empty */
/* df_ignore_match - is path (relative, slashes, no leading ./) excluded? Parents count: a path
 * below an excluded directory is excluded unless a later pattern brings it back. *ret_line (may be
 * NULL): the line of the pattern that decided; 0 for none. */
bool df_ignore_match(const struct df_ignore *ig, const char *path, int *ret_line);
/* df_ignore_may_reinclude - for an excluded directory: could a `!` pattern bring back something
 * below it? If not, the walk need not descend. */
bool df_ignore_may_reinclude(const struct df_ignore *ig, const char *dir);
const char *df_ignore_name(const struct df_ignore *ig);
/* df_ignore_pattern - text of the pattern at a line, for messages. */
const char *df_ignore_pattern(const struct df_ignore *ig, int line);

/* df_match - Go's filepath.Match over the whole path: '*' and '?' never match '/'; [a-z], [^a-z],
 * backslash escapes. 1 match, 0 no match, -1 malformed pattern. */
int df_match(const char *pattern, const char *path);
/* df_has_wildcard - any of * ? [ (unescaped). */
bool df_has_wildcard(const char *pattern);
/* df_match_double_star - '**' spans directories (--parents sources, ignore patterns). */
int df_match_double_star(const char *pattern, const char *path);
/* df_clean_path - Go's path.Clean; malloc'ed. */
char *df_clean_path(const char *path) must_check;

#endif
