/* The package databases of an image are hostile bytes. Input: a letter that chooses the parser,
 * then its bytes. Whatever comes out has names, package URLs, and makes a document. */
#include "sbom/sbom.h"

#include <stdint.h>

struct memory {
	const uint8_t *p;
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	struct sbom s = {.os_id = "debian", .os_version = "12"};
	/* of its own size, so that a read beyond it is seen */
	_cleanup_free_ char *text = xmemdup(data + 1, size - 1);
	struct memory m = {(const uint8_t *)text, size - 1};
	struct sbom_bytes in = {memory_at, &m, size - 1};
	switch (data[0]) {
	case 'd':
		sbom_parse_dpkg(&s, text, size - 1, true, "status");
		break;
	case 's':
		sbom_parse_dpkg(&s, text, size - 1, false, "status.d");
		break;
	case 'a':
		sbom_parse_apk(&s, text, size - 1, "installed");
		break;
	case 'p':
		sbom_parse_python(&s, text, size - 1, "METADATA");
		break;
	case 'n':
		sbom_parse_npm(&s, text, size - 1, "package.json");
		break;
	case 'r':
		sbom_parse_rpm(&s, text, size - 1, "rpmdb");
		break;
	case 'g':
		(void)sbom_parse_go(&s, &in, "program");
		break;
	}
	for (size_t i = 0; i < s.n; i++)
		if (!s.v[i].name || !s.v[i].purl || strncmp(s.v[i].purl, "pkg:", 4) != 0 ||
		        strlen(s.v[i].name) > SBOM_MAX_TEXT)
			abort();
	json_t *j = sbom_spdx(&s, "x", "2026-01-01T00:00:00Z");
	if (!json_is_object(j))
		abort();
	json_decref(j);
	sbom_release(&s);
	return 0;
}
