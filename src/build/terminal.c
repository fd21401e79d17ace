/* build/terminal.c - see terminal.h. */
#include "build/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>

#include "base/strbuf.h"
#include "sys/path.h"

/* --- the terminal ---------------------------------------------------------------------------- */

struct terminal {
	int master, slave;
	struct termios saved;
	bool raw;
	struct strbuf keys;
};

void terminal_free(struct terminal *t)
{
	if (!t)
		return;
	if (t->raw)
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &t->saved);
	close_ptr(&t->master);
	close_ptr(&t->slave);
	strbuf_release(&t->keys);
	free(t);
}

/* own_size - of the terminal that we show it on. */
static bool own_size(struct winsize *ws)
{
	for (int fd = 0; fd <= 2; fd++)
		if (ioctl(fd, TIOCGWINSZ, ws) == 0 && ws->ws_row && ws->ws_col)
			return true;
	return false;
}

void terminal_resize(struct terminal *t)
{
	struct winsize ws, now;
	/* The kernel tells the programs only if it is another one. */
	if (own_size(&ws) && (ioctl(t->master, TIOCGWINSZ, &now) < 0 || now.ws_row != ws.ws_row ||
	                             now.ws_col != ws.ws_col))
		(void)ioctl(t->master, TIOCSWINSZ, &ws);
}

/* open_master - a terminal of this machine, or of the container's own devpts, where programs find
 * it by its name. That file is the container's to meddle with: no link is followed, and it must be
 * the device that it ought to be. */
static int open_master(int root)
{
	struct stat st;
	if (root < 0)
		return posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	int fd = sys_open_beneath(root, "dev/pts/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK, 0);
	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(5, 2))
		return fd;
	close_ptr(&fd);
	return posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
}

int terminal_open(int root, bool attach, bool input, struct terminal **ret, struct error *err)
{
	struct terminal *t = new0(struct terminal, 1);
	*t = (struct terminal){.slave = -1, .keys = STRBUF_INIT};
	t->master = open_master(root);
	if (t->master >= 0 && grantpt(t->master) == 0 && unlockpt(t->master) == 0)
		t->slave = ioctl(t->master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	/* Neither a program that prints nor one that does not read may block us. */
	if (t->slave < 0 || fcntl(t->master, F_SETFL, O_NONBLOCK) < 0) {
		int e = errno;
		terminal_free(t);
		return err_sys(err, e, "opening a terminal");
	}
	if (attach)
		terminal_resize(t);
	if (attach && input && tcgetattr(STDIN_FILENO, &t->saved) == 0) {
		struct termios raw = t->saved;
		cfmakeraw(&raw);
		t->raw = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
	}
	*ret = t;
	return 0;
}

int terminal_slave(const struct terminal *t)
{
	return t->slave;
}

void terminal_close_slave(struct terminal *t)
{
	close_ptr(&t->slave);
}

int terminal_master(const struct terminal *t)
{
	return t->master;
}

#define KEYS_MAX (64u << 10)

bool terminal_wants_keys(const struct terminal *t)
{
	return t->keys.len < KEYS_MAX;
}

ssize_t terminal_take_keys(struct terminal *t)
{
	char buf[4096];
	ssize_t n = read(STDIN_FILENO, buf, sizeof(buf));
	if (n > 0)
		strbuf_add(&t->keys, buf, (size_t)n);
	return n;
}

void terminal_add_key(struct terminal *t, char key)
{
	strbuf_addch(&t->keys, key);
}

short terminal_events(const struct terminal *t)
{
	return (short)(POLLIN | (t->keys.len ? POLLOUT : 0));
}

void terminal_type_keys(struct terminal *t)
{
	ssize_t n = write(t->master, t->keys.buf, t->keys.len);
	if (n <= 0)
		return;
	memmove(t->keys.buf, t->keys.buf + n, t->keys.len - (size_t)n);
	strbuf_truncate(&t->keys, t->keys.len - (size_t)n);
}

/* --- a command in it ------------------------------------------------------------------------- */

/* copy_some - false at the end. ^C throws away what was there to be read a moment ago. */
static bool copy_some(int from, int to)
{
	char buf[16 << 10];
	ssize_t n = read(from, buf, sizeof(buf));
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	return n > 0 && sys_write_all(to, buf, (size_t)n) >= 0;
}

static void drain(int fd, int out)
{
	struct pollfd p = {fd, POLLIN, 0};
	while (poll(&p, 1, 0) > 0 && (p.revents & POLLIN) && copy_some(fd, out))
		;
}

#define GRACE_TICKS 10 /* of 200 ms, between asking the command to end and ending it */

struct end {
	bool asked;
	int ticks;
};

/* end_command - a shell ignores TERM, and the first process of a pid namespace any signal it has no
 * handler for; so it is asked once, and then ended. */
static void end_command(
        const struct terminal_options *o, struct sandbox_process *proc, struct end *e)
{
	if (!e->asked) {
		int sig = o->signal && *o->signal ? *o->signal : SIGTERM;
		sandbox_kill(proc, o->tty ? SIGHUP : sig);
	} else if (++e->ticks == GRACE_TICKS) {
		sandbox_kill(proc, SIGKILL);
	}
	e->asked = true;
}

/* attend - until the process ends: pass on signals, and with a terminal its bytes and size. */
static void attend(
        const struct terminal_options *o, struct sandbox_process *proc, struct terminal *t)
{
	bool hung_up = false, open = t != NULL, keys = t && o->interactive;
	struct end end = {0};
	for (;;) {
		struct pollfd p[3] = {{proc->pidfd, POLLIN, 0},
		        {open ? t->master : -1, t ? terminal_events(t) : POLLIN, 0},
		        {keys && terminal_wants_keys(t) ? STDIN_FILENO : -1, POLLIN, 0}};
		int r = poll(p, 3, 200);
		if (r < 0 && errno != EINTR)
			return;
		if (hung_up || (o->interrupted && *o->interrupted))
			end_command(o, proc, &end);
		if (t)
			terminal_resize(t);
		if (r <= 0)
			continue;
		if (p[1].revents & POLLOUT)
			terminal_type_keys(t);
		if ((p[1].revents & (POLLIN | POLLHUP)) && !copy_some(t->master, o->out_fd))
			open = false;
		/* A terminal ends when it is gone, and nobody can leave the shell any more. */
		if (p[2].revents && terminal_take_keys(t) <= 0) {
			keys = false;
			hung_up = true;
		}
		if (p[0].revents) {
			if (open)
				drain(t->master, o->out_fd);
			return;
		}
	}
}

int terminal_run(struct sandbox_context *sb, struct sandbox_spec *spec,
        const struct terminal_options *o, int *ret_exit, struct error *err)
{
	struct terminal *t = NULL;
	spec->tty = o->tty;
	spec->stdin_fd = o->interactive ? STDIN_FILENO : -1;
	spec->stdout_fd = o->out_fd;
	spec->stderr_fd = STDERR_FILENO;
	if (o->tty) {
		if (terminal_open(-1, true, true, &t, err) < 0)
			return -1;
		spec->stdin_fd = spec->stdout_fd = spec->stderr_fd = t->slave;
	}
	struct sandbox_process proc = {.pidfd = -1, .status_fd = -1};
	int rc = sandbox_start(sb, spec, &proc, err);
	if (t)
		terminal_close_slave(t);
	if (rc >= 0) {
		attend(o, &proc, t);
		rc = sandbox_wait(&proc, ret_exit, err);
	}
	terminal_free(t);
	return rc;
}
