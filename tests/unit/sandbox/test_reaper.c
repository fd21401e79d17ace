/* Who clears away what outlives a build: made-up /proc directories. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandbox/reaper.h"
#include "sys/path.h"
#include "../tap.h"

static int proc;
static double uptime = 1000;

static void put(const char *path, const char *text)
{
	_cleanup_close_ int fd = openat(proc, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || sys_write_all(fd, text, strlen(text)) < 0)
		abort();
}

static void put_init(const char *blocked, const char *ignored, const char *caught)
{
	char text[256];
	snprintf(text, sizeof(text),
	        "Name:\tx\nSigBlk:\t%s\nSigIgn:\t%s\nSigCgt:\t%s\nCapInh:\t0\n", blocked, ignored,
	        caught);
	put("1/status", text);
}

/* A process that started `age` seconds ago. */
static void put_child(const char *pid, const char *name, char state, double age)
{
	char text[256], path[32];
	snprintf(text, sizeof(text), "%s (%s) %c 1 7 7 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 %.0f 0 0\n",
	        pid, name, state, (uptime - age) * (double)sysconf(_SC_CLK_TCK));
	mkdirat(proc, pid, 0755);
	snprintf(path, sizeof(path), "%s/stat", pid);
	put(path, text);
}

static bool reaped(void)
{
	return orphans_are_reaped(proc, "strake-sandbox");
}

#define NONE "0000000000000000"
#define CHLD "0000000000010000"

int main(void)
{
	char dir[] = "/tmp/strake-reaper-XXXXXX";
	if (!mkdtemp(dir) || (proc = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return 1;
	ok(!reaped(), "nothing to see: no");
	mkdirat(proc, "1", 0755);
	mkdirat(proc, "1/task", 0755);
	mkdirat(proc, "1/task/1", 0755);
	put_init(CHLD, NONE, NONE);
	ok(reaped(), "an init that waits for the signal (systemd)");
	put_init(NONE, CHLD, NONE);
	ok(reaped(), "one that ignores its dead: the kernel does it");
	put_init(NONE, NONE, "0000000180014a07");
	ok(reaped(), "one with a handler (bash, tini)");
	put_init("fffffffffffeffff", NONE, NONE);
	ok(!reaped(), "one that heeds all other signals, and nothing known of its children");
	put("uptime", "1000.00 2.0\n");
	put("1/task/1/children", "");
	ok(reaped(), "no child: nothing was left so far");
	put("1/task/1/children", "20 30 40 ");
	put_child("20", "sleep", 'S', 900);
	put_child("30", "strake-sandbox", 'Z', 5);
	ok(reaped(), "a dead one of ours, just now; 40 is gone");
	put_child("40", "strake-sandbox", 'S', 900);
	ok(reaped(), "a living one");
	put_child("40", "other (Z) x", 'Z', 900);
	ok(reaped(), "somebody else's dead");
	put_child("40", "strake-sandbox", 'Z', 900);
	ok(!reaped(), "one of ours, dead for long: nobody collects");
	put("40/stat", "40 (strake-sandbox) Z 1");
	ok(reaped(), "cut short");
	close(proc);
	_cleanup_close_ int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	is_int(sys_remove_tree(tmp, dir + strlen("/tmp/")), 0, "clean up");
	return tap_done();
}
