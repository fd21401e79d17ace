/* layer/content.c - copying file contents. See content.h.
 *
 * A small file costs open, fstat, read, open, write, times and two closes. What is written is what
 * was hashed: the bytes pass through one buffer, or (reflink) are hashed from the private copy. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/large_file.h"
#include "layer/content.h"
#include "sys/path.h"

#define BUF_SIZE (256u << 10)
#define FIRST (64u << 10)
#define HOLE_MIN 4096u
#define REFLINK_MIN (1u << 20)

/* One buffer a thread, kept until the thread ends: files are many and small. */
static pthread_key_t buffer_key;
static pthread_once_t buffer_once = PTHREAD_ONCE_INIT;

static void make_key(void)
{
	if (pthread_key_create(&buffer_key, free) != 0)
		abort();
}

static void *buffer(void)
{
	pthread_once(&buffer_once, make_key);
	void *p = pthread_getspecific(buffer_key);
	if (!p) {
		p = xmalloc(BUF_SIZE);
		if (pthread_setspecific(buffer_key, p) != 0)
			abort();
	}
	return p;
}

static bool all_zero(const unsigned char *p, size_t n)
{
	return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

int content_write(int fd, const void *p, size_t n, bool *hole)
{
	if (n >= HOLE_MIN && all_zero(p, n)) {
		if (lseek(fd, (off_t)n, SEEK_CUR) < 0)
			return -1;
		*hole = true;
		return 0;
	}
	const char *from = p;
	while (n) {
		ssize_t r = write_large(fd, from, n);
		if (r < 0)
			return -1;
		from += r;
		n -= (size_t)r;
	}
	*hole = false;
	return 0;
}

int layer_hash_fd(int fd, struct digest *ret, uint64_t *ret_size)
{
	unsigned char *buf = buffer();
	struct sha256 h;
	uint64_t size = 0;
	ssize_t n;
	sha256_init(&h);
	/* The first piece is all of most files, and no large one. */
	while ((n = read_large(fd, buf, size ? BUF_SIZE : FIRST)) > 0) {
		sha256_update(&h, buf, (size_t)n);
		size += (uint64_t)n;
	}
	if (n < 0)
		return -errno;
	sha256_final(&h, ret);
	*ret_size = size;
	return 0;
}

static int changed(const struct content_source *src, struct error *err)
{
	return tree_bytes_changed(src->shown, src->stored, err);
}

static int copy_bytes(
        const struct content_source *src, int in, int out, struct tree_entry *d, struct error *err)
{
	unsigned char *buf = buffer();
	struct sha256 h;
	uint64_t left = src->e->size;
	bool hole = false;
	sha256_init(&h);
	/* One byte more than expected is asked for, so that a file that grew is seen. */
	for (;;) {
		size_t want = left + 1 < BUF_SIZE ? (size_t)left + 1 : BUF_SIZE;
		ssize_t n = read_large(in, buf, want);
		if (n < 0)
			return err_sys(err, errno, "cannot read %s", src->shown);
		if (n == 0)
			break;
		if ((uint64_t)n > left)
			return changed(src, err);
		left -= (uint64_t)n;
		sha256_update(&h, buf, (size_t)n);
		if (content_write(out, buf, (size_t)n, &hole) < 0)
			return err_sys(err, errno, "cannot write %s", src->shown);
		if (left == 0 && (size_t)n < want)
			break; /* a short read of a regular file is its end */
	}
	if (left)
		return changed(src, err);
	if (hole && ftruncate(out, (off_t)src->e->size) < 0)
		return err_sys(err, errno, "cannot write %s", src->shown);
	sha256_final(&h, &d->sha256);
	return 0;
}

/* The clone is private, so hashing it afterwards hashes what is stored. */
static bool try_reflink(
        const struct content_source *src, int in, int out, struct tree_entry *d, uint64_t *ret_size)
{
	if (src->e->size < REFLINK_MIN || ioctl(out, FICLONE, in) < 0)
		return false;
	return layer_hash_fd(out, &d->sha256, ret_size) == 0;
}

static int copy_file(
        const struct content_source *src, int out, struct tree_entry *d, struct error *err)
{
	/* O_NONBLOCK: a fifo that took the file's place must not hang us */
	_cleanup_close_ int in = sys_open_beneath(
	        src->dirfd, src->path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY, 0);
	if (in == -ENOENT || in == -ELOOP || in == -ENXIO || in == -ENOTDIR)
		return changed(src, err);
	if (in < 0)
		return err_sys(err, in, "cannot open %s", src->shown);
	struct stat st;
	if (fstat(in, &st) < 0)
		return err_sys(err, errno, "cannot read %s", src->shown);
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != src->e->size)
		return changed(src, err);
	uint64_t size = src->e->size;
	if (!try_reflink(src, in, out, d, &size) && copy_bytes(src, in, out, d, err) < 0)
		return -1;
	if (size != src->e->size)
		return changed(src, err);
	return 0;
}

static bool same_meta(const struct tree_entry *a, const struct tree_entry *b)
{
	return a->mode == b->mode && a->uid == b->uid && a->gid == b->gid &&
	       a->mtime_sec == b->mtime_sec && a->mtime_nsec == b->mtime_nsec &&
	       tree_same_xattrs(a, b);
}

/* Only a file of the store may be linked, and only if all that its inode says stays true. */
static bool try_link(
        const struct content_source *src, int dirfd, const char *name, struct tree_entry *d)
{
	if (!src->may_link || !src->e->has_digest || !same_meta(src->e, d))
		return false;
	const char *base;
	_cleanup_close_ int from = sys_open_parent(src->dirfd, src->path, &base);
	struct stat st;
	if (from < 0 || linkat(from, base, dirfd, name, 0) < 0)
		return false;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) ||
	        (uint64_t)st.st_size != src->e->size) {
		(void)unlinkat(dirfd, name, 0); /* a damaged layer: let the copy say so */
		return false;
	}
	d->sha256 = src->e->sha256;
	return true;
}

int content_place(const struct upper_ids *ids, const struct content_source *src, int dirfd,
        const char *name, struct tree_entry *d, struct error *err)
{
	d->size = src->e->size;
	if (try_link(src, dirfd, name, d)) {
		d->has_digest = true;
		return 0;
	}
	_cleanup_close_ int out = openat(
	        dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, d->mode & 0777);
	if (out < 0)
		return err_sys(err, errno, "cannot create %s in the new layer", src->shown);
	if (src->dirfd < 0) {
		int r = sys_write_all(out, src->data, src->e->size);
		if (r < 0)
			return err_sys(err, r, "cannot write %s", src->shown);
		sha256_buf(src->data, src->e->size, &d->sha256);
	} else if (copy_file(src, out, d, err) < 0) {
		return -1;
	}
	if (src->e->has_digest && !digest_eq(&src->e->sha256, &d->sha256))
		return changed(src, err);
	d->has_digest = true;
	return upper_meta_fd(ids, out, d, d->mode, src->shown, err);
}
