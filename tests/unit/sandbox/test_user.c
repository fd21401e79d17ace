/* USER: the text of passwd and group is hostile, numbers are strict, groups are the image's. */
#include "harness.h"
#include "sandbox/user.h"

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
                             "broken:x\n"
                             "zero:x:4294967296:0::/:\n"
                             "4294967296:x:0:0::/:\n"
                             "neg:x:-1:-1::/:\n"
                             "hex:x:0x0:0::/:\n"
                             "empty:x:::::\n"
                             "app:x:1000:1001::/home/app:/bin/sh\n"
                             "app:x:0:0::/root:/bin/sh\n"
                             "77:x:5:5::/five:\n"
                             "nohome:x:1002:1002:::\n"
                             "short:x:1003:1003";
static const char group[] = "root:x:0:\n"
                            "bad:x:4294967296:app\n"
                            "one:x:2000:app,other\n"
                            "app:x:1001:\n"
                            "two:x:2001:other,app\n"
                            "apple:x:2002:apple\n";

static struct sandbox_user u;
static struct error err;

static bool look(const char *text)
{
	sandbox_user_release(&u);
	error_release(&err);
	return sandbox_user_lookup(passwd, group, text, &u, &err) >= 0;
}

static void test_lookup(void)
{
	ok(look("") && u.uid == 0 && u.gid == 0 && str_eq(u.home, "/root"), "default: root");
	ok(look("app") && u.uid == 1000 && u.gid == 1001, "by name, the first entry wins");
	ok(u.n_groups == 3 && u.groups[0] == 1001 && u.groups[1] == 2000 && u.groups[2] == 2001,
	        "its groups");
	is_str(u.home, "/home/app", "its home");
	ok(look("1000") && u.uid == 1000 && u.gid == 1001 && u.n_groups == 3,
	        "by number: the same");
	ok(look("1000:1000") && u.gid == 1000 && u.n_groups == 1 && u.groups[0] == 1000,
	        "with a group only that one");
	ok(look("app:two") && u.gid == 2001 && u.n_groups == 1 && u.groups[0] == 2001,
	        "group by name");
	ok(look("4242") && u.uid == 4242 && u.gid == 0 && str_eq(u.home, "/"), "an unknown number");
	ok(look("77") && u.uid == 5, "a user whose name is a number");
	ok(look("nohome") && str_eq(u.home, "/"), "no home");
	ok(look("short") && u.uid == 1003 && str_eq(u.home, "/"), "no more fields than ids");
	ok(look("2147483647") && u.uid == 2147483647u, "the largest id");
	static const char *const refused[] = {"2147483648", "4294967296", "99999999999999999999",
	        "-1", "0x0", "hex", "neg", "zero", "empty", "broken", "nobody", "app:nogroup",
	        "app:-1", "0:4294967296", "bad:bad", ":0", " 0", "+0", "app:bad"};
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
		if (!ok(!look(refused[i]) && err.class == ERR_BUILD, "S10: refused"))
			printf("#   %s gave %u:%u\n", refused[i], u.uid, u.gid);
	look("nobody");
	is_str(err.msg, "unable to find user nobody: no matching entry in the image's /etc/passwd",
	        "message");
	ok(err.hint != NULL, "and a cure");
	ok(sandbox_user_lookup(NULL, NULL, "", &u, &err) >= 0 && u.uid == 0,
	        "no files at all: root");
	sandbox_user_release(&u);
	error_release(&err);
}

static int with_etc(const char *user)
{
	struct sandbox_spec s = h_spec("id");
	s.user = user;
	return h_run(s);
}

static void test_files(void)
{
	/* S11 */
	int etc = h_mkdir(h_layer, "etc");
	unlinkat(etc, "passwd", 0);
	ok(mkfifoat(etc, "passwd", 0644) == 0, "set up");
	ok(with_etc("user") < 0 &&
	                h_has(h_err.msg, "the image's /etc/passwd is not a regular file"),
	        "FIFO");
	unlinkat(etc, "passwd", 0);
	ok(symlinkat("/dev/zero", etc, "passwd") == 0, "set up");
	ok(with_etc("user") < 0 && h_has(h_err.msg, "is not a regular file"), "link to a device");
	unlinkat(etc, "passwd", 0);
	int fd = openat(etc, "passwd", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	ok(ftruncate(fd, 10LL << 30) == 0, "set up");
	close(fd);
	ok(with_etc("user") < 0 && h_has(h_err.msg, "larger than 10 MiB"), "10 GiB, sparse");
	unlinkat(etc, "passwd", 0);
	ok(symlinkat("../../../../../../../../etc/passwd", etc, "passwd") == 0, "set up");
	ok(with_etc("strake-ci") < 0, "a link upwards ends at the root: no user of the host");
	unlinkat(etc, "passwd", 0);
	h_put(etc, "passwd",
	        "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1001::/home/user:/bin/sh\n", 0644);
	close(etc);
}

static void test_inside(void)
{
	struct sandbox_spec s = h_spec("id; echo $HOME");
	s.user = "user";
	ok(h_run(s) >= 0, "as a user");
	is_str(h_out.buf,
	        "uid=1000(user) gid=1001(users) "
	        "groups=1001(users),2000(extra),2001(other)\n/home/user\n",
	        "S9: ids, groups, home");
	s = h_spec("id -G; echo $HOME");
	s.user = "1234:2345";
	ok(h_run(s) >= 0, "as numbers");
	is_str(h_out.buf, "2345\n/\n", "that group alone");
	is_str(h_sh("id -u; id -G"), "0\n0 2000\n", "root and the groups the image gives it");
	s = h_spec("grep -E 'Cap(Inh|Prm|Eff|Amb)' /proc/self/status");
	s.user = "user";
	ok(h_run(s) >= 0, "as a user");
	/* With one id the kernel knows no other user: the step's root rights stay. */
	is_str(h_out.buf,
	        h_mode == SYS_PRIV_SINGLE
	                ? "CapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\n"
	                  "CapEff:\t00000000a80425fb\nCapAmb:\t0000000000000000\n"
	                : "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\n"
	                  "CapEff:\t0000000000000000\nCapAmb:\t0000000000000000\n",
	        "no capability in force");
	s = h_spec("true");
	s.user = "4294967296";
	ok(h_run(s) < 0 && h_err.class == ERR_BUILD, "S10: refused");
	s = h_spec("true");
	s.user = "ghost";
	ok(h_run(s) < 0, "unknown");
	is_str(h_err.msg, "unable to find user ghost: no matching entry in the image's /etc/passwd",
	        "message");
}

static void tests(void)
{
	test_lookup();
	test_inside();
	test_files();
}

int main(int argc, char **argv)
{
	return harness_main(argc, argv, tests);
}
