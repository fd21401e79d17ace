/* solve/solve.h - decides which operations run, when, and which results can be taken from before.
 *
 * The solver sees the graph and, through `solve_ports`, the world; tests drive it with fakes. It
 * owns one array of states indexed by node id. Demand flows from the targets down: a node may be
 * wanted for its KEY only (somebody needs to know what it is, to look for a cached result) or in
 * FULL (its file system must really be there). A node whose result is on record satisfies KEY
 * without anything being touched; it is executed only if it is wanted in FULL and its layer is
 * gone. So a cached build asks for keys and nothing else, and a lost intermediate layer costs
 * nothing until it is needed.
 *
 * Threads: solve_run() is the event loop; probes run inline until the first execution, after that
 * probes and executions run on worker threads (at most `jobs` at a time). */
#ifndef STRAKE_SOLVE_SOLVE_H
#define STRAKE_SOLVE_SOLVE_H

#include "graph/graph.h"

struct solve_output {
	struct digest key; /* identity of the result's content */
	void *value;       /* the port's own; borrowed */
};

enum solve_event {
	SOLVE_CACHED,  /* the node's result was found on record */
	SOLVE_STARTED, /* execution begins */
	SOLVE_DONE,    /* executed */
	SOLVE_FAILED,
	SOLVE_CANCELLED, /* was running when another node failed, or Ctrl-C */
	/* with plan_only: */
	SOLVE_WOULD_RUN,
	SOLVE_DEPENDS, /* on a node that would run: known when that has run */
};

struct solve_ports {
	void *ctx;
	/* probe - look for a result on record, given the outputs of all inputs (by position in
	 * node->inputs). 1: *ret filled; 0: none; -1: the build must fail (a missing COPY source).
	 * May compute keys from files. Called from the loop before `prepare`, from workers after.
	 */
	int (*probe)(void *ctx, const struct graph_node *n, const struct solve_output *inputs,
	        struct solve_output *ret, struct error *err);
	/* present - is the node's own part of a recorded result really there? Cheap; loop thread.
	 */
	bool (*present)(void *ctx, const struct graph_node *n, const struct solve_output *out);
	/* prepare - once, before the first execution, while the process is single-threaded. */
	int (*prepare)(void *ctx, struct error *err);
	/* execute - on a worker thread. *ret_cached: another build had made it meanwhile. */
	int (*execute)(void *ctx, const struct graph_node *n, const struct solve_output *inputs,
	        struct solve_output *ret, bool *ret_cached, struct error *err);
	/* cancel - make running executions end soon; any thread, at most once. */
	void (*cancel)(void *ctx);
	/* interrupted - has the user asked to stop? Polled by the loop. May be NULL. */
	bool (*interrupted)(void *ctx);
	/* event - from the loop's thread. err only with SOLVE_FAILED. */
	void (*event)(void *ctx, const struct graph_node *n, enum solve_event ev,
	        const struct error *err);
};

struct solve_options {
	unsigned jobs;  /* executions at a time; 0: a default by the number of cores */
	bool plan_only; /* find out what can be known without executing; say what would run */
};

struct solve_stats {
	size_t cached, executed;
};

/* solve_run - bring `targets` (node ids; GRAPH_NONE is skipped) about in FULL. ret_outputs: array
 * of n_nodes outputs, zeroed for nodes nobody asked for (and, with
 * plan_only, for what is not known); malloc'ed. The first failure is
 * reported; other running nodes are cancelled and waited for. */
int solve_run(const struct graph *g, const uint32_t *targets, size_t n_targets,
        const struct solve_options *o, const struct solve_ports *p,
        struct solve_output **ret_outputs, struct solve_stats *ret_stats,
        struct error *err) must_check;

#endif
