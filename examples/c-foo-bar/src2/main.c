#include <stdio.h>

int main(void)
{
	puts("bin2, made in stage bar");
	return 0;
}
