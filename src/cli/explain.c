/* cli/explain.c - see explain.h. */
#include "cli/explain.h"

#include <stdio.h>

#include "base/human.h"
#include "build/build.h"

static const char *field(const json_t *j, const char *key)
{
	return str_or_empty(json_get_str(j, key));
}

static size_t count(const json_t *steps, const char *a, const char *b)
{
	size_t n = 0;
	for (size_t i = 0; i < json_array_size(steps); i++) {
		const char *v = field(json_array_get(steps, i), "verdict");
		n += str_eq(v, a) || (b && str_eq(v, b));
	}
	return n;
}

void explain_reasons(FILE *f, const json_t *step, const char *indent)
{
	const json_t *why = json_get_array(step, "why");
	for (size_t i = 0; i < json_array_size(why); i++) {
		_cleanup_strv_ struct strv lines = STRV_INIT;
		build_reason_lines(json_array_get(why, i), &lines);
		strv_foreach (l, &lines) {
			_cleanup_free_ char *safe = human_escape(l, strlen(l), false);
			fprintf(f, "%s%s\n", indent, safe);
		}
	}
}

static void print_step(const json_t *s)
{
	static const char *const words[][2] = {{"cached", "cached"}, {"run", "RUN"},
	        {"maybe", "maybe"}, {"done", "ran"}, {"failed", "FAILED"},
	        {"cancelled", "stopped"}};
	const char *v = field(s, "verdict"), *word = v;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (str_eq(v, words[i][0]))
			word = words[i][1];
	const char *name = field(s, "name");
	_cleanup_free_ char *safe = human_escape(name, strlen(name), false);
	printf("%-7s %s", word, safe);
	if (!str_eq(v, "cached") && json_get_int(s, "line", 0) > 0)
		printf("  (line %lld)", (long long)json_get_int(s, "line", 0));
	printf("\n");
	const char *after = json_get_str(s, "after");
	if (after) {
		_cleanup_free_ char *a = human_escape(after, strlen(after), false);
		printf("          depends on %s: cached if that comes out equal\n", a);
	}
	explain_reasons(stdout, s, "          ");
}

void explain_text(const json_t *steps)
{
	for (size_t i = 0; i < json_array_size(steps); i++)
		print_step(json_array_get(steps, i));
	size_t run = count(steps, "run", NULL), maybe = count(steps, "maybe", NULL);
	printf("\n%zu of %zu steps would run", run, json_array_size(steps));
	if (maybe)
		printf(", %zu more may", maybe);
	printf("; %zu cached.\n", count(steps, "cached", NULL));
	if (!run && !maybe)
		printf("Why the last build ran a step: strake history builds latest\n");
}

void explain_done(FILE *f, const json_t *steps)
{
	bool any = false;
	for (size_t i = 0; i < json_array_size(steps); i++) {
		const json_t *s = json_array_get(steps, i);
		if (!json_array_size(json_get_array(s, "why")))
			continue;
		const char *name = field(s, "name");
		_cleanup_free_ char *safe = human_escape(name, strlen(name), false);
		fprintf(f, "%s%s\n", any ? "" : "\nWhy these steps ran:\n", safe);
		explain_reasons(f, s, "    ");
		any = true;
	}
}

void explain_json(const json_t *steps)
{
	_cleanup_json_ json_t *j = json_object();
	json_object_set_new(j, "cached", json_integer((json_int_t)count(steps, "cached", NULL)));
	json_object_set_new(j, "run",
	        json_integer((json_int_t)(count(steps, "run", "done") +
	                                  count(steps, "failed", "cancelled"))));
	json_object_set_new(j, "maybe", json_integer((json_int_t)count(steps, "maybe", NULL)));
	json_object_set(j, "steps", (json_t *)steps);
	_cleanup_free_ char *text = json_pretty(j);
	printf("%s\n", text);
}
