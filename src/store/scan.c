/* store/scan.c - what things really take on disk: blocks, each inode once.
 *
 * Layers share files by hard links (COPY --from), so a layer's removal frees only what no other
 * name holds. An inode with one link is counted at once; one with several is remembered with the
 * links that are left, and is freed with the last. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

#include "store/internal.h"
#include "store/scan.h"
#include "sys/path.h"

#define BLOCK UINT64_C(512) /* of st_blocks, whatever the file system's block is */

void scan_release(struct scan *sc)
{
	free(sc->v);
	free(sc->slots);
	*sc = (struct scan){0};
}

void scan_item_release(struct scan_item *it)
{
	free(it->shared);
	*it = (struct scan_item){0};
}

static uint64_t hash_ino(dev_t dev, ino_t ino)
{
	uint64_t h = ((uint64_t)ino ^ ((uint64_t)dev << 40)) * UINT64_C(0x9E3779B97F4A7C15);
	return h ^ (h >> 29);
}

static void rehash(struct scan *sc)
{
	sc->n_slots = MAX(sc->n_slots * 2, (size_t)1024);
	free(sc->slots);
	sc->slots = new0(uint32_t, sc->n_slots);
	for (size_t i = 0; i < sc->n; i++) {
		size_t at = hash_ino(sc->v[i].dev, sc->v[i].ino) & (sc->n_slots - 1);
		while (sc->slots[at])
			at = (at + 1) & (sc->n_slots - 1);
		sc->slots[at] = (uint32_t)i + 1;
	}
}

/* inode_index - of an inode with several links; *ret_new: seen for the first time. */
static uint32_t inode_index(struct scan *sc, const struct stat *st, bool *ret_new)
{
	if ((sc->n + 1) * 2 > sc->n_slots)
		rehash(sc);
	size_t at = hash_ino(st->st_dev, st->st_ino) & (sc->n_slots - 1);
	for (; sc->slots[at]; at = (at + 1) & (sc->n_slots - 1)) {
		uint32_t i = sc->slots[at] - 1;
		if (sc->v[i].ino == st->st_ino && sc->v[i].dev == st->st_dev) {
			*ret_new = false;
			return i;
		}
	}
	vec_grow(&sc->v, &sc->cap, sc->n + 1);
	sc->v[sc->n] = (struct scan_inode){.dev = st->st_dev,
	        .ino = st->st_ino,
	        .left = (uint32_t)st->st_nlink,
	        .bytes = (uint64_t)st->st_blocks * BLOCK};
	sc->slots[at] = (uint32_t)++sc->n;
	*ret_new = true;
	return (uint32_t)(sc->n - 1);
}

static void count(struct scan *sc, struct scan_item *it, const struct stat *st)
{
	if (S_ISDIR(st->st_mode) || st->st_nlink <= 1) {
		it->own += (uint64_t)st->st_blocks * BLOCK;
		return;
	}
	bool first;
	uint32_t i = inode_index(sc, st, &first);
	vec_grow(&it->shared, &it->cap, it->n + 1);
	it->shared[it->n++] = i;
	if (first)
		it->first += sc->v[i].bytes;
}

static int scan_dir(
        struct scan *sc, struct scan_item *it, int root, const char *path, struct strv *todo)
{
	int fd = *path ? sys_open_beneath(root, path, O_RDONLY | O_DIRECTORY, 0)
	               : sys_open_dir(root, ".");
	if (fd < 0)
		return fd;
	DIR *d = fdopendir(fd);
	if (!d) {
		int e = errno;
		close(fd);
		return -e;
	}
	for (struct dirent *e; (e = readdir(d));) {
		struct stat st;
		if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
			continue;
		if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		count(sc, it, &st);
		if (S_ISDIR(st.st_mode))
			strv_addf(todo, "%s%s%s", path, *path ? "/" : "", e->d_name);
	}
	closedir(d);
	return 0;
}

int scan_path(struct scan *sc, int dirfd, const char *name, struct scan_item *ret)
{
	struct stat st;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	count(sc, ret, &st);
	if (!S_ISDIR(st.st_mode))
		return 0;
	_cleanup_close_ int root = sys_open_dir(dirfd, name);
	if (root < 0)
		return root;
	/* Directories wait as paths, not as descriptors: depth costs neither stack nor files. */
	_cleanup_strv_ struct strv todo = STRV_INIT;
	int rc = scan_dir(sc, ret, root, "", &todo);
	while (todo.n) {
		_cleanup_free_ char *path = todo.v[--todo.n];
		todo.v[todo.n] = NULL;
		/* What this user may not read cannot be counted; that is no reason to stop. */
		(void)scan_dir(sc, ret, root, path, &todo);
	}
	return rc;
}

static int compare_index(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

void scan_split(const struct scan *sc, const struct scan_item *it, uint64_t *ret_unique,
        uint64_t *ret_shared)
{
	uint64_t unique = it->own, shared = 0;
	if (it->n)
		qsort(it->shared, it->n, sizeof(*it->shared), compare_index);
	for (size_t i = 0, j; i < it->n; i = j) {
		for (j = i + 1; j < it->n && it->shared[j] == it->shared[i];)
			j++;
		const struct scan_inode *ino = &sc->v[it->shared[i]];
		*(j - i >= ino->left ? &unique : &shared) += ino->bytes;
	}
	*ret_unique = unique;
	*ret_shared = shared;
}

uint64_t scan_free_item(struct scan *sc, const struct scan_item *it)
{
	uint64_t freed = it->own;
	for (size_t i = 0; i < it->n; i++) {
		struct scan_inode *ino = &sc->v[it->shared[i]];
		if (ino->left && --ino->left == 0)
			freed += ino->bytes;
	}
	return freed;
}

/* --- usage ---------------------------------------------------------------------------------- */

/* each - scan every entry of <store>/<dir>; the directory's own blocks are "other". */
static int each(struct store *s, struct scan *sc, const char *dir, uint64_t *bytes, uint64_t *n,
        struct error *err)
{
	DIR *d;
	int rc = store_opendir(s, dir, &d, err);
	if (rc <= 0)
		return rc;
	for (struct dirent *e; (e = readdir(d));) {
		if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
			continue;
		struct scan_item it = {0};
		if (scan_path(sc, dirfd(d), e->d_name, &it) != -ENOENT) {
			*bytes += it.own + it.first;
			*n += 1;
		}
		scan_item_release(&it);
	}
	closedir(d);
	return 0;
}

int store_usage(struct store *s, struct store_usage *ret, struct error *err)
{
	struct store_usage u = {0};
	struct scan sc = {0};
	static const char *const others[] = {"staging", "logs", "cache", "quarantine"};
	uint64_t n = 0;
	int rc = each(s, &sc, "layers", &u.layers, &u.n_layers, err);
	if (rc == 0)
		rc = each(s, &sc, "blobs/sha256", &u.blobs, &u.n_blobs, err);
	if (rc == 0)
		rc = each(s, &sc, "mounts", &u.caches, &u.n_caches, err);
	if (rc == 0)
		rc = each(s, &sc, "containers", &u.containers, &u.n_containers, err);
	if (rc == 0)
		rc = each(s, &sc, "volumes", &u.volumes, &u.n_volumes, err);
	for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(others); i++)
		rc = each(s, &sc, others[i], &u.other, &n, err);
	static const char *const files[] = {"meta.db", "meta.db-wal", "meta.db-shm", "reserve"};
	for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(files); i++) {
		struct stat st;
		if (fstatat(s->dirfd, files[i], &st, AT_SYMLINK_NOFOLLOW) == 0)
			u.other += (uint64_t)st.st_blocks * BLOCK;
	}
	scan_release(&sc);
	if (rc < 0)
		return -1;
	u.total = u.layers + u.blobs + u.caches + u.containers + u.volumes + u.other;
	*ret = u;
	return 0;
}

static int estimate(struct store *s, uint64_t *ret, struct error *err)
{
	sqlite3_stmt *q = db_stmt(s, ST_ESTIMATE, err);
	int rc = q ? db_step(s, q, err) : -1;
	if (rc > 0)
		*ret = (uint64_t)sqlite3_column_int64(q, 0);
	return rc < 0 ? -1 : 0;
}

int store_estimate(struct store *s, uint64_t *ret_bytes, struct error *err)
{
	uint64_t bytes = 0;
	int rc;
	do {
		rc = db_begin(s, DB_READ, err);
		if (rc == 0)
			rc = db_end(s, estimate(s, &bytes, err), err);
	} while (db_again(s, rc, err));
	if (rc == 0)
		*ret_bytes = bytes;
	return rc;
}
