/* sandbox/cdi.c - see cdi.h. */
#include "sandbox/cdi.h"
#include "sys/path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>

#define CDI_FILE_MAX (1u << 20)

const char *const cdi_default_dirs[] = {"/etc/cdi", "/var/run/cdi", NULL};

void cdi_edits_release(struct cdi_edits *e)
{
	for (size_t i = 0; i < e->n_mounts; i++) {
		free(e->mounts[i].host_path);
		free(e->mounts[i].path);
	}
	free(e->mounts);
	strv_release(&e->env);
	*e = (struct cdi_edits){0};
}

static void json_decref_ptr(json_t **j)
{
	json_decref(*j);
}

static int bad_spec(const char *file, const char *what, struct error *err)
{
	return err_set(err, ERR_SYSTEM, "CDI specification %s: %s", file, what);
}

static void add_mount(struct cdi_edits *e, const char *host, const char *path, bool dev, bool ro)
{
	vec_grow(&e->mounts, &e->cap, e->n_mounts + 1);
	e->mounts[e->n_mounts++] = (struct cdi_mount){xstrdup(host), xstrdup(path), dev, ro};
}

static bool has_option(json_t *options, const char *want)
{
	size_t i;
	json_t *o;
	json_array_foreach(options, i, o)
	{
		if (json_is_string(o) && str_eq(json_string_value(o), want))
			return true;
	}
	return false;
}

static int add_nodes(json_t *nodes, const char *file, struct cdi_edits *e, struct error *err)
{
	size_t i;
	json_t *n;
	json_array_foreach(nodes, i, n)
	{
		const char *path = json_string_value(json_object_get(n, "path"));
		const char *host = json_string_value(json_object_get(n, "hostPath"));
		if (!path || *path != '/' || (host && *host != '/'))
			return bad_spec(file, "a device node has no absolute path", err);
		add_mount(e, host ? host : path, path, true, false);
	}
	return 0;
}

static int add_binds(json_t *mounts, const char *file, struct cdi_edits *e, struct error *err)
{
	size_t i;
	json_t *m;
	json_array_foreach(mounts, i, m)
	{
		const char *path = json_string_value(json_object_get(m, "containerPath"));
		const char *host = json_string_value(json_object_get(m, "hostPath"));
		if (!path || *path != '/' || !host || *host != '/')
			return bad_spec(file, "a mount has no absolute path", err);
		json_t *options = json_object_get(m, "options");
		add_mount(e, host, path, false, !has_option(options, "rw"));
	}
	return 0;
}

static int add_edits(json_t *edits, const char *file, struct cdi_edits *e, struct error *err)
{
	size_t i;
	json_t *v;
	if (!edits)
		return 0;
	if (json_array_size(json_object_get(edits, "hooks"))) {
		bad_spec(file, "it asks for hooks, which are programs of the host", err);
		return err_hint(
		        err, "a build does not run them: give a specification without hooks");
	}
	json_array_foreach(json_object_get(edits, "env"), i, v)
	{
		const char *text = json_string_value(v);
		if (!text || !strchr(text, '='))
			return bad_spec(file, "an env entry is not NAME=VALUE", err);
		strv_add(&e->env, text);
	}
	if (add_nodes(json_object_get(edits, "deviceNodes"), file, e, err) < 0)
		return -1;
	return add_binds(json_object_get(edits, "mounts"), file, e, err);
}

struct found {
	json_t *spec;
	json_t *device; /* borrowed from spec */
	char *file;
};

static void found_release(struct found *f)
{
	json_decref(f->spec);
	free(f->file);
}

/* look_in_file - keeps the specification if it has the device. */
static int look_in_file(int dir, const char *dir_path, const char *name, const char *kind,
        const char *device, struct found *ret, struct error *err)
{
	_cleanup_free_ char *file = xasprintf("%s/%s", dir_path, name);
	_cleanup_free_ char *text = NULL;
	size_t n;
	int r = sys_read_file(dir, name, CDI_FILE_MAX, &text, &n);
	if (r < 0)
		return err_sys(err, r, "cannot read %s", file);
	json_error_t je;
	_cleanup_(json_decref_ptr) json_t *spec = json_loadb(text, n, JSON_REJECT_DUPLICATES, &je);
	if (!spec)
		return bad_spec(file, je.text, err);
	const char *k = json_string_value(json_object_get(spec, "kind"));
	if (!k || !str_eq(k, kind))
		return 0;
	size_t i;
	json_t *d;
	json_array_foreach(json_object_get(spec, "devices"), i, d)
	{
		const char *dn = json_string_value(json_object_get(d, "name"));
		if (!dn || !str_eq(dn, device))
			continue;
		found_release(ret);
		*ret = (struct found){json_incref(spec), d, take_ptr(file)};
		break;
	}
	return 0;
}

static int look_in_dir(const char *path, const char *kind, const char *device, struct found *ret,
        struct error *err)
{
	/* trusted-path: the host's CDI directories */
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d)
		return fd < 0 && errno != ENOENT ? err_sys(err, errno, "cannot open %s", path) : 0;
	int r = 0;
	for (struct dirent *e; r >= 0 && (e = readdir(d));)
		if (str_ends(e->d_name, ".json"))
			r = look_in_file(dirfd(d), path, e->d_name, kind, device, ret, err);
	closedir(d);
	return r;
}

int cdi_resolve(const char *const *dirs, const char *name, struct cdi_edits *e, struct error *err)
{
	const char *eq = strchr(name, '=');
	if (!eq || !strchr(name, '/') || strchr(name, '/') > eq || !eq[1]) {
		err_set(err, ERR_USAGE, "--device %s is not a CDI name", name);
		return err_hint(err, "CDI names look like vendor.com/class=name");
	}
	_cleanup_free_ char *kind = xstrndup(name, (size_t)(eq - name));
	_cleanup_(found_release) struct found f = {0};
	for (size_t i = 0; dirs[i]; i++)
		if (look_in_dir(dirs[i], kind, eq + 1, &f, err) < 0)
			return -1;
	if (!f.spec) {
		err_set(err, ERR_NOT_FOUND, "no CDI device %s on this machine", name);
		return err_hint(err, "its JSON specification belongs in /etc/cdi or /var/run/cdi");
	}
	if (add_edits(json_object_get(f.spec, "containerEdits"), f.file, e, err) < 0)
		return -1;
	return add_edits(json_object_get(f.device, "containerEdits"), f.file, e, err);
}
