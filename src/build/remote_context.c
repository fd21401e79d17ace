/* build/remote_context.c - main contexts that are not a local directory: a tar archive or a
 * Dockerfile on standard input, a git repository, an HTTP(S) archive or Dockerfile.
 *
 * An archive or repository becomes a layer of its own in the store, keyed by its bytes or commit,
 * so that the same context is unpacked once. .dockerignore does not apply to them (SEMANTICS 50).
 */
#include "build/attest.h"
#include "build/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "graph/git_url.h"
#include "source/archive.h"
#include "source/git.h"
#include "sys/path.h"

#define DOCKERFILE_MAX ((size_t)16 << 20)

/* tar_checksum_ok - an old tar without magic is known by its header's sum. */
static bool tar_checksum_ok(const unsigned char *p)
{
	unsigned long sum = 0;
	for (int i = 0; i < 512; i++)
		sum += i >= 148 && i < 156 ? ' ' : p[i];
	char field[9] = {0};
	memcpy(field, p + 148, 8);
	return sum > 256 && strtoul(field, NULL, 8) == sum;
}

static bool is_archive(const unsigned char *p, size_t n)
{
	static const struct {
		size_t at, len;
		const char *magic;
	} known[] = {{257, 5, "ustar"}, {0, 2, "\x1f\x8b"}, {0, 3, "BZh"},
	        {0, 6,
	                "\xfd"
	                "7zXZ\0"},
	        {0, 4, "\x28\xb5\x2f\xfd"}};
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (n >= known[i].at + known[i].len &&
		        memcmp(p + known[i].at, known[i].magic, known[i].len) == 0)
			return true;
	return n >= 512 && tar_checksum_ok(p);
}

/* chain_from - the layer recorded under key, or the one that fill() makes. */
static int chain_from(struct build *b, const struct digest *key,
        int (*fill)(struct build *b, void *ctx, int treefd, struct error *err), void *ctx,
        struct error *err)
{
	struct solve_output out = {0};
	struct step_record r;
	const struct store_layer *l;
	int rc = record_get(b, key, &r, err);
	if (rc > 0)
		rc = store_layer_get(b->store, b->lease, &r.diff_id, 0, &l, err);
	if (rc > 0) {
		record_output(b, &r, NULL, &out);
	} else if (rc == 0) {
		int64_t started = now_ms();
		struct layer_dir dir = {.fd = -1, .tree_fd = -1};
		_cleanup_tree_ struct tree t = TREE_INIT;
		static const struct treeview empty;
		rc = build_enter(b, err);
		if (rc >= 0)
			rc = layer_dir_new(b, &dir, err);
		if (rc >= 0)
			rc = fill(b, ctx, dir.tree_fd, err);
		if (rc >= 0)
			rc = layer_scan_upper(dir.tree_fd, &empty, NULL, b->pool, &t, err);
		if (rc >= 0)
			rc = publish_layer(b, dir.name, &t, dir.tree_fd, key, 1, NULL, started,
			        NULL, &out, err);
		layer_dir_release(&dir);
	}
	b->context_chain = out.value;
	return rc < 0 ? -1 : 0;
}

static void context_key(const char *kind, const void *p, size_t n, struct digest *ret)
{
	struct sha256 h;
	sha256_init(&h);
	sha256_str(&h, kind);
	sha256_bytes(&h, p, n);
	sha256_final(&h, ret);
}

/* --- archives -------------------------------------------------------------------------------- */

struct archive {
	int fd;
	const char *what;
};

static int fill_archive(struct build *b, void *ctx, int treefd, struct error *err)
{
	const struct archive *a = ctx;
	if (lseek(a->fd, 0, SEEK_SET) < 0)
		return err_sys(err, errno, "%s", a->what);
	return source_archive_extract(a->fd, a->what, treefd, err);
}

/* use_archive - bytes in a seekable file, of the given digest. */
static int use_archive(
        struct build *b, int fd, const char *what, const struct digest *bytes, struct error *err)
{
	struct archive a = {fd, what};
	struct digest key;
	context_key("archive-context", bytes->b, sizeof(bytes->b), &key);
	return chain_from(b, &key, fill_archive, &a, err);
}

/* spool - all of r behind `head` into an unnamed file of the lease, hashed. */
static int spool(struct build *b, const void *head, size_t n, int from, int *ret_fd,
        struct digest *ret, struct error *err)
{
	_cleanup_close_ int fd =
	        openat(store_lease_dirfd(b->lease), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(err, errno, "making a temporary file in %s", store_path(b->store));
	uint64_t size;
	_cleanup_sink_ struct sink *to = sink_hash(sink_fd(fd, "temporary file"), ret, &size);
	_cleanup_reader_ struct reader *in = reader_fd(from, "standard input");
	if (sink_write(to, head, n, err) < 0 || stream_copy(in, to, err) < 0 ||
	        sink_finish(to, err) < 0)
		return -1;
	*ret_fd = take_fd(&fd);
	return 0;
}

static int use_stdin(struct build *b, char **ret_text, size_t *ret_n, struct error *err)
{
	unsigned char head[512];
	size_t n = 0;
	while (n < sizeof(head)) {
		ssize_t r = read(STDIN_FILENO, head + n, sizeof(head) - n);
		if (r < 0 && errno == EINTR && !build_interrupted(b))
			continue;
		if (r < 0)
			return err_sys(err, errno, "reading the context from standard input");
		if (r == 0)
			break;
		n += (size_t)r;
	}
	if (is_archive(head, n)) {
		_cleanup_close_ int fd = -1;
		struct digest bytes;
		return spool(b, head, n, STDIN_FILENO, &fd, &bytes, err) < 0
		               ? -1
		               : use_archive(b, fd, "context on standard input", &bytes, err);
	}
	struct strbuf sb = STRBUF_INIT;
	strbuf_add(&sb, head, n);
	if (n == sizeof(head)) {
		_cleanup_free_ char *rest = NULL;
		size_t m;
		int r = sys_read_fd(STDIN_FILENO, DOCKERFILE_MAX, &rest, &m);
		if (r < 0) {
			strbuf_release(&sb);
			return err_sys(err, r, "reading the Dockerfile from standard input");
		}
		strbuf_add(&sb, rest, m);
	}
	*ret_n = sb.len;
	*ret_text = strbuf_detach(&sb);
	return 0;
}

/* --- HTTP ------------------------------------------------------------------------------------ */

static int use_http(
        struct build *b, const char *url, char **ret_text, size_t *ret_n, struct error *err)
{
	struct registry_client *c = build_registry(b, err);
	if (!c)
		return -1;
	struct registry_http rq = {.url = url};
	struct digest digest;
	uint64_t size;
	_cleanup_sink_ struct sink *to = store_blob_sink(b->store, b->lease, NULL, &digest, &size);
	int rc = registry_http_get(c, &rq, to, err);
	registry_http_release(&rq);
	if (rc < 0 || sink_finish(to, err) < 0)
		return -1;
	char hex[DIGEST_HEX_MAX];
	attest_material(b, url, "sha256", digest_hex(&digest, hex));
	_cleanup_close_ int fd = -1;
	if (store_blob_open(b->store, &digest, &fd, &size, err) < 0)
		return -1;
	unsigned char head[512];
	ssize_t n = pread(fd, head, sizeof(head), 0);
	if (n < 0)
		return err_sys(err, errno, "reading %s", url);
	if (is_archive(head, (size_t)n))
		return use_archive(b, fd, url, &digest, err);
	int r = sys_read_fd(fd, DOCKERFILE_MAX, ret_text, ret_n);
	return r < 0 ? err_sys(err, r, "%s", url) : 0;
}

/* --- git ------------------------------------------------------------------------------------- */

struct checkout {
	struct source_git what;
	const char *commit;
};

static int fill_git(struct build *b, void *ctx, int treefd, struct error *err)
{
	const struct checkout *c = ctx;
	return source_git_checkout(&c->what, c->commit, treefd, err);
}

static int use_git(struct build *b, const struct git_ref *g, struct error *err)
{
	const char *keep = env_get(&b->o->build_args, "BUILDKIT_CONTEXT_KEEP_GIT_DIR");
	struct checkout c = {
	        .what = {.url = g->url,
	                .ref = g->ref,
	                .subdir = g->subdir,
	                .checksum = g->checksum,
	                .submodules = g->submodules != 0,
	                .keep_git_dir = g->keep_git_dir == 1 ||
	                                (g->keep_git_dir < 0 && keep &&
	                                        (str_eq(keep, "1") || str_eq(keep, "true")))}};
	_cleanup_free_ char *commit = NULL;
	if (source_git_resolve(&c.what, &commit, err) < 0)
		return -1;
	c.commit = commit;
	_cleanup_free_ char *uri =
	        xasprintf("%s%s%s", g->url, g->ref ? "#" : "", str_or_empty(g->ref));
	attest_material(b, uri, strlen(commit) == 40 ? "sha1" : "sha256", commit);
	_cleanup_free_ char *id = xasprintf("%s %s %s %d %d", g->url, commit,
	        str_or_empty(g->subdir), c.what.keep_git_dir, c.what.submodules);
	struct digest key;
	context_key("git-context", id, strlen(id), &key);
	return chain_from(b, &key, fill_git, &c, err);
}

/* --- the Dockerfile inside ------------------------------------------------------------------- */

static int read_inside(
        struct build *b, char **ret_name, char **ret_text, size_t *ret_n, struct error *err)
{
	struct build_view v;
	const char *name = b->o->dockerfile ? b->o->dockerfile : "Dockerfile";
	if (build_enter(b, err) < 0 || build_view_open(b, b->context_chain, &v, err) < 0)
		return -1;
	int r = sys_read_file_in_root(v.fds[0], name, DOCKERFILE_MAX, ret_text, ret_n);
	build_view_release(&v);
	if (r == -ENOENT) {
		(void)err_set(err, ERR_USAGE, "the context %s holds no %s", b->o->context, name);
		return err_hint(err, "-f names the Dockerfile's path inside the context");
	}
	if (r < 0)
		return err_sys(err, r, "%s in the context %s", name, b->o->context);
	*ret_name = xstrdup(name);
	return 0;
}

int build_remote_context(
        struct build *b, char **ret_name, char **ret_text, size_t *ret_n, struct error *err)
{
	const char *c = b->o->context;
	struct git_ref g;
	int rc;
	if (str_eq(c, "-")) {
		rc = use_stdin(b, ret_text, ret_n, err);
	} else if ((rc = git_ref_parse(c, &g, err)) != 0) {
		if (rc > 0)
			rc = use_git(b, &g, err);
		git_ref_release(&g);
	} else {
		rc = use_http(b, c, ret_text, ret_n, err);
	}
	if (rc < 0)
		return -1;
	if (*ret_text) {
		*ret_name = xstrdup("Dockerfile");
		return 0;
	}
	return read_inside(b, ret_name, ret_text, ret_n, err);
}

bool build_context_is_remote(const char *context)
{
	struct git_ref g;
	struct error err = ERROR_INIT;
	if (str_eq(context, "-") || str_starts(context, "http://") ||
	        str_starts(context, "https://"))
		return true;
	/* A directory of that name wins over an odd reading as a git address. */
	if (access(context, F_OK) == 0) /* trusted-path: the command line */
		return false;
	int rc = git_ref_parse(context, &g, &err);
	git_ref_release(&g);
	error_release(&err);
	return rc != 0;
}
