/* Unit tests of registry/challenge.c and of Content-Disposition names. */
#include "../tap.h"

#include "registry/challenge.h"
#include "registry/client.h"

static void check(const char *value, enum challenge_kind kind, const char *realm,
        const char *service, const char *scope)
{
	struct challenge c;
	challenge_parse(value, &c);
	is_int(c.kind, kind, value);
	is_str(c.realm, realm, "realm");
	is_str(c.service, service, "service");
	is_str(c.scope, scope, "scope");
	challenge_release(&c);
}

static void name(const char *value, const char *want)
{
	char *got = registry_disposition_name(value);
	is_str(got, want, value);
	free(got);
}

int main(void)
{
	check("Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\","
	      "scope=\"repository:a/b:pull,push\"",
	        CHALLENGE_BEARER, "https://auth.docker.io/token", "registry.docker.io",
	        "repository:a/b:pull,push");
	check("bearer Realm = \"a\\\"b\" , service=x", CHALLENGE_BEARER, "a\"b", "x", NULL);
	check("Basic realm=\"x\"", CHALLENGE_BASIC, "x", NULL, NULL);
	check("Basic", CHALLENGE_BASIC, NULL, NULL, NULL);
	check("Negotiate YWJj==, Basic realm=\"x\", Bearer realm=\"r\",service=\"s\"",
	        CHALLENGE_BEARER, "r", "s", NULL);
	check("Bearer realm=\"r\", Basic realm=\"x\"", CHALLENGE_BEARER, "r", NULL, NULL);
	check("Bearer service=\"no realm\"", CHALLENGE_NONE, NULL, NULL, NULL);
	check("Bearer realm=\"unterminated", CHALLENGE_NONE, NULL, NULL, NULL);
	check("Bearer realm=https://h/t,service=s", CHALLENGE_BEARER, "https://h/t", "s", NULL);
	check("Digest realm=\"x\", nonce=\"y\"", CHALLENGE_NONE, NULL, NULL, NULL);
	check(",,, ", CHALLENGE_NONE, NULL, NULL, NULL);
	check("", CHALLENGE_NONE, NULL, NULL, NULL);
	check("Bearer realm=\"a\x01\"", CHALLENGE_NONE, NULL, NULL, NULL);

	name("attachment; filename=\"a b.tar\"", "a b.tar");
	name("attachment; filename=x.tgz; size=3", "x.tgz");
	name("attachment; filename=\"a.txt\"; filename*=UTF-8''%c3%a9.txt", "\xc3\xa9.txt");
	name("attachment; filename=\"../../etc/passwd\"", "passwd");
	name("attachment; filename=\"..\"", NULL);
	name("attachment; filename=\"../\"", NULL);
	name("attachment; filename=\"a\\nb;c\"", "anb;c");
	name("attachment; filename*=UTF-8''a%00b", NULL);
	name("attachment; filename*=UTF-8''a%0ab", NULL);
	name("attachment; filename*=UTF-8''%2fetc%2fshadow", "shadow");
	name("inline", NULL);
	return tap_done();
}
