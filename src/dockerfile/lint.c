/* dockerfile/lint.c - the build checks that need only the AST (see lint.h).
 *
 * Messages are BuildKit's, word for word, since people grep for them. Rules about values skip what
 * holds a variable: only the plan knows those. */
#include "dockerfile/lint.h"

#include <ctype.h>
#include <strings.h>

#include "base/strbuf.h"
#include "dockerfile/expand.h"
#include "dockerfile/text.h"

struct linter {
	const struct df_file *f;
	struct df_warnings *w;
	struct map stages; /* lower-case name -> &yes or &no: does it set SHELL? */
	bool has_shell;    /* the stage at hand, or one it is made from, sets SHELL */
	const char *stage; /* its lower-case name, or NULL */
	const struct df_instr *cmd, *entrypoint, *healthcheck;
};

static bool yes, no; /* addresses to tell apart in `stages` */

static char *lower(const char *s)
{
	char *d = xstrdup(s);
	for (char *c = d; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	return d;
}

static bool has_upper(const char *s)
{
	for (; *s; s++)
		if (isupper((unsigned char)*s))
			return true;
	return false;
}

static bool has_lower(const char *s)
{
	for (; *s; s++)
		if (islower((unsigned char)*s))
			return true;
	return false;
}

/* quoted - for messages; the result lives in sb. */
static const char *quoted(struct strbuf *sb, const char *s)
{
	strbuf_reset(sb);
	text_quote(sb, s, strlen(s));
	return sb->buf;
}

static void casing(struct linter *l)
{
	size_t n_lower = 0, n_upper = 0;
	bool in_stage = false;

	/* ARGs before the first FROM do not take part. */
	for (size_t i = 0; i < l->f->n_instrs; i++) {
		const struct df_instr *in = l->f->instrs[i];
		in_stage |= in->kind == DF_FROM;
		if (!in_stage)
			continue;
		n_lower += !has_upper(in->name_raw);
		n_upper += has_upper(in->name_raw) && !has_lower(in->name_raw);
	}
	bool want_lower = n_lower > n_upper;
	in_stage = false;
	for (size_t i = 0; i < l->f->n_instrs; i++) {
		const struct df_instr *in = l->f->instrs[i];
		in_stage |= in->kind == DF_FROM;
		if (in_stage && (want_lower ? has_upper(in->name_raw) : has_lower(in->name_raw)))
			df_warn(l->w, "ConsistentInstructionCasing", in->line, in->end_line,
			        "Command '%s' should match the case of the command majority (%s)",
			        in->name_raw, want_lower ? "lowercase" : "uppercase");
	}
}

/* ---- descriptions ---- */

static bool is_key(const struct df_instr *in, const char *word, size_t n)
{
	for (size_t i = 0; i < in->n_args; i++)
		if (strcspn(in->args[i], "=") == n && memcmp(in->args[i], word, n) == 0)
			return true;
	return false;
}

static void describe(
        struct linter *l, const struct df_instr *in, const char *what, const char *example)
{
	df_warn(l->w, "InvalidDefinitionDescription", in->line, in->end_line,
	        "Comment for %s should follow the format: `# %s <description>`", what, example);
}

/* first_word - of the comment line right above the instruction. */
static const char *first_word(const struct df_instr *in, size_t *ret_n)
{
	const char *nl = in->comment ? strrchr(in->comment, '\n') : NULL;
	const char *p = nl ? nl + 1 : in->comment;
	*ret_n = p ? strcspn(p, " ") : 0;
	return p;
}

static void arg_description(struct linter *l, const struct df_instr *in)
{
	size_t n;
	const char *word = first_word(in, &n);
	if (!word || in->n_args == 0 || is_key(in, word, n))
		return;
	_cleanup_free_ char *key = xstrndup(in->args[0], strcspn(in->args[0], "="));
	describe(l, in, "ARG", in->n_args > 1 ? "<arg_key>" : key);
}

static void stage_description(struct linter *l, const struct df_instr *in)
{
	size_t n;
	const char *word = first_word(in, &n);
	if (word && l->stage && (strlen(l->stage) != n || memcmp(l->stage, word, n) != 0))
		describe(l, in, "FROM", l->stage);
}

/* ---- FROM ---- */

static const char *normal_arch(const char *arch)
{
	static const char *const names[][2] = {
	        {"i386", "386"},
	        {"x86_64", "amd64"},
	        {"x86-64", "amd64"},
	        {"aarch64", "arm64"},
	        {"armhf", "arm"},
	        {"armel", "arm"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (str_eq(arch, names[i][0]))
			return names[i][1];
	return arch;
}

/* constant_platform - is it one, and not hinted at by the stage name (build-arm64)? False also
 * for text that is no platform. */
static bool constant_platform(const char *platform, const char *stage)
{
	static const char *const systems[] = {"linux", "windows", "darwin", "macos", "freebsd"};
	_cleanup_free_ char *text = lower(platform);
	char *parts[4] = {text};
	size_t n = 1;

	for (char *p = text; *p; p++) {
		if (*p == '/' && n < ARRAY_SIZE(parts)) {
			*p = '\0';
			parts[n++] = p + 1;
		} else if (!isalnum((unsigned char)*p) && !strchr("_-.()", *p)) {
			return false;
		}
	}
	for (size_t i = 0; i < n; i++)
		if (!*parts[i])
			return false;
	if (n > 3)
		return false;
	if (!stage)
		return true;
	bool is_system = n > 1;
	for (size_t i = 0; i < ARRAY_SIZE(systems); i++)
		is_system |= str_eq(parts[0], systems[i]);
	const char *arch = n > 1 ? parts[1] : is_system ? NULL : parts[0];
	const char *system = is_system ? parts[0] : "linux";
	if (str_eq(system, "macos"))
		system = "darwin";
	return !strstr(stage, system) && !(arch && strstr(stage, normal_arch(arch)));
}

static void platform_flag(struct linter *l, const struct df_instr *in)
{
	_cleanup_strbuf_ struct strbuf q = STRBUF_INIT;
	_cleanup_error_ struct error ignored = ERROR_INIT;
	_cleanup_free_ char *value = NULL;
	struct strv none = STRV_INIT;
	struct df_vars vars = df_env_vars(&none);

	for (size_t i = 0; i < in->n_flags; i++) {
		_cleanup_strv_ struct strv unset = STRV_INIT;
		if (!str_eq(in->flags[i].name, "platform") || !in->flags[i].value)
			continue;
		if (df_expand_word(in->flags[i].value, l->f->escape, &vars, &value, &unset, NULL,
		            &ignored) < 0)
			return;
		if (unset.n == 0 && constant_platform(value, l->stage))
			df_warn(l->w, "FromPlatformFlagConstDisallowed", in->line, in->end_line,
			        "FROM --platform flag should not use constant value %s",
			        quoted(&q, value));
		return;
	}
}

static void stage_name(struct linter *l, const struct df_instr *in, const char *name)
{
	_cleanup_strbuf_ struct strbuf q = STRBUF_INIT;

	if (str_eq(name, "context") || str_eq(name, "scratch"))
		df_warn(l->w, "ReservedStageName", in->line, in->end_line,
		        "Stage name should not use the same name as reserved stage %s",
		        quoted(&q, name));
	if (map_has(&l->stages, name))
		df_warn(l->w, "DuplicateStageName", in->line, in->end_line,
		        "Duplicate stage name %s, stage names should be unique", quoted(&q, name));
}

/* end_stage - note what later stages made from this one inherit. */
static void end_stage(struct linter *l)
{
	if (l->stage)
		map_put(&l->stages, l->stage, l->has_shell ? &yes : &no);
}

static void from(struct linter *l, const struct df_instr *in, char **stage)
{
	bool named = in->n_args == 3 && strcasecmp(in->args[1], "as") == 0;

	end_stage(l);
	free(*stage);
	l->stage = *stage = named ? lower(in->args[2]) : NULL;
	l->cmd = l->entrypoint = l->healthcheck = NULL;
	_cleanup_free_ char *base = in->n_args ? lower(in->args[0]) : NULL;
	l->has_shell = base && map_get(&l->stages, base) == &yes;

	if (in->n_args == 3 && has_upper(in->args[2]))
		df_warn(l->w, "StageNameCasing", in->line, in->end_line,
		        "Stage name '%s' should be lowercase", in->args[2]);
	/* Mixed case in FROM itself is the matter of another rule. */
	bool mixed = has_upper(in->name_raw) && has_lower(in->name_raw);
	if (in->n_args >= 3 && !mixed &&
	        (has_upper(in->name_raw) ? has_lower(in->args[1]) : has_upper(in->args[1])))
		df_warn(l->w, "FromAsCasing", in->line, in->end_line,
		        "'%s' and '%s' keywords' casing do not match", in->args[1], in->name_raw);
	stage_description(l, in);
	if (l->stage)
		stage_name(l, in, l->stage);
	platform_flag(l, in);
}

/* ---- other instructions ---- */

/* only_last_counts - the place is that of the earlier one, which has no effect. */
static void only_last_counts(
        struct linter *l, const struct df_instr **last, const struct df_instr *in)
{
	if (*last)
		df_warn(l->w, "MultipleInstructionsDisallowed", (*last)->line, (*last)->end_line,
		        "Multiple %s instructions should not be used in the same stage because "
		        "only the last one will be used",
		        in->name_raw);
	*last = in;
}

static void exec_form(struct linter *l, const struct df_instr *in)
{
	if (!in->json && in->n_args && !l->has_shell)
		df_warn(l->w, "JSONArgsRecommended", in->line, in->end_line,
		        "JSON arguments recommended for %s to prevent unintended behavior "
		        "related to OS signals",
		        in->name_raw);
}

static bool is_part(const char *p, size_t n, const char *const *words, size_t n_words)
{
	for (size_t i = 0; i < n_words; i++)
		if (strlen(words[i]) == n && strncasecmp(words[i], p, n) == 0)
			return true;
	return false;
}

bool df_sensitive_name(const char *name)
{
	static const char *const words[] = {"apikey", "auth", "credential", "credentials", "key",
	        "password", "pword", "passwd", "secret", "token"};
	static const char *const harmless[] = {"public", "file", "version"};
	bool hit = false;
	for (const char *p = name;; p++) {
		size_t n = strcspn(p, "_");
		if (is_part(p, n, harmless, ARRAY_SIZE(harmless)))
			return false;
		hit |= is_part(p, n, words, ARRAY_SIZE(words));
		p += n;
		if (!*p)
			return hit;
	}
}

static void secret(struct linter *l, const struct df_instr *in, const char *what, const char *name)
{
	_cleanup_strbuf_ struct strbuf q = STRBUF_INIT;
	if (df_sensitive_name(name))
		df_warn(l->w, "SecretsUsedInArgOrEnv", in->line, in->end_line,
		        "Do not use ARG or ENV instructions for sensitive data (%s %s)", what,
		        quoted(&q, name));
}

static void arg(struct linter *l, const struct df_instr *in, bool in_stage)
{
	arg_description(l, in);
	for (size_t i = 0; in_stage && i < in->n_args; i++) {
		_cleanup_free_ char *key = xstrndup(in->args[i], strcspn(in->args[i], "="));
		secret(l, in, "ARG", key);
	}
}

static void pairs(struct linter *l, const struct df_instr *in)
{
	for (size_t i = 0; i + 2 < in->n_args; i += 3) {
		if (!*in->args[i + 2])
			df_warn(l->w, "LegacyKeyValueFormat", in->line, in->end_line,
			        "\"%s key=value\" should be used instead of legacy \"%s key "
			        "value\" format",
			        in->name_raw, in->name_raw);
		if (in->kind == DF_ENV)
			secret(l, in, "ENV", in->args[i]);
	}
}

static void expose_port(struct linter *l, const struct df_instr *in, const char *port)
{
	/* [ip:]host:container/proto, "[::1]:80:80" included: the last colon decides */
	const char *colon = strrchr(port, ':'), *container = colon ? colon + 1 : port;
	const char *slash = strchr(container, '/');

	if (slash && has_upper(slash + 1))
		df_warn(l->w, "ExposeProtoCasing", in->line, in->end_line,
		        "Defined protocol '%s' in EXPOSE instruction should be lowercase", port);
	if (colon && strspn(port, ":") < (size_t)(colon - port))
		df_warn(l->w, "ExposeInvalidFormat", in->line, in->end_line,
		        "EXPOSE instruction should not define an IP address or host-port "
		        "mapping, found '%s'",
		        port);
}

static void expose(struct linter *l, const struct df_instr *in)
{
	struct strv none = STRV_INIT;
	struct df_vars vars = df_env_vars(&none);

	for (size_t i = 0; i < in->n_args; i++) {
		_cleanup_strv_ struct strv ports = STRV_INIT, unset = STRV_INIT;
		_cleanup_error_ struct error ignored = ERROR_INIT;
		if (df_expand_words(
		            in->args[i], l->f->escape, &vars, &ports, &unset, NULL, &ignored) < 0 ||
		        unset.n)
			continue;
		strv_foreach (port, &ports)
			expose_port(l, in, port);
	}
}

static void instruction(struct linter *l, const struct df_instr *in)
{
	switch (in->kind) {
	case DF_CMD:
		only_last_counts(l, &l->cmd, in);
		exec_form(l, in);
		break;
	case DF_ENTRYPOINT:
		only_last_counts(l, &l->entrypoint, in);
		exec_form(l, in);
		break;
	case DF_HEALTHCHECK:
		only_last_counts(l, &l->healthcheck, in);
		break;
	case DF_SHELL:
		l->has_shell = true;
		break;
	case DF_ENV:
	case DF_LABEL:
		pairs(l, in);
		break;
	case DF_EXPOSE:
		expose(l, in);
		break;
	default:
		break;
	}
}

void df_lint(const struct df_file *f, struct df_warnings *w)
{
	struct linter l = {.f = f, .w = w, .stages = MAP_INIT(NULL)};
	char *stage = NULL;
	bool in_stage = false;

	for (size_t i = 0; i < f->n_instrs; i++) {
		const struct df_instr *in = f->instrs[i];
		if (in->empty_continuation)
			df_warn(w, "NoEmptyContinuation", in->text_end_line, in->text_end_line,
			        "Empty continuation line");
		if (in->kind == DF_FROM) {
			in_stage = true;
			from(&l, in, &stage);
		} else if (in->kind == DF_ARG) {
			arg(&l, in, in_stage);
		} else if (in->kind == DF_MAINTAINER) {
			df_warn(w, "MaintainerDeprecated", in->line, in->end_line,
			        "Maintainer instruction is deprecated in favor of using label");
		} else {
			instruction(&l, in);
		}
	}
	casing(&l);
	free(stage);
	map_release(&l.stages);
}
