/* store/layer.c - layers/<diff id>/{tree,manifest,info}: publishing, finding, adopting.
 *
 * A directory in layers/ is whole or it is not there: it comes by one rename from staging, inside
 * the database's write transaction, which also serialises publishers. A directory without a row
 * (kill -9 between the two, a lost database) is verified against its manifest and then adopted. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "store/internal.h"
#include "sys/path.h"

/* --- the info file: what the manifest does not say ------------------------------------------ */

static char *info_text(const struct layer_info *i)
{
	char a[DIGEST_STR_MAX], b[DIGEST_STR_MAX], c[DIGEST_STR_MAX];
	struct strbuf sb = STRBUF_INIT;
	strbuf_addf(&sb,
	        "strake layer 1\ndiff_id %s\ntree %s\nsize %llu\ntar_size %llu\n"
	        "canonical %d\n",
	        digest_str(&i->diff_id, a), digest_str(&i->tree, b), (unsigned long long)i->size,
	        (unsigned long long)i->tar_size, i->canonical);
	struct digest sum;
	sha256_buf(sb.buf, sb.len, &sum);
	strbuf_addf(&sb, "sum %s\n", digest_str(&sum, c));
	return strbuf_detach(&sb);
}

int store_layer_info_read(
        struct store *s, const struct digest *d, struct layer_info *ret, struct error *err)
{
	char path[STORE_PATH_MAX], id[DIGEST_STR_MAX], tree[DIGEST_STR_MAX];
	_cleanup_free_ char *text = NULL;
	size_t n;
	int r = sys_read_file(s->dirfd, store_layer_path(path, d, "info"), 4096, &text, &n);
	if (r < 0)
		return r == -ENOENT ? err_set(err, ERR_INTEGRITY, "its info file is missing")
		                    : err_sys(err, r, "cannot read %s/%s", s->path, path);
	struct layer_info i = {0};
	unsigned long long size, tar_size;
	int canonical;
	bool good = sscanf(text,
	                    "strake layer 1\ndiff_id %71s\ntree %71s\nsize %llu\ntar_size %llu\n"
	                    "canonical %d\n",
	                    id, tree, &size, &tar_size, &canonical) == 5 &&
	            digest_parse(id, &i.diff_id) && digest_parse(tree, &i.tree);
	if (good) {
		i.size = size;
		i.tar_size = tar_size;
		i.canonical = canonical == 1;
		/* Written again it must be the same text: that covers the sum and every byte. */
		_cleanup_free_ char *again = info_text(&i);
		good = strlen(again) == n && memcmp(again, text, n) == 0;
	}
	if (!good)
		return err_set(err, ERR_INTEGRITY, "its info file is damaged");
	if (!digest_eq(&i.diff_id, d))
		return err_set(err, ERR_INTEGRITY, "it is filed under a wrong name");
	*ret = i;
	return 0;
}

int store_layer_manifest(
        struct store *s, const struct digest *d, struct tree *ret, struct error *err)
{
	char path[STORE_PATH_MAX];
	_cleanup_free_ char *p = NULL;
	size_t n;
	int r = sys_read_file(
	        s->dirfd, store_layer_path(path, d, "manifest"), STORE_MANIFEST_MAX, &p, &n);
	if (r < 0)
		return r == -ENOENT ? err_set(err, ERR_INTEGRITY, "its manifest is missing")
		                    : err_sys(err, r, "cannot read %s/%s", s->path, path);
	return tree_decode(p, n, "its manifest", ret, err);
}

int store_verify_layer(struct store *s, const struct digest *d, bool quick, struct layer_info *ret,
        struct error *err)
{
	char path[STORE_PATH_MAX];
	struct layer_info info;
	if (store_layer_info_read(s, d, &info, err) < 0)
		return -1;
	_cleanup_tree_ struct tree t = TREE_INIT;
	if (store_layer_manifest(s, d, &t, err) < 0)
		return -1;
	struct digest td;
	tree_digest(&t, &td);
	if (!digest_eq(&td, &info.tree))
		return err_set(err, ERR_INTEGRITY, "its manifest is another layer's");
	_cleanup_close_ int fd = sys_open_dir(s->dirfd, store_layer_path(path, d, "tree"));
	if (fd == -ENOENT || fd == -ENOTDIR)
		return err_set(err, ERR_INTEGRITY, "its tree is missing");
	if (fd < 0)
		return err_sys(err, fd, "cannot open %s/%s", s->path, path);
	if (!quick && store_verify_tree(fd, &t, err) < 0)
		return -1;
	if (ret)
		*ret = info;
	return 0;
}

/* --- rows ----------------------------------------------------------------------------------- */

static int put_row(struct store *s, const struct layer_info *i, struct error *err)
{
	sqlite3_stmt *q = db_stmt(s, ST_LAYER_PUT, err);
	if (!q)
		return -1;
	db_bind_digest(q, 1, &i->diff_id);
	db_bind_digest(q, 2, &i->tree);
	sqlite3_bind_int64(q, 3, (int64_t)i->size);
	sqlite3_bind_int64(q, 4, (int64_t)i->tar_size);
	sqlite3_bind_int(q, 5, i->canonical);
	db_bind_text(q, 6, store_boot_id(s));
	sqlite3_bind_int64(q, 7, store_boot_clock());
	sqlite3_bind_int64(q, 8, store_now());
	return db_done(s, q, err);
}

enum layer_state { LAYER_ABSENT, LAYER_GOOD, LAYER_UNVERIFIED, LAYER_TORN };

struct found {
	enum layer_state state;
	struct layer_info info;
	dev_t dev;
	ino_t ino;
};

/* look - row and directory together; pins. In a transaction. */
static int look(struct store *s, struct store_lease *l, const struct digest *d, struct found *ret,
        struct error *err)
{
	char path[STORE_PATH_MAX];
	struct stat st;
	ret->state = LAYER_ABSENT;
	if (fstatat(s->dirfd, store_layer_path(path, d, "tree"), &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno != ENOENT && errno != ENOTDIR)
			return err_sys(err, errno, "cannot stat %s/%s", s->path, path);
		if (faccessat(s->dirfd, store_layer_path(path, d, NULL), F_OK,
		            AT_SYMLINK_NOFOLLOW) == 0)
			ret->state = LAYER_TORN;
		return 0;
	}
	ret->dev = st.st_dev;
	ret->ino = st.st_ino;
	if (store_pin(l, 'L', d, err) < 0)
		return -1;
	sqlite3_stmt *q = db_stmt(s, ST_LAYER_GET, err);
	if (!q)
		return -1;
	db_bind_digest(q, 1, d);
	int rc = db_step(s, q, err);
	if (rc < 0)
		return -1;
	ret->state = LAYER_UNVERIFIED;
	if (rc == 0 || !db_digest(q, 0, &ret->info.tree))
		return 0;
	ret->info.diff_id = *d;
	ret->info.size = (uint64_t)sqlite3_column_int64(q, 1);
	ret->info.tar_size = (uint64_t)sqlite3_column_int64(q, 2);
	ret->info.canonical = sqlite3_column_int(q, 3) != 0;
	if (store_trusted(s, (const char *)sqlite3_column_text(q, 4)))
		ret->state = LAYER_GOOD;
	store_note_used(s, 'L', NULL, d, sqlite3_column_int64(q, 5));
	return 0;
}

/* adopt - bytes in doubt are checked, then the row says that they are good. */
static int adopt(struct store *s, const struct digest *d, struct layer_info *ret, struct error *err)
{
	struct layer_info info;
	if (store_verify_layer(s, d, false, &info, err) < 0)
		return -1;
	int rc;
	do {
		rc = db_begin(s, DB_WRITE, err);
		if (rc == 0)
			rc = db_end(s, put_row(s, &info, err), err);
	} while (db_again(s, rc, err));
	if (rc == 0)
		*ret = info;
	return rc;
}

/* --- entries in memory ---------------------------------------------------------------------- */

/* entry_get - the object callers hold. A layer that was pruned and published again is another
 * directory: it gets another object, the old one stays valid until the store is freed. */
static struct layer_entry *entry_get(struct store *s, const struct found *f)
{
	char hex[DIGEST_HEX_MAX];
	digest_hex(&f->info.diff_id, hex);
	struct layer_entry *e = map_get(&s->layers, hex);
	if (e && e->dev == f->dev && e->ino == f->ino)
		return e;
	e = new0(struct layer_entry, 1);
	e->pub = (struct store_layer){
	        .diff_id = f->info.diff_id,
	        .tree_digest = f->info.tree,
	        .size = f->info.size,
	        .tar_size = f->info.tar_size,
	        .canonical = f->info.canonical,
	        .fd = -1,
	};
	e->dev = f->dev;
	e->ino = f->ino;
	e->next = s->all_layers;
	s->all_layers = e;
	map_put(&s->layers, hex, e);
	return e;
}

/* fill - open and load what was asked for; ERR_INTEGRITY if the layer is damaged. */
static int fill(struct store *s, struct layer_entry *e, int what, struct error *err)
{
	char path[STORE_PATH_MAX];
	if ((what & STORE_LAYER_FD) && e->pub.fd < 0) {
		int fd = sys_open_dir(s->dirfd, store_layer_path(path, &e->pub.diff_id, "tree"));
		if (fd == -ENOENT || fd == -ENOTDIR)
			return err_set(err, ERR_INTEGRITY, "its tree is missing");
		if (fd < 0)
			return err_sys(err, fd, "cannot open %s/%s", s->path, path);
		e->pub.fd = fd;
	}
	if ((what & STORE_LAYER_TREE) && !e->pub.tree) {
		struct tree t = TREE_INIT;
		if (store_layer_manifest(s, &e->pub.diff_id, &t, err) < 0)
			return -1;
		e->tree = t;
		e->pub.tree = &e->tree;
	}
	return 0;
}

/* --- finding -------------------------------------------------------------------------------- */

static int layer_get(struct store *s, struct store_lease *l, const struct digest *d, int what,
        const struct store_layer **ret, struct error *err)
{
	struct found f;
	int rc;
	do {
		f = (struct found){0};
		rc = db_begin(s, DB_READ, err);
		if (rc == 0)
			rc = db_end(s, look(s, l, d, &f, err), err);
	} while (db_again(s, rc, err));
	if (rc < 0 || f.state == LAYER_ABSENT)
		return rc;
	_cleanup_error_ struct error e = ERROR_INIT;
	if (f.state == LAYER_TORN)
		rc = err_set(&e, ERR_INTEGRITY, "its tree is missing");
	else if (f.state == LAYER_UNVERIFIED)
		rc = adopt(s, d, &f.info, &e);
	if (rc == 0) {
		struct layer_entry *en = entry_get(s, &f);
		rc = fill(s, en, what, &e);
		if (rc == 0) {
			*ret = &en->pub;
			return 1;
		}
	}
	if (e.class == ERR_INTEGRITY || e.errnum == EIO) {
		store_quarantine_layer(s, d, e.msg);
		return 0;
	}
	/* Verifying needs rights that a plain user lacks before the user namespace is entered: a
	 * miss for now; publishing the layer again replaces it. */
	if (f.state == LAYER_UNVERIFIED && (e.errnum == EACCES || e.errnum == EPERM))
		return 0;
	error_move(err, &e);
	return -1;
}

bool store_layer_suspect(const struct error *err)
{
	return err->class == ERR_INTEGRITY || err->errnum == ENOENT || err->errnum == ENOTDIR ||
	       err->errnum == ELOOP || err->errnum == EIO;
}

int store_layer_verify(struct store *s, const struct digest *diff_id, struct error *err)
{
	_cleanup_error_ struct error e = ERROR_INIT;
	char str[DIGEST_STR_MAX];
	if (store_verify_layer(s, diff_id, false, NULL, &e) >= 0)
		return 1;
	if (e.class != ERR_INTEGRITY && e.errnum != EIO) {
		error_move(err, &e);
		return -1;
	}
	store_enter(s);
	store_quarantine_layer(s, diff_id, e.msg);
	store_leave(s);
	(void)err_set(err, ERR_INTEGRITY, "layer %s in the store is damaged: %s",
	        digest_str(diff_id, str), e.msg);
	(void)err_hint(err, STORE_SET_ASIDE_HINT);
	return 0;
}

int store_layer_get(struct store *s, struct store_lease *l, const struct digest *diff_id, int what,
        const struct store_layer **ret, struct error *err)
{
	store_enter(s);
	int rc = layer_get(s, l, diff_id, what, ret, err);
	store_leave(s);
	return rc;
}

/* --- publishing ----------------------------------------------------------------------------- */

static int write_file(int dir, const char *name, const void *p, size_t n)
{
	_cleanup_close_ int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
	if (fd < 0)
		return -errno;
	return sys_write_all(fd, p, n);
}

static int write_meta(struct store_lease *l, const char *name, const struct tree *t,
        const struct layer_info *info, struct error *err)
{
	_cleanup_close_ int dir =
	        sys_open_beneath(store_lease_dirfd(l), name, O_RDONLY | O_DIRECTORY, 0);
	if (dir < 0)
		return err_sys(
		        err, dir, "cannot open staging/%s/%s in %s", l->id, name, l->s->path);
	_cleanup_free_ void *buf = NULL;
	size_t n;
	tree_encode(t, &buf, &n);
	int r = n > STORE_MANIFEST_MAX ? -EFBIG : write_file(dir, "manifest", buf, n);
	if (r >= 0) {
		_cleanup_free_ char *text = info_text(info);
		r = write_file(dir, "info", text, strlen(text));
	}
	return r < 0 ? err_sys(err, r, "cannot write a layer's manifest in %s", l->s->path) : 0;
}

enum moved { MOVED_NO, MOVED_IN, MOVED_DROPPED };

/* reads_well - a layer that is to be taken instead of the new one: damage that only its reading
 * would show later must show now, while the new one is still at hand. */
static bool reads_well(struct store *s, const struct digest *d)
{
	_cleanup_tree_ struct tree t = TREE_INIT;
	_cleanup_error_ struct error err = ERROR_INIT;
	return store_layer_manifest(s, d, &t, &err) == 0;
}

/* move_in - in the write transaction, perhaps twice (a damaged database is made anew and the
 * transaction repeated): *moved remembers. MOVED_DROPPED: a good one was there. */
static int move_in(struct store *s, struct store_lease *l, const char *name,
        const struct layer_info *info, struct found *f, enum moved *moved, struct error *err)
{
	char path[STORE_PATH_MAX];
	if (look(s, l, &info->diff_id, f, err) < 0)
		return -1;
	if (*moved == MOVED_IN) {
		f->info = *info;
		return put_row(s, info, err);
	}
	if (f->state == LAYER_GOOD && reads_well(s, &info->diff_id)) {
		*moved = MOVED_DROPPED;
		return 0;
	}
	store_layer_path(path, &info->diff_id, NULL);
	if (f->state != LAYER_ABSENT) {
		/* Bytes that nobody vouches for. Set aside, not removed: somebody may use them. */
		int r = store_set_aside(s, path, "layer", &info->diff_id);
		if (r < 0 && r != -ENOENT)
			return err_sys(err, r, "cannot set %s/%s aside", s->path, path);
	}
	if (renameat(l->dir_fd, name, s->dirfd, path) < 0)
		return err_sys(err, errno, "cannot create %s/%s", s->path, path);
	*moved = MOVED_IN;
	struct stat st;
	if (fstatat(s->dirfd, store_layer_path(path, &info->diff_id, "tree"), &st,
	            AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, errno, "cannot stat %s/%s", s->path, path);
	f->info = *info;
	f->dev = st.st_dev;
	f->ino = st.st_ino;
	if (store_pin(l, 'L', &info->diff_id, err) < 0)
		return -1;
	return put_row(s, info, err);
}

/* there_already - 1 if so: then it is pinned. */
static int there_already(struct store *s, struct store_lease *l, const struct digest *d,
        struct found *f, struct error *err)
{
	int rc;
	do {
		*f = (struct found){0};
		rc = db_begin(s, DB_READ, err);
		if (rc == 0)
			rc = db_end(s, look(s, l, d, f, err), err);
	} while (db_again(s, rc, err));
	return rc < 0 ? -1 : f->state == LAYER_GOOD && reads_well(s, d);
}

int store_layer_publish(struct store *s, struct store_lease *l, const char *name,
        const struct tree *t, const struct digest *diff_id, uint64_t tar_size, bool canonical,
        const struct store_layer **ret, struct error *err)
{
	struct layer_info info = {.diff_id = *diff_id,
	        .size = tree_total_size(t),
	        .tar_size = tar_size,
	        .canonical = canonical};
	tree_digest(t, &info.tree);
	struct found f = {0};
	/* Steps often leave what another left, nothing above all: no file is written for those. */
	int rc = there_already(s, l, diff_id, &f, err);
	if (rc > 0) {
		store_enter(s);
		*ret = &entry_get(s, &f)->pub;
		store_leave(s);
	}
	if (rc != 0)
		return rc;
	if (write_meta(l, name, t, &info, err) < 0)
		return -1;
	enum moved moved = MOVED_NO;
	store_enter(s);
	do {
		rc = db_begin(s, DB_WRITE, err);
		if (rc == 0)
			rc = db_end(s, move_in(s, l, name, &info, &f, &moved, err), err);
	} while (db_again(s, rc, err));
	if (rc == 0)
		*ret = &entry_get(s, &f)->pub;
	store_leave(s);
	return rc == 0 && moved == MOVED_DROPPED ? 1 : rc;
}

/* --- compressed forms ----------------------------------------------------------------------- */

int store_layer_set_blob(struct store *s, const struct digest *diff_id,
        const struct oci_descriptor *blob, struct error *err)
{
	int rc;
	do {
		rc = db_begin(s, DB_WRITE, err);
		if (rc < 0)
			continue;
		sqlite3_stmt *q = db_stmt(s, ST_LAYER_BLOB_PUT, err);
		if (q) {
			db_bind_digest(q, 1, diff_id);
			db_bind_digest(q, 2, &blob->digest);
			db_bind_text(q, 3, blob->media_type);
			sqlite3_bind_int64(q, 4, blob->size);
		}
		rc = db_end(s, q ? db_done(s, q, err) : -1, err);
	} while (db_again(s, rc, err));
	return rc;
}

static void release_all(struct oci_descriptor *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		oci_descriptor_release(&v[i]);
	free(v);
}

static int list_blobs(struct store *s, const struct digest *diff_id, struct oci_descriptor **ret,
        size_t *ret_n, struct error *err)
{
	struct oci_descriptor *v = NULL;
	size_t n = 0, cap = 0;
	sqlite3_stmt *q = db_stmt(s, ST_LAYER_BLOB_LIST, err);
	if (!q)
		return -1;
	db_bind_digest(q, 1, diff_id);
	int rc;
	while ((rc = db_step(s, q, err)) > 0) {
		struct oci_descriptor d = {0};
		if (!db_digest(q, 0, &d.digest))
			continue;
		d.media_type = db_text(q, 1);
		d.size = sqlite3_column_int64(q, 2);
		vec_grow(&v, &cap, n + 1);
		v[n++] = d;
	}
	if (rc < 0) {
		release_all(v, n);
		return -1;
	}
	*ret = v;
	*ret_n = n;
	return 0;
}

int store_layer_blobs(struct store *s, const struct digest *diff_id, struct oci_descriptor **ret,
        size_t *ret_n, struct error *err)
{
	struct oci_descriptor *v = NULL;
	size_t n = 0, front = 0;
	int rc;
	do {
		rc = db_begin(s, DB_READ, err);
		if (rc == 0)
			rc = db_end(s, list_blobs(s, diff_id, &v, &n, err), err);
	} while (db_again(s, rc, err));
	if (rc < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		if (!store_blob_known(s, &v[i].digest, NULL))
			continue;
		struct oci_descriptor d = v[i];
		memmove(&v[front + 1], &v[front], (i - front) * sizeof(d));
		v[front++] = d;
	}
	*ret = v;
	*ret_n = n;
	return 0;
}
