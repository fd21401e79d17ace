/* sandbox/identity.c - see identity.h. */
#include "sandbox/identity.h"

#include <errno.h>

#define KEEP UINT32_MAX /* -1: leave this id */

/* Effective root has CAP_SETUID, CAP_SETGID and CAP_CHOWN; nobody else does. */
static bool privileged(const struct identity *i)
{
	return i->uid.e == 0;
}

static int64_t set_one(struct identity_ids *v, bool may, uint32_t id)
{
	if (id == KEEP)
		return -EINVAL;
	if (may)
		v->r = v->s = id;
	else if (id != v->r && id != v->s)
		return -EPERM;
	v->e = v->fs = id;
	return 0;
}

static int64_t set_re(struct identity_ids *v, bool may, uint32_t r, uint32_t e)
{
	struct identity_ids old = *v;
	if (r != KEEP && !may && r != old.r && r != old.e)
		return -EPERM;
	if (e != KEEP && !may && e != old.r && e != old.e && e != old.s)
		return -EPERM;
	if (r != KEEP)
		v->r = r;
	if (e != KEEP)
		v->e = e;
	if (r != KEEP || (e != KEEP && e != old.r))
		v->s = v->e;
	v->fs = v->e;
	return 0;
}

static bool among(const struct identity_ids *v, uint32_t id)
{
	return id == KEEP || id == v->r || id == v->e || id == v->s;
}

static int64_t set_res(struct identity_ids *v, bool may, uint32_t r, uint32_t e, uint32_t s)
{
	if (!may && (!among(v, r) || !among(v, e) || !among(v, s)))
		return -EPERM;
	if (r != KEEP)
		v->r = r;
	if (e != KEEP)
		v->e = e;
	if (s != KEEP)
		v->s = s;
	v->fs = v->e;
	return 0;
}

static int64_t set_fs(struct identity_ids *v, bool may, uint32_t id)
{
	uint32_t old = v->fs;
	if (id != KEEP && (may || among(v, id) || id == v->fs))
		v->fs = id;
	return old;
}

int64_t identity_setuid(struct identity *i, uint32_t uid)
{
	return set_one(&i->uid, privileged(i), uid);
}

int64_t identity_setgid(struct identity *i, uint32_t gid)
{
	return set_one(&i->gid, privileged(i), gid);
}

int64_t identity_setreuid(struct identity *i, uint32_t r, uint32_t e)
{
	return set_re(&i->uid, privileged(i), r, e);
}

int64_t identity_setregid(struct identity *i, uint32_t r, uint32_t e)
{
	return set_re(&i->gid, privileged(i), r, e);
}

int64_t identity_setresuid(struct identity *i, uint32_t r, uint32_t e, uint32_t s)
{
	return set_res(&i->uid, privileged(i), r, e, s);
}

int64_t identity_setresgid(struct identity *i, uint32_t r, uint32_t e, uint32_t s)
{
	return set_res(&i->gid, privileged(i), r, e, s);
}

int64_t identity_setfsuid(struct identity *i, uint32_t uid)
{
	return set_fs(&i->uid, privileged(i), uid);
}

int64_t identity_setfsgid(struct identity *i, uint32_t gid)
{
	return set_fs(&i->gid, privileged(i), gid);
}

int64_t identity_setgroups(struct identity *i, const uint32_t *groups, size_t n)
{
	if (!privileged(i))
		return -EPERM;
	if (n > IDENTITY_GROUPS_MAX)
		return -EINVAL;
	if (n)
		memcpy(i->groups, groups, n * sizeof(*groups));
	i->n_groups = (uint32_t)n;
	return 0;
}

bool identity_in_group(const struct identity *i, uint32_t gid)
{
	if (gid == i->gid.fs)
		return true;
	for (uint32_t k = 0; k < i->n_groups; k++)
		if (i->groups[k] == gid)
			return true;
	return false;
}

bool identity_may_chown(
        const struct identity *i, uint32_t owner, uint32_t group, uint32_t to, uint32_t to_group)
{
	if (i->uid.fs == 0)
		return true;
	if (to != KEEP && (to != owner || owner != i->uid.fs))
		return false;
	return to_group == KEEP ||
	       (owner == i->uid.fs && (to_group == group || identity_in_group(i, to_group)));
}

void identity_exec(struct identity *i, bool setuid, bool setgid, uint32_t owner, uint32_t owner_gid)
{
	if (setuid)
		i->uid.e = owner;
	if (setgid)
		i->gid.e = owner_gid;
	i->uid.s = i->uid.fs = i->uid.e;
	i->gid.s = i->gid.fs = i->gid.e;
}

bool identity_equal(const struct identity *a, const struct identity *b)
{
	return memcmp(&a->uid, &b->uid, sizeof(a->uid)) == 0 &&
	       memcmp(&a->gid, &b->gid, sizeof(a->gid)) == 0 && a->n_groups == b->n_groups &&
	       (!a->n_groups ||
	               memcmp(a->groups, b->groups, a->n_groups * sizeof(*a->groups)) == 0);
}
