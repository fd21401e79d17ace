/* identity.h: the kernel's rules for set*id calls, credentials(7). */
#include "../tap.h"
#include "sandbox/identity.h"

#include <errno.h>

static struct identity plain(uint32_t uid, uint32_t gid)
{
	return (struct identity){.uid = {uid, uid, uid, uid}, .gid = {gid, gid, gid, gid}};
}

static const char *show(const struct identity_ids *v)
{
	static char buf[64];
	snprintf(buf, sizeof(buf), "%d %d %d %d", (int)v->r, (int)v->e, (int)v->s, (int)v->fs);
	return buf;
}

static void test_drop(void)
{
	/* What apt does before it talks to the network, and checks afterwards. */
	struct identity i = plain(0, 0);
	uint32_t g = 65534;
	is_int(identity_setgroups(&i, &g, 1), 0, "setgroups as root");
	is_int(identity_setresgid(&i, g, g, g), 0, "setresgid");
	is_int(identity_setresuid(&i, 42, 42, 42), 0, "setresuid");
	is_str(show(&i.uid), "42 42 42 42", "all four user ids");
	is_str(show(&i.gid), "65534 65534 65534 65534", "all four group ids");
	is_int(identity_setuid(&i, 0), -EPERM, "no way back to root");
	is_int(identity_setgid(&i, 0), -EPERM, "nor to its group");
	is_int(identity_setreuid(&i, 0, UINT32_MAX), -EPERM, "by setreuid neither");
	is_int(identity_setresuid(&i, UINT32_MAX, 0, UINT32_MAX), -EPERM, "by setresuid neither");
	is_int(identity_setgroups(&i, &g, 1), -EPERM, "setgroups is root's");
	ok(identity_in_group(&i, 65534) && !identity_in_group(&i, 0), "groups");
}

static void test_saved(void)
{
	struct identity i = plain(0, 0);
	is_int(identity_setresuid(&i, UINT32_MAX, 7, UINT32_MAX), 0, "seteuid");
	is_str(show(&i.uid), "0 7 0 7", "saved and real stay");
	is_int(identity_setuid(&i, 0), 0, "back through the saved id");
	is_str(show(&i.uid), "0 0 0 0", "effective again");
	is_int(identity_setreuid(&i, 5, 6), 0, "setreuid");
	is_str(show(&i.uid), "5 6 6 6", "the saved id follows the effective one");
	is_int(identity_setreuid(&i, 6, 5), 0, "swap");
	is_str(show(&i.uid), "6 5 5 5", "swapped");
	is_int(identity_setuid(&i, UINT32_MAX), -EINVAL, "-1 is no id");
	is_int(identity_setfsuid(&i, 0), 5, "setfsuid says the old one");
	is_int(identity_setfsuid(&i, UINT32_MAX), 5, "and may not be anything");
	is_int(identity_setfsgid(&i, UINT32_MAX), 0, "setfsgid");
	uint32_t many[IDENTITY_GROUPS_MAX + 1] = {0};
	i = plain(0, 0);
	is_int(identity_setgroups(&i, many, ARRAY_SIZE(many)), -EINVAL, "too many groups");
}

static void test_exec(void)
{
	struct identity i = plain(1000, 1000);
	identity_exec(&i, true, false, 0, 0);
	is_str(show(&i.uid), "1000 0 0 0", "sudo: a set-user-id program of root's");
	is_int(identity_setuid(&i, 0), 0, "which becomes root altogether");
	is_str(show(&i.uid), "0 0 0 0", "all of it");
	i = plain(1000, 1000);
	identity_exec(&i, false, true, 0, 42);
	is_str(show(&i.gid), "1000 42 42 42", "a set-group-id program");
	is_str(show(&i.uid), "1000 1000 1000 1000", "leaves the user alone");
}

static void test_chown(void)
{
	struct identity root = plain(0, 0), app = plain(1000, 1000);
	app.n_groups = 1;
	app.groups[0] = 27;
	ok(identity_may_chown(&root, 5, 5, 1, 2), "root may");
	ok(!identity_may_chown(&app, 1000, 1000, 0, UINT32_MAX), "no giving away");
	ok(identity_may_chown(&app, 1000, 1000, 1000, 27), "to a group of one's own");
	ok(!identity_may_chown(&app, 1000, 1000, UINT32_MAX, 28), "not to another");
	ok(!identity_may_chown(&app, 0, 0, UINT32_MAX, 27), "not somebody else's file");
}

int main(void)
{
	test_drop();
	test_saved();
	test_exec();
	test_chown();
	return tap_done();
}
