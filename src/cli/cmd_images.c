/* cli/cmd_images.c - images: docker's columns, filters and formats over the store's tags. */
#include "cli/cli.h"

#include <fnmatch.h>
#include <stdio.h>
#include <time.h>

#include "base/human.h"
#include "cli/template.h"

struct listing {
	bool quiet, no_trunc, digests, all;
	const char *format, *only;
	struct strv filters;
	struct store *store;
	const struct store_image *v; /* all of them */
	size_t n;
};

static void split_name(const struct store_image *im, char **repo, char **tag)
{
	struct oci_ref ref = {0};
	struct error err = ERROR_INIT;
	*repo = xstrdup("<none>");
	*tag = xstrdup("<none>");
	if (im->name[0] && oci_ref_parse(im->name, &ref, &err) >= 0) {
		struct oci_ref bare = {.domain = ref.domain, .path = ref.path};
		_cleanup_free_ char *familiar = oci_ref_familiar(&bare);
		free(*repo);
		*repo = take_ptr(familiar);
		if (ref.tag) {
			free(*tag);
			*tag = xstrdup(ref.tag);
		}
	}
	oci_ref_release(&ref);
	error_release(&err);
}

/* --- filters --------------------------------------------------------------------------------- */

/* name_matches - docker's: a pattern for REPOSITORY or REPOSITORY:TAG; '*' stops at a slash. */
static bool name_matches(const struct store_image *im, const char *want)
{
	if (!im->name[0])
		return false;
	_cleanup_free_ char *repo = NULL, *tag = NULL;
	split_name(im, &repo, &tag);
	_cleanup_free_ char *both = xasprintf("%s:%s", repo, tag);
	/* "docker.io/library/alpine" is alpine. */
	_cleanup_free_ char *full = strpbrk(want, "*?[") ? xstrdup(want) : cli_canonical(want);
	const char *slash = strrchr(want, '/'), *colon = strrchr(want, ':');
	bool has_tag = colon && (!slash || colon > slash);
	return fnmatch(want, repo, FNM_PATHNAME) == 0 || fnmatch(want, both, FNM_PATHNAME) == 0 ||
	       (has_tag && str_eq(full, im->name)) ||
	       (!has_tag && str_starts(im->name, full) == true && str_ends(full, tag));
}

static const struct store_image *find_listed(const struct listing *l, const char *name)
{
	_cleanup_free_ char *full = cli_canonical(name);
	for (size_t i = 0; i < l->n; i++) {
		char hex[DIGEST_HEX_MAX];
		digest_hex(&l->v[i].id, hex);
		const char *prefix = str_starts(name, "sha256:") ? name + 7 : name;
		if (str_eq(l->v[i].name, full) || (strlen(prefix) >= 4 && str_starts(hex, prefix)))
			return &l->v[i];
	}
	return NULL;
}

static int check_filters(struct listing *l, struct error *err)
{
	static const char *const known[] = {
	        "dangling=", "reference=", "label=", "before=", "since="};
	for (size_t i = 0; i < l->filters.n; i++) {
		const char *f = l->filters.v[i];
		const char *value = strchr(f, '=') ? strchr(f, '=') + 1 : "";
		bool good = false;
		for (size_t k = 0; k < ARRAY_SIZE(known); k++)
			good |= str_starts(f, known[k]);
		if (str_starts(f, "dangling="))
			good = str_eq(value, "true") || str_eq(value, "false") ||
			       str_eq(value, "1") || str_eq(value, "0");
		if (!good)
			return err_set(err, ERR_USAGE,
			        "--filter %s: dangling=true|false, reference=, label=, before= or "
			        "since= is expected",
			        f);
	}
	return 0;
}

static bool has_label(const struct listing *l, const struct store_image *im, const char *want)
{
	const char *eq = strchr(want, '=');
	_cleanup_free_ char *key = eq ? xstrndup(want, (size_t)(eq - want)) : xstrdup(want);
	_cleanup_error_ struct error ignored = ERROR_INIT;
	struct oci_image config;
	oci_image_init(&config);
	bool yes = false;
	if (store_image_config(l->store, &im->id, &config, &ignored) >= 0) {
		const char *have = map_get(&config.labels, key);
		yes = have && (!eq || str_eq(have, eq + 1));
	}
	oci_image_release(&config);
	return yes;
}

/* filtered_out - 1 it is, 0 it stays. Several references are alternatives. */
static int filtered_out(const struct listing *l, const struct store_image *im, struct error *err)
{
	bool named = false, wanted = false;
	for (size_t i = 0; i < l->filters.n; i++) {
		const char *f = l->filters.v[i], *v = strchr(f, '=') + 1;
		if (str_starts(f, "dangling=") &&
		        (im->name[0] == '\0') != (str_eq(v, "true") || str_eq(v, "1")))
			return 1;
		if (str_starts(f, "label=") && !has_label(l, im, v))
			return 1;
		if (str_starts(f, "reference=")) {
			named = true;
			wanted |= name_matches(im, v);
		}
		bool before = str_starts(f, "before=");
		if (before || str_starts(f, "since=")) {
			const struct store_image *than = find_listed(l, v);
			if (!than)
				return cli_no_such_image(v, err);
			if (before ? im->created >= than->created : im->created <= than->created)
				return 1;
		}
	}
	return (named && !wanted) || (l->only && !name_matches(im, l->only));
}

/* --- rows ------------------------------------------------------------------------------------ */

static json_t *row_of(const struct listing *l, const struct store_image *im)
{
	_cleanup_free_ char *repo = NULL, *tag = NULL;
	char d[DIGEST_STR_MAX], size[16], ago[64], at[64] = "N/A", plat[160];
	split_name(im, &repo, &tag);
	digest_str(&im->id, d);
	_cleanup_free_ char *id = l->no_trunc ? xstrdup(d) : xstrndup(d + strlen("sha256:"), 12);
	time_t t = (time_t)im->created;
	struct tm tm;
	if (im->created > 0 && gmtime_r(&t, &tm))
		strftime(at, sizeof(at), "%Y-%m-%d %H:%M:%S +0000 UTC", &tm);
	human_size(size, sizeof(size), im->size);
	json_t *j = json_object();
	json_object_set_new(j, "Containers", json_string("N/A"));
	json_object_set_new(j, "CreatedAt", json_string(at));
	json_object_set_new(j, "CreatedSince", json_string(cli_ago(im->created, ago, sizeof(ago))));
	json_object_set_new(
	        j, "Digest", json_str(im->manifest_digest ? im->manifest_digest : "<none>"));
	json_object_set_new(j, "ID", json_str(id));
	json_object_set_new(
	        j, "Platform", json_str(oci_platform_string(&im->platform, plat, sizeof(plat))));
	json_object_set_new(j, "Repository", json_str(repo));
	json_object_set_new(j, "SharedSize", json_string("N/A"));
	json_object_set_new(j, "Size", json_string(size));
	json_object_set_new(j, "SizeBytes", json_integer((json_int_t)im->size));
	json_object_set_new(j, "Tag", json_str(tag));
	json_object_set_new(j, "UniqueSize", json_string("N/A"));
	json_object_set_new(j, "VirtualSize", json_string(size));
	return j;
}

static int newest_first(const void *a, const void *b)
{
	const struct store_image *x = a, *y = b;
	if (x->created != y->created)
		return x->created > y->created ? -1 : 1;
	return strcmp(x->name, y->name);
}

static int print_images(struct listing *l, struct error *err)
{
	static const struct template_column heads[] = {{"Repository", "REPOSITORY"}, {"Tag", "TAG"},
	        {"ID", "IMAGE ID"}, {"Digest", "DIGEST"}, {"CreatedSince", "CREATED"},
	        {"CreatedAt", "CREATED AT"}, {"Size", "SIZE"}};
	_cleanup_json_ json_t *rows = json_array();
	_cleanup_strv_ struct strv seen = STRV_INIT;
	for (size_t i = 0; i < l->n; i++) {
		int out = filtered_out(l, &l->v[i], err);
		if (out < 0)
			return -1;
		if (out)
			continue;
		json_t *row = row_of(l, &l->v[i]);
		json_array_append_new(rows, row);
		const char *id = json_get_str(row, "ID");
		if (l->quiet && !strv_contains(&seen, id)) {
			printf("%s\n", id);
			strv_add(&seen, id);
		}
	}
	if (l->quiet && !l->format)
		return 0;
	const char *format = l->format;
	if (!format || str_eq(format, "table"))
		format = l->digests ? "table "
		                      "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{."
		                      "CreatedSince}}\t{{.Size}}"
		                    : "table "
		                      "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{."
		                      "Size}}";
	return template_list(format, rows, heads, ARRAY_SIZE(heads), err);
}

int cmd_images(int argc, char **argv)
{
	struct listing l = {0};
	const struct cli_option options[] = {
	        {"all", 'a', CLI_BOOL, &l.all, NULL,
	                "accepted for docker's sake: all are shown anyway"},
	        {"quiet", 'q', CLI_BOOL, &l.quiet, NULL, "ids only"},
	        {"no-trunc", 0, CLI_BOOL, &l.no_trunc, NULL, "whole ids"},
	        {"digests", 0, CLI_BOOL, &l.digests, NULL, "show the manifest's digest"},
	        {"filter", 'f', CLI_LIST, &l.filters, "F",
	                "dangling=true, reference=PATTERN, label=K[=V], before=, since=IMAGE"},
	        {"format", 0, CLI_STR, &l.format, "F",
	                "json, table TEMPLATE, or a template: {{.Repository}}:{{.Tag}}"},
	        {0},
	};
	struct error err = ERROR_INIT;
	_cleanup_(cli_store_close) struct store *store = NULL;
	_cleanup_strv_ struct strv words = STRV_INIT;
	struct store_image *v = NULL;
	size_t n = 0;
	int rc = cli_parse(argc, argv, options, false, &words, &err);
	if (rc > 0) {
		cli_help("images", "[OPTIONS] [REPOSITORY[:TAG]]", "List images.", options, NULL);
		strv_release(&l.filters);
		return EXIT_OK;
	}
	if (rc >= 0 && words.n > 1)
		rc = err_set(&err, ERR_USAGE, "one name at most is expected");
	if (rc >= 0)
		rc = check_filters(&l, &err);
	if (rc < 0) {
		strv_release(&l.filters);
		return cli_usage_error("images", &err);
	}
	rc = cli_store(&store, &err);
	if (rc >= 0)
		rc = store_image_list(store, &v, &n, &err);
	if (rc >= 0) {
		if (n)
			qsort(v, n, sizeof(*v), newest_first);
		l.only = words.n ? words.v[0] : NULL;
		l.store = store;
		l.v = v;
		l.n = n;
		rc = print_images(&l, &err);
	}
	store_images_free(v, n);
	strv_release(&l.filters);
	return rc < 0 ? cli_report(&err) : EXIT_OK;
}
