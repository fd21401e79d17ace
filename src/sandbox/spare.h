/* sandbox/spare.h - a process that waits for a step to become.
 *
 * Two thirds of what a step needs before its command can start do not depend on the step: pid
 * namespace, /dev, /proc, /sys and the masks over them. While one step runs the keeper has a
 * process make them for the next, so that the next is not waited for. The process belongs to no
 * step: nothing of any ran in its namespaces, and a step that it is not fit for is started as ever.
 */
#ifndef STRAKE_SANDBOX_SPARE_H
#define STRAKE_SANDBOX_SPARE_H

#include "sandbox/wire.h"

struct spare {
	pid_t pid; /* 0: none */
	int ctl;   /* its word that it is ready, then the order and the step's socket */
	uint32_t network;
};

/* spare_namespaces - those that a step's first process is made with; spare_fork - into them. */
unsigned long spare_namespaces(uint32_t network);
pid_t spare_fork(unsigned long namespaces);

/* spare_make - unless there is one. In the new process become() never returns; one that cannot be
 * had costs its time only. */
void spare_make(struct spare *s, uint32_t network,
        void (*become)(void *ctx, uint32_t network, int ctl), void *ctx);
/* spare_wait - in that process: says that it is ready, and waits; the step's socket. */
int spare_wait(int ctl, struct wire_order_msg *ret);
/* spare_use - the process that becomes the step; 0: there is none for this network. sock stays the
 * caller's. */
pid_t spare_use(struct spare *s, const struct wire_order_msg *m, int sock) must_check;
/* spare_ended - pid was reaped: was it that one? */
void spare_ended(struct spare *s, pid_t pid);

#endif
