/* sandbox/supervise_ids.c - who am I, become somebody else, and programs with set-id bits. */
#include "sandbox/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static void get_three(struct call *c, const struct identity_ids *v)
{
	const uint32_t ids[3] = {v->r, v->e, v->s};
	for (int i = 0; i < 3 && c->value == 0; i++)
		c->value = call_write(c, c->req->data.args[i], &ids[i], sizeof(ids[i]));
}

static void get_groups(struct call *c)
{
	const struct identity *i = caller(c);
	int32_t room = (int32_t)c->req->data.args[0];
	c->value = i->n_groups;
	if (room < 0 || (room && (uint32_t)room < i->n_groups))
		c->value = -EINVAL;
	else if (room && i->n_groups) {
		int r = call_write(
		        c, c->req->data.args[1], i->groups, i->n_groups * sizeof(*i->groups));
		if (r < 0)
			c->value = r;
	}
}

static bool getters(struct call *c)
{
	const struct identity *i = caller(c);
	switch (c->req->data.nr) {
	case SYS_getuid:
		c->value = i->uid.r;
		return true;
	case SYS_geteuid:
		c->value = i->uid.e;
		return true;
	case SYS_getgid:
		c->value = i->gid.r;
		return true;
	case SYS_getegid:
		c->value = i->gid.e;
		return true;
	case SYS_getresuid:
		get_three(c, &i->uid);
		return true;
	case SYS_getresgid:
		get_three(c, &i->gid);
		return true;
	case SYS_getgroups:
		get_groups(c);
		return true;
	}
	return false;
}

static int64_t set_groups(struct call *c, struct identity *i)
{
	uint32_t v[IDENTITY_GROUPS_MAX];
	uint64_t n = c->req->data.args[0] & UINT32_MAX;
	if (n > IDENTITY_GROUPS_MAX)
		return -EINVAL;
	ssize_t r = n ? call_read(c, c->req->data.args[1], v, n * sizeof(*v)) : 0;
	if (r < 0)
		return r;
	return identity_setgroups(i, v, n);
}

static bool setters(struct call *c)
{
	struct identity i = *caller(c);
	uint32_t a = (uint32_t)c->req->data.args[0], b = (uint32_t)c->req->data.args[1],
	         d = (uint32_t)c->req->data.args[2];
	switch (c->req->data.nr) {
	case SYS_setuid:
		c->value = identity_setuid(&i, a);
		break;
	case SYS_setgid:
		c->value = identity_setgid(&i, a);
		break;
	case SYS_setreuid:
		c->value = identity_setreuid(&i, a, b);
		break;
	case SYS_setregid:
		c->value = identity_setregid(&i, a, b);
		break;
	case SYS_setresuid:
		c->value = identity_setresuid(&i, a, b, d);
		break;
	case SYS_setresgid:
		c->value = identity_setresgid(&i, a, b, d);
		break;
	case SYS_setfsuid:
		c->value = identity_setfsuid(&i, a);
		break;
	case SYS_setfsgid:
		c->value = identity_setfsgid(&i, a);
		break;
	case SYS_setgroups:
		c->value = set_groups(c, &i);
		break;
	default:
		return false;
	}
	if (c->value >= 0)
		call_become(c, &i);
	return true;
}

/* exec - the identity changes before the program does; one that cannot be executed after all leaves
 * a caller that goes on with its saved ids changed, which nobody has been seen to care about. */
static void exec(struct call *c, int dirfd, uint64_t path, int flags)
{
	struct place p;
	struct stat st;
	c->go_on = true;
	if (place_find(c, dirfd, path, flags & AT_EMPTY_PATH, &p) < 0)
		return;
	struct identity i = *caller(c);
	struct sys_owner o = {0, 0};
	/* trusted-path: inside the step's root */
	bool file = stat(p.name, &st) == 0 && S_ISREG(st.st_mode);
	if (file && (st.st_mode & (S_ISUID | S_ISGID)))
		(void)place_owner(c, &p, true, &o);
	place_leave(c, &p);
	if (!file)
		return;
	identity_exec(&i, st.st_mode & S_ISUID,
	        (st.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP), o.uid, o.gid);
	call_become(c, &i);
	c->value = 0;
}

bool answer_ids(struct call *c)
{
	const struct seccomp_data *d = &c->req->data;
	if (d->nr == SYS_execve || d->nr == SYS_execveat) {
		if (d->nr == SYS_execve)
			exec(c, AT_FDCWD, d->args[0], 0);
		else
			exec(c, (int)d->args[0], d->args[1], (int)d->args[4]);
		return true;
	}
	return getters(c) || setters(c);
}
