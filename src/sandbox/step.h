/* sandbox/step.h - the process that becomes a RUN step, from fork to exec.
 *
 * Order, and why: (1) everything that clones mounts or uses layer descriptors happens in the
 * builder's mount namespace, as the kernel refuses to clone mounts of another namespace; all of it
 * stays detached. (2) unshare the mount namespace, attach, pivot. (3) give up rights and exec.
 * Single-threaded; on failure the error goes to the builder and the process exits. */
#ifndef STRAKE_SANDBOX_STEP_H
#define STRAKE_SANDBOX_STEP_H

#include "base/error.h"
#include "sandbox/network.h"
#include "sandbox/sandbox.h"
#include "sandbox/seccomp.h"
#include "sandbox/user.h"

struct step_mount {
	const struct sandbox_mount *m;
	int fd; /* detached mount; -1 for FILE (it lives in the files tmpfs) */
	bool is_dir;
	bool device;        /* a CDI device node: the one kind of mount that is not nodev */
	bool resolve_later; /* fd is a whole root file system, m->source is to be found in it */
	char *path;         /* target in the rootfs, free of links; relative */
};

struct resolved;
#define STEP_N_DEVICES 6
struct step {
	struct sandbox_spec spec;
	int staging_fd; /* the context's; scratch is made below it as scratch_name */
	char scratch_name[24];
	int scratch_fd; /* -1 until needed */
	struct network *net;
	const struct seccomp_filter *filter;
	bool compat;   /* the machine's 32-bit code */
	int userns_fd; /* where programs of another architecture are known; -1: here */
	const struct error *why_not_foreign; /* set: they are known nowhere, and why */
	bool cgroup_v2;                      /* the host has the unified hierarchy only */
	int cgroup_fd;                       /* limits; -1: none */
	bool shared_proc;                    /* no procfs of the step's own can be mounted */
	int proc_bind;                       /* then: a clone of ours; else -1 */
	int supervisor;                      /* socket to it in single-id mode; -1: none */

	int files_fd;   /* detached tmpfs with hosts, resolv.conf, secrets, an empty directory */
	int resolv_fd;  /* resolv.conf, written when the network is known */
	int root_mount; /* the overlay, detached */
	int root_fd;    /* its root directory */
	int sys_bind;   /* clone of the host's /sys where a new sysfs is refused; else -1 */
	int console;    /* clone of the pty slave; -1: none */
	int device_fds[STEP_N_DEVICES];
	/* spare.h: the mount namespace of the step stands already, with all of the system in it.
	 */
	bool ahead;
	int kit_fd;               /* there: a directory with proc, sys and dev */
	int own_ns, own_root;     /* the namespace, and "/" in it */
	int outer_ns, outer_root; /* the builder's, to which the process has come back */
	struct step_mount *mounts;
	size_t n_given_mounts;   /* spec.mounts beyond these are CDI's */
	const bool *cdi_devices; /* of those: which are device nodes */
	struct strv cdi_env;
	char *hosts_path, *resolv_path; /* link-free targets */
	struct sandbox_user user;
};

/* rootfs.c: layers, missing mount points. */
int step_scratch_dir(struct step *s, const char *name, struct error *err) must_check; /* new; fd */
int step_overlay(struct step *s, const int *lowers, size_t n, int upper, int work, bool read_only,
        struct error *err) must_check;
int step_build_rootfs(struct step *s, struct error *err) must_check;
/* ready_root.c: spec.ready_root_fd as the root. note: before the missing part of r is made. */
int ready_root_note(struct step *s, int root, const struct resolved *r) must_check; /* -errno */
/* resolve.c: where a path leads inside a root, made of existing and missing parts. */
struct resolved {
	char *path;      /* relative, free of links, no trailing slash; "" for the root */
	size_t existing; /* this many bytes of path exist (whole components) */
	uint32_t mode;   /* st_mode of the whole path where all of it exists; else 0 */
};
void resolved_release(struct resolved *r);
int resolve_in_root(int root, const char *target, struct resolved *ret) must_check; /* -errno */
/* resolve_make - create the missing part beneath root: directories 0755, the last one a directory
 * or an empty file. O_PATH descriptor of the whole path. */
int resolve_make(int root, const struct resolved *r, bool is_dir) must_check; /* -errno */
bool path_is_or_below(const char *path, const char *dir);

/* mounts.c: RUN --mount. */
int step_add_devices(struct step *s, struct error *err) must_check; /* --device, as mounts */
int step_prepare_mounts(struct step *s, struct error *err) must_check;
int step_attach_mounts(struct step *s, struct error *err) must_check;
/* system.c: /proc, /sys, /dev, masks, hosts and resolv.conf. prepare and attach do both halves
 * unless the first was done ahead; fixed: that half, which depends on nothing but the network. */
int step_prepare_fixed(struct step *s, struct error *err) must_check;
int step_prepare_system(struct step *s, struct error *err) must_check;
int step_attach_fixed(struct step *s, struct error *err) must_check;
int step_attach_system(struct step *s, struct error *err) must_check;
/* sys/owner.h's record of fd where owners cannot be applied, else fchown. -errno. */
int step_chown(const struct step *s, int fd, uint32_t uid, uint32_t gid) must_check;
/* credentials.c */
int step_set_limits(struct step *s, struct error *err) must_check;
int step_drop_rights(struct step *s, struct error *err) must_check;

/* init.c: fork; the parent becomes the step's init and never returns, the child does. */
void step_init(bool tty);

/* step_main - never returns. sock: the step's socket. */
noreturn_ void step_main(struct step *s, int sock);
/* step_prepare_ahead - all that can be done before the spec comes; s->spec.network is set. */
int step_prepare_ahead(struct step *s, struct error *err) must_check;
/* step_join_main - the same in the namespaces of a step that runs. */
noreturn_ void step_join_main(struct step *s, pid_t target, int sock);

#endif
