/* sbom/sbom.h - which packages a root file system holds, read from the databases in it, as SPDX.
 *
 * Read are dpkg (with the status.d of distroless images), apk, rpm's SQLite database, package.json
 * below node_modules, Python's dist-info and egg-info, and the build information of Go programs.
 * Everything is untrusted: files are opened beneath their layer's directory, sizes are capped, and
 * what does not parse is left out. What is there but cannot be read is a note, never silence.
 *
 * The result depends on the files alone: equal images have equal documents. */
#ifndef STRAKE_SBOM_SBOM_H
#define STRAKE_SBOM_SBOM_H

#include "base/arena.h"
#include "base/error.h"
#include "base/strv.h"
#include "codec/json.h"
#include "tree/view.h"

#define SBOM_MAX_PACKAGES 50000u
#define SBOM_MAX_TEXT 4096u /* bytes of one field */
#define SBOM_MAX_MEMORY (64u << 20)

struct sbom_package {
	const char *type; /* of the package URL: "deb", "apk", "rpm", "npm", "pypi", "golang" */
	const char *name, *version;
	const char *arch;     /* or NULL */
	const char *license;  /* as declared, free text; or NULL */
	const char *supplier; /* a person or an organisation; or NULL */
	const char *homepage; /* or NULL */
	const char *upstream; /* source package; or NULL */
	const char *found_in; /* path in the image */
	const char *purl;
};

struct sbom {
	struct arena arena;
	struct sbom_package *v; /* sorted by purl and place, each pair once */
	size_t n, cap;
	bool too_many;
	struct strv notes;
	/* of os-release; "" where it does not say */
	const char *os_id, *os_version;
};

void sbom_release(struct sbom *s);

/* sbom_scan - v: the merged layers of an image; fds: their directories, parallel to v->layers. */
int sbom_scan(
        const struct treeview *v, const int *fds, struct sbom *ret, struct error *err) must_check;

/* sbom_spdx - an SPDX 2.3 document. name: of the image; created: RFC 3339. Its namespace is made
 * from what it says, not from a digest of the image: that changes when only times do. */
json_t *sbom_spdx(const struct sbom *s, const char *name, const char *created) must_check;

/* --- the parsers: pure, bounded, for any bytes ------------------------------------------------ */

/* sbom_parse_dpkg - paragraphs of a status file. need_status: only those that say "installed"
 * (files of status.d have no Status). */
void sbom_parse_dpkg(
        struct sbom *s, const char *text, size_t n, bool need_status, const char *path);
void sbom_parse_apk(struct sbom *s, const char *text, size_t n, const char *path);
void sbom_parse_python(struct sbom *s, const char *text, size_t n, const char *path);
void sbom_parse_npm(struct sbom *s, const char *text, size_t n, const char *path);
/* sbom_parse_rpm - one header blob as rpm stores it in its database. */
void sbom_parse_rpm(struct sbom *s, const void *blob, size_t n, const char *path);

/* sbom_parse_go - the modules linked into an ELF program. read_at fills buf wholly, or returns
 * false. False: no Go program, or one whose information is not of the inline form (Go 1.18). */
struct sbom_bytes {
	bool (*read_at)(void *ctx, uint64_t offset, void *buf, size_t n);
	void *ctx;
	uint64_t size;
};
bool sbom_parse_go(struct sbom *s, const struct sbom_bytes *in, const char *path);

#endif
