/* tree/tree.h - the tree manifest: what one layer (or a context) holds, without the bytes.
 *
 * A tree is an array of entries sorted by tree_path_cmp, each path at most once. Paths are
 * relative, byte strings (any byte but NUL), no leading or trailing '/', no "." or ".." or empty
 * component; the root directory itself may be present as the path "". Every layer has one; cache
 * keys, COPY --from digests, tar writing, inspect and explain read it, so that no tree is walked
 * twice. The format on disk is docs/formats/tree-manifest.md. */
#ifndef STRAKE_TREE_TREE_H
#define STRAKE_TREE_TREE_H

#include <sys/types.h>

#include "base/arena.h"
#include "base/error.h"
#include "codec/sha256.h"

enum tree_type {
	TREE_REG = 1,
	TREE_DIR,
	TREE_SYMLINK,
	/* link = path of an earlier TREE_REG (or other non-directory) entry of this tree, which
	 * holds the content; mode, ids and mtime repeat that entry's, size is 0, no digest, no
	 * xattrs. */
	TREE_HARDLINK,
	TREE_CHR,
	TREE_BLK,
	TREE_FIFO,
	TREE_SOCK,     /* only in contexts; layers drop them with a warning */
	TREE_WHITEOUT, /* hides this path in lower layers; no other field counts */
};

/* tree_type_of - of a stat's st_mode. A whiteout is a device to stat: whoever reads layers looks.
 */
enum tree_type tree_type_of(mode_t mode);

struct tree_xattr {
	const char *name;
	const uint8_t *value;
	uint32_t len;
};

struct tree_entry {
	const char *path;
	enum tree_type type;
	uint32_t mode; /* 07777 bits only */
	uint32_t uid, gid;
	uint64_t size; /* TREE_REG: bytes; else 0 */
	int64_t mtime_sec;
	uint32_t mtime_nsec;
	const char *link; /* symlink target or hard link's path; else NULL */
	uint32_t dev_major, dev_minor;
	bool opaque;               /* TREE_DIR: hides all that lower layers have below it */
	bool has_digest;           /* TREE_REG: sha256 is valid */
	struct digest sha256;      /* of the content */
	struct tree_xattr *xattrs; /* sorted by name */
	uint32_t n_xattrs;
};

struct tree {
	struct arena arena; /* owns all strings and xattrs of the entries */
	struct tree_entry *entries;
	size_t n, cap;
};

#define TREE_INIT ((struct tree){0})
#define _cleanup_tree_ _cleanup_(tree_release)

void tree_release(struct tree *t);

/* tree_path_cmp - byte order with '/' below every other byte, so that a directory's subtree is a
 * contiguous run directly after the directory. */
int tree_path_cmp(const char *a, const char *b);
/* tree_path_below - is p strictly below dir ("" = root)? */
bool tree_path_below(const char *p, const char *dir);

/* tree_same_xattrs - the same names with the same values. */
bool tree_same_xattrs(const struct tree_entry *a, const struct tree_entry *b);

/* tree_add - append a copy of e (strings are copied into the arena); returns the new entry, valid
 * until the next add. tree_sort brings the order; of equal paths the last added wins. It also
 * makes hard links point at the first path of their group, moving the content there, whatever
 * order they were added in; a link whose target is not in the tree is left as it is. */
struct tree_entry *tree_add(struct tree *t, const struct tree_entry *e);
void tree_sort(struct tree *t);
/* tree_find - exact path; NULL: absent. tree_lower_bound - first index with path >= p. */
const struct tree_entry *tree_find(const struct tree *t, const char *path);
size_t tree_lower_bound(const struct tree *t, const char *path);
/* tree_subtree - [*ret_from, *ret_to): entries strictly below dir. */
void tree_subtree(const struct tree *t, const char *dir, size_t *ret_from, size_t *ret_to);

/* tree_entry_hash - feed one entry to a key: everything but mtime (docs/formats/cache-keys.md):
 * path (as given, may be rewritten by the caller), type, mode, uid, gid, size, content digest,
 * link, device, opaque, xattrs (security.capability and user.*; other security.*, system.* and
 * trusted.* not). */
void tree_entry_hash(struct sha256 *h, const struct tree_entry *e, const char *path);
/* tree_digest - of the whole sorted tree by tree_entry_hash. */
void tree_digest(const struct tree *t, struct digest *out);
/* tree_total_size - sum of TREE_REG sizes. */
uint64_t tree_total_size(const struct tree *t);

/* Serialised form: magic, version, entries, trailing checksum over all before it. decode checks all
 * bounds, order and the checksum: ERR_INTEGRITY otherwise. */
void tree_encode(const struct tree *t, void **ret_buf, size_t *ret_n);
int tree_decode(
        const void *p, size_t n, const char *what, struct tree *ret, struct error *err) must_check;

/* tree_bytes_changed - the error about a file whose bytes are not what its entry says; stored: it
 * is the store's, else somebody writes to it. Always -1. */
int tree_bytes_changed(const char *shown, bool stored, struct error *err);

#endif
