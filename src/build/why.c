/* build/why.c - finds the earlier result that a step is compared with.
 *
 * Two kinds of rows lead to parts: "slot" by the instruction's text and "slot" by its place; each
 * holds the keys of the last few results, newest first. The text is tried first, so that inserting
 * a line above does not make every step below look changed; the place finds the step whose text
 * was edited. Of several earlier results the one with the fewest differences is taken: going back
 * and forth between two branches compares each with itself. */
#include "build/why.h"

#include <stdio.h>

#include "base/strbuf.h"

#define SLOT_KEYS 6
#define RECORD_CAP ((size_t)8 << 20)

/* --- where a step stands --------------------------------------------------------------------- */

char *why_context(const struct build *b)
{
	/* trusted-path: the command line's context */
	return b->context_dir ? realpath(b->context_dir, NULL) : NULL;
}

/* identity - which Dockerfile in which context, as this machine sees them. */
static void identity(struct build *b, struct sha256 *h)
{
	_cleanup_free_ char *real = why_context(b);
	sha256_str(h, real ? real : b->o->context);
	sha256_str(h, str_or_empty(b->o->dockerfile));
}

static void start_slot(const struct graph_node *n, const char *how, struct sha256 *h)
{
	char pl[128];
	sha256_init(h);
	sha256_str(h, "slot 1");
	sha256_str(h, how);
	sha256_str(h, oci_platform_string(&n->platform, pl, sizeof(pl)));
	sha256_u64(h, n->op);
}

/* text_slot - the lines of the Dockerfile, before any expansion. */
static void text_slot(struct build *b, const struct graph_node *n, struct digest *ret)
{
	struct sha256 h;
	start_slot(n, "text", &h);
	sha256_str(&h, n->stage);
	const struct df_file *f = b->file;
	size_t from = n->line > 0 ? (size_t)n->line : 1, to = (size_t)MAX(n->end_line, n->line);
	for (size_t i = from; n->line > 0 && i <= to && i <= f->n_lines; i++)
		sha256_str(&h, f->lines[i - 1]);
	if (n->line <= 0)
		sha256_str(&h, n->created_by);
	sha256_final(&h, ret);
}

static void place_slot(struct build *b, const struct graph_node *n, struct digest *ret)
{
	struct sha256 h;
	uint64_t place = 0;
	for (uint32_t i = 0; i < n->id; i++)
		place += b->graph->nodes[i]->op == n->op &&
		         str_eq(b->graph->nodes[i]->stage, n->stage) &&
		         oci_platform_equal(&b->graph->nodes[i]->platform, &n->platform);
	start_slot(n, "place", &h);
	sha256_str(&h, n->stage);
	identity(b, &h);
	sha256_u64(&h, place);
	sha256_final(&h, ret);
}

/* --- rows ------------------------------------------------------------------------------------ */

static json_t *get_json(struct build *b, const char *kind, const struct digest *key)
{
	_cleanup_error_ struct error e = ERROR_INIT;
	_cleanup_free_ char *text = NULL;
	if (store_record_get(b->store, kind, key, &text, &e) <= 0)
		return NULL;
	return json_parse(text, strlen(text), RECORD_CAP, kind, &e);
}

static int put_json(struct build *b, const char *kind, const struct digest *key, const json_t *j,
        struct error *err)
{
	_cleanup_free_ char *text = json_compact(j);
	return store_record_put(b->store, kind, key, text, err);
}

/* push_key - to the front of a slot; older ones fall off the end. */
static int push_key(struct build *b, const struct digest *slot, const char *key, struct error *err)
{
	_cleanup_json_ json_t *old = get_json(b, "slot", slot);
	_cleanup_json_ json_t *list = json_array();
	json_array_append_new(list, json_str(key));
	for (size_t i = 0; i < json_array_size(old) && json_array_size(list) < SLOT_KEYS; i++) {
		const char *s = json_string_value(json_array_get(old, i));
		if (s && !str_eq(s, key))
			json_array_append_new(list, json_str(s));
	}
	return put_json(b, "slot", slot, list, err);
}

static void identity_hex(struct build *b, char *hex)
{
	struct sha256 h;
	struct digest d;
	sha256_init(&h);
	identity(b, &h);
	sha256_final(&h, &d);
	digest_hex(&d, hex);
	hex[16] = '\0';
}

int why_put(struct build *b, const struct graph_node *n, const json_t *parts, struct error *err)
{
	const char *key = json_get_str(parts, "key");
	struct digest d, text, place;
	char hex[DIGEST_HEX_MAX], who[DIGEST_HEX_MAX];
	_cleanup_free_ char *full = key ? xasprintf("sha256:%s", key) : NULL;
	if (!full || !digest_parse(full, &d))
		return 0;
	text_slot(b, n, &text);
	place_slot(b, n, &place);
	identity_hex(b, who);
	_cleanup_json_ json_t *j = json_copy((json_t *)parts);
	json_object_set_new(j, "text", json_str(digest_hex(&text, hex)));
	json_object_set_new(j, "build", json_str(who));
	if (put_json(b, "parts", &d, j, err) < 0 || push_key(b, &text, key, err) < 0)
		return -1;
	return push_key(b, &place, key, err);
}

/* --- the nearest ----------------------------------------------------------------------------- */

struct search {
	struct build *b;
	const struct graph_node *n;
	const json_t *parts;
	size_t max_files;
	char who[DIGEST_HEX_MAX];
	json_t *best; /* owned */
	size_t best_cost;
};

static size_t cost(const json_t *reasons)
{
	size_t c = 0;
	for (size_t i = 0; i < json_array_size(reasons); i++) {
		const json_t *j = json_array_get(reasons, i);
		c += 100;
		c += (size_t)json_get_int(j, "n_added", 0) +
		     (size_t)json_get_int(j, "n_changed", 0) +
		     (size_t)json_get_int(j, "n_removed", 0);
	}
	return c;
}

/* still_there - does another instruction of the stage have that text now? Then the earlier result
 * belongs to it. */
static bool still_there(const struct search *s, const char *text)
{
	for (size_t i = 0; i < s->b->graph->n_nodes; i++) {
		const struct graph_node *n = s->b->graph->nodes[i];
		struct digest d;
		char hex[DIGEST_HEX_MAX];
		if (n->op != s->n->op || !str_eq(n->stage, s->n->stage))
			continue;
		text_slot(s->b, n, &d);
		if (text && str_eq(digest_hex(&d, hex), text))
			return true;
	}
	return false;
}

static void gone(json_t *reasons)
{
	why_add(reasons, "gone", NULL, NULL, NULL,
	        "it was built before, but its result is no longer in the store (pruned, or damaged "
	        "and set aside)");
}

static void try_key(struct search *s, const char *key, bool same_build, bool by_place)
{
	_cleanup_free_ char *full = xasprintf("sha256:%s", key);
	struct digest d;
	if (!digest_parse(full, &d))
		return;
	_cleanup_json_ json_t *old = get_json(s->b, "parts", &d);
	bool mine = str_eq(str_or_empty(json_get_str(old, "build")), s->who);
	if (!old || mine != same_build || (by_place && still_there(s, json_get_str(old, "text"))))
		return;
	_cleanup_json_ json_t *reasons = json_array();
	const char *now = json_get_str(s->parts, "key");
	if (now && str_eq(now, key))
		gone(reasons);
	else
		why_compare(s->b, old, s->parts, s->max_files, reasons);
	size_t c = cost(reasons);
	if (!s->best || c < s->best_cost) {
		json_decref(s->best);
		s->best = json_incref(reasons);
		s->best_cost = c;
	}
}

static void try_slot(struct search *s, const struct digest *slot, bool same_build, bool by_place)
{
	_cleanup_json_ json_t *list = s->best ? NULL : get_json(s->b, "slot", slot);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *key = json_string_value(json_array_get(list, i));
		if (key)
			try_key(s, key, same_build, by_place);
	}
}

void why_note(struct build *b, const struct graph_node *n, const json_t *parts)
{
	json_t *reasons = why_reasons(b, n, parts, b->o->explain ? WHY_FILES_SHOWN : 20);
	if (b->o->explain)
		for (size_t i = 0; i < json_array_size(reasons); i++) {
			_cleanup_strv_ struct strv lines = STRV_INIT;
			build_reason_lines(json_array_get(reasons, i), &lines);
			strv_foreach (l, &lines)
				ui_step_note(b->ui, UI_NODE_ID(n), "%s%s", l_i ? "" : "why: ", l);
		}
	pthread_mutex_lock(&b->lock);
	json_decref(b->steps[n->id].why);
	b->steps[n->id].why = reasons;
	pthread_mutex_unlock(&b->lock);
}

json_t *why_reasons(
        struct build *b, const struct graph_node *n, const json_t *parts, size_t max_files)
{
	json_t *reasons = json_array();
	if (n->no_cache) {
		bool f = !b->o->no_cache; /* then a filter names its stage */
		why_add(reasons, "no-cache", f ? n->stage : NULL, NULL, NULL,
		        "the command line says so: %s%s", f ? "--no-cache-filter=" : "--no-cache",
		        f ? n->stage : "");
		return reasons;
	}
	struct search s = {.b = b, .n = n, .parts = parts, .max_files = max_files};
	struct digest text, place;
	identity_hex(b, s.who);
	text_slot(b, n, &text);
	place_slot(b, n, &place);
	try_slot(&s, &text, true, false);
	try_slot(&s, &place, true, true);
	try_slot(&s, &text, false, false);
	if (s.best) {
		json_decref(reasons);
		reasons = s.best;
	} else {
		why_add(reasons, "new", NULL, NULL, NULL,
		        "nothing is on record for this step: it was not built here before");
	}
	return reasons;
}
