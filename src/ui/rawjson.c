/* ui/rawjson.c - one JSON object a line, in the shape of BuildKit's SolveStatus: "vertexes",
 * "statuses", "logs" (base64 data), "warnings" (base64 text). A vertex digest is the step's number
 * written as a digest: consumers only compare it. The writer is by hand because ui/ stands on
 * base/ alone. */
#include "ui/internal.h"
#include "base/human.h"

#include <stdio.h>
#include <time.h>

static void add_string(struct strbuf *out, const char *s)
{
	/* text was escaped before, so it is valid UTF-8 without controls but newline and tab */
	strbuf_addch(out, '"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			strbuf_addf(out, "\\%c", *s);
		else if ((unsigned char)*s < 0x20)
			strbuf_addf(out, "\\u%04x", *s);
		else
			strbuf_addch(out, *s);
	}
	strbuf_addch(out, '"');
}

static void add_base64(struct strbuf *out, const char *data, size_t n)
{
	static const char abc[] =
	        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *p = (const unsigned char *)data;
	for (size_t i = 0; i < n; i += 3) {
		size_t left = n - i;
		uint32_t v = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) |
		             (left > 2 ? p[i + 2] : 0);
		strbuf_addch(out, abc[v >> 18]);
		strbuf_addch(out, abc[v >> 12 & 63]);
		strbuf_addch(out, left > 1 ? abc[v >> 6 & 63] : '=');
		strbuf_addch(out, left > 2 ? abc[v & 63] : '=');
	}
}

/* add_time - RFC 3339 in UTC; events tell monotonic time, shown as distance from now. */
static void add_time(struct ui *u, struct strbuf *out, const char *key, int64_t at_ms)
{
	int64_t us = u->wall_us() - (u->now_ms() - at_ms) * 1000;
	time_t sec = (time_t)(us / 1000000);
	struct tm tm;
	char buf[32];
	gmtime_r(&sec, &tm);
	strftime(buf, sizeof(buf), "%Y-%m-%dT%H:%M:%S", &tm);
	strbuf_addf(out, ",\"%s\":\"%s.%06dZ\"", key, buf, (int)(us % 1000000));
}

static void put(struct ui *u, struct strbuf *out)
{
	strbuf_addch(out, '\n');
	ui_write(u, out->buf, out->len);
}

static void vertex(struct ui *u, struct ui_step *s)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	strbuf_addf(&out, "{\"vertexes\":[{\"digest\":\"sha256:%064x\",\"name\":", s->n);
	add_string(&out, s->name);
	add_time(u, &out, "started", s->start_ms);
	if (s->state != UI_RUNNING)
		add_time(u, &out, "completed", s->end_ms);
	if (s->state == UI_CACHED)
		strbuf_addstr(&out, ",\"cached\":true");
	if (s->state == UI_ERROR || s->state == UI_CANCELLED) {
		strbuf_addstr(&out, ",\"error\":");
		add_string(&out, s->state == UI_CANCELLED ? "context canceled"
		                 : s->error               ? s->error
		                                          : "failed");
	}
	strbuf_addstr(&out, "}]}");
	put(u, &out);
}

static void rawjson_chunk(struct ui *u, struct ui_step *s, bool is_stderr, const char *p, size_t n)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	strbuf_addf(&out, "{\"logs\":[{\"vertex\":\"sha256:%064x\",\"stream\":%d,\"data\":\"", s->n,
	        is_stderr ? 2 : 1);
	add_base64(&out, p, n);
	strbuf_addch(&out, '"');
	add_time(u, &out, "timestamp", u->now_ms());
	strbuf_addstr(&out, "}]}");
	put(u, &out);
}

static void rawjson_status(struct ui *u, struct ui_step *s, struct ui_status *st)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	/* a download reports each buffer: ten lines a second tell as much */
	int64_t now = u->now_ms();
	if (st->end_ms < 0 && st->shown_ms >= 0 && now - st->shown_ms < 100)
		return;
	st->shown_ms = now;
	strbuf_addstr(&out, "{\"statuses\":[{\"id\":");
	add_string(&out, st->what);
	strbuf_addf(&out, ",\"vertex\":\"sha256:%064x\",\"current\":%llu", s->n,
	        (unsigned long long)st->now);
	if (st->total)
		strbuf_addf(&out, ",\"total\":%llu", (unsigned long long)st->total);
	add_time(u, &out, "timestamp", now);
	add_time(u, &out, "started", st->start_ms);
	if (st->end_ms >= 0)
		add_time(u, &out, "completed", st->end_ms);
	strbuf_addstr(&out, "}]}");
	put(u, &out);
}

/* rawjson_line - only notes: log lines went out as chunks already. */
static void rawjson_line(struct ui *u, struct ui_step *s, const struct ui_tail_line *l)
{
	if (!l->is_note)
		return;
	_cleanup_free_ char *esc = human_escape(l->text, l->n, true);
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	strbuf_addstr(&out, "{\"statuses\":[{\"id\":");
	add_string(&out, esc);
	strbuf_addf(&out, ",\"vertex\":\"sha256:%064x\",\"current\":0", s->n);
	add_time(u, &out, "timestamp", u->now_ms());
	strbuf_addstr(&out, "}]}");
	put(u, &out);
}

static void rawjson_message(struct ui *u, const char *text)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	strbuf_addstr(&out, "{\"warnings\":[{\"level\":1,\"short\":\"");
	add_base64(&out, text, strlen(text));
	strbuf_addstr(&out, "\"}]}");
	put(u, &out);
}

const struct ui_ops ui_rawjson_ops = {
        .started = vertex,
        .chunk = rawjson_chunk,
        .line = rawjson_line,
        .status = rawjson_status,
        .ended = vertex,
        .message = rawjson_message,
};
