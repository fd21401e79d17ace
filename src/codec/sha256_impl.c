/* codec/sha256_impl.c - FIPS 180-4, three times; which one is used: sha256_impl.h.
 *
 * The first and the last share everything but the compression of blocks. */
#include "codec/sha256_impl.h"

#include <dlfcn.h>
#include <endian.h>

#define BLOCK ((size_t)64)

struct state {
	uint32_t h[8];
	uint64_t total; /* bytes fed; total % BLOCK of them wait in buf */
	unsigned char buf[BLOCK];
};
_Static_assert(sizeof(struct state) <= sizeof(((struct sha256 *)0)->opaque), "room for the state");

typedef void (*blocks_fn)(uint32_t h[8], const unsigned char *p, size_t n_blocks);

/* FIPS 180-4, 4.2.2: fractions of the cube roots of the first 64 primes. */
static const uint32_t K[64] __attribute__((aligned(16))) = {
        0x428a2f98,
        0x71374491,
        0xb5c0fbcf,
        0xe9b5dba5,
        0x3956c25b,
        0x59f111f1,
        0x923f82a4,
        0xab1c5ed5,
        0xd807aa98,
        0x12835b01,
        0x243185be,
        0x550c7dc3,
        0x72be5d74,
        0x80deb1fe,
        0x9bdc06a7,
        0xc19bf174,
        0xe49b69c1,
        0xefbe4786,
        0x0fc19dc6,
        0x240ca1cc,
        0x2de92c6f,
        0x4a7484aa,
        0x5cb0a9dc,
        0x76f988da,
        0x983e5152,
        0xa831c66d,
        0xb00327c8,
        0xbf597fc7,
        0xc6e00bf3,
        0xd5a79147,
        0x06ca6351,
        0x14292967,
        0x27b70a85,
        0x2e1b2138,
        0x4d2c6dfc,
        0x53380d13,
        0x650a7354,
        0x766a0abb,
        0x81c2c92e,
        0x92722c85,
        0xa2bfe8a1,
        0xa81a664b,
        0xc24b8b70,
        0xc76c51a3,
        0xd192e819,
        0xd6990624,
        0xf40e3585,
        0x106aa070,
        0x19a4c116,
        0x1e376c08,
        0x2748774c,
        0x34b0bcb5,
        0x391c0cb3,
        0x4ed8aa4a,
        0x5b9cca4f,
        0x682e6ff3,
        0x748f82ee,
        0x78a5636f,
        0x84c87814,
        0x8cc70208,
        0x90befffa,
        0xa4506ceb,
        0xbef9a3f7,
        0xc67178f2,
};

/* --- what the two of our own share ----------------------------------------------------------- */

static void own_init(void *state)
{
	static const uint32_t h0[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f,
	        0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
	struct state *s = state;
	memcpy(s->h, h0, sizeof(h0));
	s->total = 0;
}

static inline void own_update(struct state *s, const unsigned char *p, size_t n, blocks_fn blocks)
{
	size_t have = s->total % BLOCK;
	s->total += n;
	if (have) {
		size_t k = MIN(n, BLOCK - have);
		memcpy(s->buf + have, p, k);
		if (have + k < BLOCK)
			return;
		blocks(s->h, s->buf, 1);
		p += k;
		n -= k;
	}
	if (n >= BLOCK)
		blocks(s->h, p, n / BLOCK);
	memcpy(s->buf, p + n / BLOCK * BLOCK, n % BLOCK);
}

static inline void own_final(struct state *s, unsigned char *out, blocks_fn blocks)
{
	size_t have = s->total % BLOCK;
	uint64_t bits = htobe64(s->total * 8);
	s->buf[have++] = 0x80;
	if (have > BLOCK - sizeof(bits)) {
		memset(s->buf + have, 0, BLOCK - have);
		blocks(s->h, s->buf, 1);
		have = 0;
	}
	memset(s->buf + have, 0, BLOCK - sizeof(bits) - have);
	memcpy(s->buf + BLOCK - sizeof(bits), &bits, sizeof(bits));
	blocks(s->h, s->buf, 1);
	for (size_t i = 0; i < 8; i++) {
		uint32_t v = htobe32(s->h[i]);
		memcpy(out + 4 * i, &v, 4);
	}
}

/* --- the CPU's instructions ------------------------------------------------------------------ */

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

static bool ni_usable(void)
{
	unsigned a, b, c, d;
	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSSE3) || !(c & bit_SSE4_1))
		return false;
	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA);
}

#define NI_TARGET target("sha,sse4.1,ssse3")

struct ni_state {
	__m128i abef, cdgh;
};

__attribute__((NI_TARGET)) static inline struct ni_state ni_load(const uint32_t h[8])
{
	__m128i dcba = _mm_loadu_si128((const __m128i *)(const void *)h);
	__m128i hgfe = _mm_loadu_si128((const __m128i *)(const void *)(h + 4));
	__m128i cdab = _mm_shuffle_epi32(dcba, 0xb1), efgh = _mm_shuffle_epi32(hgfe, 0x1b);
	return (struct ni_state){_mm_alignr_epi8(cdab, efgh, 8), _mm_blend_epi16(efgh, cdab, 0xf0)};
}

__attribute__((NI_TARGET)) static inline void ni_save(const struct ni_state *s, uint32_t h[8])
{
	__m128i feba = _mm_shuffle_epi32(s->abef, 0x1b), dchg = _mm_shuffle_epi32(s->cdgh, 0xb1);
	_mm_storeu_si128((__m128i *)(void *)h, _mm_blend_epi16(feba, dchg, 0xf0));
	_mm_storeu_si128((__m128i *)(void *)(h + 4), _mm_alignr_epi8(dchg, feba, 8));
}

/* The instructions want the state as ABEF and CDGH, and four rounds' worth of W + K at a time:
 * sha256rnds2 does two rounds with the low half. w[] is a ring of the last 16 words of the message
 * schedule; unrolled, it lives in registers. Each round waits for the one before, so that a second
 * hash of the same bytes, which shares their schedule, costs a quarter of the first. */
__attribute__((NI_TARGET, always_inline)) static inline void ni_lanes(
        uint32_t *const h[], const unsigned lanes, const unsigned char *p, size_t n)
{
	const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
	struct ni_state s[2];
	for (unsigned l = 0; l < lanes; l++)
		s[l] = ni_load(h[l]);

	for (; n; n--, p += BLOCK) {
		const struct ni_state before[2] = {s[0], s[lanes - 1]};
		__m128i w[4];
#pragma GCC unroll 4
		for (int i = 0; i < 4; i++)
			w[i] = _mm_shuffle_epi8(
			        _mm_loadu_si128((const __m128i *)(const void *)(p + 16 * i)), swap);
#pragma GCC unroll 16
		for (int i = 0; i < 16; i++) {
			__m128i wk = _mm_add_epi32(w[i % 4],
			        _mm_load_si128((const __m128i *)(const void *)(K + 4 * i)));
			const __m128i high = _mm_shuffle_epi32(wk, 0x0e);
#pragma GCC unroll 2
			for (unsigned l = 0; l < lanes; l++)
				s[l].cdgh = _mm_sha256rnds2_epu32(s[l].cdgh, s[l].abef, wk);
#pragma GCC unroll 2
			for (unsigned l = 0; l < lanes; l++)
				s[l].abef = _mm_sha256rnds2_epu32(s[l].abef, s[l].cdgh, high);
			if (i >= 12)
				continue;
			/* W[t] = s1(W[t-2]) + W[t-7] + s0(W[t-15]) + W[t-16], four at once */
			__m128i x = _mm_sha256msg1_epu32(w[i % 4], w[(i + 1) % 4]);
			x = _mm_add_epi32(x, _mm_alignr_epi8(w[(i + 3) % 4], w[(i + 2) % 4], 4));
			w[i % 4] = _mm_sha256msg2_epu32(x, w[(i + 3) % 4]);
		}
		for (unsigned l = 0; l < lanes; l++) {
			s[l].abef = _mm_add_epi32(s[l].abef, before[l].abef);
			s[l].cdgh = _mm_add_epi32(s[l].cdgh, before[l].cdgh);
		}
	}
	for (unsigned l = 0; l < lanes; l++)
		ni_save(&s[l], h[l]);
}

__attribute__((NI_TARGET)) static void ni_blocks(uint32_t h[8], const unsigned char *p, size_t n)
{
	ni_lanes((uint32_t *[]){h}, 1, p, n);
}

__attribute__((NI_TARGET)) static void ni_blocks_both(
        uint32_t h[8], uint32_t g[8], const unsigned char *p, size_t n)
{
	ni_lanes((uint32_t *[]){h, g}, 2, p, n);
}
#else
static bool ni_usable(void)
{
	return false;
}

static void ni_blocks(uint32_t h[8], const unsigned char *p, size_t n)
{
	abort(); /* never chosen */
}

static void ni_blocks_both(uint32_t h[8], uint32_t g[8], const unsigned char *p, size_t n)
{
	abort();
}
#endif

static void ni_update(void *state, const void *p, size_t n)
{
	own_update(state, p, n, ni_blocks);
}

static void ni_update_both(void *state, void *other, const void *p, size_t n)
{
	struct state *a = state, *b = other;
	const unsigned char *from = p;
	size_t have = a->total % BLOCK, head = have ? MIN(n, BLOCK - have) : 0;
	bool together = have == b->total % BLOCK;
	size_t blocks = together ? (n - head) / BLOCK : 0;
	if (!together)
		head = n;
	ni_update(a, from, head);
	ni_update(b, from, head);
	if (blocks)
		ni_blocks_both(a->h, b->h, from + head, blocks);
	a->total += blocks * BLOCK;
	b->total += blocks * BLOCK;
	from += head + blocks * BLOCK;
	n -= head + blocks * BLOCK;
	ni_update(a, from, n);
	ni_update(b, from, n);
}

static void ni_final(void *state, unsigned char *out)
{
	own_final(state, out, ni_blocks);
}

/* --- libcrypto ------------------------------------------------------------------------------- */

/* The low-level calls, whose state is a plain struct of 112 bytes in every version since 0.9.8:
 * EVP goes through the providers' machinery and allocates. */
static struct {
	int (*init)(void *state);
	int (*update)(void *state, const void *p, size_t n);
	int (*final)(unsigned char *out, void *state);
} crypto;

static bool crypto_usable(void)
{
	static const char *const names[] = {"libcrypto.so.3", "libcrypto.so.1.1"};
	void *lib = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(names) && !lib; i++)
		lib = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
	if (!lib)
		return false;
	*(void **)&crypto.init = dlsym(lib, "SHA256_Init");
	*(void **)&crypto.update = dlsym(lib, "SHA256_Update");
	*(void **)&crypto.final = dlsym(lib, "SHA256_Final");
	return crypto.init && crypto.update && crypto.final;
}

static void crypto_init(void *state)
{
	crypto.init(state);
}

static void crypto_update(void *state, const void *p, size_t n)
{
	crypto.update(state, p, n);
}

static void crypto_final(void *state, unsigned char *out)
{
	crypto.final(out, state);
}

/* --- plain C --------------------------------------------------------------------------------- */

static inline uint32_t rotr(uint32_t x, unsigned n)
{
	return x >> n | x << (32 - n);
}

static void c_block(uint32_t h[8], const unsigned char *p)
{
	uint32_t w[64], v[8];
	for (size_t t = 0; t < 16; t++) {
		memcpy(&w[t], p + 4 * t, 4);
		w[t] = be32toh(w[t]);
	}
	for (size_t t = 16; t < 64; t++) {
		uint32_t a = w[t - 15], b = w[t - 2];
		w[t] = (rotr(b, 17) ^ rotr(b, 19) ^ b >> 10) + w[t - 7] +
		       (rotr(a, 7) ^ rotr(a, 18) ^ a >> 3) + w[t - 16];
	}
	memcpy(v, h, sizeof(v));
	for (size_t t = 0; t < 64; t++) {
		uint32_t a = v[0], e = v[4];
		uint32_t t1 = v[7] + (rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25)) +
		              ((e & v[5]) ^ (~e & v[6])) + K[t] + w[t];
		uint32_t t2 = (rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22)) +
		              ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
		memmove(v + 1, v, 7 * sizeof(v[0]));
		v[4] += t1;
		v[0] = t1 + t2;
	}
	for (size_t i = 0; i < 8; i++)
		h[i] += v[i];
}

static void c_blocks(uint32_t h[8], const unsigned char *p, size_t n)
{
	for (; n; n--, p += BLOCK)
		c_block(h, p);
}

static bool c_usable(void)
{
	return true;
}

static void c_update(void *state, const void *p, size_t n)
{
	own_update(state, p, n, c_blocks);
}

static void c_final(void *state, unsigned char *out)
{
	own_final(state, out, c_blocks);
}

const struct sha256_impl sha256_impls[3] = {
        {"sha-ni", ni_usable, own_init, ni_update, ni_final, ni_update_both},
        {"libcrypto", crypto_usable, crypto_init, crypto_update, crypto_final, NULL},
        {"portable", c_usable, own_init, c_update, c_final, NULL},
};
