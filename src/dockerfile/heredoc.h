/* dockerfile/heredoc.h - finding heredocs in a line. Private to dockerfile/. */
#ifndef STRAKE_DOCKERFILE_HEREDOC_H
#define STRAKE_DOCKERFILE_HEREDOC_H

#include "dockerfile/dockerfile.h"

/* heredoc_find - the heredocs that a whole line (instruction word included) opens, in order, still
 * without content. A line whose quotes do not close opens none: the shell will complain. */
int heredoc_find(struct arena *a, const char *line, size_t n, struct df_heredoc **ret,
        size_t *ret_n, struct error *err) must_check;

/* heredoc_parse_word - is this text (a word of COPY, the whole text of RUN) "[fd]<<[-]WORD"?
 * 1: *ret is filled, without content; 0: no. */
int heredoc_parse_word(
        struct arena *a, const char *word, struct df_heredoc *ret, struct error *err) must_check;

#endif
