/* sandbox/wire.h - what builder, keeper and step say to each other over sockets.
 *
 * Three parties: the builder (many threads), one keeper process a context (helper mode, pid 1 of a
 * pid namespace that holds all steps, so that its death ends them all), and a step process that
 * the keeper forks for each RUN. The builder gives the keeper one end of a fresh SEQPACKET socket
 * pair per step; the step reads its spec and descriptors from it and writes set-up errors to it,
 * the keeper writes the exit status to it at the end. All are the same binary: the form is private
 * and has no version. */
#ifndef STRAKE_SANDBOX_WIRE_H
#define STRAKE_SANDBOX_WIRE_H

#include "base/strbuf.h"
#include "sandbox/cgroup.h"
#include "sandbox/sandbox.h"

/* builder → keeper, on the context's socket; START carries the step's socket, PROXY a listening
 * socket and an O_PATH descriptor of the agent's socket, PAUSE a socket for its answer: an int32, 0
 * or -errno. */
enum wire_order { WIRE_START = 1, WIRE_KILL, WIRE_PROXY, WIRE_WARM, WIRE_PAUSE, WIRE_RESUME };
struct wire_order_msg {
	uint32_t order;
	uint32_t id;        /* of the step */
	uint32_t network;   /* START: enum sandbox_network */
	uint32_t single_id; /* START: with a supervisor */
	uint32_t join;      /* START: of the step whose namespaces it enters; 0: new ones */
	uint32_t plain;     /* START: a process prepared ahead can become it (spare.h) */
	uint32_t more;      /* START: another one like it is expected */
	int32_t signal;     /* KILL */
	struct cgroup_limits limits; /* START */
	uint32_t own_userns;         /* START: the builder made its user namespace itself */
	char arch[32];               /* START: of the step's programs; "" the machine's */
};

/* In the keeper's environment where it is in the builder's pid namespace, see context.c. */
#define KEEPER_SHARED_PROC "STRAKE_KEEPER_SHARED_PROC"

/* step or keeper → builder, on the step's socket. */
enum wire_report { WIRE_ERROR = 1, WIRE_EXIT };
struct wire_report_msg {
	uint32_t report;
	int32_t status;  /* EXIT: 0..255, 128+n for a signal. ERROR: the exit code it stands for */
	uint32_t class;  /* ERROR: enum err_class */
	int32_t errnum;  /* ERROR */
	uint32_t oom;    /* EXIT: the cgroup's memory limit killed something */
	uint64_t peak;   /* EXIT: most memory in use; 0: unknown */
	char text[4000]; /* ERROR: message NUL hint NUL */
};

/* The spec travels as bytes (in a memfd) and descriptors (in batches below SCM_MAX_FD). */
#define WIRE_FD_BATCH 250
#define WIRE_MAX_FDS 8192
struct wire_fds {
	int *v; /* -1: not given */
	size_t n, cap;
};
void wire_fds_release(struct wire_fds *f); /* forgets, does not close */

/* wire_encode - blob and the descriptors it refers to, borrowed from the spec. */
void wire_encode(const struct sandbox_spec *s, struct strbuf *blob, struct wire_fds *fds);
/* wire_decode - a spec whose strings live in `blob` (which must outlive it) and whose arrays are
 * never freed: the step execs or exits. */
int wire_decode(const char *blob, size_t n, const struct wire_fds *fds,
        struct sandbox_spec *ret) must_check;

/* wire_send_spec / wire_recv_spec - the whole exchange on a step's socket. The receiver gets the
 * blob mapped read-only. 0 or -errno. */
int wire_send_spec(int sock, const struct sandbox_spec *s) must_check;
int wire_recv_spec(int sock, struct sandbox_spec *ret) must_check;

/* wire_send / wire_recv - one message with up to n_fds descriptors. recv: 1 on a message, 0 at end
 * of file, -errno. Missing descriptors are -1. */
int wire_send(int sock, const void *p, size_t n, const int *fds, size_t n_fds) must_check;
int wire_recv(int sock, void *p, size_t n, int *fds, size_t n_fds) must_check;

#endif
