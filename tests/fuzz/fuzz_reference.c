/* References and platforms on any text: what parses prints to something that parses to the same,
 * and holds nothing that a URL or a file name must not hold. */
#include <stdio.h>

#include "oci/oci.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool cond, const char *what, const char *text)
{
	if (!cond) {
		fprintf(stderr, "property violated: %s: %s\n", what, text);
		abort();
	}
}

static void reference(const char *text)
{
	struct error err = ERROR_INIT;
	struct oci_ref a = {0}, b = {0}, c = {0};
	if (oci_ref_parse(text, &a, &err) == 0) {
		char *full = oci_ref_string(&a), *familiar = oci_ref_familiar(&a);
		check(!strstr(full, "/.") && !strstr(full, "./") && !strstr(full, "//") &&
		                !strpbrk(full, " \t\r\n%?#\\"),
		        "safe characters", full);
		check(oci_ref_parse(full, &b, &err) == 0, "canonical form parses", full);
		char *twice = oci_ref_string(&b);
		check(str_eq(full, twice), "canonical form is canonical", full);
		check(oci_ref_parse(familiar, &c, &err) == 0, "familiar form parses", familiar);
		char *back = oci_ref_string(&c);
		check(str_eq(full, back), "familiar form means the same", familiar);
		free(full);
		free(familiar);
		free(twice);
		free(back);
	}
	oci_ref_release(&a);
	oci_ref_release(&b);
	oci_ref_release(&c);
	error_release(&err);
}

static void platform(const char *text)
{
	struct error err = ERROR_INIT;
	struct oci_platform p, q;
	char buf[128];
	if (oci_platform_parse(text, &p, &err) == 0) {
		oci_platform_string(&p, buf, sizeof(buf));
		check(oci_platform_parse(buf, &q, &err) == 0, "parses again", buf);
		check(oci_platform_equal(&p, &q), "to the same", buf);
		check(oci_platform_match(&p, &q) == 100, "and matches itself", buf);
	}
	error_release(&err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = xstrndup((const char *)data, size);
	reference(text);
	platform(text);
	free(text);
	return 0;
}
