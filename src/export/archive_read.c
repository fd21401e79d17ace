/* export/archive_read.c - `docker save` archives and OCI layout tars, from a stream.
 *
 * One pass: the archive may come from a pipe, in any order. Every member that is not small text
 * goes into the store as a blob under the digest of its bytes; names of members are only keys of a
 * map, never paths on a file system, so nothing in them can escape. What the manifests then refer
 * to is looked up in that map. Blobs that nothing refers to are garbage for the collector. */
#include "export/internal.h"
#include "image/image.h"
#include "tar/reader.h"

#include <stdio.h>

#define MAX_MEMBERS 100000
#define MAX_TEXT (8 << 20)
#define MAX_IMAGES 10000
#define ANN_REF "org.opencontainers.image.ref.name"
#define ANN_NAME "io.containerd.image.name"

struct member {
	struct digest digest;
	uint64_t size;
	char *link; /* refers to another member; NULL: a file */
};

struct archive {
	struct store *s;
	struct store_lease *l;
	struct map members; /* cleaned name -> struct member */
	char *manifest_json, *index_json;
	size_t manifest_n, index_n;
	struct strv *names;
};

static void member_free(void *p)
{
	struct member *m = p;
	free(m->link);
	free(m);
}

static void archive_release(struct archive *a)
{
	map_release(&a->members);
	free(a->manifest_json);
	free(a->index_json);
}

/* --- names ----------------------------------------------------------------------------------- */

/* "a/../b//c" relative to `base`'s directory, resolved as text; NULL if it leaves the archive. */
static char *clean_name(const char *base, const char *name)
{
	_cleanup_strv_ struct strv in = STRV_INIT;
	_cleanup_strv_ struct strv out = STRV_INIT;
	const char *slash = base ? strrchr(base, '/') : NULL;
	_cleanup_free_ char *full = slash && *name != '/'
	                                    ? xasprintf("%.*s/%s", (int)(slash - base), base, name)
	                                    : xstrdup(name);
	strv_split(&in, full, "/");
	for (size_t i = 0; i < in.n; i++) {
		if (*in.v[i] == '\0' || str_eq(in.v[i], "."))
			continue;
		if (str_eq(in.v[i], "..")) {
			if (out.n == 0)
				return NULL;
			strv_remove(&out, out.n - 1);
			continue;
		}
		strv_add(&out, in.v[i]);
	}
	return out.n ? strv_join(&out, "/") : NULL;
}

/* The file behind a name, through at most 8 links (old archives link equal layers). */
static const struct member *find_member(const struct archive *a, const char *name)
{
	_cleanup_free_ char *at = clean_name(NULL, name);
	for (unsigned i = 0; at && i < 8; i++) {
		const struct member *m = map_get(&a->members, at);
		if (!m || !m->link)
			return m;
		char *next = xstrdup(m->link);
		free(at);
		at = next;
	}
	return NULL;
}

/* --- reading the stream ---------------------------------------------------------------------- */

struct entry_reader {
	struct reader base;
	struct tar_reader *tar;
};

static ssize_t entry_read(struct reader *r, void *p, size_t n, struct error *err)
{
	return tar_reader_read(((struct entry_reader *)r)->tar, p, n, err);
}

static void entry_free(struct reader *r)
{
	(void)r;
}

static int keep_text(struct reader *in, uint64_t size, const char *name, char **ret, size_t *ret_n,
        struct error *err)
{
	if (size > MAX_TEXT)
		return err_set(err, ERR_INTEGRITY, "%s is larger than %d bytes", name, MAX_TEXT);
	_cleanup_free_ char *p = xmalloc((size_t)size + 1);
	if (reader_read_full(in, p, (size_t)size, name, err) < 0)
		return -1;
	p[size] = '\0';
	free(*ret);
	*ret = take_ptr(p);
	*ret_n = (size_t)size;
	return 0;
}

static int keep_blob(struct archive *a, struct reader *in, const char *name, struct error *err)
{
	struct digest want, *expect = NULL;
	char hex[DIGEST_STR_MAX];
	if (str_starts(name, "blobs/sha256/")) {
		snprintf(hex, sizeof(hex), "sha256:%s", name + strlen("blobs/sha256/"));
		if (strlen(name) == strlen("blobs/sha256/") + 64 && digest_parse(hex, &want))
			expect = &want;
	}
	struct member *m = new0(struct member, 1);
	_cleanup_sink_ struct sink *out = store_blob_sink(a->s, a->l, expect, &m->digest, &m->size);
	if (stream_copy(in, out, err) < 0 || sink_finish(out, err) < 0) {
		member_free(m);
		return err_wrap(err, "%s", name);
	}
	map_put(&a->members, name, m);
	return 0;
}

static int take_entry(
        struct archive *a, struct tar_reader *tar, const struct tree_entry *e, struct error *err)
{
	struct entry_reader in = {{entry_read, entry_free}, tar};
	_cleanup_free_ char *name = clean_name(NULL, e->path);
	if (!name)
		return e->type == TREE_DIR
		               ? 0
		               : err_set(err, ERR_INTEGRITY, "bad name in the archive: \"%.100s\"",
		                         e->path);
	if (e->type == TREE_SYMLINK || e->type == TREE_HARDLINK) {
		/* A symlink is relative to its directory, a hard link to the archive. */
		char *to = clean_name(e->type == TREE_SYMLINK ? name : NULL, e->link);
		if (!to)
			return err_set(err, ERR_INTEGRITY, "%s is a link out of the archive", name);
		struct member *m = new0(struct member, 1);
		m->link = to;
		map_put(&a->members, name, m);
		return 0;
	}
	if (e->type == TREE_DIR)
		return 0;
	if (e->type != TREE_REG)
		return err_set(err, ERR_INTEGRITY, "%s is neither file nor directory", name);
	if (str_eq(name, "manifest.json"))
		return keep_text(&in.base, e->size, name, &a->manifest_json, &a->manifest_n, err);
	if (str_eq(name, "index.json"))
		return keep_text(&in.base, e->size, name, &a->index_json, &a->index_n, err);
	/* Not content: versions of old image formats, and the layout's own marker. */
	if (str_eq(name, "oci-layout") || str_eq(name, "repositories") ||
	        str_ends(name, "/VERSION") || str_ends(name, "/json"))
		return 0;
	return keep_blob(a, &in.base, name, err);
}

static int read_members(struct archive *a, struct reader *in, struct error *err)
{
	_cleanup_(tar_reader_freep) struct tar_reader *tar = tar_reader_new(in, "archive");
	struct tree_entry e;
	int r;
	while ((r = tar_reader_next(tar, &e, err)) == 1) {
		if (a->members.n >= MAX_MEMBERS)
			return err_set(err, ERR_INTEGRITY, "the archive has more than %d members",
			        MAX_MEMBERS);
		if (take_entry(a, tar, &e, err) < 0)
			return -1;
	}
	return r;
}

/* --- configs and names ----------------------------------------------------------------------- */

static int load_config(struct archive *a, const struct digest *d, const char *what,
        struct oci_image *ret, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t n = 0;
	if (store_blob_read_all(a->s, d, EXPORT_CONFIG_MAX, &text, &n, err) < 0)
		return err_wrap(err, "config %s", what);
	oci_image_init(ret);
	if (oci_image_parse(text, n, what, ret, err) < 0) {
		oci_image_release(ret);
		return -1;
	}
	return 0;
}

/* A name from outside in canonical form; NULL (and err empty) if it is no reference. */
static char *canonical_name(const char *text)
{
	struct oci_ref ref = {0};
	struct error ignored = ERROR_INIT;
	char *s = NULL;
	if (text && oci_ref_parse(text, &ref, &ignored) == 0)
		s = oci_ref_string(&ref);
	error_release(&ignored);
	oci_ref_release(&ref);
	return s;
}

static int tag_and_tell(struct archive *a, char *name, const struct digest *config_digest,
        const struct oci_image *config, const char *manifest_digest, uint64_t size,
        bool add_platform, struct error *err)
{
	char hex[DIGEST_STR_MAX];
	if (export_tag_image(a->s, str_or_empty(name), config_digest, config, manifest_digest, size,
	            add_platform, err) < 0)
		return -1;
	const char *shown = name ? name : digest_str(config_digest, hex);
	if (!strv_contains(a->names, shown))
		strv_add(a->names, shown);
	return 0;
}

/* --- docker's manifest.json ------------------------------------------------------------------ */

/* Compressed or not, the layer must be what the config says. */
static int check_layer(struct archive *a, const struct member *m, const struct digest *diff_id,
        const char *name, struct oci_descriptor *ret, struct error *err)
{
	struct reader *raw = NULL, *plain = NULL;
	enum compression kind = COMPRESS_NONE;
	struct digest got = m->digest;
	char x[DIGEST_STR_MAX], y[DIGEST_STR_MAX];
	if (store_blob_reader(a->s, &m->digest, &raw, err) < 0 ||
	        reader_decompress(raw, EXPORT_LAYER_MAX, &kind, &plain, err) < 0)
		return err_wrap(err, "%s", name);
	_cleanup_reader_ struct reader *r = plain;
	if (kind != COMPRESS_NONE) {
		_cleanup_sink_ struct sink *hash = sink_hash(NULL, &got, NULL);
		if (stream_copy(r, hash, err) < 0 || sink_finish(hash, err) < 0)
			return err_wrap(err, "%s", name);
	}
	if (!digest_eq(&got, diff_id))
		return err_set(err, ERR_INTEGRITY, "%s has the diff id %s, the config says %s",
		        name, digest_str(&got, x), digest_str(diff_id, y));
	*ret = (struct oci_descriptor){
	        .media_type = xstrdup(image_layer_media_type(compression_name(kind), false)),
	        .digest = m->digest,
	        .size = (int64_t)m->size,
	};
	return export_remember_blob(a->s, diff_id, ret, err);
}

static int load_docker_layers(struct archive *a, const struct oci_image *config, json_t *layers,
        uint64_t *ret_size, struct error *err)
{
	size_t n = layers ? json_array_size(layers) : 0;
	if (n != config->n_diff_ids)
		return err_set(err, ERR_INTEGRITY, "manifest.json lists %zu layers, the config %zu",
		        n, config->n_diff_ids);
	*ret_size = 0;
	for (size_t i = 0; i < n; i++) {
		const char *name = json_string_value(json_array_get(layers, i));
		const struct member *m = name ? find_member(a, name) : NULL;
		struct oci_descriptor d = {0};
		if (!m)
			return err_set(err, ERR_INTEGRITY, "the archive lacks layer %.100s",
			        str_or_empty(name));
		int r = check_layer(a, m, &config->diff_ids[i], name, &d, err);
		oci_descriptor_release(&d);
		if (r < 0)
			return -1;
		*ret_size += m->size;
	}
	return 0;
}

static int load_docker_image(struct archive *a, json_t *item, struct error *err)
{
	const char *config_name = json_get_str(item, "Config");
	const struct member *m = config_name ? find_member(a, config_name) : NULL;
	struct oci_image config;
	uint64_t size = 0;
	if (!m)
		return err_set(err, ERR_INTEGRITY, "the archive lacks config %.100s",
		        str_or_empty(config_name));
	if (load_config(a, &m->digest, config_name, &config, err) < 0)
		return -1;
	int r = load_docker_layers(a, &config, json_get_array(item, "Layers"), &size, err);
	json_t *tags = json_get_array(item, "RepoTags");
	size_t n_tags = tags ? json_array_size(tags) : 0;
	bool tagged = false;
	for (size_t i = 0; r == 0 && i < n_tags && i < MAX_IMAGES; i++) {
		const char *text = json_string_value(json_array_get(tags, i));
		_cleanup_free_ char *name = canonical_name(text);
		if (!name)
			r = err_set(err, ERR_INTEGRITY,
			        "bad image name \"%.100s\" in manifest.json", str_or_empty(text));
		else
			r = tag_and_tell(a, name, &m->digest, &config, NULL, size, false, err);
		tagged = true;
	}
	if (r == 0 && !tagged)
		r = tag_and_tell(a, NULL, &m->digest, &config, NULL, size, false, err);
	oci_image_release(&config);
	return r;
}

static int load_docker(struct archive *a, struct error *err)
{
	_cleanup_json_ json_t *list =
	        json_parse(a->manifest_json, a->manifest_n, MAX_TEXT, "manifest.json", err);
	if (!list)
		return -1;
	if (!json_is_array(list) || json_array_size(list) == 0 ||
	        json_array_size(list) > MAX_IMAGES)
		return err_set(err, ERR_INTEGRITY, "manifest.json is not a list of images");
	for (size_t i = 0; i < json_array_size(list); i++)
		if (load_docker_image(a, json_array_get(list, i), err) < 0)
			return -1;
	return 0;
}

/* --- index.json ------------------------------------------------------------------------------ */

static int load_oci_manifest(struct archive *a, const struct oci_manifest *m, char *name,
        const char *top, bool add_platform, struct error *err)
{
	struct oci_image config;
	uint64_t size = 0;
	char hex[DIGEST_STR_MAX];
	if (load_config(a, &m->config.digest, digest_str(&m->config.digest, hex), &config, err) < 0)
		return -1;
	int r = 0;
	for (size_t i = 0; r == 0 && i < m->n_layers; i++) {
		uint64_t have = 0;
		size += (uint64_t)m->layers[i].size;
		if (!store_blob_has(a->s, &m->layers[i].digest, &have) ||
		        have != (uint64_t)m->layers[i].size)
			r = err_set(err, ERR_INTEGRITY, "the archive lacks layer %s",
			        digest_str(&m->layers[i].digest, hex));
	}
	if (r == 0)
		r = export_register_layers(a->s, &config, m->layers, m->n_layers, "archive", err);
	if (r == 0)
		r = tag_and_tell(a, name, &m->config.digest, &config, top, size, add_platform, err);
	oci_image_release(&config);
	return r;
}

static bool is_image(const struct oci_descriptor *d)
{
	return !(d->has_platform && str_eq(d->platform.os, "unknown"));
}

static int load_oci_doc(struct archive *a, const struct oci_descriptor *d, char *name,
        const char *top, bool add_platform, unsigned depth, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t n = 0;
	enum oci_doc kind;
	struct oci_manifest m = {0};
	struct oci_index idx = {0};
	if (depth > 4)
		return err_set(err, ERR_INTEGRITY, "indexes nested too deep in the archive");
	if (store_blob_read_all(a->s, &d->digest, EXPORT_MANIFEST_MAX, &text, &n, err) < 0 ||
	        oci_doc_parse(text, n, d->media_type, "archive", &kind, &m, &idx, err) < 0)
		return -1;
	if (kind == OCI_DOC_MANIFEST) {
		int r = load_oci_manifest(a, &m, name, top, add_platform, err);
		oci_manifest_release(&m);
		return r;
	}
	int r = 0;
	size_t loaded = 0;
	for (size_t i = 0; r == 0 && i < idx.n_manifests; i++) {
		/* `docker save --platform` leaves the other platforms' blobs out. */
		if (!is_image(&idx.manifests[i]) ||
		        !store_blob_has(a->s, &idx.manifests[i].digest, NULL))
			continue;
		r = load_oci_doc(a, &idx.manifests[i], name, top, add_platform || loaded > 0,
		        depth + 1, err);
		loaded++;
	}
	oci_index_release(&idx);
	if (r == 0 && loaded == 0)
		return err_set(err, ERR_INTEGRITY, "the archive holds no image of its index");
	return r;
}

static int load_oci(struct archive *a, struct error *err)
{
	enum oci_doc kind;
	struct oci_manifest m = {0};
	struct oci_index idx = {0};
	if (oci_doc_parse(a->index_json, a->index_n, OCI_MT_INDEX, "index.json", &kind, &m, &idx,
	            err) < 0)
		return -1;
	if (kind != OCI_DOC_INDEX || idx.n_manifests == 0) {
		oci_manifest_release(&m);
		oci_index_release(&idx);
		return err_set(err, ERR_INTEGRITY, "index.json lists no image");
	}
	int r = 0;
	for (size_t i = 0; r == 0 && i < idx.n_manifests; i++) {
		const struct oci_descriptor *d = &idx.manifests[i];
		const char *ref = json_get_str(d->annotations, ANN_REF);
		_cleanup_free_ char *name = canonical_name(json_get_str(d->annotations, ANN_NAME));
		/* A bare tag names no image; a whole reference does. */
		if (!name && ref && (strchr(ref, '/') || strchr(ref, ':')))
			name = canonical_name(ref);
		char top[DIGEST_STR_MAX];
		if (is_image(d))
			r = load_oci_doc(a, d, name, digest_str(&d->digest, top), false, 0, err);
	}
	oci_index_release(&idx);
	return r;
}

/* Hands reads on without owning: the caller keeps its stream. */
struct borrow_reader {
	struct reader base;
	struct reader *from;
};

static ssize_t borrow_read(struct reader *r, void *p, size_t n, struct error *err)
{
	return reader_read(((struct borrow_reader *)r)->from, p, n, err);
}

int export_load_archive(struct store *s, struct store_lease *l, struct reader *in,
        struct strv *ret_names, struct error *err)
{
	struct borrow_reader borrowed = {{borrow_read, entry_free}, in};
	_cleanup_reader_ struct reader *plain = NULL;
	_cleanup_(archive_release) struct archive a = {
	        .s = s, .l = l, .members = MAP_INIT(member_free), .names = ret_names};
	if (reader_decompress(&borrowed.base, EXPORT_LAYER_MAX, NULL, &plain, err) < 0 ||
	        read_members(&a, plain, err) < 0)
		return -1;
	/* Where both are, docker's own list has the names people gave. */
	if (a.manifest_json)
		return load_docker(&a, err);
	if (a.index_json)
		return load_oci(&a, err);
	(void)err_set(err, ERR_INTEGRITY,
	        "neither a docker archive nor an OCI layout: it has no "
	        "manifest.json and no index.json");
	return err_hint(err, "`docker save`, `podman save` and `strake save` make such archives");
}
