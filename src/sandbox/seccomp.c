/* sandbox/seccomp.c - table and assembler; see seccomp.h.
 *
 * Default: EPERM. Calls of another ABI (i386, x32) are refused whole, but for i386 where a step is
 * of that platform. A handful of calls look at an
 * argument; only the low 32 bits of it are compared where the kernel reads an int, so that no high
 * bits can slip past. All other entries depend on the number alone: the kernel (5.11 and later)
 * turns those into a bitmap and does not run the filter for them. */
#include "sandbox/seccomp.h"

#include <errno.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sys/socket.h>
#include <sys/syscall.h>

/* Newer than the headers of the oldest system we build on; these numbers are the same on every
 * architecture. */
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif
#ifndef SYS_map_shadow_stack
#define SYS_map_shadow_stack 453
#endif
#ifndef SYS_futex_wake
#define SYS_futex_wake 454
#endif
#ifndef SYS_futex_wait
#define SYS_futex_wait 455
#endif
#ifndef SYS_futex_requeue
#define SYS_futex_requeue 456
#endif
#ifndef SYS_statmount
#define SYS_statmount 457
#endif
#ifndef SYS_listmount
#define SYS_listmount 458
#endif
#ifndef SYS_mseal
#define SYS_mseal 462
#endif
#ifndef SYS_setxattrat
#define SYS_setxattrat 463
#endif
#ifndef SYS_getxattrat
#define SYS_getxattrat 464
#endif
#ifndef SYS_listxattrat
#define SYS_listxattrat 465
#endif
#ifndef SYS_removexattrat
#define SYS_removexattrat 466
#endif

static const uint16_t allowed[] = {
        SYS_accept,
        SYS_accept4,
        SYS_adjtimex,
        SYS_bind,
        SYS_brk,
        SYS_cachestat,
        SYS_capget,
        SYS_capset,
        SYS_chdir,
        SYS_chroot,
        SYS_clock_adjtime,
        SYS_clock_getres,
        SYS_clock_gettime,
        SYS_clock_nanosleep,
        SYS_close,
        SYS_close_range,
        SYS_connect,
        SYS_copy_file_range,
        SYS_dup,
        SYS_dup3,
        SYS_epoll_create1,
        SYS_epoll_ctl,
        SYS_epoll_pwait,
        SYS_epoll_pwait2,
        SYS_eventfd2,
        SYS_execve,
        SYS_execveat,
        SYS_exit,
        SYS_exit_group,
        SYS_faccessat,
        SYS_faccessat2,
        SYS_fadvise64,
        SYS_fallocate,
        SYS_fanotify_mark,
        SYS_fchdir,
        SYS_fchmod,
        SYS_fchmodat,
        SYS_fchmodat2,
        SYS_fchown,
        SYS_fchownat,
        SYS_fcntl,
        SYS_fdatasync,
        SYS_fgetxattr,
        SYS_flistxattr,
        SYS_flock,
        SYS_fremovexattr,
        SYS_fsetxattr,
        SYS_fstatfs,
        SYS_fsync,
        SYS_ftruncate,
        SYS_futex,
        SYS_futex_requeue,
        SYS_futex_wait,
        SYS_futex_waitv,
        SYS_futex_wake,
        SYS_getcpu,
        SYS_getcwd,
        SYS_getdents64,
        SYS_getegid,
        SYS_geteuid,
        SYS_getgid,
        SYS_getgroups,
        SYS_getitimer,
        SYS_getpeername,
        SYS_getpgid,
        SYS_getpid,
        SYS_getppid,
        SYS_getpriority,
        SYS_getrandom,
        SYS_getresgid,
        SYS_getresuid,
        SYS_get_robust_list,
        SYS_getrusage,
        SYS_getsid,
        SYS_getsockname,
        SYS_getsockopt,
        SYS_gettid,
        SYS_gettimeofday,
        SYS_getuid,
        SYS_getxattr,
        SYS_getxattrat,
        SYS_inotify_add_watch,
        SYS_inotify_init1,
        SYS_inotify_rm_watch,
        SYS_io_cancel,
        SYS_io_destroy,
        SYS_io_getevents,
        SYS_io_pgetevents,
        SYS_ioprio_get,
        SYS_ioprio_set,
        SYS_io_setup,
        SYS_io_submit,
        SYS_kill,
        SYS_landlock_add_rule,
        SYS_landlock_create_ruleset,
        SYS_landlock_restrict_self,
        SYS_lgetxattr,
        SYS_linkat,
        SYS_listen,
        SYS_listmount,
        SYS_listxattr,
        SYS_listxattrat,
        SYS_llistxattr,
        SYS_lremovexattr,
        SYS_lseek,
        SYS_lsetxattr,
        SYS_madvise,
        SYS_map_shadow_stack,
        SYS_membarrier,
        SYS_memfd_create,
        SYS_mincore,
        SYS_mkdirat,
        SYS_mknodat,
        SYS_mlock,
        SYS_mlock2,
        SYS_mlockall,
        SYS_mmap,
        SYS_mprotect,
        SYS_mq_getsetattr,
        SYS_mq_notify,
        SYS_mq_open,
        SYS_mq_timedreceive,
        SYS_mq_timedsend,
        SYS_mq_unlink,
        SYS_mremap,
        SYS_mseal,
        SYS_msgctl,
        SYS_msgget,
        SYS_msgrcv,
        SYS_msgsnd,
        SYS_msync,
        SYS_munlock,
        SYS_munlockall,
        SYS_munmap,
        SYS_name_to_handle_at,
        SYS_nanosleep,
        SYS_openat,
        SYS_openat2,
        SYS_pidfd_open,
        SYS_pidfd_send_signal,
        SYS_pipe2,
        SYS_pkey_alloc,
        SYS_pkey_free,
        SYS_pkey_mprotect,
        SYS_ppoll,
        SYS_prctl,
        SYS_pread64,
        SYS_preadv,
        SYS_preadv2,
        SYS_prlimit64,
        SYS_process_mrelease,
        SYS_process_vm_readv,
        SYS_process_vm_writev,
        SYS_pselect6,
        SYS_ptrace,
        SYS_pwrite64,
        SYS_pwritev,
        SYS_pwritev2,
        SYS_read,
        SYS_readahead,
        SYS_readlinkat,
        SYS_readv,
        SYS_recvfrom,
        SYS_recvmmsg,
        SYS_recvmsg,
        SYS_remap_file_pages,
        SYS_removexattr,
        SYS_removexattrat,
        SYS_renameat2,
        SYS_restart_syscall,
        SYS_rseq,
        SYS_rt_sigaction,
        SYS_rt_sigpending,
        SYS_rt_sigprocmask,
        SYS_rt_sigqueueinfo,
        SYS_rt_sigreturn,
        SYS_rt_sigsuspend,
        SYS_rt_sigtimedwait,
        SYS_rt_tgsigqueueinfo,
        SYS_sched_getaffinity,
        SYS_sched_getattr,
        SYS_sched_getparam,
        SYS_sched_get_priority_max,
        SYS_sched_get_priority_min,
        SYS_sched_getscheduler,
        SYS_sched_rr_get_interval,
        SYS_sched_setaffinity,
        SYS_sched_setattr,
        SYS_sched_setparam,
        SYS_sched_setscheduler,
        SYS_sched_yield,
        SYS_seccomp,
        SYS_semctl,
        SYS_semget,
        SYS_semop,
        SYS_semtimedop,
        SYS_sendfile,
        SYS_sendmmsg,
        SYS_sendmsg,
        SYS_sendto,
        SYS_setfsgid,
        SYS_setfsuid,
        SYS_setgid,
        SYS_setgroups,
        SYS_setitimer,
        SYS_setpgid,
        SYS_setpriority,
        SYS_setregid,
        SYS_setresgid,
        SYS_setresuid,
        SYS_setreuid,
        SYS_set_robust_list,
        SYS_setsid,
        SYS_setsockopt,
        SYS_set_tid_address,
        SYS_setuid,
        SYS_setxattr,
        SYS_setxattrat,
        SYS_shmat,
        SYS_shmctl,
        SYS_shmdt,
        SYS_shmget,
        SYS_shutdown,
        SYS_sigaltstack,
        SYS_signalfd4,
        SYS_socketpair,
        SYS_splice,
        SYS_statfs,
        SYS_statmount,
        SYS_statx,
        SYS_symlinkat,
        SYS_sync,
        SYS_syncfs,
        SYS_sysinfo,
        SYS_tee,
        SYS_tgkill,
        SYS_timer_create,
        SYS_timer_delete,
        SYS_timer_getoverrun,
        SYS_timer_gettime,
        SYS_timer_settime,
        SYS_timerfd_create,
        SYS_timerfd_gettime,
        SYS_timerfd_settime,
        SYS_times,
        SYS_tkill,
        SYS_truncate,
        SYS_umask,
        SYS_uname,
        SYS_unlinkat,
        SYS_utimensat,
        SYS_vmsplice,
        SYS_wait4,
        SYS_waitid,
        SYS_write,
        SYS_writev,
/* Not on every architecture. */
#ifdef SYS_access
        SYS_access,
#endif
#ifdef SYS_alarm
        SYS_alarm,
#endif
#ifdef SYS_arch_prctl
        SYS_arch_prctl,
#endif
#ifdef SYS_chmod
        SYS_chmod,
#endif
#ifdef SYS_chown
        SYS_chown,
#endif
#ifdef SYS_creat
        SYS_creat,
#endif
#ifdef SYS_dup2
        SYS_dup2,
#endif
#ifdef SYS_epoll_create
        SYS_epoll_create,
#endif
#ifdef SYS_epoll_ctl_old
        SYS_epoll_ctl_old,
#endif
#ifdef SYS_epoll_wait
        SYS_epoll_wait,
#endif
#ifdef SYS_epoll_wait_old
        SYS_epoll_wait_old,
#endif
#ifdef SYS_eventfd
        SYS_eventfd,
#endif
#ifdef SYS_fork
        SYS_fork,
#endif
#ifdef SYS_fstat
        SYS_fstat,
#endif
#ifdef SYS_futimesat
        SYS_futimesat,
#endif
#ifdef SYS_getdents
        SYS_getdents,
#endif
#ifdef SYS_getpgrp
        SYS_getpgrp,
#endif
#ifdef SYS_getrlimit
        SYS_getrlimit,
#endif
#ifdef SYS_get_thread_area
        SYS_get_thread_area,
#endif
#ifdef SYS_inotify_init
        SYS_inotify_init,
#endif
#ifdef SYS_ipc
        SYS_ipc,
#endif
#ifdef SYS_lchown
        SYS_lchown,
#endif
#ifdef SYS_link
        SYS_link,
#endif
#ifdef SYS_lstat
        SYS_lstat,
#endif
#ifdef SYS_memfd_secret
        SYS_memfd_secret,
#endif
#ifdef SYS_mkdir
        SYS_mkdir,
#endif
#ifdef SYS_mknod
        SYS_mknod,
#endif
#ifdef SYS_modify_ldt
        SYS_modify_ldt,
#endif
#ifdef SYS_newfstatat
        SYS_newfstatat,
#endif
#ifdef SYS_open
        SYS_open,
#endif
#ifdef SYS_pause
        SYS_pause,
#endif
#ifdef SYS_pipe
        SYS_pipe,
#endif
#ifdef SYS_poll
        SYS_poll,
#endif
#ifdef SYS_readlink
        SYS_readlink,
#endif
#ifdef SYS_rename
        SYS_rename,
#endif
#ifdef SYS_renameat
        SYS_renameat,
#endif
#ifdef SYS_riscv_flush_icache
        SYS_riscv_flush_icache,
#endif
#ifdef SYS_rmdir
        SYS_rmdir,
#endif
#ifdef SYS_s390_pci_mmio_read
        SYS_s390_pci_mmio_read,
#endif
#ifdef SYS_s390_pci_mmio_write
        SYS_s390_pci_mmio_write,
#endif
#ifdef SYS_s390_runtime_instr
        SYS_s390_runtime_instr,
#endif
#ifdef SYS_select
        SYS_select,
#endif
#ifdef SYS_setrlimit
        SYS_setrlimit,
#endif
#ifdef SYS_set_thread_area
        SYS_set_thread_area,
#endif
#ifdef SYS_signalfd
        SYS_signalfd,
#endif
#ifdef SYS_stat
        SYS_stat,
#endif
#ifdef SYS_symlink
        SYS_symlink,
#endif
#ifdef SYS_sync_file_range
        SYS_sync_file_range,
#endif
#ifdef SYS_sync_file_range2
        SYS_sync_file_range2,
#endif
#ifdef SYS_time
        SYS_time,
#endif
#ifdef SYS_unlink
        SYS_unlink,
#endif
#ifdef SYS_uretprobe
        SYS_uretprobe,
#endif
#ifdef SYS_utime
        SYS_utime,
#endif
#ifdef SYS_utimes
        SYS_utimes,
#endif
#ifdef SYS_vfork
        SYS_vfork,
#endif
#ifdef SYS_waitpid
        SYS_waitpid,
#endif
};

struct range {
	uint32_t lo, hi;
};

static void emit(struct seccomp_filter *f, uint16_t code, uint8_t jt, uint8_t jf, uint32_t k)
{
	if (f->n >= SECCOMP_MAX_INSNS)
		abort(); /* the table is ours: a build-time mistake */
	f->insns[f->n++] = (struct sock_filter){code, jt, jf, k};
}

static void load(struct seccomp_filter *f, size_t offset)
{
	emit(f, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offset);
}

static void ret_allow(struct seccomp_filter *f)
{
	emit(f, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW);
}

static void ret_errno(struct seccomp_filter *f, uint32_t e)
{
	emit(f, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | e);
}

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ARG_LOW(i) (offsetof(struct seccomp_data, args) + (i)*8)
#else
#define ARG_LOW(i) (offsetof(struct seccomp_data, args) + (i)*8 + 4)
#endif

/* begin_call - the block up to end_call runs for nr only, and must end in a return. */
static unsigned short begin_call(struct seccomp_filter *f, uint32_t nr)
{
	emit(f, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, nr);
	return f->n;
}

static void end_call(struct seccomp_filter *f, unsigned short start)
{
	f->insns[start - 1].jf = (uint8_t)(f->n - start);
}

/* deny_values - EPERM if argument i is one of v, else allowed. */
static void deny_values(
        struct seccomp_filter *f, uint32_t nr, unsigned i, const uint32_t *v, unsigned n)
{
	unsigned short s = begin_call(f, nr);
	load(f, ARG_LOW(i));
	for (unsigned k = 0; k < n; k++) {
		emit(f, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, v[k]);
		ret_errno(f, EPERM);
	}
	ret_allow(f);
	end_call(f, s);
}

static void special_calls(struct seccomp_filter *f, const struct seccomp_special *nr)
{
	static const uint32_t families[] = {38 /* AF_ALG */, 40 /* AF_VSOCK */};
	deny_values(f, nr->socket, 0, families, ARRAY_SIZE(families));
	static const uint32_t ttys[] = {0x5412 /* TIOCSTI */, 0x541c /* TIOCLINUX */};
	deny_values(f, nr->ioctl, 1, ttys, ARRAY_SIZE(ttys));

	/* No new namespaces. clone3's flags lie in memory, where a filter cannot look: libraries
	 * fall back to clone on ENOSYS. */
	unsigned short s = begin_call(f, nr->clone);
#if defined(__s390x__)
	load(f, ARG_LOW(1));
#else
	load(f, ARG_LOW(0));
#endif
	emit(f, BPF_JMP | BPF_JSET | BPF_K, 0, 1,
	        CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
	                CLONE_NEWPID | CLONE_NEWNET);
	ret_errno(f, EPERM);
	ret_allow(f);
	end_call(f, s);
	s = begin_call(f, nr->clone3);
	ret_errno(f, ENOSYS);
	end_call(f, s);

	static const uint32_t personas[] = {0x0, 0x8, 0x20000, 0x20008, 0xffffffff};
	s = begin_call(f, nr->personality);
	load(f, ARG_LOW(0));
	for (unsigned k = 0; k < ARRAY_SIZE(personas); k++) {
		emit(f, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, personas[k]);
		ret_allow(f);
	}
	ret_errno(f, EPERM);
	end_call(f, s);
}

/* emit_tree - a binary search over r[0..n); ends in a return on every path. */
static void emit_tree(struct seccomp_filter *f, const struct range *r, unsigned n)
{
	if (n == 1) {
		emit(f, BPF_JMP | BPF_JGE | BPF_K, 0, 2, r->lo);
		emit(f, BPF_JMP | BPF_JGT | BPF_K, 1, 0, r->hi);
		ret_allow(f);
		ret_errno(f, EPERM);
		return;
	}
	unsigned half = n / 2;
	/* A conditional jump reaches 255 instructions, an unconditional one any distance. */
	emit(f, BPF_JMP | BPF_JGE | BPF_K, 0, 1, r[half].lo);
	emit(f, BPF_JMP | BPF_JA, 0, 0, 0);
	unsigned short left = f->n;
	emit_tree(f, r, half);
	f->insns[left - 1].k = (uint32_t)(f->n - left);
	emit_tree(f, r + half, n - half);
}

static int by_number(const void *a, const void *b)
{
	return (int)*(const uint16_t *)a - (int)*(const uint16_t *)b;
}

/* emit_calls - with the number in the accumulator: a return on every path. */
static void emit_calls(struct seccomp_filter *f, const uint16_t *calls, size_t n_calls,
        const struct seccomp_special *special)
{
	uint16_t nrs[SECCOMP_MAX_CALLS];
	struct range ranges[SECCOMP_MAX_CALLS];
	unsigned n = 0;
	if (n_calls > SECCOMP_MAX_CALLS)
		abort(); /* the tables are ours */
	memcpy(nrs, calls, n_calls * sizeof(*nrs));
	qsort(nrs, n_calls, sizeof(*nrs), by_number);
	for (size_t i = 0; i < n_calls; i++) {
		if (n && nrs[i] <= ranges[n - 1].hi + 1)
			ranges[n - 1].hi = nrs[i];
		else
			ranges[n++] = (struct range){nrs[i], nrs[i]};
	}
	special_calls(f, special);
	emit_tree(f, ranges, n);
}

void seccomp_build(struct seccomp_filter *f, bool compat)
{
	static const struct seccomp_special native = {.socket = SYS_socket,
	        .ioctl = SYS_ioctl,
	        .clone = SYS_clone,
	        .clone3 = SYS_clone3,
	        .personality = SYS_personality};
	f->n = 0;
	load(f, offsetof(struct seccomp_data, arch));
	emit(f, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, SECCOMP_NATIVE_ARCH);
	emit(f, BPF_JMP | BPF_JA, 0, 0, 0);
	unsigned short other = f->n;
	load(f, offsetof(struct seccomp_data, nr));
	/* x32 sets bit 30 of the number: beyond every range, so refused. */
	emit_calls(f, allowed, ARRAY_SIZE(allowed), &native);
	f->insns[other - 1].k = (uint32_t)(f->n - other);
#if defined(__x86_64__)
	if (compat) {
		emit(f, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, AUDIT_ARCH_I386);
		emit(f, BPF_JMP | BPF_JA, 0, 0, 1);
		ret_errno(f, EPERM);
		load(f, offsetof(struct seccomp_data, nr));
		emit_calls(f, seccomp_i386_calls, seccomp_i386_n_calls, &seccomp_i386_special);
		return;
	}
#else
	(void)compat;
#endif
	ret_errno(f, EPERM);
}

int seccomp_load(const struct seccomp_filter *f)
{
	struct sock_fprog p = {f->n, (struct sock_filter *)f->insns};
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p) < 0 ? -errno : 0;
}
