/* build/provenance.c - where an image comes from, as SLSA provenance v1.
 *
 * The shape of the parameters is BuildKit's, so that what reads its provenance reads ours. Nothing
 * secret goes in: of secrets and agents only their names, of URLs no credentials, of build
 * arguments that are named like a secret no value, and proxy settings not at all. */
#include <strings.h>
#include <time.h>

#include "build/attest.h"
#include "build/internal.h"
#include "graph/git_url.h"

#define BUILD_TYPE                                                                                 \
	"https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md"

void attest_material(struct build *b, const char *uri, const char *algorithm, const char *digest)
{
	pthread_mutex_lock(&b->lock);
	const char *shown = redact_urls(&b->arena, uri);
	_cleanup_free_ char *line = xasprintf("%s\t%s\t%s", algorithm, digest, shown);
	if (!strv_contains(&b->materials, line))
		strv_add(&b->materials, line);
	pthread_mutex_unlock(&b->lock);
}

static void set(json_t *o, const char *key, const char *value)
{
	json_object_set_new(o, key, json_str(value));
}

static json_t *names_array(const char *key, const struct strv *names)
{
	json_t *list = json_array();
	for (size_t i = 0; i < names->n; i++) {
		json_t *o = json_object();
		set(o, key, names->v[i]);
		json_array_append_new(list, o);
	}
	return list;
}

/* --- parameters ------------------------------------------------------------------------------ */

static bool is_proxy(const char *name)
{
	static const char *const names[] = {
	        "http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcasecmp(names[i], name) == 0)
			return true;
	return false;
}

static void add_args(struct build *b, json_t *args)
{
	const struct build_options *o = b->o;
	for (size_t i = 0; i < o->build_args.n; i++) {
		const char *a = o->build_args.v[i], *eq = strchr(a, '=');
		_cleanup_free_ char *name = xstrndup(a, (size_t)(eq - a));
		if (is_proxy(name))
			continue;
		_cleanup_free_ char *key = xasprintf("build-arg:%s", name);
		set(args, key,
		        df_sensitive_name(name) ? "(withheld)" : redact_urls(&b->arena, eq + 1));
	}
	for (size_t i = 0; i < o->labels.n; i++) {
		const char *l = o->labels.v[i], *eq = strchr(l, '=');
		_cleanup_free_ char *key = xasprintf("label:%.*s", (int)(eq - l), l);
		set(args, key, redact_urls(&b->arena, eq + 1));
	}
}

static json_t *request(struct build *b, bool max)
{
	const struct build_options *o = b->o;
	json_t *r = json_object(), *args = json_object();
	set(r, "frontend", "dockerfile.v0");
	if (o->target)
		set(args, "target", o->target);
	if (o->no_cache)
		set(args, "no-cache", "");
	if (o->network && !str_eq(o->network, "default"))
		set(args, "force-network-mode", o->network);
	if (max)
		add_args(b, args);
	json_object_set_new(r, "args", args);
	struct strv names = STRV_INIT;
	if (max) {
		for (size_t i = 0; i < o->n_secrets; i++)
			strv_add(&names, o->secrets[i].id);
		if (names.n)
			json_object_set_new(r, "secrets", names_array("id", &names));
		strv_release(&names);
		names = (struct strv)STRV_INIT;
		for (size_t i = 0; i < o->n_ssh; i++)
			strv_add(&names, o->ssh[i].id);
		if (names.n)
			json_object_set_new(r, "ssh", names_array("id", &names));
		strv_release(&names);
		names = (struct strv)STRV_INIT;
	}
	if (!b->context_chain)
		strv_add(&names, "context");
	strv_add(&names, "dockerfile");
	json_object_set_new(r, "locals", names_array("name", &names));
	strv_release(&names);
	return r;
}

/* material_json - of "algorithm<TAB>digest<TAB>uri". */
static json_t *material_json(const char *line)
{
	const char *tab = strchr(line, '\t'), *second = strchr(tab + 1, '\t');
	_cleanup_free_ char *algorithm = xstrndup(line, (size_t)(tab - line));
	_cleanup_free_ char *digest = xstrndup(tab + 1, (size_t)(second - tab - 1));
	json_t *o = json_object(), *d = json_object();
	set(d, algorithm, digest);
	set(o, "uri", second + 1);
	json_object_set_new(o, "digest", d);
	return o;
}

static json_t *config_source(struct build *b)
{
	json_t *o = json_object();
	if (b->context_chain && !str_eq(b->o->context, "-") && b->materials.n) {
		/* The main context is resolved first. */
		json_decref(o);
		o = material_json(b->materials.v[0]);
	}
	const char *name = b->o->dockerfile ? b->o->dockerfile : b->file->name;
	const char *slash = strrchr(name, '/');
	/* Of a path on this machine only the name: the directory tells nobody anything. */
	set(o, "path", b->context_chain || !slash ? name : slash + 1);
	return o;
}

/* --- what went in ---------------------------------------------------------------------------- */

static char *image_uri(const struct build_image *im)
{
	char plat[128];
	oci_platform_string(&im->platform, plat, sizeof(plat));
	_cleanup_free_ char *name = NULL;
	if (im->ref.domain) {
		struct oci_ref bare = {.domain = im->ref.domain, .path = im->ref.path};
		_cleanup_free_ char *familiar = oci_ref_familiar(&bare);
		name = im->ref.tag ? xasprintf("docker/%s@%s", familiar, im->ref.tag)
		                   : xasprintf("docker/%s", familiar);
	} else {
		/* An OCI layout: its directory's name and the tag. */
		const char *p = str_starts(im->asked, "oci-layout://")
		                        ? im->asked + strlen("oci-layout://")
		                        : im->asked;
		size_t n = strcspn(p, "@");
		while (n && p[n - 1] == '/')
			n--;
		size_t at = n;
		while (at && p[at - 1] != '/')
			at--;
		name = xasprintf("oci/%.*s", (int)(n - at), p + at);
		char *colon = strchr(name, ':');
		if (colon)
			*colon = '@';
	}
	for (char *c = plat; *c; c++)
		if (*c == '/')
			*c = '\x01';
	_cleanup_free_ char *uri = xasprintf("pkg:%s?platform=", name);
	struct strv parts = STRV_INIT;
	strv_split(&parts, plat, "\x01");
	_cleanup_free_ char *escaped = strv_join(&parts, "%2F");
	strv_release(&parts);
	return xasprintf("%s%s", uri, escaped);
}

/* reached - which nodes the target is made of. Inputs have smaller ids. */
static bool *reached(const struct graph *g, const struct graph_target *t)
{
	bool *in = new0(bool, g->n_nodes + 1);
	if (t->node != GRAPH_NONE)
		in[t->node] = true;
	for (size_t i = g->n_nodes; i-- > 0;)
		for (size_t k = 0; in[i] && k < g->nodes[i]->n_inputs; k++)
			if (g->nodes[i]->inputs[k] != GRAPH_NONE)
				in[g->nodes[i]->inputs[k]] = true;
	return in;
}

static json_t *dependencies(struct build *b, const bool *in)
{
	json_t *list = json_array();
	for (size_t i = 0; i < b->graph->n_nodes; i++) {
		const struct graph_node *n = b->graph->nodes[i];
		const struct build_image *im =
		        in[i] && n->op == GRAPH_IMAGE
		                ? build_find_image(b, n->image.ref, &n->image.platform)
		                : NULL;
		if (!im)
			continue;
		_cleanup_free_ char *uri = image_uri(im);
		json_t *o = json_object();
		set(o, "uri", uri);
		if (im->digest && str_starts(im->digest, "sha256:"))
			json_object_set_new(
			        o, "digest", json_pack("{s:s}", "sha256", im->digest + 7));
		json_array_append_new(list, o);
	}
	for (size_t i = 0; i < b->materials.n; i++)
		json_array_append_new(list, material_json(b->materials.v[i]));
	return list;
}

/* step_name - as the progress shows it, but for images, whose place on this machine is nobody's
 * business. */
static char *step_name(struct build *b, const struct graph_node *n)
{
	const struct build_image *im =
	        n->op == GRAPH_IMAGE ? build_find_image(b, n->image.ref, &n->image.platform) : NULL;
	return im ? image_uri(im) : xstrdup(redact_urls(&b->arena, n->shown));
}

/* steps - the graph as it was solved: for mode=max. */
static json_t *steps(struct build *b, const bool *in)
{
	json_t *list = json_array();
	for (size_t i = 0; i < b->graph->n_nodes; i++) {
		const struct graph_node *n = b->graph->nodes[i];
		char id[32];
		if (!in[i])
			continue;
		json_t *o = json_object(), *inputs = json_array();
		_cleanup_free_ char *name = step_name(b, n);
		for (size_t k = 0; k < n->n_inputs; k++) {
			if (n->inputs[k] == GRAPH_NONE)
				continue;
			snprintf(id, sizeof(id), "step%u", n->inputs[k]);
			json_array_append_new(inputs, json_str(id));
		}
		snprintf(id, sizeof(id), "step%u", n->id);
		set(o, "id", id);
		set(o, "name", name);
		json_object_set_new(o, "inputs", inputs);
		json_array_append_new(list, o);
	}
	return list;
}

/* --- the run --------------------------------------------------------------------------------- */

static char *base64(const char *p, size_t n)
{
	static const char digits[] =
	        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *out = xmalloc((n + 2) / 3 * 4 + 1), *q = out;
	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t)(unsigned char)p[i] << 16;
		v |= i + 1 < n ? (uint32_t)(unsigned char)p[i + 1] << 8 : 0;
		v |= i + 2 < n ? (unsigned char)p[i + 2] : 0;
		for (int k = 0; k < 4; k++)
			*q++ = i + (size_t)k > n ? '=' : digits[v >> (18 - 6 * k) & 63];
	}
	*q = '\0';
	return out;
}

static json_t *source_info(struct build *b)
{
	const char *slash = strrchr(b->file->name, '/');
	_cleanup_free_ char *data = base64(b->file->text, b->file->text_len);
	json_t *info = json_object(), *infos = json_array(), *source = json_object();
	set(info, "filename", slash ? slash + 1 : b->file->name);
	set(info, "language", "Dockerfile");
	set(info, "data", data);
	json_array_append_new(infos, info);
	json_object_set_new(source, "infos", infos);
	json_t *o = json_object();
	json_object_set_new(o, "source", source);
	return o;
}

/* With SOURCE_DATE_EPOCH the document must not tell two runs apart. */
static json_t *metadata(struct build *b, bool max)
{
	const struct build_options *o = b->o;
	json_t *m = json_object();
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	_cleanup_free_ char *started =
	        o->has_epoch ? oci_time(o->epoch, 0)
	                     : oci_time(b->started_wall / 1000, b->started_wall % 1000 * 1000000);
	_cleanup_free_ char *finished =
	        o->has_epoch ? oci_time(o->epoch, 0) : oci_time(now.tv_sec, now.tv_nsec);
	if (!o->has_epoch)
		set(m, "invocationId", b->id);
	set(m, "startedOn", started);
	set(m, "finishedOn", finished);
	if (max)
		json_object_set_new(m, "buildkit_metadata", source_info(b));
	json_object_set_new(m, "buildkit_completeness",
	        json_pack("{s:b,s:b}", "request", max, "resolvedDependencies", 0));
	json_object_set_new(m, "buildkit_hermetic", json_false());
	json_object_set_new(m, "buildkit_reproducible", json_false());
	return m;
}

json_t *attest_provenance(struct build *b, const struct graph_target *t, bool max)
{
	char plat[128];
	struct oci_platform host;
	json_t *definition = json_object(), *internal = json_object(), *external = json_object();
	_cleanup_free_ bool *in = reached(b->graph, t);
	oci_platform_host(&host);
	json_object_set_new(external, "configSource", config_source(b));
	json_object_set_new(external, "request", request(b, max));
	set(internal, "builderPlatform", oci_platform_string(&host, plat, sizeof(plat)));
	if (max)
		json_object_set_new(
		        internal, "buildConfig", json_pack("{s:o}", "steps", steps(b, in)));
	set(definition, "buildType", BUILD_TYPE);
	json_object_set_new(definition, "externalParameters", external);
	json_object_set_new(definition, "internalParameters", internal);
	json_object_set_new(definition, "resolvedDependencies", dependencies(b, in));
	json_t *builder = json_object();
	set(builder, "id",
	        b->o->attest.builder_id ? b->o->attest.builder_id
	                                : "pkg:generic/strake@" STRAKE_VERSION);
	json_object_set_new(builder, "version", json_pack("{s:s}", "strake", STRAKE_VERSION));
	json_t *run = json_object();
	json_object_set_new(run, "builder", builder);
	json_object_set_new(run, "metadata", metadata(b, max));
	json_t *o = json_object();
	json_object_set_new(o, "buildDefinition", definition);
	json_object_set_new(o, "runDetails", run);
	return o;
}
