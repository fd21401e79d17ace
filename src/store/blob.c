/* store/blob.c - blobs/sha256/<hex>: immutable bytes named by their digest.
 *
 * A blob without a row (its writer was killed before the transaction, or the database was lost) or
 * with a row of an earlier boot is hashed before it counts; then the row says that it is good. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/large_file.h"
#include "store/internal.h"
#include "sys/path.h"

/* --- state ---------------------------------------------------------------------------------- */

enum blob_state { BLOB_ABSENT, BLOB_GOOD, BLOB_UNVERIFIED, BLOB_BAD_SIZE };

/* look - row and file together; pins. In a transaction. */
static int look(struct store *s, struct store_lease *l, const struct digest *d,
        enum blob_state *ret, uint64_t *ret_size, struct error *err)
{
	char path[STORE_PATH_MAX];
	struct stat st;
	if (fstatat(s->dirfd, store_blob_path(path, d), &st, AT_SYMLINK_NOFOLLOW) < 0) {
		*ret = BLOB_ABSENT;
		return errno == ENOENT ? 0
		                       : err_sys(err, errno, "cannot stat %s/%s", s->path, path);
	}
	if (store_pin(l, 'B', d, err) < 0)
		return -1;
	sqlite3_stmt *q = db_stmt(s, ST_BLOB_GET, err);
	if (!q)
		return -1;
	db_bind_digest(q, 1, d);
	int rc = db_step(s, q, err);
	if (rc < 0)
		return -1;
	*ret_size = (uint64_t)st.st_size;
	if (!S_ISREG(st.st_mode))
		*ret = BLOB_BAD_SIZE;
	else if (rc == 0)
		*ret = BLOB_UNVERIFIED;
	else if (sqlite3_column_int64(q, 0) != st.st_size)
		*ret = BLOB_BAD_SIZE;
	else
		*ret = store_trusted(s, (const char *)sqlite3_column_text(q, 1)) ? BLOB_GOOD
		                                                                 : BLOB_UNVERIFIED;
	if (rc > 0)
		store_note_used(s, 'B', NULL, d, sqlite3_column_int64(q, 2));
	return 0;
}

static int put_row(struct store *s, const struct digest *d, uint64_t size, struct error *err)
{
	sqlite3_stmt *q = db_stmt(s, ST_BLOB_PUT, err);
	if (!q)
		return -1;
	db_bind_digest(q, 1, d);
	sqlite3_bind_int64(q, 2, (int64_t)size);
	db_bind_text(q, 3, store_boot_id(s));
	sqlite3_bind_int64(q, 4, store_boot_clock());
	sqlite3_bind_int64(q, 5, store_now());
	return db_done(s, q, err);
}

static int hash_fd(int fd, struct digest *ret, uint64_t *ret_size)
{
	enum { CHUNK = 256 * 1024 };
	_cleanup_free_ void *buf = xmalloc(CHUNK);
	struct sha256 h;
	sha256_init(&h);
	uint64_t size = 0;
	for (;;) {
		ssize_t n = read(fd, buf, CHUNK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		sha256_update(&h, buf, (size_t)n);
		size += (uint64_t)n;
	}
	sha256_final(&h, ret);
	*ret_size = size;
	return 0;
}

int store_verify_blob(
        struct store *s, const struct digest *d, uint64_t *ret_size, struct error *err)
{
	char path[STORE_PATH_MAX];
	_cleanup_close_ int fd = openat(
	        s->dirfd, store_blob_path(path, d), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return err_sys(err, errno, "cannot open %s/%s", s->path, path);
	struct digest got;
	uint64_t size = 0;
	int r = hash_fd(fd, &got, &size);
	if (r < 0)
		return err_sys(err, r, "cannot read %s/%s", s->path, path);
	if (!digest_eq(&got, d))
		return err_set(err, ERR_INTEGRITY, "its bytes do not match its digest");
	*ret_size = size;
	return 0;
}

/* adopt - bytes in doubt are hashed, then the row says that they are good. */
static int adopt(struct store *s, const struct digest *d, struct error *err)
{
	uint64_t size;
	if (store_verify_blob(s, d, &size, err) < 0)
		return -1;
	int rc;
	do {
		rc = db_begin(s, DB_WRITE, err);
		if (rc == 0)
			rc = db_end(s, put_row(s, d, size, err), err);
	} while (db_again(s, rc, err));
	return rc;
}

/* blob_check - 1 usable, 0 absent or set aside. */
static int blob_check(struct store *s, struct store_lease *l, const struct digest *d,
        uint64_t *ret_size, struct error *err)
{
	enum blob_state state = BLOB_ABSENT;
	uint64_t size = 0;
	int rc;
	store_enter(s);
	/* Who looks a blob up without naming a lease is pinned by the build's, if one runs. */
	if (!l)
		l = s->leases;
	do {
		rc = db_begin(s, DB_READ, err);
		if (rc == 0)
			rc = db_end(s, look(s, l, d, &state, &size, err), err);
	} while (db_again(s, rc, err));
	store_leave(s);
	if (rc < 0)
		return -1;
	if (state == BLOB_UNVERIFIED) {
		_cleanup_error_ struct error e = ERROR_INIT;
		if (adopt(s, d, &e) == 0)
			state = BLOB_GOOD;
		else if (e.class == ERR_INTEGRITY || e.errnum == EIO)
			store_quarantine_blob(s, d, e.msg);
		else if (e.errnum != ENOENT)
			return error_move(err, &e), -1;
	} else if (state == BLOB_BAD_SIZE) {
		store_quarantine_blob(s, d, "its size is wrong");
	}
	if (state != BLOB_GOOD)
		return 0;
	*ret_size = size;
	return 1;
}

bool store_blob_known(struct store *s, const struct digest *d, uint64_t *ret_size)
{
	_cleanup_error_ struct error e = ERROR_INIT;
	uint64_t size = 0;
	if (blob_check(s, NULL, d, &size, &e) <= 0)
		return false;
	if (ret_size)
		*ret_size = size;
	return true;
}

bool store_blob_has(struct store *s, const struct digest *d, uint64_t *ret_size)
{
	return store_blob_known(s, d, ret_size);
}

int store_blob_open(
        struct store *s, const struct digest *d, int *ret_fd, uint64_t *ret_size, struct error *err)
{
	uint64_t size = 0;
	char path[STORE_PATH_MAX], str[DIGEST_STR_MAX];
	int rc = blob_check(s, NULL, d, &size, err);
	if (rc < 0)
		return -1;
	int fd = rc == 0 ? -1
	                 : openat(s->dirfd, store_blob_path(path, d),
	                           O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (rc == 0 || (fd < 0 && errno == ENOENT))
		return err_set(
		        err, ERR_NOT_FOUND, "blob %s is not in the store", digest_str(d, str));
	if (fd < 0)
		return err_sys(err, errno, "cannot open %s/%s", s->path, path);
	*ret_fd = fd;
	if (ret_size)
		*ret_size = size;
	return 0;
}

/* --- reading -------------------------------------------------------------------------------- */

struct blob_reader {
	struct reader base;
	struct store *s;
	int fd;
	bool done;
	struct digest want;
	struct sha256 hash;
};

static ssize_t blob_read(struct reader *r, void *p, size_t n, struct error *err)
{
	struct blob_reader *b = (struct blob_reader *)r;
	char str[DIGEST_STR_MAX];
	if (b->done)
		return 0;
	ssize_t got = read_large(b->fd, p, n);
	if (got < 0) {
		int e = errno;
		if (e == EIO)
			store_quarantine_blob(b->s, &b->want, "the disk failed to read it");
		return err_sys(err, e, "cannot read blob %s", digest_str(&b->want, str));
	}
	if (got > 0) {
		sha256_update(&b->hash, p, (size_t)got);
		return got;
	}
	struct digest d;
	sha256_final(&b->hash, &d);
	b->done = true;
	if (digest_eq(&d, &b->want))
		return 0;
	store_quarantine_blob(b->s, &b->want, "its bytes do not match its digest");
	(void)err_set(
	        err, ERR_INTEGRITY, "blob %s in the store is damaged", digest_str(&b->want, str));
	return err_hint(err, STORE_SET_ASIDE_HINT);
}

static void blob_reader_free(struct reader *r)
{
	struct blob_reader *b = (struct blob_reader *)r;
	close_ptr(&b->fd);
	free(b);
}

int store_blob_reader(
        struct store *s, const struct digest *d, struct reader **ret, struct error *err)
{
	int fd;
	if (store_blob_open(s, d, &fd, NULL, err) < 0)
		return -1;
	struct blob_reader *b = new0(struct blob_reader, 1);
	b->base.read = blob_read;
	b->base.free = blob_reader_free;
	b->s = s;
	b->fd = fd;
	b->want = *d;
	sha256_init(&b->hash);
	*ret = &b->base;
	return 0;
}

int store_blob_read_all(struct store *s, const struct digest *d, size_t max, char **ret,
        size_t *ret_n, struct error *err)
{
	_cleanup_close_ int fd = -1;
	char str[DIGEST_STR_MAX];
	if (store_blob_open(s, d, &fd, NULL, err) < 0)
		return -1;
	_cleanup_free_ char *p = NULL;
	size_t n = 0;
	int r = sys_read_fd(fd, max, &p, &n);
	if (r == -EFBIG)
		return err_set(err, ERR_INTEGRITY, "blob %s is larger than %zu bytes",
		        digest_str(d, str), max);
	if (r < 0)
		return err_sys(err, r, "cannot read blob %s", digest_str(d, str));
	struct digest got;
	sha256_buf(p, n, &got);
	if (!digest_eq(&got, d)) {
		store_quarantine_blob(s, d, "its bytes do not match its digest");
		(void)err_set(
		        err, ERR_INTEGRITY, "blob %s in the store is damaged", digest_str(d, str));
		return err_hint(err, STORE_SET_ASIDE_HINT);
	}
	*ret = take_ptr(p);
	if (ret_n)
		*ret_n = n;
	return 0;
}

/* --- writing -------------------------------------------------------------------------------- */

static int move_in(struct store *s, struct store_lease *l, const char *name, const struct digest *d,
        uint64_t size, bool *moved, struct error *err)
{
	char path[STORE_PATH_MAX];
	enum blob_state state;
	uint64_t have;
	if (look(s, l, d, &state, &have, err) < 0)
		return -1;
	if (state == BLOB_GOOD) {
		(void)unlinkat(l->dir_fd, name, 0);
		return 0;
	}
	/* Replacing is safe: equal bytes, or damaged ones; readers keep their descriptor. */
	if (!*moved && renameat(l->dir_fd, name, s->dirfd, store_blob_path(path, d)) < 0)
		return err_sys(err, errno, "cannot create %s/%s", s->path, path);
	*moved = true;
	if (store_pin(l, 'B', d, err) < 0)
		return -1;
	return put_row(s, d, size, err);
}

static int publish(struct store *s, struct store_lease *l, const char *name, const struct digest *d,
        uint64_t size, struct error *err)
{
	bool moved = false; /* the transaction is repeated after a damaged database */
	char hex[DIGEST_HEX_MAX];
	int rc;
	do {
		rc = db_begin(s, DB_WRITE, err);
		if (rc == 0)
			rc = db_end(s, move_in(s, l, name, d, size, &moved, err), err);
	} while (db_again(s, rc, err));
	if (rc == 0 && moved) {
		store_enter(s);
		map_put(&s->fresh, digest_hex(d, hex), NULL);
		store_leave(s);
	}
	return rc;
}

bool store_blob_is_fresh(struct store *s, const struct digest *d)
{
	char hex[DIGEST_HEX_MAX];
	store_enter(s);
	bool yes = map_has(&s->fresh, digest_hex(d, hex));
	store_leave(s);
	return yes;
}

struct blob_sink {
	struct sink base;
	struct store *s;
	struct store_lease *l;
	char name[24]; /* "" until the first write */
	int fd;
	struct sink *file; /* of fd */
	bool published;
	bool has_expect;
	struct digest expect;
	struct digest *ret;
	uint64_t *ret_size;
	struct sha256 hash;
	uint64_t size;
};

static int open_temp(struct blob_sink *b, struct error *err)
{
	if (b->fd >= 0)
		return 0;
	int dir = store_lease_dir(b->l, err);
	if (dir < 0)
		return -1;
	store_enter(b->s);
	snprintf(b->name, sizeof(b->name), "b%u", ++b->l->n_names);
	store_leave(b->s);
	/* Read-only for everybody else from the start: a blob is never changed. */
	b->fd = openat(dir, b->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
	if (b->fd < 0)
		return err_sys(err, errno, "cannot create a blob in %s/staging", b->s->path);
	_cleanup_free_ char *what = xasprintf("a blob into %s/staging", b->s->path);
	b->file = sink_file(b->fd, what);
	return 0;
}

static int blob_write(struct sink *k, const void *p, size_t n, struct error *err)
{
	struct blob_sink *b = (struct blob_sink *)k;
	if (open_temp(b, err) < 0)
		return -1;
	sha256_update(&b->hash, p, n);
	b->size += n;
	return sink_write(b->file, p, n, err);
}

static int blob_finish(struct sink *k, struct error *err)
{
	struct blob_sink *b = (struct blob_sink *)k;
	struct digest d;
	char got[DIGEST_STR_MAX], want[DIGEST_STR_MAX];
	if (open_temp(b, err) < 0 || sink_finish(b->file, err) < 0)
		return -1;
	sha256_final(&b->hash, &d);
	if (b->has_expect && !digest_eq(&d, &b->expect))
		return err_set(err, ERR_INTEGRITY,
		        "the bytes are not what was asked for: expected %s, got %s (%llu bytes)",
		        digest_str(&b->expect, want), digest_str(&d, got),
		        (unsigned long long)b->size);
	if (publish(b->s, b->l, b->name, &d, b->size, err) < 0)
		return -1;
	b->published = true;
	if (b->ret)
		*b->ret = d;
	if (b->ret_size)
		*b->ret_size = b->size;
	return 0;
}

static void blob_sink_free(struct sink *k)
{
	struct blob_sink *b = (struct blob_sink *)k;
	if (b->fd >= 0 && !b->published)
		(void)unlinkat(b->l->dir_fd, b->name, 0);
	sink_free(b->file);
	close_ptr(&b->fd);
	free(b);
}

struct sink *store_blob_sink(struct store *s, struct store_lease *l, const struct digest *expect,
        struct digest *ret, uint64_t *ret_size)
{
	struct blob_sink *b = new0(struct blob_sink, 1);
	b->base.write = blob_write;
	b->base.finish = blob_finish;
	b->base.free = blob_sink_free;
	b->s = s;
	b->l = l;
	b->fd = -1;
	if (expect) {
		b->has_expect = true;
		b->expect = *expect;
	}
	b->ret = ret;
	b->ret_size = ret_size;
	sha256_init(&b->hash);
	return &b->base;
}

int store_blob_put(struct store *s, struct store_lease *l, const void *p, size_t n,
        struct digest *ret, struct error *err)
{
	struct digest d;
	uint64_t size = 0;
	sha256_buf(p, n, &d);
	int rc = blob_check(s, l, &d, &size, err);
	if (rc < 0)
		return -1;
	if (rc == 0) {
		_cleanup_sink_ struct sink *k = store_blob_sink(s, l, &d, NULL, NULL);
		if (sink_write(k, p, n, err) < 0 || sink_finish(k, err) < 0)
			return -1;
	}
	*ret = d;
	return 0;
}

/* --- damage --------------------------------------------------------------------------------- */

int store_set_aside(struct store *s, const char *path, const char *kind, const struct digest *d)
{
	char hex[DIGEST_HEX_MAX], to[STORE_PATH_MAX];
	digest_hex(d, hex);
	(void)!mkdirat(s->dirfd, "quarantine", 0700);
	for (unsigned n = 1; n < 10000; n++) {
		snprintf(to, sizeof(to), "quarantine/%s-%s-%u", kind, hex, n);
		int r = renameat2(s->dirfd, path, s->dirfd, to, RENAME_NOREPLACE);
		/* Not every file system knows the flag. */
		if (r < 0 && errno == EINVAL &&
		        faccessat(s->dirfd, to, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
			r = renameat(s->dirfd, path, s->dirfd, to);
		if (r == 0)
			return 0;
		if (errno != EEXIST)
			return -errno;
	}
	return -EEXIST;
}

/* forget - aside with the bytes, away with the row. */
static int forget(struct store *s, const char *path, const char *kind, const struct digest *d,
        int row_delete, struct error *err)
{
	int r = store_set_aside(s, path, kind, d);
	if (r < 0 && r != -ENOENT)
		return err_sys(err, r, "cannot set %s/%s aside", s->path, path);
	sqlite3_stmt *q = db_stmt(s, row_delete, err);
	if (!q)
		return -1;
	db_bind_digest(q, 1, d);
	return db_done(s, q, err);
}

static void quarantine(struct store *s, const char *path, const char *kind, const struct digest *d,
        int row_delete, const char *why, const char *cure)
{
	_cleanup_error_ struct error e = ERROR_INIT;
	char str[DIGEST_STR_MAX];
	int rc;
	do {
		rc = db_begin(s, DB_WRITE, &e);
		if (rc == 0)
			rc = db_end(s, forget(s, path, kind, d, row_delete, &e), &e);
	} while (db_again(s, rc, &e));
	s->damages += rc >= 0;
	if (rc < 0)
		store_warn(s, "%s %s is damaged (%s) and could not be set aside: %s", kind,
		        digest_str(d, str), why, e.msg);
	else
		store_warn(s, "%s %s is damaged (%s) and was set aside%s", kind, digest_str(d, str),
		        why, cure);
}

unsigned store_damages(struct store *s)
{
	store_enter(s);
	unsigned n = s->damages;
	store_leave(s);
	return n;
}

void store_quarantine_blob(struct store *s, const struct digest *d, const char *why)
{
	char path[STORE_PATH_MAX];
	quarantine(s, store_blob_path(path, d), "blob", d, ST_BLOB_DELETE, why, "");
}

void store_quarantine_layer(struct store *s, const struct digest *d, const char *why)
{
	char path[STORE_PATH_MAX];
	quarantine(s, store_layer_path(path, d, NULL), "layer", d, ST_LAYER_DELETE, why,
	        "; it is built or fetched anew when needed");
}
