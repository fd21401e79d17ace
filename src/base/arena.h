/* base/arena.h - memory that lives and dies together: one arena a build holds AST and graph.
 *
 * Allocations are 16-byte aligned, zeroed, and never freed one by one. Not thread-safe. */
#ifndef STRAKE_BASE_ARENA_H
#define STRAKE_BASE_ARENA_H

#include "base/base.h"

struct arena_block;
struct arena {
	struct arena_block *head;
	size_t used_total;
};

#define ARENA_INIT ((struct arena){0})
#define _cleanup_arena_ _cleanup_(arena_release)

void arena_release(struct arena *a);
void *arena_alloc(struct arena *a, size_t n) __attribute__((returns_nonnull));
char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const char *s, size_t n);
char *arena_printf(struct arena *a, const char *fmt, ...) printf_like(2, 3);
void *arena_memdup(struct arena *a, const void *p, size_t n);
#define arena_new(a, type, n) ((type *)arena_alloc((a), sizeof(type) * (n)))

#endif
