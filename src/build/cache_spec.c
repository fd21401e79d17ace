/* build/cache_spec.c - the texts of --cache-from and --cache-to. */
#include "build/cache.h"

#include "base/human.h"

void cache_spec_release(struct cache_spec *s)
{
	free(s->shown);
	free(s->ref);
	free(s->dir);
	free(s->tag);
	free(s->digest);
	*s = (struct cache_spec){0};
}

/* Which keys mean something where: bits of a type, and of the direction. */
enum { K_REG = 1, K_LOCAL = 2, K_INLINE = 4, K_FROM = 8, K_TO = 16 };
static const struct {
	const char *name;
	int where;
} keys[] = {{"type", K_REG | K_LOCAL | K_INLINE | K_FROM | K_TO}, {"ref", K_REG | K_FROM | K_TO},
        {"src", K_LOCAL | K_FROM}, {"dest", K_LOCAL | K_TO}, {"tag", K_LOCAL | K_FROM | K_TO},
        {"digest", K_LOCAL | K_FROM}, {"mode", K_REG | K_LOCAL | K_INLINE | K_TO},
        {"compression", K_REG | K_LOCAL | K_TO}, {"compression-level", K_REG | K_LOCAL | K_TO},
        {"force-compression", K_REG | K_LOCAL | K_TO}, {"oci-mediatypes", K_REG | K_LOCAL | K_TO},
        {"image-manifest", K_REG | K_LOCAL | K_TO},
        {"ignore-error", K_REG | K_LOCAL | K_INLINE | K_TO},
        {"registry.insecure", K_REG | K_FROM | K_TO}};

struct parse {
	struct cache_spec *s;
	const char *flag;
	bool to;
	bool image_manifest_set;
};

static int bad_value(
        const struct parse *p, const char *k, const char *v, const char *want, struct error *err)
{
	return err_set(err, ERR_USAGE, "%s %s: %s=%s is not %s", p->flag, p->s->shown, k, v, want);
}

static int parse_type(const struct parse *p, const char *v, struct error *err)
{
	if (str_eq(v, "registry"))
		p->s->type = CACHE_REGISTRY;
	else if (str_eq(v, "local"))
		p->s->type = CACHE_LOCAL;
	else if (str_eq(v, "inline") && p->to)
		p->s->type = CACHE_INLINE;
	else {
		(void)err_set(err, ERR_USAGE, "%s %s: caches of type %s are not supported", p->flag,
		        p->s->shown, v);
		return err_hint(err, p->to ? "types are registry, local and inline"
		                           : "types are registry (inline caches too) and local");
	}
	return 0;
}

static int parse_compression(const struct parse *p, const char *v, struct error *err)
{
	if (str_eq(v, "gzip"))
		p->s->compression = COMPRESS_GZIP;
	else if (str_eq(v, "zstd"))
		p->s->compression = COMPRESS_ZSTD;
	else if (str_eq(v, "uncompressed"))
		p->s->compression = COMPRESS_NONE;
	else
		return bad_value(p, "compression", v, "gzip, zstd or uncompressed", err);
	return 0;
}

static int parse_key(struct parse *p, const char *k, const char *v, struct error *err)
{
	struct cache_spec *s = p->s;
	bool *flag = str_eq(k, "force-compression")   ? &s->force
	             : str_eq(k, "oci-mediatypes")    ? &s->oci_types
	             : str_eq(k, "image-manifest")    ? &s->image_manifest
	             : str_eq(k, "ignore-error")      ? &s->ignore_error
	             : str_eq(k, "registry.insecure") ? &s->insecure
	                                              : NULL;
	char **text = str_eq(k, "ref")                        ? &s->ref
	              : str_eq(k, "src") || str_eq(k, "dest") ? &s->dir
	              : str_eq(k, "tag")                      ? &s->tag
	              : str_eq(k, "digest")                   ? &s->digest
	                                                      : NULL;
	if (text) {
		free(*text);
		*text = xstrdup(v);
		return *v ? 0 : bad_value(p, k, v, "a value", err);
	}
	if (flag) {
		if (!str_eq(v, "true") && !str_eq(v, "1") && !str_eq(v, "false") && !str_eq(v, "0"))
			return bad_value(p, k, v, "true or false", err);
		*flag = *v == 't' || *v == '1';
		p->image_manifest_set |= str_eq(k, "image-manifest");
		return 0;
	}
	if (str_eq(k, "mode")) {
		s->max = str_eq(v, "max");
		return s->max || str_eq(v, "min") ? 0 : bad_value(p, k, v, "min or max", err);
	}
	if (str_eq(k, "compression"))
		return parse_compression(p, v, err);
	if (str_eq(k, "compression-level")) {
		char *end;
		long n = strtol(v, &end, 10);
		if (*end || end == v || n < 0 || n > 22)
			return bad_value(p, k, v, "a number from 0 to 22", err);
		s->level = (int)n;
	}
	return 0; /* type: it was read first */
}

static int check_key(const struct parse *p, const char *k, struct error *err)
{
	const char *names[ARRAY_SIZE(keys)];
	size_t n = 0;
	int type = p->s->type == CACHE_REGISTRY ? K_REG
	           : p->s->type == CACHE_LOCAL  ? K_LOCAL
	                                        : K_INLINE;
	int way = p->to ? K_TO : K_FROM;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (!(keys[i].where & type) || !(keys[i].where & way))
			continue;
		if (str_eq(keys[i].name, k))
			return 0;
		names[n++] = keys[i].name;
	}
	(void)err_set(err, ERR_USAGE, "%s %s: there is no key %s here", p->flag, p->s->shown, k);
	const char *near = human_nearest(k, names, n);
	return near ? err_hint(err, "did you mean %s?", near) : -1;
}

static int check_whole(const struct parse *p, struct error *err)
{
	struct cache_spec *s = p->s;
	if (s->type == CACHE_REGISTRY && !s->ref)
		return err_set(err, ERR_USAGE, "%s %s: ref= is missing", p->flag, s->shown);
	if (s->type == CACHE_LOCAL && !s->dir)
		return err_set(err, ERR_USAGE, "%s %s: %s= is missing", p->flag, s->shown,
		        p->to ? "dest" : "src");
	if (!p->image_manifest_set)
		s->image_manifest = s->oci_types;
	if (s->image_manifest && !s->oci_types)
		return err_set(err, ERR_USAGE,
		        "%s %s: image-manifest=true needs oci-mediatypes=true", p->flag, s->shown);
	if (s->type == CACHE_REGISTRY) {
		struct oci_ref ref = {0};
		if (oci_ref_parse(s->ref, &ref, err) < 0)
			return err_wrap(err, "%s %s", p->flag, s->shown);
		bool pinned = p->to && ref.digest;
		oci_ref_release(&ref);
		if (pinned)
			return err_set(err, ERR_USAGE, "%s %s: a cache is written under a tag",
			        p->flag, s->shown);
	}
	return 0;
}

static int parse_words(struct parse *p, struct strv *words, struct error *err)
{
	/* The type decides what the others mean, wherever it stands. */
	for (int round = 0; round < 2; round++)
		for (size_t i = 0; i < words->n; i++) {
			const char *w = words->v[i], *eq = strchr(w, '=');
			if (!eq)
				return err_set(err, ERR_USAGE, "%s %s: %s lacks =VALUE", p->flag,
				        p->s->shown, w);
			_cleanup_free_ char *k = xstrndup(w, (size_t)(eq - w));
			int rc = 0;
			if (round == 0 && str_eq(k, "type"))
				rc = parse_type(p, eq + 1, err);
			else if (round == 1 && (rc = check_key(p, k, err)) >= 0)
				rc = parse_key(p, k, eq + 1, err);
			if (rc < 0)
				return -1;
		}
	return 0;
}

int cache_spec_parse(const char *text, bool to, struct cache_spec *ret, struct error *err)
{
	struct cache_spec s = {.shown = xstrdup(text),
	        .level = -1,
	        .compression = COMPRESS_GZIP,
	        .oci_types = true};
	struct parse p = {.s = &s, .flag = to ? "--cache-to" : "--cache-from", .to = to};
	struct strv words = STRV_INIT;
	int rc = 0;
	/* docker's old form names an image, and so does a reference alone with --cache-to. */
	if (!strchr(text, '='))
		s.ref = xstrdup(text);
	else
		strv_split_csv(&words, text);
	rc = str_eq(text, "inline") && to ? (s.type = CACHE_INLINE, 0)
	                                  : parse_words(&p, &words, err);
	if (rc >= 0)
		rc = check_whole(&p, err);
	strv_release(&words);
	if (rc < 0) {
		cache_spec_release(&s);
		return -1;
	}
	*ret = s;
	return 0;
}

static int set_insecure(struct build *b, const struct cache_spec *s, struct error *err)
{
	struct oci_ref ref = {0};
	if (!s->insecure)
		return 0;
	struct registry_client *c = build_registry(b, err);
	if (!c || oci_ref_parse(s->ref, &ref, err) < 0)
		return -1;
	registry_client_insecure(c, ref.domain);
	oci_ref_release(&ref);
	return 0;
}

int build_parse_caches(struct build *b, struct error *err)
{
	const struct build_options *o = b->o;
	pthread_mutex_init(&b->cache_lock, NULL);
	pthread_mutex_init(&b->cache_fetch_lock, NULL);
	b->cache_from = new0(struct cache_source, o->cache_from.n);
	b->cache_to = new0(struct cache_spec, o->cache_to.n + 1);
	for (size_t i = 0; i < o->cache_from.n; i++) {
		struct cache_source *s = &b->cache_from[b->n_cache_from];
		if (cache_spec_parse(o->cache_from.v[i], false, &s->spec, err) < 0)
			return -1;
		b->n_cache_from++;
		if (s->spec.ref && (oci_ref_parse(s->spec.ref, &s->ref, err) < 0 ||
		                           set_insecure(b, &s->spec, err) < 0))
			return -1;
	}
	for (size_t i = 0; i < o->cache_to.n; i++) {
		struct cache_spec *s = &b->cache_to[b->n_cache_to];
		if (cache_spec_parse(o->cache_to.v[i], true, s, err) < 0)
			return -1;
		b->n_cache_to++;
		if (set_insecure(b, s, err) < 0)
			return -1;
		b->inline_cache |= s->type == CACHE_INLINE;
	}
	b->inline_cache |= o->inline_cache;
	return 0;
}

static void list_release(struct cache_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		oci_descriptor_release(&l->blobs[i]);
	free(l->blobs);
	free(l->diff_ids);
	free(l->used);
	cache_doc_release(&l->doc);
}

void build_free_caches(struct build *b)
{
	for (size_t i = 0; i < b->n_cache_from; i++) {
		struct cache_source *s = &b->cache_from[i];
		for (size_t k = 0; k < s->n_lists; k++)
			list_release(&s->lists[k]);
		free(s->lists);
		oci_ref_release(&s->ref);
		cache_spec_release(&s->spec);
	}
	for (size_t i = 0; i < b->n_cache_to; i++)
		cache_spec_release(&b->cache_to[i]);
	free(b->cache_from);
	free(b->cache_to);
	cache_doc_release(&b->cache_used);
	pool_free(b->net);
}
