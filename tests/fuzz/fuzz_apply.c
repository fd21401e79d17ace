/* layer_apply on any bytes: nothing appears outside the layer directory, and what it says it made
 * is there, so that its canonical tar can be written. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "layer/layer.h"
#include "sys/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool cond, const char *what)
{
	if (!cond) {
		fprintf(stderr, "property violated: %s\n", what);
		abort();
	}
}

/* /tmp/strake-fuzz-*: "in" is the layer's directory, inside "jail"; both hold nothing else. */
static int jail(int *ret_layer)
{
	char root[] = "/tmp/strake-fuzz-XXXXXX";
	check(mkdtemp(root) != NULL, "a temporary directory");
	int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	check(fd >= 0 && sys_mkdir_p(fd, "jail/in", 0755) == 0, "the layer's directory");
	*ret_layer = sys_open_beneath(fd, "jail/in", O_RDONLY | O_DIRECTORY, 0);
	check(*ret_layer >= 0, "its descriptor");
	return fd;
}

static size_t count(int dirfd, const char *path)
{
	int fd = sys_open_beneath(dirfd, path, O_RDONLY | O_DIRECTORY, 0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	check(d != NULL, "a directory that was there");
	size_t n = 0;
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct layer_apply_options opt = {.single_id = geteuid() != 0, .max_bytes = 1 << 20};
	struct tree t = TREE_INIT;
	struct error err = ERROR_INIT;
	int layer, root = jail(&layer);
	struct reader *in = reader_mem(data, size);
	if (layer_apply(in, "layer", layer, &opt, &t, &err) == 0) {
		struct digest d;
		for (size_t i = 0; i < t.n; i++) {
			struct stat st;
			if (t.entries[i].type != TREE_SYMLINK)
				check(sys_stat_beneath(layer, t.entries[i].path, &st) == 0,
				        "what is in the tree is on disk");
		}
		check(layer_diff_id(&t, layer, &d, NULL, &err) == 0, "the layer has a tar");
	}
	check(count(root, ".") == 3 && count(root, "jail") == 3, "nothing outside");
	reader_free(in);
	tree_release(&t);
	error_release(&err);
	check(sys_remove_tree(root, "jail") == 0, "cleaning up");
	char path[64], self[64];
	snprintf(self, sizeof(self), "/proc/self/fd/%d", root);
	ssize_t n = readlink(self, path, sizeof(path) - 1);
	check(n > 0, "its path");
	path[n] = '\0';
	close(layer);
	close(root);
	check(rmdir(path) == 0, "cleaning up");
	return 0;
}
