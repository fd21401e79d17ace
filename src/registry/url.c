/* registry/url.c - see url.h. */
#include "registry/url.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

#define URL_MAX (16 * 1024)

void url_release(struct url *u)
{
	free(u->host);
	free(u->target);
	*u = (struct url){0};
}

static bool host_ok(const char *h, size_t n)
{
	if (n == 0 || n > 255)
		return false;
	if (h[0] == '[') {
		char buf[64];
		struct in6_addr a;
		if (n < 4 || n - 2 >= sizeof(buf) || h[n - 1] != ']')
			return false;
		memcpy(buf, h + 1, n - 2);
		buf[n - 2] = '\0';
		return inet_pton(AF_INET6, buf, &a) == 1;
	}
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)h[i]) && !strchr("-._", h[i]))
			return false;
	return h[0] != '-' && h[0] != '.';
}

/* "host[:port]" in p[0..n). */
static int parse_authority(const char *p, size_t n, struct url *u, struct error *err)
{
	if (memchr(p, '@', n))
		return err_set(
		        err, ERR_USAGE, "a URL with a user name or password is not accepted");
	size_t host_n = n;
	const char *colon = NULL;
	for (size_t i = n; i-- > 0 && p[i] != ']';)
		if (p[i] == ':') {
			colon = p + i;
			break;
		}
	u->port = u->https ? 443 : 80;
	if (colon) {
		host_n = (size_t)(colon - p);
		unsigned port = 0;
		size_t digits = n - host_n - 1;
		for (size_t i = host_n + 1; i < n; i++) {
			if (!isdigit((unsigned char)p[i]) || digits > 5)
				return err_set(err, ERR_USAGE, "bad port in URL");
			port = port * 10 + (unsigned)(p[i] - '0');
		}
		if (digits == 0 || port == 0 || port > 65535)
			return err_set(err, ERR_USAGE, "bad port in URL");
		u->port = port;
	}
	if (!host_ok(p, host_n))
		return err_set(err, ERR_USAGE, "bad host in URL");
	u->host = xstrndup(p, host_n);
	for (char *c = u->host; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	return 0;
}

/* Path and query from p up to the fragment; what may not stand in a request line is encoded. */
static int parse_target(const char *p, struct url *u, struct error *err)
{
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	if (*p != '/')
		strbuf_addch(&sb, '/');
	for (; *p && *p != '#'; p++) {
		unsigned char c = (unsigned char)*p;
		if (c < 0x20 || c == 0x7f)
			return err_set(err, ERR_USAGE, "control character in URL");
		if (c == ' ' || c >= 0x80 || c == '\\' || c == '"' || c == '<' || c == '>')
			strbuf_addf(&sb, "%%%02X", c);
		else
			strbuf_addch(&sb, (char)c);
	}
	u->target = strbuf_detach(&sb);
	return 0;
}

int url_parse(const char *s, struct url *ret, struct error *err)
{
	_cleanup_url_ struct url u = {0};
	if (strlen(s) > URL_MAX)
		return err_set(err, ERR_USAGE, "URL is longer than %d bytes", URL_MAX);
	if (strncasecmp(s, "https://", 8) == 0) {
		u.https = true;
		s += 8;
	} else if (strncasecmp(s, "http://", 7) == 0) {
		s += 7;
	} else {
		return err_set(err, ERR_USAGE, "not an http:// or https:// URL");
	}
	size_t n = strcspn(s, "/?#");
	if (parse_authority(s, n, &u, err) < 0 || parse_target(s + n, &u, err) < 0)
		return -1;
	*ret = u;
	u = (struct url){0};
	return 0;
}

/* Has the text a scheme of its own ("file:", "javascript:")? */
static bool has_scheme(const char *s)
{
	size_t n = strcspn(s, ":/?#");
	return n > 0 && s[n] == ':';
}

int url_resolve(const struct url *base, const char *location, struct url *ret, struct error *err)
{
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	_cleanup_free_ char *authority = url_authority(base);
	const char *scheme = base->https ? "https:" : "http:";

	if (has_scheme(location)) {
		strbuf_addstr(&sb, location);
	} else if (str_starts(location, "//")) {
		strbuf_addf(&sb, "%s%s", scheme, location);
	} else {
		strbuf_addf(&sb, "%s//%s", scheme, authority);
		size_t path_n = strcspn(base->target, "?");
		if (*location == '?') {
			strbuf_add(&sb, base->target, path_n);
		} else if (*location != '/') {
			while (path_n > 0 && base->target[path_n - 1] != '/')
				path_n--;
			strbuf_add(&sb, base->target, path_n);
		}
		strbuf_addstr(&sb, location);
	}
	if (url_parse(sb.buf, ret, err) < 0) {
		err->class = ERR_NETWORK;
		return err_wrap(err, "%s sent us to a place that is refused", base->host);
	}
	return 0;
}

char *url_authority(const struct url *u)
{
	if (u->port == (u->https ? 443 : 80))
		return xstrdup(u->host);
	return xasprintf("%s:%u", u->host, u->port);
}

char *url_string(const struct url *u)
{
	_cleanup_free_ char *a = url_authority(u);
	return xasprintf("%s://%s%s", u->https ? "https" : "http", a, u->target);
}

char *url_shown(const struct url *u)
{
	_cleanup_free_ char *a = url_authority(u);
	return xasprintf("%s://%s%.*s", u->https ? "https" : "http", a,
	        (int)strcspn(u->target, "?"), u->target);
}

bool url_same_origin(const struct url *a, const struct url *b)
{
	return a->https == b->https && a->port == b->port && str_eq(a->host, b->host);
}

void url_add_escaped(struct strbuf *sb, const char *s, const char *keep)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		if (isalnum(c) || strchr("-._~", c) || strchr(keep, c))
			strbuf_addch(sb, (char)c);
		else
			strbuf_addf(sb, "%%%02X", c);
	}
}

/* --- zones ----------------------------------------------------------------------------------- */

static enum url_zone zone_of_v4(uint32_t a)
{
	if (a >> 24 == 127 || a >> 24 == 0)
		return URL_ZONE_LOOPBACK;
	if (a >> 16 == 0xa9fe)
		return URL_ZONE_LINK_LOCAL;
	return URL_ZONE_PUBLIC;
}

static enum url_zone zone_of_v6(const struct in6_addr *a)
{
	if (IN6_IS_ADDR_V4MAPPED(a) || IN6_IS_ADDR_V4COMPAT(a)) {
		uint32_t v4;
		memcpy(&v4, a->s6_addr + 12, 4);
		return zone_of_v4(ntohl(v4));
	}
	if (IN6_IS_ADDR_LOOPBACK(a) || IN6_IS_ADDR_UNSPECIFIED(a))
		return URL_ZONE_LOOPBACK;
	return IN6_IS_ADDR_LINKLOCAL(a) ? URL_ZONE_LINK_LOCAL : URL_ZONE_PUBLIC;
}

enum url_zone url_zone_of_address(const struct sockaddr *sa)
{
	if (sa->sa_family == AF_INET) {
		struct sockaddr_in in;
		memcpy(&in, sa, sizeof(in));
		return zone_of_v4(ntohl(in.sin_addr.s_addr));
	}
	if (sa->sa_family == AF_INET6) {
		struct sockaddr_in6 in6;
		memcpy(&in6, sa, sizeof(in6));
		return zone_of_v6(&in6.sin6_addr);
	}
	return URL_ZONE_LOOPBACK; /* a local socket */
}

enum url_zone url_zone_of_host(const char *host)
{
	size_t n = strlen(host);
	struct in6_addr v6;
	struct in_addr v4;
	char buf[64];

	if (host[0] == '[' && n > 2 && n - 2 < sizeof(buf)) {
		memcpy(buf, host + 1, n - 2);
		buf[n - 2] = '\0';
		if (inet_pton(AF_INET6, buf, &v6) == 1)
			return zone_of_v6(&v6);
	}
	if (inet_pton(AF_INET6, host, &v6) == 1)
		return zone_of_v6(&v6);
	/* inet_aton, not inet_pton: "127.1", "0x7f000001" and "2130706433" work as addresses too.
	 */
	if (inet_aton(host, &v4))
		return zone_of_v4(ntohl(v4.s_addr));
	if (n && host[n - 1] == '.')
		n--;
	if (n >= 9 && strncasecmp(host + n - 9, "localhost", 9) == 0 &&
	        (n == 9 || host[n - 10] == '.'))
		return URL_ZONE_LOOPBACK;
	return URL_ZONE_PUBLIC;
}
