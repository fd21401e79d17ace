/* ui/tty.c - the live view. A frame is a header, finished steps (one line each), and running steps
 * with their transfers and last log lines; it never exceeds the terminal, and is drawn over the
 * frame before it.
 *
 * Invariants: a frame is one write() that hides the cursor first and shows it last, so that even
 * kill -9 leaves a usable terminal; auto-wrap is off while drawing, so that a line is a row; the
 * cursor rests at the start of the row below the frame. */
#include "ui/internal.h"
#include "ui/escape.h"

#include <stdio.h>

enum { FRAME_MS = 100, LOG_LINES = 6, TIME_COLS = 8 };

#define BLUE "\033[34m"
#define RED "\033[31m"
#define YELLOW "\033[33m"
#define FAINT "\033[2m"
#define RESET "\033[0m"

struct frame {
	struct ui *u;
	struct strbuf out;
	unsigned cols; /* of the terminal */
	unsigned *line_cols;
	size_t n_lines, cap_lines;
};

/* frame_line - left text cut to the room there is, right text (may be "") at the right edge. The
 * last column stays free: writing it makes some terminals wrap. */
static void frame_line(struct frame *f, const char *colour, const char *left, size_t left_len,
        const char *right, bool keep_sgr)
{
	bool coloured = colour && !f->u->no_color;
	unsigned width = f->cols > 1 ? f->cols - 1 : 1;
	unsigned right_cols = (unsigned)strlen(right);
	if (width < right_cols + 12)
		right_cols = 0; /* too narrow for times */
	if (coloured)
		strbuf_addstr(&f->out, colour);
	unsigned room = right_cols ? width - right_cols - 1 : width;
	unsigned used = (unsigned)ui_escape_line(
	        &f->out, left, left_len, keep_sgr && !f->u->no_color, room);
	if (right_cols) {
		strbuf_addf(&f->out, "%*s%s", (int)(width - right_cols - used), "", right);
		used = width;
	}
	if (coloured)
		strbuf_addstr(&f->out, RESET);
	strbuf_addch(&f->out, '\n');
	vec_grow(&f->line_cols, &f->cap_lines, f->n_lines + 1);
	f->line_cols[f->n_lines++] = used;
}

static void seconds_str(char buf[TIME_COLS * 4], int64_t ms)
{
	snprintf(buf, TIME_COLS * 4, "%.1fs", (double)MAX(ms, 0) / 1000);
}

static void add_header(struct frame *f, bool final)
{
	struct ui *u = f->u;
	bool failed = false;
	for (size_t i = 0; i < u->n_steps; i++)
		failed |= u->steps[i]->state == UI_ERROR || u->steps[i]->state == UI_CANCELLED;
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	strbuf_addf(&sb, "[+] Building %.1fs (%zu/%u)%s",
	        (double)(u->now_ms() - u->start_ms) / 1000, ui_done_count(u), u->total,
	        final ? failed ? " FAILED" : " FINISHED" : "");
	frame_line(f, NULL, sb.buf, sb.len, "", false);
}

static void add_step_line(struct frame *f, const struct ui_step *s)
{
	static const char *const colours[] = {[UI_RUNNING] = NULL,
	        [UI_DONE] = BLUE,
	        [UI_CACHED] = BLUE,
	        [UI_ERROR] = RED,
	        [UI_CANCELLED] = YELLOW};
	static const char *const words[] = {[UI_RUNNING] = "",
	        [UI_DONE] = "",
	        [UI_CACHED] = "CACHED ",
	        [UI_ERROR] = "ERROR ",
	        [UI_CANCELLED] = "CANCELED "};
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	char time[TIME_COLS * 4];
	int64_t end = s->state == UI_RUNNING ? f->u->now_ms() : s->end_ms;
	seconds_str(time, end - s->start_ms);
	strbuf_addf(&sb, " => %s%s", words[s->state], s->name);
	frame_line(f, colours[s->state], sb.buf, sb.len, time, false);
}

static size_t open_statuses(const struct ui_step *s)
{
	size_t n = 0;
	for (size_t i = 0; i < s->n_statuses; i++)
		n += s->statuses[i].end_ms < 0;
	return n;
}

/* add_details - at most `room` lines: transfers that go on, then the newest log lines. */
static void add_details(struct frame *f, const struct ui_step *s, size_t room)
{
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	char time[TIME_COLS * 4];
	for (size_t i = 0; i < s->n_statuses && room; i++) {
		const struct ui_status *st = &s->statuses[i];
		if (st->end_ms >= 0)
			continue;
		strbuf_reset(&sb);
		strbuf_addf(&sb, " => => %s", st->what);
		ui_bytes(&sb, st);
		seconds_str(time, f->u->now_ms() - st->start_ms);
		frame_line(f, NULL, sb.buf, sb.len, time, false);
		room--;
	}
	/* an unfinished line is the newest: a prompt or a row of dots shows while it grows */
	const struct strbuf *open = s->partial[1].len ? &s->partial[1] : &s->partial[0];
	size_t n_open = open->len && room ? 1 : 0;
	for (size_t k = MIN(s->tail_n, MIN(room - n_open, UI_TAIL)); k-- > 0;) {
		const struct ui_tail_line *l = ui_tail_get(s, k);
		strbuf_reset(&sb);
		strbuf_addstr(&sb, l->is_note ? " => => " : " => => # ");
		strbuf_add(&sb, l->text, l->n);
		frame_line(f, FAINT, sb.buf, sb.len, "", true);
	}
	if (n_open) {
		strbuf_reset(&sb);
		strbuf_addstr(&sb, " => => # ");
		strbuf_add(&sb, open->buf, open->len);
		frame_line(f, FAINT, sb.buf, sb.len, "", true);
	}
}

static size_t details_of(const struct ui_step *s, size_t max)
{
	bool open = s->partial[0].len || s->partial[1].len;
	return MIN(open_statuses(s) + s->tail_n + open, max);
}

/* build_frame - header and steps in one row less than the terminal has; all steps if final.
 * Finished steps give way first, the oldest before the newer; then log lines; then running steps.
 */
static void build_frame(struct frame *f, unsigned rows, bool final)
{
	struct ui *u = f->u;
	size_t running = 0, finished = 0;
	for (size_t i = 0; i < u->n_steps; i++)
		*(u->steps[i]->state == UI_RUNNING ? &running : &finished) += 1;
	size_t room = final ? SIZE_MAX / 2 : rows > 2 ? rows - 2 : 0;
	size_t show_running = MIN(running, room);
	size_t logs =
	        show_running && !final ? MIN((room - show_running) / show_running, LOG_LINES) : 0;
	size_t used = show_running;
	for (size_t i = 0; i < u->n_steps; i++)
		if (u->steps[i]->state == UI_RUNNING)
			used += details_of(u->steps[i], logs);
	size_t show_finished = used < room ? MIN(finished, room - used) : 0;
	size_t skip_finished = finished - show_finished;
	add_header(f, final);
	for (size_t i = 0; i < u->n_steps; i++) {
		const struct ui_step *s = u->steps[i];
		if (s->state != UI_RUNNING) {
			if (skip_finished)
				skip_finished--;
			else
				add_step_line(f, s);
		} else if (show_running) {
			show_running--;
			add_step_line(f, s);
			if (logs)
				add_details(f, s, logs);
		}
	}
}

/* wipe - to the start of the frame on the screen, and clear from there. A narrower terminal has
 * broken the old lines into several rows: count them at today's width. */
static void wipe(struct ui *u, struct strbuf *out, unsigned cols)
{
	size_t up = 0;
	for (size_t i = 0; i < u->n_frame; i++)
		up += u->frame_cols[i] ? (u->frame_cols[i] + cols - 1) / cols : 1;
	if (up)
		strbuf_addf(out, "\033[%zuA", up);
	strbuf_addstr(out, "\r\033[J");
	u->n_frame = 0;
}

static void draw(struct ui *u, const char *above, bool final)
{
	unsigned cols, rows;
	u->size(u, &cols, &rows);
	struct frame f = {.u = u, .out = STRBUF_INIT, .cols = cols};
	strbuf_addstr(&f.out, "\033[?25l\033[?7l");
	wipe(u, &f.out, cols);
	if (above)
		strbuf_addf(&f.out, "\033[?7h%s\n\033[?7l", above);
	build_frame(&f, rows, final);
	if (final)
		ui_failures(u, &f.out);
	strbuf_addstr(&f.out, "\033[?7h\033[?25h");
	ui_write(u, f.out.buf, f.out.len);
	strbuf_release(&f.out);
	free(u->frame_cols);
	u->frame_cols = f.line_cols;
	u->n_frame = f.n_lines;
	u->cap_frame = f.cap_lines;
	u->drawn_ms = u->now_ms();
	u->dirty = false;
}

/* changed - redraw now if the last frame is old enough; else the timer or the next event does. */
static void changed(struct ui *u)
{
	u->dirty = true;
	if (u->now_ms() - u->drawn_ms >= FRAME_MS)
		draw(u, NULL, false);
}

static void tty_step(struct ui *u, struct ui_step *s)
{
	(void)s;
	changed(u);
}

static void tty_line(struct ui *u, struct ui_step *s, const struct ui_tail_line *l)
{
	(void)s;
	(void)l;
	changed(u);
}

static void tty_status(struct ui *u, struct ui_step *s, struct ui_status *st)
{
	(void)s;
	(void)st;
	changed(u);
}

static void tty_message(struct ui *u, const char *text)
{
	draw(u, text, false);
}

static void tty_tick(struct ui *u)
{
	bool running = false;
	for (size_t i = 0; i < u->n_steps && !running; i++)
		running = u->steps[i]->state == UI_RUNNING;
	if ((u->dirty || running) && u->now_ms() - u->drawn_ms >= FRAME_MS)
		draw(u, NULL, false);
}

static void tty_finish(struct ui *u)
{
	if (u->n_steps)
		draw(u, NULL, true);
}

const struct ui_ops ui_tty_ops = {
        .tick_ms = FRAME_MS,
        .started = tty_step,
        .line = tty_line,
        .status = tty_status,
        .ended = tty_step,
        .message = tty_message,
        .tick = tty_tick,
        .finish = tty_finish,
};
