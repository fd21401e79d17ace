/* Hostile and plain layer tars: RELIABILITY T1-T4, T9, T10. A canary tree beside the layer
 * directory must come out of every case unchanged. */
#include "fixture.h"

static int canary;
static char *canary_before;

static char *canary_state(void)
{
	struct strbuf sb = STRBUF_INIT;
	char *l = fx_list(canary);
	struct stat st, dst;
	fstatat(canary, "secret", &st, 0);
	fstat(canary, &dst);
	strbuf_addf(&sb, "%s%lld %lld %o", l, (long long)st.st_mtim.tv_sec,
	        (long long)dst.st_mtim.tv_nsec, dst.st_mode);
	free(l);
	return strbuf_detach(&sb);
}

struct applied {
	int fd, r;
	struct tree t;
	struct error err;
};

static struct applied apply(struct fx_tar *tar, const char *name)
{
	struct applied a = {.fd = fx_dir(name), .err = ERROR_INIT};
	fx_tar_end(tar);
	struct reader *r = reader_mem(tar->sb.buf, tar->sb.len);
	a.r = layer_apply(r, "layer", a.fd, NULL, &a.t, &a.err);
	reader_free(r);
	strbuf_release(&tar->sb);
	char *now = canary_state();
	is_str(now, canary_before, "the canary is untouched");
	free(now);
	return a;
}

static void done(struct applied *a)
{
	close(a->fd);
	tree_release(&a->t);
	error_release(&a->err);
}

static void refused(struct fx_tar *tar, const char *name, const char *part, const char *what)
{
	struct applied a = apply(tar, name);
	fx_err(a.r, &a.err, ERR_INTEGRITY, part, what);
	done(&a);
}

static void gives(
        struct fx_tar *tar, const char *name, const char *disk, const char *tree, const char *what)
{
	struct applied a = apply(tar, name);
	fx_ok(a.r, &a.err, what);
	is_list(a.fd, disk, what);
	if (tree)
		is_tree(&a.t, tree, what);
	done(&a);
}

static void test_plain(void)
{
	struct fx_tar t = FX_TAR_INIT;
	fx_tar_dir(&t, "./", 0750);
	fx_tar_dir(&t, "etc/", 0755);
	fx_tar_raw(&t, '0', "etc/passwd", NULL, 0640, 7, 8, "hello", 0, 0);
	fx_tar_link(&t, "etc/link", "/passwd");
	fx_tar_hard(&t, "etc/alias", "etc/passwd");
	fx_tar_raw(&t, '6', "etc/pipe", NULL, 0600, 0, 0, NULL, 0, 0);
	fx_tar_raw(&t, '0', "bin/su", NULL, 04755, 5, 0, "x", 0, 0);
	struct applied a = apply(&t, "plain");
	fx_ok(a.r, &a.err, "a plain layer");
	is_list(a.fd,
	        "bin d 0755 0:0\n"
	        "bin/su f 4755 5:0 x\n"
	        "etc d 0755 0:0\n"
	        "etc/alias f 0640 7:8 hello\n"
	        "etc/link l -> /passwd\n"
	        "etc/passwd = etc/alias\n"
	        "etc/pipe p 0600 0:0\n",
	        "a plain layer on disk: a missing parent is 0755, set-uid survives the owner");
	is_tree(&a.t,
	        "/ d 0750 0:0\n"
	        "bin d 0755 0:0\n"
	        "bin/su f 4755 5:0 1 2d711642\n"
	        "etc d 0755 0:0\n"
	        "etc/alias f 0640 7:8 5 2cf24dba\n"
	        "etc/link l -> /passwd\n"
	        "etc/passwd = etc/alias\n"
	        "etc/pipe p 0600 0:0\n",
	        "its tree: digests, and a hard link that names an earlier entry");
	struct stat st;
	fstat(a.fd, &st);
	is_int(st.st_mode & 07777, 0750, "the root directory takes the mode of ./");
	fstatat(a.fd, "etc", &st, 0);
	is_int(st.st_mtim.tv_sec, 1000000000, "a directory keeps its time though filled later");
	struct digest d;
	uint64_t size;
	char hex[DIGEST_STR_MAX];
	fx_ok(layer_diff_id(&a.t, a.fd, &d, &size, &a.err), &a.err, "the layer has a diff id");
	ok(size > 0 && size % 512 == 0 && strlen(digest_str(&d, hex)) == 71, "of a real tar");
	done(&a);
}

static void test_names(void)
{
	struct fx_tar t = FX_TAR_INIT;
	fx_tar_file(&t, "../canary/x", "bad");
	refused(&t, "t1a", "leads out", "T1: ../x is refused");
	fx_tar_file(&t, "a/../../canary/x", "bad");
	refused(&t, "t1b", "leads out", "T1: a/../../x is refused");
	fx_tar_file(&t, "/abs/x", "in");
	fx_tar_file(&t, "a//b/./../c", "in");
	gives(&t, "t1c", "a d 0755 0:0\na/c f 0644 0:0 in\nabs d 0755 0:0\nabs/x f 0644 0:0 in\n",
	        NULL, "T1: absolute and unclean names land inside");
	fx_tar_link(&t, ".", "../canary");
	refused(&t, "t1d", "root", "T1: the root as a symlink is refused");
	fx_tar_file(&t, ".", "x");
	refused(&t, "t1e", "root", "T1: the root as a file is refused");
}

static void test_symlink_ancestors(void)
{
	struct fx_tar t = FX_TAR_INIT;
	fx_tar_link(&t, "up", "../../canary");
	fx_tar_file(&t, "up/x", "in");
	fx_tar_dir(&t, "up/d", 0700);
	fx_tar_raw(&t, '6', "up/p", NULL, 0600, 9, 9, NULL, 0, 0);
	fx_tar_pax(&t, "SCHILY.xattr.user.k", "v");
	fx_tar_file(&t, "up/y", "in");
	fx_tar_dir(&t, "up", 0700);
	gives(&t, "t2a",
	        "canary d 0755 0:0\n"
	        "canary/d d 0700 0:0\n"
	        "canary/p p 0600 9:9\n"
	        "canary/x f 0644 0:0 in\n"
	        "canary/y f 0644 0:0 in\n"
	        "up d 0700 0:0\n",
	        NULL,
	        "T2: a link that climbs is clamped at the root; a directory replaces the link");
	char abs[256];
	snprintf(abs, sizeof(abs), "%s/canary", fx_root);
	fx_tar_link(&t, "abs", abs);
	fx_tar_file(&t, "abs/secret", "overwritten");
	struct applied a = apply(&t, "t2b");
	fx_ok(a.r, &a.err, "T2: an absolute link is taken below the root");
	done(&a);
	fx_tar_link(&t, "l1", "l2");
	fx_tar_link(&t, "l2", "l1");
	fx_tar_file(&t, "l1/x", "x");
	refused(&t, "t2c", "symbolic links", "T2: a loop of links is refused");
	fx_tar_file(&t, "f", "x");
	fx_tar_file(&t, "f/x", "x");
	refused(&t, "t2d", "not a directory", "T2: a file as a parent is refused");
}

static void test_hardlinks(void)
{
	struct fx_tar t = FX_TAR_INIT;
	fx_tar_hard(&t, "a", "../canary/secret");
	refused(&t, "t3a", "leads out", "T3: a hard link out of the root");
	fx_tar_link(&t, "up", "../../canary");
	fx_tar_hard(&t, "a", "up/secret");
	refused(&t, "t3b", "not there", "T3: a hard link through a symlink stays inside");
	fx_tar_hard(&t, "a", "b");
	fx_tar_file(&t, "b", "x");
	refused(&t, "t3c", "not an earlier file", "T3: a forward hard link");
	fx_tar_file(&t, "a", "x");
	fx_tar_hard(&t, "a", "a");
	refused(&t, "t3d", "itself", "T3: a hard link to itself");
	fx_tar_dir(&t, "d", 0755);
	fx_tar_hard(&t, "a", "d");
	refused(&t, "t3e", "not an earlier file", "T3: a hard link to a directory");
	fx_tar_link(&t, "l", "/canary/secret");
	fx_tar_hard(&t, "a", "l");
	gives(&t, "t3f", "a l -> /canary/secret\nl = a\n", "a l -> /canary/secret\nl = a\n",
	        "T3: a hard link to a symlink is that symlink");
	fx_tar_file(&t, "b", "old");
	fx_tar_hard(&t, "c", "b");
	fx_tar_file(&t, "b", "new");
	gives(&t, "t3g", "b f 0644 0:0 new\nc f 0644 0:0 old\n",
	        "b f 0644 0:0 3 11507a0e\nc f 0644 0:0 3 cba06b57\n",
	        "T3: a link keeps its inode when the first name is replaced");
}

static void test_whiteouts(void)
{
	struct fx_tar t = FX_TAR_INIT;
	fx_tar_file(&t, "etc/.wh.gone", "");
	fx_tar_file(&t, "etc/kept", "x");
	fx_tar_dir(&t, "op", 0755);
	fx_tar_file(&t, "op/.wh..wh..opq", "");
	fx_tar_file(&t, "op/new", "x");
	fx_tar_file(&t, ".wh..wh.plnk", "");
	gives(&t, "t4a",
	        "etc d 0755 0:0\netc/gone whiteout\netc/kept f 0644 0:0 x\nop d 0755 0:0 opaque\n"
	        "op/new f 0644 0:0 x\n",
	        "etc d 0755 0:0\netc/gone whiteout\netc/kept f 0644 0:0 1 2d711642\n"
	        "op d 0755 0:0 opaque\nop/new f 0644 0:0 1 2d711642\n",
	        "T4: whiteouts take overlayfs' form");
	fx_tar_file(&t, "d/keep", "x");
	fx_tar_file(&t, ".wh.d", "");
	fx_tar_file(&t, "f", "x");
	fx_tar_file(&t, ".wh.f", "");
	fx_tar_file(&t, ".wh.later", "");
	fx_tar_file(&t, "later/x", "x");
	gives(&t, "t4b",
	        "d d 0755 0:0 opaque\nd/keep f 0644 0:0 x\nf f 0644 0:0 x\nlater d 0755 0:0 "
	        "opaque\n"
	        "later/x f 0644 0:0 x\n",
	        NULL, "T4: a whiteout hides lower layers only, in either order");
	fx_tar_file(&t, ".wh.", "");
	refused(&t, "t4c", "malformed", "T4: .wh.");
	fx_tar_file(&t, "a/.wh...", "");
	refused(&t, "t4d", "malformed", "T4: .wh...");
	fx_tar_file(&t, ".wh..", "");
	refused(&t, "t4e", "malformed", "T4: .wh..");
	fx_tar_file(&t, ".wh.d/x", "");
	refused(&t, "t4f", "whiteout", "T4: a file below a whiteout's name");
	fx_tar_link(&t, "etc", "../../canary");
	fx_tar_file(&t, "etc/.wh.secret", "");
	fx_tar_file(&t, "etc/.wh..wh..opq", "");
	gives(&t, "t4g",
	        "canary d 0755 0:0 opaque\ncanary/secret whiteout\netc l -> ../../canary\n", NULL,
	        "T4: whiteouts through a link stay inside");
}

static void test_metadata(void)
{
	struct fx_tar t = FX_TAR_INIT;
	fx_tar_pax(&t, "SCHILY.xattr.user.overlay.opaque", "y");
	fx_tar_dir(&t, "d", 0755);
	fx_tar_pax(&t, "SCHILY.xattr.trusted.overlay.opaque", "y");
	fx_tar_dir(&t, "e", 0755);
	fx_tar_pax(&t, "SCHILY.xattr.security.selinux", "ctx");
	fx_tar_file(&t, "f", "x");
	fx_tar_pax(&t, "SCHILY.xattr.user.note", "kept");
	fx_tar_file(&t, "g", "x");
	fx_tar_raw(&t, '3', "gone", NULL, 0600, 0, 0, NULL, 0, 0);
	fx_tar_raw(&t, '3', "null", NULL, 0666, 0, 0, NULL, 1, 3);
	struct applied a = apply(&t, "t9");
	fx_ok(a.r, &a.err, "T9: metadata by the policy table");
	const struct tree_entry *e = tree_find(&a.t, "d");
	ok(e && e->n_xattrs == 0 && !e->opaque, "T9: user.overlay.* is never taken from a layer");
	e = tree_find(&a.t, "e");
	ok(e && e->n_xattrs == 0, "T9: trusted.* is not taken");
	e = tree_find(&a.t, "f");
	ok(e && e->n_xattrs == 0, "T9: security.selinux is not taken");
	e = tree_find(&a.t, "g");
	ok(e && e->n_xattrs == 1 && str_eq(e->xattrs[0].name, "user.note"), "T9: user.* is");
	char p[256], v[16];
	snprintf(p, sizeof(p), "/proc/self/fd/%d/d", a.fd);
	ok(lgetxattr(p, "user.overlay.opaque", v, sizeof(v)) < 0, "T9: nor is it on disk");
	snprintf(p, sizeof(p), "/proc/self/fd/%d/g", a.fd);
	is_int(lgetxattr(p, "user.note", v, sizeof(v)), 4, "T9: user.note is on disk");
	e = tree_find(&a.t, "gone");
	ok(e && e->type == TREE_WHITEOUT, "T9: a device 0:0 is a whiteout, never a file");
	e = tree_find(&a.t, "null");
	ok(e && e->type == TREE_CHR && e->dev_major == 1 && e->dev_minor == 3, "T9: a device");
	done(&a);
}

static void test_duplicates(void)
{
	struct fx_tar t = FX_TAR_INIT;
	fx_tar_file(&t, "x", "one");
	fx_tar_dir(&t, "x", 0755);
	fx_tar_file(&t, "x/deep/y", "two");
	fx_tar_link(&t, "x", "../canary");
	fx_tar_file(&t, "x", "last");
	gives(&t, "t10a", "x f 0644 0:0 last\n", "x f 0644 0:0 4 3547cb11\n",
	        "T10: file, dir, symlink, file: the last wins");
	fx_tar_dir(&t, "d", 0700);
	fx_tar_file(&t, "d/f", "kept");
	fx_tar_dir(&t, "d", 0711);
	gives(&t, "t10b", "d d 0711 0:0\nd/f f 0644 0:0 kept\n", NULL,
	        "a directory over a directory keeps what is below and takes the attributes");
	fx_tar_dir(&t, "d", 0755);
	fx_tar_file(&t, "d/old", "x");
	fx_tar_file(&t, "d", "file");
	fx_tar_dir(&t, "d", 0755);
	fx_tar_file(&t, "d/new", "x");
	gives(&t, "t10c", "d d 0755 0:0\nd/new f 0644 0:0 x\n",
	        "d d 0755 0:0\nd/new f 0644 0:0 1 2d711642\n",
	        "nothing of a replaced directory comes back with its name");
}

static void test_limits(void)
{
	struct fx_tar t = FX_TAR_INIT;
	fx_tar_file(&t, "a", "12345678");
	fx_tar_end(&t);
	struct tree tree = TREE_INIT;
	struct error err = ERROR_INIT;
	struct layer_apply_options opt = {.max_bytes = 7};
	int fd = fx_dir("limit");
	struct reader *r = reader_mem(t.sb.buf, t.sb.len);
	fx_err(layer_apply(r, "layer", fd, &opt, &tree, &err), &err, ERR_INTEGRITY, "limit",
	        "T7: contents beyond the limit are refused");
	reader_free(r);
	strbuf_release(&t.sb);
	close(fd);
	/* a name deeper than any path may be long is one openat2 cannot take at once */
	struct strbuf deep = STRBUF_INIT;
	for (int i = 0; i < 40; i++)
		strbuf_addstr(&deep, "d/");
	strbuf_addstr(&deep, "f");
	t = FX_TAR_INIT;
	fx_tar_file(&t, deep.buf, "x");
	struct applied a = apply(&t, "deep");
	fx_ok(a.r, &a.err, "forty missing parents");
	is_int(a.t.n, 41, "all of them in the tree");
	done(&a);
	strbuf_release(&deep);
}

int main(void)
{
	fx_begin();
	canary = fx_dir("canary");
	fx_file(canary, "secret", "canary", 0600);
	canary_before = canary_state();
	test_plain();
	test_names();
	test_symlink_ancestors();
	test_hardlinks();
	test_whiteouts();
	test_metadata();
	test_duplicates();
	test_limits();
	free(canary_before);
	close(canary);
	return fx_end();
}
