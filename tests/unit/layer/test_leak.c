/* leak.h: values of secrets in text, in streams and in a layer. */
#include "../tap.h"
#include "base/search.h"
#include "fixture.h"
#include "layer/leak.h"

static const char *how;

static struct leak_values *values(const char *a, const char *b)
{
	struct leak_values *v = leak_values_new();
	leak_values_add(v, "a", a, strlen(a));
	if (b)
		leak_values_add(v, "b", b, strlen(b));
	leak_values_ready(v);
	return v;
}

static const char *in(const struct leak_values *v, const char *text)
{
	how = NULL;
	return str_or_empty(leak_find(v, text, strlen(text), &how));
}

static void test_forms(void)
{
	_cleanup_(leak_values_freep) struct leak_values *v =
	        values("hunter2-token\n", "\n0123456789");
	is_str(in(v, "x=hunter2-token;"), "a", "as it is, without its line end");
	is_str(how, "", "plain");
	is_str(in(v, "0123456789"), "b", "the other one, the whole text");
	is_str(in(v, "hunter2-toke"), "", "not all of it");
	/* base64 of "hunter2-token", "xhunter2-tokeny", "xyhunter2-token" */
	is_str(in(v, "aHVudGVyMi10b2tlbg=="), "a", "base64");
	is_str(how, "base64", "says so");
	is_str(in(v, "eGh1bnRlcjItdG9rZW55"), "a", "base64, one byte before");
	is_str(in(v, "eHlodW50ZXIyLXRva2Vu"), "a", "base64, two bytes before");
	is_str(in(v, "68756e746572322d746f6b656e"), "a", "hexadecimal");
	is_str(how, "hex", "says so");
	is_str(in(v, "68756E746572322D746F6B656E"), "a", "in capitals");
	is_str(in(v, "68756E746572322D746F6B6"), "", "cut short");
	_cleanup_(leak_values_freep) struct leak_values *url =
	        values("\xff\xfe\xfd~~~??\?>>>", NULL);
	is_str(in(url, "//79fn5+Pz8/Pj4+"), "a", "the usual alphabet");
	is_str(in(url, "__79fn5-Pz8_Pj4-"), "a", "the one for URLs");
	_cleanup_(leak_values_freep) struct leak_values *shorty = values(" 1234567 ", NULL);
	ok(!leak_values_any(shorty), "fewer than 8 bytes are not looked for");
}

static void masked(const struct leak_values *v, const char *text, size_t piece, const char *want)
{
	struct leak_mask m = LEAK_MASK_INIT;
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	size_t n = strlen(text);
	for (size_t at = 0; at < n; at += piece)
		leak_mask(v, &m, text + at, MIN(piece, n - at), false, &out);
	leak_mask(v, &m, "", 0, true, &out);
	is_str(out.buf, want, "masked");
	leak_mask_release(&m);
}

static void test_mask(void)
{
	_cleanup_(leak_values_freep) struct leak_values *v =
	        values("hunter2-token", "tokenring-tokenring");
	static const char text[] = "hunter2 hunter2-hunter2-token!tokenring-tokenringtoken";
	for (size_t piece = 1; piece < sizeof(text); piece += 5)
		masked(v, text, piece, "hunter2 hunter2-***!***token");
	struct leak_mask m = LEAK_MASK_INIT;
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	leak_mask(v, &m, "line\nhunt", 9, false, &out);
	is_str(out.buf, "line\n", "only the possible beginning is held back");
	leak_mask_release(&m);
}

static void test_long(void)
{
	_cleanup_(leak_values_freep) struct leak_values *v = values("ABCDEFGHIJKLMNOP", NULL);
	char *big = xmalloc(3 << 20);
	memset(big, 'A', 3 << 20);
	ok(!leak_find(v, big, 3 << 20, &how), "not in a long text");
	memcpy(big + (3 << 20) - 16, "ABCDEFGHIJKLMNOP", 16);
	ok(leak_find(v, big, 3 << 20, &how) != NULL, "at its very end");
	free(big);
}

static void test_tree(void)
{
	_cleanup_(leak_values_freep) struct leak_values *v = values("hunter2-token", NULL);
	struct error err = ERROR_INIT;
	char dir[] = "/tmp/strake-leak-XXXXXX";
	int fd = mkdtemp(dir) ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	int file = openat(fd, "big", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	/* across the border of two reads */
	ok(pwrite(file, "hunter2-token", 13, (1 << 20) - 6) == 13, "a file");
	struct tree_entry e = {.path = "big", .type = TREE_REG, .size = (1 << 20) + 7};
	struct tree_entry l = {.path = "l", .type = TREE_SYMLINK, .link = "/x/hunter2-token/y"};
	struct tree t = TREE_INIT, t2 = TREE_INIT, t3 = TREE_INIT;
	tree_add(&t, &e);
	fx_err(leak_check_tree(v, &t, fd, NULL, &err), &err, ERR_BUILD,
	        "file /big holds the value of secret a", "in a file");
	tree_add(&t2, &l);
	fx_err(leak_check_tree(v, &t2, fd, NULL, &err), &err, ERR_BUILD,
	        "link /l holds the value of secret a", "in a link");
	l.link = "elsewhere";
	tree_add(&t3, &l);
	fx_ok(leak_check_tree(v, &t3, fd, NULL, &err), &err, "a clean tree");
	tree_release(&t);
	tree_release(&t2);
	tree_release(&t3);
	close(file);
	unlinkat(fd, "big", 0);
	close(fd);
	rmdir(dir);
}

int main(void)
{
	test_forms();
	test_mask();
	test_long();
	test_tree();
	return tap_done();
}
