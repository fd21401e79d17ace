/* Unit tests of store/: the collector, sizes, cache mounts, builds and logs. */
#include "support.h"

struct seen {
	int n, layers, blobs, caches, set_aside;
	uint64_t bytes;
};

static void note(void *ctx, const char *kind, const char *id, uint64_t bytes, const char *why)
{
	struct seen *s = ctx;
	s->n++;
	s->layers += strcmp(kind, "layer") == 0;
	s->blobs += strcmp(kind, "blob") == 0;
	s->caches += strcmp(kind, "cache") == 0;
	s->set_aside += strcmp(kind, "quarantine") == 0;
	s->bytes += bytes;
}

static struct seen prune(struct store *s, struct store_prune_options o, uint64_t *ret_freed)
{
	struct error err = ERROR_INIT;
	struct seen seen = {0};
	uint64_t freed = 0;
	o.report = note;
	o.ctx = &seen;
	must(store_prune(s, &o, &freed, &err), &err, "prune");
	if (ret_freed)
		*ret_freed = freed;
	return seen;
}

static int count_problems(struct store *s, bool quick)
{
	struct error err = ERROR_INIT;
	int n = store_fsck(s, false, quick, NULL, NULL, &err);
	must(n, &err, "fsck");
	return n;
}

static void set_used(const char *table, int64_t used)
{
	char path[128], text[128];
	sqlite3 *h = NULL;
	snprintf(path, sizeof(path), "%s/meta.db", test_dir);
	snprintf(text, sizeof(text), "UPDATE %s SET used=%lld", table, (long long)used);
	must(-sqlite3_open(path, &h), &ERROR_INIT, path);
	must(-sqlite3_exec(h, text, NULL, NULL, NULL), &ERROR_INIT, text);
	sqlite3_close(h);
}

static void test_pins(void)
{
	struct error err = ERROR_INIT;
	struct store *s = open_store();
	struct store_lease *l = new_lease(s);
	struct digest kept = put_layer(s, l, "kept"), blob;
	must(store_blob_put(s, l, "kept blob", 9, &blob, &err), &err, "put");
	struct store_lease *l2 = new_lease(s);
	struct digest gone = put_layer(s, l2, "gone");
	store_lease_free(l2);

	struct seen seen = prune(s, (struct store_prune_options){.dry_run = true}, NULL);
	is_int(seen.layers, 1, "a dry run names what would go");
	is_int(has_layer(s, &gone, 0), 1, "and leaves it");

	seen = prune(s, (struct store_prune_options){0}, NULL);
	is_int(seen.layers, 1, "a layer that nobody holds goes");
	is_int(seen.blobs, 0, "a pinned blob stays");
	is_int(has_layer(s, &gone, 0), 0, "it is gone");
	is_int(has_layer(s, &kept, STORE_LAYER_TREE), 1, "what a lease published stays");

	/* Another process's collector honours our pins; a look-up pins as publishing does. */
	store_lease_free(l);
	l = new_lease(s);
	const struct store_layer *layer;
	is_int(store_layer_get(s, l, &kept, 0, &layer, &err), 1, "looked up under a lease");
	pid_t pid = fork();
	if (pid == 0) {
		struct store *c = open_store();
		prune(c, (struct store_prune_options){.all = true, .images = true}, NULL);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	is_int(has_layer(s, &kept, STORE_LAYER_FD), 1, "what a lease looked up stays");
	ok(!store_blob_has(s, &blob, NULL), "what it did not goes");
	store_lease_free(l);
	seen = prune(s, (struct store_prune_options){0}, NULL);
	is_int(seen.layers, 1, "without leases all goes");
	is_int(entries_in("layers"), 0, "layers is empty");
	is_int(entries_in("staging"), 0, "and so is staging");
	is_int(count_problems(s, false), 0, "fsck finds nothing");
	store_free(s);
}

static void test_records_follow(void)
{
	struct error err = ERROR_INIT;
	struct store *s = open_store();
	struct store_lease *keep = new_lease(s), *drop = new_lease(s);
	struct digest a = put_layer(s, keep, "a"), b = put_layer(s, drop, "b");
	struct digest ka = name_digest("ka"), kb = name_digest("kb"), kc = name_digest("kc");
	char text[128], str[DIGEST_STR_MAX], *got = NULL;
	snprintf(text, sizeof(text), "{\"layer\":\"%s\"}", digest_str(&a, str));
	must(store_record_put(s, "step", &ka, text, &err), &err, "put");
	snprintf(text, sizeof(text), "{\"layer\":\"%s\"}", digest_str(&b, str));
	must(store_record_put(s, "step", &kb, text, &err), &err, "put");
	must(store_record_put(s, "http", &kc, "{\"etag\":\"x\"}", &err), &err, "put");
	store_lease_free(drop);
	prune(s, (struct store_prune_options){0}, NULL);
	is_int(store_record_get(s, "step", &ka, &got, &err), 1, "a record of a kept layer stays");
	free(got);
	is_int(store_record_get(s, "step", &kb, &got, &err), 0, "one of a removed layer goes");
	is_int(store_record_get(s, "http", &kc, &got, &err), 1, "one of no layer stays");
	free(got);
	prune(s, (struct store_prune_options){.all = true}, NULL);
	is_int(store_record_get(s, "step", &ka, &got, &err), 1, "even with all, if its layer does");
	free(got);
	is_int(store_record_get(s, "http", &kc, &got, &err), 0, "the other goes with all");
	store_lease_free(keep);
	store_free(s);
	remove_path(test_dir);
}

static void test_age_and_limit(void)
{
	struct error err = ERROR_INIT;
	struct store *s = open_store();
	struct store_lease *l = new_lease(s);
	struct digest d[4];
	char big[4][70000];
	for (int i = 0; i < 4; i++) {
		memset(big[i], 'a' + i, sizeof(big[i]) - 1);
		big[i][sizeof(big[i]) - 1] = '\0';
		must(store_blob_put(s, l, big[i], sizeof(big[i]) - 1, &d[i], &err), &err, "put");
	}
	store_lease_free(l);
	int64_t now = store_now();
	set_used("blobs", now - 5000);
	struct seen seen = prune(s, (struct store_prune_options){.older_than = 6000}, NULL);
	is_int(seen.n, 0, "nothing is old enough");

	/* d[2] was used longest ago, d[0] next. */
	char path[128], hex[DIGEST_HEX_MAX];
	snprintf(path, sizeof(path), "%s/meta.db", test_dir);
	sqlite3 *h = NULL;
	must(-sqlite3_open(path, &h), &err, path);
	for (int i = 0; i < 4; i++) {
		static const int ages[] = {3000, 100, 4000, 50};
		char text[200];
		snprintf(text, sizeof(text), "UPDATE blobs SET used=%lld WHERE digest=x'%s'",
		        (long long)(now - ages[i]), digest_hex(&d[i], hex));
		must(-sqlite3_exec(h, text, NULL, NULL, NULL), &err, text);
	}
	sqlite3_close(h);
	uint64_t freed = 0;
	seen = prune(s, (struct store_prune_options){.keep_bytes = 160000}, &freed);
	is_int(seen.blobs, 2, "as many go as the limit asks for");
	ok(!store_blob_has(s, &d[2], NULL) && !store_blob_has(s, &d[0], NULL),
	        "those that were used longest ago");
	ok(store_blob_has(s, &d[1], NULL) && store_blob_has(s, &d[3], NULL), "the others stay");
	ok(freed >= 2 * 69999 && freed == seen.bytes, "the freed bytes are told");

	/* A clock that went back: used in the future is not old. */
	set_used("blobs", now + 100000);
	seen = prune(s, (struct store_prune_options){.older_than = 10}, NULL);
	is_int(seen.n, 0, "a use in the future counts as now");
	store_free(s);
	remove_path(test_dir);
}

static void test_hard_links(void)
{
	struct error err = ERROR_INIT;
	struct store *s = open_store();
	struct store_lease *l = new_lease(s);
	char *big = malloc(1 << 20);
	memset(big, 'x', 1 << 20);
	big[(1 << 20) - 1] = '\0';
	struct digest a = put_layer(s, l, big);
	/* A second layer whose file is the first's, as COPY --from makes it. */
	struct tree t = TREE_INIT;
	char *name = stage(l, "second", &t);
	char from[256], to[256], hex[DIGEST_HEX_MAX];
	snprintf(from, sizeof(from), "%s/layers/%s/tree/dir/file", test_dir, digest_hex(&a, hex));
	snprintf(to, sizeof(to), "%s/staging/%s/%s/tree/dir/file", test_dir, l->id, name);
	must(unlink(to) < 0 ? -errno : 0, &err, to);
	must(link(from, to) < 0 ? -errno : 0, &err, to);
	struct digest b = name_digest("b");
	const struct store_layer *layer;
	must(store_layer_publish(s, l, name, &t, &b, 1, true, &layer, &err), &err, "publish");
	free(name);
	free(big);
	tree_release(&t);

	struct store_usage u;
	must(store_usage(s, &u, &err), &err, "usage");
	is_int(u.n_layers, 2, "two layers");
	ok(u.layers > (1 << 20) && u.layers < (1 << 20) + 200000, "the shared file counts once");
	store_lease_free(l);

	l = new_lease(s);
	must(store_layer_get(s, l, &b, 0, &layer, &err), &err, "pin");
	uint64_t freed = 0;
	struct seen seen = prune(s, (struct store_prune_options){0}, &freed);
	is_int(seen.layers, 1, "one of them goes");
	ok(freed < 200000, "and frees nothing of what the other still holds");
	store_lease_free(l);
	prune(s, (struct store_prune_options){0}, &freed);
	ok(freed > (1 << 20), "the last one frees the bytes");
	store_free(s);
}

static void test_cache_mounts(void)
{
	struct error err = ERROR_INIT;
	struct store *s = open_store();
	int fd = -1, lock = -1, fd2 = -1, lock2 = -1;
	bool made = false;
	must(store_cache_mount(s, "../../etc", "locked", &fd, &lock, &made, &err), &err, "mount");
	ok(made, "a cache mount is made");
	is_int(entries_in("mounts"), 1, "inside the store, whatever its id is");
	put_file(fd, "package", "bytes");
	must(store_cache_mount(s, "../../etc", "private", &fd2, &lock2, &made, &err), &err,
	        "mount");
	ok(made && faccessat(fd2, "package", F_OK, 0) < 0, "private gets its own when in use");
	struct store_prune_options o = {.cache_id = "../../etc"};
	uint64_t freed;
	is_int(store_prune(s, &o, &freed, &err), -1, "one in use is not removed");
	is_int(err.class, ERR_USAGE, "and that is said");
	error_release(&err);
	struct seen seen = prune(s, (struct store_prune_options){.all = true}, NULL);
	is_int(seen.caches, 0, "neither by prune --all");
	close(fd);
	close(lock);
	close(fd2);
	close(lock2);

	int fd3 = -1, lock3 = -1;
	must(store_cache_mount(s, "../../etc", "shared", &fd, &lock, &made, &err), &err, "mount");
	ok(!made && faccessat(fd, "package", F_OK, 0) == 0, "its content is found again");
	must(store_cache_mount(s, "../../etc", "shared", &fd3, &lock3, &made, &err), &err, "mount");
	ok(!made, "shared by many");
	close(fd);
	close(lock);
	close(fd3);
	close(lock3);
	is_int(store_cache_mount(s, "x", "sometimes", &fd, &lock, &made, &err), -1,
	        "an unknown sharing is an error");
	error_release(&err);

	seen = prune(s, (struct store_prune_options){0}, NULL);
	is_int(seen.caches, 0, "a plain prune leaves cache mounts");
	seen = prune(s, o, &freed);
	is_int(seen.caches, 1, "naming one removes it");
	is_int(entries_in("mounts"), 0, "wholly");
	is_int(store_prune(s, &o, &freed, &err), -1, "once");
	is_int(err.class, ERR_NOT_FOUND, "then it is not found");
	error_release(&err);
	store_free(s);
}

/* touch_index - a file of cache/ that was used that many seconds ago. */
static void touch_index(struct store *s, const char *name, int64_t age)
{
	int dir = store_cache_dirfd(s);
	struct timespec ts = {.tv_sec = time(NULL) - age};
	put_file(dir, name, "x");
	must(utimensat(dir, name, (struct timespec[]){ts, ts}, 0), &ERROR_INIT, name);
}

static void test_indexes(void)
{
	struct store *s = open_store();
	touch_index(s, "stat-1-1", 31 * 86400);
	touch_index(s, "stat-1-2", 29 * 86400);
	touch_index(s, "files-1", 31 * 86400);
	touch_index(s, "stat-1-2.77.tmp", 7200);
	touch_index(s, "stat-1-2.78.tmp", 60);
	struct seen seen = prune(s, (struct store_prune_options){.kinds = STORE_KIND_LAYER}, NULL);
	is_int(seen.n, 0, "what is not of the kinds asked for stays");
	seen = prune(s, (struct store_prune_options){.keep_bytes = 1 << 30}, NULL);
	is_int(seen.n, 3, "stale indexes and old temporary files go, whatever is to be kept");
	is_int(entries_in("cache"), 2, "the others stay");
	seen = prune(s, (struct store_prune_options){.kinds = STORE_KIND_INDEX}, NULL);
	is_int(entries_in("cache"), 0, "naming the kind asks for all of it");
	store_free(s);
}

static void test_kinds(void)
{
	struct error err = ERROR_INIT;
	struct store *s = open_store();
	int fd, lock;
	bool made;
	must(store_cache_mount(s, "c", "shared", &fd, &lock, &made, &err), &err, "mount");
	close(fd);
	close(lock);
	struct store_lease *l = new_lease(s);
	struct digest blob;
	put_layer(s, l, "a");
	must(store_blob_put(s, l, "b", 1, &blob, &err), &err, "blob");
	store_lease_free(l);
	struct seen seen = prune(s, (struct store_prune_options){.kinds = STORE_KIND_BLOB}, NULL);
	is_int(seen.blobs, 1, "only blobs");
	is_int(seen.n, 1, "and nothing else");
	seen = prune(s, (struct store_prune_options){.kinds = STORE_KIND_CACHE}, NULL);
	is_int(seen.caches, 1, "naming cache mounts asks for them");
	is_int(seen.n, 1, "the layer stays");
	prune(s, (struct store_prune_options){0}, NULL);
	store_free(s);
}

static void note_item(void *ctx, const struct store_item *it)
{
	struct seen *seen = ctx;
	seen->n += (int)it->in_use;
	seen->layers += strcmp(it->kind, "layer") == 0;
	if (it->what)
		seen->caches += strcmp(it->what, "[1/1] COPY a /") == 0;
	seen->bytes += it->shared;
}

/* The ceiling: nothing happens below it; above it what was used longest ago goes, and what cannot
 * be made smaller is not tried at every build. */
static void test_collect(void)
{
	struct error err = ERROR_INIT;
	struct store *s = open_store();
	struct store_lease *old = new_lease(s), *held = new_lease(s);
	char big[50001];
	memset(big, 'o', sizeof(big) - 1);
	big[50000] = '\0';
	struct digest a = put_layer(s, old, big), key = name_digest("key");
	set_used("layers", time(NULL) - 100);
	memset(big, 'h', sizeof(big) - 1);
	struct digest b = put_layer(s, held, big);
	char text[256], str[DIGEST_STR_MAX];
	snprintf(text, sizeof(text), "{\"diff_id\":\"%s\"}", digest_str(&a, str));
	must(store_record_put(s, "step", &key, text, &err), &err, "put");
	must(store_record_put(s, "parts", &key, "{\"name\":\"[1/1] COPY a /\"}", &err), &err,
	        "put");
	store_lease_free(old);
	struct seen seen = {0};
	must(store_list(s, note_item, &seen, &err), &err, "list");
	is_int(seen.layers, 2, "both are listed");
	is_int(seen.n, 1, "one of them is in use");
	is_int(seen.caches, 1, "the other by its step");
	is_int(seen.bytes, 0, "they share nothing");

	uint64_t freed = 1;
	must(store_collect(s, 0, &freed, &err), &err, "no limit");
	is_int(freed, 0, "does nothing");
	must(store_collect(s, 1 << 20, &freed, &err), &err, "below it");
	is_int(freed, 0, "does nothing");
	must(store_collect(s, 90000, &freed, &err), &err, "above it");
	ok(freed > 50000 && freed < 100000, "one layer goes");
	is_int(has_layer(s, &a, 0), 0, "the older one");
	is_int(has_layer(s, &b, 0), 1, "not the one that is held");
	must(store_collect(s, 1000, &freed, &err), &err, "too small a limit");
	is_int(freed, 0, "nothing can go");
	store_lease_free(held);
	must(store_collect(s, 1000, &freed, &err), &err, "at once again");
	is_int(freed, 0, "is not tried");
	char path[128];
	snprintf(path, sizeof(path), "%s/prune.lock", test_dir);
	struct timespec ts = {.tv_sec = time(NULL) - 3601};
	must(utimensat(AT_FDCWD, path, (struct timespec[]){ts, ts}, 0), &err, path);
	must(store_collect(s, 1000, &freed, &err), &err, "an hour later");
	ok(freed > 50000, "it is");
	store_free(s);
}

static void test_builds(void)
{
	struct error err = ERROR_INIT;
	struct store *s = open_store();
	for (int i = 0; i < 305; i++) {
		char id[16];
		int fd = -1;
		snprintf(id, sizeof(id), "b%03d", i);
		must(store_log_open(s, id, "1", &fd, &err), &err, "log");
		close(fd);
		char row[64];
		snprintf(row, sizeof(row), "{\"id\":\"%s\",\"started\":%d000}", id, i + 1);
		must(store_build_put(s, row, true, &err), &err, "build");
	}
	_cleanup_strv_ struct strv rows = STRV_INIT;
	must(store_builds(s, &rows, &err), &err, "list");
	is_int(rows.n, 204, "builds are dropped by the hundred");
	ok(str_eq(rows.v[0], "{\"id\":\"b101\",\"started\":102000}"), "the oldest first");
	is_int(entries_in("logs"), 205, "their logs, and the history's file");
	char path[128];
	snprintf(path, sizeof(path), "%s/logs/b100", test_dir);
	ok(access(path, F_OK) < 0, "an old one is gone");
	snprintf(path, sizeof(path), "%s/logs/b101/1.log", test_dir);
	ok(access(path, F_OK) == 0, "a newer one is there");
	int fd;
	is_int(store_log_read(s, "b101", "1", &fd, &err), 0, "its log can be read");
	close(fd);
	is_int(store_log_read(s, "b100", "1", &fd, &err), -1, "the dropped one's cannot");
	is_int(err.class, ERR_NOT_FOUND, "as not found");
	error_release(&err);
	/* Torn by a power loss: the row behind it is whole. */
	snprintf(path, sizeof(path), "%s/logs/builds.jsonl", test_dir);
	FILE *f = fopen(path, "ae");
	fputs("\n{\"id\":\"to", f);
	fclose(f);
	must(store_build_put(s, "{\"id\":\"whole\",\"started\":1000000}", false, &err), &err,
	        "put");
	strv_release(&rows);
	rows = STRV_INIT;
	must(store_builds(s, &rows, &err), &err, "list");
	ok(rows.n == 206 && str_starts(rows.v[205], "{\"id\":\"whole\""),
	        "a torn line spoils no other");
	unsigned dropped = 0;
	/* Lines of megabytes: the file stays within its bounds, and the last one is kept. */
	char *big = malloc((5 << 20) + 1);
	memset(big, 'x', 5 << 20);
	big[5 << 20] = '\0';
	_cleanup_free_ char *huge =
	        xasprintf("{\"id\":\"huge\",\"started\":1000000,\"x\":\"%s\"}", big);
	free(big);
	must(store_build_put(s, huge, false, &err), &err, "put");
	must(store_build_put(s, huge, false, &err), &err, "put");
	strv_release(&rows);
	rows = STRV_INIT;
	must(store_builds(s, &rows, &err), &err, "list");
	is_int(rows.n, 1, "a history of megabytes is cut");
	must(store_builds_trim(s, 0, 0, NULL, &err), &err, "all");
	for (int i = 0; i < 206; i++)
		must(store_build_put(s, "{\"id\":\"x\",\"started\":1000}", false, &err), &err,
		        "put");
	must(store_builds_trim(s, 10, 0, &dropped, &err), &err, "trim");
	is_int(dropped, 196, "all but the last are dropped");
	is_int(store_log_open(s, "../x", "1", &fd, &err), -1, "a build id is a name, not a path");
	error_release(&err);
	store_free(s);
}

static void test_fsck(void)
{
	struct error err = ERROR_INIT;
	struct store *s = open_store();
	struct store_lease *l = new_lease(s);
	struct digest a = put_layer(s, l, "healthy"), b = put_layer(s, l, "sick"), c, d;
	must(store_blob_put(s, l, "good blob", 9, &c, &err), &err, "put");
	must(store_blob_put(s, l, "bad blob", 8, &d, &err), &err, "put");
	is_int(count_problems(s, false), 0, "a healthy store has no problem");
	char path[256], hex[DIGEST_HEX_MAX];
	snprintf(path, sizeof(path), "%s/layers/%s/tree/dir/file", test_dir, digest_hex(&b, hex));
	must(chmod(path, 0600) < 0 ? -errno : 0, &err, path);
	is_int(count_problems(s, true), 0, "a quick check does not look at files");
	is_int(count_problems(s, false), 1, "a full one sees a changed mode");
	snprintf(path, sizeof(path), "%s/blobs/sha256/%s", test_dir, digest_hex(&d, hex));
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 && chmod(path, 0600) == 0)
		fd = open(path, O_WRONLY | O_CLOEXEC);
	must(fd, &err, path);
	must(sys_write_all(fd, "BAD", 3), &err, path);
	close(fd);
	is_int(count_problems(s, false), 2, "and a changed blob");
	is_int(store_fsck(s, true, false, NULL, NULL, &err), 2, "repair finds the same");
	is_int(count_problems(s, false), 0, "and sets them aside");
	is_int(has_layer(s, &a, 0), 1, "the healthy stay");
	is_int(has_layer(s, &b, 0), 0, "the sick are absent");
	ok(store_blob_has(s, &c, NULL) && !store_blob_has(s, &d, NULL), "blobs as well");
	struct seen seen = prune(s, (struct store_prune_options){0}, NULL);
	is_int(seen.set_aside, 2, "prune empties the quarantine");
	store_lease_free(l);
	store_free(s);
}

int main(void)
{
	make_test_dir();
	test_pins();
	test_records_follow();
	test_age_and_limit();
	test_hard_links();
	test_cache_mounts();
	test_indexes();
	test_kinds();
	test_collect();
	test_builds();
	test_fsck();
	remove_test_dir();
	return tap_done();
}
