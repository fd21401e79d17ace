/* registry/creds.c - see creds.h. */
#include "registry/creds.h"
#include "base/human.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "codec/json.h"
#include "registry/config.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <strings.h>
#include <sys/wait.h>

#define CREDS_FILE_MAX (4 << 20)
#define HELPER_OUTPUT_MAX (256 << 10)
#define HELPER_TIMEOUT_MS 60000

extern char **environ;

static void wipe(char *s)
{
	if (s)
		explicit_bzero(s, strlen(s));
	free(s);
}

void creds_release(struct creds *c)
{
	free(c->user);
	wipe(c->password);
	wipe(c->identity_token);
	wipe(c->registry_token);
	*c = (struct creds){0};
}

void creds_file_release(struct creds_file *f)
{
	free(f->path);
	json_decref(f->root);
	*f = (struct creds_file){0};
}

/* --- base64 ---------------------------------------------------------------------------------- */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *base64_encode(const void *p, size_t n)
{
	const uint8_t *b = p;
	struct strbuf sb = STRBUF_INIT;
	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t)b[i] << 16;
		v |= i + 1 < n ? (uint32_t)b[i + 1] << 8 : 0;
		v |= i + 2 < n ? b[i + 2] : 0;
		strbuf_addch(&sb, alphabet[v >> 18 & 63]);
		strbuf_addch(&sb, alphabet[v >> 12 & 63]);
		strbuf_addch(&sb, i + 1 < n ? alphabet[v >> 6 & 63] : '=');
		strbuf_addch(&sb, i + 2 < n ? alphabet[v & 63] : '=');
	}
	return strbuf_detach(&sb);
}

char *base64_decode(const char *s, size_t *ret_n)
{
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	uint32_t v = 0;
	unsigned bits = 0;
	for (; *s && *s != '='; s++) {
		const char *at = strchr(alphabet, *s);
		if (!at)
			return NULL;
		v = v << 6 | (uint32_t)(at - alphabet);
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			strbuf_addch(&sb, (char)(v >> bits & 0xff));
		}
	}
	if (s[strspn(s, "=")] != '\0' || bits == 6)
		return NULL;
	*ret_n = sb.len;
	return strbuf_detach(&sb);
}

/* --- the file -------------------------------------------------------------------------------- */

static int try_load(struct creds_file *f, const char *path, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t n = 0;
	int r = registry_read_file(path, CREDS_FILE_MAX, &text, &n, err);
	if (r <= 0)
		return r;
	json_t *root = json_parse(text, n, CREDS_FILE_MAX, path, err);
	if (!root) {
		err->class = ERR_AUTH;
		return err_hint(err, "credentials are read from this file; repair or remove it");
	}
	if (!json_is_object(root)) {
		json_decref(root);
		return err_set(err, ERR_AUTH, "%s is not a JSON object", path);
	}
	f->root = root;
	f->path = xstrdup(path);
	return 1;
}

int creds_file_load(struct creds_file *f, const char *path, struct error *err)
{
	*f = (struct creds_file){0};
	if (path)
		return try_load(f, path, err) < 0 ? -1 : 0;
	const char *auth_file = getenv("REGISTRY_AUTH_FILE"), *docker = getenv("DOCKER_CONFIG");
	const char *home = getenv("HOME"), *run = getenv("XDG_RUNTIME_DIR");
	_cleanup_strv_ struct strv paths = STRV_INIT;
	if (auth_file && *auth_file)
		strv_add(&paths, auth_file);
	if (docker && *docker)
		strv_addf(&paths, "%s/config.json", docker);
	else if (home && *home == '/')
		strv_addf(&paths, "%s/.docker/config.json", home);
	if (run && *run == '/')
		strv_addf(&paths, "%s/containers/auth.json", run);
	for (size_t i = 0; i < paths.n; i++) {
		int r = try_load(f, paths.v[i], err);
		if (r != 0)
			return r < 0 ? -1 : 0;
	}
	return 0;
}

void creds_http_headers(const struct creds_file *f, struct strv *ret)
{
	json_t *headers = f->root ? json_get_obj(f->root, "HttpHeaders") : NULL;
	const char *name;
	json_t *value;
	if (!headers)
		return;
	json_object_foreach(headers, name, value)
	{
		const char *v = json_string_value(value);
		/* Ours are not for others to set, and nothing may smuggle in a second header. */
		if (!v || strpbrk(v, "\r\n") || strpbrk(name, "\r\n: \t") || !*name ||
		        strcasecmp(name, "Authorization") == 0 || strcasecmp(name, "Host") == 0 ||
		        strcasecmp(name, "Content-Length") == 0 ||
		        strcasecmp(name, "Transfer-Encoding") == 0)
			continue;
		strv_addf(ret, "%s: %s", name, v);
	}
}

/* --- entries --------------------------------------------------------------------------------- */

/* docker's old names of the Hub all mean docker.io. */
static const char *canonical_host(const char *host)
{
	if (str_eq(host, "index.docker.io") || str_eq(host, "registry-1.docker.io"))
		return "docker.io";
	return host;
}

/* The key of an auths entry as host and namespace: "https://index.docker.io/v1/" -> docker.io, "";
 * "quay.io/org" -> quay.io, "org". */
static void split_key(const char *key, char **ret_host, char **ret_ns)
{
	bool is_url = strstr(key, "://") != NULL;
	if (is_url)
		key = strstr(key, "://") + 3;
	size_t n = strcspn(key, "/");
	_cleanup_free_ char *host = xstrndup(key, n);
	for (char *p = host; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	*ret_host = xstrdup(canonical_host(host));
	const char *ns = key[n] ? key + n + 1 : "";
	/* URL keys name API roots ("/v1/", "/v2/"), never namespaces. */
	size_t ns_n = is_url || str_eq(ns, "v1/") || str_eq(ns, "v2/") ? 0 : strlen(ns);
	while (ns_n > 0 && ns[ns_n - 1] == '/')
		ns_n--;
	*ret_ns = xstrndup(ns, ns_n);
}

static bool ns_matches(const char *ns, const char *repo)
{
	size_t n = strlen(ns);
	return n == 0 || (strncmp(ns, repo, n) == 0 && (repo[n] == '\0' || repo[n] == '/'));
}

static const json_t *find_auth(const struct creds_file *f, const char *host, const char *repo)
{
	json_t *auths = json_get_obj(f->root, "auths"), *value;
	const json_t *best = NULL;
	size_t best_n = 0;
	const char *key;
	if (!auths)
		return NULL;
	json_object_foreach(auths, key, value)
	{
		_cleanup_free_ char *key_host = NULL, *ns = NULL;
		split_key(key, &key_host, &ns);
		if (!str_eq(key_host, host) || !ns_matches(ns, repo) || !json_is_object(value))
			continue;
		if (!best || strlen(ns) > best_n) {
			best = value;
			best_n = strlen(ns);
		}
	}
	return best;
}

static char *dup_nonempty(const char *s)
{
	return s && *s ? xstrdup(s) : NULL;
}

static int creds_from_entry(
        const json_t *e, const char *host, const char *path, struct creds *c, struct error *err)
{
	const char *auth = json_get_str(e, "auth");
	c->identity_token = dup_nonempty(json_get_str(e, "identitytoken"));
	c->registry_token = dup_nonempty(json_get_str(e, "registrytoken"));
	c->user = dup_nonempty(json_get_str(e, "username"));
	if (c->user)
		c->password = xstrdup(str_or_empty(json_get_str(e, "password")));
	if (!auth || !*auth)
		return 0;
	size_t n = 0;
	_cleanup_free_ char *plain = base64_decode(auth, &n);
	char *colon = plain ? memchr(plain, ':', n) : NULL;
	if (!colon || memchr(plain, '\0', n) || colon == plain) {
		creds_release(c);
		return err_set(err, ERR_AUTH, "%s: the \"auth\" of %s is malformed", path, host);
	}
	free(c->user);
	wipe(c->password);
	c->user = xstrndup(plain, (size_t)(colon - plain));
	c->password = xstrndup(colon + 1, n - (size_t)(colon + 1 - plain));
	explicit_bzero(plain, n);
	return 0;
}

/* --- helpers --------------------------------------------------------------------------------- */

static bool helper_name_ok(const char *s)
{
	for (const char *p = s; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("._-", *p))
			return false;
	return *s != '\0';
}

/* Collect stdout until it closes; the helper gets a minute (it may ask the user's keyring). */
static int collect(int fd, struct strbuf *out)
{
	for (;;) {
		struct pollfd pfd = {.fd = fd, .events = POLLIN};
		int r = poll(&pfd, 1, HELPER_TIMEOUT_MS);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r < 0 ? -errno : -ETIMEDOUT;
		char buf[4096];
		ssize_t n = read(fd, buf, sizeof(buf));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		if (out->len + (size_t)n > HELPER_OUTPUT_MAX)
			return -EFBIG;
		strbuf_add(out, buf, (size_t)n);
	}
}

static int start_helper(const char *program, const char *host, pid_t *ret_pid, int *ret_out)
{
	_cleanup_close_ int in_r = -1, in_w = -1, out_r = -1, out_w = -1;
	int in[2], out[2];
	if (pipe2(in, O_CLOEXEC) < 0)
		return -errno;
	in_r = in[0], in_w = in[1];
	if (pipe2(out, O_CLOEXEC) < 0)
		return -errno;
	out_r = out[0], out_w = out[1];
	/* The question is written before anyone could read it: it is far below the pipe's capacity,
	 * and a helper that does not read cannot give us a SIGPIPE. */
	size_t n = strlen(host);
	if (n > 1024 || write(in_w, host, n) != (ssize_t)n || write(in_w, "\n", 1) != 1)
		return -EINVAL;
	char name[] = "get";
	char *argv[] = {(char *)(uintptr_t)program, name, NULL};
	posix_spawn_file_actions_t fa;
	int r = posix_spawn_file_actions_init(&fa);
	if (r == 0) {
		posix_spawn_file_actions_adddup2(&fa, in_r, 0);
		posix_spawn_file_actions_adddup2(&fa, out_w, 1);
		r = posix_spawnp(ret_pid, program, &fa, NULL, argv, environ);
		posix_spawn_file_actions_destroy(&fa);
	}
	if (r == 0)
		*ret_out = take_fd(&out_r);
	return -r;
}

static int helper_answer(const char *program, const char *host, const struct strbuf *out,
        struct creds *c, struct error *err)
{
	_cleanup_json_ json_t *j = json_parse(out->buf, out->len, HELPER_OUTPUT_MAX, program, err);
	if (!j) {
		err->class = ERR_AUTH;
		return err_wrap(err, "credentials for %s", host);
	}
	const char *user = json_get_str(j, "Username"), *secret = json_get_str(j, "Secret");
	if (!user || !secret)
		return err_set(err, ERR_AUTH, "%s: no Username and Secret for %s", program, host);
	if (str_eq(user, "<token>"))
		c->identity_token = dup_nonempty(secret);
	else if (*user) {
		c->user = xstrdup(user);
		c->password = xstrdup(secret);
	}
	return 0;
}

/* optional: a missing program means no credentials. docker's credsStore often names a desktop
 * program that exists on another machine only; anonymous pulls must work all the same. */
static int ask_helper(
        const char *helper, const char *host, bool optional, struct creds *c, struct error *err)
{
	if (!helper_name_ok(helper))
		return err_set(err, ERR_AUTH, "bad credential helper name \"%s\"", helper);
	_cleanup_free_ char *program = xasprintf("docker-credential-%s", helper);
	/* docker stores the Hub's credentials under this key. */
	const char *key = str_eq(host, "docker.io") ? "https://index.docker.io/v1/" : host;
	_cleanup_close_ int fd = -1;
	pid_t pid = -1;
	int r = start_helper(program, key, &pid, &fd);
	if (r == -ENOENT && optional) {
		log_debug("%s is not installed: no credentials for %s", program, host);
		return 0;
	}
	if (r == -ENOENT) {
		(void)err_set(err, ERR_AUTH, "credential helper %s is not installed", program);
		return err_hint(err, "install it, or remove it from docker's config.json");
	}
	if (r < 0) {
		(void)err_sys(err, r, "run %s", program);
		err->class = ERR_AUTH;
		return -1;
	}
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	r = collect(fd, &out);
	if (r < 0)
		kill(pid, SIGKILL);
	int status = 0;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (r < 0)
		return err_set(err, ERR_AUTH, "%s for %s: %s", program, host,
		        r == -ETIMEDOUT ? "no answer within a minute" : strerror(-r));
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		/* The protocol's way to say "nothing here". */
		if (strstr(out.buf, "credentials not found"))
			return 0;
		_cleanup_free_ char *said = human_escape(out.buf, MIN(out.len, 300), false);
		return err_set(err, ERR_AUTH, "%s for %s failed: %s", program, host, said);
	}
	r = helper_answer(program, host, &out, c, err);
	explicit_bzero(out.buf, out.len);
	return r;
}

int creds_lookup(const struct creds_file *f, const char *host, const char *repo, struct creds *ret,
        struct error *err)
{
	*ret = (struct creds){0};
	if (!f->root)
		return 0;
	host = canonical_host(host);
	json_t *helpers = json_get_obj(f->root, "credHelpers");
	const char *helper = NULL, *key;
	json_t *value;
	if (helpers)
		json_object_foreach(helpers, key, value)
		{
			_cleanup_free_ char *key_host = NULL, *ns = NULL;
			split_key(key, &key_host, &ns);
			if (str_eq(key_host, host) && json_is_string(value))
				helper = json_string_value(value);
		}
	if (helper && *helper)
		return ask_helper(helper, host, false, ret, err);
	const json_t *entry = find_auth(f, host, repo);
	if (entry && creds_from_entry(entry, host, f->path, ret, err) < 0)
		return -1;
	if (creds_any(ret))
		return 0;
	helper = json_get_str(f->root, "credsStore");
	return helper && *helper ? ask_helper(helper, host, true, ret, err) : 0;
}
