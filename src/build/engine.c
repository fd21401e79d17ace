/* build/engine.c - see engine.h. One request at a time over a socket pair: the words of a command,
 * and perhaps the descriptor of its standard input; the answer is a byte (0: it succeeded) and what
 * it printed. */
#include "build/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "codec/json.h"
#include "sys/privilege.h"
#include "sys/process.h"

#define MESSAGE_MAX ((size_t)128 << 10)
#define ANSWER_TIMEOUT_MS 30000 /* for questions; loading takes what it takes */

extern char **environ;

struct engine {
	int fd;
	bool podman, partial; /* partial: an archive may lack layers that it has */
	char *context;
};

/* --- the agent ---------------------------------------------------------------------------------
 */

static ssize_t receive(int fd, char *buf, size_t n, int *ret_fd)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {buf, n};
	struct msghdr m = {.msg_iov = &iov,
	        .msg_iovlen = 1,
	        .msg_control = &control,
	        .msg_controllen = sizeof(control)};
	ssize_t got;
	do
		got = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	struct cmsghdr *c = got > 0 ? CMSG_FIRSTHDR(&m) : NULL;
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
	return got;
}

static void answer(int fd, bool good, const char *text)
{
	size_t n = MIN(strlen(text), MESSAGE_MAX - 1);
	_cleanup_free_ char *buf = xmalloc(n + 1);
	buf[0] = good ? '0' : '1';
	memcpy(buf + 1, text, n);
	while (send(fd, buf, n + 1, MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
}

static void serve(int fd, char *words, size_t n, int stdin_fd)
{
	_cleanup_strv_ struct strv argv = STRV_INIT;
	for (char *p = words; p < words + n; p += strlen(p) + 1)
		strv_add(&argv, p);
	_cleanup_free_ char *out = NULL, *path = argv.n ? sys_find_program(argv.v[0]) : NULL;
	if (!path)
		return answer(fd, false, "is not installed");
	struct error err = ERROR_INIT;
	const struct sys_spawn s = {.path = path,
	        .argv = (const char *const *)argv.v,
	        .env = (const char *const *)environ,
	        .stdin_fd = stdin_fd,
	        .cwd_fd = -1,
	        .death_signal = SIGTERM};
	int rc = sys_run_program(
	        &s, MESSAGE_MAX - 1, stdin_fd < 0 ? ANSWER_TIMEOUT_MS : 0, &out, NULL, &err);
	answer(fd, rc >= 0, rc >= 0 ? str_or_empty(out) : str_or_empty(err.msg));
	error_release(&err);
}

static void agent(int fd)
{
	/* Nothing of the store may stay locked by us, and nobody outlives the build. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (dup2(fd, 3) < 0 || syscall(SYS_close_range, 4, ~0U, 0) < 0)
		_exit(1);
	signal(SIGINT, SIG_IGN); /* the build decides what an interrupt means */
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	char *buf = xmalloc(MESSAGE_MAX);
	for (;;) {
		int stdin_fd = -1;
		ssize_t n = receive(3, buf, MESSAGE_MAX - 1, &stdin_fd);
		if (n <= 0)
			_exit(0);
		buf[n] = '\0';
		serve(3, buf, (size_t)n, stdin_fd);
		close_ptr(&stdin_fd);
	}
}

static int start_agent(struct engine *e, struct error *err)
{
	int fds[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return err_sys(err, errno, "making a socket");
	pid_t parent = getpid(), pid = fork();
	if (pid == 0) {
		close(fds[0]);
		if (getppid() == parent)
			agent(fds[1]);
		_exit(1);
	}
	int code = errno;
	close(fds[1]);
	if (pid < 0) {
		close(fds[0]);
		return err_sys(err, code, "starting a process");
	}
	/* Room for the longest question and answer. */
	int size = (int)MESSAGE_MAX * 2;
	(void)setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	e->fd = fds[0];
	return 0;
}

/* --- asking it ---------------------------------------------------------------------------------
 */

static int ask(struct engine *e, const struct strv *argv, int stdin_fd, struct error *err)
{
	_cleanup_strbuf_ struct strbuf sb = STRBUF_INIT;
	for (size_t i = 0; i < argv->n; i++)
		strbuf_add(&sb, argv->v[i], strlen(argv->v[i]) + 1);
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec iov = {sb.buf, sb.len};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	if (stdin_fd >= 0) {
		m.msg_control = &control;
		m.msg_controllen = sizeof(control);
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &stdin_fd, sizeof(int));
	}
	if (sb.len >= MESSAGE_MAX || sendmsg(e->fd, &m, MSG_NOSIGNAL) < 0)
		return err_sys(
		        err, sb.len >= MESSAGE_MAX ? E2BIG : errno, "running %s", argv->v[0]);
	return 0;
}

static int hear(struct engine *e, const char *what, char **ret_out, struct error *err)
{
	_cleanup_free_ char *buf = xmalloc(MESSAGE_MAX + 1);
	int none = -1;
	ssize_t n = receive(e->fd, buf, MESSAGE_MAX, &none);
	if (n <= 0)
		return err_set(err, ERR_SYSTEM, "%s: its helper is gone", what);
	buf[n] = '\0';
	if (buf[0] != '0')
		return err_set(err, ERR_SYSTEM, "%s: %s", what, buf + 1);
	if (ret_out)
		*ret_out = xstrdup(buf + 1);
	return 0;
}

static void command(const struct engine *e, struct strv *ret)
{
	strv_add(ret, engine_name(e));
	if (e->context)
		strv_addf(ret, "--context=%s", e->context);
}

/* run - the words behind "docker", NULL-terminated. */
static int run(struct engine *e, char **ret_out, struct error *err, const char *word, ...)
{
	_cleanup_strv_ struct strv argv = STRV_INIT;
	va_list ap;
	command(e, &argv);
	va_start(ap, word);
	for (const char *w = word; w; w = va_arg(ap, const char *))
		strv_add(&argv, w);
	va_end(ap);
	return ask(e, &argv, -1, err) < 0 ? -1 : hear(e, argv.v[0], ret_out, err);
}

const char *engine_name(const struct engine *e)
{
	return e->podman ? "podman" : "docker";
}

/* docker may be podman in disguise; and with containerd's store it wants archives whole. */
static bool docker_answers(struct engine *e, struct error *err)
{
	_cleanup_free_ char *out = NULL;
	if (run(e, &out, err, "info", "--format", "{{.ServerVersion}} {{json .DriverStatus}}",
	            NULL) == 0) {
		e->partial = !strstr(out, "io.containerd");
		return *out != '\0' && *out != ' ';
	}
	return false;
}

int engine_open(const char *context, struct engine **ret, struct error *err)
{
	struct engine *e = new0(struct engine, 1);
	e->fd = -1;
	e->context = context ? xstrdup(context) : NULL;
	if (start_agent(e, err) < 0) {
		engine_free(e);
		return -1;
	}
	_cleanup_error_ struct error docker = ERROR_INIT, podman = ERROR_INIT;
	bool good = docker_answers(e, &docker);
	if (!good && !context) {
		e->podman = true;
		good = run(e, NULL, &podman, "version", "--format", "{{.Client.Version}}", NULL) ==
		       0;
	}
	if (good) {
		*ret = e;
		return 0;
	}
	engine_free(e);
	(void)err_set(err, ERR_NOT_FOUND, "nothing to load the image into: %s%s%s",
	        docker.msg ? docker.msg : "docker does not answer", podman.msg ? "; " : "",
	        str_or_empty(podman.msg));
	return err_hint(err,
	        "start docker (or install podman); without --load the image is in strake's own "
	        "store: strake run");
}

void engine_free(struct engine *e)
{
	if (!e)
		return;
	close_ptr(&e->fd);
	free(e->context);
	free(e);
}

int engine_has_image(struct engine *e, const struct digest *id, bool *ret, struct error *err)
{
	char hex[DIGEST_STR_MAX];
	_cleanup_error_ struct error no = ERROR_INIT;
	(void)err;
	*ret = run(e, NULL, &no, "image", "inspect", "--format", "{{.Id}}", digest_str(id, hex),
	               NULL) == 0;
	return 0;
}

int engine_tag(struct engine *e, const struct digest *id, const char *name, struct error *err)
{
	char hex[DIGEST_STR_MAX];
	return run(e, NULL, err, "tag", digest_str(id, hex), name, NULL);
}

/* common - how many of the first layers one image of the engine shares with ours. */
static size_t common(const char *line, const struct digest *diff_ids, size_t n)
{
	_cleanup_error_ struct error ignored = ERROR_INIT;
	_cleanup_json_ json_t *j = json_parse(line, strlen(line), MESSAGE_MAX, "layers", &ignored);
	size_t k = 0;
	for (; j && json_is_array(j) && k < json_array_size(j) && k < n; k++) {
		struct digest d;
		const char *s = json_string_value(json_array_get(j, k));
		if (!s || !digest_parse(s, &d) || !digest_eq(&d, &diff_ids[k]))
			break;
	}
	return k;
}

int engine_layers(
        struct engine *e, const struct digest *diff_ids, size_t n, size_t *ret, struct error *err)
{
	_cleanup_error_ struct error no = ERROR_INIT;
	_cleanup_free_ char *ids = NULL, *out = NULL;
	(void)err;
	*ret = 0;
	/* podman's load wants archives whole; docker looks for a layer's chain first. */
	if (e->podman || !e->partial ||
	        run(e, &ids, &no, "image", "ls", "-q", "--no-trunc", NULL) < 0)
		return 0;
	_cleanup_strv_ struct strv words = STRV_INIT;
	command(e, &words);
	strv_add(&words, "image");
	strv_add(&words, "inspect");
	strv_add(&words, "--format={{json .RootFS.Layers}}");
	size_t fixed = words.n;
	_cleanup_strv_ struct strv list = STRV_INIT, lines = STRV_INIT;
	strv_split(&list, ids, "\n");
	for (size_t i = 0; i < list.n && words.n < 200; i++)
		if (*list.v[i] && !strv_contains(&words, list.v[i]))
			strv_add(&words, list.v[i]);
	if (words.n == fixed || ask(e, &words, -1, &no) < 0 || hear(e, "docker", &out, &no) < 0) {
		log_debug("layers of the engine: %s", str_or_empty(no.msg));
		return 0;
	}
	strv_split(&lines, out, "\n");
	for (size_t i = 0; i < lines.n; i++)
		*ret = MAX(*ret, common(lines.v[i], diff_ids, n));
	return 0;
}

int engine_load_begin(struct engine *e, int *ret_fd, struct error *err)
{
	int p[2];
	_cleanup_strv_ struct strv argv = STRV_INIT;
	command(e, &argv);
	strv_add(&argv, "load");
	strv_add(&argv, "-q");
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(err, errno, "making a pipe");
	(void)fcntl(p[1], F_SETPIPE_SZ, 1 << 20);
	int rc = ask(e, &argv, p[0], err);
	close(p[0]);
	if (rc < 0) {
		close(p[1]);
		return -1;
	}
	*ret_fd = p[1];
	return 0;
}

int engine_load_end(struct engine *e, struct error *err)
{
	_cleanup_free_ char *out = NULL;
	_cleanup_free_ char *what = xasprintf("%s load", engine_name(e));
	if (hear(e, what, &out, err) < 0)
		return -1;
	log_debug("%s: %s", what, out);
	return 0;
}
