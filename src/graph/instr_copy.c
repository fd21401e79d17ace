/* graph/instr_copy.c - COPY and ADD: where the sources come from and where they go. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#include "base/strbuf.h"
#include "graph/plan.h"

/* heredoc_of - the heredoc that a source word names; NULL: a path. */
static const struct df_heredoc *heredoc_of(struct plan *p, const struct df_instr *in, const char *w)
{
	struct df_heredoc word;
	if (in->json || !in->n_heredocs || !df_heredoc_word(p->a, w, &word))
		return NULL;
	for (size_t i = in->n_heredocs; i-- > 0;)
		if (str_eq(in->heredocs[i].name, word.name))
			return &in->heredocs[i];
	return NULL;
}

/* valid_symbolic - chmod(1) clauses: [ugoa]*([-+=]([rwxXst]*|[ugo]))+, comma-separated. */
static bool valid_symbolic(const char *s)
{
	for (;;) {
		s += strspn(s, "ugoa");
		if (!*s || !strchr("+-=", *s))
			return false;
		while (*s && strchr("+-=", *s)) {
			s++;
			if (*s && strchr("ugo", *s))
				s++;
			else
				s += strspn(s, "rwxXst");
		}
		if (!*s)
			return true;
		if (*s++ != ',')
			return false;
	}
}

static int check_chmod(struct plan *p, const struct cmd *c, const char *mode, struct error *err)
{
	bool digits = mode[strspn(mode, "0123456789")] == '\0';
	if (digits && !mode[strspn(mode, "01234567")]) {
		errno = 0;
		if (strtoul(mode, NULL, 8) <= 07777 && errno == 0)
			return 0;
	}
	if (!digits && valid_symbolic(mode))
		return 0;
	err_set(err, ERR_SYNTAX,
	        "invalid chmod parameter: '%s'. it should be octal string and between 0 and 07777",
	        mode);
	if (!digits)
		err_hint(err, "symbolic modes look like u=rwX,go=rX");
	return cmd_place(p, c, err);
}

/* --- remote sources -------------------------------------------------------------------------- */

static void remote_node(
        struct stage *s, const struct cmd *c, struct graph_node *n, const char *shown)
{
	n->no_cache = s->no_cache;
	n->shown = shown;
	n->line = c->line;
	n->end_line = c->end_line;
}

static int git_source(struct plan *p, struct stage *s, const struct cmd *c, struct git_ref *git,
        const char *shown, struct graph_copy *copy, uint32_t *ret, struct error *err)
{
	int keep = flag_tristate(c->in, "keep-git-dir");
	if (keep >= 0 && git->keep_git_dir >= 0 && keep != git->keep_git_dir)
		return instr_fail(p, c, err,
		        "inconsistent keep-git-dir configuration: "
		        "--keep-git-dir=%s, but the source says %s",
		        keep ? "true" : "false", git->keep_git_dir ? "true" : "false");
	if (copy->checksum && git->checksum && !str_eq(copy->checksum, git->checksum))
		return instr_fail(p, c, err, "checksum mismatch \"%s\" != \"%s\"", copy->checksum,
		        git->checksum);
	if (copy->checksum) {
		size_t len = strlen(copy->checksum);
		if (len < 7 || len > 64 ||
		        copy->checksum[strspn(copy->checksum, "0123456789abcdefABCDEF")])
			return instr_fail(p, c, err,
			        "invalid checksum \"%s\" of a git source: expected a commit hash",
			        copy->checksum);
	}
	struct graph_node *n = node_new(p, GRAPH_GIT);
	const char *sum = git->checksum ? arena_strdup(p->a, git->checksum) : copy->checksum;
	n->git = (struct graph_git){.url = arena_strdup(p->a, git->url),
	        .ref = git->ref ? arena_strdup(p->a, git->ref) : NULL,
	        .subdir = git->subdir ? arena_strdup(p->a, git->subdir) : NULL,
	        .checksum = sum,
	        .keep_git_dir = git->keep_git_dir >= 0 ? git->keep_git_dir == 1 : keep == 1,
	        .submodules = git->submodules != 0};
	copy->keep_git_dir = n->git.keep_git_dir;
	remote_node(s, c, n, shown);
	*ret = node_add(p, n);
	return 0;
}

static int http_source(struct plan *p, struct stage *s, const struct cmd *c, const char *url,
        const char *shown, const struct graph_copy *copy, uint32_t *ret, struct error *err)
{
	struct digest d;
	if (copy->checksum && !digest_parse(copy->checksum, &d)) {
		instr_fail(p, c, err, "invalid checksum \"%s\"", copy->checksum);
		return err_hint(err, "write --checksum=sha256: and 64 hexadecimal digits");
	}
	struct graph_node *n = node_new(p, GRAPH_HTTP);
	n->http = (struct graph_http){.url = url,
	        .checksum = copy->checksum,
	        .filename = arena_take(p->a, url_filename(url))};
	remote_node(s, c, n, shown);
	*ret = node_add(p, n);
	return 0;
}

/* --- sources --------------------------------------------------------------------------------- */

struct copy_work {
	uint32_t local; /* the node that plain paths are read from, once known */
	bool local_known;
	size_t n_paths;
	const char *shown;
};

/* local_source - the context, or what --from names. */
static int local_source(struct plan *p, struct stage *s, const struct cmd *c,
        struct graph_copy *copy, struct copy_work *w, struct error *err)
{
	if (w->local_known)
		return 0;
	w->local_known = true;
	if (!c->n_src) {
		w->local = main_context(p);
		return 0;
	}
	struct stage *src = c->src[0];
	if (!src->dispatched) {
		const char *from = flag_value(c->in, "from");
		err_set(err, ERR_SYNTAX,
		        "cannot copy from stage \"%s\", it needs to be defined before current "
		        "stage "
		        "\"%s\"",
		        from, s->label);
		err_hint(err, "move the stage %s above this one", src->label);
		return cmd_place(p, c, err);
	}
	return stage_source(p, src, &w->local, &copy->from_stage, err);
}

static int path_source(struct plan *p, struct stage *s, const struct cmd *c, const char *word,
        struct graph_node *n, struct graph_copy *copy, struct copy_work *w, struct error *err)
{
	struct git_ref git = {0};
	struct graph_copy_source src = {.kind = GRAPH_SRC_INPUT, .pattern = word};
	const char *name = df_kind_name(c->in->kind);
	int is_git = git_ref_parse(word, &git, err);
	int r = 0;
	if (is_git < 0) {
		r = cmd_place(p, c, err);
	} else if (is_git || is_http_url(word)) {
		src.pattern = "";
		if (!copy->is_add) {
			r = instr_fail(p, c, err, "source can't be a %s for %s",
			        is_git ? "git ref" : "URL", name);
			err_hint(err, "ADD takes such sources");
		} else if (is_git) {
			r = git_source(p, s, c, &git, w->shown, copy, &src.input, err);
		} else {
			r = http_source(p, s, c, word, w->shown, copy, &src.input, err);
		}
	} else if (copy->checksum) {
		r = instr_fail(p, c, err, "checksum requires HTTP(S) or Git sources");
	} else {
		r = local_source(p, s, c, copy, w, err);
		src.input = w->local;
	}
	git_ref_release(&git);
	if (r < 0)
		return -1;
	node_input(p, n, src.input);
	copy->sources[copy->n_sources++] = src;
	return 0;
}

static int inline_source(struct plan *p, struct stage *s, const struct cmd *c,
        const struct df_heredoc *h, struct graph_copy *copy, struct error *err)
{
	struct graph_copy_source src = {.kind = GRAPH_SRC_INLINE,
	        .input = GRAPH_NONE,
	        .pattern = "",
	        .name = h->name,
	        .data = h->content,
	        .data_len = h->content_len};
	if (strchr(h->name, '/') || str_eq(h->name, ".") || str_eq(h->name, ".."))
		return instr_fail(
		        p, c, err, "the heredoc name \"%s\" cannot be a file name", h->name);
	if (h->expand) {
		struct df_vars vars = plan_vars(p, &s->env);
		_cleanup_free_ char *out = NULL;
		if (df_expand_raw(
		            h->content, h->content_len, '\\', &vars, &out, &src.data_len, err) < 0)
			return cmd_place(p, c, err);
		src.data = arena_memdup(p->a, out, src.data_len + 1);
	}
	copy->sources[copy->n_sources++] = src;
	return 0;
}

/* all_sources - paths first, then heredocs, as the history text lists them. */
static int all_sources(struct plan *p, struct stage *s, const struct cmd *c, struct graph_node *n,
        struct copy_work *w, struct strbuf *history, struct error *err)
{
	struct graph_copy *copy = &n->copy;
	size_t n_words = c->in->n_args - 1;
	copy->sources = arena_new(p->a, struct graph_copy_source, n_words);
	for (size_t i = 0; i < n_words; i++) {
		const char *word;
		if (heredoc_of(p, c->in, c->in->args[i]))
			continue;
		if (expand(p, s, c, c->in->args[i], &word, err) < 0)
			return -1;
		strbuf_addf(history, " %s", redact_urls(p->a, word));
		if (path_source(p, s, c, word, n, copy, w, err) < 0)
			return -1;
	}
	w->n_paths = copy->n_sources;
	for (size_t i = 0; i < n_words; i++) {
		const struct df_heredoc *h = heredoc_of(p, c->in, c->in->args[i]);
		if (!h)
			continue;
		strbuf_addf(history, " <<%s", h->name);
		if (inline_source(p, s, c, h, copy, err) < 0)
			return -1;
	}
	return 0;
}

/* --- the instruction ------------------------------------------------------------------------- */

static int expand_flag(struct plan *p, struct stage *s, const struct cmd *c, const char *name,
        const char **ret, struct error *err)
{
	const char *v = flag_value(c->in, name);
	*ret = NULL;
	if (v && expand(p, s, c, v, ret, err) < 0)
		return -1;
	if (*ret && !**ret)
		*ret = NULL;
	return 0;
}

static int copy_flags(struct plan *p, struct stage *s, const struct cmd *c, struct graph_copy *copy,
        struct error *err)
{
	struct svec excludes = {0};
	copy->is_add = c->in->kind == DF_ADD;
	copy->link = flag_bool(c->in, "link");
	copy->parents = flag_bool(c->in, "parents");
	copy->unpack = flag_tristate(c->in, "unpack");
	if (expand_flag(p, s, c, "chown", &copy->chown, err) < 0 ||
	        expand_flag(p, s, c, "chmod", &copy->chmod, err) < 0 ||
	        expand_flag(p, s, c, "checksum", &copy->checksum, err) < 0)
		return -1;
	/* Patterns are taken as they stand: '$' and '\\' mean something to them. */
	for (size_t i = 0; i < c->in->n_flags; i++)
		if (str_eq(c->in->flags[i].name, "exclude"))
			svec_push(p->a, &excludes, c->in->flags[i].value);
	svec_to_strv(&excludes, p->a, &copy->excludes);
	return copy->chmod ? check_chmod(p, c, copy->chmod, err) : 0;
}

static size_t count_paths(struct plan *p, const struct df_instr *in)
{
	size_t n = 0;
	for (size_t i = 0; i + 1 < in->n_args; i++)
		n += !heredoc_of(p, in, in->args[i]);
	return n;
}

int do_copy(struct plan *p, struct stage *s, const struct cmd *c, struct error *err)
{
	_cleanup_strbuf_ struct strbuf history = STRBUF_INIT;
	struct graph_node *n = node_new(p, GRAPH_COPY);
	struct graph_copy *copy = &n->copy;
	const char *dest;
	if (copy_flags(p, s, c, copy, err) < 0 ||
	        expand(p, s, c, c->in->args[c->in->n_args - 1], &dest, err) < 0)
		return -1;
	if (copy->checksum && count_paths(p, c->in) != 1)
		return instr_fail(p, c, err, "checksum can't be specified for multiple sources");
	copy->dest = path_dest(p->a, str_or_empty(s->img.workdir), dest);

	strbuf_addstr(&history, df_kind_name(c->in->kind));
	if (copy->parents)
		strbuf_addstr(&history, " --parents");
	if (copy->chown)
		strbuf_addf(&history, " --chown=%s", copy->chown);
	if (copy->chmod)
		strbuf_addf(&history, " --chmod=%s", copy->chmod);

	const char *shown = redact_urls(p->a, shown_text(p, s, c->in, NULL, false, NULL));
	struct copy_work w = {.shown = shown_name(p, s, &s->platform, &s->env, shown)};
	node_input(p, n, s->node);
	if (all_sources(p, s, c, n, &w, &history, err) < 0)
		return -1;
	strbuf_addf(&history, " %s # buildkit", dest);
	copy->time = p->o->epoch;

	n->platform = s->platform;
	n->no_cache = s->no_cache;
	n->stage = s->name ? s->name : arena_printf(p->a, "%zu", s->index);
	n->shown = w.shown;
	n->created_by = arena_strdup(p->a, history.buf);
	n->line = c->line;
	n->end_line = c->end_line;
	s->node = node_add(p, n);
	img_add_history(p, s, n->created_by, false, s->node);
	return 0;
}
