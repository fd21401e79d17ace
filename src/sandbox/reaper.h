/* sandbox/reaper.h - is a process that outlives us cleared away when it ends?
 *
 * The keeper dies some 15 ms after its work is done. Who inherits it has to collect it; most first
 * processes of a pid namespace do, `tail -f /dev/null` in a container does not, and there each
 * build would leave a dead entry in the process table. */
#ifndef STRAKE_SANDBOX_REAPER_H
#define STRAKE_SANDBOX_REAPER_H

#include "base/base.h"

/* orphans_are_reaped - proc: /proc. By what process 1 does about SIGCHLD; where it does nothing, by
 * whether a dead process called `name` has been its child for long. In doubt false. */
bool orphans_are_reaped(int proc, const char *name);

#endif
