/* sbom/internal.h - what the parsers share. */
#ifndef STRAKE_SBOM_INTERNAL_H
#define STRAKE_SBOM_INTERNAL_H

#include "sbom/sbom.h"

/* sbom_add - strings are copied; the purl is made here. Nameless packages and those beyond the cap
 * are left out. */
void sbom_add(struct sbom *s, const struct sbom_package *p);
/* sbom_text - a copy in the arena without line breaks, at most SBOM_MAX_TEXT bytes; NULL if empty.
 */
const char *sbom_text(struct sbom *s, const char *p, size_t n);
/* sbom_finish - sort, drop what is there twice. */
void sbom_finish(struct sbom *s);

/* rpm.c: the SQLite database behind fd. */
int sbom_read_rpmdb(struct sbom *s, int fd, const char *path, struct error *err) must_check;

/* One "Name: value" field of a paragraph with continuation lines left out. *pp advances to the next
 * line; false at the end of the paragraph (an empty line) or text. */
struct sbom_field {
	const char *name, *value;
	size_t name_len, value_len;
};
bool sbom_next_field(const char **pp, const char *end, struct sbom_field *ret);
bool sbom_is(const struct sbom_field *f, const char *name);

#endif
