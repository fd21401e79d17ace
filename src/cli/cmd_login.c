/* cli/cmd_login.c - login and logout: credentials for registries, as docker keeps them. */
#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <termios.h>

#include "oci/oci.h"
#include "registry/creds.h"
#include "registry/registry.h"
#include "sys/path.h"

#define SECRET_MAX ((size_t)64 << 10)

struct login {
	const char *user, *password;
	bool from_stdin;
	char *host, *typed_user, *secret;
};

/* host_of - "https://registry.example/v2/" -> "registry.example"; NULL: docker.io. */
static int host_of(const char *text, char **ret, struct error *err)
{
	if (!text || !*text) {
		*ret = xstrdup("docker.io");
		return 0;
	}
	const char *p = strstr(text, "://");
	p = p ? p + 3 : text;
	_cleanup_free_ char *host = xstrndup(p, strcspn(p, "/"));
	struct oci_ref ref = {0};
	_cleanup_free_ char *probe = xasprintf("%s/x/x", host);
	if (str_eq(host, "index.docker.io") || str_eq(host, "registry-1.docker.io")) {
		*ret = xstrdup("docker.io");
		return 0;
	}
	if (!*host || oci_ref_parse(probe, &ref, err) < 0) {
		error_release(err);
		return err_set(err, ERR_USAGE, "%s: the name of a registry is expected", text);
	}
	bool is_domain = str_eq(ref.domain, host);
	oci_ref_release(&ref);
	if (!is_domain) {
		(void)err_set(err, ERR_USAGE, "%s is no registry", text);
		return err_hint(err, "registry.example, registry.example:5000, localhost:5000; "
		                     "none for docker.io");
	}
	*ret = take_ptr(host);
	return 0;
}

static void wipe(char *s)
{
	if (s)
		explicit_bzero(s, strlen(s));
	free(s);
}

/* ask - a line from the terminal, without echo for secrets. */
static int ask(const char *prompt, bool secret, char **ret, struct error *err)
{
	struct termios old, quiet;
	bool hidden = secret && tcgetattr(STDIN_FILENO, &old) == 0;
	fprintf(stderr, "%s", prompt);
	fflush(stderr);
	if (hidden) {
		quiet = old;
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	}
	char *line = NULL;
	size_t cap = 0;
	ssize_t n = getline(&line, &cap, stdin);
	if (hidden) {
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
		fprintf(stderr, "\n");
	}
	while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
		line[--n] = '\0';
	if (n <= 0) {
		free(line);
		return err_set(err, ERR_USAGE, "nothing was typed");
	}
	*ret = line;
	return 0;
}

static int read_stdin(char **ret, struct error *err)
{
	size_t n;
	int r = sys_read_fd(STDIN_FILENO, SECRET_MAX, ret, &n);
	if (r < 0)
		return err_sys(err, r, "reading the password from standard input");
	while (n > 0 && ((*ret)[n - 1] == '\n' || (*ret)[n - 1] == '\r'))
		(*ret)[--n] = '\0';
	if (n == 0 || memchr(*ret, '\0', n))
		return err_set(err, ERR_USAGE, "standard input holds no password");
	return 0;
}

static int take_credentials(struct login *l, struct error *err)
{
	if (l->from_stdin && !l->user)
		return err_set(err, ERR_USAGE, "--password-stdin needs --username");
	if (l->from_stdin && l->password)
		return err_set(
		        err, ERR_USAGE, "--password and --password-stdin exclude each other");
	if (l->password) {
		fprintf(stderr, "WARNING! Using --password via the CLI is insecure. Use "
		                "--password-stdin.\n");
		l->secret = xstrdup(l->password);
	}
	if (l->from_stdin)
		return read_stdin(&l->secret, err);
	if ((!l->user || !l->secret) && !isatty(STDIN_FILENO)) {
		(void)err_set(err, ERR_USAGE, "standard input is no terminal to ask at");
		return err_hint(err, "give --username, and the password with --password-stdin");
	}
	if (!l->user) {
		if (ask("Username: ", false, &l->typed_user, err) < 0)
			return -1;
		l->user = l->typed_user;
	}
	return l->secret ? 0 : ask("Password: ", true, &l->secret, err);
}

static int do_login(struct login *l, struct error *err)
{
	struct registry_client *c = NULL;
	struct registry_options ro = {.cancelled = &cli_interrupted};
	if (registry_client_new(&ro, &c, err) < 0)
		return -1;
	int rc = -1;
	_cleanup_free_ char *where = NULL;
	bool plain = false;
	if (!l->user && !l->password && !l->from_stdin) {
		rc = registry_login(c, l->host, NULL, NULL, err);
		if (rc >= 0) {
			fprintf(stderr, "Authenticating with existing credentials...\n");
			goto out;
		}
		if (err->class != ERR_NOT_FOUND && err->class != ERR_AUTH)
			goto out;
		error_release(err);
	}
	if (take_credentials(l, err) < 0)
		goto out;
	rc = registry_login(c, l->host, l->user, l->secret, err);
	if (rc >= 0)
		rc = creds_save(l->host, l->user, l->secret, &where, &plain, err);
	if (rc >= 0 && plain)
		fprintf(stderr,
		        "WARNING! Your credentials are stored unencrypted in %s.\n"
		        "A credential helper (credsStore in that file) keeps them better.\n",
		        where);
out:
	registry_client_free(c);
	return rc;
}

int cmd_login(int argc, char **argv)
{
	struct login l = {0};
	struct strv words = STRV_INIT;
	const struct cli_option options[] = {
	        {"username", 'u', CLI_STR, &l.user, "NAME", "user name"},
	        {"password", 'p', CLI_STR, &l.password, "TEXT",
	                "password or token; others on this machine can read it"},
	        {"password-stdin", 0, CLI_BOOL, &l.from_stdin, NULL,
	                "take the password from standard input"},
	        {0},
	};
	struct error err = ERROR_INIT;
	int rc = cli_parse(argc, argv, options, false, &words, &err);
	if (rc > 0) {
		cli_help("login", "[OPTIONS] [SERVER]", "Log in to a registry.", options,
		        "Without SERVER: docker.io. The login is checked, then kept where docker "
		        "keeps it:\n"
		        "$REGISTRY_AUTH_FILE, else $DOCKER_CONFIG/config.json, else "
		        "~/.docker/config.json,\n"
		        "or in the credential helper that this file names.\n");
		strv_release(&words);
		return EXIT_OK;
	}
	if (rc >= 0 && words.n > 1)
		rc = err_set(&err, ERR_USAGE, "one registry is expected");
	if (rc >= 0)
		rc = host_of(words.n ? words.v[0] : NULL, &l.host, &err);
	if (rc < 0) {
		rc = cli_usage_error("login", &err);
	} else {
		cli_signals();
		rc = do_login(&l, &err);
		if (rc >= 0)
			printf("Login Succeeded\n");
		rc = rc < 0 ? cli_report(&err) : EXIT_OK;
	}
	strv_release(&words);
	free(l.host);
	free(l.typed_user);
	wipe(l.secret);
	return rc;
}

int cmd_logout(int argc, char **argv)
{
	struct strv words = STRV_INIT;
	const struct cli_option options[] = {{0}};
	struct error err = ERROR_INIT;
	_cleanup_free_ char *host = NULL;
	bool found = false;
	int rc = cli_parse(argc, argv, options, false, &words, &err);
	if (rc > 0) {
		cli_help("logout", "[SERVER]", "Forget the login to a registry.", options,
		        "Without SERVER: docker.io.\n");
		strv_release(&words);
		return EXIT_OK;
	}
	if (rc >= 0 && words.n > 1)
		rc = err_set(&err, ERR_USAGE, "one registry is expected");
	if (rc >= 0)
		rc = host_of(words.n ? words.v[0] : NULL, &host, &err);
	if (rc < 0) {
		rc = cli_usage_error("logout", &err);
	} else {
		rc = creds_erase(host, &found, &err);
		if (rc >= 0)
			printf(found ? "Removing login credentials for %s\n"
			             : "Not logged in to %s\n",
			        host);
		rc = rc < 0 ? cli_report(&err) : EXIT_OK;
	}
	strv_release(&words);
	return rc;
}
