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
#include "build/attest.h"
#include "build/cache.h"
#include "build/engine.h"
#include "build/push.h"
#include "build/squash.h"
#include "codec/json.h"
#include "export/export.h"
#include "image/image.h"
#include "layer/leak.h"
#include "sys/path.h"

/* What an output is, as bits: the table of keys says which take which. */
enum { OUT_OCI = 1, OUT_DOCKER = 2, OUT_TAR = 4, OUT_LOCAL = 8, OUT_IMAGE = 16, OUT_NONE = 32 };
#define MADE_KIND "made" /* of records: docs/formats/store.md */
#define OUT_FILES (OUT_OCI | OUT_DOCKER | OUT_TAR | OUT_LOCAL)

struct output_spec {
	int kind;
	struct export_options ex;
	struct strv names;
	struct strv keys;                      /* those that were given */
	bool split_set;                        /* platform-split= was given, and is in ex */
	struct export_annotation *annotations; /* ex has them too */
	size_t cap_annotations;
	bool push, by_digest, insecure, keep, compression_set, completed;
	char *dest, *context;
	struct engine *engine; /* type=docker without dest: where it is loaded */
	bool load;
};

struct built {
	struct oci_image config;
	char *json;
	struct digest id;
	uint64_t size;
	struct image_attestation attests[ATTEST_MAX];
	size_t n_attests;
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
	} types[] = {{"oci", OUT_OCI, EXPORT_OCI}, {"docker", OUT_DOCKER, EXPORT_DOCKER},
	        {"tar", OUT_TAR, EXPORT_TAR}, {"local", OUT_LOCAL, EXPORT_LOCAL},
	        {"image", OUT_IMAGE, EXPORT_OCI}, {"registry", OUT_IMAGE, EXPORT_OCI},
	        {"cacheonly", OUT_NONE, EXPORT_OCI}};
	const char *names[ARRAY_SIZE(types)];
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		names[i] = types[i].name;
		if (!str_eq(types[i].name, v))
			continue;
		s->kind = types[i].kind;
		s->ex.type = types[i].type;
		s->push |= str_eq(v, "registry");
		return 0;
	}
	(void)err_set(err, ERR_USAGE, "--output %s: unknown type %s", spec, v);
	const char *near = human_nearest(v, names, ARRAY_SIZE(names));
	if (near)
		return err_hint(err, "did you mean %s?", near);
	return err_hint(err, "types are oci, docker, tar, local, image, registry, cacheonly");
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

/* Each key with the outputs that it means something for. */
static const struct {
	const char *name;
	int kinds;
} output_keys[] = {{"type", ~0}, {"dest", OUT_FILES}, {"name", OUT_OCI | OUT_DOCKER | OUT_IMAGE},
        {"tar", OUT_OCI | OUT_DOCKER}, {"compression", OUT_OCI | OUT_DOCKER | OUT_IMAGE},
        {"compression-level", OUT_OCI | OUT_DOCKER | OUT_IMAGE},
        {"force-compression", OUT_OCI | OUT_DOCKER | OUT_IMAGE},
        {"oci-mediatypes", OUT_OCI | OUT_DOCKER | OUT_IMAGE},
        {"rewrite-timestamp", OUT_FILES | OUT_IMAGE}, {"annotation", OUT_OCI | OUT_IMAGE},
        {"push", OUT_IMAGE}, {"push-by-digest", OUT_IMAGE}, {"store", OUT_IMAGE},
        {"registry.insecure", OUT_IMAGE}, {"platform-split", OUT_LOCAL | OUT_TAR},
        {"context", OUT_DOCKER}};

/* annotation_kind - of "manifest", "index-descriptor" ... as buildx names them. */
static bool annotation_kind(const char *s, size_t n, enum export_annotation_kind *ret)
{
	static const char *const names[] = {[EXPORT_ON_MANIFEST] = "manifest",
	        [EXPORT_ON_MANIFEST_DESCRIPTOR] = "manifest-descriptor",
	        [EXPORT_ON_INDEX] = "index",
	        [EXPORT_ON_INDEX_DESCRIPTOR] = "index-descriptor"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strlen(names[i]) == n && memcmp(names[i], s, n) == 0) {
			*ret = (enum export_annotation_kind)i;
			return true;
		}
	return false;
}

/* annotation_type - "KIND" or "KIND[PLATFORM]"; n: its length. */
static int annotation_type(
        const char *flag, const char *s, size_t n, struct export_annotation *ret, struct error *err)
{
	const char *open = memchr(s, '[', n);
	size_t len = open ? (size_t)(open - s) : n;
	if (!annotation_kind(s, len, &ret->kind)) {
		(void)err_set(err, ERR_USAGE, "%s: unknown annotation type %.*s", flag, (int)n, s);
		return err_hint(err,
		        "types are manifest, manifest-descriptor, index and index-descriptor, "
		        "the first two also with a platform: manifest[linux/amd64]");
	}
	if (!open)
		return 0;
	if (s[n - 1] != ']')
		return err_set(err, ERR_USAGE, "%s: %.*s lacks its ]", flag, (int)n, s);
	_cleanup_free_ char *platform = xstrndup(open + 1, n - len - 2);
	ret->has_platform = true;
	return oci_platform_parse(platform, &ret->platform, err) < 0 ? err_wrap(err, "%s", flag)
	                                                             : 0;
}

static void annotation_add(struct output_spec *s, const struct export_annotation *a,
        const char *key, const char *value)
{
	vec_grow(&s->annotations, &s->cap_annotations, s->ex.n_annotations + 1);
	struct export_annotation *n = &s->annotations[s->ex.n_annotations++];
	*n = *a;
	n->key = xstrdup(key);
	n->value = xstrdup(value);
	s->ex.annotations = s->annotations;
}

static bool is_annotation(const char *k)
{
	return str_starts(k, "annotation.") || str_starts(k, "annotation[") ||
	       str_starts(k, "annotation-");
}

/* output_annotation - annotation[-KIND][[PLATFORM]].KEY=VALUE of an output. */
static int output_annotation(
        struct output_spec *s, const char *spec, const char *k, const char *v, struct error *err)
{
	struct export_annotation a = {0};
	/* A platform has dots in no part, so the first one ends the type. */
	size_t n = strcspn(k, ".");
	if (!k[n] || !k[n + 1])
		return err_set(err, ERR_USAGE, "--output %s: %s has no key", spec, k);
	const char *kind = k + strlen("annotation");
	_cleanup_free_ char *type = xasprintf("%s%.*s", *kind == '-' ? "" : "manifest",
	        (int)(k + n - kind) - (*kind == '-'), kind + (*kind == '-'));
	_cleanup_free_ char *flag = xasprintf("--output %s", spec);
	if (annotation_type(flag, type, strlen(type), &a, err) < 0)
		return -1;
	annotation_add(s, &a, k + n + 1, v);
	return 0;
}

/* flag_annotation - --annotation [TYPE[,TYPE...]:]KEY=VALUE. With s NULL it is only checked. */
static int flag_annotation(struct output_spec *s, const char *text, struct error *err)
{
	size_t eq = strcspn(text, "=");
	const char *colon = memchr(text, ':', eq), *key = colon ? colon + 1 : text;
	_cleanup_free_ char *flag = xasprintf("--annotation %s", text);
	_cleanup_free_ char *name = xstrndup(key, (size_t)(text + eq - key));
	struct strv types = STRV_INIT;
	_cleanup_free_ char *list = xstrndup(
	        colon ? text : "manifest", colon ? (size_t)(colon - text) : strlen("manifest"));
	strv_split(&types, list, ",");
	int rc = *name ? 0 : err_set(err, ERR_USAGE, "%s: the key is empty", flag);
	for (size_t i = 0; i < types.n && rc >= 0; i++) {
		struct export_annotation a = {0};
		rc = annotation_type(flag, types.v[i], strlen(types.v[i]), &a, err);
		if (rc >= 0 && s)
			annotation_add(s, &a, name, text + eq + 1);
	}
	strv_release(&types);
	return rc;
}

static int unknown_key(const char *spec, const char *k, struct error *err)
{
	const char *names[ARRAY_SIZE(output_keys)];
	for (size_t i = 0; i < ARRAY_SIZE(output_keys); i++)
		names[i] = output_keys[i].name;
	(void)err_set(err, ERR_USAGE, "--output %s: unknown key %s", spec, k);
	const char *near = human_nearest(k, names, ARRAY_SIZE(names));
	return near ? err_hint(err, "did you mean %s?", near) : -1;
}

static bool *output_flag(struct output_spec *s, const char *k)
{
	return str_eq(k, "tar")                 ? &s->ex.tar
	       : str_eq(k, "platform-split")    ? &s->ex.platform_split
	       : str_eq(k, "force-compression") ? &s->ex.force_compression
	       : str_eq(k, "oci-mediatypes")    ? &s->ex.oci_mediatypes
	       : str_eq(k, "rewrite-timestamp") ? &s->ex.rewrite_timestamp
	       : str_eq(k, "push")              ? &s->push
	       : str_eq(k, "push-by-digest")    ? &s->by_digest
	       : str_eq(k, "store")             ? &s->keep
	       : str_eq(k, "registry.insecure") ? &s->insecure
	                                        : NULL;
}

/* output_key - one key=value of a spec. */
static int output_key(
        struct output_spec *s, const char *spec, const char *k, const char *v, struct error *err)
{
	strv_add(&s->keys, is_annotation(k) ? "annotation" : k);
	if (str_eq(k, "type"))
		return output_type(s, spec, v, err);
	if (str_eq(k, "dest") || str_eq(k, "context")) {
		char **to = *k == 'd' ? &s->dest : &s->context;
		free(*to);
		*to = xstrdup(v);
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
	if (is_annotation(k))
		return output_annotation(s, spec, k, v, err);
	s->split_set |= str_eq(k, "platform-split");
	bool *flag = output_flag(s, k);
	if (flag)
		return parse_bool(v, flag) ? 0 : bad_value(spec, k, v, "true or false", err);
	return unknown_key(spec, k, err);
}

/* check_keys - no key is taken that this output would ignore. */
static int check_keys(
        const struct output_spec *s, const char *spec, const char *type, struct error *err)
{
	for (size_t k = 0; k < s->keys.n; k++)
		for (size_t i = 0; i < ARRAY_SIZE(output_keys); i++)
			if (str_eq(s->keys.v[k], output_keys[i].name) &&
			        !(output_keys[i].kinds & s->kind))
				return err_set(err, ERR_USAGE, "--output %s: type=%s takes no %s",
				        spec, type, s->keys.v[k]);
	static const char *const of_a_push[] = {"compression", "compression-level",
	        "force-compression", "oci-mediatypes", "rewrite-timestamp", "annotation",
	        "push-by-digest", "registry.insecure"};
	for (size_t i = 0; i < ARRAY_SIZE(of_a_push); i++)
		if (s->kind == OUT_IMAGE && !s->push && strv_contains(&s->keys, of_a_push[i])) {
			(void)err_set(err, ERR_USAGE,
			        "--output %s: %s says how an image is sent, and this one is not",
			        spec, of_a_push[i]);
			return err_hint(err, "add push=true, or leave it out");
		}
	return 0;
}

static void output_release(struct output_spec *s)
{
	strv_release(&s->names);
	strv_release(&s->keys);
	engine_free(s->engine);
	free(s->context);
	free(s->dest);
	for (size_t i = 0; i < s->ex.n_annotations; i++) {
		free(s->annotations[i].key);
		free(s->annotations[i].value);
	}
	free(s->annotations);
}

static int output_words(struct output_spec *s, const char *spec, struct error *err)
{
	if (!strchr(spec, '=')) { /* docker's short form: a directory, or - for a tar */
		s->dest = xstrdup(spec);
		if (str_eq(spec, "-")) {
			s->kind = OUT_TAR;
			s->ex.type = EXPORT_TAR;
		}
		return 0;
	}
	struct strv words = STRV_INIT;
	_cleanup_free_ char *type = xstrdup("local");
	strv_split_csv(&words, spec);
	int rc = 0;
	for (size_t i = 0; i < words.n && rc >= 0; i++) {
		char *eq = strchr(words.v[i], '=');
		if (eq)
			*eq = '\0';
		rc = output_key(s, spec, words.v[i], eq ? eq + 1 : "", err);
		if (rc >= 0 && str_eq(words.v[i], "type")) {
			free(type);
			type = xstrdup(eq ? eq + 1 : "");
		}
	}
	strv_release(&words);
	return rc < 0 ? -1 : check_keys(s, spec, type, err);
}

static int output_parse(
        const struct build_options *o, const char *spec, struct output_spec *s, struct error *err)
{
	*s = (struct output_spec){.kind = OUT_LOCAL, .keep = true};
	s->ex = (struct export_options){.type = EXPORT_LOCAL,
	        .tar = true,
	        .level = -1,
	        .compression = COMPRESS_GZIP,
	        .oci_mediatypes = true};
	if (output_words(s, spec, err) < 0)
		return -1;
	s->load = s->kind == OUT_DOCKER && !s->dest;
	if ((s->kind & OUT_FILES) && !s->dest && !s->load) {
		if (s->kind == OUT_LOCAL)
			return err_set(err, ERR_USAGE, "--output %s: dest is missing", spec);
		s->dest = xstrdup("-");
	}
	if (s->dest && str_eq(s->dest, "-") && isatty(STDOUT_FILENO)) {
		(void)err_set(err, ERR_USAGE,
		        "--output %s: refusing to write an archive to a terminal", spec);
		return err_hint(err, "redirect standard output, or name a file with dest=");
	}
	if (s->push && !s->names.n && !o->tags.n) {
		(void)err_set(err, ERR_USAGE, "--output %s: a push needs a name", spec);
		return err_hint(err, "-t REGISTRY/NAME:TAG, or name=REGISTRY/NAME:TAG");
	}
	/* Tools that load docker archives read plain layers fastest, and so do we write them. */
	if (s->ex.type == EXPORT_DOCKER && !s->compression_set)
		s->ex.compression = COMPRESS_NONE;
	s->ex.dest = s->dest;
	if (s->ex.rewrite_timestamp && !o->has_epoch) {
		(void)err_set(err, ERR_USAGE,
		        "--output %s: rewrite-timestamp needs SOURCE_DATE_EPOCH", spec);
		return err_hint(err, "set it in the environment or with --build-arg");
	}
	s->ex.epoch = o->epoch;
	s->ex.index = o->multi_platform;
	return 0;
}

static int allow_insecure(struct build *b, const struct output_spec *s, struct error *err)
{
	const struct strv *names = s->names.n ? &s->names : &b->o->tags;
	struct registry_client *c = build_registry(b, err);
	if (!c)
		return -1;
	for (size_t i = 0; i < names->n; i++) {
		struct oci_ref ref = {0};
		if (oci_ref_parse(names->v[i], &ref, err) < 0)
			return -1;
		registry_client_insecure(c, ref.domain);
		oci_ref_release(&ref);
	}
	return 0;
}

int build_parse_outputs(struct build *b, struct error *err)
{
	size_t n = b->o->outputs.n;
	for (size_t i = 0; i < b->o->annotations.n; i++)
		if (flag_annotation(NULL, b->o->annotations.v[i], err) < 0)
			return -1;
	b->outputs = new0(struct output_spec, n + 1);
	for (size_t i = 0; i < n; i++) {
		struct output_spec *s = &b->outputs[b->n_outputs++];
		if (output_parse(b->o, b->o->outputs.v[i], s, err) < 0)
			return -1;
		if (s->insecure && allow_insecure(b, s, err) < 0)
			return -1;
		/* Better now than after the build. */
		if (s->load && engine_open(s->context, &s->engine, err) < 0)
			return err_wrap(err, "--output %s", b->o->outputs.v[i]);
	}
	return 0;
}

void build_free_outputs(struct build *b)
{
	for (size_t i = 0; i < b->n_outputs; i++)
		output_release(&b->outputs[i]);
	free(b->outputs);
}

/* --- configs --------------------------------------------------------------------------------- */

static void parse_rfc3339(const char *s, int64_t *sec)
{
	struct tm tm = {0};
	if (s && strptime(s, "%Y-%m-%dT%H:%M:%S", &tm))
		*sec = timegm(&tm);
}

/* made_at - the time of an image that neither a step nor its base dates: when it was first made
 * here, or it were another one with each build. */
static int made_at(struct build *b, const struct oci_image *undated, struct image_options *io,
        struct error *err)
{
	_cleanup_free_ char *config = oci_image_encode(undated), *text = NULL;
	struct digest key;
	struct timespec now;
	sha256_buf(config, strlen(config), &key);
	int rc = b->o->no_cache ? 0 : store_record_get(b->store, MADE_KIND, &key, &text, err);
	if (rc < 0)
		return -1;
	_cleanup_error_ struct error ignored = ERROR_INIT;
	_cleanup_json_ json_t *j =
	        rc > 0 ? json_parse(text, strlen(text), 1 << 16, "record", &ignored) : NULL;
	io->now_sec = json_get_int(j, "created", 0);
	io->now_nsec = json_get_int(j, "created_ns", 0);
	if (io->now_sec) {
		store_touch_record(b->store, MADE_KIND, &key);
		return 0;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	io->now_sec = now.tv_sec;
	io->now_nsec = now.tv_nsec;
	_cleanup_free_ char *record = xasprintf("{\"created\":%lld,\"created_ns\":%lld}",
	        (long long)now.tv_sec, (long long)now.tv_nsec);
	return store_record_put(b->store, MADE_KIND, &key, record, err);
}

static int make_config(struct build *b, const struct graph_target *t, const struct rootfs *top,
        const struct solve_output *outputs, struct built *ret, struct error *err)
{
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
	oci_image_init(&ret->config);
	if (image_finish_config(
	            t->config, layers, n_layers, steps, t->n_history, &io, &ret->config, err) < 0)
		return -1;
	if (!image_is_dated(t->config, steps, t->n_history, &io)) {
		struct oci_image undated = ret->config;
		oci_image_init(&ret->config);
		int rc = made_at(b, &undated, &io, err);
		if (rc >= 0)
			rc = image_finish_config(t->config, layers, n_layers, steps, t->n_history,
			        &io, &ret->config, err);
		oci_image_release(&undated);
		if (rc < 0)
			return -1;
	}
	build_inline_cache(b, outputs, &ret->config);
	ret->json = oci_image_encode(&ret->config);
	const char *how, *id = leak_values_any(b->leaks)
	                               ? leak_find(b->leaks, ret->json, strlen(ret->json), &how)
	                               : NULL;
	if (id) {
		(void)err_set(err, ERR_BUILD,
		        "the image's configuration or history holds the value of secret %s%s%s%s",
		        id, *how ? " (as " : "", how, *how ? ")" : "");
		return err_hint(err,
		        "an ENV, LABEL, ARG or RUN line spells it out: name the mounted secret "
		        "there instead; nothing was exported");
	}
	for (size_t i = 0; i < n_layers; i++) {
		uint64_t size = 0;
		if (export_layer_size(b->store, b->lease, &layers[i].diff_id, &size, err) < 0)
			return -1;
		ret->size += size;
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

/* fetch_all - every layer of the targets here, also of bases that no step needed; unless `unpacked`
 * is asked for, a packed one is good as it is. */
static int fetch_all(struct build *b, const struct rootfs **tops, bool unpacked, struct error *err)
{
	for (size_t k = 0; k < b->graph->n_targets; k++) {
		struct build_view v;
		const struct rootfs *r = tops[k];
		struct export_packed p;
		int rc = 1;
		while (r && !r->image && !unpacked &&
		        (rc = export_packed_get(b->store, &r->diff_id, &p, err)) > 0)
			r = r->parent;
		if (rc < 0 || build_view_open(b, r, &v, err) < 0)
			return -1;
		build_view_release(&v);
	}
	return 0;
}

/* note_lost - an output failed: if a packed layer is gone, or what was to be written was damaged
 * and has been set aside, solving again makes it anew. Not once bytes went to standard output. */
static void note_lost(struct build *b, const struct output_spec *s, const struct rootfs **tops,
        unsigned damages, const struct error *err)
{
	if ((err->class != ERR_INTEGRITY && err->class != ERR_NOT_FOUND) ||
	        (s->dest && str_eq(s->dest, "-")))
		return;
	b->lost |= store_damages(b->store) > damages;
	for (size_t k = 0; k < b->graph->n_targets; k++)
		for (const struct rootfs *r = tops[k]; r; r = r->parent)
			if (!r->image && !step_layer_there(b, &r->diff_id))
				b->lost = true;
}

bool build_packs(const struct build *b, enum compression *ret)
{
	bool any = false;
	if (b->leaks || b->o->squash || b->o->attest.sbom)
		return false;
	for (size_t i = 0; i < b->n_outputs; i++) {
		const struct output_spec *s = &b->outputs[i];
		if (s->kind == OUT_NONE || (s->kind == OUT_IMAGE && !s->push))
			continue;
		if (!(s->kind & (OUT_OCI | OUT_DOCKER | OUT_IMAGE)) || s->load ||
		        s->ex.level >= 0 || s->ex.rewrite_timestamp ||
		        s->ex.compression == COMPRESS_NONE)
			return false;
		if (!any)
			*ret = s->ex.compression;
		any = true;
	}
	return any;
}

static bool all_bytes_here(struct build *b, const struct rootfs **tops)
{
	for (size_t k = 0; k < b->graph->n_targets; k++)
		for (const struct rootfs *r = tops[k]; r; r = r->parent) {
			const struct store_layer *l;
			struct error ignored = ERROR_INIT;
			struct export_packed p;
			if (r->image ? !build_image_has_bytes(b, r->image)
			             : b->n_cache_from &&
			                        store_layer_get(b->store, b->lease, &r->diff_id, 0,
			                                &l, &ignored) <= 0 &&
			                        export_packed_get(
			                                b->store, &r->diff_id, &p, &ignored) <= 0) {
				error_release(&ignored);
				return false;
			}
		}
	return true;
}

/* fetch_remote - a tag must not name layers whose bytes are only in a registry. */
static int fetch_remote(struct build *b, const struct rootfs **tops, struct error *err)
{
	if (all_bytes_here(b, tops))
		return 0;
	return build_enter(b, err) < 0 ? -1 : fetch_all(b, tops, false, err);
}

/* output_names - canonical: the output's own, else the tags. */
static int output_names(
        const struct build *b, const struct output_spec *s, struct strv *ret, struct error *err)
{
	const struct strv *names = s->names.n ? &s->names : &b->o->tags;
	for (size_t i = 0; i < names->n; i++) {
		struct oci_ref ref = {0};
		if (oci_ref_parse(names->v[i], &ref, err) < 0)
			return -1;
		strv_add_take(ret, oci_ref_string(&ref));
		oci_ref_release(&ref);
	}
	return 0;
}

/* complete_spec - what could not be known when it was parsed. */
static int complete_spec(struct build *b, struct output_spec *s, struct error *err)
{
	s->ex.n_threads = pool_size(b->pool);
	s->ex.attest_referrers = b->o->attest.referrers;
	if (!s->split_set)
		s->ex.platform_split = b->graph->n_targets > 1 || b->o->multi_platform;
	/* A second run of the outputs finds them there. */
	if (s->completed)
		return 0;
	s->completed = true;
	for (size_t i = 0; i < b->o->annotations.n; i++)
		if (flag_annotation(s, b->o->annotations.v[i], err) < 0)
			return -1;
	return 0;
}

static int export_one(struct build *b, struct output_spec *s, const struct export_image *images,
        const struct rootfs **tops, struct oci_descriptor *ret, struct error *err)
{
	/* Layers hold files of other ids: reading them takes the same rights as making them. */
	bool files = s->kind == OUT_TAR || s->kind == OUT_LOCAL;
	if (build_enter(b, err) < 0 || fetch_all(b, tops, files, err) < 0)
		return -1;
	if (complete_spec(b, s, err) < 0)
		return -1;
	return export_write(
	        b->store, b->lease, images, b->graph->n_targets, &s->ex, b->pool, ret, err);
}

/* push_one - under each of its names; the first one's result counts. */
static int push_one(struct build *b, struct output_spec *s, const struct export_image *images,
        const struct strv *names, struct oci_descriptor *ret, struct error *err)
{
	if (build_enter(b, err) < 0)
		return -1;
	if (complete_spec(b, s, err) < 0)
		return -1;
	for (size_t i = 0; i < names->n; i++) {
		struct push_target t;
		struct oci_descriptor d = {0};
		int rc = push_target_init(b, names->v[i], s->by_digest, UI_EXPORT, &t, err);
		if (rc >= 0)
			rc = push_images(&t, images, b->graph->n_targets, &s->ex, &d, err);
		push_target_release(&t);
		if (rc < 0) {
			oci_descriptor_release(&d);
			return err_wrap(err, "pushing %s", names->v[i]);
		}
		if (i == 0 && !ret->media_type)
			*ret = d;
		else
			oci_descriptor_release(&d);
	}
	return 0;
}

/* load_archive - through a pipe into the engine's `load`. */
static int load_archive(struct build *b, struct output_spec *s, const struct export_image *image,
        const struct rootfs **tops, struct oci_descriptor *ret, struct error *err)
{
	int fd;
	if (engine_layers(s->engine, image->config->diff_ids, image->config->n_diff_ids,
	            &s->ex.skip_layers, err) < 0 ||
	        engine_load_begin(s->engine, &fd, err) < 0)
		return -1;
	if (s->ex.skip_layers)
		ui_step_note(b->ui, UI_EXPORT, "%s has %zu of %zu layers", engine_name(s->engine),
		        s->ex.skip_layers, image->config->n_diff_ids);
	_cleanup_free_ char *dest = xasprintf("/proc/self/fd/%d", fd);
	struct error theirs = ERROR_INIT;
	s->ex.dest = dest;
	int rc = export_one(b, s, image, tops, ret, err);
	s->ex.dest = NULL;
	close(fd);
	int loaded = engine_load_end(s->engine, &theirs);
	/* If it hung up on us, what it says is the cause. */
	if (loaded < 0 && (rc >= 0 || err->errnum == EPIPE))
		error_move(err, &theirs);
	error_release(&theirs);
	return MIN(rc, loaded);
}

static int load_one(struct build *b, struct output_spec *s, const struct export_image *image,
        const struct digest *id, const struct rootfs **tops, struct oci_descriptor *ret,
        struct error *err)
{
	if (b->graph->n_targets > 1) {
		(void)err_set(err, ERR_USAGE, "%s loads one platform, not %zu",
		        engine_name(s->engine), b->graph->n_targets);
		return err_hint(err, "build one platform, or push them to a registry");
	}
	ui_step_note(b->ui, UI_EXPORT, "loading into %s", engine_name(s->engine));
	bool have = false;
	if (!s->ex.rewrite_timestamp && engine_has_image(s->engine, id, &have, err) < 0)
		return -1;
	if (!have)
		return load_archive(b, s, image, tops, ret, err);
	ui_step_note(b->ui, UI_EXPORT, "%s has this image already", engine_name(s->engine));
	for (size_t i = 0; i < image->names.n; i++)
		if (engine_tag(s->engine, id, image->names.v[i], err) < 0)
			return -1;
	return 0;
}

static int write_text_file(const char *path, const char *text, struct error *err)
{
	/* trusted-path: --iidfile, --metadata-file */
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	int r = fd < 0 ? -errno : sys_write_all(fd, text, strlen(text));
	return r < 0 ? err_sys(err, r, "writing %s", path) : 0;
}

/* add_provenance - as buildx has it in the metadata: attached to the image or not, least first.
 * BUILDX_METADATA_PROVENANCE=max|disabled changes that. */
static void add_provenance(struct build *b, json_t *j)
{
	const char *mode = getenv("BUILDX_METADATA_PROVENANCE");
	if (mode && (str_eq(mode, "disabled") || str_eq(mode, "false") || str_eq(mode, "0")))
		return;
	bool max = mode && str_eq(mode, "max");
	for (size_t k = 0; k < b->graph->n_targets; k++) {
		const struct graph_target *t = &b->graph->targets[k];
		char plat[128];
		oci_platform_string(&t->platform, plat, sizeof(plat));
		_cleanup_free_ char *key = b->graph->n_targets > 1
		                                   ? xasprintf("buildx.build.provenance/%s", plat)
		                                   : xstrdup("buildx.build.provenance");
		json_object_set_new(j, key, attest_provenance(b, t, max));
	}
}

static int write_metadata(
        struct build *b, const struct built *v, const struct oci_descriptor *d, struct error *err)
{
	char dstr[DIGEST_STR_MAX];
	_cleanup_json_ json_t *j = json_object();
	add_provenance(b, j);
	json_object_set_new(j, "buildx.build.ref", json_str(b->id));
	json_object_set_new(j, "containerimage.config.digest", json_str(digest_str(&v->id, dstr)));
	if (d->media_type) {
		json_object_set_new(j, "containerimage.descriptor", oci_descriptor_to_json(d));
		json_object_set_new(
		        j, "containerimage.digest", json_str(digest_str(&d->digest, dstr)));
	} else {
		json_object_set_new(j, "containerimage.digest", json_str(digest_str(&v->id, dstr)));
	}
	const struct strv *name = &b->o->tags;
	for (size_t i = 0; i < b->n_outputs && !name->n; i++)
		name = &b->outputs[i].names;
	if (name->n) {
		_cleanup_free_ char *names = strv_join(name, ",");
		json_object_set_new(j, "image.name", json_str(names));
	}
	_cleanup_free_ char *text = json_pretty(j);
	_cleanup_free_ char *line = xasprintf("%s\n", text);
	return write_text_file(b->o->metadata_file, line, err);
}

/* put_out - one of the outputs. */
static int put_out(struct build *b, struct output_spec *s, struct built *v,
        const struct rootfs **tops, struct oci_descriptor *desc, struct error *err)
{
	size_t n = b->graph->n_targets;
	if (s->kind == OUT_NONE || (s->kind == OUT_IMAGE && !s->push))
		return 0;
	struct strv names = STRV_INIT;
	_cleanup_free_ struct export_image *images = new0(struct export_image, n);
	int rc = output_names(b, s, &names, err);
	for (size_t i = 0; i < n; i++)
		images[i] = (struct export_image){
		        &v[i].config, v[i].json, names, v[i].attests, v[i].n_attests};
	if (v[0].n_attests && s->kind == OUT_DOCKER)
		ui_step_note(b->ui, UI_EXPORT,
		        "a docker archive has no place for attestations: not in %s",
		        s->dest ? s->dest : "the engine");
	if (rc >= 0 && s->push) {
		rc = push_one(b, s, images, &names, desc, err);
	} else if (rc >= 0) {
		oci_descriptor_release(desc);
		*desc = (struct oci_descriptor){0};
		rc = s->load ? load_one(b, s, images, &v[0].id, tops, desc, err)
		             : export_one(b, s, images, tops, desc, err);
	}
	strv_release(&names);
	return rc;
}

/* keep_image - in the store. What is only pushed is kept too, unless layers of its base would have
 * to be fetched for that alone. */
static int keep_image(
        struct build *b, struct built *v, const struct rootfs **tops, struct error *err)
{
	bool wanted = b->n_outputs == 0 || b->o->tags.n > 0, pushed = false, only_pushed = true;
	for (size_t i = 0; i < b->n_outputs; i++) {
		const struct output_spec *s = &b->outputs[i];
		wanted |= s->kind == OUT_IMAGE && s->keep;
		pushed |= s->push;
		only_pushed &= s->push;
		if (s->kind == OUT_IMAGE && !s->keep)
			return 0;
	}
	if (!wanted)
		return 0;
	if (pushed && only_pushed && !all_bytes_here(b, tops)) {
		ui_step_note(b->ui, UI_EXPORT,
		        "not kept in the store: some of its layers are in a registry only");
		return 0;
	}
	if (fetch_remote(b, tops, err) < 0)
		return -1;
	for (size_t k = 0; k < b->graph->n_targets; k++)
		if (attest_keep(b->store, &v[k].id, v[k].attests, v[k].n_attests, err) < 0)
			return -1;
	for (size_t i = 0; i < b->n_outputs; i++)
		if (b->outputs[i].kind == OUT_IMAGE &&
		        tag_images(b, &b->outputs[i].names, v, err) < 0)
			return -1;
	return b->o->tags.n ? tag_images(b, &b->o->tags, v, err) : store_untagged(b, v, err);
}

/* warn_annotations - they are a manifest's, and the store keeps images without one. */
static void warn_annotations(struct build *b)
{
	bool carried = b->o->annotations.n == 0;
	for (size_t i = 0; i < b->n_outputs; i++)
		carried |= b->outputs[i].kind == OUT_OCI || b->outputs[i].push;
	if (!carried)
		ui_message(b->ui,
		        "WARNING: --annotation: no output has a manifest to annotate; use "
		        "--push or -o type=oci");
}

static int make_outputs(
        struct build *b, struct built *v, const struct rootfs **tops, struct error *err)
{
	char dstr[DIGEST_STR_MAX];
	struct oci_descriptor desc = {0};
	warn_annotations(b);
	int rc = keep_image(b, v, tops, err);
	for (size_t i = 0; i < b->n_outputs && rc >= 0; i++) {
		unsigned damages = store_damages(b->store);
		rc = put_out(b, &b->outputs[i], v, tops, &desc, err);
		if (rc < 0)
			note_lost(b, &b->outputs[i], tops, damages, err);
	}
	if (rc >= 0) {
		free(b->result->image_id);
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
	size_t n = b->graph->n_targets;
	_cleanup_free_ struct built *v = new0(struct built, n);
	_cleanup_free_ const struct rootfs **tops = new0(const struct rootfs *, n);
	int rc = 0;
	ui_step_start(b->ui, UI_EXPORT, "exporting to image");
	for (size_t k = 0; k < n && rc >= 0; k++) {
		const struct graph_target *t = &b->graph->targets[k];
		tops[k] = t->node == GRAPH_NONE ? NULL : outputs[t->node].value;
		if (b->o->squash)
			rc = build_squash(b, &tops[k], err);
		if (rc >= 0)
			rc = make_config(b, t, tops[k], outputs, &v[k], err);
		if (rc >= 0)
			rc = attest_make(b, t, tops[k], &v[k].config, v[k].attests, err);
		v[k].n_attests = (size_t)MAX(rc, 0);
	}
	if (rc >= 0)
		rc = make_outputs(b, v, tops, err);
	/* A file that COPY --from linked is as damaged where it came from: all at once, or the same
	 * would come of it again. */
	for (size_t i = 0; rc < 0 && b->lost && i < b->graph->n_nodes; i++)
		if (b->graph->nodes[i]->op != GRAPH_LOCAL)
			rootfs_blame(b, outputs[i].value, err);
	if (rc < 0)
		ui_step_error(b->ui, UI_EXPORT, err->msg);
	else
		ui_step_done(b->ui, UI_EXPORT);
	for (size_t k = 0; k < n; k++) {
		oci_image_release(&v[k].config);
		free(v[k].json);
		attest_release(v[k].attests, v[k].n_attests);
	}
	return rc;
}
