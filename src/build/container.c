/* build/container.c - see container.h. The upper layer lives in a lease: it is gone when the
 * command ends, however it ends. */
#include "build/container.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "build/internal.h"
#include "layer/layer.h"
#include "sys/path.h"

struct container {
	struct build b;
	const struct container_options *o;
	struct build_options bo;
	struct build_image *im;
	struct strv argv, env;
	char *cwd, *user;
	struct sandbox_mount *mounts;
	int *fds;
	size_t n_mounts;
};

static void container_release(struct container *c)
{
	for (size_t i = 0; i < c->n_mounts; i++)
		close_ptr(&c->fds[i]);
	free(c->fds);
	free(c->mounts);
	strv_release(&c->argv);
	strv_release(&c->env);
	free(c->cwd);
	free(c->user);
	sandbox_context_free(c->b.sandbox);
	registry_client_free(c->b.registry);
	pool_free(c->b.pool);
	for (size_t i = 0; i < c->b.n_images; i++)
		build_image_free(c->b.images[i]);
	free(c->b.images);
	store_lease_free(c->b.lease);
	ui_free(c->b.ui);
	arena_release(&c->b.arena);
	pthread_mutex_destroy(&c->b.lock);
}

/* find_image - by id in the store, else by name: in the store or from its registry. */
static int find_image(struct container *c, struct error *err)
{
	struct oci_platform p;
	oci_platform_host(&p);
	if (c->o->platform && oci_platform_parse(c->o->platform, &p, err) < 0)
		return -1;
	struct store_image si = {0};
	int rc = store_image_find(c->b.store, c->o->image, &p, &si, err);
	if (rc > 0) {
		struct build_image *im = new0(struct build_image, 1);
		im->asked = xstrdup(c->o->image);
		im->platform = p;
		im->digest = si.manifest_digest ? xstrdup(si.manifest_digest) : NULL;
		pthread_mutex_init(&im->lock, NULL);
		oci_image_init(&im->config);
		vec_grow(&c->b.images, &c->b.cap_images, 1);
		c->b.images[c->b.n_images++] = im;
		rc = store_image_config(c->b.store, &si.id, &im->config, err);
		struct error ignored = ERROR_INIT;
		if (si.name && si.name[0] && oci_ref_parse(si.name, &im->ref, &ignored) < 0)
			error_release(&ignored);
	} else if (rc == 0) {
		struct oci_ref ref = {0};
		rc = oci_ref_parse(c->o->image, &ref, err);
		if (rc >= 0) {
			struct graph_needed need = {.ref = oci_ref_string(&ref), .platform = p};
			rc = build_resolve_image(&c->b, &need, err);
			free(need.ref);
		}
		oci_ref_release(&ref);
	}
	store_image_release(&si);
	if (rc >= 0)
		c->im = c->b.images[0];
	return rc < 0 ? -1 : 0;
}

static int make_command(struct container *c, struct error *err)
{
	const struct oci_image *im = &c->im->config;
	const struct container_options *o = c->o;
	if (!o->entrypoint)
		strv_copy(&c->argv, &im->entrypoint);
	else if (*o->entrypoint)
		strv_add(&c->argv, o->entrypoint);
	/* An entry point given here drops the image's CMD, as docker does. */
	const struct strv *rest = o->command.n ? &o->command : o->entrypoint ? NULL : &im->cmd;
	for (size_t i = 0; rest && i < rest->n; i++)
		strv_add(&c->argv, rest->v[i]);
	if (c->argv.n == 0) {
		(void)err_set(err, ERR_USAGE, "%s: the image has no command", o->image);
		return err_hint(err, "give one: strake run %s COMMAND", o->image);
	}
	strv_copy(&c->env, &im->env);
	for (size_t i = 0; i < o->env.n; i++) {
		const char *eq = strchr(o->env.v[i], '=');
		_cleanup_free_ char *key = eq ? xstrndup(o->env.v[i], (size_t)(eq - o->env.v[i]))
		                              : xstrdup(o->env.v[i]);
		const char *v = eq ? eq + 1 : getenv(key);
		if (v)
			env_set(&c->env, key, v);
	}
	if (o->tty && !env_get(&c->env, "TERM"))
		env_set(&c->env, "TERM", getenv("TERM") ? getenv("TERM") : "xterm");
	c->cwd = xstrdup(o->workdir ? o->workdir : str_or_empty(im->working_dir));
	c->user = xstrdup(o->user ? o->user : str_or_empty(im->user));
	return 0;
}

static int make_volumes(struct container *c, struct error *err)
{
	const struct strv *v = &c->o->volumes;
	c->mounts = new0(struct sandbox_mount, v->n);
	c->fds = new0(int, v->n);
	for (size_t i = 0; i < v->n; i++) {
		struct strv parts = STRV_INIT;
		strv_split(&parts, v->v[i], ":");
		int rc = 0;
		bool ro = parts.n == 3 && str_eq(parts.v[2], "ro");
		if (parts.n < 2 || parts.n > 3 || parts.v[1][0] != '/' ||
		        (parts.n == 3 && !ro && !str_eq(parts.v[2], "rw")))
			rc = err_set(
			        err, ERR_USAGE, "-v %s: SOURCE:/TARGET[:ro] is expected", v->v[i]);
		/* trusted-path: -v of the command line */
		int fd = rc < 0 ? -1 : open(parts.v[0], O_PATH | O_CLOEXEC);
		if (rc >= 0 && fd < 0) {
			rc = err_sys(err, errno, "-v %s", v->v[i]);
		} else if (rc >= 0) {
			pthread_mutex_lock(&c->b.lock);
			const char *target = arena_strdup(&c->b.arena, parts.v[1]);
			pthread_mutex_unlock(&c->b.lock);
			c->fds[c->n_mounts] = fd;
			c->mounts[c->n_mounts++] =
			        (struct sandbox_mount){.type = SANDBOX_MOUNT_BIND,
			                .target = target,
			                .source_fd = fd,
			                .read_only = ro};
		}
		strv_release(&parts);
		if (rc < 0)
			return -1;
	}
	return 0;
}

/* --- terminal -------------------------------------------------------------------------------- */

struct tty {
	int master, slave;
	struct termios saved;
	bool raw;
};

static int tty_open(struct tty *t, struct error *err)
{
	*t = (struct tty){.master = -1, .slave = -1};
	t->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (t->master < 0 || grantpt(t->master) < 0 || unlockpt(t->master) < 0)
		return err_sys(err, errno, "opening a terminal");
	t->slave = ioctl(t->master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (t->slave < 0)
		return err_sys(err, errno, "opening a terminal");
	struct winsize ws;
	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &ws) == 0)
		(void)ioctl(t->master, TIOCSWINSZ, &ws);
	if (tcgetattr(STDIN_FILENO, &t->saved) == 0) {
		struct termios raw = t->saved;
		cfmakeraw(&raw);
		t->raw = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
	}
	return 0;
}

static void tty_close(struct tty *t)
{
	if (t->raw)
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &t->saved);
	close_ptr(&t->master);
	close_ptr(&t->slave);
}

static bool copy_some(int from, int to)
{
	char buf[16 << 10];
	ssize_t n = read(from, buf, sizeof(buf));
	return n > 0 && sys_write_all(to, buf, (size_t)n) >= 0;
}

static void drain(int fd)
{
	struct pollfd p = {fd, POLLIN, 0};
	while (poll(&p, 1, 0) > 0 && (p.revents & POLLIN) && copy_some(fd, STDOUT_FILENO))
		;
}

/* attend - until the process ends: pass on signals, and with a terminal its bytes and size. */
static void attend(struct container *c, struct sandbox_process *proc, struct tty *t)
{
	bool signalled = false;
	struct pollfd p[3] = {{proc->pidfd, POLLIN, 0}, {t ? t->master : -1, POLLIN, 0},
	        {t && c->o->interactive ? STDIN_FILENO : -1, POLLIN, 0}};
	struct winsize last = {0};
	for (;;) {
		int r = poll(p, 3, 200);
		if (r < 0 && errno != EINTR)
			return;
		if (c->o->interrupted && *c->o->interrupted && !signalled) {
			signalled = true;
			sandbox_kill(proc, c->o->signal && *c->o->signal ? *c->o->signal : SIGTERM);
		}
		struct winsize ws;
		if (t && ioctl(STDIN_FILENO, TIOCGWINSZ, &ws) == 0 &&
		        memcmp(&ws, &last, sizeof(ws)) != 0) {
			last = ws;
			(void)ioctl(t->master, TIOCSWINSZ, &ws);
		}
		if (r <= 0)
			continue;
		if ((p[1].revents & (POLLIN | POLLHUP)) && !copy_some(t->master, STDOUT_FILENO))
			p[1].fd = -1;
		if ((p[2].revents & (POLLIN | POLLHUP)) && !copy_some(STDIN_FILENO, t->master))
			p[2].fd = -1;
		if (p[0].revents) {
			if (t && p[1].fd >= 0)
				drain(t->master);
			return;
		}
	}
}

static int run_in(struct container *c, const struct build_view *lower, struct layer_dir *up,
        struct layer_dir *work, int *ret_exit, struct error *err)
{
	const struct container_options *o = c->o;
	struct sandbox_spec s = {.layer_fds = lower->lowers,
	        .n_layers = lower->n_lowers,
	        .upper_fd = o->read_only ? -1 : up->tree_fd,
	        .work_fd = o->read_only ? -1 : work->tree_fd,
	        .read_only_rootfs = o->read_only,
	        .argv = &c->argv,
	        .env = &c->env,
	        .cwd = c->cwd,
	        .user = c->user,
	        .hostname = o->hostname,
	        .stdin_fd = o->interactive ? STDIN_FILENO : -1,
	        .stdout_fd = STDOUT_FILENO,
	        .stderr_fd = STDERR_FILENO,
	        .tty = o->tty,
	        .network = !o->network || str_eq(o->network, "default") ? SANDBOX_NET_PRIVATE
	                   : str_eq(o->network, "host")                 ? SANDBOX_NET_HOST
	                                                                : SANDBOX_NET_NONE,
	        .extra_hosts = &o->add_hosts,
	        .mounts = c->mounts,
	        .n_mounts = c->n_mounts,
	        .arch = c->im->config.platform.arch,
	        .bind_writable_hosts = true};
	struct tty t;
	if (o->tty) {
		if (tty_open(&t, err) < 0) {
			tty_close(&t);
			return -1;
		}
		s.stdin_fd = s.stdout_fd = s.stderr_fd = t.slave;
	}
	struct sandbox_process proc = {.pidfd = -1, .status_fd = -1};
	int rc = sandbox_start(c->b.sandbox, &s, &proc, err);
	if (o->tty)
		close_ptr(&t.slave);
	if (rc >= 0) {
		attend(c, &proc, o->tty ? &t : NULL);
		rc = sandbox_wait(&proc, ret_exit, err);
	}
	if (o->tty)
		tty_close(&t);
	return rc;
}

int container_run(
        struct store *s, const struct container_options *o, int *ret_exit, struct error *err)
{
	struct container c = {.o = o};
	c.b.store = s;
	c.bo.interrupted = o->interrupted;
	c.b.o = &c.bo;
	pthread_mutex_init(&c.b.lock, NULL);
	struct ui_options uo = {.mode = UI_NONE, .fd = STDERR_FILENO};
	c.b.ui = ui_new(&uo);
	struct build_view lower = {0};
	struct layer_dir up = {.fd = -1, .tree_fd = -1}, work = up;
	int rc = store_lease_new(s, &c.b.lease, err);
	if (rc >= 0)
		rc = find_image(&c, err);
	if (rc >= 0 && make_command(&c, err) < 0)
		rc = -1;
	if (rc >= 0)
		rc = build_enter(&c.b, err);
	/* Opened in the namespace in which they will be mounted. */
	if (rc >= 0 && make_volumes(&c, err) < 0)
		rc = -1;
	if (rc >= 0)
		rc = build_view_open(&c.b, rootfs_from_image(&c.b, c.im), &lower, err);
	if (rc >= 0 && layer_dir_new(&c.b, &up, err) < 0)
		rc = -1;
	if (rc >= 0 && layer_dir_new(&c.b, &work, err) < 0)
		rc = -1;
	if (rc >= 0 && layer_prepare_upper(up.tree_fd, &lower.v, c.b.single_id, err) < 0)
		rc = -1;
	if (rc >= 0)
		rc = run_in(&c, &lower, &up, &work, ret_exit, err);
	layer_dir_release(&up);
	layer_dir_release(&work);
	build_view_release(&lower);
	container_release(&c);
	return rc < 0 ? -1 : 0;
}
