/* Each package database: what is listed, what is left out, and bytes that are not what they say. */
#include "sbom/sbom.h"
#include "base/strbuf.h"
#include "../tap.h"

#define END(a) a, sizeof(a) - 1

static const char *purls(const struct sbom *s)
{
	static char buf[4096];
	buf[0] = '\0';
	for (size_t i = 0; i < s->n; i++)
		snprintf(buf + strlen(buf), sizeof(buf) - strlen(buf), "%s%s", i ? " " : "",
		        s->v[i].purl);
	return buf;
}

static void dpkg(void)
{
	static const char status[] =
	        "Package: libc6\nStatus: install ok installed\nMaintainer: GNU Libc <a@b>\n"
	        "Architecture: amd64\nSource: glibc\nVersion: 2.36-9+deb12u10\n"
	        "Description: text\n of: more lines\n\n"
	        "Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n"
	        "Package: half\nStatus: install ok unpacked\nVersion: 1\n\n"
	        "Package: held\r\nStatus: hold ok installed\r\nVersion: 1:2~rc1\r\n";
	struct sbom s = {.os_id = "debian", .os_version = "12"};
	sbom_parse_dpkg(&s, END(status), true, "var/lib/dpkg/status");
	is_str(purls(&s),
	        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64&distro=debian-12 "
	        "pkg:deb/debian/held@1:2~rc1?distro=debian-12",
	        "installed packages alone, versions escaped");
	is_str(s.v[0].supplier, "GNU Libc <a@b>", "maintainer");
	is_str(s.v[0].upstream, "glibc", "source package");
	sbom_release(&s);
	s = (struct sbom){0};
	sbom_parse_dpkg(&s, END("Package: base-files\nVersion: 12.4\n"), false, "p");
	is_str(purls(&s), "pkg:deb/debian/base-files@12.4", "status.d has no Status");
	sbom_release(&s);
	s = (struct sbom){0};
	sbom_parse_dpkg(&s, END("Package: x\0y\nVersion: 1\n\n\n\n:\n: :\nVersion"), false, "p");
	is_int(s.n, 0, "a NUL in a name; fields without names");
	sbom_release(&s);
}

/* A list without end is cut, and the document says so. */
static void too_many(void)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct sbom s = {0};
	for (unsigned i = 0; i < SBOM_MAX_PACKAGES + 10; i++)
		strbuf_addf(&text, "Package: p%u\nVersion: 1\n\n", i);
	sbom_parse_dpkg(&s, text.buf, text.len, false, "p");
	is_int(s.n, SBOM_MAX_PACKAGES, "no more than that");
	ok(s.too_many, "noted");
	sbom_release(&s);
}

static void apk(void)
{
	struct sbom s = {.os_id = "alpine", .os_version = "3.20.0"};
	sbom_parse_apk(&s,
	        END("C:Q1x=\nP:musl\nV:1.2.5-r0\nA:x86_64\nL:MIT\no:musl\nm:T <t@x>\nU:https://m\n"
	            "F:lib\nR:ld-musl-x86_64.so.1\na:0:0:755\n\nP:nover\n\n"),
	        "lib/apk/db/installed");
	is_str(purls(&s), "pkg:apk/alpine/musl@1.2.5-r0?arch=x86_64&distro=alpine-3.20.0",
	        "a package; one without version is left out");
	is_str(s.v[0].license, "MIT", "licence");
	sbom_release(&s);
}

static void python(void)
{
	struct sbom s = {0};
	sbom_parse_python(&s,
	        END("Metadata-Version: 2.1\nName: Flask_Login\nVersion: 0.6.3\nLicense: MIT\n\n"
	            "Name: not this\nVersion: 9\n"),
	        "x.dist-info/METADATA");
	is_str(purls(&s), "pkg:pypi/flask-login@0.6.3", "the header alone; the name's normal form");
	sbom_release(&s);
}

static void npm(void)
{
	struct sbom s = {0};
	sbom_parse_npm(&s,
	        END("{\"name\":\"@babel/"
	            "core\",\"version\":\"7.0.0\",\"license\":{\"type\":\"MIT\"},"
	            "\"author\":{\"name\":\"B\"}}"),
	        "node_modules/@babel/core/package.json");
	is_str(purls(&s), "pkg:npm/%40babel/core@7.0.0", "a scoped package");
	is_str(s.v[0].license, "MIT", "the old form of a licence");
	is_str(s.v[0].supplier, "B", "an author that is an object");
	sbom_parse_npm(&s, END("{\"name\":1,\"version\":[]}"), "p");
	sbom_parse_npm(&s, END("[]"), "p");
	sbom_parse_npm(&s, END("{"), "p");
	is_int(s.n, 1, "other types, no object, no JSON");
	sbom_release(&s);
}

static void put32(unsigned char **p, uint32_t v)
{
	for (int i = 3; i >= 0; i--)
		*(*p)++ = (unsigned char)(v >> (8 * i));
}

static void rpm(void)
{
	static const char data[] = "bash\0"
	                           "5.2\0"
	                           "1.fc40\0"
	                           "x86_64\0"
	                           "GPLv3+\0"
	                           "\0\0\0\2";
	static const uint32_t tags[][3] = {{1000, 6, 0}, {1001, 6, 5}, {1002, 6, 9}, {1022, 6, 16},
	        {1014, 6, 23}, {1003, 4, 30}};
	unsigned char blob[256], *p = blob;
	size_t n = ARRAY_SIZE(tags), len = sizeof(data) - 1;
	put32(&p, (uint32_t)n);
	put32(&p, (uint32_t)len);
	for (size_t i = 0; i < n; i++) {
		put32(&p, tags[i][0]);
		put32(&p, tags[i][1]);
		put32(&p, tags[i][2]);
		put32(&p, 1);
	}
	memcpy(p, data, len);
	p += len;
	struct sbom s = {.os_id = "fedora", .os_version = "40"};
	sbom_parse_rpm(&s, blob, (size_t)(p - blob), "rpmdb.sqlite");
	is_str(purls(&s), "pkg:rpm/fedora/bash@2:5.2-1.fc40?arch=x86_64&distro=fedora-40",
	        "epoch, version and release");
	sbom_parse_rpm(&s, blob, (size_t)(p - blob) - 1, "cut off");
	memset(blob, 0xff, 8);
	sbom_parse_rpm(&s, blob, sizeof(blob), "counts beyond the end");
	sbom_parse_rpm(&s, blob, 3, "no counts");
	is_int(s.n, 1, "damaged headers");
	sbom_release(&s);
}

struct memory {
	const unsigned char *p;
	size_t n;
};

static bool memory_at(void *ctx, uint64_t offset, void *buf, size_t n)
{
	const struct memory *m = ctx;
	if (offset > m->n || n > m->n - offset)
		return false;
	memcpy(buf, m->p + offset, n);
	return true;
}

static bool go_of(struct sbom *s, const unsigned char *p, size_t n)
{
	struct memory m = {p, n};
	struct sbom_bytes in = {memory_at, &m, n};
	return sbom_parse_go(s, &in, "app");
}

static void golang(void)
{
	static const char marker[] = "0123456789abcdef";
	static const char lines[] =
	        "path\tex.com/app\nmod\tex.com/app\t(devel)\t\n"
	        "dep\tgithub.com/a/b\tv1.2.3\th1:x=\n"
	        "dep\told.org/c\tv1.0.0\n=>\tnew.org/c\tv2.0.0+incompatible\th1:y\n"
	        "build\t-compiler=gc\n";
	static unsigned char elf[2048];
	unsigned char *info = elf + 64, *q;
	memcpy(elf,
	        "\x7f"
	        "ELF\2\1\1",
	        7);
	memcpy(info, "\xff Go buildinf:\x08\x02", 16);
	q = info + 32;
	*q++ = 8;
	memcpy(q, "go1.22.1", 8);
	q += 8;
	size_t text = 32 + sizeof(lines) - 1;
	*q++ = (unsigned char)(text | 0x80);
	*q++ = (unsigned char)(text >> 7);
	memcpy(q, marker, 16);
	memcpy(q + 16, lines, sizeof(lines) - 1);
	memcpy(q + 16 + sizeof(lines) - 1, marker, 16);
	q += text;
	/* names, then the section headers: none, names, build information */
	unsigned char *names = elf + 1024, *sections = elf + 1152;
	memcpy(names, "\0.go.buildinfo", 15);
	elf[40] = 0x80;
	elf[41] = 0x04; /* 1152 */
	elf[58] = 64;
	elf[60] = 3;
	elf[62] = 1;
	sections[64 + 25] = 4; /* 1024 */
	sections[64 + 32] = 15;
	sections[128] = 1;
	sections[128 + 24] = 64;
	sections[128 + 32] = (unsigned char)(q - info);
	sections[128 + 33] = (unsigned char)((q - info) >> 8);
	struct sbom s = {0};
	ok(go_of(&s, elf, sizeof(elf)), "a Go program");
	is_str(purls(&s),
	        "pkg:golang/stdlib@1.22.1 pkg:golang/ex.com/app@%28devel%29 "
	        "pkg:golang/github.com/a/b@v1.2.3 pkg:golang/new.org/c@v2.0.0%2Bincompatible",
	        "its modules, a replaced one as what replaced it");
	sbom_release(&s);
	s = (struct sbom){0};
	ok(!go_of(&s, elf, 1200), "cut off in the section table");
	sections[128 + 39] = 0xff;
	ok(!go_of(&s, elf, sizeof(elf)), "a section larger than the file");
	elf[15 + 64] = 0;
	sections[128 + 39] = 0;
	ok(!go_of(&s, elf, sizeof(elf)), "the form of older Go");
	ok(!go_of(&s, elf, 3), "no program");
	is_int(s.n, 0, "nothing listed of those");
	sbom_release(&s);
}

static void spdx(void)
{
	struct sbom s = {.os_id = "debian", .os_version = "12"};
	sbom_parse_npm(&s,
	        END("{\"name\":\"a\",\"version\":\"1\",\"license\":\"(MIT OR Apache-2.0)\"}"),
	        "node_modules/a/package.json");
	sbom_parse_npm(&s, END("{\"name\":\"b\",\"version\":\"1\",\"license\":\"SEE LICENSE\"}"),
	        "node_modules/b/package.json");
	sbom_parse_apk(&s, END("P:c\nV:1\nm:Natanael Copa <n@example.org>\n"), "installed");
	strv_add(&s.notes, "a note");
	_cleanup_json_ json_t *j = sbom_spdx(&s, "n", "2026-11-21T06:00:00.5Z");
	json_t *creation = json_get_obj(j, "creationInfo"),
	       *packages = json_get_array(j, "packages");
	is_str(json_get_str(j, "spdxVersion"), "SPDX-2.3", "version");
	ok(str_starts(json_get_str(j, "documentNamespace"), "https://spdx.org/spdxdocs/strake-"),
	        "namespace");
	is_str(json_get_str(creation, "created"), "2026-11-21T06:00:00Z", "whole seconds");
	is_str(json_get_str(creation, "comment"), "a note", "notes");
	is_int(json_array_size(packages), 4, "the image and three packages");
	is_str(json_get_str(json_array_get(packages, 3), "supplier"),
	        "Person: Natanael Copa (n@example.org)", "an address in SPDX's form");
	const json_t *a = json_array_get(packages, 1), *b = json_array_get(packages, 2);
	is_str(json_get_str(a, "licenseDeclared"), "(MIT OR Apache-2.0)", "a licence expression");
	is_str(json_get_str(b, "licenseDeclared"), "NOASSERTION", "free text is none");
	is_str(json_get_str(b, "licenseComments"), "declared as: SEE LICENSE", "but is kept");
	is_int(json_array_size(json_get_array(j, "relationships")), 4, "relations");
	sbom_release(&s);
}

int main(void)
{
	dpkg();
	too_many();
	apk();
	python();
	npm();
	rpm();
	golang();
	spdx();
	return tap_done();
}
