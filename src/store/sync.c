/* store/sync.c - when bytes are known to be on disk (docs/formats/store.md, "Durability").
 *
 * Publishing costs no fsync. A row says in `boot` under which boot its files were written; NULL
 * says that a syncfs came after them. Rows of this boot are good (kill -9 loses no page cache);
 * rows of an earlier boot are verified against their digest before use. Before a tag is written
 * one syncfs makes all that was published so far durable; where that is a config and a manifest,
 * an fsync of each does, which does not wait for what the whole machine has yet to write. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>

#include "store/internal.h"
#include "sys/path.h"

/* More than this goes faster in one syncfs. */
#define FEW_BLOBS 8
#define FEW_BYTES (1 << 20)

const char *store_boot_id(struct store *s)
{
	store_enter(s);
	if (!s->boot[0]) {
		_cleanup_free_ char *text = NULL;
		size_t n = 0;
		_cleanup_close_ int fd =
		        openat(AT_FDCWD, "/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
		if (fd >= 0 && sys_read_fd(fd, 64, &text, &n) >= 0 && n >= 36) {
			snprintf(s->boot, sizeof(s->boot), "%.36s", text);
		} else {
			/* Without /proc nothing ties two processes to one boot: an id of our own
			 * makes everybody else verify what we leave unsynced. */
			uint64_t r[2] = {(uint64_t)getpid(), (uint64_t)store_now()};
			(void)!getrandom(r, sizeof(r), 0);
			snprintf(s->boot, sizeof(s->boot), "p%016llx%016llx",
			        (unsigned long long)r[0], (unsigned long long)r[1]);
		}
	}
	store_leave(s);
	return s->boot;
}

int64_t store_boot_clock(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_BOOTTIME, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

bool store_trusted(struct store *s, const char *boot)
{
	return !boot || str_eq(boot, store_boot_id(s));
}

static int count_unsynced(struct store *s, struct error *err)
{
	sqlite3_stmt *st = db_stmt(s, ST_UNSYNCED, err);
	if (!st)
		return -1;
	db_bind_text(st, 1, store_boot_id(s));
	int rc = db_step(s, st, err);
	return rc > 0 ? MIN(sqlite3_column_int(st, 0), 1) : rc;
}

static int mark(struct store *s, int64_t until, struct error *err)
{
	static const enum db_stmt ids[] = {ST_SYNCED_LAYERS, ST_SYNCED_BLOBS};
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		sqlite3_stmt *st = db_stmt(s, ids[i], err);
		if (!st)
			return -1;
		db_bind_text(st, 1, store_boot_id(s));
		sqlite3_bind_int64(st, 2, until);
		if (db_done(s, st, err) < 0)
			return -1;
	}
	return 0;
}

/* discard_unsynced - the disk refused to take the bytes. The kernel reports that once and drops
 * the dirty pages, so a second syncfs would lie: everything in doubt is set aside. */
static void discard_unsynced(struct store *s)
{
	static const enum db_stmt ids[] = {ST_UNSYNCED_LAYERS, ST_UNSYNCED_BLOBS};
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		_cleanup_error_ struct error e = ERROR_INIT;
		_cleanup_free_ struct digest *v = NULL;
		size_t n = 0, cap = 0;
		if (db_begin(s, DB_READ, &e) < 0)
			return;
		sqlite3_stmt *st = db_stmt(s, ids[i], &e);
		if (st)
			db_bind_text(st, 1, store_boot_id(s));
		while (st && db_step(s, st, &e) > 0) {
			vec_grow(&v, &cap, n + 1);
			n += db_digest(st, 0, &v[n]);
		}
		if (db_end(s, 0, &e) < 0)
			return;
		for (size_t k = 0; k < n; k++) {
			if (i == 0)
				store_quarantine_layer(s, &v[k], "the disk failed to store it");
			else
				store_quarantine_blob(s, &v[k], "the disk failed to store it");
		}
	}
}

static int disk_failed(struct store *s, int errnum, struct error *err)
{
	discard_unsynced(s);
	(void)err_sys(err, errnum, "cannot write what is new in the store %s to the disk", s->path);
	return err_hint(err, "the disk reports errors: check it (dmesg), then build again");
}

/* few - what is unsynced, if that is small blobs and not many; 0 if not so. */
static int few(struct store *s, struct digest *v, struct error *err)
{
	int n = 0;
	int64_t bytes = 0;
	sqlite3_stmt *st = db_stmt(s, ST_UNSYNCED_FEW, err);
	if (!st)
		return -1;
	db_bind_text(st, 1, store_boot_id(s));
	sqlite3_bind_int(st, 2, FEW_BLOBS + 1);
	int rc;
	while ((rc = db_step(s, st, err)) > 0) {
		bytes += sqlite3_column_int64(st, 1);
		if (n == FEW_BLOBS || bytes > FEW_BYTES || !db_digest(st, 0, &v[n]))
			return 0;
		n++;
	}
	return rc < 0 ? -1 : n;
}

static int sync_blob(struct store *s, const struct digest *d)
{
	char path[STORE_PATH_MAX];
	_cleanup_close_ int fd = sys_open_beneath(s->dirfd, store_blob_path(path, d), O_RDONLY, 0);
	return fd < 0 ? fd : fsync(fd) < 0 ? -errno : 0;
}

static int mark_blobs(struct store *s, const struct digest *v, int n, struct error *err)
{
	for (int i = 0; i < n; i++) {
		sqlite3_stmt *st = db_stmt(s, ST_SYNCED_BLOB, err);
		if (!st)
			return -1;
		db_bind_digest(st, 1, &v[i]);
		db_bind_text(st, 2, store_boot_id(s));
		if (db_done(s, st, err) < 0)
			return -1;
	}
	return 0;
}

/* sync_few - 1 if all is durable now; 0 if it takes a syncfs: too much, or a blob that another
 * process removed meanwhile. Only the rows that were listed are marked: others may come between. */
static int sync_few(struct store *s, struct error *err)
{
	struct digest v[FEW_BLOBS];
	int n;
	do {
		n = db_begin(s, DB_READ, err);
		if (n == 0)
			n = db_end(s, few(s, v, err), err);
	} while (db_again(s, n, err));
	if (n <= 0)
		return n;
	for (int i = 0; i < n; i++) {
		int r = sync_blob(s, &v[i]);
		if (r == -ENOENT)
			return 0;
		if (r < 0)
			return disk_failed(s, -r, err);
	}
	_cleanup_close_ int dir = sys_open_dir(s->dirfd, "blobs/sha256");
	if (dir < 0 || fsync(dir) < 0)
		return disk_failed(s, dir < 0 ? -dir : errno, err);
	int rc;
	do {
		rc = db_begin(s, DB_WRITE, err);
		if (rc == 0)
			rc = db_end(s, mark_blobs(s, v, n, err), err);
	} while (db_again(s, rc, err));
	return rc < 0 ? -1 : 1;
}

int store_make_durable(struct store *s, struct error *err)
{
	int rc;
	do {
		rc = db_begin(s, DB_READ, err);
		if (rc == 0)
			rc = db_end(s, count_unsynced(s, err), err);
	} while (db_again(s, rc, err));
	if (rc <= 0)
		return rc;
	rc = sync_few(s, err);
	if (rc != 0)
		return rc < 0 ? -1 : 0;
	/* Only rows from before the syncfs are covered by it; publishers stamp theirs after the
	 * rename, with the same clock. */
	int64_t until = store_boot_clock();
	if (syncfs(s->dirfd) < 0)
		return disk_failed(s, errno, err);
	do {
		rc = db_begin(s, DB_WRITE, err);
		if (rc == 0)
			rc = db_end(s, mark(s, until, err), err);
	} while (db_again(s, rc, err));
	return rc;
}
