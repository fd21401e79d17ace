/* layer_scan_upper: what overlayfs leaves in an upper directory, read into a tree. */
#include "copy_fixture.h"

static struct fx_layer low;
static const struct tree *trees[1];
static struct treeview view;

static void opaque(int fd, const char *path)
{
	char full[256];
	snprintf(full, sizeof(full), "/proc/self/fd/%d/%s", fd, path);
	ok(setxattr(full, "user.overlay.opaque", "y", 1, 0) == 0, "mark as opaque");
}

static void same_times(int fd, const char *path)
{
	struct stat st;
	fstatat(low.fd, path, &st, 0);
	struct timespec ts[2] = {st.st_atim, st.st_mtim};
	utimensat(fd, path, ts, 0);
}

static void gives(int fd, const char *want, const char *what)
{
	struct tree t = TREE_INIT;
	struct error err = ERROR_INIT;
	fx_ok(layer_scan_upper(fd, &view, NULL, NULL, &t, &err), &err, what);
	is_tree(&t, want, what);
	tree_release(&t);
	close(fd);
}

static void make_lower(void)
{
	low.fd = fx_dir("low");
	mkdirat(low.fd, "etc", 0755);
	fx_file(low.fd, "etc/a", "a", 0644);
	mkdirat(low.fd, "etc/d", 0755);
	fx_file(low.fd, "etc/d/x", "x", 0644);
	fx_file(low.fd, "etc/d/y", "y", 0644);
	mkdirat(low.fd, "etc/d/sub", 0755);
	fx_file(low.fd, "etc/d/sub/z", "z", 0644);
	fx_layer_scan(&low);
	trees[0] = &low.t;
	view = (struct treeview){trees, 1};
}

static void test_changes(void)
{
	int fd = fx_dir("u1");
	mkdirat(fd, "etc", 0755);
	fx_file(fd, "etc/new", "new", 0640);
	mknodat(fd, "etc/a", S_IFCHR, 0);
	mknodat(fd, "etc/nothing-below", S_IFCHR, 0);
	mknodat(fd, "etc/sock", S_IFSOCK | 0600, 0);
	ok(linkat(fd, "etc/new", fd, "etc/also", 0) == 0, "a hard link");
	ok(symlinkat("x", fd, "etc/l") == 0, "a symlink");
	same_times(fd, "etc");
	struct stat before, after;
	fstatat(fd, "etc", &before, 0);
	int keep = dup(fd);
	gives(fd,
	        "etc d 0755 0:0\netc/a whiteout\netc/also f 0640 0:0 3 11507a0e\netc/l l -> x\n"
	        "etc/new = etc/also\n",
	        "changes, with their parents; sockets and whiteouts of nothing are dropped");
	is_list(keep,
	        "etc d 0755 0:0\netc/a whiteout\netc/also f 0640 0:0 new\netc/l l -> x\n"
	        "etc/new = etc/also\n",
	        "also from disk");
	fstatat(keep, "etc", &after, 0);
	ok(before.st_mtim.tv_sec == after.st_mtim.tv_sec &&
	                before.st_mtim.tv_nsec == after.st_mtim.tv_nsec,
	        "which does not change the time of the directory");
	close(keep);
}

static void test_copied_up(void)
{
	int fd = fx_dir("u2");
	mkdirat(fd, "etc", 0755);
	mkdirat(fd, "etc/d", 0755);
	same_times(fd, "etc/d");
	same_times(fd, "etc");
	gives(fd, "", "54: directories that were only copied up are no change");
	fd = fx_dir("u3");
	mkdirat(fd, "etc", 0755);
	mkdirat(fd, "etc/d", 0700);
	same_times(fd, "etc/d");
	same_times(fd, "etc");
	gives(fd, "etc d 0755 0:0\netc/d d 0700 0:0\n", "a chmod of a directory is one");
	fd = fx_dir("u4");
	gives(fd, "", "an empty step");
	fd = fx_dir("u5");
	fchmod(fd, 0711);
	gives(fd, "/ d 0711 0:0\n", "a chmod of the root");
}

static void test_opaque(void)
{
	int fd = fx_dir("u6");
	mkdirat(fd, "etc", 0755);
	mkdirat(fd, "etc/d", 0755);
	opaque(fd, "etc/d");
	fx_file(fd, "etc/d/y", "new", 0644);
	mkdirat(fd, "etc/d/sub", 0755);
	mkdirat(fd, "fresh", 0755);
	opaque(fd, "fresh");
	gives(fd,
	        "etc d 0755 0:0\netc/d d 0755 0:0\netc/d/sub d 0755 0:0\netc/d/sub/z whiteout\n"
	        "etc/d/x whiteout\netc/d/y f 0644 0:0 3 11507a0e\nfresh d 0755 0:0\n",
	        "73: an opaque directory becomes explicit whiteouts, at every depth");
}

static void test_refused(void)
{
	struct tree t = TREE_INIT;
	struct error err = ERROR_INIT;
	int fd = fx_dir("u7");
	fx_file(fd, ".wh.etc", "", 0644);
	fx_err(layer_scan_upper(fd, &view, NULL, NULL, &t, &err), &err, ERR_BUILD, ".wh.etc",
	        "a file that would read as a whiteout");
	close(fd);
}

static void test_deep(void)
{
	/* deeper than PATH_MAX and than there are descriptors */
	int fd = fx_dir("u8"), cur = dup(fd);
	for (int i = 0; i < 1200; i++) {
		mkdirat(cur, "dddd", 0755);
		int next = openat(cur, "dddd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(cur);
		cur = next;
	}
	fx_file(cur, "leaf", "leaf", 0644);
	close(cur);
	struct tree t = TREE_INIT;
	struct error err = ERROR_INIT;
	struct pool *p = pool_new(2);
	fx_ok(layer_scan_upper(fd, &view, NULL, p, &t, &err), &err, "F17: a tree 1200 levels deep");
	is_int(t.n, 1201, "is read to its end");
	ok(t.n == 1201 && t.entries[1200].has_digest, "and hashed");
	tree_release(&t);
	pool_free(p);
	close(fd);
}

static void test_prepare(void)
{
	struct error err = ERROR_INIT;
	struct tree t = TREE_INIT;
	struct tree_entry root = {.path = "", .type = TREE_DIR, .mode = 0701, .uid = 3, .gid = 4};
	tree_add(&t, &root);
	const struct tree *v[1] = {&t};
	struct treeview lower = {v, 1};
	int fd = fx_dir("u9");
	struct stat st;
	fx_ok(layer_prepare_upper(fd, &lower, false, &err), &err, "an upper directory");
	fstat(fd, &st);
	ok((st.st_mode & 07777) == 0701 && st.st_uid == 3 && st.st_gid == 4,
	        "looks like the root below it");
	tree_release(&t);
	close(fd);
}

int main(void)
{
	fx_begin();
	make_lower();
	test_changes();
	test_copied_up();
	test_opaque();
	test_refused();
	test_deep();
	test_prepare();
	fx_layer_release(&low);
	return fx_end();
}
