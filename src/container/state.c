/* container/state.c - a container's folder: its files, its locks, and finding it by name.
 *
 *     config.json   written once, before the folder appears
 *     state.json    replaced in one step at every change; absent: created
 *     lock          two OFD locks (internal.h)
 *     upper/        what the container changed
 *     log           its output, when nobody was attached
 *     control       socket of its supervisor
 *
 * What state.json says is history. Whether a container runs is what the RUN lock says: a supervisor
 * that was killed holds none. */
#include "container/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "sys/path.h"

const char *container_status_name(enum container_status s)
{
	return s == CONTAINER_CREATED ? "created" : s == CONTAINER_RUNNING ? "running" : "exited";
}

int64_t container_now(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec;
}

char *container_time(int64_t sec)
{
	return sec ? oci_time(sec, 0) : xstrdup("0001-01-01T00:00:00Z");
}

/* --- locks ----------------------------------------------------------------------------------- */

int container_lock_open(int dirfd, struct error *err)
{
	int fd = openat(dirfd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	return fd < 0 ? err_sys(err, errno, "cannot open a container's lock") : fd;
}

static struct flock byte_lock(enum container_lock which)
{
	return (struct flock){
	        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = which, .l_len = 1};
}

int container_lock_take(int fd, enum container_lock which, bool wait)
{
	struct flock fl = byte_lock(which);
	int r;
	do
		r = fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &fl);
	while (r < 0 && errno == EINTR);
	if (r == 0)
		return 1;
	return errno == EAGAIN || errno == EACCES ? 0 : -errno;
}

bool container_lock_held(int fd, enum container_lock which)
{
	struct flock fl = byte_lock(which);
	return fcntl(fd, F_OFD_GETLK, &fl) == 0 && fl.l_type != F_UNLCK;
}

/* --- state.json ------------------------------------------------------------------------------ */

int container_state_write(int dirfd, const struct container_state *st, struct error *err)
{
	_cleanup_json_ json_t *j = json_object();
	json_object_set_new(j, "status", json_string(container_status_name(st->status)));
	json_object_set_new(j, "exit_code", json_integer(st->exit_code));
	json_object_set_new(j, "oom_killed", json_boolean(st->oom_killed));
	json_object_set_new(j, "error", json_str(str_or_empty(st->error)));
	json_object_set_new(j, "started", json_integer(st->started));
	json_object_set_new(j, "finished", json_integer(st->finished));
	if (st->ports)
		json_object_set(j, "ports", st->ports);
	_cleanup_free_ char *text = json_compact(j);
	_cleanup_close_ int fd = openat(dirfd, "state.json.new",
	        O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : sys_write_all(fd, text, strlen(text));
	/* No fsync: a power cut loses the state of a container that it ended, and of nothing else.
	 */
	if (r >= 0 && renameat(dirfd, "state.json.new", dirfd, "state.json") < 0)
		r = -errno;
	return r < 0 ? err_sys(err, r, "cannot write a container's state") : 0;
}

static json_t *read_json(int dirfd, const char *name, const char *what, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t n;
	int r = sys_read_file(dirfd, name, CONTAINER_JSON_MAX, &text, &n);
	if (r < 0) {
		(void)err_sys(err, r, "cannot read %s of %s", name, what);
		err->class = r == -ENOENT ? ERR_NOT_FOUND : ERR_SYSTEM;
		return NULL;
	}
	return json_parse(text, n, CONTAINER_JSON_MAX, what, err);
}

static void load_state(struct container *c)
{
	_cleanup_error_ struct error ignored = ERROR_INIT;
	_cleanup_close_ int lock = container_lock_open(c->dirfd, &ignored);
	bool running = lock >= 0 && container_lock_held(lock, CONTAINER_LOCK_RUN);
	_cleanup_json_ json_t *j = read_json(c->dirfd, "state.json", c->id, &ignored);
	const char *status = str_or_empty(json_get_str(j, "status"));
	const char *error = json_get_str(j, "error");
	c->started = json_get_int(j, "started", 0);
	c->finished = json_get_int(j, "finished", 0);
	c->exit_code = (int)json_get_int(j, "exit_code", 0);
	c->oom_killed = json_get_bool(j, "oom_killed", false);
	c->error = error && *error ? xstrdup(error) : NULL;
	c->ports = running ? json_incref(json_get_obj(j, "ports")) : NULL;
	if (running) {
		c->status = CONTAINER_RUNNING;
	} else if (str_eq(status, "running")) {
		/* Its supervisor was killed: nobody was left to write down the end. */
		struct stat st;
		c->status = CONTAINER_EXITED;
		c->exit_code = 128 + SIGKILL;
		if (!c->finished && fstatat(c->dirfd, "state.json", &st, AT_SYMLINK_NOFOLLOW) == 0)
			c->finished = st.st_mtim.tv_sec;
	} else {
		c->status = str_eq(status, "exited") ? CONTAINER_EXITED : CONTAINER_CREATED;
	}
}

/* --- loading --------------------------------------------------------------------------------- */

void container_free(struct container *c)
{
	if (!c)
		return;
	free(c->id);
	free(c->name);
	free(c->error);
	close_ptr(&c->dirfd);
	json_decref(c->config);
	json_decref(c->ports);
	free(c);
}

int container_load(struct store *s, const char *id, struct container **ret, struct error *err)
{
	_cleanup_(container_freep) struct container *c = new0(struct container, 1);
	c->id = xstrdup(id);
	c->dirfd = store_container_open(s, id, err);
	if (c->dirfd < 0)
		return -1;
	_cleanup_free_ char *what = xasprintf("container %.12s", id);
	c->config = read_json(c->dirfd, "config.json", what, err);
	if (!c->config && err->class != ERR_INTEGRITY)
		return -1;
	if (!c->config) {
		/* Torn by a power cut. It is listed, so that it can be removed. */
		error_release(err);
		c->config = json_pack("{s:s}", "Id", id);
	}
	const char *name = str_or_empty(json_get_str(c->config, "Name"));
	c->name = *name ? xstrdup(*name == '/' ? name + 1 : name) : xstrndup(id, 12);
	c->created = json_get_int(json_get_obj(c->config, "Strake"), "CreatedUnix", 0);
	load_state(c);
	*ret = take_ptr(c);
	return 0;
}

void containers_free(struct container **v, size_t n)
{
	for (size_t i = 0; v && i < n; i++)
		container_free(v[i]);
	free(v);
}

static int newest_first(const void *a, const void *b)
{
	const struct container *x = *(struct container *const *)a;
	const struct container *y = *(struct container *const *)b;
	if (x->created != y->created)
		return x->created > y->created ? -1 : 1;
	return strcmp(x->id, y->id);
}

int container_list(struct store *s, struct container ***ret, size_t *ret_n, struct error *err)
{
	_cleanup_strv_ struct strv ids = STRV_INIT;
	if (store_container_list(s, &ids, err) < 0)
		return -1;
	struct container **v = new0(struct container *, ids.n + 1);
	size_t n = 0;
	for (size_t i = 0; i < ids.n; i++) {
		_cleanup_error_ struct error e = ERROR_INIT;
		if (container_load(s, ids.v[i], &v[n], &e) >= 0) {
			n++;
		} else if (e.class != ERR_NOT_FOUND) { /* else removed meanwhile */
			error_move(err, &e);
			containers_free(v, n);
			return -1;
		}
	}
	qsort(v, n, sizeof(*v), newest_first);
	*ret = v;
	*ret_n = n;
	return 0;
}

static int no_such(const char *name, struct error *err)
{
	(void)err_set(err, ERR_NOT_FOUND, "no such container: %s", name);
	return err_hint(err, "strake ps -a lists them");
}

int container_find(struct store *s, const char *name, struct container **ret, struct error *err)
{
	struct container **v;
	size_t n, hits = 0, found = 0;
	if (*name == '/')
		name++;
	if (store_container_id_valid(name)) {
		if (container_load(s, name, ret, err) >= 0)
			return 0;
		if (err->class != ERR_NOT_FOUND)
			return -1;
		error_release(err);
		return no_such(name, err);
	}
	if (container_list(s, &v, &n, err) < 0)
		return -1;
	bool exact = false;
	for (size_t i = 0; i < n && !exact; i++) {
		exact = str_eq(v[i]->name, name);
		if (exact || (*name && str_starts(v[i]->id, name))) {
			hits = exact ? 1 : hits + 1;
			found = i;
		}
	}
	int rc = 0;
	if (hits == 1) {
		*ret = v[found];
		v[found] = NULL;
	} else if (hits > 1) {
		(void)err_set(err, ERR_USAGE, "%s is the beginning of several container ids", name);
		rc = err_hint(err, "give more digits");
	} else {
		rc = no_such(name, err);
	}
	containers_free(v, n);
	return rc;
}

/* --- names ----------------------------------------------------------------------------------- */

static bool name_valid(const char *s)
{
	static const char alnum[] =
	        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
	size_t n = strlen(s);
	return n >= 1 && n <= 128 && strspn(s, alnum) >= 1 &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == n;
}

int container_check_name(struct store *s, const char *name, struct error *err)
{
	if (!name_valid(name)) {
		(void)err_set(err, ERR_USAGE, "--name %s: not a container's name", name);
		return err_hint(err, "letters, digits, _ . - are allowed, "
		                     "a letter or digit first");
	}
	struct container **v;
	size_t n;
	if (container_list(s, &v, &n, err) < 0)
		return -1;
	int rc = 0;
	for (size_t i = 0; i < n && rc == 0; i++)
		if (str_eq(v[i]->name, name)) {
			(void)err_set(err, ERR_USAGE,
			        "the name %s is in use by container %.12s (%s)", name, v[i]->id,
			        container_status_name(v[i]->status));
			rc = err_hint(
			        err, "strake rm %s removes it; or choose another --name", name);
		}
	containers_free(v, n);
	return rc;
}

/* --- inspect --------------------------------------------------------------------------------- */

json_t *container_host_config(const struct container *c)
{
	return json_get_obj(c->config, "HostConfig");
}

json_t *container_process_config(const struct container *c)
{
	return json_get_obj(c->config, "Config");
}

bool container_image(const struct container *c, struct digest *ret)
{
	const char *id = json_get_str(c->config, "Image");
	return id && digest_parse(id, ret);
}

json_t *container_inspect(const struct container *c)
{
	static const char *const before[] = {"Id", "Created", "Path", "Args"};
	json_t *j = json_object(), *st = json_object();
	_cleanup_free_ char *started = container_time(c->started);
	_cleanup_free_ char *finished = container_time(c->finished);
	bool running = c->status == CONTAINER_RUNNING;
	json_object_set_new(st, "Status", json_string(container_status_name(c->status)));
	json_object_set_new(st, "Running", json_boolean(running));
	json_object_set_new(st, "Paused", json_false());
	json_object_set_new(st, "Restarting", json_false());
	json_object_set_new(st, "OOMKilled", json_boolean(c->oom_killed));
	json_object_set_new(st, "Dead", json_false());
	json_object_set_new(st, "ExitCode", json_integer(running ? 0 : c->exit_code));
	json_object_set_new(st, "Error", json_str(str_or_empty(c->error)));
	json_object_set_new(st, "StartedAt", json_string(started));
	json_object_set_new(st, "FinishedAt", json_string(finished));
	for (size_t i = 0; i < ARRAY_SIZE(before); i++)
		json_object_set(j, before[i], json_object_get(c->config, before[i]));
	json_object_set_new(j, "State", st);
	json_t *net = json_object();
	json_object_set_new(net, "Ports", c->ports ? json_incref(c->ports) : json_object());
	json_object_set_new(net, "IPAddress", json_string(""));
	json_object_set_new(net, "Networks", json_object());
	json_object_set_new(j, "NetworkSettings", net);
	const char *key;
	json_t *value;
	json_object_foreach(c->config, key, value)
	{
		if (!json_object_get(j, key) && !str_eq(key, "Strake"))
			json_object_set(j, key, value);
	}
	return j;
}

/* --- removal --------------------------------------------------------------------------------- */

int container_remove(
        struct store *s, const char *name, bool force, char **ret_id, struct error *err)
{
	_cleanup_(container_freep) struct container *c = NULL;
	if (container_find(s, name, &c, err) < 0)
		return -1;
	_cleanup_close_ int lock = container_lock_open(c->dirfd, err);
	if (lock < 0)
		return -1;
	int r;
	while ((r = container_lock_take(lock, CONTAINER_LOCK_USE, false)) == 0) {
		bool running = container_lock_held(lock, CONTAINER_LOCK_RUN);
		if (running && !force) {
			(void)err_set(err, ERR_USAGE, "container %s is running", name);
			return err_hint(
			        err, "strake stop %s, or strake rm -f to kill and remove it", name);
		}
		/* It may end by itself between the two, or not hear us yet. */
		_cleanup_error_ struct error e = ERROR_INIT;
		int code;
		if (running && container_signal(c, SIGKILL, &e) >= 0)
			(void)!container_wait(c, 1000, &code, &e);
		(void)poll(NULL, 0, 20);
	}
	if (r < 0)
		return err_sys(err, r, "cannot lock container %s", name);
	struct store_lease *l;
	if (store_lease_new(s, &l, err) < 0)
		return -1;
	int rc = store_container_discard(s, l, c->id, err);
	store_lease_free(l);
	/* Removed by somebody else, or by itself (--rm), while we waited. */
	if (rc < 0 && err->class == ERR_NOT_FOUND && force) {
		error_release(err);
		rc = 0;
	}
	if (rc >= 0 && ret_id)
		*ret_id = take_ptr(c->id);
	return rc;
}
