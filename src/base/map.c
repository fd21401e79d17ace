/* base/map.c - open addressing over an insertion-ordered item array; see map.h. */
#include "base/map.h"

static uint64_t hash_str(const char *s)
{
	/* FNV-1a with a final mix; keys are not adversarial enough to need more, and the probe
	 * length is bounded by a load factor of one half. */
	uint64_t h = 0xcbf29ce484222325ULL;
	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * 0x100000001b3ULL;
	h ^= h >> 32;
	h *= 0x9e3779b97f4a7c15ULL;
	return h ^ (h >> 29);
}

void map_release(struct map *m)
{
	for (size_t i = 0; i < m->n; i++) {
		free(m->items[i].key);
		if (m->free_value)
			m->free_value(m->items[i].value);
	}
	free(m->items);
	free(m->slots);
	*m = MAP_INIT(m->free_value);
}

static uint32_t *find_slot(const struct map *m, const char *key, uint64_t h)
{
	size_t mask = m->n_slots - 1;
	for (size_t i = h & mask;; i = (i + 1) & mask) {
		uint32_t s = m->slots[i];
		if (!s || (m->items[s - 1].hash == h && str_eq(m->items[s - 1].key, key)))
			return &m->slots[i];
	}
}

static void rehash(struct map *m, size_t n_slots)
{
	free(m->slots);
	m->slots = xcalloc(n_slots, sizeof(*m->slots));
	m->n_slots = n_slots;
	for (size_t i = 0; i < m->n; i++) {
		size_t j = m->items[i].hash & (n_slots - 1);
		while (m->slots[j])
			j = (j + 1) & (n_slots - 1);
		m->slots[j] = (uint32_t)i + 1;
	}
}

static struct map_item *find(const struct map *m, const char *key)
{
	if (!m->n)
		return NULL;
	uint32_t s = *find_slot(m, key, hash_str(key));
	return s ? &m->items[s - 1] : NULL;
}

void *map_get(const struct map *m, const char *key)
{
	struct map_item *it = find(m, key);
	return it ? it->value : NULL;
}

bool map_has(const struct map *m, const char *key)
{
	return find(m, key) != NULL;
}

bool map_put(struct map *m, const char *key, void *value)
{
	struct map_item *it = find(m, key);
	if (it) {
		if (m->free_value && it->value != value)
			m->free_value(it->value);
		it->value = value;
		return false;
	}
	if ((m->n + 1) * 2 > m->n_slots)
		rehash(m, m->n_slots ? m->n_slots * 2 : 16);
	vec_grow(&m->items, &m->cap, m->n + 1);
	uint64_t h = hash_str(key);
	m->items[m->n] = (struct map_item){xstrdup(key), value, h};
	*find_slot(m, key, h) = (uint32_t)++m->n;
	return true;
}
