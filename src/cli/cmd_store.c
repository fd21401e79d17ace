/* cli/cmd_store.c - du, prune, fsck. */
#include "cli/cli.h"

#include <stdio.h>

#include "base/human.h"
#include "cli/table.h"
#include "codec/json.h"
#include "sys/privilege.h"

/* --- kinds and ages -------------------------------------------------------------------------- */

/* Our names, and those that docker builder prune --filter type= has for the same. */
static const struct {
	const char *name;
	unsigned kinds;
} kinds[] = {
        {"image", STORE_KIND_IMAGE},
        {"layer", STORE_KIND_LAYER},
        {"blob", STORE_KIND_BLOB},
        {"cache-mount", STORE_KIND_CACHE},
        {"index", STORE_KIND_INDEX},
        {"quarantine", STORE_KIND_SET_ASIDE},
        {"regular", STORE_KIND_LAYER | STORE_KIND_BLOB},
        {"exec.cachemount", STORE_KIND_CACHE},
        {"source.local", STORE_KIND_INDEX},
        {"internal", STORE_KIND_INDEX | STORE_KIND_SET_ASIDE},
};

static unsigned kind_of(const char *report_name)
{
	static const struct {
		const char *name;
		unsigned kind;
	} names[] = {{"layer", STORE_KIND_LAYER}, {"blob", STORE_KIND_BLOB},
	        {"cache", STORE_KIND_CACHE}, {"quarantine", STORE_KIND_SET_ASIDE}};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (str_eq(names[i].name, report_name))
			return names[i].kind;
	return STORE_KIND_INDEX;
}

static int parse_kind(const char *s, unsigned *ret, struct error *err)
{
	const char *names[ARRAY_SIZE(kinds)];
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		names[i] = kinds[i].name;
		if (str_eq(kinds[i].name, s)) {
			*ret |= kinds[i].kinds;
			return 0;
		}
	}
	(void)err_set(err, ERR_USAGE, "--filter type=%s: there is no such kind", s);
	const char *near = human_nearest(s, names, ARRAY_SIZE(names));
	return near ? err_hint(err, "did you mean type=%s?", near)
	            : err_hint(err, "image, layer, blob, cache-mount, index or quarantine");
}

/* parse_age - Go-like durations: 24h, 1h30m, 7d. */
static bool parse_age(const char *s, int64_t *ret)
{
	static const struct {
		char unit;
		double sec;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}};
	double sum = 0;
	if (!*s)
		return false;
	while (*s) {
		char *end;
		double v = strtod(s, &end), unit = 0;
		for (size_t i = 0; i < ARRAY_SIZE(units); i++)
			if (*end == units[i].unit)
				unit = units[i].sec;
		if (end == s || !(v >= 0) || unit == 0)
			return false;
		sum += v * unit;
		s = end + 1;
	}
	if (sum > 1e12)
		return false;
	*ret = (int64_t)sum;
	return true;
}

struct filter {
	unsigned kinds;
	int64_t older_than;
	const char *id;
};

static int parse_filters(const struct strv *v, struct filter *f, struct error *err)
{
	for (size_t i = 0; i < v->n; i++) {
		const char *s = v->v[i];
		if (str_starts(s, "until=")) {
			if (!parse_age(s + 6, &f->older_than))
				return err_set(
				        err, ERR_USAGE, "--filter %s: 30m, 24h, 7d is expected", s);
		} else if (str_starts(s, "type=")) {
			if (parse_kind(s + 5, &f->kinds, err) < 0)
				return -1;
		} else if (str_starts(s, "id=")) {
			f->id = s + 3;
		} else {
			(void)err_set(err, ERR_USAGE, "--filter %s is not known", s);
			return err_hint(err, "until=AGE, type=KIND and id=CACHE-MOUNT are");
		}
	}
	return 0;
}

/* --- du -------------------------------------------------------------------------------------- */

struct du {
	bool verbose;
	unsigned kinds;
	struct table table;
	json_t *json; /* array, or NULL */
};

static void list_item(void *ctx, const struct store_item *it)
{
	struct du *d = ctx;
	if (d->kinds && !(d->kinds & kind_of(it->kind)))
		return;
	if (d->json) {
		json_t *j = json_pack("{s:s,s:o,s:I,s:I,s:I,s:b}", "kind", it->kind, "id",
		        json_str(it->id), "unique", (json_int_t)it->unique, "shared",
		        (json_int_t)it->shared, "used", (json_int_t)it->used, "in_use",
		        (int)it->in_use);
		if (it->what)
			json_object_set_new(j, "what", json_str(it->what));
		json_array_append_new(d->json, j);
		return;
	}
	char unique[16], shared[16], ago[64];
	bool digest = str_starts(it->id, "sha256:");
	_cleanup_free_ char *id = digest ? xasprintf("%.19s", it->id) : xstrdup(it->id);
	const char *cells[] = {it->kind, id, human_size(unique, sizeof(unique), it->unique),
	        human_size(shared, sizeof(shared), it->shared), it->in_use ? "yes" : "",
	        cli_ago(it->used, ago, sizeof(ago)), str_or_empty(it->what)};
	table_row(&d->table, cells);
}

static void print_usage(
        const struct store *store, const struct store_usage *u, uint64_t free_able, uint64_t limit)
{
	char size[16];
	const struct {
		const char *kind;
		uint64_t n, bytes;
	} rows[] = {{"layers", u->n_layers, u->layers}, {"blobs", u->n_blobs, u->blobs},
	        {"caches", u->n_caches, u->caches}, {"containers", u->n_containers, u->containers},
	        {"volumes", u->n_volumes, u->volumes}};
	printf("%-10s %8s   %s\n", "KIND", "COUNT", "SIZE");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		printf("%-10s %8llu   %s\n", rows[i].kind, (unsigned long long)rows[i].n,
		        human_size(size, sizeof(size), rows[i].bytes));
	printf("%-10s %8s   %s\n", "other", "", human_size(size, sizeof(size), u->other));
	printf("%-10s %8s   %s   (%s)\n", "total", "", human_size(size, sizeof(size), u->total),
	        store_path(store));
	printf("\nstrake prune would free %s", human_size(size, sizeof(size), free_able));
	if (limit)
		printf("; builds keep the store below %s", human_size(size, sizeof(size), limit));
	printf(".\n");
}

static json_t *usage_json(const struct store_usage *u, uint64_t free_able)
{
	return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "layers", (json_int_t)u->layers,
	        "blobs", (json_int_t)u->blobs, "caches", (json_int_t)u->caches, "containers",
	        (json_int_t)u->containers, "volumes", (json_int_t)u->volumes, "other",
	        (json_int_t)u->other, "total", (json_int_t)u->total, "reclaimable",
	        (json_int_t)free_able);
}

static int du(struct store *store, struct du *d, struct error *err)
{
	struct store_usage u;
	struct store_prune_options plain = {.dry_run = true};
	uint64_t free_able = 0, limit;
	if (cli_limit(store, &limit, err) < 0 || store_usage(store, &u, err) < 0 ||
	        store_prune(store, &plain, &free_able, err) < 0)
		return -1;
	static const char *const heads[] = {
	        "KIND", "ID", "SIZE", "SHARED", "IN USE", "LAST USED", "WHAT"};
	if (!d->json)
		table_row(&d->table, heads);
	if (d->verbose && store_list(store, list_item, d, err) < 0)
		return -1;
	if (d->json) {
		_cleanup_json_ json_t *j = usage_json(&u, free_able);
		if (d->verbose)
			json_object_set(j, "items", d->json);
		_cleanup_free_ char *text = json_pretty(j);
		printf("%s\n", text);
		return 0;
	}
	if (d->verbose) {
		table_print(&d->table);
		printf("\n");
	}
	print_usage(store, &u, free_able, limit);
	return 0;
}

int cmd_du(int argc, char **argv)
{
	struct du d = {.table = {.columns = 7}};
	const char *format = NULL;
	_cleanup_strv_ struct strv words = STRV_INIT, filters = STRV_INIT;
	const struct cli_option options[] = {
	        {"verbose", 'v', CLI_BOOL, &d.verbose, NULL,
	                "each layer, blob and cache mount: its own size, what it shares, last use"},
	        {"filter", 0, CLI_LIST, &filters, "type=KIND",
	                "with -v only these: layer, blob, cache-mount, index, quarantine"},
	        {"format", 0, CLI_STR, &format, "FMT", "text or json"},
	        {0},
	};
	struct error err = ERROR_INIT;
	_cleanup_(cli_store_close) struct store *store = NULL;
	struct filter f = {0};
	int rc = cli_parse(argc, argv, options, false, &words, &err);
	if (rc > 0) {
		cli_help("du", "[OPTIONS]", "Show what the store takes on disk, in real blocks.",
		        options,
		        "SIZE is what comes free if only that thing goes; files that layers share "
		        "(COPY --from\nlinks what it does not change) are in SHARED.\n");
		return EXIT_OK;
	}
	if (rc >= 0)
		rc = parse_filters(&filters, &f, &err);
	if (rc >= 0 && format && !str_eq(format, "json") && !str_eq(format, "text"))
		rc = err_set(&err, ERR_USAGE, "--format %s: text or json is expected", format);
	if (rc < 0)
		return cli_usage_error("du", &err);
	d.kinds = f.kinds;
	d.json = format && str_eq(format, "json") ? json_array() : NULL;
	/* Counting blocks means walking trees whose directories may belong to other ids. */
	rc = cli_store(&store, &err);
	if (rc >= 0)
		rc = cli_enter(store, &err);
	if (rc >= 0)
		rc = du(store, &d, &err);
	table_release(&d.table);
	json_decref(d.json);
	return rc < 0 ? cli_report(&err) : EXIT_OK;
}

/* --- prune ----------------------------------------------------------------------------------- */

static void report_pruned(
        void *ctx, const char *kind, const char *id, uint64_t bytes, const char *why)
{
	char size[16];
	const bool *quiet = ctx;
	_cleanup_free_ char *safe = human_escape(id, strlen(id), false);
	if (!*quiet)
		printf("%-10s %-24.24s %10s  %s\n", kind, safe,
		        human_size(size, sizeof(size), bytes), why);
}

/* prune_history - with --all the builds and their logs go as well. */
static int prune_history(
        struct store *s, const struct store_prune_options *o, bool quiet, struct error *err)
{
	unsigned dropped = 0;
	_cleanup_strv_ struct strv rows = STRV_INIT;
	if (o->dry_run) {
		if (store_builds(s, &rows, err) < 0)
			return -1;
		dropped = o->older_than ? 0 : (unsigned)rows.n;
	} else if (store_builds_trim(
	                   s, o->older_than ? SIZE_MAX : 0, o->older_than, &dropped, err) < 0) {
		return -1;
	}
	if (dropped && !quiet)
		printf("%-10s %-24u %10s  %s\n", "builds", dropped, "", "asked for");
	return 0;
}

int cmd_prune(int argc, char **argv)
{
	struct store_prune_options o = {0};
	bool quiet = false, all = false, force = false;
	const char *older = NULL;
	_cleanup_strv_ struct strv words = STRV_INIT, filters = STRV_INIT;
	const struct cli_option options[] = {
	        {"all", 'a', CLI_BOOL, &all, NULL,
	                "images, cache mounts and the history too: empty the store"},
	        {"dry-run", 0, CLI_BOOL, &o.dry_run, NULL,
	                "say what would go, and why; remove nothing"},
	        {"keep", 0, CLI_SIZE, &o.keep_bytes, "SIZE",
	                "oldest first, only until the store is not larger than this"},
	        {"keep-storage", 0, CLI_SIZE, &o.keep_bytes, "SIZE", "docker's name for --keep"},
	        {"filter", 0, CLI_LIST, &filters, "K=V",
	                "until=AGE; type=image|layer|blob|cache-mount|index; id=CACHE-MOUNT"},
	        {"older-than", 0, CLI_STR, &older, "AGE",
	                "only what was not used for 24h, 7d, ...: --filter until=AGE"},
	        {"cache-mount", 0, CLI_STR, &o.cache_id, "ID",
	                "only this RUN --mount=type=cache: --filter id=ID"},
	        {"quiet", 'q', CLI_BOOL, &quiet, NULL, "print the total only"},
	        {"force", 'f', CLI_BOOL, &force, NULL,
	                "accepted for docker's sake: prune never asks"},
	        {0},
	};
	struct error err = ERROR_INIT;
	_cleanup_(cli_store_close) struct store *store = NULL;
	struct filter f = {0};
	uint64_t freed = 0;
	int rc = cli_parse(argc, argv, options, false, &words, &err);
	if (rc > 0) {
		cli_help("prune", "[OPTIONS]",
		        "Remove what no image, no container and no running build uses: cached "
		        "steps, unused\n"
		        "layers, downloaded blobs. Builds that run meanwhile are not disturbed.",
		        options,
		        "strake du -v lists what there is; cache mounts by their ids.\n\n"
		        "Builds do this by themselves when the store is larger than half of its "
		        "file "
		        "system,\nor than STRAKE_KEEP (a size; 0: never): what was used longest "
		        "ago "
		        "goes, tagged images\nstay.\n\n"
		        "Examples:\n"
		        "  strake prune --dry-run\n"
		        "  strake prune --keep 20g\n"
		        "  strake prune --filter type=cache-mount --filter until=168h\n");
		return EXIT_OK;
	}
	if (rc >= 0 && words.n)
		rc = err_set(&err, ERR_USAGE, "prune takes no arguments");
	if (rc >= 0)
		rc = parse_filters(&filters, &f, &err);
	if (rc >= 0 && older && !parse_age(older, &f.older_than))
		rc = err_set(&err, ERR_USAGE, "--older-than %s: 30m, 24h, 7d is expected", older);
	if (rc < 0)
		return cli_usage_error("prune", &err);
	o.all = all;
	o.images = all || (f.kinds & STORE_KIND_IMAGE);
	o.kinds = f.kinds;
	o.older_than = f.older_than;
	if (f.id)
		o.cache_id = f.id;
	o.report = report_pruned;
	o.ctx = &quiet;
	if (cli_store(&store, &err) < 0 || cli_enter(store, &err) < 0 ||
	        store_prune(store, &o, &freed, &err) < 0)
		return cli_report(&err);
	if (all && !o.kinds && !o.cache_id && prune_history(store, &o, quiet, &err) < 0)
		return cli_report(&err);
	char size[16];
	printf("%s: %s\n", o.dry_run ? "Would reclaim" : "Total reclaimed space",
	        human_size(size, sizeof(size), freed));
	return EXIT_OK;
}

/* --- the ceiling ----------------------------------------------------------------------------- */

int cli_limit(const struct store *s, uint64_t *ret, struct error *err)
{
	const char *v = getenv("STRAKE_KEEP");
	if (!v || !*v) {
		*ret = store_default_limit(s);
		return 0;
	}
	if (!human_parse_size(v, ret))
		return err_set(err, ERR_USAGE,
		        "STRAKE_KEEP=%s: a size is expected: 20g, or 0 for no limit", v);
	return 0;
}

void cli_collect(struct store *s, uint64_t limit, bool quiet)
{
	_cleanup_error_ struct error err = ERROR_INIT;
	uint64_t freed = 0;
	char size[16];
	/* Only a build that wrote something can have made the store too large. */
	if (!sys_privilege_entered())
		return;
	if (store_collect(s, limit, &freed, &err) < 0)
		fprintf(stderr, "WARNING: keeping the store small: %s\n", err.msg);
	else if (freed && !quiet)
		fprintf(stderr,
		        "removed %s that was used longest ago: the store was over its limit\n",
		        human_size(size, sizeof(size), freed));
}

/* --- fsck ------------------------------------------------------------------------------------ */

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
