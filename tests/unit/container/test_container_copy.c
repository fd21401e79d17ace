/* copy_tree and tar_into_root between directories that do not mean well. */
#include "container/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "../tap.h"
#include "sys/path.h"
#include "tar/writer.h"

static int src, dst;

static int dir(int at, const char *name)
{
	if (mkdirat(at, name, 0755) < 0)
		exit(1);
	return sys_open_dir(at, name);
}

static void file(int at, const char *name, const char *text, mode_t mode)
{
	int fd = openat(at, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || sys_write_all(fd, text, strlen(text)) < 0 || fchmod(fd, mode) < 0)
		exit(1);
	close(fd);
}

static char *text(int at, const char *name)
{
	char *s = NULL;
	size_t n;
	return sys_read_file(at, name, 4096, &s, &n) < 0 ? NULL : s;
}

static bool has(int at, const char *name, const char *want)
{
	char *s = text(at, name);
	bool yes = s && str_eq(s, want);
	free(s);
	return yes;
}

static enum err_class copy(const char *name, const char *as, bool contents, bool special)
{
	struct copy_options o = {.uid = geteuid(), .gid = getegid(), .keep_special = special};
	struct error err = ERROR_INIT;
	int rc = copy_tree(src, name, dst, as, contents, &o, &err);
	enum err_class c = rc < 0 ? err.class : ERR_NONE;
	error_release(&err);
	return c;
}

static void test_files(void)
{
	struct stat a, b;
	file(src, "f", "new\n", 04755);
	file(dst, "f", "old\n", 0644);
	if (linkat(dst, "f", dst, "other", 0) < 0)
		exit(1);
	is_int(copy("f", "f", false, false), ERR_NONE, "a file over a file");
	ok(has(dst, "f", "new\n"), "is the new one");
	ok(has(dst, "other", "old\n"), "another name of the old one keeps its bytes");
	fstatat(dst, "f", &a, 0);
	is_int(a.st_mode & 07777, 0755, "no set-id bit without being asked");
	is_int(copy("f", "s", false, true), ERR_NONE, "with special bits");
	fstatat(dst, "s", &a, 0);
	is_int(a.st_mode & 07777, 04755, "they stay");
	fstatat(src, "f", &b, 0);
	is_int(a.st_mtim.tv_nsec, b.st_mtim.tv_nsec, "so does the time");
	/* a link where the file goes is replaced, never followed */
	file(dst, "victim", "safe\n", 0644);
	if (symlinkat("victim", dst, "trap") < 0)
		exit(1);
	is_int(copy("f", "trap", false, false), ERR_NONE, "a file over a link");
	ok(has(dst, "victim", "safe\n"), "the link was not followed");
	ok(fstatat(dst, "trap", &a, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(a.st_mode),
	        "it is a file now");
	if (mkfifoat(src, "fifo", 0600) < 0)
		exit(1);
	is_int(copy("fifo", "fifo", false, false), ERR_NONE, "a fifo is made, not read");
	ok(fstatat(dst, "fifo", &a, 0) == 0 && S_ISFIFO(a.st_mode), "it is one");
	is_int(copy("none", "x", false, false), ERR_SYSTEM, "what is not there");
}

static void test_directories(void)
{
	int d = dir(src, "d"), e = dir(d, "deep");
	file(d, "one", "1\n", 0644);
	file(e, "two", "2\n", 0600);
	if (linkat(d, "one", e, "hard", 0) < 0 || symlinkat("/etc/passwd", d, "abs") < 0)
		exit(1);
	is_int(copy("d", "d", false, false), ERR_NONE, "a directory");
	ok(has(dst, "d/one", "1\n") && has(dst, "d/deep/two", "2\n"), "with what is in it");
	struct stat a, b;
	ok(fstatat(dst, "d/one", &a, 0) == 0 && fstatat(dst, "d/deep/hard", &b, 0) == 0 &&
	                a.st_ino == b.st_ino,
	        "hard links stay links");
	char *link = NULL;
	ok(sys_readlink(dst, "d/abs", &link) == 0 && str_eq(link, "/etc/passwd"),
	        "a link is copied as it is");
	free(link);
	file(dst, "plain", "x", 0644);
	is_int(copy("d", "plain", false, false), ERR_USAGE, "a directory over a file");
	is_int(copy("f", "d", false, false), ERR_USAGE, "a file over a directory");
	/* a directory of the source is a link in the destination */
	int outside = dir(dst, "outside"), m = dir(dst, "merge");
	if (symlinkat("../outside", m, "deep") < 0)
		exit(1);
	is_int(copy("d", "merge", true, false), ERR_USAGE, "nothing is written through a link");
	ok(faccessat(outside, "two", F_OK, 0) < 0, "nothing came out");
	/* deeper than descriptors and stack would bear */
	int at = dir(src, "chain");
	for (int i = 0; i < 1500; i++) {
		int next = dir(at, "x");
		close(at);
		at = next;
	}
	file(at, "end", "end\n", 0644);
	close(at);
	is_int(copy("chain", "chain", false, false), ERR_NONE, "1500 levels");
	close(d);
	close(e);
	close(m);
	close(outside);
}

/* tar_in - one entry into dst/root below "/in". */
static enum err_class tar_in(
        const char *path, enum tree_type type, const char *link, const char *data)
{
	struct error err = ERROR_INIT;
	int fd = memfd_create("tar", MFD_CLOEXEC), root = sys_open_dir(dst, "root");
	struct sink *out = sink_fd(fd, "tar");
	struct tree_entry e = {.path = path,
	        .type = type,
	        .mode = 0644,
	        .uid = geteuid(),
	        .gid = getegid(),
	        .link = link,
	        .size = data ? strlen(data) : 0};
	if (tar_write_entry(&e, out, &err) < 0 ||
	        (data && (tar_write_data(data, strlen(data), out, &err) < 0 ||
	                         tar_write_padding(strlen(data), out, &err) < 0)) ||
	        tar_write_end(out, &err) < 0 || sink_finish(out, &err) < 0)
		exit(1);
	sink_free(out);
	lseek(fd, 0, SEEK_SET);
	const struct copy_options all = {.keep_owner = true, .keep_special = true};
	int rc = tar_into_root(root, "/in", &all, fd, &err);
	enum err_class c = rc < 0 ? err.class : ERR_NONE;
	error_release(&err);
	close(fd);
	close(root);
	return c;
}

static void test_tar(void)
{
	int root = dir(dst, "root"), in = dir(root, "in");
	close(in);
	is_int(tar_in("a/b/c", TREE_REG, NULL, "c\n"), ERR_NONE, "parents are made");
	ok(has(root, "in/a/b/c", "c\n"), "and the file is there");
	ok(tar_in("../up", TREE_REG, NULL, "x") != ERR_NONE, ".. is refused");
	ok(faccessat(root, "up", F_OK, 0) < 0, "and nothing made");
	is_int(tar_in("abs", TREE_SYMLINK, "/elsewhere", NULL), ERR_NONE, "a link");
	is_int(tar_in("abs/f", TREE_REG, NULL, "in\n"), ERR_NONE, "and a file through it");
	ok(has(root, "elsewhere/f", "in\n"), "which stays in the root");
	is_int(tar_in("climb", TREE_SYMLINK, "../../../../../../..", NULL), ERR_NONE, "a climber");
	is_int(tar_in("climb/g", TREE_REG, NULL, "g\n"), ERR_NONE, "ends at the root");
	ok(has(root, "g", "g\n"), "as in the container");
	ok(tar_in("h", TREE_HARDLINK, "../../victim", NULL) != ERR_NONE,
	        "a hard link out is refused");
	close(root);
}

int main(void)
{
	char path[] = "/tmp/strake-copy.XXXXXX";
	if (!mkdtemp(path))
		return 1;
	int top = sys_open_dir(AT_FDCWD, path);
	src = dir(top, "src");
	dst = dir(top, "dst");
	test_files();
	test_directories();
	test_tar();
	int tmp = sys_open_dir(AT_FDCWD, "/tmp");
	ok(sys_remove_tree(tmp, path + strlen("/tmp/")) == 0, "all is removed");
	return tap_done();
}
