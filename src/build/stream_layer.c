/* build/stream_layer.c - a layer from a registry into the store in one go: one thread downloads,
 * checks and stores the blob, the other inflates, checks and unpacks it meanwhile. */
#include "build/internal.h"

#include "export/export.h"
#include "export/registry.h"

#define AHEAD ((size_t)8 << 20) /* compressed bytes between the two */

struct download {
	struct registry_client *client;
	const struct oci_ref *ref;
	const struct oci_descriptor *d;
	struct sink *to;
	int rc;
	struct error err;
};

static void *download_main(void *arg)
{
	struct download *w = arg;
	w->rc = registry_get_blob(w->client, w->ref, w->d, w->to, &w->err);
	if (w->rc >= 0)
		w->rc = sink_finish(w->to, &w->err);
	/* The reader at the other end learns of a failure by this. */
	sink_free(take_ptr(w->to));
	return NULL;
}

int stream_layer(struct build *b, const struct oci_ref *ref, const struct oci_descriptor *d,
        const struct digest *diff_id, const struct store_layer **ret, struct error *err)
{
	struct download w = {.client = build_registry(b, err), .ref = ref, .d = d};
	struct digest got;
	uint64_t size;
	struct sink *in;
	struct reader *out;
	pthread_t thread;
	if (!w.client)
		return -1;
	stream_pipe(AHEAD, &in, &out);
	w.to = sink_tee(store_blob_sink(b->store, b->lease, &d->digest, &got, &size), in);
	if (!thread_start(&thread, download_main, &w)) {
		sink_free(w.to);
		reader_free(out);
		return err_set(err, ERR_SYSTEM, "no thread for a download can be started");
	}
	int rc = export_unpack_stream(b->store, b->lease, diff_id, out, false, ret, err);
	pthread_join(thread, NULL);
	if (w.rc < 0) {
		/* That the unpacking broke off then is no news. */
		error_move(err, &w.err);
		return -1;
	}
	if (rc < 0)
		return -1;
	export_remember_origin(b->store, &d->digest, ref);
	return export_remember_blob(b->store, diff_id, d, err);
}
