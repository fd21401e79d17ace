/* registry/url.h - http(s) URLs as a registry client needs them: strict parsing, origins, and what
 * kind of place a host is. Pure.
 *
 * Invariants of a parsed url: host is lower-case, a DNS name, IPv4 or [IPv6]; no user info, no
 * fragment; target starts with '/' and holds only printable ASCII without spaces. */
#ifndef STRAKE_REGISTRY_URL_H
#define STRAKE_REGISTRY_URL_H

#include <sys/socket.h>
#include "base/error.h"
#include "base/strbuf.h"

struct url {
	bool https;
	char *host;
	unsigned port;
	char *target; /* path and query */
};
#define _cleanup_url_ _cleanup_(url_release)
void url_release(struct url *u);

/* url_parse - at most 16 KiB. ERR_USAGE says what is wrong, without repeating a password. */
int url_parse(const char *s, struct url *ret, struct error *err) must_check;
/* url_resolve - a Location or realm against the URL it came from (RFC 3986 section 5, http only).
 * ERR_NETWORK if it is not http or https. */
int url_resolve(const struct url *base, const char *location, struct url *ret,
        struct error *err) must_check;
char *url_string(const struct url *u) must_check;
/* url_shown - for messages and logs: without the query, which may hold a signature. */
char *url_shown(const struct url *u) must_check;
/* url_authority - "host" or "host:port" where the port is not the scheme's own. */
char *url_authority(const struct url *u) must_check;
bool url_same_origin(const struct url *a, const struct url *b);
/* url_add_escaped - percent-encode everything but unreserved characters and those in `keep`. */
void url_add_escaped(struct strbuf *sb, const char *s, const char *keep);

/* What kind of address something is. Servers may not send us from PUBLIC to the others: that is
 * how a hostile registry reaches services of this machine or a cloud's metadata address. */
enum url_zone { URL_ZONE_PUBLIC = 1, URL_ZONE_LOOPBACK = 2, URL_ZONE_LINK_LOCAL = 4 };
enum url_zone url_zone_of_address(const struct sockaddr *sa);
/* url_zone_of_host - by its text alone (no look-up): names are PUBLIC except localhost. */
enum url_zone url_zone_of_host(const char *host);

#endif
