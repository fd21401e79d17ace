/* registries.conf on any bytes: parsed, or an error with a line. */
#include "registry/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct registry_config c;
	struct error err = ERROR_INIT;
	char *s = xmalloc(size + 1);
	memcpy(s, data, size);
	s[size] = '\0';
	registry_config_init(&c);
	if (registry_config_parse(&c, s, "fuzz", &err) < 0 && (err.line < 1 || !err.msg))
		abort();
	error_release(&err);
	registry_config_release(&c);
	free(s);
	return 0;
}
