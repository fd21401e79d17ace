/* source/archive.c - see archive.h. */
#include "source/archive.h"

#include "layer/layer.h"

int source_archive_extract(int fd, const char *what, int destfd, struct error *err)
{
	return layer_unpack_archive(fd, what, destfd, 0, err);
}
