/* Users, modes and working directories. */
#include "copy_fixture.h"

static struct fx_layer low;
static const struct tree *trees[1];
static struct treeview view;

static void user(const char *spec, unsigned uid, unsigned gid)
{
	struct error err = ERROR_INIT;
	uint32_t u = 9999, g = 9999;
	fx_ok(layer_lookup_user(spec, &view, &low.fd, &u, &g, &err), &err, spec);
	ok(u == uid && g == gid, "its ids");
}

static void no_user(const char *spec, const char *part)
{
	struct error err = ERROR_INIT;
	uint32_t u = 9999, g = 9999;
	fx_err(layer_lookup_user(spec, &view, &low.fd, &u, &g, &err), &err, ERR_BUILD, part, spec);
	is_int(u, 9999, "nothing is given on failure");
}

static void test_users(void)
{
	user("root", 0, 0);
	user("web", 101, 102);
	user("web:staff", 101, 50);
	user("web:7", 101, 7);
	user("web:", 101, 102);
	user("1000", 1000, 1000);
	user("0:staff", 0, 50);
	user("2147483647", 2147483647u, 2147483647u);
	/* S10 */
	no_user("4294967296", "not between");
	no_user("2147483648", "not between");
	no_user("99999999999999999999", "not between");
	no_user("-1", "no user \"-1\"");
	no_user("0x0", "no user \"0x0\"");
	no_user("", "no user");
	no_user("nobody", "no user \"nobody\"");
	no_user("web:none", "no group \"none\"");
	no_user("a:b:c", "user:group");
	no_user("broken", "not valid");
	no_user("big", "not valid");
	no_user("we", "no user");
}

static void test_bad_files(void)
{
	struct error err = ERROR_INIT;
	uint32_t u, g;
	struct fx_layer l = {.fd = fx_dir("bad")};
	mkdirat(l.fd, "etc", 0755);
	int fd = openat(l.fd, "etc/passwd", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	ok(ftruncate(fd, 11 << 20) == 0, "a passwd of 11 MiB");
	close(fd);
	mknodat(l.fd, "etc/group", S_IFIFO | 0644, 0);
	fx_layer_scan(&l);
	const struct tree *t[1] = {&l.t};
	struct treeview v = {t, 1};
	fx_err(layer_lookup_user("x", &v, &l.fd, &u, &g, &err), &err, ERR_BUILD, "10 MiB",
	        "S11: a huge passwd");
	fx_err(layer_lookup_user("1:x", &v, &l.fd, &u, &g, &err), &err, ERR_BUILD, "regular",
	        "S11: a fifo");
	fx_err(layer_lookup_user("x", NULL, NULL, &u, &g, &err), &err, ERR_BUILD, "missing",
	        "no rootfs");
	fx_layer_release(&l);
}

static void mode(const char *spec, unsigned from, bool dir, unsigned want)
{
	struct error err = ERROR_INIT;
	uint32_t m = 0;
	fx_ok(layer_parse_chmod(spec, from, dir, &m, &err), &err, spec);
	is_int(m, want, "is the mode expected");
}

static void test_modes(void)
{
	struct error err = ERROR_INIT;
	uint32_t m = 1;
	mode("0755", 0, false, 0755);
	mode("7777", 0, false, 07777);
	mode("0", 0644, false, 0);
	mode("u=rwX,go=rX", 0600, false, 0644);
	mode("u=rwX,go=rX", 0700, false, 0755);
	mode("u=rwX,go=rX", 0600, true, 0755);
	mode("+x", 0644, false, 0755);
	mode("a-w", 0666, false, 0444);
	mode("u+s,g+s,+t", 0755, false, 07755);
	mode("u=", 0755, false, 0055);
	mode("go=u", 0740, false, 0777);
	mode("u+x-w", 0600, false, 0500);
	mode("g=u-w", 0600, false, 0640);
	static const char *const bad[] = {
	        "", "0788", "77777", "u", "u+q", "u=rw,", ",u=r", "08", "rwx", "u=rw go=r"};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		fx_err(layer_parse_chmod(bad[i], 0, false, &m, &err), &err, ERR_BUILD,
		        "not a file mode", bad[i]);
}

static void workdir(const char *path, const char *who, const char *want, const char *what)
{
	static int n;
	char name[32];
	snprintf(name, sizeof(name), "wd%d", n++);
	int fd = fx_dir(name);
	struct tree t = TREE_INIT;
	struct error err = ERROR_INIT;
	fx_ok(layer_workdir(path, who, NULL, &view, &low.fd, false, fd, &t, &err), &err, what);
	is_tree(&t, want, what);
	is_list(fd, want, what);
	tree_release(&t);
	close(fd);
}

static void test_workdirs(void)
{
	struct tree t = TREE_INIT;
	struct error err = ERROR_INIT;
	workdir("/app", "", "app d 0755 0:0\n", "62: made 0755");
	workdir("/app/x/", "web", "app d 0755 101:102\napp/x d 0755 101:102\n",
	        "62: owned by USER, parents too");
	workdir("/etc", "web", "", "62: an existing one is left alone");
	workdir("/link/n", "", "etc d 0755 0:0\netc/n d 0755 0:0\n", "S14: through a link, inside");
	workdir("/", "", "", "the root");
	int fd = fx_dir("wdx");
	fx_err(layer_workdir("/etc/passwd", "", NULL, &view, &low.fd, false, fd, &t, &err), &err,
	        ERR_BUILD, "not a directory", "a file");
	fx_err(layer_workdir("/x", "ghost", NULL, &view, &low.fd, false, fd, &t, &err), &err,
	        ERR_BUILD, "no user", "an unknown user");
	close(fd);
}

int main(void)
{
	fx_begin();
	low.fd = fx_dir("low");
	mkdirat(low.fd, "etc", 0755);
	fx_file(low.fd, "etc/real",
	        "root:x:0:0:root:/:/bin/sh\nbroken:x\nbig:x:4294967296:0::/:\nweb:x:101:102::/:\n",
	        0644);
	ok(symlinkat("../../../etc/real", low.fd, "etc/passwd") == 0, "passwd is a climbing link");
	fx_file(low.fd, "etc/group", "root:x:0:\nstaff:x:50:\n", 0644);
	ok(symlinkat("/etc", low.fd, "link") == 0, "a link to a directory");
	fx_layer_scan(&low);
	trees[0] = &low.t;
	view = (struct treeview){trees, 1};
	test_users();
	test_bad_files();
	test_modes();
	test_workdirs();
	fx_layer_release(&low);
	return fx_end();
}
