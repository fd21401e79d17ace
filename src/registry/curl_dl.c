/* registry/curl_dl.c - see curl_dl.h. The library stays loaded until the process ends: unloading a
 * TLS stack is not safe, and nothing is gained. */
#include "registry/curl_dl.h"

#include <dlfcn.h>
#include <pthread.h>

struct curl_dl curl_dl;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static const char *load_failed; /* NULL: loaded */

/* The OpenSSL flavour first: the commonest. */
static const char *const sonames[] = {"libcurl.so.4", "libcurl-gnutls.so.4"};

static void *open_library(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(sonames); i++) {
		void *lib = dlopen(sonames[i], RTLD_NOW | RTLD_LOCAL);
		if (lib)
			return lib;
	}
	return NULL;
}

static void load(void)
{
	void *lib = open_library();
	if (!lib) {
		load_failed = "libcurl.so.4 cannot be loaded";
		return;
	}
	struct {
		void *slot; /* of a function pointer in curl_dl */
		const char *name;
	} const symbols[] = {
	        {&curl_dl.global_init, "curl_global_init"},
	        {&curl_dl.version_info, "curl_version_info"},
	        {&curl_dl.easy_init, "curl_easy_init"},
	        {&curl_dl.easy_cleanup, "curl_easy_cleanup"},
	        {&curl_dl.easy_reset, "curl_easy_reset"},
	        {&curl_dl.easy_perform, "curl_easy_perform"},
	        {&curl_dl.easy_strerror, "curl_easy_strerror"},
	        {&curl_dl.easy_setopt, "curl_easy_setopt"},
	        {&curl_dl.easy_getinfo, "curl_easy_getinfo"},
	        {&curl_dl.slist_append, "curl_slist_append"},
	        {&curl_dl.slist_free_all, "curl_slist_free_all"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(symbols); i++) {
		void *f = dlsym(lib, symbols[i].name);
		if (!f) {
			load_failed = "libcurl.so.4 lacks a function that strake needs";
			return;
		}
		/* POSIX lets object and function pointers share a representation; C does not. */
		memcpy(symbols[i].slot, &f, sizeof(f));
	}
	if (curl_dl.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		load_failed = "libcurl cannot initialise";
		return;
	}
	/* 7.66: CURLINFO_RETRY_AFTER. */
	if (curl_dl.version_info(CURLVERSION_NOW)->version_num < 0x074200)
		load_failed = "libcurl is older than 7.66";
}

int curl_dl_load(struct error *err)
{
	pthread_once(&once, load);
	if (!load_failed)
		return 0;
	(void)err_set(err, ERR_SYSTEM, "no HTTP: %s", load_failed);
	return err_hint(err, "install libcurl (Debian and Ubuntu: apt-get install libcurl4)");
}
