/* sha256 and digests: FIPS 180-4 vectors and the strictness of digest_parse (RELIABILITY T11). */
#include "codec/sha256.h"
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

int main(void)
{
	vectors();
	framing();
	parse();
	return tap_done();
}
