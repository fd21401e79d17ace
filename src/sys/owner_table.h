/* sys/owner_table.h - the table of owners that no attribute can hold, as it passes between the
 * builder, the supervisor of a single-id step and the scan of the layer.
 *
 * A log of fixed records in a memfd: the builder seeds it with the links, devices and pipes of the
 * layers below, the supervisor appends what the step does, the builder reads it when the step is
 * over. The last record of an inode counts. */
#ifndef STRAKE_SYS_OWNER_TABLE_H
#define STRAKE_SYS_OWNER_TABLE_H

#include "base/base.h"

/* MERGED: inode number as the step's root shows it. UPPER: in the upper directory. */
enum owner_where { OWNER_MERGED = 1, OWNER_UPPER };
struct owner_record {
	uint64_t ino;
	uint32_t uid, gid, where, pad;
};

int owner_log_new(void) must_check; /* memfd or -errno */
int owner_log_append(int fd, enum owner_where where, uint64_t ino, uint32_t uid,
        uint32_t gid) must_check; /* -errno */

/* A table by inode. */
struct owner_table {
	struct owner_record *v; /* open addressing; where == 0: free */
	size_t n, cap;          /* cap: a power of two */
};
void owner_table_release(struct owner_table *t);
void owner_table_put(struct owner_table *t, const struct owner_record *r);
const struct owner_record *owner_table_find(
        const struct owner_table *t, enum owner_where where, uint64_t ino);
/* owner_log_load - the whole log; records of other kinds than `where` are left out (0: all).
 * owner_log_follow - what was added since the last call; *at begins as 0. */
int owner_log_load(int fd, uint32_t where, struct owner_table *ret) must_check;
int owner_log_follow(int fd, uint32_t where, int64_t *at, struct owner_table *ret) must_check;

#endif
