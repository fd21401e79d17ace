/* tar/writer.c - the canonical layer tar: docs/formats/layer-tar.md.
 *
 * Invariant: the bytes are a function of the tree (and of the file contents) alone. Everything is
 * gathered in one large buffer, into which file contents are read directly: no copy, and few
 * writes whatever the sizes of the files. */
#include "tar/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/large_file.h"
#include "base/strbuf.h"
#include "sys/path.h"
#include "tar/format.h"

#define BUF_SIZE ((size_t)1024 * 1024)
/* More in one entry's pax records than a reader would take (tar/reader.h). */
#define PAX_MAX ((size_t)1024 * 1024)

/* --- header fields --------------------------------------------------------------------------- */

/* octal - width - 1 digits and NUL; what does not fit is 0 and stands in a pax record. */
static bool octal(char *field, size_t width, uint64_t v)
{
	bool fits = v < (uint64_t)1 << (3 * (width - 1));
	if (!fits)
		v = 0;
	field[width - 1] = '\0';
	for (size_t i = width - 1; i-- > 0; v >>= 3)
		field[i] = (char)('0' + (v & 7));
	return fits;
}

static void seal(struct tar_header *h)
{
	octal(h->chksum, 7, tar_checksum(h));
	h->chksum[7] = ' ';
}

static void init_header(struct tar_header *h, char typeflag)
{
	memset(h, 0, sizeof(*h));
	octal(h->mode, sizeof(h->mode), 0);
	octal(h->uid, sizeof(h->uid), 0);
	octal(h->gid, sizeof(h->gid), 0);
	octal(h->size, sizeof(h->size), 0);
	octal(h->mtime, sizeof(h->mtime), 0);
	octal(h->devmajor, sizeof(h->devmajor), 0);
	octal(h->devminor, sizeof(h->devminor), 0);
	h->typeflag = typeflag;
	memcpy(h->magic, "ustar", 6);
	memcpy(h->version, "00", 2);
}

/* set_name - name alone, or split at the last '/' that makes both halves fit; false: neither. */
static bool set_name(struct tar_header *h, const char *path, size_t n)
{
	if (n <= sizeof(h->name)) {
		memcpy(h->name, path, n);
		return true;
	}
	/* The last byte may be a directory's '/': it belongs to the name. */
	size_t i = MIN(n - 2, sizeof(h->prefix));
	while (i > 0 && path[i] != '/')
		i--;
	if (i == 0 || n - i - 1 > sizeof(h->name))
		return false;
	memcpy(h->prefix, path, i);
	memcpy(h->name, path + i + 1, n - i - 1);
	return true;
}

/* --- pax records ----------------------------------------------------------------------------- */

/* pax_add - "LEN KEY=VALUE\n", where LEN counts its own digits. */
static void pax_add(struct strbuf *sb, const char *key, const void *value, size_t n)
{
	size_t rest = strlen(key) + n + 3, len = rest + 1;
	char digits[24];
	while ((size_t)snprintf(digits, sizeof(digits), "%zu", len) + rest != len)
		len++;
	strbuf_addf(sb, "%zu %s=", len, key);
	strbuf_add(sb, value, n);
	strbuf_addch(sb, '\n');
}

static void pax_add_str(struct strbuf *sb, const char *key, const char *value)
{
	pax_add(sb, key, value, strlen(value));
}

static void pax_add_int(struct strbuf *sb, const char *key, int64_t v)
{
	char s[24];
	snprintf(s, sizeof(s), "%" PRId64, v);
	pax_add_str(sb, key, s);
}

/* xattr_key - '=' would end the key: it is written %3D, as GNU tar does; '%' only where it would be
 * read back as an escape. */
static void xattr_key(struct strbuf *sb, const char *name)
{
	bool escaped = strstr(name, "%3D") || strstr(name, "%25");
	strbuf_addstr(sb, "SCHILY.xattr.");
	for (; *name; name++) {
		if (*name == '=')
			strbuf_addstr(sb, "%3D");
		else if (*name == '%' && escaped)
			strbuf_addstr(sb, "%25");
		else
			strbuf_addch(sb, *name);
	}
}

static void pax_add_xattrs(struct strbuf *sb, const struct tree_entry *e)
{
	_cleanup_strbuf_ struct strbuf key = STRBUF_INIT;
	for (uint32_t i = 0; i < e->n_xattrs; i++) {
		strbuf_reset(&key);
		xattr_key(&key, e->xattrs[i].name);
		pax_add(sb, key.buf, e->xattrs[i].value, e->xattrs[i].len);
	}
}

/* --- one entry ------------------------------------------------------------------------------- */

static const char typeflags[] = {
        [TREE_REG] = '0',
        [TREE_DIR] = '5',
        [TREE_SYMLINK] = '2',
        [TREE_HARDLINK] = '1',
        [TREE_CHR] = '3',
        [TREE_BLK] = '4',
        [TREE_FIFO] = '6',
};

/* Reused from entry to entry, so that writing a tree allocates nothing for each. */
struct scratch {
	struct strbuf path, pax, head;
};

static void scratch_release(struct scratch *s)
{
	strbuf_release(&s->path);
	strbuf_release(&s->pax);
	strbuf_release(&s->head);
}

#define SCRATCH_INIT ((struct scratch){STRBUF_INIT, STRBUF_INIT, STRBUF_INIT})

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

static bool is_whiteout_name(const char *path)
{
	return str_starts(base_name(path), ".wh.");
}

/* add_header - the entry's header in s->head, after its pax header if it needs one. s->path is the
 * name as it goes into the archive. */
static int add_header(
        struct scratch *s, const struct tree_entry *e, int64_t mtime, struct error *err)
{
	struct tar_header h;
	struct strbuf *pax = &s->pax;
	const char *link = e->link ? e->link : "";
	bool device = e->type == TREE_CHR || e->type == TREE_BLK;
	uint64_t size = e->type == TREE_REG ? e->size : 0;

	strbuf_reset(pax);
	init_header(&h, typeflags[e->type]);
	octal(h.mode, sizeof(h.mode), e->type == TREE_SYMLINK ? 0777 : e->mode & 07777);
	/* Records in the byte order of their keys. */
	if (!octal(h.devmajor, sizeof(h.devmajor), device ? e->dev_major : 0))
		pax_add_int(pax, "SCHILY.devmajor", e->dev_major);
	if (!octal(h.devminor, sizeof(h.devminor), device ? e->dev_minor : 0))
		pax_add_int(pax, "SCHILY.devminor", e->dev_minor);
	if (e->n_xattrs && e->type != TREE_HARDLINK)
		pax_add_xattrs(pax, e);
	if (!octal(h.gid, sizeof(h.gid), e->gid))
		pax_add_int(pax, "gid", e->gid);
	if (strlen(link) <= sizeof(h.linkname))
		memcpy(h.linkname, link, strlen(link));
	else
		pax_add_str(pax, "linkpath", link);
	if (mtime < 0 || !octal(h.mtime, sizeof(h.mtime), (uint64_t)mtime))
		pax_add_int(pax, "mtime", mtime);
	if (!set_name(&h, s->path.buf, s->path.len)) {
		pax_add(pax, "path", s->path.buf, s->path.len);
		memcpy(h.name, s->path.buf, sizeof(h.name)); /* for readers without pax */
	}
	if (!octal(h.size, sizeof(h.size), size))
		pax_add_int(pax, "size", (int64_t)size);
	if (!octal(h.uid, sizeof(h.uid), e->uid))
		pax_add_int(pax, "uid", e->uid);
	seal(&h);
	if (pax->len > PAX_MAX)
		return err_set(err, ERR_SYSTEM,
		        "%s: its extended attributes do not fit into a tar header", e->path);
	if (pax->len) {
		struct tar_header x;
		init_header(&x, 'x');
		strcpy(x.name, "PaxHeaders.0");
		octal(x.size, sizeof(x.size), pax->len);
		seal(&x);
		strbuf_add(&s->head, &x, sizeof(x));
		strbuf_add(&s->head, pax->buf, pax->len);
		static const char zeros[TAR_BLOCK];
		strbuf_add(&s->head, zeros, tar_padding(pax->len));
	}
	strbuf_add(&s->head, &h, sizeof(h));
	return 0;
}

static int add_whiteout(
        struct scratch *s, const char *dir, size_t dirlen, const char *name, struct error *err)
{
	const struct tree_entry e = {.path = name, .type = TREE_REG};
	strbuf_reset(&s->path);
	strbuf_add(&s->path, dir, dirlen);
	if (dirlen)
		strbuf_addch(&s->path, '/');
	strbuf_addstr(&s->path, ".wh.");
	strbuf_addstr(&s->path, name);
	return add_header(s, &e, 0, err);
}

static int add_entry(
        struct scratch *s, const struct tree_entry *e, int64_t mtime, struct error *err)
{
	if (e->type == TREE_SOCK || *e->path == '\0')
		return 0;
	const char *name = base_name(e->path);
	if (e->type == TREE_WHITEOUT)
		return add_whiteout(
		        s, e->path, name == e->path ? 0 : (size_t)(name - e->path - 1), name, err);
	if (is_whiteout_name(e->path)) {
		err_set(err, ERR_BUILD,
		        "%s: a name that begins with \".wh.\" cannot be kept in a layer", e->path);
		return err_hint(err, "layers mark deleted files by such names; rename the file");
	}
	strbuf_reset(&s->path);
	strbuf_addstr(&s->path, e->path);
	if (e->type == TREE_DIR)
		strbuf_addch(&s->path, '/');
	if (add_header(s, e, mtime, err) < 0)
		return -1;
	if (e->type == TREE_DIR && e->opaque)
		return add_whiteout(s, e->path, strlen(e->path), ".wh..opq", err);
	return 0;
}

/* --- the buffered archive -------------------------------------------------------------------- */

struct archive {
	struct scratch s;
	struct sink *out;
	char *buf;
	size_t n;
	struct sha256 *hash; /* of the archive; NULL: not wanted */
	size_t hashed;       /* bytes of buf that it has */
	uint64_t size;       /* of the archive, before buf */
};

static void archive_release(struct archive *a)
{
	scratch_release(&a->s);
	free(a->buf);
}

static void hash_so_far(struct archive *a)
{
	sha256_update(a->hash, a->buf + a->hashed, a->n - a->hashed);
	a->hashed = a->n;
}

static int flush(struct archive *a, struct error *err)
{
	size_t n = a->n;
	if (a->hash)
		hash_so_far(a);
	a->size += n;
	a->n = a->hashed = 0;
	return n ? sink_write(a->out, a->buf, n, err) : 0;
}

static int append(struct archive *a, const char *p, size_t n, struct error *err)
{
	while (n) {
		size_t k = MIN(n, BUF_SIZE - a->n);
		memcpy(a->buf + a->n, p, k);
		a->n += k;
		p += k;
		n -= k;
		if (a->n == BUF_SIZE && flush(a, err) < 0)
			return -1;
	}
	return 0;
}

static int append_zeros(struct archive *a, size_t n, struct error *err)
{
	static const char zeros[2 * TAR_BLOCK];
	return append(a, zeros, n, err);
}

/* append_bytes - all that fd has, which must be e->size bytes; hash may be NULL. A file begins
 * where a block of either hash begins. */
static int append_bytes(struct archive *a, const struct tree_entry *e, int fd, struct sha256 *hash,
        bool *ret_same, struct error *err)
{
	uint64_t left = e->size;
	*ret_same = false;
	/* One byte more is asked for: a short answer proves the end without another call. */
	for (;;) {
		if (a->n == BUF_SIZE && flush(a, err) < 0)
			return -1;
		size_t want = (size_t)MIN(left + 1, (uint64_t)(BUF_SIZE - a->n));
		ssize_t got = read_large(fd, a->buf + a->n, want);
		if (got < 0)
			return err_sys(err, errno, "cannot read %s", e->path);
		if ((uint64_t)got > left || (got == 0 && left))
			return 0;
		if (hash && a->hash) {
			hash_so_far(a);
			sha256_update_both(hash, a->hash, a->buf + a->n, (size_t)got);
			a->hashed += (size_t)got;
		} else if (hash) {
			sha256_update(hash, a->buf + a->n, (size_t)got);
		}
		a->n += (size_t)got;
		left -= (uint64_t)got;
		if (left == 0 && (size_t)got < want)
			break;
	}
	*ret_same = true;
	return append_zeros(a, tar_padding(e->size), err);
}

/* O_NONBLOCK: if the file has become a FIFO, opening must not hang. */
#define OPEN_FLAGS (O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY)

static int append_file(struct archive *a, const struct tree_entry *e, int treefd, struct error *err)
{
	bool same;
	if (e->size == 0)
		return 0;
	_cleanup_close_ int fd = sys_open_beneath(treefd, e->path, OPEN_FLAGS, 0);
	if (fd < 0)
		return err_sys(err, fd, "cannot open %s", e->path);
	if (append_bytes(a, e, fd, NULL, &same, err) < 0)
		return -1;
	if (!same)
		return err_set(err, ERR_INTEGRITY,
		        "%s no longer has the %" PRIu64 " bytes that its manifest says", e->path,
		        e->size);
	return 0;
}

static int append_content(struct archive *a, const struct tree_entry *e,
        const struct tar_content *c, struct error *err)
{
	struct sha256 hash;
	struct digest got;
	struct stat st;
	bool same;
	if (e->size == 0)
		return 0;
	if (c->dirfd < 0) {
		if (append(a, c->data, e->size, err) < 0)
			return -1;
		return append_zeros(a, tar_padding(e->size), err);
	}
	_cleanup_close_ int fd = sys_open_beneath(c->dirfd, c->path, OPEN_FLAGS, 0);
	if (fd == -ENOENT || fd == -ELOOP || fd == -ENXIO || fd == -ENOTDIR)
		return tree_bytes_changed(c->path, c->stored, err);
	if (fd < 0)
		return err_sys(err, fd, "cannot open %s", c->path);
	if (fstat(fd, &st) < 0)
		return err_sys(err, errno, "cannot read %s", c->path);
	if (!S_ISREG(st.st_mode))
		return tree_bytes_changed(c->path, c->stored, err);
	sha256_init(&hash);
	if (append_bytes(a, e, fd, &hash, &same, err) < 0)
		return -1;
	sha256_final(&hash, &got);
	return same && digest_eq(&got, &e->sha256) ? 0
	                                           : tree_bytes_changed(c->path, c->stored, err);
}

static int write_tree(struct archive *a, const struct tree *t, int treefd,
        const struct tar_content *content, const struct tar_write_options *opt, struct error *err)
{
	a->buf = xmalloc(BUF_SIZE);
	for (size_t i = 0; i < t->n; i++) {
		const struct tree_entry *e = &t->entries[i];
		int64_t mtime = e->mtime_sec;
		if (opt && opt->clamp_mtime)
			mtime = MIN(mtime, opt->mtime_max);
		strbuf_reset(&a->s.head);
		if (add_entry(&a->s, e, mtime, err) < 0 ||
		        append(a, a->s.head.buf, a->s.head.len, err) < 0)
			return -1;
		if (e->type != TREE_REG)
			continue;
		if ((content ? append_content(a, e, &content[i], err)
		             : append_file(a, e, treefd, err)) < 0)
			return -1;
	}
	if (append_zeros(a, 2 * TAR_BLOCK, err) < 0)
		return -1;
	return flush(a, err);
}

int tar_write_tree(const struct tree *t, int treefd, const struct tar_write_options *opt,
        struct sink *out, struct error *err)
{
	_cleanup_(archive_release) struct archive a = {.s = SCRATCH_INIT, .out = out};
	return write_tree(&a, t, treefd, NULL, opt, err);
}

int tar_write_contents(const struct tree *t, const struct tar_content *content, struct sink *out,
        struct digest *ret_digest, uint64_t *ret_size, struct error *err)
{
	struct sha256 hash;
	_cleanup_(archive_release) struct archive a = {
	        .s = SCRATCH_INIT, .out = out, .hash = &hash};
	sha256_init(&hash);
	if (write_tree(&a, t, -1, content, NULL, err) < 0)
		return -1;
	sha256_final(&hash, ret_digest);
	*ret_size = a.size;
	return 0;
}

/* --- lower level ----------------------------------------------------------------------------- */

int tar_write_entry(const struct tree_entry *e, struct sink *out, struct error *err)
{
	_cleanup_(scratch_release) struct scratch s = SCRATCH_INIT;
	if (add_entry(&s, e, e->mtime_sec, err) < 0)
		return -1;
	return sink_write(out, s.head.buf, s.head.len, err);
}

int tar_write_data(const void *p, size_t n, struct sink *out, struct error *err)
{
	return sink_write(out, p, n, err);
}

int tar_write_padding(uint64_t size, struct sink *out, struct error *err)
{
	static const char zeros[TAR_BLOCK];
	return sink_write(out, zeros, tar_padding(size), err);
}

int tar_write_file(const char *path, const void *p, size_t n, uint32_t mode, int64_t mtime,
        struct sink *out, struct error *err)
{
	const struct tree_entry e = {
	        .path = path, .type = TREE_REG, .mode = mode, .size = n, .mtime_sec = mtime};
	if (tar_write_entry(&e, out, err) < 0 || tar_write_data(p, n, out, err) < 0)
		return -1;
	return tar_write_padding(n, out, err);
}

int tar_write_end(struct sink *out, struct error *err)
{
	static const char zeros[2 * TAR_BLOCK];
	return sink_write(out, zeros, sizeof(zeros), err);
}
