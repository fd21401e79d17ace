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
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define CREDS_FILE_MAX (4 << 20)
#define HELPER_OUTPUT_MAX (256 << 10)
#define HELPER_INPUT_MAX ((size_t)32 << 10)
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

static int start_helper(
        const char *program, const char *verb, const char *input, pid_t *ret_pid, int *ret_out)
{
	_cleanup_close_ int in_r = -1, in_w = -1, out_r = -1, out_w = -1;
	int in[2], out[2];
	if (pipe2(in, O_CLOEXEC) < 0)
		return -errno;
	in_r = in[0], in_w = in[1];
	if (pipe2(out, O_CLOEXEC) < 0)
		return -errno;
	out_r = out[0], out_w = out[1];
	/* The question is written before anyone could read it: it is below the pipe's capacity, and
	 * a helper that does not read cannot give us a SIGPIPE. */
	size_t n = strlen(input);
	if (n > HELPER_INPUT_MAX || write(in_w, input, n) != (ssize_t)n ||
	        write(in_w, "\n", 1) != 1)
		return -EINVAL;
	_cleanup_free_ char *name = xstrdup(verb);
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

/* run_helper - 0: it exited with 0; 1: with something else; -errno: it could not be run (-ENOENT:
 * it is not installed), or did not answer in time. */
static int run_helper(const char *program, const char *verb, const char *input, struct strbuf *out)
{
	_cleanup_close_ int fd = -1;
	pid_t pid = -1;
	int r = start_helper(program, verb, input, &pid, &fd);
	if (r < 0)
		return r;
	r = collect(fd, out);
	if (r < 0)
		kill(pid, SIGKILL);
	int status = 0;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return r < 0 ? r : !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
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

/* docker stores the Hub's credentials under this key. */
static const char *stored_key(const char *host)
{
	return str_eq(host, "docker.io") ? "https://index.docker.io/v1/" : host;
}

static int helper_failed(
        const char *program, const char *host, int r, const struct strbuf *out, struct error *err)
{
	if (r == -ENOENT) {
		(void)err_set(err, ERR_AUTH, "credential helper %s is not installed", program);
		return err_hint(err, "install it, or remove it from docker's config.json");
	}
	if (r < 0)
		return err_set(err, ERR_AUTH, "%s for %s: %s", program, host,
		        r == -ETIMEDOUT ? "no answer within a minute" : strerror(-r));
	_cleanup_free_ char *said = human_escape(out->buf, MIN(out->len, 300), false);
	return err_set(err, ERR_AUTH, "%s for %s failed: %s", program, host, said);
}

/* optional: a missing program means no credentials. docker's credsStore often names a desktop
 * program that exists on another machine only; anonymous pulls must work all the same. */
static int ask_helper(
        const char *helper, const char *host, bool optional, struct creds *c, struct error *err)
{
	if (!helper_name_ok(helper))
		return err_set(err, ERR_AUTH, "bad credential helper name \"%s\"", helper);
	_cleanup_free_ char *program = xasprintf("docker-credential-%s", helper);
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	int r = run_helper(program, "get", stored_key(host), &out);
	if (r == -ENOENT && optional) {
		log_debug("%s is not installed: no credentials for %s", program, host);
		return 0;
	}
	/* The protocol's way to say "nothing here". */
	if (r > 0 && strstr(out.buf, "credentials not found"))
		return 0;
	if (r != 0)
		return helper_failed(program, host, r, &out, err);
	r = helper_answer(program, host, &out, c, err);
	explicit_bzero(out.buf, out.len);
	return r;
}

/* The helper that is responsible for a host, or NULL; *ret_own: named for this very host. */
static const char *helper_for(const struct creds_file *f, const char *host, bool *ret_own)
{
	json_t *helpers = f->root ? json_get_obj(f->root, "credHelpers") : NULL, *value;
	const char *helper = NULL, *key;
	if (helpers)
		json_object_foreach(helpers, key, value)
		{
			_cleanup_free_ char *key_host = NULL, *ns = NULL;
			split_key(key, &key_host, &ns);
			if (str_eq(key_host, host) && json_is_string(value))
				helper = json_string_value(value);
		}
	*ret_own = helper && *helper;
	if (!*ret_own && f->root)
		helper = json_get_str(f->root, "credsStore");
	return helper && *helper ? helper : NULL;
}

int creds_lookup(const struct creds_file *f, const char *host, const char *repo, struct creds *ret,
        struct error *err)
{
	*ret = (struct creds){0};
	if (!f->root)
		return 0;
	bool own;
	host = canonical_host(host);
	const char *helper = helper_for(f, host, &own);
	if (own)
		return ask_helper(helper, host, false, ret, err);
	const json_t *entry = find_auth(f, host, repo);
	if (entry && creds_from_entry(entry, host, f->path, ret, err) < 0)
		return -1;
	if (creds_any(ret))
		return 0;
	return helper ? ask_helper(helper, host, true, ret, err) : 0;
}

/* --- storing ---------------------------------------------------------------------------------
 */

static char *writable_path(struct error *err)
{
	const char *auth_file = getenv("REGISTRY_AUTH_FILE"), *docker = getenv("DOCKER_CONFIG");
	const char *home = getenv("HOME");
	if (auth_file && *auth_file)
		return xstrdup(auth_file);
	if (docker && *docker)
		return xasprintf("%s/config.json", docker);
	if (home && *home == '/')
		return xasprintf("%s/.docker/config.json", home);
	(void)err_set(err, ERR_USAGE, "there is no place for credentials: HOME is not set");
	(void)err_hint(err, "set DOCKER_CONFIG or REGISTRY_AUTH_FILE");
	return NULL;
}

/* The directory of the file, locked against other logins, and the file's name in it. config.json is
 * often a link into a user's dotfiles: the file behind it is replaced, not the link. */
static int open_for_change(const char *path, int *ret_dir, char **ret_name, struct error *err)
{
	_cleanup_free_ char *real = realpath(path, NULL); /* trusted-path: our own configuration */
	if (real)
		path = real;
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *dir = slash ? xstrndup(path, (size_t)(slash - path)) : xstrdup(".");
	if (mkdir(dir, 0700) < 0 && errno != EEXIST) /* trusted-path: our own configuration */
		return err_sys(err, errno, "create %s", dir);
	/* trusted-path: our own configuration */
	_cleanup_close_ int fd = open(*dir ? dir : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, "open %s", dir);
	while (flock(fd, LOCK_EX) < 0)
		if (errno != EINTR)
			return err_sys(err, errno, "lock %s", dir);
	*ret_name = xstrdup(slash ? slash + 1 : path);
	*ret_dir = take_fd(&fd);
	return 0;
}

static int write_secret(int dirfd, const char *name, const char *text, struct error *err)
{
	_cleanup_free_ char *temp = xasprintf(".%s.%ld.tmp", name, (long)getpid());
	_cleanup_close_ int fd =
	        openat(dirfd, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(err, errno, "write %s", name);
	size_t n = strlen(text), at = 0;
	int e = 0;
	while (at < n && !e) {
		ssize_t w = write(fd, text + at, n - at);
		if (w >= 0)
			at += (size_t)w;
		else if (errno != EINTR)
			e = errno;
	}
	if (!e && (fchmod(fd, 0600) < 0 || fsync(fd) < 0 || renameat(dirfd, temp, dirfd, name) < 0))
		e = errno;
	if (e)
		(void)unlinkat(dirfd, temp, 0);
	return e ? err_sys(err, e, "write %s", name) : 0;
}

static bool same_host(const char *key, const char *host)
{
	_cleanup_free_ char *key_host = NULL, *ns = NULL;
	split_key(key, &key_host, &ns);
	return *ns == '\0' && str_eq(key_host, host);
}

/* Every spelling of the host goes. */
static bool drop_entries(json_t *auths, const char *host)
{
	const char *key;
	json_t *value;
	void *next;
	bool found = false;
	json_object_foreach_safe(auths, next, key, value)
	{
		if (same_host(key, host)) {
			json_object_del(auths, key);
			found = true;
		}
	}
	return found;
}

/* change - entry NULL: remove. *ret_found: there was one before. */
static int change(struct creds_file *f, const char *path, const char *host, json_t *entry,
        bool *ret_found, struct error *err)
{
	_cleanup_close_ int dirfd = -1;
	_cleanup_free_ char *name = NULL;
	if (open_for_change(path, &dirfd, &name, err) < 0)
		return -1;
	creds_file_release(f); /* as it is now that nobody else changes it */
	if (try_load(f, path, err) < 0)
		return -1;
	if (!f->root)
		f->root = json_object();
	json_t *auths = json_get_obj(f->root, "auths");
	if (!auths) {
		if (!entry)
			return 0;
		auths = json_object();
		json_object_set_new(f->root, "auths", auths);
	}
	*ret_found = drop_entries(auths, host);
	if (!entry && !*ret_found)
		return 0;
	if (entry)
		json_object_set(auths, stored_key(host), entry);
	char *text = json_pretty(f->root);
	_cleanup_free_ char *line = xasprintf("%s\n", text);
	wipe(text);
	int r = write_secret(dirfd, name, line, err);
	explicit_bzero(line, strlen(line));
	return r;
}

static int helper_store(const char *helper, const char *verb, const char *host, const char *input,
        struct error *err)
{
	if (!helper_name_ok(helper))
		return err_set(err, ERR_AUTH, "bad credential helper name \"%s\"", helper);
	_cleanup_free_ char *program = xasprintf("docker-credential-%s", helper);
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	int r = run_helper(program, verb, input, &out);
	return r == 0 ? 0 : helper_failed(program, host, r, &out, err);
}

int creds_save(const char *host, const char *user, const char *password, char **ret_where,
        bool *ret_plain, struct error *err)
{
	struct creds_file f = {0};
	bool own, found;
	host = canonical_host(host);
	_cleanup_free_ char *path = writable_path(err);
	if (!path || try_load(&f, path, err) < 0)
		return -1;
	const char *helper = helper_for(&f, host, &own);
	_cleanup_json_ json_t *entry = json_object();
	int r;
	if (helper) {
		_cleanup_json_ json_t *q = json_pack("{s:s,s:o,s:o}", "ServerURL", stored_key(host),
		        "Username", json_str(user), "Secret", json_str(password));
		char *input = json_compact(q);
		r = helper_store(helper, "store", host, input, err);
		wipe(input);
		*ret_where = xasprintf("docker-credential-%s", helper);
	} else {
		char *plain = xasprintf("%s:%s", user, password);
		char *auth = base64_encode(plain, strlen(plain));
		json_object_set_new(entry, "auth", json_str(auth));
		wipe(plain);
		wipe(auth);
		*ret_where = xstrdup(path);
		r = 0;
	}
	*ret_plain = !helper;
	/* With a helper an empty entry stays, which is how docker lists its logins. */
	if (r == 0)
		r = change(&f, path, host, entry, &found, err);
	creds_file_release(&f);
	return r;
}

int creds_erase(const char *host, bool *ret_found, struct error *err)
{
	struct creds_file f = {0};
	bool own;
	host = canonical_host(host);
	*ret_found = false;
	_cleanup_free_ char *path = writable_path(err);
	if (!path || try_load(&f, path, err) < 0)
		return -1;
	const char *helper = helper_for(&f, host, &own);
	int r = 0;
	if (helper && find_auth(&f, host, ""))
		r = helper_store(helper, "erase", host, stored_key(host), err);
	if (r == 0)
		r = change(&f, path, host, NULL, ret_found, err);
	creds_file_release(&f);
	return r;
}
