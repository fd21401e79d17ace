/* cli/cmd_store.c - du, prune, fsck. */
#include "cli/cli.h"

#include <ctype.h>
#include <stdio.h>

#include "base/human.h"

int cmd_du(int argc, char **argv)
{
	static const struct cli_option options[] = {{0}};
	struct strv words = STRV_INIT;
	struct error err = ERROR_INIT;
	_cleanup_(cli_store_close) struct store *store = NULL;
	struct store_usage u;
	int rc = cli_parse(argc, argv, options, false, &words, &err);
	strv_release(&words);
	if (rc > 0) {
		cli_help("du", "", "Show what the store takes on disk, in real blocks.", options,
		        NULL);
		return EXIT_OK;
	}
	if (rc < 0)
		return cli_usage_error("du", &err);
	/* Counting blocks means walking trees whose directories may belong to other ids. */
	if (cli_store(&store, &err) < 0 || cli_enter(store, &err) < 0 ||
	        store_usage(store, &u, &err) < 0)
		return cli_report(&err);
	char a[16], b[16], c[16], d[16], e[16], f[16], t[16];
	printf("%-10s %8s   %s\n", "KIND", "COUNT", "SIZE");
	printf("%-10s %8llu   %s\n", "layers", (unsigned long long)u.n_layers,
	        human_size(a, sizeof(a), u.layers));
	printf("%-10s %8llu   %s\n", "blobs", (unsigned long long)u.n_blobs,
	        human_size(b, sizeof(b), u.blobs));
	printf("%-10s %8llu   %s\n", "caches", (unsigned long long)u.n_caches,
	        human_size(c, sizeof(c), u.caches));
	printf("%-10s %8llu   %s\n", "containers", (unsigned long long)u.n_containers,
	        human_size(e, sizeof(e), u.containers));
	printf("%-10s %8llu   %s\n", "volumes", (unsigned long long)u.n_volumes,
	        human_size(f, sizeof(f), u.volumes));
	printf("%-10s %8s   %s\n", "other", "", human_size(d, sizeof(d), u.other));
	printf("%-10s %8s   %s   (%s)\n", "total", "", human_size(t, sizeof(t), u.total),
	        store_path(store));
	return EXIT_OK;
}

static void report_pruned(
        void *ctx, const char *kind, const char *id, uint64_t bytes, const char *why)
{
	char size[16];
	const bool *quiet = ctx;
	if (!*quiet)
		printf("%-8s %-24.24s %10s  %s\n", kind, id, human_size(size, sizeof(size), bytes),
		        why);
}

/* parse_age - Go-like durations: 24h, 30m, 7d. */
static bool parse_age(const char *s, int64_t *ret)
{
	char *end;
	double v = strtod(s, &end);
	static const struct {
		const char *unit;
		double sec;
	} units[] = {{"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}, {"w", 604800}};
	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (end != s && v >= 0 && str_eq(end, units[i].unit)) {
			*ret = (int64_t)(v * units[i].sec);
			return true;
		}
	return false;
}

int cmd_prune(int argc, char **argv)
{
	struct store_prune_options o = {0};
	bool quiet = false, all = false, force = false;
	const char *older = NULL;
	struct strv words = STRV_INIT;
	const struct cli_option options[] = {
	        {"all", 'a', CLI_BOOL, &all, NULL, "images and cache mounts too: empty the store"},
	        {"dry-run", 0, CLI_BOOL, &o.dry_run, NULL,
	                "say what would go, and why; remove nothing"},
	        {"keep", 0, CLI_SIZE, &o.keep_bytes, "SIZE",
	                "oldest first, only until the store is not larger than this"},
	        {"older-than", 0, CLI_STR, &older, "AGE",
	                "only what was not used for 24h, 7d, ..."},
	        {"cache-mount", 0, CLI_STR, &o.cache_id, "ID", "only this RUN --mount=type=cache"},
	        {"quiet", 'q', CLI_BOOL, &quiet, NULL, "print the total only"},
	        {"force", 'f', CLI_BOOL, &force, NULL,
	                "accepted for docker's sake: prune never asks"},
	        {0},
	};
	struct error err = ERROR_INIT;
	_cleanup_(cli_store_close) struct store *store = NULL;
	uint64_t freed = 0;
	int rc = cli_parse(argc, argv, options, false, &words, &err);
	if (rc > 0) {
		cli_help("prune", "[OPTIONS]",
		        "Remove what no image and no running build uses: cached steps, unused "
		        "layers,\n"
		        "downloaded blobs. Builds that run meanwhile are not "
		        "disturbed.",
		        options, NULL);
		strv_release(&words);
		return EXIT_OK;
	}
	if (rc >= 0 && words.n)
		rc = err_set(&err, ERR_USAGE, "prune takes no arguments");
	if (rc >= 0 && older && !parse_age(older, &o.older_than))
		rc = err_set(&err, ERR_USAGE, "--older-than %s: 30m, 24h, 7d is expected", older);
	strv_release(&words);
	if (rc < 0)
		return cli_usage_error("prune", &err);
	o.all = all;
	o.images = all;
	o.report = report_pruned;
	o.ctx = &quiet;
	if (cli_store(&store, &err) < 0 || cli_enter(store, &err) < 0 ||
	        store_prune(store, &o, &freed, &err) < 0)
		return cli_report(&err);
	char size[16];
	printf("%s: %s\n", o.dry_run ? "Would reclaim" : "Total reclaimed space",
	        human_size(size, sizeof(size), freed));
	return EXIT_OK;
}

static void report_problem(void *ctx, const char *what, const char *problem)
{
	(void)ctx;
	_cleanup_free_ char *w = human_escape(what, strlen(what), false);
	_cleanup_free_ char *p = human_escape(problem, strlen(problem), false);
	printf("%s: %s\n", w, p);
}

int cmd_fsck(int argc, char **argv)
{
	bool repair = false, quick = false;
	struct strv words = STRV_INIT;
	const struct cli_option options[] = {
	        {"repair", 0, CLI_BOOL, &repair, NULL,
	                "set damaged things aside; builds make them anew"},
	        {"quick", 0, CLI_BOOL, &quick, NULL, "names and manifests only, no file content"},
	        {0},
	};
	struct error err = ERROR_INIT;
	_cleanup_(cli_store_close) struct store *store = NULL;
	int rc = cli_parse(argc, argv, options, false, &words, &err);
	strv_release(&words);
	if (rc > 0) {
		cli_help("fsck", "[OPTIONS]", "Check every byte of the store.", options,
		        "Exit code: 0 clean, 1 problems found.\n");
		return EXIT_OK;
	}
	if (rc < 0)
		return cli_usage_error("fsck", &err);
	if (cli_store(&store, &err) < 0 || cli_enter(store, &err) < 0)
		return cli_report(&err);
	rc = store_fsck(store, repair, quick, report_problem, NULL, &err);
	if (rc < 0)
		return cli_report(&err);
	if (rc == 0)
		printf("clean: %s\n", store_path(store));
	else
		printf("%d problem%s%s\n", rc, rc == 1 ? "" : "s",
		        repair ? ", set aside" : "; strake fsck --repair sets them aside");
	return rc ? EXIT_FAILED : EXIT_OK;
}
