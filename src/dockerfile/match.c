/* dockerfile/match.c - Go's filepath.Match and path.Clean (see ignore.h).
 *
 * Patterns: '*' any run without '/', '?' any one character but '/', [..] a class (which may match
 * '/'), backslash escapes. A malformed pattern is malformed whatever the path. */
#include "dockerfile/ignore.h"

#include "dockerfile/text.h"

struct span {
	const char *p, *end;
};

/* next_chunk - cut [stars] and the piece up to the next star off the pattern. */
static bool next_chunk(struct span *pattern, struct span *ret_chunk)
{
	bool star = false, in_class = false;
	const char *p = pattern->p;

	for (; p < pattern->end && *p == '*'; p++)
		star = true;
	ret_chunk->p = p;
	for (; p < pattern->end; p++) {
		if (*p == '\\' && p + 1 < pattern->end)
			p++;
		else if (*p == '[')
			in_class = true;
		else if (*p == ']')
			in_class = false;
		else if (*p == '*' && !in_class)
			break;
	}
	ret_chunk->end = pattern->p = p;
	return star;
}

/* class_rune - one end of a range in a class; false: malformed. */
static bool class_rune(struct span *chunk, uint32_t *ret)
{
	if (chunk->p == chunk->end || *chunk->p == '-' || *chunk->p == ']')
		return false;
	if (*chunk->p == '\\' && ++chunk->p == chunk->end)
		return false;
	size_t width;
	*ret = text_decode(chunk->p, chunk->end, &width);
	if (*ret == RUNE_ERROR && width == 1)
		return false;
	chunk->p += width;
	return chunk->p < chunk->end;
}

/* match_class - behind '['. 1: r is in the class; 0: not; -1: malformed. */
static int match_class(struct span *chunk, uint32_t r)
{
	bool negated = chunk->p < chunk->end && *chunk->p == '^', hit = false;

	chunk->p += negated;
	for (size_t n = 0;; n++) {
		if (chunk->p < chunk->end && *chunk->p == ']' && n > 0) {
			chunk->p++;
			return hit != negated;
		}
		uint32_t lo, hi;
		if (!class_rune(chunk, &lo))
			return -1;
		hi = lo;
		if (*chunk->p == '-') {
			chunk->p++;
			if (!class_rune(chunk, &hi))
				return -1;
		}
		hit |= lo <= r && r <= hi;
	}
}

/* match_chunk - a piece without stars against the start of *s. 1: *s is moved behind it; after a
 * mismatch the rest of the chunk is still checked for its form. */
static int match_chunk(struct span chunk, struct span *s)
{
	struct span at = *s;
	bool failed = false;

	while (chunk.p < chunk.end) {
		size_t width;
		failed |= at.p == at.end;
		if (*chunk.p == '[') {
			uint32_t r = 0;
			if (!failed) {
				r = text_decode(at.p, at.end, &width);
				at.p += width;
			}
			chunk.p++;
			int hit = match_class(&chunk, r);
			if (hit < 0)
				return -1;
			failed |= !hit;
			continue;
		}
		if (*chunk.p == '?') {
			chunk.p++;
			failed = failed || *at.p == '/';
			if (!failed) {
				text_decode(at.p, at.end, &width);
				at.p += width;
			}
			continue;
		}
		if (*chunk.p == '\\' && ++chunk.p == chunk.end)
			return -1;
		failed = failed || *chunk.p != *at.p;
		at.p += !failed;
		chunk.p++;
	}
	if (failed)
		return 0;
	*s = at;
	return 1;
}

static int check_rest(struct span pattern)
{
	while (pattern.p < pattern.end) {
		struct span chunk, empty = {"", ""};
		empty.end = empty.p;
		next_chunk(&pattern, &chunk);
		if (match_chunk(chunk, &empty) < 0)
			return -1;
	}
	return 0;
}

int df_match(const char *pattern_text, const char *path)
{
	struct span pattern = {pattern_text, pattern_text + strlen(pattern_text)};
	struct span s = {path, path + strlen(path)};

	while (pattern.p < pattern.end) {
		struct span chunk, at = s;
		bool star = next_chunk(&pattern, &chunk);
		if (star && chunk.p == chunk.end)
			return !memchr(s.p, '/', (size_t)(s.end - s.p));
		/* The last chunk must reach the end; one before the last may stop anywhere. */
		bool last = pattern.p == pattern.end;
		int r = match_chunk(chunk, &at);
		if (r < 0)
			return -1;
		while (star && (!r || (last && at.p < at.end)) && s.p < s.end && *s.p != '/') {
			at = (struct span){++s.p, s.end};
			r = match_chunk(chunk, &at);
		}
		if (!r || (last && at.p < at.end))
			return check_rest(pattern);
		s = at;
	}
	return s.p == s.end;
}

bool df_has_wildcard(const char *pattern)
{
	for (; *pattern; pattern++) {
		if (*pattern == '\\' && pattern[1])
			pattern++;
		else if (strchr("*?[", *pattern))
			return true;
	}
	return false;
}

char *df_clean_path(const char *path)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	bool rooted = *path == '/';
	size_t keep = rooted; /* what ".." must not take away */

	if (rooted)
		strbuf_addch(&out, '/');
	while (*path) {
		size_t n = strcspn(path, "/");
		if (n == 2 && path[0] == '.' && path[1] == '.') {
			if (out.len > keep) {
				size_t len = out.len;
				while (len > keep && out.buf[--len] != '/')
					;
				strbuf_truncate(&out, len);
			} else if (!rooted) {
				strbuf_addstr(&out, out.len ? "/.." : "..");
				keep = out.len;
			}
		} else if (n && !(n == 1 && path[0] == '.')) {
			if (out.len && out.len != (size_t)rooted)
				strbuf_addch(&out, '/');
			strbuf_add(&out, path, n);
		}
		path += n;
		path += *path == '/';
	}
	if (out.len == 0)
		strbuf_addch(&out, '.');
	return strbuf_detach(&out);
}
