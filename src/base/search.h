/* base/search.h - many byte strings looked for in one pass (Wu and Manber's algorithm): the text is
 * skipped through in steps of nearly the shortest pattern's length. */
#ifndef STRAKE_BASE_SEARCH_H
#define STRAKE_BASE_SEARCH_H

#include "base/base.h"

#define SEARCH_MIN 4 /* bytes of a pattern */

struct search_pattern {
	unsigned char *bytes;
	size_t len;
	unsigned tag; /* the caller's */
};
struct search {
	struct search_pattern *v;
	size_t n, cap;
	size_t shortest, longest;
	uint8_t shift[65536]; /* by the last two bytes of the window; 0: look closer */
};

struct search *search_new(void);
void search_free(struct search *s); /* wipes the patterns; NULL is fine */
/* search_add - a copy of p; shorter ones than SEARCH_MIN are left out. */
void search_add(struct search *s, const void *p, size_t n, unsigned tag);
/* search_ready - after the last one. */
void search_ready(struct search *s);
/* search_find - the first pattern found in text and where (ret_at may be NULL); NULL: none. In a
 * stream the caller keeps the last `longest - 1` bytes in front of the next piece. Thread-safe. */
const struct search_pattern *search_find(
        const struct search *s, const void *text, size_t n, size_t *ret_at);
/* search_pending - how many bytes at the end of text may be the beginning of a pattern. */
size_t search_pending(const struct search *s, const void *text, size_t n);

#endif
