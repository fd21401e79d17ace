/* base/pool.h - a fixed set of threads for pure compute and file copying.
 *
 * pool_run() is a parallel for: it returns when fn was called for every index; the caller's
 * thread takes part, so n_threads 1 means "no extra thread". Several threads may call pool_run at
 * once; calls made from inside fn run inline. The pool never touches process state: the owner
 * must free it before unshare(CLONE_NEWUSER), which wants a single-threaded process. */
#ifndef STRAKE_BASE_POOL_H
#define STRAKE_BASE_POOL_H

#include <pthread.h>

#include "base/base.h"

struct pool;

struct pool *pool_new(unsigned n_threads);
/* pool_new_lazy - its threads start with the first pool_run() of 32 calls or more, or with
 * pool_start(), from the one thread that owns it until then: a cached build needs none. */
struct pool *pool_new_lazy(unsigned n_threads);
void pool_start(struct pool *p);          /* NULL is fine */
void pool_free(struct pool *p);           /* joins; NULL is fine */
unsigned pool_size(const struct pool *p); /* 1 for NULL */
/* pool_run - p may be NULL: then a plain loop. */
void pool_run(struct pool *p, size_t n, void (*fn)(void *ctx, size_t i), void *ctx);

/* thread_start - a thread that takes none of the signals that the main thread waits for. */
bool thread_start(pthread_t *ret, void *(*fn)(void *arg), void *arg) must_check;

#endif
