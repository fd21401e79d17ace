/* sandbox/freeze.h - the processes of a step stopped for a while. Linux has one switch for that,
 * the freezer of cgroups, which few users have a right to: here it is a signal to each. */
#ifndef STRAKE_SANDBOX_FREEZE_H
#define STRAKE_SANDBOX_FREEZE_H

#include "base/base.h"

struct frozen {
	int *v; /* pids, as our own pid namespace has them */
	size_t n, cap;
};
/* freeze_step - SIGSTOP to all of the pid namespace whose first process this is; returns when none
 * runs any more. One that sleeps in the kernel is waited for a moment only: it may sleep for a
 * child (vfork) that was stopped. What had stopped before is not in *ret. proc: a procfs of our own
 * pid namespace. -ESRCH: it has ended; -EBUSY: it starts processes faster than they can be stopped;
 * everything goes on then. */
int freeze_step(int proc, int first, struct frozen *ret) must_check;
/* frozen_thaw - it goes on; empties f. */
void frozen_thaw(struct frozen *f);

#endif
