/* cli/build_peers.c - see build_peers.h. */
#include "cli/build_peers.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

void peer_flags_init(struct peer_flags *p, struct build_options *o)
{
	static const char resource[] = "limits are set with --resource memory=SIZE,cpus=N,pids=N";
	static const char network[] = "RUN's network is set with --network and --add-host";
	static const char caps[] = "a RUN that needs more rights: RUN --security=insecure, with "
	                           "--allow security.insecure";
	static const char ns[] = "each RUN has namespaces of its own; --network=host shares the "
	                         "host's network";
	*p = (struct peer_flags){.rm = true,
	        .compress = true,
	        .layers = true,
	        .content_trust_off = true,
	        .pull = "false"};
	const struct cli_option table[] = {
	        {.name = "Docker's and buildah's other words", .type = CLI_HEADING},
	        {"memory", 'm', CLI_SIZE, &o->memory_max, "SIZE", "as --resource memory=SIZE"},
	        {"cpu-quota", 0, CLI_UINT, &p->cpu_quota, "USEC",
	                "as --resource cpus=QUOTA/PERIOD"},
	        {"cpu-period", 0, CLI_UINT, &p->cpu_period, "USEC", "default 100000"},
	        {"os", 0, CLI_STR, &p->os, "OS", "as --platform"},
	        {"arch", 0, CLI_STR, &p->arch, "ARCH", "as --platform"},
	        {"variant", 0, CLI_STR, &p->variant, "VARIANT", "as --platform"},
	        {"rm", 0, CLI_BOOL, &p->rm, NULL, "no step leaves a container behind"},
	        {"force-rm", 0, CLI_BOOL, &p->force_rm, NULL, "nor does one that fails"},
	        {"compress", 0, CLI_BOOL, &p->compress, NULL, "the context is sent nowhere"},
	        {"layers", 0, CLI_BOOL, &p->layers, NULL, "every step is cached"},
	        {"disable-content-trust", 0, CLI_BOOL, &p->content_trust_off, NULL,
	                "there is no content trust"},
	        {"identity-label", 0, CLI_BOOL, &p->identity_label, NULL,
	                "no label is added; =false is taken"},
	        {"created-annotation", 0, CLI_BOOL, &p->created_annotation, NULL,
	                "none is added; =false is taken"},
	        {"isolation", 0, CLI_STR, &p->isolation, "KIND", "default, oci, rootless"},
	        {"builder", 0, CLI_ABSENT, NULL, NULL, "there is one builder: this program"},
	        {"cgroup-parent", 0, CLI_ABSENT, NULL, NULL, resource},
	        {"memory-swap", 0, CLI_ABSENT, NULL, NULL, resource},
	        {"cpu-shares", 'c', CLI_ABSENT, NULL, NULL, resource},
	        {"cpuset-cpus", 0, CLI_ABSENT, NULL, NULL, resource},
	        {"cpuset-mems", 0, CLI_ABSENT, NULL, NULL, resource},
	        {"security-opt", 0, CLI_ABSENT, NULL, NULL, caps},
	        {"cap-add", 0, CLI_ABSENT, NULL, NULL, caps},
	        {"cap-drop", 0, CLI_ABSENT, NULL, NULL, caps},
	        {"device", 0, CLI_ABSENT, NULL, NULL,
	                "RUN --device=NAME takes a CDI device (man strake-build)"},
	        {"volume", 'v', CLI_ABSENT, NULL, NULL,
	                "--build-context NAME=PATH, and RUN --mount=type=bind,from=NAME"},
	        {"env", 0, CLI_ABSENT, NULL, NULL,
	                "ENV in the Dockerfile; from outside: ARG X, ENV X=$X and --build-arg X=…"},
	        {"unsetenv", 0, CLI_ABSENT, NULL, NULL, "ENV NAME= in the Dockerfile empties it"},
	        {"unsetlabel", 0, CLI_ABSENT, NULL, NULL, "--label NAME= empties it"},
	        {"from", 0, CLI_ABSENT, NULL, NULL,
	                "--build-context NAME=docker-image://IMAGE replaces what FROM NAME means"},
	        {"dns", 0, CLI_ABSENT, NULL, NULL, network},
	        {"dns-option", 0, CLI_ABSENT, NULL, NULL, network},
	        {"dns-search", 0, CLI_ABSENT, NULL, NULL, network},
	        {"no-hosts", 0, CLI_ABSENT, NULL, NULL, network},
	        {"no-hostname", 0, CLI_ABSENT, NULL, NULL, network},
	        {"ipc", 0, CLI_ABSENT, NULL, NULL, ns},
	        {"pid", 0, CLI_ABSENT, NULL, NULL, ns},
	        {"uts", 0, CLI_ABSENT, NULL, NULL, ns},
	        {"userns", 0, CLI_ABSENT, NULL, NULL, ns},
	        {"runtime", 0, CLI_ABSENT, NULL, NULL, "strake runs the steps itself"},
	        {"http-proxy", 0, CLI_ABSENT, NULL, NULL,
	                "proxies are given with --build-arg HTTP_PROXY=…; none is handed on "
	                "otherwise"},
	        {"tls-verify", 0, CLI_ABSENT, NULL, NULL,
	                "insecure registries are named in registries.conf (man strake)"},
	        {"cert-dir", 0, CLI_ABSENT, NULL, NULL,
	                "certificates are named in registries.conf (man strake)"},
	        {"creds", 0, CLI_ABSENT, NULL, NULL, "strake login REGISTRY, once"},
	        {"retry", 0, CLI_ABSENT, NULL, NULL, "retries are set in registries.conf"},
	        {"retry-delay", 0, CLI_ABSENT, NULL, NULL, "retries are set in registries.conf"},
	        {"timestamp", 0, CLI_ABSENT, NULL, NULL,
	                "--source-date-epoch SECONDS, and -o …,rewrite-timestamp=true"},
	        {"rewrite-timestamp", 0, CLI_ABSENT, NULL, NULL,
	                "it belongs to an output: -o type=oci,dest=FILE,rewrite-timestamp=true"},
	        {"squash-all", 0, CLI_ABSENT, NULL, NULL,
	                "--squash makes one layer above the base"},
	        {"omit-history", 0, CLI_ABSENT, NULL, NULL, "an image's history is always written"},
	        {"manifest", 0, CLI_ABSENT, NULL, NULL,
	                "--platform linux/amd64,linux/arm64 -t NAME makes one index"},
	        {"all-platforms", 0, CLI_ABSENT, NULL, NULL, "name them with --platform"},
	        {"layer-label", 0, CLI_ABSENT, NULL, NULL, "use --label or --annotation"},
	        {"logfile", 0, CLI_ABSENT, NULL, NULL, "the log is on standard error: 2>FILE"},
	        {"sign-by", 0, CLI_ABSENT, NULL, NULL, "sign what was pushed: cosign sign"},
	        {"signature-policy", 0, CLI_ABSENT, NULL, NULL, "signatures are not checked"},
	        {"stdin", 0, CLI_ABSENT, NULL, NULL, "a RUN's standard input is empty"},
	        {0},
	};
	static_assert(sizeof(table) <= sizeof(p->table), "PEER_FLAGS_MAX");
	memcpy(p->table, table, sizeof(table));
}

/* only_so - flags that say what is so anyway; the other value asks for what does not exist. */
static int only_so(const char *flag, bool given, bool is, const char *why, struct error *err)
{
	if (given == is)
		return 0;
	(void)err_set(err, ERR_USAGE, "--%s=%s is not possible", flag, given ? "true" : "false");
	return err_hint(err, "%s", why);
}

static int take_pull(const char *when, struct build_options *o, struct error *err)
{
	if (str_eq(when, "true") || str_eq(when, "1") || str_eq(when, "always") ||
	        str_eq(when, "newer") || str_eq(when, "ifnewer"))
		o->pull = true;
	else if (str_eq(when, "never"))
		o->pull_never = true;
	else if (!str_eq(when, "false") && !str_eq(when, "0") && !str_eq(when, "missing") &&
	         !str_eq(when, "ifmissing"))
		return err_set(err, ERR_USAGE,
		        "--pull=%s: true, false, always, missing, newer or never is expected",
		        when);
	return 0;
}

static int take_platform(const struct peer_flags *p, struct build_options *o, struct error *err)
{
	if (!p->os && !p->arch && !p->variant)
		return 0;
	if (o->platforms.n)
		return err_set(
		        err, ERR_USAGE, "--platform and --os, --arch, --variant: one of them");
	if (!p->arch && p->variant)
		return err_set(err, ERR_USAGE, "--variant %s needs --arch", p->variant);
	struct oci_platform host;
	oci_platform_host(&host);
	_cleanup_free_ char *s = xasprintf("%s/%s%s%s", p->os ? p->os : "linux",
	        p->arch ? p->arch : host.arch, p->variant ? "/" : "", str_or_empty(p->variant));
	strv_add(&o->platforms, s);
	return 0;
}

int peer_flags_take(
        struct peer_flags *p, struct strv *build_args, struct build_options *o, struct error *err)
{
	if (only_so("rm", p->rm, true, "there are no intermediate containers to keep", err) < 0 ||
	        only_so("compress", p->compress, true, "the context is sent nowhere", err) < 0 ||
	        only_so("layers", p->layers, true,
	                "for one layer: --squash; to run every step: --no-cache", err) < 0 ||
	        only_so("disable-content-trust", p->content_trust_off, true,
	                "signatures are not checked", err) < 0 ||
	        only_so("identity-label", p->identity_label, false,
	                "add one with --label io.buildah.version=…", err) < 0 ||
	        only_so("created-annotation", p->created_annotation, false,
	                "add one with --annotation org.opencontainers.image.created=…", err) < 0)
		return -1;
	if (p->isolation && !str_eq(p->isolation, "default") && !str_eq(p->isolation, "oci") &&
	        !str_eq(p->isolation, "rootless")) {
		(void)err_set(err, ERR_USAGE, "--isolation %s is not possible", p->isolation);
		return err_hint(
		        err, "leave it out: every RUN is isolated in full, as root and rootless");
	}
	if (p->epoch)
		env_set(build_args, "SOURCE_DATE_EPOCH", p->epoch);
	if (p->cpu_quota)
		o->cpus = (double)p->cpu_quota / (p->cpu_period ? p->cpu_period : 100000);
	if (p->cpu_quota && (o->cpus < 0.001 || o->cpus > 100000))
		return err_set(err, ERR_USAGE,
		        "--cpu-quota %u of --cpu-period %u are %g processors: 0.001 at least are "
		        "expected",
		        p->cpu_quota, p->cpu_period ? p->cpu_period : 100000, o->cpus);
	if (p->cpu_period && !p->cpu_quota)
		return err_set(err, ERR_USAGE, "--cpu-period needs --cpu-quota");
	if (p->authfile && setenv("REGISTRY_AUTH_FILE", p->authfile, 1) < 0)
		return err_sys(err, errno, "--authfile %s", p->authfile);
	return take_pull(p->pull, o, err) < 0 ? -1 : take_platform(p, o, err);
}
