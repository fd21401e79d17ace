/* export/export.c - export_write: from options to the writer that serves them. */
#include "export/internal.h"

static int check(size_t n, const struct export_options *o, struct error *err)
{
	if (n == 0)
		return err_set(err, ERR_INTERNAL, "nothing to export");
	if (!o->dest || !*o->dest)
		return err_set(err, ERR_USAGE, "an output needs dest=PATH");
	if (o->type == EXPORT_DOCKER && n > 1) {
		(void)err_set(err, ERR_USAGE, "a docker archive holds one platform, not %zu", n);
		return err_hint(err, "use type=oci, or build one platform");
	}
	if (o->type == EXPORT_DOCKER && !o->tar)
		return err_set(
		        err, ERR_USAGE, "a docker archive is a tar; tar=false needs type=oci");
	if (o->annotations && !o->oci_mediatypes)
		return err_set(err, ERR_USAGE,
		        "docker's media types have no annotations: leave out oci-mediatypes=false");
	if (o->index_annotations && n == 1) {
		(void)err_set(err, ERR_USAGE, "index annotations need several platforms");
		return err_hint(err, "annotate the manifest instead");
	}
	return 0;
}

int export_write(struct store *s, struct store_lease *l, const struct export_image *images,
        size_t n, const struct export_options *opt, struct pool *pool, struct oci_descriptor *ret,
        struct error *err)
{
	struct export_options o = *opt;
	if (o.type == EXPORT_DOCKER)
		o.oci_mediatypes = true; /* of its OCI half; docker's own half has none */
	if (check(n, &o, err) < 0)
		return -1;
	bool plain = o.compression == COMPRESS_NONE;
	/* For a file system the manifest is only its name: no layer is compressed for it. */
	if (o.type == EXPORT_TAR || o.type == EXPORT_LOCAL) {
		if (write_rootfs(s, l, images, n, &o, err) < 0)
			return -1;
		if (ret)
			*ret = (struct oci_descriptor){0};
		return 0;
	}
	_cleanup_(export_plan_release) struct plan p = {0};
	if (plan_make(&p, s, l, images, n, &o, plain, pool, err) < 0)
		return -1;
	int r = o.type == EXPORT_OCI && !o.tar ? write_layout_dir(s, l, &p, &o, err)
	                                       : write_layout_tar(s, l, &p, &o, err);
	if (r == 0 && ret)
		oci_descriptor_copy(ret, &p.top);
	return r;
}
