/* base/map.h - hash map from an owned string to a void pointer; iteration in insertion order.
 *
 * Values are borrowed unless free_value is set, in which case the map frees them on replacement
 * and release. Removal is not offered: nothing here needs it. */
#ifndef STRAKE_BASE_MAP_H
#define STRAKE_BASE_MAP_H

#include "base/base.h"

struct map_item {
	char *key;
	void *value;
	uint64_t hash;
};

struct map {
	struct map_item *items; /* insertion order, n of them */
	size_t n, cap;
	uint32_t *slots; /* index into items + 1; 0 = free */
	size_t n_slots;
	void (*free_value)(void *);
};

#define MAP_INIT(free_fn) ((struct map){.free_value = (free_fn)})
#define _cleanup_map_ _cleanup_(map_release)
#define map_foreach(it, m)                                                                         \
	for (struct map_item *it = (m)->items; it && it < (m)->items + (m)->n; it++)

void map_release(struct map *m);
void *map_get(const struct map *m, const char *key); /* NULL: absent */
bool map_has(const struct map *m, const char *key);
/* map_put - returns true if the key is new. */
bool map_put(struct map *m, const char *key, void *value);

#endif
