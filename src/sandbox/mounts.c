/* sandbox/mounts.c - RUN --mount: prepared detached in the builder's mount namespace, attached in
 * the step's. Sources and targets are resolved inside their own root; nothing here can name a
 * place on the host that no descriptor was given for. */
#include "sandbox/cdi.h"
#include "sandbox/step.h"
#include "sys/mount.h"
#include "sys/owner.h"
#include "sys/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/sendfile.h>

/* step_add_devices - appends the CDI edits to the mounts of the spec. Never freed: see step.h. */
int step_add_devices(struct step *s, struct error *err)
{
	static struct cdi_edits e;
	s->n_given_mounts = s->spec.n_mounts;
	for (size_t i = 0; i < s->spec.devices->n; i++) {
		const char *text = s->spec.devices->v[i];
		bool required = str_ends(text, ",required");
		_cleanup_free_ char *name =
		        xstrndup(text, strlen(text) - (required ? strlen(",required") : 0));
		if (cdi_resolve(cdi_default_dirs, name, &e, err) >= 0)
			continue;
		/* RUN --device=x asks for it where it is there; ",required" insists. */
		if (required || err->class != ERR_NOT_FOUND)
			return -1;
		error_release(err);
	}
	struct sandbox_mount *m = new0(struct sandbox_mount, s->spec.n_mounts + e.n_mounts);
	bool *is_device = new0(bool, e.n_mounts);
	if (s->spec.n_mounts)
		memcpy(m, s->spec.mounts, s->spec.n_mounts * sizeof(*m));
	for (size_t i = 0; i < e.n_mounts; i++) {
		const struct cdi_mount *c = &e.mounts[i];
		/* trusted-path: named by the host's CDI specification */
		int fd = open(c->host_path, O_PATH | O_CLOEXEC);
		struct stat st;
		if (fd < 0 || fstat(fd, &st) < 0)
			return err_sys(err, errno, "cannot open device %s", c->host_path);
		if (c->is_device && !S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))
			return err_set(err, ERR_SYSTEM, "%s is not a device", c->host_path);
		is_device[i] = c->is_device;
		m[s->n_given_mounts + i] = (struct sandbox_mount){.type = SANDBOX_MOUNT_BIND,
		        .target = c->path,
		        .source_fd = fd,
		        .read_only = c->read_only};
	}
	s->spec.mounts = m;
	s->spec.n_mounts += e.n_mounts;
	s->cdi_devices = is_device;
	s->cdi_env = e.env;
	return 0;
}

static int source_error(const struct sandbox_mount *m, int r, struct error *err)
{
	return err_sys(err, r, "cannot use source %s of the mount on %s",
	        m->source ? m->source : "/", m->target);
}

/* open_source - O_PATH descriptor of the sub path, and whether it is a directory. */
static int open_source(int root, const struct sandbox_mount *m, bool *ret_dir, struct error *err)
{
	bool whole = !m->source || !*m->source || str_eq(m->source, "/") || str_eq(m->source, ".");
	struct stat st;
	_cleanup_close_ int fd = whole ? fcntl(root, F_DUPFD_CLOEXEC, 3)
	                               : sys_open_in_root(root, m->source, O_PATH, 0);
	if (fd < 0)
		return source_error(m, whole ? -errno : fd, err);
	if (fstat(fd, &st) < 0)
		return source_error(m, -errno, err);
	*ret_dir = S_ISDIR(st.st_mode);
	return take_fd(&fd);
}

static int scratch_sub(struct step *s, size_t i, const char *what, struct error *err)
{
	char name[40];
	snprintf(name, sizeof(name), "m%zu%s", i, what);
	return step_scratch_dir(s, name, err);
}

/* discard_overlay - a writable view whose writes end in scratch. */
static int discard_overlay(struct step *s, size_t i, const int *lowers, size_t n, struct error *err)
{
	_cleanup_close_ int upper = scratch_sub(s, i, "u", err);
	if (upper < 0)
		return -1;
	_cleanup_close_ int work = scratch_sub(s, i, "w", err);
	if (work < 0)
		return -1;
	/* The root directory of an overlay shows the attributes of its upper directory. */
	struct stat st;
	int r = fstat(lowers[n - 1], &st) < 0 || fchown(upper, st.st_uid, st.st_gid) < 0 ||
	                        fchmod(upper, st.st_mode & 07777) < 0
	                ? -errno
	                : 0;
	if (r >= 0 && s->supervisor >= 0)
		r = sys_owner_copy(lowers[n - 1], upper);
	if (r < 0)
		return err_sys(err, r, "cannot prepare the mount on %s", s->spec.mounts[i].target);
	return step_overlay(s, lowers, n, upper, work, false, err);
}

/* discard_file - a copy of a single file, in scratch. */
static int discard_file(struct step *s, size_t i, int src_path, struct error *err)
{
	const struct sandbox_mount *m = &s->spec.mounts[i];
	struct stat st;
	char link[32];
	if (fstat(src_path, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(err, ERR_BUILD,
		        "the source of the mount on %s is not a regular file", m->target);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", src_path);
	/* trusted-path: a descriptor of ours */
	_cleanup_close_ int src = open(link, O_RDONLY | O_CLOEXEC);
	if (src < 0)
		return source_error(m, -errno, err);
	_cleanup_close_ int dir = scratch_sub(s, i, "f", err);
	if (dir < 0)
		return -1;
	_cleanup_close_ int dst =
	        openat(dir, "file", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (dst < 0 || fchown(dst, st.st_uid, st.st_gid) < 0 || fchmod(dst, st.st_mode & 07777) < 0)
		return source_error(m, -errno, err);
	ssize_t n;
	while ((n = copy_file_range(src, NULL, dst, NULL, 1 << 30, 0)) > 0)
		;
	if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP))
		while ((n = sendfile(dst, src, NULL, 1 << 30)) > 0)
			;
	if (n < 0)
		return source_error(m, -errno, err);
	int fd = sys_bind_clone(dir, "file", false);
	return fd < 0 ? source_error(m, fd, err) : fd;
}

static int protect(const struct step_mount *sm, int fd, bool recursive, struct error *err)
{
	/* No device node in a mount is a way to the host's devices. */
	const struct sandbox_mount *m = sm->m;
	uint64_t set = (sm->device ? 0 : MOUNT_ATTR_NODEV) | (m->read_only ? MOUNT_ATTR_RDONLY : 0);
	int r = sys_mount_attr(fd, recursive, set, 0);
	return r < 0 ? err_sys(err, r, "cannot protect the mount on %s", m->target) : 0;
}

static int prepare_bind(struct step *s, size_t i, struct error *err)
{
	const struct sandbox_mount *m = &s->spec.mounts[i];
	struct step_mount *sm = &s->mounts[i];
	_cleanup_close_ int src = open_source(m->source_fd, m, &sm->is_dir, err);
	if (src < 0)
		return -1;
	if (m->discard_writes && !m->read_only)
		sm->fd = sm->is_dir ? discard_overlay(s, i, &src, 1, err)
		                    : discard_file(s, i, src, err);
	else if ((sm->fd = sys_bind_clone(src, "", true)) < 0)
		return source_error(m, sm->fd, err);
	return sm->fd < 0 ? -1 : protect(sm, sm->fd, true, err);
}

static int prepare_rootfs_bind(struct step *s, size_t i, struct error *err)
{
	const struct sandbox_mount *m = &s->spec.mounts[i];
	struct step_mount *sm = &s->mounts[i];
	_cleanup_close_ int empty = -1;
	const int *lowers = m->layer_fds;
	size_t n = m->n_layers;
	if (!n) {
		empty = scratch_sub(s, i, "e", err);
		if (empty < 0)
			return -1;
		lowers = &empty;
		n = 1;
	}
	sm->fd = m->read_only ? step_overlay(s, lowers, n, -1, -1, true, err)
	                      : discard_overlay(s, i, lowers, n, err);
	if (sm->fd < 0)
		return -1;
	if (protect(sm, sm->fd, false, err) < 0)
		return -1;
	_cleanup_close_ int sub = open_source(sm->fd, m, &sm->is_dir, err);
	if (sub < 0)
		return -1;
	sm->resolve_later =
	        m->source && *m->source && !str_eq(m->source, "/") && !str_eq(m->source, ".");
	return 0;
}

static int prepare_tmpfs(struct step *s, size_t i, struct error *err)
{
	const struct sandbox_mount *m = &s->spec.mounts[i];
	char options[64];
	snprintf(options, sizeof(options), m->tmpfs_size ? "mode=%04o,size=%llu" : "mode=%04o",
	        m->mode ? m->mode & 07777 : 01777, (unsigned long long)m->tmpfs_size);
	s->mounts[i].is_dir = true;
	s->mounts[i].fd = sys_tmpfs_mount(options);
	if (s->mounts[i].fd < 0)
		return err_sys(err, s->mounts[i].fd, "cannot make a tmpfs for %s", m->target);
	int r = sys_mount_attr(s->mounts[i].fd, false,
	        MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | (m->read_only ? MOUNT_ATTR_RDONLY : 0), 0);
	return r < 0 ? err_sys(err, r, "cannot protect the tmpfs on %s", m->target) : 0;
}

static int prepare_file(struct step *s, size_t i, struct error *err)
{
	const struct sandbox_mount *m = &s->spec.mounts[i];
	char name[32];
	snprintf(name, sizeof(name), "f%zu", i);
	_cleanup_close_ int fd = openat(
	        s->files_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : sys_write_all(fd, m->data, m->data_len);
	if (r >= 0)
		r = step_chown(s, fd, m->uid, m->gid);
	if (r >= 0 && fchmod(fd, m->mode & 07777) < 0)
		r = -errno;
	if (r == -EINVAL) {
		err_set(err, ERR_BUILD, "owner %u:%u of the file mounted on %s is not mapped here",
		        m->uid, m->gid, m->target);
		return err_hint(err, "`strake info` says how to get subordinate ids");
	}
	return r < 0 ? err_sys(err, r, "cannot make the file to mount on %s", m->target) : 0;
}

int step_prepare_mounts(struct step *s, struct error *err)
{
	s->mounts = new0(struct step_mount, s->spec.n_mounts);
	for (size_t i = 0; i < s->spec.n_mounts; i++) {
		const struct sandbox_mount *m = &s->spec.mounts[i];
		s->mounts[i].m = m;
		s->mounts[i].fd = -1;
		s->mounts[i].device =
		        i >= s->n_given_mounts && s->cdi_devices[i - s->n_given_mounts];
		int r = -1;
		switch (m->type) {
		case SANDBOX_MOUNT_BIND:
		case SANDBOX_MOUNT_SOCKET:
			r = prepare_bind(s, i, err);
			break;
		case SANDBOX_MOUNT_ROOTFS_BIND:
			r = prepare_rootfs_bind(s, i, err);
			break;
		case SANDBOX_MOUNT_TMPFS:
			r = prepare_tmpfs(s, i, err);
			break;
		case SANDBOX_MOUNT_FILE:
			r = prepare_file(s, i, err);
			break;
		default:
			return err_set(err, ERR_INTERNAL, "mount on %s has unknown type %d",
			        m->target, m->type);
		}
		if (r < 0)
			return -1;
	}
	return 0;
}

/* sub_clone - the part m->source of a whole root file system. A detached mount cannot be cloned in
 * part before Linux 6.15, so it is attached in passing below the files tmpfs. */
static int sub_clone(struct step *s, struct step_mount *sm, struct error *err)
{
	bool is_dir;
	_cleanup_close_ int at = openat(s->files_fd, "passing", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = at < 0 ? -errno : sys_mount_attach(sm->fd, at);
	if (r < 0)
		return source_error(sm->m, r, err);
	_cleanup_close_ int src = open_source(sm->fd, sm->m, &is_dir, err);
	if (src < 0)
		return -1;
	int fd = sys_bind_clone(src, "", false);
	if (fd < 0)
		return source_error(sm->m, fd, err);
	char link[32];
	snprintf(link, sizeof(link), "/proc/self/fd/%d", sm->fd);
	/* trusted-path: a descriptor of ours */
	if (umount2(link, MNT_DETACH) < 0) {
		close(fd);
		return source_error(sm->m, -errno, err);
	}
	close(sm->fd);
	sm->fd = fd;
	return 0;
}

static int attach_one(struct step *s, struct step_mount *sm, struct error *err)
{
	const struct sandbox_mount *m = sm->m;
	if (m->type == SANDBOX_MOUNT_FILE) {
		char name[32];
		snprintf(name, sizeof(name), "f%zu", (size_t)(sm - s->mounts));
		sm->fd = sys_bind_clone(s->files_fd, name, false);
		if (sm->fd < 0)
			return err_sys(err, sm->fd, "cannot mount a file on %s", m->target);
		if (protect(sm, sm->fd, false, err) < 0)
			return -1;
	} else if (sm->resolve_later && sub_clone(s, sm, err) < 0) {
		return -1;
	}
	_cleanup_(resolved_release) struct resolved at = {0};
	int r = resolve_in_root(s->root_fd, sm->path, &at);
	_cleanup_close_ int target = r < 0 ? r : resolve_make(s->root_fd, &at, sm->is_dir);
	if (target == -EROFS)
		return err_set(err, ERR_BUILD,
		        "cannot mount on %s: it is missing, and the mount it lies in is "
		        "read-only",
		        m->target);
	if (target < 0)
		return err_sys(err, target, "cannot mount on %s", m->target);
	r = sys_mount_attach(sm->fd, target);
	close_ptr(&sm->fd);
	if (r == -ENOTDIR)
		return err_set(err, ERR_BUILD,
		        "cannot mount on %s: one is a directory, the other a file", m->target);
	return r < 0 ? err_sys(err, r, "cannot mount on %s", m->target) : 0;
}

static size_t depth(const char *path)
{
	size_t n = 1;
	for (; *path; path++)
		n += *path == '/';
	return n;
}

int step_attach_mounts(struct step *s, struct error *err)
{
	/* Parents before children; equals in the order given. A Dockerfile has a handful. */
	size_t n = s->spec.n_mounts, deepest = 0;
	for (size_t i = 0; i < n; i++)
		deepest = MAX(deepest, depth(s->mounts[i].path));
	for (size_t d = 1; d <= deepest; d++)
		for (size_t i = 0; i < n; i++)
			if (depth(s->mounts[i].path) == d && attach_one(s, &s->mounts[i], err) < 0)
				return -1;
	return 0;
}
