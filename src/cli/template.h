/* cli/template.h - --format: Go's templates over JSON, as far as scripts use them.
 *
 * {{.A.B}} {{$}} {{json .X}} {{range $i, $e := .X}} {{if}} {{else if}} {{with}} {{end}} variables,
 * pipelines, parentheses, {{- trim -}}, comments; the functions print println printf len index
 * slice eq ne lt le gt ge and or not, and docker's json join split lower upper title truncate pad.
 */
#ifndef STRAKE_CLI_TEMPLATE_H
#define STRAKE_CLI_TEMPLATE_H

#include "base/error.h"
#include "base/strbuf.h"
#include "codec/json.h"

/* template_run - fmt over root, appended to out. A key that root itself lacks is an error; one
 * further down gives "<no value>". A key "Label" of root that is an object serves {{.Label "k"}}.
 */
int template_run(const char *fmt, json_t *root, struct strbuf *out, struct error *err) must_check;
/* template_unescape - \t and \n written out, as docker's list commands take them; malloc'ed. */
char *template_unescape(const char *fmt) must_check;

/* Lists: "json", "table", "table TEMPLATE" or a template a row. */
struct template_column {
	const char *key, *head; /* "ID", "CONTAINER ID" */
};
/* template_list - rows: array of objects. */
int template_list(const char *fmt, json_t *rows, const struct template_column *columns, size_t n,
        struct error *err) must_check;

#endif
