/* ui/ui.h - typed events -> terminal, plain, JSON lines, quiet. Progress goes to stderr; results
 * are printed by cli/ on stdout. Thread-safe: events may come from any thread.
 *
 * All text from outside (step names, log lines, errors) is escaped here: nothing a build prints can
 * move the cursor, set a title, fill a clipboard or forge another step's line. Colour sequences of
 * log lines are let through on a terminal and dropped elsewhere. In rawjson, log bytes are base64.
 *
 * ui_new starts no thread, because the process must be single-threaded when it enters its user
 * namespace; call ui_live() after that (or never: then the view advances with events only). */
#ifndef STRAKE_UI_UI_H
#define STRAKE_UI_UI_H

#include "base/error.h"

enum ui_mode { UI_AUTO, UI_PLAIN, UI_TTY, UI_RAWJSON, UI_QUIET, UI_NONE };

struct ui;
struct ui_options {
	enum ui_mode mode;
	int fd;               /* usually 2 */
	unsigned total_steps; /* known steps, for the tty header; may grow later */
	bool no_color;        /* NO_COLOR */
};
struct ui *ui_new(const struct ui_options *o);
/* ui_live - from here on threads are welcome: refresh elapsed times and held-back output by a
 * timer. May be called more than once; does nothing in modes that need no timer. */
void ui_live(struct ui *u);
/* ui_free - the last frame in tty mode; then, for each failed step, the last lines it printed
 * (also in quiet mode); flushes. NULL is fine. */
void ui_free(struct ui *u);
/* ui_mode_parse - "auto" "plain" "tty" "rawjson" "quiet" "none"; false: unknown. */
bool ui_mode_parse(const char *s, enum ui_mode *ret) must_check;

/* Steps are numbered by their first event (#1, #2, ...), as BuildKit does. `id` is the caller's
 * own key (graph node id or any unique number). */
void ui_step_start(struct ui *u, uint64_t id, const char *name);
void ui_step_log(
        struct ui *u, uint64_t id, bool is_stderr, const char *p, size_t n); /* any chunk */
/* ui_step_progress - "sha256:abc 12.3MB / 45MB"; total 0: unknown. */
void ui_step_progress(struct ui *u, uint64_t id, const char *what, uint64_t now, uint64_t total);
/* ui_step_note - a line in the step's context ("#5 extracting ... done"). */
void ui_step_note(struct ui *u, uint64_t id, const char *fmt, ...) printf_like(3, 4);
void ui_step_cached(struct ui *u, uint64_t id, const char *name); /* start + cached in one */
void ui_step_done(struct ui *u, uint64_t id);
void ui_step_error(struct ui *u, uint64_t id, const char *message);
void ui_step_cancelled(struct ui *u, uint64_t id);
/* ui_message - a line outside any step (warnings, privilege mode). */
void ui_message(struct ui *u, const char *fmt, ...) printf_like(2, 3);
void ui_total(struct ui *u, unsigned total_steps);

#endif
