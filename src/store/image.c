/* store/image.c - tags: names that point at image configs.
 *
 * A tag is the only thing here that cannot be found again, so it is written with a full sync,
 * after everything it stands on is on disk. Each row carries its image's diff ids, so that the
 * collector never has to trust a config blob. */
#include <errno.h>
#include <stdio.h>

#include "base/hex.h"
#include "store/internal.h"

#define IMAGE_CONFIG_MAX ((size_t)8 << 20)

void store_image_release(struct store_image *im)
{
	if (!im)
		return;
	free(im->name);
	free(im->manifest_digest);
	im->name = im->manifest_digest = NULL;
}

void store_images_free(struct store_image *v, size_t n)
{
	for (size_t i = 0; v && i < n; i++)
		store_image_release(&v[i]);
	free(v);
}

int store_image_config(
        struct store *s, const struct digest *id, struct oci_image *ret, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t n;
	char str[DIGEST_STR_MAX];
	if (store_blob_read_all(s, id, IMAGE_CONFIG_MAX, &text, &n, err) < 0)
		return -1;
	_cleanup_free_ char *what = xasprintf("image config %s", digest_str(id, str));
	return oci_image_parse(text, n, what, ret, err);
}

static bool row(sqlite3_stmt *q, struct store_image *ret)
{
	struct store_image im = {0};
	const char *hex = (const char *)sqlite3_column_text(q, 1);
	if (!hex || !hex_decode(im.id.b, sizeof(im.id.b), hex, strlen(hex)))
		return false;
	char *const to[] = {
	        im.platform.os, im.platform.arch, im.platform.variant, im.platform.os_version};
	const size_t max[] = {sizeof(im.platform.os), sizeof(im.platform.arch),
	        sizeof(im.platform.variant), sizeof(im.platform.os_version)};
	for (int i = 0; i < 4; i++)
		snprintf(to[i], max[i], "%s",
		        str_or_empty((const char *)sqlite3_column_text(q, 3 + i)));
	im.name = xstrdup(str_or_empty((const char *)sqlite3_column_text(q, 0)));
	im.manifest_digest = db_text(q, 2);
	im.created = sqlite3_column_int64(q, 7);
	im.tagged_at = sqlite3_column_int64(q, 8);
	im.size = (uint64_t)sqlite3_column_int64(q, 9);
	*ret = im;
	return true;
}

/* --- writing -------------------------------------------------------------------------------- */

struct put {
	const char *name;
	const struct digest *config;
	const struct oci_platform *p;
	const char *manifest;
	const struct digest *layers;
	size_t n_layers;
	uint64_t size;
	int64_t created;
	bool add;
};

int store_layer_known(struct store *s, const struct digest *d, struct error *err)
{
	const struct store_layer *layer;
	int rc = store_layer_get(s, s->leases, d, 0, &layer, err);
	if (rc != 0)
		return rc;
	struct oci_descriptor *v = NULL;
	size_t n = 0;
	if (store_layer_blobs(s, d, &v, &n, err) < 0)
		return -1;
	bool here = n > 0 && store_blob_known(s, &v[0].digest, NULL);
	for (size_t i = 0; i < n; i++)
		oci_descriptor_release(&v[i]);
	free(v);
	return here;
}

/* check_parts - a tag never points at something that is not there. */
static int check_parts(struct store *s, const struct oci_image *im, struct error *err)
{
	char str[DIGEST_STR_MAX];
	for (size_t i = 0; i < im->n_diff_ids; i++) {
		int rc = store_layer_known(s, &im->diff_ids[i], err);
		if (rc < 0)
			return -1;
		if (rc == 0)
			return err_set(err, ERR_INTEGRITY, "layer %s is not in the store",
			        digest_str(&im->diff_ids[i], str));
	}
	return 0;
}

/* forget_others - the name's earlier images. One that keeps no other name stays untagged. */
static int forget_others(struct store *s, const struct put *p, struct error *err)
{
	char hex[DIGEST_HEX_MAX];
	sqlite3_stmt *q = db_stmt(s, ST_IMAGE_KEEP_AS_UNTAGGED, err);
	if (!q)
		return -1;
	digest_hex(p->config, hex);
	db_bind_text(q, 1, p->name);
	db_bind_text(q, 2, hex);
	db_bind_text(q, 3, p->add ? p->p->os : "");
	db_bind_text(q, 4, p->p->arch);
	db_bind_text(q, 5, p->p->variant);
	db_bind_text(q, 6, p->p->os_version);
	if (db_done(s, q, err) < 0)
		return -1;
	static const enum db_stmt drop[] = {ST_IMAGE_DROP_UNTAGGED, ST_IMAGE_UNTAG_OTHERS};
	for (size_t i = 0; i < (p->add ? 1 : 2); i++) {
		q = db_stmt(s, drop[i], err);
		if (!q)
			return -1;
		db_bind_text(q, 1, i == 0 ? hex : p->name);
		if (db_done(s, q, err) < 0)
			return -1;
	}
	return 0;
}

static int put_row(struct store *s, const struct put *p, struct error *err)
{
	char hex[DIGEST_HEX_MAX];
	digest_hex(p->config, hex);
	/* What a running build has named, a collector that untags everything leaves to it. */
	if (store_pin(s->leases, 'I', p->config, err) < 0)
		return -1;
	if (*p->name && forget_others(s, p, err) < 0)
		return -1;
	sqlite3_stmt *q = db_stmt(s, *p->name ? ST_IMAGE_PUT : ST_IMAGE_BY_ID, err);
	if (!q)
		return -1;
	if (!*p->name) {
		/* Untagged, and it has a name already: nothing to add. */
		db_bind_text(q, 1, hex);
		int rc = db_step(s, q, err);
		bool named = rc > 0 && sqlite3_column_bytes(q, 0) > 0;
		sqlite3_reset(q);
		if (rc < 0 || named)
			return rc < 0 ? -1 : 0;
		q = db_stmt(s, ST_IMAGE_PUT, err);
		if (!q)
			return -1;
	}
	db_bind_text(q, 1, p->name);
	db_bind_text(q, 2, p->p->os);
	db_bind_text(q, 3, p->p->arch);
	db_bind_text(q, 4, p->p->variant);
	db_bind_text(q, 5, p->p->os_version);
	db_bind_text(q, 6, *p->name ? "" : hex);
	db_bind_text(q, 7, hex);
	db_bind_text(q, 8, p->manifest);
	/* An empty image has the blob X'' rather than NULL. */
	sqlite3_bind_blob(q, 9, p->n_layers ? (const void *)p->layers : "",
	        (int)(p->n_layers * sizeof(*p->layers)), SQLITE_TRANSIENT);
	sqlite3_bind_int64(q, 10, (int64_t)p->size);
	sqlite3_bind_int64(q, 11, p->created);
	sqlite3_bind_int64(q, 12, store_now());
	return db_done(s, q, err);
}

/* same_row - the row under the cursor is what would be written. A cached build tags the same image
 * again and again: that must not cost a disk flush. Once an hour it is written all the same, for
 * its age. */
static bool same_row(sqlite3_stmt *q, const struct put *p)
{
	struct store_image im;
	if (!row(q, &im))
		return false;
	int64_t age = store_now() - im.tagged_at;
	bool same = digest_eq(&im.id, p->config) && oci_platform_equal(&im.platform, p->p) &&
	            str_eq(str_or_empty(im.manifest_digest), str_or_empty(p->manifest)) &&
	            im.size == p->size && im.created == p->created && age >= 0 &&
	            age < STORE_TOUCH_GRAIN;
	store_image_release(&im);
	return same;
}

/* is_current - 1: nothing to write. */
static int is_current(struct store *s, const struct put *p, struct error *err)
{
	char hex[DIGEST_HEX_MAX];
	digest_hex(p->config, hex);
	sqlite3_stmt *q = db_stmt(s, *p->name ? ST_IMAGE_BY_NAME : ST_IMAGE_BY_ID, err);
	if (!q || store_pin(s->leases, 'I', p->config, err) < 0)
		return -1;
	db_bind_text(q, 1, *p->name ? p->name : hex);
	int rc, same = 0, others = 0;
	while ((rc = db_step(s, q, err)) > 0) {
		if (same_row(q, p))
			same++;
		else
			others++;
	}
	return rc < 0 ? -1 : same && (p->add || !others || !*p->name);
}

int store_image_put(struct store *s, const char *name, const struct digest *config,
        const struct oci_platform *p, const char *manifest_digest, uint64_t size, int64_t created,
        bool add_platform, struct error *err)
{
	struct oci_image im;
	oci_image_init(&im);
	int rc = store_image_config(s, config, &im, err);
	if (rc == 0)
		rc = check_parts(s, &im, err);
	if (rc == 0)
		rc = store_make_durable(s, err);
	struct put put = {name, config, p, manifest_digest, im.diff_ids, im.n_diff_ids, size,
	        created, add_platform};
	if (rc == 0) {
		do {
			rc = db_begin(s, DB_READ, err);
			if (rc == 0)
				rc = db_end(s, is_current(s, &put, err), err);
		} while (db_again(s, rc, err));
	}
	if (rc == 0) {
		do {
			rc = db_begin(s, DB_DURABLE, err);
			if (rc == 0)
				rc = db_end(s, put_row(s, &put, err), err);
		} while (db_again(s, rc, err));
	}
	rc = MIN(rc, 0);
	oci_image_release(&im);
	if (rc < 0)
		(void)err_wrap(err, "cannot write the image %s", *name ? name : "to the store");
	return rc;
}

/* --- reading -------------------------------------------------------------------------------- */

struct images {
	struct store_image *v;
	size_t n, cap;
};

static int collect(
        struct store *s, enum db_stmt id, const char *arg, struct images *ret, struct error *err)
{
	sqlite3_stmt *q = db_stmt(s, id, err);
	if (!q)
		return -1;
	if (arg)
		db_bind_text(q, 1, arg);
	int rc;
	while ((rc = db_step(s, q, err)) > 0) {
		vec_grow(&ret->v, &ret->cap, ret->n + 1);
		ret->n += row(q, &ret->v[ret->n]);
	}
	return rc;
}

static void images_release(struct images *im)
{
	store_images_free(im->v, im->n);
	*im = (struct images){0};
}

/* hex_prefix - the digits of an id as people write it; NULL if it is not one. */
static const char *hex_prefix(const char *s)
{
	if (str_starts(s, "sha256:"))
		s += strlen("sha256:");
	size_t n = strspn(s, "0123456789abcdef");
	return s[n] || n < 4 || n > 64 ? NULL : s;
}

/* find_rows - exact name, then docker's reading of the name, then id. */
static int find_rows(
        struct store *s, const char *text, struct images *ret, bool *ret_by_id, struct error *err)
{
	*ret_by_id = false;
	int rc = collect(s, ST_IMAGE_BY_NAME, text, ret, err);
	if (rc < 0 || (ret->n && *text))
		return rc;
	images_release(ret); /* "" names nothing */
	_cleanup_error_ struct error e = ERROR_INIT;
	struct oci_ref ref = {0};
	if (oci_ref_parse(text, &ref, &e) == 0) {
		_cleanup_free_ char *name = oci_ref_string(&ref);
		rc = collect(s, ST_IMAGE_BY_NAME, name, ret, err);
		if (rc == 0 && ret->n == 0 && ref.digest && !ref.tag)
			rc = collect(s, ST_IMAGE_BY_MANIFEST, ref.digest, ret, err);
	}
	oci_ref_release(&ref);
	const char *prefix = hex_prefix(text);
	if (rc < 0 || ret->n || !prefix)
		return rc;
	*ret_by_id = true;
	return collect(s, ST_IMAGE_BY_ID, prefix, ret, err);
}

static int one_id(const struct images *im, const char *text, struct error *err)
{
	for (size_t i = 1; i < im->n; i++) {
		if (digest_eq(&im->v[i].id, &im->v[0].id))
			continue;
		(void)err_set(err, ERR_USAGE, "%s is the beginning of several image ids", text);
		return err_hint(err, "give more digits");
	}
	return 0;
}

/* pick - index of the wanted platform; -1: none. */
static int pick(const struct images *im, const struct oci_platform *want)
{
	struct oci_platform host;
	oci_platform_host(&host);
	int best = -1, best_rank = 0;
	for (size_t i = 0; i < im->n; i++) {
		int rank = oci_platform_match(want ? want : &host, &im->v[i].platform);
		if (rank > best_rank) {
			best = (int)i;
			best_rank = rank;
		}
	}
	if (best < 0 && !want && im->n == 1)
		best = 0;
	return best;
}

static int find_and_pin(
        struct store *s, const char *text, struct images *ret, bool *ret_by_id, struct error *err)
{
	int rc = find_rows(s, text, ret, ret_by_id, err);
	for (size_t i = 0; rc == 0 && i < ret->n; i++)
		rc = store_pin(s->leases, 'I', &ret->v[i].id, err);
	return rc;
}

int store_image_find(struct store *s, const char *name_or_id, const struct oci_platform *p,
        struct store_image *ret, struct error *err)
{
	struct images im = {0};
	bool by_id = false;
	int rc;
	do {
		images_release(&im);
		rc = db_begin(s, DB_READ, err);
		if (rc == 0)
			rc = db_end(s, find_and_pin(s, name_or_id, &im, &by_id, err), err);
	} while (db_again(s, rc, err));
	if (rc == 0 && by_id)
		rc = one_id(&im, name_or_id, err);
	/* An id names one image of one platform, whatever the host is. */
	int i = rc < 0 || im.n == 0 ? -1 : by_id && !p ? 0 : pick(&im, p);
	if (i >= 0) {
		*ret = im.v[i];
		im.v[i] = (struct store_image){0};
		rc = 1;
	}
	images_release(&im);
	return rc;
}

int store_image_list(struct store *s, struct store_image **ret, size_t *ret_n, struct error *err)
{
	struct images im = {0};
	int rc;
	do {
		images_release(&im);
		rc = db_begin(s, DB_READ, err);
		if (rc == 0)
			rc = db_end(s, collect(s, ST_IMAGE_ALL, NULL, &im, err), err);
	} while (db_again(s, rc, err));
	if (rc < 0) {
		images_release(&im);
		return -1;
	}
	*ret = im.v;
	*ret_n = im.n;
	return 0;
}

static int delete_rows(struct store *s, const char *text, struct error *err)
{
	struct images im = {0};
	bool by_id = false;
	int rc = find_rows(s, text, &im, &by_id, err);
	if (rc == 0 && im.n == 0)
		rc = err_set(err, ERR_NOT_FOUND, "no image %s in the store", text);
	if (rc == 0 && by_id)
		rc = one_id(&im, text, err);
	if (rc == 0) {
		char hex[DIGEST_HEX_MAX];
		sqlite3_stmt *q =
		        db_stmt(s, by_id ? ST_IMAGE_DELETE_ID : ST_IMAGE_DELETE_NAME, err);
		if (q)
			db_bind_text(q, 1, by_id ? digest_hex(&im.v[0].id, hex) : im.v[0].name);
		rc = q ? db_done(s, q, err) : -1;
	}
	images_release(&im);
	return rc;
}

int store_image_delete(struct store *s, const char *name, struct error *err)
{
	int rc;
	do {
		rc = db_begin(s, DB_DURABLE, err);
		if (rc == 0)
			rc = db_end(s, delete_rows(s, name, err), err);
	} while (db_again(s, rc, err));
	return rc;
}
