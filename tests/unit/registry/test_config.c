/* Unit tests of registry/config.c: what is understood, and that the rest is an error. */
#include "../tap.h"

#include "registry/config.h"

static void bad(const char *text, int line, const char *says)
{
	struct registry_config c;
	struct error err = ERROR_INIT;
	registry_config_init(&c);
	is_int(registry_config_parse(&c, text, "f.conf", &err), -1, says);
	is_int(err.class, ERR_SYNTAX, "a syntax error");
	is_int(err.line, line, "at its line");
	is_str(err.file, "f.conf", "of its file");
	if (!ok(err.msg && strstr(err.msg, says), "that says what is wrong"))
		printf("#   %s\n", err.msg);
	error_release(&err);
	registry_config_release(&c);
}

int main(void)
{
	struct registry_config c;
	struct error err = ERROR_INIT;
	registry_config_init(&c);
	is_int(c.connect_timeout, 15, "default");
	static const char text[] = "# comment\n"
	                           "[registry \"docker.io\"]\r\n"
	                           "  mirror = http://localhost:5000   # first\n"
	                           "mirror=harbor.example/hub\n"
	                           "\n"
	                           "[ registry \"R.Example:5000\" ]\n"
	                           "insecure = true\n"
	                           "ca = \"/etc/my ca.pem\"\n"
	                           "[http]\n"
	                           "stall-timeout = 5\n"
	                           "retries = 0\n"
	                           "[registry \"docker.io\"]\n"
	                           "mirror = https://third/\n";
	is_int(registry_config_parse(&c, text, "f", &err), 0, "parsed");
	const struct registry_host *h = registry_config_host(&c, "docker.io");
	is_int(h ? h->mirrors.n : 0, 3, "mirrors of both sections");
	is_str(h->mirrors.v[0], "http://localhost:5000", "comment cut off");
	is_str(h->mirrors.v[1], "https://harbor.example/hub", "https by default");
	h = registry_config_host(&c, "r.example:5000");
	ok(h && h->insecure && !h->plain_http, "flags; host names are lower case");
	is_str(h->ca, "/etc/my ca.pem", "quotes taken off");
	is_int(c.stall_timeout, 5, "[http]");
	is_int(c.retries, 0, "[http] again");
	ok(!registry_config_host(&c, "r.example"), "the port belongs to the name");
	ok(!registry_config_host(&c, "docker.io.evil"), "no prefix match");
	registry_config_release(&c);

	bad("[registry \"x\"]\nmirrror = http://a\n", 2, "unknown key \"mirrror\"");
	bad("mirror = http://a\n", 1, "before the first section");
	bad("\n\n[foo]\n", 3, "unknown section");
	bad("[registry x]\n", 1, "expected [registry \"HOST\"]");
	bad("[registry \"https://x\"]\n", 1, "expected [registry \"HOST\"]");
	bad("[registry \"x\"\n", 1, "without ']'");
	bad("[registry \"x\"]\ninsecure = maybe\n", 2, "expected true or false");
	bad("[registry \"x\"]\nca = ca.pem\n", 2, "absolute path");
	bad("[registry \"x\"]\nmirror = ftp://a\n", 2, "http");
	bad("[registry \"x\"]\nmirror = http://u:secret@a\n", 2, "mirror = ...");
	bad("[registry \"x\"]\njunk\n", 2, "KEY = VALUE");
	bad("[http]\nretries = -1\n", 2, "expected a number");
	bad("[http]\nstall-timeout = 0\n", 2, "expected 1 to");
	return tap_done();
}
