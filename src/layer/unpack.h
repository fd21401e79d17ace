/* layer/unpack.h - put the entries of a hostile tar into a layer being written: the one loop
 * behind layer_apply and ADD of an archive. Private to src/layer. */
#ifndef STRAKE_LAYER_UNPACK_H
#define STRAKE_LAYER_UNPACK_H

#include "layer/upper.h"
#include "tar/reader.h"

struct unpack_options {
	const char *what; /* the archive, for errors */
	const char *base; /* physical directory below which names are, "" = root */
	bool layer;       /* a layer tar: .wh. names are whiteouts, "." is the root's metadata */
	bool plain;       /* not a layer at all: any name may be a file's */
	bool chown;       /* entries belong to uid:gid, whatever the archive says */
	uint32_t uid, gid;
	uint64_t max_bytes; /* of all contents; must be given */
};
int unpack_tar(struct upper *u, struct tar_reader *r, const struct unpack_options *opt,
        struct error *err) must_check;

/* unpack_archive_fd - the archive file fd (compressed or not). If expected is given, the file's
 * bytes must have had this digest: ERR_INTEGRITY "changed while being read". */
int unpack_archive_fd(struct upper *u, int fd, const struct unpack_options *opt,
        const struct digest *expected, struct error *err) must_check;

#endif
