/* ui/escape.h - turning log bytes into text that is safe to show.
 *
 * Guarantee: the result holds no control character but, if asked for, harmless colour sequences
 * (ESC [ ... m) which are closed again at the end. Bidirectional overrides, C1 controls and invalid
 * UTF-8 come out as visible \xNN or \u{NNNN}. */
#ifndef STRAKE_UI_ESCAPE_H
#define STRAKE_UI_ESCAPE_H

#include "base/strbuf.h"

/* ui_escape_line - append one line (no newline in it) to out. Tabs become spaces to the next stop
 * of eight. Colour sequences are kept if keep_sgr, else dropped. Stops after max_cols columns
 * (0: no limit). Returns the columns used on a terminal. */
size_t ui_escape_line(struct strbuf *out, const char *s, size_t n, bool keep_sgr, size_t max_cols);

#endif
