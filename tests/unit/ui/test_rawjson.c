/* BuildKit's SolveStatus shape, one object a line. */
#include "ui_test.h"

#define D1 "sha256:0000000000000000000000000000000000000000000000000000000000000001"

int main(void)
{
	struct ui *u = test_ui(UI_RAWJSON);
	ui_step_start(u, 5, "RUN \"x\\\033");
	_cleanup_free_ char *start = test_take();
	is_str(start,
	        "{\"vertexes\":[{\"digest\":\"" D1 "\",\"name\":\"RUN \\\"x\\\\\\\\x1b\","
	        "\"started\":\"2023-11-14T22:13:21.000000Z\"}]}\n",
	        "start");
	test_now += 250;
	ui_step_log(u, 5, true, "hi\033\n", 4);
	ui_step_log(u, 5, false, "a", 1);
	_cleanup_free_ char *logs = test_take();
	is_str(logs,
	        "{\"logs\":[{\"vertex\":\"" D1 "\",\"stream\":2,\"data\":\"aGkbCg==\","
	        "\"timestamp\":\"2023-11-14T22:13:21.250000Z\"}]}\n"
	        "{\"logs\":[{\"vertex\":\"" D1 "\",\"stream\":1,\"data\":\"YQ==\","
	        "\"timestamp\":\"2023-11-14T22:13:21.250000Z\"}]}\n",
	        "log chunks as they came");
	ui_step_progress(u, 5, "blob", 5, 10);
	ui_step_progress(u, 5, "blob", 6, 10);
	_cleanup_free_ char *status = test_take();
	is_str(status,
	        "{\"statuses\":[{\"id\":\"blob\",\"vertex\":\"" D1 "\",\"current\":5,\"total\":10,"
	        "\"timestamp\":\"2023-11-14T22:13:21.250000Z\","
	        "\"started\":\"2023-11-14T22:13:21.250000Z\"}]}\n",
	        "transfers, at most ten a second");
	ui_step_error(u, 5, "a\nb");
	ui_message(u, "warn");
	ui_step_cached(u, 6, "c");
	_cleanup_free_ char *out = test_finish(u);
	ok(strstr(out,
	           "\"completed\":\"2023-11-14T22:13:21.250000Z\",\"error\":\"a\\u000ab\"}]}\n"),
	        "error");
	ok(strstr(out, "{\"warnings\":[{\"level\":1,\"short\":\"d2Fybg==\"}]}\n"), "message");
	ok(strstr(out, "0002\",\"name\":\"c\",\"started\":\"2023-11-14T22:13:21.250000Z\","
	               "\"completed\":\"2023-11-14T22:13:21.250000Z\",\"cached\":true}]}\n"),
	        "cached");
	return tap_done();
}
