/* tests/unit/layer/copy_fixture.h - sources and requests for the COPY tests. */
#ifndef STRAKE_TESTS_LAYER_COPY_FIXTURE_H
#define STRAKE_TESTS_LAYER_COPY_FIXTURE_H

#include "fixture.h"

/* A directory with its tree: a source, or a layer below. */
struct fx_layer {
	int fd;
	struct tree t;
};

UNUSED static void fx_layer_scan(struct fx_layer *l)
{
	struct error err = ERROR_INIT;
	tree_release(&l->t);
	if (layer_scan_upper(l->fd, NULL, NULL, NULL, &l->t, &err) < 0) {
		printf("Bail out! scan: %s\n", err.msg);
		exit(95);
	}
}

UNUSED static void fx_layer_release(struct fx_layer *l)
{
	close(l->fd);
	tree_release(&l->t);
}

#define FX_ITEMS 4
struct fx_copy {
	struct copy_request rq;
	struct copy_item items[FX_ITEMS];
	struct copy_entry *entries[FX_ITEMS];
	struct treeview view;
	const struct tree *trees[1];
	int fds[1];
	/* results */
	int fd, r;
	struct tree t;
	struct error err;
};

UNUSED static void fx_copy_begin(struct fx_copy *c, const struct fx_layer *lower, const char *dest)
{
	memset(c, 0, sizeof(*c));
	c->rq.dest = dest;
	c->rq.items = c->items;
	if (lower) {
		c->trees[0] = &lower->t;
		c->fds[0] = lower->fd;
		c->view = (struct treeview){c->trees, 1};
		c->rq.lower = &c->view;
		c->rq.lower_fds = c->fds;
	}
}

/* One source: the contents of a directory, or a single other entry. */
UNUSED static struct copy_item *fx_copy_add(
        struct fx_copy *c, const struct fx_layer *src, const char *path)
{
	struct copy_item *it = &c->items[c->rq.n_items];
	const struct tree_entry *e = *path ? tree_find(&src->t, path) : NULL;
	const char *slash = strrchr(path, '/');
	it->name = slash ? slash + 1 : path;
	it->shown = path;
	it->is_dir = !e || e->type == TREE_DIR;
	size_t from = 0, to = 1;
	if (it->is_dir)
		tree_subtree(&src->t, path, &from, &to);
	else
		from = (size_t)(e - src->t.entries), to = from + 1;
	it->n = to - from;
	it->entries = c->entries[c->rq.n_items] = calloc(it->n + 1, sizeof(*it->entries));
	for (size_t i = 0; i < it->n; i++) {
		const struct tree_entry *s = &src->t.entries[from + i];
		it->entries[i] = (struct copy_entry){
		        .e = s,
		        .rel = it->is_dir ? s->path + (*path ? strlen(path) + 1 : 0) : "",
		        .dirfd = src->fd,
		        .src = s->path,
		};
	}
	c->rq.n_items++;
	return it;
}

/* As a tar the layer is the same, and so is what is wrong with it. */
UNUSED static void fx_copy_as_tar(struct fx_copy *c)
{
	struct tree t = TREE_INIT;
	struct error err = ERROR_INIT, ignored = ERROR_INIT;
	struct digest got, said, want, got_tree, want_tree;
	uint64_t got_size, said_size, want_size;
	for (size_t i = 0; i < c->rq.n_items; i++)
		if (c->rq.items[i].archive)
			return;
	struct sink *s = sink_hash(NULL, &got, &got_size);
	int r = layer_copy_tar(&c->rq, s, &t, &said, &said_size, &err);
	ok(r == c->r, "a tar fails where a directory does");
	is_str(err.msg ? err.msg : "", c->err.msg ? c->err.msg : "", "... and for that reason");
	if (r == 0 && c->r == 0) {
		ok(sink_finish(s, &err) == 0, "the tar ends");
		ok(layer_diff_id(&c->t, c->fd, &want, &want_size, &ignored) == 0 &&
		                digest_eq(&got, &want) && got_size == want_size,
		        "the same tar");
		ok(digest_eq(&said, &got) && said_size == got_size, "and it knows which");
		tree_digest(&t, &got_tree);
		tree_digest(&c->t, &want_tree);
		ok(digest_eq(&got_tree, &want_tree), "and the same tree");
	}
	sink_free(s);
	tree_release(&t);
	error_release(&err);
	error_release(&ignored);
}

UNUSED static void fx_copy_run(struct fx_copy *c, struct pool *pool)
{
	static int n;
	char name[32];
	snprintf(name, sizeof(name), "out%d", n++);
	c->fd = fx_dir(name);
	c->r = layer_copy(&c->rq, pool, c->fd, &c->t, &c->err);
	fx_copy_as_tar(c);
}

UNUSED static void fx_copy_end(struct fx_copy *c)
{
	for (int i = 0; i < FX_ITEMS; i++)
		free(c->entries[i]);
	close(c->fd);
	tree_release(&c->t);
	error_release(&c->err);
}

#endif
