/* Scoped look-ups, removal and atomic writes, with a canary outside the root. */
#include "../tap.h"
#include "sys/path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

static int top, root; /* top/root is the tree; top/canary must never change */

static void put(int dirfd, const char *name, const char *text)
{
	int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		abort();
	close(fd);
}

static int close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
	return fd;
}

static void test_open(void)
{
	int r;
	ok(mkdirat(root, "etc", 0755) == 0 && mkdirat(root, "etc/sub", 0755) == 0, "set up");
	put(root, "etc/passwd", "root:x:0:0\n");
	ok(symlinkat("/etc/passwd", root, "abs") == 0, "set up");
	ok(symlinkat("../../../../canary", root, "up") == 0, "set up");
	ok(symlinkat("/proc/self/exe", root, "magic") == 0, "set up");
	char *text;
	size_t n;
	ok(sys_read_file_in_root(root, "/abs", 1000, &text, &n) == 0,
	        "absolute link stays in root");
	is_str(text, "root:x:0:0\n", "content");
	is_int(n, 11, "length");
	free(text);
	is_int(sys_read_file_in_root(root, "up", 1000, &text, &n), -ENOENT,
	        "upward link is clamped");
	is_int(sys_open_in_root(root, "../../canary", O_RDONLY, 0), -ENOENT, "dotdot is clamped");
	is_int(sys_open_in_root(root, "magic", O_RDONLY, 0), -ENOENT, "no host /proc");
	is_int(sys_open_beneath(root, "abs", O_RDONLY, 0), -ELOOP, "beneath refuses links");
	is_int(sys_open_beneath(root, "../canary", O_RDONLY, 0), -EXDEV, "beneath refuses dotdot");
	is_int(sys_open_beneath(root, "/etc", O_RDONLY, 0), -EXDEV, "beneath refuses absolute");
	ok(close_fd(sys_open_beneath(root, "", O_PATH, 0)) >= 0, "empty path is the directory");
	r = close_fd(sys_open_beneath(root, "etc/new", O_WRONLY | O_CREAT | O_EXCL, 0600));
	ok(r >= 0, "create beneath");
	struct stat st;
	is_int(sys_stat_beneath(root, "etc/new", &st), 0, "stat");
	is_int(st.st_mode & 07777, 0600, "mode");
	is_int(sys_stat_beneath(root, "abs", &st), 0, "lstat of a link");
	ok(S_ISLNK(st.st_mode), "is a link");
	ok(symlinkat("etc", root, "e") == 0, "set up");
	is_int(sys_stat_beneath(root, "e/passwd", &st), -ELOOP, "link in the middle refused");
	is_int(sys_stat_beneath(root, "..", &st), -EXDEV, "dotdot refused");
	ok(sys_readlink(root, "abs", &text) == 0, "readlink");
	is_str(text, "/etc/passwd", "target");
	free(text);
	is_int(sys_readlink(root, "etc/passwd", &text), -EINVAL, "readlink of a file");
	const char *name;
	ok(close_fd(sys_open_parent(root, "etc/sub/x", &name)) >= 0, "parent");
	is_str(name, "x", "last component");
	ok(close_fd(sys_open_parent(root, "x", &name)) >= 0, "parent of a single name");
	is_int(sys_open_parent(root, "e/x", &name), -ELOOP, "parent through a link refused");
	is_int(sys_open_parent(root, "etc/..", &name), -EINVAL, "dotdot has no parent");
	is_int(sys_open_parent(root, "etc/", &name), -EINVAL, "trailing slash has no name");
}

static void test_read(void)
{
	char *text;
	size_t n;
	ok(mkfifoat(root, "fifo", 0644) == 0, "set up");
	is_int(sys_read_file(root, "fifo", 100, &text, &n), -EINVAL, "a FIFO is not opened");
	is_int(sys_read_file(root, "etc", 100, &text, &n), -EINVAL, "nor a directory");
	is_int(sys_read_file(root, "abs", 100, &text, &n), -ELOOP, "nor a link");
	is_int(sys_read_file(root, "etc/passwd", 10, &text, &n), -EFBIG, "cap");
	is_int(sys_read_file(root, "etc/passwd", 11, &text, &n), 0, "exactly the cap");
	free(text);
	int fd = openat(root, "sparse", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	ok(ftruncate(fd, 10LL << 30) == 0, "set up 10 GiB sparse");
	close(fd);
	is_int(sys_read_file(root, "sparse", 10 << 20, &text, &n), -EFBIG, "sparse giant refused");
	is_int(sys_write_file_atomic(root, "atom", "one", 3, 0640), 0, "atomic write");
	is_int(sys_write_file_atomic(root, "atom", "three", 5, 0604), 0, "and replace");
	ok(sys_read_file(root, "atom", 100, &text, &n) == 0, "read back");
	is_str(text, "three", "content");
	free(text);
	struct stat st;
	ok(fstatat(root, "atom", &st, 0) == 0 && (st.st_mode & 0777) == 0604, "mode");
	is_int(sys_read_file(AT_FDCWD, "/proc/self/status", 10, &text, &n), -EXDEV,
	        "absolute refused");
}

static void test_mkdir(void)
{
	struct stat st;
	mode_t old = umask(077);
	is_int(sys_mkdir_p(root, "m/n//o/", 0755), 0, "mkdir -p");
	umask(old);
	ok(fstatat(root, "m/n/o", &st, 0) == 0 && (st.st_mode & 0777) == 0755,
	        "umask has no effect");
	is_int(sys_mkdir_p(root, "m/n/o", 0700), 0, "again");
	ok(fstatat(root, "m/n/o", &st, 0) == 0 && (st.st_mode & 0777) == 0755, "mode is kept");
	is_int(sys_mkdir_p(root, "e/x", 0755), -ENOTDIR, "link refused");
	is_int(sys_mkdir_p(root, "m/../../x", 0755), -EINVAL, "dotdot refused");
	is_int(sys_mkdir_p(root, "/x", 0755), -EXDEV, "absolute refused");
	is_int(sys_mkdir_p(root, "etc/passwd/x", 0755), -ENOTDIR, "file in the way");
}

static void test_long(void)
{
	/* 300 components of 20 bytes: over PATH_MAX. */
	char path[300 * 21 + 20] = "";
	char *p = path;
	for (int i = 0; i < 300; i++)
		p += sprintf(p, "%sdirectory-number-%03d", i ? "/" : "", i);
	is_int(sys_mkdir_p(root, path, 0755), 0, "mkdir beyond PATH_MAX");
	strcpy(p, "/file");
	int fd = sys_open_beneath(root, path, O_WRONLY | O_CREAT, 0644);
	ok(close_fd(fd) >= 0, "create beyond PATH_MAX");
	struct stat st;
	is_int(sys_stat_beneath(root, path, &st), 0, "stat beyond PATH_MAX");
	ok(close_fd(sys_open_in_root(root, path, O_RDONLY, 0)) >= 0, "in root beyond PATH_MAX");
	char name[5000];
	memset(name, 'a', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	is_int(sys_open_beneath(root, name, O_RDONLY, 0), -ENAMETOOLONG, "one huge component");
}

static void test_remove(void)
{
	/* Depth 5,000: no descriptor and no stack frame a level. */
	int cur = openat(root, "m", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < 5000; i++) {
		if (mkdirat(cur, "d", 0755) < 0)
			abort();
		int next = openat(cur, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(cur);
		cur = next;
	}
	put(cur, "leaf", "x");
	fchmod(cur, 0);
	close(cur);
	ok(symlinkat("../../canary", root, "m/link") == 0, "set up");
	ok(symlinkat("..", root, "m/n/dots") == 0, "set up");
	ok(mkdirat(root, "m/locked", 0755) == 0, "set up");
	put(root, "m/locked/f", "x");
	ok(fchmodat(root, "m/locked", 0, 0) == 0, "set up");
	is_int(sys_remove_tree(root, "m"), 0, "removes a deep tree");
	struct stat st;
	ok(fstatat(root, "m", &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT, "gone");
	is_int(sys_remove_tree(root, "m"), 0, "absent is success");
	is_int(sys_remove_tree(root, ".."), -EINVAL, "dotdot refused");
	is_int(sys_remove_tree(root, "a/b"), -EINVAL, "one component only");
	is_int(sys_remove_tree(root, "up"), 0, "a link goes, its target stays");
	is_int(sys_remove_tree_at_fd(root), 0, "empty a directory");
	ok(unlinkat(top, "root", AT_REMOVEDIR) == 0, "it is empty, and itself there");
	ok(fstatat(top, "canary", &st, 0) == 0 && st.st_size == 6, "canary unchanged");
}

int main(void)
{
	char dir[] = "/tmp/strake-path-XXXXXX";
	if (!mkdtemp(dir))
		return 1;
	top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	put(top, "canary", "canary");
	mkdirat(top, "root", 0755);
	root = openat(top, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	test_open();
	test_read();
	test_mkdir();
	test_long();
	test_remove();
	ok(unlinkat(top, "canary", 0) == 0 && rmdir(dir) == 0, "clean up");
	close(root);
	close(top);
	return tap_done();
}
