/* base/search.c - see search.h. */
#include "base/search.h"

struct search *search_new(void)
{
	return new0(struct search, 1);
}

void search_free(struct search *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n; i++) {
		explicit_bzero(s->v[i].bytes, s->v[i].len);
		free(s->v[i].bytes);
	}
	free(s->v);
	free(s);
}

void search_add(struct search *s, const void *p, size_t n, unsigned tag)
{
	if (n < SEARCH_MIN)
		return;
	vec_grow(&s->v, &s->cap, s->n + 1);
	s->v[s->n++] = (struct search_pattern){xmemdup(p, n), n, tag};
}

static unsigned block(const unsigned char *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

void search_ready(struct search *s)
{
	if (!s->n)
		return;
	s->shortest = SIZE_MAX;
	s->longest = 0;
	for (size_t i = 0; i < s->n; i++) {
		s->shortest = MIN(s->shortest, s->v[i].len);
		s->longest = MAX(s->longest, s->v[i].len);
	}
	s->shortest = MIN(s->shortest, (size_t)255);
	memset(s->shift, (int)(s->shortest - 1), sizeof(s->shift));
	for (size_t i = 0; i < s->n; i++)
		for (size_t k = 0; k + 2 <= s->shortest; k++) {
			uint8_t *at = &s->shift[block(s->v[i].bytes + k)];
			*at = (uint8_t)MIN((size_t)*at, s->shortest - 2 - k);
		}
}

const struct search_pattern *search_find(
        const struct search *s, const void *text, size_t n, size_t *ret_at)
{
	const unsigned char *p = text, *end = p + n;
	if (!s->n)
		return NULL;
	/* p: the window's start, `shortest` bytes long */
	while ((size_t)(end - p) >= s->shortest) {
		uint8_t step = s->shift[block(p + s->shortest - 2)];
		if (step) {
			p += step;
			continue;
		}
		for (size_t i = 0; i < s->n; i++)
			if (s->v[i].len <= (size_t)(end - p) &&
			        memcmp(p, s->v[i].bytes, s->v[i].len) == 0) {
				if (ret_at)
					*ret_at = (size_t)(p - (const unsigned char *)text);
				return &s->v[i];
			}
		p++;
	}
	return NULL;
}

size_t search_pending(const struct search *s, const void *text, size_t n)
{
	const char *p = text;
	for (size_t k = MIN(n, s->longest ? s->longest - 1 : 0); k; k--)
		for (size_t i = 0; i < s->n; i++)
			if (s->v[i].len > k && memcmp(p + n - k, s->v[i].bytes, k) == 0)
				return k;
	return 0;
}
