/* store/prune.c - the collector.
 *
 * Roots are tagged images, containers and living leases. Sizes are measured without the store lock;
 * then, under the exclusive lock, for milliseconds: mark, choose, forget the rows in one
 * transaction, rename what goes into the collector's own lease. The bytes are removed after the
 * lock is gone; if the collector is killed, the next lease sweeps its trash. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/hex.h"
#include "codec/json.h"
#include "store/internal.h"
#include "store/scan.h"
#include "sys/lock.h"
#include "sys/path.h"

#define RECORD_MAX_AGE (INT64_C(90) * 24 * 3600) /* unused that long, a record goes anyway */
#define INDEX_MAX_AGE (INT64_C(30) * 24 * 3600)  /* a stat cache, a list of files */
#define TMP_MAX_AGE 3600                         /* is written within milliseconds */
#define MANIFEST_MAX ((size_t)4 << 20)

enum kind { K_LAYER, K_BLOB, K_CACHE, K_SET_ASIDE, K_STAT_CACHE };
static const unsigned kind_bits[] = {STORE_KIND_LAYER, STORE_KIND_BLOB, STORE_KIND_CACHE,
        STORE_KIND_SET_ASIDE, STORE_KIND_INDEX};
static const char *const kind_dirs[] = {"layers", "blobs/sha256", "mounts", "quarantine", "cache"};

struct item {
	enum kind kind;
	char *name;   /* of the entry in kind_dirs[kind] */
	int64_t used; /* seconds */
	int64_t made; /* nanoseconds: the order of what was used in the same second */
	bool live, chosen;
	const char *why;
	uint64_t bytes;
	struct scan_item scan;
};

struct prune {
	struct store *s;
	const struct store_prune_options *o;
	struct scan scan;
	struct item *v;
	size_t n, cap;
	uint64_t total; /* of all that is gathered and not chosen */
	uint64_t parts; /* of it layers and blobs */
	uint64_t freed;
	struct map live;    /* "L<hex>", "B<hex>", "I<hex>" */
	struct map removed; /* "<hex>" of layers that go */
	struct strv images; /* rows that go: name or "", id */
	struct store_lease *trash;
	int *locks; /* of cache mounts that go */
	size_t n_locks, cap_locks;
};

/* --- what is there -------------------------------------------------------------------------- */

static int gather_dir(struct prune *p, enum kind kind, struct error *err)
{
	struct store *s = p->s;
	DIR *d;
	int rc = store_opendir(s, kind_dirs[kind], &d, err);
	if (rc <= 0)
		return rc;
	for (struct dirent *e; (e = readdir(d));) {
		if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
			continue;
		struct stat st;
		struct item it = {.kind = kind};
		if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		        scan_path(&p->scan, dirfd(d), e->d_name, &it.scan) == -ENOENT) {
			scan_item_release(&it.scan);
			continue;
		}
		it.name = xstrdup(e->d_name);
		it.made = st.st_mtim.tv_sec * INT64_C(1000000000) + st.st_mtim.tv_nsec;
		it.used = st.st_mtime; /* rows know better, below */
		/* A stat cache is written only when it learns something. */
		if (kind == K_STAT_CACHE)
			it.used = MAX(st.st_mtime, st.st_atime);
		p->total += it.scan.own + it.scan.first;
		if (kind == K_LAYER || kind == K_BLOB)
			p->parts += it.scan.own + it.scan.first;
		vec_grow(&p->v, &p->cap, p->n + 1);
		p->v[p->n++] = it;
	}
	closedir(d);
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	const struct item *x = a, *y = b;
	return x->kind != y->kind ? (int)x->kind - (int)y->kind : strcmp(x->name, y->name);
}

static int compare_used(const void *a, const void *b)
{
	const struct item *x = a, *y = b;
	if (x->used != y->used)
		return x->used < y->used ? -1 : 1;
	if (x->made != y->made)
		return x->made < y->made ? -1 : 1;
	return compare_names(a, b);
}

static struct item *find_item(struct prune *p, enum kind kind, const char *name)
{
	struct item key = {.kind = kind, .name = (char *)name};
	return p->n ? bsearch(&key, p->v, p->n, sizeof(key), compare_names) : NULL;
}

/* ages - last use from the rows. */
static int ages(struct prune *p, enum kind kind, enum db_stmt id, struct error *err)
{
	sqlite3_stmt *q = db_stmt(p->s, id, err);
	if (!q)
		return -1;
	int rc;
	while ((rc = db_step(p->s, q, err)) > 0) {
		struct digest d;
		char hex[DIGEST_HEX_MAX];
		struct item *it =
		        db_digest(q, 0, &d) ? find_item(p, kind, digest_hex(&d, hex)) : NULL;
		if (it)
			it->used = sqlite3_column_int64(q, 1);
	}
	return rc;
}

/* --- mark ----------------------------------------------------------------------------------- */

static void mark(struct prune *p, char what, const char *hex)
{
	char key[DIGEST_HEX_MAX + 1];
	snprintf(key, sizeof(key), "%c%s", what, hex);
	map_put(&p->live, key, NULL);
}

static bool is_live(const struct prune *p, char what, const char *hex)
{
	char key[DIGEST_HEX_MAX + 1];
	snprintf(key, sizeof(key), "%c%s", what, hex);
	return map_has(&p->live, key);
}

/* mark_doc - a manifest or index blob and what it names. One that is absent or damaged names
 * nothing: its parts can be fetched again. */
static void mark_doc(struct prune *p, const struct digest *d, int depth)
{
	char path[STORE_PATH_MAX], hex[DIGEST_HEX_MAX];
	_cleanup_free_ char *text = NULL;
	size_t n;
	mark(p, 'B', digest_hex(d, hex));
	if (depth > 2 ||
	        sys_read_file(p->s->dirfd, store_blob_path(path, d), MANIFEST_MAX, &text, &n) < 0)
		return;
	_cleanup_error_ struct error e = ERROR_INIT;
	enum oci_doc kind;
	struct oci_manifest m = {0};
	struct oci_index ix = {0};
	if (oci_doc_parse(text, n, NULL, "manifest", &kind, &m, &ix, &e) < 0)
		return;
	if (kind == OCI_DOC_INDEX) {
		for (size_t i = 0; i < ix.n_manifests; i++)
			mark_doc(p, &ix.manifests[i].digest, depth + 1);
		oci_index_release(&ix);
		return;
	}
	mark(p, 'B', digest_hex(&m.config.digest, hex));
	for (size_t i = 0; i < m.n_layers; i++)
		mark(p, 'B', digest_hex(&m.layers[i].digest, hex));
	oci_manifest_release(&m);
}

/* mark_images - tagged images are roots; untagged ones go, and with `images` all do, except what a
 * running build has found or made. */
static int mark_images(struct prune *p, int64_t now, struct error *err)
{
	sqlite3_stmt *q = db_stmt(p->s, ST_IMAGE_ALL, err);
	if (!q)
		return -1;
	int rc;
	while ((rc = db_step(p->s, q, err)) > 0) {
		const char *name = str_or_empty((const char *)sqlite3_column_text(q, 0));
		const char *id = str_or_empty((const char *)sqlite3_column_text(q, 1));
		const char *manifest = (const char *)sqlite3_column_text(q, 2);
		int64_t age = MAX(now - sqlite3_column_int64(q, 8), 0);
		bool goes = (!*name || p->o->images) && age >= p->o->older_than &&
		            (!p->o->kinds || p->o->kinds & STORE_KIND_IMAGE);
		if (goes && !is_live(p, 'I', id)) {
			strv_add(&p->images, name);
			strv_add(&p->images, id);
			continue;
		}
		mark(p, 'B', id);
		struct digest d, *layers = (struct digest *)sqlite3_column_blob(q, 10);
		size_t n = (size_t)sqlite3_column_bytes(q, 10) / sizeof(d);
		for (size_t i = 0; i < n; i++) {
			char hex[DIGEST_HEX_MAX];
			memcpy(&d, &layers[i], sizeof(d));
			mark(p, 'L', digest_hex(&d, hex));
		}
		if (manifest && digest_parse(manifest, &d))
			mark_doc(p, &d, 0);
	}
	return rc;
}

/* mark_layer_blobs - the compressed form of a live layer stays: it may be the only form, and a
 * pulled one cannot be made again from the tree. */
static int mark_layer_blobs(struct prune *p, struct error *err)
{
	sqlite3_stmt *q = db_stmt(p->s, ST_LAYER_BLOB_ALL, err);
	if (!q)
		return -1;
	int rc;
	while ((rc = db_step(p->s, q, err)) > 0) {
		struct digest layer, blob;
		char hex[DIGEST_HEX_MAX];
		if (!db_digest(q, 0, &layer) || !db_digest(q, 1, &blob) ||
		        !is_live(p, 'L', digest_hex(&layer, hex)))
			continue;
		mark(p, 'B', digest_hex(&blob, hex));
	}
	return rc;
}

/* --- choose --------------------------------------------------------------------------------- */

static bool named_kind(const struct prune *p, enum kind kind)
{
	return p->o->kinds & kind_bits[kind];
}

static const char *index_reason(const struct prune *p, const struct item *it, int64_t age)
{
	if (p->o->all || named_kind(p, K_STAT_CACHE))
		return "asked for";
	if (str_ends(it->name, ".tmp"))
		return age > TMP_MAX_AGE ? "left by a process that was killed" : NULL;
	return age > INDEX_MAX_AGE ? "not used for 30 days" : NULL;
}

static const char *reason(const struct prune *p, const struct item *it, int64_t age)
{
	if (p->o->kinds && !named_kind(p, it->kind))
		return NULL;
	switch (it->kind) {
	case K_SET_ASIDE:
		return "damaged, set aside";
	case K_STAT_CACHE:
		return index_reason(p, it, age);
	case K_CACHE:
		if (!p->o->all && !p->o->keep_bytes && !named_kind(p, K_CACHE))
			return NULL;
		break;
	case K_LAYER:
	case K_BLOB:
		if (is_live(p, it->kind == K_LAYER ? 'L' : 'B', it->name))
			return NULL;
		break;
	}
	if (p->o->keep_bytes)
		return "the store is over its limit, and this was used longest ago";
	return it->kind == K_CACHE ? "asked for" : "no image needs it";
}

/* lock_cache - every lock of a cache mount, or it is in use. */
static bool lock_cache(struct prune *p, const char *name)
{
	_cleanup_free_ char *path = xasprintf("mounts/%s", name);
	int fd = sys_open_dir(p->s->dirfd, path);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		close_ptr(&fd);
		return false;
	}
	bool free_now = true;
	for (struct dirent *e; free_now && (e = readdir(d));) {
		if (!str_ends(e->d_name, ".lock"))
			continue;
		int lock = sys_lock_file(fd, e->d_name, true, false);
		if (lock < 0) {
			free_now = false;
			break;
		}
		vec_grow(&p->locks, &p->cap_locks, p->n_locks + 1);
		p->locks[p->n_locks++] = lock;
	}
	closedir(d);
	return free_now;
}

static void choose(struct prune *p, int64_t now)
{
	if (p->n)
		qsort(p->v, p->n, sizeof(*p->v), compare_used);
	for (size_t i = 0; i < p->n; i++) {
		struct item *it = &p->v[i];
		/* A use in the future (the clock went back) counts as now. */
		int64_t age = MAX(now - it->used, 0);
		it->why = reason(p, it, age);
		if (!it->why || age < p->o->older_than)
			continue;
		bool waste = it->kind == K_SET_ASIDE || it->kind == K_STAT_CACHE;
		if (p->o->keep_bytes && p->total <= p->o->keep_bytes && !waste)
			continue;
		if (it->kind == K_CACHE && !lock_cache(p, it->name))
			continue;
		it->chosen = true;
		it->bytes = scan_free_item(&p->scan, &it->scan);
		p->total -= MIN(p->total, it->bytes);
		if (it->kind == K_LAYER || it->kind == K_BLOB)
			p->parts -= MIN(p->parts, it->bytes);
		p->freed += it->bytes;
		if (it->kind == K_LAYER)
			map_put(&p->removed, it->name, NULL);
	}
}

/* --- records -------------------------------------------------------------------------------- */

/* names_layer - does the record's text name one of these layers? Its form is the caller's, but a
 * digest is 64 hex digits in any form. */
static bool names_layer(const struct prune *p, const char *text, bool live)
{
	char key[DIGEST_HEX_MAX + 1] = "L";
	for (const char *at = text; *at;) {
		size_t n = strspn(at, "0123456789abcdef");
		if (n == 64) {
			memcpy(key + 1, at, 64);
			key[65] = '\0';
			if (live ? map_has(&p->live, key) : map_has(&p->removed, key + 1))
				return true;
		}
		at += n ? n : 1;
	}
	return false;
}

struct record {
	char *kind;
	struct digest key;
};

static int drop_records(struct prune *p, int64_t now, struct error *err)
{
	sqlite3_stmt *q = db_stmt(p->s, ST_RECORD_ALL, err);
	if (!q)
		return -1;
	struct record *v = NULL;
	size_t n = 0, cap = 0;
	int rc;
	while ((rc = db_step(p->s, q, err)) > 0) {
		const char *text = str_or_empty((const char *)sqlite3_column_text(q, 2));
		int64_t age = MAX(now - sqlite3_column_int64(q, 3), 0);
		struct record r = {0};
		bool goes = age >= RECORD_MAX_AGE || names_layer(p, text, false) ||
		            (p->o->all && age >= p->o->older_than && !names_layer(p, text, true));
		if (!goes || !db_digest(q, 1, &r.key))
			continue;
		r.kind = xstrdup(str_or_empty((const char *)sqlite3_column_text(q, 0)));
		vec_grow(&v, &cap, n + 1);
		v[n++] = r;
	}
	for (size_t i = 0; i < n; i++) {
		sqlite3_stmt *del = rc < 0 ? NULL : db_stmt(p->s, ST_RECORD_DELETE, err);
		if (del) {
			db_bind_text(del, 1, v[i].kind);
			db_bind_digest(del, 2, &v[i].key);
			rc = db_done(p->s, del, err);
		}
		free(v[i].kind);
	}
	free(v);
	return rc;
}

/* --- remove --------------------------------------------------------------------------------- */

static int forget_rows(struct prune *p, int64_t now, struct error *err)
{
	for (size_t i = 0; i + 1 < p->images.n; i += 2) {
		sqlite3_stmt *q = db_stmt(p->s, ST_IMAGE_DELETE_ROW, err);
		if (!q)
			return -1;
		db_bind_text(q, 1, p->images.v[i]);
		db_bind_text(q, 2, p->images.v[i + 1]);
		if (db_done(p->s, q, err) < 0)
			return -1;
	}
	for (size_t i = 0; i < p->n; i++) {
		const struct item *it = &p->v[i];
		struct digest d;
		if (!it->chosen || it->kind > K_BLOB ||
		        !hex_decode(d.b, sizeof(d.b), it->name, strlen(it->name)))
			continue;
		sqlite3_stmt *q =
		        db_stmt(p->s, it->kind == K_LAYER ? ST_LAYER_DELETE : ST_BLOB_DELETE, err);
		if (!q)
			return -1;
		db_bind_digest(q, 1, &d);
		if (db_done(p->s, q, err) < 0)
			return -1;
	}
	return drop_records(p, now, err);
}

static int to_trash(struct prune *p, struct error *err)
{
	int dir = store_lease_dir(p->trash, err);
	if (dir < 0)
		return -1;
	for (size_t i = 0; i < p->n; i++) {
		struct item *it = &p->v[i];
		if (!it->chosen)
			continue;
		char from[STORE_PATH_MAX + 256], to[32];
		snprintf(from, sizeof(from), "%s/%s", kind_dirs[it->kind], it->name);
		snprintf(to, sizeof(to), "t%zu", i);
		if (renameat(p->s->dirfd, from, dir, to) < 0 && errno != ENOENT)
			return err_sys(err, errno, "cannot remove %s/%s", p->s->path, from);
	}
	return 0;
}

static int empty_trash(struct prune *p, struct error *err)
{
	int r = sys_remove_tree_at_fd(p->trash->dir_fd);
	if (r >= 0)
		return 0;
	(void)err_sys(err, r, "cannot remove all files of the pruned layers in %s", p->s->path);
	if (r == -EPERM || r == -EACCES)
		(void)err_hint(err,
		        "they belong to ids of your subuid range: run `strake prune` where "
		        "it can enter its user namespace (`strake info` says what is missing), "
		        "or as root");
	return -1;
}

static const char *kind_name(const struct item *it)
{
	static const char *const names[] = {"layer", "blob", "cache", "quarantine", "stat cache"};
	bool list = it->kind == K_STAT_CACHE && str_starts(it->name, "files-");
	return list ? "file list" : names[it->kind];
}

/* label - how people know the thing; malloc'ed. */
static char *label(const struct prune *p, const struct item *it)
{
	if (it->kind == K_LAYER || it->kind == K_BLOB)
		return xasprintf("sha256:%s", it->name);
	if (it->kind == K_CACHE) {
		_cleanup_free_ char *path = xasprintf("mounts/%s/id", it->name);
		char *id = NULL;
		size_t n;
		if (sys_read_file(p->s->dirfd, path, 4096, &id, &n) >= 0)
			return id;
	}
	return xstrdup(it->name);
}

static void report_all(const struct prune *p)
{
	const struct store_prune_options *o = p->o;
	if (!o->report)
		return;
	for (size_t i = 0; i + 1 < p->images.n; i += 2) {
		bool named = *p->images.v[i];
		_cleanup_free_ char *id = xasprintf("sha256:%s", p->images.v[i + 1]);
		o->report(o->ctx, "image", named ? p->images.v[i] : id, 0,
		        named ? "asked for" : "it has no name");
	}
	for (size_t i = 0; i < p->n; i++) {
		if (!p->v[i].chosen)
			continue;
		_cleanup_free_ char *id = label(p, &p->v[i]);
		o->report(o->ctx, kind_name(&p->v[i]), id, p->v[i].bytes, p->v[i].why);
	}
}

/* --- the whole ------------------------------------------------------------------------------ */

static void forget_plan(struct prune *p)
{
	map_release(&p->live);
	map_release(&p->removed);
	strv_release(&p->images);
	p->live = p->removed = MAP_INIT(NULL);
	p->images = STRV_INIT;
	for (size_t i = 0; i < p->n; i++) {
		scan_item_release(&p->v[i].scan);
		free(p->v[i].name);
	}
	scan_release(&p->scan);
	for (size_t i = 0; i < p->n_locks; i++)
		close(p->locks[i]);
	p->n = p->n_locks = 0;
	p->total = p->parts = p->freed = 0;
}

static int find_live(struct prune *p, int64_t now, struct error *err)
{
	if (p->n)
		qsort(p->v, p->n, sizeof(*p->v), compare_names);
	if (store_pinned(p->s, &p->live, err) < 0 ||
	        store_containers_kept(p->s, &p->live, err) < 0 || mark_images(p, now, err) < 0 ||
	        mark_layer_blobs(p, err) < 0 || ages(p, K_LAYER, ST_LAYER_ALL, err) < 0 ||
	        ages(p, K_BLOB, ST_BLOB_ALL, err) < 0)
		return -1;
	return 0;
}

static int plan(struct prune *p, int64_t now, struct error *err)
{
	if (find_live(p, now, err) < 0)
		return -1;
	choose(p, now);
	return 0;
}

/* locked - under the exclusive store lock, in one transaction. */
static int locked(struct prune *p, struct error *err)
{
	int64_t now = store_now();
	int rc = db_begin(p->s, p->o->dry_run ? DB_READ : DB_DURABLE, err);
	if (rc < 0)
		return -1;
	rc = plan(p, now, err);
	if (rc == 0 && !p->o->dry_run)
		rc = forget_rows(p, now, err);
	rc = db_end(p->s, rc, err);
	if (rc < 0)
		return -1;
	report_all(p);
	/* Rows first: a layer without a row is found again, a row without a layer is a miss. */
	return p->o->dry_run ? 0 : to_trash(p, err);
}

static int gather_all(struct prune *p, struct error *err)
{
	static const enum kind kinds[] = {K_LAYER, K_BLOB, K_CACHE, K_SET_ASIDE, K_STAT_CACHE};
	int rc = 0;
	forget_plan(p);
	for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(kinds); i++)
		rc = gather_dir(p, kinds[i], err);
	return rc;
}

static int prune_all(struct prune *p, struct error *err)
{
	int rc;
	do {
		rc = gather_all(p, err);
		if (rc == 0)
			rc = store_lock(p->s, true, err);
		if (rc == 0) {
			rc = locked(p, err);
			store_unlock(p->s);
		}
	} while (db_again(p->s, rc, err));
	return rc;
}

static int prune_cache(struct prune *p, struct error *err)
{
	forget_plan(p);
	struct digest d;
	char hex[DIGEST_HEX_MAX];
	if (gather_dir(p, K_CACHE, err) < 0)
		return -1;
	if (p->n)
		qsort(p->v, p->n, sizeof(*p->v), compare_names);
	/* id=npm of a Dockerfile is the path /npm, as BuildKit has it. */
	_cleanup_free_ char *as_path = xasprintf("/%s", p->o->cache_id);
	struct item *it = NULL;
	for (int i = 0; i < 2 && !it; i++) {
		const char *id = i ? as_path : p->o->cache_id;
		sha256_buf(id, strlen(id), &d);
		it = find_item(p, K_CACHE, digest_hex(&d, hex));
	}
	if (!it)
		return err_set(
		        err, ERR_NOT_FOUND, "no cache mount %s in the store", p->o->cache_id);
	if (!lock_cache(p, hex))
		return err_set(err, ERR_USAGE, "the cache mount %s is in use by a running build",
		        p->o->cache_id);
	it->chosen = true;
	it->why = "asked for";
	it->bytes = p->freed = scan_free_item(&p->scan, &it->scan);
	report_all(p);
	return p->o->dry_run ? 0 : to_trash(p, err);
}

/* --- the reserve ---------------------------------------------------------------------------- */

/* On a full disk even the transaction that frees space has no room for its WAL. One megabyte is
 * kept back for that moment. */
#define RESERVE_BYTES (1 << 20)

void store_reserve(struct store *s)
{
	_cleanup_close_ int fd = openat(
	        s->dirfd, "reserve", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	/* Half a reserve is none: the next collector tries again. */
	if (fd >= 0 && fallocate(fd, 0, 0, RESERVE_BYTES) < 0)
		(void)unlinkat(s->dirfd, "reserve", 0);
}

bool store_reserve_use(struct store *s)
{
	return unlinkat(s->dirfd, "reserve", 0) == 0;
}

static bool disk_full(const struct error *err)
{
	return err->errnum == ENOSPC || err->errnum == EDQUOT;
}

int store_prune(struct store *s, const struct store_prune_options *o, uint64_t *ret_freed,
        struct error *err)
{
	if (s->db.group)
		return err_set(err, ERR_INTERNAL, "prune inside store_begin");
	_cleanup_close_ int only_one = sys_lock_file(s->dirfd, "prune.lock", true, true);
	if (only_one < 0)
		return err_sys(err, only_one, "cannot lock %s/prune.lock", s->path);
	struct prune p = {.s = s, .o = o};
	int rc;
	for (;;) {
		rc = o->dry_run || p.trash ? 0 : store_lease_new(s, &p.trash, err);
		if (rc == 0 && p.trash)
			store_sweep(s, NULL);
		if (rc == 0)
			rc = o->cache_id ? prune_cache(&p, err) : prune_all(&p, err);
		if (rc == 0 || !disk_full(err) || !store_reserve_use(s))
			break;
		error_release(err);
	}
	if (p.trash && p.trash->dir_fd >= 0) {
		_cleanup_error_ struct error e = ERROR_INIT;
		int r = empty_trash(&p, &e);
		if (r < 0 && rc == 0) {
			error_move(err, &e);
			rc = -1;
		}
	}
	if (rc == 0 && !o->dry_run && !o->cache_id)
		store_prune_left(s, p.parts, o->keep_bytes && p.total > o->keep_bytes);
	if (rc == 0 && ret_freed)
		*ret_freed = p.freed;
	if (!o->dry_run)
		store_reserve(s);
	forget_plan(&p);
	free(p.v);
	free(p.locks);
	store_lease_free(p.trash);
	return rc;
}

/* --- the list ------------------------------------------------------------------------------- */

/* step_names - "L<hex>" -> the step that made the layer, by the records that name both. */
static int step_names(struct prune *p, struct map *names, struct error *err)
{
	_cleanup_map_ struct map steps = MAP_INIT(free);
	sqlite3_stmt *q = db_stmt(p->s, ST_RECORD_ALL, err);
	if (!q)
		return -1;
	int rc;
	char hex[DIGEST_HEX_MAX], key[DIGEST_HEX_MAX + 1] = "L";
	struct digest d;
	while ((rc = db_step(p->s, q, err)) > 0) {
		const char *kind = str_or_empty((const char *)sqlite3_column_text(q, 0));
		const char *text = str_or_empty((const char *)sqlite3_column_text(q, 2));
		if (!db_digest(q, 1, &d) || !str_eq(kind, "parts"))
			continue;
		_cleanup_error_ struct error e = ERROR_INIT;
		_cleanup_json_ json_t *j = json_parse(text, strlen(text), MANIFEST_MAX, kind, &e);
		const char *name = json_get_str(j, "name");
		if (name && !map_has(&steps, digest_hex(&d, hex)))
			map_put(&steps, hex, xstrdup(name));
	}
	q = rc < 0 ? NULL : db_stmt(p->s, ST_RECORD_ALL, err);
	while (q && (rc = db_step(p->s, q, err)) > 0) {
		const char *kind = str_or_empty((const char *)sqlite3_column_text(q, 0));
		const char *text = str_or_empty((const char *)sqlite3_column_text(q, 2));
		const char *at = strstr(text, "\"diff_id\":\"sha256:");
		const char *name = str_eq(kind, "step") && at && db_digest(q, 1, &d)
		                           ? map_get(&steps, digest_hex(&d, hex))
		                           : NULL;
		if (!name || strlen(at) < 18 + 64)
			continue;
		memcpy(key + 1, at + 18, 64);
		key[65] = '\0';
		if (!map_has(names, key))
			map_put(names, key, xstrdup(name));
	}
	return rc < 0 ? -1 : 0;
}

static int image_names(struct prune *p, struct map *names, struct error *err)
{
	sqlite3_stmt *q = db_stmt(p->s, ST_IMAGE_ALL, err);
	if (!q)
		return -1;
	int rc;
	while ((rc = db_step(p->s, q, err)) > 0) {
		const char *name = str_or_empty((const char *)sqlite3_column_text(q, 0));
		const char *layers = sqlite3_column_blob(q, 10);
		size_t n = (size_t)sqlite3_column_bytes(q, 10) / sizeof(struct digest);
		for (size_t i = 0; *name && i < n; i++) {
			struct digest d;
			char hex[DIGEST_HEX_MAX], key[DIGEST_HEX_MAX + 1];
			memcpy(&d, layers + i * sizeof(d), sizeof(d));
			snprintf(key, sizeof(key), "L%s", digest_hex(&d, hex));
			if (!map_has(names, key))
				map_put(names, key, xstrdup(name));
		}
	}
	return rc;
}

/* look - under the exclusive lock, as pins are read. */
static int look(struct prune *p, struct map *names, struct error *err)
{
	int rc = db_begin(p->s, DB_READ, err);
	if (rc < 0)
		return -1;
	rc = find_live(p, store_now(), err);
	if (rc == 0)
		rc = step_names(p, names, err);
	if (rc == 0)
		rc = image_names(p, names, err);
	return db_end(p->s, rc, err);
}

static void tell_item(const struct prune *p, const struct map *names, struct item *it,
        void (*fn)(void *ctx, const struct store_item *it), void *ctx)
{
	char key[DIGEST_HEX_MAX + 1];
	_cleanup_free_ char *id = label(p, it);
	struct store_item si = {.kind = kind_name(it), .id = id, .used = it->used};
	if (it->kind == K_LAYER && strlen(it->name) < DIGEST_HEX_MAX) {
		snprintf(key, sizeof(key), "L%s", it->name);
		si.what = map_get(names, key);
	}
	if (it->kind == K_LAYER || it->kind == K_BLOB)
		si.in_use = is_live(p, it->kind == K_LAYER ? 'L' : 'B', it->name);
	scan_split(&p->scan, &it->scan, &si.unique, &si.shared);
	fn(ctx, &si);
}

int store_list(struct store *s, void (*fn)(void *ctx, const struct store_item *it), void *ctx,
        struct error *err)
{
	struct store_prune_options o = {.dry_run = true};
	struct prune p = {.s = s, .o = &o};
	_cleanup_map_ struct map names = MAP_INIT(free);
	int rc;
	do {
		map_release(&names);
		names = MAP_INIT(free);
		rc = gather_all(&p, err);
		if (rc == 0)
			rc = store_lock(s, true, err);
		if (rc == 0) {
			rc = look(&p, &names, err);
			store_unlock(s);
		}
	} while (db_again(s, rc, err));
	if (rc == 0) {
		if (p.n)
			qsort(p.v, p.n, sizeof(*p.v), compare_used);
		for (size_t i = p.n; i-- > 0;)
			tell_item(&p, &names, &p.v[i], fn, ctx);
	}
	forget_plan(&p);
	free(p.v);
	return rc;
}
