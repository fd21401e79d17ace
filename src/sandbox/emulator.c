/* sandbox/emulator.c - see emulator.h. Runs in the keeper, which is single-threaded. */
#include "sandbox/emulator.h"
#include "sandbox/wire.h"
#include "base/hex.h"
#include "sys/mount.h"
#include "sys/path.h"
#include "sys/privilege.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#define HOST_BINFMT "/proc/sys/fs/binfmt_misc"
#define HEADER_LEN 20

static const struct arch {
	const char *name, *qemu; /* OCI's name, qemu's */
	unsigned char class, data;
	uint16_t machine;
} archs[] = {
        {"amd64", "x86_64", ELFCLASS64, ELFDATA2LSB, EM_X86_64},
        {"386", "i386", ELFCLASS32, ELFDATA2LSB, EM_386},
        {"arm64", "aarch64", ELFCLASS64, ELFDATA2LSB, EM_AARCH64},
        {"arm", "arm", ELFCLASS32, ELFDATA2LSB, EM_ARM},
        {"riscv64", "riscv64", ELFCLASS64, ELFDATA2LSB, EM_RISCV},
        {"ppc64le", "ppc64le", ELFCLASS64, ELFDATA2LSB, EM_PPC64},
        {"ppc64", "ppc64", ELFCLASS64, ELFDATA2MSB, EM_PPC64},
        {"s390x", "s390x", ELFCLASS64, ELFDATA2MSB, EM_S390},
        {"loong64", "loongarch64", ELFCLASS64, ELFDATA2LSB, 258},
        {"mips64le", "mips64el", ELFCLASS64, ELFDATA2LSB, EM_MIPS},
        {"mips64", "mips64", ELFCLASS64, ELFDATA2MSB, EM_MIPS},
        {"mipsle", "mipsel", ELFCLASS32, ELFDATA2LSB, EM_MIPS},
        {"mips", "mips", ELFCLASS32, ELFDATA2MSB, EM_MIPS},
};

#if defined(__x86_64__)
#define NATIVE "amd64"
#elif defined(__aarch64__)
#define NATIVE "arm64"
#elif defined(__riscv)
#define NATIVE "riscv64"
#elif defined(__powerpc64__)
#define NATIVE "ppc64le"
#elif defined(__s390x__)
#define NATIVE "s390x"
#endif

void emulator_init(struct emulator *e)
{
	*e = (struct emulator){.mount_fd = -1, .userns_fd = -1};
}

static const struct arch *find_arch(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(archs); i++)
		if (str_eq(archs[i].name, name))
			return &archs[i];
	return NULL;
}

static void fill_header(const struct arch *a, unsigned char h[HEADER_LEN])
{
	bool big = a->data == ELFDATA2MSB;
	memset(h, 0, HEADER_LEN);
	memcpy(h, ELFMAG, SELFMAG);
	h[EI_CLASS] = a->class;
	h[EI_DATA] = a->data;
	h[EI_VERSION] = EV_CURRENT;
	h[big ? 17 : 16] = ET_EXEC;
	h[big ? 19 : 18] = (unsigned char)(a->machine & 0xff);
	h[big ? 18 : 19] = (unsigned char)(a->machine >> 8);
}

bool emulator_header(const char *arch, unsigned char header[HEADER_LEN])
{
	const struct arch *a = find_arch(arch);
	if (a)
		fill_header(a, header);
	return a != NULL;
}

/* --- the host's handlers --------------------------------------------------------------------- */

/* entry_field - the rest of the line that begins with name; n its length. */
static const char *entry_field(const char *entry, const char *name, size_t *n)
{
	for (const char *p = entry; p && *p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL)
		if (str_starts(p, name)) {
			p += strlen(name);
			*n = strcspn(p, "\n");
			return p;
		}
	return NULL;
}

static size_t hex_field(const char *entry, const char *name, unsigned char *out, size_t size)
{
	size_t n = 0;
	const char *p = entry_field(entry, name, &n);
	size_t k = 0;
	for (; p && k < size && 2 * k + 1 < n; k++) {
		unsigned v;
		char two[3] = {p[2 * k], p[2 * k + 1], '\0'};
		char *end;
		v = (unsigned)strtoul(two, &end, 16);
		if (*end)
			return 0;
		out[k] = (unsigned char)v;
	}
	return k;
}

bool emulator_entry_serves(const char *entry, const unsigned char header[HEADER_LEN])
{
	unsigned char magic[HEADER_LEN], mask[HEADER_LEN];
	size_t n = 0;
	if (!str_starts(entry, "enabled\n"))
		return false;
	const char *flags = entry_field(entry, "flags: ", &n);
	if (!flags || !memchr(flags, 'F', n))
		return false;
	const char *offset = entry_field(entry, "offset ", &n);
	if (!offset || n != 1 || *offset != '0')
		return false;
	size_t len = hex_field(entry, "magic ", magic, sizeof(magic));
	memset(mask, 0xff, sizeof(mask));
	(void)hex_field(entry, "mask ", mask, sizeof(mask));
	/* One that looks at less than the machine is meant for something else. */
	if (len < HEADER_LEN)
		return false;
	for (size_t i = 0; i < len; i++)
		if ((header[i] & mask[i]) != (magic[i] & mask[i]))
			return false;
	return true;
}

/* host_serves - 1 as it says, 0 not; *ret_any: the host has handlers at all. */
static bool host_serves(const struct arch *a, bool *ret_any)
{
	unsigned char header[HEADER_LEN];
	fill_header(a, header);
	*ret_any = false;
	/* trusted-path: the kernel's own files */
	DIR *d = opendir(HOST_BINFMT);
	if (!d)
		return false;
	bool found = false, off = false;
	for (struct dirent *e; (e = readdir(d));) {
		char text[4096];
		_cleanup_close_ int fd = openat(dirfd(d), e->d_name, O_RDONLY | O_CLOEXEC);
		ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
		if (n <= 0)
			continue;
		text[n] = '\0';
		if (str_eq(e->d_name, "status"))
			off = str_starts(text, "disabled");
		else
			*ret_any = true;
		found |= emulator_entry_serves(text, header);
	}
	closedir(d);
	*ret_any &= !off;
	return found && !off;
}

/* --- qemu ------------------------------------------------------------------------------------ */

/* is_static - no dynamic loader: inside the image there is none for it. */
static bool is_static(const char *path)
{
	/* trusted-path: a program of the host's PATH */
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	Elf64_Ehdr h;
	if (fd < 0 || pread(fd, &h, sizeof(h), 0) != (ssize_t)sizeof(h) ||
	        memcmp(h.e_ident, ELFMAG, SELFMAG) != 0 || h.e_ident[EI_CLASS] != ELFCLASS64)
		return false;
	for (unsigned i = 0; i < h.e_phnum && i < 64; i++) {
		Elf64_Phdr p;
		off_t at = (off_t)(h.e_phoff + i * sizeof(p));
		if (pread(fd, &p, sizeof(p), at) != (ssize_t)sizeof(p) || p.p_type == PT_INTERP)
			return false;
	}
	return true;
}

static char *find_qemu(const struct arch *a, struct error *err)
{
	_cleanup_free_ char *dynamic = NULL;
	static const char *const forms[] = {"qemu-%s-static", "qemu-%s"};
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		char name[40];
		snprintf(name, sizeof(name), i ? "qemu-%s" : "qemu-%s-static", a->qemu);
		_cleanup_free_ char *path = sys_find_program(name);
		if (path && is_static(path))
			return take_ptr(path);
		if (path && !dynamic)
			dynamic = take_ptr(path);
	}
	if (dynamic)
		err_set(err, ERR_SYSTEM,
		        "programs for %s cannot run on this %s machine: %s is dynamically linked, "
		        "a static one is needed",
		        a->name, NATIVE, dynamic);
	else
		err_set(err, ERR_SYSTEM,
		        "programs for %s cannot run on this %s machine: there is no "
		        "qemu-%s-static in PATH",
		        a->name, NATIVE, a->qemu);
	err_hint(err, "apt install qemu-user-static; or run the stage natively: "
	              "FROM --platform=$BUILDPLATFORM");
	return NULL;
}

/* --- a binfmt_misc of our own ---------------------------------------------------------------- */

static int mount_error(int r, struct error *err)
{
	if (r == -ENODEV)
		err_set(err, ERR_SYSTEM, "this kernel has no binfmt_misc");
	else
		err_sys(err, r, "cannot mount a binfmt_misc in a user namespace");
	if (!sys_kernel_at_least(6, 7))
		return err_hint(err,
		        "Linux 6.7 has that; before, let the host's root register qemu: "
		        "apt install qemu-user-static binfmt-support");
	return err_hint(err, "modprobe binfmt_misc; or let the host's root register qemu: "
	                     "apt install qemu-user-static binfmt-support");
}

/* same_ids - the map of this namespace's ids onto themselves, for a child. */
static int same_ids(const char *file, struct strbuf *ret)
{
	/* trusted-path: the kernel's own files */
	_cleanup_close_ int fd = open(file, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *text = NULL;
	int r = fd < 0 ? -errno : sys_read_fd(fd, 65536, &text, NULL);
	if (r < 0)
		return r;
	unsigned inside, outside, count;
	for (const char *p = text; p && sscanf(p, "%u %u %u", &inside, &outside, &count) == 3;
	        p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL)
		strbuf_addf(ret, "%u %u %u\n", inside, inside, count);
	return 0;
}

static int write_map(const char *pid, const char *name)
{
	_cleanup_strbuf_ struct strbuf map = STRBUF_INIT;
	char from[32], to[64];
	snprintf(from, sizeof(from), "/proc/self/%s", name);
	snprintf(to, sizeof(to), "/proc/%.20s/%s", pid, name);
	int r = same_ids(from, &map);
	if (r < 0)
		return r;
	/* trusted-path: the kernel's own files */
	_cleanup_close_ int fd = open(to, O_WRONLY | O_CLOEXEC);
	return fd < 0 ? -errno : sys_write_all(fd, map.buf, map.len);
}

/* child_main - in the new namespace: say who we are, wait for the map, mount, hand the mount over.
 * The number is the one /proc knows: the keeper has a pid namespace of its own. */
static noreturn_ void child_main(int sock)
{
	char pid[32] = {0}, go;
	if (readlink("/proc/self", pid, sizeof(pid) - 1) < 0 ||
	        wire_send(sock, pid, sizeof(pid), NULL, 0) < 0 ||
	        wire_recv(sock, &go, 1, NULL, 0) <= 0)
		_exit(1);
	int fd = sys_binfmt_mount();
	(void)!wire_send(sock, &fd, sizeof(fd), &fd, fd >= 0);
	(void)!wire_recv(sock, &go, 1, NULL, 0); /* the keeper opens our namespace meanwhile */
	_exit(0);
}

static int adopt_child(struct emulator *e, int sock)
{
	char pid[32], path[64];
	int result = 0, mount = -1;
	int r = wire_recv(sock, pid, sizeof(pid), NULL, 0);
	if (r <= 0)
		return r < 0 ? r : -ECHILD;
	pid[sizeof(pid) - 1] = '\0';
	if ((r = write_map(pid, "uid_map")) < 0 || (r = write_map(pid, "gid_map")) < 0 ||
	        (r = wire_send(sock, "g", 1, NULL, 0)) < 0)
		return r;
	r = wire_recv(sock, &result, sizeof(result), &mount, 1);
	if (r <= 0 || mount < 0)
		return r <= 0 ? -ECHILD : result < 0 ? result : -EBADF;
	snprintf(path, sizeof(path), "/proc/%.20s/ns/user", pid);
	/* trusted-path: the kernel's own files */
	int ns = open(path, O_RDONLY | O_CLOEXEC);
	if (ns < 0) {
		r = -errno;
		close(mount);
		return r;
	}
	e->mount_fd = mount;
	e->userns_fd = ns;
	return 0;
}

static int mount_in_child(struct emulator *e)
{
	int sv[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return -errno;
	_cleanup_close_ int ours = sv[0], theirs = sv[1];
	/* To mount takes a mount namespace of the same owner. */
	unsigned long ns = CLONE_NEWUSER | CLONE_NEWNS;
#if defined(__s390x__)
	pid_t pid = (pid_t)syscall(SYS_clone, NULL, ns | SIGCHLD, NULL, NULL, NULL);
#else
	pid_t pid = (pid_t)syscall(SYS_clone, ns | SIGCHLD, NULL, NULL, NULL, NULL);
#endif
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		close(ours);
		child_main(theirs);
	}
	close_ptr(&theirs);
	int r = adopt_child(e, ours);
	close_ptr(&ours);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return r;
}

/* One line for the kernel's `register`: |name|M|offset|magic|mask|interpreter|flags. */
static int register_qemu(const struct emulator *e, const struct arch *a, const char *qemu)
{
	unsigned char magic[HEADER_LEN], mask[HEADER_LEN];
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	fill_header(a, magic);
	memset(mask, 0xff, sizeof(mask));
	memset(mask + EI_OSABI, 0, 16 - EI_OSABI);     /* ABI and padding: some tools write there */
	mask[a->data == ELFDATA2MSB ? 17 : 16] = 0xfe; /* 2: program, 3: position-independent */
	strbuf_addf(&b, "|qemu-%s|M||", a->qemu);
	for (size_t i = 0; i < HEADER_LEN; i++)
		strbuf_addf(&b, "\\x%02x", magic[i]);
	strbuf_addstr(&b, "|");
	for (size_t i = 0; i < HEADER_LEN; i++)
		strbuf_addf(&b, "\\x%02x", mask[i]);
	/* P: argv[0] stays what it was. C (with O): set-user-id programs are such. F: opened now.
	 */
	strbuf_addf(&b, "|%s|POCF", qemu);
	_cleanup_close_ int fd = openat(e->mount_fd, "register", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return write(fd, b.buf, b.len) == (ssize_t)b.len ? 0 : -errno;
}

static int use_own(struct emulator *e, const struct arch *a, bool child, struct error *err)
{
	unsigned bit = 1u << (a - archs);
	if (e->registered & bit)
		return 0;
	_cleanup_free_ char *qemu = find_qemu(a, err);
	if (!qemu)
		return -1;
	if (e->mount_fd < 0) {
		int r = child ? mount_in_child(e) : sys_binfmt_mount();
		if (r < 0)
			return mount_error(r, err);
		if (!child)
			e->mount_fd = r;
	}
	int r = register_qemu(e, a, qemu);
	if (r < 0)
		return err_sys(err, r, "cannot register %s for programs of %s", qemu, a->name);
	e->registered |= bit;
	return 0;
}

/* --- the choice ------------------------------------------------------------------------------ */

static bool runs_as_compat(const char *arch)
{
#if defined(__x86_64__)
	/* There where the kernel was built with 32-bit emulation. */
	return str_eq(arch, "386") && access("/proc/sys/abi/vsyscall32", F_OK) == 0;
#else
	(void)arch;
	return false;
#endif
}

int emulator_prepare(struct emulator *e, const char *arch, bool own_userns, bool rather_qemu,
        enum emulator_way *ret, struct error *err)
{
	bool host_has_any = false;
	*ret = EMULATOR_NONE;
	if (!*arch || str_eq(arch, NATIVE))
		return 0;
	const struct arch *a = find_arch(arch);
	if (!a)
		return err_set(err, ERR_SYSTEM,
		        "programs for %s cannot run on this %s machine: no emulator is known", arch,
		        NATIVE);
	bool compat = runs_as_compat(arch);
	if (compat && !rather_qemu) {
		*ret = EMULATOR_COMPAT;
		return 0;
	}
	if (host_serves(a, &host_has_any))
		return 0;
	/* The first mount decides for all: later ones must not change what runs already. */
	bool child = e->mount_fd >= 0 ? e->userns_fd >= 0 : !own_userns || host_has_any;
	if (use_own(e, a, child, err) < 0) {
		if (!compat)
			return -1;
		error_release(err);
		*ret = EMULATOR_COMPAT;
		return 0;
	}
	*ret = child ? EMULATOR_OURS_IN : EMULATOR_OURS;
	return 0;
}
