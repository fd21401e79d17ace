/* tar_tool - drives reader and writer for test_differential.py.
 *
 *   tar_tool list ARCHIVE   one JSON object a line: what the reader sees, with content digests
 *   tar_tool write DIR      the canonical tar of DIR on stdout (regular files, directories, links)
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "codec/json.h"
#include "tar/reader.h"
#include "tar/writer.h"

static const char *const types[] = {"", "file", "dir", "symlink", "hardlink", "chr", "blk", "fifo"};

static char *hex_of(const void *p, size_t n)
{
	char *s = xmalloc(2 * n + 1);
	s[0] = '\0';
	for (size_t i = 0; i < n; i++)
		sprintf(s + 2 * i, "%02x", ((const unsigned char *)p)[i]);
	return s;
}

static void set_hex(json_t *j, const char *key, const void *p, size_t n)
{
	_cleanup_free_ char *hex = hex_of(p, n);
	json_object_set_new(j, key, json_string(hex));
}

static int print_entry(struct tar_reader *r, const struct tree_entry *e, struct error *err)
{
	_cleanup_json_ json_t *j = json_object();
	json_t *xs = json_object();
	set_hex(j, "path", e->path, strlen(e->path));
	set_hex(j, "link", str_or_empty(e->link), strlen(str_or_empty(e->link)));
	json_object_set_new(j, "type", json_string(types[e->type]));
	json_object_set_new(j, "mode", json_integer(e->mode));
	json_object_set_new(j, "uid", json_integer(e->uid));
	json_object_set_new(j, "gid", json_integer(e->gid));
	json_object_set_new(j, "mtime", json_integer(e->mtime_sec));
	json_object_set_new(j, "size", json_integer((json_int_t)e->size));
	for (uint32_t i = 0; i < e->n_xattrs; i++)
		set_hex(xs, e->xattrs[i].name, e->xattrs[i].value, e->xattrs[i].len);
	json_object_set_new(j, "xattrs", xs);
	if (e->type == TREE_REG) {
		struct sha256 h;
		struct digest d;
		char hex[DIGEST_HEX_MAX];
		_cleanup_free_ char *buf = xmalloc(100000);
		ssize_t n;
		sha256_init(&h);
		while ((n = tar_reader_read(r, buf, 100000, err)) > 0)
			sha256_update(&h, buf, (size_t)n);
		if (n < 0)
			return -1;
		sha256_final(&h, &d);
		json_object_set_new(j, "sha256", json_string(digest_hex(&d, hex)));
	}
	_cleanup_free_ char *s = json_compact(j);
	puts(s);
	return 0;
}

static int list(const char *path, struct error *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_reader_ struct reader *in = NULL;
	if (reader_decompress(reader_fd(fd, path), UINT64_MAX, NULL, &in, err) < 0)
		return -1;
	_cleanup_(tar_reader_freep) struct tar_reader *r = tar_reader_new(in, path);
	struct tree_entry e;
	int n;
	while ((n = tar_reader_next(r, &e, err)) == 1)
		if (print_entry(r, &e, err) < 0)
			return -1;
	return n;
}

static void add_xattrs(struct tree_entry *e, int fd)
{
	static struct tree_xattr xs[16];
	static char names[4096], values[16][1024];
	ssize_t n = flistxattr(fd, names, sizeof(names));
	e->xattrs = xs;
	for (ssize_t i = 0; i < n && e->n_xattrs < 16; i += (ssize_t)strlen(names + i) + 1) {
		uint32_t k = e->n_xattrs++;
		ssize_t len = fgetxattr(fd, names + i, values[k], sizeof(values[k]));
		xs[k] = (struct tree_xattr){
		        names + i, (const uint8_t *)values[k], (uint32_t)MAX(len, 0)};
	}
}

/* One directory level at a time; hard links by (device, inode) through a linear search: test trees
 * are small. */
struct seen {
	dev_t dev;
	ino_t ino;
	char *path;
};
static struct seen seen[1024];
static size_t n_seen;

static const char *first_of(const struct stat *st, const char *path)
{
	for (size_t i = 0; i < n_seen; i++)
		if (seen[i].dev == st->st_dev && seen[i].ino == st->st_ino)
			return seen[i].path;
	seen[n_seen++] = (struct seen){st->st_dev, st->st_ino, xstrdup(path)};
	return NULL;
}

static void walk(struct tree *t, int dirfd_, const char *prefix)
{
	int dup_ = openat(dirfd_, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fdopendir(dup_);
	for (struct dirent *de; (de = readdir(d));) {
		struct stat st;
		char link[5000];
		if (str_eq(de->d_name, ".") || str_eq(de->d_name, "..") ||
		        fstatat(dup_, de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		_cleanup_free_ char *path = xasprintf("%s%s", prefix, de->d_name);
		struct tree_entry e = {.path = path,
		        .mode = st.st_mode & 07777,
		        .uid = st.st_uid,
		        .gid = st.st_gid,
		        .mtime_sec = st.st_mtim.tv_sec};
		_cleanup_close_ int fd = -1;
		if (S_ISLNK(st.st_mode)) {
			ssize_t n = readlinkat(dup_, de->d_name, link, sizeof(link) - 1);
			link[MAX(n, 0)] = '\0';
			e.type = TREE_SYMLINK;
			e.link = link;
		} else if (S_ISREG(st.st_mode)) {
			fd = openat(dup_, de->d_name, O_RDONLY | O_CLOEXEC);
			e.type = TREE_REG;
			e.size = (uint64_t)st.st_size;
			e.link = st.st_nlink > 1 ? first_of(&st, path) : NULL;
			if (e.link) {
				e.type = TREE_HARDLINK;
				e.size = 0;
			} else {
				add_xattrs(&e, fd);
			}
		} else if (S_ISDIR(st.st_mode)) {
			e.type = TREE_DIR;
		} else {
			e.type = TREE_FIFO;
		}
		tree_add(t, &e);
		if (e.type == TREE_DIR) {
			_cleanup_free_ char *below = xasprintf("%s/", path);
			fd = openat(dup_, de->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			walk(t, fd, below);
		}
	}
	closedir(d);
}

static int write_dir(const char *path, struct error *err)
{
	_cleanup_tree_ struct tree t = TREE_INIT;
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_sink_ struct sink *out = sink_fd(STDOUT_FILENO, "stdout");
	walk(&t, fd, "");
	tree_sort(&t);
	for (size_t i = 0; i < n_seen; i++)
		free(seen[i].path);
	return tar_write_tree(&t, fd, NULL, out, err);
}

int main(int argc, char **argv)
{
	_cleanup_error_ struct error err = ERROR_INIT;
	int r = -1;
	if (argc == 3 && str_eq(argv[1], "list"))
		r = list(argv[2], &err);
	else if (argc == 3 && str_eq(argv[1], "write"))
		r = write_dir(argv[2], &err);
	if (r < 0)
		fprintf(stderr, "%s\n", err.msg ? err.msg : "usage: tar_tool list|write PATH");
	return r < 0;
}
