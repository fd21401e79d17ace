/* cli/cmd_info.c - info and version: what this machine offers, what is missing, and the cure. */
#include "cli/cli.h"

#include <stdio.h>
#include <sys/utsname.h>

#include "sys/privilege.h"

static const char *mode_name(enum sys_privilege m)
{
	static const char *const names[] = {
	        [SYS_PRIV_NONE] = "none: COPY, pulls and exports work, RUN does not",
	        [SYS_PRIV_SINGLE] = "user namespace with a single id",
	        [SYS_PRIV_SUBID] = "user namespace with subordinate ids (rootless)",
	        [SYS_PRIV_ROOT] = "root",
	};
	return names[m];
}

static void feature(const char *name, bool have, const char *without)
{
	printf("  %-26s %s%s%s\n", name, have ? "yes" : "no", have || !without ? "" : "  - ",
	        have || !without ? "" : without);
}

static void program(const char *name, const char *path, const char *without)
{
	printf("  %-26s %s%s\n", name, path ? path : "not found", path ? "" : without);
}

/* How steps get their root; the store's file system has the last word (build/overlay.c). */
static void print_overlay(const struct sys_features *f)
{
	const char *forced = getenv("STRAKE_OVERLAY");
	if (forced && *forced)
		printf("  %-26s %s (STRAKE_OVERLAY)\n", "roots of steps", forced);
	else
		printf("  %-26s %s\n", "roots of steps",
		        f->overlay_userxattr ? "kernel (overlayfs)"
		        : f->fuse_overlayfs  ? "fuse (fuse-overlayfs)"
		                             : "copy (of the whole file system, for each step)");
}

static void print_features(const struct sys_features *f)
{
	print_overlay(f);
	printf("\nKernel:\n");
	feature("openat2", f->openat2, "strake needs Linux 5.12");
	feature("user namespaces", f->userns,
	        "needed without root: sysctl user.max_user_namespaces");
	feature("overlay (userxattr)", f->overlay_userxattr, "needs Linux 5.11");
	feature("overlay lowerdir+", f->overlay_lowerdir_plus,
	        "Linux 6.5 has it; many layers are slower");
	feature("new mount API", f->new_mount_api, "needs Linux 5.2");
	feature("seccomp filters", f->seccomp, "steps would run without a filter: refused");
	feature("cgroup v2", f->cgroup_v2, "--resource is not available");
	feature("cgroup delegated", f->cgroup_delegated, "--resource is not available");
	feature("binfmt_misc in user ns", f->binfmt_userns,
	        "Linux 6.7 has it; foreign RUN steps need the host's handlers");
	printf("\nPrograms:\n");
	program("newuidmap", f->newuidmap, "  - install uidmap (Debian) or shadow-utils");
	program("pasta", f->pasta, "  - install passt, for a private network in RUN");
	program("slirp4netns", f->slirp4netns, "  - the other way to a private network");
	program("fuse-overlayfs", f->fuse_overlayfs,
	        "  - not used where the kernel's overlay works");
	program("git", f->git, "  - needed for git contexts and ADD of repositories");
}

int cmd_info(int argc, char **argv)
{
	static const struct cli_option options[] = {{0}};
	struct strv words = STRV_INIT;
	struct error err = ERROR_INIT;
	int rc = cli_parse(argc, argv, options, false, &words, &err);
	strv_release(&words);
	if (rc > 0) {
		cli_help("info", "", "Show what this machine offers and what is missing.", options,
		        NULL);
		return EXIT_OK;
	}
	if (rc < 0)
		return cli_usage_error("info", &err);
	struct utsname u;
	uname(&u);
	_cleanup_free_ char *path =
	        cli_store_root ? xstrdup(cli_store_root) : store_default_path(&err);
	printf("strake %s\n  %-26s %s %s %s\n  %-26s %s\n", STRAKE_VERSION, "kernel", u.sysname,
	        u.release, u.machine, "store", path ? path : err.msg);
	error_release(&err);
	struct sys_privilege_info p = {0};
	if (sys_privilege_probe(&p, &err) < 0) {
		printf("  %-26s %s\n", "privilege mode", err.msg);
		error_release(&err);
	} else {
		printf("  %-26s %s\n  %-26s %s\n", "privilege mode", mode_name(p.mode), "why",
		        str_or_empty(p.why));
		if (p.cure)
			printf("  %-26s %s\n", "to get more", p.cure);
		for (unsigned i = 0; i < p.n_uids; i++)
			printf("  %-26s %u..%u -> %u..%u\n", i ? "" : "user ids", p.uids[i].inside,
			        p.uids[i].inside + p.uids[i].count - 1, p.uids[i].outside,
			        p.uids[i].outside + p.uids[i].count - 1);
	}
	bool fatal = p.mode == SYS_PRIV_NONE;
	sys_privilege_info_release(&p);
	struct sys_features f;
	sys_features_probe(&f);
	print_features(&f);
	return fatal ? EXIT_FAILED : EXIT_OK;
}

int cmd_version(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	printf("strake %s\n", STRAKE_VERSION);
	return EXIT_OK;
}
