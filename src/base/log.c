/* base/log.c - see log.h. */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

bool log_enabled;

void log_write(const char *fmt, ...)
{
	int saved = errno;
	char line[2048];
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	int n = snprintf(
	        line, sizeof(line), "debug %ld.%06ld ", (long)ts.tv_sec, ts.tv_nsec / 1000);
	va_list ap;
	va_start(ap, fmt);
	int m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	va_end(ap);
	size_t len = MIN((size_t)n + (size_t)MAX(m, 0), sizeof(line) - 2);
	line[len++] = '\n';
	/* One write a line, so that threads do not interleave. */
	ssize_t r = write(STDERR_FILENO, line, len);
	(void)r;
	errno = saved;
}
