/* Image references: docker's normalisation, and clear words for what is wrong. */
#include "oci/oci.h"
#include "../tap.h"

static void good(const char *s, const char *want, const char *familiar)
{
	_cleanup_error_ struct error err = ERROR_INIT;
	_cleanup_(oci_ref_release) struct oci_ref r = {0};
	if (!ok(oci_ref_parse(s, &r, &err) == 0, s))
		return;
	_cleanup_free_ char *full = oci_ref_string(&r), *short_ = oci_ref_familiar(&r);
	is_str(full, want, s);
	is_str(short_, familiar, s);
	_cleanup_(oci_ref_release) struct oci_ref again = {0};
	ok(oci_ref_parse(short_, &again, &err) == 0 && str_eq(again.path, r.path) &&
	                str_eq(again.domain, r.domain),
	        "the familiar form means the same");
}

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void parsing(void)
{
	good("debian", "docker.io/library/debian:latest", "debian:latest");
	good("debian:12-slim", "docker.io/library/debian:12-slim", "debian:12-slim");
	good("docker.io/debian", "docker.io/library/debian:latest", "debian:latest");
	good("index.docker.io/library/debian", "docker.io/library/debian:latest", "debian:latest");
	good("docker.io/a.b/c", "docker.io/a.b/c:latest", "docker.io/a.b/c:latest");
	good("me/app", "docker.io/me/app:latest", "me/app:latest");
	good("library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest");
	good("localhost/app", "localhost/app:latest", "localhost/app:latest");
	good("localhost:5000/a/b:v1", "localhost:5000/a/b:v1", "localhost:5000/a/b:v1");
	good("ghcr.io/o/r@sha256:" HEX, "ghcr.io/o/r@sha256:" HEX, "ghcr.io/o/r@sha256:" HEX);
	good("a:1@sha256:" HEX, "docker.io/library/a:1@sha256:" HEX, "a:1@sha256:" HEX);
	good("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest");
	good("127.0.0.1/x", "127.0.0.1/x:latest", "127.0.0.1/x:latest");
	good("me/a__b.c-d---e/f_g", "docker.io/me/a__b.c-d---e/f_g:latest",
	        "me/a__b.c-d---e/f_g:latest");
	good("Registry/app", "Registry/app:latest", "Registry/app:latest");
	good("x:_A.b-C", "docker.io/library/x:_A.b-C", "x:_A.b-C");
	good("x:5000", "docker.io/library/x:5000", "x:5000");
}

static void bad(const char *s, const char *part)
{
	_cleanup_error_ struct error err = ERROR_INIT;
	struct oci_ref r = {0};
	if (!ok(oci_ref_parse(s, &r, &err) < 0 && err.class == ERR_USAGE && strstr(err.msg, part),
	            part))
		printf("#   \"%s\": %s\n", s, err.msg ? err.msg : "accepted");
	ok(!r.domain, "the output is untouched");
}

static void refusing(void)
{
	bad("", "it is empty");
	bad("Debian", "repository names are lower-case");
	bad("docker://debian", "it is a URL");
	bad("https://x.io/a", "it is a URL");
	bad("a@sha256:" HEX "0", "64 lower-case hexadecimal");
	bad("a@sha256:../../etc/passwd", "64 lower-case hexadecimal");
	bad("a@sha256:0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef",
	        "64 lower-case hexadecimal");
	bad("a@md5:0123", "only sha256");
	bad("a@", "only sha256");
	bad("a:", "a tag has 1 to 128");
	bad("a:-x", "a tag has 1 to 128");
	bad("a:b:c", "a repository name has");
	bad("a:x y", "a tag has 1 to 128");
	bad(HEX, "an image id, not a name");
	bad("a//b", "a repository name has");
	bad("/a", "a repository name has");
	bad("a/", "a repository name has");
	bad("-a", "a repository name has");
	bad("a-", "a repository name has");
	bad("a..b", "a repository name has");
	bad("a___b", "a repository name has");
	bad("../a", "the registry's name is malformed");
	bad("a/../b", "a repository name has");
	bad("-x.io/a", "the registry's name is malformed");
	bad("x.io:port/a", "the registry's name is malformed");
	bad("x.io:/a", "the registry's name is malformed");
	bad("u:p@x.io/a", "only sha256");
	bad("a\nb", "a\\x0ab");
	bad("a b", "a repository name has");
	char long_[400];
	memset(long_, 'a', sizeof(long_));
	long_[sizeof(long_) - 1] = '\0';
	bad(long_, "longer than 255");
	_cleanup_error_ struct error err = ERROR_INIT;
	struct oci_ref r = {0};
	ok(oci_ref_parse("MyApp:1", &r, &err) < 0 && str_eq(err.hint, "write \"myapp\""), "a hint");
}

int main(void)
{
	parsing();
	refusing();
	return tap_done();
}
