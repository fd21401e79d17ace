/* Hostile text cannot reach the terminal as anything but text (B12). */
#include "ui/escape.h"
#include "tap.h"

static const char *esc(const char *s, size_t n, bool sgr, size_t max, size_t *cols)
{
	static struct strbuf sb = {.buf = strbuf_empty};
	strbuf_reset(&sb);
	*cols = ui_escape_line(&sb, s, n, sgr, max);
	return sb.buf;
}

#define ESC(text, sgr, max) esc(text, sizeof(text) - 1, sgr, max, &cols)

int main(void)
{
	size_t cols;
	is_str(ESC("plain text", false, 0), "plain text", "plain text stays");
	is_int(cols, 10, "its columns");
	is_str(ESC("\033]52;c;aGk=\a", true, 0), "\\x1b]52;c;aGk=\\x07",
	        "OSC 52 is shown, not obeyed");
	is_str(ESC("\033[2J\033[1;1H", true, 0), "\\x1b[2J\\x1b[1;1H",
	        "cursor and erase sequences");
	is_str(ESC("a\rb", true, 0), "a\\x0db", "CR");
	is_str(ESC("a\0b", true, 0), "a\\x00b", "NUL");
	is_str(ESC("\x7f\b", true, 0), "\\x7f\\x08", "DEL and backspace");
	is_str(ESC("\xc2\x9b"
	           "31m",
	               true, 0),
	        "\\u{009b}31m", "C1 CSI as UTF-8");
	is_str(ESC("\x9b"
	           "31m",
	               true, 0),
	        "\\x9b31m", "C1 CSI as a byte");
	is_str(ESC("a\xe2\x80\xae"
	           "b",
	               true, 0),
	        "a\\u{202e}b", "right-to-left override");
	is_str(ESC("\xe2\x81\xa6", true, 0), "\\u{2066}", "bidi isolate");
	is_str(ESC("caf\xc3\xa9 \xe2\x9c\x93", true, 0), "caf\xc3\xa9 \xe2\x9c\x93", "UTF-8 stays");
	is_int(cols, 6, "one column a letter");
	is_str(ESC("\xe4\xbd\xa0\xe5\xa5\xbd", true, 0), "\xe4\xbd\xa0\xe5\xa5\xbd", "CJK stays");
	is_int(cols, 4, "two columns a character");
	is_str(ESC("e\xcc\x81", true, 0), "e\xcc\x81", "combining accent stays");
	is_int(cols, 1, "it has no column of its own");
	is_str(ESC("\xe4\xbd", true, 0), "\\xe4\\xbd", "cut UTF-8");

	is_str(ESC("\033[31mred\033[0m", false, 0), "red", "colours are dropped");
	is_str(ESC("\033[31mred", true, 0), "\033[31mred\033[0m", "colours are kept and closed");
	is_int(cols, 3, "they take no columns");
	is_str(ESC("\033[1;38;5;8mx", true, 0), "\033[1;38;5;8mx\033[0m",
	        "8 as a colour number is fine");
	is_str(ESC("\033[8mhidden", true, 0), "hidden", "conceal is dropped");
	is_str(ESC("\033[31;8mhidden", true, 0), "hidden", "conceal in a list is dropped");
	is_str(ESC("\033[38mx", true, 0), "x", "cut extended colour is dropped");
	is_str(ESC("\033[31", true, 0), "\\x1b[31", "unfinished sequence");
	is_str(ESC("\033[?31m", true, 0), "\\x1b[?31m", "private sequence");

	is_str(ESC("a\tb", false, 0), "a       b", "tab to column 8");
	is_str(ESC("12345678\tb", false, 0), "12345678        b", "tab to column 16");
	is_str(ESC("abcdef", false, 3), "abc", "cut at columns");
	is_str(ESC("ab\xe4\xbd\xa0", false, 3), "ab", "a wide character is not halved");
	is_str(ESC("ab\033[2J", false, 4), "ab", "an escape is not cut in two");
	is_str(ESC("a\tb", false, 4), "a   ", "tab stops at the limit");
	return tap_done();
}
