/* store/verify.c - is the tree on disk what its manifest says? Reads every byte; used where bytes
 * are in doubt (after a power loss, after a lost database, by fsck), never on the fast path.
 *
 * Ownership is compared only where this process sees more than one id, mode always. Device nodes
 * and sockets may be missing: a store without privilege cannot hold them, the manifest does. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/sysmacros.h>

#include "base/human.h"
#include "store/internal.h"
#include "sys/path.h"
#include "sys/privilege.h"
#include "sys/xattr.h"

struct verify {
	int fd;
	const struct tree *t;
	bool owners, widened;
	void *buf;
	struct strv implied; /* directories that are on disk and in no entry */
};
enum { VERIFY_CHUNK = 256 * 1024 };

static int differs(const struct tree_entry *e, const char *how, struct error *err)
{
	_cleanup_free_ char *path = human_escape(e->path, strlen(e->path), false);
	return err_set(err, ERR_INTEGRITY, "/%s: %s", path, how);
}

static int failed(const struct tree_entry *e, int r, const char *what, struct error *err)
{
	if (r == -ENOENT || r == -ENOTDIR || r == -ELOOP)
		return differs(e, "missing", err);
	_cleanup_free_ char *path = human_escape(e->path, strlen(e->path), false);
	return err_sys(err, r, "cannot %s /%s", what, path);
}

static int verify_content(struct verify *v, const struct tree_entry *e, struct error *err)
{
	if (!e->has_digest)
		return 0;
	_cleanup_close_ int fd = sys_open_beneath(v->fd, e->path, O_RDONLY | O_NOFOLLOW, 0);
	if (fd < 0)
		return failed(e, fd, "open", err);
	struct sha256 h;
	sha256_init(&h);
	for (;;) {
		ssize_t n = read(fd, v->buf, VERIFY_CHUNK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return failed(e, -errno, "read", err);
		if (n == 0)
			break;
		sha256_update(&h, v->buf, (size_t)n);
	}
	struct digest d;
	sha256_final(&h, &d);
	return digest_eq(&d, &e->sha256) ? 0 : differs(e, "its content has changed", err);
}

static int verify_link(struct verify *v, const struct tree_entry *e, struct error *err)
{
	_cleanup_free_ char *target = NULL;
	int r = sys_readlink(v->fd, e->path, &target);
	if (r < 0)
		return failed(e, r, "read the link", err);
	return str_eq(target, str_or_empty(e->link)) ? 0
	                                             : differs(e, "its target has changed", err);
}

static mode_t want_type(enum tree_type type)
{
	switch (type) {
	case TREE_REG:
		return S_IFREG;
	case TREE_DIR:
		return S_IFDIR;
	case TREE_SYMLINK:
		return S_IFLNK;
	case TREE_WHITEOUT:
		return S_IFCHR;
	default:
		return 0;
	}
}

/* below_opaque - the manifest names what an opaque directory hides; on disk its mark stands for all
 * of them. */
static bool below_opaque(struct verify *v, const char *path)
{
	_cleanup_free_ char *dir = xstrdup(path);
	for (char *slash; (slash = strrchr(dir, '/'));) {
		*slash = '\0';
		_cleanup_close_ int fd =
		        sys_open_beneath(v->fd, dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
		char mark;
		if (fd >= 0 && sys_xattr_get(fd, "", "user.overlay.opaque", &mark, 1) == 1 &&
		        mark == 'y')
			return true;
	}
	return false;
}

static int verify_entry(struct verify *v, const struct tree_entry *e, struct error *err)
{
	struct stat st;
	if (e->type == TREE_CHR || e->type == TREE_BLK || e->type == TREE_FIFO ||
	        e->type == TREE_SOCK)
		return 0;
	int r = *e->path ? sys_stat_beneath(v->fd, e->path, &st)
	                 : (fstat(v->fd, &st) < 0 ? -errno : 0);
	if (r == -ENOENT && e->type == TREE_WHITEOUT && below_opaque(v, e->path))
		return 0;
	if (r < 0)
		return failed(e, r, "stat", err);
	if (e->type == TREE_WHITEOUT && S_ISFIFO(st.st_mode))
		return 0; /* where whiteouts cannot be made: layer/upper.c */
	mode_t type = want_type(e->type);
	if (type && (st.st_mode & S_IFMT) != type)
		return differs(e, "it is of another type", err);
	if (e->type == TREE_WHITEOUT)
		return st.st_rdev == makedev(0, 0) ? 0 : differs(e, "not a whiteout", err);
	if (e->type == TREE_HARDLINK)
		return 0; /* its first name is checked; that it exists was checked here */
	if (e->type == TREE_SYMLINK)
		return verify_link(v, e, err);
	/* Without rights over modes a store is made readable to its owner (layer/upper.h). */
	uint32_t more = !v->widened ? 0 : e->type == TREE_DIR ? 0700 : 0600;
	if ((st.st_mode & 07777) != e->mode && (st.st_mode & 07777) != (e->mode | more))
		return differs(e, "its mode has changed", err);
	if (v->owners && (st.st_uid != e->uid || st.st_gid != e->gid))
		return differs(e, "its owner has changed", err);
	if (e->type == TREE_DIR)
		return 0;
	if ((uint64_t)st.st_size != e->size)
		return differs(e, "its size has changed", err);
	return verify_content(v, e, err);
}

/* verify_names - nothing may be in a directory that the manifest does not know. */
static int verify_names(struct verify *v, const char *dir, struct error *err)
{
	struct tree_entry at = {.path = dir};
	int fd = *dir ? sys_open_beneath(v->fd, dir, O_RDONLY | O_DIRECTORY, 0)
	              : sys_open_dir(v->fd, ".");
	if (fd < 0)
		return failed(&at, fd, "open", err);
	DIR *d = fdopendir(fd);
	if (!d) {
		int e = errno;
		close(fd);
		return failed(&at, -e, "read", err);
	}
	int rc = 0;
	for (struct dirent *e; rc == 0 && (e = readdir(d));) {
		if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
			continue;
		_cleanup_free_ char *path = xasprintf("%s%s%s", dir, *dir ? "/" : "", e->d_name);
		size_t i = tree_lower_bound(v->t, path);
		if (i < v->t->n && str_eq(v->t->entries[i].path, path))
			continue;
		/* A directory that only its contents name is fine. */
		if (i < v->t->n && tree_path_below(v->t->entries[i].path, path))
			strv_add(&v->implied, path);
		else
			rc = differs(
			        &(struct tree_entry){.path = path}, "not in the manifest", err);
	}
	closedir(d);
	return rc;
}

int store_verify_tree(int treefd, const struct tree *t, struct error *err)
{
	struct verify v = {.fd = treefd,
	        .t = t,
	        .owners = sys_privilege_can_chown(),
	        .widened = !sys_privilege_reads_all()};
	v.buf = xmalloc(VERIFY_CHUNK);
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < t->n; i++)
		rc = verify_entry(&v, &t->entries[i], err);
	if (rc == 0)
		rc = verify_names(&v, "", err);
	for (size_t i = 0; rc == 0 && i < t->n; i++)
		if (t->entries[i].type == TREE_DIR && *t->entries[i].path)
			rc = verify_names(&v, t->entries[i].path, err);
	for (size_t i = 0; rc == 0 && i < v.implied.n; i++)
		rc = verify_names(&v, v.implied.v[i], err);
	strv_release(&v.implied);
	free(v.buf);
	return rc;
}
