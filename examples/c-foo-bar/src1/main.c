#include <stdio.h>

int main(void)
{
	puts("bin1, made in stage foo");
	return 0;
}
