/* ui/plain.c - BuildKit's line format, for logs and pipes:
 *
 *     #5 [build 2/3] RUN make
 *     #5 0.123 cc -o x x.c
 *     #5 DONE 1.2s
 *
 * One step prints at a time. Others' lines are held back until it ends or has had its turn, so that
 * parallel steps stay readable; a switch prints "#5 ..." and a blank line. */
#include "ui/internal.h"
#include "ui/escape.h"

enum {
	TURN_MS = 5000,     /* a busy step keeps the output at least this long ... */
	IDLE_MS = 1000,     /* ... a quiet one only this long */
	HELD_MAX = 1 << 20, /* held output beyond this forces a switch */
	STATUS_MS = 5000,   /* transfers: one line in this time, and one at the end */
};

static void switch_to(struct ui *u, struct ui_step *s, struct strbuf *out)
{
	if (u->current == s)
		return;
	if (u->current)
		strbuf_addf(out, "#%u ...\n", u->current->n);
	if (u->last != s || !u->current) {
		if (u->not_first)
			strbuf_addch(out, '\n');
		u->not_first = true;
		strbuf_addf(out, "#%u %s\n", s->n, s->name);
	}
	u->current = u->last = s;
	u->current_ms = u->current_out_ms = u->now_ms();
	strbuf_add(out, s->held.buf, s->held.len);
	strbuf_reset(&s->held);
}

static bool turn_is_over(const struct ui *u)
{
	int64_t now = u->now_ms();
	return !u->current || now - u->current_ms >= TURN_MS || now - u->current_out_ms >= IDLE_MS;
}

/* emit - a finished line of s: now, or when its turn comes. */
static void emit(struct ui *u, struct ui_step *s, const struct strbuf *line)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	if (u->current != s && (turn_is_over(u) || s->held.len > HELD_MAX))
		switch_to(u, s, &out);
	if (u->current != s) {
		if (!s->held.len)
			s->held_ms = u->now_ms();
		strbuf_add(&s->held, line->buf, line->len);
		return;
	}
	strbuf_add(&out, line->buf, line->len);
	u->current_out_ms = u->now_ms();
	ui_write(u, out.buf, out.len);
}

static void plain_started(struct ui *u, struct ui_step *s)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	if (!u->current)
		switch_to(u, s, &out);
	ui_write(u, out.buf, out.len);
}

static void plain_line(struct ui *u, struct ui_step *s, const struct ui_tail_line *l)
{
	_cleanup_strbuf_ struct strbuf line = STRBUF_INIT;
	strbuf_addf(&line, "#%u ", s->n);
	if (!l->is_note) {
		ui_seconds(&line, l->ms);
		strbuf_addch(&line, ' ');
	}
	ui_escape_line(&line, l->text, l->n, false, 0);
	while (line.buf[line.len - 1] == ' ')
		strbuf_truncate(&line, line.len - 1);
	strbuf_addch(&line, '\n');
	emit(u, s, &line);
}

static void plain_status(struct ui *u, struct ui_step *s, struct ui_status *st)
{
	int64_t now = u->now_ms();
	if (st->end_ms < 0 && st->shown_ms >= 0 && now - st->shown_ms < STATUS_MS)
		return;
	st->shown_ms = now;
	_cleanup_strbuf_ struct strbuf line = STRBUF_INIT;
	strbuf_addf(&line, "#%u %s", s->n, st->what);
	ui_bytes(&line, st);
	if (now - st->start_ms > 10)
		strbuf_addf(&line, " %.1fs", (double)(now - st->start_ms) / 1000);
	strbuf_addstr(&line, st->end_ms >= 0 ? " done\n" : "\n");
	emit(u, s, &line);
}

/* resume - after a step ended: whoever has waited longest with output may print. */
static void resume(struct ui *u, struct strbuf *out)
{
	struct ui_step *oldest = NULL;
	for (size_t i = 0; i < u->n_steps; i++) {
		struct ui_step *s = u->steps[i];
		if (s->held.len && (!oldest || s->held_ms < oldest->held_ms))
			oldest = s;
	}
	if (oldest)
		switch_to(u, oldest, out);
}

static void add_error(struct strbuf *out, const struct ui_step *s)
{
	const char *p = s->error ? s->error : "failed";
	const char *prefix = "ERROR: ";
	do {
		size_t n = strcspn(p, "\n");
		/* the number on each line: a message cannot look like another step's event */
		strbuf_addf(out, "#%u %s%.*s\n", s->n, prefix, (int)n, p);
		prefix = "";
		p += n;
	} while (*p++);
}

static void plain_ended(struct ui *u, struct ui_step *s)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	switch_to(u, s, &out);
	switch (s->state) {
	case UI_CACHED:
		strbuf_addf(&out, "#%u CACHED\n", s->n);
		break;
	case UI_ERROR:
		add_error(&out, s);
		break;
	case UI_CANCELLED:
		strbuf_addf(&out, "#%u CANCELED\n", s->n);
		break;
	case UI_RUNNING:
	case UI_DONE:
		strbuf_addf(
		        &out, "#%u DONE %.1fs\n", s->n, (double)(s->end_ms - s->start_ms) / 1000);
		break;
	}
	u->current = NULL;
	resume(u, &out);
	ui_write(u, out.buf, out.len);
}

static void plain_message(struct ui *u, const char *text)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	if (u->current)
		strbuf_addf(&out, "#%u ...\n", u->current->n);
	if (u->last)
		strbuf_addch(&out, '\n'); /* set apart from a step; messages in a row stay close */
	strbuf_addf(&out, "%s\n", text);
	u->current = u->last = NULL;
	u->not_first = true;
	ui_write(u, out.buf, out.len);
}

static void plain_tick(struct ui *u)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	if (turn_is_over(u))
		resume(u, &out);
	ui_write(u, out.buf, out.len);
}

static void plain_finish(struct ui *u)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	for (size_t i = 0; i < u->n_steps; i++)
		if (u->steps[i]->held.len)
			switch_to(u, u->steps[i], &out);
	ui_failures(u, &out);
	ui_write(u, out.buf, out.len);
}

const struct ui_ops ui_plain_ops = {
        .tick_ms = 500,
        .started = plain_started,
        .line = plain_line,
        .status = plain_status,
        .ended = plain_ended,
        .message = plain_message,
        .tick = plain_tick,
        .finish = plain_finish,
};

static void silent_finish(struct ui *u)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	if (u->mode == UI_QUIET)
		ui_failures(u, &out);
	ui_write(u, out.buf, out.len);
}

const struct ui_ops ui_silent_ops = {.finish = silent_finish};
