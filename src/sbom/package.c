/* sbom/package.c - the list of packages: adding, package URLs, order. */
#include "sbom/internal.h"
#include "base/strbuf.h"

void sbom_release(struct sbom *s)
{
	arena_release(&s->arena);
	free(s->v);
	strv_release(&s->notes);
	*s = (struct sbom){0};
}

const char *sbom_text(struct sbom *s, const char *p, size_t n)
{
	while (n && (*p == ' ' || *p == '\t')) {
		p++;
		n--;
	}
	while (n && (p[n - 1] == ' ' || p[n - 1] == '\t' || p[n - 1] == '\r'))
		n--;
	n = MIN(n, (size_t)SBOM_MAX_TEXT);
	if (!n || memchr(p, '\0', n) || s->arena.used_total > SBOM_MAX_MEMORY)
		return NULL;
	char *out = arena_strndup(&s->arena, p, n);
	for (size_t i = 0; i < n; i++)
		if (out[i] == '\n' || out[i] == '\r')
			out[i] = ' ';
	return out;
}

/* The package URL specification: all but unreserved characters, and ':' where keep has it. */
static void add_encoded(struct strbuf *b, const char *s, const char *keep)
{
	for (const unsigned char *p = (const unsigned char *)s; *p; p++) {
		bool plain = (*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') ||
		             (*p >= 'A' && *p <= 'Z') || strchr(".-_~", *p) || strchr(keep, *p);
		if (plain)
			strbuf_addch(b, (char)*p);
		else
			strbuf_addf(b, "%%%02X", *p);
	}
}

static void lower(char *s)
{
	for (; *s; s++)
		if (*s >= 'A' && *s <= 'Z')
			*s = (char)(*s - 'A' + 'a');
}

static void add_qualifier(struct strbuf *b, char *sep, const char *key, const char *value)
{
	if (!value || !*value)
		return;
	strbuf_addf(b, "%c%s=", *sep, key);
	add_encoded(b, value, ":");
	*sep = '&';
}

/* distro - "debian-12" for the packages of distributions. */
static void add_distro(struct strbuf *b, char *sep, const struct sbom *s)
{
	if (!*str_or_empty(s->os_id))
		return;
	_cleanup_free_ char *distro = *str_or_empty(s->os_version)
	                                      ? xasprintf("%s-%s", s->os_id, s->os_version)
	                                      : xstrdup(s->os_id);
	add_qualifier(b, sep, "distro", distro);
}

static const char *make_purl(struct sbom *s, const struct sbom_package *p)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	_cleanup_free_ char *name = xstrdup(p->name);
	char sep = '?';
	bool distro = str_eq(p->type, "deb") || str_eq(p->type, "apk") || str_eq(p->type, "rpm");
	strbuf_addf(&b, "pkg:%s/", p->type);
	if (distro) {
		const char *fallback = str_eq(p->type, "deb")   ? "debian"
		                       : str_eq(p->type, "apk") ? "alpine"
		                                                : "";
		const char *ns = *str_or_empty(s->os_id) ? s->os_id : fallback;
		if (*ns) {
			add_encoded(&b, ns, "");
			strbuf_addch(&b, '/');
		}
	}
	if (str_eq(p->type, "pypi")) {
		lower(name);
		for (char *c = name; *c; c++)
			if (*c == '_')
				*c = '-';
	}
	/* "@scope/name" and module paths keep their slashes. */
	add_encoded(&b, name, "/");
	if (p->version) {
		strbuf_addch(&b, '@');
		add_encoded(&b, p->version, str_eq(p->type, "golang") ? "" : ":");
	}
	if (distro) {
		add_qualifier(&b, &sep, "arch", p->arch);
		add_distro(&b, &sep, s);
	}
	return arena_strdup(&s->arena, b.buf);
}

static const char *keep(struct sbom *s, const char *text)
{
	return text ? sbom_text(s, text, strlen(text)) : NULL;
}

void sbom_add(struct sbom *s, const struct sbom_package *p)
{
	struct sbom_package k = {.type = p->type,
	        .name = keep(s, p->name),
	        .version = keep(s, p->version),
	        .arch = keep(s, p->arch),
	        .license = keep(s, p->license),
	        .supplier = keep(s, p->supplier),
	        .homepage = keep(s, p->homepage),
	        .upstream = keep(s, p->upstream),
	        .found_in = arena_strdup(&s->arena, p->found_in)};
	if (!k.name)
		return;
	if (s->n >= SBOM_MAX_PACKAGES) {
		s->too_many = true;
		return;
	}
	k.purl = make_purl(s, &k);
	vec_grow(&s->v, &s->cap, s->n + 1);
	s->v[s->n++] = k;
}

static int by_purl(const void *a, const void *b)
{
	const struct sbom_package *x = a, *y = b;
	int c = strcmp(x->purl, y->purl);
	return c ? c : strcmp(x->found_in, y->found_in);
}

void sbom_finish(struct sbom *s)
{
	size_t n = 0;
	if (s->too_many || s->arena.used_total > SBOM_MAX_MEMORY)
		strv_addf(&s->notes, "more packages than can be listed: the rest is left out");
	if (s->n)
		qsort(s->v, s->n, sizeof(*s->v), by_purl);
	for (size_t i = 0; i < s->n; i++)
		if (!n || by_purl(&s->v[n - 1], &s->v[i]) != 0)
			s->v[n++] = s->v[i];
	s->n = n;
}
