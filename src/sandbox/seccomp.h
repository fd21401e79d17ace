/* sandbox/seccomp.h - the system calls a step may make: Docker's default profile, tightened.
 *
 * The filter is assembled here as classic BPF, in microseconds, from a table of system call
 * numbers: loading and running a filter compiler would cost more than a whole step. */
#ifndef STRAKE_SANDBOX_SECCOMP_H
#define STRAKE_SANDBOX_SECCOMP_H

#include <linux/filter.h>
#include "base/base.h"

#define SECCOMP_MAX_INSNS 2048
struct seccomp_filter {
	struct sock_filter insns[SECCOMP_MAX_INSNS];
	unsigned short n;
};
void seccomp_build(struct seccomp_filter *f);
/* seccomp_load - for this process and what it execs; needs CAP_SYS_ADMIN in its user namespace
 * (no_new_privs stays off, so that sudo works). 0 or -errno. */
int seccomp_load(const struct seccomp_filter *f) must_check;

#endif
