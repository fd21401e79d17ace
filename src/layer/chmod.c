/* layer/chmod.c - --chmod values: octal, or symbolic as chmod(1) reads them with umask 0. */
#include <errno.h>

#include "layer/layer.h"

static int malformed(const char *spec, struct error *err)
{
	err_set(err, ERR_BUILD, "\"%s\" is not a file mode", spec);
	return err_hint(err, "write an octal mode such as 0755, or a symbolic one such as "
	                     "u=rwX,go=rX");
}

static int parse_octal(const char *spec, uint32_t *ret, struct error *err)
{
	uint32_t m = 0;
	for (const char *p = spec; *p; p++) {
		if (*p < '0' || *p > '7' || m > 07777)
			return malformed(spec, err);
		m = m * 8 + (uint32_t)(*p - '0');
	}
	if (m > 07777)
		return malformed(spec, err);
	*ret = m;
	return 0;
}

/* Bits of who (a mask of u=4 g=2 o=1) for the permission rwx in its low three bits. */
static uint32_t spread(unsigned who, uint32_t rwx)
{
	return (who & 4 ? rwx << 6 : 0) | (who & 2 ? rwx << 3 : 0) | (who & 1 ? rwx : 0);
}

static unsigned parse_who(const char **pp)
{
	unsigned who = 0;
	for (;; (*pp)++) {
		switch (**pp) {
		case 'u':
			who |= 4;
			break;
		case 'g':
			who |= 2;
			break;
		case 'o':
			who |= 1;
			break;
		case 'a':
			who |= 7;
			break;
		default:
			return who ? who : 7;
		}
	}
}

/* The permissions behind one operator; false: none of them is known. */
static uint32_t parse_perms(const char **pp, unsigned who, uint32_t mode, bool is_dir)
{
	uint32_t bits = 0;
	for (;; (*pp)++) {
		switch (**pp) {
		case 'r':
			bits |= spread(who, 4);
			break;
		case 'w':
			bits |= spread(who, 2);
			break;
		case 'x':
			bits |= spread(who, 1);
			break;
		case 'X':
			if (is_dir || (mode & 0111))
				bits |= spread(who, 1);
			break;
		case 's':
			bits |= (who & 4 ? 04000 : 0) | (who & 2 ? 02000 : 0);
			break;
		case 't':
			bits |= 01000;
			break;
		case 'u':
			bits |= spread(who, (mode >> 6) & 7);
			break;
		case 'g':
			bits |= spread(who, (mode >> 3) & 7);
			break;
		case 'o':
			bits |= spread(who, mode & 7);
			break;
		default:
			return bits;
		}
	}
}

int layer_parse_chmod(
        const char *spec, uint32_t mode, bool is_dir, uint32_t *ret, struct error *err)
{
	if (!*spec)
		return malformed(spec, err);
	if (*spec >= '0' && *spec <= '9')
		return parse_octal(spec, ret, err);
	const char *p = spec;
	for (;;) {
		unsigned who = parse_who(&p);
		if (*p != '+' && *p != '-' && *p != '=')
			return malformed(spec, err);
		while (*p == '+' || *p == '-' || *p == '=') {
			char op = *p++;
			uint32_t bits = parse_perms(&p, who, mode, is_dir);
			if (op == '+') {
				mode |= bits;
			} else if (op == '-') {
				mode &= ~bits;
			} else {
				uint32_t all = spread(who, 7) | (who & 4 ? 04000 : 0) |
				               (who & 2 ? 02000 : 0) | (who == 7 ? 01000 : 0);
				/* as chmod(1): a directory keeps its set-id bits */
				if (is_dir)
					all &= ~06000u;
				mode = (mode & ~all) | bits;
			}
		}
		if (!*p)
			break;
		if (*p++ != ',')
			return malformed(spec, err);
	}
	*ret = mode & 07777;
	return 0;
}
