/* build/attest.h - what a build can say about an image: provenance, and the packages in it. */
#ifndef STRAKE_BUILD_ATTEST_H
#define STRAKE_BUILD_ATTEST_H

#include "build/build.h"
#include "codec/json.h"
#include "image/attest.h"

#define ATTEST_MAX 2 /* of one image */

struct build;
struct build_image;
struct rootfs;

/* attest_material - a source besides images that the build used: note it for the provenance.
 * algorithm: "sha256" or "sha1"; any thread. */
void attest_material(struct build *b, const char *uri, const char *algorithm, const char *digest);

/* attest_provenance - SLSA v1: what was asked for, what went in, when. mode=min leaves out values
 * that may be private: build arguments, secret names, the Dockerfile. */
json_t *attest_provenance(struct build *b, const struct graph_target *t, bool max) must_check;

/* attest_sbom - SPDX of a root file system. After build_enter(). NULL on error. */
json_t *attest_sbom(struct build *b, const struct rootfs *top, const struct oci_image *config,
        const char *name, struct error *err) must_check;

/* attest_make - all that the options ask for; ret must hold
 * ATTEST_MAX. Returns how many. */
int attest_make(struct build *b, const struct graph_target *t, const struct rootfs *top,
        const struct oci_image *config, struct image_attestation *ret,
        struct error *err) must_check;
void attest_release(struct image_attestation *v, size_t n);

/* attest_keep - beside an image of the store, for a later push and inspect; in place of what it
 * had. attest_kept -
 * *ret_n of them, at most n; freed with attest_release and the returned array's types live on. */
int attest_keep(struct store *s, const struct digest *config, const struct image_attestation *v,
        size_t n, struct error *err) must_check;
int attest_kept(struct store *s, const struct digest *config, struct image_attestation *ret,
        size_t max, size_t *ret_n, struct error *err) must_check;

/* attest_fetch - the statements that came with an image of a registry, into the store. Best effort:
 * an image is none the worse for a damaged statement. */
void attest_fetch(struct build *b, const struct build_image *im);

/* attest_image_sbom - of an image in the store, by name or id. */
int attest_image_sbom(struct store *s, const char *image, const char *platform, json_t **ret,
        struct error *err) must_check;

#endif
