/* S16, F19: a step's processes end with it, with the builder, and when told to; many at once. */
#include "harness.h"

#include <pthread.h>

static void put_probe(void)
{
	const char *path = getenv("STRAKE_PROBE");
	int src = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	int dst = openat(h_layer, "bin/probe", O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
	while (src >= 0 && copy_file_range(src, NULL, dst, NULL, 1 << 24, 0) > 0)
		;
	close(src);
	close(dst);
}

/* marked - processes (of any namespace) whose command line holds the mark. */
static int marked(const char *mark)
{
	int n = 0;
	FILE *f = popen(
	        "for p in /proc/[0-9]*/cmdline; do tr '\\0' ' ' 2>/dev/null < $p; echo; done", "r");
	char line[512];
	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, mark))
			n++;
	if (f)
		pclose(f);
	return n;
}

static void test_end(void)
{
	h_sh("probe daemon; echo started");
	is_str(h_out.buf, "started\n", "a step that leaves a daemon behind ends");
	is_int(h_exit, 0, "at once");
	/* The daemon held nothing of ours; that it is dead shows in the overlay being free. */
	h_sh("sleep 876543 & echo mark");
	is_int(marked("876543"), 0, "S16: the process tree is dead when the step is over");
}

struct stepper {
	struct sandbox_process p;
	int out;
	int exit, r;
	struct error err;
};

static void begin(struct stepper *st, const char *script)
{
	int p[2];
	if (pipe2(p, O_CLOEXEC) < 0)
		abort();
	struct sandbox_spec s = h_spec(script);
	s.stdout_fd = s.stderr_fd = p[1];
	*st = (struct stepper){.out = p[0], .err = ERROR_INIT};
	st->r = sandbox_start(h_ctx, &s, &st->p, &st->err);
	close(p[1]);
}

static bool wait_line(struct stepper *st, const char *want)
{
	char buf[64];
	ssize_t n = read(st->out, buf, sizeof(buf) - 1);
	buf[n > 0 ? n : 0] = '\0';
	return str_eq(buf, want);
}

static void finish(struct stepper *st)
{
	st->r = sandbox_wait(&st->p, &st->exit, &st->err);
	close(st->out);
}

static void test_kill(void)
{
	struct stepper st;
	begin(&st, "trap '' TERM; echo ready; while true; do sleep 1; done");
	ok(wait_line(&st, "ready\n"), "a step that ignores TERM runs");
	sandbox_kill(&st.p, SIGTERM);
	struct pollfd pf = {st.p.pidfd, POLLIN, 0};
	is_int(poll(&pf, 1, 100), 0, "TERM does not end it; pidfd is quiet");
	sandbox_kill(&st.p, SIGKILL);
	is_int(poll(&pf, 1, 10000), 1, "KILL does; pidfd is readable");
	finish(&st);
	is_int(st.exit, 137, "exit code 128+9");
	begin(&st, "trap 'exit 5' TERM; echo ready; while true; do sleep 0.05; done");
	ok(wait_line(&st, "ready\n"), "a step that handles TERM runs");
	sandbox_kill(&st.p, SIGTERM);
	finish(&st);
	is_int(st.exit, 5, "its own exit code");
	begin(&st, "exec probe bomb");
	ok(wait_line(&st, "ready\n"), "many processes that ignore TERM");
	usleep(100000);
	sandbox_kill(&st.p, SIGKILL);
	finish(&st);
	is_int(st.exit, 137, "F19: killed together");
	is_int(marked("probe bomb"), 0, "none is left");
}

static void *one_of_many(void *arg)
{
	struct stepper *st = arg;
	char buf[64];
	ssize_t n = read(st->out, buf, sizeof(buf) - 1);
	buf[n > 0 ? n : 0] = '\0';
	finish(st);
	return NULL;
}

static void test_many(void)
{
	enum { N = 12 };
	struct stepper st[N];
	pthread_t t[N];
	char script[64];
	int good = 0;
	for (int i = 0; i < N; i++) {
		snprintf(script, sizeof(script), "sleep 0.0%d; exit %d", i % 7, i);
		begin(&st[i], script);
	}
	for (int i = 0; i < N; i++)
		pthread_create(&t[i], NULL, one_of_many, &st[i]);
	for (int i = 0; i < N; i++) {
		pthread_join(t[i], NULL);
		good += st[i].r >= 0 && st[i].exit == i;
	}
	is_int(good, N, "steps side by side, each with its own exit code");
}

/* A builder that is killed takes its steps with it: the child below is a builder of its own. */
static void test_builder_killed(void)
{
	int p[2];
	if (pipe(p) < 0)
		abort();
	fflush(stdout);
	struct sandbox_spec s = h_spec("echo up; sleep 765432 & sleep 765432");
	pid_t pid = fork();
	if (pid == 0) {
		int staging = h_mkdir(h_top, "staging2");
		struct sandbox_context *c = sandbox_context_new(staging);
		struct sandbox_process proc;
		struct error err = ERROR_INIT;
		s.stdout_fd = p[1];
		if (sandbox_start(c, &s, &proc, &err) < 0)
			_exit(1);
		for (;;)
			pause();
	}
	close(p[1]);
	char buf[8] = "";
	ok(read(p[0], buf, 3) == 3 && str_eq(buf, "up\n"), "the builder's step runs");
	int there = 0;
	for (int i = 0; i < 250 && there < 2; i++) {
		there = marked("765432");
		usleep(20000);
	}
	ok(there >= 2, "its processes are there");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	/* The step holds the pipe's other end: end of file when all of it is dead. */
	is_int(read(p[0], buf, 1), 0, "a killed builder's step dies");
	int left = 1;
	for (int i = 0; i < 100 && left; i++) {
		left = marked("765432");
		usleep(20000);
	}
	is_int(left, 0, "with all its processes");
	close(p[0]);
	(void)!sys_remove_tree(h_top, "staging2");
}

/* A keeper that dies is an error, not a hang. The context is of no use afterwards: last test. */
static void test_context_freed(void)
{
	int staging = h_mkdir(h_top, "staging3");
	struct sandbox_context *c = sandbox_context_new(staging), *old = h_ctx;
	h_ctx = c;
	struct stepper st;
	begin(&st, "echo up; sleep 654321");
	ok(wait_line(&st, "up\n"), "a step runs");
	sandbox_context_free(c);
	finish(&st);
	is_int(st.r, -1, "freeing the context ends the step");
	is_str(st.err.msg, "the sandbox's keeper process was killed", "and its wait says so");
	error_release(&st.err);
	is_int(marked("654321"), 0, "nothing is left");
	h_ctx = old;
	(void)!sys_remove_tree(h_top, "staging3");
	close(staging);
}

/* A mount namespace of the steps' own: nothing of theirs shows here. */
static void test_mounts_gone(void)
{
	FILE *f = fopen("/proc/self/mountinfo", "r");
	char line[4096];
	int n = 0;
	while (f && fgets(line, sizeof(line), f))
		n += strstr(line, "overlay") != NULL && strstr(line, "userxattr") != NULL;
	if (f)
		fclose(f);
	is_int(n, 0, "no mount of a step in the builder's namespace");
}

static void tests(void)
{
	put_probe();
	test_end();
	test_kill();
	test_many();
	test_builder_killed();
	test_context_freed();
	test_mounts_gone();
}

int main(int argc, char **argv)
{
	return harness_main(argc, argv, tests);
}
