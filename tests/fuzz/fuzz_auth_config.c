/* docker's config.json on any bytes. Helpers are taken out: a fuzzer must not start programs. */
#include "codec/json.h"
#include "registry/creds.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const hosts[] = {"docker.io", "quay.io", "localhost:5000"};
	struct error err = ERROR_INIT;
	struct strv headers = STRV_INIT;
	char path[] = "fuzz";
	json_t *root = json_parse((const char *)data, size, 1 << 20, "fuzz", &err);
	error_release(&err);
	if (!json_is_object(root)) {
		json_decref(root);
		return 0;
	}
	json_object_del(root, "credHelpers");
	json_object_del(root, "credsStore");
	struct creds_file f = {.path = path, .root = root};
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		struct creds c;
		if (creds_lookup(&f, hosts[i], "org/app", &c, &err) == 0)
			creds_release(&c);
		error_release(&err);
	}
	creds_http_headers(&f, &headers);
	for (size_t i = 0; i < headers.n; i++)
		if (strpbrk(headers.v[i], "\r\n"))
			abort();
	strv_release(&headers);
	json_decref(root);
	return 0;
}
