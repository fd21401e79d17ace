/* dockerfile/ignore_pattern.h - one pattern of an ignore file, compiled. Private to dockerfile/.
 *
 * A pattern means what the original program makes of it: a regular expression, with shortcuts for
 * plain text, "dir/" followed by two stars, and two stars followed by plain text. */
#ifndef STRAKE_DOCKERFILE_IGNORE_PATTERN_H
#define STRAKE_DOCKERFILE_IGNORE_PATTERN_H

#include "base/base.h"

enum ignore_kind { IGNORE_EXACT, IGNORE_PREFIX, IGNORE_SUFFIX, IGNORE_REGEX };

struct ignore_inst;
struct ignore_pattern {
	enum ignore_kind kind;
	char *text; /* cleaned, without '!' */
	size_t len;
	char end; /* the byte that every match ends with; 0: any. Tells most paths apart at once. */
	/* IGNORE_REGEX */
	struct ignore_inst *prog;
	size_t n;
	char *first, *last; /* plain text that every match begins and ends with */
	size_t first_len, last_len;
};

/* ignore_pattern_compile - false: malformed. text is cleaned already. */
bool ignore_pattern_compile(struct ignore_pattern *p, const char *text) must_check;
void ignore_pattern_release(struct ignore_pattern *p);
bool ignore_pattern_match(const struct ignore_pattern *p, const char *path, size_t n);

#endif
