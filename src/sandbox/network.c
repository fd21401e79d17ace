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
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/route.h>
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

struct new_ns {
	int fd;     /* of the namespace, or -errno */
	int routes; /* a netlink socket in it that hears of new routes; -1 */
};

/* The child shares our descriptor table: what it opens is ours when it is gone. */
static int ns_child(void *arg)
{
	struct new_ns *ns = arg;
	int r = network_set_up();
	ns->fd = r < 0 ? r : open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (r >= 0 && ns->fd < 0)
		ns->fd = -errno;
	struct sockaddr_nl a = {
	        .nl_family = AF_NETLINK, .nl_groups = RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE};
	ns->routes = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (ns->routes >= 0 && bind(ns->routes, (struct sockaddr *)&a, sizeof(a)) < 0)
		close_ptr(&ns->routes);
	return 0;
}

static struct new_ns new_netns(void)
{
	static char stack[32768] __attribute__((aligned(16)));
	struct new_ns ns = {-EIO, -1};
	int pid = clone(ns_child, stack + sizeof(stack),
	        CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_NEWNET | SIGCHLD, &ns);
	if (pid < 0)
		ns.fd = -errno;
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return ns;
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

/* direct_pasta - the program that `prog` would execute once more after looking at the CPU: 3 ms
 * sooner. prog itself where there is none. */
static char *direct_pasta(const char *prog)
{
#ifdef __x86_64__
	/* trusted-path: a program of the host's PATH */
	_cleanup_free_ char *real = realpath(prog, NULL);
	_cleanup_free_ char *direct = real ? xasprintf("%s.avx2", real) : NULL;
	/* trusted-path: beside it */
	if (direct && __builtin_cpu_supports("avx2") && access(direct, X_OK) == 0)
		return take_ptr(direct);
#endif
	return xstrdup(prog);
}

static int start_pasta(const struct network *n, const char *prog, struct error *err)
{
	_cleanup_free_ char *direct = direct_pasta(prog);
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
	struct sys_spawn s = {.path = direct,
	        .name = "pasta",
	        .argv = argv, /* its name says which of its programs it is */
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

/* --- up before its program says so ----------------------------------------------------------- */

/* pasta configures the interface first and then takes some 15 ms to prepare its tables. A step may
 * start in between: what it sends waits in the interface's queue. So routes are watched for: when
 * each default route that the host has is there, all is. */
enum { WANT_V4 = 1, WANT_V6 = 2 };

/* default_routes - of the host, as pasta is going to copy them. */
static unsigned default_routes(void)
{
	unsigned want = 0;
	char line[256], dest[64], iface[64];
	unsigned flags, prefix;
	/* trusted-path: the kernel's own */
	FILE *f = fopen("/proc/net/route", "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%63s %63s %*s %x", iface, dest, &flags) == 3 &&
		        str_eq(dest, "00000000") && (flags & RTF_UP))
			want |= WANT_V4;
	if (f)
		fclose(f);
	/* trusted-path: the kernel's own */
	f = fopen("/proc/net/ipv6_route", "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%63s %x %*s %*s %*s %*s %*s %*s %x %63s", dest, &prefix, &flags,
		            iface) == 4 &&
		        prefix == 0 && !(flags & RTF_REJECT) && !str_eq(iface, "lo"))
			want |= WANT_V6;
	if (f)
		fclose(f);
	return want;
}

static unsigned new_default_routes(const char *buf, ssize_t n)
{
	unsigned seen = 0;
	const struct nlmsghdr *h = (const void *)buf;
	for (; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
		const struct rtmsg *r = NLMSG_DATA(h);
		if (h->nlmsg_type != RTM_NEWROUTE || h->nlmsg_len < NLMSG_LENGTH(sizeof(*r)) ||
		        r->rtm_dst_len != 0 || r->rtm_type != RTN_UNICAST)
			continue;
		seen |= r->rtm_family == AF_INET    ? WANT_V4
		        : r->rtm_family == AF_INET6 ? WANT_V6
		                                    : 0;
	}
	return seen;
}

static void say_up(struct network_shared *sh, const char *nameserver, int ready)
{
	snprintf(sh->nameserver, sizeof(sh->nameserver), "%s", nameserver);
	sh->state = NET_UP;
	(void)!write(ready, "", 1);
}

/* watch_routes - in a process of its own, which the starter kills when it knows more. 0: none. */
static pid_t watch_routes(struct network_shared *sh, int routes, const char *nameserver, int ready)
{
	unsigned want = routes < 0 ? 0 : default_routes();
	pid_t pid = want ? fork() : 0;
	if (!want || pid != 0)
		return MAX(pid, 0);
	char buf[8192] __attribute__((aligned(NLMSG_ALIGNTO)));
	while (want) {
		ssize_t n = recv(routes, buf, sizeof(buf), 0);
		if (n < 0 && errno != EINTR)
			_exit(1);
		want &= ~new_default_routes(buf, n);
	}
	say_up(sh, nameserver, ready);
	_exit(0);
}

static void stop_watching(pid_t pid)
{
	if (pid == 0)
		return;
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static const struct {
	const char *name, *nameserver;
	int (*start)(const struct network *, const char *, struct error *);
	bool early; /* configured at once, whole before its start is over */
} programs[] = {
        {"pasta", PASTA_DNS, start_pasta, true},
        {"slirp4netns", SLIRP_DNS, start_slirp, false},
};

static void fail(struct network_shared *sh, const char *why)
{
	snprintf(sh->error, sizeof(sh->error), "%s", why);
	sh->state = NET_FAILED;
}

static void starter(
        const struct network *n, struct network_shared *sh, const struct new_ns *ns, int ready)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
	int r = publish_ns(ns->fd);
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
		/* A published port may be taken: that is known at the end. */
		bool early = programs[i].early && n->n_ports == 0;
		pid_t watcher =
		        early ? watch_routes(sh, ns->routes, programs[i].nameserver, ready) : 0;
		r = programs[i].start(n, prog, &err);
		stop_watching(watcher);
		if (r >= 0)
			return say_up(sh, programs[i].nameserver, ready);
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
	struct new_ns ns = new_netns();
	_cleanup_close_ unused_ int routes = ns.routes;
	if (ns.fd < 0)
		return err_sys(err, ns.fd, "cannot make a network namespace");
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(err, errno, "pipe");
	pid_t pid = fork();
	if (pid < 0)
		return err_sys(err, errno, "fork");
	if (pid == 0) {
		starter(n, sh, &ns, p[1]);
		_exit(0); /* closes the pipe's other end: decided */
	}
	close(p[1]);
	n->ns_fd = ns.fd;
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
	/* Every step waits here: nothing is taken out of the pipe. */
	struct pollfd p = {n->ready_r, POLLIN, 0};
	while (poll(&p, 1, -1) < 0 && errno == EINTR)
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
