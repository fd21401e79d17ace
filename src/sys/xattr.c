/* sys/xattr.c - see xattr.h. The kernel has no *xattrat before 6.13, so names are given as
 * /proc/self/fd/N/name to the l* calls: the magic link leads to the open directory and the last
 * component is not followed. */
#include "sys/xattr.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/limits.h>
#include <stdio.h>
#include <sys/xattr.h>

struct xpath {
	char s[PATH_MAX];
	bool follow; /* the fd itself: the magic link must be followed */
};

static int xpath_make(struct xpath *x, int dirfd, const char *name)
{
	int n;
	x->follow = false;
	if (strchr(name, '/') || str_eq(name, ".."))
		return -EINVAL;
	if (dirfd == AT_FDCWD) {
		n = snprintf(x->s, sizeof(x->s), "./%s", name);
	} else if (!*name) {
		x->follow = true;
		n = snprintf(x->s, sizeof(x->s), "/proc/self/fd/%d", dirfd);
	} else {
		n = snprintf(x->s, sizeof(x->s), "/proc/self/fd/%d/%s", dirfd, name);
	}
	return n < 0 || (size_t)n >= sizeof(x->s) ? -ENAMETOOLONG : 0;
}

static ssize_t x_list(const struct xpath *x, char *buf, size_t n)
{
	ssize_t r = x->follow ? listxattr(x->s, buf, n) : llistxattr(x->s, buf, n);
	return r < 0 ? -errno : r;
}

static ssize_t x_get(const struct xpath *x, const char *attr, void *buf, size_t n)
{
	ssize_t r = x->follow ? getxattr(x->s, attr, buf, n) : lgetxattr(x->s, attr, buf, n);
	return r < 0 ? -errno : r;
}

void sys_xattrs_release(struct sys_xattrs *x)
{
	for (size_t i = 0; i < x->n; i++) {
		free(x->v[i].name);
		free(x->v[i].value);
	}
	free(x->v);
	*x = (struct sys_xattrs){0};
}

/* cap_to_v2 - struct vfs_ns_cap_data with revision 3 ends in a rootid of the machine that wrote
 * it; layers carry revision 2. Both are little-endian on disk. */
static void cap_to_v2(struct sys_xattr *a)
{
	unsigned char *p = a->value;
	if (!str_eq(a->name, "security.capability") || a->len != XATTR_CAPS_SZ_3 || p[3] != 3)
		return;
	p[3] = 2;
	a->len = XATTR_CAPS_SZ_2;
}

static int read_one(const struct xpath *x, const char *attr, struct sys_xattr *ret)
{
	char small[256];
	ssize_t n = x_get(x, attr, small, sizeof(small));
	if (n >= 0) {
		ret->value = xmemdup(small, (size_t)n);
	} else if (n == -ERANGE) {
		_cleanup_free_ void *big = xmalloc(XATTR_SIZE_MAX);
		n = x_get(x, attr, big, XATTR_SIZE_MAX);
		if (n < 0)
			return (int)n;
		ret->value = xmemdup(big, (size_t)n);
	} else {
		return (int)n;
	}
	ret->name = xstrdup(attr);
	ret->len = (size_t)n;
	cap_to_v2(ret);
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct sys_xattr *)a)->name, ((const struct sys_xattr *)b)->name);
}

int sys_xattrs_read(int dirfd, const char *name, struct sys_xattrs *ret)
{
	struct xpath x;
	int r = xpath_make(&x, dirfd, name);
	if (r < 0)
		return r;
	char small[1024];
	_cleanup_free_ char *big = NULL;
	char *list = small;
	ssize_t n = x_list(&x, small, sizeof(small));
	if (n == -ERANGE) {
		list = big = xmalloc(XATTR_LIST_MAX);
		n = x_list(&x, big, XATTR_LIST_MAX);
	}
	if (n == -EOPNOTSUPP || n == -ENODATA)
		n = 0;
	if (n < 0)
		return (int)n;
	_cleanup_(sys_xattrs_release) struct sys_xattrs xs = {0};
	size_t cap = 0;
	for (const char *p = list; p < list + n; p += strlen(p) + 1) {
		vec_grow(&xs.v, &cap, xs.n + 1);
		xs.v[xs.n] = (struct sys_xattr){0};
		r = read_one(&x, p, &xs.v[xs.n]);
		if (r == -ENODATA || r == -EOPNOTSUPP)
			continue; /* listed but gone, or not readable as an attribute (ACL on some
			             fs) */
		if (r < 0)
			return r;
		xs.n++;
	}
	if (xs.n > 1)
		qsort(xs.v, xs.n, sizeof(*xs.v), by_name);
	*ret = xs;
	xs = (struct sys_xattrs){0};
	return 0;
}

int sys_xattr_set(int dirfd, const char *name, const char *attr, const void *p, size_t n)
{
	struct xpath x;
	int r = xpath_make(&x, dirfd, name);
	if (r < 0)
		return r;
	r = x.follow ? setxattr(x.s, attr, p, n, 0) : lsetxattr(x.s, attr, p, n, 0);
	return r < 0 ? -errno : 0;
}

int sys_xattr_get(int dirfd, const char *name, const char *attr, void *buf, size_t n)
{
	struct xpath x;
	int r = xpath_make(&x, dirfd, name);
	return r < 0 ? r : (int)x_get(&x, attr, buf, n);
}
