/* What a command gets and what comes back: output, exit codes, environment, working directory,
 * names, errors that say whose fault it is. */
#include "harness.h"

static void test_basics(void)
{
	is_str(h_sh("echo out; echo err >&2; pwd; cat; echo $0"), "out\nerr\n/\n/bin/sh\n",
	        "output, cwd, empty stdin");
	is_int(h_exit, 0, "exit code 0");
	is_str(h_upper_list(), "", "nothing is left in the upper directory");
	h_sh("exit 7");
	is_int(h_exit, 7, "exit code 7");
	h_sh("kill -9 $$; exit 3"); /* pid 1 cannot kill itself */
	is_int(h_exit, 3, "pid 1 is immune to its own signals");
	h_sh("sh -c 'kill -TERM $$'; exit $?");
	is_int(h_exit, 143, "a child's signal as the shell reports it");
	is_str(h_sh("echo $$; ls -d /proc/[0-9]*"), "1\n/proc/1\n", "pid 1, alone");
	is_str(h_sh("hostname; cat /etc/hosts"),
	        "buildkitsandbox\n127.0.0.1\tlocalhost buildkitsandbox\n"
	        "::1\tlocalhost ip6-localhost ip6-loopback buildkitsandbox\n",
	        "host name and hosts");
	is_str(h_sh("umask; ls /proc/self/fd | tr '\\n' ' '"), "0022\n0 1 2 3 ",
	        "umask; no stray descriptors (3 is ls's own)");
	is_str(h_sh("readlink /proc/self/fd/0"), "/dev/null\n", "stdin is /dev/null");
	is_str(h_sh("tty; cat /dev/tty"),
	        "not a tty\ncat: can't open '/dev/tty': No such device or address\n",
	        "no controlling terminal");
}

static void test_env(void)
{
	setenv("CANARY", "host", 1);
	struct sandbox_spec s = h_spec("env");
	strv_add(&h_env, "A=1");
	strv_add(&h_env, "CANARY"); /* without '=': never the host's value */
	strv_add(&h_env, "B=x y=z");
	ok(h_run(s) >= 0, "runs");
	/* busybox sh adds PWD, SHLVL; order is its own. */
	ok(h_has(h_out.buf, "A=1\n") && h_has(h_out.buf, "B=x y=z\n"), "given entries");
	ok(h_has(h_out.buf, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"),
	        "default PATH");
	ok(h_has(h_out.buf, "HOME=/root\n"), "HOME from passwd");
	ok(!strstr(h_out.buf, "CANARY") && !strstr(h_out.buf, "TERM"), "nothing of the host");
	ok(!strstr(h_sh("cat /proc/*/environ"), "CANARY"), "nor in any environ");
	unsetenv("CANARY");
	s = h_spec("echo $HOME $PATH; true");
	strv_add(&h_env, "HOME=/h");
	strv_add(&h_env, "PATH=/bin");
	ok(h_run(s) >= 0, "runs");
	is_str(h_out.buf, "/h /bin\n", "the image's own HOME and PATH");
}

static void test_command(void)
{
	struct sandbox_spec s = h_spec("");
	strv_release(&h_argv);
	strv_add(&h_argv, "no-such-command");
	is_int(h_run(s), -1, "unknown command");
	is_int(h_exit, 127, "127");
	is_int(h_err.class, ERR_BUILD, "class");
	is_str(h_err.msg, "exec: \"no-such-command\": executable file not found in $PATH",
	        "message");
	s = h_spec("");
	strv_release(&h_argv);
	strv_add(&h_argv, "/nowhere/x");
	ok(h_run(s) < 0 && h_exit == 127, "missing path");
	is_str(h_err.msg, "cannot run /nowhere/x: no such file in the image", "message");
	s = h_spec("");
	strv_release(&h_argv);
	strv_add(&h_argv, "/etc/passwd");
	ok(h_run(s) < 0 && h_exit == 126, "not executable");
	is_str(h_err.msg, "cannot run /etc/passwd: Permission denied", "message");
	h_put(h_layer, "bin/script", "#!/no/interpreter\n", 0755);
	h_put(h_layer, "bin/foreign", "\177ELF\2\1\1junk", 0755);
	s = h_spec("");
	strv_release(&h_argv);
	strv_add(&h_argv, "script");
	ok(h_run(s) < 0 && h_exit == 127, "missing interpreter");
	is_str(h_err.msg, "cannot run /bin/script: its interpreter is not in the image", "message");
	s = h_spec("");
	strv_release(&h_argv);
	strv_add(&h_argv, "foreign");
	ok(h_run(s) < 0 && h_exit == 126, "foreign format");
	is_str(h_err.msg, "cannot run /bin/foreign: exec format error", "message");
	s = h_spec("");
	strv_release(&h_argv);
	strv_add(&h_argv, "echo");
	strv_add(&h_argv, "found in PATH");
	ok(h_run(s) >= 0, "exec form");
	is_str(h_out.buf, "found in PATH\n", "searched in the image's PATH");
	s = h_spec("");
	strv_release(&h_argv);
	ok(h_run(s) < 0, "no command at all");
}

static void test_cwd(void)
{
	struct sandbox_spec s = h_spec("pwd");
	s.cwd = "/tmp";
	ok(h_run(s) >= 0, "cwd");
	is_str(h_out.buf, "/tmp\n", "is used");
	s = h_spec("pwd");
	s.cwd = "/made/here";
	ok(h_run(s) >= 0, "a missing one is made");
	is_str(h_out.buf, "/made/here\n", "and used");
	is_str(h_upper_list(), "made made/here ", "and in the layer");
	char path[32];
	int refused = 0, tried = 0;
	for (int n = 0; n < 64; n++, tried++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", n);
		s = h_spec("pwd; ls");
		s.cwd = path;
		refused += h_run(s) < 0 && h_err.class == ERR_BUILD;
	}
	is_int(refused, tried, "S1: no descriptor serves as working directory");
	s = h_spec("pwd");
	s.cwd = "/proc/1/root/etc";
	ok(h_run(s) < 0, "nor a magic link to a root");
	s = h_spec("pwd");
	s.cwd = "/etc/passwd";
	ok(h_run(s) < 0, "nor a file");
	is_str(h_err.msg, "cannot use working directory /etc/passwd: Not a directory", "message");
}

static void test_hosts(void)
{
	struct strv hosts = STRV_INIT, limits = STRV_INIT;
	strv_add(&hosts, "db:10.1.2.3");
	strv_add(&hosts, "six=::1");
	strv_add(&hosts, "seven:[fd00::7]");
	struct sandbox_spec s = h_spec("sed 1,2d /etc/hosts; hostname; ulimit -n; ulimit -c");
	strv_add(&limits, "nofile=100:200");
	strv_add(&limits, "core=0");
	s.extra_hosts = &hosts;
	s.ulimits = &limits;
	s.hostname = "box";
	ok(h_run(s) >= 0, "extra hosts, host name, limits");
	is_str(h_out.buf, "10.1.2.3\tdb\n::1\tsix\nfd00::7\tseven\nbox\n100\n0\n", "as asked");
	static const char *const bad[] = {
	        "x", "x:", ":1.2.3.4", "x:1.2.3", "a b:1.2.3.4", "x:1.2.3.4\n5.6.7.8 y"};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		strv_release(&hosts);
		strv_add(&hosts, bad[i]);
		s = h_spec("true");
		s.extra_hosts = &hosts;
		ok(h_run(s) < 0 && h_err.class == ERR_USAGE, "a bad extra host is refused");
	}
	static const char *const bad_limits[] = {"nofile", "nofile=", "nofile=x", "bogus=1",
	        "nofile=5:4", "nofile=99999999999999999999"};
	for (size_t i = 0; i < ARRAY_SIZE(bad_limits); i++) {
		strv_release(&limits);
		strv_add(&limits, bad_limits[i]);
		s = h_spec("true");
		s.ulimits = &limits;
		ok(h_run(s) < 0 && h_err.class == ERR_USAGE, "a bad limit is refused");
	}
	strv_release(&hosts);
	strv_release(&limits);
	s = h_spec("true");
	s.hostname = "this-name-is-longer-than-the-sixty-four-bytes-the-kernel-will-ever-take";
	ok(h_run(s) < 0, "a host name that is too long is refused");
}

static void test_tty(void)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0) {
		ok(1, "terminal # SKIP no pseudo-terminal to be had");
		return;
	}
	int slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	struct sandbox_spec s =
	        h_spec("tty; echo $TERM; echo hi > /dev/tty; read x; echo got $x; "
	               "trap 'echo INT; exit 9' INT; echo ready; while true; do sleep 0.1; done");
	s.tty = true;
	s.stdin_fd = s.stdout_fd = s.stderr_fd = slave;
	struct sandbox_process p;
	ok(sandbox_start(h_ctx, &s, &p, &h_err) >= 0, "a step on a terminal");
	close(slave);
	struct strbuf out = STRBUF_INIT;
	char buf[256];
	bool sent_line = false, sent_int = false;
	ssize_t n;
	while ((n = read(master, buf, sizeof(buf))) > 0) {
		strbuf_add(&out, buf, (size_t)n);
		if (!sent_line && strstr(out.buf, "hi")) {
			sent_line = write(master, "line\n", 5) == 5;
		} else if (!sent_int && strstr(out.buf, "ready")) {
			sent_int = write(master, "\003", 1) == 1;
		}
	}
	int code = -1;
	ok(sandbox_wait(&p, &code, &h_err) >= 0, "ends");
	is_int(code, 9, "Ctrl-C reaches it as SIGINT: the terminal is its controlling one");
	ok(h_has(out.buf, "/dev/console\r\nxterm\r\nhi\r\n"), "tty, TERM, /dev/tty");
	ok(h_has(out.buf, "got line"), "input");
	strbuf_release(&out);
	close(master);
}

static void test_memory_limit(void)
{
	struct sandbox_spec s = h_spec("true");
	s.memory_max = 64 << 20;
	int r = h_run(s);
	if (access("/sys/fs/cgroup/cgroup.controllers", F_OK) < 0) {
		ok(r < 0 && h_has(h_err.msg, "does not use cgroup v2 alone"),
		        "a limit without cgroup v2: clear error");
		ok(h_err.hint != NULL, "and a cure");
	} else {
		ok(r >= 0 || h_err.hint, "a limit works, or says what is missing");
	}
}

static void tests(void)
{
	test_basics();
	test_env();
	test_command();
	test_cwd();
	test_hosts();
	test_tty();
	test_memory_limit();
}

int main(int argc, char **argv)
{
	return harness_main(argc, argv, tests);
}
