/* store/scan.h - sizes in real blocks, hard links counted once. */
#ifndef STRAKE_STORE_SCAN_H
#define STRAKE_STORE_SCAN_H

#include "base/base.h"

struct scan_inode { /* has several links */
	dev_t dev;
	ino_t ino;
	uint32_t left; /* links that still hold it */
	uint64_t bytes;
};
struct scan {
	struct scan_inode *v;
	size_t n, cap;
	uint32_t *slots; /* index + 1; 0 = free */
	size_t n_slots;
};
/* One thing that can be removed. */
struct scan_item {
	uint64_t own;   /* bytes that only it holds */
	uint64_t first; /* bytes of shared inodes that no earlier item had */
	uint32_t *shared;
	size_t n, cap;
};

void scan_release(struct scan *sc);
void scan_item_release(struct scan_item *it);
/* scan_path - add dirfd/name and all below to *ret. -errno if name itself cannot be read. */
int scan_path(struct scan *sc, int dirfd, const char *name, struct scan_item *ret) must_check;
/* scan_split - its bytes, by whether another thing holds them too. */
void scan_split(const struct scan *sc, const struct scan_item *it, uint64_t *ret_unique,
        uint64_t *ret_shared);
/* scan_free_item - bytes that come free when the item goes now; call once an item, in order. */
uint64_t scan_free_item(struct scan *sc, const struct scan_item *it);

#endif
