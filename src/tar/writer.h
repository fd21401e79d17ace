/* tar/writer.h - the canonical tar writer: the same tree gives the same bytes on every machine.
 *
 * Order: the tree's order. Header fields: ustar where everything fits, else a pax header with only
 * the records that do not fit (path, linkpath, size, mtime with fraction is dropped: whole seconds
 * as docker does, uid, gid, SCHILY.xattr.*); uname/gname empty; device fields zero unless a
 * device; two zero blocks at the end, no padding to 10 KiB. Directories end in '/'. A whiteout of
 * a/b is written as a/.wh.b; an opaque directory as explicit whiteouts made by the layer code, or,
 * where it could not, as a/.wh..wh..opq. The root entry "" is not written. See
 * docs/formats/layer-tar.md. */
#ifndef STRAKE_TAR_WRITER_H
#define STRAKE_TAR_WRITER_H

#include "codec/stream.h"
#include "tree/tree.h"

struct tar_write_options {
	bool clamp_mtime; /* newer mtimes become mtime_max (rewrite-timestamp) */
	int64_t mtime_max;
};

/* tar_write_tree - contents are read from treefd with openat2(RESOLVE_BENEATH|NO_SYMLINKS); each
 * must have exactly the size the tree says, else ERR_INTEGRITY (empty files are not opened).
 * Sockets are left out; a name that begins with ".wh." is ERR_BUILD. Ends with the two zero blocks
 * but does not finish the sink. opt may be NULL. */
int tar_write_tree(const struct tree *t, int treefd, const struct tar_write_options *opt,
        struct sink *out, struct error *err) must_check;

/* The bytes of one regular file that is not in the tree's own directory. */
struct tar_content {
	int dirfd; /* -1: data */
	const char *path;
	const void *data;
	bool stored; /* the store's own: nobody may have changed it */
};
/* tar_write_contents - the same bytes; the contents of entry i come from content[i]. Each must have
 * the size and the digest that the tree says, else tree_bytes_changed(). The archive is hashed
 * together with the files, in one pass over the bytes. */
int tar_write_contents(const struct tree *t, const struct tar_content *content, struct sink *out,
        struct digest *ret_digest, uint64_t *ret_size, struct error *err) must_check;

/* Lower level, for archives that mix trees and small files (docker archive, tar export). */
int tar_write_entry(const struct tree_entry *e, struct sink *out, struct error *err) must_check;
int tar_write_data(const void *p, size_t n, struct sink *out, struct error *err) must_check;
int tar_write_padding(uint64_t size, struct sink *out, struct error *err) must_check;
int tar_write_file(const char *path, const void *p, size_t n, uint32_t mode, int64_t mtime,
        struct sink *out, struct error *err) must_check;
int tar_write_end(struct sink *out, struct error *err) must_check;

#endif
