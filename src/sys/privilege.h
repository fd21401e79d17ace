/* sys/privilege.h - which rights this process has or can get, and the step into them.
 *
 * Modes, best first; chosen automatically, STRAKE_PRIVILEGE=root|subid|single|none
 * forces one:
 *   ROOT    effective uid 0 with CAP_SYS_ADMIN in the current namespace
 *   SUBID   user namespace with newuidmap/newgidmap and /etc/subuid, /etc/subgid; or, for root of a
 *           container, with all ids of the container
 *   SINGLE  user namespace with one id (ownership is recorded, not applied)
 *   NONE    no user namespace can be made: no steps, but trees can be written (as root of a
 * container with their owners, else with recorded ones and readable by their owner)
 * sys_privilege_enter() is called once, from a single-threaded process, when the first step must
 * run or a tree must be written: unshare(CLONE_NEWUSER) in place, id maps written through the
 * setuid helpers by a forked child, setresuid(0), then unshare(CLONE_NEWNS) with private
 * propagation. In ROOT mode only the mount namespace. */
#ifndef STRAKE_SYS_PRIVILEGE_H
#define STRAKE_SYS_PRIVILEGE_H

#include "base/error.h"

enum sys_privilege { SYS_PRIV_NONE, SYS_PRIV_SINGLE, SYS_PRIV_SUBID, SYS_PRIV_ROOT };

struct sys_idrange {
	uint32_t inside, outside, count;
};
struct sys_privilege_info {
	enum sys_privilege mode;
	char *why;  /* one line: why this mode, not a better one */
	char *cure; /* what to install or configure for a better one; NULL if best */
	struct sys_idrange uids[8], gids[8];
	unsigned n_uids, n_gids;
	bool direct; /* SUBID: we may write the maps ourselves: root of a container */
};
void sys_privilege_info_release(struct sys_privilege_info *i);
int sys_privilege_probe(struct sys_privilege_info *ret, struct error *err) must_check;
int sys_privilege_enter(const struct sys_privilege_info *i, struct error *err) must_check;
/* sys_privilege_join - the user namespace of another process of ours, instead of one of our own,
 * and a mount namespace. Single-threaded. -errno: nothing has changed. */
int sys_privilege_join(pid_t pid) must_check;
bool sys_privilege_entered(void);
/* sys_privilege_can_chown - does this process have what root needs to give files away and read all
 * of them? More than one id must exist for that as well. */
bool sys_privilege_can_chown(void);
/* sys_privilege_reads_all - CAP_DAC_OVERRIDE: modes do not keep this process out. */
bool sys_privilege_reads_all(void);
/* sys_privilege_own_userns - entered, and into a user namespace that this process made. */
bool sys_privilege_own_userns(void);
/* sys_subid_parse - the ranges of a subuid(5) text that belong to user (name or NULL) or uid, laid
 * end to end inside from first_inside; malformed lines are passed over. Returns how many. */
unsigned sys_subid_parse(const char *text, const char *user, uint32_t uid, struct sys_idrange *out,
        unsigned n_out, uint32_t first_inside);

/* sys_kernel_at_least - uname -r. */
bool sys_kernel_at_least(int major, int minor);

/* Features for `strake info`; each probed for real in a throw-away child. */
struct sys_features {
	bool openat2, overlay_userxattr, overlay_lowerdir_plus, userns, new_mount_api;
	bool seccomp, cgroup_v2, cgroup_delegated, binfmt_userns, reflink_store;
	const char *pasta, *slirp4netns, *newuidmap, *fuse_overlayfs,
	        *git; /* paths or NULL; static */
};
void sys_features_probe(struct sys_features *ret);
/* sys_find_program - absolute path from the host's PATH; NULL: absent. Never consults an image. */
char *sys_find_program(const char *name) must_check;

#endif
