/* layer/leak.c - see leak.h. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>

#include "base/search.h"
#include "base/strv.h"
#include "layer/leak.h"
#include "sys/path.h"

#define CHUNK (1u << 20)
/* Encodings of a prefix find the value as well, and this bounds what is kept between two reads. */
#define VALUE_MAX 4096

struct leak_values {
	struct search *search;
	struct strv ids;
};

/* Tags: which secret, and in what form. */
enum { PLAIN, BASE64, HEX, N_FORMS };
static const char *const forms[N_FORMS] = {"", "base64", "hex"};

struct leak_values *leak_values_new(void)
{
	struct leak_values *v = new0(struct leak_values, 1);
	v->search = search_new();
	return v;
}

void leak_values_free(struct leak_values *v)
{
	if (!v)
		return;
	search_free(v->search);
	strv_release(&v->ids);
	free(v);
}

/* add_base64 - the value `lead` bytes into a group of three: the characters that it alone decides.
 */
static void add_base64(struct leak_values *v, const unsigned char *p, size_t n, size_t lead,
        bool url, unsigned tag)
{
	static const char std[] =
	        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	static const char web[] =
	        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	const char *alphabet = url ? web : std;
	size_t bits = (lead + n) * 8, first = (lead * 8 + 5) / 6, last = bits / 6;
	char *out = xmalloc(last + 1);
	size_t k = 0;
	for (size_t c = first; c < last; c++) {
		unsigned value = 0;
		for (size_t b = c * 6; b < c * 6 + 6; b++) {
			size_t at = b - lead * 8;
			value = value << 1 | (p[at / 8] >> (7 - at % 8) & 1);
		}
		out[k++] = alphabet[value];
	}
	search_add(v->search, out, k, tag);
	explicit_bzero(out, last);
	free(out);
}

static void add_hex(
        struct leak_values *v, const unsigned char *p, size_t n, bool upper, unsigned tag)
{
	const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
	char *out = xmalloc(2 * n);
	for (size_t i = 0; i < n; i++) {
		out[2 * i] = digits[p[i] >> 4];
		out[2 * i + 1] = digits[p[i] & 15];
	}
	search_add(v->search, out, 2 * n, tag);
	explicit_bzero(out, 2 * n);
	free(out);
}

void leak_values_add(struct leak_values *v, const char *id, const void *data, size_t n)
{
	const unsigned char *p = data;
	while (n && isspace(p[n - 1]))
		n--;
	while (n && isspace(*p))
		p++, n--;
	if (n < LEAK_MIN)
		return;
	n = MIN(n, (size_t)VALUE_MAX);
	unsigned tag = (unsigned)v->ids.n * N_FORMS;
	strv_add(&v->ids, id);
	search_add(v->search, p, n, tag + PLAIN);
	for (size_t lead = 0; lead < 3; lead++) {
		add_base64(v, p, n, lead, false, tag + BASE64);
		add_base64(v, p, n, lead, true, tag + BASE64);
	}
	add_hex(v, p, n, false, tag + HEX);
	add_hex(v, p, n, true, tag + HEX);
}

void leak_values_ready(struct leak_values *v)
{
	search_ready(v->search);
}

bool leak_values_any(const struct leak_values *v)
{
	return v && v->ids.n;
}

static const char *what_is(
        const struct leak_values *v, const struct search_pattern *hit, const char **ret_how)
{
	if (!hit)
		return NULL;
	*ret_how = forms[hit->tag % N_FORMS];
	return v->ids.v[hit->tag / N_FORMS];
}

const char *leak_find(const struct leak_values *v, const void *p, size_t n, const char **ret_how)
{
	return what_is(v, search_find(v->search, p, n, NULL), ret_how);
}

void leak_mask_release(struct leak_mask *m)
{
	if (m->held.len)
		explicit_bzero(m->held.buf, m->held.len);
	strbuf_release(&m->held);
}

void leak_mask(const struct leak_values *v, struct leak_mask *m, const void *p, size_t n, bool end,
        struct strbuf *out)
{
	struct strbuf *h = &m->held;
	size_t from = 0, at = 0;
	const struct search_pattern *hit;
	strbuf_add(h, p, n);
	while ((hit = search_find(v->search, h->buf + from, h->len - from, &at))) {
		strbuf_add(out, h->buf + from, at);
		strbuf_addstr(out, "***");
		from += at + hit->len;
	}
	size_t keep = end ? 0 : search_pending(v->search, h->buf + from, h->len - from);
	strbuf_add(out, h->buf + from, h->len - from - keep);
	memmove(h->buf, h->buf + h->len - keep, keep);
	strbuf_truncate(h, keep);
}

/* --- a layer --------------------------------------------------------------------------------- */

struct check {
	const struct leak_values *v;
	const struct tree *t;
	int fd;
	pthread_mutex_t lock;
	struct error err; /* the first one */
};

static void report(struct check *c, struct error *err)
{
	pthread_mutex_lock(&c->lock);
	if (!error_is_set(&c->err))
		error_move(&c->err, err);
	pthread_mutex_unlock(&c->lock);
	error_release(err);
}

static void found(struct check *c, const struct tree_entry *e, const char *where, const char *id,
        const char *how)
{
	struct error err = ERROR_INIT;
	struct leak_mask m = LEAK_MASK_INIT;
	_cleanup_strbuf_ struct strbuf path = STRBUF_INIT;
	leak_mask(c->v, &m, e->path, strlen(e->path), true, &path);
	leak_mask_release(&m);
	(void)err_set(&err, ERR_BUILD, "%s /%s holds the value of secret %s%s%s%s", where, path.buf,
	        id, *how ? " (as " : "", how, *how ? ")" : "");
	(void)err_hint(&err,
	        "nothing of this step was kept. Use the secret where it is mounted and write it "
	        "nowhere else; what may be in the image is no secret: --build-arg or COPY");
	report(c, &err);
}

static bool look(
        struct check *c, const struct tree_entry *e, const char *where, const void *p, size_t n)
{
	const char *how, *id = p && n ? leak_find(c->v, p, n, &how) : NULL;
	if (id)
		found(c, e, where, id, how);
	return id != NULL;
}

static int read_through(struct check *c, const struct tree_entry *e, int fd)
{
	size_t keep = c->v->search->longest - 1, have = 0;
	_cleanup_free_ char *buf = xmalloc(keep + CHUNK);
	for (;;) {
		ssize_t n = read(fd, buf + have, CHUNK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		have += (size_t)n;
		if (look(c, e, "file", buf, have))
			return 0;
		if (have > keep) {
			memmove(buf, buf + have - keep, keep);
			have = keep;
		}
	}
}

static void check_entry(void *ctx, size_t i)
{
	struct check *c = ctx;
	const struct tree_entry *e = &c->t->entries[i];
	struct error err = ERROR_INIT;
	if (look(c, e, "the name", e->path, strlen(e->path)) ||
	        (e->type == TREE_SYMLINK && look(c, e, "link", e->link, strlen(e->link))))
		return;
	for (uint32_t k = 0; k < e->n_xattrs; k++)
		if (look(c, e, "an attribute of", e->xattrs[k].value, e->xattrs[k].len))
			return;
	if (e->type != TREE_REG || e->size < c->v->search->shortest)
		return;
	_cleanup_close_ int fd =
	        sys_open_beneath(c->fd, e->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
	int r = fd < 0 ? fd : read_through(c, e, fd);
	if (r < 0) {
		err_sys(&err, r, "cannot read /%s", e->path);
		report(c, &err);
	}
}

int leak_check_tree(const struct leak_values *v, const struct tree *t, int treefd,
        struct pool *pool, struct error *err)
{
	struct check c = {.v = v, .t = t, .fd = treefd, .lock = PTHREAD_MUTEX_INITIALIZER};
	if (!leak_values_any(v))
		return 0;
	pool_run(pool, t->n, check_entry, &c);
	pthread_mutex_destroy(&c.lock);
	if (!error_is_set(&c.err))
		return 0;
	error_move(err, &c.err);
	return -1;
}
