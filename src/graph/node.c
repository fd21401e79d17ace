/* graph/node.c - nodes and their inputs; equal nodes become one. */
#include <stdio.h>

#include "graph/plan.h"

struct graph_node *node_new(struct plan *p, enum graph_op op)
{
	struct graph_node *n = arena_new(p->a, struct graph_node, 1);
	n->op = op;
	n->platform = p->target;
	n->stage = "";
	n->shown = "";
	n->created_by = "";
	return n;
}

size_t node_input(struct plan *p, struct graph_node *n, uint32_t id)
{
	/* Slot 0 is the base and never shared: a mount of the base's own stage gets its own. */
	for (size_t i = 1; i < n->n_inputs; i++)
		if (n->inputs[i] == id)
			return i;
	uint32_t *v = arena_new(p->a, uint32_t, n->n_inputs + 1);
	if (n->n_inputs)
		memcpy(v, n->inputs, n->n_inputs * sizeof(*v));
	v[n->n_inputs] = id;
	n->inputs = v;
	return n->n_inputs++;
}

uint32_t node_add(struct plan *p, struct graph_node *n)
{
	struct digest d;
	char hex[DIGEST_HEX_MAX];
	key_op_digest(n);
	key_node_digest(n, &d);
	digest_hex(&d, hex);
	void *have = map_get(&p->node_index, hex);
	if (have)
		return (uint32_t)((uintptr_t)have - 1);
	struct graph *g = p->g;
	/* Doubling: capacity is the power of two at or above the count. */
	if ((g->n_nodes & (g->n_nodes - 1)) == 0)
		g->nodes = xrealloc_array(
		        g->nodes, g->n_nodes ? g->n_nodes * 2 : 1, sizeof(*g->nodes));
	n->id = (uint32_t)g->n_nodes;
	g->nodes[g->n_nodes++] = n;
	map_put(&p->node_index, hex, (void *)(uintptr_t)(n->id + 1));
	return n->id;
}
