/* export/register.c - telling the store what an image consists of. */
#include "export/internal.h"

#include <time.h>

int export_register_layers(struct store *s, const struct oci_image *config,
        const struct oci_descriptor *layers, size_t n, const char *what, struct error *err)
{
	if (n != config->n_diff_ids)
		return err_set(err, ERR_INTEGRITY,
		        "%s: the manifest has %zu layers, the config %zu", what, n,
		        config->n_diff_ids);
	for (size_t i = 0; i < n; i++) {
		struct oci_descriptor d = {
		        .media_type = layers[i].media_type,
		        .digest = layers[i].digest,
		        .size = layers[i].size,
		};
		if (store_layer_set_blob(s, &config->diff_ids[i], &d, err) < 0)
			return -1;
	}
	return 0;
}

/* "2026-11-21T02:38:37Z" -> seconds; 0 if it is not a time. For display and sorting only. */
static int64_t seconds_of(const char *created)
{
	struct tm tm = {0};
	if (!created || !strptime(created, "%Y-%m-%dT%H:%M:%S", &tm))
		return 0;
	return timegm(&tm);
}

int export_tag_image(struct store *s, const char *name, const struct digest *config_digest,
        const struct oci_image *config, const char *manifest_digest, uint64_t size,
        bool add_platform, struct error *err)
{
	return store_image_put(s, name, config_digest, &config->platform, manifest_digest, size,
	        seconds_of(config->created), add_platform, err);
}
