/* The three networks: S20 for the private one, names for the host's, nothing for none. */
#include "harness.h"
#include "sandbox/network.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

static int probe_fd = -1;
static struct sandbox_mount probe_mount;

static int run_net(const char *script, enum sandbox_network net)
{
	struct sandbox_spec s = h_spec(script);
	s.network = net;
	probe_mount = (struct sandbox_mount){.type = SANDBOX_MOUNT_BIND,
	        .target = "/probe",
	        .source_fd = probe_fd,
	        .read_only = true};
	s.mounts = &probe_mount;
	s.n_mounts = 1;
	int r = h_run(s);
	if (r < 0)
		printf("# %s\n", h_err.msg);
	return r;
}

static void test_resolv_text(void)
{
	char *t = resolv_conf_rewrite(
	        "# c\nnameserver 127.0.0.53\nsearch a b\noptions edns0\nnameserver 1.2.3.4",
	        "9.9.9.9");
	is_str(t, "search a b\noptions edns0\nnameserver 9.9.9.9\n",
	        "our name server for the host's");
	free(t);
	t = resolv_conf_rewrite("", NULL);
	is_str(t, "", "nothing");
	free(t);
}

static int listener(int *ret_port)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	socklen_t n = sizeof(a);
	inet_pton(AF_INET, "127.0.0.1", &a.sin_addr);
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(s, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(s, 8) < 0 ||
	        getsockname(s, (struct sockaddr *)&a, &n) < 0)
		abort();
	*ret_port = ntohs(a.sin_port);
	return s;
}

static int abstract_listener(const char *name)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "%s", name);
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(s, (struct sockaddr *)&a,
	            (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name))) < 0 ||
	        listen(s, 8) < 0)
		abort();
	return s;
}

static void drop_programs(struct sandbox_context *c, const char *name)
{
	_cleanup_free_ char *dir = xasprintf("/var/tmp/strake-bin-%d-%s", (int)getpid(), name);
	_cleanup_free_ char *link = xasprintf("%s/%s", dir, name);
	sandbox_context_free(c);
	unlink(link);
	rmdir(dir);
}

/* with_programs - a context whose keeper finds only the program given (NULL: none). Not in /tmp,
 * which the network's starter covers. */
static struct sandbox_context *with_programs(const char *program, const char *name)
{
	_cleanup_free_ char *dir = xasprintf("/var/tmp/strake-bin-%d-%s", (int)getpid(), name);
	_cleanup_free_ char *link = xasprintf("%s/%s", dir, name);
	_cleanup_free_ char *staging = xasprintf("staging-%s", name);
	char *old = xstrdup(getenv("PATH"));
	if (mkdir(dir, 0755) < 0 || (program && symlink(program, link) < 0))
		abort();
	setenv("PATH", dir, 1);
	int fd = h_mkdir(h_top, staging);
	struct sandbox_context *c = sandbox_context_new(fd);
	struct error err = ERROR_INIT;
	ok(sandbox_context_warm(c, &err) >= 0, "a context of its own");
	close(fd);
	setenv("PATH", old, 1);
	free(old);
	return c;
}

static void test_other_programs(const char *slirp, const char *script, int port)
{
	struct sandbox_context *old = h_ctx;
	h_ctx = with_programs(NULL, "none");
	ok(run_net("true", SANDBOX_NET_PRIVATE) < 0, "no program at all");
	is_str(h_err.msg, "cannot set up the network: neither pasta nor slirp4netns is installed",
	        "message");
	ok(h_err.hint && h_has(h_err.hint, "--network=host"), "cure");
	drop_programs(h_ctx, "none");
	if (slirp) {
		h_ctx = with_programs(slirp, "slirp4netns");
		ok(run_net(script, SANDBOX_NET_PRIVATE) >= 0, "slirp4netns");
		is_str(h_out.buf, "tcp ECONNREFUSED\nabstract ECONNREFUSED\n", "S20 with it, too");
		ok(run_net("ip route | grep -c default; grep nameserver /etc/resolv.conf",
		           SANDBOX_NET_PRIVATE) >= 0,
		        "slirp4netns");
		is_str(h_out.buf, "1\nnameserver 10.0.2.3\n", "a route, its name server");
		_cleanup_free_ char *gateway =
		        xasprintf("nc -w 1 10.0.2.2 %d </dev/null; echo $?", port);
		ok(run_net(gateway, SANDBOX_NET_PRIVATE) >= 0, "slirp4netns");
		ok(h_has(h_out.buf, "1\n"), "its gateway does not lead to the host's loopback");
		drop_programs(h_ctx, "slirp4netns");
	}
	h_ctx = old;
}

static void tests(void)
{
	test_resolv_text();
	const char *probe = getenv("STRAKE_PROBE");
	probe_fd = probe ? open(probe, O_PATH | O_CLOEXEC) : -1;
	if (probe_fd < 0) {
		ok(1, "networks # SKIP no STRAKE_PROBE");
		return;
	}
	int port;
	char name[40], script[200];
	snprintf(name, sizeof(name), "strake-test-%d", (int)getpid());
	int tcp = listener(&port), abs = abstract_listener(name);
	snprintf(script, sizeof(script), "/probe tcp %d; /probe abstract %s", port, name);
	ok(run_net(script, SANDBOX_NET_HOST) >= 0, "host");
	is_str(h_out.buf, "tcp ok\nabstract ok\n",
	        "reaches the host's sockets: it is the host's network");
	ok(run_net(script, SANDBOX_NET_NONE) >= 0, "none");
	is_str(h_out.buf, "tcp ECONNREFUSED\nabstract ECONNREFUSED\n", "does not");
	ok(run_net("ip -o link | wc -l; ip link | grep -c 'lo:.*UP'; cat /etc/resolv.conf | grep "
	           "-c nameserver",
	           SANDBOX_NET_NONE) >= 0,
	        "none");
	is_str(h_out.buf, "1\n1\n0\n", "has a loopback interface alone");
	ok(run_net("true", SANDBOX_NET_HOST) >= 0, "host");
	_cleanup_free_ char *pasta = sys_find_program("pasta"),
	                    *slirp = sys_find_program("slirp4netns");
	if ((!pasta && !slirp) || access("/dev/net/tun", R_OK | W_OK) < 0) {
		ok(1, "private network # SKIP neither pasta nor slirp4netns, or no access to "
		      "/dev/net/tun");
	} else {
		ok(run_net(script, SANDBOX_NET_PRIVATE) >= 0, "private");
		is_str(h_out.buf, "tcp ECONNREFUSED\nabstract ECONNREFUSED\n",
		        "S20: reaches neither host loopback nor abstract sockets");
		ok(run_net("ip -o link | wc -l; ip route | grep -c default; grep -c nameserver "
		           "/etc/resolv.conf",
		           SANDBOX_NET_PRIVATE) >= 0,
		        "private");
		is_str(h_out.buf, "2\n1\n1\n", "an interface, a route, a name server");
		test_other_programs(slirp, script, port);
		/* Through the gateway neither. */
		snprintf(script, sizeof(script),
		        "nc -w 1 $(ip route | grep default | cut -d' ' -f3) %d </dev/null; echo $?",
		        port);
		ok(run_net(script, SANDBOX_NET_PRIVATE) >= 0, "private");
		ok(h_has(h_out.buf, "1\n"), "nor through the gateway's address");
		ok(run_net("echo $(readlink /proc/self/ns/net)", SANDBOX_NET_PRIVATE) >= 0,
		        "private");
		char *first = xstrdup(h_out.buf);
		ok(run_net("echo $(readlink /proc/self/ns/net)", SANDBOX_NET_PRIVATE) >= 0,
		        "private");
		is_str(h_out.buf, first, "one network for all steps of a build");
		free(first);
		struct error err = ERROR_INIT;
		ok(sandbox_context_warm(h_ctx, &err) >= 0,
		        "warming an existing network does nothing");
	}
	close(tcp);
	close(abs);
	close(probe_fd);
}

int main(int argc, char **argv)
{
	return harness_main(argc, argv, tests);
}
