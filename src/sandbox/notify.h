/* sandbox/notify.h - single-id mode: which system calls of a step wait for its supervisor, and the
 * wire between the two (seccomp user notification, Linux 5.9).
 *
 * The supervisor (supervise.c) is a child of the keeper, outside the step's pid namespace and
 * filter but inside its mount namespace: no path can lead it to a place that the step could not
 * reach by itself, and none of its answers is a right. */
#ifndef STRAKE_SANDBOX_NOTIFY_H
#define STRAKE_SANDBOX_NOTIFY_H

#include "base/error.h"
#include "sandbox/identity.h"
#include "sandbox/user.h"

/* The number of a process's identity is its RLIMIT_LOCKS (soft), which the kernel has ignored since
 * Linux 2.4, inherits over fork and exec, and lets a supervisor set from outside. */
#define NOTIFY_IDENTITY_RLIMIT 10

/* step → supervisor, once its root is in place: its mount namespace, the upper directory and the
 * owner log, either of which may be absent. */
struct notify_hello {
	uint32_t has_upper, has_owners;
	uint32_t shared; /* others write to the owner log too */
};
enum { NOTIFY_HELLO_FDS = 3 };
/* then, with the listener: */
struct notify_user {
	uint32_t uid, gid, n_groups;
	uint32_t groups[IDENTITY_GROUPS_MAX];
};
int notify_send_hello(int sock, int upper_fd, int owners_fd, bool shared) must_check; /* -errno */

/* notify_begin - load the filter, hand its listener and the user over, wait for the supervisor:
 * from here on the kernel asks it. Closes sock. -errno. */
int notify_begin(int sock, const struct sandbox_user *u) must_check;

/* supervise_main - sock: the other end. shared_proc: /proc shows our pid namespace, and no other
 * procfs can be had. Never returns. */
noreturn_ void supervise_main(int sock, bool shared_proc);

#endif
