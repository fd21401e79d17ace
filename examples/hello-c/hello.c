#include <stdio.h>
#include <sys/utsname.h>

int main(void)
{
	struct utsname u;
	if (uname(&u) < 0)
		return 1;
	printf("Hello from a container image of one file, on %s %s.\n", u.sysname, u.machine);
	return 0;
}
