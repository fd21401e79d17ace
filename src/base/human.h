/* base/human.h - sizes, durations and near names as people read and write them. */
#ifndef STRAKE_BASE_HUMAN_H
#define STRAKE_BASE_HUMAN_H

#include "base/base.h"

/* human_size - "12.3MB" in powers of 1000, as docker prints. buf >= 16 bytes; returns buf. */
char *human_size(char *buf, size_t n, uint64_t bytes);
/* human_parse_size - "64m", "1.5GiB", "100kb", "4096": powers of 1024, as docker reads memory and
 * shm sizes. False if it is not a size. */
bool human_parse_size(const char *s, uint64_t *ret_bytes) must_check;
/* human_nearest - the candidate nearest to `word` by edit distance (case-insensitive), if it is
 * near enough to be a typo; else NULL. */
const char *human_nearest(const char *word, const char *const *candidates, size_t n);
/* human_escape - a malloc'ed copy with control characters, DEL, C1, bidi overrides and invalid
 * UTF-8 written as \xNN or \u{NNNN}, so that untrusted text cannot drive a terminal. Newlines and
 * tabs are kept if keep_space. */
char *human_escape(const char *s, size_t n, bool keep_space) must_check;

#endif
