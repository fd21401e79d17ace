/* base/large_file.h - reading and writing the bytes of large files, through the page cache or
 * around it, whichever this machine does faster.
 *
 * Filling the page cache is usually the fastest there is. Where memory has first to be got from a
 * hypervisor it is not: a virtual machine may take 2.5 s for 800 MB that its disk takes in 0.6.
 * With RWF_DONTCACHE (Linux 6.14, where the file system has it) pages are written at once and given
 * back as soon as they are on disk, so that the same few are used again and again. Both ways are
 * timed, for the whole process: the cache is left alone only where it is slow and the disk not much
 * slower. Thread-safe. */
#ifndef STRAKE_BASE_LARGE_FILE_H
#define STRAKE_BASE_LARGE_FILE_H

#include "base/base.h"

/* write_large - write(2), repeated when interrupted. Pieces from 128 KiB on take the faster way;
 * they should begin and end where pages of the file do: a page that was let go must be read again
 * for its other half. */
ssize_t write_large(int fd, const void *p, size_t n);
/* read_large - read(2) likewise, of a file that is read through. What is in the cache is taken from
 * there either way. */
ssize_t read_large(int fd, void *p, size_t n);

#endif
