/* source/git.h - git repositories as contexts and ADD sources, by the host's git program.
 *
 * The repository is hostile (RELIABILITY B3): git runs without system, user and repository hooks
 * or helpers, with the protocols https, http, ssh and git alone, in a session of its own that
 * cannot ask questions. Credentials in a URL never reach an error text or a kept .git. */
#ifndef STRAKE_SOURCE_GIT_H
#define STRAKE_SOURCE_GIT_H

#include "base/error.h"

struct source_git {
	const char *url; /* https://, http://, ssh://, git:// or user@host:path; no fragment */
	const char *ref; /* branch, tag, refs/..., or a full commit id; NULL: the default branch */
	const char *subdir;   /* NULL or "": the root; must be a directory, not a link */
	const char *checksum; /* commit id or at least 7 digits of it; NULL: any */
	bool keep_git_dir;    /* .git stays (never with a subdir) */
	bool submodules;      /* recursively */
	bool allow_file;      /* also file:// URLs */
};

/* source_git_resolve - the commit (40 or 64 hex digits, malloc'ed) that ref means now: one
 * ls-remote, or nothing for a full commit id. ERR_NOT_FOUND for an unknown ref, ERR_INTEGRITY if
 * checksum does not match. */
int source_git_resolve(const struct source_git *g, char **ret_commit, struct error *err) must_check;
/* source_git_checkout - the files of that commit into the empty directory destfd; depth 1 where the
 * server can. Modes are 0644 and 0755 whatever the umask. */
int source_git_checkout(
        const struct source_git *g, const char *commit, int destfd, struct error *err) must_check;

#endif
