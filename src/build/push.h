/* build/push.h - where a build or `push` sends an image: an export_registry that knows the images
 * of this build. */
#ifndef STRAKE_BUILD_PUSH_H
#define STRAKE_BUILD_PUSH_H

#include "build/internal.h"
#include "export/export.h"
#include "export/registry.h"

struct push_target {
	struct build *b;
	struct oci_ref ref;
	uint64_t ui_id;
	struct export_registry r;
	struct pool *pool; /* threads that mostly wait for the network */
};

/* push_target_init - name: a reference with tag (latest if it has none). After build_enter(). ret
 * must not move until it is released. */
int push_target_init(struct build *b, const char *name, bool by_digest, uint64_t ui_id,
        struct push_target *ret, struct error *err) must_check;
void push_target_release(struct push_target *t);

/* push_images - all platforms of one image. o: compression and media types. */
int push_images(struct push_target *t, const struct export_image *images, size_t n,
        const struct export_options *o, struct oci_descriptor *ret, struct error *err) must_check;

/* push_verbatim - an image as it was pulled, with its own manifest. 1: done; 0: something of it is
 * not at hand, or it was never pulled. */
int push_verbatim(struct push_target *t, const struct digest *config, struct oci_descriptor *ret,
        struct error *err) must_check;
/* push_remember_manifest - for push_verbatim. Failure to remember is no failure. */
void push_remember_manifest(struct store *s, const struct digest *config, const char *media_type,
        const char *text, size_t n);

#endif
