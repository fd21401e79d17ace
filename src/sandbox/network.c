/* sandbox/network.c - see network.h.
 *
 * Both programs are told to keep the host's loopback and all ports to themselves: a step reaches
 * what the host's user could reach outside this machine, and nothing that listens on 127.0.0.1. */
#include "sandbox/network.h"
#include "base/strbuf.h"
#include "sys/mount.h"
#include "sys/path.h"
#include "sys/privilege.h"
#include "sys/process.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define START_TIMEOUT_MS 15000
#define PASTA_DNS "169.254.1.1" /* link-local: never a real host's address on the way */
#define SLIRP_DNS "10.0.2.3"

enum net_state { NET_UNDECIDED, NET_UP, NET_FAILED };
struct network_shared {
	enum net_state state;
	char nameserver[64];
	char error[1024];
};

void network_init(struct network *n)
{
	*n = (struct network){.ns_fd = -1, .ready_r = -1};
}

/* As docker has it: with a network of its own, a port below 1024 is nobody's privilege, and a web
 * server that runs as an ordinary user may listen on port 80. Where /proc is read-only it may not.
 */
static void open_low_ports(void)
{
	/* trusted-path: the kernel's own; resolved before the root file system changes */
	int fd = open("/proc/sys/net/ipv4/ip_unprivileged_port_start", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)!write(fd, "0", 1);
	close(fd);
}

int network_set_up(void)
{
	open_low_ports();
	_cleanup_close_ int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (s < 0)
		return -errno;
	struct ifreq r = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	return ioctl(s, SIOCSIFFLAGS, &r) < 0 ? -errno : 0;
}

/* The child shares our descriptor table: what it opens is ours when it is gone. */
static int ns_child(void *arg)
{
	int *ret = arg;
	int r = network_set_up();
	*ret = r < 0 ? r : open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (r >= 0 && *ret < 0)
		*ret = -errno;
	return 0;
}

static int new_netns(void)
{
	static char stack[32768] __attribute__((aligned(16)));
	int fd = -EIO;
	int pid = clone(ns_child, stack + sizeof(stack),
	        CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_NEWNET | SIGCHLD, &fd);
	if (pid < 0)
		return -errno;
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return fd;
}

/* publish_ns - the namespace as a file in a tmpfs of the starter's own mount namespace: pasta
 * closes all descriptors it inherits and gives up the right to look into another process's. */
static int publish_ns(int ns_fd)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -errno;
	_cleanup_close_ int t = sys_tmpfs_mount("mode=0755,size=64k");
	/* trusted-path: a tmpfs of ours */
	_cleanup_close_ int at = open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = t < 0 ? t : at < 0 ? -errno : sys_mount_attach(t, at);
	if (r < 0)
		return r;
	int f = openat(t, "netns", O_CREAT | O_EXCL | O_RDONLY | O_CLOEXEC, 0644);
	if (f < 0)
		return -errno;
	close(f);
	char link[32];
	snprintf(link, sizeof(link), "/proc/self/fd/%d", ns_fd);
	/* trusted-path: a descriptor of ours, and a tmpfs of ours */
	return mount(link, "/tmp/netns", NULL, MS_BIND, NULL) < 0 ? -errno : 0;
}

static void first_line(char *s)
{
	s[strcspn(s, "\r\n")] = '\0';
}

/* One of sandbox_context_publish's texts. */
struct port {
	bool udp;
	char address[64];
	unsigned host, inside;
};

static bool read_port(const char *text, struct port *ret)
{
	char proto[8], rest[160];
	if (sscanf(text, "%7s %159[^\n]", proto, rest) != 2)
		return false;
	*ret = (struct port){.udp = str_eq(proto, "udp")};
	return sscanf(rest, "%63[^ ] %u %u", ret->address, &ret->host, &ret->inside) == 3;
}

static int start_pasta(const struct network *n, const char *prog, struct error *err)
{
	_cleanup_strv_ struct strv ports = STRV_INIT;
	bool tcp = false, udp = false;
	for (size_t i = 0; i < n->n_ports; i++) {
		struct port p;
		if (!read_port(n->ports[i], &p))
			continue;
		bool all = str_eq(p.address, "*");
		strv_add(&ports, p.udp ? "-u" : "-t");
		strv_addf(&ports, "%s%s%u:%u", all ? "" : p.address, all ? "" : "/", p.host,
		        p.inside);
		tcp |= !p.udp;
		udp |= p.udp;
	}
	if (!tcp) {
		strv_add(&ports, "-t");
		strv_add(&ports, "none");
	}
	if (!udp) {
		strv_add(&ports, "-u");
		strv_add(&ports, "none");
	}
	/* Without --runas pasta leaves real root for nobody, who may not enter the namespace. In a
	 * user namespace it stays what it is either way. */
	_cleanup_free_ const char **argv = new0(const char *, ports.n + 20);
	static const char *const fixed[] = {"--config-net", "--quiet", "--no-map-gw", "-T", "none",
	        "-U", "none", "--dns-forward", PASTA_DNS, "--runas", "0:0", "--netns",
	        "/tmp/netns"};
	argv[0] = prog;
	memcpy(argv + 1, fixed, sizeof(fixed));
	for (size_t i = 0; i < ports.n; i++)
		argv[1 + ARRAY_SIZE(fixed) + i] = ports.v[i];
	struct sys_spawn s = {.path = prog,
	        .argv = argv,
	        .stdin_fd = -1,
	        .stdout_fd = -1,
	        .stderr_fd = -1,
	        .cwd_fd = -1,
	        .new_session = true};
	/* It goes to the background, and its first process ends, once the interface is up. */
	return sys_run_program(&s, 65536, START_TIMEOUT_MS, NULL, NULL, err);
}

static int wait_ready(int ready, int *pidfd, int log, struct error *err)
{
	struct pollfd p[2] = {{ready, POLLIN, 0}, {*pidfd, POLLIN, 0}};
	char c;
	if (poll(p, 2, START_TIMEOUT_MS) > 0 && (p[0].revents & POLLIN) && read(ready, &c, 1) == 1)
		return 0;
	_cleanup_free_ char *text = NULL;
	bool ended = p[1].revents & POLLIN;
	syscall(SYS_pidfd_send_signal, *pidfd, SIGKILL, NULL, 0);
	int status;
	(void)!sys_wait_pidfd(*pidfd, &status);
	if (lseek(log, 0, SEEK_SET) < 0 || sys_read_fd(log, 65536, &text, NULL) < 0)
		text = xstrdup("");
	first_line(text);
	return err_set(err, ERR_SYSTEM, "slirp4netns %s%s%s",
	        ended ? "ended at once" : "did not become ready", *text ? ": " : "", text);
}

/* slirp_publish - one port through slirp4netns' API socket; see its manual, "hostfwd". */
static int slirp_publish(const struct port *p, struct error *err)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "/tmp/api"};
	char text[256], reply[1024];
	bool all = str_eq(p->address, "*");
	int n = snprintf(text, sizeof(text),
	        "{\"execute\":\"add_hostfwd\",\"arguments\":{\"proto\":\"%s\",\"host_addr\":"
	        "\"%s\",\"host_port\":%u,\"guest_port\":%u}}",
	        p->udp ? "udp" : "tcp", all ? "0.0.0.0" : p->address, p->host, p->inside);
	_cleanup_close_ int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s < 0 || connect(s, (struct sockaddr *)&a, sizeof(a)) < 0)
		return err_sys(err, errno, "cannot reach slirp4netns");
	int r = sys_write_all(s, text, (size_t)n);
	if (r >= 0 && shutdown(s, SHUT_WR) < 0)
		r = -errno;
	ssize_t got = r < 0 ? r : read(s, reply, sizeof(reply) - 1);
	if (got < 0)
		return err_sys(err, r < 0 ? r : errno, "cannot talk to slirp4netns");
	reply[got] = '\0';
	if (strstr(reply, "\"error\""))
		return err_set(err, ERR_SYSTEM, "slirp4netns cannot open port %u here: %.200s",
		        p->host, reply);
	return 0;
}

static int start_slirp(const struct network *n, const char *prog, struct error *err)
{
	const char *argv[] = {prog, "--configure", "--mtu=65520", "--disable-host-loopback",
	        "--enable-ipv6", "--netns-type=path", "--ready-fd=3", "--api-socket=/tmp/api",
	        "/tmp/netns", "tap0", NULL};
	int p[2];
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(err, errno, "pipe");
	_cleanup_close_ int r = p[0], w = p[1];
	_cleanup_close_ int log = memfd_create("slirp-log", MFD_CLOEXEC);
	_cleanup_close_ int pidfd = -1;
	struct sys_spawn s = {.path = prog,
	        .argv = argv,
	        .stdin_fd = -1,
	        .stdout_fd = log,
	        .stderr_fd = log,
	        .keep_fds = &w,
	        .n_keep = 1,
	        .cwd_fd = -1,
	        .new_session = true};
	int e = sys_spawn(&s, NULL, &pidfd);
	if (e < 0)
		return err_sys(err, e, "cannot run %s", prog);
	close_ptr(&w);
	if (wait_ready(r, &pidfd, log, err) < 0)
		return -1;
	for (size_t i = 0; i < n->n_ports; i++) {
		struct port port;
		if (read_port(n->ports[i], &port) && slirp_publish(&port, err) < 0) {
			syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
			return -1;
		}
	}
	return 0;
}

static const struct {
	const char *name, *nameserver;
	int (*start)(const struct network *, const char *, struct error *);
} programs[] = {
        {"pasta", PASTA_DNS, start_pasta},
        {"slirp4netns", SLIRP_DNS, start_slirp},
};

static void fail(struct network_shared *sh, const char *why)
{
	snprintf(sh->error, sizeof(sh->error), "%s", why);
	sh->state = NET_FAILED;
}

static void starter(const struct network *n, struct network_shared *sh, int ns_fd)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
	int r = publish_ns(ns_fd);
	if (r < 0) {
		strbuf_addf(&why, "cannot publish the network namespace: %s", strerror(-r));
		return fail(sh, why.buf);
	}
	bool found = false;
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
		_cleanup_free_ char *prog = sys_find_program(programs[i].name);
		_cleanup_error_ struct error err = ERROR_INIT;
		if (!prog)
			continue;
		found = true;
		if (programs[i].start(n, prog, &err) >= 0) {
			snprintf(sh->nameserver, sizeof(sh->nameserver), "%s",
			        programs[i].nameserver);
			sh->state = NET_UP;
			return;
		}
		strbuf_addf(&why, "%s%s", why.len ? "; " : "", err.msg);
	}
	fail(sh, found ? why.buf : "neither pasta nor slirp4netns is installed");
}

int network_begin(struct network *n, struct error *err)
{
	if (n->shared)
		return 0;
	int p[2];
	struct network_shared *sh =
	        mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sh == MAP_FAILED)
		return err_sys(err, errno, "cannot map memory");
	int ns = new_netns();
	if (ns < 0)
		return err_sys(err, ns, "cannot make a network namespace");
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(err, errno, "pipe");
	pid_t pid = fork();
	if (pid < 0)
		return err_sys(err, errno, "fork");
	if (pid == 0) {
		starter(n, sh, ns);
		_exit(0); /* closes the pipe's other end: decided */
	}
	close(p[1]);
	n->ns_fd = ns;
	n->ready_r = p[0];
	n->shared = sh;
	return 0;
}

int network_join(const struct network *n, struct error *err)
{
	if (setns(n->ns_fd, CLONE_NEWNET) < 0)
		return err_sys(err, errno, "cannot enter the build's network namespace");
	return 0;
}

int network_wait(const struct network *n, struct error *err)
{
	char c;
	while (read(n->ready_r, &c, 1) < 0 && errno == EINTR)
		;
	if (n->shared->state == NET_UP)
		return 0;
	err_set(err, ERR_SYSTEM, "cannot set up the network: %s",
	        n->shared->state == NET_FAILED ? n->shared->error : "its starter was killed");
	if (n->n_ports && (strstr(err->msg, "bind") || strstr(err->msg, "open port")))
		return err_hint(err, "a published port is taken: `ss -ltnp` shows by whom");
	return err_hint(err,
	        "install passt (pasta) or slirp4netns; or give the step the host's network "
	        "with --network=host, or none with --network=none");
}

char *resolv_conf_rewrite(const char *text, const char *nameserver)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	while (*text) {
		size_t n = strcspn(text, "\n");
		const char *word = text + strspn(text, " \t");
		if (str_starts(word, "search") || str_starts(word, "domain") ||
		        str_starts(word, "options")) {
			strbuf_add(&b, text, n);
			strbuf_addch(&b, '\n');
		}
		text += n + (text[n] == '\n');
	}
	if (nameserver)
		strbuf_addf(&b, "nameserver %s\n", nameserver);
	return strbuf_detach(&b);
}

char *network_host_resolv(void)
{
	char *text = NULL;
	_cleanup_close_ int fd = open("/etc/resolv.conf", O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || sys_read_fd(fd, 65536, &text, NULL) < 0)
		return xstrdup("");
	return text;
}

const char *network_nameserver(const struct network *n)
{
	return n->shared->nameserver;
}
