/* Modes, id maps and the errors that name a cure. Root-only parts drop to the user strake-ci in a
 * child; without that user they are skipped. */
#include "../tap.h"
#include "sys/path.h"
#include "sys/privilege.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_subid(void)
{
	struct sys_idrange r[4];
	const char *text = "bob:100000:65536\n"
	                   "alice:200000:1000\n"
	                   "1000:300000:10\n"
	                   "alice:-5:10\n"
	                   "alice:1:\n"
	                   "alice:4294967295:10\n"
	                   "alice:400000:5:junk\n"
	                   "alicex:1:1\n"
	                   "alice:500000:7 ";
	is_int(sys_subid_parse(text, "alice", 1000, r, 4, 1), 3, "by name and by number");
	ok(r[0].inside == 1 && r[0].outside == 200000 && r[0].count == 1000, "first");
	ok(r[1].inside == 1001 && r[1].outside == 300000 && r[1].count == 10, "end to end");
	ok(r[2].inside == 1011 && r[2].outside == 500000 && r[2].count == 7, "without a newline");
	is_int(sys_subid_parse(text, "alice", 1000, r, 1, 1), 1, "cap");
	is_int(sys_subid_parse(text, "carol", 7, r, 4, 1), 0, "nobody's");
	is_int(sys_subid_parse("", NULL, 0, r, 4, 1), 0, "empty");
	is_int(sys_subid_parse("alice", "alice", 0, r, 4, 1), 0, "no fields");
}

/* in_child - runs fn as uid/gid (or as we are) and gives its exit code. */
static int in_child(int (*fn)(void), const struct passwd *pw)
{
	pid_t pid = fork();
	if (pid == 0) {
		if (pw && (setgroups(0, NULL) < 0 ||
		                  setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 ||
		                  setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0))
			_exit(100);
		/* A change of ids hides /proc/self from its own user; a login shell is not so. */
		prctl(PR_SET_DUMPABLE, 1);
		_exit(fn());
	}
	int status;
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 200;
}

static ino_t mnt_ns(void)
{
	struct stat st;
	return stat("/proc/self/ns/mnt", &st) < 0 ? 0 : st.st_ino;
}

static int enter_best(enum sys_privilege want)
{
	struct error err = ERROR_INIT;
	struct sys_privilege_info i;
	ino_t before = mnt_ns();
	if (sys_privilege_probe(&i, &err) < 0)
		return 1;
	if (i.mode != want) {
		dprintf(1, "# mode %d: %s\n", i.mode, i.why);
		return 2;
	}
	if (sys_privilege_enter(&i, &err) < 0) {
		dprintf(1, "# %s\n", err.msg);
		return 3;
	}
	if (!sys_privilege_entered() || geteuid() != 0 || getegid() != 0)
		return 4;
	if (mnt_ns() == before)
		return 5;
	if (sys_privilege_enter(&i, &err) < 0)
		return 6; /* a second call does nothing */
	sys_privilege_info_release(&i);
	return 0;
}

static int enter_root(void)
{
	unsetenv("STRAKE_PRIVILEGE");
	return enter_best(SYS_PRIV_ROOT);
}

static int enter_subid(void)
{
	unsetenv("STRAKE_PRIVILEGE");
	int r = enter_best(SYS_PRIV_SUBID);
	if (r)
		return r;
	/* Ownership by a mapped id works. */
	char dir[] = "/tmp/strake-priv-XXXXXX";
	if (!mkdtemp(dir))
		return 20;
	r = chown(dir, 999, 998) == 0 ? 0 : 21;
	struct stat st;
	if (!r && (stat(dir, &st) < 0 || st.st_uid != 999 || st.st_gid != 998))
		r = 22;
	rmdir(dir);
	return r;
}

static int enter_single(void)
{
	setenv("STRAKE_PRIVILEGE", "single", 1);
	return enter_best(SYS_PRIV_SINGLE);
}

static int forced_root(void)
{
	setenv("STRAKE_PRIVILEGE", "root", 1);
	struct error err = ERROR_INIT;
	struct sys_privilege_info i;
	if (sys_privilege_probe(&i, &err) < 0 || i.mode != SYS_PRIV_NONE || !i.cure)
		return 1;
	if (sys_privilege_enter(&i, &err) >= 0 || err.class != ERR_SYSTEM || !err.hint)
		return 2;
	error_release(&err);
	sys_privilege_info_release(&i);
	return 0;
}

static int no_subid_entry(void)
{
	unsetenv("STRAKE_PRIVILEGE");
	struct error err = ERROR_INIT;
	struct sys_privilege_info i;
	if (sys_privilege_probe(&i, &err) < 0 || i.mode != SYS_PRIV_SINGLE)
		return 1;
	if (strcmp(i.why, "/etc/subuid has no entry for user 54321") != 0 ||
	        !strstr(i.cure, "usermod --add-subuids"))
		return 2;
	sys_privilege_info_release(&i);
	return 0;
}

static void test_find(void)
{
	char *p = sys_find_program("sh");
	ok(p && p[0] == '/', "finds sh");
	free(p);
	ok(sys_find_program("no-such-program-here") == NULL, "absent");
	setenv("PATH", "relative:.:/nowhere", 1);
	p = sys_find_program("sh");
	ok(p == NULL, "relative entries are passed over");
	free(p);
	setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
}

int main(void)
{
	test_subid();
	test_find();
	ok(sys_kernel_at_least(3, 0) && !sys_kernel_at_least(999, 0), "kernel version");
	setenv("STRAKE_PRIVILEGE", "nonsense", 1);
	struct sys_privilege_info i;
	struct error err = ERROR_INIT;
	ok(sys_privilege_probe(&i, &err) < 0 && err.class == ERR_USAGE, "unknown mode is refused");
	error_release(&err);
	unsetenv("STRAKE_PRIVILEGE");
	struct sys_features f;
	sys_features_probe(&f);
	ok(f.openat2, "openat2 is found");
	if (geteuid() != 0) {
		ok(1, "as root # SKIP not root");
		return tap_done();
	}
	struct passwd *pw = getpwnam("strake-ci");
	is_int(in_child(enter_root, NULL), 0, "root mode");
	struct passwd nobody = {.pw_uid = 54321, .pw_gid = 54321};
	is_int(in_child(no_subid_entry, &nobody), 0, "no subuid entry: single, why and cure");
	is_int(in_child(forced_root, &nobody), 0, "forced root as a user: refused with a cure");
	if (!pw)
		ok(1, "as an ordinary user # SKIP no user strake-ci");
	else {
		is_int(in_child(enter_subid, pw), 0, "subid mode");
		is_int(in_child(enter_single, pw), 0, "single mode");
	}
	return tap_done();
}
