/* image/attest.h - statements about an image, and the manifests that carry them. Pure.
 *
 * A statement is in-toto's (v0.1, which all readers know): a predicate and the digests it speaks
 * of. Two forms of attachment:
 *   index      BuildKit's: one more manifest in the image's index, for the platform
 *              unknown/unknown, its descriptor naming the manifest it belongs to
 *   referrers  OCI 1.1: a manifest a statement, with `subject`, beside the image
 * Sources: in-toto statement v0.1; BuildKit's docs/attestations; OCI image spec 1.1. */
#ifndef STRAKE_IMAGE_ATTEST_H
#define STRAKE_IMAGE_ATTEST_H

#include "oci/oci.h"

#define ATTEST_PROVENANCE "https://slsa.dev/provenance/v1"
#define ATTEST_SPDX "https://spdx.dev/Document"
#define ATTEST_MT_STATEMENT "application/vnd.in-toto+json"
#define ATTEST_KEY_TYPE "in-toto.io/predicate-type"

struct image_attestation {
	const char *type;        /* of the predicate */
	const json_t *predicate; /* borrowed */
};

/* image_statement - names: canonical references of the image; manifest: what is spoken of. */
char *image_statement(const struct image_attestation *a, const struct strv *names,
        const struct oci_platform *platform, const struct digest *manifest) must_check;
/* image_statement_about - the same about anything: subjects is an array of {name, digest}, taken.
 */
char *image_statement_about(const struct image_attestation *a, json_t *subjects) must_check;
/* image_statement_file - the name a statement has among the files of an image. */
const char *image_statement_file(const struct image_attestation *a);
/* image_statement_descriptor - of a statement's text, as a layer. */
void image_statement_descriptor(
        const struct image_attestation *a, const char *text, struct oci_descriptor *ret);

/* image_attest_config - of the index form: an image for no platform, its layers the statements. */
char *image_attest_config(const struct oci_descriptor *statements, size_t n) must_check;
/* image_attest_manifest - subject NULL: the index form. Else one statement of the predicate type
 * `type`, referring to subject; its config is then IMAGE_EMPTY_CONFIG. */
char *image_attest_manifest(const struct oci_descriptor *config,
        const struct oci_descriptor *statements, size_t n, const struct oci_descriptor *subject,
        const char *type) must_check;
/* image_attest_annotations - of the index form's descriptor: what it belongs to. */
json_t *image_attest_annotations(const struct digest *manifest) must_check;
#define IMAGE_EMPTY_CONFIG "{}"

#endif
