/* build/context.c - the Dockerfile, its ignore file, and the local directories of the build. */
#include "build/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "sys/path.h"

#define DOCKERFILE_MAX ((size_t)16 << 20)
#define IGNORE_MAX ((size_t)4 << 20)

static int read_plain(const char *path, size_t max, char **ret, size_t *ret_n)
{
	/* trusted-path: -f, or the ignore file beside it */
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	struct stat st;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	return sys_read_fd(fd, max, ret, ret_n);
}

static int read_stdin(char **ret, size_t *ret_n, struct error *err)
{
	int r = sys_read_fd(STDIN_FILENO, DOCKERFILE_MAX, ret, ret_n);
	return r < 0 ? err_sys(err, r, "reading the Dockerfile from standard input") : 0;
}

/* Where a definition file is: `shown` is what the user would call it. Inside the context (dir set)
 * it is untrusted: links are followed within that directory only. */
struct place {
	char *shown;
	const char *dir, *rel;
};

static int read_place(const struct place *p, size_t max, char **ret, size_t *ret_n)
{
	if (!p->dir)
		return read_plain(p->shown, max, ret, ret_n);
	_cleanup_close_ int fd = sys_open_dir(AT_FDCWD, p->dir);
	return fd < 0 ? fd : sys_read_file_in_root(fd, p->rel, max, ret, ret_n);
}

static char *inside(const char *dir, const char *rel)
{
	return str_eq(dir, ".") ? xstrdup(rel) : xasprintf("%s/%s", dir, rel);
}

/* find_dockerfile - -f is relative to the current directory, and if it is not there, to the context
 * (as people coming from buildah expect). */
static int find_dockerfile(
        const struct build_options *o, const char *dir, struct place *ret, struct error *err)
{
	struct stat st;
	if (o->dockerfile) {
		bool here = stat(o->dockerfile, &st) == 0; /* trusted-path: -f */
		bool in_context = !here && dir && o->dockerfile[0] != '/';
		*ret = (struct place){
		        .shown = in_context ? inside(dir, o->dockerfile) : xstrdup(o->dockerfile),
		        .dir = in_context ? dir : NULL,
		        .rel = o->dockerfile};
		return 0;
	}
	if (!dir)
		return err_set(
		        err, ERR_USAGE, "no Dockerfile: the context is not a directory, use -f");
	static const char *const names[] = {"Dockerfile", "dockerfile", "Containerfile"};
	_cleanup_close_ int fd = sys_open_dir(AT_FDCWD, dir);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (fd >= 0 && fstatat(fd, names[i], &st, AT_SYMLINK_NOFOLLOW) == 0) {
			*ret = (struct place){inside(dir, names[i]), dir, names[i]};
			return 0;
		}
	(void)err_set(err, ERR_USAGE, "no Dockerfile in %s", dir);
	return err_hint(err, "name it with -f FILE, or give the directory that holds it");
}

static int load_text(const struct build_options *o, const char *dir, char **ret_name, char **ret,
        size_t *ret_n, struct error *err)
{
	if (o->dockerfile && str_eq(o->dockerfile, "-")) {
		*ret_name = xstrdup("Dockerfile");
		return read_stdin(ret, ret_n, err);
	}
	struct place p;
	if (find_dockerfile(o, dir, &p, err) < 0)
		return -1;
	_cleanup_free_ char *path = p.shown;
	int r = read_place(&p, DOCKERFILE_MAX, ret, ret_n);
	if (r == -ENOENT) {
		(void)err_set(err, ERR_USAGE, "no such Dockerfile: %s", path);
		return err_hint(err, "check the path given with -f");
	}
	if (r == -EISDIR || r == -EINVAL)
		return err_set(err, ERR_USAGE, "%s is not a file", path);
	if (r == -EFBIG)
		return err_set(
		        err, ERR_SYNTAX, "%s is larger than %zu MiB", path, DOCKERFILE_MAX >> 20);
	if (r < 0)
		return err_sys(err, r, "reading %s", path);
	*ret_name = take_ptr(path);
	return 0;
}

/* parse_definition - BUILDKIT_SYNTAX beats a syntax line; the caller has checked it. When the text
 * is not a Dockerfile, *ret is its lines alone, for the excerpt below the error. */
static int parse_definition(const struct build_options *o, struct arena *a, const char *text,
        size_t n, const char *name, struct df_file **ret, struct error *err)
{
	const char *syntax = env_get(&o->build_args, "BUILDKIT_SYNTAX");
	int line = 0, rc = 0;
	name = arena_strdup(a, name);
	if (!syntax || !*syntax) {
		const char *frontend = df_detect_frontend(a, text, n, &line);
		rc = df_check_frontend(frontend, name, line, err);
	}
	if (rc >= 0)
		rc = df_parse(a, text, n, name, ret, err);
	if (rc < 0)
		*ret = df_lines(a, text, n, name);
	return rc;
}

int build_read_definition(
        const struct build_options *o, struct arena *a, struct df_file **ret, struct error *err)
{
	const char *dir = o->context && !str_eq(o->context, "-") ? o->context : NULL;
	_cleanup_free_ char *name = NULL, *text = NULL;
	size_t n = 0;
	if (o->context && str_eq(o->context, "-") && !o->dockerfile) {
		name = xstrdup("Dockerfile");
		if (read_stdin(&text, &n, err) < 0)
			return -1;
	} else if (load_text(o, dir, &name, &text, &n, err) < 0) {
		return -1;
	}
	return parse_definition(o, a, text, n, name, ret, err);
}

static int check_context_dir(const char *path, struct error *err)
{
	struct stat st;
	if (stat(path, &st) < 0) { /* trusted-path: the command line's context */
		(void)err_sys(err, errno, "build context %s", path);
		err->class = ERR_USAGE;
		return err_hint(
		        err, "the last argument names the directory with the files to copy");
	}
	if (!S_ISDIR(st.st_mode))
		return err_set(err, ERR_USAGE, "build context %s is not a directory", path);
	if (access(path, R_OK | X_OK) < 0) { /* trusted-path: for a better message only */
		(void)err_sys(err, errno, "build context %s", path);
		return err_hint(err, "you need read and search permission on the directory");
	}
	return 0;
}

/* read_ignore - *ret stays NULL where there is no such file. */
static int read_ignore(const struct place *p, struct df_ignore **ret, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t n;
	int r = read_place(p, IGNORE_MAX, &text, &n);
	if (r == -ENOENT || r == -ENOTDIR)
		return 0;
	if (r < 0)
		return err_sys(err, r, "reading %s", p->shown);
	return df_ignore_parse(text, n, p->shown, ret, err);
}

/* read_context_ignore - docker's name for it first: with both there, that is what docker reads. */
static int read_context_ignore(const char *dir, struct df_ignore **ret, struct error *err)
{
	static const char *const names[] = {".dockerignore", ".containerignore"};
	for (size_t i = 0; i < ARRAY_SIZE(names) && !*ret; i++) {
		_cleanup_free_ char *shown = inside(dir, names[i]);
		struct place p = {shown, dir, names[i]};
		if (read_ignore(&p, ret, err) < 0)
			return -1;
	}
	return 0;
}

static int read_named_ignore(const char *path, struct df_ignore **ret, struct error *err)
{
	struct place p = {(char *)path, NULL, NULL};
	if (read_ignore(&p, ret, err) < 0)
		return -1;
	return *ret ? 0 : err_set(err, ERR_USAGE, "--ignorefile %s: no such file", path);
}

int build_read_ignore(const struct build_options *o, const struct df_file *f,
        struct df_ignore **ret, struct error *err)
{
	*ret = NULL;
	if (o->ignorefile)
		return read_named_ignore(o->ignorefile, ret, err);
	/* The one beside the Dockerfile wins over the context's (SEMANTICS 47). */
	if (!o->dockerfile || !str_eq(o->dockerfile, "-")) {
		struct place p;
		if (find_dockerfile(o, o->context, &p, err) < 0)
			return -1;
		_cleanup_free_ char *file = p.shown;
		_cleanup_free_ char *beside = xasprintf("%s.dockerignore", file);
		_cleanup_free_ char *rel = p.dir ? xasprintf("%s.dockerignore", p.rel) : NULL;
		p.shown = beside;
		p.rel = rel;
		if (read_ignore(&p, ret, err) < 0)
			return -1;
		if (*ret)
			return 0;
	}
	return read_context_ignore(o->context, ret, err);
}

int build_load_definition(struct build *b, struct error *err)
{
	const struct build_options *o = b->o;
	bool remote = build_context_is_remote(o->context);
	if (!remote) {
		if (check_context_dir(o->context, err) < 0)
			return -1;
		b->context_dir = xstrdup(o->context);
	}
	ui_step_start(b->ui, UI_DEFINITION, "[internal] load build definition from Dockerfile");
	if (remote) {
		_cleanup_free_ char *name = NULL, *text = NULL;
		size_t n;
		if (build_remote_context(b, &name, &text, &n, err) < 0 ||
		        parse_definition(o, &b->arena, text, n, name, &b->file, err) < 0)
			return -1;
	} else if (build_read_definition(o, &b->arena, &b->file, err) < 0) {
		return -1;
	}
	ui_step_note(b->ui, UI_DEFINITION, "transferring dockerfile: %zuB done", b->file->text_len);
	ui_step_done(b->ui, UI_DEFINITION);
	if (remote)
		return 0;
	ui_step_start(b->ui, UI_IGNORE, "[internal] load .dockerignore");
	if (build_read_ignore(o, b->file, &b->ignore, err) < 0) {
		ui_step_error(b->ui, UI_IGNORE, err->msg);
		return -1;
	}
	ui_step_done(b->ui, UI_IGNORE);
	return 0;
}

int build_context_get(
        struct build *b, const struct graph_local *l, struct build_context **ret, struct error *err)
{
	int rc = 0;
	pthread_mutex_lock(&b->lock);
	struct build_context *c = b->contexts;
	while (c && !str_eq(c->name, l->name))
		c = c->next;
	if (!c) {
		bool is_main = l->path == NULL;
		const char *path = is_main ? b->context_dir : l->path;
		if (!path) {
			rc = err_set(err, ERR_BUILD, "there is no build context to copy from");
			(void)err_hint(err, "the Dockerfile came from standard input alone; give a "
			                    "directory: strake build -f - DIR");
			goto out;
		}
		if (check_context_dir(path, err) < 0) {
			rc = err_wrap(err, "--build-context %s", l->name);
			goto out;
		}
		c = new0(struct build_context, 1);
		c->name = l->name;
		c->path = path;
		if (is_main) {
			c->ignore = b->ignore;
			b->ignore = NULL;
		} else {
			rc = read_context_ignore(path, &c->ignore, err);
		}
		struct source_context_options so = {.name = l->name,
		        .ignore = c->ignore,
		        .cache_dirfd = store_cache_dirfd(b->store)};
		if (rc >= 0)
			rc = source_context_open(path, &so, &c->ctx, err);
		if (rc < 0) {
			df_ignore_free(c->ignore);
			free(c);
			goto out;
		}
		c->next = b->contexts;
		b->contexts = c;
	}
	*ret = c;
out:
	pthread_mutex_unlock(&b->lock);
	return rc < 0 ? -1 : 0;
}

void build_contexts_free(struct build *b)
{
	for (struct build_context *c = b->contexts, *next; c; c = next) {
		next = c->next;
		source_context_free(c->ctx);
		df_ignore_free(c->ignore);
		free(c);
	}
	b->contexts = NULL;
}
