/* cli/table.c - see table.h. */
#include "cli/table.h"

#include <stdio.h>

#include "base/human.h"

void table_row(struct table *t, const char *const *cells)
{
	for (size_t i = 0; i < t->columns; i++)
		strv_add_take(&t->cells, human_escape(cells[i], strlen(cells[i]), false));
}

/* width - characters, not bytes: UTF-8's continuation bytes take no place. */
static int width(const char *s)
{
	int n = 0;
	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

void table_print(const struct table *t)
{
	if (!t->columns)
		return;
	_cleanup_free_ int *wide = new0(int, t->columns);
	for (size_t i = 0; i < t->cells.n; i++)
		wide[i % t->columns] = MAX(wide[i % t->columns], width(t->cells.v[i]));
	for (size_t i = 0; i < t->cells.n; i++) {
		bool last = i % t->columns == t->columns - 1;
		printf("%s%*s%s", t->cells.v[i],
		        last ? 0 : wide[i % t->columns] - width(t->cells.v[i]) + 3, "",
		        last ? "\n" : "");
	}
}

void table_release(struct table *t)
{
	strv_release(&t->cells);
}
