/* S3, S4: sources and targets of mounts that another process swaps, all the time, between a
 * directory and links that lead to the host's root and to the canary. */
#include "harness.h"

#include <stdio.h>

#define ROUNDS 60

/* swapper - exchanges a and b in dir until it is killed. */
static pid_t swapper(int dir, const char *a, const char *b)
{
	pid_t pid = fork();
	if (pid == 0)
		for (;;)
			if (renameat2(dir, a, dir, b, RENAME_EXCHANGE) < 0)
				_exit(1);
	return pid;
}

static void stop(pid_t pid)
{
	int status;
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	ok(WIFSIGNALED(status), "the swapper worked to the end");
}

static void test_source(const char *link, const char *what)
{
	int cache = h_mkdir(h_top, "cache");
	int real = h_mkdir(cache, "sub");
	h_put(real, "inside", "x", 0644);
	ok(symlinkat(link, cache, "link") == 0, "set up");
	pid_t pid = swapper(cache, "sub", "link");
	int seen = 0, good = 0, refused = 0;
	for (int i = 0; i < ROUNDS; i++) {
		struct sandbox_mount m = {.type = SANDBOX_MOUNT_BIND,
		        .target = "/m",
		        .source_fd = cache,
		        .source = "sub"};
		struct sandbox_spec s = h_spec("cd /m && for f in *; do echo $f; done");
		s.mounts = &m;
		s.n_mounts = 1;
		if (h_run(s) < 0) {
			refused++;
			continue;
		}
		/* The directory itself, or what the link means inside the cache. */
		good += str_eq(h_out.buf, "inside\n") || str_eq(h_out.buf, "link\nsub\n");
		seen += strstr(h_out.buf, "canary-file") || strstr(h_out.buf, "etc\n") ||
		        strstr(h_out.buf, "usr\n");
	}
	stop(pid);
	is_int(seen, 0, what);
	is_int(good + refused, ROUNDS, "S4: the right thing or an error, nothing else");
	close(real);
	close(cache);
	is_int(sys_remove_tree(h_top, "cache"), 0, "clean up");
}

static void test_target(const char *link)
{
	/* A mount point that lies in another mount, whose content somebody swaps. */
	int cache = h_mkdir(h_top, "cache");
	close(h_mkdir(cache, "sub"));
	ok(symlinkat(link, cache, "link") == 0, "set up");
	pid_t pid = swapper(cache, "sub", "link");
	int bad = 0;
	for (int i = 0; i < ROUNDS; i++) {
		struct sandbox_mount m[] = {
		        {.type = SANDBOX_MOUNT_BIND, .target = "/c", .source_fd = cache},
		        {.type = SANDBOX_MOUNT_TMPFS, .target = "/c/sub/point"},
		};
		struct sandbox_spec s = h_spec("touch /c/sub/point/x 2>/dev/null; true");
		s.mounts = m;
		s.n_mounts = 2;
		if (h_run(s) >= 0 && h_exit != 0)
			bad++;
	}
	stop(pid);
	is_int(bad, 0, "S3: mounted inside, or an error");
	close(cache);
	is_int(sys_remove_tree(h_top, "cache"), 0, "clean up");
}

static void tests(void)
{
	struct stat st;
	int canary = h_mkdir(h_top, "canary");
	h_put(canary, "canary-file", "x", 0640);
	_cleanup_free_ char *path = xasprintf("%s/canary", h_dir);
	test_source("/", "S4: the host's root is never seen");
	test_source(path, "S4: nor the canary by its absolute path");
	test_source("../canary", "S4: nor by a relative one");
	test_target(path);
	test_target("../canary");
	ok(faccessat(canary, "point", F_OK, 0) < 0 && errno == ENOENT,
	        "no mount point was made in the canary");
	ok(fstatat(canary, "canary-file", &st, 0) == 0 && (st.st_mode & 07777) == 0640,
	        "it is unchanged");
	close(canary);
}

int main(int argc, char **argv)
{
	return harness_main(argc, argv, tests);
}
