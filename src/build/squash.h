/* build/squash.h - --squash: all layers above the base become one. */
#ifndef STRAKE_BUILD_SQUASH_H
#define STRAKE_BUILD_SQUASH_H

#include "build/internal.h"

/* build_squash - *top is replaced by a chain of the base's layers and one new layer. */
int build_squash(struct build *b, const struct rootfs **top, struct error *err) must_check;

#endif
