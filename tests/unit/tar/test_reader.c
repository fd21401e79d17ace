/* The reader on hostile and on old archives (RELIABILITY T1, T6, T7, T10), built by hand here; what
 * real programs write is compared in test_differential.py. */
#include "tar/reader.h"
#include "../tap.h"

#include "base/strbuf.h"
#include "base/strv.h"
#include "tar/format.h"
#include "tar/parse.h"

/* --- building archives ----------------------------------------------------------------------- */

static struct strbuf ar; /* the archive under construction */

static void octal(char *field, size_t n, unsigned long long v)
{
	snprintf(field, n, "%0*llo", (int)n - 1, v);
}

static struct tar_header *last(void)
{
	return (struct tar_header *)(void *)(ar.buf + ar.len - TAR_BLOCK);
}

static void seal(void)
{
	struct tar_header *h = last();
	snprintf(h->chksum, sizeof(h->chksum), "%06o", tar_checksum(h));
	h->chksum[7] = ' ';
}

static void begin(void)
{
	strbuf_reset(&ar);
}

/* head - a ustar header; fields may be changed through last() before seal() is called again. */
static void head(const char *name, char type, unsigned long long size)
{
	struct tar_header h = {.typeflag = type};
	memcpy(h.name, name, strnlen(name, sizeof(h.name)));
	octal(h.mode, sizeof(h.mode), 0644);
	octal(h.uid, sizeof(h.uid), 0);
	octal(h.gid, sizeof(h.gid), 0);
	octal(h.size, sizeof(h.size), size);
	octal(h.mtime, sizeof(h.mtime), 5);
	memcpy(h.magic, "ustar", 6);
	memcpy(h.version, "00", 2);
	strbuf_add(&ar, &h, sizeof(h));
	seal();
}

static void body(const char *p, size_t n)
{
	static const char zeros[TAR_BLOCK];
	strbuf_add(&ar, p, n);
	strbuf_add(&ar, zeros, tar_padding(n));
}

static void file(const char *name, const char *text)
{
	head(name, '0', strlen(text));
	body(text, strlen(text));
}

static void ext(char type, const char *text, size_t n)
{
	head("ext", type, n);
	body(text, n);
}

/* pax - records given as "key=value" separated by '\n'. */
static void pax_of(char type, const char *records)
{
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	_cleanup_strv_ struct strv v = STRV_INIT;
	strv_split(&v, records, "\n");
	for (size_t i = 0; i < v.n; i++) {
		size_t rest = strlen(v.v[i]) + 2, len = rest + 1;
		char digits[16];
		while ((size_t)snprintf(digits, sizeof(digits), "%zu", len) + rest != len)
			len++;
		strbuf_addf(&sb, "%zu %s\n", len, v.v[i]);
	}
	ext(type, sb.buf, sb.len);
}

static void end(void)
{
	static const char zeros[2 * TAR_BLOCK];
	strbuf_add(&ar, zeros, sizeof(zeros));
}

/* --- reading them ---------------------------------------------------------------------------- */

/* A reader that gives 700 bytes at a time, so that blocks straddle reads. */
struct slow_reader {
	struct reader base;
	const char *p;
	size_t n;
};
static ssize_t slow_read(struct reader *r, void *p, size_t n, struct error *err)
{
	struct slow_reader *s = (struct slow_reader *)r;
	n = MIN(MIN(n, s->n), 700U);
	memcpy(p, s->p, n);
	s->p += n;
	s->n -= n;
	return (ssize_t)n;
}
static void slow_free(struct reader *r) {}

/* list - "type:path[>link][=content|#size] ..." or "!message". */
static const char *list_some(bool contents)
{
	static struct strbuf out = STRBUF_INIT;
	_cleanup_error_ struct error err = ERROR_INIT;
	struct slow_reader in = {{slow_read, slow_free}, ar.buf, ar.len};
	_cleanup_(tar_reader_freep) struct tar_reader *r = tar_reader_new(&in.base, "a.tar");
	struct tree_entry e;
	ssize_t n;
	strbuf_reset(&out);
	while ((n = tar_reader_next(r, &e, &err)) == 1) {
		strbuf_addf(&out, "%d:%s", (int)e.type, e.path);
		if (e.link)
			strbuf_addf(&out, ">%s", e.link);
		if (e.type == TREE_REG && e.size > 4096) {
			strbuf_addf(&out, "#%llu", (unsigned long long)e.size);
		} else if (e.type == TREE_REG && contents) {
			char buf[64];
			strbuf_addch(&out, '=');
			while ((n = tar_reader_read(r, buf, 7, &err)) > 0)
				for (ssize_t i = 0; i < n; i++)
					strbuf_addch(&out, buf[i] ? buf[i] : '_');
			if (n < 0)
				break;
		}
		strbuf_addch(&out, ' ');
	}
	if (n < 0) {
		strbuf_addf(&out, "!%s", err.msg);
		if (err.class != ERR_INTEGRITY || tar_reader_next(r, &e, &err) != 0)
			ok(0, "an integrity error, and nothing after it");
	}
	return out.buf;
}

static const char *list(void)
{
	return list_some(true);
}

static void gives(const char *want, const char *what)
{
	end();
	is_str(list(), want, what);
}

static void fails(const char *part, const char *what)
{
	end();
	const char *got = list();
	if (!ok(strchr(got, '!') && strstr(got, part), what))
		printf("#   got: %s\n", got);
}

/* --- names and order ------------------------------------------------------------------------- */

static void names(void)
{
	begin();
	file("a", "one");
	file("./b/", "");
	head("dir/", '5', 0);
	head("old/", '\0', 0);
	file("./", "");
	file("x//y/./z", "2");
	file("/abs", "");
	file("../up", "");
	file("a/../b", "");
	gives("1:a=one 2:b 2:dir 2:old 2: 1:x/y/z=2 1:/abs= 1:../up= 1:a/../b= ",
	        "names are cleaned, hostile ones left for the caller to see");

	begin();
	head("h", '1', 0);
	strcpy(last()->linkname, "./a//b");
	seal();
	head("s", '2', 0);
	strcpy(last()->linkname, "./a//b/");
	seal();
	gives("4:h>a/b 3:s>./a//b/ ", "hard link targets are paths, symlinks' are text");

	begin();
	file("f", "1");
	head("f", '5', 0);
	head("f", '2', 0);
	strcpy(last()->linkname, "t");
	seal();
	file("f", "2");
	gives("1:f=1 2:f 3:f>t 1:f=2 ", "a path many times comes as often");

	begin();
	file("", "");
	fails("without a name", "an empty name");
	begin();
	head(".", '2', 0);
	strcpy(last()->linkname, "x");
	seal();
	fails("the root is not a directory", "the root as a link");
	begin();
	file(".", "x");
	fails("the root is not a directory", "the root as a file");
	begin();
	head("l", '2', 0);
	fails("without a target", "a symlink to nothing");
	begin();
	head("l", '1', 0);
	strcpy(last()->linkname, "./");
	seal();
	fails("without a target", "a hard link to the root");
	begin();
	file("d/", "x");
	fails("a directory with a body", "a directory with a body");
	static const char bodies[] = "123456";
	for (const char *t = bodies; *t; t++) {
		begin();
		head("l", *t, 3);
		strcpy(last()->linkname, "x");
		seal();
		body("abc", 3);
		fails("with a body of 3 bytes", "only files have bodies");
	}
	begin();
	head("n", 'N', 0);
	fails("unsupported entry type 'N'", "an unknown type");
	begin();
	head("n", '\x1b', 0);
	fails("unsupported entry type '?' (0x1b)", "an unprintable type");
	begin();
	file("ok", "");
	head("bad\x1bname", 'N', 0);
	fails("a.tar: bad\\x1bname: unsupported", "errors name archive and entry, escaped");
}

static void prefixes(void)
{
	begin();
	head("name", '0', 0);
	strcpy(last()->prefix, "pre/fix");
	seal();
	gives("1:pre/fix/name= ", "ustar prefix");
	begin();
	head("name", '0', 0);
	memcpy(last()->magic, "ustar  ", 8);
	strcpy(last()->prefix, "not a prefix");
	seal();
	gives("1:name= ", "GNU has other things there");
	begin();
	head("name", '0', 0);
	memset(last()->magic, 0, 8);
	memset(last()->prefix, 'x', sizeof(last()->prefix));
	seal();
	gives("1:name= ", "v7 has nothing there");
	begin();
	head("", '0', 0);
	memset(last()->name, 'n', 100);
	memset(last()->prefix, 'p', 155);
	seal();
	end();
	is_int(strlen(list()), 2 + 155 + 1 + 100 + 2, "full fields need no NUL");
}

/* --- extension headers ----------------------------------------------------------------------- */

static void long_names(void)
{
	begin();
	ext('L', "a/very/long/name", 17);
	ext('K', "target", 7);
	head("short", '2', 0);
	gives("3:a/very/long/name>target ", "GNU long name and link");
	begin();
	ext('L', "x", 2);
	pax_of('x', "path=x");
	file("short", "1");
	file("next", "2");
	gives("1:x=1 1:next=2 ", "pax and GNU agree, and only the next entry is meant");
	begin();
	pax_of('x', "path=p");
	ext('L', "l", 2);
	file("f", "");
	fails("disagree on a name", "x, L, file: readers differ");
	begin();
	ext('L', "l", 2);
	ext('L', "m", 2);
	file("f", "");
	fails("two GNU long names", "two long names");
	begin();
	pax_of('x', "a=b");
	pax_of('x', "a=b");
	file("f", "");
	fails("two pax headers", "two pax headers");
	begin();
	pax_of('x', "size=0");
	ext('L', "l", 2);
	file("f", "");
	fails("a pax size before a GNU long name", "whose size is it?");
	begin();
	ext('L', "\0", 1);
	file("f", "");
	fails("an empty GNU long name", "an empty long name");
	begin();
	ext('L', "l", 2);
	fails("unexpected end", "a long name of nothing");
	begin();
	pax_of('x', "path=p");
	fails("unexpected end", "a pax header of nothing");
	begin();
	head("ext", 'L', (64 << 10) + 1);
	fails("GNU long name of 65537 bytes", "a name over 64 KiB");
	begin();
	head("vol", 'V', 0);
	file("f", "1");
	gives("1:f=1 ", "a volume label is skipped");
}

static void pax(void)
{
	begin();
	pax_of('x', "path=p/q\nmtime=-1.5\nuid=7\ngid=4294967294\ncomment=x\nctime=zz\nuname=");
	file("short", "1");
	gives("1:p/q=1 ", "pax path");
	begin();
	pax_of('x', "linkpath=far\npath=\n");
	fails("malformed pax record", "an empty record");
	begin();
	pax_of('x', "path=a\npath=a");
	file("f", "");
	gives("1:a= ", "the same twice is one");
	static const char *const twice[] = {"path=a\npath=b", "linkpath=a\nlinkpath=b",
	        "uid=1\nuid=2", "mtime=1\nmtime=1.1",
	        "SCHILY.xattr.user.a=1\nSCHILY.xattr.user.a=2",
	        "SCHILY.xattr.user.a=1\nLIBARCHIVE.xattr.user.a=Mg"};
	for (size_t i = 0; i < ARRAY_SIZE(twice); i++) {
		begin();
		pax_of('x', twice[i]);
		file("f", "");
		fails("twice with different values", twice[i]);
	}
	static const char *const bad[] = {"uid=-1", "uid=x", "uid=4294967295", "gid= 1",
	        "mtime=", "mtime=x", "mtime=1.x", "mtime=--1", "mtime=1e5", "size=-1",
	        "size=9223372036854775808", "SCHILY.xattr.=x", "LIBARCHIVE.xattr.a=!",
	        "SCHILY.devmajor=x", "GNU.sparse.major=2", "GNU.sparse.whatever=1",
	        "GNU.sparse.name=x", "SUN.holesdata=1", "SCHILY.realsize=5"};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (str_eq(bad[i], "mtime=")) /* POSIX: an empty value is no value */
			continue;
		begin();
		pax_of('x', bad[i]);
		file("f", "");
		fails("", bad[i]);
	}
	static const char *const raw[] = {"x", "5 a=b\n", "6 a=b\n ", "7 a=b\n", "6 a=b\0",
	        "6 =ab\n", "6 abc\n", "0 a=b\n", "99999999 a=b\n", "-6 a=b\n", "+6 a=b\n",
	        " 6 a=b\n", "06 a=b\n "};
	for (size_t i = 0; i < ARRAY_SIZE(raw); i++) {
		begin();
		ext('x', raw[i], i == 4 ? 6 : strlen(raw[i]));
		file("f", "");
		fails("malformed pax record", "malformed framing");
	}
	begin();
	ext('x', "10 a\0b=cd\n", 10);
	file("f", "");
	fails("malformed pax record key", "NUL in a key");
	begin();
	ext('x', "12 path=a\0b\n", 12);
	file("f", "");
	fails("malformed pax record path", "NUL in a path");
	begin();
	head("ext", 'x', (1 << 20) + 1);
	fails("pax header of 1048577 bytes", "a pax header over 1 MiB");
	begin();
	head("ext", 'x', 07777777777ULL);
	fails("pax header of 1073741823 bytes", "a pax header of 1 GiB");
}

static void globals(void)
{
	begin();
	pax_of('g', "comment=abcdef\nmtime=99\nuid=5");
	pax_of('x', "uid=6");
	file("a", "1");
	file("b", "2");
	end();
	struct slow_reader in = {{slow_read, slow_free}, ar.buf, ar.len};
	_cleanup_error_ struct error err = ERROR_INIT;
	_cleanup_(tar_reader_freep) struct tar_reader *r = tar_reader_new(&in.base, "t");
	struct tree_entry e;
	ok(tar_reader_next(r, &e, &err) == 1 && e.uid == 6 && e.mtime_sec == 99,
	        "own before global");
	ok(tar_reader_next(r, &e, &err) == 1 && e.uid == 5 && e.mtime_sec == 99, "global stays");
	ok(tar_reader_next(r, &e, &err) == 0, "end");
	static const char *const bad[] = {
	        "path=x", "linkpath=x", "size=1", "SCHILY.xattr.user.a=1", "GNU.sparse.major=1"};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		begin();
		pax_of('g', bad[i]);
		file("f", "");
		fails("global pax header sets", bad[i]);
	}
}

static void xattrs(void)
{
	begin();
	static const char records[] = "30 SCHILY.xattr.user.z=\1=\n\0\xff.\n"
	                              "36 LIBARCHIVE.xattr.user.z=AT0KAP8u\n"
	                              "31 LIBARCHIVE.xattr.b%2E%20=QQ\n"
	                              "25 SCHILY.xattr.c%3D%2E=\n";
	_cleanup_free_ char *p = xmemdup(records, sizeof(records) - 1);
	ext('x', p, sizeof(records) - 1);
	file("f", "");
	head("h", '1', 0);
	strcpy(last()->linkname, "f");
	seal();
	end();
	struct slow_reader in = {{slow_read, slow_free}, ar.buf, ar.len};
	_cleanup_error_ struct error err = ERROR_INIT;
	_cleanup_(tar_reader_freep) struct tar_reader *r = tar_reader_new(&in.base, "t");
	struct tree_entry e;
	if (!ok(tar_reader_next(r, &e, &err) == 1 && e.n_xattrs == 3, "both forms, once each"))
		return (void)printf("#   %s\n", str_or_empty(err.msg));
	is_str(e.xattrs[0].name, "b. ", "libarchive's names are URL-encoded");
	ok(e.xattrs[0].len == 1 && e.xattrs[0].value[0] == 'A', "base64 without padding");
	is_str(e.xattrs[1].name, "c=%2E", "GNU's only for = and %");
	ok(e.xattrs[1].len == 0, "an empty value");
	ok(e.xattrs[2].len == 6 && memcmp(e.xattrs[2].value, "\1=\n\0\xff.", 6) == 0,
	        "binary values");
	ok(tar_reader_next(r, &e, &err) == 1 && e.n_xattrs == 0, "and none on the next");
}

/* --- numbers and sizes ----------------------------------------------------------------------- */

static void number(const char *field, size_t n, long long want, const char *what)
{
	_cleanup_error_ struct error err = ERROR_INIT;
	int64_t got = -77;
	int r = tar_number_signed(field, n, "x", &got, &err);
	if (want == -77)
		ok(r < 0, what);
	else
		is_int(r < 0 ? -99 : got, want, what);
}

static void numbers(void)
{
	number("0000644", 8, 0644, "digits and NUL");
	number("   644 ", 8, 0644, "blanks around");
	number("644\0\0\0\0\0", 8, 0644, "NULs behind");
	number("77777777", 8, 077777777, "no end mark");
	number("\0\0\0\0\0\0\0\0", 8, 0, "empty");
	number("        ", 8, 0, "blank");
	number("644 \0 \0\0", 8, 0644, "mixed ends");
	number("644\0 123", 8, -77, "digits behind the end");
	number("\0\0\0 644\0", 8, -77, "digits behind NULs");
	number("644x    ", 8, -77, "letters");
	number("0000648\0", 8, -77, "not octal");
	number("-0000644", 8, -77, "a sign");
	number("+0000644", 8, -77, "a plus sign");
	number("\x80\0\0\0\0\0\0\5", 8, 5, "base-256");
	number("\xff\xff\xff\xff\xff\xff\xff\xfe", 8, -2, "negative base-256");
	number("\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", 12, INT64_MAX, "the largest");
	number("\x80\0\0\0\x80\0\0\0\0\0\0\0", 12, -77, "2^63");
	number("\x80\0\1\0\0\0\0\0\0\0\0\0", 12, -77, "2^72");
	number("\xff\xff\xff\xff\x80\0\0\0\0\0\0\0", 12, INT64_MIN, "the smallest");
	number("\xff\xff\xff\xfe\xff\xff\xff\xff\xff\xff\xff\xff", 12, -77, "below it");

	begin();
	head("f", '0', 0);
	memcpy(last()->size, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12);
	seal();
	fails("negative size", "a negative size");
	begin();
	head("f", '0', 0);
	memcpy(last()->size, "\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", 12);
	seal();
	fails("unexpected end", "a file of 2^63 - 1 bytes that is not there");
	begin();
	head("f", '0', 0);
	memcpy(last()->uid, "\x80\0\0\0\xff\xff\xff\xff", 8);
	seal();
	fails("uid 4294967295 is out of range", "uid -1");
	begin();
	head("f", '0', 0);
	memcpy(last()->mtime, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12);
	seal();
	gives("1:f= ", "a time before 1970 is fine");
}

static void sizes(void)
{
	begin();
	pax_of('x', "size=3");
	file("f", "abc");
	gives("1:f=abc ", "equal sizes");
	begin();
	pax_of('x', "size=512");
	head("f", '0', 0);
	file("g", "");
	fails("size 512 in the pax header, 0 in the header", "an entry hidden from pax readers");
	begin();
	pax_of('x', "size=0");
	file("f", "abc");
	fails("size 0 in the pax header, 3 in the header", "or shown to them alone");
	begin();
	pax_of('x', "size=8589934592");
	head("f", '0', 0);
	end();
	ok(str_starts(list_some(false), "1:f#8589934592 !"), "what does not fit is only in pax");
	begin();
	pax_of('x', "size=8589934592");
	head("f", '0', 7);
	fails("size 8589934592 in the pax header, 7", "but 7 would have fitted");
}

static void ends(void)
{
	begin();
	is_str(list(), "", "no bytes: an empty archive");
	file("f", "1");
	is_str(list(), "1:f=1 ", "no end mark");
	static const char zeros[1024];
	strbuf_add(&ar, zeros, TAR_BLOCK);
	is_str(list(), "1:f=1 ", "half an end mark");
	file("g", "2");
	fails("entries after a zero block", "entries behind half an end mark");
	begin();
	file("f", "1");
	end();
	file("g", "2");
	is_str(list(), "1:f=1 ", "nothing counts behind the end mark");
	begin();
	file("f", "12345678");
	for (size_t n = 1; n < ar.len; n++) {
		struct strbuf whole = ar;
		ar.len = n;
		const char *got = list_some(true);
		ar = whole;
		if (!strstr(got, "!a.tar") || !strstr(got, "unexpected end of archive"))
			ok(0, "every cut is noticed");
	}
	begin();
	file("f", "1");
	ar.buf[0] ^= 1;
	fails("header checksum is wrong", "a flipped bit");
	begin();
	strbuf_addstr(&ar, "this is not a tar archive");
	while (ar.len < 2 * TAR_BLOCK)
		strbuf_addch(&ar, 'x');
	fails("malformed checksum field", "another kind of file");
	begin();
	head("f\xe9\xff", '0', 0);
	int sum = (int)tar_checksum(last()) - 2 * 256;
	snprintf(last()->chksum, 8, "%06o", sum);
	gives("1:f\xe9\xff= ", "checksums of signed characters");
}

/* --- sparse files ---------------------------------------------------------------------------- */

static void gnu_sparse(const char *pieces, const char *real, char more)
{
	head("s", 'S', 4);
	memcpy(last()->magic, "ustar  ", 8);
	char *p = ar.buf + ar.len - TAR_BLOCK;
	memset(p + 345, 0, 167);
	memcpy(p + 386, pieces, strlen(pieces));
	p[482] = more;
	memcpy(p + 483, real, strlen(real));
	seal();
}

#define PIECE(o, n) o " " n " "

static void sparse(void)
{
	begin();
	gnu_sparse(PIECE("00000000002", "00000000001") PIECE("00000000005", "00000000003"),
	        "00000000012", 0);
	body("abcd", 4);
	file("next", "1");
	gives("1:s=__a__bcd__ 1:next=1 ", "old GNU sparse");
	begin();
	gnu_sparse(PIECE("00000000000", "00000000001"), "00000000006", 1);
	char block[TAR_BLOCK] = PIECE("00000000002", "00000000003");
	strbuf_add(&ar, block, sizeof(block));
	body("abcd", 4);
	gives("1:s=a_bcd_ ", "continued");
	begin();
	gnu_sparse(PIECE("00000000005", "00000000003") PIECE("00000000002", "00000000001"),
	        "00000000012", 0);
	body("abcd", 4);
	fails("out of order", "pieces out of order");
	begin();
	gnu_sparse(PIECE("00000000000", "00000000003") PIECE("00000000002", "00000000001"),
	        "00000000012", 0);
	body("abcd", 4);
	fails("out of order", "pieces that overlap");
	begin();
	gnu_sparse(PIECE("00000000000", "00000000004"), "00000000003", 0);
	body("abcd", 4);
	fails("beyond the file's end", "pieces beyond the end");
	begin();
	gnu_sparse(PIECE("00000000000", "00000000003"), "00000000012", 0);
	body("abcd", 4);
	fails("sparse map holds 3 bytes, the archive 4", "bytes left over");
	begin();
	gnu_sparse(PIECE("00000000000", "00000000001"), "00000000012", 1);
	const char *cut = list();
	ok(strstr(cut, "unexpected end of archive"), "no continuation");

	begin();
	pax_of('x', "GNU.sparse.size=6\nGNU.sparse.numblocks=2\nGNU.sparse.offset=1\n"
	            "GNU.sparse.numbytes=2\nGNU.sparse.offset=4\nGNU.sparse.numbytes=1");
	file("s", "abc");
	gives("1:s=_ab_c_ ", "pax 0.0");
	begin();
	pax_of('x', "GNU.sparse.size=6\nGNU.sparse.numblocks=2\nGNU.sparse.name=real\n"
	            "GNU.sparse.map=1,2,4,1");
	file("GNUSparseFile.0/s", "abc");
	gives("1:real=_ab_c_ ", "pax 0.1");
	begin();
	pax_of('x', "GNU.sparse.major=1\nGNU.sparse.minor=0\nGNU.sparse.name=real\n"
	            "GNU.sparse.realsize=6");
	head("GNUSparseFile.0/s", '0', 512 + 3);
	body("2\n1\n2\n4\n1\n", 10);
	body("abc", 3);
	file("next", "1");
	gives("1:real=_ab_c_ 1:next=1 ", "pax 1.0");
	static const char *const maps[] = {"2\n1\n2\n4\n", "x\n", "\n", "-1\n", "1\n1\n",
	        "1000001\n", "99999999999999999999999999\n"};
	for (size_t i = 0; i < ARRAY_SIZE(maps); i++) {
		begin();
		pax_of('x', "GNU.sparse.major=1\nGNU.sparse.minor=0\nGNU.sparse.realsize=6");
		head("s", '0', 512 + 3);
		body(maps[i], strlen(maps[i]));
		body("abc", 3);
		fails(i == 5 ? "sparse map of 1000001 pieces" : "malformed sparse map", maps[i]);
	}
	static const char *const bad[] = {"GNU.sparse.size=6\nGNU.sparse.map=1",
	        "GNU.sparse.size=6\nGNU.sparse.map=1,2,", "GNU.sparse.map=0,3",
	        "GNU.sparse.size=6\nGNU.sparse.offset=1",
	        "GNU.sparse.size=6\nGNU.sparse.numbytes=3",
	        "GNU.sparse.size=6\nGNU.sparse.numblocks=2\nGNU.sparse.map=0,3",
	        "GNU.sparse.size=6\nGNU.sparse.map=0,3\nGNU.sparse.map=0,3",
	        "GNU.sparse.major=1\nGNU.sparse.realsize=6",
	        "GNU.sparse.major=1\nGNU.sparse.minor=1\nGNU.sparse.realsize=6",
	        "GNU.sparse.size=9223372036854775807\nGNU.sparse.map=9223372036854775807,3"};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		begin();
		pax_of('x', bad[i]);
		file("s", "abc");
		fails("", bad[i]);
	}
	begin();
	pax_of('x', "GNU.sparse.size=1099511627776\nGNU.sparse.map=0,3");
	file("s", "abc");
	end();
	is_str(list(), "1:s#1099511627776 ", "a terabyte of holes costs nothing to skip");
}

int main(void)
{
	ar = STRBUF_INIT;
	names();
	prefixes();
	long_names();
	pax();
	globals();
	xattrs();
	numbers();
	sizes();
	ends();
	sparse();
	strbuf_release(&ar);
	return tap_done();
}
