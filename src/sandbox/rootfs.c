/* sandbox/rootfs.c - the step's root: overlay over the layers, and the stub layer.
 *
 * Mount points that the layers lack go into one more lower directory on top of them, made afresh
 * for the step: the upper directory never hears of them. Directories of the stub that exist below
 * carry the attributes of those, because overlay shows (and copies up) the topmost ones. */
#include "sandbox/step.h"
#include "base/strbuf.h"
#include "sys/mount.h"
#include "sys/path.h"
#include "sys/privilege.h"
#include "sys/xattr.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

/* The kernel takes 500 lower directories; one is kept for the stub. */
#define MAX_LOWERS 499

int step_scratch_dir(struct step *s, const char *name, struct error *err)
{
	if (s->scratch_fd < 0) {
		if (mkdirat(s->staging_fd, s->scratch_name, 0700) < 0 && errno != EEXIST)
			return err_sys(err, errno, "cannot make a scratch directory for the step");
		s->scratch_fd = sys_open_dir(s->staging_fd, s->scratch_name);
		if (s->scratch_fd < 0)
			return err_sys(
			        err, s->scratch_fd, "cannot open the step's scratch directory");
	}
	if (mkdirat(s->scratch_fd, name, 0755) < 0)
		return err_sys(err, errno, "cannot make a scratch directory for the step");
	int fd = sys_open_dir(s->scratch_fd, name);
	return fd < 0 ? err_sys(err, fd, "cannot open the step's scratch directory") : fd;
}

static int overlay_error(int r, size_t n, struct error *err)
{
	err_sys(err, r, "cannot mount an overlay of %zu layers", n);
	if (r == -EPERM || r == -ENODEV)
		return err_hint(err,
		        "the kernel needs overlay mounts in user namespaces (5.11 or newer, "
		        "module overlay loaded); STRAKE_OVERLAY=copy does without");
	if (r == -EINVAL)
		return err_hint(err, "the store's file system cannot serve overlay mounts: put "
		                     "STRAKE_STORE on ext4, xfs, btrfs or tmpfs");
	return -1;
}

int step_overlay(struct step *s, const int *lowers, size_t n, int upper, int work, bool read_only,
        struct error *err)
{
	int r;
	if (n <= MAX_LOWERS + 1) {
		r = sys_overlay_mount(lowers, n, upper, work, read_only);
		return r < 0 ? overlay_error(r, n, err) : r;
	}
	/* Merge the lowest ones into a read-only overlay that serves as one lower directory; an
	 * overlay may stand on another one, but not on a third. */
	size_t rest = MAX_LOWERS - 1, inner = n - rest;
	if (inner > MAX_LOWERS)
		return err_set(err, ERR_BUILD,
		        "%zu layers are more than %d: the kernel cannot stack them", n,
		        2 * MAX_LOWERS - 1);
	_cleanup_close_ int merged = sys_overlay_mount(lowers, inner, -1, -1, true);
	if (merged < 0)
		return overlay_error(merged, inner, err);
	_cleanup_free_ int *v = new0(int, rest + 1);
	v[0] = merged;
	memcpy(v + 1, lowers + inner, rest * sizeof(int));
	r = sys_overlay_mount(v, rest + 1, upper, work, read_only);
	if (r == -EINVAL && !sys_kernel_at_least(6, 15)) {
		err_set(err, ERR_BUILD, "%zu layers are more than this kernel can stack (%d)", n,
		        MAX_LOWERS);
		return err_hint(err, "Linux 6.15 and newer stack twice as many; or join RUN steps");
	}
	return r < 0 ? overlay_error(r, n, err) : r;
}

/* copy_attributes - of directory path in `from` to the new directory `to`. Times come last. */
static int copy_attributes(int from, const char *path, int to)
{
	struct stat st;
	_cleanup_close_ int src = sys_open_beneath(from, path, O_RDONLY | O_DIRECTORY, 0);
	if (src < 0)
		return src;
	if (fstat(src, &st) < 0)
		return -errno;
	if (fchown(to, st.st_uid, st.st_gid) < 0 || fchmod(to, st.st_mode & 07777) < 0)
		return -errno;
	_cleanup_(sys_xattrs_release) struct sys_xattrs x = {0};
	int r = sys_xattrs_read(src, "", &x);
	for (size_t i = 0; r >= 0 && i < x.n; i++) {
		/* What cannot be set here (trusted.*, quota) is not worth a failed step. */
		if (!str_starts(x.v[i].name, "user.overlay.") &&
		        !str_starts(x.v[i].name, "trusted."))
			(void)!sys_xattr_set(to, "", x.v[i].name, x.v[i].value, x.v[i].len);
	}
	struct timespec ts[2] = {st.st_atim, st.st_mtim};
	return futimens(to, ts) < 0 ? -errno : 0;
}

struct stub {
	int fd;    /* its root; -1 until the first missing point */
	int probe; /* the layers, merged, read-only */
};

/* stub_add - r->path with all its parents; the existing ones get their attributes once all entries
 * are made (an entry changes its directory's mtime). */
static int stub_add(struct stub *st, const struct resolved *r, bool is_dir)
{
	struct resolved all = {r->path, 0, 0};
	struct stat sb;
	if (sys_stat_beneath(st->fd, r->path, &sb) == 0)
		return 0; /* two mounts on one missing point */
	_cleanup_close_ int fd = resolve_make(st->fd, &all, is_dir);
	return fd < 0 ? fd : 0;
}

static int stub_attributes(struct stub *st, const struct resolved *r)
{
	_cleanup_free_ char *path = xstrndup(r->path, r->existing);
	for (;;) {
		_cleanup_close_ int to = sys_open_beneath(st->fd, path, O_RDONLY | O_DIRECTORY, 0);
		if (to < 0)
			return to;
		int e = copy_attributes(st->probe, path, to);
		if (e < 0)
			return e;
		if (!*path)
			return 0;
		char *slash = strrchr(path, '/');
		*(slash ? slash : path) = '\0';
	}
}

/* The mount points every step has. */
static const struct {
	const char *path;
	bool is_dir;
} fixed[] = {{"proc", true}, {"sys", true}, {"dev", true}, {"etc/resolv.conf", false},
        {"etc/hosts", false}};

struct point {
	struct resolved at;
	bool is_dir;
	bool in_mount; /* below another mount: made there when that is attached */
};

static int check_type(const char *target, const struct resolved *at, bool is_dir, struct error *err)
{
	if (!at->mode || S_ISDIR(at->mode) == is_dir)
		return 0;
	return err_set(err, ERR_BUILD, "cannot mount on %s: it is %s in the image, the mount is %s",
	        target, S_ISDIR(at->mode) ? "a directory" : "not a directory",
	        is_dir ? "a directory" : "a file");
}

static int resolve_point(
        struct stub *st, const char *target, bool is_dir, struct point *ret, struct error *err)
{
	struct point p = {.is_dir = is_dir};
	int r = resolve_in_root(st->probe, target, &p.at);
	if (r < 0)
		return err_sys(err, r, "cannot mount on %s%s", *target == '/' ? "" : "/", target);
	if (check_type(target, &p.at, is_dir, err) < 0)
		return -1;
	*ret = p;
	return 0;
}

static int fixed_points(struct step *s, struct stub *st, struct point *p, struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++) {
		if (resolve_point(st, fixed[i].path, fixed[i].is_dir, &p[i], err) < 0)
			return -1;
		if (fixed[i].is_dir && !str_eq(p[i].at.path, fixed[i].path)) {
			err_set(err, ERR_BUILD, "the image's /%s is a symbolic link to /%s",
			        fixed[i].path, p[i].at.path);
			return err_hint(err,
			        "a RUN step needs an ordinary directory there: the base image "
			        "is damaged or hostile");
		}
	}
	s->resolv_path = p[3].at.path;
	s->hosts_path = p[4].at.path;
	return 0;
}

/* covered - is path at or below a mount that is attached before (another --mount, or /dev)? */
static bool covered(const struct step *s, size_t self, const char *path)
{
	if (path_is_or_below(path, "dev"))
		return true;
	for (size_t i = 0; i < s->spec.n_mounts; i++)
		if (i != self && s->mounts[i].path && path_is_or_below(path, s->mounts[i].path) &&
		        !str_eq(path, s->mounts[i].path))
			return true;
	return false;
}

static int user_points(struct step *s, struct stub *st, struct point *p, struct error *err)
{
	for (size_t i = 0; i < s->spec.n_mounts; i++) {
		struct step_mount *m = &s->mounts[i];
		if (resolve_point(st, m->m->target, m->is_dir, &p[i], err) < 0)
			return -1;
		m->path = p[i].at.path;
		if (!*m->path)
			return err_set(err, ERR_BUILD,
			        "cannot mount on %s: that is the root directory", m->m->target);
		if (path_is_or_below(m->path, "proc") || path_is_or_below(m->path, "sys"))
			return err_set(err, ERR_BUILD,
			        "cannot mount on %s: /proc and /sys belong to the sandbox",
			        m->m->target);
	}
	for (size_t i = 0; i < s->spec.n_mounts; i++)
		p[i].in_mount = covered(s, i, s->mounts[i].path);
	return 0;
}

static bool needs_stub(const struct point *p)
{
	return !p->at.mode && !p->in_mount;
}

/* note_parents - attributes of all existing parents of a missing point, as text. False: one has
 * extended attributes, which the text does not hold. */
static bool note_parents(const struct stub *st, const struct resolved *r, struct strbuf *key)
{
	_cleanup_free_ char *path = xstrndup(r->path, r->existing);
	for (;;) {
		struct stat sb;
		_cleanup_(sys_xattrs_release) struct sys_xattrs x = {0};
		_cleanup_close_ int fd =
		        sys_open_beneath(st->probe, path, O_RDONLY | O_DIRECTORY, 0);
		if (fd < 0 || fstat(fd, &sb) < 0 || sys_xattrs_read(fd, "", &x) < 0 || x.n)
			return false;
		strbuf_addf(key, " %o:%u:%u:%lld.%09ld", sb.st_mode, sb.st_uid, sb.st_gid,
		        (long long)sb.st_mtim.tv_sec, sb.st_mtim.tv_nsec);
		if (!*path)
			return true;
		char *slash = strrchr(path, '/');
		*(slash ? slash : path) = '\0';
	}
}

/* stub_name - steps of a build mostly lack the same points with the same parents: their stub is
 * made once and named after what it holds. Making files is what costs most in a step. */
static bool stub_name(
        const struct stub *st, const struct point *p, size_t n, char *name, size_t size)
{
	_cleanup_strbuf_ struct strbuf key = STRBUF_INIT;
	for (size_t i = 0; i < n; i++) {
		if (!needs_stub(&p[i]))
			continue;
		strbuf_addf(&key, "%c%zu:%s", p[i].is_dir ? 'd' : 'f', strlen(p[i].at.path),
		        p[i].at.path);
		if (!note_parents(st, &p[i].at, &key))
			return false;
	}
	/* Two FNV-1a lanes. Who makes them collide gives a wrong directory date to his own build.
	 */
	uint64_t a = 0xcbf29ce484222325u, b = 0x9ae16a3b2f90404fu;
	for (size_t i = 0; i < key.len; i++) {
		a = (a ^ (unsigned char)key.buf[i]) * 0x100000001b3u;
		b = (b ^ (unsigned char)key.buf[i]) * 0x100000001b3u + i;
	}
	snprintf(name, size, "stub-%016llx%016llx", (unsigned long long)a, (unsigned long long)b);
	return true;
}

static int fill_stub(struct stub *st, const struct point *p, size_t n, struct error *err)
{
	for (size_t i = 0; i < n; i++) {
		int r = needs_stub(&p[i]) ? stub_add(st, &p[i].at, p[i].is_dir) : 0;
		if (r < 0)
			return err_sys(err, r, "cannot make the mount point /%s", p[i].at.path);
	}
	for (size_t i = 0; i < n; i++) {
		int r = needs_stub(&p[i]) ? stub_attributes(st, &p[i].at) : 0;
		if (r < 0)
			return err_sys(err, r, "cannot copy the attributes of the parents of /%s",
			        p[i].at.path);
	}
	return 0;
}

static int make_stub(
        struct step *s, struct stub *st, const struct point *p, size_t n, struct error *err)
{
	char name[48];
	size_t missing = 0;
	for (size_t i = 0; i < n; i++)
		missing += needs_stub(&p[i]);
	if (!missing)
		return 0;
	bool shared = stub_name(st, p, n, name, sizeof(name));
	if (shared && (st->fd = sys_open_dir(s->staging_fd, name)) >= 0)
		return 0;
	st->fd = step_scratch_dir(s, "stub", err);
	if (st->fd < 0 || fill_stub(st, p, n, err) < 0)
		return -1;
	/* Complete, so it may be seen. Where another step was faster, ours serves this step alone.
	 */
	if (shared)
		(void)!renameat2(s->scratch_fd, "stub", s->staging_fd, name, RENAME_NOREPLACE);
	return 0;
}

/* ready_root - mount points that are missing go into the root itself. */
static int ready_root(struct step *s, struct error *err)
{
	const struct sandbox_spec *spec = &s->spec;
	_cleanup_close_ int root = sys_bind_clone(spec->ready_root_fd, "", false);
	if (root < 0)
		return err_sys(err, root, "cannot mount the root file system");
	struct stub st = {.fd = -1, .probe = root};
	size_t n = ARRAY_SIZE(fixed) + spec->n_mounts;
	_cleanup_free_ struct point *p = new0(struct point, n);
	if (fixed_points(s, &st, p, err) < 0 || user_points(s, &st, p + ARRAY_SIZE(fixed), err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		if (!needs_stub(&p[i]))
			continue;
		int r = ready_root_note(s, root, &p[i].at);
		_cleanup_close_ int fd = r < 0 ? r : resolve_make(root, &p[i].at, p[i].is_dir);
		if (fd < 0 && fd != -EEXIST)
			return err_sys(err, fd, "cannot make the mount point /%s", p[i].at.path);
	}
	int r = spec->read_only_rootfs ? sys_mount_attr(root, false, MOUNT_ATTR_RDONLY, 0) : 0;
	if (r < 0)
		return err_sys(err, r, "cannot make the root file system read-only");
	s->root_mount = take_fd(&root);
	return 0;
}

int step_build_rootfs(struct step *s, struct error *err)
{
	const struct sandbox_spec *spec = &s->spec;
	if (spec->has_ready_root)
		return ready_root(s, err);
	struct stub st = {-1, -1};
	_cleanup_close_ int empty = -1, probe = -1;
	size_t n = spec->n_layers;
	_cleanup_free_ int *lowers = new0(int, n + 2);
	if (n)
		memcpy(lowers, spec->layer_fds, n * sizeof(int));
	if (!n) {
		empty = step_scratch_dir(s, "empty", err);
		if (empty < 0)
			return -1;
		lowers[n++] = empty;
	}
	size_t n_seen = n;
	if (spec->upper_used && spec->upper_fd >= 0)
		lowers[n_seen++] = spec->upper_fd;
	/* One layer is its own merged view: a mount of it would be made, and waited for when it is
	 * closed, only to look at it. */
	bool writable = spec->upper_fd >= 0;
	if (n_seen > 1 || !writable) {
		probe = step_overlay(s, lowers, n_seen, -1, -1, true, err);
		if (probe < 0)
			return -1;
	}
	st.probe = probe >= 0 ? probe : lowers[0];
	size_t n_points = ARRAY_SIZE(fixed) + spec->n_mounts;
	_cleanup_free_ struct point *p = new0(struct point, n_points);
	if (fixed_points(s, &st, p, err) < 0 ||
	        user_points(s, &st, p + ARRAY_SIZE(fixed), err) < 0 ||
	        make_stub(s, &st, p, n_points, err) < 0)
		return -1;
	if (st.fd >= 0)
		lowers[n++] = st.fd;
	bool read_only = spec->read_only_rootfs || !writable;
	if (st.fd < 0 && !writable)
		s->root_mount = take_fd(&probe);
	else
		s->root_mount =
		        step_overlay(s, lowers, n, spec->upper_fd, spec->work_fd, read_only, err);
	close_ptr(&st.fd);
	return s->root_mount < 0 ? -1 : 0;
}
