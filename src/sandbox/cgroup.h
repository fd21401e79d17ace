/* sandbox/cgroup.h - limits for a step, where cgroup v2 is delegated to us.
 *
 *     our own cgroup            holds no process once steps have limits: the kernel wants that
 *       strake-main             the builder, the keeper, and who else was in our own one
 *       strake-step-<random>    one step; its directory is locked (flock) as long as it may run
 */
#ifndef STRAKE_SANDBOX_CGROUP_H
#define STRAKE_SANDBOX_CGROUP_H

#include "base/error.h"

struct cgroup_limits {
	uint64_t memory, pids; /* bytes, processes; 0: no such limit */
	uint64_t cpu_quota;    /* microseconds of 100 ms; 0: no such limit */
};
static inline bool cgroup_limits_any(const struct cgroup_limits *l)
{
	return l->memory || l->pids || l->cpu_quota;
}

struct cgroup {
	int fd;     /* directory of the step's cgroup; -1: none */
	char *name; /* in parent_fd */
	int parent_fd;
};

bool cgroup_is_v2(void);
/* cgroup_prepare - switches the controllers on and moves processes into strake-main. By the
 * builder: the keeper does not see the processes outside its pid namespace. Clear error where it is
 * not possible. */
int cgroup_prepare(const struct cgroup_limits *l, struct error *err) must_check;
/* cgroup_make - a cgroup for one step, by the keeper. Clears away what a killed build left. */
int cgroup_make(const struct cgroup_limits *l, struct cgroup *ret, struct error *err) must_check;
/* cgroup_end - removes it; true if its memory limit killed a process. *ret_peak: the most memory it
 * had in use, in bytes; 0: unknown (Linux before 5.19, or no limit). */
bool cgroup_end(struct cgroup *c, uint64_t *ret_peak);

#endif
