/* dockerfile/dockerfile.c - names of instructions, places in the text, and the excerpt below an
 * error. */
#include "dockerfile/dockerfile.h"

#include "base/human.h"
#include "base/strbuf.h"
#include "dockerfile/text.h"

static const struct {
	const char *lower, *upper;
} kinds[] = {
        [DF_ADD] = {"add", "ADD"},
        [DF_ARG] = {"arg", "ARG"},
        [DF_CMD] = {"cmd", "CMD"},
        [DF_COPY] = {"copy", "COPY"},
        [DF_ENTRYPOINT] = {"entrypoint", "ENTRYPOINT"},
        [DF_ENV] = {"env", "ENV"},
        [DF_EXPOSE] = {"expose", "EXPOSE"},
        [DF_FROM] = {"from", "FROM"},
        [DF_HEALTHCHECK] = {"healthcheck", "HEALTHCHECK"},
        [DF_LABEL] = {"label", "LABEL"},
        [DF_MAINTAINER] = {"maintainer", "MAINTAINER"},
        [DF_ONBUILD] = {"onbuild", "ONBUILD"},
        [DF_RUN] = {"run", "RUN"},
        [DF_SHELL] = {"shell", "SHELL"},
        [DF_STOPSIGNAL] = {"stopsignal", "STOPSIGNAL"},
        [DF_USER] = {"user", "USER"},
        [DF_VOLUME] = {"volume", "VOLUME"},
        [DF_WORKDIR] = {"workdir", "WORKDIR"},
};

enum df_kind df_kind_from_name(const char *lower_name)
{
	for (size_t i = 1; i < ARRAY_SIZE(kinds); i++)
		if (str_eq(kinds[i].lower, lower_name))
			return (enum df_kind)i;
	return DF_UNKNOWN;
}

const char *df_kind_name(enum df_kind k)
{
	return k > DF_UNKNOWN && k < ARRAY_SIZE(kinds) ? kinds[k].upper : "UNKNOWN";
}

const char *df_kind_nearest(const char *name)
{
	const char *names[ARRAY_SIZE(kinds)];
	for (size_t i = 1; i < ARRAY_SIZE(kinds); i++)
		names[i - 1] = kinds[i].upper;
	return strlen(name) > 32 ? NULL : human_nearest(name, names, ARRAY_SIZE(kinds) - 1);
}

static bool starts_word(const char *line, const char *at)
{
	return at == line || text_is_blank(at[-1]) || strchr("=,[\"'", at[-1]);
}

bool df_find_word(const struct df_file *f, int line, int end_line, const char *word, int *ret_line,
        int *ret_column)
{
	bool found = false;

	if (!*word || line < 1)
		return false;
	for (size_t i = (size_t)line - 1; i < f->n_lines && i < (size_t)end_line; i++)
		for (const char *p = f->lines[i]; (p = strstr(p, word)); p++) {
			bool good = starts_word(f->lines[i], p);
			if (found && !good)
				continue;
			*ret_line = (int)i + 1;
			*ret_column = (int)(p - f->lines[i]) + 1;
			if (good)
				return true;
			found = true;
		}
	return found;
}

#define EXCERPT_RULE "--------------------\n"
#define EXCERPT_LINE_MAX 400

static void excerpt_line(const struct df_file *f, int i, bool marked, struct strbuf *out)
{
	const char *text = (size_t)i <= f->n_lines ? f->lines[i - 1] : "";
	size_t n = strlen(text);
	_cleanup_free_ char *safe = human_escape(text, MIN(n, (size_t)EXCERPT_LINE_MAX), true);
	strbuf_addf(out, " %3d | %s %s%s\n", i, marked ? ">>>" : "   ", safe,
	        n > EXCERPT_LINE_MAX ? "..." : "");
}

char *df_excerpt(const struct df_file *f, int line, int end_line)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	/* A file that ends in a newline has one empty line more, as docker counts. */
	int n = (int)f->n_lines + (f->text_len && f->text[f->text_len - 1] == '\n');

	if (line < 1 || line > n)
		return strbuf_detach(&out);
	end_line = MIN(MAX(end_line, line), n);
	int start = line, stop = end_line, pad = line == end_line ? 4 : 2;
	for (int p = 0; p < pad; p++) {
		if (start > 1) {
			start--;
			p++;
		}
		if (stop < n) {
			stop++;
			p++;
		}
	}
	_cleanup_free_ char *name = human_escape(f->name, strlen(f->name), false);
	strbuf_addf(&out, "%s:%d\n" EXCERPT_RULE, name, line);
	for (int i = start; i <= stop; i++)
		excerpt_line(f, i, i >= line && i <= end_line, &out);
	strbuf_addstr(&out, EXCERPT_RULE);
	return strbuf_detach(&out);
}
