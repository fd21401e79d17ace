/* layer/apply.c - an image's layer tar into a layer directory; and a layer's own tar digest. */
#include "layer/unpack.h"
#include "tar/writer.h"

#define DEFAULT_MAX_BYTES (64ull << 30)

int layer_apply(struct reader *tar, const char *what, int destfd,
        const struct layer_apply_options *opt, struct tree *ret, struct error *err)
{
	struct upper u;
	struct unpack_options uo = {
	        .what = what,
	        .base = "",
	        .layer = true,
	        .max_bytes = opt && opt->max_bytes ? opt->max_bytes : DEFAULT_MAX_BYTES,
	};
	int r = upper_init(&u, destfd, NULL, NULL, opt && opt->single_id, err);
	if (r == 0) {
		_cleanup_(tar_reader_freep) struct tar_reader *rd = tar_reader_new(tar, what);
		r = unpack_tar(&u, rd, &uo, err);
	}
	if (r == 0)
		r = upper_finish(&u, ret, err);
	upper_release(&u);
	return r;
}

int layer_diff_id(const struct tree *t, int treefd, struct digest *ret, uint64_t *ret_tar_size,
        struct error *err)
{
	struct digest d;
	uint64_t size;
	_cleanup_sink_ struct sink *s = sink_hash(NULL, &d, &size);
	if (tar_write_tree(t, treefd, NULL, s, err) < 0 || sink_finish(s, err) < 0)
		return -1;
	*ret = d;
	if (ret_tar_size)
		*ret_tar_size = size;
	return 0;
}
