/* sandbox/cgroup.c - see cgroup.h. All writes are to our own subtree. */
#include "sandbox/cgroup.h"
#include "sys/path.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/vfs.h>

#define LEAF "strake-main"

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
	err_set(err, ERR_SYSTEM, "cannot limit the step's resources: %s", why);
	return err_hint(err, "run the build in a cgroup of its own: `systemd-run --user --scope -p "
	                     "Delegate=yes strake build …`");
}

/* own_cgroup - its directory; that of the parent if we are in our leaf already. */
static int own_cgroup(struct error *err)
{
	_cleanup_free_ char *text = NULL;
	int r = read_text(AT_FDCWD, "/proc/self/cgroup", &text);
	char *p = r < 0 ? NULL : strstr(text, "0::/");
	if (!p || (p != text && p[-1] != '\n'))
		return not_delegated(err, "this process is in no unified cgroup");
	p += 4;
	p[strcspn(p, "\n")] = '\0';
	if (str_ends(p, "/" LEAF))
		p[strlen(p) - strlen("/" LEAF)] = '\0';
	_cleanup_close_ int top = sys_open_dir(AT_FDCWD, "/sys/fs/cgroup");
	int fd = top < 0 ? top : sys_open_beneath(top, p, O_RDONLY | O_DIRECTORY, 0);
	return fd < 0 ? err_sys(err, fd, "cannot open this process's cgroup") : fd;
}

/* vacate - a cgroup with limited children may hold no process itself. */
static int vacate(int own)
{
	_cleanup_free_ char *procs = NULL;
	if (mkdirat(own, LEAF, 0755) < 0 && errno != EEXIST)
		return -errno;
	_cleanup_close_ int leaf = sys_open_beneath(own, LEAF, O_RDONLY | O_DIRECTORY, 0);
	if (leaf < 0)
		return leaf;
	int r = read_text(own, "cgroup.procs", &procs);
	for (char *save = NULL, *p = r < 0 ? NULL : strtok_r(procs, "\n", &save); p;
	        p = strtok_r(NULL, "\n", &save)) {
		r = put(leaf, "cgroup.procs", p);
		if (r < 0 && r != -ESRCH)
			return r;
	}
	return r == -ESRCH ? 0 : r;
}

static int enable(int own, struct error *err)
{
	static const char controllers[] = "+memory +pids +cpu";
	int r = put(own, "cgroup.subtree_control", controllers);
	if (r == -EBUSY && (r = vacate(own)) >= 0)
		r = put(own, "cgroup.subtree_control", controllers);
	if (r == -EACCES || r == -EPERM)
		return not_delegated(err, "its cgroup is not delegated to this user");
	if (r == -ENOENT)
		return not_delegated(
		        err, "the memory, pids or cpu controller is not available here");
	return r < 0 ? err_sys(err, r, "cannot limit the step's resources") : 0;
}

static int set_limits(int fd, uint64_t memory, uint64_t pids, uint64_t cpu_milli)
{
	char text[64];
	int r = 0;
	if (memory) {
		snprintf(text, sizeof(text), "%llu", (unsigned long long)memory);
		r = put(fd, "memory.max", text);
	}
	if (r >= 0 && pids) {
		snprintf(text, sizeof(text), "%llu", (unsigned long long)pids);
		r = put(fd, "pids.max", text);
	}
	if (r >= 0 && cpu_milli) {
		snprintf(text, sizeof(text), "%llu 100000", (unsigned long long)cpu_milli * 100);
		r = put(fd, "cpu.max", text);
	}
	return r;
}

int cgroup_make(uint32_t id, uint64_t memory_max, uint64_t pids_max, uint64_t cpu_milli,
        struct cgroup *ret, struct error *err)
{
	if (!cgroup_is_v2()) {
		err_set(err, ERR_SYSTEM,
		        "cannot limit the step's resources: this system does not use cgroup v2 "
		        "alone");
		return err_hint(err,
		        "boot with systemd.unified_cgroup_hierarchy=1, or leave the limit out");
	}
	_cleanup_close_ int own = own_cgroup(err);
	if (own < 0 || enable(own, err) < 0)
		return -1;
	_cleanup_free_ char *name = xasprintf("strake-%d-%u", (int)getpid(), id);
	if (mkdirat(own, name, 0755) < 0 && errno != EEXIST)
		return err_sys(err, errno, "cannot make a cgroup for the step");
	_cleanup_close_ int fd = sys_open_beneath(own, name, O_RDONLY | O_DIRECTORY, 0);
	int r = fd < 0 ? fd : set_limits(fd, memory_max, pids_max, cpu_milli);
	if (r < 0)
		return err_sys(err, r, "cannot set the limits of the step's cgroup");
	*ret = (struct cgroup){take_fd(&fd), take_ptr(name), take_fd(&own)};
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
	close_ptr(&c->fd);
	(void)unlinkat(c->parent_fd, c->name, AT_REMOVEDIR);
	close_ptr(&c->parent_fd);
	free(c->name);
	c->name = NULL;
	return oom;
}
