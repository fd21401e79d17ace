/* layer/unarchive.c - see unarchive.h. RELIABILITY S15, T5, T7, T8.
 *
 * The tar inside is always read by our own reader, so that every archive meets the same rules;
 * libarchive is only the decompressor of bzip2 and xz. Its filters that would start a program
 * answer ARCHIVE_WARN and are refused. */
#include <archive.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "layer/unarchive.h"
#include "layer/unpack.h"

#define HEAD_SIZE 512
#define DEFAULT_MAX_BYTES (64ull << 30)
#define IN_SIZE (64u << 10)

/* --- libarchive, at first use ---------------------------------------------------------------- */

static struct {
	struct archive *(*read_new)(void);
	int (*read_free)(struct archive *);
	int (*support_bzip2)(struct archive *);
	int (*support_xz)(struct archive *);
	int (*support_raw)(struct archive *);
	int (*open)(struct archive *, void *, archive_open_callback *, archive_read_callback *,
	        archive_close_callback *);
	int (*next_header)(struct archive *, struct archive_entry **);
	la_ssize_t (*read_data)(struct archive *, void *, size_t);
	const char *(*error_string)(struct archive *);
	int (*set_error)(struct archive *, int, const char *, ...);
	bool loaded;
} la;
static pthread_once_t la_once = PTHREAD_ONCE_INIT;

static void la_load(void)
{
	static const struct {
		const char *name;
		void **slot;
	} syms[] = {
	        {"archive_read_new", (void **)&la.read_new},
	        {"archive_read_free", (void **)&la.read_free},
	        {"archive_read_support_filter_bzip2", (void **)&la.support_bzip2},
	        {"archive_read_support_filter_xz", (void **)&la.support_xz},
	        {"archive_read_support_format_raw", (void **)&la.support_raw},
	        {"archive_read_open", (void **)&la.open},
	        {"archive_read_next_header", (void **)&la.next_header},
	        {"archive_read_data", (void **)&la.read_data},
	        {"archive_error_string", (void **)&la.error_string},
	        {"archive_set_error", (void **)&la.set_error},
	};
	void *so = dlopen("libarchive.so.13", RTLD_NOW | RTLD_LOCAL);
	if (!so)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(syms); i++)
		if (!(*syms[i].slot = dlsym(so, syms[i].name)))
			return;
	la.loaded = true;
}

struct la_reader {
	struct reader base;
	struct archive *a;
	struct reader *next;
	struct error err; /* of next, kept across libarchive's own error path */
	const char *what;
	unsigned char in[IN_SIZE];
};

static la_ssize_t la_pull(struct archive *a, void *ctx, const void **ret)
{
	struct la_reader *r = ctx;
	ssize_t n = reader_read(r->next, r->in, sizeof(r->in), &r->err);
	*ret = r->in;
	if (n < 0)
		la.set_error(a, EIO, "read error");
	return n;
}

static int la_fail(struct la_reader *r, struct error *err)
{
	if (error_is_set(&r->err)) {
		error_move(err, &r->err);
		return -1;
	}
	const char *why = la.error_string(r->a);
	return err_set(err, ERR_INTEGRITY, "%s: cannot decompress: %s", r->what,
	        why ? why : "damaged data");
}

static ssize_t la_read(struct reader *base, void *p, size_t n, struct error *err)
{
	struct la_reader *r = (struct la_reader *)base;
	la_ssize_t got = la.read_data(r->a, p, n);
	return got < 0 ? la_fail(r, err) : (ssize_t)got;
}

static void la_free(struct reader *base)
{
	struct la_reader *r = (struct la_reader *)base;
	if (r->a)
		la.read_free(r->a);
	reader_free(r->next);
	error_release(&r->err);
	free(r);
}

static int la_open(
        struct reader *in, bool xz, const char *what, struct reader **ret, struct error *err)
{
	struct la_reader *r = new0(struct la_reader, 1);
	r->base.read = la_read;
	r->base.free = la_free;
	r->next = in;
	r->what = what;
	_cleanup_reader_ struct reader *guard = &r->base;
	pthread_once(&la_once, la_load);
	if (!la.loaded) {
		err_set(err, ERR_SYSTEM, "%s: libarchive is needed to read %s archives", what,
		        xz ? "xz" : "bzip2");
		return err_hint(
		        err, "install libarchive (Debian: libarchive13t64 or libarchive13)");
	}
	r->a = la.read_new();
	if (!r->a)
		return err_set(err, ERR_SYSTEM, "%s: out of memory", what);
	int ok = xz ? la.support_xz(r->a) : la.support_bzip2(r->a);
	if (ok != ARCHIVE_OK)
		return err_set(err, ERR_SYSTEM, "%s: this libarchive was built without %s", what,
		        xz ? "xz" : "bzip2");
	struct archive_entry *ae;
	if (la.support_raw(r->a) != ARCHIVE_OK ||
	        la.open(r->a, r, NULL, la_pull, NULL) != ARCHIVE_OK ||
	        la.next_header(r->a, &ae) != ARCHIVE_OK)
		return la_fail(r, err);
	*ret = take_ptr(guard);
	return 0;
}

/* --- which compression ----------------------------------------------------------------------- */

static bool starts(const unsigned char *p, size_t n, const char *magic, size_t len)
{
	return n >= len && memcmp(p, magic, len) == 0;
}

enum kind { KIND_OTHER, KIND_CODEC, KIND_BZIP2, KIND_XZ };

static enum kind kind_of(const unsigned char *p, size_t n)
{
	if (starts(p, n, "\x1f\x8b", 2) || starts(p, n, "\x28\xb5\x2f\xfd", 4))
		return KIND_CODEC;
	if (starts(p, n, "BZh", 3))
		return KIND_BZIP2;
	if (starts(p, n,
	            "\xfd"
	            "7zXZ",
	            6)) /* the sixth byte is the literal's own NUL */
		return KIND_XZ;
	return KIND_OTHER;
}

int archive_open(struct reader *in, const unsigned char *head, size_t n_head, const char *what,
        uint64_t max_bytes, struct reader **ret, struct error *err)
{
	enum kind k = kind_of(head, n_head);
	struct reader *r = in;
	if (k == KIND_CODEC)
		return reader_decompress(in, max_bytes, NULL, ret, err);
	if (k != KIND_OTHER && la_open(in, k == KIND_XZ, what, &r, err) < 0)
		return -1;
	*ret = reader_limit(r, max_bytes, what);
	return 0;
}

/* --- is it a tar ----------------------------------------------------------------------------- */

/* The header checksum: bytes as unsigned or, by old writers, signed; its own field as blanks. */
static bool is_tar_header(const unsigned char *p)
{
	unsigned want = 0, sum = 0;
	int ssum = 0;
	size_t i = 148;
	while (i < 156 && p[i] == ' ')
		i++;
	if (i == 156 || p[i] < '0' || p[i] > '7')
		return false;
	for (; i < 156 && p[i] >= '0' && p[i] <= '7'; i++)
		want = want * 8 + (p[i] - '0');
	for (i = 0; i < HEAD_SIZE; i++) {
		unsigned char c = i >= 148 && i < 156 ? ' ' : p[i];
		sum += c;
		ssum += (signed char)c;
	}
	return p[0] && (want == sum || (int)want == ssum);
}

static ssize_t read_head(int fd, unsigned char *head)
{
	size_t n = 0;
	while (n < HEAD_SIZE) {
		ssize_t r = pread(fd, head + n, HEAD_SIZE - n, (off_t)n);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			break;
		n += (size_t)r;
	}
	return (ssize_t)n;
}

int layer_is_archive(int fd, bool *ret, struct error *err)
{
	unsigned char head[HEAD_SIZE], block[HEAD_SIZE];
	ssize_t n = read_head(fd, head);
	if (n < 0)
		return err_sys(err, (int)n, "cannot read");
	if (kind_of(head, (size_t)n) == KIND_OTHER) {
		*ret = n == HEAD_SIZE && is_tar_header(head);
		return 0;
	}
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(err, errno, "cannot read");
	_cleanup_reader_ struct reader *r = NULL;
	_cleanup_error_ struct error why = ERROR_INIT;
	/* What does not decompress is a file like any other. But a missing library must not turn
	 * an archive into a plain copy. */
	if (archive_open(reader_fd(fd, "archive"), head, (size_t)n, "archive", DEFAULT_MAX_BYTES,
	            &r, &why) == 0 &&
	        reader_read_full(r, block, sizeof(block), "archive", &why) == 0) {
		*ret = is_tar_header(block);
		return 0;
	}
	if (why.class == ERR_SYSTEM) {
		error_move(err, &why);
		return -1;
	}
	*ret = false;
	return 0;
}

/* --- unpacking ------------------------------------------------------------------------------- */

/* Digests and checksums are of the whole file: take what the tar reader left unread. */
static int drain(struct reader *r, struct error *err)
{
	char buf[4096];
	ssize_t n;
	while ((n = reader_read(r, buf, sizeof(buf), err)) > 0)
		;
	return (int)n;
}

/* What was looked at already comes first, then the rest: a pipe cannot be rewound. */
struct peeked {
	struct reader base;
	struct reader *next;
	unsigned char head[HEAD_SIZE];
	size_t n, at;
};

static ssize_t peeked_read(struct reader *base, void *p, size_t n, struct error *err)
{
	struct peeked *r = (struct peeked *)base;
	if (r->at == r->n)
		return reader_read(r->next, p, n, err);
	n = MIN(n, r->n - r->at);
	memcpy(p, r->head + r->at, n);
	r->at += n;
	return (ssize_t)n;
}

static void peeked_free(struct reader *base)
{
	struct peeked *r = (struct peeked *)base;
	reader_free(r->next);
	free(r);
}

/* Owns next, also on failure. */
static struct peeked *peek(struct reader *next, struct error *err)
{
	struct peeked *r = new0(struct peeked, 1);
	r->base.read = peeked_read;
	r->base.free = peeked_free;
	r->next = next;
	while (r->n < HEAD_SIZE) {
		ssize_t n = reader_read(next, r->head + r->n, HEAD_SIZE - r->n, err);
		if (n < 0) {
			peeked_free(&r->base);
			return NULL;
		}
		if (n == 0)
			break;
		r->n += (size_t)n;
	}
	return r;
}

int unpack_archive_fd(struct upper *u, int fd, const struct unpack_options *opt,
        const struct digest *expected, struct error *err)
{
	struct digest d;
	uint64_t size;
	struct reader *raw = reader_hash(reader_fd(fd, opt->what), &d, &size);
	_cleanup_reader_ struct reader *r = NULL;
	struct peeked *in = peek(raw, err);
	if (!in)
		return -1;
	/* headers, padding and the like come on top of the contents */
	uint64_t max = opt->max_bytes + (4ull << 30);
	if (archive_open(&in->base, in->head, in->n, opt->what, max, &r, err) < 0)
		return -1;
	_cleanup_(tar_reader_freep) struct tar_reader *tr = tar_reader_new(r, opt->what);
	if (unpack_tar(u, tr, opt, err) < 0)
		return -1;
	/* The checksum of compressed data stands behind the archive's end. */
	if (kind_of(in->head, in->n) != KIND_OTHER && drain(r, err) < 0)
		return err_wrap(err, "%s", opt->what);
	if (!expected)
		return 0;
	if (drain(raw, err) < 0)
		return -1;
	if (!digest_eq(&d, expected))
		return err_set(err, ERR_INTEGRITY, "%s changed while being read", opt->what);
	return 0;
}

int layer_unpack_archive(
        int fd, const char *what, int destfd, uint64_t max_bytes, struct error *err)
{
	struct upper u;
	_cleanup_tree_ struct tree t = TREE_INIT;
	struct unpack_options opt = {
	        .what = what,
	        .base = "",
	        .plain = true,
	        .max_bytes = max_bytes ? max_bytes : DEFAULT_MAX_BYTES,
	};
	int r = upper_init(&u, destfd, NULL, NULL, true, err);
	if (r == 0)
		r = unpack_archive_fd(&u, fd, &opt, NULL, err);
	if (r == 0)
		r = upper_finish(&u, &t, err);
	upper_release(&u);
	return r;
}
