/* container/internal.h - what the files of this folder share. */
#ifndef STRAKE_CONTAINER_INTERNAL_H
#define STRAKE_CONTAINER_INTERNAL_H

#include <sys/stat.h>

#include "build/fuse_overlay.h"
#include "build/image_rootfs.h"
#include "build/terminal.h"
#include "container/container.h"
#include "oci/oci.h"
#include "sys/owner_table.h"
#include "tree/tree.h"

#define CONTAINER_JSON_MAX ((size_t)16 << 20) /* a command line of control characters, escaped */

/* --- state.c: the folder's files and locks ---------------------------------------------------- */

/* Two bytes of the file `lock`, held by OFD locks: USE by whoever mounts or removes the container,
 * RUN by its supervisor alone. Both die with their holder. */
enum container_lock { CONTAINER_LOCK_USE = 0, CONTAINER_LOCK_RUN = 1 };
/* container_lock_open - a descriptor to lock through; closing it unlocks. */
int container_lock_open(int dirfd, struct error *err) must_check;
/* container_lock_take - 1 taken, 0 held by another one (wait: never 0), -errno. */
int container_lock_take(int fd, enum container_lock which, bool wait) must_check;
bool container_lock_held(int fd, enum container_lock which);

struct container_state {
	enum container_status status;
	int exit_code;
	bool oom_killed;
	const char *error;
	int64_t started, finished;
	json_t *ports; /* borrowed; NULL: none */
};
/* container_state_write - replaced in one step. */
int container_state_write(
        int dirfd, const struct container_state *st, struct error *err) must_check;
int container_load(
        struct store *s, const char *id, struct container **ret, struct error *err) must_check;
char *container_display_name(const struct container *c);
/* container_check_name - grammar, and that no container has it. Under the folder's lock. */
int container_check_name(struct store *s, const char *name, struct error *err) must_check;
int64_t container_now(void);
char *container_time(int64_t sec);

/* --- config.c --------------------------------------------------------------------------------- */

/* container_config - the JSON of a new container (docker's inspect shape). */
json_t *container_config(const struct container_spec *spec, const char *id, const char *name,
        const struct store_image *si, const struct oci_image *im, const char *store_path,
        struct error *err) must_check;
json_t *container_host_config(const struct container *c);    /* borrowed */
json_t *container_process_config(const struct container *c); /* "Config"; borrowed */

/* container_add_env - "K=V", or "K" taken from our environment. container_each_line - of a file of
 * such lines, without comments; appended. */
void container_add_env(struct strv *env, const char *text);
int container_each_line(
        const char *flag, const char *path, struct strv *ret, struct error *err) must_check;

/* --- mount_spec.c ----------------------------------------------------------------------------- */

/* container_mounts - the array Mounts from -v, --mount, --tmpfs and the image's VOLUMEs. */
json_t *container_mounts(const struct container_spec *spec, const struct oci_image *im,
        const char *id, const char *store_path, struct error *err) must_check;

bool container_volume_name_valid(const char *s);

/* --- files.c: what a container has of its own, and its root ------------------------------------
 */

struct container_files {
	enum overlay_kind kind;
	int fd;     /* upper/, or root/ (OVERLAY_COPY) */
	int owners; /* after container_files_begin in single-id mode: the log `owners`; else -1 */
};
#define CONTAINER_FILES_NONE                                                                       \
	{                                                                                          \
		.fd = -1, .owners = -1                                                             \
	}
/* container_files_open - to look at, while it may run: made where there is nothing yet. */
int container_files_open(const struct container *c, const struct image_rootfs *r,
        struct container_files *ret, struct error *err) must_check;
/* container_files_begin - to be run or written to, under the lock USE: what a killed supervisor
 * left is put in order, and the kind is what works now. */
int container_files_begin(const struct container *c, const struct image_rootfs *r,
        struct container_files *ret, struct error *err) must_check;
void container_files_release(struct container_files *f);
/* container_files_are_plain - fd is as the kernel's overlay leaves an upper directory. */
bool container_files_are_plain(const struct container *c, const struct container_files *f);
/* container_files_settle - once nobody uses them any more: as if the kernel's overlay had. */
int container_files_settle(const struct container *c, const struct image_rootfs *r,
        const struct container_files *f, struct error *err) must_check;
/* container_made_open - for sandbox_spec.made_fd. */
int container_made_open(const struct container *c, struct error *err) must_check;
/* container_owners_load - owners by inode of what cannot hold them itself, as the merged root and
 * the upper directory number it. r NULL: it runs. */
int container_owners_load(const struct container *c, const struct image_rootfs *r,
        const struct container_files *f, struct owner_table *ret, struct error *err) must_check;

/* The whole root, mounted. */
struct container_mount {
	int fd;
	bool attached; /* it stands in our mount tree */
	int log;       /* owners of files that were copied for it; -1: none */
	struct fuse_overlay fuse;
};
#define CONTAINER_MOUNT_NONE                                                                       \
	{                                                                                          \
		.fd = -1, .log = -1, .fuse = FUSE_OVERLAY_NONE                                     \
	}
/* container_files_mount - write: f comes from container_files_begin. */
int container_files_mount(const struct container *c, const struct image_rootfs *r,
        const struct container_files *f, bool write, struct container_mount *ret,
        struct error *err) must_check;
/* container_image_mount - the image alone, read-only; of a copied root what became of it. */
int container_image_mount(const struct image_rootfs *r, const struct container_files *f,
        struct container_mount *ret, struct error *err) must_check;
void container_mount_release(struct container_mount *m);

/* What the container changed, copied into the directory `tree` of the staging directory `name`: an
 * upper directory of overlayfs' form, and its tree. pause: while they are copied it does not run.
 */
struct container_changes {
	char *name;
	int fd;
	struct tree tree;
};
#define CONTAINER_CHANGES_NONE                                                                     \
	{                                                                                          \
		.name = NULL, .fd = -1                                                             \
	}
int container_changes(const struct container *c, const struct image_rootfs *r,
        const struct container_files *f, bool pause, struct container_changes *ret,
        struct error *err) must_check;
void container_changes_release(struct container_changes *x);

/* --- root.c: the file system of a container that does not run ----------------------------------
 */

struct container_root {
	int fd;                      /* its root directory: look up with sys_open_in_root */
	struct image_rootfs *rootfs; /* NULL: it runs, fd leads into its own mounts */
	bool single_id;
	struct owner_table owners; /* single-id mode */
	int owner_log;             /* where owners go of what is made; -1: none */
	struct container_mount mount;
	struct container_files files;
	int lock;
};
#define CONTAINER_ROOT_NONE                                                                        \
	{                                                                                          \
		.fd = -1, .owner_log = -1, .mount = CONTAINER_MOUNT_NONE,                          \
		.files = CONTAINER_FILES_NONE, .lock = -1                                          \
	}
/* container_root_open - mounts it (read-only unless write), with its volumes, or, while it runs,
 * gets the root from its supervisor. */
int container_root_open(struct store *s, struct container *c, bool write,
        struct container_root *ret, struct error *err) must_check;
/* container_root_snapshot - the same read-only and without volumes, also while it runs. */
int container_root_snapshot(struct store *s, struct container *c, struct container_root *ret,
        struct error *err) must_check;
void container_root_release(const struct container *c, struct container_root *r);

/* --- volume.c --------------------------------------------------------------------------------- */

/* container_volume_open - the data directory of an entry of Mounts with Type volume, made and
 * filled from the image at its first use. */
int container_volume_open(struct store *s, const struct container *c, const struct image_rootfs *r,
        const struct container_files *f, const json_t *mount, struct error *err) must_check;

/* --- output.c: a stream of the container into its log ------------------------------------------
 */

struct log_stream {
	int fd;           /* of the log */
	const char *name; /* "stdout" */
	struct strbuf line;
};
void log_stream_add(struct log_stream *l, const char *p, size_t n);
void log_stream_flush(struct log_stream *l);
void log_stream_release(struct log_stream *l);

/* --- control.c: asking a running container's supervisor ----------------------------------------
 */

enum control_op {
	CONTROL_KILL = 1,
	CONTROL_WAIT,
	CONTROL_ROOT,
	CONTROL_EXEC,
	CONTROL_PAUSE, /* as long as the connection lasts */
};
struct control_request {
	uint32_t op;
	int32_t arg; /* KILL: the signal; EXEC: 1 a terminal */
};
struct control_reply {
	int32_t status;  /* 0, or -errno; WAIT, EXEC: the exit code */
	char text[1000]; /* EXEC: why it did not run, and after a NUL what to do; or "" */
};
#define CONTROL_FDS 4 /* EXEC: the command as JSON in a memfd, stdin, stdout, stderr */
struct control {      /* the supervisor's side */
	int listen_fd;
	int root_fd;            /* of the container; -1: not there yet */
	int *clients, *waiters; /* connections */
	int *pausers;           /* of the clients: for whom it is paused */
	size_t n_clients, cap_clients, n_waiters, cap_waiters, n_pausers, cap_pausers;
};
struct control_event {
	int signal;  /* to be sent to the command; 0: none */
	int exec;    /* a client that wants a command run: its connection; -1: none */
	int pause;   /* a client that wants the container paused; -1: none */
	bool resume; /* the last of these is gone */
	bool tty;
	int fds[CONTROL_FDS];
};
int control_listen(int dirfd, struct control *ret, struct error *err) must_check;
/* control_release - the file is left: it is removed while the container's lock is held, or it may
 * be the next supervisor's. */
void control_release(struct control *c);
/* control_serve - descriptors to poll: listen_fd and the clients; after a poll say which is
 * readable. */
void control_serve(struct control *c, int fd, struct control_event *ret);
void control_answer(int client, int status, const struct error *err);
/* control_paused - the answer to a pause: 0, or why it was not. */
void control_paused(struct control *c, int client, const struct error *err);
void control_finish(struct control *c, int exit_code); /* answers who waits */
/* control_ask - 0, or -errno: -ECONNREFUSED or -ENOENT: nobody is there. The connection (for WAIT,
 * EXEC and PAUSE) or the descriptor that came back (ROOT) in *ret_fd. */
int control_ask(int dirfd, enum control_op op, int arg, const int *fds, size_t n_fds,
        int *ret_fd) must_check;

/* control_hold - the container paused until the returned connection is closed; -1: it does not run.
 * -2: it cannot be paused. */
int control_hold(const struct container *c, struct error *err) must_check;
/* control_pid - of the supervisor; 0: there is none. */
pid_t control_pid(int dirfd);

/* --- copy.c: trees between directories, both reached by descriptor only ------------------------
 */

struct copy_options {
	bool keep_owner;   /* else uid:gid */
	uint32_t uid, gid; /* of what is made */
	bool keep_special; /* set-id bits, file capabilities, device nodes */
	bool recorded;     /* single-id mode: owners are in an attribute (sys/owner.h) */
	bool keep_overlay; /* what overlayfs left in an upper directory: opaque marks */
	/* With `recorded`, of links, pipes and devices: whose the source's are, by inode (or NULL),
	 * and a log for those that are made (0 or less: none). */
	const struct owner_table *owners;
	int owner_log;
	/* Files that are as this view has them become further names of the source's inodes, which
	 * are listed in `shared`; or NULL. */
	const struct treeview *same_as;
	struct owner_table *shared;
};
/* copy_tree - srcdir/name (no link followed) becomes dstdir/as; a directory is merged into one that
 * is there, whose own owner and mode stay. contents: only what is below name, into the directory
 * dstdir/as, which is there. */
int copy_tree(int srcdir, const char *name, int dstdir, const char *as, bool contents,
        const struct copy_options *o, struct error *err) must_check;
/* copy_describe - what dir/name is, no link followed, with the owner on record if o says so;
 * strings in the arena. */
struct arena;
int copy_describe(int dir, const char *name, const struct copy_options *o, struct arena *a,
        struct stat *ret_st, struct tree_entry *ret, struct error *err) must_check;
/* copy_put - dir/name becomes e, whatever is there; only a directory is never replaced, nor
 * replaces anything but a directory. Files appear whole: `content` writes to a file that is then
 * renamed. */
struct copy_content {
	int (*write)(void *ctx, int fd, struct error *err);
	void *ctx;
};
int copy_put(int dir, const char *name, const struct tree_entry *e, const struct copy_content *c,
        const struct copy_options *o, struct error *err) must_check;
/* copy_finish_dir - owner, mode and time of a directory that copy_put made. */
int copy_finish_dir(int dir, const char *name, const struct tree_entry *e,
        const struct copy_options *o, struct error *err) must_check;

/* --- tar.c ------------------------------------------------------------------------------------ */

/* tar_from_tree - srcdir/name as `as` (contents: what is below it) to a descriptor. */
int tar_from_tree(int srcdir, const char *name, const char *as, bool contents,
        const struct copy_options *o, int fd, struct error *err) must_check;
/* tar_into_root - a tar from fd below the directory `path` of root; names are resolved in root. */
int tar_into_root(int root, const char *path, const struct copy_options *o, int fd,
        struct error *err) must_check;

#endif
