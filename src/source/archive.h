/* source/archive.h - tar contexts: an archive (plain, gzip, bzip2, xz, zstd) into a directory. */
#ifndef STRAKE_SOURCE_ARCHIVE_H
#define STRAKE_SOURCE_ARCHIVE_H

#include "base/error.h"

/* source_archive_extract - read fd (a pipe will do) from its position to the archive's end into the
 * empty directory destfd. Owners are not applied; names that climb out, damaged archives and bombs
 * are ERR_INTEGRITY (RELIABILITY B4, T1-T10). `what` names the archive in errors. */
int source_archive_extract(int fd, const char *what, int destfd, struct error *err) must_check;

#endif
