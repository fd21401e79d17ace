/* layer/owner_log.c - owners in single-id mode that no attribute can tell: see sys/owner_table.h.
 */
#include <sys/stat.h>

#include "layer/layer.h"
#include "sys/path.h"

static bool needs_log(const struct tree_entry *e)
{
	return (e->uid || e->gid) && (e->type == TREE_SYMLINK || e->type == TREE_FIFO ||
	                                     e->type == TREE_CHR || e->type == TREE_BLK);
}

int layer_owner_log(const struct treeview *v, const int *fds, struct error *err)
{
	_cleanup_close_ int log = owner_log_new();
	int r = log < 0 ? log : 0;
	for (size_t i = 0; i < v->n; i++)
		for (size_t k = 0; r >= 0 && k < v->layers[i]->n; k++) {
			const struct tree_entry *e = &v->layers[i]->entries[k];
			struct stat st;
			/* overlayfs shows the number of the layer's own inode */
			if (needs_log(e) && sys_stat_beneath(fds[i], e->path, &st) >= 0)
				r = owner_log_append(log, OWNER_MERGED, st.st_ino, e->uid, e->gid);
		}
	if (r < 0)
		return err_sys(err, r, "cannot list the owners of the layers below");
	return take_fd(&log);
}

struct plain {
	int log, rootfd, r;
};

static int log_hit(void *ctx, const struct view_hit *hit)
{
	struct plain *p = ctx;
	struct stat st;
	if (!needs_log(hit->entry) || sys_stat_beneath(p->rootfd, hit->entry->path, &st) < 0)
		return 0;
	p->r = owner_log_append(p->log, OWNER_MERGED, st.st_ino, hit->entry->uid, hit->entry->gid);
	if (p->r >= 0)
		p->r = owner_log_append(
		        p->log, OWNER_UPPER, st.st_ino, hit->entry->uid, hit->entry->gid);
	return p->r;
}

int layer_plain_owner_log(const struct treeview *v, int rootfd, struct error *err)
{
	_cleanup_close_ int log = owner_log_new();
	struct plain p = {log, rootfd, log < 0 ? log : 0};
	if (p.r >= 0)
		(void)view_list(v, "", true, log_hit, &p);
	if (p.r < 0)
		return err_sys(err, p.r, "cannot list the owners of the layers below");
	return take_fd(&log);
}
