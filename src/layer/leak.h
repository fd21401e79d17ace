/* layer/leak.h - does a new layer hold a value that was given as a secret? As it is, in base64 (any
 * alignment, both alphabets) or in hexadecimal; in contents, names, link targets and attributes.
 *
 * White space at both ends of a secret does not count. Values of fewer than LEAK_MIN bytes are not
 * looked for: "1234" is in every image. What is compressed or encrypted is not found. */
#ifndef STRAKE_LAYER_LEAK_H
#define STRAKE_LAYER_LEAK_H

#include "base/pool.h"
#include "base/strbuf.h"
#include "tree/tree.h"

#define LEAK_MIN 8

struct leak_values;
/* leak_values_new - then add each with its id (borrowed), then use. */
struct leak_values *leak_values_new(void);
void leak_values_free(struct leak_values *v);
static inline void leak_values_freep(struct leak_values **v)
{
	leak_values_free(*v);
}
void leak_values_add(struct leak_values *v, const char *id, const void *p, size_t n);
void leak_values_ready(struct leak_values *v);
bool leak_values_any(const struct leak_values *v);

/* leak_find - in a piece of text. The secret's id; *ret_how: "", "base64" or "hex". NULL: none. */
const char *leak_find(const struct leak_values *v, const void *p, size_t n, const char **ret_how);
/* leak_mask - what a step prints, with "***" for the values. Output that may be the beginning of
 * one is held back until more comes or the end is said. */
struct leak_mask {
	struct strbuf held;
};
#define LEAK_MASK_INIT ((struct leak_mask){STRBUF_INIT})
void leak_mask_release(struct leak_mask *m);
void leak_mask(const struct leak_values *v, struct leak_mask *m, const void *p, size_t n, bool end,
        struct strbuf *out);
/* leak_check_tree - every entry of t, the bytes read below treefd on the pool. ERR_BUILD naming the
 * file and the secret. */
int leak_check_tree(const struct leak_values *v, const struct tree *t, int treefd,
        struct pool *pool, struct error *err) must_check;

#endif
