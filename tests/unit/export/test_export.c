/* export/: layers written to every kind of output, read back, and what hostile input does. */
#include "../tap.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "export/export.h"
#include "layer/layer.h"
#include "tar/reader.h"
#include "tar/writer.h"

#define BIG (3 << 20)
/* Known digests: they change only when a format changes, and then on purpose. */
#define DIFF_A "sha256:841023963901c21832c4c9bb10e763800d40a80daff41da489457dcec3f16624"
#define MANIFEST_PLAIN "sha256:1efe105e83f12988a8fc6d21e92d0c1e0bcdfcc16b5a98db7499f1b2783ea8e6"
#define MANIFEST_CLAMPED "sha256:35031b3165196e129124a55c6a03b91c86f04a8de6f8d1e64ac4e13846bd544d"
#define DOCKER_ARCHIVE "sha256:920c6fe7369ae83fa6ef5d2eaf4815d87c9430cca65ce36575f8c90b8b85a271"
#define EMPTY_TAR_DIGEST "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"

static char dir[] = "/tmp/strake-export-XXXXXX";
static unsigned char big[BIG];
static struct digest diff_a, diff_b;

static void die(struct error *err, const char *what)
{
	printf("Bail out! %s: %s\n", what, str_or_empty(err->msg));
	exit(1);
}

static char *in_dir(const char *name)
{
	return xasprintf("%s/%s", dir, name);
}

static struct store *open_store(const char *name, struct store_lease **l)
{
	struct error err = ERROR_INIT;
	struct store *s = NULL;
	_cleanup_free_ char *path = in_dir(name);
	if (store_open(path, &s, &err) < 0 || store_lease_new(s, l, &err) < 0)
		die(&err, "store");
	return s;
}

/* --- making layers -----------------------------------------------------------------------------
 */

static void put_file(int fd, struct tree *t, const char *path, const void *p, size_t n,
        uint32_t mode, int64_t mtime)
{
	int f = openat(fd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (f < 0 || write(f, p, n) != (ssize_t)n)
		exit(1);
	close(f);
	struct tree_entry e = {.path = path,
	        .type = TREE_REG,
	        .mode = mode,
	        .size = n,
	        .mtime_sec = mtime,
	        .has_digest = true};
	sha256_buf(p, n, &e.sha256);
	tree_add(t, &e);
}

static void put_dir(int fd, struct tree *t, const char *path)
{
	if (mkdirat(fd, path, 0755) < 0)
		exit(1);
	struct tree_entry e = {.path = path, .type = TREE_DIR, .mode = 0755, .mtime_sec = 1000};
	tree_add(t, &e);
}

static void publish(struct store *s, struct store_lease *l, int which, struct digest *ret)
{
	struct error err = ERROR_INIT;
	_cleanup_free_ char *name = NULL;
	_cleanup_close_ int staging = -1;
	_cleanup_tree_ struct tree t = TREE_INIT;
	const struct store_layer *layer = NULL;
	uint64_t tar_size = 0;
	if (store_staging_dir(l, &name, &staging, &err) < 0 || mkdirat(staging, "tree", 0755) < 0)
		die(&err, "staging");
	_cleanup_close_ int fd = openat(staging, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (which == 0) {
		put_dir(fd, &t, "bin");
		put_file(fd, &t, "bin/hello", "hello\n", 6, 0755, 1000000000);
		if (linkat(fd, "bin/hello", fd, "bin/hi", 0) < 0 ||
		        symlinkat("bin", fd, "sbin") < 0)
			exit(1);
		struct tree_entry hi = {.path = "bin/hi",
		        .type = TREE_HARDLINK,
		        .mode = 0755,
		        .link = "bin/hello",
		        .mtime_sec = 1000000000};
		struct tree_entry ln = {.path = "sbin",
		        .type = TREE_SYMLINK,
		        .mode = 0777,
		        .link = "bin",
		        .mtime_sec = 1000};
		tree_add(&t, &hi);
		tree_add(&t, &ln);
		put_file(fd, &t, "big", big, BIG, 0644, 2000000000);
	} else {
		put_dir(fd, &t, "bin");
		struct tree_entry wh = {.path = "bin/hello", .type = TREE_WHITEOUT};
		if (mknodat(fd, "bin/hello", S_IFCHR, 0) < 0)
			printf("# no whiteout on disk: %s\n", strerror(errno));
		tree_add(&t, &wh);
		put_dir(fd, &t, "etc");
		put_file(fd, &t, "etc/new", "new\n", 4, 0600, 1500000000);
	}
	tree_sort(&t);
	if (layer_diff_id(&t, fd, ret, &tar_size, &err) < 0 ||
	        store_layer_publish(s, l, name, &t, ret, tar_size, true, &layer, &err) < 0)
		die(&err, "publish");
}

static struct oci_image config;
static char *config_json;
static struct export_image image;

static void make_image(struct store *s, struct store_lease *l)
{
	for (size_t i = 0; i < BIG; i++)
		big[i] = (unsigned char)(i * 7 + (i >> 9));
	publish(s, l, 0, &diff_a);
	publish(s, l, 1, &diff_b);
	oci_image_init(&config);
	strcpy(config.platform.os, "linux");
	strcpy(config.platform.arch, "amd64");
	config.created = xstrdup("2026-01-02T03:04:05Z");
	oci_image_add_diff_id(&config, &diff_a);
	oci_image_add_diff_id(&config, &diff_b);
	oci_image_add_history(&config, config.created, "COPY a", NULL, false);
	oci_image_add_history(&config, config.created, "COPY b", NULL, false);
	config_json = oci_image_encode(&config);
	image.config = &config;
	image.config_json = config_json;
	strv_add(&image.names, "docker.io/library/t:1");
}

/* --- small tools -------------------------------------------------------------------------------
 */

static void file_digest(const char *path, char *hex)
{
	struct error err = ERROR_INIT;
	struct digest d;
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_reader_ struct reader *r = reader_fd(fd, path);
	_cleanup_sink_ struct sink *h = sink_hash(NULL, &d, NULL);
	if (stream_copy(r, h, &err) < 0 || sink_finish(h, &err) < 0)
		die(&err, path);
	digest_str(&d, hex);
}

/* 0 or the class of the error; the manifest's digest. */
static int write_out(struct store *s, struct store_lease *l, enum export_type type,
        const char *dest, const struct export_options *more, char *hex)
{
	struct error err = ERROR_INIT;
	struct oci_descriptor d = {0};
	struct export_options o = more ? *more : (struct export_options){.tar = true};
	_cleanup_free_ char *path = in_dir(dest);
	o.type = type;
	o.dest = path;
	o.level = -1;
	o.oci_mediatypes = true;
	if (export_write(s, l, &image, 1, &o, NULL, &d, &err) < 0) {
		int class = err.class;
		printf("# %s\n", err.msg);
		error_release(&err);
		return class;
	}
	if (hex)
		digest_str(&d.digest, hex);
	oci_descriptor_release(&d);
	return 0;
}

static int load(
        struct store *s, struct store_lease *l, const char *name, struct strv *names, char *message)
{
	struct error err = ERROR_INIT;
	_cleanup_free_ char *path = in_dir(name);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_reader_ struct reader *r = reader_fd(fd, name);
	if (export_load_archive(s, l, r, names, &err) == 0)
		return 0;
	int class = err.class;
	if (message)
		snprintf(message, 512, "%s", err.msg);
	error_release(&err);
	return class;
}

/* Do the layers come out of the store as they went in? */
static void check_layers(struct store *s, struct store_lease *l, const char *what)
{
	const struct digest *ids[] = {&diff_a, &diff_b};
	for (size_t i = 0; i < 2; i++) {
		struct error err = ERROR_INIT;
		struct oci_descriptor d = {0};
		const struct store_layer *layer = NULL;
		int r = export_layer_blob(
		        s, l, ids[i], COMPRESS_GZIP, -1, false, 1, false, &d, &err);
		is_int(r, 0, what);
		if (r == 0 && getuid() == 0)
			is_int(export_unpack_layer(s, l, ids[i], &d, &layer, &err), 0, "unpacked");
		if (error_is_set(&err))
			printf("# %s\n", err.msg);
		error_release(&err);
		oci_descriptor_release(&d);
	}
}

/* --- tests -------------------------------------------------------------------------------------
 */

static void test_archives(struct store *s, struct store_lease *l)
{
	char one[DIGEST_STR_MAX], two[DIGEST_STR_MAX], hex[DIGEST_STR_MAX];
	is_str(digest_str(&diff_a, hex), DIFF_A, "the canonical layer has its known diff id");
	is_int(write_out(s, l, EXPORT_DOCKER, "d.tar", NULL, hex), 0, "docker archive");
	is_str(hex, MANIFEST_PLAIN, "its manifest has the known digest");
	_cleanup_free_ char *path = in_dir("d.tar");
	file_digest(path, one);
	is_str(one, DOCKER_ARCHIVE, "its bytes are the known ones");
	struct export_options gz = {.tar = true, .compression = COMPRESS_GZIP, .n_threads = 3};
	is_int(write_out(s, l, EXPORT_OCI, "o.tar", &gz, NULL), 0, "OCI archive");
	gz.n_threads = 1;
	is_int(write_out(s, l, EXPORT_OCI, "o2.tar", &gz, NULL), 0, "again");
	_cleanup_free_ char *a = in_dir("o.tar"), *b = in_dir("o2.tar");
	file_digest(a, one);
	file_digest(b, two);
	is_str(one, two, "the same bytes");

	static const char *const archives[] = {"d.tar", "o.tar"};
	for (size_t i = 0; i < 2; i++) {
		struct store_lease *l2 = NULL;
		_cleanup_free_ char *name = xasprintf("store-%s", archives[i]);
		struct store *s2 = open_store(name, &l2);
		struct strv names = STRV_INIT;
		struct error err = ERROR_INIT;
		struct store_image im = {0};
		char message[512] = "";
		is_int(load(s2, l2, archives[i], &names, message), 0, archives[i]);
		printf("# %s\n", message);
		is_int(names.n, 1, "one name");
		is_str(names.n ? names.v[0] : "", "docker.io/library/t:1", "the name");
		is_int(store_image_find(s2, "docker.io/library/t:1", &config.platform, &im, &err),
		        1, "found by it");
		struct digest want;
		sha256_buf(config_json, strlen(config_json), &want);
		ok(digest_eq(&want, &im.id), "the same config");
		check_layers(s2, l2, "its layers are there");
		store_image_release(&im);
		strv_release(&names);
		store_lease_free(l2);
		store_free(s2);
	}
}

static void test_layout(struct store *s, struct store_lease *l)
{
	struct export_options o = {.tar = false, .compression = COMPRESS_ZSTD};
	char hex[DIGEST_STR_MAX];
	is_int(write_out(s, l, EXPORT_OCI, "layout", &o, hex), 0, "layout directory");
	image.names.v[0][strlen(image.names.v[0]) - 1] = '2';
	is_int(write_out(s, l, EXPORT_OCI, "layout", &o, NULL), 0, "a second tag into it");
	image.names.v[0][strlen(image.names.v[0]) - 1] = '1';
	is_int(write_out(s, l, EXPORT_OCI, "layout", &o, NULL), 0, "the first once more");
	is_int(write_out(s, l, EXPORT_OCI, "", &o, NULL), ERR_USAGE,
	        "not into a foreign directory");

	struct store_lease *l2 = NULL;
	struct store *s2 = open_store("store-layout", &l2);
	struct error err = ERROR_INIT;
	struct digest cfg, want;
	char *manifest = NULL;
	sha256_buf(config_json, strlen(config_json), &want);
	const struct {
		const char *suffix;
		int class;
	} cases[] = {{":1", 0}, {":2", 0}, {"", 0}, {":3", ERR_NOT_FOUND}, {NULL, 0}};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *ref = cases[i].suffix
		                                   ? xasprintf("%s/layout%s", dir, cases[i].suffix)
		                                   : xasprintf("%s/layout@%s", dir, hex);
		int r = export_import_layout(s2, l2, ref, &config.platform, &cfg, &manifest, &err);
		is_int(r < 0 ? (int)err.class : 0, cases[i].class, strrchr(ref, '/'));
		if (r == 0) {
			ok(digest_eq(&cfg, &want), "the config");
			is_str(manifest, hex, "the manifest");
			free(manifest);
		} else {
			is_str(err.hint, "it has: 1, 2", "says what is there");
		}
		error_release(&err);
	}
	check_layers(s2, l2, "layers of a layout");
	store_lease_free(l2);
	store_free(s2);
}

static void test_rootfs(struct store *s, struct store_lease *l)
{
	struct error err = ERROR_INIT;
	struct tree_entry e;
	struct export_options o = {.tar = true, .rewrite_timestamp = true, .epoch = 1200000000};
	is_int(write_out(s, l, EXPORT_TAR, "root.tar", &o, NULL), 0, "type=tar");
	_cleanup_free_ char *path = in_dir("root.tar");
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_reader_ struct reader *in = reader_fd(fd, "root.tar");
	_cleanup_(tar_reader_freep) struct tar_reader *t = tar_reader_new(in, "root.tar");
	_cleanup_strbuf_ struct strbuf got = STRBUF_INIT;
	while (tar_reader_next(t, &e, &err) == 1)
		strbuf_addf(&got, "%s %d %llu %lld\n", e.path, (int)e.type,
		        (unsigned long long)e.size, (long long)e.mtime_sec);
	is_str(got.buf,
	        "big 1 3145728 1200000000\n"
	        "bin 2 0 1000\n"
	        "bin/hi 1 6 1000000000\n"
	        "etc 2 0 1000\n"
	        "etc/new 1 4 1200000000\n"
	        "sbin 3 0 1000\n",
	        "the merged tree; a link whose first name is hidden carries the bytes");
	is_int(write_out(s, l, EXPORT_LOCAL, "local/deep", &o, NULL), 0, "type=local");
	struct stat st;
	_cleanup_free_ char *hi = in_dir("local/deep/bin/hi");
	_cleanup_free_ char *hello = in_dir("local/deep/bin/hello");
	_cleanup_free_ char *new = in_dir("local/deep/etc/new");
	ok(stat(hi, &st) == 0 && st.st_size == 6, "a file");
	ok(stat(hello, &st) < 0, "what was deleted is not there");
	ok(stat(new, &st) == 0 && st.st_mtime == 1200000000, "a clamped time");
}

static void test_rewrite(struct store *s, struct store_lease *l)
{
	struct export_options o = {.tar = true, .rewrite_timestamp = true, .epoch = 1200000000};
	char one[DIGEST_STR_MAX];
	is_int(write_out(s, l, EXPORT_DOCKER, "r.tar", &o, one), 0, "rewrite-timestamp");
	is_str(one, MANIFEST_CLAMPED, "gives the known manifest");
	struct store_lease *l2 = NULL;
	struct store *s2 = open_store("store-rewrite", &l2);
	struct strv names = STRV_INIT;
	char message[512] = "";
	is_int(load(s2, l2, "r.tar", &names, message), 0, "whose config fits its layers");
	printf("# %s\n", message);
	o.epoch = 2100000000;
	is_int(write_out(s, l, EXPORT_DOCKER, "r.tar", &o, one), 0, "nothing newer");
	is_str(one, MANIFEST_PLAIN, "changes nothing");
	strv_release(&names);
	store_lease_free(l2);
	store_free(s2);
}

/* A hostile image says that layer A is some other blob. */
static void test_poison(struct store *s, struct store_lease *l)
{
	struct error err = ERROR_INIT;
	struct oci_descriptor evil = {0}, got = {0};
	struct digest d;
	is_int(store_blob_put(s, l, "evil", 4, &d, &err), 0, "a blob");
	evil.media_type = xstrdup(OCI_MT_LAYER_ZSTD);
	evil.digest = d;
	evil.size = 4;
	is_int(store_layer_set_blob(s, &diff_b, &evil, &err), 0, "is claimed to be a layer");
	is_int(export_layer_blob(s, l, &diff_b, COMPRESS_ZSTD, -1, false, 1, false, &got, &err), 0,
	        "the layer is exported");
	ok(!digest_eq(&got.digest, &d), "but not as that blob");
	oci_descriptor_release(&got);
	const struct store_layer *layer = NULL;
	is_int(export_unpack_layer(s, l, &diff_b, &evil, &layer, &err), -1, "it is not unpacked");
	is_int(err.class, ERR_INTEGRITY, "either");
	error_release(&err);
	oci_descriptor_release(&evil);
}

/* --- hostile archives ----------------------------------------------------------------------------
 */

static const char *const CONFIG_OK =
        "{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{"
        "\"type\":\"layers\",\"diff_ids\":[\"" EMPTY_TAR_DIGEST "\"]}}";

struct bad {
	const char *what, *says;
	const char *files[10]; /* name, content, ...; content "L:" + target: a symlink; NULL ends;
	                         content "T": an empty tar */
	int class;
};

static void write_archive(const struct bad *b, const char *name)
{
	struct error err = ERROR_INIT;
	static const char zeros[1024];
	_cleanup_free_ char *path = in_dir(name);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	_cleanup_sink_ struct sink *out = sink_fd(fd, name);
	int r = 0;
	for (size_t i = 0; b->files[i] && r == 0; i += 2) {
		const char *text = b->files[i + 1];
		if (str_starts(text, "L:")) {
			struct tree_entry e = {.path = b->files[i],
			        .type = TREE_SYMLINK,
			        .mode = 0777,
			        .link = text + 2};
			r = tar_write_entry(&e, out, &err);
		} else if (str_eq(text, "T")) {
			r = tar_write_file(b->files[i], zeros, 1024, 0644, 0, out, &err);
		} else {
			r = tar_write_file(b->files[i], text, strlen(text), 0644, 0, out, &err);
		}
	}
	if (r < 0 || tar_write_end(out, &err) < 0)
		die(&err, b->what);
}

static void test_hostile(void)
{
	const struct bad cases[] = {
	        {"no manifest", "neither", {"x", "y"}, ERR_INTEGRITY},
	        {"a good one", "",
	                {"manifest.json",
	                        "[{\"Config\":\"c\",\"RepoTags\":null,\"Layers\":[\"a/l\"]}]", "c",
	                        CONFIG_OK, "a/l", "L:../b/layer", "b/layer", "T"},
	                0},
	        {"missing config", "lacks config",
	                {"manifest.json", "[{\"Config\":\"c\",\"Layers\":[]}]"}, ERR_INTEGRITY},
	        {"config out of the archive", "lacks config",
	                {"manifest.json", "[{\"Config\":\"../../etc/passwd\",\"Layers\":[]}]"},
	                ERR_INTEGRITY},
	        {"layer count", "0 layers, the config 1",
	                {"manifest.json", "[{\"Config\":\"c\",\"Layers\":[]}]", "c", CONFIG_OK},
	                ERR_INTEGRITY},
	        {"other layer", "diff id",
	                {"manifest.json", "[{\"Config\":\"c\",\"Layers\":[\"l\"]}]", "c", CONFIG_OK,
	                        "l", "not that"},
	                ERR_INTEGRITY},
	        {"link loop", "lacks layer",
	                {"manifest.json", "[{\"Config\":\"c\",\"Layers\":[\"l\"]}]", "c", CONFIG_OK,
	                        "l", "L:l"},
	                ERR_INTEGRITY},
	        {"link out", "out of the archive", {"l", "L:../../etc/passwd"}, ERR_INTEGRITY},
	        {"blob under a wrong digest", "expected sha256:aaaa",
	                {"blobs/sha256/"
	                 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	                        "x"},
	                ERR_INTEGRITY},
	        {"manifest.json is no list", "not a list", {"manifest.json", "{}"}, ERR_INTEGRITY},
	        {"duplicate keys", "", {"manifest.json", "[{\"Config\":\"a\",\"Config\":\"b\"}]"},
	                ERR_INTEGRITY},
	        {"both kinds of document", "",
	                {"index.json", "{\"schemaVersion\":2,\"manifests\":[],\"layers\":[]}"},
	                ERR_INTEGRITY},
	        {"empty index", "lists no image",
	                {"index.json", "{\"schemaVersion\":2,\"manifests\":[]}"}, ERR_INTEGRITY},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct store_lease *l = NULL;
		struct store *s = open_store("store-hostile", &l);
		struct strv names = STRV_INIT;
		char message[512] = "";
		write_archive(&cases[i], "bad.tar");
		is_int(load(s, l, "bad.tar", &names, message), cases[i].class, cases[i].what);
		if (!ok(strstr(message, cases[i].says), "says why"))
			printf("# %s\n", message);
		is_int(names.n, cases[i].class ? 0 : 1, "names");
		strv_release(&names);
		store_lease_free(l);
		store_free(s);
	}
}

static void test_refusals(struct store *s, struct store_lease *l)
{
	struct export_options o = {.tar = false};
	is_int(write_out(s, l, EXPORT_DOCKER, "x", &o, NULL), ERR_USAGE, "docker needs a tar");
	o.tar = true;
	is_int(write_out(s, l, EXPORT_OCI, "no/such/x.tar", &o, NULL), ERR_SYSTEM, "no directory");
	is_int(write_out(s, l, EXPORT_OCI, "layout", &o, NULL), ERR_USAGE,
	        "a directory is no file");
	struct export_annotation on_index = {
	        .kind = EXPORT_ON_INDEX, .key = (char *)"k", .value = (char *)"v"};
	o.annotations = &on_index;
	o.n_annotations = 1;
	is_int(write_out(s, l, EXPORT_OCI, "x.tar", &o, NULL), ERR_USAGE, "no index to annotate");
	struct stat st;
	_cleanup_free_ char *x = in_dir("x.tar"), *ln = in_dir("link.tar"), *to = in_dir("to.tar");
	ok(stat(x, &st) < 0, "nothing is left behind");
	/* As /dev/stdout is one: replacing it by a file would break the machine. */
	if (symlink("to.tar", ln) < 0)
		exit(1);
	is_int(write_out(s, l, EXPORT_DOCKER, "link.tar", NULL, NULL), 0, "dest is a link");
	ok(lstat(ln, &st) == 0 && S_ISLNK(st.st_mode), "it stays one");
	ok(stat(to, &st) == 0 && st.st_size > BIG, "and is written through");
}

/* A damaged store never leaves the house (RELIABILITY F6). */
static void test_damage(struct store *writer, struct store_lease *writing)
{
	char hex[DIGEST_HEX_MAX];
	struct error err = ERROR_INIT;
	struct oci_descriptor d = {0};
	is_int(export_layer_blob(
	               writer, writing, &diff_a, COMPRESS_GZIP, -1, false, 1, false, &d, &err),
	        0, "a compressed layer");
	/* Another process: what one has just written it need not read to know. */
	struct store *s = NULL;
	struct store_lease *l = NULL;
	_cleanup_free_ char *store_dir = xasprintf("%s/main", dir);
	if (store_open(store_dir, &s, &err) < 0 || store_lease_new(s, &l, &err) < 0)
		exit(1);
	_cleanup_free_ char *blob_path =
	        xasprintf("%s/main/blobs/sha256/%s", dir, digest_hex(&d.digest, hex));
	chmod(blob_path, 0600);
	_cleanup_close_ int blob_fd = open(blob_path, O_WRONLY | O_CLOEXEC);
	ok(blob_fd >= 0 && pwrite(blob_fd, "X", 1, 5000) == 1, "whose blob is damaged");
	struct export_options gz = {.tar = true, .compression = COMPRESS_GZIP, .n_threads = 1};
	is_int(write_out(s, l, EXPORT_OCI, "healed.tar", &gz, NULL), 0, "is made anew");
	char one[DIGEST_STR_MAX], two[DIGEST_STR_MAX];
	_cleanup_free_ char *healed = in_dir("healed.tar"), *was = in_dir("o.tar");
	file_digest(healed, one);
	file_digest(was, two);
	is_str(one, two, "with the same bytes");
	oci_descriptor_release(&d);
	_cleanup_free_ char *path =
	        xasprintf("%s/main/layers/%s/tree/big", dir, digest_hex(&diff_a, hex));
	chmod(path, 0600);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (!ok(fd >= 0 && pwrite(fd, "X", 1, 12345) == 1, "a byte of a layer is changed"))
		printf("# %s\n", path);
	is_int(write_out(s, l, EXPORT_DOCKER, "other.tar", NULL, NULL), 0,
	        "the layer's blob serves");
	const struct store_layer *layer;
	is_int(store_layer_get(s, l, &diff_a, 0, &layer, &err), 0, "the layer is set aside");
	store_lease_free(l);
	store_free(s);
}

int main(void)
{
	umask(022);
	if (!mkdtemp(dir))
		return 1;
	struct store_lease *l = NULL;
	struct store *s = open_store("main", &l);
	make_image(s, l);
	test_archives(s, l);
	test_layout(s, l);
	test_rootfs(s, l);
	test_rewrite(s, l);
	test_poison(s, l);
	test_hostile();
	test_refusals(s, l);
	test_damage(s, l);
	store_lease_free(l);
	store_free(s);
	oci_image_release(&config);
	free(config_json);
	strv_release(&image.names);
	char *cmd = xasprintf("chmod -R u+rwX '%s'; rm -rf '%s'", dir, dir);
	int r = system(cmd);
	free(cmd);
	return r == 0 ? tap_done() : 1;
}
