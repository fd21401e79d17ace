/* layer_copy: the matrix of sources and destinations, owners, modes, refusals. SEMANTICS 30-46 and
 * 80-85; each test names its fact. */
#include "copy_fixture.h"

static struct fx_layer src, low;

/* What every test copies from. */
static void make_source(void)
{
	src.fd = fx_dir("src");
	fx_file(src.fd, "a", "aaa", 0640);
	fx_file(src.fd, "b", "bbb", 04755);
	fx_file(src.fd, "empty", "", 0644);
	mkdirat(src.fd, "dir", 0700);
	fx_file(src.fd, "dir/f", "fff", 0600);
	mkdirat(src.fd, "dir/sub", 0711);
	fx_file(src.fd, "dir/sub/g", "ggg", 0644);
	ok(symlinkat("/canary", src.fd, "dir/link") == 0, "a link in the source");
	ok(linkat(src.fd, "dir/f", src.fd, "dir/hard", 0) == 0, "a hard link in the source");
	fchmodat(src.fd, "dir", 0700, 0);
	fchmodat(src.fd, "dir/sub", 0711, 0);
	(void)!fchownat(src.fd, "dir/sub/g", 33, 44, 0);
	(void)!fchownat(src.fd, "dir/sub", 33, 44, 0);
	ok(symlinkat("a", src.fd, "ln") == 0, "a link at the top");
	mknodat(src.fd, "pipe", S_IFIFO | 0622, 0);
	fchmodat(src.fd, "pipe", 0622, 0);
	mkdirat(src.fd, "none", 0755);
	fx_layer_scan(&src);
}

/* The rootfs below. */
static void make_lower(void)
{
	low.fd = fx_dir("low");
	mkdirat(low.fd, "etc", 0755);
	fx_file(low.fd, "etc/passwd", "root:x:0:0:root:/:/bin/sh\nweb:x:101:102::/:/bin/sh\n",
	        0644);
	fx_file(low.fd, "etc/group", "root:x:0:\nstaff:x:50:\n", 0644);
	mkdirat(low.fd, "srv", 0755);
	fchmodat(low.fd, "srv", 01777, 0);
	(void)!fchownat(low.fd, "srv", 5, 6, 0);
	mkdirat(low.fd, "srv/sub", 0755);
	fx_file(low.fd, "file", "lower", 0644);
	mkdirat(low.fd, "real", 0750);
	fchmodat(low.fd, "real", 0750, 0);
	ok(symlinkat("/real", low.fd, "lnk") == 0, "a link to a directory");
	ok(symlinkat("../../../file", low.fd, "flnk") == 0, "a link to a file");
	ok(symlinkat("/new/place", low.fd, "dangling") == 0, "a dangling link");
	ok(symlinkat("loop", low.fd, "loop") == 0, "a loop");
	mkdirat(low.fd, "box", 0755);
	mkdirat(low.fd, "box/a", 0755);
	ok(symlinkat("/real", low.fd, "box/sub") == 0, "a nested link");
	ok(symlinkat("/file", low.fd, "box/f") == 0, "a nested link to a file");
	mkdirat(low.fd, "run", 0755);
	mkdirat(low.fd, "var", 0755);
	ok(symlinkat("/run", low.fd, "var/run") == 0, "/var/run");
	fx_layer_scan(&low);
}

struct opts {
	const char *chown, *chmod;
	bool keep_owner, link, several, single_id, immutable, no_lower;
};

static struct fx_copy run1(const char *path, const char *dest, struct opts o)
{
	struct fx_copy c;
	fx_copy_begin(&c, o.no_lower ? NULL : &low, dest);
	c.rq.chown = o.chown;
	c.rq.chmod = o.chmod;
	c.rq.keep_owner = o.keep_owner;
	c.rq.link = o.link;
	c.rq.dest_is_dir = o.several;
	c.rq.single_id = o.single_id;
	fx_copy_add(&c, &src, path)->immutable = o.immutable;
	c.rq.items = c.items;
	fx_copy_run(&c, NULL);
	return c;
}

static void gives(
        const char *path, const char *dest, struct opts o, const char *want, const char *what)
{
	struct fx_copy c = run1(path, dest, o);
	fx_ok(c.r, &c.err, what);
	is_list(c.fd, want, what);
	fx_copy_end(&c);
}

static void refused(
        const char *path, const char *dest, struct opts o, const char *part, const char *what)
{
	struct fx_copy c = run1(path, dest, o);
	fx_err(c.r, &c.err, ERR_BUILD, part, what);
	fx_copy_end(&c);
}

#define NONE ((struct opts){0})

static void test_files(void)
{
	gives("a", "/x", NONE, "x f 0640 0:0 aaa\n", "file to a missing name");
	gives("a", "/x/", NONE, "x d 0755 0:0\nx/a f 0640 0:0 aaa\n", "file to a missing name/");
	gives("a", "/p/q/x", NONE, "p d 0755 0:0\np/q d 0755 0:0\np/q/x f 0640 0:0 aaa\n",
	        "38: parents are made 0755");
	gives("a", "/file", NONE, "file f 0640 0:0 aaa\n", "file over a file");
	gives("a", "/srv", NONE, "srv d 1777 5:6\nsrv/a f 0640 0:0 aaa\n",
	        "file into a directory, which keeps mode and owner");
	gives("a", "/lnk", NONE, "real d 0750 0:0\nreal/a f 0640 0:0 aaa\n",
	        "35: file through a link to a directory");
	gives("a", "/flnk", NONE, "file f 0640 0:0 aaa\n",
	        "35: file through a climbing link to a file, clamped at the root");
	gives("a", "/dangling", NONE, "new d 0755 0:0\nnew/place f 0640 0:0 aaa\n",
	        "35: file through a dangling link makes its target");
	gives("a", "/lnk/../x", NONE, "x f 0640 0:0 aaa\n", "dots in the destination");
	gives("a", "/../../x", NONE, "x f 0640 0:0 aaa\n", "the destination cannot climb out");
	gives("b", "/x", NONE, "x f 4755 0:0 bbb\n", "84: set-uid is kept");
	gives("empty", "/x", NONE, "x f 0644 0:0\n", "an empty file");
	gives("a", "/x", (struct opts){.several = true}, "x d 0755 0:0\nx/a f 0640 0:0 aaa\n",
	        "30: several sources make the destination a directory");
	gives("pipe", "/x", NONE, "x p 0622 0:0\n", "42: a fifo is recreated");
	refused("a", "/loop", NONE, "symbolic links", "a loop in the destination");
	refused("a", "/file/", NONE, "not a directory", "36: file to existing-file/");
	refused("a", "/file/x", NONE, "not a directory", "a file in the middle");
	refused("a", "/box", NONE, "directory (by a file) /box/a",
	        "36: file over a directory of its name");
}

static void test_dirs(void)
{
	gives("dir", "/x", NONE,
	        "x d 0755 0:0\nx/f f 0600 0:0 fff\nx/hard = x/f\nx/link l -> /canary\n"
	        "x/sub d 0711 0:0\nx/sub/g f 0644 0:0 ggg\n",
	        "30, 38, 42: contents, a new destination is 0755, links and hard links are kept");
	gives("dir", "/srv", NONE,
	        "srv d 1777 5:6\nsrv/f f 0600 0:0 fff\nsrv/hard = srv/f\nsrv/link l -> /canary\n"
	        "srv/sub d 0711 0:0\nsrv/sub/g f 0644 0:0 ggg\n",
	        "37: the top keeps its metadata, a nested directory takes the source's");
	gives("dir/sub", "/lnk", NONE, "real d 0750 0:0\nreal/g f 0644 0:0 ggg\n",
	        "35: a directory through a link");
	gives("none", "/x", NONE, "x d 0755 0:0\n", "an empty directory makes its destination");
	gives("none", "/srv", NONE, "srv d 1777 5:6\n", "nothing into an existing directory");
	gives("dir/sub", "/", NONE, "g f 0644 0:0 ggg\n", "into the root");
	gives("dir/sub", "/x", (struct opts){.no_lower = true},
	        "x d 0755 0:0\nx/g f 0644 0:0 ggg\n", "onto scratch");
	refused("dir", "/file", NONE, "not a directory", "36: directory over a file");
	refused("dir", "/box", NONE, "link (by a directory) /box/sub",
	        "83: a directory over a nested link");
}

static void test_links(void)
{
	gives("ln", "/x", NONE, "x l -> a\n", "a link that the caller did not follow is a link");
	gives("ln", "/file", NONE, "file l -> a\n", "a link over a file");
	struct fx_copy c;
	fx_copy_begin(&c, &low, "/box/");
	fx_copy_add(&c, &src, "dir/f");
	fx_copy_run(&c, NULL);
	fx_ok(c.r, &c.err, "file to a directory that has a link of that name");
	is_list(c.fd, "box d 0755 0:0\nbox/f f 0600 0:0 fff\n",
	        "35: a link at the nested target is replaced, not followed");
	fx_copy_end(&c);
	fx_copy_begin(&c, &low, "/");
	struct copy_item *it = fx_copy_add(&c, &src, "ln");
	it->name = "real";
	fx_copy_run(&c, NULL);
	fx_err(c.r, &c.err, ERR_BUILD, "directory (by a link) /real",
	        "83: a link over a directory");
	fx_copy_end(&c);
}

static void test_owner(void)
{
	gives("a", "/x/y", (struct opts){.chown = "1000"},
	        "x d 0755 1000:1000\nx/y f 0640 1000:1000 aaa\n", "40: a number is its own group");
	gives("a", "/y", (struct opts){.chown = "web"}, "y f 0640 101:102 aaa\n",
	        "40: a name has the primary group of passwd");
	gives("a", "/y", (struct opts){.chown = "web:staff"}, "y f 0640 101:50 aaa\n",
	        "40: names of user and group");
	gives("b", "/y", (struct opts){.chown = "7:8"}, "y f 4755 7:8 bbb\n",
	        "84: set-uid survives --chown");
	refused("a", "/y", (struct opts){.chown = "nobody"}, "no user \"nobody\"",
	        "40: an unknown name");
	gives("dir/sub", "/y", (struct opts){.keep_owner = true},
	        "y d 0755 0:0\ny/g f 0644 33:44 ggg\n", "39: COPY --from keeps owners");
	gives("dir/sub", "/y", (struct opts){.keep_owner = true, .chown = "1:2"},
	        "y d 0755 1:2\ny/g f 0644 1:2 ggg\n", "39: unless --chown");
	gives("dir/sub", "/y", (struct opts){.chmod = "0750"}, "y d 0750 0:0\ny/g f 0750 0:0 ggg\n",
	        "38, 46: --chmod, also of made parents");
	gives("dir/sub", "/y", (struct opts){.chmod = "u=rwX,go=rX"},
	        "y d 0755 0:0\ny/g f 0644 0:0 ggg\n", "46: symbolic");
	struct fx_copy c =
	        run1("dir/sub", "/y", (struct opts){.keep_owner = true, .single_id = true});
	fx_ok(c.r, &c.err, "a single id");
	is_tree(&c.t, "y d 0755 0:0\ny/g f 0644 33:44 3 569c7f0b\n",
	        "owners are recorded in the tree");
	is_list(c.fd, "y d 0755 0:0\ny/g f 0644 0:0 ggg\n", "and not applied on disk");
	fx_copy_end(&c);
}

static void test_link_flag(void)
{
	gives("a", "/lnk/x", (struct opts){.link = true}, "lnk d 0755 0:0\nlnk/x f 0640 0:0 aaa\n",
	        "41: --link does not see the rootfs");
	gives("a", "/x", (struct opts){.link = true, .chown = "web"}, "x f 0640 101:102 aaa\n",
	        "41: but its users");
}

static void test_several(void)
{
	struct fx_copy c;
	fx_copy_begin(&c, &low, "/x");
	c.rq.dest_is_dir = true;
	fx_copy_add(&c, &src, "a");
	fx_copy_add(&c, &src, "dir/sub");
	struct copy_item *it = fx_copy_add(&c, &src, "b");
	it->name = "g"; /* over what the second brought */
	struct pool *p = pool_new(3);
	fx_copy_run(&c, p);
	fx_ok(c.r, &c.err, "several sources on a pool");
	is_list(c.fd, "x d 0755 0:0\nx/a f 0640 0:0 aaa\nx/g f 4755 0:0 bbb\n",
	        "a later source replaces a file of an earlier one");
	is_tree(&c.t, "x d 0755 0:0\nx/a f 0640 0:0 3 9834876d\nx/g f 4755 0:0 3 3e744b9d\n",
	        "and the tree says so");
	fx_copy_end(&c);
	pool_free(p);
}

static void test_inline(void)
{
	struct fx_copy c;
	struct tree_entry e = {
	        .path = "conf", .type = TREE_REG, .mode = 0644, .size = 5, .mtime_sec = 5};
	struct copy_entry ce = {.e = &e, .rel = "", .dirfd = -1, .data = "hello"};
	fx_copy_begin(&c, &low, "/etc/");
	c.items[0] = (struct copy_item){.name = "conf", .shown = "conf", .entries = &ce, .n = 1};
	c.rq.n_items = 1;
	fx_copy_run(&c, NULL);
	fx_ok(c.r, &c.err, "12: a heredoc");
	is_tree(&c.t, "etc d 0755 0:0\netc/conf f 0644 0:0 5 2cf24dba\n", "is a 0644 file");
	fx_copy_end(&c);
}

static void test_times_and_links(void)
{
	struct fx_copy c = run1("dir/sub", "/p/y", NONE);
	struct stat st;
	fx_ok(c.r, &c.err, "42: times");
	fstatat(c.fd, "p/y/g", &st, 0);
	is_int(st.st_mtim.tv_sec, 1000000000, "a file keeps its time");
	fstatat(c.fd, "p", &st, 0);
	is_int(st.st_mtim.tv_sec, 1000000000,
	        "a made parent is as new as the newest source, not as the clock");
	fx_copy_end(&c);

	c = run1("dir/sub", "/y", (struct opts){.keep_owner = true, .immutable = true});
	struct stat a, b;
	fx_ok(c.r, &c.err, "COPY --from of a store layer");
	fstatat(src.fd, "dir/sub/g", &a, 0);
	fstatat(c.fd, "y/g", &b, 0);
	ok(a.st_ino == b.st_ino, "links the unchanged file");
	fx_copy_end(&c);
	c = run1("dir/sub", "/y", (struct opts){.immutable = true});
	fx_ok(c.r, &c.err, "with another owner");
	fstatat(c.fd, "y/g", &b, 0);
	ok(a.st_ino != b.st_ino && b.st_uid == 0, "copies it");
	fx_copy_end(&c);
	c = run1("dir/sub", "/y", (struct opts){.keep_owner = true});
	fx_ok(c.r, &c.err, "from a context");
	fstatat(c.fd, "y/g", &b, 0);
	ok(a.st_ino != b.st_ino, "a context file is never linked");
	fx_copy_end(&c);
}

static void test_changed(void)
{
	struct fx_layer s = {.fd = fx_dir("chg")};
	struct fx_copy c;
	fx_file(s.fd, "f", "before", 0644);
	fx_layer_scan(&s);
	fx_file(s.fd, "f", "after!", 0644); /* same size and time */
	fx_copy_begin(&c, NULL, "/f");
	fx_copy_add(&c, &s, "f");
	fx_copy_run(&c, NULL);
	fx_err(c.r, &c.err, ERR_INTEGRITY, "changed while being read", "B2: other bytes");
	fx_copy_end(&c);
	fx_file(s.fd, "f", "longer than before", 0644);
	fx_copy_begin(&c, NULL, "/f");
	fx_copy_add(&c, &s, "f");
	fx_copy_run(&c, NULL);
	fx_err(c.r, &c.err, ERR_INTEGRITY, "changed while being read", "B2: another size");
	fx_copy_end(&c);
	unlinkat(s.fd, "f", 0);
	ok(symlinkat("/etc/passwd", s.fd, "f") == 0, "a link takes the file's place");
	fx_copy_begin(&c, NULL, "/f");
	fx_copy_add(&c, &s, "f");
	fx_copy_run(&c, NULL);
	fx_err(c.r, &c.err, ERR_INTEGRITY, "changed while being read", "B8: is not followed");
	fx_copy_end(&c);
	unlinkat(s.fd, "f", 0);
	mknodat(s.fd, "f", S_IFIFO | 0644, 0);
	fx_copy_begin(&c, NULL, "/f");
	fx_copy_add(&c, &s, "f");
	fx_copy_run(&c, NULL);
	fx_err(c.r, &c.err, ERR_INTEGRITY, "changed while being read", "a fifo does not hang us");
	fx_copy_end(&c);
	fx_layer_release(&s);
}

static void test_unholdable(void)
{
	struct fx_copy c;
	fx_copy_begin(&c, &low, "/x/");
	fx_copy_add(&c, &src, "a")->name = ".wh.etc";
	fx_copy_run(&c, NULL);
	fx_err(c.r, &c.err, ERR_BUILD, "no layer can hold", "a .wh. name is refused");
	fx_copy_end(&c);
}

static void test_big(void)
{
	struct fx_layer s = {.fd = fx_dir("big")};
	struct fx_copy c;
	int fd = openat(s.fd, "sparse", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	ok(pwrite(fd, "end", 3, (5 << 20) + 1) == 3, "a sparse file of 5 MiB");
	close(fd);
	fx_layer_scan(&s);
	fx_copy_begin(&c, NULL, "/f");
	fx_copy_add(&c, &s, "sparse");
	fx_copy_run(&c, NULL);
	fx_ok(c.r, &c.err, "is copied");
	ok(c.t.n == 1 && c.t.entries[0].size == (5 << 20) + 4 &&
	                digest_eq(&c.t.entries[0].sha256, &s.t.entries[0].sha256),
	        "with size and digest");
	struct stat st;
	fstatat(c.fd, "f", &st, 0);
	ok(st.st_size == (5 << 20) + 4 && st.st_blocks < 2048, "and stays sparse");
	fx_copy_end(&c);
	fx_layer_release(&s);
}

int main(void)
{
	fx_begin();
	make_source();
	make_lower();
	test_files();
	test_dirs();
	test_links();
	test_owner();
	test_link_flag();
	test_several();
	test_inline();
	test_times_and_links();
	test_changed();
	test_unholdable();
	test_big();
	fx_layer_release(&src);
	fx_layer_release(&low);
	return fx_end();
}
