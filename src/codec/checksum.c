/* codec/checksum.c - see checksum.h. */
#include "codec/checksum.h"

#include <isa-l/crc64.h>

uint64_t checksum64(const void *p, size_t n)
{
	return crc64_ecma_refl(0, p, n);
}
