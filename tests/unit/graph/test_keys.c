/* tests/unit/graph/test_keys.c - what changes a step's op_digest and what must not (SEMANTICS
 * 69-71), and a Dockerfile of ten thousand stages. */
#include "../tap.h"
#include "base/strbuf.h"
#include "graph/graph.h"

struct setting {
	const char *build_arg, *network, *hostname, *host, *ulimit, *platform, *cache_ns;
	uint64_t shm;
	bool no_cache;
};

/* plan - the graph of a Dockerfile without base images to resolve; aborts the test on an error. */
static struct graph *plan(struct arena *a, const char *text, size_t len, const struct setting *s)
{
	struct error err = ERROR_INIT;
	struct df_file *f = NULL;
	struct graph *g = NULL;
	struct graph_needed *needed = NULL;
	size_t n_needed = 0;
	struct strv args = STRV_INIT, hosts = STRV_INIT, ulimits = STRV_INIT;
	struct oci_platform pl;
	if (s->build_arg)
		strv_add(&args, s->build_arg);
	if (s->host)
		strv_add(&hosts, s->host);
	if (s->ulimit)
		strv_add(&ulimits, s->ulimit);
	if (oci_platform_parse(s->platform ? s->platform : "linux/amd64", &pl, &err) < 0 ||
	        df_parse(a, text, len, "Dockerfile", &f, &err) < 0) {
		printf("Bail out! %s\n", err.msg);
		exit(2);
	}
	struct graph_options o = {.build_args = &args,
	        .platforms = &pl,
	        .n_platforms = 1,
	        .build_platform = pl,
	        .add_hosts = &hosts,
	        .ulimits = &ulimits,
	        .network = s->network,
	        .hostname = s->hostname,
	        .shm_size = s->shm,
	        .cache_mount_ns = s->cache_ns,
	        .no_cache = s->no_cache,
	        .allow_insecure = true,
	        .allow_network_host = true};
	if (graph_build(f, &o, NULL, 0, NULL, &g, &needed, &n_needed, &err) != 0) {
		printf("Bail out! %s\n", err.msg ? err.msg : "images are needed");
		exit(2);
	}
	strv_release(&args);
	strv_release(&hosts);
	strv_release(&ulimits);
	return g;
}

/* key - op_digest of the last node of "FROM scratch" + text. */
static struct digest key(const char *text, const struct setting *s)
{
	struct arena a = ARENA_INIT;
	struct strbuf sb = STRBUF_INIT;
	strbuf_addf(&sb, "FROM scratch AS other\nCOPY o /\nFROM scratch\n%s\n", text);
	struct graph *g = plan(&a, sb.buf, sb.len, s);
	struct digest d = g->nodes[g->targets[0].node]->op_digest;
	graph_free(g);
	strbuf_release(&sb);
	arena_release(&a);
	return d;
}

static const struct setting none;

static void compare(const char *a, const char *b, bool equal)
{
	struct digest x = key(a, &none), y = key(b, &none);
	char *what = xasprintf("%s: %s | %s", equal ? "same" : "differs", a, b);
	for (char *c = what; *c; c++)
		if (*c == '\n')
			*c = ';';
	ok(digest_eq(&x, &y) == equal, what);
	free(what);
}

static void differ(const char *a, const char *b)
{
	compare(a, b, false);
}

static void same(const char *a, const char *b)
{
	compare(a, b, true);
}

static void setting(const char *text, const struct setting *s, bool equal, const char *what)
{
	struct digest x = key(text, &none), y = key(text, s);
	ok(digest_eq(&x, &y) == equal, what);
}

static void test_run(void)
{
	differ("RUN a", "RUN b");
	differ("RUN a", "RUN [\"/bin/sh\", \"-c\", \"b\"]");
	same("RUN a", "RUN [\"/bin/sh\", \"-c\", \"a\"]");
	same("RUN a b", "RUN    a b");
	differ("RUN a", "ENV X=1\nRUN a");
	differ("ARG X=1\nRUN a", "ARG X=2\nRUN a");
	differ("RUN a", "USER u\nRUN a");
	differ("WORKDIR /x\nRUN a", "WORKDIR /y\nRUN a");
	same("WORKDIR /x\nRUN a", "WORKDIR /x/\nRUN a");
	differ("RUN a", "RUN --network=none a");
	differ("RUN a", "RUN --security=insecure a");
	same("RUN a", "RUN --security=sandbox a");
	differ("RUN a", "RUN --device=v.com/d=0 a");
	differ("RUN --device=v.com/d=0 a", "RUN --device=v.com/d=0,required a");
	differ("SHELL [\"/bin/bash\",\"-c\"]\nRUN a", "RUN a");
	/* What only the image config says is no business of a step. */
	same("RUN a", "LABEL x=y\nCMD [\"z\"]\nEXPOSE 80\nRUN a");
	/* A lone heredoc's file name is part of the command, its body of the file. */
	differ("RUN <<E\n#!/bin/a\nE", "RUN <<E\n#!/bin/b\nE");
	differ("RUN <<E\n#!/bin/a\nE", "RUN <<F\n#!/bin/a\nF");
}

static void test_mounts(void)
{
	static const char *const all[] = {"RUN a", "RUN --mount=target=/x a",
	        "RUN --mount=target=/y a", "RUN --mount=target=/x,rw a",
	        "RUN --mount=target=/x,source=s a", "RUN --mount=type=tmpfs,target=/x a",
	        "RUN --mount=type=tmpfs,target=/x,size=1m a", "RUN --mount=type=cache,target=/x a",
	        "RUN --mount=type=cache,target=/x,id=i a",
	        "RUN --mount=type=cache,target=/x,sharing=locked a",
	        "RUN --mount=type=cache,target=/x,mode=0700 a",
	        "RUN --mount=type=cache,target=/x,uid=1 a",
	        "RUN --mount=type=cache,target=/x,gid=1 a",
	        "RUN --mount=type=cache,target=/x,from=other a", "RUN --mount=type=secret,id=i a",
	        "RUN --mount=type=secret,id=j a", "RUN --mount=type=secret,id=i,required a",
	        "RUN --mount=type=secret,id=i,env=E a", "RUN --mount=type=secret,id=i,mode=0444 a",
	        "RUN --mount=type=ssh a", "RUN --mount=type=ssh,id=k a"};
	struct digest d[ARRAY_SIZE(all)];
	int equal = 0;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		d[i] = key(all[i], &none);
		for (size_t j = 0; j < i; j++)
			if (digest_eq(&d[i], &d[j])) {
				equal++;
				printf("# equal: %s | %s\n", all[i], all[j]);
			}
	}
	is_int(equal, 0, "every mount option is in the key");
	same("RUN --mount=type=secret,id=i a",
	        "RUN --mount=type=secret,id=i,target=/run/secrets/i a");
	same("RUN --mount=target=/x a", "RUN --mount=type=bind,dst=/x,ro a");
}

static void test_copy(void)
{
	static const char *const all[] = {"COPY a /x", "COPY a /y", "COPY a /x/", "COPY b /x",
	        "COPY a b /x/", "ADD a /x", "ADD --unpack=false a /x", "COPY --link a /x",
	        "COPY --parents a /x", "COPY --chown=1 a /x", "COPY --chown=2 a /x",
	        "COPY --chmod=600 a /x", "COPY --exclude=e a /x", "COPY --from=other a /x",
	        "COPY <<a /x\n1\na", "COPY <<a /x\n2\na", "COPY <<b /x\n1\nb"};
	struct digest d[ARRAY_SIZE(all)];
	int equal = 0;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		d[i] = key(all[i], &none);
		for (size_t j = 0; j < i; j++)
			if (digest_eq(&d[i], &d[j])) {
				equal++;
				printf("# equal: %s | %s\n", all[i], all[j]);
			}
	}
	is_int(equal, 0, "every copy option is in the key");
	/* The content key says what lands; where it was taken from does not matter... */
	same("COPY d/a /x", "COPY e/a /x");
	same("COPY a /x", "COPY ./a /x");
	same("WORKDIR /w\nCOPY a x", "COPY a /w/x");
	/* ...but with --parents the directories land too. */
	differ("COPY --parents d/a /x", "COPY --parents e/a /x");
	same("ENV E=1\nCOPY a /x", "COPY a /x");
}

static void test_others(void)
{
	differ("WORKDIR /a", "WORKDIR /b");
	differ("WORKDIR /a", "USER u\nWORKDIR /a");
	same("WORKDIR /a", "WORKDIR /\nWORKDIR a");
	/* Where the bytes come from is the input's business: its node has its own digest. */
	same("ADD https://e.com/a /x", "ADD https://e.com/b /x");
	same("RUN --mount=target=/x a", "RUN --mount=target=/x,from=other a");
}

static void test_settings(void)
{
	const char *run = "RUN a";
	setting(run, &(struct setting){.build_arg = "HTTP_PROXY=http://p"}, true,
	        "proxies are not in the key");
	setting(run, &(struct setting){.build_arg = "X=1"}, true,
	        "a build argument that no ARG takes is not in the key");
	setting("ARG X\nRUN a", &(struct setting){.build_arg = "X=1"}, false,
	        "a build argument that is declared is");
	setting(run, &(struct setting){.network = "none"}, false, "the default network is");
	setting(run, &(struct setting){.hostname = "h"}, false, "the host name is");
	setting(run, &(struct setting){.ulimit = "nofile=1"}, false, "ulimits are");
	setting(run, &(struct setting){.shm = 1}, false, "the shm size is");
	setting(run, &(struct setting){.platform = "linux/arm64"}, false, "the platform is");
	setting("COPY a /x", &(struct setting){.platform = "linux/arm64"}, true,
	        "the platform is not in the key of a COPY");
	setting(run, &(struct setting){.no_cache = true}, true, "--no-cache is not");
	setting("RUN --mount=type=cache,target=/c a", &(struct setting){.cache_ns = "n"}, false,
	        "the cache name space is");
	struct digest a = key(run, &(struct setting){.host = "db:10.0.0.1"});
	struct digest b = key(run, &(struct setting){.host = "db:10.0.0.2"});
	struct digest c = key(run, &(struct setting){.host = "eb:10.0.0.1"});
	ok(digest_eq(&a, &b), "addresses of extra hosts are not in the key");
	ok(!digest_eq(&a, &c), "their names are");
}

static void test_stable(void)
{
	/* On-disk keys: if this changes without a new KEY_VERSION, old caches lie. */
	char hex[DIGEST_HEX_MAX];
	struct digest d = key("WORKDIR /a", &none);
	is_str(digest_hex(&d, hex),
	        "92df0cce402bb4f70db1dfb87b7c90d0de20169091fbf4b361b2228d2165407d",
	        "op_digest of WORKDIR /a");
	d = key("RUN a", &none);
	is_str(digest_hex(&d, hex),
	        "ed040ef6a3a966e2e4028898d8d378bb700f1ccc5011f2baab242b1c13c50f99",
	        "op_digest of RUN a");
}

static void test_many_stages(void)
{
	enum { N = 10000 };
	struct arena a = ARENA_INIT;
	struct strbuf sb = STRBUF_INIT;
	strbuf_addstr(&sb, "FROM scratch AS s0\nCOPY a /\n");
	for (int i = 1; i < N; i++) {
		if (i % 2)
			strbuf_addf(
			        &sb, "FROM scratch AS s%d\nCOPY --from=s%d / /%d\n", i, i - 1, i);
		else
			strbuf_addf(&sb, "FROM s%d AS s%d\nRUN %d\n", i - 1, i, i);
	}
	struct graph *g = plan(&a, sb.buf, sb.len, &none);
	is_int(g->n_nodes, N + 1, "ten thousand stages, a node each, and the context");
	is_int(g->targets[0].node, N, "the last one is the target");
	graph_free(g);
	strbuf_release(&sb);
	arena_release(&a);
}

int main(void)
{
	test_run();
	test_mounts();
	test_copy();
	test_others();
	test_settings();
	test_stable();
	test_many_stages();
	return tap_done();
}
