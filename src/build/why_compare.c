/* build/why_compare.c - two parts of one step -> the differences, named as people know them. */
#include "build/why.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/strbuf.h"

#define SHOWN_MAX 100 /* of an old or new value in a sentence */

json_t *why_add(json_t *reasons, const char *kind, const char *what, const char *old,
        const char *now, const char *fmt, ...)
{
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	va_list ap;
	va_start(ap, fmt);
	strbuf_vaddf(&sb, fmt, ap);
	va_end(ap);
	json_t *j = json_object();
	json_object_set_new(j, "kind", json_str(kind));
	if (what)
		json_object_set_new(j, "what", json_str(what));
	if (old)
		json_object_set_new(j, "old", json_str(old));
	if (now)
		json_object_set_new(j, "new", json_str(now));
	json_object_set_new(j, "text", json_str(sb.buf));
	json_array_append_new(reasons, j);
	return j;
}

/* add_window - the value in quotes; of long ones the part around the first difference. */
static void add_window(struct strbuf *sb, const char *v, const char *other)
{
	size_t n = strlen(v), same = 0;
	while (n && v[n - 1] == '\n')
		n--;
	while (v[same] && v[same] == other[same])
		same++;
	size_t from = n <= SHOWN_MAX || same < 30 ? 0 : same - 20;
	while (from && ((unsigned char)v[from] & 0xc0) == 0x80)
		from--;
	size_t to = MIN(n, from + SHOWN_MAX);
	while (to < n && to > from && ((unsigned char)v[to] & 0xc0) == 0x80)
		to--;
	strbuf_addf(sb, "\"%s", from ? "..." : "");
	for (size_t i = from; i < to; i++) {
		if (v[i] == '\n')
			strbuf_addstr(sb, "\\n");
		else
			strbuf_addch(sb, v[i]);
	}
	strbuf_addf(sb, "%s\"", to < n ? "..." : "");
}

/* changed - "<label> changed: old -> new", "is new", "is gone"; nothing if they are equal. */
static void changed(json_t *reasons, const char *kind, const char *what, const char *label,
        const char *old, const char *now)
{
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	const char *sep = what ? " " : "", *name = str_or_empty(what);
	if (!old && !now)
		return;
	if (old && now && str_eq(old, now))
		return;
	if (old && now) {
		add_window(&sb, old, now);
		strbuf_addstr(&sb, " -> ");
		add_window(&sb, now, old);
		why_add(reasons, kind, what, old, now, "%s%s%s changed: %s", label, sep, name,
		        sb.buf);
		return;
	}
	add_window(&sb, old ? old : now, "");
	why_add(reasons, kind, what, old, now, "%s%s%s %s: %s", label, sep, name,
	        old ? "is gone, it was" : "is new", sb.buf);
}

static void field(json_t *reasons, const json_t *old, const json_t *now, const char *key,
        const char *kind, const char *label)
{
	changed(reasons, kind, NULL, label, json_get_str(old, key), json_get_str(now, key));
}

/* --- inputs ---------------------------------------------------------------------------------- */

static void compare_image(json_t *reasons, const json_t *old, const json_t *now)
{
	const char *a = str_or_empty(json_get_str(old, "name"));
	const char *b = str_or_empty(json_get_str(now, "name"));
	const char *da = str_or_empty(json_get_str(old, "digest"));
	const char *db = str_or_empty(json_get_str(now, "digest"));
	if (!str_eq(a, b))
		why_add(reasons, "base-image", b, a, b, "another base image: %s -> %s", a, b);
	else if (!str_eq(da, db))
		why_add(reasons, "base-image", b, da, db, "base image %s changed: %s -> %s", b, da,
		        db);
	else
		why_add(reasons, "base-image", b, json_get_str(old, "key"),
		        json_get_str(now, "key"), "the layers of base image %s changed", b);
}

static void compare_base(json_t *reasons, const json_t *old, const json_t *now)
{
	const char *ka = json_get_str(old, "key"), *kb = json_get_str(now, "key");
	if (!old || !now || !ka || !kb || str_eq(ka, kb))
		return; /* a base that is not known yet is not a difference yet */
	const char *ia = str_or_empty(json_get_str(old, "is"));
	const char *ib = str_or_empty(json_get_str(now, "is"));
	const char *name = str_or_empty(json_get_str(now, "name"));
	if (str_eq(ia, "image") && str_eq(ib, "image"))
		compare_image(reasons, old, now);
	else if (str_eq(ib, "step"))
		why_add(reasons, "earlier-step", name, ka, kb,
		        "an earlier step came out different: %s", name);
	else
		why_add(reasons, "base-image", *name ? name : NULL, ka, kb, "it starts from %s now",
		        *name ? name : "an empty file system");
}

static void compare_binds(json_t *reasons, const json_t *old, const json_t *now)
{
	const json_t *a = json_get_array(old, "binds"), *b = json_get_array(now, "binds");
	if (json_array_size(a) != json_array_size(b))
		return; /* then the mounts differ, and say so */
	for (size_t i = 0; i < json_array_size(b); i++)
		compare_base(reasons, json_array_get(a, i), json_array_get(b, i));
}

/* --- lists ----------------------------------------------------------------------------------- */

/* same_json - json_equal says no to two absent values. */
static bool same_json(const json_t *a, const json_t *b)
{
	return a == b || json_equal(a, b);
}

static const char *item(const json_t *list, size_t i)
{
	const char *s = json_string_value(json_array_get(list, i));
	return s ? s : "";
}

static bool has(const json_t *list, const char *s)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		if (str_eq(item(list, i), s))
			return true;
	return false;
}

static void compare_set(json_t *reasons, const json_t *old, const json_t *now, const char *key,
        const char *kind, const char *label)
{
	const json_t *a = json_get_array(old, key), *b = json_get_array(now, key);
	size_t before = json_array_size(reasons);
	if (same_json(a, b) || (!json_array_size(a) && !json_array_size(b)))
		return;
	for (size_t i = 0; i < json_array_size(a); i++)
		if (!has(b, item(a, i)))
			why_add(reasons, kind, NULL, item(a, i), NULL, "%s is gone: %s", label,
			        item(a, i));
	for (size_t i = 0; i < json_array_size(b); i++)
		if (!has(a, item(b, i)))
			why_add(reasons, kind, NULL, NULL, item(b, i), "%s is new: %s", label,
			        item(b, i));
	if (json_array_size(reasons) == before)
		why_add(reasons, kind, NULL, NULL, NULL, "the order changed: %s", label);
}

/* is_arg - does the Dockerfile declare the name by ARG, and not by ENV? */
static bool is_arg(const struct df_file *f, const char *name, size_t n)
{
	bool arg = false;
	for (size_t i = 0; i < f->n_instrs; i++) {
		const struct df_instr *in = f->instrs[i];
		for (size_t k = 0; in->kind == DF_ARG && k < in->n_args; k++)
			arg |= strncmp(in->args[k], name, n) == 0 &&
			       (in->args[k][n] == '=' || !in->args[k][n]);
		for (size_t k = 0; in->kind == DF_ENV && k < in->n_args; k += 3)
			if (strncmp(in->args[k], name, n) == 0 && !in->args[k][n])
				return false;
	}
	return arg;
}

static const char *env_value(const json_t *env, const char *name, size_t n)
{
	for (size_t i = 0; i < json_array_size(env); i++) {
		const char *s = item(env, i);
		if (strncmp(s, name, n) == 0 && s[n] == '=')
			return s + n + 1;
	}
	return NULL;
}

static void compare_variable(
        struct build *b, json_t *reasons, const json_t *old, const json_t *now, const char *entry)
{
	size_t n = strcspn(entry, "=");
	_cleanup_free_ char *name = xstrndup(entry, n);
	bool arg = is_arg(b->file, name, n);
	changed(reasons, arg ? "build-arg" : "env", name,
	        arg ? "build argument" : "environment variable", env_value(old, name, n),
	        env_value(now, name, n));
}

static void compare_env(struct build *b, json_t *reasons, const json_t *old, const json_t *now)
{
	const json_t *a = json_get_array(old, "env"), *c = json_get_array(now, "env");
	size_t before = json_array_size(reasons);
	if (same_json(a, c))
		return;
	for (size_t i = 0; i < json_array_size(c); i++)
		compare_variable(b, reasons, a, c, item(c, i));
	for (size_t i = 0; i < json_array_size(a); i++)
		if (!env_value(c, item(a, i), strcspn(item(a, i), "=")))
			compare_variable(b, reasons, a, c, item(a, i));
	if (json_array_size(reasons) == before)
		why_add(reasons, "env", NULL, NULL, NULL,
		        "the order of the environment's variables changed");
}

static char *join(const json_t *list, size_t from, size_t to)
{
	struct strbuf sb = STRBUF_INIT;
	for (size_t i = from; i < to; i++)
		strbuf_addf(&sb, "%s%s", i > from ? " " : "", item(list, i));
	return strbuf_detach(&sb);
}

/* compare_argv - the last word of a shell form is the command, what stands before it the shell. */
static void compare_argv(json_t *reasons, const json_t *old, const json_t *now)
{
	const json_t *a = json_get_array(old, "argv"), *b = json_get_array(now, "argv");
	size_t na = json_array_size(a), nb = json_array_size(b);
	if (same_json(a, b))
		return;
	bool shell = na == nb && na > 1 && str_eq(item(a, na - 2), item(b, nb - 2));
	_cleanup_free_ char *sa = join(a, 0, na ? na - 1 : 0), *sb = join(b, 0, nb ? nb - 1 : 0);
	if (shell && str_eq(sa, sb)) {
		changed(reasons, "command", NULL, "the command", item(a, na - 1), item(b, nb - 1));
		return;
	}
	if (na && nb && str_eq(item(a, na - 1), item(b, nb - 1))) {
		changed(reasons, "shell", NULL, "the shell", sa, sb);
		return;
	}
	_cleanup_free_ char *ca = join(a, 0, na), *cb = join(b, 0, nb);
	if (str_eq(ca, cb))
		why_add(reasons, "command", NULL, ca, cb,
		        "the command is cut into words differently");
	changed(reasons, "command", NULL, "the command", ca, cb);
}

static const json_t *heredoc(const json_t *list, const char *path)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *j = json_array_get(list, i);
		if (str_eq(str_or_empty(json_get_str(j, "path")), path))
			return j;
	}
	return NULL;
}

static void compare_heredocs(json_t *reasons, const json_t *old, const json_t *now)
{
	const json_t *a = json_get_array(old, "heredocs"), *b = json_get_array(now, "heredocs");
	size_t before = json_array_size(reasons);
	if (same_json(a, b) || (!a && !b))
		return;
	for (size_t i = 0; i < json_array_size(b); i++) {
		const json_t *jb = json_array_get(b, i);
		const json_t *ja = heredoc(a, str_or_empty(json_get_str(jb, "path")));
		const char *ta = json_get_str(ja, "data"), *tb = json_get_str(jb, "data");
		if (ta && tb)
			changed(reasons, "command", NULL, "the heredoc's text", ta, tb);
		else if (ja && !same_json(ja, jb))
			why_add(reasons, "command", NULL, NULL, NULL, "the heredoc's text changed");
	}
	if (json_array_size(reasons) == before)
		why_add(reasons, "command", NULL, NULL, NULL, "the heredocs changed");
}

/* --- files ----------------------------------------------------------------------------------- */

struct file_diff {
	json_t *list[3];
	size_t n[3];
	size_t max;
};
enum { ADDED, CHANGED, REMOVED };

static void note_file(struct file_diff *d, int what, const char *path)
{
	if (d->n[what]++ < d->max)
		json_array_append_new(d->list[what], json_str(*path ? path : "."));
}

static bool same_entry(const struct tree_entry *a, const struct tree_entry *b)
{
	struct sha256 ha, hb;
	struct digest da, db;
	sha256_init(&ha);
	sha256_init(&hb);
	tree_entry_hash(&ha, a, "");
	tree_entry_hash(&hb, b, "");
	sha256_final(&ha, &da);
	sha256_final(&hb, &db);
	return digest_eq(&da, &db);
}

static void diff_trees(const struct tree *a, const struct tree *b, struct file_diff *d)
{
	for (size_t i = 0, k = 0; i < a->n || k < b->n;) {
		int c = i >= a->n   ? 1
		        : k >= b->n ? -1
		                    : tree_path_cmp(a->entries[i].path, b->entries[k].path);
		if (c < 0)
			note_file(d, REMOVED, a->entries[i++].path);
		else if (c > 0)
			note_file(d, ADDED, b->entries[k++].path);
		else if (!same_entry(&a->entries[i++], &b->entries[k++]))
			note_file(d, CHANGED, b->entries[k - 1].path);
	}
}

static void report_files(json_t *reasons, const char *from, struct file_diff *d)
{
	static const char *const names[] = {"added", "changed", "removed"};
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	for (int i = 0; i < 3; i++)
		if (d->n[i])
			strbuf_addf(&sb, "%s%zu %s", sb.len ? ", " : "", d->n[i], names[i]);
	json_t *j = why_add(reasons, "files", from, NULL, NULL, "files of %s: %s", from,
	        sb.len ? sb.buf : "the order or kind of the sources changed");
	for (int i = 0; i < 3; i++) {
		char count[16];
		snprintf(count, sizeof(count), "n_%s", names[i]);
		json_object_set_new(j, count, json_integer((json_int_t)d->n[i]));
		json_object_set(j, names[i], d->list[i]);
	}
}

static void compare_source(
        struct build *b, json_t *reasons, const json_t *old, const json_t *now, size_t max)
{
	const char *ka = json_get_str(old, "key"), *kb = json_get_str(now, "key");
	const char *from = str_or_empty(json_get_str(now, "from"));
	if (!ka || !kb || str_eq(ka, kb))
		return;
	_cleanup_tree_ struct tree ta = TREE_INIT, tb = TREE_INIT;
	if (!parts_load_files(b, ka, &ta) || !parts_load_files(b, kb, &tb)) {
		why_add(reasons, "files", from, ka, kb,
		        "files of %s changed (the earlier list of them is gone)", from);
		return;
	}
	struct file_diff d = {.list = {json_array(), json_array(), json_array()}, .max = max};
	diff_trees(&ta, &tb, &d);
	report_files(reasons, from, &d);
	for (int i = 0; i < 3; i++)
		json_decref(d.list[i]);
}

static void compare_files(
        struct build *b, json_t *reasons, const json_t *old, const json_t *now, size_t max)
{
	const json_t *a = json_get_array(old, "files"), *c = json_get_array(now, "files");
	if (json_array_size(a) != json_array_size(c)) {
		why_add(reasons, "files", NULL, NULL, NULL, "its sources changed");
		return;
	}
	for (size_t i = 0; i < json_array_size(c); i++) {
		const json_t *ja = json_array_get(a, i), *jc = json_array_get(c, i);
		_cleanup_free_ char *pa = NULL, *pc = NULL;
		const json_t *la = json_get_array(ja, "patterns"),
		             *lc = json_get_array(jc, "patterns");
		pa = join(la, 0, json_array_size(la));
		pc = join(lc, 0, json_array_size(lc));
		size_t before = json_array_size(reasons);
		compare_source(b, reasons, ja, jc, max);
		/* Other words for the same files are no difference; with other files they are its
		 * cause. */
		if (json_array_size(reasons) > before && !str_eq(pa, pc))
			changed(reasons, "sources", NULL, "the source", pa, pc);
	}
}

/* --- all ------------------------------------------------------------------------------------- */

void why_compare(
        struct build *b, const json_t *old, const json_t *now, size_t max_files, json_t *reasons)
{
	static const struct {
		const char *key, *kind, *label;
	} fields[] = {
	        {"platform", "platform", "the platform"},
	        {"cwd", "workdir", "the working directory"},
	        {"path", "workdir", "the directory"},
	        {"user", "user", "the user"},
	        {"hostname", "hostname", "the host name"},
	        {"network", "network", "the network"},
	        {"security", "security", "the security mode"},
	        {"shm", "shm-size", "the size of /dev/shm"},
	        {"dest", "destination", "the destination"},
	        {"chown", "chown", "--chown"},
	        {"chmod", "chmod", "--chmod"},
	        {"checksum", "checksum", "--checksum"},
	        {"url", "url", "the URL"},
	};
	static const struct {
		const char *key, *kind, *label;
	} sets[] = {
	        {"mounts", "mount", "a mount"},
	        {"ulimits", "ulimit", "a --ulimit"},
	        {"devices", "device", "a --device"},
	        {"hosts", "add-host", "an --add-host"},
	        {"exclude", "exclude", "an --exclude"},
	        {"options", "options", "a flag"},
	};
	compare_argv(reasons, old, now);
	compare_heredocs(reasons, old, now);
	compare_env(b, reasons, old, now);
	compare_files(b, reasons, old, now, max_files);
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		field(reasons, old, now, fields[i].key, fields[i].kind, fields[i].label);
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++)
		compare_set(reasons, old, now, sets[i].key, sets[i].kind, sets[i].label);
	compare_binds(reasons, old, now);
	compare_base(reasons, json_get_obj(old, "base"), json_get_obj(now, "base"));
	if (json_array_size(reasons) || !json_get_str(now, "key"))
		return;
	const char *op = str_or_empty(json_get_str(now, "op"));
	if (str_eq(op, "HTTP") || str_eq(op, "GIT"))
		why_add(reasons, "origin", NULL, json_get_str(old, "key"), json_get_str(now, "key"),
		        "what is found there now is something else");
	else
		why_add(reasons, "other", NULL, json_get_str(old, "key"), json_get_str(now, "key"),
		        "its key is another one, for a cause that was not recorded (the earlier "
		        "result may be another version's)");
}
