/* sandbox/resolve.c - follows a path inside a root in user space, because the kernel cannot say
 * where a missing mount point would have to be made. Look-ups themselves are beneath-only, so a
 * tree that changes under us gives an error, never a place outside. */
#include "sandbox/step.h"
#include "base/strbuf.h"
#include "sys/path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>

#define MAX_LINKS 40

struct walk {
	int root;
	struct strbuf done; /* link-free so far */
	char *todo;         /* what is left; owned */
	const char *next;   /* into todo */
	size_t existing;    /* bytes of done that exist */
	bool missing;
	uint32_t mode;
	int links;
};

static void walk_release(struct walk *w)
{
	strbuf_release(&w->done);
	free(w->todo);
}

static void pop(struct walk *w)
{
	const char *slash = strrchr(w->done.buf, '/');
	strbuf_truncate(&w->done, slash ? (size_t)(slash - w->done.buf) : 0);
	if (w->done.len <= w->existing) {
		w->existing = w->done.len;
		w->missing = false;
	}
	w->mode = S_IFDIR;
}

static int follow(struct walk *w, const char *link_path)
{
	_cleanup_free_ char *text = NULL;
	int r = sys_readlink(w->root, link_path, &text);
	if (r < 0)
		return r;
	if (++w->links > MAX_LINKS || strlen(text) + strlen(w->next) >= PATH_MAX)
		return -ELOOP;
	if (*text == '/') {
		strbuf_reset(&w->done);
		w->existing = 0;
	}
	char *todo = xasprintf("%s/%s", text, w->next);
	free(w->todo);
	w->next = w->todo = todo;
	return 0;
}

static int push(struct walk *w, const char *name, size_t n)
{
	size_t before = w->done.len;
	if (n > NAME_MAX || before + n + 2 > PATH_MAX)
		return -ENAMETOOLONG;
	if (before)
		strbuf_addch(&w->done, '/');
	strbuf_add(&w->done, name, n);
	if (w->missing)
		return 0;
	struct stat st;
	int r = sys_stat_beneath(w->root, w->done.buf, &st);
	if (r == -ENOENT) {
		w->missing = true;
		w->mode = 0;
		return 0;
	}
	if (r < 0)
		return r;
	if (S_ISLNK(st.st_mode)) {
		_cleanup_free_ char *link_path = xstrdup(w->done.buf);
		strbuf_truncate(&w->done, before);
		return follow(w, link_path);
	}
	w->existing = w->done.len;
	w->mode = st.st_mode;
	return 0;
}

void resolved_release(struct resolved *r)
{
	free(r->path);
	r->path = NULL;
}

int resolve_in_root(int root, const char *target, struct resolved *ret)
{
	_cleanup_(walk_release) struct walk w = {
	        .root = root, .done = STRBUF_INIT, .mode = S_IFDIR};
	if (strlen(target) >= PATH_MAX)
		return -ENAMETOOLONG;
	w.next = w.todo = xstrdup(target);
	for (;;) {
		while (*w.next == '/')
			w.next++;
		size_t n = strcspn(w.next, "/");
		if (!n)
			break;
		const char *name = w.next;
		w.next += n;
		if (n == 1 && name[0] == '.')
			continue;
		if (!w.missing && !S_ISDIR(w.mode))
			return -ENOTDIR;
		if (n == 2 && name[0] == '.' && name[1] == '.') {
			pop(&w);
			continue;
		}
		/* push may replace todo: the name must not live in it. */
		char copy[NAME_MAX + 1];
		if (n > NAME_MAX)
			return -ENAMETOOLONG;
		memcpy(copy, name, n);
		int r = push(&w, copy, n);
		if (r < 0)
			return r;
		if (!w.done.len)
			w.mode = S_IFDIR;
	}
	ret->existing = w.existing;
	ret->mode = w.missing ? 0 : w.mode;
	ret->path = strbuf_detach(&w.done);
	return 0;
}

int resolve_make(int root, const struct resolved *r, bool is_dir)
{
	if (r->existing < strlen(r->path)) {
		const char *slash = strrchr(r->path, '/');
		_cleanup_free_ char *dir =
		        is_dir ? xstrdup(r->path)
		               : xstrndup(r->path, slash ? (size_t)(slash - r->path) : 0);
		int e = sys_mkdir_p(root, dir, 0755);
		if (e < 0)
			return e;
		if (!is_dir) {
			_cleanup_close_ int fd = sys_open_beneath(
			        root, r->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0644);
			if (fd < 0)
				return fd;
		}
	}
	return sys_open_beneath(root, r->path, O_PATH | O_NOFOLLOW, 0);
}

bool path_is_or_below(const char *path, const char *dir)
{
	size_t n = strlen(dir);
	return n == 0 || (strncmp(path, dir, n) == 0 && (path[n] == '\0' || path[n] == '/'));
}
