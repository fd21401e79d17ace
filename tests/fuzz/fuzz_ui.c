/* The progress renderer: whatever a build prints, plain output holds no control character but the
 * newline, a frame on a terminal no sequence but the renderer's own, and JSON stays one line. The
 * input is cut at 0xff bytes into chunks; a chunk's first byte picks the event. */
#include <stdint.h>
#include <sys/mman.h>

#include "ui/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int64_t now;

static int64_t fuzz_now(void)
{
	return now += 37;
}

static void event(struct ui *u, const char *p, size_t n)
{
	unsigned char kind = n ? (unsigned char)*p : 0;
	uint64_t id = kind >> 4;
	_cleanup_free_ char *s = xstrndup(p, n);
	switch (kind & 7) {
	case 0:
		ui_step_start(u, id, s);
		break;
	case 1:
		ui_step_error(u, id, s);
		break;
	case 2:
		ui_step_progress(u, id, s, n, 40);
		break;
	case 3:
		ui_message(u, "%s", s);
		break;
	case 4:
		ui_step_note(u, id, "%s", s);
		break;
	case 5:
		ui_step_done(u, id);
		break;
	default:
		ui_step_start(u, id, "x");
		ui_step_log(u, id, kind & 1, p, n);
	}
}

/* own_sequence - length of an escape sequence the tty renderer may write: cursor up, erase below,
 * modes 7 and 25, and SGR. */
static size_t own_sequence(const unsigned char *p, size_t n)
{
	size_t i = 2;
	if (n < 3 || p[1] != '[')
		return 0;
	if (p[2] == '?')
		i++;
	while (i < n && ((p[i] >= '0' && p[i] <= '9') || p[i] == ';'))
		i++;
	return i < n && strchr("AJmhl", p[i]) ? i + 1 : 0;
}

static void check(int fd, enum ui_mode mode)
{
	off_t n = lseek(fd, 0, SEEK_END);
	_cleanup_free_ unsigned char *p = xzalloc((size_t)n + 1);
	if (pread(fd, p, (size_t)n, 0) != n)
		abort();
	for (off_t i = 0; i < n; i++) {
		if (p[i] == 0x7f)
			abort();
		if (p[i] == 0xc2 && p[i + 1] < 0xa0)
			abort(); /* C1 */
		if (p[i] == 0xe2 && p[i + 1] == 0x80 && p[i + 2] == 0xae)
			abort(); /* U+202E */
		if (p[i] >= 0x20 || p[i] == '\n' || p[i] == '\t')
			continue;
		size_t own =
		        mode == UI_TTY && p[i] == '\033' ? own_sequence(p + i, (size_t)(n - i)) : 0;
		if (own)
			i += (off_t)own - 1;
		else if (mode != UI_TTY || p[i] != '\r')
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum ui_mode modes[] = {UI_PLAIN, UI_TTY, UI_RAWJSON};
	for (size_t m = 0; m < ARRAY_SIZE(modes); m++) {
		_cleanup_close_ int fd = memfd_create("fuzz", MFD_CLOEXEC);
		struct ui *u = ui_new(&(struct ui_options){.mode = modes[m], .fd = fd});
		now = u->start_ms;
		u->now_ms = fuzz_now;
		const char *p = (const char *)data, *end = p + size;
		while (p < end) {
			const char *cut = memchr(p, 0xff, (size_t)(end - p));
			size_t n = (size_t)((cut ? cut : end) - p);
			event(u, p, n);
			p += n + (cut ? 1 : 0);
		}
		ui_free(u);
		check(fd, modes[m]);
	}
	return 0;
}
