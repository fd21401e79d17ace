/* cli/report.h - what inspect --layers prints. */
#ifndef STRAKE_CLI_REPORT_H
#define STRAKE_CLI_REPORT_H

#include "store/store.h"

/* cli_report_layers - a table, or with format "json" or a template over the same numbers. whole:
 * nothing is cut short. */
int cli_report_layers(struct store *s, const char *name, const char *format, bool whole,
        struct error *err) must_check;

#endif
