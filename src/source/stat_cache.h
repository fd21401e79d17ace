/* source/stat_cache.h - content digests of context files remembered by what lstat says of them.
 *
 * One file a context root, docs/formats/stat-cache.md. A file that is damaged, foreign or missing
 * is an empty cache. get and put are thread-safe. Private to src/source. */
#ifndef STRAKE_SOURCE_STAT_CACHE_H
#define STRAKE_SOURCE_STAT_CACHE_H

#include <sys/stat.h>

#include "codec/sha256.h"

struct stat_cache;

struct stat_key {
	uint64_t dev, ino, size;
	int64_t mtime_ns, ctime_ns;
};
struct stat_key stat_key_of(const struct stat *st);
static inline bool stat_key_eq(const struct stat_key *a, const struct stat_key *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/* stat_cache_open - rootfd is the context's root (its device and inode name the file, its file
 * system decides how fine its clock is). dirfd < 0: nothing is loaded and nothing is saved. */
struct stat_cache *stat_cache_open(int dirfd, int rootfd);
/* stat_cache_close - write back if there is something new, atomically; failure to write loses the
 * cache, not the build. */
void stat_cache_close(struct stat_cache *c);

/* stat_cache_get - the digest and the encoded xattrs (borrowed) of the file with this key. */
bool stat_cache_get(struct stat_cache *c, const struct stat_key *k, struct digest *ret,
        const void **ret_xattrs, size_t *ret_n);
/* stat_cache_now - the wall clock in ns, to be taken before the file is opened for hashing. */
int64_t stat_cache_now(void);
/* stat_cache_put - remember, unless the file changed so shortly before hashed_at that one more
 * change could have left the same times (git's racy rule). */
void stat_cache_put(struct stat_cache *c, const struct stat_key *k, int64_t hashed_at,
        const struct digest *d, const void *xattrs, size_t n_xattrs);

#endif
