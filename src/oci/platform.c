/* oci/platform.c - operating system, architecture, variant: names, normal form, choice. */
#include "oci/oci.h"

#include <stdio.h>
#include <sys/utsname.h>

#include "base/human.h"

/* --- normal form ----------------------------------------------------------------------------- */

static void lower(char *s)
{
	for (; *s; s++)
		if (*s >= 'A' && *s <= 'Z')
			*s = (char)(*s - 'A' + 'a');
}

#define SET(field, value) snprintf((field), sizeof(field), "%s", (value))

static bool any_of(const char *s, const char *a, const char *b, const char *c)
{
	return str_eq(s, a) || str_eq(s, b) || str_eq(s, c);
}

static void normalize_arm(struct oci_platform *p)
{
	if (str_eq(p->arch, "armhf"))
		SET(p->variant, "v7");
	else if (str_eq(p->arch, "armel"))
		SET(p->variant, "v6");
	else if (!*p->variant || str_eq(p->variant, "7"))
		SET(p->variant, "v7");
	else if (any_of(p->variant, "5", "6", "8"))
		SET(p->variant, p->variant[0] == '5' ? "v5" : p->variant[0] == '6' ? "v6" : "v8");
	SET(p->arch, "arm");
}

/* SEMANTICS 28; the table is containerd's. */
void oci_platform_normalize(struct oci_platform *p)
{
	lower(p->os);
	lower(p->arch);
	lower(p->variant);
	if (str_eq(p->os, "macos"))
		SET(p->os, "darwin");
	if (any_of(p->arch, "i386", "386", "i686")) {
		SET(p->arch, "386");
		p->variant[0] = '\0';
	} else if (any_of(p->arch, "x86_64", "x86-64", "amd64")) {
		SET(p->arch, "amd64");
		if (str_eq(p->variant, "v1"))
			p->variant[0] = '\0';
	} else if (str_eq(p->arch, "aarch64") || str_eq(p->arch, "arm64")) {
		SET(p->arch, "arm64");
		if (any_of(p->variant, "8", "v8", "v8.0"))
			p->variant[0] = '\0';
		else if (any_of(p->variant, "9", "9.0", "v9.0"))
			SET(p->variant, "v9");
	} else if (any_of(p->arch, "armhf", "armel", "arm")) {
		normalize_arm(p);
	}
}

void oci_platform_host(struct oci_platform *ret)
{
	static const struct {
		const char *machine, *arch, *variant;
	} table[] = {
	        {"armv7l", "arm", "v7"},
	        {"armv8l", "arm", "v7"},
	        {"armv6l", "arm", "v6"},
	        {"armv5tel", "arm", "v5"},
	        {"loongarch64", "loong64", ""},
	};
	struct oci_platform p = {.os = "linux"};
	struct utsname u;
	if (uname(&u) == 0)
		snprintf(p.arch, sizeof(p.arch), "%.31s", u.machine);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (str_eq(p.arch, table[i].machine)) {
			SET(p.arch, table[i].arch);
			SET(p.variant, table[i].variant);
			break;
		}
	oci_platform_normalize(&p);
	*ret = p;
}

/* --- text ------------------------------------------------------------------------------------ */

static const char *const known_os[] = {"linux", "windows", "darwin", "macos", "freebsd", "netbsd",
        "openbsd", "solaris", "illumos", "wasip1"};
static const char *const known_arch[] = {"amd64", "arm64", "arm", "386", "ppc64le", "s390x",
        "riscv64", "mips64le", "mips64", "mips", "mipsle", "ppc64", "loong64", "wasm", "x86_64",
        "x86-64", "aarch64", "i386", "i686", "armhf", "armel"};

static bool is_in(const char *s, const char *const *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcasecmp(s, v[i]) == 0)
			return true;
	return false;
}

static bool part_ok(const char *s, size_t max)
{
	size_t n = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-");
	return n > 0 && n < max && s[n] == '\0';
}

static int bad(struct error *err, const char *s, const char *why)
{
	_cleanup_free_ char *shown = human_escape(s, strnlen(s, 100), false);
	err_set(err, ERR_USAGE, "invalid platform \"%s\": %s", shown, why);
	return err_hint(
	        err, "write OS/ARCH or OS/ARCH/VARIANT, such as linux/amd64 or linux/arm/v7");
}

int oci_platform_parse(const char *s, struct oci_platform *ret, struct error *err)
{
	_cleanup_strv_ struct strv parts = STRV_INIT;
	struct oci_platform host, p = {0};
	oci_platform_host(&host);
	strv_split(&parts, s, "/");
	if (parts.n > 3)
		return bad(err, s, "too many parts");
	for (size_t i = 0; i < parts.n; i++)
		if (!part_ok(parts.v[i], i == 2 ? sizeof(p.variant) : sizeof(p.os)))
			return bad(err, s, "a part is empty or has characters that do not belong");
	if (parts.n == 1) {
		p = host;
		if (is_in(parts.v[0], known_os, ARRAY_SIZE(known_os))) {
			SET(p.os, parts.v[0]);
		} else if (is_in(parts.v[0], known_arch, ARRAY_SIZE(known_arch))) {
			SET(p.arch, parts.v[0]);
			p.variant[0] = '\0';
		} else {
			return bad(err, s, "neither an operating system nor an architecture");
		}
	} else {
		SET(p.os, parts.v[0]);
		SET(p.arch, parts.v[1]);
		SET(p.variant, parts.n == 3 ? parts.v[2] : "");
	}
	oci_platform_normalize(&p);
	*ret = p;
	return 0;
}

char *oci_platform_string(const struct oci_platform *p, char *buf, size_t n)
{
	snprintf(buf, n, "%s/%s%s%s", p->os, p->arch, *p->variant ? "/" : "", p->variant);
	return buf;
}

/* --- choice ---------------------------------------------------------------------------------- */

bool oci_platform_equal(const struct oci_platform *a, const struct oci_platform *b)
{
	struct oci_platform x = *a, y = *b;
	oci_platform_normalize(&x);
	oci_platform_normalize(&y);
	return str_eq(x.os, y.os) && str_eq(x.arch, y.arch) && str_eq(x.variant, y.variant) &&
	       str_eq(x.os_version, y.os_version);
}

/* level - the number in "v7"; for the families where a CPU runs code for all lower ones. -1: no
 * such family or no number. */
static int level(const struct oci_platform *p)
{
	const char *v = p->variant;
	if (!*v)
		return str_eq(p->arch, "amd64") ? 1 : str_eq(p->arch, "arm64") ? 8 : -1;
	if (!str_eq(p->arch, "arm") && !str_eq(p->arch, "amd64") && !str_eq(p->arch, "arm64"))
		return -1;
	return v[0] == 'v' && v[1] >= '1' && v[1] <= '9' && !v[2] ? v[1] - '0' : -1;
}

int oci_platform_match(const struct oci_platform *want, const struct oci_platform *have)
{
	struct oci_platform w = *want, h = *have;
	oci_platform_normalize(&w);
	oci_platform_normalize(&h);
	if (!str_eq(w.os, h.os) || !str_eq(w.arch, h.arch))
		return 0;
	if (*w.os_version && *h.os_version && !str_starts(h.os_version, w.os_version))
		return 0;
	if (str_eq(w.variant, h.variant))
		return 100;
	int lw = level(&w), lh = level(&h);
	return lw > 0 && lh > 0 && lh < lw ? 100 - (lw - lh) : 0;
}
