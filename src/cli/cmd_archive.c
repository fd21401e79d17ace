/* cli/cmd_archive.c - save and load: images as files. */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "export/export.h"

static int save_image(struct store *s, struct store_lease *l, const char *name,
        const struct export_options *o, struct error *err)
{
	struct store_image si = {0};
	struct oci_image im;
	oci_image_init(&im);
	_cleanup_free_ char *json = NULL;
	size_t n;
	int rc = cli_find_image(s, name, &si, err);
	if (rc > 0)
		rc = store_image_config(s, &si.id, &im, err);
	if (rc >= 0)
		rc = store_blob_read_all(s, &si.id, (size_t)8 << 20, &json, &n, err);
	if (rc >= 0) {
		struct export_image ei = {.config = &im, .config_json = json};
		if (si.name[0])
			strv_add(&ei.names, si.name);
		struct pool *pool = pool_new(o->n_threads);
		struct oci_descriptor d = {0};
		rc = export_write(s, l, &ei, 1, o, pool, &d, err);
		oci_descriptor_release(&d);
		pool_free(pool);
		strv_release(&ei.names);
	}
	oci_image_release(&im);
	store_image_release(&si);
	return rc < 0 ? -1 : 0;
}

int cmd_save(int argc, char **argv)
{
	const char *output = "-", *format = "docker-archive";
	struct strv words = STRV_INIT;
	const struct cli_option options[] = {
	        {"output", 'o', CLI_STR, &output, "FILE", "write there (default: standard output)"},
	        {"format", 0, CLI_STR, &format, "F",
	                "docker-archive (default), oci-archive, oci-dir"},
	        {0},
	};
	struct error err = ERROR_INIT;
	_cleanup_(cli_store_close) struct store *store = NULL;
	struct store_lease *lease = NULL;
	int rc = cli_parse(argc, argv, options, false, &words, &err);
	if (rc > 0) {
		cli_help("save", "[OPTIONS] IMAGE", "Write an image to a file.", options,
		        "docker load, podman load and strake load read it.\n");
		strv_release(&words);
		return EXIT_OK;
	}
	struct export_options o = {.type = EXPORT_DOCKER,
	        .dest = output,
	        .tar = true,
	        .level = -1,
	        .n_threads = (unsigned)MAX(sysconf(_SC_NPROCESSORS_ONLN), 1)};
	if (str_starts(format, "oci-")) {
		o.type = EXPORT_OCI;
		o.compression = COMPRESS_GZIP;
		o.oci_mediatypes = true;
		o.tar = !str_eq(format, "oci-dir");
	}
	if (rc >= 0 && words.n != 1)
		rc = err_set(&err, ERR_USAGE, "one image is expected");
	if (rc >= 0 && !str_eq(format, "docker-archive") && !str_eq(format, "oci-archive") &&
	        !str_eq(format, "oci-dir"))
		rc = err_set(&err, ERR_USAGE,
		        "--format %s: docker-archive, oci-archive or oci-dir is expected", format);
	if (rc >= 0 && str_eq(output, "-") && isatty(STDOUT_FILENO)) {
		rc = err_set(&err, ERR_USAGE, "refusing to write an archive to a terminal");
		(void)err_hint(&err, "redirect standard output, or name a file with -o");
	}
	if (rc < 0) {
		rc = cli_usage_error("save", &err);
	} else {
		rc = cli_store(&store, &err);
		if (rc >= 0)
			rc = store_lease_new(store, &lease, &err);
		if (rc >= 0)
			rc = cli_enter(store, &err);
		if (rc >= 0)
			rc = save_image(store, lease, words.v[0], &o, &err);
		rc = rc < 0 ? cli_report(&err) : EXIT_OK;
		store_lease_free(lease);
	}
	strv_release(&words);
	return rc;
}

static int load_from(struct store *s, const char *input, struct strv *names, struct error *err)
{
	_cleanup_close_ int fd = -1;
	if (!str_eq(input, "-")) {
		/* trusted-path: -i of the command line */
		fd = open(input, O_RDONLY | O_CLOEXEC);
		if (fd < 0) {
			(void)err_sys(err, errno, "%s", input);
			return -1;
		}
	}
	struct store_lease *lease = NULL;
	if (store_lease_new(s, &lease, err) < 0)
		return -1;
	_cleanup_reader_ struct reader *in = reader_fd(fd < 0 ? STDIN_FILENO : fd, input);
	int rc = export_load_archive(s, lease, in, names, err);
	store_lease_free(lease);
	return rc;
}

int cmd_load(int argc, char **argv)
{
	const char *input = "-";
	bool quiet = false;
	struct strv words = STRV_INIT, names = STRV_INIT;
	const struct cli_option options[] = {
	        {"input", 'i', CLI_STR, &input, "FILE",
	                "read from there (default: standard input)"},
	        {"quiet", 'q', CLI_BOOL, &quiet, NULL, "say nothing"},
	        {0},
	};
	struct error err = ERROR_INIT;
	_cleanup_(cli_store_close) struct store *store = NULL;
	int rc = cli_parse(argc, argv, options, false, &words, &err);
	if (rc > 0) {
		cli_help("load", "[OPTIONS]", "Read images from a file.", options,
		        "Archives of docker save, podman save, strake save, and OCI layout "
		        "archives,\n"
		        "plain or compressed.\n");
		strv_release(&words);
		return EXIT_OK;
	}
	if (rc >= 0 && words.n)
		rc = err_set(&err, ERR_USAGE, "load takes no arguments; the file is named with -i");
	if (rc >= 0 && str_eq(input, "-") && isatty(STDIN_FILENO))
		rc = err_set(
		        &err, ERR_USAGE, "standard input is a terminal; name the file with -i");
	if (rc < 0) {
		rc = cli_usage_error("load", &err);
	} else {
		rc = cli_store(&store, &err);
		if (rc >= 0)
			rc = load_from(store, input, &names, &err);
		for (size_t i = 0; rc >= 0 && !quiet && i < names.n; i++)
			printf("Loaded image: %s\n", names.v[i]);
		rc = rc < 0 ? cli_report(&err) : EXIT_OK;
	}
	strv_release(&words);
	strv_release(&names);
	return rc;
}
