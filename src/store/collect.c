/* store/collect.c - the ceiling: whether a build has to call the collector when it has ended.
 *
 * Must cost microseconds where the answer is no: one query, and a number that is remembered. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "store/internal.h"
#include "store/scan.h"
#include "sys/path.h"

#define VAIN_SECONDS 3600   /* how long not to look again at a store that cannot be made smaller */
#define MOUNTS_SECONDS 3600 /* how long the measured size of the cache mounts is believed */

/* What the last collector left behind, in prune.lock: three numbers as text. */
struct left {
	int64_t when;
	bool vain;        /* it could not make the store as small as it was told */
	uint64_t bytes;   /* layers and blobs in real blocks ... */
	uint64_t by_rows; /* ... and as the rows have it, without directories and rounding */
};

void store_prune_left(struct store *s, uint64_t bytes, bool vain)
{
	uint64_t by_rows;
	_cleanup_error_ struct error e = ERROR_INIT;
	_cleanup_close_ int fd = openat(s->dirfd, "prune.lock", O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || store_estimate(s, &by_rows, &e) < 0)
		return;
	_cleanup_free_ char *text = xasprintf(
	        "%d %llu %llu\n", vain, (unsigned long long)bytes, (unsigned long long)by_rows);
	if (ftruncate(fd, 0) == 0)
		(void)!sys_write_all(fd, text, strlen(text));
}

static struct left read_left(const struct store *s)
{
	struct left l = {0};
	struct stat st;
	_cleanup_free_ char *text = NULL;
	size_t n;
	unsigned long long bytes, by_rows;
	int vain;
	if (fstatat(s->dirfd, "prune.lock", &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	        sys_read_file(s->dirfd, "prune.lock", 128, &text, &n) < 0 ||
	        sscanf(text, "%d %llu %llu", &vain, &bytes, &by_rows) != 3)
		return l;
	return (struct left){st.st_mtime, vain != 0, bytes, by_rows};
}

static bool was_in_vain(const struct left *l)
{
	int64_t age = store_now() - l->when;
	return l->vain && age >= 0 && age < VAIN_SECONDS;
}

/* in_blocks - rows count bytes of files; many small ones take more. The last look at the files says
 * how much more; before it, a tenth. */
static uint64_t in_blocks(uint64_t by_rows, const struct left *l)
{
	double ratio = l->by_rows ? (double)l->bytes / (double)l->by_rows : 1.1;
	return (uint64_t)((double)by_rows * MIN(MAX(ratio, 0.5), 8.0));
}

/* mounts_size - no row knows it, and counting files costs; so it is an hour old at most. */
static uint64_t mounts_size(struct store *s)
{
	static const char name[] = "mounts.size";
	struct stat st;
	_cleanup_free_ char *text = NULL;
	size_t n;
	int64_t age = fstatat(s->dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0
	                      ? INT64_MAX
	                      : store_now() - st.st_mtime;
	if (age >= 0 && age < MOUNTS_SECONDS && sys_read_file(s->dirfd, name, 64, &text, &n) >= 0)
		return strtoull(text, NULL, 10);
	struct scan sc = {0};
	struct scan_item it = {0};
	uint64_t size = scan_path(&sc, s->dirfd, "mounts", &it) < 0 ? 0 : it.own + it.first;
	scan_item_release(&it);
	scan_release(&sc);
	_cleanup_free_ char *line = xasprintf("%llu\n", (unsigned long long)size);
	_cleanup_close_ int fd =
	        openat(s->dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0)
		(void)!sys_write_all(fd, line, strlen(line));
	return size;
}

uint64_t store_default_limit(const struct store *s)
{
	struct statvfs v;
	if (fstatvfs(s->dirfd, &v) < 0)
		return 0;
	return (uint64_t)v.f_blocks * v.f_frsize / 2;
}

int store_collect(struct store *s, uint64_t limit, uint64_t *ret_freed, struct error *err)
{
	uint64_t bytes;
	*ret_freed = 0;
	struct left last = read_left(s);
	if (!limit || was_in_vain(&last))
		return 0;
	if (store_estimate(s, &bytes, err) < 0)
		return -1;
	if (in_blocks(bytes, &last) + mounts_size(s) <= limit)
		return 0;
	struct store_prune_options o = {.keep_bytes = limit};
	return store_prune(s, &o, ret_freed, err);
}
