/* store/container.c - containers/<id>: folders whose content is src/container's, and what they keep
 * alive.
 *
 * The store knows one file of such a folder: `keeps`, a line each for the image ("I<hex>"), its
 * config ("B<hex>") and its layers ("L<hex>"). The folder comes by one rename from staging while
 * its maker's lease still pins all of these, so the collector, which reads the pins before the
 * folders, sees one or the other. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/hex.h"
#include "store/internal.h"
#include "sys/path.h"

#define KEEPS_MAX ((size_t)1 << 20)

bool store_container_id_valid(const char *id)
{
	uint8_t raw[32];
	return hex_decode(raw, sizeof(raw), id, strlen(id));
}

static int make_dir(struct store *s, struct error *err)
{
	/* Stores made by earlier versions lack it. */
	if (mkdirat(s->dirfd, "containers", 0700) < 0 && errno != EEXIST)
		return err_sys(err, errno, "cannot create %s/containers", s->path);
	int fd = sys_open_dir(s->dirfd, "containers");
	return fd < 0 ? err_sys(err, fd, "cannot open %s/containers", s->path) : fd;
}

int store_container_publish(
        struct store *s, struct store_lease *l, const char *name, const char *id, struct error *err)
{
	_cleanup_close_ int dir = make_dir(s, err);
	if (dir < 0)
		return -1;
	int from = store_lease_dir(l, err);
	if (from < 0)
		return -1;
	if (renameat(from, name, dir, id) < 0)
		return err_sys(err, errno, "cannot create %s/containers/%s", s->path, id);
	return 0;
}

int store_container_open(struct store *s, const char *id, struct error *err)
{
	char path[STORE_PATH_MAX];
	if (!store_container_id_valid(id))
		return err_set(err, ERR_INTERNAL, "%s is no container id", id);
	snprintf(path, sizeof(path), "containers/%s", id);
	int fd = sys_open_dir(s->dirfd, path);
	if (fd == -ENOENT)
		return err_set(err, ERR_NOT_FOUND, "no such container: %s", id);
	return fd < 0 ? err_sys(err, fd, "cannot open %s/%s", s->path, path) : fd;
}

int store_container_discard(
        struct store *s, struct store_lease *l, const char *id, struct error *err)
{
	char from[STORE_PATH_MAX], to[32];
	int dir = store_lease_dir(l, err);
	if (dir < 0)
		return -1;
	snprintf(from, sizeof(from), "containers/%s", id);
	snprintf(to, sizeof(to), "c%.12s", id);
	if (renameat(s->dirfd, from, dir, to) < 0) {
		if (errno == ENOENT)
			return err_set(err, ERR_NOT_FOUND, "no such container: %s", id);
		return err_sys(err, errno, "cannot remove %s/%s", s->path, from);
	}
	int r = sys_remove_tree(dir, to);
	return r < 0 ? err_sys(err, r, "cannot remove all files of container %.12s", id) : 0;
}

int store_container_list(struct store *s, struct strv *ret, struct error *err)
{
	DIR *d;
	int rc = store_opendir(s, "containers", &d, err);
	if (rc <= 0)
		return rc;
	for (struct dirent *e; (e = readdir(d));)
		if (store_container_id_valid(e->d_name))
			strv_add(ret, e->d_name);
	closedir(d);
	return 0;
}

static int read_keeps(struct store *s, const char *id, struct map *ret)
{
	char path[STORE_PATH_MAX];
	_cleanup_free_ char *text = NULL;
	size_t n;
	snprintf(path, sizeof(path), "containers/%s/keeps", id);
	int r = sys_read_file(s->dirfd, path, KEEPS_MAX, &text, &n);
	if (r < 0)
		return r;
	for (const char *p = text; *p;) {
		size_t len = strcspn(p, "\n");
		if (len == 65) {
			_cleanup_free_ char *line = xstrndup(p, len);
			map_put(ret, line, NULL);
		}
		p += len + (p[len] == '\n');
	}
	return 0;
}

int store_containers_kept(struct store *s, struct map *ret, struct error *err)
{
	_cleanup_strv_ struct strv ids = STRV_INIT;
	if (store_container_list(s, &ids, err) < 0)
		return -1;
	for (size_t i = 0; i < ids.n; i++) {
		int r = read_keeps(s, ids.v[i], ret);
		/* Removed meanwhile. A folder without the file is damaged and keeps nothing. */
		if (r < 0 && r != -ENOENT)
			return err_sys(err, r, "cannot read %s/containers/%s", s->path, ids.v[i]);
	}
	return 0;
}

int store_container_check(struct store *s, const char *id, char **ret_problem, struct error *err)
{
	struct map kept = MAP_INIT(NULL);
	int r = read_keeps(s, id, &kept), rc = 0;
	*ret_problem = NULL;
	if (r < 0 && r != -ENOENT)
		rc = err_sys(err, r, "cannot read %s/containers/%s", s->path, id);
	else if (r < 0)
		*ret_problem = xstrdup("its list of layers is missing: remove it (strake rm)");
	map_foreach (it, &kept) {
		struct digest d;
		if (rc < 0 || *ret_problem || it->key[0] != 'L' ||
		        !hex_decode(d.b, sizeof(d.b), it->key + 1, 64))
			continue;
		rc = store_layer_known(s, &d, err);
		if (rc == 0)
			*ret_problem =
			        xasprintf("its layer sha256:%s is missing: build or pull the image "
			                  "again",
			                it->key + 1);
	}
	map_release(&kept);
	return rc < 0 ? -1 : 0;
}
