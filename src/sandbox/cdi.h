/* sandbox/cdi.h - RUN --device: Container Device Interface names ("vendor.com/class=name") turned
 * into device nodes, mounts and environment.
 * https://github.com/cncf-tags/container-device-interface
 *
 * Specifications are the host's, in JSON: /etc/cdi/NAME.json and /var/run/cdi/NAME.json. Hooks are
 * programs of the host that would run against the image; they are refused, never skipped. */
#ifndef STRAKE_SANDBOX_CDI_H
#define STRAKE_SANDBOX_CDI_H

#include "base/error.h"
#include "base/strv.h"

struct cdi_mount {
	char *host_path, *path; /* absolute */
	bool is_device, read_only;
};
struct cdi_edits {
	struct cdi_mount *mounts;
	size_t n_mounts, cap;
	struct strv env; /* K=V */
};
void cdi_edits_release(struct cdi_edits *e);

/* cdi_resolve - adds the edits of one device. dirs: NULL-terminated; later ones win. */
int cdi_resolve(const char *const *dirs, const char *name, struct cdi_edits *e,
        struct error *err) must_check;
extern const char *const cdi_default_dirs[];

#endif
