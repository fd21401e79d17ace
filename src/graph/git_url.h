/* graph/git_url.h - which addresses mean a git repository, and what they ask for. Pure.
 * Source: SEMANTICS 45; docker's "build context" reference. */
#ifndef STRAKE_GRAPH_GIT_URL_H
#define STRAKE_GRAPH_GIT_URL_H

#include "base/arena.h"
#include "base/error.h"

struct git_ref {
	char *url, *ref, *subdir, *checksum;
	int keep_git_dir, submodules; /* -1: not said */
};
void git_ref_release(struct git_ref *r);
/* git_ref_parse - 1: a git source; 0: not one; -1: one, but malformed. */
int git_ref_parse(const char *s, struct git_ref *ret, struct error *err) must_check;

/* redact_urls - user names and passwords in URLs as xxxxx: they must not reach history or logs. */
const char *redact_urls(struct arena *a, const char *text);

#endif
