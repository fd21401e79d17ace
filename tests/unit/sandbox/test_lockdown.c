/* RELIABILITY.md section 4, seen from inside: capabilities, seccomp, masks, devices, the way out.
 */
#include "harness.h"

#include <linux/keyctl.h>
#include <sys/syscall.h>

static void put_probe(void)
{
	const char *path = getenv("STRAKE_PROBE");
	int bin = h_mkdir(h_layer, "bin");
	int src = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	int dst = openat(bin, "probe", O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
	while (src >= 0 && copy_file_range(src, NULL, dst, NULL, 1 << 24, 0) > 0)
		;
	close(src);
	close(dst);
	close(bin);
}

static void test_caps(void)
{
	is_str(h_sh("grep -E '^(Cap|Seccomp:|NoNewPrivs)' /proc/self/status"),
	        "CapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\n"
	        "CapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\nNoNewPrivs:\t0\nSeccomp:"
	        "\t2\n",
	        "S12: exactly Docker's capabilities; a filter; sudo may work");
	struct sandbox_spec s = h_spec("grep CapBnd /proc/self/status");
	s.user = "user";
	ok(h_run(s) >= 0, "as a user");
	is_str(h_out.buf, "CapBnd:\t00000000a80425fb\n", "the same bounding set");
}

static void test_calls(void)
{
	static const char *const denied[] = {"unshare", "unshare-uts", "setns", "mount", "umount",
	        "fsopen", "open_tree", "move_mount", "mount_setattr", "pivot_root", "clone-user",
	        "bpf", "io_uring_setup", "userfaultfd", "keyctl", "add_key", "request_key",
	        "open_by_handle_at", "perf_event_open", "kexec_load", "init_module", "reboot",
	        "swapon", "settimeofday", "syslog", "af_alg", "af_vsock", "af_alg-high", "tiocsti",
	        "tiocsti-high", "tioclinux", "personality",
#ifdef __x86_64__
	        "x32", "i386-socketcall"
#endif
	};
	const char *out = h_sh("probe denied");
	for (size_t i = 0; i < ARRAY_SIZE(denied); i++) {
		char line[64];
		snprintf(line, sizeof(line), "%s EPERM\n", denied[i]);
		if (!ok(h_has(out, line), "S17, S18, S19: denied"))
			printf("#   %s", line);
	}
	ok(h_has(out, "clone3 ENOSYS\n"), "clone3 is absent, so that libraries fall back");
	is_str(h_sh("probe allowed"),
	        "socket-inet ok\nsocket-unix ok\nsocket-netlink ok\nfork ok\npersonality-read "
	        "ok\nchroot ok\n"
	        "memfd_create ok\n",
	        "ordinary calls work");
}

static void test_masks(void)
{
	is_str(h_sh("for f in keys timer_list kcore interrupts sched_debug latency_stats; do "
	            "[ -e /proc/$f ] && cat /proc/$f; done; echo end"),
	        "end\n", "masked files are empty");
	is_str(h_sh("for d in /proc/acpi /proc/scsi /proc/asound /sys/firmware /sys/fs/selinux "
	            "/sys/devices/virtual/powercap; do [ -e $d ] && ls -A $d; done; echo end"),
	        "end\n", "masked directories are empty");
	is_str(h_sh("for d in bus fs irq sys; do [ -d /proc/$d ] && grep -c \" /proc/$d .*ro,\" "
	            "/proc/mounts; done; "
	            "grep -c ' /sys sysfs ro,' /proc/mounts"),
	        "1\n1\n1\n1\n1\n", "read-only parts");
	is_str(h_sh("(echo x > /proc/sys/kernel/hostname) 2>&1; "
	            "(echo x > /sys/kernel/uevent_helper) 2>&1 | grep -c -E "
	            "'Read-only|nonexistent|denied'"),
	        "/bin/sh: can't create /proc/sys/kernel/hostname: Read-only file system\n"
	        "1\n",
	        "no write to kernel settings");
}

static void test_devices(void)
{
	is_str(h_sh("cd /dev; for d in null zero full random urandom tty; do stat -c '%n %t,%T %F' "
	            "$d; done; "
	            "ls -d pts shm mqueue; for l in fd stdin stdout stderr ptmx; do readlink $l; "
	            "done"),
	        "null 1,3 character special file\nzero 1,5 character special file\n"
	        "full 1,7 character special file\nrandom 1,8 character special file\n"
	        "urandom 1,9 character special file\ntty 5,0 character special file\n"
	        "mqueue\npts\nshm\n/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/"
	        "2\npts/ptmx\n",
	        "/dev");
	is_str(h_sh("echo x > /dev/null && head -c 2 /dev/zero | wc -c; df -k /dev/shm | sed 1d | "
	            "tr -s ' ' | cut -d' ' -f2"),
	        "2\n65536\n", "devices work; shm is 64 MiB");
	struct sandbox_spec s = h_spec("df -k /dev/shm | sed 1d | tr -s ' ' | cut -d' ' -f2");
	s.shm_size = 1 << 20;
	ok(h_run(s) >= 0, "shm size");
	is_str(h_out.buf, "1024\n", "as asked");
	/* MKNOD is there as in Docker, but a node opens nothing, in the root file system or in
	 * /dev. */
	h_sh("for p in /n /dev/n /tmp/n /dev/shm/n; do mknod $p c 1 5 2>/dev/null && head -c 1 $p; "
	     "done; echo end");
	ok(strstr(h_out.buf, "end\n") && h_exit == 0, "runs");
	ok(!memchr(h_out.buf, '\0', h_out.len), "no node made inside opens");
	h_sh("[ -e /dev/sda ] || [ -e /dev/vda ] || [ -e /dev/kmsg ] || [ -e /dev/fuse ] || [ -e "
	     "/dev/mem ] || echo none");
	is_str(h_out.buf, "none\n", "no other host device");
}

static void test_root(void)
{
	h_sh("[ \"$(stat -c %d:%i /)\" = \"$(stat -c %d:%i /../..)\" ] && echo same; "
	     "grep -c -v -E ' (/|/proc.*|/sys.*|/dev.*|/etc/hosts|/etc/resolv.conf) ' "
	     "/proc/mounts");
	is_str(h_out.buf, "same\n0\n", "no host mount is left, .. of the root is the root");
	is_str(h_sh("[ \"$(stat -c %d:%i /)\" = \"$(stat -c %d:%i /proc/1/root/)\" ] && echo same"),
	        "same\n", "/proc/1/root is our root");
	is_str(h_sh("readlink /proc/1/exe; (echo x > /proc/1/exe) 2>&1 | grep -c -E "
	            "'busy|Read-only'"),
	        "/bin/sh\n1\n", "/proc/1/exe is the image's");
}

static void test_insecure(void)
{
	struct sandbox_spec s = h_spec("grep -E '^(CapEff|CapInh|Seccomp:)' /proc/self/status; "
	                               "probe keyring; mount -t tmpfs x /tmp && echo mounted");
	s.insecure = true;
	ok(h_run(s) >= 0, "insecure runs");
	/* With one id the filter that asks the supervisor stays. */
	const char *seccomp = h_mode == SYS_PRIV_SINGLE ? "Seccomp:\t2\n" : "Seccomp:\t0\n";
	ok(h_has(h_out.buf, seccomp) && h_has(h_out.buf, "CapInh:\t0000000000000000\n") &&
	                h_has(h_out.buf, "mounted\n") && !strstr(h_out.buf, "a80425fb"),
	        "no filter, all capabilities");
	long ours = syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, -3, 0);
	const char *line = strstr(h_out.buf, seccomp);
	long theirs = line ? strtol(line + strlen(seccomp), NULL, 10) : -1;
	ok(theirs > 0 && theirs != ours, "a session keyring of its own");
}

/* S2: the image's shell is the builder's own program. */
static void test_proc_self_exe(void)
{
	struct stat before, after;
	ok(stat("/proc/self/exe", &before) == 0, "set up");
	h_put(h_layer, "bin/evil", "#!/proc/self/exe\n", 0755);
	struct sandbox_spec s = h_spec("");
	strv_release(&h_argv);
	strv_add(&h_argv, "/bin/evil");
	(void)!h_run(s);
	s = h_spec("(for i in 1 2 3 4 5 6 7 8 9; do echo x > /proc/self/exe; echo x > /proc/1/exe; "
	           "done) 2>/dev/null; true");
	(void)!h_run(s);
	ok(stat("/proc/self/exe", &after) == 0 && before.st_size == after.st_size &&
	                before.st_mtim.tv_sec == after.st_mtim.tv_sec &&
	                before.st_mtim.tv_nsec == after.st_mtim.tv_nsec,
	        "S2: the builder's program is unchanged");
}

static void tests(void)
{
	put_probe();
	test_caps();
	test_calls();
	test_masks();
	test_devices();
	test_root();
	test_insecure();
	test_proc_self_exe();
}

int main(int argc, char **argv)
{
	return harness_main(argc, argv, tests);
}
