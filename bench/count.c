/* bench/count.c - fixed work for callgrind to count: bench/check.
 *
 * The input is made first; only what happens below counted_*() is counted (--toggle-collect). */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/strbuf.h"
#include "dockerfile/dockerfile.h"
#include "tar/writer.h"

int counted_parse(struct arena *a, const char *text, size_t n, struct error *err);
int counted_tar(const struct tree *t, int fd, struct sink *out, struct error *err);

__attribute__((noinline)) int counted_parse(
        struct arena *a, const char *text, size_t n, struct error *err)
{
	struct df_file *f;
	return df_parse(a, text, n, "Dockerfile", &f, err);
}

__attribute__((noinline)) int counted_tar(
        const struct tree *t, int fd, struct sink *out, struct error *err)
{
	return tar_write_tree(t, fd, NULL, out, err);
}

static int report(int rc, struct error *err)
{
	if (rc < 0)
		fprintf(stderr, "count: %s\n", err->msg);
	error_release(err);
	return rc < 0;
}

/* parse - 200 stages of all that a Dockerfile has. */
static int parse(void)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	_cleanup_arena_ struct arena a = ARENA_INIT;
	struct error err = ERROR_INIT;
	for (int i = 0; i < 200; i++)
		strbuf_addf(&b,
		        "# stage %d\nFROM base:%d AS s%d\nARG V=%d\nENV A=%d B=\"x $V y\" \\\n"
		        "    C='z'\nWORKDIR /work/%d\nCOPY --chown=1:2 --chmod=644 a b/* c%d/\n"
		        "RUN --mount=type=cache,target=/c,id=k%d set -e; \\\n    make -j4 \\\n"
		        "    # a comment inside\n    install\nRUN <<EOF\necho %d\nEOF\n"
		        "LABEL k%d=v l=\"w\"\nEXPOSE 80/tcp %d\nCMD [\"run\", \"--n\", \"%d\"]\n",
		        i, i, i, i, i, i, i, i, i, i, 1000 + i, i);
	return report(counted_parse(&a, b.buf, b.len, &err), &err);
}

static void add(struct tree *t, const char *path, enum tree_type type, uint64_t size)
{
	struct tree_entry e = {.path = path,
	        .type = type,
	        .mode = type == TREE_DIR ? 0755 : 0644,
	        .size = size,
	        .mtime_sec = 1700000000,
	        .link = type == TREE_SYMLINK ? "../target" : NULL};
	tree_add(t, &e);
}

static int write_file(int dir, const char *name, size_t n)
{
	char buf[8192];
	memset(buf, 'x', sizeof(buf));
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	int r = fd < 0 || write(fd, buf, n) != (ssize_t)n ? -1 : 0;
	if (fd >= 0)
		close(fd);
	return r;
}

/* tar - 5,000 entries: directories, empty files, links, long names, and 500 files with bytes. */
static int tar(const char *dir)
{
	_cleanup_tree_ struct tree t = TREE_INIT;
	_cleanup_sink_ struct sink *out = sink_null();
	struct error err = ERROR_INIT;
	char path[400];
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return 1;
	for (int i = 0; i < 900; i++) {
		snprintf(path, sizeof(path), "d%04d", i);
		add(&t, path, TREE_DIR, 0);
		for (int k = 0; k < 4; k++) {
			snprintf(path, sizeof(path), "d%04d/%s%d", i, k & 1 ? "link" : "empty", k);
			add(&t, path, k & 1 ? TREE_SYMLINK : TREE_REG, 0);
		}
		if (i % 9 == 0) {
			memset(path, 'n', 250);
			snprintf(path, sizeof(path), "d%04d/%0240d", i, i);
			add(&t, path, TREE_REG, 0);
		}
	}
	for (int i = 0; i < 500; i++) {
		snprintf(path, sizeof(path), "f%04d", i);
		if (write_file(fd, path, 1 + (size_t)i * 16) < 0)
			return 1;
		add(&t, path, TREE_REG, 1 + (uint64_t)i * 16);
	}
	tree_sort(&t);
	int rc = counted_tar(&t, fd, out, &err);
	close(fd);
	return report(rc, &err);
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "parse"))
		return parse();
	if (argc == 3 && !strcmp(argv[1], "tar"))
		return tar(argv[2]);
	fprintf(stderr, "usage: count parse | tar EMPTY_DIRECTORY\n");
	return 2;
}
