/* cli/table.h - rows in columns, as docker prints them: as wide as the widest cell and three
 * spaces.
 */
#ifndef STRAKE_CLI_TABLE_H
#define STRAKE_CLI_TABLE_H

#include "base/strv.h"

struct table {
	struct strv cells;
	size_t columns;
};
/* table_row - one cell a column; text is escaped for the terminal when printed. */
void table_row(struct table *t, const char *const *cells);
void table_print(const struct table *t); /* to stdout */
void table_release(struct table *t);

#endif
