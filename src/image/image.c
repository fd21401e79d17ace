/* image/image.c - see image.h. Everything here is a pure function of its arguments: the same
 * results always give the same config and manifest bytes. */
#include "image/image.h"

/* containerd's name; docker itself never registered one for zstd. */
#define DOCKER_MT_LAYER_ZSTD "application/vnd.docker.image.rootfs.diff.tar.zstd"

static const struct {
	const char *oci, *docker;
} media_types[] = {
        {OCI_MT_MANIFEST, DOCKER_MT_MANIFEST},
        {OCI_MT_INDEX, DOCKER_MT_INDEX},
        {OCI_MT_CONFIG, DOCKER_MT_CONFIG},
        {OCI_MT_LAYER, DOCKER_MT_LAYER},
        {OCI_MT_LAYER_GZIP, DOCKER_MT_LAYER_GZIP},
        {OCI_MT_LAYER_ZSTD, DOCKER_MT_LAYER_ZSTD},
};

const char *image_media_type(const char *mt, bool docker)
{
	for (size_t i = 0; i < ARRAY_SIZE(media_types); i++)
		if (str_eq(mt, media_types[i].oci) || str_eq(mt, media_types[i].docker))
			return docker ? media_types[i].docker : media_types[i].oci;
	return mt;
}

const char *image_layer_media_type(const char *compression, bool docker)
{
	const char *mt = OCI_MT_LAYER;
	if (str_eq(compression, "gzip"))
		mt = OCI_MT_LAYER_GZIP;
	else if (str_eq(compression, "zstd"))
		mt = OCI_MT_LAYER_ZSTD;
	return image_media_type(mt, docker);
}

/* --- config -------------------------------------------------------------------------------- */

/* The layer list is either whole (the base's own first, marked) or just what is new. */
static int check_layers(const struct oci_image *templ, const struct image_layer *layers, size_t n,
        size_t *ret_first_new, struct error *err)
{
	size_t n_base = 0;
	while (n_base < n && layers[n_base].from_base)
		n_base++;
	for (size_t i = n_base; i < n; i++)
		if (layers[i].from_base)
			return err_set(err, ERR_INTERNAL,
			        "layer %zu of the image comes from the base but stands above new "
			        "layers",
			        i);
	if (n_base != 0 && n_base != templ->n_diff_ids)
		return err_set(err, ERR_INTERNAL,
		        "the base image has %zu layers, the result holds %zu of them",
		        templ->n_diff_ids, n_base);
	for (size_t i = 0; i < n_base; i++)
		if (!digest_eq(&layers[i].diff_id, &templ->diff_ids[i]))
			return err_set(
			        err, ERR_INTERNAL, "layer %zu of the result is not the base's", i);
	*ret_first_new = n_base;
	return 0;
}

struct when {
	int64_t sec, nsec;
	bool known;
};

static struct when step_time(const struct image_step *s, const struct image_options *o)
{
	struct when w = {s->created_sec, s->created_nsec, s->created_sec || s->created_nsec};
	if (w.known && o->has_epoch && w.sec >= o->epoch)
		w = (struct when){o->epoch, 0, true};
	return w;
}

/* known_time - what steps before the first dated one take: theirs is the first date that comes.
 * NULL: there is none. */
static char *known_time(const struct oci_image *templ, const struct image_step *steps,
        size_t n_steps, const struct image_options *o)
{
	for (size_t i = 0; i < n_steps; i++) {
		struct when w = step_time(&steps[i], o);
		if (w.known)
			return oci_time(w.sec, w.nsec);
	}
	if (o->has_epoch)
		return oci_time(o->epoch, 0);
	for (size_t i = templ->n_history; i-- > 0;)
		if (templ->history[i].created)
			return xstrdup(templ->history[i].created);
	return templ->created ? xstrdup(templ->created) : NULL;
}

bool image_is_dated(const struct oci_image *templ, const struct image_step *steps, size_t n_steps,
        const struct image_options *o)
{
	_cleanup_free_ char *t = known_time(templ, steps, n_steps, o);
	return t != NULL;
}

/* Squashed: one layer for all new steps; it belongs to the last step that made one. */
static size_t squash_holder(const struct image_step *steps, size_t n_steps)
{
	for (size_t i = n_steps; i-- > 0;)
		if (!steps[i].empty_layer)
			return i;
	return SIZE_MAX;
}

int image_finish_config(const struct oci_image *templ, const struct image_layer *layers,
        size_t n_layers, const struct image_step *steps, size_t n_steps,
        const struct image_options *o, struct oci_image *ret, struct error *err)
{
	size_t first_new = 0;
	if (check_layers(templ, layers, n_layers, &first_new, err) < 0)
		return -1;
	size_t holder = o->squash ? squash_holder(steps, n_steps) : SIZE_MAX;
	size_t n_with_layer = 0;
	for (size_t i = 0; i < n_steps; i++)
		n_with_layer += o->squash ? i == holder : !steps[i].empty_layer;
	if (n_with_layer != n_layers - first_new)
		return err_set(err, ERR_INTERNAL, "%zu new layers, but the history tells of %zu",
		        n_layers - first_new, n_with_layer);

	struct oci_image im;
	oci_image_init(&im);
	oci_image_copy(&im, templ);
	for (size_t i = first_new; i < n_layers; i++)
		oci_image_add_diff_id(&im, &layers[i].diff_id);
	_cleanup_free_ char *last = known_time(templ, steps, n_steps, o);
	if (!last)
		last = oci_time(o->now_sec, o->now_nsec);
	for (size_t i = 0; i < n_steps; i++) {
		struct when w = step_time(&steps[i], o);
		if (w.known) {
			free(last);
			last = oci_time(w.sec, w.nsec);
		}
		bool empty = o->squash ? i != holder : steps[i].empty_layer;
		oci_image_add_history(&im, last, steps[i].created_by, steps[i].comment, empty);
	}
	free(im.created);
	im.created = o->has_epoch ? oci_time(o->epoch, 0) : take_ptr(last);
	*ret = im;
	return 0;
}

/* --- manifest and index ---------------------------------------------------------------------- */

/* A shallow view of a descriptor in one media type family; owns nothing. */
static struct oci_descriptor in_family(const struct oci_descriptor *d, bool docker)
{
	struct oci_descriptor out = *d;
	/* encode only reads it */
	out.media_type = (char *)(uintptr_t)image_media_type(d->media_type, docker);
	return out;
}

static struct oci_descriptor *all_in_family(const struct oci_descriptor *v, size_t n, bool docker)
{
	struct oci_descriptor *out = new0(struct oci_descriptor, n + 1);
	for (size_t i = 0; i < n; i++)
		out[i] = in_family(&v[i], docker);
	return out;
}

char *image_manifest(const struct oci_descriptor *config, const struct oci_descriptor *layers,
        size_t n, bool docker, json_t *annotations)
{
	_cleanup_free_ struct oci_descriptor *v = all_in_family(layers, n, docker);
	char mt[] = OCI_MT_MANIFEST, docker_mt[] = DOCKER_MT_MANIFEST;
	struct oci_manifest m = {
	        .media_type = docker ? docker_mt : mt,
	        .config = in_family(config, docker),
	        .layers = v,
	        .n_layers = n,
	        .annotations = annotations,
	};
	return oci_manifest_encode(&m);
}

char *image_index(
        const struct oci_descriptor *manifests, size_t n, bool docker, json_t *annotations)
{
	_cleanup_free_ struct oci_descriptor *v = all_in_family(manifests, n, docker);
	char mt[] = OCI_MT_INDEX, docker_mt[] = DOCKER_MT_INDEX;
	struct oci_index i = {
	        .media_type = docker ? docker_mt : mt,
	        .manifests = v,
	        .n_manifests = n,
	        .annotations = annotations,
	};
	return oci_index_encode(&i);
}
