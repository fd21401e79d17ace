/* Many layers: the kernel's 500 and beyond by an overlay on an overlay; whiteouts across the seam.
 */
#include "harness.h"

#include <sys/resource.h>

#define MANY 700
static int layers[1000];
static size_t n_layers;

static void add_layer(void)
{
	char name[32];
	snprintf(name, sizeof(name), "L%zu", n_layers);
	int fd = h_mkdir(h_top, name);
	snprintf(name, sizeof(name), "file%zu", n_layers);
	h_put(fd, name, "x", 0644);
	layers[n_layers++] = fd;
}

static int run_with_layers(size_t n, const char *script)
{
	struct sandbox_spec s = h_spec(script);
	s.layer_fds = layers;
	s.n_layers = n;
	int r = h_run(s);
	if (r < 0)
		printf("# %s\n", h_err.msg);
	return r;
}

static void tests(void)
{
	struct rlimit rl;
	if (getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur < 4096 && rl.rlim_max >= 4096) {
		rl.rlim_cur = 4096;
		setrlimit(RLIMIT_NOFILE, &rl);
	}
	layers[n_layers++] = h_layer;
	while (n_layers < MANY)
		add_layer();
	/* A deletion in the upper half of a file in the lower half. */
	h_put(layers[3], "gone", "x", 0644);
	ok(mknodat(layers[650], "gone", S_IFCHR, 0) == 0, "a whiteout");
	ok(run_with_layers(127, "ls / | grep -c file") >= 0, "127 layers");
	is_str(h_out.buf, "126\n", "all are seen");
	ok(run_with_layers(499, "ls / | grep -c file") >= 0, "499 layers and a stub");
	is_str(h_out.buf, "498\n", "all are seen");
	if (!sys_kernel_at_least(6, 15)) {
		ok(run_with_layers(500, "true") < 0 && h_err.hint,
		        "more: a clear error on this kernel");
		ok(1, "500 and more layers # SKIP needs Linux 6.15");
	} else {
		ok(run_with_layers(500, "ls / | grep -c file") >= 0, "500 layers and a stub");
		is_str(h_out.buf, "499\n", "all are seen");
		ok(run_with_layers(MANY, "ls / | grep -c file; [ -e /gone ] || echo gone; echo new "
		                         "> /file3; touch /f") >= 0,
		        "700 layers");
		is_str(h_out.buf, "699\ngone\n",
		        "all are seen, the whiteout works across the seam");
		is_str(h_upper_list(), "f file3 ", "the upper directory is as ever");
	}
	for (size_t i = 1; i < n_layers; i++)
		close(layers[i]);
}

int main(int argc, char **argv)
{
	return harness_main(argc, argv, tests);
}
