/* graph/plan.h - the planner's inside: what the files of this folder share while one graph is made.
 *
 * A plan lives for one graph_build call. Stages are planned in file order for one target platform
 * after the other; nodes go straight into the graph, where equal ones become one. All strings are
 * the graph arena's or borrowed from the AST and the options. */
#ifndef STRAKE_GRAPH_PLAN_H
#define STRAKE_GRAPH_PLAN_H

#include "base/strbuf.h"
#include "dockerfile/expand.h"
#include "dockerfile/ignore.h"
#include "graph/git_url.h"
#include "graph/graph.h"

/* --- vectors of borrowed strings (text.c) ---------------------------------------------------- */

/* A vector that a child stage may take over by plain assignment: with `shared` set the first
 * change makes a copy, so stages built on one base never see each other's changes. */
struct svec {
	const char **v;
	size_t n, cap;
	bool shared;
};
void svec_push(struct arena *a, struct svec *sv, const char *s);
/* svec_set - replace element i. */
void svec_set(struct arena *a, struct svec *sv, size_t i, const char *s);
/* svec_fork - a view that copies before its first change. */
struct svec svec_fork(const struct svec *sv);
/* Environment in a svec: entries "K=V". */
const char *svec_env_get(const struct svec *sv, const char *key); /* NULL: unset */
void svec_env_set(struct arena *a, struct svec *sv, const char *key, const char *value);
void svec_to_strv(const struct svec *sv, struct arena *a, struct strv *out);
struct plan;
/* plan_vars - for expansions, which share the budget of the plan. */
struct df_vars plan_vars(struct plan *p, const struct svec *sv);

/* --- Go's text forms (text.c) ---------------------------------------------------------------- */

void go_quote(struct strbuf *sb, const char *s);              /* %q */
void go_quote_list(struct strbuf *sb, const struct svec *sv); /* %q of a []string */
void go_list(struct strbuf *sb, const struct svec *sv);       /* %v of a []string */
void go_duration(struct strbuf *sb, int64_t ns);              /* time.Duration.String */
bool go_parse_duration(const char *s, int64_t *ret) must_check;
bool go_parse_bool(const char *s, bool *ret) must_check;
/* path_join_clean - path.Join("/", dir, p): absolute and cleaned, in the arena. */
const char *path_join_clean(struct arena *a, const char *dir, const char *p);
/* path_workdir - BuildKit's NormalizeWorkdir: an absolute path stays as it was written, a relative
 * one is joined and cleaned. */
const char *path_workdir(struct arena *a, const char *cur, const char *p);
/* path_dest - destination of COPY: absolute, a trailing '/' (or "/.") kept. */
const char *path_dest(struct arena *a, const char *cwd, const char *p);
const char *path_base(struct arena *a, const char *p); /* Go's path.Base */
/* csv_fields - one CSV record as Go reads it. */
int csv_fields(const char *s, struct strv *ret, struct error *err) must_check;
/* arena_take - a malloc'ed string into the arena. */
const char *arena_take(struct arena *a, char *s);

/* --- the image a stage is making (image_config.c) -------------------------------------------- */

struct img {
	const struct oci_image *base; /* NULL: none (scratch, local context) */
	bool blank;                   /* base == NULL and nothing is preset */
	struct oci_platform platform;
	const char *user, *workdir, *stop_signal, *author;
	struct svec env, entrypoint, cmd, shell, onbuild, ports, volumes,
	        labels; /* labels: key, value, key, ... */
	bool entrypoint_set, cmd_set, args_escaped;
	const struct oci_healthcheck *healthcheck;
};
struct hist {
	const struct hist *parent;
	const char *created_by;
	bool empty_layer;
	uint32_t node;
	size_t depth;
};

/* --- stages ---------------------------------------------------------------------------------- */

struct stage;
struct cmd {
	const struct df_instr *in;
	struct stage **src; /* COPY --from: one; RUN: one a --mount (NULL: none) */
	size_t n_src;
	bool onbuild;
	int line, end_line; /* where errors point: the FROM line for ONBUILD triggers */
};
struct dep {
	struct stage *stage;
	const struct cmd *cmd;
};
struct outline_arg {
	const char *name, *value, *description;
	int line, end_line;
	const struct svec *deps; /* other global args its default used */
	bool used;
};
struct outline_mount {
	const char *id;
	bool ssh, required;
	int line, end_line;
};
enum ctx_kind { CTX_IMAGE, CTX_LOCAL, CTX_GIT, CTX_HTTP };

struct stage {
	size_t index;                    /* position in plan.stages */
	const struct df_instr *from;     /* NULL: an image named by --from */
	const char *name;                /* lower case; NULL if unnamed */
	const char *label;               /* "builder" or "stage-1": for messages */
	const char *shown_name;          /* the label, or "" where a lone stage needs none */
	const char *base_name;           /* expanded text of FROM, or of --from */
	const char *near_arg;            /* what an undeclared variable in FROM may have meant */
	struct stage *base;              /* FROM another stage */
	const struct graph_context *ctx; /* a named context stands in for the whole stage */
	const struct graph_context *base_ctx; /* a named context stands in for the base image */
	bool has_platform;
	struct oci_platform platform; /* explicit, then effective */
	int line, end_line;

	struct cmd *cmds;
	size_t n_cmds, cap_cmds;
	struct dep *deps;
	size_t n_deps, cap_deps;

	bool reachable, resolved, missing, dispatched, initialized, onbuild_done;
	bool base_unknown; /* check_only and the image is not at hand: its environment is unknown */
	bool no_cache;
	bool workdir_set, cmd_in_stage;
	const char *ref;                /* canonical reference of the base image, or NULL */
	const struct graph_base *found; /* its resolved config */

	uint32_t node; /* current rootfs */
	bool node_made;
	struct img img;
	struct svec env;        /* build environment: config's, ARGs and ENVs by file order */
	struct svec build_args; /* "NAME" or "NAME=value" of the ARGs seen */
	const struct hist *hist;

	size_t cmd_index, cmd_total; /* "[name 2/4]" */
	bool cmd_is_onbuild;

	struct svec used_global; /* global ARGs that FROM used (outline) */
	struct outline_arg *o_args;
	size_t n_o_args, cap_o_args;
	struct outline_mount *o_mounts;
	size_t n_o_mounts, cap_o_mounts;
};

struct plan {
	const struct df_file *f;
	const struct graph_options *o;
	const struct graph_base *bases;
	size_t n_bases;
	struct df_warnings *w; /* may be NULL (outline) */
	struct graph *g;
	struct arena *a;
	struct map base_index; /* image key -> struct graph_base * */
	struct map contexts;   /* normalised name -> struct graph_context * */
	struct map build_args; /* name -> value */
	struct map node_index; /* full digest -> node id + 1 */
	size_t expand_left;    /* work for expansions: plan_vars */
	struct svec proxy_env;
	struct graph_needed *needed;
	size_t n_needed, cap_needed;
	struct map needed_index;

	/* for one target platform */
	struct oci_platform target;
	struct svec global; /* global ARG scope */
	struct outline_arg *global_args;
	size_t n_global_args, cap_global_args;
	struct stage **stages;
	size_t n_stages, cap_stages, n_registered;
	struct map by_name;  /* lower-case name -> the last stage of that name */
	bool target_only;    /* check_only, but just what the target needs */
	bool several_states; /* more than one stage or source: unnamed stages get a name */
};

/* build.c */
int plan_init(struct plan *p, const struct df_file *f, const struct graph_options *o,
        const struct graph_base *bases, size_t n_bases, struct df_warnings *w,
        struct error *err) must_check;
/* plan_platform - everything for one target platform; stops before the nodes if images are needed.
 */
int plan_platform(struct plan *p, const struct oci_platform *pl, struct stage **ret_target,
        struct error *err) must_check;
void plan_release(struct plan *p);

/* stage.c */
int plan_contexts(struct plan *p, struct error *err) must_check;
int plan_stages(struct plan *p, struct error *err) must_check;
/* plan_target - NULL on error. */
struct stage *plan_target(struct plan *p, struct error *err) must_check;
struct stage *stage_new(struct plan *p);
struct stage *stage_by_name(struct plan *p, const char *name);
/* stage_nearest - the stage name that a typo may have meant, or NULL. */
const char *stage_nearest(struct plan *p, const char *name);
/* stage_hint - did-you-mean over stage names; else, if they are few, all of them. */
void stage_hint(struct plan *p, const char *name, struct error *err);
/* context_find - "NAME::PLATFORM" before "NAME". */
const struct graph_context *context_find(
        struct plan *p, const char *name, const struct oci_platform *platform);
enum ctx_kind context_kind(const char *value);

int at_line(struct plan *p, int line, struct error *err); /* err_at + return -1 */
/* at_word - the place of a word of the instruction, with its column where it can be found. */
int at_word(struct plan *p, const struct df_instr *in, const char *word, struct error *err);

/* reach.c */
void plan_index_bases(struct plan *p);
int plan_deps(struct plan *p, struct error *err) must_check;
/* plan_resolve - reachability, base images, ONBUILD triggers; needed images go to p->needed. */
int plan_resolve(struct plan *p, struct stage *target, struct error *err) must_check;

/* dispatch.c */
int plan_dispatch(struct plan *p, struct error *err) must_check;
int expand(struct plan *p, struct stage *s, const struct cmd *c, const char *word, const char **ret,
        struct error *err) must_check;
int expand_list(struct plan *p, struct stage *s, const struct cmd *c, const char *word,
        struct svec *out, struct error *err) must_check;
void report_unset(struct plan *p, struct stage *s, const struct cmd *c, const struct strv *unset);
/* stage_rootfs - the node of a dispatched stage's root file system (made on first use). */
int stage_rootfs(struct plan *p, struct stage *s, uint32_t *ret, struct error *err) must_check;
/* stage_source - the same for COPY --from and mounts: a named local context is the LOCAL node
 * itself. *ret_keep_owner: entries keep their owners. */
int stage_source(struct plan *p, struct stage *s, uint32_t *ret, bool *ret_keep_owner,
        struct error *err) must_check;
uint32_t main_context(struct plan *p);
int instr_fail(struct plan *p, const struct cmd *c, struct error *err, const char *fmt, ...)
        printf_like(4, 5);
int cmd_place(struct plan *p, const struct cmd *c, struct error *err);

/* instr_*.c */
int do_env(struct plan *p, struct stage *s, const struct cmd *c, struct error *err) must_check;
int do_arg(struct plan *p, struct stage *s, const struct cmd *c, struct error *err) must_check;
int do_label(struct plan *p, struct stage *s, const struct cmd *c, struct error *err) must_check;
int do_maintainer(
        struct plan *p, struct stage *s, const struct cmd *c, struct error *err) must_check;
int do_cmd(struct plan *p, struct stage *s, const struct cmd *c, struct error *err) must_check;
int do_entrypoint(
        struct plan *p, struct stage *s, const struct cmd *c, struct error *err) must_check;
int do_shell(struct plan *p, struct stage *s, const struct cmd *c, struct error *err) must_check;
int do_expose(struct plan *p, struct stage *s, const struct cmd *c, struct error *err) must_check;
int do_volume(struct plan *p, struct stage *s, const struct cmd *c, struct error *err) must_check;
int do_user(struct plan *p, struct stage *s, const struct cmd *c, struct error *err) must_check;
int do_stopsignal(
        struct plan *p, struct stage *s, const struct cmd *c, struct error *err) must_check;
int do_healthcheck(
        struct plan *p, struct stage *s, const struct cmd *c, struct error *err) must_check;
int do_onbuild(struct plan *p, struct stage *s, const struct cmd *c, struct error *err) must_check;
int do_workdir(struct plan *p, struct stage *s, const struct cmd *c, struct error *err) must_check;
int do_run(struct plan *p, struct stage *s, const struct cmd *c, struct error *err) must_check;
int do_copy(struct plan *p, struct stage *s, const struct cmd *c, struct error *err) must_check;
const char *onbuild_expression(struct arena *a, const struct df_instr *in);

/* check.c: what can be said of an instruction without its stage */
int check_instr(struct plan *p, const struct df_instr *in, struct error *err) must_check;
bool stop_signal_valid(const char *s);
int parse_healthcheck(struct arena *a, const struct df_instr *in, struct oci_healthcheck *ret,
        struct error *err) must_check;

/* flags.c */
/* flags_check - *ret_flag: the name of the flag that is wrong, on error. */
int flags_check(const struct df_instr *in, const char **ret_flag, struct error *err) must_check;
const char *flag_value(const struct df_instr *in, const char *name); /* NULL: not given */
bool flag_bool(const struct df_instr *in, const char *name);
int flag_tristate(const struct df_instr *in, const char *name); /* -1: not given */

/* mount.c */
struct mount_spec { /* one --mount flag, before paths and sources are resolved */
	enum graph_mount_type type;
	const char *from, *source, *target, *id, *sharing, *env;
	bool read_only, required, has_mode, has_uid, has_gid, has_env;
	uint32_t mode, uid, gid;
	uint64_t size;
};
/* mount_from - value of from= ("" none), refusing variables; what can be known at parse time. */
int mount_from(struct arena *a, const char *text, const char **ret, struct error *err) must_check;
int mount_parse(struct plan *p, struct stage *s, const struct cmd *c, const char *text,
        struct mount_spec *ret, struct error *err) must_check;
int run_mounts(struct plan *p, struct stage *s, const struct cmd *c, struct graph_run *run,
        struct svec *secret_envs, struct error *err) must_check;
int device_parse(const char *text, char **ret, struct error *err) must_check;

/* source_url.c: remote sources of ADD and of named contexts */
bool is_http_url(const char *s);
/* url_filename - base name of the URL's path, made safe; "__unnamed__" if it has none. */
char *url_filename(const char *url) must_check;

/* names.c: "[builder 2/4] RUN ..." */
const char *shown_name(struct plan *p, struct stage *s, const struct oci_platform *pl,
        const struct svec *env, const char *text);
/* shown_text - the instruction as BuildKit shows it: variables replaced, word in upper case. */
const char *shown_text(struct plan *p, struct stage *s, const struct df_instr *in,
        const char *suffix, bool is_run, const struct svec *masked);

/* node.c */
struct graph_node *node_new(struct plan *p, enum graph_op op);
/* node_input - index of `id` in the node's inputs, added if it is not there yet. */
size_t node_input(struct plan *p, struct graph_node *n, uint32_t id);
/* node_add - computes op_digest; returns the id of this node or of the equal one that is there. */
uint32_t node_add(struct plan *p, struct graph_node *n);

/* key.c */
void key_op_digest(struct graph_node *n);
/* key_node_digest - everything by which two nodes could differ, inputs included. */
void key_node_digest(const struct graph_node *n, struct digest *ret);

/* image_config.c */
void img_empty(struct plan *p, struct img *im, const struct oci_platform *pl);
void img_from_image(struct plan *p, struct img *im, const struct oci_image *base);
struct img img_fork(const struct img *im);
void img_add_label(struct plan *p, struct img *im, const char *key, const char *value);
void img_add_history(
        struct plan *p, struct stage *s, const char *created_by, bool empty_layer, uint32_t node);
int img_finish(
        struct plan *p, struct stage *s, struct graph_target *t, struct error *err) must_check;

#endif
