/* sandbox/reaper.c - see reaper.h. */
#include "sandbox/reaper.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "sys/path.h"

#define FILE_MAX ((size_t)64 << 10)
#define LONG_SECONDS 15 /* those who look from time to time do so more often */

static bool read_proc(int proc, const char *path, char **ret)
{
	size_t n;
	return sys_read_file(proc, path, FILE_MAX, ret, &n) >= 0;
}

/* It waits for the signal, handles it, or has said that it does not want to hear of its dead. */
static bool heeds_sigchld(const char *status)
{
	static const char *const masks[] = {"SigBlk:", "SigIgn:", "SigCgt:"};
	for (size_t i = 0; i < ARRAY_SIZE(masks); i++) {
		const char *p = strstr(status, masks[i]);
		unsigned long long mask;
		if (p && sscanf(p + strlen(masks[i]), "%llx", &mask) == 1 &&
		        (mask >> (SIGCHLD - 1) & 1))
			return true;
	}
	return false;
}

/* is_old_corpse - "PID (NAME) Z ... STARTTIME": proc(5), the 22nd field, in clock ticks. */
static bool is_old_corpse(const char *stat, const char *name, double uptime)
{
	const char *open = strchr(stat, '('), *close = strrchr(stat, ')');
	unsigned long long start;
	if (!open || !close || (size_t)(close - open - 1) != strlen(name) ||
	        strncmp(open + 1, name, strlen(name)) != 0 || close[1] != ' ' || close[2] != 'Z')
		return false;
	const char *p = close + 2;
	for (int i = 3; i < 22 && p; i++) {
		p = strchr(p, ' ');
		p += p != NULL;
	}
	return p && sscanf(p, "%llu", &start) == 1 &&
	       uptime - (double)start / (double)sysconf(_SC_CLK_TCK) > LONG_SECONDS;
}

bool orphans_are_reaped(int proc, const char *name)
{
	_cleanup_free_ char *status = NULL, *children = NULL, *up = NULL;
	if (!read_proc(proc, "1/status", &status))
		return false;
	if (heeds_sigchld(status))
		return true;
	double uptime;
	if (!read_proc(proc, "1/task/1/children", &children) || !read_proc(proc, "uptime", &up) ||
	        sscanf(up, "%lf", &uptime) != 1)
		return false;
	char *end, *p = children;
	for (long pid; (pid = strtol(p, &end, 10)) > 0; p = end) {
		char path[32];
		snprintf(path, sizeof(path), "%ld/stat", pid);
		_cleanup_free_ char *stat = NULL;
		if (read_proc(proc, path, &stat) && is_old_corpse(stat, name, uptime))
			return false;
	}
	return true;
}
