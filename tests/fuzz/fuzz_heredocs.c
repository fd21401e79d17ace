/* tests/fuzz/fuzz_heredocs.c - the input is put behind "RUN ", "COPY " or "ONBUILD ADD ", so that
 * nearly all of it is about heredocs. */
#include <stdint.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/strbuf.h"
#include "dockerfile/dockerfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
	if (!condition)
		abort();
}

static void check_heredoc(const struct df_file *f, const struct df_heredoc *h)
{
	require(*h->name && strlen(h->raw) == h->raw_len && strlen(h->content) == h->content_len);
	require(h->content_len <= h->raw_len && h->fd >= 0);
	/* The body is a piece of the source, and no line of it is the end marker. */
	require(strstr(f->text, h->raw));
	for (const char *p = h->raw; *p;) {
		size_t n = strcspn(p, "\n"), bare = n;
		while (bare && p[bare - 1] == '\r')
			bare--;
		require(bare != strlen(h->name) || memcmp(p, h->name, bare) != 0);
		require(!h->chomp || h->content_len == 0 || h->content[0] != '\t');
		p += n + (p[n] == '\n');
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const before[] = {"RUN ", "COPY ", "ONBUILD ADD ", "RUN \\\n"};
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_error_ struct error err = ERROR_INIT;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct df_file *f;
	struct df_heredoc word;

	if (!size)
		return 0;
	strbuf_addstr(&text, before[data[0] % ARRAY_SIZE(before)]);
	strbuf_add(&text, data + 1, size - 1);
	if (df_parse(&a, text.buf, text.len, "Dockerfile", &f, &err) < 0) {
		require(err.class == ERR_SYNTAX && err.msg);
		return 0;
	}
	for (size_t i = 0; i < f->n_instrs; i++) {
		const struct df_instr *in = f->instrs[i];
		for (size_t k = 0; k < in->n_heredocs; k++)
			check_heredoc(f, &in->heredocs[k]);
		for (size_t k = 0; k < in->n_args; k++)
			if (df_heredoc_word(&a, in->args[k], &word))
				require(*word.name);
	}
	return 0;
}
