/* sandbox/cgroup.c - see cgroup.h. All writes are to our own subtree. */
#include "sandbox/cgroup.h"
#include "base/strbuf.h"
#include "sys/path.h"
#include "sys/privilege.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/vfs.h>

#define MAIN "strake-main"
#define STEP "strake-step-"

bool cgroup_is_v2(void)
{
	struct statfs s;
	return statfs("/sys/fs/cgroup", &s) == 0 && s.f_type == CGROUP2_SUPER_MAGIC;
}

static int put(int dir, const char *file, const char *text)
{
	_cleanup_close_ int fd = openat(dir, file, O_WRONLY | O_CLOEXEC);
	return fd < 0 ? -errno : sys_write_all(fd, text, strlen(text));
}

static int read_text(int dir, const char *file, char **ret)
{
	_cleanup_close_ int fd = openat(dir, file, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : sys_read_fd(fd, 1 << 20, ret, NULL);
}

static int not_delegated(struct error *err, const char *why)
{
	bool user = geteuid() != 0 || sys_privilege_own_userns();
	err_set(err, ERR_SYSTEM, "cannot limit the step's resources: %s", why);
	return err_hint(err,
	        "run the build in a cgroup of its own: `systemd-run %s--scope -p Delegate=yes "
	        "strake build …`",
	        user ? "--user " : "");
}

/* own_cgroup - its directory; that of the parent if we are in our leaf already. */
static int own_cgroup(struct error *err)
{
	_cleanup_free_ char *text = NULL;
	if (!cgroup_is_v2()) {
		err_set(err, ERR_SYSTEM,
		        "cannot limit the step's resources: this system does not use cgroup v2 "
		        "alone");
		return err_hint(err,
		        "boot with systemd.unified_cgroup_hierarchy=1, or leave the limit out");
	}
	int r = read_text(AT_FDCWD, "/proc/self/cgroup", &text);
	char *p = r < 0 ? NULL : strstr(text, "0::/");
	if (!p || (p != text && p[-1] != '\n'))
		return not_delegated(err, "this process is in no unified cgroup");
	p += 4;
	p[strcspn(p, "\n")] = '\0';
	char *last = strrchr(p, '/');
	if (str_eq(last ? last + 1 : p, MAIN))
		*(last ? last : p) = '\0';
	_cleanup_close_ int top = sys_open_dir(AT_FDCWD, "/sys/fs/cgroup");
	int fd = top < 0 ? top : sys_open_beneath(top, p, O_RDONLY | O_DIRECTORY, 0);
	return fd < 0 ? err_sys(err, fd, "cannot open this process's cgroup") : fd;
}

/* vacate - a cgroup with limited children may hold no process itself, or (pids and cpu alone) its
 * children may hold none. Only the root of all is free of that. */
static int vacate(int own)
{
	_cleanup_free_ char *procs = NULL;
	if (faccessat(own, "cgroup.type", F_OK, 0) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (mkdirat(own, MAIN, 0755) < 0 && errno != EEXIST)
		return -errno;
	_cleanup_close_ int leaf = sys_open_beneath(own, MAIN, O_RDONLY | O_DIRECTORY, 0);
	if (leaf < 0)
		return leaf;
	int r = read_text(own, "cgroup.procs", &procs);
	for (char *save = NULL, *p = r < 0 ? NULL : strtok_r(procs, "\n", &save); p;
	        p = strtok_r(NULL, "\n", &save)) {
		/* 0 is somebody outside our pid namespace, and written it would mean ourselves. */
		r = str_eq(p, "0") ? -EBUSY : put(leaf, "cgroup.procs", p);
		if (r < 0 && r != -ESRCH)
			return r;
	}
	return r == -ESRCH ? 0 : r;
}

static bool has_word(const char *list, const char *word)
{
	size_t n = strlen(word);
	for (const char *p = list; (p = strstr(p, word)); p += n)
		if ((p == list || p[-1] == ' ') && (!p[n] || p[n] == ' ' || p[n] == '\n'))
			return true;
	return false;
}

static int no_controller(const char *name, struct error *err)
{
	_cleanup_free_ char *why = xasprintf("the %s controller is not delegated to it", name);
	if (geteuid() == 0 && !sys_privilege_own_userns())
		return not_delegated(err, why);
	err_set(err, ERR_SYSTEM,
	        "cannot limit the step's resources: the %s controller is not "
	        "available in this cgroup",
	        name);
	return err_hint(err,
	        "run the build with `systemd-run --user --scope -p Delegate=yes strake build …`; "
	        "if "
	        "it is so there too, let root put `[Service] Delegate=cpu memory pids` into "
	        "/etc/systemd/system/user@.service.d/delegate.conf, and log in again");
}

/* missing - what has to be switched on for the limits; "": nothing. */
static int missing(int own, const struct cgroup_limits *l, struct strbuf *ret, struct error *err)
{
	const struct {
		const char *name;
		bool wanted;
	} c[] = {{"memory", l->memory}, {"pids", l->pids}, {"cpu", l->cpu_quota}};
	_cleanup_free_ char *have = NULL, *on = NULL;
	int r = read_text(own, "cgroup.controllers", &have);
	if (r >= 0)
		r = read_text(own, "cgroup.subtree_control", &on);
	if (r < 0)
		return err_sys(err, r, "cannot read what this process's cgroup offers");
	for (size_t i = 0; i < ARRAY_SIZE(c); i++) {
		if (!c[i].wanted || has_word(on, c[i].name))
			continue;
		if (!has_word(have, c[i].name))
			return no_controller(c[i].name, err);
		strbuf_addf(ret, "%s+%s", ret->len ? " " : "", c[i].name);
	}
	return 0;
}

int cgroup_prepare(const struct cgroup_limits *l, struct error *err)
{
	_cleanup_close_ int own = own_cgroup(err);
	_cleanup_strbuf_ struct strbuf on = STRBUF_INIT;
	if (own < 0)
		return -1;
	if (faccessat(own, "cgroup.procs", W_OK, 0) < 0)
		return not_delegated(err, "its cgroup is not delegated to this user");
	if (missing(own, l, &on, err) < 0)
		return -1;
	/* Again: who was being started meanwhile was in nobody's list. */
	int r = -EBUSY;
	for (int tries = 0; r == -EBUSY && tries < 10; tries++) {
		r = vacate(own);
		if (r >= 0 && on.len)
			r = put(own, "cgroup.subtree_control", on.buf);
	}
	if (r == -EACCES || r == -EPERM)
		return not_delegated(err, "its cgroup is not delegated to this user");
	if (r == -EBUSY)
		return not_delegated(err, "its cgroup holds processes that cannot be moved");
	return r < 0 ? err_sys(err, r, "cannot limit the step's resources") : 0;
}

static int put_number(int fd, const char *file, uint64_t n)
{
	char text[32];
	snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
	return put(fd, file, text);
}

static int set_limits(int fd, const struct cgroup_limits *l)
{
	int r = l->memory ? put_number(fd, "memory.max", l->memory) : 0;
	if (r >= 0 && l->memory) {
		/* As much again of swap, as with docker; where there is swap. */
		r = put_number(fd, "memory.swap.max", l->memory);
		r = r == -ENOENT ? 0 : r;
	}
	if (r >= 0 && l->pids)
		r = put_number(fd, "pids.max", l->pids);
	if (r >= 0 && l->cpu_quota) {
		char text[64];
		/* The kernel takes no quota below 1 ms. */
		bool small = l->cpu_quota < 1000;
		snprintf(text, sizeof(text), "%llu %u",
		        (unsigned long long)l->cpu_quota * (small ? 10 : 1),
		        small ? 1000000u : 100000u);
		r = put(fd, "cpu.max", text);
	}
	return r;
}

static void lock_dir(int fd, int how)
{
	while (flock(fd, how) < 0 && errno == EINTR)
		;
}

/* sweep - steps whose keeper was killed: nobody holds their lock. */
static void sweep(int own)
{
	int dup = sys_open_dir(own, ".");
	DIR *d = dup < 0 ? NULL : fdopendir(dup);
	if (!d && dup >= 0)
		close(dup);
	for (struct dirent *e; d && (e = readdir(d));) {
		if (!str_starts(e->d_name, STEP))
			continue;
		_cleanup_close_ int fd = sys_open_dir(own, e->d_name);
		if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
			(void)unlinkat(own, e->d_name, AT_REMOVEDIR);
	}
	if (d)
		closedir(d);
}

/* make_locked - own is locked: nobody sweeps between the directory and its lock. */
static int make_locked(int own, const struct cgroup_limits *l, struct cgroup *ret)
{
	uint64_t number;
	if (getrandom(&number, sizeof(number), 0) != sizeof(number))
		return -EIO;
	_cleanup_free_ char *name = xasprintf(STEP "%016llx", (unsigned long long)number);
	if (mkdirat(own, name, 0755) < 0)
		return -errno;
	_cleanup_close_ int fd = sys_open_beneath(own, name, O_RDONLY | O_DIRECTORY, 0);
	if (fd >= 0)
		lock_dir(fd, LOCK_EX);
	int r = fd < 0 ? fd : set_limits(fd, l);
	if (r < 0) {
		(void)unlinkat(own, name, AT_REMOVEDIR);
		return r;
	}
	ret->fd = take_fd(&fd);
	ret->name = take_ptr(name);
	return 0;
}

int cgroup_make(const struct cgroup_limits *l, struct cgroup *ret, struct error *err)
{
	_cleanup_close_ int own = own_cgroup(err);
	if (own < 0)
		return -1;
	lock_dir(own, LOCK_EX);
	sweep(own);
	int r = make_locked(own, l, ret);
	lock_dir(own, LOCK_UN);
	if (r < 0)
		return err_sys(err, r, "cannot make a cgroup with the step's limits");
	ret->parent_fd = take_fd(&own);
	return 0;
}

bool cgroup_end(struct cgroup *c, uint64_t *ret_peak)
{
	*ret_peak = 0;
	if (c->fd < 0)
		return false;
	_cleanup_free_ char *events = NULL;
	bool oom = false;
	if (read_text(c->fd, "memory.events", &events) >= 0) {
		const char *p = strstr(events, "oom_kill ");
		oom = p && strtoul(p + 9, NULL, 10) > 0;
	}
	_cleanup_free_ char *peak = NULL;
	if (read_text(c->fd, "memory.peak", &peak) >= 0)
		*ret_peak = strtoull(peak, NULL, 10);
	(void)unlinkat(c->parent_fd, c->name, AT_REMOVEDIR);
	close_ptr(&c->fd);
	close_ptr(&c->parent_fd);
	free(c->name);
	c->name = NULL;
	return oom;
}
