/* Unit tests of registry/url.c. */
#include "../tap.h"

#include "registry/url.h"

static void parses(const char *s, const char *want)
{
	struct url u = {0};
	struct error err = ERROR_INIT;
	char *got = url_parse(s, &u, &err) == 0 ? url_string(&u) : NULL;
	is_str(got, want, s);
	free(got);
	url_release(&u);
	error_release(&err);
}

static void resolves(const char *base, const char *loc, const char *want)
{
	struct url b = {0}, u = {0};
	struct error err = ERROR_INIT;
	ok(url_parse(base, &b, &err) == 0, base);
	char *got = url_resolve(&b, loc, &u, &err) == 0 ? url_string(&u) : NULL;
	is_str(got, want, loc);
	free(got);
	url_release(&u);
	url_release(&b);
	error_release(&err);
}

static void zone(const char *host, enum url_zone want)
{
	is_int(url_zone_of_host(host), want, host);
}

int main(void)
{
	parses("https://Example.COM", "https://example.com/");
	parses("HTTP://h:80/a?b=c#frag", "http://h/a?b=c");
	parses("https://h:5000/v2/", "https://h:5000/v2/");
	parses("http://[::1]:5000/x", "http://[::1]:5000/x");
	parses("https://h/a b\xc3\xa9", "https://h/a%20b%C3%A9");
	parses("https://h?q", "https://h/?q");
	parses("ftp://h/", NULL);
	parses("file:///etc/passwd", NULL);
	parses("http://user:pw@h/", NULL);
	parses("http://h:0/", NULL);
	parses("http://h:65536/", NULL);
	parses("http://h:/", NULL);
	parses("http://h:99999999999/", NULL);
	parses("http:///x", NULL);
	parses("http://-x/", NULL);
	parses("http://a\r\nb/", NULL);
	parses("http://h/\r\nX: y", NULL);
	parses("http://[::1/", NULL);
	parses("http://[fe80::1%25eth0]/", NULL);

	resolves("https://h/v2/a/", "/x?y", "https://h/x?y");
	resolves("https://h/v2/a/b?q=1", "c", "https://h/v2/a/c");
	resolves("https://h/v2/a?q=1", "?z=2", "https://h/v2/a?z=2");
	resolves("https://h/v2/", "//other/x", "https://other/x");
	resolves("https://h/v2/", "http://o:81/x", "http://o:81/x");
	resolves("https://h/v2/", "file:///etc/passwd", NULL);
	resolves("https://h/v2/", "gopher://h/", NULL);
	resolves("https://h/v2/", "https://u:p@h/", NULL);
	resolves("https://h:5000/v2/", "", "https://h:5000/v2/");

	zone("localhost", URL_ZONE_LOOPBACK);
	zone("x.LOCALHOST.", URL_ZONE_LOOPBACK);
	zone("notlocalhost", URL_ZONE_PUBLIC);
	zone("127.9.9.9", URL_ZONE_LOOPBACK);
	zone("127.1", URL_ZONE_LOOPBACK);
	zone("0x7f000001", URL_ZONE_LOOPBACK);
	zone("2130706433", URL_ZONE_LOOPBACK);
	zone("0.0.0.0", URL_ZONE_LOOPBACK);
	zone("[::1]", URL_ZONE_LOOPBACK);
	zone("[::ffff:127.0.0.1]", URL_ZONE_LOOPBACK);
	zone("169.254.169.254", URL_ZONE_LINK_LOCAL);
	zone("[::ffff:169.254.169.254]", URL_ZONE_LINK_LOCAL);
	zone("[fe80::1]", URL_ZONE_LINK_LOCAL);
	zone("10.0.0.1", URL_ZONE_PUBLIC);
	zone("127.0.0.1.example", URL_ZONE_PUBLIC);
	return tap_done();
}
