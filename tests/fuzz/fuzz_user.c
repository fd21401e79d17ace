/* USER, /etc/passwd and /etc/group of an image are hostile text. Input: three parts split at NUL.
 * Whatever comes out: ids within range, and never uid 0 for a text that names another number. */
#include "sandbox/user.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *part[3] = {NULL};
	size_t n = 0;
	for (size_t i = 0; i < 3; i++) {
		size_t len = n < size ? strnlen((const char *)data + n, size - n) : 0;
		part[i] = xstrndup(n < size ? (const char *)data + n : "", len);
		n += len + 1;
	}
	struct sandbox_user u = {0};
	struct error err = ERROR_INIT;
	if (sandbox_user_lookup(part[1], part[2], part[0], &u, &err) >= 0) {
		if (u.uid > 2147483647u || u.gid > 2147483647u || !u.home || u.n_groups > 65537)
			abort();
		if (part[0][0] >= '1' && part[0][0] <= '9' &&
		        strspn(part[0], "0123456789") == strlen(part[0]) &&
		        !strstr(part[1], part[0]) && u.uid == 0)
			abort();
	} else if (!error_is_set(&err)) {
		abort();
	}
	sandbox_user_release(&u);
	error_release(&err);
	for (size_t i = 0; i < 3; i++)
		free(part[i]);
	return 0;
}
