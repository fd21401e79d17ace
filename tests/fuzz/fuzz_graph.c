/* tests/fuzz/fuzz_graph.c - a Dockerfile through the planner: build, outline, targets. Every image
 * it asks for exists and brings triggers along. What comes out must be a graph: inputs before
 * users, a target inside it, history that names its nodes. */
#include <stdint.h>
#include <stdlib.h>

#include "graph/graph.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_BASES 64

static void require(bool condition)
{
	if (!condition)
		abort();
}

static void check_node(const struct graph *g, const struct graph_node *n, uint32_t id)
{
	require(n->id == id);
	for (size_t i = 0; i < n->n_inputs; i++)
		require(n->inputs[i] == GRAPH_NONE || n->inputs[i] < id);
	require(!digest_is_zero(&n->op_digest));
	if (n->op == GRAPH_RUN) {
		require(n->n_inputs >= 1 && n->run.argv.n >= 1);
		require(n->run.cwd[0] == '/');
		for (size_t i = 0; i < n->run.n_mounts; i++) {
			const struct graph_mount *m = &n->run.mounts[i];
			require(m->target || (m->type == GRAPH_MOUNT_SECRET && m->env));
			require(!m->target || m->target[0] == '/');
		}
	}
	if (n->op == GRAPH_COPY) {
		require(n->n_inputs >= 1 && n->copy.n_sources >= 1);
		require(n->copy.dest[0] == '/');
	}
	if (n->op == GRAPH_HTTP)
		require(!strchr(n->http.filename, '/') && n->http.filename[0]);
}

static void check_graph(const struct graph *g)
{
	for (size_t i = 0; i < g->n_nodes; i++)
		check_node(g, g->nodes[i], (uint32_t)i);
	for (size_t i = 0; i < g->n_targets; i++) {
		const struct graph_target *t = &g->targets[i];
		require(t->node == GRAPH_NONE || t->node < g->n_nodes);
		for (size_t j = 0; j < t->n_history; j++) {
			const struct graph_history *h = &t->history[j];
			require(h->empty_layer == (h->node == GRAPH_NONE));
			require(h->empty_layer || h->node < g->n_nodes);
		}
	}
}

/* base_image - one layer, and triggers that reach for stages and images. */
static void base_image(struct oci_image *im)
{
	static const char config[] =
	        "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Env\":[\"A=1\"],"
	        "\"OnBuild\":[\"COPY --from=a x /y\",\"ENV B=$A\",\"RUN --mount=from=b,target=/m "
	        "c\"]},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:"
	        "0000000000000000000000000000000000000000000000000000000000000001\"]}}";
	_cleanup_error_ struct error err = ERROR_INIT;
	require(oci_image_parse(config, sizeof(config) - 1, "base", im, &err) == 0);
}

static void build(const struct df_file *f, const struct graph_options *o, struct df_warnings *w)
{
	struct graph_base bases[MAX_BASES];
	struct oci_image im;
	size_t n = 0;
	base_image(&im);
	for (int round = 0; round < 8; round++) {
		_cleanup_error_ struct error err = ERROR_INIT;
		struct graph *g = NULL;
		struct graph_needed *needed = NULL;
		size_t n_needed = 0;
		int r = graph_build(f, o, bases, n, w, &g, &needed, &n_needed, &err);
		require(r == 0 ? g != NULL : r == 1 ? n_needed > 0 : err.msg != NULL);
		if (r == 0) {
			check_graph(g);
			graph_free(g);
		}
		for (size_t i = 0; r == 1 && i < n_needed && n < MAX_BASES; i++)
			bases[n++] = (struct graph_base){.ref = xstrdup(needed[i].ref),
			        .platform = needed[i].platform,
			        .config = &im};
		if (r == 1)
			graph_needed_free(needed, n_needed);
		if (r != 1 || n == MAX_BASES)
			break;
	}
	for (size_t i = 0; i < n; i++)
		free((char *)bases[i].ref);
	oci_image_release(&im);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_error_ struct error err = ERROR_INIT, err2 = ERROR_INIT, err3 = ERROR_INIT;
	_cleanup_strv_ struct strv args = STRV_INIT;
	struct df_file *f = NULL;
	if (size > 32768 || df_parse(&a, (const char *)data, size, "Dockerfile", &f, &err) < 0)
		return 0;
	struct oci_platform pl[2] = {{"linux", "amd64", "", ""}, {"linux", "arm", "v7", ""}};
	strv_add(&args, "HTTP_PROXY=p");
	strv_add(&args, "X=y");
	struct graph_context ctx = {"ctx", "/ctx"};
	struct graph_options o = {.build_args = &args,
	        .platforms = pl,
	        .n_platforms = 1 + size % 2,
	        .build_platform = pl[0],
	        .contexts = &ctx,
	        .n_contexts = 1,
	        .allow_insecure = true,
	        .allow_network_host = true};
	struct df_warnings w;
	df_warnings_init(&w, f);
	build(f, &o, &w);
	o.check_only = true;
	build(f, &o, &w);
	json_t *j = NULL;
	if (graph_outline(f, &o, &j, &err2) == 0)
		json_decref(j);
	if (graph_list_targets(f, &o, &j, &err3) == 0)
		json_decref(j);
	df_warnings_release(&w);
	return 0;
}
