/* container/config.c - what is asked for and what the image says, joined into the JSON that
 * `inspect` shows and `start` reads. */
#include "container/internal.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "sys/path.h"

#define ENV_FILE_MAX ((size_t)1 << 20)

/* container_add_env - "K=V", or "K": taken from here, and nothing where it is not set. */
void container_add_env(struct strv *env, const char *text)
{
	const char *eq = strchr(text, '=');
	_cleanup_free_ char *key = eq ? xstrndup(text, (size_t)(eq - text)) : xstrdup(text);
	const char *v = eq ? eq + 1 : getenv(key);
	if (v)
		env_set(env, key, v);
	else
		env_unset(env, key);
}

/* container_each_line - of a --env-file or --label-file, without blank lines and comments. */
int container_each_line(const char *flag, const char *path, struct strv *ret, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t n;
	/* trusted-path: named on the command line */
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	int r = fd < 0 ? -errno : sys_read_fd(fd, ENV_FILE_MAX, &text, &n);
	if (r < 0)
		return err_sys(err, r, "%s %s", flag, path);
	int number = 0;
	for (const char *p = text; *p;) {
		size_t len = strcspn(p, "\n");
		number++;
		_cleanup_free_ char *line = xstrndup(p, len);
		if (len && line[len - 1] == '\r')
			line[len - 1] = '\0';
		const char *s = line + strspn(line, " \t");
		if (*s && *s != '#') {
			if (*s == '=' || strcspn(s, " \t") < strcspn(s, "=")) {
				(void)err_set(err, ERR_USAGE,
				        "%s: a line is NAME=VALUE, and a name has no spaces", flag);
				return err_at(err, path, number, 0);
			}
			strv_add(ret, s);
		}
		p += len + (p[len] == '\n');
	}
	return 0;
}

static int make_env(const struct container_spec *spec, const struct oci_image *im, struct strv *ret,
        struct error *err)
{
	_cleanup_strv_ struct strv lines = STRV_INIT;
	for (size_t i = 0; i < spec->env_files.n; i++)
		if (container_each_line("--env-file", spec->env_files.v[i], &lines, err) < 0)
			return -1;
	strv_copy(ret, &im->env);
	if (!env_get(ret, "PATH"))
		env_set(ret, "PATH",
		        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	if (spec->tty && !env_get(ret, "TERM"))
		env_set(ret, "TERM", "xterm");
	for (size_t i = 0; i < lines.n; i++)
		container_add_env(ret, lines.v[i]);
	for (size_t i = 0; i < spec->env.n; i++)
		container_add_env(ret, spec->env.v[i]);
	return 0;
}

static int make_labels(const struct container_spec *spec, const struct oci_image *im, json_t *ret,
        struct error *err)
{
	_cleanup_strv_ struct strv lines = STRV_INIT;
	for (size_t i = 0; i < spec->label_files.n; i++)
		if (container_each_line("--label-file", spec->label_files.v[i], &lines, err) < 0)
			return -1;
	for (size_t i = 0; i < spec->labels.n; i++)
		strv_add(&lines, spec->labels.v[i]);
	map_foreach (it, &im->labels)
		json_object_set_new(ret, it->key, json_str(it->value));
	for (size_t i = 0; i < lines.n; i++) {
		const char *eq = strchr(lines.v[i], '=');
		_cleanup_free_ char *key =
		        eq ? xstrndup(lines.v[i], (size_t)(eq - lines.v[i])) : xstrdup(lines.v[i]);
		json_object_set_new(ret, key, json_str(eq ? eq + 1 : ""));
	}
	return 0;
}

/* make_command - argv, and what of it is entry point and what command. */
static int make_command(const struct container_spec *spec, const struct oci_image *im,
        struct strv *ret_entry, struct strv *ret_cmd, struct error *err)
{
	if (!spec->entrypoint)
		strv_copy(ret_entry, &im->entrypoint);
	else if (*spec->entrypoint)
		strv_add(ret_entry, spec->entrypoint);
	/* An entry point given here drops the image's CMD, as docker does. */
	if (spec->command.n)
		strv_copy(ret_cmd, &spec->command);
	else if (!spec->entrypoint)
		strv_copy(ret_cmd, &im->cmd);
	if (ret_entry->n + ret_cmd->n == 0) {
		(void)err_set(err, ERR_USAGE, "%s: the image has no command", spec->image);
		return err_hint(err, "give one: strake run %s COMMAND", spec->image);
	}
	return 0;
}

static json_t *set_of(const struct map *m)
{
	json_t *j = json_object();
	map_foreach (it, m)
		json_object_set_new(j, it->key, json_object());
	return j;
}

static json_t *strv_or_null(const struct strv *sv)
{
	return sv->n ? json_from_strv(sv) : json_null();
}

/* --- ports ----------------------------------------------------------------------------------- */

static bool port_number(const char *s, size_t n, unsigned *ret)
{
	unsigned v = 0;
	for (size_t i = 0; i < n; i++) {
		if (!isdigit((unsigned char)s[i]) || v > 65535)
			return false;
		v = v * 10 + (unsigned)(s[i] - '0');
	}
	*ret = v;
	return n > 0 && v > 0 && v <= 65535;
}

/* port_range - "80" or "8000-8010". */
static bool port_range(const char *s, size_t n, unsigned *from, unsigned *to)
{
	const char *dash = memchr(s, '-', n);
	if (!dash)
		return port_number(s, n, from) && (*to = *from);
	return port_number(s, (size_t)(dash - s), from) &&
	       port_number(dash + 1, n - (size_t)(dash + 1 - s), to) && *to >= *from;
}

static void add_binding(json_t *ports, const char *key, const char *ip, unsigned host)
{
	json_t *list = json_object_get(ports, key), *b = json_object();
	if (!list) {
		list = json_array();
		json_object_set_new(ports, key, list);
	}
	_cleanup_free_ char *text = host ? xasprintf("%u", host) : xstrdup("");
	json_object_set_new(b, "HostIp", json_str(ip));
	json_object_set_new(b, "HostPort", json_string(text));
	json_array_append_new(list, b);
}

/* add_port - [IP:][HOST:]CONTAINER[/tcp|udp]. */
static int add_port(const char *text, json_t *ports, json_t *exposed, struct error *err)
{
	size_t n = strcspn(text, "/");
	const char *proto = text[n] ? text + n + 1 : "tcp";
	_cleanup_free_ char *all = xstrndup(text, n);
	char *inside = strrchr(all, ':');
	char *host = NULL, *ip = NULL;
	if (inside) {
		*inside++ = '\0';
		host = strrchr(all, ':');
		if (host) {
			*host++ = '\0';
			ip = all;
		} else {
			host = all;
		}
	} else {
		inside = all;
	}
	if (ip && *ip == '[' && ip[strlen(ip) - 1] == ']') {
		ip[strlen(ip) - 1] = '\0';
		ip++;
	}
	unsigned c0, c1, h0 = 0, h1 = 0;
	bool good = (str_eq(proto, "tcp") || str_eq(proto, "udp")) &&
	            port_range(inside, strlen(inside), &c0, &c1);
	if (good && host && *host)
		good = port_range(host, strlen(host), &h0, &h1) && h1 - h0 == c1 - c0;
	if (!good) {
		(void)err_set(err, ERR_USAGE, "-p %s: not a port mapping", text);
		return err_hint(err, "[IP:][HOSTPORT:]PORT[/tcp|udp], such as 8080:80 or "
		                     "127.0.0.1:8080:80; ranges must be of one length");
	}
	for (unsigned i = 0; i <= c1 - c0; i++) {
		_cleanup_free_ char *key = xasprintf("%u/%s", c0 + i, proto);
		add_binding(ports, key, ip ? ip : "", h0 ? h0 + i : 0);
		json_object_set_new(exposed, key, json_object());
	}
	return 0;
}

static json_t *make_ports(const struct container_spec *spec, const struct oci_image *im,
        json_t *exposed, struct error *err)
{
	_cleanup_json_ json_t *ports = json_object();
	_cleanup_json_ json_t *ignored = json_object();
	map_foreach (it, &im->exposed_ports)
		json_object_set_new(exposed, it->key, json_object());
	for (size_t i = 0; i < spec->expose.n; i++)
		if (add_port(spec->expose.v[i], ignored, exposed, err) < 0)
			return NULL;
	for (size_t i = 0; i < spec->publish.n; i++)
		if (add_port(spec->publish.v[i], ports, exposed, err) < 0)
			return NULL;
	const char *key;
	json_t *value;
	if (spec->publish_all)
		json_object_foreach(exposed, key, value)
		{
			if (!json_object_get(ports, key))
				add_binding(ports, key, "", 0);
		}
	return json_incref(ports);
}

/* --- all of it ------------------------------------------------------------------------------- */

static int make_process(const struct container_spec *spec, const char *id,
        const struct oci_image *im, json_t *root, json_t *exposed, struct error *err)
{
	_cleanup_strv_ struct strv env = STRV_INIT, entry = STRV_INIT, cmd = STRV_INIT;
	_cleanup_json_ json_t *labels = json_object();
	if (make_env(spec, im, &env, err) < 0 || make_labels(spec, im, labels, err) < 0 ||
	        make_command(spec, im, &entry, &cmd, err) < 0)
		return -1;
	json_t *c = json_object();
	_cleanup_free_ char *host = xstrndup(id, 12);
	json_object_set_new(c, "Hostname", json_str(spec->hostname ? spec->hostname : host));
	json_object_set_new(c, "User", json_str(spec->user ? spec->user : str_or_empty(im->user)));
	json_object_set_new(c, "Tty", json_boolean(spec->tty));
	json_object_set_new(c, "OpenStdin", json_boolean(spec->interactive));
	json_object_set(c, "ExposedPorts", exposed);
	json_object_set_new(c, "Env", json_from_strv(&env));
	json_object_set_new(c, "Cmd", strv_or_null(&cmd));
	json_object_set_new(c, "Image", json_str(spec->image));
	json_object_set_new(c, "Volumes", set_of(&im->volumes));
	json_object_set_new(c, "WorkingDir",
	        json_str(spec->workdir ? spec->workdir : str_or_empty(im->working_dir)));
	json_object_set_new(c, "Entrypoint", strv_or_null(&entry));
	json_object_set_new(c, "Labels", json_incref(labels));
	const char *stop = spec->stop_signal ? spec->stop_signal : im->stop_signal;
	json_object_set_new(c, "StopSignal", json_str(stop && *stop ? stop : "SIGTERM"));
	json_object_set_new(
	        c, "StopTimeout", json_integer(spec->stop_timeout ? spec->stop_timeout : 10));
	const struct strv *first = entry.n ? &entry : &cmd;
	_cleanup_strv_ struct strv args = STRV_INIT;
	for (size_t i = 1; i < first->n; i++)
		strv_add(&args, first->v[i]);
	for (size_t i = 0; entry.n && i < cmd.n; i++)
		strv_add(&args, cmd.v[i]);
	json_object_set_new(root, "Path", json_str(first->v[0]));
	json_object_set_new(root, "Args", json_from_strv(&args));
	json_object_set_new(root, "Config", c);
	return 0;
}

static int make_host(
        const struct container_spec *spec, json_t *ports, json_t *root, struct error *err)
{
	json_t *h = json_object();
	json_object_set_new(root, "HostConfig", h);
	const char *net = spec->network ? spec->network : "default";
	if (str_eq(net, "bridge") || str_eq(net, "private") || str_eq(net, "pasta") ||
	        str_eq(net, "slirp4netns"))
		net = "default";
	if (!str_eq(net, "default") && !str_eq(net, "none") && !str_eq(net, "host")) {
		(void)err_set(err, ERR_USAGE, "--network %s: default, none or host is expected",
		        spec->network);
		return err_hint(err, "strake has no networks that containers share: publish ports "
		                     "with -p, or use --network=host");
	}
	char *end = NULL;
	double cpus = spec->cpus ? strtod(spec->cpus, &end) : 0;
	if (spec->cpus && (*end || !(cpus >= 0.001) || cpus > 100000))
		return err_set(err, ERR_USAGE,
		        "--cpus %s: a number such as 1.5 is expected, 0.001 at least", spec->cpus);
	json_object_set_new(h, "Binds", strv_or_null(&spec->volumes));
	json_object_set_new(h, "NetworkMode", json_string(net));
	json_object_set(h, "PortBindings", ports);
	json_object_set_new(h, "AutoRemove", json_boolean(spec->auto_remove));
	json_object_set_new(h, "ReadonlyRootfs", json_boolean(spec->read_only));
	json_object_set_new(h, "Privileged", json_boolean(spec->privileged));
	json_object_set_new(h, "Init", json_boolean(spec->init));
	json_object_set_new(h, "ExtraHosts", strv_or_null(&spec->add_hosts));
	json_object_set_new(h, "Ulimits", strv_or_null(&spec->ulimits));
	json_object_set_new(h, "ShmSize",
	        json_integer((json_int_t)(spec->shm_size ? spec->shm_size : 64u << 20)));
	json_object_set_new(h, "Memory", json_integer((json_int_t)spec->memory));
	json_object_set_new(h, "NanoCpus", json_integer((json_int_t)(cpus * 1e9)));
	json_object_set_new(h, "PidsLimit", json_integer(spec->pids_limit));
	return 0;
}

json_t *container_config(const struct container_spec *spec, const char *id, const char *name,
        const struct store_image *si, const struct oci_image *im, const char *store_path,
        struct error *err)
{
	_cleanup_json_ json_t *j = json_object();
	_cleanup_json_ json_t *exposed = json_object();
	char digest[DIGEST_STR_MAX], platform[160];
	int64_t now = container_now();
	_cleanup_free_ char *created = container_time(now);
	_cleanup_free_ char *slash_name = xasprintf("/%s", name);
	_cleanup_json_ json_t *ports = make_ports(spec, im, exposed, err);
	if (!ports)
		return NULL;
	json_object_set_new(j, "Id", json_string(id));
	json_object_set_new(j, "Created", json_string(created));
	json_object_set_new(j, "Image", json_string(digest_str(&si->id, digest)));
	json_object_set_new(j, "Name", json_str(slash_name));
	json_object_set_new(j, "Platform",
	        json_str(oci_platform_string(&im->platform, platform, sizeof(platform))));
	json_object_set_new(j, "Driver", json_string("overlay"));
	if (make_process(spec, id, im, j, exposed, err) < 0 || make_host(spec, ports, j, err) < 0)
		return NULL;
	json_t *mounts = container_mounts(spec, im, id, store_path, err);
	if (!mounts)
		return NULL;
	json_object_set_new(j, "Mounts", mounts);
	json_t *own = json_object();
	json_object_set_new(own, "CreatedUnix", json_integer(now));
	json_object_set_new(own, "Arch", json_str(im->platform.arch));
	json_object_set_new(j, "Strake", own);
	return json_incref(j);
}
