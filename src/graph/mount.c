/* graph/mount.c - RUN --mount and --device: comma-separated options with BuildKit's rules.
 *
 * from= is read before any variable has a value, because it decides which stages are needed; all
 * other values are expanded when the instruction is reached (SEMANTICS 14, 21, 56-58). */
#include <ctype.h>
#include <errno.h>

#include "base/human.h"
#include "base/strbuf.h"
#include "graph/plan.h"

static const char *const type_names[] = {[GRAPH_MOUNT_BIND] = "bind",
        [GRAPH_MOUNT_CACHE] = "cache",
        [GRAPH_MOUNT_TMPFS] = "tmpfs",
        [GRAPH_MOUNT_SECRET] = "secret",
        [GRAPH_MOUNT_SSH] = "ssh"};

/* split_field - "Key=value" into a lower-case key and the value; NULL value: no '='. */
static char *split_field(const char *field, const char **value)
{
	const char *eq = strchr(field, '=');
	char *key = eq ? xstrndup(field, (size_t)(eq - field)) : xstrdup(field);
	for (char *c = key; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	*value = eq ? eq + 1 : NULL;
	return key;
}

int mount_from(struct arena *a, const char *text, const char **ret, struct error *err)
{
	_cleanup_strv_ struct strv fields = STRV_INIT;
	*ret = NULL;
	if (csv_fields(text, &fields, err) < 0)
		return err_wrap(err, "--mount=%s", text);
	for (size_t i = 0; i < fields.n; i++) {
		const char *value;
		_cleanup_free_ char *key = split_field(fields.v[i], &value);
		if (!str_eq(key, "from") || !value)
			continue;
		const char *dollar = strchr(value, '$');
		if (dollar && dollar[1]) {
			err_set(err, ERR_SYNTAX,
			        "'from' doesn't support variable expansion, define alias stage "
			        "instead");
			return err_hint(
			        err, "for example: FROM %s AS source, then from=source", value);
		}
		*ret = arena_strdup(a, value);
	}
	return 0;
}

static int wrong_key(const struct mount_spec *m, const char *key, struct error *err)
{
	err_set(err, ERR_SYNTAX, "unexpected key '%s' for mount type '%s'", key,
	        type_names[m->type]);
	if (str_eq(key, "required") && m->type == GRAPH_MOUNT_BIND)
		err_hint(err, "type= must come before required");
	return -1;
}

static int bad_value(const char *key, const char *value, struct error *err)
{
	return err_set(err, ERR_SYNTAX, "invalid value for %s: %s", key, value);
}

static bool parse_u32(const char *s, int base, uint32_t *ret)
{
	char *end;
	errno = 0;
	unsigned long v = strtoul(s, &end, base);
	if (!isdigit((unsigned char)*s) || *end || errno || v > UINT32_MAX)
		return false;
	*ret = (uint32_t)v;
	return true;
}

static int set_type(struct mount_spec *m, const char *value, struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(type_names); i++)
		if (strcasecmp(value, type_names[i]) == 0) {
			m->type = (enum graph_mount_type)i;
			return 0;
		}
	err_set(err, ERR_SYNTAX, "unsupported mount type \"%s\"", value);
	const char *near = human_nearest(value, type_names, ARRAY_SIZE(type_names));
	return near ? err_hint(err, "did you mean %s?", near)
	            : err_hint(err, "it is one of bind, cache, tmpfs, secret, ssh");
}

static int set_sharing(struct mount_spec *m, const char *value, struct error *err)
{
	static const char *const modes[] = {"shared", "private", "locked"};
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		if (strcasecmp(value, modes[i]) == 0) {
			m->sharing = modes[i];
			return 0;
		}
	err_set(err, ERR_SYNTAX, "unsupported sharing value \"%s\"", value);
	const char *near = human_nearest(value, modes, ARRAY_SIZE(modes));
	return near ? err_hint(err, "did you mean %s?", near)
	            : err_hint(err, "it is one of shared, private, locked");
}

static int unknown_key(const char *key, const char *field, struct error *err)
{
	static const char *const keys[] = {"type", "from", "source", "src", "target", "dst",
	        "destination", "readonly", "ro", "readwrite", "rw", "required", "size", "id",
	        "sharing", "mode", "uid", "gid", "env"};
	err_set(err, ERR_SYNTAX, "unexpected key '%s' in '%s'", key, field);
	const char *near = human_nearest(key, keys, ARRAY_SIZE(keys));
	return near ? err_hint(err, "did you mean %s?", near) : -1;
}

/* set_id_number - mode=, uid=, gid=. */
static int set_number(
        const char *key, const char *value, int base, uint32_t *ret, bool *has, struct error *err)
{
	if (!parse_u32(value, base, ret))
		return err_set(err, ERR_SYNTAX, "invalid value %s for %s", value, key);
	*has = true;
	return 0;
}

static int set_bool(const char *key, const char *value, bool negate, bool *ret, struct error *err)
{
	bool b = true;
	if (value && !go_parse_bool(value, &b))
		return bad_value(key, value, err);
	*ret = b != negate;
	return 0;
}

static bool secret_or_ssh(const struct mount_spec *m)
{
	return m->type == GRAPH_MOUNT_SECRET || m->type == GRAPH_MOUNT_SSH;
}

/* set_key - one option; value NULL: it stood without '='. *ro_given: read-only was decided. */
static int set_key(struct mount_spec *m, const char *key, const char *value, const char *field,
        bool *ro_given, struct error *err)
{
	if (str_eq(key, "readonly") || str_eq(key, "ro") || str_eq(key, "readwrite") ||
	        str_eq(key, "rw")) {
		*ro_given = true;
		return set_bool(
		        key, value, key[1] == 'w' || str_eq(key, "readwrite"), &m->read_only, err);
	}
	if (str_eq(key, "required"))
		return secret_or_ssh(m) ? set_bool(key, value, false, &m->required, err)
		                        : wrong_key(m, key, err);
	if (!value)
		return err_set(
		        err, ERR_SYNTAX, "invalid field '%s' must be a key=value pair", field);
	if (str_eq(key, "type"))
		return set_type(m, value, err);
	if (str_eq(key, "from"))
		m->from = value;
	else if (str_eq(key, "source") || str_eq(key, "src"))
		m->source = value;
	else if (str_eq(key, "target") || str_eq(key, "dst") || str_eq(key, "destination"))
		m->target = value;
	else if (str_eq(key, "id"))
		m->id = value;
	else if (str_eq(key, "sharing"))
		return set_sharing(m, value, err);
	else if (str_eq(key, "mode"))
		return set_number(key, value, 8, &m->mode, &m->has_mode, err);
	else if (str_eq(key, "uid"))
		return set_number(key, value, 10, &m->uid, &m->has_uid, err);
	else if (str_eq(key, "gid"))
		return set_number(key, value, 10, &m->gid, &m->has_gid, err);
	else if (str_eq(key, "size")) {
		if (m->type != GRAPH_MOUNT_TMPFS)
			return wrong_key(m, key, err);
		if (!human_parse_size(value, &m->size))
			return bad_value(key, value, err);
	} else if (str_eq(key, "env")) {
		m->env = value;
		m->has_env = true;
	} else {
		return unknown_key(key, field, err);
	}
	return 0;
}

static int check_spec(const struct mount_spec *m, struct error *err)
{
	const char *type = type_names[m->type];
	if (m->type == GRAPH_MOUNT_BIND || m->type == GRAPH_MOUNT_TMPFS) {
		const char *odd = m->has_mode  ? "mode"
		                  : m->has_uid ? "uid"
		                  : m->has_gid ? "gid"
		                               : NULL;
		if (odd)
			return err_set(err, ERR_SYNTAX, "%s not allowed for \"%s\" type mounts",
			        odd, type);
	}
	if (m->type == GRAPH_MOUNT_SECRET) {
		if (*m->from)
			return err_set(err, ERR_SYNTAX, "secret mount should not have a from");
		if (*m->sharing)
			return err_set(err, ERR_SYNTAX, "secret mount should not define sharing");
		if (!*m->source && !*m->target && !*m->id)
			return err_set(err, ERR_SYNTAX,
			        "invalid secret mount. one of source, target required");
		if (*m->source && *m->id)
			return err_set(err, ERR_SYNTAX, "both source and id can't be set");
	}
	if (m->has_env && m->type != GRAPH_MOUNT_SECRET)
		return wrong_key(m, "env", err);
	if (*m->sharing && m->type != GRAPH_MOUNT_CACHE)
		return err_set(err, ERR_SYNTAX, "invalid cache sharing set for %s mount", type);
	return 0;
}

int mount_parse(struct plan *p, struct stage *s, const struct cmd *c, const char *text,
        struct mount_spec *m, struct error *err)
{
	_cleanup_strv_ struct strv fields = STRV_INIT;
	*m = (struct mount_spec){.type = GRAPH_MOUNT_BIND,
	        .from = "",
	        .source = "",
	        .target = "",
	        .id = "",
	        .sharing = "",
	        .env = ""};
	bool ro_given = false;
	if (csv_fields(text, &fields, err) < 0)
		return err_wrap(err, "--mount=%s", text);
	for (size_t i = 0; i < fields.n; i++) {
		const char *raw, *value = NULL;
		_cleanup_free_ char *key = split_field(fields.v[i], &raw);
		if (raw && expand(p, s, c, raw, &value, err) < 0)
			return -1;
		if (set_key(m, key, value, fields.v[i], &ro_given, err) < 0)
			return -1;
	}
	if (!ro_given)
		m->read_only = m->type != GRAPH_MOUNT_CACHE && m->type != GRAPH_MOUNT_TMPFS;
	return check_spec(m, err);
}

/* --- into the graph -------------------------------------------------------------------------- */

static const char *mount_target(struct plan *p, const struct stage *s, const char *target)
{
	return path_join_clean(p->a, *target == '/' ? "" : str_or_empty(s->img.workdir), target);
}

static const char *mount_sub_path(struct plan *p, const char *source)
{
	return path_join_clean(p->a, "", source) + 1;
}

static int secret_mount(
        struct plan *p, struct stage *s, const struct mount_spec *m, struct graph_mount *g)
{
	const char *id = *m->source ? m->source : *m->id ? m->id : path_base(p->a, m->target);
	g->id = id;
	if (m->has_env)
		g->env = *m->env ? m->env : id;
	if (*m->target)
		g->target = mount_target(p, s, m->target);
	else if (!m->has_env)
		g->target = arena_printf(p->a, "/run/secrets/%s", path_base(p->a, id));
	if (!g->has_mode)
		g->mode = 0400;
	return 0;
}

static void ssh_mount(struct plan *p, struct stage *s, const struct mount_spec *m, size_t nth,
        struct graph_mount *g)
{
	g->id = *m->source ? m->source : *m->id ? m->id : "default";
	g->target = *m->target ? mount_target(p, s, m->target)
	                       : arena_printf(p->a, "/run/buildkit/ssh_agent.%zu", nth);
	if (!g->has_mode)
		g->mode = 0600;
	if (nth == 0)
		g->env = "SSH_AUTH_SOCK";
}

static int tree_mount(struct plan *p, struct stage *s, const struct cmd *c, struct stage *src,
        const struct mount_spec *m, struct graph_mount *g, struct error *err)
{
	g->target = mount_target(p, s, m->target);
	if (str_eq(g->target, "/")) {
		err_set(err, ERR_SYNTAX, "invalid mount target \"/\"");
		return err_hint(err, "give the mount a target=/some/path");
	}
	g->input = GRAPH_NONE;
	if (m->type == GRAPH_MOUNT_TMPFS)
		return 0;
	g->source = mount_sub_path(p, m->source);
	if (m->type == GRAPH_MOUNT_CACHE) {
		_cleanup_free_ char *clean = df_clean_path(m->target);
		g->id = arena_printf(
		        p->a, "%s/%s", str_or_empty(p->o->cache_mount_ns), *m->id ? m->id : clean);
		g->sharing = *m->sharing ? m->sharing : "shared";
		if (!g->has_mode)
			g->mode = 0755;
	}
	if (src && !src->dispatched) {
		err_set(err, ERR_SYNTAX,
		        "cannot mount from stage \"%s\" to \"%s\", stage needs to be defined "
		        "before "
		        "current command",
		        m->from, m->target);
		return err_hint(err, "move the stage %s above this one", m->from);
	}
	bool keep_owner;
	if (src)
		return stage_source(p, src, &g->input, &keep_owner, err);
	if (m->type == GRAPH_MOUNT_BIND)
		g->input = main_context(p);
	return 0;
}

static int one_mount(struct plan *p, struct stage *s, const struct cmd *c, size_t nth,
        const char *text, size_t *n_ssh, struct svec *secret_envs, struct graph_mount *g,
        struct error *err)
{
	struct mount_spec m;
	if (mount_parse(p, s, c, text, &m, err) < 0)
		return -1;
	*g = (struct graph_mount){.type = m.type,
	        .input = GRAPH_NONE,
	        .read_only = m.read_only,
	        .required = m.required,
	        .has_mode = m.has_mode,
	        .has_uid = m.has_uid,
	        .has_gid = m.has_gid,
	        .mode = m.mode,
	        .uid = m.uid,
	        .gid = m.gid,
	        .size = m.size};
	if (m.type != GRAPH_MOUNT_SECRET && m.type != GRAPH_MOUNT_SSH)
		return tree_mount(p, s, c, c->src[nth], &m, g, err);
	if (m.type == GRAPH_MOUNT_SECRET)
		secret_mount(p, s, &m, g);
	else
		ssh_mount(p, s, &m, (*n_ssh)++, g);
	if (g->env && m.type == GRAPH_MOUNT_SECRET)
		svec_push(p->a, secret_envs, g->env);
	struct outline_mount o = {.id = g->id,
	        .ssh = m.type == GRAPH_MOUNT_SSH,
	        .required = m.required,
	        .line = c->line,
	        .end_line = c->end_line};
	if (s->n_o_mounts == s->cap_o_mounts) {
		size_t cap = s->cap_o_mounts ? s->cap_o_mounts * 2 : 4;
		struct outline_mount *v = arena_new(p->a, struct outline_mount, cap);
		if (s->n_o_mounts)
			memcpy(v, s->o_mounts, s->n_o_mounts * sizeof(*v));
		s->o_mounts = v;
		s->cap_o_mounts = cap;
	}
	s->o_mounts[s->n_o_mounts++] = o;
	return 0;
}

int run_mounts(struct plan *p, struct stage *s, const struct cmd *c, struct graph_run *run,
        struct svec *secret_envs, struct error *err)
{
	size_t n_ssh = 0;
	run->mounts = arena_new(p->a, struct graph_mount, c->n_src);
	for (size_t i = 0; i < c->in->n_flags; i++) {
		const struct df_flag *fl = &c->in->flags[i];
		if (!str_eq(fl->name, "mount"))
			continue;
		if (one_mount(p, s, c, run->n_mounts, fl->value, &n_ssh, secret_envs,
		            &run->mounts[run->n_mounts], err) < 0)
			return c->onbuild ? cmd_place(p, c, err)
			                  : at_word(p, c->in, fl->value, err);
		run->n_mounts++;
	}
	return 0;
}

/* --- --device -------------------------------------------------------------------------------- */

int device_parse(const char *text, char **ret, struct error *err)
{
	static const char *const keys[] = {"name", "required"};
	_cleanup_strv_ struct strv fields = STRV_INIT;
	_cleanup_free_ char *name = NULL;
	bool required = false;
	if (csv_fields(text, &fields, err) < 0)
		return err_wrap(err, "--device=%s", text);
	for (size_t i = 0; i < fields.n; i++) {
		const char *value;
		_cleanup_free_ char *key = split_field(fields.v[i], &value);
		/* The name may stand alone, in front: vendor.com/device=gpu has a '=' of its own.
		 */
		if (i == 0 && strchr(key, '/')) {
			name = xstrdup(fields.v[i]);
		} else if (str_eq(key, "name") && value) {
			if (name)
				return err_set(
				        err, ERR_SYNTAX, "device name already set to %s", name);
			name = xstrdup(value);
		} else if (str_eq(key, "required")) {
			if (set_bool(key, value, false, &required, err) < 0)
				return -1;
		} else if (!value) {
			return err_set(err, ERR_SYNTAX,
			        "invalid field '%s' must be a key=value pair", fields.v[i]);
		} else {
			err_set(err, ERR_SYNTAX, "unexpected key '%s' in '%s'", key, fields.v[i]);
			const char *near = human_nearest(key, keys, ARRAY_SIZE(keys));
			return near ? err_hint(err, "did you mean %s?", near) : -1;
		}
	}
	if (!name || !*name)
		return err_set(err, ERR_SYNTAX, "--device=%s: the device name is required", text);
	*ret = required ? xasprintf("%s,required", name) : take_ptr(name);
	return 0;
}
