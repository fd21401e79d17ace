/* codec/sha256.h - SHA-256 and the digest type that names all content.
 *
 * Source: FIPS 180-4; OCI image spec, descriptor.md#digests ("sha256:" + 64 lower-case hex). */
#ifndef STRAKE_CODEC_SHA256_H
#define STRAKE_CODEC_SHA256_H

#include "base/base.h"

struct digest {
	uint8_t b[32];
};

#define DIGEST_HEX_MAX 65 /* 64 hex digits and NUL */
#define DIGEST_STR_MAX 72 /* "sha256:" + 64 + NUL */

/* Opaque running state; may be memcpy'ed to fork a hash. */
struct sha256 {
	_Alignas(16) unsigned char opaque[192];
};

void sha256_init(struct sha256 *h);
void sha256_update(struct sha256 *h, const void *p, size_t n);
/* sha256_update_both - feeds two hashes the same bytes. Where they come to them with the same
 * number of bytes, modulo 64, it costs little more than feeding one. */
void sha256_update_both(struct sha256 *a, struct sha256 *b, const void *p, size_t n);
void sha256_final(struct sha256 *h, struct digest *out);
void sha256_buf(const void *p, size_t n, struct digest *out);
/* sha256_str / sha256_u64 - length-prefixed feeding for keys: no two field sequences collide.
 * Strings go in as u64 little-endian length + bytes (NULL as length UINT64_MAX). */
void sha256_str(struct sha256 *h, const char *s);
void sha256_bytes(struct sha256 *h, const void *p, size_t n);
void sha256_u64(struct sha256 *h, uint64_t v);

/* digest_hex - 64 hex digits; buf >= DIGEST_HEX_MAX. digest_str - with "sha256:". Return buf. */
char *digest_hex(const struct digest *d, char *buf);
char *digest_str(const struct digest *d, char *buf);
/* digest_parse - exactly "sha256:" + 64 lower-case hex digits; anything else is false. */
bool digest_parse(const char *s, struct digest *out) must_check;
static inline bool digest_eq(const struct digest *a, const struct digest *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}
static inline bool digest_is_zero(const struct digest *a)
{
	static const struct digest z;
	return digest_eq(a, &z);
}

#endif
