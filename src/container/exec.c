/* container/exec.c - exec, the asking side: the command travels to the container's supervisor with
 * the descriptors it is to have; a terminal is held here. */
#include "container/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/vfs.h>

#include "sandbox/wire.h"
#include "sys/path.h"
#include "sys/privilege.h"

static int make_env(const struct container *c, const struct container_exec *x, struct strv *ret,
        struct error *err)
{
	_cleanup_strv_ struct strv lines = STRV_INIT;
	(void)json_get_strv(container_process_config(c), "Env", ret);
	for (size_t i = 0; i < x->env_files.n; i++)
		if (container_each_line("--env-file", x->env_files.v[i], &lines, err) < 0)
			return -1;
	for (size_t i = 0; i < lines.n; i++)
		container_add_env(ret, lines.v[i]);
	for (size_t i = 0; i < x->env.n; i++)
		container_add_env(ret, x->env.v[i]);
	if (x->tty && !env_get(ret, "TERM"))
		env_set(ret, "TERM", "xterm");
	return 0;
}

/* command_fd - the command as JSON in memory. */
static int command_fd(const struct container *c, const struct container_exec *x, struct error *err)
{
	const json_t *config = container_process_config(c);
	_cleanup_strv_ struct strv env = STRV_INIT;
	if (make_env(c, x, &env, err) < 0)
		return -1;
	_cleanup_json_ json_t *j = json_object();
	json_object_set_new(j, "argv", json_from_strv(&x->command));
	json_object_set_new(j, "env", json_from_strv(&env));
	json_object_set_new(j, "cwd",
	        json_str(x->workdir ? x->workdir
	                            : str_or_empty(json_get_str(config, "WorkingDir"))));
	json_object_set_new(j, "user",
	        json_str(x->user ? x->user : str_or_empty(json_get_str(config, "User"))));
	json_object_set_new(j, "insecure", json_boolean(x->privileged));
	_cleanup_free_ char *text = json_compact(j);
	_cleanup_close_ int fd = memfd_create("strake-exec", MFD_CLOEXEC);
	int r = fd < 0 ? -errno : sys_write_all(fd, text, strlen(text));
	return r < 0 ? err_sys(err, r, "cannot pass the command on") : take_fd(&fd);
}

/* --- the terminal ---------------------------------------------------------------------------- */

static volatile sig_atomic_t resized;

static void on_winch(int sig)
{
	(void)sig;
	resized = 1;
}

/* attend - the terminal's bytes both ways until the answer is there. */
static void attend(struct terminal *t, int conn, bool input)
{
	struct sigaction sa = {.sa_handler = on_winch}, before;
	sigaction(SIGWINCH, &sa, &before);
	char buf[16 << 10];
	for (bool over = false; !over;) {
		struct pollfd p[3] = {{conn, POLLIN, 0},
		        {terminal_master(t), terminal_events(t), 0},
		        {input && terminal_wants_keys(t) ? STDIN_FILENO : -1, POLLIN, 0}};
		if (resized) {
			resized = 0;
			terminal_resize(t);
		}
		if (poll(p, 3, -1) < 0) {
			if (errno == EINTR)
				continue;
			break;
		}
		ssize_t n;
		if (p[2].revents) {
			n = terminal_take_keys(t);
			if (n == 0)
				terminal_add_key(t, 4);
			input = n > 0 || (n < 0 && errno == EINTR);
		}
		if (p[1].revents & POLLOUT)
			terminal_type_keys(t);
		over = p[0].revents != 0;
		/* All it printed, also when it has ended. */
		while ((n = read(terminal_master(t), buf, sizeof(buf))) > 0) {
			(void)!sys_write_all(STDOUT_FILENO, buf, (size_t)n);
			if (!over)
				break;
		}
		/* Nobody has the other side any more; the answer is on its way. */
		if (n < 0 && errno == EIO && !over) {
			struct pollfd q = {conn, POLLIN, 0};
			while (poll(&q, 1, -1) < 0 && errno == EINTR)
				;
			over = true;
		}
	}
	sigaction(SIGWINCH, &before, NULL);
}

static int take_answer(const struct container *c, int conn, int *ret_exit, struct error *err)
{
	struct control_reply reply;
	int r = wire_recv(conn, &reply, sizeof(reply), NULL, 0);
	if (r <= 0) {
		*ret_exit = 128 + SIGKILL;
		return err_set(err, ERR_SYSTEM, "container %s was killed", c->name);
	}
	*ret_exit = reply.status;
	reply.text[sizeof(reply.text) - 1] = '\0';
	if (!*reply.text)
		return 0;
	(void)err_set(err, ERR_BUILD, "%s", reply.text);
	const char *hint = reply.text + strlen(reply.text) + 1;
	return hint < reply.text + sizeof(reply.text) && *hint ? err_hint(err, "%s", hint) : -1;
}

int container_exec(
        const struct container *c, const struct container_exec *x, int *ret_exit, struct error *err)
{
	_cleanup_close_ int command = -1, conn = -1, root = -1;
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct terminal *t = NULL;
	if (null < 0)
		return err_sys(err, errno, "/dev/null");
	command = command_fd(c, x, err);
	if (command < 0)
		return -1;
	/* A container that does not run is told of below. */
	(void)!control_ask(c->dirfd, CONTROL_ROOT, 0, NULL, 0, &root);
	/* Through fuse-overlayfs the container's devpts is to be found from its own user namespace
	 * alone; without it the terminal is one that its programs find no name for. */
	struct statfs fs;
	if (x->tty && root >= 0 && fstatfs(root, &fs) == 0 && fs.f_type == FUSE_SUPER_MAGIC)
		(void)!sys_privilege_join(control_pid(c->dirfd));
	if (x->tty && terminal_open(root, !x->detach, x->interactive && !x->detach, &t, err) < 0)
		return -1;
	int slave = t ? terminal_slave(t) : -1;
	bool shown = !x->detach;
	const int fds[CONTROL_FDS] = {command,
	        t                         ? slave
	        : shown && x->interactive ? STDIN_FILENO
	                                  : null,
	        t       ? slave
	        : shown ? STDOUT_FILENO
	                : null,
	        t       ? slave
	        : shown ? STDERR_FILENO
	                : null};
	int r = control_ask(c->dirfd, CONTROL_EXEC, x->tty, fds, CONTROL_FDS, &conn);
	if (t)
		terminal_close_slave(t);
	int rc = 0;
	if (r == -ECONNREFUSED || r == -ENOENT || r == -ECONNRESET) {
		(void)err_set(err, ERR_USAGE, "container %s is not running", c->name);
		rc = err_hint(err, "strake start %s", c->name);
	} else if (r < 0) {
		rc = err_sys(err, r, "cannot reach container %s", c->name);
	}
	if (rc == 0 && t && shown)
		attend(t, conn, x->interactive);
	terminal_free(t);
	if (rc == 0 && shown)
		rc = take_answer(c, conn, ret_exit, err);
	return rc;
}
