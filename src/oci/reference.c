/* oci/reference.c - image references: the grammar and the normalisation of distribution/reference.
 *
 * Invariant: what parses is safe to put into URLs, file names and terminals: every part is matched
 * against its own small alphabet, digests are sha256 in lower-case hex only. */
#include "oci/oci.h"

#include "base/hex.h"
#include "base/human.h"
#include "base/strbuf.h"

#define NAME_MAX_LEN 255
#define TAG_MAX_LEN 128

void oci_ref_release(struct oci_ref *r)
{
	free(r->domain);
	free(r->path);
	free(r->tag);
	free(r->digest);
	*r = (struct oci_ref){0};
}

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}
static bool is_upper(char c)
{
	return c >= 'A' && c <= 'Z';
}
static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}
static bool is_alnum(char c)
{
	return is_lower(c) || is_upper(c) || is_digit(c);
}

/* --- parts ----------------------------------------------------------------------------------- */

/* [a-z0-9]+ joined by one of "." "_" "__" or any number of "-". */
static bool component_ok(const char *p, size_t n)
{
	size_t i = 0;
	for (;;) {
		size_t start = i;
		while (i < n && (is_lower(p[i]) || is_digit(p[i])))
			i++;
		if (i == start)
			return false;
		if (i == n)
			return true;
		if (p[i] == '.') {
			i++;
		} else if (p[i] == '_') {
			i += i + 1 < n && p[i + 1] == '_' ? 2 : 1;
		} else {
			start = i;
			while (i < n && p[i] == '-')
				i++;
			if (i == start)
				return false;
		}
	}
}

static bool path_ok(const char *p)
{
	for (;;) {
		size_t n = strcspn(p, "/");
		if (!component_ok(p, n))
			return false;
		if (!p[n])
			return true;
		p += n + 1;
	}
}

static bool host_label_ok(const char *p, size_t n)
{
	if (n == 0 || p[0] == '-' || p[n - 1] == '-')
		return false;
	for (size_t i = 0; i < n; i++)
		if (!is_alnum(p[i]) && p[i] != '-')
			return false;
	return true;
}

static bool port_ok(const char *p)
{
	size_t n = strspn(p, "0123456789");
	return n > 0 && n <= 5 && p[n] == '\0';
}

/* domain_ok - name, IPv4 or [IPv6], with a port or not. */
static bool domain_ok(const char *p)
{
	if (*p == '[') {
		size_t n = strspn(p + 1, "0123456789abcdefABCDEF:");
		if (n == 0 || p[n + 1] != ']')
			return false;
		p += n + 2;
		return *p == '\0' || (*p == ':' && port_ok(p + 1));
	}
	for (;;) {
		size_t n = strcspn(p, ".:");
		if (!host_label_ok(p, n))
			return false;
		if (p[n] == '\0')
			return true;
		if (p[n] == ':')
			return port_ok(p + n + 1);
		p += n + 1;
	}
}

static bool tag_ok(const char *p)
{
	size_t n = strlen(p);
	if (n == 0 || n > TAG_MAX_LEN || *p == '.' || *p == '-')
		return false;
	for (; *p; p++)
		if (!is_alnum(*p) && *p != '_' && *p != '.' && *p != '-')
			return false;
	return true;
}

/* --- parse ----------------------------------------------------------------------------------- */

static int bad(struct error *err, const char *s, const char *why)
{
	_cleanup_free_ char *shown = human_escape(s, strnlen(s, 300), false);
	return err_set(err, ERR_USAGE, "invalid image reference \"%s\": %s", shown, why);
}

static bool has_upper(const char *s)
{
	for (; *s; s++)
		if (is_upper(*s))
			return true;
	return false;
}

/* names_registry - the first of several components is a registry if it looks like one: it has a
 * dot, a port or upper case, or is "localhost". */
static bool names_registry(const char *name)
{
	size_t n = strcspn(name, "/");
	_cleanup_free_ char *first = xstrndup(name, n);
	return name[n] && (strpbrk(first, ".:") || str_eq(first, "localhost") || has_upper(first));
}

static void split_domain(const char *name, struct oci_ref *r)
{
	size_t n = strcspn(name, "/");
	_cleanup_free_ char *first = xstrndup(name, n);
	bool registry = names_registry(name);
	r->domain = xstrdup(registry ? first : "docker.io");
	r->path = xstrdup(registry ? name + n + 1 : name);
	if (str_eq(r->domain, "index.docker.io")) {
		free(r->domain);
		r->domain = xstrdup("docker.io");
	}
	if (str_eq(r->domain, "docker.io") && !strchr(r->path, '/')) {
		char *full = xasprintf("library/%s", r->path);
		free(r->path);
		r->path = full;
	}
}

/* take_digest - cut "@..." off rest. */
static int take_digest(const char *s, char *rest, struct oci_ref *r, struct error *err)
{
	char *at = strchr(rest, '@');
	struct digest d;
	if (!at)
		return 0;
	*at = '\0';
	if (!digest_parse(at + 1, &d)) {
		if (!str_starts(at + 1, "sha256:"))
			return bad(err, s, "only sha256 digests are supported");
		return bad(err, s, "a digest is \"sha256:\" and 64 lower-case hexadecimal digits");
	}
	r->digest = xstrdup(at + 1);
	return 0;
}

/* take_tag - cut ":..." off the last component of rest. */
static int take_tag(const char *s, char *rest, struct oci_ref *r, struct error *err)
{
	char *slash = strrchr(rest, '/'), *colon = strrchr(rest, ':');
	if (!colon || (slash && colon < slash))
		return 0;
	if (!tag_ok(colon + 1))
		return bad(err, s,
		        "a tag has 1 to 128 letters, digits, \"_\", \".\" and \"-\", and does not "
		        "begin with \".\" or \"-\"");
	*colon = '\0';
	r->tag = xstrdup(colon + 1);
	return 0;
}

static int check_name(const char *s, const struct oci_ref *r, struct error *err)
{
	if (!domain_ok(r->domain))
		return bad(err, s, "the registry's name is malformed");
	if (path_ok(r->path)) {
		if (strlen(r->domain) + strlen(r->path) + 1 > NAME_MAX_LEN)
			return bad(err, s, "the name is longer than 255 bytes");
		return 0;
	}
	if (has_upper(r->path)) {
		bad(err, s, "repository names are lower-case");
		_cleanup_free_ char *low = xstrdup(r->path);
		for (char *p = low; *p; p++)
			if (is_upper(*p))
				*p = (char)(*p - 'A' + 'a');
		if (path_ok(low))
			err_hint(err, "write \"%s\"", str_starts(low, "library/") ? low + 8 : low);
		return -1;
	}
	return bad(err, s,
	        "a repository name has components of a-z and 0-9, joined by \".\", \"_\", \"__\" "
	        "or "
	        "\"-\", with \"/\" between them");
}

static bool is_hex64(const char *s)
{
	unsigned char b[32];
	return hex_decode(b, sizeof(b), s, strlen(s));
}

int oci_ref_parse(const char *s, struct oci_ref *ret, struct error *err)
{
	_cleanup_(oci_ref_release) struct oci_ref r = {0};
	_cleanup_free_ char *rest = xstrdup(s);
	if (!*s)
		return bad(err, s, "it is empty");
	if (strstr(s, "://")) {
		bad(err, s, "it is a URL");
		return err_hint(err, "leave out everything up to and including \"://\"");
	}
	if (take_digest(s, rest, &r, err) < 0 || take_tag(s, rest, &r, err) < 0)
		return -1;
	if (is_hex64(rest))
		return bad(err, s, "64 hexadecimal digits are an image id, not a name");
	split_domain(rest, &r);
	if (check_name(s, &r, err) < 0)
		return -1;
	if (!r.tag && !r.digest)
		r.tag = xstrdup("latest");
	*ret = r;
	r = (struct oci_ref){0};
	return 0;
}

static char *join(const char *domain, const char *path, const struct oci_ref *r)
{
	struct strbuf sb = STRBUF_INIT;
	if (domain)
		strbuf_addf(&sb, "%s/", domain);
	strbuf_addstr(&sb, path);
	if (r->tag)
		strbuf_addf(&sb, ":%s", r->tag);
	if (r->digest)
		strbuf_addf(&sb, "@%s", r->digest);
	return strbuf_detach(&sb);
}

char *oci_ref_string(const struct oci_ref *r)
{
	return join(r->domain, r->path, r);
}

char *oci_ref_familiar(const struct oci_ref *r)
{
	const char *path = r->path;
	if (!str_eq(r->domain, "docker.io"))
		return join(r->domain, path, r);
	if (str_starts(path, "library/") && !strchr(path + 8, '/'))
		path += 8;
	/* "docker.io/a.b/c" without its domain would be registry "a.b". */
	return join(names_registry(path) ? r->domain : NULL, path, r);
}
