/* tests/unit/dockerfile/debug_main.c - `strake debug` alone, for tests of the language. */
#include "cli/debug.h"

int main(int argc, char **argv)
{
	return cmd_debug(argc, argv);
}
