/* tests/unit/layer/fixture.h - temporary directories, hand-made tars, trees and directories as
 * text. A test writes down what it expects line by line. */
#ifndef STRAKE_TESTS_LAYER_FIXTURE_H
#define STRAKE_TESTS_LAYER_FIXTURE_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "../tap.h"
#include "base/strbuf.h"
#include "layer/layer.h"
#include "sys/path.h"

#define UNUSED __attribute__((unused))

/* --- temporary directories ------------------------------------------------------------------- */

static char fx_root[64];
static int fx_rootfd = -1;

UNUSED static void fx_begin(void)
{
	umask(022);
	if (geteuid() != 0) {
		if (getenv("MUST_WORK")) {
			printf("Bail out! these tests need root\n");
			exit(1);
		}
		printf("1..0 # SKIP needs root: owners and whiteouts are real here\n");
		exit(0);
	}
	strcpy(fx_root, "/tmp/strake-unit-XXXXXX");
	if (!mkdtemp(fx_root))
		exit(99);
	chmod(fx_root, 0755);
	fx_rootfd = open(fx_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

UNUSED static int fx_end(void)
{
	if (sys_remove_tree_at_fd(fx_rootfd) < 0 || rmdir(fx_root) < 0)
		ok(0, "the temporary directory is removed");
	return tap_done();
}

/* A new empty directory below the root, by name. */
UNUSED static int fx_dir(const char *name)
{
	if (sys_mkdir_p(fx_rootfd, name, 0755) < 0)
		exit(98);
	int fd = openat(fx_rootfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		exit(97);
	return fd;
}

UNUSED static void fx_file(int dirfd, const char *path, const char *text, mode_t mode)
{
	int fd = openat(dirfd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, text, strlen(text)) < 0 || fchmod(fd, mode) < 0)
		exit(96);
	struct timespec ts[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
	futimens(fd, ts);
	close(fd);
}

UNUSED static char *fx_read(int dirfd, const char *path)
{
	char *p;
	size_t n;
	return sys_read_file(dirfd, path, 1 << 20, &p, &n) < 0 ? strdup("(unreadable)") : p;
}

/* --- a directory as text --------------------------------------------------------------------- */

static int fx_cmp(const void *a, const void *b)
{
	return tree_path_cmp(*(char *const *)a, *(char *const *)b);
}

UNUSED static void fx_walk(int dirfd, const char *path, struct strv *out)
{
	int fd = openat(dirfd, *path ? path : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;
	while (d && (de = readdir(d))) {
		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
			continue;
		char *p = xasprintf("%s%s%s", path, *path ? "/" : "", de->d_name);
		struct stat st;
		fstatat(dirfd, p, &st, AT_SYMLINK_NOFOLLOW);
		strv_add(out, p);
		if (S_ISDIR(st.st_mode))
			fx_walk(dirfd, p, out);
		free(p);
	}
	if (d)
		closedir(d);
}

/* "path f 0644 0:0 text\n", "path d 0755 0:0\n", "path l -> target\n", "path whiteout\n"; opaque
 * directories end in " opaque"; further names of an inode are "path = first name". */
UNUSED static char *fx_list(int dirfd)
{
	struct strv paths = STRV_INIT;
	struct strbuf sb = STRBUF_INIT;
	fx_walk(dirfd, "", &paths);
	if (paths.n)
		qsort(paths.v, paths.n, sizeof(char *), fx_cmp);
	ino_t *inos = calloc(paths.n + 1, sizeof(*inos));
	for (size_t i = 0; i < paths.n; i++) {
		const char *p = paths.v[i];
		struct stat st;
		fstatat(dirfd, p, &st, AT_SYMLINK_NOFOLLOW);
		size_t j = i;
		if (!S_ISDIR(st.st_mode) && st.st_nlink > 1)
			for (j = 0; j < i && inos[j] != st.st_ino; j++)
				;
		inos[i] = st.st_ino;
		if (j < i) {
			strbuf_addf(&sb, "%s = %s\n", p, paths.v[j]);
			continue;
		}
		if (S_ISLNK(st.st_mode)) {
			char *t;
			if (sys_readlink(dirfd, p, &t) < 0)
				t = strdup("?");
			strbuf_addf(&sb, "%s l -> %s\n", p, t);
			free(t);
			continue;
		}
		if (S_ISCHR(st.st_mode) && st.st_rdev == 0) {
			strbuf_addf(&sb, "%s whiteout\n", p);
			continue;
		}
		const char *type = S_ISDIR(st.st_mode)    ? "d"
		                   : S_ISREG(st.st_mode)  ? "f"
		                   : S_ISFIFO(st.st_mode) ? "p"
		                   : S_ISCHR(st.st_mode)  ? "c"
		                                          : "?";
		strbuf_addf(
		        &sb, "%s %s %04o %u:%u", p, type, st.st_mode & 07777, st.st_uid, st.st_gid);
		if (S_ISREG(st.st_mode)) {
			char *text = fx_read(dirfd, p);
			if (*text)
				strbuf_addf(&sb, " %.40s", text);
			free(text);
		}
		if (S_ISDIR(st.st_mode)) {
			char full[4096], v[8];
			snprintf(full, sizeof(full), "/proc/self/fd/%d/%s", dirfd, p);
			if (lgetxattr(full, "user.overlay.opaque", v, sizeof(v)) == 1)
				strbuf_addstr(&sb, " opaque");
		}
		strbuf_addch(&sb, '\n');
	}
	free(inos);
	strv_release(&paths);
	return strbuf_detach(&sb);
}

/* The same of a tree; a file shows the first 8 digits of its digest. */
UNUSED static char *fx_tree(const struct tree *t)
{
	struct strbuf sb = STRBUF_INIT;
	char hex[DIGEST_HEX_MAX];
	for (size_t i = 0; i < t->n; i++) {
		const struct tree_entry *e = &t->entries[i];
		const char *p = *e->path ? e->path : "/";
		switch (e->type) {
		case TREE_SYMLINK:
			strbuf_addf(&sb, "%s l -> %s\n", p, e->link);
			break;
		case TREE_HARDLINK:
			strbuf_addf(&sb, "%s = %s\n", p, e->link);
			break;
		case TREE_WHITEOUT:
			strbuf_addf(&sb, "%s whiteout\n", p);
			break;
		default:
			strbuf_addf(&sb, "%s %c %04o %u:%u", p, "?fdlhcbps"[e->type], e -> mode,
			        e -> uid, e -> gid);
			if (e->type == TREE_REG)
				strbuf_addf(&sb, " %llu %.8s", (unsigned long long)e->size,
				        e->has_digest ? digest_hex(&e->sha256, hex) : "-");
			strbuf_addf(&sb, "%s\n", e->opaque ? " opaque" : "");
		}
	}
	return strbuf_detach(&sb);
}

#define is_list(fd, want, what)                                                                    \
	do {                                                                                       \
		char *l_ = fx_list(fd);                                                            \
		is_str(l_, want, what);                                                            \
		free(l_);                                                                          \
	} while (0)
#define is_tree(t, want, what)                                                                     \
	do {                                                                                       \
		char *l_ = fx_tree(t);                                                             \
		is_str(l_, want, what);                                                            \
		free(l_);                                                                          \
	} while (0)

/* ok_err - r succeeded, else say why. */
UNUSED static int fx_ok(int r, struct error *err, const char *what)
{
	ok(r >= 0, what);
	if (r < 0)
		printf("#   error: %s\n", str_or_empty(err->msg));
	error_release(err);
	return r;
}
/* fx_err - r failed with this class and a message that contains `part`. */
UNUSED static void fx_err(
        int r, struct error *err, enum err_class class, const char *part, const char *what)
{
	if (!ok(r < 0 && err->class == class && err->msg && strstr(err->msg, part), what))
		printf("#   r=%d class=%s msg=%s\n", r, err_class_name(err->class),
		        str_or_empty(err->msg));
	error_release(err);
}

/* --- tars ------------------------------------------------------------------------------------ */

struct fx_tar {
	struct strbuf sb;
};
#define FX_TAR_INIT ((struct fx_tar){.sb = STRBUF_INIT})

UNUSED static void fx_tar_raw(struct fx_tar *t, char type, const char *name, const char *link,
        unsigned mode, unsigned uid, unsigned gid, const char *data, unsigned dmaj, unsigned dmin)
{
	char h[512] = {0};
	size_t n = data ? strlen(data) : 0;
	snprintf(h, 100, "%s", name);
	snprintf(h + 100, 8, "%07o", mode);
	snprintf(h + 108, 8, "%07o", uid);
	snprintf(h + 116, 8, "%07o", gid);
	snprintf(h + 124, 12, "%011o", (unsigned)n);
	snprintf(h + 136, 12, "%011o", 1000000000u);
	h[156] = type;
	if (link)
		snprintf(h + 157, 100, "%s", link);
	memcpy(h + 257, "ustar\00000", 8);
	if (type == '3' || type == '4') {
		snprintf(h + 329, 8, "%07o", dmaj);
		snprintf(h + 337, 8, "%07o", dmin);
	}
	memset(h + 148, ' ', 8);
	unsigned sum = 0;
	for (size_t i = 0; i < 512; i++)
		sum += (unsigned char)h[i];
	snprintf(h + 148, 8, "%06o", sum);
	strbuf_add(&t->sb, h, 512);
	if (n) {
		static const char zero[512];
		strbuf_add(&t->sb, data, n);
		if (n % 512)
			strbuf_add(&t->sb, zero, 512 - n % 512);
	}
}
UNUSED static void fx_tar_file(struct fx_tar *t, const char *name, const char *data)
{
	fx_tar_raw(t, '0', name, NULL, 0644, 0, 0, data, 0, 0);
}
UNUSED static void fx_tar_dir(struct fx_tar *t, const char *name, unsigned mode)
{
	fx_tar_raw(t, '5', name, NULL, mode, 0, 0, NULL, 0, 0);
}
UNUSED static void fx_tar_link(struct fx_tar *t, const char *name, const char *target)
{
	fx_tar_raw(t, '2', name, target, 0777, 0, 0, NULL, 0, 0);
}
UNUSED static void fx_tar_hard(struct fx_tar *t, const char *name, const char *target)
{
	fx_tar_raw(t, '1', name, target, 0644, 0, 0, NULL, 0, 0);
}
/* pax records given as "key=value" strings, up to NULL */
UNUSED static void fx_tar_pax(struct fx_tar *t, const char *key, const char *value)
{
	char rec[1024];
	int body = (int)(strlen(key) + strlen(value) + 3), len = body + 1;
	while (snprintf(NULL, 0, "%d", len) + body != len)
		len++;
	snprintf(rec, sizeof(rec), "%d %s=%s\n", len, key, value);
	fx_tar_raw(t, 'x', "pax", NULL, 0644, 0, 0, rec, 0, 0);
}
UNUSED static void fx_tar_end(struct fx_tar *t)
{
	static const char zero[1024];
	strbuf_add(&t->sb, zero, sizeof(zero));
}

#endif
