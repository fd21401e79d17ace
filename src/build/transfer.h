/* build/transfer.h - images between the store and registries. */
#ifndef STRAKE_BUILD_TRANSFER_H
#define STRAKE_BUILD_TRANSFER_H

#include "base/strv.h"
#include "codec/stream.h"
#include "store/store.h"
#include "ui/ui.h"

struct transfer_options {
	enum ui_mode progress;
	const struct strv
	        *platforms; /* "linux/amd64"; empty: the host's (pull), all there are (push) */
	enum compression compression;
	int level; /* < 0: default */
	bool force_compression;
	const volatile bool *interrupted;
};

/* transfer_push - the image tagged `name` to the registry that its name says. Layers that the
 * registry has are not sent again. Several platforms become an index. *ret_digest (malloc'ed): of
 * what the tag points to now. */
int transfer_push(struct store *s, const char *name, const struct transfer_options *o,
        char **ret_digest, struct error *err) must_check;
/* transfer_pull - manifest, config and all layers into the store, tagged. */
int transfer_pull(struct store *s, const char *name, const struct transfer_options *o,
        char **ret_digest, struct error *err) must_check;

#endif
