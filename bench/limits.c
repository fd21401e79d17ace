/* bench/limits.c - what this machine can do at most, and the stop watch of bench/run.
 *
 * Every command prints one line of JSON. It is small and single-threaded unless it says otherwise,
 * so that starting a program from it costs what starting a program costs, and so that the peak
 * memory the kernel reports is the program's and not that of whoever forked it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <libdeflate.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zstd.h>

#include "codec/sha256.h"

#define BLOCK ((size_t)1 << 20)

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "limits: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

/* --- run [-u UID:GID] [-o FILE] PROGRAM [ARGUMENT...]: the stop watch ---------------------------
 */

static _Noreturn void become(char **argv, unsigned uid, unsigned gid, const char *out)
{
	int fd = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd < 0 || dup2(fd, 1) < 0)
		_exit(125);
	if (uid && (setgroups(0, NULL) < 0 || setgid(gid) < 0 || setuid(uid) < 0))
		_exit(125);
	execvp(argv[0], argv);
	fprintf(stderr, "limits: %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

static int cmd_run(int argc, char **argv)
{
	unsigned uid = 0, gid = 0;
	const char *out = "/dev/null";
	int c;
	while ((c = getopt(argc, argv, "+u:o:")) >= 0)
		if (c == 'o')
			out = optarg;
		else if (c != 'u' || sscanf(optarg, "%u:%u", &uid, &gid) != 2)
			return 2;
	/* What the program leaves to die is its own, too. */
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		die("prctl");
	double t = now();
	pid_t pid = fork();
	if (pid == 0)
		become(argv + optind, uid, gid, out);
	int status;
	struct rusage u;
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		die("fork");
	t = now() - t;
	/* Two seconds at most: a program may have meant one to stay. */
	for (int i = 0; i < 200; i++) {
		pid_t left;
		while ((left = waitpid(-1, NULL, WNOHANG)) > 0)
			;
		if (left < 0)
			break;
		usleep(10000);
	}
	getrusage(RUSAGE_CHILDREN, &u);
	printf("{\"seconds\":%.6f,\"user\":%.4f,\"system\":%.4f,\"peak_kib\":%ld,\"status\":%d}\n",
	        t, seconds(u.ru_utime), seconds(u.ru_stime), u.ru_maxrss,
	        WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	return 0;
}

/* --- files of a tree as blocks of 1 MiB ---------------------------------------------------------
 */

static struct {
	char **v;
	size_t n, next;
	pthread_mutex_t lock;
	unsigned long long in, out;
	void (*work)(const unsigned char *, size_t, void *);
} files = {.lock = PTHREAD_MUTEX_INITIALIZER};

static unsigned long long n_seen;

static int note_file(const char *path, const struct stat *st, int type, struct FTW *f)
{
	(void)f;
	n_seen++;
	if (type == FTW_F && S_ISREG(st->st_mode)) {
		files.v = realloc(files.v, (files.n + 1) * sizeof(*files.v));
		if (!files.v || !(files.v[files.n++] = strdup(path)))
			die("memory");
	}
	return 0;
}

static void list_files(const char *dir)
{
	if (nftw(dir, note_file, 64, FTW_PHYS) < 0)
		die(dir);
}

static void report(double t)
{
	printf("{\"seconds\":%.6f,\"in\":%llu,\"out\":%llu}\n", t, files.in, files.out);
}

static void each_block(
        const char *path, void (*fn)(const unsigned char *, size_t, void *), void *ctx)
{
	unsigned char *buf = malloc(BLOCK);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || !buf)
		die(path);
	for (ssize_t n; (n = read(fd, buf, BLOCK)) > 0;) {
		__atomic_add_fetch(&files.in, (unsigned long long)n, __ATOMIC_RELAXED);
		fn(buf, (size_t)n, ctx);
	}
	close(fd);
	free(buf);
}

static void hash_block(const unsigned char *p, size_t n, void *ctx)
{
	sha256_update(ctx, p, n);
}

static int cmd_sha256(const char *dir)
{
	struct sha256 h;
	struct digest d;
	list_files(dir);
	double t = now();
	sha256_init(&h);
	for (size_t i = 0; i < files.n; i++)
		each_block(files.v[i], hash_block, &h);
	sha256_final(&h, &d);
	report(now() - t);
	return 0;
}

struct deflater {
	struct libdeflate_compressor *c;
	unsigned char *out;
	size_t bound;
};

static void deflate_block(const unsigned char *p, size_t n, void *ctx)
{
	struct deflater *d = ctx;
	size_t out = libdeflate_gzip_compress(d->c, p, n, d->out, d->bound);
	__atomic_add_fetch(&files.out, (unsigned long long)out, __ATOMIC_RELAXED);
}

static const char *next_file(void)
{
	pthread_mutex_lock(&files.lock);
	const char *path = files.next < files.n ? files.v[files.next++] : NULL;
	pthread_mutex_unlock(&files.lock);
	return path;
}

static void *deflate_main(void *arg)
{
	(void)arg;
	struct deflater d = {.c = libdeflate_alloc_compressor(6)};
	d.bound = libdeflate_gzip_compress_bound(d.c, BLOCK);
	d.out = malloc(d.bound);
	for (const char *path; (path = next_file());)
		each_block(path, deflate_block, &d);
	libdeflate_free_compressor(d.c);
	free(d.out);
	return NULL;
}

/* cmd_gzip - libdeflate, level 6, on all cores, to nowhere. */
static int cmd_gzip(const char *dir)
{
	list_files(dir);
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	pthread_t *v = calloc((size_t)cores, sizeof(*v));
	double t = now();
	for (long i = 0; i < cores; i++)
		if (pthread_create(&v[i], NULL, deflate_main, NULL))
			die("thread");
	for (long i = 0; i < cores; i++)
		pthread_join(v[i], NULL);
	report(now() - t);
	free(v);
	return 0;
}

struct zstd_out {
	ZSTD_CCtx *c;
	unsigned char *buf;
	size_t cap;
};

static void zstd_feed(struct zstd_out *z, const void *p, size_t n, ZSTD_EndDirective end)
{
	ZSTD_inBuffer in = {p, n, 0};
	size_t left;
	do {
		ZSTD_outBuffer out = {z->buf, z->cap, 0};
		left = ZSTD_compressStream2(z->c, &out, &in, end);
		if (ZSTD_isError(left))
			die("zstd");
		files.out += out.pos;
	} while (end == ZSTD_e_end ? left > 0 : in.pos < in.size);
}

static void zstd_block(const unsigned char *p, size_t n, void *ctx)
{
	zstd_feed(ctx, p, n, ZSTD_e_continue);
}

/* cmd_zstd - level 3 with a worker a core, one frame, to nowhere. */
static int cmd_zstd(const char *dir)
{
	list_files(dir);
	struct zstd_out z = {.c = ZSTD_createCCtx(), .cap = ZSTD_CStreamOutSize()};
	z.buf = malloc(z.cap);
	ZSTD_CCtx_setParameter(z.c, ZSTD_c_compressionLevel, 3);
	ZSTD_CCtx_setParameter(z.c, ZSTD_c_nbWorkers, (int)sysconf(_SC_NPROCESSORS_ONLN));
	double t = now();
	for (size_t i = 0; i < files.n; i++)
		each_block(files.v[i], zstd_block, &z);
	zstd_feed(&z, NULL, 0, ZSTD_e_end);
	report(now() - t);
	return 0;
}

/* cmd_lstat - all names of a tree, one thread. */
static int cmd_lstat(const char *dir)
{
	double t = now();
	list_files(dir);
	files.in = n_seen;
	report(now() - t);
	return 0;
}

/* cmd_write - so many MiB into a new file, with fdatasync. */
static int cmd_write(const char *path, const char *mib)
{
	unsigned char *buf = malloc(BLOCK);
	memset(buf, 0x5a, BLOCK);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		die(path);
	double t = now();
	for (long i = 0; i < atol(mib); i++) {
		if (write(fd, buf, BLOCK) != (ssize_t)BLOCK)
			die(path);
		files.in += BLOCK;
	}
	if (fdatasync(fd) < 0)
		die(path);
	report(now() - t);
	close(fd);
	unlink(path);
	return 0;
}

/* --- steps N DIR: fork, namespaces, overlay, /proc, /dev, chroot, exec; one after the other ------
 */

/* DIR holds root/ with a static bin/true. */
static _Noreturn void one_step(void)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	        mount("overlay", "merged", "overlay", 0,
	                "lowerdir=root,upperdir=upper,workdir=work,userxattr,volatile") < 0 ||
	        mount("proc", "merged/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0 ||
	        mount("tmpfs", "merged/dev", "tmpfs", MS_NOSUID, "mode=0755") < 0 ||
	        chdir("merged") < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
	        umount2(".", MNT_DETACH) < 0)
		die("mount");
	execl("/bin/true", "true", NULL);
	die("/bin/true");
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *f)
{
	(void)st, (void)type, (void)f;
	return remove(path);
}

static int cmd_steps(const char *n, const char *dir)
{
	if (chdir(dir) < 0)
		die(dir);
	mkdir("merged", 0755);
	double t = now();
	for (long i = 0; i < atol(n); i++) {
		if (mkdir("upper", 0755) < 0 || mkdir("work", 0755) < 0)
			die("mkdir");
		unsigned long ns = CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS;
		pid_t pid = (pid_t)syscall(SYS_clone, ns | SIGCHLD, NULL, NULL, NULL, NULL);
		if (pid == 0)
			one_step();
		int status;
		if (pid < 0 || waitpid(pid, &status, 0) < 0)
			die("clone");
		if (status)
			return 1;
		nftw("upper", remove_entry, 16, FTW_DEPTH | FTW_PHYS);
		nftw("work", remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	}
	report(now() - t);
	return 0;
}

int main(int argc, char **argv)
{
	const char *cmd = argc > 1 ? argv[1] : "";
	if (!strcmp(cmd, "run") && argc > 2)
		return cmd_run(argc - 1, argv + 1);
	if (!strcmp(cmd, "sha256") && argc == 3)
		return cmd_sha256(argv[2]);
	if (!strcmp(cmd, "gzip") && argc == 3)
		return cmd_gzip(argv[2]);
	if (!strcmp(cmd, "zstd") && argc == 3)
		return cmd_zstd(argv[2]);
	if (!strcmp(cmd, "lstat") && argc == 3)
		return cmd_lstat(argv[2]);
	if (!strcmp(cmd, "write") && argc == 4)
		return cmd_write(argv[2], argv[3]);
	if (!strcmp(cmd, "steps") && argc == 4)
		return cmd_steps(argv[2], argv[3]);
	fprintf(stderr,
	        "usage: limits run [-u UID:GID] [-o FILE] PROGRAM... | sha256|gzip|zstd|lstat "
	        "DIR | write FILE MIB | steps N DIR\n");
	return 2;
}
