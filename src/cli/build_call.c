/* cli/build_call.c - --check and --call: what a Dockerfile says of itself; nothing is built. */
#include "cli/build_call.h"

#include <stdio.h>

#include "base/human.h"
#include "cli/cli.h"
#include "codec/json.h"

static int print_check_json(const struct df_warnings *w, const struct df_file *file)
{
	_cleanup_json_ json_t *j = json_object();
	json_t *list = json_array();
	for (size_t i = 0; i < w->n; i++) {
		const struct df_warning *x = &w->v[i];
		json_t *e = json_object();
		json_object_set_new(e, "ruleName", json_str(x->rule));
		const char *d = df_rule_describe(x->rule);
		if (d)
			json_object_set_new(e, "description", json_str(d));
		_cleanup_free_ char *url = df_rule_url(x->rule);
		json_object_set_new(e, "url", json_str(url));
		json_object_set_new(e, "detail", json_str(x->message));
		json_object_set_new(e, "location",
		        json_pack("{s:[{s:{s:i},s:{s:i}}]}", "ranges", "start", "line", x->line,
		                "end", "line", x->end_line ? x->end_line : x->line));
		json_array_append_new(list, e);
	}
	json_object_set_new(j, "warnings", list);
	json_object_set_new(j, "sources",
	        json_pack(
	                "[{s:o,s:s}]", "filename", json_str(file->name), "language", "Dockerfile"));
	_cleanup_free_ char *text = json_pretty(j);
	printf("%s\n", text);
	return w->n ? EXIT_FAILED : EXIT_OK;
}

static int print_check(const struct df_warnings *w, const struct df_file *file, bool json)
{
	if (json)
		return print_check_json(w, file);
	if (!w->n) {
		printf("Check complete, no warnings found.\n");
		return EXIT_OK;
	}
	printf("Check complete, %zu warning%s been found!\n", w->n, w->n == 1 ? " has" : "s have");
	for (size_t i = 0; i < w->n; i++) {
		const struct df_warning *x = &w->v[i];
		_cleanup_free_ char *msg = human_escape(x->message, strlen(x->message), false);
		_cleanup_free_ char *url = df_rule_url(x->rule);
		_cleanup_free_ char *excerpt =
		        df_excerpt(file, x->line, x->end_line ? x->end_line : x->line);
		printf("\nWARNING: %s - %s\n%s\n%s", x->rule, url, msg, excerpt);
		if (!str_ends(excerpt, "\n"))
			printf("\n");
	}
	return EXIT_FAILED;
}

static void print_args_table(const json_t *list, const char *title, const char *value_key)
{
	size_t n = json_array_size(list);
	if (!n)
		return;
	printf("%-24s %-16s %s\n", title, "VALUE", "DESCRIPTION");
	for (size_t i = 0; i < n; i++) {
		const json_t *a = json_array_get(list, i);
		printf("%-24s %-16s %s\n", str_or_empty(json_get_str(a, "name")),
		        str_or_empty(json_get_str(a, value_key)),
		        str_or_empty(json_get_str(a, "description")));
	}
	printf("\n");
}

static void print_outline(const json_t *j)
{
	printf("%-16s %s\n\n", "TARGET:", str_or_empty(json_get_str(j, "name")));
	const char *d = json_get_str(j, "description");
	if (d)
		printf("%-16s %s\n\n", "DESCRIPTION:", d);
	print_args_table(json_get_array(j, "args"), "BUILD ARG", "value");
	print_args_table(json_get_array(j, "secrets"), "SECRET", "required");
	print_args_table(json_get_array(j, "ssh"), "SSH", "required");
}

static void print_targets(const json_t *j)
{
	const json_t *list = json_get_array(j, "targets");
	printf("%-24s %s\n", "TARGET", "DESCRIPTION");
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *t = json_array_get(list, i);
		const char *name = json_get_str(t, "name");
		bool def = json_get_bool(t, "default", false);
		_cleanup_free_ char *shown = xasprintf("%s%s",
		        name && *name ? name
		        : def         ? ""
		                      : "<unnamed>",
		        def ? (name && *name ? " (default)" : "(default)") : "");
		printf("%-24s %s\n", shown, str_or_empty(json_get_str(t, "description")));
	}
}

static int call_plan(struct build_options *o, const char *call, const struct df_file *file,
        struct df_warnings *w, json_t **ret, struct error *err)
{
	struct graph_options g = {.build_args = &o->build_args,
	        .target = o->target,
	        .labels = &o->labels,
	        .check_only = true,
	        .network = "default",
	        .allow_insecure = true,
	        .allow_network_host = true};
	struct oci_platform *platforms = NULL;
	if (build_resolve_platforms(&o->platforms, &platforms, &g.n_platforms, err) < 0)
		return -1;
	g.platforms = platforms;
	g.platform_implicit = o->platforms.n == 0;
	oci_platform_host(&g.build_platform);
	struct graph_context *ctx = new0(struct graph_context, o->contexts.n);
	for (size_t i = 0; i < o->contexts.n; i++) {
		char *eq = strchr(o->contexts.v[i], '=');
		*eq = '\0';
		ctx[i] = (struct graph_context){o->contexts.v[i], eq + 1};
	}
	g.contexts = ctx;
	g.n_contexts = o->contexts.n;
	int rc = 0;
	if (str_eq(call, "outline")) {
		rc = graph_outline(file, &g, ret, err);
	} else if (str_eq(call, "targets")) {
		rc = graph_list_targets(file, &g, ret, err);
	} else {
		struct graph *graph = NULL;
		struct graph_needed *need = NULL;
		size_t n = 0;
		rc = graph_build(file, &g, NULL, 0, w, &graph, &need, &n, err);
		if (rc == 0 && !str_eq(o->context, "-")) {
			struct df_ignore *ig;
			rc = build_read_ignore(o, file, &ig, err);
			graph_lint_ignored(graph, ig, w);
			df_ignore_free(ig);
		}
		graph_needed_free(need, n);
		graph_free(graph);
	}
	free(ctx);
	free(platforms);
	return rc < 0 ? -1 : 0;
}

int build_call(struct build_options *o, const char *call, const char *format)
{
	struct error err = ERROR_INIT;
	_cleanup_arena_ struct arena arena = ARENA_INIT;
	struct df_warnings w = {0};
	struct df_file *file = NULL;
	_cleanup_json_ json_t *j = NULL;
	if (build_read_definition(o, &arena, &file, &err) < 0) {
		_cleanup_free_ char *ex =
		        file && err.line ? df_excerpt(file, err.line, err.line) : NULL;
		fputs(str_or_empty(ex), stderr);
		return cli_report(&err);
	}
	df_warnings_init(&w, file);
	const char *check = env_get(&o->build_args, "BUILDKIT_DOCKERFILE_CHECK");
	int rc = 0;
	if (check)
		rc = df_warnings_configure(&w, check, &err);
	else if (error_is_set(&w.bad_check))
		rc = df_warnings_status(&w, &err);
	df_lint(file, &w);
	if (rc >= 0)
		rc = call_plan(o, call, file, &w, &j, &err);
	bool json = format && str_eq(format, "json");
	if (rc < 0) {
		if (err.line > 0 && err.file && str_eq(err.file, file->name)) {
			_cleanup_free_ char *ex = df_excerpt(file, err.line, err.line);
			fprintf(stderr, "%s", ex);
		}
		rc = cli_report(&err);
	} else if (j && json) {
		_cleanup_free_ char *text = json_pretty(j);
		printf("%s\n", text);
		rc = EXIT_OK;
	} else if (j && str_eq(call, "outline")) {
		print_outline(j);
		rc = EXIT_OK;
	} else if (j) {
		print_targets(j);
		rc = EXIT_OK;
	} else {
		rc = print_check(&w, file, json);
	}
	df_warnings_release(&w);
	return rc;
}
