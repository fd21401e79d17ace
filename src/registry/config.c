/* registry/config.c - see config.h. A line-based parser: sections name a registry, keys are few,
 * and whatever is not understood is an error with its line, so that a typo never silently turns a
 * mirror or a certificate off. */
#include "registry/config.h"
#include "base/human.h"
#include "registry/url.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define CONFIG_MAX (1 << 20)

void registry_config_init(struct registry_config *c)
{
	*c = (struct registry_config){
	        .connect_timeout = 15, .stall_timeout = 60, .retries = 4, .retry_pause = 500};
}

void registry_config_release(struct registry_config *c)
{
	for (size_t i = 0; i < c->n; i++) {
		free(c->hosts[i].name);
		strv_release(&c->hosts[i].mirrors);
		free(c->hosts[i].ca);
		free(c->hosts[i].client_cert);
		free(c->hosts[i].client_key);
	}
	free(c->hosts);
	*c = (struct registry_config){0};
}

const struct registry_host *registry_config_host(const struct registry_config *c, const char *name)
{
	for (size_t i = 0; i < c->n; i++)
		if (str_eq(c->hosts[i].name, name))
			return &c->hosts[i];
	return NULL;
}

/* --- parsing --------------------------------------------------------------------------------- */

static char *trim(char *s)
{
	while (isspace((unsigned char)*s))
		s++;
	size_t n = strlen(s);
	while (n > 0 && isspace((unsigned char)s[n - 1]))
		n--;
	s[n] = '\0';
	return s;
}

/* The index of the section's host, made if new: a host may have several sections. */
static size_t host_index(struct registry_config *c, const char *name)
{
	for (size_t i = 0; i < c->n; i++)
		if (str_eq(c->hosts[i].name, name))
			return i;
	vec_grow(&c->hosts, &c->cap, c->n + 1);
	c->hosts[c->n] = (struct registry_host){.name = xstrdup(name)};
	return c->n++;
}

#define SECTION_NONE SIZE_MAX
#define SECTION_HTTP (SIZE_MAX - 1)

static int parse_section(struct registry_config *c, char *line, size_t *section, struct error *err)
{
	size_t n = strlen(line);
	if (line[n - 1] != ']')
		return err_set(err, ERR_SYNTAX, "section without ']'");
	line[n - 1] = '\0';
	char *s = trim(line + 1);
	if (str_eq(s, "http")) {
		*section = SECTION_HTTP;
		return 0;
	}
	if (!str_starts(s, "registry"))
		return err_set(err, ERR_SYNTAX,
		        "unknown section [%s]: expected [http] or [registry \"HOST\"]", s);
	s = trim(s + strlen("registry"));
	n = strlen(s);
	if (n < 3 || s[0] != '"' || s[n - 1] != '"' || strpbrk(s, "/@ \t") ||
	        memchr(s + 1, '"', n - 2))
		return err_set(err, ERR_SYNTAX,
		        "expected [registry \"HOST\"] with HOST as in image names, for example "
		        "\"docker.io\" or \"localhost:5000\"");
	s[n - 1] = '\0';
	for (char *p = s; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	*section = host_index(c, s + 1);
	return 0;
}

static int parse_bool(const char *key, const char *v, bool *ret, struct error *err)
{
	if (str_eq(v, "true") || str_eq(v, "yes") || str_eq(v, "1"))
		*ret = true;
	else if (str_eq(v, "false") || str_eq(v, "no") || str_eq(v, "0"))
		*ret = false;
	else
		return err_set(err, ERR_SYNTAX, "%s = %s: expected true or false", key, v);
	return 0;
}

static int parse_number(const char *key, const char *v, unsigned min, unsigned max, unsigned *ret,
        struct error *err)
{
	unsigned n = 0;
	size_t len = strlen(v);
	if (len == 0 || len > 6 || strspn(v, "0123456789") != len)
		return err_set(err, ERR_SYNTAX, "%s = %s: expected a number", key, v);
	for (; *v; v++)
		n = n * 10 + (unsigned)(*v - '0');
	if (n < min || n > max)
		return err_set(err, ERR_SYNTAX, "%s = %u: expected %u to %u", key, n, min, max);
	*ret = n;
	return 0;
}

static int unknown_key(
        const char *key, const char *where, const char *const *known, size_t n, struct error *err)
{
	(void)err_set(err, ERR_SYNTAX, "unknown key \"%s\" in %s", key, where);
	const char *near = human_nearest(key, known, n);
	return near ? err_hint(err, "did you mean \"%s\"?", near) : -1;
}

static int set_path(const char *key, const char *v, char **slot, struct error *err)
{
	if (*v != '/')
		return err_set(err, ERR_SYNTAX, "%s = %s: expected an absolute path", key, v);
	free(*slot);
	*slot = xstrdup(v);
	return 0;
}

static int set_host_key(struct registry_host *h, const char *key, const char *v, struct error *err)
{
	static const char *const known[] = {
	        "mirror", "ca", "client-cert", "client-key", "insecure", "plain-http"};
	if (str_eq(key, "mirror")) {
		_cleanup_url_ struct url u = {0};
		/* "host/prefix" without a scheme means https. */
		_cleanup_free_ char *full =
		        strstr(v, "://") ? xstrdup(v) : xasprintf("https://%s", v);
		if (url_parse(full, &u, err) < 0) {
			err->class = ERR_SYNTAX;
			return err_wrap(err, "mirror = %s", strchr(v, '@') ? "..." : v);
		}
		if (strchr(u.target, '?'))
			return err_set(
			        err, ERR_SYNTAX, "mirror = %s: a query has no meaning here", v);
		strv_add(&h->mirrors, full);
		return 0;
	}
	if (str_eq(key, "ca"))
		return set_path(key, v, &h->ca, err);
	if (str_eq(key, "client-cert"))
		return set_path(key, v, &h->client_cert, err);
	if (str_eq(key, "client-key"))
		return set_path(key, v, &h->client_key, err);
	if (str_eq(key, "insecure"))
		return parse_bool(key, v, &h->insecure, err);
	if (str_eq(key, "plain-http"))
		return parse_bool(key, v, &h->plain_http, err);
	return unknown_key(key, "[registry]", known, ARRAY_SIZE(known), err);
}

static int set_http_key(
        struct registry_config *c, const char *key, const char *v, struct error *err)
{
	static const char *const known[] = {
	        "connect-timeout", "stall-timeout", "retries", "retry-pause"};
	if (str_eq(key, "connect-timeout"))
		return parse_number(key, v, 1, 3600, &c->connect_timeout, err);
	if (str_eq(key, "stall-timeout"))
		return parse_number(key, v, 1, 3600, &c->stall_timeout, err);
	if (str_eq(key, "retries"))
		return parse_number(key, v, 0, 100, &c->retries, err);
	if (str_eq(key, "retry-pause"))
		return parse_number(key, v, 1, 60000, &c->retry_pause, err);
	return unknown_key(key, "[http]", known, ARRAY_SIZE(known), err);
}

static int parse_line(struct registry_config *c, char *line, size_t *section, struct error *err)
{
	line = trim(line);
	if (*line == '\0' || *line == '#' || *line == ';')
		return 0;
	/* A comment may follow a value after a blank; values never hold " #". */
	for (char *p = line; (p = strchr(p, '#')); p++)
		if (p[-1] == ' ' || p[-1] == '\t') {
			*p = '\0';
			line = trim(line);
			break;
		}
	if (*line == '[')
		return parse_section(c, line, section, err);
	char *eq = strchr(line, '=');
	if (!eq)
		return err_set(err, ERR_SYNTAX, "expected KEY = VALUE or [SECTION]");
	*eq = '\0';
	char *key = trim(line), *v = trim(eq + 1);
	size_t n = strlen(v);
	if (n >= 2 && v[0] == '"' && v[n - 1] == '"') {
		v[n - 1] = '\0';
		v++;
	}
	if (*section == SECTION_NONE)
		return err_set(err, ERR_SYNTAX, "\"%s\" stands before the first section", key);
	if (*section == SECTION_HTTP)
		return set_http_key(c, key, v, err);
	return set_host_key(&c->hosts[*section], key, v, err);
}

int registry_config_parse(
        struct registry_config *c, const char *text, const char *file, struct error *err)
{
	size_t section = SECTION_NONE;
	int line_no = 0;
	_cleanup_strv_ struct strv lines = STRV_INIT;
	strv_split(&lines, text, "\n");
	for (size_t i = 0; i < lines.n; i++) {
		line_no++;
		if (parse_line(c, lines.v[i], &section, err) < 0)
			return err_at(err, file, line_no, 0);
	}
	return 0;
}

/* --- loading --------------------------------------------------------------------------------- */

int registry_read_file(const char *path, size_t max, char **ret, size_t *ret_n, struct error *err)
{
	/* trusted-path: our own configuration */
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0) {
		if (errno == ENOENT || errno == ENOTDIR)
			return 0;
		return err_sys(err, errno, "open %s", path);
	}
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_sys(err, errno, "stat %s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_USAGE, "%s is not a regular file", path);
	if (st.st_size > (off_t)max)
		return err_set(err, ERR_USAGE, "%s is larger than %zu bytes", path, max);
	size_t cap = (size_t)st.st_size, n = 0;
	_cleanup_free_ char *buf = xmalloc(cap + 1);
	while (n < cap) {
		ssize_t got = read(fd, buf + n, cap - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_sys(err, errno, "read %s", path);
		if (got == 0)
			break;
		n += (size_t)got;
	}
	buf[n] = '\0';
	*ret = take_ptr(buf);
	*ret_n = n;
	return 1;
}

static int load_file(
        struct registry_config *c, const char *path, bool must_exist, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t n = 0;
	int r = registry_read_file(path, CONFIG_MAX, &text, &n, err);
	if (r < 0)
		return -1;
	if (r == 0)
		return must_exist ? err_set(err, ERR_USAGE, "%s does not exist", path) : 0;
	if (memchr(text, '\0', n))
		return err_set(err, ERR_SYNTAX, "%s holds a NUL byte", path);
	return registry_config_parse(c, text, path, err) < 0 ? -1 : 1;
}

int registry_config_load(struct registry_config *c, const char *path, struct error *err)
{
	if (path)
		return load_file(c, path, true, err) < 0 ? -1 : 0;
	const char *env = getenv("STRAKE_CONFIG");
	if (env && *env) {
		if (load_file(c, env, true, err) < 0)
			return err_hint(err, "this file is named by STRAKE_CONFIG");
		return 0;
	}
	const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	_cleanup_free_ char *user = NULL;
	if (xdg && *xdg == '/')
		user = xasprintf("%s/strake/registries.conf", xdg);
	else if (home && *home == '/')
		user = xasprintf("%s/.config/strake/registries.conf", home);
	if (user) {
		int r = load_file(c, user, false, err);
		if (r != 0)
			return r < 0 ? -1 : 0;
	}
	return load_file(c, "/etc/strake/registries.conf", false, err) < 0 ? -1 : 0;
}
