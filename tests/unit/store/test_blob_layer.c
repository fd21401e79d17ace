/* Unit tests of store/: blobs, layers, records, leases; damage to each of them. */
#include "support.h"

static void path_in(char *buf, size_t n, const char *dir, const struct digest *d, const char *sub)
{
	char hex[DIGEST_HEX_MAX];
	snprintf(buf, n, "%s/%s/%s%s", test_dir, dir, digest_hex(d, hex), sub);
}

static void overwrite(const char *path, const char *text)
{
	struct stat st;
	must(stat(path, &st), &ERROR_INIT, path);
	chmod(path, 0600);
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	must(fd, &ERROR_INIT, path);
	must(sys_write_all(fd, text, strlen(text)), &ERROR_INIT, path);
	must(fchmod(fd, st.st_mode & 07777), &ERROR_INIT, path);
	close(fd);
}

static void test_default_path(void)
{
	struct error err = ERROR_INIT;
	setenv("STRAKE_STORE", "/somewhere", 1);
	char *p = store_default_path(&err);
	is_str(p, "/somewhere", "STRAKE_STORE wins");
	free(p);
	unsetenv("STRAKE_STORE");
	if (geteuid() == 0) {
		p = store_default_path(&err);
		is_str(p, "/var/lib/strake", "root has one for the machine");
		free(p);
	}
}

static void test_foreign_dir(void)
{
	struct error err = ERROR_INIT;
	struct store *s = NULL;
	char path[128];
	snprintf(path, sizeof(path), "%s/foreign", test_dir);
	must(mkdir(path, 0700), &err, path);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	put_file(fd, "letter.txt", "dear");
	close(fd);
	is_int(store_open(path, &s, &err), -1, "a directory of something else is refused");
	is_int(err.class, ERR_USAGE, "as a usage error");
	ok(strstr(err.msg, "letter.txt"), "that names what is there");
	error_release(&err);
	remove_path(path);
}

static void test_blobs(void)
{
	struct error err = ERROR_INIT;
	struct store *s = open_store();
	struct store_lease *l = new_lease(s);
	struct digest d, e = name_digest("hello");
	uint64_t size = 0;
	char str[DIGEST_STR_MAX];

	ok(!store_blob_has(s, &e, &size), "an empty store has no blob");
	must(store_blob_put(s, l, "hello", 5, &d, &err), &err, "put");
	is_str(digest_str(&d, str),
	        "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
	        "a blob is named by its sha256");
	ok(store_blob_has(s, &d, &size), "it is there");
	is_int(size, 5, "with its size");
	char *p = NULL;
	size_t n = 0;
	must(store_blob_read_all(s, &d, 100, &p, &n, &err), &err, "read");
	ok(n == 5 && memcmp(p, "hello", 5) == 0, "and its bytes");
	free(p);
	is_int(store_blob_read_all(s, &d, 4, &p, &n, &err), -1, "larger than allowed is an error");
	error_release(&err);

	uint64_t got_size = 0;
	struct digest got;
	struct sink *k = store_blob_sink(s, l, NULL, &got, &got_size);
	must(sink_write(k, "wor", 3, &err), &err, "write");
	must(sink_write(k, "ld", 2, &err), &err, "write");
	must(sink_finish(k, &err), &err, "finish");
	sink_free(k);
	is_str(digest_str(&got, str),
	        "sha256:486ea46224d1bb4fb680f34f7c9ad96a8f24ec88be73ea8e5a6c65260e9cb8a7",
	        "streamed blob's digest");
	is_int(got_size, 5, "and size");

	k = store_blob_sink(s, l, &e, NULL, NULL);
	must(sink_write(k, "other", 5, &err), &err, "write");
	is_int(sink_finish(k, &err), -1, "unexpected bytes are refused");
	is_int(err.class, ERR_INTEGRITY, "as an integrity error");
	error_release(&err);
	sink_free(k);
	struct digest other = name_digest("other");
	ok(!store_blob_has(s, &other, NULL), "and not kept");

	struct digest none = name_digest("none");
	int fd;
	is_int(store_blob_open(s, &none, &fd, NULL, &err), -1, "an absent blob");
	is_int(err.class, ERR_NOT_FOUND, "is not found");
	error_release(&err);
	store_lease_free(l);
	is_int(entries_in("staging"), 0, "staging is empty after the lease");
	store_free(s);
}

static void test_damaged_blobs(void)
{
	struct error err = ERROR_INIT;
	struct store *s = open_store();
	struct store_lease *l = new_lease(s);
	struct digest d;
	char path[256];

	must(store_blob_put(s, l, "precious", 8, &d, &err), &err, "put");
	path_in(path, sizeof(path), "blobs/sha256", &d, "");
	overwrite(path, "precioux");
	struct reader *r = NULL;
	must(store_blob_reader(s, &d, &r, &err), &err, "reader");
	char buf[64];
	is_int(reader_read(r, buf, sizeof(buf), &err), 8, "the bytes come");
	is_int(reader_read(r, buf, sizeof(buf), &err), -1, "but the end says they are wrong");
	is_int(err.class, ERR_INTEGRITY, "as an integrity error");
	error_release(&err);
	reader_free(r);
	ok(!store_blob_has(s, &d, NULL), "the blob was set aside");
	ok(warned(s, "damaged"), "and that is said");
	ok(!warned(s, "damaged"), "once");
	is_int(entries_in("quarantine"), 1, "it is in quarantine");

	must(store_blob_put(s, l, "precious", 8, &d, &err), &err, "put again");
	ok(store_blob_has(s, &d, NULL), "a new copy takes its place");
	overwrite(path, "prec");
	ok(!store_blob_has(s, &d, NULL), "a truncated blob is absent");
	is_int(entries_in("quarantine"), 2, "and set aside");

	/* No row: the writer was killed between rename and commit. */
	struct digest w = name_digest("written"), x = name_digest("expected");
	int dir = open(test_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char rel[STORE_PATH_MAX];
	put_file(dir, store_blob_path(rel, &w), "written");
	put_file(dir, store_blob_path(rel, &x), "garbage");
	close(dir);
	ok(store_blob_has(s, &w, NULL), "a blob without a row is verified and adopted");
	ok(!store_blob_has(s, &x, NULL), "unless its bytes are wrong");
	store_lease_free(l);
	store_free(s);
}

static void test_layers(void)
{
	struct error err = ERROR_INIT;
	struct store *s = open_store();
	struct store_lease *l = new_lease(s);
	struct digest none = name_digest("nothing");
	is_int(has_layer(s, &none, 0), 0, "an unknown layer is absent");

	struct digest d = put_layer(s, l, "one");
	const struct store_layer *layer = NULL;
	is_int(store_layer_get(s, l, &d, STORE_LAYER_FD | STORE_LAYER_TREE, &layer, &err), 1,
	        "a published layer is found");
	is_int(layer->size, 3, "bytes of its files");
	is_int(layer->tar_size, 1024, "tar size as told");
	ok(layer->canonical, "canonical as told");
	is_int(layer->tree->n, 3, "its manifest");
	is_str(layer->tree->entries[1].path, "dir/file", "with its paths");
	ok(faccessat(layer->fd, "dir/file", R_OK, 0) == 0, "its tree");
	struct digest td;
	tree_digest(layer->tree, &td);
	ok(digest_eq(&td, &layer->tree_digest), "the tree digest is the manifest's");

	put_layer(s, l, "one");
	is_int(entries_in("layers"), 1, "publishing it again changes nothing");
	store_lease_free(l);
	is_int(entries_in("staging"), 0, "and leaves nothing in staging");
	store_free(s);

	/* Not read again: a fast build must not pay for hashing what this boot has written. */
	char path[256];
	path_in(path, sizeof(path), "layers", &d, "/tree/dir/file");
	overwrite(path, "One");
	s = open_store();
	is_int(has_layer(s, &d, STORE_LAYER_TREE), 1, "another process finds it");
	ok(!warned(s, "damaged"), "and trusts it");
	store_free(s);
	remove_path(test_dir); /* tampered with: not for the next tests */
}

static void test_damaged_layers(void)
{
	struct store *s = open_store();
	struct store_lease *l = new_lease(s);
	char path[256];

	struct digest d = put_layer(s, l, "two");
	path_in(path, sizeof(path), "layers", &d, "/manifest");
	overwrite(path, "not a manifest");
	is_int(has_layer(s, &d, STORE_LAYER_TREE), 0, "a layer with a damaged manifest is absent");
	ok(warned(s, "damaged"), "that is said");
	is_int(has_layer(s, &d, 0), 0, "it stays absent");
	put_layer(s, l, "two");
	is_int(has_layer(s, &d, STORE_LAYER_TREE), 1, "until it is built again");

	d = put_layer(s, l, "three");
	path_in(path, sizeof(path), "layers", &d, "/tree");
	remove_path(path);
	is_int(has_layer(s, &d, 0), 0, "a layer without its tree is absent");
	ok(warned(s, "tree is missing"), "the reason is said");
	put_layer(s, l, "three");
	is_int(has_layer(s, &d, STORE_LAYER_FD), 1, "and it comes back by publishing");

	d = put_layer(s, l, "four");
	path_in(path, sizeof(path), "layers", &d, "");
	remove_path(path);
	is_int(has_layer(s, &d, 0), 0, "a layer removed by hand is absent");
	put_layer(s, l, "four");
	is_int(has_layer(s, &d, 0), 1, "and comes back too");
	store_lease_free(l);
	store_free(s);
}

/* forge_boot - as if the machine had lost its power after these were published. */
static void forge_boot(void)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/meta.db", test_dir);
	sqlite3 *h = NULL;
	must(-sqlite3_open(path, &h), &ERROR_INIT, path);
	must(-sqlite3_exec(h,
	             "UPDATE layers SET boot='other' WHERE boot IS NOT NULL;"
	             "UPDATE blobs SET boot='other' WHERE boot IS NOT NULL",
	             NULL, NULL, NULL),
	        &ERROR_INIT, "forge the boot id");
	sqlite3_close(h);
}

static void test_power_loss(void)
{
	struct error err = ERROR_INIT;
	struct store *s = open_store();
	struct store_lease *l = new_lease(s);
	char path[256];
	struct digest good = put_layer(s, l, "survives"), torn = put_layer(s, l, "is torn");
	struct digest extra = put_layer(s, l, "gets more"), blob, torn_blob;
	must(store_blob_put(s, l, "kept", 4, &blob, &err), &err, "put");
	must(store_blob_put(s, l, "lost", 4, &torn_blob, &err), &err, "put");
	store_lease_free(l);
	store_free(s);
	forge_boot();
	path_in(path, sizeof(path), "layers", &torn, "/tree/dir/file");
	overwrite(path, "is t\1\1\1"); /* right size, wrong bytes */
	path_in(path, sizeof(path), "layers", &extra, "/tree/dir");
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	put_file(dir, "surplus", "");
	close(dir);
	path_in(path, sizeof(path), "blobs/sha256", &torn_blob, "");
	overwrite(path, "????");

	s = open_store();
	is_int(has_layer(s, &good, 0), 1, "after a power loss a whole layer is verified and used");
	is_int(has_layer(s, &torn, 0), 0, "a torn one is not");
	ok(warned(s, "content has changed"), "the reason is said");
	is_int(has_layer(s, &extra, 0), 0, "one with a surplus file neither");
	ok(warned(s, "not in the manifest"), "the reason is said");
	ok(store_blob_has(s, &blob, NULL), "a whole blob is used");
	ok(!store_blob_has(s, &torn_blob, NULL), "a torn one is not");
	store_free(s);

	/* Once synced, no such doubt: nothing is read again. */
	s = open_store();
	l = new_lease(s);
	struct digest synced = put_layer(s, l, "synced");
	must(store_make_durable(s, &err), &err, "store_make_durable");
	store_lease_free(l);
	store_free(s);
	forge_boot();
	path_in(path, sizeof(path), "layers", &synced, "/tree/dir/file");
	overwrite(path, "synceD");
	s = open_store();
	is_int(has_layer(s, &synced, 0), 1, "a synced layer is trusted across boots");
	store_free(s);
}

static void test_records(void)
{
	struct error err = ERROR_INIT;
	struct store *s = open_store();
	struct digest k = name_digest("key"), k2 = name_digest("key2");
	char *text = NULL;
	is_int(store_record_get(s, "step", &k, &text, &err), 0, "no record yet");
	must(store_record_put(s, "step", &k, "{\"a\":1}", &err), &err, "put");
	is_int(store_record_get(s, "step", &k, &text, &err), 1, "found");
	is_str(text, "{\"a\":1}", "as it was put");
	free(text);
	is_int(store_record_get(s, "other", &k, &text, &err), 0, "kinds are apart");

	must(store_begin(s, &err), &err, "begin");
	is_int(store_record_get(s, "step", &k2, &text, &err), 0, "reads in a group");
	must(store_record_put(s, "step", &k2, "two", &err), &err, "put");
	is_int(store_record_get(s, "step", &k2, &text, &err), 1, "see its own puts");
	free(text);
	struct store *other = open_store();
	is_int(store_record_get(other, "step", &k2, &text, &err), 0, "which others do not");
	must(store_commit(s, &err), &err, "commit");
	is_int(store_record_get(other, "step", &k2, &text, &err), 1, "until they are committed");
	free(text);

	must(store_begin(s, &err), &err, "begin");
	must(store_record_put(s, "step", &k2, "three", &err), &err, "put");
	store_abort(s);
	is_int(store_record_get(s, "step", &k2, &text, &err), 1, "found");
	is_str(text, "two", "an aborted group changes nothing");
	free(text);
	store_free(other);
	store_free(s);
}

static void test_leases(void)
{
	struct error err = ERROR_INIT;
	struct store *s = open_store();
	struct store_lease *l = new_lease(s);
	is_int(entries_in("staging"), 1, "a lease is one file");
	char *name = NULL;
	int fd = -1;
	must(store_staging_dir(l, &name, &fd, &err), &err, "staging dir");
	put_file(fd, "junk", "junk");
	close(fd);
	free(name);

	/* A process that dies keeps no lock: what it left is swept by the next one. */
	pid_t pid = fork();
	if (pid == 0) {
		struct store *c = open_store();
		struct store_lease *cl = new_lease(c);
		struct tree t = TREE_INIT;
		stage(cl, "left behind", &t);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	is_int(entries_in("staging"), 4, "the dead process left its lease");
	struct store *s2 = open_store();
	struct store_lease *l2 = new_lease(s2);
	is_int(entries_in("staging"), 3, "the next lease sweeps it, and only it");
	store_lease_free(l2);
	store_free(s2);
	store_free(s); /* ends its leases */
	is_int(entries_in("staging"), 0, "nothing left");
}

static void test_step_lock_free(void)
{
	/* A lock outside of the tree: its holder's death frees it. */
	struct store *s = open_store();
	struct digest a = name_digest("a"), b = name_digest("b");
	int fa = store_step_lock(s, &a, true);
	ok(fa >= 0, "a step is locked");
	is_int(store_step_lock(s, &a, false), -EWOULDBLOCK, "by one at a time");
	int fb = store_step_lock(s, &b, false);
	ok(fb >= 0, "another step is another lock");
	close(fa);
	fa = store_step_lock(s, &a, false);
	ok(fa >= 0, "closing the descriptor frees it");
	close(fa);
	close(fb);
	store_free(s);
}

int main(void)
{
	make_test_dir();
	test_default_path();
	test_foreign_dir();
	test_blobs();
	test_damaged_blobs();
	test_layers();
	test_damaged_layers();
	test_records();
	test_leases();
	test_step_lock_free();
	test_power_loss();
	remove_test_dir();
	return tap_done();
}
