/* cli/cmd_sbom.c - strake sbom: the packages of an image as SPDX, on standard output. */
#include "cli/cli.h"

#include <stdio.h>

#include "build/attest.h"

int cmd_sbom(int argc, char **argv)
{
	const char *platform = NULL;
	struct strv words = STRV_INIT;
	const struct cli_option options[] = {
	        {"platform", 0, CLI_STR, &platform, "P", "platform of a multi-platform image"},
	        {0},
	};
	struct error err = ERROR_INIT;
	_cleanup_(cli_store_close) struct store *store = NULL;
	_cleanup_json_ json_t *j = NULL;
	int code = EXIT_OK;
	int rc = cli_parse(argc, argv, options, false, &words, &err);
	if (rc > 0) {
		cli_help("sbom", "[OPTIONS] IMAGE",
		        "Print the packages in an image as SPDX 2.3 JSON.", options,
		        "Read are dpkg, apk, rpm's SQLite database, npm, Python and what Go "
		        "programs\n"
		        "say of themselves. strake build --sbom=true attaches the same to an "
		        "image.\n");
		strv_release(&words);
		return EXIT_OK;
	}
	if (rc >= 0 && words.n != 1)
		rc = err_set(&err, ERR_USAGE, "one image is expected");
	if (rc < 0) {
		code = cli_usage_error("sbom", &err);
	} else if (cli_store(&store, &err) < 0 ||
	           attest_image_sbom(store, words.v[0], platform, &j, &err) < 0) {
		code = cli_report(&err);
	} else {
		_cleanup_free_ char *text = json_pretty(j);
		printf("%s\n", text);
	}
	strv_release(&words);
	return code;
}
