/* sandbox/credentials.c - limits, keyring, seccomp, ids, capabilities: the order matters.
 *
 * The filter is loaded while CAP_SYS_ADMIN is still there (no_new_privs stays off for the sake of
 * sudo); the bounding set shrinks while CAP_SETPCAP is; ids change last but for the capability sets
 * of root, which have no further right to lose by then. */
#include "sandbox/notify.h"
#include "sandbox/step.h"
#include "sys/owner.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/magic.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

static const unsigned kept_caps[] = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_KILL,
        CAP_SETGID, CAP_SETUID, CAP_SETPCAP, CAP_NET_BIND_SERVICE, CAP_NET_RAW, CAP_SYS_CHROOT,
        CAP_MKNOD, CAP_AUDIT_WRITE, CAP_SETFCAP};

static const struct {
	const char *name;
	int resource;
} limit_names[] = {
        {"core", RLIMIT_CORE},
        {"cpu", RLIMIT_CPU},
        {"data", RLIMIT_DATA},
        {"fsize", RLIMIT_FSIZE},
        {"locks", RLIMIT_LOCKS},
        {"memlock", RLIMIT_MEMLOCK},
        {"msgqueue", RLIMIT_MSGQUEUE},
        {"nice", RLIMIT_NICE},
        {"nofile", RLIMIT_NOFILE},
        {"nproc", RLIMIT_NPROC},
        {"rss", RLIMIT_RSS},
        {"rtprio", RLIMIT_RTPRIO},
        {"rttime", RLIMIT_RTTIME},
        {"sigpending", RLIMIT_SIGPENDING},
        {"stack", RLIMIT_STACK},
};

static bool parse_limit(const char *s, size_t n, rlim_t *ret)
{
	uint64_t v = 0;
	if ((n == 2 && memcmp(s, "-1", 2) == 0) || (n == 9 && memcmp(s, "unlimited", 9) == 0)) {
		*ret = RLIM_INFINITY;
		return true;
	}
	for (size_t i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9' || __builtin_mul_overflow(v, (uint64_t)10, &v) ||
		        __builtin_add_overflow(v, (uint64_t)(s[i] - '0'), &v))
			return false;
	}
	*ret = v;
	return n > 0;
}

static int set_limit(const char *text, struct error *err)
{
	size_t n = strcspn(text, "=");
	const char *value = text[n] ? text + n + 1 : "";
	size_t soft = strcspn(value, ":");
	struct rlimit r;
	size_t k = 0;
	while (k < ARRAY_SIZE(limit_names) &&
	        (strlen(limit_names[k].name) != n || memcmp(limit_names[k].name, text, n) != 0))
		k++;
	if (k == ARRAY_SIZE(limit_names))
		return err_set(err, ERR_USAGE, "--ulimit %s: unknown limit", text);
	if (!parse_limit(value, soft, &r.rlim_cur))
		return err_set(err, ERR_USAGE, "--ulimit %s: expected NAME=SOFT[:HARD]", text);
	r.rlim_max = r.rlim_cur;
	if (value[soft] && !parse_limit(value + soft + 1, strlen(value + soft + 1), &r.rlim_max))
		return err_set(err, ERR_USAGE, "--ulimit %s: expected NAME=SOFT[:HARD]", text);
	if (r.rlim_cur > r.rlim_max)
		return err_set(err, ERR_USAGE,
		        "--ulimit %s: the soft limit is above the hard limit", text);
	if (setrlimit(limit_names[k].resource, &r) == 0)
		return 0;
	err_sys(err, errno, "--ulimit %s", text);
	return errno == EPERM
	               ? err_hint(err, "only root can raise a hard limit: see `ulimit -H -a`")
	               : -1;
}

int step_set_limits(struct step *s, struct error *err)
{
	for (size_t i = 0; i < s->spec.ulimits->n; i++)
		if (set_limit(s->spec.ulimits->v[i], err) < 0)
			return -1;
	return 0;
}

static bool is_kept(unsigned cap)
{
	for (size_t i = 0; i < ARRAY_SIZE(kept_caps); i++)
		if (kept_caps[i] == cap)
			return true;
	return false;
}

static int shrink_bounding_set(void)
{
	for (unsigned cap = 0; cap < 64; cap++) {
		if (is_kept(cap))
			continue;
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0) {
			if (errno == EINVAL)
				return 0; /* beyond the kernel's last one */
			return -errno;
		}
	}
	return 0;
}

/* set_caps - permitted = effective = what is kept and had; inheritable empty. */
static int set_caps(bool all)
{
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct d[2];
	if (syscall(SYS_capget, &h, d) < 0)
		return -errno;
	for (unsigned i = 0; i < 2; i++) {
		uint32_t keep = all ? UINT32_MAX : 0;
		for (unsigned b = 0; b < 32; b++)
			keep |= is_kept(i * 32 + b) ? 1u << b : 0;
		d[i].permitted &= keep;
		d[i].effective = d[i].permitted;
		d[i].inheritable = 0;
	}
	return syscall(SYS_capset, &h, d) < 0 ? -errno : 0;
}

static int id_error(const struct step *s, int r, struct error *err)
{
	if (r == -EINVAL) {
		err_set(err, ERR_BUILD, "user %u:%u is not among the ids mapped here", s->user.uid,
		        s->user.gid);
		return err_hint(err, "`strake info` says how to get a range of subordinate ids");
	}
	return err_sys(err, r, "cannot become user %u:%u", s->user.uid, s->user.gid);
}

int step_chown(const struct step *s, int fd, uint32_t uid, uint32_t gid)
{
	if (s->supervisor < 0)
		return fchown(fd, uid, gid) < 0 ? -errno : 0;
	int r = uid || gid ? sys_owner_set(fd, "", (struct sys_owner){uid, gid}) : 0;
	return r == -EOPNOTSUPP ? 0 : r; /* a tmpfs before Linux 6.6 */
}

static int set_groups(struct step *s, struct error *err)
{
	_Static_assert(sizeof(gid_t) == sizeof(uint32_t), "gid_t");
	if (setgroups(s->user.n_groups, s->user.groups) == 0)
		return 0;
	/* With a single mapped id the kernel forbids setgroups for good; root's groups are then the
	 * builder's, of which all are shown as nobody, and another user has no id to run as. */
	if (errno == EPERM && s->user.uid == 0)
		return 0;
	return id_error(s, errno == EPERM ? -EINVAL : -errno, err);
}

/* die_with_keeper - no pid namespace of the keeper's ends us with it. */
static int die_with_keeper(const struct step *s)
{
	return s->shared_proc && prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 ? -errno : 0;
}

/* give_stdio - the pipes behind 0, 1 and 2 belong to the user, or opening /dev/stderr, as web
 * servers do, fails with EACCES. Never a terminal or a named pipe: those are somebody's files. */
static void give_stdio(const struct step *s)
{
	for (int fd = 0; fd <= 2; fd++) {
		struct statfs fs;
		if (fstatfs(fd, &fs) == 0 && fs.f_type == PIPEFS_MAGIC)
			(void)!fchown(fd, s->user.uid, (gid_t)-1);
	}
}

int step_drop_rights(struct step *s, struct error *err)
{
	bool insecure = s->spec.insecure;
	/* Keys of the builder's session stay out of reach. A full quota is no reason to fail: the
	 * filter denies every key call anyway. */
	(void)!syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
	int r = prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ? -errno : 0;
	if (r >= 0 && !insecure)
		r = shrink_bounding_set();
	if (r < 0)
		return err_sys(err, r, "cannot drop capabilities");
	if (!insecure && (r = seccomp_load(s->filter)) < 0)
		return err_sys(err, r, "cannot load the seccomp filter");
	/* With one id the kernel has no other user to become: from here on the supervisor answers
	 * for it. Root's capabilities stay, or an ordinary user could not run apt. */
	if (s->supervisor >= 0) {
		r = notify_begin(s->supervisor, &s->user);
		if (r >= 0)
			r = set_caps(insecure);
		if (r >= 0)
			r = die_with_keeper(s);
		return r < 0 ? err_sys(err, r, "cannot start recording owners") : 0;
	}
	if (s->user.uid != 0)
		give_stdio(s);
	if (set_groups(s, err) < 0)
		return -1;
	if (setresgid(s->user.gid, s->user.gid, s->user.gid) < 0 ||
	        setresuid(s->user.uid, s->user.uid, s->user.uid) < 0)
		return id_error(s, -errno, err);
	r = set_caps(insecure);
	if (r >= 0)
		r = die_with_keeper(s);
	return r < 0 ? err_sys(err, r, "cannot set capabilities") : 0;
}
