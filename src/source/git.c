/* source/git.c - see git.h. Works in a directory of a random name inside the destination, then
 * moves what is wanted up: the destination is never a repository while git runs in it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hex.h"
#include "base/strbuf.h"
#include "base/strv.h"
#include "source/git.h"
#include "sys/path.h"
#include "sys/privilege.h"
#include "sys/process.h"

#define OUT_MAX (16u << 20)
#define WORD_MAX 4096

/* --- what may be asked for ------------------------------------------------------------------- */

static bool has_control(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s <= ' ' || *s == 0x7f)
			return true;
	return false;
}

static bool is_commit(const char *s)
{
	size_t n = strspn(s, "0123456789abcdef");
	return s[n] == '\0' && (n == 40 || n == 64);
}

/* user@host:path, as ssh has it; not x://, not ext::x */
static bool is_scp_like(const char *url)
{
	const char *colon = strchr(url, ':'), *at = strchr(url, '@');
	return colon && at && at > url && at < colon && at + 1 < colon && at[1] != '-' &&
	       colon[1] != ':' && !memchr(url, '/', (size_t)(colon - url));
}

static int check_url(const struct source_git *g, struct error *err)
{
	static const char *const schemes[] = {"https://", "http://", "ssh://", "git://"};
	const char *host = NULL;
	if (g->allow_file && str_starts(g->url, "file:///") && !has_control(g->url))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(schemes); i++)
		if (str_starts(g->url, schemes[i]))
			host = g->url + strlen(schemes[i]);
	if (host) {
		/* a user part may come first; neither may look like an option to ssh */
		const char *at = memchr(host, '@', strcspn(host, "/"));
		if (*host == '-' || (at && at[1] == '-'))
			host = NULL;
	}
	if ((host || is_scp_like(g->url)) && *g->url != '-' && !has_control(g->url) &&
	        strlen(g->url) < WORD_MAX)
		return 0;
	err_set(err, ERR_BUILD, "this is not a git URL that can be fetched");
	return err_hint(err, "https://, http://, ssh://, git:// and user@host:path are known");
}

/* git-check-ref-format(1), and nothing that could be taken for an option. */
static int check_ref(const char *ref, struct error *err)
{
	if (!ref || !*ref)
		return 0;
	if (*ref == '-' || *ref == '/' || has_control(ref) || strpbrk(ref, "~^:?*[\\") ||
	        strstr(ref, "..") || strstr(ref, "@{") || strstr(ref, "//") || str_ends(ref, "/") ||
	        str_ends(ref, ".") || str_ends(ref, ".lock") || strlen(ref) > 1024)
		return err_set(err, ERR_BUILD, "\"%s\" is not a git ref", ref);
	return 0;
}

static int check_subdir(const char *subdir, struct error *err)
{
	_cleanup_strv_ struct strv parts = STRV_INIT;
	if (!subdir)
		return 0;
	strv_split(&parts, subdir, "/");
	strv_foreach (p, &parts)
		if (str_eq(p, ".."))
			return err_set(err, ERR_BUILD,
			        "the git subdirectory \"%s\" leads out of the repository", subdir);
	return 0;
}

static int check_request(const struct source_git *g, struct error *err)
{
	if (check_url(g, err) < 0 || check_ref(g->ref, err) < 0 || check_subdir(g->subdir, err) < 0)
		return -1;
	if (g->checksum) {
		size_t n = strspn(g->checksum, "0123456789abcdef");
		if (g->checksum[n] || n < 7 || n > 64)
			return err_set(err, ERR_BUILD,
			        "\"%s\" is not a commit id: 7 to 64 hexadecimal digits",
			        g->checksum);
	}
	return 0;
}

/* The URL without user and password, for messages and for a kept .git/config. */
static char *public_url(const char *url)
{
	const char *p = strstr(url, "://");
	if (!p)
		return xstrdup(url); /* user@host:path has no password */
	p += 3;
	size_t n = strcspn(p, "/");
	const char *at = NULL;
	for (size_t i = 0; i < n; i++)
		if (p[i] == '@')
			at = p + i;
	if (!at)
		return xstrdup(url);
	return xasprintf("%.*s%s", (int)(p - url), url, at + 1);
}

/* --- running git ----------------------------------------------------------------------------- */

static void add_env(struct strv *env, const struct source_git *g)
{
	static const char *const passed[] = {"PATH", "HOME", "SSH_AUTH_SOCK", "http_proxy",
	        "https_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy", "no_proxy", "NO_PROXY",
	        "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH"};
	for (size_t i = 0; i < ARRAY_SIZE(passed); i++) {
		const char *v = getenv(passed[i]);
		if (v)
			strv_addf(env, "%s=%s", passed[i], v);
	}
	strv_add(env, "LC_ALL=C");
	strv_add(env, "GIT_CONFIG_NOSYSTEM=1");
	strv_add(env, "GIT_CONFIG_SYSTEM=/dev/null");
	strv_add(env, "GIT_CONFIG_GLOBAL=/dev/null");
	strv_add(env, "GIT_ATTR_NOSYSTEM=1");
	strv_add(env, "GIT_TERMINAL_PROMPT=0");
	strv_add(env, "GIT_ASKPASS=/bin/false");
	strv_add(env, "SSH_ASKPASS=/bin/false");
	strv_add(env, "GIT_LFS_SKIP_SMUDGE=1");
	strv_addf(env, "GIT_ALLOW_PROTOCOL=https:http:ssh:git%s", g->allow_file ? ":file" : "");
	/* ssh takes the home directory from the user database, which inside a user namespace says
	 * root's: what is known of hosts is named here. */
	const char *home = getenv("HOME");
	strv_addf(env,
	        "GIT_SSH_COMMAND=ssh -o BatchMode=yes -o ConnectTimeout=30 -o "
	        "ServerAliveInterval=15"
	        " -o PermitLocalCommand=no%s",
	        home && *home == '/' ? " -o \"UserKnownHostsFile=$HOME/.ssh/known_hosts\"" : "");
}

/* The umask is the user's; what a commit says of modes is not. sh is only there to set it: the
 * words of git come as arguments, never as text. */
static void add_command(struct strv *argv, const char *git)
{
	static const char *const config[] = {"core.hooksPath=/dev/null", "core.fsmonitor=false",
	        "core.attributesFile=/dev/null", "core.excludesFile=/dev/null",
	        "credential.helper=", "protocol.ext.allow=never", "submodule.recurse=false",
	        "fetch.recurseSubmodules=false", "advice.detachedHead=false", "gc.auto=0",
	        "maintenance.auto=false", "core.autocrlf=false", "core.symlinks=true",
	        "core.protectHFS=true", "core.protectNTFS=true", "http.lowSpeedLimit=100",
	        "http.lowSpeedTime=60", "safe.directory=*", "init.defaultBranch=main"};
	strv_add(argv, "sh");
	strv_add(argv, "-c");
	strv_add(argv, "umask 022 && exec \"$@\"");
	strv_add(argv, "sh");
	strv_add(argv, git);
	for (size_t i = 0; i < ARRAY_SIZE(config); i++) {
		strv_add(argv, "-c");
		strv_add(argv, config[i]);
	}
}

/* args: NULL-terminated. cwd_fd -1: wherever we are. */
static int run_git(const struct source_git *g, int cwd_fd, const char *const *args,
        char **ret_stdout, struct error *err)
{
	_cleanup_free_ char *git = sys_find_program("git");
	if (!git) {
		err_set(err, ERR_SYSTEM,
		        "git is needed to fetch a repository, and is not installed");
		return err_hint(err, "install git (Debian: apt-get install git)");
	}
	_cleanup_strv_ struct strv argv = STRV_INIT, env = STRV_INIT;
	add_command(&argv, git);
	for (size_t i = 0; args[i]; i++)
		strv_add(&argv, args[i]);
	add_env(&env, g);
	struct sys_spawn s = {
	        .path = "/bin/sh",
	        .name = "git",
	        .argv = (const char *const *)argv.v,
	        .env = (const char *const *)env.v,
	        .stdin_fd = -1,
	        .cwd_fd = cwd_fd,
	        .new_session = true,
	        .death_signal = SIGKILL,
	};
	size_t n;
	_cleanup_free_ char *out = NULL;
	if (sys_run_program(&s, OUT_MAX, 0, &out, &n, err) < 0)
		return -1;
	if (ret_stdout)
		*ret_stdout = take_ptr(out);
	return 0;
}

/* Say which repository; a secret in the URL is cut out wherever git repeated it. */
static int git_failed(const struct source_git *g, struct error *err)
{
	_cleanup_free_ char *shown = public_url(g->url);
	if (!str_eq(shown, g->url) && err->msg) {
		for (char *at; (at = strstr(err->msg, g->url));) {
			_cleanup_free_ char *clean = xasprintf("%.*s%s%s", (int)(at - err->msg),
			        err->msg, shown, at + strlen(g->url));
			free(err->msg);
			err->msg = take_ptr(clean);
		}
	}
	if (err->class == ERR_SYSTEM && err->msg && strstr(err->msg, "exit code"))
		err->class = ERR_NETWORK;
	return err_wrap(err, "git repository %s", shown);
}

/* --- which commit ---------------------------------------------------------------------------- */

struct candidates {
	char exact[65], head[65], tag[65];
};

static void set_id(char *to, const char *id)
{
	memcpy(to, id, 65);
}

static void take_line(const char *line, size_t n, const char *ref, struct candidates *c)
{
	const char *tab = memchr(line, '\t', n);
	if (!tab || tab - line > 64)
		return;
	char id[65] = {0};
	memcpy(id, line, (size_t)(tab - line));
	if (!is_commit(id))
		return;
	_cleanup_free_ char *name = xstrndup(tab + 1, n - (size_t)(tab + 1 - line));
	const char *bare = str_starts(ref, "refs/") ? ref + 5 : ref;
	const char *in_heads = str_starts(ref, "refs/heads/") ? ref + 11 : ref;
	const char *in_tags = str_starts(ref, "refs/tags/") ? ref + 10 : ref;
	bool peeled = str_ends(name, "^{}");
	if (peeled)
		name[strlen(name) - 3] = '\0';
	if (str_eq(name, "HEAD") ? str_eq(ref, "HEAD")
	                         : str_starts(name, "refs/") && str_eq(name + 5, bare))
		set_id(c->exact, id);
	if (str_starts(name, "refs/heads/") && str_eq(name + 11, in_heads))
		set_id(c->head, id);
	/* the peeled line of an annotated tag comes after the tag's own */
	if (str_starts(name, "refs/tags/") && str_eq(name + 10, in_tags))
		set_id(c->tag, id);
}

static int resolve_ref(const struct source_git *g, const char *ref, char **ret, struct error *err)
{
	_cleanup_free_ char *out = NULL, *peeled = xasprintf("%s^{}", ref);
	const char *args[] = {
	        "ls-remote", "--quiet", "--end-of-options", g->url, ref, peeled, NULL};
	if (run_git(g, -1, args, &out, err) < 0)
		return git_failed(g, err);
	struct candidates c = {0};
	for (const char *p = out; *p;) {
		size_t n = strcspn(p, "\n");
		take_line(p, n, ref, &c);
		p += n;
		p += *p == '\n';
	}
	/* as git checkout: branches before tags */
	const char *id = *c.exact ? c.exact : *c.head ? c.head : c.tag;
	if (*id) {
		*ret = xstrdup(id);
		return 0;
	}
	_cleanup_free_ char *shown = public_url(g->url);
	err_set(err, ERR_NOT_FOUND, "git repository %s has no branch or tag \"%s\"", shown, ref);
	return err_hint(err, "a commit must be given by its full id");
}

int source_git_resolve(const struct source_git *g, char **ret_commit, struct error *err)
{
	if (check_request(g, err) < 0)
		return -1;
	_cleanup_free_ char *commit = NULL;
	const char *ref = g->ref && *g->ref ? g->ref : "HEAD";
	if (is_commit(ref))
		commit = xstrdup(ref);
	else if (resolve_ref(g, ref, &commit, err) < 0)
		return -1;
	if (g->checksum && !str_starts(commit, g->checksum))
		return err_set(err, ERR_INTEGRITY,
		        "git ref %s is commit %s, and the checksum asks for %s", ref, commit,
		        g->checksum);
	*ret_commit = take_ptr(commit);
	return 0;
}

/* --- the files ------------------------------------------------------------------------------- */

/* Servers differ in what they let one ask for: the commit alone, else its ref, else everything. */
static int fetch(const struct source_git *g, const char *commit, int repo, struct error *err)
{
	const char *ref = g->ref && *g->ref && !is_commit(g->ref) ? g->ref : "HEAD";
	const char *one[] = {"fetch", "--quiet", "--depth=1", "--no-tags", "--end-of-options",
	        g->url, commit, NULL};
	const char *by_ref[] = {"fetch", "--quiet", "--depth=1", "--no-tags", "--end-of-options",
	        g->url, ref, NULL};
	const char *all[] = {"fetch", "--quiet", "--tags", "--end-of-options", g->url,
	        "+refs/heads/*:refs/remotes/origin/*", NULL};
	_cleanup_free_ char *object = xasprintf("%s^{commit}", commit);
	const char *there[] = {"cat-file", "-e", object, NULL};
	const char *const *const ways[] = {one, by_ref, all};
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		error_release(err);
		if (run_git(g, repo, ways[i], NULL, err) < 0)
			continue;
		if (run_git(g, repo, there, NULL, err) == 0)
			return 0;
	}
	return git_failed(g, err);
}

static int check_out(const struct source_git *g, const char *commit, int repo, struct error *err)
{
	_cleanup_free_ char *shown = public_url(g->url);
	const char *init[] = {"init", "--quiet", "--template=", NULL};
	/* submodules with relative URLs are found from here */
	const char *origin[] = {"config", "remote.origin.url", g->url, NULL};
	const char *checkout[] = {"checkout", "--quiet", "--force", "--detach", commit, NULL};
	/* Servers differ here as well; the second time what is there is kept. */
	const char *subs[] = {
	        "submodule", "--quiet", "update", "--init", "--recursive", "--depth=1", NULL};
	const char *whole_subs[] = {
	        "submodule", "--quiet", "update", "--init", "--recursive", NULL};
	const char *clean[] = {"config", "remote.origin.url", shown, NULL};
	if (run_git(g, repo, init, NULL, err) < 0 || run_git(g, repo, origin, NULL, err) < 0)
		return -1;
	if (fetch(g, commit, repo, err) < 0)
		return -1;
	if (run_git(g, repo, checkout, NULL, err) < 0)
		return git_failed(g, err);
	if (g->submodules && run_git(g, repo, subs, NULL, err) < 0) {
		error_release(err);
		if (run_git(g, repo, whole_subs, NULL, err) < 0)
			return git_failed(g, err);
	}
	return run_git(g, repo, clean, NULL, err);
}

/* Everything of `from` but a .git that is not wanted goes to `to`, by rename. */
static int move_up(int from, int to, bool keep_git, struct error *err)
{
	int fd = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		err_sys(err, errno, "cannot list the checkout");
		close_ptr(&fd);
		return -1;
	}
	struct dirent *de;
	int r = 0;
	while (r == 0 && (errno = 0, de = readdir(d))) {
		if (str_eq(de->d_name, ".") || str_eq(de->d_name, "..") ||
		        (str_eq(de->d_name, ".git") && !keep_git))
			continue;
		if (renameat(from, de->d_name, to, de->d_name) < 0)
			r = err_sys(err, errno, "cannot move %s out of the checkout", de->d_name);
	}
	if (r == 0 && errno)
		r = err_sys(err, errno, "cannot list the checkout");
	closedir(d);
	return r;
}

static int take_files(const struct source_git *g, int repo, int destfd, struct error *err)
{
	if (!g->subdir || !g->subdir[strspn(g->subdir, "/.")])
		return move_up(repo, destfd, g->keep_git_dir, err);
	const char *path = g->subdir + strspn(g->subdir, "/");
	_cleanup_close_ int sub =
	        sys_open_beneath(repo, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	if (sub == -ENOENT || sub == -ENOTDIR || sub == -ELOOP)
		return err_set(err, ERR_BUILD,
		        "the git repository has no directory \"%s\" (links are not followed)",
		        g->subdir);
	if (sub < 0)
		return err_sys(err, sub, "cannot open %s of the checkout", g->subdir);
	return move_up(sub, destfd, false, err);
}

int source_git_checkout(
        const struct source_git *g, const char *commit, int destfd, struct error *err)
{
	if (check_request(g, err) < 0)
		return -1;
	if (!is_commit(commit))
		return err_set(err, ERR_INTERNAL, "\"%s\" is not a commit id", commit);
	uint8_t rnd[8];
	char hex[17], name[40];
	if (getrandom(rnd, sizeof(rnd), 0) != sizeof(rnd))
		return err_sys(err, errno, "no random numbers");
	hex_encode(hex, rnd, sizeof(rnd));
	snprintf(name, sizeof(name), ".strake-git-%s", hex);
	if (mkdirat(destfd, name, 0700) < 0)
		return err_sys(err, errno, "cannot make a directory for the checkout");
	_cleanup_close_ int repo =
	        openat(destfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int r = repo < 0 ? err_sys(err, errno, "cannot open the checkout") : 0;
	if (r == 0)
		r = check_out(g, commit, repo, err);
	if (r == 0)
		r = take_files(g, repo, destfd, err);
	int removed = sys_remove_tree(destfd, name);
	if (r == 0 && removed < 0)
		r = err_sys(err, removed, "cannot remove the checkout");
	return r;
}
