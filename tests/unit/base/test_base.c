/* Unit tests of base/: the small promises that everything else stands on. */
#include "../tap.h"

#include "base/arena.h"
#include "base/error.h"
#include "base/hex.h"
#include "base/human.h"
#include "base/map.h"
#include "base/pool.h"
#include "base/strbuf.h"
#include "base/strv.h"

#include <errno.h>

static void test_strbuf(void)
{
	struct strbuf sb = STRBUF_INIT;
	is_str(sb.buf, "", "a new buffer is an empty string");
	strbuf_addf(&sb, "%d-%s", 7, "x");
	strbuf_addch(&sb, 'y');
	is_str(sb.buf, "7-xy", "formatted and appended");
	strbuf_truncate(&sb, 2);
	is_str(sb.buf, "7-", "truncated");
	char *s = strbuf_detach(&sb);
	is_str(s, "7-", "detached");
	is_int(sb.len, 0, "empty after detach");
	free(s);
}

static void test_error(void)
{
	struct error err = ERROR_INIT;
	is_int(err_set(&err, ERR_SYNTAX, "bad %s", "thing"), -1, "err_set returns -1");
	(void)err_wrap(&err, "reading %s", "file");
	is_str(err.msg, "reading file: bad thing", "wrapped");
	(void)err_wrap(&err, "again %s", err.msg);
	is_str(err.msg, "again reading file: bad thing: reading file: bad thing",
	        "own text may be an argument");
	(void)err_at(&err, "Dockerfile", 3, 1);
	(void)err_at(&err, "Other", 9, 9);
	is_int(err.line, 3, "the first place stays");
	(void)err_sys(&err, -ENOSPC, "write %s", "x");
	ok(err.hint && strstr(err.hint, "prune"), "ENOSPC has a cure");
	is_int(err.errnum, ENOSPC, "negative errno taken");
	error_release(&err);
	ok(!error_is_set(&err), "empty after release");
}

static void test_map(void)
{
	struct map m = MAP_INIT(NULL);
	char key[32];
	for (int i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		map_put(&m, key, (void *)(intptr_t)(i + 1));
	}
	is_int(m.n, 1000, "1000 keys");
	is_int((intptr_t)map_get(&m, "k777"), 778, "found");
	ok(!map_has(&m, "nope"), "absent");
	is_int(map_put(&m, "k777", NULL), 0, "replaced, not new");
	is_str(m.items[5].key, "k5", "insertion order");
	map_release(&m);
}

static void test_env(void)
{
	struct strv e = STRV_INIT;
	env_set(&e, "A", "1");
	env_set(&e, "AB", "2");
	env_set(&e, "A", "3");
	is_str(env_get(&e, "A"), "3", "last set wins, in place");
	is_int(e.n, 2, "no duplicate");
	env_unset(&e, "A");
	ok(!env_get(&e, "A") && env_get(&e, "AB"), "unset only that key");
	strv_release(&e);
}

static void test_human(void)
{
	char buf[16];
	is_str(human_size(buf, sizeof(buf), 1890000), "1.89MB", "docker's digits");
	is_str(human_size(buf, sizeof(buf), 470000000), "470MB", "three digits");
	uint64_t v = 0;
	ok(human_parse_size("1.5g", &v) && v == 1610612736, "1.5g");
	ok(human_parse_size("64MiB", &v) && v == 64 << 20, "64MiB");
	ok(!human_parse_size("64x", &v) && !human_parse_size("-1", &v), "bad sizes refused");
	static const char *const names[] = {"from", "run", "copy"};
	is_str(human_nearest("copyy", names, 3), "copy", "a typo is found");
	ok(!human_nearest("zzzzzz", names, 3), "nothing near");
	char *s = human_escape("a\033[31m\xe2\x80\xae\xff", 10, false);
	is_str(s, "a\\x1b[31m\\u{202e}\\xff", "terminal controls are written out");
	free(s);
}

static void add_index(void *ctx, size_t i)
{
	__atomic_fetch_add((size_t *)ctx, i, __ATOMIC_RELAXED);
}

static void test_pool(void)
{
	struct pool *p = pool_new(4);
	for (int round = 0; round < 50; round++) {
		size_t sum = 0;
		pool_run(p, 1000, add_index, &sum);
		if (sum != 499500) {
			ok(0, "every index once");
			break;
		}
	}
	size_t sum = 0;
	pool_run(NULL, 10, add_index, &sum);
	is_int(sum, 45, "a NULL pool is a loop");
	pool_free(p);
	p = pool_new_lazy(4);
	sum = 0;
	pool_run(p, 31, add_index, &sum);
	is_int(sum, 465, "little work");
	is_int(pool_size(p), 1, "starts no thread");
	sum = 0;
	pool_run(p, 32, add_index, &sum);
	is_int(sum, 496, "more work");
	is_int(pool_size(p), 4, "starts them all");
	pool_free(p);
	p = pool_new_lazy(2);
	pool_start(p);
	is_int(pool_size(p), 2, "as does who asks for it");
	pool_free(p);
}

static void test_csv(void)
{
	struct strv v = STRV_INIT;
	strv_split_csv(&v, "type=image,\"name=a,b\",\"q=\"\"x\"\"\",,push=true");
	is_int(v.n, 5, "five fields");
	is_str(v.v[1], "name=a,b", "a comma inside quotes");
	is_str(v.v[2], "q=\"x\"", "doubled quotes");
	is_str(v.v[3], "", "an empty field");
	is_str(v.v[4], "push=true", "the last field");
	strv_release(&v);
	strv_split_csv(&v, "\"open");
	is_str(v.v[0], "open", "a quote that nobody closes");
	strv_release(&v);
}

int main(void)
{
	test_csv();
	test_strbuf();
	test_error();
	test_map();
	test_env();
	test_human();
	test_pool();
	uint8_t b[2];
	ok(hex_decode(b, 2, "00ff", 4) && b[1] == 255, "hex");
	ok(!hex_decode(b, 2, "00FF", 4), "upper case is refused");
	return tap_done();
}
