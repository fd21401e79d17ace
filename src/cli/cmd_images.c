/* cli/cmd_images.c - images, tag, rmi: docker's columns and flags over the store's tags. */
#include "cli/cli.h"

#include <stdio.h>

#include "base/human.h"
#include "codec/json.h"
#include "container/container.h"

struct listing {
	bool quiet, no_trunc, digests, all;
	const char *format;
	const struct strv *filters;
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

static char *image_id(const struct store_image *im, bool full)
{
	char d[DIGEST_STR_MAX];
	digest_str(&im->id, d);
	return full ? xstrdup(d) : xstrndup(d + strlen("sha256:"), 12);
}

static void print_json(const struct store_image *im)
{
	_cleanup_free_ char *repo = NULL, *tag = NULL, *id = image_id(im, true);
	char size[16], ago[64], plat[128];
	split_name(im, &repo, &tag);
	_cleanup_json_ json_t *j = json_object();
	_cleanup_free_ char *at = oci_time(im->created, 0);
	json_object_set_new(j, "Repository", json_str(repo));
	json_object_set_new(j, "Tag", json_str(tag));
	json_object_set_new(j, "ID", json_str(id));
	json_object_set_new(
	        j, "Digest", json_str(im->manifest_digest ? im->manifest_digest : "<none>"));
	json_object_set_new(
	        j, "Platform", json_str(oci_platform_string(&im->platform, plat, sizeof(plat))));
	json_object_set_new(j, "CreatedAt", json_str(at));
	json_object_set_new(j, "CreatedSince", json_str(cli_ago(im->created, ago, sizeof(ago))));
	json_object_set_new(j, "Size", json_str(human_size(size, sizeof(size), im->size)));
	json_object_set_new(j, "SizeBytes", json_integer((json_int_t)im->size));
	_cleanup_free_ char *text = json_compact(j);
	printf("%s\n", text);
}

/* print_template - the fields people use: {{.Repository}}:{{.Tag}} and so on. */
static int print_template(const struct store_image *im, const char *fmt, struct error *err)
{
	_cleanup_free_ char *repo = NULL, *tag = NULL, *id = image_id(im, false);
	char size[16], ago[64];
	split_name(im, &repo, &tag);
	_cleanup_free_ char *at = oci_time(im->created, 0);
	const struct {
		const char *name, *value;
	} fields[] = {{".Repository", repo}, {".Tag", tag}, {".ID", id},
	        {".Digest", im->manifest_digest ? im->manifest_digest : "<none>"},
	        {".CreatedSince", cli_ago(im->created, ago, sizeof(ago))}, {".CreatedAt", at},
	        {".Size", human_size(size, sizeof(size), im->size)}};
	for (const char *p = fmt; *p;) {
		const char *end = str_starts(p, "{{") ? strstr(p, "}}") : NULL;
		if (!end) {
			if (str_starts(p, "\\t")) {
				putchar('\t');
				p += 2;
			} else {
				putchar(*p++);
			}
			continue;
		}
		const char *from = p + 2;
		while (*from == ' ')
			from++;
		size_t n = (size_t)(end - from);
		while (n && from[n - 1] == ' ')
			n--;
		bool found = false;
		for (size_t i = 0; i < ARRAY_SIZE(fields) && !found; i++)
			if (strlen(fields[i].name) == n && memcmp(fields[i].name, from, n) == 0) {
				fputs(fields[i].value, stdout);
				found = true;
			}
		if (!found)
			return err_set(
			        err, ERR_USAGE, "--format: unknown field {{%.*s}}", (int)n, from);
		p = end + 2;
	}
	putchar('\n');
	return 0;
}

static bool name_matches(const struct store_image *im, const char *want)
{
	_cleanup_free_ char *repo = NULL, *tag = NULL;
	split_name(im, &repo, &tag);
	const char *slash = strrchr(want, '/'), *colon = strrchr(want, ':');
	if (colon && (!slash || colon > slash)) {
		size_t n = (size_t)(colon - want);
		return strlen(repo) == n && memcmp(repo, want, n) == 0 && str_eq(tag, colon + 1);
	}
	return str_eq(repo, want);
}

static int check_filters(const struct strv *filters, struct error *err)
{
	for (size_t i = 0; i < filters->n; i++)
		if (!str_starts(filters->v[i], "dangling=") &&
		        !str_starts(filters->v[i], "reference="))
			return err_set(err, ERR_USAGE,
			        "--filter %s: dangling=true|false or reference=NAME is expected",
			        filters->v[i]);
	return 0;
}

static bool filtered_out(const struct store_image *im, const struct strv *filters)
{
	for (size_t i = 0; i < filters->n; i++) {
		const char *f = filters->v[i], *v = strchr(f, '=') + 1;
		bool dangling = im->name[0] == '\0';
		if (str_starts(f, "dangling=") && dangling != str_eq(v, "true"))
			return true;
		if (str_starts(f, "reference=") && !name_matches(im, v))
			return true;
	}
	return false;
}

static int print_list(const struct store_image *v, size_t n, const struct listing *l,
        const struct strv *words, struct error *err)
{
	int wide = 10;
	bool header = !l->quiet && !l->format;
	for (size_t i = 0; i < n && header; i++) {
		_cleanup_free_ char *repo = NULL, *tag = NULL;
		split_name(&v[i], &repo, &tag);
		wide = MAX(wide, (int)strlen(repo));
	}
	if (header)
		printf("%-*s   %-9s %s%-12s   %-14s %s\n", wide, "REPOSITORY", "TAG",
		        l->digests ? "DIGEST                                                       "
		                     "             "
		                   : "",
		        "IMAGE ID", "CREATED", "SIZE");
	for (size_t i = 0; i < n; i++) {
		if (filtered_out(&v[i], l->filters) ||
		        (words->n && !name_matches(&v[i], words->v[0])))
			continue;
		_cleanup_free_ char *repo = NULL, *tag = NULL, *id = image_id(&v[i], l->no_trunc);
		char size[16], ago[64];
		if (l->quiet) {
			printf("%s\n", id);
			continue;
		}
		if (l->format && str_eq(l->format, "json")) {
			print_json(&v[i]);
			continue;
		}
		if (l->format && !str_starts(l->format, "table")) {
			if (print_template(&v[i], l->format, err) < 0)
				return -1;
			continue;
		}
		split_name(&v[i], &repo, &tag);
		printf("%-*s   %-9s ", wide, repo, tag);
		if (l->digests)
			printf("%-73s ", v[i].manifest_digest ? v[i].manifest_digest : "<none>");
		printf("%-12s   %-14s %s\n", id, cli_ago(v[i].created, ago, sizeof(ago)),
		        human_size(size, sizeof(size), v[i].size));
	}
	return 0;
}

int cmd_images(int argc, char **argv)
{
	struct strv words = STRV_INIT, filters = STRV_INIT;
	struct listing l = {.filters = &filters};
	const struct cli_option options[] = {
	        {"all", 'a', CLI_BOOL, &l.all, NULL,
	                "accepted for docker's sake: all are shown anyway"},
	        {"quiet", 'q', CLI_BOOL, &l.quiet, NULL, "ids only"},
	        {"no-trunc", 0, CLI_BOOL, &l.no_trunc, NULL, "whole ids"},
	        {"digests", 0, CLI_BOOL, &l.digests, NULL, "show the manifest's digest"},
	        {"filter", 'f', CLI_LIST, &filters, "F", "dangling=true, reference=NAME"},
	        {"format", 0, CLI_STR, &l.format, "F",
	                "json, or a template: {{.Repository}}:{{.Tag}}"},
	        {0},
	};
	struct error err = ERROR_INIT;
	_cleanup_(cli_store_close) struct store *store = NULL;
	struct store_image *v = NULL;
	size_t n = 0;
	int rc = cli_parse(argc, argv, options, false, &words, &err);
	if (rc > 0) {
		cli_help("images", "[OPTIONS] [REPOSITORY[:TAG]]", "List images.", options, NULL);
		rc = EXIT_OK;
		goto out;
	}
	if (rc >= 0 && words.n > 1)
		rc = err_set(&err, ERR_USAGE, "one name at most is expected");
	if (rc >= 0)
		rc = check_filters(&filters, &err);
	if (rc < 0) {
		rc = cli_usage_error("images", &err);
		goto out;
	}
	rc = cli_store(&store, &err);
	if (rc >= 0)
		rc = store_image_list(store, &v, &n, &err);
	if (rc >= 0)
		rc = print_list(v, n, &l, &words, &err);
	rc = rc < 0 ? cli_report(&err) : EXIT_OK;
	store_images_free(v, n);
out:
	strv_release(&words);
	strv_release(&filters);
	return rc;
}

/* --- tag and rmi ----------------------------------------------------------------------------- */

static int do_tag(struct store *store, const char *from, const char *to, struct error *err)
{
	struct store_image im = {0};
	struct oci_ref ref = {0};
	if (oci_ref_parse(to, &ref, err) < 0)
		return -1;
	_cleanup_free_ char *name = oci_ref_string(&ref);
	oci_ref_release(&ref);
	int rc = cli_find_image(store, from, &im, err);
	if (rc > 0)
		rc = store_image_put(store, name, &im.id, &im.platform, im.manifest_digest, im.size,
		        im.created, false, err);
	store_image_release(&im);
	return rc;
}

int cmd_tag(int argc, char **argv)
{
	static const struct cli_option options[] = {{0}};
	struct strv words = STRV_INIT;
	struct error err = ERROR_INIT;
	_cleanup_(cli_store_close) struct store *store = NULL;
	int rc = cli_parse(argc, argv, options, false, &words, &err);
	if (rc > 0) {
		cli_help("tag", "IMAGE NAME[:TAG]", "Give an image another name.", options, NULL);
		strv_release(&words);
		return EXIT_OK;
	}
	if (rc >= 0 && words.n != 2)
		rc = err_set(&err, ERR_USAGE, "two arguments are expected: an image and a name");
	if (rc < 0) {
		rc = cli_usage_error("tag", &err);
	} else {
		rc = cli_store(&store, &err);
		if (rc >= 0)
			rc = do_tag(store, words.v[0], words.v[1], &err);
		rc = rc < 0 ? cli_report(&err) : EXIT_OK;
	}
	strv_release(&words);
	return rc;
}

/* in_use - an image that a container stands on goes by force only, and its layers stay until that
 * container goes. */
static int in_use(struct store *store, const struct digest *id, const char *name, struct error *err)
{
	struct container **v;
	size_t n;
	if (container_list(store, &v, &n, err) < 0)
		return -1;
	int rc = 0;
	for (size_t i = 0; i < n && rc == 0; i++) {
		struct digest d;
		if (!container_image(v[i], &d) || !digest_eq(&d, id))
			continue;
		(void)err_set(err, ERR_USAGE, "image %s is used by %s container %.12s (%s)", name,
		        v[i]->status == CONTAINER_RUNNING ? "running" : "stopped", v[i]->id,
		        v[i]->name);
		rc = err_hint(err, "strake rm %s, or strake rmi -f", v[i]->name);
	}
	containers_free(v, n);
	return rc;
}

/* names_of - how many tags the image has. */
static int names_of(struct store *store, const struct digest *id, struct error *err)
{
	struct store_image *v;
	size_t n;
	int count = 0;
	if (store_image_list(store, &v, &n, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		count += digest_eq(&v[i].id, id) && v[i].name[0];
	store_images_free(v, n);
	return count;
}

/* remove_one - untag; an id removes all names of that image. Its last name goes only if no
 * container needs it, as with docker. */
static int remove_one(struct store *store, const char *name, bool force, struct error *err)
{
	_cleanup_free_ char *full = cli_canonical(name);
	struct store_image im = {0};
	int rc = store_image_find(store, full, NULL, &im, err);
	if (rc < 0)
		return -1;
	if (rc > 0) {
		int count = force ? 2 : names_of(store, &im.id, err);
		if (count < 0 || (count < 2 && in_use(store, &im.id, name, err) < 0)) {
			store_image_release(&im);
			return -1;
		}
		store_image_release(&im);
		if (store_image_delete(store, full, err) < 0)
			return -1;
		printf("Untagged: %s\n", full);
		return 0;
	}
	rc = store_image_find(store, name, NULL, &im, err);
	if (rc <= 0)
		return rc < 0 ? -1 : cli_no_such_image(name, err);
	struct digest id = im.id;
	store_image_release(&im);
	if (!force && in_use(store, &id, name, err) < 0)
		return -1;
	struct store_image *v;
	size_t n;
	if (store_image_list(store, &v, &n, err) < 0)
		return -1;
	for (size_t i = 0; i < n && rc >= 0; i++)
		if (digest_eq(&v[i].id, &id)) {
			rc = store_image_delete(store, v[i].name[0] ? v[i].name : name, err);
			if (rc >= 0 && v[i].name[0])
				printf("Untagged: %s\n", v[i].name);
		}
	store_images_free(v, n);
	char d[DIGEST_STR_MAX];
	if (rc >= 0)
		printf("Deleted: %s\n", digest_str(&id, d));
	return rc;
}

int cmd_rmi(int argc, char **argv)
{
	bool force = false;
	const struct cli_option options[] = {
	        {"force", 'f', CLI_BOOL, &force, NULL,
	                "also if a container uses it; one that is not there is no error"},
	        {0},
	};
	struct strv words = STRV_INIT;
	struct error err = ERROR_INIT;
	_cleanup_(cli_store_close) struct store *store = NULL;
	int rc = cli_parse(argc, argv, options, false, &words, &err);
	if (rc > 0) {
		cli_help("rmi", "[OPTIONS] IMAGE...", "Remove images.", options,
		        "Layers stay as cache; `strake prune` frees their space.\n");
		strv_release(&words);
		return EXIT_OK;
	}
	if (rc >= 0 && words.n == 0)
		rc = err_set(&err, ERR_USAGE, "an image is expected");
	if (rc < 0) {
		rc = cli_usage_error("rmi", &err);
		strv_release(&words);
		return rc;
	}
	int code = EXIT_OK;
	if (cli_store(&store, &err) < 0)
		code = cli_report(&err);
	for (size_t i = 0; store && i < words.n; i++) {
		if (remove_one(store, words.v[i], force, &err) >= 0)
			continue;
		if (force && err.class == ERR_NOT_FOUND)
			error_release(&err);
		else
			code = cli_report(&err);
	}
	strv_release(&words);
	return code;
}
