/* build/terminal.c - see terminal.h. */
#include "build/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "sys/path.h"

struct tty {
	int master, slave;
	struct termios saved;
	bool raw;
};

static int tty_open(struct tty *t, struct error *err)
{
	*t = (struct tty){.master = -1, .slave = -1};
	t->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (t->master < 0 || grantpt(t->master) < 0 || unlockpt(t->master) < 0)
		return err_sys(err, errno, "opening a terminal");
	t->slave = ioctl(t->master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (t->slave < 0)
		return err_sys(err, errno, "opening a terminal");
	struct winsize ws;
	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &ws) == 0)
		(void)ioctl(t->master, TIOCSWINSZ, &ws);
	if (tcgetattr(STDIN_FILENO, &t->saved) == 0) {
		struct termios raw = t->saved;
		cfmakeraw(&raw);
		t->raw = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
	}
	return 0;
}

static void tty_close(struct tty *t)
{
	if (t->raw)
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &t->saved);
	close_ptr(&t->master);
	close_ptr(&t->slave);
}

static bool copy_some(int from, int to)
{
	char buf[16 << 10];
	ssize_t n = read(from, buf, sizeof(buf));
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
static void attend(const struct terminal_options *o, struct sandbox_process *proc, struct tty *t)
{
	bool hung_up = false;
	struct end end = {0};
	struct pollfd p[3] = {{proc->pidfd, POLLIN, 0}, {t ? t->master : -1, POLLIN, 0},
	        {t && o->interactive ? STDIN_FILENO : -1, POLLIN, 0}};
	struct winsize last = {0};
	for (;;) {
		int r = poll(p, 3, 200);
		if (r < 0 && errno != EINTR)
			return;
		if (hung_up || (o->interrupted && *o->interrupted))
			end_command(o, proc, &end);
		struct winsize ws;
		if (t && ioctl(STDIN_FILENO, TIOCGWINSZ, &ws) == 0 &&
		        memcmp(&ws, &last, sizeof(ws)) != 0) {
			last = ws;
			(void)ioctl(t->master, TIOCSWINSZ, &ws);
		}
		if (r <= 0)
			continue;
		if ((p[1].revents & (POLLIN | POLLHUP)) && !copy_some(t->master, o->out_fd))
			p[1].fd = -1;
		/* A terminal ends when it is gone, and nobody can leave the shell any more. */
		if ((p[2].revents & (POLLIN | POLLHUP)) && !copy_some(STDIN_FILENO, t->master)) {
			p[2].fd = -1;
			hung_up = true;
		}
		if (p[0].revents) {
			if (t && p[1].fd >= 0)
				drain(t->master, o->out_fd);
			return;
		}
	}
}

int terminal_run(struct sandbox_context *sb, struct sandbox_spec *spec,
        const struct terminal_options *o, int *ret_exit, struct error *err)
{
	struct tty t;
	spec->tty = o->tty;
	spec->stdin_fd = o->interactive ? STDIN_FILENO : -1;
	spec->stdout_fd = o->out_fd;
	spec->stderr_fd = STDERR_FILENO;
	if (o->tty) {
		if (tty_open(&t, err) < 0) {
			tty_close(&t);
			return -1;
		}
		spec->stdin_fd = spec->stdout_fd = spec->stderr_fd = t.slave;
	}
	struct sandbox_process proc = {.pidfd = -1, .status_fd = -1};
	int rc = sandbox_start(sb, spec, &proc, err);
	if (o->tty)
		close_ptr(&t.slave);
	if (rc >= 0) {
		attend(o, &proc, o->tty ? &t : NULL);
		rc = sandbox_wait(&proc, ret_exit, err);
	}
	if (o->tty)
		tty_close(&t);
	return rc;
}
