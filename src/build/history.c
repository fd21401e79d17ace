/* build/history.c - the row that is kept of each build: `strake history builds`.
 *
 * One line appended to a file, so that a cached build pays some microseconds. The form is in
 * docs/formats/history.md. */
#include "build/why.h"

#include <time.h>

static json_t *names(const struct strv *v)
{
	return json_from_strv(v);
}

static void count(const struct build *b, json_t *row)
{
	int64_t cached = 0, ran = 0;
	for (size_t i = 0; b->steps && i < b->graph->n_nodes; i++) {
		enum step_verdict v = b->steps[i].verdict;
		if (b->graph->nodes[i]->op == GRAPH_LOCAL)
			continue;
		cached += v == STEP_CACHED;
		ran += v == STEP_DONE || v == STEP_FAILED || v == STEP_CANCELLED;
	}
	json_object_set_new(row, "cached", json_integer(cached));
	json_object_set_new(row, "ran", json_integer(ran));
}

void history_write(struct build *b, int rc, const struct error *err)
{
	if (!b->file)
		return; /* no Dockerfile: a mistyped command, not a build */
	const struct build_options *o = b->o;
	_cleanup_json_ json_t *row = json_object();
	_cleanup_free_ char *real = why_context(b);
	json_object_set_new(row, "id", json_str(b->id));
	json_object_set_new(row, "started", json_integer(b->started_wall));
	json_object_set_new(row, "ms", json_integer(now_ms() - b->started_ms));
	json_object_set_new(row, "outcome",
	        json_str(rc >= 0                       ? "ok"
	                 : err->class == ERR_CANCELLED ? "cancelled"
	                                               : "failed"));
	/* A URL may hold a password; its Dockerfile's name says enough. */
	if (real)
		json_object_set_new(row, "context", json_str(real));
	json_object_set_new(row, "dockerfile", json_str(b->file->name));
	if (o->target)
		json_object_set_new(row, "target", json_str(o->target));
	if (o->tags.n)
		json_object_set_new(row, "tags", names(&o->tags));
	if (o->platforms.n)
		json_object_set_new(row, "platforms", names(&o->platforms));
	if (rc >= 0 && b->result->image_id)
		json_object_set_new(row, "image", json_str(b->result->image_id));
	if (rc < 0)
		json_object_set_new(row, "error", json_str(err->msg));
	if (rc < 0 && err->line > 0)
		json_object_set_new(row, "line", json_integer(err->line));
	count(b, row);
	json_object_set_new(row, "steps", build_steps_json(b));
	_cleanup_free_ char *text = json_compact(row);
	/* What is lost here is a line of the history, and no reason to fail a build. */
	_cleanup_error_ struct error e = ERROR_INIT;
	if (store_build_put(b->store, text, json_get_int(row, "ran", 0) > 0, &e) == 0)
		b->result->build_id = xstrdup(b->id);
}

/* command_of - of a row whose image this is; NULL otherwise. */
static char *command_of(const char *line, const char *image_id)
{
	_cleanup_error_ struct error e = ERROR_INIT;
	_cleanup_json_ json_t *row =
	        json_parse(line, strlen(line), (size_t)64 << 20, "history", &e);
	const char *context = json_get_str(row, "context");
	if (!context || !str_eq(str_or_empty(json_get_str(row, "image")), image_id))
		return NULL;
	const char *tag = json_string_value(json_array_get(json_get_array(row, "tags"), 0));
	const char *target = json_get_str(row, "target");
	return xasprintf("strake build%s%s%s%s %s", tag ? " -t " : "", tag ? tag : "",
	        target ? " --target " : "", target ? target : "", context);
}

char *history_command(struct store *s, const char *image_id)
{
	_cleanup_error_ struct error e = ERROR_INIT;
	_cleanup_strv_ struct strv lines = STRV_INIT;
	if (store_builds(s, &lines, &e) < 0)
		return NULL;
	for (size_t i = lines.n; i-- > 0;) {
		char *cmd = strstr(lines.v[i], image_id) ? command_of(lines.v[i], image_id) : NULL;
		if (cmd)
			return cmd;
	}
	return NULL;
}
