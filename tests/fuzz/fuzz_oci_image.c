/* Image configs on any bytes: encoding is stable after one round. */
#include <stdio.h>

#include "oci/oci.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *again(const char *p, size_t n)
{
	struct error err = ERROR_INIT;
	struct oci_image im;
	char *s = NULL;
	oci_image_init(&im);
	if (oci_image_parse(p, n, "fuzz", &im, &err) == 0) {
		struct oci_image copy;
		oci_image_copy(&copy, &im);
		s = oci_image_encode(&copy);
		oci_image_release(&copy);
	}
	oci_image_release(&im);
	error_release(&err);
	return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *one = again((const char *)data, size);
	if (!one)
		return 0;
	char *two = again(one, strlen(one));
	if (!two || strcmp(one, two) != 0) {
		fprintf(stderr, "unstable: %s\n%s\n", one, two ? two : "(refused)");
		abort();
	}
	free(one);
	free(two);
	return 0;
}
