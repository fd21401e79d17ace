/* registry/curl_dl.h - libcurl through dlopen: loading it and the forty libraries behind it costs
 * more than a whole cached build, so only code that talks HTTP pays. */
#ifndef STRAKE_REGISTRY_CURL_DL_H
#define STRAKE_REGISTRY_CURL_DL_H

#include "base/error.h"

/* curl_dl_load - once a process, thread-safe; ERR_SYSTEM with a cure ("install libcurl4"). */
int curl_dl_load(struct error *err) must_check;

#endif
