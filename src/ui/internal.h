/* ui/internal.h - what the printers share: the steps as the events left them, and the operations a
 * printer offers. ui.c holds the lock around every call into a printer. */
#ifndef STRAKE_UI_INTERNAL_H
#define STRAKE_UI_INTERNAL_H

#include <pthread.h>

#include "base/strbuf.h"
#include "ui/ui.h"

enum {
	UI_TAIL = 20,          /* log lines kept per step for the view and for failures */
	UI_LINE_MAX = 1 << 16, /* a longer line is broken */
	UI_STATUS_MAX = 1024,  /* transfers shown per step */
};

enum ui_state { UI_RUNNING, UI_DONE, UI_CACHED, UI_ERROR, UI_CANCELLED };

enum { UI_CR_TEXT = 1, UI_CR_EMPTY }; /* the line that the CR ended had text, or none */

struct ui_tail_line {
	char *text; /* raw bytes, NUL-terminated for convenience; n counts */
	size_t n;
	int64_t ms;   /* since the step's start */
	bool is_note; /* printed by us: no timestamp */
};

/* one "sha256:abc 12.3MB / 45MB" of a step */
struct ui_status {
	char *what; /* escaped */
	uint64_t now, total;
	int64_t start_ms, end_ms; /* end_ms < 0: not complete */
	int64_t shown_ms;         /* plain: last time it was printed; < 0: never */
};

struct ui_step {
	uint64_t id;
	unsigned n; /* #n */
	char *name; /* escaped */
	enum ui_state state;
	int64_t start_ms, end_ms;
	char *error; /* escaped, newlines kept */

	struct strbuf partial[2]; /* the unfinished line of stdout and of stderr */
	int64_t partial_ms[2];
	char after_cr[2]; /* the last byte was CR (UI_CR_*): a following LF belongs to it */

	struct ui_tail_line tail[UI_TAIL]; /* ring; tail_n counts all lines ever added */
	size_t tail_n;

	struct ui_status *statuses;
	size_t n_statuses, cap_statuses;

	struct strbuf held; /* plain: lines that wait until the step may print */
	int64_t held_ms;    /* when the first of them came */
};

struct ui_ops {
	unsigned tick_ms; /* 0: needs no timer */
	void (*started)(struct ui *u, struct ui_step *s);
	void (*chunk)(struct ui *u, struct ui_step *s, bool is_stderr, const char *p, size_t n);
	void (*line)(struct ui *u, struct ui_step *s, const struct ui_tail_line *l);
	void (*status)(struct ui *u, struct ui_step *s, struct ui_status *st);
	void (*ended)(struct ui *u, struct ui_step *s);
	void (*message)(struct ui *u, const char *text); /* escaped, newlines kept */
	void (*tick)(struct ui *u);
	void (*finish)(struct ui *u);
};
extern const struct ui_ops ui_plain_ops, ui_tty_ops, ui_rawjson_ops, ui_silent_ops;

struct ui {
	pthread_mutex_t lock;
	const struct ui_ops *ops;
	enum ui_mode mode;
	int fd;
	bool no_color;
	bool dead; /* the reader went away: write nothing more */
	unsigned total;
	struct ui_step **steps; /* steps[i]->n == i + 1 */
	size_t n_steps, cap_steps;
	size_t last_found; /* events of one step come in a row */
	int64_t start_ms;

	/* the clocks, replaceable by tests */
	int64_t (*now_ms)(void);
	int64_t (*wall_us)(void);
	/* tty: size of the terminal, replaceable by tests */
	void (*size)(struct ui *u, unsigned *ret_cols, unsigned *ret_rows);

	/* plain */
	struct ui_step *current, *last;
	int64_t current_ms, current_out_ms;
	bool not_first;

	/* tty */
	unsigned *frame_cols; /* columns of each line of the frame on the screen */
	size_t n_frame, cap_frame;
	int64_t drawn_ms;
	bool dirty;

	pthread_t ticker;
	pthread_cond_t ticker_cond;
	bool ticker_on, ticker_stop;
};

/* ui_write - all bytes to the terminal; gives up for good on an error. */
void ui_write(struct ui *u, const char *p, size_t n);
/* ui_seconds - a log line's time as BuildKit writes it: 0.123, 12.34, 123.4. */
void ui_seconds(struct strbuf *out, int64_t ms);
void ui_bytes(struct strbuf *out, const struct ui_status *st);
size_t ui_done_count(const struct ui *u);
/* ui_tail_get - the i-th newest line, 0 the newest; NULL when there is none. */
const struct ui_tail_line *ui_tail_get(const struct ui_step *s, size_t i);
/* ui_failures - the last lines of each failed step, between rules of dashes. */
void ui_failures(struct ui *u, struct strbuf *out);

#endif
