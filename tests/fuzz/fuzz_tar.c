/* The tar reader on any bytes. Properties: names are clean, sparse or not a file gives exactly the
 * bytes it promised, and what was read comes back equal through the canonical writer. */
#include <stdio.h>

#include "tar/reader.h"
#include "tar/writer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CONTENT_MAX ((uint64_t)1 << 20)

static void check(bool cond, const char *what)
{
	if (!cond) {
		fprintf(stderr, "property violated: %s\n", what);
		abort();
	}
}

static bool clean(const char *p)
{
	if (*p == '/')
		p++;
	if (!*p)
		return true;
	for (;;) {
		size_t n = strcspn(p, "/");
		if (n == 0 || (n == 1 && *p == '.'))
			return false;
		if (!p[n])
			return true;
		p += n + 1;
	}
}

static bool same(const struct tree_entry *a, const struct tree_entry *b)
{
	if (a->type != b->type || strcmp(a->path, b->path) != 0 || a->uid != b->uid ||
	        a->gid != b->gid || a->size != b->size || a->mtime_sec != b->mtime_sec ||
	        a->dev_major != b->dev_major || a->dev_minor != b->dev_minor ||
	        a->n_xattrs != b->n_xattrs || !a->link != !b->link ||
	        (a->link && strcmp(a->link, b->link) != 0))
		return false;
	for (uint32_t i = 0; i < a->n_xattrs; i++)
		if (strcmp(a->xattrs[i].name, b->xattrs[i].name) != 0 ||
		        a->xattrs[i].len != b->xattrs[i].len ||
		        memcmp(a->xattrs[i].value, b->xattrs[i].value, a->xattrs[i].len) != 0)
			return false;
	return true;
}

static void round_trip(const struct tree_entry *e)
{
	struct strbuf sb = STRBUF_INIT;
	struct error err = ERROR_INIT;
	struct sink *s = sink_strbuf(&sb, SIZE_MAX, "x");
	struct tree_entry back;
	if (tar_write_entry(e, s, &err) == 0 && sb.len) {
		struct reader *in = reader_mem(sb.buf, sb.len);
		struct tar_reader *r = tar_reader_new(in, "x");
		int n = tar_reader_next(r, &back, &err);
		if (n != 1)
			fprintf(stderr, "%s\n", err.msg ? err.msg : "end");
		check(n == 1 && same(e, &back), "what is written reads back");
		tar_reader_free(r);
		reader_free(in);
	}
	error_release(&err);
	sink_free(s);
	strbuf_release(&sb);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err = ERROR_INIT;
	struct reader *in = reader_mem(data, size);
	struct tar_reader *r = tar_reader_new(in, "fuzz");
	struct tree_entry e;
	static char buf[8192];
	int n;
	while ((n = tar_reader_next(r, &e, &err)) == 1) {
		check(clean(e.path), "paths are clean");
		check(e.type >= TREE_REG && e.type <= TREE_FIFO, "a known type");
		check(e.mode <= 07777 && e.mtime_nsec < 1000000000, "fields in range");
		check(!e.link || *e.link, "links have targets");
		round_trip(&e);
		uint64_t total = 0;
		ssize_t got = 0;
		while (total < CONTENT_MAX &&
		        (got = tar_reader_read(r, buf, sizeof(buf), &err)) > 0)
			total += (uint64_t)got;
		if (got < 0)
			break;
		check(total == e.size || total >= CONTENT_MAX, "as many bytes as promised");
	}
	error_release(&err);
	tar_reader_free(r);
	reader_free(in);
	return 0;
}
