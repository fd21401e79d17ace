/* build/engine.h - a running docker or podman, for --load.
 *
 * Its client must run with the rights and the name spaces of whoever called strake, and those are
 * left when the build takes its privileges. So engine_open() forks a small agent before that: it
 * does nothing but start the client when it is told to, and ends with us. */
#ifndef STRAKE_BUILD_ENGINE_H
#define STRAKE_BUILD_ENGINE_H

#include "base/error.h"
#include "base/strv.h"
#include "codec/sha256.h"

struct engine;

/* engine_open - the docker that answers (context: docker's --context, or NULL), else podman.
 * ERR_NOT_FOUND, saying what was tried, if there is none. While single-threaded. */
int engine_open(const char *context, struct engine **ret, struct error *err) must_check;
void engine_free(struct engine *e);              /* NULL is fine */
const char *engine_name(const struct engine *e); /* "docker", "podman" */

/* engine_has_image - by the digest of its config. */
int engine_has_image(
        struct engine *e, const struct digest *id, bool *ret, struct error *err) must_check;
int engine_tag(
        struct engine *e, const struct digest *id, const char *name, struct error *err) must_check;
/* engine_layers - how many of the lowest layers it has, as far as it can tell and can use that. */
int engine_layers(struct engine *e, const struct digest *diff_ids, size_t n, size_t *ret,
        struct error *err) must_check;

/* engine_load_begin - start its `load`; *ret_fd is where the archive goes. engine_load_end - after
 * that was closed: the client's verdict. */
int engine_load_begin(struct engine *e, int *ret_fd, struct error *err) must_check;
int engine_load_end(struct engine *e, struct error *err) must_check;

#endif
