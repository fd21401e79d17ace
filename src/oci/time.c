/* oci/time.c - RFC 3339 in UTC, as Go's time.RFC3339Nano prints it. */
#include "oci/oci.h"

#include <stdio.h>
#include <time.h>

char *oci_time(int64_t sec, int64_t nsec)
{
	struct tm tm;
	time_t t = (time_t)sec;
	if (!gmtime_r(&t, &tm))
		memset(&tm, 0, sizeof(tm));
	char frac[16];
	snprintf(frac, sizeof(frac), ".%09d", (int)nsec);
	size_t n = strlen(frac);
	while (n && (frac[n - 1] == '0' || frac[n - 1] == '.'))
		frac[--n] = '\0';
	return xasprintf("%04d-%02d-%02dT%02d:%02d:%02d%sZ", tm.tm_year + 1900, tm.tm_mon + 1,
	        tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, frac);
}
