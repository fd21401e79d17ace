/* export/export.c - export_write: from options to the writer that serves them. */
#include "base/log.h"
#include "export/internal.h"

static int check(const struct export_image *images, size_t n, const struct export_options *o,
        struct error *err)
{
	if (n == 0)
		return err_set(err, ERR_INTERNAL, "nothing to export");
	if (o->type != EXPORT_REGISTRY && (!o->dest || !*o->dest))
		return err_set(err, ERR_USAGE, "an output needs dest=PATH");
	if (o->type == EXPORT_DOCKER && (n > 1 || o->index)) {
		(void)err_set(err, ERR_USAGE,
		        "a docker archive cannot hold an index, only one platform (%zu are built)",
		        n);
		return err_hint(err, "use type=oci, or build one platform");
	}
	if (o->type == EXPORT_DOCKER && !o->tar)
		return err_set(
		        err, ERR_USAGE, "a docker archive is a tar; tar=false needs type=oci");
	if (o->type == EXPORT_OCI && !o->tar && str_eq(o->dest, "-"))
		return err_set(err, ERR_USAGE, "tar=false needs dest=DIRECTORY");
	if (o->n_annotations && !o->oci_mediatypes)
		return err_set(err, ERR_USAGE,
		        "docker's media types have no annotations: leave out oci-mediatypes=false");
	bool on_index = false, indexed = n > 1 || o->index;
	for (size_t i = 0; i < o->n_annotations; i++)
		on_index |= o->annotations[i].kind == EXPORT_ON_INDEX ||
		            o->annotations[i].kind == EXPORT_ON_INDEX_DESCRIPTOR;
	for (size_t i = 0; i < n; i++)
		indexed |= images[i].n_attestations && !o->attest_referrers;
	if (on_index && !indexed) {
		(void)err_set(
		        err, ERR_USAGE, "there is no index to annotate: one platform is built");
		return err_hint(err, "annotate the manifest instead");
	}
	return 0;
}

static int write_layout(struct store *s, struct store_lease *l, const struct export_image *images,
        size_t n, const struct export_options *o, struct pool *pool, struct oci_descriptor *ret,
        struct error *err)
{
	_cleanup_(export_plan_release) struct plan p = {0};
	if (plan_make(&p, s, l, images, n, o, o->compression == COMPRESS_NONE && !o->registry, pool,
	            err) < 0)
		return -1;
	int r = o->type == EXPORT_REGISTRY         ? write_registry(s, &p, o, err)
	        : o->type == EXPORT_OCI && !o->tar ? write_layout_dir(s, l, &p, o, err)
	                                           : write_layout_tar(s, l, &p, o, err);
	if (r == 0 && ret)
		oci_descriptor_copy(ret, &p.top);
	return r;
}

int export_write(struct store *s, struct store_lease *l, const struct export_image *images,
        size_t n, const struct export_options *opt, struct pool *pool, struct oci_descriptor *ret,
        struct error *err)
{
	struct export_options o = *opt;
	if (o.type == EXPORT_DOCKER)
		o.oci_mediatypes = true; /* of its OCI half; docker's own half has none */
	if (check(images, n, &o, err) < 0)
		return -1;
	/* For a file system the manifest is only its name: no layer is compressed for it. */
	if (o.type == EXPORT_TAR || o.type == EXPORT_LOCAL) {
		if (write_rootfs(s, l, images, n, &o, err) < 0)
			return -1;
		if (ret)
			*ret = (struct oci_descriptor){0};
		return 0;
	}
	/* A blob that turns out damaged is set aside by the store while it is read; the second time
	 * the layer is made anew. Bytes that left through a pipe cannot be taken back. */
	int r = write_layout(s, l, images, n, &o, pool, ret, err);
	bool undone = o.type == EXPORT_REGISTRY || !o.tar || output_is_replaced(o.dest);
	if (r < 0 && err->class == ERR_INTEGRITY && undone) {
		log_debug("export again: %s", err->msg);
		error_release(err);
		r = write_layout(s, l, images, n, &o, pool, ret, err);
	}
	return r;
}
