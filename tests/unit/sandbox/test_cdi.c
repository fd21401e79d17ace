/* CDI specifications: the right file and device win, hooks and nonsense are refused. */
#include "../tap.h"
#include "sandbox/cdi.h"
#include "sys/path.h"

#include <fcntl.h>
#include <sys/stat.h>

static char dir[] = "/tmp/strake-cdi-XXXXXX";

static void put(const char *name, const char *text)
{
	char path[100];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || sys_write_all(fd, text, strlen(text)) < 0)
		abort();
	close(fd);
}

int main(void)
{
	if (!mkdtemp(dir))
		return 1;
	const char *const dirs[] = {"/nonexistent-cdi", dir, NULL};
	_cleanup_error_ struct error err = ERROR_INIT;
	struct cdi_edits e = {0};
	put("a.json", "{\"cdiVersion\":\"0.6.0\",\"kind\":\"acme.com/"
	              "gpu\",\"containerEdits\":{\"env\":[\"ALL=1\"]},"
	              "\"devices\":[{\"name\":\"zero\",\"containerEdits\":{\"env\":[\"Z=0\"],"
	              "\"deviceNodes\":[{\"path\":\"/dev/acme0\",\"hostPath\":\"/dev/"
	              "zero\"},{\"path\":\"/dev/full\"}],"
	              "\"mounts\":[{\"hostPath\":\"/usr\",\"containerPath\":\"/opt/"
	              "usr\",\"options\":[\"ro\",\"bind\"]}]}},"
	              "{\"name\":\"hook\",\"containerEdits\":{\"hooks\":[{\"hookName\":"
	              "\"createContainer\",\"path\":\"/bin/x\"}]}},"
	              "{\"name\":\"relative\",\"containerEdits\":{\"deviceNodes\":[{\"path\":\"dev/"
	              "x\"}]}},"
	              "{\"name\":\"env\",\"containerEdits\":{\"env\":[\"bare\"]}}]}");
	put("ignored.txt", "not json");
	ok(cdi_resolve(dirs, "acme.com/gpu=zero", &e, &err) >= 0, "found");
	is_int(e.n_mounts, 3, "two nodes and a mount");
	is_str(e.mounts[0].host_path, "/dev/zero", "host path");
	is_str(e.mounts[0].path, "/dev/acme0", "path");
	is_str(e.mounts[1].host_path, "/dev/full", "the host path is the path by default");
	ok(e.mounts[0].is_device && !e.mounts[2].is_device && e.mounts[2].read_only, "kinds");
	ok(e.env.n == 2 && str_eq(e.env.v[0], "ALL=1") && str_eq(e.env.v[1], "Z=0"),
	        "environment of both levels");
	cdi_edits_release(&e);
	ok(cdi_resolve(dirs, "acme.com/gpu=one", &e, &err) < 0, "unknown device");
	is_str(err.msg, "no CDI device acme.com/gpu=one on this machine", "message");
	ok(err.hint != NULL, "cure");
	error_release(&err);
	ok(cdi_resolve(dirs, "/dev/fuse", &e, &err) < 0 && err.class == ERR_USAGE,
	        "not a CDI name");
	error_release(&err);
	ok(cdi_resolve(dirs, "acme.com/gpu=hook", &e, &err) < 0 && strstr(err.msg, "hooks"),
	        "hooks are refused");
	error_release(&err);
	ok(cdi_resolve(dirs, "acme.com/gpu=relative", &e, &err) < 0, "a relative path is refused");
	error_release(&err);
	ok(cdi_resolve(dirs, "acme.com/gpu=env", &e, &err) < 0, "a bare env entry is refused");
	error_release(&err);
	cdi_edits_release(&e);
	put("broken.json", "{");
	ok(cdi_resolve(dirs, "acme.com/gpu=zero", &e, &err) < 0 && strstr(err.msg, "broken.json"),
	        "a broken file is named");
	cdi_edits_release(&e);
	int d = sys_open_dir(AT_FDCWD, dir);
	is_int(sys_remove_tree_at_fd(d), 0, "clean up");
	close(d);
	rmdir(dir);
	return tap_done();
}
