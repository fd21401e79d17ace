/* gzip and zstd framing on any bytes: bounded output, the same for every size of read. */
#include <stdio.h>

#include "codec/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OUT_MAX ((uint64_t)1 << 20)

/* run - 0 or -1, with the digest and size of what came out. */
static int run(const uint8_t *data, size_t size, size_t step, struct digest *d, uint64_t *n)
{
	struct error err = ERROR_INIT;
	struct reader *r = NULL;
	struct sha256 h;
	char *buf = xmalloc(step);
	ssize_t got = -1;
	*n = 0;
	sha256_init(&h);
	if (reader_decompress(reader_mem(data, size), OUT_MAX, NULL, &r, &err) == 0)
		while ((got = reader_read(r, buf, step, &err)) > 0) {
			sha256_update(&h, buf, (size_t)got);
			*n += (uint64_t)got;
		}
	sha256_final(&h, d);
	reader_free(r);
	free(buf);
	error_release(&err);
	return (int)got;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct digest a, b;
	uint64_t m, n;
	int x = run(data, size, 65536, &a, &m), y = run(data, size, 1009, &b, &n);
	/* How much comes before an error may differ with the size of reads, and libzstd takes its
	 * own liberties in noticing a frame's wrong content size; two successes are the same. */
	bool gzip = size > 1 && data[0] == 0x1f && data[1] == 0x8b;
	if (m > OUT_MAX || n > OUT_MAX || (gzip && (x < 0) != (y < 0)) ||
	        (x == 0 && y == 0 && (m != n || !digest_eq(&a, &b)))) {
		fprintf(stderr, "%d %llu, %d %llu\n", x, (unsigned long long)m, y,
		        (unsigned long long)n);
		abort();
	}
	return 0;
}
