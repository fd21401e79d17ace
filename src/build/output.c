/* build/output.c - the finished root file systems -> configs, tags, exports, id and metadata files.
 *
 * Times: a layer's history entry carries the time its step really ran (from its record), an entry
 * without a layer the time of the layer before it, so that a rebuild from cache gives the same
 * image id. SOURCE_DATE_EPOCH replaces them all. */
#include "build/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>

#include "base/human.h"
#include "build/squash.h"
#include "codec/json.h"
#include "export/export.h"
#include "image/image.h"
#include "sys/path.h"

struct output_spec {
	enum { OUT_IMAGE, OUT_EXPORT } kind;
	struct export_options ex;
	struct strv names;
	bool push, compression_set;
	bool split_set; /* platform-split= was given, and is in ex */
	char *dest;
};

struct built {
	struct oci_image config;
	char *json;
	struct digest id;
	uint64_t size;
};

static bool parse_bool(const char *v, bool *ret)
{
	if (str_eq(v, "true") || str_eq(v, "1") || str_eq(v, "")) {
		*ret = true;
		return true;
	}
	*ret = false;
	return str_eq(v, "false") || str_eq(v, "0");
}

static int bad_value(
        const char *spec, const char *key, const char *v, const char *want, struct error *err)
{
	return err_set(err, ERR_USAGE, "--output %s: %s=%s is not %s", spec, key, v, want);
}

static int output_type(struct output_spec *s, const char *spec, const char *v, struct error *err)
{
	static const struct {
		const char *name;
		int kind;
		enum export_type type;
	} types[] = {{"oci", OUT_EXPORT, EXPORT_OCI}, {"docker", OUT_EXPORT, EXPORT_DOCKER},
	        {"tar", OUT_EXPORT, EXPORT_TAR}, {"local", OUT_EXPORT, EXPORT_LOCAL},
	        {"image", OUT_IMAGE, EXPORT_OCI}, {"registry", OUT_IMAGE, EXPORT_OCI}};
	static const char *const names[] = {"oci", "docker", "tar", "local", "image", "registry"};
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (!str_eq(types[i].name, v))
			continue;
		s->kind = types[i].kind;
		s->ex.type = types[i].type;
		s->ex.oci_mediatypes = types[i].type == EXPORT_OCI;
		s->push |= str_eq(v, "registry");
		return 0;
	}
	(void)err_set(err, ERR_USAGE, "--output %s: unknown type %s", spec, v);
	const char *near = human_nearest(v, names, ARRAY_SIZE(names));
	if (near)
		return err_hint(err, "did you mean %s?", near);
	return err_hint(err, "types are oci, docker, tar, local, image, registry");
}

static int output_compression(
        struct output_spec *s, const char *spec, const char *v, struct error *err)
{
	if (str_eq(v, "gzip"))
		s->ex.compression = COMPRESS_GZIP;
	else if (str_eq(v, "zstd"))
		s->ex.compression = COMPRESS_ZSTD;
	else if (str_eq(v, "uncompressed"))
		s->ex.compression = COMPRESS_NONE;
	else
		return bad_value(spec, "compression", v, "gzip, zstd or uncompressed", err);
	return 0;
}

/* output_key - one key=value of a spec. */
static int output_key(
        struct output_spec *s, const char *spec, const char *k, const char *v, struct error *err)
{
	static const char *const keys[] = {"type", "dest", "name", "tar", "compression",
	        "compression-level", "force-compression", "oci-mediatypes", "rewrite-timestamp",
	        "push", "platform-split"};
	if (str_eq(k, "type"))
		return output_type(s, spec, v, err);
	if (str_eq(k, "dest")) {
		free(s->dest);
		s->dest = xstrdup(v);
		return 0;
	}
	if (str_eq(k, "name")) {
		strv_split(&s->names, v, ",");
		return 0;
	}
	if (str_eq(k, "compression")) {
		s->compression_set = true;
		return output_compression(s, spec, v, err);
	}
	if (str_eq(k, "compression-level")) {
		char *end;
		long n = strtol(v, &end, 10);
		if (*end || end == v || n < 0 || n > 22)
			return bad_value(spec, k, v, "a number from 0 to 22", err);
		s->ex.level = (int)n;
		return 0;
	}
	if (str_starts(k, "annotation.") || str_starts(k, "annotation-manifest.")) {
		if (!s->ex.annotations)
			s->ex.annotations = json_object();
		json_object_set_new(s->ex.annotations, strchr(k, '.') + 1, json_str(v));
		return 0;
	}
	if (str_starts(k, "annotation-index.")) {
		if (!s->ex.index_annotations)
			s->ex.index_annotations = json_object();
		json_object_set_new(s->ex.index_annotations, strchr(k, '.') + 1, json_str(v));
		return 0;
	}
	s->split_set |= str_eq(k, "platform-split");
	bool *flag = str_eq(k, "platform-split")      ? &s->ex.platform_split
	             : str_eq(k, "tar")               ? &s->ex.tar
	             : str_eq(k, "force-compression") ? &s->ex.force_compression
	             : str_eq(k, "oci-mediatypes")    ? &s->ex.oci_mediatypes
	             : str_eq(k, "rewrite-timestamp") ? &s->ex.rewrite_timestamp
	             : str_eq(k, "push")              ? &s->push
	                                              : NULL;
	if (flag)
		return parse_bool(v, flag) ? 0 : bad_value(spec, k, v, "true or false", err);
	(void)err_set(err, ERR_USAGE, "--output %s: unknown key %s", spec, k);
	const char *near = human_nearest(k, keys, ARRAY_SIZE(keys));
	return near ? err_hint(err, "did you mean %s?", near) : -1;
}

static void output_release(struct output_spec *s)
{
	strv_release(&s->names);
	free(s->dest);
	json_decref(s->ex.annotations);
	json_decref(s->ex.index_annotations);
}

static int output_parse(struct build *b, const char *spec, struct output_spec *s, struct error *err)
{
	*s = (struct output_spec){.kind = OUT_EXPORT};
	s->ex = (struct export_options){.type = EXPORT_LOCAL,
	        .tar = true,
	        .level = -1,
	        .compression = COMPRESS_GZIP,
	        .oci_mediatypes = true};
	s->ex.n_threads = pool_size(b->pool);
	if (!strchr(spec, '=')) { /* docker's short form: a directory, or - for a tar */
		s->dest = xstrdup(spec);
		if (str_eq(spec, "-"))
			s->ex.type = EXPORT_TAR;
	} else {
		struct strv words = STRV_INIT;
		strv_split(&words, spec, ",");
		int rc = 0;
		for (size_t i = 0; i < words.n && rc >= 0; i++) {
			char *eq = strchr(words.v[i], '=');
			if (eq)
				*eq = '\0';
			rc = output_key(s, spec, words.v[i], eq ? eq + 1 : "", err);
		}
		strv_release(&words);
		if (rc < 0)
			return -1;
	}
	if (s->kind == OUT_EXPORT && !s->dest) {
		if (s->ex.type == EXPORT_LOCAL)
			return err_set(err, ERR_USAGE, "--output %s: dest is missing", spec);
		s->dest = xstrdup("-");
	}
	if (s->dest && str_eq(s->dest, "-") && isatty(STDOUT_FILENO)) {
		(void)err_set(err, ERR_USAGE,
		        "--output %s: refusing to write an archive to a terminal", spec);
		return err_hint(err, "redirect standard output, or name a file with dest=");
	}
	/* Tools that load docker archives read plain layers fastest, and so do we write them. */
	if (s->ex.type == EXPORT_DOCKER && !s->compression_set)
		s->ex.compression = COMPRESS_NONE;
	s->ex.dest = s->dest;
	if (s->ex.rewrite_timestamp && !b->o->has_epoch) {
		(void)err_set(err, ERR_USAGE,
		        "--output %s: rewrite-timestamp needs SOURCE_DATE_EPOCH", spec);
		return err_hint(err, "set it in the environment or with --build-arg");
	}
	s->ex.epoch = b->o->epoch;
	s->ex.index = b->o->multi_platform;
	if (!s->split_set)
		s->ex.platform_split = b->graph->n_targets > 1 || b->o->multi_platform;
	return 0;
}

/* --- configs --------------------------------------------------------------------------------- */

static void parse_rfc3339(const char *s, int64_t *sec)
{
	struct tm tm = {0};
	if (s && strptime(s, "%Y-%m-%dT%H:%M:%S", &tm))
		*sec = timegm(&tm);
}

static int make_config(struct build *b, const struct graph_target *t, const struct rootfs *top,
        const struct solve_output *outputs, struct built *ret, struct error *err)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	struct image_options io = {
	        .has_epoch = b->o->has_epoch, .epoch = b->o->epoch, .squash = b->o->squash};
	size_t n_layers = top ? top->depth : 0;
	_cleanup_free_ struct image_layer *layers = new0(struct image_layer, n_layers);
	for (const struct rootfs *r = top; r; r = r->parent) {
		layers[r->depth - 1].diff_id = r->diff_id;
		layers[r->depth - 1].from_base = r->from_base;
	}
	int64_t sec = 0, nsec = 0;
	parse_rfc3339(t->config->created, &sec);
	_cleanup_free_ struct image_step *steps = new0(struct image_step, t->n_history);
	for (size_t i = 0; i < t->n_history; i++) {
		const struct graph_history *h = &t->history[i];
		if (h->node != GRAPH_NONE && outputs[h->node].value) {
			const struct rootfs *r = outputs[h->node].value;
			sec = r->created_sec;
			nsec = r->created_nsec;
		}
		steps[i] =
		        (struct image_step){h->created_by, h->comment, h->empty_layer, sec, nsec};
	}
	if (b->o->squash && t->n_history) {
		/* One layer, one entry that has it: the last. */
		for (size_t i = 0; i < t->n_history; i++)
			steps[i].empty_layer = true;
		size_t last = t->n_history - 1;
		steps[last].empty_layer = !(top && !top->from_base);
	}
	/* Only where neither a step nor the base has a time. */
	io.now_sec = now.tv_sec;
	io.now_nsec = now.tv_nsec;
	oci_image_init(&ret->config);
	if (image_finish_config(
	            t->config, layers, n_layers, steps, t->n_history, &io, &ret->config, err) < 0)
		return -1;
	ret->json = oci_image_encode(&ret->config);
	for (size_t i = 0; i < n_layers; i++) {
		const struct store_layer *l;
		int rc = store_layer_get(b->store, b->lease, &layers[i].diff_id, 0, &l, err);
		if (rc < 0)
			return -1;
		if (rc > 0)
			ret->size += l->size;
	}
	return store_blob_put(b->store, b->lease, ret->json, strlen(ret->json), &ret->id, err);
}

static int tag_images(struct build *b, const struct strv *names, struct built *v, struct error *err)
{
	for (size_t i = 0; i < names->n; i++) {
		struct oci_ref ref = {0};
		if (oci_ref_parse(names->v[i], &ref, err) < 0)
			return -1;
		_cleanup_free_ char *name = oci_ref_string(&ref);
		oci_ref_release(&ref);
		for (size_t k = 0; k < b->graph->n_targets; k++) {
			int64_t created = 0;
			parse_rfc3339(v[k].config.created, &created);
			if (store_image_put(b->store, name, &v[k].id,
			            &b->graph->targets[k].platform, NULL, v[k].size, created, k > 0,
			            err) < 0)
				return -1;
		}
		ui_step_note(b->ui, UI_EXPORT, "naming to %s done", name);
	}
	return 0;
}

static int store_untagged(struct build *b, struct built *v, struct error *err)
{
	for (size_t k = 0; k < b->graph->n_targets; k++) {
		int64_t created = 0;
		parse_rfc3339(v[k].config.created, &created);
		if (store_image_put(b->store, "", &v[k].id, &b->graph->targets[k].platform, NULL,
		            v[k].size, created, k > 0, err) < 0)
			return -1;
	}
	return 0;
}

/* fetch_all - every layer of the targets here, also of bases that no step needed. */
static int fetch_all(struct build *b, const struct rootfs **tops, struct error *err)
{
	for (size_t k = 0; k < b->graph->n_targets; k++) {
		struct build_view v;
		if (build_view_open(b, tops[k], &v, err) < 0)
			return -1;
		build_view_release(&v);
	}
	return 0;
}

/* fetch_remote - a tag must not name layers whose bytes are only in a registry. */
static int fetch_remote(struct build *b, const struct rootfs **tops, struct error *err)
{
	for (size_t k = 0; k < b->graph->n_targets; k++)
		for (const struct rootfs *r = tops[k]; r; r = r->parent)
			if (r->image && !build_image_has_bytes(b, r->image))
				return build_enter(b, err) < 0 ? -1 : fetch_all(b, tops, err);
	return 0;
}

static int export_one(struct build *b, struct output_spec *s, struct built *v,
        const struct rootfs **tops, struct oci_descriptor *ret, struct error *err)
{
	size_t n = b->graph->n_targets;
	/* Layers hold files of other ids: reading them takes the same rights as making them. */
	if (build_enter(b, err) < 0 || fetch_all(b, tops, err) < 0)
		return -1;
	_cleanup_free_ struct export_image *images = new0(struct export_image, n);
	struct strv canonical = STRV_INIT;
	const struct strv *names = s->names.n ? &s->names : &b->o->tags;
	int rc = 0;
	for (size_t i = 0; i < names->n && rc >= 0; i++) {
		struct oci_ref ref = {0};
		rc = oci_ref_parse(names->v[i], &ref, err);
		if (rc >= 0)
			strv_add_take(&canonical, oci_ref_string(&ref));
		oci_ref_release(&ref);
	}
	for (size_t i = 0; i < n; i++)
		images[i] = (struct export_image){&v[i].config, v[i].json, canonical};
	for (size_t i = 0; i < b->o->annotations.n; i++) {
		_cleanup_free_ char *k = xstrdup(b->o->annotations.v[i]);
		char *eq = strchr(k, '=');
		*eq = '\0';
		if (!s->ex.annotations)
			s->ex.annotations = json_object();
		json_object_set_new(s->ex.annotations, k, json_str(eq + 1));
	}
	if (rc >= 0)
		rc = export_write(b->store, b->lease, images, n, &s->ex, b->pool, ret, err);
	strv_release(&canonical);
	return rc;
}

static int write_text_file(const char *path, const char *text, struct error *err)
{
	/* trusted-path: --iidfile, --metadata-file */
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	int r = fd < 0 ? -errno : sys_write_all(fd, text, strlen(text));
	return r < 0 ? err_sys(err, r, "writing %s", path) : 0;
}

static int write_metadata(
        struct build *b, const struct built *v, const struct oci_descriptor *d, struct error *err)
{
	char dstr[DIGEST_STR_MAX];
	_cleanup_json_ json_t *j = json_object();
	json_object_set_new(j, "buildx.build.ref", json_str(b->id));
	json_object_set_new(j, "containerimage.config.digest", json_str(digest_str(&v->id, dstr)));
	if (d->media_type) {
		json_object_set_new(j, "containerimage.descriptor", oci_descriptor_to_json(d));
		json_object_set_new(
		        j, "containerimage.digest", json_str(digest_str(&d->digest, dstr)));
	} else {
		json_object_set_new(j, "containerimage.digest", json_str(digest_str(&v->id, dstr)));
	}
	if (b->o->tags.n) {
		_cleanup_free_ char *names = strv_join(&b->o->tags, ",");
		json_object_set_new(j, "image.name", json_str(names));
	}
	_cleanup_free_ char *text = json_pretty(j);
	_cleanup_free_ char *line = xasprintf("%s\n", text);
	return write_text_file(b->o->metadata_file, line, err);
}

static int make_outputs(struct build *b, struct output_spec *specs, size_t n_specs, struct built *v,
        const struct rootfs **tops, struct error *err)
{
	char dstr[DIGEST_STR_MAX];
	struct oci_descriptor desc = {0};
	bool image = n_specs == 0 || b->o->tags.n > 0;
	for (size_t i = 0; i < n_specs; i++)
		image |= specs[i].kind == OUT_IMAGE;
	int rc = image ? fetch_remote(b, tops, err) : 0;
	for (size_t i = 0; i < n_specs && rc >= 0; i++) {
		if (specs[i].kind == OUT_IMAGE) {
			rc = tag_images(b, &specs[i].names, v, err);
		} else {
			oci_descriptor_release(&desc);
			desc = (struct oci_descriptor){0};
			rc = export_one(b, &specs[i], v, tops, &desc, err);
		}
	}
	if (rc >= 0 && image)
		rc = b->o->tags.n ? tag_images(b, &b->o->tags, v, err) : store_untagged(b, v, err);
	if (rc >= 0) {
		b->result->image_id = xstrdup(digest_str(&v[0].id, dstr));
		ui_step_note(b->ui, UI_EXPORT, "writing image %s done", b->result->image_id);
		if (b->o->iidfile)
			rc = write_text_file(b->o->iidfile, b->result->image_id, err);
	}
	if (rc >= 0 && b->o->metadata_file)
		rc = write_metadata(b, &v[0], &desc, err);
	oci_descriptor_release(&desc);
	return rc;
}

int build_outputs(struct build *b, const struct solve_output *outputs, struct error *err)
{
	size_t n = b->graph->n_targets, n_specs = b->o->outputs.n, parsed = 0;
	_cleanup_free_ struct built *v = new0(struct built, n);
	_cleanup_free_ const struct rootfs **tops = new0(const struct rootfs *, n);
	_cleanup_free_ struct output_spec *specs = new0(struct output_spec, n_specs);
	int rc = 0;
	ui_step_start(b->ui, UI_EXPORT, "exporting to image");
	for (; parsed < n_specs && rc >= 0; parsed++)
		rc = output_parse(b, b->o->outputs.v[parsed], &specs[parsed], err);
	for (size_t k = 0; k < n && rc >= 0; k++) {
		const struct graph_target *t = &b->graph->targets[k];
		tops[k] = t->node == GRAPH_NONE ? NULL : outputs[t->node].value;
		if (b->o->squash)
			rc = build_squash(b, &tops[k], err);
		if (rc >= 0)
			rc = make_config(b, t, tops[k], outputs, &v[k], err);
	}
	if (rc >= 0)
		rc = make_outputs(b, specs, n_specs, v, tops, err);
	if (rc < 0)
		ui_step_error(b->ui, UI_EXPORT, err->msg);
	else
		ui_step_done(b->ui, UI_EXPORT);
	for (size_t k = 0; k < n; k++) {
		oci_image_release(&v[k].config);
		free(v[k].json);
	}
	for (size_t i = 0; i < parsed; i++)
		output_release(&specs[i]);
	return rc;
}
