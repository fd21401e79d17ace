/* sys/lock.h - kernel-released locks: they die with their process, so no lock is ever stale. */
#ifndef STRAKE_SYS_LOCK_H
#define STRAKE_SYS_LOCK_H

#include "base/base.h"

/* sys_lock_file - open (create 0600) and flock; shared or exclusive; wait or -EWOULDBLOCK.
 * Returns the descriptor that holds the lock; close it to unlock. A wait that a signal handler
 * (installed without SA_RESTART) interrupts gives -EINTR, so that Ctrl-C works. */
int sys_lock_file(int dirfd, const char *name, bool exclusive, bool wait) must_check;
int sys_lock_fd(int fd, bool exclusive, bool wait) must_check;

#endif
