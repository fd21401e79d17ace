/* sbom/golang.c - the modules that Go's linker writes into every program: section .go.buildinfo.
 *
 * Only the inline form (Go 1.18 and later) is read; older ones point into memory by addresses. */
#include "sbom/internal.h"

#include <elf.h>
#include <endian.h>

#define MAX_SECTIONS 4096u
#define MAX_NAMES (1u << 20)
#define MAX_INFO (4u << 20)
#define MAGIC "\xff Go buildinf:"
#define HEADER 32 /* magic, pointer size, flags, padding */
#define INLINE 2

struct elf {
	const struct sbom_bytes *in;
	bool is64, big;
};

struct section {
	uint32_t name;
	uint64_t offset, size;
};

static bool get(const struct elf *e, uint64_t offset, void *buf, size_t n)
{
	return n <= e->in->size && offset <= e->in->size - n &&
	       e->in->read_at(e->in->ctx, offset, buf, n);
}

static uint64_t num(const struct elf *e, const unsigned char *p, size_t n)
{
	uint64_t v = 0;
	for (size_t i = 0; i < n; i++)
		v = v << 8 | p[e->big ? i : n - 1 - i];
	return v;
}

static bool read_section(const struct elf *e, uint64_t at, struct section *ret)
{
	unsigned char h[sizeof(Elf64_Shdr)];
	size_t n = e->is64 ? sizeof(Elf64_Shdr) : sizeof(Elf32_Shdr);
	if (!get(e, at, h, n))
		return false;
	ret->name = (uint32_t)num(e, h, 4);
	ret->offset = e->is64 ? num(e, h + 24, 8) : num(e, h + 16, 4);
	ret->size = e->is64 ? num(e, h + 32, 8) : num(e, h + 20, 4);
	return true;
}

/* find_section - by name; the table and its names are bounded. */
static bool find_section(const struct elf *e, const char *name, struct section *ret)
{
	unsigned char h[sizeof(Elf64_Ehdr)];
	if (!get(e, 0, h, e->is64 ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr)))
		return false;
	uint64_t table = e->is64 ? num(e, h + 40, 8) : num(e, h + 32, 4);
	size_t each = (size_t)num(e, h + (e->is64 ? 58 : 46), 2);
	size_t n = (size_t)num(e, h + (e->is64 ? 60 : 48), 2);
	size_t names_at = (size_t)num(e, h + (e->is64 ? 62 : 50), 2);
	size_t want = e->is64 ? sizeof(Elf64_Shdr) : sizeof(Elf32_Shdr);
	struct section names, s;
	if (each < want || n > MAX_SECTIONS || names_at >= n || table > e->in->size ||
	        !read_section(e, table + names_at * each, &names) || names.size > MAX_NAMES ||
	        names.size == 0)
		return false;
	_cleanup_free_ char *text = xmalloc((size_t)names.size + 1);
	if (!get(e, names.offset, text, (size_t)names.size))
		return false;
	text[names.size] = '\0';
	for (size_t i = 0; i < n; i++)
		if (read_section(e, table + i * each, &s) && s.name < names.size &&
		        str_eq(text + s.name, name)) {
			*ret = s;
			return true;
		}
	return false;
}

/* A length as Go's varint, then so many bytes. */
static const char *take_string(const char **pp, const char *end, size_t *ret_n)
{
	uint64_t n = 0;
	const char *p = *pp;
	for (unsigned shift = 0; shift < 35; shift += 7) {
		if (p >= end)
			return NULL;
		unsigned char c = (unsigned char)*p++;
		n |= (uint64_t)(c & 0x7f) << shift;
		if (!(c & 0x80)) {
			if (n > (uint64_t)(end - p))
				return NULL;
			*ret_n = (size_t)n;
			*pp = p + n;
			return p;
		}
	}
	return NULL;
}

/* word - the i-th tab-separated word of a line. */
static const char *word(struct sbom *s, const char *line, size_t n, unsigned i)
{
	const char *end = line + n;
	for (; i; i--) {
		line = memchr(line, '\t', (size_t)(end - line));
		if (!line)
			return NULL;
		line++;
	}
	const char *tab = memchr(line, '\t', (size_t)(end - line));
	return sbom_text(s, line, (size_t)((tab ? tab : end) - line));
}

static void flush(struct sbom *s, struct sbom_package *k)
{
	if (k->name)
		sbom_add(s, k);
	k->name = NULL;
}

/* parse_modules - lines "mod|dep<TAB>PATH<TAB>VERSION<TAB>SUM"; "=>" replaces the line before. */
static void parse_modules(struct sbom *s, const char *p, const char *end, const char *path)
{
	struct sbom_package k = {.type = "golang", .found_in = path};
	while (p < end) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		size_t n = (size_t)((nl ? nl : end) - p);
		bool mod = n > 4 && (memcmp(p, "mod\t", 4) == 0 || memcmp(p, "dep\t", 4) == 0);
		bool instead = n > 3 && memcmp(p, "=>\t", 3) == 0;
		if (mod)
			flush(s, &k);
		if (mod || instead) {
			k.name = word(s, p, n, 1);
			k.version = word(s, p, n, 2);
		}
		p = nl ? nl + 1 : end;
	}
	flush(s, &k);
}

static bool parse_info(struct sbom *s, const char *info, size_t n, const char *path)
{
	const char *p = info + HEADER, *end = info + n;
	size_t n_version, n_modules;
	if (n < HEADER || memcmp(info, MAGIC, sizeof(MAGIC) - 1) != 0 || !(info[15] & INLINE))
		return false;
	const char *version = take_string(&p, end, &n_version);
	const char *modules = version ? take_string(&p, end, &n_modules) : NULL;
	if (!modules)
		return false;
	const char *std = sbom_text(s, version, n_version);
	if (std && str_starts(std, "go")) {
		struct sbom_package k = {.type = "golang",
		        .name = "stdlib",
		        .version = std + 2,
		        .license = "BSD-3-Clause",
		        .found_in = path};
		sbom_add(s, &k);
	}
	/* The text stands between two markers of 16 bytes. */
	if (n_modules >= 33 && modules[n_modules - 17] == '\n')
		parse_modules(s, modules + 16, modules + n_modules - 16, path);
	return true;
}

bool sbom_parse_go(struct sbom *s, const struct sbom_bytes *in, const char *path)
{
	unsigned char ident[EI_NIDENT];
	struct elf e = {.in = in};
	struct section info;
	if (!get(&e, 0, ident, sizeof(ident)) || memcmp(ident, ELFMAG, SELFMAG) != 0 ||
	        (ident[EI_CLASS] != ELFCLASS32 && ident[EI_CLASS] != ELFCLASS64))
		return false;
	e.is64 = ident[EI_CLASS] == ELFCLASS64;
	e.big = ident[EI_DATA] == ELFDATA2MSB;
	if (!find_section(&e, ".go.buildinfo", &info) || info.size < HEADER || info.size > MAX_INFO)
		return false;
	_cleanup_free_ char *bytes = xmalloc((size_t)info.size);
	return get(&e, info.offset, bytes, (size_t)info.size) &&
	       parse_info(s, bytes, (size_t)info.size, path);
}
