/* tests/unit/ui/ui_test.h - a ui that writes into a memfd, with clocks and size set by the test. */
#ifndef STRAKE_TESTS_UI_TEST_H
#define STRAKE_TESTS_UI_TEST_H

#include <sys/mman.h>

#include "ui/internal.h"
#include "tap.h"

static int64_t test_now = 1000;
static unsigned test_cols = 60, test_rows = 12;

static int64_t test_now_ms(void)
{
	return test_now;
}

static int64_t test_wall_us(void)
{
	return 1700000000000000 + test_now * 1000; /* 2023-11-14T22:13:20Z + test_now */
}

static void test_size(struct ui *u, unsigned *ret_cols, unsigned *ret_rows)
{
	(void)u;
	*ret_cols = test_cols;
	*ret_rows = test_rows;
}

static int test_fd = -1;

static struct ui *test_ui(enum ui_mode mode)
{
	test_fd = memfd_create("ui", MFD_CLOEXEC);
	test_now = 1000;
	struct ui *u = ui_new(&(struct ui_options){.mode = mode, .fd = test_fd, .no_color = true});
	u->now_ms = test_now_ms;
	u->wall_us = test_wall_us;
	u->size = test_size;
	u->start_ms = u->drawn_ms = test_now;
	return u;
}

/* test_output - all written so far; the caller frees. */
static char *test_output(void)
{
	off_t n = lseek(test_fd, 0, SEEK_END);
	char *p = xzalloc((size_t)n + 1);
	if (pread(test_fd, p, (size_t)n, 0) != n)
		abort();
	return p;
}

/* test_take - what was written since the last take. */
static char *test_take(void)
{
	char *p = test_output();
	if (ftruncate(test_fd, 0) < 0 || lseek(test_fd, 0, SEEK_SET) < 0)
		abort();
	return p;
}

static char *test_finish(struct ui *u)
{
	ui_free(u);
	char *p = test_output();
	close(test_fd);
	return p;
}

static inline void log_str(struct ui *u, uint64_t id, const char *s)
{
	ui_step_log(u, id, false, s, strlen(s));
}

#endif
