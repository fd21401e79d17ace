/* cli/cmd_build.c - strake build: docker's flags into build_options, the result to the user. */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/human.h"
#include "build/build.h"
#include "cli/build_call.h"
#include "cli/build_peers.h"
#include "cli/explain.h"
#include "sys/path.h"

#define SECRET_MAX ((size_t)500 << 10) /* as BuildKit */

struct args {
	struct build_options o;
	struct strv build_args, secrets, ssh, resources, attests;
	const char *provenance, *sbom, *attest_form;
	char *builder_id;
	const char *progress, *call, *format, *epoch, *on_error;
	bool quiet, check, push, load;
};

static void args_release(struct args *a)
{
	struct build_options *o = &a->o;
	struct strv *lists[] = {&o->tags, &o->build_args, &o->labels, &o->annotations, &o->contexts,
	        &o->add_hosts, &o->ulimits, &o->no_cache_filter, &o->allow, &o->platforms,
	        &o->outputs, &o->cache_from, &o->cache_to, &a->build_args, &a->secrets, &a->ssh,
	        &a->resources, &a->attests};
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		strv_release(lists[i]);
	for (size_t i = 0; i < o->n_secrets; i++) {
		if (o->secrets[i].data)
			explicit_bzero(o->secrets[i].data, o->secrets[i].len);
		free(o->secrets[i].data);
		free(o->secrets[i].id);
	}
	free(o->secrets);
	for (size_t i = 0; i < o->n_ssh; i++) {
		free(o->ssh[i].id);
		free(o->ssh[i].socket);
	}
	free(o->ssh);
	free(a->builder_id);
}

/* --- values of flags ------------------------------------------------------------------------- */

/* csv_get - value of key in "k=v,k2=v2"; malloc'ed or NULL. */
static char *csv_get(const char *csv, const char *key)
{
	struct strv words = STRV_INIT;
	char *found = NULL;
	strv_split(&words, csv, ",");
	size_t n = strlen(key);
	for (size_t i = 0; i < words.n; i++)
		if (strncmp(words.v[i], key, n) == 0 && words.v[i][n] == '=') {
			free(found);
			found = xstrdup(words.v[i] + n + 1);
		}
	strv_release(&words);
	return found;
}

static int csv_check(
        const char *flag, const char *csv, const char *const *known, size_t n, struct error *err)
{
	struct strv words = STRV_INIT;
	int rc = 0;
	strv_split(&words, csv, ",");
	for (size_t i = 0; i < words.n && rc >= 0; i++) {
		char *eq = strchr(words.v[i], '=');
		if (eq)
			*eq = '\0';
		bool found = false;
		for (size_t k = 0; k < n; k++)
			found |= str_eq(words.v[i], known[k]);
		if (found && eq)
			continue;
		rc = eq ? err_set(err, ERR_USAGE, "%s %s: unknown key %s", flag, csv, words.v[i])
		        : err_set(err, ERR_USAGE, "%s %s: %s lacks =VALUE", flag, csv, words.v[i]);
		const char *near = human_nearest(words.v[i], known, n);
		if (near && !found)
			(void)err_hint(err, "did you mean %s?", near);
	}
	strv_release(&words);
	return rc;
}

static int add_secret(struct build_options *o, const char *spec, struct error *err)
{
	static const char *const keys[] = {"id", "src", "source", "env", "type"};
	if (csv_check("--secret", spec, keys, ARRAY_SIZE(keys), err) < 0)
		return -1;
	_cleanup_free_ char *id = csv_get(spec, "id"), *src = csv_get(spec, "src");
	_cleanup_free_ char *env = csv_get(spec, "env"), *type = csv_get(spec, "type");
	if (!src)
		src = csv_get(spec, "source");
	if (!id && src)
		id = xstrdup(strrchr(src, '/') ? strrchr(src, '/') + 1 : src);
	if (!id && env)
		id = xstrdup(env);
	if (!id) {
		(void)err_set(err, ERR_USAGE, "--secret %s: id is missing", spec);
		return err_hint(err, "--secret id=NAME,src=FILE or --secret id=NAME,env=VARIABLE");
	}
	struct build_secret s = {.id = xstrdup(id)};
	bool from_env = env || (type && str_eq(type, "env"));
	if (!from_env && !src && getenv(id))
		from_env = true; /* bare id: the variable of that name, else the file */
	if (from_env) {
		const char *name = env ? env : src ? src : id, *v = getenv(name);
		if (!v) {
			free(s.id);
			return err_set(err, ERR_USAGE, "--secret %s: the environment has no %s",
			        spec, name);
		}
		s.data = xstrdup(v);
		s.len = strlen(v);
	} else {
		const char *path = src ? src : id;
		/* trusted-path: --secret src= */
		_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
		int r = fd < 0 ? -errno : sys_read_fd(fd, SECRET_MAX, &s.data, &s.len);
		if (r < 0) {
			free(s.id);
			(void)err_sys(err, r, "--secret %s: reading %s", spec, path);
			err->class = ERR_USAGE;
			return -1;
		}
	}
	o->secrets = xrealloc_array(o->secrets, o->n_secrets + 1, sizeof(*o->secrets));
	o->secrets[o->n_secrets++] = s;
	return 0;
}

static int add_ssh(struct build_options *o, const char *spec, struct error *err)
{
	const char *eq = strchr(spec, '=');
	_cleanup_free_ char *id = eq ? xstrndup(spec, (size_t)(eq - spec)) : xstrdup(spec);
	const char *socket = eq ? eq + 1 : getenv("SSH_AUTH_SOCK");
	if (!socket || !*socket) {
		(void)err_set(err, ERR_USAGE,
		        "--ssh %s: there is no agent: SSH_AUTH_SOCK is not set", spec);
		return err_hint(err, "start one: eval $(ssh-agent); ssh-add");
	}
	struct stat st;
	if (stat(socket, &st) < 0) /* trusted-path: --ssh */
		return err_sys(err, errno, "--ssh %s: %s", spec, socket);
	if (!S_ISSOCK(st.st_mode)) {
		(void)err_set(
		        err, ERR_USAGE, "--ssh %s: %s is not an agent's socket", spec, socket);
		return err_hint(err, "for a key file: eval $(ssh-agent); ssh-add %s; then --ssh %s",
		        socket, id);
	}
	o->ssh = xrealloc_array(o->ssh, o->n_ssh + 1, sizeof(*o->ssh));
	o->ssh[o->n_ssh++] = (struct build_ssh){take_ptr(id), xstrdup(socket)};
	return 0;
}

static int add_resource(struct build_options *o, const char *spec, struct error *err)
{
	static const char *const keys[] = {"memory", "cpus", "pids"};
	if (csv_check("--resource", spec, keys, ARRAY_SIZE(keys), err) < 0)
		return -1;
	_cleanup_free_ char *mem = csv_get(spec, "memory"), *cpus = csv_get(spec, "cpus");
	_cleanup_free_ char *pids = csv_get(spec, "pids");
	uint64_t v;
	char *end;
	if (mem && !human_parse_size(mem, &o->memory_max))
		return err_set(err, ERR_USAGE, "--resource memory=%s: a size is expected", mem);
	if (cpus && (!((o->cpus = strtod(cpus, &end)) >= 0.001) || *end || o->cpus > 100000))
		return err_set(err, ERR_USAGE,
		        "--resource cpus=%s: a number such as 1.5 is expected, 0.001 at least",
		        cpus);
	if (pids && (!human_parse_size(pids, &v) || (o->pids_max = v) == 0))
		return err_set(err, ERR_USAGE, "--resource pids=%s: a number is expected", pids);
	return 0;
}

/* set_attest - one key of --provenance, --sbom or --attest. */
static int set_attest(struct args *a, const char *flag, bool sbom, const char *k, const char *v,
        struct error *err)
{
	static const char *const keys[] = {"mode", "builder-id", "version", "disabled", "type"};
	struct build_attest *t = &a->o.attest;
	bool *on = sbom ? &t->sbom : &t->provenance;
	if (str_eq(k, "disabled")) {
		*on = str_eq(v, "false") || str_eq(v, "0");
	} else if (!sbom && str_eq(k, "mode") && (str_eq(v, "min") || str_eq(v, "max"))) {
		t->provenance_max = str_eq(v, "max");
	} else if (!sbom && str_eq(k, "builder-id")) {
		free(a->builder_id);
		a->builder_id = xstrdup(v);
		t->builder_id = a->builder_id;
	} else if (!sbom && str_eq(k, "version") && str_eq(v, "v1")) {
		return 0;
	} else if (sbom && str_eq(k, "generator")) {
		(void)err_set(err, ERR_USAGE, "%s: generator images are not supported", flag);
		return err_hint(err, "strake reads the image's package databases itself");
	} else if (!sbom && (str_eq(k, "mode") || str_eq(k, "version"))) {
		return err_set(err, ERR_USAGE, "%s: %s=%s: %s is expected", flag, k, v,
		        str_eq(k, "mode") ? "min or max" : "v1");
	} else {
		(void)err_set(err, ERR_USAGE, "%s: unknown key %s", flag, k);
		const char *near = human_nearest(k, keys, ARRAY_SIZE(keys));
		return near ? err_hint(err, "did you mean %s?", near) : -1;
	}
	return 0;
}

/* attest_word - one word of a SPEC: KEY=VALUE, or true or false where it stands alone. */
static int attest_word(
        struct args *a, const char *flag, bool typed, bool sbom, char *word, struct error *err)
{
	bool *on = sbom ? &a->o.attest.sbom : &a->o.attest.provenance;
	char *eq = strchr(word, '=');
	if (eq) {
		*eq = '\0';
		return !typed && str_eq(word, "type")
		               ? 0
		               : set_attest(a, flag, sbom, word, eq + 1, err);
	}
	*on = str_eq(word, "true") || str_eq(word, "1");
	if (typed && (*on || str_eq(word, "false") || str_eq(word, "0")))
		return 0;
	return err_set(err, ERR_USAGE, "%s: %sKEY=VALUE is expected", flag,
	        typed ? "true, false or " : "");
}

/* take_attest - type NULL: it is in the spec. */
static int take_attest(
        struct args *a, const char *flag, const char *type, const char *spec, struct error *err)
{
	_cleanup_free_ char *shown = xasprintf("%s %s", flag, spec);
	_cleanup_free_ char *given = type ? xstrdup(type) : csv_get(spec, "type");
	bool sbom = given && str_eq(given, "sbom");
	if (!given || (!sbom && !str_eq(given, "provenance")))
		return err_set(
		        err, ERR_USAGE, "%s: type=provenance or type=sbom is expected", shown);
	*(sbom ? &a->o.attest.sbom : &a->o.attest.provenance) = true;
	struct strv words = STRV_INIT;
	int rc = 0;
	strv_split(&words, spec, ",");
	for (size_t i = 0; i < words.n && rc >= 0; i++)
		rc = attest_word(a, shown, type != NULL, sbom, words.v[i], err);
	strv_release(&words);
	return rc;
}

static int take_attests(struct args *a, struct error *err)
{
	for (size_t i = 0; i < a->attests.n; i++)
		if (take_attest(a, "--attest", NULL, a->attests.v[i], err) < 0)
			return -1;
	if (a->provenance && take_attest(a, "--provenance", "provenance", a->provenance, err) < 0)
		return -1;
	if (a->sbom && take_attest(a, "--sbom", "sbom", a->sbom, err) < 0)
		return -1;
	if (!a->attest_form)
		return 0;
	a->o.attest.referrers = str_eq(a->attest_form, "referrers");
	if (!a->o.attest.referrers && !str_eq(a->attest_form, "index"))
		return err_set(err, ERR_USAGE, "--attest-form %s: index or referrers is expected",
		        a->attest_form);
	return 0;
}

/* check_pairs - every entry must be KEY=VALUE. */
static int check_pairs(const char *flag, const struct strv *v, struct error *err)
{
	for (size_t i = 0; i < v->n; i++)
		if (!strchr(v->v[i], '=') || v->v[i][0] == '=')
			return err_set(
			        err, ERR_USAGE, "%s %s: KEY=VALUE is expected", flag, v->v[i]);
	return 0;
}

/* take_build_args - bare names take their value from the environment, and vanish without one. */
static int take_build_args(struct args *a, struct error *err)
{
	for (size_t i = 0; i < a->build_args.n; i++) {
		const char *s = a->build_args.v[i], *eq = strchr(s, '=');
		if (s[0] == '\0' || eq == s)
			return err_set(err, ERR_USAGE, "--build-arg %s: NAME=VALUE is expected", s);
		_cleanup_free_ char *key = eq ? xstrndup(s, (size_t)(eq - s)) : xstrdup(s);
		const char *v = eq ? eq + 1 : getenv(key);
		if (v)
			env_set(&a->o.build_args, key, v);
	}
	/* Docker hands these on by itself; they are in neither history nor keys. */
	return 0;
}

static int take_epoch(struct args *a, struct error *err)
{
	const char *v = env_get(&a->o.build_args, "SOURCE_DATE_EPOCH");
	if (!v) {
		v = getenv("SOURCE_DATE_EPOCH");
		if (v && *v)
			env_set(&a->o.build_args, "SOURCE_DATE_EPOCH", v);
	}
	if (!v || !*v)
		return 0;
	char *end;
	errno = 0;
	long long n = strtoll(v, &end, 10);
	if (*end || errno || n < 0)
		return err_set(err, ERR_USAGE,
		        "SOURCE_DATE_EPOCH=%s: a number of seconds since 1970 is expected", v);
	a->o.has_epoch = true;
	a->o.epoch = n;
	return 0;
}

static int take_builtin_args(struct args *a, struct error *err)
{
	const char *syntax = env_get(&a->o.build_args, "BUILDKIT_SYNTAX");
	if (syntax && *syntax && df_check_frontend(syntax, NULL, 0, err) < 0) {
		(void)err_set(err, ERR_USAGE, "BUILDKIT_SYNTAX=%s: strake cannot run this frontend",
		        syntax);
		return err_hint(err,
		        "strake reads the Dockerfile language itself: leave it out, or use "
		        "docker/dockerfile:1");
	}
	const char *multi = env_get(&a->o.build_args, "BUILDKIT_MULTI_PLATFORM");
	if (multi && *multi) {
		a->o.multi_platform = str_eq(multi, "1") || str_eq(multi, "true");
		if (!a->o.multi_platform && !str_eq(multi, "0") && !str_eq(multi, "false"))
			return err_set(err, ERR_USAGE,
			        "BUILDKIT_MULTI_PLATFORM=%s: true or false is expected", multi);
		if (!a->o.multi_platform &&
		        (a->o.platforms.n > 1 ||
		                (a->o.platforms.n && strchr(a->o.platforms.v[0], ','))))
			return err_set(err, ERR_USAGE,
			        "BUILDKIT_MULTI_PLATFORM=%s allows no more than one --platform",
			        multi);
	}
	const char *inl = env_get(&a->o.build_args, "BUILDKIT_INLINE_CACHE");
	a->o.inline_cache = inl && (str_eq(inl, "1") || str_eq(inl, "true"));
	return 0;
}

/* take_destinations - --push and --load are short for outputs. */
static void take_destinations(struct args *a)
{
	struct strv *v = &a->o.outputs;
	bool pushed = false;
	for (size_t i = 0; a->push && i < v->n; i++) {
		if (!strstr(v->v[i], "type=image") && !strstr(v->v[i], "type=registry"))
			continue;
		char *more = xasprintf("%s,push=true", v->v[i]);
		free(v->v[i]);
		v->v[i] = more;
		pushed = true;
	}
	if (a->push && !pushed)
		strv_add(v, "type=registry");
	if (a->load)
		strv_add(v, "type=docker");
}

static int take_on_error(struct args *a, struct error *err)
{
	if (!a->on_error)
		return 0;
	if (!str_eq(a->on_error, "shell"))
		return err_set(err, ERR_USAGE, "--on-error %s: shell is expected", a->on_error);
	bool from_stdin =
	        str_eq(a->o.context, "-") || (a->o.dockerfile && str_eq(a->o.dockerfile, "-"));
	if (from_stdin)
		return err_set(err, ERR_USAGE,
		        "--on-error=shell: the shell needs standard input, which the build reads "
		        "here");
	a->o.on_error_shell = true;
	return 0;
}

static int take_values(struct args *a, struct error *err)
{
	take_destinations(a);
	struct build_options *o = &a->o;
	if (check_pairs("--label", &o->labels, err) < 0 ||
	        check_pairs("--annotation", &o->annotations, err) < 0 ||
	        check_pairs("--build-context", &o->contexts, err) < 0 ||
	        take_build_args(a, err) < 0 || take_epoch(a, err) < 0 || take_attests(a, err) < 0 ||
	        take_builtin_args(a, err) < 0)
		return -1;
	for (size_t i = 0; i < a->secrets.n; i++)
		if (add_secret(o, a->secrets.v[i], err) < 0)
			return -1;
	for (size_t i = 0; i < a->ssh.n; i++)
		if (add_ssh(o, a->ssh.v[i], err) < 0)
			return -1;
	for (size_t i = 0; i < a->resources.n; i++)
		if (add_resource(o, a->resources.v[i], err) < 0)
			return -1;
	for (size_t i = 0; i < o->tags.n; i++) {
		struct oci_ref ref = {0};
		if (oci_ref_parse(o->tags.v[i], &ref, err) < 0)
			return err_wrap(err, "--tag %s", o->tags.v[i]);
		bool has_digest = ref.digest != NULL;
		oci_ref_release(&ref);
		if (has_digest)
			return err_set(
			        err, ERR_USAGE, "--tag %s: a digest cannot be a tag", o->tags.v[i]);
	}
	if (o->network && !str_eq(o->network, "default") && !str_eq(o->network, "none") &&
	        !str_eq(o->network, "host"))
		return err_set(err, ERR_USAGE, "--network %s: default, none or host is expected",
		        o->network);
	for (size_t i = 0; i < o->allow.n; i++)
		if (!str_eq(o->allow.v[i], "network.host") &&
		        !str_eq(o->allow.v[i], "security.insecure"))
			return err_set(err, ERR_USAGE,
			        "--allow %s: network.host or security.insecure is expected",
			        o->allow.v[i]);
	if (take_on_error(a, err) < 0)
		return -1;
	o->progress = UI_AUTO;
	/* Steps as JSON on standard output leave nothing for a second stream of JSON to say. */
	if (a->progress && str_eq(a->progress, "json")) {
		a->progress = o->explain || o->dry_run ? "quiet" : "rawjson";
		if (o->explain || o->dry_run)
			a->format = "json";
	}
	if (o->dry_run && !a->progress)
		a->progress = "quiet";
	if (a->progress && !ui_mode_parse(a->progress, &o->progress))
		return err_set(err, ERR_USAGE,
		        "--progress %s: auto, plain, tty, rawjson, json or quiet is expected",
		        a->progress);
	if (a->quiet)
		o->progress = UI_QUIET;
	return 0;
}

/* check_format - BuildKit's --format is of --check and --call, buildah's of the image. */
static int check_format(const char *f, struct error *err)
{
	if (!f || str_eq(f, "text") || str_eq(f, "json") || str_eq(f, "oci"))
		return 0;
	(void)err_set(err, ERR_USAGE, "--format %s: text, json or oci is expected", f);
	return str_eq(f, "docker")
	               ? err_hint(err, "docker's format is chosen where the image goes: -o "
	                               "type=docker,dest=FILE")
	               : -1;
}

/* --- build ----------------------------------------------------------------------------------- */

static void report_warnings(const struct args *a, const struct build_result *res)
{
	if (a->quiet || a->o.progress == UI_RAWJSON)
		return;
	const struct df_warnings *w = &res->warnings;
	if (w->n) {
		fprintf(stderr, "\n %zu warning%s found (use --check to expand):\n", w->n,
		        w->n == 1 ? "" : "s");
		for (size_t i = 0; i < w->n; i++) {
			_cleanup_free_ char *m =
			        human_escape(w->v[i].message, strlen(w->v[i].message), false);
			fprintf(stderr, " - %s: %s (line %d)\n", w->v[i].rule, m, w->v[i].line);
		}
	}
	for (size_t i = 0; i < res->unused_build_args.n; i++)
		fprintf(stderr, "WARNING: --build-arg %s: no ARG takes it\n",
		        res->unused_build_args.v[i]);
}

static bool output_to_stdout(const char *spec)
{
	bool archive = strstr(spec, "type=oci") || strstr(spec, "type=tar");
	return str_eq(spec, "-") || strstr(spec, "dest=-") || (archive && !strstr(spec, "dest="));
}

static int do_build(struct args *a)
{
	struct error err = ERROR_INIT;
	_cleanup_(cli_store_close) struct store *store = NULL;
	struct build_result res = {0};
	cli_signals();
	a->o.interrupted = &cli_interrupted;
	uint64_t limit = 0;
	int rc = cli_store(&store, &err);
	if (rc >= 0)
		rc = cli_limit(store, &limit, &err);
	if (rc >= 0)
		rc = build_run(store, &a->o, &res, &err);
	if (store)
		cli_collect(store, limit, a->quiet || a->o.progress == UI_RAWJSON);
	bool json = res.steps && a->format && str_eq(a->format, "json");
	if (json)
		explain_json(res.steps);
	/* The live view leaves nothing of what it showed while steps ran. */
	bool live = a->o.progress == UI_TTY || (a->o.progress == UI_AUTO && isatty(STDERR_FILENO));
	if (a->o.explain && !a->o.dry_run && !json && live)
		explain_done(stderr, res.steps);
	if (!a->o.dry_run)
		report_warnings(a, &res);
	if (rc < 0) {
		if (res.excerpt)
			fprintf(stderr, "%s%s", res.excerpt,
			        str_ends(res.excerpt, "\n") ? "" : "\n");
		if (res.excerpt && !err.column)
			err.line = 0; /* the excerpt says it */
		if (err.class == ERR_BUILD)
			(void)err_wrap(&err, "failed to solve");
		rc = cli_report(&err);
	} else {
		rc = EXIT_OK;
		if (a->o.dry_run && !json)
			explain_text(res.steps);
		bool to_stdout = false;
		for (size_t i = 0; i < a->o.outputs.n; i++)
			to_stdout |= output_to_stdout(a->o.outputs.v[i]);
		if (a->quiet && res.image_id && !to_stdout && !json)
			printf("%s\n", res.image_id);
	}
	build_result_release(&res);
	return rc;
}

static const char explain_epilogue[] =
        "Each step is cached, or would RUN with the reason: the files, build arguments,\n"
        "variables, text, base image or earlier step that differ from the nearest earlier\n"
        "result. `maybe`: it depends on a step that would run, and stays cached if that one\n"
        "comes out equal. Values of secrets are never shown.\n\n"
        "Examples:\n"
        "  strake explain .\n"
        "  strake explain --build-arg VERSION=2 --format json .\n"
        "  strake build --explain .        run it, and say why as it goes\n"
        "  strake history builds latest    why the last build ran what it ran\n";

static const char epilogue[] =
        "Contexts:  a directory (the current one), - (Dockerfile or tar on standard input), a git "
        "or\n"
        "           HTTP(S) URL.\n"
        "Outputs:   without -o the image goes to strake's own store (see strake images).\n"
        "           -o type=oci,dest=FILE     OCI layout archive (tar=false: directory)\n"
        "           -o type=docker,dest=FILE  for docker load and podman load;\n"
        "                                     without dest as --load\n"
        "           -o type=registry          as --push; name=, compression=, push-by-digest=\n"
        "           -o type=local,dest=DIR    the files of the image\n"
        "           -o type=tar,dest=FILE     the same as a tar archive\n\n"
        "Examples:\n"
        "  strake build -t hello .\n"
        "  strake build --target test --build-arg VERSION=2 -f ci/Dockerfile .\n"
        "  strake build --build-context base=oci-layout:///images/debian:12 -t app .\n"
        "  strake build --push -t registry.example/team/app:1 .\n"
        "  strake build --load -t app .      # into docker or podman\n";

static int build_command(int argc, char **argv, bool explain)
{
	struct args a = {.o = {.explain = explain, .dry_run = explain}};
	struct build_options *o = &a.o;
	struct peer_flags peers;
	peer_flags_init(&peers, o);
	const struct cli_option options[] = {
	        {"tag", 't', CLI_LIST, &o->tags, "NAME",
	                "name of the image: NAME[:TAG]; may repeat"},
	        {"file", 'f', CLI_STR, &o->dockerfile, "FILE",
	                "Dockerfile (default: CONTEXT/Dockerfile; -: standard input)"},
	        {"ignorefile", 0, CLI_STR, &o->ignorefile, "FILE",
	                "instead of CONTEXT/.dockerignore"},
	        {"target", 0, CLI_STR, &o->target, "STAGE", "stage to build (default: the last)"},
	        {"build-arg", 0, CLI_LIST, &a.build_args, "N[=V]",
	                "value of an ARG; without =V from the environment"},
	        {"build-context", 0, CLI_LIST, &o->contexts, "N=V",
	                "named context: a path, oci-layout://, docker-image://, URL"},
	        {"output", 'o', CLI_LIST, &o->outputs, "SPEC",
	                "type=oci|docker|local|tar,dest=PATH or type=registry"},
	        {"push", 0, CLI_BOOL, &a.push, NULL, "send the image to its registry"},
	        {"load", 0, CLI_BOOL, &a.load, NULL,
	                "hand the image to a running docker or podman"},
	        {"platform", 0, CLI_LIST, &o->platforms, "P", "linux/amd64, linux/arm64, ..."},
	        {"label", 0, CLI_LIST, &o->labels, "K=V", "label on the image"},
	        {"annotation", 0, CLI_LIST, &o->annotations, "[T:]K=V",
	                "annotation; T: manifest, index, manifest[linux/amd64], ..."},
	        {"provenance", 0, CLI_OPT_STR, &a.provenance, "MODE",
	                "attach where it comes from: true, mode=min, mode=max"},
	        {"sbom", 0, CLI_OPT_STR, &a.sbom, "BOOL", "attach the list of its packages"},
	        {"attest", 0, CLI_LIST, &a.attests, "SPEC",
	                "type=provenance,mode=max or type=sbom"},
	        {"attest-form", 0, CLI_STR, &a.attest_form, "FORM",
	                "index (as BuildKit; default) or referrers (OCI 1.1)"},
	        {"source-date-epoch", 0, CLI_STR, &peers.epoch, "SECONDS",
	                "time of the image, its history and new directories"},
	        {"iidfile", 0, CLI_STR, &o->iidfile, "FILE", "write the image id to a file"},
	        {"metadata-file", 0, CLI_STR, &o->metadata_file, "FILE",
	                "write the result's digests as JSON"},
	        {"squash", 0, CLI_BOOL, &o->squash, NULL,
	                "one layer above the base instead of many"},
	        {"Cache", 0, CLI_HEADING},
	        {"no-cache", 0, CLI_BOOL, &o->no_cache, NULL, "run every step"},
	        {"cache-from", 0, CLI_LIST, &o->cache_from, "SPEC",
	                "take from this cache too: type=registry,ref=NAME or type=local,src=DIR"},
	        {"cache-to", 0, CLI_LIST, &o->cache_to, "SPEC",
	                "type=registry,ref=NAME, type=local,dest=DIR, type=inline; mode=min|max"},
	        {"pull", 0, CLI_OPT_STR, &peers.pull, "WHEN",
	                "ask the registry for newer bases: always, never, missing"},
	        {"no-cache-filter", 0, CLI_LIST, &o->no_cache_filter, "STAGE",
	                "run every step of these stages"},
	        {"dry-run", 0, CLI_BOOL, &o->dry_run, NULL,
	                "say what would run, and why; run nothing"},
	        {"explain", 0, CLI_BOOL, &o->explain, NULL,
	                "show why each step runs: the file, argument or step that changed"},
	        {"Steps", 0, CLI_HEADING},
	        {"secret", 0, CLI_LIST, &a.secrets, "SPEC", "id=NAME,src=FILE or id=NAME,env=VAR"},
	        {"ssh", 0, CLI_LIST, &a.ssh, "ID[=SOCK]",
	                "forward an ssh agent (default: SSH_AUTH_SOCK)"},
	        {"network", 0, CLI_STR, &o->network, "MODE", "for RUN: default, none, host"},
	        {"add-host", 0, CLI_LIST, &o->add_hosts, "H:IP", "line in /etc/hosts of RUN"},
	        {"allow", 0, CLI_LIST, &o->allow, "WHAT", "network.host, security.insecure"},
	        {"shm-size", 0, CLI_SIZE, &o->shm_size, "SIZE", "size of /dev/shm (default: 64m)"},
	        {"ulimit", 0, CLI_LIST, &o->ulimits, "N=S[:H]", "resource limit: nofile=1024:2048"},
	        {"resource", 0, CLI_LIST, &a.resources, "K=V",
	                "memory=SIZE,cpus=N,pids=N (cgroup v2)"},
	        {"jobs", 0, CLI_UINT, &o->jobs, "N", "steps at a time"},
	        {"on-error", 0, CLI_STR, &a.on_error, "WHAT",
	                "shell: open one in a RUN step that failed, as it left things"},
	        {"Display", 0, CLI_HEADING},
	        {"progress", 0, CLI_STR, &a.progress, "MODE",
	                "auto, plain, tty, rawjson, json, quiet"},
	        {"quiet", 'q', CLI_BOOL, &a.quiet, NULL, "print the image id and nothing else"},
	        {"check", 0, CLI_BOOL, &a.check, NULL, "check the Dockerfile, build nothing"},
	        {"call", 0, CLI_STR, &a.call, "WHAT", "build, check, outline, targets"},
	        {"format", 0, CLI_STR, &a.format, "FMT",
	                "of --check, --call, --explain, --dry-run: text, json; of the image: oci"},
	        {"authfile", 0, CLI_STR, &peers.authfile, "FILE",
	                "instead of docker's config.json"},
	        {.name = "", .type = CLI_MORE, .dest = peers.table},
	};
	struct error err = ERROR_INIT;
	struct strv words = STRV_INIT;
	const char *name = explain ? "explain" : "build";
	int rc = cli_parse(argc, argv, options, false, &words, &err);
	if (rc > 0) {
		if (explain)
			cli_help("explain", "[OPTIONS] [CONTEXT]",
			        "Say what `strake build` with the same options would run, and why: "
			        "nothing is run.",
			        options, explain_epilogue);
		else
			cli_help("build", "[OPTIONS] [CONTEXT]",
			        "Build an image from a Dockerfile.", options, epilogue);
		strv_release(&words);
		args_release(&a);
		return EXIT_OK;
	}
	if (rc >= 0 && words.n > 1) {
		rc = err_set(&err, ERR_USAGE,
		        "strake %s takes one argument, the context; %zu given", name, words.n);
		(void)err_hint(&err, "put flags and their values before it");
	}
	if (rc >= 0) {
		o->context = words.n ? words.v[0] : ".";
		rc = peer_flags_take(&peers, &a.build_args, o, &err);
		if (rc >= 0)
			rc = take_values(&a, &err);
	}
	if (a.check)
		a.call = "check";
	if (a.call && str_eq(a.call, "lint"))
		a.call = "check";
	/* docker writes --call=outline,format=json */
	_cleanup_free_ char *call = a.call ? xstrdup(a.call) : NULL;
	if (call && strstr(call, ",format=json")) {
		a.format = "json";
		*strchr(call, ',') = '\0';
	}
	a.call = call;
	if (rc >= 0 && call && !str_eq(call, "build") && !str_eq(call, "check") &&
	        !str_eq(call, "outline") && !str_eq(call, "targets"))
		rc = err_set(&err, ERR_USAGE,
		        "--call %s: build, check, outline or targets is expected", call);
	if (rc >= 0)
		rc = check_format(a.format, &err);
	if (rc < 0)
		rc = cli_usage_error(name, &err);
	else if (call && !str_eq(call, "build"))
		rc = build_call(o, call, a.format);
	else
		rc = do_build(&a);
	strv_release(&words);
	args_release(&a);
	return rc;
}

int cmd_build(int argc, char **argv)
{
	return build_command(argc, argv, false);
}

int cmd_explain(int argc, char **argv)
{
	return build_command(argc, argv, true);
}
