/* Detached mounts: overlay by both ways in, the limit of layers, attributes. */
#include "../tap.h"
#include "sys/mount.h"
#include "sys/path.h"
#include "sys/privilege.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int base; /* a tmpfs that is attached */

static int dir(const char *name)
{
	if (mkdirat(base, name, 0755) < 0 && errno != EEXIST)
		return -1;
	return openat(base, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void put(int d, const char *name)
{
	int fd = openat(d, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd >= 0)
		close(fd);
}

typedef int overlay_fn(const int *, size_t, int, int, bool);

static void test_overlay(overlay_fn *mount_it, const char *tag)
{
	char name[64];
	int lowers[3];
	for (int i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "%s-l%d", tag, i);
		lowers[i] = dir(name);
		snprintf(name, sizeof(name), "only%d", i);
		put(lowers[i], name);
	}
	put(lowers[0], "gone");
	is_int(mknodat(lowers[2], "gone", S_IFCHR, 0), 0, "a whiteout");
	snprintf(name, sizeof(name), "%s-u", tag);
	int upper = dir(name);
	snprintf(name, sizeof(name), "%s-w", tag);
	int work = dir(name);
	int m = mount_it(lowers, 3, upper, work, false);
	ok(m >= 0, tag);
	ok(faccessat(m, "only0", F_OK, 0) == 0 && faccessat(m, "only2", F_OK, 0) == 0, "merged");
	ok(faccessat(m, "gone", F_OK, 0) < 0, "the highest layer comes last in the list");
	put(m, "new");
	ok(faccessat(upper, "new", F_OK, 0) == 0, "writes go to the upper directory");
	close(m);
	m = mount_it(lowers, 2, -1, -1, true);
	ok(m >= 0, "read-only");
	ok(openat(m, "x", O_WRONLY | O_CREAT | O_CLOEXEC, 0644) < 0 && errno == EROFS,
	        "refuses writes");
	ok(faccessat(m, "gone", F_OK, 0) == 0, "the third layer is not there");
	close(m);
	for (int i = 0; i < 3; i++)
		close(lowers[i]);
	close(upper);
	close(work);
}

static void test_many(void)
{
	static int lowers[501];
	char name[32];
	for (int i = 0; i < 501; i++) {
		snprintf(name, sizeof(name), "many%03d", i);
		lowers[i] = dir(name);
	}
	put(lowers[0], "bottom");
	put(lowers[499], "top");
	int upper = dir("many-u"), work = dir("many-w");
	int m = sys_overlay_mount(lowers, 500, upper, work, false);
	ok(m >= 0, "500 layers");
	ok(faccessat(m, "bottom", F_OK, 0) == 0 && faccessat(m, "top", F_OK, 0) == 0, "all there");
	close(m);
	is_int(sys_overlay_mount(lowers, 501, upper, work, false), -E2BIG, "501 layers");
	work = dir("many-w2");
	m = sys_overlay_mount_classic(lowers, 500, upper, work, false);
	ok(m >= 0, "500 layers the old way");
	close(m);
	for (int i = 0; i < 501; i++)
		close(lowers[i]);
}

/* own_root - is what this process mounts its own, while others mount theirs? */
static bool own_root(const int *lowers, int i)
{
	char name[32];
	int mine[101];
	snprintf(name, sizeof(name), "mine%d", i);
	memcpy(mine, lowers, 100 * sizeof(int));
	mine[100] = dir(name);
	put(mine[100], name);
	for (int k = 0; k < 50; k++) {
		int m = sys_overlay_mount_classic(mine, 101, -1, -1, true);
		if (m < 0 || faccessat(m, name, F_OK, 0) < 0)
			return false;
		close(m);
	}
	return true;
}

/* The steps of a build share a mount namespace. */
static void test_side_by_side(void)
{
	static int lowers[100];
	char name[32];
	int good = 0, status;
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "side%03d", i);
		lowers[i] = dir(name);
	}
	for (int i = 0; i < 4; i++)
		if (fork() == 0)
			_exit(!own_root(lowers, i));
	while (wait(&status) > 0)
		good += status == 0;
	is_int(good, 4, "many layers mounted by four processes at once, the old way");
	for (int i = 0; i < 100; i++)
		close(lowers[i]);
}

static int child(void)
{
	struct error err = ERROR_INIT;
	struct sys_privilege_info i;
	if (sys_privilege_probe(&i, &err) < 0 || sys_privilege_enter(&i, &err) < 0) {
		printf("1..0 # SKIP %s\n", err.msg);
		return 0;
	}
	sys_privilege_info_release(&i);
	int t = sys_tmpfs_mount("mode=0755,size=16m");
	int where = open("/mnt", O_PATH | O_DIRECTORY | O_CLOEXEC);
	ok(t >= 0 && sys_mount_attach(t, where) == 0, "a tmpfs is attached");
	base = openat(t, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	is_int(sys_tmpfs_mount("nonsense=1"), -EINVAL, "unknown option");
	test_overlay(sys_overlay_mount, "new");
	test_overlay(sys_overlay_mount_classic, "classic");
	test_many();
	test_side_by_side();
	int one = dir("one");
	put(one, "f");
	int m = sys_overlay_mount(&one, 1, -1, -1, true);
	ok(m >= 0 && faccessat(m, "f", F_OK, 0) == 0, "a single read-only layer");
	ok(openat(m, "x", O_WRONLY | O_CREAT | O_CLOEXEC, 0644) < 0 && errno == EROFS,
	        "refuses writes");
	close(m);
	is_int(sys_overlay_mount(&one, 0, -1, -1, true), -EINVAL, "no layer at all");
	m = sys_bind_clone(base, "one", false);
	ok(m >= 0 && sys_mount_attr(m, false, MOUNT_ATTR_RDONLY, 0) == 0, "clone, read-only");
	ok(openat(m, "x", O_WRONLY | O_CREAT | O_CLOEXEC, 0644) < 0 && errno == EROFS,
	        "refuses writes");
	close(m);
	ok(openat(one, "x", O_WRONLY | O_CREAT | O_CLOEXEC, 0644) >= 0,
	        "the source stays writable");
	m = sys_devpts_mount();
	ok(m >= 0 && faccessat(m, "ptmx", F_OK, 0) == 0, "devpts");
	close(m);
	return tap_done();
}

int main(void)
{
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0)
		exit(child());
	int status;
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
