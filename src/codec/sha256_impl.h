/* codec/sha256_impl.h, private to codec/ (and its test): the ways to compute SHA-256, best first.
 *
 *   sha-ni      the CPU's own instructions (x86 since Goldmont and Zen)
 *   libcrypto   OpenSSL's assembly for other CPUs; loaded when first used, since linking it costs
 *               every start of the program more than hashing a megabyte
 *   portable    plain C, where neither is to be had
 */
#ifndef STRAKE_CODEC_SHA256_IMPL_H
#define STRAKE_CODEC_SHA256_IMPL_H

#include "codec/sha256.h"

struct sha256_impl {
	const char *name;
	/* usable - on this machine; may load a library. */
	bool (*usable)(void);
	/* Over opaque of struct sha256; whatever is in it before init is overwritten. */
	void (*init)(void *state);
	void (*update)(void *state, const void *p, size_t n);
	void (*final)(void *state, unsigned char *out);
	/* update_both - of two states, where that is cheaper than twice one; else NULL. */
	void (*update_both)(void *state, void *other, const void *p, size_t n);
};
extern const struct sha256_impl sha256_impls[3];

#endif
