/* build/why.h - why a step runs: what its key was made of, kept beside its record, and compared.
 *
 * "Parts" are a JSON object that says in readable form what went into a step's key. They are
 * written in the transaction that puts the step on record, so a cached build neither makes nor
 * reads them. "Reasons" are a JSON array; each has "kind" and "text", and where they apply "what",
 * "old", "new", and for files "added", "changed", "removed" (paths, capped) with "n_..." counts.
 * No value of a secret is ever in either. The forms are in docs/formats/step-parts.md. */
#ifndef STRAKE_BUILD_WHY_H
#define STRAKE_BUILD_WHY_H

#include "build/internal.h"
#include "codec/json.h"

#define WHY_FILES_SHOWN 1000 /* paths in a list that somebody asked for */

/* --- parts.c --------------------------------------------------------------------------------- */

/* parts_new - the fields all operations have. in[i].value NULL and key zero where an input is not
 * known yet. key NULL: not known either. */
json_t *parts_new(struct build *b, const struct graph_node *n, const struct solve_output *in,
        const struct digest *key) must_check;
void parts_add_run(
        struct build *b, const struct graph_node *n, const struct solve_output *in, json_t *parts);
void parts_add_copy(const struct graph_node *n, json_t *parts);
/* run_parts, copy_parts - all of one step. copy_parts selects anew, and fetches nothing for it. */
json_t *run_parts(struct build *b, const struct graph_node *n, const struct solve_output *in,
        const struct digest *key) must_check;
json_t *copy_parts(struct build *b, const struct graph_node *n, const struct solve_output *in,
        bool base_known) must_check;
/* parts_add_files - one source of files: `from` is how people call it, `sel` what it is, or NULL
 * while that is not known. The list of files is kept in the store's cache directory. */
void parts_add_files(struct build *b, json_t *parts, const char *from, const struct strv *patterns,
        const struct source_selection *sel);
/* parts_source_name - "the build context", "stage build", an image's name. */
const char *parts_source_name(struct build *b, uint32_t input);
/* parts_load_files - the list that was kept under this name. False: it is gone. */
bool parts_load_files(struct build *b, const char *name, struct tree *ret) must_check;

/* --- why.c ----------------------------------------------------------------------------------- */

/* why_context - the absolute path of the context directory; NULL: it is none. */
char *why_context(const struct build *b) must_check;
/* why_put - remember the parts of a step that is now on record; inside a transaction. */
int why_put(struct build *b, const struct graph_node *n, const json_t *parts,
        struct error *err) must_check;
/* why_note - a step is about to run: find the reasons, keep them for the history, and with
 * --explain show them. Takes nothing; parts stay the caller's. */
void why_note(struct build *b, const struct graph_node *n, const json_t *parts);
/* why_reasons - what differs from the nearest earlier result of the same step. Never empty, never
 * fails: what cannot be read is as if it had never been. max_files: paths named a list. */
json_t *why_reasons(struct build *b, const struct graph_node *n, const json_t *parts,
        size_t max_files) must_check;

/* --- why_compare.c --------------------------------------------------------------------------- */

/* why_compare - append the differences of two parts to `reasons`. */
void why_compare(
        struct build *b, const json_t *old, const json_t *now, size_t max_files, json_t *reasons);
/* why_add - one reason; what, old and now may be NULL. */
json_t *why_add(json_t *reasons, const char *kind, const char *what, const char *old,
        const char *now, const char *fmt, ...) printf_like(6, 7);

#endif
