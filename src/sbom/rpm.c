/* sbom/rpm.c - rpm's database: headers in an SQLite table. The older Berkeley DB and ndb forms are
 * not read.
 *
 * The database is hostile: it is opened read-only and immutable, without a trusted schema, and a
 * query that does not end is cut off. */
#include "sbom/internal.h"

#include <endian.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>

#define MAX_HEADER (64u << 20)
#define MAX_ENTRIES 65536u
#define MAX_STEPS 20000u /* of 1,000 instructions each */

enum { TAG_NAME = 1000, TAG_VERSION, TAG_RELEASE, TAG_EPOCH };
enum { TAG_VENDOR = 1011, TAG_LICENSE = 1014, TAG_URL = 1020, TAG_ARCH = 1022 };
enum { TAG_SOURCERPM = 1044 };
enum { TYPE_INT32 = 4, TYPE_STRING = 6, TYPE_STRING_ARRAY = 8, TYPE_I18NSTRING = 9 };

static uint32_t be32(const unsigned char *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

struct header {
	const unsigned char *index, *data;
	uint32_t n, data_len;
};

static const unsigned char *find_tag(
        const struct header *h, uint32_t tag, uint32_t *ret_type, uint32_t *ret_room)
{
	for (uint32_t i = 0; i < h->n; i++) {
		const unsigned char *e = h->index + (size_t)i * 16;
		uint32_t offset = be32(e + 8);
		if (be32(e) != tag || offset >= h->data_len)
			continue;
		*ret_type = be32(e + 4);
		*ret_room = h->data_len - offset;
		return h->data + offset;
	}
	return NULL;
}

static const char *string_tag(struct sbom *s, const struct header *h, uint32_t tag)
{
	uint32_t type = 0, room = 0;
	const unsigned char *p = find_tag(h, tag, &type, &room);
	if (!p || (type != TYPE_STRING && type != TYPE_STRING_ARRAY && type != TYPE_I18NSTRING))
		return NULL;
	return sbom_text(s, (const char *)p, strnlen((const char *)p, room));
}

void sbom_parse_rpm(struct sbom *s, const void *blob, size_t n, const char *path)
{
	const unsigned char *p = blob;
	if (n < 8 || n > MAX_HEADER)
		return;
	struct header h = {.index = p + 8, .n = be32(p), .data_len = be32(p + 4)};
	if (h.n > MAX_ENTRIES || (uint64_t)h.n * 16 + h.data_len > n - 8)
		return;
	h.data = h.index + (size_t)h.n * 16;
	struct sbom_package k = {.type = "rpm",
	        .found_in = path,
	        .name = string_tag(s, &h, TAG_NAME),
	        .arch = string_tag(s, &h, TAG_ARCH),
	        .license = string_tag(s, &h, TAG_LICENSE),
	        .supplier = string_tag(s, &h, TAG_VENDOR),
	        .homepage = string_tag(s, &h, TAG_URL),
	        .upstream = string_tag(s, &h, TAG_SOURCERPM)};
	const char *version = string_tag(s, &h, TAG_VERSION);
	const char *release = string_tag(s, &h, TAG_RELEASE);
	uint32_t type = 0, room = 0;
	const unsigned char *epoch = find_tag(&h, TAG_EPOCH, &type, &room);
	if (!k.name || !version || str_eq(k.name, "gpg-pubkey"))
		return;
	bool has_epoch = epoch && type == TYPE_INT32 && room >= 4 && be32(epoch) > 0;
	k.version = has_epoch ? arena_printf(&s->arena, "%u:%s%s%s", be32(epoch), version,
	                                release ? "-" : "", str_or_empty(release))
	                      : arena_printf(&s->arena, "%s%s%s", version, release ? "-" : "",
	                                str_or_empty(release));
	sbom_add(s, &k);
}

static int too_long(void *ctx)
{
	unsigned *steps = ctx;
	return ++*steps > MAX_STEPS;
}

static int read_headers(struct sbom *s, sqlite3 *db, const char *path, struct error *err)
{
	sqlite3_stmt *q = NULL;
	unsigned steps = 0;
	(void)sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	(void)sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	(void)sqlite3_limit(db, SQLITE_LIMIT_LENGTH, (int)MAX_HEADER);
	sqlite3_progress_handler(db, 1000, too_long, &steps);
	int r = sqlite3_prepare_v2(db, "SELECT blob FROM Packages", -1, &q, NULL);
	while (r == SQLITE_OK || r == SQLITE_ROW) {
		r = sqlite3_step(q);
		if (r != SQLITE_ROW || s->n >= SBOM_MAX_PACKAGES)
			break;
		const void *blob = sqlite3_column_blob(q, 0);
		int n = sqlite3_column_bytes(q, 0);
		if (blob && n > 0)
			sbom_parse_rpm(s, blob, (size_t)n, path);
	}
	if (r != SQLITE_DONE && r != SQLITE_ROW)
		err_set(err, ERR_INTEGRITY, "%s", sqlite3_errmsg(db));
	(void)sqlite3_finalize(q);
	return error_is_set(err) ? -1 : 0;
}

int sbom_read_rpmdb(struct sbom *s, int fd, const char *path, struct error *err)
{
	char uri[80];
	sqlite3 *db = NULL;
	snprintf(uri, sizeof(uri), "file:/proc/self/fd/%d?mode=ro&immutable=1", fd);
	int rc = 0;
	if (sqlite3_open_v2(uri, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, NULL) != SQLITE_OK)
		rc = err_set(err, ERR_INTEGRITY, "%s", db ? sqlite3_errmsg(db) : "out of memory");
	else
		rc = read_headers(s, db, path, err);
	(void)sqlite3_close(db);
	return rc;
}
