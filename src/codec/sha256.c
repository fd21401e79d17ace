/* codec/sha256.c - digests and the choice of implementation. See sha256.h, sha256_impl.h. */
#include "codec/sha256.h"

#include <endian.h>

#include "base/hex.h"
#include "codec/sha256_impl.h"

/* Chosen once; any thread that comes first finds the same answer. */
static const struct sha256_impl *impl(void)
{
	static const struct sha256_impl *chosen;
	const struct sha256_impl *i = __atomic_load_n(&chosen, __ATOMIC_ACQUIRE);
	if (__builtin_expect(i != NULL, 1))
		return i;
	for (i = sha256_impls; !i->usable(); i++)
		; /* the last one always is */
	__atomic_store_n(&chosen, i, __ATOMIC_RELEASE);
	return i;
}

void sha256_init(struct sha256 *h)
{
	impl()->init(h->opaque);
}

void sha256_update(struct sha256 *h, const void *p, size_t n)
{
	if (n)
		impl()->update(h->opaque, p, n);
}

void sha256_update_both(struct sha256 *a, struct sha256 *b, const void *p, size_t n)
{
	const struct sha256_impl *i = impl();
	if (n && i->update_both) {
		i->update_both(a->opaque, b->opaque, p, n);
		return;
	}
	sha256_update(a, p, n);
	sha256_update(b, p, n);
}

void sha256_final(struct sha256 *h, struct digest *out)
{
	impl()->final(h->opaque, out->b);
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
