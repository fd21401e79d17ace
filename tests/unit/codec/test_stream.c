/* Plain sinks and readers. */
#include <pthread.h>
#include "codec/stream.h"
#include "../tap.h"

#include <fcntl.h>

static struct digest digest_of(const char *hex)
{
	struct digest d;
	char s[DIGEST_STR_MAX];
	snprintf(s, sizeof(s), "sha256:%s", hex);
	if (!digest_parse(s, &d))
		abort();
	return d;
}
#define ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static void sinks(void)
{
	_cleanup_error_ struct error err = ERROR_INIT;
	_cleanup_strbuf_ struct strbuf a = STRBUF_INIT, b = STRBUF_INIT;
	struct digest d, abc = digest_of(ABC);
	uint64_t n = 0;
	struct sink *tee = sink_tee(sink_strbuf(&a, 3, "a"), sink_strbuf(&b, 3, "b"));
	_cleanup_sink_ struct sink *s = sink_hash(tee, &d, &n);
	ok(sink_write(s, "ab", 2, &err) == 0 && sink_write(s, "c", 1, &err) == 0, "writes");
	ok(sink_write(s, NULL, 0, &err) == 0, "nothing is fine");
	ok(sink_finish(s, &err) == 0, "finishes");
	ok(digest_eq(&d, &abc) && n == 3, "hash and size");
	is_str(a.buf, "abc", "one branch");
	is_str(b.buf, "abc", "the other");

	_cleanup_strbuf_ struct strbuf c = STRBUF_INIT;
	_cleanup_sink_ struct sink *small = sink_strbuf(&c, 2, "the small thing");
	ok(sink_write(small, "abc", 3, &err) < 0 && err.class == ERR_INTEGRITY &&
	                strstr(err.msg, "the small thing is larger than the 2 bytes"),
	        "memory is capped");
	_cleanup_sink_ struct sink *alone = sink_hash(NULL, &d, NULL);
	error_release(&err);
	ok(sink_write(alone, "abc", 3, &err) == 0 && sink_finish(alone, &err) == 0 &&
	                digest_eq(&d, &abc),
	        "a hash alone");
}

static void descriptors(void)
{
	_cleanup_error_ struct error err = ERROR_INIT;
	int p[2];
	if (pipe2(p, O_CLOEXEC) < 0)
		abort();
	_cleanup_sink_ struct sink *s = sink_fd(p[1], "pipe");
	ok(sink_write(s, "hello", 5, &err) == 0 && sink_finish(s, &err) == 0, "fd sink");
	close(p[1]);
	char buf[8];
	_cleanup_reader_ struct reader *r = reader_fd(p[0], "pipe");
	ok(reader_read_full(r, buf, 3, "greeting", &err) == 0 && memcmp(buf, "hel", 3) == 0,
	        "fd reader");
	ok(reader_read_full(r, buf, 3, "greeting", &err) < 0 && err.class == ERR_INTEGRITY,
	        "too short");
	is_str(err.msg, "unexpected end of greeting", "says what");
	close(p[0]);
	error_release(&err);
	_cleanup_close_ int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	_cleanup_sink_ struct sink *f = sink_fd(full, "layer.tar");
	ok(sink_write(f, "x", 1, &err) < 0 && strstr(err.msg, "cannot write layer.tar: No space"),
	        "a full disk is named");
}

/* A file too large for the page cache's sake, from a place of its own, in pieces of all sizes; on a
 * disk and in memory, where nothing can go around the cache. */
static void large_file(const char *dir)
{
	enum { SIZE = (20 << 20) + 12345, BEFORE = 777 };
	_cleanup_error_ struct error err = ERROR_INIT;
	_cleanup_free_ unsigned char *data = xmalloc(SIZE), *back = xmalloc(SIZE + 1);
	_cleanup_free_ char *path = xasprintf("%s/strake-stream-XXXXXX", dir);
	_cleanup_close_ int fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0 || lseek(fd, BEFORE, SEEK_SET) != BEFORE)
		abort();
	unlink(path);
	uint32_t x = 1;
	for (size_t i = 0; i < SIZE; i++)
		data[i] = (unsigned char)((x = x * 1664525 + 1013904223) >> 24);
	_cleanup_sink_ struct sink *s = sink_file(fd, "a large file");
	bool good = true;
	for (size_t at = 0, k = 1; at < SIZE && good; at += k) {
		k = MIN(SIZE - at, (k * 7 + 3) % (3 << 20));
		good = sink_write(s, data + at, k, &err) == 0;
	}
	ok(good && sink_finish(s, &err) == 0, "a large file is written");
	ok(lseek(fd, 0, SEEK_END) == BEFORE + SIZE, "from its position to its end");
	lseek(fd, BEFORE, SEEK_SET);
	_cleanup_reader_ struct reader *r = reader_file(fd, "a large file");
	ok(reader_read_full(r, back, SIZE, "the file", &err) == 0 && !memcmp(back, data, SIZE),
	        "and read");
	ok(reader_read(r, back, 1, &err) == 0, "to its end");
}

static void full_disk(void)
{
	_cleanup_error_ struct error err = ERROR_INIT;
	_cleanup_close_ int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	_cleanup_sink_ struct sink *f = sink_file(full, "layer.tar");
	static char data[9 << 20];
	ok(sink_write(f, data, sizeof(data), &err) < 0 &&
	                strstr(err.msg, "cannot write layer.tar: No space"),
	        "a full disk is named for large files too");
}

static void readers(void)
{
	_cleanup_error_ struct error err = ERROR_INIT;
	struct digest d, abc = digest_of(ABC);
	uint64_t n = 0;
	char buf[8];
	_cleanup_reader_ struct reader *r = reader_hash(reader_mem("abc", 3), &d, &n);
	ok(reader_read(r, buf, 2, &err) == 2 && reader_read(r, buf, 8, &err) == 1, "reads");
	is_int(n, 0, "no digest before the end");
	ok(reader_read(r, buf, 8, &err) == 0 && reader_read(r, buf, 8, &err) == 0, "the end stays");
	ok(digest_eq(&d, &abc) && n == 3, "hash and size");
	_cleanup_reader_ struct reader *l = reader_limit(reader_mem("abcd", 4), 3, "config");
	ok(reader_read(l, buf, 3, &err) == 3, "up to the limit");
	ok(reader_read(l, buf, 3, &err) < 0 && strstr(err.msg, "config is larger than the 3"),
	        "and not beyond");
	_cleanup_reader_ struct reader *e = reader_limit(reader_mem("abc", 3), 3, "config");
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	_cleanup_sink_ struct sink *to = sink_strbuf(&sb, 100, "x");
	error_release(&err);
	ok(stream_copy(e, to, &err) == 0, "exactly the limit is fine");
	is_str(sb.buf, "abc", "copied");
}

#define PIPE_TOTAL (3u << 20)

static unsigned char pipe_byte(size_t i)
{
	return (unsigned char)(i * 31 + (i >> 9));
}

static void *write_pipe(void *arg)
{
	struct sink *to = arg;
	struct error err = ERROR_INIT;
	unsigned char buf[5000];
	for (size_t at = 0, step = 1; at < PIPE_TOTAL; step = step * 7 % 4999 + 1) {
		size_t n = MIN(step, PIPE_TOTAL - at);
		for (size_t i = 0; i < n; i++)
			buf[i] = pipe_byte(at + i);
		if (sink_write(to, buf, n, &err) < 0)
			break;
		at += n;
	}
	if (sink_finish(to, &err) < 0)
		error_release(&err);
	sink_free(to);
	return NULL;
}

static void pipes(void)
{
	_cleanup_error_ struct error err = ERROR_INIT;
	struct sink *in;
	struct reader *out;
	pthread_t t;
	unsigned char buf[3001];
	size_t at = 0, wrong = 0;
	ssize_t n;
	stream_pipe(10007, &in, &out);
	if (pthread_create(&t, NULL, write_pipe, in) != 0)
		abort();
	while ((n = reader_read(out, buf, at % 3000 + 1, &err)) > 0)
		for (ssize_t i = 0; i < n; i++, at++)
			wrong += buf[i] != pipe_byte(at);
	pthread_join(t, NULL);
	is_int(n, 0, "a pipe ends");
	is_int(at, PIPE_TOTAL, "all of it came through");
	is_int(wrong, 0, "as it was");
	ok(reader_read(out, buf, 1, &err) == 0, "the end stays");
	reader_free(out);
	stream_pipe(16, &in, &out);
	ok(sink_write(in, "abc", 3, &err) == 0, "fits");
	sink_free(in);
	is_int(reader_read(out, buf, 10, &err), 3, "what was written is read");
	ok(reader_read(out, buf, 10, &err) < 0 && err.class == ERR_NETWORK,
	        "a writer that gave up is no end");
	reader_free(out);
	error_release(&err);
	stream_pipe(16, &in, &out);
	reader_free(out);
	ok(sink_write(in, buf, sizeof(buf), &err) == 0, "nobody reads: dropped, not waited for");
	ok(sink_finish(in, &err) == 0, "and finished");
	sink_free(in);
}

/* Threads between: the same bytes, the same results, the same errors. */
static void threads(void)
{
	_cleanup_error_ struct error err = ERROR_INIT;
	size_t n = PIPE_TOTAL;
	_cleanup_free_ unsigned char *data = xmalloc(n);
	struct digest a, b, c;
	uint64_t na = 0, nb = 0;
	for (size_t i = 0; i < n; i++)
		data[i] = pipe_byte(i);
	sha256_buf(data, n, &c);
	struct reader *r = reader_ahead(reader_hash(reader_mem(data, n), &a, &na), 4096);
	struct sink *s = sink_behind(sink_hash(NULL, &b, &nb), 5000);
	ok(stream_copy(r, s, &err) == 0 && sink_finish(s, &err) == 0, "through both threads");
	ok(na == n && digest_eq(&a, &c), "what the reader stores at its end is there");
	ok(nb == n && digest_eq(&b, &c), "what the sink stores at finish() is there");
	reader_free(r);
	sink_free(s);

	r = reader_ahead(reader_limit(reader_mem(data, n), 1000, "the text"), 64);
	s = sink_null();
	ok(stream_copy(r, s, &err) < 0 && err.class == ERR_INTEGRITY && strstr(err.msg, "the text"),
	        "its own error, not that of a pipe");
	error_release(&err);
	reader_free(r);
	sink_free(s);

	struct strbuf sb = STRBUF_INIT;
	s = sink_behind(sink_strbuf(&sb, 1000, "the answer"), 64);
	int rc = 0;
	for (size_t i = 0; i < n && rc == 0; i += 100)
		rc = sink_write(s, data + i, MIN((size_t)100, n - i), &err);
	if (rc == 0)
		rc = sink_finish(s, &err);
	ok(rc < 0 && err.class == ERR_INTEGRITY && strstr(err.msg, "the answer"),
	        "an error behind comes to whoever writes");
	error_release(&err);
	sink_free(s);
	strbuf_release(&sb);

	/* Given up half way on either side: nothing hangs, nothing is finished. */
	memset(&b, 0, sizeof(b));
	s = sink_behind(sink_hash(NULL, &b, &nb), 5000);
	ok(sink_write(s, data, 10000, &err) == 0, "a part is written");
	sink_free(s);
	ok(digest_is_zero(&b), "and not finished");
	r = reader_ahead(reader_mem(data, n), 64);
	is_int(reader_read(r, data, 10, &err), 10, "a part is read");
	reader_free(r);
}

int main(void)
{
	pipes();
	threads();
	sinks();
	descriptors();
	large_file("/tmp");
	large_file("/dev/shm");
	full_disk();
	readers();
	return tap_done();
}
