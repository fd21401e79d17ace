/* tests/unit/graph/test_golden.c - Dockerfile + options + fake bases -> the expected graph.
 *
 * Runs every case of every file in the directory given as argument (tests/golden/graph). A file
 * holds cases: "=== name", lines "@ option", the Dockerfile, "---", the expected dump. With
 * STRAKE_GOLDEN_PRINT=1 the actual dumps are printed instead of compared: for reading, each
 * expectation is checked by hand against SEMANTICS.md and the Dockerfile reference.
 *
 * Options: target=, build-arg=, platform= (repeat), build-platform=, implicit-platform, label=,
 * context=NAME=VALUE, no-cache, no-cache-filter=, network=, hostname=, add-host=, ulimit=, shm=,
 * cache-ns=, allow-insecure, allow-network-host, check (check_only), ask (stop at the images that
 * are needed), outline, targets, base-arch= (what the next base's config says),
 * ignore= (a pattern of .dockerignore), and
 *   base=REF PLATFORM LAYERS CONFIG-JSON [DIGEST]
 * A needed image that no base= names is one layer with an empty config. */
#include <dirent.h>
#include <sys/stat.h>

#include "dump.h"
#include "../tap.h"

#define MAX_BASES 64

struct golden {
	char *name;
	struct strv options;
	struct strbuf dockerfile, want;
};

struct setup {
	struct graph_options o;
	struct strv ignore;
	struct strv build_args, labels, hosts, ulimits, filters;
	struct oci_platform platforms[8];
	struct graph_context contexts[16];
	struct graph_base bases[MAX_BASES];
	struct oci_image *images[MAX_BASES];
	size_t n_bases;
	const char *base_arch; /* of the next base's config; NULL: as it was asked for */
	bool ask, outline, targets;
};

static void fail(const char *what, const char *text)
{
	printf("Bail out! %s: %s\n", what, text);
	exit(2);
}

static void platform(const char *s, struct oci_platform *ret)
{
	struct error err = ERROR_INIT;
	if (oci_platform_parse(s, ret, &err) < 0)
		fail("platform", s);
}

/* add_base - a config document around the given "config" object. */
static void add_base(struct setup *s, const char *ref, const struct oci_platform *pl, size_t layers,
        const char *config, const char *digest)
{
	struct strbuf sb = STRBUF_INIT;
	struct error err = ERROR_INIT;
	if (s->n_bases == MAX_BASES)
		fail("too many bases", ref);
	strbuf_addf(&sb, "{\"architecture\":\"%s\",\"os\":\"%s\",\"config\":%s,",
	        s->base_arch ? s->base_arch : pl->arch, pl->os, config);
	s->base_arch = NULL;
	if (*pl->variant)
		strbuf_addf(&sb, "\"variant\":\"%s\",", pl->variant);
	strbuf_addstr(&sb, "\"history\":[");
	for (size_t i = 0; i < layers; i++)
		strbuf_addf(&sb, "%s{\"created_by\":\"base %zu\"}", i ? "," : "", i);
	strbuf_addstr(&sb, "],\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[");
	for (size_t i = 0; i < layers; i++)
		strbuf_addf(&sb, "%s\"sha256:%064zx\"", i ? "," : "", i + 1);
	strbuf_addstr(&sb, "]}}");
	struct oci_image *im = new0(struct oci_image, 1);
	if (oci_image_parse(sb.buf, sb.len, "base", im, &err) < 0)
		fail(err.msg, sb.buf);
	strbuf_release(&sb);
	s->images[s->n_bases] = im;
	s->bases[s->n_bases++] = (struct graph_base){.ref = xstrdup(ref),
	        .platform = *pl,
	        .config = im,
	        .digest = digest ? xstrdup(digest) : NULL};
}

/* base_option - the JSON may hold blanks; a digest is what follows the last " sha256:". */
static void base_option(struct setup *s, const char *v)
{
	struct strv f = STRV_INIT;
	strv_split(&f, v, " ");
	if (f.n < 4)
		fail("base=", v);
	struct oci_platform pl;
	platform(f.v[1], &pl);
	const char *json = v + strlen(f.v[0]) + strlen(f.v[1]) + strlen(f.v[2]) + 3;
	const char *digest = strstr(json, " sha256:");
	char *config = digest ? xstrndup(json, (size_t)(digest - json)) : xstrdup(json);
	add_base(s, f.v[0], &pl, strtoul(f.v[2], NULL, 10), config, digest ? digest + 1 : NULL);
	free(config);
	strv_release(&f);
}

static bool text_option(struct setup *s, const char *key, const char *v)
{
	struct graph_options *o = &s->o;
	if (str_eq(key, "target"))
		o->target = v;
	else if (str_eq(key, "build-arg"))
		strv_add(&s->build_args, v);
	else if (str_eq(key, "label"))
		strv_add(&s->labels, v);
	else if (str_eq(key, "add-host"))
		strv_add(&s->hosts, v);
	else if (str_eq(key, "ulimit"))
		strv_add(&s->ulimits, v);
	else if (str_eq(key, "no-cache-filter"))
		strv_add(&s->filters, v);
	else if (str_eq(key, "platform"))
		platform(v, &s->platforms[o->n_platforms++]);
	else if (str_eq(key, "build-platform"))
		platform(v, &o->build_platform);
	else if (str_eq(key, "network"))
		o->network = v;
	else if (str_eq(key, "hostname"))
		o->hostname = v;
	else if (str_eq(key, "cache-ns"))
		o->cache_mount_ns = v;
	else if (str_eq(key, "shm"))
		o->shm_size = strtoull(v, NULL, 10);
	else if (str_eq(key, "ignore"))
		strv_add(&s->ignore, v);
	else if (str_eq(key, "base-arch"))
		s->base_arch = v;
	else if (str_eq(key, "base"))
		base_option(s, v);
	else
		return false;
	return true;
}

static void option(struct setup *s, char *line)
{
	struct graph_options *o = &s->o;
	char *eq = strchr(line, '=');
	if (eq) {
		*eq = '\0';
		if (text_option(s, line, eq + 1))
			return;
		char *value = strchr(eq + 1, '=');
		if (!str_eq(line, "context") || !value)
			fail("unknown option", line);
		*value = '\0';
		s->contexts[o->n_contexts++] =
		        (struct graph_context){.name = eq + 1, .value = value + 1};
		return;
	}
	const struct {
		const char *name;
		bool *flag;
	} flags[] = {{"no-cache", &o->no_cache}, {"allow-insecure", &o->allow_insecure},
	        {"allow-network-host", &o->allow_network_host}, {"check", &o->check_only},
	        {"implicit-platform", &o->platform_implicit}, {"ask", &s->ask},
	        {"outline", &s->outline}, {"targets", &s->targets}};
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		if (str_eq(line, flags[i].name)) {
			*flags[i].flag = true;
			return;
		}
	fail("unknown option", line);
}

static void setup_options(struct setup *s, struct golden *g)
{
	*s = (struct setup){.o.build_args = &s->build_args, .o.labels = &s->labels};
	s->o.add_hosts = &s->hosts;
	s->o.ulimits = &s->ulimits;
	s->o.no_cache_filter = &s->filters;
	s->o.platforms = s->platforms;
	s->o.contexts = s->contexts;
	platform("linux/amd64", &s->o.build_platform);
	for (size_t i = 0; i < g->options.n; i++)
		option(s, g->options.v[i]);
	if (!s->o.n_platforms) {
		platform("linux/amd64", &s->platforms[0]);
		s->o.n_platforms = 1;
	}
}

static void setup_release(struct setup *s)
{
	for (size_t i = 0; i < s->n_bases; i++) {
		oci_image_release(s->images[i]);
		free(s->images[i]);
		free((char *)s->bases[i].ref);
		free((char *)s->bases[i].digest);
	}
	strv_release(&s->ignore);
	strv_release(&s->build_args);
	strv_release(&s->labels);
	strv_release(&s->hosts);
	strv_release(&s->ulimits);
	strv_release(&s->filters);
}

static void lint_ignored(struct setup *s, const struct graph *g, struct df_warnings *w)
{
	struct error err = ERROR_INIT;
	struct df_ignore *ig = NULL;
	if (df_ignore_new(&s->ignore, ".dockerignore", &ig, &err) < 0)
		fail("ignore=", err.msg);
	graph_lint_ignored(g, ig, w);
	df_ignore_free(ig);
}

/* build - graph_build until it needs no more images. */
static void build(
        struct setup *s, const struct df_file *f, struct df_warnings *w, struct strbuf *out)
{
	struct error err = ERROR_INIT;
	for (;;) {
		struct graph *g = NULL;
		struct graph_needed *needed = NULL;
		size_t n = 0;
		int r = graph_build(f, &s->o, s->bases, s->n_bases, w, &g, &needed, &n, &err);
		if (r < 0) {
			dump_error(out, &err);
			break;
		}
		if (r == 0) {
			lint_ignored(s, g, w);
			dump_graph(out, g);
			graph_free(g);
			break;
		}
		for (size_t i = 0; i < n && s->ask; i++)
			strbuf_addf(out, "needed %s %s line %d\n", needed[i].ref,
			        dump_platform(&needed[i].platform), needed[i].line);
		for (size_t i = 0; i < n && !s->ask; i++)
			add_base(s, needed[i].ref, &needed[i].platform, 1, "{}", NULL);
		graph_needed_free(needed, n);
		if (s->ask)
			break;
	}
	error_release(&err);
}

static void call(struct setup *s, const struct df_file *f, struct strbuf *out)
{
	struct error err = ERROR_INIT;
	json_t *j = NULL;
	int r = s->outline ? graph_outline(f, &s->o, &j, &err)
	                   : graph_list_targets(f, &s->o, &j, &err);
	if (r < 0) {
		dump_error(out, &err);
	} else {
		/* The Dockerfile in base64 says nothing to a reader. */
		json_t *src = json_array_get(json_object_get(j, "sources"), 0);
		strbuf_addf(out, "sources %zu\n", strlen(json_string_value(src)));
		json_object_del(j, "sources");
		char *text = json_pretty(j);
		strbuf_addf(out, "%s\n", text);
		free(text);
		json_decref(j);
	}
	error_release(&err);
}

static void run_case(struct golden *g, const char *file)
{
	struct setup s;
	struct strbuf out = STRBUF_INIT;
	struct error err = ERROR_INIT;
	struct arena a = ARENA_INIT;
	struct df_file *f = NULL;
	setup_options(&s, g);
	if (df_parse(&a, g->dockerfile.buf, g->dockerfile.len, "Dockerfile", &f, &err) < 0) {
		dump_error(&out, &err);
	} else {
		struct df_warnings w;
		df_warnings_init(&w, f);
		if (s.outline || s.targets)
			call(&s, f, &out);
		else
			build(&s, f, &w, &out);
		for (size_t i = 0; i < w.n; i++)
			strbuf_addf(&out, "warning %s:%d %s\n", w.v[i].rule, w.v[i].line,
			        w.v[i].message);
		df_warnings_release(&w);
	}
	if (getenv("STRAKE_GOLDEN_PRINT")) {
		printf("=== %s\n%s", g->name, out.buf);
	} else {
		char *what = xasprintf("%s: %s", file, g->name);
		if (!ok(strcmp(out.buf, g->want.buf) == 0, what)) {
			printf("# ---- got\n%s# ---- want\n%s# ----\n", out.buf, g->want.buf);
			fflush(stdout);
		}
		free(what);
	}
	setup_release(&s);
	error_release(&err);
	arena_release(&a);
	strbuf_release(&out);
}

static void finish_case(struct golden *g, const char *file)
{
	if (g->name)
		run_case(g, file);
	free(g->name);
	strv_release(&g->options);
	strbuf_release(&g->dockerfile);
	strbuf_release(&g->want);
	*g = (struct golden){.dockerfile = STRBUF_INIT, .want = STRBUF_INIT};
}

static void run_file(const char *dir, const char *name)
{
	char *path = xasprintf("%s/%s", dir, name);
	FILE *fp = fopen(path, "re");
	if (!fp)
		fail("cannot open", path);
	struct golden g = {.dockerfile = STRBUF_INIT, .want = STRBUF_INIT};
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;
	bool want = false, body = false;
	const char *only = getenv("STRAKE_GOLDEN_CASE");
	while ((n = getline(&line, &cap, fp)) > 0) {
		if (str_starts(line, "=== ")) {
			if (only && g.name && !strstr(g.name, only)) {
				free(g.name);
				g.name = NULL;
			}
			finish_case(&g, name);
			g.name = xstrndup(line + 4, (size_t)n - 5);
			want = body = false;
		} else if (!g.name) {
			continue; /* words before the first case */
		} else if (str_eq(line, "---\n")) {
			want = true;
		} else if (!want && !body && str_starts(line, "@ ")) {
			strv_add_take(&g.options, xstrndup(line + 2, (size_t)n - 3));
		} else {
			body = true;
			strbuf_add(want ? &g.want : &g.dockerfile, line, (size_t)n);
		}
	}
	if (!only || !g.name || strstr(g.name, only))
		finish_case(&g, name);
	free(line);
	free(path);
	fclose(fp);
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int main(int argc, char **argv)
{
	DIR *d = argc == 2 ? opendir(argv[1]) : NULL;
	if (!d)
		fail("usage", "test_golden DIRECTORY");
	struct strv files = STRV_INIT;
	for (struct dirent *e; (e = readdir(d));)
		if (str_ends(e->d_name, ".golden"))
			strv_add(&files, e->d_name);
	closedir(d);
	if (!files.n)
		fail("no .golden files in", argv[1]);
	qsort(files.v, files.n, sizeof(*files.v), compare);
	for (size_t i = 0; i < files.n; i++)
		run_file(argv[1], files.v[i]);
	strv_release(&files);
	return getenv("STRAKE_GOLDEN_PRINT") ? 0 : tap_done();
}
