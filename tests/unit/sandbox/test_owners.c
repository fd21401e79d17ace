/* Owners: what a step of any mode shows of chown, set-id and new files. With a single id the
 * supervisor must tell the same story as a kernel with many. */
#include "harness.h"

#include "sys/owner.h"
#include "sys/owner_table.h"

static struct sandbox_spec as(const char *user, const char *script)
{
	struct sandbox_spec s = h_spec(script);
	s.user = user;
	return s;
}

static void says(struct sandbox_spec s, const char *want, const char *what)
{
	if (h_run(s) < 0)
		printf("# error: %s\n", h_err.msg);
	is_str(h_out.buf, want, what);
}

static void test_chown(void)
{
	says(h_spec("cd /tmp; echo 1 > f; mkdir d; ln -s f l; mkfifo p; chown 7:8 f; chown -h 9:10 "
	            "l;"
	            "chown 11:12 d p; stat -c %n,%u:%g f d l p; stat -L -c %n,%u:%g l;"
	            "chown :5 f; chown 6 d; stat -c %n,%u:%g f d"),
	        "f,7:8\nd,11:12\nl,9:10\np,11:12\nl,7:8\nf,7:5\nd,6:12\n", "chown and stat");
	says(h_spec("cd /tmp; echo 1 > f; chmod 6755 f; chown 7 f; stat -c %a f; mv f g; ln g h;"
	            "stat -c %u:%g g h; cp -p g i; stat -c %u:%g i; cp g j; stat -c %u:%g j"),
	        "755\n7:0\n7:0\n7:0\n0:0\n", "set-id bits go; rename and link keep, cp does not");
	says(h_spec("mkdir -p /tmp/a; cd /tmp/a; ln -s x l; chown -h 3:4 l; mv l m; cd ..;"
	            "stat -c %u:%g a/m ./a/../a/m /tmp/a/m; cd a; stat -c %u:%g m"),
	        "3:4\n3:4\n3:4\n3:4\n", "a link that moved, by any path");
	says(h_spec("chown 5 /nowhere 2>&1; chown 5 /tmp/ && stat -c %u /tmp; chown 5 /dev/null;"
	            "echo $?; (cd /tmp && stat -c %u .)"),
	        h_mode != SYS_PRIV_ROOT ? "chown: /nowhere: No such file or directory\n5\nchown: "
	                                  "/dev/null: Operation "
	                                  "not permitted\n1\n5\n"
	                                : "chown: /nowhere: No such file or directory\n5\n0\n5\n",
	        "missing files and directories");
}

static void test_users(void)
{
	says(as("user", "id -u; id -g; id -G; cd /tmp; umask 027; echo 1 > f; mkdir d; ln -s f l;"
	                "mkfifo p; stat -c %n,%u:%g,%a f d l p; chown 0 f 2>&1; chown :2001 f;"
	                "stat -c %u:%g f"),
	        "1000\n1001\n1001 2000 2001\nf,1000:1001,640\nd,1000:1001,750\nl,1000:1001,777\n"
	        "p,1000:1001,640\nchown: f: Operation not permitted\n1000:2001\n",
	        "what a user makes is the user's");
	says(as("user",
	             "cd /tmp; echo a > f; echo b >> f; (set -C; echo c > f) 2>/dev/null; cat f;"
	             "stat -c %u f; i=0; while [ $i -lt 50 ]; do echo $i > n$i; i=$((i+1)); done;"
	             "ls | wc -l; cat n49"),
	        "a\nb\n1000\n51\n49\n", "opening what exists");
	h_put(h_layer, "etc/sgid", "", 0644);
	says(h_spec("mkdir /srv; chown 1000:44 /srv; chmod 2775 /srv; stat -c %u:%g:%a /srv"),
	        "1000:44:2775\n", "a set-group-id directory");
	says(as("user", "mkdir /tmp/s; chown :2001 /tmp/s; chmod 2770 /tmp/s; echo 1 > /tmp/s/f;"
	                "mkdir /tmp/s/d; stat -c %g:%a /tmp/s /tmp/s/f /tmp/s/d"),
	        "2001:2770\n2001:644\n2001:2755\n", "its group is inherited");
}

static void test_setid_program(void)
{
	/* busybox drops what it gains; the probe does not */
	says(h_spec("cp /bin/probe /tmp/who; chown 1000:2000 /tmp/who; chmod 6755 /tmp/who;"
	            "/tmp/who ids; probe ids; probe drop 55 66; id -u"),
	        "0 1000 1000 0 2000 2000\n0 0 0 0 0 0\n55 55 55 66 66 66 back:EPERM\n0\n",
	        "programs with set-id bits, and dropping for good");
	says(as("user", "probe ids; (probe ids); probe thread-ids"),
	        "1000 1000 1000 1001 1001 1001\n1000 1000 1000 1001 1001 1001\n1000 1000\n",
	        "children and threads are who their parents are");
}

/* The record is nobody's business. */
static void test_hidden(void)
{
	says(h_spec("cd /tmp; echo 1 > f; chown 3:4 f; probe xattrs f; echo 1 > g; probe xattrs g"),
	        "f: 0\ng: 0\n", "no attribute shows");
	says(h_spec("ulimit -x 5 2>/dev/null; id -u; probe limit; stat -c %u /tmp"), "0\n0\n0\n",
	        "the limit that holds the identity cannot be changed");
}

static void test_forged(void)
{
	/* Elsewhere it is a name like any other. */
	if (h_mode == SYS_PRIV_SINGLE)
		says(h_spec("cd /tmp; echo 1 > f; chown 3:4 f; probe record f; stat -c %u:%g f"),
		        "set EPERM\nfset EPERM\nget ENODATA\nfget ENODATA\nremove ENODATA\n"
		        "other ok\nget-other ok\nremove-other ok\n3:4\n",
		        "the record is neither forged nor read nor removed");
	says(h_spec("cd /tmp; ln -s a l; chown -h 3:4 l; mkfifo p; chown 5:6 p; rm l p;"
	            "for i in 1 2 3; do ln -s b m$i; mkfifo q$i; done; stat -c %u:%g m? q? | sort "
	            "-u"),
	        "0:0\n", "an inode that had an owner is root's when root makes it anew");
}

static void test_other_ways(void)
{
	says(as("user", "cd /tmp; umask 027; probe bind s; stat -c %u:%g:%a s; probe bind /tmp/t;"
	                "stat -c %u:%g:%F t"),
	        "bind ok\nagain EADDRINUSE\nname ok\ns\nabstract ok\n1000:1001:750\n"
	        "bind ok\nagain EADDRINUSE\nname ok\n/tmp/t\nabstract ok\n1000:1001:socket\n",
	        "a socket is its user's");
	says(as("user", "cd /tmp; mkdir d; umask 027; probe rules d/f; stat -c %u:%g:%a:%s d/f;"
	                "chmod 2755 d; chown :2000 d; probe rules d/g >/dev/null; stat -c %g d/g"),
	        "open ok\nwrite ok\nexists ok\nabove EXDEV\n1000:1001:640:1\n2000\n",
	        "openat2 with rules for the way");
	says(h_spec("mkdir /tmp/g; chown 7:8 /tmp/g; chmod 2775 /tmp/g; cd /tmp/g; echo 1 > f;"
	            "mkdir d; ln -s f l; mkfifo p; probe bind s >/dev/null; probe rules r "
	            ">/dev/null;"
	            "echo 1 > d/e; stat -c %n,%u:%g f d l p s r d/e; echo 2 >> f; cat f"),
	        "f,0:8\nd,0:8\nl,0:8\np,0:8\ns,0:8\nr,0:8\nd/e,0:8\n1\n2\n",
	        "root's files have the group of a set-group-id directory at once");
}

static void test_record(void)
{
	struct sys_owner o = {9, 9};
	ok(sys_owner_parse("12:4294967295", 13, &o) && o.uid == 12 && o.gid == UINT32_MAX, "parse");
	ok(!sys_owner_parse("12:4294967296", 13, &o) && !sys_owner_parse("1:", 2, &o) &&
	                !sys_owner_parse(":1", 2, &o) && !sys_owner_parse("1:2x", 4, &o) &&
	                !sys_owner_parse("-1:2", 4, &o) && !sys_owner_parse("", 0, &o) &&
	                o.uid == 12,
	        "anything else is refused");
	char text[SYS_OWNER_TEXT_MAX];
	is_int(sys_owner_format(text, (struct sys_owner){UINT32_MAX, UINT32_MAX}), 21, "longest");
	int log = owner_log_new();
	ok(log >= 0, "a log");
	for (uint32_t i = 0; i < 1000; i++)
		if (owner_log_append(log, i % 2 ? OWNER_UPPER : OWNER_MERGED, i / 2, i, 1) < 0)
			abort();
	ok(owner_log_append(log, OWNER_UPPER, 7, 77, 78) >= 0, "one again");
	_cleanup_(owner_table_release) struct owner_table t = {0};
	ok(owner_log_load(log, OWNER_UPPER, &t) >= 0, "read back");
	is_int((long)t.n, 500, "one kind only");
	const struct owner_record *r = owner_table_find(&t, OWNER_UPPER, 7);
	ok(r && r->uid == 77 && r->gid == 78, "the last record counts");
	ok(!owner_table_find(&t, OWNER_MERGED, 7) && !owner_table_find(&t, OWNER_UPPER, 500),
	        "no others");
	close(log);
}

static void tests(void)
{
	const char *path = getenv("STRAKE_PROBE");
	int bin = h_mkdir(h_layer, "bin");
	int src = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	int dst = openat(bin, "probe", O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
	while (src >= 0 && copy_file_range(src, NULL, dst, NULL, 1 << 24, 0) > 0)
		;
	close(src);
	close(dst);
	if (linkat(bin, "busybox", bin, "mkfifo", 0) < 0 ||
	        linkat(bin, "busybox", bin, "cp", 0) < 0)
		abort();
	close(bin);
	test_record();
	test_chown();
	test_users();
	test_setid_program();
	test_hidden();
	test_forged();
	test_other_ways();
}

int main(int argc, char **argv)
{
	return harness_main(argc, argv, tests);
}
