/* The live view, frame by frame, on a terminal of a given size. */
#include "ui_test.h"

#define OPEN "\033[?25l\033[?7l"
#define CLOSE "\033[?7h\033[?25h"

static void frames(void)
{
	test_cols = 40;
	test_rows = 12;
	struct ui *u = test_ui(UI_TTY);
	ui_total(u, 3);
	ui_step_cached(u, 1, "[a 1/2] FROM x");
	ui_step_start(u, 2, "[a 2/2] RUN make");
	_cleanup_free_ char *none = test_take();
	is_str(none, "", "less than 100 ms after the start: no frame yet");
	test_now += 1200;
	log_str(u, 2, "one\n");
	_cleanup_free_ char *first = test_take();
	is_str(first,
	        OPEN "\r\033[J"
	             "[+] Building 1.2s (1/3)\n"
	             " => CACHED [a 1/2] FROM x          0.0s\n"
	             " => [a 2/2] RUN make               1.2s\n"
	             " => => # one\n" CLOSE,
	        "first frame");
	test_now += 50;
	log_str(u, 2, "two\n");
	_cleanup_free_ char *soon = test_take();
	is_str(soon, "", "at most ten frames a second");
	test_now += 50;
	log_str(u, 2, "thr");
	_cleanup_free_ char *waiting = test_take();
	is_str(waiting, "", "an unfinished line alone draws nothing");
	u->ops->tick(u);
	_cleanup_free_ char *second = test_take();
	is_str(second,
	        OPEN "\033[4A\r\033[J"
	             "[+] Building 1.3s (1/3)\n"
	             " => CACHED [a 1/2] FROM x          0.0s\n"
	             " => [a 2/2] RUN make               1.3s\n"
	             " => => # one\n"
	             " => => # two\n"
	             " => => # thr\n" CLOSE,
	        "drawn over the first; the unfinished line shows");
	ui_message(u, "warning: x");
	_cleanup_free_ char *msg = test_take();
	ok(strstr(msg, OPEN "\033[6A\r\033[J\033[?7hwarning: x\n\033[?7l[+] Building"),
	        "a message scrolls away above the frame");
	ui_step_done(u, 2);
	(void)free(test_take());
	_cleanup_free_ char *last = test_finish(u);
	is_str(last,
	        OPEN "\033[6A\r\033[J"
	             "[+] Building 1.3s (2/3) FINISHED\n"
	             " => CACHED [a 1/2] FROM x          0.0s\n"
	             " => [a 2/2] RUN make               1.3s\n" CLOSE,
	        "the last frame: finished steps collapsed, cursor shown");
}

static void resize_and_height(void)
{
	test_cols = 40;
	test_rows = 6;
	struct ui *u = test_ui(UI_TTY);
	for (uint64_t i = 1; i <= 8; i++)
		ui_step_cached(u, i, "finished");
	ui_step_start(u, 9, "running with a very long name that does not fit");
	for (int i = 0; i < 30; i++)
		log_str(u, 9, "log\n");
	test_now += 100;
	u->ops->tick(u);
	_cleanup_free_ char *small = test_take();
	is_str(small,
	        OPEN "\r\033[J"
	             "[+] Building 0.1s (8/9)\n"
	             " => running with a very long name  0.1s\n"
	             " => => # log\n"
	             " => => # log\n"
	             " => => # log\n" CLOSE,
	        "a frame fits the terminal; finished steps give way first");
	test_cols = 20;
	test_rows = 4;
	test_now += 100;
	u->ops->tick(u);
	_cleanup_free_ char *narrow = test_take();
	is_str(narrow,
	        /* 23 and 39 columns broke into 2 rows each at the new width */
	        OPEN "\033[7A\r\033[J"
	             "[+] Building 0.2s (\n"
	             " => running wi 0.2s\n"
	             " => => # log\n" CLOSE,
	        "after a resize the old rows are counted at the new width");
	test_cols = 5;
	test_rows = 1;
	test_now += 100;
	u->ops->tick(u);
	_cleanup_free_ char *tiny = test_take();
	is_str(tiny, OPEN "\033[11A\r\033[J[+] \n" CLOSE, "a tiny terminal");
	ui_free(u);
	close(test_fd);
}

static void failure_and_colour(void)
{
	test_cols = 60;
	test_rows = 20;
	struct ui *u = test_ui(UI_TTY);
	u->no_color = false;
	ui_step_start(u, 1, "RUN \033[2Jx");
	log_str(u, 1, "\033[32mgreen\033]0;t\a\n");
	test_now += 100;
	u->ops->tick(u);
	_cleanup_free_ char *frame = test_take();
	ok(strstr(frame, "\033[2m => => # \033[32mgreen\\x1b]0;t\\x07\033[0m\033[0m\n"),
	        "colours of a log line pass on a terminal, nothing else does");
	ok(strstr(frame, " => RUN \\x1b[2Jx"), "names are escaped");
	ui_step_error(u, 1, "exit code: 1");
	_cleanup_free_ char *out = test_finish(u);
	ok(strstr(out, "FAILED\n\033[31m => ERROR RUN \\x1b[2Jx"), "failed step in red");
	ok(strstr(out,
	           "------\n > RUN \\x1b[2Jx:\n0.000 \033[32mgreen\\x1b]0;t\\x07\033[0m\n------\n"),
	        "its last lines below the frame");
	u = test_ui(UI_TTY);
	_cleanup_free_ char *empty = test_finish(u);
	is_str(empty, "", "no step, no frame");
}

static void live(void)
{
	struct ui *u = test_ui(UI_TTY);
	ui_live(u);
	ui_live(u);
	ui_step_start(u, 1, "x");
	ui_step_done(u, 1);
	_cleanup_free_ char *out = test_finish(u);
	ok(strstr(out, "(1/1) FINISHED"), "the timer thread starts once and ends");
}

int main(void)
{
	frames();
	resize_and_height();
	failure_and_colour();
	live();
	return tap_done();
}
