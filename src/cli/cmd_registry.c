/* cli/cmd_registry.c - what a registry holds: tags, referrers, and removing a manifest there. */
#include "cli/cli.h"

#include <stdio.h>

#include "base/human.h"
#include "base/strbuf.h"
#include "codec/json.h"
#include "oci/oci.h"
#include "registry/registry.h"

struct ask {
	struct registry_client *c;
	struct oci_ref ref;
	bool json;
};

static void print_safe(const char *s)
{
	_cleanup_free_ char *safe = human_escape(s, strlen(s), false);
	printf("%s\n", safe);
}

static int do_tags(struct ask *a, struct error *err)
{
	struct strv tags = STRV_INIT;
	int rc = registry_list_tags(a->c, &a->ref, &tags, err);
	if (rc >= 0 && a->json) {
		_cleanup_json_ json_t *j = json_from_strv(&tags);
		_cleanup_free_ char *text = json_pretty(j);
		printf("%s\n", text);
	} else if (rc >= 0) {
		for (size_t i = 0; i < tags.n; i++)
			print_safe(tags.v[i]);
	}
	strv_release(&tags);
	return rc;
}

/* subject - the digest that is asked about; a tag's is looked up. */
static int subject(struct ask *a, struct digest *ret, struct error *err)
{
	_cleanup_free_ char *text = NULL, *type = NULL;
	size_t n;
	if (a->ref.digest)
		return digest_parse(a->ref.digest, ret)
		               ? 0
		               : err_set(err, ERR_USAGE, "%s is no sha256 digest", a->ref.digest);
	return registry_get_manifest(a->c, &a->ref, &text, &n, &type, ret, err);
}

static int do_referrers(struct ask *a, struct error *err)
{
	struct digest d;
	struct oci_index idx = {0};
	char hex[DIGEST_STR_MAX], size[32];
	if (subject(a, &d, err) < 0 || registry_referrers(a->c, &a->ref, &d, &idx, err) < 0)
		return -1;
	_cleanup_json_ json_t *list = json_array();
	if (!a->json)
		printf("%-71s  %-10s  %s\n", "DIGEST", "SIZE", "ARTIFACT TYPE");
	for (size_t i = 0; i < idx.n_manifests; i++) {
		const struct oci_descriptor *m = &idx.manifests[i];
		if (a->json) {
			json_array_append_new(list, oci_descriptor_to_json(m));
			continue;
		}
		printf("%-71s  %-10s  ", digest_str(&m->digest, hex),
		        human_size(size, sizeof(size), (uint64_t)m->size));
		print_safe(m->artifact_type ? m->artifact_type : str_or_empty(m->media_type));
	}
	if (a->json) {
		_cleanup_free_ char *text = json_pretty(list);
		printf("%s\n", text);
	}
	oci_index_release(&idx);
	return 0;
}

static int do_rm(struct ask *a, struct error *err)
{
	if (registry_delete_manifest(a->c, &a->ref, err) < 0)
		return -1;
	_cleanup_free_ char *name = oci_ref_string(&a->ref);
	printf("Deleted: %s\n", name);
	return 0;
}

static const struct {
	const char *name;
	int (*run)(struct ask *a, struct error *err);
	bool needs_tag, json;
} verbs[] = {{"tags", do_tags, false, true}, {"referrers", do_referrers, false, true},
        {"rm", do_rm, true, false}};

static const char epilogue[] =
        "  tags NAME                  the tags of a repository\n"
        "  referrers NAME[:TAG]       what is attached to an image: attestations, signatures\n"
        "  rm NAME:TAG | NAME@DIGEST  remove it from the registry, where that allows it; by\n"
        "                             digest: with all its tags\n";

/* has_tag - was one written, or did the parser add "latest"? */
static bool has_tag(const char *word)
{
	const char *slash = strrchr(word, '/');
	return strchr(slash ? slash : word, ':') != NULL || strchr(word, '@') != NULL;
}

static int run_verb(struct ask *a, const struct strv *words, struct error *err)
{
	struct registry_options ro = {.cancelled = &cli_interrupted};
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		if (!str_eq(words->v[0], verbs[i].name))
			continue;
		if (words->n != 2)
			return err_set(
			        err, ERR_USAGE, "registry %s: one name is expected", verbs[i].name);
		if (a->json && !verbs[i].json)
			return err_set(err, ERR_USAGE, "registry %s prints no JSON", verbs[i].name);
		if (verbs[i].needs_tag && !has_tag(words->v[1]))
			return err_set(err, ERR_USAGE, "registry %s %s: which tag or digest?",
			        verbs[i].name, words->v[1]);
		if (oci_ref_parse(words->v[1], &a->ref, err) < 0 ||
		        registry_client_new(&ro, &a->c, err) < 0)
			return -1;
		return verbs[i].run(a, err);
	}
	return err_set(
	        err, ERR_USAGE, "registry %s: tags, referrers or rm is expected", words->v[0]);
}

int cmd_registry(int argc, char **argv)
{
	struct ask a = {0};
	struct strv words = STRV_INIT;
	const struct cli_option options[] = {
	        {"json", 0, CLI_BOOL, &a.json, NULL, "print the list as JSON"},
	        {0},
	};
	struct error err = ERROR_INIT;
	int rc = cli_parse(argc, argv, options, false, &words, &err);
	if (rc > 0) {
		cli_help("registry", "tags|referrers|rm NAME", "What a registry holds.", options,
		        epilogue);
		strv_release(&words);
		return EXIT_OK;
	}
	if (rc >= 0 && words.n == 0)
		rc = err_set(&err, ERR_USAGE, "registry: tags, referrers or rm is expected");
	cli_signals();
	if (rc >= 0)
		rc = run_verb(&a, &words, &err);
	if (rc < 0)
		rc = err.class == ERR_USAGE ? cli_usage_error("registry", &err) : cli_report(&err);
	else
		rc = EXIT_OK;
	registry_client_free(a.c);
	oci_ref_release(&a.ref);
	strv_release(&words);
	return rc;
}
