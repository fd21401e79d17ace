/* build/parts.c - what a step's key was made of, as JSON (docs/formats/step-parts.md).
 *
 * Every field that graph/key.c feeds into op_digest is here, or a change of it could not be named;
 * tests/functional/test_explain.py changes them one by one. */
#include "build/why.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/strbuf.h"
#include "sys/path.h"

#define LIST_MAX ((size_t)256 << 20)
#define HEREDOC_SHOWN 4096 /* longer ones are kept as a digest */

static void set_str(json_t *j, const char *key, const char *v)
{
	if (v && *v)
		json_object_set_new(j, key, json_str(v));
}

static void set_list(json_t *j, const char *key, const struct strv *v)
{
	if (v->n)
		json_object_set_new(j, key, json_from_strv(v));
}

static void set_digest(json_t *j, const char *key, const struct digest *d)
{
	char hex[DIGEST_HEX_MAX];
	if (!digest_is_zero(d))
		json_object_set_new(j, key, json_str(digest_hex(d, hex)));
}

/* input_object - what an input is to people: a base image, an earlier step, or nothing. */
static json_t *input_object(struct build *b, uint32_t id, const struct digest *key)
{
	json_t *j = json_object();
	if (id == GRAPH_NONE) {
		set_str(j, "is", "scratch");
		set_str(j, "key", "scratch");
		return j;
	}
	const struct graph_node *n = b->graph->nodes[id];
	set_digest(j, "key", key);
	if (n->op == GRAPH_IMAGE) {
		const struct build_image *im =
		        build_find_image(b, n->image.ref, &n->image.platform);
		set_str(j, "is", "image");
		set_str(j, "name", n->image.ref);
		set_str(j, "digest", im ? im->digest : NULL);
	} else {
		set_str(j, "is", "step");
		set_str(j, "name", n->shown);
	}
	return j;
}

json_t *parts_new(struct build *b, const struct graph_node *n, const struct solve_output *in,
        const struct digest *key)
{
	static const char *const ops[] = {[GRAPH_IMAGE] = "FROM",
	        [GRAPH_LOCAL] = "LOCAL",
	        [GRAPH_GIT] = "GIT",
	        [GRAPH_HTTP] = "HTTP",
	        [GRAPH_RUN] = "RUN",
	        [GRAPH_COPY] = "COPY",
	        [GRAPH_WORKDIR] = "WORKDIR"};
	json_t *j = json_object();
	set_str(j, "op", ops[n->op]);
	if (key)
		set_digest(j, "key", key);
	set_str(j, "name", n->shown);
	bool on_base = n->op == GRAPH_RUN || n->op == GRAPH_WORKDIR ||
	               (n->op == GRAPH_COPY && !n->copy.link);
	if (on_base && n->n_inputs)
		json_object_set_new(j, "base", input_object(b, n->inputs[0], &in[0].key));
	if (n->op == GRAPH_WORKDIR) {
		set_str(j, "path", n->workdir.path);
		set_str(j, "user", n->workdir.user);
	}
	return j;
}

/* add_env - values of names that say they are secrets are only told apart, not kept. */
static void add_env(json_t *parts, const struct strv *env)
{
	json_t *list = json_array();
	for (size_t i = 0; i < env->n; i++) {
		const char *eq = strchr(env->v[i], '=');
		_cleanup_free_ char *name =
		        xstrndup(env->v[i], eq ? (size_t)(eq - env->v[i]) : strlen(env->v[i]));
		if (!eq || !df_sensitive_name(name)) {
			json_array_append_new(list, json_str(env->v[i]));
			continue;
		}
		struct digest d;
		char hex[DIGEST_HEX_MAX];
		sha256_buf(env->v[i], strlen(env->v[i]), &d);
		_cleanup_free_ char *shown =
		        xasprintf("%s=(hidden, %.8s)", name, digest_hex(&d, hex));
		json_array_append_new(list, json_str(shown));
	}
	json_object_set_new(parts, "env", list);
}

static const char *mount_type(enum graph_mount_type t)
{
	static const char *const names[] = {[GRAPH_MOUNT_BIND] = "bind",
	        [GRAPH_MOUNT_CACHE] = "cache",
	        [GRAPH_MOUNT_TMPFS] = "tmpfs",
	        [GRAPH_MOUNT_SECRET] = "secret",
	        [GRAPH_MOUNT_SSH] = "ssh"};
	return names[t];
}

static void add_mount(json_t *list, const struct graph_mount *m)
{
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	strbuf_addf(&sb, "type=%s", mount_type(m->type));
	if (m->target)
		strbuf_addf(&sb, ",target=%s", m->target);
	if (m->source && *m->source)
		strbuf_addf(&sb, ",source=%s", m->source);
	if (m->id && (m->type != GRAPH_MOUNT_BIND))
		strbuf_addf(&sb, ",id=%s", m->id);
	if (m->read_only)
		strbuf_addstr(&sb, ",readonly");
	if (m->required)
		strbuf_addstr(&sb, ",required");
	if (m->sharing)
		strbuf_addf(&sb, ",sharing=%s", m->sharing);
	if (m->has_mode)
		strbuf_addf(&sb, ",mode=%04o", m->mode);
	if (m->has_uid)
		strbuf_addf(&sb, ",uid=%u", m->uid);
	if (m->has_gid)
		strbuf_addf(&sb, ",gid=%u", m->gid);
	if (m->size)
		strbuf_addf(&sb, ",size=%llu", (unsigned long long)m->size);
	if (m->env)
		strbuf_addf(&sb, ",env=%s", m->env);
	json_array_append_new(list, json_str(sb.buf));
}

static void add_heredoc(json_t *parts, const char *path, const char *data, size_t len)
{
	json_t *list = json_get_array(parts, "heredocs"), *j = json_object();
	if (!list) {
		list = json_array();
		json_object_set_new(parts, "heredocs", list);
	}
	set_str(j, "path", path);
	if (len <= HEREDOC_SHOWN && !memchr(data, '\0', len)) {
		_cleanup_free_ char *text = xstrndup(data, len);
		json_object_set_new(j, "data", json_str(text));
	} else {
		struct digest d;
		sha256_buf(data, len, &d);
		set_digest(j, "digest", &d);
	}
	json_array_append_new(list, j);
}

/* add_host_names - as in the key: names, not addresses. */
static void add_host_names(json_t *parts, const struct strv *hosts)
{
	_cleanup_strv_ struct strv names = STRV_INIT;
	for (size_t i = 0; i < hosts->n; i++)
		strv_addf(&names, "%.*s", (int)strcspn(hosts->v[i], "=:"), hosts->v[i]);
	set_list(parts, "hosts", &names);
}

/* add_binds - what bind mounts show: files of a directory, or another step's result. */
static void add_binds(
        struct build *b, const struct graph_node *n, const struct solve_output *in, json_t *parts)
{
	json_t *list = json_array();
	for (size_t i = 0; i < n->run.n_mounts; i++) {
		const struct graph_mount *m = &n->run.mounts[i];
		if (m->type != GRAPH_MOUNT_BIND || m->input == GRAPH_NONE)
			continue;
		const struct graph_node *src = b->graph->nodes[m->input];
		if (src->op == GRAPH_LOCAL && !b->context_chain) {
			struct source_selection sel = {0};
			_cleanup_error_ struct error e = ERROR_INIT;
			_cleanup_strv_ struct strv pattern = STRV_INIT;
			if (local_select(b, src, m->source, &sel, &e) < 0)
				continue;
			strv_add(&pattern, m->source && *m->source ? m->source : ".");
			parts_add_files(b, parts, parts_source_name(b, m->input), &pattern, &sel);
			source_selection_release(&sel);
			continue;
		}
		for (size_t k = 0; k < n->n_inputs; k++)
			if (n->inputs[k] == m->input) {
				json_array_append_new(list, input_object(b, m->input, &in[k].key));
				break;
			}
	}
	if (json_array_size(list))
		json_object_set(parts, "binds", list);
	json_decref(list);
}

void parts_add_run(
        struct build *b, const struct graph_node *n, const struct solve_output *in, json_t *parts)
{
	const struct graph_run *r = &n->run;
	char pl[128];
	set_str(parts, "platform", oci_platform_string(&n->platform, pl, sizeof(pl)));
	set_list(parts, "argv", &r->argv);
	add_env(parts, &r->env);
	set_str(parts, "cwd", r->cwd);
	set_str(parts, "user", r->user);
	set_str(parts, "hostname", r->hostname);
	set_str(parts, "network", r->network);
	if (r->insecure)
		set_str(parts, "security", "insecure");
	if (r->shm_size) {
		_cleanup_free_ char *size = xasprintf("%llu", (unsigned long long)r->shm_size);
		set_str(parts, "shm", size);
	}
	json_t *mounts = json_array();
	for (size_t i = 0; i < r->n_mounts; i++)
		add_mount(mounts, &r->mounts[i]);
	json_object_set_new(parts, "mounts", mounts);
	for (size_t i = 0; i < r->n_files; i++)
		add_heredoc(parts, r->files[i].path, r->files[i].data, r->files[i].len);
	add_binds(b, n, in, parts);
	set_list(parts, "ulimits", &r->ulimits);
	set_list(parts, "devices", &r->devices);
	add_host_names(parts, &r->add_hosts);
}

void parts_add_copy(const struct graph_node *n, json_t *parts)
{
	const struct graph_copy *c = &n->copy;
	set_str(parts, "dest", c->dest);
	set_str(parts, "chown", c->chown);
	set_str(parts, "chmod", c->chmod);
	set_str(parts, "checksum", c->checksum);
	set_list(parts, "exclude", &c->excludes);
	_cleanup_strv_ struct strv opts = STRV_INIT;
	strv_add(&opts, c->is_add ? "ADD" : "COPY");
	if (c->link)
		strv_add(&opts, "--link");
	if (c->parents)
		strv_add(&opts, "--parents");
	if (c->keep_git_dir)
		strv_add(&opts, "--keep-git-dir");
	if (c->unpack >= 0)
		strv_addf(&opts, "--unpack=%s", c->unpack ? "true" : "false");
	if (c->from_stage)
		strv_add(&opts, "--from");
	if (c->time.set)
		strv_addf(&opts, "SOURCE_DATE_EPOCH=%lld", (long long)c->time.sec);
	set_list(parts, "options", &opts);
	for (size_t i = 0; i < c->n_sources; i++)
		if (c->sources[i].kind == GRAPH_SRC_INLINE)
			add_heredoc(parts, c->sources[i].name, c->sources[i].data,
			        c->sources[i].data_len);
}

/* --- lists of files -------------------------------------------------------------------------- */

/* list_name - lists are named by the content key of the selection, so equal ones are one file. */
static void list_name(char ret[48], const char *hex)
{
	snprintf(ret, 48, "files-%.32s", hex);
}

/* save_list - a lost list costs a detail of a message; nothing here may fail a build. */
static void save_list(struct build *b, const char *hex, const struct source_selection *sel)
{
	int dir = store_cache_dirfd(b->store);
	char name[48], tmp[64];
	list_name(name, hex);
	if (dir < 0 || utimensat(dir, name, NULL, AT_SYMLINK_NOFOLLOW) == 0)
		return;
	snprintf(tmp, sizeof(tmp), "%s.%d.tmp", name, (int)gettid());
	_cleanup_tree_ struct tree files = TREE_INIT;
	_cleanup_free_ void *buf = NULL;
	size_t n;
	source_selection_files(sel, &files);
	tree_encode(&files, &buf, &n);
	_cleanup_close_ int fd =
	        openat(dir, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	if (n > LIST_MAX || sys_write_all(fd, buf, n) < 0 || renameat(dir, tmp, dir, name) < 0)
		(void)unlinkat(dir, tmp, 0);
}

bool parts_load_files(struct build *b, const char *hex, struct tree *ret)
{
	int dir = store_cache_dirfd(b->store);
	char name[48];
	_cleanup_free_ char *buf = NULL;
	_cleanup_error_ struct error e = ERROR_INIT;
	size_t n;
	if (!hex || strlen(hex) < 32 || strspn(hex, "0123456789abcdef") < 32)
		return false;
	list_name(name, hex);
	return dir >= 0 && sys_read_file(dir, name, LIST_MAX, &buf, &n) >= 0 &&
	       tree_decode(buf, n, name, ret, &e) >= 0;
}

const char *parts_source_name(struct build *b, uint32_t input)
{
	if (input == GRAPH_NONE)
		return "scratch";
	const struct graph_node *n = b->graph->nodes[input];
	if (n->op == GRAPH_LOCAL && !n->local.path)
		return "the build context";
	if (n->op == GRAPH_IMAGE)
		return n->image.ref;
	if (n->op == GRAPH_GIT || n->op == GRAPH_HTTP)
		return n->shown;
	pthread_mutex_lock(&b->lock);
	const char *s = n->op == GRAPH_LOCAL
	                        ? arena_printf(&b->arena, "the context %s", n->local.name)
	                        : arena_printf(&b->arena, "stage %s", n->stage);
	pthread_mutex_unlock(&b->lock);
	return s;
}

void parts_add_files(struct build *b, json_t *parts, const char *from, const struct strv *patterns,
        const struct source_selection *sel)
{
	json_t *list = json_get_array(parts, "files"), *j = json_object();
	if (!list) {
		list = json_array();
		json_object_set_new(parts, "files", list);
	}
	set_str(j, "from", from);
	set_list(j, "patterns", patterns);
	if (sel) {
		char hex[DIGEST_HEX_MAX];
		set_digest(j, "key", &sel->key);
		save_list(b, digest_hex(&sel->key, hex), sel);
	}
	json_array_append_new(list, j);
}
