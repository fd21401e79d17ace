/* registry/curl_dl.h - libcurl through dlopen: loading it and the forty libraries behind it costs
 * more than a whole cached build, so only code that talks HTTP pays.
 *
 * The table holds just the functions that registry/ uses, with the types <curl/curl.h> declares. */
#ifndef STRAKE_REGISTRY_CURL_DL_H
#define STRAKE_REGISTRY_CURL_DL_H

#include <curl/curl.h>
#include "base/error.h"

struct curl_dl {
	__typeof__(curl_global_init) *global_init;
	__typeof__(curl_version_info) *version_info;
	__typeof__(curl_easy_init) *easy_init;
	__typeof__(curl_easy_cleanup) *easy_cleanup;
	__typeof__(curl_easy_reset) *easy_reset;
	__typeof__(curl_easy_perform) *easy_perform;
	__typeof__(curl_easy_strerror) *easy_strerror;
	/* variadic and macro-wrapped in curl.h */
	CURLcode (*easy_setopt)(CURL *h, CURLoption option, ...);
	CURLcode (*easy_getinfo)(CURL *h, CURLINFO info, ...);
	__typeof__(curl_slist_append) *slist_append;
	__typeof__(curl_slist_free_all) *slist_free_all;
};
/* Valid only after curl_dl_load succeeded. */
extern struct curl_dl curl_dl;

/* curl_dl_load - once a process, thread-safe; ERR_SYSTEM with a cure ("install libcurl4"). */
int curl_dl_load(struct error *err) must_check;

#endif
