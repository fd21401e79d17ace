/* sandbox/seccomp.h - the system calls a step may make: Docker's default profile, tightened.
 *
 * The filter is assembled here as classic BPF, in microseconds, from a table of system call
 * numbers: loading and running a filter compiler would cost more than a whole step. */
#ifndef STRAKE_SANDBOX_SECCOMP_H
#define STRAKE_SANDBOX_SECCOMP_H

#include <linux/audit.h>
#include <linux/filter.h>
#include "base/base.h"

#if defined(__x86_64__)
#define SECCOMP_NATIVE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define SECCOMP_NATIVE_ARCH AUDIT_ARCH_AARCH64
#elif defined(__riscv) && __riscv_xlen == 64
#define SECCOMP_NATIVE_ARCH AUDIT_ARCH_RISCV64
#elif defined(__powerpc64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define SECCOMP_NATIVE_ARCH AUDIT_ARCH_PPC64LE
#elif defined(__s390x__)
#define SECCOMP_NATIVE_ARCH AUDIT_ARCH_S390X
#else
#error "no seccomp profile for this architecture yet"
#endif

#define SECCOMP_MAX_INSNS 2048
struct seccomp_filter {
	struct sock_filter insns[SECCOMP_MAX_INSNS];
	unsigned short n;
};
/* seccomp_build - compat: also for the 32-bit code that this CPU runs (i386 on x86-64). */
void seccomp_build(struct seccomp_filter *f, bool compat);
/* seccomp_load - for this process and what it execs; needs CAP_SYS_ADMIN in its user namespace
 * (no_new_privs stays off, so that sudo works). 0 or -errno. */
int seccomp_load(const struct seccomp_filter *f) must_check;

/* Numbers of the calls that the filter looks into. */
struct seccomp_special {
	uint32_t socket, ioctl, clone, clone3, personality;
};
#define SECCOMP_MAX_CALLS 512
extern const uint16_t seccomp_i386_calls[];
extern const size_t seccomp_i386_n_calls;
extern const struct seccomp_special seccomp_i386_special;

#endif
