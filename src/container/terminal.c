/* container/terminal.c - a pseudo terminal for the container, and our own terminal in raw mode as
 * long as it lives. */
#include "container/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <termios.h>

#include "sys/path.h"

struct terminal {
	int master, slave;
	struct termios saved;
	bool raw;
};

void terminal_free(struct terminal *t)
{
	if (!t)
		return;
	if (t->raw)
		(void)tcsetattr(STDIN_FILENO, TCSADRAIN, &t->saved);
	close_ptr(&t->master);
	close_ptr(&t->slave);
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
	struct winsize ws;
	if (own_size(&ws))
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
	t->slave = -1;
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
		t->raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
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
