/* codec/noise.c - is a piece of data beyond compressing? Files that are compressed already
 * (archives, pictures) are a large part of many layers, and deflate spends as long on them as on
 * any others.
 *
 * Integers only, and no byte order: every machine must decide alike, because the decision shows in
 * the bytes that come out. */
#include "codec/gzip.h"

#define SLOTS 16384u

static inline uint32_t load32(const unsigned char *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint32_t slot(uint32_t v)
{
	return (v * 2654435761u) >> 18;
}

/* flat - do all byte values occur about equally often? The sum of the counts' squares is n*n/256
 * for even counts, about n more for random ones; 4 % more is what Huffman codes could win 1 % on.
 */
static bool flat(const unsigned char *p, size_t n)
{
	uint32_t count[4][256] = {0};
	uint64_t sum = 0;
	for (size_t i = 0; i + 4 <= n; i += 4) {
		count[0][p[i]]++;
		count[1][p[i + 1]]++;
		count[2][p[i + 2]]++;
		count[3][p[i + 3]]++;
	}
	for (size_t i = 0; i < 256; i++) {
		uint64_t c = (uint64_t)count[0][i] + count[1][i] + count[2][i] + count[3][i];
		sum += c * c;
	}
	uint64_t even = (uint64_t)n * n / 256 + n;
	return sum <= even + even / 25;
}

/* repeats - sequences of four bytes that occurred before, looked for in the middle: every fourth
 * position is remembered, so that of a pattern that comes back a quarter is found. */
static bool repeats(const unsigned char *p, size_t n)
{
	uint16_t last[SLOTS] = {0}; /* position / 4 + 1 */
	size_t from = n / 2, to = n / 2 + n / 32, found = 0;
	for (size_t i = 0; i + 4 <= to; i++) {
		uint32_t v = load32(p + i), s = slot(v);
		if (i >= from && last[s] && load32(p + ((size_t)last[s] - 1) * 4) == v)
			found++;
		if (i % 4 == 0)
			last[s] = (uint16_t)(i / 4 + 1);
		else if (i < from)
			i += 3 - i % 4;
	}
	return found > n / 4096;
}

bool gzip_is_noise(const unsigned char *p, size_t n)
{
	return n == GZIP_SEGMENT && flat(p, n) && !repeats(p, n);
}
