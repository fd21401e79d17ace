/* tests/unit/sandbox/probe.c - runs inside a sandbox (static, no libraries there) and says what the
 * kernel let it do: one "name result" line each. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/keyctl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static void say(const char *name, long r)
{
	printf("%s %s\n", name, r < 0 ? strerrorname_np(errno) : "ok");
}

static void denied_calls(void)
{
	say("unshare", unshare(CLONE_NEWUSER));
	say("unshare-uts", unshare(CLONE_NEWUTS));
	say("setns", setns(open("/proc/self/ns/uts", O_RDONLY), 0));
	say("mount", mount("none", "/tmp", "tmpfs", 0, NULL));
	say("umount", umount2("/proc", MNT_DETACH));
	say("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
	say("open_tree", syscall(SYS_open_tree, AT_FDCWD, "/", 1));
	say("move_mount", syscall(SYS_move_mount, -1, "", -1, "", 0));
	say("mount_setattr", syscall(SYS_mount_setattr, -1, "", 0, NULL, 0));
	say("pivot_root", syscall(SYS_pivot_root, ".", "."));
	long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
	if (pid == 0)
		_exit(0);
	say("clone-user", pid);
	say("clone3", syscall(SYS_clone3, NULL, 0));
	say("bpf", syscall(SYS_bpf, 0, NULL, 0));
	say("io_uring_setup", syscall(SYS_io_uring_setup, 1, NULL));
	say("userfaultfd", syscall(SYS_userfaultfd, 0));
	say("keyctl", syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, -3, 0));
	say("add_key", syscall(SYS_add_key, "user", "x", "y", 1, -3));
	say("request_key", syscall(SYS_request_key, "user", "x", NULL, 0));
	say("open_by_handle_at", syscall(SYS_open_by_handle_at, -1, NULL, 0));
	say("perf_event_open", syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
	say("kexec_load", syscall(SYS_kexec_load, 0, 0, NULL, 0));
	say("init_module", syscall(SYS_init_module, NULL, 0, ""));
	say("reboot", syscall(SYS_reboot, 0, 0, 0, NULL));
	say("swapon", syscall(SYS_swapon, "/x", 0));
	say("settimeofday", syscall(SYS_settimeofday, NULL, NULL));
	say("syslog", syscall(SYS_syslog, 3, NULL, 0));
	say("af_alg", socket(38, SOCK_SEQPACKET, 0));
	say("af_vsock", socket(40, SOCK_STREAM, 0));
	/* High bits that the kernel ignores must not slip past the filter. */
	say("af_alg-high", syscall(SYS_socket, 38 | (1UL << 32), SOCK_SEQPACKET, 0));
	say("tiocsti", ioctl(0, TIOCSTI, "x"));
	say("tiocsti-high", syscall(SYS_ioctl, 0, TIOCSTI | (1UL << 32), "x"));
	say("tioclinux", ioctl(0, TIOCLINUX, "x"));
	say("personality", syscall(SYS_personality, 0x0040000));
#ifdef __x86_64__
	/* x32: getpid with bit 30. i386: socketcall(102) through int 0x80. */
	say("x32", syscall(0x40000000 | 39));
	long r;
	__asm__ volatile("int $0x80" : "=a"(r) : "a"(102L), "b"(1L), "c"(0L) : "memory");
	errno = r < 0 ? (int)-r : 0;
	say("i386-socketcall", r < 0 ? -1 : 0);
#endif
}

static void allowed_calls(void)
{
	say("socket-inet", socket(AF_INET, SOCK_STREAM, 0));
	say("socket-unix", socket(AF_UNIX, SOCK_STREAM, 0));
	say("socket-netlink", socket(AF_NETLINK, SOCK_RAW, 0));
	pid_t pid = fork();
	if (pid == 0)
		_exit(0);
	say("fork", pid);
	say("personality-read", syscall(SYS_personality, 0xffffffff));
	say("chroot", chroot("/"));
	say("memfd_create", syscall(SYS_memfd_create, "x", 0));
}

static void connect_tcp(int port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
	inet_pton(AF_INET, "127.0.0.1", &a.sin_addr);
	say("tcp", connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&a, sizeof(a)));
}

static void connect_abstract(const char *name)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "%s", name);
	say("abstract",
	        connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&a,
	                (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name))));
}

static void talk(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	int s = socket(AF_UNIX, SOCK_STREAM, 0);
	char buf[64] = "";
	if (connect(s, (struct sockaddr *)&a, sizeof(a)) < 0 || write(s, "ping", 4) != 4 ||
	        read(s, buf, sizeof(buf) - 1) < 0)
		say("talk", -1);
	else
		printf("talk %s\n", buf);
}

static void ids(void)
{
	uid_t u[3];
	gid_t g[3];
	if (getresuid(&u[0], &u[1], &u[2]) < 0 || getresgid(&g[0], &g[1], &g[2]) < 0)
		return;
	printf("%u %u %u %u %u %u", u[0], u[1], u[2], g[0], g[1], g[2]);
}

static void *thread_ids(void *arg)
{
	printf("%u %u\n", getuid(), geteuid());
	return arg;
}

static void drop(unsigned uid, unsigned gid)
{
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		say("drop", -1);
	ids();
	printf(" back:%s\n", setuid(0) < 0 ? strerrorname_np(errno) : "yes");
}

/* xattrs - how many attributes a file shows, asked in two ways. */
static void xattrs(const char *path)
{
	char list[256];
	int fd = open(path, O_RDONLY);
	ssize_t n = listxattr(path, list, sizeof(list));
	if (n != listxattr(path, NULL, 0) || n != flistxattr(fd, list, sizeof(list)))
		printf("disagree ");
	printf("%s: %zd\n", path, n);
}

/* record - what a step can do with the attribute that owners are recorded in. */
static void record(const char *path)
{
	char value[32];
	int fd = open(path, O_RDWR);
	say("set", setxattr(path, "user.strake.owner", "5:5", 3, 0));
	say("fset", fsetxattr(fd, "user.strake.owner", "5:5", 3, 0));
	say("get", lgetxattr(path, "user.strake.owner", value, sizeof(value)));
	say("fget", fgetxattr(fd, "user.strake.owner", value, sizeof(value)));
	say("remove", removexattr(path, "user.strake.owner"));
	say("other", setxattr(path, "user.strake.other", "5:5", 3, 0));
	say("get-other", getxattr(path, "user.strake.other", value, sizeof(value)));
	say("remove-other", lremovexattr(path, "user.strake.other"));
}

static void *bind_it(void *arg)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX}, b = {0};
	socklen_t n = sizeof(b);
	int s = socket(AF_UNIX, SOCK_STREAM, 0), t = socket(AF_UNIX, SOCK_STREAM, 0);
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", (const char *)arg);
	say("bind", bind(s, (struct sockaddr *)&a, sizeof(a)));
	say("again", bind(t, (struct sockaddr *)&a, sizeof(a)));
	say("name", getsockname(s, (struct sockaddr *)&b, &n));
	printf("%s\n", b.sun_path);
	a.sun_path[0] = '\0';
	say("abstract", bind(t, (struct sockaddr *)&a, sizeof(a)));
	return NULL;
}

/* make_by_rules - a new file with openat2's rules for the way; then the same name as a link. */
static void make_by_rules(const char *path)
{
	struct {
		unsigned long long flags, mode, resolve;
	} how = {O_CREAT | O_RDWR, 0666, 0x08 | 0x04 /* BENEATH, NO_SYMLINKS */};
	int fd = (int)syscall(437, AT_FDCWD, path, &how, sizeof(how));
	say("open", fd);
	say("write", write(fd, "x", 1));
	say("exists", syscall(437, AT_FDCWD, path, &how, sizeof(how)));
	say("above", syscall(437, AT_FDCWD, "../out", &how, sizeof(how)));
}

static void limit(void)
{
	struct rlimit l = {1, 1};
	printf("%d\n", setrlimit(RLIMIT_LOCKS, &l));
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	if (!strcmp(what, "denied"))
		denied_calls();
	else if (!strcmp(what, "allowed"))
		allowed_calls();
	else if (!strcmp(what, "tcp"))
		connect_tcp(atoi(argv[2]));
	else if (!strcmp(what, "abstract"))
		connect_abstract(argv[2]);
	else if (!strcmp(what, "talk"))
		talk(argv[2]);
	else if (!strcmp(what, "ids")) {
		ids();
		printf("\n");
	} else if (!strcmp(what, "thread-ids")) {
		pthread_t t;
		if (pthread_create(&t, NULL, thread_ids, NULL) == 0)
			pthread_join(t, NULL);
	} else if (!strcmp(what, "drop"))
		drop((unsigned)atoi(argv[2]), (unsigned)atoi(argv[3]));
	else if (!strcmp(what, "xattrs"))
		xattrs(argv[2]);
	else if (!strcmp(what, "record"))
		record(argv[2]);
	else if (!strcmp(what, "bind")) {
		pthread_t t;
		if (pthread_create(&t, NULL, bind_it, argv[2]) == 0)
			pthread_join(t, NULL);
	} else if (!strcmp(what, "rules"))
		make_by_rules(argv[2]);
	else if (!strcmp(what, "limit"))
		limit();
	else if (!strcmp(what, "keyring"))
		printf("%ld\n", syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, -3, 0));
	else if (!strcmp(what, "daemon")) {
		if (fork() == 0) {
			setsid();
			if (fork() == 0)
				for (;;)
					pause();
			_exit(0);
		}
		wait(NULL);
	} else if (!strcmp(what, "bomb")) {
		signal(SIGTERM, SIG_IGN);
		printf("ready\n");
		fflush(stdout);
		for (int i = 0; i < 300; i++) /* enough to show, not to hurt the machine */
			if (fork() == 0)
				for (;;)
					pause();
		for (;;)
			pause();
	}
	return 0;
}
