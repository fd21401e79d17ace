/* cli/cmd_diff.c - diff: what a container changed; how two images differ. inspect --layers: what
 * the layers of an image hold and waste. */
#include "cli/cli.h"

#include <stdio.h>

#include "base/human.h"
#include "build/image_layers.h"
#include "cli/report.h"
#include "cli/table.h"
#include "cli/template.h"
#include "container/container.h"

/* --- a container ----------------------------------------------------------------------------- */

static void print_change(void *ctx, char kind, const char *path)
{
	json_t *list = ctx;
	if (list) {
		json_array_append_new(
		        list, json_pack("{s:s#,s:o}", "Kind", &kind, 1, "Path", json_str(path)));
		return;
	}
	_cleanup_free_ char *shown = human_escape(path, strlen(path), false);
	printf("%c /%s\n", kind, shown);
}

static int diff_container(struct store *s, const char *name, bool json, struct error *err)
{
	_cleanup_json_ json_t *list = json ? json_array() : NULL;
	if (container_diff(s, name, print_change, list, err) < 0)
		return -1;
	_cleanup_free_ char *text = list ? json_pretty(list) : NULL;
	if (text)
		printf("%s\n", text);
	return 0;
}

/* --- two images ------------------------------------------------------------------------------ */

struct images_diff {
	json_t *files; /* NULL: print */
	uint64_t added, changed, removed;
	int64_t bytes;
};

static const char *type_name(enum tree_type t)
{
	static const char *const names[] = {"", "file", "directory", "link", "file",
	        "character device", "block device", "fifo", "socket", "whiteout"};
	return names[t];
}

static void say(struct strbuf *b, const char *fmt, ...) printf_like(2, 3);
static void say(struct strbuf *b, const char *fmt, ...)
{
	va_list ap;
	strbuf_addstr(b, b->len ? ", " : "");
	va_start(ap, fmt);
	strbuf_vaddf(b, fmt, ap);
	va_end(ap);
}

/* what_changed - "content, 1.2kB -> 1.3kB, mode 0644 -> 0755". */
static char *what_changed(const struct path_change *c)
{
	const struct tree_entry *a = c->ca, *b = c->cb;
	struct strbuf s = STRBUF_INIT;
	char x[16], y[16];
	if (a->type != b->type)
		say(&s, "%s -> %s", type_name(a->type), type_name(b->type));
	else if (a->type == TREE_REG && !digest_eq(&a->sha256, &b->sha256))
		say(&s, "content, %s -> %s", human_size(x, sizeof(x), a->size),
		        human_size(y, sizeof(y), b->size));
	else if (a->type == TREE_SYMLINK && !str_eq(a->link, b->link))
		say(&s, "%s -> %s", a->link, b->link);
	if (a->mode != b->mode && a->type != TREE_SYMLINK)
		say(&s, "mode %04o -> %04o", a->mode, b->mode);
	if (a->uid != b->uid || a->gid != b->gid)
		say(&s, "owner %u:%u -> %u:%u", a->uid, a->gid, b->uid, b->gid);
	if (!s.len)
		say(&s, "attributes");
	return strbuf_detach(&s);
}

static uint64_t own_size(const struct tree_entry *e)
{
	return e && e->type == TREE_REG ? e->size : 0; /* one more name of a file costs nothing */
}

static int take_change(void *ctx, const struct path_change *c)
{
	struct images_diff *d = ctx;
	const struct tree_entry *e = c->cb ? c->cb : c->ca;
	char size[16];
	_cleanup_free_ char *what = c->kind == 'C' ? what_changed(c) : NULL;
	d->added += c->kind == 'A';
	d->changed += c->kind == 'C';
	d->removed += c->kind == 'D';
	d->bytes += (int64_t)own_size(c->b) - (int64_t)own_size(c->a);
	if (d->files) {
		json_t *j = json_object();
		json_object_set_new(j, "Kind", json_stringn(&c->kind, 1));
		_cleanup_free_ char *path = xasprintf("/%s", c->path);
		json_object_set_new(j, "Path", json_str(path));
		json_object_set_new(j, "Type", json_string(type_name(e->type)));
		json_object_set_new(j, "Size", json_integer((json_int_t)e->size));
		if (what)
			json_object_set_new(j, "Change", json_str(what));
		json_array_append_new(d->files, j);
		return 0;
	}
	_cleanup_free_ char *path = human_escape(c->path, strlen(c->path), false);
	if (what) {
		_cleanup_free_ char *shown = human_escape(what, strlen(what), false);
		printf("C /%s   (%s)\n", path, shown);
	} else if (e->type == TREE_REG) {
		printf("%c /%s   (%s)\n", c->kind, path, human_size(size, sizeof(size), e->size));
	} else {
		printf("%c /%s%s\n", c->kind, path, e->type == TREE_DIR ? "/" : "");
	}
	return 0;
}

/* only_in - elements of list a that b lacks. */
static void only_in(const json_t *a, const json_t *b, char sign, const char *key)
{
	size_t i, k;
	json_t *x, *y;
	json_array_foreach(a, i, x)
	{
		bool found = false;
		json_array_foreach(b, k, y)
		{
			found |= json_equal(x, y);
		}
		_cleanup_free_ char *text =
		        json_is_string(x) ? xstrdup(json_string_value(x)) : json_compact(x);
		_cleanup_free_ char *shown = human_escape(text, strlen(text), false);
		if (!found)
			printf("%c config %s: %s\n", sign, key, shown);
	}
}

static void print_config_key(const char *key, const json_t *a, const json_t *b)
{
	/* Of sets the elements, of the rest the whole. */
	bool set = str_eq(key, "Env") || str_eq(key, "OnBuild");
	if (set && (!a || json_is_array(a)) && (!b || json_is_array(b))) {
		only_in(a, b, 'D', key);
		only_in(b, a, 'A', key);
		return;
	}
	_cleanup_free_ char *x = a ? json_compact(a) : xstrdup("(none)");
	_cleanup_free_ char *y = b ? json_compact(b) : xstrdup("(none)");
	_cleanup_free_ char *sx = human_escape(x, strlen(x), false);
	_cleanup_free_ char *sy = human_escape(y, strlen(y), false);
	printf("C config %s: %s -> %s\n", key, sx, sy);
}

static json_t *config_of(const struct oci_image *im)
{
	struct error ignored = ERROR_INIT;
	_cleanup_free_ char *text = oci_image_encode(im);
	_cleanup_json_ json_t *j = json_parse(text, strlen(text), 8 << 20, "config", &ignored);
	json_t *config = json_get_obj(j, "config");
	json_t *all = config ? json_deep_copy(config) : json_object();
	static const char *const more[] = {"architecture", "os", "variant", "author"};
	for (size_t i = 0; i < ARRAY_SIZE(more); i++)
		if (json_object_get(j, more[i]))
			json_object_set(all, more[i], json_object_get(j, more[i]));
	error_release(&ignored);
	return all;
}

/* compare_configs - to *ret, or printed where it is NULL; returns how many keys differ. */
static unsigned compare_configs(const struct oci_image *x, const struct oci_image *y, json_t *ret)
{
	_cleanup_json_ json_t *a = config_of(x), *b = config_of(y), *keys = json_object();
	const char *key;
	json_t *v;
	unsigned n = 0;
	json_object_update(keys, a);
	json_object_update(keys, b);
	json_object_foreach(keys, key, v)
	{
		json_t *p = json_object_get(a, key), *q = json_object_get(b, key);
		if (p && q && json_equal(p, q))
			continue;
		n++;
		if (ret)
			json_object_set_new(ret, key,
			        json_pack("{s:O,s:O}", "From", p ? p : json_null(), "To",
			                q ? q : json_null()));
		else
			print_config_key(key, p, q);
	}
	return n;
}

static int print_json(const struct image_layers *a, const struct image_layers *b,
        const struct images_diff *d, const char *format, struct error *err)
{
	_cleanup_json_ json_t *j = json_object();
	json_t *config = json_object();
	compare_configs(&a->config, &b->config, config);
	json_object_set(j, "Files", d->files);
	json_object_set_new(j, "Config", config);
	json_object_set_new(j, "Added", json_integer((json_int_t)d->added));
	json_object_set_new(j, "Changed", json_integer((json_int_t)d->changed));
	json_object_set_new(j, "Removed", json_integer((json_int_t)d->removed));
	json_object_set_new(j, "Bytes", json_integer(d->bytes));
	if (str_eq(format, "json")) {
		_cleanup_free_ char *text = json_pretty(j);
		printf("%s\n", text);
		return 0;
	}
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	if (template_run(format, j, &out, err) < 0)
		return -1;
	printf("%s\n", out.buf);
	return 0;
}

static int diff_images(
        struct store *s, const char *x, const char *y, const char *format, struct error *err)
{
	struct store_image ix = {0}, iy = {0};
	struct image_layers a = {0}, b = {0};
	int rc = cli_find_image(s, x, &ix, err);
	if (rc > 0)
		rc = cli_find_image(s, y, &iy, err);
	if (rc > 0)
		rc = image_layers_open(s, &ix, &a, err);
	if (rc >= 0)
		rc = image_layers_open(s, &iy, &b, err);
	if (rc >= 0) {
		struct images_diff d = {.files = format ? json_array() : NULL};
		(void)image_layers_compare(&a, &b, take_change, &d);
		if (format) {
			rc = print_json(&a, &b, &d, format, err);
		} else {
			char size[16];
			unsigned n = compare_configs(&a.config, &b.config, NULL);
			human_size(
			        size, sizeof(size), (uint64_t)(d.bytes < 0 ? -d.bytes : d.bytes));
			printf("%llu added, %llu changed, %llu removed, %s%s; %u of the "
			       "configuration differ\n",
			        (unsigned long long)d.added, (unsigned long long)d.changed,
			        (unsigned long long)d.removed, d.bytes < 0 ? "-" : "+", size, n);
		}
		json_decref(d.files);
	}
	image_layers_release(&a);
	image_layers_release(&b);
	store_image_release(&ix);
	store_image_release(&iy);
	return rc < 0 ? -1 : 0;
}

int cmd_diff(int argc, char **argv)
{
	const char *format = NULL;
	const struct cli_option options[] = {
	        {"format", 0, CLI_STR, &format, "F", "json, or for two images a template"},
	        {0},
	};
	struct error err = ERROR_INIT;
	_cleanup_(cli_store_close) struct store *store = NULL;
	_cleanup_strv_ struct strv words = STRV_INIT;
	static const struct cli_usage usage = {.command = "diff",
	        .usage = "[OPTIONS] CONTAINER  or  IMAGE IMAGE",
	        .summary = "What a container changed, or how two images differ: A added, C "
	                   "changed, D deleted.",
	        .epilogue = "Files are compared by content, type, mode, owner and attributes; not "
	                    "by time.\n",
	        .expected = "a container or two images are",
	        .min = 1,
	        .max = 2};
	int code;
	if (!cli_begin(&usage, options, argc, argv, &words, &code))
		return code;
	if (words.n == 1 && format && !str_eq(format, "json")) {
		(void)err_set(&err, ERR_USAGE, "--format %s: json is expected", format);
		return cli_usage_error("diff", &err);
	}
	int rc = cli_store(&store, &err);
	if (rc >= 0 && words.n == 1) {
		rc = diff_container(store, words.v[0], format != NULL, &err);
		if (rc < 0 && err.class == ERR_NOT_FOUND)
			(void)err_hint(&err, "two images are compared by strake diff IMAGE IMAGE");
	} else if (rc >= 0) {
		rc = diff_images(store, words.v[0], words.v[1], format, &err);
	}
	return rc < 0 ? cli_report(&err) : EXIT_OK;
}

/* --- inspect --layers ------------------------------------------------------------------------ */

static double efficiency(const struct layers_report *r)
{
	return r->total ? 100.0 * (double)(r->total - r->wasted) / (double)r->total : 100.0;
}

static json_t *report_json(const struct layers_report *r)
{
	json_t *j = json_object(), *layers = json_array(), *paths = json_array();
	for (size_t i = 0; i < r->n; i++) {
		const struct layer_report *l = &r->v[i];
		char d[DIGEST_STR_MAX];
		json_t *o = json_object();
		json_object_set_new(o, "DiffID", json_string(digest_str(&l->diff_id, d)));
		json_object_set_new(o, "CreatedBy", json_str(l->created_by));
		json_object_set_new(o, "Size", json_integer((json_int_t)l->size));
		json_object_set_new(o, "Added", json_integer((json_int_t)l->added));
		json_object_set_new(o, "Changed", json_integer((json_int_t)l->changed));
		json_object_set_new(o, "Removed", json_integer((json_int_t)l->removed));
		json_object_set_new(o, "Wasted", json_integer((json_int_t)l->wasted));
		json_array_append_new(layers, o);
	}
	for (size_t i = 0; i < r->n_paths; i++) {
		_cleanup_free_ char *path = xasprintf("/%s", r->paths[i].path);
		json_t *o = json_object();
		json_object_set_new(o, "Path", json_str(path));
		json_object_set_new(o, "Bytes", json_integer((json_int_t)r->paths[i].bytes));
		json_object_set_new(o, "Copies", json_integer(r->paths[i].copies));
		json_array_append_new(paths, o);
	}
	json_object_set_new(j, "Layers", layers);
	json_object_set_new(j, "Size", json_integer((json_int_t)r->total));
	json_object_set_new(j, "Wasted", json_integer((json_int_t)r->wasted));
	json_object_set_new(j, "Efficiency", json_real(efficiency(r)));
	json_object_set_new(j, "WastedPaths", paths);
	return j;
}

/* instruction - the text without what docker's builders put around it. */
static char *instruction(const char *created_by, bool whole)
{
	const char *s = created_by;
	if (str_starts(s, "/bin/sh -c #(nop) "))
		s += strlen("/bin/sh -c #(nop) ");
	while (*s == ' ')
		s++;
	size_t n = strlen(s);
	if (!whole && str_ends(s, " # buildkit"))
		n -= strlen(" # buildkit");
	char *text = human_escape(s, n, false);
	if (!whole && strlen(text) > 60)
		memcpy(text + 57, "...", 4);
	return text;
}

static void print_report(const struct layers_report *r, bool whole)
{
	static const char *const head[] = {
	        "LAYER", "SIZE", "ADDED", "CHANGED", "REMOVED", "WASTED", "CREATED BY"};
	struct table t = {.columns = 7};
	char size[16], waste[16], a[24], c[24], d[24], number[24];
	table_row(&t, head);
	for (size_t i = 0; i < r->n; i++) {
		const struct layer_report *l = &r->v[i];
		_cleanup_free_ char *by = instruction(l->created_by, whole);
		snprintf(number, sizeof(number), "%zu", i + 1);
		snprintf(a, sizeof(a), "%llu", (unsigned long long)l->added);
		snprintf(c, sizeof(c), "%llu", (unsigned long long)l->changed);
		snprintf(d, sizeof(d), "%llu", (unsigned long long)l->removed);
		const char *cells[] = {number, human_size(size, sizeof(size), l->size), a, c, d,
		        human_size(waste, sizeof(waste), l->wasted), by};
		table_row(&t, cells);
	}
	table_print(&t);
	table_release(&t);
	printf("\n%s in %zu layers, %s wasted: efficiency %.1f%%\n",
	        human_size(size, sizeof(size), r->total), r->n,
	        human_size(waste, sizeof(waste), r->wasted), efficiency(r));
	size_t n = whole ? r->n_paths : MIN(r->n_paths, (size_t)10);
	if (n)
		printf("\nHidden by later layers, the largest first:\n");
	for (size_t i = 0; i < n; i++) {
		_cleanup_free_ char *path =
		        human_escape(r->paths[i].path, strlen(r->paths[i].path), false);
		printf("  %8s  /%s%s\n", human_size(size, sizeof(size), r->paths[i].bytes), path,
		        r->paths[i].copies > 1 ? " (several times)" : "");
	}
	if (n < r->n_paths)
		printf("  and %zu more (--no-trunc shows all)\n", r->n_paths - n);
}

int cli_report_layers(
        struct store *s, const char *name, const char *format, bool whole, struct error *err)
{
	struct store_image im = {0};
	struct image_layers l = {0};
	struct layers_report r = {0};
	if (cli_find_image(s, name, &im, err) < 0)
		return -1;
	int rc = image_layers_open(s, &im, &l, err);
	if (rc >= 0)
		image_layers_report(&l, &r);
	if (rc >= 0 && format) {
		_cleanup_json_ json_t *j = report_json(&r);
		_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
		bool json = str_eq(format, "json");
		_cleanup_free_ char *text = json ? json_pretty(j) : NULL;
		rc = json ? 0 : template_run(format, j, &out, err);
		if (rc >= 0)
			printf("%s\n", json ? text : out.buf);
	} else if (rc >= 0) {
		print_report(&r, whole);
	}
	layers_report_release(&r);
	image_layers_release(&l);
	store_image_release(&im);
	return rc;
}
