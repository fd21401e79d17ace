/* container/run.c - the supervisor: starts a container's command and stays until it has ended.
 *
 * Order of the end: the state is written, with --rm the folder goes, the locks are released, and
 * only then those who wait are answered: who has waited finds what it expects. */
#include "container/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/vfs.h>

#include "base/log.h"
#include "sandbox/sandbox.h"
#include "sandbox/wire.h"
#include "sys/path.h"

#define POLL_EACH 64           /* clients, and commands of exec, looked at in a round */
#define OUTPUT_MAX (64u << 10) /* bytes that wait for a reader of ours that does not */

/* A command of `exec` in the container, and who waits for its end. */
struct exec {
	struct sandbox_process proc;
	int client;
};

struct run {
	struct store *s;
	const struct container_run_options *o;
	struct container *c;
	struct image_rootfs *rootfs;
	int lock;
	bool locked;
	struct container_files files;
	struct container_mount mount; /* a root that is no overlay of the kernel's */
	struct control control;
	struct sandbox_process proc;
	int notify; /* end of file: the command was executed */
	bool started;
	int64_t started_at;
	struct terminal *term;
	int log_fd, pipes[2]; /* our ends of stdout and stderr; -1 */
	int stdin_keep;       /* write end of a standard input that nobody writes to */
	struct log_stream log[2];
	struct strbuf out[2]; /* for our own stdout and stderr, not yet taken */
	struct sandbox_mount *mounts;
	int *mount_fds;
	size_t n_mounts;
	struct strv argv, env, hosts, ulimits;
	json_t *ports; /* published: docker's NetworkSettings.Ports */
	struct exec *execs;
	size_t n_execs, cap_execs;
	int interrupts; /* how often we were asked to end */
};

/* --- signals --------------------------------------------------------------------------------- */

static const int passed_on[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
static int signal_pipe[2] = {-1, -1};
static struct sigaction signals_before[ARRAY_SIZE(passed_on)];

static void on_signal(int sig)
{
	int saved = errno;
	unsigned char c = (unsigned char)sig;
	(void)!write(signal_pipe[1], &c, 1);
	errno = saved;
}

static int signals_begin(struct error *err)
{
	if (pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_sys(err, errno, "pipe");
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	for (size_t i = 0; i < ARRAY_SIZE(passed_on); i++)
		sigaction(passed_on[i], &sa, &signals_before[i]);
	return 0;
}

static void signals_end(void)
{
	if (signal_pipe[0] < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(passed_on); i++)
		sigaction(passed_on[i], &signals_before[i], NULL);
	close_ptr(&signal_pipe[0]);
	close_ptr(&signal_pipe[1]);
}

static void pass_signals(struct run *r)
{
	unsigned char c;
	while (read(signal_pipe[0], &c, 1) == 1) {
		if (c == SIGWINCH) {
			if (r->term && r->o->attach)
				terminal_resize(r->term);
			continue;
		}
		/* A command that ignores it, as pid 1 does by default, must not hold its user. */
		if ((c == SIGINT || c == SIGTERM) && ++r->interrupts >= 3)
			sandbox_kill(&r->proc, SIGKILL);
		else if (r->o->sig_proxy)
			sandbox_kill(&r->proc, c);
	}
}

/* --- what it gets ---------------------------------------------------------------------------- */

static int open_mount(
        struct run *r, const json_t *m, struct sandbox_mount *ret, int *ret_fd, struct error *err)
{
	const char *type = str_or_empty(json_get_str(m, "Type"));
	const char *source = str_or_empty(json_get_str(m, "Source"));
	*ret = (struct sandbox_mount){.target = json_get_str(m, "Destination"),
	        .source_fd = -1,
	        .read_only = !json_get_bool(m, "RW", true)};
	if (str_eq(type, "tmpfs")) {
		ret->type = SANDBOX_MOUNT_TMPFS;
		ret->tmpfs_size = (uint64_t)json_get_int(m, "TmpfsSize", 0);
		ret->mode = (uint32_t)json_get_int(m, "TmpfsMode", 0);
		return 0;
	}
	ret->type = SANDBOX_MOUNT_BIND;
	if (str_eq(type, "volume"))
		*ret_fd = container_volume_open(r->s, r->c, r->rootfs, &r->files, m, err);
	else /* trusted-path: -v of the command line that made the container */
		*ret_fd = open(source, O_PATH | O_CLOEXEC);
	if (*ret_fd < 0 && !error_is_set(err))
		(void)err_sys(err, errno, "the source %s of the mount on %s", source, ret->target);
	ret->source_fd = *ret_fd;
	return *ret_fd < 0 ? -1 : 0;
}

static int open_mounts(struct run *r, struct error *err)
{
	json_t *all = json_get_array(r->c->config, "Mounts"), *m;
	size_t n = json_array_size(all), i;
	r->mounts = new0(struct sandbox_mount, n + 1);
	r->mount_fds = new0(int, n + 1);
	json_array_foreach(all, i, m)
	{
		r->mount_fds[i] = -1;
		r->n_mounts = i + 1;
		if (open_mount(r, m, &r->mounts[i], &r->mount_fds[i], err) < 0)
			return -1;
	}
	return 0;
}

static void take_command(struct run *r)
{
	const json_t *config = container_process_config(r->c);
	const json_t *host = container_host_config(r->c);
	(void)json_get_strv(config, "Entrypoint", &r->argv);
	(void)json_get_strv(config, "Cmd", &r->argv);
	(void)json_get_strv(config, "Env", &r->env);
	(void)json_get_strv(host, "ExtraHosts", &r->hosts);
	(void)json_get_strv(host, "Ulimits", &r->ulimits);
}

/* free_port - one that nobody listens on now. */
static unsigned free_port(bool udp)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	socklen_t n = sizeof(a);
	_cleanup_close_ int s = socket(AF_INET, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
	if (s < 0 || bind(s, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	        getsockname(s, (struct sockaddr *)&a, &n) < 0)
		return 0;
	return ntohs(a.sin_port);
}

/* publish - what -p asks for; ports that were left to us are chosen now. With the host's network
 * and with none there is nothing to publish. */
static int publish(struct run *r, struct error *err)
{
	const json_t *host = container_host_config(r->c);
	_cleanup_strv_ struct strv ports = STRV_INIT;
	const char *key;
	json_t *list, *one;
	size_t i;
	if (!str_eq(str_or_empty(json_get_str(host, "NetworkMode")), "default"))
		return 0;
	r->ports = json_deep_copy(json_get_obj(host, "PortBindings"));
	json_object_foreach(r->ports, key, list)
	{
		bool udp = str_ends(key, "/udp");
		json_array_foreach(list, i, one)
		{
			const char *ip = str_or_empty(json_get_str(one, "HostIp"));
			unsigned port = (unsigned)atoi(str_or_empty(json_get_str(one, "HostPort")));
			port = port ? port : free_port(udp);
			if (!port)
				return err_sys(err, errno, "cannot find a free port for %s", key);
			_cleanup_free_ char *text = xasprintf("%u", port);
			json_object_set_new(one, "HostPort", json_string(text));
			strv_addf(&ports, "%s %s %u %d", udp ? "udp" : "tcp", *ip ? ip : "*", port,
			        atoi(key));
		}
	}
	sandbox_context_publish(r->rootfs->sandbox, &ports);
	return 0;
}

static enum sandbox_network network_of(const json_t *host)
{
	const char *mode = str_or_empty(json_get_str(host, "NetworkMode"));
	return str_eq(mode, "host")   ? SANDBOX_NET_HOST
	       : str_eq(mode, "none") ? SANDBOX_NET_NONE
	                              : SANDBOX_NET_PRIVATE;
}

static int open_log(struct run *r, struct error *err)
{
	r->log_fd = openat(
	        r->c->dirfd, "log", O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (r->log_fd < 0)
		return err_sys(err, errno, "cannot open the container's log");
	for (int i = 0; i < 2; i++)
		r->log[i] = (struct log_stream){
		        .fd = r->log_fd, .name = i ? "stderr" : "stdout", .line = STRBUF_INIT};
	return 0;
}

/* wants_pipes - an ordinary user cannot open a file or terminal of ours by the name /dev/stderr, as
 * web servers do; a pipe of its own it can. */
static bool wants_pipes(const char *user)
{
	struct statfs out, err;
	bool root = !*user || str_eq(user, "0") || str_eq(user, "root") || str_starts(user, "0:") ||
	            str_starts(user, "root:");
	return !root && (fstatfs(STDOUT_FILENO, &out) < 0 || out.f_type != PIPEFS_MAGIC ||
	                        fstatfs(STDERR_FILENO, &err) < 0 || err.f_type != PIPEFS_MAGIC);
}

static int open_pipes(struct run *r, int ends[2], struct error *err)
{
	for (int i = 0; i < 2; i++) {
		int p[2];
		if (pipe2(p, O_CLOEXEC) < 0)
			return err_sys(err, errno, "pipe");
		r->pipes[i] = p[0];
		ends[i] = p[1];
	}
	return 0;
}

struct stdio {
	int in, out, err;
	int close[4]; /* ours no more once the command has them */
};

static int open_stdio(struct run *r, struct stdio *io, struct error *err)
{
	const json_t *config = container_process_config(r->c);
	bool tty = json_get_bool(config, "Tty", false);
	bool open_stdin = json_get_bool(config, "OpenStdin", false);
	*io = (struct stdio){-1, STDOUT_FILENO, STDERR_FILENO, {-1, -1, -1, -1}};
	if (tty && terminal_open(-1, r->o->attach, r->o->interactive, &r->term, err) < 0)
		return -1;
	/* What nobody can ask for afterwards goes the straight way. */
	bool logged =
	        !r->o->attach || !json_get_bool(container_host_config(r->c), "AutoRemove", false);
	bool relayed = logged || (!r->rootfs->single_id &&
	                                 wants_pipes(str_or_empty(json_get_str(config, "User"))));
	if (logged && open_log(r, err) < 0)
		return -1;
	if (relayed && !tty) {
		if (open_pipes(r, io->close, err) < 0)
			return -1;
		io->out = io->close[0];
		io->err = io->close[1];
	}
	if (tty) {
		io->in = io->out = io->err = terminal_slave(r->term);
	} else if (r->o->attach && r->o->interactive) {
		io->in = STDIN_FILENO;
	} else if (open_stdin) {
		int p[2];
		if (pipe2(p, O_CLOEXEC) < 0)
			return err_sys(err, errno, "pipe");
		io->in = io->close[2] = p[0];
		r->stdin_keep = p[1];
	}
	return 0;
}

/* The descriptors of a root, for the spec. */
struct root {
	int *lowers;
	size_t n;
	int work, made;
	char *work_name;
};

static void root_release(struct root *x)
{
	free(x->lowers);
	free(x->work_name);
	close_ptr(&x->work);
	close_ptr(&x->made);
}

/* open_root - an overlay that the step mounts, or a root that is ready. */
static int open_root(
        struct run *r, bool read_only, struct root *x, struct sandbox_spec *spec, struct error *err)
{
	const struct container_files *f = &r->files;
	spec->read_only_rootfs = read_only;
	spec->upper_used = true;
	spec->single_id = r->rootfs->single_id;
	spec->owners_fd = f->owners;
	if (f->kind != OVERLAY_KERNEL) {
		if (container_files_mount(r->c, r->rootfs, f, true, &r->mount, err) < 0)
			return -1;
		x->made = container_made_open(r->c, err);
		spec->has_ready_root = true;
		spec->ready_root_fd = f->kind == OVERLAY_COPY ? f->fd : r->mount.fd;
		spec->made_fd = x->made;
		/* For the supervisor, to tell inodes by. */
		spec->upper_fd = spec->work_fd = f->fd;
		return x->made < 0 ? -1 : 0;
	}
	if (store_staging_dir(r->rootfs->lease, &x->work_name, &x->work, err) < 0)
		return -1;
	x->n = r->rootfs->n_lowers;
	x->lowers = new0(int, x->n + 1);
	memcpy(x->lowers, r->rootfs->lowers, x->n * sizeof(int));
	if (read_only)
		x->lowers[x->n++] = f->fd;
	spec->layer_fds = x->lowers;
	spec->n_layers = x->n;
	spec->upper_fd = read_only ? -1 : f->fd;
	spec->work_fd = read_only ? -1 : x->work;
	return 0;
}

static int start_command(struct run *r, struct error *err)
{
	const json_t *config = container_process_config(r->c);
	const json_t *host = container_host_config(r->c);
	_cleanup_(root_release) struct root root = {.work = -1, .made = -1};
	_cleanup_close_ int ours = -1, theirs = -1;
	struct stdio io;
	int sv[2];
	if (container_files_begin(r->c, r->rootfs, &r->files, err) < 0 || open_mounts(r, err) < 0 ||
	        publish(r, err) < 0)
		return -1;
	take_command(r);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return err_sys(err, errno, "cannot make a socket pair");
	ours = sv[0];
	theirs = sv[1];
	struct sandbox_spec spec = {.argv = &r->argv,
	        .env = &r->env,
	        .cwd = str_or_empty(json_get_str(config, "WorkingDir")),
	        .user = str_or_empty(json_get_str(config, "User")),
	        .hostname = json_get_str(config, "Hostname"),
	        .insecure = json_get_bool(host, "Privileged", false),
	        .network = network_of(host),
	        .extra_hosts = &r->hosts,
	        .ulimits = &r->ulimits,
	        .shm_size = (uint64_t)json_get_int(host, "ShmSize", 0),
	        .memory_max = (uint64_t)json_get_int(host, "Memory", 0),
	        .pids_max = (uint64_t)json_get_int(host, "PidsLimit", 0),
	        .cpus = (double)json_get_int(host, "NanoCpus", 0) / 1e9,
	        .mounts = r->mounts,
	        .n_mounts = r->n_mounts,
	        .arch = json_get_str(json_get_obj(r->c->config, "Strake"), "Arch"),
	        .bind_writable_hosts = true,
	        .init = json_get_bool(host, "Init", false),
	        .notify_fd = theirs};
	int rc = open_root(r, json_get_bool(host, "ReadonlyRootfs", false), &root, &spec, err);
	if (rc < 0)
		return -1;
	rc = open_stdio(r, &io, err);
	spec.stdin_fd = io.in;
	spec.stdout_fd = io.out;
	spec.stderr_fd = io.err;
	spec.tty = r->term != NULL;
	if (rc >= 0)
		rc = sandbox_start(r->rootfs->sandbox, &spec, &r->proc, err);
	for (size_t i = 0; i < ARRAY_SIZE(io.close); i++)
		close_ptr(&io.close[i]);
	if (r->term)
		terminal_close_slave(r->term);
	if (rc >= 0)
		r->notify = take_fd(&ours);
	return rc;
}

/* --- until it ends --------------------------------------------------------------------------- */

static void take_output(struct run *r, int i, const char *p, size_t n)
{
	if (r->log_fd >= 0)
		log_stream_add(&r->log[i], p, n);
	if (r->o->attach)
		strbuf_add(&r->out[i], p, n);
}

/* show - what its reader takes now: whoever stops reading stops the program, not us, who must hear
 * `strake stop`. A reader that is gone is a broken pipe to the program too. */
static void show(struct run *r, int i)
{
	/* So much a pipe takes at once that poll calls writable. */
	size_t want = MIN(r->out[i].len, (size_t)PIPE_BUF);
	ssize_t n = write(i ? STDERR_FILENO : STDOUT_FILENO, r->out[i].buf, want);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		if (errno != EPIPE)
			log_write("cannot write to standard %s: %s", i ? "error" : "output",
			        strerror(errno));
		close_ptr(&r->pipes[i]);
		n = (ssize_t)r->out[i].len;
	}
	memmove(r->out[i].buf, r->out[i].buf + n, r->out[i].len - (size_t)n);
	strbuf_truncate(&r->out[i], r->out[i].len - (size_t)n);
}

/* show_rest - it has ended. */
static void show_rest(struct run *r)
{
	for (int i = 0; i < 2; i++)
		while (r->out[i].len && !(r->o->interrupted && *r->o->interrupted)) {
			struct pollfd p = {i ? STDERR_FILENO : STDOUT_FILENO, POLLOUT, 0};
			if (poll(&p, 1, -1) > 0)
				show(r, i);
		}
}

/* from_terminal - false at its end. */
static bool from_terminal(struct run *r)
{
	char buf[16 << 10];
	ssize_t n = read(terminal_master(r->term), buf, sizeof(buf));
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0)
		return false;
	take_output(r, 0, buf, (size_t)n);
	return true;
}

/* from_keyboard - false at its end, of which the program hears as of a typed ^D. */
static bool from_keyboard(struct run *r)
{
	ssize_t n = terminal_take_keys(r->term);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0)
		terminal_add_key(r->term, 4);
	return n > 0;
}

static bool from_pipe(struct run *r, int i)
{
	char buf[16 << 10];
	ssize_t n = read(r->pipes[i], buf, sizeof(buf));
	if (n > 0)
		take_output(r, i, buf, (size_t)n);
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

/* note_running - once before the command is executed, so that one which prints before we have heard
 * of its start is found exited, not created, should we be killed in between; once after. */
static void note_running(struct run *r)
{
	_cleanup_error_ struct error ignored = ERROR_INIT;
	struct container_state st = {
	        .status = CONTAINER_RUNNING, .started = container_now(), .ports = r->ports};
	r->started_at = st.started;
	if (container_state_write(r->c->dirfd, &st, &ignored) < 0)
		log_write("%s", ignored.msg);
}

static void say_started(struct run *r)
{
	if (r->started)
		return;
	r->started = true;
	note_running(r);
	if (r->o->started)
		r->o->started(r->o->ctx);
}

/* from_notify - the root's descriptor, then the end of file. An end while a report waits may be a
 * command that could not be executed: sandbox_wait will say. */
static void from_notify(struct run *r)
{
	char c;
	int fd = -1;
	int got = wire_recv(r->notify, &c, 1, &fd, 1);
	if (got > 0 && fd >= 0) {
		close_ptr(&r->control.root_fd);
		r->control.root_fd = fd;
		return;
	}
	close_ptr(&fd);
	if (got == -EAGAIN)
		return;
	close_ptr(&r->notify);
	struct pollfd p = {r->proc.pidfd, POLLIN, 0};
	if (poll(&p, 1, 0) == 0)
		say_started(r);
}

/* exec_command - from the JSON that the client wrote: {argv, env, cwd, user, insecure}. */
static int exec_command(struct run *r, const struct control_event *ev, struct sandbox_process *ret,
        struct error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t n;
	_cleanup_strv_ struct strv argv = STRV_INIT, env = STRV_INIT;
	const json_t *host = container_host_config(r->c);
	if (lseek(ev->fds[0], 0, SEEK_SET) < 0)
		return err_sys(err, errno, "reading the command");
	int e = sys_read_fd(ev->fds[0], CONTAINER_JSON_MAX, &text, &n);
	if (e < 0)
		return err_sys(err, e, "reading the command");
	_cleanup_json_ json_t *j = json_parse(text, n, CONTAINER_JSON_MAX, "exec", err);
	if (!j)
		return -1;
	(void)json_get_strv(j, "argv", &argv);
	(void)json_get_strv(j, "env", &env);
	struct sandbox_spec spec = {/* For the supervisor, to tell inodes by. */
	        .upper_fd = r->files.fd,
	        .work_fd = r->files.fd,
	        .argv = &argv,
	        .env = &env,
	        .cwd = str_or_empty(json_get_str(j, "cwd")),
	        .user = str_or_empty(json_get_str(j, "user")),
	        .hostname = json_get_str(container_process_config(r->c), "Hostname"),
	        .stdin_fd = ev->fds[1],
	        .stdout_fd = ev->fds[2],
	        .stderr_fd = ev->fds[3],
	        .tty = ev->tty,
	        .insecure = json_get_bool(j, "insecure", false) ||
	                    json_get_bool(host, "Privileged", false),
	        .network = network_of(host),
	        .ulimits = &r->ulimits,
	        .arch = json_get_str(json_get_obj(r->c->config, "Strake"), "Arch"),
	        .single_id = r->rootfs->single_id,
	        .owners_fd = r->files.owners,
	        .join = r->proc.id};
	return sandbox_start(r->rootfs->sandbox, &spec, ret, err);
}

static void begin_exec(struct run *r, struct control_event *ev)
{
	_cleanup_error_ struct error err = ERROR_INIT;
	struct exec x = {.proc = {.pidfd = -1, .status_fd = -1}, .client = ev->exec};
	int rc = ev->fds[3] < 0 ? err_set(&err, ERR_INTERNAL, "exec without descriptors")
	                        : exec_command(r, ev, &x.proc, &err);
	for (int i = 0; i < CONTROL_FDS; i++)
		close_ptr(&ev->fds[i]);
	if (rc < 0) {
		control_answer(x.client, 126, &err);
		close(x.client);
		return;
	}
	vec_grow(&r->execs, &r->cap_execs, r->n_execs + 1);
	r->execs[r->n_execs++] = x;
}

static void end_exec(struct run *r, size_t i)
{
	_cleanup_error_ struct error err = ERROR_INIT;
	struct exec x = r->execs[i];
	int code = 126;
	r->execs[i] = r->execs[--r->n_execs];
	if (sandbox_wait(&x.proc, &code, &err) < 0 && code < 126)
		code = 126;
	control_answer(x.client, code, &err);
	close(x.client);
}

enum {
	P_PROC,
	P_SIGNAL,
	P_NOTIFY,
	P_TERM,
	P_KEYS,
	P_OUT,
	P_ERR,
	P_SHOW,
	P_SHOW_ERR,
	P_LISTEN,
	P_FIXED
};

static void pause_for(struct run *r, int client)
{
	_cleanup_error_ struct error err = ERROR_INIT;
	/* A failure is the client's, who reads it in our answer. */
	if (r->control.n_pausers == 0 && sandbox_pause(&r->proc, &err) < 0)
		log_debug("%s", err.msg);
	control_paused(&r->control, client, &err);
}

static void serve(struct run *r, int fd)
{
	struct control_event ev;
	control_serve(&r->control, fd, &ev);
	if (ev.signal)
		sandbox_kill(&r->proc, ev.signal);
	if (ev.exec >= 0)
		begin_exec(r, &ev);
	if (ev.pause >= 0)
		pause_for(r, ev.pause);
	if (ev.resume)
		sandbox_resume(&r->proc);
}

static void attend(struct run *r)
{
	bool term = r->term != NULL;
	bool keys = term && r->o->attach && r->o->interactive;
	for (;;) {
		struct pollfd p[P_FIXED + 2 * POLL_EACH];
		size_t n_clients = MIN(r->control.n_clients, (size_t)POLL_EACH);
		size_t n_execs = MIN(r->n_execs, (size_t)POLL_EACH);
		struct pollfd *x = p + P_FIXED + n_clients;
		bool room = term && terminal_wants_keys(r->term);
		bool taken = r->out[0].len < OUTPUT_MAX;
		short term_events = term ? terminal_events(r->term) : 0;
		if (!taken)
			term_events &= (short)~POLLIN;
		p[P_PROC] = (struct pollfd){r->proc.pidfd, POLLIN, 0};
		p[P_SIGNAL] = (struct pollfd){signal_pipe[0], POLLIN, 0};
		p[P_NOTIFY] = (struct pollfd){r->notify, POLLIN, 0};
		p[P_TERM] = (struct pollfd){
		        term && term_events ? terminal_master(r->term) : -1, term_events, 0};
		p[P_KEYS] = (struct pollfd){keys && room ? STDIN_FILENO : -1, POLLIN, 0};
		for (int i = 0; i < 2; i++) {
			size_t len = r->out[i].len;
			p[P_OUT + i] =
			        (struct pollfd){len < OUTPUT_MAX ? r->pipes[i] : -1, POLLIN, 0};
			p[P_SHOW + i] = (struct pollfd){
			        len ? (i ? STDERR_FILENO : STDOUT_FILENO) : -1, POLLOUT, 0};
		}
		p[P_LISTEN] = (struct pollfd){r->control.listen_fd, POLLIN, 0};
		for (size_t i = 0; i < n_clients; i++)
			p[P_FIXED + i] = (struct pollfd){r->control.clients[i], POLLIN, 0};
		for (size_t i = 0; i < n_execs; i++)
			x[i] = (struct pollfd){r->execs[i].proc.pidfd, POLLIN, 0};
		if (poll(p, P_FIXED + n_clients + n_execs, -1) < 0 && errno != EINTR)
			return;
		if (p[P_SIGNAL].revents)
			pass_signals(r);
		if (p[P_NOTIFY].revents)
			from_notify(r);
		if (p[P_TERM].revents & POLLOUT)
			terminal_type_keys(r->term);
		if (taken && (p[P_TERM].revents & (POLLIN | POLLHUP)) && !from_terminal(r))
			term = false;
		if (p[P_KEYS].revents && !from_keyboard(r))
			keys = false;
		for (int i = 0; i < 2; i++) {
			if (p[P_OUT + i].revents && !from_pipe(r, i))
				close_ptr(&r->pipes[i]);
			if (p[P_SHOW + i].revents)
				show(r, i);
		}
		/* Downwards: the last takes the place of one that goes. */
		for (size_t i = n_execs; i-- > 0;)
			if (x[i].revents)
				end_exec(r, i);
		for (size_t i = 0; i < n_clients; i++)
			if (p[P_FIXED + i].revents)
				serve(r, p[P_FIXED + i].fd);
		if (p[P_LISTEN].revents)
			serve(r, r->control.listen_fd);
		if (p[P_PROC].revents)
			return;
	}
}

/* drain - what it printed last. Its pid namespace is dead: nobody writes any more. */
static void drain(struct run *r)
{
	struct pollfd p = {r->term ? terminal_master(r->term) : -1, POLLIN, 0};
	while (r->term && poll(&p, 1, 0) > 0 && (p.revents & POLLIN) && from_terminal(r))
		;
	for (int i = 0; i < 2; i++) {
		while (r->pipes[i] >= 0 && from_pipe(r, i))
			;
		if (r->log_fd >= 0)
			log_stream_flush(&r->log[i]);
	}
}

/* --- from beginning to end ------------------------------------------------------------------- */

static void run_release(struct run *r)
{
	terminal_free(r->term);
	control_release(&r->control);
	for (size_t i = 0; i < r->n_mounts; i++)
		close_ptr(&r->mount_fds[i]);
	free(r->mount_fds);
	free(r->mounts);
	strv_release(&r->argv);
	strv_release(&r->env);
	strv_release(&r->hosts);
	strv_release(&r->ulimits);
	strbuf_release(&r->out[0]);
	strbuf_release(&r->out[1]);
	json_decref(r->ports);
	free(r->execs);
	for (int i = 0; i < 2; i++) {
		if (r->log_fd >= 0)
			log_stream_release(&r->log[i]);
		close_ptr(&r->pipes[i]);
	}
	close_ptr(&r->log_fd);
	close_ptr(&r->stdin_keep);
	close_ptr(&r->notify);
	container_mount_release(&r->mount);
	container_files_release(&r->files);
	image_rootfs_free(r->rootfs);
	container_free(r->c);
	close_ptr(&r->lock);
}

static int lock_for_run(struct run *r, struct error *err)
{
	r->lock = container_lock_open(r->c->dirfd, err);
	if (r->lock < 0)
		return -1;
	int got;
	while ((got = container_lock_take(r->lock, CONTAINER_LOCK_USE, false)) == 0) {
		if (container_lock_held(r->lock, CONTAINER_LOCK_RUN))
			return err_set(
			        err, ERR_USAGE, "container %s is running already", r->c->name);
		(void)poll(NULL, 0, 20); /* a cp or rm is at work */
	}
	if (got > 0)
		got = container_lock_take(r->lock, CONTAINER_LOCK_RUN, false);
	if (got <= 0)
		return err_sys(err, got ? got : EBUSY, "cannot lock container %s", r->c->name);
	r->locked = true;
	return 0;
}

static int prepare(struct run *r, const char *id, struct error *err)
{
	struct digest image;
	if (container_load(r->s, id, &r->c, err) < 0 || lock_for_run(r, err) < 0)
		return -1;
	if (!container_image(r->c, &image))
		return err_set(err, ERR_INTEGRITY, "container %s names no image", r->c->name);
	const char *name = json_get_str(container_process_config(r->c), "Image");
	if (image_rootfs_open(
	            r->s, &image, str_or_empty(name), r->o->interrupted, &r->rootfs, err) < 0)
		return -1;
	/* The folder was opened in the mount namespace that we have left. */
	close_ptr(&r->c->dirfd);
	r->c->dirfd = store_container_open(r->s, id, err);
	return r->c->dirfd < 0 ? -1 : control_listen(r->c->dirfd, &r->control, err);
}

/* put_away - the root, once nothing runs in it: as it would be had the kernel mounted it. */
static int put_away(struct run *r, struct error *err)
{
	if (r->files.fd < 0)
		return 0;
	close_ptr(&r->control.root_fd); /* it would keep the mount */
	container_mount_release(&r->mount);
	return container_files_settle(r->c, r->rootfs, &r->files, err);
}

/* finish - see the head of this file. */
static void finish(struct run *r, int rc, int exit_code, const struct error *err)
{
	_cleanup_error_ struct error e = ERROR_INIT;
	struct container_state st = {.status = r->started ? CONTAINER_EXITED : CONTAINER_CREATED,
	        .exit_code = exit_code,
	        .oom_killed = r->proc.oom_killed,
	        .error = rc < 0 ? err->msg : NULL,
	        .started = r->started ? r->started_at : 0,
	        .finished = r->started ? container_now() : 0};
	if (!r->c || r->c->dirfd < 0 || r->lock < 0)
		return;
	if (container_state_write(r->c->dirfd, &st, &e) < 0)
		log_write("%s", e.msg);
	error_release(&e);
	(void)unlinkat(r->c->dirfd, "control", 0);
	if (r->rootfs && json_get_bool(container_host_config(r->c), "AutoRemove", false) &&
	        store_container_discard(r->s, r->rootfs->lease, r->c->id, &e) < 0)
		log_write("%s", e.msg);
	close_ptr(&r->lock);
	control_finish(&r->control, exit_code);
}

int container_start(struct store *s, const char *id, const struct container_run_options *o,
        int *ret_exit, struct error *err)
{
	struct run r = {.s = s,
	        .o = o,
	        .lock = -1,
	        .files = CONTAINER_FILES_NONE,
	        .mount = CONTAINER_MOUNT_NONE,
	        .control = {.listen_fd = -1, .root_fd = -1},
	        .proc = {.pidfd = -1, .status_fd = -1},
	        .notify = -1,
	        .out = {STRBUF_INIT, STRBUF_INIT},
	        .log_fd = -1,
	        .pipes = {-1, -1},
	        .stdin_keep = -1};
	_cleanup_error_ struct error ignored = ERROR_INIT;
	int exit_code = 0;
	int rc = prepare(&r, id, err);
	if (rc >= 0)
		rc = signals_begin(err);
	if (rc >= 0)
		note_running(&r);
	if (rc >= 0)
		rc = start_command(&r, err);
	if (rc >= 0) {
		attend(&r);
		rc = sandbox_wait(&r.proc, &exit_code, err);
		drain(&r);
		/* They died with it. */
		while (r.n_execs)
			end_exec(&r, r.n_execs - 1);
		if (rc >= 0)
			say_started(&r); /* it was quick */
	}
	if (r.locked && put_away(&r, rc < 0 ? &ignored : err) < 0)
		rc = -1;
	if (rc < 0 && exit_code != 126 && exit_code != 127)
		exit_code = 125;
	/* The terminal first: whatever comes now may be printed. */
	if (r.term)
		show_rest(&r);
	terminal_free(take_ptr(r.term));
	signals_end();
	/* Who starts it again, once the lock is free, wants the same ports. */
	if (r.rootfs)
		image_rootfs_end(r.rootfs);
	if (r.locked)
		finish(&r, rc, exit_code, err);
	/* Who asked too late to be answered hears that nobody is here; our reader may take its
	 * time. */
	control_release(&r.control);
	show_rest(&r);
	*ret_exit = exit_code;
	run_release(&r);
	return rc < 0 ? -1 : 0;
}

int container_log_fd(const struct container *c, struct error *err)
{
	int fd = sys_open_beneath(c->dirfd, "log", O_RDONLY | O_NOFOLLOW, 0);
	if (fd == -ENOENT) {
		(void)err_set(err, ERR_NOT_FOUND, "container %s has no log", c->name);
		return err_hint(err, "a container that is removed at its end, run --rm, has one "
		                     "only with -d");
	}
	return fd < 0 ? err_sys(err, fd, "cannot open the log of %s", c->name) : fd;
}
