/* base/strv.c - see strv.h. */
#include "base/strv.h"
#include "base/strbuf.h"

void strv_release(struct strv *sv)
{
	for (size_t i = 0; i < sv->n; i++)
		free(sv->v[i]);
	free(sv->v);
	*sv = STRV_INIT;
}

void strv_add_take(struct strv *sv, char *s)
{
	vec_grow(&sv->v, &sv->cap, sv->n + 2);
	sv->v[sv->n++] = s;
	sv->v[sv->n] = NULL;
}

void strv_add(struct strv *sv, const char *s)
{
	strv_add_take(sv, xstrdup(s));
}

void strv_addf(struct strv *sv, const char *fmt, ...)
{
	struct strbuf sb = STRBUF_INIT;
	va_list ap;
	va_start(ap, fmt);
	strbuf_vaddf(&sb, fmt, ap);
	va_end(ap);
	strv_add_take(sv, strbuf_detach(&sb));
}

void strv_copy(struct strv *dst, const struct strv *src)
{
	struct strv copy = STRV_INIT;
	for (size_t i = 0; i < src->n; i++)
		strv_add(&copy, src->v[i]);
	strv_release(dst);
	*dst = copy;
}

void strv_remove(struct strv *sv, size_t i)
{
	free(sv->v[i]);
	memmove(sv->v + i, sv->v + i + 1, (sv->n - i) * sizeof(*sv->v));
	sv->n--;
}

bool strv_contains(const struct strv *sv, const char *s)
{
	for (size_t i = 0; i < sv->n; i++)
		if (str_eq(sv->v[i], s))
			return true;
	return false;
}

bool strv_equal(const struct strv *a, const struct strv *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (!str_eq(a->v[i], b->v[i]))
			return false;
	return true;
}

void strv_split(struct strv *sv, const char *s, const char *seps)
{
	for (;;) {
		size_t n = strcspn(s, seps);
		strv_add_take(sv, xstrndup(s, n));
		if (!s[n])
			return;
		s += n + 1;
	}
}

void strv_split_csv(struct strv *sv, const char *line)
{
	for (const char *p = line;; p++) {
		struct strbuf field = STRBUF_INIT;
		bool quoted = *p == '"';
		p += quoted;
		for (; *p && (quoted || *p != ','); p++) {
			if (quoted && *p == '"' && p[1] != '"')
				quoted = false;
			else
				strbuf_addch(&field, *p == '"' && quoted ? *p++ : *p);
		}
		strv_add_take(sv, strbuf_detach(&field));
		if (!*p)
			return;
	}
}

char *strv_join(const struct strv *sv, const char *sep)
{
	struct strbuf sb = STRBUF_INIT;
	for (size_t i = 0; i < sv->n; i++) {
		if (i)
			strbuf_addstr(&sb, sep);
		strbuf_addstr(&sb, sv->v[i]);
	}
	return strbuf_detach(&sb);
}

static ssize_t env_find(const struct strv *env, const char *key)
{
	size_t n = strlen(key);
	for (size_t i = 0; i < env->n; i++)
		if (strncmp(env->v[i], key, n) == 0 && env->v[i][n] == '=')
			return (ssize_t)i;
	return -1;
}

const char *env_get(const struct strv *env, const char *key)
{
	ssize_t i = env_find(env, key);
	return i < 0 ? NULL : env->v[i] + strlen(key) + 1;
}

void env_set(struct strv *env, const char *key, const char *value)
{
	ssize_t i = env_find(env, key);
	char *s = xasprintf("%s=%s", key, value);
	if (i < 0) {
		strv_add_take(env, s);
	} else {
		free(env->v[i]);
		env->v[i] = s;
	}
}

void env_unset(struct strv *env, const char *key)
{
	ssize_t i = env_find(env, key);
	if (i >= 0)
		strv_remove(env, (size_t)i);
}
