/* sandbox/user.h - USER resolved in the image's own /etc/passwd and /etc/group, read as hostile
 * text: regular files only, capped, strict numbers, no NSS (which would load the image's code). */
#ifndef STRAKE_SANDBOX_USER_H
#define STRAKE_SANDBOX_USER_H

#include "base/error.h"

struct sandbox_user {
	uint32_t uid, gid;
	uint32_t *groups; /* supplementary, the primary one among them */
	size_t n_groups;
	char *home; /* "/" where passwd has none */
};
void sandbox_user_release(struct sandbox_user *u);

/* sandbox_user_resolve - text: "", "name", "uid", "name:group", "uid:gid". With a group given only
 * that group applies. An unknown number is taken as it is (gid 0); an unknown name is an error.
 * Numbers above 2147483647 are errors. */
int sandbox_user_resolve(
        int rootfs_fd, const char *text, struct sandbox_user *ret, struct error *err) must_check;
/* sandbox_user_lookup - the same on given file contents (NULL: file absent). */
int sandbox_user_lookup(const char *passwd, const char *group, const char *text,
        struct sandbox_user *ret, struct error *err) must_check;

#endif
