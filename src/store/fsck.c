/* store/fsck.c - is everything what its name says? Leftovers of killed processes are no problem:
 * they are swept or adopted on the way, as the next build would do. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/hex.h"
#include "base/pool.h"
#include "store/internal.h"
#include "sys/path.h"

struct fsck {
	struct store *s;
	bool repair, quick;
	void (*report)(void *ctx, const char *what, const char *problem);
	void *ctx;
	int problems;
};

static void problem(struct fsck *f, const char *what, const char *text)
{
	f->problems++;
	if (f->report)
		f->report(f->ctx, what, text);
}

/* --- layers and blobs ----------------------------------------------------------------------- */

struct check {
	struct digest d;
	struct error err;
	int rc;
};

struct job {
	struct fsck *f;
	bool layers;
	struct check *v;
	size_t n, cap;
};

static int quick_blob(struct store *s, const struct digest *d, struct error *err)
{
	char path[STORE_PATH_MAX];
	struct stat st;
	if (fstatat(s->dirfd, store_blob_path(path, d), &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0
		                       : err_sys(err, errno, "cannot stat %s/%s", s->path, path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_INTEGRITY, "it is not a regular file");
	int rc = db_begin(s, DB_READ, err);
	if (rc < 0)
		return -1;
	sqlite3_stmt *q = db_stmt(s, ST_BLOB_GET, err);
	if (q)
		db_bind_digest(q, 1, d);
	rc = q ? db_step(s, q, err) : -1;
	if (rc > 0)
		rc = sqlite3_column_int64(q, 0) == st.st_size
		             ? 0
		             : err_set(err, ERR_INTEGRITY, "its size is wrong");
	return db_end(s, rc, err);
}

static void run_check(void *ctx, size_t i)
{
	struct job *j = ctx;
	struct check *c = &j->v[i];
	struct store *s = j->f->s;
	if (j->layers)
		c->rc = store_verify_layer(s, &c->d, j->f->quick, NULL, &c->err);
	else if (j->f->quick)
		c->rc = quick_blob(s, &c->d, &c->err);
	else
		c->rc = store_verify_blob(s, &c->d, &(uint64_t){0}, &c->err);
}

/* list - names that are digests; anything else is residue. */
static int list(struct job *j, const char *dir, struct error *err)
{
	struct store *s = j->f->s;
	DIR *d;
	int rc = store_opendir(s, dir, &d, err);
	if (rc <= 0)
		return rc;
	for (struct dirent *e; (e = readdir(d));) {
		struct check c = {0};
		if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
			continue;
		if (hex_decode(c.d.b, sizeof(c.d.b), e->d_name, strlen(e->d_name))) {
			vec_grow(&j->v, &j->cap, j->n + 1);
			j->v[j->n++] = c;
			continue;
		}
		_cleanup_free_ char *what = xasprintf("%s/%s", dir, e->d_name);
		problem(j->f, what, "not the name of a digest");
		if (j->f->repair && sys_remove_tree(dirfd(d), e->d_name) < 0)
			problem(j->f, what, "could not be removed");
	}
	closedir(d);
	return 0;
}

static int judge(struct job *j, struct check *c, struct error *err)
{
	char what[DIGEST_STR_MAX + 8], str[DIGEST_STR_MAX];
	if (c->rc >= 0 || c->err.errnum == ENOENT) /* pruned meanwhile */
		return 0;
	snprintf(what, sizeof(what), "%s %s", j->layers ? "layer" : "blob", digest_str(&c->d, str));
	if (c->err.errnum == EACCES || c->err.errnum == EPERM) {
		error_move(err, &c->err);
		(void)err_wrap(err, "%s", what);
		return err_hint(err, "checking file contents needs the user namespace of the build "
		                     "or root; a quick check does not");
	}
	if (c->err.class != ERR_INTEGRITY && c->err.errnum != EIO) {
		error_move(err, &c->err);
		return err_wrap(err, "%s", what);
	}
	problem(j->f, what, c->err.msg);
	if (j->f->repair && j->layers)
		store_quarantine_layer(j->f->s, &c->d, c->err.msg);
	else if (j->f->repair)
		store_quarantine_blob(j->f->s, &c->d, c->err.msg);
	return 0;
}

static int check_dir(struct fsck *f, bool layers, struct error *err)
{
	struct job j = {.f = f, .layers = layers};
	int rc = list(&j, layers ? "layers" : "blobs/sha256", err);
	if (rc == 0 && j.n) {
		long cpus = sysconf(_SC_NPROCESSORS_ONLN);
		struct pool *p = f->quick ? NULL : pool_new((unsigned)MIN(MAX(cpus, 1), 16));
		pool_run(p, j.n, run_check, &j);
		pool_free(p);
	}
	for (size_t i = 0; i < j.n; i++) {
		if (rc == 0)
			rc = judge(&j, &j.v[i], err);
		error_release(&j.v[i].err);
	}
	free(j.v);
	return rc;
}

/* --- images --------------------------------------------------------------------------------- */

/* drop_untagged - an image without a name cannot be built or pulled again under it. */
static int drop_untagged(struct store *s, const struct digest *id, struct error *err)
{
	char hex[DIGEST_HEX_MAX];
	int rc;
	digest_hex(id, hex);
	do {
		rc = db_begin(s, DB_WRITE, err);
		if (rc < 0)
			continue;
		sqlite3_stmt *q = db_stmt(s, ST_IMAGE_DELETE_ROW, err);
		if (q) {
			db_bind_text(q, 1, "");
			db_bind_text(q, 2, hex);
		}
		rc = db_end(s, q ? db_done(s, q, err) : -1, err);
	} while (db_again(s, rc, err));
	return rc;
}

static int check_image(struct fsck *f, const struct store_image *im, struct error *err)
{
	struct store *s = f->s;
	int before = f->problems;
	char str[DIGEST_STR_MAX], text[160];
	_cleanup_free_ char *what =
	        xasprintf("image %s", *im->name ? im->name : digest_str(&im->id, str));
	struct oci_image config;
	oci_image_init(&config);
	_cleanup_error_ struct error e = ERROR_INIT;
	int rc = store_image_config(s, &im->id, &config, &e);
	if (rc < 0)
		problem(f, what, e.msg);
	for (size_t i = 0; rc == 0 && i < config.n_diff_ids; i++) {
		rc = store_layer_known(s, &config.diff_ids[i], err);
		if (rc == 0) {
			snprintf(text, sizeof(text),
			        "its layer %s is missing: build or pull it again",
			        digest_str(&config.diff_ids[i], str));
			problem(f, what, text);
		}
		rc = rc < 0 ? -1 : 0;
	}
	oci_image_release(&config);
	if (!error_is_set(err) && f->repair && f->problems > before && !*im->name)
		(void)!drop_untagged(s, &im->id, err);
	return error_is_set(err) ? -1 : 0;
}

static int check_images(struct fsck *f, struct error *err)
{
	struct store_image *v = NULL;
	size_t n = 0;
	int rc = store_image_list(f->s, &v, &n, err);
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = check_image(f, &v[i], err);
	store_images_free(v, n);
	return rc;
}

static int check_containers(struct fsck *f, struct error *err)
{
	_cleanup_strv_ struct strv ids = STRV_INIT;
	if (store_container_list(f->s, &ids, err) < 0)
		return -1;
	for (size_t i = 0; i < ids.n; i++) {
		_cleanup_free_ char *what = xasprintf("container %.12s", ids.v[i]);
		_cleanup_free_ char *text = NULL;
		if (store_container_check(f->s, ids.v[i], &text, err) < 0)
			return -1;
		if (text)
			problem(f, what, text);
	}
	return 0;
}

/* --- the whole ------------------------------------------------------------------------------ */

static int check_database(struct fsck *f, struct error *err)
{
	struct strv found = STRV_INIT;
	int rc;
	bool again;
	do {
		_cleanup_free_ char *text = NULL;
		rc = db_check(f->s, f->quick, &found, err);
		if (rc < 0 && f->s->db.corrupt)
			text = xstrdup(err->msg);
		again = db_again(f->s, rc, err);
		if (again)
			problem(f, "meta.db", text ? text : "damaged");
	} while (again);
	strv_foreach (p, &found)
		problem(f, "meta.db", p);
	strv_release(&found);
	return rc;
}

int store_fsck(struct store *s, bool repair, bool quick,
        void (*report)(void *ctx, const char *what, const char *problem), void *ctx,
        struct error *err)
{
	struct fsck f = {.s = s, .repair = repair, .quick = quick, .report = report, .ctx = ctx};
	struct strv left = STRV_INIT;
	store_sweep(s, &left);
	strv_foreach (l, &left)
		problem(&f, "staging", l);
	strv_release(&left);
	if (check_database(&f, err) < 0 || check_dir(&f, true, err) < 0 ||
	        check_dir(&f, false, err) < 0 || check_images(&f, err) < 0 ||
	        check_containers(&f, err) < 0)
		return -1;
	return f.problems;
}
