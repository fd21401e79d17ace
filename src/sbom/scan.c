/* sbom/scan.c - over all files of an image: which of them are package databases, and their bytes.
 *
 * A layer's bytes are opened beneath its directory, by the path its manifest gives. A database that
 * a whiteout hides is not seen, because the merged view is what is walked. */
#include "sbom/internal.h"
#include "sys/path.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define MAX_DATABASE (64u << 20)
#define MAX_METADATA (4u << 20)
#define MAX_RPMDB (2ull << 30)
#define MIN_GO_PROGRAM 65536u /* the smallest hello world has twenty times that */

struct scan {
	const struct treeview *v;
	const int *fds;
	struct sbom *out;
	bool rpm_seen;
};

static char *read_entry(struct scan *s, const struct view_hit *hit, size_t max, size_t *ret_n)
{
	const struct tree_entry *e = view_content(s->v, hit);
	char *text = NULL;
	if (!e || e->type != TREE_REG)
		return NULL;
	int r = e->size > max ? -EFBIG
	                      : sys_read_file(s->fds[hit->layer], e->path, max, &text, ret_n);
	if (r >= 0)
		return text;
	strv_addf(&s->out->notes, "/%s was not read: %s", hit->entry->path, strerror(-r));
	return NULL;
}

typedef void parser(struct sbom *s, const char *text, size_t n, const char *path);

static void parse_file(struct scan *s, const struct view_hit *hit, size_t max, parser *parse)
{
	size_t n = 0;
	_cleanup_free_ char *text = read_entry(s, hit, max, &n);
	if (text)
		parse(s->out, text, n, hit->entry->path);
}

static void parse_status(struct sbom *s, const char *text, size_t n, const char *path)
{
	sbom_parse_dpkg(s, text, n, true, path);
}

static void parse_status_d(struct sbom *s, const char *text, size_t n, const char *path)
{
	sbom_parse_dpkg(s, text, n, false, path);
}

static void read_rpm(struct scan *s, const struct view_hit *hit)
{
	const struct tree_entry *e = view_content(s->v, hit);
	struct error err = ERROR_INIT;
	/* /var/lib/rpm is mostly a link to the other place; never both. */
	if (!e || e->type != TREE_REG || s->rpm_seen)
		return;
	if (e->size > MAX_RPMDB) {
		strv_addf(&s->out->notes, "/%s is too large to be read", hit->entry->path);
		return;
	}
	s->rpm_seen = true;
	_cleanup_close_ int fd = sys_open_beneath(s->fds[hit->layer], e->path, O_RDONLY, 0);
	if (fd < 0)
		strv_addf(&s->out->notes, "/%s was not read: %s", hit->entry->path, strerror(-fd));
	else if (sbom_read_rpmdb(s->out, fd, hit->entry->path, &err) < 0)
		strv_addf(&s->out->notes, "/%s was not read to its end: %s", hit->entry->path,
		        err.msg);
	error_release(&err);
}

static bool file_read_at(void *ctx, uint64_t offset, void *buf, size_t n)
{
	return pread(*(int *)ctx, buf, n, (off_t)offset) == (ssize_t)n;
}

static void try_go(struct scan *s, const struct view_hit *hit)
{
	const struct tree_entry *e = hit->entry;
	_cleanup_close_ int fd =
	        sys_open_beneath(s->fds[hit->layer], e->path, O_RDONLY | O_NOFOLLOW, 0);
	struct sbom_bytes in = {file_read_at, &fd, e->size};
	if (fd >= 0)
		(void)sbom_parse_go(s->out, &in, e->path);
}

/* --- names ----------------------------------------------------------------------------------- */

/* component - the n-th last component of a path: its start and length; false: there is none. */
static bool component(const char *path, unsigned n, const char **ret, size_t *ret_len)
{
	const char *end = path + strlen(path);
	for (;;) {
		const char *start = end;
		while (start > path && start[-1] != '/')
			start--;
		if (n-- == 0) {
			*ret = start;
			*ret_len = (size_t)(end - start);
			return true;
		}
		if (start == path)
			return false;
		end = start - 1;
	}
}

static bool component_is(const char *path, unsigned n, const char *name)
{
	const char *p;
	size_t len;
	return component(path, n, &p, &len) && len == strlen(name) && memcmp(p, name, len) == 0;
}

static bool component_ends(const char *path, unsigned n, const char *suffix)
{
	const char *p;
	size_t len, k = strlen(suffix);
	return component(path, n, &p, &len) && len > k && memcmp(p + len - k, suffix, k) == 0;
}

/* node_modules/NAME/package.json or node_modules/@SCOPE/NAME/package.json */
static bool is_node_package(const char *path)
{
	const char *scope;
	size_t len;
	if (!str_ends(path, "/package.json"))
		return false;
	return component_is(path, 2, "node_modules") ||
	       (component_is(path, 3, "node_modules") && component(path, 2, &scope, &len) && len &&
	               *scope == '@');
}

static bool is_python_package(const char *path)
{
	return (str_ends(path, "/METADATA") && component_ends(path, 1, ".dist-info")) ||
	       (str_ends(path, "/PKG-INFO") && component_ends(path, 1, ".egg-info")) ||
	       str_ends(path, ".egg-info");
}

static void note_unread(struct scan *s, const char *path, const char *what)
{
	strv_addf(&s->out->notes, "/%s is a package database in the form of %s, which is not read",
	        path, what);
}

/* by_name - the databases that have their place. False: no such. */
static bool by_name(struct scan *s, const struct view_hit *hit)
{
	const char *path = hit->entry->path;
	if (str_eq(path, "var/lib/dpkg/status")) {
		parse_file(s, hit, MAX_DATABASE, parse_status);
	} else if (str_starts(path, "var/lib/dpkg/status.d/")) {
		if (!str_ends(path, ".md5sums"))
			parse_file(s, hit, MAX_DATABASE, parse_status_d);
	} else if (str_eq(path, "lib/apk/db/installed") ||
	           str_eq(path, "usr/lib/apk/db/installed")) {
		parse_file(s, hit, MAX_DATABASE, sbom_parse_apk);
	} else if (str_eq(path, "var/lib/rpm/rpmdb.sqlite") ||
	           str_eq(path, "usr/lib/sysimage/rpm/rpmdb.sqlite") ||
	           str_eq(path, "usr/share/rpm/rpmdb.sqlite")) {
		read_rpm(s, hit);
	} else if (str_eq(path, "var/lib/rpm/Packages") ||
	           str_eq(path, "usr/lib/sysimage/rpm/Packages")) {
		note_unread(s, path, "Berkeley DB");
	} else if (str_eq(path, "var/lib/rpm/Packages.db") ||
	           str_eq(path, "usr/lib/sysimage/rpm/Packages.db")) {
		note_unread(s, path, "rpm's ndb");
	} else if (is_node_package(path)) {
		parse_file(s, hit, MAX_METADATA, sbom_parse_npm);
	} else if (is_python_package(path)) {
		parse_file(s, hit, MAX_METADATA, sbom_parse_python);
	} else {
		return false;
	}
	return true;
}

static int visit(void *ctx, const struct view_hit *hit)
{
	struct scan *s = ctx;
	const struct tree_entry *e = hit->entry;
	if (e->type != TREE_REG && e->type != TREE_HARDLINK)
		return 0;
	if (!by_name(s, hit) && e->type == TREE_REG && (e->mode & 0111) &&
	        e->size >= MIN_GO_PROGRAM)
		try_go(s, hit);
	return 0;
}

/* --- os-release ------------------------------------------------------------------------------ */

static const char *os_field(struct sbom *out, const char *text, const char *key)
{
	size_t k = strlen(key);
	for (const char *p = text; *p;) {
		size_t n = strcspn(p, "\n");
		if (n > k && p[k] == '=' && memcmp(p, key, k) == 0) {
			const char *v = p + k + 1;
			size_t len = n - k - 1;
			if (len >= 2 && (*v == '"' || *v == '\'') && v[len - 1] == *v) {
				v++;
				len -= 2;
			}
			return sbom_text(out, v, len);
		}
		p += n;
		p += *p == '\n';
	}
	return NULL;
}

static int read_os_release(struct scan *s, struct error *err)
{
	static const char *const places[] = {"etc/os-release", "usr/lib/os-release"};
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		_cleanup_free_ char *phys = NULL;
		struct view_hit hit;
		struct error ignored = ERROR_INIT;
		int r = view_resolve(s->v, places[i], true, &phys, &hit, &ignored);
		error_release(&ignored);
		if (r <= 0)
			continue;
		size_t n = 0;
		_cleanup_free_ char *text = read_entry(s, &hit, MAX_METADATA, &n);
		if (!text)
			continue;
		s->out->os_id = os_field(s->out, text, "ID");
		s->out->os_version = os_field(s->out, text, "VERSION_ID");
		return 0;
	}
	(void)err;
	return 0;
}

int sbom_scan(const struct treeview *v, const int *fds, struct sbom *ret, struct error *err)
{
	struct sbom out = {0};
	struct scan s = {.v = v, .fds = fds, .out = &out};
	if (read_os_release(&s, err) < 0) {
		sbom_release(&out);
		return -1;
	}
	(void)view_list(v, "", true, visit, &s);
	sbom_finish(&out);
	*ret = out;
	return 0;
}
