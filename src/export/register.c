/* export/register.c - telling the store what an image consists of. */
#include "export/internal.h"

#include <stdio.h>
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
	if (!created || sscanf(created, "%4d-%2d-%2dT%2d:%2d:%2d", &tm.tm_year, &tm.tm_mon,
	                        &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 6)
		return 0;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	return timegm(&tm);
}

int export_tag_image(struct store *s, const char *name, const struct digest *config_digest,
        const struct oci_image *config, const char *manifest_digest, uint64_t size,
        bool add_platform, struct error *err)
{
	return store_image_put(s, name, config_digest, &config->platform, manifest_digest, size,
	        seconds_of(config->created), add_platform, err);
}
