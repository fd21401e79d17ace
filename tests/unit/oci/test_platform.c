/* Platforms (SEMANTICS 28) and time. */
#include "oci/oci.h"
#include "../tap.h"

static void parses(const char *s, const char *want)
{
	_cleanup_error_ struct error err = ERROR_INIT;
	struct oci_platform p;
	char buf[128];
	ok(oci_platform_parse(s, &p, &err) == 0, s);
	is_str(oci_platform_string(&p, buf, sizeof(buf)), want, s);
}

static void refuses(const char *s)
{
	_cleanup_error_ struct error err = ERROR_INIT;
	struct oci_platform p;
	ok(oci_platform_parse(s, &p, &err) < 0 && err.class == ERR_USAGE && err.hint, s);
}

static void parsing(void)
{
	parses("linux/amd64", "linux/amd64");
	parses("linux/x86_64", "linux/amd64");
	parses("Linux/AMD64/v1", "linux/amd64");
	parses("linux/amd64/v3", "linux/amd64/v3");
	parses("linux/aarch64", "linux/arm64");
	parses("linux/arm64/v8", "linux/arm64");
	parses("linux/arm", "linux/arm/v7");
	parses("linux/armhf", "linux/arm/v7");
	parses("linux/armel", "linux/arm/v6");
	parses("linux/arm/6", "linux/arm/v6");
	parses("linux/i386", "linux/386");
	parses("arm64", "linux/arm64");
	parses("s390x", "linux/s390x");
	parses("windows/amd64", "windows/amd64");
	parses("macos/arm64", "darwin/arm64");
	static const char *const bad[] = {"", "/", "linux/", "linux/a/b/c", "linux/am d64", "plan",
	        "linux//v7", "linux/amd64/v1234567890123456"};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		refuses(bad[i]);
	struct oci_platform host, p;
	_cleanup_error_ struct error err = ERROR_INIT;
	oci_platform_host(&host);
	ok(oci_platform_parse("linux", &p, &err) == 0 && oci_platform_equal(&p, &host),
	        "an OS alone takes the host's architecture");
	ok(*host.arch && strcmp(host.arch, "x86_64") != 0, "which is in normal form");
}

static int rank(const char *want, const char *have)
{
	_cleanup_error_ struct error err = ERROR_INIT;
	struct oci_platform w, h;
	if (oci_platform_parse(want, &w, &err) < 0 || oci_platform_parse(have, &h, &err) < 0)
		abort();
	return oci_platform_match(&w, &h);
}

static void matching(void)
{
	ok(rank("linux/amd64", "linux/amd64") > 0, "same");
	is_int(rank("linux/amd64", "linux/arm64"), 0, "other architecture");
	is_int(rank("linux/amd64", "windows/amd64"), 0, "other system");
	is_int(rank("linux/amd64", "linux/386"), 0, "386 is not offered");
	is_int(rank("linux/amd64", "linux/amd64/v3"), 0, "no newer CPU than asked for");
	ok(rank("linux/amd64/v3", "linux/amd64/v2") > rank("linux/amd64/v3", "linux/amd64"),
	        "the nearest older level wins");
	ok(rank("linux/arm/v7", "linux/arm/v7") > rank("linux/arm/v7", "linux/arm/v6") &&
	                rank("linux/arm/v7", "linux/arm/v6") >
	                        rank("linux/arm/v7", "linux/arm/v5") &&
	                rank("linux/arm/v7", "linux/arm/v5") > 0,
	        "arm runs older variants");
	is_int(rank("linux/arm/v6", "linux/arm/v7"), 0, "but not newer ones");
	ok(rank("linux/arm64", "linux/arm64/v8") == 100, "v8 is arm64");
}

static void times(void)
{
	static const struct {
		int64_t sec, nsec;
		const char *want;
	} t[] = {
	        {0, 0, "1970-01-01T00:00:00Z"},
	        {1795228717, 123456789, "2026-11-21T02:38:37.123456789Z"},
	        {1795228717, 120000000, "2026-11-21T02:38:37.12Z"},
	        {1795228717, 1, "2026-11-21T02:38:37.000000001Z"},
	        {-1, 0, "1969-12-31T23:59:59Z"},
	        {2177452800, 0, "2039-01-01T00:00:00Z"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		_cleanup_free_ char *s = oci_time(t[i].sec, t[i].nsec);
		is_str(s, t[i].want, "time");
	}
}

int main(void)
{
	parsing();
	matching();
	times();
	return tap_done();
}
