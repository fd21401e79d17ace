/* cli/cmd_inspect.c - history and inspect: an image's own account of itself. */
#include "cli/cli.h"

#include <stdio.h>
#include <time.h>

#include "base/human.h"
#include "build/attest.h"
#include "codec/json.h"
#include "cli/report.h"
#include "cli/template.h"
#include "container/container.h"
#include "export/export.h"

static int64_t parse_time(const char *s)
{
	struct tm tm = {0};
	return s && strptime(s, "%Y-%m-%dT%H:%M:%S", &tm) ? timegm(&tm) : 0;
}

struct history_args {
	bool quiet, no_trunc;
	const char *format;
};

/* print_history - newest first, sizes from the store's layers. */
static int print_history(struct store *s, const struct store_image *si, const struct oci_image *im,
        const struct history_args *a, struct error *err)
{
	struct store_lease *lease;
	if (store_lease_new(s, &lease, err) < 0)
		return -1;
	size_t layer = im->n_diff_ids;
	bool json = a->format && str_eq(a->format, "json");
	if (!a->quiet && !json)
		printf("%-14s %-22s %-48s %-9s %s\n", "IMAGE", "CREATED", "CREATED BY", "SIZE",
		        "COMMENT");
	for (size_t i = im->n_history; i-- > 0;) {
		const struct oci_history *h = &im->history[i];
		uint64_t size = 0;
		if (!h->empty_layer && layer > 0) {
			struct error ignored = ERROR_INIT;
			(void)!export_layer_size(s, lease, &im->diff_ids[--layer], &size, &ignored);
			error_release(&ignored);
		}
		char d[DIGEST_STR_MAX], sz[16], ago[64], id[DIGEST_STR_MAX] = "<missing>";
		if (i + 1 == im->n_history) {
			digest_str(&si->id, d);
			snprintf(id, sizeof(id), "%s", a->no_trunc ? d : d + 7);
			if (!a->no_trunc)
				id[12] = '\0';
		}
		const char *by = str_or_empty(h->created_by);
		_cleanup_free_ char *shown = human_escape(by, strlen(by), false);
		_cleanup_free_ char *comment = human_escape(
		        str_or_empty(h->comment), strlen(str_or_empty(h->comment)), false);
		human_size(sz, sizeof(sz), size);
		cli_ago(parse_time(h->created), ago, sizeof(ago));
		if (a->quiet) {
			printf("%s\n", id);
		} else if (json) {
			_cleanup_json_ json_t *j = json_object();
			json_object_set_new(j, "ID", json_str(id));
			json_object_set_new(j, "CreatedAt", json_str(str_or_empty(h->created)));
			json_object_set_new(j, "CreatedSince", json_str(ago));
			json_object_set_new(j, "CreatedBy", json_str(by));
			json_object_set_new(j, "Size", json_str(sz));
			json_object_set_new(j, "Comment", json_str(str_or_empty(h->comment)));
			_cleanup_free_ char *text = json_compact(j);
			printf("%s\n", text);
		} else if (a->no_trunc) {
			printf("%-14s %-22s %-48s %-9s %s\n", id, ago, shown, sz, comment);
		} else {
			bool cut = strlen(shown) > 45;
			printf("%-14s %-22s %.45s%-*s %-9s %s\n", id, ago, shown,
			        cut ? 3 : 48 - (int)strlen(shown), cut ? "..." : "", sz, comment);
		}
	}
	store_lease_free(lease);
	return 0;
}

int cmd_history(int argc, char **argv)
{
	if (argc > 1 && str_eq(argv[1], "builds"))
		return cmd_builds(argc - 1, argv + 1);
	struct history_args a = {0};
	bool human = true;
	struct strv words = STRV_INIT;
	const struct cli_option options[] = {
	        {"quiet", 'q', CLI_BOOL, &a.quiet, NULL, "ids only"},
	        {"no-trunc", 0, CLI_BOOL, &a.no_trunc, NULL, "whole instructions and ids"},
	        {"human", 'H', CLI_BOOL, &human, NULL, "sizes with units (always)"},
	        {"format", 0, CLI_STR, &a.format, "F", "json: an object a line"},
	        {0},
	};
	struct error err = ERROR_INIT;
	_cleanup_(cli_store_close) struct store *store = NULL;
	struct store_image si = {0};
	struct oci_image im;
	oci_image_init(&im);
	int code = EXIT_OK;
	int rc = cli_parse(argc, argv, options, false, &words, &err);
	if (rc > 0) {
		cli_help("history", "[OPTIONS] IMAGE", "Show the steps that made an image.",
		        options,
		        "strake history builds lists the last builds (strake history builds "
		        "--help).\n");
		goto out;
	}
	if (rc >= 0 && words.n != 1)
		rc = err_set(&err, ERR_USAGE, "one image is expected");
	if (rc >= 0 && a.format && !str_eq(a.format, "json") && !str_eq(a.format, "table"))
		rc = err_set(&err, ERR_USAGE, "--format %s: json or table is expected", a.format);
	if (rc < 0) {
		code = cli_usage_error("history", &err);
		goto out;
	}
	rc = cli_store(&store, &err);
	if (rc >= 0)
		rc = cli_find_image(store, words.v[0], &si, &err);
	if (rc > 0)
		rc = store_image_config(store, &si.id, &im, &err);
	if (rc >= 0)
		rc = print_history(store, &si, &im, &a, &err);
	if (rc < 0)
		code = cli_report(&err);
out:
	oci_image_release(&im);
	store_image_release(&si);
	strv_release(&words);
	return code;
}

/* --- inspect --------------------------------------------------------------------------------- */

static json_t *describe(struct store *s, const struct store_image *si, struct error *err)
{
	char d[DIGEST_STR_MAX];
	_cleanup_free_ char *text = NULL;
	size_t n;
	if (store_blob_read_all(s, &si->id, (size_t)8 << 20, &text, &n, err) < 0)
		return NULL;
	_cleanup_json_ json_t *config = json_parse(text, n, (size_t)8 << 20, "image config", err);
	if (!config)
		return NULL;
	json_t *j = json_object();
	json_object_set_new(j, "Id", json_str(digest_str(&si->id, d)));
	json_t *tags = json_array(), *digests = json_array();
	struct store_image *v = NULL;
	size_t n_v = 0;
	if (store_image_list(s, &v, &n_v, err) < 0)
		error_release(err);
	for (size_t i = 0; i < n_v; i++) {
		struct oci_ref ref = {0};
		struct error ignored = ERROR_INIT;
		if (!digest_eq(&v[i].id, &si->id) || !v[i].name[0] ||
		        oci_ref_parse(v[i].name, &ref, &ignored) < 0) {
			error_release(&ignored);
			continue;
		}
		_cleanup_free_ char *familiar = oci_ref_familiar(&ref);
		json_array_append_new(tags, json_str(familiar));
		if (v[i].manifest_digest) {
			struct oci_ref bare = {.domain = ref.domain,
			        .path = ref.path,
			        .digest = v[i].manifest_digest};
			_cleanup_free_ char *with = oci_ref_familiar(&bare);
			json_array_append_new(digests, json_str(with));
		}
		oci_ref_release(&ref);
	}
	store_images_free(v, n_v);
	json_object_set_new(j, "RepoTags", tags);
	json_object_set_new(j, "RepoDigests", digests);
	static const char *const keys[][2] = {{"created", "Created"}, {"author", "Author"},
	        {"architecture", "Architecture"}, {"variant", "Variant"}, {"os", "Os"},
	        {"config", "Config"}};
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		json_t *x = json_object_get(config, keys[i][0]);
		if (x)
			json_object_set(j, keys[i][1], x);
	}
	json_object_set_new(j, "Size", json_integer((json_int_t)si->size));
	json_object_set_new(j, "RootFS",
	        json_pack("{s:s,s:O}", "Type", "layers", "Layers",
	                json_object_get(json_object_get(config, "rootfs"), "diff_ids")));
	json_object_set(j, "History", json_object_get(config, "history"));
	struct image_attestation a[ATTEST_MAX];
	size_t n_a = 0;
	if (attest_kept(s, &si->id, a, ARRAY_SIZE(a), &n_a, err) < 0) {
		json_decref(j);
		return NULL;
	}
	for (size_t i = 0; i < n_a; i++)
		json_object_set(j, str_eq(a[i].type, ATTEST_SPDX) ? "SBOM" : "Provenance",
		        (json_t *)(uintptr_t)a[i].predicate);
	attest_release(a, n_a);
	return j;
}

/* print_blob - as it is stored: what its digest is the digest of. */
static int print_blob(struct store *s, const char *name, bool manifest, struct error *err)
{
	struct store_image im = {0};
	_cleanup_free_ char *text = NULL;
	size_t n;
	struct digest d;
	int rc = cli_find_image(s, name, &im, err);
	if (rc > 0 && manifest && (!im.manifest_digest || !digest_parse(im.manifest_digest, &d))) {
		(void)err_set(err, ERR_NOT_FOUND, "%s has no manifest: it was not pulled", name);
		rc = err_hint(err, "one is made when it is pushed or saved; --config shows what it "
		                   "will name");
	}
	if (rc > 0)
		rc = store_blob_read_all(
		        s, manifest ? &d : &im.id, (size_t)8 << 20, &text, &n, err);
	if (rc >= 0)
		(void)fwrite(text, 1, n, stdout);
	store_image_release(&im);
	return rc;
}

/* describe_any - a container goes before an image of the same name, as with docker. */
static json_t *describe_any(struct store *s, const char *name, const char *type, struct error *err)
{
	struct store_image si = {0};
	_cleanup_(container_freep) struct container *c = NULL;
	if (!type || str_eq(type, "container")) {
		if (container_find(s, name, &c, err) >= 0)
			return container_inspect(c);
		if (type || err->class != ERR_NOT_FOUND)
			return NULL;
		error_release(err);
	}
	json_t *j = NULL;
	if (cli_find_image(s, name, &si, err) > 0)
		j = describe(s, &si, err);
	else if (!type && err->class == ERR_NOT_FOUND)
		(void)err_set(err, ERR_NOT_FOUND, "no such image or container: %s", name);
	store_image_release(&si);
	return j;
}

int cmd_inspect(int argc, char **argv)
{
	const char *format = NULL;
	/* `image inspect`, `container inspect` */
	const char *type = str_starts(argv[0], "image")       ? "image"
	                   : str_starts(argv[0], "container") ? "container"
	                                                      : NULL;
	bool layers = false, whole = false, config = false, manifest = false;
	struct strv words = STRV_INIT;
	const struct cli_option options[] = {
	        {"format", 'f', CLI_STR, &format, "F", "{{.Config.User}}, {{json .Config}}"},
	        {"layers", 0, CLI_BOOL, &layers, NULL,
	                "what each layer of an image adds, changes, removes and wastes"},
	        {"no-trunc", 0, CLI_BOOL, &whole, NULL, "--layers: cut nothing short"},
	        {"config", 0, CLI_BOOL, &config, NULL, "an image's config, byte by byte"},
	        {"manifest", 0, CLI_BOOL, &manifest, NULL,
	                "the manifest or index an image was pulled by, byte by byte"},
	        {"size", 's', CLI_ABSENT, NULL, NULL, "strake du shows what containers take"},
	        {"type", 0, CLI_STR, &type, "T", "image or container; else whichever has the name"},
	        {0},
	};
	struct error err = ERROR_INIT;
	_cleanup_(cli_store_close) struct store *store = NULL;
	_cleanup_json_ json_t *list = json_array();
	int code = EXIT_OK;
	int rc = cli_parse(argc, argv, options, false, &words, &err);
	bool as_json = format && (str_eq(format, "json") || str_eq(format, "{{json .}}"));
	if (rc > 0) {
		cli_help("inspect", "[OPTIONS] IMAGE|CONTAINER...",
		        "Show an image's or a container's configuration as JSON.", options, NULL);
		goto out;
	}
	if (rc >= 0 && words.n == 0)
		rc = err_set(&err, ERR_USAGE, "an image or a container is expected");
	if (rc >= 0 && type && !str_eq(type, "image") && !str_eq(type, "container"))
		rc = err_set(&err, ERR_USAGE, "--type %s: image or container is expected", type);
	if (rc < 0) {
		code = cli_usage_error("inspect", &err);
		goto out;
	}
	if (cli_store(&store, &err) < 0)
		code = cli_report(&err);
	if (layers + config + manifest > 1) {
		(void)err_set(&err, ERR_USAGE, "--layers, --config or --manifest: one of them");
		code = cli_usage_error("inspect", &err);
		goto out;
	}
	for (size_t i = 0; store && layers && i < words.n; i++)
		if (cli_report_layers(store, words.v[i], format, whole, &err) < 0)
			code = cli_report(&err);
	for (size_t i = 0; store && (config || manifest) && i < words.n; i++)
		if (print_blob(store, words.v[i], manifest, &err) < 0)
			code = cli_report(&err);
	layers |= config || manifest;
	for (size_t i = 0; store && !layers && i < words.n; i++) {
		json_t *j = describe_any(store, words.v[i], type, &err);
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
		if (!j || (format && !as_json && template_run(format, j, &text, &err) < 0))
			code = cli_report(&err);
		else if (format && !as_json)
			printf("%s\n", text.buf);
		if (j)
			json_array_append_new(list, j);
	}
	if ((!format || as_json) && store && !layers) {
		_cleanup_free_ char *text = json_pretty(list);
		printf("%s\n", text);
	}
out:
	strv_release(&words);
	return code;
}
