/* graph/image_config.c - the image config that a stage is making: taken from the base, changed by
 * instructions, written out for the target only. */
#include "graph/plan.h"

static void take_list(struct plan *p, struct svec *dst, const struct strv *src)
{
	*dst = (struct svec){0};
	for (size_t i = 0; i < src->n; i++)
		svec_push(p->a, dst, src->v[i]);
}

void img_empty(struct plan *p, struct img *im, const struct oci_platform *pl)
{
	*im = (struct img){.platform = *pl, .workdir = "/"};
	if (!str_eq(pl->os, "windows"))
		svec_push(p->a, &im->env,
		        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
}

void img_from_image(struct plan *p, struct img *im, const struct oci_image *b)
{
	/* Ports, volumes, labels and history stay in the base; img_finish adds ours to a copy. */
	*im = (struct img){.base = b,
	        .platform = b->platform,
	        .user = b->user,
	        .workdir = b->working_dir,
	        .stop_signal = b->stop_signal,
	        .author = b->author,
	        .entrypoint_set = b->entrypoint_set,
	        .cmd_set = b->cmd_set,
	        .args_escaped = b->args_escaped,
	        .healthcheck = b->has_healthcheck ? &b->healthcheck : NULL};
	take_list(p, &im->env, &b->env);
	take_list(p, &im->entrypoint, &b->entrypoint);
	take_list(p, &im->cmd, &b->cmd);
	take_list(p, &im->shell, &b->shell);
}

struct img img_fork(const struct img *im)
{
	struct img r = *im;
	r.env = svec_fork(&im->env);
	r.entrypoint = svec_fork(&im->entrypoint);
	r.cmd = svec_fork(&im->cmd);
	r.shell = svec_fork(&im->shell);
	r.onbuild = svec_fork(&im->onbuild);
	r.ports = svec_fork(&im->ports);
	r.volumes = svec_fork(&im->volumes);
	r.labels = svec_fork(&im->labels);
	return r;
}

void img_add_label(struct plan *p, struct img *im, const char *key, const char *value)
{
	svec_push(p->a, &im->labels, key);
	svec_push(p->a, &im->labels, value);
}

void img_add_history(
        struct plan *p, struct stage *s, const char *created_by, bool empty_layer, uint32_t node)
{
	struct hist *h = arena_new(p->a, struct hist, 1);
	*h = (struct hist){.parent = s->hist,
	        .created_by = created_by,
	        .empty_layer = empty_layer,
	        .node = empty_layer ? GRAPH_NONE : node,
	        .depth = s->hist ? s->hist->depth + 1 : 1};
	s->hist = h;
}

/* --- writing it out -------------------------------------------------------------------------- */

static void set_str(char **dst, const char *v)
{
	free(*dst);
	*dst = v ? xstrdup(v) : NULL;
}

static void set_list(struct strv *dst, const struct svec *src)
{
	strv_release(dst);
	for (size_t i = 0; i < src->n; i++)
		strv_add(dst, src->v[i]);
}

/* target_platform - what the config says of its platform. A platform that was asked for wins over
 * what the base image says; one that nobody asked for does not. */
static void target_platform(struct plan *p, const struct stage *s, struct oci_image *im)
{
	const struct oci_platform *t = &p->target;
	im->platform = s->img.platform;
	if (!p->o->platform_implicit || !*im->platform.os || !*im->platform.arch) {
		bool same = str_eq(t->os, im->platform.os) && str_eq(t->arch, im->platform.arch);
		memcpy(im->platform.os, t->os, sizeof(t->os));
		memcpy(im->platform.arch, t->arch, sizeof(t->arch));
		if (*t->variant || !same)
			memcpy(im->platform.variant, t->variant, sizeof(t->variant));
		if (*t->os_version || !same)
			memcpy(im->platform.os_version, t->os_version, sizeof(t->os_version));
	}
	oci_platform_normalize(&im->platform);
}

static int add_option_labels(struct plan *p, struct oci_image *im, struct error *err)
{
	for (size_t i = 0; p->o->labels && i < p->o->labels->n; i++) {
		const char *l = p->o->labels->v[i], *eq = strchr(l, '=');
		if (eq == l || !*l)
			return err_set(err, ERR_USAGE, "--label \"%s\": the name is empty", l);
		_cleanup_free_ char *key = eq ? xstrndup(l, (size_t)(eq - l)) : xstrdup(l);
		map_put(&im->labels, key, xstrdup(eq ? eq + 1 : ""));
	}
	return 0;
}

static void write_config(struct plan *p, const struct stage *s, struct oci_image *im)
{
	const struct img *c = &s->img;
	free(im->created);
	im->created = NULL;
	set_str(&im->author, c->author);
	set_str(&im->user, c->user);
	set_str(&im->working_dir, c->workdir);
	set_str(&im->stop_signal, c->stop_signal);
	set_list(&im->env, &c->env);
	set_list(&im->entrypoint, &c->entrypoint);
	set_list(&im->cmd, &c->cmd);
	set_list(&im->shell, &c->shell);
	set_list(&im->onbuild, &c->onbuild);
	im->entrypoint_set = c->entrypoint_set;
	im->cmd_set = c->cmd_set;
	im->args_escaped = c->args_escaped;
	for (size_t i = 0; i < c->ports.n; i++)
		map_put(&im->exposed_ports, c->ports.v[i], NULL);
	for (size_t i = 0; i < c->volumes.n; i++)
		map_put(&im->volumes, c->volumes.v[i], NULL);
	for (size_t i = 0; i + 1 < c->labels.n; i += 2)
		map_put(&im->labels, c->labels.v[i], xstrdup(c->labels.v[i + 1]));
	bool had = im->has_healthcheck;
	im->has_healthcheck = c->healthcheck != NULL;
	if (c->healthcheck && !(c->base && c->healthcheck == &c->base->healthcheck)) {
		if (had)
			strv_release(&im->healthcheck.test);
		const struct oci_healthcheck *h = c->healthcheck;
		im->healthcheck = *h;
		im->healthcheck.test = STRV_INIT;
		strv_copy(&im->healthcheck.test, &h->test);
	}
	target_platform(p, s, im);
}

static void write_history(struct plan *p, const struct stage *s, struct graph_target *t)
{
	t->n_history = s->hist ? s->hist->depth : 0;
	t->history = arena_new(p->a, struct graph_history, t->n_history);
	for (const struct hist *h = s->hist; h; h = h->parent)
		t->history[h->depth - 1] = (struct graph_history){.created_by = h->created_by,
		        .comment = "buildkit.dockerfile.v0",
		        .empty_layer = h->empty_layer,
		        .node = h->node};
}

int img_finish(struct plan *p, struct stage *s, struct graph_target *t, struct error *err)
{
	struct oci_image *im = new0(struct oci_image, 1);
	oci_image_init(im);
	p->g->configs = xrealloc_array(p->g->configs, p->g->n_configs + 1, sizeof(im));
	p->g->configs[p->g->n_configs++] = im;
	if (s->img.base)
		oci_image_copy(im, s->img.base);
	write_config(p, s, im);
	if (add_option_labels(p, im, err) < 0)
		return -1;
	t->platform = p->target;
	t->config = im;
	t->node = s->node;
	t->stage = s->name ? s->name : arena_printf(p->a, "%zu", s->index);
	t->base_ref = s->found ? s->ref : NULL;
	t->base_digest = s->found && s->found->digest ? arena_strdup(p->a, s->found->digest) : NULL;
	write_history(p, s, t);
	return 0;
}
