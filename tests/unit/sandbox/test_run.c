#include "harness.h"
static void tests(void)
{
	is_str(h_sh("echo hello"), "hello\n", "runs");
	is_int(h_exit, 0, "exit code");
	is_str(h_upper_list(), "", "upper");
}
int main(int argc, char **argv)
{
	return harness_main(argc, argv, tests);
}
