/* codec/checksum.h - a fast check against damage of our own files (about 10 GB/s); it proves
 * nothing against an attacker, which is what sha256 is for. */
#ifndef STRAKE_CODEC_CHECKSUM_H
#define STRAKE_CODEC_CHECKSUM_H

#include "base/base.h"

/* checksum64 - CRC-64 of ECMA-182, reflected (as xz has it). */
uint64_t checksum64(const void *p, size_t n);

#endif
