/* graph/key.c - op_digest: everything of an operation that its result depends on, and nothing that
 * its inputs' keys say already. The format is docs/formats/cache-keys.md; a change here changes
 * every cache key, so it raises KEY_VERSION. */
#include "graph/plan.h"

#define KEY_VERSION "strake-op-1"

static void add_strv(struct sha256 *h, const struct strv *sv)
{
	sha256_u64(h, sv->n);
	for (size_t i = 0; i < sv->n; i++)
		sha256_str(h, sv->v[i]);
}

static void add_platform(struct sha256 *h, const struct oci_platform *pl)
{
	sha256_str(h, pl->os);
	sha256_str(h, pl->arch);
	sha256_str(h, pl->variant);
	sha256_str(h, pl->os_version);
}

static void add_image(struct sha256 *h, const struct graph_image *im)
{
	sha256_u64(h, im->n_diff_ids);
	for (size_t i = 0; i < im->n_diff_ids; i++)
		sha256_bytes(h, im->diff_ids[i].b, sizeof(im->diff_ids[i].b));
	/* Not resolved (--check): only the name tells images apart. */
	if (im->n_diff_ids == 0) {
		sha256_str(h, im->ref);
		add_platform(h, &im->platform);
	}
}

static void add_mount(struct sha256 *h, const struct graph_node *n, const struct graph_mount *m)
{
	sha256_u64(h, m->type);
	sha256_str(h, m->target);
	sha256_str(h, m->source);
	sha256_u64(h, m->read_only);
	sha256_u64(h, m->required);
	sha256_str(h, m->id);
	sha256_str(h, m->sharing);
	sha256_u64(h, (uint64_t)m->has_mode << 2 | (uint64_t)m->has_uid << 1 | m->has_gid);
	sha256_u64(h, m->mode);
	sha256_u64(h, m->uid);
	sha256_u64(h, m->gid);
	sha256_u64(h, m->size);
	sha256_str(h, m->env);
	/* Which of the inputs, not which node: ids differ from file to file. */
	uint64_t slot = UINT64_MAX;
	for (size_t i = 1; i < n->n_inputs && m->input != GRAPH_NONE; i++)
		if (n->inputs[i] == m->input) {
			slot = i;
			break;
		}
	sha256_u64(h, slot);
}

/* add_hosts - the names of --add-host, not their addresses. */
static void add_host_names(struct sha256 *h, const struct strv *hosts)
{
	sha256_u64(h, hosts->n);
	for (size_t i = 0; i < hosts->n; i++)
		sha256_bytes(h, hosts->v[i], strcspn(hosts->v[i], "=:"));
}

static void add_run(struct sha256 *h, const struct graph_node *n)
{
	const struct graph_run *r = &n->run;
	add_platform(h, &n->platform);
	add_strv(h, &r->argv);
	add_strv(h, &r->env);
	sha256_str(h, r->cwd);
	sha256_str(h, r->user);
	sha256_str(h, r->hostname);
	sha256_str(h, r->network);
	sha256_u64(h, r->insecure);
	sha256_u64(h, r->n_mounts);
	for (size_t i = 0; i < r->n_mounts; i++)
		add_mount(h, n, &r->mounts[i]);
	sha256_u64(h, r->n_files);
	for (size_t i = 0; i < r->n_files; i++) {
		sha256_str(h, r->files[i].path);
		sha256_bytes(h, r->files[i].data, r->files[i].len);
	}
	add_strv(h, &r->ulimits);
	add_strv(h, &r->devices);
	add_host_names(h, &r->add_hosts);
	sha256_u64(h, r->shm_size);
}

/* add_time - only where it is set: without, keys are what they were. */
static void add_time(struct sha256 *h, const struct graph_time *t)
{
	if (!t->set)
		return;
	sha256_str(h, "time");
	sha256_u64(h, (uint64_t)t->sec);
}

static void add_copy(struct sha256 *h, const struct graph_node *n)
{
	const struct graph_copy *c = &n->copy;
	sha256_u64(h, c->is_add);
	sha256_u64(h, c->link);
	sha256_u64(h, c->parents);
	sha256_u64(h, c->keep_git_dir);
	sha256_u64(h, c->from_stage);
	sha256_u64(h, (uint64_t)(c->unpack + 1));
	sha256_str(h, c->dest);
	sha256_str(h, c->chown);
	sha256_str(h, c->chmod);
	sha256_str(h, c->checksum);
	add_strv(h, &c->excludes);
	sha256_u64(h, c->n_sources);
	for (size_t i = 0; i < c->n_sources; i++) {
		const struct graph_copy_source *s = &c->sources[i];
		sha256_u64(h, s->kind);
		if (s->kind == GRAPH_SRC_INLINE) {
			sha256_str(h, s->name);
			sha256_bytes(h, s->data, s->data_len);
			continue;
		}
		/* The base name decides where a file lands; the directories before it do not,
		 * except with --parents. What is selected is in the content key. */
		const char *slash = strrchr(s->pattern, '/');
		sha256_str(h, c->parents || !slash ? s->pattern : slash + 1);
	}
	add_time(h, &c->time);
}

void key_op_digest(struct graph_node *n)
{
	struct sha256 h;
	sha256_init(&h);
	sha256_str(&h, KEY_VERSION);
	sha256_u64(&h, n->op);
	switch (n->op) {
	case GRAPH_IMAGE:
		add_image(&h, &n->image);
		break;
	case GRAPH_LOCAL:
		sha256_str(&h, n->local.name);
		sha256_str(&h, n->local.path);
		break;
	case GRAPH_GIT:
		sha256_str(&h, n->git.url);
		sha256_str(&h, n->git.ref);
		sha256_str(&h, n->git.subdir);
		sha256_str(&h, n->git.checksum);
		sha256_u64(&h, n->git.keep_git_dir);
		sha256_u64(&h, n->git.submodules);
		break;
	case GRAPH_HTTP:
		sha256_str(&h, n->http.url);
		sha256_str(&h, n->http.checksum);
		sha256_str(&h, n->http.filename);
		break;
	case GRAPH_RUN:
		add_run(&h, n);
		break;
	case GRAPH_COPY:
		add_copy(&h, n);
		break;
	case GRAPH_WORKDIR:
		sha256_str(&h, n->workdir.path);
		sha256_str(&h, n->workdir.user);
		add_time(&h, &n->workdir.time);
		break;
	}
	sha256_final(&h, &n->op_digest);
}

void key_node_digest(const struct graph_node *n, struct digest *ret)
{
	struct sha256 h;
	sha256_init(&h);
	sha256_bytes(&h, n->op_digest.b, sizeof(n->op_digest.b));
	sha256_u64(&h, n->no_cache);
	sha256_u64(&h, n->n_inputs);
	for (size_t i = 0; i < n->n_inputs; i++)
		sha256_u64(&h, n->inputs[i]);
	/* What the cache key leaves out but two nodes may differ in. */
	if (n->op == GRAPH_RUN) {
		add_strv(&h, &n->run.proxy_env);
		add_strv(&h, &n->run.add_hosts);
	} else if (n->op == GRAPH_COPY) {
		for (size_t i = 0; i < n->copy.n_sources; i++) {
			sha256_u64(&h, n->copy.sources[i].input);
			sha256_str(&h, n->copy.sources[i].pattern);
		}
	} else if (n->op == GRAPH_IMAGE) {
		add_platform(&h, &n->image.platform);
		sha256_str(&h, n->image.ref);
	}
	sha256_final(&h, ret);
}
