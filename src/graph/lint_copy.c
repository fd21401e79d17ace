/* graph/lint_copy.c - CopyIgnoredFile: a source of COPY or ADD that the ignore file hides. It needs
 * the expanded sources, so it works on the finished graph. */
#include "graph/plan.h"

/* root_ignored - do the patterns hide everything at the top? Asked with a name nobody has. */
static bool root_ignored(const struct df_ignore *ig)
{
	return df_ignore_match(ig, "\x01\x02", NULL);
}

static void lint_source(const struct graph_node *n, const char *pattern, const struct df_ignore *ig,
        struct df_warnings *w)
{
	_cleanup_free_ char *clean = df_clean_path(pattern);
	const char *rel = clean + strspn(clean, "/");
	while (str_starts(rel, "../"))
		rel += 3;
	bool root = !*rel || str_eq(rel, ".") || str_eq(rel, "..");
	bool hidden = root ? root_ignored(ig) : df_ignore_match(ig, rel, NULL);
	/* A directory that is hidden may still hold what a "!" brings back. */
	if (hidden && !df_ignore_may_reinclude(ig, root ? "" : rel))
		df_warn(w, "CopyIgnoredFile", n->line, n->end_line,
		        "Attempting to %s file \"%s\" that is excluded by .dockerignore",
		        n->copy.is_add ? "Add" : "Copy", clean);
}

void graph_lint_ignored(const struct graph *g, const struct df_ignore *ig, struct df_warnings *w)
{
	if (df_ignore_is_empty(ig))
		return;
	for (size_t i = 0; i < g->n_nodes; i++) {
		const struct graph_node *n = g->nodes[i];
		if (n->op != GRAPH_COPY || !n->line)
			continue;
		for (size_t j = 0; j < n->copy.n_sources; j++) {
			const struct graph_copy_source *s = &n->copy.sources[j];
			if (s->kind != GRAPH_SRC_INPUT || s->input == GRAPH_NONE)
				continue;
			const struct graph_node *in = g->nodes[s->input];
			if (in->op == GRAPH_LOCAL && !in->local.path)
				lint_source(n, s->pattern, ig, w);
		}
	}
}
