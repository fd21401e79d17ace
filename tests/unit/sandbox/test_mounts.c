/* RUN --mount and the stubs: nothing leaks into the layer (facts 54, 79), nothing leads outside. */
#include "harness.h"

#include <sys/socket.h>
#include <sys/un.h>

static int canary; /* a directory beside the layers: must never change */

static bool canary_unchanged(void)
{
	struct stat st;
	int fd = openat(canary, "file", O_RDONLY | O_CLOEXEC);
	char buf[16] = "";
	bool same = fd >= 0 && read(fd, buf, sizeof(buf) - 1) == 6 && str_eq(buf, "canary") &&
	            fstat(fd, &st) == 0 && (st.st_mode & 07777) == 0640 &&
	            st.st_mtim.tv_sec == 1000000000;
	if (fd >= 0)
		close(fd);
	return same && fstat(canary, &st) == 0 && (st.st_mode & 07777) == 0751;
}

static char *canary_path(void)
{
	return xasprintf("%s/canary", h_dir);
}

static int run_with(const char *script, const struct sandbox_mount *m, size_t n)
{
	struct sandbox_spec s = h_spec(script);
	s.mounts = m;
	s.n_mounts = n;
	int r = h_run(s);
	if (r < 0)
		printf("# %s\n", h_err.msg);
	return r;
}

static void test_stubs(void)
{
	/* The layer has no etc/hosts, etc/resolv.conf. */
	struct stat before, after;
	ok(fstatat(h_layer, "etc", &before, 0) == 0, "set up");
	h_sh("ls -la /etc > /dev/null; cat /etc/hosts > /dev/null; stat -c '%a %u %g %Y' /etc");
	char want[64];
	snprintf(want, sizeof(want), "755 0 0 %lld\n", (long long)before.st_mtim.tv_sec);
	is_str(h_out.buf, want, "a stub's parent looks like the layer's own");
	is_str(h_upper_list(), "", "fact 54: nothing in the upper directory");
	h_sh("[ -d /a ] || [ -e /run ] || echo none");
	is_str(h_out.buf, "none\n", "no mount point of another step");
	h_sh("touch /etc/new");
	is_str(h_upper_list(), "etc etc/new ", "a real change is there, stubs are not");
	ok(fstatat(h_layer, "etc", &after, 0) == 0 &&
	                before.st_mtim.tv_nsec == after.st_mtim.tv_nsec,
	        "the layer is untouched");
	struct sandbox_mount m[] = {
	        {.type = SANDBOX_MOUNT_TMPFS, .target = "/a/b/c"},
	        {.type = SANDBOX_MOUNT_FILE,
	                .target = "/run/secrets/key",
	                .data = "s3cret",
	                .data_len = 6,
	                .mode = 0400,
	                .uid = 0,
	                .gid = 0,
	                .read_only = true},
	};
	ok(run_with(
	           "touch /a/b/c/x && cat /run/secrets/key && stat -c %a,%u:%g,%s /run/secrets/key",
	           m, 2) >= 0,
	        "missing targets");
	is_str(h_out.buf, "s3cret400,0:0,6\n", "are there");
	is_str(h_upper_list(), "", "fact 79: nothing in the upper directory");
	ok(run_with("rmdir /a/b/c /a/b /a; rm -f /run/secrets/key; rm -rf /run; true", m, 2) >= 0,
	        "a step that removes them");
	is_str(h_upper_list(), "", "leaves nothing either");
	ok(run_with("touch /a/mine", m, 2) >= 0, "a step that writes beside them");
	is_str(h_upper_list(), "a a/mine ", "keeps what it wrote");
	ok(run_with("(echo x > /run/secrets/key) 2>&1; (echo x > /etc/resolv.conf) 2>&1", m, 2) >=
	                0,
	        "writes");
	is_str(h_out.buf,
	        "/bin/sh: can't create /run/secrets/key: Read-only file system\n"
	        "/bin/sh: can't create /etc/resolv.conf: Read-only file system\n",
	        "are refused");
}

static void test_bind(void)
{
	int src = h_mkdir(h_top, "src");
	close(h_mkdir(src, "sub"));
	h_put(src, "f", "file", 0644);
	h_put(src, "sub/g", "deep", 0644);
	symlinkat("/../../../../../../canary", src, "out");
	struct sandbox_mount m = {
	        .type = SANDBOX_MOUNT_BIND, .target = "/in", .source_fd = src, .read_only = true};
	ok(run_with("cat /in/f /in/sub/g; touch /in/x 2>&1", &m, 1) >= 0, "read-only bind");
	is_str(h_out.buf, "filedeeptouch: /in/x: Read-only file system\n", "reads, does not write");
	m.source = "sub";
	ok(run_with("ls /in", &m, 1) >= 0, "of a sub directory");
	is_str(h_out.buf, "g\n", "which is all there is");
	m.source = "/f";
	ok(run_with("cat /in", &m, 1) >= 0, "of a file");
	is_str(h_out.buf, "file", "its bytes");
	m.source = "out";
	ok(run_with("ls /in", &m, 1) < 0 && h_err.errnum == ENOENT,
	        "S6: a source that leads outside is not found");
	m.source = "../canary";
	ok(run_with("ls /in", &m, 1) < 0, "nor by dots");
	m = (struct sandbox_mount){.type = SANDBOX_MOUNT_BIND, .target = "/in", .source_fd = src};
	ok(run_with("echo new > /in/n; mkdir /in/d", &m, 1) >= 0, "a writable bind (cache)");
	ok(faccessat(src, "n", F_OK, 0) == 0 && faccessat(src, "d", F_OK, 0) == 0,
	        "writes through");
	m.discard_writes = true;
	ok(run_with("echo changed > /in/f; rm /in/n; touch /in/y; ls /in", &m, 1) >= 0,
	        "rw with discarded writes");
	is_str(h_out.buf, "d\nf\nout\nsub\ny\n", "sees its writes");
	char *text;
	ok(sys_read_file(src, "f", 100, &text, NULL) == 0 && str_eq(text, "file"),
	        "the source does not");
	free(text);
	m.source = "f";
	ok(run_with("echo changed > /in; cat /in", &m, 1) >= 0, "the same for a file");
	is_str(h_out.buf, "changed\n", "sees its writes");
	ok(sys_read_file(src, "f", 100, &text, NULL) == 0 && str_eq(text, "file"),
	        "the source does not");
	free(text);
	is_str(h_upper_list(), "", "nothing in the layer");
	close(src);
}

static void test_rootfs_bind(void)
{
	int l0 = h_mkdir(h_top, "r0"), l1 = h_mkdir(h_top, "r1");
	close(h_mkdir(l0, "opt"));
	h_put(l0, "opt/tool", "old", 0755);
	h_put(l0, "opt/keep", "keep", 0644);
	close(h_mkdir(l1, "opt"));
	h_put(l1, "opt/tool", "new", 0755);
	int layers[] = {l0, l1};
	struct sandbox_mount m = {.type = SANDBOX_MOUNT_ROOTFS_BIND,
	        .target = "/from",
	        .layer_fds = layers,
	        .n_layers = 2,
	        .read_only = true};
	ok(run_with("cat /from/opt/tool /from/opt/keep; touch /from/x 2>&1", &m, 1) >= 0,
	        "another root, read-only");
	is_str(h_out.buf, "newkeeptouch: /from/x: Read-only file system\n", "merged, not writable");
	m.source = "/opt";
	ok(run_with("ls /from; echo x > /from/tool", &m, 1) >= 0, "a part of it");
	ok(h_has(h_out.buf, "keep\ntool\n") && h_has(h_out.buf, "Read-only"), "read-only too");
	m.source = "opt/tool";
	ok(run_with("cat /from", &m, 1) >= 0, "a file of it");
	is_str(h_out.buf, "new", "its bytes");
	m.source = "/opt";
	m.read_only = false;
	ok(run_with("echo x > /from/tool; rm /from/keep; cat /from/tool; ls /from", &m, 1) >= 0,
	        "writable");
	is_str(h_out.buf, "x\ntool\n", "sees its writes");
	char *text;
	ok(sys_read_file(l1, "opt/tool", 100, &text, NULL) == 0 && str_eq(text, "new"),
	        "the layers do not");
	free(text);
	/* S6: `RUN ln -s / /r`, then source=/r */
	symlinkat("/", l1, "r");
	m.source = "/r";
	ok(run_with("ls /from", &m, 1) >= 0, "S6: a link to / in the source");
	is_str(h_out.buf, "opt\nr\n", "is that root");
	m.n_layers = 0;
	m.source = NULL;
	ok(run_with("ls -A /from", &m, 1) >= 0, "from scratch");
	is_str(h_out.buf, "", "is empty");
	close(l0);
	close(l1);
}

static void test_nested(void)
{
	int src = h_mkdir(h_top, "nest");
	struct sandbox_mount m[] = {
	        {.type = SANDBOX_MOUNT_TMPFS, .target = "/n/cache/deep/t", .tmpfs_size = 65536},
	        {.type = SANDBOX_MOUNT_BIND, .target = "/n/cache", .source_fd = src},
	        {.type = SANDBOX_MOUNT_TMPFS, .target = "/n"},
	        {.type = SANDBOX_MOUNT_FILE,
	                .target = "/dev/pipes/EOF",
	                .data = "#!/bin/sh\necho script\n",
	                .data_len = 22,
	                .mode = 0755,
	                .read_only = true},
	};
	ok(run_with("df -k /n/cache/deep/t | sed 1d | tr -s ' ' | cut -d' ' -f2; touch "
	            "/n/cache/kept; /dev/pipes/EOF",
	           m, 4) >= 0,
	        "mounts inside mounts, in any order");
	is_str(h_out.buf, "64\nscript\n", "all in place; fact 11: the heredoc file runs");
	ok(faccessat(src, "kept", F_OK, 0) == 0 && faccessat(src, "deep/t", F_OK, 0) == 0,
	        "the mount point is made in the cache");
	is_str(h_upper_list(), "", "not in the layer");
	m[1].read_only = true;
	sys_remove_tree_at_fd(src) >= 0 ? (void)0 : abort();
	ok(run_with("true", m, 4) < 0 && h_has(h_err.msg, "read-only"),
	        "a read-only parent that lacks it: clear error");
	close(src);
}

static void test_refused(void)
{
	static const struct {
		const char *target, *message;
	} bad[] = {
	        {"/", "cannot mount on /: that is the root directory"},
	        {"/tmp/..", "cannot mount on /tmp/..: that is the root directory"},
	        {"/proc/sys", "cannot mount on /proc/sys: /proc and /sys belong to the sandbox"},
	        {"/proc", "cannot mount on /proc: /proc and /sys belong to the sandbox"},
	        {"/sys/x", "cannot mount on /sys/x: /proc and /sys belong to the sandbox"},
	        {"/etc/passwd", "cannot mount on /etc/passwd: it is not a directory in the image, "
	                        "the mount is a directory"},
	        {"/etc/passwd/x", "cannot mount on /etc/passwd/x: Not a directory"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct sandbox_mount m = {.type = SANDBOX_MOUNT_TMPFS, .target = bad[i].target};
		is_int(run_with("true", &m, 1), -1, "refused");
		is_str(h_err.msg, bad[i].message, "message");
	}
}

/* S3: the places the sandbox itself mounts on are links to the canary. */
static void test_link_targets(void)
{
	static const char *const names[] = {"proc", "sys", "dev"};
	_cleanup_free_ char *path = canary_path();
	for (size_t i = 0; i < 3; i++) {
		int l = h_mkdir(h_top, "evil");
		h_busybox(l);
		unlinkat(l, names[i], AT_REMOVEDIR);
		symlinkat(path, l, names[i]);
		struct sandbox_spec s = h_spec("true");
		s.layer_fds = &l;
		ok(h_run(s) < 0 && h_has(h_err.msg, "symbolic link"),
		        "S3: /proc, /sys, /dev must be directories");
		close(l);
		is_int(sys_remove_tree(h_top, "evil"), 0, "clean up");
	}
	int l = h_mkdir(h_top, "evil");
	h_busybox(l);
	_cleanup_free_ char *file = xasprintf("%s/file", path);
	symlinkat(file, l, "etc/resolv.conf");
	symlinkat("../../../../../../../../../canary/file", l, "etc/hosts");
	close(h_mkdir(l, "run"));
	symlinkat(path, l, "run/secrets");
	symlinkat("/etc/shadow", l, "bin/null");
	struct sandbox_mount m = {.type = SANDBOX_MOUNT_FILE,
	        .target = "/run/secrets/file",
	        .data = "x",
	        .data_len = 1,
	        .mode = 0600};
	struct sandbox_spec s =
	        h_spec("cat /etc/hosts | wc -l; cat /run/secrets/file; echo y > /run/secrets/file");
	s.layer_fds = &l;
	s.mounts = &m;
	s.n_mounts = 1;
	ok(h_run(s) >= 0, "S3: other targets are links");
	is_str(h_out.buf, "2\nx", "they are followed inside the root");
	ok(canary_unchanged(), "the canary is unchanged");
	is_str(h_upper_list(), "", "nothing in the layer");
	close(l);
	is_int(sys_remove_tree(h_top, "evil"), 0, "clean up");
}

/* S5: a step moves the parent of a mount away and puts a link to the canary there. */
static void test_moved_parent(void)
{
	_cleanup_free_ char *path = canary_path();
	_cleanup_free_ char *script = xasprintf(
	        "mv /a /old 2>/dev/null; rm -rf /a 2>/dev/null; ln -s %s /a 2>/dev/null; true",
	        path);
	struct sandbox_mount m = {.type = SANDBOX_MOUNT_TMPFS, .target = "/a/b"};
	ok(run_with(script, &m, 1) >= 0, "S5: runs");
	ok(canary_unchanged(), "the canary is unchanged");
}

static void test_readonly_and_scratch(void)
{
	struct sandbox_spec s =
	        h_spec("touch /x 2>&1; touch /tmp/x 2>&1; touch /dev/shm/x && echo shm");
	s.upper_fd = s.work_fd = -1;
	ok(h_run(s) >= 0, "without an upper directory");
	is_str(h_out.buf,
	        "touch: /x: Read-only file system\ntouch: /tmp/x: Read-only file system\nshm\n",
	        "the root is read-only");
	s = h_spec("touch /x 2>&1");
	s.read_only_rootfs = true;
	ok(h_run(s) >= 0, "read-only by request");
	is_str(h_out.buf, "touch: /x: Read-only file system\n", "the root is read-only");
	s = h_spec("");
	s.n_layers = 0;
	ok(h_run(s) < 0 && h_exit == 127, "scratch: no /bin/sh");
	struct sandbox_mount m = {.type = SANDBOX_MOUNT_ROOTFS_BIND,
	        .target = "/bin",
	        .layer_fds = &h_layer,
	        .n_layers = 1,
	        .source = "/bin",
	        .read_only = true};
	s = h_spec("ls /; echo made > /file");
	s.n_layers = 0;
	s.mounts = &m;
	s.n_mounts = 1;
	ok(h_run(s) >= 0, "scratch with tools mounted");
	is_str(h_out.buf, "bin\ndev\netc\nproc\nsys\n", "has mount points only");
	is_str(h_upper_list(), "file ", "and its layer what was written");
}

/* An agent: answers "pong" to each connection. */
static pid_t agent(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(s, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(s, 4) < 0)
		abort();
	pid_t pid = fork();
	if (pid == 0) {
		char buf[16];
		for (;;) {
			int c = accept(s, NULL, NULL);
			if (read(c, buf, sizeof(buf)) > 0)
				(void)!write(c, "pong", 4);
			close(c);
		}
	}
	close(s);
	return pid;
}

static void test_socket(void)
{
	const char *probe = getenv("STRAKE_PROBE");
	if (!probe) {
		ok(1, "agent socket # SKIP no STRAKE_PROBE");
		return;
	}
	_cleanup_free_ char *path = xasprintf("%s/agent.sock", h_dir);
	pid_t pid = agent(path);
	int fd = openat(h_top, "agent.sock", O_PATH | O_CLOEXEC);
	int dir = open(probe, O_PATH | O_CLOEXEC);
	struct sandbox_mount m[] = {
	        {.type = SANDBOX_MOUNT_SOCKET,
	                .target = "/run/agent",
	                .source_fd = fd,
	                .mode = 0600,
	                .uid = 1000,
	                .gid = 1001},
	        {.type = SANDBOX_MOUNT_BIND,
	                .target = "/probe",
	                .source_fd = dir,
	                .read_only = true},
	};
	struct sandbox_spec s = h_spec(
	        "stat -c %a,%u:%g /run/agent; /probe talk /run/agent; /probe talk /run/agent");
	s.mounts = m;
	s.n_mounts = 2;
	s.user = "user";
	ok(h_run(s) >= 0, "an agent socket for another user");
	/* With one id nobody else is there to use it, and a socket has no attribute to say whose
	 * it is meant to be. */
	is_str(h_out.buf,
	        h_mode == SYS_PRIV_SINGLE ? "600,0:0\ntalk pong\ntalk pong\n"
	                                  : "600,1000:1001\ntalk pong\ntalk pong\n",
	        "its owner and mode, and it answers");
	is_str(h_upper_list(), "", "nothing in the layer");
	m[0].source_fd = h_top;
	s = h_spec("true");
	s.mounts = m;
	s.n_mounts = 2;
	ok(h_run(s) < 0, "a source that is no socket");
	is_str(h_err.msg, "the source of the mount on /run/agent is not a socket", "message");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(fd);
	close(dir);
}

static void tests(void)
{
	canary = h_mkdir(h_top, "canary");
	h_put(canary, "file", "canary", 0640);
	struct timespec ts[2] = {{1000000000, 0}, {1000000000, 0}};
	utimensat(canary, "file", ts, 0);
	fchmod(canary, 0751);
	test_stubs();
	test_bind();
	test_rootfs_bind();
	test_nested();
	test_refused();
	test_link_targets();
	test_moved_parent();
	test_readonly_and_scratch();
	test_socket();
	ok(canary_unchanged(), "the canary is unchanged");
}

int main(int argc, char **argv)
{
	return harness_main(argc, argv, tests);
}
