/* tests/unit/sandbox/harness.h - runs real sandboxes over a busybox root in a temporary directory.
 *
 * main() calls harness_main(): it serves helper mode, drops to the user strake-ci when the first
 * argument is "user" or "single" (and we are root), enters the privileges and runs the given
 * function. "single" is the mode with one id only. */
#ifndef STRAKE_TESTS_SANDBOX_HARNESS_H
#define STRAKE_TESTS_SANDBOX_HARNESS_H

#include "../tap.h"
#include "base/strbuf.h"
#include "sandbox/sandbox.h"
#include "sys/path.h"
#include "sys/privilege.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char h_dir[] = "/tmp/strake-sandbox-XXXXXX";
static int h_top = -1, h_layer = -1; /* temporary directory; the busybox layer in it */
static struct sandbox_context *h_ctx;
static enum sys_privilege h_mode;

/* The last run. */
static struct strbuf h_out = STRBUF_INIT;
static struct error h_err;
static int h_exit;
static char h_upper_name[32];
static int h_upper = -1;

static inline int h_mkdir(int at, const char *name)
{
	if (mkdirat(at, name, 0755) < 0 && errno != EEXIST)
		return -1;
	return openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static inline void h_put(int at, const char *name, const char *text, mode_t mode)
{
	int fd = openat(at, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || sys_write_all(fd, text, strlen(text)) < 0 || fchmod(fd, mode) < 0) {
		perror(name);
		abort();
	}
	close(fd);
}

static inline void h_busybox(int layer)
{
	static const char *const dirs[] = {"bin", "etc", "tmp", "proc", "sys", "dev", "root"};
	static const char *const tools[] = {"sh", "cat", "ls", "id", "grep", "echo", "env", "mount",
	        "umount", "mkdir", "rm", "ln", "mv", "stat", "sleep", "true", "false", "touch",
	        "find", "hostname", "nc", "ip", "ps", "kill", "readlink", "head", "wc", "tr",
	        "sort", "test", "chmod", "chown", "mknod", "dd", "df", "tty", "cut", "sed", "date",
	        "seq", "pwd", "uname"};
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		close(h_mkdir(layer, dirs[i]));
	int bin = h_mkdir(layer, "bin");
	int src = open("/bin/busybox", O_RDONLY | O_CLOEXEC);
	int dst = openat(bin, "busybox", O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
	while (copy_file_range(src, NULL, dst, NULL, 1 << 24, 0) > 0)
		;
	fchmod(dst, 0755);
	close(src);
	close(dst);
	for (size_t i = 0; i < ARRAY_SIZE(tools); i++)
		if (linkat(bin, "busybox", bin, tools[i], 0) < 0)
			abort();
	close(bin);
	fchmodat(layer, "tmp", 01777, 0);
	h_put(layer, "etc/passwd",
	        "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1001::/home/user:/bin/sh\n", 0644);
	h_put(layer, "etc/group",
	        "root:x:0:\nextra:x:2000:user,root\nusers:x:1001:\nother:x:2001:user\n", 0644);
}

/* h_spec - `sh -c SCRIPT` over the busybox layer, a fresh upper directory, no network. */
static struct strv h_argv, h_env;
static inline struct sandbox_spec h_spec(const char *script)
{
	static unsigned n;
	strv_release(&h_argv);
	strv_release(&h_env);
	strv_add(&h_argv, "/bin/sh");
	strv_add(&h_argv, "-c");
	strv_add(&h_argv, script);
	if (h_upper >= 0)
		close(h_upper);
	static int work = -1;
	if (work >= 0)
		close(work);
	char name[32];
	snprintf(h_upper_name, sizeof(h_upper_name), "u%u", n);
	snprintf(name, sizeof(name), "w%u", n++);
	h_upper = h_mkdir(h_top, h_upper_name);
	work = h_mkdir(h_top, name);
	return (struct sandbox_spec){.layer_fds = &h_layer,
	        .n_layers = 1,
	        .upper_fd = h_upper,
	        .work_fd = work,
	        .argv = &h_argv,
	        .env = &h_env,
	        .cwd = "",
	        .user = "",
	        .stdin_fd = -1,
	        .stdout_fd = -1,
	        .stderr_fd = -1,
	        .network = SANDBOX_NET_NONE,
	        .single_id = h_mode == SYS_PRIV_SINGLE,
	        .owners_fd = -1};
}

/* h_run - output (both streams) in h_out, exit code in h_exit, error in h_err. */
static inline int h_run(struct sandbox_spec s)
{
	int p[2];
	if (pipe2(p, O_CLOEXEC) < 0)
		abort();
	strbuf_reset(&h_out);
	error_release(&h_err);
	h_exit = -1;
	if (s.stdout_fd < 0)
		s.stdout_fd = p[1];
	if (s.stderr_fd < 0)
		s.stderr_fd = p[1];
	struct sandbox_process proc;
	int r = sandbox_start(h_ctx, &s, &proc, &h_err);
	close(p[1]);
	char buf[4096];
	ssize_t n;
	while (r >= 0 && (n = read(p[0], buf, sizeof(buf))) > 0)
		strbuf_add(&h_out, buf, (size_t)n);
	close(p[0]);
	if (r >= 0)
		r = sandbox_wait(&proc, &h_exit, &h_err);
	return r;
}

static inline const char *h_sh(const char *script)
{
	if (h_run(h_spec(script)) < 0)
		printf("# error: %s\n", h_err.msg);
	return h_out.buf;
}

static struct strbuf h_names = STRBUF_INIT;
static inline int h_add_name(const char *path, const struct stat *st, int flag, struct FTW *f)
{
	(void)st;
	(void)flag;
	if (f->level)
		strbuf_addf(&h_names, "%s ", path + strlen(h_dir) + 1 + strlen(h_upper_name) + 1);
	return 0;
}
/* h_upper_list - all names in the last upper directory. */
static inline const char *h_upper_list(void)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", h_dir, h_upper_name);
	strbuf_reset(&h_names);
	nftw(path, h_add_name, 16, FTW_PHYS);
	return h_names.buf;
}

static inline bool h_has(const char *text, const char *part)
{
	bool yes = strstr(text, part) != NULL;
	if (!yes)
		printf("#   no \"%s\" in: %.1500s\n", part, text);
	return yes;
}

static inline int h_become_user(char **argv)
{
	struct passwd *pw = getpwnam("strake-ci");
	if (!pw) {
		printf("1..0 # SKIP no user strake-ci (useradd -m strake-ci)\n");
		return 0;
	}
	if (initgroups("strake-ci", pw->pw_gid) < 0 || setgid(pw->pw_gid) < 0 ||
	        setuid(pw->pw_uid) < 0)
		return 1;
	setenv("HOME", pw->pw_dir, 1);
	setenv("STRAKE_TEST_DROPPED", "1", 1);
	execv("/proc/self/exe", argv); /* for a /proc/self of our own */
	perror("exec");
	return 1;
}

/* h_check_staging - stubs may stay for the owner to remove; nothing of a single step does. */
static inline void h_check_staging(int staging)
{
	DIR *d = fdopendir(openat(staging, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	int left = 0;
	for (struct dirent *e; d && (e = readdir(d));)
		left += e->d_name[0] != '.' && strncmp(e->d_name, "stub-", 5) != 0;
	closedir(d);
	is_int(left, 0, "no step leaves scratch in the staging directory");
}

static inline int harness_main(int argc, char **argv, void (*tests)(void))
{
	if (str_eq(argv[0], SANDBOX_HELPER_ARGV0))
		return sandbox_helper_main(argc, argv);
	if (argc > 1 && str_eq(argv[1], "single"))
		setenv("STRAKE_PRIVILEGE", "single", 1);
	if (argc > 1 && geteuid() == 0 && !getenv("STRAKE_TEST_DROPPED"))
		return h_become_user(argv);
	if (access("/bin/busybox", X_OK) < 0) {
		printf("1..0 # SKIP no /bin/busybox (busybox-static)\n");
		return 0;
	}
	umask(022);
	struct sys_privilege_info i;
	if (!mkdtemp(h_dir) || chmod(h_dir, 0755) < 0)
		return 1;
	if (sys_privilege_probe(&i, &h_err) < 0 || sys_privilege_enter(&i, &h_err) < 0) {
		printf("1..0 # SKIP %s\n", h_err.msg);
		rmdir(h_dir);
		return 0;
	}
	h_mode = i.mode;
	printf("# mode %d: %s\n", i.mode, i.why);
	sys_privilege_info_release(&i);
	h_top = open(h_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	h_layer = h_mkdir(h_top, "layer");
	h_busybox(h_layer);
	int staging = h_mkdir(h_top, "staging");
	h_ctx = sandbox_context_new(staging);
	tests();
	sandbox_context_free(h_ctx);
	h_check_staging(staging);
	close(staging);
	int r = sys_remove_tree_at_fd(h_top);
	rmdir(h_dir);
	strbuf_release(&h_out);
	strbuf_release(&h_names);
	strv_release(&h_argv);
	strv_release(&h_env);
	error_release(&h_err);
	return r < 0 ? 1 : tap_done();
}

#endif
