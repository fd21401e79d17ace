/* base/base.h - the few macros and allocation helpers that every file uses.
 *
 * Small allocations abort on failure (the caller can do nothing sensible); every size that comes
 * from input is capped by the caller before it reaches these. */
#ifndef STRAKE_BASE_H
#define STRAKE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define must_check __attribute__((warn_unused_result))
#define printf_like(f, a) __attribute__((format(printf, f, a)))
#define noreturn_ __attribute__((noreturn))
#define unused_ __attribute__((unused))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* Ownership by scope: `_cleanup_free_ char *s`, `_cleanup_close_ int fd = -1`. */
#define _cleanup_(f) __attribute__((cleanup(f)))
#define _cleanup_free_ _cleanup_(free_ptr)
#define _cleanup_close_ _cleanup_(close_ptr)

static inline void free_ptr(void *p)
{
	free(*(void **)p);
}

/* close_ptr - close *fd unless negative; errno is kept, so that cleanup never hides a cause. */
void close_ptr(int *fd);

/* take_ptr/take_fd - hand ownership out of a cleanup variable. */
#define take_ptr(p)                                                                                \
	({                                                                                         \
		__typeof__(p) taken_ = (p);                                                        \
		(p) = NULL;                                                                        \
		taken_;                                                                            \
	})
static inline int take_fd(int *fd)
{
	int taken = *fd;
	*fd = -1;
	return taken;
}

/* Abort with a message on out-of-memory or arithmetic overflow; never return NULL. */
void *xmalloc(size_t n) must_check __attribute__((malloc, returns_nonnull));
void *xzalloc(size_t n) must_check __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t n, size_t size) must_check __attribute__((malloc, returns_nonnull));
void *xrealloc_array(void *p, size_t n, size_t size) must_check __attribute__((returns_nonnull));
char *xstrdup(const char *s) must_check __attribute__((malloc, returns_nonnull));
char *xstrndup(const char *s, size_t n) must_check __attribute__((malloc, returns_nonnull));
void *xmemdup(const void *p, size_t n) must_check __attribute__((malloc, returns_nonnull));
char *xasprintf(const char *fmt, ...) must_check printf_like(1, 2)
        __attribute__((malloc, returns_nonnull));

/* new0 - a zeroed object or array on the heap. */
#define new0(type, n) ((type *)xcalloc((n), sizeof(type)))

/* vec_grow - room for at least `need` elements in a (ptr, cap) pair, doubling. Use:
 *     vec_grow(&v->items, &v->cap, v->n + 1);
 */
#define vec_grow(pp, capp, need)                                                                   \
	do {                                                                                       \
		if ((size_t)(need) > *(capp))                                                      \
			*(pp) = vec_grow_(*(pp), (capp), (need), sizeof(**(pp)));                  \
	} while (0)
void *vec_grow_(void *p, size_t *cap, size_t need, size_t size) must_check;

static inline bool str_eq(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}
static inline bool str_starts(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}
bool str_ends(const char *s, const char *suffix);
/* str_or_empty - "" for NULL. */
static inline const char *str_or_empty(const char *s)
{
	return s ? s : "";
}

#endif
