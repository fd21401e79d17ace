/* layer/user.c - users and groups by the passwd and group files of an image, never the host's.
 *
 * The files are untrusted: found through the manifests, regular, at most 10 MiB. Numbers follow
 * runc: 0 to 2^31-1, decimal digits alone. */
#include <errno.h>

#include "layer/layer.h"
#include "sys/path.h"

#define FILE_MAX (10u << 20)
#define ID_MAX 0x7fffffffu

static bool is_number(const char *s)
{
	return *s && s[strspn(s, "0123456789")] == '\0';
}

static bool parse_id(const char *s, size_t n, uint32_t *ret)
{
	uint64_t v = 0;
	if (n == 0 || n > 10)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		v = v * 10 + (uint64_t)(s[i] - '0');
	}
	if (v > ID_MAX)
		return false;
	*ret = (uint32_t)v;
	return true;
}

/* 1: read; 0: the image has no such file. */
static int read_account_file(
        const struct treeview *v, const int *fds, const char *path, char **ret, struct error *err)
{
	_cleanup_free_ char *phys = NULL;
	struct view_hit hit;
	if (!v)
		return 0;
	int r = view_resolve(v, path, true, &phys, &hit, err);
	if (r <= 0)
		return r;
	const struct tree_entry *e = view_content(v, &hit);
	if (!e || e->type != TREE_REG)
		return err_set(err, ERR_BUILD, "/%s in the image is not a regular file", path);
	if (e->size > FILE_MAX)
		return err_set(err, ERR_BUILD, "/%s in the image is larger than 10 MiB", path);
	size_t n;
	r = sys_read_file(fds[hit.layer], e->path, FILE_MAX, ret, &n);
	if (r < 0)
		return err_sys(err, r, "cannot read /%s of the image", path);
	return 1;
}

/* The line "name:...": its colon-separated fields. */
struct fields {
	const char *at[4];
	size_t len[4];
	unsigned n;
};

static bool find_line(const char *text, const char *name, struct fields *ret)
{
	size_t len = strlen(name);
	for (const char *line = text; *line;) {
		size_t n = strcspn(line, "\n");
		if (n > len && line[len] == ':' && memcmp(line, name, len) == 0) {
			const char *p = line, *end = line + n;
			for (ret->n = 0; ret->n < 4 && p <= end; ret->n++) {
				const char *colon = memchr(p, ':', (size_t)(end - p));
				ret->at[ret->n] = p;
				ret->len[ret->n] = (size_t)((colon ? colon : end) - p);
				p = colon ? colon + 1 : end + 1;
			}
			return true;
		}
		line += n;
		line += *line == '\n';
	}
	return false;
}

static int lookup_name(const char *file, const char *kind, const char *name,
        const struct treeview *v, const int *fds, uint32_t *ret_id, uint32_t *ret_gid,
        struct error *err)
{
	_cleanup_free_ char *text = NULL;
	struct fields f;
	int r = read_account_file(v, fds, file, &text, err);
	if (r < 0)
		return -1;
	if (r == 0 || !find_line(text, name, &f)) {
		err_set(err, ERR_BUILD, "no %s \"%s\" in /%s of the image%s", kind, name, file,
		        r ? "" : " (the file is missing)");
		return err_hint(err, "add the %s in an earlier RUN, or give its number", kind);
	}
	if (f.n < 3 || !parse_id(f.at[2], f.len[2], ret_id) ||
	        (ret_gid && (f.n < 4 || !parse_id(f.at[3], f.len[3], ret_gid))))
		return err_set(err, ERR_BUILD,
		        "the line of %s \"%s\" in /%s of the image is not valid", kind, name, file);
	return 0;
}

static int bad_number(const char *kind, const char *s, struct error *err)
{
	return err_set(err, ERR_BUILD, "%s id %s is not between 0 and %u", kind, s, ID_MAX);
}

int layer_lookup_user(const char *spec, const struct treeview *v, const int *fds, uint32_t *ret_uid,
        uint32_t *ret_gid, struct error *err)
{
	const char *colon = strchr(spec, ':');
	_cleanup_free_ char *user = xstrndup(spec, colon ? (size_t)(colon - spec) : strlen(spec));
	const char *group = colon ? colon + 1 : "";
	uint32_t uid = 0, gid = 0;
	if (!*user)
		return err_set(err, ERR_BUILD, "\"%s\" names no user", spec);
	if (strchr(group, ':'))
		return err_set(err, ERR_BUILD, "\"%s\" is not of the form user:group", spec);
	if (is_number(user)) {
		if (!parse_id(user, strlen(user), &uid))
			return bad_number("user", user, err);
		gid = uid;
	} else if (lookup_name("etc/passwd", "user", user, v, fds, &uid, &gid, err) < 0) {
		return -1;
	}
	if (is_number(group)) {
		if (!parse_id(group, strlen(group), &gid))
			return bad_number("group", group, err);
	} else if (*group &&
	           lookup_name("etc/group", "group", group, v, fds, &gid, NULL, err) < 0) {
		return -1;
	}
	*ret_uid = uid;
	*ret_gid = gid;
	return 0;
}
