/* Attributes by (dirfd, name), never through a link; capability revision 3 reads as 2. */
#include "../tap.h"
#include "sys/xattr.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int main(void)
{
	char dir[] = "/tmp/strake-xattr-XXXXXX";
	if (!mkdtemp(dir))
		return 1;
	int d = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int f = openat(d, "file", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	struct sys_xattrs x = {0};
	char buf[64];
	int r = sys_xattr_set(d, "file", "user.b", "two", 3);
	if (r == -EOPNOTSUPP) {
		printf("1..0 # SKIP no user xattrs on /tmp\n");
		unlinkat(d, "file", 0);
		rmdir(dir);
		return 0;
	}
	is_int(r, 0, "set by name");
	is_int(sys_xattr_set(f, "", "user.a", "", 0), 0, "set by descriptor, empty value");
	is_int(sys_xattrs_read(d, "file", &x), 0, "read");
	is_int(x.n, 2, "two");
	is_str(x.v[0].name, "user.a", "sorted");
	is_str(x.v[1].name, "user.b", "sorted");
	ok(x.v[1].len == 3 && memcmp(x.v[1].value, "two", 3) == 0, "value");
	is_int(x.v[0].len, 0, "empty value");
	sys_xattrs_release(&x);
	is_int(sys_xattr_get(d, "file", "user.b", buf, sizeof(buf)), 3, "get");
	is_int(sys_xattr_get(d, "file", "user.none", buf, sizeof(buf)), -ENODATA, "absent");
	is_int(sys_xattr_get(d, "file", "user.b", buf, 1), -ERANGE, "small buffer");
	char big[3000];
	memset(big, 'v', sizeof(big));
	is_int(sys_xattr_set(d, "file", "user.big", big, sizeof(big)), 0, "big value");
	is_int(sys_xattrs_read(d, "file", &x), 0, "read");
	ok(x.n == 3 && x.v[2].len == sizeof(big), "whole");
	sys_xattrs_release(&x);
	ok(symlinkat("file", d, "link") == 0, "set up");
	is_int(sys_xattrs_read(d, "link", &x), 0, "link");
	is_int(x.n, 0, "a link is not followed");
	int l = openat(d, "link", O_PATH | O_NOFOLLOW | O_CLOEXEC);
	is_int(sys_xattrs_read(l, "", &x), 0, "descriptor of a link");
	is_int(x.n, 0, "not followed either");
	close(l);
	is_int(sys_xattrs_read(d, "../x", &x), -EINVAL, "single component only");
	is_int(sys_xattrs_read(d, "..", &x), -EINVAL, "not dotdot");
	if (geteuid() == 0) {
		/* VFS_CAP_REVISION_3, cap_net_raw=ep, rootid 1000 */
		unsigned char v3[24] = {1, 0, 0, 3, 0, 0x20, [20] = 0xe8, 3};
		r = sys_xattr_set(d, "file", "security.capability", v3, sizeof(v3));
		if (r == 0) {
			is_int(sys_xattrs_read(d, "file", &x), 0, "read");
			is_str(x.v[0].name, "security.capability", "capability");
			is_int(x.v[0].len, 20, "revision 2 length");
			unsigned char v2[20] = {1, 0, 0, 2, 0, 0x20};
			ok(memcmp(x.v[0].value, v2, 20) == 0, "revision 2 bytes");
			sys_xattrs_release(&x);
		}
	}
	close(f);
	unlinkat(d, "link", 0);
	unlinkat(d, "file", 0);
	close(d);
	rmdir(dir);
	return tap_done();
}
