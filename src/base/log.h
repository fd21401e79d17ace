/* base/log.h - diagnostics for developers (STRAKE_DEBUG=1), never progress and never secrets.
 *
 * Progress and warnings to the user go through ui/ events. */
#ifndef STRAKE_BASE_LOG_H
#define STRAKE_BASE_LOG_H

#include "base/base.h"

extern bool log_enabled; /* set once at start by cli/ */
void log_write(const char *fmt, ...) printf_like(1, 2);
#define log_debug(...)                                                                             \
	do {                                                                                       \
		if (log_enabled)                                                                   \
			log_write(__VA_ARGS__);                                                    \
	} while (0)

#endif
