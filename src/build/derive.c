/* build/derive.c - see derive.h. */
#include "build/derive.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>

#include "base/arena.h"
#include "dockerfile/dockerfile.h"
#include "dockerfile/lint.h"
#include "graph/graph.h"
#include "layer/layer.h"
#include "sys/path.h"

#define BASE_NAME "docker.io/library/base:latest" /* of the pretended FROM; never looked up */
#define IMPORT_MAX (UINT64_C(1) << 40)

/* --- changes --------------------------------------------------------------------------------- */

/* The instructions go through the planner as a Dockerfile whose base is the image: whatever they
 * mean there they mean here. */
static char *as_dockerfile(const struct strv *changes)
{
	struct strbuf b = STRBUF_INIT;
	strbuf_addstr(&b, "FROM " BASE_NAME "\n");
	for (size_t i = 0; i < changes->n; i++)
		strbuf_addf(&b, "%s\n", changes->v[i]);
	return strbuf_detach(&b);
}

static int check_changes(const struct graph *g, struct error *err)
{
	for (size_t i = 0; i < g->n_nodes; i++)
		if (g->nodes[i]->op != GRAPH_IMAGE && g->nodes[i]->op != GRAPH_WORKDIR) {
			(void)err_set(err, ERR_USAGE, "--change: %s changes files",
			        str_or_empty(g->nodes[i]->created_by));
			return err_hint(err,
			        "only instructions such as CMD, ENV, LABEL or USER can "
			        "be given; build from the image for more");
		}
	return 0;
}

static int plan(
        const struct df_file *f, struct oci_image *base, struct graph **ret, struct error *err)
{
	static const struct strv none;
	struct graph_options o = {.build_args = &none,
	        .platforms = &base->platform,
	        .n_platforms = 1,
	        .labels = &none};
	oci_platform_host(&o.build_platform);
	struct graph_base b = {.ref = BASE_NAME, .platform = base->platform, .config = base};
	struct df_warnings w;
	struct graph_needed *needed = NULL;
	size_t n = 0;
	df_warnings_init(&w, f);
	int rc = graph_build(f, &o, &b, 1, &w, ret, &needed, &n, err);
	df_warnings_release(&w);
	if (rc == 1) {
		graph_needed_free(needed, n);
		return err_set(err, ERR_USAGE, "--change cannot name other images");
	}
	return rc;
}

int image_change(struct oci_image *im, const struct strv *changes, struct error *err)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	struct df_file *f;
	struct graph *g = NULL;
	struct strv onbuild = im->onbuild;
	if (!changes->n)
		return 0;
	_cleanup_free_ char *text = as_dockerfile(changes);
	/* Triggers are for who builds from the image, which nobody does here. */
	im->onbuild = STRV_INIT;
	int rc = df_parse(&a, text, strlen(text), "--change", &f, err);
	if (rc >= 0)
		rc = plan(f, im, &g, err);
	if (rc >= 0)
		rc = check_changes(g, err);
	if (rc >= 0) {
		struct oci_image changed;
		oci_image_copy(&changed, g->targets[0].config);
		for (size_t i = 0; i < changed.onbuild.n; i++)
			strv_add(&onbuild, changed.onbuild.v[i]);
		oci_image_release(im);
		*im = changed;
		strv_release(&im->onbuild);
	}
	im->onbuild = onbuild;
	graph_free(g);
	return rc < 0 ? -1 : 0;
}

/* --- layers and images ----------------------------------------------------------------------- */

int image_add_layer(const struct image_rootfs *r, struct store *s, struct oci_image *im,
        const char *name, const struct tree *t, int treefd, struct error *err)
{
	struct digest diff_id;
	uint64_t tar_size;
	const struct store_layer *l;
	if (!t->n)
		return 0;
	if (layer_diff_id(t, treefd, &diff_id, &tar_size, err) < 0 ||
	        store_layer_publish(s, r->lease, name, t, &diff_id, tar_size, true, &l, err) < 0)
		return -1;
	oci_image_add_diff_id(im, &diff_id);
	return 1;
}

static int sum_sizes(const struct image_rootfs *r, struct store *s, const struct oci_image *im,
        uint64_t *ret, struct error *err)
{
	uint64_t size = 0;
	for (size_t i = 0; i < im->n_diff_ids; i++) {
		const struct store_layer *l;
		int rc = store_layer_get(s, r->lease, &im->diff_ids[i], 0, &l, err);
		if (rc < 0)
			return -1;
		size += rc > 0 ? l->size : 0;
	}
	*ret = size;
	return 0;
}

int image_keep(const struct image_rootfs *r, struct store *s, const struct oci_image *im,
        const char *name, struct digest *ret_id, struct error *err)
{
	uint64_t size;
	_cleanup_free_ char *full = NULL;
	if (name) {
		struct oci_ref ref = {0};
		if (oci_ref_parse(name, &ref, err) < 0)
			return -1;
		full = oci_ref_string(&ref);
		bool digest = ref.digest != NULL;
		oci_ref_release(&ref);
		if (digest)
			return err_set(err, ERR_USAGE,
			        "%s: a new image cannot have a digest as name", name);
	}
	_cleanup_free_ char *json = oci_image_encode(im);
	if (store_blob_put(s, r->lease, json, strlen(json), ret_id, err) < 0 ||
	        sum_sizes(r, s, im, &size, err) < 0)
		return -1;
	return store_image_put(s, full ? full : "", ret_id, &im->platform, NULL, size,
	        (int64_t)time(NULL), false, err);
}

/* --- import ---------------------------------------------------------------------------------- */

/* open_source - a descriptor to read the tar from; a URL is fetched into staging first. */
static int open_source(
        const struct image_rootfs *r, const char *source, int staging, struct error *err)
{
	if (str_eq(source, "-")) {
		int fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
		return fd < 0 ? err_sys(err, errno, "standard input") : fd;
	}
	if (!str_starts(source, "http://") && !str_starts(source, "https://")) {
		/* trusted-path: named on the command line */
		int fd = open(source, O_RDONLY | O_CLOEXEC);
		return fd < 0 ? err_sys(err, errno, "%s", source) : fd;
	}
	_cleanup_close_ int fd = openat(
	        staging, "download", O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(err, errno, "cannot make a file for the download");
	_cleanup_sink_ struct sink *to = sink_fd(fd, source);
	if (image_rootfs_fetch(r, source, to, err) < 0 || sink_finish(to, err) < 0)
		return -1;
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(err, errno, "%s", source);
	return take_fd(&fd);
}

static int unpack(const struct image_rootfs *r, int fd, const char *what, int treefd,
        struct tree *ret, struct error *err)
{
	struct layer_apply_options lo = {.single_id = r->single_id, .max_bytes = IMPORT_MAX};
	_cleanup_reader_ struct reader *in = NULL;
	if (reader_decompress(reader_fd(fd, what), IMPORT_MAX, NULL, &in, err) < 0)
		return -1;
	return layer_apply(in, what, treefd, &lo, ret, err);
}

static int new_config(const struct image_import_options *o, const char *shown, struct oci_image *im,
        struct error *err)
{
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	_cleanup_free_ char *now = oci_time(ts.tv_sec, ts.tv_nsec);
	_cleanup_free_ char *comment =
	        o->message ? xstrdup(o->message) : xasprintf("Imported from %s", shown);
	oci_platform_host(&im->platform);
	if (o->platform && oci_platform_parse(o->platform, &im->platform, err) < 0)
		return -1;
	if (image_change(im, &o->changes, err) < 0)
		return -1;
	free(im->created);
	im->created = xstrdup(now);
	oci_image_add_history(im, now, "", comment, false);
	return 0;
}

static int import(const struct image_rootfs *r, struct store *s,
        const struct image_import_options *o, struct oci_image *im, struct digest *ret_id,
        struct error *err)
{
	const char *shown = str_eq(o->source, "-") ? "-" : o->source;
	_cleanup_free_ char *name = NULL;
	_cleanup_close_ int staging = -1, tree = -1, fd = -1;
	_cleanup_tree_ struct tree t = TREE_INIT;
	/* What is wrong with the flags first, before gigabytes are read. */
	if (new_config(o, shown, im, err) < 0 ||
	        store_staging_dir(r->lease, &name, &staging, err) < 0)
		return -1;
	int e = sys_mkdir_p(staging, "tree", 0755);
	tree = e < 0 ? e : sys_open_beneath(staging, "tree", O_RDONLY | O_DIRECTORY, 0);
	if (tree < 0)
		return err_sys(err, tree, "cannot make a staging directory");
	fd = open_source(r, o->source, staging, err);
	if (fd < 0 || unpack(r, fd, shown, tree, &t, err) < 0)
		return -1;
	(void)unlinkat(staging, "download", 0);
	if (!t.n)
		return err_set(err, ERR_USAGE, "%s: the tar is empty", shown);
	if (image_add_layer(r, s, im, name, &t, tree, err) < 0)
		return -1;
	return image_keep(r, s, im, o->name, ret_id, err);
}

int image_import(struct store *s, const struct image_import_options *o, struct digest *ret_id,
        struct error *err)
{
	_cleanup_(image_rootfs_freep) struct image_rootfs *r = NULL;
	struct oci_image im;
	if (image_rootfs_open(s, NULL, o->source, o->interrupted, &r, err) < 0)
		return -1;
	oci_image_init(&im);
	int rc = import(r, s, o, &im, ret_id, err);
	oci_image_release(&im);
	return rc;
}
