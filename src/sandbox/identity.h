/* sandbox/identity.h - who a process believes to be, where the kernel knows one id only.
 *
 * In single-id mode every process of a step is the one mapped user to the kernel; set*id calls and
 * their getters are answered from here, with the kernel's rules (credentials(7)). Pure: no system
 * calls. This is no protection: whoever is "app" here still has root's rights inside the step. */
#ifndef STRAKE_SANDBOX_IDENTITY_H
#define STRAKE_SANDBOX_IDENTITY_H

#include "base/base.h"

#define IDENTITY_GROUPS_MAX 256

/* real, effective, saved, file system */
struct identity_ids {
	uint32_t r, e, s, fs;
};
struct identity {
	struct identity_ids uid, gid;
	uint32_t n_groups;
	uint32_t groups[IDENTITY_GROUPS_MAX];
};

/* All return what the call returns: 0 (setfs*: the previous id) or -errno. */
int64_t identity_setuid(struct identity *i, uint32_t uid);
int64_t identity_setgid(struct identity *i, uint32_t gid);
int64_t identity_setreuid(struct identity *i, uint32_t r, uint32_t e);
int64_t identity_setregid(struct identity *i, uint32_t r, uint32_t e);
int64_t identity_setresuid(struct identity *i, uint32_t r, uint32_t e, uint32_t s);
int64_t identity_setresgid(struct identity *i, uint32_t r, uint32_t e, uint32_t s);
int64_t identity_setfsuid(struct identity *i, uint32_t uid);
int64_t identity_setfsgid(struct identity *i, uint32_t gid);
int64_t identity_setgroups(struct identity *i, const uint32_t *groups, size_t n);
/* identity_may_chown - chown(2)'s rules for a file of owner:group; UINT32_MAX leaves an id. */
bool identity_may_chown(
        const struct identity *i, uint32_t owner, uint32_t group, uint32_t to, uint32_t to_group);
bool identity_in_group(const struct identity *i, uint32_t gid);
/* identity_exec - what a new program changes; setuid, setgid: the file's bits, owner: its owner. */
void identity_exec(
        struct identity *i, bool setuid, bool setgid, uint32_t owner, uint32_t owner_gid);
bool identity_equal(const struct identity *a, const struct identity *b);

#endif
