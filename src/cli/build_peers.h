/* cli/build_peers.h - the flags of docker build and buildah build that strake has under another
 * name, fulfils by its nature, or does not have; the last ones end in a word about the way here.
 * None is taken and then ignored. */
#ifndef STRAKE_CLI_BUILD_PEERS_H
#define STRAKE_CLI_BUILD_PEERS_H

#include "build/build.h"
#include "cli/options.h"

enum { PEER_FLAGS_MAX = 80 };

struct peer_flags {
	/* What is so in any case; false asks for what cannot be. */
	bool rm, force_rm, compress, layers, content_trust_off, identity_label, created_annotation;
	const char *pull, *isolation, *authfile, *arch, *os, *variant, *epoch;
	unsigned cpu_period, cpu_quota;
	struct cli_option table[PEER_FLAGS_MAX];
};

/* peer_flags_init - fill p->table: the rest of build's option table (CLI_MORE). Values go into p
 * and o, so both must stay where they are. */
void peer_flags_init(struct peer_flags *p, struct build_options *o);
/* peer_flags_take - after cli_parse: what was given, into o and --build-arg's list. */
int peer_flags_take(struct peer_flags *p, struct strv *build_args, struct build_options *o,
        struct error *err) must_check;

#endif
