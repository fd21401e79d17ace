/* Locks exclude, share, die with their holder, and survive removal of the lock file. */
#include "../tap.h"
#include "sys/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
	char dir[] = "/tmp/strake-lock-XXXXXX";
	if (!mkdtemp(dir))
		return 1;
	int d = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int a = sys_lock_file(d, "l", true, false);
	ok(a >= 0, "exclusive");
	is_int(sys_lock_file(d, "l", true, false), -EWOULDBLOCK, "second is refused");
	is_int(sys_lock_file(d, "l", false, false), -EWOULDBLOCK, "shared is refused");
	close(a);
	a = sys_lock_file(d, "l", false, false);
	int b = sys_lock_file(d, "l", false, false);
	ok(a >= 0 && b >= 0, "two shared");
	is_int(sys_lock_fd(a, true, false), -EWOULDBLOCK, "no upgrade while shared");
	close(b);
	is_int(sys_lock_fd(a, true, false), 0, "upgrade");
	close(a);
	int p[2];
	if (pipe(p) < 0)
		return 1;
	pid_t pid = fork();
	if (pid == 0) {
		int fd = sys_lock_file(d, "l", true, true);
		ssize_t w = write(p[1], "x", 1);
		(void)w;
		(void)fd;
		pause();
		_exit(0);
	}
	char c;
	ok(read(p[0], &c, 1) == 1, "child has it");
	is_int(sys_lock_file(d, "l", true, false), -EWOULDBLOCK, "held by the child");
	kill(pid, SIGKILL);
	a = sys_lock_file(d, "l", true, true);
	ok(a >= 0, "a killed holder lets go");
	waitpid(pid, NULL, 0);
	pid = fork();
	if (pid == 0) {
		/* Waits for the lock on an inode that is removed meanwhile. */
		close(a);
		int fd = sys_lock_file(d, "l", true, true);
		_exit(fd >= 0 && faccessat(d, "l", F_OK, 0) == 0 ? 0 : 1);
	}
	usleep(50000);
	unlinkat(d, "l", 0);
	close(a);
	int status;
	waitpid(pid, &status, 0);
	is_int(status, 0, "the waiter holds a lock that others see");
	is_int(sys_lock_file(-1, "nowhere", true, false), -EBADF, "bad directory");
	unlinkat(d, "l", 0);
	close(d);
	rmdir(dir);
	return tap_done();
}
