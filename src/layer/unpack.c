/* layer/unpack.c - tar entries into a layer being written. See unpack.h, RELIABILITY T1-T10.
 *
 * A name is cleaned first and refused if it climbs out; the links among its parents are followed
 * in the model as chroot would follow them; the last component is never followed. A later entry
 * replaces an earlier one of the same path, only a directory keeps what is below a directory. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "layer/content.h"
#include "layer/unpack.h"

#define BUF_SIZE (256u << 10)

struct unpack {
	struct upper *u;
	struct tar_reader *r;
	const struct unpack_options *opt;
	uint64_t left; /* bytes that may still come */
	void *buf;
	/* the directory of the entry before, which most entries share */
	char *dir_name;
	uint32_t dir;
	uint64_t dir_removals;
};

static int hostile(struct unpack *x, const char *path, const char *why, struct error *err)
{
	return err_set(err, ERR_INTEGRITY, "%s: entry \"%s\" %s", x->opt->what, path, why);
}

/* An absolute name is taken below the root, as tar itself and every builder do. */
static int clean_name(struct unpack *x, const char *raw, struct strbuf *out, struct error *err)
{
	strbuf_reset(out);
	for (const char *p = raw; *p;) {
		size_t n = strcspn(p, "/");
		if (n == 2 && p[0] == '.' && p[1] == '.') {
			if (out->len == 0)
				return hostile(x, raw, "leads out of the archive's root", err);
			const char *slash = strrchr(out->buf, '/');
			strbuf_truncate(out, slash ? (size_t)(slash - out->buf) : 0);
		} else if (n && !(n == 1 && p[0] == '.')) {
			if (out->len)
				strbuf_addch(out, '/');
			strbuf_add(out, p, n);
		}
		p += n;
		p += *p == '/';
	}
	return 0;
}

static bool has_whiteout_part(const char *dir)
{
	return str_starts(dir, ".wh.") || strstr(dir, "/.wh.");
}

/* The node of the directory `dir` (cleaned), made where it is missing. */
static int parent_node(struct unpack *x, const char *dir, const struct tree_entry *e, uint32_t *ret,
        struct error *err)
{
	struct upper *u = x->u;
	if (x->dir_name && x->dir_removals == u->removals && str_eq(x->dir_name, dir)) {
		*ret = x->dir;
		return 0;
	}
	if (x->opt->layer && has_whiteout_part(dir))
		return hostile(x, dir, "is below a whiteout", err);
	_cleanup_strbuf_ struct strbuf path = STRBUF_INIT;
	struct upper_hit hit;
	struct tree_entry made = {.type = TREE_DIR, .mode = 0755, .mtime_sec = e->mtime_sec};
	if (x->opt->chown) {
		made.uid = x->opt->uid;
		made.gid = x->opt->gid;
	}
	uint32_t node;
	if (upper_resolve(u, x->opt->base, dir, true, &path, &hit, err) < 0 ||
	        upper_mkdirs(u, path.buf, &made, &node, err) < 0) {
		if (err->class == ERR_BUILD)
			err->class = ERR_INTEGRITY;
		return err_wrap(err, "%s: entry below \"%s\"", x->opt->what, dir);
	}
	free(x->dir_name);
	x->dir_name = xstrdup(dir);
	x->dir_removals = u->removals;
	x->dir = node;
	*ret = node;
	return 0;
}

/* --- whiteouts ------------------------------------------------------------------------------- */

static int whiteout(
        struct unpack *x, uint32_t dir, const char *raw, const char *name, struct error *err)
{
	struct upper *u = x->u;
	if (str_eq(name, ".wh..wh..opq")) {
		upper_entry(u, dir)->opaque = true;
		return 0;
	}
	if (str_starts(name, ".wh..wh."))
		return 0; /* aufs' own book-keeping */
	const char *gone = name + 4;
	if (!*gone || str_eq(gone, ".") || str_eq(gone, ".."))
		return hostile(x, raw, "is a malformed whiteout", err);
	uint32_t node = upper_child(u, dir, gone);
	if (node != UPPER_NONE) {
		/* Whiteouts concern lower layers only: what this layer brings stays. */
		if (upper_entry(u, node)->type == TREE_DIR)
			upper_entry(u, node)->opaque = true;
		return 0;
	}
	struct tree_entry e = {.type = TREE_WHITEOUT};
	return upper_put(u, dir, gone, &e, &node, err);
}

/* --- regular files and links ----------------------------------------------------------------- */

/* Whole pieces, however the archive comes in. */
static ssize_t read_piece(struct unpack *x, struct error *err)
{
	size_t have = 0;
	while (have < BUF_SIZE) {
		ssize_t n = tar_reader_read(x->r, (char *)x->buf + have, BUF_SIZE - have, err);
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		have += (size_t)n;
	}
	return (ssize_t)have;
}

static int write_content(
        struct unpack *x, int fd, struct tree_entry *e, const char *raw, struct error *err)
{
	struct sha256 h;
	uint64_t done = 0;
	bool hole = false;
	sha256_init(&h);
	for (;;) {
		ssize_t n = read_piece(x, err);
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		if ((uint64_t)n > x->left) {
			hostile(x, raw, "goes beyond the limit on unpacked size", err);
			return err_hint(err, "the limit is %llu bytes for one archive",
			        (unsigned long long)x->opt->max_bytes);
		}
		x->left -= (uint64_t)n;
		done += (uint64_t)n;
		sha256_update(&h, x->buf, (size_t)n);
		if (content_write(fd, x->buf, (size_t)n, &hole) < 0)
			return err_sys(err, errno, "cannot write %s", raw);
	}
	if (done != e->size)
		return hostile(x, raw, "is shorter than its header says", err);
	if (hole && ftruncate(fd, (off_t)done) < 0)
		return err_sys(err, errno, "cannot write %s", raw);
	sha256_final(&h, &e->sha256);
	e->has_digest = true;
	return 0;
}

static int put_file(struct unpack *x, uint32_t dir, const char *name, const struct tree_entry *e,
        const char *raw, struct error *err)
{
	struct upper *u = x->u;
	uint32_t node;
	if (upper_put(u, dir, name, e, &node, err) < 0)
		return -1;
	int dfd = upper_dirfd(u, dir, err);
	if (dfd < 0)
		return -1;
	_cleanup_close_ int fd = openat(
	        dfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, e->mode & 0777);
	if (fd < 0)
		return err_sys(err, errno, "cannot create %s", raw);
	upper_on_disk(u, node);
	struct tree_entry *d = upper_entry(u, node);
	if (write_content(x, fd, d, raw, err) < 0)
		return -1;
	return upper_meta_fd(&u->ids, fd, d, e->mode, raw, err);
}

/* A hard link of an ADD archive may name a file that only the image has: it joins the layer. */
static int copy_up(struct unpack *x, uint32_t dir, const char *name, const struct upper_hit *hit,
        uint32_t *ret_node, struct error *err)
{
	struct upper *u = x->u;
	if (upper_put(u, dir, name, hit->e, ret_node, err) < 0)
		return -1;
	struct tree_entry *d = upper_entry(u, *ret_node);
	if (d->type != TREE_REG)
		return upper_make_special(u, *ret_node, err);
	int dfd = upper_dirfd(u, dir, err);
	if (dfd < 0)
		return -1;
	struct content_source src = {
	        .dirfd = u->lower_fds[hit->lower.layer],
	        .path = hit->e->path,
	        .shown = name,
	        .e = hit->e,
	        .stored = true,
	        .may_link = true,
	};
	if (content_place(&u->ids, &src, dfd, name, d, err) < 0)
		return -1;
	upper_on_disk(u, *ret_node);
	return 0;
}

static int put_link(struct unpack *x, uint32_t dir, const char *name, const struct tree_entry *e,
        struct error *err)
{
	struct upper *u = x->u;
	_cleanup_strbuf_ struct strbuf target = STRBUF_INIT;
	if (!e->link || !*e->link)
		return hostile(x, e->path, "is a hard link to nothing", err);
	if (clean_name(x, e->link, &target, err) < 0)
		return -1;
	char *slash = strrchr(target.buf, '/');
	const char *last = slash ? slash + 1 : target.buf;
	_cleanup_free_ char *tdir = xstrndup(target.buf, slash ? (size_t)(slash - target.buf) : 0);
	_cleanup_strbuf_ struct strbuf path = STRBUF_INIT;
	struct upper_hit at, hit;
	int r = upper_resolve(u, x->opt->base, tdir, true, &path, &at, err);
	if (r < 0) {
		err->class = ERR_INTEGRITY;
		return err_wrap(err, "%s: entry \"%s\"", x->opt->what, e->path);
	}
	if (r == 0 || at.e->type != TREE_DIR || !*last)
		return hostile(x, e->path, "is a hard link to a file that is not there", err);
	uint32_t tnode;
	if (upper_mkdirs(u, path.buf, at.e, &tnode, err) < 0)
		return -1;
	if (!upper_lookup(u, tnode, last, &hit) || hit.e->type == TREE_DIR)
		return hostile(
		        x, e->path, "is a hard link to something that is not an earlier file", err);
	if (tnode == dir && str_eq(last, name))
		return hostile(x, e->path, "is a hard link to itself", err);
	uint32_t from = hit.node, node;
	if (from == UPPER_NONE && copy_up(x, tnode, last, &hit, &from, err) < 0)
		return -1;
	if (upper_link(u, dir, name, from, &node, err) < 0)
		return -1;
	int tfd = upper_dirfd(u, tnode, err);
	int dfd = tfd < 0 ? -1 : upper_dirfd(u, dir, err);
	if (dfd < 0)
		return -1;
	if (linkat(tfd, last, dfd, name, 0) < 0)
		return err_sys(err, errno, "%s: cannot link \"%s\" to \"%s\"", x->opt->what,
		        e->path, e->link);
	upper_on_disk(u, node);
	return 0;
}

/* --- one entry ------------------------------------------------------------------------------- */

static int put_root(struct unpack *x, const struct tree_entry *raw, struct error *err)
{
	if (raw->type != TREE_DIR)
		return hostile(x, raw->path, "would replace the root directory", err);
	if (!x->opt->layer)
		return 0; /* ADD: the destination keeps its own */
	struct tree_entry e = *raw;
	upper_filter_xattrs(&x->u->arena, &e);
	bool opaque = upper_entry(x->u, UPPER_ROOT)->opaque;
	*upper_entry(x->u, UPPER_ROOT) = e;
	upper_entry(x->u, UPPER_ROOT)->opaque = opaque;
	x->u->root_set = true;
	return 0;
}

static int put_entry(
        struct unpack *x, const struct tree_entry *raw, struct strbuf *path, struct error *err)
{
	struct upper *u = x->u;
	if (clean_name(x, raw->path, path, err) < 0)
		return -1;
	if (path->len == 0)
		return put_root(x, raw, err);
	char *slash = strrchr(path->buf, '/');
	const char *name = slash ? slash + 1 : path->buf;
	if (slash)
		*slash = '\0';
	uint32_t dir, node;
	if (parent_node(x, slash ? path->buf : "", raw, &dir, err) < 0)
		return -1;
	if (str_starts(name, ".wh.") && !x->opt->plain) {
		if (x->opt->layer)
			return whiteout(x, dir, raw->path, name, err);
		return hostile(x, raw->path,
		        "cannot be kept: names that begin with .wh. mean removal in layers", err);
	}
	struct tree_entry e = *raw;
	e.mode &= 07777;
	upper_filter_xattrs(&u->arena, &e);
	if (x->opt->chown) {
		e.uid = x->opt->uid;
		e.gid = x->opt->gid;
	}
	switch (e.type) {
	case TREE_REG:
		return put_file(x, dir, name, &e, raw->path, err);
	case TREE_HARDLINK:
		return put_link(x, dir, name, raw, err);
	case TREE_DIR:
		return upper_put(u, dir, name, &e, &node, err);
	case TREE_CHR:
		/* Device 0:0 is how overlayfs spells a whiteout; it must never mean a file. */
		if (e.dev_major == 0 && e.dev_minor == 0) {
			if (!x->opt->layer)
				return hostile(x, raw->path, "is a device 0:0", err);
			e = (struct tree_entry){.type = TREE_WHITEOUT};
			return upper_put(u, dir, name, &e, &node, err);
		}
		break;
	case TREE_SYMLINK:
		if (!e.link || !*e.link)
			return hostile(x, raw->path, "is a link to nothing", err);
		e.mode = 0777;
		break;
	case TREE_BLK:
	case TREE_FIFO:
		break;
	default:
		return hostile(x, raw->path, "has a type that no layer can hold", err);
	}
	if (upper_put(u, dir, name, &e, &node, err) < 0)
		return -1;
	return upper_make_special(u, node, err);
}

int unpack_tar(
        struct upper *u, struct tar_reader *r, const struct unpack_options *opt, struct error *err)
{
	_cleanup_free_ void *buf = xmalloc(BUF_SIZE);
	_cleanup_strbuf_ struct strbuf path = STRBUF_INIT;
	struct unpack x = {.u = u, .r = r, .opt = opt, .left = opt->max_bytes, .buf = buf};
	struct tree_entry e;
	int n;
	while ((n = tar_reader_next(r, &e, err)) > 0) {
		if (put_entry(&x, &e, &path, err) < 0) {
			n = -1;
			break;
		}
	}
	free(x.dir_name);
	return n;
}
