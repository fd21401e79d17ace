/* graph/instr_config.c - instructions that only change the image config, and WORKDIR. History
 * texts are BuildKit's, letter by letter: scripts read them (SEMANTICS 67, 78). */
#include <ctype.h>
#include <stdio.h>

#include "base/strbuf.h"
#include "graph/plan.h"

static void history(struct plan *p, struct stage *s, struct strbuf *sb)
{
	img_add_history(p, s, arena_strdup(p->a, sb->buf), true, GRAPH_NONE);
}

/* command_line - exec form as it is; shell form with the shell in front. */
static struct svec command_line(struct plan *p, const struct stage *s, const struct df_instr *in)
{
	struct svec v = {0};
	if (!in->json && s->img.shell.n) {
		v = svec_fork(&s->img.shell);
	} else if (!in->json) {
		svec_push(p->a, &v, "/bin/sh");
		svec_push(p->a, &v, "-c");
	}
	if (!in->json && in->n_args == 0)
		svec_push(p->a, &v, "");
	for (size_t i = 0; i < in->n_args; i++)
		svec_push(p->a, &v, in->args[i]);
	return v;
}

int do_cmd(struct plan *p, struct stage *s, const struct cmd *c, struct error *err)
{
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	s->img.cmd = command_line(p, s, c->in);
	s->img.cmd_set = s->img.cmd.n > 0; /* "CMD []" leaves no trace in the config */
	s->img.args_escaped = true;
	s->cmd_in_stage = true;
	strbuf_addstr(&sb, "CMD ");
	go_quote_list(&sb, &s->img.cmd);
	history(p, s, &sb);
	return 0;
}

int do_entrypoint(struct plan *p, struct stage *s, const struct cmd *c, struct error *err)
{
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	s->img.entrypoint = command_line(p, s, c->in);
	s->img.entrypoint_set = s->img.entrypoint.n > 0;
	/* A CMD of the base was meant for the base's entrypoint (SEMANTICS 63). */
	if (!s->cmd_in_stage) {
		s->img.cmd = (struct svec){0};
		s->img.cmd_set = false;
	}
	strbuf_addstr(&sb, "ENTRYPOINT ");
	go_quote_list(&sb, &s->img.entrypoint);
	history(p, s, &sb);
	return 0;
}

int do_shell(struct plan *p, struct stage *s, const struct cmd *c, struct error *err)
{
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	s->img.shell = (struct svec){0};
	for (size_t i = 0; i < c->in->n_args; i++)
		svec_push(p->a, &s->img.shell, c->in->args[i]);
	strbuf_addstr(&sb, "SHELL ");
	go_list(&sb, &s->img.shell);
	history(p, s, &sb);
	return 0;
}

int do_user(struct plan *p, struct stage *s, const struct cmd *c, struct error *err)
{
	const char *user;
	if (expand(p, s, c, c->in->args[0], &user, err) < 0)
		return -1;
	s->img.user = user;
	img_add_history(p, s, arena_printf(p->a, "USER %s", user), true, GRAPH_NONE);
	return 0;
}

int do_volume(struct plan *p, struct stage *s, const struct cmd *c, struct error *err)
{
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	struct svec list = {0};
	for (size_t i = 0; i < c->in->n_args; i++) {
		const char *w = c->in->args[i], *v;
		w += strspn(w, " \t");
		size_t n = strlen(w);
		while (n && strchr(" \t", w[n - 1]))
			n--;
		if (expand(p, s, c, arena_strndup(p->a, w, n), &v, err) < 0)
			return -1;
		if (!*v)
			return instr_fail(p, c, err, "VOLUME specified can not be an empty string");
		svec_push(p->a, &list, v);
		svec_push(p->a, &s->img.volumes, v);
	}
	strbuf_addstr(&sb, "VOLUME ");
	go_list(&sb, &list);
	history(p, s, &sb);
	return 0;
}

/* --- STOPSIGNAL ------------------------------------------------------------------------------ */

bool stop_signal_valid(const char *s)
{
	static const char *const names[] = {"ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE",
	        "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE", "POLL", "PROF", "PWR", "QUIT",
	        "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG",
	        "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX"};
	const char *d = *s == '+' || *s == '-' ? s + 1 : s;
	if (*d && !d[strspn(d, "0123456789")])
		return d[strspn(d, "0")] != '\0';
	if (strncasecmp(s, "SIG", 3) == 0)
		s += 3;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcasecmp(s, names[i]) == 0)
			return true;
	/* Real-time signals: RTMIN+1 to RTMIN+15, RTMAX-14 to RTMAX-1. */
	int max = strncasecmp(s, "RTMIN+", 6) == 0 ? 15 : strncasecmp(s, "RTMAX-", 6) == 0 ? 14 : 0;
	if (!max || !isdigit((unsigned char)s[6]) || strlen(s) > 8)
		return false;
	int n = atoi(s + 6);
	return n >= 1 && n <= max && s[6] != '0' && !s[6 + strspn(s + 6, "0123456789")];
}

int do_stopsignal(struct plan *p, struct stage *s, const struct cmd *c, struct error *err)
{
	const char *sig;
	if (expand(p, s, c, c->in->args[0], &sig, err) < 0)
		return -1;
	if (!stop_signal_valid(sig)) {
		err_set(err, ERR_SYNTAX, "invalid signal: %s", sig);
		err_hint(err, "write a name such as SIGTERM, or a number");
		return cmd_place(p, c, err);
	}
	s->img.stop_signal = sig;
	img_add_history(p, s, arena_printf(p->a, "STOPSIGNAL %s", sig), true, GRAPH_NONE);
	return 0;
}

/* --- HEALTHCHECK ----------------------------------------------------------------------------- */

int do_healthcheck(struct plan *p, struct stage *s, const struct cmd *c, struct error *err)
{
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	struct oci_healthcheck *h = arena_new(p->a, struct oci_healthcheck, 1);
	if (parse_healthcheck(p->a, c->in, h, err) < 0)
		return cmd_place(p, c, err);
	s->img.healthcheck = h;
	strbuf_addstr(&sb, "HEALTHCHECK {Test:[");
	for (size_t i = 0; i < h->test.n; i++)
		strbuf_addf(&sb, "%s%s", i ? " " : "", h->test.v[i]);
	const struct {
		const char *name;
		int64_t ns;
	} times[] = {{"] Interval:", h->interval}, {" Timeout:", h->timeout},
	        {" StartPeriod:", h->start_period}, {" StartInterval:", h->start_interval}};
	for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
		strbuf_addstr(&sb, times[i].name);
		go_duration(&sb, times[i].ns);
	}
	strbuf_addf(&sb, " Retries:%lld}", (long long)h->retries);
	history(p, s, &sb);
	return 0;
}

/* --- EXPOSE ---------------------------------------------------------------------------------- */

static bool parse_port(const char *s, size_t n, unsigned *ret)
{
	unsigned v = 0;
	if (n == 0)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!isdigit((unsigned char)s[i]))
			return false;
		v = v * 10 + (unsigned)(s[i] - '0');
		if (v > 65535)
			return false;
	}
	*ret = v;
	return true;
}

static bool parse_port_range(const char *s, unsigned *from, unsigned *to)
{
	const char *dash = strchr(s, '-');
	size_t n = dash ? (size_t)(dash - s) : strlen(s);
	if (!parse_port(s, n, from))
		return false;
	if (!dash) {
		*to = *from;
		return true;
	}
	return parse_port(dash + 1, strlen(dash + 1), to) && *from <= *to;
}

static bool valid_ip(const char *s, size_t n)
{
	/* Only the shape: such an address is dropped anyway (SEMANTICS 87). */
	if (n >= 2 && s[0] == '[' && s[n - 1] == ']') {
		s++;
		n -= 2;
	}
	for (size_t i = 0; i < n; i++)
		if (!isxdigit((unsigned char)s[i]) && s[i] != '.' && s[i] != ':')
			return false;
	return true;
}

/* expose_one - [ip:][host:]port[-port][/proto] -> "port/proto" each. */
static int expose_one(struct plan *p, const char *spec, struct svec *out, struct error *err)
{
	_cleanup_free_ char *port = xstrdup(spec);
	const char *proto = "tcp";
	char *slash = strchr(port, '/');
	if (slash) {
		*slash = '\0';
		for (char *q = slash + 1; *q; q++)
			*q = (char)tolower((unsigned char)*q);
		if (slash[1])
			proto = slash + 1;
	}
	if (!str_eq(proto, "tcp") && !str_eq(proto, "udp") && !str_eq(proto, "sctp")) {
		err_set(err, ERR_SYNTAX, "invalid protocol \"%s\" in EXPOSE %s", proto, spec);
		return err_hint(err, "it is one of tcp, udp, sctp");
	}
	/* What stands before the last colon names the host's side and is dropped. */
	char *colon = strrchr(port, ':');
	const char *container = colon ? colon + 1 : port;
	unsigned from, to, h1 = 0, h2 = 0;
	if (!*container)
		return err_set(err, ERR_SYNTAX, "no port specified: %s<empty>", spec);
	if (!parse_port_range(container, &from, &to)) {
		err_set(err, ERR_SYNTAX, "invalid container port \"%s\" in EXPOSE", container);
		return err_hint(err, "write a port from 0 to 65535, or a range such as 8000-8010");
	}
	if (colon) {
		*colon = '\0';
		char *ip_end = strrchr(port, ':');
		const char *host = ip_end ? ip_end + 1 : port;
		if (ip_end && !valid_ip(port, (size_t)(ip_end - port)))
			return err_set(err, ERR_SYNTAX, "invalid IP address in EXPOSE %s", spec);
		if (*host && !parse_port_range(host, &h1, &h2))
			return err_set(err, ERR_SYNTAX, "invalid host port \"%s\" in EXPOSE", host);
		if (*host && h2 - h1 != to - from && from != to)
			return err_set(err, ERR_SYNTAX,
			        "invalid ranges specified for container and host ports: %s and %s",
			        container, host);
	}
	for (unsigned i = from; i <= to; i++)
		svec_push(p->a, out, arena_printf(p->a, "%u/%s", i, proto));
	return 0;
}

static int compare_words(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int do_expose(struct plan *p, struct stage *s, const struct cmd *c, struct error *err)
{
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	struct svec sorted = {0}, words = {0}, ports = {0};
	for (size_t i = 0; i < c->in->n_args; i++)
		svec_push(p->a, &sorted, c->in->args[i]);
	qsort(sorted.v, sorted.n, sizeof(*sorted.v), compare_words);
	for (size_t i = 0; i < sorted.n; i++)
		if (expand_list(p, s, c, sorted.v[i], &words, err) < 0)
			return -1;
	for (size_t i = 0; i < words.n; i++)
		if (expose_one(p, words.v[i], &ports, err) < 0)
			return cmd_place(p, c, err);
	for (size_t i = 0; i < ports.n; i++)
		svec_push(p->a, &s->img.ports, ports.v[i]);
	strbuf_addstr(&sb, "EXPOSE ");
	go_list(&sb, &ports);
	history(p, s, &sb);
	return 0;
}

/* --- ONBUILD --------------------------------------------------------------------------------- */

const char *onbuild_expression(struct arena *a, const struct df_instr *in)
{
	const char *t = in->original;
	t += strspn(t, " \t");
	if (strncasecmp(t, "ONBUILD", 7) == 0)
		t += 7;
	t += strspn(t, " \t");
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	strbuf_addstr(&sb, t);
	for (size_t i = 0; i < in->n_heredocs; i++) {
		strbuf_addch(&sb, '\n');
		strbuf_add(&sb, in->heredocs[i].raw, in->heredocs[i].raw_len);
		strbuf_addstr(&sb, in->heredocs[i].name);
	}
	return arena_strndup(a, sb.buf, sb.len);
}

int do_onbuild(struct plan *p, struct stage *s, const struct cmd *c, struct error *err)
{
	svec_push(p->a, &s->img.onbuild, onbuild_expression(p->a, c->in));
	return 0;
}

/* --- WORKDIR --------------------------------------------------------------------------------- */

int do_workdir(struct plan *p, struct stage *s, const struct cmd *c, struct error *err)
{
	const char *path;
	if (expand(p, s, c, c->in->args[0], &path, err) < 0)
		return -1;
	if (p->w && !s->workdir_set && *path != '/') {
		_cleanup_strbuf_ struct strbuf q = STRBUF_INIT;
		go_quote(&q, path);
		df_warn(p->w, "WorkdirRelativePath", c->line, c->end_line,
		        "Relative workdir %s can have unexpected results if the base image changes",
		        q.buf);
	}
	s->workdir_set = true;
	const char *wd = path_workdir(p->a, str_or_empty(s->img.workdir), path);
	s->img.workdir = wd;
	bool layer = !str_eq(wd, "/");
	const char *created_by = arena_printf(p->a, "WORKDIR %s", wd);
	if (layer) {
		struct graph_node *n = node_new(p, GRAPH_WORKDIR);
		node_input(p, n, s->node);
		n->workdir.path = path_join_clean(p->a, "", wd);
		n->workdir.user = str_or_empty(s->img.user);
		n->workdir.time = p->o->epoch;
		n->platform = s->platform;
		n->no_cache = s->no_cache;
		n->stage = s->name ? s->name : arena_printf(p->a, "%zu", s->index);
		n->shown = shown_name(
		        p, s, &s->platform, &s->env, shown_text(p, s, c->in, NULL, false, NULL));
		n->created_by = created_by;
		n->line = c->line;
		n->end_line = c->end_line;
		s->node = node_add(p, n);
	}
	img_add_history(p, s, created_by, !layer, s->node);
	return 0;
}
