/* sandbox/sandbox.h - RUN: one helper process, one overlay mount, no way out.
 *
 * The first step of a context starts our own binary in helper mode (argv[0] "strake-sandbox"; main
 * calls sandbox_helper_main first thing): the keeper, a small single-threaded process that forks a
 * step for each sandbox_start() and dies with the builder, taking all steps along (pid namespace).
 * The caller has entered its privileges (sys/privilege.h) before. docs/sandbox.md says what the
 * process of a step gets.
 *
 * Mount points that the rootfs lacks are provided by an extra "stub" layer above the given layers,
 * so that nothing of them ever reaches the upper directory. The upper directory is empty at the
 * start, or upper_used says that it is not. Up to 997 layers (Linux 6.15; 499 before). The overlay
 * is mounted `volatile`: whoever publishes the upper directory syncs it. A work directory serves
 * one step only. */
#ifndef STRAKE_SANDBOX_SANDBOX_H
#define STRAKE_SANDBOX_SANDBOX_H

#include "base/error.h"
#include "base/strv.h"

enum sandbox_network { SANDBOX_NET_PRIVATE, SANDBOX_NET_HOST, SANDBOX_NET_NONE };

enum sandbox_mount_type {
	SANDBOX_MOUNT_BIND, /* source_fd (a directory or file), optional sub path inside it */
	SANDBOX_MOUNT_ROOTFS_BIND, /* layers of another rootfs: read-only overlay, or rw with
	                              throw-away upper */
	SANDBOX_MOUNT_TMPFS,
	SANDBOX_MOUNT_FILE,   /* a small file with given bytes: secret, heredoc script */
	SANDBOX_MOUNT_SOCKET, /* ssh agent: a proxy of the socket behind source_fd */
};
struct sandbox_mount {
	enum sandbox_mount_type type;
	const char *target; /* absolute in the rootfs */
	int source_fd;      /* BIND, SOCKET: O_PATH descriptor */
	const char *source; /* sub path, resolved IN_ROOT of source_fd or of the merged layers */
	const int
	        *layer_fds; /* ROOTFS_BIND, lowest first; writable without read_only: thrown away */
	size_t n_layers;
	bool read_only;
	bool discard_writes; /* rw bind whose writes are thrown away (overlay over source) */
	uint64_t tmpfs_size; /* 0: default */
	const void *data;    /* FILE */
	size_t data_len;
	uint32_t mode, uid, gid; /* FILE, SOCKET; TMPFS: mode, 0 for 1777 */
};

struct sandbox_spec {
	/* root file system */
	const int *layer_fds; /* lowest first; may be empty (scratch) */
	size_t n_layers;
	int upper_fd, work_fd; /* directories of one file system; upper_fd < 0: read-only rootfs */
	bool upper_used; /* a container's: not empty, so mount points are looked for in it too */
	bool read_only_rootfs;
	/* A root that is ready, instead of layers and upper directory: where no overlay can be
	 * mounted. Missing mount points are made in it and noted in the file made_fd; once the step
	 * is over the caller takes them away by sandbox_unmake(). */
	bool has_ready_root;
	int ready_root_fd, made_fd;
	/* process */
	const struct strv *argv,
	        *env;             /* env as the image has it; PATH and HOME are filled in here */
	const char *cwd;          /* made (0755, root) if it is missing; "" = "/" */
	const char *user;         /* "", "name", "uid", "name:group", "uid:gid" */
	const char *hostname;     /* NULL: "buildkitsandbox" */
	int stdin_fd;             /* -1: /dev/null */
	int stdout_fd, stderr_fd; /* the process writes here directly (pipes or files) */
	bool tty;      /* run -t: stdin_fd is the pty slave, made the controlling terminal */
	bool insecure; /* --security=insecure: no seccomp, all capabilities, no masks */
	enum sandbox_network network;
	const struct strv *extra_hosts; /* "name:ip" or "name=ip"; may be NULL */
	uint64_t shm_size;              /* 0: 64 MiB */
	const struct strv *ulimits;     /* "nofile=1024:2048"; may be NULL */
	const struct strv *devices;     /* CDI names; may be NULL */
	const struct sandbox_mount *mounts;
	size_t n_mounts;
	uint64_t memory_max, pids_max; /* cgroup v2 where delegated; 0: no limit */
	double cpus;                   /* from 0.001 */
	/* OCI's name of the architecture the image's programs are for; NULL: the machine's. Foreign
	 * ones run through qemu-user (emulator.h). */
	const char *arch;
	/* The user namespace has one id: owners are recorded by a supervisor (docs/sandbox.md) and
	 * given back to stat. owners_fd: the log of sys/owner_table.h for what no attribute can
	 * hold, seeded by the caller; used with single_id only. */
	bool single_id;
	int owners_fd;
	/* containers */
	bool bind_writable_hosts;
	bool init; /* pid 1 is a small init that passes signals on and reaps */
	/* `exec`: the process enters the namespaces of this running one of the same context; layers
	 * and mounts are not looked at. 0: new ones. */
	uint32_t join;
	/* Another step of the same network is expected: a process is prepared for it meanwhile. */
	bool more;
	/* A SEQPACKET socket; 0: none. It gets one message with an O_PATH descriptor of the root
	 * once everything is mounted, and ends (end of file) when the command was executed or
	 * nothing was. */
	int notify_fd;
};

struct sandbox_context; /* per build: network namespace, seccomp program, scratch tmpfs */
/* sandbox_context_new - staging_fd: a directory on the layers' file system for stubs and scratch,
 * which its owner removes with all that is in it.
 * Nothing costly happens before the first step that needs it. */
struct sandbox_context *sandbox_context_new(int staging_fd);
/* sandbox_context_publish - before the first step: ports of this machine that lead into the private
 * network, "tcp|udp ADDRESS HOSTPORT PORT" each, ADDRESS "" for all. One that is taken is an error
 * of the step. */
void sandbox_context_publish(struct sandbox_context *c, const struct strv *ports);
void sandbox_context_free(struct sandbox_context *c); /* kills what still runs; NULL is fine */
/* sandbox_context_retire - no step runs and none is expected: keeper and network programs end in
 * the background. A step that comes nevertheless starts others. NULL is fine. */
void sandbox_context_retire(struct sandbox_context *c);
/* sandbox_context_warm - optional: starts the keeper and the private network ahead of the first
 * step, in the background. Network failures show in the step that needs it. */
int sandbox_context_warm(struct sandbox_context *c, struct error *err) must_check;
static inline void sandbox_context_freep(struct sandbox_context **c)
{
	sandbox_context_free(*c);
}

struct sandbox_process {
	int pidfd;     /* to poll: readable when all is over, the step's pid namespace is dead */
	int status_fd; /* private */
	/* after sandbox_wait, of a step with limits */
	bool oom_killed;
	uint64_t memory_peak; /* bytes; 0: unknown */
	struct sandbox_context *context;
	uint32_t id;
};
/* sandbox_start - thread-safe. The spec and its descriptors may go once it returns. */
int sandbox_start(struct sandbox_context *c, const struct sandbox_spec *spec,
        struct sandbox_process *ret, struct error *err) must_check;
/* sandbox_wait - blocks, then releases p. *ret_exit is the exit code (128+n for a signal). -1: the
 * process never ran: mount refused, user unknown, bad cwd, or the command was not found or not
 * executable (*ret_exit is then 127 or 126); ERR_BUILD where the Dockerfile or image is to blame.
 */
int sandbox_wait(struct sandbox_process *p, int *ret_exit, struct error *err) must_check;
void sandbox_kill(struct sandbox_process *p, int sig); /* SIGKILL: the whole pid namespace dies */
/* sandbox_pause - all of the pid namespace is stopped when it returns, until sandbox_resume. -1: it
 * goes on. */
int sandbox_pause(struct sandbox_process *p, struct error *err) must_check;
void sandbox_resume(struct sandbox_process *p);

/* sandbox_unmake - what a step with a ready root made as mount points, if it is still empty; its
 * directories get their time back if nothing else changed them. */
int sandbox_unmake(int root_fd, int made_fd, struct error *err) must_check;

/* sandbox_helper_main - called by main() before anything else when argv[0] says so; never returns
 * to the caller's flow: returns the exit code. */
int sandbox_helper_main(int argc, char **argv);
#define SANDBOX_HELPER_ARGV0 "strake-sandbox"

#endif
