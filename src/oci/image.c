/* oci/image.c - the image config: OCI's, with the three fields docker adds (Healthcheck, OnBuild,
 * Shell).
 *
 * Invariant: encode(parse(x)) keeps all that tools read, and equal configs encode to equal bytes:
 * top-level keys sorted (as BuildKit writes them), "config" in the order of the Go structs, maps
 * sorted. Fields that describe one container or the old builder's run are dropped when read. */
#include "oci/oci.h"

#include <stdio.h>

#define CONFIG_MAX ((size_t)8 * 1024 * 1024)

void oci_image_init(struct oci_image *im)
{
	*im = (struct oci_image){
	        .exposed_ports = MAP_INIT(NULL),
	        .volumes = MAP_INIT(NULL),
	        .labels = MAP_INIT(free),
	};
}

static void release_history(struct oci_history *h)
{
	free(h->created);
	free(h->created_by);
	free(h->author);
	free(h->comment);
}

void oci_image_release(struct oci_image *im)
{
	free(im->created);
	free(im->author);
	free(im->user);
	free(im->working_dir);
	free(im->stop_signal);
	strv_release(&im->env);
	strv_release(&im->entrypoint);
	strv_release(&im->cmd);
	strv_release(&im->shell);
	strv_release(&im->onbuild);
	strv_release(&im->healthcheck.test);
	map_release(&im->exposed_ports);
	map_release(&im->volumes);
	map_release(&im->labels);
	free(im->diff_ids);
	for (size_t i = 0; i < im->n_history; i++)
		release_history(&im->history[i]);
	free(im->history);
	json_decref(im->extra);
	json_decref(im->extra_config);
	oci_image_init(im);
}

static char *copy_str(const char *s)
{
	return s ? xstrdup(s) : NULL;
}

static void copy_set(struct map *dst, const struct map *src)
{
	map_foreach (it, src)
		map_put(dst, it->key, NULL);
}

void oci_image_copy(struct oci_image *dst, const struct oci_image *src)
{
	struct oci_image d;
	oci_image_init(&d);
	d.created = copy_str(src->created);
	d.author = copy_str(src->author);
	d.platform = src->platform;
	d.user = copy_str(src->user);
	d.working_dir = copy_str(src->working_dir);
	d.stop_signal = copy_str(src->stop_signal);
	strv_copy(&d.env, &src->env);
	strv_copy(&d.entrypoint, &src->entrypoint);
	strv_copy(&d.cmd, &src->cmd);
	strv_copy(&d.shell, &src->shell);
	strv_copy(&d.onbuild, &src->onbuild);
	d.entrypoint_set = src->entrypoint_set;
	d.cmd_set = src->cmd_set;
	copy_set(&d.exposed_ports, &src->exposed_ports);
	copy_set(&d.volumes, &src->volumes);
	map_foreach (it, &src->labels)
		map_put(&d.labels, it->key, xstrdup(it->value));
	d.has_healthcheck = src->has_healthcheck;
	d.healthcheck = src->healthcheck;
	d.healthcheck.test = STRV_INIT;
	strv_copy(&d.healthcheck.test, &src->healthcheck.test);
	d.args_escaped = src->args_escaped;
	for (size_t i = 0; i < src->n_diff_ids; i++)
		oci_image_add_diff_id(&d, &src->diff_ids[i]);
	for (size_t i = 0; i < src->n_history; i++) {
		const struct oci_history *h = &src->history[i];
		oci_image_add_history(&d, h->created, h->created_by, h->comment, h->empty_layer);
		d.history[i].author = copy_str(h->author);
	}
	d.extra = json_deep_copy(src->extra);
	d.extra_config = json_deep_copy(src->extra_config);
	*dst = d;
}

/* The arrays grow one by one, in powers of two: no capacity is stored. */
static bool is_full(size_t n)
{
	return (n & (n - 1)) == 0;
}

void oci_image_add_history(struct oci_image *im, const char *created, const char *created_by,
        const char *comment, bool empty_layer)
{
	if (is_full(im->n_history))
		im->history = xrealloc_array(
		        im->history, MAX(1, 2 * im->n_history), sizeof(*im->history));
	im->history[im->n_history++] = (struct oci_history){
	        .created = copy_str(created),
	        .created_by = copy_str(created_by),
	        .comment = copy_str(comment),
	        .empty_layer = empty_layer,
	};
}

void oci_image_add_diff_id(struct oci_image *im, const struct digest *d)
{
	if (is_full(im->n_diff_ids))
		im->diff_ids = xrealloc_array(
		        im->diff_ids, MAX(1, 2 * im->n_diff_ids), sizeof(*im->diff_ids));
	im->diff_ids[im->n_diff_ids++] = *d;
}

/* --- parse ----------------------------------------------------------------------------------- */

static int malformed(const char *what, const char *key, struct error *err)
{
	return err_set(err, ERR_INTEGRITY, "%s: malformed \"%s\" in the image config", what, key);
}

/* get_str - absent and null are NULL; another type is an error. */
static int get_str(const json_t *j, const char *key, const char *what, char **to, struct error *err)
{
	const json_t *v = json_object_get(j, key);
	if (!v || json_is_null(v))
		return 0;
	if (!json_is_string(v))
		return malformed(what, key, err);
	*to = xstrdup(json_string_value(v));
	return 0;
}

static int get_list(const json_t *j, const char *key, const char *what, struct strv *to, bool *set,
        struct error *err)
{
	const json_t *v = json_object_get(j, key);
	if (!json_get_strv(j, key, to))
		return malformed(what, key, err);
	if (set)
		*set = v && !json_is_null(v);
	return 0;
}

static int get_set(
        const json_t *j, const char *key, const char *what, struct map *to, struct error *err)
{
	json_t *o = json_object_get(j, key), *v;
	const char *k;
	if (!o || json_is_null(o))
		return 0;
	if (!json_is_object(o))
		return malformed(what, key, err);
	json_object_foreach(o, k, v) map_put(to, k, NULL);
	return 0;
}

static int get_labels(const json_t *j, const char *what, struct map *to, struct error *err)
{
	json_t *o = json_object_get(j, "Labels"), *v;
	const char *k;
	if (!o || json_is_null(o))
		return 0;
	if (!json_is_object(o))
		return malformed(what, "Labels", err);
	json_object_foreach(o, k, v)
	{
		if (!json_is_string(v))
			return malformed(what, "Labels", err);
		map_put(to, k, xstrdup(json_string_value(v)));
	}
	return 0;
}

static int get_healthcheck(
        const json_t *j, const char *what, struct oci_image *im, struct error *err)
{
	const json_t *h = json_object_get(j, "Healthcheck");
	if (!h || json_is_null(h))
		return 0;
	if (!json_is_object(h) || !json_get_strv(h, "Test", &im->healthcheck.test))
		return malformed(what, "Healthcheck", err);
	im->has_healthcheck = true;
	im->healthcheck.interval = json_get_int(h, "Interval", 0);
	im->healthcheck.timeout = json_get_int(h, "Timeout", 0);
	im->healthcheck.start_period = json_get_int(h, "StartPeriod", 0);
	im->healthcheck.start_interval = json_get_int(h, "StartInterval", 0);
	im->healthcheck.retries = json_get_int(h, "Retries", 0);
	return 0;
}

/* An entry without '=' would let a container engine fill it from its own environment. */
static void drop_valueless(struct strv *env)
{
	for (size_t i = env->n; i-- > 0;)
		if (!strchr(env->v[i], '=') || env->v[i][0] == '=')
			strv_remove(env, i);
}

static bool is_in(const char *s, const char *const *v)
{
	for (; *v; v++)
		if (str_eq(s, *v))
			return true;
	return false;
}

/* keep_extra - a copy of what neither list names; NULL if nothing is left. */
static json_t *keep_extra(json_t *j, const char *const *known, const char *const *dropped)
{
	json_t *extra = NULL, *v;
	const char *k;
	json_object_foreach(j, k, v)
	{
		if (is_in(k, known) || is_in(k, dropped))
			continue;
		if (!extra)
			extra = json_object();
		json_object_set_new(extra, k, json_deep_copy(v));
	}
	return extra;
}

static int parse_config(json_t *c, const char *what, struct oci_image *im, struct error *err)
{
	static const char *const known[] = {"User", "ExposedPorts", "Env", "Entrypoint", "Cmd",
	        "Volumes", "WorkingDir", "Labels", "StopSignal", "ArgsEscaped", "Healthcheck",
	        "OnBuild", "Shell", NULL};
	static const char *const dropped[] = {"Hostname", "Domainname", "AttachStdin",
	        "AttachStdout", "AttachStderr", "Tty", "OpenStdin", "StdinOnce", "Image",
	        "MacAddress", "NetworkDisabled", NULL};
	if (!c || json_is_null(c))
		return 0;
	if (!json_is_object(c))
		return malformed(what, "config", err);
	if (get_str(c, "User", what, &im->user, err) < 0 ||
	        get_str(c, "WorkingDir", what, &im->working_dir, err) < 0 ||
	        get_str(c, "StopSignal", what, &im->stop_signal, err) < 0 ||
	        get_list(c, "Env", what, &im->env, NULL, err) < 0 ||
	        get_list(c, "Entrypoint", what, &im->entrypoint, &im->entrypoint_set, err) < 0 ||
	        get_list(c, "Cmd", what, &im->cmd, &im->cmd_set, err) < 0 ||
	        get_list(c, "Shell", what, &im->shell, NULL, err) < 0 ||
	        get_list(c, "OnBuild", what, &im->onbuild, NULL, err) < 0 ||
	        get_set(c, "ExposedPorts", what, &im->exposed_ports, err) < 0 ||
	        get_set(c, "Volumes", what, &im->volumes, err) < 0 ||
	        get_labels(c, what, &im->labels, err) < 0 || get_healthcheck(c, what, im, err) < 0)
		return -1;
	im->args_escaped = json_get_bool(c, "ArgsEscaped", false);
	im->extra_config = keep_extra(c, known, dropped);
	drop_valueless(&im->env);
	return 0;
}

static int parse_rootfs(const json_t *j, const char *what, struct oci_image *im, struct error *err)
{
	const json_t *rootfs = json_get_obj(j, "rootfs"), *ids, *it;
	const char *type = json_get_str(rootfs, "type");
	size_t i;
	struct digest d;
	if (!rootfs) {
		err_set(err, ERR_INTEGRITY, "%s: not an image config (no \"rootfs\")", what);
		return err_hint(err,
		        "is this a container image? artifacts such as charts have other "
		        "configs");
	}
	if (type && !str_eq(type, "layers"))
		return malformed(what, "rootfs.type", err);
	ids = json_object_get(rootfs, "diff_ids");
	if (!ids || json_is_null(ids)) /* an image without layers */
		return 0;
	if (!json_is_array(ids))
		return malformed(what, "rootfs.diff_ids", err);
	json_array_foreach(ids, i, it)
	{
		if (!json_is_string(it) || !digest_parse(json_string_value(it), &d))
			return malformed(what, "rootfs.diff_ids", err);
		oci_image_add_diff_id(im, &d);
	}
	return 0;
}

static int parse_history(const json_t *j, const char *what, struct oci_image *im, struct error *err)
{
	const json_t *a = json_object_get(j, "history"), *it;
	size_t i;
	if (!a || json_is_null(a))
		return 0;
	if (!json_is_array(a))
		return malformed(what, "history", err);
	json_array_foreach(a, i, it)
	{
		if (!json_is_object(it))
			return malformed(what, "history", err);
		oci_image_add_history(im, json_get_str(it, "created"),
		        json_get_str(it, "created_by"), json_get_str(it, "comment"),
		        json_get_bool(it, "empty_layer", false));
		im->history[im->n_history - 1].author = copy_str(json_get_str(it, "author"));
	}
	return 0;
}

static int get_field(
        const json_t *j, const char *key, const char *what, char *to, size_t n, struct error *err)
{
	const char *s = str_or_empty(json_get_str(j, key));
	if (snprintf(to, n, "%s", s) >= (int)n)
		return malformed(what, key, err);
	return 0;
}

static int parse_platform(
        const json_t *j, const char *what, struct oci_platform *p, struct error *err)
{
	if (get_field(j, "os", what, p->os, sizeof(p->os), err) < 0 ||
	        get_field(j, "architecture", what, p->arch, sizeof(p->arch), err) < 0 ||
	        get_field(j, "variant", what, p->variant, sizeof(p->variant), err) < 0 ||
	        get_field(j, "os.version", what, p->os_version, sizeof(p->os_version), err) < 0)
		return -1;
	return 0;
}

int oci_image_parse(
        const char *p, size_t n, const char *what, struct oci_image *ret, struct error *err)
{
	static const char *const known[] = {"created", "author", "architecture", "os", "os.version",
	        "variant", "config", "rootfs", "history", NULL};
	/* Of docker's old builder and of caches that belong to the image as it was. */
	static const char *const dropped[] = {"container", "container_config", "docker_version",
	        "id", "parent", "moby.buildkit.cache.v0", "moby.buildkit.buildinfo.v1", NULL};
	_cleanup_json_ json_t *j = json_parse(p, n, CONFIG_MAX, what, err);
	_cleanup_(oci_image_release) struct oci_image im;
	oci_image_init(&im);
	if (!j)
		return -1;
	if (!json_is_object(j))
		return err_set(err, ERR_INTEGRITY, "%s: not an image config", what);
	if (parse_rootfs(j, what, &im, err) < 0 || parse_platform(j, what, &im.platform, err) < 0 ||
	        get_str(j, "created", what, &im.created, err) < 0 ||
	        get_str(j, "author", what, &im.author, err) < 0 ||
	        parse_config(json_object_get(j, "config"), what, &im, err) < 0 ||
	        parse_history(j, what, &im, err) < 0)
		return -1;
	im.extra = keep_extra(j, known, dropped);
	*ret = im;
	oci_image_init(&im);
	return 0;
}

/* --- encode ---------------------------------------------------------------------------------- */

static void set_str(json_t *j, const char *key, const char *s)
{
	if (s && *s)
		json_object_set_new(j, key, json_str(s));
}

static void set_list(json_t *j, const char *key, const struct strv *sv)
{
	if (sv->n)
		json_object_set_new(j, key, json_from_strv(sv));
}

static void set_int(json_t *j, const char *key, int64_t v)
{
	if (v)
		json_object_set_new(j, key, json_integer(v));
}

static int cmp_item(const void *a, const void *b)
{
	const struct map_item *x = *(struct map_item *const *)a;
	const struct map_item *y = *(struct map_item *const *)b;
	return strcmp(x->key, y->key);
}

/* set_map - sorted by key; a NULL value is {}. */
static void set_map(json_t *j, const char *key, const struct map *m, bool labels)
{
	if (!m->n)
		return;
	_cleanup_free_ struct map_item **v = new0(struct map_item *, m->n);
	json_t *o = json_object();
	for (size_t i = 0; i < m->n; i++)
		v[i] = &m->items[i];
	qsort(v, m->n, sizeof(struct map_item *), cmp_item);
	for (size_t i = 0; i < m->n; i++) {
		/* The key goes through the same repair of bad UTF-8 as a value. */
		_cleanup_json_ json_t *k = json_str(v[i]->key);
		json_object_set_new(o, json_string_value(k),
		        labels ? json_str(str_or_empty(v[i]->value)) : json_object());
	}
	json_object_set_new(j, key, o);
}

static json_t *encode_healthcheck(const struct oci_healthcheck *h)
{
	json_t *j = json_object();
	set_list(j, "Test", &h->test);
	set_int(j, "Interval", h->interval);
	set_int(j, "Timeout", h->timeout);
	set_int(j, "StartPeriod", h->start_period);
	set_int(j, "StartInterval", h->start_interval);
	set_int(j, "Retries", h->retries);
	return j;
}

static json_t *encode_config(const struct oci_image *im)
{
	json_t *j = json_object(), *v;
	const char *k;
	set_str(j, "User", im->user);
	set_map(j, "ExposedPorts", &im->exposed_ports, false);
	set_list(j, "Env", &im->env);
	set_list(j, "Entrypoint", &im->entrypoint);
	set_list(j, "Cmd", &im->cmd);
	set_map(j, "Volumes", &im->volumes, false);
	set_str(j, "WorkingDir", im->working_dir);
	set_map(j, "Labels", &im->labels, true);
	set_str(j, "StopSignal", im->stop_signal);
	if (im->args_escaped)
		json_object_set_new(j, "ArgsEscaped", json_true());
	if (im->has_healthcheck)
		json_object_set_new(j, "Healthcheck", encode_healthcheck(&im->healthcheck));
	set_list(j, "OnBuild", &im->onbuild);
	set_list(j, "Shell", &im->shell);
	json_object_foreach(im->extra_config, k, v) json_object_set(j, k, v);
	return j;
}

static json_t *encode_history(const struct oci_image *im)
{
	json_t *a = json_array();
	for (size_t i = 0; i < im->n_history; i++) {
		const struct oci_history *h = &im->history[i];
		json_t *j = json_object();
		set_str(j, "created", h->created);
		set_str(j, "created_by", h->created_by);
		set_str(j, "author", h->author);
		set_str(j, "comment", h->comment);
		if (h->empty_layer)
			json_object_set_new(j, "empty_layer", json_true());
		json_array_append_new(a, j);
	}
	return a;
}

static json_t *encode_rootfs(const struct oci_image *im)
{
	json_t *j = json_object(), *ids = json_array();
	char buf[DIGEST_STR_MAX];
	for (size_t i = 0; i < im->n_diff_ids; i++)
		json_array_append_new(ids, json_string(digest_str(&im->diff_ids[i], buf)));
	json_object_set_new(j, "type", json_string("layers"));
	json_object_set_new(j, "diff_ids", ids);
	return j;
}

static int cmp_key(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static char *compact_sorted(json_t *j)
{
	size_t n = json_object_size(j), i = 0;
	_cleanup_free_ const char **keys = new0(const char *, n);
	_cleanup_json_ json_t *sorted = json_object();
	const char *k;
	json_t *v;
	json_object_foreach(j, k, v) keys[i++] = k;
	qsort(keys, n, sizeof(const char *), cmp_key);
	for (i = 0; i < n; i++)
		json_object_set(sorted, keys[i], json_object_get(j, keys[i]));
	return json_compact(sorted);
}

char *oci_image_encode(const struct oci_image *im)
{
	_cleanup_json_ json_t *j = json_object();
	json_t *v;
	const char *k;
	json_object_foreach(im->extra, k, v) json_object_set(j, k, v);
	json_object_set_new(j, "architecture", json_str(im->platform.arch));
	set_str(j, "author", im->author);
	json_object_set_new(j, "config", encode_config(im));
	set_str(j, "created", im->created);
	if (im->n_history)
		json_object_set_new(j, "history", encode_history(im));
	json_object_set_new(j, "os", json_str(im->platform.os));
	set_str(j, "os.version", im->platform.os_version);
	json_object_set_new(j, "rootfs", encode_rootfs(im));
	set_str(j, "variant", im->platform.variant);
	return compact_sorted(j);
}
