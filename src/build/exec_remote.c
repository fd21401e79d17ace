/* build/exec_remote.c - ADD of URLs and git repositories: asked for anew at every build (cheaply:
 * conditional GET, ls-remote), and turned into a layer of its own that COPY selects from. */
#include "build/attest.h"
#include "build/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "build/why.h"
#include "layer/layer.h"
#include "source/git.h"
#include "sys/path.h"

/* --- HTTP ------------------------------------------------------------------------------------ */

struct http_file {
	struct digest digest;
	int64_t mtime;
	char *filename, *etag, *last_modified;
};

static void http_file_release(struct http_file *f)
{
	free(f->filename);
	free(f->etag);
	free(f->last_modified);
}

static void url_key(const struct graph_node *n, struct digest *ret)
{
	struct sha256 h;
	sha256_init(&h);
	sha256_str(&h, "url");
	sha256_str(&h, n->http.url);
	sha256_str(&h, n->http.filename);
	sha256_final(&h, ret);
}

/* http_known - what the last download of this URL was. 1, 0, -1. */
static int http_known(
        struct build *b, const struct graph_node *n, struct http_file *f, struct error *err)
{
	struct digest key;
	url_key(n, &key);
	_cleanup_free_ char *text = NULL;
	int rc = store_record_get(b->store, "http", &key, &text, err);
	if (rc <= 0)
		return rc;
	struct error ignored = ERROR_INIT;
	_cleanup_json_ json_t *j = json_parse(text, strlen(text), 1 << 16, "record", &ignored);
	error_release(&ignored);
	const char *d = json_get_str(j, "digest"), *name = json_get_str(j, "filename");
	if (!d || !name || !digest_parse(d, &f->digest) ||
	        !store_blob_has(b->store, &f->digest, NULL))
		return 0;
	f->filename = xstrdup(name);
	f->mtime = json_get_int(j, "mtime", 0);
	const char *etag = json_get_str(j, "etag"), *lm = json_get_str(j, "last_modified");
	f->etag = etag ? xstrdup(etag) : NULL;
	f->last_modified = lm ? xstrdup(lm) : NULL;
	return 1;
}

static int http_remember(
        struct build *b, const struct graph_node *n, const struct http_file *f, struct error *err)
{
	char d[DIGEST_STR_MAX];
	_cleanup_json_ json_t *j = json_object();
	json_object_set_new(j, "digest", json_str(digest_str(&f->digest, d)));
	json_object_set_new(j, "filename", json_str(f->filename));
	json_object_set_new(j, "mtime", json_integer(f->mtime));
	if (f->etag)
		json_object_set_new(j, "etag", json_str(f->etag));
	if (f->last_modified)
		json_object_set_new(j, "last_modified", json_str(f->last_modified));
	_cleanup_free_ char *text = json_compact(j);
	struct digest key;
	url_key(n, &key);
	return store_record_put(b->store, "http", &key, text, err);
}

static int check_checksum(const struct graph_node *n, const struct digest *got, struct error *err)
{
	char d[DIGEST_STR_MAX];
	if (!n->http.checksum || str_eq(n->http.checksum, digest_str(got, d)))
		return 0;
	(void)err_set(err, ERR_INTEGRITY,
	        "ADD %s: the file's digest is %s, but --checksum wants %s", n->http.url, d,
	        n->http.checksum);
	return err_hint(err, "if the new content is what you want, change the checksum");
}

/* http_fetch - the file's bytes as a blob; nothing is downloaded if the server says 304. */
static int http_fetch(
        struct build *b, const struct graph_node *n, struct http_file *f, struct error *err)
{
	struct http_file known = {0};
	int rc = http_known(b, n, &known, err);
	struct registry_client *c = rc < 0 ? NULL : build_registry(b, err);
	if (!c) {
		http_file_release(&known);
		return -1;
	}
	struct registry_http rq = {.url = n->http.url, .if_none_match = known.etag};
	uint64_t size;
	_cleanup_sink_ struct sink *to =
	        store_blob_sink(b->store, b->lease, NULL, &f->digest, &size);
	rc = registry_http_get(c, &rq, to, err);
	if (rc >= 0 && rq.status == 304) {
		*f = known;
		known = (struct http_file){0};
	} else if (rc >= 0 && (rc = sink_finish(to, err)) >= 0) {
		struct tm tm = {0};
		if (rq.last_modified &&
		        strptime(rq.last_modified, "%a, %d %b %Y %H:%M:%S GMT", &tm))
			f->mtime = timegm(&tm);
		f->filename = xstrdup(n->http.filename && n->http.filename[0] ? n->http.filename
		                      : rq.filename                           ? rq.filename
		                                                              : "download");
		f->etag = take_ptr(rq.etag);
		f->last_modified = take_ptr(rq.last_modified);
	}
	registry_http_release(&rq);
	http_file_release(&known);
	if (rc >= 0)
		rc = check_checksum(n, &f->digest, err);
	if (rc >= 0)
		rc = http_remember(b, n, f, err);
	return rc;
}

static void http_key(const struct http_file *f, struct digest *ret)
{
	struct sha256 h;
	sha256_init(&h);
	sha256_str(&h, "http");
	sha256_bytes(&h, f->digest.b, sizeof(f->digest.b));
	sha256_str(&h, f->filename);
	sha256_u64(&h, (uint64_t)f->mtime);
	sha256_final(&h, ret);
}

static int probe_record(
        struct build *b, const struct digest *key, struct solve_output *ret, struct error *err)
{
	struct step_record r;
	int rc = record_get(b, key, &r, err);
	if (rc > 0)
		record_output(b, &r, NULL, ret);
	return rc;
}

/* http_write - the blob as a file of mode 0600 in the layer. */
static int http_write(struct build *b, const struct http_file *f, int treefd, struct error *err)
{
	_cleanup_reader_ struct reader *in = NULL;
	if (store_blob_reader(b->store, &f->digest, &in, err) < 0)
		return -1;
	_cleanup_close_ int fd = sys_open_beneath(
	        treefd, f->filename, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(err, fd, "writing %s", f->filename);
	_cleanup_sink_ struct sink *to = sink_fd(fd, f->filename);
	if (stream_copy(in, to, err) < 0 || sink_finish(to, err) < 0)
		return -1;
	struct timespec ts[2] = {{f->mtime, 0}, {f->mtime, 0}};
	if (futimens(fd, ts) < 0)
		return err_sys(err, errno, "setting the time of %s", f->filename);
	return 0;
}

static int http_execute(struct build *b, const struct graph_node *n, struct layer_dir *dir,
        struct digest *ret_key, struct error *err)
{
	struct http_file f = {0};
	int rc = http_known(b, n, &f, err);
	if (rc == 0)
		rc = http_fetch(b, n, &f, err);
	if (rc >= 0)
		rc = http_write(b, &f, dir->tree_fd, err);
	if (rc >= 0)
		http_key(&f, ret_key);
	http_file_release(&f);
	return rc;
}

/* --- git ------------------------------------------------------------------------------------- */

static struct source_git git_source(const struct graph_git *g)
{
	return (struct source_git){.url = g->url,
	        .ref = g->ref,
	        .subdir = g->subdir,
	        .checksum = g->checksum,
	        .keep_git_dir = g->keep_git_dir,
	        .submodules = g->submodules};
}

static int git_key(struct build *b, const struct graph_node *n, char **ret_commit,
        struct digest *ret, struct error *err)
{
	const struct graph_git *g = &n->git;
	struct source_git what = git_source(g);
	if (source_git_resolve(&what, ret_commit, err) < 0)
		return -1;
	struct sha256 h;
	sha256_init(&h);
	sha256_str(&h, "git");
	sha256_str(&h, g->url);
	sha256_str(&h, *ret_commit);
	sha256_str(&h, g->subdir);
	sha256_u64(&h, g->keep_git_dir);
	sha256_u64(&h, g->submodules);
	sha256_final(&h, ret);
	return 0;
}

static int git_execute(struct build *b, const struct graph_node *n, struct layer_dir *dir,
        struct digest *ret_key, struct error *err)
{
	const struct graph_git *g = &n->git;
	_cleanup_free_ char *commit = NULL;
	if (git_key(b, n, &commit, ret_key, err) < 0)
		return -1;
	struct source_git what = git_source(g);
	return source_git_checkout(&what, commit, dir->tree_fd, err);
}

/* --- both ------------------------------------------------------------------------------------ */

int remote_probe(
        struct build *b, const struct graph_node *n, struct solve_output *ret, struct error *err)
{
	struct digest key;
	if (n->op == GRAPH_GIT) {
		_cleanup_free_ char *commit = NULL;
		if (git_key(b, n, &commit, &key, err) < 0)
			return -1;
		_cleanup_free_ char *uri = xasprintf(
		        "%s%s%s", n->git.url, n->git.ref ? "#" : "", str_or_empty(n->git.ref));
		attest_material(b, uri, strlen(commit) == 40 ? "sha1" : "sha256", commit);
		return probe_record(b, &key, ret, err);
	}
	struct http_file f = {0};
	int rc = http_fetch(b, n, &f, err);
	if (rc >= 0) {
		char hex[DIGEST_HEX_MAX];
		attest_material(b, n->http.url, "sha256", digest_hex(&f.digest, hex));
		http_key(&f, &key);
		rc = probe_record(b, &key, ret, err);
	}
	http_file_release(&f);
	return rc;
}

int remote_execute(struct build *b, const struct graph_node *n, struct solve_output *ret,
        bool *ret_cached, struct error *err)
{
	int64_t started = now_ms();
	struct layer_dir dir = {.fd = -1, .tree_fd = -1};
	_cleanup_tree_ struct tree t = TREE_INIT;
	static const struct treeview empty;
	struct digest key;
	*ret_cached = false;
	int rc = layer_dir_new(b, &dir, err);
	if (rc >= 0)
		rc = n->op == GRAPH_GIT ? git_execute(b, n, &dir, &key, err)
		                        : http_execute(b, n, &dir, &key, err);
	if (rc >= 0)
		rc = layer_scan_upper(dir.tree_fd, &empty, NULL, b->pool, &t, err);
	_cleanup_json_ json_t *parts = rc >= 0 ? parts_new(b, n, NULL, &key) : NULL;
	if (rc >= 0) {
		struct step_parts sp = {n, parts};
		why_note(b, n, parts);
		rc = publish_layer(
		        b, dir.name, &t, dir.tree_fd, &key, 1, &sp, started, NULL, ret, err);
	}
	layer_dir_release(&dir);
	return rc < 0 ? -1 : 0;
}
