/* layer/workdir.c - the directories that WORKDIR makes. */
#include "layer/upper.h"

static int make_workdir(
        struct upper *u, const char *path, const struct tree_entry *made, struct error *err)
{
	_cleanup_strbuf_ struct strbuf phys = STRBUF_INIT;
	struct upper_hit hit;
	uint32_t node;
	int r = upper_resolve(u, "", path, true, &phys, &hit, err);
	if (r < 0)
		return err_wrap(err, "WORKDIR %s", path);
	if (r == 1) {
		if (hit.e->type == TREE_DIR)
			return 0;
		return err_set(err, ERR_BUILD, "WORKDIR %s: /%s exists and is not a directory",
		        path, phys.buf);
	}
	return upper_mkdirs(u, phys.buf, made, &node, err);
}

int layer_workdir(const char *path, const char *user, const int64_t *time,
        const struct treeview *lower, const int *lower_fds, bool single_id, int destfd,
        struct tree *ret, struct error *err)
{
	static const struct treeview nothing;
	struct tree_entry made = {.type = TREE_DIR, .mode = 0755, .mtime_sec = time ? *time : 0};
	struct upper u;
	if (user && *user &&
	        layer_lookup_user(user, lower, lower_fds, &made.uid, &made.gid, err) < 0)
		return -1;
	int r = upper_init(&u, destfd, lower ? lower : &nothing, lower_fds, single_id, err);
	if (r == 0)
		r = make_workdir(&u, path, &made, err);
	if (r == 0)
		r = upper_finish(&u, ret, err);
	upper_release(&u);
	return r;
}
