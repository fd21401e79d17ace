/* tree/view.h - a stack of trees seen as overlayfs would show them merged; reads no disk.
 *
 * Layers are given lowest first. Whiteouts and opaque directories of a layer hide what is below
 * it. The view borrows the trees; all must outlive it. Immutable once made, so safe to share. */
#ifndef STRAKE_TREE_VIEW_H
#define STRAKE_TREE_VIEW_H

#include "tree/tree.h"

struct view_hit {
	const struct tree_entry *entry;
	size_t layer; /* index of the layer that provides it; its directory holds the bytes */
};

struct treeview {
	const struct tree *const *layers;
	size_t n;
};

/* view_lookup - exact, no symlinks followed at all (a symlink parent is "absent"). True if found.
 * The root "" always exists (entry may be a synthetic 0755 root:root directory). */
bool view_lookup(const struct treeview *v, const char *path, struct view_hit *ret);

/* view_resolve - follow symlinks in every component as chroot(2) would (".." clamped at the root,
 * at most 40 links). follow_last: also when the last component is a link. *ret_path (malloc'ed) is
 * the physical path of the longest existing prefix plus the missing rest, cleaned; *ret_hit is
 * filled and 1 returned if it exists; 0 if missing; -1 for a loop or a non-directory in the
 * middle. */
int view_resolve(const struct treeview *v, const char *path, bool follow_last, char **ret_path,
        struct view_hit *ret_hit, struct error *err) must_check;

/* view_list - every visible entry strictly below dir, in tree order, through fn (non-zero stops
 * and is returned). recursive=false: only direct children. A hard link is reported as the
 * TREE_HARDLINK entry it is, whether or not its target is visible: view_content gives the bytes. */
int view_list(const struct treeview *v, const char *dir, bool recursive,
        int (*fn)(void *ctx, const struct view_hit *hit), void *ctx);

/* view_content - the entry (of the same layer) that a hard link stands for, or the hit's own entry.
 * NULL if the layer does not hold the target. */
const struct tree_entry *view_content(const struct treeview *v, const struct view_hit *hit);

#endif
