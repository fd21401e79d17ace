/* Manifests and indexes on any bytes: what parses encodes to something that parses to the same. */
#include <stdio.h>

#include "oci/oci.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct doc {
	enum oci_doc kind;
	struct oci_manifest m;
	struct oci_index i;
};

static int parse(const char *p, size_t n, struct doc *d)
{
	struct error err = ERROR_INIT;
	int r = oci_doc_parse(p, n, NULL, "fuzz", &d->kind, &d->m, &d->i, &err);
	error_release(&err);
	return r;
}

static char *encode(const struct doc *d)
{
	return d->kind == OCI_DOC_INDEX ? oci_index_encode(&d->i) : oci_manifest_encode(&d->m);
}

static void release(struct doc *d)
{
	oci_manifest_release(&d->m);
	oci_index_release(&d->i);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct doc a = {0}, b = {0};
	if (parse((const char *)data, size, &a) == 0) {
		char *one = encode(&a);
		char *two = parse(one, strlen(one), &b) == 0 ? encode(&b) : NULL;
		if (!two || strcmp(one, two) != 0) {
			fprintf(stderr, "unstable: %s\n%s\n", one, two ? two : "(refused)");
			abort();
		}
		free(one);
		free(two);
		if (a.kind == OCI_DOC_INDEX) {
			const struct oci_platform want = {"linux", "amd64", "", ""};
			struct error err = ERROR_INIT;
			size_t at;
			if (oci_index_select(&a.i, &want, "fuzz", &at, &err) == 0 &&
			        at >= a.i.n_manifests)
				abort();
			error_release(&err);
		}
	}
	release(&a);
	release(&b);
	return 0;
}
