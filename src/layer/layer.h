/* layer/layer.h - tree <-> tar <-> directory: applying hostile layer tars, reading what a RUN
 * changed, copying files for COPY and ADD.
 *
 * A layer directory is in overlayfs' own form so that it can be a lowerdir as it is: a whiteout is
 * a character device 0:0, an opaque directory carries user.overlay.opaque=y. Directory
 * descriptors are given by the caller (store staging); all access is dirfd-relative. The caller
 * has entered its privileges. */
#ifndef STRAKE_LAYER_LAYER_H
#define STRAKE_LAYER_LAYER_H

#include "base/pool.h"
#include "base/strv.h"
#include "codec/stream.h"
#include "sys/owner_table.h"
#include "tree/tree.h"
#include "tree/view.h"

/* --- apply: tar -> directory ----------------------------------------------------------------- */

struct layer_apply_options {
	bool single_id;     /* cannot chown: record only */
	uint64_t max_bytes; /* 0: 64 GiB */
};
/* layer_apply - unpack an (uncompressed) layer tar into the empty directory destfd and fill ret
 * (sorted, digests computed while writing). Whiteouts become overlay whiteouts. Everything of
 * RELIABILITY T1-T10 holds. */
int layer_apply(struct reader *tar, const char *what, int destfd,
        const struct layer_apply_options *opt, struct tree *ret, struct error *err) must_check;

/* layer_prepare_upper - a new, empty upper directory gets the owner and mode of the root that lower
 * shows: overlayfs takes the root's own attributes from the upper directory. Call it before the
 * mount; layer_scan_upper tells a chmod of "/" by comparing with lower's root. */
int layer_prepare_upper(
        int upperfd, const struct treeview *lower, bool single_id, struct error *err) must_check;

/* --- scan: what a RUN changed ---------------------------------------------------------------- */

/* layer_scan_upper - owners: NULL where files on disk have their true owners; in single-id mode
 * what the step recorded for links, devices and pipes (OWNER_UPPER), all others carrying the
 * attribute of sys/owner.h. Read an overlay upper directory into a tree: kernel whiteouts become
 * TREE_WHITEOUT (dropped where the lower has nothing there), opaque directories are turned into
 * explicit whiteouts of what `lower` shows there (the on-disk form is kept), user.overlay.* and
 * trusted.overlay.* xattrs are hidden, sockets are removed, hard links within the layer kept,
 * capability xattrs brought to v2. Contents are hashed on the pool. Directories that overlayfs
 * only copied up (same type, mode, owner, xattrs and mtime as in lower, nothing below) are kept
 * as they are where they have changed children (parents of changes are part of a layer). */
int layer_scan_upper(int upperfd, const struct treeview *lower, const struct owner_table *owners,
        struct pool *pool, struct tree *ret, struct error *err) must_check;

/* layer_owner_log - single-id mode: owners of what the view's layers have that no attribute can
 * tell (links, devices, pipes), for sandbox_spec.owners_fd. fds: the layers' directories. */
int layer_owner_log(const struct treeview *v, const int *fds, struct error *err) must_check;

/* layer_diff_id - sha256 of the canonical tar of (tree, dir). */
int layer_diff_id(const struct tree *t, int treefd, struct digest *ret, uint64_t *ret_tar_size,
        struct error *err) must_check;

/* --- copy: COPY and ADD ---------------------------------------------------------------------- */

/* One file, directory, link... to copy. `rel` is where it goes relative to the item's own
 * destination: "" for the item itself. */
struct copy_entry {
	const struct tree_entry *e; /* metadata; TREE_HARDLINK: link is the e->path of an entry
	                             * of the same item */
	const char *rel;
	int dirfd;        /* layer or context directory that holds the bytes; -1: data */
	const char *src;  /* path beneath dirfd */
	const void *data; /* heredoc bytes when dirfd < 0; e->size of them */
};
/* One source argument after wildcard expansion. */
struct copy_item {
	const char *name;  /* base name, used when the destination is a directory */
	const char *shown; /* as the user wrote it, for errors */
	bool is_dir;       /* contents go into the destination (entries' rel are below it) */
	struct copy_entry *entries;
	size_t n;
	bool archive;   /* ADD: unpack (entries[0] is the archive file) */
	bool immutable; /* the bytes are a store layer's: files may be hard-linked */
};
struct copy_request {
	const struct copy_item *items;
	size_t n_items;
	const char *dest;    /* absolute, expanded; a trailing '/' means directory */
	bool dest_is_dir;    /* several sources, or wildcard matched several: force directory */
	const char *chown;   /* or NULL */
	const char *chmod;   /* "0755", "u=rwX,go=rX" or NULL */
	bool keep_owner;     /* COPY --from: source ids; else 0:0 (not archives: theirs) */
	const int64_t *time; /* of all that is copied and made, but for entries of archives; NULL:
	                      * the sources' own */
	bool link;           /* --link: `lower` serves to look up --chown names, else ignored */
	bool single_id;
	const struct treeview *lower; /* the rootfs below */
	const int *lower_fds;         /* the directories of lower's layers (passwd look-up) */
};
/* layer_copy - fill the empty directory destfd with the layer that this COPY/ADD makes on top of
 * `lower`, and ret with its tree (parents that had to be created or that are touched included).
 * Semantics: SEMANTICS.md 30-46, 80-85. A source file whose bytes no longer have e->sha256 (when
 * e->has_digest) is ERR_INTEGRITY "changed while being read". Each byte is read once: copied
 * (or reflinked/hard-linked when the source is an immutable layer on the same file system) and
 * hashed in one pass, in parallel. */
int layer_copy(const struct copy_request *rq, struct pool *pool, int destfd, struct tree *ret,
        struct error *err) must_check;

/* layer_copy_tar - the same layer as its canonical tar: nothing is written to disk but what `out`
 * does (it is not finished). Files must have digests; an item that is an archive is ERR_INTERNAL.
 * Each source is read once, checked on the way as by layer_copy. */
int layer_copy_tar(const struct copy_request *rq, struct sink *out, struct tree *ret,
        struct digest *ret_diff_id, uint64_t *ret_tar_size, struct error *err) must_check;

/* layer_workdir - WORKDIR: missing directories 0755, owner `user` (looked up in lower; "" root),
 * date *time (NULL: their parent's).
 * Links in lower are followed as chroot would; ret may come out empty. */
int layer_workdir(const char *path, const char *user, const int64_t *time,
        const struct treeview *lower, const int *lower_fds, bool single_id, int destfd,
        struct tree *ret, struct error *err) must_check;

/* layer_lookup_user - "user[:group]" in the passwd/group files of a view (NULL: no files); numeric
 * ids need no file. A group left out: a name's is passwd's gid, a number's the same number. Files
 * are capped at 10 MiB and must be regular. */
int layer_lookup_user(const char *spec, const struct treeview *v, const int *fds, uint32_t *ret_uid,
        uint32_t *ret_gid, struct error *err) must_check;
/* layer_parse_chmod - octal or symbolic onto an existing mode. */
int layer_parse_chmod(
        const char *spec, uint32_t mode, bool is_dir, uint32_t *ret, struct error *err) must_check;

/* layer_hash_fd - sha256 of an open file from its position to its end. 0 or -errno. */
int layer_hash_fd(int fd, struct digest *ret, uint64_t *ret_size) must_check;
/* layer_xattr_allowed - which attributes are taken from layers, archives and contexts: user.*
 * without user.overlay.* and user.strake.*, and security.capability. */
bool layer_xattr_allowed(const char *name);

/* layer_is_archive - does the file hold a tar, plain or compressed by gzip, bzip2, xz or zstd? By
 * content alone, as ADD decides. The position of fd is lost. */
int layer_is_archive(int fd, bool *ret, struct error *err) must_check;

/* layer_unpack_archive - such a file into the directory destfd (a tar context: RELIABILITY B4):
 * the same care as ADD; owners are not applied. max_bytes 0: 64 GiB. */
int layer_unpack_archive(
        int fd, const char *what, int destfd, uint64_t max_bytes, struct error *err) must_check;

/* layer_plain_root - a root file system for a step where no overlay can be mounted: the view copied
 * into the empty directory destfd, with its owners (single_id: recorded). */
int layer_plain_root(const struct treeview *v, const int *fds, int destfd, bool single_id,
        struct error *err) must_check;
/* layer_plain_owner_log - layer_owner_log for such a root. */
int layer_plain_owner_log(const struct treeview *v, int rootfd, struct error *err) must_check;
/* layer_plain_diff - after the step: what differs between the root and the view moves into the
 * empty directory destfd and its tree; the root is of no further use. owners: as for
 * layer_scan_upper. Files written with what they already held, at the same time to the nanosecond,
 * are no change. */
int layer_plain_diff(int rootfd, const struct treeview *v, const int *fds,
        const struct owner_table *owners, struct pool *pool, int destfd, struct tree *ret,
        struct error *err) must_check;

/* layer_plain_fuse - what fuse-overlayfs leaves in an upper directory, in the kernel's form: its
 * opaque marks (a file and an attribute) become user.overlay.opaque, and the set-group-id bit that
 * it loses of directories it copies up comes back. */
int layer_plain_fuse(int upperfd, const struct treeview *lower, struct error *err) must_check;

/* layer_write_view - write a merged view into a directory (type=local, plain-copy rootfs), over
 * what is there: no link there is followed, a directory is never replaced by a file. Every file's
 * bytes are checked against its digest. Devices that may not be made here are left out. */
int layer_write_view(const struct treeview *v, const int *fds, int destfd, bool keep_owner,
        struct error *err) must_check;

#endif
