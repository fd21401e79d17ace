/* dockerfile/frontend.c - which frontend a file asks for, and the directives of its first lines.
 *
 * Reading directives for this purpose is laxer than parsing: a #! line may stand before them, and
 * `syntax` may be given in a // comment or as the member of a JSON object. */
#include "dockerfile/lexer.h"

#include <strings.h>

#include "dockerfile/text.h"
#include "dockerfile/words.h"

struct place {
	const char *p, *end;
	int line; /* lines skipped before p */
};

static struct place begin(const char *text, size_t n)
{
	struct place at = {text, text + n, 0};
	if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		at.p += 3;
	if (at.end - at.p >= 2 && at.p[0] == '#' && at.p[1] == '!') {
		const char *nl = memchr(at.p, '\n', (size_t)(at.end - at.p));
		at.p = nl ? nl + 1 : at.end;
		at.line = 1;
	}
	return at;
}

static bool known(const char *key, size_t n)
{
	static const char *const names[] = {"syntax", "escape", "check"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strlen(names[i]) == n && strncasecmp(names[i], key, n) == 0)
			return true;
	return false;
}

static const char *find(
        struct arena *a, struct place at, const char *mark, const char *want, int *ret_line)
{
	while (at.p < at.end) {
		const char *nl = memchr(at.p, '\n', (size_t)(at.end - at.p));
		const char *stop = nl ? nl : at.end, *end = stop, *key, *value;
		size_t key_n, value_n;
		if (end > at.p && end[-1] == '\r')
			end--;
		at.line++;
		if (!lexer_split_directive(at.p, end, mark, &key, &key_n, &value, &value_n) ||
		        !known(key, key_n))
			return NULL;
		if (strlen(want) == key_n && strncasecmp(want, key, key_n) == 0) {
			if (ret_line)
				*ret_line = at.line;
			return arena_strndup(a, value, value_n);
		}
		at.p = nl ? nl + 1 : at.end;
	}
	return NULL;
}

const char *df_directive(
        struct arena *a, const char *text, size_t n, const char *key, int *ret_line)
{
	return find(a, begin(text, n), "#", key, ret_line);
}

const char *df_detect_frontend(struct arena *a, const char *text, size_t n, int *ret_line)
{
	struct place at = begin(text, n);
	const char *v = find(a, at, "#", "syntax", ret_line);
	if (!v)
		v = find(a, at, "//", "syntax", ret_line);
	if (!v) {
		v = words_json_member(a, at.p, at.end, "syntax");
		if (v && ret_line)
			*ret_line = at.line + 1;
	}
	if (!v)
		return NULL;
	/* What follows a blank are arguments to the frontend. */
	return arena_strndup(a, v, strcspn(v, " "));
}

int df_check_frontend(const char *image, const char *file, int line, struct error *err)
{
	static const char *const ours[] = {"docker/dockerfile", "docker.io/docker/dockerfile",
	        "index.docker.io/docker/dockerfile", "docker/dockerfile-upstream",
	        "docker.io/docker/dockerfile-upstream"};
	if (!image)
		return 0;
	size_t n = strcspn(image, "@");
	const char *colon = memrchr(image, ':', n), *slash = memrchr(image, '/', n);
	if (colon && (!slash || colon > slash))
		n = (size_t)(colon - image);
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		if (strlen(ours[i]) == n && memcmp(ours[i], image, n) == 0)
			return 0;
	err_set(err, ERR_SYNTAX, "the file asks for the frontend %s, which strake cannot run",
	        image);
	err_hint(err, "strake reads the Dockerfile language itself: remove the syntax line, or use "
	              "docker/dockerfile:1");
	return err_at(err, file, line, 1);
}
