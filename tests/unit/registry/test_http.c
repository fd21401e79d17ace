/* registry/ against a registry that misbehaves (tests/functional/bad_registry.py): RELIABILITY rows
 * T11-T16, F8, F9. The script's path is the argument; it dies with our end of its pipe. */
#include "../tap.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "registry/client.h"
#include "registry/registry.h"

#define BLOB_SIZE (1 << 20)
#define CHAOS_RUNS 60 /* $CHAOS_RUNS for more */

extern char **environ;

static int ports[3];
static char cert[256], dir[] = "/tmp/strake-http-XXXXXX";
static char config_path[64], docker_path[64];
static char host[3][32];
static unsigned char blob[BLOB_SIZE];
static struct digest blob_digest;
static char blob_hex[DIGEST_STR_MAX];

/* --- set-up ---------------------------------------------------------------------------------- */

static pid_t start_server(const char *python, const char *script, int *ret_in)
{
	int in[2], out[2];
	pid_t pid;
	char line[512] = "";
	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
		exit(1);
	posix_spawn_file_actions_t fa;
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_adddup2(&fa, in[0], 0);
	posix_spawn_file_actions_adddup2(&fa, out[1], 1);
	char *argv[] = {(char *)(uintptr_t)python, (char *)(uintptr_t)script, NULL};
	if (posix_spawn(&pid, python, &fa, NULL, argv, environ) != 0)
		exit(1);
	posix_spawn_file_actions_destroy(&fa);
	close(in[0]);
	close(out[1]);
	FILE *f = fdopen(out[0], "r");
	if (!f || !fgets(line, sizeof(line), f) ||
	        sscanf(line, "%d %d %d %255s", &ports[0], &ports[1], &ports[2], cert) != 4)
		exit(1);
	fclose(f);
	*ret_in = in[1];
	return pid;
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");
	if (!f)
		exit(1);
	fputs(text, f);
	fclose(f);
}

static struct registry_client *client(const char *extra)
{
	struct registry_client *c = NULL;
	struct error err = ERROR_INIT;
	char *text =
	        xasprintf("[http]\nstall-timeout = 1\nretries = 2\nretry-pause = 10\n%s", extra);
	write_file(config_path, text);
	free(text);
	struct registry_options o = {.config_path = config_path, .docker_config = docker_path};
	if (registry_client_new(&o, &c, &err) < 0) {
		printf("# %s\n", err.msg);
		exit(1);
	}
	return c;
}

/* What the server saw since the last look. */
static char *server_log(void)
{
	struct strbuf sb = STRBUF_INIT;
	struct error err = ERROR_INIT;
	struct registry_client *c = client("");
	struct registry_http rq = {0};
	char *url = xasprintf("http://%s/log", host[0]);
	struct sink *s = sink_strbuf(&sb, 1 << 24, "log");
	rq.url = url;
	if (registry_http_get(c, &rq, s, &err) < 0)
		exit(1);
	free(url);
	registry_http_release(&rq);
	url = xasprintf("http://%s/reset", host[0]);
	rq.url = url;
	struct sink *null = sink_null();
	if (registry_http_get(c, &rq, null, &err) < 0)
		exit(1);
	registry_http_release(&rq);
	sink_free(null);
	sink_free(s);
	free(url);
	registry_client_free(c);
	return strbuf_detach(&sb);
}

static int n_lines(const char *s)
{
	int n = 0;
	for (; (s = strchr(s, '\n')); s++)
		n++;
	return n;
}

static struct oci_ref ref(const char *domain, const char *repo, const char *tag)
{
	/* A few live at a time. */
	static char ds[4][64], ps[4][64], ts[4][128];
	static unsigned at;
	char *d = ds[++at % 4], *p = ps[at % 4], *t = ts[at % 4];
	snprintf(d, sizeof(ds[0]), "%s", domain);
	snprintf(p, sizeof(ps[0]), "%s/x", repo);
	snprintf(t, sizeof(ts[0]), "%s", tag);
	struct oci_ref r = {.domain = d, .path = p};
	if (strchr(tag, ':'))
		r.digest = t;
	else
		r.tag = t;
	return r;
}

/* --- pull ------------------------------------------------------------------------------------ */

static char last_message[2048];

static int keep_error(struct error *err)
{
	int class = err->class;
	snprintf(last_message, sizeof(last_message), "%s", str_or_empty(err->msg));
	error_release(err);
	return class;
}

/* The class of the error, 0 for success. */
static int manifest(
        struct registry_client *c, const char *domain, const char *repo, const char *tag)
{
	struct oci_ref r = ref(domain, repo, tag);
	struct error err = ERROR_INIT;
	char *text = NULL, *type = NULL;
	size_t n = 0;
	struct digest d;
	last_message[0] = '\0';
	if (registry_get_manifest(c, &r, &text, &n, &type, &d, &err) < 0)
		return keep_error(&err);
	char hex[DIGEST_STR_MAX];
	is_str(text, "{\"schemaVersion\":2,\"layers\":[]}", "the manifest's bytes");
	is_str(type, "application/vnd.oci.image.manifest.v1+json", "type without parameters");
	is_str(digest_str(&d, hex),
	        "sha256:6ece6defe7067e1c5455a7720c1189ad30f7f8efe78587bd7c06e64a80fe7770",
	        "computed digest");
	free(text);
	free(type);
	return 0;
}

static int get_blob(struct registry_client *c, const char *domain, const char *repo)
{
	struct oci_ref r = ref(domain, repo, "t");
	struct error err = ERROR_INIT;
	struct oci_descriptor d = {.digest = blob_digest, .size = BLOB_SIZE};
	struct digest got;
	uint64_t size = 0;
	struct sink *s = sink_hash(NULL, &got, &size);
	int class = 0;
	last_message[0] = '\0';
	if (registry_get_blob(c, &r, &d, s, &err) < 0)
		class = keep_error(&err);
	else if (sink_finish(s, &err) < 0 || size != BLOB_SIZE || !digest_eq(&got, &blob_digest))
		class = -1;
	sink_free(s);
	return class;
}

static bool said(const char *text)
{
	bool yes = strstr(last_message, text) != NULL;
	if (!yes)
		printf("# message: %s\n", last_message);
	return yes;
}

static void test_good(struct registry_client *c)
{
	is_int(manifest(c, host[0], "good", "latest"), 0, "a good manifest");
	is_int(get_blob(c, host[0], "good"), 0, "a good blob");
	is_int(manifest(c, host[0], "nothing", "latest"), ERR_NOT_FOUND, "404");
	ok(said("NAME_UNKNOWN: no such place"), "with the registry's words");
	free(server_log());
}

static void test_digests(struct registry_client *c)
{
	is_int(manifest(c, host[0], "good", "sha256:../../x"), ERR_USAGE, "T11: no digest");
	is_int(manifest(c, host[0], "good",
	               "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
	        ERR_USAGE, "T11: upper case");
	is_int(manifest(c, host[0], "good", "sha512:aa"), ERR_USAGE, "T11: other algorithm");
	char *log = server_log();
	is_str(log, "", "no request was made");
	free(log);
	is_int(manifest(c, host[0], "good",
	               "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
	        ERR_INTEGRITY, "T15: other bytes under a digest");
	is_int(manifest(c, host[0], "liar", "latest"), 0, "T15: a header does not count");
	is_int(manifest(c, host[0], "huge", "latest"), ERR_INTEGRITY, "T12: 64 MiB of JSON");
	is_int(get_blob(c, host[0], "flipped"), ERR_INTEGRITY, "T11: a flipped bit");
	is_int(get_blob(c, host[0], "longer"), ERR_INTEGRITY, "T11: a byte too many");
	is_int(get_blob(c, host[0], "shorter"), ERR_NETWORK, "T11: a byte too few");
	free(server_log());
}

static void test_redirects(struct registry_client *c)
{
	is_int(get_blob(c, host[0], "elsewhere"), 0, "a redirect to another port is followed");
	char *log = server_log();
	char *want = xasprintf("%d GET /storage?sig=SECRET - -\n", ports[1]);
	ok(strstr(log, want), "T14: without Authorization");
	ok(strstr(log, "Bearer_tok1"), "which the registry itself did get");
	free(want);
	free(log);
	/* A client of its own knows of no token service yet: no request but these. */
	struct registry_client *t = client("");
	is_int(get_blob(t, host[0], "loop"), ERR_NETWORK, "T14: a loop");
	log = server_log();
	is_int(n_lines(log), 11, "ends after ten redirects");
	free(log);
	registry_client_free(t);
	is_int(get_blob(c, host[0], "to-file"), ERR_NETWORK, "T13: file:");
	is_int(get_blob(c, host[0], "to-metadata"), ERR_NETWORK, "T13: link-local");
	ok(said("link-local"), "is refused by name");
	is_int(get_blob(c, host[0], "no-location"), ERR_NETWORK, "no Location");
	free(server_log());
	t = client("");
	is_int(get_blob(t, host[0], "cdn401"), ERR_AUTH, "T13: a 401 of another server");
	registry_client_free(t);
	log = server_log();
	ok(!strstr(log, "/token"), "leads to no token request");
	free(log);
	t = client("");
	is_int(get_blob(t, host[2], "downgrade"), ERR_NETWORK, "T14: https to http");
	ok(said("from https to http"), "is refused");
	log = server_log();
	ok(!strstr(log, "/storage"), "before the request");
	free(log);
	registry_client_free(t);
}

static void test_zones(struct registry_client *unused)
{
	struct registry_config cfg;
	(void)unused;
	registry_config_init(&cfg);
	struct http *h = http_new(&cfg, NULL);
	struct http_response resp = HTTP_RESPONSE_INIT;
	struct error err = ERROR_INIT;
	char *url = xasprintf("http://127.0.0.1:%d/file", ports[0]);
	struct http_request rq = {
	        .method = "GET", .url = url, .max_body = 100, .zones = URL_ZONE_PUBLIC};
	is_int(http_exchange(h, &rq, &resp, &err), -1, "T13: not sent to this machine by its text");
	error_release(&err);
	rq.url = "http://localhost.localdomain.invalid/";
	rq.zones = URL_ZONE_PUBLIC | URL_ZONE_LOOPBACK;
	is_int(http_exchange(h, &rq, &resp, &err), -1, "an unknown name");
	ok(resp.refused, "counts as not there");
	error_release(&err);
	free(url);
	http_response_release(&resp);
	http_free(h);
	registry_config_release(&cfg);
	char *log = server_log();
	is_str(log, "", "no request was made");
	free(log);
}

static void test_tokens(struct registry_client *c)
{
	is_int(manifest(c, host[0], "tok", "latest"), 0, "a token is fetched");
	is_int(manifest(c, host[0], "tok", "latest"), 0, "and used again");
	char *log = server_log();
	is_int(n_lines(log), 4, "four requests: challenge, token, twice the manifest");
	ok(strstr(log, "/token?service=bad&scope=repository%3Atok%2Fx%3Apull - "),
	        "T16: no credentials where none are known");
	free(log);
	is_int(manifest(c, host[0], "tok", "latest"), 0, "a revoked token is replaced");
	free(server_log());
	is_int(manifest(c, host[0], "never", "latest"), ERR_AUTH, "a token that does not help");
	ok(said("authentication required"), "the registry's words");
	free(server_log());
	struct registry_client *d = client("");
	is_int(manifest(d, host[0], "realm-file", "latest"), ERR_AUTH, "T13: realm file:");
	registry_client_free(d);
	d = client("");
	is_int(manifest(d, host[0], "realm-metadata", "latest"), ERR_NETWORK, "T13: link-local");
	registry_client_free(d);
	d = client("");
	is_int(manifest(d, host[0], "realm-userinfo", "latest"), ERR_AUTH, "T13: user:pw@");
	registry_client_free(d);
	char *text = xasprintf("{\"auths\":{\"%s\":{\"auth\":\"dXNlcjpwYTpzcw==\"}}}", host[0]);
	write_file(docker_path, text);
	free(text);
	d = client("");
	is_int(manifest(d, host[0], "basic", "latest"), 0, "basic authentication");
	is_int(manifest(d, host[1], "basic", "latest"), ERR_AUTH, "T16: not at another port");
	registry_client_free(d);
	write_file(docker_path, "{}");
	log = server_log();
	text = xasprintf("%d GET /v2/basic/x/manifests/latest Basic", ports[1]);
	ok(!strstr(log, text), "which got nothing");
	free(text);
	free(log);
}

static void test_faults(struct registry_client *c)
{
	is_int(get_blob(c, host[0], "cut4k"), 0, "F8: cut every 4 KiB, resumed each time");
	char *log = server_log();
	is_int(n_lines(log), 256, "in 256 requests");
	ok(strstr(log, "bytes=4096-\n") && strstr(log, "bytes=1044480-\n"), "by Range");
	free(log);
	is_int(get_blob(c, host[0], "cut-norange"), 0, "F8: Range ignored");
	is_int(get_blob(c, host[0], "cut-same"), ERR_NETWORK, "F8: never gets further");
	is_int(get_blob(c, host[0], "wrong-range"), ERR_NETWORK, "F8: another range");
	is_int(manifest(c, host[0], "fail2", "latest"), 0, "F9: 503 twice, then fine");
	is_int(manifest(c, host[0], "fail", "latest"), ERR_NETWORK, "F9: 500 for ever");
	ok(said("HTTP 500") && said("disk \\x1b[31mon fire"), "the body, harmless for a terminal");
	is_int(manifest(c, host[0], "slow-down", "latest"), 0, "F9: 429 with Retry-After");
	free(server_log());
	is_int(manifest(c, host[0], "come-back-later", "latest"), ERR_NETWORK, "F9: a day's wait");
	log = server_log();
	is_int(n_lines(log), 1, "is not tried again");
	free(log);
	is_int(manifest(c, host[0], "rst", "latest"), 0, "F9: reset twice");
	is_int(get_blob(c, host[0], "rst-middle"), 0, "F9: reset in the middle");
	struct registry_client *once = client("retries = 0\n");
	is_int(get_blob(once, host[0], "stall"), ERR_NETWORK, "F9: stalled");
	ok(said("stalled"), "and said so");
	is_int(get_blob(once, host[0], "drip"), ERR_NETWORK, "F9: a trickle");
	registry_client_free(once);
	is_int(manifest(c, host[0], "headers", "latest"), ERR_NETWORK, "endless headers");
	free(server_log());
}

static void test_mirrors(struct registry_client *unused)
{
	char *text = xasprintf("[registry \"%s\"]\nmirror = http://127.0.0.1:1\n"
	                       "mirror = http://%s/fail/\nmirror = http://%s/good\n",
	        host[1], host[0], host[0]);
	struct registry_client *c = client(text);
	(void)unused;
	is_int(manifest(c, host[1], "nothing", "latest"), 0, "a mirror with a path serves it");
	char *log = server_log();
	char *want = xasprintf("%d GET /v2/good/nothing/x/manifests/latest", ports[0]);
	ok(strstr(log, want), "path before the repository; dead and failing ones passed over");
	free(want);
	free(log);
	char *missing = xasprintf("[registry \"%s\"]\nmirror = http://%s\n", host[1], host[0]);
	struct registry_client *m = client(missing);
	is_int(manifest(m, host[1], "nowhere", "latest"), ERR_NOT_FOUND, "nobody has it");
	ok(said(host[1]) && said("mirrors were asked first:") && said(host[0]), "all are named");
	registry_client_free(m);
	free(missing);
	free(server_log());
	struct oci_ref r = ref(host[1], "push", "t");
	struct error err = ERROR_INIT;
	bool has = true;
	is_int(registry_has_blob(c, &r, &blob_digest, &has, &err), 0, "a push asks");
	log = server_log();
	want = xasprintf("%d HEAD /v2/push/x/blobs/", ports[1]);
	ok(strncmp(log, want, strlen(want)) == 0 && n_lines(log) == 1, "only the registry itself");
	free(want);
	free(log);
	free(text);
	registry_client_free(c);
}

static void test_tls(struct registry_client *unused)
{
	char *text = xasprintf("[registry \"%s\"]\nca = %s\n", host[2], cert);
	struct registry_client *c = client(text);
	(void)unused;
	is_int(manifest(c, host[2], "good", "latest"), 0, "the configured CA is used");
	registry_client_free(c);
	free(text);
	text = xasprintf("[registry \"%s\"]\nca = %s/other.pem\n", host[2], dir);
	char *other = xasprintf("%s/other.pem", dir);
	write_file(other, "");
	c = client(text);
	is_int(manifest(c, host[2], "good", "latest"), ERR_NETWORK, "F9: bad TLS");
	registry_client_free(c);
	unlink(other);
	free(other);
	free(text);
	char *log = server_log();
	is_int(n_lines(log), 1, "nothing is sent to who cannot prove its name");
	free(log);
}

/* --- plain GET ------------------------------------------------------------------------------- */

static int fetch(
        struct registry_client *c, const char *path, struct registry_http *rq, struct strbuf *sb)
{
	struct error err = ERROR_INIT;
	char *url = xasprintf("http://%s/%s", host[0], path);
	struct sink *s = sink_strbuf(sb, 1 << 24, "test");
	rq->url = url;
	last_message[0] = '\0';
	int class = registry_http_get(c, rq, s, &err) < 0 ? keep_error(&err) : 0;
	sink_free(s);
	free(url);
	return class;
}

static void test_fetch(struct registry_client *c)
{
	struct strbuf sb = STRBUF_INIT;
	struct registry_http rq = {0};
	is_int(fetch(c, "hop", &rq, &sb), 0, "a file behind a redirect");
	is_str(sb.buf, "hello\n", "its content");
	is_str(rq.etag, "\"v1\"", "ETag");
	is_str(rq.last_modified, "Wed, 21 Oct 2015 07:28:00 GMT", "Last-Modified");
	is_str(rq.filename, "evil name.txt", "B5: a safe name");
	is_int(rq.status, 200, "status");
	registry_http_release(&rq);
	strbuf_reset(&sb);
	rq.if_none_match = "\"v1\"";
	is_int(fetch(c, "file", &rq, &sb), 0, "asked again");
	is_int(rq.status, 304, "unchanged");
	is_int(sb.len, 0, "no content");
	registry_http_release(&rq);
	rq.if_none_match = NULL;
	is_int(fetch(c, "gone", &rq, &sb), ERR_NOT_FOUND, "404");
	is_int(fetch(c, "resumed", &rq, &sb), 0, "F8: resumed by ETag");
	ok(sb.len == BLOB_SIZE && memcmp(sb.buf, blob, BLOB_SIZE) == 0, "the right bytes");
	registry_http_release(&rq);
	strbuf_reset(&sb);
	is_int(fetch(c, "changed", &rq, &sb), ERR_NETWORK, "F8: ETag changed");
	rq.max_bytes = 3;
	is_int(fetch(c, "file", &rq, &sb), ERR_USAGE, "a limit");
	registry_http_release(&rq);
	strbuf_release(&sb);
	free(server_log());
}

static int usage(const char *name)
{
	fprintf(stderr, "usage: %s PYTHON BAD_REGISTRY\n", name);
	return 2;
}

static void keep_environment_out(void)
{
	static const char *const names[] = {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy",
	        "ALL_PROXY", "SSL_CERT_FILE"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		unsetenv(names[i]);
	setenv("HOME", dir, 1);
	/* T16: must never be read. */
	char *netrc = xasprintf("%s/.netrc", dir);
	write_file(netrc, "default login netrc password netrc\n");
	free(netrc);
}

/* --- push ------------------------------------------------------------------------------------ */

static int blob_from(void *ctx, uint64_t offset, struct reader **ret, struct error *err)
{
	(void)ctx;
	(void)err;
	*ret = reader_mem(blob + offset, BLOB_SIZE - (size_t)offset);
	return 0;
}

static int put(struct registry_client *c, const char *repo)
{
	struct oci_ref r = ref(host[0], repo, "t");
	struct error err = ERROR_INIT;
	last_message[0] = '\0';
	if (registry_put_blob(c, &r, &blob_digest, BLOB_SIZE, blob_from, NULL, &err) < 0)
		return keep_error(&err);
	return 0;
}

static int put_by_sink(struct registry_client *c, const char *repo, size_t total)
{
	struct oci_ref r = ref(host[0], repo, "t");
	struct error err = ERROR_INIT;
	struct digest got, want;
	struct sha256 h;
	uint64_t size = 0;
	struct sink *s = registry_upload_sink(c, &r, &got, &size);
	int class = 0;
	sha256_init(&h);
	last_message[0] = '\0';
	for (size_t left = total; left > 0 && class == 0;) {
		size_t n = MIN(left, (size_t)700001);
		sha256_update(&h, blob, n);
		if (sink_write(s, blob, n, &err) < 0)
			class = keep_error(&err);
		left -= n;
	}
	sha256_final(&h, &want);
	if (class == 0 && sink_finish(s, &err) < 0)
		class = keep_error(&err);
	else if (class == 0 && (size != total || !digest_eq(&got, &want)))
		class = -1;
	sink_free(s);
	return class;
}

static void test_push(struct registry_client *c)
{
	struct error err = ERROR_INIT;
	bool yes = true;
	is_int(put(c, "push-break"), 0, "F9: reset in the middle of an upload");
	char *log = server_log();
	ok(strstr(log, "GET /v2/push-break/x/blobs/uploads/"), "asks how far it came");
	ok(strstr(log, "/v2/push-break/x/blobs/uploads/2?") == NULL, "and goes on there");
	free(log);
	struct oci_ref r = ref(host[0], "push", "t");
	is_int(registry_has_blob(c, &r, &blob_digest, &yes, &err), 0, "has_blob");
	ok(yes, "it is there");
	struct digest other = {{1}};
	is_int(registry_has_blob(c, &r, &other, &yes, &err), 0, "has_blob");
	ok(!yes, "another is not");
	is_int(registry_mount_blob(c, &r, &blob_digest, "library/other", &yes, &err), 0, "mount");
	ok(yes, "mounted");
	is_int(registry_mount_blob(c, &r, &other, "library/other", &yes, &err), 0, "mount");
	ok(!yes, "declined");
	log = server_log();
	ok(strstr(log, "DELETE /v2/push/x/blobs/uploads/"), "the upload it offered is dropped");
	free(log);
	is_int(put(c, "push"), 0, "one PUT");
	log = server_log();
	is_int(n_lines(log), 2, "POST and PUT");
	ok(strstr(log, "?state=a%2Fb&digest=sha256%3A"), "the location's query is kept");
	free(log);
	is_int(put(c, "push-small"), 0, "F9: 413, then in chunks");
	is_int(put(c, "push-tiny"), ERR_NETWORK, "F9: 413 for everything");
	ok(said("HTTP 413") && said("request entity too large"), "the registry's words");
	is_int(put(c, "push-denied"), ERR_AUTH, "denied");
	ok(said("requested access to the resource is denied"), "the registry's words");
	is_int(put(c, "push-flaky"), 0, "F9: every third request fails");
	is_int(put(c, "tok-expires"), 0, "F9: the token expires mid-push");
	free(server_log());
	is_int(put(c, "push-elsewhere"), 0, "an upload location on another host");
	log = server_log();
	char *want = xasprintf("%d PUT ", ports[1]);
	char *line = strstr(log, want);
	ok(line && strstr(line, " - -\n"), "T14: gets no Authorization");
	free(want);
	free(log);

	c = client("");
	is_int(put_by_sink(c, "push", 1000), 0, "a small stream");
	log = server_log();
	is_int(n_lines(log), 2, "goes in one PUT");
	free(log);
	is_int(put_by_sink(c, "push", 20 << 20), 0, "20 MiB of stream");
	log = server_log();
	is_int(n_lines(log), 5, "POST, three PATCHes, PUT");
	free(log);
	is_int(put_by_sink(c, "push-break", 9 << 20), 0, "F9: a stream whose chunk breaks");
	is_int(put_by_sink(c, "push-small", 9 << 20), 0, "F9: a stream with 413");
	is_int(put_by_sink(c, "push", 0), 0, "an empty stream");
	r = ref(host[0], "push", "t");
	static const char text[] = "{\"schemaVersion\":2}";
	struct digest d;
	is_int(registry_put_manifest(c, &r, text, strlen(text), OCI_MT_MANIFEST, &d, &err), 0,
	        "a manifest");
	char hex[DIGEST_STR_MAX];
	is_str(digest_str(&d, hex),
	        "sha256:bafebd36189ad3688b7b3915ea55d461e0bfcfbdde11e54b0a123999fb6be50f",
	        "its computed digest, not what the server says");
	r = ref(host[0], "push-late", "t");
	is_int(registry_put_manifest(c, &r, text, strlen(text), OCI_MT_MANIFEST, &d, &err), 0,
	        "a manifest whose blobs are seen a little later");
	r = ref(host[0], "push-lost", "t");
	ok(registry_put_manifest(c, &r, text, strlen(text), OCI_MT_MANIFEST, &d, &err) < 0 &&
	                strstr(err.msg, "MANIFEST_BLOB_UNKNOWN"),
	        "one whose blobs never are");
	error_release(&err);
	registry_client_free(c);
	free(server_log());
}

/* Seeded chaos: every run ends, and what succeeds is right. */
static void test_chaos(struct registry_client *unused)
{
	struct registry_client *c = client("retry-pause = 1\nretries = 4\n");
	int pulled = 0, pushed = 0, wrong = 0, odd = 0;
	const char *more = getenv("CHAOS_RUNS");
	int runs = more ? atoi(more) : CHAOS_RUNS;
	(void)unused;
	for (int seed = 0; seed < runs; seed++) {
		char repo[32];
		snprintf(repo, sizeof(repo), "chaos/%d", seed);
		int class = get_blob(c, host[0], repo);
		pulled += class == 0;
		wrong += class == -1;
		odd += class > 0 && class != ERR_NETWORK && class != ERR_INTEGRITY &&
		       class != ERR_NOT_FOUND;
		class = put(c, repo);
		pushed += class == 0;
		odd += class > 0 && class != ERR_NETWORK && class != ERR_NOT_FOUND;
	}
	is_int(wrong, 0, "F9: no wrong bytes pass for right ones");
	is_int(odd, 0, "F9: failures are named for what they are");
	printf("# of %d runs, %d pulls and %d pushes came through\n", runs, pulled, pushed);
	ok(pulled > runs / 3 && pushed > runs / 3, "F9: many come through");
	registry_client_free(c);
	free(server_log());
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return usage(argv[0]);
	int in = -1;
	if (!mkdtemp(dir))
		return 1;
	snprintf(config_path, sizeof(config_path), "%s/registries.conf", dir);
	snprintf(docker_path, sizeof(docker_path), "%s/config.json", dir);
	write_file(docker_path, "{}");
	keep_environment_out();
	for (size_t i = 0; i < BLOB_SIZE; i++)
		blob[i] = (unsigned char)(i * 31 + (i >> 8));
	sha256_buf(blob, BLOB_SIZE, &blob_digest);
	digest_str(&blob_digest, blob_hex);
	pid_t pid = start_server(argv[1], argv[2], &in);
	for (int i = 0; i < 3; i++)
		snprintf(host[i], sizeof(host[i]), "127.0.0.1:%d", ports[i]);

	void (*const tests[])(struct registry_client *) = {test_good, test_digests, test_redirects,
	        test_zones, test_tokens, test_faults, test_mirrors, test_tls, test_fetch, test_push,
	        test_chaos};
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
		struct registry_client *c = client("");
		tests[i](c);
		registry_client_free(c);
	}
	close(in);
	waitpid(pid, NULL, 0);
	char *cmd = xasprintf("rm -rf '%s'", dir);
	int r = system(cmd);
	free(cmd);
	return r == 0 ? tap_done() : 1;
}
