/* export/layout_read.c - an OCI layout directory into the store.
 *
 * The layout is untrusted: its blobs are found by digests that were parsed, opened without
 * following links, and copied through a check of digest and size. Layers are checked against their
 * diff ids when they are unpacked or exported. */
#include "export/internal.h"
#include "sys/path.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define ANN_REF "org.opencontainers.image.ref.name"
#define ANN_NAME "io.containerd.image.name"
#define MAX_DEPTH 8

struct layout {
	struct store *s;
	struct store_lease *l;
	int dirfd;
	const char *shown;
};

/* --- blobs ----------------------------------------------------------------------------------- */

static int open_blob(
        struct layout *y, const struct digest *d, int *ret, uint64_t *ret_size, struct error *err)
{
	char hex[DIGEST_HEX_MAX];
	_cleanup_free_ char *path = xasprintf("blobs/sha256/%s", digest_hex(d, hex));
	_cleanup_close_ int fd = sys_open_beneath(y->dirfd, path, O_RDONLY | O_NONBLOCK, 0);
	struct stat st;
	if (fd == -ENOENT)
		return err_set(
		        err, ERR_NOT_FOUND, "%s: the layout lacks blob sha256:%s", y->shown, hex);
	if (fd < 0)
		return err_sys(err, fd, "%s: open %s", y->shown, path);
	if (fstat(fd, &st) < 0)
		return err_sys(err, errno, "%s: stat %s", y->shown, path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_INTEGRITY, "%s: %s is not a regular file", y->shown, path);
	*ret_size = (uint64_t)st.st_size;
	*ret = take_fd(&fd);
	return 0;
}

static int copy_blob(struct layout *y, const struct oci_descriptor *d, struct error *err)
{
	char hex[DIGEST_STR_MAX];
	uint64_t size = 0, written = 0;
	struct digest got;
	_cleanup_close_ int fd = -1;
	if (store_blob_has(y->s, &d->digest, &size) && size == (uint64_t)d->size)
		return 0;
	if (open_blob(y, &d->digest, &fd, &size, err) < 0)
		return -1;
	digest_str(&d->digest, hex);
	if (size != (uint64_t)d->size)
		return err_set(err, ERR_INTEGRITY, "%s: blob %s has %llu bytes instead of %lld",
		        y->shown, hex, (unsigned long long)size, (long long)d->size);
	_cleanup_reader_ struct reader *in = reader_fd(fd, hex);
	_cleanup_sink_ struct sink *out = store_blob_sink(y->s, y->l, &d->digest, &got, &written);
	if (stream_copy(in, out, err) < 0 || sink_finish(out, err) < 0)
		return err_wrap(err, "%s", y->shown);
	return 0;
}

static int read_document(struct layout *y, const struct oci_descriptor *d, size_t max, char **ret,
        size_t *ret_n, struct error *err)
{
	if (d->size < 0 || (uint64_t)d->size > max)
		return err_set(err, ERR_INTEGRITY, "%s: a document of %lld bytes is refused",
		        y->shown, (long long)d->size);
	if (copy_blob(y, d, err) < 0)
		return -1;
	return store_blob_read_all(y->s, &d->digest, max, ret, ret_n, err);
}

/* --- choosing -------------------------------------------------------------------------------- */

/* "path", "path:tag", "path@sha256:..." */
static void split_ref(const char *ref, char **ret_path, char **ret_tag, char **ret_digest)
{
	struct stat st;
	const char *at = strstr(ref, "@sha256:"), *slash = strrchr(ref, '/');
	*ret_tag = *ret_digest = NULL;
	/* trusted-path: the user's argument */
	if (stat(ref, &st) == 0) { /* a path may hold ':' itself */
		*ret_path = xstrdup(ref);
		return;
	}
	size_t n = at ? (size_t)(at - ref) : strlen(ref);
	if (at)
		*ret_digest = xstrdup(at + 1);
	_cleanup_free_ char *rest = xstrndup(ref, n);
	const char *colon =
	        strrchr(slash && (size_t)(slash - ref) < n ? rest + (slash - ref) : rest, ':');
	if (colon) {
		*ret_tag = xstrdup(colon + 1);
		n = (size_t)(colon - rest);
	}
	*ret_path = xstrndup(rest, n);
}

static bool has_tag(const struct oci_descriptor *d, const char *tag)
{
	const char *ref = json_get_str(d->annotations, ANN_REF);
	const char *name = json_get_str(d->annotations, ANN_NAME);
	return (ref && str_eq(ref, tag)) || (name && str_eq(name, tag));
}

static int no_such_tag(
        struct layout *y, const struct oci_index *idx, const char *tag, struct error *err)
{
	_cleanup_strbuf_ struct strbuf have = STRBUF_INIT;
	for (size_t i = 0; i < idx->n_manifests && i < 20; i++) {
		const char *ref = json_get_str(idx->manifests[i].annotations, ANN_REF);
		if (ref)
			strbuf_addf(&have, "%s%s", have.len ? ", " : "", ref);
	}
	(void)err_set(err, ERR_NOT_FOUND, "%s has no image tagged \"%s\"", y->shown, tag);
	return have.len ? err_hint(err, "it has: %s", have.buf) : -1;
}

/* The entry of index.json that is meant; platforms of one tag may stand side by side. */
static int choose_entry(struct layout *y, const struct oci_index *idx, const char *tag,
        const struct oci_platform *want, struct oci_descriptor *ret, struct error *err)
{
	struct oci_index some = {.manifests = new0(struct oci_descriptor, idx->n_manifests + 1)};
	_cleanup_free_ struct oci_descriptor *owned = some.manifests;
	for (size_t i = 0; i < idx->n_manifests; i++)
		if (!tag || has_tag(&idx->manifests[i], tag))
			owned[some.n_manifests++] = idx->manifests[i]; /* borrowed */
	if (some.n_manifests == 0)
		return tag ? no_such_tag(y, idx, tag, err)
		           : err_set(err, ERR_NOT_FOUND, "%s holds no image", y->shown);
	/* One image under several names is one image. */
	bool all_same = true;
	for (size_t i = 1; i < some.n_manifests; i++)
		all_same &= digest_eq(&owned[i].digest, &owned[0].digest);
	size_t at = 0;
	if (!all_same) {
		bool platforms = true;
		for (size_t i = 0; i < some.n_manifests; i++)
			platforms &= owned[i].has_platform;
		if (!platforms) {
			(void)err_set(err, ERR_USAGE, "%s holds %zu images: which one?", y->shown,
			        some.n_manifests);
			return err_hint(
			        err, "name it: %s:TAG or %s@sha256:...", y->shown, y->shown);
		}
		if (oci_index_select(&some, want, y->shown, &at, err) < 0)
			return -1;
	}
	oci_descriptor_copy(ret, &owned[at]);
	return 0;
}

/* --- following ------------------------------------------------------------------------------- */

static int import_manifest(struct layout *y, const struct oci_manifest *m,
        struct digest *ret_config, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t n = 0;
	struct oci_image config;
	if (read_document(y, &m->config, EXPORT_CONFIG_MAX, &text, &n, err) < 0)
		return -1;
	oci_image_init(&config);
	int r = oci_image_parse(text, n, y->shown, &config, err);
	for (size_t i = 0; r == 0 && i < m->n_layers; i++)
		r = copy_blob(y, &m->layers[i], err);
	if (r == 0)
		r = export_register_layers(y->s, &config, m->layers, m->n_layers, y->shown, err);
	oci_image_release(&config);
	*ret_config = m->config.digest;
	return r;
}

/* From a descriptor through indexes to a manifest. */
static int follow(struct layout *y, struct oci_descriptor *at, const struct oci_platform *want,
        struct digest *ret_config, struct error *err)
{
	for (unsigned depth = 0; depth < MAX_DEPTH; depth++) {
		_cleanup_free_ char *text = NULL;
		size_t n = 0, chosen = 0;
		enum oci_doc kind;
		struct oci_manifest m = {0};
		struct oci_index idx = {0};
		if (read_document(y, at, EXPORT_MANIFEST_MAX, &text, &n, err) < 0 ||
		        oci_doc_parse(text, n, at->media_type, y->shown, &kind, &m, &idx, err) < 0)
			return -1;
		if (kind == OCI_DOC_MANIFEST) {
			int r = import_manifest(y, &m, ret_config, err);
			oci_manifest_release(&m);
			return r;
		}
		int r = oci_index_select(&idx, want, y->shown, &chosen, err);
		if (r == 0) {
			oci_descriptor_release(at);
			oci_descriptor_copy(at, &idx.manifests[chosen]);
		}
		oci_index_release(&idx);
		if (r < 0)
			return -1;
	}
	return err_set(
	        err, ERR_INTEGRITY, "%s: indexes nested deeper than %d", y->shown, MAX_DEPTH);
}

static int read_index(struct layout *y, struct oci_index *ret, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t n = 0;
	enum oci_doc kind;
	struct oci_manifest m = {0};
	int r = sys_read_file(y->dirfd, "index.json", EXPORT_MANIFEST_MAX, &text, &n);
	if (r == -ENOENT) {
		(void)err_set(
		        err, ERR_NOT_FOUND, "%s is not an OCI layout: no index.json", y->shown);
		return err_hint(err, "`skopeo copy ... oci:DIR:TAG` makes one");
	}
	if (r < 0)
		return err_sys(err, r, "read %s/index.json", y->shown);
	if (oci_doc_parse(text, n, OCI_MT_INDEX, y->shown, &kind, &m, ret, err) < 0)
		return -1;
	if (kind != OCI_DOC_INDEX) {
		oci_manifest_release(&m);
		return err_set(err, ERR_INTEGRITY, "%s/index.json is not an index", y->shown);
	}
	return 0;
}

/* By digest: listed in index.json, or any manifest blob of the layout. */
static int choose_digest(struct layout *y, const struct oci_index *idx, const char *text,
        struct oci_descriptor *ret, struct error *err)
{
	struct digest d;
	uint64_t size = 0;
	_cleanup_close_ int fd = -1;
	if (!digest_parse(text, &d))
		return err_set(err, ERR_USAGE, "\"%s\" is not a sha256 digest", text);
	for (size_t i = 0; i < idx->n_manifests; i++)
		if (digest_eq(&idx->manifests[i].digest, &d)) {
			oci_descriptor_copy(ret, &idx->manifests[i]);
			return 0;
		}
	if (open_blob(y, &d, &fd, &size, err) < 0)
		return -1;
	*ret = (struct oci_descriptor){.digest = d, .size = (int64_t)size};
	return 0;
}

int export_layout_find(struct store *s, struct store_lease *l, const char *dir, const char *tag,
        const char *digest, struct oci_descriptor *ret, struct error *err)
{
	_cleanup_close_ int fd = sys_open_dir(AT_FDCWD, dir);
	if (fd == -ENOENT)
		return err_set(err, ERR_NOT_FOUND, "%s does not exist", dir);
	if (fd < 0)
		return err_sys(err, fd, "open OCI layout %s", dir);
	struct layout y = {.s = s, .l = l, .dirfd = fd, .shown = dir};
	struct oci_index idx = {0};
	if (read_index(&y, &idx, err) < 0)
		return -1;
	int r;
	if (digest) {
		r = choose_digest(&y, &idx, digest, ret, err);
	} else {
		size_t at = idx.n_manifests;
		for (size_t i = idx.n_manifests; i-- > 0;)
			if (has_tag(&idx.manifests[i], tag ? tag : "latest"))
				at = i;
		if (!tag && at == idx.n_manifests && idx.n_manifests == 1)
			at = 0;
		r = at < idx.n_manifests ? (oci_descriptor_copy(ret, &idx.manifests[at]), 0)
		                         : no_such_tag(&y, &idx, tag ? tag : "latest", err);
	}
	oci_index_release(&idx);
	return r;
}

int export_layout_blob(struct store *s, struct store_lease *l, const char *dir,
        const struct oci_descriptor *d, struct error *err)
{
	_cleanup_close_ int fd = sys_open_dir(AT_FDCWD, dir);
	if (fd < 0)
		return err_sys(err, fd, "open OCI layout %s", dir);
	struct layout y = {.s = s, .l = l, .dirfd = fd, .shown = dir};
	return copy_blob(&y, d, err);
}

int export_import_layout(struct store *s, struct store_lease *l, const char *ref,
        const struct oci_platform *want, struct digest *ret_config, char **ret_manifest_digest,
        struct error *err)
{
	_cleanup_free_ char *path = NULL, *tag = NULL, *digest = NULL;
	split_ref(ref, &path, &tag, &digest);
	_cleanup_close_ int fd = sys_open_dir(AT_FDCWD, path);
	if (fd < 0)
		return err_sys(err, fd, "open OCI layout %s", path);
	struct layout y = {.s = s, .l = l, .dirfd = fd, .shown = path};
	struct oci_index idx = {0};
	struct oci_descriptor at = {0};
	struct digest config;
	char hex[DIGEST_STR_MAX];
	if (read_index(&y, &idx, err) < 0)
		return -1;
	int r = digest ? choose_digest(&y, &idx, digest, &at, err)
	               : choose_entry(&y, &idx, tag, want, &at, err);
	oci_index_release(&idx);
	/* What the layout calls it, index or manifest: the name of the base in provenance. */
	if (r == 0)
		digest_str(&at.digest, hex);
	if (r == 0)
		r = follow(&y, &at, want, &config, err);
	oci_descriptor_release(&at);
	if (r < 0)
		return -1;
	*ret_config = config;
	*ret_manifest_digest = xstrdup(hex);
	return 0;
}
