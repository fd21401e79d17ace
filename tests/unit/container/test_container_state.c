/* What a container's folder says: its locks, its state, a torn configuration, its log. */
#include "container/internal.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "../tap.h"
#include "sys/path.h"

static void write_text(int dir, const char *name, const char *text)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || sys_write_all(fd, text, strlen(text)) < 0)
		exit(1);
	close(fd);
}

static const char *status(struct store *s, const char *id, int *code)
{
	struct error err = ERROR_INIT;
	struct container *c;
	if (container_load(s, id, &c, &err) < 0) {
		error_release(&err);
		return "error";
	}
	const char *name = container_status_name(c->status);
	*code = c->exit_code;
	container_free(c);
	return name;
}

static void test_locks(int dir)
{
	struct error err = ERROR_INIT;
	int a = container_lock_open(dir, &err), b = container_lock_open(dir, &err);
	ok(a >= 0 && b >= 0, "two handles on one lock");
	is_int(container_lock_take(a, CONTAINER_LOCK_USE, false), 1, "the first gets it");
	is_int(container_lock_take(b, CONTAINER_LOCK_USE, false), 0, "the second does not");
	ok(container_lock_held(b, CONTAINER_LOCK_USE), "and sees that it is held");
	ok(!container_lock_held(b, CONTAINER_LOCK_RUN), "the other byte is free");
	is_int(container_lock_take(b, CONTAINER_LOCK_RUN, false), 1, "and can be taken");
	close(a);
	is_int(container_lock_take(b, CONTAINER_LOCK_USE, true), 1, "closing unlocks");
	close(b);
}

static void test_status(struct store *s, const char *id, int dir)
{
	struct error err = ERROR_INIT;
	int code = -1;
	is_str(status(s, id, &code), "created", "nothing written: created");
	struct container_state st = {.status = CONTAINER_RUNNING, .started = 1000};
	ok(container_state_write(dir, &st, &err) == 0, "it runs, says the file");
	is_str(status(s, id, &code), "exited", "nobody holds the lock: it was killed");
	is_int(code, 128 + SIGKILL, "by KILL");
	int p[2], q[2];
	if (pipe(p) < 0 || pipe(q) < 0)
		exit(1);
	pid_t pid = fork();
	if (pid == 0) {
		int lock = container_lock_open(dir, &err);
		char c = (char)container_lock_take(lock, CONTAINER_LOCK_RUN, false);
		(void)!write(p[1], &c, 1);
		(void)!read(q[0], &c, 1);
		_exit(0);
	}
	char c = 0;
	ok(read(p[0], &c, 1) == 1 && c == 1, "a supervisor takes the lock");
	is_str(status(s, id, &code), "running", "and the container runs");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	is_str(status(s, id, &code), "exited", "killed, it runs no more");
	st = (struct container_state){.status = CONTAINER_EXITED, .exit_code = 7};
	ok(container_state_write(dir, &st, &err) == 0, "an end that was written down");
	is_str(status(s, id, &code), "exited", "is found");
	is_int(code, 7, "with its code");
	write_text(dir, "state.json", "{\"status\":");
	is_str(status(s, id, &code), "created", "a torn state is none");
	write_text(dir, "config.json", "{\"Id\":\"x\", \"Na");
	is_str(status(s, id, &code), "created", "a torn configuration can still be listed");
	struct container *found;
	ok(container_find(s, "0123456789ab", &found, &err) == 0, "and found by its id");
	is_str(found->name, "0123456789ab", "which is its name now");
	container_free(found);
}

static void test_log(int dir)
{
	struct log_stream l = {.name = "stdout", .line = STRBUF_INIT};
	char big[40000], *text;
	size_t n;
	l.fd = openat(dir, "log", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	log_stream_add(&l, "one\ntw", 6);
	log_stream_add(&l, "o\n\x1b[1m\0x", 8);
	log_stream_flush(&l);
	memset(big, 'a', sizeof(big));
	log_stream_add(&l, big, sizeof(big));
	log_stream_flush(&l);
	if (sys_read_file(dir, "log", 1 << 20, &text, &n) < 0)
		exit(1);
	unsigned lines = 0;
	bool good = true;
	for (char *p = text, *nl; (nl = strchr(p, '\n')); p = nl + 1, lines++) {
		struct error err = ERROR_INIT;
		json_t *j = json_parse(p, (size_t)(nl - p), 1 << 20, "line", &err);
		good &= j && json_get_str(j, "log") && json_get_str(j, "time");
		if (lines == 1)
			is_str(json_get_str(j, "log"), "two\n", "a line from two writes");
		if (lines == 2)
			is_str(json_get_str(j, "log"), "\x1b[1m x", "no NUL cuts the rest off");
		error_release(&err);
		json_decref(j);
	}
	is_int(lines, 6, "long lines are cut into records of 16 KiB");
	ok(good, "each is JSON with text and time");
	log_stream_release(&l);
	close(l.fd);
	free(text);
}

int main(void)
{
	static const char id[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
	char path[] = "/tmp/strake-state.XXXXXX";
	struct error err = ERROR_INIT;
	struct store *s;
	if (!mkdtemp(path) || store_open(path, &s, &err) < 0)
		return 1;
	char name[100];
	snprintf(name, sizeof(name), "containers/%s", id);
	if (mkdirat(store_dirfd(s), name, 0700) < 0)
		return 1;
	int dir = store_container_open(s, id, &err);
	write_text(dir, "config.json", "{\"Id\":\"x\",\"Name\":\"/box\"}");
	test_locks(dir);
	test_log(dir);
	struct container *c;
	ok(container_find(s, "box", &c, &err) == 0, "found by name");
	is_str(c->id, id, "the id is the folder's");
	container_free(c);
	ok(container_find(s, "bo", &c, &err) < 0 && err.class == ERR_NOT_FOUND,
	        "the beginning of a name is no name");
	error_release(&err);
	ok(container_check_name(s, "box", &err) < 0, "the name is taken");
	error_release(&err);
	static const char *const bad[] = {"", "-x", ".x", "a b", "a/b", "../x", "a:b"};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		ok(container_check_name(s, bad[i], &err) < 0, bad[i]);
		error_release(&err);
	}
	ok(container_check_name(s, "x.y_z-1", &err) == 0, "a good name");
	test_status(s, id, dir);
	is_int(container_signal_number("TERM"), SIGTERM, "TERM");
	is_int(container_signal_number("sigusr1"), SIGUSR1, "sigusr1");
	is_int(container_signal_number("9"), SIGKILL, "9");
	is_int(container_signal_number("RTMIN+3"), SIGRTMIN + 3, "RTMIN+3");
	is_int(container_signal_number("0") + container_signal_number("NOPE") +
	                container_signal_number("-1") + container_signal_number("9x"),
	        0, "no signals");
	close(dir);
	store_free(s);
	int top = sys_open_dir(AT_FDCWD, "/tmp");
	ok(sys_remove_tree(top, path + strlen("/tmp/")) == 0, "all is removed");
	close(top);
	return tap_done();
}
