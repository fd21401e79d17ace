/* cli/debug.h - `strake debug ast|expand|ignore`: what the language modules make of their input,
 * as JSON or text, for tools and tests. */
#ifndef STRAKE_CLI_DEBUG_H
#define STRAKE_CLI_DEBUG_H

/* cmd_debug - argv[0] is "debug". Returns the exit code: 0, 1 for bad input, 2 for bad usage. */
int cmd_debug(int argc, char **argv);

#endif
