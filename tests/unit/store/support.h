/* tests/unit/store/support.h - a store in a temporary directory, and layers to put into it. */
#ifndef STRAKE_TESTS_STORE_SUPPORT_H
#define STRAKE_TESTS_STORE_SUPPORT_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "../tap.h"
#include "store/internal.h"
#include "sys/path.h"

static char test_dir[64];

static void __attribute__((unused)) must(int rc, struct error *err, const char *what)
{
	if (rc >= 0)
		return;
	printf("Bail out! %s: %s\n", what, err->msg ? err->msg : strerror(-rc));
	exit(1);
}

/* make_test_dir - in memory where there is such a place: what is tested here is the order of
 * things, and thousands of flushes of a busy disk would only take time. */
static inline void make_test_dir(void)
{
	static const char *const places[] = {"/dev/shm", "/tmp"};
	for (size_t i = 0; i < 2; i++) {
		snprintf(test_dir, sizeof(test_dir), "%s/strake-store-XXXXXX", places[i]);
		if (mkdtemp(test_dir))
			return;
	}
	must(-errno, &ERROR_INIT, "mkdtemp");
}

/* remove_path - an absolute path and all below it. */
static inline void remove_path(const char *path)
{
	int fd = sys_open_dir(AT_FDCWD, path);
	must(fd, &ERROR_INIT, path);
	must(sys_remove_tree_at_fd(fd), &ERROR_INIT, path);
	close(fd);
	must(rmdir(path) < 0 ? -errno : 0, &ERROR_INIT, path);
}

static inline void remove_test_dir(void)
{
	remove_path(test_dir);
}

static inline struct store *open_store(void)
{
	struct error err = ERROR_INIT;
	struct store *s = NULL;
	must(store_open(test_dir, &s, &err), &err, "store_open");
	return s;
}

static inline struct store_lease *new_lease(struct store *s)
{
	struct error err = ERROR_INIT;
	struct store_lease *l = NULL;
	must(store_lease_new(s, &l, &err), &err, "store_lease_new");
	return l;
}

static inline struct digest name_digest(const char *name)
{
	struct digest d;
	sha256_buf(name, strlen(name), &d);
	return d;
}

static inline void put_file(int dir, const char *name, const char *text)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	must(fd, &ERROR_INIT, name);
	must(sys_write_all(fd, text, strlen(text)), &ERROR_INIT, name);
	must(fchmod(fd, 0644), &ERROR_INIT, name);
	close(fd);
}

/* stage - a layer with "dir/file" holding `text`, a link and a white-out, in staging. */
static inline char *stage(struct store_lease *l, const char *text, struct tree *t)
{
	struct error err = ERROR_INIT;
	char *name = NULL;
	int fd = -1;
	must(store_staging_dir(l, &name, &fd, &err), &err, "store_staging_dir");
	must(mkdirat(fd, "tree", 0755), &err, "tree");
	int tree = openat(fd, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(mkdirat(tree, "dir", 0755), &err, "dir");
	must(fchmodat(tree, "dir", 0755, 0), &err, "dir");
	int dir = openat(tree, "dir", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	put_file(dir, "file", text);
	must(symlinkat("dir/file", tree, "link"), &err, "link");
	tree_add(t, &(struct tree_entry){.path = "dir",
	                    .type = TREE_DIR,
	                    .mode = 0755,
	                    .uid = geteuid(),
	                    .gid = getegid()});
	struct tree_entry e = {.path = "dir/file",
	        .type = TREE_REG,
	        .mode = 0644,
	        .uid = geteuid(),
	        .gid = getegid(),
	        .size = strlen(text),
	        .has_digest = true};
	sha256_buf(text, strlen(text), &e.sha256);
	tree_add(t, &e);
	tree_add(t, &(struct tree_entry){.path = "link",
	                    .type = TREE_SYMLINK,
	                    .mode = 0777,
	                    .link = "dir/file",
	                    .uid = geteuid(),
	                    .gid = getegid()});
	tree_sort(t);
	close(dir);
	close(tree);
	close(fd);
	return name;
}

/* put_layer - publish stage(text) under the digest of `text` as its diff id. */
static inline struct digest put_layer(struct store *s, struct store_lease *l, const char *text)
{
	struct error err = ERROR_INIT;
	struct tree t = TREE_INIT;
	char *name = stage(l, text, &t);
	struct digest d = name_digest(text);
	const struct store_layer *layer;
	must(store_layer_publish(s, l, name, &t, &d, 1024, true, &layer, &err), &err, "publish");
	tree_release(&t);
	free(name);
	return d;
}

static inline int has_layer(struct store *s, const struct digest *d, int what)
{
	struct error err = ERROR_INIT;
	const struct store_layer *layer = NULL;
	int rc = store_layer_get(s, NULL, d, what, &layer, &err);
	if (rc < 0)
		printf("# %s\n", err.msg);
	error_release(&err);
	return rc;
}

/* warned - takes the warnings and says whether one holds `word`. */
static inline bool warned(struct store *s, const char *word)
{
	struct strv w = STRV_INIT;
	bool found = false;
	store_warnings(s, &w);
	for (size_t i = 0; i < w.n; i++) {
		found |= strstr(w.v[i], word) != NULL;
		printf("# warning: %s\n", w.v[i]);
	}
	strv_release(&w);
	return found;
}

static inline int entries_in(const char *sub)
{
	char path[160];
	snprintf(path, sizeof(path), "%s/%s", test_dir, sub);
	DIR *d = opendir(path);
	int n = 0;
	for (struct dirent *e; d && (e = readdir(d));)
		n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
	if (d)
		closedir(d);
	return n;
}

#endif
