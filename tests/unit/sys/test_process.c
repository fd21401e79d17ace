/* Children get exactly the descriptors, environment and signals they were given. */
#include "../tap.h"
#include "sys/path.h"
#include "sys/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static char *run_sh(const char *script, const struct sys_spawn *base, int *ret, struct error *err)
{
	const char *argv[] = {"sh", "-c", script, NULL};
	struct sys_spawn s = *base;
	s.path = "/bin/sh";
	s.argv = argv;
	char *out = NULL;
	size_t n;
	*ret = sys_run_program(&s, 65536, 20000, &out, &n, err);
	return out;
}

int main(void)
{
	struct sys_spawn base = {.stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .cwd_fd = -1};
	_cleanup_error_ struct error err = ERROR_INIT;
	int r, leak = open("/", O_RDONLY | O_DIRECTORY); /* without O_CLOEXEC on purpose */
	setenv("CANARY", "leak", 1);
	signal(SIGPIPE, SIG_IGN);

	char *out = run_sh("echo hello; echo $CANARY", &base, &r, &err);
	is_int(r, 0, "runs");
	is_str(out, "hello\n\n", "output; the environment does not leak");
	free(out);
	out = run_sh("cd /proc/self/fd && for f in *; do [ -e $f ] && echo $f; done; true", &base,
	        &r, &err);
	is_str(out, "0\n1\n2\n", "no descriptor leaks");
	free(out);
	out = run_sh("grep SigIgn /proc/self/status", &base, &r, &err);
	is_str(out, "SigIgn:\t0000000000000000\n", "ignored signals are reset");
	free(out);
	out = run_sh("cat", &base, &r, &err);
	is_str(out, "", "standard input is /dev/null");
	free(out);

	/* Descriptors land on 3, 4 whatever numbers they had, crossing each other. */
	int a[2], b[2];
	if (pipe2(a, O_CLOEXEC) < 0 || pipe2(b, O_CLOEXEC) < 0)
		return 1;
	int three = dup3(a[0], 40, O_CLOEXEC), four = dup3(b[0], 41, O_CLOEXEC);
	ssize_t w = write(a[1], "A\n", 2) + write(b[1], "B\n", 2);
	is_int(w, 4, "set up");
	close(a[1]);
	close(b[1]);
	int keep[] = {four, three};
	struct sys_spawn k = base;
	k.keep_fds = keep;
	k.n_keep = 2;
	out = run_sh("cat <&3; cat <&4", &k, &r, &err);
	is_str(out, "B\nA\n", "keep_fds in order");
	free(out);

	struct sys_spawn c = base;
	c.cwd_fd = leak;
	out = run_sh("pwd", &c, &r, &err);
	is_str(out, "/\n", "cwd");
	free(out);

	out = run_sh("echo oops >&2; exit 3", &base, &r, &err);
	is_int(r, -1, "failure");
	is_str(err.msg, "sh failed with exit code 3: oops", "message has stderr");
	is_int(err.class, ERR_SYSTEM, "class");
	error_release(&err);
	out = run_sh("kill -9 $$", &base, &r, &err);
	is_str(err.msg, "sh was killed by signal 9", "signal");
	error_release(&err);
	out = run_sh("yes", &base, &r, &err);
	is_str(err.msg, "sh wrote more than 65536 bytes", "output cap");
	error_release(&err);
	const char *sleeper[] = {"sleep", "100", NULL};
	struct sys_spawn t = base;
	t.path = "/bin/sleep";
	t.argv = sleeper;
	r = sys_run_program(&t, 10, 50, NULL, NULL, &err);
	is_str(err.msg, "sleep did not finish in time and was killed", "timeout");
	error_release(&err);
	t.path = "/nonexistent";
	int pidfd = -1;
	is_int(sys_spawn(&t, NULL, &pidfd), -ENOENT, "exec failure is reported");
	is_int(pidfd, -1, "output untouched on failure");
	is_int(waitpid(-1, NULL, WNOHANG), -1, "no zombie is left");

	/* A child with a death signal goes when its parent does. */
	int p[2];
	if (pipe(p) < 0)
		return 1;
	pid_t mid = fork();
	if (mid == 0) {
		struct sys_spawn d = base;
		pid_t pid;
		d.path = "/bin/sleep";
		d.argv = sleeper;
		d.death_signal = SIGKILL;
		d.stdout_fd = p[1]; /* its end shows through the pipe */
		if (sys_spawn(&d, &pid, &pidfd) < 0)
			_exit(1);
		_exit(0);
	}
	close(p[1]);
	char ch;
	is_int(read(p[0], &ch, 1), 0, "the grandchild died with its parent");
	int status;
	waitpid(mid, &status, 0);
	is_int(status, 0, "the parent had spawned it");
	close(leak);
	return tap_done();
}
