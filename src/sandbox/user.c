/* sandbox/user.c - see user.h. A malformed line is passed over, never read as id 0. */
#include "sandbox/user.h"
#include "sys/path.h"

#include <errno.h>

#define ID_FILE_MAX (10u << 20)
#define ID_MAX 2147483647u
#define GROUPS_MAX 65536u

void sandbox_user_release(struct sandbox_user *u)
{
	free(u->groups);
	free(u->home);
	*u = (struct sandbox_user){0};
}

struct slice {
	const char *p;
	size_t n;
};

static bool slice_eq(struct slice a, struct slice b)
{
	return a.n == b.n && memcmp(a.p, b.p, a.n) == 0;
}

static bool all_digits(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
	return s.n > 0;
}

static bool parse_id(struct slice s, uint32_t *ret)
{
	uint64_t v = 0;
	if (!all_digits(s))
		return false;
	for (size_t i = 0; i < s.n; i++) {
		v = v * 10 + (uint64_t)(s.p[i] - '0');
		if (v > ID_MAX)
			return false;
	}
	*ret = (uint32_t)v;
	return true;
}

/* next_line - splits off one line; false at the end. */
static bool next_line(const char **text, struct slice *ret)
{
	if (!*text || !**text)
		return false;
	size_t n = strcspn(*text, "\n");
	*ret = (struct slice){*text, n};
	*text += n + ((*text)[n] == '\n');
	return true;
}

/* fields - the parts between ':', at most max; returns how many there were up to max. */
static unsigned fields(struct slice line, struct slice *out, unsigned max)
{
	unsigned n = 0;
	while (n < max) {
		const char *colon = memchr(line.p, ':', line.n);
		out[n].p = line.p;
		out[n].n = colon ? (size_t)(colon - line.p) : line.n;
		n++;
		if (!colon)
			break;
		line.n -= out[n - 1].n + 1;
		line.p = colon + 1;
	}
	return n;
}

struct account {
	struct slice name;
	struct slice home;
	uint32_t uid, gid;
};

/* find_account - first line whose name is `who`, or whose uid is *id where id is given. */
static bool find_account(
        const char *passwd, struct slice who, const uint32_t *id, struct account *ret)
{
	struct slice line, f[7] = {0};
	while (next_line(&passwd, &line)) {
		struct account a = {0};
		unsigned n = fields(line, f, 7);
		if (n < 4 || !f[0].n || !parse_id(f[2], &a.uid) || !parse_id(f[3], &a.gid))
			continue;
		if (!(who.n && slice_eq(f[0], who)) && !(id && *id == a.uid))
			continue;
		a.name = f[0];
		a.home = n > 5 ? f[5] : (struct slice){0};
		*ret = a;
		return true;
	}
	return false;
}

static bool find_group(const char *group, struct slice who, const uint32_t *id, uint32_t *ret)
{
	struct slice line, f[4];
	while (next_line(&group, &line)) {
		uint32_t gid;
		if (fields(line, f, 4) < 3 || !f[0].n || !parse_id(f[2], &gid))
			continue;
		if (slice_eq(f[0], who) || (id && *id == gid)) {
			*ret = gid;
			return true;
		}
	}
	return false;
}

static bool has_member(struct slice list, struct slice name)
{
	while (list.n) {
		const char *comma = memchr(list.p, ',', list.n);
		struct slice one = {list.p, comma ? (size_t)(comma - list.p) : list.n};
		if (slice_eq(one, name))
			return true;
		size_t skip = one.n + (comma != NULL);
		list.p += skip;
		list.n -= skip;
	}
	return false;
}

static void collect_groups(const char *group, struct slice name, struct sandbox_user *u)
{
	struct slice line, f[4];
	size_t cap = 0;
	while (u->n_groups < GROUPS_MAX && next_line(&group, &line)) {
		uint32_t gid;
		if (fields(line, f, 4) < 4 || !parse_id(f[2], &gid) || !has_member(f[3], name))
			continue;
		vec_grow(&u->groups, &cap, u->n_groups + 1);
		u->groups[u->n_groups++] = gid;
	}
}

/* add_primary - the primary group is among the supplementary ones as well: a file that denies its
 * group something must deny it to a process that switches its group (CVE-2022-36109). */
static void add_primary(struct sandbox_user *u)
{
	for (size_t i = 0; i < u->n_groups; i++)
		if (u->groups[i] == u->gid)
			return;
	uint32_t *v = new0(uint32_t, u->n_groups + 1);
	v[0] = u->gid;
	if (u->n_groups)
		memcpy(v + 1, u->groups, u->n_groups * sizeof(*v));
	free(u->groups);
	u->groups = v;
	u->n_groups++;
}

static int bad_number(struct slice s, const char *what, struct error *err)
{
	err_set(err, ERR_BUILD, "%s %.*s is out of range", what, (int)MIN(s.n, (size_t)64), s.p);
	return err_hint(err, "ids go from 0 to %u", ID_MAX);
}

static int resolve_group(const char *group, struct slice g, uint32_t *ret, struct error *err)
{
	uint32_t id;
	bool numeric = all_digits(g);
	if (numeric && !parse_id(g, &id))
		return bad_number(g, "group id", err);
	if (find_group(group, g, numeric ? &id : NULL, ret))
		return 0;
	if (!numeric) {
		err_set(err, ERR_BUILD,
		        "unable to find group %.*s: no matching entry in the image's /etc/group",
		        (int)MIN(g.n, (size_t)256), g.p);
		return err_hint(
		        err, "create it with `RUN groupadd` (or addgroup) first, or use a number");
	}
	*ret = id;
	return 0;
}

int sandbox_user_lookup(const char *passwd, const char *group, const char *text,
        struct sandbox_user *ret, struct error *err)
{
	if (!*text)
		text = "0";
	const char *colon = strchr(text, ':');
	struct slice who = {text, colon ? (size_t)(colon - text) : strlen(text)};
	struct slice grp = {colon ? colon + 1 : "", colon ? strlen(colon + 1) : 0};
	_cleanup_(sandbox_user_release) struct sandbox_user u = {0};
	struct account a = {0};
	uint32_t id = 0;
	bool numeric = all_digits(who);
	if (!who.n)
		return err_set(err, ERR_BUILD, "USER \"%s\" names no user", text);
	if (numeric && !parse_id(who, &id))
		return bad_number(who, "user id", err);
	bool found = find_account(passwd, who, numeric ? &id : NULL, &a);
	if (!found && !numeric) {
		err_set(err, ERR_BUILD,
		        "unable to find user %.*s: no matching entry in the image's /etc/passwd",
		        (int)MIN(who.n, (size_t)256), who.p);
		return err_hint(
		        err, "create it with `RUN useradd` (or adduser) first, or use a number");
	}
	u.uid = found ? a.uid : id;
	u.gid = found ? a.gid : 0;
	if (grp.n) {
		if (resolve_group(group, grp, &u.gid, err) < 0)
			return -1;
	} else if (found) {
		collect_groups(group, a.name, &u);
	}
	add_primary(&u);
	u.home = found && a.home.n ? xstrndup(a.home.p, a.home.n) : xstrdup("/");
	*ret = u;
	u = (struct sandbox_user){0};
	return 0;
}

static int read_id_file(int rootfs, const char *path, char **ret, struct error *err)
{
	int r = sys_read_file_in_root(rootfs, path, ID_FILE_MAX, ret, NULL);
	if (r == -ENOENT || r == -ENOTDIR)
		return 0;
	if (r == -EFBIG)
		return err_set(err, ERR_BUILD, "the image's /%s is larger than 10 MiB", path);
	if (r == -EINVAL || r == -ELOOP)
		return err_set(err, ERR_BUILD, "the image's /%s is not a regular file", path);
	return r < 0 ? err_sys(err, r, "cannot read the image's /%s", path) : 0;
}

int sandbox_user_resolve(
        int rootfs_fd, const char *text, struct sandbox_user *ret, struct error *err)
{
	_cleanup_free_ char *passwd = NULL, *group = NULL;
	if (read_id_file(rootfs_fd, "etc/passwd", &passwd, err) < 0 ||
	        read_id_file(rootfs_fd, "etc/group", &group, err) < 0)
		return -1;
	return sandbox_user_lookup(passwd, group, text, ret, err);
}
