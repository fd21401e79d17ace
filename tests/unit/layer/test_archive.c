/* ADD of archives: what is one, T5, T8, owners, and tar contexts (B4). */
#include "copy_fixture.h"

/* d/f, 0640, 7:8, "hello", as `tar | xz` and `tar | bzip2` made it */
static const unsigned char tar_xz[] = {
        0xfd,
        0x37,
        0x7a,
        0x58,
        0x5a,
        0x00,
        0x00,
        0x04,
        0xe6,
        0xd6,
        0xb4,
        0x46,
        0x02,
        0x00,
        0x21,
        0x01,
        0x1c,
        0x00,
        0x00,
        0x00,
        0x10,
        0xcf,
        0x58,
        0xcc,
        0xe0,
        0x07,
        0xff,
        0x00,
        0x4a,
        0x5d,
        0x00,
        0x32,
        0x0b,
        0xc8,
        0xc0,
        0x0e,
        0x50,
        0x27,
        0x08,
        0xfc,
        0xe7,
        0x00,
        0xa3,
        0x80,
        0x49,
        0xb2,
        0xc1,
        0xc4,
        0x3d,
        0xc4,
        0x6c,
        0x41,
        0xf7,
        0x20,
        0xb7,
        0x5d,
        0xb9,
        0xfb,
        0x91,
        0xad,
        0x39,
        0x80,
        0xe3,
        0xa8,
        0x4d,
        0xba,
        0xba,
        0x9d,
        0x08,
        0xc2,
        0xc0,
        0x2c,
        0x7d,
        0x42,
        0xbf,
        0x76,
        0xfc,
        0xd7,
        0x73,
        0x62,
        0x93,
        0xe4,
        0x42,
        0x5e,
        0x76,
        0x5b,
        0x21,
        0xe2,
        0xa0,
        0xca,
        0xdf,
        0x6b,
        0x5d,
        0xf7,
        0xc0,
        0x6d,
        0x69,
        0x8a,
        0x2e,
        0x98,
        0x65,
        0x97,
        0x0c,
        0x00,
        0x00,
        0x00,
        0x00,
        0x00,
        0x1a,
        0xab,
        0xab,
        0x59,
        0x38,
        0xc9,
        0xa3,
        0x79,
        0x00,
        0x01,
        0x66,
        0x80,
        0x10,
        0x00,
        0x00,
        0x00,
        0x97,
        0xdf,
        0x07,
        0xfc,
        0xb1,
        0xc4,
        0x67,
        0xfb,
        0x02,
        0x00,
        0x00,
        0x00,
        0x00,
        0x04,
        0x59,
        0x5a,
};
static const unsigned char tar_bz2[] = {
        0x42,
        0x5a,
        0x68,
        0x39,
        0x31,
        0x41,
        0x59,
        0x26,
        0x53,
        0x59,
        0x9f,
        0x86,
        0x41,
        0xe7,
        0x00,
        0x00,
        0x30,
        0x5b,
        0x80,
        0xf1,
        0x00,
        0x40,
        0x00,
        0xef,
        0x80,
        0x00,
        0x02,
        0x67,
        0x44,
        0x9e,
        0x00,
        0x08,
        0x08,
        0x20,
        0x00,
        0x54,
        0x44,
        0x13,
        0x47,
        0xa0,
        0x4c,
        0x00,
        0xd3,
        0x41,
        0x24,
        0x89,
        0xe8,
        0x80,
        0x34,
        0xd0,
        0x01,
        0x59,
        0x9c,
        0x7c,
        0x8b,
        0x04,
        0x17,
        0xf5,
        0x49,
        0x2d,
        0x19,
        0xc9,
        0x32,
        0x50,
        0x4d,
        0xbe,
        0x51,
        0xa5,
        0xd0,
        0x43,
        0xb2,
        0x26,
        0xc1,
        0x58,
        0x83,
        0xc5,
        0x49,
        0x8b,
        0xaa,
        0x1f,
        0x56,
        0x83,
        0xe0,
        0x8a,
        0xe8,
        0xa5,
        0x81,
        0x27,
        0x57,
        0x3d,
        0x90,
        0x11,
        0x99,
        0xb5,
        0x08,
        0xe8,
        0xbb,
        0x92,
        0x29,
        0xc2,
        0x84,
        0x84,
        0xfc,
        0x32,
        0x0f,
        0x38,
};

static struct fx_layer low;

static void put(int fd, const char *name, const void *p, size_t n)
{
	int f = openat(fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (f < 0 || sys_write_all(f, p, n) < 0)
		exit(94);
	close(f);
}

static void put_compressed(int fd, const char *name, const struct fx_tar *t, enum compression kind)
{
	struct error err = ERROR_INIT;
	int f = openat(fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	struct sink *s = sink_compress(sink_fd(f, name), kind, -1, 1);
	if (sink_write(s, t->sb.buf, t->sb.len, &err) < 0 || sink_finish(s, &err) < 0)
		exit(93);
	sink_free(s);
	close(f);
}

static void plain_tar(struct fx_tar *t)
{
	*t = FX_TAR_INIT;
	fx_tar_raw(t, '0', "d/f", NULL, 0640, 7, 8, "hello", 0, 0);
	fx_tar_end(t);
}

static void is_archive(int dirfd, const char *name, bool want)
{
	struct error err = ERROR_INIT;
	bool got = !want;
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
	fx_ok(layer_is_archive(fd, &got, &err), &err, name);
	ok(got == want, want ? "is an archive" : "is no archive");
	close(fd);
}

static void add(struct fx_layer *s, const char *name, const char *dest, const char *chown,
        const char *want, const char *what)
{
	struct fx_copy c;
	fx_layer_scan(s);
	fx_copy_begin(&c, &low, dest);
	c.rq.chown = chown;
	fx_copy_add(&c, s, name)->archive = true;
	fx_copy_run(&c, NULL);
	fx_ok(c.r, &c.err, what);
	is_list(c.fd, want, what);
	fx_copy_end(&c);
}

static void test_kinds(struct fx_layer *s)
{
	struct fx_tar t;
	plain_tar(&t);
	put(s->fd, "t.tar", t.sb.buf, t.sb.len);
	put(s->fd, "notail.tar", t.sb.buf, 1024); /* without the two zero blocks */
	put_compressed(s->fd, "t.gz", &t, COMPRESS_GZIP);
	put_compressed(s->fd, "t.zst", &t, COMPRESS_ZSTD);
	put(s->fd, "t.xz", tar_xz, sizeof(tar_xz));
	put(s->fd, "t.bz2", tar_bz2, sizeof(tar_bz2));
	strbuf_release(&t.sb);
	t = FX_TAR_INIT;
	strbuf_addstr(
	        &t.sb, "just text, no tar, but long enough not to be too short for one block");
	put_compressed(s->fd, "text.tar.gz", &t, COMPRESS_GZIP);
	strbuf_reset(&t.sb);
	fx_tar_end(&t);
	put(s->fd, "zeros", t.sb.buf, t.sb.len);
	strbuf_release(&t.sb);
	put(s->fd, "text.tar", "plain text", 10);
	put(s->fd, "nothing", "", 0);
	put(s->fd, "broken.gz", "\x1f\x8b\x08 broken", 10);
	static const char *const yes[] = {"t.tar", "notail.tar", "t.gz", "t.zst", "t.xz", "t.bz2"};
	static const char *const no[] = {
	        "text.tar.gz", "zeros", "text.tar", "nothing", "broken.gz"};
	for (size_t i = 0; i < ARRAY_SIZE(yes); i++)
		is_archive(s->fd, yes[i], true);
	for (size_t i = 0; i < ARRAY_SIZE(no); i++)
		is_archive(s->fd, no[i], false);
	for (size_t i = 0; i < ARRAY_SIZE(yes); i++)
		add(s, yes[i], "/x", NULL, "x d 0755 0:0\nx/d d 0755 0:0\nx/d/f f 0640 7:8 hello\n",
		        "43: unpacked, by content");
	add(s, "t.tar", "/x", "1:2", "x d 0755 1:2\nx/d d 0755 1:2\nx/d/f f 0640 1:2 hello\n",
	        "85: --chown overrides the owners inside");
}

static void test_through_links(struct fx_layer *s)
{
	struct fx_tar t = FX_TAR_INIT;
	fx_tar_file(&t, "var/run/f", "new");
	fx_tar_hard(&t, "var/run/g", "var/run/f");
	fx_tar_hard(&t, "etc/h", "etc/conf");
	fx_tar_end(&t);
	put(s->fd, "links.tar", t.sb.buf, t.sb.len);
	strbuf_release(&t.sb);
	add(s, "links.tar", "/", NULL,
	        "etc d 0755 0:0\netc/conf f 0600 1:1 lower\netc/h = etc/conf\n"
	        "run d 0711 0:0\nrun/f f 0644 0:0 new\nrun/g = run/f\n",
	        "T5: through /var/run into the rootfs's /run; a hard link to a file of the image");

	t = FX_TAR_INIT;
	fx_tar_link(&t, "up", "../../../../../..");
	fx_tar_file(&t, "up/tmp/x", "in");
	fx_tar_dir(&t, "etc", 0700);
	fx_tar_file(&t, "etc", "a file now");
	fx_tar_dir(&t, "etc", 0701);
	fx_tar_end(&t);
	put(s->fd, "climb.tar", t.sb.buf, t.sb.len);
	strbuf_release(&t.sb);
	add(s, "climb.tar", "/", NULL,
	        "etc d 0701 0:0 opaque\ntmp d 0755 0:0\ntmp/x f 0644 0:0 in\n"
	        "up l -> ../../../../../..\n",
	        "T2: a climbing link is clamped; a directory that was a file hides the lower one");
}

static void refused(struct fx_layer *s, struct fx_tar *t, const char *part, const char *what)
{
	struct fx_copy c;
	fx_tar_end(t);
	put(s->fd, "bad.tar", t->sb.buf, t->sb.len);
	strbuf_release(&t->sb);
	fx_layer_scan(s);
	fx_copy_begin(&c, &low, "/x");
	fx_copy_add(&c, s, "bad.tar")->archive = true;
	fx_copy_run(&c, NULL);
	fx_err(c.r, &c.err, ERR_INTEGRITY, part, what);
	fx_copy_end(&c);
}

static void test_refused(struct fx_layer *s)
{
	struct fx_tar t = FX_TAR_INIT;
	fx_tar_file(&t, "../../x", "bad");
	refused(s, &t, "leads out", "T1: a climbing name in ADD");
	t = FX_TAR_INIT;
	fx_tar_file(&t, "d/.wh.x", "");
	refused(s, &t, "removal", "a .wh. name in ADD is no whiteout and no file");
	t = FX_TAR_INIT;
	fx_tar_raw(&t, '3', "zero", NULL, 0600, 0, 0, NULL, 0, 0);
	refused(s, &t, "0:0", "T9: a device 0:0 in ADD");
}

static void test_changed(struct fx_layer *s)
{
	struct fx_copy c;
	struct fx_tar t;
	plain_tar(&t);
	put(s->fd, "c.tar", t.sb.buf, t.sb.len);
	fx_layer_scan(s);
	t.sb.buf[516] = 'x'; /* the last byte of the file inside */
	put(s->fd, "c.tar", t.sb.buf, t.sb.len);
	strbuf_release(&t.sb);
	fx_copy_begin(&c, &low, "/x");
	fx_copy_add(&c, s, "c.tar")->archive = true;
	fx_copy_run(&c, NULL);
	fx_err(c.r, &c.err, ERR_INTEGRITY, "changed while being read",
	        "B2: an archive that changed");
	fx_copy_end(&c);
}

static void test_order(struct fx_layer *s)
{
	struct fx_copy c;
	struct fx_tar t = FX_TAR_INIT;
	fx_tar_file(&t, "one", "from tar");
	fx_tar_hard(&t, "two", "file");
	fx_tar_end(&t);
	put(s->fd, "o.tar", t.sb.buf, t.sb.len);
	strbuf_release(&t.sb);
	fx_file(s->fd, "file", "before", 0644);
	fx_file(s->fd, "one", "after", 0644);
	fx_layer_scan(s);
	fx_copy_begin(&c, &low, "/x");
	c.rq.dest_is_dir = true;
	fx_copy_add(&c, s, "file");
	fx_copy_add(&c, s, "o.tar")->archive = true;
	fx_copy_add(&c, s, "one");
	fx_copy_run(&c, NULL);
	fx_ok(c.r, &c.err, "files and an archive in one ADD");
	is_list(c.fd,
	        "x d 0755 0:0\nx/file f 0644 0:0 before\nx/one f 0644 0:0 after\nx/two = x/file\n",
	        "are placed in order");
	fx_copy_end(&c);
}

static void test_context(struct fx_layer *s)
{
	struct fx_tar t = FX_TAR_INIT;
	struct error err = ERROR_INIT;
	char canary[128];
	snprintf(canary, sizeof(canary), "%s/canary", fx_root);
	fx_tar_link(&t, "Dockerfile", canary);
	fx_tar_raw(&t, '0', "src/.wh.a", NULL, 0600, 1234, 1234, "x", 0, 0);
	fx_tar_end(&t);
	put(s->fd, "ctx.tar", t.sb.buf, t.sb.len);
	int in = openat(s->fd, "ctx.tar", O_RDONLY | O_CLOEXEC), out = fx_dir("ctx");
	fx_ok(layer_unpack_archive(in, "context", out, 0, &err), &err, "B4: a tar context");
	char want[256];
	snprintf(want, sizeof(want), "Dockerfile l -> %s\nsrc d 0755 0:0\nsrc/.wh.a f 0600 0:0 x\n",
	        canary);
	is_list(out, want, "is unpacked as it is, without owners");
	close(in);
	close(out);
	put(s->fd, "ctx.tar", t.sb.buf, 700);
	strbuf_release(&t.sb);
	in = openat(s->fd, "ctx.tar", O_RDONLY | O_CLOEXEC);
	out = fx_dir("ctx2");
	fx_err(layer_unpack_archive(in, "context", out, 0, &err), &err, ERR_INTEGRITY, "",
	        "B4: a broken one");
	close(in);
	close(out);
}

int main(void)
{
	fx_begin();
	low.fd = fx_dir("low");
	mkdirat(low.fd, "run", 0711);
	mkdirat(low.fd, "var", 0755);
	ok(symlinkat("/run", low.fd, "var/run") == 0, "/var/run");
	mkdirat(low.fd, "etc", 0755);
	fx_file(low.fd, "etc/conf", "lower", 0600);
	(void)!fchownat(low.fd, "etc/conf", 1, 1, 0);
	fx_layer_scan(&low);
	struct fx_layer s = {.fd = fx_dir("src")};
	test_kinds(&s);
	test_through_links(&s);
	test_refused(&s);
	test_changed(&s);
	test_order(&s);
	test_context(&s);
	fx_layer_release(&s);
	fx_layer_release(&low);
	return fx_end();
}
