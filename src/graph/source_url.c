/* graph/source_url.c - which sources of ADD are git repositories or files on the web, and their
 * parts. Source: the Dockerfile reference (ADD) and "build context" pages; SEMANTICS 44, 45. */
#include <ctype.h>

#include "base/human.h"
#include "base/strbuf.h"
#include "graph/plan.h"

void git_ref_release(struct git_ref *r)
{
	free(r->url);
	free(r->ref);
	free(r->subdir);
	free(r->checksum);
	*r = (struct git_ref){0};
}

/* scp_form - user@host:path; returns the length up to and including ':', or 0. */
static size_t scp_form(const char *s)
{
	size_t i = 0;
	while (isalnum((unsigned char)s[i]) || s[i] == '-' || s[i] == '_')
		i++;
	if (i == 0 || s[i++] != '@')
		return 0;
	size_t host = i;
	while (isalnum((unsigned char)s[i]) || s[i] == '-' || s[i] == '.')
		i++;
	return i > host && s[i] == ':' ? i + 1 : 0;
}

static bool is_git(const char *s, size_t path_len)
{
	if (str_starts(s, "git://") || str_starts(s, "ssh://") || scp_form(s))
		return true;
	return (str_starts(s, "http://") || str_starts(s, "https://")) && path_len > 4 &&
	       strncmp(s + path_len - 4, ".git", 4) == 0;
}

static int set_once(char **dst, const char *value, const char *what, struct error *err)
{
	if (*dst && !str_eq(*dst, value))
		return err_set(err, ERR_SYNTAX, "git source: %s is given twice (%s and %s)", what,
		        *dst, value);
	free(*dst);
	*dst = xstrdup(value);
	return 0;
}

static int percent_decode(const char *s, size_t n, char **ret, struct error *err)
{
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	for (size_t i = 0; i < n; i++) {
		if (s[i] == '+') {
			strbuf_addch(&sb, ' ');
		} else if (s[i] == '%') {
			if (i + 2 >= n || !isxdigit((unsigned char)s[i + 1]) ||
			        !isxdigit((unsigned char)s[i + 2]))
				return err_set(err, ERR_SYNTAX, "bad %%-escape in the URL's query");
			char hex[3] = {s[i + 1], s[i + 2], 0};
			char c = (char)strtol(hex, NULL, 16);
			if (!c)
				return err_set(err, ERR_SYNTAX, "a zero byte in the URL's query");
			strbuf_addch(&sb, c);
			i += 2;
		} else {
			strbuf_addch(&sb, s[i]);
		}
	}
	*ret = strbuf_detach(&sb);
	return 0;
}

static int query_bool(const char *key, const char *value, int *ret, struct error *err)
{
	bool b = true;
	if (*value && !go_parse_bool(value, &b))
		return err_set(
		        err, ERR_SYNTAX, "invalid value for %s in the git source: %s", key, value);
	*ret = b;
	return 0;
}

static int query_pair(struct git_ref *r, const char *key, const char *value, struct error *err)
{
	static const char *const keys[] = {"ref", "tag", "branch", "subdir", "checksum", "commit",
	        "submodules", "keep-git-dir"};
	_cleanup_free_ char *full = NULL;
	if (str_eq(key, "ref"))
		return set_once(&r->ref, value, "the ref", err);
	if (str_eq(key, "tag") || str_eq(key, "branch")) {
		const char *dir = *key == 't' ? "refs/tags/" : "refs/heads/";
		full = str_starts(value, dir) ? xstrdup(value) : xasprintf("%s%s", dir, value);
		return set_once(&r->ref, full, "the ref", err);
	}
	if (str_eq(key, "subdir"))
		return set_once(&r->subdir, value, "the subdirectory", err);
	if (str_eq(key, "checksum") || str_eq(key, "commit"))
		return set_once(&r->checksum, value, "the checksum", err);
	if (str_eq(key, "submodules"))
		return query_bool(key, value, &r->submodules, err);
	if (str_eq(key, "keep-git-dir"))
		return query_bool(key, value, &r->keep_git_dir, err);
	err_set(err, ERR_SYNTAX, "unexpected query \"%s\" in the git source", key);
	const char *near = human_nearest(key, keys, ARRAY_SIZE(keys));
	return near ? err_hint(err, "did you mean %s?", near)
	            : err_hint(err, "known are ref, tag, branch, subdir, checksum, submodules, "
	                            "keep-git-dir");
}

static int parse_query(struct git_ref *r, const char *q, size_t n, struct error *err)
{
	while (n) {
		const char *amp = memchr(q, '&', n);
		size_t len = amp ? (size_t)(amp - q) : n;
		const char *eq = memchr(q, '=', len);
		size_t klen = eq ? (size_t)(eq - q) : len;
		_cleanup_free_ char *key = NULL, *value = NULL;
		if (percent_decode(q, klen, &key, err) < 0 ||
		        percent_decode(
		                eq ? eq + 1 : q + len, eq ? len - klen - 1 : 0, &value, err) < 0)
			return -1;
		if (len && query_pair(r, key, value, err) < 0)
			return -1;
		q += amp ? len + 1 : len;
		n -= amp ? len + 1 : len;
	}
	return 0;
}

/* check_parts - nothing that git would take for an option, no way out of the checkout. */
static int check_parts(struct git_ref *r, struct error *err)
{
	if (r->ref && (*r->ref == '-' || strpbrk(r->ref, " \t\n")))
		return err_set(err, ERR_SYNTAX, "invalid ref \"%s\" in the git source", r->ref);
	if (r->subdir) {
		_cleanup_free_ char *clean = df_clean_path(r->subdir);
		const char *c = clean + strspn(clean, "/");
		if (str_eq(c, "..") || str_starts(c, "../"))
			return err_set(err, ERR_SYNTAX,
			        "the subdirectory \"%s\" of the git source lies outside of it",
			        r->subdir);
		char *rel = xstrdup(str_eq(c, ".") ? "" : c);
		free(r->subdir);
		r->subdir = rel;
		if (!*rel) {
			free(rel);
			r->subdir = NULL;
		}
	}
	if (r->checksum) {
		size_t n = strlen(r->checksum);
		if (n < 7 || n > 64 || r->checksum[strspn(r->checksum, "0123456789abcdefABCDEF")])
			return err_set(err, ERR_SYNTAX,
			        "invalid checksum \"%s\" of a git source: expected a commit hash",
			        r->checksum);
	}
	return 0;
}

int git_ref_parse(const char *s, struct git_ref *ret, struct error *err)
{
	*ret = (struct git_ref){.keep_git_dir = -1, .submodules = -1};
	size_t path_len = strcspn(s, "?#");
	if (!is_git(s, path_len))
		return 0;
	ret->url = xstrndup(s, path_len);
	const char *q = s + path_len;
	const char *hash = strchr(q, '#');
	size_t qlen = *q == '?' ? (hash ? (size_t)(hash - q) : strlen(q)) - 1 : 0;
	if (hash) {
		/* #ref:subdir */
		const char *colon = strchr(hash + 1, ':');
		size_t n = colon ? (size_t)(colon - hash - 1) : strlen(hash + 1);
		if (n)
			ret->ref = xstrndup(hash + 1, n);
		if (colon && colon[1])
			ret->subdir = xstrdup(colon + 1);
	}
	if ((qlen && parse_query(ret, q + 1, qlen, err) < 0) || check_parts(ret, err) < 0)
		return -1;
	return 1;
}

bool is_http_url(const char *s)
{
	return str_starts(s, "http://") || str_starts(s, "https://");
}

char *url_filename(const char *url)
{
	const char *host = strstr(url, "://");
	const char *path = host ? strchr(host + 3, '/') : NULL;
	size_t n = path ? strcspn(path, "?#") : 0;
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	for (size_t i = 0; i < n; i++) {
		int hi = -1;
		if (path[i] == '%' && i + 2 < n && isxdigit((unsigned char)path[i + 1]) &&
		        isxdigit((unsigned char)path[i + 2])) {
			char hex[3] = {path[i + 1], path[i + 2], 0};
			hi = (int)strtol(hex, NULL, 16);
			i += 2;
		}
		strbuf_addch(&sb, hi >= 0 ? (char)hi : path[i]);
	}
	size_t end = sb.len;
	while (end && sb.buf[end - 1] == '/')
		end--;
	size_t start = end;
	while (start && sb.buf[start - 1] != '/')
		start--;
	_cleanup_free_ char *base = xstrndup(sb.buf + start, end - start);
	/* A name must not lead anywhere else nor drive a terminal. */
	bool safe = *base && !str_eq(base, ".") && !str_eq(base, "..") &&
	            strlen(base) == end - start && end - start <= 255;
	for (const char *c = base; *c; c++)
		safe = safe && (unsigned char)*c >= 0x20 && *c != 0x7f;
	return safe ? take_ptr(base) : xstrdup("__unnamed__");
}

const char *redact_urls(struct arena *a, const char *text)
{
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	const char *s = text;
	for (const char *m; (m = strstr(s, "://"));) {
		const char *user = m + 3;
		size_t n = strcspn(user, "/?# \t\"'");
		const char *at = NULL;
		for (size_t i = 0; i < n; i++)
			if (user[i] == '@')
				at = user + i;
		strbuf_add(&sb, s, (size_t)(user - s));
		s = user;
		if (!at)
			continue;
		/* A lone user of http is a token; of ssh it is "git". */
		bool http = m - text >= 4 && (strncmp(m - 4, "http", 4) == 0 || m[-1] == 's');
		bool ssh = m - text >= 3 && strncmp(m - 3, "ssh", 3) == 0;
		if (memchr(user, ':', (size_t)(at - user))) {
			strbuf_addstr(&sb, "xxxxx:xxxxx");
			s = at;
		} else if (http && !ssh) {
			strbuf_addstr(&sb, "xxxxx");
			s = at;
		}
	}
	strbuf_addstr(&sb, s);
	return arena_strdup(a, sb.buf);
}
