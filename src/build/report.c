/* build/report.c - the steps of a build as JSON, and reasons as lines: what `explain`, `history
 * builds` and --explain show. */
#include "build/why.h"

#include <stdio.h>

#include "base/strbuf.h"

#define FILES_ON_SCREEN 12 /* a list; the JSON has all of them */

static const char *const verdicts[] = {[STEP_CACHED] = "cached",
        [STEP_RUNNING] = "run",
        [STEP_MAYBE] = "maybe",
        [STEP_DONE] = "done",
        [STEP_FAILED] = "failed",
        [STEP_CANCELLED] = "cancelled"};

/* waits_for - the first input that nobody can know yet. */
static const struct graph_node *waits_for(const struct build *b, const struct graph_node *n)
{
	for (size_t i = 0; i < n->n_inputs; i++) {
		if (n->inputs[i] == GRAPH_NONE)
			continue;
		enum step_verdict v = b->steps[n->inputs[i]].verdict;
		if (v == STEP_RUNNING || v == STEP_MAYBE)
			return b->graph->nodes[n->inputs[i]];
	}
	return NULL;
}

static json_t *step_json(const struct build *b, const struct graph_node *n)
{
	const struct step_state *s = &b->steps[n->id];
	json_t *j = json_object();
	json_object_set_new(j, "id", json_integer(n->id));
	json_object_set_new(j, "name", json_str(n->shown));
	json_object_set_new(j, "verdict", json_str(verdicts[s->verdict]));
	if (*n->stage)
		json_object_set_new(j, "stage", json_str(n->stage));
	if (n->line > 0)
		json_object_set_new(j, "line", json_integer(n->line));
	if (s->ended_ms > s->started_ms)
		json_object_set_new(j, "ms", json_integer(s->ended_ms - s->started_ms));
	if (s->why)
		json_object_set(j, "why", s->why);
	const struct graph_node *after = s->verdict == STEP_MAYBE ? waits_for(b, n) : NULL;
	if (after)
		json_object_set_new(j, "after", json_str(after->shown));
	if (s->debug)
		json_object_set(j, "debug", s->debug);
	if (s->logged)
		json_object_set_new(j, "log", json_true());
	return j;
}

json_t *build_steps_json(const struct build *b)
{
	json_t *list = json_array();
	for (size_t i = 0; b->graph && b->steps && i < b->graph->n_nodes; i++)
		if (b->steps[i].verdict != STEP_UNSEEN && b->graph->nodes[i]->op != GRAPH_LOCAL)
			json_array_append_new(list, step_json(b, b->graph->nodes[i]));
	return list;
}

/* --- reasons as text ------------------------------------------------------------------------- */

static void file_lines(const json_t *reason, const char *what, struct strv *ret)
{
	const json_t *list = json_get_array(reason, what);
	char count[16];
	snprintf(count, sizeof(count), "n_%s", what);
	int64_t total = json_get_int(reason, count, 0);
	size_t n = MIN(json_array_size(list), (size_t)FILES_ON_SCREEN);
	for (size_t i = 0; i < n; i++)
		strv_addf(ret, "  %-8s %s", what,
		        str_or_empty(json_string_value(json_array_get(list, i))));
	if (total > (int64_t)n)
		strv_addf(ret, "  %-8s ... and %lld more", what, (long long)(total - (int64_t)n));
}

void build_reason_lines(const json_t *reason, struct strv *ret)
{
	strv_add(ret, str_or_empty(json_get_str(reason, "text")));
	file_lines(reason, "added", ret);
	file_lines(reason, "changed", ret);
	file_lines(reason, "removed", ret);
}

/* --- a plan's reasons ------------------------------------------------------------------------ */

/* outputs - of all nodes; those nobody knows are zero. */
static json_t *plan_parts(
        struct build *b, const struct graph_node *n, const struct solve_output *outputs, bool known)
{
	_cleanup_free_ struct solve_output *in = new0(struct solve_output, n->n_inputs + 1);
	_cleanup_error_ struct error e = ERROR_INIT;
	struct digest key;
	for (size_t i = 0; i < n->n_inputs; i++)
		if (n->inputs[i] != GRAPH_NONE)
			in[i] = outputs[n->inputs[i]];
	switch (n->op) {
	case GRAPH_RUN:
		known = known && run_key(b, n, in, &key, &e) >= 0;
		return run_parts(b, n, in, known ? &key : NULL);
	case GRAPH_COPY:
		return copy_parts(b, n, in, known);
	case GRAPH_WORKDIR:
		workdir_key(n, in, &key);
		return parts_new(b, n, in, known ? &key : NULL);
	default:
		return NULL;
	}
}

void build_plan_reasons(struct build *b, const struct solve_output *outputs)
{
	for (size_t i = 0; i < b->graph->n_nodes; i++) {
		const struct graph_node *n = b->graph->nodes[i];
		struct step_state *s = &b->steps[i];
		if (s->verdict != STEP_RUNNING && s->verdict != STEP_MAYBE)
			continue;
		bool known = s->verdict == STEP_RUNNING;
		_cleanup_json_ json_t *parts = plan_parts(b, n, outputs, known);
		if (parts) {
			s->why = why_reasons(b, n, parts, WHY_FILES_SHOWN);
			/* Its own part of the key is like no earlier one: whatever comes before it,
			 * it runs. */
			if (json_array_size(s->why))
				s->verdict = STEP_RUNNING;
		} else {
			s->why = json_array();
			why_add(s->why, "origin", NULL, NULL, NULL,
			        "what is found there now is not in the store");
		}
	}
}
