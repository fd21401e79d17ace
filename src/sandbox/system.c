/* sandbox/system.c - /proc, /sys, /dev, the masks over them, hosts and resolv.conf.
 *
 * Device nodes are the host's, bound one by one, also for real root: /dev itself is nodev like all
 * else in the step, so that a node made with the MKNOD capability opens nothing. */
#include "sandbox/step.h"
#include "base/strbuf.h"
#include "sys/mount.h"
#include "sys/path.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/sysmacros.h>

static const struct {
	const char *name;
	unsigned major, minor;
} devices[STEP_N_DEVICES] = {
        {"null", 1, 3},
        {"zero", 1, 5},
        {"full", 1, 7},
        {"random", 1, 8},
        {"urandom", 1, 9},
        {"tty", 5, 0},
};

static const struct {
	const char *name, *target;
} dev_links[] = {
        {"fd", "/proc/self/fd"},
        {"stdin", "/proc/self/fd/0"},
        {"stdout", "/proc/self/fd/1"},
        {"stderr", "/proc/self/fd/2"},
        {"ptmx", "pts/ptmx"},
        {"core", "/proc/kcore"},
};

static const char *const masked[] = {
        "proc/acpi",
        "proc/asound",
        "proc/kcore",
        "proc/keys",
        "proc/latency_stats",
        "proc/timer_list",
        "proc/timer_stats",
        "proc/sched_debug",
        "proc/scsi",
        "proc/interrupts",
        "sys/firmware",
        "sys/fs/selinux",
        "sys/devices/virtual/powercap",
};

static const char *const read_only[] = {
        "proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"};

/* host_device - a clone of /dev/NAME, if it is the device it says it is: in a container of a
 * container it may be anything. */
static int host_device(size_t i, struct error *err)
{
	char path[32];
	struct stat st;
	snprintf(path, sizeof(path), "/dev/%s", devices[i].name);
	/* trusted-path: a device of the host, by a name of ours */
	_cleanup_close_ int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, errno, "cannot open the host's %s", path);
	if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(devices[i].major, devices[i].minor))
		return err_set(err, ERR_SYSTEM, "the host's %s is not character device %u:%u", path,
		        devices[i].major, devices[i].minor);
	int r = sys_bind_clone(fd, "", false);
	return r < 0 ? err_sys(err, r, "cannot bind the host's %s", path) : r;
}

static int parse_extra_host(const char *text, struct strbuf *out, struct error *err)
{
	size_t n = strcspn(text, ":=");
	const char *ip = text[n] ? text + n + 1 : "";
	unsigned char addr[16];
	_cleanup_free_ char *bare = NULL;
	size_t len = strlen(ip);
	if (len > 2 && ip[0] == '[' && ip[len - 1] == ']')
		bare = xstrndup(ip + 1, len - 2);
	else
		bare = xstrdup(ip);
	if (str_eq(bare, "host-gateway")) {
		err_set(err, ERR_USAGE,
		        "--add-host %s: a step's private network has no way to the host", text);
		return err_hint(err, "use --network=host and 127.0.0.1");
	}
	if (!n || strpbrk(text, " \t\n#") ||
	        (inet_pton(AF_INET, bare, addr) != 1 && inet_pton(AF_INET6, bare, addr) != 1))
		return err_set(err, ERR_USAGE, "--add-host %s: expected NAME:ADDRESS", text);
	strbuf_addf(out, "%s\t%.*s\n", bare, (int)n, text);
	return 0;
}

static int write_hosts(struct step *s, struct error *err)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	const char *h = s->spec.hostname;
	strbuf_addf(&b, "127.0.0.1\tlocalhost %s\n::1\tlocalhost ip6-localhost ip6-loopback %s\n",
	        h, h);
	for (size_t i = 0; i < s->spec.extra_hosts->n; i++)
		if (parse_extra_host(s->spec.extra_hosts->v[i], &b, err) < 0)
			return -1;
	_cleanup_close_ int fd =
	        openat(s->files_fd, "hosts", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	int r = fd < 0 ? -errno : sys_write_all(fd, b.buf, b.len);
	return r < 0 ? err_sys(err, r, "cannot write the hosts file") : 0;
}

static int prepare_files(struct step *s, struct error *err)
{
	s->files_fd = sys_tmpfs_mount("mode=0755");
	if (s->files_fd < 0)
		return err_sys(err, s->files_fd, "cannot make a tmpfs");
	int r = sys_mount_attr(s->files_fd, false, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID, 0);
	if (r < 0 || mkdirat(s->files_fd, "root", 0755) < 0 ||
	        mkdirat(s->files_fd, "empty", 0555) < 0 ||
	        mkdirat(s->files_fd, "passing", 0755) < 0)
		return err_sys(err, r < 0 ? r : errno, "cannot prepare a tmpfs");
	s->resolv_fd =
	        openat(s->files_fd, "resolv.conf", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	return s->resolv_fd < 0 ? err_sys(err, errno, "cannot make resolv.conf") : 0;
}

int step_prepare_fixed(struct step *s, struct error *err)
{
	if (prepare_files(s, err) < 0)
		return -1;
	for (size_t i = 0; i < STEP_N_DEVICES; i++)
		if ((s->device_fds[i] = host_device(i, err)) < 0)
			return -1;
	if (s->shared_proc) {
		if (s->spec.insecure)
			return err_set(err, ERR_SYSTEM,
			        "--security=insecure needs a /proc of the step's own, which cannot "
			        "be mounted in this container");
		s->proc_bind = sys_bind_clone(AT_FDCWD, "/proc", true);
		if (s->proc_bind < 0)
			return err_sys(err, s->proc_bind, "cannot bind this container's /proc");
	}
	/* A new sysfs shows the network namespace; with the host's a user namespace may not. */
	bool bind_sys = s->spec.network == SANDBOX_NET_HOST || s->shared_proc;
	s->sys_bind = bind_sys ? sys_bind_clone(AT_FDCWD, "/sys", true) : -1;
	return 0;
}

int step_prepare_system(struct step *s, struct error *err)
{
	if ((!s->ahead && step_prepare_fixed(s, err) < 0) || write_hosts(s, err) < 0)
		return -1;
	/* So that ttyname() inside finds the terminal, which lives in the host's devpts. */
	s->console = s->spec.tty ? sys_bind_clone(s->spec.stdin_fd, "", false) : -1;
	return 0;
}

static int attach_at(struct step *s, int fd, const char *path, struct error *err)
{
	if (fd < 0)
		return err_sys(err, fd, "cannot make the mount for /%s", path);
	_cleanup_close_ int mnt = fd;
	_cleanup_close_ int target = sys_open_beneath(s->root_fd, path, O_PATH | O_NOFOLLOW, 0);
	int r = target < 0 ? target : sys_mount_attach(mnt, target);
	return r < 0 ? err_sys(err, r, "cannot mount /%s", path) : 0;
}

static int with_attr(int fd, uint64_t attr)
{
	int r = fd < 0 ? fd : sys_mount_attr(fd, false, attr, 0);
	if (r < 0 && fd >= 0)
		close(fd);
	return r < 0 ? r : fd;
}

static int attach_proc(struct step *s, struct error *err)
{
	/* With all that covers it. A step can look at the processes of our container, not into
	 * them: that takes capabilities in their user namespace, or all that the builder has. */
	if (s->proc_bind >= 0)
		return attach_at(s, take_fd(&s->proc_bind), "proc", err);
	int fd = sys_proc_mount();
	if (fd == -EPERM) {
		err_sys(err, fd, "cannot mount /proc");
		return err_hint(err,
		        "parts of /proc are hidden here, as in a container: start that "
		        "container with its /proc unmasked (docker: --security-opt "
		        "systempaths=unconfined), or privileged");
	}
	return attach_at(s, fd, "proc", err);
}

static int attach_sys(struct step *s, struct error *err)
{
	int fd = sys_sysfs_mount();
	if (fd < 0 && s->sys_bind >= 0) {
		fd = take_fd(&s->sys_bind);
		int r = sys_mount_attr(fd, true,
		        MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
		                MOUNT_ATTR_NOEXEC,
		        0);
		if (r < 0) {
			close(fd);
			fd = r;
		}
	}
	if (fd >= 0 && s->spec.insecure)
		(void)!sys_mount_attr(
		        fd, false, 0, MOUNT_ATTR_RDONLY); /* locked where it is the host's */
	close_ptr(&s->sys_bind);
	if (attach_at(s, fd, "sys", err) < 0)
		return -1;
	if (!s->cgroup_v2 || s->spec.network == SANDBOX_NET_HOST)
		return 0;
	/* Programs read their limits there; a kernel that refuses is no reason to fail. */
	_cleanup_close_ int cg = sys_cgroup2_mount();
	_cleanup_close_ int at =
	        sys_open_beneath(s->root_fd, "sys/fs/cgroup", O_PATH | O_DIRECTORY, 0);
	if (cg >= 0 && at >= 0)
		(void)!sys_mount_attach(cg, at);
	return 0;
}

static int placeholder(int dir, const char *name)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

/* fill_dev - directories, links and empty files to bind the nodes on. */
static int fill_dev(int dev)
{
	static const char *const dirs[] = {"pts", "shm", "mqueue"};
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		if (mkdirat(dev, dirs[i], 0755) < 0)
			return -errno;
	for (size_t i = 0; i < ARRAY_SIZE(dev_links); i++)
		/* "core" only where the kernel has it, as runc does */
		if ((!str_eq(dev_links[i].name, "core") ||
		            faccessat(AT_FDCWD, dev_links[i].target, F_OK, 0) == 0) &&
		        symlinkat(dev_links[i].target, dev, dev_links[i].name) < 0)
			return -errno;
	for (size_t i = 0; i < ARRAY_SIZE(devices); i++) {
		int r = placeholder(dev, devices[i].name);
		if (r < 0)
			return r;
	}
	return 0;
}

static int attach_dev(struct step *s, struct error *err)
{
	char path[32];
	uint64_t nodev = s->spec.insecure ? 0 : MOUNT_ATTR_NODEV;
	int dev = with_attr(sys_tmpfs_mount("mode=0755,size=65536k"), MOUNT_ATTR_NOSUID | nodev);
	int r = dev < 0 ? dev : fill_dev(dev);
	if (r < 0)
		return err_sys(err, r, "cannot fill /dev");
	if (attach_at(s, dev, "dev", err) < 0 ||
	        attach_at(s, sys_devpts_mount(), "dev/pts", err) < 0)
		return -1;
	/* A kernel without POSIX queues has no mqueue to mount. */
	int fd = sys_mqueue_mount();
	if (fd != -ENODEV && attach_at(s, fd, "dev/mqueue", err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(devices); i++) {
		snprintf(path, sizeof(path), "dev/%s", devices[i].name);
		if (attach_at(s, take_fd(&s->device_fds[i]), path, err) < 0)
			return -1;
	}
	return 0;
}

/* attach_own_dev - what of /dev is this step's. */
static int attach_own_dev(struct step *s, struct error *err)
{
	char shm[64];
	snprintf(shm, sizeof(shm), "mode=1777,size=%llu",
	        (unsigned long long)(s->spec.shm_size ? s->spec.shm_size : 64u << 20));
	int fd = with_attr(
	        sys_tmpfs_mount(shm), MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	if (attach_at(s, fd, "dev/shm", err) < 0)
		return -1;
	if (s->console < 0)
		return 0;
	_cleanup_close_ int dev = sys_open_beneath(s->root_fd, "dev", O_RDONLY | O_DIRECTORY, 0);
	int r = dev < 0 ? dev : placeholder(dev, "console");
	if (r < 0)
		return err_sys(err, r, "cannot make /dev/console");
	return attach_at(s, take_fd(&s->console), "dev/console", err);
}

static int mask_one(struct step *s, const char *path, struct error *err)
{
	struct stat st;
	int r = sys_stat_beneath(s->root_fd, path, &st);
	if (r == -ENOENT || r == -ENOTDIR)
		return 0;
	if (r < 0)
		return err_sys(err, r, "cannot mask /%s", path);
	int fd = S_ISDIR(st.st_mode)
	                 ? with_attr(sys_bind_clone(s->files_fd, "empty", false), MOUNT_ATTR_RDONLY)
	                 : sys_bind_clone(s->root_fd, "dev/null", false);
	return attach_at(s, fd, path, err);
}

static int make_read_only(struct step *s, const char *path, struct error *err)
{
	struct stat st;
	if (sys_stat_beneath(s->root_fd, path, &st) == -ENOENT)
		return 0;
	int fd = sys_bind_clone(s->root_fd, path, true);
	int r = fd < 0 ? fd
	               : sys_mount_attr(fd, true,
	                         MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
	                                 MOUNT_ATTR_NOEXEC,
	                         0);
	if (r < 0)
		return err_sys(err, r, "cannot make /%s read-only", path);
	return attach_at(s, fd, path, err);
}

static int attach_masks(struct step *s, struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(masked); i++)
		if (mask_one(s, masked[i], err) < 0)
			return -1;
	for (unsigned cpu = 0; cpu < 4096; cpu++) {
		char path[80];
		struct stat st;
		snprintf(path, sizeof(path), "sys/devices/system/cpu/cpu%u", cpu);
		if (sys_stat_beneath(s->root_fd, path, &st) < 0)
			break;
		snprintf(path, sizeof(path), "sys/devices/system/cpu/cpu%u/thermal_throttle", cpu);
		if (mask_one(s, path, err) < 0)
			return -1;
	}
	for (size_t i = 0; i < ARRAY_SIZE(read_only); i++)
		if (make_read_only(s, read_only[i], err) < 0)
			return -1;
	return 0;
}

static int attach_file(struct step *s, const char *name, const char *path, struct error *err)
{
	uint64_t attr = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC;
	if (!s->spec.bind_writable_hosts)
		attr |= MOUNT_ATTR_RDONLY;
	return attach_at(s, with_attr(sys_bind_clone(s->files_fd, name, false), attr), path, err);
}

int step_attach_fixed(struct step *s, struct error *err)
{
	if (attach_proc(s, err) < 0 || attach_sys(s, err) < 0 || attach_dev(s, err) < 0)
		return -1;
	return s->spec.insecure ? 0 : attach_masks(s, err);
}

/* attach_kit - the whole trees that stand ready. */
static int attach_kit(struct step *s, struct error *err)
{
	static const char *const names[] = {"proc", "sys", "dev"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		int fd = sys_open_beneath(s->kit_fd, names[i], O_PATH | O_DIRECTORY, 0);
		if (attach_at(s, fd, names[i], err) < 0)
			return -1;
	}
	close_ptr(&s->kit_fd);
	return 0;
}

int step_attach_system(struct step *s, struct error *err)
{
	if ((s->ahead ? attach_kit(s, err) : step_attach_fixed(s, err)) < 0 ||
	        attach_own_dev(s, err) < 0)
		return -1;
	return attach_file(s, "hosts", s->hosts_path, err) < 0 ||
	                       attach_file(s, "resolv.conf", s->resolv_path, err) < 0
	               ? -1
	               : 0;
}
