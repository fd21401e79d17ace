/* What a server may put into its headers: WWW-Authenticate, Content-Disposition, Location. */
#include <stdio.h>

#include "registry/client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_name(const char *name)
{
	if (!name)
		return;
	/* A base name, whatever was sent (RELIABILITY B5). */
	if (!*name || strchr(name, '/') || strchr(name, '\n') || str_eq(name, "..") ||
	        str_eq(name, ".") || strlen(name) > 255)
		abort();
}

static void check_location(const char *text)
{
	struct error err = ERROR_INIT;
	struct url base = {0}, u = {0}, again = {0};
	if (url_parse("https://registry.example:5000/v2/a/blobs/uploads/1?x=y", &base, &err) < 0)
		abort();
	if (url_resolve(&base, text, &u, &err) == 0) {
		_cleanup_free_ char *s = url_string(&u);
		/* What was accepted once is accepted again, as it is. */
		if (url_parse(s, &again, &err) < 0)
			abort();
		_cleanup_free_ char *t = url_string(&again);
		if (!str_eq(s, t) || !url_same_origin(&u, &again) || strpbrk(s, "\r\n \\") ||
		        strchr(u.host, '@'))
			abort();
	}
	url_release(&base);
	url_release(&u);
	url_release(&again);
	error_release(&err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 1 << 16)
		return 0;
	char *s = xmalloc(size + 1);
	memcpy(s, data, size);
	s[size] = '\0';
	struct challenge c;
	challenge_parse(s, &c);
	if (c.kind == CHALLENGE_BEARER && !c.realm)
		abort();
	challenge_release(&c);
	char *name = registry_disposition_name(s);
	check_name(name);
	free(name);
	check_location(s);
	free(registry_next_page(s));
	free(s);
	return 0;
}
