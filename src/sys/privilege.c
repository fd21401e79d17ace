/* sys/privilege.c - finds out which rights can be had, and takes them; see privilege.h.
 *
 * Nothing here decides silently: every mode below the best carries why and the cure. */
#include "sys/privilege.h"
#include "sys/path.h"
#include "sys/process.h"
#include "base/strbuf.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>

#define SUBID_FILE_MAX (1 << 20)

static bool entered, own_userns;

void sys_privilege_info_release(struct sys_privilege_info *i)
{
	free(i->why);
	free(i->cure);
	*i = (struct sys_privilege_info){0};
}

bool sys_privilege_entered(void)
{
	return entered;
}

bool sys_privilege_own_userns(void)
{
	return own_userns;
}

bool sys_kernel_at_least(int major, int minor)
{
	struct utsname u;
	if (uname(&u) < 0)
		return false;
	char *end;
	long ma = strtol(u.release, &end, 10);
	long mi = *end == '.' ? strtol(end + 1, NULL, 10) : 0;
	return ma > major || (ma == major && mi >= minor);
}

char *sys_find_program(const char *name)
{
	const char *path = getenv("PATH");
	if (!path || !*path)
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	/* An ordinary user's PATH often lacks the sbin directories. */
	_cleanup_free_ char *all = xasprintf("%s:/usr/sbin:/sbin", path);
	for (char *save = NULL, *d = strtok_r(all, ":", &save); d; d = strtok_r(NULL, ":", &save)) {
		if (*d != '/')
			continue; /* a relative entry would let the working directory choose */
		_cleanup_free_ char *p = xasprintf("%s/%s", d, name);
		struct stat st;
		if (stat(p, &st) == 0 && S_ISREG(st.st_mode) && access(p, X_OK) == 0)
			return take_ptr(p);
	}
	return NULL;
}

static bool have_cap(cap_value_t cap)
{
	cap_t c = cap_get_proc();
	cap_flag_value_t v = CAP_CLEAR;
	if (c && cap_get_flag(c, cap, CAP_EFFECTIVE, &v) < 0)
		v = CAP_CLEAR;
	cap_free(c);
	return v == CAP_SET;
}

/* Trial of a user namespace in a child that shares nothing but memory. -EACCES: it can be made
 * but gives no rights in it (AppArmor's restriction on Ubuntu). */
/* unshare_alone - a thread that was joined may still count for a moment: the kernel lets go of the
 * joiner before it has taken the thread out of its group. */
static int unshare_alone(int flags)
{
	const struct timespec pause = {.tv_nsec = 50 * 1000};
	for (int i = 0; i < 400; i++) {
		if (unshare(flags) == 0)
			return 0;
		if (errno != EINVAL)
			break;
		nanosleep(&pause, NULL);
	}
	return -errno;
}

static int userns_child(void *arg)
{
	int *ret = arg;
	if (unshare(CLONE_NEWUSER) < 0)
		*ret = -errno;
	else if (unshare(CLONE_NEWUTS) < 0)
		*ret = -EACCES;
	return 0;
}

static int try_userns(void)
{
	static char stack[16384] __attribute__((aligned(16)));
	int ret = 0;
	int pid =
	        clone(userns_child, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, &ret);
	if (pid < 0)
		return -errno;
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return ret;
}

/* many_ids - is more than one user id mapped here? Lines of "inside outside count". */
static bool many_ids(void)
{
	char map[1024];
	_cleanup_close_ int fd = open("/proc/self/uid_map", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, map, sizeof(map) - 1);
	if (n <= 0)
		return false;
	map[n] = '\0';
	unsigned inside, outside, count;
	return sscanf(map, "%u %u %u", &inside, &outside, &count) == 3 &&
	       (count > 1 || strchr(map, '\n') != strrchr(map, '\n'));
}

bool sys_privilege_reads_all(void)
{
	return have_cap(CAP_DAC_OVERRIDE);
}

bool sys_privilege_can_chown(void)
{
	return have_cap(CAP_CHOWN) && have_cap(CAP_FOWNER) && have_cap(CAP_DAC_OVERRIDE) &&
	       many_ids();
}

static bool sysctl_is(const char *path, const char *value)
{
	char buf[32] = "";
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, buf, sizeof(buf) - 1) < 0)
		return false;
	buf[strcspn(buf, "\n")] = '\0';
	return str_eq(buf, value);
}

static void explain_no_userns(struct sys_privilege_info *i, int r)
{
	if (sysctl_is("/proc/sys/user/max_user_namespaces", "0")) {
		i->why =
		        xstrdup("user namespaces are switched off (user.max_user_namespaces is 0)");
		i->cure = xstrdup("sudo sysctl -w user.max_user_namespaces=15000");
	} else if (sysctl_is("/proc/sys/kernel/unprivileged_userns_clone", "0")) {
		i->why = xstrdup("only root may make user namespaces "
		                 "(kernel.unprivileged_userns_clone is 0)");
		i->cure = xstrdup("sudo sysctl -w kernel.unprivileged_userns_clone=1");
	} else if (sysctl_is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1")) {
		i->why = xstrdup("AppArmor restricts unprivileged user namespaces");
		i->cure = xstrdup("sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 "
		                  "(or give strake an AppArmor profile with `userns,`)");
	} else {
		i->why = xasprintf("no user namespace can be made: %s", strerror(-r));
		i->cure = xstrdup("inside a container: run it with --privileged or with a seccomp "
		                  "profile that permits unshare; else run as root");
	}
}

/* parse_id - plain decimal, no sign, fits 32 bits. */
static bool parse_id(const char *s, size_t n, uint32_t *ret)
{
	uint64_t v = 0;
	if (!n || n > 10)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!isdigit((unsigned char)s[i]))
			return false;
		v = v * 10 + (uint64_t)(s[i] - '0');
	}
	if (v > UINT32_MAX)
		return false;
	*ret = (uint32_t)v;
	return true;
}

unsigned sys_subid_parse(const char *text, const char *user, uint32_t uid, struct sys_idrange *out,
        unsigned n_out, uint32_t first_inside)
{
	char num[16];
	unsigned n = 0;
	snprintf(num, sizeof(num), "%u", uid);
	while (*text && n < n_out) {
		size_t len = strcspn(text, "\n");
		const char *a = memchr(text, ':', len);
		const char *b = a ? memchr(a + 1, ':', len - (size_t)(a + 1 - text)) : NULL;
		uint32_t start, count;
		if (b) {
			size_t name_len = (size_t)(a - text), rest = len - (size_t)(b + 1 - text);
			bool mine = (user && name_len == strlen(user) &&
			                    memcmp(text, user, name_len) == 0) ||
			            (name_len == strlen(num) && memcmp(text, num, name_len) == 0);
			while (rest && isspace((unsigned char)b[rest]))
				rest--;
			if (mine && parse_id(a + 1, (size_t)(b - a - 1), &start) &&
			        parse_id(b + 1, rest, &count) && count &&
			        count <= UINT32_MAX - start && count <= UINT32_MAX - first_inside) {
				out[n++] = (struct sys_idrange){first_inside, start, count};
				first_inside += count;
			}
		}
		text += len + (text[len] == '\n');
	}
	return n;
}

static unsigned read_subids(
        const char *file, const char *user, uint32_t uid, struct sys_idrange *out, unsigned n_out)
{
	_cleanup_close_ int etc = sys_open_dir(AT_FDCWD, "/etc");
	_cleanup_free_ char *text = NULL;
	/* Through links as well: on some systems /etc is a farm of links. */
	_cleanup_close_ int fd =
	        etc < 0 ? -1 : openat(etc, file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || sys_read_fd(fd, SUBID_FILE_MAX, &text, NULL) < 0)
		return 0;
	return sys_subid_parse(text, user, uid, out, n_out, 1);
}

static bool probe_subid(struct sys_privilege_info *i)
{
	struct passwd *pw = getpwuid(getuid());
	const char *user = pw ? pw->pw_name : NULL;
	_cleanup_free_ char *um = sys_find_program("newuidmap"),
	                    *gm = sys_find_program("newgidmap");
	if (!um || !gm) {
		i->why = xasprintf("%s is not installed", um ? "newgidmap" : "newuidmap");
		i->cure = xstrdup("sudo apt-get install uidmap (dnf: shadow-utils)");
		return false;
	}
	i->uids[0] = (struct sys_idrange){0, getuid(), 1};
	i->gids[0] = (struct sys_idrange){0, getgid(), 1};
	unsigned nu = read_subids("subuid", user, getuid(), i->uids + 1, ARRAY_SIZE(i->uids) - 1);
	unsigned ng = read_subids("subgid", user, getuid(), i->gids + 1, ARRAY_SIZE(i->gids) - 1);
	if (!nu || !ng) {
		_cleanup_free_ char *num = xasprintf("%u", (unsigned)getuid());
		i->why = xasprintf("/etc/%s has no entry for user %s", nu ? "subgid" : "subuid",
		        user ? user : num);
		i->cure = xasprintf("sudo usermod --add-subuids 100000-165535 --add-subgids "
		                    "100000-165535 %s",
		        user ? user : num);
		return false;
	}
	i->n_uids = nu + 1;
	i->n_gids = ng + 1;
	return true;
}

/* The id maps are written from outside by setuid programs. They run at the same time: each costs
 * a millisecond or two. */
static int map_argv(
        struct strv *argv, const char *prog, pid_t target, const struct sys_idrange *v, unsigned n)
{
	strv_add(argv, prog);
	strv_addf(argv, "%d", (int)target);
	for (unsigned i = 0; i < n; i++) {
		strv_addf(argv, "%u", v[i].inside);
		strv_addf(argv, "%u", v[i].outside);
		strv_addf(argv, "%u", v[i].count);
	}
	return 0;
}

static int write_proc(const char *path, const char *text)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd < 0 ? -errno : sys_write_all(fd, text, strlen(text));
}

static int write_map(
        pid_t target, const char *name, const struct sys_idrange *v, unsigned n, int out)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	_cleanup_free_ char *path = xasprintf("/proc/%d/%s", (int)target, name);
	for (unsigned i = 0; i < n; i++)
		strbuf_addf(&text, "%u %u %u\n", v[i].inside, v[i].outside, v[i].count);
	int r = write_proc(path, text.buf);
	if (r < 0)
		dprintf(out, "cannot write %s: %s\n", path, strerror(-r));
	return r;
}

static noreturn_ void mapper_child(
        const struct sys_privilege_info *i, pid_t target, int go, int out)
{
	char c;
	if (read(go, &c, 1) != 1)
		_exit(1); /* the parent gave up */
	if (i->direct)
		_exit(write_map(target, "uid_map", i->uids, i->n_uids, out) < 0 ||
		        write_map(target, "gid_map", i->gids, i->n_gids, out) < 0);
	int status[2], pidfd[2], r[2];
	static const char *const names[2] = {"newuidmap", "newgidmap"};
	for (int k = 0; k < 2; k++) {
		char *prog = sys_find_program(names[k]);
		struct strv argv = STRV_INIT;
		map_argv(&argv, prog ? prog : names[k], target, k ? i->gids : i->uids,
		        k ? i->n_gids : i->n_uids);
		struct sys_spawn s = {.path = argv.v[0],
		        .argv = (const char *const *)argv.v,
		        .stdin_fd = -1,
		        .stdout_fd = -1,
		        .stderr_fd = out,
		        .cwd_fd = -1};
		r[k] = sys_spawn(&s, NULL, &pidfd[k]);
		if (r[k] < 0)
			dprintf(out, "%s: %s\n", names[k], strerror(-r[k]));
	}
	int bad = 0;
	for (int k = 0; k < 2; k++) {
		if (r[k] >= 0)
			r[k] = sys_wait_pidfd(pidfd[k], &status[k]);
		bad |= r[k] < 0 || status[k] != 0;
	}
	_exit(bad);
}

static int enter_subid(const struct sys_privilege_info *i, struct error *err)
{
	int go[2], out[2];
	if (pipe2(go, O_CLOEXEC) < 0)
		return err_sys(err, errno, "pipe");
	_cleanup_close_ int go_r = go[0], go_w = go[1];
	if (pipe2(out, O_CLOEXEC) < 0)
		return err_sys(err, errno, "pipe");
	_cleanup_close_ int out_r = out[0], out_w = out[1];
	pid_t me = getpid();
	pid_t child = fork();
	if (child < 0)
		return err_sys(err, errno, "fork");
	if (child == 0) {
		close(go_w); /* else its own copy keeps the pipe open when the parent dies */
		mapper_child(i, me, go_r, out_w);
	}
	close_ptr(&out_w);
	close_ptr(&go_r);
	int r = unshare_alone(CLONE_NEWUSER | CLONE_NEWNS);
	if (r >= 0)
		r = sys_write_all(go_w, "x", 1);
	close_ptr(&go_w);
	_cleanup_free_ char *text = NULL;
	int rr = sys_read_fd(out_r, 65536, &text, NULL);
	int status = 0;
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (r < 0)
		return err_sys(err, r, "cannot make a user namespace");
	if (rr < 0)
		return err_sys(err, rr, "cannot read from newuidmap");
	if (status) {
		text[strcspn(text, "\n")] = '\0';
		err_set(err, ERR_SYSTEM, "cannot map the subordinate ids: %s", text);
		return err_hint(err,
		        "check that /etc/subuid and /etc/subgid give this user ranges that "
		        "are not already restricted, and that newuidmap is setuid root");
	}
	return 0;
}

/* helpers_work - a setuid newuidmap may write maps where root has CAP_SYS_ADMIN; in a container
 * that took it away most releases of it fail, so there it is tried. File capabilities serve
 * anywhere. */
static bool helpers_work(struct sys_privilege_info *i)
{
	if (cap_get_bound(CAP_SYS_ADMIN) == CAP_SET)
		return true;
	_cleanup_free_ char *helper = sys_find_program("newuidmap");
	if (!helper || getxattr(helper, "security.capability", NULL, 0) > 0)
		return true;
	int status = 1;
	pid_t pid = fork();
	if (pid == 0) {
		struct error err = ERROR_INIT;
		_exit(enter_subid(i, &err) < 0);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (status == 0)
		return true;
	i->why = xstrdup("newuidmap, being setuid root, may not map ids in this container");
	i->cure = xasprintf(
	        "in the image: chmod u-s %s %.*snewgidmap; setcap cap_setuid=ep %s; setcap "
	        "cap_setgid=ep %.*snewgidmap",
	        helper, (int)(strlen(helper) - strlen("newuidmap")), helper, helper,
	        (int)(strlen(helper) - strlen("newuidmap")), helper);
	return false;
}

/* own_ids - the ids that exist here, each to be mapped to itself. */
static unsigned own_ids(const char *path, struct sys_idrange *out, unsigned n_out)
{
	char text[2048];
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	text[MAX(n, (ssize_t)0)] = '\0';
	unsigned k = 0;
	for (char *p = text, *end; k < n_out; p = end) {
		unsigned long v[3];
		for (int i = 0; i < 3; i++, p = end)
			v[i] = strtoul(p, &end, 10);
		if (end == p && !v[2])
			break;
		out[k++] = (struct sys_idrange){(uint32_t)v[0], (uint32_t)v[0], (uint32_t)v[2]};
	}
	return k;
}

/* probe_direct - root of a container that lacks CAP_SYS_ADMIN, and may still give out its ids. */
static bool probe_direct(struct sys_privilege_info *i)
{
	if (geteuid() != 0 || !have_cap(CAP_SETUID) || !have_cap(CAP_SETGID))
		return false;
	/* Linux 5.12 wants this one for a map with id 0 in it. */
	if (!have_cap(CAP_SETFCAP))
		return false;
	i->n_uids = own_ids("/proc/self/uid_map", i->uids, ARRAY_SIZE(i->uids));
	i->n_gids = own_ids("/proc/self/gid_map", i->gids, ARRAY_SIZE(i->gids));
	i->direct = true;
	return i->n_uids && i->uids[0].inside == 0 && i->n_gids && i->gids[0].inside == 0 &&
	       (i->n_uids > 1 || i->uids[0].count > 1);
}

/* forced_mode - 1: *ret was asked for. */
static int forced_mode(enum sys_privilege *ret, struct error *err)
{
	const char *f = getenv("STRAKE_PRIVILEGE");
	*ret = SYS_PRIV_NONE;
	if (!f || !*f)
		return 0;
	if (str_eq(f, "none"))
		return 1;
	if (str_eq(f, "root"))
		*ret = SYS_PRIV_ROOT;
	else if (str_eq(f, "subid"))
		*ret = SYS_PRIV_SUBID;
	else if (str_eq(f, "single"))
		*ret = SYS_PRIV_SINGLE;
	else
		return err_set(err, ERR_USAGE,
		        "STRAKE_PRIVILEGE=%s: expected root, subid, single or none", f);
	return 1;
}

static void set_single(struct sys_privilege_info *i)
{
	i->mode = SYS_PRIV_SINGLE;
	i->uids[0] = (struct sys_idrange){0, getuid(), 1};
	i->gids[0] = (struct sys_idrange){0, getgid(), 1};
	i->n_uids = i->n_gids = 1;
}

static void choose(struct sys_privilege_info *i, enum sys_privilege forced)
{
	bool admin = geteuid() == 0 && have_cap(CAP_SYS_ADMIN);
	if (admin && (!forced || forced == SYS_PRIV_ROOT)) {
		i->mode = SYS_PRIV_ROOT;
		i->why = xstrdup("running as root");
		i->uids[0] = i->gids[0] = (struct sys_idrange){0, 0, UINT32_MAX};
		i->n_uids = i->n_gids = 1;
		return;
	}
	if (forced == SYS_PRIV_ROOT) {
		i->why = xstrdup(
		        "STRAKE_PRIVILEGE=root, but this process is not root with CAP_SYS_ADMIN");
		i->cure = xstrdup("run it with sudo, or unset STRAKE_PRIVILEGE");
		return;
	}
	int r = try_userns();
	if (r < 0) {
		explain_no_userns(i, r);
		return;
	}
	if (forced != SYS_PRIV_SINGLE && !admin && probe_direct(i)) {
		i->mode = SYS_PRIV_SUBID;
		i->why = xstrdup(
		        "root of a container, in a user namespace with the container's ids");
		return;
	}
	i->direct = false;
	if (forced != SYS_PRIV_SINGLE && probe_subid(i) && helpers_work(i)) {
		i->mode = SYS_PRIV_SUBID;
		i->why = xstrdup(
		        admin ? "STRAKE_PRIVILEGE=subid" : "an ordinary user with subordinate ids");
		return;
	}
	if (forced == SYS_PRIV_SUBID)
		return; /* NONE; why and cure are set */
	set_single(i);
	if (!i->why)
		i->why = xstrdup("STRAKE_PRIVILEGE=single");
}

int sys_privilege_probe(struct sys_privilege_info *ret, struct error *err)
{
	enum sys_privilege forced;
	int asked = forced_mode(&forced, err);
	if (asked < 0)
		return -1;
	struct sys_privilege_info i = {0};
	if (asked && forced == SYS_PRIV_NONE) {
		i.why = xstrdup("STRAKE_PRIVILEGE=none");
		i.cure = xstrdup("unset STRAKE_PRIVILEGE");
	} else {
		choose(&i, forced);
	}
	*ret = i;
	return 0;
}

static int enter_single(const struct sys_privilege_info *i, struct error *err)
{
	char map[64];
	int r = unshare_alone(CLONE_NEWUSER | CLONE_NEWNS);
	if (r < 0)
		return err_sys(err, r, "cannot make a user namespace");
	r = write_proc("/proc/self/setgroups", "deny");
	if (r >= 0 || r == -ENOENT) {
		snprintf(map, sizeof(map), "0 %u 1\n", i->gids[0].outside);
		r = write_proc("/proc/self/gid_map", map);
	}
	if (r >= 0) {
		snprintf(map, sizeof(map), "0 %u 1\n", i->uids[0].outside);
		r = write_proc("/proc/self/uid_map", map);
	}
	return r < 0 ? err_sys(err, r, "cannot write the id map") : 0;
}

int sys_privilege_enter(const struct sys_privilege_info *i, struct error *err)
{
	if (entered)
		return 0;
	if (!sys_kernel_at_least(5, 12)) {
		err_set(err, ERR_SYSTEM,
		        "this kernel is too old: strake needs Linux 5.12 or newer");
		return err_hint(err, "older kernels lack overlay mounts for users (5.11) and "
		                     "mount_setattr (5.12)");
	}
	int r = 0;
	switch (i->mode) {
	case SYS_PRIV_ROOT:
		if (unshare(CLONE_NEWNS) < 0)
			r = err_sys(err, errno, "cannot make a mount namespace");
		break;
	case SYS_PRIV_SUBID:
		r = enter_subid(i, err);
		break;
	case SYS_PRIV_SINGLE:
		r = enter_single(i, err);
		break;
	case SYS_PRIV_NONE:
		err_set(err, ERR_SYSTEM, "cannot get the rights a build needs: %s",
		        str_or_empty(i->why));
		return i->cure ? err_hint(err, "%s", i->cure) : -1;
	}
	if (r < 0)
		return -1;
	/* What we mount stays ours, and the host's later mounts stay out. */
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_sys(err, errno, "cannot make mounts private");
	entered = true;
	own_userns = i->mode != SYS_PRIV_ROOT;
	return 0;
}

int sys_privilege_join(pid_t pid)
{
	char path[48];
	struct stat theirs, ours;
	if (entered || pid <= 0)
		return entered ? 0 : -ESRCH;
	snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
	_cleanup_close_ int ns = open(path, O_RDONLY | O_CLOEXEC);
	if (ns < 0 || fstat(ns, &theirs) < 0 || stat("/proc/self/ns/user", &ours) < 0)
		return -errno;
	bool other = theirs.st_dev != ours.st_dev || theirs.st_ino != ours.st_ino;
	/* In one of its own it has all rights over it, which unshare needs. */
	if ((other && setns(ns, CLONE_NEWUSER) < 0) || unshare(CLONE_NEWNS) < 0)
		return -errno;
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -errno;
	entered = true;
	own_userns = other;
	return 0;
}
