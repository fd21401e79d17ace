/* Unit tests of store/: tags, and what the collector and fsck make of them. */
#include "support.h"

static const char HEAD[] = "{\"architecture\":\"%s\",\"os\":\"linux\",\"config\":{},\"rootfs\":"
                           "{\"type\":\"layers\",\"diff_ids\":[";

/* put_config - a config blob of these layers. */
static struct digest put_config(struct store *s, struct store_lease *l, const char *arch,
        const struct digest *layers, size_t n)
{
	struct error err = ERROR_INIT;
	char text[2048], str[DIGEST_STR_MAX];
	int at = snprintf(text, sizeof(text), HEAD, arch);
	for (size_t i = 0; i < n; i++)
		at += snprintf(text + at, sizeof(text) - at, "%s\"%s\"", i ? "," : "",
		        digest_str(&layers[i], str));
	snprintf(text + at, sizeof(text) - at, "]}}");
	struct digest d;
	must(store_blob_put(s, l, text, strlen(text), &d, &err), &err, "config");
	return d;
}

static const struct oci_platform amd64 = {.os = "linux", .arch = "amd64"};
static const struct oci_platform arm64 = {.os = "linux", .arch = "arm64"};

static void tag(struct store *s, const char *name, const struct digest *d,
        const struct oci_platform *p, bool add)
{
	struct error err = ERROR_INIT;
	must(store_image_put(s, name, d, p, NULL, 7, 1000, add, &err), &err, "tag");
}

/* find - 1 and the id, 0 absent, -1 error. */
static int find(struct store *s, const char *text, const struct oci_platform *p, struct digest *ret)
{
	struct error err = ERROR_INIT;
	struct store_image im = {0};
	int rc = store_image_find(s, text, p, &im, &err);
	if (rc == 1 && ret)
		*ret = im.id;
	if (rc == 1)
		store_image_release(&im);
	error_release(&err);
	return rc;
}

static size_t count_images(struct store *s, size_t *ret_untagged)
{
	struct error err = ERROR_INIT;
	struct store_image *v = NULL;
	size_t n = 0;
	must(store_image_list(s, &v, &n, &err), &err, "list");
	*ret_untagged = 0;
	for (size_t i = 0; i < n; i++)
		*ret_untagged += !*v[i].name;
	store_images_free(v, n);
	return n;
}

#define BASE "docker.io/library/base:latest"

static void test_tags(void)
{
	struct error err = ERROR_INIT;
	struct store *s = open_store();
	struct store_lease *l = new_lease(s);
	struct digest a = put_layer(s, l, "a"), b = put_layer(s, l, "b"), got;
	struct digest ab[] = {a, b};
	struct digest one = put_config(s, l, "amd64", ab, 2),
	              two = put_config(s, l, "amd64", ab, 1);
	size_t untagged;

	tag(s, BASE, &one, &amd64, false);
	is_int(find(s, BASE, &amd64, &got), 1, "found by its name");
	ok(digest_eq(&got, &one), "it is the image");
	is_int(find(s, "base", &amd64, &got), 1, "found by the name people write");
	is_int(find(s, "base:other", &amd64, &got), 0, "another tag is absent");
	is_int(find(s, "", &amd64, &got), 0, "no name names nothing");
	char hex[DIGEST_HEX_MAX], str[DIGEST_STR_MAX];
	is_int(find(s, digest_str(&one, str), NULL, &got), 1, "found by its id");
	digest_hex(&one, hex);
	hex[8] = '\0';
	is_int(find(s, hex, NULL, &got), 1, "and by the id's beginning");
	hex[3] = '\0';
	is_int(find(s, hex, NULL, &got), 0, "three digits are too few");

	tag(s, BASE, &two, &amd64, false);
	is_int(find(s, BASE, &amd64, &got), 1, "tagged anew");
	ok(digest_eq(&got, &two), "the tag moves");
	is_int(count_images(s, &untagged), 2, "the old image is still listed");
	is_int(untagged, 1, "without a name");
	tag(s, "docker.io/library/old:1", &one, &amd64, false);
	struct stat before, after;
	char wal[128];
	snprintf(wal, sizeof(wal), "%s/meta.db-wal", test_dir);
	must(stat(wal, &before), &err, wal);
	tag(s, "docker.io/library/old:1", &one, &amd64, false);
	tag(s, "", &one, &amd64, false);
	must(stat(wal, &after), &err, wal);
	is_int(after.st_size, before.st_size, "tagging the same again writes nothing");
	is_int(count_images(s, &untagged), 2, "it gets a name again");
	is_int(untagged, 0, "and is no longer untagged");

	struct digest nowhere = name_digest("nowhere");
	struct digest bad = put_config(s, l, "amd64", &nowhere, 1);
	is_int(store_image_put(s, "x:y", &bad, &amd64, NULL, 0, 0, false, &err), -1,
	        "a tag on a missing layer is refused");
	is_int(err.class, ERR_INTEGRITY, "as an integrity error");
	error_release(&err);
	is_int(store_image_put(s, "x:y", &nowhere, &amd64, NULL, 0, 0, false, &err), -1,
	        "and one on a missing config");
	error_release(&err);

	is_int(store_image_delete(s, "old:1", &err), 0, "a tag is deleted");
	is_int(find(s, "old:1", &amd64, NULL), 0, "and is gone");
	is_int(store_image_delete(s, "old:1", &err), -1, "once");
	is_int(err.class, ERR_NOT_FOUND, "then it is not found");
	error_release(&err);
	is_int(store_image_delete(s, digest_str(&two, str), &err), 0, "an image is deleted by id");
	is_int(count_images(s, &untagged), 0, "with all its names");
	store_lease_free(l);
	store_free(s);
}

static void test_platforms(void)
{
	struct error err = ERROR_INIT;
	struct store *s = open_store();
	struct store_lease *l = new_lease(s);
	struct digest a = put_layer(s, l, "a"), got;
	struct digest x = put_config(s, l, "amd64", &a, 1), y = put_config(s, l, "arm64", &a, 1);
	tag(s, BASE, &x, &amd64, false);
	tag(s, BASE, &y, &arm64, true);
	is_int(find(s, BASE, &arm64, &got), 1, "a name holds several platforms");
	ok(digest_eq(&got, &y), "each found by its own");
	is_int(find(s, BASE, &amd64, &got), 1, "the first too");
	ok(digest_eq(&got, &x), "is still there");
	tag(s, BASE, &y, &arm64, false);
	is_int(find(s, BASE, &amd64, &got), 0, "without adding, the name is the new image's alone");
	size_t untagged;
	is_int(count_images(s, &untagged), 2, "the other stays, untagged");
	is_int(untagged, 1, "until pruned");
	must(store_image_delete(s, BASE, &err), &err, "delete");
	store_lease_free(l);
	store_free(s);
	remove_path(test_dir);
}

static void test_collect(void)
{
	struct error err = ERROR_INIT;
	struct store *s = open_store();
	struct store_lease *l = new_lease(s);
	struct digest a = put_layer(s, l, "a"), b = put_layer(s, l, "b"), c = put_layer(s, l, "c");
	struct digest config = put_config(s, l, "amd64", &a, 1),
	              old = put_config(s, l, "amd64", &b, 1);
	/* The layer's compressed form, and a blob that nobody knows. */
	struct digest gz, stray;
	must(store_blob_put(s, l, "compressed", 10, &gz, &err), &err, "put");
	must(store_blob_put(s, l, "stray", 5, &stray, &err), &err, "put");
	struct oci_descriptor d = {
	        .media_type = (char *)OCI_MT_LAYER_GZIP, .digest = gz, .size = 10};
	must(store_layer_set_blob(s, &a, &d, &err), &err, "set_blob");
	tag(s, BASE, &old, &amd64, false);
	tag(s, BASE, &config, &amd64, false);
	store_lease_free(l);

	uint64_t freed = 0;
	struct store_prune_options o = {0};
	must(store_prune(s, &o, &freed, &err), &err, "prune");
	ok(freed > 0, "something was freed");
	is_int(has_layer(s, &a, STORE_LAYER_TREE), 1, "a tagged image keeps its layer");
	ok(store_blob_has(s, &config, NULL), "its config");
	ok(store_blob_has(s, &gz, NULL), "and its layer's compressed form");
	is_int(has_layer(s, &b, 0), 0, "an untagged image's layer goes");
	is_int(has_layer(s, &c, 0), 0, "a layer of no image goes");
	ok(!store_blob_has(s, &old, NULL) && !store_blob_has(s, &stray, NULL), "and stray blobs");
	size_t untagged;
	is_int(count_images(s, &untagged), 1, "the untagged image goes");
	is_int(store_fsck(s, false, false, NULL, NULL, &err), 0, "fsck finds nothing");

	struct oci_descriptor *v = NULL;
	size_t n = 0;
	must(store_layer_blobs(s, &a, &v, &n, &err), &err, "blobs");
	is_int(n, 1, "the compressed form is known");
	is_str(n ? v[0].media_type : NULL, OCI_MT_LAYER_GZIP, "with its type");
	for (size_t i = 0; i < n; i++)
		oci_descriptor_release(&v[i]);
	free(v);

	/* `prune --all` beside a build: what the build has found stays until it ends. */
	l = new_lease(s);
	is_int(find(s, BASE, &amd64, NULL), 1, "a build finds its base");
	o.images = o.all = true;
	must(store_prune(s, &o, &freed, &err), &err, "prune");
	is_int(find(s, BASE, &amd64, NULL), 1, "prune --all leaves it that");
	is_int(has_layer(s, &a, 0), 1, "and its layers");
	store_lease_free(l);
	must(store_prune(s, &o, &freed, &err), &err, "prune");
	is_int(find(s, BASE, &amd64, NULL), 0, "after the build it goes");
	is_int(entries_in("layers") + entries_in("blobs/sha256"), 0, "and all is empty");
	store_free(s);
}

static void test_fsck(void)
{
	struct error err = ERROR_INIT;
	struct store *s = open_store();
	struct store_lease *l = new_lease(s);
	struct digest a = put_layer(s, l, "a");
	struct digest config = put_config(s, l, "amd64", &a, 1);
	tag(s, BASE, &config, &amd64, false);
	char path[256], hex[DIGEST_HEX_MAX];
	snprintf(path, sizeof(path), "%s/layers/%s", test_dir, digest_hex(&a, hex));
	remove_path(path);
	is_int(store_fsck(s, false, true, NULL, NULL, &err), 1,
	        "a tag whose layer is gone is told");
	put_layer(s, l, "a");
	is_int(store_fsck(s, false, true, NULL, NULL, &err), 0, "until it is back");
	store_lease_free(l);
	store_free(s);

	/* A tag that was acknowledged survives kill -9 of its writer. */
	pid_t pid = fork();
	if (pid == 0) {
		s = open_store();
		l = new_lease(s);
		tag(s, "docker.io/library/mine:1", &config, &amd64, false);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	s = open_store();
	is_int(find(s, "mine:1", &amd64, NULL), 1, "a tag survives its writer");
	store_free(s);
}

int main(void)
{
	make_test_dir();
	test_tags();
	test_platforms();
	test_collect();
	test_fsck();
	remove_test_dir();
	return tap_done();
}
