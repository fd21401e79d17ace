/* cli/cmd_rmi.c - tag and rmi. */
#include "cli/cli.h"

#include <stdio.h>

#include "container/container.h"

static int put(struct store *store, const char *name, const struct store_image *im, bool further,
        struct error *err)
{
	return store_image_put(store, name, &im->id, &im->platform, im->manifest_digest, im->size,
	        im->created, further, err);
}

/* tag_platforms - all that a name stands for. Returns how many. */
static int tag_platforms(struct store *store, const char *from, const char *name, struct error *err)
{
	struct store_image *v = NULL;
	size_t n = 0;
	_cleanup_free_ char *full = cli_canonical(from);
	int done = 0, rc = store_image_list(store, &v, &n, err);
	/* A name given to itself is left as it is. */
	for (size_t i = 0; i < n && rc >= 0; i++)
		if (str_eq(v[i].name, full)) {
			rc = str_eq(full, name) ? 0 : put(store, name, &v[i], done > 0, err);
			done++;
		}
	store_images_free(v, n);
	return rc < 0 ? -1 : done;
}

static int do_tag(struct store *store, const char *from, const char *to, struct error *err)
{
	struct store_image im = {0};
	struct oci_ref ref = {0};
	if (oci_ref_parse(to, &ref, err) < 0)
		return -1;
	_cleanup_free_ char *name = oci_ref_string(&ref);
	oci_ref_release(&ref);
	int rc = tag_platforms(store, from, name, err);
	if (rc != 0)
		return rc;
	rc = cli_find_image(store, from, &im, err); /* by its id */
	if (rc > 0)
		rc = put(store, name, &im, false, err);
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

static char *familiar(const char *name)
{
	struct oci_ref ref = {0};
	_cleanup_error_ struct error ignored = ERROR_INIT;
	char *s = oci_ref_parse(name, &ref, &ignored) >= 0 ? oci_ref_familiar(&ref) : xstrdup(name);
	oci_ref_release(&ref);
	return s;
}

/* in_use - an image that a container stands on goes by force only, and not even then while that
 * runs. Its layers stay in any case until the container goes. */
static int in_use(struct store *store, const struct digest *id, const char *name, bool force,
        struct error *err)
{
	struct container **v;
	size_t n;
	if (container_list(store, &v, &n, err) < 0)
		return -1;
	int rc = 0;
	for (size_t i = 0; i < n && rc == 0; i++) {
		struct digest d;
		bool running = v[i]->status == CONTAINER_RUNNING;
		if (!container_image(v[i], &d) || !digest_eq(&d, id) || (force && !running))
			continue;
		(void)err_set(err, ERR_USAGE, "image %s is used by %s container %.12s (%s)", name,
		        running ? "running" : "stopped", v[i]->id, v[i]->name);
		rc = running ? err_hint(err, "strake stop %s", v[i]->name)
		             : err_hint(err, "strake rm %s, or strake rmi -f", v[i]->name);
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

/* by_name - untag. The last name takes the image along, so no container may need it then. */
static int by_name(struct store *store, const char *full, const struct digest *id, bool force,
        struct error *err)
{
	int count = names_of(store, id, err);
	if (count < 0 || (count < 2 && !force && in_use(store, id, full, false, err) < 0) ||
	        store_image_delete(store, full, err) < 0)
		return -1;
	_cleanup_free_ char *shown = familiar(full);
	char d[DIGEST_STR_MAX];
	printf("Untagged: %s\n", shown);
	if (count < 2)
		printf("Deleted: %s\n", digest_str(id, d));
	return 0;
}

/* one_repository - do all names of the image share one repository? Else removing it by its id needs
 * force. */
static bool one_repository(const struct store_image *v, size_t n, const struct digest *id)
{
	_cleanup_free_ char *repo = NULL;
	for (size_t i = 0; i < n; i++) {
		if (!digest_eq(&v[i].id, id) || !v[i].name[0])
			continue;
		const char *colon = strrchr(v[i].name, ':');
		_cleanup_free_ char *r = colon ? xstrndup(v[i].name, (size_t)(colon - v[i].name))
		                               : xstrdup(v[i].name);
		if (repo && !str_eq(repo, r))
			return false;
		if (!repo)
			repo = take_ptr(r);
	}
	return true;
}

static int by_id(struct store *store, const char *name, const struct digest *id, bool force,
        struct error *err)
{
	struct store_image *v;
	size_t n;
	char d[DIGEST_STR_MAX];
	if (in_use(store, id, name, force, err) < 0 || store_image_list(store, &v, &n, err) < 0)
		return -1;
	int rc = 0;
	if (!force && !one_repository(v, n, id)) {
		(void)err_set(err, ERR_USAGE, "image %s has names in several repositories", name);
		rc = err_hint(err, "remove them by name, or all with -f");
	}
	for (size_t i = 0; i < n && rc >= 0; i++) {
		if (!digest_eq(&v[i].id, id))
			continue;
		rc = store_image_delete(store, v[i].name[0] ? v[i].name : digest_str(id, d), err);
		/* The last name has taken an untagged row along. */
		if (rc < 0 && err->class == ERR_NOT_FOUND) {
			error_release(err);
			rc = 0;
		}
		_cleanup_free_ char *shown = v[i].name[0] ? familiar(v[i].name) : NULL;
		if (rc >= 0 && shown)
			printf("Untagged: %s\n", shown);
	}
	store_images_free(v, n);
	if (rc >= 0)
		printf("Deleted: %s\n", digest_str(id, d));
	return rc;
}

static int remove_one(struct store *store, const char *name, bool force, struct error *err)
{
	_cleanup_free_ char *full = cli_canonical(name);
	struct store_image im = {0};
	int rc = store_image_find(store, full, NULL, &im, err);
	bool named = rc > 0;
	if (rc == 0)
		rc = store_image_find(store, name, NULL, &im, err);
	if (rc <= 0)
		return rc < 0 ? -1 : cli_no_such_image(name, err);
	struct digest id = im.id;
	store_image_release(&im);
	return named ? by_name(store, full, &id, force, err) : by_id(store, name, &id, force, err);
}

int cmd_rmi(int argc, char **argv)
{
	bool force = false, no_prune = false;
	const struct cli_option options[] = {
	        {"force", 'f', CLI_BOOL, &force, NULL,
	                "also if a container uses it; one that is not there is no error"},
	        {"no-prune", 0, CLI_BOOL, &no_prune, NULL, "always so: layers stay as cache"},
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
	return code == EXIT_USAGE ? EXIT_FAILED : code;
}
