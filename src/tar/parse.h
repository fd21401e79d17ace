/* tar/parse.h, private to tar/: the pieces of reading an archive - numbers, pax records, sparse
 * maps. All take hostile bytes; errors are ERR_INTEGRITY without the archive's name, which the
 * reader puts in front. */
#ifndef STRAKE_TAR_PARSE_H
#define STRAKE_TAR_PARSE_H

#include "base/error.h"
#include "base/strbuf.h"
#include "tree/tree.h"

#define TAR_PAX_MAX ((size_t)1024 * 1024)
#define TAR_PATH_MAX ((size_t)64 * 1024)
#define TAR_SPARSE_MAX ((size_t)1000 * 1000)

/* --- numbers --------------------------------------------------------------------------------- */

/* tar_number - a header field: octal digits after blanks and before NULs or blanks, or base-256.
 * An empty field is 0. At most max. */
int tar_number(const char *field, size_t n, uint64_t max, const char *name, uint64_t *ret,
        struct error *err) must_check;
/* tar_number_signed - the same for times, where base-256 may be negative. */
int tar_number_signed(
        const char *field, size_t n, const char *name, int64_t *ret, struct error *err) must_check;
/* tar_decimal - digits only, all of p[0..n), at most max. */
bool tar_decimal(const char *p, size_t n, uint64_t max, uint64_t *ret) must_check;

/* --- sparse maps ----------------------------------------------------------------------------- */

struct tar_extent {
	uint64_t offset, len;
};
struct tar_sparse {
	struct tar_extent *v;
	size_t n, cap;
};
int tar_sparse_add(
        struct tar_sparse *m, uint64_t offset, uint64_t len, struct error *err) must_check;
/* tar_sparse_check - ascending, within real_size, exactly stored bytes of data. */
int tar_sparse_check(const struct tar_sparse *m, uint64_t real_size, uint64_t stored,
        struct error *err) must_check;

/* --- pax ------------------------------------------------------------------------------------- */

enum {
	PAX_PATH = 1 << 0,
	PAX_LINKPATH = 1 << 1,
	PAX_SIZE = 1 << 2,
	PAX_UID = 1 << 3,
	PAX_GID = 1 << 4,
	PAX_MTIME = 1 << 5,
	PAX_DEVMAJOR = 1 << 6,
	PAX_DEVMINOR = 1 << 7,
	PAX_SPARSE_NAME = 1 << 8,
	PAX_SPARSE_REALSIZE = 1 << 9, /* GNU.sparse.size (0.0, 0.1) or .realsize (1.0) */
	PAX_SPARSE_MAP = 1 << 10,     /* 0.0 or 0.1: the map is in `sparse` */
	PAX_SPARSE_1 = 1 << 11,       /* 1.0: the map is in the body */
};

/* What one entry's pax header said; strings point into `text`. Reused from entry to entry. */
struct tar_pax {
	struct strbuf text;
	unsigned set; /* PAX_* */
	const char *path, *linkpath, *sparse_name;
	uint64_t size, uid, gid, devmajor, devminor, sparse_realsize;
	int64_t mtime_sec;
	uint32_t mtime_nsec;
	struct tar_sparse sparse;
	uint64_t sparse_blocks;
	bool sparse_offset_open; /* 0.0: an offset waits for its numbytes */
	uint64_t sparse_offset;
	uint64_t sparse_major, sparse_minor;
	unsigned sparse_seen; /* version keys */
	struct tree_xattr *xattrs;
	size_t n_xattrs, cap_xattrs;
};
#define TAR_PAX_INIT ((struct tar_pax){.text = STRBUF_INIT})
void tar_pax_release(struct tar_pax *x);
void tar_pax_reset(struct tar_pax *x);
/* tar_pax_parse - the records in x->text (which is changed). global: records that would change
 * names, sizes or content for all that follows are refused. */
int tar_pax_parse(struct tar_pax *x, bool global, struct error *err) must_check;

#endif
