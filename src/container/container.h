/* container/container.h - containers: an image, an upper layer of their own, a configuration, and
 * while they run a process that is their supervisor.
 *
 * On disk a container is the folder containers/<id> of the store (docs/formats/store.md). There is
 * no daemon: who starts a container stays as its supervisor until it ends and holds its locks, so
 * that whatever happens to that process, the kernel ends the container's processes and releases the
 * locks, and the container is found `exited`. May use everything but cli. */
#ifndef STRAKE_CONTAINER_H
#define STRAKE_CONTAINER_H

#include "base/strv.h"
#include "codec/json.h"
#include "store/store.h"

/* --- what is asked for ------------------------------------------------------------------------ */

struct container_spec {
	const char *image;
	const char *name;    /* NULL: one is made up */
	struct strv command; /* empty: the image's */
	struct strv env;     /* "K=V"; bare names come from our environment */
	struct strv env_files;
	struct strv volumes; /* -v: "SRC:DST[:ro]", "NAME:DST", "/DST" */
	struct strv mounts;  /* --mount: "type=bind,source=...,target=..." */
	struct strv tmpfs;   /* "/DST[:size=64m,mode=1777]" */
	struct strv publish; /* -p */
	struct strv expose, labels, label_files, add_hosts, ulimits;
	const char *workdir, *user, *hostname, *network, *platform, *pull, *stop_signal;
	const char *entrypoint; /* NULL: the image's; "": none */
	bool tty, interactive, read_only, auto_remove, init, publish_all, privileged, quiet;
	uint64_t shm_size, memory;
	unsigned pids_limit, stop_timeout;
	const char *cpus;
	const volatile bool *interrupted;
};
void container_spec_release(struct container_spec *s);

/* container_create - finds the image (pulls it if it is not here), writes the folder; nothing is
 * unpacked or mounted. *ret_id: 64 hex digits, malloc'ed. */
int container_create(struct store *s, const struct container_spec *spec, char **ret_id,
        struct error *err) must_check;

/* --- what there is ---------------------------------------------------------------------------- */

enum container_status { CONTAINER_CREATED, CONTAINER_RUNNING, CONTAINER_EXITED };
const char *container_status_name(enum container_status s);

struct container {
	char *id, *name;
	int dirfd;
	json_t *config; /* as `inspect` shows it, without State */
	enum container_status status;
	int exit_code;
	bool oom_killed;
	char *error;   /* why it did not start; or NULL */
	json_t *ports; /* of a running one: "80/tcp" -> [{HostIp, HostPort}]; or NULL */
	int64_t created, started, finished; /* seconds; 0: never */
};
void container_free(struct container *c);
static inline void container_freep(struct container **c)
{
	container_free(*c);
}
/* container_find - by id, name or the unique beginning of an id. ERR_NOT_FOUND, ERR_USAGE. */
int container_find(
        struct store *s, const char *name, struct container **ret, struct error *err) must_check;
/* container_list - newest first. *ret: array of *ret_n to be freed by containers_free. */
int container_list(
        struct store *s, struct container ***ret, size_t *ret_n, struct error *err) must_check;
void containers_free(struct container **v, size_t n);
/* container_inspect - docker's JSON: the configuration with the state in it; new reference. */
json_t *container_inspect(const struct container *c) must_check;
/* container_image - the image's id. */
bool container_image(const struct container *c, struct digest *ret) must_check;
/* container_remove - not while it runs, unless force, which kills it. */
int container_remove(
        struct store *s, const char *name, bool force, char **ret_id, struct error *err) must_check;

/* --- running ---------------------------------------------------------------------------------- */

struct container_run_options {
	bool attach;      /* our stdout and stderr are the container's; else its log is */
	bool interactive; /* our stdin too */
	bool sig_proxy;   /* pass on the signals we get */
	/* Called when the command was executed; false from it is an error that ends the container.
	 */
	void (*started)(void *ctx);
	void *ctx;
	const volatile bool *interrupted;
};
/* container_start - be the supervisor until the container has ended. *ret_exit: the command's exit
 * code (128+n for a signal), also when -1 says that it could not be started (125, 126, 127). The
 * process must be single-threaded; afterwards the container may be gone (--rm). */
int container_start(struct store *s, const char *id, const struct container_run_options *o,
        int *ret_exit, struct error *err) must_check;

struct container_exec {
	struct strv command, env, env_files; /* env: "K=V" or "K", above the container's own */
	const char *user, *workdir;          /* NULL: the container's */
	bool tty, interactive, detach, privileged;
};
/* container_exec - one more command in a running container. *ret_exit as container_start. */
int container_exec(const struct container *c, const struct container_exec *x, int *ret_exit,
        struct error *err) must_check;

/* container_signal - to the command of a running container. */
int container_signal(const struct container *c, int sig, struct error *err) must_check;
/* container_wait - until it has ended (and, with --rm, is gone). timeout_ms < 0: for ever. 1 ended,
 * 0 timed out. */
int container_wait(
        const struct container *c, int timeout_ms, int *ret_exit, struct error *err) must_check;
/* container_stop - its stop signal, then after some seconds (< 0: the container's own time) KILL.
 */
int container_stop(const struct container *c, int seconds, struct error *err) must_check;
/* container_signal_number - "TERM", "SIGTERM", "15"; 0: no signal. */
int container_signal_number(const char *text);
/* container_log_fd - the log (docs/formats/store.md) to read; ERR_NOT_FOUND if it has none. */
int container_log_fd(const struct container *c, struct error *err) must_check;

/* --- volumes ---------------------------------------------------------------------------------- */

struct container_volume {
	char *name, *path;
	int64_t created;
	bool in_use; /* by a container, running or not */
};
/* container_volumes - the named ones, by name. */
int container_volumes(struct store *s, struct container_volume **ret, size_t *ret_n,
        struct error *err) must_check;
void container_volumes_free(struct container_volume *v, size_t n);
int container_volume_create(struct store *s, const char *name, struct error *err) must_check;
/* container_volume_remove - ERR_USAGE while a container names it, ERR_NOT_FOUND. */
int container_volume_remove(struct store *s, const char *name, struct error *err) must_check;

/* --- what it changed -------------------------------------------------------------------------- */

/* container_diff - every path that differs from the image, sorted: kind 'A' added, 'C' changed, 'D'
 * deleted. */
int container_diff(struct store *s, const char *name,
        void (*fn)(void *ctx, char kind, const char *path), void *ctx,
        struct error *err) must_check;
struct container_commit_options {
	const char *author, *message;
	const char *name; /* of the image, or NULL */
	bool pause;       /* stop its processes while its files are copied */
	struct strv changes;
};
/* container_commit - image and changes as a new image. Volumes are not in it. */
int container_commit(struct store *s, const char *name, const struct container_commit_options *o,
        struct digest *ret_id, struct error *err) must_check;
/* container_export - the whole file system, without volumes, as a tar. */
int container_export(struct store *s, const char *name, int fd, struct error *err) must_check;

/* --- copying ---------------------------------------------------------------------------------- */

struct container_copy_options {
	bool archive;     /* -a: keep owners */
	bool follow_link; /* -L */
};
/* container_copy_out - path of the container to a path of this machine; "-": a tar to stdout.
 * container_copy_in - the other way round; "-": a tar from stdin. By docker cp's rules. */
int container_copy_out(struct store *s, const char *name, const char *path, const char *dest,
        const struct container_copy_options *o, struct error *err) must_check;
int container_copy_in(struct store *s, const char *name, const char *source, const char *path,
        const struct container_copy_options *o, struct error *err) must_check;

#endif
