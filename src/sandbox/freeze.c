/* sandbox/freeze.c - see freeze.h. From outside of the pid namespace: a process of ours inside
 * would be in reach of those that it stops. */
#include "sandbox/freeze.h"
#include "sys/path.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

#define ROUNDS 3000 /* of a millisecond */
#define PATIENCE 200

enum doing { DOING_NOTHING, DOING_SLEEP, DOING_MORE };

/* task_doing - by its state in stat, "PID (any name) S ...". */
static enum doing task_doing(int dir, const char *tid)
{
	char path[64], text[512];
	snprintf(path, sizeof(path), "%.20s/stat", tid);
	_cleanup_close_ int fd = sys_open_beneath(dir, path, O_RDONLY, 0);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return DOING_NOTHING;
	text[n] = '\0';
	const char *end = strrchr(text, ')');
	char state = end && end[1] ? end[2] : 'R';
	return state == 'D' ? DOING_SLEEP : strchr("TtZXx", state) ? DOING_NOTHING : DOING_MORE;
}

static DIR *open_list(int dirfd, const char *path)
{
	_cleanup_close_ int fd = sys_open_beneath(dirfd, path, O_RDONLY | O_DIRECTORY, 0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (d)
		(void)take_fd(&fd);
	return d;
}

/* process_doing - the most that one of its threads does. */
static enum doing process_doing(int proc, const char *pid)
{
	char path[64];
	enum doing most = DOING_NOTHING;
	snprintf(path, sizeof(path), "%.20s/task", pid);
	DIR *d = open_list(proc, path);
	for (struct dirent *e; d && (e = readdir(d));)
		if (isdigit((unsigned char)e->d_name[0])) {
			enum doing now = task_doing(dirfd(d), e->d_name);
			most = MAX(most, now);
		}
	if (d)
		closedir(d);
	return most;
}

/* namespace_of - 0: it is gone. */
static ino_t namespace_of(int proc, const char *pid)
{
	char path[64];
	struct stat st;
	snprintf(path, sizeof(path), "%.20s/ns/pid", pid);
	/* trusted-path: a link of the kernel's own in procfs */
	return fstatat(proc, path, &st, 0) < 0 ? 0 : st.st_ino;
}

static bool known(const struct frozen *f, int pid)
{
	for (size_t i = 0; i < f->n; i++)
		if (f->v[i] == pid)
			return true;
	return false;
}

/* stop_all - one round: a signal to whatever runs and got none; what is still being done. */
static enum doing stop_all(int proc, ino_t ns, struct frozen *f)
{
	enum doing most = DOING_NOTHING;
	DIR *d = open_list(proc, ".");
	for (struct dirent *e; d && (e = readdir(d));) {
		if (!isdigit((unsigned char)e->d_name[0]) || namespace_of(proc, e->d_name) != ns)
			continue;
		enum doing now = process_doing(proc, e->d_name);
		int pid = atoi(e->d_name);
		most = MAX(most, now);
		if (now == DOING_NOTHING || known(f, pid))
			continue;
		vec_grow(&f->v, &f->cap, f->n + 1);
		f->v[f->n++] = pid;
		(void)kill(pid, SIGSTOP);
		most = DOING_MORE; /* it may have had a child meanwhile */
	}
	if (d)
		closedir(d);
	return d ? most : DOING_MORE;
}

int freeze_step(int proc, int first, struct frozen *ret)
{
	struct frozen f = {0};
	char pid[24];
	snprintf(pid, sizeof(pid), "%d", first);
	ino_t ns = namespace_of(proc, pid);
	if (!ns)
		return -ESRCH;
	for (int round = 0; round < ROUNDS; round++) {
		enum doing most = stop_all(proc, ns, &f);
		if (most == DOING_NOTHING || (most == DOING_SLEEP && round >= PATIENCE)) {
			*ret = f;
			return 0;
		}
		(void)poll(NULL, 0, 1);
	}
	frozen_thaw(&f);
	return -EBUSY;
}

void frozen_thaw(struct frozen *f)
{
	for (size_t i = 0; i < f->n; i++)
		(void)kill(f->v[i], SIGCONT);
	free(f->v);
	*f = (struct frozen){0};
}
