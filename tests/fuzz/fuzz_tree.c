/* Tree manifests on any bytes; the target appends the checksum, so that the structure behind it is
 * reached. What decodes must encode to the same bytes. */
#include <endian.h>
#include <stdio.h>

#include "codec/checksum.h"
#include "tree/tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err = ERROR_INIT;
	struct tree t = TREE_INIT;
	struct digest d;
	uint64_t sum = htole64(checksum64(data, size));
	unsigned char *p = xmalloc(size + sizeof(sum));
	memcpy(p, data, size);
	memcpy(p + size, &sum, sizeof(sum));
	if (tree_decode(p, size + sizeof(sum), "fuzz", &t, &err) == 0) {
		void *again;
		size_t n;
		tree_encode(&t, &again, &n);
		if (n != size + sizeof(sum) || memcmp(again, p, n) != 0) {
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
