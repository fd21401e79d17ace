/* registry/config.h - registries.conf: mirrors, certificates, plain HTTP, timeouts. The format is
 * docs/formats/registries-conf.md. Pure but for reading the one file. */
#ifndef STRAKE_REGISTRY_CONFIG_H
#define STRAKE_REGISTRY_CONFIG_H

#include "base/error.h"
#include "base/strv.h"

struct registry_host {
	char *name;                          /* "docker.io", "registry.example:5000" */
	struct strv mirrors;                 /* URLs, in order */
	char *ca, *client_cert, *client_key; /* PEM files or NULL */
	bool insecure;   /* no certificate check; HTTP where HTTPS does not answer */
	bool plain_http; /* HTTP only */
};
struct registry_config {
	struct registry_host *hosts;
	size_t n, cap;
	unsigned connect_timeout, stall_timeout; /* seconds */
	unsigned retries;                        /* after the first try */
	unsigned retry_pause;                    /* milliseconds before the first retry */
};
#define _cleanup_registry_config_ _cleanup_(registry_config_release)

void registry_config_init(struct registry_config *c); /* the defaults */
void registry_config_release(struct registry_config *c);
/* registry_config_parse - ERR_SYNTAX at file:line for anything that is not understood. c is
 * initialised. */
int registry_config_parse(struct registry_config *c, const char *text, const char *file,
        struct error *err) must_check;
/* registry_config_load - path NULL: the first that exists of $STRAKE_CONFIG (must exist if set),
 * $XDG_CONFIG_HOME/strake/registries.conf (or ~/.config), /etc/strake/registries.conf; none is
 * fine. At most 1 MiB. */
int registry_config_load(struct registry_config *c, const char *path, struct error *err) must_check;
/* registry_config_host - settings for exactly this host[:port]; NULL: none. */
const struct registry_host *registry_config_host(const struct registry_config *c, const char *name);

/* registry_read_file - whole file as text, at most max bytes; 1 read, 0 does not exist. */
int registry_read_file(
        const char *path, size_t max, char **ret, size_t *ret_n, struct error *err) must_check;

#endif
