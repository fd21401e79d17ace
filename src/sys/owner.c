/* sys/owner.c - see owner.h. */
#include "sys/owner.h"
#include "sys/xattr.h"

#include <errno.h>
#include <stdio.h>

static bool take_number(const char **p, const char *end, uint32_t *ret)
{
	uint64_t v = 0;
	const char *s = *p;
	for (; s < end && *s >= '0' && *s <= '9' && s - *p < 11; s++)
		v = v * 10 + (uint64_t)(*s - '0');
	if (s == *p || v > UINT32_MAX)
		return false;
	*p = s;
	*ret = (uint32_t)v;
	return true;
}

bool sys_owner_parse(const void *p, size_t n, struct sys_owner *ret)
{
	const char *s = p, *end = s + n;
	struct sys_owner o;
	if (!take_number(&s, end, &o.uid) || s == end || *s++ != ':' ||
	        !take_number(&s, end, &o.gid) || s != end)
		return false;
	*ret = o;
	return true;
}

size_t sys_owner_format(char buf[SYS_OWNER_TEXT_MAX], struct sys_owner o)
{
	return (size_t)snprintf(buf, SYS_OWNER_TEXT_MAX, "%u:%u", o.uid, o.gid);
}

int sys_owner_get(int dirfd, const char *name, struct sys_owner *ret)
{
	char buf[SYS_OWNER_TEXT_MAX];
	int r = sys_xattr_get(dirfd, name, SYS_OWNER_XATTR, buf, sizeof(buf));
	if (r == -ENODATA || r == -EOPNOTSUPP || r == -ERANGE || r == -EPERM)
		return 0;
	return r < 0 ? r : sys_owner_parse(buf, (size_t)r, ret);
}

int sys_owner_set(int dirfd, const char *name, struct sys_owner o)
{
	char buf[SYS_OWNER_TEXT_MAX];
	return sys_xattr_set(dirfd, name, SYS_OWNER_XATTR, buf, sys_owner_format(buf, o));
}

int sys_owner_copy(int from, int to)
{
	struct sys_owner o;
	int r = sys_owner_get(from, "", &o);
	return r > 0 ? sys_owner_set(to, "", o) : r;
}
