/* sandbox/wire.c - see wire.h. */
#include "sandbox/wire.h"
#include "sys/path.h"

#include <errno.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define BLOB_MAX (64u << 20)

void wire_fds_release(struct wire_fds *f)
{
	free(f->v);
	*f = (struct wire_fds){0};
}

static void put64(struct strbuf *b, uint64_t v)
{
	strbuf_add(b, &v, sizeof(v));
}

static void put_bytes(struct strbuf *b, const void *p, size_t n)
{
	put64(b, n);
	strbuf_add(b, p, n);
	strbuf_addch(b, '\0');
}

/* put_str - NULL stays NULL. */
static void put_str(struct strbuf *b, const char *s)
{
	if (s)
		put_bytes(b, s, strlen(s));
	else
		put64(b, UINT64_MAX);
}

static void put_strv(struct strbuf *b, const struct strv *sv)
{
	put64(b, sv ? sv->n : 0);
	for (size_t i = 0; sv && i < sv->n; i++)
		put_str(b, sv->v[i]);
}

static void put_fd(struct wire_fds *f, int fd)
{
	vec_grow(&f->v, &f->cap, f->n + 1);
	f->v[f->n++] = fd < 0 ? -1 : fd;
}

static void put_mount(struct strbuf *b, struct wire_fds *f, const struct sandbox_mount *m)
{
	put64(b, m->type);
	put_str(b, m->target);
	put_str(b, m->source);
	put64(b, m->n_layers);
	put64(b, m->read_only);
	put64(b, m->discard_writes);
	put64(b, m->tmpfs_size);
	put_bytes(b, m->data, m->data_len);
	put64(b, m->mode);
	put64(b, m->uid);
	put64(b, m->gid);
	bool has_source = m->type == SANDBOX_MOUNT_BIND || m->type == SANDBOX_MOUNT_SOCKET;
	put_fd(f, has_source ? m->source_fd : -1);
	for (size_t i = 0; i < m->n_layers; i++)
		put_fd(f, m->layer_fds[i]);
}

void wire_encode(const struct sandbox_spec *s, struct strbuf *b, struct wire_fds *f)
{
	put64(b, s->n_layers);
	put64(b, s->read_only_rootfs);
	put_strv(b, s->argv);
	put_strv(b, s->env);
	put_str(b, s->cwd);
	put_str(b, s->user);
	put_str(b, s->hostname);
	put64(b, s->tty);
	put64(b, s->insecure);
	put64(b, s->network);
	put_strv(b, s->extra_hosts);
	put64(b, s->shm_size);
	put_strv(b, s->ulimits);
	put_strv(b, s->devices);
	put64(b, s->bind_writable_hosts);
	put64(b, s->upper_used);
	put64(b, s->init);
	put64(b, s->single_id);
	put64(b, s->has_ready_root);
	put64(b, s->n_mounts);
	put_fd(f, s->stdin_fd);
	put_fd(f, s->stdout_fd);
	put_fd(f, s->stderr_fd);
	put_fd(f, s->upper_fd);
	put_fd(f, s->work_fd);
	put_fd(f, s->notify_fd > 0 ? s->notify_fd : -1);
	put_fd(f, s->owners_fd);
	put_fd(f, s->has_ready_root ? s->ready_root_fd : -1);
	put_fd(f, s->has_ready_root ? s->made_fd : -1);
	for (size_t i = 0; i < s->n_layers; i++)
		put_fd(f, s->layer_fds[i]);
	for (size_t i = 0; i < s->n_mounts; i++)
		put_mount(b, f, &s->mounts[i]);
}

struct reader {
	const char *p, *end;
	const int *fd, *fd_end;
	bool bad;
};

static uint64_t get64(struct reader *r)
{
	uint64_t v = 0;
	if ((size_t)(r->end - r->p) < sizeof(v)) {
		r->bad = true;
		return 0;
	}
	memcpy(&v, r->p, sizeof(v));
	r->p += sizeof(v);
	return v;
}

static const char *get_bytes(struct reader *r, size_t *ret_n)
{
	uint64_t n = get64(r);
	*ret_n = 0;
	if (r->bad || n == UINT64_MAX)
		return NULL;
	if (n >= (uint64_t)(r->end - r->p) || r->p[n] != '\0') {
		r->bad = true;
		return NULL;
	}
	const char *s = r->p;
	r->p += n + 1;
	*ret_n = (size_t)n;
	return s;
}

static const char *get_str(struct reader *r)
{
	size_t n;
	const char *s = get_bytes(r, &n);
	return s;
}

/* get_count - a count of things that take at least `each` bytes of what is left. */
static size_t get_count(struct reader *r, size_t each)
{
	uint64_t n = get64(r);
	if (n > (uint64_t)(r->end - r->p) / (each ? each : 1)) {
		r->bad = true;
		return 0;
	}
	return (size_t)n;
}

static const struct strv *get_strv(struct reader *r)
{
	struct strv *sv = new0(struct strv, 1);
	size_t n = get_count(r, 8);
	for (size_t i = 0; i < n && !r->bad; i++) {
		const char *s = get_str(r);
		if (s)
			strv_add(sv, s);
	}
	return sv;
}

static int get_fd(struct reader *r)
{
	if (r->fd >= r->fd_end) {
		r->bad = true;
		return -1;
	}
	return *r->fd++;
}

static const int *get_fds(struct reader *r, size_t n)
{
	if (n > (size_t)(r->fd_end - r->fd)) {
		r->bad = true;
		return NULL;
	}
	const int *v = r->fd;
	r->fd += n;
	return v;
}

static void get_mount(struct reader *r, struct sandbox_mount *m)
{
	m->type = (enum sandbox_mount_type)get64(r);
	m->target = get_str(r);
	m->source = get_str(r);
	m->n_layers = (size_t)get64(r);
	m->read_only = get64(r);
	m->discard_writes = get64(r);
	m->tmpfs_size = get64(r);
	m->data = get_bytes(r, &m->data_len);
	m->mode = (uint32_t)get64(r);
	m->uid = (uint32_t)get64(r);
	m->gid = (uint32_t)get64(r);
	m->source_fd = get_fd(r);
	m->layer_fds = get_fds(r, m->n_layers);
}

int wire_decode(const char *blob, size_t n, const struct wire_fds *fds, struct sandbox_spec *ret)
{
	struct reader r = {blob, blob + n, fds->v, fds->v + fds->n, false};
	struct sandbox_spec s = {0};
	s.n_layers = (size_t)get64(&r);
	s.read_only_rootfs = get64(&r);
	s.argv = get_strv(&r);
	s.env = get_strv(&r);
	s.cwd = get_str(&r);
	s.user = get_str(&r);
	s.hostname = get_str(&r);
	s.tty = get64(&r);
	s.insecure = get64(&r);
	s.network = (enum sandbox_network)get64(&r);
	s.extra_hosts = get_strv(&r);
	s.shm_size = get64(&r);
	s.ulimits = get_strv(&r);
	s.devices = get_strv(&r);
	s.bind_writable_hosts = get64(&r);
	s.upper_used = get64(&r);
	s.init = get64(&r);
	s.single_id = get64(&r);
	s.has_ready_root = get64(&r);
	s.n_mounts = get_count(&r, 64);
	s.stdin_fd = get_fd(&r);
	s.stdout_fd = get_fd(&r);
	s.stderr_fd = get_fd(&r);
	s.upper_fd = get_fd(&r);
	s.work_fd = get_fd(&r);
	s.notify_fd = get_fd(&r);
	s.owners_fd = get_fd(&r);
	s.ready_root_fd = get_fd(&r);
	s.made_fd = get_fd(&r);
	s.layer_fds = get_fds(&r, s.n_layers);
	struct sandbox_mount *m = new0(struct sandbox_mount, s.n_mounts);
	s.mounts = m;
	for (size_t i = 0; i < s.n_mounts && !r.bad; i++)
		get_mount(&r, &m[i]);
	if (r.bad || r.p != r.end || r.fd != r.fd_end)
		return -EBADMSG;
	*ret = s;
	return 0;
}

int wire_send(int sock, const void *p, size_t n, const int *fds, size_t n_fds)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(WIRE_FD_BATCH * sizeof(int))];
	} u;
	struct iovec iov = {(void *)p, n};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
	if (n_fds > WIRE_FD_BATCH)
		return -E2BIG;
	if (n_fds) {
		memset(&u, 0, CMSG_SPACE(n_fds * sizeof(int)));
		mh.msg_control = u.buf;
		mh.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
	}
	for (int tries = 0;; tries++) {
		if (sendmsg(sock, &mh, MSG_NOSIGNAL) >= 0)
			return 0;
		if (errno == EINTR)
			continue;
		/* An ordinary user may have RLIMIT_NOFILE descriptors in flight, over all sockets:
		 * other steps are about to take theirs off. */
		if (errno != ETOOMANYREFS || tries > 1000)
			return -errno;
		(void)poll(NULL, 0, 2);
	}
}

int wire_recv(int sock, void *p, size_t n, int *fds, size_t n_fds)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(WIRE_FD_BATCH * sizeof(int))];
	} u;
	struct iovec iov = {p, n};
	struct msghdr mh = {.msg_iov = &iov,
	        .msg_iovlen = 1,
	        .msg_control = u.buf,
	        .msg_controllen = sizeof(u.buf)};
	ssize_t r;
	do
		r = recvmsg(sock, &mh, MSG_CMSG_CLOEXEC);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	size_t got = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&mh); c; c = CMSG_NXTHDR(&mh, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t k = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < k; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (got < n_fds)
				fds[got++] = fd;
			else
				close(fd);
		}
	}
	for (; got < n_fds; got++)
		fds[got] = -1;
	if (r == 0)
		return 0;
	/* CTRUNC: descriptors were dropped, RLIMIT_NOFILE is too low here. */
	if (mh.msg_flags & MSG_CTRUNC)
		return -EMFILE;
	return 1;
}

struct spec_header {
	uint64_t blob_len;
	uint64_t n_fds;  /* with the -1 ones */
	uint64_t n_sent; /* without */
};

/* blob_fd - the bytes in a memfd. Closed by the receiver. */
static int blob_fd(const struct strbuf *blob)
{
	_cleanup_close_ int fd = memfd_create("strake-spec", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	int r = sys_write_all(fd, blob->buf, blob->len);
	return r < 0 ? r : take_fd(&fd);
}

static int send_all(int sock, const struct strbuf *blob, const struct wire_fds *f)
{
	_cleanup_close_ int mem = blob_fd(blob);
	if (mem < 0)
		return mem;
	/* Which of them are given: a bitmap as bytes, then the descriptors themselves. */
	_cleanup_free_ char *given = xmalloc(f->n);
	_cleanup_free_ int *dense = new0(int, f->n);
	struct spec_header h = {blob->len, f->n, 0};
	for (size_t i = 0; i < f->n; i++) {
		given[i] = f->v[i] >= 0;
		if (given[i])
			dense[h.n_sent++] = f->v[i];
	}
	int r = wire_send(sock, &h, sizeof(h), &mem, 1);
	if (r >= 0)
		r = wire_send(sock, given, f->n, NULL, 0);
	for (size_t i = 0; r >= 0 && i < h.n_sent; i += WIRE_FD_BATCH)
		r = wire_send(sock, "f", 1, dense + i, MIN(h.n_sent - i, (size_t)WIRE_FD_BATCH));
	return r;
}

int wire_send_spec(int sock, const struct sandbox_spec *s)
{
	_cleanup_strbuf_ struct strbuf blob = STRBUF_INIT;
	_cleanup_(wire_fds_release) struct wire_fds f = {0};
	wire_encode(s, &blob, &f);
	if (blob.len > BLOB_MAX || f.n > WIRE_MAX_FDS)
		return -E2BIG;
	return send_all(sock, &blob, &f);
}

static int recv_fds(int sock, size_t n, int *v)
{
	for (size_t i = 0; i < n; i += WIRE_FD_BATCH) {
		char c;
		size_t k = MIN(n - i, (size_t)WIRE_FD_BATCH);
		int r = wire_recv(sock, &c, 1, v + i, k);
		if (r <= 0)
			return r < 0 ? r : -EPIPE;
		if (v[i + k - 1] < 0)
			return -EMFILE;
	}
	return 0;
}

int wire_recv_spec(int sock, struct sandbox_spec *ret)
{
	struct spec_header h;
	_cleanup_close_ int mem = -1;
	int r = wire_recv(sock, &h, sizeof(h), &mem, 1);
	if (r <= 0)
		return r < 0 ? r : -EPIPE;
	if (mem < 0 || h.blob_len > BLOB_MAX || h.n_fds > WIRE_MAX_FDS || h.n_sent > h.n_fds)
		return -EBADMSG;
	_cleanup_free_ char *given = xmalloc(h.n_fds);
	_cleanup_free_ int *dense = new0(int, h.n_sent);
	r = wire_recv(sock, given, h.n_fds, NULL, 0);
	if (r <= 0)
		return r < 0 ? r : -EPIPE;
	r = recv_fds(sock, h.n_sent, dense);
	if (r < 0)
		return r;
	struct wire_fds f = {new0(int, h.n_fds), h.n_fds, 0};
	size_t used = 0;
	for (size_t i = 0; i < h.n_fds; i++)
		f.v[i] = given[i] && used < h.n_sent ? dense[used++] : -1;
	char *blob = mmap(NULL, h.blob_len, PROT_READ, MAP_PRIVATE, mem, 0);
	if (blob == MAP_FAILED)
		return -errno;
	return wire_decode(blob, h.blob_len, &f, ret);
}
