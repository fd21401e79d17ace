/* Tree manifests on any bytes; the target appends the checksum, so that the structure behind it is
 * reached. What decodes must encode to the same bytes. */
#include <stdio.h>

#include "tree/tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err = ERROR_INIT;
	struct tree t = TREE_INIT;
	struct digest d;
	unsigned char *p = xmalloc(size + sizeof(d.b));
	memcpy(p, data, size);
	sha256_buf(data, size, &d);
	memcpy(p + size, d.b, sizeof(d.b));
	if (tree_decode(p, size + sizeof(d.b), "fuzz", &t, &err) == 0) {
		void *again;
		size_t n;
		tree_encode(&t, &again, &n);
		if (n != size + sizeof(d.b) || memcmp(again, p, n) != 0) {
			fprintf(stderr, "decode and encode differ\n");
			abort();
		}
		free(again);
		tree_sort(&t);
		tree_digest(&t, &d);
	}
	tree_release(&t);
	error_release(&err);
	free(p);
	return 0;
}
