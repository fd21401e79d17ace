/* layer/upper.h - a layer directory while it is being written, with what lies below it.
 *
 * The model in memory says what the directory holds; every path is resolved in the model and in
 * the lower view, never by the kernel in the directory on disk, so that no link of an archive or
 * of an image can lead a write astray. Disk calls only ever get the descriptor of a directory that
 * the model made and one plain name. Directories are made on disk at once; their owner, mode,
 * xattrs and mtime are set by upper_finish(). Without a directory (destfd -1) there is only the
 * model. Not thread-safe, but upper_finish's tree may be read by anyone. Private to src/layer. */
#ifndef STRAKE_LAYER_UPPER_H
#define STRAKE_LAYER_UPPER_H

#include "base/strbuf.h"
#include "layer/layer.h"

#define UPPER_NONE UINT32_MAX
#define UPPER_ROOT 0u

/* What hard links share. */
struct upper_inode {
	struct tree_entry e;              /* path unused; strings live in the arena or in lower */
	const struct copy_entry *pending; /* bytes still to be copied (layer_copy) */
	bool immutable;                   /* pending's source may be hard-linked */
	uint32_t first;                   /* while the tree is made: the first node in tree order */
};

struct upper_node {
	const char *name;
	struct upper_inode *ino;
	uint32_t parent;
	uint32_t chain;
	bool dead;
	bool on_disk;
	bool lower_dir; /* a directory through which a directory of the lower view shows */
};

#define UPPER_FDS 24

/* What decides which metadata calls a new file needs. */
struct upper_ids {
	bool single_id; /* ownership is recorded, not applied */
	bool widen;     /* and modes keep us out: on disk files get u+rw, directories u+rwx */
	uint32_t euid, egid, umask;
};
void upper_ids_init(struct upper_ids *ids, bool single_id);

struct upper {
	int destfd;
	const struct treeview *lower; /* NULL: nothing is known of what lies below */
	const int *lower_fds;
	struct upper_ids ids;
	uint64_t seed;
	struct arena arena;
	struct upper_node *nodes;
	size_t n, cap;
	uint32_t *buckets;
	size_t n_buckets;
	uint64_t removals; /* grows when a node goes: resolved directories may be stale */
	bool root_set;     /* the root's own metadata was given, so it goes into the tree */
	struct {
		uint32_t node;
		int fd;
		uint64_t used;
	} fds[UPPER_FDS];
	uint64_t fd_clock;
};

/* upper_init - destfd is an empty directory and stays the caller's; -1: nothing goes to disk. */
int upper_init(struct upper *u, int destfd, const struct treeview *lower, const int *lower_fds,
        bool single_id, struct error *err) must_check;
void upper_release(struct upper *u);

/* What a path is in the merged view. */
struct upper_hit {
	uint32_t node; /* UPPER_NONE: in the lower view */
	const struct tree_entry *e;
	struct view_hit lower; /* where e is of the lower view */
};
/* upper_lookup - name in dir (a node), merged, no link followed. */
bool upper_lookup(const struct upper *u, uint32_t dir, const char *name, struct upper_hit *ret);
/* upper_child - the node itself, whiteouts included; UPPER_NONE: none. */
uint32_t upper_child(const struct upper *u, uint32_t dir, const char *name);
/* upper_resolve - path as chroot(2) would resolve it in the merged view, starting at the directory
 * base ("" = root; physical). 1 found, 0 missing (*ret_path: the existing part, resolved, and the
 * rest as it is). Loops and a non-directory in the middle are ERR_BUILD. */
int upper_resolve(struct upper *u, const char *base, const char *path, bool follow_last,
        struct strbuf *ret_path, struct upper_hit *ret_hit, struct error *err) must_check;

/* upper_mkdirs - the directory with this physical path, made part of the layer: one of the lower
 * view is taken with its metadata, a missing one is made as `made` says (no mtime there: its
 * parent's, so that the same build gives the same layer at any time). */
int upper_mkdirs(struct upper *u, const char *path, const struct tree_entry *made,
        uint32_t *ret_node, struct error *err) must_check;
/* upper_put - place e as name in dir, replacing what this layer has there: a directory over a
 * directory takes e's metadata, all else is removed first. Directories and whiteouts are made on
 * disk, others by the caller (then upper_on_disk) or later from `pending`. Strings are copied. */
int upper_put(struct upper *u, uint32_t dir, const char *name, const struct tree_entry *e,
        uint32_t *ret_node, struct error *err) must_check;
/* upper_link - name in dir becomes one more name of node's inode (no disk access). */
int upper_link(struct upper *u, uint32_t dir, const char *name, uint32_t node, uint32_t *ret_node,
        struct error *err) must_check;
int upper_remove(struct upper *u, uint32_t node, struct error *err) must_check;
static inline void upper_on_disk(struct upper *u, uint32_t node)
{
	u->nodes[node].on_disk = true;
}
static inline struct tree_entry *upper_entry(struct upper *u, uint32_t node)
{
	return &u->nodes[node].ino->e;
}

/* upper_dirfd - an O_PATH descriptor of a directory node; borrowed; it outlives the next
 * call (for linkat), not more. */
int upper_dirfd(struct upper *u, uint32_t node, struct error *err) must_check;
/* upper_path - the node's path appended to out. */
void upper_path(const struct upper *u, uint32_t node, struct strbuf *out);

/* upper_make_special - a symlink, device or fifo on disk, with its metadata. A device that may not
 * be made here is a whiteout on disk (it hides what is below) and a device in the tree. */
int upper_make_special(struct upper *u, uint32_t node, struct error *err) must_check;
/* upper_meta_fd - owner, mode, xattrs and mtime of an open new regular file that was created with
 * `created_mode & ~umask`. */
int upper_meta_fd(const struct upper_ids *ids, int fd, const struct tree_entry *e,
        uint32_t created_mode, const char *shown, struct error *err) must_check;

/* upper_finish - set the directories' metadata, and fill ret (sorted). */
int upper_finish(struct upper *u, struct tree *ret, struct error *err) must_check;
/* upper_list - only the tree, and what each of its entries was made of (malloc'ed). */
void upper_list(struct upper *u, struct tree *ret, const struct upper_inode ***ret_inodes);

/* upper_filter_xattrs - copy the allowed ones of e into the arena; capabilities become v2. */
void upper_filter_xattrs(struct arena *a, struct tree_entry *e);

#endif
