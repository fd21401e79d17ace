/* export/write_rootfs.c - the merged file system of an image, as a tar or into a directory. */
#include "export/internal.h"
#include "layer/layer.h"
#include "sys/path.h"
#include "tree/view.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

/* --- the view of an image -------------------------------------------------------------------- */

struct rootfs {
	struct treeview view;
	const struct tree **trees;
	int *fds; /* borrowed from the store */
};

static void rootfs_release(struct rootfs *r)
{
	free(r->trees);
	free(r->fds);
}

/* A layer that is here only as a blob is unpacked first. */
static int need_layer(struct store *s, struct store_lease *l, const struct digest *diff_id,
        const struct store_layer **ret, struct error *err)
{
	int what = STORE_LAYER_FD | STORE_LAYER_TREE;
	int r = store_layer_get(s, l, diff_id, what, ret, err);
	if (r != 0)
		return r < 0 ? -1 : 0;
	struct oci_descriptor *v = NULL;
	size_t n = 0;
	if (store_layer_blobs(s, diff_id, &v, &n, err) < 0)
		return -1;
	char hex[DIGEST_STR_MAX];
	r = err_set(err, ERR_NOT_FOUND, "layer %s is not in the store", digest_str(diff_id, hex));
	for (size_t i = 0; i < n && r < 0; i++) {
		if (!store_blob_has(s, &v[i].digest, NULL))
			continue;
		error_release(err);
		r = export_unpack_layer(s, l, diff_id, &v[i], ret, err);
	}
	for (size_t i = 0; i < n; i++)
		oci_descriptor_release(&v[i]);
	free(v);
	if (r < 0)
		return -1;
	r = store_layer_get(s, l, diff_id, what, ret, err);
	return r == 0 ? err_set(err, ERR_INTERNAL, "layer %s vanished", hex) : MIN(r, 0);
}

static int rootfs_open(struct rootfs *r, struct store *s, struct store_lease *l,
        const struct oci_image *config, struct error *err)
{
	size_t n = config->n_diff_ids;
	r->trees = new0(const struct tree *, n + 1);
	r->fds = new0(int, n + 1);
	for (size_t i = 0; i < n; i++) {
		const struct store_layer *layer = NULL;
		if (need_layer(s, l, &config->diff_ids[i], &layer, err) < 0)
			return -1;
		r->trees[i] = layer->tree;
		r->fds[i] = layer->fd;
	}
	r->view = (struct treeview){.layers = r->trees, .n = n};
	return 0;
}

/* --- tar ------------------------------------------------------------------------------------- */

struct tar_job {
	const struct rootfs *r;
	const struct export_options *o;
	const char *prefix; /* "linux_arm64/" or "" */
	struct sink *out;
	struct map links; /* "layer\nfirst path of the file" -> path it got in the output */
	struct error *err;
};

static char *link_key(size_t layer, const char *path)
{
	return xasprintf("%zu\n%s", layer, path);
}

static int copy_content(
        struct tar_job *j, const struct view_hit *hit, const char *path, uint64_t size)
{
	char buf[64 * 1024];
	_cleanup_close_ int fd = sys_open_beneath(j->r->fds[hit->layer], path, O_RDONLY, 0);
	if (fd < 0)
		return err_sys(j->err, fd, "read %s in a layer", path);
	struct sha256 h;
	struct digest got;
	const struct tree_entry *content = view_content(&j->r->view, hit);
	sha256_init(&h);
	for (uint64_t left = size; left > 0;) {
		ssize_t n = read(fd, buf, (size_t)MIN(left, (uint64_t)sizeof(buf)));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(j->err, errno, "read %s in a layer", path);
		if (n == 0)
			return err_set(j->err, ERR_INTEGRITY, "%s in a layer became shorter", path);
		if (sink_write(j->out, buf, (size_t)n, j->err) < 0)
			return -1;
		sha256_update(&h, buf, (size_t)n);
		left -= (uint64_t)n;
	}
	sha256_final(&h, &got);
	if (content && content->has_digest && !digest_eq(&got, &content->sha256))
		return err_set(j->err, ERR_INTEGRITY,
		        "%s in a layer is damaged: it is not what was stored", path);
	return tar_write_padding(size, j->out, j->err);
}

/* Hard links: the first visible name of a file carries the bytes, the others refer to it. That may
 * not be the name it has in the layer, where an upper layer hides that one. */
static void resolve_link(struct tar_job *j, const struct view_hit *hit, struct tree_entry *e,
        const char **ret_target)
{
	const char *first = hit->entry->type == TREE_HARDLINK ? hit->entry->link : hit->entry->path;
	_cleanup_free_ char *key = link_key(hit->layer, first);
	*ret_target = NULL;
	if (hit->entry->type == TREE_HARDLINK) {
		*ret_target = map_get(&j->links, key);
		if (*ret_target)
			return;
		const struct tree_entry *content = view_content(&j->r->view, hit);
		if (content) {
			const char *path = e->path;
			*e = *content;
			e->path = path;
		}
	}
	map_put(&j->links, key, xstrdup(hit->entry->path));
}

static int tar_one(void *ctx, const struct view_hit *hit)
{
	struct tar_job *j = ctx;
	struct tree_entry e = *hit->entry;
	const char *target = NULL;
	if (*e.path == '\0' || e.type == TREE_SOCK || e.type == TREE_WHITEOUT)
		return 0;
	if (e.type != TREE_DIR)
		resolve_link(j, hit, &e, &target);
	_cleanup_free_ char *path = xasprintf("%s%s", j->prefix, e.path);
	_cleanup_free_ char *link = target ? xasprintf("%s%s", j->prefix, target) : NULL;
	e.path = path;
	e.opaque = false;
	if (target) {
		e.type = TREE_HARDLINK;
		e.link = link;
	} else if (e.type == TREE_HARDLINK) {
		return err_set(j->err, ERR_INTEGRITY, "%s is a link to a file that is not there",
		        hit->entry->path);
	}
	if (j->o->rewrite_timestamp && e.mtime_sec > j->o->epoch)
		e.mtime_sec = j->o->epoch;
	if (tar_write_entry(&e, j->out, j->err) < 0)
		return -1;
	return e.type == TREE_REG ? copy_content(j, hit, hit->entry->path, e.size) : 0;
}

/* --- statements among the files -------------------------------------------------------------- */

struct subject_job {
	const struct rootfs *r;
	json_t *subjects;
};

static int add_subject(void *ctx, const struct view_hit *hit)
{
	struct subject_job *j = ctx;
	char hex[DIGEST_HEX_MAX];
	const struct tree_entry *e = view_content(&j->r->view, hit);
	if (!e || e->type != TREE_REG || !e->has_digest)
		return 0;
	json_t *o = json_object(), *d = json_object();
	json_object_set_new(d, "sha256", json_str(digest_hex(&e->sha256, hex)));
	json_object_set_new(o, "name", json_str(hit->entry->path));
	json_object_set_new(o, "digest", d);
	json_array_append_new(j->subjects, o);
	return 0;
}

/* file_statement - one statement about all files of the image. */
static int file_statement(const struct rootfs *r, const struct image_attestation *a,
        const char **ret_name, char **ret_text, struct error *err)
{
	struct view_hit hit;
	const char *name = image_statement_file(a);
	if (view_lookup(&r->view, name, &hit)) {
		(void)err_set(err, ERR_USAGE,
		        "the attestation %s cannot stand beside a file of the image of that name",
		        name);
		return err_hint(err, "leave out --provenance and --sbom for this output");
	}
	struct subject_job j = {r, json_array()};
	(void)view_list(&r->view, "", true, add_subject, &j);
	*ret_name = name;
	*ret_text = image_statement_about(a, j.subjects);
	return 0;
}

static char *platform_dir(const struct oci_platform *p)
{
	char buf[128];
	oci_platform_string(p, buf, sizeof(buf));
	for (char *c = buf; *c; c++)
		if (*c == '/')
			*c = '_';
	return xstrdup(buf);
}

static int tar_image(struct store *s, struct store_lease *l, const struct export_image *image,
        const char *prefix, const struct export_options *o, struct sink *out, struct error *err)
{
	_cleanup_(rootfs_release) struct rootfs r = {0};
	if (rootfs_open(&r, s, l, image->config, err) < 0)
		return -1;
	if (*prefix) {
		_cleanup_free_ char *dir = xstrndup(prefix, strlen(prefix) - 1);
		struct tree_entry e = {.path = dir, .type = TREE_DIR, .mode = 0755};
		if (tar_write_entry(&e, out, err) < 0)
			return -1;
	}
	struct tar_job j = {
	        .r = &r, .o = o, .prefix = prefix, .out = out, .links = MAP_INIT(free), .err = err};
	int rc = view_list(&r.view, "", true, tar_one, &j);
	map_release(&j.links);
	for (size_t i = 0; i < image->n_attestations && rc == 0; i++) {
		const char *name;
		_cleanup_free_ char *text = NULL;
		rc = file_statement(&r, &image->attestations[i], &name, &text, err);
		_cleanup_free_ char *path = rc < 0 ? NULL : xasprintf("%s%s", prefix, name);
		if (rc == 0)
			rc = tar_write_file(path, text, strlen(text), 0600,
			        o->rewrite_timestamp ? o->epoch : 0, out, err);
	}
	return rc;
}

static int write_tar(struct store *s, struct store_lease *l, const struct export_image *images,
        size_t n, const struct export_options *o, struct error *err)
{
	_cleanup_(output_release) struct output out;
	if (output_open(&out, o->dest, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		_cleanup_free_ char *dir = platform_dir(&images[i].config->platform);
		_cleanup_free_ char *prefix =
		        o->platform_split ? xasprintf("%s/", dir) : xstrdup("");
		if (tar_image(s, l, &images[i], prefix, o, out.sink, err) < 0)
			return -1;
	}
	if (tar_write_end(out.sink, err) < 0)
		return -1;
	return output_commit(&out, err);
}

/* --- directory ------------------------------------------------------------------------------- */

struct clamp_job {
	int destfd;
	int64_t epoch;
	struct error *err;
};

static int clamp_one(void *ctx, const struct view_hit *hit)
{
	struct clamp_job *j = ctx;
	const struct tree_entry *e = hit->entry;
	const char *name = NULL;
	if (*e->path == '\0' || e->mtime_sec <= j->epoch)
		return 0;
	_cleanup_close_ int dir = sys_open_parent(j->destfd, e->path, &name);
	if (dir < 0)
		return err_sys(j->err, dir, "open the directory of %s", e->path);
	const struct timespec ts[2] = {{j->epoch, 0}, {j->epoch, 0}};
	/* A socket or device that could not be made is not there. */
	if (utimensat(dir, name, ts, AT_SYMLINK_NOFOLLOW) < 0 && errno != ENOENT)
		return err_sys(j->err, errno, "set the time of %s", e->path);
	return 0;
}

static int local_image(struct store *s, struct store_lease *l, const struct export_image *image,
        int destfd, const struct export_options *o, struct error *err)
{
	_cleanup_(rootfs_release) struct rootfs r = {0};
	if (rootfs_open(&r, s, l, image->config, err) < 0)
		return -1;
	/* The files are the caller's, as docker's are. */
	if (layer_write_view(&r.view, r.fds, destfd, false, err) < 0)
		return -1;
	for (size_t i = 0; i < image->n_attestations; i++) {
		const char *name;
		_cleanup_free_ char *text = NULL;
		if (file_statement(&r, &image->attestations[i], &name, &text, err) < 0)
			return -1;
		int rc = sys_write_file_atomic(destfd, name, text, strlen(text), 0600);
		if (rc < 0)
			return err_sys(err, rc, "write %s", name);
	}
	if (!o->rewrite_timestamp)
		return 0;
	struct clamp_job j = {.destfd = destfd, .epoch = o->epoch, .err = err};
	return view_list(&r.view, "", true, clamp_one, &j);
}

/* Trusted path of the command line: made with its parents. */
static int open_dest(const char *dest, struct error *err)
{
	_cleanup_free_ char *path = xstrdup(dest);
	for (char *p = path + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		/* trusted-path: the user's dest= */
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			return err_sys(err, errno, "create %s", path);
		*p = '/';
	}
	/* trusted-path: the user's dest= */
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return err_sys(err, errno, "create %s", path);
	int fd = sys_open_dir(AT_FDCWD, path);
	return fd < 0 ? err_sys(err, fd, "open %s", path) : fd;
}

static int write_local(struct store *s, struct store_lease *l, const struct export_image *images,
        size_t n, const struct export_options *o, struct error *err)
{
	if (str_eq(o->dest, "-"))
		return err_set(err, ERR_USAGE, "type=local needs dest=DIRECTORY");
	_cleanup_close_ int fd = open_dest(o->dest, err);
	if (fd < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		_cleanup_close_ int sub = -1;
		if (o->platform_split) {
			_cleanup_free_ char *dir = platform_dir(&images[i].config->platform);
			int r = sys_mkdir_p(fd, dir, 0755);
			sub = r < 0 ? r : sys_open_beneath(fd, dir, O_RDONLY | O_DIRECTORY, 0);
			if (sub < 0)
				return err_sys(err, sub, "create %s/%s", o->dest, dir);
		}
		if (local_image(s, l, &images[i], sub >= 0 ? sub : fd, o, err) < 0)
			return err_wrap(err, "%s", o->dest);
	}
	return 0;
}

int write_rootfs(struct store *s, struct store_lease *l, const struct export_image *images,
        size_t n, const struct export_options *o, struct error *err)
{
	if (n > 1 && !o->platform_split) {
		(void)err_set(
		        err, ERR_USAGE, "%zu platforms in one place would overwrite each other", n);
		return err_hint(err, "leave out platform-split=false, or build one platform");
	}
	return o->type == EXPORT_TAR ? write_tar(s, l, images, n, o, err)
	                             : write_local(s, l, images, n, o, err);
}
