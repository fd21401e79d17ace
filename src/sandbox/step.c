/* sandbox/step.c - see step.h. */
#include "sandbox/step.h"
#include "sandbox/notify.h"
#include "sandbox/wire.h"
#include "base/strbuf.h"
#include "sys/mount.h"
#include "sys/path.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/personality.h>
#include <sys/syscall.h>

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static noreturn_ void report(int sock, const struct error *err, int status)
{
	struct wire_report_msg m = {
	        .report = WIRE_ERROR, .status = status, .class = err->class, .errnum = err->errnum};
	size_t room = sizeof(m.text) - 2;
	size_t n = MIN(strlen(err->msg), room - MIN(room, (size_t)1000));
	memcpy(m.text, err->msg, n);
	if (err->hint)
		memcpy(m.text + n + 1, err->hint, MIN(strlen(err->hint), room - n - 1));
	(void)!wire_send(sock, &m, sizeof(m), NULL, 0);
	_exit(status);
}

static int join_network(struct step *s, struct error *err)
{
	int r;
	switch (s->spec.network) {
	case SANDBOX_NET_HOST:
		return 0;
	case SANDBOX_NET_PRIVATE:
		return network_join(s->net, err);
	case SANDBOX_NET_NONE:
		r = network_set_up(); /* the keeper made the namespace with the process */
		return r < 0 ? err_sys(err, r, "cannot bring up the loopback interface") : 0;
	}
	return err_set(err, ERR_INTERNAL, "unknown network mode %d", s->spec.network);
}

static int new_session(struct error *err)
{
	return setsid() < 0 && errno != EPERM ? err_sys(err, errno, "setsid") : 0;
}

static int name_host(struct step *s, struct error *err)
{
	if (s->spec.tty && ioctl(s->spec.stdin_fd, TIOCSCTTY, 0) < 0)
		return err_sys(err, errno, "cannot make the terminal the controlling one");
	/* EPERM: the filter of a container around us. The name is then the container's. */
	if (sethostname(s->spec.hostname, strlen(s->spec.hostname)) < 0 && errno != EPERM) {
		err_sys(err, errno, "cannot set the host name %.80s", s->spec.hostname);
		return err_hint(err, "a host name has at most 64 bytes");
	}
	return 0;
}

static int open_root(void)
{
	return open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* own_mount_namespace - from here on mounts are attached, in a tree of our own: the files tmpfs
 * covers the old root. */
static int own_mount_namespace(struct step *s, struct error *err)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_sys(err, errno, "cannot make a mount namespace");
	s->own_root = open_root();
	int r = s->own_root < 0 ? -errno : sys_mount_attach(s->files_fd, s->own_root);
	return r < 0 ? err_sys(err, r, "cannot attach a tmpfs") : 0;
}

/* go_to - into a mount namespace, with the root that we had there: it may have been a chroot. */
static int go_to(int ns, int root, struct error *err)
{
	if (setns(ns, CLONE_NEWNS) < 0 || fchdir(root) < 0 || chroot(".") < 0)
		return err_sys(err, errno, "cannot enter a mount namespace");
	return 0;
}

static int enter_mount_namespace(struct step *s, struct error *err)
{
	uint64_t set = s->spec.insecure ? 0 : MOUNT_ATTR_NODEV;
	int r = sys_mount_attr(s->root_mount, false, set, 0);
	if (r < 0)
		return err_sys(err, r, "cannot protect the root file system");
	if ((s->ahead ? go_to(s->own_ns, s->own_root, err) : own_mount_namespace(s, err)) < 0)
		return -1;
	/* The way back is not needed any more. */
	close_ptr(&s->own_root);
	close_ptr(&s->own_ns);
	close_ptr(&s->outer_root);
	close_ptr(&s->outer_ns);
	_cleanup_close_ int at = openat(s->files_fd, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = at < 0 ? -errno : sys_mount_attach(s->root_mount, at);
	if (r < 0)
		return err_sys(err, r, "cannot attach the root file system");
	s->root_fd = take_fd(&s->root_mount);
	return 0;
}

static uint64_t mount_id(int fd)
{
	struct statx x;
	return statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &x) < 0 ? 0 : x.stx_mnt_id;
}

static int pivot(struct step *s, struct error *err)
{
	if (fchdir(s->root_fd) < 0)
		return err_sys(err, errno, "cannot enter the root file system");
	/* The old root lands on top of the new one, so that no directory is needed for it. */
	if (syscall(SYS_pivot_root, ".", ".") < 0) {
		err_sys(err, errno, "cannot change the root file system (pivot_root)");
		return errno == EINVAL
		               ? err_hint(err,
		                         "the machine runs from its initramfs: give it a real "
		                         "root file system")
		               : -1;
	}
	/* Away with what lies on top: the files tmpfs that covers the old root, then the old root.
	 */
	if (umount2(".", MNT_DETACH) < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return err_sys(err, errno, "cannot leave the old root file system");
	/* The one thing that must not go wrong: ".." of the root would lead to whatever was left.
	 */
	_cleanup_close_ int up = open("/..", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (up < 0 || mount_id(up) == 0 || mount_id(up) != mount_id(s->root_fd))
		return err_set(err, ERR_INTERNAL, "the old root file system is still there");
	return 0;
}

static int enter_cwd(struct step *s, struct error *err)
{
	const char *cwd = s->spec.cwd && *s->spec.cwd ? s->spec.cwd : "/";
	_cleanup_close_ int fd = sys_open_in_root(s->root_fd, cwd, O_PATH | O_DIRECTORY, 0);
	if (fd == -ENOENT) {
		_cleanup_(resolved_release) struct resolved at = {0};
		int r = resolve_in_root(s->root_fd, cwd, &at);
		fd = r < 0 ? r : resolve_make(s->root_fd, &at, true);
	}
	/* ELOOP: also every magic link of /proc, which would lead out of the root. */
	if (fd < 0 || fchdir(fd) < 0) {
		err_sys(err, fd < 0 ? fd : errno, "cannot use working directory %s", cwd);
		err->class = ERR_BUILD;
		return -1;
	}
	char buf[4096];
	if (syscall(SYS_getcwd, buf, sizeof(buf)) < 0 || buf[0] != '/')
		return err_set(err, ERR_BUILD,
		        "working directory %s lies outside the root file system", cwd);
	return 0;
}

/* write_resolv_conf - last, as a private network may still be on its way up. With the host's
 * network a resolver on 127.0.0.53 is as near as it is to the host: the file stays as it is. */
static int write_resolv_conf(struct step *s, const char *host_text, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	if (s->spec.network == SANDBOX_NET_PRIVATE && network_wait(s->net, err) < 0)
		return -1;
	if (s->spec.network == SANDBOX_NET_HOST)
		text = xstrdup(host_text);
	else
		text = resolv_conf_rewrite(host_text,
		        s->spec.network == SANDBOX_NET_PRIVATE ? network_nameserver(s->net) : NULL);
	int r = sys_write_all(s->resolv_fd, text, strlen(text));
	return r < 0 ? err_sys(err, r, "cannot write resolv.conf") : 0;
}

/* build_env - the image's entries that have a '=' (never the builder's own value of a bare name),
 * PATH, HOME and, on a terminal, TERM where they lack. */
static void build_env(struct step *s, struct strv *env)
{
	for (size_t i = 0; i < s->spec.env->n; i++)
		if (strchr(s->spec.env->v[i], '='))
			strv_add(env, s->spec.env->v[i]);
	for (size_t i = 0; i < s->cdi_env.n; i++)
		strv_add(env, s->cdi_env.v[i]);
	if (!env_get(env, "PATH"))
		strv_add(env, "PATH=" DEFAULT_PATH);
	const char *home = env_get(env, "HOME");
	if (!home || !*home)
		env_set(env, "HOME", s->user.home);
	if (s->spec.tty && !env_get(env, "TERM"))
		strv_add(env, "TERM=xterm");
}

/* place_stdio - 0, 1, 2, the report socket on 3, the notify socket and the supervisor's, where
 * there are such, on the next ones; nothing else is left open. */
static int place_stdio(struct step *s, int *sock, struct error *err)
{
	int in = s->spec.stdin_fd;
	if (in < 0)
		in = sys_open_beneath(s->root_fd, "dev/null", O_RDONLY, 0);
	if (in < 0)
		return err_sys(err, in, "cannot open /dev/null");
	int fds[6] = {in, s->spec.stdout_fd, s->spec.stderr_fd, *sock};
	int n = 4, supervisor = -1;
	if (s->spec.notify_fd >= 0)
		fds[n++] = s->spec.notify_fd;
	if (s->supervisor >= 0)
		fds[supervisor = n++] = s->supervisor;
	/* All sources lie above 5 (the keeper holds 0 to 5), so targets never hit sources. */
	for (int i = 0; i < n; i++) {
		if (fds[i] < 0 &&
		        (fds[i] = sys_open_beneath(s->root_fd, "dev/null", O_WRONLY, 0)) < 0)
			return err_sys(err, fds[i], "cannot open /dev/null");
		if (dup3(fds[i], i, i >= 3 ? O_CLOEXEC : 0) < 0)
			return err_sys(err, errno, "cannot place descriptor %d", i);
	}
	*sock = 3;
	s->supervisor = supervisor;
	if (syscall(SYS_close_range, n, ~0U, 0) < 0)
		return err_sys(err, errno, "cannot close descriptors");
	s->root_fd = -1;
	return 0;
}

/* reset_signals - all have their default action already: the keeper was started so (sys/process.c)
 * and handles none, it only blocks. */
static void reset_signals(void)
{
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	umask(022);
}

static int exec_error(const struct step *s, const char *path, int errnum, struct error *err)
{
	switch (errnum) {
	case ENOENT:
		/* trusted-path: inside the step's own root, for a message */
		if (access(path, F_OK) == 0) {
			err_set(err, ERR_BUILD,
			        "cannot run %s: its interpreter is not in the image", path);
			return err_hint(err,
			        "a script names it after #!; for a program it is the dynamic "
			        "loader of the C library it was built with");
		}
		return err_set(err, ERR_BUILD, "cannot run %s: no such file in the image", path);
	case ENOEXEC:
		if (error_is_set(s->why_not_foreign)) {
			err_set(err, ERR_BUILD, "cannot run %s: %s", path, s->why_not_foreign->msg);
			return s->why_not_foreign->hint
			               ? err_hint(err, "%s", s->why_not_foreign->hint)
			               : -1;
		}
		err_set(err, ERR_BUILD, "cannot run %s: exec format error", path);
		return err_hint(
		        err, "it was built for another architecture, or is a script without #!");
	default:
		err_sys(err, errnum, "cannot run %s", path);
		err->class = ERR_BUILD;
		return -1;
	}
}

/* run_command - returns the exit code to report; only on failure. */
static int run_command(const struct step *s, char *const *argv, char *const *env,
        const char *path_env, struct error *err)
{
	const char *name = argv[0];
	if (!name || !*name) {
		err_set(err, ERR_BUILD, "there is no command to run");
		return 127;
	}
	if (strchr(name, '/')) {
		execve(name, argv, env);
		int e = errno;
		exec_error(s, name, e, err);
		return e == ENOENT || e == ENOTDIR ? 127 : 126;
	}
	int denied = 0;
	_cleanup_free_ char *path = NULL;
	for (const char *p = path_env;;) {
		size_t n = strcspn(p, ":");
		free(path);
		/* An empty entry is the working directory. */
		path = n ? xasprintf("%.*s/%s", (int)n, p, name) : xasprintf("./%s", name);
		execve(path, argv, env);
		if (errno == EACCES)
			denied = EACCES;
		else if (errno != ENOENT && errno != ENOTDIR) {
			exec_error(s, path, errno, err);
			return 126;
		} else if (errno == ENOENT &&
		           access(path, F_OK) == 0) { /* trusted-path: as above */
			exec_error(s, path, ENOENT, err);
			return 127;
		}
		if (!p[n])
			break;
		p += n + 1;
	}
	if (denied) {
		err_set(err, ERR_BUILD, "cannot run \"%s\": permission denied", name);
		return 126;
	}
	err_set(err, ERR_BUILD, "exec: \"%s\": executable file not found in $PATH", name);
	return 127;
}

static int enter_cgroup(struct step *s, struct error *err)
{
	if (s->cgroup_fd < 0)
		return 0;
	_cleanup_close_ int fd = openat(s->cgroup_fd, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	int r = fd < 0 ? -errno : sys_write_all(fd, "0", 1);
	return r < 0 ? err_sys(err, r, "cannot enter the step's cgroup") : 0;
}

static int join_cgroup(struct step *s, struct error *err)
{
	if (enter_cgroup(s, err) < 0)
		return -1;
	/* Kernels without cgroups have nothing to hide. */
	if (unshare(CLONE_NEWCGROUP) < 0 && errno != EINVAL)
		return err_sys(err, errno, "cannot make a cgroup namespace");
	return 0;
}

/* enter_machine - what makes the programs run that this CPU or kernel does not run by itself. */
static int enter_machine(struct step *s, struct error *err)
{
	/* So that `uname -m` says what compilers of 32-bit systems are configured by. */
	if (s->compat && personality(PER_LINUX32) < 0)
		return err_sys(err, errno, "cannot run 32-bit programs here");
	if (s->userns_fd < 0)
		return 0;
	/* The same ids, and all rights over this step's files; what falls away are rights over
	 * the host, of which device nodes can be noticed. */
	if (setns(s->userns_fd, CLONE_NEWUSER) < 0)
		return err_sys(err, errno, "cannot enter the namespace for foreign programs");
	if (s->spec.insecure && unshare(CLONE_NEWNS) < 0)
		return err_sys(err, errno, "cannot make a mount namespace for foreign programs");
	return 0;
}

/* greet_supervisor - shared: it is one of several, those of `exec`. */
static int greet_supervisor(struct step *s, bool shared, struct error *err)
{
	if (s->supervisor < 0)
		return 0;
	int r = notify_send_hello(s->supervisor, s->spec.upper_fd, s->spec.owners_fd, shared);
	return r < 0 ? err_sys(err, r, "cannot talk to the supervisor of the step") : 0;
}

static int own_namespaces(struct step *s, struct error *err)
{
	return join_cgroup(s, err) < 0 || join_network(s, err) < 0 ? -1 : new_session(err);
}

int step_prepare_ahead(struct step *s, struct error *err)
{
	static const char *const points[] = {"kit", "kit/proc", "kit/sys", "kit/dev"};
	if (own_namespaces(s, err) < 0 || step_prepare_fixed(s, err) < 0)
		return -1;
	s->outer_ns = open("/proc/thread-self/ns/mnt", O_RDONLY | O_CLOEXEC);
	s->outer_root = open_root();
	if (s->outer_ns < 0 || s->outer_root < 0)
		return err_sys(err, errno, "cannot open the mount namespace");
	if (own_mount_namespace(s, err) < 0)
		return -1;
	s->own_ns = open("/proc/thread-self/ns/mnt", O_RDONLY | O_CLOEXEC);
	if (s->own_ns < 0)
		return err_sys(err, errno, "cannot open the mount namespace");
	for (size_t i = 0; i < ARRAY_SIZE(points); i++)
		if (mkdirat(s->files_fd, points[i], 0755) < 0)
			return err_sys(err, errno, "cannot prepare a tmpfs");
	s->kit_fd = openat(s->files_fd, "kit", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (s->kit_fd < 0)
		return err_sys(err, errno, "cannot prepare a tmpfs");
	s->root_fd = s->kit_fd;
	int r = step_attach_fixed(s, err);
	s->root_fd = -1;
	s->ahead = true;
	return r < 0 ? -1 : go_to(s->outer_ns, s->outer_root, err);
}

static int set_up(struct step *s, int *sock, struct error *err)
{
	if ((!s->ahead && own_namespaces(s, err) < 0) || name_host(s, err) < 0 ||
	        step_prepare_system(s, err) < 0 || step_add_devices(s, err) < 0 ||
	        step_prepare_mounts(s, err) < 0 || step_build_rootfs(s, err) < 0)
		return -1;
	_cleanup_free_ char *host_resolv = network_host_resolv();
	if (enter_mount_namespace(s, err) < 0 || step_attach_system(s, err) < 0 ||
	        step_attach_mounts(s, err) < 0 || pivot(s, err) < 0)
		return -1;
	if (sandbox_user_resolve(s->root_fd, str_or_empty(s->spec.user), &s->user, err) < 0 ||
	        enter_cwd(s, err) < 0 || step_set_limits(s, err) < 0 ||
	        write_resolv_conf(s, host_resolv, err) < 0 || enter_machine(s, err) < 0)
		return -1;
	int r = s->spec.notify_fd < 0 ? 0 : wire_send(s->spec.notify_fd, "r", 1, &s->root_fd, 1);
	if (r < 0)
		return err_sys(err, r, "cannot say that the root file system is ready");
	return greet_supervisor(s, s->spec.upper_used, err) < 0 ? -1 : place_stdio(s, sock, err);
}

/* join - all namespaces of the target. Nobody inside may look into this process before it has
 * become the command: it still holds descriptors of the host. */
static int join(struct step *s, pid_t target, struct error *err)
{
	int flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
	if (s->spec.network != SANDBOX_NET_HOST)
		flags |= CLONE_NEWNET;
	_cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, target, 0);
	if (pidfd < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || setns(pidfd, flags) < 0)
		return err_sys(err, errno, "cannot enter the container");
	return 0;
}

static int set_up_joined(struct step *s, int *sock, struct error *err)
{
	if (setsid() < 0)
		return err_sys(err, errno, "setsid");
	if (s->spec.tty && ioctl(s->spec.stdin_fd, TIOCSCTTY, 0) < 0)
		return err_sys(err, errno, "cannot make the terminal the controlling one");
	s->root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (s->root_fd < 0)
		return err_sys(err, errno, "cannot open the container's root");
	if (sandbox_user_resolve(s->root_fd, str_or_empty(s->spec.user), &s->user, err) < 0 ||
	        enter_cwd(s, err) < 0 || step_set_limits(s, err) < 0 || enter_machine(s, err) < 0 ||
	        greet_supervisor(s, true, err) < 0)
		return -1;
	return place_stdio(s, sock, err);
}

noreturn_ void step_join_main(struct step *s, pid_t target, int sock)
{
	struct error err = ERROR_INIT;
	struct strv env = STRV_INIT;
	int r = wire_recv_spec(sock, &s->spec);
	if (r < 0)
		err_sys(&err, r, "cannot receive the command");
	if (r < 0 || enter_cgroup(s, &err) < 0 || join(s, target, &err) < 0)
		report(sock, &err, 1);
	/* Only a child is in the pid namespace; this process stays behind as its messenger. */
	step_init(false);
	if (set_up_joined(s, &sock, &err) < 0)
		report(sock, &err, 126);
	build_env(s, &env);
	reset_signals();
	if (step_drop_rights(s, &err) < 0)
		report(sock, &err, 126);
	int status = run_command(s, s->spec.argv->v, env.v, env_get(&env, "PATH"), &err);
	report(sock, &err, status);
}

noreturn_ void step_main(struct step *s, int sock)
{
	struct error err = ERROR_INIT;
	int r = wire_recv_spec(sock, &s->spec);
	if (r < 0) {
		err_sys(&err, r, "cannot receive the step");
		report(sock, &err, 1);
	}
	if (!s->spec.hostname || !*s->spec.hostname)
		s->spec.hostname = "buildkitsandbox";
	if (set_up(s, &sock, &err) < 0)
		report(sock, &err, 1);
	struct strv env = STRV_INIT;
	build_env(s, &env);
	reset_signals();
	if (step_drop_rights(s, &err) < 0)
		report(sock, &err, 1);
	if (s->spec.init)
		step_init(s->spec.tty);
	int status = run_command(s, s->spec.argv->v, env.v, env_get(&env, "PATH"), &err);
	report(sock, &err, status);
}
