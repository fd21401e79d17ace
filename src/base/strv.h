/* base/strv.h - a growing vector of owned strings, NULL-terminated so that it passes as argv. */
#ifndef STRAKE_BASE_STRV_H
#define STRAKE_BASE_STRV_H

#include "base/base.h"

struct strv {
	char **v; /* v[n] == NULL once anything was added; NULL while empty */
	size_t n, cap;
};

#define STRV_INIT ((struct strv){0})
#define _cleanup_strv_ _cleanup_(strv_release)
#define strv_foreach(s, sv)                                                                        \
	for (size_t s##_i = 0; s##_i < (sv)->n; s##_i++)                                           \
		for (const char *s = (sv)->v[s##_i]; s; s = NULL)

void strv_release(struct strv *sv);
void strv_add(struct strv *sv, const char *s);
void strv_add_take(struct strv *sv, char *s); /* s is owned from here on */
void strv_addf(struct strv *sv, const char *fmt, ...) printf_like(2, 3);
void strv_copy(struct strv *dst, const struct strv *src); /* dst is replaced */
void strv_remove(struct strv *sv, size_t i);
bool strv_contains(const struct strv *sv, const char *s);
bool strv_equal(const struct strv *a, const struct strv *b);
/* strv_split - the pieces between single characters of `seps`; empty pieces are kept. */
void strv_split(struct strv *sv, const char *s, const char *seps);
/* strv_split_csv - one line of comma-separated values: a field in double quotes may hold commas,
 * and
 * "" for a quote, as docker reads --output and --cache-to. */
void strv_split_csv(struct strv *sv, const char *line);
char *strv_join(const struct strv *sv, const char *sep) must_check;

/* Environment lists: entries "K=V", keys unique. */
const char *env_get(const struct strv *env, const char *key); /* NULL: absent */
void env_set(struct strv *env, const char *key, const char *value);
void env_unset(struct strv *env, const char *key);

#endif
