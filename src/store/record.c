/* store/record.c - step records, and when things were used last.
 *
 * Last use is kept to the hour and written in one go when the store is freed, so that a cached
 * build reads only. A clock that ran ahead is corrected: a use in the future counts as stale. */
#include <stdio.h>

#include "store/internal.h"

static int get(struct store *s, const char *kind, const struct digest *key, char **ret,
        int64_t *ret_used, struct error *err)
{
	sqlite3_stmt *q = db_stmt(s, ST_RECORD_GET, err);
	if (!q)
		return -1;
	db_bind_text(q, 1, kind);
	db_bind_digest(q, 2, key);
	int rc = db_step(s, q, err);
	if (rc <= 0)
		return rc;
	char *text = db_text(q, 0);
	if (!text)
		return 0;
	*ret_used = sqlite3_column_int64(q, 1);
	*ret = text;
	return 1;
}

int store_record_get(
        struct store *s, const char *kind, const struct digest *key, char **ret, struct error *err)
{
	char *text = NULL;
	int64_t used = 0;
	int rc;
	do {
		rc = db_begin(s, DB_READ, err);
		if (rc == 0)
			rc = db_end(s, get(s, kind, key, &text, &used, err), err);
	} while (db_again(s, rc, err));
	if (rc <= 0) {
		free(text);
		return rc;
	}
	store_note_used(s, 'R', kind, key, used);
	*ret = text;
	return 1;
}

int store_record_put(struct store *s, const char *kind, const struct digest *key, const char *text,
        struct error *err)
{
	int rc;
	do {
		rc = db_begin(s, DB_WRITE, err);
		if (rc < 0)
			continue;
		sqlite3_stmt *q = db_stmt(s, ST_RECORD_PUT, err);
		if (q) {
			db_bind_text(q, 1, kind);
			db_bind_digest(q, 2, key);
			db_bind_text(q, 3, text);
			sqlite3_bind_int64(q, 4, store_now());
		}
		rc = db_end(s, q ? db_done(s, q, err) : -1, err);
	} while (db_again(s, rc, err));
	return rc;
}

/* --- last use ------------------------------------------------------------------------------- */

/* note - true if it was not noted before. */
static bool note(struct store *s, char what, const char *kind, const struct digest *d)
{
	char hex[DIGEST_HEX_MAX];
	_cleanup_free_ char *key =
	        xasprintf("%c%s/%s", what, str_or_empty(kind), digest_hex(d, hex));
	return map_put(&s->seen, key, NULL);
}

static void add(struct store *s, char what, const char *kind, const struct digest *d)
{
	vec_grow(&s->touches, &s->cap_touches, s->n_touches + 1);
	s->touches[s->n_touches++] =
	        (struct touch){.what = what, .kind = kind ? xstrdup(kind) : NULL, .key = *d};
}

void store_note_used(
        struct store *s, char what, const char *kind, const struct digest *d, int64_t used)
{
	store_enter(s);
	int64_t age = store_now() - used;
	if (note(s, what, kind, d) && (age < 0 || age >= STORE_TOUCH_GRAIN))
		add(s, what, kind, d);
	store_leave(s);
}

void store_touch_layer(struct store *s, const struct digest *diff_id)
{
	store_enter(s);
	if (note(s, 'L', NULL, diff_id))
		add(s, 'L', NULL, diff_id);
	store_leave(s);
}

void store_touch_record(struct store *s, const char *kind, const struct digest *key)
{
	store_enter(s);
	if (note(s, 'R', kind, key))
		add(s, 'R', kind, key);
	store_leave(s);
}

static int write_touch(struct store *s, const struct touch *t, struct error *err)
{
	enum db_stmt id = t->what == 'L'   ? ST_LAYER_USED
	                  : t->what == 'B' ? ST_BLOB_USED
	                                   : ST_RECORD_USED;
	sqlite3_stmt *q = db_stmt(s, id, err);
	if (!q)
		return -1;
	int i = 1;
	if (t->what == 'R')
		db_bind_text(q, i++, t->kind);
	db_bind_digest(q, i++, &t->key);
	sqlite3_bind_int64(q, i, store_now());
	return db_done(s, q, err);
}

void store_flush_touches(struct store *s)
{
	if (!s->n_touches)
		return;
	/* A failure costs nothing but a little precision of the collector. */
	_cleanup_error_ struct error e = ERROR_INIT;
	if (db_begin(s, DB_WRITE, &e) < 0)
		return;
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < s->n_touches; i++)
		rc = write_touch(s, &s->touches[i], &e);
	(void)!db_end(s, rc, &e);
}
