/* store/db.c - meta.db: one connection a handle, guarded by mu; transactions; damage and rebuild.
 *
 * The database is an index: layers and blobs are found again on disk without it (layer.c, blob.c
 * adopt what has no row), so a damaged file is set aside and a new one begun; only tags are lost.
 * Every writer holds the shared store lock, and whoever replaces the file holds it exclusively, so
 * no transaction can be committed into a file that was set aside. Nothing else in this process may
 * open meta.db: closing any descriptor of it would drop SQLite's POSIX locks. */
#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <stdio.h>
#include <sys/file.h>
#include <time.h>

#include "base/log.h"
#include "store/internal.h"
#include "sys/lock.h"
#include "sys/path.h"

#define SCHEMA_VERSION 1
#define CHECKPOINT_FRAMES 1000 /* while running: about 4 MB of WAL */
#define CHECKPOINT_AT_CLOSE 32 /* a short WAL costs the next reader less than our fsync */

static const char schema[] =
        "CREATE TABLE layers(diff_id BLOB PRIMARY KEY, tree BLOB NOT NULL, size INT, tar_size INT,"
        " canonical INT, boot TEXT, pub INT, used INT) WITHOUT ROWID;"
        "CREATE INDEX layers_unsynced ON layers(boot, pub) WHERE boot IS NOT NULL;"
        "CREATE TABLE layer_blobs(diff_id BLOB, digest BLOB, media_type TEXT, size INT,"
        " PRIMARY KEY(diff_id, digest)) WITHOUT ROWID;"
        "CREATE TABLE blobs(digest BLOB PRIMARY KEY, size INT, boot TEXT, pub INT, used INT)"
        " WITHOUT ROWID;"
        "CREATE INDEX blobs_unsynced ON blobs(boot, pub) WHERE boot IS NOT NULL;"
        "CREATE TABLE records(kind TEXT, key BLOB, text TEXT, used INT, PRIMARY KEY(kind, key))"
        " WITHOUT ROWID;"
        "CREATE TABLE images(name TEXT, os TEXT, arch TEXT, variant TEXT, os_version TEXT,"
        " slot TEXT, id TEXT, manifest TEXT, layers BLOB, size INT, created INT, tagged INT,"
        " PRIMARY KEY(name, os, arch, variant, os_version, slot)) WITHOUT ROWID;"
        "CREATE INDEX images_id ON images(id);";

#define IMAGE_COLUMNS "name,id,manifest,os,arch,variant,os_version,created,tagged,size,layers"

static const char *const sql[ST_N] = {
        [ST_BEGIN] = "BEGIN",
        [ST_BEGIN_WRITE] = "BEGIN IMMEDIATE",
        [ST_COMMIT] = "COMMIT",
        [ST_ROLLBACK] = "ROLLBACK",
        [ST_SAVEPOINT] = "SAVEPOINT op",
        [ST_RELEASE] = "RELEASE op",
        [ST_ROLLBACK_TO] = "ROLLBACK TO op",
        [ST_LAYER_GET] = "SELECT tree,size,tar_size,canonical,boot,used FROM layers"
                         " WHERE diff_id=?1",
        [ST_LAYER_PUT] = "INSERT OR REPLACE INTO layers VALUES(?1,?2,?3,?4,?5,?6,?7,?8)",
        [ST_LAYER_DELETE] = "DELETE FROM layers WHERE diff_id=?1",
        [ST_LAYER_TRUST] = "UPDATE layers SET boot=NULL WHERE diff_id=?1",
        [ST_LAYER_USED] = "UPDATE layers SET used=?2 WHERE diff_id=?1",
        [ST_LAYER_ALL] = "SELECT diff_id,used,boot,size FROM layers",
        [ST_LAYER_BLOB_PUT] = "INSERT OR REPLACE INTO layer_blobs VALUES(?1,?2,?3,?4)",
        [ST_LAYER_BLOB_LIST] = "SELECT digest,media_type,size FROM layer_blobs WHERE diff_id=?1",
        [ST_LAYER_BLOB_ALL] = "SELECT diff_id,digest FROM layer_blobs",
        [ST_BLOB_GET] = "SELECT size,boot,used FROM blobs WHERE digest=?1",
        [ST_BLOB_PUT] = "INSERT OR REPLACE INTO blobs VALUES(?1,?2,?3,?4,?5)",
        [ST_BLOB_DELETE] = "DELETE FROM blobs WHERE digest=?1",
        [ST_BLOB_TRUST] = "UPDATE blobs SET boot=NULL WHERE digest=?1",
        [ST_BLOB_USED] = "UPDATE blobs SET used=?2 WHERE digest=?1",
        [ST_BLOB_ALL] = "SELECT digest,used FROM blobs",
        [ST_SYNCED_LAYERS] = "UPDATE layers SET boot=NULL WHERE boot=?1 AND pub<=?2",
        [ST_SYNCED_BLOBS] = "UPDATE blobs SET boot=NULL WHERE boot=?1 AND pub<=?2",
        [ST_UNSYNCED] = "SELECT (SELECT count(*) FROM layers WHERE boot=?1) +"
                        " (SELECT count(*) FROM blobs WHERE boot=?1)",
        [ST_ESTIMATE] = "SELECT (SELECT ifnull(sum(size),0) FROM layers) +"
                        " (SELECT ifnull(sum(size),0) FROM blobs)",
        [ST_UNSYNCED_LAYERS] = "SELECT diff_id FROM layers WHERE boot=?1",
        [ST_UNSYNCED_BLOBS] = "SELECT digest FROM blobs WHERE boot=?1",
        [ST_UNSYNCED_FEW] = "SELECT digest,size FROM blobs WHERE boot=?1 AND"
                            " NOT EXISTS (SELECT 1 FROM layers WHERE boot=?1) LIMIT ?2",
        [ST_SYNCED_BLOB] = "UPDATE blobs SET boot=NULL WHERE digest=?1 AND boot=?2",
        [ST_RECORD_GET] = "SELECT text,used FROM records WHERE kind=?1 AND key=?2",
        [ST_RECORD_PUT] = "INSERT OR REPLACE INTO records VALUES(?1,?2,?3,?4)",
        [ST_RECORD_USED] = "UPDATE records SET used=?3 WHERE kind=?1 AND key=?2",
        [ST_RECORD_ALL] = "SELECT kind,key,text,used FROM records",
        [ST_RECORD_DELETE] = "DELETE FROM records WHERE kind=?1 AND key=?2",
        [ST_IMAGE_BY_NAME] = "SELECT " IMAGE_COLUMNS " FROM images WHERE name=?1",
        [ST_IMAGE_BY_ID] = "SELECT " IMAGE_COLUMNS " FROM images WHERE id>=?1 AND id<?1||'g'"
                           " ORDER BY id, name=''",
        [ST_IMAGE_BY_MANIFEST] = "SELECT " IMAGE_COLUMNS " FROM images WHERE manifest=?1"
                                 " ORDER BY name=''",
        [ST_IMAGE_ALL] = "SELECT " IMAGE_COLUMNS " FROM images ORDER BY name='',name,tagged",
        [ST_IMAGE_PUT] = "INSERT OR REPLACE INTO images(name,os,arch,variant,os_version,slot,id,"
                         "manifest,layers,size,created,tagged)"
                         " VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12)",
        [ST_IMAGE_UNTAG_OTHERS] = "DELETE FROM images WHERE name=?1 AND name<>''",
        /* An image that loses its last name stays as an untagged one until it is pruned. */
        [ST_IMAGE_KEEP_AS_UNTAGGED] =
                "INSERT OR IGNORE INTO images(name,os,arch,variant,os_version,slot,id,manifest,"
                "layers,size,created,tagged) SELECT '',os,arch,variant,os_version,id,id,manifest,"
                "layers,size,created,tagged FROM images a WHERE name=?1 AND name<>'' AND id<>?2"
                " AND (?3='' OR (os=?3 AND arch=?4 AND variant=?5 AND os_version=?6)) AND NOT "
                "EXISTS"
                " (SELECT 1 FROM images b WHERE b.id=a.id AND b.name<>?1)",
        [ST_IMAGE_DROP_UNTAGGED] = "DELETE FROM images WHERE name='' AND id=?1",
        [ST_IMAGE_DELETE_NAME] = "DELETE FROM images WHERE name=?1",
        [ST_IMAGE_DELETE_ID] = "DELETE FROM images WHERE id=?1",
        [ST_IMAGE_DELETE_ROW] = "DELETE FROM images WHERE name=?1 AND id=?2",
};

/* --- results -------------------------------------------------------------------------------- */

static int db_fail(struct store *s, const char *what, struct error *err)
{
	int rc = sqlite3_errcode(s->db.h);
	int code = sqlite3_extended_errcode(s->db.h);
	const char *text = sqlite3_errmsg(s->db.h);
	/* The schema of a file that says it is ours: damage too. */
	if ((rc & 0xff) == SQLITE_ERROR && str_starts(text, "no such "))
		rc = SQLITE_CORRUPT;
	switch (rc & 0xff) {
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_FORMAT:
		s->db.corrupt = true;
		return err_set(err, ERR_INTEGRITY, "the store's database %s/meta.db is damaged: %s",
		        s->path, text);
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		(void)err_set(err, ERR_SYSTEM,
		        "the store's database %s/meta.db was locked by another process for %u s",
		        s->path, s->busy_ms / 1000);
		err->errnum = EBUSY;
		return err_hint(err,
		        "find the process with `fuser -v %s/meta.db`; a stopped or "
		        "hung one can be ended safely",
		        s->path);
	case SQLITE_FULL:
		return err_sys(err, ENOSPC, "%s in %s/meta.db", what, s->path);
	default:
		break;
	}
	int e = sqlite3_system_errno(s->db.h);
	/* SQLite falls back to reading what it may not write, and tells only then. */
	if (e == 0 && (rc & 0xff) == SQLITE_READONLY)
		e = faccessat(s->dirfd, "meta.db", W_OK, AT_EACCESS) < 0 ? errno : EROFS;
	if (e == 0)
		e = EIO;
	(void)err_sys(err, e, "%s in %s/meta.db: %s (SQLite code %d)", what, s->path, text, code);
	if (e == EACCES || e == EPERM)
		(void)err_hint(err, "the store belongs to another user: set STRAKE_STORE to a "
		                    "directory of yours");
	return -1;
}

sqlite3_stmt *db_stmt(struct store *s, enum db_stmt id, struct error *err)
{
	sqlite3_stmt **st = &s->db.st[id];
	if (*st) {
		sqlite3_reset(*st);
		return *st;
	}
	if (sqlite3_prepare_v3(s->db.h, sql[id], -1, SQLITE_PREPARE_PERSISTENT, st, NULL)) {
		(void)db_fail(s, "cannot read the schema", err);
		return NULL;
	}
	return *st;
}

int db_step(struct store *s, sqlite3_stmt *st, struct error *err)
{
	int rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		return 1;
	if (rc == SQLITE_DONE) {
		sqlite3_reset(st);
		return 0;
	}
	bool read = sqlite3_stmt_readonly(st) && !s->db.open_write;
	(void)db_fail(s, read ? "cannot read" : "cannot write", err);
	sqlite3_reset(st);
	return -1;
}

int db_done(struct store *s, sqlite3_stmt *st, struct error *err)
{
	int rc = db_step(s, st, err);
	if (rc > 0)
		sqlite3_reset(st);
	return rc < 0 ? -1 : 0;
}

static int run(struct store *s, enum db_stmt id, struct error *err)
{
	sqlite3_stmt *st = db_stmt(s, id, err);
	return st ? db_done(s, st, err) : -1;
}

static int exec(struct store *s, const char *text, struct error *err)
{
	if (sqlite3_exec(s->db.h, text, NULL, NULL, NULL) != SQLITE_OK)
		return db_fail(s, "cannot write", err);
	return 0;
}

void db_bind_digest(sqlite3_stmt *st, int i, const struct digest *d)
{
	sqlite3_bind_blob(st, i, d->b, sizeof(d->b), SQLITE_TRANSIENT);
}

void db_bind_text(sqlite3_stmt *st, int i, const char *t)
{
	if (t)
		sqlite3_bind_text(st, i, t, -1, SQLITE_STATIC);
	else
		sqlite3_bind_null(st, i);
}

bool db_digest(sqlite3_stmt *st, int col, struct digest *ret)
{
	const void *p = sqlite3_column_blob(st, col);
	if (!p || sqlite3_column_bytes(st, col) != sizeof(ret->b))
		return false;
	memcpy(ret->b, p, sizeof(ret->b));
	return true;
}

char *db_text(sqlite3_stmt *st, int col)
{
	const unsigned char *p = sqlite3_column_text(st, col);
	return p ? xstrdup((const char *)p) : NULL;
}

/* --- opening -------------------------------------------------------------------------------- */

/* on_busy - SQLite's own delays grow to 100 ms, which makes a hundred short writers slow. */
static int on_busy(void *ctx, int n)
{
	struct store *s = ctx;
	static _Thread_local struct timespec start;
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (n == 0)
		start = now;
	int64_t ms = (now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000;
	if (ms >= s->busy_ms)
		return 0;
	/* Spread by the clock's low bits, so that waiters do not march in step. */
	long us = MIN(200L * (n + 1), 5000L) + now.tv_nsec / 1000 % 500;
	nanosleep(&(struct timespec){.tv_nsec = us * 1000}, NULL);
	return 1;
}

static int on_wal(void *ctx, sqlite3 *h, const char *name, int frames)
{
	struct store *s = ctx;
	s->db.wal_frames = frames;
	if (frames >= CHECKPOINT_FRAMES)
		(void)sqlite3_wal_checkpoint_v2(h, name, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	return SQLITE_OK;
}

void db_close(struct store *s)
{
	struct db *db = &s->db;
	if (!db->h)
		return;
	for (int i = 0; i < ST_N; i++) {
		sqlite3_finalize(db->st[i]);
		db->st[i] = NULL;
	}
	if (db->wal_frames >= CHECKPOINT_AT_CLOSE && !db->corrupt) {
		sqlite3_busy_handler(db->h, NULL, NULL);
		(void)sqlite3_wal_checkpoint_v2(
		        db->h, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	}
	sqlite3_close(db->h);
	db->h = NULL;
	db->sync_set = db->open_read = db->open_write = false;
	db->wal_frames = 0;
}

static int user_version(struct store *s, int *ret, struct error *err)
{
	sqlite3_stmt *st;
	if (sqlite3_prepare_v2(s->db.h, "PRAGMA user_version", -1, &st, NULL))
		return db_fail(s, "cannot read", err);
	int rc = sqlite3_step(st);
	int v = rc == SQLITE_ROW ? sqlite3_column_int(st, 0) : db_fail(s, "cannot read", err);
	sqlite3_finalize(st);
	if (rc != SQLITE_ROW)
		return -1;
	*ret = v;
	return 0;
}

/* connect - open the file whatever it holds; *ret_version 0: empty. */
static int connect_db(struct store *s, int *ret_version, struct error *err)
{
	_cleanup_free_ char *path = xasprintf("%s/meta.db", s->path);
	struct db *db = &s->db;
	int rc = sqlite3_open_v2(path, &db->h,
	        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
	if (!db->h)
		return err_set(err, ERR_SYSTEM, "out of memory opening %s", path);
	if (rc != SQLITE_OK) {
		(void)db_fail(s, "cannot open the database", err);
		db_close(s);
		return -1;
	}
	sqlite3_busy_handler(db->h, on_busy, s);
	/* A reader must not pay two fsyncs for somebody else's WAL when it closes. */
	sqlite3_db_config(db->h, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	sqlite3_wal_hook(db->h, on_wal, s);
	struct stat st;
	if (user_version(s, ret_version, err) < 0) {
		bool corrupt = db->corrupt;
		if (fstatat(s->dirfd, "meta.db", &st, AT_SYMLINK_NOFOLLOW) == 0) {
			db->dev = st.st_dev;
			db->ino = st.st_ino;
		}
		db_close(s);
		db->corrupt = corrupt;
		return -1;
	}
	if (fstatat(s->dirfd, "meta.db", &st, AT_SYMLINK_NOFOLLOW) < 0) {
		(void)err_sys(err, errno, "cannot stat %s", path);
		db_close(s);
		return -1;
	}
	db->dev = st.st_dev;
	db->ino = st.st_ino;
	return 0;
}

/* go_exclusive / go_back - trade the store lock for the exclusive one. flock drops the old lock
 * first, so two processes that do this at once cannot wait for each other. */
static int go_exclusive(struct store *s, struct error *err)
{
	if (s->lock_exclusive)
		return 0;
	int r = sys_lock_fd(s->lock_fd, true, true);
	return r < 0 ? err_sys(err, r, "cannot lock the store %s", s->path) : 1;
}

static void go_back(struct store *s, int changed)
{
	if (changed > 0)
		(void)!sys_lock_fd(s->lock_fd, false, true);
}

static bool dir_has_entries(int dirfd, const char *name)
{
	int fd = sys_open_dir(dirfd, name);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		close_ptr(&fd);
		return false;
	}
	bool any = false;
	for (struct dirent *e; !any && (e = readdir(d));)
		any = e->d_name[0] != '.';
	closedir(d);
	return any;
}

/* create - fill an empty file, once, whoever comes first. */
static int create(struct store *s, struct error *err)
{
	int changed = go_exclusive(s, err);
	if (changed < 0)
		return -1;
	int version, rc = connect_db(s, &version, err);
	if (rc == 0 && version == 0) {
		if (dir_has_entries(s->dirfd, "layers") ||
		        dir_has_entries(s->dirfd, "blobs/sha256"))
			store_warn(s, "the store's database was missing and was made anew: layers "
			              "and blobs are kept, tags are lost");
		rc = exec(s, "PRAGMA journal_mode=WAL", err);
		if (rc == 0)
			rc = exec(s, "BEGIN IMMEDIATE", err);
		if (rc == 0)
			rc = exec(s, schema, err);
		if (rc == 0)
			rc = exec(s, "PRAGMA user_version=1; COMMIT", err);
		int r = rc == 0 ? sys_fsync_dir(s->dirfd) : 0;
		if (r < 0)
			rc = err_sys(err, r, "cannot write the store %s", s->path);
		if (rc < 0)
			db_close(s);
	}
	go_back(s, changed);
	return rc;
}

static int db_open(struct store *s, struct error *err)
{
	if (s->db.h)
		return 0;
	s->db.corrupt = false;
	int version;
	if (connect_db(s, &version, err) < 0)
		return -1;
	if (version == 0) {
		db_close(s);
		return create(s, err);
	}
	if (version != SCHEMA_VERSION) {
		db_close(s);
		(void)err_set(err, ERR_USAGE,
		        "the store %s was made by a newer strake (schema %d, this one knows %d)",
		        s->path, version, SCHEMA_VERSION);
		return err_hint(err, "use that strake, or another STRAKE_STORE");
	}
	return 0;
}

/* --- damage --------------------------------------------------------------------------------- */

/* set_aside - under the exclusive lock: meta.db and its WAL become meta.db.damaged-N. */
static int set_aside(struct store *s, struct error *err)
{
	char to[64], to_wal[80];
	for (int n = 1;; n++) {
		snprintf(to, sizeof(to), "meta.db.damaged-%d", n);
		if (faccessat(s->dirfd, to, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
			break;
	}
	snprintf(to_wal, sizeof(to_wal), "%s-wal", to);
	if (renameat(s->dirfd, "meta.db", s->dirfd, to) < 0 && errno != ENOENT)
		return err_sys(err, errno, "cannot set the damaged %s/meta.db aside", s->path);
	(void)renameat(s->dirfd, "meta.db-wal", s->dirfd, to_wal);
	(void)unlinkat(s->dirfd, "meta.db-shm", 0);
	store_warn(s,
	        "the store's database was damaged and was set aside as %s: layers and blobs "
	        "are kept, tags are lost (pull or build them again)",
	        to);
	return 0;
}

/* integrity - 1 whole, 0 damaged, -1 cannot tell. */
static int integrity(struct store *s, struct error *err)
{
	sqlite3_stmt *st = NULL;
	if (sqlite3_prepare_v2(s->db.h, "PRAGMA integrity_check(1)", -1, &st, NULL))
		return db_fail(s, "cannot check", err);
	int rc = db_step(s, st, err);
	const char *text = rc > 0 ? (const char *)sqlite3_column_text(st, 0) : NULL;
	bool whole = text && str_eq(text, "ok");
	sqlite3_finalize(st);
	if (rc < 0 || !whole)
		return rc < 0 ? -1 : 0;
	/* Are all tables there? */
	for (int i = 0; i < ST_N; i++)
		if (!db_stmt(s, (enum db_stmt)i, err))
			return -1;
	return 1;
}

/* is_damaged - look again before tags are given up: a read that failed once can make SQLite take
 * a whole file for a damaged one. */
static int is_damaged(struct store *s, struct error *err)
{
	int version;
	int rc = connect_db(s, &version, err);
	if (rc == 0)
		rc = version == 0 ? 1 : integrity(s, err);
	bool damaged = rc == 0 || (rc < 0 && s->db.corrupt);
	s->db.corrupt = false;
	db_close(s);
	return damaged ? 1 : rc < 0 ? -1 : 0;
}

/* rescue - under the exclusive lock; true if the database can be used again. */
static bool rescue(struct store *s, dev_t dev, ino_t ino, struct error *err)
{
	struct stat st;
	bool there = fstatat(s->dirfd, "meta.db", &st, AT_SYMLINK_NOFOLLOW) == 0;
	/* Another process may have replaced it already. */
	if (!there || st.st_dev != dev || st.st_ino != ino)
		return true;
	int rc = is_damaged(s, err);
	if (rc == 0)
		return ++s->db.alarms <= 3;
	return rc > 0 && set_aside(s, err) == 0;
}

bool db_again(struct store *s, int rc, struct error *err)
{
	if (rc >= 0)
		return false;
	store_enter(s);
	bool again = false;
	if (s->db.corrupt) {
		_cleanup_error_ struct error e = ERROR_INIT;
		dev_t dev = s->db.dev;
		ino_t ino = s->db.ino;
		db_close(s);
		s->db.corrupt = false;
		if (store_lock(s, false, &e) == 0) {
			int changed = go_exclusive(s, &e);
			if (changed >= 0)
				again = rescue(s, dev, ino, &e);
			go_back(s, changed);
			store_unlock(s);
		}
		if (again)
			error_release(err);
	}
	store_leave(s);
	return again;
}

/* --- transactions --------------------------------------------------------------------------- */

static int end_tx(struct store *s, bool commit, struct error *err)
{
	struct db *db = &s->db;
	if (!db->open_read && !db->open_write)
		return 0;
	/* A statement still standing on a row would keep the read lock. */
	for (int i = 0; i < ST_N; i++)
		if (db->st[i])
			sqlite3_reset(db->st[i]);
	int rc = run(s, commit ? ST_COMMIT : ST_ROLLBACK, err);
	if (rc < 0 && commit) {
		_cleanup_error_ struct error e = ERROR_INIT;
		(void)!run(s, ST_ROLLBACK, &e);
	}
	db->open_read = db->open_write = false;
	return rc;
}

static bool was_replaced(struct store *s)
{
	struct stat st;
	return fstatat(s->dirfd, "meta.db", &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	       st.st_ino != s->db.ino || st.st_dev != s->db.dev;
}

static int start_tx(struct store *s, enum db_mode mode, struct error *err)
{
	struct db *db = &s->db;
	for (int tries = 0;; tries++) {
		if (db_open(s, err) < 0)
			return -1;
		if (mode == DB_READ) {
			if (run(s, ST_BEGIN, err) < 0)
				return -1;
			db->open_read = true;
			return 0;
		}
		/* Records may be lost with the power, tags may not. */
		if (mode == DB_DURABLE || !db->sync_set) {
			if (exec(s,
			            mode == DB_DURABLE ? "PRAGMA synchronous=FULL"
			                               : "PRAGMA synchronous=NORMAL",
			            err) < 0)
				return -1;
			db->sync_set = mode != DB_DURABLE;
		}
		if (run(s, ST_BEGIN_WRITE, err) < 0)
			return -1;
		db->open_write = true;
		if (!was_replaced(s))
			return 0;
		/* Deleted or set aside by someone: what we would write there is lost. */
		_cleanup_error_ struct error e = ERROR_INIT;
		(void)!end_tx(s, false, &e);
		db_close(s);
		if (tries == 3)
			return err_set(err, ERR_SYSTEM, "%s/meta.db is being replaced all the time",
			        s->path);
	}
}

int db_begin(struct store *s, enum db_mode mode, struct error *err)
{
	struct db *db = &s->db;
	if (store_lock(s, false, err) < 0)
		return -1;
	if (db->depth > 0) {
		db->depth++;
		return 0;
	}
	int rc = 0;
	bool write = mode != DB_READ;
	/* A durable commit must not carry a group's half: the group is committed before it. A read
	 * snapshot can turn stale, so it is ended rather than upgraded. */
	if ((write && db->open_read) || (mode == DB_DURABLE && db->open_write))
		rc = end_tx(s, true, err);
	if (rc == 0 && !db->open_read && !db->open_write)
		rc = start_tx(s, mode, err);
	if (rc == 0 && db->group && mode == DB_WRITE)
		rc = run(s, ST_SAVEPOINT, err);
	if (rc < 0) {
		if (!db->group && db->h) {
			_cleanup_error_ struct error e = ERROR_INIT;
			(void)!end_tx(s, false, &e);
		}
		store_unlock(s);
		return -1;
	}
	db->depth = 1;
	db->mode = mode;
	return 0;
}

int db_end(struct store *s, int rc, struct error *err)
{
	struct db *db = &s->db;
	if (--db->depth > 0) {
		store_unlock(s);
		return rc;
	}
	_cleanup_error_ struct error e = ERROR_INIT;
	struct error *to = rc < 0 ? &e : err;
	int r = 0;
	if (db->group && db->mode == DB_WRITE) {
		if (rc < 0)
			r = run(s, ST_ROLLBACK_TO, to);
		if (r == 0)
			r = run(s, ST_RELEASE, to);
	} else if (!db->group || db->mode == DB_DURABLE) {
		r = end_tx(s, rc >= 0, to);
	}
	if (rc >= 0 && r < 0)
		rc = -1;
	store_unlock(s);
	return rc;
}

int store_begin(struct store *s, struct error *err)
{
	if (store_lock(s, false, err) < 0)
		return -1;
	if (s->db.group) { /* an earlier group of this thread that was never ended: go on with it */
		store_unlock(s);
		return 0;
	}
	s->db.group = true;
	return 0;
}

static int end_group(struct store *s, bool commit, struct error *err)
{
	store_enter(s);
	int rc = 0;
	if (s->db.group) {
		rc = s->db.h ? end_tx(s, commit, err) : 0;
		s->db.group = false;
		store_unlock(s);
	}
	store_leave(s);
	return rc;
}

int store_commit(struct store *s, struct error *err)
{
	return end_group(s, true, err);
}

void store_abort(struct store *s)
{
	_cleanup_error_ struct error e = ERROR_INIT;
	(void)!end_group(s, false, &e);
}

int db_check(struct store *s, bool quick, struct strv *problems, struct error *err)
{
	if (db_begin(s, DB_READ, err) < 0)
		return -1;
	sqlite3_stmt *st = NULL;
	int rc = 0;
	if (sqlite3_prepare_v2(s->db.h, quick ? "PRAGMA quick_check" : "PRAGMA integrity_check", -1,
	            &st, NULL))
		rc = db_fail(s, "cannot check", err);
	while (rc == 0 && (rc = db_step(s, st, err)) > 0) {
		const char *text = (const char *)sqlite3_column_text(st, 0);
		if (text && !str_eq(text, "ok"))
			strv_add(problems, text);
		rc = 0;
		if (sqlite3_column_type(st, 0) == SQLITE_NULL || problems->n >= 100)
			break;
	}
	sqlite3_finalize(st);
	return db_end(s, rc, err);
}
