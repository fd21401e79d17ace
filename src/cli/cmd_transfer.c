/* cli/cmd_transfer.c - push and pull. */
#include "cli/cli.h"

#include <stdio.h>

#include "base/human.h"
#include "build/transfer.h"
#include "oci/oci.h"
#include "registry/registry.h"

struct transfer_args {
	struct transfer_options o;
	struct strv words, platforms;
	const char *progress, *compression;
	unsigned level;
	bool quiet, all_tags;
};

static int take_compression(struct transfer_args *a, struct error *err)
{
	const char *c = a->compression;
	a->o.compression = COMPRESS_GZIP;
	a->o.force_compression = c != NULL;
	if (!c || str_eq(c, "gzip"))
		return 0;
	if (str_eq(c, "zstd"))
		a->o.compression = COMPRESS_ZSTD;
	else if (str_eq(c, "uncompressed"))
		a->o.compression = COMPRESS_NONE;
	else
		return err_set(err, ERR_USAGE,
		        "--compression %s: gzip, zstd or uncompressed is expected", c);
	return 0;
}

/* stored_tags - of a repository, in the store. */
static int stored_tags(
        struct store *s, const struct oci_ref *repo, struct strv *ret, struct error *err)
{
	struct store_image *v = NULL;
	size_t n = 0;
	if (store_image_list(s, &v, &n, err) < 0)
		return -1;
	int rc = 0;
	for (size_t i = 0; i < n && rc >= 0; i++) {
		struct oci_ref ref = {0};
		if (!v[i].name[0])
			continue;
		rc = oci_ref_parse(v[i].name, &ref, err);
		if (rc >= 0 && str_eq(ref.domain, repo->domain) && str_eq(ref.path, repo->path) &&
		        !strv_contains(ret, v[i].name))
			strv_add(ret, v[i].name);
		oci_ref_release(&ref);
	}
	store_images_free(v, n);
	return rc;
}

static int registry_tags(const struct oci_ref *repo, struct strv *ret, struct error *err)
{
	struct registry_client *c = NULL;
	struct registry_options ro = {.cancelled = &cli_interrupted};
	struct strv tags = STRV_INIT;
	if (registry_client_new(&ro, &c, err) < 0)
		return -1;
	int rc = registry_list_tags(c, repo, &tags, err);
	for (size_t i = 0; i < tags.n && rc >= 0; i++)
		strv_addf(ret, "%s/%s:%s", repo->domain, repo->path, tags.v[i]);
	strv_release(&tags);
	registry_client_free(c);
	return rc;
}

/* names_of - what is to be transferred. */
static int names_of(const struct transfer_args *a, struct store *s, bool push, struct strv *ret,
        struct error *err)
{
	const char *word = a->words.v[0], *slash = strrchr(word, '/');
	struct oci_ref repo = {0};
	if (!a->all_tags) {
		strv_add(ret, word);
		return 0;
	}
	if (strchr(slash ? slash : word, ':') || strchr(word, '@'))
		return err_set(err, ERR_USAGE, "--all-tags means every tag: %s names one", word);
	if (oci_ref_parse(word, &repo, err) < 0)
		return -1;
	int rc = push ? stored_tags(s, &repo, ret, err) : registry_tags(&repo, ret, err);
	oci_ref_release(&repo);
	if (rc >= 0 && ret->n == 0)
		rc = err_set(err, ERR_NOT_FOUND, "%s has no tags", word);
	return rc;
}

static int transfer_all(
        const struct transfer_args *a, struct store *s, bool push, struct error *err)
{
	struct strv names = STRV_INIT;
	int rc = names_of(a, s, push, &names, err);
	for (size_t i = 0; i < names.n && rc >= 0; i++) {
		_cleanup_free_ char *digest = NULL;
		if (a->all_tags && !a->quiet)
			printf("%s\n", names.v[i]);
		rc = push ? transfer_push(s, names.v[i], &a->o, &digest, err)
		          : transfer_pull(s, names.v[i], &a->o, &digest, err);
		if (rc >= 0)
			printf(a->quiet ? "%s\n" : "Digest: %s\n", digest);
	}
	strv_release(&names);
	return rc;
}

static int transfer_command(int argc, char **argv, bool push)
{
	struct transfer_args a = {.o = {.level = -1}};
	const char *command = push ? "push" : "pull";
	const struct cli_option options[] = {
	        {"quiet", 'q', CLI_BOOL, &a.quiet, NULL, "print the digest only"},
	        {"progress", 0, CLI_STR, &a.progress, "MODE", "auto, plain, tty, rawjson, quiet"},
	        {"platform", 0, CLI_LIST, &a.platforms, "P", "only this platform; may repeat"},
	        {"all-tags", 'a', CLI_BOOL, &a.all_tags, NULL,
	                push ? "every tag that the repository has in the store"
	                     : "every tag that the repository has"},
	        {push ? "compression" : NULL, 0, CLI_STR, &a.compression, "C",
	                "of the layers: gzip, zstd, uncompressed"},
	        {0},
	};
	struct error err = ERROR_INIT;
	_cleanup_(cli_store_close) struct store *store = NULL;
	int code = EXIT_OK;
	int rc = cli_parse(argc, argv, options, false, &a.words, &err);
	if (rc > 0) {
		cli_help(command, "[OPTIONS] NAME[:TAG]",
		        push ? "Send an image to the registry that its name says."
		             : "Fetch an image from its registry.",
		        options,
		        "Credentials are those of docker's config.json (strake login). Mirrors, "
		        "plain HTTP and\n"
		        "own certificates: see strake-registries.conf(5).\n");
		goto out;
	}
	if (rc >= 0 && a.words.n != 1)
		rc = err_set(&err, ERR_USAGE, "one image is expected");
	if (rc >= 0)
		rc = take_compression(&a, &err);
	if (rc >= 0 && a.progress && !ui_mode_parse(a.progress, &a.o.progress))
		rc = err_set(&err, ERR_USAGE,
		        "--progress %s: auto, plain, tty, rawjson or quiet is expected",
		        a.progress);
	if (rc < 0) {
		code = cli_usage_error(command, &err);
		goto out;
	}
	if (a.quiet)
		a.o.progress = UI_QUIET;
	a.o.platforms = &a.platforms;
	a.o.interrupted = &cli_interrupted;
	cli_signals();
	rc = cli_store(&store, &err);
	if (rc >= 0)
		rc = transfer_all(&a, store, push, &err);
	if (rc < 0)
		code = err.class == ERR_USAGE ? cli_usage_error(command, &err) : cli_report(&err);
out:
	strv_release(&a.words);
	strv_release(&a.platforms);
	return code;
}

int cmd_push(int argc, char **argv)
{
	return transfer_command(argc, argv, true);
}

int cmd_pull(int argc, char **argv)
{
	return transfer_command(argc, argv, false);
}
