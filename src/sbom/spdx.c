/* sbom/spdx.c - the list of packages as an SPDX 2.3 document in JSON. */
#include "sbom/internal.h"
#include "base/hex.h"
#include "codec/sha256.h"

/* Identifiers of the SPDX list that packages use most; an expression of others is no valid value
 * and goes into a comment instead. */
static const char *const known_licenses[] = {"0BSD", "AFL-2.1", "AGPL-3.0", "AGPL-3.0-only",
        "AGPL-3.0-or-later", "Apache-2.0", "Artistic-1.0-Perl", "Artistic-2.0", "BSD-1-Clause",
        "BSD-2-Clause", "BSD-3-Clause", "BSD-4-Clause", "BSL-1.0", "BlueOak-1.0.0", "CC-BY-3.0",
        "CC-BY-4.0", "CC0-1.0", "CDDL-1.0", "EPL-1.0", "EPL-2.0", "FTL", "GPL-1.0-or-later",
        "GPL-2.0", "GPL-2.0-only", "GPL-2.0-or-later", "GPL-3.0", "GPL-3.0-only",
        "GPL-3.0-or-later", "ICU", "ISC", "LGPL-2.0-or-later", "LGPL-2.1", "LGPL-2.1-only",
        "LGPL-2.1-or-later", "LGPL-3.0", "LGPL-3.0-only", "LGPL-3.0-or-later", "MIT", "MIT-0",
        "MPL-1.1", "MPL-2.0", "OFL-1.1", "OpenSSL", "PSF-2.0", "Python-2.0", "Unlicense", "Vim",
        "WTFPL", "X11", "Zlib", "ZPL-2.1", "bzip2-1.0.6", "curl", "libtiff"};

/* is_expression - known identifiers joined by AND, OR and (not nested deeper than text) brackets.
 */
static bool is_expression(const char *s)
{
	int depth = 0;
	bool want_id = true;
	while (*s) {
		if (*s == ' ') {
			s++;
			continue;
		}
		if (*s == '(' && want_id) {
			depth++;
			s++;
			continue;
		}
		if (*s == ')' && !want_id && depth) {
			depth--;
			s++;
			continue;
		}
		size_t n = strcspn(s, " ()");
		bool joint =
		        (n == 3 && memcmp(s, "AND", 3) == 0) || (n == 2 && memcmp(s, "OR", 2) == 0);
		bool known = false;
		for (size_t i = 0; i < ARRAY_SIZE(known_licenses) && !known; i++)
			known = strlen(known_licenses[i]) == n &&
			        memcmp(known_licenses[i], s, n) == 0;
		if (n == 0 || joint == want_id || (want_id && !known))
			return false;
		want_id = !want_id;
		s += n;
	}
	return !want_id && depth == 0;
}

/* An SPDX identifier: letters, digits, '.' and '-', and unique through the digest. */
static char *element_id(const struct sbom_package *p)
{
	struct sha256 h;
	struct digest d;
	char hex[DIGEST_HEX_MAX];
	sha256_init(&h);
	sha256_str(&h, p->purl);
	sha256_str(&h, p->found_in);
	sha256_final(&h, &d);
	digest_hex(&d, hex);
	char *id = xasprintf("SPDXRef-Package-%s-%.100s-%.16s", p->type, p->name, hex);
	for (char *c = id; *c; c++)
		if (!((*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'z') ||
		            (*c >= 'A' && *c <= 'Z') || *c == '.'))
			*c = '-';
	return id;
}

static void set(json_t *o, const char *key, const char *value)
{
	json_object_set_new(o, key, json_str(value));
}

static json_t *supplier(const struct sbom_package *p)
{
	if (!p->supplier)
		return json_str("NOASSERTION");
	/* rpm's vendors are organisations; the others name who maintains. "Name <address>" is
	 * written "Name (address)" here. */
	const char *kind = str_eq(p->type, "rpm") ? "Organization" : "Person";
	const char *open = strstr(p->supplier, " <");
	size_t n = strlen(p->supplier);
	_cleanup_free_ char *text = NULL;
	if (open && p->supplier[n - 1] == '>')
		text = xasprintf("%s: %.*s (%.*s)", kind, (int)(open - p->supplier), p->supplier,
		        (int)(p->supplier + n - 1 - (open + 2)), open + 2);
	else
		text = xasprintf("%s: %s", kind, p->supplier);
	return json_str(text);
}

static json_t *purl_reference(const char *purl)
{
	json_t *o = json_object();
	set(o, "referenceCategory", "PACKAGE-MANAGER");
	set(o, "referenceType", "purl");
	set(o, "referenceLocator", purl);
	json_t *list = json_array();
	json_array_append_new(list, o);
	return list;
}

static json_t *package_json(const struct sbom_package *p, const char *id)
{
	json_t *o = json_object();
	bool expression = p->license && is_expression(p->license);
	set(o, "SPDXID", id);
	set(o, "name", p->name);
	if (p->version)
		set(o, "versionInfo", p->version);
	json_object_set_new(o, "supplier", supplier(p));
	set(o, "downloadLocation", "NOASSERTION");
	json_object_set_new(o, "filesAnalyzed", json_false());
	if (p->homepage && strstr(p->homepage, "://") && !strchr(p->homepage, ' '))
		set(o, "homepage", p->homepage);
	_cleanup_free_ char *where = xasprintf("found in /%s%s%s", p->found_in,
	        p->upstream ? "; built from " : "", str_or_empty(p->upstream));
	set(o, "sourceInfo", where);
	set(o, "licenseConcluded", "NOASSERTION");
	set(o, "licenseDeclared", expression ? p->license : "NOASSERTION");
	if (p->license && !expression) {
		_cleanup_free_ char *text = xasprintf("declared as: %s", p->license);
		set(o, "licenseComments", text);
	}
	set(o, "copyrightText", "NOASSERTION");
	json_object_set_new(o, "externalRefs", purl_reference(p->purl));
	return o;
}

static json_t *image_json(const struct sbom *s, const char *name)
{
	json_t *o = json_object();
	set(o, "SPDXID", "SPDXRef-Image");
	set(o, "name", name);
	set(o, "supplier", "NOASSERTION");
	set(o, "downloadLocation", "NOASSERTION");
	json_object_set_new(o, "filesAnalyzed", json_false());
	set(o, "licenseConcluded", "NOASSERTION");
	set(o, "licenseDeclared", "NOASSERTION");
	set(o, "copyrightText", "NOASSERTION");
	set(o, "primaryPackagePurpose", "CONTAINER");
	if (*str_or_empty(s->os_id)) {
		_cleanup_free_ char *os = xasprintf("%s %s", s->os_id, str_or_empty(s->os_version));
		set(o, "summary", os);
	}
	return o;
}

static json_t *relation(const char *from, const char *how, const char *to)
{
	json_t *o = json_object();
	set(o, "spdxElementId", from);
	set(o, "relationshipType", how);
	set(o, "relatedSpdxElement", to);
	return o;
}

static json_t *creation(const struct sbom *s, const char *created)
{
	json_t *o = json_object();
	set(o, "created", created);
	json_object_set_new(o, "creators", json_pack("[s]", "Tool: strake-" STRAKE_VERSION));
	if (s->notes.n) {
		_cleanup_free_ char *text = strv_join(&s->notes, "; ");
		json_object_set_new(o, "comment", json_str(text));
	}
	return o;
}

/* SPDX wants seconds: "2026-11-21T06:00:00Z". */
static char *whole_seconds(const char *created)
{
	size_t n = strcspn(created, ".Z+");
	return n == strlen("2026-11-21T06:00:00") ? xasprintf("%.*sZ", (int)n, created)
	                                          : xstrdup("1970-01-01T00:00:00Z");
}

static char *namespace_of(const struct sbom *s, const char *name, const char *when)
{
	struct sha256 h;
	struct digest d;
	char hex[DIGEST_HEX_MAX];
	sha256_init(&h);
	sha256_str(&h, name);
	sha256_str(&h, when);
	for (size_t i = 0; i < s->n; i++) {
		sha256_str(&h, s->v[i].purl);
		sha256_str(&h, s->v[i].found_in);
	}
	sha256_final(&h, &d);
	return xasprintf("https://spdx.org/spdxdocs/strake-%s", digest_hex(&d, hex));
}

json_t *sbom_spdx(const struct sbom *s, const char *name, const char *created)
{
	json_t *o = json_object(), *packages = json_array(), *relations = json_array();
	_cleanup_free_ char *when = whole_seconds(created);
	_cleanup_free_ char *ns = namespace_of(s, name, when);
	set(o, "spdxVersion", "SPDX-2.3");
	set(o, "dataLicense", "CC0-1.0");
	set(o, "SPDXID", "SPDXRef-DOCUMENT");
	set(o, "name", name);
	set(o, "documentNamespace", ns);
	json_object_set_new(o, "creationInfo", creation(s, when));
	json_array_append_new(packages, image_json(s, name));
	json_array_append_new(
	        relations, relation("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-Image"));
	for (size_t i = 0; i < s->n; i++) {
		_cleanup_free_ char *element = element_id(&s->v[i]);
		json_array_append_new(packages, package_json(&s->v[i], element));
		json_array_append_new(relations, relation("SPDXRef-Image", "CONTAINS", element));
	}
	json_object_set_new(o, "packages", packages);
	json_object_set_new(o, "relationships", relations);
	return o;
}
