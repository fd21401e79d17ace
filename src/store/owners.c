/* store/owners.c - whether owners and modes of the files in this store are the true ones.
 *
 * A store that was written with one id (or with none but the caller's) has everything as that
 * user's: overlayfs would show that to a step of a better mode, and the other way round files of
 * other ids cannot be read. So a store is of one kind, which the first writer decides. */
#include "store/internal.h"
#include "sys/path.h"
#include "sys/privilege.h"

#include <dirent.h>
#include <errno.h>
#include <unistd.h>

#define MARK "owners"

/* What a process writes. */
static const char *kind_now(void)
{
	return sys_privilege_can_chown()   ? "applied\n"
	       : sys_privilege_reads_all() ? "recorded\n"
	                                   : "recorded, modes widened\n";
}

static bool has_layers(struct store *s)
{
	int n = 0;
	_cleanup_close_ int fd = sys_open_dir(s->dirfd, "layers");
	DIR *d = fd < 0 ? NULL : fdopendir(take_fd(&fd));
	for (struct dirent *e; d && (e = readdir(d));)
		n += e->d_name[0] != '.';
	if (d)
		closedir(d);
	return n > 0;
}

int store_check_owners(struct store *s, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	const char *now = kind_now();
	int r = sys_read_file(s->dirfd, MARK, 100, &text, NULL);
	/* Stores from before there was a mark have true owners. */
	if (r == -ENOENT && has_layers(s))
		text = xstrdup("applied\n");
	if (r == -ENOENT && !text) {
		r = sys_write_file_atomic(s->dirfd, MARK, now, strlen(now), 0600);
		return r < 0 ? err_sys(err, r, "cannot write the store %s", s->path) : 0;
	}
	if (!text)
		return err_sys(err, r, "cannot read %s/" MARK, s->path);
	if (str_eq(text, now))
		return 0;
	(void)err_set(err, ERR_SYSTEM,
	        "the store %s was written with other rights (owners %.*s, here %.*s)", s->path,
	        (int)strcspn(text, "\n"), text, (int)strcspn(now, "\n"), now);
	return err_hint(err,
	        "give this mode a store of its own: STRAKE_STORE=%s-%s; `strake info` says why the "
	        "mode is what it is",
	        s->path, str_eq(now, "applied\n") ? "ids" : "one-id");
}
