/* layer_write_view: merged layers as plain files, in an empty directory and over the user's own. */
#include "copy_fixture.h"

int main(void)
{
	fx_begin();
	struct fx_layer a = {.fd = fx_dir("a")}, b = {.fd = fx_dir("b")};
	mkdirat(a.fd, "etc", 0750);
	fchmodat(a.fd, "etc", 0750, 0);
	fx_file(a.fd, "etc/f", "from a", 0600);
	(void)!fchownat(a.fd, "etc/f", 5, 6, 0);
	ok(linkat(a.fd, "etc/f", a.fd, "etc/g", 0) == 0, "a hard link");
	fx_file(a.fd, "gone", "x", 0644);
	ok(symlinkat("etc", a.fd, "l") == 0, "a link");
	fx_layer_scan(&a);
	const struct tree *trees[2] = {&a.t, &b.t};
	struct treeview below = {trees, 1}, view = {trees, 2};
	int fds[2] = {a.fd, b.fd};
	struct error err = ERROR_INIT;
	mknodat(b.fd, "gone", S_IFCHR, 0);
	mkdirat(b.fd, "usr", 0755);
	fx_file(b.fd, "usr/x", "from b", 0755);
	fx_ok(layer_scan_upper(b.fd, &below, NULL, NULL, &b.t, &err), &err, "two layers");

	int out = fx_dir("out");
	fx_ok(layer_write_view(&view, fds, out, true, &err), &err, "written with owners");
	is_list(out,
	        "etc d 0750 0:0\netc/f f 0600 5:6 from a\netc/g = etc/f\nl l -> etc\n"
	        "usr d 0755 0:0\nusr/x f 0755 0:0 from b\n",
	        "the merged view, links kept, whiteouts gone");
	struct stat st, st2;
	fstatat(out, "etc/f", &st, 0);
	fstatat(a.fd, "etc/f", &st2, 0);
	ok(st.st_ino != st2.st_ino, "nothing is linked to the store");
	is_int(st.st_mtim.tv_sec, 1000000000, "times are kept");
	close(out);

	out = fx_dir("own");
	int canary = fx_dir("canary");
	fx_file(canary, "f", "canary", 0644);
	fx_file(out, "mine", "mine", 0644);
	ok(symlinkat("../canary", out, "etc") == 0, "a link in the way");
	ok(symlinkat("../canary/f", out, "l") == 0, "another");
	fx_ok(layer_write_view(&view, fds, out, false, &err), &err, "written over what is there");
	is_list(out,
	        "etc d 0750 0:0\netc/f f 0600 0:0 from a\netc/g = etc/f\nl l -> etc\n"
	        "mine f 0644 0:0 mine\nusr d 0755 0:0\nusr/x f 0755 0:0 from b\n",
	        "links there are replaced, other files are left");
	is_list(canary, "f f 0644 0:0 canary\n", "and never followed");
	close(canary);
	close(out);

	out = fx_dir("dir");
	mkdirat(out, "l", 0755);
	fx_err(layer_write_view(&view, fds, out, false, &err), &err, ERR_BUILD,
	        "has a directory of that name", "a directory is not replaced by a file");
	close(out);

	fx_file(b.fd, "usr/x", "frOm b", 0755);
	out = fx_dir("bad");
	fx_err(layer_write_view(&view, fds, out, false, &err), &err, ERR_INTEGRITY, "damaged",
	        "F6: a damaged layer is never exported");
	close(out);
	fx_layer_release(&a);
	fx_layer_release(&b);
	return fx_end();
}
