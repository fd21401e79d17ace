/* export/write_layout.c - an OCI layout as a tar or a directory, and the docker archive, which is
 * an OCI layout tar with a manifest.json for `docker load` and `podman load`.
 *
 * Source: OCI image-layout.md; the archive format of `docker save` since Docker 25. The bytes are a
 * function of the plan alone: fixed order, times zero. */
#include "export/internal.h"
#include "sys/path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define LAYOUT_VERSION "{\"imageLayoutVersion\":\"1.0.0\"}"
#define ANN_REF "org.opencontainers.image.ref.name"
#define ANN_NAME "io.containerd.image.name"

/* --- index.json ------------------------------------------------------------------------------ */

/* The top descriptor under one name: containerd reads the full name, skopeo the tag. */
static int named_entry(const struct oci_descriptor *top, const char *name,
        struct oci_descriptor *ret, struct error *err)
{
	oci_descriptor_copy(ret, top);
	if (!name)
		return 0;
	struct oci_ref ref = {0};
	if (oci_ref_parse(name, &ref, err) < 0)
		return -1;
	if (!ret->annotations)
		ret->annotations = json_object();
	json_object_set_new(ret->annotations, ANN_NAME, json_str(name));
	if (ref.tag)
		json_object_set_new(ret->annotations, ANN_REF, json_str(ref.tag));
	oci_ref_release(&ref);
	return 0;
}

struct entries {
	struct oci_descriptor *v;
	size_t n, cap;
};

static void entries_release(struct entries *e)
{
	for (size_t i = 0; i < e->n; i++)
		oci_descriptor_release(&e->v[i]);
	free(e->v);
}

static struct oci_descriptor *entries_add(struct entries *e)
{
	vec_grow(&e->v, &e->cap, e->n + 1);
	e->v[e->n] = (struct oci_descriptor){0};
	return &e->v[e->n++];
}

static int add_names(const struct plan *p, struct entries *e, struct error *err)
{
	const struct strv *names = &p->images[0].image->names;
	if (names->n == 0 && named_entry(&p->top, NULL, entries_add(e), err) < 0)
		return -1;
	for (size_t i = 0; i < names->n; i++)
		if (named_entry(&p->top, names->v[i], entries_add(e), err) < 0)
			return -1;
	/* Readers of layouts find referrers in index.json itself. */
	for (size_t i = 0; i < p->n_images && p->referrers; i++)
		for (size_t k = 0; k < p->images[i].n_attests; k++)
			oci_descriptor_copy(entries_add(e), &p->images[i].attests[k]);
	return 0;
}

/* index.json itself is always an OCI index, whatever it lists. */
static char *index_text(const struct entries *e)
{
	char mt[] = OCI_MT_INDEX;
	struct oci_index i = {.media_type = mt, .manifests = e->v, .n_manifests = e->n};
	return oci_index_encode(&i);
}

/* --- manifest.json --------------------------------------------------------------------------- */

static json_t *blob_path(const struct digest *d)
{
	char hex[DIGEST_HEX_MAX];
	return json_sprintf("blobs/sha256/%s", digest_hex(d, hex));
}

static int docker_manifest(const struct plan *p, char **ret, struct error *err)
{
	_cleanup_json_ json_t *list = json_array();
	for (size_t i = 0; i < p->n_images; i++) {
		const struct plan_image *im = &p->images[i];
		json_t *tags = im->image->names.n ? json_array() : json_null();
		json_t *layers = json_array(), *o = json_object();
		json_array_append_new(list, o);
		json_object_set_new(o, "Config", blob_path(&im->config_desc.digest));
		json_object_set_new(o, "RepoTags", tags);
		json_object_set_new(o, "Layers", layers);
		for (size_t k = 0; k < im->n_layers; k++)
			json_array_append_new(layers, blob_path(&im->layers[k].digest));
		for (size_t k = 0; k < im->image->names.n; k++) {
			struct oci_ref ref = {0};
			if (oci_ref_parse(im->image->names.v[k], &ref, err) < 0)
				return -1;
			_cleanup_free_ char *name = oci_ref_familiar(&ref);
			json_array_append_new(tags, json_str(name));
			oci_ref_release(&ref);
		}
	}
	*ret = json_compact(list);
	return 0;
}

/* --- blobs ----------------------------------------------------------------------------------- */

/* A sink that others may own and finish without touching the one below. */
struct borrow_sink {
	struct sink base;
	struct sink *to;
};

static int borrow_write(struct sink *s, const void *p, size_t n, struct error *err)
{
	return sink_write(((struct borrow_sink *)s)->to, p, n, err);
}

static int borrow_finish(struct sink *s, struct error *err)
{
	(void)s;
	(void)err;
	return 0;
}

static void borrow_free(struct sink *s)
{
	free(s);
}

static struct sink *sink_borrow(struct sink *to)
{
	struct borrow_sink *b = new0(struct borrow_sink, 1);
	b->base = (struct sink){borrow_write, borrow_finish, borrow_free};
	b->to = to;
	return &b->base;
}

#define AHEAD ((size_t)4 << 20)

/* A large blob is read, and hashed, beside its writing. */
static struct reader *read_ahead(struct reader *in, uint64_t size)
{
	return size > AHEAD ? reader_ahead(in, AHEAD) : in;
}

/* The bytes of one blob into out, checked: a damaged store never leaves the house. */
static int write_blob(struct store *s, struct store_lease *l, const struct plan_blob *b,
        struct sink *out, struct error *err)
{
	char hex[DIGEST_STR_MAX];
	_cleanup_free_ char *what =
	        xasprintf("%s %s", b->layer_tar ? "layer" : "blob", digest_str(&b->digest, hex));
	_cleanup_sink_ struct sink *check = export_verify_sink(
	        sink_borrow(out), b->layer_tar ? &b->digest : NULL, b->size, what);
	if (b->layer_tar) {
		if (export_layer_tar(s, l, &b->digest, check, err) < 0)
			return -1;
	} else {
		_cleanup_reader_ struct reader *in = NULL;
		/* which checks the digest */
		if (store_blob_reader(s, &b->digest, &in, err) < 0)
			return -1;
		in = read_ahead(in, b->size);
		if (stream_copy(in, check, err) < 0)
			return -1;
	}
	if (sink_finish(check, err) < 0)
		return b->layer_tar ? export_blame_layer(s, &b->digest, err) : -1;
	return 0;
}

/* --- tar ------------------------------------------------------------------------------------- */

/* send_blob - what this process wrote and hashed a moment ago goes out as it is. */
static int send_blob(
        struct store *s, const struct plan_blob *b, struct sink *out, struct error *err)
{
	_cleanup_close_ int fd = -1;
	char hex[DIGEST_STR_MAX];
	uint64_t size;
	if (store_blob_open(s, &b->digest, &fd, &size, err) < 0)
		return -1;
	if (size != b->size)
		return err_set(err, ERR_INTEGRITY, "blob %s in the store is cut short",
		        digest_str(&b->digest, hex));
	_cleanup_reader_ struct reader *in = read_ahead(reader_file(fd, "a blob"), size);
	return stream_copy(in, out, err);
}

static int tar_dir(const char *path, struct sink *out, struct error *err)
{
	struct tree_entry e = {.path = path, .type = TREE_DIR, .mode = 0755};
	return tar_write_entry(&e, out, err);
}

static int tar_text(const char *path, const char *text, struct sink *out, struct error *err)
{
	return tar_write_file(path, text, strlen(text), 0644, 0, out, err);
}

static int tar_blob(struct store *s, struct store_lease *l, const struct plan_blob *b,
        struct sink *out, struct error *err)
{
	char hex[DIGEST_HEX_MAX];
	_cleanup_free_ char *path = xasprintf("blobs/sha256/%s", digest_hex(&b->digest, hex));
	struct tree_entry e = {.path = path, .type = TREE_REG, .mode = 0644, .size = b->size};
	if (tar_write_entry(&e, out, err) < 0)
		return -1;
	int r = !b->layer_tar && store_blob_is_fresh(s, &b->digest) ? send_blob(s, b, out, err)
	                                                            : write_blob(s, l, b, out, err);
	return r < 0 ? -1 : tar_write_padding(b->size, out, err);
}

static int layout_members(struct store *s, struct store_lease *l, const struct plan *p,
        bool docker_archive, struct sink *out, struct error *err)
{
	_cleanup_(entries_release) struct entries e = {0};
	_cleanup_free_ char *manifest = NULL;
	if (add_names(p, &e, err) < 0)
		return -1;
	_cleanup_free_ char *index = index_text(&e);
	if (tar_text("oci-layout", LAYOUT_VERSION, out, err) < 0 ||
	        tar_text("index.json", index, out, err) < 0)
		return -1;
	if (docker_archive && (docker_manifest(p, &manifest, err) < 0 ||
	                              tar_text("manifest.json", manifest, out, err) < 0))
		return -1;
	if (tar_dir("blobs", out, err) < 0 || tar_dir("blobs/sha256", out, err) < 0)
		return -1;
	for (size_t i = 0; i < p->n_blobs; i++)
		if (tar_blob(s, l, &p->blobs[i], out, err) < 0)
			return -1;
	return tar_write_end(out, err);
}

int write_layout_tar(struct store *s, struct store_lease *l, const struct plan *p,
        const struct export_options *o, struct error *err)
{
	_cleanup_(output_release) struct output out;
	if (output_open(&out, o->dest, err) < 0)
		return -1;
	if (layout_members(s, l, p, o->type == EXPORT_DOCKER, out.sink, err) < 0)
		return -1;
	return output_commit(&out, err);
}

/* --- directory ------------------------------------------------------------------------------- */

static bool same_name(const struct oci_descriptor *a, const struct oci_descriptor *b)
{
	const char *x = json_get_str(a->annotations, ANN_NAME);
	const char *y = json_get_str(b->annotations, ANN_NAME);
	const char *u = json_get_str(a->annotations, ANN_REF);
	const char *v = json_get_str(b->annotations, ANN_REF);
	/* Readers find images by the tag alone, so it must be unique in a layout. */
	if (u && v)
		return str_eq(u, v);
	if (x && y)
		return str_eq(x, y);
	return !u && !v && !x && !y;
}

/* Images that the layout held before under other names stay in its index. */
static int keep_others(int dirfd, struct entries *e, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t n = 0, n_ours = e->n;
	int r = sys_read_file(dirfd, "index.json", EXPORT_MANIFEST_MAX, &text, &n);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return err_sys(err, r, "read index.json");
	enum oci_doc kind;
	struct oci_manifest m = {0};
	struct oci_index old = {0};
	if (oci_doc_parse(text, n, OCI_MT_INDEX, "index.json", &kind, &m, &old, err) < 0)
		return -1;
	if (kind != OCI_DOC_INDEX) {
		oci_manifest_release(&m);
		return err_set(err, ERR_INTEGRITY, "index.json is not an index");
	}
	for (size_t i = 0; i < old.n_manifests; i++) {
		bool ours = false;
		for (size_t k = 0; k < n_ours; k++)
			ours |= same_name(&e->v[k], &old.manifests[i]);
		if (!ours)
			oci_descriptor_copy(entries_add(e), &old.manifests[i]);
	}
	oci_index_release(&old);
	return 0;
}

static int is_empty(int dirfd)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		int e = -errno;
		close_ptr(&fd);
		return e;
	}
	bool empty = true;
	/* Nothing but blobs is what a try that failed leaves: its index would have come last. */
	for (struct dirent *e; empty && (e = readdir(d));)
		empty = str_eq(e->d_name, ".") || str_eq(e->d_name, "..") ||
		        str_eq(e->d_name, "blobs");
	closedir(d);
	return empty;
}

static int open_layout_dir(const char *dest, int *ret, struct error *err)
{
	/* trusted-path: the user's dest= */
	if (mkdir(dest, 0755) < 0 && errno != EEXIST)
		return err_sys(err, errno, "create %s", dest);
	_cleanup_close_ int fd = sys_open_dir(AT_FDCWD, dest);
	if (fd < 0)
		return err_sys(err, fd, "open %s", dest);
	struct stat st;
	if (fstatat(fd, "oci-layout", &st, AT_SYMLINK_NOFOLLOW) < 0) {
		int r = is_empty(fd);
		if (r < 0)
			return err_sys(err, r, "read %s", dest);
		if (r == 0) {
			(void)err_set(err, ERR_USAGE,
			        "%s is not empty and not an OCI layout; it is left alone", dest);
			return err_hint(err, "give an empty or a new directory");
		}
	}
	int r = sys_mkdir_p(fd, "blobs/sha256", 0755);
	if (r < 0)
		return err_sys(err, r, "create %s/blobs/sha256", dest);
	*ret = take_fd(&fd);
	return 0;
}

static int dir_blob(struct store *s, struct store_lease *l, int blobs_fd, const struct plan_blob *b,
        struct error *err)
{
	char hex[DIGEST_HEX_MAX];
	struct stat st;
	digest_hex(&b->digest, hex);
	if (fstatat(blobs_fd, hex, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
	        (uint64_t)st.st_size == b->size)
		return 0;
	_cleanup_free_ char *temp = xasprintf(".%s.%ld.tmp", hex, (long)getpid());
	_cleanup_close_ int fd =
	        openat(blobs_fd, temp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return err_sys(err, errno, "create blob %s", hex);
	_cleanup_sink_ struct sink *out = sink_file(fd, hex);
	int r = write_blob(s, l, b, out, err);
	if (r == 0)
		r = sink_finish(out, err);
	if (r == 0 && renameat(blobs_fd, temp, blobs_fd, hex) < 0)
		r = err_sys(err, errno, "create blob %s", hex);
	if (r < 0)
		(void)unlinkat(blobs_fd, temp, 0);
	return r;
}

static int layout_dir(struct store *s, struct store_lease *l, const char *dest,
        const struct plan_blob *blobs, size_t n_blobs, struct entries *e, struct error *err)
{
	_cleanup_close_ int fd = -1;
	if (open_layout_dir(dest, &fd, err) < 0)
		return -1;
	_cleanup_close_ int blobs_fd =
	        sys_open_beneath(fd, "blobs/sha256", O_RDONLY | O_DIRECTORY, 0);
	if (blobs_fd < 0)
		return err_sys(err, blobs_fd, "open %s/blobs/sha256", dest);
	for (size_t i = 0; i < n_blobs; i++)
		if (dir_blob(s, l, blobs_fd, &blobs[i], err) < 0)
			return err_wrap(err, "%s", dest);
	/* The index goes last: until then nobody sees half an image. */
	if (keep_others(fd, e, err) < 0)
		return err_wrap(err, "%s", dest);
	_cleanup_free_ char *index = index_text(e);
	int r = sys_write_file_atomic(
	        fd, "oci-layout", LAYOUT_VERSION, strlen(LAYOUT_VERSION), 0644);
	if (r == 0)
		r = sys_write_file_atomic(fd, "index.json", index, strlen(index), 0644);
	return r < 0 ? err_sys(err, r, "write %s", dest) : 0;
}

int write_layout_dir(struct store *s, struct store_lease *l, const struct plan *p,
        const struct export_options *o, struct error *err)
{
	_cleanup_(entries_release) struct entries e = {0};
	if (add_names(p, &e, err) < 0)
		return -1;
	return layout_dir(s, l, o->dest, p->blobs, p->n_blobs, &e, err);
}

int export_artifact_dir(struct store *s, struct store_lease *l, const char *dest, const char *tag,
        const struct oci_descriptor *top, const struct oci_descriptor *parts, size_t n,
        struct error *err)
{
	_cleanup_(entries_release) struct entries e = {0};
	_cleanup_free_ struct plan_blob *blobs = new0(struct plan_blob, n + 1);
	for (size_t i = 0; i < n; i++)
		blobs[i] = (struct plan_blob){parts[i].digest, (uint64_t)parts[i].size, false};
	blobs[n] = (struct plan_blob){top->digest, (uint64_t)top->size, false};
	struct oci_descriptor *entry = entries_add(&e);
	oci_descriptor_copy(entry, top);
	json_decref(entry->annotations);
	entry->annotations = json_object();
	json_object_set_new(entry->annotations, ANN_REF, json_str(tag));
	return layout_dir(s, l, dest, blobs, n + 1, &e, err);
}
