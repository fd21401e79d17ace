/* The tree: order, look-up, hard link repair, hash, manifest. */
#include "tree/tree.h"
#include "../tap.h"

static struct tree_entry reg(const char *path, uint64_t size)
{
	return (struct tree_entry){.path = path, .type = TREE_REG, .mode = 0644, .size = size};
}
static struct tree_entry link_to(const char *path, const char *to)
{
	return (struct tree_entry){.path = path, .type = TREE_HARDLINK, .link = to};
}
static void add_reg(struct tree *t, const char *path, uint64_t size)
{
	struct tree_entry e = reg(path, size);
	tree_add(t, &e);
}
static void add_dir(struct tree *t, const char *path)
{
	tree_add(t, &(struct tree_entry){.path = path, .type = TREE_DIR, .mode = 0755});
}
static const char *paths(const struct tree *t)
{
	static char buf[512];
	buf[0] = '\0';
	for (size_t i = 0; i < t->n; i++)
		snprintf(buf + strlen(buf), sizeof(buf) - strlen(buf), "%s%s", i ? "," : "",
		        t->entries[i].path);
	return buf;
}

static void order(void)
{
	_cleanup_tree_ struct tree t = TREE_INIT;
	add_reg(&t, "a.b", 1);
	add_reg(&t, "a/x", 1);
	add_reg(&t, "a\x01", 1);
	add_dir(&t, "a");
	add_dir(&t, "");
	add_reg(&t, "a/x", 7);
	add_reg(&t, "A", 1);
	add_dir(&t, "a/y");
	add_reg(&t, "a/y/z", 1);
	tree_sort(&t);
	is_str(paths(&t), ",A,a,a/x,a/y,a/y/z,a\x01,a.b",
	        "a subtree is contiguous; bytes otherwise");
	is_int(tree_find(&t, "a/x")->size, 7, "the last of equal paths wins");
	ok(!tree_find(&t, "a/") && !tree_find(&t, "b") && tree_find(&t, ""), "find");
	size_t from, to;
	tree_subtree(&t, "a", &from, &to);
	ok(from == 3 && to == 6, "subtree of a");
	tree_subtree(&t, "", &from, &to);
	ok(from == 1 && to == 8, "subtree of the root");
	tree_subtree(&t, "nothing", &from, &to);
	ok(from == to, "subtree of nothing");
	is_int(tree_total_size(&t), 11, "total size");
	ok(tree_path_below("a/b", "a") && tree_path_below("a", "") && !tree_path_below("a", "a") &&
	                !tree_path_below("ab", "a") && !tree_path_below("", ""),
	        "below");
}

static void links(void)
{
	_cleanup_tree_ struct tree t = TREE_INIT;
	struct tree_entry z = reg("z", 5);
	z.mode = 0600;
	z.has_digest = true;
	tree_add(&t, &z);
	struct tree_entry e = link_to("m", "z");
	tree_add(&t, &e);
	e = link_to("b", "m");
	tree_add(&t, &e);
	e = link_to("q", "nowhere");
	tree_add(&t, &e);
	e = link_to("c1", "c2");
	tree_add(&t, &e);
	e = link_to("c2", "c1");
	tree_add(&t, &e);
	tree_sort(&t);
	const struct tree_entry *b = tree_find(&t, "b"), *m = tree_find(&t, "m");
	ok(b->type == TREE_REG && b->size == 5 && b->mode == 0600 && b->has_digest && !b->link,
	        "the first path of a group holds the content");
	ok(m->type == TREE_HARDLINK && str_eq(m->link, "b") && m->mode == 0600 && m->size == 0,
	        "m");
	const struct tree_entry *zz = tree_find(&t, "z");
	ok(zz->type == TREE_HARDLINK && str_eq(zz->link, "b") && zz->size == 0 && !zz->has_digest,
	        "the old holder is a link now");
	is_str(tree_find(&t, "q")->link, "nowhere", "a dangling link stays");
	ok(tree_find(&t, "c1")->type == TREE_HARDLINK && tree_find(&t, "c2")->type == TREE_HARDLINK,
	        "a circle stays");
	struct digest d1, d2;
	tree_digest(&t, &d1);
	tree_sort(&t);
	tree_digest(&t, &d2);
	ok(digest_eq(&d1, &d2), "sorting again changes nothing");
}

static struct digest entry_digest(const struct tree_entry *e)
{
	struct sha256 h;
	struct digest d;
	sha256_init(&h);
	tree_entry_hash(&h, e, e->path);
	sha256_final(&h, &d);
	return d;
}

static void differs(
        const struct tree_entry *a, const struct tree_entry *b, bool want, const char *what)
{
	struct digest x = entry_digest(a), y = entry_digest(b);
	ok(digest_eq(&x, &y) != want, what);
}

static void hash(void)
{
	struct tree_entry a = reg("f", 3), b = a;
	b.mtime_sec = 99;
	b.mtime_nsec = 1;
	differs(&a, &b, false, "mtime does not count");
#define FIELD(set, what)                                                                           \
	do {                                                                                       \
		b = a;                                                                             \
		set;                                                                               \
		differs(&a, &b, true, what);                                                       \
	} while (0)
	FIELD(b.path = "g", "path counts");
	FIELD(b.mode = 0755, "mode counts");
	FIELD(b.uid = 1, "uid counts");
	FIELD(b.gid = 1, "gid counts");
	FIELD(b.size = 4, "size counts");
	FIELD(b.has_digest = true, "digest counts");
	FIELD((b.type = TREE_FIFO, b.size = 0), "type counts");
	struct tree_xattr cap = {"security.capability", (const uint8_t *)"x", 1};
	struct tree_xattr user = {"user.a", (const uint8_t *)"x", 1};
	struct tree_xattr selinux = {"security.selinux", (const uint8_t *)"x", 1};
	struct tree_xattr trusted = {"trusted.a", (const uint8_t *)"x", 1};
	FIELD((b.xattrs = &cap, b.n_xattrs = 1), "capabilities count");
	FIELD((b.xattrs = &user, b.n_xattrs = 1), "user xattrs count");
	b = a, b.xattrs = &selinux, b.n_xattrs = 1;
	differs(&a, &b, false, "selinux labels do not");
	b.xattrs = &trusted;
	differs(&a, &b, false, "trusted xattrs do not");
	a = (struct tree_entry){.path = "d", .type = TREE_CHR, .dev_major = 1, .dev_minor = 3};
	FIELD(b.dev_minor = 5, "device numbers count");
	a = (struct tree_entry){.path = "l", .type = TREE_SYMLINK, .link = "x", .mode = 0777};
	FIELD(b.link = "y", "link target counts");
	FIELD(b.type = TREE_HARDLINK, "hard is not symbolic");
	b = a, b.mode = 0;
	differs(&a, &b, false, "a symlink's mode does not count");
	a = (struct tree_entry){.path = "d", .type = TREE_DIR, .mode = 0755};
	FIELD(b.opaque = true, "opaque counts");
	FIELD(b.type = TREE_WHITEOUT, "a whiteout is something else");
}

static void fill(struct tree *t)
{
	struct tree_xattr xs[2] = {
	        {"user.b", (const uint8_t *)"\0\1", 2},
	        {"security.capability", (const uint8_t *)"", 0},
	};
	struct tree_entry e = {.path = "", .type = TREE_DIR, .mode = 0755};
	tree_add(t, &e);
	e = reg("usr/bin/x", 12345678901ULL);
	e.mode = 06755;
	e.uid = 4294967294U;
	e.gid = 7;
	e.mtime_sec = -5;
	e.mtime_nsec = 999999999;
	e.has_digest = true;
	memset(e.sha256.b, 0xab, sizeof(e.sha256.b));
	e.xattrs = xs;
	e.n_xattrs = 2;
	tree_add(t, &e);
	e = (struct tree_entry){.path = "usr", .type = TREE_DIR, .mode = 0755, .opaque = true};
	tree_add(t, &e);
	e = (struct tree_entry){
	        .path = "a\nb\xff", .type = TREE_SYMLINK, .mode = 0777, .link = "/"};
	tree_add(t, &e);
	e = (struct tree_entry){
	        .path = "dev", .type = TREE_BLK, .dev_major = 8, .dev_minor = 70000};
	tree_add(t, &e);
	e = (struct tree_entry){.path = "gone", .type = TREE_WHITEOUT};
	tree_add(t, &e);
	e = link_to("usr/bin/y", "usr/bin/x");
	tree_add(t, &e);
	tree_sort(t);
}

static void manifest(void)
{
	_cleanup_tree_ struct tree t = TREE_INIT, u = TREE_INIT;
	_cleanup_error_ struct error err = ERROR_INIT;
	_cleanup_free_ void *buf = NULL;
	size_t n;
	fill(&t);
	tree_encode(&t, &buf, &n);
	ok(tree_decode(buf, n, "m", &u, &err) == 0, "decodes");
	is_int(u.n, t.n, "all entries");
	const struct tree_entry *x = tree_find(&u, "usr/bin/x");
	ok(x && x->size == 12345678901ULL && x->mode == 06755 && x->uid == 4294967294U &&
	                x->gid == 7 && x->mtime_sec == -5 && x->mtime_nsec == 999999999,
	        "fields");
	ok(x->has_digest && x->sha256.b[31] == 0xab, "digest");
	ok(x->n_xattrs == 2 && str_eq(x->xattrs[0].name, "security.capability") &&
	                x->xattrs[1].len == 2 && x->xattrs[1].value[1] == 1,
	        "xattrs, sorted");
	ok(tree_find(&u, "usr")->opaque, "opaque");
	is_int(tree_find(&u, "dev")->dev_minor, 70000, "device");
	is_str(tree_find(&u, "a\nb\xff")->link, "/", "link of an odd name");
	struct digest d1, d2;
	char hex[DIGEST_HEX_MAX];
	tree_digest(&t, &d1);
	tree_digest(&u, &d2);
	ok(digest_eq(&d1, &d2), "same digest");
	/* Changing this constant changes every cache key: bump the version in tree_digest too. */
	is_str(digest_hex(&d1, hex),
	        "e66f4cd9b9f89f8c3e4e4f7b043f4f5b32dbcb7d82908ddb45d734a0344aba7f",
	        "golden tree digest");
	sha256_buf(buf, n, &d1);
	is_str(digest_hex(&d1, hex),
	        "77b8eaa1c72de44fb2aa2c1d6d80e3810f77c8b0e9786af96bd75fde6b319c3a",
	        "golden manifest");
	_cleanup_free_ void *again = NULL;
	size_t m;
	tree_encode(&u, &again, &m);
	ok(n == m && memcmp(buf, again, n) == 0, "encodes to the same bytes");
}

/* Any flipped byte and any truncation is refused by the checksum; behind a right checksum the
 * structure is still checked. */
static void damage(void)
{
	_cleanup_tree_ struct tree t = TREE_INIT;
	_cleanup_free_ unsigned char *buf = NULL;
	size_t n, accepted = 0, short_ok = 0;
	fill(&t);
	tree_encode(&t, (void **)&buf, &n);
	for (size_t i = 0; i < n; i++) {
		_cleanup_error_ struct error err = ERROR_INIT;
		_cleanup_tree_ struct tree u = TREE_INIT;
		buf[i] ^= 0x20;
		accepted += tree_decode(buf, n, "m", &u, &err) == 0;
		buf[i] ^= 0x20;
	}
	is_int(accepted, 0, "flipped bytes are refused");
	for (size_t i = 0; i < n; i++) {
		_cleanup_error_ struct error err = ERROR_INIT;
		_cleanup_tree_ struct tree u = TREE_INIT;
		short_ok += tree_decode(buf, i, "m", &u, &err) == 0;
	}
	is_int(short_ok, 0, "truncation is refused");
}

static void hostile(const struct tree *t, const char *what)
{
	_cleanup_error_ struct error err = ERROR_INIT;
	_cleanup_tree_ struct tree u = TREE_INIT;
	_cleanup_free_ void *buf = NULL;
	size_t n;
	tree_encode(t, &buf, &n);
	ok(tree_decode(buf, n, "m", &u, &err) < 0 && err.class == ERR_INTEGRITY, what);
}

static void structure(void)
{
	static const char *const bad[] = {"/a", "a/", "a//b", ".", "..", "a/../b", "a/./b"};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_tree_ struct tree t = TREE_INIT;
		add_reg(&t, bad[i], 0);
		hostile(&t, bad[i]);
	}
	/* Behind a neighbour that shares its beginning. */
	static const char *const follow[] = {"etc/conf.d/", "etc/conf.d//x", "etc/conf.d/./x",
	        "etc/conf.d/../x", "etc/conf.d/..", "etc/conf.d/.", "etc/conf.d/x/.."};
	for (size_t i = 0; i < ARRAY_SIZE(follow); i++) {
		_cleanup_tree_ struct tree n = TREE_INIT;
		add_dir(&n, "etc/conf.d");
		add_reg(&n, follow[i], 0);
		hostile(&n, follow[i]);
	}
	_cleanup_tree_ struct tree t = TREE_INIT;
	add_reg(&t, "b", 0);
	add_reg(&t, "a", 0);
	hostile(&t, "wrong order");
	_cleanup_tree_ struct tree d = TREE_INIT;
	add_reg(&d, "a", 0);
	add_reg(&d, "a", 0);
	hostile(&d, "a path twice");
	_cleanup_tree_ struct tree l = TREE_INIT;
	struct tree_entry e = link_to("a", "../x");
	tree_add(&l, &e);
	hostile(&l, "hard link out of the tree");
	_cleanup_tree_ struct tree s = TREE_INIT;
	e = (struct tree_entry){.path = "a", .type = TREE_SYMLINK};
	tree_add(&s, &e);
	hostile(&s, "symlink without target");
	_cleanup_tree_ struct tree y = TREE_INIT;
	e = (struct tree_entry){.path = "a", .type = (enum tree_type)99};
	tree_add(&y, &e);
	hostile(&y, "unknown type");
}

int main(void)
{
	order();
	links();
	hash();
	manifest();
	damage();
	structure();
	return tap_done();
}
