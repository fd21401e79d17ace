/* Git sources: SEMANTICS 45 and RELIABILITY B3, against repositories made here (file:// is allowed
 * for them alone). */
#include "../layer/fixture.h"
#include "source/git.h"
#include "sys/privilege.h"
#include "sys/process.h"

static char url[160], sub_url[160], second[41], first[41];

static char *sh(const char *script)
{
	_cleanup_free_ char *full = xasprintf(
	        "set -e; cd %s; export HOME=%s GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a "
	        "GIT_AUTHOR_EMAIL=a@b"
	        " GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b GIT_ALLOW_PROTOCOL=file; %s",
	        fx_root, fx_root, script);
	const char *argv[] = {"sh", "-c", full, NULL};
	const char *env[] = {"PATH=/usr/local/bin:/usr/bin:/bin", NULL};
	struct sys_spawn s = {
	        .path = "/bin/sh", .argv = argv, .env = env, .stdin_fd = -1, .cwd_fd = -1};
	struct error err = ERROR_INIT;
	char *out = NULL;
	size_t n;
	if (sys_run_program(&s, 1 << 20, 60000, &out, &n, &err) < 0) {
		printf("Bail out! %s\n", err.msg);
		exit(86);
	}
	out[strcspn(out, "\n")] = '\0';
	return out;
}

static void make_repositories(void)
{
	free(sh("git init -q -b main sub; cd sub; echo sub >s; mkdir h; printf '#!/bin/sh\\ntouch "
	        "$CANARY\\n' >h/post-checkout; chmod 755 h/*; git add .; git commit -qm sub"));
	free(sh("git init -q -b main repo; cd repo; echo one >f; mkdir -p d/e; echo deep >d/e/g;"
	        "printf '#!/bin/sh\\n' >x; chmod 755 x; ln -s / proj; ln -s f l;"
	        "git add .; git commit -qm one; git tag light; git tag -a -m t annotated;"
	        "git branch other; echo two >f; git commit -qam two; git tag other"));
	snprintf(url, sizeof(url), "file://%s/repo", fx_root);
	snprintf(sub_url, sizeof(sub_url), "file://%s/super", fx_root);
	char *id = sh("git -C repo rev-parse main");
	strncpy(second, id, 40);
	free(id);
	id = sh("git -C repo rev-parse light");
	strncpy(first, id, 40);
	free(id);
	free(sh("git init -q -b main super; cd super; git submodule --quiet add ../sub m;"
	        "git config -f .gitmodules submodule.m.fsmonitor 'touch /tmp/never';"
	        "git commit -qam super"));
}

static struct source_git git(const char *u, const char *ref)
{
	return (struct source_git){.url = u, .ref = ref, .submodules = true, .allow_file = true};
}

static void resolves(const char *ref, const char *want, const char *what)
{
	struct source_git g = git(url, ref);
	struct error err = ERROR_INIT;
	char *commit = NULL;
	fx_ok(source_git_resolve(&g, &commit, &err), &err, what);
	is_str(commit, want, what);
	free(commit);
}

static void refused(struct source_git g, enum err_class class, const char *part, const char *what)
{
	struct error err = ERROR_INIT;
	char *commit = NULL;
	fx_err(source_git_resolve(&g, &commit, &err), &err, class, part, what);
	free(commit);
}

static void test_resolve(void)
{
	resolves(NULL, second, "45: the default branch");
	resolves("main", second, "45: a branch");
	resolves("refs/heads/main", second, "45: a full ref");
	resolves("light", first, "45: a tag");
	resolves("annotated", first, "45: an annotated tag means its commit");
	resolves("other", first, "45: a branch wins over a tag of the same name");
	resolves("refs/tags/other", second, "45: unless it is named fully");
	resolves(first, first, "45: a commit");
	refused(git(url, "nope"), ERR_NOT_FOUND, "no branch or tag \"nope\"", "an unknown ref");
	struct source_git g = git(url, "main");
	g.checksum = "1234567";
	refused(g, ERR_INTEGRITY, "checksum asks for", "45: a checksum that differs");
	g.checksum = second;
	struct error err = ERROR_INIT;
	char *commit = NULL;
	fx_ok(source_git_resolve(&g, &commit, &err), &err, "45: a checksum that fits");
	free(commit);
}

static void test_hostile_requests(void)
{
	refused(git(url, "--upload-pack=x"), ERR_BUILD, "not a git ref", "B3: an option as a ref");
	refused(git(url, "a..b"), ERR_BUILD, "not a git ref", "B3: a range");
	refused(git(url, "a b"), ERR_BUILD, "not a git ref", "B3: a blank");
	refused(git(url, "a:b"), ERR_BUILD, "not a git ref", "B3: a refspec");
	refused(git("ext::sh -c touch% /tmp/x", NULL), ERR_BUILD, "not a git URL", "B3: ext::");
	refused(git("--upload-pack=x", NULL), ERR_BUILD, "not a git URL", "B3: an option as URL");
	refused(git("ssh://-oProxyCommand=x/y", NULL), ERR_BUILD, "not a git URL",
	        "B3: an option as host");
	refused(git("git@-oProxyCommand=x:y", NULL), ERR_BUILD, "not a git URL",
	        "B3: the same, scp");
	refused(git("/etc", NULL), ERR_BUILD, "not a git URL", "a local path");
	refused(git("fd::17/x", NULL), ERR_BUILD, "not a git URL", "B3: another helper");
	struct source_git g = git(url, "main");
	g.allow_file = false;
	refused(g, ERR_BUILD, "not a git URL", "file:// without leave");
	g = git(url, "main");
	g.subdir = "../..";
	refused(g, ERR_BUILD, "leads out", "B3: a climbing subdir");
	g = git("http://user:s3cret@127.0.0.1:1/x.git", "main");
	struct error err = ERROR_INIT;
	char *commit = NULL;
	ok(source_git_resolve(&g, &commit, &err) < 0 && err.class == ERR_NETWORK, "nobody there");
	ok(err.msg && !strstr(err.msg, "s3cret") && strstr(err.msg, "127.0.0.1:1"),
	        "B9: the password is not in the message");
	error_release(&err);
}

static void gives(struct source_git g, const char *commit, const char *want, const char *what)
{
	static int n;
	char name[32];
	snprintf(name, sizeof(name), "co%d", n++);
	int fd = fx_dir(name);
	struct error err = ERROR_INIT;
	fx_ok(source_git_checkout(&g, commit, fd, &err), &err, what);
	is_list(fd, want, what);
	close(fd);
}

static void test_checkout(void)
{
	umask(077);
	gives(git(url, "main"), second,
	        "d d 0755 0:0\nd/e d 0755 0:0\nd/e/g f 0644 0:0 deep\n\nf f 0644 0:0 two\n\n"
	        "l l -> f\nproj l -> /\nx f 0755 0:0 #!/bin/sh\n\n",
	        "the files, with git's modes whatever the umask, and no .git");
	umask(022);
	struct source_git g = git(url, NULL);
	g.subdir = "/d/e/";
	gives(g, second, "g f 0644 0:0 deep\n\n", "45: a subdirectory");
	g.subdir = "proj";
	struct error err = ERROR_INIT;
	int fd = fx_dir("link");
	fx_err(source_git_checkout(&g, second, fd, &err), &err, ERR_BUILD, "links are not followed",
	        "B3: a link as subdirectory");
	is_list(fd, "", "and nothing is left behind");
	g.subdir = "none";
	fx_err(source_git_checkout(&g, second, fd, &err), &err, ERR_BUILD, "no directory",
	        "a missing subdirectory");
	close(fd);
	gives(git(url, first), first,
	        "d d 0755 0:0\nd/e d 0755 0:0\nd/e/g f 0644 0:0 deep\n\nf f 0644 0:0 one\n\n"
	        "l l -> f\nproj l -> /\nx f 0755 0:0 #!/bin/sh\n\n",
	        "an older commit");

	g = git(url, "main");
	g.keep_git_dir = true;
	fd = fx_dir("kept");
	fx_ok(source_git_checkout(&g, second, fd, &err), &err, "45: keep-git-dir");
	char *head = fx_read(fd, ".git/HEAD");
	ok(strncmp(head, second, 40) == 0, ".git is there");
	free(head);
	struct stat st;
	ok(fstatat(fd, ".git/shallow", &st, 0) == 0, "45: with depth 1");
	close(fd);
}

static void test_submodules(void)
{
	char *id = sh("git -C super rev-parse main");
	struct source_git g = git(sub_url, "main");
	int fd = fx_dir("subs");
	struct error err = ERROR_INIT;
	fx_ok(source_git_checkout(&g, id, fd, &err), &err, "45: submodules");
	char *s = fx_read(fd, "m/s");
	is_str(s, "sub\n", "are checked out");
	free(s);
	close(fd);
	g.submodules = false;
	fd = fx_dir("nosubs");
	fx_ok(source_git_checkout(&g, id, fd, &err), &err, "45: submodules=false");
	struct stat st;
	ok(fstatat(fd, "m", &st, 0) == 0 && fstatat(fd, "m/s", &st, 0) < 0, "leaves them empty");
	close(fd);
	free(id);
}

int main(void)
{
	fx_begin();
	_cleanup_free_ char *program = sys_find_program("git");
	if (!program) {
		printf(getenv("MUST_WORK") ? "Bail out! git is missing\n" : "1..0 # SKIP no git\n");
		return getenv("MUST_WORK") != NULL;
	}
	make_repositories();
	test_resolve();
	test_hostile_requests();
	test_checkout();
	test_submodules();
	return fx_end();
}
