/* sandbox/cgroup.h - limits for a step, where cgroup v2 is delegated to us. */
#ifndef STRAKE_SANDBOX_CGROUP_H
#define STRAKE_SANDBOX_CGROUP_H

#include "base/error.h"

struct cgroup {
	int fd;     /* directory of the step's cgroup; -1: none */
	char *name; /* in parent_fd */
	int parent_fd;
};

bool cgroup_is_v2(void);
/* cgroup_make - below our own cgroup; our own processes move into a leaf beside it first, as the
 * kernel wants. 0: no such limit. Clear error where it is not possible. */
int cgroup_make(uint32_t id, uint64_t memory_max, uint64_t pids_max, uint64_t cpu_milli,
        struct cgroup *ret, struct error *err) must_check;
/* cgroup_end - removes it; true if its memory limit killed a process. *ret_peak: the most memory it
 * had in use, in bytes; 0: unknown (Linux before 5.19, or no limit). */
bool cgroup_end(struct cgroup *c, uint64_t *ret_peak);

#endif
