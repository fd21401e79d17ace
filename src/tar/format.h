/* tar/format.h, private to tar/: the 512-byte header as POSIX.1-2017 pax and GNU tar lay it out. */
#ifndef STRAKE_TAR_FORMAT_H
#define STRAKE_TAR_FORMAT_H

#include "base/base.h"

#define TAR_BLOCK ((size_t)512)

struct tar_header {
	char name[100];
	char mode[8];
	char uid[8];
	char gid[8];
	char size[12];
	char mtime[12];
	char chksum[8];
	char typeflag;
	char linkname[100];
	char magic[6];
	char version[2];
	char uname[32];
	char gname[32];
	char devmajor[8];
	char devminor[8];
	char prefix[155];
	char pad[12];
};
_Static_assert(sizeof(struct tar_header) == TAR_BLOCK, "a header is one block");

/* The largest that 7 and 11 octal digits hold. */
#define TAR_MAX7 07777777ULL
#define TAR_MAX11 077777777777ULL

static inline size_t tar_padding(uint64_t size)
{
	return (size_t)(-size & (TAR_BLOCK - 1));
}

/* tar_checksum - of the header with its checksum field taken as blanks. */
static inline unsigned tar_checksum(const struct tar_header *h)
{
	const unsigned char *p = (const unsigned char *)h;
	unsigned sum = 0;
	for (size_t i = 0; i < sizeof(*h); i++)
		sum += p[i];
	for (size_t i = 0; i < sizeof(h->chksum); i++)
		sum += ' ' - (unsigned char)h->chksum[i];
	return sum;
}

#endif
