/* codec/sha256.c - see sha256.h.
 *
 * The low-level SHA256_* calls are used on purpose: EVP fetches an algorithm through the provider
 * machinery, which costs more at start than hashing a megabyte; the low-level calls use the same
 * assembly (SHA-NI where there is one) and touch no global state. OpenSSL 3 marks them deprecated,
 * hence the define. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "codec/sha256.h"

#include <endian.h>
#include <openssl/sha.h>

#include "base/hex.h"

_Static_assert(sizeof(SHA256_CTX) <= sizeof(((struct sha256 *)0)->opaque), "room for the state");

static SHA256_CTX *ctx(struct sha256 *h)
{
	return (SHA256_CTX *)(void *)h->opaque;
}

void sha256_init(struct sha256 *h)
{
	SHA256_Init(ctx(h));
}

void sha256_update(struct sha256 *h, const void *p, size_t n)
{
	if (n)
		SHA256_Update(ctx(h), p, n);
}

void sha256_final(struct sha256 *h, struct digest *out)
{
	SHA256_Final(out->b, ctx(h));
}

void sha256_buf(const void *p, size_t n, struct digest *out)
{
	struct sha256 h;
	sha256_init(&h);
	sha256_update(&h, p, n);
	sha256_final(&h, out);
}

void sha256_u64(struct sha256 *h, uint64_t v)
{
	v = htole64(v);
	sha256_update(h, &v, sizeof(v));
}

void sha256_bytes(struct sha256 *h, const void *p, size_t n)
{
	sha256_u64(h, n);
	sha256_update(h, p, n);
}

void sha256_str(struct sha256 *h, const char *s)
{
	if (s)
		sha256_bytes(h, s, strlen(s));
	else
		sha256_u64(h, UINT64_MAX);
}

char *digest_hex(const struct digest *d, char *buf)
{
	hex_encode(buf, d->b, sizeof(d->b));
	return buf;
}

char *digest_str(const struct digest *d, char *buf)
{
	memcpy(buf, "sha256:", 7);
	hex_encode(buf + 7, d->b, sizeof(d->b));
	return buf;
}

bool digest_parse(const char *s, struct digest *out)
{
	struct digest d;
	if (!s || !str_starts(s, "sha256:"))
		return false;
	if (!hex_decode(d.b, sizeof(d.b), s + 7, strlen(s + 7)))
		return false;
	*out = d;
	return true;
}
