/* registry/challenge.h - WWW-Authenticate as RFC 9110 section 11 has it; hostile input. Pure. */
#ifndef STRAKE_REGISTRY_CHALLENGE_H
#define STRAKE_REGISTRY_CHALLENGE_H

#include "base/base.h"

enum challenge_kind { CHALLENGE_NONE, CHALLENGE_BASIC, CHALLENGE_BEARER };
struct challenge {
	enum challenge_kind kind;
	char *realm, *service, *scope; /* NULL: not given */
	char *error;                   /* "insufficient_scope", "invalid_token"; NULL: not given */
};
#define _cleanup_challenge_ _cleanup_(challenge_release)
void challenge_release(struct challenge *c);
/* challenge_parse - the best challenge of one header value, which may hold several: Bearer with a
 * realm before Basic; CHALLENGE_NONE if neither is there or the text is malformed. Other schemes
 * are skipped. ret is overwritten. */
void challenge_parse(const char *value, struct challenge *ret);

#endif
