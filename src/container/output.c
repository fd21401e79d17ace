/* container/output.c - the log: one JSON object a line, {"log","stream","time"}, the form that
 * docker's json-file driver made common. */
#include "container/internal.h"

#include <time.h>

#include "sys/path.h"

#define LINE_MAX_BYTES (16u << 10) /* longer lines are cut into several records */

static void put_record(struct log_stream *l, const char *p, size_t n)
{
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	_cleanup_free_ char *at = oci_time(ts.tv_sec, ts.tv_nsec);
	_cleanup_free_ char *text = xstrndup(p, n);
	for (size_t i = 0; i < n; i++)
		if (!text[i] && i < n) /* a NUL would end the string */
			text[i] = ' ';
	_cleanup_json_ json_t *j = json_object();
	json_object_set_new(j, "log", json_str(text));
	json_object_set_new(j, "stream", json_string(l->name));
	json_object_set_new(j, "time", json_string(at));
	_cleanup_free_ char *line = json_compact(j);
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	strbuf_addf(&b, "%s\n", line);
	/* A full disk must not stop the container. */
	(void)!sys_write_all(l->fd, b.buf, b.len);
}

void log_stream_add(struct log_stream *l, const char *p, size_t n)
{
	while (n) {
		const char *nl = memchr(p, '\n', n);
		size_t k = nl ? (size_t)(nl + 1 - p) : n;
		k = MIN(k, LINE_MAX_BYTES - l->line.len);
		strbuf_add(&l->line, p, k);
		if (p[k - 1] == '\n' || l->line.len >= LINE_MAX_BYTES)
			log_stream_flush(l);
		p += k;
		n -= k;
	}
}

void log_stream_flush(struct log_stream *l)
{
	if (l->line.len)
		put_record(l, l->line.buf, l->line.len);
	strbuf_reset(&l->line);
}

void log_stream_release(struct log_stream *l)
{
	strbuf_release(&l->line);
}
