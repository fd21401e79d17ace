/* container/control.c - the socket `control` in a running container's folder. The folder belongs to
 * its user alone, so whoever reaches the socket may ask. One message a question, one an answer. */
#include "container/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <strings.h>

#include "sandbox/wire.h"
#include "sys/path.h"

#define CLIENTS_MAX 64

static void address(int dirfd, struct sockaddr_un *a)
{
	*a = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(a->sun_path, sizeof(a->sun_path), "/proc/self/fd/%d/control", dirfd);
}

/* --- the supervisor's side ------------------------------------------------------------------- */

int control_listen(int dirfd, struct control *ret, struct error *err)
{
	struct sockaddr_un a;
	address(dirfd, &a);
	(void)unlinkat(dirfd, "control", 0); /* of a supervisor that was killed */
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 16) < 0)
		return err_sys(err, errno, "cannot make the container's control socket");
	*ret = (struct control){.listen_fd = take_fd(&fd), .root_fd = -1};
	return 0;
}

void control_release(struct control *c)
{
	close_ptr(&c->listen_fd);
	close_ptr(&c->root_fd);
	for (size_t i = 0; i < c->n_clients; i++)
		close(c->clients[i]);
	for (size_t i = 0; i < c->n_waiters; i++)
		close(c->waiters[i]);
	free(c->clients);
	free(c->waiters);
	free(c->pausers);
	*c = (struct control){.listen_fd = -1, .root_fd = -1};
}

static void answer(int fd, int status, int with_fd)
{
	struct control_reply r = {.status = status};
	(void)!wire_send(fd, &r, sizeof(r), &with_fd, with_fd >= 0 ? 1 : 0);
}

/* forget - true if it was there. */
static bool forget(int *v, size_t *n, int fd)
{
	for (size_t i = 0; i < *n; i++)
		if (v[i] == fd) {
			v[i] = v[--*n];
			return true;
		}
	return false;
}

void control_paused(struct control *c, int client, const struct error *err)
{
	if (!error_is_set(err)) {
		vec_grow(&c->pausers, &c->cap_pausers, c->n_pausers + 1);
		c->pausers[c->n_pausers++] = client;
	}
	control_answer(client, error_is_set(err) ? -EBUSY : 0, err);
}

void control_answer(int client, int status, const struct error *err)
{
	struct control_reply r = {.status = status};
	if (error_is_set(err)) {
		size_t n = MIN(strlen(err->msg), (size_t)700);
		memcpy(r.text, err->msg, n);
		snprintf(r.text + n + 1, sizeof(r.text) - n - 1, "%s", str_or_empty(err->hint));
	}
	(void)!wire_send(client, &r, sizeof(r), NULL, 0);
}

static void obey(
        struct control *c, int fd, const struct control_request *q, struct control_event *ev)
{
	switch (q->op) {
	case CONTROL_KILL:
		answer(fd, 0, -1);
		ev->signal = q->arg > 0 && q->arg < NSIG ? q->arg : 0;
		return;
	case CONTROL_WAIT:
		(void)forget(c->clients, &c->n_clients, fd);
		vec_grow(&c->waiters, &c->cap_waiters, c->n_waiters + 1);
		c->waiters[c->n_waiters++] = fd;
		return;
	case CONTROL_ROOT:
		answer(fd, c->root_fd >= 0 ? 0 : -EAGAIN, c->root_fd);
		return;
	case CONTROL_PAUSE:
		ev->pause = fd;
		return;
	case CONTROL_EXEC:
		(void)forget(c->clients, &c->n_clients, fd);
		ev->exec = fd;
		ev->tty = q->arg != 0;
		return;
	default:
		answer(fd, -ENOSYS, -1);
	}
}

void control_serve(struct control *c, int fd, struct control_event *ev)
{
	struct control_request q;
	*ev = (struct control_event){.exec = -1, .pause = -1, .fds = {-1, -1, -1, -1}};
	if (fd == c->listen_fd) {
		int new = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (new >= 0 && c->n_clients + c->n_waiters >= CLIENTS_MAX) {
			close(new);
		} else if (new >= 0) {
			vec_grow(&c->clients, &c->cap_clients, c->n_clients + 1);
			c->clients[c->n_clients++] = new;
		}
		return;
	}
	int r = wire_recv(fd, &q, sizeof(q), ev->fds, CONTROL_FDS);
	if (r == -EAGAIN)
		return;
	if (r <= 0) {
		(void)forget(c->clients, &c->n_clients, fd);
		ev->resume = forget(c->pausers, &c->n_pausers, fd) && c->n_pausers == 0;
		close(fd);
	} else {
		obey(c, fd, &q, ev);
	}
	for (int i = 0; i < CONTROL_FDS && ev->exec < 0; i++)
		close_ptr(&ev->fds[i]);
}

void control_finish(struct control *c, int exit_code)
{
	for (size_t i = 0; i < c->n_waiters; i++)
		answer(c->waiters[i], exit_code, -1);
}

/* --- the other side -------------------------------------------------------------------------- */

int control_ask(int dirfd, enum control_op op, int arg, const int *fds, size_t n_fds, int *ret_fd)
{
	struct sockaddr_un a;
	address(dirfd, &a);
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return -errno;
	struct control_request q = {.op = op, .arg = arg};
	struct control_reply reply;
	int got = -1;
	int r = wire_send(fd, &q, sizeof(q), fds, n_fds);
	if (r < 0)
		return r;
	if (op == CONTROL_WAIT || op == CONTROL_EXEC) {
		*ret_fd = take_fd(&fd);
		return 0;
	}
	r = wire_recv(fd, &reply, sizeof(reply), &got, 1);
	if (r <= 0)
		return r < 0 ? r : -ECONNREFUSED;
	if (op == CONTROL_ROOT && reply.status == 0 && got >= 0)
		*ret_fd = take_fd(&got);
	else if (op == CONTROL_PAUSE && reply.status == 0)
		*ret_fd = take_fd(&fd);
	close_ptr(&got);
	return reply.status;
}

/* nobody - of an answer of control_ask. */
static bool nobody(int r)
{
	return r == -ECONNREFUSED || r == -ENOENT || r == -ECONNRESET || r == -EPIPE;
}

int control_hold(const struct container *c, struct error *err)
{
	int fd = -1;
	int r = control_ask(c->dirfd, CONTROL_PAUSE, 0, NULL, 0, &fd);
	if (r >= 0 || nobody(r))
		return fd;
	(void)err_sys(err, r, "cannot pause container %s", c->name);
	(void)err_hint(err, "it starts processes too fast, or cannot be reached: --pause=false");
	return -2;
}

pid_t control_pid(int dirfd)
{
	struct sockaddr_un a;
	struct ucred peer = {0};
	socklen_t n = sizeof(peer);
	address(dirfd, &a);
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0)
		return 0;
	return peer.pid;
}

static int not_running(const struct container *c, struct error *err)
{
	(void)err_set(err, ERR_USAGE, "container %s is not running", c->name);
	return err_hint(err, "strake start %s", c->name);
}

int container_signal(const struct container *c, int sig, struct error *err)
{
	int r = control_ask(c->dirfd, CONTROL_KILL, sig, NULL, 0, NULL);
	if (nobody(r))
		return not_running(c, err);
	return r < 0 ? err_sys(err, r, "cannot reach container %s", c->name) : 0;
}

/* ended - what its state says, now that nobody supervises it. */
static int ended(const struct container *c, int *ret_exit, struct error *err)
{
	/* The end is written down before the socket goes; a removed folder still answers, as we
	 * have it open. */
	_cleanup_free_ char *text = NULL;
	size_t n;
	int r = sys_read_file(c->dirfd, "state.json", CONTAINER_JSON_MAX, &text, &n);
	_cleanup_error_ struct error e = ERROR_INIT;
	_cleanup_json_ json_t *j =
	        r < 0 ? NULL : json_parse(text, n, CONTAINER_JSON_MAX, c->id, &e);
	const char *status = json_get_str(j, "status");
	*ret_exit = !status || str_eq(status, "created") ? 0
	            : str_eq(status, "exited")           ? (int)json_get_int(j, "exit_code", 0)
	                                                 : 128 + SIGKILL;
	return 1;
}

int container_wait(const struct container *c, int timeout_ms, int *ret_exit, struct error *err)
{
	_cleanup_close_ int fd = -1;
	int r = control_ask(c->dirfd, CONTROL_WAIT, 0, NULL, 0, &fd);
	if (nobody(r))
		return ended(c, ret_exit, err);
	if (r < 0)
		return err_sys(err, r, "cannot reach container %s", c->name);
	struct pollfd p = {fd, POLLIN, 0};
	do
		r = poll(&p, 1, timeout_ms);
	while (r < 0 && errno == EINTR && timeout_ms < 0);
	if (r <= 0)
		return r < 0 ? err_sys(err, errno, "waiting") : 0;
	struct control_reply reply;
	r = wire_recv(fd, &reply, sizeof(reply), NULL, 0);
	if (r <= 0) /* killed, or ended before it read the question */
		return ended(c, ret_exit, err);
	*ret_exit = reply.status;
	return 1;
}

static const struct {
	const char *name;
	int sig;
} signals[] = {{"HUP", SIGHUP}, {"INT", SIGINT}, {"QUIT", SIGQUIT}, {"ILL", SIGILL},
        {"TRAP", SIGTRAP}, {"ABRT", SIGABRT}, {"BUS", SIGBUS}, {"FPE", SIGFPE}, {"KILL", SIGKILL},
        {"USR1", SIGUSR1}, {"SEGV", SIGSEGV}, {"USR2", SIGUSR2}, {"PIPE", SIGPIPE},
        {"ALRM", SIGALRM}, {"TERM", SIGTERM}, {"CHLD", SIGCHLD}, {"CONT", SIGCONT},
        {"STOP", SIGSTOP}, {"TSTP", SIGTSTP}, {"TTIN", SIGTTIN}, {"TTOU", SIGTTOU}, {"URG", SIGURG},
        {"XCPU", SIGXCPU}, {"XFSZ", SIGXFSZ}, {"VTALRM", SIGVTALRM}, {"PROF", SIGPROF},
        {"WINCH", SIGWINCH}, {"IO", SIGIO}, {"PWR", SIGPWR}, {"SYS", SIGSYS}};

int container_signal_number(const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);
	if (end != text && !*end)
		return n > 0 && n < NSIG ? (int)n : 0;
	const char *name = strncasecmp(text, "SIG", 3) == 0 ? text + 3 : text;
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		if (strcasecmp(signals[i].name, name) == 0)
			return signals[i].sig;
	if (strncasecmp(name, "RTMIN", 5) == 0) {
		n = strtol(name + 5, &end, 10);
		n += SIGRTMIN;
		return !*end && n >= SIGRTMIN && n <= SIGRTMAX ? (int)n : 0;
	}
	return 0;
}

int container_stop(const struct container *c, int seconds, struct error *err)
{
	int code;
	const json_t *config = container_process_config(c);
	if (seconds < 0)
		seconds = (int)json_get_int(config, "StopTimeout", 10);
	int sig = container_signal_number(str_or_empty(json_get_str(config, "StopSignal")));
	int r = container_signal(c, sig ? sig : SIGTERM, err);
	if (r < 0) {
		/* Stopping what has stopped is no error. */
		if (err->class == ERR_USAGE)
			error_release(err);
		return err->class == ERR_NONE ? 0 : -1;
	}
	r = container_wait(c, seconds * 1000, &code, err);
	if (r != 0)
		return r < 0 ? -1 : 0;
	if (container_signal(c, SIGKILL, err) < 0 && err->class != ERR_USAGE)
		return -1;
	error_release(err);
	return container_wait(c, -1, &code, err) < 0 ? -1 : 0;
}
