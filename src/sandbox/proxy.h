/* sandbox/proxy.h - hands connections of a socket in a step on to one outside it (ssh agent), so
 * that the step's socket can have the owner and mode the mount asks for. */
#ifndef STRAKE_SANDBOX_PROXY_H
#define STRAKE_SANDBOX_PROXY_H

#include "base/base.h"

/* proxy_main - never returns: accepts on listener, connects to the socket file behind target (an
 * O_PATH descriptor) for each. */
noreturn_ void proxy_main(int listener, int target);

#endif
