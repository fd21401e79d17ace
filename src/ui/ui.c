/* ui/ui.c - the events' front: numbers steps, cuts log bytes into lines, keeps each step's last
 * lines, and hands everything to the mode's printer under one lock. */
#include "ui/internal.h"
#include "base/pool.h"
#include "ui/escape.h"
#include "base/human.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <time.h>

enum { PARTIAL_MS = 1000 }; /* an unfinished line older than this is shown as it is */

static int64_t monotonic_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int64_t realtime_us(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void terminal_size(struct ui *u, unsigned *ret_cols, unsigned *ret_rows)
{
	struct winsize ws = {0};
	/* Asked for at each frame: that is how a resize is noticed, without a signal handler. */
	if (ioctl(u->fd, TIOCGWINSZ, &ws) < 0 || ws.ws_col == 0 || ws.ws_row == 0) {
		ws.ws_col = 80;
		ws.ws_row = 24;
	}
	*ret_cols = ws.ws_col;
	*ret_rows = ws.ws_row;
}

bool ui_mode_parse(const char *s, enum ui_mode *ret)
{
	static const char *const names[] = {[UI_AUTO] = "auto",
	        [UI_PLAIN] = "plain",
	        [UI_TTY] = "tty",
	        [UI_RAWJSON] = "rawjson",
	        [UI_QUIET] = "quiet",
	        [UI_NONE] = "none"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (str_eq(s, names[i])) {
			*ret = (enum ui_mode)i;
			return true;
		}
	return false;
}

static enum ui_mode choose_mode(enum ui_mode mode, int fd)
{
	const char *term = getenv("TERM");
	if (mode != UI_AUTO)
		return mode;
	return isatty(fd) && term && *term && !str_eq(term, "dumb") ? UI_TTY : UI_PLAIN;
}

struct ui *ui_new(const struct ui_options *o)
{
	static const struct ui_ops *const ops[] = {[UI_PLAIN] = &ui_plain_ops,
	        [UI_TTY] = &ui_tty_ops,
	        [UI_RAWJSON] = &ui_rawjson_ops,
	        [UI_QUIET] = &ui_silent_ops,
	        [UI_NONE] = &ui_silent_ops};
	struct ui *u = new0(struct ui, 1);
	pthread_mutex_init(&u->lock, NULL);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&u->ticker_cond, &attr);
	pthread_condattr_destroy(&attr);
	u->mode = choose_mode(o->mode, o->fd);
	u->ops = ops[u->mode];
	u->fd = o->fd;
	u->no_color = o->no_color;
	u->total = o->total_steps;
	u->now_ms = monotonic_ms;
	u->wall_us = realtime_us;
	u->size = terminal_size;
	u->start_ms = u->now_ms();
	u->drawn_ms = u->start_ms;
	return u;
}

void ui_write(struct ui *u, const char *p, size_t n)
{
	while (n && !u->dead) {
		ssize_t w = write(u->fd, p, n);
		if (w >= 0) {
			p += w;
			n -= (size_t)w;
		} else if (errno == EAGAIN) {
			struct pollfd pfd = {.fd = u->fd, .events = POLLOUT};
			poll(&pfd, 1, 1000);
		} else if (errno != EINTR) {
			u->dead = true; /* a closed terminal must not end the build */
		}
	}
}

void ui_seconds(struct strbuf *out, int64_t ms)
{
	double s = (double)ms / 1000;
	strbuf_addf(out, "%.*f", s < 10 ? 3 : s < 100 ? 2 : 1, s);
}

void ui_bytes(struct strbuf *out, const struct ui_status *st)
{
	char a[32], b[32];
	if (st->total)
		strbuf_addf(out, " %s / %s", human_size(a, sizeof(a), st->now),
		        human_size(b, sizeof(b), st->total));
	else if (st->now)
		strbuf_addf(out, " %s", human_size(a, sizeof(a), st->now));
}

size_t ui_done_count(const struct ui *u)
{
	size_t n = 0;
	for (size_t i = 0; i < u->n_steps; i++)
		n += u->steps[i]->state == UI_DONE || u->steps[i]->state == UI_CACHED;
	return n;
}

const struct ui_tail_line *ui_tail_get(const struct ui_step *s, size_t i)
{
	if (i >= UI_TAIL || i >= s->tail_n)
		return NULL;
	return &s->tail[(s->tail_n - 1 - i) % UI_TAIL];
}

void ui_failures(struct ui *u, struct strbuf *out)
{
	for (size_t i = 0; i < u->n_steps; i++) {
		const struct ui_step *s = u->steps[i];
		if (s->state != UI_ERROR || !s->tail_n)
			continue;
		strbuf_addf(out, "------\n > %s:\n", s->name);
		for (size_t k = MIN(s->tail_n, UI_TAIL); k-- > 0;) {
			const struct ui_tail_line *l = ui_tail_get(s, k);
			if (!l->is_note) {
				ui_seconds(out, l->ms);
				strbuf_addch(out, ' ');
			}
			ui_escape_line(out, l->text, l->n, u->mode == UI_TTY && !u->no_color, 0);
			strbuf_addch(out, '\n');
		}
		strbuf_addstr(out, "------\n");
	}
}

static struct ui_step *find_step(struct ui *u, uint64_t id)
{
	if (u->last_found < u->n_steps && u->steps[u->last_found]->id == id)
		return u->steps[u->last_found];
	for (size_t i = u->n_steps; i-- > 0;)
		if (u->steps[i]->id == id) {
			u->last_found = i;
			return u->steps[i];
		}
	return NULL;
}

static struct ui_step *add_step(struct ui *u, uint64_t id, const char *name)
{
	struct ui_step *s = new0(struct ui_step, 1);
	s->id = id;
	s->name = human_escape(name, strlen(name), false);
	s->partial[0] = s->partial[1] = s->held = STRBUF_INIT;
	vec_grow(&u->steps, &u->cap_steps, u->n_steps + 1);
	u->last_found = u->n_steps;
	u->steps[u->n_steps++] = s;
	s->n = (unsigned)u->n_steps;
	u->total = MAX(u->total, s->n);
	return s;
}

static void step_free(struct ui_step *s)
{
	free(s->name);
	free(s->error);
	strbuf_release(&s->partial[0]);
	strbuf_release(&s->partial[1]);
	strbuf_release(&s->held);
	for (size_t i = 0; i < UI_TAIL; i++)
		free(s->tail[i].text);
	for (size_t i = 0; i < s->n_statuses; i++)
		free(s->statuses[i].what);
	free(s->statuses);
	free(s);
}

static void add_line(
        struct ui *u, struct ui_step *s, const char *p, size_t n, int64_t at_ms, bool is_note)
{
	struct ui_tail_line *l = &s->tail[s->tail_n++ % UI_TAIL];
	free(l->text);
	*l = (struct ui_tail_line){.text = xmalloc(n + 1), .n = n, .is_note = is_note};
	memcpy(l->text, p, n); /* NUL bytes too: they are shown */
	l->text[n] = '\0';
	l->ms = MAX(at_ms - s->start_ms, 0);
	if (u->ops->line)
		u->ops->line(u, s, l);
}

static void flush_partial(struct ui *u, struct ui_step *s, int stream)
{
	struct strbuf *sb = &s->partial[stream];
	if (!sb->len)
		return;
	/* empty before the printer looks: it shows unfinished lines too */
	size_t n = sb->len;
	_cleanup_free_ char *text = strbuf_detach(sb);
	add_line(u, s, text, n, s->partial_ms[stream], false);
}

/* split_log - lines end at LF, CR LF, or a lone CR (progress bars), which thus cannot overwrite
 * what was shown before; a lone CR makes no empty line. */
static void split_log(struct ui *u, struct ui_step *s, int stream, const char *p, size_t n)
{
	struct strbuf *sb = &s->partial[stream];
	int64_t now = u->now_ms();
	while (n) {
		char cr = s->after_cr[stream];
		s->after_cr[stream] = 0;
		if (cr && *p == '\n') {
			if (cr == UI_CR_EMPTY)
				add_line(u, s, "", 0, now, false);
			p++;
			n--;
			continue;
		}
		if (!sb->len)
			s->partial_ms[stream] = now;
		size_t room = UI_LINE_MAX - sb->len, take = 0;
		while (take < n && take < room && p[take] != '\n' && p[take] != '\r')
			take++;
		strbuf_add(sb, p, take);
		p += take;
		n -= take;
		bool at_end = n && (*p == '\n' || *p == '\r');
		if (at_end) {
			if (*p == '\r')
				s->after_cr[stream] = sb->len ? UI_CR_TEXT : UI_CR_EMPTY;
			else if (!sb->len)
				add_line(u, s, "", 0, now, false);
			p++;
			n--;
		}
		if (at_end || sb->len == UI_LINE_MAX)
			flush_partial(u, s, stream);
	}
}

static void step_end(struct ui *u, uint64_t id, enum ui_state state, const char *message)
{
	struct ui_step *s = find_step(u, id);
	if (!s || s->state != UI_RUNNING)
		return;
	flush_partial(u, s, 0);
	flush_partial(u, s, 1);
	s->state = state;
	s->end_ms = u->now_ms();
	if (message)
		s->error = human_escape(message, strlen(message), true);
	if (u->ops->ended)
		u->ops->ended(u, s);
}

static void step_begin(struct ui *u, uint64_t id, const char *name)
{
	struct ui_step *s = find_step(u, id);
	if (s && s->state == UI_RUNNING)
		return;
	if (!s)
		s = add_step(u, id, name);
	free(s->error); /* a retry opens the step again */
	s->error = NULL;
	s->state = UI_RUNNING;
	s->start_ms = u->now_ms();
	if (u->ops->started)
		u->ops->started(u, s);
}

void ui_step_start(struct ui *u, uint64_t id, const char *name)
{
	pthread_mutex_lock(&u->lock);
	step_begin(u, id, name);
	pthread_mutex_unlock(&u->lock);
}

void ui_step_log(struct ui *u, uint64_t id, bool is_stderr, const char *p, size_t n)
{
	pthread_mutex_lock(&u->lock);
	struct ui_step *s = find_step(u, id);
	if (s && n) {
		if (u->ops->chunk)
			u->ops->chunk(u, s, is_stderr, p, n);
		split_log(u, s, is_stderr, p, n);
	}
	pthread_mutex_unlock(&u->lock);
}

static struct ui_status *find_status(struct ui *u, struct ui_step *s, const char *what)
{
	_cleanup_free_ char *esc = human_escape(what, strlen(what), false);
	for (size_t i = s->n_statuses; i-- > 0;)
		if (str_eq(s->statuses[i].what, esc))
			return &s->statuses[i];
	if (s->n_statuses == UI_STATUS_MAX)
		return NULL;
	vec_grow(&s->statuses, &s->cap_statuses, s->n_statuses + 1);
	struct ui_status *st = &s->statuses[s->n_statuses++];
	*st = (struct ui_status){
	        .what = take_ptr(esc), .start_ms = u->now_ms(), .end_ms = -1, .shown_ms = -1};
	return st;
}

void ui_step_progress(struct ui *u, uint64_t id, const char *what, uint64_t now, uint64_t total)
{
	pthread_mutex_lock(&u->lock);
	struct ui_step *s = find_step(u, id);
	struct ui_status *st = s ? find_status(u, s, what) : NULL;
	if (st && st->end_ms < 0) {
		st->now = now;
		st->total = total;
		if (total && now >= total)
			st->end_ms = u->now_ms();
		if (u->ops->status)
			u->ops->status(u, s, st);
	}
	pthread_mutex_unlock(&u->lock);
}

void ui_step_note(struct ui *u, uint64_t id, const char *fmt, ...)
{
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	va_list ap;
	va_start(ap, fmt);
	strbuf_vaddf(&sb, fmt, ap);
	va_end(ap);
	pthread_mutex_lock(&u->lock);
	struct ui_step *s = find_step(u, id);
	if (s)
		add_line(u, s, sb.buf, sb.len, u->now_ms(), true);
	pthread_mutex_unlock(&u->lock);
}

void ui_step_cached(struct ui *u, uint64_t id, const char *name)
{
	pthread_mutex_lock(&u->lock);
	step_begin(u, id, name);
	step_end(u, id, UI_CACHED, NULL);
	pthread_mutex_unlock(&u->lock);
}

void ui_step_done(struct ui *u, uint64_t id)
{
	pthread_mutex_lock(&u->lock);
	step_end(u, id, UI_DONE, NULL);
	pthread_mutex_unlock(&u->lock);
}

void ui_step_error(struct ui *u, uint64_t id, const char *message)
{
	pthread_mutex_lock(&u->lock);
	step_end(u, id, UI_ERROR, message);
	pthread_mutex_unlock(&u->lock);
}

void ui_step_cancelled(struct ui *u, uint64_t id)
{
	pthread_mutex_lock(&u->lock);
	step_end(u, id, UI_CANCELLED, NULL);
	pthread_mutex_unlock(&u->lock);
}

void ui_message(struct ui *u, const char *fmt, ...)
{
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	va_list ap;
	va_start(ap, fmt);
	strbuf_vaddf(&sb, fmt, ap);
	va_end(ap);
	_cleanup_free_ char *esc = human_escape(sb.buf, sb.len, true);
	pthread_mutex_lock(&u->lock);
	if (u->ops->message)
		u->ops->message(u, esc);
	pthread_mutex_unlock(&u->lock);
}

void ui_total(struct ui *u, unsigned total_steps)
{
	pthread_mutex_lock(&u->lock);
	u->total = MAX(total_steps, (unsigned)u->n_steps);
	u->dirty = true;
	pthread_mutex_unlock(&u->lock);
}

static void tick(struct ui *u)
{
	int64_t now = u->now_ms();
	for (size_t i = 0; i < u->n_steps; i++) {
		struct ui_step *s = u->steps[i];
		for (int k = 0; s->state == UI_RUNNING && u->mode == UI_PLAIN && k < 2; k++)
			if (s->partial[k].len && now - s->partial_ms[k] >= PARTIAL_MS)
				flush_partial(u, s, k);
	}
	u->ops->tick(u);
}

static void *ticker_main(void *arg)
{
	struct ui *u = arg;
	struct timespec at;
	clock_gettime(CLOCK_MONOTONIC, &at);
	pthread_mutex_lock(&u->lock);
	while (!u->ticker_stop) {
		at.tv_nsec += (long)u->ops->tick_ms * 1000000;
		at.tv_sec += at.tv_nsec / 1000000000;
		at.tv_nsec %= 1000000000;
		while (!u->ticker_stop &&
		        pthread_cond_timedwait(&u->ticker_cond, &u->lock, &at) != ETIMEDOUT)
			;
		if (u->ticker_stop)
			break;
		tick(u);
		clock_gettime(CLOCK_MONOTONIC, &at); /* after STOP/CONT: no burst of frames */
	}
	pthread_mutex_unlock(&u->lock);
	return NULL;
}

void ui_live(struct ui *u)
{
	if (u->ticker_on || !u->ops->tick_ms)
		return;
	u->ticker_on = thread_start(&u->ticker, ticker_main, u);
}

void ui_free(struct ui *u)
{
	if (!u)
		return;
	if (u->ticker_on) {
		pthread_mutex_lock(&u->lock);
		u->ticker_stop = true;
		pthread_cond_signal(&u->ticker_cond);
		pthread_mutex_unlock(&u->lock);
		pthread_join(u->ticker, NULL);
	}
	if (u->ops->finish)
		u->ops->finish(u);
	for (size_t i = 0; i < u->n_steps; i++)
		step_free(u->steps[i]);
	free(u->steps);
	free(u->frame_cols);
	pthread_cond_destroy(&u->ticker_cond);
	pthread_mutex_destroy(&u->lock);
	free(u);
}
