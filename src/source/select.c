/* source/select.c - which files a COPY or ADD takes, under which names, and their key.
 *
 * SEMANTICS 30-34, 46, 70, 71, 80, 81. Only what the words name is looked at: a word without
 * wildcards costs a look-up a component, a wildcard lists the directories it can match in. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "source/select.h"
#include "sys/path.h"

/* One selected entry while it is collected. */
struct pick {
	struct select_hit hit;
	const char *rel; /* part of hit.e->path */
	size_t link_to;  /* SIZE_MAX, or the pick of the same item whose content it shares */
};

struct draft {
	const char *name, *shown;
	bool is_dir, archive;
	struct pick *v;
	size_t n, cap;
	bool has_links;
};

struct selecting {
	struct select_fs *fs;
	const struct source_select *what;
	struct source_selection *ret;
	struct df_ignore *excludes;
	struct draft *items;
	size_t n, cap;
	struct error *err;
};

/* --- paths ----------------------------------------------------------------------------------- */

/* A source word below the root: cleaned, ".." clamped, no slash at either end (SEMANTICS 31). */
static char *clean_word(const char *word)
{
	_cleanup_strbuf_ struct strbuf rooted = STRBUF_INIT;
	strbuf_addf(&rooted, "/%s", word);
	_cleanup_free_ char *clean = df_clean_path(rooted.buf);
	return xstrdup(clean + strspn(clean, "/"));
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

static const char *below(const char *path, const char *dir)
{
	return *dir ? path + strlen(dir) + 1 : path;
}

static int not_found(struct selecting *s, const char *shown, int line)
{
	err_set(s->err, ERR_BUILD, "\"%s\": not found in the %s", shown, s->fs->what);
	if (line) {
		const char *pattern = df_ignore_pattern(s->fs->ignore, line);
		return err_hint(s->err, "it is excluded by %s:%d (%s)",
		        df_ignore_name(s->fs->ignore), line, str_or_empty(pattern));
	}
	return -1;
}

/* --- collecting ------------------------------------------------------------------------------ */

static struct draft *new_item(struct selecting *s, const char *name, const char *shown, bool is_dir)
{
	vec_grow(&s->items, &s->cap, s->n + 1);
	s->items[s->n] = (struct draft){
	        .name = arena_strdup(&s->ret->arena, name),
	        .shown = arena_strdup(&s->ret->arena, shown),
	        .is_dir = is_dir,
	};
	return &s->items[s->n++];
}

static void pick(struct draft *d, const struct select_hit *hit, const char *rel)
{
	vec_grow(&d->v, &d->cap, d->n + 1);
	d->v[d->n++] = (struct pick){*hit, rel, SIZE_MAX};
	/* A context file of several names says so itself; in a layer the further names do. */
	if (hit->e->type == TREE_HARDLINK || (hit->node && hit->group[0]))
		d->has_links = true;
}

/* Filling one item from a listing: excludes, the pattern of --parents, and the directories that
 * were passed over but are needed as parents of something that is taken. */
struct collect {
	struct selecting *s;
	struct draft *d;
	const char *base;        /* rel is below it */
	const char *pattern;     /* --parents; NULL: everything */
	const char *matched;     /* the directory that matched: all below it is in */
	struct select_hit *open; /* directories on the way here that are not picked (yet) */
	size_t n_open, cap_open;
	bool malformed;
};

static bool wanted(struct collect *c, const struct tree_entry *e, const char *rel)
{
	if (c->s->excludes && df_ignore_match(c->s->excludes, rel, NULL))
		return false;
	if (!c->pattern || (c->matched && tree_path_below(e->path, c->matched)))
		return true;
	int m = df_match_double_star(c->pattern, rel);
	if (m < 0)
		c->malformed = true;
	if (m <= 0)
		return false;
	c->matched = e->path;
	return true;
}

static int collect_hit(void *ctx, const struct select_hit *hit)
{
	struct collect *c = ctx;
	const struct tree_entry *e = hit->e;
	const char *rel = below(e->path, c->base);
	while (c->n_open && !tree_path_below(e->path, c->open[c->n_open - 1].e->path))
		c->n_open--;
	if (e->type == TREE_SOCK)
		return 0;
	if (wanted(c, e, rel)) {
		for (size_t i = 0; i < c->n_open; i++)
			pick(c->d, &c->open[i], below(c->open[i].e->path, c->base));
		c->n_open = 0;
		pick(c->d, hit, rel);
	} else if (e->type == TREE_DIR) {
		vec_grow(&c->open, &c->cap_open, c->n_open + 1);
		c->open[c->n_open++] = *hit;
	}
	return c->malformed;
}

static int malformed(struct selecting *s, const char *pattern)
{
	return err_set(s->err, ERR_BUILD, "\"%s\" is not a valid pattern", pattern);
}

static int collect_dir(struct selecting *s, struct draft *d, const struct select_hit *dir)
{
	struct collect c = {.s = s, .d = d, .base = dir->e->path};
	int r = s->fs->list(s->fs, dir, true, collect_hit, &c, s->err);
	free(c.open);
	return r < 0 ? -1 : 0;
}

/* --- one source ------------------------------------------------------------------------------ */

static int detect_archive(struct selecting *s, struct draft *d, const struct select_hit *hit)
{
	if (!s->what->is_add || s->what->unpack == 0 || hit->body->type != TREE_REG)
		return 0;
	_cleanup_close_ int fd = sys_open_beneath(
	        hit->dirfd, hit->body->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
	if (fd < 0)
		return err_sys(s->err, fd, "cannot open %s", d->shown);
	if (layer_is_archive(fd, &d->archive, s->err) < 0)
		return err_wrap(s->err, "%s", d->shown);
	return 0;
}

/* `path` was found as hit, all links followed; its name at the destination is its own. */
static int add_source(
        struct selecting *s, const char *path, const char *shown, const struct select_hit *hit)
{
	const char *name = base_name(path);
	if (hit->e->type == TREE_DIR)
		return collect_dir(s, new_item(s, name, shown, true), hit);
	if (s->excludes && (df_ignore_match(s->excludes, path, NULL) ||
	                           df_ignore_match(s->excludes, name, NULL)))
		return 0;
	if (hit->e->type == TREE_SOCK)
		return 0;
	struct draft *d = new_item(s, name, shown, false);
	pick(d, hit, "");
	return detect_archive(s, d, hit);
}

static int add_literal(struct selecting *s, const char *path, const char *shown)
{
	struct select_hit hit;
	int line = 0, r = s->fs->find(s->fs, path, true, &hit, &line, s->err);
	if (r < 0)
		return -1;
	if (r == 0)
		return not_found(s, shown, line);
	return add_source(s, path, shown, &hit);
}

/* --- wildcards: component by component ------------------------------------------------------- */

struct expand {
	struct selecting *s;
	const struct strv *parts;
	size_t at;
	struct strv *out; /* paths that match as a whole */
	bool malformed;
	struct select_hit *dirs; /* matches of parts[at] to go into */
	size_t n_dirs, cap_dirs;
};

static int expand_hit(void *ctx, const struct select_hit *hit)
{
	struct expand *x = ctx;
	int m = df_match(x->parts->v[x->at], base_name(hit->e->path));
	if (m < 0)
		x->malformed = true;
	if (m <= 0)
		return x->malformed;
	if (x->at + 1 == x->parts->n) {
		strv_add(x->out, hit->e->path);
	} else if (hit->e->type == TREE_DIR) {
		vec_grow(&x->dirs, &x->cap_dirs, x->n_dirs + 1);
		x->dirs[x->n_dirs++] = *hit;
	}
	return 0;
}

static int expand_in(struct selecting *s, const struct strv *parts, size_t at,
        const struct select_hit *dir, struct strv *out)
{
	struct expand x = {.s = s, .parts = parts, .at = at, .out = out};
	int r = s->fs->list(s->fs, dir, false, expand_hit, &x, s->err);
	if (r > 0 && x.malformed)
		r = -2;
	for (size_t i = 0; i < x.n_dirs && r == 0; i++)
		r = expand_in(s, parts, at + 1, &x.dirs[i], out);
	free(x.dirs);
	return r;
}

/* All paths that the pattern matches, in order. The part before the first wildcard may lead through
 * links, the rest does not. */
static int expand_wildcards(struct selecting *s, const char *pattern, struct strv *out)
{
	_cleanup_strv_ struct strv parts = STRV_INIT, tail = STRV_INIT;
	_cleanup_strbuf_ struct strbuf prefix = STRBUF_INIT;
	strv_split(&parts, pattern, "/");
	size_t i = 0;
	for (; i < parts.n && !df_has_wildcard(parts.v[i]); i++)
		strbuf_addf(&prefix, "%s%s", i ? "/" : "", parts.v[i]);
	for (size_t j = i; j < parts.n; j++) {
		/* df_match looks at the pattern only as far as it must */
		if (df_match(parts.v[j], "") < 0)
			return malformed(s, pattern);
		strv_add(&tail, parts.v[j]);
	}
	struct select_hit dir;
	int line, r = s->fs->find(s->fs, prefix.buf, true, &dir, &line, s->err);
	if (r < 0)
		return -1;
	if (r == 0 || dir.e->type != TREE_DIR)
		return 0;
	r = expand_in(s, &tail, 0, &dir, out);
	return r == -2 ? malformed(s, pattern) : r;
}

static int add_wildcard(struct selecting *s, const char *pattern, const char *shown)
{
	_cleanup_strv_ struct strv paths = STRV_INIT;
	if (expand_wildcards(s, pattern, &paths) < 0)
		return -1;
	for (size_t i = 0; i < paths.n; i++) {
		struct select_hit hit;
		int line, r = s->fs->find(s->fs, paths.v[i], true, &hit, &line, s->err);
		if (r == 0) {
			err_set(s->err, ERR_BUILD,
			        "\"%s\" is a link to a file that is not in the %s", paths.v[i],
			        s->fs->what);
			err_hint(s->err, "it was matched by %s", shown);
			return -1;
		}
		if (r < 0 || add_source(s, paths.v[i], shown, &hit) < 0)
			return -1;
	}
	return 0;
}

/* --- --parents ------------------------------------------------------------------------------- */

/* The directories from base down to `path` (exclusive) become candidates for parents. */
static int open_parents(struct collect *c, const char *path)
{
	const char *from = below(path, c->base);
	for (const char *p = strchr(from, '/'); p; p = strchr(p + 1, '/')) {
		_cleanup_free_ char *dir = xstrndup(path, (size_t)(p - path));
		struct select_hit hit;
		int line, r = c->s->fs->find(c->s->fs, dir, false, &hit, &line, c->s->err);
		if (r < 0)
			return -1;
		if (r == 0 || hit.e->type != TREE_DIR)
			return 1;
		vec_grow(&c->open, &c->cap_open, c->n_open + 1);
		c->open[c->n_open++] = hit;
	}
	return 0;
}

/* The pattern below one base directory. Its literal start is gone to directly. */
static int add_parents_in(
        struct selecting *s, const struct select_hit *base, const char *pattern, const char *shown)
{
	const char *base_path = base->e->path;
	_cleanup_strbuf_ struct strbuf start = STRBUF_INIT;
	_cleanup_strv_ struct strv parts = STRV_INIT;
	strv_split(&parts, pattern, "/");
	bool wild = false;
	strbuf_addstr(&start, base_path);
	for (size_t i = 0; i < parts.n && *pattern; i++) {
		wild = df_has_wildcard(parts.v[i]);
		if (wild)
			break;
		strbuf_addf(&start, "%s%s", start.len ? "/" : "", parts.v[i]);
	}
	if (wild && df_match_double_star(pattern, "") < 0)
		return malformed(s, pattern);
	struct select_hit at;
	int line = 0, r = s->fs->find(s->fs, start.buf, false, &at, &line, s->err);
	if (r < 0)
		return -1;
	if (r == 0)
		return wild ? 0 : not_found(s, shown, line);
	struct collect c = {
	        .s = s,
	        .d = new_item(s, "", shown, true),
	        .base = base_path,
	        .pattern = *pattern ? pattern : NULL,
	};
	r = open_parents(&c, at.e->path);
	if (r == 0 && !str_eq(at.e->path, base_path))
		r = collect_hit(&c, &at);
	if (r == 0 && at.e->type == TREE_DIR)
		r = s->fs->list(s->fs, &at, true, collect_hit, &c, s->err);
	free(c.open);
	if (c.malformed)
		return malformed(s, pattern);
	return r < 0 ? -1 : 0;
}

static int add_parents(struct selecting *s, const char *word)
{
	const char *pivot = strstr(word, "/./");
	_cleanup_free_ char *left = xstrndup(word, pivot ? (size_t)(pivot - word) : 0);
	_cleanup_free_ char *base = clean_word(left);
	_cleanup_free_ char *pattern = clean_word(pivot ? pivot + 3 : word);
	_cleanup_strv_ struct strv bases = STRV_INIT;
	if (!df_has_wildcard(base))
		strv_add(&bases, base);
	else if (expand_wildcards(s, base, &bases) < 0)
		return -1;
	for (size_t i = 0; i < bases.n; i++) {
		struct select_hit hit;
		int line = 0, r = s->fs->find(s->fs, bases.v[i], true, &hit, &line, s->err);
		if (r < 0)
			return -1;
		if (r == 0 || hit.e->type != TREE_DIR)
			return not_found(s, word, line);
		if (add_parents_in(s, &hit, pattern, word) < 0)
			return -1;
	}
	return 0;
}

static int add_word(struct selecting *s, const char *word)
{
	if (s->what->parents)
		return add_parents(s, word);
	_cleanup_free_ char *path = clean_word(word);
	return df_has_wildcard(path) ? add_wildcard(s, path, word) : add_literal(s, path, word);
}

/* --- hard links ------------------------------------------------------------------------------ */

struct member {
	uint64_t group[2];
	size_t at;
};

static int cmp_member(const void *a, const void *b)
{
	const struct member *x = a, *y = b;
	int c = memcmp(x->group, y->group, sizeof(x->group));
	return c ? c : x->at < y->at ? -1 : x->at > y->at;
}

/* The first name of a group within an item has the content, the others are links to it. */
static void link_item(struct source_selection *ret, struct draft *d)
{
	struct member *v = new0(struct member, d->n + 1);
	size_t n = 0;
	for (size_t i = 0; i < d->n; i++) {
		const uint64_t *g = d->v[i].hit.group;
		if (g[0] || g[1])
			v[n++] = (struct member){{g[0], g[1]}, i};
	}
	qsort(v, n, sizeof(*v), cmp_member);
	for (size_t i = 0, first = 0; i < n; i++) {
		struct pick *p = &d->v[v[i].at];
		if (memcmp(v[i].group, v[first].group, sizeof(v[i].group)) != 0)
			first = i;
		if (i == first && p->hit.e->type != TREE_HARDLINK)
			continue;
		struct tree_entry *e = arena_new(&ret->arena, struct tree_entry, 1);
		*e = *p->hit.body;
		e->path = p->hit.e->path;
		if (i != first) {
			e->type = TREE_HARDLINK;
			e->link = d->v[v[first].at].hit.e->path;
			e->size = 0;
			e->has_digest = false;
			p->link_to = v[first].at;
		}
		p->hit.e = e;
	}
	free(v);
}

/* --- the result ------------------------------------------------------------------------------ */

static int take_digests(struct selecting *s)
{
	size_t n = 0, total = 0;
	for (size_t i = 0; i < s->n; i++)
		total += s->items[i].n;
	const struct select_hit **v = new0(const struct select_hit *, total + 1);
	for (size_t i = 0; i < s->n; i++)
		for (size_t j = 0; j < s->items[i].n; j++)
			if (s->items[i].v[j].hit.body->type == TREE_REG)
				v[n++] = &s->items[i].v[j].hit;
	int r = s->fs->digests(s->fs, v, n, s->err);
	free(v);
	return r;
}

static void key_item(struct sha256 *h, const struct draft *d)
{
	sha256_u64(h, (uint64_t)d->is_dir | (uint64_t)d->archive << 1);
	sha256_str(h, d->name);
	sha256_u64(h, d->n);
	for (size_t i = 0; i < d->n; i++) {
		const struct pick *p = &d->v[i];
		struct tree_entry e = *p->hit.e;
		/* names as they will land: the directory they come from does not count */
		if (p->link_to != SIZE_MAX)
			e.link = d->v[p->link_to].rel;
		tree_entry_hash(h, &e, p->rel);
	}
}

static void finish_item(struct selecting *s, const struct draft *d, struct copy_item *it)
{
	struct source_selection *ret = s->ret;
	*it = (struct copy_item){
	        .name = d->name,
	        .shown = d->shown,
	        .is_dir = d->is_dir,
	        .archive = d->archive,
	        .immutable = s->fs->immutable,
	        .entries = arena_new(&ret->arena, struct copy_entry, d->n + 1),
	        .n = d->n,
	};
	for (size_t i = 0; i < d->n; i++) {
		const struct pick *p = &d->v[i];
		it->entries[i] = (struct copy_entry){
		        .e = p->hit.e,
		        .rel = p->rel,
		        .dirfd = p->hit.dirfd,
		        .src = p->hit.body->path,
		};
		if (p->hit.e->type == TREE_REG) {
			ret->total_files++;
			ret->total_bytes += p->hit.e->size;
		}
	}
}

static int finish(struct selecting *s)
{
	struct source_selection *ret = s->ret;
	struct sha256 h;
	if (s->what->want_digests && take_digests(s) < 0)
		return -1;
	sha256_init(&h);
	sha256_str(&h, "strake copy selection 1");
	sha256_u64(&h, s->n);
	ret->items = arena_new(&ret->arena, struct copy_item, s->n + 1);
	ret->n_items = s->n;
	for (size_t i = 0; i < s->n; i++) {
		if (s->items[i].has_links)
			link_item(ret, &s->items[i]);
		key_item(&h, &s->items[i]);
		finish_item(s, &s->items[i], &ret->items[i]);
	}
	if (s->what->want_digests)
		sha256_final(&h, &ret->key);
	ret->dest_is_dir = s->n > 1 || s->what->patterns->n > 1;
	return 0;
}

int select_run(struct select_fs *fs, const struct source_select *what, struct source_selection *ret,
        struct error *err)
{
	struct selecting s = {.fs = fs, .what = what, .ret = ret, .err = err};
	int r = 0;
	*ret = (struct source_selection){0};
	if (what->excludes && what->excludes->n)
		r = df_ignore_new(what->excludes, "--exclude", &s.excludes, err);
	for (size_t i = 0; i < what->patterns->n && r == 0; i++)
		r = add_word(&s, what->patterns->v[i]);
	if (r == 0)
		r = finish(&s);
	for (size_t i = 0; i < s.n; i++)
		free(s.items[i].v);
	free(s.items);
	df_ignore_free(s.excludes);
	if (r < 0)
		source_selection_release(ret);
	return r;
}

void source_selection_release(struct source_selection *s)
{
	arena_release(&s->arena);
	*s = (struct source_selection){0};
}

void source_selection_files(const struct source_selection *s, struct tree *ret)
{
	*ret = TREE_INIT;
	for (size_t i = 0; i < s->n_items; i++)
		for (size_t j = 0; j < s->items[i].n; j++)
			tree_add(ret, s->items[i].entries[j].e);
	tree_sort(ret);
}
