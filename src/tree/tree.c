/* tree/tree.c - the in-memory tree: order, look-up, hard link repair, hashing. See tree.h. */
#include "tree/tree.h"

#include <endian.h>
#include <sys/stat.h>

void tree_release(struct tree *t)
{
	free(t->entries);
	arena_release(&t->arena);
	*t = TREE_INIT;
}

/* rank - NUL first, then '/', then all other bytes. */
static inline unsigned rank(unsigned char c)
{
	return c == '\0' ? 0 : c == '/' ? 1 : c + 2U;
}

enum tree_type tree_type_of(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return TREE_REG;
	case S_IFDIR:
		return TREE_DIR;
	case S_IFLNK:
		return TREE_SYMLINK;
	case S_IFCHR:
		return TREE_CHR;
	case S_IFBLK:
		return TREE_BLK;
	case S_IFIFO:
		return TREE_FIFO;
	default:
		return TREE_SOCK;
	}
}

bool tree_same_xattrs(const struct tree_entry *a, const struct tree_entry *b)
{
	if (a->n_xattrs != b->n_xattrs)
		return false;
	for (uint32_t i = 0; i < a->n_xattrs; i++)
		if (!str_eq(a->xattrs[i].name, b->xattrs[i].name) ||
		        a->xattrs[i].len != b->xattrs[i].len ||
		        memcmp(a->xattrs[i].value, b->xattrs[i].value, a->xattrs[i].len) != 0)
			return false;
	return true;
}

int tree_path_cmp(const char *a, const char *b)
{
	while (*a == *b && *a)
		a++, b++;
	return (int)rank((unsigned char)*a) - (int)rank((unsigned char)*b);
}

bool tree_path_below(const char *p, const char *dir)
{
	size_t n = strlen(dir);
	if (n == 0)
		return *p != '\0';
	return strncmp(p, dir, n) == 0 && p[n] == '/';
}

struct tree_entry *tree_add(struct tree *t, const struct tree_entry *e)
{
	vec_grow(&t->entries, &t->cap, t->n + 1);
	struct tree_entry *d = &t->entries[t->n++];
	*d = *e;
	d->path = arena_strdup(&t->arena, e->path);
	d->link = e->link ? arena_strdup(&t->arena, e->link) : NULL;
	d->xattrs = NULL;
	if (e->n_xattrs) {
		d->xattrs = arena_new(&t->arena, struct tree_xattr, e->n_xattrs);
		for (uint32_t i = 0; i < e->n_xattrs; i++) {
			d->xattrs[i].name = arena_strdup(&t->arena, e->xattrs[i].name);
			d->xattrs[i].value =
			        arena_memdup(&t->arena, e->xattrs[i].value, e->xattrs[i].len);
			d->xattrs[i].len = e->xattrs[i].len;
		}
	}
	return d;
}

/* --- sort ------------------------------------------------------------------------------------ */

static int cmp_xattr(const void *a, const void *b)
{
	return strcmp(((const struct tree_xattr *)a)->name, ((const struct tree_xattr *)b)->name);
}

/* By path, then by the place in memory, which is the order of addition. */
static int cmp_entry_ptr(const void *a, const void *b)
{
	const struct tree_entry *x = *(struct tree_entry *const *)a;
	const struct tree_entry *y = *(struct tree_entry *const *)b;
	int c = tree_path_cmp(x->path, y->path);
	return c ? c : x < y ? -1 : x > y;
}

static bool is_sorted(const struct tree *t)
{
	for (size_t i = 1; i < t->n; i++)
		if (tree_path_cmp(t->entries[i - 1].path, t->entries[i].path) >= 0)
			return false;
	return true;
}

static void sort_entries(struct tree *t)
{
	struct tree_entry **v = new0(struct tree_entry *, t->n);
	for (size_t i = 0; i < t->n; i++)
		v[i] = &t->entries[i];
	qsort(v, t->n, sizeof(struct tree_entry *), cmp_entry_ptr);
	struct tree_entry *sorted = new0(struct tree_entry, t->n);
	size_t n = 0;
	for (size_t i = 0; i < t->n; i++)
		if (i + 1 == t->n || tree_path_cmp(v[i]->path, v[i + 1]->path) != 0)
			sorted[n++] = *v[i];
	t->cap = t->n;
	t->n = n;
	free(t->entries);
	t->entries = sorted;
	free(v);
}

/* resolve_links - root[i] = index of the entry that holds i's content (i itself for all but hard
 * links). A chain that leaves the tree or goes in a circle ends at a link, which is then its own
 * root. Linear but for the look-ups, whatever the chains: each walk flattens what it passed. */
static void resolve_links(const struct tree *t, size_t *root)
{
	size_t *seen = new0(size_t, t->n);
	for (size_t i = 0; i < t->n; i++) {
		const struct tree_entry *e = &t->entries[i], *to = NULL;
		if (e->type == TREE_HARDLINK)
			to = tree_find(t, e->link);
		root[i] = to && to->type != TREE_DIR && to->type != TREE_WHITEOUT
		                  ? (size_t)(to - t->entries)
		                  : i;
	}
	for (size_t i = 0; i < t->n; i++) {
		size_t end = i;
		while (root[end] != end && seen[end] != i + 1) {
			seen[end] = i + 1;
			end = root[end];
		}
		for (size_t j = i, next; j != end; j = next) {
			next = root[j];
			root[j] = end;
		}
		root[end] = end;
	}
	free(seen);
}

static void make_link(struct tree_entry *e, const struct tree_entry *to)
{
	*e = (struct tree_entry){
	        .path = e->path,
	        .type = TREE_HARDLINK,
	        .link = to->path,
	        .mode = to->mode,
	        .uid = to->uid,
	        .gid = to->gid,
	        .mtime_sec = to->mtime_sec,
	        .mtime_nsec = to->mtime_nsec,
	};
}

/* fix_links - the invariant of TREE_HARDLINK: link names an earlier entry that is no link itself.
 * Where the first path of a group is a link, the content moves to it. */
static void fix_links(struct tree *t)
{
	size_t *root = new0(size_t, t->n), *first = new0(size_t, t->n);
	resolve_links(t, root);
	for (size_t i = t->n; i-- > 0;)
		first[root[i]] = i;
	for (size_t i = 0; i < t->n; i++) {
		size_t r = root[i], f = first[r];
		struct tree_entry *e = &t->entries[i];
		if (f != i) {
			if (t->entries[f].type != TREE_HARDLINK) /* else the group dangles */
				make_link(e, &t->entries[f]);
		} else if (r != i && t->entries[r].type != TREE_HARDLINK) {
			const char *path = e->path;
			*e = t->entries[r];
			e->path = path;
		}
	}
	free(first);
	free(root);
}

void tree_sort(struct tree *t)
{
	bool links = false;
	for (size_t i = 0; i < t->n; i++) {
		struct tree_entry *e = &t->entries[i];
		links |= e->type == TREE_HARDLINK;
		if (e->n_xattrs > 1)
			qsort(e->xattrs, e->n_xattrs, sizeof(*e->xattrs), cmp_xattr);
	}
	if (!is_sorted(t))
		sort_entries(t);
	if (links)
		fix_links(t);
}

/* --- look-up --------------------------------------------------------------------------------- */

size_t tree_lower_bound(const struct tree *t, const char *path)
{
	size_t lo = 0, hi = t->n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (tree_path_cmp(t->entries[mid].path, path) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

const struct tree_entry *tree_find(const struct tree *t, const char *path)
{
	size_t i = tree_lower_bound(t, path);
	return i < t->n && str_eq(t->entries[i].path, path) ? &t->entries[i] : NULL;
}

void tree_subtree(const struct tree *t, const char *dir, size_t *ret_from, size_t *ret_to)
{
	size_t from = tree_lower_bound(t, dir), hi = t->n;
	if (from < t->n && str_eq(t->entries[from].path, dir))
		from++;
	size_t lo = from;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (tree_path_below(t->entries[mid].path, dir))
			lo = mid + 1;
		else
			hi = mid;
	}
	*ret_from = from;
	*ret_to = lo;
}

uint64_t tree_total_size(const struct tree *t)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < t->n; i++)
		if (t->entries[i].type == TREE_REG)
			sum += t->entries[i].size;
	return sum;
}

/* --- hash ------------------------------------------------------------------------------------ */

static bool xattr_counts(const struct tree_xattr *x)
{
	return str_starts(x->name, "user.") || str_eq(x->name, "security.capability");
}

static void hash_xattrs(struct sha256 *h, const struct tree_entry *e)
{
	uint64_t n = 0;
	for (uint32_t i = 0; i < e->n_xattrs; i++)
		n += xattr_counts(&e->xattrs[i]);
	sha256_u64(h, n);
	for (uint32_t i = 0; i < e->n_xattrs; i++) {
		if (!xattr_counts(&e->xattrs[i]))
			continue;
		sha256_str(h, e->xattrs[i].name);
		sha256_bytes(h, e->xattrs[i].value, e->xattrs[i].len);
	}
}

static bool is_device(const struct tree_entry *e)
{
	return e->type == TREE_CHR || e->type == TREE_BLK;
}

void tree_entry_hash(struct sha256 *h, const struct tree_entry *e, const char *path)
{
	sha256_str(h, path);
	/* A whiteout is its path alone; a hard link its path and its target's, whose own entry
	 * carries the rest. */
	if (e->type == TREE_WHITEOUT || e->type == TREE_HARDLINK) {
		sha256_u64(h, e->type);
		if (e->type == TREE_HARDLINK)
			sha256_str(h, e->link);
		return;
	}
	bool digest = e->type == TREE_REG && e->has_digest;
	/* One fixed block in place of many tiny updates: this runs once for each file of a tree. */
	struct {
		uint64_t type, flags, size;
		uint32_t mode, uid, gid, major, minor, zero;
		uint8_t sha256[32];
	} b = {
	        .type = htole64((uint64_t)e->type),
	        .flags = htole64((digest ? 1U : 0U) | (e->opaque ? 2U : 0U)),
	        .size = htole64(e->type == TREE_REG ? e->size : 0),
	        .mode = htole32(e->type == TREE_SYMLINK ? 0777 : e->mode),
	        .uid = htole32(e->uid),
	        .gid = htole32(e->gid),
	        .major = htole32(is_device(e) ? e->dev_major : 0),
	        .minor = htole32(is_device(e) ? e->dev_minor : 0),
	};
	if (digest)
		memcpy(b.sha256, e->sha256.b, sizeof(b.sha256));
	sha256_update(h, &b, sizeof(b));
	sha256_str(h, e->type == TREE_SYMLINK ? e->link : NULL);
	hash_xattrs(h, e);
}

void tree_digest(const struct tree *t, struct digest *out)
{
	struct sha256 h;
	sha256_init(&h);
	sha256_str(&h, "strake.tree.1");
	for (size_t i = 0; i < t->n; i++)
		tree_entry_hash(&h, &t->entries[i], t->entries[i].path);
	sha256_final(&h, out);
}

int tree_bytes_changed(const char *shown, bool stored, struct error *err)
{
	if (stored) {
		(void)err_set(err, ERR_INTEGRITY, "%s is damaged in the store", shown);
		return err_hint(err, "build again: what is damaged is set aside");
	}
	(void)err_set(err, ERR_INTEGRITY, "%s changed while being read", shown);
	return err_hint(err, "build again when nothing writes to it");
}
