/* BuildKit's line format, byte for byte. */
#include "ui_test.h"

static void one_step(void)
{
	struct ui *u = test_ui(UI_PLAIN);
	ui_step_start(u, 70, "[build 2/3] RUN make");
	test_now += 123;
	log_str(u, 70, "cc -o x");
	test_now += 12;
	log_str(u, 70, " x.c\ndone\n");
	test_now += 1100;
	ui_step_done(u, 70);
	_cleanup_free_ char *out = test_finish(u);
	is_str(out,
	        "#1 [build 2/3] RUN make\n"
	        "#1 0.123 cc -o x x.c\n"
	        "#1 0.135 done\n"
	        "#1 DONE 1.2s\n",
	        "one step; a line has the time of its first byte");
}

static void endings(void)
{
	struct ui *u = test_ui(UI_PLAIN);
	ui_step_cached(u, 1, "FROM scratch");
	ui_step_start(u, 2, "RUN false");
	log_str(u, 2, "no newline at the end");
	test_now += 12345;
	log_str(u, 2, "\nlate\n");
	ui_step_error(u, 2, "exit code: 1\nsecond line");
	ui_step_start(u, 3, "RUN sleep");
	ui_step_cancelled(u, 3);
	_cleanup_free_ char *out = test_finish(u);
	is_str(out,
	        "#1 FROM scratch\n#1 CACHED\n"
	        "\n#2 RUN false\n#2 0.000 no newline at the end\n#2 12.35 late\n"
	        "#2 ERROR: exit code: 1\n#2 second line\n"
	        "\n#3 RUN sleep\n#3 CANCELED\n"
	        "------\n > RUN false:\n0.000 no newline at the end\n12.35 late\n------\n",
	        "cached, error, cancelled, and the failure's last lines");
}

static void interleaved(void)
{
	struct ui *u = test_ui(UI_PLAIN);
	ui_step_start(u, 1, "A");
	ui_step_start(u, 2, "B");
	log_str(u, 1, "a1\n");
	log_str(u, 2, "b1\n"); /* A has its turn: held */
	log_str(u, 1, "a2\n");
	_cleanup_free_ char *first = test_take();
	is_str(first, "#1 A\n#1 0.000 a1\n#1 0.000 a2\n", "B waits while A prints");
	ui_step_done(u, 2); /* a step that ends prints at once */
	_cleanup_free_ char *second = test_take();
	is_str(second, "#1 ...\n\n#2 B\n#2 0.000 b1\n#2 DONE 0.0s\n", "the switch");
	log_str(u, 1, "a3\n");
	_cleanup_free_ char *third = test_take();
	is_str(third, "\n#1 A\n#1 0.000 a3\n", "A goes on under its name");
	ui_step_start(u, 3, "C");
	test_now += 1500;
	log_str(u, 3, "c1\n"); /* A was quiet for longer than a second */
	_cleanup_free_ char *fourth = test_take();
	is_str(fourth, "#1 ...\n\n#3 C\n#3 1.500 c1\n", "a quiet step loses its turn");
	ui_step_done(u, 1);
	ui_step_done(u, 3);
	_cleanup_free_ char *rest = test_finish(u);
	is_str(rest, "#3 ...\n\n#1 A\n#1 DONE 1.5s\n\n#3 C\n#3 DONE 1.5s\n", "both end");
}

static void hostile(void)
{
	struct ui *u = test_ui(UI_PLAIN);
	ui_step_start(u, 1, "RUN \033]0;x\a\n#9 DONE");
	log_str(u, 1, "10%\r50%\r\n\r\n\033[31mred\033[0m\033[2K\n");
	ui_step_note(u, 1, "extracting %s", "\033[1m");
	ui_message(u, "warning: \033]52;c;x\a");
	ui_step_error(u, 1, "bad \xe2\x80\xae");
	_cleanup_free_ char *out = test_finish(u);
	is_str(out,
	        "#1 RUN \\x1b]0;x\\x07\\x0a#9 DONE\n"
	        "#1 0.000 10%\n#1 0.000 50%\n#1 0.000\n#1 0.000 red\\x1b[2K\n"
	        "#1 extracting\n#1 ...\n\nwarning: \\x1b]52;c;x\\x07\n"
	        "\n#1 RUN \\x1b]0;x\\x07\\x0a#9 DONE\n#1 ERROR: bad \\u{202e}\n"
	        "------\n > RUN \\x1b]0;x\\x07\\x0a#9 DONE:\n"
	        "0.000 10%\n0.000 50%\n0.000 \n0.000 red\\x1b[2K\nextracting \n------\n",
	        "escapes are shown, colours dropped, CR breaks lines");
}

static void progress(void)
{
	struct ui *u = test_ui(UI_PLAIN);
	ui_step_start(u, 1, "FROM x");
	ui_step_progress(u, 1, "sha256:ab", 0, 45000000);
	test_now += 200;
	ui_step_progress(u, 1, "sha256:ab", 12300000, 45000000);
	test_now += 5000;
	ui_step_progress(u, 1, "sha256:ab", 30000000, 45000000);
	ui_step_progress(u, 1, "sha256:ab", 45000000, 45000000);
	ui_step_progress(u, 1, "sha256:ab", 45000000, 45000000);
	ui_step_done(u, 1);
	_cleanup_free_ char *out = test_finish(u);
	is_str(out,
	        "#1 FROM x\n#1 sha256:ab 0B / 45.0MB\n#1 sha256:ab 30.0MB / 45.0MB 5.2s\n"
	        "#1 sha256:ab 45.0MB / 45.0MB 5.2s done\n#1 DONE 5.2s\n",
	        "transfers print seldom, and once when complete");
}

static void long_lines(void)
{
	struct ui *u = test_ui(UI_PLAIN);
	ui_step_start(u, 1, "x");
	_cleanup_free_ char *big = xmalloc(200000);
	memset(big, 'a', 200000);
	ui_step_log(u, 1, false, big, 200000);
	ui_step_done(u, 1);
	_cleanup_free_ char *out = test_finish(u);
	int lines = 0;
	for (const char *p = out; (p = strchr(p, '\n')); p++)
		lines++;
	is_int(lines, 6, "a 200,000-byte line is broken at 64 KiB");
}

static void modes(void)
{
	enum ui_mode m = UI_NONE;
	ok(ui_mode_parse("rawjson", &m) && m == UI_RAWJSON, "rawjson is a mode");
	ok(!ui_mode_parse("fancy", &m) && m == UI_RAWJSON, "fancy is none");
	struct ui *u = test_ui(UI_QUIET);
	ui_step_start(u, 1, "RUN false");
	log_str(u, 1, "why\n");
	ui_message(u, "m");
	ui_step_error(u, 1, "exit code: 1");
	_cleanup_free_ char *out = test_finish(u);
	is_str(out, "------\n > RUN false:\n0.000 why\n------\n", "quiet shows failures alone");
	u = test_ui(UI_AUTO);
	ui_step_cached(u, 1, "x");
	_cleanup_free_ char *plain = test_finish(u);
	is_str(plain, "#1 x\n#1 CACHED\n", "auto is plain where there is no terminal");
}

static void retry_and_ticks(void)
{
	struct ui *u = test_ui(UI_PLAIN);
	ui_step_start(u, 1, "A");
	ui_step_start(u, 2, "B");
	log_str(u, 2, "b1\n");
	u->ops->tick(u);
	_cleanup_free_ char *early = test_take();
	is_str(early, "#1 A\n", "nothing yet");
	test_now += 1000;
	u->ops->tick(u);
	_cleanup_free_ char *later = test_take();
	is_str(later, "#1 ...\n\n#2 B\n#2 0.000 b1\n", "held lines come out by the timer");
	ui_step_error(u, 2, "net");
	ui_step_start(u, 2, "B");
	ui_step_done(u, 2);
	ui_step_log(u, 77, false, "x\n", 2);
	ui_step_done(u, 77);
	ui_step_done(u, 2);
	_cleanup_free_ char *out = test_finish(u);
	is_str(out, "#2 ERROR: net\n\n#2 B\n#2 DONE 0.0s\n",
	        "a retried step keeps its number; unknown and finished ids are ignored");
}

int main(void)
{
	one_step();
	endings();
	interleaved();
	hostile();
	progress();
	long_lines();
	modes();
	retry_and_ticks();
	return tap_done();
}
