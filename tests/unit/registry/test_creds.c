/* Unit tests of registry/creds.c: who gets credentials, and above all who does not (T16). */
#include "../tap.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "registry/creds.h"

static char dir[] = "/tmp/strake-creds-XXXXXX";
static char config_path[128];

static void write_file(const char *name, const char *text, mode_t mode)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	FILE *f = fopen(path, "we");
	if (!f)
		exit(1);
	fputs(text, f);
	fclose(f);
	chmod(path, mode);
}

static void lookup(const char *host, const char *repo, const char *user, const char *password)
{
	struct creds_file f;
	struct creds c = {0};
	struct error err = ERROR_INIT;
	is_int(creds_file_load(&f, config_path, &err), 0, "config.json is read");
	is_int(creds_lookup(&f, host, repo, &c, &err), 0, host);
	is_str(c.user, user, "user");
	is_str(c.password, password, "password");
	creds_release(&c);
	creds_file_release(&f);
	error_release(&err);
}

static void fails(const char *host, const char *says)
{
	struct creds_file f;
	struct creds c = {0};
	struct error err = ERROR_INIT;
	is_int(creds_file_load(&f, config_path, &err), 0, "config.json is read");
	is_int(creds_lookup(&f, host, "x", &c, &err), -1, host);
	is_int(err.class, ERR_AUTH, "an auth error");
	if (!ok(err.msg && strstr(err.msg, says), says))
		printf("#   %s\n", err.msg);
	creds_release(&c);
	creds_file_release(&f);
	error_release(&err);
}

static void test_auths(void)
{
	/* dXNlcjpwYTpzcw== is "user:pa:ss" */
	write_file("config.json",
	        "{\"auths\":{"
	        "\"https://index.docker.io/v1/\":{\"auth\":\"dXNlcjpwYTpzcw==\"},"
	        "\"reg.example:5000\":{\"username\":\"u\",\"password\":\"p\"},"
	        "\"https://slash.example/v2/\":{\"auth\":\"dXNlcjpwYTpzcw\"},"
	        "\"quay.io\":{\"username\":\"q\",\"password\":\"1\"},"
	        "\"quay.io/org\":{\"username\":\"org\",\"password\":\"2\"},"
	        "\"tok.example\":{\"auth\":\"dXNlcjo=\",\"identitytoken\":\"it\"},"
	        "\"bad.example\":{\"auth\":\"!!!\"},"
	        "\"empty.example\":{}},"
	        "\"HttpHeaders\":{\"X-Meta\":\"1\",\"Authorization\":\"no\",\"X-Bad\":\"a\\r\\nb\"}"
	        "}",
	        0600);
	lookup("docker.io", "library/x", "user", "pa:ss");
	lookup("docker.io.evil.example", "x", NULL, NULL);
	lookup("evil-docker.io", "x", NULL, NULL);
	lookup("reg.example:5000", "x", "u", "p");
	lookup("reg.example", "x", NULL, NULL);
	lookup("reg.example:50", "x", NULL, NULL);
	lookup("reg.example:50001", "x", NULL, NULL);
	lookup("slash.example", "x", "user", "pa:ss");
	lookup("quay.io", "other/x", "q", "1");
	lookup("quay.io", "org/x", "org", "2");
	lookup("quay.io", "organic/x", "q", "1");
	lookup("empty.example", "x", NULL, NULL);
	fails("bad.example", "malformed");

	struct creds_file f;
	struct creds c = {0};
	struct error err = ERROR_INIT;
	struct strv headers = STRV_INIT;
	is_int(creds_file_load(&f, config_path, &err), 0, "again");
	is_int(creds_lookup(&f, "tok.example", "x", &c, &err), 0, "identity token");
	is_str(c.identity_token, "it", "is taken");
	creds_http_headers(&f, &headers);
	is_int(headers.n, 1, "only the safe header");
	is_str(headers.v[0], "X-Meta: 1", "as it stands");
	strv_release(&headers);
	creds_release(&c);
	creds_file_release(&f);
}

static void test_helpers(void)
{
	char path[256];
	write_file("docker-credential-good",
	        "#!/bin/sh\nread -r host\n[ \"$1\" = get ] || exit 9\n"
	        "echo \"{\\\"ServerURL\\\":\\\"$host\\\",\\\"Username\\\":\\\"h\\\",\\\"Secret\\\":"
	        "\\\"$host\\\"}\"\n",
	        0700);
	write_file("docker-credential-none",
	        "#!/bin/sh\necho credentials not found in native keychain\nexit 1\n", 0700);
	write_file("docker-credential-broken", "#!/bin/sh\necho boom; exit 2\n", 0700);
	write_file("docker-credential-junk", "#!/bin/sh\necho '{]'\n", 0700);
	write_file("config.json",
	        "{\"credHelpers\":{\"a.example\":\"good\",\"b.example\":\"broken\","
	        "\"c.example\":\"missing\",\"d.example\":\"junk\",\"e.example\":\"../sh\","
	        "\"docker.io\":\"good\"},\"credsStore\":\"none\"}",
	        0600);
	snprintf(path, sizeof(path), "%s:/bin:/usr/bin", dir);
	setenv("PATH", path, 1);
	lookup("a.example", "x", "h", "a.example");
	lookup("docker.io", "x", "h", "https://index.docker.io/v1/");
	lookup("z.example", "x", NULL, NULL);
	fails("b.example", "boom");
	fails("c.example", "not installed");
	fails("d.example", "");
	fails("e.example", "bad credential helper name");
	write_file("config.json", "{\"credsStore\":\"missing\"}", 0600);
	lookup("z.example", "x", NULL, NULL);
}

static void test_base64(void)
{
	char *s = base64_encode("a", 1);
	is_str(s, "YQ==", "one byte");
	free(s);
	s = base64_encode("abc", 3);
	is_str(s, "YWJj", "three bytes");
	free(s);
	size_t n = 0;
	s = base64_decode("YWI=", &n);
	is_str(s, "ab", "decoded");
	is_int(n, 2, "length");
	free(s);
	ok(!base64_decode("Y", &n), "half a byte");
	ok(!base64_decode("YQ=x", &n), "text after padding");
	ok(!base64_decode("Y Q", &n), "a blank");
}

int main(void)
{
	if (!mkdtemp(dir))
		return 1;
	snprintf(config_path, sizeof(config_path), "%s/config.json", dir);
	test_base64();
	test_auths();
	test_helpers();
	char cmd[160];
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
	return system(cmd) == 0 ? tap_done() : 1;
}
