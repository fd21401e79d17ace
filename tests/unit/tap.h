/* tests/unit/tap.h - the least of TAP: ok(), is_str(), is_int(); main ends with tap_done(). */
#ifndef STRAKE_TESTS_TAP_H
#define STRAKE_TESTS_TAP_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int tap_n, tap_failed;

static inline int tap_ok(int cond, const char *file, int line, const char *what)
{
	printf("%sok %d - %s\n", cond ? "" : "not ", ++tap_n, what);
	if (!cond) {
		tap_failed++;
		printf("#   at %s:%d\n", file, line);
	}
	fflush(stdout);
	return cond;
}
#define ok(cond, what) tap_ok(!!(cond), __FILE__, __LINE__, (what))
#define is_str(got, want, what)                                                                    \
	do {                                                                                       \
		const char *got_ = (got), *want_ = (want);                                         \
		if (!ok(got_ && want_ ? strcmp(got_, want_) == 0 : got_ == want_, (what)))         \
			printf("#   got:  %s\n#   want: %s\n", got_ ? got_ : "(null)",             \
			        want_ ? want_ : "(null)");                                         \
	} while (0)
#define is_int(got, want, what)                                                                    \
	do {                                                                                       \
		long long got_ = (long long)(got), want_ = (long long)(want);                      \
		if (!ok(got_ == want_, (what)))                                                    \
			printf("#   got:  %lld\n#   want: %lld\n", got_, want_);                   \
	} while (0)

static inline int tap_done(void)
{
	printf("1..%d\n", tap_n);
	return tap_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
