/* The local context: selection rules (SEMANTICS 30-34, 42, 46, 49, 71, 80, 81), ignore rules (B7,
 * B8) and the stat cache (88, F14). */
#include "../layer/fixture.h"
#include "dockerfile/ignore.h"
#include "source/context.h"
#include "source/stat_cache.h"

static int root;
static char root_path[128];

struct sel {
	struct source_context *c;
	struct df_ignore *ig;
	struct strv words, excludes;
	struct source_select what;
	struct source_selection s;
	struct error err;
	int r;
};

static struct df_ignore *ignore_of(const char *text)
{
	struct error err = ERROR_INIT;
	struct df_ignore *ig = NULL;
	if (text && df_ignore_parse(text, strlen(text), ".dockerignore", &ig, &err) < 0)
		exit(90);
	return ig;
}

static struct source_context *open_context(const struct df_ignore *ig, int cache)
{
	struct source_context *c = NULL;
	struct error err = ERROR_INIT;
	struct source_context_options opt = {.name = "context", .ignore = ig, .cache_dirfd = cache};
	fx_ok(source_context_open(root_path, &opt, &c, &err), &err, "open the context");
	return c;
}

/* words and excludes: separated by blanks */
static struct sel run(const char *words, const char *excludes, bool parents, const char *ignore)
{
	struct sel x = {.ig = ignore_of(ignore)};
	x.c = open_context(x.ig, -1);
	strv_split(&x.words, words, " ");
	if (excludes)
		strv_split(&x.excludes, excludes, " ");
	x.what = (struct source_select){.patterns = &x.words,
	        .excludes = &x.excludes,
	        .parents = parents,
	        .unpack = -1,
	        .want_digests = true};
	x.r = source_context_select(x.c, &x.what, NULL, &x.s, &x.err);
	return x;
}

static void done(struct sel *x)
{
	source_selection_release(&x->s);
	source_context_free(x->c);
	df_ignore_free(x->ig);
	strv_release(&x->words);
	strv_release(&x->excludes);
	error_release(&x->err);
}

/* "name:" for a file, "name/:" for a directory's contents, then its entries; "!" an archive */
static char *shape(const struct source_selection *s)
{
	struct strbuf sb = STRBUF_INIT;
	for (size_t i = 0; i < s->n_items; i++) {
		const struct copy_item *it = &s->items[i];
		strbuf_addf(
		        &sb, "%s%s%s:", it->archive ? "!" : "", it->name, it->is_dir ? "/" : "");
		for (size_t j = 0; j < it->n; j++) {
			const struct tree_entry *e = it->entries[j].e;
			const char *rel = it->entries[j].rel;
			if (*rel)
				strbuf_addf(&sb, " %s", rel);
			if (e->type == TREE_DIR)
				strbuf_addstr(&sb, "/");
			if (e->type == TREE_SYMLINK)
				strbuf_addf(&sb, "->%s", e->link);
			if (e->type == TREE_HARDLINK)
				strbuf_addf(&sb, "=%s", e->link);
			if (e->uid || e->gid)
				strbuf_addstr(&sb, "(owner!)");
			if (e->type == TREE_REG && !e->has_digest)
				strbuf_addstr(&sb, "(no digest!)");
		}
		strbuf_addch(&sb, '\n');
	}
	return strbuf_detach(&sb);
}

static void takes(const char *words, const char *want, const char *what)
{
	struct sel x = run(words, NULL, false, NULL);
	fx_ok(x.r, &x.err, what);
	char *got = shape(&x.s);
	is_str(got, want, what);
	free(got);
	done(&x);
}

static void takes_but(const char *words, const char *excludes, bool parents, const char *ignore,
        const char *want, const char *what)
{
	struct sel x = run(words, excludes, parents, ignore);
	fx_ok(x.r, &x.err, what);
	char *got = shape(&x.s);
	is_str(got, want, what);
	free(got);
	done(&x);
}

static void misses(
        const char *words, const char *ignore, const char *msg, const char *hint, const char *what)
{
	struct sel x = run(words, NULL, false, ignore);
	ok(x.r < 0 && x.err.class == ERR_BUILD && strstr(x.err.msg, msg), what);
	if (x.r < 0 && !strstr(x.err.msg, msg))
		printf("#   %s\n", x.err.msg);
	if (hint && !ok(x.err.hint && strstr(x.err.hint, hint), "the hint says why"))
		printf("#   %s\n", str_or_empty(x.err.hint));
	done(&x);
}

static void make_context(void)
{
	root = fx_dir("ctx");
	snprintf(root_path, sizeof(root_path), "%s/ctx", fx_root);
	fx_file(root, "a.txt", "aaa", 0644);
	fx_file(root, "b.txt", "bbb", 0755);
	fx_file(root, ".hid", "hidden", 0644);
	fx_file(root, "arr[0].txt", "arr", 0644);
	mkdirat(root, "dir", 0755);
	fx_file(root, "dir/a.md", "md", 0644);
	fx_file(root, "dir/x.txt", "x", 0644);
	mkdirat(root, "dir/sub", 0755);
	fx_file(root, "dir/sub/y.txt", "y", 0644);
	fx_file(root, "dir/sub/z.md", "z", 0644);
	mkdirat(root, "dir2", 0755);
	fx_file(root, "dir2/only", "o", 0644);
	(void)!fchownat(root, "dir2/only", 55, 55, 0);
	mkdirat(root, "empty", 0755);
	mkdirat(root, "links", 0755);
	fx_file(root, "links/one", "same", 0644);
	ok(linkat(root, "links/one", root, "links/two", 0) == 0 &&
	                symlinkat("a.txt", root, "tolink") == 0 &&
	                symlinkat("dir", root, "todir") == 0 &&
	                symlinkat("/dir/sub", root, "abs") == 0 &&
	                symlinkat("../../../../etc/passwd", root, "climb") == 0 &&
	                symlinkat("/nowhere", root, "dangling") == 0 &&
	                symlinkat("../a.txt", root, "dir/inner") == 0 &&
	                symlinkat("loop", root, "loop") == 0,
	        "links");
	mknodat(root, "dir2/sock", S_IFSOCK | 0600, 0);
}

static void test_words(void)
{
	takes("a.txt", "a.txt:\n", "a file");
	takes("./dir/../a.txt", "a.txt:\n", "31: cleaned");
	takes("/../../a.txt", "a.txt:\n", "31: clamped to the root");
	takes("dir", "dir/: a.md inner->../a.txt sub/ sub/y.txt sub/z.md x.txt\n",
	        "30, 34: a directory's contents; a deeper link is a link");
	takes("dir/", "dir/: a.md inner->../a.txt sub/ sub/y.txt sub/z.md x.txt\n", "with a slash");
	takes("empty", "empty/:\n", "an empty directory");
	takes("dir2", "dir2/: only\n", "39, 42: owners are 0:0; a socket is left out");
	takes("links", "links/: one two=links/one\n", "42: hard links");
	takes("tolink", "tolink:\n", "34: a top-level link is followed, its name kept");
	takes("todir", "todir/: a.md inner->../a.txt sub/ sub/y.txt sub/z.md x.txt\n",
	        "34: to a directory");
	takes("todir/x.txt", "x.txt:\n", "through a link");
	takes("abs", "abs/: y.txt z.md\n", "B8: an absolute link is inside the root");
	takes("a.txt b.txt", "a.txt:\nb.txt:\n", "two words");
	misses("climb", NULL, "not found", NULL, "B8: a climbing link finds nothing of the host");
	misses("dangling", NULL, "not found", NULL, "a dangling link");
	misses("nope", NULL, "\"nope\": not found in the build context", NULL, "33: missing");
	misses("a.txt/x", NULL, "not found", NULL, "below a file");
	misses("loop", NULL, "symbolic links", NULL, "a loop");
}

static void test_wildcards(void)
{
	takes("*.txt", "a.txt:\narr[0].txt:\nb.txt:\n", "32: in the root only");
	takes("arr[[]0].txt", "arr[0].txt:\n", "32: an escaped bracket");
	takes("?.txt", "a.txt:\nb.txt:\n", "32: ?");
	takes("[a-a].txt", "a.txt:\n", "32: a class");
	takes("*hid", ".hid:\n", "32: * matches a leading dot");
	takes("d*/*.md", "a.md:\n", "32: * does not match a slash");
	takes("**/y.txt", "", "80: ** is * without --parents");
	takes("dir/**/y.txt", "y.txt:\n", "80: so it matches one level");
	takes("di?", "dir/: a.md inner->../a.txt sub/ sub/y.txt sub/z.md x.txt\n",
	        "32: a matched directory's contents");
	takes("none*", "", "33: a wildcard without a match is no error");
	takes("tol*", "tolink:\n", "34: a matched link is followed");
	misses("dangl*", NULL, "link to a file that is not", NULL, "a matched dangling link");
	misses("a[", NULL, "not a valid pattern", NULL, "a malformed pattern");
	struct sel x = run("dir/*.txt", NULL, false, NULL);
	fx_ok(x.r, &x.err, "a wildcard");
	ok(!x.s.dest_is_dir, "80: one match of a wildcard may become a file");
	done(&x);
	x = run("*.txt", NULL, false, NULL);
	ok(x.r == 0 && x.s.dest_is_dir, "30: several make a directory");
	done(&x);
}

static void test_excludes(void)
{
	takes_but("dir", "*.md", false, NULL,
	        "dir/: inner->../a.txt sub/ sub/y.txt sub/z.md x.txt\n",
	        "46, 49: --exclude is a .dockerignore pattern, below the source");
	takes_but("dir", "**/*.md", false, NULL, "dir/: inner->../a.txt sub/ sub/y.txt x.txt\n",
	        "46: everywhere");
	takes_but("dir", "sub !sub/z.md", false, NULL,
	        "dir/: a.md inner->../a.txt sub/ sub/z.md x.txt\n",
	        "46: what ! brings back brings its directory");
	takes_but("*.txt", "b*", false, NULL, "a.txt:\narr[0].txt:\n", "46: of top-level files");
	takes_but("dir a.txt", "sub inner a.*", false, NULL, "dir/: x.txt\n", "46: repeated");
}

static void test_parents(void)
{
	takes_but("dir/sub/y.txt a.txt", NULL, true, NULL,
	        "/: dir/ dir/sub/ dir/sub/y.txt\n/: a.txt\n",
	        "46: --parents keeps the directories");
	takes_but("dir/./sub/y.txt", NULL, true, NULL, "/: sub/ sub/y.txt\n", "46: from the pivot");
	takes_but("./dir/sub/./z.md", NULL, true, NULL, "/: z.md\n", "46: a deep pivot");
	takes_but("**/*.md", NULL, true, NULL, "/: dir/ dir/a.md dir/sub/ dir/sub/z.md\n",
	        "32: ** with --parents");
	takes_but(
	        "dir/**/*.txt", "dir/sub", true, NULL, "/: dir/ dir/x.txt\n", "46: and --exclude");
	takes_but("d*/sub", NULL, true, NULL, "/: dir/ dir/sub/ dir/sub/y.txt dir/sub/z.md\n",
	        "46: a matched directory comes whole");
	takes_but("none/*", NULL, true, NULL, "", "33: no match");
	struct sel x = run("no/such", NULL, true, NULL);
	fx_err(x.r, &x.err, ERR_BUILD, "not found", "33: a missing literal");
	done(&x);
}

static void test_ignore(void)
{
	takes_but("dir", NULL, false, "*.md\n",
	        "dir/: a.md inner->../a.txt sub/ sub/y.txt sub/z.md x.txt\n",
	        "49: *.md matches in the root only");
	takes_but("dir", NULL, false, "**/*.md\n", "dir/: inner->../a.txt sub/ sub/y.txt x.txt\n",
	        "49: **/*.md everywhere");
	takes_but(".", NULL, false, "*\n!dir/sub/y.txt\n", "/: dir/ dir/sub/ dir/sub/y.txt\n",
	        "81: ! brings paths back with their parents");
	takes_but("dir", NULL, false, "dir\n", "dir/:\n", "81: a hidden directory is empty");
	takes_but("di*", NULL, false, "dir\n", "dir2/: only\n", "a wildcard does not see it");
	misses("dir/x.txt", "a.txt\ndir\n", "not found", ".dockerignore:2 (dir)",
	        "33: a hidden file names the line");
	misses("a.txt", "a.txt\n", "not found", ".dockerignore:1 (a.txt)", "33: directly hidden");
	misses("dir2/../dir/x.txt", "dir\n", "not found", ".dockerignore:1", "B7: by a detour");
	misses("todir/x.txt", "dir\n", "not found", ".dockerignore:1", "B7: through a link");
	misses("tolink", "a.txt\n", "not found", ".dockerignore:1", "B7: a link to a hidden file");
	takes_but("todir", NULL, false, "dir\n!dir/x.txt\n", "todir/: x.txt\n",
	        "B7: a link to a hidden directory shows what it would");
	/* an ignored file that cannot be opened without harm is not: a fifo would block */
	mknodat(root, "fifo", S_IFIFO | 0644, 0);
	takes_but("f*", NULL, false, "fifo\n", "", "an ignored fifo");
	unlinkat(root, "fifo", 0);
}

static struct digest key_of(const char *words)
{
	struct sel x = run(words, NULL, false, NULL);
	struct digest d = x.s.key;
	ok(x.r == 0, "select");
	done(&x);
	return d;
}

static void test_key(void)
{
	struct digest k = key_of("dir"), k2;
	struct timespec ts[2] = {{.tv_sec = 5}, {.tv_sec = 5}};
	utimensat(root, "dir/x.txt", ts, 0);
	k2 = key_of("dir");
	ok(digest_eq(&k, &k2), "71: mtime does not count");
	(void)!fchownat(root, "dir/x.txt", 77, 77, 0);
	k2 = key_of("dir");
	ok(digest_eq(&k, &k2), "39: nor does the owner");
	fchmodat(root, "dir", 0700, 0);
	k2 = key_of("dir");
	ok(digest_eq(&k, &k2), "nor the mode of the directory whose contents are taken");
	fchmodat(root, "dir", 0755, 0);
	k2 = key_of("dir2");
	ok(!digest_eq(&k, &k2), "other files are another key");
	ok(renameat(root, "dir", root, "moved") == 0, "rename");
	k2 = key_of("moved");
	ok(!digest_eq(&k, &k2), "the name of the source counts (it can be the destination's)");
	ok(renameat(root, "moved", root, "dir") == 0, "rename back");
	fchmodat(root, "dir/x.txt", 0600, 0);
	k2 = key_of("dir");
	ok(!digest_eq(&k, &k2), "71: a mode counts");
	fx_file(root, "dir/x.txt", "x", 0644);
	k2 = key_of("dir");
	ok(digest_eq(&k, &k2), "back again");
	fx_file(root, "dir/x.txt", "X", 0644);
	k2 = key_of("dir");
	ok(!digest_eq(&k, &k2), "71: content counts");
	fx_file(root, "dir/x.txt", "x", 0644);
	char p[256];
	snprintf(p, sizeof(p), "%s/dir/x.txt", root_path);
	ok(setxattr(p, "user.k", "v", 1, 0) == 0, "an attribute");
	k2 = key_of("dir");
	ok(!digest_eq(&k, &k2), "71: counts");
	removexattr(p, "user.k");
	snprintf(p, sizeof(p), "%s/dir/sub", root_path);
	ok(setxattr(p, "user.k", "v", 1, 0) == 0, "one of a directory");
	k2 = key_of("dir");
	ok(!digest_eq(&k, &k2), "too");
	removexattr(p, "user.k");
	unlinkat(root, "links/two", 0);
	fx_file(root, "links/two", "same", 0644);
	takes("links", "links/: one two\n", "equal files are no hard links");
}

/* --- copying what was selected --------------------------------------------------------------- */

static void test_copy(void)
{
	struct sel x = run("dir tolink", NULL, false, NULL);
	struct copy_request rq = {.items = x.s.items,
	        .n_items = x.s.n_items,
	        .dest = "/out",
	        .dest_is_dir = x.s.dest_is_dir};
	struct tree t = TREE_INIT;
	struct pool *p = pool_new(2);
	int fd = fx_dir("copied");
	fx_ok(layer_copy(&rq, p, fd, &t, &x.err), &x.err, "copy the selection");
	is_list(fd,
	        "out d 0755 0:0\nout/a.md f 0644 0:0 md\nout/inner l -> ../a.txt\n"
	        "out/sub d 0755 0:0\nout/sub/y.txt f 0644 0:0 y\nout/sub/z.md f 0644 0:0 z\n"
	        "out/tolink f 0644 0:0 aaa\nout/x.txt f 0644 0:0 x\n",
	        "30, 34, 39: as COPY lays them out");
	pool_free(p);
	tree_release(&t);
	close(fd);
	done(&x);
}

static void test_archive(void)
{
	struct fx_tar t = FX_TAR_INIT;
	fx_tar_file(&t, "in", "x");
	fx_tar_end(&t);
	int fd = openat(root, "t.data", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	ok(write(fd, t.sb.buf, t.sb.len) == (ssize_t)t.sb.len, "an archive");
	close(fd);
	strbuf_release(&t.sb);
	for (int unpack = -1; unpack <= 1; unpack++) {
		struct sel x = run("a.txt", NULL, false, NULL);
		source_selection_release(&x.s);
		strv_add(&x.words, "t.data");
		x.what.patterns = &x.words; /* x has moved */
		x.what.excludes = NULL;
		x.what.is_add = true;
		x.what.unpack = unpack;
		fx_ok(source_context_select(x.c, &x.what, NULL, &x.s, &x.err), &x.err, "43: ADD");
		char *got = shape(&x.s);
		is_str(got, unpack ? "a.txt:\n!t.data:\n" : "a.txt:\nt.data:\n",
		        "43: an archive by content, unless --unpack=false");
		free(got);
		done(&x);
	}
	takes("t.data", "t.data:\n", "43: never for COPY");
	unlinkat(root, "t.data", 0);
}

/* --- the stat cache -------------------------------------------------------------------------- */

static struct stat_key key_at(int64_t t)
{
	return (struct stat_key){.dev = 1, .ino = 2, .size = 3, .mtime_ns = t, .ctime_ns = t};
}

static bool cached(struct stat_cache *c, const struct stat_key *k)
{
	struct digest d;
	const void *x;
	size_t n;
	return stat_cache_get(c, k, &d, &x, &n);
}

static void test_stat_cache_rules(void)
{
	int dir = fx_dir("cache1");
	struct digest d;
	const int64_t s = 1000000000;
	struct stat_key k = key_at(100 * s), other;
	sha256_buf("x", 1, &d);
	struct stat_cache *c = stat_cache_open(dir, root);
	stat_cache_put(c, &k, 200 * s, &d, "attr", 4);
	stat_cache_close(c);
	c = stat_cache_open(dir, root);
	ok(cached(c, &k), "what was put is there after reopening");
	const void *x;
	size_t n;
	struct digest got;
	ok(stat_cache_get(c, &k, &got, &x, &n) && digest_eq(&got, &d) && n == 4 &&
	                memcmp(x, "attr", 4) == 0,
	        "with digest and attributes");
	other = k, other.ctime_ns++;
	ok(!cached(c, &other), "88: another ctime");
	other = k, other.mtime_ns--;
	ok(!cached(c, &other), "another mtime");
	other = k, other.size++;
	ok(!cached(c, &other), "another size");
	other = k, other.ino++;
	ok(!cached(c, &other), "88: another inode");
	other = k, other.dev++;
	ok(!cached(c, &other), "another device");
	stat_cache_close(c);

	dir = fx_dir("cache2");
	c = stat_cache_open(dir, root);
	stat_cache_put(c, &k, k.ctime_ns, &d, NULL, 0);
	stat_cache_put(c, &k, k.ctime_ns + 1000000, &d, NULL, 0);
	stat_cache_put(c, &k, k.ctime_ns - 50 * s, &d, NULL, 0);
	stat_cache_close(c);
	c = stat_cache_open(dir, root);
	ok(!cached(c, &k), "88, F14: racy files and files of the future are not remembered");
	stat_cache_close(c);
	is_list(dir, "", "and nothing is written for nothing");
}

static void test_stat_cache_damage(void)
{
	int dir = fx_dir("cache3");
	struct digest d;
	const int64_t s = 1000000000;
	sha256_buf("x", 1, &d);
	struct stat_cache *c = stat_cache_open(dir, root);
	for (uint64_t i = 1; i <= 20; i++) {
		struct stat_key k = key_at(100 * s);
		k.ino = i;
		stat_cache_put(c, &k, 200 * s, &d, "attr", 4);
	}
	stat_cache_close(c);
	struct strv names = STRV_INIT;
	fx_walk(dir, "", &names);
	is_int(names.n, 1, "one file");
	char *good;
	size_t n;
	if (sys_read_file(dir, names.v[0], 1 << 20, &good, &n) < 0)
		exit(89);
	int wrong = 0, lost = 0;
	for (size_t at = 0; at < n; at++) {
		char *bad = xmemdup(good, n);
		bad[at] ^= 0x41;
		if (sys_write_file_atomic(dir, names.v[0], bad, n, 0600) < 0)
			exit(88);
		free(bad);
		c = stat_cache_open(dir, root);
		for (uint64_t i = 1; i <= 20; i++) {
			struct stat_key k = key_at(100 * s);
			struct digest got;
			const void *x;
			size_t len;
			k.ino = i;
			if (!stat_cache_get(c, &k, &got, &x, &len))
				lost++;
			else if (!digest_eq(&got, &d) || len != 4 || memcmp(x, "attr", 4) != 0)
				wrong++;
		}
		stat_cache_close(c);
	}
	is_int(wrong, 0, "F7: a flipped bit anywhere never gives a wrong answer");
	ok(lost > 0, "but loses what it hit");
	for (size_t len = 0; len < n; len += 7) {
		if (sys_write_file_atomic(dir, names.v[0], good, len, 0600) < 0)
			exit(87);
		c = stat_cache_open(dir, root);
		struct stat_key k = key_at(100 * s);
		if (cached(c, &k))
			wrong++;
		stat_cache_close(c);
	}
	is_int(wrong, 0, "F7: a truncated file is ignored");
	free(good);
	strv_release(&names);
}

/* Selects "." with a cache; the digest of `path` in the result. */
static struct digest digest_with_cache(int cache, const char *path)
{
	struct source_context *c = open_context(NULL, cache);
	struct strv words = STRV_INIT;
	struct source_selection s;
	struct error err = ERROR_INIT;
	strv_add(&words, ".");
	struct source_select what = {.patterns = &words, .want_digests = true};
	unlinkat(root, "loop", 0);
	fx_ok(source_context_select(c, &what, NULL, &s, &err), &err, "select everything");
	struct tree files;
	source_selection_files(&s, &files);
	const struct tree_entry *e = tree_find(&files, path);
	struct digest d = {0};
	if (ok(e && e->has_digest, "the file has a digest"))
		d = e->sha256;
	tree_release(&files);
	source_selection_release(&s);
	source_context_free(c);
	strv_release(&words);
	return d;
}

static void test_cache_used(void)
{
	int cache = fx_dir("cache4");
	struct digest d1, d2, want;
	fx_file(root, "a.txt", "first!", 0644);
	char p[256];
	snprintf(p, sizeof(p), "%s/a.txt", root_path);
	ok(setxattr(p, "user.note", "kept", 4, 0) == 0, "an attribute");
	usleep(100000); /* beyond the racy margin of a local file system */
	d1 = digest_with_cache(cache, "a.txt");
	sha256_buf("first!", 6, &want);
	ok(digest_eq(&d1, &want), "hashed");
	char *l = fx_list(cache);
	ok(strncmp(l, "stat-", 5) == 0, "a cache file is written");
	free(l);
	/* Poison the cache: if the answer comes from it, the poison shows. */
	struct stat st;
	fstatat(root, "a.txt", &st, 0);
	struct stat_key k = stat_key_of(&st);
	struct stat_cache *c = stat_cache_open(cache, root);
	struct digest poison;
	sha256_buf("poison", 6, &poison);
	stat_cache_put(c, &k, stat_cache_now() + 10000000000ll, &poison, NULL, 0);
	stat_cache_close(c);
	d2 = digest_with_cache(cache, "a.txt");
	ok(digest_eq(&d2, &poison), "an unchanged file is not read");
	/* same size, mtime restored: only the ctime tells */
	struct timespec ts[2] = {st.st_atim, st.st_mtim};
	int fd = openat(root, "a.txt", O_WRONLY | O_CLOEXEC);
	ok(write(fd, "second", 6) == 6, "rewrite");
	futimens(fd, ts);
	close(fd);
	d2 = digest_with_cache(cache, "a.txt");
	sha256_buf("second", 6, &want);
	ok(digest_eq(&d2, &want), "88: same size and date is not unchanged");
	/* replaced by another inode */
	fx_file(root, "new", "third!", 0644);
	utimensat(root, "new", ts, 0);
	ok(renameat(root, "new", root, "a.txt") == 0, "replace");
	d2 = digest_with_cache(cache, "a.txt");
	sha256_buf("third!", 6, &want);
	ok(digest_eq(&d2, &want), "88: a renamed file of the same size and date");
}

int main(void)
{
	fx_begin();
	make_context();
	test_words();
	test_wildcards();
	test_excludes();
	test_parents();
	test_ignore();
	test_key();
	test_copy();
	test_archive();
	test_stat_cache_rules();
	test_stat_cache_damage();
	test_cache_used();
	return fx_end();
}
