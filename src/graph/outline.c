/* graph/outline.c - what a Dockerfile offers: --call=outline and --call=targets, in the JSON that
 * docker buildx prints. Needs no image: what base images add is not part of it. */
#include <stdio.h>

#include "base/strbuf.h"
#include "graph/plan.h"

/* sources - the Dockerfile itself, base64 as Go writes a []byte. */
static json_t *sources(const struct df_file *f)
{
	static const char abc[] =
	        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	const unsigned char *s = (const unsigned char *)f->text;
	for (size_t i = 0; i < f->text_len; i += 3) {
		size_t n = MIN(f->text_len - i, (size_t)3);
		uint32_t v = (uint32_t)s[i] << 16 | (n > 1 ? (uint32_t)s[i + 1] << 8 : 0) |
		             (n > 2 ? s[i + 2] : 0);
		strbuf_addch(&sb, abc[v >> 18]);
		strbuf_addch(&sb, abc[v >> 12 & 63]);
		strbuf_addch(&sb, n > 1 ? abc[v >> 6 & 63] : '=');
		strbuf_addch(&sb, n > 2 ? abc[v & 63] : '=');
	}
	json_t *a = json_array();
	json_array_append_new(a, json_string(sb.buf));
	return a;
}

static json_t *location(int line, int end_line)
{
	return json_pack("{s:[{s:{s:i},s:{s:i}}]}", "ranges", "start", "line", line, "end", "line",
	        end_line);
}

/* set_text - strings that are empty are left out, as Go's omitempty does. */
static void set_text(json_t *o, const char *key, const char *value)
{
	if (value && *value)
		json_object_set_new(o, key, json_str(value));
}

/* description - what a comment line "# name text" above a definition says of it. */
static const char *description(struct arena *a, const char *comment, const char *name)
{
	size_t n = name ? strlen(name) : 0;
	for (const char *l = comment; n && l && *l;) {
		size_t len = strcspn(l, "\n");
		const char *t = l;
		t += strspn(t, "# \t");
		if (t + n < l + len && strncmp(t, name, n) == 0 && t[n] == ' ')
			return arena_strndup(a, t + n + 1, (size_t)(l + len - (t + n + 1)));
		l += len;
		if (*l)
			l++;
	}
	return NULL;
}

/* --- outline --------------------------------------------------------------------------------- */

struct item {
	int line;
	json_t *json;
};
struct collect {
	struct plan *p;
	struct map seen_args, seen_secrets, seen_ssh;
	struct item *args, *secrets, *ssh;
	size_t n_args, cap_args, n_secrets, cap_secrets, n_ssh, cap_ssh;
};

static void add_arg(struct collect *c, const struct outline_arg *a)
{
	if (!map_put(&c->seen_args, a->name, c))
		return;
	json_t *o = json_object();
	json_object_set_new(o, "name", json_str(a->name));
	set_text(o, "description", description(c->p->a, a->description, a->name));
	set_text(o, "value", a->value);
	json_object_set_new(o, "location", location(a->line, a->end_line));
	vec_grow(&c->args, &c->cap_args, c->n_args + 1);
	c->args[c->n_args++] = (struct item){a->line, o};
}

/* add_global - a global ARG that is used, and those that its default was made of. */
static void add_global(struct collect *c, const char *name)
{
	for (size_t i = c->p->n_global_args; i-- > 0;) {
		const struct outline_arg *a = &c->p->global_args[i];
		if (!str_eq(a->name, name))
			continue;
		if (map_has(&c->seen_args, name))
			return;
		add_arg(c, a);
		for (size_t j = 0; a->deps && j < a->deps->n; j++)
			add_global(c, a->deps->v[j]);
		return;
	}
}

static void add_mount_item(struct collect *c, const struct outline_mount *m)
{
	if (!map_put(m->ssh ? &c->seen_ssh : &c->seen_secrets, m->id, c))
		return;
	json_t *o = json_object();
	json_object_set_new(o, "name", json_str(m->id));
	if (m->required)
		json_object_set_new(o, "required", json_true());
	json_object_set_new(o, "location", location(m->line, m->end_line));
	if (m->ssh) {
		vec_grow(&c->ssh, &c->cap_ssh, c->n_ssh + 1);
		c->ssh[c->n_ssh++] = (struct item){m->line, o};
	} else {
		vec_grow(&c->secrets, &c->cap_secrets, c->n_secrets + 1);
		c->secrets[c->n_secrets++] = (struct item){m->line, o};
	}
}

static void add_stage_items(struct collect *c, const struct stage *s)
{
	/* An ARG of the stage itself hides the global one of its name: it comes first. */
	for (size_t i = s->n_o_args; i-- > 0;)
		if (s->o_args[i].used)
			add_arg(c, &s->o_args[i]);
	for (size_t i = 0; i < s->n_o_args; i++)
		if (!s->o_args[i].used)
			add_global(c, s->o_args[i].name);
	for (size_t i = 0; i < s->used_global.n; i++)
		add_global(c, s->used_global.v[i]);
	for (size_t i = 0; i < s->n_o_mounts; i++)
		add_mount_item(c, &s->o_mounts[i]);
}

static int by_line(const void *a, const void *b)
{
	const struct item *x = a, *y = b;
	return (x->line > y->line) - (x->line < y->line);
}

static void set_list(json_t *o, const char *key, struct item *v, size_t n)
{
	if (n) {
		qsort(v, n, sizeof(*v), by_line);
		json_t *a = json_array();
		for (size_t i = 0; i < n; i++)
			json_array_append_new(a, v[i].json);
		json_object_set_new(o, key, a);
	}
	free(v);
}

static json_t *outline_json(struct plan *p, const struct stage *target)
{
	struct collect c = {.p = p};
	add_stage_items(&c, target);
	for (size_t i = p->n_stages; i-- > 0;)
		if (p->stages[i]->reachable && p->stages[i] != target)
			add_stage_items(&c, p->stages[i]);
	json_t *o = json_object();
	set_text(o, "name", target->name);
	set_text(o, "description",
	        description(p->a, target->from ? target->from->comment : NULL, target->name));
	set_list(o, "args", c.args, c.n_args);
	set_list(o, "secrets", c.secrets, c.n_secrets);
	set_list(o, "ssh", c.ssh, c.n_ssh);
	json_object_set_new(o, "sources", sources(p->f));
	map_release(&c.seen_args);
	map_release(&c.seen_secrets);
	map_release(&c.seen_ssh);
	return o;
}

int graph_outline(
        const struct df_file *f, const struct graph_options *o, json_t **ret, struct error *err)
{
	_cleanup_(plan_release) struct plan p = {0};
	struct graph_options opt = *o;
	struct stage *target = NULL;
	opt.check_only = true;
	if (plan_init(&p, f, &opt, NULL, 0, NULL, err) < 0)
		return -1;
	p.target_only = true;
	if (plan_platform(&p, &opt.platforms[0], &target, err) < 0)
		return -1;
	*ret = outline_json(&p, target);
	return 0;
}

/* --- targets --------------------------------------------------------------------------------- */

int graph_list_targets(
        const struct df_file *f, const struct graph_options *o, json_t **ret, struct error *err)
{
	_cleanup_(plan_release) struct plan p = {0};
	if (plan_init(&p, f, o, NULL, 0, NULL, err) < 0)
		return -1;
	const struct df_instr *last = NULL;
	for (size_t i = 0; i < f->n_instrs; i++)
		if (f->instrs[i]->kind == DF_FROM)
			last = f->instrs[i];
	json_t *list = json_array();
	for (size_t i = 0; i < f->n_instrs; i++) {
		const struct df_instr *in = f->instrs[i];
		if (in->kind != DF_FROM)
			continue;
		json_t *t = json_object();
		_cleanup_free_ char *name = in->n_args == 3 ? xstrdup(in->args[2]) : NULL;
		for (char *c = name; c && *c; c++)
			*c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
		set_text(t, "name", name);
		if (in == last)
			json_object_set_new(t, "default", json_true());
		set_text(t, "description", description(p.a, in->comment, name));
		set_text(t, "base", in->args[0]);
		set_text(t, "platform", flag_value(in, "platform"));
		json_object_set_new(t, "location", location(in->line, in->end_line));
		json_array_append_new(list, t);
	}
	json_t *out = json_object();
	json_object_set_new(out, "targets", list);
	json_object_set_new(out, "sources", sources(f));
	*ret = out;
	return 0;
}
