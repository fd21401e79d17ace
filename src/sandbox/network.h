/* sandbox/network.h - the private network of a build: one network namespace with pasta or
 * slirp4netns in front, made when the first step needs it and shared by all steps of the context.
 *
 * The keeper begins it; a starter process tries the programs in turn while steps already set up
 * their mounts, and says through shared memory how it went. The programs are children of the
 * keeper's pid namespace and die with it. */
#ifndef STRAKE_SANDBOX_NETWORK_H
#define STRAKE_SANDBOX_NETWORK_H

#include "base/error.h"
#include "sandbox/sandbox.h"

struct network_shared;
struct network {
	int ns_fd;   /* -1 before network_begin */
	int ready_r; /* readable: up, or (end of file) decided */
	struct network_shared *shared;
	char *const *ports; /* sandbox_context_publish */
	size_t n_ports;
};

/* Keeper. */
void network_init(struct network *n);
int network_begin(struct network *n, struct error *err) must_check; /* again: nothing */
/* Step. */
int network_join(const struct network *n, struct error *err) must_check; /* setns */
int network_wait(const struct network *n, struct error *err) must_check;
int network_set_up(void) must_check; /* loopback and low ports, in the current namespace; -errno */
/* network_host_resolv - the host's resolv.conf; read before the root changes. */
char *network_host_resolv(void) must_check;
/* network_nameserver - ours in front of a private network, after network_wait. */
const char *network_nameserver(const struct network *n);
/* resolv_conf_rewrite - host_text without its nameservers, with ours (NULL: none). */
char *resolv_conf_rewrite(const char *host_text, const char *nameserver) must_check;

#endif
