/* cli/build_call.h - --check and --call of strake build. */
#ifndef STRAKE_CLI_BUILD_CALL_H
#define STRAKE_CLI_BUILD_CALL_H

#include "build/build.h"

/* build_call - call: "check", "outline" or "targets"; format: "json", or NULL and "text". Prints
 * and returns the exit code: 1 when a check found something. */
int build_call(struct build_options *o, const char *call, const char *format);

#endif
