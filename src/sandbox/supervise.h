/* sandbox/supervise.h - the supervisor of a single-id step: its state, shared by the files that
 * answer calls. Private to supervise*.c.
 *
 * Single-threaded. Root directory: the step's. Working directory: a procfs of the supervisor's own
 * pid namespace, so that "PID/cwd/x" and "PID/fd/3" name what a process of the step means. */
#ifndef STRAKE_SANDBOX_SUPERVISE_H
#define STRAKE_SANDBOX_SUPERVISE_H

#include <limits.h>
#include <linux/seccomp.h>

#include "sandbox/identity.h"
#include "sys/owner.h"
#include "sys/owner_table.h"

struct supervisor {
	int listener, proc, root; /* root: for the way back from a chroot */
	int upper, owners;        /* -1: none */
	uint64_t root_dev;
	struct owner_table table;
	bool shared;    /* others write to the log as well: */
	int64_t log_at; /* it is read up to here */
	bool chrooted;  /* some process called chroot */
	struct identity *identities;
	size_t n_identities, cap_identities;
};

/* One call being answered. */
struct call {
	struct supervisor *s;
	const struct seccomp_notif *req;
	uint32_t identity; /* index */
	/* the answer */
	bool go_on; /* the kernel carries the call out */
	bool sent;  /* answered already, with a descriptor */
	int64_t value;
};

static inline const struct identity *caller(const struct call *c)
{
	return &c->s->identities[c->identity];
}

/* supervise.c */
bool call_alive(const struct call *c); /* the caller still waits: its pid still means it */
ssize_t call_read(const struct call *c, uint64_t addr, void *p, size_t n);    /* bytes or -errno */
int call_write(const struct call *c, uint64_t addr, const void *p, size_t n); /* -errno */
/* call_path - a string of the caller's memory. Length or -errno. */
int call_path(const struct call *c, uint64_t addr, char path[PATH_MAX]);
void call_become(struct call *c, const struct identity *i);

/* supervise_ids.c: get*id, set*id, execve. False: not one of its calls. */
bool answer_ids(struct call *c);

/* supervise_files.c: chown, stat, what makes files. */
bool answer_files(struct call *c);
/* Where a path of the caller leads, as a name for plain path calls of the supervisor. */
struct place {
	char name[PATH_MAX + 64];
	bool follow; /* the name must be followed, whatever the call says: it is a descriptor's */
	bool in_chroot;
};
/* place_find - dirfd and path as the *at calls take them; empty: AT_EMPTY_PATH was given. 0 or
 * -errno. place_leave undoes what it did to find it. */
int place_find(struct call *c, int dirfd, uint64_t path, bool empty, struct place *ret);
/* place_of - the same of a path that was read already; "": dirfd itself. */
int place_of(struct call *c, int dirfd, const char *path, struct place *ret);
void place_leave(struct call *c, const struct place *p);
/* place_owner - the recorded owner. 1, or 0: none (0:0). */
int place_owner(struct call *c, const struct place *p, bool follow, struct sys_owner *ret);
int fd_owner(const struct supervisor *s, int fd, struct sys_owner *ret); /* or -errno */

/* supervise_create.c: open with O_CREAT, mkdir, symlink, mknod, bind. False: not one of its calls.
 */
bool answer_creation(struct call *c);
/* table_sync - before the table is asked: what others have recorded. */
void table_sync(struct supervisor *s);
/* owner_record - of what fd (O_PATH will do) refers to. -errno. */
int owner_record(struct supervisor *s, int fd, struct sys_owner o);

#endif
