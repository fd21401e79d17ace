/* sandbox/emulator.h - programs of another architecture in a step, through qemu-user.
 *
 * A handler that the host registered in its binfmt_misc with the F flag serves as it is. Else a
 * binfmt_misc of our own is mounted (detached, never visible) in a user namespace, and the qemu
 * from the host's PATH registered there, opened at registration (flag F): nothing of the host is
 * changed and nothing is put into the image. Needs Linux 6.7. The user namespace is the one the
 * builder made for itself; where it has none (root), or where the host has handlers that ours
 * would hide, a child with the same ids, which only foreign steps enter. Native steps pay nothing.
 */
#ifndef STRAKE_SANDBOX_EMULATOR_H
#define STRAKE_SANDBOX_EMULATOR_H

#include "base/error.h"

struct emulator {
	int mount_fd;        /* our binfmt_misc; -1: none. Its handlers live as long as it. */
	int userns_fd;       /* the child namespace it belongs to; -1: the builder's own */
	unsigned registered; /* bit i: row i of the table of architectures */
};
void emulator_init(struct emulator *e);

enum emulator_way {
	EMULATOR_NONE,    /* runs as it is: native, or the host's handler */
	EMULATOR_COMPAT,  /* native 32-bit code: personality and filter for it */
	EMULATOR_OURS,    /* our handler, in the step's own user namespace */
	EMULATOR_OURS_IN, /* our handler: the step enters userns_fd */
};
/* emulator_prepare - make programs of `arch` (OCI's name) run. own_userns: the builder made its
 * user namespace itself. rather_qemu: the step is supervised, and the supervisor knows the calls of
 * this machine alone, so 32-bit code had better go through qemu where there is one. */
int emulator_prepare(struct emulator *e, const char *arch, bool own_userns, bool rather_qemu,
        enum emulator_way *ret, struct error *err) must_check;

/* emulator_header - the first 20 bytes of an ELF program of that architecture; false: not known. */
bool emulator_header(const char *arch, unsigned char header[20]);
/* emulator_entry_serves - does an entry of binfmt_misc, as the kernel prints it, take such a
 * program, enabled and with its interpreter opened at registration (F)? */
bool emulator_entry_serves(const char *entry, const unsigned char header[20]);

#endif
