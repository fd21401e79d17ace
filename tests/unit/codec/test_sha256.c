/* sha256 and digests: FIPS 180-4 vectors and the strictness of digest_parse (RELIABILITY T11). */
#include "codec/checksum.h"
#include "codec/sha256_impl.h"
#include "../tap.h"

static const char *hex_of(const void *p, size_t n)
{
	static char buf[DIGEST_HEX_MAX];
	struct digest d;
	sha256_buf(p, n, &d);
	return digest_hex(&d, buf);
}

static void vectors(void)
{
	is_str(hex_of("", 0), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	        "empty");
	is_str(hex_of("abc", 3), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
	        "abc");
	struct sha256 h;
	struct digest d;
	char buf[DIGEST_STR_MAX];
	sha256_init(&h);
	for (int i = 0; i < 1000; i++) {
		char block[1000];
		memset(block, 'a', sizeof(block));
		sha256_update(&h, block, sizeof(block));
	}
	struct sha256 fork = h;
	sha256_final(&h, &d);
	is_str(digest_str(&d, buf),
	        "sha256:cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
	        "a million a");
	sha256_final(&fork, &d);
	is_str(digest_str(&d, buf),
	        "sha256:cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
	        "a copied state goes on by itself");
}

static struct digest fed(const char *a, const char *b)
{
	struct sha256 h;
	struct digest d;
	sha256_init(&h);
	sha256_str(&h, a);
	sha256_str(&h, b);
	sha256_final(&h, &d);
	return d;
}

static void framing(void)
{
	struct digest ab_c = fed("ab", "c"), a_bc = fed("a", "bc"), null_ = fed(NULL, ""),
	              empty = fed("", "");
	ok(!digest_eq(&ab_c, &a_bc), "fields do not run into each other");
	ok(!digest_eq(&null_, &empty), "NULL is not the empty string");
	char buf[DIGEST_HEX_MAX];
	/* printf '\2\0\0\0\0\0\0\0ab\1\0\0\0\0\0\0\0c' | sha256sum */
	is_str(digest_hex(&ab_c, buf),
	        "43ee655579de01ca739b3f95c1c2d3f46d353b2c0df818064ea594506cdb2617",
	        "the length is a little-endian u64");
}

static void parse(void)
{
	struct digest d;
	const char *good =
	        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
	ok(digest_parse(good, &d), "a digest");
	ok(d.b[0] == 0xba && d.b[31] == 0xad, "its bytes");
	ok(!digest_is_zero(&d), "not zero");
	static const char *const bad[] = {
	        "",
	        "sha256:",
	        "sha256:../../etc/passwd",
	        "sha256:BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
	        "SHA256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
	        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a",
	        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015add",
	        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ag",
	        "sha512:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
	        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		ok(!digest_parse(bad[i], &d), bad[i]);
	ok(!digest_parse(NULL, &d), "NULL");
	ok(d.b[0] == 0xba, "the output is untouched by failures");
}

/* Every implementation gives the same for every length and every cutting of the input. */
static void implementations(void)
{
	enum { MAX = 700 };
	unsigned char data[MAX], want[MAX + 1][32];
	for (size_t i = 0; i < MAX; i++)
		data[i] = (unsigned char)(i * 131 + (i >> 3));
	const struct sha256_impl *last = &sha256_impls[ARRAY_SIZE(sha256_impls) - 1];
	for (size_t n = 0; n <= MAX; n++) {
		struct sha256 h;
		last->init(h.opaque);
		last->update(h.opaque, data, n);
		last->final(h.opaque, want[n]);
	}
	struct digest d;
	char buf[DIGEST_HEX_MAX];
	memcpy(d.b, want[MAX], sizeof(d.b));
	is_str(digest_hex(&d, buf),
	        "d97408a49927d55ebff58cf54b198eba53ab55141c2786c16129cdb7afbad4cb",
	        "plain C agrees with another implementation");
	for (size_t k = 0; k < ARRAY_SIZE(sha256_impls); k++) {
		const struct sha256_impl *m = &sha256_impls[k];
		size_t bad = 0;
		if (!m->usable()) {
			printf("ok %d - %s # SKIP not on this machine\n", ++tap_n, m->name);
			continue;
		}
		for (size_t n = 0; n <= MAX; n++) {
			struct sha256 h;
			unsigned char got[32];
			m->init(h.opaque);
			for (size_t at = 0, step = 1 + n % 67; at < n; at += step)
				m->update(h.opaque, data + at, MIN(step, n - at));
			m->final(h.opaque, got);
			bad += memcmp(got, want[n], sizeof(got)) != 0;
		}
		is_int(bad, 0, m->name);
	}
}

/* Two hashes of the same bytes, after 0 to 130 bytes of their own each, fed in all kinds of pieces.
 */
static void both(void)
{
	enum { MAX = 300 };
	unsigned char data[MAX];
	size_t bad = 0;
	for (size_t i = 0; i < MAX; i++)
		data[i] = (unsigned char)(i * 37 + (i >> 2));
	for (size_t a = 0; a <= 130; a++)
		for (size_t b = a % 3; b <= 130; b += 1 + a % 7) {
			struct sha256 h[2], apart[2];
			struct digest got[2], want[2];
			const size_t before[2] = {a, b};
			for (size_t k = 0; k < 2; k++) {
				sha256_init(&h[k]);
				sha256_update(&h[k], data + k, before[k]);
				apart[k] = h[k];
				sha256_update(&apart[k], data, MAX);
			}
			for (size_t at = 0, step = 1 + (a * 7 + b) % 150; at < MAX; at += step)
				sha256_update_both(&h[0], &h[1], data + at, MIN(step, MAX - at));
			for (size_t k = 0; k < 2; k++) {
				sha256_final(&h[k], &got[k]);
				sha256_final(&apart[k], &want[k]);
				bad += !digest_eq(&got[k], &want[k]);
			}
		}
	is_int(bad, 0, "two hashes fed at once are the two fed one by one");
}

int main(void)
{
	implementations();
	both();
	/* the check value of CRC-64/XZ */
	ok(checksum64("123456789", 9) == 0x995dc9bbdf1939faULL, "checksum64");
	vectors();
	framing();
	parse();
	return tap_done();
}
