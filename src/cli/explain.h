/* cli/explain.h - build_result.steps on standard output: as text, or as JSON for tools. */
#ifndef STRAKE_CLI_EXPLAIN_H
#define STRAKE_CLI_EXPLAIN_H

#include <stdio.h>

#include "codec/json.h"

/* explain_text - what would run, what may, what is cached, and why. */
void explain_text(const json_t *steps);
/* explain_json - {"cached": n, "run": n, "maybe": n, "steps": [...]}. */
void explain_json(const json_t *steps);
/* explain_reasons - indented lines below a step. */
void explain_reasons(FILE *f, const json_t *step, const char *indent);
/* explain_done - after a build: the steps that ran, and why. */
void explain_done(FILE *f, const json_t *steps);

#endif
