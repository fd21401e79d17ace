/* store/internal.h - what the files of this folder share: the handle, the database, the locks.
 *
 * Lock order, always outermost first: struct store.mu (recursive, in process), then the flock on
 * <store>/lock (shared for users, exclusive for the collector and for rebuilding the database),
 * then SQLite's own write lock. Nothing sleeps on a step, a cache mount or the network while it
 * holds one of them. */
#ifndef STRAKE_STORE_INTERNAL_H
#define STRAKE_STORE_INTERNAL_H

#include <dirent.h>
#include <pthread.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include "base/map.h"
#include "base/strbuf.h"
#include "store/store.h"

/* Every SQL text lives in db.c; one cached statement each. */
enum db_stmt {
	ST_BEGIN,
	ST_BEGIN_WRITE,
	ST_COMMIT,
	ST_ROLLBACK,
	ST_SAVEPOINT,
	ST_RELEASE,
	ST_ROLLBACK_TO,
	ST_LAYER_GET,
	ST_LAYER_PUT,
	ST_LAYER_DELETE,
	ST_LAYER_TRUST,
	ST_LAYER_USED,
	ST_LAYER_ALL,
	ST_LAYER_BLOB_PUT,
	ST_LAYER_BLOB_LIST,
	ST_LAYER_BLOB_ALL,
	ST_BLOB_GET,
	ST_BLOB_PUT,
	ST_BLOB_DELETE,
	ST_BLOB_TRUST,
	ST_BLOB_USED,
	ST_BLOB_ALL,
	ST_SYNCED_LAYERS,
	ST_SYNCED_BLOBS,
	ST_UNSYNCED,
	ST_ESTIMATE,
	ST_UNSYNCED_LAYERS,
	ST_UNSYNCED_BLOBS,
	ST_UNSYNCED_FEW,
	ST_SYNCED_BLOB,
	ST_RECORD_GET,
	ST_RECORD_PUT,
	ST_RECORD_USED,
	ST_RECORD_ALL,
	ST_RECORD_DELETE,
	ST_IMAGE_BY_NAME,
	ST_IMAGE_BY_ID,
	ST_IMAGE_BY_MANIFEST,
	ST_IMAGE_ALL,
	ST_IMAGE_PUT,
	ST_IMAGE_UNTAG_OTHERS,
	ST_IMAGE_DROP_UNTAGGED,
	ST_IMAGE_KEEP_AS_UNTAGGED,
	ST_IMAGE_DELETE_NAME,
	ST_IMAGE_DELETE_ID,
	ST_IMAGE_DELETE_ROW,
	ST_N,
};

struct db {
	sqlite3 *h; /* NULL until the first use */
	sqlite3_stmt *st[ST_N];
	dev_t dev; /* the file that h has open, to notice that it was replaced */
	ino_t ino;
	bool corrupt; /* the last failure says that the file is damaged */
	bool sync_set;
	unsigned depth; /* nested db_begin */
	bool group;     /* between store_begin and store_commit */
	bool open_read, open_write;
	int mode; /* enum db_mode of the innermost op */
	int wal_frames;
	int alarms; /* times a whole file was taken for a damaged one */
};

struct layer_entry {
	struct store_layer pub;
	struct tree tree;
	dev_t dev; /* identity of the tree directory: a replaced layer is another entry */
	ino_t ino;
	struct layer_entry *next;
};

struct touch {
	char what; /* 'L', 'B', 'R' */
	char *kind;
	struct digest key;
};

struct store {
	char *path; /* absolute */
	int dirfd, cache_fd, lock_fd, gate_fd;
	pthread_mutex_t mu;
	unsigned lock_depth;
	bool lock_exclusive;
	unsigned damages; /* set aside */
	unsigned busy_ms; /* how long a locked database is waited for */
	struct db db;
	struct strv warnings;
	struct map layers; /* hex -> struct layer_entry, the current one */
	struct layer_entry *all_layers;
	struct map fresh; /* hex of blobs that this handle wrote */
	struct store_lease *leases;
	bool swept, sweep_again;
	char boot[40]; /* boot id; "" until asked for */
	struct touch *touches;
	size_t n_touches, cap_touches;
	struct map seen; /* "<kind>/<hex>" of what was touched already */
};

struct store_lease {
	struct store *s;
	char id[17];
	int lock_fd; /* staging/<id>.lock: held for the lease's life; its text is the pins */
	int dir_fd;  /* staging/<id>; -1 until asked for */
	unsigned n_names;
	struct map pins;
	struct store_lease *next;
};

#define STORE_TOUCH_GRAIN 3600 /* seconds: last use is kept to the hour, so reads rarely write */
#define STORE_MANIFEST_MAX ((size_t)1 << 30)

/* --- store.c ------------------------------------------------------------------------------- */
void store_enter(struct store *s); /* mu */
void store_leave(struct store *s);
/* store_lock - the flock; nests. exclusive only from the outermost level. */
int store_lock(struct store *s, bool exclusive, struct error *err) must_check;
void store_unlock(struct store *s);
void store_warn(struct store *s, const char *fmt, ...) printf_like(2, 3);
int64_t store_now(void);
/* store_set_busy_timeout - for tests. */
void store_set_busy_timeout(struct store *s, unsigned ms);
#define STORE_PATH_MAX 160
char *store_layer_path(char *buf, const struct digest *d, const char *sub);
char *store_blob_path(char *buf, const struct digest *d);

/* --- db.c ---------------------------------------------------------------------------------- */
enum db_mode { DB_READ, DB_WRITE, DB_DURABLE };
/* db_begin - enter the store, take the shared lock, open a transaction (or join the group's).
 * Every successful db_begin is ended by db_end, which commits if rc >= 0 and rolls back if not.
 * After a failure db_again() says whether the database was damaged and is usable again now:
 *     do {
 *             rc = db_begin(s, DB_READ, err);
 *             if (rc == 0)
 *                     rc = db_end(s, inner(s, err), err);
 *     } while (db_again(s, rc, err)); */
int db_begin(struct store *s, enum db_mode mode, struct error *err) must_check;
int db_end(struct store *s, int rc, struct error *err) must_check;
bool db_again(struct store *s, int rc, struct error *err);
/* db_stmt - ready to be bound; NULL with err set. */
sqlite3_stmt *db_stmt(struct store *s, enum db_stmt id, struct error *err) must_check;
int db_step(struct store *s, sqlite3_stmt *st, struct error *err) must_check; /* 1 row, 0 end */
/* db_done - one step of a statement that gives no rows. */
int db_done(struct store *s, sqlite3_stmt *st, struct error *err) must_check;
int db_check(struct store *s, bool quick, struct strv *problems, struct error *err) must_check;
void db_close(struct store *s);
void db_bind_digest(sqlite3_stmt *st, int i, const struct digest *d);
void db_bind_text(sqlite3_stmt *st, int i, const char *t); /* NULL: null; not copied */
bool db_digest(sqlite3_stmt *st, int col, struct digest *ret);
char *db_text(sqlite3_stmt *st, int col) must_check; /* malloc'ed; NULL for null */

/* --- sync.c -------------------------------------------------------------------------------- */
const char *store_boot_id(struct store *s);
int64_t store_boot_clock(void);
/* store_trusted - do these bytes need no check? boot NULL: known to be on disk; this boot: they
 * cannot have been torn by a power loss. */
bool store_trusted(struct store *s, const char *boot);
/* store_make_durable - everything published so far is on disk when this returns. */
int store_make_durable(struct store *s, struct error *err) must_check;

/* --- lease.c ------------------------------------------------------------------------------- */
/* store_reserve - have (or give up) the bytes that let a collector start on a full disk. */
void store_reserve(struct store *s);
bool store_reserve_use(struct store *s);
/* store_pin - under the shared lock. l NULL: nothing. */
int store_pin(
        struct store_lease *l, char kind, const struct digest *d, struct error *err) must_check;
/* store_pinned - every pin of every living lease ("L<hex>", "B<hex>"); under the exclusive lock. */
int store_pinned(struct store *s, struct map *ret, struct error *err) must_check;
/* store_sweep - remove what dead leases left; problems (may be NULL) gets what could not be. */
void store_sweep(struct store *s, struct strv *problems);
int store_lease_dir(struct store_lease *l, struct error *err) must_check;

/* --- collect.c ------------------------------------------------------------------------------ */
/* store_prune_left - a collector has ended and left so many bytes of layers and blobs, in blocks;
 * vain: the store is larger than it was told to keep. */
void store_prune_left(struct store *s, uint64_t bytes, bool vain);

/* --- container.c --------------------------------------------------------------------------- */
/* store_containers_kept - the lines of every container's `keeps`. After store_pinned. */
int store_containers_kept(struct store *s, struct map *ret, struct error *err) must_check;
/* store_container_check - is all there that it keeps? *ret_problem (malloc'ed): what is wrong. */
int store_container_check(
        struct store *s, const char *id, char **ret_problem, struct error *err) must_check;

/* --- layer.c, blob.c, verify.c ------------------------------------------------------------- */
#define STORE_SET_ASIDE_HINT "it was set aside; run the command again to fetch or build it anew"
/* store_quarantine_layer/blob - set aside, forget the row, warn. */
void store_quarantine_layer(struct store *s, const struct digest *d, const char *why);
void store_quarantine_blob(struct store *s, const struct digest *d, const char *why);
/* store_opendir - a directory of the store: 1, *ret for closedir; 0 there is none. */
int store_opendir(struct store *s, const char *dir, DIR **ret, struct error *err) must_check;
/* store_set_aside - rename to quarantine/<kind>-<hex>-N; -errno. */
int store_set_aside(struct store *s, const char *path, const char *kind, const struct digest *d);
struct layer_info {
	struct digest diff_id, tree;
	uint64_t size, tar_size;
	bool canonical;
};
int store_layer_info_read(struct store *s, const struct digest *d, struct layer_info *ret,
        struct error *err) must_check;
int store_layer_manifest(
        struct store *s, const struct digest *d, struct tree *ret, struct error *err) must_check;
/* store_verify_tree - every file against the manifest; ERR_INTEGRITY names the first difference,
 * ERR_SYSTEM with errnum EACCES/EPERM if this user may not read it. */
int store_verify_tree(int treefd, const struct tree *t, struct error *err) must_check;
/* store_verify_layer - info, manifest and tree of layers/<d>, read back from disk. */
int store_verify_layer(struct store *s, const struct digest *d, bool quick, struct layer_info *ret,
        struct error *err) must_check;
int store_verify_blob(
        struct store *s, const struct digest *d, uint64_t *ret_size, struct error *err) must_check;
bool store_blob_known(struct store *s, const struct digest *d, uint64_t *ret_size);

/* store_layer_known - 1 as a tree or as a blob, 0 neither. */
int store_layer_known(struct store *s, const struct digest *d, struct error *err) must_check;

/* --- record.c ------------------------------------------------------------------------------ */
void store_note_used(
        struct store *s, char what, const char *kind, const struct digest *d, int64_t used);
void store_flush_touches(struct store *s);

#endif
