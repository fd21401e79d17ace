/* The canonical writer: golden archives, and what must not be written. The digests are part of the
 * format (docs/formats/layer-tar.md): a change here changes every diff id there is. */
#include "tar/writer.h"
#include "../tap.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "tar/format.h"
#include "tar/reader.h"

static char dir[] = "/tmp/strake-tar-XXXXXX";
static int dirfd_ = -1;

static void put(const char *name, const char *text, size_t n)
{
	_cleanup_close_ int fd =
	        openat(dirfd_, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, text, n) != (ssize_t)n)
		abort();
}

static void make_dir(void)
{
	if (!mkdtemp(dir))
		abort();
	dirfd_ = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	mkdirat(dirfd_, "etc", 0700);
	put("etc/hello", "hello\n", 6);
	_cleanup_free_ char *block = xmalloc(512);
	memset(block, 'b', 512);
	put("block", block, 512);
}

static void remove_dir(void)
{
	unlinkat(dirfd_, "etc/hello", 0);
	unlinkat(dirfd_, "block", 0);
	unlinkat(dirfd_, "etc", AT_REMOVEDIR);
	close(dirfd_);
	rmdir(dir);
}

static struct tree_entry *add(struct tree *t, enum tree_type type, const char *path)
{
	const struct tree_entry e = {.path = path,
	        .type = type,
	        .mode = 0644,
	        .uid = 1,
	        .gid = 2,
	        .mtime_sec = 1000000000};
	return tree_add(t, &e);
}

static void file(struct tree *t, const char *path, uint64_t size)
{
	add(t, TREE_REG, path)->size = size;
}

/* write_tree - the archive in sb and its digest in hex. */
static const char *write_tree(
        const struct tree *t, const struct tar_write_options *opt, struct strbuf *sb)
{
	static char hex[DIGEST_HEX_MAX];
	_cleanup_error_ struct error err = ERROR_INIT;
	struct digest d;
	strbuf_reset(sb);
	_cleanup_sink_ struct sink *s = sink_hash(sink_strbuf(sb, 1 << 24, "tar"), &d, NULL);
	if (tar_write_tree(t, dirfd_, opt, s, &err) < 0 || sink_finish(s, &err) < 0)
		return err.msg ? strcpy(hex, "error") : NULL;
	return digest_hex(&d, hex);
}

static const struct tar_header *header(const struct strbuf *sb, size_t block)
{
	return (const struct tar_header *)(const void *)(sb->buf + block * TAR_BLOCK);
}

static void empty(void)
{
	_cleanup_tree_ struct tree t = TREE_INIT;
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	/* head -c 1024 /dev/zero | sha256sum: also the well-known diff id of an empty layer */
	is_str(write_tree(&t, NULL, &sb),
	        "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef",
	        "an empty tree");
	add(&t, TREE_DIR, "");
	is_str(write_tree(&t, NULL, &sb),
	        "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef",
	        "the root itself is not written");
}

/* Everything that fits plain headers. The same archive by GNU tar and the rules in the format page
 * is compared in tests/functional. */
static void plain(void)
{
	_cleanup_tree_ struct tree t = TREE_INIT;
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	file(&t, "block", 512);
	add(&t, TREE_DIR, "etc")->mode = 01755;
	file(&t, "etc/hello", 6);
	add(&t, TREE_WHITEOUT, "etc/gone");
	add(&t, TREE_HARDLINK, "etc/hello2")->link = "etc/hello";
	add(&t, TREE_SYMLINK, "etc/link")->link = "../block";
	struct tree_entry *dev = add(&t, TREE_CHR, "null");
	dev->dev_major = 1;
	dev->dev_minor = 3;
	add(&t, TREE_FIFO, "pipe")->mode = 0600;
	add(&t, TREE_SOCK, "sock");
	add(&t, TREE_DIR, "work")->opaque = true;
	tree_sort(&t);
	const char *hex = write_tree(&t, NULL, &sb);
	is_str(hex, "7a54b61d2d1197803adeef677a5df544ee092dfdb8b4bc31eb452e55c332a2da",
	        "golden archive of plain entries");
	is_int(sb.len, (2 + 1 + 1 + 2 + 1 + 1 + 1 + 1 + 2 + 2) * TAR_BLOCK, "blocks");
	const struct tar_header *h = header(&sb, 0);
	is_str(h->name, "block", "name");
	is_str(h->mode, "0000644", "mode");
	is_str(h->uid, "0000001", "uid");
	is_str(h->gid, "0000002", "gid");
	is_str(h->size, "00000001000", "size");
	is_str(h->mtime, "07346545000", "mtime");
	ok(h->typeflag == '0' && memcmp(h->magic, "ustar\00000", 8) == 0, "type and magic");
	ok(h->uname[0] == 0 && h->gname[0] == 0 && h->prefix[0] == 0, "no names of people");
	is_str(header(&sb, 2)->name, "etc/", "a directory ends in a slash");
	is_str(header(&sb, 2)->mode, "0001755", "with its sticky bit");
	is_str(header(&sb, 3)->name, "etc/.wh.gone", "a whiteout");
	is_str(header(&sb, 3)->mtime, "00000000000", "which has nothing but its name");
	is_str(header(&sb, 6)->linkname, "etc/hello", "a hard link");
	is_str(header(&sb, 7)->linkname, "../block", "a symlink");
	is_str(header(&sb, 7)->mode, "0000777", "always 0777");
	is_str(header(&sb, 8)->devminor, "0000003", "a device");
	is_str(header(&sb, 11)->name, "work/.wh..wh..opq", "an opaque directory");
}

static char *long_path(size_t n, size_t slash_at)
{
	char *p = xmalloc(n + 1);
	memset(p, 'n', n);
	p[n] = '\0';
	if (slash_at)
		p[slash_at] = '/';
	return p;
}

static void lengths(size_t n, size_t slash_at, size_t want_blocks, const char *what)
{
	_cleanup_tree_ struct tree t = TREE_INIT;
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	_cleanup_free_ char *path = long_path(n, slash_at);
	add(&t, TREE_FIFO, path);
	write_tree(&t, NULL, &sb);
	is_int(sb.len / TAR_BLOCK, want_blocks + 2, what);

	_cleanup_error_ struct error err = ERROR_INIT;
	_cleanup_reader_ struct reader *in = reader_mem(sb.buf, sb.len);
	_cleanup_(tar_reader_freep) struct tar_reader *r = tar_reader_new(in, "t");
	struct tree_entry e;
	ok(tar_reader_next(r, &e, &err) == 1 && str_eq(e.path, path), "and comes back");
}

static void names(void)
{
	lengths(100, 0, 1, "100 bytes fit the name");
	lengths(101, 0, 3, "101 without a slash need pax");
	lengths(101, 50, 1, "101 with one are split");
	lengths(256, 155, 1, "155 and 100 are the most");
	lengths(257, 155, 3, "one more is too much");
	lengths(257, 156, 3, "on either side");
	lengths(5000, 155, 12, "and so on");
}

static void big(void)
{
	_cleanup_tree_ struct tree t = TREE_INIT;
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	_cleanup_free_ char *target = long_path(101, 0);
	struct tree_xattr xs[] = {
	        {"security.capability", (const uint8_t *)"\1\0\0\2\0\n=\0", 8},
	        {"user.a=b", (const uint8_t *)"", 0},
	};
	struct tree_entry e = {.path = "l",
	        .type = TREE_SYMLINK,
	        .link = target,
	        .uid = 2097152,
	        .gid = UINT32_MAX - 1,
	        .mtime_sec = -1,
	        .mtime_nsec = 5,
	        .xattrs = xs,
	        .n_xattrs = 2};
	tree_add(&t, &e);
	is_str(write_tree(&t, NULL, &sb),
	        "8ce424c7ab09838d92168a72435627c4f7d51cb0dc9cabe95bcdd4378e9248cc",
	        "golden archive of pax records");
	const char *want = "45 SCHILY.xattr.security.capability=\1\0\0\2\0\n=\0\n"
	                   "28 SCHILY.xattr.user.a%3Db=\n"
	                   "18 gid=4294967294\n";
	ok(memcmp(sb.buf + TAR_BLOCK, want, 45 + 28 + 18) == 0, "records in order");
	is_str(header(&sb, 0)->name, "PaxHeaders.0", "the header's name is constant");
	is_str(header(&sb, 2)->uid, "0000000", "a field that does not hold its value is 0");

	_cleanup_error_ struct error err = ERROR_INIT;
	_cleanup_reader_ struct reader *in = reader_mem(sb.buf, sb.len);
	_cleanup_(tar_reader_freep) struct tar_reader *r = tar_reader_new(in, "t");
	struct tree_entry b;
	ok(tar_reader_next(r, &b, &err) == 1, "reads back");
	ok(b.uid == 2097152 && b.gid == UINT32_MAX - 1 && b.mtime_sec == -1 && b.mtime_nsec == 0,
	        "numbers, whole seconds");
	ok(str_eq(b.link, target) && b.n_xattrs == 2 && str_eq(b.xattrs[1].name, "user.a=b") &&
	                b.xattrs[0].len == 8 && memcmp(b.xattrs[0].value, xs[0].value, 8) == 0,
	        "link and xattrs");
}

static void huge(void)
{
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	_cleanup_error_ struct error err = ERROR_INIT;
	_cleanup_sink_ struct sink *s = sink_strbuf(&sb, 1 << 20, "tar");
	struct tree_entry e = {.path = "f", .type = TREE_REG, .size = 8589934591ULL};
	ok(tar_write_entry(&e, s, &err) == 0 && sb.len == TAR_BLOCK, "8 GiB - 1 fits");
	e.size++;
	strbuf_reset(&sb);
	ok(tar_write_entry(&e, s, &err) == 0 && sb.len == 3 * TAR_BLOCK, "8 GiB does not");
	ok(memcmp(sb.buf + TAR_BLOCK, "19 size=8589934592\n", 19) == 0, "its record");
}

static void clamp(void)
{
	_cleanup_tree_ struct tree t = TREE_INIT;
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	const struct tar_write_options opt = {.clamp_mtime = true, .mtime_max = 1000};
	add(&t, TREE_FIFO, "a");
	add(&t, TREE_FIFO, "b")->mtime_sec = 999;
	write_tree(&t, &opt, &sb);
	is_str(header(&sb, 0)->mtime, "00000001750", "newer times are clamped");
	is_str(header(&sb, 1)->mtime, "00000001747", "older ones stay");
}

static void refused(const char *path, enum tree_type type, uint64_t size, enum err_class class,
        const char *part)
{
	_cleanup_tree_ struct tree t = TREE_INIT;
	_cleanup_error_ struct error err = ERROR_INIT;
	_cleanup_sink_ struct sink *s = sink_null();
	add(&t, type, path)->size = size;
	int r = tar_write_tree(&t, dirfd_, NULL, s, &err);
	ok(r < 0 && err.class == class && strstr(err.msg, part), part);
}

static void refusals(void)
{
	refused("etc/hello", TREE_REG, 5, ERR_INTEGRITY, "no longer has the 5 bytes");
	refused("etc/hello", TREE_REG, 7, ERR_INTEGRITY, "no longer has the 7 bytes");
	refused("nothing", TREE_REG, 7, ERR_SYSTEM, "cannot open nothing");
	refused("../tmp", TREE_REG, 7, ERR_SYSTEM, "cannot open ../tmp");
	refused("a/.wh.x", TREE_REG, 0, ERR_BUILD, "cannot be kept in a layer");
	refused(".wh..wh..opq", TREE_DIR, 0, ERR_BUILD, "cannot be kept in a layer");
	if (symlinkat("etc", dirfd_, "etc-link") == 0) {
		refused("etc-link/hello", TREE_REG, 6, ERR_SYSTEM, "cannot open etc-link/hello");
		unlinkat(dirfd_, "etc-link", 0);
	}
}

static void small_files(void)
{
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	_cleanup_error_ struct error err = ERROR_INIT;
	_cleanup_sink_ struct sink *s = sink_strbuf(&sb, 1 << 20, "tar");
	ok(tar_write_file("manifest.json", "[]", 2, 0644, 0, s, &err) == 0 &&
	                tar_write_end(s, &err) == 0,
	        "a file from memory");
	is_int(sb.len, 4 * TAR_BLOCK, "header, data, end");
	ok(memcmp(sb.buf + TAR_BLOCK, "[]\0", 3) == 0, "data and padding");
}

int main(void)
{
	make_dir();
	empty();
	plain();
	names();
	big();
	huge();
	clamp();
	refusals();
	small_files();
	remove_dir();
	return tap_done();
}
