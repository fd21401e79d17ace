/* container/mount_spec.c - -v, --mount, --tmpfs and the image's VOLUMEs as docker's Mounts array.
 *
 * Named volumes are directories volumes/<name> of the store. Anonymous ones live in the container's
 * own folder and go with it. */
#include "container/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/human.h"
#include "sys/path.h"

struct mounts {
	json_t *v;
	const char *id, *store_path;
	unsigned n_anonymous;
};

bool container_volume_name_valid(const char *s)
{
	size_t n = strlen(s);
	return n >= 1 && n <= 255 && *s != '.' && *s != '_' && *s != '-' &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == n;
}

/* clean - an absolute path without empty, "." and ".." components and without a trailing slash. */
static char *clean(const char *path)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	for (const char *p = path; *p;) {
		size_t n = strcspn(p, "/");
		if (n == 2 && p[0] == '.' && p[1] == '.') {
			const char *slash = strrchr(b.buf, '/');
			strbuf_truncate(&b, slash ? (size_t)(slash - b.buf) : 0);
		} else if (n && !(n == 1 && *p == '.')) {
			strbuf_addch(&b, '/');
			strbuf_add(&b, p, n);
		}
		p += n + (p[n] == '/');
	}
	return b.len ? strbuf_detach(&b) : xstrdup("/");
}

static bool has_target(const struct mounts *m, const char *target)
{
	size_t i;
	json_t *j;
	json_array_foreach(m->v, i, j)
	{
		if (str_eq(str_or_empty(json_get_str(j, "Destination")), target))
			return true;
	}
	return false;
}

static int add(struct mounts *m, const char *flag, const char *type, const char *name,
        const char *source, const char *target, bool ro, json_t **ret, struct error *err)
{
	if (!target || *target != '/')
		return err_set(err, ERR_USAGE, "%s: the target %s must be an absolute path", flag,
		        target ? target : "is missing: it");
	_cleanup_free_ char *to = clean(target);
	if (str_eq(to, "/"))
		return err_set(err, ERR_USAGE, "%s: the target cannot be /", flag);
	if (has_target(m, to))
		return err_set(err, ERR_USAGE, "%s: %s is mounted on twice", flag, to);
	json_t *j = json_object();
	json_object_set_new(j, "Type", json_string(type));
	if (name)
		json_object_set_new(j, "Name", json_str(name));
	json_object_set_new(j, "Source", json_str(str_or_empty(source)));
	json_object_set_new(j, "Destination", json_str(to));
	if (str_eq(type, "volume"))
		json_object_set_new(j, "Driver", json_string("local"));
	json_object_set_new(j, "Mode", json_string(ro ? "ro" : ""));
	json_object_set_new(j, "RW", json_boolean(!ro));
	json_object_set_new(j, "Propagation", json_string(""));
	json_array_append_new(m->v, j);
	if (ret)
		*ret = j;
	return 0;
}

static int add_anonymous(
        struct mounts *m, const char *flag, const char *target, bool ro, struct error *err)
{
	unsigned n = ++m->n_anonymous;
	_cleanup_free_ char *name = xasprintf("%.52s%012x", m->id, n);
	_cleanup_free_ char *source =
	        xasprintf("%s/containers/%s/volumes/%u/data", m->store_path, m->id, n);
	json_t *j;
	if (add(m, flag, "volume", name, source, target, ro, &j, err) < 0)
		return -1;
	json_object_set_new(j, "Anonymous", json_integer(n));
	return 0;
}

static int add_named(struct mounts *m, const char *flag, const char *name, const char *target,
        bool ro, json_t **ret, struct error *err)
{
	if (!container_volume_name_valid(name)) {
		(void)err_set(err, ERR_USAGE, "%s: %s is not a volume's name", flag, name);
		return err_hint(err,
		        "a directory of this machine is given by an absolute path, or as ./%s",
		        name);
	}
	_cleanup_free_ char *source = xasprintf("%s/volumes/%s/data", m->store_path, name);
	return add(m, flag, "volume", name, source, target, ro, ret, err);
}

/* add_bind - a source that is missing is made as a directory with -v, as docker does; --mount wants
 * it to be there. */
static int add_bind(struct mounts *m, const char *flag, const char *source, const char *target,
        bool ro, bool make, struct error *err)
{
	if (make && faccessat(AT_FDCWD, source, F_OK, 0) < 0 && errno == ENOENT) {
		const char *rest = source + strspn(source, "/");
		_cleanup_close_ int from = sys_open_dir(AT_FDCWD, *source == '/' ? "/" : ".");
		int r = from < 0 ? from : sys_mkdir_p(from, rest, 0755);
		if (r < 0)
			return err_sys(
			        err, r, "%s: %s is missing and cannot be made", flag, source);
	}
	/* trusted-path: named on the command line */
	_cleanup_free_ char *full = realpath(source, NULL);
	if (!full)
		return err_sys(err, errno, "%s: %s", flag, source);
	return add(m, flag, "bind", NULL, full, target, ro, NULL, err);
}

static int take_flags(const char *flag, const char *text, bool *ro, struct error *err)
{
	static const char *const known[] = {"rw", "z", "Z", "cached", "delegated", "consistent",
	        "nocopy", "private", "rprivate", ""};
	_cleanup_strv_ struct strv words = STRV_INIT;
	strv_split(&words, text, ",");
	for (size_t i = 0; i < words.n; i++) {
		bool good = str_eq(words.v[i], "ro") || str_eq(words.v[i], "readonly");
		*ro |= good;
		for (size_t k = 0; k < ARRAY_SIZE(known) && !good; k++)
			good = str_eq(words.v[i], known[k]);
		if (!good)
			return err_set(
			        err, ERR_USAGE, "%s: %s: ro or rw is expected", flag, words.v[i]);
	}
	return 0;
}

static int add_volume_flag(struct mounts *m, const char *text, struct error *err)
{
	_cleanup_strv_ struct strv p = STRV_INIT;
	_cleanup_free_ char *flag = xasprintf("-v %s", text);
	bool ro = false;
	strv_split(&p, text, ":");
	if (p.n > 3 || (p.n == 3 && take_flags(flag, p.v[2], &ro, err) < 0)) {
		if (!error_is_set(err))
			(void)err_set(err, ERR_USAGE, "%s: SOURCE:/TARGET[:ro] is expected", flag);
		return -1;
	}
	if (p.n == 1)
		return add_anonymous(m, flag, p.v[0], false, err);
	/* "/target:ro" is an anonymous volume too. */
	if (p.n == 2 && p.v[1][0] != '/' && p.v[0][0] == '/') {
		if (take_flags(flag, p.v[1], &ro, err) < 0)
			return -1;
		return add_anonymous(m, flag, p.v[0], ro, err);
	}
	const char *src = p.v[0];
	if (strchr(src, '/') || str_eq(src, ".") || str_eq(src, ".."))
		return add_bind(m, flag, src, p.v[1], ro, true, err);
	return add_named(m, flag, src, p.v[1], ro, NULL, err);
}

static int add_tmpfs(struct mounts *m, const char *flag, const char *target, const char *options,
        struct error *err)
{
	json_t *j;
	bool ro = false;
	uint64_t size = 0;
	unsigned mode = 01777;
	_cleanup_strv_ struct strv w = STRV_INIT;
	strv_split(&w, str_or_empty(options), ",");
	for (size_t i = 0; i < w.n; i++) {
		static const char *const known[] = {
		        "rw", "noexec", "exec", "nosuid", "suid", "nodev", "noatime", ""};
		char *end = NULL;
		bool good = false;
		if (str_starts(w.v[i], "size="))
			good = human_parse_size(w.v[i] + 5, &size);
		else if (str_starts(w.v[i], "mode="))
			good = (mode = (unsigned)strtoul(w.v[i] + 5, &end, 8)) && !*end &&
			       mode <= 07777;
		else if (str_eq(w.v[i], "ro"))
			good = ro = true;
		for (size_t k = 0; k < ARRAY_SIZE(known) && !good; k++)
			good = str_eq(w.v[i], known[k]);
		if (!good) {
			(void)err_set(err, ERR_USAGE, "%s: option %s", flag, w.v[i]);
			return err_hint(err, "size=64m, mode=1777, ro and rw are known");
		}
	}
	if (add(m, flag, "tmpfs", NULL, "", target, ro, &j, err) < 0)
		return -1;
	json_object_set_new(j, "TmpfsSize", json_integer((json_int_t)size));
	json_object_set_new(j, "TmpfsMode", json_integer(mode));
	return 0;
}

struct mount_words {
	const char *type, *source, *target, *options;
	bool ro;
	char size[64], mode[64];
};

static int take_word(struct mount_words *w, const char *flag, const char *word, struct error *err)
{
	size_t n = strcspn(word, "=");
	const char *v = word[n] ? word + n + 1 : "";
	_cleanup_free_ char *key = xstrndup(word, n);
	if (str_eq(key, "type"))
		w->type = v;
	else if (str_eq(key, "source") || str_eq(key, "src"))
		w->source = v;
	else if (str_eq(key, "target") || str_eq(key, "dst") || str_eq(key, "destination"))
		w->target = v;
	else if (str_eq(key, "readonly") || str_eq(key, "ro"))
		w->ro = !str_eq(v, "false") && !str_eq(v, "0");
	else if (str_eq(key, "tmpfs-size"))
		snprintf(w->size, sizeof(w->size), "size=%s", v);
	else if (str_eq(key, "tmpfs-mode"))
		snprintf(w->mode, sizeof(w->mode), "mode=%s", v);
	else if (!str_eq(key, "volume-nocopy") && !str_eq(key, "bind-propagation") &&
	         !str_eq(key, "consistency"))
		return err_set(err, ERR_USAGE, "%s: unknown key %s", flag, key);
	return 0;
}

static int add_mount_flag(struct mounts *m, const char *text, struct error *err)
{
	struct mount_words w = {.type = "volume"};
	_cleanup_strv_ struct strv words = STRV_INIT;
	_cleanup_free_ char *flag = xasprintf("--mount %s", text);
	strv_split(&words, text, ",");
	for (size_t i = 0; i < words.n; i++)
		if (take_word(&w, flag, words.v[i], err) < 0)
			return -1;
	if (str_eq(w.type, "bind"))
		return w.source ? add_bind(m, flag, w.source, w.target, w.ro, false, err)
		                : err_set(err, ERR_USAGE, "%s: source is missing", flag);
	if (str_eq(w.type, "tmpfs")) {
		_cleanup_free_ char *options =
		        xasprintf("%s,%s,%s", w.size, w.mode, w.ro ? "ro" : "");
		return add_tmpfs(m, flag, w.target, options, err);
	}
	if (!str_eq(w.type, "volume"))
		return err_set(err, ERR_USAGE, "%s: type bind, volume or tmpfs is expected", flag);
	return w.source && *w.source ? add_named(m, flag, w.source, w.target, w.ro, NULL, err)
	                             : add_anonymous(m, flag, w.target, w.ro, err);
}

static int add_all(struct mounts *m, const struct container_spec *spec, const struct oci_image *im,
        struct error *err)
{
	for (size_t i = 0; i < spec->volumes.n; i++)
		if (add_volume_flag(m, spec->volumes.v[i], err) < 0)
			return -1;
	for (size_t i = 0; i < spec->mounts.n; i++)
		if (add_mount_flag(m, spec->mounts.v[i], err) < 0)
			return -1;
	for (size_t i = 0; i < spec->tmpfs.n; i++) {
		const char *t = spec->tmpfs.v[i];
		size_t n = strcspn(t, ":");
		_cleanup_free_ char *target = xstrndup(t, n);
		_cleanup_free_ char *flag = xasprintf("--tmpfs %s", t);
		if (add_tmpfs(m, flag, target, t[n] ? t + n + 1 : NULL, err) < 0)
			return -1;
	}
	map_foreach (it, &im->volumes) {
		_cleanup_free_ char *to = clean(it->key);
		if (!has_target(m, to) && !str_eq(to, "/") &&
		        add_anonymous(m, "VOLUME of the image", to, false, err) < 0)
			return -1;
	}
	return 0;
}

json_t *container_mounts(const struct container_spec *spec, const struct oci_image *im,
        const char *id, const char *store_path, struct error *err)
{
	struct mounts m = {.v = json_array(), .id = id, .store_path = store_path};
	if (add_all(&m, spec, im, err) >= 0)
		return m.v;
	json_decref(m.v);
	return NULL;
}
