/* sbom/records.c - the databases that are text: dpkg, apk, Python's metadata; and npm's JSON. */
#include "sbom/internal.h"

/* --- paragraphs of "Name: value" ------------------------------------------------------------- */

bool sbom_next_field(const char **pp, const char *end, struct sbom_field *ret)
{
	for (const char *p = *pp; p < end;) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		const char *stop = nl ? nl : end, *next = nl ? nl + 1 : end;
		size_t n = (size_t)(stop - p);
		if (n && p[n - 1] == '\r')
			n--;
		if (n == 0) {
			*pp = next;
			return false;
		}
		const char *colon = memchr(p, ':', n);
		if (colon && *p != ' ' && *p != '\t') {
			*ret = (struct sbom_field){.name = p,
			        .name_len = (size_t)(colon - p),
			        .value = colon + 1,
			        .value_len = n - (size_t)(colon - p) - 1};
			*pp = next;
			return true;
		}
		p = next; /* a continuation, or no field at all */
	}
	*pp = end;
	return false;
}

bool sbom_is(const struct sbom_field *f, const char *name)
{
	return strlen(name) == f->name_len && strncasecmp(f->name, name, f->name_len) == 0;
}

struct wanted {
	const char *field;
	const char **to;
};

/* read_paragraph - the wanted fields; false at the end of the text. */
static bool read_paragraph(
        struct sbom *s, const char **pp, const char *end, const struct wanted *w, size_t n_wanted)
{
	struct sbom_field f;
	if (*pp >= end)
		return false;
	while (sbom_next_field(pp, end, &f))
		for (size_t i = 0; i < n_wanted; i++)
			if (sbom_is(&f, w[i].field) && !*w[i].to)
				*w[i].to = sbom_text(s, f.value, f.value_len);
	return true;
}

/* --- dpkg ------------------------------------------------------------------------------------ */

static bool is_installed(const char *status)
{
	/* want, flag, state: "install ok installed", "hold ok installed" */
	const char *last = status ? strrchr(status, ' ') : NULL;
	return last && str_eq(last + 1, "installed");
}

void sbom_parse_dpkg(struct sbom *s, const char *text, size_t n, bool need_status, const char *path)
{
	const char *p = text, *end = text + n;
	for (;;) {
		const char *status = NULL;
		struct sbom_package k = {.type = "deb", .found_in = path};
		const struct wanted w[] = {{"Package", &k.name}, {"Version", &k.version},
		        {"Architecture", &k.arch}, {"Maintainer", &k.supplier},
		        {"Homepage", &k.homepage}, {"Source", &k.upstream}, {"Status", &status}};
		if (!read_paragraph(s, &p, end, w, ARRAY_SIZE(w)))
			return;
		if (k.name && k.version && (is_installed(status) || (!need_status && !status)))
			sbom_add(s, &k);
	}
}

/* --- apk ------------------------------------------------------------------------------------- */

void sbom_parse_apk(struct sbom *s, const char *text, size_t n, const char *path)
{
	const char *p = text, *end = text + n;
	for (;;) {
		struct sbom_package k = {.type = "apk", .found_in = path};
		const struct sbom_package none = k;
		struct sbom_field f;
		if (p >= end)
			return;
		/* Names differ by case: "A" is the architecture, "a" an owner of a file. */
		while (sbom_next_field(&p, end, &f)) {
			static const char names[] = "PVALmUo";
			const char **to[] = {&k.name, &k.version, &k.arch, &k.license, &k.supplier,
			        &k.homepage, &k.upstream};
			const char *at = f.name_len == 1 ? strchr(names, *f.name) : NULL;
			if (at && *at && !*to[at - names])
				*to[at - names] = sbom_text(s, f.value, f.value_len);
		}
		if (memcmp(&k, &none, sizeof(k)) != 0 && k.name && k.version)
			sbom_add(s, &k);
	}
}

/* --- Python ---------------------------------------------------------------------------------- */

void sbom_parse_python(struct sbom *s, const char *text, size_t n, const char *path)
{
	const char *p = text, *end = text + n, *expression = NULL;
	struct sbom_package k = {.type = "pypi", .found_in = path};
	const struct wanted w[] = {{"Name", &k.name}, {"Version", &k.version},
	        {"License-Expression", &expression}, {"License", &k.license},
	        {"Author", &k.supplier}, {"Home-page", &k.homepage}};
	(void)read_paragraph(s, &p, end, w, ARRAY_SIZE(w));
	if (expression)
		k.license = expression;
	if (k.license && str_eq(k.license, "UNKNOWN"))
		k.license = NULL;
	if (k.name && k.version)
		sbom_add(s, &k);
}

/* --- npm ------------------------------------------------------------------------------------- */

/* A string, or the one in an object: {"type": "MIT"}, {"name": "A B", "email": ...}. */
static const char *text_or(const json_t *j, const char *key, const char *inner)
{
	const json_t *v = json_object_get(j, key);
	if (json_is_string(v))
		return json_string_value(v);
	return json_is_object(v) ? json_get_str(v, inner) : NULL;
}

void sbom_parse_npm(struct sbom *s, const char *text, size_t n, const char *path)
{
	struct error ignored = ERROR_INIT;
	_cleanup_json_ json_t *j = json_parse(text, n, (size_t)4 << 20, path, &ignored);
	error_release(&ignored);
	if (!json_is_object(j))
		return;
	struct sbom_package k = {.type = "npm",
	        .found_in = path,
	        .name = json_get_str(j, "name"),
	        .version = json_get_str(j, "version"),
	        .license = text_or(j, "license", "type"),
	        .supplier = text_or(j, "author", "name"),
	        .homepage = json_get_str(j, "homepage")};
	if (k.name && k.version)
		sbom_add(s, &k);
}
