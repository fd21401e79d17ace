/* registry/challenge.c - see challenge.h. */
#include "registry/challenge.h"
#include "base/strbuf.h"

#include <ctype.h>
#include <strings.h>

void challenge_release(struct challenge *c)
{
	free(c->realm);
	free(c->service);
	free(c->scope);
	free(c->error);
	*c = (struct challenge){0};
}

static bool is_token_char(char c)
{
	return isalnum((unsigned char)c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static const char *skip_space(const char *p)
{
	while (*p == ' ' || *p == '\t')
		p++;
	return p;
}

static const char *skip_separators(const char *p)
{
	return p + strspn(p, " \t,");
}

/* token or quoted-string at p; NULL if neither or unterminated. */
static const char *read_value(const char *p, struct strbuf *out)
{
	strbuf_reset(out);
	if (*p != '"') {
		/* Some registries leave URLs unquoted: take all up to a comma or blank. */
		while (*p && *p != ',' && *p != ' ' && *p != '\t' && *p != '"')
			strbuf_addch(out, *p++);
		return p;
	}
	for (p++; *p != '"'; p++) {
		if (*p == '\\' && p[1])
			p++;
		if (*p == '\0' || (unsigned char)*p < 0x20 || *p == 0x7f)
			return NULL;
		strbuf_addch(out, *p);
	}
	return p + 1;
}

static void keep_param(struct challenge *c, const char *name, size_t n, const char *value)
{
	static const char *const names[] = {"realm", "service", "scope", "error"};
	char **slots[] = {&c->realm, &c->service, &c->scope, &c->error};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strlen(names[i]) == n && strncasecmp(names[i], name, n) == 0 && !*slots[i])
			*slots[i] = xstrdup(value);
}

/* One challenge: scheme and its parameters. Returns the rest, NULL if malformed. */
static const char *read_challenge(const char *p, struct challenge *c)
{
	_cleanup_strbuf_ struct strbuf value = STRBUF_INIT;
	const char *scheme = p;
	while (is_token_char(*p))
		p++;
	size_t n = (size_t)(p - scheme);
	if (n == 0)
		return NULL;
	if (n == 6 && strncasecmp(scheme, "bearer", 6) == 0)
		c->kind = CHALLENGE_BEARER;
	else if (n == 5 && strncasecmp(scheme, "basic", 5) == 0)
		c->kind = CHALLENGE_BASIC;
	for (;;) {
		p = skip_separators(p);
		const char *name = p;
		while (is_token_char(*p))
			p++;
		const char *eq = skip_space(p);
		/* "name=value" is a parameter; a bare word begins the next challenge. */
		if (p == name || *eq != '=')
			return name;
		size_t name_n = (size_t)(p - name);
		if (eq[1] == '=' || eq[1] == '\0' || eq[1] == ',') /* token68 padding */
			return eq + 1 + strspn(eq + 1, "=");
		p = read_value(skip_space(eq + 1), &value);
		if (!p)
			return NULL;
		keep_param(c, name, name_n, value.buf);
	}
}

static int rank(const struct challenge *c)
{
	if (c->kind == CHALLENGE_BEARER)
		return c->realm && *c->realm ? 2 : 0;
	return c->kind == CHALLENGE_BASIC ? 1 : 0;
}

void challenge_parse(const char *value, struct challenge *ret)
{
	*ret = (struct challenge){0};
	const char *p = skip_separators(value);
	while (*p) {
		struct challenge c = {0};
		const char *rest = read_challenge(p, &c);
		if (rest && rank(&c) > rank(ret)) {
			challenge_release(ret);
			*ret = c;
		} else {
			challenge_release(&c);
		}
		if (!rest || rest == p)
			return;
		p = skip_separators(rest);
	}
}
