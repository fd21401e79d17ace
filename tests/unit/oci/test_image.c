/* The image config: what is kept, what is dropped, and the bytes that are written. */
#include "oci/oci.h"
#include "../tap.h"

#define A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define ROOTFS "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" A "\"]}"

static int parse(const char *s, struct oci_image *im, struct error *err)
{
	return oci_image_parse(s, strlen(s), "img", im, err);
}

/* As docker's classic builder wrote it: container fields, env without a value, unsorted maps. */
static const char old[] =
        "{\"id\":\"x\",\"container\":\"y\",\"container_config\":{\"Cmd\":[\"z\"]},"
        "\"docker_version\":\"1.10\",\"os\":\"linux\",\"architecture\":\"arm\",\"variant\":\"v7\","
        "\"created\":\"2020-01-01T00:00:00Z\",\"author\":\"me\",\"vendor\":{\"k\":[1]},"
        "\"config\":{\"Hostname\":\"h\",\"Tty\":false,\"Image\":\"sha256:q\",\"User\":\"u\","
        "\"Env\":[\"PATH=/bin\",\"CANARY\",\"=x\",\"E=\"],\"Cmd\":null,\"Entrypoint\":[],"
        "\"ExposedPorts\":{\"80/tcp\":{},\"53/udp\":{}},\"Volumes\":{\"/v\":{}},"
        "\"WorkingDir\":\"/w\",\"Labels\":{\"b\":\"<2>\",\"a\":\"1\"},\"StopSignal\":\"SIGINT\","
        "\"OnBuild\":[\"RUN x\"],\"Shell\":[\"/bin/bash\",\"-c\"],\"ArgsEscaped\":true,"
        "\"Healthcheck\":{\"Test\":[\"CMD\",\"t\"],\"Interval\":5000000000,\"Retries\":3},"
        "\"StopTimeout\":7}," ROOTFS ","
        "\"history\":[{\"created\":\"2020-01-01T00:00:00Z\",\"created_by\":\"ADD\"},"
        "{\"created_by\":\"CMD\",\"empty_layer\":true,\"author\":\"a\",\"comment\":\"c\"}]}";

static const char encoded[] =
        "{\"architecture\":\"arm\",\"author\":\"me\",\"config\":{\"User\":\"u\","
        "\"ExposedPorts\":{\"53/udp\":{},\"80/tcp\":{}},\"Env\":[\"PATH=/bin\",\"E=\"],"
        "\"Volumes\":{\"/v\":{}},\"WorkingDir\":\"/w\",\"Labels\":{\"a\":\"1\",\"b\":\"<2>\"},"
        "\"StopSignal\":\"SIGINT\",\"ArgsEscaped\":true,\"Healthcheck\":{\"Test\":[\"CMD\",\"t\"],"
        "\"Interval\":5000000000,\"Retries\":3},\"OnBuild\":[\"RUN x\"],"
        "\"Shell\":[\"/bin/bash\",\"-c\"],\"StopTimeout\":7},\"created\":\"2020-01-01T00:00:00Z\","
        "\"history\":[{\"created\":\"2020-01-01T00:00:00Z\",\"created_by\":\"ADD\"},"
        "{\"created_by\":\"CMD\",\"author\":\"a\",\"comment\":\"c\",\"empty_layer\":true}],"
        "\"os\":\"linux\"," ROOTFS ",\"variant\":\"v7\",\"vendor\":{\"k\":[1]}}";

static void round_trip(void)
{
	_cleanup_error_ struct error err = ERROR_INIT;
	_cleanup_(oci_image_release) struct oci_image im, copy, again;
	oci_image_init(&im);
	oci_image_init(&again);
	ok(parse(old, &im, &err) == 0, "parses");
	ok(im.env.n == 2 && !env_get(&im.env, "CANARY"), "env entries without '=' are dropped");
	ok(!im.cmd_set && im.entrypoint_set && im.entrypoint.n == 0, "null is not the empty list");
	ok(im.n_diff_ids == 1 && im.diff_ids[0].b[31] == 0xaa, "diff ids");
	ok(im.n_history == 2 && im.history[1].empty_layer && !im.history[0].empty_layer, "history");
	is_str(map_get(&im.labels, "b"), "<2>", "labels");
	is_int(im.healthcheck.interval, 5000000000LL, "healthcheck");
	_cleanup_free_ char *s = oci_image_encode(&im);
	is_str(s, encoded, "encodes in a fixed order, container fields dropped, unknown ones kept");
	oci_image_copy(&copy, &im);
	_cleanup_free_ char *c = oci_image_encode(&copy);
	is_str(c, encoded, "a copy is the same");
	ok(parse(encoded, &again, &err) == 0, "reads back");
	_cleanup_free_ char *a = oci_image_encode(&again);
	is_str(a, encoded, "and is stable");
}

static void building(void)
{
	_cleanup_(oci_image_release) struct oci_image im;
	struct digest d = {{0xaa}};
	oci_image_init(&im);
	_cleanup_free_ char *empty = oci_image_encode(&im);
	is_str(empty,
	        "{\"architecture\":\"\",\"config\":{},\"os\":\"\",\"rootfs\":{\"type\":\"layers\","
	        "\"diff_ids\":[]}}",
	        "the least config");
	for (int i = 0; i < 9; i++) {
		d.b[1] = (uint8_t)i;
		oci_image_add_diff_id(&im, &d);
		oci_image_add_history(&im, "t", i == 3 ? "three" : NULL, NULL, i & 1);
	}
	ok(im.n_diff_ids == 9 && im.diff_ids[8].b[1] == 8 && im.diff_ids[0].b[1] == 0,
	        "diff ids grow");
	ok(im.n_history == 9 && im.history[3].empty_layer &&
	                str_eq(im.history[3].created_by, "three"),
	        "history grows");
	map_put(&im.labels, "k\xff", xstrdup("v\xff"));
	_cleanup_free_ char *s = oci_image_encode(&im);
	ok(strstr(s, "\"Labels\":{\"k\xef\xbf\xbd\":\"v\xef\xbf\xbd\"}"), "bad UTF-8 is repaired");
}

static void refused(const char *s, const char *part)
{
	_cleanup_error_ struct error err = ERROR_INIT;
	_cleanup_(oci_image_release) struct oci_image im;
	oci_image_init(&im);
	if (!ok(parse(s, &im, &err) < 0 && err.class == ERR_INTEGRITY && strstr(err.msg, part),
	            part))
		printf("#   %s\n", err.msg ? err.msg : "accepted");
}

static void hostile(void)
{
	refused("[]", "not an image config");
	refused("{}", "no \"rootfs\"");
	refused("{\"rootfs\":{\"type\":\"other\"}}", "\"rootfs.type\"");
	refused("{\"rootfs\":{\"diff_ids\":[\"sha256:../x\"]}}", "\"rootfs.diff_ids\"");
	refused("{\"rootfs\":{\"diff_ids\":[7]}}", "\"rootfs.diff_ids\"");
	refused("{\"rootfs\":{\"diff_ids\":{}}}", "\"rootfs.diff_ids\"");
	refused("{" ROOTFS ",\"config\":[]}", "\"config\"");
	refused("{" ROOTFS ",\"config\":{\"Env\":[1]}}", "\"Env\"");
	refused("{" ROOTFS ",\"config\":{\"Cmd\":\"sh\"}}", "\"Cmd\"");
	refused("{" ROOTFS ",\"config\":{\"User\":0}}", "\"User\"");
	refused("{" ROOTFS ",\"config\":{\"Labels\":{\"a\":1}}}", "\"Labels\"");
	refused("{" ROOTFS ",\"config\":{\"Volumes\":[]}}", "\"Volumes\"");
	refused("{" ROOTFS ",\"config\":{\"Healthcheck\":[]}}", "\"Healthcheck\"");
	refused("{" ROOTFS ",\"history\":{}}", "\"history\"");
	refused("{" ROOTFS ",\"history\":[1]}", "\"history\"");
	refused("{" ROOTFS ",\"os\":\"0123456789012345678901234567890123456789\"}", "\"os\"");
	refused("{" ROOTFS ",\"os\":\"a\",\"os\":\"b\"}", "duplicate object key");
}

int main(void)
{
	round_trip();
	building();
	hostile();
	return tap_done();
}
