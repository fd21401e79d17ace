/* The merged view: whiteouts, opaque directories, links; the same stack through look-up, resolve
 * and list. */
#include "tree/view.h"
#include "base/strbuf.h"
#include "../tap.h"

static void add(struct tree *t, enum tree_type type, const char *path, const char *link)
{
	tree_add(t, &(struct tree_entry){.path = path, .type = type, .mode = 0755, .link = link});
}

static struct tree l0, l1, l2;
static const struct tree *const stack[] = {&l0, &l1, &l2};
static const struct treeview view = {stack, 3};

static void make(void)
{
	add(&l0, TREE_DIR, "etc", NULL);
	add(&l0, TREE_REG, "etc/a", NULL);
	add(&l0, TREE_REG, "etc/b", NULL);
	add(&l0, TREE_DIR, "opt", NULL);
	add(&l0, TREE_REG, "opt/old", NULL);
	add(&l0, TREE_DIR, "opt/sub", NULL);
	add(&l0, TREE_REG, "opt/sub/x", NULL);
	add(&l0, TREE_DIR, "dirfile", NULL);
	add(&l0, TREE_REG, "dirfile/in", NULL);
	add(&l0, TREE_DIR, "usr", NULL);
	add(&l0, TREE_DIR, "usr/lib", NULL);
	add(&l0, TREE_REG, "usr/lib/libc", NULL);
	add(&l0, TREE_SYMLINK, "lib", "usr/lib");
	add(&l0, TREE_SYMLINK, "up", "../../../usr");
	add(&l0, TREE_SYMLINK, "loop", "loop");
	add(&l0, TREE_SYMLINK, "dangling", "/no/where");
	tree_sort(&l0);

	add(&l1, TREE_DIR, "etc", NULL);
	add(&l1, TREE_WHITEOUT, "etc/a", NULL);
	add(&l1, TREE_REG, "etc/c", NULL);
	add(&l1, TREE_HARDLINK, "etc/d", "etc/c");
	tree_add(&l1, &(struct tree_entry){
	                      .path = "opt", .type = TREE_DIR, .mode = 0700, .opaque = true});
	add(&l1, TREE_REG, "opt/new", NULL);
	add(&l1, TREE_REG, "dirfile", NULL);
	tree_sort(&l1);

	add(&l2, TREE_DIR, "etc", NULL);
	add(&l2, TREE_REG, "etc/a", NULL);
	add(&l2, TREE_WHITEOUT, "etc/b", NULL);
	add(&l2, TREE_DIR, "opt", NULL);
	add(&l2, TREE_REG, "opt/sub", NULL);
	add(&l2, TREE_DIR, "dirfile", NULL);
	add(&l2, TREE_REG, "dirfile/again", NULL);
	tree_sort(&l2);
}

static int at(const char *path)
{
	struct view_hit h;
	return view_lookup(&view, path, &h) ? (int)h.layer : -1;
}

static void lookup(void)
{
	is_int(at("etc/a"), 2, "deleted in 1, made again in 2");
	is_int(at("etc/b"), -1, "whiteout at the top");
	is_int(at("etc/c"), 1, "from the middle");
	is_int(at("etc"), 2, "the highest directory gives the attributes");
	is_int(at("opt/old"), -1, "below an opaque directory");
	is_int(at("opt/sub/x"), -1, "below a file over a hidden directory");
	is_int(at("opt/sub"), 2, "file above");
	is_int(at("opt/new"), 1, "in the opaque directory's own layer");
	is_int(at("dirfile/in"), -1, "a file in between cuts the older directory off");
	is_int(at("dirfile/again"), 2, "the new directory's own");
	is_int(at("lib/libc"), -1, "no links are followed");
	is_int(at("usr/lib/libc"), 0, "from the bottom");
	is_int(at(""), 0, "the root always exists");
	struct view_hit h;
	ok(view_lookup(&view, "etc/d", &h) && h.entry->type == TREE_HARDLINK, "hard link");
	is_str(view_content(&view, &h)->path, "etc/c", "and its content");
	struct treeview none = {NULL, 0};
	ok(view_lookup(&none, "", &h) && h.entry->type == TREE_DIR && h.entry->mode == 0755,
	        "an empty stack has a root");
	ok(!view_lookup(&none, "a", &h), "and nothing else");
}

static void resolves(const char *path, bool follow, int want, const char *want_path)
{
	_cleanup_error_ struct error err = ERROR_INIT;
	_cleanup_free_ char *got = NULL;
	struct view_hit h;
	int r = view_resolve(&view, path, follow, &got, &h, &err);
	ok(r == want, path);
	if (r >= 0)
		is_str(got, want_path, path);
}

static void resolve(void)
{
	resolves("/lib/libc", true, 1, "usr/lib/libc");
	resolves("lib", true, 1, "usr/lib");
	resolves("lib", false, 1, "lib");
	resolves("up/lib/../lib/libc", true, 1, "usr/lib/libc");
	resolves("../../etc//./c/", true, 1, "etc/c");
	resolves("/", true, 1, "");
	resolves("dangling", true, 0, "no/where");
	resolves("dangling/x/../y", true, 0, "no/where/y");
	resolves("new/dir/file", true, 0, "new/dir/file");
	resolves("new/../etc/c", true, 1, "etc/c");
	resolves("loop", true, -1, NULL);
	resolves("loop", false, 1, "loop");
	resolves("etc/c/x", true, -1, NULL);
	resolves("etc/b/x", true, 0, "etc/b/x");
	_cleanup_error_ struct error err = ERROR_INIT;
	_cleanup_free_ char *got = NULL;
	struct view_hit h;
	int r = view_resolve(&view, "loop/x", true, &got, &h, &err);
	ok(r < 0 && strstr(err.msg, "too many levels"), "a loop says so");
	error_release(&err);
	r = view_resolve(&view, "etc/c/x", true, &got, &h, &err);
	ok(r < 0 && strstr(err.msg, "/etc/c is not a directory"), "a file in the middle says so");
}

static int collect(void *ctx, const struct view_hit *h)
{
	strbuf_addf(ctx, "%s:%zu ", h->entry->path, h->layer);
	return 0;
}

static void lists(const char *dir, bool recursive, const char *want, const char *what)
{
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	is_int(view_list(&view, dir, recursive, collect, &sb), 0, what);
	is_str(sb.buf, want, what);
}

static int stop(void *ctx, const struct view_hit *h)
{
	return ++*(int *)ctx == 2 ? 42 : 0;
}

static void list(void)
{
	lists("", true,
	        "dangling:0 dirfile:2 dirfile/again:2 etc:2 etc/a:2 etc/c:1 etc/d:1 lib:0 loop:0 "
	        "opt:2 opt/new:1 opt/sub:2 up:0 usr:0 usr/lib:0 usr/lib/libc:0 ",
	        "everything");
	lists("", false, "dangling:0 dirfile:2 etc:2 lib:0 loop:0 opt:2 up:0 usr:0 ",
	        "the root alone");
	lists("etc", true, "etc/a:2 etc/c:1 etc/d:1 ", "etc");
	lists("opt", true, "opt/new:1 opt/sub:2 ", "opt");
	lists("opt/sub", true, "", "a file has nothing below");
	lists("usr", false, "usr/lib:0 ", "direct children");
	lists("nowhere", true, "", "nothing");
	int n = 0;
	is_int(view_list(&view, "", true, stop, &n), 42, "the callback stops it");
	is_int(n, 2, "at once");
}

int main(void)
{
	make();
	lookup();
	resolve();
	list();
	tree_release(&l0);
	tree_release(&l1);
	tree_release(&l2);
	return tap_done();
}
