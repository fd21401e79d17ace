/* Unit tests of image/image.c: layers, history and times of the finished config. */
#include "../tap.h"

#include "image/image.h"

static struct digest dg(uint8_t x)
{
	struct digest d;
	memset(d.b, x, sizeof(d.b));
	return d;
}

static void make_base(struct oci_image *im)
{
	oci_image_init(im);
	oci_platform_host(&im->platform);
	struct digest d = dg(1);
	oci_image_add_diff_id(im, &d);
	oci_image_add_history(im, "2020-01-02T03:04:05Z", "base", NULL, false);
}

static void test_full(void)
{
	struct error err = ERROR_INIT;
	struct oci_image base, out;
	make_base(&base);
	struct image_layer l[] = {{dg(1), true}, {dg(2), false}};
	struct image_step s[] = {
	        {"ENV A=1", "c", true, 0, 0},
	        {"RUN x", "c", false, 1700000000, 5},
	        {"CMD y", "c", true, 0, 0},
	};
	struct image_options o = {.now_sec = 1800000000};
	is_int(image_finish_config(&base, l, 2, s, 3, &o, &out, &err), 0, "finished");
	is_int(out.n_diff_ids, 2, "base layer is not repeated");
	is_int(out.diff_ids[1].b[0], 2, "new layer on top");
	is_int(out.n_history, 4, "history of base and steps");
	is_str(out.history[0].created, "2020-01-02T03:04:05Z", "base history is untouched");
	is_str(out.history[1].created, "2023-11-14T22:13:20.000000005Z",
	        "an undated first step takes the next date");
	is_str(out.history[3].created, "2023-11-14T22:13:20.000000005Z",
	        "an undated later step takes the date before");
	ok(out.history[3].empty_layer && !out.history[2].empty_layer, "empty_layer kept");
	is_str(out.created, "2023-11-14T22:13:20.000000005Z",
	        "created is the last step's, not now");
	oci_image_release(&out);

	o.has_epoch = true;
	o.epoch = 1600000000;
	is_int(image_finish_config(&base, l, 2, s, 3, &o, &out, &err), 0, "with epoch");
	is_str(out.history[2].created, "2020-09-13T12:26:40Z", "new history is clamped");
	is_str(out.history[0].created, "2020-01-02T03:04:05Z", "base history is not");
	is_str(out.created, "2020-09-13T12:26:40Z", "created is the epoch");
	oci_image_release(&out);

	o.has_epoch = false;
	is_int(image_finish_config(&base, l + 1, 1, s, 3, &o, &out, &err), 0, "new layers alone");
	is_int(out.n_diff_ids, 2, "the same result");
	oci_image_release(&out);

	is_int(image_finish_config(&base, NULL, 0, s + 2, 1, &o, &out, &err), 0, "metadata only");
	is_str(out.created, "2020-01-02T03:04:05Z", "created is the base's");
	ok(image_is_dated(&base, s + 2, 1, &o), "so it is dated");
	oci_image_release(&out);

	struct oci_image scratch;
	oci_image_init(&scratch);
	ok(!image_is_dated(&scratch, s + 2, 1, &o), "without base and step there is no date");
	ok(image_is_dated(&scratch, s, 3, &o), "one dated step is enough");
	oci_image_release(&scratch);

	l[0].diff_id = dg(9);
	is_int(image_finish_config(&base, l, 2, s, 3, &o, &out, &err), -1, "a foreign base layer");
	is_int(err.class, ERR_INTERNAL, "is a bug");
	error_release(&err);
	is_int(image_finish_config(&base, l + 1, 1, s, 1, &o, &out, &err), -1, "a layer too many");
	error_release(&err);
	oci_image_release(&base);
}

static void test_squash(void)
{
	struct error err = ERROR_INIT;
	struct oci_image base, out;
	make_base(&base);
	struct image_layer l[] = {{dg(2), false}};
	struct image_step s[] = {
	        {"RUN a", NULL, false, 100, 0},
	        {"RUN b", NULL, false, 200, 0},
	        {"CMD c", NULL, true, 0, 0},
	};
	struct image_options o = {.squash = true};
	is_int(image_finish_config(&base, l, 1, s, 3, &o, &out, &err), 0, "squashed");
	ok(out.history[1].empty_layer, "the first step lost its layer");
	ok(!out.history[2].empty_layer, "the last step with a layer holds it");
	ok(out.history[3].empty_layer, "metadata stays without");
	oci_image_release(&out);
	oci_image_release(&base);
}

static void test_manifest(void)
{
	char lmt[] = DOCKER_MT_LAYER_GZIP, cmt[] = OCI_MT_CONFIG;
	struct oci_descriptor c = {.media_type = cmt, .digest = dg(0xaa), .size = 7};
	struct oci_descriptor l = {.media_type = lmt, .digest = dg(0xbb), .size = 9};
	char *s = image_manifest(&c, &l, 1, false, NULL);
	is_str(s,
	        "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\","
	        "\"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":"
	        "\"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\","
	        "\"size\":7},"
	        "\"layers\":[{\"mediaType\":\"application/"
	        "vnd.oci.image.layer.v1.tar+gzip\",\"digest\":"
	        "\"sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\","
	        "\"size\":9}]}",
	        "docker layer types become OCI ones");
	free(s);
	s = image_manifest(&c, &l, 1, true, NULL);
	ok(s && strstr(s, DOCKER_MT_MANIFEST) && strstr(s, DOCKER_MT_CONFIG) && !strstr(s, "oci"),
	        "one family: docker");
	free(s);
	is_str(image_layer_media_type("zstd", false), OCI_MT_LAYER_ZSTD, "zstd");
	is_str(image_layer_media_type("", true), DOCKER_MT_LAYER, "plain");
	is_str(image_media_type("text/plain", true), "text/plain", "others are left alone");
}

int main(void)
{
	test_full();
	test_squash();
	test_manifest();
	return tap_done();
}
