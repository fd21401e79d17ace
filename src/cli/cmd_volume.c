/* cli/cmd_volume.c - volume ls, create, rm, inspect, prune; and the prunes of images and
 * containers.
 */
#include "cli/cli.h"

#include <stdio.h>

#include "cli/template.h"
#include "container/container.h"

/* --- volumes --------------------------------------------------------------------------------- */

static json_t *row_of(const struct container_volume *v)
{
	json_t *j = json_object();
	_cleanup_free_ char *at = oci_time(v->created, 0);
	json_object_set_new(j, "CreatedAt", json_string(at));
	json_object_set_new(j, "Driver", json_string("local"));
	json_object_set_new(j, "Labels", json_null());
	json_object_set_new(j, "Mountpoint", json_str(v->path));
	json_object_set_new(j, "Name", json_str(v->name));
	json_object_set_new(j, "Options", json_null());
	json_object_set_new(j, "Scope", json_string("local"));
	return j;
}

static int volume_ls(struct store *s, bool quiet, const char *format, const struct strv *filters,
        struct error *err)
{
	static const struct template_column heads[] = {
	        {"Driver", "DRIVER"}, {"Name", "VOLUME NAME"}};
	struct container_volume *v;
	size_t n;
	if (container_volumes(s, &v, &n, err) < 0)
		return -1;
	_cleanup_json_ json_t *rows = json_array();
	for (size_t i = 0; i < n; i++) {
		bool want = true;
		for (size_t k = 0; k < filters->n; k++) {
			const char *f = filters->v[k];
			if (str_starts(f, "name="))
				want &= strstr(v[i].name, f + 5) != NULL;
			else
				want &= v[i].in_use != str_eq(f, "dangling=true");
		}
		if (want && quiet)
			printf("%s\n", v[i].name);
		else if (want)
			json_array_append_new(rows, row_of(&v[i]));
	}
	container_volumes_free(v, n);
	return quiet ? 0
	             : template_list(format ? format : "table {{.Driver}}\t{{.Name}}", rows, heads,
	                       ARRAY_SIZE(heads), err);
}

static int volume_inspect(
        struct store *s, const struct strv *names, const char *format, struct error *err)
{
	struct container_volume *v;
	size_t n;
	if (container_volumes(s, &v, &n, err) < 0)
		return -1;
	_cleanup_json_ json_t *list = json_array();
	int rc = 0;
	for (size_t i = 0; i < names->n && rc == 0; i++) {
		size_t k = 0;
		while (k < n && !str_eq(v[k].name, names->v[i]))
			k++;
		if (k < n)
			json_array_append_new(list, row_of(&v[k]));
		else
			rc = err_set(err, ERR_NOT_FOUND, "no such volume: %s", names->v[i]);
	}
	container_volumes_free(v, n);
	if (rc == 0 && format)
		return template_list(format, list, NULL, 0, err);
	_cleanup_free_ char *text = json_pretty(list);
	if (rc == 0)
		printf("%s\n", text);
	return rc;
}

static int volume_rm(struct store *s, const struct strv *names, bool force, struct error *err)
{
	for (size_t i = 0; i < names->n; i++) {
		if (container_volume_remove(s, names->v[i], err) < 0) {
			if (!force || err->class != ERR_NOT_FOUND)
				return -1;
			error_release(err);
			continue;
		}
		printf("%s\n", names->v[i]);
	}
	return 0;
}

static int volume_prune(struct store *s, struct error *err)
{
	struct container_volume *v;
	size_t n;
	if (container_volumes(s, &v, &n, err) < 0)
		return -1;
	int rc = 0;
	for (size_t i = 0; i < n && rc >= 0; i++) {
		if (v[i].in_use)
			continue;
		rc = container_volume_remove(s, v[i].name, err);
		if (rc >= 0)
			printf("%s\n", v[i].name);
	}
	container_volumes_free(v, n);
	return rc;
}

static int check_filters(const struct strv *filters, struct error *err)
{
	for (size_t i = 0; i < filters->n; i++)
		if (!str_starts(filters->v[i], "name=") &&
		        !str_eq(filters->v[i], "dangling=true") &&
		        !str_eq(filters->v[i], "dangling=false"))
			return err_set(err, ERR_USAGE,
			        "--filter %s: name= or dangling=true|false is expected",
			        filters->v[i]);
	return 0;
}

int cmd_volume(int argc, char **argv)
{
	bool quiet = false, force = false, all = false;
	const char *format = NULL;
	struct strv filters = STRV_INIT;
	const struct cli_option options[] = {
	        {"quiet", 'q', CLI_BOOL, &quiet, NULL, "ls: names only"},
	        {"filter", 0, CLI_LIST, &filters, "F", "ls: name=, dangling=true"},
	        {"format", 'F', CLI_STR, &format, "F", "ls, inspect: json or a template"},
	        {"force", 'f', CLI_BOOL, &force, NULL,
	                "rm: one that is not there is no error; prune: never asks anyway"},
	        {"all", 'a', CLI_BOOL, &all, NULL,
	                "prune: needed, as only named volumes are kept apart"},
	        {0},
	};
	const char *sub = argc > 1 && argv[1][0] != '-' ? argv[1] : "";
	struct error err = ERROR_INIT;
	_cleanup_(cli_store_close) struct store *store = NULL;
	_cleanup_strv_ struct strv words = STRV_INIT;
	bool ls = str_eq(sub, "ls") || str_eq(sub, "list"), rm = str_eq(sub, "rm");
	bool create = str_eq(sub, "create"), inspect = str_eq(sub, "inspect");
	bool prune = str_eq(sub, "prune");
	int rc = cli_parse(argc - (*sub != 0), argv + (*sub != 0), options, false, &words, &err);
	if (rc > 0) {
		cli_help("volume", "ls|create|rm|inspect|prune [OPTIONS] [NAME...]",
		        "Volumes that have names. Those without go with their container.", options,
		        NULL);
		strv_release(&filters);
		return EXIT_OK;
	}
	if (rc >= 0 && !ls && !rm && !create && !inspect && !prune)
		rc = err_set(&err, ERR_USAGE, "ls, create, rm, inspect or prune is expected");
	if (rc >= 0 && (rm || inspect || create) && words.n == 0)
		rc = err_set(&err, ERR_USAGE, "a volume's name is expected");
	if (rc >= 0 && prune && !all) {
		rc = err_set(&err, ERR_USAGE, "volume prune removes named volumes with all data");
		(void)err_hint(&err, "if that is meant: strake volume prune -a");
	}
	if (rc >= 0)
		rc = check_filters(&filters, &err);
	if (rc < 0) {
		strv_release(&filters);
		return cli_usage_error("volume", &err);
	}
	rc = cli_store(&store, &err);
	if (rc >= 0 && (rm || prune))
		rc = cli_enter(store, &err);
	if (rc >= 0 && ls)
		rc = volume_ls(store, quiet, format, &filters, &err);
	for (size_t i = 0; rc >= 0 && create && i < words.n; i++) {
		rc = container_volume_create(store, words.v[i], &err);
		if (rc >= 0)
			printf("%s\n", words.v[i]);
	}
	if (rc >= 0 && inspect)
		rc = volume_inspect(store, &words, format, &err);
	if (rc >= 0 && rm)
		rc = volume_rm(store, &words, force, &err);
	if (rc >= 0 && prune)
		rc = volume_prune(store, &err);
	strv_release(&filters);
	if (rc >= 0)
		return EXIT_OK;
	rc = cli_report(&err);
	return rc == EXIT_USAGE ? EXIT_FAILED : rc;
}

/* --- prune of containers and images ---------------------------------------------------------- */

static int prune_containers(struct store *s, struct error *err)
{
	struct container **v;
	size_t n;
	bool first = true;
	if (container_list(s, &v, &n, err) < 0)
		return -1;
	int rc = 0;
	for (size_t i = 0; i < n && rc >= 0; i++) {
		if (v[i]->status == CONTAINER_RUNNING)
			continue;
		rc = container_remove(s, v[i]->id, false, NULL, err);
		if (rc < 0 && err->class == ERR_USAGE) { /* started meanwhile */
			error_release(err);
			rc = 0;
		} else if (rc >= 0) {
			printf("%s%s\n", first ? "Deleted Containers:\n" : "", v[i]->id);
			first = false;
		}
	}
	containers_free(v, n);
	return rc;
}

static bool used(struct container *const *c, size_t n, const struct digest *id)
{
	struct digest d;
	for (size_t i = 0; i < n; i++)
		if (container_image(c[i], &d) && digest_eq(&d, id))
			return true;
	return false;
}

/* prune_images - the names that go; the space is the cache's, until `strake prune`. */
static int prune_images(struct store *s, bool all, struct error *err)
{
	struct container **c;
	size_t n_c, n;
	struct store_image *v = NULL;
	bool first = true;
	if (container_list(s, &c, &n_c, err) < 0)
		return -1;
	int rc = store_image_list(s, &v, &n, err);
	for (size_t i = 0; rc >= 0 && i < n; i++) {
		char d[DIGEST_STR_MAX];
		bool named = v[i].name[0] != '\0';
		if ((named && !all) || used(c, n_c, &v[i].id))
			continue;
		digest_str(&v[i].id, d);
		rc = store_image_delete(s, named ? v[i].name : d, err);
		if (rc < 0 && err->class == ERR_NOT_FOUND) {
			error_release(err);
			rc = 0;
			continue;
		}
		if (rc >= 0)
			printf("%s%s: %s\n", first ? "Deleted Images:\n" : "",
			        named ? "untagged" : "deleted", named ? v[i].name : d);
		first = false;
	}
	if (rc >= 0)
		printf("%sTheir layers are build cache now; strake prune frees the space.\n",
		        first ? "" : "\n");
	store_images_free(v, v ? n : 0);
	containers_free(c, n_c);
	return rc;
}

static int prune_command(int argc, char **argv, bool images)
{
	bool force = false, all = false;
	const struct cli_option options[] = {
	        {"force", 'f', CLI_BOOL, &force, NULL,
	                "accepted for docker's sake: prune never asks"},
	        {images ? "all" : NULL, 'a', CLI_BOOL, &all, NULL,
	                "also named ones that no container uses"},
	        {0},
	};
	struct error err = ERROR_INIT;
	_cleanup_(cli_store_close) struct store *store = NULL;
	_cleanup_strv_ struct strv words = STRV_INIT;
	const char *name = images ? "image prune" : "container prune";
	int rc = cli_parse(argc, argv, options, false, &words, &err);
	if (rc > 0) {
		cli_help(name, "[OPTIONS]",
		        images ? "Remove images without a name."
		               : "Remove containers that do not run.",
		        options, NULL);
		return EXIT_OK;
	}
	if (rc >= 0 && words.n)
		rc = err_set(&err, ERR_USAGE, "no arguments are expected");
	if (rc < 0)
		return cli_usage_error(name, &err);
	rc = cli_store(&store, &err);
	if (rc >= 0 && !images)
		rc = cli_enter(store, &err);
	if (rc >= 0)
		rc = images ? prune_images(store, all, &err) : prune_containers(store, &err);
	return rc < 0 ? cli_report(&err) : EXIT_OK;
}

int cmd_container_prune(int argc, char **argv)
{
	return prune_command(argc, argv, false);
}

int cmd_image_prune(int argc, char **argv)
{
	return prune_command(argc, argv, true);
}
